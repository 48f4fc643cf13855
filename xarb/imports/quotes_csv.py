"""Generic quote files as CSV: the sources file maps columns, states the time unit, and fixes venue and symbol or maps them."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from xarb.errors import ConfigError
from xarb.imports.quotes import QuoteText, quote_event
from xarb.imports.textfile import TextFile
from xarb.wires.events import RejectEvent, WireEvent, readable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xarb.imports.sources import Source
    from xarb.imports.tape import Tape


def fields_of(text: str) -> list[str]:
    """The fields of one CSV line; quoted fields may hold commas and doubled quotes, not line ends.

    Raises:
        ValueError: an unclosed or misplaced quote.
    """
    if '"' not in text:
        return text.split(",")
    try:
        return next(csv.reader([text], strict=True))
    except (csv.Error, StopIteration) as error:
        raise ValueError(f"no CSV: {error}") from None


class Reader:
    """Reads quote files of one stream."""

    def __init__(self, source: Source, tape: Tape) -> None:
        del source  # every file states its own columns
        self._tape = tape

    def read(self, source: Source) -> Iterator[tuple[int, WireEvent]]:
        """The events of one file with their receive times.

        Raises:
            ConfigError: the file cannot be used, or its header lacks a mapped column or has one that is neither mapped nor ignored.
        """
        tape, file = self._tape, TextFile(source.file)
        start = tape.bytes_read
        lines = file.lines()
        positions, width = _header(source, next(lines, (1, b""))[1])
        line = 1
        for line, raw in lines:
            tape.bytes_read = start + file.bytes_read
            text = raw.decode("utf-8", "backslashreplace")
            try:
                fields = fields_of(text)
            except ValueError as error:
                yield tape.last, RejectEvent("bad_csv", str(error), readable(text), source.venue, source.symbol, line)
                continue
            if len(fields) != width:
                detail = f"{len(fields)} fields, the header has {width}"
                yield tape.last, RejectEvent("wrong_fields", detail, readable(text), source.venue, source.symbol, line)
                continue
            row = QuoteText(*[None if at is None else (fields[at] or None) for at in positions])
            event = quote_event(source, tape, row, line, text)
            yield tape.last, event
        if file.truncated:
            detail = "the gzip file stops in the middle; the lines before are imported"
            yield tape.last, RejectEvent("truncated_file", detail, None, source.venue, source.symbol, line)


def _header(source: Source, raw: bytes) -> tuple[list[int | None], int]:
    """Where each field of `QuoteText` stands, and the number of columns."""
    try:
        names = fields_of(raw.decode("utf-8"))
    except ValueError as error:
        raise ConfigError(f"{source.name}: line 1 is no CSV header: {error}") from None
    return columns_of(source, names), len(names)


def columns_of(source: Source, names: list[str]) -> list[int | None]:
    """Where each field of `QuoteText` stands among the columns of the file.

    Raises:
        ConfigError: a mapped or ignored column is missing, repeated, or one is neither mapped nor ignored.
    """
    mapped = source.columns
    for name in (*mapped.values(), *source.ignore):
        if names.count(name) != 1:
            how = "no column" if name not in names else "more than one column"
            raise ConfigError(f"{source.name}: {how} {name!r}; the file has {', '.join(map(repr, names))}")
    for name in names:
        if name not in mapped.values() and name not in source.ignore:
            raise ConfigError(f"{source.name}: column {name!r} is neither mapped in columns nor listed in ignore")
    return [names.index(mapped[key]) if key in mapped else None for key in QuoteText._fields]
