"""How fast is a whole backtest over books of ten levels a side, and over single changed levels (L2 deltas)?

Runs `xarb backtest` as a process, from Parquet to a sealed run, on five symbols of four venues with the micro strategy watching all pairs and
the simulated venue keeping its own books. Prints rows a second (wall and CPU, start-up included), the multiple of pyarrow's decode, bytes a row.

    python -m bench.depth [ROWS]
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from bench.backtest import decode_s, experiment, fees, median_cost
from bench.kernel import books_of, deltas_of, quotes_of
from bench.markets import COINS, START_NS, VENUES, Market, header, w2, write_heads
from xarb.log.schema import arrow_schema
from xarb.log.writer import LogWriter
from xarb.model.columns import LEVELS

BLOCK: Final = 1 << 18
GAP_NS: Final = 100_000  # a row each 0.1 ms


def feed_columns(market: Market, inst: Any, first: int) -> dict[str, pa.Array]:
    """The columns that all market rows begin with, and the scales; instruments are numbered symbol by symbol."""
    count = len(inst)
    venue, symbol = (inst % market.venues).astype(np.int32), (inst // market.venues).astype(np.int32)
    coins = COINS[: market.symbols]
    ts = START_NS + (first + np.arange(count)) * GAP_NS
    return {
        "seq": pa.array(first + np.arange(count)),
        "ts_recv": pa.array(ts),
        "ts_event": pa.array(ts - 1_000_000),
        "conn": pa.array(venue),
        "venue": pa.DictionaryArray.from_arrays(venue, VENUES[: market.venues]),
        "symbol": pa.DictionaryArray.from_arrays(symbol, [f"{coin.base}/USDT" for coin in coins]),
        "px_scale": pa.array(np.array([coin.px_scale for coin in coins], np.int8)[symbol]),
        "qty_scale": pa.array(np.array([coin.qty_scale for coin in coins], np.int8)[symbol]),
    }


def write(folder: Path, market: Market, kind: str, block: Any, row: Callable[[Any, slice], dict[str, Any]]) -> None:
    """A log of one kind from a block of columns; `row` gives the columns of its own of a slice, what is left out is null."""
    schema = arrow_schema(kind)
    with LogWriter.create(folder, header(market)) as writer:
        seq = write_heads(writer, market)
        for start in range(0, len(block.seq), BLOCK):
            part = slice(start, min(start + BLOCK, len(block.seq)))
            columns = feed_columns(market, block.inst[part], seq + start) | row(block, part)
            count = part.stop - part.start
            found = [
                pa.array(columns[field.name]).cast(field.type) if field.name in columns else pa.nulls(count, field.type)
                for field in schema
            ]
            writer.write(kind, pa.Table.from_arrays(found, schema=schema))
            writer.commit()


def book_columns(block: Any, part: slice) -> dict[str, Any]:
    """Levels of a slice of books that all have ten levels a side."""
    found = {}
    for values, name in ((block.px, ""), (block.qty, "qty_")):
        levels = values.reshape(-1, 2 * LEVELS)[part]
        for level in range(LEVELS):
            found[f"bid_{name}{level:02d}_int"] = levels[:, level]
            found[f"ask_{name}{level:02d}_int"] = levels[:, LEVELS + level]
    return found


def delta_columns(block: Any, part: slice) -> dict[str, Any]:
    """Columns of a slice of changed levels."""
    names = {
        "side": "side",
        "price": "price_int",
        "qty": "qty_int",
        "is_snapshot": "is_snapshot",
        "is_last": "is_last",
        "verdict": "verdict",
    }
    return {there: getattr(block, here)[part] for here, there in names.items()}


def main() -> None:
    """Print a line for each kind."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 4_000_000
    market = w2(rows)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "fees.toml").write_text(fees(market))
        config = folder / "config.toml"
        config.write_text(experiment(market))
        cases = (
            ("books", lambda: books_of(quotes_of(w2(rows // 4))), book_columns),
            ("book_deltas", lambda: deltas_of(market, rows), delta_columns),
        )
        for kind, made, columns in cases:
            log, block = folder / kind, made()
            write(log, market, kind, block, columns)
            count = len(block.seq)
            cost = median_cost(config, log)
            size = sum(path.stat().st_size for path in log.rglob("*.parquet")) / count
            print(
                f"{kind:12} {count:>10,} rows: {count / cost.wall_s / 1e6:5.2f} M/s wall, {count / cost.cpu_s / 1e6:5.2f} M/s CPU,"
                f" {cost.cpu_s / decode_s(log, kind):4.1f} x decode, {cost.peak_mib:.0f} MiB, {size:.1f} bytes a row"
            )


if __name__ == "__main__":
    main()
