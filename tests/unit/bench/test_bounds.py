"""Medians, and what is promised of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from bench.inference.bounds import Bound, bounds, medians_by_case
from bench.inference.image import ImageSize
from bench.inference.procfs import Memory, Usage
from bench.inference.run import Run

NO_IMAGE = ImageSize(None, "not built")


def run(case: str, **seen: Any) -> Run:
    values: dict[str, Any] = {
        "repetition": 0,
        "seconds": 1.0,
        "requests": 100,
        "rate": 100.0,
        "predictions_rate": 100.0,
        "p50_ms": 1.0,
        "p99_ms": 2.0,
        "p999_ms": 3.0,
        "max_ms": 4.0,
        "errors": {},
        "answer_bytes": 270,
        "shares": {"server": 0.98, "wrk": 0.2},
        "server_core": Usage(1.0, 0.0),
        "load_core": Usage(0.5, 0.0),
        "memory": Memory(100_000_000, 90_000_000),
        "behind": None,
        "void": [],
    }
    return Run(case=case, **values | seen)


def judged(runs: Sequence[Run], ready: float | None = None, image: ImageSize = NO_IMAGE) -> Mapping[str, Bound]:
    return {bound.name: bound for bound in bounds(medians_by_case(runs), ready, image)}


def test_a_median_leaves_void_runs_out() -> None:
    runs = [run("bare", rate=rate) for rate in (10.0, 30.0, 20.0)] + [run("bare", rate=99.0, void=["failed"])]
    assert medians_by_case(runs)["bare"].rate == 20
    assert medians_by_case(runs)["bare"].repetitions == 3


def test_a_case_with_nothing_but_void_runs_has_no_median() -> None:
    assert medians_by_case([run("bare", void=["failed"])]) == {}


@pytest.mark.parametrize(("rate", "met"), [(400.0, True), (399.9, False)])
def test_the_request_rate_is_compared_with_the_bare_application(rate: float, met: bool) -> None:
    bound = judged([run("bare", rate=1_000.0), run("ours", rate=rate)])["requests: ours / bare ASGI"]
    assert bound.value == pytest.approx(rate / 1_000)
    assert bound.met is met


@pytest.mark.parametrize(("p99", "met"), [(5.9, True), (6.0, False)])
def test_p99_is_compared_with_the_bare_application(p99: float, met: bool) -> None:
    assert judged([run("bare", p99_ms=2.0), run("ours", p99_ms=p99)])["p99: ours / bare ASGI"].met is met


@pytest.mark.parametrize(
    ("name", "ours", "theirs", "times"),
    [
        ("requests: ours / MLServer, logistic regression", "ours", "mlserver", 10),
        ("requests: ours / MLServer, forest", "ours-forest", "mlserver-forest", 60),
    ],
)
def test_the_request_rate_is_compared_with_mlserver_with_the_same_model(
    name: str, ours: str, theirs: str, times: int
) -> None:
    assert judged([run(theirs, rate=10.0), run(ours, rate=10.0 * times)])[name].met is True
    assert judged([run(theirs, rate=10.1), run(ours, rate=10.0 * times)])[name].met is False


def test_batches_are_counted_in_predictions() -> None:
    name = "predictions in batches of 256"
    assert judged([run("ours-batch", rate=600.0, predictions_rate=153_600.0)])[name].met is True
    assert judged([run("ours-batch", rate=600.0, predictions_rate=149_999.0)])[name].met is False


def test_memory_is_that_of_the_largest_of_ours() -> None:
    small, large = Memory(100_000_000, 0), Memory(221_000_000, 0)
    bound = judged([run("ours", memory=small), run("ours-batch", memory=large), run("mlserver", memory=large)])
    assert bound["memory after load, the largest of ours"].value == 221
    assert bound["memory after load, the largest of ours"].met is False
    theirs = judged([run("ours", memory=small), run("mlserver", memory=large)])
    assert theirs["memory after load, the largest of ours"].met is True


def test_start_and_image_are_compared_with_their_limits() -> None:
    good = judged([], 2.99, ImageSize(399_000_000, "an image"))
    bad = judged([], 3.0, ImageSize(400_000_000, "an image"))
    assert [good[name].met for name in ("start to ready", "image")] == [True, True]
    assert [bad[name].met for name in ("start to ready", "image")] == [False, False]


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    assert {bound.met for bound in judged([run("bare")]).values()} == {None}
    assert judged([])["image"].note == "not built"


def test_the_load_is_all_that_runs_beside_the_server() -> None:
    found = medians_by_case([run("ours", shares={"server": 0.9, "wrk": 0.2, "postgres": 0.5, "redis": 0.1})])["ours"]
    assert found.server_share == 0.9
    assert found.load_share == pytest.approx(0.8)
