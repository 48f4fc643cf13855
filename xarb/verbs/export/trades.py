"""Fills and transfers, one after the other, with what the venue calls them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from xarb.sql import Query
from xarb.verbs.export.sources import Books, inputs_sql, rows_sql

Row = dict[str, Any]

# In real trading every fill counts that the venue told of an account, whoever sent the order; the same one may be told several times.
_TOLD: Final = """
SELECT DISTINCT ON (source, account, venue, symbol, fill_id) ts_recv AS ts, source, seq, 0 AS n, account, strategy, venue, symbol, "order",
    client_order_id, venue_order_id, fill_id, side, price, qty, fee, fee_asset, liquidity
FROM ({reports}) WHERE event = 'fill' ORDER BY source, account, venue, symbol, fill_id, seq
"""
_SIMULATED: Final = """
SELECT f.ts, f.source, f.after_seq AS seq, f.n, f.account, f.strategy, f.venue, f.symbol, f."order",
    r.client_order_id, r.venue_order_id, f.fill_id, f.side, f.price, f.qty, f.fee, f.fee_asset, f.liquidity
FROM ({fills}) f LEFT JOIN (
    SELECT source, venue, symbol, fill_id, min(client_order_id) AS client_order_id, min(venue_order_id) AS venue_order_id
    FROM ({reports}) WHERE event = 'fill' GROUP BY ALL
) r ON r.source = f.source AND r.venue = f.venue AND r.symbol = f.symbol AND r.fill_id = f.fill_id
"""
_FILLS: Final = """
SELECT t.*, i.base, i.quote, o.bundle, o.leg, o.purpose
FROM ({told}) t
LEFT JOIN (SELECT DISTINCT ON (venue, symbol) venue, symbol, base, quote FROM instruments ORDER BY venue, symbol, seq DESC) i
    ON i.venue = t.venue AND i.symbol = t.symbol
LEFT JOIN ({fills}) o ON o.source = t.source AND o.account = t.account AND o.venue = t.venue AND o.symbol = t.symbol AND o.fill_id = t.fill_id
WHERE t.ts >= {start} AND t.ts < {end} ORDER BY t.ts, t.source, t.seq, t.n
"""
_TRANSFERS: Final = """
SELECT min(ts_recv) AS ts, arg_max(ts_event, seq) AS venue_ts, source, account, venue, asset, arg_max(qty, seq) AS qty, arg_max(fee, seq) AS fee,
    arg_max(network, seq) AS network, transfer_id, arg_max(status, seq) AS status
FROM ({transfers}) GROUP BY source, account, venue, asset, transfer_id, CASE WHEN transfer_id IS NULL THEN seq END
HAVING min(ts_recv) >= {start} AND min(ts_recv) < {end} ORDER BY 1, source, account, venue, asset, transfer_id
"""


def fills(query: Query, books: Books) -> Iterator[Row]:
    """What was bought and sold at exchanges in the period, in order of time.

    Raises:
        LogError: a file is damaged.
    """
    sql = fills_sql(query, books)
    result = query.run(sql)
    for row in result.rows():
        yield dict(zip(result.columns, row, strict=True))


def fills_sql(query: Query, books: Books) -> str:
    """The statement behind `fills`."""
    mine = rows_sql(query, books, "fills")
    if books.mode == "live":
        told = _TOLD.format(reports=inputs_sql(query, books, "reports"))
    else:
        told = _SIMULATED.format(fills=mine, reports=rows_sql(query, books, "sim_reports"))
    return _FILLS.format(told=told, fills=mine, start=books.period.start, end=books.period.end)


def transfers(query: Query, books: Books) -> Iterator[Row]:
    """Deposits and withdrawals that the venue first told of in the period, each once with what it said last.

    Raises:
        LogError: a file is damaged.
    """
    result = query.run(transfers_sql(query, books))
    for row in result.rows():
        yield dict(zip(result.columns, row, strict=True))


def transfers_sql(query: Query, books: Books) -> str:
    """The statement behind `transfers`."""
    return _TRANSFERS.format(transfers=inputs_sql(query, books, "transfers"), start=books.period.start, end=books.period.end)
