"""Checkpoints of a log: the state of what decided on it, as of an input, in `<log>/checkpoints/<seq>.checkpoint`.

What the state is made of is its writer's business; here it is bytes with a digest. Each file names the log, the start and the code that it is
of, and the line of the manifest that was the last when it was made. A log is whole without them.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from xarb.errors import ConfigError, LogError
from xarb.log.manifest import sync_folder

if TYPE_CHECKING:
    from xarb.log.manifest import Manifest

FOLDER: Final = "checkpoints"
SUFFIX: Final = ".checkpoint"
LAST: Final = "last"
KEPT: Final = 3  # the newest ones
FORMAT: Final = 1
_DIGITS: Final = 20


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One of them.

    Attributes:
        log_id: identity of the log.
        code_digest: the code whose state it is, see provenance.
        start: number of the start.
        seq: the last input that is in the state.
        n: outputs after that input that were written before the checkpoint was made.
        line: digest of the manifest's line that was the last.
        state: the state.
    """

    log_id: str
    code_digest: str
    start: int
    seq: int
    n: int
    line: str
    state: bytes


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    format: int
    sha256: str  # of the body
    body: bytes


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write one into a log's folder, durable when this returns, and remove all but the newest; where it is.

    Raises:
        OSError: the disk failed or is full; what was there before is there.
    """
    body = msgspec.msgpack.encode(checkpoint)
    data = msgspec.msgpack.encode(_File(format=FORMAT, sha256=hashlib.sha256(body).hexdigest(), body=body))
    home = folder / FOLDER
    if not home.is_dir():
        home.mkdir()
        sync_folder(folder)
    path = home / f"{checkpoint.seq:0{_DIGITS}d}{SUFFIX}"
    half = home / f".{path.stem}.tmp"
    try:
        with half.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)
    sync_folder(home)
    for old in checkpoint_paths(folder)[:-KEPT]:
        old.unlink()
    return path


def checkpoint_paths(folder: Path) -> list[Path]:
    """The checkpoints of a log, the oldest first."""
    return sorted(path for path in (folder / FOLDER).glob(f"*{SUFFIX}") if path.stem.isascii() and path.stem.isdigit())


def read_checkpoint(path: Path, manifest: Manifest) -> Checkpoint:
    """One of a log's checkpoints.

    Raises:
        LogError: it is damaged, misnamed, or of another log.
    """
    try:
        file = msgspec.msgpack.decode(path.read_bytes(), type=_File)
        if file.format != FORMAT:
            raise LogError(f"{path} is a checkpoint of format {file.format}, this version reads {FORMAT}")
        if hashlib.sha256(file.body).hexdigest() != file.sha256:
            raise LogError(f"{path} is damaged: its digest does not match")
        found = msgspec.msgpack.decode(file.body, type=Checkpoint)
    except OSError as error:
        raise LogError(f"{path} cannot be read: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise LogError(f"{path} is damaged: {error}") from None
    if path.stem != f"{found.seq:0{_DIGITS}d}":
        raise LogError(f"{path} is the checkpoint of seq {found.seq}: its name was changed")
    if found.log_id != manifest.header.log_id or found.line not in manifest.heads:
        raise LogError(f"{path} is a checkpoint of another log: it belongs to a line that this manifest does not have")
    return found


def find_checkpoint(folder: Path, which: str) -> Path:
    """The checkpoint of an input, or the `last` one.

    Raises:
        ConfigError: there is none.
    """
    paths = checkpoint_paths(folder)
    known = ", ".join(str(int(path.stem)) for path in paths) or "none; live trading writes one after each seal"
    if which == LAST and paths:
        return paths[-1]
    for path in paths:
        if which.isdecimal() and int(path.stem) == int(which):
            return path
    raise ConfigError(f"{folder} has no checkpoint {which}; there are: {known}")
