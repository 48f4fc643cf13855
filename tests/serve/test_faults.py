"""The fault schedule: each kind does what it says, where and when it says, and nothing else."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from tests.serve.site import LOTS, STANDING, SYMBOL, Site, book, head, run, serving
from tests.trial import Rows
from xarb.serve.faults import Fault

ORDER = "POST /api/v3/order"
QUOTES = "btcusdt@bookTicker"
ROWS: Rows = [*head(), (10, STANDING), *((20 + n, book([(9_900 + n, LOTS)], [(10_000, LOTS)])) for n in range(6))]


def _orders(site: Site) -> list[str]:
    return [one.status for one in site.server.desk.orders("main", "alpha")]


@pytest.mark.parametrize("kind", ["drop_reply", "close"])
def test_an_order_is_taken_and_its_reply_lost(tmp_path: Path, kind: Any) -> None:
    """The second order's answer never comes; the order exists, once."""

    async def test() -> None:
        async with serving(tmp_path, ROWS, faults=(Fault(kind=kind, on=ORDER, after=2),)) as site:
            await site.to(10)
            assert (await site.order("BUY", "0.1", "90.00")).status == 200
            with pytest.raises(aiohttp.ServerDisconnectedError):
                await site.order("BUY", "0.1", "90.00", newClientOrderId="lost")
            assert (await site.signed("GET", "/api/v3/order", symbol=SYMBOL, origClientOrderId="lost")).body["status"] == "NEW"
            assert (await site.order("BUY", "0.1", "90.00")).status == 200
            assert _orders(site) == ["NEW"] * 3
            assert (await site.get("/xarb/status")).body["faults"] == 1

    run(test())


@pytest.mark.parametrize(
    ("status", "code", "retry"), [(503, None, None), (503, -1000, None), (429, -1003, 7), (418, -1003, 60), (500, None, None)]
)
def test_a_status_in_place_of_an_answer(tmp_path: Path, status: int, code: int | None, retry: int | None) -> None:
    """Nothing is done; with a code the body is JSON, else a web page; every request from the first on, for a count of two."""
    fault = Fault(kind="status", on=ORDER, after=1, count=2, status=status, code=code, message="no", retry_after_s=retry)

    async def test() -> None:
        async with serving(tmp_path, ROWS, faults=(fault,)) as site:
            await site.to(10)
            for _ in range(2):
                reply = await site.order("BUY", "0.1", "90.00")
                assert reply.status == status
                assert reply.body == {"code": code, "msg": "no"} if code is not None else "<html>" in reply.body
                assert reply.headers.get("Retry-After") == (None if retry is None else str(retry))
            assert _orders(site) == []
            assert (await site.order("BUY", "0.1", "90.00")).status == 200

    run(test())


def test_a_truncated_answer_is_still_a_200(tmp_path: Path) -> None:
    """Half of the JSON, and the order stands."""

    async def test() -> None:
        async with serving(tmp_path, ROWS, faults=(Fault(kind="truncate", on="POST *", after=1),)) as site:
            await site.to(10)
            reply = await site.order("BUY", "0.1", "90.00")
            assert reply.status == 200
            assert isinstance(reply.body, str)  # no JSON
            assert reply.body.startswith('{"symbol"')
            assert _orders(site) == ["NEW"]

    run(test())


def test_a_list_may_be_empty(tmp_path: Path) -> None:
    """Nothing is listed, with 200, although an order stands; then it is."""
    faults = (Fault(kind="empty", on="GET /api/v3/openOrders", after=1),)

    async def test() -> None:
        async with serving(tmp_path, ROWS, faults=faults) as site:
            await site.to(10)
            await site.order("BUY", "0.1", "90.00")
            replies = [await site.signed("GET", "/api/v3/openOrders", symbol=SYMBOL) for _ in range(2)]
            assert [(reply.status, len(reply.body)) for reply in replies] == [(200, 0), (200, 1)]

    run(test())


def test_an_answer_that_hangs_or_comes_late(tmp_path: Path) -> None:
    """Hanging ends with the client's patience; late is late, and neither holds up others."""
    faults = (Fault(kind="hang", on=ORDER, after=1), Fault(kind="delay", on="GET /api/v3/time", after=1, for_s=Decimal(1)))

    async def test() -> None:
        async with serving(tmp_path, ROWS, faults=faults) as site:
            await site.to(10)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(site.order("BUY", "0.1", "90.00"), 1.0)
            assert _orders(site) == ["NEW"]
            late = asyncio.ensure_future(site.get("/api/v3/time"))
            assert (await site.get("/api/v3/ping")).status == 200
            assert not late.done()
            assert (await late).status == 200

    run(test())


def test_faults_of_the_request_socket(tmp_path: Path) -> None:
    """A status, half an answer, and a connection that ends after the order was taken."""
    faults = (
        Fault(kind="status", on="order.place", after=1, status=503, code=-1001),
        Fault(kind="truncate", on="order.place", after=2),
        Fault(kind="drop_reply", on="order.place", after=3),
    )
    params = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.1", "price": "90.00"}

    async def test() -> None:
        async with serving(tmp_path, ROWS, faults=faults) as site, site.requests() as ws:
            await site.to(10)
            failed = await site.ask(ws, "order.place", params, sign=True)
            assert (failed["status"], failed["error"]["code"]) == (503, -1001)
            assert _orders(site) == []
            with pytest.raises(ValueError, match="line 1"):
                await site.ask(ws, "order.place", params, sign=True)
            with pytest.raises(aiohttp.WSMessageTypeError):
                await site.ask(ws, "order.place", params, sign=True)
            assert _orders(site) == ["NEW", "NEW"]

    run(test())


async def _frames(site: Site, count: int) -> list[str]:
    """The first frames of the quotes while the market moves to its end."""
    async with site.streams(f"/ws/{QUOTES}") as ws:
        await site.to(40)
        return [await ws.receive_str() for _ in range(count)]


def _bids(frames: list[str]) -> list[str]:
    return [msgspec.json.decode(frame)["b"][:5] for frame in frames]


@pytest.mark.parametrize(
    ("kind", "seen"),
    [
        ("gap", ["99.90", "99.00", "99.02", "99.03", "99.04", "99.05"]),
        ("duplicate", ["99.90", "99.00", "99.01", "99.01", "99.02", "99.03", "99.04", "99.05"]),
        ("reorder", ["99.90", "99.00", "99.02", "99.01", "99.03", "99.04", "99.05"]),
        ("delay", ["99.90", "99.00", "99.02", "99.03", "99.04", "99.05", "99.01"]),
        ("freeze", ["99.90", "99.00", "99.01", "99.02", "99.03", "99.04", "99.05"]),
    ],
)
def test_what_happens_to_a_frame(tmp_path: Path, kind: Any, seen: list[str]) -> None:
    """The third frame never comes, comes twice, after the next one, much later, or with everything after a silence."""
    fault = Fault(kind=kind, on=QUOTES, after=3, for_s=Decimal("0.2"))

    async def test() -> None:
        async with serving(tmp_path, ROWS, faults=(fault,)) as site:
            assert _bids(await _frames(site, len(seen))) == seen

    run(test())


def test_a_malformed_frame_stands_among_good_ones(tmp_path: Path) -> None:
    """The second frame is half of itself, the third is whole."""

    async def test() -> None:
        async with serving(tmp_path, ROWS, faults=(Fault(kind="malformed", on=QUOTES, after=2),)) as site:
            first, second, third = await _frames(site, 3)
            assert _bids([first, third]) == ["99.90", "99.01"]
            with pytest.raises(msgspec.DecodeError):
                msgspec.json.decode(second)

    run(test())


@pytest.mark.parametrize(("code", "seen"), [(1001, 1001), (1006, 1006), (1012, 1012)])
def test_a_frame_that_ends_the_connection(tmp_path: Path, code: int, seen: int) -> None:
    """With a close code, or without a word; the market goes on for who connects again."""

    async def test() -> None:
        async with serving(tmp_path, ROWS, faults=(Fault(kind="close", on=QUOTES, after=3, code=code),)) as site:
            async with site.streams(f"/ws/{QUOTES}") as ws:
                await site.to(40)
                while not ws.closed:
                    await ws.receive()
                assert ws.close_code == seen
            assert (await site.get("/api/v3/depth", symbol=SYMBOL)).body["bids"][0][0] == "99.05000000"

    run(test())


def test_reports_of_orders_come_twice_late_or_in_another_order(tmp_path: Path) -> None:
    """The user stream's frames are named after their events."""
    faults = (Fault(kind="duplicate", on="executionReport", after=1), Fault(kind="reorder", on="executionReport", after=2))

    async def test() -> None:
        async with serving(tmp_path, ROWS, faults=faults) as site, site.requests() as ws:
            await site.to(10)
            await site.user_stream(ws)
            await site.order("BUY", "0.1", "100.00", timeInForce="IOC")
            events = [(await ws.receive_json())["event"] for _ in range(4)]
            assert [(one["e"], one.get("x")) for one in events] == [
                ("executionReport", "NEW"),
                ("executionReport", "NEW"),
                ("outboundAccountPosition", None),
                ("executionReport", "TRADE"),
            ]

    run(test())


def test_by_the_clock(tmp_path: Path) -> None:
    """The clock is wrong for a while, a shutdown is announced, then the sockets close."""
    faults = (
        Fault(kind="clock_offset", at_s=Decimal(0), offset_ms=5000, for_s=Decimal("1.5")),
        Fault(kind="server_shutdown", at_s=Decimal("0.05"), for_s=Decimal("0.1")),
    )

    async def test() -> None:
        async with serving(tmp_path, ROWS, faults=faults) as site, site.streams() as ws:
            event = await ws.receive_json()
            assert event["e"] == "serverShutdown"
            ahead = (await site.get("/api/v3/time")).body["serverTime"] - site.clock.wall_ns() // 1_000_000
            assert 4_900 < ahead <= 5_000
            assert (await site.order("BUY", "0.1", "90.00", recvWindow=1000)).body["code"] == -1021
            while not ws.closed:
                await ws.receive()
            assert ws.close_code == 1001
            await asyncio.wait_for(_right(site), 10)

    run(test())


def test_a_user_stream_ends_and_its_socket_stays(tmp_path: Path) -> None:
    """`eventStreamTerminated`, then nothing more of the account; a new subscription is told again."""
    faults = (Fault(kind="user_stream_end", at_s=Decimal(1)), Fault(kind="server_shutdown", at_s=Decimal("1.6")))

    async def test() -> None:
        async with serving(tmp_path, ROWS, faults=faults) as site, site.requests() as ws, site.streams("/stream") as combined:
            await site.user_stream(ws)
            event = await ws.receive_json()
            assert (event["subscriptionId"], event["event"]["e"]) == (0, "eventStreamTerminated")
            await site.order("BUY", "0.1", "90.00")
            again = await site.ask(ws, "userDataStream.subscribe.signature", sign=True)
            assert again["result"] == {"subscriptionId": 1}
            await site.order("BUY", "0.1", "90.00", newClientOrderId="second")
            report = await ws.receive_json()
            assert (report["subscriptionId"], report["event"]["c"]) == (1, "second")
            assert (await combined.receive_json())["stream"] == "!serverShutdown"
            assert (await ws.receive_json())["event"]["e"] == "outboundAccountPosition"
            assert (await ws.receive_json())["event"]["e"] == "serverShutdown"

    run(test())


async def _right(site: Site) -> None:
    """Until the server's clock is right again."""
    while (await site.get("/api/v3/time")).body["serverTime"] - site.clock.wall_ns() // 1_000_000 > 100:  # noqa: ASYNC110  # no event
        await asyncio.sleep(0.02)  # requests without a pause would use the weight of a minute up


def test_a_fault_of_another_venue_does_nothing(tmp_path: Path) -> None:
    """`venue` limits it."""

    async def test() -> None:
        async with serving(tmp_path, ROWS, faults=(Fault(kind="status", after=1, count=0, venue="bravo"),)) as site:
            assert (await site.get("/api/v3/ping")).status == 200

    run(test())
