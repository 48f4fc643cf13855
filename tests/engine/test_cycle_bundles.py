"""Bundles whose legs form a cycle: what is one, what it must turn over, and what flattens one that was filled in part."""

from __future__ import annotations

from typing import Any

import pytest

from tests.defaults import execution_policy, risk_limits, strategy_terms
from tests.engine.desk import HOUR, Desk
from tests.engine.table import instrument
from xarb.engine.captured import BundleCopy
from xarb.model.instrument import FeeTier
from xarb.model.units import MONEY_ONE, Ppb

FREE = FeeTier(maker_ppb=Ppb(0), taker_ppb=Ppb(0))
PROVEN = {(venue, asset): asset for venue in "abcd" for asset in ("BTC", "ETH", "SOL", "USD")}
# 1,000 USD buy 10 BTC, those 5 ETH, and those bring 1,050 USD.
ROUND = ("buy a 100 10", "buy b 2 5", "sell c 210 5")
QUOTES = {"a": (99, 100), "b": (1, 2), "c": (210, 211), "d": (40, 41)}


def cycle(*, fee: FeeTier = FREE, identities: dict[tuple[str, str], str] | None = None, **policy: Any) -> Desk:
    """A desk with BTC/USD on a, ETH/BTC on b, ETH/USD on c and SOL/ETH on d."""
    made = [
        instrument("a"),
        instrument("b", base="ETH", quote="BTC", symbol="ETH/BTC"),
        instrument("c", base="ETH", symbol="ETH/USD"),
        instrument("d", base="SOL", quote="ETH", symbol="SOL/ETH"),
    ]
    terms = strategy_terms(limits=risk_limits(latency_threshold_ns=HOUR), execution=execution_policy(**policy))
    known = PROVEN if identities is None else identities
    desk = Desk("abcd", instruments=made, groups=[], fee=fee, identities=known, terms={"s": terms})
    for number, letter in enumerate("abcd"):
        desk.quote(number, *QUOTES[letter])
    return desk


def tell(desk: Desk, *legs: str, **plan: Any) -> list[str]:
    """As `Desk.tell`, with the quote of the first instrument as it was."""
    desk.told["s"].plans.append(desk.plan(*legs, **plan))
    return desk.quote(0, *QUOTES["a"])


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (2, 1, 0)])
def test_three_legs_that_go_round_are_sent(order: tuple[int, ...]) -> None:
    """In whatever order they are stated."""
    desk = cycle()
    assert len(tell(desk, *(ROUND[at] for at in order))) == 3
    assert (desk.bundle.cycle, desk.bundle.flat) == (True, ("BTC", "ETH"))


@pytest.mark.parametrize(
    ("legs", "reason"),
    [
        (("buy a 100 10", "buy b 2 5", "buy c 211 5"), "mixed_currency"),  # two legs spend USD
        (("buy a 100 10", "buy b 2 5", "sell d 40 5"), "mixed_currency"),  # it does not come back to USD
        (("buy a 100 10", "buy b 2 5"), "mixed_currency"),
        (("sell a 99 10", "sell b 1 5", "sell c 210 5"), "mixed_currency"),
        (("buy a 100 10", "buy b 2 3", "sell c 210 3"), "unbalanced"),  # 4 BTC left, twice what one ETH more costs
        (("buy a 100 10", "buy b 2 6", "sell c 210 6"), "unbalanced"),  # 2 BTC missing
        (("buy a 100 10", "buy b 2 5", "sell c 210 4"), "unbalanced"),
        (("buy a 100 10", "buy b 2 5", "sell c 210 6"), "unbalanced"),
        (("buy a 100 14", "buy b 2 5", "sell c 210 5"), "unbalanced"),
    ],
)
def test_what_is_no_ring(legs: tuple[str, ...], reason: str) -> None:
    """Legs that do not go round, or do not turn over what the ones before bring, are refused by name."""
    assert tell(cycle(), *legs) == [f"refuse {reason}"]


def test_less_than_a_lot_may_be_left() -> None:
    """A sale may leave less than its lot, a purchase less than two lots cost at its limit."""
    assert len(tell(cycle(), "buy a 100 13", "buy b 2 5", "sell c 210 5")) == 3


def test_names_on_two_venues_must_be_proven_to_mean_the_same() -> None:
    """A name without proof, or two meanings of it, refuse the cycle; which leg is named is the one that spends the asset."""
    for venue, asset in PROVEN:
        if (venue, asset) in {("a", "BTC"), ("b", "BTC"), ("b", "ETH"), ("c", "ETH"), ("a", "USD"), ("c", "USD")}:
            without = {key: value for key, value in PROVEN.items() if key != (venue, asset)}
            assert tell(cycle(identities=without), *ROUND) == ["refuse identity_unproven"]
            assert tell(cycle(identities=PROVEN | {(venue, asset): "another"}), *ROUND) == ["refuse identity_unproven"]


def test_one_venue_needs_no_proof() -> None:
    """What a venue calls by one name is one thing."""
    made = [
        instrument("a"),
        instrument("a", base="ETH", quote="BTC", symbol="ETH/BTC"),
        instrument("a", base="ETH", symbol="ETH/USD"),
    ]
    desk = Desk("abc", instruments=made, groups=[], fee=FREE)
    for number, letter in enumerate("abc"):
        desk.quote(number, *QUOTES[letter])
    assert len(tell(desk, *ROUND)) == 3


def test_fees_in_what_is_received_count() -> None:
    """Ten of a hundred are a fee: of 1,000 BTC bought 900 can be spent on."""
    fee = FeeTier(maker_ppb=Ppb(10**8), taker_ppb=Ppb(10**8), asset="received")
    assert len(tell(cycle(fee=fee), "buy a 100 1000", "buy b 2 450", "sell c 210 405")) == 3
    for legs in (("buy b 2 451", "sell c 210 405"), ("buy b 2 448", "sell c 210 403"), ("buy b 2 450", "sell c 210 404")):
        assert tell(cycle(fee=fee), "buy a 100 1000", *legs) == ["refuse unbalanced"]


def test_a_leg_that_fell_short_is_completed() -> None:
    """The leg between two filled ones: one order brings both assets to zero."""
    desk = cycle()
    tell(desk, *ROUND)
    desk.fill(1, 100, 10)
    desk.fill(3, 210, 5)
    assert desk.report(2, "expired") == ["hedge 4 buy b 2 5"]
    assert desk.fill(4, 2, 5) == []
    assert (desk.bundle.state, desk.bundle.flows["USD"]) == ("closed", 50 * MONEY_ONE)


def test_a_ring_that_began_is_gone_round_or_back() -> None:
    """With the first leg alone filled the second and then the third are completed; undone first where the policy says so."""
    desk = cycle()
    tell(desk, *ROUND)
    desk.fill(1, 100, 10)
    desk.report(2, "expired")
    assert desk.report(3, "expired") == ["hedge 4 buy b 2 5"]
    assert desk.fill(4, 2, 5) == ["hedge 5 sell c 210 5"]
    desk.fill(5, 210, 5)
    assert desk.bundle.state == "closed"
    back = cycle(residual="reverse", unwind_cap_ppb=10_000_000)
    tell(back, *ROUND)
    back.fill(1, 100, 10)
    back.report(2, "expired")
    assert back.report(3, "expired") == ["unwind 4 sell a 99 10"]


def test_a_ring_stays_one_in_a_copy() -> None:
    """Also where an older copy does not say so."""
    desk = cycle()
    tell(desk, *ROUND)
    copy = desk.bundle.capture()
    assert copy.cycle
    assert not BundleCopy(**{name: getattr(copy, name) for name in copy.__struct_fields__ if name != "cycle"}).cycle
