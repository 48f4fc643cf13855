"""Receipts, read strictly: fields that are missing or out of bounds, and answers of something else."""

from __future__ import annotations

from typing import Any

import pytest

from xarb.wires.node import BadAnswer
from xarb.wires.receipts import Receipt, ReceiptLog, receipt_of

HASH, BLOCK = "0x" + "ab" * 32, "0x" + "cd" * 32
SAID: dict[str, Any] = {
    "transactionHash": HASH,
    "blockNumber": "0x10",
    "blockHash": BLOCK.upper().replace("0X", "0x"),
    "transactionIndex": "0x0",
    "status": "0x1",
    "gasUsed": "0x5208",
    "effectiveGasPrice": "0x3b9aca00",
    "logs": [{"address": "0x" + "EE" * 20, "topics": [BLOCK], "data": "0x01"}],
}


def test_a_receipt() -> None:
    """Numbers as integers, hex in lower case."""
    assert receipt_of(SAID, HASH) == Receipt(
        HASH, 16, BLOCK, 0, True, 21_000, 10**9, (ReceiptLog("0x" + "ee" * 20, (BLOCK,), "0x01"),)
    )
    assert receipt_of(None, HASH) is None


@pytest.mark.parametrize(
    "change",
    [
        *({name: None} for name in SAID),
        {"transactionHash": BLOCK},
        {"status": "0x2"},
        {"gasUsed": "21000"},
        {"logs": [1]},
        {"logs": [{"address": "0xee", "topics": [], "data": "0x"}]},
        {"logs": [{"address": "0x" + "ee" * 20, "topics": ["0x01"], "data": "0x"}]},
        {"logs": [{"address": "0x" + "ee" * 20, "topics": [], "data": "0x1"}]},
    ],
)
def test_what_is_no_receipt(change: dict[str, Any]) -> None:
    """Each field is needed, in its form."""
    with pytest.raises(BadAnswer):
        receipt_of(SAID | change, HASH)


@pytest.mark.parametrize("said", [[], 1, "0x"])
def test_what_is_no_object(said: object) -> None:
    """Nor is it any other JSON."""
    with pytest.raises(BadAnswer):
        receipt_of(said, HASH)
