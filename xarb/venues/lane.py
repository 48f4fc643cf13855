"""What is the same for every order of one account on one side of one instrument, worked out once, and the checks that rest on it."""

from __future__ import annotations

from collections import deque

from xarb.engine.kernel.book import ASK, BID
from xarb.model.instrument import Instrument
from xarb.model.units import MONEY_SCALE, NANOS_PER_S
from xarb.venues.accounts import Fees, Purse
from xarb.venues.terms import VenueModel


class Member:
    """One account at one venue.

    Args:
        venue: the venue's number.
        model: what the venue is assumed to be.
        purse: the account's money there.
    """

    __slots__ = ("_arrivals", "_limit", "_outages", "consumption", "max_resting", "purse", "venue")

    def __init__(self, venue: int, model: VenueModel, purse: Purse) -> None:
        self.venue = venue
        self.purse = purse
        self.consumption = int(model.consumption)
        self.max_resting = model.max_resting
        self._outages = model.outages
        self._limit = model.rate_limit
        self._arrivals: deque[int] = deque(maxlen=None if self._limit is None else self._limit + 1)  # the latest ones, ns

    @property
    def arrivals(self) -> list[int]:
        """The latest arrivals, as far as the rate limit asks for them."""
        return [*self._arrivals]

    def restore(self, arrivals: list[int]) -> None:
        """Take over arrivals."""
        self._arrivals.extend(arrivals)

    def is_out(self, arrival: int) -> bool:
        """Whether the venue refuses commands at that time."""
        return any(outage.from_ts <= arrival < outage.to_ts for outage in self._outages)

    def turned_away(self, arrival: int) -> str | None:
        """Why an order is refused whatever it says: `outage` or `rate_limit`; else None. Arrivals never go back."""
        if self._outages and self.is_out(arrival):
            return "outage"
        limit = self._limit
        if limit is None:
            return None
        arrivals = self._arrivals
        arrivals.append(arrival)
        return "rate_limit" if len(arrivals) > limit and arrivals[0] > arrival - NANOS_PER_S else None


class Lane:
    """One account on one side of one instrument, for as long as the instrument stays what it is.

    Args:
        member: the account at the instrument's venue.
        instrument: as it is known now.
        fees: how the account is charged; None where nothing says so, which refuses every order.
        rate: number of the instrument that prices a third fee coin, -1 without one.

    buy: the side; `opposite` is the side of the book from which such orders take, `own` the one where they rest.
    """

    __slots__ = ("_lot", "_min_notional", "_min_qty", "_tick", "_untradable", "buy", "fees", "member", "opposite", "own", "rate")

    def __init__(self, member: Member, instrument: Instrument, fees: Fees | None, *, buy: bool, rate: int) -> None:
        self.member = member
        self.buy = buy
        self.opposite, self.own = (ASK, BID) if buy else (BID, ASK)
        self.rate = rate
        self._lot = instrument.lot_int or 1
        self._tick = instrument.tick_int or 1
        self._untradable = instrument.untradable_because()
        if fees is None:
            self._untradable = self._untradable or "fee_unknown"
        else:
            self.fees: Fees = fees
        self._min_qty = _at_scale(instrument.min_qty, instrument.qty_scale)
        self._min_notional = _at_scale(instrument.min_notional, instrument.scale)

    def refusal(self, price: int, qty: int) -> str | None:
        """The first thing in the instrument, its steps and its minima that forbids an order, or None."""
        if self._untradable is not None:
            return self._untradable
        if price <= 0:
            return "price"
        if qty <= 0:
            return "qty"
        if price % self._tick:
            return "tick"
        if qty % self._lot:
            return "lot"
        if qty < self._min_qty:
            return "min_qty"
        return "min_notional" if price * qty < self._min_notional else None


def _at_scale(money: int | None, scale: int) -> int:
    """The least number at `scale` that is worth `money`; 0 for none, and at a scale that money cannot hold (nothing trades there)."""
    if money is None or scale > MONEY_SCALE:
        return 0
    unit: int = 10 ** (MONEY_SCALE - scale)
    return -(-money // unit)


__all__ = ["Lane", "Member"]
