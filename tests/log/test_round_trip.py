"""Whatever is written is read back, exactly and in order."""

from __future__ import annotations

import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.log.generators import KEYS, TRADE_IDS, input_row, value
from tests.log.logs import (
    BTC,
    KRW,
    Placed,
    book_row,
    connection,
    expected,
    full,
    instrument,
    number_of,
    placed,
    quote,
    read_all,
    small_log,
    write,
)
from xarb.frames import scan
from xarb.log.manifest import Header
from xarb.log.reader import LogReader
from xarb.log.writer import LogWriter
from xarb.model.batch import Batch
from xarb.model.columns import INPUTS, KERNEL_KINDS, OUTPUTS, TABLES

HEAD = [connection(0), connection(1), *(instrument(key, 2, 5) for key in KEYS)]
ROWS = st.lists(st.sampled_from(INPUTS).flatmap(input_row), min_size=1, max_size=30)
SLOW_TO_MAKE = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]


@given(
    rows=ROWS,
    size=st.integers(1, 40),
    row_group=st.sampled_from([1, 3, 1000]),
    commits=st.integers(1, 5),
    seal=st.sampled_from([1, 10, None]),
    steps=st.lists(st.sampled_from([0, 1, 10**9, 86_400 * 10**9]), min_size=30, max_size=30),
)
@settings(max_examples=60, suppress_health_check=SLOW_TO_MAKE)
def test_any_rows_in_any_cut(
    rows: list[Placed], size: int, row_group: int, commits: int, seal: int | None, steps: list[int]
) -> None:
    """Rows of every kind with any values come back equal, whatever batch size, row groups, segments, dates and equal times."""
    times = np.cumsum([0] * len(HEAD) + steps[: len(rows)]) + 1_700_000_000_000_000_000
    given_rows = [(kind, row | {"ts_recv": int(ts)}) for (kind, row), ts in zip(placed([*HEAD, *rows]), times, strict=True)]
    with tempfile.TemporaryDirectory() as name:
        write(Path(name) / "log", given_rows, commits=commits, row_group=row_group, seal_rows=seal)
        assert read_all(Path(name) / "log", size) == [expected(kind, row) for kind, row in given_rows]


@given(st.data())
@settings(max_examples=40, suppress_health_check=SLOW_TO_MAKE)
def test_outputs_come_back_in_their_order(data: st.DataObject) -> None:
    """Outputs of every kind come back equal, merged by (after_seq, n), however the run was cut into files."""
    kinds = data.draw(st.lists(st.sampled_from(OUTPUTS), min_size=1, max_size=25))
    rows, after, n = [], 0, -1
    for kind in kinds:
        step = data.draw(st.sampled_from([0, 0, 1, 5]))
        after, n = (after + step, 0) if step else (after, n + 1)
        row = {c.name: data.draw(value(c)) for c in TABLES[kind].columns if c.name not in {"after_seq", "n", "ts"}}
        rows.append((kind, full(kind, row | {"after_seq": after, "n": n, "ts": 10**18 + after})))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        with LogWriter.create(folder, Header(kind="run", log_id="r"), row_group=2) as writer:
            for kind in OUTPUTS:
                writer.write_rows(kind, [row for one, row in rows if one == kind])
        with LogReader(folder) as reader:
            assert list(reader.outputs()) == rows


def test_tiny_and_huge_numbers_share_a_log(tmp_path: Path) -> None:
    """A price of 1e-12, a quantity of 1e11, and BTC/KRW are exact beside each other, null stays null, equal times keep their order."""
    dust = ("gate", "🐸/USDT")
    head = [connection(0), instrument(dust, 12, 0), instrument(KRW, 0, 8), instrument(BTC, 2, 8)]
    body = [
        quote(1, 2, key=dust, scales=(12, 0), bid_qty_int=10**11, ask_qty_int=None),
        quote(98_765_000, 98_766_000, key=KRW, scales=(0, 8), bid_qty_int=1, ask_qty_int=2**63 - 1),
        quote(None, 6_183_763, scales=(2, 8)),
    ]
    rows = [(kind, row | {"ts_recv": 1_700_000_000_000_000_000}) for kind, row in placed([*head, *body])]
    write(tmp_path / "log", rows)
    frame = scan(tmp_path / "log").quotes.collect()
    exact = [
        Fraction(bid, 10**scale) for bid, scale in zip(frame["bid_int"].to_list()[:2], frame["px_scale"].to_list(), strict=False)
    ]
    assert exact == [Fraction(1, 10**12), 98_765_000]
    assert frame["bid_qty"].to_list()[0] == 1e11
    assert (frame["bid"].to_list()[2], frame["ask"].to_list()) == (None, [2e-12, 98_766_000.0, 61_837.63])
    assert read_all(tmp_path / "log") == [expected(kind, row) for kind, row in rows]


@given(st.lists(TRADE_IDS, min_size=1, max_size=20))
@example(["9223372036854775807", "9223372036854775808", "0", "00", "9999999999999999999"])
@settings(max_examples=30)
def test_trade_ids_are_numbers_where_they_are_numbers(ids: list[str | None]) -> None:
    """An id that is a decimal integer of 63 bits in its shortest form reaches the kernel as that integer, any other as null."""
    trade = {"conn": 0, "venue": BTC[0], "symbol": BTC[1], "price_int": 1, "qty_int": 1, "px_scale": 2, "qty_scale": 5}
    rows = [("trades", trade | {"aggressor": "buy", "trade_id": one}) for one in ids]
    with tempfile.TemporaryDirectory() as name:
        write(Path(name) / "log", placed([connection(0), instrument(BTC, 2, 5), *rows]))
        found = [row["trade_id"] for kind, row in read_all(Path(name) / "log") if kind == "trades"]
    assert found == [number_of(one) for one in ids]


def arrays_of(batch: Batch) -> list[np.ndarray]:
    """Every array of a batch."""
    return [array for block in batch[2:6] for array in block]


@pytest.mark.parametrize("rows", [1, 4, 100])
def test_arrays_are_what_the_kernel_is_compiled_for(tmp_path: Path, rows: int) -> None:
    """Every array of every batch is C-contiguous and read-only, with the dtypes of `model/batch.py`, with and without rows."""
    deep = book_row([(9 - n, 1) for n in range(12)], [(10, 1)])
    whole = book_row([(9 - n, 1) for n in range(10)], [(10 + n, 1) for n in range(10)])
    feed = {"conn": 0, "venue": BTC[0], "symbol": BTC[1], "px_scale": 2, "qty_scale": 5}
    delta = {"side": "bid", "price_int": 1, "qty_int": 1, "is_snapshot": True, "is_last": True, "verdict": "apply"}
    trade = {"price_int": 1, "qty_int": 1, "aggressor": "buy", "trade_id": "5"}
    body = [quote(1, 2), ("books", feed | deep), ("books", feed | whole), ("book_deltas", feed | delta), ("trades", feed | trade)]
    write(tmp_path / "log", placed([connection(0), instrument(BTC, 2, 5), *body, *body]))
    types = {"conn": "int32", "inst": "int32", "bids": "int32", "is_snapshot": "bool", "is_last": "bool"}
    types |= dict.fromkeys(("side", "verdict", "aggressor"), "int8")
    with LogReader(tmp_path / "log") as reader:
        for batch in reader.batches(rows=rows):
            assert batch.last_seq - batch.first_seq < rows
            assert all(array.flags.c_contiguous and not array.flags.writeable for array in arrays_of(batch))
            for block in (batch.quotes, batch.deltas, batch.trades, batch.books):
                assert all(getattr(block, name).dtype == types.get(name, "int64") for name in block._fields)
                assert len(block.seq) == len(block.inst)
            assert len(batch.books.offset) == len(batch.books.seq) + 1


def test_what_the_reader_knows_of_a_log(tmp_path: Path) -> None:
    """Instruments in their first form and number order, their later forms by seq, connections, and which kinds each has rows of."""
    rows = [connection(4), instrument(KRW, 0, 8), instrument(BTC, 2, 5), quote(1, 2, conn=4), instrument(BTC, 3, 5)]
    rows += [
        quote(10, 20, scales=(3, 5), conn=4),
        ("books", {"conn": 4, "venue": KRW[0], "symbol": KRW[1], "px_scale": 0, "qty_scale": 8}),
    ]
    write(tmp_path / "log", placed(rows))
    with LogReader(tmp_path / "log") as reader:
        assert [(one.id, one.px_scale) for one in reader.instruments] == [("BTC/KRW@upbit", 0), ("BTC/USDT@binance", 2)]
        assert [one.px_scale for one in reader.instruments_at(4)] == [0, 2]
        assert [one.px_scale for one in reader.instruments_at(5)] == [0, 3]
        assert (reader.number(*KRW), reader.number(*BTC), reader.number("binance", "x")) == (0, 1, None)
        assert (reader.connections, reader.last_seq) == (5, 6)
        assert reader.kinds_of == [("books",), ("quotes",)]


def test_an_empty_log_reads_as_nothing(tmp_path: Path) -> None:
    """A log without rows has no batches, no instruments, no connections."""
    with LogWriter.create(tmp_path / "log", Header(kind="log", log_id="x")):
        pass
    with LogReader(tmp_path / "log") as reader:
        assert list(reader.batches()) == []
        assert (reader.instruments, reader.connections, reader.last_seq) == ([], 0, -1)


def test_kinds_can_be_left_out(tmp_path: Path) -> None:
    """Only the kinds that were asked for are read, and nothing else is opened."""
    small_log(tmp_path / "log")
    for kind in KERNEL_KINDS:
        with LogReader(tmp_path / "log") as reader:
            found = list(reader.batches(kinds=(kind,)))
            assert sum(len(batch.quotes.seq) for batch in found) == (6 if kind == "quotes" else 0)
            assert all(not batch.slow for batch in found)
