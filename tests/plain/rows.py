"""The inputs of a log as plain rows, and the outputs of the plain model as plain rows in their one total order."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq

Row = dict[str, Any]


class Coin(NamedTuple):
    """An instrument of the log; `tick` and `lot` are in quote and base units."""

    venue: str
    symbol: str
    base: str
    quote: str
    px: int  # units of a price: ten to its scale
    qty: int

    @property
    def tick(self) -> Fraction:
        """Price step; the bench's markets have tick 1."""
        return Fraction(1, self.px)

    @property
    def lot(self) -> Fraction:
        """Size step; the bench's markets have lot 1."""
        return Fraction(1, self.qty)


class Quote(NamedTuple):
    """A `quotes` row; prices and sizes in the instrument's units."""

    seq: int
    ts: int
    ts_event: int
    conn: int
    inst: int
    bid: int
    bid_qty: int
    ask: int
    ask_qty: int


class Log(NamedTuple):
    """A log of top-of-book quotes: instruments in order of appearance, rows (seq, ts_recv, quote or None) in order of seq."""

    coins: list[Coin]
    rows: list[tuple[int, int, Quote | None]]


def read(folder: Path) -> Log:
    """Read a log of the benchmarks' markets with pyarrow alone."""
    coins: list[Coin] = []
    rows: list[tuple[int, int, Quote | None]] = []
    for row in _rows(folder, "connections"):
        rows.append((row["seq"], row["ts_recv"], None))
    for row in _rows(folder, "instruments"):
        rows.append((row["seq"], row["ts_recv"], None))
        assert row["tick_int"] == row["lot_int"] == 1
        coins.append(Coin(row["venue"], row["symbol"], row["base"], row["quote"], 10 ** row["px_scale"], 10 ** row["qty_scale"]))
    numbers = {(coin.venue, coin.symbol): number for number, coin in enumerate(coins)}
    for row in _rows(folder, "quotes"):
        number = numbers[row["venue"], row["symbol"]]
        prices = (row["bid_int"], row["bid_qty_int"], row["ask_int"], row["ask_qty_int"])
        assert min(prices) > 0
        assert row["bid_int"] < row["ask_int"]
        quote = Quote(row["seq"], row["ts_recv"], row["ts_event"], row["conn"], number, *prices)
        rows.append((quote.seq, quote.ts, quote))
    rows.sort(key=lambda entry: entry[0])
    assert [row[0] for row in rows] == list(range(len(rows)))
    return Log(coins, rows)


def _rows(folder: Path, kind: str) -> list[Row]:
    found: list[Row] = []
    for path in sorted(folder.glob(f"kind={kind}/date=*/*.parquet")):
        found += pq.read_table(path, partitioning=None).to_pylist()
    return sorted(found, key=lambda row: int(row["seq"]))


class Outputs:
    """Rows in the order in which they come; `n` counts those after one input."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, Row]] = []
        self.now = 0
        self.after_seq = -1
        self._n = 0

    def begin(self, seq: int, ts: int) -> None:
        """An input owns what follows."""
        self.now, self.after_seq, self._n = ts, seq, 0

    def emit(self, kind: str, /, **values: Any) -> None:
        """One row; absent values are left out, fractions are money."""
        row: Row = {"after_seq": self.after_seq, "n": self._n, "ts": self.now}
        for name, value in values.items():
            if value is not None:
                row[name] = money(value) if isinstance(value, Fraction) else value
        self._n += 1
        self.rows.append((kind, row))


def money(amount: Fraction) -> int:
    """An amount at 18 decimals; it must be one."""
    scaled = amount * 10**18
    assert scaled.denominator == 1, amount
    return scaled.numerator
