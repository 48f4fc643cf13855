"""The cheapest set of transfers of one asset that brings every venue's balance into the band around its target. Pure; integers only.

Fees of withdrawals are fixed sums, so what a plan costs depends only on which transfers it has. Sets of transfers are looked at in order of
their cost, and of equal costs in order of their number, until amounts exist for one: that is the cheapest. Whether amounts exist, within
minimum withdrawals, steps, free balances and the band, is a flow problem, solved exactly. Of the amounts that exist those are taken that
leave the smallest greatest drift.

Between two venues one network is used, and a dearer one only where its minimum is lower.

With fixed sums the problem is NP-hard, and this search takes exponential time: it is made for a handful of venues. After `MOST_SETS` sets
without an answer it gives up and says so; a plan that it gives is always the cheapest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from heapq import heappop, heappush
from math import lcm
from typing import Final, NamedTuple

import msgspec

from xarb.model.targets import Shares, band_of, targets
from xarb.model.units import ceil_div

MOST_SETS: Final = 100_000  # five seconds


class Way(msgspec.Struct, frozen=True):
    """How an asset gets from one venue to another: a network that is open at both ends. Amounts are money.

    `least` and `step` hold for what arrives, so that they hold whether the venue counts its fee in or not, where the fee is a multiple of the
    step. `minutes` is the expected time, None where it is not known; no cost rests on it.
    """

    source: str
    to: str
    network: str
    fee: int
    least: int
    step: int
    minutes: int | None = None


class Transfer(NamedTuple):
    """One transfer of a plan: `amount` leaves the way's source, its fee included."""

    way: Way
    amount: int

    @property
    def arrives(self) -> int:
        """What the other venue gets."""
        return self.amount - self.way.fee


class Problem(msgspec.Struct, frozen=True):
    """One asset of one account.

    Attributes:
        balances: by venue with a share, money.
        free: by venue, what can be withdrawn of it.
        shares: by venue.
        band_ppb: how far a balance may lie from its target, of the total.
        ways: what transfers are possible.
    """

    balances: Mapping[str, int]
    free: Mapping[str, int]
    shares: Shares
    band_ppb: int
    ways: Sequence[Way]


class Answer(NamedTuple):
    """The cheapest transfers, in order of source and destination; or why there are none, with `transfers` None."""

    transfers: tuple[Transfer, ...] | None
    why: str = ""


def cheapest(problem: Problem, *, most_sets: int = MOST_SETS) -> Answer:
    """The cheapest transfers after which all balances lie within the band; none are needed where they do already."""
    ways = _useful(way for way in problem.ways if way.least + way.fee <= _sendable(problem, way.source))
    stuck = _stuck(problem, ways)
    if stuck is not None:
        return Answer(None, stuck)
    step = lcm(*(way.step for way in ways)) if ways else 1
    # Every set of ways once: a set's successors are the set with the next way, and with its last way replaced by the next.
    heap: list[tuple[int, int, tuple[int, ...]]] = [(0, 0, ())]
    looked_at = 0
    while heap:
        cost, count, chosen = heappop(heap)
        looked_at += 1
        found = _amounts(problem, [ways[at] for at in chosen], step)
        if found is not None:
            return Answer(tuple(sorted(found, key=_in_order)))
        if looked_at >= most_sets:
            return Answer(None, f"none of the {most_sets:,} cheapest sets of transfers does it: widen the band, or move by hand")
        following = chosen[-1] + 1 if chosen else 0
        if following < len(ways):
            fee = ways[following].fee
            heappush(heap, (cost + fee, count + 1, (*chosen, following)))
            if chosen:
                heappush(heap, (cost + fee - ways[chosen[-1]].fee, count, (*chosen[:-1], following)))
    return Answer(None, "no transfers do it: minimum withdrawals, steps, fees or what is free do not allow the amounts")


def _sendable(problem: Problem, venue: str) -> int:
    """What can be withdrawn from a venue in all."""
    return min(problem.free[venue], problem.balances[venue])


def _in_order(transfer: Transfer) -> tuple[str, str]:
    return transfer.way.source, transfer.way.to


def _useful(ways: Iterable[Way]) -> list[Way]:
    """In order of fee; without those of which another between the same venues is neither dearer nor has a higher minimum."""
    kept: list[Way] = []
    for way in sorted(ways, key=_by_fee):
        rivals = [one for one in kept if (one.source, one.to) == (way.source, way.to)]
        if all(one.least > way.least for one in rivals):
            kept.append(way)
    return kept


def _by_fee(way: Way) -> tuple[int, int, bool, int, str, str, str]:
    return way.fee, way.least, way.minutes is None, way.minutes or 0, way.source, way.to, way.network


def _stuck(problem: Problem, ways: Sequence[Way]) -> str | None:
    """A venue outside the band, as it stands now, that no way leads out of or into."""
    total = sum(problem.balances.values())
    band, wanted = band_of(total, problem.band_ppb), targets(total, problem.shares)
    lowest = targets(total - sum(way.fee for way in ways), problem.shares)  # fees lessen the targets, at most so far
    for venue, target in wanted.items():
        balance = problem.balances[venue]
        if balance - target > band and not any(way.source == venue for way in ways):
            return f"nothing can be withdrawn from {venue}, where there is too much: suspended, not known, or below the minimum"
        if lowest[venue] - balance > band and not any(way.to == venue for way in ways):
            return f"nothing can be sent to {venue}, where there is too little: suspended, not known, or below the minimum"
    return None


def _amounts(problem: Problem, chosen: Sequence[Way], step: int) -> list[Transfer] | None:
    """Amounts of exactly these transfers that leave the smallest greatest drift, None where none leave all within the band."""
    if len({(way.source, way.to) for way in chosen}) < len(chosen):
        return None  # two ways between the same venues: one of them would do
    bounds = _Bounds(problem, chosen, step)
    if bounds.are_plainly_missed(chosen):
        return None
    flow = bounds.flow(bounds.band)
    if flow is None:
        return None
    low, high = 0, bounds.band
    while low < high:
        middle = (low + high) // 2
        tried = bounds.flow(middle)
        if tried is None:
            low = middle + 1
        else:
            high, flow = middle, tried
    return [Transfer(way, arrives * step + way.fee) for way, arrives in zip(chosen, flow, strict=True)]


class _Bounds:
    """What must hold of the amounts of a set of transfers, in whole steps; the set's fees are paid already."""

    def __init__(self, problem: Problem, chosen: Sequence[Way], step: int) -> None:
        self._venues = tuple(problem.shares)
        numbers = {venue: number for number, venue in enumerate(self._venues)}
        self._step = step
        fees = [0] * len(self._venues)
        for way in chosen:
            fees[numbers[way.source]] += way.fee
        total = sum(problem.balances[venue] for venue in self._venues) - sum(fees)
        self.band = band_of(total, problem.band_ppb)
        wanted = targets(total, problem.shares)
        # What each venue has too little of: what must come in, less what goes out.
        self._missing = [wanted[venue] - problem.balances[venue] + fees[at] for at, venue in enumerate(self._venues)]
        self._most_out = [(_sendable(problem, venue) - fees[at]) // step for at, venue in enumerate(self._venues)]
        self._ends = [(numbers[way.source], numbers[way.to]) for way in chosen]
        self._least = [max(1, ceil_div(way.least, step)) for way in chosen]

    def _range(self, at: int, band: int) -> tuple[int, int]:
        """Least and most steps that may come in on balance."""
        return ceil_div(self._missing[at] - band, self._step), (self._missing[at] + band) // self._step

    def are_plainly_missed(self, chosen: Sequence[Way]) -> bool:
        """Whether a venue outside the band has no transfer that could mend it, or one sends more than it has."""
        sources, to = {way.source for way in chosen}, {way.to for way in chosen}
        for at, venue in enumerate(self._venues):
            low, high = self._range(at, self.band)
            if low > high or (low > 0 and venue not in to) or (high < 0 and venue not in sources):
                return True
            if venue in sources and self._most_out[at] < 1:
                return True
        return False

    def flow(self, band: int) -> list[int] | None:
        """What arrives by each transfer, in steps, with every venue within `band` of its target; None where that cannot be.

        A circulation: from each venue, through its bound of what may leave, along the transfers to the other venues, and from each venue to a
        pool by what comes in on balance. Lower bounds are flows that are there already and are made good from a source to a sink.
        """
        count = len(self._venues)
        pool, source, sink = 2 * count, 2 * count + 1, 2 * count + 2
        room = [dict[int, int]() for _ in range(2 * count + 3)]
        spare = [0] * (2 * count + 1)
        for at in range(count):
            low, high = self._range(at, band)
            if low > high:
                return None
            _open(room, at, pool, high - low)
            spare[pool] += low
            spare[at] -= low
            _open(room, at, count + at, max(self._most_out[at], 0))
        endless = 1 + sum(abs(one) for one in (*self._missing, *self._most_out, *self._least)) + 2 * count * band
        for (start, end), least in zip(self._ends, self._least, strict=True):
            _open(room, count + start, end, endless)
            spare[end] += least
            spare[count + start] -= least
        wanted = 0
        for node, more in enumerate(spare):
            if more > 0:
                _open(room, source, node, more)
                wanted += more
            elif more < 0:
                _open(room, node, sink, -more)
        if _fill(room, source, sink) < wanted:
            return None
        return [least + endless - room[count + start][end] for (start, end), least in zip(self._ends, self._least, strict=True)]


def _open(room: list[dict[int, int]], start: int, end: int, most: int) -> None:
    room[start][end] = room[start].get(end, 0) + most
    room[end].setdefault(start, 0)


def _fill(room: list[dict[int, int]], source: int, sink: int) -> int:
    """The largest flow, by shortest augmenting paths; `room` is what is left of each edge afterwards."""
    total = 0
    while True:
        came = {source: source}
        line = deque([source])
        while line and sink not in came:
            node = line.popleft()
            for other, left in room[node].items():
                if left > 0 and other not in came:
                    came[other] = node
                    line.append(other)
        if sink not in came:
            return total
        path, node = [], sink
        while node != source:
            path.append((came[node], node))
            node = came[node]
        most = min(room[start][end] for start, end in path)
        for start, end in path:
            room[start][end] -= most
            room[end][start] += most
        total += most
