"""The sender of mirrored requests, without a service and without a canary."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from iris_inference import metric_names
from iris_inference.model.prediction import Prediction
from iris_inference.settings import Settings
from iris_inference.shadow.http_client import HttpResponse
from iris_inference.shadow.metrics import PairResult, SenderMetrics, SendResult
from iris_inference.shadow.mirrored_request import compare_labels, decode_response
from iris_inference.shadow.sender import ShadowSender
from support.waiting import eventually

CLASSES = ("setosa", "versicolor", "virginica")
FLOWER = (5.1, 3.5, 1.4, 0.2)
NOTHING_LISTENS = "http://127.0.0.1:1"
CONTROL = "abc-control-def456"


class SenderUnderTest:
    """A sender with a shadow config that the test writes."""

    def __init__(self, folder: Path, *, uniform: Callable[[], float] = lambda: 0.0, **settings: float) -> None:
        self.file = folder / "config.json"
        self.counts = SenderMetrics()
        self._registry = CollectorRegistry()
        self._registry.register(self.counts)
        configured = Settings(auth="off", revision="abc123", **settings)  # type: ignore[arg-type]  # numbers are what they are
        self.sender = ShadowSender(configured, self.file, CLASSES, self.counts, None, uniform)

    def configure(self, share: float = 1.0, revision: str = "def456", control: str = "") -> None:
        config: dict[str, Any] = {"revision": revision, "url": NOTHING_LISTENS, "share": share}
        if control:
            config["control"] = {"revision": control, "url": NOTHING_LISTENS}
        self.file.write_text(json.dumps(config))
        self.sender._reload()

    def enqueue(self, times: int = 1, instances: int = 1) -> None:
        for _ in range(times):
            self.sender.enqueue({"request_id": "r"}, [FLOWER] * instances, [Prediction(0, (1.0, 0.0, 0.0))] * instances)

    def counted(self, result: SendResult, canary: str = "def456") -> float | None:
        return self._registry.get_sample_value(metric_names.SHADOW_SENT, {"canary": canary, "result": result.value})


def test_the_queue_is_bounded_by_instances(tmp_path: Path) -> None:
    async def run() -> None:
        sender = SenderUnderTest(tmp_path, shadow_queue=10)
        sender.configure()
        sender.enqueue(times=4, instances=3)
        assert sender.counted(SendResult.DROPPED) == 1
        sender.enqueue(times=1, instances=256)
        assert sender.counted(SendResult.DROPPED) == 2
        await sender.sender.close()
        assert sender.counted(SendResult.DROPPED) == 5

    asyncio.run(run())


def test_every_mirrored_request_is_counted_once_whatever_its_result(tmp_path: Path) -> None:
    async def run() -> None:
        sender = SenderUnderTest(tmp_path, shadow_queue=5)
        sender.configure()
        sender.sender.open()
        sender.enqueue(times=3)
        await asyncio.sleep(0)
        sender.configure(revision="789abc")
        sender.enqueue(times=20)
        await sender.sender.close()
        for canary, expected in (("def456", 3), ("789abc", 20)):
            assert sum(sender.counted(result, canary) or 0 for result in SendResult) == expected

    asyncio.run(run())


def test_each_request_is_sent_to_the_canary_and_to_its_control_group(tmp_path: Path) -> None:
    async def run() -> None:
        sender = SenderUnderTest(tmp_path)
        sender.configure(control=CONTROL)
        sender.sender.open()
        sender.enqueue(times=3)
        unreachable = SendResult.UNREACHABLE
        await asyncio.to_thread(
            eventually, lambda: sender.counted(unreachable) == sender.counted(unreachable, CONTROL) == 3
        )
        await sender.sender.close()

    asyncio.run(run())


def test_predictions_and_labels_are_compared_with_the_canary_alone(tmp_path: Path) -> None:
    sender = SenderUnderTest(tmp_path)
    sender.configure(control=CONTROL)
    families = {family.name: family for family in sender.counts.collect()}
    revisions = {name: {sample.labels["canary"] for sample in family.samples} for name, family in families.items()}
    assert revisions["shadow_copies"] == {"def456", CONTROL}
    assert revisions["shadow_pairs"] == revisions["shadow_labels"] == revisions["shadow_share_ratio"] == {"def456"}


def test_a_copy_for_each_target_counts_towards_the_rate(tmp_path: Path) -> None:
    async def run() -> None:
        sender = SenderUnderTest(tmp_path, shadow_rate=10)
        sender.configure(control=CONTROL)
        sender.enqueue(times=6)
        assert sender.counted(SendResult.DROPPED) == sender.counted(SendResult.DROPPED, CONTROL) == 1
        await sender.sender.close()
        assert sender.counted(SendResult.DROPPED) == sender.counted(SendResult.DROPPED, CONTROL) == 6

    asyncio.run(run())


def test_the_lowest_rate_allows_a_copy_for_each_target(tmp_path: Path) -> None:
    async def run() -> None:
        sender = SenderUnderTest(tmp_path, shadow_rate=1)
        sender.configure(control=CONTROL)
        await asyncio.sleep(0)
        sender.sender._rate_limiter._updated_at -= 2
        sender.enqueue(times=2)
        assert sender.counted(SendResult.DROPPED) == 1
        await sender.sender.close()

    asyncio.run(run())


@pytest.mark.parametrize(("share", "mirrored"), [(0.0, 0), (0.29, 0), (0.31, 1), (1.0, 1)])
def test_a_request_is_mirrored_when_the_random_number_is_below_the_share(
    tmp_path: Path, share: float, mirrored: int
) -> None:
    async def run() -> None:
        sender = SenderUnderTest(tmp_path, uniform=lambda: 0.3)
        sender.configure(share)
        sender.enqueue()
        await sender.sender.close()
        assert sender.counted(SendResult.DROPPED) == mirrored

    asyncio.run(run())


def test_the_mirror_is_off_without_a_config_or_with_the_share_0(tmp_path: Path) -> None:
    sender = SenderUnderTest(tmp_path)
    assert not sender.sender.enabled
    sender.configure(share=0)
    assert (sender.sender.enabled, sender.sender.canary) == (False, "def456")
    sender.configure(share=0.1)
    assert sender.sender.enabled


def test_a_canary_does_not_mirror_requests_to_itself(tmp_path: Path) -> None:
    sender = SenderUnderTest(tmp_path)
    sender.configure(revision="abc123")
    assert (sender.sender.enabled, sender.sender.canary) == (False, "")


def test_a_pod_of_the_control_group_mirrors_nothing_and_compares_labels(tmp_path: Path) -> None:
    sender = SenderUnderTest(tmp_path)
    sender.configure(control="abc123")
    assert (sender.sender.enabled, sender.sender.canary) == (False, "def456")


def test_an_invalid_config_stops_the_mirroring(tmp_path: Path) -> None:
    sender = SenderUnderTest(tmp_path)
    sender.configure()
    sender.file.write_text("{")
    sender.sender._reload()
    assert not sender.sender.enabled


def test_the_counts_of_earlier_canaries_are_removed(tmp_path: Path) -> None:
    sender = SenderUnderTest(tmp_path)
    for number in range(10):
        sender.configure(revision=f"r{number}")
    assert sender.counted(SendResult.ANSWERED, "r0") is None
    assert sender.counted(SendResult.ANSWERED, "r9") == 0
    # A label that is about one of them has nowhere to go, and harms nothing.
    sender.sender.record_label("r0", stable_correct=True, canary_correct=True)


def test_counts_continue_when_a_canary_returns(tmp_path: Path) -> None:
    sender = SenderUnderTest(tmp_path, shadow_queue=1)
    sender.configure()
    sender.enqueue(times=3)
    sender.configure(revision="789abc")
    sender.configure()
    assert sender.counted(SendResult.DROPPED) == 2


RESPONSE = b'{"predictions": [{"label": "setosa", "class": 0}]}'


@pytest.mark.parametrize(
    ("response", "result"),
    [
        (HttpResponse(200, RESPONSE), SendResult.ANSWERED),
        (HttpResponse(200, b'{"predictions": []}'), SendResult.FAILED),
        (HttpResponse(200, b"[" * 100_000), SendResult.FAILED),
        (HttpResponse(200, b"\xff"), SendResult.FAILED),
        (HttpResponse(204, b""), SendResult.FAILED),
        (HttpResponse(302, RESPONSE), SendResult.FAILED),
        (HttpResponse(401, RESPONSE), SendResult.REFUSED),
        (HttpResponse(404, RESPONSE), SendResult.REFUSED),
        (HttpResponse(421, RESPONSE), SendResult.REFUSED),
        # What a user would have seen, too.
        (HttpResponse(422, RESPONSE), SendResult.FAILED),
        (HttpResponse(500, RESPONSE), SendResult.FAILED),
        (HttpResponse(503, RESPONSE), SendResult.FAILED),
    ],
)
def test_only_a_response_with_a_label_for_each_instance_counts_as_answered(
    response: HttpResponse, result: SendResult
) -> None:
    assert decode_response(response, 1) == (result, ["setosa"] if result is SendResult.ANSWERED else None)


@given(st.integers(100, 599), st.binary(max_size=200), st.integers(1, 5))
def test_every_response_of_the_canary_has_a_result(status: int, body: bytes, instances: int) -> None:
    result, labels = decode_response(HttpResponse(status, body), instances)
    assert (labels is not None) == (result is SendResult.ANSWERED)


@pytest.mark.parametrize(
    ("stable", "canary", "result"),
    [
        (["a", "b"], ["a", "b"], PairResult.SAME),
        (["a", "b"], ["a", "c"], PairResult.DIFFERENT),
        (["a"], None, PairResult.ONLY_STABLE),
        (None, ["a"], PairResult.ONLY_CANARY),
        (None, None, PairResult.NEITHER),
    ],
)
def test_predictions_are_compared_instance_by_instance(
    stable: list[str] | None, canary: list[str] | None, result: PairResult
) -> None:
    assert compare_labels(stable, canary) is result
