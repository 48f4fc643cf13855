"""Taken bundles as a summary needs them: what each traded and changed, the latest alone, older ones added up."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from itertools import islice
from typing import Any, Final

LATEST: Final = 5_000  # about 1 KB each
_NO_PAIR: Final = "(no pair)"  # of bundles that rest on no opportunity
Flow = dict[str, int]  # change by asset, money


class Bundle:
    """One taken bundle; or several of one strategy and pair: old ones of which the same is printed, or those whose edges are not taken."""

    __slots__ = ("edge_ppb", "flow", "measured", "pair", "quote", "strategy", "turnover", "weighted")

    def __init__(self, strategy: str, pair: str, edge_ppb: int, *, measured: bool) -> None:
        self.strategy = strategy
        self.pair = pair  # of venues, as it is printed
        self.edge_ppb = edge_ppb
        self.measured = measured  # whether the edges are taken over it
        self.turnover = 0
        self.weighted = 0  # edge decided by turnover
        self.quote = ""  # quote asset of its fills
        self.flow: Flow = {}

    def trade(self, notional: int, quote: str) -> None:
        """A fill in that quote asset; the edges are not taken over a bundle that has several."""
        self.turnover += notional
        self.weighted += notional * self.edge_ppb
        if not self.quote:
            self.quote = quote
        elif self.quote != quote:
            self.measured = False

    @property
    def kind(self) -> tuple[str, str, str, bool, tuple[str, ...]]:
        """Bundles that have this in common may be added: what has a value of one has one of all."""
        changed = tuple(sorted(asset for asset, change in self.flow.items() if change))
        return self.strategy, self.pair, self.quote, self.measured, changed

    def add(self, other: Bundle) -> None:
        """Put another one of this kind to this one."""
        self.turnover += other.turnover
        self.weighted += other.weighted
        for asset, change in other.flow.items():
            self.flow[asset] = self.flow.get(asset, 0) + change


class Taken:
    """All bundles: the latest ones each alone, older ones added up, so that memory does not grow with them.

    Args:
        measured: over how many, the first ones, the edges are taken.
        latest: how many are kept each alone, at least.

    Attributes:
        by_pair: how many there are of each pair of venues.
    """

    def __init__(self, measured: int, *, latest: int) -> None:
        self.by_pair: Counter[str] = Counter()
        self._measured, self._bound = measured, latest
        self._made = 0  # measured ones so far
        self._latest: dict[int, Bundle] = {}  # by number, in the order in which they were taken
        self._old: dict[tuple[Any, ...], tuple[Bundle, tuple[str, ...]]] = {}  # by kind, with the assets that changed in each
        self._lumps: dict[tuple[str, str], Bundle] = {}  # by strategy and pair
        self._pairs: dict[str, int] = {}  # by name, in the order in which they came
        self._pair_of = array("i")  # by number of the bundle, -1 for none

    def take(self, number: int, strategy: str, pair: str, edge_ppb: int) -> None:
        """A bundle was taken on an opportunity."""
        self._count(number, pair)
        if self._made < self._measured:
            self._made += 1
            self._latest[number] = Bundle(strategy, pair, edge_ppb, measured=True)

    def of(self, number: int, strategy: str) -> Bundle:
        """Where a fill of a bundle belongs; one that no decision on an opportunity took has no edge and no pair.

        What comes of a bundle that was added up already is counted and valued, and not in the edges.
        """
        found = self._latest.get(number)
        if found is not None:
            return found
        known = self._pair_of[number] if number < len(self._pair_of) else -1
        if known < 0:
            self._count(number, _NO_PAIR)
            known = self._pair_of[number]
        pair = tuple(self._pairs)[known]
        lump = self._lumps.get((strategy, pair))
        if lump is None:
            lump = self._lumps[strategy, pair] = Bundle(strategy, pair, 0, measured=False)
        return lump

    def _count(self, number: int, pair: str) -> None:
        self.by_pair[pair] += 1
        place = self._pairs.setdefault(pair, len(self._pairs))
        if number >= len(self._pair_of):
            self._pair_of.extend([-1] * (number + 1 - len(self._pair_of)))
        self._pair_of[number] = place

    def add_up(self, busy: Callable[[], Collection[int]]) -> None:
        """Add up the older half when there are many, but for those that have orders on their way, whose numbers `busy` gives."""
        if len(self._latest) < 2 * self._bound:
            return
        kept = busy()
        for number in [one for one in islice(self._latest, self._bound) if one not in kept]:
            bundle = self._latest.pop(number)
            kind = bundle.kind
            if kind in self._old:
                self._old[kind][0].add(bundle)
            else:
                self._old[kind] = (bundle, kind[-1])

    def all(self) -> Iterator[tuple[Bundle, tuple[str, ...]]]:
        """Each with the assets of which the change must have a value."""
        yield from self._old.values()
        yield from ((bundle, bundle.kind[-1]) for bundle in (*self._latest.values(), *self._lumps.values()))

    def flow(self, *, strategy: str | None = None, pair: str | None = None) -> Flow:
        """What those of a strategy, or of a pair, changed all together."""
        found: Flow = {}
        for bundle, _ in self.all():
            if bundle.strategy == strategy or bundle.pair == pair:
                for asset, change in bundle.flow.items():
                    found[asset] = found.get(asset, 0) + change
        return found
