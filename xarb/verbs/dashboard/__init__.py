"""The dashboard verb: a log while it is traded on, or a run, as a live page in a browser of this machine."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from xarb.errors import ConfigError
from xarb.live.kill import kill
from xarb.log.manifest import Manifest
from xarb.model.order import KillLevel
from xarb.process import notify, run_loop, stop_on_signals
from xarb.verbs.dashboard.board import Board, Pace, Stopped
from xarb.verbs.dashboard.server import Hub, Pages, serving

_KILL_S: Final = 30.0  # how long a kill from the page is waited for
_TOKEN_BYTES: Final = 24
_LAST_PORT: Final = 65_535


def dashboard(folder: Path, *, log: Path | None, port: int, may_kill: bool, say: Callable[[str], None]) -> None:
    """Show a log or run until SIGINT or SIGTERM.

    Args:
        folder: it.
        log: the run's input log, where it does not lie where the run says.
        port: on loopback; 0 is a free one.
        may_kill: make a token; with the address that holds it the page can kill.
        say: prints a line for the person.

    Raises:
        ConfigError: the folder is no log, nothing was decided on it, a run is to be killed, or the port is taken.
        LogError: it is damaged, or of a later version.
        Refused: inputs of the run were pruned, or its log is another one.
    """
    if port > _LAST_PORT:
        raise ConfigError(f"--port {port}: must be a number from 0 to {_LAST_PORT}")
    if Manifest(folder).header.kind == "run" and may_kill:
        raise ConfigError(f"{folder} is a run: it is finished, and --token is for killing")
    token = secrets.token_urlsafe(_TOKEN_BYTES) if may_kill else None
    run_loop(_until_stopped(Page(folder, log, port, token), say))


async def _until_stopped(page: Page, say: Callable[[str], None]) -> None:
    with stop_on_signals() as stop:
        await page.show(stop, say)


class Page(NamedTuple):
    """What is shown, where, with which token, if any, and how often is looked."""

    folder: Path
    log: Path | None
    port: int
    token: str | None
    pace: Pace = Pace()

    async def show(self, stop: asyncio.Event, say: Callable[[str], None]) -> None:
        """Serve it until the stop."""
        hub, loop = Hub(), asyncio.get_running_loop()

        def tell(parts: Mapping[str, Any]) -> None:
            told = {name: msgspec.json.encode(part) for name, part in parts.items()}
            loop.call_soon_threadsafe(hub.tell, told)

        tell({"server": {"may_kill": self.token is not None}})
        board = Board(self.folder, self.log, tell=tell, wanted=lambda: not stop.is_set(), pace=self.pace)
        async with serving(Pages(hub, self.token, self._kill), self.port) as port:
            say(f"{self.folder}: http://127.0.0.1:{port}/{'' if self.token is None else f'#token={self.token}'}")
            notify("READY=1")
            try:
                await _follow(board, hub, stop, self.pace.tick_s)
            finally:
                notify("STOPPING=1")
                hub.close()

    def _kill(self, level: KillLevel) -> str:
        kill(self.folder, wait_s=_KILL_S, level=level)
        return f"killed to {level}; before another start: xarb kill {self.folder} --reset"


async def _follow(board: Board, hub: Hub, stop: asyncio.Event, tick_s: float) -> None:
    """Look every so often, and when somebody comes."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1, "xarb-dashboard") as thread:
        try:
            while not stop.is_set():
                await loop.run_in_executor(thread, partial(board.look, is_watched=hub.listeners > 0))
                notify("WATCHDOG=1")
                hub.came.clear()
                ended, came = asyncio.ensure_future(stop.wait()), asyncio.ensure_future(hub.came.wait())
                await asyncio.wait({ended, came}, timeout=tick_s, return_when=asyncio.FIRST_COMPLETED)
                ended.cancel()
                came.cancel()
        except Stopped:
            pass
        finally:
            await loop.run_in_executor(thread, board.close)
