"""Numbers as CSV has them."""

from __future__ import annotations

from decimal import Decimal


def plain(value: Decimal) -> str:
    """A decimal without exponent and trailing zeros."""
    found = format(value, "f")
    found = found.rstrip("0").rstrip(".") if "." in found else found
    return "0" if found in {"-0", ""} else found
