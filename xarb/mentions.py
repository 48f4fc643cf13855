"""What an experiment names must be there: a misspelt asset or venue is an error, and not money that nobody can use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from xarb.config import Experiment
from xarb.errors import ConfigError
from xarb.log.reader import LogReader
from xarb.model.instrument import FeeTier

_OWN: frozenset[str] = frozenset({"quote", "base", "received"})  # fee assets that are the instrument's own


def check_mentions(experiment: Experiment, reader: LogReader, fees: Mapping[str, FeeTier]) -> None:
    """Check the venues, accounts, symbols and assets that an experiment names against the log and its fee tiers by venue.

    Raises:
        ConfigError: a name stands for nothing; the message names the key and what there is.
    """
    origin, venues = experiment.origin, experiment.venues
    there = sorted({instrument.venue for instrument in reader.instruments})
    for venue in venues:
        if venue not in there:
            raise ConfigError(
                f"{origin}: venues.{venue}: the log has no instrument there; it has {', '.join(there) or 'none at all'}"
            )
    for account, balances in experiment.accounts.items():
        for venue in balances:
            if venue not in venues:
                raise ConfigError(f"{origin}: accounts.{account}.{venue}: there is no [venues.{venue}]")
    symbols = {instrument.symbol for instrument in reader.instruments}
    for name, strategy in experiment.strategies.items():
        where = f"{origin}: strategies.{name}"
        if strategy.account not in experiment.accounts:
            raise ConfigError(
                f"{where}.account = {strategy.account}: there is no [accounts.{strategy.account}.VENUE] with balances"
            )
        for venue in strategy.venues:
            if venue not in venues:
                raise ConfigError(f"{where}.venues: there is no [venues.{venue}]")
        for symbol in strategy.symbols:
            if symbol not in symbols:
                raise ConfigError(f"{where}.symbols: the log has no {symbol}; it has {', '.join(sorted(symbols))}")
    by_venue = {venue: _assets(reader, venue, tier) for venue, tier in fees.items()}
    everywhere = [asset for assets in by_venue.values() for asset in assets]
    for key, asset, place in _named_assets(experiment):
        known = everywhere if place is None else by_venue[place]
        if asset not in known:
            on = "" if place is None else f" on {place}"
            raise ConfigError(
                f"{origin}: {key}: no instrument or fee{on} has this asset; there are {', '.join(sorted(set(known)))}"
            )


def _assets(reader: LogReader, venue: str, tier: FeeTier) -> list[str]:
    """The assets of a venue's instruments and the coin that it takes fees in."""
    found = [name for one in reader.instruments if one.venue == venue for name in (one.base, one.quote, one.settle)]
    return found + ([] if tier.asset in _OWN else [tier.asset])


def _named_assets(experiment: Experiment) -> Iterator[tuple[str, str, str | None]]:
    """(key, asset, venue) of every asset that is named; venue None: on any of the venues."""
    for account, balances in experiment.accounts.items():
        for venue, amounts in balances.items():
            for asset in amounts:
                yield f"accounts.{account}.{venue}.{asset}", asset, venue
    for asset in experiment.run.currencies:
        yield f"run.currencies: {asset}", asset, None
    for name, strategy in experiment.strategies.items():
        for key in ("budget", "max_exposure"):
            for asset in getattr(strategy, key):
                yield f"strategies.{name}.{key}.{asset}", asset, None
