"""One case: a world is made from its seed, trades for some seconds with its faults, comes to rest without them, and is judged."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from xarb.config.inventory import InventoryConfig
from xarb.engine.liverows import ARM, DISARM
from xarb.errors import InvariantBroken, Killed, LogError, Refused, Retryable
from xarb.model.order import STOP
from xarb.model.units import NANOS_PER_MS, NANOS_PER_S
from xarb.settings import money_of
from xarb.simulation import market
from xarb.simulation.access import ACCOUNT
from xarb.simulation.disk import WorldDisk
from xarb.simulation.exchange import Exchange, Purse
from xarb.simulation.faults import (
    DISK,
    NONE,
    Slowness,
    Waits,
    draw_break,
    draw_deny,
    draw_kills,
    draw_moved,
    draw_odds,
    draw_sealing,
    draw_slowness,
    draw_waits,
)
from xarb.simulation.halts import Halts, draw_halts, let_change, reopen
from xarb.simulation.limits import before_midnight
from xarb.simulation.market import Move
from xarb.simulation.oracles import Judge, Violation
from xarb.simulation.rivals import COPY, Apart, Second, draw_rival, odds_beside
from xarb.simulation.strangers import draw_strangers, let_act
from xarb.simulation.trader import Site, Trader
from xarb.simulation.world import Trace, World
from xarb.venues.absence import OLD_NS
from xarb.wires.decimals import Listing

_FEED_NS: Final = 15 * NANOS_PER_MS  # a quote's way to the process, at most
_REST_NS: Final = 1_000 * NANOS_PER_MS  # interval of quotes while a world comes to rest
_SETTLE_NS: Final = 240 * NANOS_PER_S  # by when everything has an end and balances were compared, once the faults are over
_DISARMED: Final = 0.15  # worlds in which a person disarms for a while
_AT_AN_ORDER: Final = 0.7  # deaths that come soon after an order
_SOON_NS: Final = 40 * NANOS_PER_MS
_NOT_OURS: Final = (LogError, OSError, Refused, Retryable)  # failures after which a supervisor starts it again
_GOES_ON: Final = 0.2  # worlds whose market goes on after a pause,
_GOES_ON_BEHIND_A_DEATH: Final = 0.49  # and those of them in which a process or a disk fails: the regressions among them do not
_STARTS: Final = 4  # how often a process may fail for what happened to it before


class Verdict(NamedTuple):
    """What became of a case.

    Attributes:
        seed: its seed. digest: over everything that happened. events: how many there were. orders, fills: at the exchanges.
        starts: of the process. violations: what must never be and was; empty in a sound world.
    """

    seed: int
    digest: str
    events: int
    orders: int
    fills: int
    starts: int
    violations: tuple[Violation, ...]


class Case:
    """One world. `run` it once."""

    def __init__(self, seed: int, folder: Path, trace: Trace | None = None) -> None:
        self.seed = seed
        self.world = world = World(seed, trace)
        world.epoch -= before_midnight(seed)
        draw = world.draw
        odds = draw_odds(draw)
        count = draw.choice([2, 2, 3])
        self.met, self.rival = draw_strangers(seed), draw_rival(seed)
        self.waits = Waits() if self.rival.kind else draw_waits(seed, count)
        self.halts = Halts() if self.rival.kind else draw_halts(seed)
        odds = msgspec.structs.replace(odds, deny=draw_deny(seed), **self.waits.more)
        if self.rival.kind:
            odds = odds_beside(odds, self.rival)
        self._breaks_behind = draw_break(seed) if odds.full_disk or odds.failed_disk or odds.failed_sync else 0
        if self._breaks_behind:
            odds = msgspec.structs.replace(odds, linger=max(odds.linger, 0.5))  # then something is open
        self.odds = odds
        slowness = Slowness() if self.rival.kind else draw_slowness(seed)
        log_id = f"{seed % 2**32:08x}00000000"
        resolved = market.resolved(draw, seed, count)
        resolved = msgspec.structs.replace(resolved, inventory=InventoryConfig(foreign_worth=self.met.bound))
        balances = resolved.accounts[ACCOUNT]
        self.exchanges = [
            Exchange(world, odds, one, Purse({asset: money_of(amount) for asset, amount in balances[one.venue].items()}), log_id)
            for one in market.instruments(count)
        ]
        self.site = Site(
            world,
            self.exchanges,
            folder,
            log_id,
            WorldDisk(world, slowness, seed),
            resolved,
            odds.power > 0 or draw.random() < 0.3,
            draw.random() < 0.3,
            slowness.max_send_lag_ms,
            draw_sealing(seed),
            self.halts.asked_ms,
            bool(self.met.acts or self.rival.kind),
            folder.with_name(f"{folder.name}-locks") if self.rival.is_here else None,
        )
        for number in self.waits.exchanges:
            self.exchanges[number].countdown_ms = self.waits.countdown_ms
        for exchange in self.exchanges:
            exchange.linger_ns = self.waits.linger_ns
        self.listings = [Listing(one.instrument) for one in self.exchanges]
        self.judge = Judge(self.site)
        for exchange in self.exchanges:
            exchange.ran_out = self.judge.ran_out
        self.traders: list[Trader] = []
        self.second = Second(self.site, self.rival, folder.with_name(f"{folder.name}-second")) if self.rival.kind else None
        self.apart: Apart | None = None
        if self.second is not None:
            sides = ((self.judge, self.traders), (self.second.judge, self.second.traders))
            self.apart = Apart(sides, is_one_machine=self.rival.is_here)
        self.last_quote: dict[int, Move] = {}
        self._deaf: dict[int, int] = {}  # until when an exchange's market data do not come
        self._is_calm = False
        world.note(f"seed {seed}: {count} exchanges, {odds!r}")

    @property
    def trader(self) -> Trader:
        """The process that lives."""
        return self.traders[-1]

    def run(self) -> Verdict:
        """Let it happen, and judge it."""
        world = self.world
        self._start_second()
        self._start()
        if not world.run(world.now + 60 * NANOS_PER_S, lambda: self.trader.is_ready or self._has_failed()):
            raise AssertionError(f"seed {self.seed}: the first start does not come about")
        begin, last = world.now, 0
        for move in market.moves(world.draw, len(self.exchanges), gaps=world.draw.randrange(1, 5)):
            world.at(begin + move.ts, partial(self._move, move))
            last = move.ts
        self._plan_faults(begin, last)
        for move in market.more_moves(self.seed, len(self.exchanges), last, odds=self._goes_on):
            world.at(begin + move.ts, partial(self._move, move))
            last = move.ts
        for move in market.later_moves(self.seed, len(self.exchanges), last, self.rival.pause_ns or self.met.pause_ns):
            world.at(begin + move.ts, partial(self._move, move))
            last = move.ts
        for act in self.met.acts:
            let_act(world, self.exchanges, act, at=begin + last * act.share_ppm // 1_000_000)
        for change in self.halts.changes:
            at = begin + last * change.share_ppm // 1_000_000
            let_change(world, self.exchanges, change, at=at, is_calm=lambda: self._is_calm)
        world.run(begin + last + 300 * NANOS_PER_MS, lambda: False)
        self._come_to_rest()
        self.judge.judge(self.traders, self.exchanges)
        second = [] if self.second is None else self.second.judge.violations
        fills = sum(len(one.fills) for one in self.exchanges)
        orders = sum(len(one.orders) for one in self.exchanges)
        return Verdict(self.seed, world.digest, world.events, orders, fills, len(self.traders), (*self.judge.violations, *second))

    @property
    def _goes_on(self) -> float:
        """How probably the market goes on: what is to be seen of a restart or a countdown comes late."""
        if self.waits.more:
            return 1.0
        return _GOES_ON_BEHIND_A_DEATH if any(getattr(self.odds, name) for name in DISK) else _GOES_ON

    # --- the process

    def _start_second(self) -> None:
        """Another xarb begins before ours, or will behind it."""
        if self.second is None or self.apart is None:
            return
        begin = partial(self.second.start, self.apart.arms)
        if self.rival.after_ns >= 0:
            self.world.after(self.rival.after_ns, begin)
            return
        begin()
        self.world.run(self.world.now - self.rival.after_ns, lambda: False)

    def _arms(self, trader: Trader) -> None:
        """A process is about to arm."""
        self.judge.restarted(trader)
        if self.apart is not None:
            self.apart.arms(trader)

    def _start(self) -> None:
        trader = Trader(self.site, self.judge.outputs, arming=self._arms, gave_up=self.judge.gave_up)
        trader.failed, trader.noted = partial(self._failed, trader), self._killed
        trader.distrusted = self.judge.distrusted
        self.traders.append(trader)
        self.judge.follow(trader)
        trader.begin()

    def _has_failed(self) -> bool:
        trader = self.trader
        if trader.failure is None and trader.loop.failures:
            trader.fail(trader.loop.failures[0])
        return trader.has_failed

    def _restart(self, why: str) -> None:
        """The process is gone; a supervisor starts it again."""
        trader = self.trader
        self.world.note(f"the process is dead: {why}")
        if not trader.is_dead:
            trader.die()
        if isinstance(trader.failure, Killed):
            self.world.note("a person resets the kill")
            self.judge.is_killed = False
            try:
                trader.reset()
            except (LogError, OSError) as error:  # the disk fails: the next start says whether the log has it
                self.world.note(f"the reset fails: {type(error).__name__}")
                trader.die()
        self.world.after(self.waits.restart_ns, self._start)

    def _failed(self, trader: Trader) -> None:
        """While the world still has its faults a supervisor starts a process again; later the end looks after it."""
        if not self._is_calm and not trader.is_dead and isinstance(trader.failure, _NOT_OURS) and len(self.traders) < _STARTS:
            self._restart("it failed")

    def _die(self, *, power: bool) -> None:
        trader = self.trader
        if self._is_calm or trader.ended or trader.is_dead or trader.failure is not None:
            return
        trader.die()
        if power:
            self.judge.is_killed = False  # the row may be lost
            self.world.note(f"power fails: {self.site.disk.lose_power(self.site.folder)} bytes are lost")
        self._restart("killed")

    # --- faults

    def _plan_faults(self, begin: int, last: int) -> None:
        world, odds = self.world, self.odds
        when = begin + world.draw.randrange(last // 4, last + NANOS_PER_S)
        if odds.kill or odds.power:
            die = partial(self._die, power=odds.power > 0)
            if world.draw.random() < _AT_AN_ORDER:
                self._behind_an_order(world.draw.randrange(1, 5), die)
            else:
                world.at(when, die)
        if world.draw.random() < _DISARMED:
            off = begin + world.draw.randrange(last)
            world.at(off, partial(self._operate, DISARM))
            world.at(off + world.draw.randrange(NANOS_PER_S), partial(self._operate, ARM))
        self._plan_kills(begin, last)
        for one in draw_moved(self.seed):
            exchange = self.exchanges[one.place * len(self.exchanges) // 1_000_000]
            world.at(begin + last * one.share_ppm // 1_000_000, partial(exchange.move, one))
        for wanted, name, code in (
            (odds.full_disk, "write_error", errno.ENOSPC),
            (odds.failed_disk, "write_error", errno.EIO),
            (odds.failed_sync, "sync_error", errno.EIO),
        ):
            if wanted:
                breaks = partial(self._break_disk, name, code)
                if self._breaks_behind:
                    self._behind_an_order(self._breaks_behind, breaks)
                else:
                    world.at(when, breaks)

    def _plan_kills(self, begin: int, last: int) -> None:
        """A person kills to some level, perhaps to another, and tries to arm after that."""
        for one in () if self.rival.kind == COPY else draw_kills(self.seed):
            when = begin + last * one.share_ppm // 1_000_000
            self.world.at(when, partial(self._kill, one.level))
            self.world.at(when + one.arm_ns, partial(self._operate, ARM))

    def _kill(self, level: str) -> None:
        trader = self.trader
        if trader.listens and not self._is_calm:
            self.world.note(f"a person kills to {level}")
            trader.in_loop(partial(trader.kill, level))

    def _killed(self) -> None:
        self.judge.is_killed = True

    def _behind_an_order(self, left: int, call: Callable[[], None]) -> None:
        """Have something happen soon after so many orders have arrived: then there is most to lose."""

        def arrived() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                self.world.after(self.world.draw.randrange(_SOON_NS), call)

        for exchange in self.exchanges:
            exchange.arrived = arrived

    def _operate(self, action: str) -> None:
        trader = self.trader
        if trader.listens and not self._is_calm:
            trader.in_loop(partial(trader.arm, action))

    def _break_disk(self, name: str, code: int) -> None:
        if not self._is_calm:
            setattr(self.site.disk, name, code)

    def _move(self, move: Move) -> None:
        """The market of an exchange moves; a while later the process hears of it, unless something is wrong with the feed."""
        world, odds, number = self.world, self.odds, move.exchange
        exchange = self.exchanges[number]
        self.last_quote[number] = move
        exchange.quote(move.bid, move.ask, move.size)
        world.note(f"{exchange.name}: quotes {move.bid} {move.ask} for {move.size}")
        bid, ask = move.bid, move.ask
        if not self._is_calm:
            if self._deaf.get(number, 0) > world.now:
                return
            if world.chance(odds.silent_feed):
                self._deaf[number] = world.now + world.draw.randrange(5 * NANOS_PER_S)
                return
            if world.chance(odds.gap):
                self._lose(number, "gap")
                world.after(world.draw.randrange(NANOS_PER_S), lambda: self._lose(number, "resync"))
            if world.chance(odds.wild_quote):
                bid, ask = world.draw.choice([(bid * 10, ask * 10), (ask, bid), (bid, ask * 10), (1, 2)])
        quote = (bid, ask, move.size)
        world.after(world.draw.randrange(NANOS_PER_MS, _FEED_NS), lambda: self.trader.hear(exchange, self.listings[number], quote))
        if self.second is not None:
            self.second.quote(number, move, self.listings[number], quote)

    def _lose(self, number: int, event: str) -> None:
        self.trader.lose(self.exchanges[number], event)
        if self.second is not None:
            self.second.lose(number, event)

    # --- the end

    def _come_to_rest(self) -> None:
        """No faults any more: everything comes to its end, then the process stops in order."""
        world = self.world
        self._is_calm = True
        for exchange in self.exchanges:
            exchange.odds = NONE
            reopen(exchange)
        self.site.disk.mend()
        world.note("the faults are over")
        self._rest()
        self._end_second()
        for _ in range(_STARTS + 2):
            has_stopped, dead = self._has_stopped(), self.trader
            if has_stopped and dead.killed != STOP:
                return
            if not has_stopped and not isinstance(dead.failure, _NOT_OURS):
                return  # a bug: `_has_stopped` said so
            if type(dead.failure) is Refused and any(one.moved or one.has_others for one in self.exchanges):
                world.run(world.now + OLD_NS, lambda: False)  # until what moved money says nothing of its orders any more
            self._restart("it was killed, and is started again" if has_stopped else "it failed")
        self.judge.say("liveness", "the process fails again and again once the faults are over")

    def _end_second(self) -> None:
        """Another xarb stops once both have come to rest."""
        second = self.second
        if second is None:
            return
        second.calm()
        if self.trader.listens:
            self.trader.in_loop(self.trader.keep_quiet)  # so that the second one's last look sees all that ours did

        def is_quiet() -> bool:
            mine = self.trader.is_dead or self._has_failed() or self._is_at_rest(self.trader, self.judge)
            return mine and (second.has_failed() or self._is_at_rest(second.traders[-1], second.judge))

        self.world.run(self.world.now + _SETTLE_NS, is_quiet)
        if not second.has_failed():
            second.traders[-1].stop()
            self.world.run(self.world.now + _SETTLE_NS, lambda: second.has_failed() or second.traders[-1].ended)
        second.end()

    def _has_stopped(self) -> bool:
        """Wait until everything has its end, and stop the process; whether it stopped in order."""
        world = self.world
        world.run(world.now + _SETTLE_NS, lambda: not self.trader.is_dead)  # it is being started again
        world.run(world.now + _SETTLE_NS, lambda: self._is_at_rest(self.trader, self.judge) or self._has_failed())
        trader = self.trader
        if trader.failure is None and not self._is_at_rest(trader, self.judge):
            open_ = trader.open_bundles() if trader.is_ready else 0
            self.judge.say("liveness", f"long after the faults are over: ready {trader.is_ready}, {open_} bundles are open")
        if trader.failure is None and trader.is_ready:
            trader.stop()
            world.run(world.now + _SETTLE_NS, lambda: trader.ended or self._has_failed())
        if trader.failure is None and not trader.ended:
            self.judge.say("liveness", "the process does not stop")
            trader.failure = InvariantBroken("it does not stop")
        elif trader.failure is not None and not isinstance(trader.failure, _NOT_OURS):
            self.judge.say("failure", f"{type(trader.failure).__name__}: {trader.failure}")
        return trader.ended

    def _rest(self) -> None:
        """Quotes go on, so that residuals can be flattened, until the process has ended."""
        if self.trader.ended and self.trader.killed != STOP:
            return
        for number in range(len(self.exchanges)):
            last = self.last_quote.get(number)
            if last is not None:
                self._move(last._replace(ts=0))
        self.world.after(_REST_NS, self._rest)

    @staticmethod
    def _is_at_rest(trader: Trader, judge: Judge) -> bool:
        exchanges = trader.site.exchanges
        if trader.ended:
            return True
        if trader.is_dead or trader.failure is not None or not trader.is_ready:
            return False
        left = trader.left_to_a_person
        if trader.open_bundles() > left or not all(one.is_at_rest for one in exchanges):
            return False
        return judge.living() <= left and _is_settled(trader)


def _is_settled(trader: Trader) -> bool:
    """Whether the process has noticed what money moved."""
    exchanges = trader.site.exchanges
    if trader.distrusts or not any(one.moved or one.has_denied or one.has_others for one in exchanges):
        return True
    return not any(trader.unsettled(one) for one in exchanges)


def run_case(seed: int, scratch: Path, trace: Trace | None = None) -> Verdict:
    """Run one case in a folder below `scratch`, which is removed again."""
    folder = scratch / f"world-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    case = Case(seed, folder, trace)
    try:
        return case.run()
    finally:
        for trader in case.traders:
            trader.die()
        case.site.disk.close()
        if case.second is not None:
            case.second.close()
        shutil.rmtree(folder, ignore_errors=True)
