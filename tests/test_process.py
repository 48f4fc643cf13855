"""What a process tells its supervisor, over a real datagram socket, and that nothing of it can hold the process up."""

from __future__ import annotations

import os
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from xarb.process import notify


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name: the path of a socket has at most 108 bytes."""
    with tempfile.TemporaryDirectory(prefix="xn") as made:
        yield Path(made)


def listening(address: str) -> socket.socket:
    """The supervisor's socket."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.bind(address)
    made.settimeout(10)
    return made


def test_states_arrive_as_they_are_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One datagram each, in order."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(folder / "s"))
    with closing(listening(str(folder / "s"))) as supervisor:
        for state in ("READY=1", "WATCHDOG=1", "STOPPING=1"):
            notify(state)
            assert supervisor.recv(100).decode() == state


def test_an_abstract_address_begins_with_an_at_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    """As systemd writes it for a socket that is in no folder."""
    name = f"xarb-test-{os.getpid()}"
    monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
    with closing(listening(f"\0{name}")) as supervisor:
        notify("READY=1")
        assert supervisor.recv(100) == b"READY=1"


@pytest.mark.parametrize("address", ["", "/nowhere/at/all", "relative", "vsock:2:1234", "/" + "x" * 200])
def test_without_a_supervisor_nothing_happens(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No socket, one that is gone, one that is none: not a word, no error."""
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify("READY=1")
    monkeypatch.delenv("NOTIFY_SOCKET")
    notify("READY=1")


def test_a_supervisor_that_reads_nothing_holds_up_nobody(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once its buffer is full, what is told is left out at once."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(folder / "s"))
    with closing(listening(str(folder / "s"))) as supervisor:
        began = time.monotonic()
        for _ in range(2_000):
            notify("WATCHDOG=1")
        assert time.monotonic() - began < 5
        assert supervisor.recv(100) == b"WATCHDOG=1"
