"""Cycles on chains as a comparison shows them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, Final

from xarb.inquiry.cyclecauses import CycleComparison, CyclePair
from xarb.inquiry.cyclecourse import Chance, Choice, Cycle
from xarb.inquiry.sections import Section, amount, bps

_CHAIN_ROWS: Final = ("pools", "swaps")
_COLUMNS: Final = (
    *("chain", "block", "A", "B", "expected A", "expected B", "profit A", "profit B", "gas A", "gas B"),
    *("wei A", "wei B", "included A", "included B", "became A", "became B", "differs by"),
)


def told(side: Chance | Choice | Cycle, what: str) -> str:
    """One side of a difference."""
    if isinstance(side, Chance):
        ended = "open" if side.closed is None else f"block {side.closed[0].number} {side.closed[1]}"
        return f"opportunity {side.number}: block {side.opened[0].number} at {bps(side.opened[1])} bps to {ended}"
    if isinstance(side, Choice):
        verdict = f"refused: {side.reason}" if side.cycle is None else f"bundle {side.cycle.bundle}: {_planned(side.cycle)}"
        return f"block {side.block.number} {verdict}, at an edge of {bps(side.edge_ppb)} bps"
    if what == "bid":
        net, ceiling, gas = side.bid
        return f"cycle {side.number}: {net} expected, at most {ceiling} wei for each of {gas} gas"
    if what in ("gas", "base fee"):
        return f"cycle {side.number}: {side.gas_used} gas at {side.price_wei} wei"
    where = "" if side.included is None else f" in block {side.included}"
    made = ", ".join(f"{amount(change)} {asset}" for asset, change in sorted(side.flow.items())) or "nothing"
    return f"cycle {side.number}: {side.state}{where}" + (f" ({side.reason})" if side.reason else "") + f", {made}"


def _planned(one: Cycle) -> str:
    hops, funded, put, least, channel = one.plan
    return f"{put} into {hops}, {funded}, at least {least}, {channel}"


def cycle_section(found: CycleComparison) -> Section:
    """Every bundle on a chain of both sides, and by which causes it differs, each with its count."""
    causes: defaultdict[tuple[int | None, int | None], Counter[str]] = defaultdict(Counter)
    for one in found.differences:
        causes[_names(one.cycles)][one.cause] += 1
    rows = [_row(pair, causes[_names(pair)]) for pair in sorted(found.pairs, key=_place)]
    return Section(
        "cycles", "Bundles on chains: what was expected, what came of them, and by which causes they differ", _COLUMNS, rows
    )


def acts_of(found: CycleComparison) -> list[tuple[Any, ...]]:
    """As rows of market inputs that only one side has: what others did to pools in blocks in which they did not do the same."""
    return [
        ("pools", venue, pool, side, count)
        for venue, chain in found.chains.items()
        for (pool, side), count in chain.counts().items()
    ]


def _names(pair: Sequence[Cycle | None]) -> tuple[int | None, int | None]:
    mine, theirs = (None if one is None else one.bundle for one in pair)
    return mine, theirs


def _row(pair: CyclePair, causes: Counter[str]) -> tuple[Any, ...]:
    one = pair.a or pair.b
    assert one is not None
    both: list[Any] = []
    for get in (_bundle, _expected, _profit, _gas, _price, _included, _became):
        both += [None if side is None else get(side) for side in pair]
    words = ", ".join(f"{cause} {count}" for cause, count in sorted(causes.items()))
    return (one.venue, one.block.number, *both, words or None)


def _bundle(one: Cycle) -> int:
    return one.bundle


def _expected(one: Cycle) -> str:
    return str(one.bid[0])


def _profit(one: Cycle) -> str | None:
    return None if one.profit is None else str(one.profit)


def _gas(one: Cycle) -> int | None:
    return one.gas_used


def _price(one: Cycle) -> str | None:
    return None if one.price_wei is None else str(one.price_wei)


def _included(one: Cycle) -> int | None:
    return one.included


def _became(one: Cycle) -> str:
    return one.state


def _place(pair: CyclePair) -> int:
    return min(one.block.place for one in pair if one is not None)
