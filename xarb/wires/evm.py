"""What pools of an EVM chain log, decoded exactly: Uniswap v2, v3 and those forks whose events have another shape.

An event is known by its first topic, which is the hash of its signature, so that a fork with wider events is never read as what it is
not. Numbers are those of the log: unbounded integers in smallest units.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

_HEX: Final = re.compile(r"0x[0-9a-fA-F]*")


class Synced(NamedTuple):
    """Reserves of a v2 pool after a change."""

    reserve0: int
    reserve1: int


class Traded(NamedTuple):
    """A swap of a v2 pool; its Sync comes before it."""

    amount0_in: int
    amount1_in: int
    amount0_out: int
    amount1_out: int


class Crossed(NamedTuple):
    """A swap of a v3 pool and the state after it; amounts are what the pool gained, negative: gave."""

    amount0: int
    amount1: int
    sqrt_price: int
    liquidity: int
    tick: int


class Resized(NamedTuple):
    """Liquidity added to a range of a v3 pool, negative: taken away."""

    lower: int
    upper: int
    liquidity: int
    amount0: int
    amount1: int


class Opened(NamedTuple):
    """The first price of a v3 pool."""

    sqrt_price: int
    tick: int


PoolEvent = Synced | Traded | Crossed | Resized | Opened


class BadLog(ValueError):
    """A log with a known topic whose data are not that event's."""


def _words(data: str, count: int) -> list[int]:
    """The words of a log's data, unsigned.

    Raises:
        BadLog: more, fewer, or no hex.
    """
    if len(data) != 2 + 64 * count or not data.startswith("0x"):
        raise BadLog(f"{(len(data) - 2) / 64:g} words of data, not {count}")
    if _HEX.fullmatch(data) is None:  # `int` takes signs, spaces, underscores, prefixes and other scripts' digits
        raise BadLog("data are no hex")
    return [int(data[at : at + 64], 16) for at in range(2, len(data), 64)]


def _signed(word: int, bits: int) -> int:
    """A signed integer of so many bits, which fills its word with its sign.

    Raises:
        BadLog: the word is wider.
    """
    value = word - (1 << 256) if word >> 255 else word
    if not -(1 << (bits - 1)) <= value < 1 << (bits - 1):
        raise BadLog(f"{value} is no integer of {bits} bits")
    return value


def _unsigned(word: int, bits: int) -> int:
    if word >> bits:
        raise BadLog(f"{word} is no natural number of {bits} bits")
    return word


def _sync(topics: Sequence[str], data: str) -> Synced:
    del topics
    return Synced(*(_unsigned(word, 112) for word in _words(data, 2)))


def _traded(topics: Sequence[str], data: str) -> Traded:
    del topics
    return Traded(*_words(data, 4))


def _crossed(data: str, count: int) -> Crossed:
    amount0, amount1, price, liquidity, tick, *_ = _words(data, count)
    return Crossed(
        _signed(amount0, 256), _signed(amount1, 256), _unsigned(price, 160), _unsigned(liquidity, 128), _signed(tick, 24)
    )


def _swap(topics: Sequence[str], data: str) -> Crossed:
    del topics
    return _crossed(data, 5)


def _pancake_swap(topics: Sequence[str], data: str) -> Crossed:
    """PancakeSwap v3 adds what the protocol takes of either token."""
    del topics
    return _crossed(data, 7)


def _topic_ticks(topics: Sequence[str]) -> tuple[int, int]:
    if len(topics) != 4:
        raise BadLog(f"{len(topics)} topics, not 4")
    lower, upper = (_signed(_words(topic, 1)[0], 24) for topic in topics[2:])
    return lower, upper


def _mint(topics: Sequence[str], data: str) -> Resized:
    _, liquidity, amount0, amount1 = _words(data, 4)
    return Resized(*_topic_ticks(topics), _unsigned(liquidity, 128), amount0, amount1)


def _burn(topics: Sequence[str], data: str) -> Resized:
    liquidity, amount0, amount1 = _words(data, 3)
    return Resized(*_topic_ticks(topics), -_unsigned(liquidity, 128), -amount0, -amount1)


def _initialize(topics: Sequence[str], data: str) -> Opened:
    del topics
    price, tick = _words(data, 2)
    return Opened(_unsigned(price, 160), _signed(tick, 24))


_Decoder = Callable[[Sequence[str], str], PoolEvent]
# By kind of pool and first topic: keccak-256 of the signature, which a test computes anew.
SIGNATURES: Final = {
    "v2": {
        "Sync(uint112,uint112)": "0x1c411e9a96e071241c2f21f7726b17ae89e3cab4c78be50e062b03a9fffbbad1",
        "Swap(address,uint256,uint256,uint256,uint256,address)": "0xd78ad95fa46c994b6551d0da85fc275fe613ce37657fb8d5e3d130840159d822",
    },
    "v3": {
        "Initialize(uint160,int24)": "0x98636036cb66a9c19a37435efc1e90142190214e8abeb821bdba3f2990dd4c95",
        "Mint(address,address,int24,int24,uint128,uint256,uint256)": "0x7a53080ba414158be7ec69b987b5fb7d07dee101fe85488f0853ae16239d0bde",
        "Burn(address,int24,int24,uint128,uint256,uint256)": "0x0c396cd989a39f4459b5fa1aed6a9a8dcdbc45908acfd67e028cd568da98982c",
        "Swap(address,address,int256,int256,uint160,uint128,int24)": "0xc42079f94a6350d7e6235f29174924f928cc2ac818eb64fed8004e115fbcca67",
        "Swap(address,address,int256,int256,uint160,uint128,int24,uint128,uint128)": (
            "0x19b47279256b2a23a1665c810c8d55a1758940ee09377d4f8d26497a3577dc83"
        ),
    },
}
_DECODERS: Final[dict[str, _Decoder]] = {
    "Sync(uint112,uint112)": _sync,
    "Swap(address,uint256,uint256,uint256,uint256,address)": _traded,
    "Initialize(uint160,int24)": _initialize,
    "Mint(address,address,int24,int24,uint128,uint256,uint256)": _mint,
    "Burn(address,int24,int24,uint128,uint256,uint256)": _burn,
    "Swap(address,address,int256,int256,uint160,uint128,int24)": _swap,
    "Swap(address,address,int256,int256,uint160,uint128,int24,uint128,uint128)": _pancake_swap,
}
_BY_TOPIC: Final = {
    kind: {topic: _DECODERS[signature] for signature, topic in signatures.items()} for kind, signatures in SIGNATURES.items()
}


def decode(kind: str, topics: Sequence[str], data: str) -> PoolEvent | None:
    """The event of a log of a pool of kind "v2" or "v3"; None for one that changes nothing a swap depends on.

    Args:
        kind: of pool.
        topics: hex with 0x, the signature's hash first.
        data: hex with 0x.

    Raises:
        BadLog: the log does not hold what its topic says.
        KeyError: there is no such kind of pool.
    """
    decoder = _BY_TOPIC[kind].get(topics[0]) if topics else None
    return None if decoder is None else decoder(topics, data)
