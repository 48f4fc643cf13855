"""Who holds a log: its lock says so, whatever the process number in it."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

import pytest

from tests.log.logs import HEADER
from tests.log.test_livelog import QUICK
from xarb.errors import LogError, Refused
from xarb.live.kill import stop
from xarb.log.claim import LOCK, is_claimed
from xarb.log.livelog import LiveLog


def test_a_number_that_another_process_got_claims_nothing(tmp_path: Path) -> None:
    """The writer died and its number lives on, as that of a container's first process does: a stop says at once that nobody has the log."""
    folder = tmp_path / "log"
    with LiveLog.create(folder, HEADER, QUICK) as log:
        assert is_claimed(folder)
        log.abandon()
    (folder / LOCK).write_text(f"{os.getpid()}")
    assert not is_claimed(folder)
    with pytest.raises(Refused, match="no process is trading"):
        stop(folder, wait_s=60)
    assert not [path for path in folder.iterdir() if "request" in path.name]


def test_a_writer_in_another_container_is_seen(tmp_path: Path) -> None:
    """The number in the lock is nobody's here, but the lock is held."""
    folder = tmp_path / "log"
    with LiveLog.create(folder, HEADER, QUICK):
        (folder / LOCK).write_text(f"{2**22 + 1}")  # above the highest number that Linux gives
        assert is_claimed(folder)
    assert not is_claimed(folder)


def test_who_asks_for_the_claim_keeps_no_writer_out(tmp_path: Path) -> None:
    """The lock is shared for a moment by who asks: a writer that begins just then waits for it; one that it is kept from is refused."""
    folder = tmp_path / "log"
    LiveLog.create(folder, HEADER, QUICK).close()
    (folder / LOCK).write_text(f"{os.getpid()}")
    asking = os.open(folder / LOCK, os.O_RDONLY)
    fcntl.flock(asking, fcntl.LOCK_SH)
    with pytest.raises(LogError, match="being written"):
        LiveLog.open(folder, QUICK)
    timer = threading.Timer(0.1, os.close, (asking,))
    timer.start()
    LiveLog.open(folder, QUICK).close()
    timer.join(10)
