"""A public mempool, a builder and a relay for the chain tests: what is sent waits here until a block is built, in whatever order the test says.

The node mines when told to. The relay listens on loopback, asks for Flashbots' signature, simulates on a snapshot, keeps bundles for their
blocks, and leaves out those that would revert.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

import msgspec
from aiohttp import web
from eth_utils.crypto import keccak
from hexbytes import HexBytes

from tests.chain.node import Node, RpcError
from xarb.errors import Rejected, Retryable
from xarb.venues.wallets import eth_accounts

HEADER: Final = "X-Flashbots-Signature"


class Waiting(NamedTuple):
    """A signed transaction that waits for a block."""

    raw: str
    tx_hash: str
    sender: str
    nonce: int
    max_fee: int
    tip: int


def read(raw: str) -> Waiting:
    """What a signed transaction says."""
    accounts = eth_accounts()  # first: it imports so that nothing else changes
    from eth_account.typed_transactions import TypedTransaction  # type: ignore[attr-defined]  # exported without a declaration

    fields = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
    sender = str(accounts.recover_transaction(raw)).lower()
    tx_hash = "0x" + keccak(HexBytes(raw)).hex()
    return Waiting(raw, tx_hash, sender, fields["nonce"], fields["maxFeePerGas"], fields["maxPriorityFeePerGas"])


class Builder:
    """Takes transactions as a node's pool and as a relay does, and builds blocks.

    Attributes:
        pool: public transactions in order of arrival.
        bundles: what the relay keeps, by target block.
        friends: addresses that the relay knows.
        hidden: methods that answer with nothing.
        silent: methods that are taken and not answered; refused: those that answer with an error of these words.
        asked: how often each method came to the relay.
        is_followed: somebody follows the node's heads, who must not see a block that is taken back: one transaction is simulated by a call then.
        watch: is shown every signed transaction that arrives, before anything else happens to it.
    """

    def __init__(self, node: Node) -> None:
        self.node = node
        self.pool: list[Waiting] = []
        self.bundles: dict[int, list[list[str]]] = {}
        self.friends: set[str] = set()
        self.hidden: set[str] = set()
        self.silent: set[str] = set()
        self.refused: dict[str, str] = {}
        self.asked: dict[str, int] = {}
        self.url = ""
        self.is_followed = False
        self.watch: Callable[[str], None] = lambda _raw: None

    # --- as a node

    async def call(self, method: str, *params: Any) -> Any:
        """As `ChainNode`: what is public waits here, the rest the node answers."""
        if method in self.refused:
            raise Rejected(self.refused[method], reason="rpc -32000")
        answer = self._answer(method, params)
        if method in self.silent:
            raise Retryable(f"{method}: no answer", reason="late")
        return None if method in self.hidden else answer

    async def many(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        """As `Node` of readers."""
        return [await self.call(method, *params) for method, params in calls]

    def _answer(self, method: str, params: Sequence[Any]) -> Any:
        if method == "eth_sendRawTransaction":
            self.watch(params[0])
            return self._take(read(params[0]))
        if method == "eth_getTransactionByHash" and (found := [one for one in self.pool if one.tx_hash == params[0]]):
            return {"hash": found[0].tx_hash, "blockHash": None}
        try:
            answer = self.node.call(method, *params)
        except RpcError as error:
            raise Rejected(f"{error} {error.data or ''}", reason="rpc") from None
        if method == "eth_getTransactionCount" and params[1] == "pending":
            nonce = int(answer, 16)
            mine = {one.nonce for one in self.pool if one.sender == str(params[0]).lower()}
            while nonce in mine:
                nonce += 1
            return hex(nonce)
        return answer

    def _take(self, sent: Waiting) -> str:
        if sent.nonce < int(self.node.call("eth_getTransactionCount", sent.sender, "latest"), 16):
            raise Rejected("nonce too low", reason="rpc")
        for place, old in enumerate(self.pool):
            if old.tx_hash == sent.tx_hash:
                raise Rejected("already known", reason="rpc")
            if (old.sender, old.nonce) == (sent.sender, sent.nonce):
                if sent.max_fee * 10 < old.max_fee * 11 or sent.tip * 10 < old.tip * 11:
                    raise Rejected("replacement transaction underpriced", reason="rpc")
                self.pool[place] = sent
                return sent.tx_hash
        self.pool.append(sent)
        return sent.tx_hash

    # --- as a builder

    def build(
        self,
        *,
        first: Sequence[dict[str, Any]] = (),
        last: Sequence[dict[str, Any]] = (),
        with_bundles: bool = True,
        with_pool: bool = True,
    ) -> int:
        """A block: what others put first, the bundles that do not revert, the public ones in order, what others put last. Its number."""
        number = int(self.node.call("eth_blockNumber"), 16) + 1
        bundles = [one for one in self.bundles.pop(number, []) if with_bundles and not self._failure(one)[0]]
        for request in first:
            self.node.call("eth_sendTransaction", request)
        for raw in (raw for bundle in bundles for raw in bundle):
            self.node.call("eth_sendRawTransaction", raw)
        base = int(self.node.call("eth_feeHistory", "0x1", "latest", [])["baseFeePerGas"][-1], 16)
        included = sorted((one for one in self.pool if with_pool and one.max_fee >= base), key=lambda one: one.nonce)
        for one in included:
            self.node.call("eth_sendRawTransaction", one.raw)
        for request in last:
            self.node.call("eth_sendTransaction", request)
        self.node.call("evm_mine")
        self.pool = [
            one for one in self.pool if one.nonce >= int(self.node.call("eth_getTransactionCount", one.sender, "latest"), 16)
        ]
        return number

    def _failure(self, raws: Sequence[str]) -> tuple[str | None, list[dict[str, Any]]]:
        """Why a bundle would not come about on top of the latest block, and its receipts."""
        if self.is_followed:
            (raw,) = raws
            return self._called(raw)
        mark = self.node.call("evm_snapshot")
        receipts: list[dict[str, Any]] = []
        try:
            hashes = [self.node.call("eth_sendRawTransaction", raw) for raw in raws]
            self.node.call("evm_mine")
            receipts = [self.node.call("eth_getTransactionReceipt", one) for one in hashes]
            if any(one is None for one in receipts):
                return "not executable", []
            return ("execution reverted" if any(one["status"] != "0x1" for one in receipts) else None), receipts
        except RpcError as error:
            return str(error), []
        finally:
            self.node.call("evm_revert", mark)
            self.node.call("anvil_dropAllTransactions")

    def _called(self, raw: str) -> tuple[str | None, list[dict[str, Any]]]:
        """The same of one transaction by a call."""
        accounts = eth_accounts()  # first: as above
        from eth_account.typed_transactions import TypedTransaction  # type: ignore[attr-defined]  # as above

        fields = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
        wish = {
            "from": accounts.recover_transaction(raw),
            "to": HexBytes(fields["to"]).to_0x_hex(),
            "data": HexBytes(fields["data"]).to_0x_hex(),
        }
        try:
            return None, [{"transactionHash": read(raw).tx_hash, "gasUsed": self.node.call("eth_estimateGas", wish, "latest")}]
        except RpcError as error:
            return str(error), []

    # --- as a relay

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """The relay, on loopback."""
        app = web.Application()
        app.router.add_post("/", self._serve)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        try:
            yield
        finally:
            await runner.cleanup()

    async def _serve(self, request: web.Request) -> web.Response:
        body = await request.read()
        address, _, signature = request.headers.get(HEADER, "").partition(":")
        said = msgspec.json.decode(body)
        method, (wish,) = said["method"], said["params"]
        self.asked[method] = self.asked.get(method, 0) + 1
        accounts = eth_accounts()  # first: as above
        from eth_account.messages import encode_defunct

        text = encode_defunct(text="0x" + keccak(body).hex())
        if not signature or str(accounts.recover_message(text, signature=signature)) != address or address not in self.friends:
            return web.json_response({"error": {"code": -32600, "message": "invalid signature"}}, status=403)
        if method in self.refused:
            return web.json_response({"error": {"message": self.refused[method]}})
        target = int(wish["blockNumber"], 16)
        for raw in wish["txs"]:
            self.watch(raw)
        if method == "eth_callBundle":
            failure, receipts = self._failure(wish["txs"])
            results = [{"txHash": one["transactionHash"], "gasUsed": int(one["gasUsed"], 16)} for one in receipts] or [
                {} for _ in wish["txs"]
            ]
            if failure is not None:
                results[-1] |= {"error": failure}
            total = sum(int(one["gasUsed"], 16) for one in receipts)
            result: dict[str, Any] = {"results": results, "totalGasUsed": total, "bundleHash": "0x"}
        else:
            self.bundles.setdefault(target, []).append(wish["txs"])
            result = {"bundleHash": "0x" + keccak(body).hex()}
        if method in self.silent:
            await asyncio.sleep(60)
        return web.json_response({"jsonrpc": "2.0", "id": said["id"], "result": result})
