"""What to do with what a bundle left unbalanced: complete it, undo it, or hold it.

A residual is completed on the leg that fell short (hedge), where the market still trades within the hedge cap beyond that leg's limit, or the
leg that went too far is undone (unwind) within the unwind cap beyond its own limit; the policy says which comes first. Orders go out with
the cap as their limit: an IOC fills at the book's prices. With a step the first tries go less far and wait for the market to come back,
which costs time. An order is no larger than the account and the budget can pay for, and than `max_exposure` allows whatever else still fills.
What is too small for every venue is dust, whatever the policy.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from xarb.engine.breaker import KEY_REFUSED
from xarb.engine.bundle import Bundle, Leg, OrderPlan
from xarb.engine.desk import Desk
from xarb.engine.risk import Risk, Working
from xarb.engine.rules import Market, Refusal
from xarb.engine.side import Side, capped_price, turned_over
from xarb.model.order import LEG_OPEN

_TOO_SMALL: Final = ("bad_qty", "min_qty", "min_notional")


class Step(NamedTuple):
    """`order` to send; without one the residual is dust (no refusals) or must be held, for the reasons in `refusals`."""

    order: OrderPlan | None
    refusals: tuple[Refusal, ...] = ()


class Flattening:
    """Chooses the next order for a residual; `working` says what of a strategy may still fill."""

    def __init__(self, market: Market, risk: Risk, working: Working) -> None:
        self._market = market
        self._risk = risk
        self._working = working

    def next_step(self, bundle: Bundle, asset: str, given_up: str | None, only: str | None) -> Step:
        """The next order for the bundle's residual of `asset`.

        Args:
            bundle: whose.
            asset: which of its assets.
            given_up: the reason for which there is to be none.
            only: the one purpose that is left, after a kill; None: both. Of a swap's hedge every order is one that undoes.
        """
        policy = bundle.desk.policy
        residual = bundle.flows[asset]
        refusals: list[Refusal] = []
        tries: list[tuple[str, int, Side, int]] = []  # purpose, leg, side, cap
        for at, leg in enumerate(bundle.legs):
            bundle.follow(at)
            if leg.state in LEG_OPEN:  # a second order would be one intent sent twice
                continue
            sign = _sign_for(leg, asset, residual, bundle)
            if sign == leg.sign:
                tries.append(("hedge", at, leg.side, policy.hedge_cap_ppb))
            elif sign != 0:
                tries.append(("unwind", at, bundle.desk.side(leg.instrument, sign), policy.unwind_cap_ppb))
        if bundle.swap is None:  # what undoes a swap is its hedge
            tries = [one for one in tries if only in (None, one[0])]
        tries.sort(key=_by_leg)
        tries.sort(key=_by_purpose, reverse=policy.residual == "reverse")
        attempt = bundle.attempts.get(asset, 0) + 1
        reach = attempt * policy.cap_step_ppb
        for purpose, at, side, cap in tries:
            found = self._try(bundle, at, side, (asset, min(cap, reach) if reach else cap))
            if isinstance(found, Refusal) and found.reason in _TOO_SMALL:
                continue
            if given_up is not None:
                return Step(None, (Refusal(given_up, side.number),))
            if isinstance(found, Refusal):
                refusals.append(found)
            elif attempt > policy.max_attempts:
                return Step(None, (Refusal("max_attempts", side.number),))
            else:
                price, qty = found
                return Step(OrderPlan(at, attempt, purpose, side, price, qty))
        return Step(None, tuple(refusals))

    def _try(self, bundle: Bundle, at: int, side: Side, how: tuple[str, int]) -> tuple[int, int] | Refusal:
        """Price and quantity of an order for a leg, or why there is none; `how` are the asset and how far it may go."""
        leg, (asset, cap_ppb) = bundle.legs[at], how
        if side.untradable is not None:
            return side.untradable
        if self._risk.breakers.refuses(side.names):
            return Refusal(KEY_REFUSED, side.number)
        price = capped_price(side, leg.price, cap_ppb)
        qty = turned_over(side, price, (asset, abs(bundle.flows[asset])))
        small = side.check_steps(price, qty)
        if small is not None:
            return small
        if self._market.confirmed(side.number) is None:
            return Refusal("feed_not_tradable", side.number)
        best = self._market.best(side.number)
        shown = best.ask if side.sign > 0 else best.bid
        if shown is None or (shown > price if side.sign > 0 else shown < price):
            name = "hedge_cap" if side is leg.side else "unwind_cap"
            return Refusal(name, side.number, None if shown is None else shown * side.px_unit, price * side.px_unit)
        return self._allowed(bundle.desk, side, price, qty)

    def _allowed(self, desk: Desk, side: Side, price: int, wanted: int) -> tuple[int, int] | Refusal:
        """The order cut down to what the account and the strategy's budget can pay for, and to what its exposure may be."""
        hold = self._risk.hold(side, price, wanted)
        if hold is None:
            return Refusal("fee_rate_unknown", side.number)
        qty = wanted
        short: Refusal | None = None
        for till, amount in hold:
            for reason, free in (("balance", till.pot.balance - till.pot.reserved), ("budget", till.share.left)):
                if free is not None and amount > free:
                    qty = min(qty, max(0, wanted * free // amount // side.lot * side.lot))  # a fee's last digit may be rounded up
                    short = Refusal(reason, side.number, amount, free)
        if desk.limits.max_exposure:
            most, beyond = self._risk.within_exposure(desk, (side, price, wanted), self._working(desk))
            if most < qty:
                qty, short = most, beyond
        if short is not None and side.check_steps(price, qty) is not None:
            return short
        return price, qty


def _sign_for(leg: Leg, asset: str, residual: int, bundle: Bundle) -> int:
    """+1 or -1 when an order on the leg's instrument shrinks the residual, 0 when it does not trade the asset as it should."""
    if leg.side.base == asset:
        return -1 if residual > 0 else 1
    converts = bundle.cycle or leg.side.base != bundle.legs[0].side.base
    if converts and leg.side.quote == asset:
        return 1 if residual > 0 else -1
    return 0


def _by_leg(wanted: tuple[str, int, Side, int]) -> int:
    return wanted[1]


def _by_purpose(wanted: tuple[str, int, Side, int]) -> str:
    return wanted[0]
