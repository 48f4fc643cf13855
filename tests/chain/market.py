"""A market that moves: seeded traders send, and blocks are mined at an interval, as a public chain has them."""

from __future__ import annotations

import threading
import time
from typing import Any, Final

from tests.chain.node import Node, RpcError
from tests.chain.traders import Traders
from tests.chain.world import World

MOST_ACTS: Final = 100  # in a block, whose gas would hold some more


class Market:
    """Moves the world's pools, block by block.

    Blocks are mined here and nowhere else, so that several acts share a block and other people's transactions wait as ours do. Block times
    are those of the wall clock, in whole seconds.

    Args:
        node: the chain.
        world: what is on it.
        seed: of what the traders do.
        rate: acts a second, on average exactly so many.
        interval_s: seconds between blocks.

    Attributes:
        blocks: mined so far.
        traders: with what they did.
    """

    def __init__(self, node: Node, world: World, *, seed: int = 1, rate: float = 2.0, interval_s: float = 2.0) -> None:
        self._node, self._owner = node, world.owner
        self._per_block, self._interval_s = rate * interval_s, interval_s
        self._owed = 0.0
        self.blocks = 0
        self.traders = Traders(node, world, seed=seed)
        node.call("anvil_removeBlockTimestampInterval")
        node.call("evm_setAutomine", False)

    def block(self) -> None:
        """Send what the traders want now, and mine a block with it."""
        self._owed = min(self._owed + self._per_block, MOST_ACTS)
        sent: list[tuple[str, str | None]] = []
        while self._owed >= 1:
            self._owed -= 1
            name, calls = self.traders.wish()
            sent.append((name, [self._send(to, data) for to, data in calls][-1]))
        latest = int(self._node.call("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
        self._node.call("evm_mine", {"timestamp": max(int(time.time()), latest)})
        self.blocks += 1
        for name, digest in sent:
            self.traders.settle(name, None if digest is None else self._receipt(digest))

    def run(self, stop: threading.Event) -> None:
        """Blocks at their interval until `stop`; blocks that came late are not made up for."""
        due = time.monotonic()
        while not stop.wait(max(due - time.monotonic(), 0)):
            due = max(due + self._interval_s, time.monotonic())
            self.block()

    def _send(self, to: str, data: str) -> str | None:
        """The transaction's hash, None where the node refuses it."""
        request = {"from": self._owner, "to": to, "data": data, "gas": hex(2_000_000)}
        try:
            return str(self._node.call("eth_sendTransaction", request))
        except RpcError:
            return None

    def _receipt(self, digest: str) -> dict[str, Any] | None:
        """The receipt, None where it reverted or waits for another block."""
        receipt = self._node.call("eth_getTransactionReceipt", digest)
        return receipt if receipt is not None and receipt["status"] == "0x1" else None
