"""What is done for one account while it trades: its private stream, look-ups of orders whose fate is open, reconciliation.

Look-ups follow a back-off. An order that the exchange does not know is given up only when that is proven: some look-ups over the settle
time found nothing, a cancel by its id found nothing, it is in no list of open orders, no fill on its symbol is without an order, and the
balance is what the log says (`settling`). What of that disagrees is told, and the order stays of unknown fate.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final

import msgspec

from xarb.errors import OutcomeUnknown, Rejected, Retryable, VenueError
from xarb.model.units import NANOS_PER_MS, NANOS_PER_S, Money
from xarb.venues import funds
from xarb.venues.absence import MISSES, Pauses
from xarb.venues.account import Account
from xarb.venues.balancecheck import RECONCILE_S, BalanceCheck
from xarb.venues.clockwatch import ClockWatch
from xarb.venues.countdown import RUNS, Countdown
from xarb.venues.keywatch import KeyWatch
from xarb.venues.liveorders import Expected, LiveOrders, Rival, Watched
from xarb.venues.orderids import ClientIds, OrderName
from xarb.venues.orderrules import countdown_of
from xarb.venues.passage import Passage
from xarb.venues.replies import TradeSaid, UnreadableReply
from xarb.venues.settling import Settling
from xarb.venues.userstream import UserStream, names_of
from xarb.venues.userwires import BalanceTold, Item, Told
from xarb.venues.venue import VenueRow

POLL_S: Final = 1.0  # open orders are looked up so often without a private stream,
CALM_POLL_S: Final = 15.0  # and so often with one
READY_S: Final = 10.0  # how long a start waits for the private stream before it goes on with polling
OTHERS: Final = "others"  # how many reports there were of orders that are not of this log
RIVAL: Final = "another_xarb"  # 1: another log, or a later start of a copy of this one, trades on the account
MONEY_SHORT: Final = "money_short"  # 1: an order was refused for lack of money, nothing new begins; 0: balances were compared since
STREAM_LOST: Final = "stream_lost"  # 1: the private stream is gone, nothing new begins; 0: it is back and all was compared
LOOK_OUT_S: Final = (
    3.0,
    7.0,
    20.0,
)  # pauses before everything is compared once orders may leave: another xarb may have begun with us
CLOCK_S: Final = 30.0  # the clock is measured so often, which also keeps a connection warm for the next order
OWNERS: Final = 20  # orders of unknown owners that are asked for in one reconciliation; ours were looked up before
ASKS: Final = 6  # at most, before a start arms; what still moves then is compared later
BEFORE_MS: Final = 60_000  # fills are asked for from so long before the start, or before the last reconciliation
_TEXT: Final = 4096


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """What a start knows before it begins.

    log_id, start: whose orders these are. left: orders that earlier starts left unfinished. since_ms: exchange time (Unix ms) from
    which fills and transfers are asked for; 0: from a minute before `open`. ended_at: when the log ended, Unix ns; 0: it had no start.
    """

    log_id: str
    start: int
    left: tuple[Expected, ...] = ()
    since_ms: int = 0
    ended_at: int = 0


class AccountDesk:
    """One account at one venue; its methods are called from the loop's own thread.

    Args:
        account: makes the requests.
        venue: venue id.
        natives: the exchange's name of each symbol.
        wishes: whose orders these are, and what was left.
        tell: takes rows.
        spawn: runs work beside the caller; who gave it learns of a failure.
    """

    def __init__(
        self,
        account: Account,
        venue: str,
        natives: Mapping[str, str],
        *,
        wishes: Wishes,
        tell: Callable[[Sequence[VenueRow]], None],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self.account = account
        self.venue = venue
        self.ids = ClientIds(wishes.log_id, account.terms.exchange)
        self.orders = LiveOrders(account.label, venue, self.ids, start=wishes.start)
        self.is_streaming = False
        self.lost_stream: str | None = None  # what speaks against new orders since the private stream was lost
        self.short: str | None = None  # what speaks against new orders since one was refused for lack of money
        self.rival: str | None = None  # what shows that another xarb trades on the account
        self._opened_at = 0  # Unix ns by the exchange's clock at most, when this start first asked for everything
        self.clock = ClockWatch(account, venue, self.reading)
        self.key = KeyWatch(account.label, venue, self.reading)
        counts = countdown_of(account.terms.exchange, account.terms.cancel_after_ms) is not None
        self.countdown = Countdown(account, account.terms.cancel_after_ms, self) if counts else None
        self._epoch = 0  # of the last private stream that stood
        self.conn = -1  # of the private stream in the log; set before `open`
        self.check = BalanceCheck(account.label, venue)
        self._strange = 0  # reports of orders that are not this log's
        self._moved = 0  # counts what was reported, sent and transferred, look-ups that found nothing apart
        self._has = frozenset[str]()  # assets of which the exchange last said that there is some
        self._natives = natives
        self._tell = tell
        self._spawn = spawn
        self._transfers = funds.Transfers(account, venue)
        self._since_ms = wishes.since_ms
        self.settling = Settling(self, wishes.start, wishes.ended_at)
        self._pauses = Pauses(f"{wishes.log_id} {wishes.start} {account.label} {venue}")
        self._looking: dict[OrderName, Watched] = {}
        self._on_their_way: dict[OrderName, asyncio.Event] = {}
        self._stopping = asyncio.Event()
        self._ready = asyncio.Event()
        self._lock = asyncio.Lock()
        self._stream: UserStream | None = None
        for expected in wishes.left:
            if expected.account == account.label and expected.venue == venue:
                self.orders.expect(expected).is_sent = True

    @property
    def objections(self) -> list[str]:
        """What speaks against new orders now; a reading tells of each change."""
        against = (
            self.rival,
            self.lost_stream,
            self.short,
            self.key.objection,
            self.clock.objection,
            self.countdown.objection if self.countdown else None,
        )
        return [why for why in against if why is not None]

    @property
    def may_rest(self) -> bool:
        """Whether an order may be sent that rests: somebody cancels it if we die, or the terms allow it all the same."""
        return self.account.terms.may_rest or (self.countdown is not None and self.countdown.objection is None)

    # --- begin and end

    async def open(self) -> None:
        """Load markets, check the clock, connect the private stream, reconcile.

        Raises:
            Refused: the exchange's clock is too far from ours. Retryable, Rejected: the exchange did not answer, or not as it must.
        """
        await self.account.open()
        await self.clock.check()
        self._opened_at = self.account.wall() + self.account.terms.max_clock_ms * NANOS_PER_MS
        if self._since_ms == 0:
            self._since_ms = self.account.wall() // NANOS_PER_MS - BEFORE_MS
        if self.account.rules.stream:
            self._stream = UserStream(self.account, names_of(self.account, self._natives.__getitem__), self)
        self._spawn(self._run())
        if self._stream is not None:
            await self._wait(self._ready, READY_S)
        await self.reconcile()

    def look_out(self) -> None:
        """Orders may leave from now on: look for another xarb, which may have begun in the same seconds, whatever the private stream says."""
        self._spawn(self._look_out())

    async def _look_out(self) -> None:
        for pause_s in LOOK_OUT_S:
            if await self._wait(self._stopping, pause_s):
                return
            await self._reconcile_again()
        for symbol in itertools.cycle(self.account.symbols):
            if await self._wait(self._stopping, CALM_POLL_S):
                return
            try:
                async with self._lock:
                    for said in await self.account.open_orders(symbol):
                        self._say(self.orders.heard(said, source="lookup"))
                    await self._report(await self.account.trades_since(symbol, self._since_ms))
            except (Retryable, Rejected) as error:
                self.reading("lookup_failed", 1, f"{self.account.label}: {symbol}: {error}")
                self.key.failed(error)

    def keep_countdown(self) -> None:
        """From here on tell how the countdown stands, and set it anew in time."""
        if self.countdown is not None:
            self._spawn(self.countdown.run())

    async def stand_down(self) -> None:
        """The exchange need not wait for us any more; but it goes on to where an order may be open still."""
        if self.countdown is None or not self.countdown.was_asked:
            return
        if left := len(self.orders.open_orders()):
            self.countdown.stop()
            self.reading(RUNS, self.account.terms.cancel_after_ms, f"{self.account.label}: left running, {left} orders may be open")
        else:
            await self.countdown.switch_off()

    def stop(self) -> None:
        """End what runs; requests in flight come to their end."""
        self._stopping.set()
        if self.countdown is not None:
            self.countdown.stop()

    async def close(self) -> None:
        """End the connections."""
        await self.account.close()

    async def _run(self) -> None:
        """The private stream and the polling of orders, until stopped."""
        works = [asyncio.create_task(self._poll())]
        if self._stream is not None:
            works.append(asyncio.create_task(self._stream.run()))
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait([stopping, *works], return_when=asyncio.FIRST_COMPLETED)
            for work in works:
                if work.done():
                    work.result()
        finally:
            for task in (stopping, *works):
                task.cancel()
            await asyncio.gather(stopping, *works, return_exceptions=True)

    async def _wait(self, event: asyncio.Event, seconds: float) -> bool:
        """Whether an event came within some seconds."""
        try:
            await asyncio.wait_for(event.wait(), seconds)
        except TimeoutError:
            return False
        return True

    # --- orders on their way

    def leaves(self, expected: Expected) -> Watched:
        """An order is about to be sent."""
        one = self.orders.expect(expected)
        one.is_answered = False
        self._moved += 1
        self._on_their_way[expected.name] = asyncio.Event()
        return one

    def answered(self, one: Watched) -> None:
        """The request of an order came to its end, with or without a reply."""
        one.is_answered = True
        self._on_their_way.pop(one.expected.name).set()
        self._say(())

    async def until_answered(self, one: Watched) -> None:
        """Wait for the end of an order's request."""
        if (event := self._on_their_way.get(one.expected.name)) is not None:
            await event.wait()

    # --- orders whose fate is open

    def resolve(self, one: Watched) -> None:
        """Look an order up until its fate and all its fills are known."""
        if one.expected.name not in self._looking:
            self._looking[one.expected.name] = one
            self._spawn(self._look(one))

    async def _look(self, one: Watched) -> None:
        turn = 0
        try:
            while not await self._wait(self._stopping, self._pauses.before(turn)):
                turn += 1
                if one.is_done:
                    return
                try:
                    await self._look_once(one)
                except (Retryable, Rejected) as error:
                    self.reading("lookup_failed", turn, f"{one.sent_id}: {error}")
                    self.key.failed(error)
                    if not self.is_streaming and one.is_sent:  # nobody tells of it any more
                        self._say(self.orders.doubted(one, "lookup_failed", str(error), source="lookup"))
                if one.is_done or one.is_settled:
                    return
        finally:
            self._looking.pop(one.expected.name, None)

    async def _look_once(self, one: Watched) -> None:
        """One look-up, and the order's fills where the exchange counts more than are known.

        Raises:
            Retryable, Rejected: the exchange did not tell.
        """
        symbol, known_as = one.expected.symbol, one.venue_order_id
        said = await self.account.lookup(symbol, one.sent_id)
        if said is not None and known_as is not None and said.venue_order_id != known_as:  # another process's order has its name
            self._say(self.orders.heard(said, source="lookup"))
            said = await self.account.order_by_venue_id(symbol, known_as)
        if said is None:
            self._say(self.orders.absent(one, self.account.now()))
            waited = self.account.now() - one.missed_at
            if one.misses >= MISSES and waited >= self.account.terms.settle_ms * NANOS_PER_MS and not one.is_placed:
                await self.settling.give_up(one)
            return
        one.asked_at = self.account.now()
        self._say(self.orders.heard(said, source="lookup"))
        if one.lacks_fills and one.venue_order_id is not None:
            for trade in await self.account.order_trades(symbol, one.venue_order_id):
                self._say(self.orders.traded(trade, source="trades"))

    def lacks_money(self, said: str) -> None:
        """An order was refused since the account has too little, so that our books are wrong: nothing new begins until they were compared."""
        if self.short is None:
            self.short = f"{self.account.label} at {self.venue} has less money than our books say"
            self.reading(MONEY_SHORT, 1, f"{self.short}: {said}")
            self._spawn(self._prove_money())

    async def _prove_money(self) -> None:
        """Compare at once, and until books and exchange agree or what differs was told to the engine."""
        await self.settle_balances()
        while self.check.is_open and not self._stopping.is_set():
            await self.settle_balances()
        if not self._stopping.is_set():
            self.short = None
            self.reading(MONEY_SHORT, 0, f"{self.account.label}: all balances were compared")

    def doubt(self, why: str) -> None:
        """Take open orders for being of unknown fate since a countdown may have run out, and look them up."""
        self._doubt("countdown", why, source="lookup")

    def _doubt(self, reason: str, why: str, *, source: str) -> None:
        sent = [one for one in self.orders.open_orders() if one.is_sent]
        self._say([row for one in sent for row in self.orders.doubted(one, reason, why, source=source)])

    async def cancel(self, one: Watched, passage: Passage) -> None:
        """Cancel an order; rows tell what came of it."""
        passage.when_sent(lambda: self._say(self.orders.cancel_sent(one)))
        try:
            said = await self.account.cancel(one.expected.symbol, one.sent_id, passage)
        except (Rejected, Retryable, OutcomeUnknown) as error:
            self._say(self.orders.cancel_failed(one, error.reason, str(error)))
            self.key.failed(error)
        else:
            if said is not None:
                self._say(self.orders.heard(said, source="cancel"))
        if not one.is_done:
            self.resolve(one)

    async def _poll(self) -> None:
        measured = reconciled = self.account.now()
        while not await self._wait(self._stopping, POLL_S):
            now = self.account.now()
            if now - measured >= CLOCK_S * NANOS_PER_S:
                measured = now
                try:
                    await self.clock.look()
                except (Retryable, Rejected) as error:
                    self.reading("clock_failed", 1, f"{self.account.label}: {error}")
            if now - reconciled >= (self.check.again_s if self.check.wants_again else RECONCILE_S) * NANOS_PER_S:
                reconciled = now
                if not self._lock.locked():
                    self._spawn(self._reconcile_again())
            age = (CALM_POLL_S if self.is_streaming else POLL_S) * NANOS_PER_S
            for one in self.orders.open_orders():
                if one.is_sent and one.is_answered and now - one.asked_at >= age:
                    self.resolve(one)

    # --- reconciliation

    async def reconcile(self) -> None:
        """Compare with the exchange: open orders, orders that should be, fills, balances, deposits and withdrawals.

        Raises:
            Retryable, Rejected: the exchange did not tell.
        """
        async with self._lock:
            begun, since = self.account.now(), self._since_ms
            at_ms = self.account.wall() // NANOS_PER_MS
            for symbol in self.account.symbols:
                for said in await self.account.open_orders(symbol):
                    self._say(self.orders.heard(said, source="lookup"))
            for one in self.orders.open_orders():
                if one.is_sent and one.is_answered:
                    await self._look_once(one)
                    if not one.is_done and not one.is_settled:
                        self.resolve(one)
            for symbol in self.account.symbols:
                await self._report(await self.account.trades_since(symbol, since))
            self._say(self.orders.release())
            moved = self._moved
            told = await self.ask_balances()
            await self._tell_transfers(since)
            self._compare(told, moved)
            self._since_ms = max(since, at_ms - BEFORE_MS)
            self.key.works()
            self.reading("reconciled_ns", self.account.now() - begun, self.account.label)

    async def _reconcile_again(self) -> None:
        """Reconcile after a loss of the private stream, however often it takes."""
        turn = 0
        while not self._stopping.is_set():
            try:
                await self.reconcile()
            except (Retryable, Rejected) as error:
                self.reading("reconcile_failed", turn + 1, f"{self.account.label}: {error}")
                self.key.failed(error)
            else:
                return
            await self._wait(self._stopping, self._pauses.before(turn))
            turn += 1

    async def _report(self, trades: Sequence[TradeSaid]) -> set[str]:
        """Report fills, and give back the symbols of those that nobody owns.

        One whose order is not known by its exchange id is asked for whose it is, but for many: then they are others'.
        """
        owners: dict[str, str | None] = {}
        nobodys = set[str]()
        for trade in trades:
            if self.orders.is_known(trade):
                self._say(self.orders.traded(trade, source="trades"))
                continue
            if trade.venue_order_id not in owners and len(owners) >= OWNERS:
                nobodys.add(trade.symbol)
                self._say(self.orders.traded(trade, source="trades"))
                continue
            if trade.venue_order_id not in owners:
                said = await self.account.order_by_venue_id(trade.symbol, trade.venue_order_id)
                owners[trade.venue_order_id] = said.client_id or "" if said else None  # of an order without a name: none of ours
                if said is not None and said.state == "open":
                    self._say(self.orders.heard(said, source="lookup"))
            mine = msgspec.structs.replace(trade, client_id=owners[trade.venue_order_id])
            if mine.client_id is None:
                nobodys.add(trade.symbol)
            self._say(self.orders.traded(mine, source="trades"))
        return nobodys

    async def ask_fills(self, symbol: str) -> bool:
        """Report the fills on a symbol; whether there is one of an order that nobody names."""
        return symbol in await self._report(await self.account.trades_since(symbol, self._since_ms))

    async def ask_balances(self) -> list[BalanceTold]:
        """Ask for all balances, and tell them."""
        found = await funds.balances(self.account)
        has = frozenset(one.asset for one in found)
        gone = [BalanceTold(asset, Money(0), Money(0), None) for asset in sorted(self._has - has)]
        self._tell([funds.balance_row(self.account.label, self.venue, one) for one in [*found, *gone]])
        self._has = has
        return found

    def _compare(self, told: Sequence[BalanceTold], moved: int) -> None:
        """Compare balances with our books, unless something moved since they were asked for, or an order's fate or a fill is not known."""
        is_calm = all(one.is_answered and (one.is_settled or self.settling.is_denied(one)) for one in self.orders.open_orders())
        if moved == self._moved and is_calm:
            self._tell(self.check.look(self.account.now(), told, moved, moving=self._transfers.under_way))
        else:
            self.check.void()

    async def settle_balances(self) -> None:
        """Ask until the balances are what our books say, or each difference is told; but a bounded number of times."""
        for _ in range(ASKS):
            await self._reconcile_again()
            if not self.check.is_open or await self._wait(self._stopping, self.check.again_s):
                return

    async def _tell_transfers(self, since_ms: int) -> None:
        try:
            rows = await self._transfers.fresh(since_ms)
            self._moved += len(rows)
            self._tell(rows)
        except (VenueError, UnreadableReply) as error:  # a key for trading alone may not see them; nothing else waits for them
            self.reading("transfers_unknown", 1, f"{self.account.label}: {error}")

    async def _after_move(self) -> None:
        try:
            await self.ask_balances()
            await self._tell_transfers(self._since_ms)
        except VenueError as error:
            self.reading("transfers_unknown", 1, f"{self.account.label}: {error}")

    # --- what the private stream says

    def opened(self, epoch: int) -> None:
        """A connection stands."""
        self._connection("opened", epoch, None)

    def ready(self, epoch: int) -> None:
        """Everything is pushed from now on; what happened before, reconciliation tells."""
        self.is_streaming, self._epoch = True, epoch
        self._connection("subscribed", epoch, None)
        if self._ready.is_set():
            self._spawn(self._catch_up(epoch))
        self._ready.set()

    def lost(self, epoch: int, reason: str) -> None:
        """The connection is gone: nothing new begins until another stands and everything was compared with the exchange since.

        What it would have told nobody tells: every order that left and has not ended is of unknown fate from here on, until it is looked up.
        """
        was_streaming, self.is_streaming = self.is_streaming, False
        self._connection("lost", epoch, reason)
        if was_streaming and self.lost_stream is None:
            self.lost_stream = f"the private stream of {self.account.label} at {self.venue} is lost"
            self.reading(STREAM_LOST, 1, f"{self.lost_stream}: {reason}")
        if was_streaming:
            self._doubt(STREAM_LOST, reason, source="stream")

    async def _catch_up(self, epoch: int) -> None:
        """Compare after a private stream came back; new orders may be sent again if it still stands then."""
        await self._reconcile_again()
        is_new = self.is_streaming and self._epoch == epoch and not self._stopping.is_set()
        if is_new and self.lost_stream is not None:
            self.lost_stream = None
            self.reading(STREAM_LOST, 0, f"{self.account.label}: the private stream is back, and everything was compared")

    def told(self, item: Item) -> None:
        """Something was pushed."""
        if isinstance(item, Told):
            self._say(self.orders.heard(item.order, [item.trade] if item.trade else (), source="stream"))
        elif isinstance(item, BalanceTold):
            self._tell([funds.balance_row(self.account.label, self.venue, item)])
        else:
            self._spawn(self._after_move())

    def unreadable(self, text: str, reason: str) -> None:
        """A frame could not be read."""
        values = {
            "venue": self.venue,
            "source": self._source,
            "rule": "unreadable_frame",
            "detail": reason,
            "payload": text[:_TEXT],
        }
        self._tell([VenueRow("rejects", {**values, "conn": self.conn if self.conn >= 0 else None})])

    # --- rows

    def say(self, rows: Sequence[VenueRow]) -> None:
        """Tell rows of orders, and do what they ask for: fills that lack are looked up, an order that came to life again is canceled."""
        self._say(rows)

    def _say(self, rows: Sequence[VenueRow]) -> None:
        self._moved += sum(row.kind != "reports" or row.values["event"] != "not_found" for row in rows)
        self._tell(rows)
        if strange := [row for row in rows if row.kind == "reports" and row.values["start"] is None]:
            self._strange += len(strange)
            what = strange[-1].values
            self.reading(
                OTHERS,
                self._strange,
                f"{self.account.label}: {what['event']} of {what['client_order_id'] or 'an order without a name'}",
            )
        for one in self.orders.open_orders():
            if one.is_answered and (one.lacks_fills or one.is_unknown):
                self.resolve(one)
        while self.orders.rivals:
            self._judge(self.orders.rivals.pop())
        while self.orders.revived:
            one = self.orders.revived.pop()
            self.reading("order_after_end", 1, f"{one.sent_id} lives although its end was reported: it is canceled")
            self._spawn(self.cancel(one, Passage()))

    def _judge(self, one: Rival) -> None:
        """Another xarb has an order here: one that is open, or was filled since we began, shows that it trades on."""
        if self.rival is None and (one.at is None or one.at > self._opened_at):
            self.rival = (
                f"another xarb trades on {self.account.label} at {self.venue}: its order {one.client_id} on {one.symbol} {one.what};"
                " end that one, and cancel what it has open, first"
            )
            self.reading(RIVAL, 1, self.rival)

    @property
    def _source(self) -> str:
        return f"private stream of {self.account.label}"

    def _connection(self, event: str, epoch: int, detail: str | None) -> None:
        if self.conn < 0:
            return
        values = {"conn": self.conn, "venue": self.venue, "event": event, "epoch": epoch, "source": self._source, "detail": detail}
        self._tell([VenueRow("connections", values)])

    def reading(self, metric: str, value: int, detail: str) -> None:
        """Note a reading of this venue."""
        self._tell([VenueRow("health", {"venue": self.venue, "metric": metric, "value": value, "detail": detail})])
