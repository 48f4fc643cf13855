"""Outputs on their way to the log: every row is stamped with its place in the one total order.

Rows of the kernel and rows of the Python parts share one counter, so that `(after_seq, n)` orders all kinds together.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any, Final

from xarb.engine.kernel import state
from xarb.engine.strategy import Pair
from xarb.engine.words import place, words
from xarb.model.columns import FEED_STATES, FLAG_RULES, OPPORTUNITY_PHASES
from xarb.model.event import OutputRow
from xarb.model.instrument import Instrument
from xarb.model.units import NULL

_NOW: Final = place(state.WORLD, "now")
_LAST_SEQ: Final = place(state.WORLD, "last_seq")
_N: Final = place(state.WORLD, "n")
_OUTS: Final = place(state.WORLD, "outs")
_PLACE: Final = itemgetter(1, 2)
_REASONS: Final = tuple(reason or None for reason in state.CLOSE_REASONS)


class Outputs:
    """Collects output rows until the driver drains them."""

    def __init__(self, kernel: state.KernelState, instruments: Sequence[Instrument]) -> None:
        self._world = words(kernel.block)
        self._buffer = words(kernel.tables[state.OUT])
        self._instruments = instruments
        self._rows: list[OutputRow] = []
        self._pairs: list[tuple[str, Pair]] = []
        self._names: list[tuple[str, str, str, str, str]] = []

    @property
    def pairs(self) -> list[tuple[str, Pair]]:
        """By kernel pair number: strategy id and pair."""
        return self._pairs

    @pairs.setter
    def pairs(self, pairs: list[tuple[str, Pair]]) -> None:
        self._pairs = pairs
        sides = [(strategy, self._instruments[pair.sell], self._instruments[pair.buy]) for strategy, pair in pairs]
        self._names = [(strategy, sell.venue, sell.symbol, buy.venue, buy.symbol) for strategy, sell, buy in sides]

    def emit(self, kind: str, values: tuple[Any, ...]) -> None:
        """Stamp one row: its values in column order after the stamp; enums are text, money is an int at 18 decimals, absent is None."""
        world = self._world
        n = world[_N]
        world[_N] = n + 1
        self._rows.append((kind, world[_LAST_SEQ], n, world[_NOW]) + values)  # noqa: RUF005  # unpacking takes twice as long

    def take_kernel_rows(self) -> None:
        """Move the kernel's buffer into the rows; called before its rows could be overtaken or the buffer fills."""
        count = self._world[_OUTS]
        if count == 0:
            return
        self._world[_OUTS] = 0
        width = state.OUT_WIDTH
        for start in range(0, count * width, width):
            values = self._buffer[start : start + width].tolist()
            kind = values[0]
            if kind == state.OUT_OPPORTUNITY:
                row = self._opportunity(values)
            elif kind == state.OUT_FLAG:
                row = self._flag(values)
            else:
                row = self._feed_state(values)
            self._rows.append(row)

    def _flag(self, values: list[int]) -> OutputRow:
        _, after_seq, n, ts, number, rule, value, bound = values[:8]
        one = self._instruments[number]
        return ("flags", after_seq, n, ts, one.venue, one.symbol, FLAG_RULES[rule], known(value), known(bound))

    def _feed_state(self, values: list[int]) -> OutputRow:
        _, after_seq, n, ts, number, now, before, score, tradable = values[:9]
        one = self._instruments[number]
        states = (FEED_STATES[now], FEED_STATES[before])
        return ("feed_states", after_seq, n, ts, one.venue, one.symbol, *states, score, bool(tradable))

    def _opportunity(self, values: list[int]) -> OutputRow:
        _, after_seq, n, ts, pair, phase, number, edge, best, bid, ask, sell_seq, buy_seq, reason, life = values
        return (
            "opportunities",
            after_seq,
            n,
            ts,
            *self.episode(pair, number, OPPORTUNITY_PHASES[phase]),
            known(edge),
            best,
            known(bid),
            known(ask),
            sell_seq,
            buy_seq,
            None,  # verdict
            _REASONS[reason],
            None,  # bundle
            known(life),
            None,  # legs of a cycle
        )

    def episode(self, pair: int, opportunity: int, phase: str) -> tuple[Any, ...]:
        """The columns that name an episode: opportunity, phase, strategy, and venue and symbol of both sides."""
        return (opportunity, phase, *self._names[pair])

    @property
    def waiting(self) -> bool:
        """Whether rows were not drained yet."""
        return bool(self._rows or self._world[_OUTS])

    @property
    def count(self) -> int:
        """Rows after the last applied input so far: the ordinal of the next one."""
        return self._world[_N]

    def drain(self) -> list[OutputRow]:
        """All rows since the last call, in `(after_seq, n)` order over all kinds."""
        self.take_kernel_rows()
        rows, self._rows = self._rows, []
        rows.sort(key=_PLACE)
        return rows


def known(value: int) -> int | None:
    """A value of the kernel, None for its null."""
    return None if value == NULL else value
