"""Raw messages decoded again: the same rows with the same decoders, better ones with better decoders."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.venues.player import Player, depth, snapshot, ticker, trade
from tests.verbs.test_record import recorded, run, source
from xarb.errors import ConfigError
from xarb.log.check import verify_log
from xarb.log.manifest import Manifest
from xarb.verbs.rederive import rederive, rederived_tables, rows_in_order
from xarb.wires.binance import BinanceSession
from xarb.wires.decimals import Listing
from xarb.wires.events import RejectEvent, TradeEvent, WireEvent
from xarb.wires.exchanges import WIRES


async def busy(player: Player, folder: Path, *, times: int = 2) -> None:
    """Recordings with everything in them: a snapshot, a gap, a resync, rejects, finer values, a disconnect."""

    async def story() -> None:
        answers = [snapshot(10), snapshot(40)]
        player.depth_answer = lambda _: (200, answers.pop(0), {})
        for _ in range(2):
            answers[:] = [snapshot(10), snapshot(40)]
            socket = await player.next_subscription()
            await socket.send_str(ticker(5))
            await socket.send_str(depth(8, 10))
            await asyncio.sleep(0.1)
            await socket.send_str(depth(11, 12, price="59999.123"))
            await socket.send_str("nonsense")
            await socket.send_str(trade(1, price="60000.5"))
            await socket.send_str(depth(20, 40))
            await asyncio.sleep(0.1)
            await socket.send_str(depth(41, 41, price="59999.12345"))
            await socket.send_str(trade(2, price="60001.5"))
            await asyncio.sleep(0.05)
            await socket.close()
        await player.next_subscription()

    for _ in range(times):
        await recorded(player, folder, story, sources=[source(player, symbols=("BTC/USDT", "ETH/USDT"))])


def all_rows(folder: Path) -> list[tuple[str, tuple[Any, ...]]]:
    """Every row of a log in order of seq."""
    return list(rows_in_order(folder, Manifest(folder)))


def test_the_same_decoders_give_the_same_log(tmp_path: Path) -> None:
    """Two recordings with disconnects, resyncs, rejects and grown scales: every row comes out as it was, seq included."""

    async def story() -> None:
        async with Player().serving() as player:
            await busy(player, tmp_path / "log")

    run(story())
    done = rederive(tmp_path / "log", tmp_path / "new")
    assert verify_log(tmp_path / "new").ok
    before, after = all_rows(tmp_path / "log"), all_rows(tmp_path / "new")
    assert {"quotes", "book_deltas", "trades", "rejects", "frames", "health", "connections", "instruments"} <= {
        k for k, _ in before
    }
    assert sum(kind == "instruments" for kind, _ in before) > 2
    assert after == before
    assert done.before == done.after
    assert done.frames == sum(kind == "frames" for kind, _ in before)
    assert ("quotes", "4", "4", "+0") in rederived_tables(done)[1].rows


class _Forgetful(BinanceSession):
    """A decoder with a bug: it takes trades for nonsense."""

    def receive(self, payload: bytes, native: str | None = None) -> list[WireEvent]:
        """The events, trades as rejects."""
        return [
            RejectEvent("unknown_message", "a bug", None, self.venue) if isinstance(event, TradeEvent) else event
            for event in super().receive(payload, native)
        ]


def test_a_mended_decoder_gives_what_the_old_one_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recorded by a decoder that rejects trades, the log has none; rederived by ours it has them, and fewer rejects."""

    def forgetful(listings: Sequence[Listing], channels: Sequence[str]) -> BinanceSession:
        return _Forgetful("spot", listings, channels)

    async def story() -> None:
        async with Player().serving() as player:
            await busy(player, tmp_path / "log", times=1)

    with monkeypatch.context() as patched:
        patched.setitem(WIRES, "binance", WIRES["binance"]._replace(session=forgetful))
        run(story())
    done = rederive(tmp_path / "log", tmp_path / "new")
    assert (done.before.get("trades", 0), done.after["trades"]) == (0, 4)
    assert done.before["rejects"] - done.after["rejects"] == 4
    assert [row[0] for _, row in all_rows(tmp_path / "new")] == list(range(sum(done.after.values())))
    assert verify_log(tmp_path / "new").ok


def test_without_raw_messages_there_is_nothing_to_decode(tmp_path: Path) -> None:
    """A log without frames, and a folder that is there already, are refused."""
    with pytest.raises(ConfigError, match="has no raw messages"):
        rederive(Path(__file__).resolve().parents[2] / "recordings" / "quickstart", tmp_path / "new")
    assert not (tmp_path / "new").exists()
