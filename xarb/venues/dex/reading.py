"""What a chain itself says of pools, all at one block: what they are, which tokens they hold, and their whole state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple, Protocol

import msgspec
from eth_abi import decode, encode  # type: ignore[attr-defined]  # exported without a declaration
from eth_abi.exceptions import DecodingError
from eth_utils.crypto import keccak

from xarb.errors import ConfigError, Rejected
from xarb.pools.concentrated import Concentrated
from xarb.pools.constant_product import ConstantProduct
from xarb.pools.steps import PIPS
from xarb.pools.ticks import MAX_TICK, MIN_TICK
from xarb.wires.chains import Pool
from xarb.wires.node import BadAnswer, Header, address_of, bytes_of

PoolState = ConstantProduct | Concentrated
_WORD: Final = 256  # ticks in a word of a pool's bitmap
_SYMBOL_LIMIT: Final = 32


class Node(Protocol):
    """What is asked."""

    async def call(self, method: str, *params: Any) -> Any:
        """The answer to one call."""

    async def many(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        """The answers to many calls, in order."""


class Factory(msgspec.Struct, frozen=True, kw_only=True):
    """A contract whose pools are known.

    Attributes:
        name: the exchange's, such as `uniswap`.
        address: lower-case.
        kind: "v2" or "v3".
        fee_ppm: fee of a v2 exchange in millionths of the input; its pools state none. None for v3, whose pools do.
    """

    name: str
    address: str
    kind: str
    fee_ppm: int | None = None


class Known(NamedTuple):
    """A pool, and what it is called: tokens by the names that they give themselves, its exchange by the config's, the fee in millionths."""

    pool: Pool
    title: str


class _Token(NamedTuple):
    symbol: str
    decimals: int


async def facts_of(node: Node, pools: Sequence[str], factories: Sequence[Factory], block: Header) -> list[Known]:
    """What the pools are, as the chain says at a block.

    Each must be one that its factory knows: a contract can claim any factory, tokens and state.

    Args:
        node: is asked.
        pools: addresses.
        factories: that are allowed.
        block: as of which.

    Raises:
        ConfigError: no such contract, or not of an allowed factory; the message names the pool.
        BadAnswer: what the node says is no answer. Retryable, Rejected: it gives none.
    """
    known = {one.address: one for one in factories}
    addresses = [address_of(pool) for pool in pools]
    await _check_code(node, addresses, block)
    questions = ("factory()", "token0()", "token1()")
    try:
        said = await ask(node, [(pool, name, ()) for pool in addresses for name in questions], ["address"], block)
    except (BadAnswer, Rejected):
        await _check_pools(node, addresses, questions, block)
        raise
    rows = list(zip(addresses, zip(*[iter(_address(one) for one in said)] * len(questions), strict=True), strict=True))
    for pool, (factory, *_) in rows:
        if factory not in known:
            raise ConfigError(f"pool {pool} is of factory {factory}, which is not among the allowed ones")
    v3 = [pool for pool, (factory, *_) in rows if known[factory].kind == "v3"]
    fees = dict(zip(v3, await ask(node, [(pool, "fee()", ()) for pool in v3], ["uint24"], block), strict=True))
    spacings = dict(zip(v3, await ask(node, [(pool, "tickSpacing()", ()) for pool in v3], ["int24"], block), strict=True))
    asked = [
        (factory, "getPool(address,address,uint24)", (token0, token1, fees[pool]))
        if pool in fees
        else (factory, "getPair(address,address)", (token0, token1))
        for pool, (factory, token0, token1) in rows
    ]
    for (pool, (factory, *_)), found in zip(rows, await _listed(node, asked, block), strict=True):
        if _address(found) != pool:
            raise ConfigError(f"factory {factory} does not know pool {pool}, which says that it is of it")
    tokens = await _tokens(node, sorted({token for _, (_, *pair) in rows for token in pair}), block)
    found = []
    for pool, (factory, token0, token1) in rows:
        fee_ppm = fees[pool] if pool in fees else known[factory].fee_ppm or 0
        what = Pool(
            address=pool,
            kind=known[factory].kind,
            token0=token0,
            token1=token1,
            decimals0=tokens[token0].decimals,
            decimals1=tokens[token1].decimals,
            fee_ppm=fee_ppm,
            factory=factory,
            tick_spacing=spacings.get(pool),
        )
        found.append(Known(what, f"{tokens[token0].symbol}/{tokens[token1].symbol} {known[factory].name} {fee_ppm}"))
    return found


async def states_of(node: Node, pools: Sequence[Pool], block: Header) -> dict[str, PoolState]:
    """The state of pools after a block, by address, with every initialised tick.

    Raises:
        ConfigError: a pool that has no price yet. BadAnswer: what the node says is no pool's state. Retryable, Rejected: it gives none.
    """
    found: dict[str, PoolState] = {}
    v2 = [pool for pool in pools if pool.kind == "v2"]
    reserves = await _words(node, [(pool.address, "getReserves()", ()) for pool in v2], ["uint112", "uint112"], block)
    for pool, (reserve0, reserve1) in zip(v2, reserves, strict=True):
        found[pool.address] = ConstantProduct(
            reserve0=reserve0, reserve1=reserve1, fee_numerator=pool.fee_ppm, fee_denominator=PIPS
        )
    for pool in pools:
        if pool.kind == "v3":
            found[pool.address] = await _concentrated(node, pool, block)
    return found


async def _concentrated(node: Node, pool: Pool, block: Header) -> Concentrated:
    spacing = pool.tick_spacing or 0
    ((sqrt_price, tick),) = await _words(node, [(pool.address, "slot0()", ())], ["uint160", "int24"], block)
    if not sqrt_price:
        raise ConfigError(f"pool {pool.address} has no price yet")
    (liquidity,) = await ask(node, [(pool.address, "liquidity()", ())], ["uint128"], block)
    words = range(MIN_TICK // spacing // _WORD, MAX_TICK // spacing // _WORD + 1)
    maps = await ask(node, [(pool.address, "tickBitmap(int16)", (word,)) for word in words], ["uint256"], block)
    marks = [
        (word * _WORD + bit) * spacing for word, bits in zip(words, maps, strict=True) for bit in range(_WORD) if bits >> bit & 1
    ]
    said = await _words(node, [(pool.address, "ticks(int24)", (mark,)) for mark in marks], ["uint128", "int128"], block)
    ticks = {mark: (net, gross) for mark, (gross, net) in zip(marks, said, strict=True)}
    try:
        state = Concentrated(
            fee_pips=pool.fee_ppm, tick_spacing=spacing, sqrt_price=sqrt_price, tick=tick, liquidity=liquidity, ticks=ticks
        )
    except ValueError as error:
        raise BadAnswer(f"pool {pool.address} at block {block.number}: {error}") from None
    within = sum(net for mark, (net, _) in ticks.items() if mark <= tick)
    if within != liquidity:
        raise BadAnswer(f"pool {pool.address} at block {block.number}: liquidity {liquidity}, but its ticks add up to {within}")
    return state


async def _check_code(node: Node, addresses: Sequence[str], block: Header) -> None:
    codes = await node.many([("eth_getCode", (address, at(block))) for address in addresses])
    for address, code in zip(addresses, codes, strict=True):
        if not bytes_of(code):
            raise ConfigError(f"there is no contract at {address} in block {block.number}")


async def _listed(node: Node, asked: Sequence[Question], block: Header) -> list[Any]:
    """The pools that factories know by what they are asked.

    Raises:
        ConfigError: one has no such question: it is of another kind.
    """
    try:
        return await ask(node, asked, ["address"], block)
    except (BadAnswer, Rejected) as error:
        factories = ", ".join(sorted({whom for whom, *_ in asked}))
        raise ConfigError(f"one of the factories {factories} is no factory of its kind: {error}") from None


async def _check_pools(node: Node, addresses: Sequence[str], questions: Sequence[str], block: Header) -> None:
    """Find the one that does not answer as a pool does.

    Raises:
        ConfigError: there is one.
    """
    for address in addresses:
        try:
            await ask(node, [(address, name, ()) for name in questions], ["address"], block)
        except (BadAnswer, Rejected) as error:
            raise ConfigError(f"the contract at {address} is no pool: {error}") from None


async def _tokens(node: Node, addresses: Sequence[str], block: Header) -> dict[str, _Token]:
    """Decimals of tokens, and the symbols that they give themselves, which anyone can choose: identity is the address."""
    decimals = await ask(node, [(token, "decimals()", ()) for token in addresses], ["uint8"], block)
    symbols = await _raw(node, [(token, "symbol()", ()) for token in addresses], block)
    return {token: _Token(_symbol(raw, token), count) for token, count, raw in zip(addresses, decimals, symbols, strict=True)}


def _symbol(raw: bytes, token: str) -> str:
    """A token's symbol, or some of its address where it tells none that can be read; early tokens have 32 bytes in place of a text."""
    try:
        text = raw.rstrip(b"\0").decode() if len(raw) == 32 else str(decode(["string"], raw)[0])
    except (DecodingError, UnicodeDecodeError):
        text = ""
    return text if text.isprintable() and text.isascii() and 0 < len(text) <= _SYMBOL_LIMIT and " " not in text else token[:10]


Question = tuple[str, str, Sequence[Any]]  # of whom, the signature, the values


async def ask(node: Node, questions: Sequence[Question], kinds: Sequence[str], block: Header) -> list[Any]:
    """The first value that each call returns.

    Raises:
        BadAnswer: one returns something else. Retryable, Rejected: the node gives none.
    """
    return [values[0] for values in await _words(node, questions, kinds, block)]


async def _words(node: Node, questions: Sequence[Question], kinds: Sequence[str], block: Header) -> list[tuple[Any, ...]]:
    """The first values that each call returns; what else it returns differs between forks."""
    found = []
    for (whom, name, _), raw in zip(questions, await _raw(node, questions, block), strict=True):
        try:
            found.append(tuple(decode(list(kinds), raw[: 32 * len(kinds)])))
        except DecodingError as error:
            raise BadAnswer(f"{name} of {whom} returned 0x{raw.hex()[:200]}: {error}") from None
    return found


async def _raw(node: Node, questions: Sequence[Question], block: Header) -> list[bytes]:
    calls = [("eth_call", ({"to": whom, "data": call_data(name, *values)}, at(block))) for whom, name, values in questions]
    return [bytes_of(one) for one in await node.many(calls)]


def at(block: Header) -> Mapping[str, Any]:
    """A block for calls (EIP-1898): by its hash, so that no reorganisation puts another in its place."""
    return {"blockHash": block.hash, "requireCanonical": False}


@lru_cache(maxsize=64)
def _selector(signature: str) -> tuple[bytes, list[str]]:
    inner = signature[signature.index("(") + 1 : -1]
    return bytes(keccak(text=signature)[:4]), inner.split(",") if inner else []


def call_data(signature: str, *values: Any) -> str:
    """A call of a function whose parameters are no tuples, as hex."""
    head, kinds = _selector(signature)
    return "0x" + (head + encode(kinds, values)).hex()


def _address(value: Any) -> str:
    return address_of(str(value))


__all__ = ["Factory", "Known", "Node", "PoolState", "ask", "at", "call_data", "facts_of", "states_of"]
