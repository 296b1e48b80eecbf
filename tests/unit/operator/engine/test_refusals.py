"""The API server rejects requests, asks to retry later, or serves two operators at once: no wrong change is made."""

from __future__ import annotations

import asyncio
from typing import Any

from iris_operator.api import names
from iris_operator.engine.ports import Conflict, Forbidden, Json, Unavailable
from support.operator.simulation import LOOP, Simulation, at_share, phase, serving


def at_ten_percent() -> Simulation:
    simulation = Simulation()
    simulation.apply("1.0.0")
    simulation.run(serving("1.0.0"))
    simulation.apply("2.0.0")
    simulation.run(at_share(10))
    return simulation


def test_a_missing_right_degrades_the_release_with_the_right_named_and_holds_the_weight() -> None:
    simulation = at_ten_percent()

    def forbid(_number: int, what: str) -> None:
        if what.startswith("apply Ingress"):
            raise Forbidden('cannot patch resource "ingresses" in API group "networking.k8s.io"')

    simulation.server.before_write = forbid
    status = simulation.run(phase("Degraded"))
    degraded = next(c for c in status.conditions if c.type == "Degraded")
    assert (degraded.status, degraded.reason) == ("True", "MissingRights")
    assert '"ingresses"' in degraded.message
    assert simulation.share == 10
    simulation.server.before_write = lambda _number, _what: None
    simulation.run(serving("2.0.0"))
    assert simulation.server.shares == [10, 50, 100, 0]


def test_the_servers_retry_after_is_respected() -> None:
    simulation = at_ten_percent()

    def busy(_number: int, _what: str) -> None:
        raise Unavailable("429 too many requests", retry_after=17.0)

    simulation.server.before_write = busy
    waits = [simulation.step().requeue_after for _ in range(30)]
    assert 17.0 in waits
    simulation.server.before_write = lambda _number, _what: None
    simulation.run(serving("2.0.0"))
    assert simulation.server.shares == [10, 50, 100, 0]


def test_a_write_that_succeeded_and_was_reported_as_failed_is_not_repeated_as_a_step() -> None:
    """A time-out after the commit, at every write of a rollout."""
    for number in range(1, 40):
        simulation = Simulation()
        simulation.apply("1.0.0")
        simulation.run(serving("1.0.0"))
        simulation.server.writes = 0

        def time_out(seen: int, what: str, number: int = number) -> None:
            if seen == number:
                raise Unavailable(what, retry_after=1.0)

        simulation.server.after_write = time_out
        simulation.apply("2.0.0")
        simulation.run(serving("2.0.0"))
        assert simulation.server.shares == [10, 50, 100, 0], f"timed out after write {number}"


def test_of_two_operators_at_once_each_step_is_taken_once() -> None:
    simulation = at_ten_percent()
    first, second = simulation.start_operator(), simulation.start_operator()

    async def both() -> None:
        await asyncio.gather(first.reconcile("iris", "iris"), second.reconcile("iris", "iris"))

    for _ in range(200):
        simulation.record_shares()
        LOOP.run_until_complete(both())
        simulation.server.advance(1.0)
        if serving("2.0.0")(simulation.status):
            break
    assert serving("2.0.0")(simulation.status)
    assert simulation.server.shares == [10, 50, 100, 0]
    assert [entry.version for entry in simulation.status.history] == ["2.0.0", "1.0.0"]


def test_an_operator_that_was_suspended_over_a_rollback_does_not_carry_out_its_old_decision() -> None:
    """It has read, judged and decided on the next step; before it writes, the other one rolls the canary back."""
    simulation = at_ten_percent()
    awake, slept = asyncio.Event(), simulation.start_operator()
    simulation.start_operator()
    apply = simulation.server.apply

    async def slow_apply(manifest: Json, *, subresource: str = "", manager: str = names.FIELD_MANAGER) -> Json:
        if asyncio.current_task() is sleeper and subresource:
            await awake.wait()
        return await apply(manifest, subresource=subresource, manager=manager)

    sleeper: asyncio.Task[Any] | None = None

    async def fall_asleep() -> None:
        nonlocal sleeper
        sleeper = asyncio.create_task(slept.reconcile("iris", "iris"))
        for _ in range(20):
            await asyncio.sleep(0)

    async def wake_up() -> None:
        awake.set()
        assert sleeper is not None
        await sleeper

    simulation.server.advance(40.0)  # so that a judgement is due and passes
    simulation.server.apply = slow_apply  # type: ignore[method-assign] # a process that the kernel does not schedule
    LOOP.run_until_complete(fall_asleep())
    simulation.apply("1.0.0")
    simulation.run(serving("1.0.0"))
    LOOP.run_until_complete(wake_up())
    assert simulation.weight == 0
    assert simulation.status.phase == "Stable"
    assert simulation.server.shares == [10, 0]


def test_an_endless_conflict_does_not_end_the_loop() -> None:
    simulation = at_ten_percent()

    def conflict(_number: int, what: str) -> None:
        raise Conflict(what)

    simulation.server.before_write = conflict
    for _ in range(20):
        assert not simulation.step().finished
    assert simulation.share == 10
