"""What decides a run beside its log: the effective config, with fees and asset identities looked up.

It is what a run's header holds, and what its id is made of.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec

from xarb.assembly.code import pinned
from xarb.assembly.mentions import check_mentions
from xarb.catalog import load_assets, load_fees, read_assets, read_fees
from xarb.config import Experiment, FeedConfig, RunConfig, VenueConfig
from xarb.config.breakers import BreakerConfig
from xarb.config.inventory import InventoryConfig
from xarb.config.onchain import OnChain
from xarb.config.reader import normal
from xarb.config.strategies import StrategyConfig
from xarb.errors import ConfigError
from xarb.log.reader import LogReader
from xarb.model.asset import Asset, AssetTable
from xarb.model.instrument import FeeTier, Instrument
from xarb.model.units import Money
from xarb.pairing import Pairing, PairTerms, identities, make_pairs, prove_names
from xarb.settings import money_of, ratio_of
from xarb.strategies.triangular import TradeGraph


class Resolved(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything beside the log that decides a run's outputs.

    `fees` are by venue, and by instrument ("BTC/USDT@binance") where an exchange said what the account really pays there;
    `added_latency_ns` is a rung of the ladder.
    """

    run: RunConfig
    venues: dict[str, VenueConfig]
    feeds: FeedConfig
    venue_feeds: dict[str, FeedConfig]
    breakers: BreakerConfig
    venue_breakers: dict[str, BreakerConfig]
    accounts: dict[str, dict[str, dict[str, Decimal]]]
    pegs: dict[str, Decimal]
    rates: dict[str, str]
    strategies: dict[str, StrategyConfig]
    fees: dict[str, FeeTier]
    assets: tuple[Asset, ...]
    inventory: InventoryConfig = InventoryConfig()
    added_latency_ns: int = 0
    onchain: dict[str, OnChain] = {}


def resolve_recorded(experiment: Experiment, reader: LogReader) -> Resolved:
    """What `resolve` makes of an experiment on a recorded log.

    Raises:
        ConfigError: as `resolve`, or what is to be replayed is a run.
    """
    if reader.header.kind != "log":
        raise ConfigError(f"{reader.folder} is a run, not a log; it holds outputs, and a backtest replays inputs")
    return resolve(experiment, reader.instruments)


def resolve(experiment: Experiment, instruments: Sequence[Instrument], *, before: Resolved | None = None) -> Resolved:
    """Look up what the experiment names: fee schedules by venue, and the assets of the log's instruments.

    Args:
        experiment: what is to be run.
        instruments: those of the log.
        before: a config that this one was made of: fees, assets and code of strategies that it names too are taken from there.

    Raises:
        ConfigError: a fee schedule is unknown or another venue's, or a venue, account, instrument or asset is named that does not exist.
    """
    schedules = dict(load_fees())
    if experiment.run.fees_file is not None:
        schedules |= read_fees(experiment.folder / experiment.run.fees_file)
    fees: dict[str, FeeTier] = {}
    for venue, config in experiment.venues.items():
        if before is not None and venue in before.venues and before.venues[venue].fees == config.fees:
            fees |= {name: tier for name, tier in before.fees.items() if name == venue or name.endswith(f"@{venue}")}
            continue
        schedule = schedules.get(config.fees)
        where = f"{experiment.origin}: venues.{venue}.fees = {config.fees}"
        if schedule is None:
            mine = ", ".join(sorted(name for name, one in schedules.items() if one.venue == venue)) or "none; add one to fees_file"
            raise ConfigError(f"{where}: no such fee schedule; known for {venue}: {mine}")
        if schedule.venue != venue:
            raise ConfigError(f"{where}: that is the schedule of {schedule.venue}")
        fees[venue] = schedule.tier
    table = _assets_table(experiment, before)
    check_mentions(experiment, instruments, fees, table)
    run = msgspec.structs.replace(experiment.run, log=None, fees_file=None, assets_file=None)
    return Resolved(
        run=run,
        venues={name: msgspec.structs.replace(one, model=None) for name, one in experiment.venues.items()},
        feeds=experiment.feeds,
        venue_feeds=experiment.venue_feeds,
        breakers=experiment.breakers,
        venue_breakers=experiment.venue_breakers,
        accounts=experiment.accounts,
        pegs=experiment.pegs,
        rates=experiment.rates,
        strategies={
            name: config
            if before is not None and before.strategies.get(name, config).code_sha256 == config.code_sha256 is not None
            else pinned(config, experiment.folder, f"{experiment.origin}: strategies.{name}")
            for name, config in experiment.strategies.items()
        },
        fees=fees,
        assets=_assets_of(table, instruments),
        inventory=experiment.inventory,
        onchain=experiment.onchain,
    )


def _assets_table(experiment: Experiment, before: Resolved | None) -> AssetTable:
    if before is not None:
        return AssetTable(before.assets)
    path = experiment.run.assets_file
    return load_assets() if path is None else read_assets(experiment.folder / path)


def _assets_of(table: AssetTable, instruments: Sequence[Instrument]) -> tuple[Asset, ...]:
    """The table's entries that the instruments' names resolve to, in the table's order."""
    names = {(i.venue, name) for i in instruments for name in (i.base, i.quote, i.settle)}
    used = {found.asset for venue, name in sorted(names) if (found := table.identify(venue, name)) is not None}
    return tuple(asset for asset in table.assets if asset.id in used)


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


def run_id(config: Mapping[str, Any], log_digest: str) -> str:
    """The id of a run, from its config as `encode_config` gives it and the digest of its log."""
    text = msgspec.json.encode(config, order="deterministic")
    return hashlib.sha256(text + b"\0" + log_digest.encode()).hexdigest()


def opening_balances(resolved: Resolved) -> dict[tuple[str, str, str], Money]:
    """Opening balances by (account, venue, asset)."""
    return {
        (account, venue, asset): money_of(amount)
        for account, venues in resolved.accounts.items()
        for venue, balances in venues.items()
        for asset, amount in balances.items()
    }


def pairing_of(resolved: Resolved, name: str, instruments: Sequence[Instrument]) -> Pairing:
    """What the strategy `name` compares, and what it does not and why."""
    config = resolved.strategies[name]
    terms = PairTerms(
        fees=[fee_of(resolved, instrument) for instrument in instruments],
        pegs={asset: Fraction(worth) for asset, worth in resolved.pegs.items()},
        venues=config.venues or tuple(resolved.venues),
        symbols=config.symbols,
        open_ppb=ratio_of(config.open_bps),
        close_ppb=ratio_of(config.close_bps),
    )
    return make_pairs(prove_names(instruments, AssetTable(resolved.assets)), terms)


def graph_of(resolved: Resolved, name: str, instruments: Sequence[Instrument]) -> TradeGraph:
    """What the strategy `name` may go through: spot instruments of its venues and symbols whose fees are known.

    Raises:
        ConfigError: an asset that is to go round is traded on none of them.
    """
    config = resolved.strategies[name]
    names = prove_names(instruments, AssetTable(resolved.assets))
    known = identities(names)
    chosen = [one for one in names if may_trade(resolved, config, one.instrument)]
    assets = {one.number: _assets_apart(one.instrument, known) for one in chosen}
    starts = []
    for asset in config.start_assets:
        mine = sorted({key for pair in assets.values() for key in pair if key.split()[0] == asset})
        if not mine:
            traded = ", ".join(sorted({key.split()[0] for pair in assets.values() for key in pair})) or "nothing"
            raise ConfigError(f"strategies.{name}.start_assets: {asset} is traded on none of its instruments; they trade {traded}")
        starts += mine
    return TradeGraph(instruments=tuple(assets), assets=assets, starts=tuple(starts))


def may_trade(resolved: Resolved, config: StrategyConfig, one: Instrument) -> bool:
    """Whether a spot instrument is one of a strategy's venues and symbols, with known fees."""
    return (
        one.kind == "spot"
        and one.venue in (config.venues or resolved.venues)
        and (not config.symbols or one.symbol in config.symbols)
        and fee_of(resolved, one) is not None
    )


def _assets_apart(one: Instrument, known: Mapping[tuple[str, str], str]) -> tuple[str, str]:
    """Base and quote with what each was proven to be: one text for one asset under one name, an unproven name is its venue's own."""
    base, quote = (f"{name} is {known.get((one.venue, name), f'of {one.venue}')}" for name in (one.base, one.quote))
    return base, quote


def fee_of(resolved: Resolved, instrument: Instrument) -> FeeTier | None:
    """The fees on an instrument, None on one of a venue that is not traded on."""
    return resolved.fees.get(instrument.id, resolved.fees.get(instrument.venue))
