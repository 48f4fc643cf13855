"""Outputs on their way to the log: every row is stamped with its place in the one total order.

Rows of the kernel and rows of the Python parts share one counter, so that `(after_seq, n)` orders all kinds together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from xarb.engine.kernel import state
from xarb.engine.strategy import Pair
from xarb.model.columns import FEED_STATES, FLAG_RULES, OPPORTUNITY_PHASES, OUTPUTS
from xarb.model.instrument import Instrument
from xarb.model.units import NULL

Row = dict[str, Any]
_OPENED: Final = OPPORTUNITY_PHASES[0]


class Outputs:
    """Collects output rows by kind until the driver drains them."""

    def __init__(self, kernel: state.KernelState, instruments: Sequence[Instrument]) -> None:
        self._kernel = kernel
        self._world = kernel.world
        self._instruments = instruments
        self._rows: dict[str, list[Row]] = {kind: [] for kind in OUTPUTS}
        self.pairs: list[tuple[str, Pair]] = []  # by kernel pair number: strategy id and pair
        self.count = 0
        self.last_refusal: Row | None = None

    def emit(self, kind: str, values: Mapping[str, object]) -> None:
        """Stamp one row; enums are text, money is an int at 18 decimals, absent values are None or left out."""
        world = self._world
        row: Row = {"after_seq": int(world["last_seq"]), "n": int(world["n"]), "ts": int(world["now"]), **values}
        world["n"] += 1
        self._rows[kind].append(row)
        self.count += 1
        if kind == "refusals":
            self.last_refusal = row

    def take_kernel_rows(self) -> None:
        """Move the kernel's buffer into the rows; called before its rows could be overtaken or the buffer fills."""
        count = int(self._world["outs"])
        if count == 0:
            return
        block = self._kernel.tables[state.OUT][: count * state.OUT_WIDTH].reshape(count, state.OUT_WIDTH)
        self._world["outs"] = 0
        self.count += count
        for values in block.tolist():
            kind = values[0]
            row: Row = {"after_seq": values[1], "n": values[2], "ts": values[3]}
            if kind == state.OUT_FLAG:
                self._rows["flags"].append(self._flag(row, values))
            elif kind == state.OUT_FEED:
                self._rows["feed_states"].append(self._feed_state(row, values))
            else:
                self._rows["opportunities"].append(self._opportunity(row, values))

    def _flag(self, row: Row, values: list[int]) -> Row:
        instrument = self._instruments[values[4]]
        row["venue"], row["symbol"] = instrument.venue, instrument.symbol
        row["rule"] = FLAG_RULES[values[5]]
        row["value"], row["bound"] = _known(values[6]), _known(values[7])
        return row

    def _feed_state(self, row: Row, values: list[int]) -> Row:
        instrument = self._instruments[values[4]]
        row["venue"], row["symbol"] = instrument.venue, instrument.symbol
        row["state"], row["previous"] = FEED_STATES[values[5]], FEED_STATES[values[6]]
        row["score"], row["tradable"] = values[7], bool(values[8])
        return row

    def _opportunity(self, row: Row, values: list[int]) -> Row:
        row |= self.episode(values[4], values[6])
        row["phase"] = OPPORTUNITY_PHASES[values[5]]
        row["edge_ppb"], row["best_edge_ppb"] = _known(values[7]), values[8]
        row["bid_int"], row["ask_int"] = _known(values[9]), _known(values[10])
        row["sell_seq"], row["buy_seq"] = values[11], values[12]
        row["reason"] = state.CLOSE_REASONS[values[13]] or None
        row["life_ns"] = _known(values[14])
        return row

    def episode(self, pair: int, opportunity: int) -> Row:
        """The columns that name an episode."""
        strategy, legs = self.pairs[pair]
        sell, buy = self._instruments[legs.sell], self._instruments[legs.buy]
        return {
            "opportunity": opportunity,
            "strategy": strategy,
            "sell_venue": sell.venue,
            "sell_symbol": sell.symbol,
            "buy_venue": buy.venue,
            "buy_symbol": buy.symbol,
        }

    def drain(self) -> dict[str, list[Row]]:
        """All rows since the last call by kind, in `(after_seq, n)` order; empty kinds are left out."""
        self.take_kernel_rows()
        drained = {kind: rows for kind, rows in self._rows.items() if rows}
        for kind, rows in drained.items():
            rows.sort(key=_place)
            self._rows[kind] = []
        self.count = 0
        return drained


def _place(row: Row) -> tuple[int, int]:
    return row["after_seq"], row["n"]


def _known(value: int) -> int | None:
    return None if value == NULL else value
