"""What a backtest did, counted from its own output rows as they are written.

Money stays exact (int at 18 decimals) until it is printed. Each profit names its currency.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final, NamedTuple

from xarb.console import Table, utc
from xarb.model.event import OutputRow
from xarb.model.order import ORDER_TERMINAL
from xarb.model.units import MONEY_ONE, MONEY_SCALE, PPB_PER_BPS, format_decimal

_kind_of: Final = itemgetter(0)
_PRINTED_DECIMALS: Final = 6
DRY_SHARE: Final = 20
_EDGE_LIMIT: Final = 1_000_000  # bundles, the first ones, that the edges are taken over; more are counted and valued only
_UNVALUED: Final = "not valued: no mark"


class _Bundle(NamedTuple):
    strategy: str
    edge_ppb: int


class _Order(NamedTuple):
    bundle: int
    qty: int


class Line(NamedTuple):
    """One strategy in a few cells: orders sent, mean share of an order that was filled, trading PnL with its currency."""

    orders: str
    fill_ratio: str
    pnl: str


class Equity:
    """Trading PnL over time in one currency: its last value, peak and largest fall from the peak.

    `last` is None where it cannot be valued; `missed` counts the moments that the curve leaves out for that reason.
    """

    def __init__(self) -> None:
        self.last: int | None = 0
        self.peak = 0
        self.drawdown = 0
        self.missed = 0

    def take(self, pnl: int) -> None:
        """A new value of the trading PnL, money."""
        self.last = pnl
        self.peak = max(self.peak, pnl)
        self.drawdown = max(self.drawdown, self.peak - pnl)


class Summary:
    """Counts output rows; `tables` prints them.

    Args:
        marks: gives money per unit of (asset, currency) as of now, or None while unknown.
        opening: opening balance of (account, venue, asset).
        assets: base and quote asset of (venue, symbol).
        currencies: quote currencies in which PnL is stated, in order.
    """

    def __init__(
        self,
        *,
        marks: Callable[[str, str], int | None],
        opening: Mapping[tuple[str, str, str], int],
        assets: Mapping[tuple[str, str], tuple[str, str]],
        currencies: Sequence[str],
    ) -> None:
        self._marks = marks
        self._opening = dict(opening)
        self._assets = dict(assets)
        self._currencies = tuple(currencies)
        self.counts: Counter[str] = Counter()
        self._orders: Counter[tuple[str, str]] = Counter()
        self._filled: defaultdict[str, float] = defaultdict(
            float
        )  # sum of filled shares: quantities of different coins do not add up
        self._order_of: dict[int, _Order] = {}
        self._fees: Counter[tuple[str, str]] = Counter()
        self._flows: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._pair_flows: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._pair_bundles: Counter[str] = Counter()
        self._pair_of: dict[int, str] = {}  # by bundle
        self._refusals: Counter[tuple[str, str]] = Counter()
        self._episodes: Counter[tuple[str, str]] = Counter()
        self._dry: dict[tuple[str, str, str], int] = {}
        self._prices: dict[tuple[str, str], int] = {}  # money per unit of (asset, currency) in our latest fill
        self._traded: dict[str, None] = {}  # assets of our fills, in order; any other that moved only paid fees
        self._moved: Counter[str] = Counter()  # change of each asset over all accounts and venues
        self._quotes: dict[int, str] = {}  # quote asset of a bundle's fills, empty where there are several
        self._bundles: dict[int, _Bundle] = {}
        self._realised: defaultdict[int, Counter[str]] = defaultdict(Counter)
        self._turnover: Counter[int] = Counter()
        self._takers: dict[str, Callable[..., None]] = {
            "opportunities": self._take_opportunity,
            "orders": self._take_order,
            "fills": self._take_fill,
            "ledger": self._take_ledger,
        }
        self.equity: dict[str, Equity] = {currency: Equity() for currency in currencies}

    def take(self, rows: Sequence[OutputRow]) -> None:
        """Count drained rows."""
        takers, filled = self._takers, 0
        for row in rows:
            kind, ts = row[0], row[3]
            if filled and ts != filled:
                self._follow()
                filled = 0
            taker = takers.get(kind)
            if taker is not None:
                taker(*row[3:])
            if kind == "fills":
                filled = ts
        self.counts.update(map(_kind_of, rows))
        if filled:
            self._follow()

    @property
    def bundles(self) -> int:
        """Bundles taken so far."""
        return sum(self._pair_bundles.values())

    def finish(self) -> None:
        """The log has ended: value the change of every balance at the last mids."""
        for currency, equity in self.equity.items():
            total = self._total(self._moved, currency)
            if total is None:
                equity.last = None
            else:
                equity.take(total)

    def _follow(self) -> None:
        """Follow the equity after the fills of one moment, each asset at the price of our latest fill in it.

        Those prices stand in the rows themselves, so the curve does not depend on how the rows were cut into parts. A moment with
        an asset that we hold a change of and have no such price for is left out and counted. A coin that only pays fees has none
        ever: the curve is without it, its end has it.
        """
        for currency, equity in self.equity.items():
            total = 0
            for asset in self._traded:
                change = self._moved[asset]
                price = MONEY_ONE if asset == currency else self._prices.get((asset, currency))
                if change and price is None:
                    equity.missed += 1
                    break
                total += change * (price or 0) // MONEY_ONE
            else:
                equity.take(total)

    def _total(self, flow: Mapping[str, int], currency: str) -> int | None:
        """The value of a flow of assets, None where one of them has no mark."""
        values = [self._value(asset, change, currency) for asset, change in flow.items() if change]
        known = [value for value in values if value is not None]
        return sum(known) if len(known) == len(values) else None

    def _value(self, asset: str, change: int, currency: str) -> int | None:
        if asset == currency:
            return change
        mark = self._marks(asset, currency)
        return None if mark is None else change * mark // MONEY_ONE

    # One method for each kind of row, with its columns from `ts` on.

    def _take_opportunity(self, *values: Any) -> None:
        _, _, phase, strategy, sell_venue, _, buy_venue, _, edge_ppb, *_, verdict, reason, bundle, _ = values
        if phase == "opened":
            self._episodes[strategy, "opened"] += 1
        elif phase == "decided":
            self._episodes[strategy, verdict] += 1
            if verdict == "taken":
                pair = f"{sell_venue} / {buy_venue}"
                self._pair_bundles[pair] += 1
                self._pair_of[bundle] = pair
                if len(self._bundles) < _EDGE_LIMIT:
                    self._bundles[bundle] = _Bundle(strategy, edge_ppb or 0)
            else:
                self._refusals[strategy, reason] += 1

    def _take_order(self, *values: Any) -> None:
        _, _, strategy, _, _, order, bundle, _, state, previous, _, _, qty, _, _ = values
        if previous is None:
            self._order_of[order] = _Order(bundle, qty)
            self._orders[strategy, "sent"] += 1
        elif state in ORDER_TERMINAL:
            self._orders[strategy, state] += 1

    def _take_fill(self, *values: Any) -> None:
        _, _, strategy, venue, symbol, order, bundle, _, _, _, price, qty, notional, fee, fee_asset, _, _ = values
        self._filled[strategy] += qty / self._order_of[order].qty
        self._fees[strategy, fee_asset] += fee
        base, quote = self._assets[venue, symbol]
        self._prices[base, quote] = price
        self._traded[base] = self._traded[quote] = None
        if bundle not in self._bundles:
            return
        self._turnover[bundle] += notional
        if self._quotes.setdefault(bundle, quote) != quote:
            self._quotes[bundle] = ""

    def _take_ledger(self, *values: Any) -> None:
        ts, account, strategy, venue, asset, delta, balance, _, order = values
        place = (account, venue, asset)
        if order is not None:
            self._moved[asset] += delta
        if delta < 0 and balance * DRY_SHARE < self._opening.get(place, 0):
            self._dry.setdefault(place, ts)
        if order is None:
            return
        number = self._order_of[order].bundle
        self._flows[strategy][asset] += delta
        self._pair_flows[self._pair_of[number]][asset] += delta
        if number in self._bundles:
            self._realised[number][asset] += delta

    def tables(self) -> list[Table]:
        """Everything that was counted, ready to print."""
        made = [self._strategies(), self._pairs(), self._refused(), self._paid(), self._equity_table()]
        if self._dry:
            rows = tuple((*place, utc(ts)) for place, ts in sorted(self._dry.items()))
            made.append(
                Table(f"Inventory ran dry: below 1/{DRY_SHARE} of its opening", ("account", "venue", "asset", "first at"), rows)
            )
        return [table for table in made if table.rows]

    def _worth(self, flow: Mapping[str, int]) -> str:
        """A flow of assets in the first currency that can value all of it."""
        for currency in self._currencies:
            total = self._total(flow, currency)
            if total is not None:
                return f"{money(total)} {currency}"
        return _UNVALUED

    def line(self, strategy: str) -> Line:
        """Orders, fill ratio and trading PnL of one strategy, as text."""
        sent = self._orders[strategy, "sent"]
        ratio = f"{self._filled[strategy] / sent:.4f}" if sent else "-"
        pnl = self._worth(self._flows[strategy]) if self._flows[strategy] else "0"
        return Line(str(sent), ratio, pnl)

    def _strategies(self) -> Table:
        rows = []
        for strategy in sorted({name for name, _ in self._episodes} | {name for name, _ in self._orders}):
            line = self.line(strategy)
            rows.append(
                (
                    strategy,
                    str(self._episodes[strategy, "opened"]),
                    str(self._episodes[strategy, "taken"]),
                    str(self._episodes[strategy, "refused"]),
                    *line,
                    *self._edges_bps(strategy),
                )
            )
        head = (
            "strategy",
            "episodes",
            "taken",
            "refused",
            "orders",
            "fill ratio",
            "trading PnL",
            "edge decided, bps",
            "edge realised, bps",
        )
        return Table("Strategies", head, tuple(rows))

    def _edges_bps(self, strategy: str) -> tuple[str, str]:
        """Edge decided and edge realised in bps, over the same bundles: those with fills, all in one quote currency.

        Decided is the net edge of the best prices, each bundle weighted by its turnover; realised is net profit over half the
        turnover (the value of one side). Each currency stands on its own, and is named where there are several.
        """
        sums: dict[str, list[int]] = {}
        for number, bundle in self._bundles.items():
            quote = self._quotes.get(number)
            if bundle.strategy != strategy or not quote:
                continue
            gained = self._total(self._realised[number], quote)
            if gained is not None:
                one = sums.setdefault(quote, [0, 0, 0])
                one[0] += bundle.edge_ppb * self._turnover[number]
                one[1] += gained
                one[2] += self._turnover[number]
        found = {quote: one for quote, one in sums.items() if one[2]}
        named = len(found) > 1
        decided = [f"{one[0] / one[2] / PPB_PER_BPS:.3f}" + f" {quote}" * named for quote, one in found.items()]
        realised = [f"{one[1] * 20_000 / one[2]:.3f}" + f" {quote}" * named for quote, one in found.items()]
        return ", ".join(decided) or "-", ", ".join(realised) or "-"

    def _pairs(self) -> Table:
        rows = tuple(
            (pair, str(count), self._worth(self._pair_flows[pair]) if pair in self._pair_flows else "0")
            for pair, count in sorted(self._pair_bundles.items())
        )
        return Table("Pairs of venues (sell / buy)", ("pair", "bundles", "trading PnL"), rows)

    def _refused(self) -> Table:
        rows = tuple((strategy, reason, str(count)) for (strategy, reason), count in sorted(self._refusals.items(), key=_by_count))
        return Table("Refusals by reason", ("strategy", "reason", "count"), rows)

    def _paid(self) -> Table:
        rows = tuple((strategy, asset, money(fee)) for (strategy, asset), fee in sorted(self._fees.items()))
        return Table("Fees paid", ("strategy", "asset", "fees"), rows)

    def _equity_table(self) -> Table:
        rows = tuple(
            (
                currency,
                _UNVALUED if equity.last is None else money(equity.last),
                money(equity.peak),
                money(equity.drawdown),
                f"{equity.missed}",
            )
            for currency, equity in self.equity.items()
            if equity.last is None or equity.last or equity.drawdown or equity.missed
        )
        return Table(
            "Trading PnL (balance changes; last: at the last mids, curve: at prices of our fills)",
            ("currency", "last", "peak", "drawdown", "moments left out"),
            rows,
        )


def _by_count(item: tuple[tuple[str, str], int]) -> tuple[str, int, str]:
    (strategy, reason), count = item
    return strategy, -count, reason


def money(value: int) -> str:
    """Money as text with at most six decimals, cut toward minus infinity (against us)."""
    unit = 10 ** (MONEY_SCALE - _PRINTED_DECIMALS)
    return format_decimal(value // unit, _PRINTED_DECIMALS)
