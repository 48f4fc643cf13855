"""The driver of a replay: turns engine and simulated venues over the batches of a log. A backtest and its proof share it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
    engine, venues = assembly.engine, assembly.venues
    for batch in assembly.batches(batch_rows):
        engine.load(batch)
        venues.load(batch)
        while True:
            horizon = venues.horizon()
            why = engine.run(horizon)
            venues.run(engine.position)
            if why is Stop.COMMANDS:
                venues.take(engine.take_commands())
            elif why is Stop.UNTIL:
                engine.take_reports(horizon, venues.reports(horizon))
            else:
                break
        sink(engine.outputs.drain())
        if reached is not None:
            reached(engine.position)
