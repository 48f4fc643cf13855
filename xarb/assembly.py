"""Puts a run together: an experiment and a log become an engine with strategies, and simulated venues with the same instruments.

What decides a run is kept in `Resolved`: the effective config with fees and asset identities looked up. It is what a run's header
holds, what its id is made of, and all that a proof by replay needs beside the log.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import msgspec

from xarb.catalog import load_assets, load_fees, read_assets, read_fees
from xarb.config import Experiment, FeedConfig, LatencyConfig, RunConfig, StrategyConfig, VenueConfig, normal
from xarb.console import Table
from xarb.engine.engine import Engine
from xarb.engine.setup import FeedLimits, Setup
from xarb.engine.strategy import Strategy
from xarb.errors import ConfigError
from xarb.log.reader import BACKTEST_KINDS, LogReader, Selection
from xarb.model.asset import Asset, AssetTable
from xarb.model.batch import Batch
from xarb.model.instrument import FeeTier, Instrument
from xarb.model.units import MONEY_SCALE, NANOS_PER_MS, NANOS_PER_S, Money, parse_bps, parse_money
from xarb.pairing import Pairing, PairTerms, make_pairs, prove_names
from xarb.venues.simulated import SimulatedVenues
from xarb.venues.terms import (
    ConstantLatency,
    Latency,
    Outage,
    TableLatency,
    UniformLatency,
    VenueModel,
    VenueSetup,
)

SOURCES: Final = {"quotes": 0, "books": 1, "deltas": 2}  # as engine.Setup.sources
_KINDS: Final = {"quotes": "quotes", "books": "books", "deltas": "book_deltas"}
_PREFERENCE: Final = ("deltas", "books", "quotes")


class Resolved(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything beside the log that decides a run's outputs; `added_latency_ns` is a rung of the ladder."""

    run: RunConfig
    venues: dict[str, VenueConfig]
    feeds: FeedConfig
    venue_feeds: dict[str, FeedConfig]
    accounts: dict[str, dict[str, dict[str, Decimal]]]
    pegs: dict[str, Decimal]
    rates: dict[str, str]
    strategies: dict[str, StrategyConfig]
    fees: dict[str, FeeTier]
    assets: tuple[Asset, ...]
    added_latency_ns: int = 0


def resolve(experiment: Experiment, reader: LogReader) -> Resolved:
    """Look up what the experiment names: fee schedules by venue, and the assets of the log's instruments.

    Raises:
        ConfigError: a fee schedule is unknown or another venue's, or a venue, account or instrument is named that does not exist.
    """
    schedules = dict(load_fees())
    if experiment.run.fees_file is not None:
        schedules |= read_fees(experiment.folder / experiment.run.fees_file)
    fees = {}
    for venue, config in experiment.venues.items():
        schedule = schedules.get(config.fees)
        where = f"{experiment.origin}: venues.{venue}.fees = {config.fees}"
        if schedule is None:
            mine = ", ".join(sorted(name for name, one in schedules.items() if one.venue == venue)) or "none; add one to fees_file"
            raise ConfigError(f"{where}: no such fee schedule; known for {venue}: {mine}")
        if schedule.venue != venue:
            raise ConfigError(f"{where}: that is the schedule of {schedule.venue}")
        fees[venue] = schedule.tier
    path = experiment.run.assets_file
    table = load_assets() if path is None else read_assets(experiment.folder / path)
    _check_names(experiment, reader)
    run = msgspec.structs.replace(experiment.run, log=None, fees_file=None, assets_file=None)
    return Resolved(
        run=run,
        venues=experiment.venues,
        feeds=experiment.feeds,
        venue_feeds=experiment.venue_feeds,
        accounts=experiment.accounts,
        pegs=experiment.pegs,
        rates=experiment.rates,
        strategies=experiment.strategies,
        fees=fees,
        assets=_assets_of(table, reader.instruments),
    )


def _assets_of(table: AssetTable, instruments: Sequence[Instrument]) -> tuple[Asset, ...]:
    """The table's entries that the instruments' names resolve to, in the table's order."""
    names = {(i.venue, name) for i in instruments for name in (i.base, i.quote, i.settle)}
    used = {found.asset for venue, name in sorted(names) if (found := table.identify(venue, name)) is not None}
    return tuple(asset for asset in table.assets if asset.id in used)


def _check_names(experiment: Experiment, reader: LogReader) -> None:
    """What the experiment names must be there."""
    origin, venues = experiment.origin, experiment.venues
    there = sorted({instrument.venue for instrument in reader.instruments})
    for venue in venues:
        if venue not in there:
            raise ConfigError(f"{origin}: venues.{venue}: the log has no instrument there; it has {', '.join(there) or 'none at all'}")
    for account, balances in experiment.accounts.items():
        for venue in balances:
            if venue not in venues:
                raise ConfigError(f"{origin}: accounts.{account}.{venue}: there is no [venues.{venue}]")
    symbols = {instrument.symbol for instrument in reader.instruments}
    for name, strategy in experiment.strategies.items():
        where = f"{origin}: strategies.{name}"
        if strategy.account not in experiment.accounts:
            raise ConfigError(f"{where}.account = {strategy.account}: there is no [accounts.{strategy.account}.VENUE] with balances")
        for venue in strategy.venues:
            if venue not in venues:
                raise ConfigError(f"{where}.venues: there is no [venues.{venue}]")
        for symbol in strategy.symbols:
            if symbol not in symbols:
                raise ConfigError(f"{where}.symbols: the log has no {symbol}; it has {', '.join(sorted(symbols))}")


def encode_config(resolved: Resolved) -> dict[str, Any]:
    """`resolved` as plain data for a run's header; numbers are normal text."""
    plain: dict[str, Any] = normal(msgspec.to_builtins(resolved, builtin_types=(Decimal,)))
    return plain


def decode_config(plain: dict[str, Any]) -> Resolved:
    """The reverse of `encode_config`.

    Raises:
        ConfigError: the header was written by a version with other keys.
    """
    try:
        return msgspec.convert(plain, Resolved, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"the run's config cannot be read by this version: {error}") from None


def run_id(resolved: Resolved, log_digest: str) -> str:
    """The id of a run, from its config and the digest of its log."""
    text = msgspec.json.encode(encode_config(resolved), order="deterministic")
    return hashlib.sha256(text + b"\0" + log_digest.encode()).hexdigest()


def nanos(ms: Decimal) -> int:
    """Milliseconds as whole ns, rounded up."""
    return -int(-ms * NANOS_PER_MS // 1)


def ts_of(text: str, where: str) -> int:
    """An ISO 8601 time as ns since 1970; without an offset it is UTC.

    Raises:
        ConfigError: not such a time.
    """
    try:
        when = dt.datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{where} = {text}: allowed is an ISO 8601 time such as 2024-08-08T23:55:00Z") from None
    when = when.replace(tzinfo=dt.UTC) if when.tzinfo is None else when
    delta = when - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return (delta.days * 86_400 + delta.seconds) * NANOS_PER_S + delta.microseconds * 1000


def feed_limits(config: FeedConfig) -> FeedLimits:
    """A feed section in the engine's units."""
    return FeedLimits(
        liveness_ns=nanos(config.liveness_ms),
        cache_ns=nanos(config.cache_ms),
        max_latency_ns=nanos(config.max_latency_ms),
        future_ns=nanos(config.future_ms),
        freeze_ns=nanos(config.freeze_ms),
        freeze_moves=config.freeze_moves,
        outlier_mads=config.outlier_mads,
        outlier_floor_ppb=parse_bps(str(config.outlier_floor_bps)),
        spread_multiple=config.spread_multiple,
        off_market_ppb=parse_bps(str(config.off_market_bps)),
        quality_floor=config.quality_floor,
        score_ns=nanos(config.score_ms),
    )


def venue_model(config: VenueConfig, where: str, *, added_ns: int) -> VenueModel:
    """A venue section as the model of a simulated venue.

    Raises:
        ConfigError: a latency with no model or several, or an outage that is no span of times.
    """
    outages = [Outage(ts_of(first, f"{where}.outages"), ts_of(last, f"{where}.outages")) for first, last in config.outages]
    model = VenueModel(
        feed_latency=_latency(config.feed_latency, f"{where}.feed_latency"),
        order_latency=_latency(config.order_latency, f"{where}.order_latency"),
        response_latency=_latency(config.response_latency, f"{where}.response_latency"),
        assumed_qty=None if config.assumed_qty is None else parse_money(str(config.assumed_qty)),
        rate_limit=config.rate_limit_per_s,
        outages=tuple(outages),
    )
    return model.slower(added_ns)


def _latency(config: LatencyConfig, where: str) -> Latency:
    given = [name for name in config.__struct_fields__ if getattr(config, name) is not None]
    if len(given) != 1:
        raise ConfigError(f"{where}: state exactly one of constant_ms, uniform_ms, table_ms; there is {', '.join(given) or 'none'}")
    if config.constant_ms is not None:
        return ConstantLatency(nanos(config.constant_ms))
    if config.uniform_ms is not None:
        return UniformLatency(*(nanos(ms) for ms in config.uniform_ms))
    return TableLatency(tuple(sorted(nanos(ms) for ms in config.table_ms or ())))


def opening_balances(resolved: Resolved) -> dict[tuple[str, str, str], Money]:
    """Opening balances by (account, venue, asset)."""
    return {
        (account, venue, asset): parse_money(str(amount))
        for account, venues in resolved.accounts.items()
        for venue, balances in venues.items()
        for asset, amount in balances.items()
    }


def pairing_of(resolved: Resolved, name: str, instruments: Sequence[Instrument]) -> Pairing:
    """What the strategy `name` compares, and what it does not and why."""
    config = resolved.strategies[name]
    terms = PairTerms(
        fees=[resolved.fees.get(instrument.venue) for instrument in instruments],
        pegs={asset: Fraction(worth) for asset, worth in resolved.pegs.items()},
        venues=config.venues or tuple(resolved.venues),
        symbols=config.symbols,
        open_ppb=parse_bps(str(config.open_bps)),
        close_ppb=parse_bps(str(config.close_bps)),
    )
    return make_pairs(prove_names(instruments, AssetTable(resolved.assets)), terms)


def sources_of(resolved: Resolved, reader: LogReader) -> list[int]:
    """Which rows move each instrument's book: what the venue's config says, else deltas, then books, then quotes, as the log has them.

    Raises:
        ConfigError: the config names rows that the log does not have.
    """
    found = []
    for instrument, kinds in zip(reader.instruments, reader.kinds_of, strict=True):
        venue = resolved.venues.get(instrument.venue)
        wanted = None if venue is None else venue.book_source
        if wanted is not None and kinds and _KINDS[wanted] not in kinds:
            raise ConfigError(f"venues.{instrument.venue}.book_source = {wanted}: the log has only {', '.join(kinds)} of {instrument.id}")
        source = wanted or next((one for one in _PREFERENCE if _KINDS[one] in kinds), "quotes")
        found.append(SOURCES[source])
    return found
