"""What happened over time, counted by DuckDB: opportunities and refusals, latencies, states of feeds, gaps, balances."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from xarb.inquiry.decided import Decided
from xarb.model.units import NANOS_PER_S
from xarb.sql.pick import read

BUCKETS: Final = 240  # bars of a plot at most
CELLS: Final = 1_000  # columns of the band of feeds
FEEDS: Final = 40  # feeds in it
GAPS: Final = 2_000  # marks of gaps in it
LINES: Final = 24  # balances in the plot of inventory
_STEPS_S: Final = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 21_600, 43_200, 86_400, 604_800)
# The worst state last: what a column of the band shows that saw several.
STATES: Final = ("live", "low score", "drifted", "stale", "outlying", "frozen", "crossed", "gapped", "down")
BINS: Final = 100  # of a decade of latencies: a quantile is at most 2.4 % above the true one
MARKET: Final = ("quotes", "books", "book_deltas", "trades")
_OUR_WORDS: Final = ("sent", "not_sent", "cancel_sent", "cancel_failed")  # reports that no venue made, or that answer a cancel
_TOLD_GAPS: Final = ("gap", "lost", "closed")


class Buckets(NamedTuple):
    """Equal stretches of time from `begins` on, ns, aligned to whole multiples of their width since 1970 UTC."""

    begins: int
    width: int

    def start(self, number: int) -> int:
        """When one begins, ns."""
        return self.begins + number * self.width

    def of(self, ts: int) -> int:
        """In which one a time lies."""
        return (ts - self.begins) // self.width

    def sql(self, column: str) -> str:
        """The same in SQL."""
        return f"({column} - {self.begins}) // {self.width}"


class Counted(NamedTuple):
    """How often something was, by bucket."""

    what: str
    counts: dict[int, int]

    @property
    def total(self) -> int:
        """All together."""
        return sum(self.counts.values())


class Latency(NamedTuple):
    """A distribution of durations: of what, where, how many, ns of the largest, how many were not above zero, and counts by bin."""

    what: str
    where: str
    number: int
    largest: int
    not_above_zero: int
    bins: dict[int, int]  # by floor(BINS * log10(ns))

    def quantile(self, share: float) -> int | None:
        """The upper end of the bin in which it lies, ns; None without any; 0 where it is not above zero."""
        if not self.number:
            return None
        left = share * self.number - self.not_above_zero
        if left <= 0:
            return 0
        for number in sorted(self.bins):
            left -= self.bins[number]
            if left <= 0:
                return min(self.largest, round(10 ** ((number + 1) / BINS)))
        return self.largest


class Feed(NamedTuple):
    """One feed: the worst state by cell of the band, and for how much of the time it was tradable."""

    venue: str
    symbol: str
    cells: list[str]
    tradable_ns: int


class Balance(NamedTuple):
    """One balance: what it was at first, and at the end of each bucket in which it changed; money."""

    account: str
    venue: str
    asset: str
    opening: int
    by_bucket: dict[int, int]


def buckets_of(begins: int, ends: int, *, most: int = BUCKETS) -> Buckets:
    """The narrowest round buckets of which there are not more than `most`."""
    width = next((step for step in _STEPS_S if (ends - begins) // (step * NANOS_PER_S) < most), None)
    width_ns = (_STEPS_S[-1] * -(-(ends - begins) // (_STEPS_S[-1] * NANOS_PER_S * most)) if width is None else width) * NANOS_PER_S
    return Buckets(begins - begins % width_ns, width_ns)


def bounds(decided: Decided) -> str:
    """The condition in SQL that outputs of the run or start meet."""
    return " AND ".join(f"{column} {operator} {value}" for column, operator, value in decided.bounds) or "true"


def _input_bounds(decided: Decided, begins: int, ends: int) -> str:
    span = decided.span
    return f"ts_recv BETWEEN {begins} AND {ends}" if span is None else f"seq BETWEEN {span.first} AND {span.last}"


def opportunities(decided: Decided, buckets: Buckets) -> list[Counted]:
    """Opened, taken, and refused by reason, the most frequent reason first.

    Raises:
        LogError: a file is damaged.
    """
    sql = f"""SELECT CASE WHEN phase = 'opened' THEN 0 WHEN verdict = 'taken' THEN 1 ELSE 2 END AS rank,
        CASE WHEN phase = 'opened' THEN 'opened' WHEN verdict = 'taken' THEN 'taken' ELSE coalesce(reason, '(no reason)') END AS what,
        {buckets.sql("ts")} AS bucket, count(*) FROM opportunities WHERE phase IN ('opened', 'decided') AND {bounds(decided)}
        GROUP BY ALL ORDER BY ALL"""
    found: dict[tuple[int, str], dict[int, int]] = {(0, "opened"): {}, (1, "taken"): {}}
    for rank, what, bucket, count in read(decided.outputs, sql):
        found.setdefault((rank, what), {})[bucket] = count
    counted = [(rank, Counted(what, counts)) for (rank, what), counts in found.items()]
    return [one for _, one in sorted(counted, key=lambda item: (item[0], -item[1].total, item[1].what))]


def latencies(decided: Decided, begins: int, ends: int) -> list[Latency]:
    """Distributions: of market data, orders, transactions, and of how long opportunities lived.

    Raises:
        LogError: a file is damaged.
    """
    where = bounds(decided)
    lags = " UNION ALL ".join(
        f"SELECT venue, ts_recv - ts_event AS ns FROM {kind} WHERE ts_event IS NOT NULL AND {_input_bounds(decided, begins, ends)}"
        for kind in MARKET
    )
    time, mine = ("ts_recv", f"start = {decided.number}") if decided.reports == "reports" else ("ts", where)
    ours = ", ".join(f"'{one}'" for one in _OUR_WORDS)
    sent = f"""SELECT "order", min(ts) AS ts, any_value(venue) AS venue FROM commands WHERE kind = 'submit' AND {where} GROUP BY "order" """
    heard = (
        f"""SELECT "order", min({time}) AS heard FROM {decided.reports} WHERE event NOT IN ({ours}) AND {mine} GROUP BY "order" """
    )
    filled = f"""SELECT "order", ts AS filled FROM fills WHERE {where}"""
    cycles = f"""SELECT "order", min(ts) FILTER (state = 'pending') AS ts, min(ts) FILTER (state IN ('succeeded', 'reverted')) AS held,
        any_value(venue) AS venue FROM cycle_states WHERE {where} GROUP BY "order" """
    outputs = (
        ("order to first word", f'SELECT venue, heard - ts AS ns FROM ({sent}) JOIN ({heard}) USING ("order")'),
        ("order to fill", f'SELECT venue, filled - ts AS ns FROM ({sent}) JOIN ({filled}) USING ("order")'),
        ("transaction to receipt", f"SELECT venue, held - ts AS ns FROM ({cycles}) WHERE ns IS NOT NULL"),
        ("life of opportunities", f"SELECT strategy AS venue, life_ns AS ns FROM opportunities WHERE phase = 'closed' AND {where}"),
    )
    found = list(_distributions("venue to us", read(decided.inputs, _binned(lags))))
    for what, sql in outputs:
        found += _distributions(what, read(decided.outputs, _binned(sql)))
    return found


def _binned(sql: str) -> str:
    return f"""SELECT venue, CASE WHEN ns > 0 THEN CAST(floor({BINS} * log10(ns)) AS INTEGER) END AS bin, count(*), max(ns)
        FROM ({sql}) GROUP BY ALL ORDER BY ALL"""


def _distributions(what: str, rows: Iterator[tuple[Any, ...]]) -> Iterator[Latency]:
    by_place: dict[str, list[tuple[int | None, int, int]]] = {}
    for where, number, count, largest in rows:
        by_place.setdefault(where, []).append((number, count, largest))
    for where, parts in by_place.items():
        yield Latency(
            what=what,
            where=where,
            number=sum(count for _, count, _ in parts),
            largest=max(largest for _, _, largest in parts),
            not_above_zero=sum(count for number, count, _ in parts if number is None),
            bins={number: count for number, count, _ in parts if number is not None},
        )


def feeds(decided: Decided, begins: int, ends: int) -> list[Feed]:
    """Every feed of which a state was told, in order of venue and symbol; until the first one a feed is down.

    Raises:
        LogError: a file is damaged.
    """
    sql = f"""SELECT venue, symbol, ts, state, tradable FROM feed_states WHERE {bounds(decided)} ORDER BY venue, symbol, after_seq, n"""
    told: dict[tuple[str, str], list[tuple[int, str, bool]]] = {}
    for venue, symbol, ts, state, tradable in read(decided.outputs, sql):
        told.setdefault((venue, symbol), [(begins, "down", False)]).append(
            (max(ts, begins), _shown(state, is_tradable=tradable), tradable)
        )
    return [Feed(*of, _cells(states, begins, ends), _tradable(states, ends)) for of, states in told.items()]


def _shown(state: str, *, is_tradable: bool) -> str:
    return "low score" if state == "live" and not is_tradable else state


def _cells(states: list[tuple[int, str, bool]], begins: int, ends: int) -> list[str]:
    """The worst state in each cell."""
    width = max(1, -(-(ends - begins + 1) // CELLS))
    cells = [0] * ((ends - begins) // width + 1)
    until = [*(ts for ts, _, _ in states[1:]), ends + 1]
    for (ts, state, _), end in zip(states, until, strict=True):
        if end > ts:
            rank = STATES.index(state)
            for at in range((ts - begins) // width, (end - 1 - begins) // width + 1):
                cells[at] = max(cells[at], rank)
    return [STATES[rank] for rank in cells]


def _tradable(states: list[tuple[int, str, bool]], ends: int) -> int:
    until = [*(ts for ts, _, _ in states[1:]), ends]
    return sum(end - ts for (ts, _, tradable), end in zip(states, until, strict=True) if tradable)


def gaps(decided: Decided, begins: int, ends: int) -> list[tuple[int, str, str | None, str]]:
    """Connections lost and closed, and gaps in them: ts, venue, symbol (None: all of the connection), event.

    No two of a kind in one cell of the band; one more than GAPS where there are more than these.

    Raises:
        LogError: a file is damaged.
    """
    width = max(1, (ends - begins) // CELLS)
    events = ", ".join(f"'{one}'" for one in _TOLD_GAPS)
    sql = f"""SELECT min(ts_recv), venue, symbol, event FROM connections WHERE event IN ({events}) AND ts_recv >= {begins}
        AND {_input_bounds(decided, begins, ends)} GROUP BY (ts_recv - {begins}) // {width}, venue, symbol, event ORDER BY ALL LIMIT {GAPS + 1}"""
    return [(ts, venue, symbol, event) for ts, venue, symbol, event in read(decided.inputs, sql)]


def balances(decided: Decided, opening: Mapping[tuple[str, str, str], int], buckets: Buckets) -> list[Balance]:
    """Every balance that changed, in order of account, venue and asset.

    Raises:
        LogError: a file is damaged.
    """
    sql = f"""SELECT account, venue, asset, {buckets.sql("ts")} AS bucket, arg_max(balance, (after_seq, n)) FROM ledger
        WHERE cause <> 'opening' AND {bounds(decided)} GROUP BY ALL ORDER BY ALL"""
    found: dict[tuple[str, str, str], dict[int, int]] = {}
    for account, venue, asset, bucket, balance in read(decided.outputs, sql):
        found.setdefault((account, venue, asset), {})[bucket] = balance
    return [Balance(*of, opening.get(of, 0), by_bucket) for of, by_bucket in found.items()]
