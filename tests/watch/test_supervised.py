"""What recording and trading tell systemd, over a real socket: ready, alive each second, stopping."""

from __future__ import annotations

import asyncio
import itertools
import socket
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.live.test_session import interrupt, market, traded
from tests.venues.player import Player, ticker
from tests.verbs.test_record import recorded, run


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The socket that NOTIFY_SOCKET names."""
    with tempfile.TemporaryDirectory(prefix="xn") as folder:
        address = f"{folder}/s"
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as made:
            made.bind(address)
            made.setblocking(False)
            yield made


def told(supervisor: socket.socket) -> list[str]:
    """What was told since the last look."""
    found = []
    while True:
        try:
            found.append(supervisor.recv(200).decode())
        except BlockingIOError:
            return found


def course(words: list[str]) -> list[str]:
    """The words, each row of equal ones as one."""
    return [word for word, _ in itertools.groupby(words)]


def test_a_recording_is_ready_alive_and_stopping(supervisor: socket.socket, tmp_path: Path) -> None:
    """READY once the log is open, WATCHDOG from the loop while it runs, STOPPING at the signal."""

    async def story() -> None:
        async with Player().serving() as player:
            words: list[str] = []

            async def send() -> None:
                socket_ = await player.next_subscription()
                await socket_.send_str(ticker(1))
                async with asyncio.timeout(30):
                    while words.count("WATCHDOG=1") < 2:
                        words.extend(told(supervisor))
                        await asyncio.sleep(0.02)

            await recorded(player, tmp_path / "log", send)
            words += told(supervisor)
            assert course(words) == ["READY=1", "WATCHDOG=1", "STOPPING=1"]

    run(story())


def test_trading_is_ready_when_it_is_armed(supervisor: socket.socket, tmp_path: Path) -> None:
    """Not before every market speaks; then as a recording."""

    async def story() -> None:
        async with market() as made:
            words: list[str] = []

            def enough(session: object) -> bool:
                del session
                words.extend(told(supervisor))
                return words.count("WATCHDOG=1") >= 3 and "READY=1" in words

            await traded(made.config(tmp_path), tmp_path / "log", enough, interrupt)
            words += told(supervisor)
            assert [word for word in course(words) if word != "WATCHDOG=1"] == ["READY=1", "STOPPING=1"]
            assert words[-1] == "STOPPING=1"

    run(story(), 90)
