"""What a start goes on with: bundles that the one before left without an end, and what strategies' fills added up to.

All of it is read from the log: from rows of bundles, commands, orders, fills and residuals of the last start, from what that one opened with, and
from what exchanges and chains said behind its last input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa

from xarb.carrying.onchain import LeftOnChain, News
from xarb.carrying.rows import rows_of
from xarb.engine.carried import (
    Booked,
    CarriedBundle,
    CarriedCycle,
    CarriedFlow,
    CarriedLeg,
    CarriedOrder,
    CarriedTrade,
    CarriedTransaction,
    Planned,
    TakenUp,
)
from xarb.engine.discrepancy import fill_changes, is_complete
from xarb.engine.liverows import FORGET, FORGET_INVENTORY
from xarb.engine.losses import BEYOND
from xarb.engine.receipts import GAS, SWAP
from xarb.engine.results import DAY_NS, Carried
from xarb.errors import LogError
from xarb.log.reader import LogReader, Selection
from xarb.log.rows import from_table
from xarb.model.columns import TABLES
from xarb.model.event import SlowRow
from xarb.model.instrument import Instrument
from xarb.model.order import BUNDLE_DONE, CARRIED, ORDER_LIFE, ORDER_TERMINAL, advance, order_event
from xarb.model.units import MONEY_ONE, MONEY_SCALE, ceil_div, parse_money
from xarb.starts import PAPER, Span

KEPT: Final = 256
"""So many of the bundles that ended last are kept in mind: an exchange may tell a fill of them yet."""
_SAID: Final = (
    *("account", "strategy", "venue", "symbol", "start", "order", "client_order_id", "event", "fill_id", "side"),
    *("price", "qty", "fee", "fee_asset"),
)
Owner = tuple[str, str]  # account, strategy
Changes = dict[Owner, dict[str, int]]
_Fill = tuple[str, str, str, str]  # account, venue, symbol, fill id


class _Order:
    """One of a bundle's orders, as it becomes known."""

    def __init__(self, bundle: _Bundle, plain: CarriedOrder) -> None:
        self.bundle, self.plain = bundle, plain
        self.state, self.filled = plain.state, plain.filled
        self.fill_ids = dict.fromkeys(plain.fill_ids)

    def move(self, reported: str) -> None:
        """A report came that is no fill."""
        event = order_event(reported, has_fills=self.filled > 0)
        if event is not None:
            self.state = advance(ORDER_LIFE, self.state, event)

    def fill(self, fill_id: str, qty: int) -> None:
        """A fill of it came."""
        self.fill_ids[fill_id] = None
        self.filled += qty
        self.state = advance(ORDER_LIFE, self.state, "full_fill" if self.filled >= self.plain.qty else "partial_fill")

    def carried(self, mode: str) -> CarriedOrder:
        """It as plain values: one without an end is of unknown fate, but on paper, where it ended with the process."""
        state = self.state
        if state not in ORDER_TERMINAL:
            state = "canceled" if mode == PAPER else "unknown"
        return msgspec.structs.replace(self.plain, state=state, filled=self.filled, fill_ids=tuple(self.fill_ids))


class _Bundle:
    """A bundle, as it becomes known."""

    def __init__(self, plain: CarriedBundle) -> None:
        self.plain = plain
        self.state, self.unbalanced_at, self.is_beyond = plain.state, plain.unbalanced_at, plain.is_beyond
        self.orders = {(one.start, one.order): _Order(self, one) for one in plain.orders}
        self.flows, self.gas = {**plain.flows}, {**plain.gas}
        self.traded = {(one.venue, one.symbol, one.side): one for one in plain.traded}
        self.booked = [*plain.booked]

    def add(self, plain: CarriedOrder) -> None:
        """An order was sent for it."""
        self.orders[plain.start, plain.order] = _Order(self, plain)

    def trade(self, market: Instrument, side: str, made: tuple[int, int]) -> None:
        """A fill, or a swap, bought or sold so much: quantity and notional."""
        key = (market.venue, market.symbol, side)
        new = CarriedTrade(
            venue=market.venue, symbol=market.symbol, base=market.base, quote=market.quote, side=side, size=0, value=0
        )
        before = self.traded.get(key, new)
        self.traded[key] = msgspec.structs.replace(before, size=before.size + made[0], value=before.value + made[1])
        if not self.traded[key].size:  # a swap was taken back
            del self.traded[key]

    def change(self, changes: Mapping[str, int], *, is_leg: bool = False) -> None:
        """A fill changed assets by so much; one of a leg may leave a new residual, as `Bundle.compare` has it."""
        before = {asset: self.flows.get(asset, 0) for asset in self.plain.flat}
        for asset, amount in changes.items():
            self.flows[asset] = self.flows.get(asset, 0) + amount
        if is_leg and not any(self.flows.get(asset, 0) * left > 0 for asset, left in before.items()):
            self.unbalanced_at = 0

    def swap(self, markets: Mapping[tuple[str, str], Instrument], tokens: Mapping[str, int], *, is_news: bool) -> None:
        """What a receipt says, or what is taken back of one, changes tokens by so much, as `swap.book` has it."""
        planned, leg = self.plain.swap, self.plain.legs[0]
        assert planned is not None, "only a bundle with a swap is told of one"
        coins: dict[str, int] = {}
        for token, amount in tokens.items():
            coins[planned.coins[token]] = coins.get(planned.coins[token], 0) + amount
        self.change(coins, is_leg=is_news)
        market = markets[leg.venue, leg.symbol]
        side, sign = ("sell", -1) if leg.side == "buy" else ("buy", 1)
        if planned.base:
            self.trade(market, side, (sign * coins.get(market.base, 0), -sign * coins.get(market.quote, 0)))

    def burn(self, gas: Mapping[str, int]) -> None:
        """What a receipt of its swap changes beside that, or what is taken back of one."""
        for asset, amount in gas.items():
            self.gas[asset] = self.gas.get(asset, 0) + amount

    def reopen(self) -> None:
        """A fill came that nobody knew of when it ended: what was booked is taken back by the start that takes it up."""
        if self.state in BUNDLE_DONE:
            self.state, self.unbalanced_at = CARRIED, 0

    def carried(self, mode: str, *, is_forgotten: bool) -> CarriedBundle:
        """It as plain values."""
        return msgspec.structs.replace(
            self.plain,
            state=self.state,
            orders=tuple(one.carried(mode) for one in self.orders.values()),
            flows={asset: self.flows[asset] for asset in sorted(self.flows)},
            gas={asset: self.gas[asset] for asset in sorted(self.gas) if self.gas[asset]},
            traded=tuple(self.traded.values()),
            booked=tuple(self.booked),
            unbalanced_at=self.unbalanced_at,
            is_beyond=self.is_beyond,
            is_forgotten=is_forgotten and self.state == CARRIED,
        )


class Left:
    """What the last start of a log left.

    Args:
        reader: the log, everything of it sealed.
        span: its last start.
        until: the input up to which reports count.

    Attributes:
        changes: what strategies' fills changed since that start opened, by account and strategy.
        later: the part of it that `take` added.

    Raises:
        LogError: a file was changed, or rows of the start do not fit together.
    """

    def __init__(self, reader: LogReader, span: Span, *, until: int) -> None:
        self._span, self._mode = span, span.start.mode
        self._markets = {(one.venue, one.symbol): one for one in reader.instruments}
        self._bundles: dict[int, _Bundle] = {}  # by their numbers in that start
        self._orders: dict[tuple[int, int], _Order] = {}  # by start and number
        self._told: set[_Fill] = set()
        self._sides: dict[str, str] = {}  # by client order id, where a report was without one
        self._swaps: dict[int, _Bundle] = {}  # by their numbers as orders of the start
        self.changes: Changes = {}
        self.later: Changes = {}
        self._is_forgotten = any(
            row["action"] == FORGET_INVENTORY and span.first < row["seq"] <= until for row in reader.rows("operator")
        )
        try:
            self._onchain = LeftOnChain(reader, span, until=until, tell=self._hear)
            self._read_bundles(reader)
            self._read_orders(reader)
            self._read_ends(reader)
        except (KeyError, IndexError, msgspec.DecodeError) as error:
            raise LogError(f"start {span.start.number}: the rows of its bundles do not fit together: {error!r}") from error
        self._add_ledger(reader)
        self._add_reports(reader, until)
        self._onchain.go_on()
        self.later = {}

    # --- what came of it

    def take(self, row: SlowRow) -> None:
        """A row of `reports`, `transactions` or `receipts` that lies behind all that was read.

        Raises:
            LogError: nobody can say what a fill of ours, or a receipt, changed.
        """
        if row.kind == "reports":
            self._take(row.values)
        else:
            self._onchain.take(row)

    def _take(self, row: Mapping[str, Any]) -> None:
        if row["order"] is None or row["start"] is None:
            return
        order = self._orders.get((row["start"], row["order"]))
        if row["event"] == "fill":
            self._fill(row, order)
        elif order is not None:
            order.move(row["event"])

    @property
    def bundles(self) -> tuple[CarriedBundle, ...]:
        """Those without an end, and the last ones that ended, in the order in which they began."""
        return tuple(self._bundles[number].carried(self._mode, is_forgotten=self._is_forgotten) for number in sorted(self._bundles))

    @property
    def cycles(self) -> tuple[CarriedCycle, ...]:
        """Cycles and paths on chains that are not final."""
        return self._onchain.cycles

    @property
    def transactions(self) -> tuple[CarriedTransaction, ...]:
        """Transactions on chains that are not final."""
        return self._onchain.transactions

    @property
    def flows(self) -> tuple[CarriedFlow, ...]:
        """What strategies' fills added up to, all starts together; nothing once a person had it forgotten."""
        sums: dict[tuple[str, str], int] = {}
        if not self._is_forgotten:
            for one in self._span.start.opening.flows or ():
                _add(sums, one.strategy, {one.asset: one.amount})
            for (_, strategy), changes in self.changes.items():
                _add(sums, strategy, changes)
        return tuple(
            CarriedFlow(strategy=name, asset=asset, amount=sums[name, asset]) for name, asset in sorted(sums) if sums[name, asset]
        )

    # --- bundles of the start

    def _read_bundles(self, reader: LogReader) -> None:
        """Choose the bundles, and lay out what they were planned as."""
        select, begun, done = self._span.selection, dict[int, None](), dict[int, None]()
        words = next(column.values for column in TABLES["bundles"].columns if column.name == "event")
        ends = [place for place, word in enumerate(words) if word in ("closed", "held", "kept")]
        for part in reader.tables("bundles", ("bundle", "event"), select):
            is_end = np.isin(part.column("event").to_numpy(), ends).tolist()
            for number, ended in zip(part.column("bundle").to_pylist(), is_end, strict=True):
                done.pop(number, None)
                if ended:
                    done[number] = None
                    begun.pop(number, None)
                else:
                    begun[number] = None
        names = {(one.start, one.bundle): number for number, one in enumerate(self._span.start.opening.bundles, start=1)}
        here = self._span.start.number
        followed = [names.get(name, name[1] if name[0] == here else 0) for name in self._onchain.bundles]
        chosen = np.array([*begun, *[*done][-KEPT:], *followed], np.int64)
        for row in rows_of(reader, "bundles", chosen, select):
            if row["event"] in ("opened", "carried", "kept"):
                self._bundles[row["bundle"]] = self._begun(row)
            bundle = self._bundles[row["bundle"]]
            if row["event"] in BUNDLE_DONE:
                bundle.state = row["event"]
            elif row["event"] == "unbalanced":
                bundle.unbalanced_at = row["ts"]
            elif row["event"] == BEYOND:
                bundle.is_beyond = True
            elif row["event"] == "reopened":
                bundle.reopen()

    def _begun(self, row: Mapping[str, Any]) -> _Bundle:
        """A bundle as its first row in the start has it."""
        start = self._span.start
        if row["event"] != "opened":
            old = _Bundle(start.opening.bundles[row["bundle"] - 1])
            self._orders |= old.orders
            taken = msgspec.json.decode(row["plan"], type=TakenUp)
            for here, number, order in taken.orders:
                self._orders[start.number, here] = old.orders[number, order]
            if taken.swap is not None:
                self._swaps[taken.swap] = old
            if row["event"] == CARRIED:
                old.booked.clear()  # taken back with that row
            return old
        planned = msgspec.json.decode(row["plan"], type=Planned)
        legs = tuple(
            CarriedLeg(venue=leg.venue, symbol=leg.symbol, side=leg.side, price=parse_money(leg.price), qty=parse_money(leg.qty))
            for leg in planned.legs
        )
        new = _Bundle(
            CarriedBundle(
                start=start.number,
                bundle=row["bundle"],
                account=row["account"],
                strategy=row["strategy"],
                state=CARRIED,
                sequence=planned.sequence,
                flat=planned.flat,
                cycle=planned.cycle,
                legs=legs,
                orders=(),
                flows={},
                traded=(),
                swap=planned.swap,
            )
        )
        if planned.swap is not None:
            self._swaps[planned.swap.order] = new
        return new

    def _read_orders(self, reader: LogReader) -> None:
        """The orders that the start sent for them, the states that they had, and their fills."""
        select, number = self._span.selection, self._span.start.number
        chosen = np.array([*self._bundles], np.int64)
        for row in rows_of(reader, "commands", chosen, select):
            if row["kind"] == "submit":
                bundle = self._bundles[row["bundle"]]
                plain = _sent(row, number)
                bundle.add(plain)
                self._orders[number, plain.order] = bundle.orders[number, plain.order]
        for row in rows_of(reader, "fills", chosen, select):
            order, market = self._orders[number, row["order"]], self._markets[row["venue"], row["symbol"]]
            sign = 1 if row["side"] == "buy" else -1
            order.fill(row["fill_id"], row["qty"])
            order.bundle.trade(market, row["side"], (row["qty"], row["notional"]))
            order.bundle.change({market.base: sign * row["qty"]})
            order.bundle.change({market.quote: -sign * row["notional"]})
            order.bundle.change({row["fee_asset"]: -row["fee"]})
        for row in rows_of(reader, "orders", chosen, select):
            self._orders[number, row["order"]].state = row["state"]
        self._read_swaps(reader)

    def _read_swaps(self, reader: LogReader) -> None:
        """What receipts say that the swaps changed which they hedge, by the ledger; tokens count as their coins."""
        for part in reader.tables("ledger", ("asset", "delta", "cause", "order"), self._span.selection) if self._swaps else ():
            sums: dict[_Bundle, dict[str, int]] = {}
            for row in from_table("ledger", part):
                bundle = self._swaps.get(row["order"])
                if bundle is None:
                    continue
                if row["cause"] == GAS:
                    bundle.burn({row["asset"]: row["delta"]})
                elif row["cause"] == SWAP:
                    mine = sums.setdefault(bundle, {})
                    mine[row["asset"]] = mine.get(row["asset"], 0) + row["delta"]
            for bundle, tokens in sums.items():
                bundle.swap(self._markets, tokens, is_news=False)

    def _read_ends(self, reader: LogReader) -> None:
        """What became inventory of those that ended."""
        for row in rows_of(reader, "residuals", np.array([*self._bundles], np.int64), self._span.selection):
            bundle = self._bundles[row["bundle"]]
            if row["cause"] == "late_fill":
                bundle.booked.clear()
            else:
                names = ("asset", "qty", "cost", "cost_asset")
                bundle.booked.append(Booked(**{name: row[name] for name in names}))

    # --- what fills changed

    def _add_ledger(self, reader: LogReader) -> None:
        """By the ledger of the start, orders of earlier ones among them; what is no strategy's is noted and nowhere looked at."""
        names = ["account", "strategy", "asset"]
        for part in reader.tables("ledger", (*names, "delta"), self._span.selection):
            sums = pa.table(part).group_by(names).aggregate([("delta", "sum")])
            for row in from_table("ledger", sums.rename_columns([*names, "delta"])):
                self._note((row["account"], row["strategy"]), {row["asset"]: row["delta"]})

    def _add_reports(self, reader: LogReader, until: int) -> None:
        """By reports that no ledger has: behind the start's last input, and of orders of earlier starts that it did not take up."""
        last, number = self._span.last, self._span.start.number
        select = Selection(first_seq=self._span.start.opening.told_seq + 1, last_seq=until)
        found: list[dict[str, Any]] = []
        for part in reader.tables("reports", _SAID, select):
            behind = part.column("seq").to_numpy() > last
            other = part.column("start").fill_null(number).to_numpy(zero_copy_only=False) != number
            ours = part.column("order").is_valid().to_numpy(zero_copy_only=False)
            found += from_table("reports", part.filter(pa.array((behind | other) & ours)))
        fills = [row for row in found if row["event"] == "fill"]
        if fills:
            names = ("account", "venue", "symbol", "fill_id")
            for part in reader.tables("fills", names, self._span.selection):
                self._told.update(zip(*(part.column(name).to_pylist() for name in names), strict=True))
        if any(row["side"] is None for row in fills):
            self._sides = {row["client_order_id"]: row["side"] for _, row in reader.outputs(kinds=("commands",))}
        for row in found:
            if row["seq"] > last or row["event"] == "fill":
                self._take(row)

    def _fill(self, row: Mapping[str, Any], order: _Order | None) -> None:
        fill = (row["account"], row["venue"], row["symbol"], row["fill_id"])
        if fill in self._told or (order is not None and row["fill_id"] in order.fill_ids):
            return
        self._told.add(fill)
        market = self._markets.get((row["venue"], row["symbol"]))
        side = row["side"] or (self._sides.get(row["client_order_id"]) if order is None else order.plain.side)
        strategy = row["strategy"] or ("" if order is None else order.bundle.plain.strategy)
        if not strategy:
            return  # of an order that ended long ago: it explains a difference of balances, and nothing goes on from it
        if market is None or side is None or not is_complete(row):
            raise LogError(
                f"what the fill {row['fill_id']} of {row['client_order_id']} made cannot be known, so that nothing goes on from it"
            )
        changes = fill_changes(row, market, 1 if side == "buy" else -1)
        self._note((row["account"], strategy), changes)
        if order is not None:
            product = row["price"] * row["qty"]
            value = ceil_div(product, MONEY_ONE) if side == "buy" else product // MONEY_ONE
            order.fill(row["fill_id"], row["qty"])
            order.bundle.reopen()
            order.bundle.trade(market, side, (row["qty"], value))
            order.bundle.change(changes, is_leg=order.plain.purpose == "open")

    def _hear(self, news: News) -> None:
        """What a chain said that no ledger has."""
        self._note((news.account, news.strategy), news.changes)
        mine = (one for one in self._bundles.values() if (one.plain.start, one.plain.bundle) == news.bundle)
        bundle = next(mine, None)
        if bundle is not None and (news.swapped or news.is_open):
            bundle.reopen()
        if bundle is not None:
            bundle.burn(news.gas)
        if bundle is not None and news.swapped:
            bundle.swap(self._markets, news.swapped, is_news=True)

    def _note(self, owner: Owner, changes: Mapping[str, int]) -> None:
        for found in (self.changes, self.later):
            mine = found.setdefault(owner, {})
            for asset, amount in changes.items():
                mine[asset] = mine.get(asset, 0) + amount


def closing_results(reader: LogReader, span: Span, left: Left, *, until: int) -> tuple[Carried, ...]:
    """What strategies made up to input `until`, the last start before it being `span`: nothing once a person had it forgotten.

    What opened it goes on by what fills changed since, as `left` has it, and by the results that it wrote.

    Raises:
        LogError: a file was changed.
    """
    opening = span.start.opening
    acts = (row for row in reader.rows("operator") if span.first < row["seq"] <= until)
    if not opening.results or any(row["action"] == FORGET for row in acts):
        return ()
    states = {one.key: one for one in opening.results}
    for _, row in reader.outputs(kinds=("results",), select=span.selection):
        key = (row["account"], row["strategy"], row["currency"])
        if key in states:
            states[key] = msgspec.structs.replace(
                states[key], day=row["ts"] // DAY_NS, base=row["pnl"] - row["day_pnl"], peak=row["peak"], last=row["pnl"]
            )
    return with_changes([states[key] for key in sorted(states)], left.changes)


def with_changes(results: Sequence[Carried], changes: Mapping[Owner, Mapping[str, int]]) -> tuple[Carried, ...]:
    """Results with what fills changed beside them."""
    found = []
    for one in results:
        flows = {**one.flows}
        for asset, amount in changes.get((one.account, one.strategy), {}).items():
            flows[asset] = flows.get(asset, 0) + amount
        found.append(msgspec.structs.replace(one, flows={asset: flows[asset] for asset in sorted(flows)}))
    return tuple(found)


def _add(sums: dict[tuple[str, str], int], strategy: str, changes: Mapping[str, int]) -> None:
    """Fills of nobody's orders are no strategy's."""
    for asset, amount in changes.items() if strategy else ():
        sums[strategy, asset] = sums.get((strategy, asset), 0) + amount


def _sent(row: Mapping[str, Any], start: int) -> CarriedOrder:
    """An order as its command has it."""
    return CarriedOrder(
        start=start,
        order=row["order"],
        client_order_id=row["client_order_id"],
        leg=row["leg"],
        attempt=row["attempt"],
        purpose=row["purpose"],
        venue=row["venue"],
        symbol=row["symbol"],
        side=row["side"],
        price=row["price_int"] * 10 ** (MONEY_SCALE - row["px_scale"]),
        qty=row["qty_int"] * 10 ** (MONEY_SCALE - row["qty_scale"]),
        filled=0,
        state="pending",
        fill_ids=(),
    )
