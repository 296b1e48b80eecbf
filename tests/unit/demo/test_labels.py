"""The labels that follow predictions, against a real HTTP server on loopback."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from iris_demo import labels
from iris_demo.dataset import recorded_instances
from iris_demo.load import LoadConfig, generate
from iris_demo.samples import Label, LabelOutcome, Sample
from iris_demo.traffic import run_load

Answer = Callable[[dict[str, Any]], Awaitable[web.Response]]


class Service:
    """Predicts setosa whatever it is asked, and keeps what it is feedback."""

    def __init__(self) -> None:
        self.predicted: dict[str, tuple[float, ...]] = {}
        self.predicted_at: dict[str, float] = {}
        self.feedbacks: list[dict[str, Any]] = []
        self.feedback_time: dict[str, float] = {}
        self.feedback_times: list[float] = []
        self.keys: set[str | None] = set()
        self.refusals: list[int] = []
        self.retry_after = ""

    async def predict(self, request: web.Request) -> web.Response:
        name = f"request-{len(self.predicted)}"
        self.predicted[name] = tuple((await request.json())["instances"][0])
        self.predicted_at[name] = asyncio.get_running_loop().time()
        return web.json_response({}, headers={"X-Model-Version": "8.0.0", "X-Request-ID": name})

    async def receive_feedback(self, request: web.Request) -> web.Response:
        feedback = await request.json()
        self.feedbacks.append(feedback)
        self.feedback_times.append(asyncio.get_running_loop().time())
        self.feedback_time[feedback["request_id"]] = self.feedback_times[-1]
        self.keys.add(request.headers.get("Authorization"))
        if self.refusals:
            headers = {"Retry-After": self.retry_after} if self.retry_after else {}
            return web.json_response({}, status=self.refusals.pop(0), headers=headers)
        return web.json_response({"outcome": "correct" if feedback["label"] == "setosa" else "incorrect"})


@asynccontextmanager
async def serving(service: Service) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/v1/predict", service.predict)
    app.router.add_post("/v1/feedback", service.receive_feedback)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}/v1/predict"
    finally:
        await runner.cleanup()


def load(url: str, requests: int = 60, labels: float = 1.0, label_delay: float = 0.1) -> LoadConfig:
    return LoadConfig(
        url, "iris.example.com", 200.0, 10.0, requests, labels=labels, label_delay=label_delay, key="iris_secret"
    )


async def run(load: LoadConfig) -> list[Label]:
    found: list[Label] = []
    samples: list[Sample] = []
    await generate(load, asyncio.Event(), samples.append, found.append)
    return found


async def test_every_label_is_the_species_of_the_instance_that_was_sent() -> None:
    service = Service()
    async with serving(service) as url:
        found = await run(load(url))
    assert len(service.feedbacks) == len(found) == 60
    instances = recorded_instances()
    for feedback in service.feedbacks:
        features = service.predicted[feedback["request_id"]]
        nearest = {
            instance.species
            for instance in instances
            if max(abs(a - b) for a, b in zip(features, instance.features, strict=True)) <= 0.0501
        }
        assert feedback["label"] in nearest
    assert {feedback["label"] for feedback in service.feedbacks} == {"setosa", "versicolor", "virginica"}


async def test_the_outcome_of_a_label_is_counted_for_the_version_that_predicted() -> None:
    service = Service()
    async with serving(service) as url:
        found = await run(load(url))
    expected = Counter("correct" if feedback["label"] == "setosa" else "incorrect" for feedback in service.feedbacks)
    assert Counter(label.outcome for label in found) == expected
    assert {label.version for label in found} == {"8.0.0"}
    assert service.keys == {"Bearer iris_secret"}


async def test_only_a_share_of_the_answers_is_labelled_and_each_with_its_delay() -> None:
    service = Service()
    async with serving(service) as url:
        await run(load(url, requests=200, labels=0.3, label_delay=0.3))
    assert 30 <= len(service.feedbacks) <= 90
    assert all(at - service.predicted_at[name] >= 0.29 for name, at in service.feedback_time.items())


async def test_a_label_that_comes_too_early_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "FIRST_BACKOFF_SECONDS", 0.05)
    service = Service()
    service.refusals = [404, 503]
    async with serving(service) as url:
        found = await run(load(url, requests=1))
    assert [feedback["request_id"] for feedback in service.feedbacks] == ["request-0"] * 3
    assert [label.outcome for label in found] != [LabelOutcome.LOST]


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [
        pytest.param("1", 1.0, id="whole seconds"),
        pytest.param("Wed, 21 Oct 2026 07:28:00 GMT", 0.05, id="a date: ignored"),
    ],
)
async def test_a_label_is_not_retried_before_retry_after(
    monkeypatch: pytest.MonkeyPatch, retry_after: str, seconds: float
) -> None:
    monkeypatch.setattr(labels, "FIRST_BACKOFF_SECONDS", 0.05)
    service = Service()
    service.refusals, service.retry_after = [503], retry_after
    async with serving(service) as url:
        await run(load(url, requests=1))
    first, second = service.feedback_times
    assert second - first >= seconds


@pytest.mark.parametrize("refusals", [[409], [503] * labels.MAX_ATTEMPTS])
async def test_a_label_that_is_never_accepted_is_counted_as_lost(
    monkeypatch: pytest.MonkeyPatch, refusals: list[int]
) -> None:
    monkeypatch.setattr(labels, "FIRST_BACKOFF_SECONDS", 0.002)
    service = Service()
    service.refusals = list(refusals)
    async with serving(service) as url:
        found = await run(load(url, requests=1))
    assert [label.outcome for label in found] == [LabelOutcome.LOST]
    assert len(service.feedbacks) == len(refusals)


async def test_labels_are_reported_by_the_process_and_pending_ones_are_dropped_at_the_end() -> None:
    service = Service()
    async with serving(service) as url:
        async with run_load(load(url, requests=2000, label_delay=1.0)) as running:
            both = {LabelOutcome.CORRECT, LabelOutcome.INCORRECT}
            await running.wait_for(lambda _: {label.outcome for label in running.labels} == both, seconds=40)
        feedback = len(service.feedbacks)
        assert len(running.labels) == feedback < len(running.samples)


def test_an_invalid_share_is_rejected() -> None:
    with pytest.raises(ValueError, match="share"):
        load("http://127.0.0.1/v1/predict", labels=1.5)
