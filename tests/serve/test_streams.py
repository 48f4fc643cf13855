"""Market streams: what is pushed, under which numbers, and that it adds up to the log's own book."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.serve.books import Sides, applied
from tests.serve.site import LOTS, STANDING, SYMBOL, Site, book, config, head, run, serving, serving_log, trade
from tests.trial import Rows
from xarb.log.reader import LogReader
from xarb.model.batch import Batch
from xarb.model.units import NANOS_PER_S
from xarb.serve.config import Limits
from xarb.wires.binance import BinanceSession
from xarb.wires.decimals import Listing
from xarb.wires.events import APPLY, DepthEvent, LinkEvent, QuoteEvent, RejectEvent, TradeEvent
from xarb.wires.session import Fetch

ROOT = Path(__file__).resolve().parents[2]
ROWS = [*head(), (10, STANDING)]
MOVED = book([(9_991, LOTS), (9_980, 2 * LOTS)], [(10_000, LOTS), (10_020, 3 * LOTS)])


async def _subscribe(ws: Any, *names: str) -> None:
    await ws.send_json({"method": "SUBSCRIBE", "params": list(names), "id": 1})
    assert await ws.receive_json() == {"result": None, "id": 1}


def test_quotes_and_trades_come_at_once(tmp_path: Path) -> None:
    """One frame for a changed top, none for an unchanged one, one for each trade; prices are exact."""
    same_top = book([(9_991, LOTS), (9_970, LOTS)], [(10_000, LOTS), (10_020, 3 * LOTS)])
    rows: Rows = [*ROWS, (20, MOVED), (30, same_top), (40, trade(10_000, 12_345)), (50, trade(9_991, 1, "unknown"))]

    async def test() -> None:
        async with serving(tmp_path, rows) as site, site.streams() as ws:
            await site.to(10)
            await _subscribe(ws, f"{SYMBOL.lower()}@bookTicker", f"{SYMBOL.lower()}@trade", f"{SYMBOL.lower()}@aggTrade")
            await site.to(50)
            quote = await ws.receive_json()
            assert quote == {
                "u": 2,
                "s": SYMBOL,
                "b": "99.91000000",
                "B": "1.00000000",
                "a": "100.00000000",
                "A": "1.00000000",
            }
            first, aggregate, second = [await ws.receive_json() for _ in range(3)]
            assert (first["e"], first["t"], first["p"], first["q"], first["m"]) == ("trade", 1, "100.00000000", "0.12345000", False)
            assert (aggregate["e"], aggregate["a"], aggregate["q"]) == ("aggTrade", 1, "0.12345000")
            assert (second["t"], second["m"]) == (2, True)  # nobody says who took; at the bid it counts as a sale

    run(test())


def test_an_order_moves_the_public_market(tmp_path: Path) -> None:
    """A client that takes the whole ask prints a trade and moves the quote, for every client."""

    async def test() -> None:
        async with serving(tmp_path, ROWS) as site, site.streams(f"/stream?streams={SYMBOL.lower()}@bookTicker") as ws:
            await site.to(10)
            assert (await ws.receive_json())["data"]["a"] == "100.00000000"
            await site.order("BUY", "1", "100.00")
            moved = await ws.receive_json()
            assert moved["stream"] == "btcusdt@bookTicker"
            assert (moved["data"]["a"], moved["data"]["A"]) == ("100.10000000", "2.00000000")

    run(test())


def test_the_book_follows_itself(tmp_path: Path) -> None:
    """Differences every 100 ms carry first and last update id without a hole, and removed levels as 0."""
    rows: Rows = [*ROWS, (20, MOVED)]

    async def test() -> None:
        async with serving(tmp_path, rows) as site, site.streams(f"/ws/{SYMBOL.lower()}@depth@100ms") as ws:
            await site.to(10)
            first = await ws.receive_json()
            assert (first["e"], first["U"], first["u"], len(first["b"]), len(first["a"])) == ("depthUpdate", 1, 1, 2, 3)
            await site.to(20)
            second = await ws.receive_json()
            assert (second["U"], second["u"]) == (2, 2)
            assert second["b"] == [["99.90000000", "0.00000000"], ["99.91000000", "1.00000000"]]
            assert second["a"] == [["100.10000000", "0.00000000"]]

    run(test())


def test_bars_and_tickers(tmp_path: Path) -> None:
    """miniTicker, ticker, kline and partial depth come within their second and say what was traded."""
    rows: Rows = [*ROWS, (20, trade(10_000, LOTS)), (30, trade(9_990, LOTS, "sell"))]

    async def test() -> None:
        async with serving(tmp_path, rows) as site, site.streams() as ws:
            lower = SYMBOL.lower()
            await _subscribe(
                ws, f"{lower}@miniTicker", f"{lower}@ticker", f"{lower}@kline_1m", f"{lower}@depth5", "!miniTicker@arr"
            )
            await site.to(30)
            frames: dict[str, Any] = {}
            while len(frames) < 5:
                frame = await ws.receive_json()
                frames["array" if isinstance(frame, list) else frame.get("e", "partial")] = frame
            mini, ticker, kline = frames["24hrMiniTicker"], frames["24hrTicker"], frames["kline"]
            assert (mini["o"], mini["c"], mini["v"], mini["q"]) == ("100.00000000", "99.90000000", "2.00000000", "199.90000000")
            assert (ticker["p"], ticker["P"], ticker["b"], ticker["n"]) == ("-0.10000000", "-0.100", "99.90000000", 2)
            assert (kline["k"]["i"], kline["k"]["n"], kline["k"]["V"]) == ("1m", 2, "1.00000000")
            assert frames["partial"]["bids"][0] == ["99.90000000", "1.00000000"]
            assert frames["array"][0]["s"] == SYMBOL
            rest = (await site.get("/api/v3/klines", symbol=SYMBOL, interval="1m")).body
            assert (rest[0][1], rest[0][4], rest[0][8]) == ("100.00000000", "99.90000000", 2)
            day = (await site.get("/api/v3/ticker/24hr", symbol=SYMBOL)).body
            assert (day["lastPrice"], day["weightedAvgPrice"], day["count"]) == ("99.90000000", "99.95000000", 2)

    run(test())


def test_subscriptions_are_managed_by_messages(tmp_path: Path) -> None:
    """LIST, UNSUBSCRIBE, the combined property, and errors for what is no request."""

    async def test() -> None:
        async with serving(tmp_path, ROWS) as site, site.streams() as ws:
            await _subscribe(ws, "btcusdt@trade", "btcusdt@depth", "nonsense")
            for message, answer in (
                ({"method": "LIST_SUBSCRIPTIONS", "id": 2}, {"result": ["btcusdt@trade", "btcusdt@depth"], "id": 2}),
                ({"method": "UNSUBSCRIBE", "params": ["btcusdt@depth"], "id": "x"}, {"result": None, "id": "x"}),
                ({"method": "LIST_SUBSCRIPTIONS", "id": 3}, {"result": ["btcusdt@trade"], "id": 3}),
                ({"method": "SET_PROPERTY", "params": ["combined", True], "id": 4}, {"result": None, "id": 4}),
                ({"method": "GET_PROPERTY", "params": ["combined"], "id": 5}, {"result": True, "id": 5}),
            ):
                await ws.send_json(message)
                assert await ws.receive_json() == answer
            await ws.send_json({"method": "SUBSCRIBE", "params": "all", "id": 6})
            assert (await ws.receive_json())["error"]["code"] == 2
            await ws.send_str("{")
            assert (await ws.receive_json())["error"]["code"] == 3

    run(test())


@pytest.mark.parametrize(
    "path", ["/ws/nonsense/btcusdt@trade/x@y/btcusdt@trade", "/stream?streams=nonsense/btcusdt@trade/x@y/btcusdt@trade"]
)
def test_streams_of_an_address_are_looked_at_like_those_of_a_message(tmp_path: Path, path: str) -> None:
    """What has no form of a stream is passed over, one that comes twice counts once, and too many are refused."""

    async def test() -> None:
        async with serving(tmp_path, ROWS, config=config(limits=Limits(frames_1s=1000, streams=2))) as site:
            async with site.streams(path) as ws:
                await ws.send_json({"method": "LIST_SUBSCRIPTIONS", "id": 1})
                assert await ws.receive_json(timeout=5) == {"result": ["btcusdt@trade"], "id": 1}
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await site.streams(f"{path}/btcusdt@depth/btcusdt@ticker")
            assert refused.value.status == 400

    run(test())


def test_a_client_that_talks_too_much_is_cut_off(tmp_path: Path) -> None:
    """More than five frames a second end the connection, as at Binance."""

    async def test() -> None:
        async with serving(tmp_path, ROWS, config=config(limits=Limits())) as site, site.streams() as ws:
            for number in range(6):
                await ws.send_json({"method": "LIST_SUBSCRIPTIONS", "id": number})
            while not ws.closed:
                await ws.receive()
            assert ws.close_code == 1008

    run(test())


def test_the_server_pings_and_drops_the_silent(tmp_path: Path) -> None:
    """A client that answers no ping is closed; one that does stays."""

    async def test() -> None:
        async with (
            serving(tmp_path, ROWS, ping_s=0.02, pong_s=0.6) as site,
            site.http.ws_connect(site.base + "/ws", autoping=False) as silent,
            site.streams() as talking,
        ):
            reads = asyncio.ensure_future(talking.receive())  # while it reads, its library answers pings
            while not silent.closed:
                await silent.receive()
            assert silent.close_code == 1008
            assert not reads.done()
            reads.cancel()

    run(test())


def final_book(log: Path, number: int, last_ts: int) -> tuple[dict[int, int], dict[int, int]]:
    """A naive replay of an instrument's deltas: bids and asks by price after all rows up to a time."""
    sides: tuple[dict[int, int], dict[int, int]] = ({}, {})
    synced = in_snapshot = False
    with LogReader(log) as reader:
        one = reader.instruments[number]
        for batch in reader.batches():
            for ts, row in _merged(batch, number):
                if ts > last_ts:
                    return sides
                if isinstance(row, dict):
                    if (
                        row["venue"] == one.venue
                        and row["event"] in {"gap", "lost", "closed"}
                        and row["symbol"] in {None, one.symbol}
                    ):
                        sides = ({}, {})
                        synced = in_snapshot = False
                    continue
                side, price, qty, is_snapshot, is_last, verdict = row
                if verdict == APPLY:
                    if is_snapshot and not in_snapshot:
                        sides, synced, in_snapshot = ({}, {}), True, True
                    if synced and side >= 0:
                        sides[side].pop(price, None)
                        if qty:
                            sides[side][price] = qty
                    if is_last:
                        in_snapshot = False
    return sides


def _merged(batch: Batch, number: int) -> list[tuple[int, Any]]:
    deltas = batch.deltas
    rows: list[tuple[int, int, Any]] = [(row.seq, row.ts_recv, row.values) for row in batch.slow if row.kind == "connections"]
    columns = (deltas.side, deltas.price, deltas.qty, deltas.is_snapshot, deltas.is_last, deltas.verdict)
    lists = [column.tolist() for column in (deltas.seq, deltas.ts_recv, deltas.inst, *columns)]
    rows += [(seq, ts, tuple(values)) for seq, ts, inst, *values in zip(*lists, strict=True) if inst == number]
    return [(ts, row) for _, ts, row in sorted(rows, key=lambda item: item[0])]


def test_served_depth_adds_up_to_the_log_s_own_book() -> None:
    """Snapshot and differences through our own Binance decoder: no gap, and the book of the log, also over the log's own gaps."""
    log = ROOT / "recordings" / "quickstart"

    async def test() -> None:
        async with serving_log(log, ("charlie",)) as site:
            with LogReader(log) as reader:
                number = reader.number("charlie", "BTC/USDT")
                assert number is not None
                session = BinanceSession("spot", [Listing(reader.instruments[number])], ("deltas", "quotes", "trades"))
                first = next(reader.batches()).slow[0].ts_recv
            client = Follower(site, session)
            async with site.streams() as ws:
                for ask in session.open(0):
                    await ws.send_str(ask.text)  # type: ignore[union-attr]  # the session subscribes
                for minute in (1, 2, 5, 7, 8, 14):
                    last = first + minute * 60 * NANOS_PER_S
                    await site.at(last)
                    await client.catch_up(ws, number)
                    assert client.book == final_book(log, number, last)
                    assert client.book[0]
            assert client.kinds == {"gap": 0, "reject": 0}
            assert client.quotes > 100
            assert client.trades > 20

    run(test())


class Follower:
    """Applies what our own decoder makes of the served frames."""

    def __init__(self, site: Site, session: BinanceSession) -> None:
        self.site = site
        self.session = session
        self.book: Sides = ({}, {})
        self.updates = self.quotes = self.trades = 0
        self.kinds = {"gap": 0, "reject": 0}

    async def catch_up(self, ws: Any, number: int) -> None:
        """Read until the update id is the server's."""
        while self.updates < self.site.server.market.books[number].updates:
            self.take((await ws.receive_str()).encode())
            for ask in self.session.asks():
                assert isinstance(ask, Fetch)
                async with self.site.http.get(self.site.base + ask.path) as answer:
                    self.take(await answer.read(), ask.native)

    def take(self, payload: bytes, native: str | None = None) -> None:
        """Apply one frame."""
        for event in self.session.receive(payload, native):
            if isinstance(event, DepthEvent):
                if event.verdict == APPLY:
                    self.book = applied(self.book, event)
                    self.updates = event.venue_seq or 0
            elif isinstance(event, QuoteEvent):
                self.quotes += 1
            elif isinstance(event, TradeEvent):
                self.trades += 1
            elif isinstance(event, RejectEvent):
                self.kinds["reject"] += 1
            elif isinstance(event, LinkEvent) and event.event == "gap":
                self.kinds["gap"] += 1


def test_a_client_that_never_reads_is_cut_off(tmp_path: Path) -> None:
    """The queue of a socket is bounded: beyond it the connection ends, and the market goes on for the others."""
    narrow = config(limits=Limits(queued_frames=100))
    rows: Rows = [*ROWS, *((20, trade(10_000, 1 + n)) for n in range(30_000))]

    async def test() -> None:
        async with serving(tmp_path, rows, config=narrow) as site:
            deaf = await asyncio.open_connection("127.0.0.1", site.server.addresses[0].port)
            deaf[1].write(b"GET /ws/btcusdt@trade HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n")
            deaf[1].write(b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
            await site.listened(streams=1)
            await site.to(20)
            while (await site.get("/xarb/status")).body["sockets"]:
                pass
            assert (await site.get("/api/v3/ticker/price", symbol=SYMBOL)).body["price"] == "100.00000000"
            deaf[1].close()

    run(test())


def test_a_bar_is_closed_once(tmp_path: Path) -> None:
    """Trades move the bar at hand; when its time is over it comes once more, closed, and the next one begins."""
    rows: Rows = [*ROWS, (20, trade(10_000, LOTS)), (30, trade(10_010, LOTS))]

    async def test() -> None:
        async with serving(tmp_path, rows) as site, site.streams(f"/ws/{SYMBOL.lower()}@kline_1m") as ws:
            site.clock.shift_ns = 60 * NANOS_PER_S - site.clock.wall_ns() % (60 * NANOS_PER_S)  # a minute begins
            await site.to(20)
            open_bar = (await ws.receive_json())["k"]
            assert (open_bar["x"], open_bar["n"]) == (False, 1)
            site.clock.shift_ns += 60 * NANOS_PER_S
            closed = (await ws.receive_json())["k"]
            assert (closed["t"], closed["x"], closed["n"]) == (open_bar["t"], True, 1)
            await site.to(30)
            following = (await ws.receive_json())["k"]
            assert (following["t"], following["x"], following["o"]) == (open_bar["T"] + 1, False, "100.10000000")

    run(test())
