"""The replay: when it begins, where it begins, what its clock says, and how long its books are kept."""

from __future__ import annotations

import asyncio
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.log.logs import START, connection, instrument, quote
from tests.serve.site import LOTS, STANDING, SYMBOL, book, head, run, serving, serving_log, trade
from tests.trial import MS, Rows, write_log
from xarb.serve.clock import WallClock

if TYPE_CHECKING:
    import aiohttp

ROWS: Rows = [
    *head(),
    (10, STANDING),
    (20, trade(10_000, LOTS)),
    (30, book([(9_000, LOTS)], [(9_100, LOTS)])),
    (40, trade(9_100, 10)),
]


def test_it_begins_later_with_the_books_as_they_were(tmp_path: Path) -> None:
    """Rows before `skip_to` are applied before anyone asks, and nothing after it until then."""

    async def test() -> None:
        async with serving(tmp_path, ROWS, skip_to=START + 25 * MS) as site:
            while site.server.market.applied < 4:
                await site.get("/xarb/status")
            status = (await site.get("/xarb/status")).body
            assert (status["begun"], status["rows"]) == (False, 4)
            depth = (await site.get("/api/v3/depth", symbol=SYMBOL)).body
            assert depth["bids"][0] == ["99.90000000", "1.00000000"]
            assert len((await site.get("/api/v3/trades", symbol=SYMBOL)).body) == 1
            await site.to(30)
            assert (await site.get("/api/v3/depth", symbol=SYMBOL)).body["bids"][0][0] == "90.00000000"
            await site.to(40)
            assert (await site.get("/xarb/status")).body["ended"] is True

    run(test())


def test_log_time_is_wall_time_at_a_speed() -> None:
    """Twice as fast, from a stated time on; times before the beginning lie before now."""
    now = [5_000]
    clock = WallClock(Fraction(2), monotonic=lambda: now[0], wall=lambda: 1_000_000)
    clock.aim(100)
    assert clock.wall_of(60) == 1_000_000 - 20
    assert clock.log_ns() < 0
    clock.start()
    now[0] += 500
    assert (clock.log_ns(), clock.wall_ns(), clock.wall_of(1_100)) == (1_100, 1_000_500, 1_000_500)


def test_two_venues_of_one_log_share_one_time(tmp_path: Path) -> None:
    """Each has its own port, books, balances; a gap empties one venue's books and not the other's."""
    steps = {"tick_int": 1, "lot_int": 10, "native": SYMBOL}
    other = {"conn": 1, "venue": "bravo"}
    rows: Rows = [
        *head(),
        (0, connection(1, "bravo")),
        (0, instrument(("bravo", "BTC/USDT"), 2, 5, **steps)),
        (10, STANDING),
        (11, ("books", STANDING[1] | other)),
        (20, connection(1, "bravo", "lost")),
    ]
    log = write_log(tmp_path / "log", rows)

    async def test() -> None:
        async with serving_log(log, ("alpha", "bravo")) as site:
            await site.to(11)
            first, second = site.server.addresses
            assert first.port != second.port
            assert (await site.order("BUY", "1", "100.00")).body["status"] == "FILLED"
            asks = [await _asks(site.http, one.rest) for one in (first, second)]
            assert (asks[0][0][0], asks[1][0][0]) == ("100.10000000", "100.00000000")
            site.base = second.rest
            assert (await site.order("BUY", "1", "100.00")).body["msg"].startswith("Account has insufficient balance")
            await site.to(20)
            assert [len(await _asks(site.http, one.rest)) for one in (first, second)] == [2, 0]

    run(test())


async def _asks(http: aiohttp.ClientSession, rest: str) -> list[list[str]]:
    async with http.get(f"{rest}/api/v3/depth?symbol={SYMBOL}") as answer:
        found: list[list[str]] = (await answer.json())["asks"]
    return found


def test_finer_scales_change_nothing_that_clients_see(tmp_path: Path) -> None:
    """A log that grows an instrument's scales: the book is the same text, and a resting order stands and fills."""
    finer = ("instruments", head()[1][1][1] | {"px_scale": 4, "qty_scale": 6, "tick_int": 100, "lot_int": 100})
    sale = ("trades", trade(990_000, 1_000_000, "sell")[1] | {"px_scale": 4, "qty_scale": 6})
    rows: Rows = [*head(), (10, STANDING), (20, finer), (30, sale)]

    async def test() -> None:
        async with serving(tmp_path, rows) as site:
            await site.to(10)
            before = (await site.get("/api/v3/depth", symbol=SYMBOL)).body
            assert (await site.order("BUY", "0.5", "99.50", newClientOrderId="a")).body["status"] == "NEW"
            await site.to(20)
            after = (await site.get("/api/v3/depth", symbol=SYMBOL)).body
            assert (after["bids"], after["asks"]) == (before["bids"], before["asks"])
            await site.to(30)
            known = (await site.signed("GET", "/api/v3/order", symbol=SYMBOL, origClientOrderId="a")).body
            assert (known["status"], known["executedQty"], known["cummulativeQuoteQty"]) == ("FILLED", "0.50000000", "49.75000000")

    run(test())


def test_a_long_ledger_is_carried_forward(tmp_path: Path) -> None:
    """Beyond its bound the older half becomes opening rows; the sums are the balances all the same."""

    async def test() -> None:
        async with serving(tmp_path, ROWS) as site:
            site.server.desk._kept_rows = 20
            await site.to(10)
            for number in range(30):
                await site.order(("BUY", "SELL")[number % 2], "0.1", ("100.00", "99.90")[number % 2], timeInForce="IOC")
            desk = site.server.desk
            assert len(desk.ledger) <= 23
            booked: Counter[tuple[str, str, str]] = Counter()
            for row in desk.ledger:
                booked[row.account, row.venue, row.asset] += row.change
            assert dict(booked) == desk.balances()

    run(test())


def test_rows_that_are_not_served_move_time_too(tmp_path: Path) -> None:
    """A perpetual of the same venue is recorded, not served; an order after its last row meets the book as of then."""
    perpetual = {"kind": "perpetual", "contract": "linear", "tick_int": 1, "lot_int": 10, "native": "BTCUSDT-PERP"}
    far = quote(9_000, 9_010, key=("alpha", "BTC/USDT:USDT"), bid_qty_int=1, ask_qty_int=1)
    rows: Rows = [*head(), (0, instrument(("alpha", "BTC/USDT:USDT"), 2, 5, **perpetual)), (10, STANDING), (50, far)]

    async def test() -> None:
        async with serving(tmp_path, rows) as site:
            await site.to(60)
            assert site.server.market.ended.is_set()
            assert site.server.market.ts == START + 50 * MS
            assert (await site.order("BUY", "1", "100.00")).body["status"] == "FILLED"
            assert [one["symbol"] for one in (await site.get("/api/v3/exchangeInfo")).body["symbols"]] == [SYMBOL]

    run(test())


def test_a_bug_ends_the_server_and_is_not_lost(tmp_path: Path) -> None:
    """What no client can cause is answered with a 500 and raised where the server was started."""

    async def test() -> None:
        async with serving(tmp_path, ROWS) as site:
            await site.to(10)
            site.server.desk._by_client_id["main", "alpha", "broken"] = 1
            site.server.desk._orders[1] = "no order"  # type: ignore[assignment]  # the damage
            stop = asyncio.Event()
            serves = asyncio.ensure_future(site.server.serve(stop))
            reply = await site.signed("GET", "/api/v3/order", symbol=SYMBOL, origClientOrderId="broken")
            assert reply.status == 500
            with pytest.raises(AttributeError):
                await serves

    with pytest.raises(AttributeError):
        run(test())
