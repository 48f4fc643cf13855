"""What a start does with what the last writer left: nothing acknowledged is lost, nothing is doubled, damage is refused and mended."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.log.live import head, quotes, read_inputs, read_outputs, refusal
from tests.log.logs import HEADER
from tests.log.recorder import check_recorded, rows_from
from tests.log.test_livelog import QUICK, rotated
from xarb.errors import LogError
from xarb.log import manifest
from xarb.log.check import verify_log
from xarb.log.committer import Policy
from xarb.log.growing import GrowingFile, publish
from xarb.log.journal import FOLDER, Frame, Walk, frame_bytes, journals, read_opening
from xarb.log.livelog import LiveLog
from xarb.log.manifest import FileEntry, Manifest
from xarb.log.recovery import DAMAGED, TRUNCATED
from xarb.log.repair import LOST, repair

ROOT = Path(__file__).resolve().parents[2]


def left(folder: Path, journals_: int = 1, frames: int = 3) -> Path:
    """A log whose writer died: a sealed segment, then journals of a few frames each."""
    with LiveLog.create(folder, HEADER, QUICK) as log:
        log.append(head(), [refusal(1, 0)])
    log = LiveLog.open(folder, QUICK)
    held = log._committer
    held._hand_over = lambda: None  # type: ignore[method-assign]  # no seal comes in between
    for number in range(journals_):
        if number:
            rotated(log)
            log._policy = Policy(seal_rows=1)
        for _ in range(frames):
            log.append(*rows_from(log.last + 1, 4))
            log.write()
            log._policy = QUICK
    log.abandon()
    return folder


def frames_of(path: Path) -> list[Frame]:
    """The frames of a journal."""
    opening, start = read_opening(path)
    return list(Walk(path.read_bytes()[start:], opening, start=start))


def seqs(folder: Path) -> list[int]:
    """The seqs of all sealed inputs."""
    return [row["seq"] for _, row in read_inputs(folder)]


def test_a_torn_tail_is_cut_and_said(tmp_path: Path) -> None:
    """Half a frame at the end is cut; the rows before it stay, a health row counts the bytes, and the recovery says so."""
    source = left(tmp_path / "log")
    (_, path) = journals(source)[0]
    data = path.read_bytes()
    last = frames_of(path)[-1]
    for size in (last.start + 1, last.start + 47, last.stop - 1):
        folder = tmp_path / f"cut{size}"
        shutil.copytree(source, folder)
        (folder / path.relative_to(source)).write_bytes(data[:size])
        with LiveLog.open(folder, QUICK) as log:
            assert log.recovered is not None
            assert (log.recovered.sealed, log.recovered.truncated_bytes) == (1, size - last.start)
            assert log.last == last.first_seq
        ((_, row),) = [pair for pair in read_inputs(folder) if pair[0] == "health"]
        assert (row["metric"], row["value"], row["seq"]) == (TRUNCATED, size - last.start, last.first_seq)
        assert seqs(folder) == list(range(last.first_seq + 1))
        assert verify_log(folder).ok


def test_damage_in_the_middle_is_refused_until_it_is_repaired(tmp_path: Path) -> None:
    """A start names the repair; the repair keeps the damaged file, saves the frames behind it, and records a gap and the loss."""
    folder = left(tmp_path / "log", frames=4)
    (_, path) = journals(folder)[0]
    frames = frames_of(path)
    data = bytearray(path.read_bytes())
    data[frames[1].start + 60] ^= 1
    path.write_bytes(data)
    for _ in range(2):
        with pytest.raises(LogError, match=f"damaged at byte {frames[1].start}.*xarb log repair {folder}"):
            LiveLog.open(folder)
    found = verify_log(folder)
    assert not found.ok
    assert "the checksum of a frame does not hold" in found.findings[0].what
    done = repair(folder)
    assert (done.lost, done.left_out, done.sealed) == (4, 0, 1)
    assert (folder / done.kept[0]).read_bytes() == data
    rows = read_inputs(folder)
    assert [row["seq"] for _, row in rows] == list(range(len(rows)))
    kinds = [(kind, row.get("event"), row.get("metric"), row.get("value")) for kind, row in rows[6:8]]
    assert kinds == [("connections", "gap", None, None), ("health", None, LOST, 4)]
    assert [row["bid_int"] for kind, row in rows if kind == "quotes"] == [100 + n for n in (*range(2, 6), *range(10, 18))]
    outs = [(row["after_seq"], row["n"], row["value"]) for _, row in read_outputs(folder)]
    assert outs == [(1, 0, None), (3, 0, 3 * 10**18), (10, 0, 12 * 10**18), (13, 0, 15 * 10**18)]
    assert verify_log(folder).ok
    with LiveLog.open(folder, QUICK) as log:
        assert (log.last, log.recovered) == (15, None)


def test_what_cannot_be_understood_after_a_loss_is_left_out(tmp_path: Path) -> None:
    """Rows of an instrument that was announced in the lost frame are not invented a scale: they are counted, and kept in the file."""
    folder = tmp_path / "log"
    log = LiveLog.create(folder, HEADER, QUICK)
    for inputs in ({"connections": head()["connections"]}, {"instruments": head()["instruments"]}, quotes(2, 3)):
        log.append(inputs)
        log.write()
    log.abandon()
    (_, path) = journals(folder)[0]
    data = bytearray(path.read_bytes())
    data[frames_of(path)[1].stop - 1] ^= 255
    path.write_bytes(data)
    done = repair(folder)
    assert (done.lost, done.left_out, done.rows) == (1, 3, 3)
    assert [kind for kind, _ in read_inputs(folder)] == ["connections", "connections", "health"]
    assert verify_log(folder).ok


@pytest.mark.parametrize("hurt", ["header", "nothing sound", "first frame", "last of two"])
def test_a_repair_saves_what_it_can(tmp_path: Path, hurt: str) -> None:
    """A lost header costs nothing, a lost first frame its rows; a file without a sound frame is kept, and the log goes on without it."""
    folder = left(tmp_path / "log", journals_=2)
    (_, first), (_, second) = journals(folder)
    data = bytearray(first.read_bytes())
    frames = frames_of(first)
    if hurt == "header":
        data[20] ^= 1
    elif hurt == "nothing sound":
        data = bytearray(os.urandom(len(data)))
    elif hurt == "first frame":
        data[frames[0].start + 50] ^= 1
    else:
        data = bytearray(data[: frames[-2].start])  # the end of a file that was complete and on the disk
        opening, start = read_opening(second)
        witness = frame_bytes(opening, quotes(26, 1), first_seq=26, synced=25)
        second.write_bytes(second.read_bytes()[:start] + second.read_bytes()[start:] + witness)
    first.write_bytes(data)
    with pytest.raises(LogError, match="xarb log repair"):
        LiveLog.open(folder)
    done = repair(folder)
    assert done.lost == {"header": 0, "nothing sound": 12, "first frame": 4, "last of two": 4}[hurt]
    assert len(done.kept) == 2
    assert verify_log(folder).ok
    count = 26 + (hurt == "last of two") - done.lost + (2 if done.lost else 0)
    assert seqs(folder) == list(range(count))
    LiveLog.open(folder, QUICK).close()


def test_a_repair_of_a_sound_log_is_a_start(tmp_path: Path) -> None:
    """It seals what a start would, keeps nothing, and does nothing the second time; a log at work is left alone."""
    folder = left(tmp_path / "log", journals_=2)
    done = repair(folder)
    assert (done.sealed, done.rows, done.kept) == (2, 0, ())
    assert repair(folder).sealed == 0
    assert seqs(folder) == list(range(26))
    with LiveLog.open(folder, QUICK), pytest.raises(LogError, match="is being written"):
        repair(folder)


def test_a_tail_lost_before_it_was_on_the_disk_is_torn(tmp_path: Path) -> None:
    """After a power failure an unsynced end of one journal may be gone while the next has frames: they go too, and nothing was promised."""
    folder = left(tmp_path / "log", journals_=2)
    (_, first), (_, second) = journals(folder)
    for path in (first, second):
        opening, start = read_opening(path)
        made = [frame_bytes(opening, one.rows(), first_seq=one.first_seq, synced=1, flags=one.flags) for one in frames_of(path)]
        path.write_bytes(path.read_bytes()[:start] + b"".join(made))
    size = second.stat().st_size
    frames = frames_of(first)
    first.write_bytes(first.read_bytes()[: frames[2].start])
    with LiveLog.open(folder, QUICK) as log:
        assert log.recovered is not None
        assert log.recovered.truncated_bytes == size
        assert log.last == frames[2].first_seq  # the health row
    assert verify_log(folder).ok
    assert len(list((folder / FOLDER / "damaged").iterdir())) == 1


@pytest.mark.parametrize("change", ["other log", "swapped", "missing", "older head"])
def test_journals_that_do_not_belong_are_refused(tmp_path: Path, change: str) -> None:
    """A journal of another log, in another order, without the one before it, or made for another manifest is never sealed."""
    folder = left(tmp_path / "log", journals_=3)
    paths = [path for _, path in journals(folder)]
    other = left(tmp_path / "other", journals_=3)
    if change == "other log":
        shutil.copy(journals(other)[2][1], paths[2])
    elif change == "swapped":
        data = paths[0].read_bytes()
        shutil.copy(paths[1], paths[0])
        paths[1].write_bytes(data)
    elif change == "missing":
        paths[1].unlink()
    else:
        (folder / manifest.NAME).unlink()
        manifest.append_line(folder / manifest.NAME, HEADER)
    with pytest.raises(LogError, match="xarb log repair"):
        LiveLog.open(folder)


def test_half_a_manifest_line_is_no_segment(tmp_path: Path) -> None:
    """A power failure within the line leaves the journal, from which the segment is sealed again."""
    folder = left(tmp_path / "log")
    path = folder / manifest.NAME
    whole = path.read_bytes()
    path.write_bytes(whole + b"0123456789abcdef {")
    LiveLog.open(folder, QUICK).close()
    assert path.read_bytes().startswith(whole)
    assert len(Manifest(folder).segments) == 2
    assert verify_log(folder).ok


@pytest.mark.parametrize("hurt", ["zeros", "a hole", "other bytes"])
def test_a_torn_manifest_line_may_have_its_end(tmp_path: Path, hurt: str) -> None:
    """While the journal is there, a last line is cut whatever a power failure made of it, and sealed again."""
    folder = left(tmp_path / "log")
    path, (_, journal) = folder / manifest.NAME, journals(folder)[0]
    before, rows = path.read_bytes(), journal.read_bytes()
    LiveLog.open(folder, QUICK).close()
    after = path.read_bytes()
    size = len(after) - len(before)
    line = {"zeros": bytes(size), "a hole": bytes(size // 2) + after[-(size - size // 2) :], "other bytes": b"P\n" * 30}[hurt]
    path.write_bytes(before + line)
    (folder / FOLDER).mkdir()
    journal.write_bytes(rows)
    LiveLog.open(folder, QUICK).close()
    assert path.read_bytes() == after
    assert verify_log(folder).ok


@pytest.mark.parametrize("call", [lambda folder: LiveLog.open(folder, QUICK), repair], ids=["start", "repair"])
def test_a_manifest_that_is_older_than_the_files_is_refused(tmp_path: Path, call: Callable[[Path], object]) -> None:
    """Its last line is gone, whole, and no journal has its rows: nothing goes on at seqs that files have already, and none is removed."""
    folder = left(tmp_path / "log")
    LiveLog.open(folder, QUICK).close()
    path = folder / manifest.NAME
    whole, files = path.read_bytes(), sorted(folder.rglob("*.parquet"))
    path.write_bytes(whole[: whole[:-1].rindex(b"\n") + 1])
    with pytest.raises(LogError, match=r"parquet lies beyond the log's end.*older than the files"):
        call(folder)
    assert sorted(folder.rglob("*.parquet")) == files
    path.write_bytes(whole)
    LiveLog.open(folder, QUICK).close()
    assert verify_log(folder).ok


@pytest.mark.parametrize("hurt", ["cut", "flipped", "half"])
def test_a_sealed_line_without_its_journal_is_never_taken_for_half_a_line(tmp_path: Path, hurt: str) -> None:
    """A last line that only lost its end gets it back; any other damage is refused by a start and a repair, and no file goes."""
    folder = left(tmp_path / "log")
    LiveLog.open(folder, QUICK).close()
    path = folder / manifest.NAME
    whole, files = path.read_bytes(), sorted(folder.rglob("*.parquet"))
    path.write_bytes({"cut": whole[:-1], "flipped": whole[:-1] + b"\x0b", "half": whole[:-40]}[hurt])
    if hurt == "cut":
        LiveLog.open(folder, QUICK).close()
        assert path.read_bytes() == whole
        assert verify_log(folder).ok
    else:
        for call in (lambda: LiveLog.open(folder, QUICK), lambda: repair(folder)):
            with pytest.raises(LogError, match=r"line 3, the last one, is damaged"):
                call()
    assert sorted(folder.rglob("*.parquet")) == files


@pytest.mark.parametrize("hurt", ["missing", "flipped"])
def test_a_journal_stays_while_a_file_of_its_segment_is_damaged(tmp_path: Path, hurt: str) -> None:
    """Stopped before the journal goes, and then a sealed file is hurt: the journal is the last whole copy; a repair keeps it too."""
    folder = left(tmp_path / "log")
    (_, path) = journals(folder)[0]
    journal = path.read_bytes()
    LiveLog.open(folder, QUICK).close()
    (folder / FOLDER).mkdir()
    path.write_bytes(journal)
    file = max(folder.rglob("kind=quotes/**/*.parquet"))
    if hurt == "missing":
        file.unlink()
    else:
        data = bytearray(file.read_bytes())
        data[50] ^= 1
        file.write_bytes(data)
    with pytest.raises(LogError, match="is missing or was changed, and the journal of segment 1 still holds its rows"):
        LiveLog.open(folder, QUICK)
    assert path.read_bytes() == journal
    repair(folder)
    assert [kept.read_bytes() for kept in (folder / FOLDER / DAMAGED).iterdir()] == [journal]


def test_rows_that_do_not_follow_are_refused_until_they_are_repaired(tmp_path: Path) -> None:
    """A frame whose checksum holds and whose rows do not: a start names the repair, which drops the frame and says so."""
    folder = tmp_path / "log"
    log = LiveLog.create(folder, HEADER, QUICK)
    log.append(head())
    log.write()
    (row,) = quotes(2, 1)["quotes"]
    log._put({"quotes": [(9, *row[1:])]}, 0)
    log.abandon()
    with pytest.raises(LogError, match=r"rows that do not follow.*xarb log repair"):
        LiveLog.open(folder, QUICK)
    assert repair(folder).lost == 1
    with LiveLog.open(folder, QUICK) as log:
        log.append(quotes(log.last + 1, 1))
    assert verify_log(folder).ok
    assert [row["value"] for kind, row in read_inputs(folder) if kind == "health" and row["metric"] == LOST] == [1]


def test_a_torn_first_frame_is_said_too(tmp_path: Path) -> None:
    """A journal with nothing but a torn frame leaves its health row."""
    folder = left(tmp_path / "log", frames=1)
    (_, path) = journals(folder)[0]
    path.write_bytes(path.read_bytes()[:-5])
    with LiveLog.open(folder, QUICK) as log:
        assert log.recovered is not None
        cut = log.recovered.truncated_bytes
    assert [row["value"] for kind, row in read_inputs(folder) if kind == "health" and row["metric"] == TRUNCATED] == [cut]
    assert verify_log(folder).ok


def test_what_is_sealed_was_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that the disk did not keep as it was written gets no manifest line, and its journal stays."""
    folder = left(tmp_path / "log")

    def spoil(files: Sequence[GrowingFile], root: Path) -> list[FileEntry]:
        entries = publish(files, root)
        path = root / entries[0].path
        path.write_bytes(path.read_bytes()[:-20])
        return entries

    monkeypatch.setattr("xarb.log.writer.publish", spoil)
    with pytest.raises(LogError, match="cannot be read back"):
        LiveLog.open(folder, QUICK)
    assert len(Manifest(folder).segments) == 1
    monkeypatch.undo()
    LiveLog.open(folder, QUICK).close()
    assert verify_log(folder).ok


def test_a_journal_and_its_segment_that_differ_are_refused(tmp_path: Path) -> None:
    """A journal goes only when its segment holds all of its rows."""
    folder = left(tmp_path / "log")
    (_, path) = journals(folder)[0]
    short = path.read_bytes()
    LiveLog.open(folder, QUICK).close()
    (folder / FOLDER).mkdir()
    path.write_bytes(short)
    LiveLog.open(folder, QUICK).close()
    assert not path.exists()
    (folder / FOLDER).mkdir(exist_ok=True)
    path.write_bytes(short[: frames_of_bytes(path, short)[-1].start])
    with pytest.raises(LogError, match=r"segment 1 holds seq 2 to 13, its journal 2 to 9.*xarb log repair"):
        LiveLog.open(folder, QUICK)
    assert path.exists()


def frames_of_bytes(path: Path, data: bytes) -> list[Frame]:
    """The frames of a journal's bytes."""
    path.write_bytes(data)
    return frames_of(path)


def test_a_killed_recorder_loses_nothing_that_it_wrote(tmp_path: Path) -> None:
    """Killed at 20 random moments, seals under way among them, a recorder goes on each time with every written row, once, as it was."""
    folder = tmp_path / "log"
    draw = random.Random(5)  # noqa: S311  # a test's draw
    acknowledged = -1
    for number in range(20):
        command = [sys.executable, "-m", "tests.log.recorder", str(folder), str(number)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as recorder:
            assert recorder.stdout is not None
            first = recorder.stdout.readline()
            time.sleep(draw.random() * 0.15)
            recorder.send_signal(signal.SIGKILL)
            lines = (first + recorder.stdout.read()).splitlines(keepends=True)
        whole = [int(line) for line in lines if line.endswith("\n")]
        assert whole, "it never wrote a row"
        assert whole[0] > acknowledged
        acknowledged = whole[-1]
    check_recorded(folder, acknowledged)
    assert len(Manifest(folder).segments) > 20
