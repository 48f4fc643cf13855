"""The driver of a replay: turns engine and simulated venues over the batches of a log. A backtest and its proof share it."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from xarb.assembly import Assembly
from xarb.engine.engine import Stop
from xarb.model.event import OutputRow

Rows = Sequence[OutputRow]


def replay(
    assembly: Assembly, sink: Callable[[Rows], None], *, batch_rows: int, reached: Callable[[int], None] | None = None
) -> None:
    """Fold the whole log; `sink` gets the output rows of each batch in their one order over all kinds, `reached` the last applied seq.

    The engine runs until a report of a venue may be due. The venues follow up to the engine's last applied input and never
    run ahead of it, so that an order meets no row that had not reached us when its report does.
    """
    with _young_garbage_only():
        _replay(assembly, sink, batch_rows=batch_rows, reached=reached)


def _replay(assembly: Assembly, sink: Callable[[Rows], None], *, batch_rows: int, reached: Callable[[int], None] | None) -> None:
    engine, venues = assembly.engine, assembly.venues
    for batch in assembly.batches(batch_rows):
        engine.load(batch)
        venues.load(batch)
        while True:
            horizon = venues.horizon()
            why = engine.run(horizon)
            venues.run(engine.position)
            if why is Stop.COMMANDS:
                assembly.note_marks()
                venues.take(engine.take_commands())
            elif why is Stop.UNTIL:
                engine.take_reports(horizon, venues.reports(horizon))
            else:
                break
        sink(engine.outputs.drain())
        if reached is not None:
            reached(engine.position)
        gc.collect(0)


@contextmanager
def _young_garbage_only() -> Iterator[None]:
    """Leave collecting to the loop, which does it once a batch and only over what the batch made.

    Orders are kept for good; the collector's own schedule goes over all of them again and again.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
