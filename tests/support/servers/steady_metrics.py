"""A Prometheus of which every pod of a namespace answers a hundred requests a second, all alike and none failing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

from iris_operator.api import names
from support.servers.http_pages import serve_pages

_RATE = 100
_RANGE = re.compile(r"\[(\d+)s\]$")
# By metric and labels: the increase a second.
_COUNTERS: Mapping[tuple[str, tuple[tuple[str, str], ...]], float] = {
    ("inference_requests_total", (("code", "200"),)): _RATE,
    ("inference_requests_total", (("code", "500"),)): 0,
    **{
        ("inference_request_duration_seconds_bucket", (("cache", "none"), ("le", bound))): count
        for bound, count in (("0.005", 0.2 * _RATE), ("0.01", 0.6 * _RATE), ("0.025", _RATE), ("+Inf", _RATE))
    },
    ("inference_request_duration_seconds_sum", (("cache", "none"),)): 0.01 * _RATE,
    ("model_inference_failures_total", (("reason", "timeout"),)): 0,
    **{("model_predictions_total", (("class", name),)): _RATE / 2 for name in ("setosa", "virginica")},
}


@contextmanager
def steady_metrics(pods: Callable[[], list[Mapping[str, Any]]]) -> Iterator[str]:
    """The address of such a Prometheus; `pods` gives those that there are, as the API server has them."""

    def answer(path: str) -> bytes:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(path).query).items()}
        result = _series(pods(), asked["query"], float(asked["time"]))
        return json.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}}).encode()

    with serve_pages("application/json", answer) as address:
        yield f"http://{address}"


def _series(pods: list[Mapping[str, Any]], query: str, at: float) -> list[dict[str, Any]]:
    """A sample a second of every counter of every pod over the query's range."""
    found = _RANGE.search(query)
    assert found, query
    moments = range(int(at) - int(found[1]), int(at) + 1)
    return [
        {
            "metric": {"__name__": name, **dict(labels), **_target(pod)},
            "values": [[moment, str(per_second * moment)] for moment in moments],
        }
        for pod in pods
        for (name, labels), per_second in _COUNTERS.items()
    ]


def _target(pod: Mapping[str, Any]) -> dict[str, str]:
    """The labels that the scrape configuration gives the series of a pod."""
    labels = pod["metadata"].get("labels", {})
    return {
        "namespace": pod["metadata"]["namespace"],
        "pod": pod["metadata"]["name"],
        "release": labels.get(names.LABEL_RELEASE, ""),
        "revision": labels.get(names.LABEL_REVISION, ""),
    }
