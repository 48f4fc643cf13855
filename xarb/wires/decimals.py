"""Exact decimal text to integers at an instrument's scale, quick enough for every level of every book.

A table remembers the texts it has seen: prices repeat, so most look-ups are one dictionary hit. A value finer than the scale
makes the scale grow, which the writer of the log announces with an `instruments` row; what cannot be held is refused by name and
the caller keeps its text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from xarb.model.instrument import Instrument
from xarb.model.units import INT64_MAX, MAX_SCALE, parse_decimal

REMEMBERED: Final = 1 << 16  # texts kept per table, about 8 MB; the table starts afresh when full
HEADROOM: Final = 100  # a scale grows only if a value 100 times the largest one seen still fits in int64,
FLOOR: Final = 10  # and one 100 times this many units, so that a first value cannot shut out the ordinary ones after it


class Unrepresentable(ValueError):
    """A decimal number that int64 at an allowed scale cannot hold; its text belongs into a reject."""


class ScaledTable(dict[str, int]):
    """Maps decimal text to its integer at `scale`: `table["61837.63"]` is 6183763 at scale 2.

    `scale` only grows. Growing empties the table, so an integer taken before is at the old scale: a reader of several values
    compares `scale` before and after, and reads again when it changed.

    Raises:
        ValueError: on look-up of a text that is no decimal number (NaN, infinity, empty, blanks, anything else).
        Unrepresentable: on look-up of a number that does not fit.
    """

    __slots__ = ("largest", "scale")

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.largest = 0

    def __missing__(self, text: str) -> int:
        """Parse, grow if needed, remember."""
        whole, _, fraction = text.partition(".")
        fraction = fraction.rstrip("0")
        digits = whole + fraction
        if len(fraction) <= self.scale and digits.isascii() and digits.isdigit():
            value = int(digits) * int(10 ** (self.scale - len(fraction)))
        else:
            value = self._slowly(text)
        size = abs(value)
        if size > INT64_MAX:
            raise Unrepresentable(f"{text} does not fit in 64 bits at {self.scale} decimals")
        self.largest = max(self.largest, size)
        if len(self) >= REMEMBERED:
            self.clear()
        self[text] = value
        return value

    def _slowly(self, text: str) -> int:
        digits, scale = parse_decimal(text)
        if scale > self.scale:
            if abs(digits) > INT64_MAX:
                raise Unrepresentable(f"{text} does not fit in 64 bits at {scale} decimals")
            self.grow(scale)
        return int(digits * 10 ** (self.scale - scale))

    def grow(self, scale: int) -> None:
        """Raise the scale.

        Raises:
            Unrepresentable: beyond 18 decimals, or so fine that 1,000 units, or values 100 times the largest one seen, would not fit.
        """
        if scale > MAX_SCALE:
            raise Unrepresentable(f"{scale} decimals, at most {MAX_SCALE} are held")
        if max(self.largest * 10 ** (scale - self.scale), FLOOR * 10**scale) * HEADROOM > INT64_MAX:
            raise Unrepresentable(f"{scale} decimals would leave no room for values as large as those that are usual here")
        self.largest *= 10 ** (scale - self.scale)
        self.scale = scale
        self.clear()


class Listing:
    """An instrument as its decoders see it: the instrument, and the tables for its prices and its quantities.

    All decoders of one log share one listing per instrument, so that a grown scale holds for all.
    """

    __slots__ = ("instrument", "price", "qty")

    def __init__(self, instrument: Instrument, *, px_scale: int | None = None, qty_scale: int | None = None) -> None:
        self.instrument = instrument
        self.price = ScaledTable(max(instrument.px_scale, px_scale or 0))
        self.qty = ScaledTable(max(instrument.qty_scale, qty_scale or 0))

    @property
    def key(self) -> tuple[str, str]:
        """Venue and symbol."""
        return self.instrument.venue, self.instrument.symbol

    @property
    def scales(self) -> tuple[int, int]:
        """Decimals of prices and of quantities at this moment."""
        return self.price.scale, self.qty.scale

    def levels(self, levels: Sequence[tuple[str, ...]]) -> tuple[list[int], list[int]]:
        """Prices and quantities of the levels, all at `scales` as they are on return.

        Raises:
            ValueError: a text is no decimal number.
            Unrepresentable: a number does not fit.
        """
        while True:
            before = self.price.scale, self.qty.scale
            price, qty = self.price, self.qty
            found = [price[level[0]] for level in levels], [qty[level[1]] for level in levels]
            if before == (self.price.scale, self.qty.scale):
                return found

    def quote(
        self, bid: str | None, bid_qty: str | None, ask: str | None, ask_qty: str | None
    ) -> tuple[int | None, int | None, int | None, int | None]:
        """The four numbers of a quote at `scales` as they are on return; None stays None.

        Raises:
            ValueError: a text is no decimal number.
            Unrepresentable: a number does not fit.
        """
        price, qty = self.price, self.qty
        while True:
            before = price.scale, qty.scale
            found = (
                None if bid is None else price[bid],
                None if bid_qty is None else qty[bid_qty],
                None if ask is None else price[ask],
                None if ask_qty is None else qty[ask_qty],
            )
            if before == (price.scale, qty.scale):
                return found
