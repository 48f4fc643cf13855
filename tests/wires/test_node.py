"""What a node says is taken only where it is what was asked for and its parts agree."""

from __future__ import annotations

from typing import Any

import pytest

from xarb.wires.node import BadAnswer, Header, header_of, logs_of, number_of, waiting_of

POOL = "0x" + "ab" * 20
DIGEST, PARENT = "0x" + "01" * 32, "0x" + "02" * 32
HEADER: dict[str, Any] = {
    "number": "0x10",
    "hash": DIGEST.upper().replace("X", "x"),
    "parentHash": PARENT,
    "timestamp": "0x65",
    "baseFeePerGas": "0x3b9aca00",
    "gasUsed": "0x5208",
    "gasLimit": "0x1c9c380",
    "miner": POOL,
    "logsBloom": "0x" + "00" * 256,
}
LOG: dict[str, Any] = {
    "address": "0x" + "AB" * 20,
    "topics": ["0x" + "0C" * 32],
    "data": "0x",
    "blockHash": DIGEST,
    "blockNumber": "0x10",
    "transactionHash": PARENT,
    "transactionIndex": "0x1",
    "logIndex": "0x2",
    "removed": False,
}
SENT: dict[str, Any] = {
    "hash": DIGEST,
    "from": POOL,
    "to": None,
    "nonce": "0x0",
    "value": hex(2**256 - 1),
    "gas": "0x5208",
    "gasPrice": "0x7",
    "input": "0x1234",
}


def test_a_header_is_read() -> None:
    """Numbers as integers, hashes in lower case, a chain without a base fee."""
    header = header_of(HEADER)
    assert header == Header(16, DIGEST, PARENT, 101, 10**9, 21_000, 30_000_000, POOL, 0)
    assert header_of(HEADER | {"baseFeePerGas": None}).base_fee_wei is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"number": "0x"},
        {"number": "0x010"},
        {"number": 16},
        {"number": None},
        {"number": "0x8000000000000000"},
        {"number": "-0x1"},
        {"number": "0x1_0"},
        {"hash": "0x01"},
        {"hash": DIGEST + "\n"},
        {"parentHash": None},
        {"timestamp": "soon"},
        {"logsBloom": "0x00"},
        {"gasUsed": True},
    ],
)
def test_a_header_that_is_none_is_refused(wrong: dict[str, Any]) -> None:
    """The message names the field."""
    with pytest.raises(BadAnswer, match=next(iter(wrong))):
        header_of(HEADER | wrong)
    with pytest.raises(BadAnswer):
        header_of(list(wrong))


def test_logs_are_read_in_order() -> None:
    """Address and topics in lower case."""
    header = header_of(HEADER)
    first, second = logs_of([LOG, LOG | {"logIndex": "0x5"}], header, {POOL})
    assert (first.address, first.topics, first.log_index, second.log_index) == (POOL, ("0x" + "0c" * 32,), 2, 5)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"blockHash": PARENT}, "not of"),
        ({"blockNumber": "0x11"}, "not of"),
        ({"removed": True}, "removed"),
        ({"address": "0x" + "cd" * 20}, "not asked for"),
        ({"logIndex": "0x1"}, "comes after"),
        ({"topics": ["0x12"]}, "topics"),
        ({"topics": None}, "topics"),
        ({"data": "0x123"}, "data"),
        ({"transactionIndex": "0x80000000"}, "transactionIndex"),
    ],
)
def test_logs_that_are_not_of_the_block_are_refused(wrong: dict[str, Any], why: str) -> None:
    """Of another block or contract, removed, out of order, twice, or no log at all."""
    header = header_of(HEADER)
    with pytest.raises(BadAnswer, match=why):
        logs_of([LOG, LOG | {"logIndex": "0x3"} | wrong], header, {POOL})
    others: list[object] = [None, {}, [None], [LOG, LOG]]
    for said in others:
        with pytest.raises(BadAnswer):
            logs_of(said, header, {POOL})


def test_a_header_that_denies_a_log_is_believed() -> None:
    """A contract that logged stands in the header's filter; some chains leave the filter empty."""
    bits = sum(1 << int(part, 16) % 2048 for part in _digest_parts())
    there = header_of(HEADER | {"logsBloom": f"0x{bits:0512x}"})
    assert len(logs_of([LOG], there, {POOL})) == 1
    with pytest.raises(BadAnswer, match="denies a log"):
        logs_of([LOG], header_of(HEADER | {"logsBloom": f"0x{1 << 2047:0512x}"}), {POOL})


def _digest_parts() -> list[str]:
    from Crypto.Hash import keccak

    digest = keccak.new(digest_bits=256, data=bytes.fromhex(POOL[2:])).hexdigest()
    return [digest[at : at + 4] for at in (0, 4, 8)]


def test_a_waiting_transaction_is_read() -> None:
    """A creation has no recipient; the cap of an old kind of transaction is its price."""
    found = waiting_of(SENT)
    assert (found.recipient, found.value_wei, found.max_fee_wei, found.data) == (None, 2**256 - 1, 7, b"\x12\x34")
    assert (found.gas_limit, found.tip_wei) == (21_000, None)
    capped = waiting_of(SENT | {"maxFeePerGas": "0x9", "maxPriorityFeePerGas": "0x1"})
    assert (capped.max_fee_wei, capped.tip_wei) == (9, 1)
    with pytest.raises(BadAnswer, match="input"):
        waiting_of(SENT | {"input": "0x1"})


def test_a_number_that_is_the_whole_answer() -> None:
    """As `eth_blockNumber` gives it."""
    assert number_of("0x0") == 0
    with pytest.raises(BadAnswer):
        number_of("0")
