"""The export verb: books as CSV, to standard output or to a file that is there whole or not at all."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Context, Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple, TextIO

from xarb.console import progress, say, utc
from xarb.errors import ConfigError
from xarb.sql import Query, open_query
from xarb.verbs.export.cells import plain
from xarb.verbs.export.ledger import postings
from xarb.verbs.export.market import arrow, tardis
from xarb.verbs.export.prices import Prices, read_table
from xarb.verbs.export.sources import Books, books, period, rows_sql
from xarb.verbs.export.trades import Row, fills, fills_sql, transfers, transfers_sql

KINDS: Final = ("fills", "transfers", "ledger")
MARKET: Final = {"tardis": tardis, "arrow": arrow}
_PRICED: Final = ("currency", "value", "price", "price_of", "price_time")
_COLUMNS: Final = {
    "fills": (
        *(
            "time",
            "source",
            "mode",
            "account",
            "venue",
            "symbol",
            "base",
            "quote",
            "side",
            "qty",
            "price",
            "notional",
            "fee",
            "fee_asset",
        ),
        *("liquidity", "strategy", "bundle", "leg", "purpose", "order", "client_order_id", "venue_order_id", "fill_id"),
        *("currency", "notional_value", "fee_value", "quote_price", "fee_price", "price_of", "price_time"),
    ),
    "transfers": (
        *("time", "source", "mode", "account", "venue", "asset", "qty", "fee", "network", "transfer_id", "status", "venue_time"),
        *_PRICED,
        "fee_value",
    ),
    "ledger": (
        *(
            "entry",
            "time",
            "source",
            "mode",
            "book",
            "asset",
            "amount",
            "balance",
            "cause",
            "account",
            "venue",
            "strategy",
            "order",
            "ids",
        ),
        *_PRICED,
    ),
}
_EXACT: Final = Context(prec=80)
_CENT: Final = Decimal("0.00000001")  # values are estimates: eight decimals
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")  # a text that begins so is a formula to a spreadsheet
_TELL: Final = 4096  # rows between two looks at the bar


class Wanted(NamedTuple):
    """What is to be exported, as the command line has it."""

    kind: str
    paths: Sequence[Path]
    year: str | None = None
    mode: str | None = None
    currency: str | None = None
    prices: Path | None = None


def export(wanted: Wanted, out: Path | None) -> int:
    """Write what is wanted; the number of lines.

    Args:
        wanted: what.
        out: the file; None is standard output.

    Raises:
        ConfigError: wrong use; nothing was traded; a table of prices is wrong; the file is there already.
        LogError: a log is damaged, or its ledger does not add up.
    """
    if wanted.kind in MARKET:
        return _market(wanted, out)
    if wanted.kind not in KINDS:
        raise ConfigError(f"export {wanted.kind}: must be one of {', '.join((*KINDS, *MARKET))}")
    if wanted.prices is not None and wanted.currency is None:
        raise ConfigError("--prices needs --currency: what the prices are in")
    if out is not None and out.exists():
        raise ConfigError(f"{out} is there already: move it or name another file")
    table = {} if wanted.prices is None else read_table(wanted.prices)
    query = open_query(wanted.paths)
    with query:
        mine = books(query, wanted.mode, period(wanted.year))
        prices = None if wanted.currency is None else Prices(query, wanted.currency, _valued(query, mine, wanted.kind), table)
        book = _Book(mine, prices)
        with _opened(out) as file:
            count = _write(file, wanted.kind, _rows(query, book, wanted.kind))
    _tell(count, book, wanted, out)
    return count


def _market(wanted: Wanted, out: Path | None) -> int:
    """Market data, as files in a folder; the number of rows."""
    if out is None:
        raise ConfigError(f"export {wanted.kind} writes a folder of files: name it with --out")
    for value, option in (
        (wanted.year, "--year"),
        (wanted.mode, "--mode"),
        (wanted.currency, "--currency"),
        (wanted.prices, "--prices"),
    ):
        if value is not None:
            raise ConfigError(f"{option} is of fills, transfers and ledger")
    with open_query(wanted.paths) as query, progress(f"export {wanted.kind}") as advance:
        if len(query.sources) > 1:
            raise ConfigError(f"export {wanted.kind} takes one log at a time")
        written = MARKET[wanted.kind](query, out, advance=advance)
    say(f"{len(written)} files with {sum(rows for _, rows in written)} rows in {out}")
    return sum(rows for _, rows in written)


def _rows(query: Query, book: _Book, kind: str) -> Iterator[Row]:
    if kind == "fills":
        return map(book.fill, fills(query, book.books))
    if kind == "transfers":
        return map(book.transfer, transfers(query, book.books))
    return book.ledger(query)


def _valued(query: Query, mine: Books, kind: str) -> str:
    """SQL: which assets are valued at which times."""
    if kind == "ledger":  # what a start does not find any more is valued when it opens
        rows = f"SELECT asset, greatest(ts, {mine.period.start}) AS ts, cause FROM ({rows_sql(query, mine, 'ledger')}) WHERE ts < {mine.period.end}"
        return f"""WITH rows AS ({rows}) SELECT asset, ts FROM rows
            UNION SELECT a.asset, o.ts FROM (SELECT DISTINCT asset FROM rows) a, (SELECT DISTINCT ts FROM rows WHERE cause = 'opening') o"""
    if kind == "transfers":
        return f"SELECT asset, ts FROM ({transfers_sql(query, mine)})"
    told = fills_sql(query, mine)
    return f"SELECT quote AS asset, ts FROM ({told}) UNION ALL SELECT fee_asset, ts FROM ({told})"


class _Book:
    """Turns rows of the log into lines with their values, and counts what has no price."""

    def __init__(self, mine: Books, prices: Prices | None) -> None:
        self.books, self._prices = mine, prices
        self.unpriced: dict[str, int] = {}

    def fill(self, row: Row) -> Row:
        """A line of `fills`."""
        notional = _EXACT.multiply(row["qty"], row["price"])
        line = {**row, "time": utc(row["ts"]), "mode": self.books.mode, "notional": notional}
        quote = self._priced(row["quote"], notional, row["ts"])
        fee = self._priced(row["fee_asset"], row["fee"], row["ts"])
        line |= {key: quote[key] for key in ("currency", "price_of", "price_time") if key in quote}
        return line | {
            "notional_value": quote.get("value"),
            "fee_value": fee.get("value"),
            "quote_price": quote.get("price"),
            "fee_price": fee.get("price"),
        }

    def transfer(self, row: Row) -> Row:
        """A line of `transfers`."""
        line = {**row, "time": utc(row["ts"]), "mode": self.books.mode}
        line["venue_time"] = "" if row["venue_ts"] is None else utc(row["venue_ts"])
        line |= self._priced(row["asset"], row["qty"], row["ts"])
        return line | {"fee_value": self._priced(row["asset"], row["fee"], row["ts"]).get("value")}

    def ledger(self, query: Query) -> Iterator[Row]:
        """The lines of `ledger`."""
        for one in postings(query, self.books):
            change = one.change
            yield {
                "entry": one.entry,
                "time": utc(change.ts),
                "source": change.source,
                "mode": self.books.mode,
                "book": one.book,
                "asset": change.asset,
                "amount": one.amount,
                "balance": one.balance,
                "cause": change.cause,
                "account": change.account,
                "venue": change.venue,
                "strategy": change.strategy,
                "order": change.order,
                "ids": change.ids,
            } | self._priced(change.asset, one.amount, change.ts)

    def _priced(self, asset: str | None, amount: Decimal | None, ts: int) -> Row:
        """Value and price of an amount, where a currency is asked for and the asset has one."""
        if self._prices is None or asset is None or amount is None:
            return {}
        found = self._prices.at(asset, ts)
        if found is None:
            self.unpriced[asset] = self.unpriced.get(asset, 0) + 1
            return {"currency": self._prices.currency}
        value = _EXACT.multiply(amount, found.value).quantize(_CENT, context=_EXACT)
        return {
            "currency": self._prices.currency,
            "value": value,
            "price": found.value,
            "price_of": found.origin,
            "price_time": utc(found.ts) if found.origin else "",
        }


@contextmanager
def _opened(out: Path | None) -> Iterator[TextIO]:
    """The file to write to; where something fails in between, there is none."""
    if out is None:
        yield sys.stdout
        return
    half = out.with_name(f".{out.name}.part")
    try:
        with half.open("w", newline="", encoding="utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        half.rename(out)
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written: {error.strerror}") from None
    finally:
        half.unlink(missing_ok=True)


def _write(file: TextIO, kind: str, rows: Iterator[Row]) -> int:
    columns = _COLUMNS[kind]
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    count = 0
    with progress(f"export {kind}") as advance:
        for count, row in enumerate(rows, 1):
            writer.writerow([_cell(row.get(column)) for column in columns])
            if count % _TELL == 0:
                advance(count, 0)
    return count


def _cell(value: Any) -> str:
    """A value as text: numbers plain, without trailing zeros; texts so that no spreadsheet takes one for a formula."""
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return plain(value)
    found = str(value)
    return f"'{found}" if isinstance(value, str) and found.startswith(_FORMULA) else found


def _tell(count: int, book: _Book, wanted: Wanted, out: Path | None) -> None:
    """What was written and what has no value, on standard error."""
    mine = book.books
    say(f"{count} lines of {wanted.kind}, {mine.mode}, of {', '.join(mine.sources)}" + (f", in {out}" if out else ""))
    for asset, lines in sorted(book.unpriced.items()):
        say(
            f"no price of {asset} in {wanted.currency} for {lines} amounts: left empty; name a log that has one, or --prices FILE.csv"
        )
