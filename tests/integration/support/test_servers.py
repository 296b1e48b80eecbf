"""The servers that the other tests rely on are real, and behave as those tests assume."""

import json
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import psycopg2
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from support.servers.fixtures import StartPrometheus
from support.servers.kubernetes import KubeApiserver
from support.servers.postgres import Postgres
from support.servers.process import accepts
from support.servers.redis import Redis
from support.servers.tools import component


def rows(url: str, statement: str) -> list[tuple[object, ...]]:
    connection = psycopg2.connect(url.replace("postgresql+psycopg2", "postgresql"))
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def test_each_database_starts_empty(postgres_server: Postgres, postgres_url: str) -> None:
    rows(postgres_url, "create table seen (id int)")

    other = postgres_server.create_database()

    assert rows(other, "select count(*) from pg_tables where schemaname = 'public'") == [(0,)]


def test_postgres_keeps_its_data_and_port_over_a_crash(postgres_server: Postgres, postgres_url: str) -> None:
    rows(postgres_url, "create table kept as select 42 as answer")

    postgres_server.server.kill()
    with pytest.raises(psycopg2.OperationalError):
        rows(postgres_url, "select 1")
    postgres_server.server.start()

    assert rows(postgres_url, "select answer from kept") == [(42,)]


def test_redis_requires_its_password(redis_server: Redis) -> None:
    with (
        redis.Redis(port=redis_server.port, retry=Retry(NoBackoff(), 0)) as stranger,
        pytest.raises(redis.AuthenticationError),
    ):
        stranger.ping()


def test_redis_is_empty_for_each_test(redis_server: Redis, request: pytest.FixtureRequest) -> None:
    with redis.Redis.from_url(redis_server.url) as client:
        client.set("left", "behind")

        request.getfixturevalue("redis_url")

        assert client.dbsize() == 0


def test_a_frozen_redis_accepts_connections_and_does_not_respond(redis_server: Redis, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url, socket_timeout=0.2, retry=Retry(NoBackoff(), 0)) as client:
        with redis_server.server.frozen():
            assert accepts(redis_server.port)
            with pytest.raises(redis.TimeoutError):
                client.ping()
        assert client.ping()


@pytest.fixture
def exporter() -> Iterator[str]:
    class Metrics(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(b"answers_total 42\n")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
            """The test's output is not the place for requests."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Metrics) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def test_prometheus_scrapes_the_given_targets(start_prometheus: StartPrometheus, exporter: str) -> None:
    prometheus = start_prometheus([{"job_name": "test", "static_configs": [{"targets": [exporter]}]}])
    query = urllib.parse.urlencode({"query": "answers_total"})

    deadline = time.monotonic() + 20
    results: list[dict[str, Any]] = []
    while not results and time.monotonic() < deadline:
        with urllib.request.urlopen(f"{prometheus.url}/api/v1/query?{query}", timeout=5) as answer:
            results = json.load(answer)["data"]["result"]
        time.sleep(0.1)

    assert [series["value"][1] for series in results] == ["42"]


def test_the_api_server_stores_objects(kube_apiserver: KubeApiserver) -> None:
    kube_apiserver.create_namespace("kept")

    assert kube_apiserver.request("GET", "/api/v1/namespaces/kept")["metadata"]["name"] == "kept"


def test_the_kubeconfig_serves_kubectl(kube_apiserver: KubeApiserver) -> None:
    printed = subprocess.run(
        [component("kubectl"), f"--kubeconfig={kube_apiserver.kubeconfig}", "auth", "can-i", "*", "*"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert printed.stdout == "yes\n"


def test_a_service_account_has_no_rights_of_its_own(kube_apiserver: KubeApiserver) -> None:
    kube_apiserver.create_namespace("powerless")
    kube_apiserver.request("POST", "/api/v1/namespaces/powerless/serviceaccounts", {"metadata": {"name": "nobody"}})
    kubeconfig = kube_apiserver.kubeconfig_for("powerless", "nobody")

    asked = subprocess.run(
        [component("kubectl"), f"--kubeconfig={kubeconfig}", "get", "pods"], capture_output=True, text=True, check=False
    )

    assert "pods is forbidden" in asked.stderr


def test_a_pod_that_asks_for_root_is_refused_where_pod_security_is_restricted(kube_apiserver: KubeApiserver) -> None:
    kube_apiserver.create_namespace("restricted", {"pod-security.kubernetes.io/enforce": "restricted"})
    pod = {"metadata": {"name": "root"}, "spec": {"containers": [{"name": "root", "image": "root:1"}]}}

    with pytest.raises(urllib.error.HTTPError) as refused:
        kube_apiserver.request("POST", "/api/v1/namespaces/restricted/pods", pod)

    assert (refused.value.code, b"runAsNonRoot" in refused.value.read()) == (403, True)
