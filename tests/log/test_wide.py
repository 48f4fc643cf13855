"""Integers of 256 bits, bit-exact through journal, Parquet, reader and SQL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.log.logs import connection, write
from xarb.errors import InvariantBroken
from xarb.frames import scan
from xarb.log.check import verify_log
from xarb.log.filecheck import FileCheck
from xarb.log.findings import Report
from xarb.log.manifest import FileEntry
from xarb.log.packing import pack, unpack
from xarb.log.reader import LogReader
from xarb.log.rows import to_table, tuples_of, tuples_to_table
from xarb.log.writer import date_of
from xarb.model.columns import INPUTS, TABLES, Type
from xarb.sql import open_query
from xarb.wires.chains import KIND_OF, BlockRow, ChainRow, PendingRow, PoolRow, ReceiptRow, SwapRow
from xarb.wires.rows import RowBuilder

DAY = 86_400 * 10**9
EDGES = (2**256 - 1, -(2**255), 2**160 - 1, 0, 1, -1, 2**112 - 1, 2**63, -(2**127))
PLACE: dict[str, Any] = {
    "ts_event": 10**18,
    "conn": 0,
    "venue": "ethereum",
    "chain_id": 1,
    "block_number": 12_914_944,
    "block_hash": "0xb1",
}
LOG: dict[str, Any] = {"tx_index": 3, "log_index": 7, "tx_hash": "0x7e"}
POOL: dict[str, Any] = {
    "symbol": "0xaa",
    "kind": "v3",
    "factory": None,
    "token0": "0x00",
    "token1": "0x01",
    "decimals0": 8,
    "decimals1": 18,
    "fee_ppm": 3000,
    "tick_spacing": 60,
}


def rows() -> list[ChainRow]:
    """A row of every kind of a chain, with the edges of 256 bits in all of its wide columns in turn."""
    found: list[ChainRow] = []
    for at, edge in enumerate(EDGES):
        other = EDGES[at - 1]
        found += [
            PoolRow(
                **PLACE,
                **LOG,
                **POOL,
                cause="mint",
                sqrt_price_x96=edge,
                liquidity=other,
                tick=-887_272,
                tick_lower=-60,
                tick_upper=60,
                liquidity_delta=edge,
                amount0=other,
                amount1=edge,
            ),
            PoolRow(
                **PLACE,
                **POOL,
                cause="snapshot",
                reserve0=edge,
                reserve1=other,
                ticks=[-60, 60],
                tick_nets=[edge, other],
                tick_grosses=[other, edge],
            ),
            PoolRow(**PLACE, **POOL, cause="snapshot", ticks=[], tick_nets=[], tick_grosses=[]),
            SwapRow(**PLACE, **LOG, symbol="0xaa", sender="0x5e", recipient="0x4e", delta0=edge, delta1=other, in0=other, in1=edge),
            BlockRow(
                **PLACE,
                event="removed",
                parent_hash="0xb0",
                base_fee_wei=edge,
                gas_used=1,
                gas_limit=2,
                miner="0x3e",
                rows=4,
            ),
            ReceiptRow(
                **PLACE,
                tx_index=1,
                account="main",
                strategy="dex",
                bundle=4,
                tx_hash="0x7e",
                nonce=9,
                status="reverted",
                gas_used=21_000,
                gas_price_wei=edge,
                profit_token="0x00",  # noqa: S106  # the address of a token
                profit=other,
                reason="UNPROFITABLE",
            ),
            PendingRow(
                conn=0,
                venue="ethereum",
                chain_id=1,
                tx_hash="0x7f",
                sender="0x5e",
                recipient=None,
                nonce=0,
                value_wei=edge,
                gas_limit=30_000_000,
                max_fee_wei=other,
                tip_wei=None,
                data=b"\x00\xff",
            ),
        ]
    return found


def built() -> dict[str, list[tuple[Any, ...]]]:
    """The rows as the log takes them, behind the connection that they name."""
    builder = RowBuilder(next_seq=1, last_ts=10**18)
    for row in rows():
        builder.put_chain(10**18, row)
    return builder.take()


def numbers(row: dict[str, Any]) -> dict[str, Any]:
    """Texts of wide integers as the integers that they are."""
    wide = {column.name for kind in KIND_OF.values() for column in TABLES[kind].columns if column.type is Type.WIDE}
    lists = {"tick_nets", "tick_grosses"}
    found = {name: int(value) if name in wide and value is not None else value for name, value in row.items()}
    return found | {name: [int(one) for one in row[name]] for name in lists if row.get(name) is not None}


def stated(row: ChainRow) -> dict[str, Any]:
    """What a row says, by column name."""
    return {name: getattr(row, name) for name in row.__struct_fields__}


def test_the_structs_have_the_columns_of_their_tables() -> None:
    """Every column of a kind but seq and ts_recv is a field of its struct, and no other is."""
    for struct, kind in KIND_OF.items():
        fields = set(struct.__struct_fields__)  # type: ignore[attr-defined]  # a Struct
        assert fields == {column.name for column in TABLES[kind].columns} - {"seq", "ts_recv"}, kind


def test_the_journal_and_arrow_give_back_what_they_took() -> None:
    """Packed and unpacked, and through Arrow tables, rows are equal."""
    for kind, found in built().items():
        assert unpack(kind, pack(kind, found)) == found
        assert tuples_of(kind, tuples_to_table(kind, found)) == found


def test_a_log_gives_back_what_it_took(tmp_path: Path) -> None:
    """By the reader, by SQL with exact sums, and by Polars; and `log verify` finds nothing."""
    folder = tmp_path / "log"
    names = {kind: [column.name for column in TABLES[kind].columns] for kind in TABLES}
    given = []
    for kind, found in built().items():
        for row in found:
            values = dict(zip(names[kind], row, strict=True))
            for column in TABLES[kind].columns:
                if column.values and values[column.name] is not None:
                    values[column.name] = column.values[values[column.name]]
            given.append((kind, values))
    given.sort(key=lambda one: int(one[1]["seq"]))
    write(folder, [("connections", connection(0)[1] | {"seq": 0, "ts_recv": 10**18}), *given])
    with LogReader(folder) as reader:
        read = [row for batch in reader.batches(kinds=INPUTS) for row in batch.slow if row.kind in KIND_OF.values()]
    assert [numbers(row.values) for row in read] == [
        stated(row) | {"seq": seq, "ts_recv": 10**18} for seq, row in enumerate(rows(), start=1)
    ]
    assert not verify_log(folder).findings
    with open_query([folder]) as query:
        sql = "SELECT delta0, in0, CAST(wide(delta0) AS VARCHAR), CAST(wide(delta0) + wide(delta1) AS VARCHAR) FROM swaps ORDER BY seq"
        assert [tuple(int(str(value)) for value in row) for row in query.run(sql).rows()] == [
            (edge, EDGES[at - 1], edge, edge + EDGES[at - 1]) for at, edge in enumerate(EDGES)
        ]
        assert int(str(next(query.run("SELECT CAST(wide_sum(delta0) AS VARCHAR) FROM swaps").rows())[0])) == sum(EDGES)
        nets = "SELECT array_to_string(tick_nets, ' ') FROM pools WHERE len(ticks) > 0 ORDER BY seq"
        assert [[int(one) for one in str(row[0]).split()] for row in query.run(nets).rows()] == [
            [edge, EDGES[at - 1]] for at, edge in enumerate(EDGES)
        ]
    frame = scan(folder)["swaps"].select("delta0").collect()
    assert [int(one) for one in frame["delta0"].to_list()] == list(EDGES)


@pytest.mark.parametrize("text", ["-0", "00", "1.0", "", " 1", "1\n", "+1", "0x1", str(2**256), str(-(2**255) - 1), "١"])
def test_what_is_no_integer_of_256_bits_enters_no_log(text: str) -> None:
    """Neither the journal nor a sealed file takes it; there is one text for each number."""
    found = built()["swaps"][0]
    at = [column.name for column in TABLES["swaps"].columns].index("delta0")
    row = (*found[:at], text, *found[at + 1 :])
    with pytest.raises(InvariantBroken, match="no integer of 256 bits"):
        pack("swaps", [row])
    with pytest.raises(InvariantBroken, match="no integer of 256 bits"):
        tuples_to_table("swaps", [row])
    with pytest.raises(InvariantBroken, match="no integer of 256 bits"):
        to_table("pools", [{**PLACE, **POOL, "seq": 1, "ts_recv": 2, "cause": "snapshot", "ticks": [1], "tick_nets": [text]}])


def test_wider_numbers_are_refused_where_rows_are_made() -> None:
    """A feed that computes more than 256 bits hears so."""
    with pytest.raises(OverflowError, match="256 bits"):
        RowBuilder().put_chain(1, SwapRow(**PLACE, **LOG, symbol="0xaa", sender="", recipient="", delta0=2**256, delta1=0))


@pytest.mark.parametrize("text", ["00", str(2**256), "1.0"])
def test_verify_names_a_text_that_is_no_integer(text: str) -> None:
    """Of files that another writer made: the row and the column, of a plain value and of a list."""
    found = built()
    for kind, column, value in (("swaps", "delta0", text), ("pools", "tick_nets", ["1", text])):
        table = tuples_to_table(kind, found[kind][:4])
        at = table.schema.get_field_index(column)
        values = table.column(column).to_pylist()
        table = table.set_column(
            at, table.schema.field(column), pa.array([*values[:2], value, values[3]], table.schema.field(at).type)
        )
        seqs = table.column("seq").to_pylist()
        whole: dict[str, Any] = {"rows": 4, "first": seqs[0], "last": seqs[-1], "first_ts": 10**18, "last_ts": 10**18}
        entry = FileEntry(path="a file", kind=kind, date=date_of(10**18 // DAY), sha256="", bytes=1, schema="", **whole)
        report = Report(folder="a log", findings=[])
        FileCheck(entry, report, {}, {0: 0}).take(table.combine_chunks().to_batches()[0])
        assert [(one.row, one.what) for one in report.findings] == [(2, f"{column} is no integer of 256 bits")]
