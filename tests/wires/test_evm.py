"""Logs of pools: known by their topic, and refused where the data are not what it says."""

from __future__ import annotations

import pytest
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from xarb.wires.evm import SIGNATURES, BadLog, Crossed, Opened, Resized, Synced, Traded, decode

TOPICS = {signature: topic for signatures in SIGNATURES.values() for signature, topic in signatures.items()}


def words(*values: int) -> str:
    """Values as a log's data."""
    return "0x" + "".join(f"{value % (1 << 256):064x}" for value in values)


def topic(name: str, *more: int) -> list[str]:
    """The topics of the only event whose signature begins so."""
    (first,) = [one for signature, one in TOPICS.items() if signature.startswith(name)]
    return [first, *(words(value) for value in more)]


def test_topics_are_the_hashes_of_the_signatures() -> None:
    """Each written constant, computed anew."""
    for signature, written in TOPICS.items():
        assert written == "0x" + keccak(text=signature).hex()


def test_every_event() -> None:
    """With values at both ends of their widths."""
    assert decode("v2", topic("Sync("), words((1 << 112) - 1, 0)) == Synced((1 << 112) - 1, 0)
    assert decode("v2", topic("Swap(address,uint256", 1, 2), words(5, 0, 0, 7)) == Traded(5, 0, 0, 7)
    price, most = (1 << 160) - 1, (1 << 128) - 1
    extreme = (-(1 << 255), (1 << 255) - 1, price, most, -887272)
    v3 = "Swap(address,address,int256,int256,uint160,uint128,int24)"
    assert decode("v3", topic(v3, 1, 2), words(*extreme)) == Crossed(*extreme)
    pancake = "Swap(address,address,int256,int256,uint160,uint128,int24,"
    assert decode("v3", topic(pancake, 1, 2), words(*extreme, 3, 4)) == Crossed(*extreme)
    assert decode("v3", topic("Mint(", 9, -60, 60), words(9, 100, 5, 6)) == Resized(-60, 60, 100, 5, 6)
    assert decode("v3", topic("Burn(", 9, -60, 60), words(100, 5, 6)) == Resized(-60, 60, -100, -5, -6)
    assert decode("v3", topic("Initialize("), words(1 << 96, -1)) == Opened(1 << 96, -1)


def test_what_changes_nothing_or_is_unknown() -> None:
    """Another event, one of the other kind of pool, no topic at all; and a kind that does not exist."""
    assert decode("v3", ["0x" + "11" * 32], "0x") is None
    assert decode("v3", topic("Sync("), words(1, 2)) is None
    assert decode("v2", [], "0x") is None
    with pytest.raises(KeyError):
        decode("v9", topic("Sync("), words(1, 2))


@pytest.mark.parametrize(
    ("topics", "data", "why"),
    [
        (topic("Initialize("), words(1), "1 words"),
        (topic("Initialize("), words(1, 2, 3), "3 words"),
        (topic("Initialize("), words(1, 2)[:-1], "words of data"),
        (topic("Initialize("), "0x" + "zz" * 64, "no hex"),
        *((topic("Initialize("), f"0x{word:0>64}{0:064x}", "no hex") for word in ("1_0", "0x1", "+1", " 1", "\u0661", "1\n")),
        *((topic("Initialize("), f"0x{word.ljust(64, '0')}{0:064x}", "no hex") for word in ("0x", "+", " ")),
        (topic("Initialize("), words(1 << 160, 0), "of 160 bits"),
        (topic("Initialize("), words(1, 1 << 23), "of 24 bits"),
        (topic("Initialize("), words(1, -(1 << 23) - 1), "of 24 bits"),
        (topic("Mint(", 9, -60), words(9, 100, 5, 6), "3 topics"),
        (topic("Mint(", 9, -60, 1 << 30), words(9, 100, 5, 6), "of 24 bits"),
        (topic("Burn(", 9, -60, 60), words(1 << 128, 5, 6), "of 128 bits"),
    ],
)
def test_data_that_are_not_the_events(topics: list[str], data: str, why: str) -> None:
    """Too short, too long, too wide."""
    with pytest.raises(BadLog, match=why):
        decode("v3", topics, data)


def test_reserves_over_112_bits() -> None:
    """No pair can say so."""
    with pytest.raises(BadLog, match="of 112 bits"):
        decode("v2", topic("Sync("), words(1 << 112, 0))


@given(st.sampled_from(sorted(SIGNATURES)), st.lists(st.text("0123456789abcdefx", max_size=70), max_size=5), st.text(max_size=400))
def test_any_bytes_are_an_event_nothing_or_a_log_error(kind: str, topics: list[str], data: str) -> None:
    """Whatever a node sends."""
    for first in SIGNATURES[kind].values():
        try:
            decode(kind, [first, *topics], data)
        except BadLog:
            continue
