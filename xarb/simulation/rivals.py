"""A second xarb on the account in some worlds: of another log or with a copy of ours, on this machine or elsewhere, before, beside or after ours.

It is the same real process in the same market, with an exchange of its own that shares the account's money, and is judged by all oracles as
ours is. Drawn apart, so that worlds without one are what they would be.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from xarb.errors import Refused, Retryable
from xarb.model.units import NANOS_PER_MS, NANOS_PER_S
from xarb.simulation.disk import WorldDisk
from xarb.simulation.exchange import Exchange
from xarb.simulation.faults import NO_MORE, NONE, Odds, Sealing, Slowness
from xarb.simulation.market import Move
from xarb.simulation.oracles import Judge
from xarb.simulation.trader import Site, Trader
from xarb.wires.decimals import Listing

_MEETS: Final = 0.03  # worlds with a second xarb
_COPIES: Final = 0.3  # of them, those in which it has a copy of our log
_HERE: Final = 0.25  # and of the others, those in which it is on this machine
_LATER: Final = 0.5  # and those whose market goes on after every look that a start takes for others
_DEAF: Final = 0.4  # and those whose private streams say next to nothing
_LOOK_NS: Final = 22 * NANOS_PER_S  # the longest time between two looks for others, and a little
_STARTS: Final = 4
_AGAIN_NS: Final = NANOS_PER_S
_MARGIN_NS: Final = NANOS_PER_MS
_FEED_NS: Final = 15 * NANOS_PER_MS  # a quote's way to it, at most
_MILD: Final = ("partial", "linger", "late_push", "lose_push", "repeat_push", "drop_stream", "silent_feed", "gap")
LOG: Final = "log"
COPY: Final = "copy"


class Rival(NamedTuple):
    """A second xarb.

    Attributes:
        kind: LOG: another log; COPY: a copy of ours, which is at the same start; empty: there is none.
        is_here: whether it is on this machine. after_ns: how long after ours it starts, negative: before.
        pause_ns: after which pause the market goes on, 0: it does not. more: faults beside those of the world.
    """

    kind: str = ""
    is_here: bool = False
    after_ns: int = 0
    pause_ns: int = 0
    more: Mapping[str, float] = NO_MORE


def draw_rival(seed: int) -> Rival:
    """The second xarb of a world, mostly none."""
    draw = random.Random(f"strangers rival {seed}")  # noqa: S311  # a case is to be drawn again
    if draw.random() >= _MEETS:
        return Rival()
    kind = COPY if draw.random() < _COPIES else LOG
    after_ns = draw.choice([0, draw.randrange(-3 * NANOS_PER_S, 3 * NANOS_PER_S), draw.randrange(200) * NANOS_PER_MS])
    pause_ns = draw.randrange(23 * NANOS_PER_S, 30 * NANOS_PER_S) if draw.random() < _LATER else 0
    more = {"lose_push": 1.0} if draw.random() < _DEAF else NO_MORE
    return Rival(kind, kind == LOG and draw.random() < _HERE, after_ns, pause_ns, more)


def odds_beside(odds: Odds, rival: Rival) -> Odds:
    """The faults of a world with a rival.

    What of our orders a copy's exchange knows nobody can say where requests and replies are lost: two orders have one name. Nor does
    anybody die there: who starts again has later names.
    """
    if rival.kind == COPY:
        odds = Odds(**{name: getattr(odds, name) for name in _MILD})
    return msgspec.structs.replace(odds, **rival.more)


class Second:
    """The second process, and what watches over it.

    Args:
        first: the site of ours.
        rival: what it is.
        folder: of its log.
    """

    def __init__(self, first: Site, rival: Rival, folder: Path) -> None:
        world = self._world = first.world
        log_id = first.log_id if rival.kind == COPY else f"{(int(first.log_id[:8], 16) + 1) % 2**32:08x}00000000"
        exchanges = [Exchange(world, one.odds, one.instrument, one.purse, log_id) for one in first.exchanges]
        self.site = msgspec.structs.replace(
            first,
            exchanges=exchanges,
            folder=folder,
            log_id=log_id,
            disk=WorldDisk(world, Slowness(), 0),
            sealing=Sealing(),
        )
        self.judge = Judge(self.site)
        self.judge.whose = "the second xarb: "
        self.traders: list[Trader] = []
        self.is_calm = False

    @property
    def trader(self) -> Trader | None:
        """Its process, None before its first start."""
        return self.traders[-1] if self.traders else None

    def start(self, arming: Callable[[Trader], object]) -> None:
        """Start it."""
        if self.is_calm:
            return

        def arms(trader: Trader) -> None:
            self.judge.restarted(trader)
            arming(trader)

        trader = Trader(self.site, self.judge.outputs, arming=arms, gave_up=self.judge.gave_up)
        trader.distrusted, trader.failed = self.judge.distrusted, partial(self._failed, trader, arming)
        trader.noted = self._killed
        self.traders.append(trader)
        self.judge.follow(trader)
        trader.begin()

    def quote(self, number: int, move: Move, listing: Listing, quote: tuple[int, int, int]) -> None:
        """The market of an exchange moves, and a while later it hears of a quote (bid, ask, size)."""
        exchange = self.site.exchanges[number]
        exchange.quote(move.bid, move.ask, move.size)
        self._world.after(
            self._world.draw.randrange(NANOS_PER_MS, _FEED_NS),
            lambda: None if self.trader is None else self.trader.hear(exchange, listing, quote),
        )

    def lose(self, number: int, event: str) -> None:
        """Its market connection says that something is lost or there again."""
        if self.trader is not None:
            self.trader.lose(self.site.exchanges[number], event)

    def calm(self) -> None:
        """The faults are over, and it is started no more."""
        self.is_calm = True
        for exchange in self.site.exchanges:
            exchange.odds = NONE

    def _killed(self) -> None:
        self.judge.is_killed = True

    def _failed(self, trader: Trader, arming: Callable[[Trader], object]) -> None:
        if isinstance(trader.failure, Refused | Retryable) and len(self.traders) < _STARTS:
            trader.die()
            self._world.after(_AGAIN_NS, partial(self.start, arming))

    def has_failed(self) -> bool:
        """Whether it ended with a failure, or never began."""
        trader = self.trader
        if trader is None:
            return True
        if trader.failure is None and trader.loop.failures:
            trader.fail(trader.loop.failures[0])
        return trader.failure is not None

    def end(self) -> None:
        """It has stopped, or never traded: judge it."""
        trader = self.trader
        if trader is None:
            return
        if trader.failure is not None and not isinstance(trader.failure, Refused | Retryable):
            self.judge.say("failure", f"{type(trader.failure).__name__}: {trader.failure}")
        elif trader.failure is None and not trader.ended:
            self.judge.say("liveness", "the process does not stop")
        self.judge.judge(self.traders, self.site.exchanges)

    def close(self) -> None:
        """Let go of everything."""
        for trader in self.traders:
            trader.die()
        self.site.disk.close()


class Apart:
    """Judges that two who may trade on one account do not for long.

    Args:
        sides: judge and processes of each.
    """

    def __init__(self, sides: tuple[tuple[Judge, list[Trader]], tuple[Judge, list[Trader]]], *, is_one_machine: bool) -> None:
        self._sides, self._is_one_machine = sides, is_one_machine
        for judge, traders in sides:
            judge.begins = partial(self._begins, judge, traders)

    def arms(self, trader: Trader) -> None:
        """A process is about to arm."""
        for judge, traders in self._sides:
            if self._is_one_machine and traders and trader not in traders and traders[-1].listens:
                judge.say("alone", f"two processes of this machine trade on the account since start {trader.number} of one armed")

    def _begins(self, judge: Judge, traders: list[Trader], bundle: int, ts: int) -> None:
        """A bundle begins: not long after the other one's orders could be known, and not once they were."""
        trader = traders[-1]
        for exchange in trader.site.exchanges:
            if exchange.rival_at is not None and ts > exchange.rival_at + _MARGIN_NS:
                judge.say("alone", f"bundle {bundle} begins although an order of another xarb at {exchange.name} was told before")
            shown_at = min((at for at in _shown(exchange, trader)), default=None)
            if shown_at is not None and not exchange.odds.fail_read and trader.site.world.now > shown_at + _LOOK_NS:
                judge.say("alone", f"bundle {bundle} begins long after another xarb traded at {exchange.name}")


def _shown(exchange: Exchange, trader: Trader) -> list[int]:
    """When each fill of the other one that happened since a process armed was to be seen."""
    return [
        max(made.told_at, order.visible_at)
        for side in exchange.sides
        if side is not exchange
        for order in side.orders.values()
        for made in order.fills
        if made.at > trader.armed_at >= 0 and order.client_id not in exchange.sent
    ]
