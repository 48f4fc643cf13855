"""The driver: turns engine and simulated venues over batches of inputs. A backtest, its proof and live trading share it."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import msgspec

from xarb.assembly import Assembly
from xarb.engine.engine import Engine, Stop
from xarb.model.batch import Batch
from xarb.model.command import AnyCommand, SubmitOrder
from xarb.model.event import OutputRow
from xarb.model.instrument import Instrument

Rows = Sequence[OutputRow]


def replay(
    assembly: Assembly, batches: Iterable[Batch], sink: Callable[[Rows], None], *, reached: Callable[[int], None] | None = None
) -> int:
    """Fold all batches; the number of inputs.

    `sink` gets the output rows of each batch in their one order over all kinds, `reached` the last applied seq.
    """
    inputs = 0
    with _young_garbage_only():
        for batch in batches:
            turn(assembly, batch)
            inputs += sum(len(block.seq) for block in (batch.quotes, batch.deltas, batch.trades, batch.books)) + len(batch.slow)
            sink(assembly.engine.outputs.drain())
            if reached is not None:
                reached(assembly.engine.position)
            gc.collect(0)
    return inputs


def turn(assembly: Assembly, batch: Batch) -> list[AnyCommand]:
    """Fold one batch; the commands that real venues are to get, in order, at the scales behind it. Simulated venues take theirs.

    The engine runs until a report of a simulated venue may be due. The venues follow up to the engine's last applied input and never
    run ahead of it, so that an order meets no row that had not reached us when its report does. Where the assembly turns to another config a
    batch must end.
    """
    assembly.pass_on(batch.first_seq)
    engine, venues = assembly.engine, assembly.venues
    engine.load(batch)
    if venues is None:
        commands: list[tuple[AnyCommand, Instrument | None]] = []
        while engine.run() is Stop.COMMANDS:
            assembly.note_marks()
            commands += [(command, _instrument(engine, command)) for command in engine.take_commands()]
        return [_as_now(command, then, _instrument(engine, command)) for command, then in commands]
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
            engine.take_cycle_reports(horizon, venues.chains.reports(horizon))
        else:
            return []


def _instrument(engine: Engine, command: AnyCommand) -> Instrument | None:
    """What an order is of, as it is known now; None for a cycle of pools, whose amounts have no scale."""
    return engine.instruments[command.instrument] if isinstance(command, SubmitOrder) else None


def _as_now(command: AnyCommand, then: Instrument | None, now: Instrument | None) -> AnyCommand:
    """A command at the scales that its instrument has now, which may be finer than when it was decided."""
    if then is now or then is None or now is None or not isinstance(command, SubmitOrder):
        return command
    price, qty = 10 ** (now.px_scale - then.px_scale), 10 ** (now.qty_scale - then.qty_scale)
    return msgspec.structs.replace(command, price_int=command.price_int * price, qty_int=command.qty_int * qty)


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
