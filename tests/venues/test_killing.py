"""A kill at one account is done once the exchange has proven that no order of the log lives, and says what it could not prove."""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal
from typing import Any

import pytest

from tests.venues.exchange_server import SmallExchange
from tests.venues.test_cex import ends, run
from tests.venues.trader import LOG_ID, Trader, books_of, trading
from xarb.model.units import parse_money
from xarb.venues import killing
from xarb.venues.killing import Killed, Suspects, kill
from xarb.venues.liveorders import Expected
from xarb.venues.orderids import OrderName

NAMES = [f"{LOG_ID[:8]}-1-{number}" for number in range(4)]
ORDER: dict[str, Any] = {"symbol": "BTCUSDT", "price": "5", "quantity": "2", "side": "SELL", "type": "LIMIT"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five times as fast as it is."""
    monkeypatch.setattr(killing, "PAUSES_S", tuple(pause_s / 5 for pause_s in killing.PAUSES_S))
    monkeypatch.setattr(killing, "PATIENCE_S", killing.PATIENCE_S / 5)


def server_with(*client_ids: str) -> SmallExchange:
    """An exchange at which these orders rest, and that pushes nothing: who trades there would cancel what it does not remember."""
    server = SmallExchange()
    server.is_mute = True
    server.fill = Decimal(0)
    for client_id in client_ids:
        server.accept({**ORDER, "newClientOrderId": client_id})
    return server


def suspects(*numbers: int, symbols: tuple[str, ...] = ("BTC/USDT",), **more: Any) -> Suspects:
    """A log that does not know the end of its orders of these numbers."""
    orders = tuple(
        Expected(
            name=OrderName(1, number),
            account="main",
            strategy="s",
            venue="binance",
            symbol="BTC/USDT",
            side="buy",
            qty=parse_money("2"),
        )
        for number in numbers
    )
    return Suspects(log_id=LOG_ID, symbols=symbols, orders=orders, **more)


async def killed(at: Trader, wanted: Suspects) -> Killed:
    """Kill at the trader's account."""
    return await kill(at.venue.desks["main"].account, wanted)


def asked(server: SmallExchange, end: str) -> int:
    """How often a kind of request came."""
    return sum(path.endswith(end) for _, path, _ in server.seen)


def test_kill_cancels_ours_and_leaves_others() -> None:
    """Two orders of the log and one of somebody else: ours are gone, the other stands, and several lists are the proof."""

    async def work() -> None:
        server = server_with("web_1")
        server.is_mute = False
        async with server.serving(), trading(server, settle_ms=400) as at:
            for number in (1, 2):
                await at.submit(number, tif="gtc")
                await at.until(ends("accepted"), number)
            server.seen.clear()
            found = await killed(at, suspects())
            assert (set(found.canceled), found.unproven, found.foreign) == ({NAMES[1], NAMES[2]}, (), 1)
            assert [order["status"] for order in server.orders.values()] == ["NEW", "CANCELED", "CANCELED"]
            assert asked(server, "/openOrders") > killing.CLEAR
            await at.until(ends("canceled"), 2)

    run(work())


def test_a_list_that_is_stale_ends_no_kill() -> None:
    """The first two lists lack an order that rests already: it is found by a later one and canceled."""

    async def work() -> None:
        server = server_with()
        async with server.serving(), trading(server, settle_ms=400) as at:
            server.accept({**ORDER, "newClientOrderId": NAMES[1]})
            server.stale_lists = [[], []]
            found = await killed(at, suspects())
            assert (found.canceled, found.unproven) == ((NAMES[1],), ())
            assert server.orders[1]["status"] == "CANCELED"

    run(work())


def test_a_list_that_still_shows_what_ended_does_not_hold_a_kill_up() -> None:
    """An order whose cancel the exchange stated stays in its lists for long: its own word by id is the later one."""

    async def work() -> None:
        server = server_with()
        async with server.serving(), trading(server, settle_ms=400) as at:
            server.accept({**ORDER, "newClientOrderId": NAMES[1]})
            server.stale_lists = [[1]] * 50
            found = await killed(at, suspects())
            assert (found.canceled, found.unproven) == ((NAMES[1],), ())

    run(work())


def test_an_order_that_no_list_shows_is_found_by_its_id() -> None:
    """The log says that it may live: it is canceled by its client id; one that filled meanwhile is told with what it filled."""

    async def work() -> None:
        server = server_with()
        async with server.serving(), trading(server, settle_ms=400) as at:
            server.hidden = {NAMES[1], NAMES[2]}
            for number in (1, 2):
                server.accept({**ORDER, "newClientOrderId": NAMES[number]})
            server.execute(2, Decimal(2))
            found = await killed(at, suspects(1, 2))
            assert (found.canceled, found.ended, found.unproven) == ((NAMES[1],), (f"{NAMES[2]} filled, 2 filled",), ())
            assert server.orders[1]["status"] == "CANCELED"

    run(work())


@pytest.mark.parametrize("fault", ["lose", "drop"])
def test_a_cancel_without_an_answer_is_looked_up(fault: str) -> None:
    """The connection ends before the answer, canceled or not: the order is canceled in the end, and proven to be."""

    async def work() -> None:
        server = server_with()
        async with server.serving(), trading(server, settle_ms=400) as at:
            server.accept({**ORDER, "newClientOrderId": NAMES[1]})
            server.cancel_faults = [fault]
            found = await killed(at, suspects(1))
            assert (found.canceled, found.unproven) == ((NAMES[1],), ())
            assert server.orders[1]["status"] == "CANCELED"

    run(work())


def test_an_order_that_comes_to_life_late_is_met() -> None:
    """Neither known by its id nor listed at first, as one that is on its way: it is canceled when it comes."""

    async def work() -> None:
        server = server_with()
        async with server.serving(), trading(server, settle_ms=400) as at:
            came = asyncio.get_running_loop().call_later(0.3, server.accept, {**ORDER, "newClientOrderId": NAMES[1]})
            found = await killed(at, suspects(1))
            assert came.when() < asyncio.get_running_loop().time()
            assert (found.canceled, found.unproven) == ((NAMES[1],), ())

    run(work())


def test_what_never_arrived_is_proven_and_what_a_fill_may_be_of_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing by its id for long and no fill: it never arrived. A fill of an order that the exchange denies: not proven."""
    monkeypatch.setattr(killing, "PATIENCE_S", 1.0)

    async def work() -> None:
        server = server_with()
        async with server.serving(), trading(server, settle_ms=400) as at:
            found = await killed(at, suspects(1))
            assert (found.ended, found.unproven) == ((f"{NAMES[1]} never arrived",), ())
            server.fill = Decimal(1)
            server.accept({**ORDER, "newClientOrderId": NAMES[2]})
            server.unknown = 100
            found = await killed(at, suspects(2))
            assert found.unproven == (f"{NAMES[2]}: not found by its id, but a fill may be of it",)

    run(work())


def compared(server: SmallExchange, *numbers: int, ended_at: int | None = None) -> Suspects:
    """The same of a log that ended just now, and says what the account had when the exchange opened."""
    books = books_of("binance", server.opening)
    return suspects(*numbers, venue="binance", ledger=books, ended_at=time.time_ns() if ended_at is None else ended_at)


def test_an_order_that_is_denied_is_not_proven_where_the_balance_shows_a_fill(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its id, in lists and among fills there is nothing, and money has moved: what differs is told. Of an old log the balance is told alone."""
    monkeypatch.setattr(killing, "PATIENCE_S", 0.1)
    monkeypatch.setattr(killing, "PAUSES_S", (0.0, 0.05))

    async def work() -> None:
        server = server_with()
        async with server.serving(), trading(server, settle_ms=100) as at:
            server.fill, server.hides_trades, server.unknown = Decimal(1), True, 10**6
            server.accept({**ORDER, "side": "BUY", "newClientOrderId": NAMES[1]})
            found = await killed(at, compared(server, 1))
            moved = "1.998 BTC, -10 USDT"
            assert found.unproven == (
                f"{NAMES[1]}: not found by its id, but the balance differs by {moved}, which may be a fill of it",
            )
            assert found.differs == moved
            found = await killed(at, compared(server, 1, ended_at=0))
            assert (found.ended, found.unproven, found.differs) == ((f"{NAMES[1]} never arrived",), (), moved)

    run(work())


def test_what_the_log_and_what_came_since_explain_is_no_difference() -> None:
    """An order that never arrived is dead by the balance too; fills count once, deposits too, and what is left is told with its sign."""

    async def work() -> None:
        server = server_with()
        async with server.serving(), trading(server, settle_ms=100) as at:
            server.fill = Decimal("0.5")
            server.accept({**ORDER, "side": "BUY", "newClientOrderId": NAMES[1]})
            wanted = compared(server, 1, 2)
            found = await killed(at, wanted)
            assert (found.canceled, found.ended) == ((NAMES[1],), (f"{NAMES[2]} never arrived",))
            assert (found.unproven, found.differs) == ((), "")
            server.balances["BTC"] -= Decimal("0.5")
            server.balances["XRP"] = Decimal(7)
            assert (await killed(at, wanted)).differs == "-0.5 BTC, 7 XRP", "fills count once"
            server.balances["BTC"] += Decimal("2.5")
            deposit = {"amount": "2.5", "coin": "BTC", "network": "BTC", "status": 1, "id": "d1", "txId": "ab", "address": "x"}
            server.deposits.append({**deposit, "insertTime": time.time_ns() // 1_000_000, "transferType": 0})
            assert (await killed(at, wanted)).differs == "-0.5 BTC, 7 XRP", "a deposit is no difference"

    run(work())


def test_what_is_not_compared_is_said() -> None:
    """Without books, and where the exchange does not say what there is: a kill is proven all the same."""

    async def work() -> None:
        server = server_with()
        async with server.serving(), trading(server, settle_ms=100) as at:
            assert (await killed(at, suspects())).differs == killing.UNCOMPARED

            async def refuse(_: object) -> None:
                raise NotImplementedError("no balances")

            at.venue.desks["main"].account.client.fetch_balance = refuse
            found = await killed(at, compared(server))
            assert (found.unproven, found.differs) == ((), "not compared: NotImplementedError: no balances")

    run(work())


def test_what_cannot_be_asked_is_not_proven(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists that are cut off: the kill ends in its time and says so; a symbol that is gone has no orders."""
    monkeypatch.setattr(killing, "PATIENCE_S", 0.5)

    async def work() -> None:
        server = server_with()
        async with server.serving(), trading(server, settle_ms=400) as at:
            server.accept({**ORDER, "newClientOrderId": NAMES[1]})
            server.cuts_reads, server.kept = True, 0.5
            found = await killed(at, suspects(2, symbols=("BTC/USDT", "OLD/USDT")))
            assert [why.partition(":")[0] for why in found.unproven] == [NAMES[2], "orders on BTC/USDT"]
            assert found.failures[0] == "OLD/USDT: not listed any more, so that nothing rests there"

    run(work())


def test_a_ban_does_not_hold_a_kill_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exchange that wants nothing to be asked for an hour: the kill ends in its time, and the order is not proven to be gone."""
    monkeypatch.setattr(killing, "LONGEST_S", 1.0)

    async def work() -> None:
        server = server_with()
        async with server.serving(), trading(server, settle_ms=400) as at:
            server.accept({**ORDER, "newClientOrderId": NAMES[1]})
            server.cancel_faults = ["ban"]
            found = await asyncio.wait_for(killed(at, suspects(1)), 10)
            assert found.canceled == ()
            assert found.unproven[0].startswith(f"{NAMES[1]}: ")

    run(work())
