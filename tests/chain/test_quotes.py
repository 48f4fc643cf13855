"""Our integers against the contracts on the node: 10,000 quotes without one difference, and pools fed by events for thousands of acts."""

from __future__ import annotations

import random
from typing import Any

import pytest
from eth_abi import decode as abi_decode  # type: ignore[attr-defined]  # exported without a declaration

from tests.chain.conftest import Chain
from tests.chain.contracts import call_data, read
from tests.chain.node import RpcError
from tests.chain.states import calls, concentrated, constant_product, fields
from tests.chain.traders import Traders
from xarb.pools.concentrated import Concentrated
from xarb.pools.constant_product import ConstantProduct
from xarb.wires.evm import Crossed, Opened, Resized, Synced, decode

QUOTES = 10_000
IN = "quoteExactInputSingle((address,address,uint256,uint24,uint160))"
OUT = "quoteExactOutputSingle((address,address,uint256,uint24,uint160))"


def _moved(chain: Chain, seed: int, acts: int) -> None:
    traders = Traders(chain.node, chain.world, seed)
    for _ in range(acts):
        traders.act()


def test_concentrated_quotes_equal_the_quoter(chain: Chain) -> None:
    """Exact inputs and outputs of all sizes in three pools that traders have moved: amount, price afterwards, ticks crossed."""
    _moved(chain, 2, 150)
    draw = random.Random(9)  # noqa: S311  # a test's draw
    asked: list[str] = []
    ours: list[tuple[int, int]] = []
    whole = {True: 0, False: 0}
    for label, address in sorted(chain.world.v3_pools.items()):
        pool = concentrated(chain.node, address)
        tokens = sorted((chain.world.tokens[symbol] for symbol in label.split(" ")[0].split("/")), key=str.lower)
        while len(ours) < QUOTES * (1 + sorted(chain.world.v3_pools).index(label)) // len(chain.world.v3_pools):
            way, exact_out = draw.random() < 0.5, draw.random() < 0.5
            amount = int(10 ** draw.uniform(0, 24))
            done = pool.cross(amount, zero_for_one=way, exact_out=exact_out)
            if (done.amount_out if exact_out else done.amount_in) != amount:
                continue  # the quoter has no answer where liquidity ends; below it is asked for its refusal
            token_in, token_out = tokens if way else tokens[::-1]
            asked.append(call_data(OUT if exact_out else IN, (token_in, token_out, amount, pool.fee_pips, 0)))
            ours.append((done.amount_in if exact_out else done.amount_out, done.sqrt_price))
            whole[exact_out] += 1
    theirs: list[tuple[int, int]] = []
    for at in range(0, len(asked), 500):
        for raw in calls(chain.node, chain.world.quoter, asked[at : at + 500]):
            amount, price, _, _ = abi_decode(["uint256", "uint160", "uint32", "uint256"], raw)
            theirs.append((amount, price))
    assert len(ours) >= QUOTES - 2
    assert min(whole.values()) > QUOTES // 4
    assert theirs == ours


def test_constant_product_quotes_equal_the_router(chain: Chain) -> None:
    """Both directions of six pairs, exact inputs and outputs."""
    _moved(chain, 3, 100)
    draw = random.Random(10)  # noqa: S311  # a test's draw
    for label, pair in sorted(chain.world.v2_pairs.items()):
        exchange, _, symbols = label.partition(" ")
        pool = constant_product(chain.node, pair)
        tokens = sorted((chain.world.tokens[symbol] for symbol in symbols.split("/")), key=str.lower)
        asked: list[str] = []
        ours: list[int] = []
        while len(ours) < 400:
            way = draw.random() < 0.5
            path = tokens if way else tokens[::-1]
            amount = int(10 ** draw.uniform(0, 24))
            if draw.random() < 0.5:
                out = pool.quote_in(amount, zero_for_one=way).amount_out
                if out:
                    asked.append(call_data("getAmountsOut(uint256,address[])", amount, path))
                    ours.append(out)
            else:
                cost = pool.quote_out(amount, zero_for_one=way)
                if cost.amount_out == amount:
                    asked.append(call_data("getAmountsIn(uint256,address[])", amount, path))
                    ours.append(cost.amount_in)
        replies = [abi_decode(["uint256[]"], raw)[0] for raw in calls(chain.node, chain.world.v2_routers[exchange], asked)]
        inputs = [data.startswith(call_data("getAmountsOut(uint256,address[])", 1, path)[:10]) for data in asked]
        assert [reply[1] if is_in else reply[0] for reply, is_in in zip(replies, inputs, strict=True)] == ours


def _fed(state: Concentrated | ConstantProduct, kind: str, log: dict[str, Any]) -> Concentrated | ConstantProduct:
    """A pool after a log."""
    event = decode(kind, log["topics"], log["data"])
    match event:
        case Synced():
            return ConstantProduct(reserve0=event.reserve0, reserve1=event.reserve1)
        case Crossed():
            assert isinstance(state, Concentrated)
            amount = max(event.amount0, event.amount1)
            if amount > 0 and min(event.amount0, event.amount1) < 0:  # what we would have quoted, before it
                way = event.amount0 > 0
                done = state.cross(amount, zero_for_one=way)
                exact = state.cross(-min(event.amount0, event.amount1), zero_for_one=way, exact_out=True)
                assert (event.sqrt_price, event.tick, event.liquidity) in (done[2:], exact[2:])
            state.move(event.sqrt_price, event.tick, event.liquidity)
        case Resized():
            assert isinstance(state, Concentrated)
            state.change(event.lower, event.upper, event.liquidity)
        case Opened():
            raise AssertionError("a pool was opened anew")
        case _:
            pass
    return state


def test_pools_fed_by_events_equal_the_chain(chain: Chain) -> None:
    """2,000 random swaps, mints and burns: every field of every pool, and each swap was what we would have quoted."""
    node, world = chain
    states: dict[str, Concentrated | ConstantProduct] = {}
    kinds = {address.lower(): "v2" for address in world.v2_pairs.values()}
    kinds |= {address.lower(): "v3" for address in world.v3_pools.values()}
    for address, kind in kinds.items():
        states[address] = constant_product(node, address) if kind == "v2" else concentrated(node, address)
    traders = Traders(node, world, seed=4)
    for _ in range(2_000):
        receipt = traders.act()
        for log in receipt["logs"] if receipt else []:
            address = log["address"].lower()
            if address in kinds:
                states[address] = _fed(states[address], kinds[address], log)
    for address, kind in kinds.items():
        chained = constant_product(node, address) if kind == "v2" else concentrated(node, address)
        assert fields(states[address]) == fields(chained)
    assert len(traders.done) == 6
    assert min(traders.done.values()) > 50, traders.done
    assert sum(traders.done.values()) > 1_500, (traders.done, traders.refused)


def test_where_liquidity_ends_so_does_the_contract(chain: Chain) -> None:
    """More than a pool has: an exact input gives what there is, and an exact output is refused by the quoter."""
    (label, address), *_ = sorted(chain.world.v3_pools.items())
    pool = concentrated(chain.node, address)
    tokens = sorted((chain.world.tokens[symbol] for symbol in label.split(" ")[0].split("/")), key=str.lower)
    for way in (True, False):
        path = tokens if way else tokens[::-1]
        done = pool.cross(1 << 120, zero_for_one=way)
        assert done.amount_in < 1 << 120
        amount, price, *_ = read(
            chain.node,
            chain.world.quoter,
            IN,
            (*path, 1 << 120, pool.fee_pips, 0),
            returns=["uint256", "uint160", "uint32", "uint256"],
        )
        assert (amount, price) == (done.amount_out, done.sqrt_price)
        assert pool.quote_out(1 << 120, zero_for_one=way).amount_out < 1 << 120
        with pytest.raises(RpcError, match="revert"):
            read(chain.node, chain.world.quoter, OUT, (*path, 1 << 120, pool.fee_pips, 0), returns=["uint256"])
