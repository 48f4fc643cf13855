"""Orders, legs and bundles in any course: the real engine, the real account of what is heard, and exchanges that lose, delay and repeat.

The model is the truth of `legs_exchange.py` and the plain rules of docs/orders.md and docs/life-cycles.md: what may fill counts at its worst, an order of
unknown fate ends by evidence alone, nothing is sent for a bundle whose other orders may yet fill, each fill is told once, and what is
reserved is what may yet be taken.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.defaults import breaker_limits, execution_policy, risk_limits, strategy_terms
from tests.engine.desk import HOUR, Desk, money
from tests.engine.legs_exchange import ENDS, NEVER, SYMBOL, Exchanges, Placed
from xarb.engine.captured import DecisionsCopy
from xarb.engine.engine import Engine
from xarb.model.columns import TABLES
from xarb.model.command import AnyCommand, CancelOrder, SubmitOrder
from xarb.model.instrument import FeeTier
from xarb.model.order import CANCEL, KILL_LEVELS, ORDER_TERMINAL, STOP, UNWIND
from xarb.model.units import MONEY_ONE, NANOS_PER_MS, PPB, Money, Ppb, ceil_div
from xarb.venues.liveorders import Expected, LiveOrders
from xarb.venues.orderids import ClientIds, OrderName
from xarb.venues.replies import TradeSaid
from xarb.venues.venue import VenueRow

LOG = "0123abcd"
FEE_PPB = 1_000_000
OPENING = 2_000
BOUND = money(10)
OPEN = 3  # bundles at once
SOME = 6  # orders of a start before it may be killed
MISSES = 2  # look-ups that find nothing before an order is given up
SETTLES = 80  # rounds in which all is told and answered
Fate = tuple[str, int]
COLUMNS = tuple(column.name for column in TABLES["reports"].columns[2:])

PLANS = st.sampled_from(
    [
        ("buy a 103 3", "sell b 97 3"),
        ("sell a 97 2", "buy b 103 2"),
        ("buy b 102 3", "sell a 98 3"),
        ("buy a 101 4", "sell b 100 4"),
    ]
)
OUTCOMES = ("replied", "replied", "filled", "parted", "denied", "unanswered", "unheard", "late", "vanished", "refused", "unsent")
HEARD = st.tuples(st.sampled_from([0, 0, 0, 1, 2, 5]), st.sampled_from(["once", "once", "once", "again", "bare", "never"]))
FATES = st.tuples(st.sampled_from(OUTCOMES), st.integers(1, 3))  # of a request, and how much of an order fills at once


class LegsMachine(RuleBasedStateMachine):
    """One strategy on two venues; see the module."""

    desk: Desk
    killed: str | None
    number: int  # of the start
    left: list[Placed]  # orders of earlier starts that are watched
    states: dict[OrderName, str]  # of this start's orders, as the engine tells them
    orders: dict[OrderName, dict[str, Any]]  # their `commands` rows
    wishes: dict[int, tuple[str, ...]]  # legs by bundle
    rests: dict[int, str]  # the leg that a hard leg may yet release, by bundle
    live: dict[str, LiveOrders]
    outbox: list[AnyCommand]

    @initialize(
        sequence=st.sampled_from(["simultaneous", "hard_leg_first"]), fee=st.sampled_from(["quote", "base"]), residual=st.data()
    )
    def begin(self, sequence: str, fee: str, residual: st.DataObject) -> None:
        """A first start."""
        self.sequence, self.fee_asset = sequence, fee
        self.policy = residual.draw(st.sampled_from(["proceed", "reverse", "hold"]))
        balances = {(venue, coin): OPENING * MONEY_ONE for venue in "ab" for coin in ("BTC", "USD")}
        self.truth = Exchanges(balances, FEE_PPB, fee)
        self.told = Counter[str]()  # fills, over all starts
        self.clock = 0
        self.number, self.left = 0, []
        self._start()

    # --- what a strategy, a market and time do

    @rule(legs=PLANS, fates=st.lists(FATES, max_size=2))
    def plan(self, legs: tuple[str, ...], fates: list[Fate]) -> None:
        """The strategy wants a bundle; some of its orders go out."""
        if self.fee_asset == "base":  # what is bought pays the fee, and is not all there to be sold
            legs = tuple(f"{leg[:-1]}{int(leg[-1]) + 1}" if leg[0] == "b" else leg for leg in legs)
        self.wish = legs
        self.desk.tell(*legs, sequence=self.sequence)
        self._follow()
        for fate in fates:
            if self.outbox:
                self.leave(fate)

    @rule(number=st.integers(0, 1), bid=st.integers(97, 103), gap_ms=st.sampled_from([1, 50, 400]))
    def quote(self, number: int, bid: int, gap_ms: int) -> None:
        """The market moves, and what was due until then happens."""
        self.clock += gap_ms * NANOS_PER_MS
        self.desk.quote(number, bid, bid + 1, ts=self.desk.now + gap_ms * NANOS_PER_MS)
        self._follow()

    @precondition(lambda self: self.killed is None and len(self.orders) >= SOME)
    @rule(level=st.sampled_from(KILL_LEVELS))
    def kill(self, level: str) -> None:
        """A person kills the trading of this start."""
        self.killed = level
        self.desk.slow("operator", {"action": "kill", "detail": level})
        self._follow()

    # --- commands on their way

    @precondition(lambda self: self.outbox)
    @rule(fate=FATES)
    def leave(self, fate: Fate) -> None:
        """The next command goes out: an order, or a cancel, whose reply may be lost and which may be."""
        command = self.outbox.pop(0)
        one = self.truth.orders[OrderName(self.number, command.order)]
        if isinstance(command, CancelOrder):
            self._cancel(one, is_lost=fate[0] == "vanished", is_unanswered=fate[0] in ("unanswered", "unheard"))
        else:
            self._submit(one, *fate)

    @precondition(lambda self: self.truth.of("coming"))
    @rule(which=st.integers(0, 3))
    def come_late(self, which: int) -> None:
        """An order that was given up for lost comes to its exchange."""
        self.truth.arrive(_pick(self.truth.of("coming"), which))

    # --- what exchanges do and say

    @precondition(lambda self: self.truth.of("open"))
    @rule(which=st.integers(0, 3), qty=st.integers(1, 6), better=st.integers(0, 1))
    def fill(self, which: int, qty: int, better: int) -> None:
        """Some of an order fills."""
        self.truth.fill(_pick(self.truth.of("open"), which), qty, better)

    @precondition(lambda self: self.truth.of("open"))
    @rule(which=st.integers(0, 3), state=st.sampled_from(["canceled", "expired"]), is_stale=st.booleans())
    def end(self, which: int, state: str, is_stale: bool) -> None:
        """The exchange ends an order; what it says of that may not count the last fill yet."""
        self.truth.end(_pick(self.truth.of("open"), which), state, is_stale=is_stale)

    @precondition(lambda self: self.truth.pushes)
    @rule(ways=st.lists(HEARD, min_size=1, max_size=4))
    def hear(self, ways: list[tuple[int, str]]) -> None:
        """Some of what is said unasked is heard: out of order, once more later, without its fee, or never."""
        for which, how in ways:
            if not self.truth.pushes:
                return
            one = _pick(self.truth.pushes, which)
            if how != "again":
                self.truth.pushes.remove(one)
            trade = one.trade
            if trade is not None and how == "bare":
                trade = msgspec.structs.replace(trade, fee=None, fee_asset=None)
            if how != "never":
                self._tell(self.live[one.venue].heard(one.order, [trade] if trade else (), source="stream"))

    @rule(which=st.integers(0, 3), hidden=st.booleans(), times=st.integers(1, 3))
    def look_up(self, which: int, hidden: bool, times: int) -> None:
        """An order is asked for, maybe again and again; an exchange may not know it for a while though it has it."""
        watched = [(venue, one) for venue in "ab" for one in self.live[venue].open_orders() if one.is_sent]
        if not watched:
            return
        venue, one = _pick(watched, which)
        for _ in range(times):
            if not one.is_done:
                self._look(venue, one.expected.name, hidden=hidden)

    @rule(venue=st.sampled_from("ab"))
    def list_trades(self, venue: str) -> None:
        """All fills at an exchange are asked for."""
        for trade in [trade for one in self.truth.orders.values() if one.venue == venue for trade in one.trades]:
            self._tell(self.live[venue].traded(trade, source="trades"))

    # --- the end of a process

    @rule()
    def resume(self) -> None:
        """Another engine goes on from a copy of this one's state, in the same start."""
        copy = self.desk.engine.capture()
        decisions = msgspec.json.decode(msgspec.json.encode(copy.decisions), type=DecisionsCopy)
        self.desk.engine = Engine(self.desk.engine.setup, [*self.desk.told.values()])
        self.desk.engine.restore(type(copy)(copy.memory, decisions))

    @precondition(lambda self: self.number < 3 and self.truth.orders)
    @rule()
    def restart(self) -> None:
        """The process dies, with what it had not sent; the next start opens with what the exchanges have, and watches what was left."""
        for one in self.truth.of("decided"):
            one.state = NEVER
        self._start()

    # --- what must be true, whenever the engine stopped

    @invariant()
    def bounds_hold(self) -> None:
        """What truly happened lies within what is counted with, that within its bound, and reserved is what may yet be taken."""
        if not hasattr(self, "desk"):
            return
        engine = self.desk.engine
        found, wanted = engine.execution.exposure("s", "BTC"), self._exposure()
        assert found == wanted, f"the exposure is {found}, what may become of it is {wanted}"
        if not any(one.denied for one in self.truth.orders.values()):
            low, high = wanted
            assert -BOUND <= low <= self._truly() <= high <= BOUND, f"{self._truly()} is not within {wanted}"
        for (venue, coin), may_go in self._reserved().items():
            kept = engine.portfolio.reserved(("main", venue, coin))
            assert kept == may_go, f"{kept / MONEY_ONE} {coin} is reserved at {venue}, {may_go / MONEY_ONE} may be taken"

    def teardown(self) -> None:
        """Everything comes, is told and answered: each bundle ends, nothing stays reserved, and the money is the exchanges'."""
        if not hasattr(self, "desk"):
            return
        for _ in range(SETTLES):
            if self._rest():
                break
        else:
            raise AssertionError("a bundle never ends")
        self._judge()

    def _rest(self) -> bool:
        """One round of that; whether nothing is left to be done."""
        for one in self.truth.of("coming"):
            self.truth.arrive(one)
        while self.outbox:
            self.leave(("filled", 1))
        for one in self.truth.of("open"):
            self.truth.end(one, "canceled")
        while self.truth.pushes:
            self.hear([(0, "once")])
        for venue in "ab":
            for watched in self.live[venue].open_orders():
                self._look(venue, watched.expected.name, hidden=False)
            self.list_trades(venue)
            self._tell(self.live[venue].release())
        self.quote(0, 100, 400)
        self.quote(1, 100, 400)
        is_done = not self.outbox and not self.desk.engine.execution.open_bundles("s")
        return is_done and not any(self.live[venue].open_orders() for venue in "ab")

    def _judge(self) -> None:
        engine = self.desk.engine
        portfolio = engine.portfolio
        trades = [trade for one in self.truth.orders.values() for trade in one.trades]
        assert self.told == Counter(trade.fill_id for trade in trades), "a fill is told twice or never"
        for (venue, coin), there in self.truth.balances.items():
            assert portfolio.reserved(("main", venue, coin)) == 0, f"{coin} stays reserved at {venue}"
            here = portfolio.balance(("main", venue, coin)) + self._after_opening(venue, coin)
            assert here == there, f"{here / MONEY_ONE} {coin} here, {there / MONEY_ONE} at {venue}"
        held = sum(one.qty for (coin, _), one in portfolio.holdings("s").items() if coin == "BTC")
        assert held == portfolio.flows("s").get("BTC", 0), "what is held is not what the fills left"

    # --- how it is done

    def _start(self) -> None:
        """A start: what the exchanges have, and every order whose end was not told, watched by who listens now."""
        if self.number:
            left = [self.truth.orders[name] for name in self.orders if self._lives(name)]
            self.left = [*(one for one in self.left if self._is_watched(one)), *left]
        self.number += 1
        self.known = set(self.told)
        self.states, self.orders, self.wishes, self.rests = {}, {}, {}, {}
        self.killed, self.outbox = None, []
        self.live = {venue: LiveOrders("main", venue, ClientIds(LOG, "binance"), start=1) for venue in "ab"}
        for one in self.left:
            trades = [trade for trade in one.trades if self.told[trade.fill_id]]
            filled = Money(sum(trade.qty for trade in trades))
            expected = _expected(one, tuple(trade.fill_id for trade in trades), filled)
            self.live[one.venue].expect(expected).is_sent = True
        self.opened = {**self.truth.balances}
        self.fills_before = {trade.fill_id for one in self.truth.orders.values() for trade in one.trades}
        self.desk = self._desk()
        self.seen = 0
        self._follow()

    def _is_watched(self, one: Placed) -> bool:
        watched = self.live[one.venue].order(one.name)
        return watched is not None and not watched.is_done

    def _desk(self) -> Desk:
        limits = risk_limits(latency_threshold_ns=HOUR, max_exposure={"BTC": BOUND}, max_open_bundles=OPEN)
        policy = execution_policy(
            timeout_ns=300 * NANOS_PER_MS,
            hedge_cap_ppb=Ppb(20_000_000),
            unwind_cap_ppb=Ppb(20_000_000),
            retry_ns=100 * NANOS_PER_MS,
            residual=self.policy,
        )
        return Desk(
            terms={"s": strategy_terms(limits=limits, execution=policy, budget={"USD": money(1_500), "BTC": money(20)})},
            fee=FeeTier(maker_ppb=Ppb(0), taker_ppb=Ppb(FEE_PPB), asset=self.fee_asset),
            opening={("main", *place): Money(amount) for place, amount in self.opened.items()},
            log_id=LOG,
            start=self.number,
            breakers=dict.fromkeys(
                "ab", breaker_limits(errors=0, unknown=0, rejects=0, ack_ns=0, feed_score=0, residual_held=False)
            ),
        )

    def _submit(self, one: Placed, fate: str, qty: int) -> None:
        live, truth = self.live[one.venue], self.truth
        watched = live.expect(_expected(one, (), Money(0)))
        if fate == "unsent":
            one.state = NEVER
            self._tell(live.not_sent(watched, "too_old"))
            return
        one.state = {"refused": "rejected", "vanished": NEVER, "late": "coming"}.get(fate, "open")
        self._tell(live.sent(watched, self.clock))
        if one.state == "open":
            truth.arrive(one)
        if fate in ("filled", "parted", "denied", "unheard"):
            truth.fill(one, one.command.qty_int if fate == "filled" else qty, 0)
        if fate in ("parted", "denied", "unheard") and one.state == "open":
            truth.end(one, "expired", is_stale=fate == "denied")
        if fate == "refused":
            self._tell(live.refused(watched, "invalid_order"))
        elif fate in ("unanswered", "unheard", "late", "vanished"):
            self._tell(live.lost(watched, "timeout"))
        else:
            self._tell(live.heard(one.said(), [] if one.denied else one.trades, source="send"))

    def _cancel(self, one: Placed, *, is_lost: bool, is_unanswered: bool) -> None:
        live = self.live[one.venue]
        watched = live.order(one.name)
        assert watched is not None, "a cancel of an order that was never sent"
        self._tell(live.cancel_sent(watched))
        was_open = one.state == "open"
        if was_open and not is_lost:
            self.truth.end(one, "canceled")
        if is_lost or is_unanswered:
            self._tell(live.cancel_failed(watched, "timeout"))
        elif was_open:
            self._tell(live.heard(one.said(), source="cancel"))
        else:
            self._tell(live.cancel_failed(watched, "order_not_found"))

    def _look(self, venue: str, name: OrderName, *, hidden: bool) -> None:
        """A look-up; an order that is not found again and again, when none can be on its way, and of which no fill is told, is given up."""
        live, one = self.live[venue], self.truth.orders[name]
        watched = live.order(name)
        assert watched is not None
        if one.was_there and not hidden:
            self._tell(live.heard(one.said(), source="lookup"))
            if watched.lacks_fills:
                for trade in one.trades:
                    self._tell(live.traded(trade, source="trades"))
            return
        self._tell(live.absent(watched, self.clock))
        if watched.misses >= MISSES and one.state in (NEVER, "rejected"):
            self.list_trades(venue)
            self._tell(live.never_arrived(watched))
            self._tell(live.release())

    def _tell(self, rows: list[VenueRow]) -> None:
        """Rows go into the log, and from there to the engine."""
        for row in rows:
            assert row.kind == "reports", f"{row.values}"
            values: dict[str, Any] = {name: row.values.get(name) for name in COLUMNS}
            if values["event"] == "fill":
                if values["fill_id"] in self.known:  # told by an earlier start: `Exchanges` leaves it out
                    continue
                self.told[values["fill_id"]] += 1
            self.desk.slow("reports", values)
            self._follow()

    def _follow(self) -> None:
        """Judge what the engine did since."""
        commands, self.desk.sent = self.desk.sent, []
        self.outbox += commands
        for command in commands:
            if isinstance(command, SubmitOrder):
                name, venue = OrderName(self.number, command.order), self.desk.letters[command.instrument]
                self.truth.orders[name] = Placed(name, venue, command, command.client_order_id)
        for kind, row in self.desk.rows[self.seen :]:
            if kind == "commands" and row["kind"] == "submit":
                self._sent(row)
            elif kind == "orders":
                self._moved(row)
        self.seen = len(self.desk.rows)
        for bundle in [*self.rests]:
            if not any(
                row["bundle"] == bundle and row["purpose"] == "open" and self._lives(name) for name, row in self.orders.items()
            ):
                del self.rests[bundle]

    def _sent(self, row: dict[str, Any]) -> None:
        """No two live orders for one intent, by what the exchanges have and by what may yet come to them."""
        name, bundle = OrderName(self.number, row["order"]), row["bundle"]
        assert name not in self.orders, "an order is sent twice"
        mine = [known for known in self.orders.values() if known["bundle"] == bundle]
        assert self.killed not in (CANCEL, STOP), f"an order is sent after a kill to {self.killed}"
        assert row["purpose"] == "unwind" or self.killed != UNWIND, "after such a kill only what undoes is sent"
        if not mine:
            living = {known["bundle"] for other, known in self.orders.items() if self._lives(other)}
            assert self.killed is None, "a bundle begins after a kill"
            assert len(living) < OPEN, f"a bundle begins while those of {living} live"
        if not mine and self.sequence == "hard_leg_first":
            self.rests[bundle], self.wishes[bundle] = self.wish[1], self.wish
        if row["purpose"] == "open":
            assert row["attempt"] == 0
            pieces = [known["qty_int"] for known in mine if (known["leg"], known["purpose"]) == (row["leg"], "open")]
            assert not pieces or (self.sequence == "hard_leg_first" and row["leg"] > 0), f"leg {row['leg']} is sent twice"
            first = [known["order"] for known in mine if (known["leg"], known["purpose"]) == (0, "open")]
            if self.sequence == "hard_leg_first" and row["leg"] > 0:
                filled, (lead, other) = self.truth.orders[OrderName(self.number, first[0])].filled, self.wishes[bundle]
                share = int(other.split()[3]) * filled // int(lead.split()[3])
                assert sum(pieces) + row["qty_int"] <= share, "more is released than the first leg filled"
        else:
            others = [self.truth.orders[OrderName(self.number, known["order"])] for known in mine]
            alive = [one.client_id for one in others if one.may_fill]
            assert not alive, f"bundle {bundle} is flattened while {alive} may fill"
        self.orders[name] = row

    def _moved(self, row: dict[str, Any]) -> None:
        """An order's new state has its evidence."""
        name, state = OrderName(self.number, row["order"]), row["state"]
        self.states[name] = state
        one = self.truth.orders[name]
        if state in ("accepted", "partially_filled"):
            assert one.was_there, f"{one.client_id} is called {state}, and no exchange has it"
        if state in ORDER_TERMINAL:
            assert one.state in (*ENDS, NEVER), f"{one.client_id} is called {state}, and is {one.state}"
            assert row["filled_qty"] >= (one.filled - one.denied) * MONEY_ONE, (
                f"{one.client_id} ends with {row['filled_qty']}, {one.filled} were filled"
            )

    # --- the plain reckoning of money

    def _reserved(self) -> dict[tuple[str, str], int]:
        """What orders may take that are not known to have ended, and what a hard leg may yet release."""
        found = dict.fromkeys(self.opened, 0)
        for name, row in self.orders.items():
            if self._lives(name):
                left = row["qty_int"] - self._heard_qty(name)
                self._reserve(found, self.truth.orders[name].venue, (row["side"], row["price_int"], left))
        for venue, order in self._resting():
            self._reserve(found, venue, order)
        return found

    def _lives(self, name: OrderName) -> bool:
        return self.states[name] not in ORDER_TERMINAL

    def _exposure(self) -> tuple[int, int]:
        """What the fills that were told changed, and that with whatever may yet fill on either side."""
        low = high = sum(_change(trade, "BTC") for name in self.orders for trade in self._heard(name))
        ways = [(row["side"], row["qty_int"] - self._heard_qty(name)) for name, row in self.orders.items() if self._lives(name)]
        for side, qty in [*ways, *((order[0], order[2]) for _, order in self._resting())]:
            fee = qty * FEE_PPB * MONEY_ONE // PPB if self.fee_asset == "base" else 0  # of a sale on top
            low, high = (low, high + qty * MONEY_ONE) if side == "buy" else (low - qty * MONEY_ONE - fee, high)
        return low, high

    def _truly(self) -> int:
        """The position as the exchanges have it, of this start's orders."""
        return sum(_change(trade, "BTC") for name in self.orders for trade in self.truth.orders[name].trades)

    def _heard(self, name: OrderName) -> list[TradeSaid]:
        return [trade for trade in self.truth.orders[name].trades if self.told[trade.fill_id]]

    def _heard_qty(self, name: OrderName) -> int:
        return sum(trade.qty for trade in self._heard(name)) // MONEY_ONE

    def _resting(self) -> list[tuple[str, tuple[str, int, int]]]:
        """What hard legs may yet release: venue, and side, price and quantity."""
        found = []
        for bundle, leg in self.rests.items():
            side, venue, price, qty = leg.split()
            released = sum(row["qty_int"] for row in self.orders.values() if (row["bundle"], row["leg"]) == (bundle, 1))
            found.append((venue, (side, int(price), int(qty) - released)))
        return found

    def _reserve(self, found: dict[tuple[str, str], int], venue: str, order: tuple[str, int, int]) -> None:
        side, price, qty = order
        coin, amount = ("USD", qty * price * MONEY_ONE) if side == "buy" else ("BTC", qty * MONEY_ONE)
        is_charged = (self.fee_asset == "quote") == (side == "buy")
        found[venue, coin] += amount + (ceil_div(amount * FEE_PPB, PPB) if is_charged else 0)

    def _after_opening(self, venue: str, coin: str) -> int:
        """What fills of earlier starts' orders changed since this one opened: its engine is not told of them."""
        late = 0
        for one in self.truth.orders.values():
            if one.name.start == self.number or one.venue != venue:
                continue
            for trade in one.trades:
                if trade.fill_id not in self.fills_before:
                    late += _change(trade, coin)
        return late


def _change(trade: TradeSaid, coin: str) -> int:
    sign = 1 if trade.side == "buy" else -1
    change = sign * trade.qty if coin == "BTC" else -sign * trade.qty * trade.price // MONEY_ONE
    return change - (trade.fee or 0 if trade.fee_asset == coin else 0)


def _expected(one: Placed, fill_ids: tuple[str, ...], filled: Money) -> Expected:
    return Expected(
        name=one.name,
        account="main",
        strategy="s",
        venue=one.venue,
        symbol=SYMBOL,
        side=one.command.side,
        qty=Money(one.command.qty_int * MONEY_ONE),
        fill_ids=fill_ids,
        filled_qty=filled,
    )


def _pick(among: list[Any], which: int) -> Any:
    return among[which % len(among)]


MACHINES = (LegsMachine,)
