"""Chains of a run: what their transactions are paid with, how they are simulated, and what strategies over pools may go through."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from xarb.assembly.resolved import Resolved, fee_of
from xarb.config.strategies import StrategyConfig
from xarb.errors import ConfigError
from xarb.log.reader import LogReader
from xarb.model.instrument import Instrument
from xarb.model.units import Money
from xarb.settings import cex_dex_params, chain_model, dex_params, loan_terms, wei_of
from xarb.strategies.books import Rates
from xarb.strategies.cex_dex import CexDex, Market, SwapChain
from xarb.strategies.dex import DexChain, DexDex
from xarb.venues.chainterms import ChainModel

Loan = tuple[str, str, str, str]
"""Venue, way, lender and token."""


def chain_models(resolved: Resolved) -> dict[str, ChainModel]:
    """How the chains of a config are simulated.

    Raises:
        ConfigError: one cannot be.
    """
    return {
        venue: chain_model(one, f"onchain.{venue}", added_ns=resolved.added_latency_ns) for venue, one in resolved.onchain.items()
    }


def told_loans(reader: LogReader) -> frozenset[Loan]:
    """Of which loans a log says what they take.

    Raises:
        LogError: a file was changed.
    """
    return frozenset((row["venue"], row["way"], row["lender"], row["token"]) for row in reader.rows("loans"))


def check_stated(resolved: Resolved, told: Collection[Loan]) -> None:
    """See that a config states nothing of lenders of whom the log speaks: of two truths one would be wrong.

    Raises:
        ConfigError: it does.
    """
    for venue, one in resolved.onchain.items():
        for who, config in one.lenders.items():
            for each in loan_terms({who: config}):
                if (venue, each.way, each.lender, each.token) in told:
                    raise ConfigError(
                        f"onchain.{venue}.lenders.{who}: the log says what it takes and has of {each.token} (loans); leave it out"
                    )


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


def cex_dex(resolved: Resolved, name: str, instruments: Sequence[Instrument], books: tuple[Rates, Mapping[str, Money]]) -> CexDex:
    """The strategy `name`; `books` are rates of fee coins, and sizes to assume where a quote has none.

    Raises:
        ConfigError: there is no chain, no exchange, or no path between two tokens that count as what an exchange trades; or too many.
    """
    config = resolved.strategies[name]
    venues = [venue for venue in config.venues or resolved.onchain if venue in resolved.onchain]
    if not venues:
        raise ConfigError(f"strategies.{name}: there is no [onchain.NAME] for it to swap on")
    if not any(resolved.onchain[venue].own.coins for venue in venues):
        raise ConfigError(
            f"strategies.{name}: [onchain.{venues[0]}] has no coins: which token counts as which coin of an exchange must be said, "
            'such as coins = { 0xADDRESS = "ETH" }; no name proves it'
        )
    markets = [
        Market(number, one.base, one.quote)
        for number, one in enumerate(instruments)
        if one.kind == "spot"
        and one.venue in (config.venues or resolved.venues)
        and one.venue in resolved.venues
        and (not config.symbols or one.symbol in config.symbols)
        and fee_of(resolved, one) is not None
    ]
    if not markets:
        raise ConfigError(f"strategies.{name}: there is no spot market of a [venues.NAME] for it to hedge on")
    chains = {venue: _swap_chain(resolved, config, venue, instruments) for venue in venues}
    try:
        return CexDex(name, config.account, chains=chains, markets=markets, books=books, params=cex_dex_params(config))
    except ValueError as error:
        raise ConfigError(f"strategies.{name}: {error}") from None


def _swap_chain(resolved: Resolved, config: StrategyConfig, venue: str, instruments: Sequence[Instrument]) -> SwapChain:
    own = resolved.onchain[venue].own
    return SwapChain(
        pools=_pools(config, venue, instruments),
        coins=own.coins,
        wrapped=own.wrapped,
        tip_wei=wei_of(own.tip_gwei),
        cap_wei=wei_of(own.max_fee_gwei),
    )


def _pools(config: StrategyConfig, venue: str, instruments: Sequence[Instrument]) -> tuple[tuple[int, str, str], ...]:
    """The pools of a chain that a strategy may go through, with their tokens."""
    return tuple(
        (number, pool.base, pool.quote)
        for number, pool in enumerate(instruments)
        if pool.venue == venue and pool.kind == "pool" and (not config.symbols or pool.symbol in config.symbols)
    )


def _chain(resolved: Resolved, config: StrategyConfig, venue: str, instruments: Sequence[Instrument]) -> DexChain:
    one = resolved.onchain[venue]
    return DexChain(
        pools=_pools(config, venue, instruments),
        starts=config.start_assets or (one.own.wrapped,),
        wrapped=one.own.wrapped,
        tip_wei=wei_of(one.own.tip_gwei),
        cap_wei=wei_of(one.own.max_fee_gwei),
    )
