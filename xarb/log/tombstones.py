"""Tombstones: manifest lines that say which files of which segments are gone, and the rules that such a line must keep.

The lines of the segments stay, with the digests of what is gone, so that the chain holds as before. Two groups of kinds may go, each
whole or not at all within a segment: the engine's inputs, and raw frames. Everything else stays for ever: what says how rows are read
(instruments, connections), who decided (starts, operator), and orders and money, recorded or decided.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

from xarb.errors import LogError
from xarb.model.columns import INPUTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from xarb.log.manifest import FileEntry, Segment

Reason = Literal["pruned", "archived"]

FRAMES: Final = ("frames",)
KEPT: Final = (
    *(
        "receipts",
        "transactions",
        "instruments",
        "wallets",
        "connections",
        "reports",
        "balances",
        "transfers",
        "operator",
        "starts",
    ),
)
"""Input kinds that never go; no output ever does."""
ENGINE_INPUTS: Final = tuple(kind for kind in INPUTS if kind not in (*KEPT, *FRAMES))
"""Kinds that go together: a backtest without some of them would be another one."""
MARK: Final = b'"gone":'  # stands in a tombstone's line and in no other: a quote within a text is escaped


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """All files of these kinds in the segments `first` to `last`, inclusive."""

    first: int
    last: int
    kinds: tuple[str, ...]


class Tombstone(msgspec.Struct, frozen=True, kw_only=True):
    """One line: what is gone, why, by whom and when.

    Attributes:
        gone: what is gone; their entries stand in the lines of their segments.
        reason: "pruned", or "archived" when `to` holds it.
        by: who did it, as text.
        ts: when, ns; a note, by which nothing is ordered.
        to: the folder of the archive, as it was given.
        previous: digest of the line before.
    """

    gone: tuple[Part, ...]
    reason: Reason
    by: str
    ts: int
    to: str | None = None
    previous: str


def covered(parts: Sequence[Part], segments: Sequence[Segment], gone: Mapping[str, object]) -> list[FileEntry]:
    """The files that parts of a tombstone cover.

    Args:
        parts: of one tombstone.
        segments: all that stand before it.
        gone: paths that earlier tombstones cover.

    Raises:
        LogError: a tombstone may not cover this: it names a kind that never goes, some of the engine's inputs of a segment, a segment
            that is not there, a file that is gone already, or no file at all.
    """
    found: dict[str, FileEntry] = {}
    for part in parts:
        strange = [kind for kind in part.kinds if kind not in (*ENGINE_INPUTS, *FRAMES)]
        if strange:
            raise LogError(f"a tombstone covers {', '.join(strange)}, which are never removed")
        if not 0 <= part.first <= part.last < len(segments):
            raise LogError(f"a tombstone covers the segments {part.first} to {part.last} of {len(segments)}")
        for segment in segments[part.first : part.last + 1]:
            mine = [entry for entry in segment.files if entry.kind in part.kinds]
            again = [entry.path for entry in mine if entry.path in gone or entry.path in found]
            if again:
                raise LogError(f"a tombstone covers {again[0]}, which is gone already")
            left = [entry.kind for entry in segment.files if entry.kind in ENGINE_INPUTS and entry.kind not in part.kinds]
            if left and any(entry.kind in ENGINE_INPUTS for entry in mine):
                raise LogError(f"a tombstone covers some inputs of segment {segment.segment} and leaves its {left[0]}")
            found |= {entry.path: entry for entry in mine}
    if not found:
        raise LogError("a tombstone covers nothing")
    return list(found.values())
