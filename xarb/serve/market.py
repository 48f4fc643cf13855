"""The market of the served venues: a log's rows replayed on a clock through the simulated venues, without any latency.

Clients' orders go into the same venues: they meet the book as it stands, take from it, rest in it and are filled by later rows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec
import numpy as np

from xarb.engine.kernel.compiled import machine_code
from xarb.engine.kernel.state import SOURCE_BOOKS, SOURCE_DELTAS, SOURCE_QUOTES
from xarb.errors import ConfigError
from xarb.log.reader import LogReader
from xarb.model.batch import Batch
from xarb.model.columns import KERNEL_KINDS
from xarb.model.command import Command, Report
from xarb.model.event import SlowRow
from xarb.model.instrument import FeeTier, Instrument
from xarb.serve.book import Change, ServedBook
from xarb.serve.clock import Clock
from xarb.serve.config import ServeConfig, VenueTerms, money_of
from xarb.venues.fold import book as kernel
from xarb.venues.fold import loop
from xarb.venues.simulated import EMPTYING, SimulatedVenues
from xarb.venues.terms import ConstantLatency, VenueModel, VenueSetup

_KINDS: Final = (*KERNEL_KINDS, "instruments", "connections")
_SOURCES: Final = {  # by the word of a config, in order of preference
    "deltas": ("book_deltas", SOURCE_DELTAS),
    "books": ("books", SOURCE_BOOKS),
    "quotes": ("quotes", SOURCE_QUOTES),
}
_BATCH_ROWS: Final = 16_384
_ROWS_A_TURN: Final = 200  # until other tasks may run
_QUOTE, _DELTA, _TRADE, _BOOK, _SLOW = range(5)
_ENTRIES: Final = (loop.run, loop.slow_row, loop.empty_books, kernel.walk, kernel.shown_size, kernel.best_price)
_INSTANT: Final = ConstantLatency(0)
Row = tuple[int, int, int, int]  # seq, ts_recv, kind, index in its block


class Floor(Protocol):
    """Who is told what the market does. Prices and quantities are at the instrument's scales; times are log times."""

    def book_moved(self, number: int, changes: Sequence[Change]) -> None:
        """Levels of an instrument's book changed."""

    def market_traded(self, number: int, price: int, qty: int, *, aggressor: int, ts: int) -> None:
        """A trade of the log; what it filled of clients' orders is not in `qty`."""

    def reported(self, reports: Sequence[Report]) -> None:
        """The venue says something of clients' orders."""


class Market:
    """The replay.

    Args:
        reader: the log.
        venues: those that are served.
        config: fees and balances.
        clock: where log time stands.

    Attributes:
        ts: log time up to which rows were applied.
        begun: set when log time moves.
        ended: set when the log's last row was applied; the market then stands still.

    Raises:
        ConfigError: a venue that the log does not have, or nothing on it that can be served.
    """

    def __init__(self, reader: LogReader, venues: Sequence[str], config: ServeConfig, clock: Clock) -> None:
        _check_venues(reader, venues, config)
        for entry in _ENTRIES:  # compiled now, where it is not stored yet, and not at a client's first order
            machine_code(entry)
        self._reader = reader
        self._clock = clock
        self._config = config
        self._venues = SimulatedVenues(_setup(reader, config), _models(reader, venues, config))
        served = [number for number, one in enumerate(reader.instruments) if one.venue in venues and one.kind == "spot"]
        self.books = {number: ServedBook(self._venues.book(number)) for number in served}
        self._served = np.zeros(len(reader.instruments), np.bool_)
        self._served[served] = True
        self._open: dict[int, list[tuple[int, int]]] = {number: [] for number in served}  # levels of an unfinished message
        self._numbers = {(one.venue, one.symbol): number for number, one in enumerate(reader.instruments)}
        self._forms = list(reader.instruments)
        self._batch: Batch | None = None
        self._floor: Floor | None = None
        self.begun = asyncio.Event()
        self._moves = False
        self.ts = -(2**62)
        self.applied = 0
        self.ended = asyncio.Event()

    # --- what orders and snapshots need

    @property
    def instruments(self) -> Sequence[Instrument]:
        """The instruments of the log as they are known now."""
        return self._forms

    @property
    def venues(self) -> SimulatedVenues:
        """The simulated venues, for balances."""
        return self._venues

    def tier_of(self, venue: str) -> FeeTier:
        """What a venue charges."""
        return self._config.venues.get(venue, VenueTerms()).tier

    def send(self, command: Callable[[int], Command]) -> list[Report]:
        """Give the venue a command made for the time at hand; it arrives at once, and what follows from it is returned."""
        self._venues.take([command(self.ts)])
        return self._venues.reports(self.ts)

    def look(self, number: int) -> None:
        """Tell the floor what an order changed in the book."""
        changes = self.books[number].touch(())
        if changes and self._floor is not None:
            self._floor.book_moved(number, changes)

    # --- the replay

    def begin(self) -> None:
        """Let log time move; later calls do nothing."""
        self.begun.set()

    async def run(self, floor: Floor, *, skip_to: int | None = None) -> None:
        """Replay the log; rows before `skip_to` are applied before it begins.

        Raises:
            LogError: the log is damaged.
        """
        self._floor = floor
        batches = self._reader.batches(kinds=_KINDS, rows=_BATCH_ROWS)
        batch = await asyncio.to_thread(next, batches, None)
        start: int | None = None
        while batch is not None:
            following = asyncio.ensure_future(asyncio.to_thread(next, batches, None))
            try:
                self._batch = batch
                self._venues.load(batch)
                rows = _rows(batch, self._served)
                if start is None and rows:
                    start = max(rows[0][1], rows[0][1] if skip_to is None else skip_to)
                    self._clock.aim(start)
                await self._replay(rows, start or 0)
                self._venues.run(batch.last_seq)
                self.ts = max(self.ts, _last_ts(batch))  # rows that are not served move the venue's time too
                self._report()
            finally:
                batch = await following
        self.ended.set()

    async def _replay(self, rows: list[Row], start: int) -> None:
        """Apply the rows of the batch: those before `start` at once, the others as they fall due after the beginning."""
        clock, turn = self._clock, 0
        now = clock.log_ns() if self._moves else start - 1
        for row in rows:
            ts = row[1]
            while ts > now:
                if not self._moves:
                    await self.begun.wait()
                    clock.start()
                    self._moves = True
                else:
                    await clock.wait_until(ts)
                now, turn = clock.log_ns(), 0
            self._apply(row)
            turn += 1
            if turn == _ROWS_A_TURN:
                await asyncio.sleep(0)
                now, turn = clock.log_ns() if self._moves else now, 0

    def _apply(self, row: Row) -> None:
        seq, ts, kind, at = row
        self._venues.run(seq)
        self.ts = ts
        self.applied += 1
        batch = self._batch
        assert batch is not None
        filled = self._report()
        if kind == _QUOTE:
            number = int(batch.quotes.inst[at])
            if not self.books[number].is_deep:
                self._moved(number, self.books[number].refresh())
        elif kind == _DELTA:
            self._delta(batch, at)
        elif kind == _TRADE:
            self._trade(batch, at, filled)
        elif kind == _BOOK:
            number = int(batch.books.inst[at])
            self._moved(number, self.books[number].refresh())
        else:
            self._slow(batch.slow[at])

    def _report(self) -> dict[int, int]:
        """Hand on what the last rows did to resting orders: filled quantity by instrument."""
        reports = self._venues.reports(self.ts)
        filled: dict[int, int] = {}
        if reports and self._floor is not None:
            self._floor.reported(reports)
            for report in reports:
                if report.qty_int is not None:
                    filled[report.instrument] = filled.get(report.instrument, 0) + report.qty_int
        return filled

    def _delta(self, batch: Batch, at: int) -> None:
        deltas = batch.deltas
        number = int(deltas.inst[at])
        touched = self._open[number]
        if deltas.is_snapshot[at]:
            touched.append((-1, 0))
        elif deltas.side[at] >= 0:
            touched.append((int(deltas.side[at]), int(deltas.price[at])))
        if deltas.is_last[at]:
            book = self.books[number]
            self._open[number] = []
            self._moved(number, book.refresh() if (-1, 0) in touched else book.touch(touched))

    def _trade(self, batch: Batch, at: int, filled: dict[int, int]) -> None:
        trades = batch.trades
        number = int(trades.inst[at])
        left = int(trades.qty[at]) - filled.get(number, 0)
        if left > 0 and trades.price[at] > 0 and self._floor is not None:
            self._floor.market_traded(
                number, int(trades.price[at]), left, aggressor=int(trades.aggressor[at]), ts=int(trades.ts_recv[at])
            )

    def _slow(self, row: SlowRow) -> None:
        if row.kind == "connections":
            if row.values["event"] not in EMPTYING:
                return
            for number, book in self.books.items():
                if self._forms[number].venue == row.values["venue"]:
                    self._moved(number, book.refresh())
            return
        number = self._numbers[row.values["venue"], row.values["symbol"]]
        before, after = self._forms[number], self._venues.instruments[number]
        if before == after or number not in self.books:
            self._forms[number] = after
            return
        price, qty = 10 ** (after.px_scale - before.px_scale), 10 ** (after.qty_scale - before.qty_scale)
        if price != 1 or qty != 1:
            self.books[number].rescale(price, qty)
        self._forms[number] = after
        self._moved(number, self.books[number].refresh())

    def _moved(self, number: int, changes: Sequence[Change]) -> None:
        if changes and self._floor is not None:
            self._floor.book_moved(number, changes)


def _rows(batch: Batch, served: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> list[Row]:
    """The rows of served instruments, and the rest, in order."""
    found: list[Row] = []
    for kind, block in ((_QUOTE, batch.quotes), (_DELTA, batch.deltas), (_TRADE, batch.trades), (_BOOK, batch.books)):
        kept = np.flatnonzero(served[block.inst])
        found += zip(block.seq[kept].tolist(), block.ts_recv[kept].tolist(), [kind] * len(kept), kept.tolist(), strict=True)
    found += [(row.seq, row.ts_recv, _SLOW, at) for at, row in enumerate(batch.slow)]
    found.sort()
    return found


def _last_ts(batch: Batch) -> int:
    """ts_recv of the last row of a batch."""
    blocks = (batch.quotes, batch.deltas, batch.trades, batch.books)
    times = [int(block.ts_recv[-1]) for block in blocks if len(block.seq)]
    return max([*times, *(row.ts_recv for row in batch.slow[-1:])])


def _check_venues(reader: LogReader, venues: Sequence[str], config: ServeConfig) -> None:
    if reader.header.kind != "log":
        raise ConfigError(f"{reader.folder} is a run; a market is served from a log")
    known = sorted({one.venue for one in reader.instruments})
    if not venues:
        raise ConfigError(f"name a venue to serve; {reader.folder} has {', '.join(known)}")
    for venue in venues:
        if venue not in known:
            raise ConfigError(f"{reader.folder} has no venue {venue}; it has {', '.join(known)}")
        if not any(one.kind == "spot" for one in reader.instruments if one.venue == venue):
            raise ConfigError(f"{venue} has no spot instrument in {reader.folder}; only those are served")
    for account, balances in config.accounts.items():
        for venue in balances:
            if venue not in known:
                raise ConfigError(f"accounts.{account}.{venue}: {reader.folder} has no such venue; it has {', '.join(known)}")


def _setup(reader: LogReader, config: ServeConfig) -> VenueSetup:
    tiers = {one.venue: config.venues.get(one.venue, VenueTerms()).tier for one in reader.instruments}
    return VenueSetup(
        instruments=reader.instruments,
        sources=[_source(config, one, kinds) for one, kinds in zip(reader.instruments, reader.kinds_of, strict=True)],
        fees={(account, number): tiers[one.venue] for account in config.accounts for number, one in enumerate(reader.instruments)},
        opening=config.opening(),
        rates={},
        seed=0,
    )


def _source(config: ServeConfig, one: Instrument, kinds: Sequence[str]) -> int:
    """Which rows move an instrument's book."""
    wanted = config.venues.get(one.venue, VenueTerms()).book_source
    if wanted is None:
        return next((source for kind, source in _SOURCES.values() if kind in kinds), SOURCE_QUOTES)
    kind, source = _SOURCES[wanted]
    if kinds and kind not in kinds:
        raise ConfigError(f"venues.{one.venue}.book_source = {wanted}: the log has only {', '.join(kinds)} of {one.id}")
    return source


def _models(reader: LogReader, venues: Sequence[str], config: ServeConfig) -> dict[str, VenueModel]:
    plain = VenueModel(
        feed_latency=_INSTANT,
        order_latency=_INSTANT,
        response_latency=_INSTANT,
        assumed_qty=None,
        rate_limit=None,  # the wire has its own
        outages=(),
        refusals=(),
        fill_shares=(),
    )
    found = {one.venue: plain for one in reader.instruments}
    for venue in venues:
        terms = config.venues.get(venue, VenueTerms())
        found[venue] = msgspec.structs.replace(
            plain,
            assumed_qty=None if terms.assumed_qty is None else money_of(terms.assumed_qty),
            max_resting=terms.max_open_orders,
        )
    return found


__all__ = ["Floor", "Market"]
