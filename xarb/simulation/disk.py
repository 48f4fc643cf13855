"""The disk of a world: real files in memory, of which it is known how much was made durable; writes and syncs fail when the world says so."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from xarb.log.disk import Bytes, Disk
from xarb.log.journal import FOLDER, SUFFIX, read_opening
from xarb.simulation.world import World


class TestedDisk:
    """Hands a log's bytes to real files.

    Args:
        world: whose chance decides what a power failure leaves.

    Attributes:
        disk: what a live log is given.
        write_error: errno that the next write fails with, once; 0 for none.
        sync_error: errno that the next sync fails with, once; 0 for none.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._durable: dict[int, int] = {}  # bytes that are on the disk, by inode
        self.write_error = self.sync_error = 0
        self.disk = Disk(self._write, self._flush)

    def _write(self, handle: int, data: Bytes) -> int:
        if self.write_error:
            code, self.write_error = self.write_error, 0
            if len(data) > 1 and code == errno.ENOSPC:
                os.write(handle, data[: len(data) // 2])  # a nearly full disk takes a part first
            raise OSError(code, os.strerror(code))
        return os.write(handle, data)

    def _flush(self, handle: int) -> None:
        if self.sync_error:
            code, self.sync_error = self.sync_error, 0
            raise OSError(code, os.strerror(code))
        stat = os.fstat(handle)
        self._durable[stat.st_ino] = stat.st_size

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
