"""Receipts as a node of an EVM chain tells them over JSON-RPC, read strictly."""

from __future__ import annotations

from typing import Any, NamedTuple

from xarb.wires.node import BadAnswer, address_of, bytes_of, hash_of, quantity


class ReceiptLog(NamedTuple):
    """A log of a transaction: who made it, in lower case, its topics and its data as hex."""

    address: str
    topics: tuple[str, ...]
    data: str


class Receipt(NamedTuple):
    """What became of a transaction in its block; hashes and addresses are lower-case hex with 0x."""

    tx_hash: str
    block_number: int
    block_hash: str
    tx_index: int
    succeeded: bool
    gas_used: int
    gas_price_wei: int
    logs: tuple[ReceiptLog, ...]


def receipt_of(said: object, tx_hash: str) -> Receipt | None:
    """The receipt of a transaction as `eth_getTransactionReceipt` gives it; None: no block holds it.

    Raises:
        BadAnswer: it is of another transaction, or a field is missing or out of its bounds.
    """
    if said is None:
        return None
    if not isinstance(said, dict):
        raise BadAnswer(f"a receipt is {type(said).__name__}")
    if hash_of(said.get("transactionHash")) != tx_hash:
        raise BadAnswer(f"a receipt of {said['transactionHash']}, not of {tx_hash}")
    logs = said.get("logs")
    if not isinstance(logs, list):
        raise BadAnswer(f"logs of {tx_hash} are {type(logs).__name__}")
    return Receipt(
        tx_hash=tx_hash,
        block_number=quantity(said, "blockNumber"),
        block_hash=hash_of(said.get("blockHash")),
        tx_index=quantity(said, "transactionIndex", most=(1 << 31) - 1),
        succeeded=quantity(said, "status", most=1) == 1,
        gas_used=quantity(said, "gasUsed"),
        gas_price_wei=quantity(said, "effectiveGasPrice", most=(1 << 256) - 1),
        logs=tuple(_log(one) for one in logs),
    )


def _log(said: Any) -> ReceiptLog:
    if not isinstance(said, dict) or not isinstance(said.get("topics"), list) or not isinstance(said.get("address"), str):
        raise BadAnswer(f"a log is {said!r:.200}")
    topics = tuple(hash_of(topic) for topic in said["topics"])
    return ReceiptLog(address_of(said["address"]), topics, "0x" + bytes_of(said.get("data")).hex())
