"""Receipts that are booked and not final, and what they come to for the cycle whose transactions they are of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, Protocol

from xarb.engine.captured import BookedCopy
from xarb.model.command import CycleReport

RECEIPTS: Final = ("succeeded", "reverted")  # what a block holds: nothing else is booked
REORGED: Final = "reorged"
FINAL: Final = "final"
Post = tuple[str, str, int, str]  # venue, asset, change, cause
Mine = tuple[str, str, int | None]  # account, strategy, order


class Booked(NamedTuple):
    """What a receipt changed."""

    block_hash: str
    mine: Mine
    posts: tuple[Post, ...]

    def capture(self, tx_hash: str) -> BookedCopy:
        """It as plain values."""
        return BookedCopy(tx_hash, self.block_hash, *self.mine, [*self.posts])


def restored_booked(copy: BookedCopy) -> Booked:
    """What the receipt of a copy changed."""
    return Booked(copy.block_hash, (copy.account, copy.strategy, copy.order), tuple(copy.posts))


class Change(NamedTuple):
    """Something is booked (+1), or taken back (-1)."""

    booked: Booked
    sign: int


class Followed(Protocol):
    """A cycle that is followed: its state is of `CYCLE_LIFE`, and `tx_hash` names the transaction whose receipt is booked, empty for none."""

    state: str
    tx_hash: str


def follow(one: Followed | None, report: CycleReport, changes: Sequence[Change]) -> Iterator[tuple[str | None, Change | None]]:
    """What a report comes to, in order: the event for its cycle, None where it has none, and the change that goes with that.

    The cycle's `tx_hash` is kept; who follows it advances its state with each event.
    """
    for change in changes:
        event = None
        if one is not None and (change.sign > 0 or one.tx_hash == report.tx_hash):
            one.tx_hash, event = (report.tx_hash, report.event) if change.sign > 0 else ("", REORGED)
        yield event, change
    if one is None or report.event in (*RECEIPTS, REORGED):
        return
    if report.event != FINAL or one.tx_hash == report.tx_hash or one.state == "dropped":
        yield report.event, None
