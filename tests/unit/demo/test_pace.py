"""How much traffic suits a machine: the rule, and the measurement against a real HTTP server on loopback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from iris_demo import pace
from iris_demo.load import Load, flowers_of
from iris_demo.pace import NoPredictionError, answer_seconds, suitable

SLOW_SECONDS = 0.02


class Service:
    """Takes its time for each answer."""

    def __init__(self, status: int = 200, late: float = 0.0) -> None:
        self.status = status
        self.late = late
        self.asked: list[tuple[float, ...]] = []
        self.keys: set[str | None] = set()
        self.at_once = self.most_at_once = 0

    async def predict(self, request: web.Request) -> web.Response:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.asked.append(tuple(json.loads(await request.text())["instances"][0]))
        self.keys.add(request.headers.get("Authorization"))
        # Only the first one.
        await asyncio.sleep(SLOW_SECONDS if len(self.asked) > 1 else max(SLOW_SECONDS, self.late))
        self.at_once -= 1
        return web.json_response({}, status=self.status)


@asynccontextmanager
async def serving(service: Service) -> AsyncIterator[Load]:
    app = web.Application()
    app.router.add_post("/v1/predict", service.predict)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        yield Load(f"http://{host}:{port}/v1/predict", "iris.example.com", 60.0, 5.0, 100, key="iris_secret")
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("milliseconds", "rate"),
    [
        pytest.param(1, 60, id="a fast machine gets what the acts are written for"),
        pytest.param(5, 60, id="the slowest that is fast enough"),
        pytest.param(10, 30, id="half as fast: half as many"),
        pytest.param(13, 23, id="whole requests"),
        pytest.param(500, 10, id="never too few for any evidence"),
    ],
)
def test_the_requests_one_after_the_other_take_less_than_a_third_of_each_second(milliseconds: float, rate: int) -> None:
    assert suitable(milliseconds / 1000) == rate


async def test_a_late_answer_does_not_make_a_machine_slow() -> None:
    async with serving(Service(late=6.0)) as load:
        assert SLOW_SECONDS <= await answer_seconds(load) < 0.1


async def test_answers_are_timed_one_after_the_other_with_the_key_and_with_flowers_of_their_own() -> None:
    service = Service()
    async with serving(service) as load:
        seconds = await answer_seconds(load)
        traffic = flowers_of(load)
        asked_later = {next(traffic).measured for _ in range(1000)}
    assert len(service.asked) == pace.REQUESTS
    assert seconds >= SLOW_SECONDS
    assert service.most_at_once == 1
    assert service.keys == {"Bearer iris_secret"}
    assert not asked_later & set(service.asked)


async def test_what_is_no_prediction_is_not_taken_for_the_machine_s_speed() -> None:
    async with serving(Service(status=429)) as load:
        with pytest.raises(NoPredictionError, match="429"):
            await answer_seconds(load)
