"""A command that writes a log, in a process of its own, and what that log says while it does."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from tests.verbs.test_record import Command
from xarb.log.follow import Follower
from xarb.log.manifest import NAME

LOOK_S: Final = 0.02


class Watched:
    """The process, and what its log says so far of some kinds."""

    def __init__(self, command: Command, log: Path, kinds: Sequence[str]) -> None:
        self.command, self.log, self._kinds = command, log, tuple(kinds)
        self.rows: list[tuple[str, dict[str, Any]]] = []
        self._follower: Follower | None = None

    def look(self) -> None:
        """Read on."""
        if self._follower is None and (self.log / NAME).exists():
            self._follower = Follower(self.log, self._kinds, always=self._kinds).__enter__()
        if self._follower is not None:
            self.rows += self._follower.take().rows

    def close(self) -> None:
        """Let go of the log."""
        if self._follower is not None:
            self._follower.close()

    async def until(self, kind: str, count: int = 1, **values: Any) -> dict[str, Any]:
        """Wait for rows with these values; the last of so many."""
        await self.until_so(lambda: len(self.found(kind, **values)) >= count)
        return self.found(kind, **values)[count - 1]

    async def until_so(self, is_so: Callable[[], bool]) -> None:
        """Wait until what was read is so."""
        while not is_so():
            if self.command.process.returncode is not None:
                raise AssertionError(await self.command.end())
            await asyncio.sleep(LOOK_S)  # another process writes it
            self.look()

    def found(self, kind: str, **values: Any) -> list[dict[str, Any]]:
        """The rows with these values."""
        return [row for name, row in self.rows if name == kind and values.items() <= row.items()]

    async def stop(self, code: int = 0) -> None:
        """End it as Ctrl-C does; it must end with that code."""
        self.command.process.send_signal(signal.SIGINT)
        found, out, err = await self.command.end()
        assert found == code, err + out


@asynccontextmanager
async def watching(log: Path, kinds: Sequence[str], *words: str) -> AsyncIterator[Watched]:
    """Run a command that writes `log` until the block ends, killed if it still runs then."""
    command = await Command.start(*words)
    watched = Watched(command, log, kinds)
    try:
        yield watched
    finally:
        watched.close()
        if command.process.returncode is None:
            command.process.kill()
            await command.process.wait()
