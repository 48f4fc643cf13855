"""What an asset was worth in a currency at a time, by the best prices of the opened logs, or by a table that the user gives."""

from __future__ import annotations

import csv
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Context, Decimal, InvalidOperation
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from xarb.errors import ConfigError
from xarb.sql import Query
from xarb.sql.views import text

_HOPS: Final = 3  # pairs from an asset to the currency, at most
_EXACT: Final = Context(prec=60)
_COLUMNS: Final = ("time", "asset", "price")


class Price(NamedTuple):
    """Currency for one unit of an asset, where it is from, and its oldest time, ns."""

    value: Decimal
    origin: str
    ts: int


class _Pair(NamedTuple):
    """The mids of all instruments of a base and a quote that stand at the times asked for."""

    asked: np.ndarray  # ns, rising
    times: np.ndarray  # ns of the mid, of each
    mids: np.ndarray  # float
    names: list[str]

    def at(self, ts: int) -> tuple[Decimal, str, int] | None:
        place = int(np.searchsorted(self.asked, ts))
        if place == len(self.asked) or self.asked[place] != ts:
            return None
        return Decimal(f"{self.mids[place]:.15g}"), self.names[place], int(self.times[place])


class Prices:
    """Prices of assets in one currency at times that are known beforehand.

    A price of the user's table comes first: the last at or before the time. Else it is the mid of the instrument of asset and currency that
    was told last at or before the time, or where there is none yet the first after it; over up to two other assets where no instrument
    has both.

    Args:
        query: where the best prices are.
        currency: in which assets are valued.
        wanted: SQL that gives the assets and times (ns) as columns asset and ts.
        table: prices of the user's, by asset, in order of time.
    """

    def __init__(self, query: Query, currency: str, wanted: str, table: Mapping[str, Sequence[tuple[int, Decimal]]]) -> None:
        self.currency, self._table = currency, table
        pairs = _pairs(query)
        assets = [str(asset) for (asset,) in query.run(f"SELECT DISTINCT asset FROM ({wanted}) ORDER BY ALL").rows()]
        self._routes = {asset: route for asset in assets if (route := _route(pairs, asset, currency)) is not None}
        needing: dict[tuple[str, str], list[str]] = {}
        for asset, route in self._routes.items():
            for base, quote, _ in route:
                needing.setdefault((base, quote), []).append(asset)
        self._mids = {pair: _mids(query, pairs[pair], wanted, mine) for pair, mine in needing.items()}

    def at(self, asset: str, ts: int) -> Price | None:
        """The price of an asset at one of its times; None where nothing is known."""
        if asset == self.currency:
            return Price(Decimal(1), "", ts)
        stated = self._table.get(asset)
        if stated is not None and (place := bisect_right(stated, ts, key=lambda one: one[0])):
            moment, value = stated[place - 1]
            return Price(value, "table", moment)
        value, names, oldest = Decimal(1), [], ts
        for base, quote, inverse in self._routes.get(asset, ()):
            found = self._mids[base, quote].at(ts)
            if found is None or not found[0]:
                return None
            mid, name, moment = found
            value = _EXACT.divide(value, mid) if inverse else _EXACT.multiply(value, mid)
            names.append(name)
            oldest = min(oldest, moment) if moment <= ts else moment
        return Price(value, " ".join(names), oldest) if names else None


def read_table(path: Path) -> dict[str, list[tuple[int, Decimal]]]:
    """Prices of the user's: CSV with the columns time (ISO 8601, UTC where it names no offset), asset, price.

    Raises:
        ConfigError: the file cannot be read, or a line is wrong; with its number.
    """
    found: dict[str, list[tuple[int, Decimal]]] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            head = next(reader, [])
            if tuple(head) != _COLUMNS:
                raise ConfigError(f"{path}: the first line must be {','.join(_COLUMNS)}")
            for row in reader:
                if row:
                    asset, ts, price = _stated(path, reader.line_num, row)
                    found.setdefault(asset, []).append((ts, price))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from None
    for prices in found.values():
        prices.sort(key=lambda one: one[0])
    return found


def _stated(path: Path, line: int, row: Sequence[str]) -> tuple[str, int, Decimal]:
    if len(row) != len(_COLUMNS):
        raise ConfigError(f"{path} line {line}: {len(row)} fields, {len(_COLUMNS)} are expected: {','.join(_COLUMNS)}")
    time, asset, price = (one.strip() for one in row)
    try:
        value = Decimal(price)
    except InvalidOperation:
        raise ConfigError(f"{path} line {line}: {price!r} is no price") from None
    if not value.is_finite() or value < 0:
        raise ConfigError(f"{path} line {line}: a price must be 0 or more, not {price}")
    if not asset:
        raise ConfigError(f"{path} line {line}: no asset")
    try:
        moment = np.datetime64(_utc(time), "ns")
    except ValueError:
        raise ConfigError(f"{path} line {line}: {time!r} is no time such as 2026-01-31T12:00:00") from None
    return asset, int(moment.astype(np.int64)), value


def _utc(time: str) -> datetime:
    """A time without an offset, in UTC."""
    found = datetime.fromisoformat(time)
    return found if found.tzinfo is None else (found - (found.utcoffset() or found - found)).replace(tzinfo=None)


def _pairs(query: Query) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """The spot instruments (venue, symbol) of each base and quote."""
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    sql = "SELECT DISTINCT base, quote, venue, symbol FROM instruments WHERE kind = 'spot' ORDER BY ALL"
    for base, quote, venue, symbol in query.run(sql).rows():
        found.setdefault((str(base), str(quote)), []).append((str(venue), str(symbol)))
    return found


def _route(pairs: Iterable[tuple[str, str]], asset: str, currency: str) -> list[tuple[str, str, bool]] | None:
    """The fewest pairs from an asset to the currency, the first by name of several such; each with whether it is taken upside down."""
    reached: dict[str, list[tuple[str, str, bool]]] = {asset: []}
    edge = [asset]
    for _ in range(_HOPS):
        grown = []
        for here in edge:
            steps = sorted(
                [(quote, base, quote, False) for base, quote in pairs if base == here]
                + [(base, base, quote, True) for base, quote in pairs if quote == here]
            )
            for there, base, quote, inverse in steps:
                if there not in reached:
                    reached[there] = [*reached[here], (base, quote, inverse)]
                    grown.append(there)
        edge = grown
    return reached.get(currency)


def _mids(query: Query, instruments: Sequence[tuple[str, str]], wanted: str, assets: Sequence[str]) -> _Pair:
    """The mid that was told last at or before each time, else the first after it."""
    listed = ", ".join(f"({text(venue)}, {text(symbol)})" for venue, symbol in instruments)
    sql = f"""WITH wanted AS (SELECT DISTINCT ts FROM ({wanted}) WHERE asset IN ({", ".join(map(text, assets))})),
        told AS (SELECT ts_recv, max_by(symbol || '@' || venue, (seq, venue, symbol)) AS name,
            max_by((bid + ask) / 2, (seq, venue, symbol)) AS mid
            FROM tops WHERE (venue, symbol) IN ({listed}) AND bid > 0 AND ask > 0 GROUP BY ts_recv),
        before AS (SELECT w.ts, t.ts_recv, t.name, t.mid FROM wanted w ASOF LEFT JOIN told t ON w.ts >= t.ts_recv),
        after AS (SELECT w.ts, t.ts_recv, t.name, t.mid FROM wanted w ASOF JOIN told t ON w.ts <= t.ts_recv)
        SELECT b.ts, coalesce(b.ts_recv, a.ts_recv), coalesce(b.name, a.name), coalesce(b.mid, a.mid)
        FROM before b LEFT JOIN after a ON a.ts = b.ts WHERE coalesce(b.mid, a.mid) IS NOT NULL ORDER BY 1"""
    rows = list(query.run(sql).rows())
    asked, times, names, mids = zip(*rows, strict=True) if rows else ((), (), (), ())
    return _Pair(np.array(asked, np.int64), np.array(times, np.int64), np.array(mids, np.float64), list(map(str, names)))
