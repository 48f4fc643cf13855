"""Markets that stop and begin again in some worlds, steps and lots that grow coarser: the exchange says so when it is asked what it lists.

Drawn apart, so that worlds without them are what they would be.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

import msgspec

from xarb.model.units import NANOS_PER_MS, NANOS_PER_S
from xarb.simulation.exchange import Exchange
from xarb.simulation.world import World

_HALTED: Final = 0.06  # worlds in which any market changes
_COARSER: Final = 0.3  # of changes, those of the step of prices
_ASKED_MS: Final = (30, 200, 1_000)
_STEPS: Final = (2, 5)
_IN_LOTS: Final = 0.03  # worlds in which any market's lots grow
_LOTS: Final = (7, 40, 300)
_CANCELS: Final = 0.5  # halts with which the exchange cancels what rests


class Halt(NamedTuple):
    """A market changes.

    Attributes:
        share_ppm: when, in millionths of the market's time. place: at which exchange, in millionths of their number.
        step: the new step of prices, of one cent. lot: the new lot, of the old one. 0: it stays; both: nothing is traded there for a while.
        length_ns: for how long.
        cancels: whether the exchange cancels what rests; else it stays, fills nothing and can be canceled.
    """

    share_ppm: int
    place: int
    step: int
    length_ns: int
    cancels: bool
    lot: int = 0


class Halts(NamedTuple):
    """What changes in a world, and how often a process asks what is listed, ms; 0: never."""

    changes: tuple[Halt, ...] = ()
    asked_ms: int = 0


def draw_halts(seed: int) -> Halts:
    """What changes in a world, mostly nothing."""
    draw = random.Random(f"halts {seed}")  # noqa: S311  # a case is to be drawn again
    lots = _draw_lots(seed)
    if draw.random() >= _HALTED:
        return lots
    changes = tuple(
        Halt(
            share_ppm=draw.randrange(1_000_000),
            place=draw.randrange(1_000_000),
            step=draw.choice(_STEPS) if draw.random() < _COARSER else 0,
            length_ns=draw.randrange(50 * NANOS_PER_MS, 4 * NANOS_PER_S),
            cancels=draw.random() < _CANCELS,
        )
        for _ in range(draw.choice([1, 2, 3]))
    )
    return Halts(changes + lots.changes, draw.choice(_ASKED_MS))


def _draw_lots(seed: int) -> Halts:
    """The lots that grow, drawn apart as well."""
    draw = random.Random(f"lots {seed}")  # noqa: S311  # a case is to be drawn again
    if draw.random() >= _IN_LOTS:
        return Halts()
    count = draw.choice([1, 2])
    changes = [
        Halt(draw.randrange(1_000_000), draw.randrange(1_000_000), 0, 0, cancels=False, lot=draw.choice(_LOTS))
        for _ in range(count)
    ]
    return Halts(tuple(changes), draw.choice(_ASKED_MS))


def let_change(world: World, exchanges: Sequence[Exchange], one: Halt, *, at: int, is_calm: Callable[[], bool]) -> None:
    """Have a market change at a time of the world, unless the faults are over by then."""
    exchange = exchanges[one.place * len(exchanges) // 1_000_000]

    def change() -> None:
        if is_calm():
            return
        if one.step or one.lot:
            terms = exchange.terms
            exchange.list_as(msgspec.structs.replace(terms, tick_int=one.step or terms.tick_int, lot_int=one.lot or terms.lot_int))
            return
        exchange.halt(cancels=one.cancels)
        world.after(one.length_ns, partial(reopen, exchange))

    world.at(at, change)


def reopen(exchange: Exchange) -> None:
    """A market that was halted is traded again."""
    if not exchange.terms.active:
        exchange.list_as(msgspec.structs.replace(exchange.terms, active=True))
