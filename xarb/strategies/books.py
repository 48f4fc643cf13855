"""What a book offers a strategy now: its side less what was asked of it already, and what a fee coin costs."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from xarb.engine.strategy import View
from xarb.model.units import Money, ceil_div
from xarb.strategies.ladder import Level
from xarb.strategies.legs import LegTerms, Rate, without

Rates = Mapping[tuple[str, str, str], int]  # by venue, fee coin and quote asset, the instrument that prices the coin


class Asked(msgspec.Struct):
    """What was asked of one side of a book since `seq` set it; quantity in base at 18 decimals."""

    seq: int
    qty: Money


class Books:
    """Asks the view.

    Args:
        rates: which instrument prices a fee coin.
        assumed: by venue, the size in base units to assume where a quote has none; a venue left out: unknown.
        max_age_ns: age beyond which a price is not counted on.
        depth: levels of a side.
    """

    def __init__(self, rates: Rates, assumed: Mapping[str, Money], *, max_age_ns: int, depth: int) -> None:
        self._rates = dict(rates)
        self.assumed = dict(assumed)
        self._max_age_ns, self._depth = max_age_ns, depth

    def rate(self, terms: LegTerms, view: View) -> Rate | None:
        """The price of a leg's fee coin in its quote asset; None while unknown, too old or not tradable."""
        number = self._rates.get(_coin_key(terms), -1)
        if number < 0 or not view.feed(number).tradable:
            return None
        one, quote = view.instruments[number], view.quote(number)
        if quote.bid is None or quote.ask is None or view.now - quote.ts > self._max_age_ns:
            return None
        return Rate(quote.bid, quote.ask, one.px_scale)

    def rate_seq(self, terms: LegTerms, view: View) -> int:
        """The row that set the price of a leg's fee coin."""
        return view.quote(self._rates[_coin_key(terms)]).bid_seq

    def levels(self, terms: LegTerms, view: View, asked: Asked | None, seq: int) -> list[Level] | None:
        """The side that a leg takes, set by row `seq`, less what was asked of it since; None where a size is unknown."""
        levels: list[Level] = []
        for price, qty in view.levels(terms.number, terms.side, self._depth):
            if qty is not None:
                levels.append((price, qty))
            elif terms.instrument.venue in self.assumed:
                levels.append((price, self.assumed[terms.instrument.venue] // terms.unit))
            else:
                return None
        if asked is not None and asked.seq == seq:
            return without(levels, ceil_div(asked.qty, terms.unit))
        return levels


def note_asked(memory: dict[int, Asked], terms: LegTerms, seq: int, qty: int) -> None:
    """A plan asks a quantity of the side that row `seq` set."""
    asked = memory.get(terms.key)
    before = asked.qty if asked is not None and asked.seq == seq else 0
    memory[terms.key] = Asked(seq, Money(before + qty * terms.unit))


def _coin_key(terms: LegTerms) -> tuple[str, str, str]:
    return terms.instrument.venue, terms.coin, terms.instrument.quote
