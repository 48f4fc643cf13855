"""128-bit integer products and quotients for the kernel, built from 64-bit halves that never overflow."""

# No `from __future__ import annotations`: numba reads signatures of compiled functions.
import numpy as np

from xarb.engine.kernel.compiled import part
from xarb.model.units import INT64_MAX

_MASK = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_ONE = np.uint64(1)
_ZERO = np.uint64(0)
_TOP = np.uint64(63)
_LIMIT = np.uint64(INT64_MAX)


@part
def product(a, b):
    """The 128-bit product of two non-negative int64 as (high, low), both uint64."""
    x, y = np.uint64(a), np.uint64(b)
    x_low, x_high = x & _MASK, x >> _HALF
    y_low, y_high = y & _MASK, y >> _HALF
    low = x_low * y_low
    middle = x_high * y_low + (low >> _HALF)
    carry = (middle & _MASK) + x_low * y_high
    return x_high * y_high + (middle >> _HALF) + (carry >> _HALF), (low & _MASK) | (carry << _HALF)


@part
def at_least(a, b, c, d):
    """Whether a * b >= c * d, exactly, for non-negative int64."""
    left_high, left_low = product(a, b)
    right_high, right_low = product(c, d)
    return bool(left_high > right_high or (left_high == right_high and left_low >= right_low))


@part
def quotient(a, b, divisor):
    """floor(a * b / divisor) for non-negative int64 and a positive divisor; INT64_MAX where it does not fit."""
    high, low = product(a, b)
    d = np.uint64(divisor)
    if high == _ZERO:
        return np.int64(min(low // d, _LIMIT))
    top_high, top_low = d >> _ONE, d << _TOP  # divisor * 2**63
    if high > top_high or (high == top_high and low >= top_low):
        return np.int64(INT64_MAX)
    if d <= _MASK:  # two digits of 32 bits; the remainder stays below the divisor
        upper = (high << _HALF) | (low >> _HALF)
        lower = ((upper % d) << _HALF) | (low & _MASK)
        return np.int64(((upper // d) << _HALF) | (lower // d))
    rest = high
    result = _ZERO
    for _ in range(64):
        rest = (rest << _ONE) | (low >> _TOP)
        low = low << _ONE
        result = result << _ONE
        if rest >= d:
            rest = rest - d
            result = result | _ONE
    return np.int64(result)
