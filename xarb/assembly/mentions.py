"""What an experiment names must be there: a misspelt asset or venue is an error, and not money that nobody can use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from xarb.catalog import load_assets
from xarb.config import Experiment
from xarb.errors import ConfigError
from xarb.model.asset import AssetTable
from xarb.model.instrument import FeeTier, Instrument

_OWN: frozenset[str] = frozenset({"quote", "base", "received"})  # fee assets that are the instrument's own


def check_mentions(
    experiment: Experiment, instruments: Sequence[Instrument], fees: Mapping[str, FeeTier], assets: AssetTable
) -> None:
    """Check the venues, accounts, symbols and assets that an experiment names against instruments, fee tiers by venue and the asset table.

    An asset may be one that the log does not have, since accounts outlive logs, but it must be one of the table or of the shipped one.

    Raises:
        ConfigError: a name stands for nothing; the message names the key and what there is.
    """
    origin, venues = experiment.origin, {*experiment.venues, *experiment.onchain}
    there = sorted({instrument.venue for instrument in instruments})
    for venue in (*experiment.venues, *experiment.onchain):
        if venue not in there:
            section = "venues" if venue in experiment.venues else "onchain"
            raise ConfigError(
                f"{origin}: {section}.{venue}: the log has no instrument there; it has {', '.join(there) or 'none at all'}"
            )
    for account, balances in experiment.accounts.items():
        for venue in balances:
            if venue not in venues:
                raise ConfigError(f"{origin}: accounts.{account}.{venue}: there is no [venues.{venue}], and no [onchain.{venue}]")
    for account, shares in experiment.inventory.shares.items():
        for venue in shares:
            if venue not in experiment.accounts.get(account, ()):
                raise ConfigError(f"{origin}: inventory.shares.{account}.{venue}: there is no [accounts.{account}.{venue}]")
    symbols = {instrument.symbol for instrument in instruments}
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
    names = {venue: _assets(instruments, venue, tier) for venue, tier in fees.items()}
    for venue, chain in experiment.onchain.items():
        names[venue] = [chain.own.native, *(name for one in instruments if one.venue == venue for name in (one.base, one.quote))]
    for key, asset, place in _named_assets(experiment):
        near = names if place is None else {place: names[place]}
        there = [name for mine in near.values() for name in mine]
        if asset not in there and not all(_is_another(asset, venue, mine, assets) for venue, mine in near.items()):
            raise ConfigError(
                f"{origin}: {key}: no asset of the log or of the asset table has this name; the log has {', '.join(sorted(set(there)))}"
            )


def _is_another(asset: str, venue: str, names: list[str], assets: AssetTable) -> bool:
    """Whether it is a proven asset and not one of the venue's own in another spelling, which no instrument would draw on."""
    shipped = load_assets().identify(venue, asset)
    identity = assets.identify(venue, asset)
    return (identity or shipped) is not None and all(identity is None or assets.identify(venue, name) != identity for name in names)


def _assets(instruments: Sequence[Instrument], venue: str, tier: FeeTier) -> list[str]:
    """The assets of a venue's instruments and the coin that it takes fees in."""
    found = [name for one in instruments if one.venue == venue for name in (one.base, one.quote, one.settle)]
    return found + ([] if tier.asset in _OWN else [tier.asset])


def _named_assets(experiment: Experiment) -> Iterator[tuple[str, str, str | None]]:
    """(key, asset, venue) of the named assets; venue None: on any of the venues. Risk checks those of budgets and exposures."""
    for section, owners in (("accounts", experiment.accounts), ("inventory.shares", experiment.inventory.shares)):
        for account, balances in owners.items():
            for venue, amounts in balances.items():
                for asset in amounts:
                    yield f"{section}.{account}.{venue}.{asset}", asset, venue
    for name, strategy in experiment.strategies.items():
        for asset in strategy.inventory_cost_bps:
            yield f"strategies.{name}.inventory_cost_bps.{asset}", asset, None
    for asset in experiment.run.currencies:
        yield f"run.currencies: {asset}", asset, None
