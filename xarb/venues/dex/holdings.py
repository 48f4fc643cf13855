"""What an address and its executor hold, as the chain says it at one block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from eth_abi import decode  # type: ignore[attr-defined]  # exported without a declaration
from eth_abi.exceptions import DecodingError

from xarb.model.units import MONEY_SCALE, Money
from xarb.venues.dex.outgoing import ChainNode
from xarb.venues.dex.reading import call_data
from xarb.wires.node import BadAnswer, bytes_of, quantity

_MOST: Final = (1 << 256) - 1


class Holder(NamedTuple):
    """Who holds: `address` has the chain's own asset, which gas is paid in, `executor` the tokens."""

    address: str
    executor: str
    native: str


class _Ask(Protocol):
    async def __call__(self, token: str, name: str, *values: str) -> int: ...


async def holdings_of(node: ChainNode, holder: Holder, tokens: Sequence[str], block: str) -> dict[str, Money]:
    """By asset (the chain's own by its name, tokens by their addresses in lower case) what there is, as of the block of that hash.

    Raises:
        BadAnswer: a token does not say what it must, or has more decimals than money has. Retryable, Rejected: the node did not say.
    """
    at = {"blockHash": block}

    async def ask(token: str, name: str, *values: str) -> int:
        raw = bytes_of(await node.call("eth_call", {"to": token, "data": call_data(name, *values)}, at))
        try:
            (found,) = decode(["uint256"], raw[:32])
        except DecodingError as error:
            raise BadAnswer(f"{name} of {token} returned 0x{raw.hex()[:200]}: {error}") from None
        return int(found)

    found = {
        holder.native: Money(quantity({"balance": await node.call("eth_getBalance", holder.address, at)}, "balance", most=_MOST))
    }
    for token in tokens:
        found[token.lower()] = await _held(ask, token, holder.executor)
    return found


async def _held(ask: _Ask, token: str, executor: str) -> Money:
    decimals = await ask(token, "decimals()")
    if decimals > MONEY_SCALE:
        raise BadAnswer(f"{token} has {decimals} decimals; money has {MONEY_SCALE}")
    return Money(await ask(token, "balanceOf(address)", executor) * 10 ** (MONEY_SCALE - decimals))
