"""How a log stands, folded from its rows as they come: what metrics and alerts are made of.

`status` answers the same question once, from the whole log by SQL; here each row is taken once, so that a look costs what came since.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from xarb.engine.liverows import ARM, DISARM, KILL, RESET, RESET_BREAKERS
from xarb.log.ends import ENDED, ENDS
from xarb.log.follow import Heard, Mid, News
from xarb.model.order import ORDER_TERMINAL
from xarb.model.units import MONEY_SCALE, NANOS_PER_S
from xarb.watch.money import Course

KINDS: Final = (
    "starts",
    "operator",
    "instruments",
    "connections",
    "health",
    "rejects",
    "timers",
    "feed_states",
    "opportunities",
    "refusals",
    "orders",
    "fills",
    "ledger",
    "breakers",
    "blocks",
    "transactions",
    "cycle_states",
)
ALWAYS: Final = ("starts", "operator", "instruments")  # a kill holds until it is taken back, however long ago it was
WINDOW_S: Final = 60  # over which what comes in storms is counted
_BREAKS: Final = ("gap", "lost", "closed")
_OF_ORDERS: Final = ("trade", "fee", "cycle", "swap", "gas")  # causes of the ledger by which orders and transactions change money
_WAITS: Final = ("intent", "sent", "unknown", "reorged")  # events after which a transaction may be included
_DOWN: Final = ("lost", "closed")
Row = Mapping[str, Any]


class Window:
    """Counts what happened within the last minute, by the second."""

    def __init__(self) -> None:
        self._seconds: deque[tuple[int, int]] = deque()

    def add(self, ts: int) -> None:
        """Something happened at `ts` ns; times do not go back."""
        second = ts // NANOS_PER_S
        if self._seconds and self._seconds[-1][0] == second:
            self._seconds[-1] = (second, self._seconds[-1][1] + 1)
        else:
            self._seconds.append((second, 1))
            while len(self._seconds) > WINDOW_S + 1:
                self._seconds.popleft()

    def count(self, now: int) -> int:
        """How often it happened in the minute before `now`."""
        return sum(count for second, count in self._seconds if second > now // NANOS_PER_S - WINDOW_S)


class Connection(msgspec.Struct):
    """One connection: whether it stands, since when, when it was opened and last heard; ns."""

    venue: str
    is_up: bool
    since: int
    opened: int
    heard: int


class Feed(msgspec.Struct):
    """The engine's word on one instrument: its state, whether it may be traded on, and since when that is so, ns."""

    state: str
    tradable: bool
    since: int


class Head(msgspec.Struct, frozen=True):
    """The latest block of a chain: its number, its time, ns, and its base fee, None before EIP-1559."""

    number: int
    ts: int
    base_fee_wei: int | None


class Sender(msgspec.Struct):
    """Who sends on a chain: the nonce of the next transaction, None before one was told, and those that may still be included, by hash."""

    next_nonce: int | None = None
    waiting: set[str] = msgspec.field(default_factory=set)


class Breaker(msgspec.Struct, frozen=True):
    """The engine's word on new bundles of an account at a venue: its state and why it opened last, and since when, ns.

    `until` is the end of its pause; None in an open one: it takes a person.
    """

    state: str
    reason: str
    since: int
    until: int | None


class Act(msgspec.Struct, frozen=True):
    """Something that an operator did."""

    action: str
    actor: str
    ts: int
    detail: str | None


class Trading:
    """The last start, from its row on.

    Attributes:
        number, mode, since: of the start; 0 and empty in a log on which nothing trades.
        act: the last of arm, disarm and kill.
        ended: how it ended, or that its process had died; None while neither is so.
        alive: state and bundle of the orders that may still fill, and since when they are so.
        breakers: by account and venue, where one ever opened.
        opportunities, decided, orders, cycles, refusals, fills: counts; orders and cycles by the states that they came into.
        gas: what transactions cost, money of the chain's own asset, by account and chain.
        scans: timer wakes that were delivered.
    """

    def __init__(self, number: int = 0, mode: str = "", since: int = 0) -> None:
        self.number, self.mode, self.since = number, mode, since
        self.act: Act | None = None
        self.ended: Act | None = None
        self.alive: dict[int, tuple[str, int, int]] = {}
        self.feeds: dict[tuple[str, str], Feed] = {}
        self.breakers: dict[tuple[str, str], Breaker] = {}
        self.opportunities = self.scans = 0
        self.decided: Counter[str] = Counter()
        self.orders: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        self.fills: Counter[str] = Counter()
        self.cycles: Counter[str] = Counter()
        self.gas: Counter[tuple[str, str]] = Counter()

    @property
    def armed(self) -> bool:
        """Whether bundles can be sent."""
        return self.act is not None and self.act.action == ARM and self.ended is None

    @property
    def open_bundles(self) -> int:
        """Bundles with orders that may still fill."""
        return len({bundle for _, bundle, _ in self.alive.values()})


class Watched:
    """A log as far as it was read.

    Attributes:
        last_ts: time of its last input, ns.
        rows: by kind.
        killed: who killed trading, until that was taken back.
        connections: by number.
        trading: the last start.
        course: what it gained.
        health: the last reading by (metric, venue): value, time, detail.
        heads: the latest block by venue.
        senders: by chain and address.
        held: balances by the ledger, by account, venue and asset.
        removed: blocks that reorganisations took back, over all that was read, by venue.
        gaps, rejects: over all that was read, by venue.

    Args:
        bounded: currencies in which losses are looked for, whatever the config states them in.
    """

    def __init__(self, bounded: Sequence[str] = ()) -> None:
        self.last_ts = 0
        self.rows: Counter[str] = Counter()
        self.killed: Act | None = None
        self.connections: dict[int, Connection] = {}
        self.trading = Trading()
        self.course = Course(bounded)
        self.health: dict[tuple[str, str], tuple[int, int, str | None]] = {}
        self.heads: dict[str, Head] = {}
        self.senders: dict[tuple[str, str], Sender] = {}
        self.held: dict[tuple[str, str, str], int] = {}
        self._wrapped: dict[tuple[str, str], str] = {}  # by chain and token, the asset that it wraps
        self.removed: Counter[str] = Counter()
        self.gaps: Counter[str] = Counter()
        self.rejects: Counter[str] = Counter()
        self.recent_gaps, self.recent_rejects, self.recent_refused = Window(), Window(), Window()
        self.lag_ns: dict[str, int] = {}
        self._assets: dict[tuple[str, str], tuple[str, str]] = {}  # base and quote of (venue, symbol)
        self._takers = {
            "starts": self._start,
            "operator": self._operator,
            "instruments": self._instrument,
            "connections": self._connection,
            "health": self._health,
            "rejects": self._reject,
            "timers": self._timer,
            "feed_states": self._feed_state,
            "opportunities": self._opportunity,
            "refusals": self._refusal,
            "orders": self._order,
            "fills": self._fill,
            "ledger": self._ledger,
            "breakers": self._breaker,
            "blocks": self._block,
            "transactions": self._transaction,
            "cycle_states": self._cycle_state,
        }

    def take(self, news: News) -> None:
        """Fold what came."""
        self.rows.update(news.counts)
        for kind, row in news.rows:
            self._takers[kind](row)
        for number, heard in news.heard.items():
            self._hear(number, heard)
        for key, mid in news.mids.items():
            self._price(key, mid)
        self.last_ts = news.last_ts
        self.course.look(self.last_ts)

    def _hear(self, number: int, heard: Heard) -> None:
        one = self.connections.get(number)
        if one is not None:
            one.heard = max(one.heard, heard.ts_recv)
        if heard.ts_event is not None:
            self.lag_ns[heard.venue] = heard.ts_recv - heard.ts_event

    def _price(self, key: tuple[str, str], mid: Mid) -> None:
        pair = self._assets.get(key)
        if pair is not None:
            self.course.price(*pair, mid.doubled * 10 ** (MONEY_SCALE - mid.px_scale) // 2)

    # One method for each kind of row.

    def _start(self, row: Row) -> None:
        self.trading = Trading(row["number"], row["mode"], row["ts_recv"])
        config = msgspec.json.decode(row["config"], type=dict[str, Any])
        self.course.begin(tuple(config.get("run", {}).get("currencies", ())))
        chains: dict[str, Any] = config.get("onchain", {})
        self._wrapped = {(venue, one["own"]["wrapped"]): one["own"]["native"] for venue, one in chains.items()}
        self.connections.clear()  # of the process before; those of this one open behind the start

    def _operator(self, row: Row) -> None:
        act = Act(row["action"], row["actor"], row["ts_recv"], row["detail"])
        if act.action == KILL:
            self.killed = act
        elif act.action == RESET:
            self.killed = None
        elif act.action == RESET_BREAKERS:
            self.trading.breakers.clear()
        if act.action in (ARM, DISARM, KILL):
            self.trading.act = act
        elif act.action in ENDS:
            self.trading.ended = act
            if act.action == ENDED:  # of a process that died some may still fill
                self.trading.alive.clear()

    def _instrument(self, row: Row) -> None:
        self._assets[row["venue"], row["symbol"]] = row["base"], row["quote"]

    def _connection(self, row: Row) -> None:
        ts, venue, event = row["ts_recv"], row["venue"], row["event"]
        if event in _BREAKS[:2]:
            self.gaps[venue] += event == "gap"
            if event == "gap":
                self.recent_gaps.add(ts)
        one = self.connections.get(row["conn"])
        if event == "opened":
            self.connections[row["conn"]] = Connection(venue, is_up=True, since=ts, opened=ts, heard=ts)
        elif one is not None and event in _DOWN:
            one.is_up, one.since = False, ts
        elif one is not None:
            one.heard = ts

    def _health(self, row: Row) -> None:
        self.health[row["metric"], row["venue"] or ""] = row["value"], row["ts_recv"], row["detail"]

    def _block(self, row: Row) -> None:
        venue = row["venue"]
        if row["event"] == "removed":
            self.removed[venue] += 1
            return
        fee = row["base_fee_wei"]
        self.heads[venue] = Head(row["block_number"], row["ts_event"], None if fee is None else int(fee))
        self._hear(row["conn"], Heard(venue, row["ts_recv"], row["ts_event"]))

    def _reject(self, row: Row) -> None:
        self.rejects[row["venue"] or ""] += 1
        self.recent_rejects.add(row["ts_recv"])

    def _timer(self, row: Row) -> None:
        del row
        self.trading.scans += 1

    def _feed_state(self, row: Row) -> None:
        key, found = (row["venue"], row["symbol"]), self.trading.feeds.get((row["venue"], row["symbol"]))
        if found is not None and found.tradable == row["tradable"]:
            found.state = row["state"]
        else:
            self.trading.feeds[key] = Feed(row["state"], row["tradable"], row["ts"])

    def _opportunity(self, row: Row) -> None:
        if row["phase"] == "opened":
            self.trading.opportunities += 1
        elif row["phase"] == "decided":
            self.trading.decided[row["verdict"]] += 1

    def _refusal(self, row: Row) -> None:
        self.trading.refusals[row["reason"]] += 1

    def _order(self, row: Row) -> None:
        state, trading = row["state"], self.trading
        if state == row["previous"]:
            return
        trading.orders[state] += 1
        if state == "rejected":
            self.recent_refused.add(row["ts"])
        if state in ORDER_TERMINAL:
            trading.alive.pop(row["order"], None)
        else:
            trading.alive[row["order"]] = (state, row["bundle"], row["ts"])

    def _fill(self, row: Row) -> None:
        trading = self.trading
        trading.fills[row["purpose"]] += 1
        pair = self._assets.get((row["venue"], row["symbol"]))
        if pair is not None:
            self.course.fill(*pair, row["price"])

    def _ledger(self, row: Row) -> None:
        account: str = row["account"]
        venue: str = row["venue"]
        asset: str = row["asset"]
        self.held[account, venue, asset] = row["balance"]
        if row["cause"] in _OF_ORDERS:
            self.course.change(row["ts"], self._wrapped.get((venue, asset), asset), row["delta"])
        if row["cause"] == "gas":
            self.trading.gas[account, venue] -= row["delta"]

    def _transaction(self, row: Row) -> None:
        one = self.senders.setdefault((row["venue"], row["address"]), Sender())
        if row["nonce"] is not None:
            one.next_nonce = max(one.next_nonce or 0, row["nonce"] + (row["event"] != "adopted"))
        if row["event"] in _WAITS:
            one.waiting.add(row["tx_hash"])
        else:
            one.waiting.discard(row["tx_hash"])

    def _cycle_state(self, row: Row) -> None:
        self.trading.cycles[row["state"]] += 1

    def _breaker(self, row: Row) -> None:
        self.trading.breakers[row["account"], row["venue"]] = Breaker(row["state"], row["reason"], row["ts"], row["until"])
