"""A writer's claim on a log's folder: it makes the folder, and holds the lock that keeps a second writer out."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from typing import TYPE_CHECKING, Final

from xarb.errors import ConfigError, LogError
from xarb.log import manifest

if TYPE_CHECKING:
    from pathlib import Path

    from xarb.log.manifest import Header

LOCK: Final = ".lock"  # held by the writer at work
_POLL_S: Final = 0.05
_ASKED_S: Final = 0.5  # who only asks whether the lock is held holds it for a moment


class Claim:
    """The lock of one log, held until `release` or the end of the process.

    A process that seals for the writer inherits the open lock (`handle`) and so holds it too: should the writer die, no other
    begins before the seal has ended. The lock file holds the writer's process id, by which a later writer tells the two apart.

    Args:
        folder: the log.
        header: its first manifest line when the log is to be created, None when it is there.
        wait_s: how long to wait for a seal that a dead writer left running, in seconds.
        inherited: the open lock of the process that claimed the log and started this one.

    Raises:
        ConfigError: the folder exists already (create) or is no log.
        LogError: another writer holds the log.
    """

    def __init__(self, folder: Path, header: Header | None, *, wait_s: float = 0.0, inherited: int | None = None) -> None:
        self.folder = folder
        self.created = header is not None
        self._mine = inherited is None
        if header is not None:
            _make(folder)
        elif not (folder / manifest.NAME).is_file():
            raise ConfigError(f"{folder} is no log: it has no {manifest.NAME}")
        self.handle = _lock(folder, wait_s) if inherited is None else inherited
        if header is not None:
            try:
                manifest.append_line(folder / manifest.NAME, header)
                manifest.sync_folder(folder)
            except BaseException:  # an interrupt among them
                self.discard()
                raise

    def release(self) -> None:
        """Let another writer have the log; may be called again."""
        if self.handle >= 0:
            if self._mine:
                (self.folder / LOCK).unlink(missing_ok=True)  # while it is held: who waits for the old file sees that it is gone
            os.close(self.handle)
            self.handle = -1

    def discard(self) -> None:
        """Remove a log that this claim created, whole, and release it."""
        if self.created:
            shutil.rmtree(self.folder)
        self.release()


def is_claimed(folder: Path) -> bool:
    """Whether somebody holds the log: its writer, or what a dead one left to seal.

    The lock is asked, not the process number in it, which another process may have by now: the first one of a container always has the
    same. A writer that begins just then finds the lock taken for a moment, and tries again.
    """
    try:
        handle = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _make(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} exists already; choose another folder or remove it")
    outer = next((one for one in folder.resolve().parents if (one / manifest.NAME).exists()), None)
    if outer is not None:
        raise ConfigError(f"{folder} lies inside the log {outer}; choose another folder")
    manifest.make_folder(folder)


def _lock(folder: Path, wait_s: float) -> int:
    """Take the log's lock file, which says that a writer is at work; it frees itself when the process ends."""
    path = folder / LOCK
    began = time.monotonic()
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = os.fstat(handle)
            if path.exists() and path.stat().st_ino == held.st_ino:
                os.truncate(handle, 0)
                os.write(handle, str(os.getpid()).encode())
                return handle
        except BlockingIOError:
            writer = os.pread(handle, 20, 0).decode(errors="replace")
            waited = time.monotonic() - began
            if waited > _ASKED_S and (_is_alive(writer) or waited > wait_s):
                os.close(handle)
                raise LogError(f"{folder} is being written by another process ({writer or 'just starting'})") from None
            time.sleep(_POLL_S)
        os.close(handle)  # the writer before removed the file between our open and our lock


def _is_alive(writer: str) -> bool:
    """Whether the process of that id is there; one that has not written its id yet is."""
    if not (writer.isascii() and writer.isdigit()):
        return True
    try:
        os.kill(int(writer), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
