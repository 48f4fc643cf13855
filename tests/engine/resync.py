"""Wire sessions before a whole engine: decoded events become rows, and the rows are folded beside another venue's quotes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.engine.market import Market, Row, quote
from xarb.engine.strategy import Pair, Wakes
from xarb.model.columns import TABLES
from xarb.model.instrument import Instrument
from xarb.model.units import PPB
from xarb.wires.events import WireEvent
from xarb.wires.rows import Link, RowBuilder
from xarb.wires.rows import Row as Values

NAMES = {"price_int": "price", "qty_int": "qty"}  # columns whose name in the kernel's blocks is another one
EDGE_PPB = PPB // 1000


def named(kind: str, row: Values) -> dict[str, Any]:
    """A row by column name, enums as indices."""
    return dict(zip([column.name for column in TABLES[kind].columns], row, strict=True))


def fold_rows(rows: Mapping[str, Sequence[Values]], inst: int) -> list[Row]:
    """The rows of a builder as those of one instrument of an engine, in the order of `seq`."""
    found: list[tuple[int, Row]] = []
    for kind in ("book_deltas", "connections", "rejects"):
        for values in rows.get(kind, []):
            one = {NAMES.get(name, name): value for name, value in named(kind, values).items()}
            seq, ts = one.pop("seq"), one.pop("ts_recv")
            if kind == "book_deltas":
                one |= {"inst": inst, "conn": inst, "side": -1 if one["side"] is None else one["side"]}
                for name in ("venue", "symbol", "px_scale", "qty_scale", "first_id", "prev_id"):
                    del one[name]
            elif kind == "connections":
                one = {
                    "conn": inst,
                    "venue": one["venue"],
                    "symbol": one["symbol"],
                    "event": TABLES[kind].column("event").values[one["event"]],
                }
            found.append((seq, Row("deltas" if kind == "book_deltas" else kind, ts, one)))
    return [row for _, row in sorted(found, key=lambda item: item[0])]


class Beside:
    """The book of a wire beside a venue whose quote stands at 100 and 101 since the start; edges both ways are watched."""

    def __init__(self, one: Instrument, *, splits: bool = False) -> None:
        other = Instrument(
            venue="other",
            symbol=one.symbol,
            native="",
            kind="spot",
            base=one.base,
            quote=one.quote,
            settle="",
            px_scale=one.px_scale,
            qty_scale=one.qty_scale,
        )
        pairs = (Pair(0, 1, EDGE_PPB, 0, 0, 0), Pair(1, 0, EDGE_PPB, 0, 0, 0))
        self.market = Market(
            "ab", sources=["deltas", "quotes"], instruments=[one, other], wakes=[Wakes(pairs=pairs, every_event=(0,))]
        )
        self.splits = splits
        self.builder, self.link = RowBuilder(last_ts=1), Link(0, one.venue, "wire")
        unit = 10**one.px_scale
        self.told: list[str] = self.market.feed([quote(1, 1, 100 * unit, 5, 101 * unit, 5)])

    def take(self, ts: int, events: Sequence[WireEvent]) -> list[Row]:
        """Fold what a session handed back at `ts`; its rows."""
        for event in events:
            self.builder.add(ts, self.link, event)
        return self.fold(self.builder.take())

    def fold(self, taken: Mapping[str, Sequence[Values]]) -> list[Row]:
        """Fold the rows of a builder, whose instrument the engine knows from the start."""
        rows = fold_rows({kind: rows for kind, rows in taken.items() if kind != "instruments"}, 0)
        for part in [[row] for row in rows] if self.splits else [rows]:
            self.told += self.market.feed(part)
        return rows

    @property
    def edges(self) -> list[str]:
        """Episodes told, and wakes by an edge."""
        wakes = [heard for heard in self.market.listeners[0].heard if heard.split()[1] != "event"]
        return [text for text in self.told if ">" in text] + wakes
