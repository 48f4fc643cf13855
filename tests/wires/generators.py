"""Hypothesis generators of decimal texts as venues write them."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import strategies as st

PLAIN = st.builds(
    lambda digits, scale, zeros: f"{Decimal((0, tuple(map(int, str(digits))), -scale)):f}" + ("0" * zeros if scale else ""),
    st.integers(0, 10**12),
    st.integers(0, 6),
    st.integers(0, 6),
)
EXPONENT = st.builds(lambda digits, exponent: f"{digits}e{exponent}", st.integers(0, 10**6), st.integers(-6, 3))
NUMBERS = st.one_of(PLAIN, EXPONENT, PLAIN.map(lambda text: "-" + text))
NO_NUMBERS = st.sampled_from(
    [
        "",
        " ",
        "NaN",
        "nan",
        "inf",
        "-inf",
        "Infinity",
        "1,5",
        "1 ",
        " 1",
        "0x10",
        "1_000",
        "--1",
        "1e",
        "e5",
        ".",
        "1.2.3",
        "١",
        "½",
        "1\n",
        "null",
    ]
)
