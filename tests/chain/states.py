"""The state of pools as the chain itself says it."""

from __future__ import annotations

from typing import Any

from eth_abi import decode  # type: ignore[attr-defined]  # exported without a declaration

from tests.chain.contracts import call_data, read
from tests.chain.node import Node
from xarb.pools.concentrated import Concentrated
from xarb.pools.constant_product import ConstantProduct
from xarb.pools.ticks import MAX_TICK, MIN_TICK


def calls(node: Node, to: str, data: list[str]) -> list[bytes]:
    """What many calls of one contract would return."""
    return [bytes.fromhex(one[2:]) for one in node.many([("eth_call", [{"to": to, "data": one}, "latest"]) for one in data])]


def constant_product(node: Node, pair: str) -> ConstantProduct:
    """A v2 pair as it is."""
    reserve0, reserve1, _ = read(node, pair, "getReserves()", returns=["uint112", "uint112", "uint32"])
    return ConstantProduct(reserve0=reserve0, reserve1=reserve1)


def concentrated(node: Node, pool: str) -> Concentrated:
    """A v3 pool as it is, with every initialised tick."""
    price, tick, *_ = read(node, pool, "slot0()", returns=["uint160", "int24", *["uint16"] * 3, "uint8", "bool"])
    (liquidity,) = read(node, pool, "liquidity()", returns=["uint128"])
    (fee,), (spacing,) = read(node, pool, "fee()", returns=["uint24"]), read(node, pool, "tickSpacing()", returns=["int24"])
    words = range(MIN_TICK // spacing >> 8, (MAX_TICK // spacing >> 8) + 1)
    maps = calls(node, pool, [call_data("tickBitmap(int16)", word) for word in words])
    at = [
        ((word << 8) + bit) * spacing
        for word, raw in zip(words, maps, strict=True)
        for bit in range(256)
        if int.from_bytes(raw, "big") >> bit & 1
    ]
    ticks: dict[int, tuple[int, int]] = {}
    for one, raw in zip(at, calls(node, pool, [call_data("ticks(int24)", one) for one in at]), strict=True):
        gross, net = decode(["uint128", "int128"], raw[:64])
        ticks[one] = (net, gross)
    return Concentrated(fee_pips=fee, tick_spacing=spacing, sqrt_price=price, tick=tick, liquidity=liquidity, ticks=ticks)


def fields(pool: Concentrated | ConstantProduct) -> dict[str, Any]:
    """Everything that a swap depends on, to compare field by field."""
    if isinstance(pool, ConstantProduct):
        return {"reserve0": pool.reserve0, "reserve1": pool.reserve1}
    return {"price": pool.sqrt_price, "tick": pool.tick, "liquidity": pool.liquidity, "net": pool.net, "gross": pool.gross}
