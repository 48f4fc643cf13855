"""Rows of `receipts`: how transactions of ours ended, and what the executor says it earned or swapped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from xarb.venues.dex.executor import earned, swapped
from xarb.venues.dex.nonces import Attempt
from xarb.wires.receipts import Receipt

_OF_A_BLOCK: Final = (
    *("block_number", "block_hash", "tx_index", "gas_used", "gas_price_wei", "profit_token", "profit"),
    *("token_in", "amount_in", "token_out", "amount_out"),
)


def receipt_row(place: Mapping[str, Any], one: Attempt, receipt: Receipt, executor: str) -> dict[str, Any]:
    """A transaction that a block holds."""
    mine = [(log.topics, log.data) for log in receipt.logs if log.address == executor]
    token, _, profit = next(filter(None, (earned(*one) for one in mine)), (None, None, None))
    token_in, amount_in, token_out, amount_out = next(filter(None, (swapped(*one) for one in mine)), (None,) * 4)
    return {
        **_whose(place, one),
        "block_number": receipt.block_number,
        "block_hash": receipt.block_hash,
        "tx_index": receipt.tx_index,
        "status": "succeeded" if receipt.succeeded else "reverted",
        "gas_used": receipt.gas_used,
        "gas_price_wei": str(receipt.gas_price_wei),
        "profit_token": token,
        "profit": None if profit is None else str(profit),
        "token_in": token_in,
        "amount_in": None if amount_in is None else str(amount_in),
        "token_out": token_out,
        "amount_out": None if amount_out is None else str(amount_out),
        "reason": one.intent.purpose if receipt.succeeded else "reverted",
    }


def dropped_row(place: Mapping[str, Any], one: Attempt, reason: str) -> dict[str, Any]:
    """An order that no transaction can fill any more."""
    return {**_whose(place, one), **dict.fromkeys(_OF_A_BLOCK), "status": "dropped", "reason": reason}


def _whose(place: Mapping[str, Any], one: Attempt) -> dict[str, Any]:
    intent = one.intent
    about = {"account": intent.whose.account, "strategy": intent.whose.strategy, "tx_hash": intent.tx_hash, "nonce": intent.nonce}
    return {"ts_event": None, **place, **about}
