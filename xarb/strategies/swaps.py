"""What strategies over the pools of a chain share: ways through them, what their first unit comes to, and what is told of a way that earns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, Protocol

import msgspec

from xarb.engine.strategy import CycleFound, CycleNote, Pass, View, Wake
from xarb.model.units import Money
from xarb.pools.concentrated import Concentrated
from xarb.pools.constant_product import ConstantProduct
from xarb.pools.steps import PIPS

LIMIT_PERCENT: Final = 120  # of the gas that was measured: a pool may have to write more than it did then
FROM_NINE: Final = 10**9  # ppb as money: a ratio
_Q192: Final = 192
Pool = ConstantProduct | Concentrated
Places = tuple[tuple[int, bool], ...]  # (instrument, whether token0 goes in) of each hop
Pools = Sequence[tuple[int, str, str]]  # instrument, token0, token1


class Standing(msgspec.Struct):
    """A way that earned at the last look, as it was first numbered; `told` are the reasons told of it."""

    number: int
    since: int
    best_edge_ppb: int
    edge_ppb: int
    told: list[str] = []


class PathPlaces(NamedTuple):
    """A way from one token to another one."""

    token_in: str
    token_out: str
    places: Places


def paths(pools: Pools, ends: tuple[str, str], most: int) -> Iterator[PathPlaces]:
    """Every way from the first of two tokens to the second, through other pools and other tokens each time, shortest steps first."""
    ways: dict[str, list[tuple[int, bool, str]]] = {}
    for number, token0, token1 in pools:
        ways.setdefault(token0, []).append((number, True, token1))
        ways.setdefault(token1, []).append((number, False, token0))

    def follow(at: str, places: Places, passed: tuple[str, ...]) -> Iterator[PathPlaces]:
        for number, zero_for_one, token in ways.get(at, ()):
            longer = (*places, (number, zero_for_one))
            if token == ends[1]:
                yield PathPlaces(*ends, longer)
            elif token not in passed and len(longer) < most:
                yield from follow(token, longer, (*passed, token))

    yield from follow(ends[0], (), (ends[0],))


def rate_of(pool: Pool | None, *, zero_for_one: bool) -> tuple[int, int]:
    """What the first unit comes to after the fee, as a fraction; (0, 1) of a pool that is not known."""
    if pool is None:
        return (0, 1)
    if isinstance(pool, ConstantProduct):
        mine, theirs = pool.reserves(zero_for_one=zero_for_one)
        return ((pool.fee_denominator - pool.fee_numerator) * theirs, pool.fee_denominator * mine) if mine else (0, 1)
    if not pool.liquidity:
        return (0, 1)
    kept, square = PIPS - pool.fee_pips, pool.sqrt_price * pool.sqrt_price
    return (kept * square, PIPS << _Q192) if zero_for_one else (kept << _Q192, PIPS * square)


class Seen(Protocol):
    """The memory of a strategy, as far as it is of ways that stand: how many were ever found, and those by key."""

    found: int
    standing: dict[str, Standing]


def stand(seen: Seen, key: str, edge_ppb: int, open_ppb: int, now: int) -> tuple[Standing | None, list[CycleNote]]:
    """A way that earns, as it is numbered, with the note that it began where it is new; None while it earns less than a new one must."""
    known = seen.standing.get(key)
    if known is not None:
        known.edge_ppb, known.best_edge_ppb = edge_ppb, max(edge_ppb, known.best_edge_ppb)
        return known, []
    if edge_ppb < open_ppb:
        return None, []
    seen.found += 1
    known = seen.standing[key] = Standing(seen.found, now, edge_ppb, edge_ppb)
    return known, [CycleNote(cycle=told_of(key, known), phase="opened")]


def forget_untaken(asked: dict[int, list[int]], tried: list[int], wake: Wake, view: View) -> None:
    """Pools of which nothing was taken after all may be asked again.

    `tried` are those of the plans of the last block: where nothing of ours is open at the next one, and nobody told what became of them, risk
    refused them.
    """
    if wake.cycle is not None:
        tried.clear()
        if wake.cycle.event in ("reverted", "dropped") and not view.open_bundles():
            asked.clear()
    elif wake.kind == "block":
        if not view.open_bundles():
            for number in tried:
                asked.pop(number, None)
        tried.clear()


def print_of(pool: Pool) -> list[int]:
    """What a pool is now, as far as a swap at its price depends on it."""
    if isinstance(pool, ConstantProduct):
        return [pool.reserve0, pool.reserve1]
    return [pool.sqrt_price, pool.tick, pool.liquidity]


def key_of(venue: str, places: Places) -> str:
    """A way as text: the chain, and each instrument with > where its base goes in."""
    return f"{venue} " + " ".join(f"{number}{'>' if is_sold else '<'}" for number, is_sold in places)


def told_of(key: str, one: Standing) -> CycleFound:
    """A way as the engine is told of it."""
    places = key.split()[1:]
    return CycleFound(
        number=one.number,
        legs=tuple((int(place[:-1]), "sell" if place[-1] == ">" else "buy") for place in places),
        seqs=(),
        edge_ppb=one.edge_ppb,
        best_edge_ppb=one.best_edge_ppb,
        since=one.since,
    )


def pass_on(key: str, one: Standing, reason: str, value: int | None = None, bound: int | None = None) -> Pass | None:
    """A way is not taken, told once for each reason."""
    if reason in one.told:
        return None
    one.told.append(reason)
    return Pass(
        opportunity=None,
        reason=reason,
        value=None if value is None else Money(value),
        bound=None if bound is None else Money(bound),
        cycle=told_of(key, one),
    )
