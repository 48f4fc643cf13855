"""The engine as one strategy sees it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from xarb.engine.strategy import FeedView, Strategy
from xarb.model.instrument import FeeTier, Instrument
from xarb.model.units import Money

if TYPE_CHECKING:
    from xarb.engine.engine import Engine


class StrategyView:
    """The engine as one strategy sees it: its own account, bundles and episodes."""

    def __init__(self, engine: Engine, strategy: Strategy, number: int) -> None:
        self._market = engine.market
        self._portfolio, self._fees = engine.portfolio, engine.setup.fees
        self._strategy = strategy
        self._free = engine.execution.free
        self.entry = partial(engine.execution.entry, strategy)
        self.instrument = engine.market.instrument
        self.instruments: Sequence[Instrument] = engine.instruments
        self.quote = engine.market.best
        self.levels = engine.market.levels
        self._chains = engine.chains
        self.pool, self.block, self.decimals = engine.chains.pool, engine.chains.block, engine.chains.decimals
        self.loans = engine.chains.loans
        self.open_bundles = partial(engine.execution.open_bundles, strategy.id)
        self.edges = partial(engine.episodes.open_edges, number)

    @property
    def now(self) -> int:
        """Engine time, ns."""
        return self._market.now

    def feed(self, instrument: int) -> FeedView:
        """State of its feed."""
        chains = self._chains
        return chains.feed(instrument) if chains.is_pool(instrument) else self._market.feed(instrument)

    def fee(self, instrument: int) -> FeeTier:
        """Fee tier of this strategy's account there."""
        return self._fees[self._strategy.account, instrument]

    def free(self, venue: str, asset: str) -> Money:
        """Free balance of this strategy's account within its budget."""
        return Money(self._free(self._strategy, venue, asset))

    def balance(self, venue: str, asset: str) -> Money:
        """Balance of this strategy's account, reserved part included."""
        return Money(self._portfolio.balance((self._strategy.account, venue, asset)))
