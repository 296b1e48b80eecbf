"""Operators that compete for the lease, in virtual time: never two leaders, and how soon another one takes over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import numpy as np
import pytest

from iris_operator.election import Timing
from support.operator.candidates import Candidate, LeaseServer, now
from support.operator.virtual_time import run

KILL_SECONDS = 15.0
GRACEFUL_SECONDS = 2.0


async def two(server: LeaseServer) -> tuple[Candidate, Candidate]:
    """The leader, and one that is on standby."""
    first = Candidate("first", server)
    await server.wait_for("first")
    second = Candidate("second", server)
    await asyncio.sleep(5.0)
    assert (first.leadership.leads(), second.leadership.leads()) == (True, False)
    return first, second


def scenario(body: Callable[[LeaseServer], Awaitable[None]]) -> None:
    async def play() -> None:
        await body(LeaseServer())

    run(play())


def test_the_first_one_leads_at_once_and_nobody_else_while_it_renews() -> None:
    async def body(server: LeaseServer) -> None:
        first, second = await two(server)
        await asyncio.sleep(3600.0)
        assert (first.leadership.leads(), second.leadership.leads()) == (True, False)
        assert [holder for _, holder in server.holders] == ["first"]
        assert server.holders[0][0] < 0.1

    scenario(body)


@pytest.mark.parametrize("after", [0.0, 0.3, 0.9, 1.5, 1.99])
def test_when_the_leader_is_killed_another_one_takes_over_within_15_seconds(after: float) -> None:
    async def body(server: LeaseServer) -> None:
        first, second = await two(server)
        await asyncio.sleep(after)
        first.kill()
        killed = now()
        assert await server.wait_for("second") - killed < KILL_SECONDS - 3.0
        await asyncio.sleep(0.1)
        assert second.leadership.leads()

    scenario(body)


@pytest.mark.parametrize("after", [0.0, 0.3, 0.9, 1.5, 1.99])
def test_when_the_leader_ends_gracefully_another_one_takes_over_within_2_seconds(after: float) -> None:
    async def body(server: LeaseServer) -> None:
        first, _ = await two(server)
        await asyncio.sleep(after)
        asked = now()
        await first.stop()
        assert not first.leadership.leads()
        assert await server.wait_for("second") - asked < GRACEFUL_SECONDS / 2

    scenario(body)


def test_one_that_ends_while_its_renewal_is_under_way_still_hands_over() -> None:
    async def body(server: LeaseServer) -> None:
        first, _ = await two(server)
        server.latency = lambda: 0.4
        await asyncio.sleep(2.1)
        for _ in range(200):  # until a renewal is under way
            if first.leadership._attempting.locked():
                break
            await asyncio.sleep(0.01)
        asked = now()
        await first.stop()
        assert await server.wait_for("second") - asked < GRACEFUL_SECONDS

    scenario(body)


def test_a_leader_that_cannot_renew_stops_before_anybody_can_take_over() -> None:
    async def body(server: LeaseServer) -> None:
        first, second = await two(server)
        server.away = True
        await asyncio.sleep(7.1)
        assert not first.leadership.leads()
        await asyncio.sleep(60.0)
        assert not second.leadership.leads()
        assert first.leadership.problem()
        assert second.leadership.problem()
        server.away = False
        await asyncio.sleep(1.0)
        assert first.leadership.leads() != second.leadership.leads()

    scenario(body)


def test_a_renewal_that_was_stored_and_whose_answer_was_lost_costs_nothing() -> None:
    async def body(server: LeaseServer) -> None:
        first, second = await two(server)
        for _ in range(100):
            server.loses_answer = lambda: True
            await asyncio.sleep(2.1)
            server.loses_answer = lambda: False
            for _ in range(50):
                await asyncio.sleep(0.1)
                assert first.leadership.leads()
        assert first.changes == [True]
        assert second.changes == []

    scenario(body)


def test_a_slow_api_server_is_no_reason_to_lead_no_longer() -> None:
    async def body(server: LeaseServer) -> None:
        first, _ = await two(server)
        server.latency = lambda: 2.8
        for _ in range(600):
            await asyncio.sleep(0.1)
            assert first.leadership.leads()

    scenario(body)


def test_one_that_was_stopped_and_continued_knows_at_once_that_it_leads_no_longer() -> None:
    async def body(server: LeaseServer) -> None:
        first, second = await two(server)
        with first.leadership.in_term():
            first.suspend()
            await server.wait_for("second")
            await asyncio.sleep(120.0)
            first.resume()
            assert not first.leadership.may_write()
        await asyncio.sleep(1.0)
        assert second.leadership.leads()
        assert first.changes == [True, False]

    scenario(body)


def test_a_pass_of_an_earlier_term_must_not_write_in_a_later_one_of_the_same_process() -> None:
    async def body(server: LeaseServer) -> None:
        first, second = await two(server)
        with first.leadership.in_term():
            assert first.leadership.may_write()
            first.suspend()
            await server.wait_for("second")
            first.resume()
            await second.stop()
            await server.wait_for("first")
            await asyncio.sleep(1.0)
            assert first.leadership.leads()
            assert not first.leadership.may_write()
        with first.leadership.in_term():
            assert first.leadership.may_write()

    scenario(body)


def test_one_whose_whole_machine_was_suspended_is_mistaken_which_only_the_api_server_can_tell() -> None:
    async def body(server: LeaseServer) -> None:
        first, _ = await two(server)
        first.suspend(clock_stops=True)
        await server.wait_for("second")
        await asyncio.sleep(120.0)
        first.resume()
        # This is why the holder is compared at every write.
        assert first.leadership.leads()
        assert server.stored.holder == "second"
        await asyncio.sleep(2.5)
        assert not first.leadership.leads()

    scenario(body)


def test_who_waits_for_the_lease_is_woken_when_it_gets_it() -> None:
    async def body(server: LeaseServer) -> None:
        first, second = await two(server)
        waiting = asyncio.create_task(second.leadership.wait())
        await asyncio.sleep(30.0)
        assert not waiting.done()
        first.kill()
        await asyncio.wait_for(waiting, KILL_SECONDS)

    scenario(body)


def test_a_standby_is_ready_while_it_sees_the_leader_renew() -> None:
    async def body(server: LeaseServer) -> None:
        first, second = await two(server)
        assert (first.leadership.problem(), second.leadership.problem()) == ("", "")

    scenario(body)


def test_an_election_that_does_not_come_round_is_noticed() -> None:
    async def body(server: LeaseServer) -> None:
        first, second = await two(server)
        await asyncio.sleep(300.0)
        assert (first.leadership.hangs(), second.leadership.hangs()) == (False, False)
        second.suspend()
        await asyncio.sleep(61.0)
        assert (first.leadership.hangs(), second.leadership.hangs()) == (False, True)

    scenario(body)


class Trouble:
    """Everything that can happen to three candidates, one thing after the other."""

    def __init__(self, seed: int, timing: Timing) -> None:
        self.chance = np.random.default_rng(seed)
        self.timing = timing
        self.server = LeaseServer(
            latency=lambda: float(self.chance.choice([0.005, 0.05, 0.5, 3.0, self.chance.uniform(0.0, 8.0)])),
            loses_answer=lambda: bool(self.chance.random() < 0.1),
        )
        self.living = [self.started() for _ in range(3)]

    def started(self) -> Candidate:
        return Candidate(f"c{self.chance.random()}", self.server, self.timing, rate=self.chance.uniform(0.99, 1.01))

    async def happen(self) -> None:
        at = int(self.chance.integers(3))
        one = self.living[at]
        match self.chance.integers(5):
            case 0:
                one.suspend()
            case 1:
                one.kill()
                self.living[at] = self.started()
            case 2:
                self.server.away = not self.server.away
            case 3:
                one.resume()
                await one.stop()
                self.living[at] = self.started()
            case _:
                for each in self.living:
                    each.resume()


def leaders_at_once(seed: int, timing: Timing) -> int:
    """The largest number of leaders at any moment of about ten minutes of trouble."""

    async def play() -> int:
        trouble, most = Trouble(seed, timing), 0
        for _ in range(60):
            await trouble.happen()
            for _ in range(trouble.chance.integers(400)):
                await asyncio.sleep(0.05)
                most = max(most, sum(each.leadership.leads() for each in trouble.living))
            trouble.server.away = trouble.server.away and trouble.chance.random() < 0.5
        for each in trouble.living:
            each.kill()
        assert len(trouble.server.holders) > 3, "hardly anything happened"
        return most

    return run(play())


@pytest.mark.parametrize("seed", range(8))
def test_there_are_never_two_leaders(seed: int) -> None:
    assert leaders_at_once(seed, Timing()) == 1


def test_the_search_finds_two_leaders_where_a_leader_goes_on_for_longer_than_others_wait() -> None:
    assert any(leaders_at_once(seed, Timing(deadline=20.0)) > 1 for seed in range(8))
