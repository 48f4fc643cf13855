"""A trading venue against the small exchange: opens it, sends orders by short words, waits for rows."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from tests.instruments import spot
from tests.venues.exchange_server import KEY, SECRET, SYMBOL, SmallExchange
from tests.venues.okx_server import NATIVE, PASSWORD, SmallOkx
from xarb.live.books import Books
from xarb.model.command import CancelOrder, SubmitOrder
from xarb.model.units import NANOS_PER_MS, format_decimal
from xarb.venues.account import Account, AccountTerms
from xarb.venues.accountdesk import Wishes
from xarb.venues.cex import CexVenue
from xarb.venues.exchange import Place
from xarb.venues.keys import Keys
from xarb.venues.liveorders import Expected
from xarb.venues.orderids import OrderName
from xarb.venues.venue import VenueRow
from xarb.wires.rows import RowBuilder

LOG_ID = "0123abcd45678901"
BTC = spot("binance", native=SYMBOL)
WAIT_S = 20.0


def books_of(venue: str, balances: Mapping[str, Decimal]) -> Books:
    """What a log would say of the account: so much at first, and the fills that are told."""
    opening = {("main", venue, asset): int(amount * 10**18) for asset, amount in balances.items()}
    return Books(opening, {}, transfers={}, markets={(venue, "BTC/USDT"): BTC})


class Trader:
    """An open venue with its rows so far; `books`, where they are given, say what its account should have."""

    def __init__(self, venue: CexVenue, books: Books | None = None) -> None:
        self.venue = venue
        self.rows: list[VenueRow] = []
        self._builder = RowBuilder()
        self.books = books
        if books is not None:
            venue.desks["main"].check.expect(self._by_the_log)

    def _by_the_log(self, account: str, venue: str) -> Mapping[str, int]:
        self.take()
        return {} if self.books is None else self.books.totals(account, venue)

    async def submit(
        self,
        order: int,
        qty_int: int = 100_000,
        *,
        tif: str = "ioc",
        side: str = "buy",
        price_int: int = 6_000_001,
        age_ms: int = 0,
    ) -> None:
        """Send an order that is so old; done when a row tells what came of it first."""
        self.venue.send(
            [
                SubmitOrder(
                    ts=self.venue.desks["main"].account.now() - age_ms * NANOS_PER_MS,
                    order=order,
                    client_order_id=f"{LOG_ID[:8]}-1-{order}",
                    account="main",
                    strategy="s",
                    instrument=0,
                    side=side,
                    tif=tif,
                    price_int=price_int,
                    qty_int=qty_int,
                )
            ]
        )
        await self.until(bool, order)

    async def cancel(self, order: int) -> None:
        """Cancel one; what comes of it the rows tell."""
        client = f"{LOG_ID[:8]}-1-{order}"
        self.venue.send([CancelOrder(ts=0, order=order, client_order_id=client, account="main", strategy="s", instrument=0)])

    async def until(self, seen: Callable[[list[str]], bool], order: int | None = None) -> list[str]:
        """Wait until the events of an order (or of all) are as asked; they, shortly: `fill 0.5`, `rejected never_arrived`."""
        try:
            async with asyncio.timeout(WAIT_S):
                while True:
                    self.take()
                    events = self.events(order)
                    if seen(events):
                        return events
                    await self.venue.rows_came()
        except TimeoutError:
            raise AssertionError(f"{self.events(order)}; {self.of('health')}; {self.of('rejects')}") from None

    def take(self) -> None:
        """Take the rows that came; each is one that a log takes."""
        for row in self.venue.take_rows():
            self._builder.put_named(row.kind, 0, row.values)
            self.rows.append(row)
            if self.books is not None:
                self.books.take(row.kind, row.values)

    def events(self, order: int | None = None) -> list[str]:
        """Report events so far."""
        found = []
        for kind, values in self.rows:
            if kind == "reports" and (order is None or values["order"] == order):
                more = format_decimal(values["qty"], 18) if values["event"] == "fill" else values.get("reason")
                found.append(values["event"] if more is None else f"{values['event']} {more}")
        return found

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Rows of a kind so far."""
        self.take()
        return [values for name, values in self.rows if name == kind]

    def names(self, count: int) -> list[OrderName]:
        """Names of the first orders."""
        return [OrderName(1, number) for number in range(1, count + 1)]

    def filled(self) -> int:
        """Quantity of all fills of ours, money."""
        return sum(v["qty"] for v in self.of("reports") if v["event"] == "fill" and v["order"] is not None)


@contextlib.asynccontextmanager
async def opened(venue: CexVenue, books: Books | None = None) -> AsyncIterator[Trader]:
    """The venue while it is open; whatever failed inside raises here."""
    trader = Trader(venue, books)
    try:
        await venue.open()
        yield trader
    finally:
        await venue.close()
    if venue.failure is not None:
        raise venue.failure


@contextlib.asynccontextmanager
async def trading(
    server: SmallExchange | SmallOkx, *, left: tuple[Expected, ...] = (), secret: str = SECRET, **terms: Any
) -> AsyncIterator[Trader]:
    """An open venue on the server, closed at the end."""
    place = Place(rest_url=f"http://{server.url}", stream_url=f"ws://{server.url}")
    name = "okx" if isinstance(server, SmallOkx) else "binance"
    made = AccountTerms(**{"label": "main", "exchange": name, "place": place, "timeout_ms": 1_500, "may_rest": True, **terms})
    keys = {"api_key": KEY, "api_secret": secret} | ({"password": PASSWORD} if name == "okx" else {})
    account = Account(made, Keys(name, "main", keys), ["BTC/USDT"])
    one = BTC if name == "binance" else msgspec.structs.replace(BTC, venue="okx", native=NATIVE)
    venue = CexVenue(name, [account], [one], wishes=Wishes(log_id=LOG_ID, start=1, left=left), conns={"main": 7})
    async with opened(venue, books_of(name, server.opening)) as trader:
        yield trader
