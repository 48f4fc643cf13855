"""The chain that `make chain` starts for a person: it says where it is, moves, and ends with nothing left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.chain.conftest import Chain
from tests.chain.market import Market
from tests.chain.node import Node

WAIT_S = 30.0
ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def _started(*words: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """The process, and what it says until its market moves."""
    command = [sys.executable, "-m", "tests.chain", *words]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        late = threading.Timer(WAIT_S, process.kill)  # a pipe is read without a time-out: this is it
        late.start()
        try:
            assert process.stdout is not None
            said: list[str] = []
            for line in process.stdout:
                said.append(line.rstrip())
                if line.startswith("The market moves"):
                    break
            yield process, said
        finally:
            late.cancel()
            process.kill()


def _height(node: Node) -> int:
    return int(node.call("eth_blockNumber"), 16)


def test_it_says_where_it_is_moves_and_leaves_nothing(node_binary: Path) -> None:
    """The config names pools that log something in the blocks that follow; a Ctrl-C ends the node and removes its folder."""
    del node_binary
    with _started("--port", "0", "--interval", "0.1", "--rate", "30") as (process, said):
        (file,) = [Path(line.split()[1]) for line in said if line.startswith("config ")]
        chain = tomllib.loads(file.read_text())["chains"]["local"]
        assert chain["chain_id"] == 31_337
        assert len(chain["pools"]) == 9
        assert set(chain["factories"]) == {"sushi", "uniswap", "uniswap3"}
        stream, ipc = chain["rpc"]
        port = int(stream.rpartition(":")[2])
        node = Node(port, Path(ipc))
        first, until = _height(node), time.monotonic() + WAIT_S
        while _height(node) < first + 4 and time.monotonic() < until:
            time.sleep(0.05)  # blocks come at the pace of another process
        logs = node.call("eth_getLogs", {"fromBlock": hex(first), "toBlock": "latest", "address": chain["pools"]})
        assert logs
        block = node.call("eth_getBlockByNumber", "latest", False)
        assert abs(int(block["timestamp"], 16) - time.time()) < WAIT_S
        node.close()
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(WAIT_S) == 0
        assert not file.parent.exists()
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_port_that_is_taken_is_refused(node_binary: Path) -> None:
    """Whatever listens there would be taken for the node, and the world built on somebody's chain."""
    del node_binary
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with _started("--port", str(taken.getsockname()[1])) as (process, said):
            assert process.wait(WAIT_S) == 1
            assert not said


def test_acts_share_blocks_at_their_rate(chain: Chain) -> None:
    """Three acts a second make a block of six every two seconds, whatever the pools refuse; positions are those of the manager."""
    market = Market(chain.node, chain.world, seed=3, rate=3.0, interval_s=2.0)
    first = _height(chain.node)
    for _ in range(20):
        market.block()
    assert _height(chain.node) == first + 20
    traders = market.traders
    assert sum(traders.done.values()) + traders.refused == 120
    assert sum(traders.done.values()) > 90, (traders.done, traders.refused)
    counts = chain.node.many([("eth_getBlockTransactionCountByNumber", [hex(first + n)]) for n in range(1, 21)])
    assert max(int(count, 16) for count in counts) >= 6
