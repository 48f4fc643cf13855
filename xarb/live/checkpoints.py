"""A checkpoint after each seal: proof can begin there, however long the log is."""

from __future__ import annotations

import time
from typing import Final

from xarb.assembly import Assembly
from xarb.checkpoint import capture
from xarb.log.checkpoints import Checkpoint
from xarb.log.livelog import LiveLog
from xarb.provenance import code_digest

_PAUSE_NS: Final = 5_000_000


class Checkpoints:
    """Looks whether one is due, between two batches.

    A copy grows with the orders of a start. Where it holds the loop up for n times 5 ms, only each (n + 1)th seal has one.

    Args:
        log: the log, whose seals count, and which writes them beside the loop.
        assembly: what decides.
    """

    def __init__(self, log: LiveLog, assembly: Assembly) -> None:
        self._log, self._assembly = log, assembly
        self._code = code_digest()
        self._seals, _ = log.sealed
        self._apart = 1  # seals from one to the next

    def look(self) -> None:
        """Take one if the log was sealed since the last look; all inputs so far, and all that was decided on them, were appended.

        Raises:
            InvariantBroken: something was decided and not taken.
        """
        seals, line = self._log.sealed
        if seals < self._seals + self._apart or self._log.is_full:
            return
        self._seals = seals
        began = time.monotonic_ns()
        engine, ground = self._assembly.engine, self._assembly.ground
        self._log.checkpoint(
            Checkpoint(
                log_id=ground.log_id,
                code_digest=self._code,
                start=ground.start,
                seq=engine.position,
                n=engine.outputs.count,
                line=line,
                state=capture(self._assembly),
            )
        )
        self._apart = 1 + (time.monotonic_ns() - began) // _PAUSE_NS
