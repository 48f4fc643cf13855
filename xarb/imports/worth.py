"""What a contract is worth: an instrument's `contract_size` against files that state what their trades are worth."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from xarb.errors import ConfigError
from xarb.model.units import MONEY_ONE, parse_decimal

if TYPE_CHECKING:
    from xarb.model.instrument import Instrument


def is_worth(name: str, instrument: Instrument, trade: tuple[str, str, str], column: str) -> bool:
    """Whether a trade shows that its instrument's `contract_size` is right; false where it can show nothing.

    Args:
        name: the file, for the error.
        instrument: of which the trade is.
        trade: price, size in contracts and the value that the file states, in coins of an inverse contract, else in the quote currency.
        column: that states it, for the error.

    Raises:
        ConfigError: the two differ by more than one per cent: every size would be worth something else than here.
        ValueError: a text is no number.
    """
    size = instrument.contract_size
    price, contracts, stated = (_fraction(text) for text in trade)
    if size is None or stated <= 0 or price <= 0 or contracts <= 0:  # rounded away, or flagged later
        return False
    expected = contracts * size / MONEY_ONE * (1 / price if instrument.contract == "inverse" else price)
    if abs(stated - expected) * 100 > expected:
        raise ConfigError(
            f"{name}: {trade[1]} contracts at {trade[0]} are worth {trade[2]} by {column}, {float(expected):.8g} by the contract_size "
            f"of {instrument.symbol}, which is {Fraction(size, MONEY_ONE)}; state the right one in an instruments file"
        )
    return True


def _fraction(text: str) -> Fraction:
    digits, scale = parse_decimal(text)
    return Fraction(digits, 10**scale)
