"""What is signed: six kinds of calls, each with every address on a list; a table of what is not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xarb.config.sending import SendingConfig
from xarb.pools.financing import MEASURED
from xarb.strategies.swaps import LIMIT_PERCENT
from xarb.venues.dex.executor import (
    NOBODY,
    Cycle,
    Funding,
    Hop,
    Path,
    cycle_of,
    execute_data,
    path_data,
    path_of,
    withdraw_data,
    withdrawn,
)
from xarb.venues.dex.permits import Permits, approve_data, transfer_data

US, EXECUTOR, TOKEN, OTHER_TOKEN, POOL, LENDER, SPENDER, STRANGER = (f"0x{n:040x}" for n in range(0xA1, 0xA9))
PERMITS = Permits(
    chain_id=1,
    executor=EXECUTOR,
    tokens=frozenset({TOKEN, OTHER_TOKEN}),
    pools=frozenset({POOL}),
    lenders=frozenset({LENDER}),
    spenders=frozenset({SPENDER}),
    max_approval={TOKEN: 1_000},
    max_gas=500_000,
    max_fee_wei=10**11,
)
HOPS = [Hop(POOL, TOKEN, True, True, 0), Hop(POOL, OTHER_TOKEN, False, False, 3_000)]
CYCLE = Cycle(HOPS, 10**18, Funding.BALANCER, LENDER, 5, 1_700_000_000)

PATH = Path(HOPS[:1], 10**18, OTHER_TOKEN, 5, 1_700_000_000)


def transaction(to: str = EXECUTOR, data: bytes = b"", **given: Any) -> dict[str, Any]:
    """A transaction that may be signed but for its call."""
    usual = {"type": 2, "chainId": 1, "from": US, "to": to, "nonce": 7, "value": 0, "gas": 400_000}
    return {**usual, "maxFeePerGas": 10**10, "maxPriorityFeePerGas": 10**9, "data": data, **given}


@pytest.mark.parametrize(
    "sent",
    [
        transaction(data=execute_data(CYCLE)),
        transaction(data=execute_data(CYCLE._replace(funding=Funding.WALLET, lender=NOBODY))),
        transaction(data=path_data(PATH)),
        transaction(data=withdraw_data(TOKEN, 5)),
        transaction(US),
        transaction(US.upper().replace("0X", "0x")),
        transaction(TOKEN, transfer_data(EXECUTOR, 2**255)),
        transaction(TOKEN, approve_data(SPENDER, 1_000)),
        transaction(TOKEN, approve_data(SPENDER, 0)),
        transaction(data=execute_data(CYCLE), accessList=[]),
    ],
)
def test_what_may_be_signed(sent: Mapping[str, Any]) -> None:
    """A cycle, a path, a withdrawal to ourselves, a transfer of nothing to ourselves, money for the executor, an approval within its bound."""
    assert PERMITS.objection(sent) is None


@pytest.mark.parametrize(
    ("why", "sent"),
    [
        ("shape", {name: value for name, value in transaction(US).items() if name != "chainId"}),
        ("shape", transaction(US, authorizationList=[])),
        ("shape", transaction(US, gasPrice=1)),
        ("chain_id", transaction(US, chainId=10)),
        ("gas", transaction(US, gas=500_001)),
        ("gas", transaction(US, gas=0)),
        ("fee", transaction(US, maxFeePerGas=10**11 + 1)),
        ("value", transaction(US, value=1)),
        ("recipient", transaction(STRANGER)),
        ("recipient", transaction(STRANGER, execute_data(CYCLE))),
        ("call", transaction(data=b"\x00" * 36)),
        ("call", transaction(data=execute_data(CYCLE) + b"\0")),
        ("call", transaction(data=execute_data(CYCLE)[:-1])),
        ("token", transaction(data=withdraw_data(STRANGER, 5))),
        ("token", transaction(data=execute_data(CYCLE._replace(hops=[HOPS[0]._replace(token_in=STRANGER), HOPS[1]])))),
        ("pool", transaction(data=execute_data(CYCLE._replace(hops=[HOPS[0], HOPS[1]._replace(pool=STRANGER)])))),
        ("call", transaction(data=path_data(PATH) + b"\0")),
        ("call", transaction(data=path_data(PATH)[:-1])),
        ("token", transaction(data=path_data(PATH._replace(token_out=STRANGER)))),
        ("token", transaction(data=path_data(PATH._replace(hops=[HOPS[0]._replace(token_in=STRANGER)])))),
        ("pool", transaction(data=path_data(PATH._replace(hops=[HOPS[0]._replace(pool=STRANGER)])))),
        ("lender", transaction(data=execute_data(CYCLE._replace(lender=STRANGER)))),
        ("recipient", transaction(TOKEN, transfer_data(STRANGER, 1))),
        ("recipient", transaction(TOKEN, transfer_data(US, 1))),
        ("spender", transaction(TOKEN, approve_data(STRANGER, 1))),
        ("approval", transaction(TOKEN, approve_data(SPENDER, 1_001))),
        ("approval", transaction(OTHER_TOKEN, approve_data(SPENDER, 1))),
        ("call", transaction(TOKEN, bytes.fromhex("23b872dd") + bytes(96))),
        ("call", transaction(TOKEN, transfer_data(EXECUTOR, 1) + b"\0")),
    ],
)
def test_what_is_not(why: str, sent: Mapping[str, Any]) -> None:
    """Another chain, more gas or money, strangers in any place, calls that are none of ours, endless approvals."""
    assert PERMITS.objection(sent) == why


addresses = st.integers(1, (1 << 160) - 1).map(lambda n: f"0x{n:040x}")
words = st.integers(0, (1 << 256) - 1)


@given(
    hops=st.lists(
        st.builds(Hop, addresses, addresses, st.booleans(), st.booleans(), st.integers(0, 10**6)), min_size=2, max_size=4
    ),
    amount=st.integers(1, (1 << 256) - 1),
    funding=st.sampled_from(Funding),
    lender=addresses,
    least=words,
    deadline=words,
)
def test_a_cycle_is_read_as_it_was_written(
    *, hops: list[Hop], amount: int, funding: Funding, lender: str, least: int, deadline: int
) -> None:
    """So that what is judged is what the contract will do."""
    lends = funding not in (Funding.WALLET, Funding.CALLBACK)
    cycle = Cycle(hops, amount, funding, lender if lends else NOBODY, least, deadline)
    assert cycle_of(execute_data(cycle)) == cycle


@given(
    hops=st.lists(
        st.builds(Hop, addresses, addresses, st.booleans(), st.booleans(), st.integers(0, 10**6)), min_size=1, max_size=4
    ),
    amount=st.integers(1, (1 << 256) - 1),
    least=st.integers(1, (1 << 256) - 1),
    deadline=words,
)
def test_a_path_is_read_as_it_was_written(hops: list[Hop], amount: int, least: int, deadline: int) -> None:
    """As a cycle."""
    token_out = f"0x{int(hops[0].token_in, 16) % 7 + 1:040x}"
    path = Path([hops[0]._replace(token_in=POOL), *hops[1:]], amount, token_out, least, deadline)
    assert path_of(path_data(path)) == path


@given(st.binary(max_size=500))
def test_other_bytes_are_no_cycle(data: bytes) -> None:
    """Behind the right selector or not."""
    for given_data in (data, execute_data(CYCLE)[:4] + data):
        assert path_of(given_data) is None
        with pytest.raises(ValueError, match=r"no call of execute|another way|hops|funding|amount|Funding"):
            cycle_of(given_data)
        assert withdrawn(given_data) is None
        assert PERMITS.objection(transaction(data=given_data)) in ("call", "recipient")


@given(st.binary(max_size=500))
def test_other_bytes_are_no_path(data: bytes) -> None:
    """Behind the right selector."""
    given_data = path_data(PATH)[:4] + data
    with pytest.raises(ValueError, match=r"no call of swap_path|another way|hops|amount|a path"):
        path_of(given_data)
    assert PERMITS.objection(transaction(data=given_data)) == "call"


def test_nothing_is_approved_unless_it_is_said() -> None:
    """Without bounds no approval passes."""
    bare = msgspec.structs.replace(PERMITS, max_approval={})
    assert bare.objection(transaction(TOKEN, approve_data(SPENDER, 1))) == "approval"


def test_the_default_bound_of_gas_is_above_what_strategies_plan() -> None:
    """Four hops over v3 with a loan, ten ticks crossed and one to spare in each pool: less would be refused although a strategy may plan it."""
    use = MEASURED["aave"]
    planned = (use.of(4, 10) + 4 * use.tick) * LIMIT_PERCENT // 100
    assert planned <= SendingConfig(wallet="hot", executor=EXECUTOR, tokens=()).max_gas
