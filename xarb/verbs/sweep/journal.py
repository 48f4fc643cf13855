"""What a sweep has done so far: a line for each finished run, so that a process that dies loses the runs under way and no other."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final, Self

import msgspec

from xarb.errors import ConfigError, LogError
from xarb.verbs.sweep.space import Settings
from xarb.verbs.sweep.trial import Outcome
from xarb.verbs.sweep.windows import Span

NAME: Final = "sweep.jsonl"


class Heading(msgspec.Struct, frozen=True, kw_only=True):
    """What decides every run of a sweep: digests, and the keys of `[sweep]` but for the number of trials, which may grow."""

    log_digest: str
    code_digest: str
    config_digest: str
    search: dict[str, object]


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One finished run."""

    settings: Settings
    first: int
    count: int
    outcome: Outcome


class Journal:
    """The finished runs of a sweep in a folder; one process at a time has it.

    Args:
        folder: the sweep's; made when it is not there.
        heading: what decides its runs.
        resume: whether to go on with what is there.

    Raises:
        ConfigError: something is there and `resume` is not set, or it was another sweep's.
        LogError: another process has it, or it is damaged.
    """

    def __init__(self, folder: Path, heading: Heading, *, resume: bool) -> None:
        self._path = folder / NAME
        if self._path.exists() and not resume:
            raise ConfigError(f"{folder} holds this sweep already; go on with it by --resume, or give another folder with --out")
        if not self._path.exists() and folder.exists() and any(folder.iterdir()):
            raise ConfigError(f"{folder} exists and is no sweep; give another folder with --out")
        folder.mkdir(parents=True, exist_ok=True)
        self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_APPEND, 0o644)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._handle)
            raise LogError(f"{folder} is being written by another process") from None
        try:
            self.entries = self._read(heading)
        except BaseException:  # whatever it is: who handles it may try again
            os.close(self._handle)
            raise
        self._done = {_key(one.settings, Span(one.first, one.count)): one.outcome for one in self.entries}

    def _read(self, heading: Heading) -> list[Entry]:
        data = self._path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        os.ftruncate(self._handle, len(whole))  # a line that its process did not end
        lines = whole.splitlines()
        if not lines:
            self._append(heading)
            return []
        try:
            found = msgspec.json.decode(lines[0], type=Heading)
            entries = [msgspec.json.decode(line, type=Entry) for line in lines[1:]]
        except msgspec.DecodeError as error:
            raise LogError(f"{self._path} is damaged: {error}") from None
        for name in Heading.__struct_fields__:
            if getattr(found, name) != getattr(heading, name):
                raise ConfigError(
                    f"{self._path.parent} is a sweep with another {name.replace('_digest', '')}; give another folder with --out"
                )
        return entries

    def outcome(self, settings: Settings, span: Span) -> Outcome | None:
        """What came of a run, None if it has not been finished."""
        return self._done.get(_key(settings, span))

    def keep(self, settings: Settings, span: Span, outcome: Outcome) -> None:
        """A run is finished: the system has its line when this returns."""
        self._append(Entry(settings=settings, first=span.first, count=span.windows, outcome=outcome))
        self._done[_key(settings, span)] = outcome

    def _append(self, line: msgspec.Struct) -> None:
        data = msgspec.json.encode(line) + b"\n"
        try:
            written = os.write(self._handle, data)
        except OSError as error:
            raise LogError(f"{self._path} cannot be written: {error.strerror}") from None
        if written != len(data):
            raise LogError(f"{self._path} cannot be written: the disk may be full")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)


def _key(settings: Settings, span: Span) -> tuple[object, ...]:
    return (*span, *sorted(settings.items()))
