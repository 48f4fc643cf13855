"""The executor verb on a chain: our contract is put there, given tokens, and gives them back; what must not be sent is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.chain.conftest import Chain
from tests.chain.contracts import call_data, read
from tests.chain.stage import Stage
from tests.chain.twice import config, wallet
from tests.chain.world import UNIT
from xarb.cli import app
from xarb.venues.accountlock import AccountLocks, Locked, account_digest
from xarb.venues.dex.executor import owner_of


class Person:
    """Somebody with a wallet and a config on a chain that mines at once."""

    def __init__(self, chain: Chain, code: str, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.stage = Stage(chain, code)
        self.node, self.world, self.me = chain.node, chain.world, self.stage.wallet.address
        self.node.call("evm_setAutomine", True)  # a word of the node
        self.environment = dict(wallet(folder)) | {"XDG_STATE_HOME": str(folder / "state")}
        for name, value in self.environment.items():
            patch.setenv(name, value)
        self.path = config(self.stage, folder)
        self.dai = self.world.tokens["DAI"]
        self.node.transact(self.world.owner, self.dai, call_data("transfer(address,uint256)", self.me, 100 * UNIT))

    def does(self, *words: str, **settings: str) -> Result:
        """The command."""
        changes = [word for name, value in settings.items() for word in ("--set", f"chains.local.sending.{name}={value}")]
        verb, *rest = words
        return CliRunner().invoke(app, ["executor", verb, str(self.path), *rest, "--chain", "local", *changes])

    def has(self, whom: str) -> int:
        """So much DAI."""
        return int(read(self.node, self.dai, "balanceOf(address)", whom, returns=["uint256"])[0])

    def count(self) -> int:
        """Transactions of the wallet."""
        return int(self.node.call("eth_getTransactionCount", self.me, "pending"), 16)


@pytest.fixture
def person(chain: Chain, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Person:
    """They."""
    return Person(chain, code, tmp_path, monkeypatch)


def test_a_contract_is_deployed_funded_and_emptied(person: Person) -> None:
    """It is the wallet's; without `--send` nothing leaves; tokens arrive, and come back, to the unit."""
    before = person.count()
    sent = person.does("deploy", "--wallet", "hot", "--max-fee-gwei", "60", "--send")
    assert sent.exit_code == 0, sent.output
    (executor,) = [line.split("\t")[1] for line in sent.stdout.splitlines() if line.startswith("executor\t")]
    assert owner_of(bytes.fromhex(person.node.call("eth_getCode", executor, "latest")[2:])) == person.me.lower()
    shown = person.does("fund", person.dai, "40.000000000000000001", executor=f'"{executor}"')
    assert (shown.exit_code, "costs at most" in shown.stdout, "nothing was sent" in shown.stderr) == (0, True, True)
    assert (person.has(person.me), person.has(executor), person.count()) == (100 * UNIT, 0, before + 1)
    assert person.does("fund", person.dai, "40.000000000000000001", "--send", executor=f'"{executor}"').exit_code == 0
    assert (person.has(person.me), person.has(executor)) == (60 * UNIT - 1, 40 * UNIT + 1)
    assert person.does("withdraw", person.dai, "40", "--send", executor=f'"{executor}"').exit_code == 0
    assert (person.has(person.me), person.has(executor)) == (100 * UNIT - 1, 1)
    assert person.count() == before + 3


def test_what_must_not_be_sent_is_not(person: Person) -> None:
    """Another token, another contract, more than there is, more gas than is bid, and while a session has the address, or something waits."""
    before, weth = person.count(), person.world.tokens["WETH"]

    def refusal(*words: str, **settings: str) -> str:
        done = person.does(*words, "--send", **settings)
        assert done.exit_code != 0, done.output
        assert person.count() == before
        return str(done.exception or "") + done.output

    give = ("fund", person.dai, "1")
    assert "recipient: not among" in refusal(*give, tokens=f'["{weth}"]')
    assert "is not the executor that was tested" in refusal(*give, executor=f'"{person.world.vault}"')
    assert "it would fail" in refusal("fund", person.dai, "100.1")
    assert "it would fail" in refusal("withdraw", person.dai, "1")
    assert "must be above 0" in refusal("withdraw", person.dai, "0.0")
    assert "1e-19" in refusal("fund", person.dai, "1e-19")
    assert "no address" in refusal("fund", "DAI", "1")
    assert "gwei" in refusal(*give, max_fee_gwei="0.000001", tip_gwei="0")
    assert "there is no wallet cold" in refusal("deploy", "--wallet", "cold")
    locks = AccountLocks(Path("log"), person.environment)
    locks.take([Locked("main at local", account_digest("evm", "31337", person.me.lower()))])
    assert "trades with this key already" in refusal(*give)
    locks.release()
    person.node.call("evm_setAutomine", False)  # a word of the node
    person.node.call("anvil_impersonateAccount", person.me)
    person.node.call("eth_sendTransaction", {"from": person.me, "to": person.me, "gas": hex(30_000)})
    before = person.count()
    assert "1 transactions of" in refusal(*give)
