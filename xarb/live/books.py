"""What a log says that accounts hold, between two starts: the ledger's end, and what was told since of fills and transfers.

Where an exchange has other money, the next start opens with what the log says, and its account tells the difference behind it: it is booked
or stops new bundles, as one that is found while trading.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from xarb.engine.discrepancy import DISCREPANCY, REFUSED, Discrepancy, fill_changes, is_complete, read_discrepancy
from xarb.engine.liverows import transfer_name, transferred
from xarb.engine.portfolio import ADJUSTMENT, Place
from xarb.log.reader import LogReader, Selection
from xarb.model.instrument import Instrument
from xarb.model.units import Money, parse_money
from xarb.starts import Span, closing_balances

_FILL: Final = "fill"


class Books:
    """What accounts should have by a log.

    Args:
        closing: balances at the end of the last start.
        others: what others' orders had locked when it opened; never part of balances.
        transfers: by name, what deposits and withdrawals changed by then.
        markets: by venue and symbol.
    """

    def __init__(
        self,
        closing: Mapping[Place, int],
        others: Mapping[Place, int],
        *,
        transfers: Mapping[str, int],
        markets: Mapping[tuple[str, str], Instrument],
    ) -> None:
        self._balances, self._others = dict(closing), others
        self._transfers, self._markets = dict(transfers), markets
        self._fills = set[tuple[str, str, str, str]]()
        self._known = {place[:2] for place in closing}

    def know(self, fills: Iterable[tuple[str, str, str, str]]) -> None:
        """Fills (account, venue, symbol, fill id) that are counted already, whoever lists them again."""
        self._fills.update(fills)

    def take(self, kind: str, values: Mapping[str, Any]) -> None:
        """A row that came since: of `reports` or `transfers`, or one that moves no money."""
        if kind == "transfers":
            self._transfer(values)
        elif kind == "reports" and values["event"] == _FILL:
            self._fill(values)

    def _transfer(self, values: Mapping[str, Any]) -> None:
        name, amount = transfer_name(values), transferred(values)
        self._add((values["account"], values["venue"], values["asset"]), amount - self._transfers.get(name, 0))
        self._transfers[name] = amount

    def _fill(self, values: Mapping[str, Any]) -> None:
        key = (values["account"], values["venue"], values["symbol"], values["fill_id"])
        market = self._markets.get(key[1:3])
        if key in self._fills or market is None or values.get("side") is None or not is_complete(values):
            return  # counted, or nobody can say what it changed: the difference shows
        self._fills.add(key)
        for asset, change in fill_changes(values, market, 1 if values["side"] == "buy" else -1).items():
            self._add((*key[:2], asset), change)

    def _add(self, place: Place, change: int) -> None:
        self._balances[place] = self._balances.get(place, 0) + change

    def totals(self, account: str, venue: str) -> dict[str, int]:
        """What an account should have at a venue by asset, free and locked, others' locks at the last opening included."""
        places = [place for place in sorted({*self._balances, *self._others}) if place[:2] == (account, venue)]
        return {place[2]: self._balances.get(place, 0) + self._others.get(place, 0) for place in places}

    def unexplained(self, free: Mapping[Place, int], locked: Mapping[Place, int]) -> dict[Place, int]:
        """What exchanges have more (negative: less) than the log says, where that is not zero; accounts that it does not know are left out.

        Args:
            free: what they say is free, now that no order of the log is open.
            locked: and what others' orders hold.
        """
        found = {}
        for place in sorted({*free, *locked, *self._balances}):
            should = self._balances.get(place, 0) + self._others.get(place, 0)
            more = free.get(place, 0) + locked.get(place, 0) - should
            if more and place[:2] in self._known:
                found[place] = more
        return found


def books_of(reader: LogReader, span: Span, instruments: Sequence[Instrument]) -> Books:
    """The books of a log that is not written, whose last start is `span`, of an account that is real.

    Raises:
        LogError: a file was changed, or an act cannot be read.
    """
    closing: dict[Place, int] = {**closing_balances(reader, span)}
    others = others_of(span)
    for one in _standing(reader, span, closing, others):  # who took the kill back has accepted it
        closing[one.place] = closing.get(one.place, 0) + one.difference
    moves = list(reader.rows("transfers"))
    transfers = {transfer_name(row): transferred(row) for row in moves if row["seq"] <= span.last}
    markets = {(one.venue, one.symbol): one for one in instruments}
    books = Books(closing, others, transfers=transfers, markets=markets)
    for kind, rows in (("transfers", moves), ("reports", reader.rows("reports", select=Selection(first_seq=span.last + 1)))):
        for row in rows:
            if row["seq"] > span.last:
                books.take(kind, row)
    return books


def _standing(reader: LogReader, span: Span, closing: Mapping[Place, int], others: Mapping[Place, int]) -> list[Discrepancy]:
    """Differences that were refused and are there still: not those behind which the exchange told what the ledger ends with."""
    found = refused(reader, span)
    if not found:
        return []
    told: dict[Place, int] = {}
    for row in reader.rows("balances", select=span.selection):
        told[row["account"], row["venue"], row["asset"]] = row["free"] + row["locked"]
    return [one for place, one in found.items() if told.get(place) != closing.get(place, 0) + others.get(place, 0)]


def others_of(span: Span) -> dict[Place, int]:
    """What others' orders had locked when a start opened."""
    return {(account, venue, asset): parse_money(text) for account, venue, asset, text in span.start.opening.others}


def refused(reader: LogReader, span: Span) -> dict[Place, Discrepancy]:
    """The differences that the engine of a start refused to book and did not book later, by account, venue and asset.

    One that it passed over, since a fill overtook it or nothing priced it just then, takes no earlier one back.

    Raises:
        LogError: a file was changed, or an act cannot be read.
    """
    found: dict[Place, Discrepancy] = {}
    for row in reader.rows("operator", select=span.selection):
        if row["action"] == DISCREPANCY and span.first <= row["seq"] <= span.last:
            one = read_discrepancy(row["seq"], row["detail"])
            select = Selection(first_seq=row["seq"], last_seq=row["seq"])
            for kind, output in reader.outputs(kinds=("refusals", "ledger"), select=select):
                if kind == "refusals" and output["reason"] == REFUSED:
                    found[one.place] = one
                elif kind == "ledger" and output["cause"] == ADJUSTMENT:
                    found.pop(one.place, None)
    return found


def opening_of_places(free: Mapping[Place, int], unexplained: Mapping[Place, int]) -> dict[Place, Money]:
    """What a start opens with: what is free, without what nobody can explain."""
    places = sorted({*free, *unexplained})
    return {place: Money(free.get(place, 0) - unexplained.get(place, 0)) for place in places}
