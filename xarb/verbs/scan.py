"""The verb `scan`: what an arbitrage between venues would yield at this moment, after taker fees; without keys, file or log.

The best bids and asks come over the same streams that are recorded. Instruments are compared only where the asset table proves that they are
the same thing, with a conversion in between where the quote assets differ and one of the named symbols converts. Fees are what ccxt
states for accounts that trade little. Nothing of depth, latency or balances is in these figures: `backtest` has that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from itertools import chain
from typing import Any, Final, NamedTuple

import aiohttp
import msgspec

from xarb.catalog import load_assets
from xarb.console import Table
from xarb.engine.strategy import Pair
from xarb.errors import ConfigError
from xarb.model.columns import CONNECTION_EVENTS, TABLES
from xarb.model.instrument import FeeTier, Instrument
from xarb.model.units import NANOS_PER_MS, NANOS_PER_S, PPB, Ppb, format_decimal
from xarb.pairing import Pairing, PairTerms, make_pairs, prove_names
from xarb.process import run_loop, stop_on_signals
from xarb.venues.clock import Clock
from xarb.venues.feeds import Feeds, Source, list_all, listings_of
from xarb.venues.intake import Intake
from xarb.venues.markets import Listed
from xarb.venues.stream import StreamPolicy
from xarb.wires.rows import Row, RowBuilder

_LOOK_S: Final = 1.0
_PLAIN_S: Final = 10.0
_FIRST_S: Final = 20.0  # after so long a look shows what there is
_COLUMNS: Final = ("sell", "bid", "buy", "ask", "by way of", "gross bps", "net bps", "size", "age ms")
_QUOTES: Final = [column.name for column in TABLES["quotes"].columns]
_BOOKS: Final = [column.name for column in TABLES["books"].columns]
_LINKS: Final = [column.name for column in TABLES["connections"].columns]
_ENDS: Final = tuple(CONNECTION_EVENTS.index(name) for name in ("gap", "lost", "closed"))
_BEST: Final = {
    "quotes": ("bid_int", "bid_qty_int", "ask_int", "ask_qty_int"),
    "books": ("bid_00_int", "bid_qty_00_int", "ask_00_int", "ask_qty_00_int"),
}
Print = Callable[[Sequence[Table]], None]


class Best(NamedTuple):
    """Best bid and ask of an instrument, exact; None is an absent side or size. `ts` is ts_recv in ns, `seq` and `conn` of its row."""

    bid: Fraction | None
    bid_qty: Fraction | None
    ask: Fraction | None
    ask_qty: Fraction | None
    ts: int
    seq: int = 0
    conn: int = 0


class Edge(NamedTuple):
    """What a directed pair yields now, as ratios: `gross` before fees, `net` after taker fees of all legs. `age_ns` is the oldest quote's."""

    pair: Pair
    gross: Fraction
    net: Fraction
    bid: Fraction
    ask: Fraction
    size: Fraction | None
    age_ns: int


def edge_of(pair: Pair, best: Mapping[int, Best], now: int) -> Edge | None:
    """The edge of a pair, None while a side of it is not known."""
    sell, buy = best.get(pair.sell), best.get(pair.buy)
    if sell is None or buy is None or sell.bid is None or buy.ask is None:
        return None
    rate, oldest = Fraction(1), min(sell.ts, buy.ts)
    cost = Fraction(1)
    if pair.convert >= 0:
        via = best.get(pair.convert)
        price = None if via is None else via.bid if pair.convert_side == "bid" else via.ask
        if via is None or not price:
            return None
        fee = Fraction(pair.convert_fee_ppb, PPB)
        rate = price if pair.convert_side == "bid" else 1 / price
        cost = 1 - fee if pair.convert_side == "bid" else 1 / (1 + fee)
        oldest = min(oldest, via.ts)
    gross = sell.bid * rate / buy.ask
    net = gross * cost * (1 - Fraction(pair.sell_fee_ppb, PPB)) / (1 + Fraction(pair.buy_fee_ppb, PPB))
    size = None if sell.bid_qty is None or buy.ask_qty is None else min(sell.bid_qty, buy.ask_qty)
    return Edge(pair, gross - 1, net - 1, sell.bid, buy.ask, size, now - oldest)


class Scan:
    """The best prices of a set of instruments, and the edges between them."""

    def __init__(self, listed: Sequence[Listed]) -> None:
        self.instruments = [one.instrument for one in listed]
        fees = [
            None if one.taker_ppb is None else FeeTier(maker_ppb=Ppb(0), taker_ppb=Ppb(one.taker_ppb), source="ccxt")
            for one in listed
        ]
        names = prove_names(self.instruments, load_assets())
        terms = PairTerms(fees=fees, pegs={}, venues=(), symbols=(), open_ppb=0, close_ppb=0)
        self.pairing: Pairing = make_pairs(names, terms)
        self.best: dict[int, Best] = {}
        self._numbers = {(one.venue, one.symbol): number for number, one in enumerate(self.instruments)}

    def take(self, parts: Mapping[str, Sequence[Row]]) -> None:
        """Rows that arrived together."""
        for kind, names in (("quotes", _QUOTES), ("books", _BOOKS)):
            for row in parts.get(kind, ()):
                values = dict(zip(names, row, strict=True))
                number = self._numbers.get((values["venue"], values["symbol"]))
                if number is not None:
                    self.best[number] = _best(values, _BEST[kind])
        for row in parts.get("connections", ()):
            values = dict(zip(_LINKS, row, strict=True))
            if values["event"] in _ENDS and values["symbol"] is None:
                gone = [n for n, one in self.best.items() if one.conn == values["conn"] and one.seq < values["seq"]]
                for number in gone:
                    del self.best[number]

    @property
    def is_whole(self) -> bool:
        """Whether every instrument of a pair has been heard."""
        return all(number in self.best for pair in self.pairing.pairs for number in (pair.sell, pair.buy))

    def edges(self, now: int) -> list[Edge]:
        """All edges that are known, the best one first."""
        found = [edge for pair in self.pairing.pairs if (edge := edge_of(pair, self.best, now)) is not None]
        return sorted(found, key=lambda edge: (-edge.net, edge.pair))

    def table(self, now: int) -> Table:
        """The edges as a table."""
        rows = tuple(self._row(edge) for edge in self.edges(now))
        waiting = len(self.pairing.pairs) - len(rows)
        note = f"; {waiting} pairs wait for prices" if waiting else ""
        return Table(f"Edges after taker fees{note}", _COLUMNS, rows)

    def _row(self, edge: Edge) -> tuple[str, ...]:
        sell, buy = self.instruments[edge.pair.sell], self.instruments[edge.pair.buy]
        return (
            sell.id,
            _text(edge.bid, sell.px_scale),
            buy.id,
            _text(edge.ask, buy.px_scale),
            self.instruments[edge.pair.convert].id if edge.pair.convert >= 0 else "",
            _bps(edge.gross),
            _bps(edge.net),
            "-" if edge.size is None else _text(edge.size, max(sell.qty_scale, buy.qty_scale)),
            f"{edge.age_ns / NANOS_PER_MS:.0f}",
        )

    def fee_table(self, listed: Sequence[Listed]) -> Table:
        """The taker fees that were counted."""
        rows = tuple(
            (one.instrument.id, "unknown" if one.taker_ppb is None else _bps(Fraction(one.taker_ppb, PPB))) for one in listed
        )
        return Table("Taker fees, as ccxt states them for accounts that trade little", ("instrument", "bps"), rows)

    def unpaired_table(self) -> Table:
        """What is not compared, and why."""
        rows = tuple(
            (self._name(one.first), "" if one.second is None else self._name(one.second), one.reason, one.detail)
            for one in self.pairing.unpaired
            if one.reason != "same_venue"
        )
        return Table("Not compared", ("instrument", "and", "reason", "detail"), rows)

    def _name(self, number: int) -> str:
        one: Instrument = self.instruments[number]
        return one.id


class View(NamedTuple):
    """How a scan is shown: once, when every price is there or 20 s are over; else for so many seconds, None for no end.

    `draw` draws in place, None where there is no terminal; `show` prints tables.
    """

    once: bool
    seconds: float | None
    draw: Print | None
    show: Print


async def _run(sources: Sequence[Source], view: View) -> None:
    with stop_on_signals() as stop:
        listed = await list_all(sources)
        flat = list(chain.from_iterable(listed.values()))
        found = Scan(flat)
        view.show([found.fee_table(flat), *([found.unpaired_table()] if found.unpaired_table().rows else [])])
        if not found.pairing.pairs:
            raise ConfigError("nothing can be compared: no two venues have the same thing; the table above says why")
        intake = Intake(RowBuilder(), Clock(), found.take, keeps_frames=False)
        listings = listings_of({venue: [one.instrument for one in mine] for venue, mine in listed.items()}, {})
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            feeds = Feeds(
                [_quoted(one) for one in sources], listings, intake=intake, http=http, first_conn=0, policy=StreamPolicy()
            )
            running = asyncio.ensure_future(feeds.run())
            try:
                await _look(found, intake, stop, running, view)
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)


async def _look(found: Scan, intake: Intake, stop: asyncio.Event, running: asyncio.Future[None], view: View) -> None:
    """Show the edges again and again until the stop, or once when all prices are there."""
    began = said = intake.clock.now()
    while not stop.is_set() and not running.done() and not intake.failure.done():
        now = intake.clock.now()
        elapsed = (now - began) / NANOS_PER_S
        if (view.once and (found.is_whole or elapsed >= _FIRST_S)) or (view.seconds is not None and elapsed >= view.seconds):
            break
        if view.draw is not None:
            view.draw([found.table(now)])
        elif not view.once and now - said >= _PLAIN_S * NANOS_PER_S:
            said = now
            view.show([found.table(now)])
        try:
            async with asyncio.timeout(_LOOK_S):
                await stop.wait()
        except TimeoutError:
            pass
    for one in (running, intake.failure):
        if one.done():
            one.result()
    view.show([found.table(intake.clock.now())])


def scan(sources: Sequence[Source], view: View) -> None:
    """Show net edges until SIGINT, SIGTERM or the end that the view has.

    Raises:
        ConfigError: an exchange or symbol does not exist, or nothing can be compared.
        Retryable: an exchange could not be reached.
    """
    run_loop(_run(sources, view))


def _quoted(source: Source) -> Source:
    """The source with the one channel that has best prices."""
    wire = source.wire()
    has_quotes = wire is None or "quotes" in wire.channels
    return msgspec.structs.replace(source, channels=("quotes",) if has_quotes else ("books",))


def _best(values: Mapping[str, Any], names: Sequence[str]) -> Best:
    scales = (values["px_scale"], values["qty_scale"]) * 2
    numbers = [
        None if values[name] is None else Fraction(values[name], 10**scale) for name, scale in zip(names, scales, strict=True)
    ]
    bid, bid_qty, ask, ask_qty = numbers
    return Best(bid or None, bid_qty, ask or None, ask_qty, values["ts_recv"], values["seq"], values["conn"])


def _text(value: Fraction, scale: int) -> str:
    """The decimal text of a value, to at least `scale` decimals where it needs them."""
    while (value * 10**scale).denominator != 1 and scale < 18:
        scale += 1
    return format_decimal(int(value * 10**scale), scale)


def _bps(ratio: Fraction) -> str:
    return f"{float(ratio * 10_000):.2f}"
