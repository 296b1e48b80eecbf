import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from iris_inference.recording.frames import MAX_FRAME_BYTES, encode_frame
from iris_inference.recording.record import BacklogDamagedError, BacklogFullError, Entry
from iris_inference.recording.spool import Spool, SpoolError
from support.inference.entries import drain, entry, request_id

MIB = 1024 * 1024
OpenSpool = Callable[..., Spool]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[OpenSpool]:
    """Opens the spool; the test closes what an earlier call opened, or abandons it as if killed."""
    spools: list[Spool] = []

    def open_spool(max_bytes: int = MIB) -> Spool:
        spools.append(Spool(tmp_path / "spool", max_bytes, sync=False))
        return spools[-1]

    yield open_spool
    for spool in spools:
        spool.close()


def files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "spool").glob("*.spool"))


def leave_files(tmp_path: Path, *contents: bytes) -> None:
    """Write the files of a killed process, without a lock."""
    (tmp_path / "spool").mkdir()
    for number, content in enumerate(contents, 1):
        (tmp_path / "spool" / f"{number:012d}.spool").write_bytes(content)


def test_entries_are_read_back_unchanged_and_in_order(opened: OpenSpool) -> None:
    spool = opened()
    entries = [entry(str(number), rows=number + 1) for number in range(10)]
    for one in entries:
        spool.append([one])
    assert spool.peek(10_000) == entries
    assert spool.rows == 55
    assert spool.oldest == entries[0].predicted_at


def test_a_peek_returns_up_to_the_requested_rows_and_at_least_one_entry(opened: OpenSpool) -> None:
    spool = opened()
    for name, rows in (("a", 5), ("b", 2), ("c", 2)):
        spool.append([entry(name, rows)])
    assert [request_id(one) for one in spool.peek(3)] == ["a"]
    assert [request_id(one) for one in spool.peek(7)] == ["a", "b"]


def test_entries_that_are_not_removed_are_peeked_again(opened: OpenSpool) -> None:
    spool = opened()
    for name in "abc":
        spool.append([entry(name)])
    assert len(spool.peek(2)) == 2
    spool.remove(1)
    assert drain(spool) == ["b", "c"]
    assert (spool.rows, spool.size, spool.oldest) == (0, 0, None)


def test_the_next_process_finds_the_entries_that_were_not_removed(opened: OpenSpool) -> None:
    spool = opened()
    for name in "abc":
        spool.append([entry(name)])
    spool.peek(1)
    spool.remove(1)
    spool.close()
    # At least once: the position in a file is not stored, and the database detects duplicates.
    assert drain(opened()) == ["a", "b", "c"]


def test_an_empty_spool_leaves_no_files(opened: OpenSpool, tmp_path: Path) -> None:
    spool = opened()
    spool.append([entry("a")])
    assert drain(spool) == ["a"]
    spool.close()
    assert files(tmp_path) == []


def test_the_size_is_bounded_and_a_rejected_entry_changes_nothing(opened: OpenSpool, tmp_path: Path) -> None:
    spool = opened()
    accepted = 0
    while spool.size < 0.99 * MIB:
        spool.append([entry(str(accepted), rows=50)])
        accepted += 1
    with pytest.raises(BacklogFullError, match=f"{MIB} may be kept"):
        spool.append([entry("large", rows=200)])
    assert sum(path.stat().st_size for path in files(tmp_path)) == spool.size <= MIB
    assert drain(spool) == [str(number) for number in range(accepted)]
    spool.append([entry("after")])
    assert drain(spool) == ["after"]


def test_removed_entries_free_their_space_file_by_file(opened: OpenSpool, tmp_path: Path) -> None:
    spool = opened()
    for number in range(300):
        spool.append([entry(str(number), rows=30)])
    before = len(files(tmp_path))
    assert before > 2
    while spool.rows > 1_500:
        spool.remove(len(spool.peek(30)))
    assert len(files(tmp_path)) < before
    assert drain(spool) == [str(number) for number in range(250, 300)]


def test_records_of_large_requests_are_read_back_unchanged(opened: OpenSpool) -> None:
    written = [entry("a", rows=256), entry("b"), entry("c", rows=20)]
    spool = opened()
    spool.append(written)
    spool.close()
    assert [one.columnar for one in written] == [True, False, True]
    assert opened().peek(1_000) == written


def test_an_entry_much_larger_than_the_average_is_read(opened: OpenSpool) -> None:
    """The first read has the average size. Seen to fail without a second read."""
    spool = opened()
    written = [entry("large", rows=2_000), *[entry(str(number)) for number in range(100)]]
    spool.append(written)
    assert spool.peek(1) == written[:1]


def test_a_record_truncated_at_any_byte_is_removed_and_the_others_stay(tmp_path: Path) -> None:
    complete, last = encode_frame(entry("a")) + encode_frame(entry("b")), encode_frame(entry("c"))
    folder = tmp_path / "spool"
    leave_files(tmp_path)
    for length in range(len(last)):
        (folder / "000000000001.spool").write_bytes(complete + last[:length])
        spool = Spool(folder, MIB, sync=False)
        assert (folder / "000000000001.spool").stat().st_size == len(complete)
        spool.append([entry("d")])
        assert drain(spool) == ["a", "b", "d"]
        spool.close()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("tail", [bytes(4096), b"\xff" * 100, b"irf2", b"irf2" + bytes(20)], ids=lambda tail: tail[:5])
def test_invalid_data_at_the_end_is_removed(tail: bytes, opened: OpenSpool, tmp_path: Path) -> None:
    leave_files(tmp_path, encode_frame(entry("a")) + tail)
    assert drain(opened()) == ["a"]


def test_a_file_with_only_an_unfinished_record_is_deleted(opened: OpenSpool, tmp_path: Path) -> None:
    leave_files(tmp_path, encode_frame(entry("a"))[:-1], b"", encode_frame(entry("b")))
    spool = opened()
    assert drain(spool) == ["b"]


def test_a_flipped_bit_is_detected_at_any_position(tmp_path: Path) -> None:
    last = encode_frame(entry("b"))
    for position in range(len(last)):
        folder = tmp_path / str(position)
        folder.mkdir()
        flipped = bytearray(last)
        flipped[position] ^= 0x10
        (folder / "000000000001.spool").write_bytes(encode_frame(entry("a")) + flipped)
        spool = Spool(folder, MIB, sync=False)
        assert drain(spool) == ["a"]
        spool.close()


def test_damage_before_the_end_is_kept_in_a_file_and_logged(
    opened: OpenSpool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    damaged = bytearray(encode_frame(entry("b")))
    damaged[-1] ^= 1
    leave_files(tmp_path, encode_frame(entry("a")) + damaged + encode_frame(entry("c")))
    assert drain(opened()) == ["a"]
    assert (tmp_path / "spool" / "000000000001.damaged").read_bytes() == damaged + encode_frame(entry("c"))
    assert [line.levelname for line in caplog.records if "damaged" in line.getMessage()] == ["CRITICAL"]


def test_data_lost_by_the_disk_is_reported_and_new_entries_are_accepted(opened: OpenSpool, tmp_path: Path) -> None:
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
    assert drain(spool) == ["c"]


def test_a_disk_that_fills_up_within_a_record_leaves_no_partial_record(
    opened: OpenSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = opened()
    spool.append([entry("a")])
    with monkeypatch.context() as patch:
        _fill_disk_after(patch, 10)
        with pytest.raises(BacklogFullError, match="No space left"):
            spool.append([entry("b")])
    spool.append([entry("c")])
    assert drain(spool) == ["a", "c"]


def test_a_partial_record_that_cannot_be_undone_seals_its_file(
    opened: OpenSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = opened()
    spool.append([entry("a")])
    with monkeypatch.context() as patch:
        _fill_disk_after(patch, 10)
        patch.setattr("iris_inference.recording.segments.os.ftruncate", _fails)
        with pytest.raises(BacklogFullError):
            spool.append([entry("b")])
    spool.append([entry("c")])
    spool.close()
    assert drain(opened()) == ["a", "c"]


def test_a_record_above_the_largest_frame_is_rejected(opened: OpenSpool) -> None:
    with pytest.raises(BacklogFullError):
        opened(10 * MIB).append([Entry(1, 0.0, bytes(MAX_FRAME_BYTES))])


def test_a_closed_spool_rejects_entries(opened: OpenSpool) -> None:
    spool = opened()
    spool.close()
    with pytest.raises(BacklogFullError):
        spool.append([entry("late")])


def test_a_folder_is_locked_by_one_process(opened: OpenSpool, tmp_path: Path) -> None:
    opened()
    with pytest.raises(SpoolError, match="another process uses it"):
        opened()
    code = (
        "import pathlib, sys, iris_inference.recording.spool as s; s.Spool(pathlib.Path(sys.argv[1]), 9999, sync=False)"
    )
    other = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "spool")],
        env={"PYTHONPATH": "inference"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "another process uses it" in other.stderr


def test_a_folder_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(SpoolError, match="file/spool"):
        Spool(tmp_path / "file" / "spool", MIB, sync=False)


async def test_with_sync_a_flush_waits_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    fsync = os.fsync

    def counted(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_size)
        fsync(descriptor)

    spool = Spool(tmp_path / "spool", MIB, sync=True)
    monkeypatch.setattr("iris_inference.recording.spool.os.fsync", counted)
    spool.append([entry("a")])
    await spool.flush()
    assert spool.size in synced
    monkeypatch.setattr("iris_inference.recording.spool.os.fsync", _fails)
    spool.append([entry("b")])
    with pytest.raises(BacklogFullError, match="cannot be written to disk"):
        await spool.flush()
    monkeypatch.undo()
    # Not in the file with the bytes that the disk did not accept.
    spool.append([entry("c")])
    await spool.flush()
    assert len(files(tmp_path)) == 2
    spool.close()


def _fill_disk_after(patch: pytest.MonkeyPatch, space: int) -> None:
    write = os.write
    left = space

    def nearly_full(descriptor: int, data: bytes) -> int:
        nonlocal left
        if not left:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = write(descriptor, data[:left])
        left -= written
        return written

    patch.setattr("iris_inference.recording.segments.os.write", nearly_full)


def _fails(*_arguments: object) -> None:
    raise OSError(errno.EIO, "Input/output error")
