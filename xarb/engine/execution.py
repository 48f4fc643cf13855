"""Execution: turns bundles into orders, follows them by their reports, and flattens what the legs leave unbalanced.

States move through the tables of `model/order.py` only. Fills are applied whenever they come; a fill id counts once.
"""

from __future__ import annotations

from typing import Final

from xarb.engine.archive import Archive
from xarb.engine.bundle import Bundle, Order, OrderPlan
from xarb.engine.captured import DueCopy, ExecutionCopy
from xarb.engine.carried import CarriedCycle
from xarb.engine.deadlines import BUNDLE, ORDER, Closed, CoolDown, Due, due_copy
from xarb.engine.desk import Desk
from xarb.engine.hedged import Hedged
from xarb.engine.losses import Losses
from xarb.engine.order_rows import OrderRows
from xarb.engine.orders import Orders
from xarb.engine.outputs import Outputs
from xarb.engine.portfolio import Holding, Portfolio, release, reserve
from xarb.engine.residual import Flattening
from xarb.engine.results import DAY_NS
from xarb.engine.risk import Risk, Way
from xarb.engine.rules import Market, Refusal
from xarb.engine.setup import Setup
from xarb.engine.strategy import BundlePlan, Entry, Strategy
from xarb.engine.swap import DEX_FIRST, DONE, SENT, Changed, book, to_hedge
from xarb.engine.takingup import TakingUp, plan_text
from xarb.engine.volumes import where_of
from xarb.errors import InvariantBroken
from xarb.model.command import Command, Report
from xarb.model.order import BUNDLE_LIFE, CANCEL, CARRIED, ENTRIES, KILL_LEVELS, STOP, UNWIND, advance

RESIDUAL_TTL: Final = "residual_ttl"


class Execution:
    """Owns orders and bundles of all strategies.

    Args:
        market: what is known of instruments and quotes now.
        outputs: where rows go.
        portfolio: where fills go.
        risk: what approves.
        setup: log id and start, for client order ids; what earlier starts left.
    """

    def __init__(self, market: Market, outputs: Outputs, portfolio: Portfolio, *, risk: Risk, setup: Setup) -> None:
        self._market = market
        self._rows = OrderRows(market, outputs)
        self._portfolio = portfolio
        self._risk = risk
        self._desks = risk.desks
        self._flattening = Flattening(market, risk, self.working)
        self._archive = Archive(f"{setup.log_id[:8]}-{setup.start}-", risk.desks)
        self._orders = Orders(market, self._rows, portfolio, risk=risk, archive=self._archive)
        self._deadlines = self._orders.deadlines
        self.unhedged = self._orders.unhedged  # bundles whose swap lost its hedge, until somebody gives that up
        self.losses = Losses(risk, self._rows, archive=self._archive, kill=self._end_entries)
        self._taking_up = TakingUp(setup, desks=risk.desks, archive=self._archive, rows=self._rows)
        self._count_unknown()
        self._bundles = len(setup.bundles)
        self._goes_on = False  # with what earlier starts left
        self._closed: list[Closed] = []
        self._killed: str | None = None  # the highest level so far

    # --- what the engine calls

    def submit(self, plan: BundlePlan, strategy: Strategy, *, pair: int = -1) -> tuple[list[Command], int | None]:
        """Commands and number of the bundle; without a number risk refused it, and a `refusals` row says why.

        `pair` is the kernel pair whose episode the plan rests on.
        """
        desk = self._desks[strategy.id]
        approved = self.losses.weigh(desk) or self._risk.approve(plan, desk, self.working)
        if isinstance(approved, Refusal):
            self._rows.refusal(approved, desk, plan.opportunity)
            return self._orders.take_commands(), None
        legs, form = approved
        self._bundles += 1
        self._risk.breakers.began(self._bundles, legs)
        bundle = Bundle(self._bundles, desk, legs, opportunity=plan.opportunity, sequence=plan.sequence, pair=pair)
        bundle.flat, bundle.instruments, bundle.cycle = form.flat, form.instruments, bool(form.cycle)
        bundle.began = self._market.now
        self._archive.open(bundle)
        self._rows.bundle(bundle, "opened", plan_text(bundle))
        desk.begin()
        for leg in legs:
            reserve(leg.hold)
            desk.volumes.count(where_of(leg.side), leg.value)
        for at, leg in enumerate(legs if plan.sequence == "simultaneous" else legs[:1]):
            leg.released, hold, leg.hold = leg.qty, leg.hold, ()  # the order takes the leg's reservation over
            self._orders.send(bundle, OrderPlan(at, 0, "open", leg.side, leg.price, leg.qty), hold)
        return self._orders.take_commands(), bundle.number

    def open_books(self) -> None:
        """Write what was taken up of earlier starts."""
        self._taking_up.open_books(self._risk.breakers)
        for bundle in self._archive.open_bundles():
            self._take_back(bundle)
        self.losses.begin(self._market.now)

    def go_on(self) -> list[Command]:
        """The operator armed, or nothing will begin any more: from now on what earlier starts left is settled; the commands that follow."""
        self._go_on()
        return self._orders.take_commands()

    def _go_on(self) -> None:
        if not self._goes_on:
            self._goes_on = True
            for bundle in self._archive.open_bundles():
                self._progress(bundle)

    def _end_entries(self) -> None:
        """A loss kills trading to ENTRIES, in the midst of whatever was done: what that has decided leaves with it."""
        if self._killed is None:
            self._killed = ENTRIES
            self._go_on()

    def order_of(self, start: int, order: int) -> int | None:
        """The number here of an order that an earlier start sent, None where its bundle was not taken up."""
        return self._taking_up.order(start, order)

    def take_up(self, cycle: CarriedCycle) -> tuple[int, int] | None:
        """Numbers here of the bundle and the order that a cycle or a path of an earlier start is; None: nobody goes on with its bundle."""
        if cycle.path is not None:
            return self._taking_up.swap(cycle.start, cycle.order)
        self._bundles += 1
        return self._bundles, self._archive.take_old_number(self._bundles)

    def begin_cycle(self) -> tuple[int, int, str]:
        """Numbers of a bundle and an order that a transaction on a chain takes, and the order's name: `OnChain` looks after them."""
        self._bundles += 1
        return self._bundles, *self._archive.take_number(self._bundles)

    def begin_swap(self, desk: Desk, approved: Hedged, *, opportunity: int | None, sequence: str) -> tuple[int, int, str]:
        """A bundle of a swap on a chain and its hedge begins: its number, and the swap's as an order; the hedge's command is kept for `take`."""
        _, number, name = self.begin_cycle()
        leg = approved.hedge
        bundle = Bundle(self._bundles, desk, [leg], opportunity=opportunity, sequence=sequence, pair=-1)
        approved.lay(bundle, number)
        bundle.began = self._market.now
        self._risk.breakers.began(bundle.number, [leg])
        self._archive.open(bundle)
        self._rows.bundle(bundle, "opened", plan_text(bundle))
        desk.begin()
        reserve(leg.hold)
        desk.volumes.count(where_of(leg.side), leg.value)
        if sequence != DEX_FIRST:
            self._release(bundle, leg.qty)
        return bundle.number, number, name

    def on_swap(self, number: int, state: str, change: Changed) -> None:
        """What became of the swap of a bundle, and what that changed: receipts alone fill it.

        One that a reorganisation took back may be included again: until that is known its bundle waits, as for an order of unknown fate.
        """
        bundle = self._archive.any_bundle(number)
        swap = bundle.swap
        assert swap is not None, f"bundle {number} has no swap"
        bundle.live += (state != DONE) - swap.is_open
        swap.state = state
        book(bundle, change)
        if bundle.live == 0 or change.swapped is not None:
            bundle.due = 0
        if bundle.done and (change.swapped is not None or swap.is_open):
            self._reopen(bundle)
        elif bundle.done:
            return
        self.losses.look(bundle)
        self._progress(bundle)

    def take(self) -> list[Command]:
        """The commands that wait since the last call."""
        return self._orders.take_commands()

    def refuse(self, refusal: Refusal, desk: Desk, opportunity: int | None) -> None:
        """Something is not sent: a `refusals` row."""
        self._rows.refusal(refusal, desk, opportunity)

    def on_report(self, report: Report) -> list[Command]:
        """Apply a report; commands that follow from it.

        Raises:
            InvariantBroken: the order is not ours, the event has no meaning, or a fill lacks a price, quantity, fee or id.
        """
        order = self._archive.order(report.order)
        if report.instrument != order.plan.instrument:
            raise InvariantBroken(f"order {report.order} is on instrument {order.plan.instrument}, not {report.instrument}")
        bundle = order.bundle
        if self._orders.apply(order, report) and bundle.done:
            self._reopen(bundle)
        self.losses.look(bundle)
        self._progress(bundle)
        return self._orders.take_commands()

    def on_deadline(self, ts: int) -> list[Command]:
        """Fire the deadlines up to `ts`.

        An order without a final report turns UNKNOWN and is canceled, again after each further time-out, until the policy's number of
        cancels was sent; then it stays UNKNOWN until a report comes. Cool-downs end, residuals that wait are looked at again.
        """
        while (due := self._deadlines.pop(ts)) is not None:
            if isinstance(due, Order):
                self._orders.time_out(due)
                self._watch(due.bundle)
            elif isinstance(due, Bundle):
                due.due = 0
                self.losses.look(due)
                if due.live:
                    self._undo_what_stands(due)
                else:
                    self._settle(due, waited=True)
            else:
                self._closed.append(due.closed)
        return self._orders.take_commands()

    def cancel_all(self) -> list[Command]:
        """Cancels of every order that may still fill; the session itself looks after those of earlier starts, before this one begins."""
        self._orders.cancel_living()
        return self._orders.take_commands()

    def kill(self, level: str) -> list[Command]:
        """Go to a level of `KILL_LEVELS`, not back to a lower one; the commands that follow."""
        if self._killed is not None and KILL_LEVELS.index(level) <= KILL_LEVELS.index(self._killed):
            return []
        self._killed = level
        if level == ENTRIES:
            return self.go_on()
        self._orders.cancel_living()
        for bundle in self._archive.open_bundles():
            if bundle.live == 0:
                bundle.due = 0
                self._settle(bundle, waited=True)
        return self._orders.take_commands()

    @property
    def portfolio(self) -> Portfolio:
        """Where fills go."""
        return self._portfolio

    @property
    def loss(self) -> str | None:
        """Whose loss killed trading, and which limit that broke; None while none did."""
        return self._risk.loss

    @property
    def killed(self) -> str | None:
        """The highest level that a kill went to."""
        return self._killed

    def next_deadline(self) -> int:
        """Time of the next deadline, NEVER without one."""
        return self._deadlines.next()

    @property
    def last_refusal(self) -> str | None:
        """Reason of the last refusal."""
        return self._rows.last_refusal

    def closed_since_last(self) -> list[Closed]:
        """Bundles closed and cool-downs ended since the last call, where their pair is known."""
        closed, self._closed = self._closed, []
        return closed

    def order(self, number: int) -> Order:
        """An order, to look at.

        Raises:
            InvariantBroken: there is no such order.
        """
        return self._archive.order(number)

    @property
    def orders(self) -> int:
        """Orders sent so far; they are numbered from 1."""
        return self._archive.orders

    def owner(self, order: int) -> str:
        """Strategy that sent an order."""
        return self._archive.order(order).bundle.desk.strategy

    def open_bundles(self, strategy: str) -> int:
        """Open bundles of a strategy; a held one counts as closed."""
        return self._desks[strategy].open_bundles

    @property
    def under_way(self) -> int:
        """Bundles that come to an end if nobody interferes: all that are open but those that keep still."""
        return sum(self._goes_on or one.state != CARRIED for one in self._archive.open_bundles())

    def free(self, strategy: Strategy, venue: str, asset: str) -> int:
        """What a new bundle of a strategy may spend of an asset on a venue (`Desk.spendable`)."""
        desk = self._desks[strategy.id]
        return desk.spendable(desk.till(venue, asset))

    def entry(self, strategy: Strategy, venue: str) -> Entry:
        """How a bundle of a strategy may begin on a venue."""
        return self._risk.breakers.entry(strategy.account, venue)

    def exposure(self, strategy: str, asset: str) -> tuple[int, int]:
        """The least and the most of an asset that the strategy's fills may come to, fees included.

        Orders in flight and UNKNOWN count at worst, and so does what a hard leg may still release.
        """
        desk = self._desks[strategy]
        return self._risk.exposure(desk, asset, self.working(desk))

    def working(self, desk: Desk) -> list[Way]:
        """What of a strategy may still fill: orders that are alive, UNKNOWN ones too, what waits for another leg, and swaps that a block may hold."""
        ways: list[Way] = []
        for bundle in self._archive.open_bundles():
            if bundle.desk is desk:
                ways += [(order.side, (order.price, order.left)) for order in bundle.orders if order.alive]
                ways += [(leg.side, (leg.price, max(0, leg.qty - leg.released))) for leg in bundle.legs if leg.hold]
                if bundle.swap is not None and bundle.swap.is_open:
                    ways.append((bundle.swap.leg.side, (bundle.swap.leg.price, bundle.swap.leg.qty)))
        return ways

    def record_report(self, report: Report) -> None:
        """Write a report of a simulated venue as the `sim_reports` row that it is."""
        self._rows.report(self._archive.order(report.order), report)

    def follow(self, number: int, price: int, qty: int) -> None:
        """Something new is known of an instrument; its scales grew by these powers of ten, and its orders and legs with them.

        Reservations are money and stay. What lives where nothing may be sent any more is canceled: `take` has the commands.
        """
        if price != 1 or qty != 1:
            self._archive.rescale(number, price, qty)
        self._risk.follow(number)
        if self._market.instrument(number).untradable_because() is not None:
            self._orders.cancel_living(number)

    def capture(self) -> ExecutionCopy:
        """Orders, bundles and deadlines as plain values."""
        dues = [due_copy(*entry) for entry in self._deadlines.entries() if self._may_come(*entry)]
        closed, orders = [(one.strategy, one.pair) for one in self._closed], self._archive.capture()
        beat = self.losses.next_beat
        return ExecutionCopy(self._bundles, closed, orders, dues, self._deadlines.ordinal, self._killed, self._goes_on, beat)

    def restore(self, copy: ExecutionCopy) -> None:
        """Take over a copy; there were no orders but those that were taken up."""
        self._bundles, self._killed, self._goes_on = copy.bundles, copy.killed, copy.goes_on
        self._closed = [Closed(*one) for one in copy.closed]
        self._archive.restore(copy.archive)
        self._risk.unknown.clear()
        self._count_unknown()
        self.losses.next_beat = copy.next_beat
        self._deadlines.restore([(one.ts, one.ordinal, self._due(one)) for one in copy.deadlines], copy.ordinal)

    def _count_unknown(self) -> None:
        """Have risk know of the orders of unknown fate that are there."""
        for bundle in self._archive.open_bundles():
            for order in bundle.orders:
                if order.state == "unknown":
                    self._risk.count_unknown(order, 1)

    def _may_come(self, ts: int, _ordinal: int, what: Due) -> bool:
        """Whether something may still follow; a waiting bundle's entry counts again when it waits for the same time once more."""
        return what.due == ts or (isinstance(what, Bundle) and self._archive.is_open(what))

    def _due(self, copy: DueCopy) -> Due:
        if copy.what == ORDER:
            return self._archive.order(copy.number)
        if copy.what == BUNDLE:
            return self._archive.bundle(copy.number)
        rest = CoolDown(Closed(copy.strategy, copy.number))
        rest.due = copy.ts
        return rest

    # --- bundles

    def _progress(self, bundle: Bundle) -> None:
        """What follows for a bundle once a report was applied."""
        if bundle.state == "open" and bundle.sequence == "hard_leg_first":
            self._release_others(bundle)
        elif bundle.state == "open" and bundle.sequence == DEX_FIRST:
            self._release_hedge(bundle)
        keeps_still = bundle.state == CARRIED and not self._goes_on
        if bundle.live == 0 and bundle.due == 0 and not bundle.done and not keeps_still:
            self._settle(bundle)
        elif not keeps_still:
            self._watch(bundle)

    def _watch(self, bundle: Bundle) -> None:
        """Nothing but orders of unknown fate keeps a residual from being flattened: that is borne for a while only."""
        policy, now = bundle.desk.policy, self._market.now
        if not bundle.live or bundle.due or bundle.is_given_up or not bundle.residual:
            return
        if (bundle.swap is not None and bundle.swap.state == SENT) or any(leg.state == "sent" for leg in bundle.legs):
            return
        self._note_unbalanced(bundle)
        times = [now + policy.unknown_wait_ns] if policy.unknown_wait_ns else []
        if policy.residual_ttl_ns:
            times.append(max(now, bundle.unbalanced_at + policy.residual_ttl_ns))
        if times:
            self._deadlines.set(min(times), bundle)

    def _undo_what_stands(self, bundle: Bundle) -> None:
        """Undo what surely filled while the fate of other legs is not known; those are not sent again, and count at their worst.

        Where time or tries are used up the venues get no new bundle from now on; it is booked once all is known.
        """
        given_up = self._given_up(bundle)
        if given_up not in (None, RESIDUAL_TTL):
            return  # it is looked at once all is known
        self._let_go(bundle)
        residual, most = bundle.residual, bundle.desk.policy.max_attempts
        if given_up is not None:
            bundle.is_given_up = True
            naked = next((leg for leg in bundle.legs if leg.filled), bundle.legs[0])
            self._rows.refusal(Refusal(given_up, naked.instrument), bundle.desk, bundle.opportunity)
            self._risk.breakers.escalate(bundle.legs, bundle.desk.account, next(iter(residual.values()), 0))
            return
        are_used_up = all(bundle.attempts.get(asset, 0) >= most for asset in residual)
        for asset in residual:
            step = self._flattening.next_step(bundle, asset, None, only="unwind")
            if step.order is not None:
                self._send_step(bundle, asset, step.order)
                return
            for refusal in step.refusals:
                self._rows.refusal(refusal, bundle.desk, bundle.opportunity)
            if step.refusals and are_used_up:
                bundle.is_given_up = True
                self._risk.breakers.escalate(bundle.legs, bundle.desk.account, residual[asset])
        self._watch(bundle)

    def _let_go(self, bundle: Bundle) -> None:
        """The plan is over: what it had reserved for later orders is free, and what it left is a residual."""
        for leg in bundle.legs:
            if leg.hold:
                release(leg.hold)
                leg.hold = ()
        if bundle.residual:
            if bundle.state != "residual":
                bundle.state = advance(BUNDLE_LIFE, bundle.state, "residual")
            self._note_unbalanced(bundle)

    def _note_unbalanced(self, bundle: Bundle) -> None:
        """It is so from now on, unless it was so already."""
        if not bundle.unbalanced_at:
            bundle.unbalanced_at = self._market.now
            self._rows.bundle(bundle, "unbalanced")

    def _release_others(self, bundle: Bundle) -> None:
        """Each fill of the first leg releases the others in proportion, rounded down to lots, once a venue takes the size."""
        if self._killed not in (None, ENTRIES):
            return
        first = bundle.legs[0]
        for at in range(1, len(bundle.legs)):
            leg = bundle.legs[at]
            side = leg.side
            if side.untradable is not None or self._risk.breakers.refuses(side.names):
                continue
            qty = (min(leg.qty, leg.qty * first.filled // first.qty) - leg.released) // side.lot * side.lot
            price = side.no_worse(leg.price)
            if side.check_steps(price, qty) is None:
                leg.released += qty
                if leg.hold:
                    leg.hold = self._orders.hold_again(side, (leg.price, max(0, leg.qty - leg.released)), leg.hold)
                if self._market.now // DAY_NS != bundle.began // DAY_NS:  # the whole leg counted on the day of the decision
                    bundle.desk.volumes.count(where_of(side), side.notional(price, qty))
                self._send(bundle, OrderPlan(at, 0, "open", side, price, qty))

    def _release_hedge(self, bundle: Bundle) -> None:
        """A receipt releases the hedge, of what it says was swapped and no more than was planned; the rest is a residual."""
        qty = to_hedge(bundle)
        if qty and self._killed in (None, ENTRIES) and not self._risk.breakers.refuses(bundle.legs[0].side.names):
            self._release(bundle, qty)

    def _release(self, bundle: Bundle, qty: int) -> None:
        """Send the hedge of a swap, so much of it; the order takes the leg's reservation over."""
        leg = bundle.legs[0]
        leg.released, hold, leg.hold, price = leg.qty, leg.hold, (), leg.side.no_worse(leg.price)
        if (price, qty) != (leg.price, leg.qty):
            hold = self._orders.hold_again(leg.side, (price, qty), hold)
        self._orders.send(bundle, OrderPlan(0, 0, "open", leg.side, price, qty), hold)

    def _send(self, bundle: Bundle, plan: OrderPlan) -> None:
        """Reserve what an order may take now, and send it."""
        self._orders.send(bundle, plan, self._orders.hold_again(plan.side, (plan.price, plan.qty), ()))

    def _settle(self, bundle: Bundle, *, waited: bool = False) -> None:
        """No order is alive: close, flatten what is left, wait to try again, or hold it."""
        self._let_go(bundle)
        left = bundle.residual
        if not left:
            event = "balanced" if bundle.filled or bundle.state not in ("open", CARRIED) else "nothing_filled"
            bundle.state = advance(BUNDLE_LIFE, bundle.state, event)
            self._close(bundle)
            return
        given_up = self._given_up(bundle)
        if given_up is None and not waited and self._was_turned_away(bundle):
            self._wait(bundle)
            return
        blocked: list[str] = []
        for asset in left:
            step = self._flattening.next_step(bundle, asset, given_up, only="unwind" if self._killed == UNWIND else None)
            if step.order is not None:
                self._send_step(bundle, asset, step.order)
                return
            for refusal in step.refusals:
                self._rows.refusal(refusal, bundle.desk, bundle.opportunity)
            if step.refusals:
                blocked.append(asset)
        if given_up is not None or not self._waits(bundle, blocked):
            bundle.state = advance(BUNDLE_LIFE, bundle.state, "held" if blocked else "dust")
            if blocked and given_up in (None, RESIDUAL_TTL):
                self._risk.breakers.escalate(bundle.legs, bundle.desk.account, bundle.flows[blocked[0]])
            for asset in left:
                self._book(bundle, asset, "held" if asset in blocked else "dust")
            self._close(bundle)

    def _given_up(self, bundle: Bundle) -> str | None:
        """Why a residual is flattened no longer, or not at all."""
        policy = bundle.desk.policy
        if self._killed in (CANCEL, STOP):
            return "killed"
        if policy.residual == "hold":
            return "residual_hold"
        if policy.residual_ttl_ns and self._market.now - bundle.unbalanced_at >= policy.residual_ttl_ns:
            return RESIDUAL_TTL
        return None

    def _send_step(self, bundle: Bundle, asset: str, plan: OrderPlan) -> None:
        bundle.attempts[asset] = plan.attempt
        bundle.state = advance(BUNDLE_LIFE, bundle.state, f"{plan.purpose}_sent")
        bundle.desk.volumes.count(where_of(plan.side), plan.side.notional(plan.price, plan.qty))
        self._send(bundle, plan)

    def _waits(self, bundle: Bundle, blocked: list[str]) -> bool:
        """Whether a residual that nothing can flatten now is looked at again later; that uses up an attempt."""
        policy = bundle.desk.policy
        waits = False
        for asset in blocked:
            attempt = bundle.attempts.get(asset, 0) + 1
            if attempt < policy.max_attempts:
                bundle.attempts[asset] = attempt
                waits = True
        if waits:
            self._wait(bundle)
        return waits

    def _was_turned_away(self, bundle: Bundle) -> bool:
        """Whether a venue rejected the last flattening order, for its rate limit or an outage: at once it would do so again."""
        most = bundle.desk.policy.max_attempts
        return any(last.state == "rejected" and 0 < last.plan.attempt < most for last in bundle.orders[-1:])

    def _wait(self, bundle: Bundle) -> None:
        policy, at = bundle.desk.policy, self._market.now + bundle.desk.policy.retry_ns
        if policy.residual_ttl_ns:
            at = min(at, bundle.unbalanced_at + policy.residual_ttl_ns)
        self._deadlines.set(at, bundle)

    def _book(self, bundle: Bundle, asset: str, cause: str) -> None:
        """A residual becomes inventory."""
        left = bundle.left_of(asset)
        bundle.booked.append(left)
        self._hold(bundle, left, cause)

    def _hold(self, bundle: Bundle, left: tuple[str, int, int, str], cause: str) -> None:
        asset, qty, cost, quote = left
        self._portfolio.hold(bundle.desk.strategy, asset, Holding(qty, cost, quote))
        self._rows.residual(bundle, left, cause)

    def _close(self, bundle: Bundle) -> None:
        self._rows.bundle(bundle, bundle.state)
        bundle.desk.open_bundles -= 1
        self.losses.tell(bundle.desk)
        self._risk.breakers.ended(bundle.number)
        until = bundle.desk.cool(bundle.instruments)
        if bundle.pair >= 0:
            closed = Closed(bundle.desk.strategy, bundle.pair)
            if until is None:
                self._closed.append(closed)
            else:
                self._deadlines.set(until, CoolDown(closed))
        self._archive.pack(bundle)

    def _take_back(self, bundle: Bundle) -> None:
        """What was booked of it is inventory no longer."""
        for asset, qty, cost, quote in bundle.booked:
            self._hold(bundle, (asset, -qty, -cost, quote), "late_fill")
        bundle.booked.clear()

    def _reopen(self, bundle: Bundle) -> None:
        """A fill came after the bundle was done: what was booked is taken back, the residual is a new one."""
        self._rows.bundle(bundle, "reopened")
        self._take_back(bundle)
        bundle.forget_residual()
        bundle.state = advance(BUNDLE_LIFE, bundle.state, "late_fill")
        bundle.desk.open_bundles += 1
        self._archive.open(bundle)
