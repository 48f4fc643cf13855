"""Files that belong to the user alone: read, replaced at once or not at all, in a folder that nobody else may enter."""

from __future__ import annotations

import fcntl
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from xarb import toml
from xarb.errors import ConfigError

_LIMIT_BYTES: Final = 1 << 20  # no file of keys of ours is near it


def private_text(file: Path) -> str:
    """The text of a file that nobody else may read.

    Raises:
        ConfigError: it cannot be read, is larger than 1 MiB, belongs to another user, or others may read it.
    """
    try:
        with file.open("rb") as handle:
            about = os.fstat(handle.fileno())
            if why := objection(about, 0o600):
                raise ConfigError(f"{file}: {why}")
            data = handle.read(_LIMIT_BYTES + 1)
        if len(data) > _LIMIT_BYTES:
            raise ConfigError(f"{file} is {toml.size_of(file, _LIMIT_BYTES)}, at most {_LIMIT_BYTES}; no file of keys")
        return data.decode("utf-8")
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{file}: no UTF-8 text") from None


def objection(about: os.stat_result, wanted: int) -> str | None:
    """What speaks against a file (`wanted` 0o600) or folder (0o700) of keys, None where it is the user's alone."""
    mode = stat.S_IMODE(about.st_mode)
    if mode & 0o077:
        return f"mode {mode:04o}; keys belong to you alone: chmod {wanted:o}"
    return "belongs to another user" if about.st_uid != os.geteuid() else None


def check_folder(folder: Path) -> None:
    """A folder of keys is the user's alone.

    Raises:
        ConfigError: others may enter it, or it is not there.
    """
    try:
        about = folder.stat()
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be read: {error.strerror}") from None
    if why := objection(about, 0o700):
        raise ConfigError(f"{folder}: {why}")


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """One writer at a time in a folder of keys, which is made if it is not there; its entries are on disk when this ends.

    Raises:
        ConfigError: others may enter it.
    """
    for one in reversed((folder, *folder.parents)):  # `parents=True` would give those above the modes of ordinary folders
        one.mkdir(mode=0o700, exist_ok=True)
    check_folder(folder)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
        os.fsync(handle)
    finally:
        os.close(handle)


def replace_file(path: Path, data: bytes) -> None:
    """Write a file of mode 0600 in place of the one that is there, at once or not at all; under `locked_folder`."""
    beside = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        beside.replace(path)
    except BaseException:  # whatever ends it, no half of a file stays
        beside.unlink(missing_ok=True)
        raise
