"""A strategy with something around its decisions."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import msgspec

    from xarb.engine.strategy import Plan, Strategy, View, Wake, Wakes


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


class Off(Wrapped):
    """A strategy that begins nothing any more. What it began comes to its end, and its opportunities are followed still."""

    def on_wake(self, wake: Wake, view: View) -> Sequence[Plan]:
        """Nothing, whatever happens."""
        del wake, view
        return ()
