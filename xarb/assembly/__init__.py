"""Puts a run together: a config and what is known before the first input become an engine with strategies, and simulated venues.

A `Resolved` config and the `Ground` it stands on are all that a proof by replay needs beside the log.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from xarb.assembly.alike import check_alike
from xarb.assembly.custom import custom
from xarb.assembly.marks import Marks
from xarb.assembly.onchain import Loan, cex_dex, chain_models, check_stated, dex_dex, own_transactions, told_loans
from xarb.assembly.resolved import Resolved, encode_config, fee_of, graph_of, opening_balances, pairing_of, run_id
from xarb.assembly.wrapped import Off
from xarb.config import RunConfig
from xarb.console import Table
from xarb.engine.breaker import Broken
from xarb.engine.carried import CarriedBundle, CarriedCycle, CarriedFlow, CarriedTransaction, ForeignFills
from xarb.engine.engine import Engine
from xarb.engine.portfolio import Valuation
from xarb.engine.results import Carried
from xarb.engine.risk import wrapped_as
from xarb.engine.setup import Setup
from xarb.engine.strategy import Strategy
from xarb.engine.volumes import SentVolume
from xarb.errors import ConfigError, InvariantBroken
from xarb.log.reader import BACKTEST_KINDS, LogReader, Selection
from xarb.model.asset import AssetTable
from xarb.model.batch import Batch
from xarb.model.instrument import FeeTier, Instrument
from xarb.model.units import Money, format_decimal
from xarb.pairing import identities, prove_names, same_things
from xarb.settings import (
    adjust_limits,
    breaker_limits,
    chain_terms,
    feed_limits,
    micro_params,
    money_of,
    nanos,
    ratio_of,
    strategy_terms,
    triangular_params,
    ts_of,
    venue_model,
)
from xarb.strategies.micro import Micro
from xarb.strategies.triangular import Triangular
from xarb.venues.simulated import SimulatedVenues
from xarb.venues.terms import ConstantLatency, VenueModel, VenueSetup

SOURCES: Final = {"quotes": 0, "books": 1, "deltas": 2}  # as engine.Setup.sources
_KINDS: Final = {"quotes": "quotes", "books": "books", "deltas": "book_deltas"}
_PREFERENCE: Final = ("deltas", "books", "quotes")
# A venue that the config does not name: the simulation keeps its books, no order ever goes there, so nothing of this decides anything.
RECORDED_ONLY: Final = VenueModel(
    feed_latency=ConstantLatency(0),
    order_latency=ConstantLatency(0),
    response_latency=ConstantLatency(0),
    assumed_qty=None,
    rate_limit=None,
    outages=(),
    refusals=(),
    fill_shares=(),
)


class Turn(NamedTuple):
    """Behind input `seq` a run goes on under another config, and strategies that are `off` begin nothing more."""

    seq: int
    resolved: Resolved
    off: tuple[str, ...] = ()


class Ground(msgspec.Struct, frozen=True, kw_only=True):
    """What is known before the first input, beside the config.

    Attributes:
        instruments: by number, as they are known then.
        sources: which rows move each instrument's book, by number; values of SOURCES.
        connections: connection numbers lie below this.
        log_id: what client order ids begin with.
        opening: balances by (account, venue, asset).
        simulated: whether simulated venues take the orders; else the driver carries them to real ones.
        timers_are_rows: whether timers come as inputs, as in a live log.
        armed: whether bundles are sent before the operator says so.
        start: number of the start; 1 in a backtest.
        results: what strategies made in earlier starts, where they have a limit of loss; none in a backtest.
        volumes: what they sent in earlier starts of the day; none in a backtest.
        broken: breakers that earlier starts left open; none in a backtest.
        bundles: bundles that earlier starts left without an end, or ended of late; none in a backtest.
        flows: what strategies' fills added up to in earlier starts; none in a backtest.
        own: hashes of the transactions in a log that is backtested that are ours, since it was traded on.
        foreign: what others' fills on the accounts came to in earlier starts of the day; none in a backtest.
        cycles, transactions: what earlier starts sent to chains that is not final; none in a backtest, and on paper.
        turn: where other parameters take over; None: nowhere.
    """

    instruments: Sequence[Instrument]
    sources: Sequence[int]
    connections: int
    log_id: str
    opening: Mapping[tuple[str, str, str], Money]
    simulated: bool
    timers_are_rows: bool
    armed: bool
    start: int
    results: Sequence[Carried] = ()
    volumes: Sequence[SentVolume] = ()
    broken: Sequence[Broken] = ()
    bundles: Sequence[CarriedBundle] = ()
    flows: Sequence[CarriedFlow] = ()
    own: frozenset[str] = frozenset()
    foreign: Sequence[ForeignFills] = ()
    cycles: Sequence[CarriedCycle] = ()
    transactions: Sequence[CarriedTransaction] = ()
    turn: Turn | None = None


def sources_of(resolved: Resolved, instruments: Sequence[Instrument], kinds_of: Sequence[Sequence[str]]) -> list[int]:
    """Which rows move each instrument's book: what the venue's config says, else deltas, then books, then quotes, as the log has them.

    Args:
        resolved: the config.
        instruments: by number.
        kinds_of: by number, which of quotes, books and book_deltas there are of each.

    Raises:
        ConfigError: the config names rows that the log does not have.
    """
    found = []
    for instrument, kinds in zip(instruments, kinds_of, strict=True):
        venue = resolved.venues.get(instrument.venue)
        wanted: str | None = None if venue is None else venue.book_source
        if wanted is not None and kinds and _KINDS[wanted] not in kinds:
            raise ConfigError(
                f"venues.{instrument.venue}.book_source = {wanted}: the log has only {', '.join(kinds)} of {instrument.id}"
            )
        source = wanted or next((one for one in _PREFERENCE if _KINDS[one] in kinds), "quotes")
        found.append(SOURCES[source])
    return found


class Recording(NamedTuple):
    """What a recorded log says before its first input: all that a backtest needs of it beside the inputs.

    Attributes:
        folder: the log.
        digest: of everything in it.
        instruments: every one in its first known form, by number.
        kinds_of: which of quotes, books and book_deltas there are of each.
        connections: connection numbers lie below this.
        own: hashes of its transactions that are ours; looked for only where a config is about chains.
        loans: of whom it says what lenders take and have, by (venue, way, lender, token); looked for only where a config states any.
    """

    folder: Path
    digest: str
    instruments: Sequence[Instrument]
    kinds_of: Sequence[Sequence[str]]
    connections: int
    own: frozenset[str]
    loans: frozenset[Loan]


def recording_of(reader: LogReader, configs: Sequence[Resolved]) -> Recording:
    """What a log says of itself, as far as one of these configs asks for it.

    Raises:
        LogError: a file was changed.
    """
    return Recording(
        folder=reader.folder,
        digest=reader.digest,
        instruments=reader.instruments,
        kinds_of=reader.kinds_of,
        connections=max(reader.connections, 1),
        own=own_transactions(reader) if any(one.onchain for one in configs) else frozenset(),
        loans=told_loans(reader) if any(chain.lenders for one in configs for chain in one.onchain.values()) else frozenset(),
    )


def recorded_ground(resolved: Resolved, reader: LogReader) -> Ground:
    """The ground of a backtest of a recorded log.

    Raises:
        ConfigError: the config names rows that the log does not have, or says what the log says; or no row lies between run.start and
            run.end.
    """
    first = next(inputs_of(resolved, reader, rows=1), None)
    if first is None:
        raise ConfigError(f"{reader.folder}: no row between run.start and run.end")
    known = reader.instruments_at(first.first_seq) if resolved.run.start else reader.instruments
    return ground_on(resolved, recording_of(reader, [resolved]), known)


def ground_on(resolved: Resolved, recording: Recording, instruments: Sequence[Instrument]) -> Ground:
    """The ground of a backtest of a part of a recorded log, with the instruments as they are known before its first input.

    Raises:
        ConfigError: the config names rows that the log does not have, or says what the log says.
    """
    check_stated(resolved, recording.loans)
    return Ground(
        instruments=instruments,
        sources=sources_of(resolved, recording.instruments, recording.kinds_of),
        connections=recording.connections,
        log_id=run_id(encode_config(resolved), recording.digest),
        opening=opening_balances(resolved),
        simulated=True,
        timers_are_rows=False,
        armed=True,
        start=1,
        own=recording.own,
    )


class Replay(NamedTuple):
    """What it takes to decide again: the config, what was known before the first input, and the inputs."""

    resolved: Resolved
    ground: Ground
    batches: Iterator[Batch]


def replay_of_run(resolved: Resolved, reader: LogReader, *, rows: int, last: int | None = None, cuts: Sequence[int] = ()) -> Replay:
    """What decides a backtest of a log again; `rows`, `last` and `cuts` as in `inputs_of`.

    Raises:
        ConfigError: as `recorded_ground`.
        Refused: some of the inputs were pruned.
    """
    return Replay(resolved, recorded_ground(resolved, reader), inputs_of(resolved, reader, rows, last=last, cuts=cuts))


def inputs_of(
    resolved: Resolved, reader: LogReader, rows: int, *, last: int | None = None, cuts: Sequence[int] = ()
) -> Iterator[Batch]:
    """The inputs of a backtest up to `last` where there is one, in batches of at most `rows` seqs that end at each of `cuts`."""
    select = msgspec.structs.replace(_selection(resolved.run), last_seq=last)
    return reader.batches(kinds=BACKTEST_KINDS, rows=rows, select=select, cuts=cuts)


class Assembly:
    """One run ready to go: the engine and, where orders are simulated, the venues.

    Args:
        resolved: what is run.
        ground: what is known before the first input.

    Raises:
        ConfigError: the parts do not fit together.
    """

    def __init__(self, resolved: Resolved, ground: Ground) -> None:
        self.opening = ground.opening
        self.off: tuple[str, ...] = ()
        self._stakes = frozenset(asset for _, _, asset in self.opening)
        self._lay(resolved, ground)

    def _lay(self, resolved: Resolved, ground: Ground) -> None:
        self.resolved = resolved
        self.ground = ground
        instruments = ground.instruments
        names = prove_names(instruments, AssetTable(resolved.assets))
        fees = {
            (account, number): tier
            for account in resolved.accounts
            for number, one in enumerate(instruments)
            if (tier := fee_of(resolved, one)) is not None
        }
        rates = _rates(resolved, instruments)
        traded = {one.quote for one in instruments if one.venue in resolved.venues and one.untradable_because() is None}
        traded |= {one.own.native for one in resolved.onchain.values()}
        self.currencies = resolved.run.currencies or tuple(sorted(traded))
        setup = Setup(
            instruments=instruments,
            groups=_groups(same_things(names), len(instruments)),
            identities=identities(names),
            sources=ground.sources,
            limits=[feed_limits(resolved.venue_feeds.get(one.venue, resolved.feeds)) for one in instruments],
            fees=fees,
            opening=self.opening,
            connections=ground.connections,
            log_id=ground.log_id,
            coin_margin_ppb=ratio_of(resolved.run.coin_margin_bps),
            terms={name: strategy_terms(config) for name, config in resolved.strategies.items()},
            rates=rates,
            timers_are_rows=ground.timers_are_rows,
            armed=ground.armed,
            start=ground.start,
            results=ground.results,
            volumes=ground.volumes,
            breakers={
                one.venue: breaker_limits(
                    resolved.venue_breakers.get(one.venue, resolved.breakers), attended=ground.timers_are_rows
                )
                for one in instruments
            },
            broken=ground.broken,
            bundles=ground.bundles,
            flows=ground.flows,
            foreign=ground.foreign,
            heads={one.venue: nanos(resolved.venue_feeds.get(one.venue, resolved.feeds).head_ms) for one in instruments},
            adjust=adjust_limits(resolved.inventory, self.currencies),
            chains={venue: chain_terms(one) for venue, one in resolved.onchain.items()},
            cycles=ground.cycles,
            transactions=ground.transactions,
            counts_all=ground.turn is not None,
            not_transferable_anyway={venue: frozenset(config.allow_not_transferable) for venue, config in resolved.venues.items()},
        )
        self.engine = Engine(setup, self.strategies(rates))
        self.venues = _simulated(resolved, ground, fees=fees, rates=rates) if ground.simulated else None
        self.engine.chains.simulated = None if self.venues is None else self.venues.chains
        self.assets = {(one.venue, one.symbol): (one.base, one.quote) for one in instruments}
        self.alike = wrapped_as(setup)
        self.marks = Marks(self.engine.market, instruments, self.currencies, self.alike)

    def pass_on(self, seq: int) -> None:
        """Input `seq` comes next: where the ground has a turn before it, what has happened goes on under the other config.

        Raises:
            ConfigError: what was open cannot go on under it.
            InvariantBroken: a batch reached beyond the turn.
        """
        turn = self.ground.turn
        if turn is None or seq <= turn.seq:
            return
        engine, venues, marks = self.engine, self.venues, self.marks
        if engine.position > turn.seq:
            raise InvariantBroken(f"input {engine.position} was applied before the turn at {turn.seq}")
        state = engine.capture()
        dealings = None if venues is None else venues.capture()
        self.off = turn.off
        known = tuple(engine.instruments)
        self._lay(turn.resolved, msgspec.structs.replace(self.ground, instruments=known, turn=None))
        check_alike(engine.outputs.pairs, self.engine.outputs.pairs)
        self.engine.adopt(state)
        self.marks.go_on(marks)
        if self.venues is not None and dealings is not None:
            self.venues.adopt(dealings)

    def strategies(self, rates: Mapping[tuple[str, str, str], int]) -> Sequence[Strategy]:
        """The strategies of the config in order of their ids; `rates` say which instrument prices a fee coin."""
        resolved = self.resolved
        found = [_strategy(resolved, name, self.ground.instruments, rates) for name in sorted(resolved.strategies)]
        return [Off(one) if one.id in self.off else one for one in found]

    def note_marks(self) -> None:
        """Keep the mids as they stand at the first order of the run: the marks from which inventory is revalued."""
        self.marks.keep_first(self._stakes)

    def valuation(self, account: str, currency: str) -> Valuation | str:
        """The account in `currency` at the last mids, revalued since the first order; the asset without a mark where there is one.

        Without any order nothing was at stake: the revaluation is zero.
        """
        first = self.marks.keep_first(self._stakes)
        marks, opening_marks = {}, {}
        for asset in sorted({asset for owner, _, asset in self.engine.portfolio.balances() if owner == account}):
            now, then = self.marks.now(asset, currency), first.get((asset, currency))
            if now is None or (then is None and any(key[2] == asset for key in self.opening)):
                return asset
            marks[asset], opening_marks[asset] = now.value, (then or now).value
        return self.engine.portfolio.value(account, marks, opening_marks)

    def mark(self, asset: str, currency: str) -> int | None:
        """Money per unit of `asset` in `currency` as of now, None while unknown."""
        found = self.marks.now(asset, currency)
        return None if found is None else found.value

    def doubtful_marks(self) -> Table:
        """The marks of what the accounts hold, and held at first, that no tradable feed stands behind."""
        return self.marks.doubtful({asset for _, _, asset in self.engine.portfolio.balances()})

    def assumptions(self) -> Table:
        """What the simulation assumes, by venue, and the fees; what flatters the result is marked."""
        simulated = [] if self.venues is None else self.venues.describe()
        chains = [] if self.venues is None else self.venues.chains.describe()
        rows: list[tuple[str, ...]] = [row for row in simulated if row[0] in self.resolved.venues]
        rows += chains
        rows += [(venue, "fees", _fee_text(tier)) for venue, tier in self.resolved.fees.items()]
        return Table("Assumptions", ("venue", "what", "value"), tuple(sorted(rows, key=_by_venue)))


def _simulated(
    resolved: Resolved,
    ground: Ground,
    *,
    fees: Mapping[tuple[str, int], FeeTier],
    rates: Mapping[tuple[str, str, str], int],
) -> SimulatedVenues:
    models = {
        venue: venue_model(config, f"venues.{venue}", added_ns=resolved.added_latency_ns)
        for venue, config in resolved.venues.items()
    }
    models |= {one.venue: RECORDED_ONLY for one in ground.instruments if one.venue not in models}
    setup = VenueSetup(
        instruments=ground.instruments,
        sources=ground.sources,
        fees=fees,
        opening=ground.opening,
        rates=rates,
        seed=resolved.run.seed,
    )
    return SimulatedVenues(setup, models, chain_models(resolved), ground.own)


def _strategy(
    resolved: Resolved, name: str, instruments: Sequence[Instrument], rates: Mapping[tuple[str, str, str], int]
) -> Strategy:
    config = resolved.strategies[name]
    assumed = {venue: money_of(one.assumed_qty) for venue, one in resolved.venues.items() if one.assumed_qty is not None}
    if config.kind == "custom":
        return custom(resolved, name, instruments)
    if config.kind == "dex_dex":
        return dex_dex(resolved, name, instruments)
    if config.kind == "cex_dex":
        return cex_dex(resolved, name, instruments, (rates, assumed))
    if config.kind == "triangular":
        graph = graph_of(resolved, name, instruments)
        params = triangular_params(config, resolved.inventory)
        return Triangular(name, config.account, graph, params, rates=rates, assumed_qty=assumed)
    return Micro(
        name,
        config.account,
        pairing_of(resolved, name, instruments).pairs,
        micro_params(config, resolved.inventory),
        rates=rates,
        assumed_qty=assumed,
    )


def _rates(resolved: Resolved, instruments: Sequence[Instrument]) -> dict[tuple[str, str, str], int]:
    """(venue, fee coin, quote asset) to the instrument whose bid prices the coin."""
    numbers = {one.id: number for number, one in enumerate(instruments)}
    found = {}
    for name, coin in resolved.rates.items():
        number = numbers.get(name)
        if number is None:
            raise ConfigError(f'rates."{name}" = {coin}: the log has no such instrument')
        one = instruments[number]
        if one.base != coin:
            raise ConfigError(f'rates."{name}" = {coin}: that instrument prices {one.base}')
        found[one.venue, coin, one.quote] = number
    return found


def _selection(run: RunConfig) -> Selection:
    return Selection(
        first_ts=None if run.start is None else ts_of(run.start, "run.start"),
        last_ts=None if run.end is None else ts_of(run.end, "run.end") - 1,
    )


def _groups(groups: Sequence[Sequence[int]], count: int) -> list[list[int]]:
    """The groups, and each instrument that is in none as a group of its own."""
    grouped = {number for group in groups for number in group}
    return [*(list(group) for group in groups), *([number] for number in range(count) if number not in grouped)]


def _fee_text(tier: FeeTier) -> str:
    return f"maker {format_decimal(tier.maker_ppb, 5)} bps, taker {format_decimal(tier.taker_ppb, 5)} bps, in {tier.asset} ({tier.source})"


def _by_venue(row: tuple[str, ...]) -> str:
    return row[0]
