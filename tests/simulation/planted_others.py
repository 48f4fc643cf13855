"""Bugs that are planted in how others on an account are known, beside those of `planted`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.simulation.planted import BUGS, RIVAL, STRANGERS, bug
from xarb.engine.liverows import LiveRows
from xarb.engine.others import Others
from xarb.engine.portfolio import Portfolio
from xarb.live import begin
from xarb.venues.accountdesk import AccountDesk
from xarb.venues.accountlock import AccountLocks
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


# --- a second xarb


@bug("alone", faults=(RIVAL,))
def lock_of_an_account_ignored(patch: pytest.MonkeyPatch) -> None:
    """Any number of processes of a machine trade with one key."""
    patch.setattr(AccountLocks, "take", lambda *_: None)


@bug("alone", faults=(RIVAL,))
def rival_is_one_of_many_strangers(patch: pytest.MonkeyPatch) -> None:
    """What an order's name says of who sent it is not looked at."""
    patch.setattr(AccountDesk, "_judge", lambda *_: None)


@bug("alone", faults=(RIVAL,))
def rival_known_by_the_private_stream_alone(patch: pytest.MonkeyPatch) -> None:
    """Nobody looks for others once orders may leave."""
    patch.setattr(AccountDesk, "look_out", lambda *_: None)


@bug("others", faults=(RIVAL,))
def orders_of_a_copy_taken_up(patch: pytest.MonkeyPatch) -> None:
    """What has the name of an order of this log is one of its orders."""
    patch.setattr(LiveOrders, "_is_anothers", lambda *_: False)


@bug("others", "exposure", "inventory", faults=(RIVAL,))
def twins_are_one_order(patch: pytest.MonkeyPatch) -> None:
    """Two orders of one name are the same one, whatever ids the exchange gave them."""
    patch.setattr(LiveOrders, "_unless_twin", lambda _self, one, _id: one)


@bug("alone", faults=(RIVAL,))
def refused_order_that_fills_is_nothing_new(patch: pytest.MonkeyPatch) -> None:
    """An order that the exchange had refused, and that is there all the same, shows nobody else."""
    patch.setattr(LiveOrders, "_is_there", lambda *_: None)
