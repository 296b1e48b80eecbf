"""Every query of the dashboards is one that Prometheus understands. What they show is tested on the cluster."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request

from support.observability.queries import panel_queries
from support.servers.fixtures import StartPrometheus


def test_every_query_is_valid_promql(start_prometheus: StartPrometheus) -> None:
    url = start_prometheus([]).url
    queries = list(panel_queries("iris", "iris"))
    wrong = {query.panel: error for query in queries if (error := refused(url, query.text))}
    assert len(queries) > 50
    assert wrong == {}


def test_an_invalid_query_is_found(start_prometheus: StartPrometheus) -> None:
    assert "parse error" in refused(start_prometheus([]).url, "sum by (pod (up)")


def refused(url: str, query: str) -> str:
    """What Prometheus has against a query; empty when nothing."""
    body = urllib.parse.urlencode({"query": query}).encode()
    try:
        with urllib.request.urlopen(f"{url}/api/v1/query", body, timeout=10):
            return ""
    except urllib.error.HTTPError as error:
        return str(json.loads(error.read())["error"])
