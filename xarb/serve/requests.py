"""The request log: every request, reply, frame and connection as one JSON line, for `SELECT ... FROM 'requests.jsonl'` in DuckDB."""

from __future__ import annotations

import re
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from xarb.serve.clock import Stamps

_SECRET: Final = re.compile(r'((?:signature|apiKey|"sign|passphrase)\\*"?\s*[=:]\s*\\*"?)[^"&,}\s\\]+')
_NAMES: Final = ("apiKey", "passphrase", "signature", '"sign')  # most frames that go out have none, and there are many


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line. `mono_ns` is monotonic, `wall_ns` what clients are told; `way` says what it is, `name` of what, `body` is the text.

    way: request, reply (to it: same `exchange_id`), frame_in, frame_out, open, close, fault.
    """

    mono_ns: int
    wall_ns: int
    venue: str
    way: str
    name: str
    conn: int = 0
    exchange_id: int = 0
    status: int = 0
    body: str = ""


class RequestLog:
    """Writes entries to a file, or nowhere when there is none. Signatures and keys are blotted out.

    Args:
        path: of the file, which is replaced.
        clock: stamps the entries.
    """

    def __init__(self, path: Path | None, clock: Stamps) -> None:
        self._file = None if path is None else path.open("wb", buffering=1 << 16)
        self._clock = clock
        self._encode = msgspec.json.Encoder().encode
        self._count = 0

    @property
    def is_on(self) -> bool:
        """Whether anything is kept."""
        return self._file is not None

    def next_id(self) -> int:
        """A number for a request and its reply."""
        self._count += 1
        return self._count

    def note(self, venue: str, way: str, name: str, **more: int | str) -> None:
        """Write one entry; `more` are the other fields of Entry."""
        if self._file is None:
            return
        body = str(more.pop("body", ""))
        entry = Entry(
            mono_ns=self._clock.mono_ns(),
            wall_ns=self._clock.wall_ns(),
            venue=venue,
            way=way,
            name=name,
            body=_SECRET.sub(r"\1***", body) if way != "frame_out" or any(word in body for word in _NAMES) else body,
            **{key: int(value) for key, value in more.items()},
        )
        self._file.write(self._encode(entry) + b"\n")

    def flush(self) -> None:
        """Hand what was written to the system, so that others can read it."""
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """End the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


__all__ = ["Entry", "RequestLog"]
