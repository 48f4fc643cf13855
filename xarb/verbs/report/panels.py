"""What opens where somebody clicks a trade: what its strategy saw, its legs, orders, fills and money, as `xarb why` tells them."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from xarb.assembly import Assembly
from xarb.inquiry.chain import Became, Chain, Row, aftermath, became, told
from xarb.inquiry.course import markets_of
from xarb.inquiry.decided import Decided
from xarb.inquiry.moment import Key, Moment
from xarb.inquiry.sections import Section, Shown, amount, listed, moment_of
from xarb.inquiry.seen import moment_sections
from xarb.model.units import MONEY_ONE
from xarb.sql.pick import read
from xarb.verbs.report.around import plotted, quotes, window_of
from xarb.verbs.report.bundles import Bundle, bundles
from xarb.verbs.report.replayed import Of, Place
from xarb.verbs.report.timeline import bounds

LEVELS: Final = 5  # of each book in a panel
_ROWS: Final = 60  # of a table in a panel
_PLACE: Final[tuple[Shown, ...]] = ("after_seq", "n", ("ts", moment_of))


class Chosen:
    """Which bundles get a panel: all, or of many those that changed most, at the prices of the last fills.

    Args:
        decided: the run or start.
        most: how many at most.

    Attributes:
        numbers: the bundles.
        total: how many there are.
    """

    def __init__(self, decided: Decided, most: int) -> None:
        self.numbers: list[int] = []
        self.total = 0
        self._decided, self._most = decided, most

    def __call__(self, assembly: Assembly) -> Mapping[Of, Sequence[Key]]:
        """Choose; the opportunities of which the decision is to be looked at, with the instruments concerned.

        Raises:
            LogError: a file is damaged.
        """
        prices = self._prices(assembly)
        ranked = heapq.nlargest(self._most, self._ranked(bundles(self._decided, assembly.assets, assembly.alike), prices))
        self.numbers = sorted(number for _, number in ranked)
        decisions = self._decided.rows("opportunities", ("bundle", "in", self.numbers))
        return {(row["strategy"], row["opportunity"]): markets_of(row) for row in decisions}

    def _ranked(self, found: Iterable[Bundle], prices: Mapping[str, int]) -> Iterable[tuple[int, int]]:
        for one in found:
            if one.number is not None:
                self.total += 1
                worth = sum(change * prices.get(asset, MONEY_ONE) for asset, change in one.flow.items())
                yield abs(worth), one.number

    def _prices(self, assembly: Assembly) -> dict[str, int]:
        sql = f"""SELECT venue, symbol, arg_max(price, (after_seq, n)) FROM fills WHERE {bounds(self._decided)} GROUP BY ALL ORDER BY ALL"""
        return {assembly.assets[venue, symbol][0]: price for venue, symbol, price in read(self._decided.outputs, sql)}


class Panel(NamedTuple):
    """What is known of one bundle: tables, those without rows left out, and its quotes as the page plots them, None without any."""

    sections: list[Section]
    quotes: dict[str, Any] | None


def panels(decided: Decided, numbers: Sequence[int], moments: Mapping[Place, Moment]) -> dict[int, Panel]:
    """The panel of each bundle.

    Raises:
        LogError: a file is damaged.
    """
    of_bundle = ("bundle", "in", list(numbers))
    commands = _by(decided.rows("commands", of_bundle), "bundle")
    cycles = _by(decided.rows("cycles", of_bundle), "bundle")
    cycle_states = _by(decided.rows("cycle_states", of_bundle), "bundle")
    decisions = {row["bundle"]: row for row in decided.rows("opportunities", of_bundle)}
    told_of = ("opportunity", "in", sorted({row["opportunity"] for row in decisions.values()}))
    about = _by(decided.rows("opportunities", told_of), "opportunity")
    refused = _by(decided.rows("refusals", told_of), "opportunity")
    states = _by(decided.rows("orders", of_bundle), "bundle")
    orders = {
        number: sorted({row["order"] for rows in (commands, cycles, states) for row in rows.get(number, ())}) for number in numbers
    }
    all_rows = became(decided, sorted({order for mine in orders.values() for order in mine}), numbers)
    parts = [_by(rows, "order") for rows in all_rows[:4]]  # the kinds that name an order
    residuals = _by(all_rows.residuals, "bundle")
    fills_of = _by(all_rows.fills, "bundle")
    windows = {
        number: window_of(decision["ts"], markets_of(decision), fills_of.get(number, [])) for number, decision in decisions.items()
    }
    seen_quotes = quotes(decided, windows)
    found = {}
    for number in numbers:
        decision = decisions.get(number)
        opportunity = None if decision is None else decision["opportunity"]
        chain = Chain(None, commands.get(number, []), about.get(opportunity, []), refused.get(opportunity, []), decision)
        reports, changes, fills, ledger = (_of(part, orders[number]) for part in parts)
        rows = Became(reports, changes, fills, ledger, residuals.get(number, []))
        seen = None if decision is None else moments.get((decision["after_seq"], decision["strategy"], decision["opportunity"]))
        sections = [] if seen is None else moment_sections("decision", "What the strategy saw", _short(seen))
        sections += [*told(chain), *_cycles(cycles.get(number, []), cycle_states.get(number, []))]
        sections += aftermath(chain, rows)
        plot = None if number not in windows else plotted(windows[number], seen_quotes.get(number, {}), seen, fills)
        found[number] = Panel([one._replace(rows=one.rows[:_ROWS]) for one in sections if one.rows], plot)
    return found


def _short(moment: Moment) -> Moment:
    return moment._replace(seen=[one._replace(bids=one.bids[:LEVELS], asks=one.asks[:LEVELS]) for one in moment.seen])


def _by(rows: Iterable[Row], key: str) -> dict[Any, list[Row]]:
    found: defaultdict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        found[row[key]].append(row)
    return dict(found)


def _of(rows: Mapping[Any, list[Row]], orders: Sequence[int]) -> list[Row]:
    """The rows of some orders, in the log's order."""
    mine = [row for order in orders for row in rows.get(order, ())]
    return sorted(mine, key=_place)


def _place(row: Row) -> tuple[int, int]:
    return (row["after_seq"], row["n"]) if "after_seq" in row else (row["seq"], 0)


def _cycles(cycles: Sequence[Row], states: Sequence[Row]) -> list[Section]:
    """Transactions on chains and what became of them."""
    what: tuple[Shown, ...] = ("kind", "order", "venue", "hops", "token", "amount", "funding", "lender", "premium", "min_profit")
    path: tuple[Shown, ...] = ("expected_net", "token_out", "min_out", "expected_out", ("expected_profit", amount), "profit_asset")
    of_gas: tuple[Shown, ...] = ("gas_limit", "ceiling_wei", "deadline_s", "channel")
    became_of: tuple[Shown, ...] = ("order", "state", "previous", "tx_hash", "block_number", "profit_token", "profit", "gas_used")
    swapped: tuple[Shown, ...] = ("gas_cost_wei", "token_in", "amount_in", "token_out", "amount_out", "reason")
    return [
        listed("cycles", "Transactions", cycles, *_PLACE, *what, *path, *of_gas),
        listed("cycle_states", "Their states", states, *_PLACE, *became_of, *swapped),
    ]
