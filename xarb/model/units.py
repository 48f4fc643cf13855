"""Exact numbers: scaled integers for prices, quantities, money and ratios.

A price or quantity is an integer at its instrument's decimal scale: 61837.63 at scale 2 is 6183763. Money (notional, fees,
balances) is an integer at 18 decimals. Ratios (fees, edges, limits) are integers in parts per billion: 1 bps is 100,000 ppb.
No float takes part.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NewType

from xarb.errors import ConfigError

Nanos = NewType("Nanos", int)
PriceInt = NewType("PriceInt", int)
QtyInt = NewType("QtyInt", int)
Money = NewType("Money", int)
Ppb = NewType("Ppb", int)

NULL: Final = -(2**63)  # INT64_MIN stands for null inside the kernel; on disk null is a real Parquet null
INT64_MAX: Final = 2**63 - 1
NEVER: Final = INT64_MAX  # a time that does not come
PPB: Final = 10**9
PPB_PER_BPS: Final = 100_000
MONEY_SCALE: Final = 18
MONEY_ONE: Final = 10**MONEY_SCALE
NANOS_PER_MS: Final = 1_000_000
NANOS_PER_S: Final = 1_000_000_000
MAX_SCALE: Final = 18
WIDE_MIN: Final = -(2**255)  # int256 and uint256 of a chain, both
WIDE_MAX: Final = 2**256 - 1

_WIDE: Final = re.compile(r"(?:0|-?[1-9][0-9]{0,77})\Z")
_LONG: Final = len(str(WIDE_MIN)) - 1  # shorter ones are in range
_DECIMAL: Final = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]{1,3}))?\Z")


def parse_decimal(text: str) -> tuple[int, int]:
    """The exact value of a decimal text as (digits, scale), with trailing zeros of the fraction removed.

    `"61837.6300"` gives `(6183763, 2)`, `"1e-12"` gives `(1, 12)`, `"-0.0"` gives `(0, 0)`. The scale is never negative.

    Raises:
        ValueError: empty text, NaN, infinities, hexadecimal, blanks or anything else that is no decimal number.
    """
    found = _DECIMAL.match(text)
    if found is None or not (found[2] or found[3]):
        raise ValueError(f"not a decimal number: {text!r}")
    sign, whole, fraction, exponent = found[1], found[2], found[3] or "", int(found[4] or 0)
    digits, scale = int((whole + fraction) or "0"), len(fraction) - exponent
    if scale < 0:
        digits, scale = digits * 10**-scale, 0
    while scale > 0 and digits % 10 == 0:
        digits, scale = digits // 10, scale - 1
    return (-digits if sign == "-" else digits), scale


def to_scale(digits: int, scale: int, target: int) -> int:
    """`digits` at `scale` expressed at `target`, which must hold it exactly.

    Raises:
        ValueError: the value has more decimals than `target`.
    """
    if target >= scale:
        finer: int = digits * 10 ** (target - scale)
        return finer
    coarser: int = 10 ** (scale - target)
    value, rest = divmod(digits, coarser)
    if rest:
        raise ValueError(f"{format_decimal(digits, scale)} needs {scale} decimals, {target} are allowed")
    return value


def parse_money(text: str) -> Money:
    """A decimal text as money (an integer at 18 decimals).

    Raises:
        ValueError: not a decimal number, or finer than 18 decimals.
    """
    return Money(to_scale(*parse_decimal(text), MONEY_SCALE))


def parse_ratio(text: str) -> Ppb:
    """A decimal ratio such as `"0.001"` (0.1 %) in parts per billion.

    Raises:
        ValueError: not a decimal number, or finer than one part per billion.
    """
    return Ppb(to_scale(*parse_decimal(text), 9))


def parse_bps(text: str) -> Ppb:
    """A number of basis points such as `"7.5"` in parts per billion.

    Raises:
        ValueError: not a decimal number, or finer than 0.00001 bps.
    """
    return Ppb(to_scale(*parse_decimal(text), 5))


def format_decimal(digits: int, scale: int) -> str:
    """The plain decimal text of `digits` at `scale`, without trailing zeros or an exponent."""
    sign, digits = ("-" if digits < 0 else ""), abs(digits)
    whole, fraction = divmod(digits, 10**scale)
    tail = f"{fraction:0{scale}d}".rstrip("0") if scale else ""
    return f"{sign}{whole}.{tail}" if tail else f"{sign}{whole}"


def notional(price_int: int, qty_int: int, scale: int) -> Money:
    """Price times quantity as money; `scale` is px_scale + qty_scale and at most 18 for an instrument that is traded.

    Raises:
        ConfigError: the scales add up to more than 18 decimals, so that the product would have to be rounded.
    """
    if scale > MONEY_SCALE:
        raise ConfigError(f"px_scale + qty_scale is {scale}; an instrument above {MONEY_SCALE} is recorded, not traded")
    return Money(price_int * qty_int * 10 ** (MONEY_SCALE - scale))


def fee_of(value: Money, ratio_ppb: int) -> Money:
    """The fee on `value` at `ratio_ppb`, rounded up at 18 decimals (against us; a rebate rounds toward less)."""
    return Money(-(-value * ratio_ppb // PPB))


def ceil_div(numerator: int, denominator: int) -> int:
    """Integer division rounded up; `denominator` is positive."""
    return -(-numerator // denominator)


def wide_text(value: int) -> str:
    """A chain's integer as logs keep it: its decimal text.

    Raises:
        OverflowError: 256 bits do not hold it.
    """
    if not WIDE_MIN <= value <= WIDE_MAX:
        raise OverflowError(f"{value} is no integer of 256 bits")
    return str(value)


def check_wide(values: Sequence[str | Sequence[str] | None]) -> None:
    """Refuse what is no chain's integer in the one form that it has: no sign but of a negative one, no leading zeros. Lists too.

    Raises:
        ValueError: there is one.
        TypeError: it is no text.
    """
    for value in values:
        if isinstance(value, str):
            if not _WIDE.match(value) or (len(value) > _LONG and not WIDE_MIN <= int(value) <= WIDE_MAX):
                raise ValueError(f"{value!r} is no integer of 256 bits")
        elif value is not None:
            if None in value:
                raise ValueError("an absent integer in a list")
            check_wide(value)
