"""An exchange refuses the key while orders are under way: what it was to hedge is canceled elsewhere, and what filled there is undone there."""

from __future__ import annotations

import pytest

from tests.defaults import execution_policy, strategy_terms
from tests.engine.desk import FEE, Desk, Told, money
from tests.engine.hedges import COST, HedgeDesk
from tests.engine.test_onchain import out
from xarb.engine.breaker import KEY_REFUSALS
from xarb.model.command import CancelCycle
from xarb.model.instrument import FeeTier
from xarb.model.units import Ppb

KEY = "authentication_error"
GOOD = ("buy a 101 5", "sell b 100 5")


def desk(letters: str = "ab", **policy: object) -> Desk:
    """A desk that may pay 200 bps to undo."""
    policy = {"unwind_cap_ppb": Ppb(20_000_000)} | policy
    return Desk(letters, terms={"s": strategy_terms(execution=execution_policy(**policy))})


@pytest.mark.parametrize("event", ["rejected", "not_sent"])
@pytest.mark.parametrize("reason", sorted(KEY_REFUSALS))
def test_the_other_leg_is_canceled_at_once(event: str, reason: str) -> None:
    """While it lives, and once; another refusal cancels nothing."""
    at = desk()
    at.tell(*GOOD)
    at.report(2, "accepted")
    assert at.report(1, event, reason=reason) == ["cancel 2"]
    at = desk()
    at.tell(*GOOD)
    at.report(2, "accepted")
    assert at.report(1, event, reason="invalid_order") == []


def test_what_is_hedged_or_lives_elsewhere_is_left_alone() -> None:
    """Of other bundles: one whose leg there has filled is completed, one whose leg there may fill yet goes on, one without a leg there too."""
    at = desk("abc")
    at.tell(*GOOD)
    at.fill(1, 101, 5)
    at.tell("buy a 101 6", "sell c 100 6")
    at.tell("buy b 101 7", "sell c 100 7")
    at.tell("buy a 101 8", "sell b 100 8")
    assert at.report(7, "rejected", reason=KEY) == ["cancel 8"]


def test_a_cancel_is_asked_for_once_and_of_that_account_alone() -> None:
    """Each order at the exchange is refused, each with the same key; another account has a key of its own."""
    terms = {name: strategy_terms(execution=execution_policy()) for name in ("s", "t")}
    places = [(account, number) for account in ("main", "other") for number in (0, 1)]
    rich = {(account, "ab"[number], asset): money(10_000) for account, number in places for asset in ("BTC", "USD")}
    other = Told("t", 2, account="other")
    at = Desk(terms=terms, real=[other], fees=dict.fromkeys(places, FeeTier(maker_ppb=FEE, taker_ppb=FEE)), opening=rich)
    other.plans.append(at.plan("sell b 100 5", "buy a 101 5", sequence="hard_leg_first"))
    assert at.quote(0) == ["open 1 sell b 100 5"]
    at.tell(*GOOD)
    at.tell(*GOOD)
    assert at.report(2, "rejected", reason=KEY) == ["cancel 3"]
    assert at.report(4, "rejected", reason=KEY) == ["cancel 5"]


def test_a_hard_leg_whose_hedge_would_be_refused_is_canceled() -> None:
    """It was sent alone; what it fills meanwhile releases nothing to that exchange, and is undone where it is."""
    at = desk("abc")
    at.tell("sell b 100 5", "buy a 101 5", sequence="hard_leg_first")
    at.tell("buy a 101 3", "sell c 100 3")
    at.report(3, "expired")
    assert at.report(2, "rejected", reason=KEY) == ["cancel 1"]
    assert at.fill(1, 100, 2) == []
    assert at.report(1, "canceled") == ["unwind 4 buy b 102 2"]


def test_what_filled_is_undone_where_it_is_and_never_sent_to_that_exchange() -> None:
    """To complete it would come first; a cancel of what undoes is not asked for when the key is refused once more."""
    at = desk("abc")
    at.tell("buy a 101 3", "sell c 100 3")
    at.tell(*GOOD)
    at.fill(4, 100, 5)
    assert at.report(3, "rejected", reason=KEY) == ["unwind 5 buy b 102 5"]
    assert at.report(1, "rejected", reason=KEY) == ["cancel 2"]
    at.fill(5, 101, 5)
    assert at.bundle.state == "closed"


def test_what_can_only_be_undone_there_is_held() -> None:
    """Nothing is sent there in vain: it waits for its tries, with the refusal, and is inventory then."""
    at = desk(max_attempts=2)
    at.tell(*GOOD)
    at.fill(1, 101, 2)
    assert at.report(1, "rejected", reason=KEY) == ["cancel 2"]
    at.report(2, "canceled")
    at.quote(1, 99, 100)
    assert at.engine.execution.orders == 3, "to complete it at b, which takes orders"
    at = desk(max_attempts=2, hedge_cap_ppb=0)
    at.tell(*GOOD)
    at.fill(1, 101, 2)
    at.quote(1, 98, 99)
    at.report(1, "rejected", reason=KEY)
    at.report(2, "canceled")
    at.quote(0, ts=at.now + 60 * 10**9)
    refused = {row["reason"] for row in at.drained("refusals")}
    assert refused == {"hedge_cap", "key_refused"}
    assert (at.bundle.state, at.engine.execution.orders) == ("held", 2)


def test_a_key_that_is_refused_is_told_beside_a_residual_that_was_held() -> None:
    """Both wait for a person, and the one says more: nothing can be undone there."""
    at = desk(max_attempts=1, hedge_cap_ppb=0, unwind_cap_ppb=0)
    at.tell("buy a 101 6", "sell b 100 6")
    at.tell(*GOOD)
    at.fill(3, 101, 5)
    at.quote(1, 98, 99)
    at.report(4, "expired")
    at.quote(0, ts=at.now + 10**9)
    at.report(1, "rejected", reason=KEY)
    at.report(2, "rejected", reason="permission_denied")
    told = [(row["venue"], row["reason"], row["until"]) for row in at.drained("breakers")]
    assert told == [
        ("a", "residual_held", None),
        ("b", "residual_held", None),
        ("a", "key_refused", None),
        ("b", "key_refused", None),
    ]


def test_a_swap_whose_hedge_is_refused_is_given_up_once() -> None:
    """By its own hedge or by another's; no hedge follows a receipt that comes all the same, but of what another exchange may undo."""
    at = HedgeDesk().ready()
    at.plan_now(at.buy(), at.buy(sequence="simultaneous"))
    out(at, 1, "0xt1")
    out(at, 2, "0xt2")
    for _ in range(2):
        at.report(3, "rejected", reason=KEY)
        assert [one.order for one in at.sent if isinstance(one, CancelCycle)] == [1, 2]
    at.swapped(COST, 10**18, tx="0xt1")
    at.swapped(COST, 10**18, tx="0xt2")
    assert len(at.orders) == 1
    assert {row["reason"] for row in at.of("refusals")} == {"key_refused"}
