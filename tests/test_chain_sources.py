"""Chains in a config: each key has its effect on the feed, and what contradicts itself is refused by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from xarb.config import load_experiment, settings
from xarb.errors import ConfigError
from xarb.sources import chain_sources, sources_of, traded_sources
from xarb.venues.dex.endpoint import ChainPolicy
from xarb.venues.dex.feed import ChainSource
from xarb.venues.dex.lending import Lender
from xarb.venues.dex.reading import Factory
from xarb.venues.dex.rpc import RpcLimits, resolved, shown

POOL, OTHER, FACTORY = "0x" + "aB" * 20, "0x" + "cD" * 20, "0x" + "eF" * 20
PLAIN = f"""
[chains.mainnet]
chain_id = 1
rpc = ["wss://node.example", "/run/node.ipc"]
pools = ["{POOL}"]
[chains.mainnet.factories.uniswap]
address = "{FACTORY}"
kind = "v2"
fee_ppm = 3000
"""
KEYS = """
pending = true
silent_ms = 1500
lag_blocks = 4
lag_ms = 2500
disagree_ms = 3500
history_blocks = 5
reach_blocks = 6
refresh_ms = 4500
message_mb = 7
"""


LENDER = f"""
[chains.mainnet.lenders.pool]
kind = "aave"
address = "{OTHER}"
tokens = ["{POOL}", "{FACTORY}"]
"""


def written(folder: Path, text: str) -> Path:
    """A config file."""
    path = folder / "chain.toml"
    path.write_text(text)
    return path


def test_each_key_reaches_the_feed(tmp_path: Path) -> None:
    """Addresses in lower case, times in seconds; what is not said is as the policy has it."""
    plain = chain_sources(load_experiment(written(tmp_path, PLAIN)))
    factory = Factory(name="uniswap", address=FACTORY.lower(), kind="v2", fee_ppm=3000)
    rpc = ("wss://node.example", "/run/node.ipc")
    assert plain == [ChainSource(venue="mainnet", chain_id=1, rpc=rpc, pools=(POOL.lower(),), factories=(factory,))]
    found = chain_sources(load_experiment(written(tmp_path, PLAIN.replace("[chains.mainnet.f", KEYS + "[chains.mainnet.f"))))
    policy = ChainPolicy(
        limits=RpcLimits(message_mb=7),
        silent_s=1.5,
        lag_blocks=4,
        lag_s=2.5,
        disagree_s=3.5,
        history=5,
        reach=6,
        refresh_s=4.5,
    )
    assert (found[0].policy, found[0].pending) == (policy, True)
    found = chain_sources(load_experiment(written(tmp_path, PLAIN + LENDER)))
    assert found[0].lenders == (Lender(way="aave", address=OTHER.lower(), tokens=(POOL.lower(), FACTORY.lower())),)
    assert ("loans" in found[0].subscribed(), "loans" in plain[0].subscribed()) == (True, False)


def test_a_file_may_hold_exchanges_chains_or_both(tmp_path: Path) -> None:
    """Without either there is nothing to record."""
    market = '[markets.binance]\nsymbols = ["BTC/USDT"]\n'
    both = sources_of([str(written(tmp_path, market + PLAIN))], {})
    assert ([one.venue for one in both.sources], [one.venue for one in both.chains]) == (["binance"], ["mainnet"])
    alone = sources_of([str(written(tmp_path, PLAIN))], {})
    assert (alone.sources, len(alone.chains)) == ([], 1)
    traded = traded_sources(load_experiment(written(tmp_path, market + PLAIN)))
    assert [one.venue for one in traded] == ["binance", "mainnet"]
    with pytest.raises(ConfigError, match=r"no \[markets.NAME\]"):
        sources_of([str(written(tmp_path, "[record]\n"))], {})


ACCOUNT = "[accounts.main.mainnet]\nETH = 1\n"
ONCHAIN = f'[onchain.mainnet]\nwrapped = "{POOL.lower()}"\n'
SENDING = f'[chains.mainnet.sending]\nwallet = "hot"\nexecutor = "{POOL}"\ntokens = ["{POOL}"]\n'
STATED = f"""[onchain.mainnet.lenders.pool]
kind = "aave"
address = "{OTHER.lower()}"
premium_ppm = 500
depth = {{ "{POOL.lower()}" = 5 }}
"""
REAL = '[live]\nmode = "live"\n'


def test_what_is_traded_says_all_that_it_takes(tmp_path: Path) -> None:
    """Real trading on a chain needs a wallet, an account and what gas is paid in; on paper no wallet."""
    lent = PLAIN + LENDER + SENDING + f'lenders = ["{OTHER.lower()}"]\n' + ONCHAIN + ACCOUNT
    for text in (PLAIN + SENDING + ONCHAIN + ACCOUNT + REAL, PLAIN + ONCHAIN + ACCOUNT, lent):
        assert [one.venue for one in traded_sources(load_experiment(written(tmp_path, text)))] == ["mainnet"]
    for text, why in (
        (PLAIN + SENDING + ACCOUNT, r"chains.mainnet.sending: there is no \[onchain.mainnet\]"),
        (PLAIN + SENDING + ONCHAIN, r"sending.account = main: there is no \[accounts.main.mainnet\]"),
        (PLAIN + ONCHAIN.replace("mainnet", "base") + ACCOUNT, r"onchain.base: there is no \[chains.base\]"),
        (PLAIN + ONCHAIN + ACCOUNT + REAL, r"there is no \[chains.mainnet.sending\]"),
        (PLAIN + LENDER + SENDING + ONCHAIN + ACCOUNT, rf"lenders.pool: {OTHER} is not among chains.mainnet.sending.lenders"),
        (PLAIN + ONCHAIN + STATED + ACCOUNT, r"onchain.mainnet.lenders: what a loan costs is asked of the chain"),
    ):
        with pytest.raises(ConfigError, match=why):
            traded_sources(load_experiment(written(tmp_path, text)))


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("fee_ppm = 3000", "", r"chains.mainnet.factories.uniswap.fee_ppm is missing"),
        ('kind = "v2"', 'kind = "v3"', r"fee_ppm is of no use"),
        ('kind = "v2"', 'kind = "v4"', r"allowed: v2, v3"),
        ("fee_ppm = 3000", "fee_ppm = 1000000", r"fee_ppm = 1000000"),
        (f'pools = ["{POOL}"]', "pools = []", r"chains.mainnet.pools is empty"),
        (f'"{POOL}"', f'"{POOL}", "{POOL.lower()}"', r"stands there twice"),
        (f'"{POOL}"', '"0x12"', r"chains.mainnet.pools"),
        ('rpc = ["wss://node.example", "/run/node.ipc"]', "rpc = []", r"chains.mainnet.rpc is empty"),
        ("chain_id = 1", "chain_id = 0", r"chains.mainnet.chain_id = 0"),
        ("chain_id = 1", "chain = 1", r"unknown key chains.mainnet.chain"),
        ("[chains.mainnet.factories.uniswap]", "[markets.mainnet]", r"allowed"),
        (f'tokens = ["{POOL}", "{FACTORY}"]', "tokens = []", r"lenders.pool.tokens is empty"),
        (f'"{POOL}", "{FACTORY}"]', f'"{POOL}", "{POOL.lower()}"]', r"is asked twice for"),
        (f'"{POOL}", "{FACTORY}"]', str([f"0x{at:040x}" for at in range(65)])[1:], r"65 tokens of lenders are above 64"),
        ('kind = "aave"', 'kind = "dai"', r"lenders.pool.kind = dai"),
        ('"wss://node.example"', '"wss://node.example/v3/coffee0123456789coffee0123456789"', r"looks like a secret"),
    ],
)
def test_what_contradicts_itself_is_refused(old: str, new: str, why: str, tmp_path: Path) -> None:
    """The message names the key."""
    text = PLAIN if old in PLAIN else PLAIN + LENDER
    assert old in text
    with pytest.raises(ConfigError, match=why):
        load_experiment(written(tmp_path, text.replace(old, new)))


def test_a_name_is_of_one_venue(tmp_path: Path) -> None:
    """Exchange or chain."""
    with pytest.raises(ConfigError, match=r"\[markets.mainnet\] is another venue of that name"):
        load_experiment(written(tmp_path, PLAIN + '[markets.mainnet]\nsymbols = ["BTC/USDT"]\n'))
    with pytest.raises(ConfigError, match=r"no \[chains.mainnet.factories.EXCHANGE\]"):
        load_experiment(written(tmp_path, PLAIN.partition("[chains.mainnet.factories")[0]))


def test_every_key_is_shown_with_its_source(tmp_path: Path) -> None:
    """As `xarb config show` prints them."""
    found = {one.key: (one.value, one.source) for one in settings(load_experiment(written(tmp_path, PLAIN)))}
    assert found["chains.mainnet.chain_id"] == ("1", "file")
    assert found["chains.mainnet.lag_blocks"] == ("3", "default")
    assert found["chains.mainnet.factories.uniswap.fee_ppm"] == ("3000", "file")
    lent = {one.key: one.value for one in settings(load_experiment(written(tmp_path, PLAIN + LENDER)))}
    assert lent["chains.mainnet.lenders.pool.kind"] == "aave"


def test_an_address_that_holds_a_key_is_named_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment holds it; logs have the variable's name, and of any other address the host."""
    with pytest.raises(ConfigError, match="XARB_TEST_RPC: the environment variable is not set"):
        resolved("env:XARB_TEST_RPC")
    monkeypatch.setenv("XARB_TEST_RPC", "wss://node.example/coffee0123456789coffee0123456789")
    assert resolved("env:XARB_TEST_RPC") == "wss://node.example/coffee0123456789coffee0123456789"
    assert shown("env:XARB_TEST_RPC") == "env:XARB_TEST_RPC"
    assert shown(f"wss://me:{POOL}@node.example:8546/path?key=1") == "wss://node.example:8546"
    with pytest.raises(ConfigError, match="allowed are ws://"):
        resolved("https://node.example")


def test_a_connection_leaves_the_interpreters_limit_as_it_was() -> None:
    """What is imported for it raises the limit of recursion a hundredfold: a message that is nested deeper would end the process."""
    script = (
        "import asyncio, sys; before = sys.getrecursionlimit()\n"
        "from xarb.errors import Retryable\nfrom xarb.venues.dex.rpc import Rpc\n"
        "async def main():\n"
        "    try: await Rpc('/nowhere.ipc', lambda *_: None).open()\n"
        "    except Retryable: print(sys.getrecursionlimit() == before, 'py_ecc' in sys.modules)\n"
        "asyncio.run(main())"
    )
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout.split()) == (0, ["True", "True"]), done.stderr
