"""Does a start after a crash take longer the longer the log is?

Logs of 1, 10, 100 and 1,000 sealed segments (2,000 quotes and 20 heartbeats each; in a second row the older half of them was pruned) with
the same journal of 50,000 rows behind them, left by a writer that died. Seconds for `LiveLog.open`, which seals the journal, with the
same journal alone as 1.00; and, apart, for what a recorder then reads of the log (`LogReader`: instruments and connections).

    python -m bench.recovery [FOLDER]
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path

from bench.journal import START, quote
from xarb.log.committer import Policy
from xarb.log.livelog import LiveLog
from xarb.log.manifest import Header
from xarb.log.prune import prune
from xarb.log.reader import LogReader
from xarb.log.rows import tuples_to_table
from xarb.log.writer import LogWriter
from xarb.model.columns import CONNECTION_EVENTS, INSTRUMENT_KINDS, TABLES

LENGTHS = (1, 10, 100, 1_000)
QUOTES, BEATS, TAIL = 2_000, 20, 50_000
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


def main() -> None:
    """Measure in a folder that is removed, in FOLDER if given: the disk matters."""
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as place:
        report(Path(place))


if __name__ == "__main__":
    main()
