"""The guard of determinism, `xarb backtest --guard`: what strategies reach for beside what they are given, and whether anything else than the log decides.

While a strategy decides every call is looked at: clocks, chance, the environment, files, the network and processes are none of its business. Then
the same is decided again in other batches, and in processes with other hash seeds, and the digests of all outputs are compared.
"""

from __future__ import annotations

import datetime as dt
import gc
import inspect
import os
import random
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final, NamedTuple

from xarb.assembly import Assembly, inputs_of, recorded_ground
from xarb.assembly.resolved import resolve_recorded
from xarb.assembly.wrapped import Wrapped
from xarb.config import Experiment
from xarb.console import Advance, Table
from xarb.engine.strategy import Plan, Strategy, View, Wake
from xarb.errors import InvariantBroken, Refused
from xarb.log.canonical import OutputDigest
from xarb.log.manifest import Manifest
from xarb.log.reader import LogReader
from xarb.replay import replay
from xarb.verbs.backtest import log_of

BATCHES: Final = (997, 65_536)
HASH_SEEDS: Final = ("1", "4242")
_CLOCKS: Final = frozenset(
    getattr(time, name)
    for name in ("time", "monotonic", "perf_counter", "process_time", "thread_time", "gmtime", "localtime", "ctime")
) | frozenset(getattr(time, f"{name}_ns") for name in ("time", "monotonic", "perf_counter", "process_time", "thread_time"))
_NOW: Final = ("now", "utcnow", "today")
_ENVIRONMENT: Final[frozenset[CodeType]] = frozenset(
    getattr(type(os.environ), name).__code__ for name in ("__getitem__", "__iter__", "__len__", "__setitem__")
)
_SETTINGS: Final = frozenset({os.getpid, os.cpu_count, os.getcwd, os.uname})
_AUDITED: Final = (  # events of the interpreter, by how they begin
    ("socket.", "network"),
    ("subprocess.", "process"),
    ("os.system", "process"),
    ("os.exec", "process"),
    ("os.fork", "process"),
    ("os.posix_spawn", "process"),
    ("open", "file"),
    ("os.", "file"),
    ("glob.", "file"),
    ("shutil.", "file"),
    ("sqlite3.", "file"),
)
_LIBRARY: Final = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib"))


class Reach(NamedTuple):
    """Something that a strategy reached for: a kind such as clock, the function or event, and the line of the strategy."""

    strategy: str
    kind: str
    what: str
    where: str


class Guarded(NamedTuple):
    """The outcome: whether nothing was found, and tables that say what."""

    clean: bool
    tables: list[Table]


class Watch:
    """Notes what is reached for while a strategy decides. One can be on at a time in a process."""

    def __init__(self) -> None:
        self.found: Counter[Reach] = Counter()
        self._strategy = ""

    @contextmanager
    def on(self, strategy: str) -> Iterator[None]:
        """Look at what happens in here. The collector waits: finalizers of what others left would be taken for the strategy's doing."""
        self._strategy = strategy
        is_collecting = gc.isenabled()
        gc.disable()
        _audit_for(self._audit)
        sys.setprofile(self._profile)
        try:
            yield
        finally:
            sys.setprofile(None)
            _audit_for(None)
            if is_collecting:
                gc.enable()

    def _profile(self, frame: FrameType, event: str, called: Any) -> None:
        if event == "c_call":
            kind = _kind_of(called)
            if kind is not None:
                self._note(kind, getattr(called, "__qualname__", str(called)), frame)
        elif event == "call" and frame.f_code in _ENVIRONMENT and frame.f_back is not None:
            self._note("environment", "os.environ", frame.f_back)

    def _audit(self, event: str) -> None:
        kind = next((kind for start, kind in _AUDITED if event.startswith(start)), None)
        frame = None if kind is None else inspect.currentframe()
        if kind is not None and frame is not None and not _imports(frame):
            self._note(kind, event, frame)

    def _note(self, kind: str, what: str, frame: FrameType) -> None:
        self.found[Reach(self._strategy, kind, what, _line(frame))] += 1


class _Watched(Wrapped):
    """A strategy that is watched while it decides."""

    def __init__(self, inner: Strategy, watch: Watch) -> None:
        super().__init__(inner)
        self._watch = watch

    def on_wake(self, wake: Wake, view: View) -> Sequence[Plan]:
        """As it says, looked at."""
        with self._watch.on(self.id):
            return self._inner.on_wake(wake, view)


class _Watching(Assembly):
    """An assembly whose strategies are watched."""

    def __init__(self, *parts: Any, watch: Watch) -> None:
        self._watch = watch
        super().__init__(*parts)

    def strategies(self, rates: Mapping[tuple[str, str, str], int]) -> Sequence[Strategy]:
        """The config's strategies, watched."""
        return [_Watched(one, self._watch) for one in super().strategies(rates)]


def guard(experiment: Experiment, digest: str, *, log: Path | None = None, again: Sequence[str], advance: Advance) -> Guarded:
    """Look for whatever decides beside the log.

    Args:
        experiment: what was run.
        digest: of the outputs of its backtest.
        log: the log, where the experiment's own is not meant.
        again: words of the command that runs it again in a process of its own, without `--out`.
        advance: told how many of the runs are done.

    Raises:
        ConfigError: the experiment does not fit the log.
        LogError: the log is damaged.
        Refused: it could not be run again in a process of its own.
    """
    watch, runs = Watch(), 1 + len(BATCHES) + len(HASH_SEEDS)
    rows = [("watched", _decided(experiment, log, watch, max(BATCHES)))]
    advance(1, runs)
    for size in BATCHES:
        rows.append((f"batches of {size} rows", _decided(experiment, log, None, size)))
        advance(len(rows), runs)
    for seed in HASH_SEEDS:
        rows.append((f"hash seed {seed}", _elsewhere(again, seed)))
        advance(len(rows), runs)
    reached = sorted(watch.found.items())
    tables = [
        Table(
            "What strategies reached for beside what they are given",
            ("strategy", "reaches for", "by", "at", "times"),
            tuple((*reach, str(times)) for reach, times in reached),
        ),
        Table("Decided again", ("how", "outputs"), tuple((how, "equal" if found == digest else "OTHER") for how, found in rows)),
    ]
    return Guarded(not reached and all(found == digest for _, found in rows), [one for one in tables if one.rows])


def _decided(experiment: Experiment, log: Path | None, watch: Watch | None, batch_rows: int) -> str:
    """The digest of the outputs."""
    digest = OutputDigest()
    with LogReader(log_of(experiment, log)) as reader:
        resolved = resolve_recorded(experiment, reader)
        parts = (resolved, recorded_ground(resolved, reader))
        assembly = Assembly(*parts) if watch is None else _Watching(*parts, watch=watch)
        replay(assembly, inputs_of(resolved, reader, batch_rows), digest.take)
    return digest.hex()


def _elsewhere(again: Sequence[str], seed: str) -> str:
    """The digest of the outputs in a process with another hash seed."""
    with tempfile.TemporaryDirectory(prefix="xarb-guard-") as place:
        run = Path(place) / "run"
        command = [sys.executable, "-P", "-m", "xarb", *again, "--out", str(run)]
        done = subprocess.run(command, env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=False)  # noqa: S603  # this program
        if done.returncode != 0:
            raise Refused(f"it could not be run again with hash seed {seed}: {done.stderr.strip()[-500:]}")
        summary = Manifest(run).summary
    if summary is None:
        raise InvariantBroken("a run that ended well has no summary")
    return summary.output_digest


def _kind_of(called: Any) -> str | None:
    """What a function of the interpreter reaches for; None where it is our business."""
    owner = getattr(called, "__self__", None)
    if isinstance(owner, random.Random) or called is os.urandom or type(owner).__module__.startswith("numpy.random"):
        return "chance"
    if isinstance(owner, type) and issubclass(owner, dt.date) and called.__name__ in _NOW:
        return "clock"
    try:
        return "clock" if called in _CLOCKS else "environment" if called in _SETTINGS else None
    except TypeError:  # it has no hash: a method of something unhashable
        return None


def _line(frame: FrameType | None) -> str:
    """The nearest line that is neither of the standard library nor ours."""
    while frame is not None and frame.f_code.co_filename.startswith((*_LIBRARY, "<frozen", __file__)):
        frame = frame.f_back
    return "" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _imports(frame: FrameType | None) -> bool:
    """Whether a module is being imported."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


_listener: list[Callable[[str], None]] = []
_is_hooked: list[bool] = []


def _audit_for(listener: Callable[[str], None] | None) -> None:
    """Tell a listener of the interpreter's events, from now on; a hook can never be taken out again, so that there is one for all."""
    _listener[:] = [] if listener is None else [listener]
    if not _is_hooked:
        _is_hooked.append(True)
        sys.addaudithook(_hear)


def _hear(event: str, _: tuple[Any, ...]) -> None:
    if _listener:
        listener, _listener[:] = _listener[0], []  # looking at frames is an event, too
        try:
            listener(event)
        finally:
            _listener[:] = [listener]
