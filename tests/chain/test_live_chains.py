"""The chains of a start on a real log: what leaves stands in it, and the next start goes on from what it says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.chain.conftest import Chain
from tests.chain.stage import KEY, RELAY_KEY, Stage, runs
from xarb.config import load_experiment
from xarb.live.chains import Books, Chains, Connection, keeper
from xarb.log.committer import Policy
from xarb.log.livelog import LiveLog
from xarb.log.reader import LogReader
from xarb.upkeep import open_log
from xarb.venues.clock import Clock
from xarb.venues.dex import desk
from xarb.venues.intake import Intake
from xarb.venues.wallets import account_of, add_wallet
from xarb.wires.rows import RowBuilder

WORDS = "canary pass phrase 7d21"
RELAY = "http://127.0.0.1:1/canary-of-the-relay"


@pytest.fixture
def stage(chain: Chain, code: str) -> Stage:
    """Everything."""
    return Stage(chain, code)


class Start(NamedTuple):
    """A start of a log, as the live verb would have it."""

    chains: Chains
    log: LiveLog
    rows: list[Mapping[str, Any]]
    came: asyncio.Event

    async def until(self, kind: str, event: str, count: int = 1) -> None:
        """Wait until so many rows were written."""
        while sum(row["kind"] == kind and event in (row.get("event"), row.get("status")) for row in self.rows) < count:
            self.came.clear()
            await self.came.wait()


def config(stage: Stage, folder: Path) -> Path:
    """A config of the stage's chain; its first node is not there."""
    pools = [stage.world.v2_pairs["uniswap WETH/DAI"], stage.world.v3_pools["WETH/DAI 3000"]]
    text = f"""
[chains.local]
chain_id = 31337
rpc = ["{folder}/nowhere.ipc", "{stage.node.ipc}"]
pools = {pools}
[chains.local.factories.uniswap]
address = "{stage.world.v3_factory}"
kind = "v3"
[chains.local.sending]
account = "hot"
wallet = "hot"
relay = "env:RELAY"
relay_wallet = "friend"
executor = "{stage.executor}"
tokens = {[*stage.world.tokens.values()]}
max_fee_gwei = 500
finality_blocks = 1
unseen_blocks = 1
poll_ms = 20
[onchain.local]
wrapped = "{stage.world.tokens["WETH"].lower()}"
""".replace("'", '"')
    path = folder / "chain.toml"
    path.write_text(text)
    return path


@asynccontextmanager
async def start(stage: Stage, folder: Path, *, number: int = 1) -> AsyncIterator[Start]:
    """A start on a log on disk; at its end the log is left as a killed process leaves it."""
    environment = {"XARB_WALLETS": str(folder / "wallets"), "RELAY": RELAY}
    environment |= {"XARB_WALLET_HOT_PASSPHRASE": WORDS, "XARB_WALLET_FRIEND_PASSPHRASE": WORDS}
    if not (folder / "wallets").exists():
        add_wallet("hot", account_of(KEY, "a test"), WORDS, environment, scrypt_n=2)
        add_wallet("friend", account_of(RELAY_KEY, "a test"), WORDS, environment, scrypt_n=2)
    log, state, _, sealed = open_log(folder / "log", "a test", Policy())
    before: list[Any] = []
    if number > 1:
        with LogReader(folder / "log", found=sealed) as reader:
            before = list(reader.rows("transactions"))
    rows: list[Mapping[str, Any]] = []
    came = asyncio.Event()

    def deliver(parts: Mapping[str, Any]) -> None:
        log.append(parts)
        log.write()
        came.set()

    intake = Intake(RowBuilder(log.last + 1, log.last_ts, state.scales), Clock(log.last_ts), deliver)
    put = keeper(intake, log, strict=True)

    def keep(told: Any) -> None:
        put(told)
        rows.extend({"kind": row.kind, **row.values} for row in told)

    experiment = load_experiment(config(stage, folder))
    chains = Chains(experiment, before, whose=("0badcafe", number), first_conn=1, keep=keep, environment=environment)
    try:
        await chains.open()
        yield Start(chains, log, rows, came)
    finally:
        await chains.let_go()
        log.abandon()


def _broken(error: BaseException) -> None:
    raise AssertionError("a chain's work ended") from error


def secrets() -> list[bytes]:
    """What nobody may read, in the ways in which it could be written."""
    keys = [bytes.fromhex(key[2:]) for key in (KEY, RELAY_KEY)]
    return [*keys, *(key.hex().encode() for key in keys), WORDS.encode(), b"canary-of-the-relay"]


def kept(folder: Path) -> bytes:
    """Every byte of the log."""
    return b"".join(path.read_bytes() for path in sorted((folder / "log").rglob("*")) if path.is_file())


def test_a_start_goes_on_where_the_one_before_died(stage: Stage, tmp_path: Path) -> None:
    """One sends and dies; the next one knows it from the log, is told the receipt by the chain, and sends under the next nonce."""

    async def story() -> None:
        async with start(stage, tmp_path) as one:
            one.chains.listen(_broken)
            cycle, best = stage.planned()
            one.chains.send([stage.command(cycle)])
            await one.until("transactions", "sent")
        stage.node.call("evm_mine")
        async with start(stage, tmp_path, number=2) as two:
            (receipt,) = [row for row in two.rows if row["kind"] == "receipts"]
            assert (receipt["status"], receipt["profit"], receipt["client_order_id"]) == (
                "succeeded",
                str(best.profit),
                "0badcafe-1-1",
            )
            assert two.chains.objections() == []
            stage.node.call("eth_sendTransaction", stage.swap_request(("WETH", "DAI"), 5 * 10**18))
            stage.node.call("evm_mine")
            await two.chains.reconcile()
            two.chains.listen(_broken)
            cycle, best = stage.planned()
            two.chains.send([stage.command(cycle, client_order_id="0badcafe-2-1")])
            await two.until("transactions", "sent")
            stage.node.call("evm_mine")
            await two.until("receipts", "succeeded", 2)
            nonces = [row["nonce"] for row in two.rows if row["kind"] == "receipts"]
            assert nonces[1] == nonces[0] + 1
        log, _, _, sealed = open_log(tmp_path / "log", "a test", Policy())
        log.abandon()
        with LogReader(tmp_path / "log", found=sealed) as reader:
            told = [(row["event"], row["start"]) for row in reader.rows("transactions")]
        assert [event for event, _ in told[:4]] == ["adopted", "intent", "sent", "mined"]
        assert ("intent", 2) in told
        everything = kept(tmp_path)
        assert not any(secret in everything for secret in secrets())

    runs(story)


def test_what_waits_is_canceled_by_the_next_start(stage: Stage, tmp_path: Path) -> None:
    """Nothing new is sent before; what a person kills is bid for with a transfer to ourselves."""

    async def story() -> None:
        async with start(stage, tmp_path) as one:
            one.chains.listen(_broken)
            before = stage.held()
            cycle, _ = stage.planned(blocks=50)
            one.chains.send([stage.command(cycle)])
            await one.until("transactions", "sent")
        async with start(stage, tmp_path, number=2) as two:
            assert "earlier starts" in two.chains.objections()[0]
            two.chains.listen(_broken)
            two.chains.send([stage.command(cycle, client_order_id="0badcafe-2-1")])
            await two.until("transactions", "refused")
            await two.chains.cancel_open()
            stage.node.call("evm_mine")
            await two.chains.reconcile()
            assert two.chains.objections() == []
            assert stage.held() == before | {"nonce": before["nonce"] + 1}
            assert [row["event"] for row in two.rows if row["kind"] == "transactions"] == [
                "refused",
                "intent",
                "sent",
                "mined",
                "replaced",
            ]

    runs(story)


def test_balances_are_compared_while_it_runs(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is told while they agree; wei that goes becomes a row of the log, once two asks found it."""
    monkeypatch.setattr(desk, "RECONCILE_S", 0.05)

    async def story() -> None:
        async with start(stage, tmp_path) as one:
            node = one.chains.venues["local"].desk
            node.check.again_s = 0.02
            opened = await node.holdings([*stage.world.tokens.values()], "ETH")
            asked: list[int] = []

            def ours(account: str, venue: str) -> Mapping[str, int]:
                assert (account, venue) == ("hot", "local")
                asked.append(1)
                one.came.set()
                return opened

            one.chains.listen(_broken, Books(ours, time.monotonic_ns))
            while len(asked) < 3:
                one.came.clear()
                await one.came.wait()
            assert not [row for row in one.rows if row["kind"] == "operator"]
            stage.node.call("anvil_setBalance", stage.wallet.address, hex(opened["ETH"] - 7))
            stage.node.call("evm_mine")
            while not (told := [row for row in one.rows if row["kind"] == "operator"]):
                one.came.clear()
                await one.came.wait()
            assert told[0]["action"] == "discrepancy"
            assert '"difference":"-0.000000000000000007"' in told[0]["detail"]

    runs(story)


def test_a_connection_that_ends_is_made_anew(stage: Stage, tmp_path: Path) -> None:
    """Whoever asks next gets another one; the node that is not there is passed over."""

    async def story() -> None:
        node = Connection([str(tmp_path / "nowhere.ipc"), str(stage.node.ipc)])
        assert await node.call("eth_chainId") == "0x7a69"
        assert node._rpc is not None  # as if the node had gone
        node._rpc.end("gone")
        assert await node.call("eth_chainId") == "0x7a69"
        await node.close()

    runs(story)


def test_failures_show_no_secret(stage: Stage, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A relay that is not there, a node that ends, an order too dear: rows, log and output hold no key, phrase, address or signed bytes."""

    async def story() -> None:
        async with start(stage, tmp_path) as one:
            one.chains.listen(_broken)
            cycle, best = stage.planned(blocks=50)
            one.chains.send([stage.command(cycle, channel="relay")])
            await one.until("transactions", "not_sent")
            one.chains.send([stage.command(cycle._replace(min_profit=best.profit * 2), order=2)])
            one.chains.send([stage.command(cycle, order=3, ceiling_wei=1)])
            one.chains.send([stage.command(cycle, order=4, gas_limit=2_000_001)])
            await one.until("transactions", "refused", 3)
            node = one.chains.venues["local"].desk._node  # as if it had gone
            node._rpc.end("gone")  # type: ignore[attr-defined]
            one.chains.send([stage.command(cycle, order=5)])
            await one.until("transactions", "sent")
            reasons = [row["reason"] for row in one.rows if row["kind"] == "transactions" and row["reason"]]
            assert reasons == ["opened", "unreachable", "simulation", "fee_cap", "gas"]
            told = repr(one.rows).encode()
        waiting = stage.node.call("eth_getRawTransactionByHash", one.rows[-1]["tx_hash"])
        everything = kept(tmp_path) + told + "".join(capfd.readouterr()).encode()
        assert not any(secret in everything for secret in secrets())
        assert waiting[2:].encode() not in everything

    runs(story)
