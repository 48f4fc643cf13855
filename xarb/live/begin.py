"""The beginning of a start: what the log knows already, and the row and the engine that go on from there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from xarb.assembly import Assembly, sources_of
from xarb.assembly.resolved import Resolved, encode_config, opening_balances
from xarb.carrying import Left, closing_results, with_changes
from xarb.engine.breaker import Broken
from xarb.engine.carried import ForeignFills
from xarb.engine.liverows import KILL, RESET
from xarb.engine.others import OTHERS, Strangers
from xarb.engine.receipts import KINDS as CHAIN_KINDS
from xarb.engine.results import LOSS, Carried
from xarb.engine.volumes import SentVolume
from xarb.errors import Killed, Refused
from xarb.live.books import Books, books_of, refused
from xarb.live.left import as_opening, left_orders
from xarb.log.batching import slow_row
from xarb.log.manifest import Manifest
from xarb.log.reader import LogReader, Selection
from xarb.log.rows import from_table
from xarb.model.columns import TABLES
from xarb.model.instrument import Instrument, instrument_fields
from xarb.model.units import NANOS_PER_S, Money
from xarb.provenance import code_digest
from xarb.starts import (
    LIVE,
    PAPER,
    Balances,
    Span,
    Start,
    as_rows,
    carried_into,
    closing_balances,
    closing_breakers,
    closing_foreign,
    closing_volumes,
    ground_of,
    opening_of,
    spans,
)
from xarb.venues.feeds import AnySource
from xarb.venues.liveorders import Expected
from xarb.wires.rows import Row

_KINDS: Final = {"quotes": "quotes", "deltas": "book_deltas", "books": "books"}  # kinds of rows by channel
FILLS_NS: Final = 600 * NANOS_PER_S  # fills before the end of a log are known so far back; they are asked for a minute back
_CLOCKS_NS: Final = 3_600 * NANOS_PER_S  # the wall may have been set forward while the log was written: so far at most
_FILL_COLUMNS: Final = ("ts_recv", "ts_event", "account", "venue", "symbol", "event", "fill_id")
_FILL: Final = next(column for column in TABLES["reports"].columns if column.name == "event").values.index("fill")
BALANCES: Final = "balances"  # who kills where an exchange has other money than our books
ACCOUNT: Final = "account"  # who kills where another xarb trades on an account of ours
LOSSES: Final = "losses"  # who kills where a strategy lost more than it may
Fill = tuple[str, str, str, str]  # account, venue, symbol, fill id: both sides of a trade between two accounts have its id


class Past(NamedTuple):
    """What an opened log knows: everything of it is sealed.

    Attributes:
        log_id: identity of the log.
        instruments: by number, in their latest form.
        connections: one more than the highest connection number.
        last_seq: the last input.
        span: the last start, None in a log without one.
        closing: what the accounts held at its end, on paper.
        killed: who killed it, while nobody has reset that; else None.
        left: orders of earlier starts whose end is not known.
        fills: (account, venue, symbol, fill id) of reported fills that an exchange may list again: those of the last minutes.
        last_ts: ts_recv of the last input, ns.
        results: what strategies with a limit of loss made so far.
        volumes: what strategies sent on the last day on which they sent anything.
        broken: breakers that are not closed.
        foreign: what others' fills came to on the last day on which any was told.
        books: what the accounts should have, where the last start was of real ones; else None.
        going_on: bundles and flows with which the next start goes on, None without a start.
    """

    log_id: str
    instruments: list[Instrument]
    connections: int
    last_seq: int
    span: Span | None
    closing: dict[tuple[str, str, str], Money]
    killed: str | None
    left: tuple[Expected, ...]
    fills: frozenset[Fill]
    last_ts: int
    results: tuple[Carried, ...]
    volumes: tuple[SentVolume, ...]
    broken: tuple[Broken, ...]
    foreign: tuple[ForeignFills, ...]
    books: Books | None
    going_on: Left | None

    @property
    def next_start(self) -> int:
        """The number of the next start."""
        return 1 if self.span is None else self.span.start.number + 1


class Listening(NamedTuple):
    """What a start will hear.

    Attributes:
        instruments: all that the log knows when it begins, by number.
        kinds_of: by number, which of quotes, books and book_deltas come of each.
        connections: connection numbers lie below this.
    """

    instruments: Sequence[Instrument]
    kinds_of: Sequence[Sequence[str]]
    connections: int


def past_of(folder: Path, sealed: Manifest | None = None) -> Past:
    """What a log knows; `sealed` is its manifest where that was read already.

    Raises:
        LogError: it is damaged.
    """
    with LogReader(folder, found=sealed) as reader:
        found = list(spans(reader))
        span = found[-1] if found else None
        instruments = reader.instruments_at(reader.last_seq + 1)
        going_on = None if span is None else Left(reader, span, until=reader.last_seq)
        return Past(
            log_id=reader.header.log_id,
            instruments=instruments,
            connections=reader.connections,
            last_seq=reader.last_seq,
            span=span,
            closing={} if span is None or span.start.mode == LIVE else closing_balances(reader, span),
            left=() if span is None or span.start.mode == PAPER else left_orders(reader, span),
            fills=_fills(reader),
            last_ts=reader.manifest.last_ts,
            results=() if span is None or going_on is None else closing_results(reader, span, going_on, until=reader.last_seq),
            volumes=() if span is None else closing_volumes(reader, span),
            broken=() if span is None else closing_breakers(reader, span, until=reader.last_seq),
            foreign=() if span is None or span.start.mode != LIVE else closing_foreign(reader, span, until=reader.last_seq),
            killed=_killed(reader, span),
            books=None if span is None or span.start.mode != LIVE else books_of(reader, span, instruments),
            going_on=going_on,
        )


def _killed(reader: LogReader, span: Span | None) -> str | None:
    """Who killed trading, and why where that is said, while nobody has reset it."""
    switch = [row for row in reader.rows("operator") if row["action"] in (KILL, RESET)]
    if switch and switch[-1]["action"] == KILL:
        _, _, why = (switch[-1]["detail"] or "").partition(": ")
        return f"{switch[-1]['actor']}: {why}" if why else str(switch[-1]["actor"])
    if span is None or (switch and switch[-1]["seq"] > span.first):
        return None
    if span.start.mode == LIVE:
        for one in refused(reader, span).values():  # the process died before it could write the kill
            return f"{BALANCES}: {one}"
    for _, row in reader.outputs(kinds=("refusals",), select=span.selection):
        if row["reason"] == LOSS:  # the same
            return f"{LOSSES}: {row['strategy']} lost more than it may"
        if row["reason"] == OTHERS:  # the same
            return f"{Strangers.actor}: {Strangers.of(row)}"
    return None


def _fills(reader: LogReader) -> frozenset[Fill]:
    """Fills that were received, or happened by their exchange's clock, in the time from which fills are asked for anew."""
    since = reader.manifest.last_ts - FILLS_NS
    found: set[Fill] = set()
    for part in reader.tables("reports", _FILL_COLUMNS, Selection(first_ts=since - _CLOCKS_NS)):
        late = np.maximum(part.column("ts_recv").to_numpy(), part.column("ts_event").fill_null(0).to_numpy()) >= since
        mine = part.filter(pa.array(late & (part.column("event").to_numpy() == _FILL)))
        found.update((row["account"], row["venue"], row["symbol"], row["fill_id"]) for row in from_table("reports", mine))
    return frozenset(found)


def check_may_start(past: Past, mode: str) -> None:
    """Whether another start of that mode may follow.

    Raises:
        Killed: trading was killed and nobody reset that.
        Refused: the log's last start was of another mode.
    """
    if past.killed is not None:
        raise Killed(f"trading on this log was killed by {past.killed}; when the reason is gone: xarb kill LOG --reset")
    if past.span is not None and past.span.start.mode != mode:
        raise Refused(f"the log was {past.span.start.mode} trading; {mode} trading needs a log of its own")


def paper_money(resolved: Resolved, past: Past) -> Balances:
    """What the accounts of a start on paper open with: what the start before left, else what the config gives.

    Raises:
        Refused: accounts, or assets of them, are configured that the start before did not have.
    """
    configured = opening_balances(resolved)
    if past.span is None:
        return configured
    new = sorted({key[:2] for key in configured} - {key[:2] for key in past.closing})
    if new:
        account, venue = new[0]
        raise Refused(f"accounts.{account}.{venue}: the start before had no such account; money on paper needs a log of its own")
    for (account, venue, asset), amount in sorted(configured.items()):
        if amount and (account, venue, asset) not in past.closing:
            raise Refused(
                f"accounts.{account}.{venue}.{asset}: the start before had none of it; money on paper needs a log of its own"
            )
    return past.closing


def instruments_after(instruments: Sequence[Instrument], prelude: Mapping[str, Sequence[Row]]) -> list[Instrument]:
    """The instruments of a log by number, once the rows of `prelude` are in it."""
    found = {(one.venue, one.symbol): one for one in instruments}
    for row in prelude.get("instruments", ()):
        one = Instrument(**instrument_fields(slow_row("instruments", row).values))
        found[one.venue, one.symbol] = one
    return list(found.values())


def kinds_of(instruments: Sequence[Instrument], sources: Sequence[AnySource]) -> list[tuple[str, ...]]:
    """Which kinds of rows that move a book come of each instrument."""
    by_venue = {source.venue: tuple(_KINDS[channel] for channel in source.subscribed() if channel in _KINDS) for source in sources}
    there = {(source.venue, symbol) for source in sources for symbol in source.symbols}
    return [by_venue[one.venue] if (one.venue, one.symbol) in there else () for one in instruments]


class Heard(NamedTuple):
    """What was heard between the opening of a log and the row of a start: the rows, and what exchanges said of money.

    Attributes:
        rows: by kind, in their order; all that the log gets before the row of the start.
        balances: what the accounts open with.
        others: what others' orders have locked beside that.
    """

    rows: Mapping[str, Sequence[Row]]
    balances: Balances
    others: Balances = MappingProxyType({})


def begin(resolved: Resolved, past: Past, listening: Listening, heard: Heard, *, mode: str) -> tuple[Start, Assembly]:
    """The next start, disarmed, and its engine.

    Args:
        resolved: the config.
        past: what the log knew when it was opened.
        listening: what it will hear.
        heard: what came before it.
        mode: PAPER or LIVE.

    Raises:
        ConfigError: config and instruments do not fit together.
        LogError: nobody can say what a fill of an earlier start's order, or a receipt, changed.
    """
    going_on, results = past.going_on, past.results
    if going_on is not None:
        rows = [slow_row(kind, row) for kind in ("reports", *CHAIN_KINDS) for row in heard.rows.get(kind, ())]
        for slow in sorted(rows, key=attrgetter("seq")):
            going_on.take(slow)
        results = with_changes(results, going_on.later)
    sources = sources_of(resolved, listening.instruments, listening.kinds_of)
    start = Start(
        number=past.next_start,
        log_id=past.log_id,
        code_digest=code_digest(),
        config=encode_config(resolved),
        seed=resolved.run.seed,
        mode=mode,
        opening=msgspec.structs.replace(
            opening_of(heard.balances, listening.instruments, sources, armed=False),
            left=as_opening(past.left),
            results=carried_into(resolved, results),
            volumes=past.volumes,
            broken=past.broken,
            foreign=past.foreign,
            known_seq=past.last_seq,
            others=as_rows(heard.others),
            told_seq=max((row[0] for rows in heard.rows.values() for row in rows), default=past.last_seq),
            bundles=() if going_on is None else going_on.bundles,
            flows=() if going_on is None else going_on.flows,
            cycles=() if going_on is None else going_on.cycles,
            transactions=() if going_on is None else going_on.transactions,
        ),
        applied_seq=None if past.span is None else past.span.last,
    )
    return start, Assembly(resolved, ground_of(start, listening.instruments, listening.connections))
