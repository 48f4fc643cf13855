"""What does a live log cost the loop that writes it, how fast is it at most, and how fast does it seal and recover?

Per burst size: microseconds an event of the calling thread for `append` and for `write` (a frame a burst), events a second, bytes an event
in the journal. Then fsync latency at 20 rows a millisecond with groups of 10 ms, the seal of a journal in rows a second, a start after
a crash, and a second look of a query at a growing tail. Compared with msgpack alone and with a write of 1,200 bytes to the same disk.

    python -m bench.journal [ROWS] [FOLDER]
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

from xarb.log.check import verify_log
from xarb.log.committer import Policy
from xarb.log.journal import FOLDER
from xarb.log.livelog import LiveLog
from xarb.log.manifest import Header
from xarb.log.tail import Tail
from xarb.model.columns import LEVELS

START = 1_780_000_000_000_000_000
BURSTS = (1, 20, 200)
PACE_S = 3.0
HELD = Policy(seal_rows=10**9, seal_bytes=1 << 40)
Row = tuple[Any, ...]


def quote(seq: int) -> Row:
    """A quotes row as `RowBuilder` makes it."""
    price = 9_871_234 + seq % 977
    return (
        seq,
        START + seq * 1000,
        START + seq * 1000 - 2_500_000,
        0,
        "binance",
        "BTC/USDT",
        51_000_000_000 + seq,
        price,
        151_000,
        price + 1,
        73_000,
        2,
        5,
    )


def book(seq: int) -> Row:
    """A books row, ten levels a side."""
    top: list[int | None] = []
    for side in (-1, 1):
        top += [9_871_234 + side * level for level in range(LEVELS)] + [seq % 100_000 + level for level in range(LEVELS)]
    return (*quote(seq)[:7], 2, 5, *top, None, None, None, None)


def head() -> dict[str, list[Row]]:
    """A connection and an instrument."""
    names = ("binance", "BTC/USDT", "BTCUSDT", 0, "BTC", "USDT", "USDT")
    return {
        "connections": [(0, START, 0, "binance", None, 0, 1, "bench", None, None)],
        "instruments": [(1, START, *names, 2, 5, 1, 1, 10**13, 5 * 10**18, 0, 10**18, None, True, "bench")],
    }


def loop_cost(folder: Path, kind: str, rows: int, burst: int) -> None:
    """CPU and wall of the calling thread for bursts as fast as they go."""
    make = quote if kind == "quotes" else book
    bursts = [[make(2 + n) for n in range(first, first + burst)] for first in range(0, rows, burst)]
    append = write = 0
    with LiveLog.create(folder, Header(kind="log", log_id="bench"), HELD) as log:
        log.append(head())
        log.write()
        for part in bursts:
            began = time.thread_time_ns()
            log.append({kind: part})
            middle = time.thread_time_ns()
            log.write()
            append, write = append + middle - began, write + time.thread_time_ns() - middle
        stats = log.stats
        log.abandon()
    count = sum(map(len, bursts))
    total = (append + write) / count
    per = f"{append / count / 1e3:.2f} + {write / count / 1e3:.2f} us an event (append + write)"
    print(f"{kind}, bursts of {burst:3}: {per}, {1e9 / total:,.0f} events/s, {stats.bytes / stats.rows:.1f} bytes an event")


def raw_cost(folder: Path, burst: int) -> None:
    """What msgpack and the OS take by themselves for the same burst."""
    rows = [quote(2 + n) for n in range(burst)]
    data = msgspec.msgpack.encode(rows)
    handle = os.open(folder / "raw", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    rounds = 20_000
    began = time.thread_time_ns()
    for _ in range(rounds):
        msgspec.msgpack.encode(rows)
    middle = time.thread_time_ns()
    for _ in range(rounds):
        os.write(handle, data)
    end = time.thread_time_ns()
    os.close(handle)
    (folder / "raw").unlink()
    print(
        f"alone, bursts of {burst}: {(middle - began) / rounds / burst / 1e3:.2f} us an event for msgpack, "
        f"{(end - middle) / rounds / burst / 1e3:.2f} for os.write of {len(data)} bytes"
    )


def paced(folder: Path) -> None:
    """Latencies at 20 rows a millisecond, groups of 10 ms."""
    with LiveLog.create(folder, Header(kind="log", log_id="bench"), HELD) as log:
        log.append(head())
        seq, began = 2, time.monotonic()
        while (now := time.monotonic() - began) < PACE_S:
            log.append({"quotes": [quote(seq + n) for n in range(20)]})
            log.write()
            seq += 20
            time.sleep(max(0.0, (seq / 20) * 0.001 - now))
        stats = log.stats
        log.abandon()
    for name, one in (("fsync", stats.sync), ("write", stats.write)):
        print(
            f"paced 20 rows/ms, groups of 10 ms: {name} p50 {one.p50 / 1e3:.0f} us, p99 {one.p99 / 1e3:.0f} us, max {one.max / 1e3:.0f} us"
        )
    print(f"paced: {stats.rows:,} rows, {stats.bytes / stats.rows:.1f} bytes an event")


def recovery(folder: Path, rows: int) -> None:
    """A tail read, a second look at it, and the start after a crash, which seals it."""
    log = LiveLog.create(folder, Header(kind="log", log_id="bench"), HELD)
    log.append(head())
    for first in range(2, rows, 200):
        log.append({"quotes": [quote(first + n) for n in range(200)]})
        log.write()
    began = time.perf_counter()
    tail = Tail(folder)
    first_look = time.perf_counter() - began
    log.append({"quotes": [quote(log.last + 1 + n) for n in range(20_000)]})
    log.write()
    began = time.perf_counter()
    tail.refresh()
    print(f"tail: {rows:,} rows read in {first_look:.2f} s, 20,000 more in {time.perf_counter() - began:.3f} s")
    log.abandon()
    size = sum(path.stat().st_size for path in (folder / FOLDER).glob("*.journal"))
    began = time.perf_counter()
    log = LiveLog.open(folder)
    took = time.perf_counter() - began
    log.close()
    report = verify_log(folder)
    assert report.ok
    print(
        f"start after a crash: {report.rows:,} rows sealed in {took:.2f} s, {report.rows / took:,.0f} rows/s; "
        f"journal {size / report.rows:.1f} bytes a row, sealed {report.bytes / report.rows:.1f}"
    )


def main() -> None:
    """Run all parts in a folder that goes afterwards."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    where = sys.argv[2] if len(sys.argv) > 2 else None
    with tempfile.TemporaryDirectory(dir=where) as name:
        folder = Path(name)
        for burst in BURSTS:
            loop_cost(folder / f"quotes{burst}", "quotes", min(rows, 40_000 * burst), burst)
        loop_cost(folder / "books", "books", rows // 10, 20)
        raw_cost(folder, 20)
        paced(folder / "paced")
        recovery(folder / "recovery", rows)


if __name__ == "__main__":
    main()
