"""Imports end to end: into a new log, into one that is there, whole or not at all."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.imports.conftest import ROOT, imported
from tests.log.logs import small_log
from xarb.errors import ConfigError, LogError
from xarb.imports.run import ImportSummary, Progress, import_into
from xarb.imports.sources import Sources, load_sources
from xarb.log.check import verify_log
from xarb.log.info import info
from xarb.log.manifest import Header, Manifest
from xarb.log.reader import LogReader
from xarb.log.rows import from_table, tuples_to_table
from xarb.log.writer import LogWriter
from xarb.model.columns import KERNEL_KINDS

SOURCE = '[[source]]\nformat = "quotes-csv"\npath = "{name}"\nvenue = "{venue}"\nsymbol = "BTC/USD"\ntime_unit = "s"\n'
COLUMNS = 'columns = { ts_recv = "time", bid = "bid", ask = "ask" }\n'
START = 1_600_000_000  # Unix seconds, to which the times of rows are added
SETS = ("btcusd-2018", "tardis", "binance-parquet")


def sources(folder: Path, **files: list[tuple[int, str, str]]) -> Sources:
    """A sources file over one quote file per venue, in the given order."""
    text = ""
    for venue, rows in files.items():
        name = f"{venue}{len(rows)}-{rows[0][0] if rows else 0}.csv"
        lines = ["time,bid,ask", *(f"{START + time},{bid},{ask}" for time, bid, ask in rows)]
        (folder / name).write_text("\n".join(lines) + "\n")
        text += SOURCE.format(name=name, venue=venue) + COLUMNS
    (folder / "s.toml").write_text(text)
    return load_sources(folder / "s.toml")


def tree(folder: Path) -> dict[str, str]:
    """Digest of every file below a folder."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def quotes(folder: Path) -> list[tuple[int, int, int, int, int]]:
    """Seq, connection, instrument, bid and scale of every quote of a log."""
    with LogReader(folder) as reader:
        found = []
        for batch in reader.batches():
            block = batch.quotes
            for seq, conn, inst, bid in zip(
                *(column.tolist() for column in (block.seq, block.conn, block.inst, block.bid)), strict=True
            ):
                found.append((seq, conn, inst, bid, reader.instruments_at(seq)[inst].px_scale))
        return found


@pytest.mark.parametrize("name", SETS)
def test_every_set_becomes_a_log_that_holds_its_rows(shared: Path, tmp_path: Path, name: str) -> None:
    """Each sources file in experiments imports into a sound log, and the log holds exactly the rows of the merge."""
    del shared
    found = load_sources(ROOT / "experiments" / f"{name}-sources.toml")
    summary = import_into(found, tmp_path / "log")
    assert verify_log(tmp_path / "log").findings == []
    assert len(Manifest(tmp_path / "log").segments) == 1  # so that even a kill leaves all or nothing
    merged = imported(found)
    assert summary.rows == merged.summary.rows == {kind: one.rows for kind, one in info(tmp_path / "log").kinds.items()}
    with LogReader(tmp_path / "log") as reader:
        for kind, rows in merged.rows.items():
            if kind in KERNEL_KINDS:
                counted = sum(
                    len(getattr(batch, "deltas" if kind == "book_deltas" else kind).seq) for batch in reader.batches(kinds=(kind,))
                )
                assert counted == len(rows)
            else:
                slow = [row.values for batch in reader.batches(kinds=(kind,)) for row in batch.slow]
                assert slow == from_table(kind, tuples_to_table(kind, rows))
        assert (reader.last_seq, reader.manifest.last_ts) == (summary.last_seq, summary.last_ts)


def test_raw_recordings_become_one_sound_log(shared: Path, tmp_path: Path) -> None:
    """The five Binance files give a sound log that knows which kinds each instrument has; the rows are those of the README."""
    del shared
    summary = import_into(load_sources(ROOT / "experiments" / "binance-2024-sources.toml"), tmp_path / "log")
    assert verify_log(tmp_path / "log").findings == []
    assert (summary.rows["quotes"], summary.rows["trades"], summary.rejects) == (187_618, 46_452, {})
    with LogReader(tmp_path / "log") as reader:
        assert reader.kinds_of == [("quotes", "book_deltas")] * 3
        assert sum(len(batch.quotes.seq) + len(batch.deltas.seq) for batch in reader.batches(rows=1000)) == 187_618 + 1_407_396


def test_an_import_goes_on_where_the_log_ends(tmp_path: Path) -> None:
    """Seq, connection numbers and scales continue; a finer price announces itself; a coarser one is brought to the log's scale."""
    import_into(
        sources(tmp_path, kraken=[(1, "10.1", "10.2"), (3, "10.1", "10.2")], bitstamp=[(2, "10.1", "10.2")]), tmp_path / "log"
    )
    second = import_into(sources(tmp_path, kraken=[(3, "10.3", "10.4"), (5, "10.1234", "10.2")]), tmp_path / "log")
    third = import_into(sources(tmp_path, kraken=[(9, "10", "11")]), tmp_path / "log")
    assert second.first_seq == 9
    assert third.first_seq == second.last_seq + 1
    found = quotes(tmp_path / "log")
    assert [conn for _, conn, *_ in found] == [0, 1, 0, 2, 2, 3]
    assert {inst for _, conn, inst, *_ in found if conn != 1} == {0}
    assert [bid / 10**scale for *_, bid, scale in found] == [10.1, 10.1, 10.1, 10.3, 10.1234, 10.0]
    assert found[-1][4] == found[-2][4] == 4
    assert verify_log(tmp_path / "log").findings == []
    assert len(Manifest(tmp_path / "log").segments) == 3


def test_the_same_sources_give_the_same_log(tmp_path: Path) -> None:
    """An import repeated elsewhere gives the same bytes and the same digest."""
    one = sources(tmp_path, kraken=[(1, "1.5", "2"), (2, "1.5", "2")])
    for name in ("a", "b"):
        import_into(one, tmp_path / name)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_older_sources_are_refused_and_leave_the_log_alone(tmp_path: Path) -> None:
    """A source that begins before the log's end is refused by name."""
    import_into(sources(tmp_path, kraken=[(5, "1", "2")]), tmp_path / "log")
    before = tree(tmp_path / "log")
    with pytest.raises(
        ConfigError, match=r"kraken1-4.csv: begins at 1600000004000000000 ns, before the log's end at 1600000005000000000 ns"
    ):
        import_into(sources(tmp_path, kraken=[(4, "1", "2")]), tmp_path / "log")
    assert tree(tmp_path / "log") == before
    assert import_into(sources(tmp_path, kraken=[(5, "1", "3")]), tmp_path / "log").rows["quotes"] == 1


def stopping(error: type[BaseException]) -> object:
    """A progress callback that stops the import."""

    def progress(step: Progress) -> None:
        assert step.rows > 0
        raise error

    return progress


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_interrupted_import_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    """Ctrl-C or an error in the middle leaves no new log, and an old one byte for byte as it was; the next try works."""
    first = sources(tmp_path, kraken=[(1, "1", "2")])
    more = sources(tmp_path, kraken=[(2, "1", "2")], bitstamp=[(2, "1", "2")])
    with pytest.raises(error):
        import_into(first, tmp_path / "log", progress=stopping(error))  # type: ignore[arg-type]  # raises in its place
    assert not (tmp_path / "log").exists()
    import_into(first, tmp_path / "log")
    before = tree(tmp_path / "log")
    with pytest.raises(error):
        import_into(more, tmp_path / "log", progress=stopping(error))  # type: ignore[arg-type]  # raises in its place
    assert tree(tmp_path / "log") == before
    assert import_into(more, tmp_path / "log").rows["quotes"] == 2


def test_an_unusable_file_stops_the_import_after_rows_were_written(tmp_path: Path) -> None:
    """A file that turns out to be no text after many rows of another leaves neither a new log nor half a segment."""
    good = [(n, "1", "2") for n in range(1, 200_000)]
    bad = sources(tmp_path, kraken=good, bitstamp=[(199_999, "1", "2")])
    (tmp_path / "bitstamp1-199999.csv").write_bytes(b"time,bid,ask\n1600199999,1,2\n" + b"x" * (17 << 20))
    with pytest.raises(ConfigError, match="is longer than"):
        import_into(bad, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    import_into(sources(tmp_path, kraken=[(0, "1", "2"), (1, "1", "2")]), tmp_path / "old")
    before = tree(tmp_path / "old")
    with pytest.raises(ConfigError, match="is longer than"):
        import_into(bad, tmp_path / "old")
    assert tree(tmp_path / "old") == before


def test_nothing_usable_is_an_error(tmp_path: Path) -> None:
    """Sources without one valid time give no log."""
    (tmp_path / "a.csv").write_text("time,bid,ask\nnever,1,2\n")
    (tmp_path / "s.toml").write_text(SOURCE.format(name="a.csv", venue="kraken") + COLUMNS)
    with pytest.raises(ConfigError, match="no row of any source has a valid time"):
        import_into(load_sources(tmp_path / "s.toml"), tmp_path / "log")
    assert not (tmp_path / "log").exists()


def test_where_an_import_may_not_write(tmp_path: Path) -> None:
    """A folder with other things in it, a run, a damaged log and a log at work are refused and left alone."""
    one = sources(tmp_path, kraken=[(1, "1", "2")])
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("x")
    with LogWriter.create(tmp_path / "run", Header(kind="run", log_id="r")):
        pass
    damaged = small_log(tmp_path / "damaged")
    (path,) = (damaged / "kind=instruments").rglob("*.parquet")
    path.write_bytes(b"x" + path.read_bytes()[1:])
    cases: list[tuple[str, type[Exception], str]] = [
        ("other", ConfigError, "exists already"),
        ("run", ConfigError, "is a run; an import needs a log"),
        ("damaged", LogError, "was changed after it was sealed"),
    ]
    for name, error, message in cases:
        before = tree(tmp_path / name)
        with pytest.raises(error, match=message):
            import_into(one, tmp_path / name)
        assert tree(tmp_path / name) == before
    busy = small_log(tmp_path / "busy")
    with LogWriter.append_to(busy), pytest.raises(LogError, match="is being written"):
        import_into(one, busy)


def test_rejects_are_rows_and_counts(tmp_path: Path) -> None:
    """A bad line is a reject row with file, line, rule and text; the summary counts it; good lines around it are kept."""
    one = sources(tmp_path, kraken=[(1, "1", "2"), (2, "NaN", "2"), (1, "1", "2"), (3, "1", "2")])
    steps: list[Progress] = []
    summary: ImportSummary = import_into(one, tmp_path / "log", progress=steps.append)
    assert summary.rejects == {"kraken4-1.csv": {"bad_number": 1, "time_backwards": 1}}
    with LogReader(tmp_path / "log") as reader:
        rows = [row.values for batch in reader.batches(kinds=("rejects",)) for row in batch.slow]
    assert [(row["source"], row["line"], row["rule"], row["payload"]) for row in rows] == [
        ("kraken4-1.csv", 3, "bad_number", "1600000002,NaN,2"),
        ("kraken4-1.csv", 4, "time_backwards", "1600000001,1,2"),
    ]
    assert steps[-1].bytes_read == steps[-1].bytes_total
    assert summary.rows["quotes"] == 2
