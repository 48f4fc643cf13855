"""What another shell asks of a process that trades: a small file in the log's folder, taken within a fraction of a second.

The process answers by what it does: each act is an `operator` row of the log, and a stop ends in the log being let go. Where nothing else
works a file by the name of FLAG, empty or with a level in it, is a kill too, also of the process that starts next.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

import msgspec

from xarb.errors import LogError
from xarb.log.ends import KILL_FILE
from xarb.model.order import KILL_LEVELS, STOP

FLAG: Final = KILL_FILE
_PREFIX: Final = ".request-"
_POLL_S: Final = 0.05
_MOST: Final = 65_536  # bytes of a request; what is longer is none
Action = Literal["stop", "kill"]


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One wish: what is to be done, who asked, and how far a kill goes (`KILL_LEVELS`)."""

    action: Action
    actor: str
    level: str = STOP


def ask(folder: Path, action: Action, level: str = STOP) -> Request:
    """Leave a request for the process that trades on a log.

    Raises:
        LogError: the folder cannot be written.
    """
    request = Request(action=action, actor=who(), level=level)
    path = folder / f"{_PREFIX}{time.time_ns():020d}-{os.getpid()}"
    made = path.with_suffix(".new")
    try:
        made.write_bytes(msgspec.json.encode(request))
        made.rename(path)
    except OSError as error:
        raise LogError(f"{path}: {error.strerror}: the process cannot be asked") from None
    return request


def who() -> str:
    """Who asks: the user and the process."""
    return f"{getpass.getuser()} (process {os.getpid()})"


def take(folder: Path) -> list[Request]:
    """The requests that came since the last call, in order; what is none is removed too."""
    found = []
    for path in sorted(folder.glob(f"{_PREFIX}*")):
        if path.suffix == ".new":
            continue
        with contextlib.suppress(msgspec.DecodeError, FileNotFoundError):
            found.append(msgspec.json.decode(_head(path, _MOST), type=Request))
        path.unlink(missing_ok=True)
    flag = folder / FLAG
    with contextlib.suppress(FileNotFoundError):
        level = _head(flag, 20).decode(errors="replace").strip().lower()
        found.append(Request(action="kill", actor=f"the file {FLAG}", level=level if level in KILL_LEVELS else STOP))
        flag.unlink(missing_ok=True)
    return found


def _head(path: Path, most: int) -> bytes:
    """The first bytes of a file, which anybody may have left here."""
    with path.open("rb") as file:
        return file.read(most)


def forget(folder: Path, before_ns: int) -> None:
    """Remove requests made before a time (ns since 1970 UTC) that nobody took: they were meant for an earlier process."""
    for path in folder.glob(f"{_PREFIX}*"):
        if path.name < f"{_PREFIX}{before_ns:020d}":
            path.unlink(missing_ok=True)


def hold_back(folder: Path, error: LogError) -> LogError:
    """Keep back the next start of a log that could not be written: a kill by the file FLAG, which takes no room but its name.

    Returns the error with what was done.
    """
    flag = folder / FLAG
    try:
        flag.touch()
    except OSError as failure:
        return LogError(
            f"{error}; {flag}: {failure.strerror}, so that NOTHING KEEPS BACK ITS NEXT START: see to it that none follows"
        )
    return LogError(
        f"{error}; {flag} keeps back its next start, which notes the kill: xarb kill {folder} --reset takes it back then"
    )


def wait_until(done: Callable[[], bool], seconds: float) -> bool:
    """Whether `done()` becomes true within so many seconds."""
    until = time.monotonic() + seconds
    while not done():
        if time.monotonic() > until:
            return False
        time.sleep(_POLL_S)
    return True
