"""Any interleaving of reports through the real engine: money, reservations, bounds, ends, and batches cut anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.defaults import execution_policy, risk_limits, strategy_terms
from tests.engine.desk import HOUR, Desk, money
from tests.engine.scripted import Said, Tick, Venue, rows_of
from tests.engine.table import instrument
from xarb.engine.strategy import Plan
from xarb.model.instrument import FeeTier
from xarb.model.units import MONEY_ONE, NANOS_PER_MS, Ppb

FEE_PPB = 1_000_000
OPENING = 2_000
BOUND = money(7)

EVENTS = st.sampled_from(
    ["accepted", "fill", "fill", "fill", "again", "canceled", "rejected", "expired", "unknown", "not_sent", "sent"]
)
SAID = st.builds(Said, st.integers(0, 400), EVENTS, st.integers(1, 5))
HONEST = st.builds(
    Said, st.integers(0, 400), st.sampled_from(["accepted", "fill", "fill", "again", "unknown", "sent"]), st.integers(1, 5)
)
SCRIPTS = st.lists(st.lists(SAID, max_size=5), min_size=1, max_size=5)
CANCELS = st.lists(st.lists(SAID, max_size=2), max_size=3)
TICKS = st.lists(st.builds(Tick, st.integers(0, 300), st.integers(0, 1), st.integers(97, 103)), min_size=1, max_size=25)
SEQUENCES = st.sampled_from(["simultaneous", "hard_leg_first"])
ASSETS = st.sampled_from(["quote", "BNB", "base"])


def busy(names: Sequence[str], sequence: str, asset: str = "quote") -> Desk:
    """Strategies that plan a bundle on every event, on one account, with a bound on what they may come to hold."""
    limits = risk_limits(latency_threshold_ns=HOUR, max_exposure={"BTC": BOUND}, max_open_bundles=3)
    policy = execution_policy(
        timeout_ns=300 * NANOS_PER_MS, hedge_cap_ppb=Ppb(20_000_000), unwind_cap_ppb=Ppb(20_000_000), retry_ns=100 * NANOS_PER_MS
    )
    budget = {"USD": money(900), "BTC": money(8)}
    made = [instrument("a"), instrument("b")]
    made += [instrument(letter, base="BNB", symbol="BNB/USD") for letter in "ab"]
    opening = {("main", venue, name): money(OPENING) for venue in "ab" for name in ("BTC", "USD", "BNB")}
    desk = Desk(
        "abcd",
        instruments=made,
        groups=[[0, 1], [2, 3]],
        rates={("a", "BNB", "USD"): 2, ("b", "BNB", "USD"): 3},
        terms={name: strategy_terms(limits=limits, execution=policy, budget=budget) for name in names},
        fee=FeeTier(maker_ppb=Ppb(0), taker_ppb=Ppb(FEE_PPB), asset=asset),
        opening=opening,
    )
    sold = 4 if asset == "base" else 5

    def plan() -> Plan:
        return desk.plan("buy a 103 5", f"sell b 97 {sold}", sequence=sequence)

    for told in desk.told.values():
        told.always = plan
    return desk


PLACES = [("main", venue, asset) for venue in "ab" for asset in ("BTC", "USD", "BNB")]


LIAR = [Said(225, "accepted"), Said(71, "not_sent"), Said(166, "canceled"), Said(268, "fill"), Said(358, "unknown")]
"""Every order is said not to have been sent and fills all the same: each fill, hedged, makes the next residual, for ever."""


@settings(deadline=None)
@given(scripts=SCRIPTS, cancels=CANCELS, ticks=TICKS, sequence=SEQUENCES, asset=ASSETS)
@example(
    scripts=[LIAR],
    cancels=[[Said(102, "not_sent"), Said(206, "fill", 3)]] * 2,
    ticks=[Tick(225, 0, 101), Tick(220, 0, 102), Tick(243, 1, 97)],
    sequence="simultaneous",
    asset="quote",
)
def test_money_follows_unique_fills(scripts: Any, cancels: Any, ticks: Any, sequence: str, asset: str) -> None:
    """Balances are opening plus unique fills less fees, nothing stays reserved, every bundle ends, and holdings are what is left."""
    desk = busy("st", sequence, asset)
    venue = Venue(desk, scripts, cancels, (asset, FEE_PPB))
    venue.run(ticks)
    venue.finish()
    portfolio = desk.engine.portfolio
    rows = rows_of(desk)
    for place in PLACES:
        expected = OPENING + venue.expected.get(place[1:], Fraction(0))
        assert Fraction(portfolio.balance(place), MONEY_ONE) == expected
        deltas = [row[8] for row in rows if row[0] == "ledger" and row[6:8] == place[1:]]
        assert Fraction(sum(deltas), MONEY_ONE) == expected - OPENING
        assert portfolio.reserved(place) == 0
    for name in desk.told:
        assert desk.engine.execution.open_bundles(name) == 0
        held = sum(holding.qty for (coin, _), holding in portfolio.holdings(name).items() if coin == "BTC")
        assert held == portfolio.flows(name).get("BTC", 0)
        for coin in ("USD", "BTC"):
            left = portfolio.free_of_budget(name, coin)
            assert left == portfolio.flows(name).get(coin, 0) + desk.engine.setup.terms[name].budget[coin]


@settings(deadline=None)
@given(
    scripts=st.lists(st.lists(HONEST, max_size=5), min_size=1, max_size=5),
    finals=st.lists(st.sampled_from(["canceled", "rejected", "expired"]), min_size=1, max_size=3),
    ticks=TICKS,
    sequence=SEQUENCES,
    asset=st.sampled_from(["quote", "BNB"]),
)
def test_no_bound_is_passed_at_any_instant(scripts: Any, finals: list[str], ticks: Any, sequence: str, asset: str) -> None:
    """While venues fill only what lives, exposure, budgets and free balances stay within bounds whenever the engine stops.

    UNKNOWN orders count at worst. A fee's last digit is not reserved: one of 1e18 parts a fill.
    """
    desk = busy("st", sequence, asset)
    ended = [[*script, Said(50, finals[at % len(finals)])] for at, script in enumerate(scripts)]
    venue = Venue(desk, ended, [[]], (asset, FEE_PPB))
    engine = desk.engine

    def check() -> None:
        digit = len(venue.last_fill) * 5
        for place in PLACES:
            assert engine.portfolio.reserved(place) >= 0
            assert engine.portfolio.free_of_account(place) >= -digit
        for name in desk.told:
            low, high = engine.execution.exposure(name, "BTC")
            assert -BOUND <= low <= high <= BOUND
            for coin in ("USD", "BTC"):
                left = engine.portfolio.free_of_budget(name, coin)
                assert left is None or left >= -digit

    venue.run(ticks, check=check)
    venue.finish(check)
    assert not venue.late


@settings(deadline=None)
@given(scripts=SCRIPTS, cancels=CANCELS, ticks=TICKS, sequence=SEQUENCES, cuts=st.lists(st.integers(0, 25), max_size=8))
def test_batches_cut_anywhere_change_nothing(scripts: Any, cancels: Any, ticks: Any, sequence: str, cuts: list[int]) -> None:
    """Orders in flight, deadlines and reports across a cut give the rows of no cut."""
    found = []
    for where in ((), cuts):
        desk = busy("st", sequence)
        rows_of(desk)
        venue = Venue(desk, scripts, cancels, ("quote", FEE_PPB))
        venue.run(ticks, where)
        found.append(rows_of(desk))
    assert found[0] == found[1]
