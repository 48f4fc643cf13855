"""SOURCES.toml: which files to import, in which format, as frozen values."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import msgspec

from xarb import toml
from xarb.catalog import Instruments, load_instruments, read_instruments
from xarb.errors import ConfigError
from xarb.wires.times import UNIT_SCALES

QUOTE_COLUMNS: Final = ("ts_recv", "ts_event", "bid", "bid_qty", "ask", "ask_qty", "venue", "symbol", "venue_seq")
_SHARED: Final = frozenset({"format", "path", "venue", "symbol", "continues"})
_QUOTES: Final = _SHARED | {"time_unit", "time_rule", "columns", "ignore"}
_DECIMALS: Final = frozenset({"price_decimals", "qty_decimals"})
_ONE_INSTRUMENT: Final = frozenset(
    {
        "binance-raw",
        "binance-archive",
        "bybit-ob500",
        "coinapi-csv",
        "cryptolake-parquet",
        "hftbacktest-npz",
        "nautilus-parquet",
        "okx-books",
    }
)  # their files do not name theirs
ALLOWED: Final = {
    "quotes-csv": _QUOTES,
    "quotes-parquet": _QUOTES | _DECIMALS,
    "binance-raw": _SHARED,
    "binance-archive": _SHARED | {"time_rule", "rest"},
    "bybit-ob500": _SHARED | {"time_rule"},
    "bybit-trades": _SHARED | {"time_rule"},
    "okx-books": _SHARED | {"time_rule"},
    "okx-trades": _SHARED | _DECIMALS | {"time_rule"},
    "tardis-csv": _SHARED,
    "tardis-raw": _SHARED | {"book_channel"},
    "ccxt-books": _SHARED | {"time_unit", "time_rule", "columns"},
    "coinapi-csv": _SHARED,
    "cryptofeed-raw": _SHARED | {"rest"},
    "cryptolake-parquet": _SHARED | _DECIMALS,
    "nautilus-parquet": _SHARED,
    "hftbacktest-npz": _SHARED | _DECIMALS,
}
_RULED: Final = frozenset(
    {"binance-archive", "bybit-ob500", "bybit-trades", "okx-books", "okx-trades"}
)  # their files have no receive time
_ONE_VENUE: Final = frozenset({"bybit-trades", "ccxt-books", "cryptofeed-raw", "okx-trades", "tardis-raw"})
_FLOATS: Final = frozenset({"cryptolake-parquet", "hftbacktest-npz"})
FORMATS: Final = tuple(ALLOWED)
_RULE: Final = re.compile(r"ts_event \+ (\d{1,9}) (ns|us|ms|s)\Z")
_DECIMALS_LIMIT: Final = 15  # a 64-bit float holds no more


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """One file to import.

    `name` is the path as written, which is what the log records; `file` is where it lies. `venue` and `symbol` are fixed for the whole
    file, or None where the file says them row by row. `time_rule` makes a receive time of the venue's time. `columns` maps our
    names (`QUOTE_COLUMNS`) to the file's, `ignore` lists columns of the file that are left out. `continues`: the file goes on
    where the source before it ended, on the same connection. `rest` is the file of HTTP answers that belongs to it, which lies at `rest_file`.
    `book_channel` says which of an exchange's channels of books is read.
    """

    format: str
    name: str
    file: Path
    venue: str | None = None
    symbol: str | None = None
    time_unit: str | None = None
    time_rule: str | None = None
    columns: dict[str, str] = {}
    ignore: tuple[str, ...] = ()
    price_decimals: int | None = None
    qty_decimals: int | None = None
    continues: bool = False
    rest: str | None = None
    book_channel: str | None = None
    rest_file: Path = Path()

    @property
    def rule_ns(self) -> int:
        """Nanoseconds that `time_rule` adds to the venue's time, 0 without a rule."""
        found = _RULE.match(self.time_rule or "")
        return int(found[1]) * 10 ** UNIT_SCALES[found[2]] if found else 0


class Sources(msgspec.Struct, frozen=True, kw_only=True):
    """All files of one import in the order that breaks ties, and the instruments they may name."""

    sources: tuple[Source, ...]
    instruments: Instruments
    origin: str


def load_sources(path: Path) -> Sources:
    """Read a sources file; paths in it are relative to its folder.

    Raises:
        ConfigError: unreadable, an unknown key, a wrong value, or an instrument that is not listed; names the source and the key.
    """
    raw = toml.read(path)
    for key in raw:
        if key not in {"source", "instruments"}:
            raise ConfigError(f"{path}: unknown key {key!r}; allowed: instruments, source")
    instruments = load_instruments()
    extra = raw.get("instruments")
    if extra is not None:
        if not isinstance(extra, str):
            raise ConfigError(f"{path}: instruments must be the path of an instruments file")
        instruments = instruments.extended(read_instruments(path.parent / extra))
    entries = raw.get("source")
    if not isinstance(entries, list) or not entries:
        raise ConfigError(f"{path}: no [[source]] in it")
    found = [_source(entry, path.parent, f"{path}: source {number}") for number, entry in enumerate(entries, 1)]
    return sources_of(found, instruments, origin=str(path))


def single(format_name: str, paths: list[Path], **keys: Any) -> Sources:
    """Sources of one format from the command line: every path takes the same keys, those of a `[[source]]`.

    Raises:
        ConfigError: as for a sources file.
    """
    found = [_source({"format": format_name, "path": str(path), **keys}, Path(), str(path)) for path in paths]
    return sources_of(found, load_instruments(), origin="command line")


def sources_of(found: list[Source], instruments: Instruments, *, origin: str) -> Sources:
    """Check sources against each other and against the instruments.

    Raises:
        ConfigError: an instrument is not listed, or a source continues none.
    """
    before: Source | None = None
    for number, source in enumerate(found, 1):
        if source.venue is not None and source.symbol is not None:
            instruments.require(source.venue, source.symbol)
        if source.continues and (before is None or _stream(before) != _stream(source)):
            raise ConfigError(
                f"{origin}: source {number}: continues is true, but the source before it is not of the same format, venue and symbol"
            )
        before = source
    return Sources(sources=tuple(found), instruments=instruments, origin=origin)


def _stream(source: Source) -> tuple[str, str | None, str | None]:
    return source.format, source.venue, source.symbol


def _source(raw: Any, folder: Path, where: str) -> Source:
    if not isinstance(raw, dict):
        raise ConfigError(f"{where}: must be a table of keys")
    name, allowed = raw.get("format"), ALLOWED.get(str(raw.get("format")))
    if allowed is None:
        raise ConfigError(f"{where}: format {name!r} is not known; allowed: {', '.join(FORMATS)}")
    for key in raw:
        if key not in allowed:
            raise ConfigError(f"{where}: unknown key {key!r} for format {name}; allowed: {', '.join(sorted(allowed))}")
    path = raw.get("path")
    if not isinstance(path, str) or not path:
        raise ConfigError(f"{where}: path must be the file to import")
    values = {key: value for key, value in raw.items() if key != "path"}
    try:
        source = msgspec.convert({**values, "name": path, "file": folder / path}, Source)
        source = msgspec.structs.replace(source, rest_file=folder / (source.rest or ""))
    except msgspec.ValidationError as error:
        raise ConfigError(f"{where}: {error}") from None
    _check_place(source, where)
    _check_decimals(source, where)
    if source.format.startswith("quotes-"):
        _check_quotes(source, where)
    if source.format == "ccxt-books":
        _check_books(source, where)
    if source.format in _RULED:
        _check_rule(source, where)
    return source


def _check_place(source: Source, where: str) -> None:
    mapped = source.columns
    if source.symbol is not None and source.venue is None:
        raise ConfigError(f"{where}: symbol is stated without venue")
    if source.format in _ONE_INSTRUMENT and (source.venue is None or source.symbol is None):
        raise ConfigError(f"{where}: {source.format} needs venue and symbol")
    if source.format in _ONE_VENUE and source.venue is None:
        raise ConfigError(f"{where}: {source.format} needs venue")
    if source.format.startswith("quotes-"):
        for key in ("venue", "symbol"):
            if (getattr(source, key) is None) == (key not in mapped):
                raise ConfigError(f"{where}: state {key} either for the whole file or as columns.{key}, not both and not neither")


def _check_decimals(source: Source, where: str) -> None:
    for key in sorted(_DECIMALS):
        value = getattr(source, key)
        if value is not None and not 0 <= value <= _DECIMALS_LIMIT:
            raise ConfigError(f"{where}: {key} must lie in 0 to {_DECIMALS_LIMIT}")
        if value is None and source.format in _FLOATS:
            raise ConfigError(f"{where}: {source.format} holds floats, which are no exact numbers: state {key}")


def _check_quotes(source: Source, where: str) -> None:
    for key in source.columns:
        if key not in QUOTE_COLUMNS:
            raise ConfigError(f"{where}: unknown key columns.{key}; allowed: {', '.join(QUOTE_COLUMNS)}")
    if "bid" not in source.columns or "ask" not in source.columns:
        raise ConfigError(f"{where}: columns must map bid and ask")
    if len(set(source.columns.values())) != len(source.columns):
        raise ConfigError(f"{where}: columns maps one column of the file twice")
    if source.time_unit is not None and source.time_unit not in UNIT_SCALES:
        raise ConfigError(f"{where}: time_unit {source.time_unit!r} is not known; allowed: {', '.join(UNIT_SCALES)}")
    if source.time_unit is None and source.format == "quotes-csv":
        raise ConfigError(f"{where}: time_unit is missing; allowed: {', '.join(UNIT_SCALES)}")
    _check_receive_time(source, where)


def _check_books(source: Source, where: str) -> None:
    for key in source.columns:
        if key != "ts_recv":
            raise ConfigError(f"{where}: unknown key columns.{key}; allowed: ts_recv")
    if source.time_unit is None and source.columns:
        raise ConfigError(f"{where}: time_unit is missing; allowed: {', '.join(UNIT_SCALES)}")
    if source.time_unit is not None and source.time_unit not in UNIT_SCALES:
        raise ConfigError(f"{where}: time_unit {source.time_unit!r} is not known; allowed: {', '.join(UNIT_SCALES)}")
    if source.time_unit is not None and not source.columns:
        raise ConfigError(f"{where}: time_unit belongs to columns.ts_recv; timestamp is always in ms")
    _check_receive_time(source, where)


def _check_receive_time(source: Source, where: str) -> None:
    if "ts_recv" in source.columns:
        if source.time_rule is not None:
            raise ConfigError(f"{where}: time_rule is stated although columns.ts_recv gives the receive time; remove one of them")
        return
    _check_rule(source, where)
    if source.format.startswith("quotes-") and "ts_event" not in source.columns:
        raise ConfigError(f"{where}: time_rule needs columns.ts_event")


def _check_rule(source: Source, where: str) -> None:
    """Of files without a receive time."""
    if source.time_rule is None:
        missing = "no columns.ts_recv" if "columns" in ALLOWED[source.format] else f"{source.format} has no receive time"
        raise ConfigError(f'{where}: {missing}, so time_rule must say how the receive time is made, such as "ts_event + 5 ms"')
    if _RULE.match(source.time_rule) is None:
        raise ConfigError(f'{where}: time_rule {source.time_rule!r} is not of the form "ts_event + 5 ms" (ns, us, ms or s)')
