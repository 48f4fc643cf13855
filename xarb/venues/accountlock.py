"""One process on this machine trades with a key: a lock for each account, held while a start of real orders runs.

The file lies in a folder of the user's (`$XDG_STATE_HOME/xarb/accounts`, else `~/.local/state/xarb/accounts`). Its name is a digest of the
exchange, its place and the key's id, from which no key can be read; of a wallet of the chain's id and the address. The lock ends with the process; what cancels orders does not ask for it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from xarb.errors import Refused

_FOLDER: Final = ("xarb", "accounts")
_LIMIT: Final = 4096


class Locked(NamedTuple):
    """An account: how it is called (`main at alpha`), and the digest of whose key that is."""

    what: str
    digest: str


class _Holder(msgspec.Struct, frozen=True):
    """Who has a lock: the process and its log."""

    pid: int
    log: str


def account_digest(exchange: str, place: str, key_id: str) -> str:
    """By what an account is known on this machine: ccxt's id of the exchange, where it is found, the key's id."""
    return hashlib.sha256(f"{exchange}\n{place}\n{key_id}".encode()).hexdigest()[:32]


def lock_folder(environment: Mapping[str, str]) -> Path:
    """Where the locks lie; nothing is made.

    Raises:
        Refused: the environment names neither a folder of states nor a home.
    """
    if state := environment.get("XDG_STATE_HOME"):
        return Path(state).joinpath(*_FOLDER)
    if home := environment.get("HOME"):
        return Path(home, ".local", "state").joinpath(*_FOLDER)
    raise Refused("no real orders: neither XDG_STATE_HOME nor HOME says where the locks of accounts are kept")


class AccountLocks:
    """The locks of a session's accounts, from `take` until `release` or the end of the process.

    Args:
        log: the log of the session, which another process is told.
        environment: says where they lie; None: the process's own.
    """

    def __init__(self, log: Path, environment: Mapping[str, str] | None = None) -> None:
        self._log = log
        self._environment = os.environ if environment is None else environment
        self._handles: list[int] = []

    def take(self, accounts: Iterable[Locked]) -> None:
        """Take them all, or none.

        Raises:
            Refused: another process trades with one of the keys, or two accounts have the same one, or the locks cannot be written.
        """
        folder = lock_folder(self._environment)
        names: dict[str, str] = {}
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for one in accounts:
                if (other := names.setdefault(one.digest, one.what)) != one.what:
                    raise Refused(f"no real orders: {one.what} has the key of {other}: each account needs one of its own")
                self._handles.append(self._lock(folder / f"{one.digest}.lock", one.what))
        except OSError as error:
            self.release()
            raise Refused(f"no real orders: {folder}: the lock of an account cannot be taken: {error.strerror}") from None
        except Refused:
            self.release()
            raise

    def release(self) -> None:
        """Let others have them; may be called again. The files stay: removing one would part who waits for it from who makes it anew."""
        while self._handles:
            handle = self._handles.pop()
            os.ftruncate(handle, 0)
            os.close(handle)

    def _lock(self, path: Path, what: str) -> int:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held = _read(handle)
            os.close(handle)
            who = "another process" if held is None else f"process {held.pid} with the log {held.log}"
            raise Refused(f"no real orders: {what}: {who} trades with this key already; end it first") from None
        except OSError:
            os.close(handle)
            raise
        os.ftruncate(handle, 0)
        os.pwrite(handle, msgspec.json.encode(_Holder(os.getpid(), str(self._log.resolve()))), 0)
        return handle


def _read(handle: int) -> _Holder | None:
    """Who says that it has a lock; None where it is just beginning."""
    try:
        return msgspec.json.decode(os.pread(handle, _LIMIT, 0), type=_Holder)
    except msgspec.DecodeError:
        return None
