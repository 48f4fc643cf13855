"""Watches over a process that trades, from outside: `python -m xarb.live.watchdog WISH`, started by `live.guard`.

When it hears nothing for too long it says so, has the stacks of its threads written, stops it where it stands, cancels its orders at the
exchanges, ends it, and notes a kill in its log, which holds until a person resets it.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from xarb.config import Experiment, load_experiment
from xarb.live.guard import FAREWELL, STACKS, Entrusted, Wish
from xarb.log.ends import HANG

if TYPE_CHECKING:
    from xarb.live.canceling import Means

STEP_S: Final = 0.25
STACKS_S: Final = 2.0  # how long stacks are waited for
GONE_S: Final = 30.0  # how long the end of a killed process is waited for
ACTOR: Final = "watchdog"
_MOST: Final = 16 << 20  # bytes of keys
_TOLD: Final = 2_000  # characters of what is not proven that a log's row takes


def main() -> None:
    """Watch until the process ends, or hangs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever is to stop is the one who trades
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    wish = msgspec.json.decode(sys.argv[1], type=Wish)
    experiment = load_experiment(Path(wish.config), wish.overrides)  # now: the file may be another one by then
    purse = Purse(wish.keys)
    if is_silent(sys.stdin.fileno(), wish.hang_ms / 1000, purse):
        act(wish, experiment, purse)


class Purse:
    """The accounts' keys, as who trades hands them over: read from a pipe once, in memory alone, shown nowhere."""

    def __init__(self, handle: int) -> None:
        self.handle: int | None = handle
        self._data = b""

    def take(self) -> None:
        """Read on; after its end the pipe is closed."""
        assert self.handle is not None
        data = os.read(self.handle, 65_536)
        self._data += data
        if not data or len(self._data) > _MOST:
            os.close(self.handle)
            self.handle = None

    def entrusted(self) -> list[Entrusted] | None:
        """The keys; None where none were handed over, or not all."""
        if self.handle is not None or not self._data:
            return None
        try:
            return msgspec.json.decode(self._data, type=list[Entrusted])
        except msgspec.MsgspecError:
            return None

    def __repr__(self) -> str:
        return "Purse"


def is_silent(fd: int, hang_s: float, purse: Purse | None = None) -> bool:
    """Whether nothing was heard for so long; False once the other end is closed, or says farewell. Keys are taken as they come.

    Time in which this process did not run either (a machine that slept) does not count.
    """
    has_begun, silent_s = False, 0.0
    while silent_s < hang_s:
        before = time.monotonic()
        ready, _, _ = select.select([fd] if purse is None or purse.handle is None else [fd, purse.handle], [], [], STEP_S)
        if purse is not None and purse.handle in ready:
            purse.take()
        if fd in ready:
            heard = os.read(fd, 4096)
            if not heard or FAREWELL in heard:
                return False
            has_begun, silent_s = True, 0.0
        elif has_begun:
            silent_s += min(time.monotonic() - before, 2 * STEP_S)
    return True


def act(wish: Wish, experiment: Experiment, purse: Purse) -> None:
    """It hangs: stacks, orders, its end, and the kill that holds."""
    from xarb.live import requests
    from xarb.live.canceling import cancel_hung
    from xarb.live.chaincancels import take_in
    from xarb.live.kill import note_kill

    folder, seconds = Path(wish.folder), wish.hang_ms / 1000
    if os.getppid() != wish.pid:
        return  # it has ended just now
    say(f"{folder}: NO SIGN OF LIFE for {seconds:g} s: process {wish.pid} is stopped, and its orders are canceled")
    stacks = stacks_of(wish)
    path = folder / f"{HANG}{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.txt"
    send(wish.pid, signal.SIGSTOP)  # what hangs now may go on in a moment, and must not send anything
    reasons = [f"no sign of life for {seconds:g} s; stacks in {path.name}"]

    def cancel() -> None:
        reasons.append("what lives at the exchanges is not proven")
        told = purse.entrusted()
        done = cancel_hung(folder, experiment, None if told is None else means_of_entrusted(experiment, told))
        say(str(done))
        reasons.pop()
        if done.unproven:
            reasons.append(f"NOT PROVEN: {done.unproven[:_TOLD]}")

    attempt((folder / requests.FLAG).touch)  # it holds also if this process does not live to note it
    attempt(lambda: path.write_text(stacks))
    attempt(cancel)
    send(wish.pid, signal.SIGKILL)
    until = time.monotonic() + GONE_S
    while os.getppid() == wish.pid and time.monotonic() < until:
        time.sleep(STEP_S / 10)
    if attempt(lambda: note_kill(folder, ACTOR, "; ".join(reasons))):
        attempt(lambda: take_in(folder))
        (folder / requests.FLAG).unlink(missing_ok=True)
        say(f"{folder}: killed; before another start: xarb kill {folder} --reset")


def means_of_entrusted(experiment: Experiment, told: Sequence[Entrusted]) -> Means:
    """Keys and wallets as who trades handed them over."""
    from xarb.live.canceling import Means
    from xarb.venues.keys import Keys
    from xarb.venues.wallets import entrusted_wallet

    wallets = [one for one in told if one.venue in experiment.sending]
    keys = [one for one in told if one.venue not in experiment.sending]
    return Means(
        {(one.account, one.venue): Keys(one.venue, one.account, one.values) for one in keys},
        {one.venue: entrusted_wallet(experiment.sending[one.venue].wallet, one.values) for one in wallets},
    )


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal to who started this process, unless it has ended: `xarb kill` may have ended it, and its number be another's by now."""
    if os.getppid() == pid:
        os.kill(pid, number)


def attempt(step: Callable[[], object]) -> bool:
    """Do something that may fail; whether it did not. What failed is said, and the rest is done all the same."""
    try:
        step()
    except Exception as error:  # noqa: BLE001  # a process that is stopped must be ended, whatever libraries raise before that
        from xarb.venues.keys import Redactor

        say(Redactor()(f"{type(error).__name__}: {error}"))
        return False
    return True


def stacks_of(wish: Wish) -> str:
    """The stacks of the process's threads, as far as it can still write them."""
    os.kill(wish.pid, STACKS)
    parts, until = list[bytes](), time.monotonic() + STACKS_S
    while select.select([wish.stacks], [], [], max(min(STEP_S if parts else STACKS_S, until - time.monotonic()), 0))[0]:
        part = os.read(wish.stacks, 65_536)
        parts.append(part)
        if not part:
            break
    text = b"".join(parts).decode(errors="replace") or "no stacks: the process did not answer\n"
    say(text.rstrip())
    return text


def say(text: str) -> None:
    """A line on standard error."""
    print(f"xarb: {text}", file=sys.stderr, flush=True)  # noqa: T201  # this is a program of its own


if __name__ == "__main__":
    main()
