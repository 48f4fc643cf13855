"""What exchanges say of their networks now, through the accounts of an experiment."""

from __future__ import annotations

from collections.abc import Iterable

from xarb.config import Experiment
from xarb.live.exchanges import accounts_of
from xarb.process import run_loop
from xarb.sources import market_sources
from xarb.venues.funds import wallets
from xarb.verbs.rebalance.networks import Network, of_wallets


def ask_networks(experiment: Experiment, assets: Iterable[str]) -> list[Network]:
    """The networks of some assets at the exchanges of an experiment, as they say now.

    Raises:
        ConfigError: there are no keys, or no exchange where keys are of use.
        Retryable, Rejected: an exchange does not answer, or not with networks.
    """
    return run_loop(_ask(experiment, sorted(assets)))


async def _ask(experiment: Experiment, assets: list[str]) -> list[Network]:
    found: list[Network] = []
    accounts = accounts_of(experiment, market_sources(experiment), {})
    try:
        for venue, mine in accounts.items():  # networks are the exchange's: whose key asks makes no difference
            await mine[0].open()
            rows = await wallets(mine[0], venue, assets)
            found += of_wallets((row.values for row in rows), f"{venue} by ccxt, now")
    finally:
        for one in (account for mine in accounts.values() for account in mine):
            await one.close()
    return found
