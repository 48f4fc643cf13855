"""Pools of constant product: the recorded swaps of a block, and what must hold of any."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pools.made import SHARED
from xarb.pools.constant_product import UINT112, ConstantProduct

SWAP, RESERVES, TRANSFER, TRANSFER_FROM = "0x022c0d9f", "0x0902f1ac", "0xa9059cbb", "0x23b872dd"


def _words(text: str) -> list[int]:
    """The 32-byte words of call data behind its selector, or of what a call returned."""
    data = text[10:] if len(text) % 64 == 10 else text[2:]
    return [int(data[at : at + 64], 16) for at in range(0, len(data) - 63, 64)]


def recorded_swaps() -> Iterator[tuple[ConstantProduct, int, bool, int]]:
    """Pool, input, direction and the output on chain of each v2 swap of block 12,914,944 whose reserves were read before it."""
    traces = json.loads((SHARED / "mev-inspect-py/12914944.json").read_text())["traces"]
    for _, group in groupby(traces, key=lambda one: one["transaction_hash"]):
        calls: list[dict[str, Any]] = sorted(group, key=lambda one: one["trace_address"])
        for place, call in enumerate(calls):
            data = call["action"].get("input") or ""
            if not data.startswith(SWAP) or call["error"]:
                continue
            pair = call["action"]["to"]
            read, paid = None, 0
            for before in calls[:place]:
                action = before["action"]
                given = action.get("input") or ""
                if action.get("to") == pair and given.startswith(RESERVES):
                    read = _words(before["result"]["output"])
                for selector, to in ((TRANSFER, 0), (TRANSFER_FROM, 1)):
                    if given.startswith(selector) and _words(given)[to] == int(pair, 16):
                        paid = _words(given)[to + 1]
            if read is not None and paid:
                out0, out1 = _words(data)[:2]
                yield ConstantProduct(reserve0=read[0], reserve1=read[1]), paid, out1 > 0, max(out0, out1)


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"the recorded chain data are not there: {SHARED}")
def test_the_recorded_block_is_met_to_the_last_unit() -> None:
    """23 of 23, and the hop that a transaction of another bot overestimated."""
    found = [pool.quote_in(paid, zero_for_one=way).amount_out == out for pool, paid, way, out in recorded_swaps()]
    assert (len(found), sum(found)) == (23, 23)
    hop = ConstantProduct(reserve0=3886685670626625517819, reserve1=7456337076646)
    assert hop.quote_in(58233015, zero_for_one=False).amount_out == 30263206361603722
    assert hop.quote_out(30263206881291235, zero_for_one=False).amount_in == 58233016
    other = ConstantProduct(reserve0=1233554655726043924314847, reserve1=48823246709043764222)
    assert other.quote_in(609423299125, zero_for_one=False).amount_out == 15351327867212777


@given(
    reserves=st.tuples(st.integers(2, UINT112), st.integers(2, UINT112)),
    amount=st.integers(1, UINT112),
    fee=st.integers(0, 999),
    zero_for_one=st.booleans(),
)
def test_what_holds_of_every_quote(reserves: tuple[int, int], amount: int, fee: int, zero_for_one: bool) -> None:
    """The product never falls, an output is the largest that it allows, and a cost is enough."""
    pool = ConstantProduct(reserve0=reserves[0], reserve1=reserves[1], fee_numerator=fee)
    mine, theirs = pool.reserves(zero_for_one=zero_for_one)
    out = pool.quote_in(amount, zero_for_one=zero_for_one).amount_out
    kept = amount * (1000 - fee)
    assert (mine * 1000 + kept) * (theirs - out) >= mine * theirs * 1000
    assert (mine * 1000 + kept) * (theirs - out - 1) < mine * theirs * 1000
    cost = pool.quote_out(amount, zero_for_one=zero_for_one)
    assert cost.amount_out == min(amount, theirs - 1)
    assert pool.quote_in(cost.amount_in, zero_for_one=zero_for_one).amount_out >= cost.amount_out
    if cost.amount_in > 2:
        assert pool.quote_in(cost.amount_in - 2, zero_for_one=zero_for_one).amount_out < cost.amount_out


def test_what_no_pool_can_be_is_refused() -> None:
    """Reserves over 112 bits or below nothing, a fee of all, no amount, and an output from nothing."""
    for reserves in ((-1, 5), (5, UINT112 + 1)):
        with pytest.raises(ValueError, match="each lies in 0"):
            ConstantProduct(reserve0=reserves[0], reserve1=reserves[1])
    with pytest.raises(ValueError, match="fee 1000/1000"):
        ConstantProduct(reserve0=1, reserve1=1, fee_numerator=1000)
    pool = ConstantProduct(reserve0=1000, reserve1=1)
    with pytest.raises(ValueError, match="is not above 0"):
        pool.quote_in(0, zero_for_one=True)
    with pytest.raises(ValueError, match="of a pool that holds 1"):
        pool.quote_out(1, zero_for_one=True)
    with pytest.raises(ValueError, match="each lies in 0"):
        pool.swapped(10, 2, zero_for_one=True)
    assert pool.swapped(10, 1, zero_for_one=True) == ConstantProduct(reserve0=1010, reserve1=0)
