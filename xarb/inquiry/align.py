"""Two courses over one market beside each other: opportunities by pair and time, decisions by time, orders by their place in the bundle."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from xarb.inquiry.course import Course, Decision, Episode, Order
from xarb.model.columns import VERDICTS


class EpisodePair(NamedTuple):
    """An opportunity of one side and the one of the other that lived at the same time; None where there is none."""

    a: Episode | None
    b: Episode | None


class DecisionPair(NamedTuple):
    """Decisions on aligned opportunities that were made at the same time, or in the same place between such."""

    a: Decision | None
    b: Decision | None


class OrderPair(NamedTuple):
    """Orders of aligned bundles with the same leg and attempt."""

    a: Order | None
    b: Order | None


def align_episodes(a: Course, b: Course) -> Iterator[EpisodePair]:
    """Every opportunity of both, once: two of one pair belong together when they live at the same time, each with one other."""
    for pair in sorted({*a.episodes, *b.episodes}, key=str):
        mine, theirs = (sorted(one.episodes.get(pair, ()), key=_first) for one in (a, b))
        yield from _overlapping(mine, theirs)


def align_decisions(pair: EpisodePair) -> Iterator[DecisionPair]:
    """Every decision of both, once: first those at the same time, then what lies between such, taken and refused ones each in order."""
    mine, theirs = pair.a.decisions if pair.a else (), pair.b.decisions if pair.b else ()
    at, to = 0, 0
    for i, j in [*_anchors(mine, theirs), (len(mine), len(theirs))]:
        for verdict in VERDICTS:
            left = [one for one in mine[at:i] if one.verdict == verdict]
            right = [one for one in theirs[to:j] if one.verdict == verdict]
            for place in range(max(len(left), len(right))):
                yield DecisionPair(left[place] if place < len(left) else None, right[place] if place < len(right) else None)
        if i < len(mine):
            yield DecisionPair(mine[i], theirs[j])
        at, to = i + 1, j + 1


def align_orders(pair: DecisionPair) -> Iterator[OrderPair]:
    """Every order of both bundles, once."""
    places: defaultdict[tuple[int, int, int], list[Order | None]] = defaultdict(lambda: [None, None])
    for side, decision in enumerate(pair):
        counts: defaultdict[tuple[int, int], int] = defaultdict(int)
        for order in decision.orders if decision else ():
            key = (order.leg, order.attempt)
            places[*key, counts[key]][side] = order
            counts[key] += 1
    for _, (a, b) in sorted(places.items(), key=_sent):
        yield OrderPair(a, b)


def _sent(item: tuple[tuple[int, int, int], list[Order | None]]) -> tuple[int, tuple[int, int, int]]:
    """When the first of both was sent; at one time in order of the place."""
    return min(order.ts for order in item[1] if order is not None), item[0]


def _overlapping(mine: Sequence[Episode], theirs: Sequence[Episode]) -> Iterator[EpisodePair]:
    i = j = 0
    while i < len(mine) and j < len(theirs):
        a, b = mine[i], theirs[j]
        if a.last is not None and a.last < b.first:
            yield EpisodePair(a, None)
            i += 1
        elif b.last is not None and b.last < a.first:
            yield EpisodePair(None, b)
            j += 1
        else:
            yield EpisodePair(a, b)
            i, j = i + 1, j + 1
    yield from (EpisodePair(one, None) for one in mine[i:])
    yield from (EpisodePair(None, one) for one in theirs[j:])


def _anchors(mine: Sequence[Decision], theirs: Sequence[Decision]) -> Iterable[tuple[int, int]]:
    """Places of decisions at the same time, the n-th at a time with the n-th; times never fall."""
    i = j = 0
    while i < len(mine) and j < len(theirs):
        if mine[i].ts == theirs[j].ts:
            yield i, j
            i, j = i + 1, j + 1
        elif mine[i].ts < theirs[j].ts:
            i += 1
        else:
            j += 1


def _first(episode: Episode) -> int:
    return episode.first
