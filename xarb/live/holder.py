"""The process that has a log, as somebody else sees it: found by the lock that it holds, stopped where it stands, ended."""

from __future__ import annotations

import os
import select
import signal
import stat
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from xarb.errors import Refused
from xarb.log.claim import LOCK

GONE_S: Final = 30.0  # how long the end of a killed process is waited for
_PROC: Final = Path("/proc")


class Holder:
    """The process that holds a log's lock. Use as a context manager.

    It is held by a descriptor, so that no signal meets another process that got its number; that it has the log's lock open is seen
    behind that.

    Args:
        folder: the log.

    Raises:
        Refused: it cannot be told for certain which process that is, or it is none that this one may end.
    """

    def __init__(self, folder: Path) -> None:
        try:
            with (folder / LOCK).open("rb") as lock:
                pid = int(lock.read(20))
        except (OSError, ValueError):
            raise Refused(f"{folder}: its lock does not say which process has it") from None
        if pid == os.getpid():
            raise Refused(f"{folder}: this process has it itself")
        self.pid = pid
        try:
            self._handle = os.pidfd_open(pid)
        except (OSError, AttributeError) as error:  # it is gone, or this system knows no such descriptors
            raise Refused(f"{folder}: process {pid}, which its lock names, cannot be held: {error}") from None
        try:
            if not _has_open(pid, folder / LOCK):
                raise Refused(f"{folder}: process {pid}, which its lock names, does not have it open: it is another one by now")
        except BaseException:  # an interrupt among them
            os.close(self._handle)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._handle)

    def stop(self) -> None:
        """Stop it where it stands: whatever it was about to do, it does not.

        Raises:
            Refused: it belongs to somebody else.
        """
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it run again."""
        self._signal(signal.SIGCONT)

    def end(self) -> bool:
        """End it by SIGKILL; whether it was seen to be gone within `GONE_S`.

        Raises:
            Refused: it belongs to somebody else.
        """
        self._signal(signal.SIGKILL)
        return bool(select.select([self._handle], [], [], GONE_S)[0])

    def _signal(self, number: signal.Signals) -> None:
        try:
            signal.pidfd_send_signal(self._handle, number)
        except ProcessLookupError:  # it ended by itself
            return
        except PermissionError:
            raise Refused(f"process {self.pid} belongs to another user: {number.name} was not allowed") from None


def _has_open(pid: int, path: Path) -> bool:
    """Whether a process has a file open.

    Raises:
        Refused: that cannot be seen.
    """
    try:
        wanted = path.stat()
        handles = list((_PROC / str(pid) / "fd").iterdir())
    except OSError as error:
        raise Refused(f"what process {pid} has open cannot be seen: {error.strerror}") from None
    for handle in handles:
        try:
            found = handle.stat()
        except OSError:  # closed meanwhile
            continue
        if stat.S_ISREG(found.st_mode) and (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
            return True
    return False
