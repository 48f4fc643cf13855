"""Reading a part of a log gives what a filter over everything gives, in bounded memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.markets import Market, make
from tests.log.logs import BTC, KRW, START, Placed, book_row, connection, instrument, placed, quote, read_all, write
from xarb.errors import ConfigError
from xarb.log.decode import COLUMNS
from xarb.log.manifest import Header, Manifest
from xarb.log.reader import LogReader, Selection
from xarb.log.writer import LogWriter

ROOT = Path(__file__).resolve().parents[2]
HOUR = 3600 * 10**9
_LEVELS = book_row([(5, 1)], [(6, 1)])


def rows() -> list[Placed]:
    """Sixty rows of six kinds over three dates, on two instruments, in groups of equal times."""
    body: list[Placed] = [connection(0), instrument(BTC, 2, 5), instrument(KRW, 2, 5)]
    for n in range(57):
        key = (BTC, KRW)[n % 2] if n < 30 else BTC
        feed = {"conn": 0, "venue": key[0], "symbol": key[1], "px_scale": 2, "qty_scale": 5}
        kinds: list[Placed] = [
            quote(n, n + 1, key=key),
            ("books", feed | _LEVELS),
            ("trades", feed | {"price_int": n, "qty_int": 1, "aggressor": "buy", "trade_id": str(n)}),
            ("marks", feed | {"mark_int": n}),
            ("health", {"metric": "m", "value": n}),
        ]
        body.append(kinds[n % 5])
    return [(kind, row | {"ts_recv": START + row["seq"] // 3 * 3 * HOUR}) for kind, row in placed(body)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of `rows` with small row groups in several segments."""
    path = tmp_path_factory.mktemp("selection") / "log"
    write(path, rows(), commits=6, row_group=4, seal_rows=15)
    return path


@pytest.mark.parametrize("row_group", [1, 4, 7, 100])
def test_what_statistics_tell_is_what_decoding_gives(tmp_path: Path, row_group: int) -> None:
    """Row groups with every seq of their range and with holes, with a column null throughout, here and there, and nowhere."""
    body: list[Placed] = [connection(0), instrument(BTC, 2, 5)]
    for n in range(40):
        body.append(quote(n, n + 1, venue_seq=n if n > 20 else None, ts_event=START if n % 3 else None))
        if 10 < n < 14:
            body.append(("health", {"metric": "m", "value": n}))
    write(tmp_path / "log", placed(body), row_group=row_group)
    columns = COLUMNS["quotes"]
    with LogReader(tmp_path / "log") as reader:
        (entry,) = reader.entries("quotes")
        for size in (1, 5, 1000):
            known = pa.Table.from_batches(list(reader.files.chosen(entry, columns, size)))
            decoded = pa.Table.from_batches(list(reader.files.batches(entry, columns, size)))
            assert known.schema == decoded.schema
            assert known.to_pylist() == decoded.to_pylist()


BOUND = st.one_of(st.none(), st.integers(-3, 63))


@given(seqs=st.tuples(BOUND, BOUND), times=st.tuples(BOUND, BOUND), size=st.integers(1, 80))
@settings(max_examples=80)
def test_ranges_give_what_a_filter_gives(folder: Path, seqs: tuple[int, int], times: tuple[int, int], size: int) -> None:
    """Ranges of seq and of time, open or closed, empty or whole, at any batch size."""
    first_ts, last_ts = (None if bound is None else START + bound * HOUR for bound in times)
    select = Selection(first_seq=seqs[0], last_seq=seqs[1], first_ts=first_ts, last_ts=last_ts)

    def kept(row: Placed) -> bool:
        seq, ts = int(row[1]["seq"]), int(row[1]["ts_recv"])
        return (
            (seqs[0] is None or seq >= seqs[0])
            and (seqs[1] is None or seq <= seqs[1])
            and (first_ts is None or ts >= first_ts)
            and (last_ts is None or ts <= last_ts)
        )

    assert read_all(folder, size, select=select) == [row for row in read_all(folder) if kept(row)]


MARKET = {"quotes", "books", "trades", "marks"}


@pytest.mark.parametrize("size", [1, 5, 100])
@pytest.mark.parametrize(
    ("select", "kept"),
    [
        (Selection(instruments=frozenset({"BTC/KRW@upbit"})), lambda kind, row: kind not in MARKET or row["venue"] == "upbit"),
        (Selection(instruments=frozenset({"none"})), lambda kind, _: kind not in MARKET),
        (
            Selection(dates=frozenset({"2023-11-15"})),
            lambda _, row: row["ts_recv"] // (24 * HOUR) == START // (24 * HOUR) + 1,
        ),
        (Selection(dates=frozenset()), lambda *_: False),
    ],
)
def test_instruments_and_dates_give_what_a_filter_gives(
    folder: Path, select: Selection, kept: Callable[[str, dict[str, int]], bool], size: int
) -> None:
    """Rows of the chosen instruments beside all rows that belong to none, and rows of the chosen dates."""
    found = read_all(folder, size, select=select)
    assert found == [row for row in read_all(folder) if kept(*row)]


def test_files_outside_the_selection_are_not_opened(folder: Path, tmp_path: Path) -> None:
    """Pruned files may even be gone: the manifest alone decides."""
    for entry in Manifest(folder).files:
        target = tmp_path / entry.path
        target.parent.mkdir(parents=True, exist_ok=True)
        if entry.kind in {"instruments", "connections"} or (entry.kind == "quotes" and "BTC/KRW@upbit" in entry.instruments):
            target.write_bytes((folder / entry.path).read_bytes())
    (tmp_path / "manifest.jsonl").write_bytes((folder / "manifest.jsonl").read_bytes())
    with LogReader(tmp_path) as reader:
        select = Selection(instruments=frozenset({"BTC/KRW@upbit"}))
        assert sum(len(batch.quotes.seq) for batch in reader.batches(kinds=("quotes",), select=select)) == 3


def test_wrong_wishes_are_refused(folder: Path, tmp_path: Path) -> None:
    """An unknown kind, an output asked as input, no rows at all, and inputs of a run."""
    with LogReader(folder) as reader:
        for kind in ("fills", "x"):
            with pytest.raises(ConfigError, match=f"no kind of input: {kind}"):
                reader.batches(kinds=(kind,))
        with pytest.raises(ConfigError, match="no kind of output: quotes"):
            reader.outputs(kinds=("quotes",))
        with pytest.raises(ConfigError, match="rows must be 1 or more"):
            reader.batches(rows=0)
        assert list(reader.outputs()) == []
    with LogWriter.create(tmp_path / "run", Header(kind="run", log_id="r", input_digest="abc")):
        pass
    with (
        LogReader(tmp_path / "run") as reader,
        pytest.raises(ConfigError, match="is a run: it has no inputs; its log has the digest abc"),
    ):
        reader.batches()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from /proc")
def test_memory_does_not_grow_with_the_log(tmp_path: Path) -> None:
    """Six times the rows take no more memory: what Arrow holds at its peak, and the process as a whole, stay within a tenth."""
    code = (
        "import sys, pyarrow as pa\nfrom xarb.log.reader import LogReader\nrows = 0\n"
        "for batch in LogReader(sys.argv[1]).batches(): rows += len(batch.quotes.seq)\n"
        "peak = next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM'))\n"
        "print(rows, pa.default_memory_pool().max_memory(), peak)\n"
    )
    peaks = []
    for events in (500_000, 3_000_000):
        make(tmp_path / str(events), Market(events, symbols=5, venues=4, share=0.004))
        done = subprocess.run(
            [sys.executable, "-c", code, tmp_path / str(events)], capture_output=True, text=True, check=True, cwd=ROOT
        )
        rows_read, arrow, resident = map(int, done.stdout.split())
        assert rows_read == events
        peaks.append((arrow, resident))
    assert peaks[1][0] < peaks[0][0] * 1.1
    assert peaks[1][1] < peaks[0][1] * 1.1
