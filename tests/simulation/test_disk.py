"""The disk of a world: what was made durable is known of each file, whatever number it has."""

from __future__ import annotations

import os
from pathlib import Path

from xarb.log.journal import FOLDER, make_journal, new_opening
from xarb.simulation.disk import WorldDisk
from xarb.simulation.faults import Slowness
from xarb.simulation.world import World

LOG_ID = "0123456789abcdef"


def test_removed_file_vouches_for_no_later_one(tmp_path: Path) -> None:
    """A file system gives a removed file's inode to the next one: bytes that were durable there are not durable here."""
    (tmp_path / FOLDER).mkdir()
    for seed in range(5):
        disk = WorldDisk(World(seed), Slowness(), seed)
        for is_synced in (True, False):
            path = make_journal(tmp_path, new_opening(0, "", LOG_ID, 0))
            handle = os.open(path, os.O_WRONLY | os.O_APPEND)
            disk.disk.write(handle, bytes(1_000))
            if is_synced:
                disk.disk.flush(handle)
            os.close(handle)
            if is_synced:
                path.unlink()
        assert disk.lose_power(tmp_path) > 0
        path.unlink()
        disk.close()


def test_slow_disk_takes_time() -> None:
    """A write that takes long moves the world's time, until the faults are over."""
    world = World(1)
    disk = WorldDisk(world, Slowness(1.0, 1_000_000), 1)
    reading, writing = os.pipe()
    try:
        disk.disk.write(writing, b"one")
        stood = world.now
        assert stood > 0
        disk.mend()
        disk.disk.write(writing, b"two")
        assert world.now == stood
    finally:
        os.close(reading)
        os.close(writing)
