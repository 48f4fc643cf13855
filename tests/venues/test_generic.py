"""An exchange without a decoder of ours, through an unmodified ccxt client against a server on loopback."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.venues.player import Player, depth, snapshot
from tests.venues.test_stream import Desk, listings
from tests.verbs.test_record import QUICK, QUIET, recorded, rows, run
from xarb.config import RecordConfig, load_experiment
from xarb.errors import ConfigError
from xarb.sources import market_sources
from xarb.venues.clock import Clock
from xarb.venues.exchange import Place
from xarb.venues.generic import GenericFeed, GenericStream, tap, text_of
from xarb.venues.intake import Intake
from xarb.venues.markets import data_client
from xarb.venues.stream import StreamPolicy
from xarb.verbs.record import Recorder
from xarb.wires.rows import RowBuilder

POLICY = StreamPolicy(first_pause_s=0.01, longest_pause_s=0.05, tick_s=0.02)


@asynccontextmanager
async def desk(player: Player, channels: tuple[str, ...], policy: StreamPolicy = POLICY) -> AsyncIterator[Desk]:
    """A running ccxt client on a running server."""
    async with player.serving():
        made: list[Desk] = []
        intake = Intake(RowBuilder(), Clock(), lambda parts: made[0].deliver(parts))  # noqa: PLW0108  # made below
        place = Place(rest_url=player.rest_url, stream_url=player.stream_url)
        feed = GenericFeed("binance", "binance", 0, listings()[:1], channels, place)
        stream = GenericStream(feed, intake=intake, policy=policy)
        made.append(Desk(player, stream, intake))
        task = asyncio.create_task(stream.run())
        try:
            yield made[0]
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def trade(number: int, price: str) -> str:
    """A trade frame without an envelope."""
    stamp = 1_700_000_000_000
    return json.dumps(
        {"e": "trade", "E": stamp, "s": "BTCUSDT", "t": number, "p": price, "q": "0.00100000", "T": stamp, "m": False}
    )


def test_streamed_structures_become_events_and_raw_messages_are_kept() -> None:
    """Books as whole books, trades once each, exact numbers, every raw message; the connection says that it coalesces."""

    async def story() -> None:
        player = Player()
        player.depth_answer = lambda _: (200, snapshot(10), {})
        async with desk(player, ("books", "trades")) as it:
            await it.player.next_subscription()
            await it.until(lambda: len(player.heard) == 2)
            for _ in range(2):
                for socket in player.sockets:
                    await socket.send_str(depth(11, 12, price="59999.10000000"))
                    await socket.send_str(trade(1, "60000.10000000"))
            await it.until(lambda: it.of("trades") and it.of("books", bid_00_int=5_999_910))
            assert len(it.of("trades")) == 1
            assert (it.of("trades")[0]["price_int"], it.of("trades")[0]["px_scale"]) == (6_000_010, 2)
            assert b"59999.10000000" in b"".join(row["payload"] for row in it.of("frames"))
            assert it.of("connections")[0]["detail"].startswith("coalescing: ccxt binance, streamed")
            assert it.of("connections")[0]["source"] == "ccxt:binance"

    run(story())


def test_a_closed_socket_and_a_message_that_ccxt_cannot_read_are_gaps() -> None:
    """Both end the client, on record at once, and another one comes."""

    async def story() -> None:
        player = Player()
        player.depth_answer = lambda _: (200, snapshot(10), {})
        async with desk(player, ("trades",)) as it:
            socket = await it.player.next_subscription()
            await socket.send_str(trade(1, "60000"))
            await it.until(lambda: it.of("trades"))
            await socket.close(code=1001)
            await it.until(lambda: it.events().count("lost") == 1)
            socket = await it.player.next_subscription()
            await socket.send_str('{"e": ')
            await it.until(lambda: it.events().count("lost") == 2)
            assert it.events()[:3] == ["opened", "gap", "lost"]
            assert "could not read a message" in it.of("connections", event=4)[1]["detail"]
            socket = await it.player.next_subscription()
            await socket.send_str(trade(2, "60000"))
            await it.until(lambda: len(it.of("trades")) == 2)
            assert [row["epoch"] for row in it.of("connections", event=0)] == [1, 2, 3]

    run(story())


def test_the_end_of_a_socket_is_told_while_nobody_waits() -> None:
    """ccxt raises nothing when no call is pending; the tap tells."""

    async def story() -> None:
        async with Player().serving() as player:
            place = Place(rest_url=player.rest_url, stream_url=player.stream_url)
            client, ends = data_client("binance", ["BTC/USDT"], place=place), asyncio.Queue[str]()
            raw: list[bytes] = []
            tap(client, raw.append, ends.put_nowait)
            try:
                waiting = asyncio.create_task(client.watch_trades("BTC/USDT"))
                socket = await player.next_subscription()
                await socket.send_str(trade(1, "60000"))
                await waiting
                await socket.close(code=1001)
                async with asyncio.timeout(10):
                    assert "a socket" in await ends.get()
                assert trade(1, "60000").encode() in raw
            finally:
                await client.close()

    run(story())


def test_a_client_that_hears_nothing_is_made_anew() -> None:
    """ccxt may wait forever on a dead connection; after `age_s` it is thrown away."""

    async def story() -> None:
        player = Player()
        async with desk(player, ("trades",), StreamPolicy(first_pause_s=0.01, tick_s=0.02, age_s=0.3)) as it:
            for _ in range(2):
                await it.player.next_subscription()
            assert it.of("connections", event=4)[0]["detail"] == "nothing came for 0 s"

    run(story())


def test_books_and_trades_may_be_polled(tmp_path: Path) -> None:
    """`price_update_interval_ms` asks over REST that often; trades that overlap are recorded once."""

    async def story() -> None:
        player = Player()
        player.depth_answer = lambda _: (200, snapshot(10), {})
        player.trades = [
            {"a": n, "p": "60000.5", "q": "0.1", "f": n, "l": n, "T": 1_700_000_000_000 + n, "m": True} for n in range(3)
        ]
        async with player.serving():
            config = tmp_path / "poll.toml"
            config.write_text(
                f'[markets.binance]\nsymbols = ["BTC/USDT"]\nrest_url = "{player.rest_url}"\nprice_update_interval_ms = 50\n'
            )

            async def wait() -> None:
                async with asyncio.timeout(10):
                    while sum("/depth" in path for path in player.requests) < 5:  # noqa: ASYNC110  # the server has no event for it
                        await asyncio.sleep(0.01)

            await recorded(player, tmp_path / "log", wait, sources=market_sources(load_experiment(config)))

    run(story())
    assert len(rows(tmp_path / "log", "books")) >= 4
    assert [row["trade_id"] for row in rows(tmp_path / "log", "trades")] == ["0", "1", "2"]
    assert "polled every 0.05 s" in rows(tmp_path / "log", "connections")[0]["detail"]


@pytest.mark.parametrize("number", [0.1, 1e-7, 123456.789, 5, 2.5e16, 61837.63, 1 / 3])
def test_numbers_keep_their_shortest_exact_text(number: float) -> None:
    """The text reads back as the very same number, and is what a person would write."""
    assert float(Decimal(text_of(number))) == number
    assert len(text_of(number)) <= 19


@pytest.mark.parametrize("number", [None, True, [], {}])
def test_what_is_no_number_is_refused(number: Any) -> None:
    """A structure without its number becomes a reject."""
    with pytest.raises(TypeError):
        text_of(number)


def test_only_what_ccxt_has_can_be_asked_for(tmp_path: Path) -> None:
    """Deltas and marks do not exist in ccxt's structures, and an exchange that it does not know is refused."""
    config = tmp_path / "bad.toml"
    config.write_text('[markets.bitvavo]\nsymbols = ["BTC/EUR"]\nchannels = ["deltas"]\n')
    with pytest.raises(ConfigError, match="bitvavo has no channel deltas; it has: quotes, books, trades"):
        Recorder(market_sources(load_experiment(config)), tmp_path / "log", RecordConfig(), QUICK)
    config.write_text('[markets.nowhere]\nsymbols = ["BTC/EUR"]\n')
    with pytest.raises(ConfigError, match="ccxt knows no exchange 'nowhere'"):
        run(Recorder(market_sources(load_experiment(config)), tmp_path / "log", RecordConfig(), QUICK).run(None, QUIET))  # type: ignore[arg-type]
