"""Rows of every kind for a whole engine, and text tables of them.

    0.0 a snap b100*5 a101*5     > feed a down live
    0.1 a delta b100*6 a101*0    >
    0.2 a gap                    > feed a live gapped

A line is a time in seconds, an instrument letter, a kind and its values; levels are side, price and size (`b100*5`), sizes and prices
may be `-` for null. Expected rows stand behind `>`, in order and completely.

    quote 100 5 101 5 [venue_seq]     bid, bid size, ask, ask size
    snap | delta LEVELS               one message of deltas; without a level the empty message
    old | unsynced LEVELS             deltas with that verdict of the wire
    more LEVELS                       a snapshot whose message goes on with the next line of the instrument
    book LEVELS [#venue_seq]          a whole book, best first
    trade ID PRICE QTY
    gap lost closed opened subscribed heartbeat resync   a connection row of the symbol; a letter in capitals: of all its connection
    scale PX QTY                      an instruments row with those scales, steps of one unit
    reject
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from tests.defaults import engine_setup, feed_limits, strategy_terms
from tests.engine.table import Watcher, instrument, nanos
from xarb.engine.engine import Engine, Stop
from xarb.engine.kernel import state
from xarb.engine.setup import FeedLimits
from xarb.engine.strategy import Wake, Wakes
from xarb.model.batch import NO_BOOKS, NO_DELTAS, NO_QUOTES, NO_TRADES, Batch, Books, Deltas, Quotes, Trades, field_dtype
from xarb.model.columns import DELTA_VERDICTS, SIDES
from xarb.model.event import SlowRow, named
from xarb.model.instrument import Instrument
from xarb.model.units import INT64_MAX, NULL

NO_LIMITS = feed_limits(
    liveness_ns=INT64_MAX // 2,
    cache_ns=INT64_MAX // 2,
    freeze_ns=0,
    quality_floor=0,
    max_latency_ns=INT64_MAX // 2,
    spread_multiple=0,
    outlier_floor_ppb=10**9,
    jump_ppb=0,
)
BLOCKS: dict[str, Any] = {"quotes": (Quotes, NO_QUOTES), "deltas": (Deltas, NO_DELTAS), "trades": (Trades, NO_TRADES)}
Level = tuple[str, int | None, int | None]  # side, price, size


class Row(NamedTuple):
    """One input: a compiled kind by its block's name, or a slow kind; values without seq."""

    kind: str
    ts: int
    values: dict[str, Any]


def quote(ts: int, inst: int, *sides: int | None, venue_seq: int | None = None, ts_event: int | None = None) -> Row:
    """A quote: bid, bid size, ask, ask size."""
    names = ("bid", "bid_qty", "ask", "ask_qty")
    return _row("quotes", ts, inst, ts_event, venue_seq=venue_seq, **dict(zip(names, sides, strict=True)))


def message(
    ts: int, inst: int, levels: Sequence[Level], *, snapshot: bool = False, verdict: str = "apply", ends: bool = True
) -> list[Row]:
    """The rows of one delta message; no level gives the empty message, which confirms the book. One that does not end goes on."""
    rows = []
    for at, (side, price, qty) in enumerate(levels or [("", None, None)]):
        values = {"side": SIDES.index(side) if side else -1, "price": price, "qty": qty, "is_snapshot": snapshot, "venue_seq": None}
        values |= {"is_last": ends and at >= len(levels) - 1, "verdict": DELTA_VERDICTS.index(verdict)}
        rows.append(_row("deltas", ts, inst, None, **values))
    return rows


def book(ts: int, inst: int, bids: Sequence[Level], asks: Sequence[Level], venue_seq: int | None = None) -> Row:
    """A whole book; sides as they were given, best first."""
    levels = [*bids, *asks]
    values = {"bids": len(bids), "px": [known(px) for _, px, _ in levels], "qty": [known(qty) for _, _, qty in levels]}
    return _row("books", ts, inst, None, venue_seq=venue_seq, **values)


def trade(ts: int, inst: int, trade_id: int | None, price: int | None, qty: int | None) -> Row:
    """A public print, aggressor unknown."""
    return _row("trades", ts, inst, None, trade_id=trade_id, price=price, qty=qty, aggressor=2)


def connection(ts: int, conn: int, event: str, one: Instrument, *, whole: bool = False) -> Row:
    """A connection row, of one symbol or of the whole connection."""
    values = {"conn": conn, "venue": one.venue, "symbol": None if whole else one.symbol, "event": event}
    return Row("connections", ts, values)


def _row(kind: str, ts: int, inst: int, ts_event: int | None, **values: Any) -> Row:
    return Row(kind, ts, {"ts_event": ts_event, "conn": inst, "inst": inst, **values})


def known(value: int | None) -> int:
    """A value as the kernel holds it."""
    return NULL if value is None else value


def batch(rows: Sequence[Row], first_seq: int) -> Batch:
    """The rows as one batch, numbered from `first_seq`."""
    blocks: dict[str, list[dict[str, Any]]] = {"quotes": [], "deltas": [], "trades": [], "books": []}
    slow: list[SlowRow] = []
    for seq, row in enumerate(rows, first_seq):
        values = {"seq": seq, "ts_recv": row.ts, **row.values}
        if row.kind in blocks:
            blocks[row.kind].append(values)
        else:
            slow.append(SlowRow(seq, row.ts, row.kind, values))
    parts: dict[str, Any] = {}
    for kind, (block, empty) in BLOCKS.items():
        mine = blocks[kind]
        parts[kind] = block(*(_column([v[name] for v in mine], name) for name in block._fields)) if mine else empty
    return Batch(first_seq, first_seq + len(rows) - 1, books=_books(blocks["books"]), slow=slow, **parts)


def _books(rows: list[dict[str, Any]]) -> Books:
    if not rows:
        return NO_BOOKS
    offsets = np.cumsum([0, *(len(row["px"]) for row in rows)])
    flat = {name: [value for row in rows for value in row[name]] for name in ("px", "qty")}
    plain = {name: [row[name] for row in rows] for name in Books._fields if name not in ("px", "qty", "offset")}
    return Books(**{name: _column(values, name) for name, values in (plain | flat | {"offset": offsets.tolist()}).items()})


def _column(values: Iterable[int | None], name: str) -> Any:
    column = np.array([known(value) for value in values], field_dtype(name))
    column.flags.writeable = False
    return column


class Listener(Watcher):
    """A watcher that keeps its wakes as text."""

    def __init__(self, name: str, wakes: Wakes) -> None:
        super().__init__(name, wakes)
        self.heard: list[str] = []

    def on_wake(self, wake: Wake, view: Any) -> Sequence[Any]:
        """Note time, kind and pair or instrument."""
        about = wake.instrument if wake.edge is None else wake.edge.pair
        self.heard.append(f"{wake.ts} {wake.kind}{'' if about < 0 else f' {about}'}")
        return ()


class Market:
    """An engine over instruments a, b, ..., each on a venue and connection of its own, with strategies that only listen."""

    def __init__(
        self,
        letters: str = "a",
        *,
        sources: str | Sequence[str] = "quotes",
        limits: FeedLimits = NO_LIMITS,
        instruments: Sequence[Instrument] | None = None,
        wakes: Sequence[Wakes] = (Wakes(),),
        **setup: Any,
    ) -> None:
        self.letters = letters
        chosen = tuple(instruments or (instrument(letter) for letter in letters))
        kinds = [sources] * len(chosen) if isinstance(sources, str) else sources
        self.listeners = [Listener(f"s{number:02d}", want) for number, want in enumerate(wakes)]
        values: dict[str, Any] = {
            "instruments": chosen,
            "groups": [list(range(len(chosen)))],
            "sources": [state.SOURCES.index(kind) for kind in kinds],
            "limits": [limits] * len(chosen),
            "fees": {},
            "opening": {},
            "connections": len(chosen),
            "log_id": "testlog1",
            "terms": {listener.id: strategy_terms() for listener in self.listeners},
        }
        self.engine = Engine(engine_setup(**(values | setup)), self.listeners)
        self.seq = 0
        self.rows: list[dict[str, Any]] = []

    def feed(self, rows: Sequence[Row]) -> list[str]:
        """Apply the rows as one batch; what they caused, as text."""
        self.engine.load(batch(rows, self.seq))
        self.seq += len(rows)
        assert self.engine.run() is Stop.END  # nobody trades here
        caused = self.engine.outputs.drain()
        self.rows += [{"kind": row[0], **named(row)} for row in caused]
        return [text(row[0], named(row)) for row in caused]

    def record(self, letter: str = "a") -> Any:
        """The kernel's record of an instrument."""
        return self.engine._kernel.tables[state.INSTRUMENTS][self.letters.index(letter)]

    def last(self, rule: str) -> tuple[int | None, int | None]:
        """Value and bound of the last flag of that rule."""
        return next((row["value"], row["bound"]) for row in reversed(self.rows) if row.get("rule") == rule)

    def check(self, table: str) -> None:
        """Run a text table."""
        for line in table.strip().splitlines():
            given, _, expected = line.partition(">")
            caused = self.feed(self.parse(given.split()))
            wanted = [part.strip() for part in expected.split(";") if part.strip()]
            assert caused == wanted, f"{line.strip()!r} caused {caused}"

    def parse(self, words: Sequence[str]) -> list[Row]:
        """The rows of one line of a table."""
        seconds, letter, kind, *values = words
        ts, number = nanos(seconds), self.letters.index(letter.lower())
        one = self.engine.instruments[number]
        if kind == "quote":
            numbers = [_number(value) for value in values]
            return [quote(ts, number, *numbers[:4], venue_seq=numbers[4] if len(numbers) > 4 else None)]
        if kind in ("snap", "more", "delta", "old", "unsynced"):
            verdict, levels = kind if kind in DELTA_VERDICTS else "apply", [_level(value) for value in values]
            return message(ts, number, levels, snapshot=kind in ("snap", "more"), verdict=verdict, ends=kind != "more")
        if kind == "book":
            levels = [_level(value) for value in values if value[0] != "#"]
            counters = [int(value[1:]) for value in values if value[0] == "#"]
            bids, asks = ([level for level in levels if level[0] == side] for side in SIDES)
            return [book(ts, number, bids, asks, counters[0] if counters else None)]
        if kind == "trade":
            return [trade(ts, number, *(_number(value) for value in values))]
        if kind == "scale":
            after = msgspec.structs.replace(one, px_scale=int(values[0]), qty_scale=int(values[1]), tick_int=1, lot_int=1)
            return [Row("instruments", ts, msgspec.structs.asdict(after))]
        if kind == "reject":
            return [Row("rejects", ts, {"venue": one.venue, "symbol": one.symbol})]
        return [connection(ts, number, kind, one, whole=letter.isupper())]


def _number(word: str) -> int | None:
    return None if word == "-" else int(word)


def _level(word: str) -> Level:
    price, _, size = word[1:].partition("*")
    return ("bid" if word[0] == "b" else "ask"), _number(price), _number(size)


def text(kind: str, row: dict[str, Any]) -> str:
    """An output row as a few words; a live feed that is kept from trading is said as such."""
    if kind == "feed_states":
        below = " untradable" if row["state"] == "live" and not row["tradable"] else ""
        return f"feed {row['venue']} {row['previous']} {row['state']}{below}"
    if kind == "flags":
        return f"flag {row['venue']} {row['rule']}"
    return f"{row['phase']} {row['sell_venue']}>{row['buy_venue']}"
