"""Small logs for tests: rows as dicts in, logs on disk out, and everything back as dicts."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from xarb.log import manifest
from xarb.log.manifest import FileEntry, Header, Manifest, Segment
from xarb.log.reader import LogReader
from xarb.log.rows import to_table
from xarb.log.writer import LogWriter
from xarb.model.batch import Batch, Books
from xarb.model.columns import INPUTS, LEVELS, TABLES
from xarb.model.units import NULL

Row = dict[str, Any]
Placed = tuple[str, Row]
START = 1_700_000_000_000_000_000
HEADER = Header(kind="log", log_id="test")
BTC = ("binance", "BTC/USDT")
KRW = ("upbit", "BTC/KRW")


def instrument(key: tuple[str, str], px_scale: int, qty_scale: int, **more: Any) -> Placed:
    """An instruments row."""
    venue, symbol = key
    row: Row = {
        "venue": venue,
        "symbol": symbol,
        "native": symbol,
        "kind": "spot",
        "base": "BTC",
        "quote": "USDT",
        "settle": "USDT",
    }
    row |= {"px_scale": px_scale, "qty_scale": qty_scale, "contract": "none", "active": True, "origin": "test"}
    return "instruments", row | more


def connection(conn: int, venue: str = "binance", event: str = "opened") -> Placed:
    """A connections row."""
    return "connections", {"conn": conn, "venue": venue, "event": event, "epoch": 1, "source": "test"}


def quote(bid: int | None, ask: int | None, *, key: tuple[str, str] = BTC, scales: tuple[int, int] = (2, 5), **more: Any) -> Placed:
    """A quotes row."""
    row: Row = {"conn": 0, "venue": key[0], "symbol": key[1], "bid_int": bid, "ask_int": ask, "px_scale": scales[0]}
    return "quotes", row | {"qty_scale": scales[1]} | more


def placed(rows: Sequence[Placed], first_seq: int = 0, ts: int = START, step: int = 1_000) -> list[Placed]:
    """The rows with seq and, where they have none, ts_recv."""
    return [(kind, {"seq": first_seq + n, "ts_recv": ts + n * step} | row) for n, (kind, row) in enumerate(rows)]


def write(
    folder: Path, rows: Sequence[Placed], *, commits: int = 1, row_group: int = 131_072, seal_rows: int | None = None
) -> None:
    """Write placed rows as a new log, in `commits` commits."""
    with LogWriter.create(folder, HEADER, row_group=row_group, seal_rows=seal_rows) as writer:
        size = -(-len(rows) // commits)
        for start in range(0, len(rows), max(size, 1)):
            part = rows[start : start + size]
            for kind in INPUTS:
                writer.write_rows(kind, [row for name, row in part if name == kind])
            writer.commit()


def small_log(folder: Path) -> Path:
    """A log of three files: two connections, two instruments, six quotes."""
    head = [connection(0), connection(1, "upbit"), instrument(BTC, 2, 5), instrument(KRW, 0, 8)]
    body = [quote(100 + n, 101 + n) if n % 2 else quote(9 * n, None, key=KRW, scales=(0, 8), conn=1) for n in range(6)]
    write(folder, placed([*head, *body]))
    return folder


def full(kind: str, row: Row) -> Row:
    """The row with absent columns as None."""
    return {column.name: row.get(column.name) for column in TABLES[kind].columns}


def rows_of(reader: LogReader, batch: Batch) -> list[Placed]:
    """Everything in a batch as rows by name, in order; a block has no scales and no text."""
    found: list[Placed] = [(row.kind, row.values) for row in batch.slow]
    for kind, block in (("quotes", batch.quotes), ("book_deltas", batch.deltas), ("trades", batch.trades)):
        columns = [column.tolist() for column in block]
        found += [(kind, dict(zip(block._fields, values, strict=True))) for values in zip(*columns, strict=True)]
    found += [("books", row) for row in book_rows(batch.books)]
    for _, row in found:
        if "inst" in row:
            one = reader.instruments[row.pop("inst")]
            row["venue"], row["symbol"] = one.venue, one.symbol
    return sorted(found, key=lambda pair: pair[1]["seq"])


def book_rows(block: Books) -> list[Row]:
    """Books with their levels as lists."""
    rows = []
    for place in range(len(block.seq)):
        row = {name: getattr(block, name)[place].item() for name in ("seq", "ts_recv", "ts_event", "conn", "inst", "venue_seq")}
        start, stop = block.offset[place], block.offset[place + 1]
        cut = start + block.bids[place]
        row["bids"] = list(zip(block.px[start:cut].tolist(), block.qty[start:cut].tolist(), strict=True))
        row["asks"] = list(zip(block.px[cut:stop].tolist(), block.qty[cut:stop].tolist(), strict=True))
        rows.append(row)
    return rows


def expected(kind: str, row: Row) -> Placed:
    """What `rows_of` gives for a written row."""
    row = full(kind, row)
    table = TABLES[kind]
    if kind not in {"quotes", "book_deltas", "trades", "books"}:
        return kind, row
    shown: Row = {name: _null(row[name]) for name in ("seq", "ts_recv", "ts_event", "conn", "venue_seq")}
    if kind == "books":
        shown |= {f"{side}s": _levels(row, side) for side in ("bid", "ask")}
    if kind == "quotes":
        shown |= {name: _null(row[f"{name}_int"]) for name in ("bid", "bid_qty", "ask", "ask_qty")}
    if kind in {"book_deltas", "trades"}:
        shown |= {"price": _null(row["price_int"]), "qty": _null(row["qty_int"])}
    if kind == "book_deltas":
        sides, verdicts = table.column("side").values, table.column("verdict").values
        shown |= {"side": -1 if row["side"] is None else sides.index(row["side"]), "verdict": verdicts.index(row["verdict"])}
        shown |= {name: row[name] for name in ("is_snapshot", "is_last")}
    if kind == "trades":
        del shown["venue_seq"]
        shown |= {"trade_id": number_of(row["trade_id"]), "aggressor": table.column("aggressor").values.index(row["aggressor"])}
    return kind, shown | {"venue": row["venue"], "symbol": row["symbol"]}


def number_of(text: str | None) -> int:
    """A trade id as the kernel sees it."""
    if text is None or not (text.isascii() and text.isdigit()) or str(int(text)) != text or int(text) >= 2**63:
        return NULL
    return int(text)


def _null(value: int | None) -> int:
    return NULL if value is None else value


def _levels(row: Row, side: str) -> list[tuple[int, int]]:
    top = [(row[f"{side}_{n:02d}_int"], row[f"{side}_qty_{n:02d}_int"]) for n in range(LEVELS)]
    deep = zip(row[f"{side}_deep_int"] or [], row[f"{side}_qty_deep_int"] or [], strict=True)
    return [*(level for level in top if level[0] is not None), *deep]


def book_row(bids: Sequence[tuple[int, int]], asks: Sequence[tuple[int, int]]) -> Row:
    """The level columns of a books row."""
    row: Row = {}
    for side, levels in (("bid", bids), ("ask", asks)):
        for n, (price, qty) in enumerate(levels[:LEVELS]):
            row |= {f"{side}_{n:02d}_int": price, f"{side}_qty_{n:02d}_int": qty}
        if len(levels) > LEVELS:
            row[f"{side}_deep_int"] = [price for price, _ in levels[LEVELS:]]
            row[f"{side}_qty_deep_int"] = [qty for _, qty in levels[LEVELS:]]
    return row


def read_all(folder: Path, rows: int = 262_144, **keys: Any) -> list[Placed]:
    """All rows of a log through the reader."""
    with LogReader(folder) as reader:
        return [row for batch in reader.batches(rows=rows, kinds=INPUTS, **keys) for row in rows_of(reader, batch)]


def forge(folder: Path, change: Callable[[Segment], Segment]) -> None:
    """Rewrite the manifest with changed segments and a chain that holds, as a writer with a bug would have written it."""
    found = Manifest(folder)
    path = folder / manifest.NAME
    path.unlink()
    previous = manifest.append_line(path, found.header)
    for segment in found.segments:
        previous = manifest.append_line(path, msgspec.structs.replace(change(segment), previous=previous))


def rewrite(folder: Path, kind: str, change: Callable[[list[Row]], list[Row]], **entry: Any) -> None:
    """Replace the rows of the only file of a kind, and its manifest entry, `entry` overruling what would be true."""

    def changed(one: FileEntry) -> FileEntry:
        if one.kind != kind:
            return one
        path = folder / one.path
        table = pq.read_table(path, partitioning=None)
        table = to_table(kind, change(_named(kind, table)))
        pq.write_table(table, path, compression="lz4")
        data = path.read_bytes()
        truth = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        return msgspec.structs.replace(one, **(truth | entry))

    forge(folder, lambda one: msgspec.structs.replace(one, files=tuple(changed(file) for file in one.files)))


def _named(kind: str, table: pa.Table) -> list[Row]:
    rows: list[Row] = table.to_pylist()
    for row in rows:
        for column in TABLES[kind].columns:
            if column.values and row[column.name] is not None:
                row[column.name] = column.values[row[column.name]]
    return rows
