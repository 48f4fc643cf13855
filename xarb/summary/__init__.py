"""What a backtest or live trading did, counted from its own output rows as they are written.

Money stays exact (int at 18 decimals) until it is printed. Each profit names its currency.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

from xarb.assembly import Assembly
from xarb.console import Table, utc
from xarb.errors import InvariantBroken
from xarb.model.event import OutputRow
from xarb.model.order import ORDER_TERMINAL
from xarb.model.units import MONEY_ONE, MONEY_SCALE, PPB_PER_BPS, format_decimal
from xarb.summary.curve import Curve
from xarb.summary.taken import LATEST, Flow, Taken

_PRINTED_DECIMALS: Final = 6
DRY_SHARE: Final = 20
_EDGE_BUNDLES: Final = 1_000_000
_RECEIPTS: Final = ("succeeded", "reverted")  # states of a cycle with which money moved
_ON_CHAIN: Final = ("cycle", "swap", "gas")  # causes of what a chain changed
_UNVALUED: Final = "not valued: no mark"


class _Tally:
    """What one strategy did."""

    __slots__ = ("fees", "filled", "opened", "refused", "sent", "taken")

    def __init__(self) -> None:
        self.opened = self.taken = self.refused = 0  # episodes and decisions
        self.sent = 0  # orders
        self.filled = 0.0  # sum of filled shares: quantities of different coins do not add up
        self.fees: Flow = {}


class Line(NamedTuple):
    """One strategy in a few cells: orders sent, mean share of an order that was filled, trading PnL with its currency."""

    orders: str
    fill_ratio: str
    pnl: str


class Figures(NamedTuple):
    """What all strategies did together; money is at 18 decimals in one currency, None where it cannot be valued.

    The edges are those of the bundles whose fills are in that currency, None where there is none.
    """

    episodes: int
    taken: int
    refused: int
    orders: int
    fill_ratio: float | None
    trading_pnl: int | None
    peak: int
    drawdown: int
    edge_decided_bps: float | None
    edge_realised_bps: float | None
    fees: Flow


class Equity:
    """Trading PnL over time in one currency: its last value, peak and largest fall from the peak.

    `last` is None where it cannot be valued; `missed` counts the moments that the curve leaves out for that reason. `curve`
    has all of it where one is wanted.
    """

    def __init__(self) -> None:
        self.last: int | None = 0
        self.peak = 0
        self.drawdown = 0
        self.missed = 0
        self.curve: Curve | None = None

    def copy(self) -> Equity:
        """The same without its curve."""
        made = Equity()
        made.last, made.peak, made.drawdown, made.missed = self.last, self.peak, self.drawdown, self.missed
        return made

    def take(self, pnl: int, ts: int | None = None) -> None:
        """A new value of the trading PnL, money, at a time in ns; None once the log has ended."""
        if self.curve is not None:
            self.curve.take(self.curve.ends if ts is None else ts, pnl)
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
        edge_bundles: over how many bundles, the first ones, the edges are taken; more are counted and valued only.
        latest: how many bundles are kept each alone; older ones are added up, which changes nothing that is printed.

    Attributes:
        alike: by address of a chain's token the asset that it wraps, as which it counts.
    """

    def __init__(
        self,
        *,
        marks: Callable[[str, str], int | None],
        opening: Mapping[tuple[str, str, str], int],
        assets: Mapping[tuple[str, str], tuple[str, str]],
        currencies: Sequence[str],
        edge_bundles: int = _EDGE_BUNDLES,
        latest: int = LATEST,
    ) -> None:
        self._marks = marks
        self.alike: Mapping[str, str] = {}
        self._opening = dict(opening)
        self._assets = dict(assets)
        self._currencies = tuple(currencies)
        self._tallies: defaultdict[str, _Tally] = defaultdict(_Tally)
        self._alive: dict[int, tuple[int, int]] = {}  # by order that may still fill: bundle, ordered quantity
        self._cycles: dict[int, int] = {}  # by order on a chain that is not final: bundle
        self._filled = (0, 0, 0)  # of the last fill: order, bundle, and the quantity whose share is still to be counted
        self._bundles = Taken(edge_bundles, latest=latest)
        self._refusals: Counter[tuple[str, str]] = Counter()
        self._dry: dict[tuple[str, str, str], int] = {}
        # By currency, money per unit of each asset in our latest fill.
        self._left: dict[tuple[str, str, str, str], list[int]] = {}  # by strategy, cause, asset, cost asset: rows, quantity, cost
        self._prices: dict[str, Flow] = {currency: {currency: MONEY_ONE} for currency in currencies}
        self._traded: dict[str, None] = {}  # assets of our fills, in order; any other that moved only paid fees
        self._moved: defaultdict[str, int] = defaultdict(int)  # change of each asset over all accounts and venues
        self._takers: dict[str, Callable[[OutputRow], None]] = {
            "opportunities": self._take_opportunity,
            "orders": self._take_order,
            "fills": self._take_fill,
            "ledger": self._take_ledger,
            "residuals": self._take_residual,
            "cycle_states": self._take_cycle_state,
        }
        self.equity: dict[str, Equity] = {currency: Equity() for currency in currencies}

    def take(self, rows: Sequence[OutputRow]) -> None:
        """Count drained rows."""
        takers, filled = self._takers, 0
        for row in rows:
            if filled and row[3] != filled:
                self._follow(filled)
                filled = 0
            kind = row[0]
            if kind in takers:
                takers[kind](row)
                if kind == "fills" or (kind == "cycle_states" and row[9] in _RECEIPTS):
                    filled = row[3]
        if filled:
            self._follow(filled)
        self._bundles.add_up(lambda: {*self._cycles.values(), *(bundle for bundle, _ in self._alive.values())})

    @property
    def bundles(self) -> int:
        """Bundles taken so far."""
        return self._bundles.by_pair.total()

    def finish(self) -> None:
        """The log has ended: value the change of every balance at the last mids."""
        for currency, equity in self.equity.items():
            total = self.total(self._moved, currency)
            if total is None:
                equity.last = None
            else:
                equity.take(total)

    @contextmanager
    def ended(self) -> Iterator[None]:
        """In here it is what it would be if the log ended now; afterwards it goes on."""
        going_on = self.equity
        self.equity = {currency: equity.copy() for currency, equity in going_on.items()}
        try:
            self.finish()
            yield
        finally:
            self.equity = going_on

    def _follow(self, ts: int) -> None:
        """Follow the equity after the fills of one moment, each asset at the price of our latest fill in it.

        Those prices stand in the rows themselves, so the curve does not depend on how the rows were cut into parts. A moment with
        an asset that we hold a change of and have no such price for is left out and counted. A coin that only pays fees has none
        ever: the curve is without it, its end has it.
        """
        for currency, equity in self.equity.items():
            prices, total = self._prices[currency], 0
            for asset in self._traded:
                change = self._moved[asset]
                if change:
                    price = prices.get(asset)
                    if price is None:
                        equity.missed += 1
                        break
                    total += change * price // MONEY_ONE
            else:
                equity.take(total, ts)

    def total(self, flow: Mapping[str, int], currency: str) -> int | None:
        """The value of a flow of assets, None where one of them has no mark."""
        values = [self._value(asset, change, currency) for asset, change in flow.items() if change]
        known = [value for value in values if value is not None]
        return sum(known) if len(known) == len(values) else None

    def _value(self, asset: str, change: int, currency: str) -> int | None:
        if asset == currency:
            return change
        mark = self._marks(asset, currency)
        return None if mark is None else change * mark // MONEY_ONE

    # One method for each kind of row: its kind, after_seq, n, ts, then the columns of its kind.

    def _take_opportunity(self, row: OutputRow) -> None:
        phase = row[5]
        if phase == "opened":
            self._tallies[row[6]].opened += 1
        elif phase == "decided":
            _, _, _, _, _, _, strategy, sell_venue, _, buy_venue, _, edge_ppb, *_, verdict, reason, bundle, _, legs = row
            if verdict == "taken":
                self._tallies[strategy].taken += 1
                self._bundles.take(bundle, strategy, f"{sell_venue} / {buy_venue}" if legs is None else legs, edge_ppb or 0)
            else:
                self._tallies[strategy].refused += 1
                self._refusals[strategy, reason] += 1

    def _take_order(self, row: OutputRow) -> None:
        _, _, _, _, _, strategy, _, _, order, bundle, _, state, previous, _, _, qty, _, _ = row
        if previous is None:
            self._alive[order] = (bundle, qty)
            self._tallies[strategy].sent += 1
        elif order not in self._alive:
            last, _, filled = self._filled
            if last == order and filled:  # a fill after its end: the quantity ordered stands in this row
                self._tallies[strategy].filled += filled / qty
                self._filled = (0, 0, 0)
        elif state in ORDER_TERMINAL:
            del self._alive[order]

    def _take_fill(self, row: OutputRow) -> None:
        _, _, _, _, _, strategy, venue, symbol, order, number, _, _, _, price, qty, notional, fee, fee_asset, _, _ = row
        tally = self._tallies[strategy]
        alive = self._alive.get(order)
        self._filled = (order, number, qty if alive is None else 0)
        if alive is not None:
            tally.filled += qty / alive[1]
        tally.fees[fee_asset] = tally.fees.get(fee_asset, 0) + fee
        base, quote = self._assets[venue, symbol]
        if quote in self._prices:
            self._prices[quote][base] = price
        self._traded[base] = self._traded[quote] = None
        self._bundles.of(number, strategy).trade(notional, quote)

    def _take_cycle_state(self, row: OutputRow) -> None:
        _, _, _, _, _, strategy, _, order, bundle, state, previous, *_ = row
        tally = self._tallies[strategy]
        if previous is None:
            self._cycles[order] = bundle
            tally.sent += order > 0  # else an earlier start sent it
        tally.filled += (state == "succeeded") - (previous == "succeeded" and state == "sent")
        if state in ("refused", "final"):
            del self._cycles[order]

    def _take_ledger(self, row: OutputRow) -> None:
        _, _, _, ts, account, strategy, venue, asset, delta, balance, cause, order = row
        if delta < 0:
            place = (account, venue, asset)
            if balance * DRY_SHARE < self._opening.get(place, 0):
                self._dry.setdefault(place, ts)
        if cause in _ON_CHAIN:
            asset = str(self.alike.get(asset, asset))
            self._traded[asset] = None
            if cause == "gas":
                fees = self._tallies[strategy].fees
                fees[asset] = fees.get(asset, 0) - delta
        if order is None and cause == "gas":
            self._moved[asset] += delta  # a transfer that takes a nonce back
        if order is not None:
            self._moved[asset] += delta
            bundle = self._cycles[order] if cause in _ON_CHAIN else self._bundle_of(order)
            flow = self._bundles.of(bundle, strategy).flow
            flow[asset] = flow.get(asset, 0) + delta

    def _take_residual(self, row: OutputRow) -> None:
        _, _, _, _, _, strategy, _, asset, qty, cost, cost_asset, cause = row
        sums = self._left.setdefault((strategy, cause, asset, cost_asset), [0, 0, 0])
        for at, more in enumerate((1, qty, cost)):
            sums[at] += more

    def _bundle_of(self, order: int) -> int:
        """The bundle of an order; of one that had ended the fill stands right before what it changed."""
        if order in self._alive:
            return self._alive[order][0]
        last, bundle, _ = self._filled
        if last != order:
            raise InvariantBroken(f"the ledger names order {order}, which had ended, without a fill of it")
        return bundle

    def tables(self) -> list[Table]:
        """Everything that was counted, ready to print."""
        made = [self._strategies(), self._pairs(), self._refused(), self._paid(), self._residuals(), self._equity_table()]
        if self._dry:
            rows = tuple((*place, utc(ts)) for place, ts in sorted(self._dry.items()))
            made.append(
                Table(f"Inventory ran dry: below 1/{DRY_SHARE} of its opening", ("account", "venue", "asset", "first at"), rows)
            )
        return [table for table in made if table.rows]

    def worth(self, flow: Mapping[str, int]) -> str:
        """A flow of assets in the first currency that can value all of it."""
        if not flow:
            return "0"
        for currency in self._currencies:
            total = self.total(flow, currency)
            if total is not None:
                return f"{money(total)} {currency}"
        return _UNVALUED

    def figures(self, currency: str) -> Figures:
        """All strategies together, in one of the currencies, once the log has ended."""
        tallies, equity = self._tallies.values(), self.equity[currency]
        sent = sum(one.sent for one in tallies)
        weighted, profit, turnover = self._edge_sums(None).get(currency, (0, 0, 0))
        fees: Flow = {}
        for one in tallies:
            for asset, fee in one.fees.items():
                fees[asset] = fees.get(asset, 0) + fee
        return Figures(
            episodes=sum(one.opened for one in tallies),
            taken=sum(one.taken for one in tallies),
            refused=sum(one.refused for one in tallies),
            orders=sent,
            fill_ratio=math.fsum(one.filled for one in tallies) / sent if sent else None,
            trading_pnl=equity.last,
            peak=equity.peak,
            drawdown=equity.drawdown,
            edge_decided_bps=weighted / turnover / PPB_PER_BPS if turnover else None,
            edge_realised_bps=profit * 20_000 / turnover if turnover else None,
            fees=fees,
        )

    def line(self, strategy: str) -> Line:
        """Orders, fill ratio and trading PnL of one strategy, as text."""
        tally = self._tallies.get(strategy) or _Tally()
        ratio = f"{tally.filled / tally.sent:.4f}" if tally.sent else "-"
        return Line(str(tally.sent), ratio, self.worth(self._bundles.flow(strategy=strategy)))

    def _strategies(self) -> Table:
        rows = []
        for strategy, tally in sorted(self._tallies.items()):
            counts = (str(tally.opened), str(tally.taken), str(tally.refused))
            rows.append((strategy, *counts, *self.line(strategy), *self._edges_bps(strategy)))
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
        found = self._edge_sums(strategy)
        named = len(found) > 1
        decided = [f"{one[0] / one[2] / PPB_PER_BPS:.3f}" + f" {quote}" * named for quote, one in found.items()]
        realised = [f"{one[1] * 20_000 / one[2]:.3f}" + f" {quote}" * named for quote, one in found.items()]
        return ", ".join(decided) or "-", ", ".join(realised) or "-"

    def _edge_sums(self, strategy: str | None) -> dict[str, list[int]]:
        """By quote currency of a strategy's bundles, or of all: edge decided by turnover, net profit, turnover."""
        sums: dict[str, list[int]] = {}
        for bundle, changed in self._bundles.all():
            if strategy not in (None, bundle.strategy) or not bundle.measured or not bundle.quote:
                continue
            values = [self._value(asset, bundle.flow[asset], bundle.quote) for asset in changed]
            known = [value for value in values if value is not None]
            if len(known) == len(values):
                one = sums.setdefault(bundle.quote, [0, 0, 0])
                one[0] += bundle.weighted
                one[1] += sum(known)
                one[2] += bundle.turnover
        return {quote: one for quote, one in sums.items() if one[2]}

    def _pairs(self) -> Table:
        found = sorted(self._bundles.by_pair.items())
        rows = tuple((pair, str(count), self.worth(self._bundles.flow(pair=pair))) for pair, count in found)
        return Table("Pairs of venues (sell / buy)", ("pair", "bundles", "trading PnL"), rows)

    def _refused(self) -> Table:
        rows = tuple((strategy, reason, str(count)) for (strategy, reason), count in sorted(self._refusals.items(), key=_by_count))
        return Table("Refusals by reason", ("strategy", "reason", "count"), rows)

    def _paid(self) -> Table:
        rows = tuple(
            (strategy, asset, money(fee))
            for strategy, tally in sorted(self._tallies.items())
            for asset, fee in sorted(tally.fees.items())
        )
        return Table("Fees paid", ("strategy", "asset", "fees"), rows)

    def _residuals(self) -> Table:
        """What bundles left, at its cost and at its worth now: the difference is what leaving it has cost so far."""
        rows = []
        for (strategy, cause, asset, currency), (count, qty, cost) in sorted(self._left.items()):
            worth = self._value(asset, qty, currency)
            values = (_UNVALUED, "-") if worth is None else (money(worth), money(worth - cost))
            rows.append((strategy, cause, asset, f"{count}", format_decimal(qty, MONEY_SCALE), money(cost), *values, currency))
        head = ("strategy", "cause", "asset", "times", "left", "cost", "worth", "gained", "currency")
        return Table("What bundles left as inventory, by cause; worth at the last mids", head, tuple(rows))

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


def summary_of(assembly: Assembly, marks: Callable[[str, str], int | None] | None = None) -> Summary:
    """A summary of what an assembly is going to do, at its own marks or at others."""
    made = Summary(marks=marks or assembly.mark, opening=assembly.opening, assets=assembly.assets, currencies=assembly.currencies)
    made.alike = assembly.alike
    return made


def accounts_of(assembly: Assembly) -> Table:
    """Each account at the last mids: what trading gained, apart from what its opening inventory gained by itself."""
    rows: list[tuple[str, ...]] = []
    for account in sorted(assembly.resolved.accounts):
        for currency in assembly.currencies:
            worth = assembly.valuation(account, currency)
            if isinstance(worth, str):
                rows.append((account, currency, f"not valued: no mark of {worth}", "-", "-", "-"))
            else:
                rows.append((account, currency, *(money(value) for value in worth)))
    head = ("account", "currency", "equity", "opening inventory", "trading PnL", "inventory revaluation")
    return Table("Accounts at the last mids; inventory revalued since the first order", head, tuple(rows))


def _by_count(item: tuple[tuple[str, str], int]) -> tuple[str, int, str]:
    (strategy, reason), count = item
    return strategy, -count, reason


def money(value: int) -> str:
    """Money as text with at most six decimals, cut toward minus infinity (against us)."""
    unit = 10 ** (MONEY_SCALE - _PRINTED_DECIMALS)
    return format_decimal(value // unit, _PRINTED_DECIMALS)
