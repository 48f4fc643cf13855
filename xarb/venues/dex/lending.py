"""What there is to pay with, as the chain says it: our own tokens, and what lenders have and take for it, all as of one block."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from eth_abi import decode  # type: ignore[attr-defined]  # exported without a declaration
from eth_abi.exceptions import DecodingError

from xarb.errors import Rejected
from xarb.pools.financing import WAD, Loan, Purse, Way
from xarb.venues.dex.reading import Node, at, call_data
from xarb.wires.node import BadAnswer, Header, bytes_of

_BPS: Final = WAD // 10_000
_PIP: Final = WAD // 1_000_000
_ACTIVE, _PAUSED, _LENDS = 1 << 56, 1 << 60, 1 << 63  # bits of a reserve's configuration (Aave v3, ReserveConfiguration.sol)
_RESERVE: Final = ["uint256", *["uint128"] * 5, "uint40", "uint16", "address"]  # as far as the token that holds what is lent


class Lender(NamedTuple):
    """Whom we may borrow from: Balancer's vault, an Aave v3 pool, or a v3 pool for `flash`."""

    way: Way
    address: str


async def purse_of(node: Node, executor: str, token: str, lenders: Sequence[Lender], block: Header) -> Purse:
    """What the executor has of a token, and what each lender would lend of it.

    A lender that does not answer, or not as one of its kind does, stays with what is not known, so that it is refused.

    Raises:
        BadAnswer: the balance is none. Retryable, Rejected: the node does not answer.
    """
    (balance,) = await _words(node, token, "balanceOf(address)", (executor,), ["uint256"], block)
    return Purse(balance=balance, loans=tuple(await asyncio.gather(*(_loan(node, one, token, block) for one in lenders))))


async def _loan(node: Node, lender: Lender, token: str, block: Header) -> Loan:
    premium, available = None, None
    with contextlib.suppress(BadAnswer, Rejected):  # then it is not known, and refused by that name
        premium, available = await _ASKS[lender.way](node, lender.address, token, block)
    return Loan(way=lender.way, lender=lender.address, premium_wad=premium, available=available)


async def _balancer(node: Node, vault: str, token: str, block: Header) -> tuple[int, int]:
    (collector,) = await _words(node, vault, "getProtocolFeesCollector()", (), ["address"], block)
    (premium,) = await _words(node, collector, "getFlashLoanFeePercentage()", (), ["uint256"], block)
    (available,) = await _words(node, token, "balanceOf(address)", (vault,), ["uint256"], block)
    return premium, available


async def _aave(node: Node, pool: str, token: str, block: Header) -> tuple[int, int]:
    (premium,) = await _words(node, pool, "FLASHLOAN_PREMIUM_TOTAL()", (), ["uint128"], block)
    configuration, *_, holder = await _words(node, pool, "getReserveData(address)", (token,), _RESERVE, block)
    if not configuration & _ACTIVE or configuration & _PAUSED or not configuration & _LENDS:
        return premium * _BPS, 0
    (available,) = await _words(node, token, "balanceOf(address)", (holder,), ["uint256"], block)
    return premium * _BPS, available


async def _pool(node: Node, pool: str, token: str, block: Header) -> tuple[int, int]:
    (premium,) = await _words(node, pool, "fee()", (), ["uint24"], block)
    sides = [(await _words(node, pool, side, (), ["address"], block))[0] for side in ("token0()", "token1()")]
    if token not in sides:
        return premium * _PIP, 0
    (available,) = await _words(node, token, "balanceOf(address)", (pool,), ["uint256"], block)
    return premium * _PIP, available


_ASKS: Final = {"balancer": _balancer, "aave": _aave, "flash": _pool}


async def _words(node: Node, whom: str, name: str, values: Sequence[Any], kinds: Sequence[str], block: Header) -> tuple[Any, ...]:
    """The first values that a call returns."""
    (said,) = await node.many([("eth_call", ({"to": whom, "data": call_data(name, *values)}, at(block)))])
    raw = bytes_of(said)
    try:
        return tuple(decode(list(kinds), raw[: 32 * len(kinds)]))
    except DecodingError as error:
        raise BadAnswer(f"{name} of {whom} returned 0x{raw.hex()[:200]}: {error}") from None
