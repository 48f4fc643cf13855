"""The disk of a world: real files in memory, of which it is known how much was made durable; writes and syncs fail or take long when the world says so."""

from __future__ import annotations

import errno
import os
import random
from pathlib import Path

from xarb.log.disk import Bytes, Disk
from xarb.log.journal import FOLDER, SUFFIX, read_opening
from xarb.simulation.faults import Slowness
from xarb.simulation.world import World


class WorldDisk:
    """Hands a log's bytes to real files; `close` it.

    Args:
        world: whose chance decides what a power failure leaves.
        slowness: how often it takes how long.
        seed: of the draws of that.

    Attributes:
        disk: what a live log is given.
        is_slow: it takes long now and then, or did before it was mended.
        write_error: errno that the next write fails with, once; 0 for none.
        sync_error: errno that the next sync fails with, once; 0 for none.
    """

    def __init__(self, world: World, slowness: Slowness, seed: int) -> None:
        self._world, self._slowness = world, slowness
        self.is_slow = slowness.odds > 0
        self._draw = random.Random(f"disk {seed}")  # noqa: S311  # a case is to be drawn again
        self._durable: dict[int, int] = {}  # bytes that are on the disk, by inode
        self._held: dict[int, int] = {}  # a file that is open keeps its inode, so that no later file gets that number
        self.write_error = self.sync_error = 0
        self.disk = Disk(self._write, self._flush)

    def mend(self) -> None:
        """No faults any more."""
        self.write_error = self.sync_error = 0
        self._slowness = Slowness()

    def close(self) -> None:
        """Let go of what is held."""
        while self._held:
            os.close(self._held.popitem()[1])

    def _write(self, handle: int, data: Bytes) -> int:
        self._take_long()
        if self.write_error:
            code, self.write_error = self.write_error, 0
            if len(data) > 1 and code == errno.ENOSPC:
                os.write(handle, data[: len(data) // 2])  # a nearly full disk takes a part first
            raise OSError(code, os.strerror(code))
        return os.write(handle, data)

    def _flush(self, handle: int) -> None:
        self._take_long()
        if self.sync_error:
            code, self.sync_error = self.sync_error, 0
            raise OSError(code, os.strerror(code))
        stat = os.fstat(handle)
        if stat.st_ino not in self._held:
            self._held[stat.st_ino] = os.dup(handle)
        self._durable[stat.st_ino] = stat.st_size

    def _take_long(self) -> None:
        if self._slowness.odds and self._draw.random() < self._slowness.odds:
            length = self._draw.randrange(self._slowness.most_ns)
            self._world.note(f"the disk takes {length} ns")
            self._world.stand(length)

    def lose_power(self, log: Path) -> int:
        """Take from every journal what was not durable, or leave a torn part of it; the bytes that are gone."""
        gone = 0
        for path in sorted((log / FOLDER).glob(f"*{SUFFIX}")):
            stat = path.stat()
            durable = self._durable.get(stat.st_ino, read_opening(path)[1])  # a journal is made with its header on the disk
            if durable >= stat.st_size:
                continue
            draw = self._world.draw
            kept = durable + draw.randrange(stat.st_size - durable + 1)
            os.truncate(path, kept)
            if kept > durable and draw.random() < 0.3:
                with path.open("r+b") as file:  # a block that never reached the disk reads as zeros
                    file.seek(durable + draw.randrange(kept - durable))
                    file.write(bytes(kept - file.tell()))
            gone += stat.st_size - kept
        return gone
