"""The log that a run was made from: where it is, and opened as it stood then."""

from __future__ import annotations

import os
from pathlib import Path

from xarb.errors import ConfigError, Refused
from xarb.log.manifest import Header, Manifest
from xarb.log.reader import LogReader


def find_log(run: Path, origin: str, log: Path | None) -> Path:
    """The input log of a run: the one given, else where the run says, relative to its folder.

    Raises:
        ConfigError: there is none.
    """
    if log is not None:
        return log
    found = Path(os.path.normpath(run / origin))
    if not found.is_dir():
        raise ConfigError(f"the log of {run} is not at {found}; give it with --log")
    return found


def open_log_of(header: Header, log: Path) -> LogReader:
    """The log that a run was made from, as it stood then; `header` is the run's.

    Raises:
        LogError: a file is damaged.
        Refused: the log is another one.
    """
    whole = Manifest(log)
    if header.input_digest not in whole.heads:
        raise Refused(f"{log} is not the log of this run: its digest is {whole.head}, the run names {header.input_digest}")
    return LogReader(log, head=header.input_digest)
