-- Sends the lines of a file one after the other, each as the body of a POST, and writes what it saw as JSON.
-- Arguments: the file and its content type.

local requests = {}
local place = 0

function setup(thread)
  only = thread
end

function init(arguments)
  wrk.method = "POST"
  wrk.headers["Content-Type"] = arguments[2]
  -- All is made before the clock starts: while it runs, a request costs one look into a table.
  for body in io.lines(arguments[1]) do
    requests[#requests + 1] = wrk.format(nil, nil, nil, body)
  end
  bodies = #requests
  made = 0
end

function request()
  made = made + 1
  place = place % bodies + 1
  return requests[place]
end

local function object(pairs_of)
  return "{" .. table.concat(pairs_of, ",") .. "}"
end

function done(summary, latency)
  local latencies, errors = {}, {}
  for index = 1, #latency do
    latencies[index] = string.format('"%d":%d', latency(index))
  end
  for kind, count in pairs(summary.errors) do
    errors[#errors + 1] = string.format('"%s":%d', kind, count)
  end
  io.write("REPORT ", object({
    string.format('"requests":%d', summary.requests),
    string.format('"microseconds":%d', summary.duration),
    string.format('"made":%d', only:get("made")),
    string.format('"bodies":%d', only:get("bodies")),
    '"errors":' .. object(errors),
    '"latencies":' .. object(latencies),
  }), "\n")
end
