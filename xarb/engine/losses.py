"""When losses are looked at, and what follows from one beyond its limit.

Looked at are a strategy's losses of the day and below its peak (`results`) and those of its open bundles (`worst`): when it wants a bundle, when a
fill comes, when a bundle ends, and at each whole second of engine time, so that an open position is seen although nothing is decided.
Beats that nothing came between are one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from xarb.engine.archive import Archive
from xarb.engine.bundle import Bundle
from xarb.engine.desk import Desk
from xarb.engine.order_rows import OrderRows
from xarb.engine.risk import Risk
from xarb.engine.rules import Refusal
from xarb.engine.worst import BUNDLE_LOSS
from xarb.model.units import NANOS_PER_S, NEVER

BEAT_NS: Final = NANOS_PER_S
BEYOND: Final = "beyond"  # the event of a bundle that has lost more than it may


class Losses:
    """Looks at losses.

    Args:
        risk: what knows them, and disarms.
        rows: where rows go.
        archive: the open bundles.
        kill: ends new bundles of all strategies.
    """

    def __init__(self, risk: Risk, rows: OrderRows, *, archive: Archive, kill: Callable[[], None]) -> None:
        self._risk, self._rows, self._archive, self._kill = risk, rows, archive, kill
        self._limited = [one for one in risk.desks.values() if one.results is not None or one.limits.max_bundle_loss]
        self.next_beat = NEVER

    def begin(self, now: int) -> None:
        """The first input was applied: from here on they are looked at."""
        if self._limited:
            self.next_beat = _after(now)

    def go_on(self, now: int) -> None:
        """Other limits hold from here on: they are looked at as they ask for it."""
        if not self._limited:
            self.next_beat = NEVER
        elif self.next_beat == NEVER:
            self.begin(now)

    def beat(self, ts: int, before: int) -> None:
        """It is time to look, at `ts`; an input at `before` comes next."""
        self.next_beat = max(_after(ts), (before - 1) // BEAT_NS * BEAT_NS)
        for desk in self._limited:
            self.weigh(desk)

    def tell(self, desk: Desk) -> None:
        """What a strategy made has changed, as where a bundle ends: rows say it, and it is looked at."""
        self._rows.results(desk)
        self._weigh_results(desk, is_told=True)
        self._weigh_bundles(desk)

    def weigh(self, desk: Desk) -> Refusal | None:
        """Kill trading to ENTRIES where a strategy or a bundle of it has just lost more than it may: a `refusals` row, of no opportunity.

        Returned is why the strategy may begin nothing beside a bundle that it has open.
        """
        self._weigh_results(desk, is_told=False)
        return self._weigh_bundles(desk)

    def _weigh_results(self, desk: Desk, *, is_told: bool) -> None:
        """A result that kills is told, so that a start behind a reset knows that it was seen."""
        loss = self._risk.weigh(desk)
        if loss is not None and not is_told:
            self._rows.results(desk)
        self._tell(desk, loss)

    def _weigh_bundles(self, desk: Desk) -> Refusal | None:
        found = None
        for bundle in self._archive.open_bundles() if desk.limits.max_bundle_loss else ():
            if bundle.desk is desk:
                loss = self.look(bundle)
                found = found or loss
        return found if self._risk.armed else None

    def look(self, bundle: Bundle) -> Refusal | None:
        """See what a bundle has lost; the first time that this is too much it is told."""
        desk = bundle.desk
        if not desk.limits.max_bundle_loss or bundle.done:
            return None
        loss = self._risk.worst.lost(bundle)
        if loss is None or loss.value is None or bundle.is_beyond:
            return loss
        bundle.is_beyond = True
        self._rows.bundle(bundle, BEYOND)
        if desk.limits.on_loss != "refuse":
            self._tell(desk, self._risk.end(desk, loss._replace(reason=BUNDLE_LOSS)))
        return loss

    def _tell(self, desk: Desk, loss: Refusal | None) -> None:
        if loss is not None:
            self._rows.refusal(loss, desk, None)
            self._kill()


def _after(ts: int) -> int:
    return (ts // BEAT_NS + 1) * BEAT_NS
