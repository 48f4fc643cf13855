"""The fold of live trading: rows that just arrived are decided on, logged with their outputs, and only then do commands leave."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from xarb.assembly import Assembly
from xarb.errors import InvariantBroken, XarbError
from xarb.live.checkpoints import Checkpoints
from xarb.log.batching import Batcher
from xarb.log.ends import LEFT_OFF
from xarb.log.livelog import LiveLog
from xarb.log.packing import Row
from xarb.model.command import AnyCommand
from xarb.model.event import OutputRow
from xarb.replay import turn

_WHY: Final = 1_000
Send = Callable[[Sequence[AnyCommand]], None]
Sink = Callable[[Sequence[OutputRow]], None]


class Trading:
    """Takes rows in the order of their seqs; the first one is the row of the start.

    Args:
        log: where rows and outputs go.
        assembly: the engine of this start and, on paper, its simulated venues.
        send: takes commands for real venues once everything up to them is written; never called on paper.
        strict: whether commands wait until the disk has everything up to them, and not only the operating system.
        sink: is shown the output rows.
    """

    def __init__(self, log: LiveLog, assembly: Assembly, *, send: Send, strict: bool, sink: Sink) -> None:
        self.assembly = assembly
        self._log = log
        self._batcher = Batcher({(one.venue, one.symbol): number for number, one in enumerate(assembly.ground.instruments)})
        self._send, self._strict, self._sink = send, strict, sink
        self._checkpoints = Checkpoints(log, assembly)

    def take(self, rows: Mapping[str, Sequence[Row]]) -> None:
        """Decide on rows that arrived together.

        Raises:
            InvariantBroken: the rows do not follow, or the engine broke a promise.
            LogError: they cannot be written: no command leaves. Or the engine could not take one of them.
            InvariantBroken: or a strategy or the engine raised something else, which is its cause.
        """
        try:
            commands = turn(self.assembly, self._batcher.batch(rows))
        except XarbError as error:
            self._keep(rows, error)
            raise
        except Exception as error:  # of a strategy, or a mistake of ours: the session says what it was, and ends
            self._keep(rows, error)
            what = f"{type(error).__name__}: {error} (line {_line(error)})"
            raise InvariantBroken(f"a strategy or the engine raised {what}; nothing is decided any more") from error
        outputs = self.assembly.engine.outputs.drain()
        self._log.append(rows, outputs)
        if commands and self._strict:
            self._log.sync()
        else:
            self._log.write()
        if commands:
            self._send(commands)
        if outputs:
            self._sink(outputs)
        self._checkpoints.look()

    def _keep(self, rows: Mapping[str, Sequence[Row]], error: Exception) -> None:
        """Log rows that could not be decided on, behind a row that says so: this start ends before them, and its proof with it.

        The row takes the place of the first of them, and they move on by one; nothing that is handed in afterwards would follow.
        """
        told = {kind: list(found) for kind, found in rows.items()}
        if "starts" not in told:  # else this start has not begun, and who writes on ends it
            first, ts = min(found[0][:2] for found in rows.values())
            why = f"it could not go on: {type(error).__name__}: {error}"[:_WHY]
            told = {kind: [(row[0] + 1, *row[1:]) for row in found] for kind, found in told.items()}
            told["operator"] = [(first, ts, LEFT_OFF, "session", why), *told.get("operator", ())]
        self._log.append(told)
        self._log.sync()


def _line(error: Exception) -> str:
    """Where it was raised, as FILE:LINE."""
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    return "unknown" if at is None else f"{Path(at.tb_frame.f_code.co_filename).name}:{at.tb_lineno}"
