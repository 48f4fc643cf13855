"""Does a start after a crash take longer the longer the log is?

Logs of 1, 10, 100 and 1,000 sealed segments (2,000 quotes and 20 heartbeats each; in a second row the older half of them was pruned) with
the same journal of 50,000 rows behind them, left by a writer that died. Seconds for `LiveLog.open`, which seals the journal, with the
same journal alone as 1.00; and, apart, for what a recorder then reads of the log (`LogReader`: instruments and connections).

Then the whole of what a start reads, `open_log` and `past_of`, with a journal of the same length, on years of log: 1,000, 5,000 and 35,000
segments of 10 files each, the biggest a year of seals every 15 minutes. They are made of one segment whose files stand under all
names, because their rows are not read; a start that reads them would fail on their names. Last, a start behind one with a million reports.

    python -m bench.recovery [FOLDER]
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from bench.journal import START, quote
from xarb.live.begin import past_of
from xarb.log import manifest
from xarb.log.committer import Policy
from xarb.log.livelog import LiveLog
from xarb.log.manifest import Header, Manifest
from xarb.log.prune import prune
from xarb.log.reader import LogReader
from xarb.log.rows import outputs_to_table, tuples_to_table
from xarb.log.writer import LogWriter
from xarb.model.columns import CONNECTION_EVENTS, INSTRUMENT_KINDS, TABLES, Type
from xarb.starts import LIVE, Opening, Start
from xarb.upkeep import open_log

LENGTHS = (1, 10, 100, 1_000)
QUOTES, BEATS, TAIL = 2_000, 20, 50_000
YEARS = (1_000, 5_000, 35_000)
FILES = 10  # a segment
REPORTS = 1_000_000
_LAST = 3  # of the four rows of an order
_LINKED = 5_000  # names of a file: a file system allows some ten thousand
_FILL = next(column for column in TABLES["reports"].columns if column.name == "event").values.index("fill")
HELD = Policy(seal_rows=10**9, seal_bytes=1 << 40, separate=False)
Row = tuple[object, ...]


def beat(seq: int, event: str = "heartbeat") -> Row:
    """A connections row."""
    return (seq, START + seq * 1000, 0, "binance", None, CONNECTION_EVENTS.index(event), 1, "bench", None, None)


def instrument(seq: int) -> Row:
    """An instruments row."""
    known = {"seq": seq, "ts_recv": START + seq * 1000, "venue": "binance", "symbol": "BTC/USDT", "native": "BTCUSDT"}
    known |= {
        "kind": INSTRUMENT_KINDS.index("spot"),
        "base": "BTC",
        "quote": "USDT",
        "settle": "USDT",
        "px_scale": 2,
        "qty_scale": 5,
    }
    known |= {"contract": 0, "active": True, "origin": "bench"}
    return tuple(known.get(column.name) for column in TABLES["instruments"].columns)


def build(folder: Path, segments: int) -> int:
    """A log of so many segments; the time of its last row, ns."""
    with LogWriter.create(folder, Header(kind="log", log_id="bench"), seal_rows=1) as writer:
        for _ in range(segments):
            first = writer.last + 1
            if not first:
                writer.write("connections", tuples_to_table("connections", [beat(0, "opened")]))
                writer.write("instruments", tuples_to_table("instruments", [instrument(1)]))
                first = 2
            writer.write("connections", tuples_to_table("connections", [beat(first + n) for n in range(BEATS)]))
            quotes = [quote(first + BEATS + n) for n in range(QUOTES)]
            writer.write("quotes", tuples_to_table("quotes", quotes))
            writer.commit()
        return writer.last_ts


def leave(folder: Path) -> None:
    """The journal of a writer that died."""
    log = LiveLog.open(folder, HELD)
    for first in range(log.last + 1, log.last + 1 + TAIL, 50):
        log.append({"quotes": [quote(first + n) for n in range(50)]})
        log.write()
    log.abandon()


def measured(folder: Path, scratch: Path) -> tuple[float, float]:
    """Seconds to open a copy of the log, and to read what a recorder must know of it; the best of three."""
    opened, read = [], []
    for _ in range(3):
        copy = shutil.copytree(folder, scratch / "copy")
        began = time.perf_counter()
        log = LiveLog.open(copy, HELD)
        opened.append(time.perf_counter() - began)
        began = time.perf_counter()
        with LogReader(copy):
            read.append(time.perf_counter() - began)
        log.close()
        shutil.rmtree(copy)
    return min(opened), min(read)


def report(place: Path) -> None:
    """Print the table."""
    base = 0.0
    print(f"{'segments':>10} {'pruned':>7} {'open s':>8} {'to first':>9} {'read s':>8}")
    for length in LENGTHS:
        for pruned in (False, True):
            folder = place / f"log{length}"
            last_ts = build(folder, length)
            if pruned:
                prune(folder, (START + last_ts) // 2, by="bench")
            leave(folder)
            opened, read = measured(folder, place)
            base = base or opened
            print(f"{length:>10} {'half' if pruned else 'no':>7} {opened:>8.2f} {opened / base:>9.2f} {read:>8.3f}")
            shutil.rmtree(folder)


def lengthen(folder: Path, segments: int) -> None:
    """Make a log of one segment one of many by more manifest lines, whose files are the first one's under other names."""
    found = Manifest(folder)
    first, head = found.segments[0], found.head
    like = [entry for entry in first.files if entry.kind != "instruments"]
    like = (like * FILES)[:FILES]
    donors: dict[int, Path] = {}
    with found.path.open("ab") as file:
        for number in range(1, segments):
            at, files = number * (first.last + 1), []
            for place, entry in enumerate(like):
                path = str(Path(entry.path).with_name(f"{at + place:020d}-{at + first.last:020d}.parquet"))
                if number % _LINKED == 1:
                    donors[place] = Path(shutil.copy(folder / entry.path, folder / path))
                else:
                    os.link(donors[place], folder / path)
                files.append(msgspec.structs.replace(entry, path=path, first=at + place, last=at + first.last))
            ends = {"first": at, "last": at + first.last, "previous": head, "files": tuple(files)}
            line = manifest.line_of(msgspec.structs.replace(first, segment=number, **ends))
            file.write(line)
            head = line.partition(b" ")[0].decode()


def started(folder: Path) -> tuple[float, float]:
    """Seconds for the log to be opened, and for what a start then must know."""
    began = time.perf_counter()
    log, _, _, sealed = open_log(folder, "bench", HELD)
    opened = time.perf_counter()
    past_of(folder, sealed)
    read = time.perf_counter()
    log.close()
    return opened - began, read - opened


def row_of(kind: str, known: dict[str, object]) -> Row:
    """A row with nothing in the columns that are not given."""
    empty = {Type.TEXT: "bench"}
    return tuple(known.get(column.name, None if column.nullable else empty.get(column.type, 0)) for column in TABLES[kind].columns)


def traded(folder: Path) -> None:
    """A start of real trading behind which a million reports came, ten a second: of each four one order was sent, filled and ended."""
    opening = Opening(balances=(), sources={}, armed=False)
    start = Start(number=1, log_id="b", code_digest="", config={}, seed=1, mode=LIVE, opening=opening, applied_seq=None)
    with LogWriter.create(folder, Header(kind="log", log_id="bench"), seal_rows=1) as writer:
        writer.write("starts", tuples_to_table("starts", [(0, START, *start.row())]))
        for first in range(1, REPORTS, 50_000):
            rows: dict[str, list[Row]] = {"reports": [], "commands": [], "orders": [], "fills": []}
            for seq in range(first, first + 50_000):
                ts, order = START + seq * 100_000_000, seq // 4
                said = {"order": order, "fill_id": str(seq), "qty": 10**18, "qty_int": 1, "qty_scale": 0, "n": 0}
                report_ = {"seq": seq, "ts_recv": ts, "ts_event": ts, "event": _FILL, "start": 1}
                rows["reports"].append(row_of("reports", said | report_))
                kind = ("commands", "orders", "fills", "orders")[seq % 4]
                state = "filled" if seq % 4 == _LAST else "accepted"
                enums = {"kind": "submit", "side": "buy", "state": state, "liquidity": "taker"}
                rows[kind].append((kind, *row_of(kind, said | enums | {"after_seq": seq, "ts": ts})))
            writer.write("reports", tuples_to_table("reports", rows.pop("reports")))
            for kind, mine in rows.items():
                writer.write(kind, outputs_to_table(kind, mine))
            writer.commit()


def report_long(place: Path) -> None:
    """Print the table of starts on years of log."""
    print(f"\n{'segments':>10} {'files':>8} {'manifest MB':>12} {'parse s':>8} {'open s':>8} {'past s':>8} {'start s':>8}")
    for length in YEARS:
        folder = place / f"years{length}"
        build(folder, 1)
        lengthen(folder, length)
        leave(folder)
        began = time.perf_counter()
        size = Manifest(folder).bytes
        parsed = time.perf_counter() - began
        opened, past = started(folder)
        print(
            f"{length:>10} {length * FILES:>8} {size / 1e6:>12.1f} {parsed:>8.2f} {opened:>8.2f} {past:>8.2f} {opened + past:>8.2f}",
            flush=True,
        )
        shutil.rmtree(folder)
    folder = place / "reports"
    traded(folder)
    opened, past = started(folder)
    print(f"behind {REPORTS:,} reports: open {opened:.2f} s, past {past:.2f} s, start {opened + past:.2f} s")


def main() -> None:
    """Measure in a folder that is removed, in FOLDER if given: the disk matters."""
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as place:
        report(Path(place))
        report_long(Path(place))


if __name__ == "__main__":
    main()
