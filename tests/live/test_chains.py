"""Sending in a config: each key has its effect on the desk, and what contradicts itself is refused by name."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest

from xarb.config import load_experiment, settings
from xarb.errors import ConfigError
from xarb.live.chains import Chains, permits_of, terms_of
from xarb.venues.dex.desk import DeskTerms
from xarb.venues.dex.fees import FeePolicy
from xarb.venues.dex.permits import Permits
from xarb.venues.dex.stuck import StuckPolicy
from xarb.venues.wallets import add_wallet, new_account

POOL, EXECUTOR, TOKEN, LENDER = ("0x" + f"{n:02X}" * 20 for n in range(0xA1, 0xA5))
CHAIN = f"""
[chains.mainnet]
chain_id = 1
rpc = ["wss://node.example"]
pools = ["{POOL}"]
[chains.mainnet.factories.uniswap]
address = "0x{"ef" * 20}"
kind = "v3"
[onchain.mainnet]
wrapped = "0x{"a3" * 20}"
"""
PLAIN = f"""
[chains.mainnet.sending]
wallet = "hot"
executor = "{EXECUTOR}"
tokens = ["{TOKEN}"]
"""
KEYS = f"""
account = "cold"
lenders = ["{LENDER}"]
tip_gwei = 0.5
max_fee_gwei = 40.000000001
base_fee_rises = 3
max_gas = 700000
wait_blocks = 4
max_replacements = 5
max_cancels = 6
finality_blocks = 7
relay_blocks = 8
unseen_blocks = 9
poll_ms = 250
"""
WORDS = "a long pass phrase"


def written(folder: Path, text: str) -> Path:
    """A config file."""
    path = folder / "chain.toml"
    path.write_text(text)
    return path


def made(folder: Path, sending: str) -> tuple[DeskTerms, Permits]:
    """What a desk is given."""
    experiment = load_experiment(written(folder, CHAIN + sending))
    config = experiment.sending["mainnet"]
    return terms_of(config, "mainnet", whose=("0badcafe1234", 3), conn=7), permits_of(experiment.chains["mainnet"], config)


def environment(folder: Path, *names: str) -> dict[str, str]:
    """Wallets of these names."""
    found = {"XARB_WALLETS": str(folder / "wallets")}
    for name in names:
        add_wallet(name, new_account(), WORDS, found, scrypt_n=2)
        found[f"XARB_WALLET_{name.upper()}_PASSPHRASE"] = WORDS
    return found


def chains(folder: Path, sending: str, environment: dict[str, str]) -> Chains:
    """Those of a config."""
    experiment = load_experiment(written(folder, CHAIN + sending))
    return Chains(experiment, (), whose=("0badcafe", 1), first_conn=1, keep=lambda _rows: None, environment=environment)


def test_each_key_reaches_the_desk(tmp_path: Path) -> None:
    """Fees in wei, addresses in lower case, times in seconds; approvals are none's."""
    terms, permits = made(tmp_path, PLAIN)
    assert (terms.account, terms.venue, terms.log_id, terms.start, terms.conn) == ("main", "mainnet", "0badcafe", 3, 7)
    assert terms.fees == FeePolicy(tip_wei=10**9, cap_wei=100 * 10**9, rises=2)
    assert permits == Permits(
        chain_id=1,
        executor=EXECUTOR.lower(),
        tokens=frozenset({TOKEN.lower()}),
        pools=frozenset({POOL.lower()}),
        max_gas=2_000_000,
        max_fee_wei=100 * 10**9,
    )
    terms, permits = made(tmp_path, PLAIN + KEYS)
    assert terms == DeskTerms(
        account="cold",
        venue="mainnet",
        log_id="0badcafe",
        start=3,
        conn=7,
        fees=FeePolicy(tip_wei=5 * 10**8, cap_wei=40 * 10**9 + 1, rises=3),
        stuck=StuckPolicy(wait_blocks=4, max_replacements=5, max_cancels=6),
        finality_blocks=7,
        relay_blocks=8,
        unseen_blocks=9,
        poll_s=0.25,
    )
    assert (permits.lenders, permits.max_gas, permits.max_fee_wei) == (frozenset({LENDER.lower()}), 700_000, 40 * 10**9 + 1)


def test_wallets_and_the_relay_are_looked_for_before_anything_is_sent(tmp_path: Path) -> None:
    """The one that signs, the one that the relay knows, and the relay's address, which others must not read."""
    both = environment(tmp_path, "hot", "friend")
    relay = PLAIN + 'relay = "env:RELAY"\nrelay_wallet = "friend"\n'
    chains(tmp_path, relay, both | {"RELAY": "https://relay.example/key"})
    chains(tmp_path, PLAIN, both)
    cases: list[tuple[str, dict[str, str], str]] = [
        (PLAIN.replace('"hot"', '"other"'), both, "no such wallet"),
        (relay.replace('"friend"', '"other"'), both | {"RELAY": "https://relay.example/"}, "no such wallet"),
        (relay, both, "the environment variable is not set"),
        (relay, both | {"RELAY": "http://relay.example/"}, "allowed are https"),
        (PLAIN, both | {"XARB_WALLET_HOT_PASSPHRASE": "another phrase"}, "wrong passphrase"),
    ]
    for text, variables, why in cases:
        with pytest.raises(ConfigError, match=why) as caught:
            chains(tmp_path, text, variables)
        assert WORDS not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (PLAIN.replace(f'["{TOKEN}"]', "[]"), r"chains.mainnet.sending.tokens is empty"),
        (PLAIN + 'relay = "https://relay.example"\n', r"chains.mainnet.sending.relay_wallet is missing"),
        (PLAIN + 'relay_wallet = "friend"\n', r"chains.mainnet.sending.relay is missing"),
        (PLAIN + "tip_gwei = 3\nmax_fee_gwei = 2\n", r"chains.mainnet.sending.tip_gwei is above max_fee_gwei"),
        (PLAIN.replace(EXECUTOR, "0x12"), r"chains.mainnet.sending.executor"),
        (PLAIN + "max_cancels = 0\n", r"chains.mainnet.sending.max_cancels"),
        (PLAIN + "key = 1\n", r"chains.mainnet.sending"),
    ],
)
def test_what_contradicts_itself(tmp_path: Path, text: str, why: str) -> None:
    """The message names the key."""
    with pytest.raises(ConfigError, match=why):
        load_experiment(written(tmp_path, CHAIN + text))


def test_no_sending_no_wallet(tmp_path: Path) -> None:
    """A chain that is only followed asks for none; and effective keys are shown."""
    nothing = chains(tmp_path, "", {})
    asyncio.run(_opened(nothing))
    shown = {one.key: one.value for one in settings(load_experiment(written(tmp_path, CHAIN + PLAIN)))}
    assert shown["chains.mainnet.sending.wallet"] == "hot"


async def _opened(nothing: Chains) -> None:
    await nothing.open()
    assert (nothing.venues, nothing.objections(), nothing.next_conn) == ({}, [], 1)
    await nothing.let_go()


def test_terms_are_whole() -> None:
    """No field of a desk's terms has a default that a config could fall back on."""
    fields: tuple[Any, ...] = msgspec.structs.fields(DeskTerms)
    assert all(field.required for field in fields)
