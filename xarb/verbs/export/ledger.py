"""The ledger in double entry: every change of a balance with what stands against it, so that each entry adds up to zero in every asset."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Context, Decimal
from typing import Final, NamedTuple

from xarb.errors import LogError
from xarb.sql import Query
from xarb.verbs.export.sources import Books, rows_sql

Place = tuple[str, str, str]  # account, venue, asset

AGAINST: Final = {
    "opening": "Equity:Opening",
    "trade": "Equity:Trading",
    "fee": "Expenses:Fees",
    "transfer": "Equity:Transfers",
    "residue": "Expenses:Rounding",
    "adjustment": "Equity:Adjustments",
    "cycle": "Income:Cycles",
    "gas": "Expenses:Gas",
    "swap": "Equity:Trading",
    "foreign": "Equity:Others",
}
"""What stands against a change of a balance, by its cause. Trading is where one asset became another: its value is what trading brought."""
_BETWEEN: Final = "Equity:Between"  # what changed while no start ran
_BROUGHT: Final = "Equity:Opening"
_EXACT: Final = Context(prec=60)
_FILLS: Final = """
SELECT source, after_seq, "order", string_agg(fill_id, ' ' ORDER BY n) AS ids FROM ({fills}) WHERE fill_id IS NOT NULL GROUP BY ALL
UNION ALL
SELECT source, after_seq, "order", string_agg(DISTINCT tx_hash, ' ') FROM ({states}) WHERE tx_hash IS NOT NULL GROUP BY ALL
"""
_ROWS: Final = """
SELECT l.source, l.after_seq, l.n, l.ts, l.account, l.strategy, l.venue, l.asset, l.delta, l.balance, l.cause, l."order", f.ids
FROM ({ledger}) l LEFT JOIN ({fills}) f ON f.source = l.source AND f.after_seq = l.after_seq AND f."order" = l."order"
WHERE l.ts < {end} ORDER BY l.ts, l.source, l.after_seq, l.n
"""


class Change(NamedTuple):
    """A change of a balance: a row of `ledger`, or what a start found different from what the one before it left."""

    source: str
    after_seq: int
    ts: int
    account: str
    strategy: str
    venue: str
    asset: str
    delta: Decimal
    balance: Decimal
    cause: str
    order: int | None
    ids: str

    @property
    def place(self) -> Place:
        """Where the balance is."""
        return self.account, self.venue, self.asset


class Posting(NamedTuple):
    """One line of an entry. `balance` is that of the place after it, None for what stands against it."""

    entry: int
    change: Change
    book: str
    amount: Decimal
    balance: Decimal | None


def postings(query: Query, books: Books) -> Iterator[Posting]:
    """The lines of the period's entries, in order of time; what was there before it is brought forward in the first one.

    Raises:
        LogError: the ledger does not add up: a balance is not the one before it and its change.
    """
    entry, before, brought = 0, None, dict[Place, Change]()
    for change in _continued(_rows(query, books)):
        if change.ts < books.period.start:
            brought[change.place] = change
            continue
        if brought:
            yield from _bring_forward(brought, books)
            entry, brought = 1, {}
        this = _belongs(change)
        if this != before:
            entry, before = entry + 1, this
        yield from _both_sides(entry, change)
    yield from _bring_forward(brought, books)


def _rows(query: Query, books: Books) -> Iterator[Change]:
    fills = _FILLS.format(fills=rows_sql(query, books, "fills"), states=rows_sql(query, books, "cycle_states"))
    sql = _ROWS.format(ledger=rows_sql(query, books, "ledger"), fills=fills, end=books.period.end)
    for name, after_seq, _, *rest, ids in query.run(sql).rows():
        yield Change._make((name, after_seq, *rest, ids or ""))


def _continued(rows: Iterable[Change]) -> Iterator[Change]:
    """The rows with what each start opened with as the change since the one before it, which may be nothing."""
    balances: dict[Place, Decimal] = {}
    opening: list[Change] = []
    for row in rows:
        if opening and (row.cause != "opening" or _belongs(row) != _belongs(opening[0])):
            yield from _opened(opening, balances)
            opening = []
        if row.cause == "opening":
            opening.append(row)
            continue
        if balances.get(row.place, Decimal(0)) + row.delta != row.balance:
            raise LogError(
                f"{row.source}: the ledger does not add up at after_seq {row.after_seq}: {row.asset} of {row.account} at {row.venue} was "
                f"{balances.get(row.place, Decimal(0)):f}, changed by {row.delta:f}, and is {row.balance:f}"
            )
        balances[row.place] = row.balance
        yield row
    yield from _opened(opening, balances)


def _opened(opening: list[Change], balances: dict[Place, Decimal]) -> Iterator[Change]:
    """One start's opening balances as changes; what its accounts had and do not name any more is gone."""
    if not opening:
        return
    named = {row.place for row in opening}
    mine = {place[:2] for place in named}
    gone = [place for place, held in balances.items() if held and place[:2] in mine and place not in named]
    first = opening[0]
    zeros = [
        first._replace(account=account, venue=venue, asset=asset, delta=Decimal(0), balance=Decimal(0))
        for account, venue, asset in sorted(gone)
    ]
    for row in (*opening, *zeros):
        known = balances.get(row.place)
        balances[row.place] = row.balance
        if known is None:
            yield row
        elif known != row.balance:
            yield row._replace(delta=row.balance - known, cause="between")


def _belongs(change: Change) -> tuple[object, ...]:
    """What one entry holds: all that an order's fills of one moment changed, what a start opened with, else one change."""
    if change.order is not None:
        return change.source, change.after_seq, change.order
    if change.cause in {"opening", "between"}:
        return change.source, change.after_seq, "opening"
    return change.source, change.after_seq, change.place, change.cause, change.balance


def _bring_forward(brought: dict[Place, Change], books: Books) -> Iterator[Posting]:
    for place in sorted(brought):
        last = brought[place]
        if last.balance:
            yield from _both_sides(
                1, last._replace(ts=books.period.start, delta=last.balance, cause="brought", order=None, strategy="", ids="")
            )


def _both_sides(entry: int, change: Change) -> Iterator[Posting]:
    place = f"Assets:{change.account}:{change.venue}:{change.asset}"
    against = {"between": _BETWEEN, "brought": _BROUGHT}.get(change.cause) or AGAINST[change.cause]
    yield Posting(entry, change, place, change.delta, change.balance)
    yield Posting(entry, change, against, _EXACT.minus(change.delta), None)
