"""What is bid for gas: room for a base fee that rises, never above the cap, and enough to replace what was bid before."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from xarb.pools.basefee import highest_next, next_base_fee
from xarb.venues.dex.fees import FeePolicy, Fees, raised

GWEI = 10**9
fees = st.integers(0, 10**12)


def test_the_published_rule() -> None:
    """EIP-1559: at the target it stays, a full block raises it by an eighth, an empty one lowers it by as much, and it moves by 1 at least upwards."""
    assert next_base_fee(1_000_000_000, 15_000_000, 30_000_000) == 1_000_000_000
    assert next_base_fee(1_000_000_000, 30_000_000, 30_000_000) == 1_125_000_000 == highest_next(1_000_000_000)
    assert next_base_fee(1_000_000_000, 0, 30_000_000) == 875_000_000
    assert next_base_fee(7, 30_000_000, 30_000_000) == 8 == highest_next(7)
    assert next_base_fee(7, 0, 30_000_000) == 7


def test_room_for_two_full_blocks() -> None:
    """And the cap before it."""
    policy = FeePolicy(tip_wei=2 * GWEI, cap_wei=100 * GWEI, rises=2)
    assert policy.first(64 * GWEI) == Fees(83 * GWEI, 2 * GWEI)
    assert policy.first(90 * GWEI) == Fees(100 * GWEI, 2 * GWEI)
    assert policy.first(98 * GWEI) == Fees(100 * GWEI, 2 * GWEI)
    assert policy.first(98 * GWEI + 1) is None


@given(base=fees, then=fees, tip=fees, cap=fees, rises=st.integers(0, 6))
def test_a_bid_pays_for_its_block_and_replaces_what_was_bid(*, base: int, then: int, tip: int, cap: int, rises: int) -> None:
    """Both fees at least a tenth higher, as nodes ask; never above the cap; none only where the cap says so."""
    policy = FeePolicy(tip_wei=tip, cap_wei=cap, rises=rises)
    old = policy.first(base)
    if old is None:
        assert base + tip > cap
        return
    assert base + tip <= old.max_fee_wei <= cap
    new = policy.replacing(old, then)
    if new is None:
        assert then + raised(old.tip_wei) > cap or raised(old.max_fee_wei) > cap
        return
    for before, after in zip(old, new, strict=True):
        assert after > before
        assert after * 100 >= before * 110
    assert then + new.tip_wei <= new.max_fee_wei <= cap
