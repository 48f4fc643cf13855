"""What trading has gained so far, by currency, for people who look on: what was gained since the start, today, and lost since the peak."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from xarb.model.units import MONEY_ONE, NANOS_PER_S

_DAY_NS: Final = 86_400 * NANOS_PER_S


class Course:
    """Follows the changes that orders made, and values them at the last prices.

    The price of an asset is the mid of its last quote in the currency, whichever venue it came from, else that of our last fill. All
    money is int at 18 decimals. A sum is unknown while an asset that changed has no price.

    Attributes:
        flows: change by asset since the start.
        drawdown: by currency, how far the gain lies below its peak, as of the last look; of one in which it is unknown there is none.

    Args:
        bounded: currencies whose peak is followed beside those in which it is stated.
    """

    def __init__(self, bounded: Sequence[str] = ()) -> None:
        self.flows: dict[str, int] = {}
        self.drawdown: dict[str, int] = {}
        self._bounded = tuple(bounded)
        self._stated: tuple[str, ...] = ()
        self._traded: dict[str, None] = {}  # quote assets of fills, in order
        self._prices: dict[tuple[str, str], int] = {}
        self._is_quoted: set[tuple[str, str]] = set()
        self._today: dict[str, int] = {}
        self._day = 0
        self._changed = 0  # when a change was last taken, ns
        self._peak: dict[str, int] = {}

    def begin(self, currencies: tuple[str, ...]) -> None:
        """A start begins; what the day brought goes on. Without currencies it is stated in the quote assets of our fills."""
        self._stated = currencies
        self.flows, self.drawdown, self._peak = {}, {}, {}

    @property
    def currencies(self) -> tuple[str, ...]:
        """Those in which it is stated."""
        return self._stated or tuple(self._traded)

    def price(self, base: str, quote: str, value: int) -> None:
        """A mid, money in `quote` for one unit of `base`."""
        self._prices[base, quote] = value
        self._is_quoted.add((base, quote))

    def fill(self, base: str, quote: str, value: int) -> None:
        """The price of a fill of ours."""
        self._traded[quote] = None
        if (base, quote) not in self._is_quoted:
            self._prices[base, quote] = value

    def change(self, ts: int, asset: str, delta: int) -> None:
        """A trade or a fee at `ts` ns changed a balance; all changes of one moment belong together."""
        if ts != self._changed:
            self._follow()
            self._changed = ts
        self._turn(ts)
        self.flows[asset] = self.flows.get(asset, 0) + delta
        self._today[asset] = self._today.get(asset, 0) + delta

    def _turn(self, ts: int) -> None:
        if ts // _DAY_NS != self._day:
            self._day = ts // _DAY_NS
            self._today = {}

    def look(self, ts: int) -> None:
        """Note the peak, as of `ts` ns."""
        self._turn(ts)
        self._follow()

    def _follow(self) -> None:
        self.drawdown = {}
        for currency in dict.fromkeys((*self.currencies, *self._bounded)):
            gained = self.gained(currency)
            if gained is not None:
                self._peak[currency] = max(self._peak.get(currency, 0), gained)
                self.drawdown[currency] = self._peak[currency] - gained

    def gained(self, currency: str) -> int | None:
        """What orders gained since the start."""
        return self._worth(self.flows, currency)

    def gained_today(self, currency: str) -> int | None:
        """What orders gained since midnight UTC, over all starts."""
        return self._worth(self._today, currency)

    def _worth(self, flows: Mapping[str, int], currency: str) -> int | None:
        total = 0
        for asset, change in flows.items():
            price = MONEY_ONE if asset == currency else self._prices.get((asset, currency))
            if price is None and change:
                return None
            total += change * (price or 0) // MONEY_ONE
        return total
