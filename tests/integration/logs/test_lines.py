"""What becomes of a line, by what wrote it. The lines are such as these programs write."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from support.logs.shipping import Namespace, Node

REQUEST = {
    "time": "2026-11-24T10:39:50.680+00:00",
    "level": "INFO",
    "logger": "iris_inference.server.middleware",
    "message": "request",
    "request_id": "a-request",
    "status": 200,
    "latency_ms": 1.25,
    "features": [[5.1, 3.5, 1.4, 0.2]],
    "predictions": ["setosa"],
}


@dataclass(frozen=True)
class Case:
    """What a program writes, and what is made of it."""

    container: str
    line: str
    level: str
    message: str
    fields: dict[str, str] = field(default_factory=dict)


CASES = {
    "an error of PostgreSQL": Case(
        "postgres",
        '{"timestamp":"2026-11-24 10:39:55.656 UTC","user":"iris","dbname":"iris","pid":13863,"ps":"SELECT",'
        '"error_severity":"ERROR","state_code":"22012","message":"division by zero","statement":"select 1/0",'
        '"backend_type":"client backend","query_id":0}',
        "error",
        "division by zero",
        {"state_code": "22012", "statement": "select 1/0"},
    ),
    "a remark of PostgreSQL": Case(
        "postgres",
        '{"pid":1,"error_severity":"LOG","message":"ready to accept connections"}',
        "info",
        "ready to accept connections",
    ),
    "the end of PostgreSQL": Case("postgres", '{"error_severity":"PANIC","message":"disk full"}', "fatal", "disk full"),
    "a warning of Redis": Case(
        "redis", "1:M 24 Nov 2026 10:39:50.680 # Memory overcommit must be on", "warn", "Memory overcommit must be on"
    ),
    "a remark of Redis": Case(
        "redis", "1:C 24 Nov 2026 10:39:50.680 * Ready to accept connections", "info", "Ready to accept connections"
    ),
    "an error of Traefik": Case(
        "traefik",
        '{"level":"error","error":"EOF","time":"2026-11-24T10:39:50Z","message":"Cannot reach it"}',
        "error",
        "Cannot reach it",
        {"error": "EOF"},
    ),
    "a failed request, by Traefik": Case(
        "traefik",
        '{"DownstreamStatus":502,"Duration":1500000,"RequestHost":"iris.example.com","RequestMethod":"POST",'
        '"RequestPath":"/v1/predict","RetryAttempts":0,"downstream_X-Request-Id":"a-request","level":"info",'
        '"msg":"","time":"2026-11-24T10:39:50Z"}',
        "info",
        "POST /v1/predict 502",
        {"request_id": "a-request", "DownstreamStatus": "502"},
    ),
    "Prometheus": Case(
        "prometheus",
        '{"time":"2026-11-24T10:39:50.680Z","level":"WARN","source":"scrape.go:1","msg":"Error on ingesting"}',
        "warn",
        "Error on ingesting",
        {"source": "scrape.go:1"},
    ),
    "CoreDNS": Case(
        "coredns", "[ERROR] plugin/errors: 2 none. A: timeout", "error", "plugin/errors: 2 none. A: timeout"
    ),
    "a failure of the operator": Case(
        "operator",
        '{"level":"ERROR","message":"reconcile failed","release":"iris","exc_info":"Traceback:\\n  1"}',
        "error",
        "reconcile failed",
        {"release": "iris", "stack": "Traceback:\n  1"},
    ),
    "a failure of the service": Case(
        "inference",
        '{"level":"ERROR","message":"request failed unexpectedly","request_id":"a","stack":"Traceback:\\n  1"}',
        "error",
        "request failed unexpectedly",
        {"request_id": "a", "stack": "Traceback:\n  1"},
    ),
    "Python's highest level": Case("operator", '{"level":"CRITICAL","message":"lost"}', "fatal", "lost"),
    "Python's lowest level": Case("operator", '{"level":"DEBUG","message":"seen"}', "debug", "seen"),
}


NO_JSON_OBJECT = {
    "several lines": [
        "Traceback (most recent call last):",
        '  File "main.py", line 1, in <module>',
        "    1 / 0",
        "ArithmeticError",
    ],
    "cut short": ['{"level": "INFO", "message": "cut in the midd'],
    "braces": ["{ is no JSON, yet ends like it }"],
    "JSON that is no object": ['"a string"', "[1, 2]", "12"],
}


@pytest.fixture(scope="module")
def written(node: Node) -> Mapping[str, Namespace]:
    """A namespace for each of these cases, its lines written there: all are on their way to the store at once."""
    cases = {name: (case.container, [case.line]) for name, case in CASES.items()}
    cases |= {name: ("inference", lines) for name, lines in NO_JSON_OBJECT.items()}
    namespaces = {name: node.make_namespace() for name in cases}
    for name, (container, lines) in cases.items():
        namespaces[name].pod(container).log(*lines)
    return namespaces


def test_a_json_line_becomes_a_message_a_severity_and_fields(namespace: Namespace) -> None:
    namespace.pod("inference", release="iris", revision="abc123", version="2.0.0").log(json.dumps(REQUEST))

    (row,) = namespace.wait_for_rows()

    assert (row["_msg"], row["severity_number"], row["request_id"]) == ("request", "9", "a-request")
    assert (row["status"], row["latency_ms"], row["revision"]) == ("200", "1.25", "abc123")
    assert json.loads(row["features"]) == [[5.1, 3.5, 1.4, 0.2]]
    assert json.loads(row["predictions"]) == ["setosa"]
    assert row["pod"].startswith("inference-")


def test_the_labels_are_five_and_come_from_the_pod(namespace: Namespace) -> None:
    pretending = {**REQUEST, "version": "9.9.9", "release": "another", "namespace": "another", "app": "another"}
    namespace.pod("inference", release="iris", revision="abc123", version="2.0.0").log(json.dumps(pretending))

    (row,) = namespace.wait_for_rows()

    assert dict(re.findall(r'(\w+)="([^"]*)"', row["_stream"])) == {
        "namespace": namespace.name,
        "app": "inference",
        "release": "iris",
        "version": "2.0.0",
        "level": "info",
    }
    assert row["version_extracted"] == "9.9.9"
    assert {row[f"{name}_extracted"] for name in ("release", "namespace", "app")} == {"another"}


def test_lines_of_the_operator_have_the_release(namespace: Namespace) -> None:
    line = {"level": "INFO", "message": "canary is worse", "namespace": "iris", "release": "iris", "revision": "abc123"}
    namespace.pod("operator").log(json.dumps(line))

    (row,) = namespace.wait_for_rows(query="{release=iris}")

    assert (row["_msg"], row["revision"], row["namespace_extracted"]) == ("canary is worse", "abc123", "iris")


@pytest.mark.parametrize("name", NO_JSON_OBJECT)
def test_a_line_that_is_not_a_json_object_is_unchanged(written: Mapping[str, Namespace], name: str) -> None:
    lines = NO_JSON_OBJECT[name]
    rows = written[name].wait_for_rows(len(lines), "| sort by (_time, log.file.record_offset)")

    assert [row["_msg"] for row in rows] == lines
    assert {row["level"] for row in rows} == {"unknown"}


def test_a_line_that_the_runtime_split_is_joined(namespace: Namespace) -> None:
    text = json.dumps({**REQUEST, "message": "x" * 40_000})
    namespace.pod("inference").log_in_parts(text[:16_384], text[16_384:32_768], text[32_768:])

    (row,) = namespace.wait_for_rows()

    assert row["_msg"] == "x" * 40_000
    assert row["request_id"] == "a-request"


@pytest.mark.parametrize("name", CASES)
def test_lines_of_each_program_are_parsed(written: Mapping[str, Namespace], name: str) -> None:
    case = CASES[name]
    (row,) = written[name].wait_for_rows()

    assert (row["level"], row["_msg"]) == (case.level, case.message)
    assert case.fields.items() <= row.items()
    assert "msg" not in row


def test_the_collectors_own_lines_are_not_shipped(node: Node, namespace: Namespace) -> None:
    own = node.collector.logs / "iris-logs_otelcol-abcde_00000000" / "otelcol" / "0.log"
    own.parent.mkdir(parents=True)
    own.write_text('2026-11-24T10:39:50.680000000Z stderr F {"level":"error","msg":"the store is away"}\n')
    namespace.pod("inference").log("after it")

    namespace.wait_for_rows(query='"after it"')
    assert Namespace("iris-logs", node).rows() == []
