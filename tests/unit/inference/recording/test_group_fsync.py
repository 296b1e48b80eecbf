import asyncio
import threading

import pytest

from iris_inference.recording.group_fsync import GroupFsync


async def test_callers_during_a_sync_share_the_next_one() -> None:
    started, go = threading.Semaphore(0), threading.Semaphore(0)
    syncs: list[None] = []

    def sync() -> None:
        syncs.append(None)
        started.release()
        assert go.acquire(timeout=10)

    group = GroupFsync(sync)
    first = asyncio.create_task(group.wait())
    await asyncio.to_thread(started.acquire)
    others = [asyncio.create_task(group.wait()) for _ in range(50)]
    await asyncio.sleep(0)
    go.release()
    await first
    # The sync that was running when they arrived does not count for them.
    await asyncio.to_thread(started.acquire)
    assert not any(other.done() for other in others)
    go.release()
    await asyncio.gather(*others)
    assert len(syncs) == 2
    group.close()


async def test_a_failed_sync_fails_all_waiting_callers_and_the_next_one_is_tried() -> None:
    failures = [OSError("no disk")]

    def sync() -> None:
        if failures:
            raise failures.pop()

    group = GroupFsync(sync)
    errors = await asyncio.gather(group.wait(), group.wait(), return_exceptions=True)
    assert [str(error) for error in errors] == ["no disk", "no disk"]
    await group.wait()
    group.close()


async def test_a_cancelled_wait_does_not_affect_the_others() -> None:
    go = threading.Event()
    group = GroupFsync(lambda: assert_set(go))
    cancelled, other = asyncio.create_task(group.wait()), asyncio.create_task(group.wait())
    await asyncio.sleep(0)
    cancelled.cancel()
    go.set()
    await other
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    group.close()


def assert_set(event: threading.Event) -> None:
    assert event.wait(10)
