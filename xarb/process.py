"""A process that runs until it is told to stop: its event loop, and the signals that end it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final, TypeVar

_Made = TypeVar("_Made")
_SUPERVISOR: Final = "NOTIFY_SOCKET"


def run_loop(main: Coroutine[Any, Any, _Made]) -> _Made:
    """Run a coroutine on the fastest event loop that is there."""
    try:
        import uvloop
    except ImportError:  # no wheels for this platform
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


@contextlib.contextmanager
def stop_on_signals() -> Iterator[asyncio.Event]:
    """An event that SIGINT and SIGTERM set, in place of what they do else."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


@contextlib.contextmanager
def call_on_signal(number: signal.Signals, call: Callable[[], None]) -> Iterator[None]:
    """Call something when a signal comes, in place of what it does else."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(number, call)
    try:
        yield
    finally:
        loop.remove_signal_handler(number)


async def unless_stopped(stop: asyncio.Event, work: Coroutine[Any, Any, _Made]) -> _Made | None:
    """The result of `work`, None when the stop comes first."""
    task, stopped = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        for one in (task, stopped):
            one.cancel()
        await asyncio.gather(task, stopped, return_exceptions=True)


def notify(state: str) -> None:
    """Tell the supervisor that started this process, if one listens: READY=1, WATCHDOG=1, STOPPING=1 (sd_notify of systemd).

    Nothing is said where `NOTIFY_SOCKET` is not set, and it never waits: what a full or broken socket does not take is left out, and a
    watchdog that is not told restarts the process.
    """
    address = os.environ.get(_SUPERVISOR, "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
        out.settimeout(0)
        out.sendto(state.encode(), address)
