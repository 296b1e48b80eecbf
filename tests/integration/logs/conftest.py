from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.logs.shipping import Collector, Namespace, Node
from support.servers.kubernetes import KubeApiserver
from support.servers.victorialogs import VictoriaLogs


@pytest.fixture(scope="module")
def node(kube_apiserver: KubeApiserver, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """One that nothing happens to, for as many tests as want it."""
    with running(kube_apiserver, tmp_path_factory.mktemp("node")) as started:
        yield started


@pytest.fixture
def namespace(node: Node) -> Namespace:
    """One of the test's own, to distinguish its rows from those of other tests."""
    return node.make_namespace()


@contextmanager
def running(api: KubeApiserver, folder: Path, **queue: Any) -> Iterator[Node]:
    """A node with its Collector and the store behind it, all of them up."""
    store = VictoriaLogs(folder)
    collector = Collector(folder, store.otlp, api.kubeconfig, **queue)
    try:
        store.server.start()
        collector.server.start()
        yield Node(api, store, collector)
    finally:
        collector.server.stop()
        store.server.stop()
