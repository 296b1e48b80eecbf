"""Servers start once a session, at the first test that needs one; their contents are fresh for each test."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from support.servers.kubernetes import KubeApiserver
from support.servers.postgres import Postgres
from support.servers.prometheus import Prometheus
from support.servers.redis import Redis

StartPrometheus = Callable[[Sequence[Mapping[str, Any]]], Prometheus]


@pytest.fixture(scope="session")
def kube_apiserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeApiserver]:
    server = KubeApiserver(tmp_path_factory.mktemp("kubernetes"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    postgres = Postgres()
    try:
        postgres.server.start()
        yield postgres
    finally:
        postgres.close()


@pytest.fixture
def postgres_url(postgres_server: Postgres) -> str:
    return postgres_server.create_database()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    redis = Redis(tmp_path_factory.mktemp("redis"))
    try:
        redis.server.start()
        yield redis
    finally:
        redis.server.stop()


@pytest.fixture
def redis_url(redis_server: Redis) -> str:
    redis_server.clear()
    return redis_server.url


@pytest.fixture
def start_prometheus(tmp_path: Path) -> Iterator[StartPrometheus]:
    started: list[Prometheus] = []

    def start(scrape_configs: Sequence[Mapping[str, Any]]) -> Prometheus:
        folder = tmp_path / f"prometheus-{len(started)}"
        folder.mkdir()
        prometheus = Prometheus(folder, scrape_configs)
        started.append(prometheus)
        prometheus.server.start()
        return prometheus

    yield start
    for prometheus in started:
        prometheus.server.stop()
