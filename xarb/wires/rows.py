"""Events to rows: gives every event its place in the log's order, as tuples in the column order of `model/columns`.

The one place where decoded events become log rows, for imports and for live adapters alike. It announces an instrument before
its first row and again when a scale grew, brings coarser events to the log's scale, and keeps `ts_recv` from decreasing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from itertools import repeat
from typing import Any, Final

import msgspec

from xarb.errors import InvariantBroken
from xarb.model.columns import CONNECTION_EVENTS, CONTRACT_KINDS, INPUTS, INSTRUMENT_KINDS, LEVELS, TABLES, Column, Type
from xarb.model.units import INT64_MAX, wide_text
from xarb.wires.chains import KIND_OF, ChainRow
from xarb.wires.decimals import Listing
from xarb.wires.events import (
    APPLY,
    ASK,
    BID,
    BookEvent,
    DepthEvent,
    LinkEvent,
    MarkEvent,
    QuoteEvent,
    RejectEvent,
    TradeEvent,
    WireEvent,
    readable,
)

KINDS: Final = ("quotes", "books", "book_deltas", "trades", "marks", "instruments", "connections", "rejects")
NAMED_KINDS: Final = (
    "reports",
    "receipts",
    "transactions",
    "balances",
    "transfers",
    "wallets",
    "connections",
    "health",
    "rejects",
    "operator",
)
OTHER_KINDS: Final = tuple(kind for kind in INPUTS if kind not in KINDS)
Row = tuple[Any, ...]
_CONNECTION: Final = {name: number for number, name in enumerate(CONNECTION_EVENTS)}
_DETAIL_LIMIT: Final = 1000
_LINK_DETAIL_LIMIT: Final = 32_768  # the row of an opened connection names all that it carries
_VENUE, _SYMBOL, _PX_SCALE, _QTY_SCALE = (
    [column.name for column in TABLES["instruments"].columns].index(name) for name in ("venue", "symbol", "px_scale", "qty_scale")
)


class Link:
    """A connection of the log: its number, its venue and where its bytes come from.

    `epoch` counts its connects from 1. Only a reject may have a link without a number (-1): its row's `conn` is null.
    """

    __slots__ = ("conn", "epoch", "source", "venue")

    def __init__(self, conn: int, venue: str, source: str, *, epoch: int = 1) -> None:
        self.conn = conn
        self.venue = venue
        self.source = source
        self.epoch = epoch


class RowBuilder:
    """Collects rows as tuples of plain values: enums as indices, money as ints at 18 decimals, null as None.

    Args:
        next_seq: seq of the first row.
        last_ts: `ts_recv` of the log's last row, 0 in a new log.
        scales: decimals of prices and quantities of the instruments that the log knows already, by (venue, symbol).
    """

    def __init__(
        self, next_seq: int = 0, last_ts: int = 0, scales: Mapping[tuple[str, str], tuple[int, int]] | None = None
    ) -> None:
        self.next_seq = next_seq
        self.last_ts = last_ts
        self.held = 0  # rows collected since the last `take`
        self.counts: dict[str, int] = dict.fromkeys((*KINDS, *OTHER_KINDS), 0)
        self.rejects: Counter[tuple[str, str]] = Counter()  # by source and rule
        self._scales = dict(scales or {})
        self._unfinished: set[tuple[str, str]] = set()  # books of which a message has begun and not ended, by (venue, symbol)
        self._rows: defaultdict[str, list[Row]] = defaultdict(list)
        self._adders: dict[type, Callable[[Any, int, tuple[int, int]], None]] = {
            QuoteEvent: self._quote,
            DepthEvent: self._depth,
            BookEvent: self._book,
            TradeEvent: self._trade,
            MarkEvent: self._mark,
        }

    def add(self, ts_recv: int, link: Link, event: WireEvent) -> None:
        """Append the rows of `event`, received at `ts_recv` ns on `link`; an earlier time counts as the last row's."""
        self.last_ts = max(ts_recv, self.last_ts)
        if isinstance(event, LinkEvent):
            self._connection(link, event)
        elif isinstance(event, RejectEvent):
            self._reject(link, event)
        else:
            listing, mine = event.listing, (event.px_scale, event.qty_scale)
            known = self._scales.get(listing.key)
            if known != mine:
                known = self._announce(listing, mine)
                try:
                    event = _rescaled(event, known)
                except OverflowError as error:
                    symbol = listing.instrument.symbol
                    self._reject(link, RejectEvent("unrepresentable", str(error), readable(repr(event)), link.venue, symbol))
                    if isinstance(event, DepthEvent):
                        self._without(event, link, known)
                    return
            self._adders[type(event)](event, link.conn, known)

    def announce(self, ts_recv: int, listing: Listing, *, again: bool = False) -> None:
        """Append an `instruments` row where the log does not know the instrument or its scales grew; `again`: in any case.

        A driver says `again` when anything else of the instrument, such as its tick, changed since the log's last row of it.
        """
        self.last_ts = max(ts_recv, self.last_ts)
        self._announce(listing, listing.scales, again=again)

    def put(self, kind: str, ts_recv: int, values: Row) -> int:
        """Append one row of a kind that comes from no wire event (frames, health, timers, reports and so on); its seq.

        `values` are those after `seq` and `ts_recv`, in column order, enums as indices.

        Raises:
            InvariantBroken: the kind comes from events, or is no input.
        """
        if kind not in OTHER_KINDS:
            raise InvariantBroken(f"rows of {kind} are not put as they are")
        self.last_ts = max(ts_recv, self.last_ts)
        seq = self._place(kind)
        self._rows[kind].append((seq, self.last_ts, *values))
        return seq

    def copy(self, kind: str, row: Row) -> None:
        """Append a row of another log with its own time, under the next seq; an `instruments` row also tells the scales.

        Raises:
            InvariantBroken: the kind is no input, or the row's time goes back.
        """
        if kind not in self.counts or row[1] < self.last_ts:
            raise InvariantBroken(f"a row of {kind} at {row[1]} ns does not follow one at {self.last_ts} ns")
        self.last_ts = row[1]
        self._rows[kind].append((self._place(kind), *row[1:]))
        if kind == "instruments":
            self._scales[row[_VENUE], row[_SYMBOL]] = row[_PX_SCALE], row[_QTY_SCALE]

    def put_named(self, kind: str, ts_recv: int, values: Mapping[str, Any]) -> int:
        """Append one row of a kind that an account's connection gives, by column name, enums as text; absent is None. Its seq.

        Raises:
            InvariantBroken: the kind is none of them, or an unknown word.
        """
        if kind not in NAMED_KINDS:
            raise InvariantBroken(f"rows of {kind} are not put by name")
        self.last_ts = max(ts_recv, self.last_ts)
        row = [_index(column, values.get(column.name)) for column in TABLES[kind].columns[2:]]
        seq = self._place(kind)
        self._rows[kind].append((seq, self.last_ts, *row))
        return seq

    def put_chain(self, ts_recv: int, row: ChainRow) -> int:
        """Append one row of a chain; its seq.

        Raises:
            InvariantBroken: an unknown word.
            OverflowError: 256 bits do not hold a number.
        """
        kind, values = KIND_OF[type(row)], msgspec.structs.asdict(row)
        self.last_ts = max(ts_recv, self.last_ts)
        found = [_of_chain(column, values[column.name]) for column in TABLES[kind].columns[2:]]
        seq = self._place(kind)
        self._rows[kind].append((seq, self.last_ts, *found))
        return seq

    def take(self) -> dict[str, list[Row]]:
        """The rows collected since the last call, by kind, in seq order, without the kinds that have none."""
        taken, self._rows = self._rows, defaultdict(list)
        self.held = 0
        return {kind: rows for kind in (taken if len(taken) == 1 else self.counts) if (rows := taken.get(kind))}

    def _place(self, kind: str, count: int = 1) -> int:
        """Reserve `count` consecutive seqs for rows of `kind`; the first of them."""
        seq = self.next_seq
        self.next_seq += count
        self.held += count
        self.counts[kind] += count
        return seq

    def _announce(self, listing: Listing, mine: tuple[int, int], *, again: bool = False) -> tuple[int, int]:
        """The log's scales of the instrument; an `instruments` row goes first when they are new or grew."""
        key = listing.key
        before = self._scales.get(key)
        scales = mine if before is None else (max(before[0], mine[0]), max(before[1], mine[1]))
        if scales == before and not again:
            return scales
        self._scales[key] = scales
        one = listing.instrument
        tick = _finer(one.tick_int, scales[0] - one.px_scale)
        lot = _finer(one.lot_int, scales[1] - one.qty_scale)
        seq = self._place("instruments")
        kind, contract = INSTRUMENT_KINDS.index(one.kind), CONTRACT_KINDS.index(one.contract)
        names = (one.venue, one.symbol, one.native, kind, one.base, one.quote, one.settle)
        limits = (one.min_qty, one.min_notional, contract, one.contract_size, one.expiry, one.active, one.origin)
        self._rows["instruments"].append((seq, self.last_ts, *names, *scales, tick, lot, *limits))
        return scales

    def _quote(self, event: QuoteEvent, conn: int, known: tuple[int, int]) -> None:
        venue, symbol = event.listing.key
        row = (
            self._place("quotes"),
            self.last_ts,
            event.ts_event,
            conn,
            venue,
            symbol,
            event.venue_seq,
            event.bid,
            event.bid_qty,
            event.ask,
            event.ask_qty,
            *known,
        )
        self._rows["quotes"].append(row)

    def _depth(self, event: DepthEvent, conn: int, known: tuple[int, int]) -> None:
        count = len(event.bids) + len(event.asks)
        seq = self._place("book_deltas", count or 1)
        venue, symbol = event.listing.key
        if not event.is_last:
            self._unfinished.add(event.listing.key)
        elif self._unfinished:
            self._unfinished.discard(event.listing.key)
        head = (repeat(self.last_ts), repeat(event.ts_event), repeat(conn), repeat(venue), repeat(symbol), repeat(event.venue_seq))
        scales = (repeat(known[0]), repeat(known[1]), repeat(event.is_snapshot))
        tail = (repeat(event.verdict), repeat(event.first_id), repeat(event.prev_id))
        rows = self._rows["book_deltas"]
        if not count:
            rows.extend(zip((seq,), *head, (None,), (None,), (None,), *scales, (event.is_last,), *tail, strict=False))
            return
        sides = [BID] * len(event.bids) + [ASK] * len(event.asks)
        ends = [False] * (count - 1) + [event.is_last]
        prices, qtys = event.bids + event.asks, event.bid_qtys + event.ask_qtys
        rows.extend(zip(range(seq, seq + count), *head, sides, prices, qtys, *scales, ends, *tail, strict=False))

    def _without(self, event: DepthEvent, link: Link, known: tuple[int, int]) -> None:
        """What is left of a book message that cannot be kept: the end of what came before it, and a gap where it would have moved the book.

        Texts that are decoded by the log's own listing always fit (`ScaledTable.grow`), so that no session need be told.
        """
        if event.is_last and event.listing.key in self._unfinished:
            self._depth(msgspec.structs.replace(event, bids=[], bid_qtys=[], asks=[], ask_qtys=[]), link.conn, known)
        if event.verdict == APPLY:
            detail = "a message does not fit at the log's scale"
            self._connection(link, LinkEvent(*event.listing.key, "gap", detail))

    def _book(self, event: BookEvent, conn: int, known: tuple[int, int]) -> None:
        sides = (event.bids, event.bid_qtys, event.asks, event.ask_qtys)
        top: list[int | None] = []
        for numbers in sides:
            top.extend(numbers[:LEVELS])
            top.extend([None] * (LEVELS - len(numbers)))
        deep = (numbers[LEVELS:] or None for numbers in sides)
        head = (self._place("books"), self.last_ts, event.ts_event, conn, *event.listing.key, event.venue_seq)
        self._rows["books"].append((*head, *known, *top, *deep))

    def _trade(self, event: TradeEvent, conn: int, known: tuple[int, int]) -> None:
        head = (self._place("trades"), self.last_ts, event.ts_event, conn, *event.listing.key, event.venue_seq)
        self._rows["trades"].append((*head, event.trade_id, event.price, event.qty, *known, event.aggressor))

    def _mark(self, event: MarkEvent, conn: int, known: tuple[int, int]) -> None:
        head = (self._place("marks"), self.last_ts, event.ts_event, conn, *event.listing.key, None)
        self._rows["marks"].append((*head, event.mark, event.index, *known, event.funding_rate, event.funding_ts))

    def _connection(self, link: Link, event: LinkEvent) -> None:
        seq, source = self._place("connections"), event.source or link.source
        number, detail = _CONNECTION[event.event], event.detail and event.detail[:_LINK_DETAIL_LIMIT]
        row = (seq, self.last_ts, link.conn, event.venue, event.symbol, number, link.epoch, source, event.time_rule, detail)
        self._rows["connections"].append(row)

    def _reject(self, link: Link, event: RejectEvent) -> None:
        seq, venue = self._place("rejects"), event.venue or link.venue or None
        self.rejects[link.source, event.rule] += 1
        detail, conn = readable(event.detail[:_DETAIL_LIMIT]), link.conn if link.conn >= 0 else None
        row = (seq, self.last_ts, conn, venue, event.symbol, link.source, event.line, event.rule, detail, event.payload)
        self._rows["rejects"].append(row)


def _index(column: Column, value: Any) -> Any:
    if not column.values or value is None:
        return value
    if value not in column.values:
        raise InvariantBroken(f"{column.name}: {value!r} is not among {column.values}")
    return column.values.index(value)


def _of_chain(column: Column, value: Any) -> Any:
    if value is None:
        return None
    if column.type is Type.WIDE:
        return wide_text(value)
    if column.type is Type.WIDES:
        return [wide_text(number) for number in value]
    return _index(column, value)


def _finer(value: int | None, decimals: int) -> int | None:
    """A step at a finer scale; None when it is unknown or int64 cannot hold it there, which makes the instrument untradable."""
    if value is None:
        return None
    found = value * 10**decimals
    return found if found <= INT64_MAX else None


def _times(value: int | None, factor: int) -> int | None:
    if value is None or factor == 1:
        return value
    found: int = value * factor
    if abs(found) > INT64_MAX:
        raise OverflowError(f"{value} does not fit in 64 bits once multiplied by {factor} for the log's scale")
    return found


def _rescaled(event: Any, known: tuple[int, int]) -> Any:
    """`event` at the log's scales, which are as fine or finer.

    Raises:
        OverflowError: a number does not fit in int64 there.
    """
    price, qty = 10 ** (known[0] - event.px_scale), 10 ** (known[1] - event.qty_scale)
    if price == qty == 1:
        return event
    changed: dict[str, Any] = {"px_scale": known[0], "qty_scale": known[1]}
    for name in event.__struct_fields__:
        value = getattr(event, name)
        factor = price if name in _PRICES else qty if name in _QTYS else None
        if factor is not None:
            changed[name] = [_times(number, factor) for number in value] if isinstance(value, list) else _times(value, factor)
    return msgspec.structs.replace(event, **changed)


_PRICES: Final = frozenset({"bid", "ask", "bids", "asks", "price", "mark", "index"})
_QTYS: Final = frozenset({"bid_qty", "ask_qty", "bid_qtys", "ask_qtys", "qty"})

__all__ = ["KINDS", "Link", "Row", "RowBuilder"]
