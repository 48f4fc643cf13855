"""Cuts the power of a real file system under a log that is being written: ext4 on a loop device, shut down without a flush.

`python -m tests.log.power SCRATCH ROUNDS [FAULT]`, as root and in a mount namespace of its own (`unshare --mount`), so that nothing stays
mounted whatever happens. The kernel drops every dirty page and the uncommitted part of its own journal; what is mounted then is what a
disk would hold after a power failure. Only what was acknowledged before the cut counts. Every third cut comes within 50 ms of the beginning of
a start, which has to recover from the cut before. Prints how many rows were acknowledged; fails on the first that is lost, doubled or
wrong.

A fault is planted in the recorder: `journal` (its fdatasync does nothing) or `seal` (fsync does nothing: sealed files, manifest, folders).
"""

from __future__ import annotations

import fcntl
import itertools
import os
import random
import selectors
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.log.live import head, read_inputs
from tests.log.logs import HEADER
from tests.log.recorder import check_recorded, rows_from
from xarb.log.committer import Policy
from xarb.log.livelog import LiveLog

if TYPE_CHECKING:
    from _typeshed import HasFileno

STRICT = Policy(commit_ms=1, seal_rows=150, reserve_bytes=4096, separate=False)
SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN, fs/ext4/ext4.h
NO_FLUSH = 2  # EXT4_GOING_FLAGS_NOLOGFLUSH
WAIT_S = 60
READY = "ready"


def record(folder: Path, seed: int, fault: str) -> None:
    """Append rows until the disk is gone, and print each seq once it is on the disk."""
    if fault == "journal":
        os.fdatasync = _forget
    elif fault == "seal":
        os.fsync = _forget
    _say(READY)
    draw = random.Random(seed)  # noqa: S311  # a test's draw
    log = LiveLog.open(folder, STRICT)
    if log.last < 1:
        log.append(head())
    while True:
        log.append(*rows_from(log.last + 1, draw.randint(1, 30)))
        log.sync()
        _say(log.last)


def _forget(fd: int | HasFileno) -> None:
    """An fsync that does nothing."""
    del fd


def _say(what: object) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def _acknowledged(recorder: subprocess.Popen[bytes], count: int, opening_s: float) -> list[int]:
    """What a recorder acknowledged up to now: `count` rows, or with none what came this long after it began to open the log."""
    assert recorder.stdout is not None
    raw, lines = b"", list[bytes]()
    with selectors.DefaultSelector() as waiting:
        waiting.register(recorder.stdout, selectors.EVENT_READ)
        while len(lines) < count + 1:
            assert waiting.select(WAIT_S), f"the recorder said nothing for {WAIT_S} s"
            more = os.read(recorder.stdout.fileno(), 1 << 16)
            assert more, "the recorder ended before the cut"
            raw += more
            lines = raw.split(b"\n")[:-1]
        if count == 0:
            waiting.unregister(recorder.stdout)
            waiting.select(opening_s)  # nothing is awaited: this is the moment of the cut
    return [int(line) for line in lines if line != READY.encode()]


def cut(mounted: Path) -> None:
    """What a power failure does to a mounted file system.

    Raises:
        OSError: the kernel does not allow it.
    """
    handle = os.open(mounted, os.O_RDONLY)
    try:
        fcntl.ioctl(handle, SHUTDOWN, struct.pack("I", NO_FLUSH))
    finally:
        os.close(handle)


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=WAIT_S)


def main(scratch: Path, rounds: int, fault: str = "") -> None:
    """Cut as often as is said, and look at every row after each; the log goes on in the next round."""
    image, mounted = scratch / "image", scratch / "mounted"
    mounted.mkdir()
    with image.open("wb") as file:
        file.truncate(128 << 20)
    _run("mkfs.ext4", "-q", "-F", image)
    _run("mount", "-o", "loop", image, mounted)
    folder = mounted / "log"
    LiveLog.create(folder, HEADER, STRICT).close()
    _run("sync", "-f", mounted)
    draw = random.Random(7)  # noqa: S311  # a test's draw
    acknowledged = -1
    for number in range(rounds):
        command = [sys.executable, "-m", "tests.log.power", "record", str(folder), str(number), fault]
        count = 0 if number % 3 == 2 else draw.randint(1, 40)
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as recorder:
            try:
                said = _acknowledged(recorder, count, draw.random() * 0.05)
                cut(mounted)
            finally:
                recorder.kill()
        acknowledged = max([acknowledged, *said])
        _run("umount", mounted)
        _run("mount", "-o", "loop", image, mounted)
        if number % 3 != 1:  # the next round begins with the recovery, and its power is cut
            check_recorded(folder, acknowledged)
    check_recorded(folder, acknowledged)
    _say(f"{acknowledged + 1} rows were acknowledged in {rounds} rounds, {len(read_inputs(folder))} are there")
    _run("umount", mounted)


if __name__ == "__main__":
    if sys.argv[1] == "record":
        record(Path(sys.argv[2]), int(sys.argv[3]), *itertools.islice(sys.argv, 4, None))
    else:
        main(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
