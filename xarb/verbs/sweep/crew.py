"""Who does the runs: processes that fork from this one, and so share what it has decoded and compiled; or those of a cluster."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from multiprocessing.connection import Connection, wait
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

import msgspec

from xarb.errors import ConfigError, InvariantBroken
from xarb.verbs.sweep.trial import Outcome, Stage, Task, judged
from xarb.warm import ENTRIES, warm

_TRIES: Final = 2
Done = tuple[Task, Outcome]
Worker = TypeVar("Worker", bound=Hashable)


class Hands(NamedTuple):
    """Who is to do the runs: so many processes, of this machine or of the Ray cluster at an address; None is one for each core."""

    workers: int | None = None
    ray: str | None = None


@contextmanager
def crew(stage: Stage, hands: Hands) -> Iterator[Crew]:
    """Those who do runs, until the end of the block, whatever ends it.

    On this machine only Linux forks: elsewhere, and with one worker, this process does all.

    Raises:
        ConfigError: fewer than one worker; no Ray, or no cluster at the address.
    """
    workers = hands.workers
    if workers is not None and workers < 1:
        raise ConfigError(f"{workers} workers: at least one is needed")
    if hands.ray is not None:
        from xarb.verbs.sweep.cluster import clustered  # which loads Ray

        with clustered(stage, hands.ray, workers) as found:
            yield found
        return
    for part in ENTRIES:
        warm(part)  # machine code is there before the processes are
    gc.collect()
    gc.freeze()  # what all runs share is not looked through after each of them, nor copied by that
    try:
        if workers == 1 or sys.platform != "linux":
            yield Alone(stage)
        else:
            with closing(Forked(stage, workers or len(os.sched_getaffinity(0)))) as forked:
                yield forked
    finally:
        gc.unfreeze()


class Crew(Protocol):
    """Does runs."""

    def run(self, tasks: Iterable[Task]) -> Iterator[Done]:
        """The outcomes, in the order in which they come."""


class Alone:
    """Does runs one after the other in this process."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def run(self, tasks: Iterable[Task]) -> Iterator[Done]:
        """The outcomes, in the order of the tasks."""
        for task in tasks:
            yield task, judged(self._stage, task)


class Pool(ABC, Generic[Worker]):
    """Does runs in other processes, each its own next one as soon as it has ended one.

    Args:
        workers: how many there are at most.
    """

    def __init__(self, workers: int) -> None:
        self._count = workers
        self._idle: list[Worker] = []
        self._busy: dict[Worker, tuple[Task, int]] = {}

    def run(self, tasks: Iterable[Task]) -> Iterator[Done]:
        """The outcomes, in the order in which they come; a run whose process dies is tried once more.

        Raises:
            InvariantBroken: a run failed in a way that is no outcome.
        """
        waiting, again = iter(tasks), list[tuple[Task, int]]()
        while True:
            while len(self._busy) < self._count:
                task, tries = again.pop() if again else (next(waiting, None), 1)
                if task is None:
                    break
                worker = self._idle.pop() if self._idle else self.hired()
                self._busy[worker] = (task, tries)
                self.give(worker, task)
            if not self._busy:
                return
            for worker, answer in self.answers(list(self._busy)):
                task, tries = self._busy.pop(worker)
                if isinstance(answer, Outcome):
                    self._idle.append(worker)
                    yield task, answer
                elif tries < _TRIES:
                    again.append((task, tries + 1))
                else:
                    yield task, Outcome(error=f"its process was ended by {answer}, {_TRIES} times")

    def close(self) -> None:
        """End all processes."""
        for worker in [*self._idle, *self._busy]:
            self.fire(worker)
        self._idle.clear()
        self._busy.clear()

    @abstractmethod
    def hired(self) -> Worker:
        """A new process."""

    @abstractmethod
    def give(self, worker: Worker, task: Task) -> None:
        """Let it do a run."""

    @abstractmethod
    def answers(self, busy: Sequence[Worker]) -> Iterator[tuple[Worker, Outcome | str]]:
        """Waits until one of them has an outcome, or has died: then the text is by what."""

    @abstractmethod
    def fire(self, worker: Worker) -> None:
        """End it."""


class _Process(NamedTuple):
    process: multiprocessing.process.BaseProcess
    line: Connection


class Forked(Pool[_Process]):
    """Processes that fork from this one.

    A terminal sends Ctrl-C to every process of the command: this one answers it and ends the others, which hold it blocked. They end by
    themselves when this one is gone.
    """

    def __init__(self, stage: Stage, workers: int) -> None:
        super().__init__(workers)
        self._stage = stage

    def hired(self) -> _Process:
        """Fork."""
        here, there = multiprocessing.Pipe()
        others = [one.line for one in (*self._idle, *self._busy)]
        process = multiprocessing.get_context("fork").Process(
            target=_serve, args=(self._stage, there, [*others, here]), daemon=True
        )
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # as the process inherits it
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        there.close()
        return _Process(process, here)

    def give(self, worker: _Process, task: Task) -> None:
        """Write it to its line; where it has died idle, reading says so."""
        with suppress(ConnectionError):  # as the docstring says
            worker.line.send_bytes(msgspec.json.encode(task))

    def answers(self, busy: Sequence[_Process]) -> Iterator[tuple[_Process, Outcome | str]]:
        """Read what stands on their lines."""
        ready = wait([one.line for one in busy])
        for worker in busy:
            if worker.line in ready:
                try:
                    yield worker, msgspec.json.decode(worker.line.recv_bytes(), type=Outcome)
                except (EOFError, ConnectionResetError):
                    yield worker, _end_of(worker)

    def fire(self, worker: _Process) -> None:
        """End it at once."""
        worker.process.terminate()
        worker.process.join()
        worker.line.close()


def _end_of(worker: _Process) -> str:
    """The name of the signal that ended a process.

    Raises:
        InvariantBroken: none did.
    """
    worker.process.join()
    worker.line.close()
    code = worker.process.exitcode or 0
    if code >= 0:
        raise InvariantBroken(f"a process of the sweep ended with exit code {code}; its traceback stands above")
    return signal.Signals(-code).name


def _serve(stage: Stage, line: Connection, inherited: list[Connection]) -> None:
    """What a process does: runs, until the other end of its line is closed, also by the death of who holds it."""
    for one in inherited:
        one.close()  # held here too, they would keep the others' lines open
    while True:
        try:
            task = msgspec.json.decode(line.recv_bytes(), type=Task)
            line.send_bytes(msgspec.json.encode(judged(stage, task)))
        except (EOFError, ConnectionError):
            return
