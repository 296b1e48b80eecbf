"""The calibrated rate: the rule, and the measurement against a real HTTP server on loopback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from iris_demo import calibrate_rate
from iris_demo.calibrate_rate import CalibrationError, median_response_seconds, rate_for
from iris_demo.load import LoadConfig, instances_of

SLOW_SECONDS = 0.02


class Clock:
    """Advances by the time that a service says it took."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


class Service:
    """Delays each response: in real time, or by a clock."""

    def __init__(self, status: int = 200, late: float = 0.0, clock: Clock | None = None) -> None:
        self.status = status
        self.late = late
        self.clock = clock
        self.features: list[tuple[float, ...]] = []
        self.keys: set[str | None] = set()
        self.at_once = self.most_at_once = 0

    async def predict(self, request: web.Request) -> web.Response:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.features.append(tuple(json.loads(await request.text())["instances"][0]))
        self.keys.add(request.headers.get("Authorization"))
        # Only the first one.
        seconds = SLOW_SECONDS if len(self.features) > 1 else max(SLOW_SECONDS, self.late)
        if self.clock:
            self.clock.now += seconds
        else:
            await asyncio.sleep(seconds)
        self.at_once -= 1
        return web.json_response({}, status=self.status)


@asynccontextmanager
async def serving(service: Service) -> AsyncIterator[LoadConfig]:
    app = web.Application()
    app.router.add_post("/v1/predict", service.predict)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        yield LoadConfig(f"http://{host}:{port}/v1/predict", "iris.example.com", 60.0, 5.0, 100, key="iris_secret")
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("milliseconds", "rate"),
    [
        pytest.param(1, 60, id="a fast machine gets what the scenarios are designed for"),
        pytest.param(5, 60, id="the slowest that is fast enough"),
        pytest.param(10, 30, id="half as fast: half as many"),
        pytest.param(13, 23, id="whole requests"),
        pytest.param(500, 10, id="never too few for any evidence"),
    ],
)
def test_sequential_requests_take_less_than_a_third_of_each_second(milliseconds: float, rate: int) -> None:
    assert rate_for(milliseconds / 1000) == rate


async def test_one_late_response_does_not_change_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(calibrate_rate, "time", clock)
    async with serving(Service(late=6.0, clock=clock)) as load:
        assert await median_response_seconds(load) == pytest.approx(SLOW_SECONDS)


async def test_responses_are_timed_sequentially_with_the_key_and_with_other_instances_than_the_traffic() -> None:
    service = Service()
    async with serving(service) as load:
        seconds = await median_response_seconds(load)
        traffic = instances_of(load)
        sent_later = {next(traffic).features for _ in range(1000)}
    assert len(service.features) == calibrate_rate.REQUESTS
    assert seconds >= SLOW_SECONDS
    assert service.most_at_once == 1
    assert service.keys == {"Bearer iris_secret"}
    assert not sent_later & set(service.features)


async def test_an_error_response_is_not_used_for_calibration() -> None:
    async with serving(Service(status=429)) as load:
        with pytest.raises(CalibrationError, match="429"):
            await median_response_seconds(load)
