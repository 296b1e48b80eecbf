"""Faults between the file and the store: nothing is lost, and duplicates after a crash are recognisable."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from integration.logs.conftest import running
from support.logs.shipping import Namespace, Node, Pod
from support.servers.kubernetes import KubeApiserver
from support.waiting import eventually

BATCHES, LINES = 12, 250
TOTAL = BATCHES * LINES
WRITTEN = {f"line {number}" for number in range(TOTAL)}
# A line's place: its file is of one container of one pod, and its time tells a file from the one before it.
DISTINCT = "| uniq by (_time, pod, log.file.record_offset)"
QUEUE_BYTES = 1_000_000
QUEUED = "otelcol_exporter_queue_size"


@pytest.fixture
def node(kube_apiserver: KubeApiserver, tmp_path: Path) -> Iterator[Node]:
    """One to which things happen."""
    with running(kube_apiserver, tmp_path, queue_size=QUEUE_BYTES) as started:
        yield started


def says_batch(pod: Pod, batch: int) -> None:
    pod.log(*(f"line {number}" for number in range(batch * LINES, (batch + 1) * LINES)))


def messages(namespace: Namespace) -> list[str]:
    return [row["_msg"] for row in namespace.rows("| fields _msg")]


def resident_mib(pid: int) -> float:
    (kib,) = re.findall(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(kib) / 1024


def end_in_mid_flow(namespace: Namespace, end: Callable[[], None], node: Node) -> None:
    """Three times, while lines of the batch before are still on their way."""
    pod = namespace.pod("inference")
    for batch in range(BATCHES):
        says_batch(pod, batch)
        if batch % 4 == 2:
            namespace.wait_for_rows(batch * LINES + 1, DISTINCT)
            end()
            node.collector.server.start()
    namespace.wait_for_rows(TOTAL, DISTINCT, seconds=45)


def test_a_replaced_collector_loses_nothing_and_sends_nothing_twice(node: Node, namespace: Namespace) -> None:
    end_in_mid_flow(namespace, node.collector.server.stop, node)

    assert set(messages(namespace)) == WRITTEN
    assert len(messages(namespace)) == TOTAL


def test_a_killed_collector_loses_nothing_and_its_duplicates_are_recognisable(node: Node, namespace: Namespace) -> None:
    end_in_mid_flow(namespace, node.collector.server.kill, node)

    assert set(messages(namespace)) == WRITTEN
    assert len(namespace.rows(DISTINCT)) == TOTAL


def test_lines_written_during_an_outage_of_the_store_arrive_even_if_the_collector_is_replaced(
    node: Node, namespace: Namespace
) -> None:
    pod = namespace.pod("inference")
    pod.log("before")
    namespace.wait_for_rows()

    node.store.server.stop()
    for batch in range(BATCHES // 2):
        says_batch(pod, batch)
    eventually(lambda: node.collector.metric(QUEUED) > 0)
    node.collector.server.stop()
    for batch in range(BATCHES // 2, BATCHES):
        says_batch(pod, batch)
    node.collector.server.start()
    node.store.server.start()

    namespace.wait_for_rows(TOTAL + 1, DISTINCT, seconds=45)
    assert set(messages(namespace)) == WRITTEN | {"before"}
    assert len(messages(namespace)) == TOTAL + 1


def test_during_a_long_outage_of_the_store_the_collector_waits_without_growing(
    node: Node, namespace: Namespace
) -> None:
    pod = namespace.pod("inference")
    node.store.server.stop()
    padding = "x" * 2_000
    pod.log(*(f"line {number} {padding}" for number in range(TOTAL)))  # six times the queue

    eventually(lambda: node.collector.metric(QUEUED) > QUEUE_BYTES * 0.7, seconds=30)
    assert node.collector.metric(QUEUED) <= QUEUE_BYTES
    assert resident_mib(node.collector.server.pid) < 200

    node.store.server.start()
    namespace.wait_for_rows(TOTAL, DISTINCT, seconds=45)
    assert {message.removesuffix(f" {padding}") for message in messages(namespace)} == WRITTEN


def test_a_file_that_is_rotated_is_read_to_its_end(namespace: Namespace) -> None:
    pod = namespace.pod("inference")
    for batch in range(BATCHES):
        says_batch(pod, batch)
        if batch in (3, 7):
            # The first line of it has been seen; how far the others are when the file is renamed is chance.
            namespace.wait_for_rows(batch * LINES + 1, DISTINCT)
            pod.rotate_log()

    namespace.wait_for_rows(TOTAL, DISTINCT, seconds=45)
    assert set(messages(namespace)) == WRITTEN
    assert len(messages(namespace)) == TOTAL
