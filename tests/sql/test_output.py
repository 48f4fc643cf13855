"""Results in every format, with values that a careless writer would round or lose."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from xarb.errors import ConfigError
from xarb.sql import open_query, print_table, write_result

TRAPS = """SELECT * FROM (VALUES
    (1, 1.100000000000000001::DECIMAL(38,18), 0.1::DOUBLE, make_timestamp_ns(1767614400000000001), '', 9223372036854775807,
        170141183460469231731687303715884105727::HUGEINT, wide('115792089237316195423570985008687907853269984665640564039457584007913129639935'),
        [1.5::DECIMAL(5,2)], true, INTERVAL 1 day, 'a,"b"\n'),
    (2, NULL, 'inf'::DOUBLE, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'ü'))
    AS t(n, money, f, moment, empty, big, huge, wide, list, yes, gap, "it's") ORDER BY n"""
UINT256 = str(2**256 - 1)


def _bytes(log: Path, sql: str, form: str) -> bytes:
    out = io.BytesIO()
    with open_query([log]) as query:
        write_result(query.run(sql, nanoseconds=form == "parquet"), out, form)
    return out.getvalue()


def test_csv_is_exact(log: Path) -> None:
    """Decimals in full, nanoseconds, 256 bits, quotes doubled, null an empty field and an empty text a quoted one."""
    text = _bytes(log, TRAPS, "csv").decode()
    head, *rows = csv.reader(io.StringIO(text, newline=""))
    assert head == ["n", "money", "f", "moment", "empty", "big", "huge", "wide", "list", "yes", "gap", "it's"]
    exact = [
        "1",
        "1.100000000000000001",
        "0.1",
        "2026-01-05 12:00:00.000000001",
        "",
        "9223372036854775807",
        str(2**127 - 1),
        UINT256,
    ]
    assert rows[0] == [*exact, '["1.5"]', "true", "1 day", 'a,"b"\n']
    assert rows[1] == ["2", "", "inf", "", "", "", "", "", "", "", "", "ü"]
    assert '000000001,"",9223' in text


def test_json_keeps_decimals_as_text(log: Path) -> None:
    """An array of objects; decimals and wide integers are strings, 64-bit integers numbers, infinity is named, null is null."""
    first, second = json.loads(_bytes(log, TRAPS, "json"))
    assert first["money"] == "1.100000000000000001"
    assert first["big"] == 2**63 - 1
    assert first["wide"] == UINT256
    assert first["list"] == ["1.5"]
    assert first["yes"] is True
    assert second["f"] == "Infinity"
    assert second["money"] is None
    assert json.loads(_bytes(log, "SELECT 1 WHERE false", "json")) == []


def test_parquet_keeps_types(log: Path) -> None:
    """DECIMAL(38,18) stays a decimal, times stay nanoseconds, integers beyond 64 bits are text, not rounded floats."""
    table = pq.read_table(io.BytesIO(_bytes(log, TRAPS, "parquet")))
    assert table.schema.field("money").type == pa.decimal128(38, 18)
    assert table.column("money")[0].as_py() == Decimal("1.100000000000000001")
    assert table.column("moment")[0].value == 1_767_614_400_000_000_001
    assert table.column("huge")[0].as_py() == str(2**127 - 1)
    assert table.column("wide")[0].as_py() == UINT256


@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
def test_equal_names_and_empty_results(log: Path, form: str) -> None:
    """Two columns of one name are both written, and a result without rows still has its columns."""
    data = _bytes(log, "SELECT 1 AS a, 2 AS a, make_timestamp_ns(0) AS a", form)
    if form == "csv":
        assert data == b"a,a_1,a_2\n1,2,1970-01-01 00:00:00\n"
        assert _bytes(log, "SELECT seq, bid FROM quotes WHERE false", form) == b"seq,bid\n"
    elif form == "json":
        assert json.loads(data) == [{"a": 1, "a_1": 2, "a_2": "1970-01-01 00:00:00"}]
    else:
        assert pq.read_table(io.BytesIO(data)).column_names == ["a", "a_1", "a_2"]
        assert pq.read_table(io.BytesIO(_bytes(log, "SELECT seq FROM quotes WHERE false", form))).num_rows == 0


def test_every_view_can_be_written(log: Path, run: Path) -> None:
    """All columns of all views pass through every format."""
    with open_query([log, run]) as query:
        for view in query.views:
            for form in ("csv", "json", "parquet"):
                write_result(query.run(f'SELECT * FROM "{view}"', nanoseconds=form == "parquet"), io.BytesIO(), form)


def test_many_rows_pass_in_order(log: Path) -> None:
    """A result of several batches is written whole and in the order that the statement asks for."""
    data = _bytes(log, "SELECT range AS n, make_timestamp_ns(range) AS t FROM range(200000) ORDER BY n DESC", "csv")
    lines = data.split(b"\n")
    assert len(lines) == 200_002
    assert [int(line.split(b",")[0]) for line in lines[1:-1]] == list(range(199_999, -1, -1))


def test_an_unknown_format_names_the_known(log: Path) -> None:
    """A format that there is not is an error that lists those there are."""
    with pytest.raises(ConfigError, match="allowed: table, csv, json, parquet"):
        _bytes(log, "SELECT 1", "xml")


def test_a_table_is_bounded_and_says_so(log: Path) -> None:
    """A terminal gets 1,000 rows and the count of all; markup in values is text; a statement without result prints nothing."""
    console = Console(file=io.StringIO(), width=200)
    with open_query([log]) as query:
        assert (
            print_table(query.run("SELECT '[red]' || range AS n, NULL AS none, 1.50::DECIMAL(5,2) AS d FROM range(1500)"), console)
            == 1_500
        )
        assert print_table(query.run("CREATE TEMP TABLE t AS SELECT 1 AS a"), console) <= 1
        assert print_table(query.run("DESCRIBE quotes"), console) > 10
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "[red]999" in shown
    assert "[red]1000" not in shown
    assert "1,500 rows, the first 1,000 shown" in shown
    assert " 1.5 " in shown
