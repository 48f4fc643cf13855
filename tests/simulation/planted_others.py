"""Bugs that are planted in how others on an account are known, beside those of `planted`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.simulation.planted import BUGS, STRANGERS, bug
from xarb.engine.liverows import LiveRows
from xarb.engine.others import Others
from xarb.engine.portfolio import Portfolio
from xarb.live import begin
from xarb.venues.liveorders import LiveOrders

if TYPE_CHECKING:
    import pytest

__all__ = ["BUGS"]


@bug("others", faults=(STRANGERS,))
def fills_of_others_dropped(patch: pytest.MonkeyPatch) -> None:
    """What an exchange says of fills that are not ours is thrown away."""
    patch.setattr(LiveOrders, "_others_fill", lambda *_: [])


@bug("others", faults=(STRANGERS,))
def fills_of_others_taken_for_ours(patch: pytest.MonkeyPatch) -> None:
    """A fill of an order that nobody knows is one of the order that is open on its symbol."""
    real = LiveOrders._others_fill

    def guess(self: LiveOrders, trade: Any, source: str) -> Any:
        open_ = [one for one in self.open_orders() if one.expected.symbol == trade.symbol]
        return self._fill(open_[0], trade, source) if open_ else real(self, trade, source)

    patch.setattr(LiveOrders, "_others_fill", guess)


@bug("others", faults=(STRANGERS,))
def bound_of_others_ignored(patch: pytest.MonkeyPatch) -> None:
    """Others may trade on our accounts as much as they like."""
    patch.setattr(Others, "_weigh", lambda *_: None)


@bug("others", "replay", faults=(STRANGERS,))
def trading_of_others_forgotten_by_a_restart(patch: pytest.MonkeyPatch) -> None:
    """What others traded in a day adds up from nothing in each start."""
    patch.setattr(begin, "closing_foreign", lambda *_, **_named: ())


@bug("others", faults=(STRANGERS,))
def bound_of_others_kills_nothing(patch: pytest.MonkeyPatch) -> None:
    """The engine says that others trade too much, and goes on."""
    real = Others._weigh

    def weigh(self: Others, place: Any) -> None:
        real(self, place)

    patch.setattr(Others, "_weigh", weigh)


@bug("adjustments", "balances", faults=(STRANGERS,))
def fills_of_others_booked_nowhere(patch: pytest.MonkeyPatch) -> None:
    """What others' fills changed is not in our books until the exchange's balance shows it."""
    patch.setattr(Portfolio, "charge", lambda *_: None)


@bug("adjustments", "balances", faults=(STRANGERS,))
def transfers_booked_nowhere(patch: pytest.MonkeyPatch) -> None:
    """A deposit is told, and not in our books."""
    patch.setattr(LiveRows, "transfer", lambda *_: None)
