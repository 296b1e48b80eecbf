"""When passes begin and end around a change of the leader, in virtual time; and what the probes make of it."""

from __future__ import annotations

import asyncio

import pytest

from iris_operator.leadership import WithoutElection
from iris_operator.liveness import OVERDUE_SECONDS
from iris_operator.pass_gate import DRAIN_SECONDS, PassGate
from support.operator.candidates import Candidate, LeaseServer, now
from support.operator.virtual_time import run

ONE, OTHER = ("iris", "one"), ("iris", "other")


def test_a_standby_begins_no_pass_until_it_leads() -> None:
    async def play() -> None:
        server = LeaseServer()
        first = Candidate("first", server)
        await server.wait_for("first")
        second = Candidate("second", server)
        gate = PassGate(second.leadership, now)
        begun = asyncio.create_task(gate.wait(ONE))
        await asyncio.sleep(60.0)
        assert (gate.may_begin(), begun.done()) == (False, False)
        await first.stop()
        await asyncio.wait_for(begun, 2.0)
        assert gate.may_begin()
        second.kill()

    run(play())


@pytest.mark.parametrize("seconds", [0.2, 30.0])
def test_an_operator_that_ends_lets_its_pass_end_for_a_moment_and_hands_over(seconds: float) -> None:
    async def play() -> None:
        server = LeaseServer()
        first = Candidate("first", server)
        await server.wait_for("first")
        await asyncio.sleep(0.1)
        second = Candidate("second", server)
        gate = PassGate(first.leadership, now)
        wrote: list[bool] = []

        async def one_pass() -> None:
            with gate.passing(ONE):
                await asyncio.sleep(seconds)
                wrote.append(first.leadership.may_write())

        running = asyncio.create_task(one_pass())
        await asyncio.sleep(0.05)
        asked = now()
        await gate.close()
        assert not gate.may_begin()
        assert await server.wait_for("second") - asked < 2.0
        await running
        assert wrote == [seconds < DRAIN_SECONDS]
        first.kill()
        second.kill()

    run(play())


def test_no_pass_begins_once_the_gate_is_closed() -> None:
    async def play() -> None:
        gate = PassGate(WithoutElection(), now)
        assert gate.may_begin()
        await gate.close()
        assert not gate.may_begin()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(gate.wait(ONE), 3600.0)

    run(play())


def test_an_operator_is_not_alive_when_passes_are_due_and_none_ends() -> None:
    async def play() -> None:
        gate = PassGate(WithoutElection(), now)
        with gate.passing(ONE):
            pass
        gate.due(ONE, 300.0)
        await asyncio.sleep(300.0 + OVERDUE_SECONDS - 1)
        assert gate.problem() == ""
        await asyncio.sleep(2.0)
        assert "no reconcile has ended" in gate.problem()
        gate.due(ONE, 300.0)
        assert gate.problem() == ""

    run(play())


def test_one_release_that_hangs_while_others_go_on_is_no_reason_for_a_restart() -> None:
    async def play() -> None:
        gate = PassGate(WithoutElection(), now)
        with gate.passing(ONE):
            for _ in range(100):
                await asyncio.sleep(10.0)
                with gate.passing(OTHER):
                    pass
                gate.due(OTHER, 10.0)
                assert gate.problem() == ""

    run(play())


def test_nothing_is_due_from_a_standby_and_from_releases_that_are_gone() -> None:
    async def play() -> None:
        gate = PassGate(WithoutElection(), now)
        gate.due(ONE, 1.0)
        gate.due(OTHER, 1.0)
        gate.forget(ONE)
        gate.leader_changed()
        await asyncio.sleep(3600.0)
        assert gate.problem() == ""

    run(play())
