"""Cancels every order of a log that may live at one account, without engine or private stream, and proves that none is left.

A list of open orders may be stale, or lack an order that is on its way, so that none proves anything alone. An order has ended when the
exchange says so by its client id: canceled, filled, expired or refused. One that it does not know never arrived once look-ups and cancels by its
id found nothing `MISSES` times over the settle time, no fill is of it, and the balance, where the log says what it should be, shows none (`absence`). A symbol is clear when `CLEAR` lists in a row over that time name no order of the log but such
as have ended. No look begins later than `PATIENCE_S` and four settle times after the first one ended, and none lasts beyond `LONGEST_S` and as much
in all; what is not proven by then is said.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Iterable, Iterator, Sequence
from typing import Final

import msgspec

from xarb.errors import OutcomeUnknown, Rejected, Retryable, VenueError
from xarb.model.units import MONEY_SCALE, NANOS_PER_MS, NANOS_PER_S, format_decimal
from xarb.venues.absence import MISSES, OLD_NS, doubt
from xarb.venues.account import Account
from xarb.venues.accountdesk import OWNERS
from xarb.venues.comparing import Comparison, Ledger, Since, in_words
from xarb.venues.liveorders import Expected
from xarb.venues.orderids import ClientIds
from xarb.venues.passage import Passage
from xarb.venues.replies import OrderSaid, TradeSaid

PAUSES_S: Final = (0.0, 0.5, 0.5, 1.0, 2.0)  # before the looks; the last repeats
PATIENCE_S: Final = 12.0
LONGEST_S: Final = 180.0  # a look at 200 symbols of an exchange that answers nothing takes some two minutes
CLEAR: Final = 3
AT_ONCE: Final = 8  # requests
NEVER: Final = "never arrived"
COMPARE_S: Final = 30.0  # and the settle time, for the comparison of balances
UNCOMPARED: Final = "not compared: nobody knows what the account should have"


class Suspects(msgspec.Struct, frozen=True, kw_only=True):
    """What a log says of one account at one venue.

    log_id: whose orders these are. symbols: on which there may be some. orders: those whose end the log does not know. since_ms: exchange
    time (Unix ms) from which a fill may be of one that is not found. venue, ledger: where that is, and what the account should have by the log,
    None where it does not say. ended_at: when the log ended, Unix ns: orders of one that is old are judged without the balance.
    """

    log_id: str
    symbols: tuple[str, ...]
    orders: tuple[Expected, ...] = ()
    since_ms: int = 0
    venue: str = ""
    ledger: Ledger | None = None
    ended_at: int = 0


class Killed(msgspec.Struct, frozen=True, kw_only=True):
    """What was done and proven.

    canceled: client ids of orders that ended by a cancel. ended: how the others that were looked up ended, "ID filled". unproven: orders
    that may live and symbols on which there may be some, each with the reason. foreign: open orders of others, left alone. failures:
    requests that failed on the way, and symbols that are gone. differs: what the account has more (negative: less) than the log and what was told
    since say, in words, or why that is not known; empty: nothing.
    """

    canceled: tuple[str, ...]
    ended: tuple[str, ...]
    unproven: tuple[str, ...]
    foreign: int
    failures: tuple[str, ...]
    differs: str = UNCOMPARED


async def kill(account: Account, suspects: Suspects) -> Killed:
    """Cancel and look until everything is proven, or the time for it is over; the account is open."""
    hunt = _Hunt(account, suspects)
    until: int | None = None
    more_s = 4 * account.terms.settle_ms / 1000
    with contextlib.suppress(TimeoutError):  # a look may wait for an exchange that bans us for long; what is known is said
        async with asyncio.timeout(LONGEST_S + more_s):
            for pause_s in _pauses():
                if hunt.is_over or (until is not None and account.now() + pause_s * NANOS_PER_S > until):
                    break
                await asyncio.sleep(pause_s)
                await hunt.look()
                until = until or account.now() + int((PATIENCE_S + more_s) * NANOS_PER_S)
    return msgspec.structs.replace(hunt.result(), differs=await hunt.compare())


def _pauses() -> Iterator[float]:
    yield from PAUSES_S
    while True:
        yield PAUSES_S[-1]


class _Order:
    """An order of the log. `end` is how it ended, None while it may live; `why` is what the last look said of it."""

    def __init__(self, symbol: str, client_id: str) -> None:
        self.symbol, self.client_id = symbol, client_id
        self.end: str | None = None
        self.is_canceled = False
        self.why = "not looked up"
        self.misses = self.missed_at = 0


class _List:
    """Lists of the open orders on a symbol.

    clears: so many came in a row without an order that may live, the first at `since`, the last at `last`, ns. why: what is not proven.
    """

    def __init__(self, settle_ns: int) -> None:
        self._settle_ns = settle_ns
        self.clears = self.since = self.last = 0
        self.why = "not asked for"
        self.foreign = 0

    @property
    def is_clear(self) -> bool:
        """Whether that was so often and long enough."""
        return self.clears >= CLEAR and self.last - self.since >= self._settle_ns

    def see(self, alive: Sequence[_Order], now: int) -> None:
        """A list came, with these that may live."""
        self.last = now
        if not self.clears or alive:
            self.since = now
        self.clears = 0 if alive else self.clears + 1
        self.why = f"the list shows {', '.join(one.client_id for one in alive)}" if alive else "not clear for long enough"


class _Hunt:
    """All that may live, and what is known of it."""

    def __init__(self, account: Account, suspects: Suspects) -> None:
        self._account = account
        self._since_ms = suspects.since_ms
        self._ids = ClientIds(suspects.log_id, account.terms.exchange)
        self._orders: dict[str, _Order] = {}
        self._expected = {self._ids.sent(one.name): one for one in suspects.orders}
        for client_id, one in self._expected.items():
            self._suspect(one.symbol, client_id)
        self._settle_ns = account.terms.settle_ms * NANOS_PER_MS
        listed = account.client.markets
        self._lists = {symbol: _List(self._settle_ns) for symbol in suspects.symbols if symbol in listed}
        self._comparison: Comparison | None = None
        if suspects.ledger is not None:
            symbols, ledger = tuple(self._lists), suspects.ledger
            since = Since(account=account, venue=suspects.venue, ledger=ledger, symbols=symbols, since_ms=suspects.since_ms)
            self._comparison = Comparison(since)
        self._is_old = account.wall() - suspects.ended_at >= OLD_NS
        gone = [symbol for symbol in suspects.symbols if symbol not in listed]
        self._failures = dict.fromkeys(f"{symbol}: not listed any more, so that nothing rests there" for symbol in gone)
        self._room = asyncio.Semaphore(AT_ONCE)

    @property
    def is_over(self) -> bool:
        """Whether everything is proven."""
        return not self._open() and all(one.is_clear for one in self._lists.values())

    def result(self) -> Killed:
        """What is known."""
        ended = [one for one in self._orders.values() if one.end is not None and not one.is_canceled]
        lists = [f"orders on {symbol}: {one.why}" for symbol, one in self._lists.items() if not one.is_clear]
        return Killed(
            canceled=tuple(one.client_id for one in self._orders.values() if one.is_canceled and one.end is not None),
            ended=tuple(f"{one.client_id} {one.end}" for one in ended),
            unproven=(*(f"{one.client_id}: {one.why}" for one in self._open()), *lists),
            foreign=sum(one.foreign for one in self._lists.values()),
            failures=tuple(self._failures),
        )

    async def look(self) -> None:
        """Ask for every list, cancel and look up whatever may live, at first what is known to."""
        known = self._open()
        await self._all([*map(self._pursue, known), *map(self._list, self._lists)])
        await self._all([self._pursue(one) for one in self._open() if one not in known])

    async def _all(self, works: Iterable[Awaitable[None]]) -> None:
        async def within(work: Awaitable[None]) -> None:
            async with self._room:
                await work

        await asyncio.gather(*map(within, works))

    def _open(self) -> list[_Order]:
        return [one for one in self._orders.values() if one.end is None]

    def _suspect(self, symbol: str, client_id: str) -> _Order:
        return self._orders.setdefault(client_id, _Order(symbol, client_id))

    # --- lists

    async def _list(self, symbol: str) -> None:
        mine = self._lists[symbol]
        try:
            said = await self._account.open_orders(symbol)
        except (Retryable, Rejected) as error:
            mine.clears, mine.why = 0, self._failed(symbol, error)
            return
        ours = [one.client_id for one in said if one.client_id is not None and self._ids.decode(one.client_id) is not None]
        mine.foreign = len(said) - len(ours)
        alive = [one for one in (self._suspect(symbol, name) for name in ours) if one.end in (None, NEVER)]
        for one in alive:
            one.end, one.misses = None, 0
        mine.see(alive, self._account.now())

    # --- orders

    async def _pursue(self, one: _Order) -> None:
        """Cancel an order, and ask how it stands where the answer does not say."""
        try:
            said = await self._account.cancel(one.symbol, one.client_id, Passage())
        except (Rejected, Retryable, OutcomeUnknown) as error:
            if error.reason != "order_not_found":
                one.why = self._failed(one.client_id, error)
            said = None
        try:
            if said is None or not self._told(one, said):
                said = await self._account.lookup(one.symbol, one.client_id)
                if said is not None:
                    self._told(one, said)
                else:
                    await self._missed(one)
        except (Retryable, Rejected) as error:
            one.why = self._failed(one.client_id, error)

    def _told(self, one: _Order, said: OrderSaid) -> bool:
        """The exchange told of an order; whether it has ended."""
        one.misses = 0
        filled = format_decimal(said.cum_qty, MONEY_SCALE) if said.cum_qty else None
        if said.state == "open":
            one.why = "open" if filled is None else f"open, {filled} filled"
            return False
        one.is_canceled = said.state == "canceled"
        one.end = said.state if filled is None else f"{said.state}, {filled} filled"
        return True

    async def _missed(self, one: _Order) -> None:
        """Neither a cancel nor a look-up by its id found it: it never arrived, once that was so often enough and no fill is of it."""
        now = self._account.now()
        one.misses += 1
        if one.misses == 1:
            one.missed_at = now
        one.why = f"not found by {one.misses} look-ups"
        if one.misses < MISSES or now - one.missed_at < self._settle_ns:
            return
        owners = list(dict.fromkeys(map(_owner, await self._account.trades_since(one.symbol, self._since_ms))))
        unknown = [venue_id for client_id, venue_id in owners if client_id is None]
        if any(client_id == one.client_id for client_id, _ in owners) or len(unknown) > OWNERS:
            one.why = "not found by its id, but a fill may be of it"
            return
        for venue_id in unknown:
            said = await self._account.order_by_venue_id(one.symbol, venue_id)
            if said is None or said.client_id == one.client_id:
                one.why = "not found by its id, but a fill may be of it"
                return
        if (against := await self._shown_by_the_balance(one.client_id)) is not None:
            one.why = f"not found by its id, but {against}"
            return
        one.end = NEVER

    async def _shown_by_the_balance(self, client_id: str) -> str | None:
        """What in the balance may be a fill of an order; None: nothing, or nobody can say.

        Raises:
            Retryable, Rejected: the exchange did not tell.
        """
        mine = self._expected.get(client_id)
        if mine is None or self._comparison is None or self._is_old:
            return None
        beside = [self._expected[one.client_id] for one in self._open() if one.client_id in self._expected]
        return doubt(mine, await self._comparison.more(), [one for one in beside if one is not mine])

    # --- money

    async def compare(self) -> str:
        """What the account has more or less than it should, in words: what two looks found that lie as far apart as fills may be told late."""
        if self._comparison is None:
            return UNCOMPARED
        try:
            async with asyncio.timeout(COMPARE_S + self._settle_ns / NANOS_PER_S):
                first = await self._comparison.more()
                if not any(first.values()):
                    return ""
                await asyncio.sleep(self._settle_ns / NANOS_PER_S)
                return in_words(await self._comparison.more(), self._comparison.unasked)
        except (Retryable, Rejected) as error:
            return f"not compared: {self._failed('balances', error)}"
        except TimeoutError:
            return f"not compared: it took longer than {COMPARE_S:g} s"

    def _failed(self, what: str, error: VenueError) -> str:
        self._failures[f"{what}: {error}"] = None
        return str(error)


def _owner(trade: TradeSaid) -> tuple[str | None, str]:
    """Whose a fill is: the client id where it says one, and the exchange's id of the order."""
    return trade.client_id, trade.venue_order_id
