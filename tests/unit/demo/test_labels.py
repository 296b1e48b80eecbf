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
from iris_demo.load import Load, generate
from iris_demo.rows import recorded_flowers
from iris_demo.samples import Fate, Label, Sample
from iris_demo.traffic import traffic

Answer = Callable[[dict[str, Any]], Awaitable[web.Response]]


class Service:
    """Predicts setosa whatever it is asked, and keeps what it is told."""

    def __init__(self) -> None:
        self.predicted: dict[str, tuple[float, ...]] = {}
        self.asked_at: dict[str, float] = {}
        self.told: list[dict[str, Any]] = []
        self.told_at: dict[str, float] = {}
        self.told_when: list[float] = []
        self.keys: set[str | None] = set()
        self.refusals: list[int] = []
        self.retry_after = ""

    async def predict(self, request: web.Request) -> web.Response:
        name = f"request-{len(self.predicted)}"
        self.predicted[name] = tuple((await request.json())["instances"][0])
        self.asked_at[name] = asyncio.get_running_loop().time()
        return web.json_response({}, headers={"X-Model-Version": "8.0.0", "X-Request-ID": name})

    async def feedback(self, request: web.Request) -> web.Response:
        told = await request.json()
        self.told.append(told)
        self.told_when.append(asyncio.get_running_loop().time())
        self.told_at[told["request_id"]] = self.told_when[-1]
        self.keys.add(request.headers.get("Authorization"))
        if self.refusals:
            headers = {"Retry-After": self.retry_after} if self.retry_after else {}
            return web.json_response({}, status=self.refusals.pop(0), headers=headers)
        return web.json_response({"outcome": "correct" if told["label"] == "setosa" else "incorrect"})


@asynccontextmanager
async def serving(service: Service) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/v1/predict", service.predict)
    app.router.add_post("/v1/feedback", service.feedback)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}/v1/predict"
    finally:
        await runner.cleanup()


def load(url: str, requests: int = 60, labels: float = 1.0, label_delay: float = 0.1) -> Load:
    return Load(
        url, "iris.example.com", 200.0, 10.0, requests, labels=labels, label_delay=label_delay, key="iris_secret"
    )


async def run(load: Load) -> list[Label]:
    found: list[Label] = []
    samples: list[Sample] = []
    await generate(load, asyncio.Event(), samples.append, found.append)
    return found


async def test_every_label_is_the_species_of_the_flower_that_was_asked_about() -> None:
    service = Service()
    async with serving(service) as url:
        found = await run(load(url))
    assert len(service.told) == len(found) == 60
    flowers = recorded_flowers()
    for told in service.told:
        asked = service.predicted[told["request_id"]]
        nearest = {
            flower.species
            for flower in flowers
            if max(abs(a - b) for a, b in zip(asked, flower.measured, strict=True)) <= 0.0501
        }
        assert told["label"] in nearest
    assert {told["label"] for told in service.told} == {"setosa", "versicolor", "virginica"}


async def test_what_the_service_says_of_a_label_is_counted_for_the_version_that_predicted() -> None:
    service = Service()
    async with serving(service) as url:
        found = await run(load(url))
    said = Counter("correct" if told["label"] == "setosa" else "incorrect" for told in service.told)
    assert Counter(label.fate for label in found) == said
    assert {label.version for label in found} == {"8.0.0"}
    assert service.keys == {"Bearer iris_secret"}


async def test_only_a_share_of_the_answers_is_labelled_and_each_with_its_delay() -> None:
    service = Service()
    async with serving(service) as url:
        await run(load(url, requests=200, labels=0.3, label_delay=0.3))
    assert 30 <= len(service.told) <= 90
    assert all(at - service.asked_at[name] >= 0.29 for name, at in service.told_at.items())


async def test_a_label_that_comes_too_early_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "PAUSE_SECONDS", 0.05)
    service = Service()
    service.refusals = [404, 503]
    async with serving(service) as url:
        found = await run(load(url, requests=1))
    assert [told["request_id"] for told in service.told] == ["request-0"] * 3
    assert [label.fate for label in found] != [Fate.LOST]


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        pytest.param("1", 1.0, id="whole seconds"),
        pytest.param("Wed, 21 Oct 2026 07:28:00 GMT", 0.05, id="a date: as if nothing was said"),
    ],
)
async def test_a_label_is_not_sent_again_before_the_service_wants_it(
    monkeypatch: pytest.MonkeyPatch, said: str, seconds: float
) -> None:
    monkeypatch.setattr(labels, "PAUSE_SECONDS", 0.05)
    service = Service()
    service.refusals, service.retry_after = [503], said
    async with serving(service) as url:
        await run(load(url, requests=1))
    first, second = service.told_when
    assert second - first >= seconds


@pytest.mark.parametrize("refusals", [[409], [503] * labels.TRIES])
async def test_a_label_that_nobody_takes_is_lost_and_said_to_be(
    monkeypatch: pytest.MonkeyPatch, refusals: list[int]
) -> None:
    monkeypatch.setattr(labels, "PAUSE_SECONDS", 0.02)
    service = Service()
    service.refusals = list(refusals)
    async with serving(service) as url:
        found = await run(load(url, requests=1))
    assert [label.fate for label in found] == [Fate.LOST]
    assert len(service.told) == len(refusals)


async def test_labels_come_through_the_process_and_none_is_waited_for_at_the_end() -> None:
    service = Service()
    async with serving(service) as url:
        async with traffic(load(url, requests=2000, label_delay=1.0)) as running:
            both = {Fate.CORRECT, Fate.INCORRECT}
            await running.until(lambda _: {label.fate for label in running.labels} == both, seconds=40)
        told = len(service.told)
        assert len(running.labels) == told < len(running.samples)


def test_a_share_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="share"):
        load("http://127.0.0.1/v1/predict", labels=1.5)
