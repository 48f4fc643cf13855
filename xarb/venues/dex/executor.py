"""The contract `executor.vy`, compiled where it is needed, and what is said to it.

The compiler is no dependency of xarb: it is asked for by whoever deploys (`pip install vyper==0.4.3`), and what it makes must be the code
whose hash stands here, so that what runs on a chain is what was read and tested.
"""

from __future__ import annotations

import hashlib
import pathlib
from collections.abc import Sequence
from enum import IntEnum
from typing import Final, NamedTuple

from eth_abi import decode, encode  # type: ignore[attr-defined]  # exported without a declaration
from eth_abi.exceptions import DecodingError
from eth_utils.crypto import keccak

from xarb.errors import ConfigError, InvariantBroken

SOURCE: Final = pathlib.Path(__file__).with_name("executor.vy")
COMPILER: Final = "0.4.3"
CODE_SHA256: Final = "35bdee8e557e35044761c24b2bb36def7ef120f665c09ae06f7ac2f52e630a2e"
RUNTIME_SHA256: Final = "427bf97915528c9060795013bfc0169c18b9aed3ad77c19ba0971533bf87bdaa"  # of what stands on the chain, before the word with the owner
MAX_HOPS: Final = 4
NOBODY: Final = "0x" + "00" * 20

_TYPES: Final = ["uint256[4]", "address[4]", "uint256", "uint256", "address", "uint256", "uint256"]
_EXECUTE_SELECTOR: Final = keccak(text=f"execute({','.join(_TYPES)})")[:4]
_PATH_TYPES: Final = ["uint256[4]", "address[4]", "uint256", "address", "uint256", "uint256"]
_PATH_SELECTOR: Final = keccak(text=f"swap_path({','.join(_PATH_TYPES)})")[:4]
_WITHDRAW_SELECTOR: Final = keccak(text="withdraw(address,uint256)")[:4]
EARNED_TOPIC: Final = "0x" + keccak(text="Earned(address,uint256,uint256)").hex()
SWAPPED_TOPIC: Final = "0x" + keccak(text="Swapped(address,address,uint256,uint256)").hex()


class Funding(IntEnum):
    """Where the first hop's input comes from; the numbers are the contract's."""

    WALLET = 1
    CALLBACK = 2
    BALANCER = 4
    AAVE = 8
    FLASH = 16


class Hop(NamedTuple):
    """A swap: the pool, the token it takes, and whether that is its token0. `fee_pips`: of a v2 pool, in millionths."""

    pool: str
    token_in: str
    is_v3: bool
    zero_for_one: bool
    fee_pips: int


def creation_code() -> bytes:
    """The code that deploys the contract.

    Raises:
        ConfigError: the compiler is not installed, or is another version.
        InvariantBroken: it makes other code than was tested.
    """
    try:
        import vyper  # only for those who deploy
    except ImportError:
        raise ConfigError(f"deploying needs the compiler: pip install vyper=={COMPILER}") from None
    if vyper.__version__ != COMPILER:
        raise ConfigError(f"vyper {vyper.__version__} is installed; the contract is pinned to {COMPILER}")
    made = vyper.compile_code(SOURCE.read_text(encoding="utf-8"), output_formats=["bytecode"])
    code = bytes.fromhex(made["bytecode"][2:])
    found = hashlib.sha256(code).hexdigest()
    if found != CODE_SHA256:
        raise InvariantBroken(f"{SOURCE.name} compiles to code of SHA-256 {found}, not to that which was tested: {CODE_SHA256}")
    return code


def owner_of(code: bytes) -> str | None:
    """Whose executor it is that stands on a chain with this code, in lower case; None: it is none, or not the one that was tested."""
    if len(code) <= 32 or hashlib.sha256(code[:-32]).hexdigest() != RUNTIME_SHA256:
        return None
    return "0x" + code[-20:].hex()


class Cycle(NamedTuple):
    """What the contract is told: amounts in smallest units of the first hop's token, `deadline` in seconds of block time."""

    hops: Sequence[Hop]
    amount: int
    funding: Funding
    lender: str
    min_profit: int
    deadline: int


def execute_data(cycle: Cycle) -> bytes:
    """Call data that swap a cycle.

    Raises:
        ValueError: fewer than two hops or more than the contract takes, no lender where one is needed, or an amount not above 0.
    """
    if not 2 <= len(cycle.hops) <= MAX_HOPS:
        raise ValueError(f"{len(cycle.hops)} hops: the contract takes 2 to {MAX_HOPS}")
    if cycle.amount <= 0 or cycle.min_profit < 0:
        raise ValueError(f"amount {cycle.amount} and least profit {cycle.min_profit}: above 0, and not below")
    lends = cycle.funding not in (Funding.WALLET, Funding.CALLBACK)
    if lends == (cycle.lender == NOBODY):
        raise ValueError(f"funding {cycle.funding.name.lower()} with lender {cycle.lender}")
    values = [*_words(cycle.hops), cycle.amount, int(cycle.funding), cycle.lender, cycle.min_profit, cycle.deadline]
    return bytes(_EXECUTE_SELECTOR + encode(_TYPES, values))


class Path(NamedTuple):
    """Own tokens through pools into another token, which the contract keeps: `amount` of the first hop's, at least `min_out` of `token_out`."""

    hops: Sequence[Hop]
    amount: int
    token_out: str
    min_out: int
    deadline: int


def path_data(path: Path) -> bytes:
    """Call data that swap a path.

    Raises:
        ValueError: no hop or more than the contract takes, it ends where it begins, or an amount is not above 0.
    """
    if not 1 <= len(path.hops) <= MAX_HOPS:
        raise ValueError(f"{len(path.hops)} hops: the contract takes 1 to {MAX_HOPS}")
    if path.amount <= 0 or path.min_out <= 0:
        raise ValueError(f"amount {path.amount} and least output {path.min_out}: both above 0")
    if path.token_out.lower() in (path.hops[0].token_in.lower(), NOBODY):
        raise ValueError(f"a path from {path.hops[0].token_in} to {path.token_out}")
    values = [*_words(path.hops), path.amount, path.token_out, path.min_out, path.deadline]
    return bytes(_PATH_SELECTOR + encode(_PATH_TYPES, values))


def path_of(data: bytes) -> Path | None:
    """The path that call data swap; None where they call something else.

    Raises:
        ValueError: they are written in another way than `path_data` does.
    """
    if data[:4] != _PATH_SELECTOR:
        return None
    try:
        words, tokens, amount, token_out, min_out, deadline = decode(_PATH_TYPES, data[4:])
    except DecodingError as error:
        raise ValueError(f"no call of swap_path: {error}") from None
    path = Path(_hops(words, tokens), amount, token_out, min_out, deadline)
    if path_data(path) != data:
        raise ValueError("a call of swap_path that is written in another way")
    return path


def cycle_of(data: bytes) -> Cycle:
    """The cycle that call data swap, for whoever judges what is about to be signed.

    Raises:
        ValueError: they do something else, or are written in another way than `execute_data` does.
    """
    if data[:4] != _EXECUTE_SELECTOR:
        raise ValueError("no call of execute")
    try:
        words, tokens, amount, funding, lender, min_profit, deadline = decode(_TYPES, data[4:])
    except DecodingError as error:
        raise ValueError(f"no call of execute: {error}") from None
    cycle = Cycle(_hops(words, tokens), amount, Funding(funding), lender, min_profit, deadline)
    if execute_data(cycle) != data:
        raise ValueError("a call of execute that is written in another way")
    return cycle


def _words(hops: Sequence[Hop]) -> tuple[list[int], list[str]]:
    """Hops and the token that goes into each, as the contract takes them."""
    left = MAX_HOPS - len(hops)
    return [*(_word(hop) for hop in hops), *[0] * left], [*(hop.token_in for hop in hops), *[NOBODY] * left]


def _hops(words: Sequence[int], tokens: Sequence[str]) -> list[Hop]:
    return [_hop(word, token) for word, token in zip(words, tokens, strict=True) if word]


def _hop(word: int, token: str) -> Hop:
    pool = f"0x{word & ((1 << 160) - 1):040x}"
    return Hop(pool, token, bool(word >> 161 & 1), bool(word >> 160 & 1), word >> 162)


def _word(hop: Hop) -> int:
    """A hop as the contract packs it."""
    return int(hop.pool, 16) | hop.zero_for_one << 160 | hop.is_v3 << 161 | hop.fee_pips << 162


def withdrawn(data: bytes) -> tuple[str, int] | None:
    """Token and amount of a call that gives tokens back to the owner; None for another call."""
    if data[:4] != _WITHDRAW_SELECTOR or len(data) != 4 + 64:
        return None
    token, amount = decode(["address", "uint256"], data[4:])
    return token, amount


def withdraw_data(token: str, amount: int) -> bytes:
    """Call data that give tokens back to the owner."""
    return bytes(_WITHDRAW_SELECTOR + encode(["address", "uint256"], [token, amount]))


def earned(topics: Sequence[str], data: str) -> tuple[str, int, int] | None:
    """Token, input and profit of the contract's own event; None for another one."""
    if not topics or topics[0] != EARNED_TOPIC:
        return None
    amount_in, profit = decode(["uint256", "uint256"], bytes.fromhex(data[2:]))
    return "0x" + topics[1][-40:], amount_in, profit


def swapped(topics: Sequence[str], data: str) -> tuple[str, int, str, int] | None:
    """The token that went in, how much, the token that came out, and how much, of the contract's own event; None for another one."""
    if not topics or topics[0] != SWAPPED_TOPIC:
        return None
    amount_in, amount_out = decode(["uint256", "uint256"], bytes.fromhex(data[2:]))
    return "0x" + topics[1][-40:], amount_in, "0x" + topics[2][-40:], amount_out
