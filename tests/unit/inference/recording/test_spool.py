import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from iris_inference.frames import LONGEST, frame
from iris_inference.records import BacklogDamagedError, BacklogFullError, Entry
from iris_inference.spool import Spool, SpoolError
from unit.inference.entries import entry, request_id, waiting

MIB = 1024 * 1024
Open = Callable[..., Spool]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Opens the spool of this test; what an earlier call opened is closed by the test or abandoned as by a kill."""
    spools: list[Spool] = []

    def open_spool(max_bytes: int = MIB) -> Spool:
        spools.append(Spool(tmp_path / "spool", max_bytes, sync=False))
        return spools[-1]

    yield open_spool
    for spool in spools:
        spool.close()


def files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "spool").glob("*.spool"))


def left_behind(tmp_path: Path, *contents: bytes) -> None:
    """What a killed process leaves: files and no lock."""
    (tmp_path / "spool").mkdir()
    for number, content in enumerate(contents, 1):
        (tmp_path / "spool" / f"{number:012d}.spool").write_bytes(content)


def test_entries_come_out_as_they_went_in_and_in_order(opened: Open) -> None:
    spool = opened()
    entries = [entry(str(number), rows=number + 1) for number in range(10)]
    for one in entries:
        spool.append([one])
    assert spool.peek(10_000) == entries
    assert spool.rows == 55
    assert spool.oldest == entries[0].at


def test_a_peek_holds_as_many_rows_as_asked_and_at_least_one_entry(opened: Open) -> None:
    spool = opened()
    for name, rows in (("a", 5), ("b", 2), ("c", 2)):
        spool.append([entry(name, rows)])
    assert [request_id(one) for one in spool.peek(3)] == ["a"]
    assert [request_id(one) for one in spool.peek(7)] == ["a", "b"]


def test_what_is_not_forgotten_is_seen_again(opened: Open) -> None:
    spool = opened()
    for name in "abc":
        spool.append([entry(name)])
    assert len(spool.peek(2)) == 2
    spool.forget(1)
    assert waiting(spool) == ["b", "c"]
    assert (spool.rows, spool.size, spool.oldest) == (0, 0, None)


def test_the_next_process_finds_what_was_not_forgotten(opened: Open) -> None:
    spool = opened()
    for name in "abc":
        spool.append([entry(name)])
    spool.peek(1)
    spool.forget(1)
    spool.close()
    # At least once: where the process was in a file is not kept, and the database knows what it has.
    assert waiting(opened()) == ["a", "b", "c"]


def test_an_empty_spool_leaves_no_files(opened: Open, tmp_path: Path) -> None:
    spool = opened()
    spool.append([entry("a")])
    assert waiting(spool) == ["a"]
    spool.close()
    assert files(tmp_path) == []


def test_the_size_is_bounded_and_what_does_not_fit_changes_nothing(opened: Open, tmp_path: Path) -> None:
    spool = opened()
    taken = 0
    while spool.size < 0.99 * MIB:
        spool.append([entry(str(taken), rows=50)])
        taken += 1
    with pytest.raises(BacklogFullError, match=f"{MIB} may be kept"):
        spool.append([entry("large", rows=200)])
    assert sum(path.stat().st_size for path in files(tmp_path)) == spool.size <= MIB
    assert waiting(spool) == [str(number) for number in range(taken)]
    spool.append([entry("after")])
    assert waiting(spool) == ["after"]


def test_what_the_database_has_gives_its_room_back_file_by_file(opened: Open, tmp_path: Path) -> None:
    spool = opened()
    for number in range(300):
        spool.append([entry(str(number), rows=30)])
    before = len(files(tmp_path))
    assert before > 2
    while spool.rows > 1_500:
        spool.forget(len(spool.peek(30)))
    assert len(files(tmp_path)) < before
    assert waiting(spool) == [str(number) for number in range(250, 300)]


def test_records_of_large_requests_are_found_as_they_were_written(opened: Open) -> None:
    written = [entry("a", rows=256), entry("b"), entry("c", rows=20)]
    spool = opened()
    spool.append(written)
    spool.close()
    assert [waits.folded for waits in written] == [True, False, True]
    assert opened().peek(1_000) == written


def test_an_entry_that_is_much_larger_than_the_others_is_read_too(opened: Open) -> None:
    """What is read at once is what the average tells. Seen to fail without a second look."""
    spool = opened()
    written = [entry("large", rows=2_000), *[entry(str(number)) for number in range(100)]]
    spool.append(written)
    assert spool.peek(1) == written[:1]


def test_a_record_cut_short_at_any_byte_is_cut_off_and_the_others_stay(tmp_path: Path) -> None:
    whole, last = frame(entry("a")) + frame(entry("b")), frame(entry("c"))
    folder = tmp_path / "spool"
    left_behind(tmp_path)
    for length in range(len(last)):
        (folder / "000000000001.spool").write_bytes(whole + last[:length])
        spool = Spool(folder, MIB, sync=False)
        assert (folder / "000000000001.spool").stat().st_size == len(whole)
        spool.append([entry("d")])
        assert waiting(spool) == ["a", "b", "d"]
        spool.close()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("tail", [bytes(4096), b"\xff" * 100, b"irf2", b"irf2" + bytes(20)], ids=lambda tail: tail[:5])
def test_what_is_no_record_at_the_end_is_cut_off(tail: bytes, opened: Open, tmp_path: Path) -> None:
    left_behind(tmp_path, frame(entry("a")) + tail)
    assert waiting(opened()) == ["a"]


def test_a_file_of_nothing_but_an_unfinished_record_goes(opened: Open, tmp_path: Path) -> None:
    left_behind(tmp_path, frame(entry("a"))[:-1], b"", frame(entry("b")))
    spool = opened()
    assert waiting(spool) == ["b"]


def test_a_flipped_bit_is_found_wherever_it_is(tmp_path: Path) -> None:
    last = frame(entry("b"))
    for position in range(len(last)):
        folder = tmp_path / str(position)
        folder.mkdir()
        flipped = bytearray(last)
        flipped[position] ^= 0x10
        (folder / "000000000001.spool").write_bytes(frame(entry("a")) + flipped)
        spool = Spool(folder, MIB, sync=False)
        assert waiting(spool) == ["a"]
        spool.close()


def test_damage_before_the_end_is_set_aside_and_told(
    opened: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    damaged = bytearray(frame(entry("b")))
    damaged[-1] ^= 1
    left_behind(tmp_path, frame(entry("a")) + damaged + frame(entry("c")))
    assert waiting(opened()) == ["a"]
    assert (tmp_path / "spool" / "000000000001.damaged").read_bytes() == damaged + frame(entry("c"))
    assert [line.levelname for line in caplog.records if "damaged" in line.getMessage()] == ["CRITICAL"]


def test_a_disk_that_loses_what_it_had_is_told_and_the_rest_goes_on(opened: Open, tmp_path: Path) -> None:
    spool = opened()
    for name in "ab":
        spool.append([entry(name)])
    (path,) = files(tmp_path)
    with path.open("r+b") as damaged:
        damaged.write(b"\0")
    with pytest.raises(BacklogDamagedError) as loss:
        spool.peek(10)
    assert loss.value.rows == 2
    spool.append([entry("c")])
    assert waiting(spool) == ["c"]


def test_a_disk_that_fills_up_within_a_record_leaves_no_half_of_it(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = opened()
    spool.append([entry("a")])
    with monkeypatch.context() as patch:
        _disk_takes(patch, 10)
        with pytest.raises(BacklogFullError, match="No space left"):
            spool.append([entry("b")])
    spool.append([entry("c")])
    assert waiting(spool) == ["a", "c"]


def test_half_a_record_that_cannot_be_taken_back_ends_its_file(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = opened()
    spool.append([entry("a")])
    with monkeypatch.context() as patch:
        _disk_takes(patch, 10)
        patch.setattr("iris_inference.segments.os.ftruncate", _fails)
        with pytest.raises(BacklogFullError):
            spool.append([entry("b")])
    spool.append([entry("c")])
    spool.close()
    assert waiting(opened()) == ["a", "c"]


def test_a_record_that_could_not_be_read_back_is_not_taken(opened: Open) -> None:
    with pytest.raises(BacklogFullError):
        opened(10 * MIB).append([Entry(1, 0.0, bytes(LONGEST))])


def test_a_closed_spool_takes_nothing(opened: Open) -> None:
    spool = opened()
    spool.close()
    with pytest.raises(BacklogFullError):
        spool.append([entry("late")])


def test_a_folder_belongs_to_one_process(opened: Open, tmp_path: Path) -> None:
    opened()
    with pytest.raises(SpoolError, match="another process uses it"):
        opened()
    code = "import pathlib, sys, iris_inference.spool as s; s.Spool(pathlib.Path(sys.argv[1]), 9999, sync=False)"
    other = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "spool")],
        env={"PYTHONPATH": "inference"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "another process uses it" in other.stderr


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SpoolError, match="file/spool"):
        Spool(tmp_path / "file" / "spool", MIB, sync=False)


async def test_with_sync_an_entry_settles_once_the_disk_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    fsync = os.fsync

    def counted(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_size)
        fsync(descriptor)

    spool = Spool(tmp_path / "spool", MIB, sync=True)
    monkeypatch.setattr("iris_inference.spool.os.fsync", counted)
    spool.append([entry("a")])
    await spool.settle()
    assert spool.size in synced
    monkeypatch.setattr("iris_inference.spool.os.fsync", _fails)
    spool.append([entry("b")])
    with pytest.raises(BacklogFullError, match="cannot be written to disk"):
        await spool.settle()
    monkeypatch.undo()
    # Not behind the bytes that the disk did not take.
    spool.append([entry("c")])
    await spool.settle()
    assert len(files(tmp_path)) == 2
    spool.close()


def _disk_takes(patch: pytest.MonkeyPatch, room: int) -> None:
    write = os.write
    left = room

    def nearly_full(descriptor: int, data: bytes) -> int:
        nonlocal left
        if not left:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = write(descriptor, data[:left])
        left -= written
        return written

    patch.setattr("iris_inference.segments.os.write", nearly_full)


def _fails(*_arguments: object) -> None:
    raise OSError(errno.EIO, "Input/output error")
