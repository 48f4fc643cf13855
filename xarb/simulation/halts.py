"""Markets that stop and begin again in some worlds, and steps that grow coarser: the exchange says so when it is asked what it lists.

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
_CANCELS: Final = 0.5  # halts with which the exchange cancels what rests


class Halt(NamedTuple):
    """A market changes.

    Attributes:
        share_ppm: when, in millionths of the market's time. place: at which exchange, in millionths of their number.
        step: the new step of prices, of one cent; 0: nothing is traded there for a while.
        length_ns: for how long.
        cancels: whether the exchange cancels what rests; else it stays, fills nothing and can be canceled.
    """

    share_ppm: int
    place: int
    step: int
    length_ns: int
    cancels: bool


class Halts(NamedTuple):
    """What changes in a world, and how often a process asks what is listed, ms; 0: never."""

    changes: tuple[Halt, ...] = ()
    asked_ms: int = 0


def draw_halts(seed: int) -> Halts:
    """What changes in a world, mostly nothing."""
    draw = random.Random(f"halts {seed}")  # noqa: S311  # a case is to be drawn again
    if draw.random() >= _HALTED:
        return Halts()
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
    return Halts(changes, draw.choice(_ASKED_MS))


def let_change(world: World, exchanges: Sequence[Exchange], one: Halt, *, at: int, is_calm: Callable[[], bool]) -> None:
    """Have a market change at a time of the world, unless the faults are over by then."""
    exchange = exchanges[one.place * len(exchanges) // 1_000_000]

    def change() -> None:
        if is_calm():
            return
        if one.step:
            exchange.list_as(msgspec.structs.replace(exchange.terms, tick_int=one.step))
            return
        exchange.halt(cancels=one.cancels)
        world.after(one.length_ns, partial(reopen, exchange))

    world.at(at, change)


def reopen(exchange: Exchange) -> None:
    """A market that was halted is traded again."""
    if not exchange.terms.active:
        exchange.list_as(msgspec.structs.replace(exchange.terms, active=True))
