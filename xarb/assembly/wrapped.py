"""A strategy with something around its decisions."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import msgspec

    from xarb.engine.strategy import Strategy, Wakes


class Wrapped:
    """Everything of a strategy but `on_wake`, which who inherits from this adds."""

    def __init__(self, inner: Strategy) -> None:
        self._inner = inner
        self.id, self.account = inner.id, inner.account

    @property
    def state(self) -> msgspec.Struct:
        """The strategy's memory."""
        return self._inner.state

    def wakes(self) -> Wakes:
        """What wakes it."""
        return self._inner.wakes()
