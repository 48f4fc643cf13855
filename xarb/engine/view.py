"""The engine as one strategy sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from xarb.engine.strategy import Edge, Strategy
from xarb.model.instrument import FeeTier, Instrument
from xarb.model.units import Money

if TYPE_CHECKING:
    from xarb.engine.engine import Engine


class StrategyView:
    """The engine as one strategy sees it: its own account, bundles and episodes."""

    def __init__(self, engine: Engine, strategy: Strategy, number: int) -> None:
        self._engine = engine
        self._strategy = strategy
        self._number = number
        self.instrument = engine.instrument
        self.quote = engine.best
        self.levels = engine.levels
        self.feed = engine.feed

    @property
    def now(self) -> int:
        """Engine time, ns."""
        return self._engine.now

    @property
    def instruments(self) -> Sequence[Instrument]:
        """Instruments by number."""
        return self._engine.instruments

    def fee(self, instrument: int) -> FeeTier:
        """Fee tier of this strategy's account there."""
        return self._engine.fee(self._strategy.account, instrument)

    def free(self, venue: str, asset: str) -> Money:
        """Free balance of this strategy's account within its budget."""
        return Money(self._engine.execution.free(self._strategy, venue, asset))

    def open_bundles(self) -> int:
        """Open bundles of this strategy."""
        return self._engine.execution.open_bundles(self._strategy.id)

    def edges(self) -> list[Edge]:
        """Open episodes of this strategy, in pair order."""
        return self._engine.open_edges(self._number)
