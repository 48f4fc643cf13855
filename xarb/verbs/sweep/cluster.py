"""A Ray cluster that does the runs: every node gets the decoded inputs once, its processes read the same memory. The one place that imports Ray."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from xarb.assembly.code import allow, allowed
from xarb.errors import ConfigError, InvariantBroken
from xarb.provenance import code_digest
from xarb.verbs.sweep.crew import Pool
from xarb.verbs.sweep.tape import Part
from xarb.verbs.sweep.trial import Outcome, Stage, Task, judged
from xarb.warm import ENTRIES, warm

_REACH_S: Final = 5.0


@contextmanager
def clustered(stage: Stage, address: str, workers: int | None) -> Iterator[Pool[_Actor]]:
    """The processes of a cluster, until the end of the block; as many as it has cores unless it is said.

    Raises:
        ConfigError: Ray is not installed, or there is no cluster.
    """
    ray = _library()
    is_mine = not ray.is_initialized()
    if is_mine:
        try:
            _reach(address)
            ray.init(address=address, logging_level="ERROR", log_to_driver=False)
        except (OSError, ValueError, RuntimeError) as error:
            raise ConfigError(f"--ray {address}: there is no cluster: {str(error).splitlines()[0]}") from None
    try:
        with closing(_Cluster(ray, stage, workers or max(1, int(ray.cluster_resources().get("CPU", 1))))) as found:
            yield found
    finally:
        if is_mine:
            ray.shutdown()


def _reach(address: str) -> None:
    """See that somebody listens there: Ray itself asks again for minutes. What is no HOST:PORT (`auto`, `local`, `ray://`) Ray looks up.

    Raises:
        OSError: nobody does.
    """
    host, colon, port = address.rpartition(":")
    if colon and port.isdigit() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), _REACH_S).close()


def _library() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # what starts a cluster here is not told to anybody
    try:
        import ray
    except ImportError:
        raise ConfigError("--ray needs Ray: pip install 'xarb[ray]'") from None
    return ray


class _Actor(NamedTuple):
    """A process of the cluster, under a number of ours."""

    number: int
    handle: Any

    def __hash__(self) -> int:
        return self.number


class _Cluster(Pool[_Actor]):
    """Actors, each a process with one core."""

    def __init__(self, ray: Any, stage: Stage, workers: int) -> None:
        super().__init__(workers)
        self._ray, self._made = ray, 0
        self._parts = [ray.put(part) for part in stage.parts]  # its columns lie in the shared memory of each node
        self._bare = ray.put((stage._replace(parts=()), allowed(), code_digest()))
        self._kind = ray.remote(_Judge)
        self._runs: dict[Any, _Actor] = {}  # by what will be the outcome

    def hired(self) -> _Actor:
        """A new actor, on the node that has least to do."""
        self._made += 1
        made = self._kind.options(num_cpus=1, max_restarts=0, scheduling_strategy="SPREAD")
        return _Actor(self._made, made.remote(self._bare, *self._parts))

    def give(self, worker: _Actor, task: Task) -> None:
        """Call it."""
        self._runs[worker.handle.judged.remote(msgspec.json.encode(task))] = worker

    def answers(self, busy: Sequence[_Actor]) -> Iterator[tuple[_Actor, Outcome | str]]:
        """Wait for the first calls to return.

        Raises:
            InvariantBroken: one raised.
        """
        del busy
        ready, _ = self._ray.wait(list(self._runs))
        for run in ready:
            worker = self._runs.pop(run)
            try:
                yield worker, msgspec.json.decode(self._ray.get(run), type=Outcome)
            except self._ray.exceptions.RayActorError:
                yield worker, "the death of its actor"
            except self._ray.exceptions.RayTaskError as error:
                raise InvariantBroken(f"a run failed on the cluster: {error}") from None

    def fire(self, worker: _Actor) -> None:
        """End it at once."""
        self._ray.kill(worker.handle)


class _Judge:
    """What an actor is: it holds the inputs and does runs.

    Raises:
        ConfigError: another version of xarb is installed there.
    """

    def __init__(self, bare: tuple[Stage, Sequence[tuple[str, bytes]], str], *parts: Part) -> None:
        stage, files, digest = bare
        if code_digest() != digest:
            raise ConfigError("a node of the cluster has other code of xarb than this process")
        self._folder = tempfile.TemporaryDirectory(prefix="xarb-sweep-")
        for number, (name, code) in enumerate(files):
            path = Path(self._folder.name) / f"{number}" / name
            path.parent.mkdir()
            path.write_bytes(code)
            allow(path)
        for part in ENTRIES:
            warm(part)
        self._stage = stage._replace(parts=parts)

    def judged(self, task: bytes) -> bytes:
        """Do one run."""
        return msgspec.json.encode(judged(self._stage, msgspec.json.decode(task, type=Task)))
