"""The process that watches over one that trades: started beside it, told that it lives, and asked for nothing else.

A loop that hangs cannot cancel its own orders, and a thread cannot where C code holds the interpreter; another process can.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from xarb.config import Experiment
from xarb.model.units import NANOS_PER_MS

BEAT: Final = b"."
FAREWELL: Final = b"x"
STACKS: Final = signal.SIGUSR2  # has faulthandler write the stacks of all threads, which takes no interpreter that works


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What the watching process is told when it starts.

    Attributes:
        config, overrides: the experiment. folder: the log. pid: who trades. hang_ms: silence after which it hangs. stacks: a file
            descriptor to read stacks from.
    """

    config: str
    overrides: dict[str, str]
    folder: str
    pid: int
    hang_ms: int
    stacks: int


class Guard:
    """Starts the watching process; it ends with this one.

    Silence counts from the first beat on: until then nothing was sent, and a loop may be compiling for long.

    Args:
        experiment: what is traded.
        folder: the log.
    """

    def __init__(self, experiment: Experiment, folder: Path) -> None:
        stacks, self._stacks = os.pipe()
        wish = Wish(
            config=experiment.origin,
            overrides=experiment.overrides,
            folder=str(folder),
            pid=os.getpid(),
            hang_ms=int(experiment.live.hang_ms),
            stacks=stacks,
        )
        source = str(Path(__file__).resolve().parents[2])
        paths = os.pathsep.join([source, *filter(None, [os.environ.get("PYTHONPATH")])])
        self._process = subprocess.Popen(  # noqa: S603  # our own module
            [sys.executable, "-m", "xarb.live.watchdog", msgspec.json.encode(wish).decode()],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=(stacks,),
            start_new_session=True,  # a Ctrl-C is for who trades
            env=os.environ | {"PYTHONPATH": paths},
        )
        os.close(stacks)
        assert self._process.stdin is not None
        self._to = self._process.stdin.fileno()
        os.set_blocking(self._to, False)  # a beat that does not fit is one that is not needed
        faulthandler.register(STACKS, file=self._stacks, all_threads=True)
        self.is_gone = False

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
