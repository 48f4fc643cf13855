"""A local EVM node (anvil) as a process, and calls to it over JSON-RPC on loopback."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

PACKAGES: Final = Path(__file__).resolve().parent / "node_modules"
BINARY: Final = PACKAGES / "@foundry-rs/anvil-linux-amd64/bin/anvil"
GENESIS: Final = 1_700_000_000  # seconds; every block is one second later, so that two runs give the same blocks
HARDFORK: Final = "cancun"
START_S: Final = 20.0


class RpcError(Exception):
    """What the node says is wrong with a call; `data` holds what a revert returned."""

    def __init__(self, method: str, error: dict[str, Any]) -> None:
        super().__init__(f"{method}: {error.get('message')}")
        self.data = error.get("data")


class Node:
    """Calls to a node.

    Args:
        port: on loopback.
        ipc: path of its socket file.
    """

    def __init__(self, port: int, ipc: Path) -> None:
        self.port, self.ipc = port, ipc
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._next = 0

    @property
    def url(self) -> str:
        """Where HTTP calls go."""
        return f"http://127.0.0.1:{self.port}"

    def many(self, calls: Sequence[tuple[str, list[Any]]]) -> list[Any]:
        """Several calls in one request; results in order.

        Raises:
            RpcError: the first that failed.
        """
        body = [{"jsonrpc": "2.0", "id": n, "method": name, "params": params} for n, (name, params) in enumerate(calls)]
        self._http.request("POST", "/", json.dumps(body), {"Content-Type": "application/json"})
        replies = sorted(json.loads(self._http.getresponse().read()), key=lambda one: int(one["id"]))
        for (name, _), reply in zip(calls, replies, strict=True):
            if "error" in reply:
                raise RpcError(name, reply["error"])
        return [reply["result"] for reply in replies]

    def call(self, method: str, *params: Any) -> Any:
        """One call."""
        return self.many([(method, list(params))])[0]

    def accounts(self) -> list[str]:
        """The node's own accounts, which it signs for."""
        return list(self.call("eth_accounts"))

    def transact(self, sender: str, to: str | None, data: str, *, value: int = 0) -> dict[str, Any]:
        """Send a transaction, have it mined and return its receipt.

        Raises:
            RpcError: it was refused.
            AssertionError: it was mined and reverted.
        """
        request: dict[str, Any] = {"from": sender, "data": data, "value": hex(value), "gas": hex(12_000_000)}
        if to is not None:
            request["to"] = to
        receipt = self.call("eth_sendTransactionSync", request)
        assert receipt["status"] == "0x1", f"reverted: {to} {data[:10]}"
        return dict(receipt)

    def close(self) -> None:
        """End the connection."""
        self._http.close()


def free_port() -> int:
    """A port that nothing listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(folder: Path, *extra: str, fresh: bool = True, port: int = 0, order: str = "fifo") -> Iterator[Node]:
    """A node that ends with the block.

    Args:
        folder: for its socket and what it prints.
        extra: more arguments of anvil.
        fresh: begins at the genesis time; else the time comes from a state that is loaded.
        port: on loopback; 0: a free one.
        order: of what waits for a block: as it came (fifo), or by what it bids (fees).
    """
    port, ipc = port or free_port(), folder / f"anvil-{time.monotonic_ns()}.ipc"
    command = [str(BINARY), "--port", str(port), "--ipc", str(ipc), "--hardfork", HARDFORK, "--prune-history", "64"]
    command += ["--order", order, "--no-request-size-limit", *extra]
    if fresh:
        command += ["--timestamp", str(GENESIS)]
    said = folder / f"{ipc.stem}.txt"
    # In a session of its own: a Ctrl-C is for whoever started it, and they end the node when they are done with it.
    with (
        said.open("wb") as out,
        subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, cwd=folder, start_new_session=True) as process,
    ):
        node = Node(port, ipc)
        try:
            _await(node, process, said)
            node.call("anvil_setBlockTimestampInterval", 1)
            yield node
        finally:
            node.close()
            process.terminate()
            process.wait(10)


def _await(node: Node, process: subprocess.Popen[bytes], said: Path) -> None:
    until = time.monotonic() + START_S
    while True:
        try:
            node.call("eth_chainId")
        except (ConnectionError, http.client.HTTPException):
            node.close()
            if process.poll() is not None or time.monotonic() > until:
                raise AssertionError(f"the node does not answer: {said.read_text()[-2000:]}") from None
            time.sleep(0.01)  # it says nothing when it begins to listen
        else:
            return
