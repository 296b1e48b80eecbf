"""What the mirror does between a request and the canary, without either of them."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from iris_inference.predictions import Prediction
from iris_inference.settings import Settings
from iris_inference.shadow.copies import pair, understood
from iris_inference.shadow.counts import MirrorCounts, Pair, Sent
from iris_inference.shadow.link import Reply
from iris_inference.shadow.mirror import Mirror

CLASSES = ("setosa", "versicolor", "virginica")
FLOWER = (5.1, 3.5, 1.4, 0.2)
NOTHING_LISTENS = "http://127.0.0.1:1"


class Bench:
    """A mirror with a plan that the test writes."""

    def __init__(self, folder: Path, *, draw: Callable[[], float] = lambda: 0.0, **settings: float) -> None:
        self.file = folder / "plan.json"
        self.counts = MirrorCounts()
        self._registry = CollectorRegistry()
        self._registry.register(self.counts)
        configured = Settings(auth="off", revision="abc123", **settings)  # type: ignore[arg-type]  # numbers are what they are
        self.mirror = Mirror(configured, self.file, CLASSES, self.counts, None, draw)

    def plan(self, share: float = 1.0, revision: str = "def456") -> None:
        self.file.write_text(json.dumps({"revision": revision, "url": NOTHING_LISTENS, "share": share}))
        self.mirror._look()

    def offer(self, times: int = 1, flowers: int = 1) -> None:
        for _ in range(times):
            self.mirror.offer({"request_id": "r"}, [FLOWER] * flowers, [Prediction(0, (1.0, 0.0, 0.0))] * flowers)

    def copies(self, result: Sent, canary: str = "def456") -> float | None:
        return self._registry.get_sample_value("shadow_copies_total", {"canary": canary, "result": result.value})


def test_only_as_many_flowers_wait_as_there_is_room_for(tmp_path: Path) -> None:
    async def run() -> None:
        bench = Bench(tmp_path, shadow_queue=10)
        bench.plan()
        bench.offer(times=4, flowers=3)
        assert bench.copies(Sent.DROPPED) == 1
        bench.offer(times=1, flowers=256)
        assert bench.copies(Sent.DROPPED) == 2
        await bench.mirror.close()
        assert bench.copies(Sent.DROPPED) == 5

    asyncio.run(run())


def test_every_copy_is_counted_once_whatever_becomes_of_it(tmp_path: Path) -> None:
    async def run() -> None:
        bench = Bench(tmp_path, shadow_queue=5)
        bench.plan()
        bench.mirror.open()
        bench.offer(times=3)
        await asyncio.sleep(0)
        bench.plan(revision="789abc")
        bench.offer(times=20)
        await bench.mirror.close()
        for canary, offered in (("def456", 3), ("789abc", 20)):
            assert sum(bench.copies(result, canary) or 0 for result in Sent) == offered

    asyncio.run(run())


@pytest.mark.parametrize(("share", "copied"), [(0.0, 0), (0.29, 0), (0.31, 1), (1.0, 1)])
def test_a_request_is_copied_when_the_draw_is_below_the_share(tmp_path: Path, share: float, copied: int) -> None:
    async def run() -> None:
        bench = Bench(tmp_path, draw=lambda: 0.3)
        bench.plan(share)
        bench.offer()
        await bench.mirror.close()
        assert bench.copies(Sent.DROPPED) == copied

    asyncio.run(run())


def test_nothing_is_asked_of_a_request_while_nothing_is_copied(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    assert not bench.mirror.on
    bench.plan(share=0)
    assert (bench.mirror.on, bench.mirror.canary) == (False, "def456")
    bench.plan(share=0.1)
    assert bench.mirror.on


def test_a_pod_of_the_revision_that_is_tried_does_not_ask_itself(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.plan(revision="abc123")
    assert (bench.mirror.on, bench.mirror.canary) == (False, "")


def test_a_file_that_is_no_plan_stops_the_copies(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.plan()
    bench.file.write_text("{")
    bench.mirror._look()
    assert not bench.mirror.on


def test_the_counts_of_canaries_that_are_long_gone_are_forgotten(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    for number in range(10):
        bench.plan(revision=f"r{number}")
    assert bench.copies(Sent.ANSWERED, "r0") is None
    assert bench.copies(Sent.ANSWERED, "r9") == 0
    # A label that is about one of them has nowhere to go, and harms nothing.
    bench.mirror.labelled("r0", stable_right=True, canary_right=True)


def test_counts_go_on_where_they_were_when_a_canary_is_tried_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path, shadow_queue=1)
    bench.plan()
    bench.offer(times=3)
    bench.plan(revision="789abc")
    bench.plan()
    assert bench.copies(Sent.DROPPED) == 2


ANSWER = b'{"predictions": [{"label": "setosa", "class": 0}]}'


@pytest.mark.parametrize(
    ("reply", "sent"),
    [
        (Reply(200, ANSWER), Sent.ANSWERED),
        (Reply(200, b'{"predictions": []}'), Sent.FAILED),
        (Reply(200, b"[" * 100_000), Sent.FAILED),
        (Reply(200, b"\xff"), Sent.FAILED),
        (Reply(204, b""), Sent.FAILED),
        (Reply(302, ANSWER), Sent.FAILED),
        (Reply(401, ANSWER), Sent.REFUSED),
        (Reply(404, ANSWER), Sent.REFUSED),
        (Reply(421, ANSWER), Sent.REFUSED),
        # What a user would have seen, too.
        (Reply(422, ANSWER), Sent.FAILED),
        (Reply(500, ANSWER), Sent.FAILED),
        (Reply(503, ANSWER), Sent.FAILED),
    ],
)
def test_only_an_answer_to_the_request_is_one(reply: Reply, sent: Sent) -> None:
    assert understood(reply, 1) == (sent, ["setosa"] if sent is Sent.ANSWERED else None)


@given(st.integers(100, 599), st.binary(max_size=200), st.integers(1, 5))
def test_whatever_the_canary_answers_is_understood_as_something(status: int, body: bytes, flowers: int) -> None:
    sent, labels = understood(Reply(status, body), flowers)
    assert (labels is not None) == (sent is Sent.ANSWERED)


@pytest.mark.parametrize(
    ("stable", "canary", "result"),
    [
        (["a", "b"], ["a", "b"], Pair.SAME),
        (["a", "b"], ["a", "c"], Pair.DIFFERENT),
        (["a"], None, Pair.ONLY_STABLE),
        (None, ["a"], Pair.ONLY_CANARY),
        (None, None, Pair.NEITHER),
    ],
)
def test_two_answers_are_compared_flower_by_flower(
    stable: list[str] | None, canary: list[str] | None, result: Pair
) -> None:
    assert pair(stable, canary) is result
