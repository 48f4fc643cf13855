"""What is done about a transaction that no block takes: another bid, then a transfer to oneself that takes its nonce, then nothing any more.

Only the nonce that the chain counts next is looked at: what waits behind it waits for it, not for a better bid.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

import msgspec

from xarb.venues.dex.fees import FeePolicy, Fees
from xarb.venues.dex.nonces import Attempt, Nonces

# A transfer without data takes 21,000 on every chain of this kind; what is over tells bids apart, and is not paid for.
CANCEL_GAS: Final = 21_100


class Head(NamedTuple):
    """The latest block: its number and time (Unix seconds), and the base fee of the one behind it."""

    number: int
    timestamp_s: int
    next_base_fee_wei: int


class StuckPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How patient to be: blocks that a bid waits, other bids of one transaction, and bids of the transfer that cancels it."""

    wait_blocks: int
    max_replacements: int
    max_cancels: int


class Step(NamedTuple):
    """What to do about the nonce: bid `fees` for `attempt` anew or for a transfer to oneself; `attempt` is None where a gap is filled."""

    act: Literal["replace", "cancel", "halt"]
    nonce: int
    reason: str
    attempt: Attempt | None
    fees: Fees | None


def next_step(nonces: Nonces, latest: int, head: Head, *, stuck: StuckPolicy, fees: FeePolicy) -> Step | None:
    """What is to be done now; None: wait.

    Args:
        nonces: of the address.
        latest: the chain's count of its transactions, which is the next nonce to be mined.
        head: the latest block.
        stuck: how patient to be.
        fees: how fees are bid.
    """
    attempts = nonces.attempts(latest)
    waiting = [one for one in attempts if one.is_open]
    if not waiting:
        is_gap = any(nonce > latest for nonce in nonces.waiting())
        return _cancel(nonces, latest, "gap", head, stuck=stuck, fees=fees) if is_gap else None
    last = waiting[-1]
    if last.intent.channel == "relay":  # a relay keeps it for its blocks and no longer: it is dropped then, not replaced
        return None
    made = last.intent
    is_late = made.deadline_s is not None and head.timestamp_s >= made.deadline_s
    if not is_late and head.number - made.at_block < stuck.wait_blocks:
        return None
    if made.purpose == "cancel":
        return _cancel(nonces, latest, "waits", head, stuck=stuck, fees=fees)
    if is_late:
        return _cancel(nonces, latest, "late", head, stuck=stuck, fees=fees)
    bids = sum(one.intent.purpose == "replacement" for one in attempts)
    if bids >= stuck.max_replacements:
        return _cancel(nonces, latest, "replacements", head, stuck=stuck, fees=fees)
    cap = fees.cap_wei if made.ceiling_wei is None else min(fees.cap_wei, made.ceiling_wei)
    bid = msgspec.structs.replace(fees, cap_wei=cap).replacing(nonces.bid(latest) or made.fees, head.next_base_fee_wei)
    if bid is None:
        return _cancel(nonces, latest, "ceiling", head, stuck=stuck, fees=fees)
    return Step("replace", latest, "waits", last, bid)


def is_over(one: Attempt, head: Head) -> bool:
    """It cannot succeed any more: another has its nonce, or it never left, or it is dropped and past its time, when the contract undoes it."""
    if one.state == "replaced":
        return True
    if one.state != "dropped":
        return False
    deadline = one.intent.deadline_s
    return (not one.has_left and one.intent.channel == "public") or (deadline is not None and head.timestamp_s >= deadline)


def _cancel(nonces: Nonces, nonce: int, why: str, head: Head, *, stuck: StuckPolicy, fees: FeePolicy) -> Step:
    attempts = nonces.attempts(nonce)
    if sum(one.intent.purpose == "cancel" for one in attempts) >= stuck.max_cancels:
        return Step("halt", nonce, "cancels", None, None)
    old = nonces.bid(nonce)
    bid = fees.first(head.next_base_fee_wei) if old is None else fees.replacing(old, head.next_base_fee_wei)
    if bid is None:
        return Step("halt", nonce, "fee_cap", None, None)
    return Step("cancel", nonce, why, attempts[-1] if attempts else None, bid)
