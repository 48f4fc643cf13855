"""Where the money comes from: what each way is expected to leave, which is taken, and every reason for which one is not."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xarb.pools.financing import PPM, WAD, WAYS, WISHES, Financing, GasPrice, GasUse, Loan, Need, Purse, Way, financing

POOLS = ("0x" + "a1" * 20, "0x" + "b2" * 20)
VAULT, LENDER, OTHER = "0x" + "c3" * 20, "0x" + "d4" * 20, "0x" + "e5" * 20
GWEI = 10**9
GAS: dict[Way, GasUse] = {
    "callback": GasUse(two_hops=165_000, hop=60_000, tick=25_000, revert=20_000),
    "wallet": GasUse(two_hops=165_000, hop=60_000, tick=25_000, revert=20_000),
    "balancer": GasUse(two_hops=205_000, hop=60_000, tick=25_000, revert=20_000),
    "flash": GasUse(two_hops=215_000, hop=60_000, tick=25_000, revert=20_000),
    "aave": GasUse(two_hops=300_000, hop=60_000, tick=25_000, revert=45_000),
}
NEED = Need(
    amount=50 * 10**18, profit=10**18, pools=POOLS, ticks=0, is_atomic=True, success_ppm=900_000, slip_ppm=100_000, min_net=1
)
LOANS = (
    Loan(way="balancer", lender=VAULT, premium_wad=0, available=500 * 10**18),
    Loan(way="aave", lender=LENDER, premium_wad=5 * 10**14, available=10**24),
    Loan(way="flash", lender=OTHER, premium_wad=5 * 10**14, available=100 * 10**18),
)
PURSE = Purse(balance=60 * 10**18, loans=LOANS)
PRICE = GasPrice(base_fee_wei=20 * GWEI, tip_wei=GWEI, cap_wei=100 * GWEI, worth=(1, 1), pays_reverts=True)


def chosen(wish: Any = "auto", *, need: Need = NEED, purse: Purse = PURSE, price: GasPrice = PRICE) -> Financing:
    """With the usual gas."""
    return financing(wish, need, purse, price=price, gas=GAS)


def why(found: Financing) -> dict[str, str]:
    """Reason by way."""
    return {one.way: one.reason for one in found.refused}


def test_what_is_expected_of_each_way() -> None:
    """By hand: 0.9 of what is kept, less 21 gwei for each gas, less a tenth of what a revert costs more."""
    for wish, way, premium, gas, revert in (
        ("callback", "callback", 0, 165_000, 20_000),
        ("wallet", "wallet", 0, 165_000, 20_000),
        ("flashloan", "balancer", 0, 205_000, 20_000),
    ):
        taken = chosen(wish).taken
        assert taken is not None
        assert (taken.way, taken.premium, taken.gas, taken.gas_cost) == (way, premium, gas, gas * 21 * GWEI)
        assert taken.net == 9 * 10**17 - gas * 21 * GWEI - revert * 21 * GWEI // 10
        assert taken.min_profit == 9 * 10**17


def test_the_cheapest_loan_is_not_a_fixed_one() -> None:
    """Balancer while its vault has enough; then the pool that lends with less gas for the same premium; then the deep lender."""
    loans = {}
    for amount in (50, 90, 5_000):
        need = msgspec.structs.replace(NEED, amount=amount * 10**18, profit=100 * 10**18)
        price = msgspec.structs.replace(PRICE, base_fee_wei=50 * GWEI)
        purse = msgspec.structs.replace(PURSE, loans=(msgspec.structs.replace(LOANS[0], available=60 * 10**18), *LOANS[1:]))
        taken = chosen("flashloan", need=need, purse=purse, price=price).taken
        loans[amount] = taken and (taken.way, taken.lender, taken.premium)
    assert loans == {
        50: ("balancer", VAULT, 0),
        90: ("flash", OTHER, 45 * 10**15),
        5_000: ("aave", LENDER, 25 * 10**17),
    }


def test_a_dear_premium_loses_against_gas_and_a_dear_gas_against_a_premium() -> None:
    """Two pools lend, one for 0.01 %; and Aave without premium still loses where gas is worth more than that."""
    cheap = Loan(way="flash", lender="0x" + "f6" * 20, premium_wad=10**14, available=10**24)
    free = Loan(way="aave", lender=LENDER, premium_wad=0, available=10**24)
    purse = Purse(balance=0, loans=(*LOANS[2:], cheap, free))
    for base, lender in ((GWEI, free.lender), (90 * GWEI, cheap.lender)):
        taken = chosen("flashloan", purse=purse, price=msgspec.structs.replace(PRICE, base_fee_wei=base)).taken
        assert taken is not None
        assert taken.lender == lender


@pytest.mark.parametrize(
    ("change", "reasons"),
    [
        ({"is_atomic": False}, {"callback": "not_atomic", "balancer": "not_atomic", "flash": "not_atomic", "aave": "not_atomic"}),
        ({"amount": 60 * 10**18 + 1}, {"wallet": "balance"}),
        ({"amount": 501 * 10**18}, {"wallet": "balance", "balancer": "lender_depth", "flash": "lender_depth"}),
        ({"pools": (POOLS[0], OTHER)}, {"flash": "lender_in_cycle"}),
        ({"profit": 35 * 10**14}, dict.fromkeys(WAYS, "unprofitable")),
        ({"min_net": 10**18}, dict.fromkeys(WAYS, "unprofitable")),
    ],
)
def test_needs_that_a_way_does_not_meet(change: dict[str, Any], reasons: dict[str, str]) -> None:
    """Each refused by its name; the others stay."""
    found = chosen(need=msgspec.structs.replace(NEED, **change))
    assert why(found) == reasons
    assert (found.taken is None) == (set(reasons) == set(WAYS))


def test_what_the_chain_did_not_say_is_not_guessed() -> None:
    """No premium, no depth, nobody who lends, no measured gas."""
    unsaid = (
        msgspec.structs.replace(LOANS[0], premium_wad=None),
        msgspec.structs.replace(LOANS[1], available=None),
    )
    assert why(chosen("flashloan", purse=Purse(balance=0, loans=unsaid))) == {
        "balancer": "premium_unknown",
        "aave": "depth_unknown",
        "flash": "no_lender",
    }
    found = financing("auto", NEED, PURSE, price=PRICE, gas={})
    assert (found.taken, why(found)) == (None, dict.fromkeys(WAYS, "gas_unknown"))
    capped = chosen(price=msgspec.structs.replace(PRICE, cap_wei=21 * GWEI - 1))
    assert (capped.taken, why(capped)) == (None, dict.fromkeys(WAYS, "fee_cap"))
    assert chosen(price=msgspec.structs.replace(PRICE, cap_wei=21 * GWEI)).taken is not None


def test_refusals_say_what_was_found_and_what_it_would_have_to_be() -> None:
    """Of the balance, of the lender, and of what is expected."""
    found = chosen(need=msgspec.structs.replace(NEED, amount=501 * 10**18, profit=10**15))
    told = {(one.way, one.reason): (one.value, one.bound) for one in found.refused}
    assert told["wallet", "balance"] == (60 * 10**18, 501 * 10**18)
    assert told["balancer", "lender_depth"] == (500 * 10**18, 501 * 10**18)
    net, bound = told["callback", "unprofitable"]
    assert (net, bound) == (9 * 10**14 - 165_000 * 21 * GWEI - 20_000 * 21 * GWEI // 10, 1)


def test_a_flash_loan_only_where_all_is_one_transaction() -> None:
    """A leg elsewhere: the wallet's own money, or nothing."""
    need = msgspec.structs.replace(NEED, is_atomic=False)
    found = chosen(need=need)
    assert found.taken is not None
    assert found.taken.way == "wallet"
    assert chosen("flashloan", need=need).taken is None
    assert chosen("callback", need=need).taken is None


def test_where_reverts_are_left_out_they_cost_nothing() -> None:
    """A relay: gas on success alone, and the contract insists on it, since a failure is free there."""
    price = msgspec.structs.replace(PRICE, pays_reverts=False)
    gas_cost = 165_000 * 21 * GWEI
    taken = chosen("callback", price=price).taken
    assert taken is not None
    assert taken.net == 9 * (10**18 - gas_cost) // 10
    need = msgspec.structs.replace(NEED, slip_ppm=PPM)
    insists = chosen("callback", need=need, price=price).taken, chosen("callback", need=need).taken
    assert [one and one.min_profit for one in insists] == [gas_cost, 0]


amounts = st.integers(1, 10**24)


@given(
    amount=amounts,
    profit=st.integers(-(10**20), 10**20),
    success=st.integers(0, PPM),
    premiums=st.tuples(*[st.integers(0, 10**16)] * 3),
    base=st.integers(0, 200 * GWEI),
    worth=st.tuples(st.integers(1, 10**6), st.integers(1, 10**6)),
    hops=st.integers(2, 4),
    ticks=st.integers(0, 5),
    pays=st.booleans(),
)
def test_auto_is_the_best_of_all_and_never_better_than_exact(
    *,
    amount: int,
    profit: int,
    success: int,
    premiums: tuple[int, int, int],
    base: int,
    worth: tuple[int, int],
    hops: int,
    ticks: int,
    pays: bool,
) -> None:
    """Against the formula in fractions: never above it, less than four units below it, and no wish finds more than `auto`."""
    need = Need(
        amount=amount,
        profit=profit,
        pools=tuple(f"0x{n:040x}" for n in range(hops)),
        ticks=ticks,
        is_atomic=True,
        success_ppm=success,
        slip_ppm=0,
        min_net=-(10**40),
    )
    loans = tuple(
        msgspec.structs.replace(loan, premium_wad=premium, available=10**30) for loan, premium in zip(LOANS, premiums, strict=True)
    )
    purse = Purse(balance=10**30, loans=loans)
    price = GasPrice(base_fee_wei=base, tip_wei=GWEI, cap_wei=10**30, worth=worth, pays_reverts=pays)
    by_wish = {wish: chosen(wish, need=need, purse=purse, price=price).taken for wish in WISHES}
    best = by_wish["auto"]
    assert best is not None
    likely, unit = Fraction(success, PPM), Fraction((base + GWEI) * worth[0], worth[1])
    exact = []
    for way in WAYS:
        premium = next((Fraction(amount * loan.premium_wad, WAD) for loan in loans if loan.way == way), Fraction(0))  # type: ignore[operator]  # set above
        gas = unit * GAS[way].of(hops, ticks)
        if pays:
            exact.append(likely * (profit - premium) - gas - (1 - likely) * unit * GAS[way].more_of_revert(hops))
        else:
            exact.append(likely * (profit - premium - gas))
    assert max(exact) - 4 < best.net <= max(exact)
    assert best.net == max(one.net for one in by_wish.values() if one is not None)
