"""Follows a chain block by block: announced heads in, whole blocks in order out, and what must be asked for in between.

A head is only a hint. One that extends the last block is taken; whatever else comes (twice, late, skipped, from another branch, from another
node) makes the follower ask for the latest block, and walk back from it by parent hashes until it meets what it knows. So order and loss of
messages do not matter, and the same walk fills gaps and finds reorganisations. A block goes out once its logs are there; those of an abandoned
branch go out before, newest first, as removed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from xarb.wires.node import BadAnswer, Header, Log


class AskLatest(NamedTuple):
    """The latest header is wanted."""


class AskHeader(NamedTuple):
    """The header of a hash is wanted."""

    hash: str


class AskLogs(NamedTuple):
    """The logs of a block are wanted."""

    header: Header


Ask = AskLatest | AskHeader | AskLogs


class Change(NamedTuple):
    """A block with its logs; `is_removed` compensates for one that went out before."""

    header: Header
    logs: tuple[Log, ...]
    is_removed: bool = False


class Lost(NamedTuple):
    """What is known does not connect to the chain any more: begin anew from a state of the chain."""

    why: str


class BlockFollower:
    """Follows from a block whose state is known.

    Args:
        start: that block; it does not go out.
        history: blocks that are kept, which is how deep a reorganisation can be undone.
        reach: blocks that are walked back at most.

    Attributes:
        irregular: heads that did not extend the last block.
        repeated: heads of blocks that are known.
    """

    def __init__(self, start: Header, *, history: int = 64, reach: int = 512) -> None:
        self._kept: deque[Change] = deque([Change(start, ())])
        self._known: set[str] = {start.hash}
        self._history, self._reach = max(history, 1), reach
        self._path: list[Header] = []  # to be added, newest first; each is the parent of the one before it
        self._logs: dict[str, tuple[Log, ...]] = {}
        self._asks: list[Ask] = []
        self._waits: Ask | None = None  # AskLatest or AskHeader that is not answered
        self._is_doubtful = False  # something irregular was heard while the follower was busy
        self.irregular = self.repeated = 0

    @property
    def tip(self) -> Header:
        """The last block that went out."""
        return self._kept[-1].header

    def kept(self, number: int) -> Change | None:
        """A block that went out and was not removed, so far as it is kept."""
        at = number - self._kept[0].header.number
        return self._kept[at] if 0 <= at < len(self._kept) else None

    def asks(self) -> list[Ask]:
        """What is wanted since the last call; each must be answered, be it by `fail`."""
        taken, self._asks = self._asks, []
        return taken

    # --- inputs

    def hears(self, header: Header) -> None:
        """A head was announced."""
        if header.hash in self._known or any(header.hash == one.hash for one in self._path):
            self.repeated += 1
        elif self._waits is not None:
            self._is_doubtful = True
        elif header.parent_hash == (self._path[0] if self._path else self.tip).hash and header.number == self._next_number():
            self._path.insert(0, header)
            self._asks.append(AskLogs(header))
        else:
            self.irregular += 1
            self.doubts()

    def doubts(self) -> None:
        """The chain may be elsewhere: look."""
        if self._waits is None and not self._path:
            self._wait_for(AskLatest())
        else:
            self._is_doubtful = True

    def takes_latest(self, header: Header) -> Lost | None:
        """The answer to `AskLatest`.

        Raises:
            BadAnswer: its number does not follow its parent's.
        """
        self._waits = None
        if header.hash not in self._known:  # one that is known: the node is behind, or there is nothing new
            self._path = [header]
            return self._walk()
        return None

    def takes_header(self, header: Header) -> Lost | None:
        """The answer to `AskHeader`.

        Raises:
            BadAnswer: it is not the parent's.
        """
        self._waits = None
        child = self._path[-1]
        if header.hash != child.parent_hash or header.number != child.number - 1:
            raise BadAnswer(f"block {header.hash} of number {header.number} is no parent of block {child.number}")
        self._path.append(header)
        return self._walk()

    def takes_logs(self, header: Header, logs: Sequence[Log]) -> None:
        """The answer to `AskLogs`; of a block that is not wanted any more it says nothing."""
        if any(header.hash == one.hash for one in self._path):
            self._logs[header.hash] = tuple(logs)

    def fail(self) -> None:
        """Something that was asked for is not to be had: what is on its way is forgotten, and the latest block asked for."""
        self._path, self._logs, self._waits, self._is_doubtful = [], {}, None, False
        self._asks = []
        self._wait_for(AskLatest())

    # --- output

    def take(self) -> list[Change]:
        """The blocks that are complete, in order: removed ones first, where they make way."""
        found: list[Change] = []
        while self._waits is None and self._path and self._path[-1].hash in self._logs:
            header = self._path.pop()
            while self.tip.hash != header.parent_hash:
                gone = self._kept.pop()
                self._known.remove(gone.header.hash)
                found.append(gone._replace(is_removed=True))
            block = Change(header, self._logs.pop(header.hash))
            self._kept.append(block)
            self._known.add(header.hash)
            found.append(block)
        while len(self._kept) > self._history:
            self._known.remove(self._kept.popleft().header.hash)
        if self._is_doubtful and self._waits is None and not self._path:
            self._is_doubtful = False
            self._wait_for(AskLatest())
        return found

    def _next_number(self) -> int:
        return (self._path[0] if self._path else self.tip).number + 1

    def _wait_for(self, ask: AskLatest | AskHeader) -> None:
        self._waits = ask
        self._asks.append(ask)

    def _walk(self) -> Lost | None:
        """From the oldest block of the path towards what is known."""
        oldest = self._path[-1]
        if oldest.parent_hash in self._known:
            parent = next(one.header for one in reversed(self._kept) if one.header.hash == oldest.parent_hash)
            if parent.number != oldest.number - 1:
                raise BadAnswer(f"block {oldest.number} calls block {parent.number} its parent")
            self._asks += [AskLogs(one) for one in reversed(self._path)]
            return None
        first = self._kept[0].header.number
        if oldest.number <= first:
            return Lost(f"the chain left the kept blocks {first} to {self.tip.number}")
        if len(self._path) >= self._reach:
            return Lost(f"more than {self._reach} blocks are missing after block {self.tip.number}")
        self._wait_for(AskHeader(oldest.parent_hash))
        return None


__all__: Final = ["Ask", "AskHeader", "AskLatest", "AskLogs", "BlockFollower", "Change", "Lost"]
