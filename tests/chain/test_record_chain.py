"""The record verb on a chain whose market moves: pools rebuilt from the log alone are the chain's, field by field."""

from __future__ import annotations

import asyncio
import signal
import threading
from pathlib import Path
from typing import Any

from tests.chain.__main__ import config
from tests.chain.conftest import Chain
from tests.chain.following import Rebuilt
from tests.chain.market import Market
from tests.venues.player import Player, ticker
from tests.verbs.test_record import Command, rows, run
from xarb.config.watch import WatchConfig
from xarb.log.check import verify_log
from xarb.model.columns import TABLES
from xarb.sql.connection import open_query
from xarb.watch.verb import metrics_once


def _in_order(log: Path) -> list[tuple[str, dict[str, Any]]]:
    """The rows of a sealed log that say something of its chain, enums as text."""
    found: list[tuple[int, str, dict[str, Any]]] = []
    for kind in ("pools", "swaps", "loans", "blocks", "connections"):
        for row in rows(log, kind):
            for column in TABLES[kind].columns:
                if column.values and row[column.name] is not None:
                    row[column.name] = column.values[row[column.name]]
            found.append((row["seq"], kind, row))
    return [(kind, row) for _, kind, row in sorted(found, key=lambda one: one[0])]


async def _recorded(log: Path, chain: Chain) -> None:
    """Waits until the newest block of the chain is in the log."""
    newest = chain.node.call("eth_getBlockByNumber", "latest", False)["hash"]
    async with asyncio.timeout(30):
        while True:
            with open_query([log]) as query:
                ((there,),) = query.run(f"SELECT count(*) FROM blocks WHERE block_hash = '{newest}'").rows()  # noqa: S608  # a hash of our node
            if there:
                return
            await asyncio.sleep(0.05)


def test_pools_rebuilt_from_the_log_are_the_chains(chain: Chain, tmp_path: Path) -> None:
    """Beside an exchange, over WebSocket and the socket file, with a reorganisation and a second recording that goes on with the same log."""
    log = tmp_path / "log"

    async def story() -> None:
        async with Player().serving() as player:
            text = (
                f'[markets.binance]\nsymbols = ["BTC/USDT"]\nrest_url = "{player.rest_url}"\nstream_url = "{player.stream_url}"\n'
            )
            (tmp_path / "config.toml").write_text(text + config(chain.node, chain.world))
            market = Market(chain.node, chain.world, seed=6, rate=40.0, interval_s=0.1)
            for number in range(2):
                recorder = await Command.start("record", str(tmp_path / "config.toml"), "--into", str(log))
                socket = await player.next_subscription()
                await socket.send_str(ticker(number + 1))
                stop = threading.Event()
                moving = asyncio.create_task(asyncio.to_thread(market.run, stop))
                await asyncio.sleep(2.0)  # the market's own time
                stop.set()
                await moving
                await _recorded(log, chain)  # what is removed before it was recorded is no removal of the log's
                chain.node.call("anvil_reorg", 3, [])
                market.block()
                await _recorded(log, chain)
                recorder.process.send_signal(signal.SIGINT)
                code, _, err = await recorder.end()
                assert code == 0, err
                rebuilt = Rebuilt(_in_order(log))
                assert rebuilt.tip == chain.node.call("eth_getBlockByNumber", "latest", False)["hash"]
                rebuilt.compare(chain.node)

    run(story())
    assert verify_log(log).ok
    assert [row["venue_seq"] for row in rows(log, "quotes")] == [1, 2]
    assert Rebuilt(_in_order(log)).removed == 6
    assert len(rows(log, "instruments")) == 10
    assert {row["conn"] for row in rows(log, "blocks")} <= {1, 2, 4, 5}
    assert len(rows(log, "swaps")) > 40
    blocks = rows(log, "blocks")
    metrics = dict(line.rsplit(" ", 1) for line in metrics_once(log, WatchConfig()).splitlines() if not line.startswith("#"))
    assert float(metrics['xarb_chain_block{venue="local"}']) == blocks[-1]["block_number"]
    assert float(metrics['xarb_chain_removed_total{venue="local"}']) == 6
    assert float(metrics['xarb_chain_block_age_seconds{venue="local"}']) < 100
