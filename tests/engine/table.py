"""Text tables for the fold: one input a line, the rows that it must cause beside it.

    0.000 a 100 5 101 5          > feed a down live
    0.500 b 103 5 104 5          > feed b down live; open b>a

Times are seconds, instruments are letters (each on a venue and connection of its own), prices and sizes are integers, `-` is null.
Expected rows are compared in order and completely; a line without `>` must cause nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from tests.defaults import engine_setup, feed_limits
from tests.instruments import instrument
from xarb.engine.kernel import fold, state
from xarb.engine.outputs import Outputs
from xarb.engine.setup import FeedLimits, build_state, lay_mid_units
from xarb.engine.strategy import Pair, Plan, View, Wake, Wakes
from xarb.model.event import named
from xarb.model.instrument import Instrument
from xarb.model.units import NANOS_PER_S, NEVER, NULL


class Nothing(msgspec.Struct):
    """A strategy's empty memory."""


class Watcher:
    """A strategy that declares wakes and plans nothing."""

    def __init__(self, name: str, wakes: Wakes) -> None:
        self.id = name
        self.account = "main"
        self.state: msgspec.Struct = Nothing()
        self._wakes = wakes

    def wakes(self) -> Wakes:
        """What was given."""
        return self._wakes

    def on_wake(self, wake: Wake, view: View) -> Sequence[Plan]:
        """Nothing."""
        return ()


class Fold:
    """A kernel with instruments a, b, c, ... and one watching strategy."""

    def __init__(
        self,
        letters: str = "ab",
        *,
        limits: FeedLimits | None = None,
        wakes: Wakes | None = None,
        sources: Sequence[int] | None = None,
        instruments: Sequence[Instrument] | None = None,
    ) -> None:
        self.letters = letters
        chosen = tuple(instruments or (instrument(letter) for letter in letters))
        self.setup = engine_setup(
            instruments=chosen,
            groups=[list(range(len(letters)))],
            sources=sources or [state.SOURCE_QUOTES] * len(letters),
            limits=[limits or feed_limits(liveness_ns=3600 * NANOS_PER_S, freeze_ns=0)] * len(letters),
            fees={},
            opening={},
            connections=len(letters),
            log_id="test",
        )
        self.kernel, pairs = build_state(self.setup, [Watcher("w", wakes or Wakes())])
        lay_mid_units(self.kernel, self.setup.groups, chosen)
        self.outputs = Outputs(self.kernel, chosen)
        self.outputs.pairs = pairs
        self.seq = 0
        self.wakes: list[str] = []

    def quote(self, seconds: str, letter: str, *values: int | None, ts_event: int = NULL, venue_seq: int = NULL) -> list[str]:
        """Apply one quote (bid, bid size, ask, ask size); the rows and wakes it caused, as text."""
        number = self.letters.index(letter)
        ts = nanos(seconds)
        sides = [NULL if value is None else value for value in values]
        caused: list[str] = []
        while True:
            why = fold.step_quote(self.kernel.handle, self.seq, ts, ts_event, number, number, venue_seq, *sides)
            caused += self.caused()
            if int(self.kernel.world["last_seq"]) == self.seq or why == fold.STOP:
                break
        self.seq += 1
        return caused

    def advance(self, seconds: str) -> list[str]:
        """What falls due before an input at that time."""
        caused: list[str] = []
        while fold.before_row(self.kernel.handle, nanos(seconds)) != fold.END:
            caused += self.caused()
        return caused + self.caused()

    def caused(self) -> list[str]:
        """Rows and wakes since the last call."""
        world = self.kernel.world
        texts = [_text(row[0], named(row)) for row in self.outputs.drain()]
        count = int(world["wakes"])
        for row in self.kernel.tables[state.WAKES][: count * state.WAKE_WIDTH].reshape(count, state.WAKE_WIDTH).tolist():
            self.wakes.append(f"{int(world['now']) / NANOS_PER_S:.3f} {state.WAKE_KINDS[row[1]]}")
        world["wakes"] = 0
        return texts


def nanos(seconds: str) -> int:
    """Seconds as text in ns."""
    whole, _, fraction = seconds.partition(".")
    return int(whole) * NANOS_PER_S + int(fraction.ljust(9, "0") or 0)


def _text(kind: str, row: dict[str, Any]) -> str:
    if kind == "feed_states":
        return f"feed {row['venue']} {row['previous']} {row['state']}"
    if kind == "flags":
        return f"flag {row['venue']} {row['rule']}"
    return f"{row['phase']} {row['sell_venue']}>{row['buy_venue']}"


def check(fold_: Fold, table: str) -> None:
    """Run a text table."""
    for line in table.strip().splitlines():
        if not line.strip():
            continue
        given, _, expected = line.partition(">")
        seconds, letter, *values = given.split()
        caused = fold_.quote(seconds, letter, *(None if v == "-" else int(v) for v in values))
        wanted = [part.strip() for part in expected.split(";") if part.strip()]
        assert caused == wanted, f"{line.strip()!r} caused {caused}"


def pair(sell: int, buy: int, *, open_ppb: int = 0, close_ppb: int = 0, fee_ppb: int = 0) -> Pair:
    """A directed pair with equal fees on both sides."""
    return Pair(sell, buy, open_ppb, close_ppb, fee_ppb, fee_ppb)


__all__ = ["NEVER", "Fold", "Watcher", "check", "instrument", "nanos", "pair"]
