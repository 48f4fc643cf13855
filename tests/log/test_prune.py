"""Pruning: what goes and what stays, what readers then see, and that nothing but a tombstone excuses a file that is missing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.log.aged import DAY, PER_DAY, add_day, aged, named, paths
from tests.log.live import head, quotes, read_inputs, read_outputs
from tests.log.logs import HEADER, START, forge, small_log
from tests.log.test_damage import STRIDE, flips
from tests.log.test_livelog import rotated, wait_for
from xarb.errors import ConfigError, LogError, Refused
from xarb.log import manifest
from xarb.log.check import verify_log
from xarb.log.claim import LOCK, Claim
from xarb.log.committer import Policy
from xarb.log.info import info
from xarb.log.livelog import LiveLog
from xarb.log.manifest import Header, Manifest
from xarb.log.prune import COPY, Retention, apply_retention, plan, prune
from xarb.log.reader import LogReader, Selection
from xarb.log.recovery import mend_manifest
from xarb.log.tombstones import ENGINE_INPUTS, FRAMES, KEPT, Part, Tombstone
from xarb.log.writer import LogWriter
from xarb.model.columns import INPUTS, OUTPUTS
from xarb.sql.connection import open_query

QUICK = Policy(commit_ms=1, reserve_bytes=0, separate=False)
THIRD = START + 2 * DAY  # where the third day begins


def stone(folder: Path, *parts: Part, **more: Any) -> None:
    """Append a tombstone as somebody who knows the format would."""
    entry = Tombstone(gone=parts, reason="pruned", by="a forger", ts=1, previous=Manifest(folder).head)
    manifest.append_line(folder / manifest.NAME, msgspec.structs.replace(entry, **more))


def test_every_kind_goes_or_stays() -> None:
    """Each input kind is of one group, and orders, money and what says how rows are read are of the one that stays."""
    assert sorted((*ENGINE_INPUTS, *FRAMES, *KEPT)) == sorted(INPUTS)
    assert {"reports", "balances", "transfers", "operator", "starts", "instruments", "connections"} < set(KEPT)
    assert not {*ENGINE_INPUTS, *FRAMES} & set(OUTPUTS)


def test_the_engines_inputs_go_together_and_orders_and_money_stay(tmp_path: Path) -> None:
    """Of two old days all inputs of the engine and all frames are gone, every other file is as it was, and the log is whole."""
    folder = aged(tmp_path / "log")
    before, rows, outputs = paths(folder), read_inputs(folder), read_outputs(folder)
    gone = named(folder, (*ENGINE_INPUTS, *FRAMES), range(2))
    done = prune(folder, THIRD, by="a test")
    assert paths(folder) == [path for path in before if path not in gone]
    assert (done.files, done.first_left, done.starts, done.kept_whole) == (len(gone), 2 * PER_DAY, (1, 2), None)
    assert read_outputs(folder) == outputs
    kept = [(kind, row) for kind, row in rows if kind in KEPT or row["seq"] >= 2 * PER_DAY]
    assert read_inputs(folder) == kept
    assert done.rows == len(rows) - len(kept)
    report = verify_log(folder)
    assert (report.findings, report.leftovers) == ([], [])
    assert (report.gone_files, report.gone_rows) == (len(gone), done.rows)
    (said,) = Manifest(folder).tombstones
    assert (said.reason, said.to) == ("pruned", None)
    assert said.by.startswith("a test, ")


def test_frames_go_apart(tmp_path: Path) -> None:
    """Without their frames old days are read as before by whoever asks for the rest; later their inputs go, too."""
    folder = aged(tmp_path / "log")
    engine = [pair for pair in read_inputs(folder) if pair[0] != "frames"]
    frames = named(folder, FRAMES, range(2))
    assert prune(folder, THIRD, by="a test", frames_only=True).files == len(frames)
    assert verify_log(folder).ok
    with LogReader(folder) as reader:
        found = sorted(row.seq for batch in reader.batches(kinds=[k for k in INPUTS if k != "frames"]) for row in batch.slow)
        with pytest.raises(Refused, match=r"frames of seq 3 to 15 were pruned .* seq that is left whole is 16"):
            reader.batches(kinds=("frames",))
    assert found == [row["seq"] for kind, row in engine if kind != "quotes"]
    assert prune(folder, THIRD, by="a test").files == len(named(folder, ENGINE_INPUTS, range(2)))
    assert verify_log(folder).ok


def test_a_reader_never_begins_in_the_middle_by_itself(tmp_path: Path) -> None:
    """Whoever asks for everything is refused and told the first seq that is left; whoever begins there gets what a filter gives."""
    folder = aged(tmp_path / "log")
    with LogReader(folder) as reader:
        instruments, kinds_of, connections = reader.instruments, reader.kinds_of, reader.connections
    prune(folder, THIRD, by="a test")
    with LogReader(folder) as reader:
        assert (reader.instruments, reader.kinds_of, reader.connections) == (instruments, kinds_of, connections)
        for wanted in (Selection(), Selection(last_seq=20), Selection(first_seq=14), Selection(first_ts=START + DAY)):
            with pytest.raises(
                Refused, match=r"were pruned \(a test, .*first seq that is left whole is 16: start .* at 2023-11-15T"
            ):
                reader.batches(select=wanted)
        with pytest.raises(Refused, match="health of seq"):
            reader.rows("health")
        left = [seq for batch in reader.batches(select=Selection(first_seq=16)) for seq in batch.quotes.seq.tolist()]
        assert left == [16, 17, 20, 24, 25, 28]
        assert [row["number"] for row in reader.rows("starts")] == [1, 2, 3, 4]
        assert [b.first_seq for b in reader.batches(kinds=("connections", "instruments"))] == [0, 1]


def test_info_and_queries_show_what_is_left(tmp_path: Path) -> None:
    """Counts are of what is there, what is gone is listed with its reason, and SQL sees the rows that are left."""
    folder = aged(tmp_path / "log")
    before = info(folder)
    done = prune(folder, THIRD, by="a test")
    found = info(folder)
    assert (before.rows - found.rows, before.bytes - found.bytes) == (done.rows, done.bytes)
    (gone,) = found.gone
    assert (gone.rows, gone.bytes, gone.first, gone.last, gone.kinds) == (
        done.rows,
        done.bytes,
        3,
        15,
        ("frames", "health", "quotes"),
    )
    with open_query([folder]) as query:
        counts = query.run("SELECT count(*), min(seq) FROM quotes UNION ALL SELECT count(*), min(seq) FROM starts")
        rows = [tuple(row.values()) for batch in counts.batches() for row in batch.to_pylist()]
    assert sorted(rows) == [(4, 2), (6, 16)]


def test_what_is_pruned_twice_is_gone_once(tmp_path: Path) -> None:
    """A second pruning of the same time adds no line; one of a later time takes what came to be old."""
    folder = aged(tmp_path / "log")
    prune(folder, THIRD, by="a test")
    lines = (folder / manifest.NAME).read_bytes()
    again = prune(folder, THIRD, by="a test")
    assert (again.parts, again.files) == ((), 0)
    assert (folder / manifest.NAME).read_bytes() == lines
    assert prune(folder, THIRD + DAY, by="a test").parts == (
        Part(first=2, last=2, kinds=ENGINE_INPUTS),
        Part(first=2, last=2, kinds=FRAMES),
    )
    assert verify_log(folder).ok


def test_a_dry_run_changes_nothing_and_says_the_same(tmp_path: Path) -> None:
    """Neither a file nor a line differs, and what it says is what the real one does."""
    folder = aged(tmp_path / "log")
    lines, there = (folder / manifest.NAME).read_bytes(), paths(folder)
    said = prune(folder, THIRD, by="a test", dry_run=True)
    assert ((folder / manifest.NAME).read_bytes(), paths(folder)) == (lines, there)
    assert prune(folder, THIRD, by="a test") == said


def test_a_segment_on_both_sides_stays_whole(tmp_path: Path) -> None:
    """A time within a segment leaves it alone, and the outcome names it."""
    folder = aged(tmp_path / "log")
    done = prune(folder, THIRD + 3_000, by="a test")
    assert (done.first_left, done.kept_whole) == (16, 2)


def test_a_log_of_which_all_was_pruned_goes_on(tmp_path: Path) -> None:
    """Seq, scales and connections go on; the reader knows the instruments; what comes then is read from its first seq on."""
    folder = aged(tmp_path / "log")
    prune(folder, START + 100 * DAY, by="a test")
    assert not [path for path in paths(folder) if "kind=quotes" in path or "kind=frames" in path]
    with LogWriter.append_to(folder) as writer:
        add_day(writer, 4)
    with LiveLog.open(folder, QUICK) as log:
        assert log.last == 5 * PER_DAY - 1
        log.append({"health": [(log.last + 1, log.last_ts, None, "m", 1, None)]})
    assert verify_log(folder).ok
    with LogReader(folder) as reader:
        with pytest.raises(Refused, match="first seq that is left whole is 32"):
            reader.batches()
        batches = list(reader.batches(select=Selection(first_seq=32)))
        assert [seq for batch in batches for seq in batch.quotes.seq.tolist()] == [32, 33, 36]


def test_a_log_that_is_written_is_not_pruned_from_outside(tmp_path: Path) -> None:
    """Neither beside its writer nor before what that left in a journal is sealed; a run is no log."""
    folder = tmp_path / "log"
    log = LiveLog.create(folder, HEADER, QUICK)
    log.append(head())
    log.write()
    with pytest.raises(LogError, match="is being written by another process"):
        prune(folder, START + DAY, by="a test")
    log.abandon()
    with pytest.raises(LogError, match="has a journal that is not sealed"):
        prune(folder, START + DAY, by="a test")
    assert not (folder / LOCK).exists()
    with LogWriter.create(tmp_path / "run", Header(kind="run", log_id="r")) as run:
        run.finish("x", -1)
    for dry_run in (False, True):
        with pytest.raises(ConfigError, match="is a run"):
            prune(tmp_path / "run", START, by="a test", dry_run=dry_run)


# --- nothing but a tombstone excuses a missing file


def test_only_what_a_tombstone_covers_may_be_missing(tmp_path: Path) -> None:
    """Any other file of a pruned log that is missing or changed is a finding, those that stay of pruned segments among them."""
    folder = aged(tmp_path / "log")
    prune(folder, THIRD, by="a test")
    for entry in Manifest(folder).files:
        data = (folder / entry.path).read_bytes()
        (folder / entry.path).unlink()
        assert "the file is missing" in [found.what for found in verify_log(folder).findings if found.file == entry.path]
        (folder / entry.path).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        assert entry.path in {found.file for found in verify_log(folder).findings}
        (folder / entry.path).write_bytes(data)
    assert verify_log(folder).ok


def test_every_flipped_bit_of_a_tombstone_is_found(tmp_path: Path) -> None:
    """Every 5th byte of a manifest with a tombstone in its middle, with a rotating bit: nothing is read."""
    folder = aged(tmp_path / "log", 2)
    prune(folder, START + DAY, by="a test")
    with LogWriter.append_to(folder) as writer:
        add_day(writer, 2)
    for _ in flips(folder / manifest.NAME, STRIDE):
        with pytest.raises(LogError):
            Manifest(folder)


@pytest.mark.parametrize(
    ("parts", "what"),
    [
        ([Part(first=0, last=1, kinds=("ledger",))], "ledger, which are never removed"),
        ([Part(first=0, last=1, kinds=(*ENGINE_INPUTS, "balances"))], "balances, which are never removed"),
        ([Part(first=0, last=1, kinds=("noise",))], "noise, which are never removed"),
        ([Part(first=0, last=1, kinds=("quotes",))], "some inputs of segment 0 and leaves its health"),
        ([Part(first=0, last=4, kinds=FRAMES)], "segments 0 to 4 of 4"),
        ([Part(first=-1, last=1, kinds=FRAMES)], "segments -1 to 1 of 4"),
        ([Part(first=2, last=1, kinds=FRAMES)], "segments 2 to 1 of 4"),
        ([Part(first=0, last=1, kinds=FRAMES), Part(first=1, last=2, kinds=FRAMES)], "gone already"),
        ([Part(first=0, last=1, kinds=())], "covers nothing"),
        ([], "covers nothing"),
    ],
)
def test_a_forged_tombstone_covers_nothing_that_may_not_go(tmp_path: Path, parts: list[Part], what: str) -> None:
    """A line with a chain that holds and a rule that does not: nothing is read, and the check names line and rule."""
    folder = aged(tmp_path / "log")
    stone(folder, *parts)
    with pytest.raises(LogError, match=f"line 6: a tombstone .*{what}"):
        LogReader(folder)
    assert what in verify_log(folder).findings[0].what


def test_a_tombstone_twice_in_a_run_or_of_a_strange_reason_is_refused(tmp_path: Path) -> None:
    """What is gone cannot go again, nothing goes from a run, and there are two reasons."""
    folder = aged(tmp_path / "log")
    stone(folder, Part(first=0, last=1, kinds=FRAMES))
    shutil.copytree(folder, tmp_path / "other")
    stone(folder, Part(first=1, last=1, kinds=FRAMES))
    with pytest.raises(LogError, match=r"line 7: a tombstone covers .*gone already"):
        Manifest(folder)
    stone(tmp_path / "other", Part(first=2, last=2, kinds=FRAMES), reason="lost")
    with pytest.raises(LogError, match="line 7 is damaged"):
        Manifest(tmp_path / "other")
    with LogWriter.create(tmp_path / "run", Header(kind="run", log_id="r")) as run:
        run.write_outputs([])
    stone(tmp_path / "run", Part(first=0, last=0, kinds=FRAMES))
    with pytest.raises(LogError, match="a tombstone in a run"):
        Manifest(tmp_path / "run")


def test_rows_that_no_tombstone_covers_are_missed(tmp_path: Path) -> None:
    """Where a segment's line was forged, a tombstone excuses as many rows as its files had, within their ranges, and no more."""
    folder = aged(tmp_path / "log", 2)
    prune(folder, START + DAY, by="a test", frames_only=True)
    stones = Manifest(folder).tombstones

    def forged(change: Callable[[manifest.FileEntry], manifest.FileEntry]) -> list[str]:
        shutil.copytree(folder, tmp_path / "forged")
        forge(
            tmp_path / "forged",
            lambda one: msgspec.structs.replace(one, files=tuple(map(change, one.files))) if not one.segment else one,
        )
        stone(tmp_path / "forged", *stones[0].gone)
        found = [one.what for one in verify_log(tmp_path / "forged").findings]
        shutil.rmtree(tmp_path / "forged")
        return found

    def fewer(one: manifest.FileEntry) -> manifest.FileEntry:
        return msgspec.structs.replace(one, rows=one.rows - 1) if one.kind == "frames" else one

    def elsewhere(one: manifest.FileEntry) -> manifest.FileEntry:
        return msgspec.structs.replace(one, first=4, last=6) if one.kind == "frames" else one

    assert forged(lambda one: one) == []
    assert forged(fewer) == ["2 rows are missing, tombstones cover 1"]
    assert forged(elsewhere) == [
        "seq 3 to 3 are missing, and no tombstone covers them",
        "seq 7 to 7 are missing, and no tombstone covers them",
    ]


# --- crashes


def test_files_that_an_interrupted_pruning_left_are_leftovers(tmp_path: Path) -> None:
    """With the tombstone on the disk and the files still there, no reader sees them, the check mentions them, and the next pruning ends it."""
    folder = aged(tmp_path / "log")
    stone(folder, Part(first=0, last=1, kinds=FRAMES))
    report = verify_log(folder)
    assert (report.ok, report.leftovers) == (True, named(folder, FRAMES, range(2)))
    assert len([row for kind, row in read_inputs(folder) if kind == "frames"]) == 4
    assert prune(folder, START, by="a test").completed == 2
    assert verify_log(folder).leftovers == []


@pytest.mark.parametrize("mend", [lambda folder: prune(folder, START, by="a test"), mend_manifest], ids=["prune", "start"])
def test_half_a_tombstone_is_cut(tmp_path: Path, mend: Callable[[Path], object]) -> None:
    """Cut off anywhere by a power failure, with its copy there, it is removed: all files are there still. Without the copy it is damage."""
    folder = aged(tmp_path / "log")
    whole = (folder / manifest.NAME).read_bytes()
    kept = shutil.copytree(folder, tmp_path / "kept")
    prune(folder, THIRD, by="a test")
    line = (folder / manifest.NAME).read_bytes()[len(whole) :]
    for kept_bytes in [*range(1, len(line), 37), len(line) - 1]:
        (kept / COPY).write_bytes(line)
        (kept / manifest.NAME).write_bytes(whole + line[:kept_bytes])
        mend(kept)
        assert (kept / manifest.NAME).read_bytes() == whole
        assert not (kept / COPY).exists()
        assert verify_log(kept).ok
    (kept / COPY).write_bytes(line[: len(line) // 2])  # itself cut off: the line never began
    mend(kept)
    assert paths(kept) == sorted([*paths(kept)])
    assert not (kept / COPY).exists()
    (kept / manifest.NAME).write_bytes(whole + line[:50])
    with pytest.raises(LogError, match=r"line 6|middle of a line"):
        mend(kept)


def test_half_a_segment_line_behind_a_tombstone_is_cut(tmp_path: Path) -> None:
    """Its journal is there still: the next start knows the segment's number, though lines that are no segments stand before it."""
    folder = aged(tmp_path / "log")
    prune(folder, THIRD, by="a test")
    log = LiveLog.open(folder, QUICK)
    log.append({"health": [(log.last + 1, log.last_ts, None, "m", 1, None)]})
    log.write()
    log.abandon()
    whole = (folder / manifest.NAME).read_bytes()
    sealed = shutil.copytree(folder, tmp_path / "sealed")
    LiveLog.open(sealed, QUICK).close()
    line = (sealed / manifest.NAME).read_bytes()[len(whole) :]
    (folder / manifest.NAME).write_bytes(whole + line[: len(line) // 2])
    with LiveLog.open(folder, QUICK) as again:
        assert again.last == 4 * PER_DAY
    assert verify_log(folder).ok
    (sealed / manifest.NAME).write_bytes(whole + line[: len(line) // 2])
    with pytest.raises(LogError, match="line 7, the last one, is damaged"):
        LiveLog.open(sealed, QUICK)


def test_a_file_that_cannot_be_removed_is_said_and_tried_again(tmp_path: Path) -> None:
    """The tombstone stands, the error names the file, and the next pruning takes it."""
    folder = aged(tmp_path / "log")
    (path,) = named(folder, FRAMES, range(1))
    (folder / path).unlink()
    (folder / path).mkdir()  # what no unlink removes, even for root
    with pytest.raises(LogError, match="a tombstone covers the file"):
        prune(folder, START + DAY, by="a test")
    assert len(Manifest(folder).tombstones) == 1
    (folder / path).rmdir()
    prune(folder, START, by="a test")
    assert verify_log(folder).ok


# --- readers and writers at work


def test_a_reader_at_work_is_told(tmp_path: Path) -> None:
    """Opened before and read after a pruning, it hands out no row of what is gone and says that it was pruned."""
    folder = aged(tmp_path / "log")
    with LogReader(folder) as reader, LogReader(folder) as other:
        batches = reader.batches(rows=1)
        assert next(batches).first_seq == 0
        prune(folder, THIRD, by="a test")
        with pytest.raises(LogError, match=r"cannot be read.*: it was pruned meanwhile"):
            list(batches)
        seen = [seq for batch in other.batches(select=Selection(first_seq=16)) for seq in batch.quotes.seq.tolist()]
    assert seen == [16, 17, 20, 24, 25, 28]


def test_a_query_that_is_open_shows_what_is_left(tmp_path: Path) -> None:
    """A statement after a pruning counts the rows that are left, also when a segment came meanwhile; of a log that is written, too."""
    folder = aged(tmp_path / "log")
    count = "SELECT count(*) FROM quotes"

    def counted() -> object:
        (row,) = query.run(count).rows()
        return row[0]

    with open_query([folder]) as query:
        assert counted() == 10
        prune(folder, THIRD, by="a test")
        assert counted() == 6
        with LogWriter.append_to(folder) as writer:
            add_day(writer, 4)
        assert counted() == 6
    log = LiveLog.open(folder, msgspec.structs.replace(QUICK, retention=Retention(inputs_days=1)))
    with open_query([folder]) as query:
        assert counted() == 9
        log.append({"health": [(log.last + 1, log.last_ts, None, "m", 1, None)]})
        log.close()
        assert counted() == 6


def test_a_log_as_it_stood_is_named_by_its_digest_after_a_pruning(tmp_path: Path) -> None:
    """Each line's digest still names the log as it stood then; what is gone since is gone there, too, and refused."""
    folder = aged(tmp_path / "log")
    heads = Manifest(folder).heads
    prune(folder, START + DAY, by="a test")
    with LogWriter.append_to(folder) as writer:
        add_day(writer, 4)
    assert Manifest(folder).heads[:5] == heads
    assert len(Manifest(folder).heads) == 7
    assert [len(Manifest(folder, head).segments) for head in Manifest(folder).heads] == [0, 1, 2, 3, 4, 4, 5]
    with LogReader(folder, head=heads[-1]) as reader:
        assert reader.last_seq == 4 * PER_DAY - 1
        with pytest.raises(Refused):
            reader.batches()
        assert reader.batches(select=Selection(first_seq=PER_DAY))


def test_a_log_that_grows_prunes_itself(tmp_path: Path) -> None:
    """Frames older than a day and inputs older than two go at the seal of a journal; nothing goes of whole days that are to be kept."""
    folder = aged(tmp_path / "log")
    policy = msgspec.structs.replace(QUICK, retention=Retention(frames_days=1, inputs_days=2))
    with LiveLog.open(folder, policy) as log:
        log.append({"health": [(log.last + 1, START + 4 * DAY, None, "m", 1, None)]})
    assert verify_log(folder).ok
    frames, inputs = Manifest(folder).tombstones
    assert frames.gone == (Part(first=0, last=2, kinds=FRAMES),)
    assert inputs.gone == (Part(first=0, last=1, kinds=ENGINE_INPUTS),)
    assert frames.by.startswith("retention, ")


def test_the_sealing_process_prunes(tmp_path: Path) -> None:
    """A journal that is sealed in a process of its own while the log is written takes old frames along, and the log goes on."""
    folder = aged(tmp_path / "log")
    policy = Policy(commit_ms=1, reserve_bytes=0, seal_rows=5, retention=Retention(frames_days=1))
    with LiveLog.open(folder, policy) as log:
        for _ in range(2):
            first = log.last + 1
            rows = [
                (n, START + 4 * DAY, *row[2:]) for n, row in zip(range(first, first + 5), quotes(first, 5)["quotes"], strict=True)
            ]
            log.append({"quotes": rows})
            log.write()
            rotated(log)
        wait_for(lambda: bool(log.stats.seals) or log.stats.seal_error is not None)
        assert log.stats.seal_error is None
        assert Manifest(folder).tombstones
    assert verify_log(folder).ok
    assert verify_log(folder).leftovers == []


def test_retention_keeps_whole_days_and_does_nothing_twice(tmp_path: Path) -> None:
    """Days are counted back from the last input, not from the clock; 0 is for ever; below zero is no number of days."""
    folder = aged(tmp_path / "log")
    for days, kept in ((0, 4), (4, 4), (3, 4), (2, 3), (1, 2)):
        apply_retention(Manifest(folder), Retention(frames_days=days))
        assert len(named(folder, FRAMES, range(4))) - len(Manifest(folder).gone) == kept
    lines = (folder / manifest.NAME).read_bytes()
    assert apply_retention(Manifest(folder), Retention(frames_days=1)) == []
    assert (folder / manifest.NAME).read_bytes() == lines
    with pytest.raises(ConfigError, match="inputs_days = -1"):
        Retention(inputs_days=-1)


def test_a_log_without_old_rows_has_nothing_to_prune(tmp_path: Path) -> None:
    """An empty log and one segment that is too young: no line, no claim left."""
    folder = small_log(tmp_path / "log")
    assert prune(folder, START, by="a test").parts == ()
    claim = Claim(tmp_path / "empty", HEADER)
    claim.release()
    assert prune(tmp_path / "empty", START, by="a test").parts == ()
    assert plan(Manifest(tmp_path / "empty"), START, (FRAMES,)) == ()
    assert apply_retention(Manifest(tmp_path / "empty"), Retention(frames_days=1)) == []
