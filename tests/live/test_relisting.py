"""Instruments that change while real orders are sent at served exchanges: a halt, and a coarser step, are known within an interval."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec

from tests.live.site import Site, site, traded
from tests.trial import quiet
from xarb.live.session import Session
from xarb.log.reader import LogReader
from xarb.verbs.verify import verify

TICK = 10  # of one hundredth


class Story:
    """Once bundles are sent alpha halts; a while later it trades again, on a coarser grid; then some more bundles."""

    def __init__(self, at: Site) -> None:
        self._forms: Any = at.server.market.instruments
        self._before = self._forms[0]
        assert self._before.venue == "alpha"
        self._seq, self._bundles = 0, 0

    def __call__(self, session: Session) -> bool:
        """Whether it is told."""
        engine, forms = session.assembly.engine, self._forms
        known = engine.instruments[0]
        if forms[0] == self._before:
            if session.summary.bundles:
                forms[0] = msgspec.structs.replace(self._before, active=False)
        elif not forms[0].active:
            if not known.active and not self._seq:
                self._seq = session.log.last
            elif self._seq and session.log.last > self._seq + 100:  # five seconds of quotes of two venues, in which prices cross
                forms[0] = msgspec.structs.replace(self._before, tick_int=TICK)
                self._bundles = session.summary.bundles
        return bool(self._bundles) and known.tick_int == TICK and session.summary.bundles > self._bundles


def test_a_halt_and_a_coarser_step_are_heeded_at_once(tmp_path: Path) -> None:
    """No bundle begins while one leg's market is halted; behind the change every price is on the new grid; the log proves itself."""
    log = tmp_path / "log"

    async def story() -> None:
        async with site(tmp_path) as at:
            at.config.write_text(at.config.read_text() + "\n[record]\ninstruments_ms = 100\n")
            await traded(at, log, Story(at))

    asyncio.run(story())
    assert verify(log, advance=quiet).equal
    with LogReader(log) as reader:
        told = [row for row in reader.rows("instruments") if row["venue"] == "alpha"]
        readings = [row["value"] for row in reader.rows("health") if row["metric"] == "instrument_changed"]
        orders = [row for _, row in reader.outputs(kinds=("commands",)) if row["kind"] == "submit"]
    assert [(row["active"], row["tick_int"]) for row in told] == [(True, 1), (False, 1), (True, TICK)]
    assert readings == [0, 1]
    _, halted, back = (row["seq"] for row in told)
    assert [row for row in orders if row["after_seq"] < halted]
    while_halted = [row for row in orders if halted <= row["after_seq"] < back]
    assert not [row for row in while_halted if row["venue"] == "alpha" or row["purpose"] == "open"], while_halted
    later = [row for row in orders if row["after_seq"] >= back and row["venue"] == "alpha"]
    assert later
    assert not [row for row in later if row["price_int"] % TICK]
