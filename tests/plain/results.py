"""What a strategy of the plain model made in USDT, and the limits on what it may lose."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from math import floor

from tests.plain.feeds import Feed
from tests.plain.terms import StrategyTerms
from tests.plain.venue import MONEY

DAY = 86_400 * 10**9
CURRENCY = "USDT"
Broken = tuple[str, Fraction | None, Fraction | None]


class Results:
    """Results at the end of each bundle: (time, result), the first one before everything; nothing without limits."""

    def __init__(self, terms: StrategyTerms, feeds: list[Feed]) -> None:
        self.terms, self.feeds = terms, feeds
        self.limited = terms.max_day_loss is not None or terms.max_drawdown is not None
        self.taken: list[tuple[int, Fraction]] = [(0, Fraction(0))]
        self.told: list[str] = []  # what was beyond its limit at the last look

    def broken(self, flows: dict[str, Fraction], now: int) -> Broken | None:
        """The limit that forbids another bundle: reason, what was lost, what may be."""
        if not self.limited:
            return None
        beyond = self._beyond(flows, now)
        if beyond is None:
            return "loss_unknown", None, None
        return beyond[0] if beyond else None

    def newly(self, flows: dict[str, Fraction], now: int) -> Broken | None:
        """The first limit that is broken now and was not at the last look."""
        beyond = self._beyond(flows, now) if self.limited else None
        if beyond is None:
            return None
        new, self.told = [one for one in beyond if one[0] not in self.told], [name for name, _, _ in beyond]
        return new[0] if new else None

    def _beyond(self, flows: dict[str, Fraction], now: int) -> list[Broken] | None:
        """All limits that are broken, None where nobody knows."""
        made = self.worth(flows)
        if made is None:
            return None
        peak = max(result for _, result in self.taken)
        rules = (
            ("day_loss", self._morning(now) - made, self.terms.max_day_loss),
            ("drawdown", peak - made, self.terms.max_drawdown),
        )
        return [(name, lost, bound) for name, lost, bound in rules if bound is not None and lost > bound]

    def take(self, flows: dict[str, Fraction], now: int) -> Iterator[dict[str, object]]:
        """A bundle ended: the columns of its row."""
        made = self.worth(flows) if self.limited else None
        if made is not None:
            self.taken.append((now, made))
            peak = max(result for _, result in self.taken)
            yield {"currency": CURRENCY, "pnl": made, "day_pnl": made - self._morning(now), "peak": peak}

    def _morning(self, now: int) -> Fraction:
        """The last result of an earlier day."""
        return [result for at, result in self.taken if at // DAY < now // DAY][-1]

    def worth(self, flows: dict[str, Fraction]) -> Fraction | None:
        """What amounts are worth now, against us; None where nobody knows."""
        total = Fraction(0)
        for asset, amount in flows.items():
            if asset == CURRENCY or amount == 0:
                total += amount
                continue
            prices = [
                Fraction(feed.quote.bid if amount > 0 else feed.quote.ask, feed.coin.px)
                for feed in self.feeds
                if (feed.coin.base, feed.coin.quote) == (asset, CURRENCY) and feed.tradable and feed.quote is not None
            ]
            if not prices:
                return None
            total += Fraction(floor(amount * (min(prices) if amount > 0 else max(prices)) * MONEY), MONEY)
        return total
