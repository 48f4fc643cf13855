"""Opportunities that strategies find by themselves: cycles of trades, which the kernel does not follow.

A strategy numbers its cycles; here each gets a number among all opportunities of the run, from the kernel's own counter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from xarb.engine.kernel import state
from xarb.engine.outputs import Outputs
from xarb.engine.strategy import CycleFound, CycleNote
from xarb.engine.words import place, words
from xarb.errors import InvariantBroken
from xarb.model.instrument import Instrument

_NOW: Final = place(state.WORLD, "now")
_OPPORTUNITIES: Final = place(state.WORLD, "opportunities")
Numbered = list[tuple[str, int, int]]  # strategy, its number of a cycle, opportunity
_NO_PAIR: Final = (None,) * 4  # venue and symbol of both sides
_NO_PRICES: Final = (None,) * 4  # bid and ask, and their rows


class Cycles:
    """Numbers them, and writes their `opportunities` rows."""

    def __init__(self, kernel: state.KernelState, outputs: Outputs, instruments: Sequence[Instrument]) -> None:
        self._world = words(kernel.block)
        self._outputs = outputs
        self._instruments = instruments
        self._open: dict[tuple[str, int], int] = {}

    def note(self, strategy: str, note: CycleNote) -> None:
        """A cycle began or ceased to earn.

        Raises:
            InvariantBroken: it began already, or never did.
        """
        key = (strategy, note.cycle.number)
        if (note.phase == "opened") == (key in self._open):
            raise InvariantBroken(
                f"strategy {strategy} says that cycle {note.cycle.number} {note.phase}, and it did so before or never began"
            )
        if note.phase == "opened":
            self._world[_OPPORTUNITIES] += 1
            self._open[key] = self._world[_OPPORTUNITIES]
        self._emit(
            strategy, note.cycle, note.phase, note.cycle.edge_ppb if note.phase == "opened" else None, (None, note.reason, None)
        )
        if note.phase == "closed":
            del self._open[key]

    @property
    def count(self) -> int:
        """Opportunities of all kinds so far; the next one gets the number after it."""
        return self._world[_OPPORTUNITIES]

    def opportunity(self, strategy: str, cycle: CycleFound) -> int:
        """The number of a cycle that earns.

        Raises:
            InvariantBroken: the strategy did not say that it began, or said that it ceased to.
        """
        number = self._open.get((strategy, cycle.number))
        if number is None:
            raise InvariantBroken(f"strategy {strategy} decided on cycle {cycle.number}, which is not open")
        return number

    def decided(self, strategy: str, cycle: CycleFound, verdict: str, *, reason: str | None, bundle: int | None) -> None:
        """A decision on it."""
        self._emit(strategy, cycle, "decided", cycle.edge_ppb, (verdict, reason, bundle))

    def _emit(
        self, strategy: str, cycle: CycleFound, phase: str, edge: int | None, decision: tuple[str | None, str | None, int | None]
    ) -> None:
        legs = ", ".join(f"{side} {self._instruments[number].id}" for number, side in cycle.legs)
        named = (self.opportunity(strategy, cycle), phase, strategy, *_NO_PAIR, edge, cycle.best_edge_ppb, *_NO_PRICES)
        life = None if phase == "opened" else self._world[_NOW] - cycle.since
        self._outputs.emit("opportunities", (*named, *decision, life, legs))

    def capture(self) -> Numbered:
        """Open cycles as plain values."""
        return [(*key, number) for key, number in self._open.items()]

    def restore(self, copy: Numbered) -> None:
        """Take over a copy."""
        self._open = {(strategy, cycle): number for strategy, cycle, number in copy}
