"""Who does the runs: processes that fork from this one, and so share what it has decoded and compiled."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from multiprocessing.connection import Connection, wait
from typing import Final, NamedTuple

import msgspec

from xarb.errors import InvariantBroken
from xarb.verbs.sweep.trial import Outcome, Stage, Task, judged
from xarb.warm import ENTRIES, warm

_TRIES: Final = 2
Done = tuple[Task, Outcome]


def cores() -> int:
    """How many processes this one may use at once."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1


@contextmanager
def crew(stage: Stage, workers: int) -> Iterator[Crew]:
    """Those who do runs, until the end of the block, whatever ends it.

    Only Linux forks: elsewhere, and with one worker, this process does all.
    """
    for part in ENTRIES:
        warm(part)  # machine code is there before the processes are
    gc.collect()
    gc.freeze()  # what all runs share is not looked through after each of them, nor copied by that
    try:
        if workers == 1 or sys.platform != "linux":
            yield Crew(stage)
        else:
            with closing(Forked(stage, workers)) as forked:
                yield forked
    finally:
        gc.unfreeze()


class Crew:
    """Does runs one after the other in this process."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def run(self, tasks: Iterable[Task]) -> Iterator[Done]:
        """The outcomes, in the order in which they come."""
        for task in tasks:
            yield task, judged(self._stage, task)


class _Worker(NamedTuple):
    process: multiprocessing.process.BaseProcess
    line: Connection


class Forked(Crew):
    """Does runs in processes, each its own next one as soon as it has ended one.

    A terminal sends Ctrl-C to every process of the command: this one answers it and ends the others, which hold it blocked. They end by
    themselves when this one is gone.
    """

    def __init__(self, stage: Stage, workers: int) -> None:
        super().__init__(stage)
        self._count = workers
        self._idle: list[_Worker] = []
        self._busy: dict[Connection, tuple[_Worker, Task, int]] = {}

    def run(self, tasks: Iterable[Task]) -> Iterator[Done]:
        """The outcomes, in the order in which they come.

        Raises:
            InvariantBroken: a run failed in a way that is no outcome; its traceback is on standard error.
        """
        waiting, again = iter(tasks), list[tuple[Task, int]]()
        while True:
            while len(self._busy) < self._count:
                task, tries = again.pop() if again else (next(waiting, None), 1)
                if task is None:
                    break
                self._give(task, tries)
            if not self._busy:
                return
            for line in wait(list(self._busy)):
                assert isinstance(line, Connection)
                worker, task, tries = self._busy.pop(line)
                try:
                    outcome = msgspec.json.decode(line.recv_bytes(), type=Outcome)
                except (EOFError, ConnectionResetError):
                    gone = _end_of(worker)
                    if tries < _TRIES:
                        again.append((task, tries + 1))
                        continue
                    outcome = Outcome(error=f"its process was ended by {gone}, {_TRIES} times")
                else:
                    self._idle.append(worker)
                yield task, outcome

    def _give(self, task: Task, tries: int) -> None:
        worker = self._idle.pop() if self._idle else self._forked()
        self._busy[worker.line] = (worker, task, tries)
        try:
            worker.line.send_bytes(msgspec.json.encode(task))
        except ConnectionError:
            return  # it died idle: reading says so

    def _forked(self) -> _Worker:
        here, there = multiprocessing.Pipe()
        others = [one.line for one in self._idle] + list(self._busy)
        process = multiprocessing.get_context("fork").Process(
            target=_serve, args=(self._stage, there, [*others, here]), daemon=True
        )
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # as the process inherits it
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        there.close()
        return _Worker(process, here)

    def close(self) -> None:
        """End all processes."""
        for worker in [*self._idle, *(one for one, _, _ in self._busy.values())]:
            worker.process.terminate()
            worker.process.join()
            worker.line.close()
        self._idle.clear()
        self._busy.clear()


def _end_of(worker: _Worker) -> str:
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
