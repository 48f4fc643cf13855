"""Two courses over one market beside each other: opportunities by pair and time, decisions by time, orders by their place in the bundle."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol, TypeVar

from xarb.inquiry.course import Course, Decision, Episode, Order
from xarb.model.columns import VERDICTS


class Judged(Protocol):
    """A decision, of whatever kind."""

    @property
    def verdict(self) -> str:
        """Taken or refused."""


Made = TypeVar("Made", bound=Judged)
Lived = TypeVar("Lived")


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
        yield from (EpisodePair(*one) for one in overlapping(mine, theirs, _life))


def align_decisions(pair: EpisodePair) -> Iterator[DecisionPair]:
    """Every decision of both, once: first those at the same time, then what lies between such, taken and refused ones each in order."""
    mine, theirs = pair.a.decisions if pair.a else (), pair.b.decisions if pair.b else ()
    yield from (DecisionPair(*one) for one in paired(mine, theirs, _when))


def paired(mine: Sequence[Made], theirs: Sequence[Made], when: Callable[[Made], int]) -> Iterator[tuple[Made | None, Made | None]]:
    """Every decision of both, once: first those at the same moment, then what lies between such, taken and refused ones each in order."""
    at, to = 0, 0
    for i, j in [*_anchors([when(one) for one in mine], [when(one) for one in theirs]), (len(mine), len(theirs))]:
        for verdict in VERDICTS:
            left = [one for one in mine[at:i] if one.verdict == verdict]
            right = [one for one in theirs[to:j] if one.verdict == verdict]
            for place in range(max(len(left), len(right))):
                yield left[place] if place < len(left) else None, right[place] if place < len(right) else None
        if i < len(mine):
            yield mine[i], theirs[j]
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


def overlapping(
    mine: Sequence[Lived], theirs: Sequence[Lived], life: Callable[[Lived], tuple[int, int | None]]
) -> Iterator[tuple[Lived | None, Lived | None]]:
    """Everything of both, once: what lived at the same time, in order; `life` gives its first and last moment, None while it lives."""
    i = j = 0
    while i < len(mine) and j < len(theirs):
        a, b = life(mine[i]), life(theirs[j])
        if a[1] is not None and a[1] < b[0]:
            yield mine[i], None
            i += 1
        elif b[1] is not None and b[1] < a[0]:
            yield None, theirs[j]
            j += 1
        else:
            yield mine[i], theirs[j]
            i, j = i + 1, j + 1
    yield from ((one, None) for one in mine[i:])
    yield from ((None, one) for one in theirs[j:])


def _anchors(mine: Sequence[int], theirs: Sequence[int]) -> Iterable[tuple[int, int]]:
    """Places of equal moments, the n-th of one with the n-th; moments never fall."""
    i = j = 0
    while i < len(mine) and j < len(theirs):
        if mine[i] == theirs[j]:
            yield i, j
            i, j = i + 1, j + 1
        elif mine[i] < theirs[j]:
            i += 1
        else:
            j += 1


def _when(decision: Decision) -> int:
    return decision.ts


def _life(episode: Episode) -> tuple[int, int | None]:
    return episode.first, episode.last


def _first(episode: Episode) -> int:
    return episode.first
