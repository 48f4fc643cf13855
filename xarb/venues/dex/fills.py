"""Rows of `receipts`: how transactions of ours ended, and what the executor says it earned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xarb.venues.dex.executor import earned
from xarb.venues.dex.nonces import Attempt
from xarb.wires.receipts import Receipt


def receipt_row(place: Mapping[str, Any], one: Attempt, receipt: Receipt, executor: str) -> dict[str, Any]:
    """A transaction that a block holds."""
    found = [earned(log.topics, log.data) for log in receipt.logs if log.address == executor]
    token, _, profit = next((event for event in found if event is not None), (None, None, None))
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
        "reason": one.intent.purpose if receipt.succeeded else "reverted",
    }


def dropped_row(place: Mapping[str, Any], one: Attempt, reason: str) -> dict[str, Any]:
    """An order that no transaction can fill any more."""
    absent = ("block_number", "block_hash", "tx_index", "gas_used", "gas_price_wei", "profit_token", "profit")
    return {**_whose(place, one), **dict.fromkeys(absent), "status": "dropped", "reason": reason}


def _whose(place: Mapping[str, Any], one: Attempt) -> dict[str, Any]:
    intent = one.intent
    about = {"account": intent.whose.account, "strategy": intent.whose.strategy, "tx_hash": intent.tx_hash, "nonce": intent.nonce}
    return {"ts_event": None, **place, **about}
