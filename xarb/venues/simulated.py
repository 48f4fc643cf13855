"""The simulated venues of a run: the arrival rule around compiled books.

An order decided at d arrives at a = d + order latency and meets its venue's book after every row of that venue with venue time <= a
and before any later one. Venue time of a row is the running maximum over the venue's rows of ts_recv - feed latency; rows are the
market rows, `connections` and `instruments` of that venue. At equal time the market is first; commands that arrive at the same time go
in command order; a cancel never overtakes its order. The reports reach us at a + response latency, in the order of their commands
where due times are equal; reports of one order never overtake each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from heapq import heapify, heappop, heappush
from typing import Any, Final

import msgspec
import numpy as np

from xarb.engine.kernel import state as engine_state
from xarb.engine.kernel.book import ASK, BID
from xarb.engine.words import place, width, words
from xarb.errors import InvariantBroken, LogError
from xarb.model.batch import Batch
from xarb.model.command import AnyCommand, Command, Report, SubmitOrder, cycles_of, orders_of
from xarb.model.event import SlowRow
from xarb.model.instrument import Instrument, instrument_fields
from xarb.model.units import INT64_MAX, MONEY_SCALE, NEVER, NULL
from xarb.venues.accounts import Purse
from xarb.venues.captured import DealingsCopy, SentCopy, VenuesCopy, slower
from xarb.venues.chainterms import ChainModel
from xarb.venues.fold import draw, loop, state
from xarb.venues.matching import Matching
from xarb.venues.shown import ShownBook
from xarb.venues.simulated_chains import SimulatedChains
from xarb.venues.terms import (
    ConstantLatency,
    Latency,
    TableLatency,
    VenueModel,
    VenueSetup,
    check_setup,
    describe_model,
)

EMPTYING: Final = ("gap", "lost", "closed")  # events of a connection after which its books are unknown
_STOP_VENUE: Final = place(state.WORLD, "stop_venue")
_STOP_TIME: Final = place(state.WORLD, "stop_time")
_STOP_INSTRUMENT: Final = place(state.WORLD, "stop_instrument")
_STOP_KIND: Final = place(state.WORLD, "stop_kind")
_STOP_ROW: Final = place(state.WORLD, "stop_row")
_TIME: Final = place(state.VENUE, "time")
_NEXT_ARRIVAL: Final = place(state.VENUE, "next_arrival")
_WIDTH: Final = width(state.VENUE)
Sent = tuple[int, int, int, Command]  # arrival, number of the command, response latency, command


class SimulatedVenues:
    """All simulated venues of one run.

    Args:
        setup: instruments, sources, fees, opening balances, rates of fee coins and the seed.
        models: by venue id; each venue of an instrument needs one.
        chains: by venue id, the chains on which transactions are simulated.
        own: hashes of the transactions in the log that are ours.

    Raises:
        ConfigError: the parts do not fit together.
    """

    def __init__(
        self,
        setup: VenueSetup,
        models: Mapping[str, VenueModel],
        chains: Mapping[str, ChainModel] | None = None,
        own: frozenset[str] = frozenset(),
    ) -> None:
        check_setup(setup, models)
        self.chains = SimulatedChains(setup.instruments, chains or {}, setup.opening, setup.seed, own)
        self.venues: Final = sorted({instrument.venue for instrument in setup.instruments})
        self._models = [models[venue] for venue in self.venues]
        self._slowest = [model.feed_latency.high_ns for model in self._models]
        self._numbers = {venue: number for number, venue in enumerate(self.venues)}
        self._inst_numbers = {(i.venue, i.symbol): number for number, i in enumerate(setup.instruments)}
        self._memory = _lay(setup, self.venues, self._models)
        self._handle = self._memory.handle
        self._world = words(self._memory.block)
        self._records: Any = self._memory.tables[state.INSTRUMENTS]
        self._homes = [self._numbers[instrument.venue] for instrument in setup.instruments]  # venue by instrument
        self._venue_words = words(self._memory.tables[state.VENUES])
        self._matching = Matching(self._memory, setup, self._models)
        self._seeds = [draw.stream_seed(setup.seed, stream) for stream in range(5)]
        self._sent: list[list[Sent]] = [[] for _ in self.venues]  # heaps, by venue
        self._dues: dict[int, int] = {}  # earliest due time of the reports to each command on its way, by its number
        self._commands = 0
        self._batch: Batch | None = None
        self._slow_at = 0
        self._slow_seq = NEVER  # seq of the next row outside the compiled kinds
        self.position = -1  # seq of the last applied row
        self.clipped = 0  # response latencies raised to the feed's maximum

    # --- what the driver calls

    def load(self, batch: Batch) -> None:
        """Take the next batch; the one before was run to its end."""
        self._batch = batch  # keeps the columns alive to which the fold points
        self._memory.load(batch)
        self.chains.load(batch)
        self._slow_at = 0
        self._slow_seq = batch.slow[0].seq if batch.slow else NEVER

    def run(self, last_seq: int) -> None:
        """Apply the rows of the batch with seq <= `last_seq`, and each command that arrives before such a row's venue time."""
        if last_seq <= self.position:
            return
        self.chains.run(last_seq)
        batch = self._batch
        if batch is None:
            raise InvariantBroken("run before load")
        while True:
            why = loop.run(self._handle, min(last_seq + 1, self._slow_seq))
            if why == loop.ARRIVAL:
                self._deliver_before(self._world[_STOP_VENUE], self._world[_STOP_TIME])
            elif why == loop.TOUCHED:
                self._touch(batch)
            elif self._slow_seq > last_seq:
                break
            else:
                self._apply_slow(batch.slow[self._slow_at])
                self._slow_at += 1
                self._slow_seq = batch.slow[self._slow_at].seq if self._slow_at < len(batch.slow) else NEVER
        self.position = last_seq

    def take(self, commands: Sequence[AnyCommand]) -> None:
        """Take commands of the engine, in order; the venue stands at the engine's last applied seq.

        Raises:
            InvariantBroken: the venue is past the arrival of a command, so it was run ahead of the engine.
        """
        self.chains.take(cycles_of(commands))
        for command in orders_of(commands):
            venue = self._homes[command.instrument]
            model = self._models[venue]
            if isinstance(command, SubmitOrder):
                arrival = command.ts + self._draw(model.order_latency, draw.STREAM_ORDER, command.order)
                response = self._draw(model.response_latency, draw.STREAM_RESPONSE, command.order)
            else:
                arrival = command.ts + self._draw(model.order_latency, draw.STREAM_CANCEL, command.order)
                arrival = max(arrival, self._arrival_of(command.order, venue))
                response = self._draw(model.response_latency, draw.STREAM_CANCEL_RESPONSE, command.order)
            if response < self._slowest[venue]:
                response = self._slowest[venue]
                self.clipped += 1
            if arrival < self._venue_words[venue * _WIDTH + _TIME]:
                raise InvariantBroken(f"venue {self.venues[venue]} was run past the arrival of order {command.order}")
            sent = self._sent[venue]
            heappush(sent, (arrival, self._commands, response, command))
            self._dues[self._commands] = arrival + response
            self._commands += 1
            self._venue_words[venue * _WIDTH + _NEXT_ARRIVAL] = sent[0][0]

    def horizon(self) -> int:
        """No report can fall due before this time (ns), as far as the batch at hand tells; NEVER when none can.

        With resting orders a fill can follow from the venue's next row; beyond the batch nothing is promised, nor needed: the engine
        cannot pass the batch's end either.
        """
        outbox = self._matching.outbox
        first = min(outbox[0][0] if outbox else NEVER, self.chains.horizon())
        if self._dues:
            first = min(first, *self._dues.values())
        if not self._matching.resting or self._batch is None:
            return first
        for venue in self._matching.resting_venues():
            receive = loop.next_receive(self._handle, venue)
            if receive != NEVER:
                longest = self._slowest[venue]
                quickest = max(self._models[venue].response_latency.low_ns, longest)
                first = min(first, max(self._venue_words[venue * _WIDTH + _TIME], receive - longest) + quickest)
        return first

    def reports(self, ts: int) -> list[Report]:
        """The reports due up to `ts`, in order; the engine and the venue have applied every input with ts_recv <= `ts`."""
        if self._dues:
            for venue, sent in enumerate(self._sent):
                if sent:
                    self._deliver_before(venue, ts - self._slowest[venue] + 1)
        outbox = self._matching.outbox
        due = []
        while outbox and outbox[0][0] <= ts:
            due.append(heappop(outbox)[3])
        return due

    def describe(self) -> list[tuple[str, str, str]]:
        """The assumptions as (venue, what, value); what flatters the result is marked `optimistic`."""
        return [row for venue, model in zip(self.venues, self._models, strict=True) for row in describe_model(venue, model)]

    def balances(self) -> dict[tuple[str, str, str], int]:
        """Balances by (account, venue, asset) at 18 decimals, held parts included."""
        return self._matching.accounts.all()

    @property
    def instruments(self) -> Sequence[Instrument]:
        """The instruments as they are known after the last applied row, by number."""
        return self._matching.instruments

    def purse(self, account: str, venue: str) -> Purse:
        """The account's money at a venue; to be read only."""
        return self._matching.accounts.purse(account, venue)

    def move(self, place: tuple[str, str, str], change: int) -> None:
        """Money of an account, venue and asset comes (negative: goes) without an order."""
        account, venue, asset = place
        self._matching.accounts.purse(account, venue).free[asset] += change

    def fillable(self, number: int, side: str, price: int, qty: int) -> int:
        """How much of an order, at the instrument's scale, its book as it stands would fill at that price or better."""
        return self._matching.fillable(number, side, price, qty)

    def book(self, number: int) -> ShownBook:
        """What clients of the venue see of an instrument's book."""
        return ShownBook(self._memory, number)

    # --- their whole state

    def capture(self) -> VenuesCopy:
        """All that decides later reports, between two batches."""
        dealings = DealingsCopy(
            position=self.position,
            commands=self._commands,
            clipped=self.clipped,
            sent=[[_sent_copy(one) for one in sorted(sent, key=_place)] for sent in self._sent],
            matching=self._matching.capture(),
            chains=self.chains.capture(),
        )
        return VenuesCopy(self._memory.capture(), dealings)

    def restore(self, copy: VenuesCopy) -> None:
        """Go on where a copy was taken; these venues are of the same setup, and have applied nothing.

        Raises:
            InvariantBroken: they have applied rows.
            LogError: the copy is of another setup.
        """
        dealings = copy.dealings
        self._check_alike(dealings)
        self._memory.restore(copy.memory)
        self._take_over(dealings)

    def adopt(self, copy: VenuesCopy) -> None:
        """As `restore`, of venues with other models, fees or draws, which hold from here on, also for the orders that are there.

        A command on its way arrives when it would have; no report of it is quicker than these models have one.

        Raises:
            InvariantBroken: as `restore`.
            LogError: as `restore`.
        """
        self._check_alike(copy.dealings)
        self._memory.adopt(copy.memory)
        self._take_over(slower(copy.dealings, self._quickest))

    def _quickest(self, number: int) -> int:
        """The least response latency on an instrument."""
        venue = self._homes[number]
        return max(self._models[venue].response_latency.low_ns, self._slowest[venue])

    def _check_alike(self, dealings: DealingsCopy) -> None:
        if self.position >= 0:
            raise InvariantBroken(f"these venues have applied rows up to {self.position} already")
        if [one.id for one in dealings.matching.instruments] != [one.id for one in self.instruments]:
            raise LogError("the instruments of the checkpoint are not those of these venues")

    def _take_over(self, dealings: DealingsCopy) -> None:
        self._matching.restore(dealings.matching)
        self.chains.restore(dealings.chains)
        self.position, self._commands, self.clipped = dealings.position, dealings.commands, dealings.clipped
        for mine, sent in zip(self._sent, dealings.sent, strict=True):
            for one in sent:
                command = one.submit or one.cancel
                assert command is not None
                mine.append((one.arrival, one.ordinal, one.response, command))
                self._dues[one.ordinal] = one.arrival + one.response

    # --- the fold's stops

    def _draw(self, latency: Latency, stream: int, counter: int) -> int:
        if isinstance(latency, ConstantLatency):
            return latency.ns
        return latency.pick(draw.splitmix64(self._seeds[stream], counter))

    def _arrival_of(self, order: int, venue: int) -> int:
        """When an order on its way arrives, BEFORE_ALL for one that has arrived."""
        for arrival, _, _, command in self._sent[venue]:
            if command.order == order and isinstance(command, SubmitOrder):
                return arrival
        return state.BEFORE_ALL

    def _deliver_before(self, venue: int, time: int) -> None:
        """Let every command arrive that arrives before `time`; the venue's book stands as of then."""
        sent = self._sent[venue]
        while sent and sent[0][0] < time:
            arrival, ordinal, response, command = heappop(sent)
            del self._dues[ordinal]
            if isinstance(command, SubmitOrder):
                self._matching.submit(command, arrival, ordinal=ordinal, response=response)
            else:
                self._matching.cancel(command, arrival, ordinal=ordinal, response=response)
        self._venue_words[venue * _WIDTH + _NEXT_ARRIVAL] = sent[0][0] if sent else NEVER

    def _touch(self, batch: Batch) -> None:
        """The last row concerned an instrument with resting orders."""
        number, row = self._world[_STOP_INSTRUMENT], self._world[_STOP_ROW]
        now = self._venue_words[self._homes[number] * _WIDTH + _TIME]
        if self._world[_STOP_KIND] == state.ROW_TRADE:
            trades = batch.trades
            price, size = int(trades.price[row]), int(trades.qty[row])
            self._matching.meet_trade(number, price, size, aggressor=int(trades.aggressor[row]), now=now)
        else:
            self._matching.meet_book(number, now)

    # --- rows outside the compiled kinds

    def _apply_slow(self, row: SlowRow) -> None:
        if row.kind not in ("connections", "instruments"):
            return
        venue = self._numbers.get(row.values["venue"])
        if venue is None:
            return
        while loop.slow_row(self._handle, venue, row.seq, row.ts_recv) == loop.ARRIVAL:
            self._deliver_before(venue, self._world[_STOP_TIME])
        if row.kind == "instruments":
            self._apply_instrument(row.values)
        elif row.values["event"] in EMPTYING:
            symbol = row.values["symbol"]
            number = -1 if symbol is None else self._inst_numbers.get((row.values["venue"], symbol), -1)
            if number >= 0 or symbol is None:
                loop.empty_books(self._handle, int(row.values["conn"]), number)

    def _apply_instrument(self, values: Mapping[str, Any]) -> None:
        number = self._inst_numbers[values["venue"], values["symbol"]]
        before = self._matching.instruments[number]
        after = msgspec.structs.replace(before, **instrument_fields(values))
        if after == before:
            return
        price, qty = 10 ** (after.px_scale - before.px_scale), 10 ** (after.qty_scale - before.qty_scale)
        _lay_steps(self._records[number], after, self._models[self._homes[number]])
        if price != 1 or qty != 1:
            self._rescale(number, price, qty)
        self._matching.replace_instrument(number, after)

    def _fits(self, record: Any, marks: Any, price: int, qty: int) -> bool:
        """Whether every price and size of the instrument's book can grow by those factors."""
        held = [(int(marks["price"].max()), price), *((int(marks[field].max()), qty) for field in ("left", "shown", "traded"))]
        for side in (BID, ASK):
            count, slot = int(record["levels"][side]), int(record["slot"])
            if count and slot < 0:
                held += [(int(record["best_px"][side]), price), (int(record["best_qty"][side]), qty)]
            elif count:
                start = (slot * 2 + side) * engine_state.BOOK_LEVELS
                for table, factor in ((state.PRICES, price), (state.SIZES, qty)):
                    held.append((int(self._memory.tables[table][start : start + count].max()), factor))
        return all(value <= INT64_MAX // factor for value, factor in held)

    def _rescale(self, number: int, price: int, qty: int) -> None:
        """Finer scales: books, marks and commands on their way grow by powers of ten; a book that does not fit there is emptied."""
        record = self._records[number]
        marks: Any = self._memory.tables[state.MARKED][number * 2 * state.MARKS : (number + 1) * 2 * state.MARKS]
        if not self._fits(record, marks, price, qty):
            loop.empty_books(self._handle, int(record["conn"]), number)
            marks["price"] = marks["left"] = marks["shown"] = marks["traded"] = 0
        marks["price"] *= price
        for field in ("left", "shown", "traded"):
            marks[field] *= qty
        slot = int(record["slot"])
        start, end = slot * 2 * engine_state.BOOK_LEVELS, (slot + 1) * 2 * engine_state.BOOK_LEVELS
        for values, factor in (
            (record["best_px"], price),
            (record["best_qty"], qty),
            (self._memory.tables[state.PRICES][start:end] if slot >= 0 else np.zeros(0, np.int64), price),
            (self._memory.tables[state.SIZES][start:end] if slot >= 0 else np.zeros(0, np.int64), qty),
        ):
            values[values != NULL] *= factor
        for sent in self._sent:
            for at, (arrival, ordinal, response, command) in enumerate(sent):
                if isinstance(command, SubmitOrder) and command.instrument == number:
                    finer = msgspec.structs.replace(command, price_int=command.price_int * price, qty_int=command.qty_int * qty)
                    sent[at] = (arrival, ordinal, response, finer)
            heapify(sent)


def _place(sent: Sent) -> tuple[int, int]:
    return sent[:2]


def _sent_copy(sent: Sent) -> SentCopy:
    arrival, ordinal, response, command = sent
    if isinstance(command, SubmitOrder):
        return SentCopy(arrival, ordinal, response, command, None)
    return SentCopy(arrival, ordinal, response, None, command)


def _lay(setup: VenueSetup, venues: Sequence[str], models: Sequence[VenueModel]) -> state.VenueMemory:
    """The compiled half's memory before the first row."""
    deep = [number for number, source in enumerate(setup.sources) if source != engine_state.SOURCE_QUOTES]
    tables = [model.feed_latency.values_ns if isinstance(model.feed_latency, TableLatency) else () for model in models]
    memory = state.VenueMemory(
        len(venues), len(setup.instruments), books=len(deep), latencies=[value for table in tables for value in table]
    )
    seed = draw.stream_seed(setup.seed, draw.STREAM_FEED)
    start = 0
    for number, model in enumerate(models):
        record: Any = memory.tables[state.VENUES][number]
        record["time"], record["next_arrival"], record["seed"] = state.BEFORE_ALL, NEVER, seed
        latency = model.feed_latency
        record["latency_low"] = latency.low_ns
        if isinstance(latency, TableLatency):
            record["latency_kind"], record["latency_from"] = state.LATENCY_TABLE, start
            record["latency_span"] = len(latency.values_ns)
            start += len(latency.values_ns)
        elif not isinstance(latency, ConstantLatency):
            record["latency_kind"], record["latency_span"] = state.LATENCY_UNIFORM, latency.high_ns - latency.low_ns + 1
    for number, instrument in enumerate(setup.instruments):
        record = memory.tables[state.INSTRUMENTS][number]
        record["venue"] = venues.index(instrument.venue)
        record["source"], record["conn"], record["slot"] = setup.sources[number], -1, -1
        _lay_steps(record, instrument, models[record["venue"]])
    for slot, number in enumerate(deep):
        record = memory.tables[state.INSTRUMENTS][number]
        record["slot"] = slot
    return memory


def _lay_steps(record: Any, instrument: Instrument, model: VenueModel) -> None:
    """Write what depends on the instrument's steps and scales."""
    record["lot"] = instrument.lot_int or 1
    record["assumed"] = NULL
    if model.assumed_qty is not None:
        record["assumed"] = min(model.assumed_qty // 10 ** (MONEY_SCALE - instrument.qty_scale), INT64_MAX)
