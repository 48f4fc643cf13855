"""Cycles through a market that bring back more than was put in: a negative-cycle search over the best rates, in integers.

Assets are numbered; a rate says what one unit of an asset brings of another, after fees, at the best price. With minus its logarithm as a
length, a cycle that earns is a negative one. Lengths are never made: products of rates are compared, which orders cycles alike, and rounded
down, so that no cycle earns here what it does not earn at the best prices.

Bellman and Ford's rounds, one a leg, give the most that any walk of at most k legs brings back from each asset to the start. Where no walk earns,
no cycle does: that ends nearly every search. Else paths are followed from the start, never twice through one asset, only as long as what they
brought times the most that a walk from there brings back exceeds what is asked for. So all cycles that earn it are found, each once. Of more than
`MAX_FOUND` those are that the most promising hops lead to, each asset's hops being followed in that order: the rest is left out, the same at each search,
and is counted as far as is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

ONE: Final = 10**30  # the rate of a unit for a unit
LEAST_LEGS: Final = 3  # two legs are a pair
MAX_FOUND: Final = 1000  # cycles in one search; in a market where more earn, prices are wrong
COUNTED: Final = 10_000  # of those left out, where somebody is told how many they are


class Hop(NamedTuple):
    """One asset becomes another: `rate` units at `ONE`, by the trade of this number."""

    source: int
    target: int
    rate: int
    trade: int


class Cycle(NamedTuple):
    """What goes round: the product of the rates at `ONE`, and the trades from the start on."""

    product: int
    trades: tuple[int, ...]


class Found(NamedTuple):
    """Cycles that earn, best first, and how many more earn and are left out; as far as they were counted."""

    cycles: list[Cycle]
    left_out: int


def best_hops(hops: Sequence[Hop]) -> list[Hop]:
    """Of the hops between the same two assets the one with the highest rate, of equal ones the first; in order of source and target."""
    best: dict[tuple[int, int], Hop] = {}
    for hop in hops:
        known = best.get((hop.source, hop.target))
        if known is None or hop.rate > known.rate:
            best[hop.source, hop.target] = hop
    return [best[key] for key in sorted(best)]


def earning_cycles(hops: Sequence[Hop], start: int, *, max_legs: int, above: int = ONE, counted: int = 1) -> Found:
    """All cycles of three to `max_legs` hops through `start`, each asset once, whose product exceeds `above`; best first.

    Args:
        hops: at most one from one asset to another.
        start: the asset that goes round.
        max_legs: at least 3. Of more than `MAX_FOUND` cycles so many, see above.
        above: at `ONE`; products of a search are rounded down after each leg.
        counted: of those left out so many are counted at most.
    """
    back = _most_back(hops, start, max_legs)
    if back[max_legs].get(start, 0) <= above:
        return Found([], 0)
    leaving: dict[int, list[Hop]] = {}
    for hop in hops:
        leaving.setdefault(hop.source, []).append(hop)
    onward = back[max_legs - 1] | {start: ONE}
    for mine in leaving.values():  # where not all are found, the best are not among the last
        mine.sort(key=lambda hop: -hop.rate * onward.get(hop.target, 0))
    found: list[Cycle] = []
    path: list[Hop] = []
    search = _Search(leaving, back, start, max_legs, above, MAX_FOUND + counted, found)
    _follow(search, ONE, start, path)
    left_out = max(0, len(found) - MAX_FOUND)
    return Found(sorted(found[:MAX_FOUND], key=lambda cycle: (-cycle.product, cycle.trades)), left_out)


def _most_back(hops: Sequence[Hop], start: int, max_legs: int) -> list[dict[int, int]]:
    """By number of legs at most, and by asset, the most that a walk from there brings of `start`; a slack of one unit for each leg's rounding."""
    layers: list[dict[int, int]] = [{}]
    reach = {start: ONE}
    for _ in range(max_legs):
        layer = dict(layers[-1])
        for source, target, rate, _trade in hops:
            onward = reach.get(target)
            if onward is not None:
                product = rate * onward // ONE + 1
                if product > layer.get(source, 0):
                    layer[source] = product
        layers.append(layer)
        reach = layer | {start: max(ONE, layer.get(start, 0))}
    return layers


class _Search(NamedTuple):
    leaving: dict[int, list[Hop]]
    back: list[dict[int, int]]
    start: int
    max_legs: int
    above: int
    most: int
    found: list[Cycle]


def _follow(search: _Search, product: int, asset: int, path: list[Hop]) -> None:
    left = search.max_legs - len(path)
    for hop in search.leaving.get(asset, ()):
        if len(search.found) >= search.most:
            return
        after = product * hop.rate // ONE
        if hop.target == search.start:
            if after > search.above and len(path) + 1 >= LEAST_LEGS:
                search.found.append(Cycle(after, (*(one.trade for one in path), hop.trade)))
            continue
        if left < 2 or any(one.target == hop.target for one in path):  # this leg, and one back
            continue
        if after * search.back[left - 1].get(hop.target, 0) // ONE + 1 > search.above:
            path.append(hop)
            _follow(search, after, hop.target, path)
            path.pop()
