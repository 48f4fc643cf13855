"""Generic quote files as Parquet. Decimal, integer and text columns are exact; a float column needs its decimals stated.

A float is no decimal number. `price_decimals` and `qty_decimals` say how many decimals the vendor's numbers had; a value is then the
decimal number with so many places that its float stands for, and one that lies farther from it than rounding explains is a reject.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from xarb.errors import ConfigError
from xarb.imports.quotes import QuoteText, quote_event
from xarb.imports.quotes_csv import columns_of
from xarb.log.smallfiles import UNREADABLE
from xarb.wires.events import RejectEvent, WireEvent
from xarb.wires.times import UNIT_SCALES

if TYPE_CHECKING:
    from xarb.imports.sources import Source
    from xarb.imports.tape import Tape

BATCH: Final = 65_536
ULPS: Final = 4  # distance between a float and its decimal that sums of a few roundings explain
_TIMES: Final = ("ts_recv", "ts_event")
_PRICES: Final = ("bid", "ask")

_ToText = Callable[[Any], str | None]


class Reader:
    """Reads quote files of one stream."""

    def __init__(self, source: Source, tape: Tape) -> None:
        del source  # every file states its own columns
        self._tape = tape

    def read(self, source: Source) -> Iterator[tuple[int, WireEvent]]:
        """The events of one file with their receive times; the line of a reject is the row, from 1.

        Raises:
            ConfigError: the file cannot be used, a column is missing or unmapped, or its type has no exact reading.
        """
        tape, start = self._tape, self._tape.bytes_read
        try:
            with pq.ParquetFile(source.file, pre_buffer=False) as file:
                schema = file.schema_arrow
                positions = columns_of(source, schema.names)
                readers = [_reader(source, key, schema, at) for key, at in zip(QuoteText._fields, positions, strict=True)]
                line = 0
                for batch in file.iter_batches(BATCH):
                    cells = [None if at is None else _cells(batch.column(at)) for at in positions]
                    for place in range(batch.num_rows):
                        line += 1
                        row = [None if column is None else column[place] for column in cells]
                        event = self._event(source, row, readers, line)  # moves the clock, so before it is read
                        yield tape.last, event
                tape.bytes_read = start + source.file.stat().st_size
        except UNREADABLE as error:
            raise ConfigError(f"{source.file}: cannot be read as Parquet: {error}") from None

    def _event(self, source: Source, row: list[Any], readers: list[_ToText], line: int) -> WireEvent:
        payload = ", ".join(f"{key}={cell}" for key, cell in zip(QuoteText._fields, row, strict=True) if cell is not None)
        try:
            text = QuoteText(*[reader(cell) for reader, cell in zip(readers, row, strict=True)])
        except ValueError as error:
            return RejectEvent("bad_number", str(error), payload, source.venue, source.symbol, line)
        return quote_event(source, self._tape, text, line, payload)


def _cells(column: Any) -> list[Any]:
    """Python values; timestamps stay integers of their unit."""
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.int64()).to_pylist()  # type: ignore[no-any-return]  # pyarrow ships no types
    return column.to_pylist()  # type: ignore[no-any-return]  # pyarrow ships no types


def _reader(source: Source, key: str, schema: Any, at: int | None) -> _ToText:
    """How a cell of the column becomes text that reads exactly."""
    if at is None:
        return lambda _: None
    kind = schema.field(at).type
    where = f"{source.name}: column {schema.names[at]!r}"
    if key in _TIMES:
        return _time_reader(source, kind, where)
    if pa.types.is_floating(kind) and key in (*_PRICES, "bid_qty", "ask_qty"):
        name = "price_decimals" if key in _PRICES else "qty_decimals"
        decimals = getattr(source, name)
        if decimals is None:
            raise ConfigError(f"{where} holds floats, which are no exact numbers: state {name}")
        return lambda cell: None if cell is None else decimal_of_float(cell, decimals)
    if pa.types.is_decimal(kind):
        return lambda cell: None if cell is None else format(cell, "f")
    if pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return lambda cell: None if cell is None else str(cell)
    raise ConfigError(f"{where} is of type {kind}; text, integers, decimals and floats with stated decimals can be read")


def _time_reader(source: Source, kind: Any, where: str) -> _ToText:
    """Times end up as text of the source's time unit, nanoseconds unless stated."""
    if pa.types.is_timestamp(kind):
        if source.time_unit is not None:
            raise ConfigError(f"{where} is a timestamp, whose unit the file knows: remove time_unit")
        factor = 10 ** UNIT_SCALES[kind.unit]
        return lambda cell: None if cell is None else str(cell * factor)
    if pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_decimal(kind):
        if source.time_unit is None:
            raise ConfigError(f"{where} is a plain number: state time_unit")
        return lambda cell: None if cell is None else str(cell)
    raise ConfigError(f"{where} is of type {kind}, which is no exact time")


def decimal_of_float(value: float, decimals: int) -> str:
    """The decimal text with `decimals` places that `value` stands for.

    Raises:
        ValueError: NaN, infinite, or farther from that number than a few roundings explain.
    """
    if not math.isfinite(value):
        raise ValueError(f"not a decimal number: {value}")
    text = f"{value:.{decimals}f}"
    if abs(float(text) - value) > ULPS * math.ulp(value):
        raise ValueError(f"{value!r} is not a number of {decimals} decimals")
    return text
