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
_EDGE_LIMIT: Final = 1_000_000  # bundles whose edges are kept for the averages; more are counted only


class _Bundle(NamedTuple):
    strategy: str
    pair: str
    edge_ppb: int


class Line(NamedTuple):
    """One strategy in a few cells: orders sent, base quantity filled over ordered, trading PnL with its currency."""

    orders: str
    fill_ratio: str
    pnl: str


class Equity:
    """Trading PnL over time in one currency: its last value, peak and largest fall from the peak."""

    def __init__(self) -> None:
        self.last = 0
        self.peak = 0
        self.drawdown = 0

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
        self._ordered: Counter[str] = Counter()
        self._filled: Counter[str] = Counter()
        self._bundle_of: dict[int, int] = {}
        self._fees: Counter[tuple[str, str]] = Counter()
        self._flows: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._pair_flows: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._pair_bundles: Counter[str] = Counter()
        self._refusals: Counter[tuple[str, str]] = Counter()
        self._episodes: Counter[tuple[str, str]] = Counter()
        self._dry: dict[tuple[str, str, str], int] = {}
        self._prices: dict[tuple[str, str], int] = {}  # money per unit of (asset, currency) in our latest fill
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
        for currency in self._currencies:
            values = [self._value(asset, change, currency) for asset, change in self._moved.items() if change]
            if all(value is not None for value in values):
                self.equity[currency].take(sum(value for value in values if value is not None))

    def _follow(self) -> None:
        """Follow the equity after the fills of one moment, each asset at the price of our latest fill in it.

        That price stands in the rows themselves, so that the curve does not depend on how they were cut into parts. An asset that was
        never filled, such as a fee coin, is taken at its mark.
        """
        for currency in self._currencies:
            total = 0
            for asset, change in self._moved.items():
                price = self._prices.get((asset, currency))
                value = change * price // MONEY_ONE if price is not None else self._value(asset, change, currency) if change else 0
                if value is None:
                    break
                total += value
            else:
                self.equity[currency].take(total)

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
                if len(self._bundles) < _EDGE_LIMIT:
                    self._bundles[bundle] = _Bundle(strategy, pair, edge_ppb or 0)
            else:
                self._refusals[strategy, reason] += 1

    def _take_order(self, *values: Any) -> None:
        _, _, strategy, _, _, order, bundle, _, state, previous, _, _, qty, _, _ = values
        if previous is None:
            self._bundle_of[order] = bundle
            self._orders[strategy, "sent"] += 1
            self._ordered[strategy] += qty
        elif state in ORDER_TERMINAL:
            self._orders[strategy, state] += 1

    def _take_fill(self, *values: Any) -> None:
        _, _, strategy, venue, symbol, _, bundle, _, _, _, price, qty, notional, fee, fee_asset, _, _ = values
        self._filled[strategy] += qty
        self._fees[strategy, fee_asset] += fee
        self._turnover[bundle] += notional
        base, quote = self._assets[venue, symbol]
        self._prices[base, quote] = price
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
        number = self._bundle_of[order]
        self._flows[strategy][asset] += delta
        self._realised[number][asset] += delta
        bundle = self._bundles.get(number)
        if bundle is not None:
            self._pair_flows[bundle.pair][asset] += delta

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
            values = [self._value(asset, change, currency) for asset, change in flow.items() if change]
            if all(value is not None for value in values):
                return f"{money(sum(value for value in values if value is not None))} {currency}"
        return "not valued: no mark"

    def line(self, strategy: str) -> Line:
        """Orders, fill ratio and trading PnL of one strategy, as text."""
        ordered = self._ordered[strategy]
        ratio = f"{self._filled[strategy] / ordered:.4f}" if ordered else "-"
        pnl = self._worth(self._flows[strategy]) if self._flows[strategy] else "0"
        return Line(str(self._orders[strategy, "sent"]), ratio, pnl)

    def _strategies(self) -> Table:
        rows = []
        for strategy in sorted({name for name, _ in self._episodes} | {name for name, _ in self._orders}):
            line = self.line(strategy)
            edges = [b.edge_ppb for b in self._bundles.values() if b.strategy == strategy]
            rows.append(
                (
                    strategy,
                    str(self._episodes[strategy, "opened"]),
                    str(self._episodes[strategy, "taken"]),
                    str(self._episodes[strategy, "refused"]),
                    *line,
                    f"{sum(edges) / len(edges) / PPB_PER_BPS:.3f}" if edges else "-",
                    self._realised_bps(strategy),
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

    def _realised_bps(self, strategy: str) -> str:
        """Net profit of the strategy's bundles over half their turnover (the value of one side), in bps; bundles in one currency only."""
        gained = turned = 0
        for number, bundle in self._bundles.items():
            if bundle.strategy != strategy or not self._quotes.get(number):
                continue
            for currency in self._currencies:
                values = [self._value(asset, change, currency) for asset, change in self._realised[number].items() if change]
                if all(value is not None for value in values):
                    gained += sum(value for value in values if value is not None)
                    turned += self._turnover[number]
                    break
        return f"{gained * 20_000 / turned:.3f}" if turned else "-"

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
            (currency, money(equity.last), money(equity.peak), money(equity.drawdown))
            for currency, equity in self.equity.items()
            if equity.last or equity.drawdown
        )
        return Table(
            "Trading PnL (balance changes; last: at the last mids, curve: at prices of our fills)",
            ("currency", "last", "peak", "drawdown"),
            rows,
        )


def _by_count(item: tuple[tuple[str, str], int]) -> tuple[str, int, str]:
    (strategy, reason), count = item
    return strategy, -count, reason


def money(value: int) -> str:
    """Money as text with at most six decimals, cut toward minus infinity (against us)."""
    unit = 10 ** (MONEY_SCALE - _PRINTED_DECIMALS)
    return format_decimal(value // unit, _PRINTED_DECIMALS)
