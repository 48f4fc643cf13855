"""What an asset is worth in a currency, for reports: the mid of an instrument of both, and how far that mid can be trusted.

Nothing here decides anything in a run: no order, no fill and no output row depends on a mark.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from xarb.console import Table, utc
from xarb.engine.rules import Market
from xarb.model.instrument import Instrument
from xarb.model.units import MONEY_ONE, MONEY_SCALE

# States of a feed by how far its last mid may be from the market, the best first: what is only below the quality floor moves with it;
# a stale or gapped one did until lately; a frozen one did not; an outlying one disagrees with its peers; a crossed one with itself.
_TRUST: Final = ("live", "stale", "gapped", "frozen", "outlying", "crossed", "down")
_BELOW_FLOOR: Final = "live, below the quality floor"


class Mark(NamedTuple):
    """Money for one unit of an asset in a currency.

    `doubt` says why it is no live mark: the state of the feed of `instrument`; empty for a tradable feed and for the currency itself.
    `ts` is when the quote was last confirmed, ns.
    """

    value: int
    instrument: str = ""
    doubt: str = ""
    ts: int = 0


class Marks:
    """Marks of spot assets over feeds, as they stand now and as they stood at the first order.

    Args:
        market: where the quotes stand.
        instruments: as the log numbers them.
        currencies: in which assets are valued, in order.
        alike: by address of a token the asset that it wraps.
    """

    def __init__(
        self, market: Market, instruments: Sequence[Instrument], currencies: Sequence[str], alike: Mapping[str, str] | None = None
    ) -> None:
        self._market, self._alike = market, dict(alike or {})
        self._currencies = tuple(currencies)
        self._pricing: dict[tuple[str, str], list[int]] = {}
        for number, one in enumerate(instruments):
            if one.kind == "spot":
                self._pricing.setdefault((one.base, one.quote), []).append(number)
        self._first: dict[tuple[str, str], Mark] | None = None

    def go_on(self, before: Marks) -> None:
        """These take the place of others, whose first ones stay."""
        self._first = before._first

    def now(self, asset: str, currency: str) -> Mark | None:
        """The mark as of the last input, None while no instrument of both has a mid.

        The instrument is the first by number among the tradable ones; without one, among those of the best state in the order of
        `_TRUST`.
        """
        asset, currency = self._alike.get(asset, asset), self._alike.get(currency, currency)
        if asset == currency:
            return Mark(MONEY_ONE)
        ranked = []
        for number in self._pricing.get((asset, currency), ()):
            quote, feed = self._market.best(number), self._market.feed(number)
            if quote.bid is not None and quote.ask is not None:
                ranked.append((not feed.tradable, _TRUST.index(feed.state), number))
        if not ranked:
            return None
        number = min(ranked)[2]
        quote, feed, one = self._market.best(number), self._market.feed(number), self._market.instrument(number)
        assert quote.bid is not None
        assert quote.ask is not None
        value = (quote.bid + quote.ask) * int(10 ** (MONEY_SCALE - one.px_scale)) // 2
        doubt = "" if feed.tradable else _BELOW_FLOOR if feed.state == "live" else feed.state
        return Mark(value, one.id, doubt, quote.ts)

    def keep_first(self, assets: Iterable[str]) -> dict[tuple[str, str], Mark]:
        """The marks of the first call, by (asset, currency); an asset without a mark then has none."""
        if self._first is None:
            pairs = [(asset, currency) for asset in sorted(assets) for currency in self._currencies]
            self._first = {pair: mark for pair in pairs if (mark := self.now(*pair)) is not None}
        return self._first

    def doubtful(self, assets: Iterable[str]) -> Table:
        """The marks, of the first order and of the end, that no tradable feed stands behind; without rows all are live."""
        last = {(asset, currency): self.now(asset, currency) for asset in sorted(assets) for currency in self._currencies}
        moments = (("first order", self._first or {}), ("end", last))
        rows = tuple(
            (when, *pair, mark.instrument, mark.doubt, utc(mark.ts))
            for when, marks in moments
            for pair, mark in marks.items()
            if mark is not None and mark.doubt
        )
        head = ("as of", "asset", "currency", "mid of", "its feed", "last confirmed")
        return Table("Marks that are not live: what is valued at them is only as good", head, rows)
