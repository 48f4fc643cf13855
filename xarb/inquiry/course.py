"""The course of a run or a start, as the comparison of two needs it: opportunities with their decisions, orders and what these changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

from xarb.inquiry.cyclecourse import KIND
from xarb.inquiry.decided import Decided
from xarb.inquiry.swapcourse import swap_fields
from xarb.model.units import MONEY_SCALE

Row = dict[str, Any]
Market = tuple[str, str]  # venue, symbol
Pair = tuple[str, tuple[Market, ...]]  # strategy, and the sold and the bought market, or those of a cycle in order
Flow = dict[str, int]  # change by asset, money


class Fill(NamedTuple):
    """One execution; money at 18 decimals."""

    price: int
    qty: int
    notional: int
    fee: int
    fee_asset: str
    liquidity: str


class Order(NamedTuple):
    """One order and what became of it.

    Attributes:
        number: as it counts on its side.
        leg, attempt, purpose: its place in its bundle.
        market: venue and symbol.
        plan: side, time in force, price and quantity (money).
        account: whose money.
        ts: when it was sent.
        state, reason: its last state.
        fills: in order.
        trades, fees: what the ledger says it changed, by asset.
        heard_ns: from the command to the first report, None when nothing was heard.
        canceled: when it was asked to be canceled.
    """

    number: int
    leg: int
    attempt: int
    purpose: str
    market: Market
    plan: tuple[Any, ...]
    account: str
    ts: int
    state: str
    reason: str | None
    fills: tuple[Fill, ...]
    trades: Flow
    fees: Flow
    heard_ns: int | None
    canceled: tuple[int, ...]

    @property
    def outcome(self) -> tuple[Any, ...]:
        """What became of it, fees apart."""
        fills = tuple((fill.price, fill.qty) for fill in self.fills)
        return (self.state, self.reason, fills, self.heard_ns, tuple(ts - self.ts for ts in self.canceled))


class Decision(NamedTuple):
    """One decision on an opportunity, and the orders of the bundle that it made, in order."""

    ts: int
    n: int  # its place among the outputs of the same input
    verdict: str
    reason: str | None
    basis: tuple[Any, ...]  # edge, bid and ask on which it was made
    bundle: int | None
    orders: tuple[Order, ...]


class Episode(NamedTuple):
    """One opportunity; `first` and `last` are the ends of its life in ns, `last` is None while it stands."""

    number: int | None
    pair: Pair
    opened: tuple[Any, ...]
    closed: tuple[Any, ...] | None
    first: int
    last: int | None
    decisions: tuple[Decision, ...]


class Course(NamedTuple):
    """What one side did, and between which times it was there: of its first and last input."""

    episodes: dict[Pair, list[Episode]]
    first_ts: int
    last_ts: int
    total: Flow  # what all orders changed, by asset, as the ledger sums it
    fills: dict[tuple[str, str], int]  # price of the last fill by base and quote asset
    on_chains: list[
        tuple[tuple[Market, ...], list[Row]]
    ]  # opportunities over pools, whose orders are cycles: markets and rows of each

    def prices(self, currency: str) -> Flow:
        """By asset, the price in that currency of the last fill."""
        return {base: price for (base, quote), price in self.fills.items() if quote == currency}


def course_of(decided: Decided) -> Course:
    """Read it.

    Raises:
        LogError: a file is damaged.
    """
    orders = _orders(decided)
    by_bundle: defaultdict[int, list[Order]] = defaultdict(list)
    for bundle, order in orders:
        by_bundle[bundle].append(order)
    told: defaultdict[int, list[Row]] = defaultdict(list)
    for row in decided.rows("opportunities"):
        told[row["opportunity"]].append(row)
    episodes: defaultdict[Pair, list[Episode]] = defaultdict(list)
    on_chains = []
    for rows in told.values():
        if decided.resolved.strategies[rows[0]["strategy"]].kind == KIND:
            on_chains.append((markets_of(rows[0]), rows))
            continue
        episode = _episode(rows, by_bundle)
        episodes[episode.pair].append(episode)
    for pair, episode in _without_opportunity(decided, by_bundle):
        episodes[pair].append(episode)
    total: Flow = defaultdict(int)
    for row in decided.rows("ledger", columns=("asset", "delta", "order")):
        if row["order"] is not None:
            total[row["asset"]] += row["delta"]
    assets = {(row["venue"], row["symbol"]): (row["base"], row["quote"]) for row in decided.rows("instruments")}
    last = {assets[row["venue"], row["symbol"]]: row["price"] for row in decided.rows("fills")}
    return Course(dict(episodes), *decided.times(), dict(total), last, on_chains)


def _orders(decided: Decided) -> list[tuple[int, Order]]:
    """The orders with their bundles, in the order of their numbers."""
    states: dict[int, Row] = {row["order"]: row for row in decided.rows("orders")}
    fills: defaultdict[int, list[Fill]] = defaultdict(list)
    for row in decided.rows("fills"):
        fills[row["order"]].append(Fill(*(row[name] for name in Fill._fields)))
    flows: defaultdict[int, tuple[Flow, Flow]] = defaultdict(lambda: (defaultdict(int), defaultdict(int)))
    for row in decided.rows("ledger"):
        if row["order"] is not None:
            flows[row["order"]][row["cause"] == "fee"][row["asset"]] += row["delta"]
    heard = _heard(decided)
    commands = decided.rows("commands")
    canceled: defaultdict[int, list[int]] = defaultdict(list)
    for row in commands:
        if row["kind"] == "cancel":
            canceled[row["order"]].append(row["ts"])
    found = []
    for row in commands:
        if row["kind"] == "submit":
            number, state = row["order"], states[row["order"]]
            first = heard.get(number)
            order = Order(
                number=number,
                leg=row["leg"],
                attempt=row["attempt"],
                purpose=row["purpose"],
                market=(row["venue"], row["symbol"]),
                plan=(row["side"], row["tif"], _money(row, "price_int", "px_scale"), _money(row, "qty_int", "qty_scale")),
                account=row["account"],
                ts=row["ts"],
                state=state["state"],
                reason=state["reason"],
                fills=tuple(fills[number]),
                trades=dict(flows[number][0]),
                fees=dict(flows[number][1]),
                heard_ns=None if first is None else first - row["ts"],
                canceled=tuple(canceled[number]),
            )
            found.append((row["bundle"], order))
    found += [(bundle, Order(**fields)) for bundle, fields in swap_fields(decided, flows)]
    return sorted(found, key=_by_number)


def _by_number(one: tuple[int, Order]) -> int:
    return one[1].number


def _heard(decided: Decided) -> dict[int, int]:
    """By order, when the venue was first heard of it; that it was sent is no word of the venue."""
    where: list[Any] = [("start", "=", decided.number)] if decided.reports == "reports" else []
    time = "ts_recv" if decided.reports == "reports" else "ts"
    found: dict[int, int] = {}
    for row in decided.rows(decided.reports, *where):
        if row["event"] != "sent":
            found.setdefault(row["order"], row[time])
    return found


def _money(row: Row, name: str, scale: str) -> int:
    value: int = row[name] * 10 ** (MONEY_SCALE - row[scale])
    return value


def markets_of(row: Row) -> tuple[Market, ...]:
    """The markets of an `opportunities` row: sold and bought, or those of a cycle in the order of its trades."""
    if row["legs"] is None:
        return ((row["sell_venue"], row["sell_symbol"]), (row["buy_venue"], row["buy_symbol"]))
    ids = [leg.split(" ", 1)[1].rpartition("@") for leg in row["legs"].split(", ")]
    return tuple((venue, symbol) for symbol, _, venue in ids)


def _episode(rows: list[Row], by_bundle: dict[int, list[Order]]) -> Episode:
    first, last = rows[0], rows[-1]
    decisions = [
        Decision(
            row["ts"],
            row["n"],
            row["verdict"],
            row["reason"],
            (row["edge_ppb"], row["bid_int"], row["ask_int"]),
            row["bundle"],
            tuple(by_bundle.get(row["bundle"], ())),
        )
        for row in rows
        if row["phase"] == "decided"
    ]
    closed = last if last["phase"] == "closed" else next((row for row in rows if row["phase"] == "closed"), None)
    return Episode(
        number=first["opportunity"],
        pair=(first["strategy"], markets_of(first)),
        opened=(first["ts"], first["edge_ppb"], first["bid_int"], first["ask_int"]),
        closed=None if closed is None else (closed["ts"], closed["reason"], closed["best_edge_ppb"]),
        first=first["ts"],
        last=None if closed is None else closed["ts"],
        decisions=tuple(decisions),
    )


def _without_opportunity(decided: Decided, by_bundle: dict[int, list[Order]]) -> Iterable[tuple[Pair, Episode]]:
    """Bundles that rest on no opportunity, each as an episode of its own moment."""
    rows = decided.rows("commands", ("kind", "=", "submit"))
    rows += [row for row in decided.rows("cycles", ("kind", "=", "submit")) if row["token_out"] is not None]
    bundles = {row["bundle"]: row for row in reversed(rows) if row["opportunity"] is None}
    for number, row in sorted(bundles.items()):
        pair: Pair = (row["strategy"], ())
        decision = Decision(row["ts"], row["n"], "taken", None, (), number, tuple(by_bundle[number]))
        yield pair, Episode(None, pair, (row["ts"],), (row["ts"],), row["ts"], row["ts"], (decision,))
