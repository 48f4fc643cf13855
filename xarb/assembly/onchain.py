"""Chains of a run: what their transactions are paid with, how they are simulated, and what strategies over pools may go through."""

from __future__ import annotations

from collections.abc import Sequence

from xarb.assembly.resolved import Resolved
from xarb.config.strategies import StrategyConfig
from xarb.errors import ConfigError
from xarb.log.reader import LogReader
from xarb.model.instrument import Instrument
from xarb.settings import chain_model, dex_params, loan_terms, wei_of
from xarb.strategies.dex import DexChain, DexDex
from xarb.venues.chainterms import ChainModel


def chain_models(resolved: Resolved) -> dict[str, ChainModel]:
    """How the chains of a config are simulated.

    Raises:
        ConfigError: one cannot be.
    """
    return {
        venue: chain_model(one, f"onchain.{venue}", added_ns=resolved.added_latency_ns) for venue, one in resolved.onchain.items()
    }


def own_transactions(reader: LogReader) -> frozenset[str]:
    """Hashes of the transactions in a log that were ours: of each the log has what it was meant to be before it left.

    Raises:
        LogError: a file was changed.
    """
    return frozenset(row["tx_hash"] for row in reader.rows("transactions") if row["tx_hash"])


def dex_dex(resolved: Resolved, name: str, instruments: Sequence[Instrument]) -> DexDex:
    """The strategy `name`.

    Raises:
        ConfigError: there is no chain for it, a token that is to go round is in no pool, or there are too many cycles.
    """
    config = resolved.strategies[name]
    venues = [venue for venue in config.venues or resolved.onchain if venue in resolved.onchain]
    if not venues:
        raise ConfigError(f"strategies.{name}: there is no [onchain.NAME] for it to trade on")
    chains = {venue: _chain(resolved, config, venue, instruments) for venue in venues}
    known = {token for one in chains.values() for _, *tokens in one.pools for token in tokens}
    for token in config.start_assets:
        if token not in known:
            raise ConfigError(f"strategies.{name}.start_assets: {token} is in no pool that it may go through")
    try:
        return DexDex(name, config.account, chains, dex_params(config))
    except ValueError as error:
        raise ConfigError(f"strategies.{name}: {error}") from None


def _chain(resolved: Resolved, config: StrategyConfig, venue: str, instruments: Sequence[Instrument]) -> DexChain:
    one = resolved.onchain[venue]
    return DexChain(
        pools=tuple(
            (number, pool.base, pool.quote)
            for number, pool in enumerate(instruments)
            if pool.venue == venue and pool.kind == "pool" and (not config.symbols or pool.symbol in config.symbols)
        ),
        starts=config.start_assets or (one.own.wrapped,),
        wrapped=one.own.wrapped,
        tip_wei=wei_of(one.own.tip_gwei),
        cap_wei=wei_of(one.own.max_fee_gwei),
        loans=loan_terms(one.lenders),
    )
