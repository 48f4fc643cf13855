"""128-bit arithmetic against Python's own integers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from xarb.engine.kernel.wide import at_least, product, quotient
from xarb.model.units import INT64_MAX

int64 = st.integers(0, INT64_MAX) | st.sampled_from([0, 1, 2**32 - 1, 2**32, 2**32 + 1, 2**62, INT64_MAX - 1, INT64_MAX])


@given(int64, int64)
def test_product_is_exact(a: int, b: int) -> None:
    """The two halves make up the whole product."""
    high, low = product(a, b)
    assert (int(high) << 64) + int(low) == a * b


@given(int64, int64, int64, int64)
def test_comparison_is_exact(a: int, b: int, c: int, d: int) -> None:
    """Products are compared as wide integers, equality included."""
    assert at_least(a, b, c, d) == (a * b >= c * d)
    assert at_least(a, b, b, a)


@given(int64, int64, st.integers(1, INT64_MAX))
def test_quotient_rounds_down_or_saturates(a: int, b: int, divisor: int) -> None:
    """The quotient is the floor, or INT64_MAX where it would not fit."""
    assert int(quotient(a, b, divisor)) == min(a * b // divisor, INT64_MAX)
