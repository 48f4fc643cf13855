"""Bugs that are planted in the real code, one at a time, for the simulator to find: each takes away what some rule is there for.

A bug is a function that patches; `faults` names those without which the bug has no effect, so that worlds without them need not be tried.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec
import pytest

from xarb import assembly
from xarb.carrying import Left
from xarb.engine import execution, orders, portfolio, residual, results, risk, volumes
from xarb.engine.band import Band
from xarb.engine.breaker import FREE, Breakers
from xarb.engine.bundle import Bundle, OrderPlan
from xarb.engine.desk import Desk
from xarb.engine.discrepancy import Discrepancies
from xarb.engine.execution import Execution
from xarb.engine.losses import Losses
from xarb.engine.orders import Orders
from xarb.engine.portfolio import Portfolio
from xarb.engine.residual import Flattening, Step
from xarb.engine.results import Pricing, Results
from xarb.engine.risk import Risk, Way
from xarb.engine.rules import Refusal
from xarb.engine.side import Side
from xarb.engine.volumes import Volumes
from xarb.engine.worst import Worst
from xarb.errors import OutcomeUnknown
from xarb.live import begin
from xarb.live.books import Books
from xarb.live.exchanges import Exchanges
from xarb.live.trading import Trading
from xarb.log import journal, recovery, seal
from xarb.log.committer import Committer
from xarb.log.livelog import LiveLog
from xarb.model.instrument import Instrument
from xarb.model.order import CARRIED, ORDER_TERMINAL
from xarb.replay import turn
from xarb.venues import absence, account
from xarb.venues.accountdesk import AccountDesk
from xarb.venues.balancecheck import BalanceCheck
from xarb.venues.cex import CexVenue
from xarb.venues.liveorders import LiveOrders
from xarb.venues.passage import Passage
from xarb.venues.relisting import Relisting

Plant = Callable[[pytest.MonkeyPatch], None]


KILLS = "kills"  # beside the faults: a person kills the trading
MIDNIGHT = "midnight"  # a UTC day ends soon
SLOW = "slow"  # the disk takes long now and then
SEALED = "sealed"  # the log is sealed while the world runs
COUNTED = "counted"  # an exchange cancels everything when it hears nothing
DENIED = "denied"  # an exchange denies for long what it took
HALTED = "halted"  # markets stop for a while, or are traded in coarser steps
MOVED = "moved"  # money comes or goes without a word
STRANGERS = "strangers"  # somebody else trades on the account
RIVAL = "rival"  # a second xarb trades on the account


class Bug(NamedTuple):
    """A bug: what it is, how it is planted, faults or words below `KILLS` of which a world must have one, and what is broken by it."""

    name: str
    plant: Plant
    faults: tuple[str, ...]
    oracles: tuple[str, ...]


BUGS: list[Bug] = []


def bug(*oracles: str, faults: Iterable[str] = ()) -> Callable[[Plant], Plant]:
    """Register a bug."""

    def take(plant: Plant) -> Plant:
        BUGS.append(Bug(plant.__name__, plant, tuple(faults), oracles))
        return plant

    return take


# --- the log


@bug("cause", "fills", "replay", faults=("power",))
def no_fsync(patch: pytest.MonkeyPatch) -> None:
    """What is written is called durable, and never is synced."""

    def pretend(self: Committer) -> None:
        self.dirty_since = 0
        self.synced_seq = max(self.synced_seq, self.current.last_seq)

    patch.setattr(Committer, "_sync", pretend)


@bug("cause", "fills", "left", faults=("power",))
def strict_forgotten(patch: pytest.MonkeyPatch) -> None:
    """In strict mode commands leave when the operating system has what they follow from, not the disk."""
    real = Trading.__init__

    def lax(self: Trading, *args: Any, **more: Any) -> None:
        real(self, *args, **(more | {"strict": False}))

    patch.setattr(Trading, "__init__", lax)


@bug("cause", faults=("failed_disk",))
def sent_before_written(patch: pytest.MonkeyPatch) -> None:
    """Commands leave before their log has them."""

    def take(self: Any, rows: Any) -> None:
        commands = turn(self.assembly, self._batcher.batch(rows))
        outputs = self.assembly.engine.outputs.drain()
        if commands:
            self._send(commands)
        self._log.append(rows, outputs)
        self._log.write()
        self._sink(outputs)

    patch.setattr(Trading, "take", take)


@bug("cause", "fills", "replay", "left", faults=("kill",))
def frames_kept_in_memory(patch: pytest.MonkeyPatch) -> None:
    """Rows are written when they are synced, not before a command leaves."""
    real, syncing = LiveLog.write, LiveLog.sync

    def sync(self: LiveLog) -> None:
        real(self)
        syncing(self)

    patch.setattr(LiveLog, "write", lambda _: None)
    patch.setattr(LiveLog, "sync", sync)


@bug("cause", "fills", "failure", "replay", "left", faults=("kill", "power"))
def last_frame_dropped(patch: pytest.MonkeyPatch) -> None:
    """Recovery cuts the last sound frame off with the torn tail."""
    real = recovery._look

    def look(folder: Any, path: Any) -> Any:
        opening, start = journal.read_opening(path)
        frames = list(journal.Walk(path.read_bytes()[start:], opening, start=start))
        if len(frames) > 1:
            with path.open("r+b") as file:
                file.truncate(frames[-1].start)
        return real(folder, path)

    patch.setattr(recovery, "_look", look)


@bug("replay", "failure")
def outputs_lost(patch: pytest.MonkeyPatch) -> None:
    """A refusal does not reach the log."""
    real = LiveLog.append

    def append(self: LiveLog, inputs: Any, outputs: Any = ()) -> None:
        kept = list(outputs)
        if kept and kept[-1][0] in ("refusals", "orders"):
            kept.pop()
        real(self, inputs, kept)

    patch.setattr(LiveLog, "append", append)


@bug("replay")
def chance_in_the_engine(patch: pytest.MonkeyPatch) -> None:
    """A decision depends on a draw that nobody handed in."""
    real, draw = Risk.check_limits, random.SystemRandom()

    def check(self: Risk, legs: Any, one: Any, form: Any) -> Any:
        if draw.random() < 0.5:
            return Refusal("cool_down")
        return real(self, legs, one, form)

    patch.setattr(Risk, "check_limits", check)


@bug("replay", "failure", faults=(SEALED,))
def end_of_a_full_journal_lost(patch: pytest.MonkeyPatch) -> None:
    """What was decided on the last inputs of a journal is left out when the next one begins."""
    real = LiveLog._rotate

    def rotate(self: LiveLog) -> None:
        if self._committer.has_next:
            self._outputs = [row for row in self._outputs if row[1] > self._written]
        real(self)

    patch.setattr(LiveLog, "_rotate", rotate)


@bug("replay", "failure", "sealing", "cause", faults=(SEALED,))
def open_journal_sealed(patch: pytest.MonkeyPatch) -> None:
    """A journal that is being written is taken for a complete one."""
    patch.setattr(seal, "is_complete", lambda *_: True)


@bug("checkpoint", faults=(SEALED,))
def rest_of_a_pair_not_in_a_checkpoint(patch: pytest.MonkeyPatch) -> None:
    """A checkpoint does not hold how long pairs rest."""
    real = Desk.capture

    def capture(self: Desk) -> Any:
        return msgspec.structs.replace(real(self), cool_until=[])

    patch.setattr(Desk, "capture", capture)


@bug("checkpoint", faults=(SEALED,))
def volume_of_the_day_not_in_a_checkpoint(patch: pytest.MonkeyPatch) -> None:
    """A checkpoint does not hold what was sent today."""
    patch.setattr(Volumes, "capture", lambda _: (0, []))


# --- orders at their exchanges


@bug("one order an intent", faults=("lose_reply", "lose_request", "late_request"))
def resent_after_a_time_out(patch: pytest.MonkeyPatch) -> None:
    """An order whose reply did not come is sent again."""
    from xarb.simulation.access import Access

    real = CexVenue._submit

    async def submit(self: CexVenue, mine: AccountDesk, one: Any, order: Any) -> None:
        await real(self, mine, one, order)
        if one.is_unknown:
            access: Any = mine.account
            assert isinstance(access, Access)
            try:
                await access.submit(order[1], order[0], one.sent_id, Passage())
            except OutcomeUnknown:
                return

    patch.setattr(CexVenue, "_submit", submit)


@bug("fills", faults=("repeat_push", "lose_reply", "late_push"))
def duplicate_ignored(patch: pytest.MonkeyPatch) -> None:
    """A fill that is heard twice is told twice."""
    real = LiveOrders._fill

    def fill(self: LiveOrders, one: Any, trade: Any, source: str) -> Any:
        if trade.fill_id in one.fill_ids and trade.fee is not None:
            return [self._row(one, "fill", source, trade=trade)]
        return real(self, one, trade, source)

    patch.setattr(LiveOrders, "_fill", fill)


@bug("fills", "balances", "exposure", faults=("stale_end",))
def late_fill_dropped_by_the_venue(patch: pytest.MonkeyPatch) -> None:
    """A fill that is heard after its order's end is nobody's."""
    real = LiveOrders._fill

    def fill(self: LiveOrders, one: Any, trade: Any, source: str) -> Any:
        return [] if one.is_done else real(self, one, trade, source)

    patch.setattr(LiveOrders, "_fill", fill)


@bug("exposure", "fills", faults=("lose_push", "late_push", "lose_reply"))
def end_told_before_its_fills(patch: pytest.MonkeyPatch) -> None:
    """An order's end is told although the exchange counts fills that are not known yet."""
    patch.setattr("xarb.venues.liveorders.Watched.lacks_fills", property(lambda _: False))


@bug("exposure", "fills", "balances", faults=("hide", "late_request"))
def not_found_is_final(patch: pytest.MonkeyPatch) -> None:
    """One look-up that finds nothing proves that an order is not there."""
    real = AccountDesk._look_once

    async def look(self: AccountDesk, one: Any) -> None:
        await real(self, one)
        if one.misses:
            self.say(self.orders.never_arrived(one))

    patch.setattr(AccountDesk, "_look_once", look)


@bug("exposure", "fills", "balances", faults=(DENIED,))
def settled_without_the_balance(patch: pytest.MonkeyPatch) -> None:
    """An order that look-ups, a cancel and the list of fills deny is dead, whatever the account has."""
    patch.setattr(absence, "doubt", lambda *_: None)


@bug("exposure", "fills", faults=("lose_reply", "late_request"))
def unknown_is_a_refusal(patch: pytest.MonkeyPatch) -> None:
    """An order whose reply did not come is called rejected."""

    def lost(self: LiveOrders, one: Any, reason: str, error: str | None = None, *, source: str = "send") -> Any:
        del source
        return self.refused(one, reason, error) if not (one.is_placed or one.is_done) else []

    patch.setattr(LiveOrders, "lost", lost)


@bug("exposure", "fills", "reservations")
def cancel_that_found_nothing_is_an_end(patch: pytest.MonkeyPatch) -> None:
    """A cancel that the exchange refuses, since the order is done, is taken for a canceled order without fills."""
    real = LiveOrders.cancel_failed

    def failed(self: LiveOrders, one: Any, reason: str, error: str | None = None) -> Any:
        rows = real(self, one, reason, error)
        if reason != "order_not_found" or one.is_done:
            return rows
        self._end(one)
        return [*rows, self._row(one, "canceled", "cancel", reason=reason)]

    patch.setattr(LiveOrders, "cancel_failed", failed)


@bug("fills", "balances", "exposure", "liveness", faults=("lose_push", "stale_end"))
def fills_never_compared(patch: pytest.MonkeyPatch) -> None:
    """Reconciliation does not ask for trades."""

    async def nothing(_: AccountDesk, _trades: Any) -> set[str]:
        return set()

    patch.setattr(AccountDesk, "_report", nothing)


@bug("left", "fills", faults=("kill", "power"))
def left_orders_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A start does not look for the orders that the one before it left."""

    async def none(_: CexVenue) -> None:
        return

    patch.setattr(begin, "left_orders", lambda *_: ())
    patch.setattr(CexVenue, "cancel_left", none)
    patch.setattr(LiveOrders, "_adopt", lambda *_: None)


@bug("fills", faults=("kill", "power", "failed_disk", "failed_sync", "full_disk"))
def known_fills_told_again(patch: pytest.MonkeyPatch) -> None:
    """After a restart the list of trades is told as if the log knew none of them."""
    patch.setattr(Exchanges, "_tell", lambda self, row: self._take(row) is None)


@bug("carried", "replay", faults=("kill", "power", "failed_disk", "failed_sync"))
def loss_of_the_day_reset(patch: pytest.MonkeyPatch) -> None:
    """A restart forgets what was lost before."""
    patch.setattr(begin, "closing_results", lambda *_, **__: ())


@bug("balances", "adjustments", faults=("kill", "power", "failed_disk", "failed_sync", "full_disk"))
def start_opens_flat(patch: pytest.MonkeyPatch) -> None:
    """A start opens with the money that the first one had, whatever the exchange says."""
    real, first = Exchanges.open, dict[str, Any]()

    async def flat(self: Exchanges) -> Any:
        found = await real(self)
        return found._replace(balances=first.setdefault(self._past.log_id, found.balances))

    patch.setattr(Exchanges, "open", flat)


@bug("max_send_lag", faults=(SLOW,))
def old_orders_leave(patch: pytest.MonkeyPatch) -> None:
    """However long an order waited for the disk, it is sent."""
    patch.setattr(account, "check_age", lambda *_: None)


@bug("unlogged", faults=("failed_disk", "failed_sync"))
def orders_left_when_the_log_fails(patch: pytest.MonkeyPatch) -> None:
    """A process whose log fails ends at once, and leaves its orders to the next start."""

    async def nothing(_: Exchanges) -> None:
        return

    patch.setattr(Exchanges, "cancel_open", nothing)


# --- countdowns


@bug("countdown", faults=(COUNTED,))
def countdown_set_once(patch: pytest.MonkeyPatch) -> None:
    """A countdown is begun, and never set anew."""
    patch.setattr(AccountDesk, "keep_countdown", lambda _: None)


@bug("countdown", faults=(COUNTED,))
def countdown_that_ran_out_speaks_against_nothing(patch: pytest.MonkeyPatch) -> None:
    """Bundles begin although the countdown may have run out."""
    patch.setattr(AccountDesk, "objections", property(lambda _: []))


@bug("countdown", faults=(COUNTED,))
def countdown_left_running(patch: pytest.MonkeyPatch) -> None:
    """A stop does not switch a countdown off."""

    async def nothing(_: AccountDesk) -> None:
        return

    patch.setattr(AccountDesk, "stand_down", nothing)


# --- execution


@bug("one order an intent")
def new_order_after_a_time_out(patch: pytest.MonkeyPatch) -> None:
    """An order that does not answer is followed by another one for the same leg."""
    real = Orders.time_out

    def time_out(self: Orders, order: Any) -> None:
        real(self, order)
        self.send(order.bundle, order.plan, ())

    patch.setattr(Orders, "time_out", time_out)


@bug("one order an intent")
def leg_of_unknown_fate_has_ended(patch: pytest.MonkeyPatch) -> None:
    """A leg whose order may or may not fill is sent again."""
    patch.setattr(residual, "LEG_OPEN", frozenset({"sent"}))


@bug("one order an intent")
def both_legs_retried(patch: pytest.MonkeyPatch) -> None:
    """Where the legs do not balance both are sent again."""
    real = Execution._settle

    def settle(self: Execution, bundle: Any, *, waited: bool = False) -> None:
        if bundle.state == "open" and bundle.filled and len(bundle.orders) <= len(bundle.legs):
            for at, leg in enumerate(bundle.legs):
                self._send(bundle, OrderPlan(at, 0, "open", leg.side, leg.price, leg.qty))
            return
        real(self, bundle, waited=waited)

    patch.setattr(Execution, "_settle", settle)


@bug("one order an intent")
def flattened_while_an_order_lives(patch: pytest.MonkeyPatch) -> None:
    """What the first leg leaves is flattened although the other one may still fill."""

    def progress(self: Execution, bundle: Any) -> None:
        if bundle.state == "open" and bundle.sequence == "hard_leg_first":
            self._release_others(bundle)
        if bundle.live <= 1 and bundle.due == 0 and not bundle.done:
            self._settle(bundle)

    patch.setattr(Execution, "_progress", progress)


@bug("balances", "exposure", faults=("stale_end", "very_late_request"))
def late_fill_dropped_by_the_engine(patch: pytest.MonkeyPatch) -> None:
    """A fill of an order that has its end moves nothing."""
    real = Orders._fill

    def fill(self: Orders, order: Any, report: Any) -> bool:
        return False if order.state in ORDER_TERMINAL else real(self, order, report)

    patch.setattr(Orders, "_fill", fill)


@bug("exposure")
def unknown_counts_as_nothing(patch: pytest.MonkeyPatch) -> None:
    """Orders of unknown fate have no part in the exposure."""
    real = Execution.working

    def working(self: Execution, mine: Desk) -> list[Way]:
        hidden = []
        for bundle in self._archive.open_bundles():
            hidden += [(order, order.qty) for order in bundle.orders if order.state == "unknown"]
        for order, _ in hidden:
            order.qty = order.filled
        try:
            return real(self, mine)
        finally:
            for order, qty in hidden:
                order.qty = qty

    patch.setattr(Execution, "working", working)


@bug("reservations", "exposure", faults=("very_late_request", "lose_reply", "late_request"))
def unknown_frees_its_money(patch: pytest.MonkeyPatch) -> None:
    """What is reserved for an order is free again once its fate is unknown, and others may begin beside it."""
    patch.setattr(Risk, "check_fate", lambda *_: None)
    real = Orders._move

    def move(self: Orders, order: Any, event: str, reason: str | None) -> None:
        real(self, order, event, reason)
        if order.state == "unknown":
            portfolio.release(order.hold)
            order.hold = ()

    patch.setattr(Orders, "_move", move)


@bug("reservations", faults=("late_request", "linger", "lose_reply"))
def nothing_reserved(patch: pytest.MonkeyPatch) -> None:
    """Money is not set aside for orders on their way."""
    for module in (execution, orders):
        patch.setattr(module, "reserve", lambda _: None)
        patch.setattr(module, "release", lambda _: None)


@bug("balances")
def fee_forgotten(patch: pytest.MonkeyPatch) -> None:
    """A fill's fee is not taken from the account."""
    real = Orders._post

    def post(self: Orders, order: Any, trade: Any, fee: tuple[str, int]) -> None:
        real(self, order, trade, (fee[0], 0))

    patch.setattr(Orders, "_post", post)


@bug("balances")
def fee_in_the_wrong_coin(patch: pytest.MonkeyPatch) -> None:
    """A fee is taken in the quote currency, whatever the fill says."""
    real = Orders._post

    def post(self: Orders, order: Any, trade: Any, fee: tuple[str, int]) -> None:
        real(self, order, trade, ("USDT", fee[1]))

    patch.setattr(Orders, "_post", post)


@bug("liveness", "balances", "exposure", "reservations", "results")
def partial_fill_is_the_whole(patch: pytest.MonkeyPatch) -> None:
    """The first fill of an order ends it."""
    real = Orders._fill

    def fill(self: Orders, order: Any, report: Any) -> bool:
        counted = real(self, order, report)
        if counted and order.alive:
            self._move(order, "canceled", None)
        return counted

    patch.setattr(Orders, "_fill", fill)


# --- limits


@bug("armed")
def disarmed_is_not_asked(patch: pytest.MonkeyPatch) -> None:
    """Bundles are approved whether armed or not."""
    patch.setattr(Risk, "armed", property(lambda _: True, lambda _self, _value: None), raising=False)


@bug("orders_per_second")
def order_rate_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Orders of the last second are not counted."""
    patch.setattr(Desk, "orders_in_last_second", lambda _: 0)


@bug("daily_volume", "daily_symbol", "daily_venue")
def volume_of_the_day_forgotten(patch: pytest.MonkeyPatch) -> None:
    """What was sent today is not counted."""
    patch.setattr(Volumes, "sent", lambda *_: 0)


@bug("daily_volume", "daily_symbol", "daily_venue", faults=("kill", "power", "failed_disk", "failed_sync", "full_disk"))
def volume_of_earlier_starts_forgotten(patch: pytest.MonkeyPatch) -> None:
    """What earlier starts sent on the same day is in the row of the start, and is not counted."""
    patch.setattr(Volumes, "carry", lambda *_: None)


@bug("daily_symbol", "daily_venue")
def one_scope_of_volumes(patch: pytest.MonkeyPatch) -> None:
    """Whatever the limit, all orders of the currency are what is counted but not looked at by symbol and venue."""
    patch.setattr(volumes, "_scopes", lambda where: (("", "", where[2]), where, where))


@bug("daily_volume", "daily_symbol", "daily_venue", faults=(MIDNIGHT,))
def day_never_ends(patch: pytest.MonkeyPatch) -> None:
    """What was sent yesterday counts today."""

    def sent(self: Volumes, scope: Any) -> int:
        return self._sent.get(scope, 0)

    patch.setattr(Volumes, "sent", sent)


@bug("day_loss", "drawdown")
def losses_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    """Bundles begin whatever was lost."""
    patch.setattr(Results, "check", lambda _: None)


@bug("loss")
def losses_kill_nothing(patch: pytest.MonkeyPatch) -> None:
    """A loss beyond a limit refuses its own strategy's bundles at most."""
    patch.setattr(Results, "crossed", lambda _: None)


@bug("loss")
def open_losses_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    """What is open is valued where something begins or ends alone."""

    def beat(self: Losses, ts: int, before: int) -> None:
        del before
        self.next_beat = ts + 10**9

    patch.setattr(Losses, "beat", beat)


@bug("bundle_loss")
def loss_of_a_bundle_not_bounded(patch: pytest.MonkeyPatch) -> None:
    """A bundle begins whatever it may lose."""
    patch.setattr(Worst, "check", lambda *_: None)


@bug("day_loss", "drawdown", "results")
def inventory_valued_in_our_favour(patch: pytest.MonkeyPatch) -> None:
    """What is held counts at the highest ask, what is owed at the lowest bid."""
    real = Pricing.worth

    def worth(self: Pricing, amount: int, asset: str, currency: str) -> int | None:
        found = real(self, -amount, asset, currency)
        return None if found is None else -found

    patch.setattr(Pricing, "worth", worth)


@bug("results")
def results_never_taken(patch: pytest.MonkeyPatch) -> None:
    """The end of a bundle leaves no result: no peak is ever known."""
    patch.setattr(Results, "take", lambda _: iter(()))


@bug("results", "day_loss", "drawdown", faults=("kill", "power", "failed_disk", "failed_sync", "full_disk"))
def results_of_earlier_starts_not_counted(patch: pytest.MonkeyPatch) -> None:
    """What earlier starts made is in the row of the start, and is no part of what is made."""
    real = results._Result.__init__

    def init(self: Any, *args: Any) -> None:
        real(self, *args)
        self.flows = {}

    patch.setattr(results._Result, "__init__", init)


@bug("symbol_open", "venue_open")
def open_notional_not_bounded(patch: pytest.MonkeyPatch) -> None:
    """What may still fill on a symbol or a venue is not looked at."""
    patch.setattr(risk, "_check_notional", lambda *_: None)


@bug("price_band")
def price_band_not_asked(patch: pytest.MonkeyPatch) -> None:
    """Any price is allowed."""
    patch.setattr(Band, "check", lambda *_: None)


@bug("price_band")
def band_around_the_highest(patch: pytest.MonkeyPatch) -> None:
    """Prices are compared with the highest venue, not with the median."""
    real = Band._median

    def highest(self: Band, numbers: Any) -> int | None:
        found = real(self, numbers)
        bests = [self._market.best(number) for number in numbers if self._market.confirmed(number) is not None]
        return None if found is None else max(4 * ((one.bid or 0) + (one.ask or 0)) // 2 for one in bests) * 10**16

    patch.setattr(Band, "_median", highest)


@bug("max_open_bundles")
def open_bundles_not_counted(patch: pytest.MonkeyPatch) -> None:
    """Any number of bundles may be open."""
    for name in ("strategy_terms", "micro_params"):
        real = getattr(assembly, name)

        def many(one: Any, *rest: Any, real: Callable[..., Any] = real) -> Any:
            return real(msgspec.structs.replace(one, max_open_bundles=1_000), *rest)

        patch.setattr(assembly, name, many)


@bug("max_exposure")
def exposure_not_bounded(patch: pytest.MonkeyPatch) -> None:
    """The bound of the exposure is not asked for."""
    patch.setattr(Risk, "check_exposure", lambda *_: None)


@bug("max_exposure")
def exposure_does_not_bind_what_flattens(patch: pytest.MonkeyPatch) -> None:
    """An order that flattens is as large as its residual, whatever else may fill."""
    patch.setattr(Risk, "within_exposure", lambda _self, _desk, order, _ways: (order[2], None))


@bug("halted", faults=(HALTED,))
def orders_live_on_where_nothing_is_traded(patch: pytest.MonkeyPatch) -> None:
    """A market is halted, and what rests there is left."""
    real = Orders.cancel_living

    def cancel_living(self: Orders, number: int | None = None) -> None:
        if number is None:
            real(self)

    patch.setattr(Orders, "cancel_living", cancel_living)


@bug("halted", faults=(HALTED,))
def halted_markets_get_orders(patch: pytest.MonkeyPatch) -> None:
    """An instrument that is not traded is like any other."""
    real = Side.lay

    def lay(self: Side, instrument: Instrument) -> None:
        real(self, msgspec.structs.replace(instrument, active=True))

    patch.setattr(Side, "lay", lay)


@bug("halted", faults=(HALTED,))
def released_off_the_step(patch: pytest.MonkeyPatch) -> None:
    """What a first leg releases has the price of the plan, whatever step there is by then, and nobody asks for the step."""
    real = Side.check_steps

    def check_steps(self: Side, price: int, qty: int) -> Refusal | None:
        found = real(self, price, qty)
        return None if found is not None and found.reason == "tick" else found

    patch.setattr(Side, "no_worse", lambda _, price: price)
    patch.setattr(Side, "check_steps", check_steps)


@bug("halted", faults=(HALTED,))
def lots_of_the_start_for_good(patch: pytest.MonkeyPatch) -> None:
    """Lots that grew are not taken over."""
    real = Side.lay

    def lay(self: Side, instrument: Instrument) -> None:
        before = getattr(self, "instrument", instrument)
        real(self, msgspec.structs.replace(instrument, lot_int=before.lot_int))

    patch.setattr(Side, "lay", lay)


@bug("halted", faults=(HALTED,))
def nobody_asks_what_is_listed(patch: pytest.MonkeyPatch) -> None:
    """An exchange's word on its instruments is taken at the start and never again."""

    async def ask(*_: object) -> None:
        pass

    patch.setattr(Relisting, "ask", ask)


@bug("breaker")
def breakers_are_not_asked(patch: pytest.MonkeyPatch) -> None:
    """A bundle begins whatever the breakers of its venues say."""
    patch.setattr(Breakers, "check", lambda *_: None)
    patch.setattr(Execution, "entry", lambda *_: FREE)


@bug("breaker")
def probes_in_parallel(patch: pytest.MonkeyPatch) -> None:
    """While one bundle is tried others are, too."""
    patch.setattr(Breakers, "began", lambda *_: None)


@bug("breaker")
def unknown_orders_open_no_breaker(patch: pytest.MonkeyPatch) -> None:
    """Orders of unknown fate are not counted, nor looked at on the instrument itself."""
    patch.setattr(Breakers, "moved", lambda *_: None)
    patch.setattr(Risk, "check_fate", lambda *_: None)


@bug("order_unknown")
def unknown_orders_block_nothing(patch: pytest.MonkeyPatch) -> None:
    """A bundle begins on an instrument on which an order of unknown fate lies."""
    patch.setattr(Risk, "check_fate", lambda *_: None)


@bug("one order an intent")
def unknown_legs_are_sent_again(patch: pytest.MonkeyPatch) -> None:
    """What filled is completed by a second order for the leg of unknown fate."""
    real = Flattening.next_step

    def completed(self: Flattening, bundle: Bundle, asset: str, given_up: str | None, only: str | None) -> Step:
        living = [order for order in bundle.orders if order.alive]
        states = [order.state for order in living]
        for order in living:
            order.state = "expired"
        step = real(self, bundle, asset, given_up, only=None if living else only)
        for order, state in zip(living, states, strict=True):
            order.state = state
        return step

    patch.setattr(Flattening, "next_step", completed)


@bug("replay", faults=("kill", "power", "failed_disk", "failed_sync"))
def breakers_closed_by_a_restart(patch: pytest.MonkeyPatch) -> None:
    """A start opens with all breakers closed."""
    patch.setattr(begin, "closing_breakers", lambda *_, **_named: ())


@bug("residual_ttl")
def time_never_runs_out_beside_unknown_orders(patch: pytest.MonkeyPatch) -> None:
    """A residual beside an order of unknown fate may be as old as it likes."""
    real = Execution._undo_what_stands

    def undo(self: Execution, bundle: Bundle) -> None:
        if self._given_up(bundle) is None:
            real(self, bundle)

    patch.setattr(Execution, "_undo_what_stands", undo)


# --- kills


@bug("killed", "armed", faults=(KILLS,))
def kill_is_a_disarm(patch: pytest.MonkeyPatch) -> None:
    """A kill disarms and does nothing else: orders go on, and who arms again trades again."""
    patch.setattr(Execution, "kill", lambda *_: [])


@bug("killed", faults=(KILLS,))
def residuals_flattened_after_a_kill(patch: pytest.MonkeyPatch) -> None:
    """What a kill leaves unbalanced is flattened at every level."""
    real = Execution._given_up

    def given_up(self: Execution, bundle: Any) -> str | None:
        why = real(self, bundle)
        return None if why == "killed" else why

    patch.setattr(Execution, "_given_up", given_up)


@bug("killed", faults=(KILLS,))
def kill_forgotten_by_a_restart(patch: pytest.MonkeyPatch) -> None:
    """A start does not look for a kill in its log."""
    patch.setattr(begin, "KILL", "no such act")


# --- balances


@bug("stream_lost", faults=("drop_stream",))
def stream_lost_and_all_told(patch: pytest.MonkeyPatch) -> None:
    """Where a private stream breaks off, orders stay as it told them."""
    patch.setattr(AccountDesk, "_doubt", lambda *_, **__: None)


@bug("adjustments", faults=(MOVED,))
def adjustment_not_booked(patch: pytest.MonkeyPatch) -> None:
    """A small difference from an exchange's balance is taken note of and not booked."""
    patch.setattr(Portfolio, "adjust", lambda *_: None)


@bug("adjustments", faults=(MOVED,))
def differences_never_looked_for(patch: pytest.MonkeyPatch) -> None:
    """Accounts do not compare."""
    patch.setattr(BalanceCheck, "look", lambda *_, **__: [])


@bug("adjustments", faults=(MOVED,))
def differences_of_any_size_booked(patch: pytest.MonkeyPatch) -> None:
    """However much is gone, it is booked and trading goes on."""

    def take(self: Discrepancies, found: Any) -> None:
        self._portfolio.adjust(found.place, found.difference)

    patch.setattr(Discrepancies, "take", take)


@bug("adjustments", faults=("kill", "power", "failed_disk", "failed_sync", "full_disk"))
def restart_does_not_know_its_fills(patch: pytest.MonkeyPatch) -> None:
    """What is told between two starts of fills explains nothing."""
    patch.setattr(Books, "take", lambda *_: None)


# --- what a start goes on with

_DEATHS = ("kill", "power", "failed_disk", "failed_sync", "full_disk")


@bug("endings", "inventory", faults=_DEATHS)
def bundles_dropped_by_a_restart(patch: pytest.MonkeyPatch) -> None:
    """A start knows nothing of the bundles of the one before."""
    patch.setattr(Left, "bundles", ())


@bug("exposure", "max_exposure", faults=_DEATHS)
def exposure_reset_by_a_restart(patch: pytest.MonkeyPatch) -> None:
    """A strategy's fills add up from nothing in each start."""
    patch.setattr(Left, "flows", ())


@bug("endings", "inventory", faults=_DEATHS)
def bundles_carried_twice(patch: pytest.MonkeyPatch) -> None:
    """Each bundle that is left becomes two."""
    real: Any = Left.bundles
    patch.setattr(Left, "bundles", property(lambda self: (*real.fget(self), *real.fget(self))))


@bug("endings", faults=_DEATHS)
def ended_bundles_carried_again(patch: pytest.MonkeyPatch) -> None:
    """What ended of late goes on as if it had not."""
    real: Any = Left.bundles
    again = property(lambda self: tuple(msgspec.structs.replace(one, state=CARRIED) for one in real.fget(self)))
    patch.setattr(Left, "bundles", again)


@bug("liveness", "endings", faults=_DEATHS)
def fills_between_starts_dropped(patch: pytest.MonkeyPatch) -> None:
    """What is told of the orders of a dead process before the next start reaches no bundle."""
    patch.setattr(Left, "_take", lambda *_: None)


@bug("inventory", faults=_DEATHS)
def late_fill_of_an_old_order_dropped(patch: pytest.MonkeyPatch) -> None:
    """A fill of an earlier start's order is recorded, and its bundle does not hear of it."""
    patch.setattr(Execution, "order_of", lambda *_: None)


@bug("endings", "liveness", faults=_DEATHS)
def carried_bundles_never_settled(patch: pytest.MonkeyPatch) -> None:
    """What is carried keeps still for good."""
    patch.setattr(Execution, "go_on", lambda *_: [])
