"""One step of a swap: the published cases of SwapMath, and what must hold of any."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pools.made import encoded
from xarb.pools.steps import Step, amount0_between, amount1_between, price_after_input, price_after_output, step_in, step_out
from xarb.pools.ticks import MAX_SQRT_PRICE, MIN_SQRT_PRICE

ONE = 10**18
HALF_WAY = 20282409603651670423947251286016


@pytest.mark.parametrize(
    ("step", "price", "target", "liquidity", "amount", "fee", "wanted"),
    [
        (step_in, encoded(1, 1), encoded(101, 100), 2 * ONE, ONE, 600, (9975124224178055, 9925619580021728, 5988667735148)),
        (step_out, encoded(1, 1), encoded(101, 100), 2 * ONE, ONE, 600, (9975124224178055, 9925619580021728, 5988667735148)),
        (step_in, encoded(1, 1), encoded(1000, 100), 2 * ONE, ONE, 600, (999400000000000000, 666399946655997866, 600000000000000)),
        (step_out, encoded(1, 1), encoded(10000, 100), 2 * ONE, ONE, 600, (2 * ONE, ONE, 1200720432259356)),
    ],
)
def test_published_cases(
    step: object, price: int, target: int, liquidity: int, amount: int, fee: int, wanted: tuple[int, int, int]
) -> None:
    """Input and output, capped at the target and not."""
    assert callable(step)
    assert step(price, target, liquidity, amount, fee)[1:] == wanted


def test_published_corners() -> None:
    """An output capped at what was asked, a price of 1, an input that is all fee, and too little liquidity on either side."""
    at = 417332158212080721273783715441582
    assert step_out(at, 1452870262520218020823638996, 159344665391607089467575320103, 1, 1) == Step(at - 1, 1, 1, 1)
    assert step_in(2, 1, 1, 3915081100057732413702495386755767, 1) == Step(
        1, 39614081257132168796771975168, 0, 39614120871253040049813
    )
    assert step_in(2413, 79887613182836312, 1985041575832132834610021537970, 10, 1872) == Step(2413, 0, 0, 10)
    up, down = HALF_WAY * 11 // 10, HALF_WAY * 9 // 10
    assert step_out(HALF_WAY, up, 1024, 4, 3000) == Step(up, 26215, 0, 79)
    assert step_out(HALF_WAY, down, 1024, 263000, 3000) == Step(down, 1, 26214, 1)


def test_a_product_over_256_bits_rounds_as_the_contract_does() -> None:
    """There the contract divides twice, which gives another price than the exact quotient."""
    price, liquidity, amount = (1 << 150) + 12345, (1 << 60) + 7, 1 << 120
    numerator = liquidity << 96
    twice = -(-numerator // (numerator // price + amount))
    assert price_after_input(price, liquidity, amount, zero_for_one=True) == twice
    once = -(-numerator * price // (numerator + amount * price))
    assert price_after_input(1 << 96, liquidity, 10, zero_for_one=True) == -(-numerator * (1 << 96) // (numerator + (10 << 96)))
    assert abs(twice - once) <= 1
    assert price_after_input(1, 1, 1 << 255, zero_for_one=True) == 1


def test_more_than_a_range_has_is_an_error() -> None:
    """As the contract reverts."""
    for zero_for_one in (True, False):
        with pytest.raises(ValueError, match="more than the range has"):
            price_after_output(HALF_WAY, 1024, 10**9, zero_for_one=zero_for_one)


@given(
    price=st.integers(MIN_SQRT_PRICE, MAX_SQRT_PRICE - 1),
    target=st.integers(MIN_SQRT_PRICE, MAX_SQRT_PRICE - 1),
    liquidity=st.integers(1, (1 << 128) - 1),
    amount=st.integers(1, (1 << 200) - 1),
    fee=st.integers(1, 999_999),
)
def test_what_holds_of_every_step(price: int, target: int, liquidity: int, amount: int, fee: int) -> None:
    """The price stops at the target at most; an input that does not reach it is spent whole; no unit more goes out than asked."""
    for step, is_out in ((step_in, False), (step_out, True)):
        after, amount_in, amount_out, charged = step(price, target, liquidity, amount, fee)
        if is_out:
            assert amount_out <= amount
        else:
            assert amount_in + charged <= amount
        if not is_out:
            between = amount0_between(target, price, liquidity, up=True) if target <= price else None
            whole = amount1_between(price, target, liquidity, up=True) if between is None else between
            assert (after == target) == (amount * (1_000_000 - fee) // 1_000_000 >= whole)
        if after != target:
            assert (amount_out == amount) if is_out else (amount_in + charged == amount)
        if target <= price:
            assert target <= after <= price
        else:
            assert price <= after <= target
