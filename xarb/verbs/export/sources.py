"""Which books are asked for: the one run or the traded logs among what was named, and the year."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, NamedTuple

from xarb.errors import ConfigError
from xarb.sql import Query
from xarb.sql.views import text

MODES: Final = ("live", "paper", "backtest")
_SECOND: Final = 1_000_000_000
_FIRST_YEAR, _LAST_YEAR = 1970, 2261  # what nanoseconds in 64 bits hold


class Period(NamedTuple):
    """From a time on to before another, ns since 1970 UTC, and its name."""

    name: str
    start: int
    end: int


class Books(NamedTuple):
    """What the books are of.

    `sources` are the names in the `source` column of the sources with money in them, `mode` is one of MODES.
    """

    sources: tuple[str, ...]
    mode: str
    period: Period


def period(year: str | None) -> Period:
    """A calendar year in UTC; everything without one.

    Raises:
        ConfigError: it is no year.
    """
    if year is None:
        return Period("all", 0, 2**63 - 1)
    if not year.isascii() or not year.isdigit() or not _FIRST_YEAR <= int(year[:5]) <= _LAST_YEAR or len(year) != len("2026"):
        raise ConfigError(f"--year {year}: must be a calendar year such as 2026")
    first, last = (int(datetime(int(year) + more, 1, 1, tzinfo=UTC).timestamp()) * _SECOND for more in (0, 1))
    return Period(year, first, last)


def books(query: Query, mode: str | None, when: Period) -> Books:
    """Which of the opened sources have money in them.

    Args:
        query: at least one log or run.
        mode: one of MODES; None is what there is, if it is one.
        when: the period.

    Raises:
        ConfigError: an unknown mode, no money in that mode, money of several modes and none named, or several
            runs or logs of paper: each is a world of its own.
    """
    if mode is not None and mode not in MODES:
        raise ConfigError(f"--mode {mode}: must be one of {', '.join(MODES)}")
    found = _modes(query)
    if mode is None:
        if len(found) > 1:
            raise ConfigError(
                f"there is money of several modes ({', '.join(sorted(found))}): name one with --mode, books never mix them"
            )
        mode = next(iter(found), None)
    if mode is None or mode not in found:
        raise ConfigError(
            f"nothing was traded{'' if mode is None else f' in mode {mode}'} in {', '.join(s.name for s in query.sources)}"
        )
    if mode != "live" and len(found[mode]) > 1:
        raise ConfigError(f"money of {mode} in {', '.join(found[mode])}: each is a world of its own, export them one by one")
    return Books(tuple(found[mode]), mode, when)


def rows_sql(query: Query, books: Books, kind: str) -> str:
    """The rows of an output kind that belong to the books, with the name of their source: of a traded log the starts of its mode."""
    return _of_mode(query, books, kind, "after_seq")


def inputs_sql(query: Query, books: Books, kind: str) -> str:
    """The same of an input kind; what was told before any start belongs to none."""
    return _of_mode(query, books, kind, "seq")


def _of_mode(query: Query, books: Books, kind: str, place: str) -> str:
    several = len(query.sources) > 1
    named, rest = ("source", "EXCLUDE (source)") if several else (text(query.sources[0].name), "")
    mine = f"SELECT {named} AS source, * {rest} FROM {kind} WHERE {named} IN ({', '.join(map(text, books.sources))})"
    if books.mode == "backtest":
        return mine
    began = f"SELECT {named} AS source, seq, mode FROM starts"
    return f"""SELECT r.* FROM ({mine}) r ASOF JOIN ({began}) s ON s.source = r.source AND r.{place} >= s.seq
        WHERE s.mode = {text(books.mode)}"""


def _modes(query: Query) -> dict[str, list[str]]:
    """The names of the sources that have ledger rows, by mode."""
    several = len(query.sources) > 1
    found: dict[str, list[str]] = {}
    for source in query.sources:
        mine = f"source = {text(source.name)}" if several else "true"
        if not list(query.run(f"SELECT 1 FROM ledger WHERE {mine} LIMIT 1").rows()):
            continue
        if source.manifest.header.kind == "run":
            found.setdefault("backtest", []).append(source.name)
            continue
        for (mode,) in query.run(f"SELECT DISTINCT mode FROM starts WHERE {mine} ORDER BY ALL").rows():
            found.setdefault(str(mode), []).append(source.name)
    return found
