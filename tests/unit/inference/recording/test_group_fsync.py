import asyncio
import threading

import pytest

from iris_inference.groupsync import GroupSync


async def test_who_asks_while_the_disk_works_shares_the_next_turn() -> None:
    started, go = threading.Semaphore(0), threading.Semaphore(0)
    turns: list[None] = []

    def sync() -> None:
        turns.append(None)
        started.release()
        assert go.acquire(timeout=10)

    group = GroupSync(sync)
    first = asyncio.create_task(group.wait())
    await asyncio.to_thread(started.acquire)
    others = [asyncio.create_task(group.wait()) for _ in range(50)]
    await asyncio.sleep(0)
    go.release()
    await first
    # Begun after they had written: the turn that was running when they came does not count for them.
    await asyncio.to_thread(started.acquire)
    assert not any(other.done() for other in others)
    go.release()
    await asyncio.gather(*others)
    assert len(turns) == 2
    group.close()


async def test_a_disk_that_fails_is_told_to_all_who_wait_and_tried_again_for_the_next() -> None:
    failures = [OSError("no disk")]

    def sync() -> None:
        if failures:
            raise failures.pop()

    group = GroupSync(sync)
    told = await asyncio.gather(group.wait(), group.wait(), return_exceptions=True)
    assert [str(error) for error in told] == ["no disk", "no disk"]
    await group.wait()
    group.close()


async def test_a_wait_that_is_given_up_does_not_disturb_the_others() -> None:
    go = threading.Event()
    group = GroupSync(lambda: assert_set(go))
    gone, stays = asyncio.create_task(group.wait()), asyncio.create_task(group.wait())
    await asyncio.sleep(0)
    gone.cancel()
    go.set()
    await stays
    with pytest.raises(asyncio.CancelledError):
        await gone
    group.close()


def assert_set(event: threading.Event) -> None:
    assert event.wait(10)
