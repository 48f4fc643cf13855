"""What keeps a strategy of cycles from trading an instrument, and whether anything goes round on the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from xarb.assembly.onchain import dex_dex
from xarb.assembly.resolved import Resolved, graph_of
from xarb.model.instrument import Instrument
from xarb.strategies.cycles import ONE, Hop, best_hops, earning_cycles

Blocker = Callable[[int], str | None]  # what keeps an instrument from being traded


class Rounds(NamedTuple):
    """Instruments with what keeps each from being traded (None: nothing), and how many cycles of assets there are on the others."""

    verdicts: list[tuple[int, str | None]]
    cycles: int


def rounds_of(resolved: Resolved, name: str, instruments: Sequence[Instrument], blocker: Blocker) -> Rounds:
    """What the triangular strategy `name` can go through.

    Raises:
        ConfigError: as `graph_of`.
    """
    graph = graph_of(resolved, name, instruments)
    verdicts = [(number, blocker(number)) for number in graph.instruments]
    names = sorted({asset for pair in graph.assets.values() for asset in pair})
    hops: list[Hop] = []
    for number, why in verdicts:
        if why is None:
            base, quote = (names.index(asset) for asset in graph.assets[number])
            hops += [
                Hop(base, quote, 2 * ONE, number),
                Hop(quote, base, 2 * ONE, number),
            ]  # any rate that earns: all cycles are found
    hops = best_hops(hops)
    found = [earning_cycles(hops, names.index(start), max_legs=resolved.strategies[name].max_legs) for start in graph.starts]
    return Rounds(verdicts, sum(len(one) for one in found))


def pools_of(
    resolved: Resolved, name: str, instruments: Sequence[Instrument], opening: Mapping[tuple[str, str, str], int]
) -> Rounds:
    """What the strategy `name` can go through on chains.

    Raises:
        ConfigError: as `dex_dex`.
    """
    made = dex_dex(resolved, name, instruments)
    verdicts: list[tuple[int, str | None]] = []
    for venue, chain in made.chains.items():
        native = resolved.onchain[venue].own.native
        gas = opening.get((made.account, venue, native), 0)
        why = None if gas else f"balance: {made.account} has no {native} on {venue} to pay gas"
        verdicts += [(number, why) for number, _, _ in chain.pools]
    can = any(why is None for _, why in verdicts)
    return Rounds(verdicts, sum(len(one) for one in made.cycles.values()) if can else 0)
