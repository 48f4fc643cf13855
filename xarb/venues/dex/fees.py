"""What gas is bid, by the rules of EIP-1559: a tip for the builder, and a cap for both that leaves room for a base fee which rises."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from xarb.pools.basefee import highest_next

REPLACEMENT_PERCENT: Final = (
    10  # nodes take another transaction of a nonce from so much more on, on both fees (go-ethereum's PriceBump)
)


class Fees(NamedTuple):
    """What a transaction bids for each gas: everything at most, and the tip in it."""

    max_fee_wei: int
    tip_wei: int


class FeePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How fees are bid.

    Attributes:
        tip_wei: the first transaction's tip.
        cap_wei: no transaction bids more for each gas, whatever happens.
        rises: blocks over which the base fee may rise as fast as it can before a transaction waits for it.
    """

    tip_wei: int
    cap_wei: int
    rises: int

    def first(self, base_fee_wei: int) -> Fees | None:
        """The bid of a new transaction; None where the cap does not pay for the next block."""
        if base_fee_wei + self.tip_wei > self.cap_wei:
            return None
        room = base_fee_wei
        for _ in range(self.rises):
            room = highest_next(room)
        return Fees(min(room + self.tip_wei, self.cap_wei), self.tip_wei)

    def replacing(self, old: Fees, base_fee_wei: int) -> Fees | None:
        """The bid of another transaction of the same nonce: enough for nodes to take it in the place of the old one.

        None where the cap does not allow it.
        """
        tip = max(self.tip_wei, raised(old.tip_wei))
        usual = FeePolicy(tip_wei=tip, cap_wei=self.cap_wei, rises=self.rises).first(base_fee_wei)
        least = raised(old.max_fee_wei)
        if usual is None or least > self.cap_wei:
            return None
        return Fees(max(least, usual.max_fee_wei), tip)


def raised(fee_wei: int) -> int:
    """The least fee that replaces another."""
    return max(-(-fee_wei * (100 + REPLACEMENT_PERCENT) // 100), fee_wei + 1)
