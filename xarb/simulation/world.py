"""Virtual time: one heap of (time, tie-break), a digest over everything that happens, and event loops that live in it.

A process of the world is an event loop of its own. When it dies nothing that it was about to do happens; the rest of the world goes on.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from functools import partial
from hashlib import blake2b
from typing import Any, Final, TypeVarTuple, Unpack

from xarb.model.units import NANOS_PER_S

EPOCH_NS: Final = 1_893_456_000 * NANOS_PER_S  # 2030-01-01: where the time of a world begins
Trace = Callable[[int, str], None]
Arguments = TypeVarTuple("Arguments")


class World:
    """Time, chance and what happened.

    Args:
        seed: of every draw.
        trace: is shown each event with its time, ns since the beginning.

    Attributes:
        now: ns since the beginning.
        epoch: Unix ns of the beginning.
        draw: the one source of chance.
        events: how many were noted.
    """

    def __init__(self, seed: int, trace: Trace | None = None) -> None:
        self.now = 0
        self.epoch = EPOCH_NS
        self.events = 0
        self.draw = random.Random(seed)  # noqa: S311  # a case is to be drawn again
        self._trace = trace
        self._heap: list[tuple[int, int, Callable[[], object]]] = []
        self._ordinal = 0
        self._digest = blake2b(digest_size=16)

    @property
    def unix(self) -> int:
        """Unix ns now."""
        return self.epoch + self.now

    def at(self, ts: int, call: Callable[[], object]) -> None:
        """Call something at a time, after everything that was asked for the same time before."""
        self._ordinal += 1
        heapq.heappush(self._heap, (max(ts, self.now), self._ordinal, call))

    def after(self, delay_ns: int, call: Callable[[], object]) -> None:
        """Call something so much later."""
        self.at(self.now + delay_ns, call)

    def stand(self, length_ns: int) -> None:
        """Something takes so long, and nothing else happens meanwhile: what was due comes after it."""
        self.now += length_ns

    def chance(self, odds: float) -> bool:
        """Whether something of that probability happens; what cannot happen draws nothing."""
        return odds > 0 and self.draw.random() < odds

    def note(self, text: str) -> None:
        """Something happened."""
        self.events += 1
        self._digest.update(b"%d %s\n" % (self.now, text.encode()))
        if self._trace is not None:
            self._trace(self.now, text)

    def run(self, until: int, is_over: Callable[[], bool]) -> bool:
        """Let time pass until something is so, at most up to a time; whether it came to be so."""
        heap = self._heap
        while not is_over():
            if not heap or heap[0][0] > until:
                self.now = max(self.now, until)
                return False
            ts, _, call = heapq.heappop(heap)
            self.now = max(self.now, ts)
            call()
        return True

    @property
    def digest(self) -> str:
        """Of all that was noted so far."""
        return self._digest.hexdigest()


class Waiting(asyncio.TimerHandle):
    """A callback that waits for its turn, without what asyncio keeps for a debug mode that no loop here has."""

    __slots__ = ("args", "call", "context", "is_off", "ts")

    def __init__(self, ts: float, call: Callable[..., object], args: tuple[Any, ...], context: Context | None) -> None:
        self.ts, self.call, self.args = ts, call, args
        self.context = copy_context() if context is None else context
        self.is_off = False

    def cancel(self) -> None:
        """It does nothing when its turn comes."""
        self.is_off = True

    def cancelled(self) -> bool:
        """Whether it was."""
        return self.is_off

    def when(self) -> float:
        """Its time, virtual seconds."""
        return self.ts


class Loop(asyncio.BaseEventLoop):
    """The event loop of one process of a world: callbacks in the order in which they became ready, timers by the world's heap."""

    _is_dead = _is_alive = False

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world
        self._due: deque[Waiting] = deque()
        self._tasks: list[asyncio.Task[Any]] = []
        self._is_alive = True
        self._is_called = False
        self.failures: list[BaseException] = []

    # --- what asyncio asks of a loop

    def time(self) -> float:
        """Virtual seconds."""
        return self._world.now / NANOS_PER_S

    def get_debug(self) -> bool:
        """Never."""
        return False

    def is_running(self) -> bool:
        """As long as the process lives."""
        return self._is_alive

    def is_closed(self) -> bool:
        """Once the process is dead."""
        return self._is_dead

    def call_soon(
        self, callback: Callable[[Unpack[Arguments]], object], *args: *Arguments, context: Context | None = None
    ) -> asyncio.Handle:
        """In this pass, after what is ready already."""
        handle = Waiting(0.0, callback, args, context)
        self._due.append(handle)
        if not self._is_called and not self._is_dead:
            self._is_called = True
            self._world.after(0, self._pass)
        return handle

    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[Arguments]], object],
        *args: *Arguments,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """After so many seconds."""
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[Unpack[Arguments]], object], *args: *Arguments, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """At a time of this loop."""
        handle = Waiting(when, callback, args, context)
        self._world.at(round(when * NANOS_PER_S), partial(self._ring, handle))
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        """A future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, **more: Any) -> asyncio.Task[Any]:
        """A task of this loop."""
        task = asyncio.Task(coro, loop=self, **more)
        self._tasks.append(task)
        if len(self._tasks) > 64:
            self._tasks = [one for one in self._tasks if not one.done()]
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """What nobody caught."""
        error = context.get("exception")
        if error is not None and not self._is_dead:
            self.failures.append(error)

    # --- its life

    def begin(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start some work as the process."""
        return self.create_task(work)

    def die(self) -> None:
        """Nothing more happens: what waits is undone without a sign to the world."""
        self._is_dead, self._is_alive = True, False
        tasks = [task for task in self._tasks if not task.done()]
        for task in tasks:
            task.cancel()
        self._drain()
        self._tasks.clear()

    def _ring(self, handle: Waiting) -> None:
        if not self._is_dead and not handle.is_off:
            self._due.append(handle)
            self._pass()

    def _pass(self) -> None:
        self._is_called = False
        if not self._is_dead:
            self._drain()

    def _drain(self) -> None:
        due = self._due
        before = asyncio._get_running_loop()  # noqa: SLF001  # how a loop makes itself known, as asyncio documents for loops
        asyncio._set_running_loop(self)  # noqa: SLF001  # same
        try:
            while due:
                handle = due.popleft()
                if handle.is_off:
                    continue
                try:
                    handle.context.run(handle.call, *handle.args)
                except (SystemExit, KeyboardInterrupt):
                    raise
                except BaseException as error:  # noqa: BLE001  # as a handle of asyncio does
                    self.call_exception_handler({"exception": error})
        finally:
            asyncio._set_running_loop(before)  # noqa: SLF001  # same
