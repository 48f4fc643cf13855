"""How many cycles of assets a triangular strategy could find at once, and how many of them it would not look at."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from xarb.assembly.resolved import Resolved, graph_of
from xarb.model.instrument import Instrument
from xarb.strategies.cycles import COUNTED, MAX_FOUND, ONE, Hop, best_hops, earning_cycles

TRIANGULAR: Final = "triangular"


class Round(NamedTuple):
    """What goes round from one asset of a strategy: cycles that a search looks at where all of them earn, and those that it leaves out."""

    strategy: str
    asset: str
    looked_at: int
    left_out: int

    @property
    def told(self) -> str:
        """What is left out, in words."""
        count = f"at least {self.left_out}" if self.left_out >= COUNTED else f"{self.left_out}"
        return f"{self.strategy}: of the cycles through {self.asset} that earn, a search looks at {MAX_FOUND}; {count} more may earn at once"


def rounds_of(resolved: Resolved, name: str, instruments: Sequence[Instrument], usable: Collection[int]) -> list[Round]:
    """One for each asset that a triangular strategy has go round, through instruments of these numbers.

    Raises:
        ConfigError: as `graph_of`.
    """
    graph = graph_of(resolved, name, instruments)
    names = sorted({asset for pair in graph.assets.values() for asset in pair})
    hops: list[Hop] = []
    for number in graph.instruments:
        if number in usable:
            base, quote = (names.index(asset) for asset in graph.assets[number])
            hops += [Hop(base, quote, 2 * ONE, number), Hop(quote, base, 2 * ONE, number)]  # any rate that earns: all cycles do
    hops, max_legs = best_hops(hops), resolved.strategies[name].max_legs
    found = [(start, earning_cycles(hops, names.index(start), max_legs=max_legs, counted=COUNTED)) for start in graph.starts]
    return [Round(name, start.split()[0], len(one.cycles), one.left_out) for start, one in found]


def left_out(resolved: Resolved, instruments: Sequence[Instrument]) -> list[Round]:
    """Those of all triangular strategies from which a search may leave cycles out."""
    names = [name for name in sorted(resolved.strategies) if resolved.strategies[name].kind == TRIANGULAR]
    found = [one for name in names for one in rounds_of(resolved, name, instruments, range(len(instruments)))]
    return [one for one in found if one.left_out]
