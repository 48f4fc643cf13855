"""Money is conserved exactly, against a naive model of fractions."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from tests.defaults import risk_limits, strategy_terms
from tests.engine.desk import Desk, money
from xarb.model.units import MONEY_ONE, NEVER, Money

FILLS = st.lists(
    st.tuples(
        st.integers(1, 6),  # order
        st.integers(1, 10**9),  # price
        st.integers(1, 10**9),  # quantity
        st.integers(0, 4),  # fill id: repeats are duplicates
        st.integers(-(10**20), 10**20),  # fee, a rebate below zero
        st.sampled_from(["BTC", "USD", "BNB"]),
    ),
    max_size=30,
)


@given(fills=FILLS)
def test_balances_equal_a_naive_model(fills: list[tuple[int, int, int, int, int, str]]) -> None:
    """For any fills, duplicates, fee coins and sides, balances, ledger, flows and the model agree to the last digit."""
    desk = Desk(terms={"s": strategy_terms(limits=risk_limits(latency_threshold_ns=NEVER, max_open_bundles=9))})
    for _ in range(3):
        desk.tell("buy a 101 5", "sell b 100 5")
    naive = {(v, asset): Fraction(1_000_000) for v in "ab" for asset in ("BTC", "USD")} | {(v, "BNB"): Fraction(0) for v in "ab"}
    seen = []
    for order, price, qty, ident, fee, coin in fills:
        desk.report(order, "fill", price_int=price, qty_int=qty, fill_id=str(ident), fee=Money(fee), fee_asset=coin)
        if (order, ident) in seen:
            continue
        seen.append((order, ident))
        venue, sign = ("a", 1) if order % 2 else ("b", -1)
        naive[venue, "BTC"] += sign * qty
        naive[venue, "USD"] -= sign * Fraction(price) * qty
        naive[venue, coin] -= Fraction(fee, MONEY_ONE)
    for (venue, asset), amount in naive.items():
        assert Fraction(desk.engine.portfolio.balance(("main", venue, asset)), MONEY_ONE) == amount
        rows = [row for row in desk.drained("ledger") if (row["venue"], row["asset"]) == (venue, asset)]
        assert sum(Fraction(row["delta"], MONEY_ONE) for row in rows) == amount
        assert not rows or Fraction(rows[-1]["balance"], MONEY_ONE) == amount
    for asset, flow in desk.engine.portfolio.flows("s").items():
        start = 0 if asset == "BNB" else 2_000_000
        assert Fraction(flow, MONEY_ONE) == naive["a", asset] + naive["b", asset] - start


def test_opening_rows_follow_the_first_input() -> None:
    """One opening row per balance, in order, right after the first input."""
    rows = [row for row in Desk().drained("ledger") if row["cause"] == "opening"]
    assert [(row["venue"], row["asset"], row["after_seq"]) for row in rows] == [
        ("a", "BTC", 0),
        ("a", "USD", 0),
        ("b", "BTC", 0),
        ("b", "USD", 0),
    ]


def test_trading_result_stands_apart_from_revaluation() -> None:
    """A price that doubles revalues the opening inventory; trading earned only what the fills earned."""
    desk = Desk()
    desk.tell("buy a 101 5", "sell b 100 5")
    desk.fill(1, 101, 5)
    desk.fill(2, 110, 5, fee=1)
    value = desk.engine.portfolio.value("main", {"BTC": money(200), "USD": money(1)}, {"BTC": money(100), "USD": money(1)})
    assert value.trading == 44 * MONEY_ONE
    assert value.revaluation == 2_000_000 * 100 * MONEY_ONE
    assert value.equity == value.opening + value.trading


def test_reserved_money_is_not_free() -> None:
    """A partial fill releases its part, the end of the order the rest."""
    desk = Desk()
    place = ("main", "b", "BTC")
    desk.tell("buy a 101 5", "sell b 100 5")
    assert desk.engine.portfolio.free_of_account(place) == (1_000_000 - 5) * MONEY_ONE
    desk.fill(2, 100, 2)
    assert desk.engine.portfolio.reserved(place) == 3 * MONEY_ONE
    desk.report(2, "expired")
    assert desk.engine.portfolio.reserved(place) == 0
    assert desk.engine.portfolio.free_of_account(place) == (1_000_000 - 2) * MONEY_ONE
