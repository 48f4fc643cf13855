"""Small markets for the simulated venue: rows, batches cut anywhere, and a driver that plays the engine's part.

A row is (kind, ts_recv, instrument, values). `play` goes through the rows as the engine would: it stops at the venue's horizon, takes
the reports due then, and hands over the commands that a test attached to a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec
import numpy as np

from tests.defaults import venue_model
from xarb.model.batch import NO_BOOKS, NO_DELTAS, NO_QUOTES, NO_TRADES, Batch, Books, Deltas, Quotes, Trades, field_dtype
from xarb.model.command import CancelOrder, Command, Report, SubmitOrder
from xarb.model.event import SlowRow
from xarb.model.instrument import FeeTier, Instrument
from xarb.model.units import MONEY_ONE, NANOS_PER_MS, NEVER, NULL, Money, Ppb
from xarb.venues.simulated import SimulatedVenues
from xarb.venues.terms import ConstantLatency, VenueModel, VenueSetup

MS = NANOS_PER_MS


class Row(NamedTuple):
    """One input; times in ns, null is None.

    Values by kind: quote (bid, bid_qty, ask, ask_qty); delta (side, price, qty, is_snapshot, is_last, verdict); trade (price, qty,
    aggressor); book (bids, asks) as tuples of (price, qty), best first; connection (event, symbol or None); instrument (changes).
    """

    kind: str
    ts: int
    inst: int
    values: tuple[Any, ...]


FREE = FeeTier(maker_ppb=Ppb(0), taker_ppb=Ppb(0))
RICH = Money(10**9 * MONEY_ONE)


def plain_model(**changes: Any) -> VenueModel:
    """10 ms there, 5 ms back, 1 ms feed, no rate limit."""
    fields: dict[str, Any] = {
        "feed_latency": ConstantLatency(MS),
        "order_latency": ConstantLatency(10 * MS),
        "response_latency": ConstantLatency(5 * MS),
        "rate_limit": None,
    }
    return venue_model(**(fields | changes))


def setup_of(
    instruments: Sequence[Instrument],
    *,
    sources: Sequence[int] | None = None,
    fee: FeeTier = FREE,
    opening: Mapping[tuple[str, str, str], Money] | None = None,
    **changes: Any,
) -> VenueSetup:
    """A setup in which account `main` is rich everywhere."""
    assets = sorted({(i.venue, asset) for i in instruments for asset in (i.base, i.quote)})
    fields: dict[str, Any] = {
        "instruments": instruments,
        "sources": sources or [0] * len(instruments),
        "fees": {("main", number): fee for number in range(len(instruments))},
        "opening": {("main", venue, asset): RICH for venue, asset in assets} if opening is None else opening,
        "rates": {},
        "seed": 0,
    }
    return VenueSetup(**(fields | changes))


def submit(order: int, side: str, price: int, qty: int, *, inst: int = 0, tif: str = "ioc", **changes: Any) -> SubmitOrder:
    """An order of account `main`; `ts` is filled in when it is sent."""
    fields: dict[str, Any] = {"ts": 0, "account": "main", "strategy": "s", "post_only": False}
    return SubmitOrder(
        order=order,
        client_order_id=f"t-1-{order}",
        instrument=inst,
        side=side,
        tif=tif,
        price_int=price,
        qty_int=qty,
        **(fields | changes),
    )


def cancel(order: int, *, inst: int = 0) -> CancelOrder:
    """A cancel of account `main`; `ts` is filled in when it is sent."""
    return CancelOrder(ts=0, order=order, client_order_id=f"t-1-{order}", account="main", strategy="s", instrument=inst)


def batch_of(rows: Sequence[Row], instruments: Sequence[Instrument], first_seq: int) -> Batch:
    """The rows as one batch."""
    numbered = list(enumerate(rows, first_seq))

    def base(kind: str) -> tuple[list[tuple[int, Row]], dict[str, list[Any]]]:
        mine = [(seq, row) for seq, row in numbered if row.kind == kind]
        return mine, {
            "seq": [seq for seq, _ in mine],
            "ts_recv": [row.ts for _, row in mine],
            "ts_event": [None] * len(mine),
            "conn": [_conn(instruments, row) for _, row in mine],
            "inst": [row.inst for _, row in mine],
            "venue_seq": [None] * len(mine),
            "trade_id": [None] * len(mine),
        }

    blocks: list[Any] = []
    for kind, block, empty, names in (
        ("quote", Quotes, NO_QUOTES, ("bid", "bid_qty", "ask", "ask_qty")),
        ("delta", Deltas, NO_DELTAS, ("side", "price", "qty", "is_snapshot", "is_last", "verdict")),
        ("trade", Trades, NO_TRADES, ("price", "qty", "aggressor")),
    ):
        mine, columns = base(kind)
        columns |= {name: [row.values[at] for _, row in mine] for at, name in enumerate(names)}
        blocks.append(block(*(_array(columns[name], name) for name in block._fields)) if mine else empty)
    blocks.append(_books(*base("book")))
    slow = [_slow(seq, row, instruments) for seq, row in numbered if row.kind in ("connection", "instrument")]
    return Batch(first_seq, first_seq + len(rows) - 1, blocks[0], blocks[1], blocks[2], blocks[3], slow)


def _books(mine: list[tuple[int, Row]], columns: dict[str, list[Any]]) -> Books:
    if not mine:
        return NO_BOOKS
    levels = [row.values[0] + row.values[1] for _, row in mine]
    columns["offset"] = [sum(len(level) for level in levels[:at]) for at in range(len(levels) + 1)]
    columns["bids"] = [len(row.values[0]) for _, row in mine]
    columns["px"] = [price for level in levels for price, _ in level]
    columns["qty"] = [qty for level in levels for _, qty in level]
    return Books(*(_array(columns[name], name) for name in Books._fields))


def _conn(instruments: Sequence[Instrument], row: Row) -> int:
    return sorted({i.venue for i in instruments}).index(instruments[row.inst].venue)


def _array(values: Sequence[Any], name: str) -> np.ndarray[Any, Any]:
    null = -1 if name == "side" else NULL
    array = np.array([null if value is None else value for value in values], dtype=field_dtype(name))
    array.flags.writeable = False
    return array


def _slow(seq: int, row: Row, instruments: Sequence[Instrument]) -> SlowRow:
    mine = instruments[row.inst]
    if row.kind == "connection":
        event, whole = row.values
        values = {"conn": _conn(instruments, row), "venue": mine.venue, "symbol": None if whole else mine.symbol, "event": event}
        return SlowRow(seq, row.ts, "connections", values)
    return SlowRow(seq, row.ts, "instruments", {"venue": mine.venue, "symbol": mine.symbol, **row.values[0]})


class Told(NamedTuple):
    """A report as it reached the engine: after which input, and at what time."""

    after_seq: int
    ts: int
    report: Report


def play(
    venues: SimulatedVenues,
    rows: Sequence[Row],
    commands: Mapping[int, Sequence[Command]],
    *,
    instruments: Sequence[Instrument],
    cuts: Sequence[int] = (),
) -> list[Told]:
    """Drive the venues through the rows (seq is the index); commands are decided right after the row of that seq.

    `cuts` are the seqs at which a new batch starts.
    """
    told: list[Told] = []
    bounds = [0, *sorted(cut for cut in set(cuts) if 0 < cut < len(rows)), len(rows)]
    for start, end in pairwise(bounds):
        if start == end:
            continue
        venues.load(batch_of(rows[start:end], instruments, start))
        at = start
        while at < end:
            until = venues.horizon()
            sent: Sequence[Command] = ()
            while at < end and rows[at].ts <= until and not sent:
                sent = commands.get(at, ())
                at += 1
            venues.run(at - 1)
            if sent:
                venues.take([msgspec.structs.replace(command, ts=rows[at - 1].ts) for command in sent])
            elif at < end:
                told += [Told(at - 1, until, report) for report in venues.reports(until)]
        venues.run(end - 1)
    return told


def text(report: Report) -> str:
    """A report in one line."""
    words = [str(report.order), report.event]
    if report.event == "fill":
        words += [f"{report.qty_int}@{report.price_int}", report.liquidity or ""]
        if report.fee:
            words += ["fee", f"{report.fee / MONEY_ONE:g}", report.fee_asset or ""]
    elif report.reason:
        words.append(report.reason)
    return " ".join(words)


__all__ = [
    "MS",
    "NEVER",
    "RICH",
    "Row",
    "Told",
    "batch_of",
    "cancel",
    "plain_model",
    "play",
    "setup_of",
    "submit",
    "text",
]
