"""What a kill does at exchanges and on chains: what may live by the word of a log, in whatever state it is, and what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

from xarb.config import Experiment
from xarb.errors import LogError, Rejected, Retryable
from xarb.live.begin import Past
from xarb.live.books import Books
from xarb.live.chaincancels import cancel_on_chains, wallets_of
from xarb.live.exchanges import Owner, accounts_of, keys_of, spot_symbols
from xarb.live.left import left_orders
from xarb.log.ends import ENDS
from xarb.log.manifest import header_of
from xarb.log.openreader import OpenReader
from xarb.log.reader import LogReader
from xarb.model.units import NANOS_PER_MS
from xarb.process import run_loop
from xarb.sources import exchanges_of
from xarb.starts import LIVE, spans
from xarb.venues.account import Account
from xarb.venues.keys import Keys
from xarb.venues.killing import Killed, Suspects, kill
from xarb.venues.liveorders import Expected
from xarb.venues.wallets import Wallet

HEADS: Final = (
    "account",
    "venue",
    "canceled",
    "not proven",
    "of others, left alone",
    "failures",
    "other ends",
    "has more than the log says",
)
_OPEN_S: Final = (0.0, 0.5, 1.0, 2.0)  # pauses before an account that does not answer is opened
_OPEN_ALL_S: Final = 60.0
_BEFORE_MS: Final = 60_000  # a fill of an order that is not found is looked for from so long before the log's last row


class Whose(NamedTuple):
    """Whose orders are canceled.

    Attributes:
        log_id: the log's.
        symbols: by venue.
        orders: those whose end the log does not know.
        transactions: rows of `transactions`, in order.
        since_ms: Unix ms from which fills may be of them.
        unread: why the log does not say which orders those are; None where it does.
        trades: whether the log's last start goes on, as far as the log says.
        is_real: whether they are at exchanges.
        books: what the accounts should have; None where the log does not say, or its process may have written more.
        last_ts: of the log, ns.
    """

    log_id: str
    symbols: Mapping[str, Sequence[str]]
    orders: tuple[Expected, ...] = ()
    transactions: Sequence[Mapping[str, Any]] = ()
    since_ms: int = 0
    unread: str | None = None
    trades: bool = True
    is_real: bool = True
    books: Books | None = None
    last_ts: int = 0


class Means(NamedTuple):
    """With what it is canceled: keys by account and venue, wallets by chain."""

    keys: Mapping[Owner, Keys]
    wallets: Mapping[str, Wallet]


def means_of(experiment: Experiment) -> Means:
    """Those of a config.

    Raises:
        ConfigError: some are not there, or cannot be opened.
    """
    return Means(keys_of(experiment, exchanges_of(experiment)), wallets_of(experiment))


def whose_of(past: Past, transactions: Sequence[Mapping[str, Any]]) -> Whose:
    """The same of a log that nobody writes, with its rows of transactions."""
    since_ms = _since_ms(past.last_ts)
    if past.books is not None:
        past.books.know(past.fills)
    symbols = spot_symbols(past.instruments)
    return Whose(past.log_id, symbols, past.left, transactions, since_ms, books=past.books, last_ts=past.last_ts)


def _since_ms(last_ts: int) -> int:
    return max(last_ts // NANOS_PER_MS - _BEFORE_MS, 0)


def whose_by_what_is_sound(folder: Path, experiment: Experiment, why: Exception) -> Whose:
    """The same of a damaged log: its header names it; symbols are those of the config, and of sealed instruments where they can be read.

    Raises:
        LogError: the header is damaged too, so that nothing says which orders are the log's.
    """
    try:
        with LogReader(folder) as reader:
            sealed, sent = spot_symbols(reader.instruments), list(reader.rows("transactions"))
    except LogError:  # what is damaged is said by the caller
        sealed, sent = {}, []
    symbols = _with_those_of(experiment, sealed)
    unread = f"the log does not say which orders may live: {why}"
    return Whose(header_of(folder).log_id, symbols, transactions=sent, unread=unread)


def _with_those_of(experiment: Experiment, known: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Symbols by venue: those of the config and others."""
    symbols = {source.venue: [one for one in source.symbols if ":" not in one] for source in exchanges_of(experiment)}
    for venue, mine in known.items():
        symbols[venue] = list(dict.fromkeys([*symbols.get(venue, ()), *mine]))
    return symbols


def _whose_of_hung(folder: Path, experiment: Experiment) -> Whose:
    """The same of a log whose process is stopped, with what its journal holds.

    Raises:
        LogError: the header is damaged, so that nothing says which orders are the log's.
    """
    try:
        with OpenReader(folder) as reader:
            found = list(spans(reader))
            span = found[-1] if found else None
            has_ended = span is None or any(row["action"] in ENDS and row["seq"] > span.first for row in reader.rows("operator"))
            symbols = _with_those_of(experiment, spot_symbols(reader.instruments))
            orders = () if span is None else left_orders(reader, span)
            is_real = span is None or span.start.mode == LIVE
            sent, since_ms = list(reader.rows("transactions")), _since_ms(reader.last_ts)
            return Whose(reader.header.log_id, symbols, orders, sent, since_ms, trades=not has_ended, is_real=is_real)
    except LogError as error:
        return whose_by_what_is_sound(folder, experiment, error)


class Canceled(NamedTuple):
    """What was done at exchanges and on chains for a process that hangs.

    Attributes:
        rows: of `HEADS`, for each account; none where no order is real.
        unproven: in words.
        trades: whether the process trades, as far as its log says.
    """

    rows: list[tuple[str, ...]]
    unproven: str
    trades: bool

    def __str__(self) -> str:
        """In words."""
        if not self.rows:
            return "on paper: nothing is to be canceled"
        done = "; ".join(f"{row[0]} at {row[1]}: canceled {row[2]}, other ends {row[6]}, failures {row[5]}" for row in self.rows)
        return done + (f"; NOT PROVEN: {self.unproven}" if self.unproven else "; nothing else is open")


def cancel_hung(folder: Path, experiment: Experiment, means: Means | None = None) -> Canceled:
    """Cancel what the process that trades on a log has open, while it is stopped; `means` as in `cancel`.

    Raises:
        LogError: the log's header is damaged, so that nothing says which orders are its.
    """
    whose = _whose_of_hung(folder, experiment)
    rows = cancel(folder, experiment, whose, means) if whose.is_real else []
    return Canceled(rows, unproven(rows), whose.trades)


def unproven(rows: Sequence[tuple[str, ...]]) -> str:
    """What rows of `HEADS` do not prove, in words; empty where all is proven."""
    return "; ".join(f"{row[0]} at {row[1]}: {row[3]}" for row in rows if row[3] != "-")


def done(rows: Sequence[tuple[str, ...]]) -> str:
    """What was canceled, in words, and what balances showed."""
    return "; ".join(f"{row[0]} at {row[1]}: {row[2]}{_money(row)}" for row in rows) or "-"


def _money(row: tuple[str, ...]) -> str:
    """What a row of `HEADS` says of money that the log does not know of."""
    return "" if row[7] == "-" or row[7].startswith("not compared") else f" (has more than the log says: {row[7]})"


def cancel(folder: Path, experiment: Experiment, whose: Whose, means: Means | None = None) -> list[tuple[str, ...]]:
    """A row of `HEADS` for each account and chain, and for those that the config does not have.

    What was sent to chains stands in a file in `folder` afterwards (`chaincancels.take_in`). `means`: None where they are not opened yet.
    """
    opened = means or means_of(experiment)

    async def everywhere() -> list[tuple[str, ...]]:
        at_exchanges, on_chains = await asyncio.gather(
            _kill_everywhere(experiment, whose, opened.keys),
            cancel_on_chains(experiment, whose.transactions, opened.wallets, folder=folder, unread=whose.unread),
        )
        return at_exchanges + on_chains

    return run_loop(everywhere())


async def _kill_everywhere(experiment: Experiment, whose: Whose, keys: Mapping[Owner, Keys]) -> list[tuple[str, ...]]:
    # without symbols: one that is listed no more keeps no account from opening
    found = accounts_of(experiment, exchanges_of(experiment), {}, keys=keys)
    places = [(account, venue) for venue, accounts in found.items() for account in accounts]
    async with AsyncExitStack() as stack:
        for account, _ in places:
            stack.push_async_callback(account.close)
        works = (_kill_at(account, venue, whose) for account, venue in places)
        found_there = await asyncio.gather(*works, return_exceptions=True)
        rows = [_row(*place, one) for place, one in zip(places, found_there, strict=True)]
    known = {(account.label, venue) for account, venue in places}
    strange = [one for one in whose.orders if (one.account, one.venue) not in known]
    for label, venue in dict.fromkeys((one.account, one.venue) for one in strange):
        names = ", ".join(
            f"start {one.name.start} order {one.name.order}" for one in strange if (one.account, one.venue) == (label, venue)
        )
        rows.append((label, venue, "-", f"{names}: {experiment.origin} has no such account", "-", "-", "-", "not compared"))
    return rows


def _row(account: Account, venue: str, found: tuple[str, ...] | BaseException) -> tuple[str, ...]:
    """What was done at an account; whatever else was raised there, even by a bug of ours, keeps no other from being dealt with."""
    if isinstance(found, tuple):
        return found
    if not isinstance(found, Exception):
        raise found
    return (
        account.label,
        venue,
        "-",
        f"not known: {account.redact(f'{type(found).__name__}: {found}')}",
        "-",
        "-",
        "-",
        "not compared",
    )


async def _kill_at(account: Account, venue: str, whose: Whose) -> tuple[str, ...]:
    orders = tuple(one for one in whose.orders if (one.account, one.venue) == (account.label, venue))
    suspects = Suspects(
        log_id=whose.log_id,
        symbols=tuple(whose.symbols.get(venue, ())),
        orders=orders,
        since_ms=whose.since_ms,
        venue=venue,
        ledger=whose.books,
        ended_at=whose.last_ts,
    )
    done = Killed(canceled=(), ended=(), unproven=(), foreign=0, failures=(), differs="not compared")
    unread = [] if whose.unread is None else [whose.unread]
    try:
        await _opened(account)
        done = await kill(account, suspects)
    except (Retryable, Rejected) as error:  # the others are dealt with all the same
        unread.append(f"not known: {error}")
    proven = (", ".join(done.canceled), "; ".join([*done.unproven, *unread]), f"{done.foreign}")
    words = (*proven, "; ".join(done.failures), ", ".join(done.ended), done.differs)
    return (account.label, venue, *(word or "-" for word in words))


async def _opened(account: Account) -> None:
    """Open an account, however often that takes within reason.

    Raises:
        Retryable, Rejected: the exchange did not answer, or refused.
    """
    try:
        async with asyncio.timeout(_OPEN_ALL_S):  # an exchange may ban us for long
            for again, pause_s in zip((True, True, True, False), _OPEN_S, strict=True):
                await asyncio.sleep(pause_s)
                try:
                    await account.open()
                except Retryable:
                    if not again:
                        raise
                else:
                    return
    except TimeoutError:
        raise Retryable(f"it did not let us in within {_OPEN_ALL_S:g} s", reason="timeout") from None
