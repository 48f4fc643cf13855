"""The search for cycles that earn, against all cycles there are."""

from __future__ import annotations

from itertools import pairwise, permutations
from random import Random

import pytest

from xarb.strategies.cycles import COUNTED, MAX_FOUND, ONE, Cycle, Hop, best_hops, earning_cycles


def brute(hops: list[Hop], start: int, max_legs: int, above: int) -> list[Cycle]:
    """Every order of every choice of assets."""
    rates = {(hop.source, hop.target): hop for hop in hops}
    assets = {hop.source for hop in hops} | {hop.target for hop in hops}
    found = []
    for legs in range(3, max_legs + 1):
        for middle in permutations(sorted(assets - {start}), legs - 1):
            way = [start, *middle, start]
            steps = [rates.get(step) for step in pairwise(way)]
            if all(steps):
                product = ONE
                for step in steps:
                    assert step is not None
                    product = product * step.rate // ONE
                if product > above:
                    found.append(Cycle(product, tuple(step.trade for step in steps if step is not None)))
    return sorted(found, key=lambda cycle: (-cycle.product, cycle.trades))


def market(rng: Random, assets: int, spread: float) -> list[Hop]:
    """Rates around the worth of assets, some missing; trades are numbered in order."""
    worth = [10 ** rng.uniform(-6, 6) for _ in range(assets)]
    hops: list[Hop] = []
    for source in range(assets):
        for target in range(assets):
            if source != target and rng.random() < 0.7:
                rate = worth[source] / worth[target] * (1 + rng.gauss(-spread / 3, spread))
                hops.append(Hop(source, target, max(int(rate * 10**18) * 10**12, 1), len(hops)))
    return hops


@pytest.mark.parametrize("seed", range(150))
def test_all_cycles_that_earn_are_found(seed: int) -> None:
    """In calm and in torn markets, also beside pairs that earn (a walk may go round those, a cycle may not)."""
    rng = Random(seed)  # noqa: S311  # a test's draw
    hops = market(rng, rng.randint(3, 6), rng.choice([0.0005, 0.005, 0.05]))
    above = rng.choice([ONE, ONE + ONE // 1000])
    legs = rng.randint(3, 5)
    everything = brute(hops, 0, legs, above)
    assert earning_cycles(hops, 0, max_legs=legs, above=above) == (everything[:MAX_FOUND], max(0, len(everything) - MAX_FOUND))


def test_the_markets_of_the_test_have_cycles() -> None:
    """Else it would show nothing."""
    counts = []
    for seed in range(150):
        rng = Random(seed)  # noqa: S311  # a test's draw
        hops = market(rng, rng.randint(3, 6), rng.choice([0.0005, 0.005, 0.05]))
        counts.append(len(brute(hops, 0, 5, ONE)))
    assert sum(count == 0 for count in counts) > 20
    assert sum(count > 3 for count in counts) > 20


def test_a_pair_is_no_cycle() -> None:
    """There and back earns, but that is for a strategy of pairs."""
    hops = [Hop(0, 1, 2 * ONE, 0), Hop(1, 0, ONE, 1), Hop(1, 2, ONE, 2), Hop(2, 0, ONE // 4, 3)]
    assert earning_cycles(hops, 0, max_legs=4) == ([], 0)


def test_what_brings_back_as_much_does_not_earn() -> None:
    """The bound itself is not above it."""
    hops = [Hop(0, 1, ONE, 0), Hop(1, 2, ONE, 1), Hop(2, 0, ONE + 5, 2)]
    assert earning_cycles(hops, 0, max_legs=3, above=ONE + 5) == ([], 0)
    assert earning_cycles(hops, 0, max_legs=3, above=ONE + 4) == ([Cycle(ONE + 5, (0, 1, 2))], 0)


def test_no_more_than_a_bound_is_found() -> None:
    """Where every cycle earns the search ends all the same."""
    hops = [Hop(a, b, 2 * ONE, 0) for a in range(30) for b in range(30) if a != b]
    assert len(earning_cycles(hops, 0, max_legs=5).cycles) == MAX_FOUND
    hops = [hop._replace(rate=9 * ONE) if hop[:2] == (0, 29) else hop for hop in hops]
    found, _ = earning_cycles(hops, 0, max_legs=5)
    assert len(found) == MAX_FOUND
    assert found[0].product == 9 * 2**4 * ONE, "the best is among them, though its first hop is the last of its asset"


def test_what_is_left_out_is_counted_as_far_as_is_asked_for() -> None:
    """All of 15 assets where every cycle of three and four legs earns; the cycles that are looked at are the same however far it counts."""
    hops = [Hop(a, b, 2 * ONE, 0) for a in range(15) for b in range(15) if a != b]
    whole = 14 * 13 + 14 * 13 * 12
    plain = earning_cycles(hops, 0, max_legs=4)
    assert plain.left_out == 1
    for counted, left_out in ((1, 1), (500, 500), (COUNTED, whole - MAX_FOUND)):
        assert earning_cycles(hops, 0, max_legs=4, counted=counted) == (plain.cycles, left_out)
    assert earning_cycles(hops, 0, max_legs=3) == (earning_cycles(hops, 0, max_legs=3, counted=9).cycles, 0)


def test_the_best_of_parallel_hops() -> None:
    """Of equal rates the first; in order of source and target."""
    hops = [Hop(1, 0, 5, 0), Hop(0, 1, 5, 1), Hop(0, 1, 7, 2), Hop(0, 1, 7, 3)]
    assert best_hops(hops) == [Hop(0, 1, 7, 2), Hop(1, 0, 5, 0)]
