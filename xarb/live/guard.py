"""The process that watches over one that trades: started beside it, told that it lives, and asked for nothing else.

A loop that hangs cannot cancel its own orders, and a thread cannot where C code holds the interpreter; another process can.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Protocol

import msgspec

from xarb.config import Experiment
from xarb.errors import ConfigError
from xarb.model.units import NANOS_PER_MS

BEAT: Final = b"."
FAREWELL: Final = b"x"
ENTRUST_S: Final = 10.0  # how long a watching process that only begins may take to read the keys
STACKS: Final = signal.SIGUSR2  # has faulthandler write the stacks of all threads, which takes no interpreter that works


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What the watching process is told when it starts.

    Attributes:
        config, overrides: the experiment. folder: the log. pid: who trades. hang_ms: silence after which it hangs. stacks, keys: file
            descriptors to read stacks and the accounts' keys from.
    """

    config: str
    overrides: dict[str, str]
    folder: str
    pid: int
    hang_ms: int
    stacks: int
    keys: int


class Entrusted(msgspec.Struct, frozen=True):
    """The keys of one account, as they go through the pipe."""

    account: str
    venue: str
    values: dict[str, str]

    def __repr__(self) -> str:
        return f"keys of {self.account}@{self.venue}"


class Secret(Protocol):
    """Keys of an account, or a wallet."""

    def entrusted(self) -> dict[str, str]:
        """Its values by our names."""


class Guard:
    """Starts the watching process; it ends with this one.

    Silence counts from the first beat on: until then nothing was sent, and a loop may be compiling for long.

    Args:
        experiment: what is traded.
        folder: the log.
    """

    def __init__(self, experiment: Experiment, folder: Path) -> None:
        stacks, self._stacks = os.pipe()
        keys, self._keys = os.pipe()
        wish = Wish(
            config=experiment.origin,
            overrides=experiment.overrides,
            folder=str(folder),
            pid=os.getpid(),
            hang_ms=int(experiment.live.hang_ms),
            stacks=stacks,
            keys=keys,
        )
        source = str(Path(__file__).resolve().parents[2])
        paths = os.pathsep.join([source, *filter(None, [os.environ.get("PYTHONPATH")])])
        self._process = subprocess.Popen(  # noqa: S603  # our own module
            # -P: what lies in the working directory, such as a file json.py, is not run
            [sys.executable, "-P", "-m", "xarb.live.watchdog", msgspec.json.encode(wish).decode()],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=(stacks, keys),
            start_new_session=True,  # a Ctrl-C is for who trades
            env=os.environ | {"PYTHONPATH": paths},
        )
        os.close(stacks)
        os.close(keys)
        assert self._process.stdin is not None
        self._to = self._process.stdin.fileno()
        os.set_blocking(self._to, False)  # a beat that does not fit is one that is not needed
        faulthandler.register(STACKS, file=self._stacks, all_threads=True)
        self.is_gone = False

    def entrust(self, keys: Mapping[tuple[str, str], Secret]) -> None:
        """Hand over the opened keys and wallets, by account and venue: a process without a terminal cannot ask for the passphrase again.

        They go through a pipe that only this process and that one have, once: neither a file nor an argument nor the environment has them.

        Raises:
            ConfigError: they were not taken in time, so that nothing would be canceled were this process to hang.
        """
        data = memoryview(msgspec.json.encode([Entrusted(*owner, one.entrusted()) for owner, one in keys.items()]))
        handle, self._keys = self._keys, -1
        os.set_blocking(handle, False)
        until = time.monotonic() + ENTRUST_S
        try:
            while data:
                if not select.select([], [handle], [], max(until - time.monotonic(), 0))[1]:
                    raise TimeoutError
                data = data[os.write(handle, data) :]
        except BrokenPipeError:
            self.is_gone = True  # which is said, and orders end
        except TimeoutError:
            raise ConfigError(f"the process that watches did not take the keys within {ENTRUST_S:g} s") from None
        finally:
            os.close(handle)

    def beat(self) -> None:
        """The loop turns."""
        self._say(BEAT)

    def farewell(self) -> None:
        """Nothing of this process can be open any more; silence counts no longer."""
        self._say(FAREWELL)

    def _say(self, word: bytes) -> None:
        try:
            os.write(self._to, word)
        except BlockingIOError:
            pass
        except OSError:
            self.is_gone = True

    def end(self) -> None:
        """Let it go, and wait until it has ended."""
        self.farewell()
        faulthandler.unregister(STACKS)
        os.close(self._stacks)
        if self._keys >= 0:
            os.close(self._keys)
        with contextlib.suppress(OSError):  # it is gone already
            self._process.stdin.close()  # type: ignore[union-attr]  # a pipe, see above
        self._process.wait()


class Pulse:
    """Beats from the loop, and measures by how much it lags behind.

    Args:
        beat: called each time.
        late: is told a lag above the bound, in ns.
        bound_ms: the bound; 0: there is none.
        clock: monotonic ns.
    """

    PERIOD_S: Final = 0.25

    def __init__(self, beat: Callable[[], None], late: Callable[[int], None], *, bound_ms: int, clock: Callable[[], int]) -> None:
        self._beat, self._late, self._clock = beat, late, clock
        self._bound_ns = bound_ms * NANOS_PER_MS
        self._last = clock()

    def look(self) -> None:
        """A period has passed for the loop; how long that took is seen here."""
        now = self._clock()
        lag = now - self._last - int(self.PERIOD_S * 1000) * NANOS_PER_MS
        self._last = now
        self._beat()
        if 0 < self._bound_ns < lag:
            self._late(lag)
