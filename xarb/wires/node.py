"""Blocks, logs and waiting transactions as a node of an EVM chain tells them over JSON-RPC, read strictly.

A node may be wrong, behind, or somebody else's: what it says is taken only where its parts agree with each other.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from eth_utils.crypto import keccak

from xarb.model.units import INT64_MAX

_QUANTITY: Final = re.compile(r"0x(?:0|[1-9a-fA-F][0-9a-fA-F]{0,63})\Z")
_HASH: Final = re.compile(r"0x[0-9a-fA-F]{64}\Z")
_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{40}\Z")
_DATA: Final = re.compile(r"0x(?:[0-9a-fA-F]{2})*\Z")
_BLOOM_BYTES: Final = 256


class BadAnswer(ValueError):
    """What a node said is not what was asked for, or its parts contradict each other."""


class Header(NamedTuple):
    """A block's header, so far as a feed needs it; hashes are lower-case hex with 0x."""

    number: int
    hash: str
    parent_hash: str
    timestamp_s: int
    base_fee_wei: int | None
    gas_used: int
    gas_limit: int
    miner: str
    bloom: int


class Log(NamedTuple):
    """A log of a block; address, topics and data are lower-case hex with 0x."""

    address: str
    topics: tuple[str, ...]
    data: str
    tx_hash: str
    tx_index: int
    log_index: int


class Waiting(NamedTuple):
    """A transaction before its inclusion.

    `max_fee_wei` is its cap a unit of gas, of an old kind of transaction its gas price; such a one has no `tip_wei`.
    """

    tx_hash: str
    sender: str
    recipient: str | None
    nonce: int
    value_wei: int
    gas_limit: int
    max_fee_wei: int
    tip_wei: int | None
    data: bytes


def header_of(said: object) -> Header:
    """A header as a subscription or `eth_getBlockByHash` gives it.

    Raises:
        BadAnswer: a field is missing or out of its bounds.
    """
    fields = _object(said, "a header")
    bloom = _text(fields, "logsBloom", _DATA)
    if len(bloom) not in (2, 2 + 2 * _BLOOM_BYTES):
        raise BadAnswer(f"logsBloom has {len(bloom) // 2 - 1} bytes")
    return Header(
        number=quantity(fields, "number"),
        hash=_text(fields, "hash", _HASH),
        parent_hash=_text(fields, "parentHash", _HASH),
        timestamp_s=quantity(fields, "timestamp"),
        base_fee_wei=None if fields.get("baseFeePerGas") is None else quantity(fields, "baseFeePerGas", most=(1 << 256) - 1),
        gas_used=quantity(fields, "gasUsed"),
        gas_limit=quantity(fields, "gasLimit"),
        miner=_text(fields, "miner", _ADDRESS),
        bloom=int(bloom[2:] or "0", 16),
    )


def logs_of(said: object, header: Header, addresses: Collection[str]) -> list[Log]:
    """The logs of one block, as `eth_getLogs` by its hash gives them, in order.

    Args:
        said: the answer.
        header: of the block that was asked for.
        addresses: lower-case, of those that were asked for.

    Raises:
        BadAnswer: one is of another block or contract, removed, out of order, or denied by the header's bloom filter.
    """
    if not isinstance(said, list):
        raise BadAnswer(f"logs are no list but {type(said).__name__}")
    found: list[Log] = []
    for one in said:
        log = _log(_object(one, "a log"), header)
        if log.address not in addresses:
            raise BadAnswer(f"a log of {log.address}, which was not asked for")
        if found and log.log_index <= found[-1].log_index:
            raise BadAnswer(f"log {log.log_index} comes after log {found[-1].log_index}")
        if header.bloom and not _is_in(header.bloom, log.address):
            raise BadAnswer(f"the header of block {header.number} denies a log of {log.address}")
        found.append(log)
    return found


def _log(fields: Mapping[str, Any], header: Header) -> Log:
    block = _text(fields, "blockHash", _HASH)
    if block != header.hash or quantity(fields, "blockNumber") != header.number:
        raise BadAnswer(f"a log of block {block}, not of {header.hash}")
    if fields.get("removed"):
        raise BadAnswer(f"a removed log of block {header.number}")
    topics = fields.get("topics")
    if not isinstance(topics, list) or not all(isinstance(one, str) and _HASH.match(one) for one in topics):
        raise BadAnswer(f"topics {topics!r:.200}")
    return Log(
        address=_text(fields, "address", _ADDRESS),
        topics=tuple(one.lower() for one in topics),
        data=_text(fields, "data", _DATA),
        tx_hash=_text(fields, "transactionHash", _HASH),
        tx_index=quantity(fields, "transactionIndex", most=(1 << 31) - 1),
        log_index=quantity(fields, "logIndex", most=(1 << 31) - 1),
    )


def waiting_of(said: object) -> Waiting:
    """A transaction as `eth_getTransactionByHash` or a subscription to whole waiting transactions gives it.

    Raises:
        BadAnswer: a field is missing or out of its bounds.
    """
    fields = _object(said, "a transaction")
    widest = (1 << 256) - 1
    is_capped = fields.get("maxFeePerGas") is not None
    return Waiting(
        tx_hash=_text(fields, "hash", _HASH),
        sender=_text(fields, "from", _ADDRESS),
        recipient=None if fields.get("to") is None else _text(fields, "to", _ADDRESS),
        nonce=quantity(fields, "nonce"),
        value_wei=quantity(fields, "value", most=widest),
        gas_limit=quantity(fields, "gas"),
        max_fee_wei=quantity(fields, "maxFeePerGas" if is_capped else "gasPrice", most=widest),
        tip_wei=quantity(fields, "maxPriorityFeePerGas", most=widest) if is_capped else None,
        data=bytes.fromhex(_text(fields, "input", _DATA)[2:]),
    )


def quantity(fields: Mapping[str, Any], name: str, *, most: int = INT64_MAX) -> int:
    """A number from 0 on.

    Raises:
        BadAnswer: it is none, or above `most`.
    """
    text = _text(fields, name, _QUANTITY)
    value = int(text, 16)
    if value > most:
        raise BadAnswer(f"{name} {text} is above {most}")
    return value


def number_of(said: object) -> int:
    """A number that is the whole answer.

    Raises:
        BadAnswer: it is none.
    """
    return quantity({"answer": said}, "answer")


def bytes_of(said: object) -> bytes:
    """What a call returned.

    Raises:
        BadAnswer: it is no hex.
    """
    return bytes.fromhex(_text({"answer": said}, "answer", _DATA)[2:])


def address_of(text: str) -> str:
    """An address in lower case.

    Raises:
        BadAnswer: it is none.
    """
    return _text({"address": text}, "address", _ADDRESS)


def hash_of(said: object) -> str:
    """A hash that is the whole answer, in lower case.

    Raises:
        BadAnswer: it is none.
    """
    return _text({"answer": said}, "answer", _HASH)


def _object(said: object, what: str) -> Mapping[str, Any]:
    if not isinstance(said, dict):
        raise BadAnswer(f"{what} is {said!r:.200}")
    return said


def _text(fields: Mapping[str, Any], name: str, shape: re.Pattern[str]) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or shape.match(value) is None:
        raise BadAnswer(f"{name} is {value!r:.200}")
    return value.lower()


@lru_cache(maxsize=4096)
def _bits(address: str) -> int:
    """The bits that an address sets in a bloom filter (yellow paper, section 4.4.3)."""
    digest = keccak(bytes.fromhex(address[2:]))
    found = 0
    for at in (0, 2, 4):
        found |= 1 << (int.from_bytes(digest[at : at + 2], "big") & 2047)
    return found


def _is_in(bloom: int, address: str) -> bool:
    bits = _bits(address)
    return bloom & bits == bits
