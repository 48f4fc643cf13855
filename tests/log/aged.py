"""A log of several days, a segment a day, with every group of kinds that pruning tells apart: what goes, what goes apart, what stays."""

from __future__ import annotations

from pathlib import Path

from tests.log.live import refusal
from tests.log.logs import BTC, HEADER, START, Placed, connection, instrument, placed, quote
from xarb.log.manifest import Manifest
from xarb.log.writer import LogWriter
from xarb.model.columns import INPUTS
from xarb.model.event import OutputRow, output_row

DAY = 86_400 * 10**9
PER_DAY = 8  # inputs of a segment


def start(number: int, applied: int | None) -> Placed:
    """A starts row; what it holds does not matter here."""
    row = {"number": number, "log_id": "test", "code_digest": "x", "config": "{}", "seed": 1, "mode": "paper", "opening": "{}"}
    return "starts", row | {"applied_seq": applied}


def frame(text: str) -> Placed:
    """A frames row."""
    return "frames", {"conn": 0, "venue": "binance", "payload": text.encode()}


def balance(free: int) -> Placed:
    """A balances row."""
    row = {"account": "main", "strategy": "", "venue": "binance", "asset": "USDT"}
    return "balances", row | {"free": free * 10**18, "locked": 0}


def ledger(after: int, n: int, ts: int) -> OutputRow:
    """A change of money."""
    row = {"after_seq": after, "n": n, "ts": ts, "account": "main", "strategy": "s", "venue": "binance", "asset": "USDT"}
    return output_row("ledger", row | {"delta": 10**18, "balance": after * 10**18, "cause": "trade"})


def day(number: int) -> list[Placed]:
    """The inputs of a day, seq and time given."""
    head = [connection(0), instrument(BTC, 2, 5)] if not number else [quote(10, 20), quote(11, 20)]
    first = number * PER_DAY
    body = [start(number + 1, first - 1 if number else None), frame(f"day {number}"), quote(first, first + 1), balance(first)]
    more: list[Placed] = [
        ("health", {"venue": None, "metric": "m", "value": number, "detail": None}),
        frame(f"end of day {number}"),
    ]
    return placed([*head, *body, *more], first_seq=first, ts=START + number * DAY)


def aged(folder: Path, days: int = 4) -> Path:
    """Write it: segment n holds the seqs from n * PER_DAY on, from START + n * DAY on."""
    with LogWriter.create(folder, HEADER) as writer:
        for number in range(days):
            add_day(writer, number)
    return folder


def add_day(writer: LogWriter, number: int) -> None:
    """Write one day as a segment."""
    rows = day(number)
    for kind in INPUTS:
        writer.write_rows(kind, [row for name, row in rows if name == kind])
    last, ts = rows[-1][1]["seq"], rows[-1][1]["ts_recv"]
    writer.write_outputs([refusal(last - 1, 0, ts=ts), ledger(last, 0, ts), refusal(last, 1, ts=ts)])
    writer._write_held()
    writer.seal()


def paths(folder: Path) -> list[str]:
    """Every file below a folder, relative to it."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def named(folder: Path, kinds: tuple[str, ...], days: range) -> list[str]:
    """The paths of the files of these kinds in these segments, there or not."""
    found = Manifest(folder)
    return sorted(entry.path for number in days for entry in found.segments[number].files if entry.kind in kinds)
