"""One account at one exchange: every request that it makes, within its budgets, with validated replies and errors sorted by fate.

A request either gives what was asked for, or raises `Rejected` (refused for certain), `Retryable` (nothing happened) or
`OutcomeUnknown` (it may have). No error raised here refers to ccxt's own, whose text holds signed addresses.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec

from xarb.errors import OutcomeUnknown, Rejected, Retryable, VenueError
from xarb.model.command import SubmitOrder
from xarb.model.instrument import Instrument
from xarb.model.units import NANOS_PER_MS, NANOS_PER_S, format_decimal
from xarb.venues.budgets import Budget, Limit
from xarb.venues.exchange import OWN_PLACE, Place, session_for, trading_exchange
from xarb.venues.keys import Keys
from xarb.venues.orderrules import OrderRules, Published, TradesAsked, countdown_of, rules_of
from xarb.venues.outcomes import outcome_of, pause_of
from xarb.venues.passage import Passage
from xarb.venues.replies import OrderSaid, TradeSaid, UnreadableReply, order_said, trade_said

T = TypeVar("T")
_URGENT: Final = ("cancel", "lookup", "order_trades", "countdown")  # may use the reserve of the request weight


class AccountTerms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is set for one account at one venue.

    label: the account's name here. exchange: ccxt's id. timeout_ms: after which a request has an unknown fate. order_limits: in place of
    the exchange's own. max_clock_ms: how far the exchange's clock may be from ours. max_send_lag_ms: how old, by `now`, a command may be
    when it is sent; None: any age. allow_withdraw: whether a key that may withdraw is taken. cancel_after_ms: when the exchange is to
    cancel everything of the account if it does not hear from us, where it has such a countdown; 0: never. may_rest: whether orders that
    rest are sent also while no countdown runs. settle_ms: for how long the exchange may not know an order after it took it.
    """

    label: str
    exchange: str
    timeout_ms: int = 5_000
    order_limits: tuple[Limit, ...] = ()
    max_clock_ms: int = 50
    max_send_lag_ms: int | None = None
    allow_withdraw: bool = False
    cancel_after_ms: int = 0
    may_rest: bool = False
    settle_ms: int = 2_000
    place: Place = OWN_PLACE


class ClockReading(msgspec.Struct, frozen=True):
    """The exchange's clock minus ours as of the shortest of some round trips, ns; the truth lies within half of that trip."""

    offset_ns: int
    round_trip_ns: int


def check_age(terms: AccountTerms, command: SubmitOrder, now: int) -> float | None:
    """How much longer an order may wait until it leaves, in seconds, None for any time: then what it was decided on is over.

    Raises:
        Retryable: it is too old already.
    """
    if terms.max_send_lag_ms is None:
        return None
    left = terms.max_send_lag_ms * NANOS_PER_MS - (now - command.ts)
    if left < 0:
        raise _too_old(terms, command, now)
    return left / NANOS_PER_S


def _too_old(terms: AccountTerms, command: SubmitOrder, now: int) -> Retryable:
    age_ms = (now - command.ts) // NANOS_PER_MS
    return Retryable(f"decided on what came {age_ms} ms ago, {terms.max_send_lag_ms} ms are allowed", reason="too_old")


class Account:
    """Requests of one account. The caller opens it within a running loop and closes it.

    Args:
        terms: what is set.
        keys: its keys.
        symbols: those that it may trade.
        weight: budget of the address's request weight, shared by all accounts of the exchange; else one of its own.
        now: monotonic time, ns; the log's clock where `terms` bound the age of commands. wall: Unix time, ns.
    """

    def __init__(
        self,
        terms: AccountTerms,
        keys: Keys,
        symbols: Sequence[str],
        *,
        weight: Budget | None = None,
        now: Callable[[], int] = time.monotonic_ns,
        wall: Callable[[], int] = time.time_ns,
    ) -> None:
        self.terms = terms
        self.label = terms.label
        self.rules: OrderRules = rules_of(terms.exchange)
        countdown_of(terms.exchange, terms.cancel_after_ms)  # it can
        self.symbols = tuple(symbols)
        self.redact = keys.redactor()
        self.fingerprint = keys.fingerprint
        self.key_source = keys.source
        self.fee_asset: str | None = None  # in what fees are paid, once the exchange was asked
        self.weight = weight or weight_budget(terms.exchange)
        self.orders = Budget(terms.order_limits or self.rules.order_limits, reserve=0)
        self.now, self.wall = now, wall
        self.client = trading_exchange(terms.exchange, keys, place=terms.place, timeout_ms=terms.timeout_ms)
        self.client.session = self.session = session_for(terms.place)

    async def close(self) -> None:
        """End the connections."""
        await self.client.close()
        await self.session.close()

    async def open(self) -> None:
        """Load what ccxt must know of the markets.

        Raises:
            Retryable: the exchange did not answer.
            Rejected: it lists one of the instruments no longer.
        """
        await self.ask("markets", self.client.load_markets, bool)
        for symbol in self.symbols:
            if symbol not in self.client.markets:
                raise Rejected(f"{self.terms.exchange} does not list {symbol}", reason="unknown_symbol")
        if (published := self.rules.published) is not None and self.symbols:
            self._hold(await self.ask("markets", lambda: published(self.client, self.symbols[0]), Published._make))

    def _hold(self, published: Published) -> None:
        """Hold the limits that the exchange publishes; where it is silent the known ones stay."""
        if published.weight:
            self.weight.adopt(self.now(), published.weight)
        if published.orders and not self.terms.order_limits:
            self.orders.adopt(self.now(), published.orders)

    # --- orders

    def room(self) -> bool:
        """Whether a new order may leave now."""
        now = self.now()
        return self.orders.wait(now, 1) == 0 and self.weight.wait(now, self.rules.weights["submit"]) == 0

    async def submit(
        self, instrument: Instrument, command: SubmitOrder, client_id: str, passage: Passage
    ) -> tuple[OrderSaid, list[TradeSaid]]:
        """Send a limit order under a client id.

        Raises:
            Rejected: refused. Retryable: it never left, that it is too old or the budget allows no order now among the reasons.
            OutcomeUnknown: look it up.
        """
        price, qty = order_texts(instrument, command.price_int, command.qty_int)
        left_s = check_age(self.terms, command, self.now())
        if not self.room():
            raise Retryable("the budget of orders or requests is used up", reason="rate_limit")
        self.orders.spend(self.now(), 1)
        symbol, side, mine = instrument.symbol, command.side, client_id
        params = self.rules.create(command.tif, command.post_only, client_id)

        def read(raw: Any) -> tuple[OrderSaid, list[TradeSaid]]:
            said = self._order(raw, symbol, mine)
            return said, [trade_said(part, symbol, said) for part in raw.get("trades") or ()]

        make = lambda: self.client.create_order(symbol, "limit", side, qty, price, params)  # noqa: E731
        try:
            async with asyncio.timeout(left_s) as wait:  # until there is a connection
                passage.when_connected(lambda: wait.reschedule(None))
                return await self._request("submit", make, read, passage=passage, is_write=True)
        except TimeoutError:
            raise _too_old(self.terms, command, self.now()) from None

    async def cancel(self, symbol: str, client_id: str, passage: Passage) -> OrderSaid | None:
        """Cancel an order by client id; None: the exchange only says that it took the cancel.

        Raises:
            Rejected: refused, reason `order_not_found` when it is not open. Retryable, OutcomeUnknown: as they say.
        """
        params = self.rules.by_id(client_id)

        def read(raw: Any) -> OrderSaid | None:
            if self.rules.acknowledges:
                return None
            return msgspec.structs.replace(order_said(raw, symbol), client_id=client_id)

        make = lambda: self.client.cancel_order(None, symbol, dict(params))  # noqa: E731
        await self._turn("cancel")
        return await self._request("cancel", make, read, passage=passage, is_write=True)

    async def lookup(self, symbol: str, client_id: str) -> OrderSaid | None:
        """An order by client id; None: the exchange does not know it (yet).

        Raises:
            Retryable: no answer, or none that can be read. Rejected: the exchange will not tell.
        """
        params = self.rules.by_id(client_id)
        try:
            return await self.ask(
                "lookup",
                lambda: self.client.fetch_order(None, symbol, dict(params)),
                lambda raw: msgspec.structs.replace(order_said(raw, symbol), client_id=client_id),
            )
        except Rejected as error:
            if error.reason == "order_not_found":
                return None
            raise

    async def order_by_venue_id(self, symbol: str, venue_order_id: str) -> OrderSaid | None:
        """An order by the exchange's id; None: it is not known there."""
        try:
            make = lambda: self.client.fetch_order(venue_order_id, symbol)  # noqa: E731
            return await self.ask("lookup", make, lambda raw: order_said(raw, symbol))
        except Rejected as error:
            if error.reason == "order_not_found":
                return None
            raise

    async def open_orders(self, symbol: str) -> list[OrderSaid]:
        """Open orders on a symbol, whoever sent them."""
        return await self.ask("open", lambda: self.client.fetch_open_orders(symbol), lambda raw: _each(raw, symbol, order_said))

    async def order_trades(self, symbol: str, venue_order_id: str) -> list[TradeSaid]:
        """Fills of one order."""
        asked = TradesAsked(venue_order_id, None, None, self.rules.page)
        return await self._trades("order_trades", symbol, asked)

    async def trades_since(self, symbol: str, since_ms: int) -> list[TradeSaid]:
        """Fills on a symbol from a time of the exchange on, Unix ms, page after page from the end that the exchange starts from."""
        found: dict[str, TradeSaid] = {}
        asked = TradesAsked(None, since_ms, None, self.rules.page)
        while True:
            page = await self._trades("trades", symbol, asked)
            fresh = [trade for trade in page if trade.fill_id not in found]
            found |= {trade.fill_id: trade for trade in fresh}
            if len(page) < self.rules.page or not fresh:
                return list(found.values())
            times = [trade.ts_event // NANOS_PER_MS for trade in fresh if trade.ts_event is not None]
            if self.rules.is_newest_first:
                asked = asked._replace(until_ms=min(times, default=since_ms))
            else:
                asked = asked._replace(since_ms=max(times, default=since_ms))

    async def _trades(self, call: str, symbol: str, asked: TradesAsked) -> list[TradeSaid]:
        make = lambda: self.rules.trades(self.client, symbol, asked)  # noqa: E731
        return await self.ask(call, make, lambda raw: _each(raw, symbol, trade_said))

    async def cancel_after(self, timeout_ms: int) -> None:
        """Have the exchange cancel every order of the account, others' too, unless this is asked for again in time; 0: no more.

        Raises:
            Retryable: it is not known whether that is so. Rejected: refused, by an exchange without such a countdown too.
        """
        countdown = self.rules.countdown
        if countdown is None:
            raise Rejected(f"{self.terms.exchange} has no countdown", reason="not_supported")

        def read(raw: Any) -> None:
            if countdown.runs(raw) != (timeout_ms > 0):
                raise UnreadableReply(f"asked was for a countdown of {timeout_ms} ms, the reply says otherwise")

        await self.ask("countdown", lambda: countdown.ask(self.client, timeout_ms), read)

    # --- the clock

    async def clock(self, looks: int = 3) -> ClockReading:
        """How far the exchange's clock is from ours, by the shortest of some round trips.

        Raises:
            Retryable: no answer.
        """
        best: ClockReading | None = None
        for _ in range(looks):
            begun, wall = self.now(), self.wall()
            theirs = await self.ask("time", self.client.fetch_time, int)
            trip = self.now() - begun
            reading = ClockReading(theirs * NANOS_PER_MS + NANOS_PER_MS // 2 - wall - trip // 2, trip)
            best = reading if best is None or trip < best.round_trip_ns else best
        assert best is not None
        return best

    # --- how a request is made

    async def ask(self, call: str, make: Callable[[], Awaitable[Any]], read: Callable[[Any], T]) -> T:
        """Make a request that changes nothing; it waits for its budget.

        Raises:
            Retryable: no answer, or none that can be read. Rejected: refused.
        """
        await self._turn(call)
        return await self._request(call, make, read, passage=Passage(), is_write=False)

    async def _turn(self, call: str) -> None:
        """Wait until the budget allows a call."""
        urgent, units = call in _URGENT, self.rules.weights[call]
        while (wait := self.weight.wait(self.now(), units, urgent=urgent)) > 0:  # noqa: ASYNC110  # time alone brings the budget back
            await asyncio.sleep(wait / NANOS_PER_S)

    async def _request(
        self,
        call: str,
        make: Callable[[], Awaitable[Any]],
        read: Callable[[Any], T],
        *,
        passage: Passage,
        is_write: bool,
    ) -> T:
        self.weight.spend(self.now(), self.rules.weights[call])
        failure: VenueError
        cause: Exception | None = None
        with passage:
            try:
                result = read(await make())
            except UnreadableReply as error:
                text = self.redact(f"{call}: {error}")
                failure = (OutcomeUnknown if is_write else Retryable)(text, reason="unreadable_reply")
            except Exception as error:  # noqa: BLE001  # ccxt raises whatever its parsing meets; each is sorted by fate
                cause, failure = error, outcome_of(error, passage, self.redact, is_write=is_write)
            else:
                self._account_for(passage, None)
                return result
        self._account_for(passage, cause)
        del cause
        raise failure  # outside of the handler, so that nothing refers to the error that was replaced

    def _account_for(self, passage: Passage, error: Exception | None) -> None:
        """Take over what the exchange says of its limits."""
        now = self.now()
        if (seconds := pause_of(error, passage)) > 0:
            self.weight.pause(now + seconds * NANOS_PER_S)
        for budget, stated in ((self.weight, (self.rules.used,)), (self.orders, self.rules.orders_used)):
            for header, seconds in filter(None, stated):
                text = passage.headers.get(header, "")
                if text.isascii() and text.isdigit():
                    budget.stated(now, int(text), seconds)

    def _order(self, raw: Any, symbol: str, mine: str) -> OrderSaid:
        """The reply to a new order, which must name it."""
        if self.rules.acknowledges and isinstance(raw, Mapping) and raw.get("status") is None:
            if not raw.get("id") or raw.get("clientOrderId") != mine:
                raise UnreadableReply(f"an acknowledgement of {raw.get('clientOrderId')!r} with id {raw.get('id')!r}")
            return OrderSaid(symbol=symbol, venue_order_id=str(raw["id"]), state="open", client_id=mine)
        said = order_said(raw, symbol)
        if said.client_id != mine:
            raise UnreadableReply(f"the reply is to {said.client_id!r}, sent was {mine!r}")
        return said


def weight_budget(exchange: str) -> Budget:
    """The request weight that an address has at an exchange; what market data use of it is counted when the exchange states it.

    Raises:
        ConfigError: orders are not possible there.
    """
    return Budget(rules_of(exchange).weight_limits)


def order_texts(instrument: Instrument, price_int: int, qty_int: int) -> tuple[str, str]:
    """Price and quantity as decimal texts, exact.

    Raises:
        Rejected: off the instrument's grid, or not above zero; the exchange would refuse it.
    """
    found = []
    for value, scale, step in (
        (price_int, instrument.px_scale, instrument.tick_int),
        (qty_int, instrument.qty_scale, instrument.lot_int),
    ):
        if value <= 0 or (step and value % step):
            text = format_decimal(value, scale)
            raise Rejected(f"{text} is not on the grid of {instrument.id} ({step} at {scale} decimals)", reason="off_grid")
        found.append(format_decimal(value, scale))
    return found[0], found[1]


def _each(raw: Any, symbol: str, read: Callable[[Any, str], T]) -> list[T]:
    if not isinstance(raw, Sequence) or isinstance(raw, str):
        raise UnreadableReply("the reply is no list")
    return [read(part, symbol) for part in raw]
