"""How fast are the rows of a log handed out, against what pyarrow needs to decode the same columns?

Per kind: nanoseconds of CPU a row of the reading thread (digests are checked in another one) for the reader, for pyarrow alone, and their
ratio; and the bytes a row on disk.

    python -m bench.reading [ROWS]
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.markets import START_NS, make, w1, w2
from xarb.log.decode import COLUMNS
from xarb.log.manifest import Header
from xarb.log.reader import LogReader
from xarb.log.schema import arrow_schema
from xarb.log.writer import LogWriter
from xarb.model.columns import KERNEL_KINDS, LEVELS, TABLES, Type

ROUNDS = 5
BLOCK = 1 << 17


def cpu_ns(run: Callable[[], int]) -> float:
    """CPU nanoseconds a row of this thread, the best of a few rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.thread_time()
        rows = run()
        best = min(best, (time.thread_time() - began) / rows * 1e9)
    return best


def through_reader(reader: LogReader, kind: str) -> int:
    """Read all rows of a kind as batches."""
    field = "deltas" if kind == "book_deltas" else kind
    return sum(len(getattr(batch, field).seq) for batch in reader.batches(kinds=(kind,)))


def through_arrow(reader: LogReader, kind: str) -> int:
    """Decode the same columns with pyarrow and drop them."""
    rows = 0
    for entry in reader.entries(kind):
        with pq.ParquetFile(reader.folder / entry.path, pre_buffer=False) as file:
            rows += sum(batch.num_rows for batch in file.iter_batches(BLOCK, columns=list(COLUMNS[kind]), use_threads=False))
    return rows


def make_kind(folder: Path, kind: str, rows: int) -> None:
    """A log of one kind on one instrument, with numbers that look like a market's: a walk in ticks, sizes in lots."""
    random = np.random.Generator(np.random.PCG64(7))
    row = {"venue": "alpha", "symbol": "BTC/USDT", "native": "x", "kind": "spot", "base": "BTC", "quote": "USDT", "settle": "USDT"}
    row |= {"px_scale": 2, "qty_scale": 5, "contract": "none", "active": True, "origin": "synthetic", "seq": 1, "ts_recv": START_NS}
    link = {"seq": 0, "ts_recv": START_NS, "conn": 0, "venue": "alpha", "event": "opened", "epoch": 1, "source": "bench"}
    with LogWriter.create(folder, Header(kind="log", log_id="bench")) as writer:
        writer.write_rows("connections", [link])
        writer.write_rows("instruments", [row])
        for table in tables(kind, rows, random):
            writer.write(kind, table)
            writer.commit()


def tables(kind: str, rows: int, random: np.random.Generator) -> Iterator[pa.Table]:
    """The rows, a block at a time."""
    schema = arrow_schema(kind)
    for start in range(0, rows, BLOCK):
        count = min(BLOCK, rows - start)
        seq = np.arange(start + 2, start + 2 + count)
        mid = 6_000_000 + np.cumsum(random.integers(-1, 2, count))
        arrays = []
        for column in TABLES[kind].columns:
            if column.name in {"seq", "venue_seq", "first_id", "prev_id"}:
                values = pa.array(seq)
            elif column.type is Type.TIME:
                values = pa.array(START_NS + seq * 100_000)
            elif column.name in {"venue", "symbol"}:
                name = "alpha" if column.name == "venue" else "BTC/USDT"
                values = pa.DictionaryArray.from_arrays(np.zeros(count, np.int32), [name])
            elif column.name == "trade_id":
                values = pa.array((seq + 10**9).astype(str)).cast(pa.utf8()).dictionary_encode()
            elif column.type is Type.INTS:
                values = pa.nulls(count, schema.field(column.name).type)
            elif "qty" in column.name and column.type is Type.INT64:
                values = pa.array(1 + random.exponential(4_000, count).astype(np.int64))
            elif column.type is Type.INT64:
                level = int(column.name[4:6]) if kind == "books" else 0
                values = pa.array(mid - level - 1 if column.name.startswith("bid") else mid + level)
            else:
                scale = {"px_scale": 2, "qty_scale": 5}.get(column.name, 0)
                values = pa.array(np.full(count, scale)).cast(schema.field(column.name).type)
            arrays.append(values)
        yield pa.Table.from_arrays(arrays, schema=schema)


def main() -> None:
    """Print a line per kind."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000_000
    with tempfile.TemporaryDirectory() as name:
        logs = {"quotes W1": ("quotes", rows), "quotes W2": ("quotes", rows), "book_deltas": ("book_deltas", rows)}
        logs |= {"trades": ("trades", rows // 2), f"books of {LEVELS} levels": ("books", rows // 8)}
        for title, (kind, count) in logs.items():
            folder = Path(name) / title
            if kind == "quotes":
                make(folder, (w1 if title.endswith("1") else w2)(count))
            else:
                make_kind(folder, kind, count)
            assert kind in KERNEL_KINDS
            with LogReader(folder) as reader:
                mine, arrow = cpu_ns(lambda: through_reader(reader, kind)), cpu_ns(lambda: through_arrow(reader, kind))  # noqa: B023  # called at once
                size = sum(entry.bytes for entry in reader.entries(kind)) / count
            print(
                f"{title:22} reader {mine:7.1f} ns a row, pyarrow {arrow:7.1f} ns, ratio {mine / arrow:.2f}; {size:.1f} bytes a row"
            )


if __name__ == "__main__":
    main()
