"""What may be signed, judged by the very bytes that are: who gets money and which, on which chain, and how much.

Whatever made a transaction, a mistake there must not pay a stranger: only six kinds of calls pass, each with every address in it on a list.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from eth_abi import decode, encode  # type: ignore[attr-defined]  # exported without a declaration
from eth_utils.crypto import keccak

from xarb.venues.dex.executor import NOBODY, cycle_of, path_of, withdrawn

_APPROVE: Final = keccak(text="approve(address,uint256)")[:4]
_TRANSFER: Final = keccak(text="transfer(address,uint256)")[:4]
_KEYS: Final = frozenset(
    {
        "type",
        "chainId",
        "from",
        "to",
        "nonce",
        "value",
        "gas",
        "maxFeePerGas",
        "maxPriorityFeePerGas",
        "data",
        "accessList",
    }
)


class Permits(msgspec.Struct, frozen=True, kw_only=True):
    """What an address may do; addresses are lower-case hex with 0x.

    Attributes:
        chain_id: the only chain.
        executor: our contract.
        tokens: that may go in.
        pools: that they may go through.
        lenders: that may lend.
        spenders: whom an exact approval may name.
        max_approval: most that one approval gives, by token, in smallest units; a token that is left out is not approved.
        max_gas: most gas of a transaction.
        max_fee_wei: most that it bids for each gas.
    """

    chain_id: int
    executor: str
    tokens: frozenset[str]
    pools: frozenset[str]
    lenders: frozenset[str] = frozenset()
    spenders: frozenset[str] = frozenset()
    max_approval: Mapping[str, int] = {}
    max_gas: int
    max_fee_wei: int

    def objection(self, transaction: Mapping[str, Any]) -> str | None:
        """Why a transaction is not signed, in one word; None: it may be.

        Words: shape, chain_id, gas, fee, value, recipient, call, token, pool, lender, spender, approval.
        """
        if set(transaction) - _KEYS or not {"from", "to", "chainId", "nonce"} <= set(transaction):
            return "shape"
        if transaction["chainId"] != self.chain_id:
            return "chain_id"
        if not 0 < transaction["gas"] <= self.max_gas:
            return "gas"
        if not 0 < transaction["maxFeePerGas"] <= self.max_fee_wei:
            return "fee"
        if transaction["value"] != 0:
            return "value"
        return self._call(str(transaction["from"]).lower(), str(transaction["to"]).lower(), bytes(transaction["data"]))

    def _call(self, sender: str, to: str, data: bytes) -> str | None:
        if not data:
            return None if to == sender else "recipient"
        if to == self.executor:
            return self._executor(data)
        if to not in self.tokens:
            return "recipient"
        return self._token(to, data)

    def _executor(self, data: bytes) -> str | None:
        if (given := withdrawn(data)) is not None:  # to the owner, who signs
            return None if given[0] in self.tokens else "token"
        try:
            path = path_of(data)
            cycle = cycle_of(data) if path is None else None
        except ValueError:
            return "call"
        hops = (path or cycle).hops  # type: ignore[union-attr]  # one of them is there
        tokens = [hop.token_in for hop in hops] if path is None else [*(hop.token_in for hop in hops), path.token_out]
        if not self.tokens.issuperset(tokens):
            return "token"
        if not self.pools.issuperset(hop.pool for hop in hops):
            return "pool"
        return None if cycle is None or cycle.lender == NOBODY or cycle.lender in self.lenders else "lender"

    def _token(self, token: str, data: bytes) -> str | None:
        if len(data) != 4 + 64 or data[:4] not in (_APPROVE, _TRANSFER):
            return "call"
        whom, units = decode(["address", "uint256"], data[4:])
        if data[:4] == _TRANSFER:  # money for the executor, and for nobody else
            return None if whom == self.executor else "recipient"
        if whom not in self.spenders:
            return "spender"
        return None if units <= self.max_approval.get(token, 0) else "approval"


def approve_data(spender: str, units: int) -> bytes:
    """Call data that let somebody take so much of a token, no more and no less."""
    return bytes(_APPROVE + encode(["address", "uint256"], [spender, units]))


def transfer_data(to: str, units: int) -> bytes:
    """Call data that give tokens."""
    return bytes(_TRANSFER + encode(["address", "uint256"], [to, units]))
