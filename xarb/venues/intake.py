"""Where everything that arrives comes together: each fact gets its time and its place, and goes on once a pass of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from xarb.venues.clock import Clock
from xarb.venues.quality import Quality
from xarb.wires.chains import ChainRow
from xarb.wires.decimals import Listing
from xarb.wires.events import LinkEvent, WireEvent
from xarb.wires.rows import Link, Row, RowBuilder

Deliver = Callable[[dict[str, list[Row]]], None]
_HELD_ROWS: Final = 8_192  # rows that are held before they go on within a pass: bounds memory when much arrives at once


class Intake:
    """Takes what connections hand in, in the order of arrival, and delivers it as rows.

    Rows are delivered when the event loop has called everyone who had something: in a burst that is once for many frames, else once for
    each. Nothing waits for a clock.

    Args:
        builder: gives each row its seq and time.
        clock: the process's.
        deliver: takes all rows of a pass, by kind; what it raises ends the intake.
        keeps_frames: whether raw messages become rows of `frames`; may be changed while it runs.
        quality: is told every event, where somebody wants to know.

    Attributes:
        takes_market: whether what the markets say is taken; without it only what becomes of connections, orders and ourselves is. Switched
            off by who trades when the disk is full, so that the rest is written to the end.
        failure: done with the exception once a delivery failed; nothing is taken after that.
    """

    def __init__(
        self, builder: RowBuilder, clock: Clock, deliver: Deliver, *, keeps_frames: bool = True, quality: Quality | None = None
    ) -> None:
        self.builder, self.clock = builder, clock
        self.keeps_frames = keeps_frames
        self.takes_market = True
        self._deliver, self._quality = deliver, quality
        self._loop = asyncio.get_running_loop()
        self._scheduled = False
        self.failure: asyncio.Future[None] = self._loop.create_future()

    def frame(self, link: Link, payload: bytes, native: str | None = None) -> int:
        """A raw message on `link`, before it is decoded; `native` names the instrument of an answer to a request. Its ts_recv."""
        ts = self.clock.now()
        if self.keeps_frames and self.takes_market:
            self.builder.put("frames", ts, (link.conn, link.venue, native, payload))
            self._schedule()
        return ts

    def event(self, ts: int, link: Link, event: WireEvent) -> None:
        """An event of a message that was received at `ts` ns."""
        if not self.takes_market and not isinstance(event, LinkEvent):
            return
        self.builder.add(ts, link, event)
        if self._quality is not None:
            self._quality.take(ts, link, event)
        if not self._scheduled or self.builder.held >= _HELD_ROWS:
            self._schedule()

    def link(self, link: Link, event: str, detail: str | None = None, symbol: str | None = None) -> None:
        """Something happened to the connection: one of `CONNECTION_EVENTS`, now."""
        self.event(self.clock.now(), link, LinkEvent(link.venue, symbol, event, detail))

    def health(self, metric: str, value: int, venue: str | None = None, detail: str | None = None) -> None:
        """A reading, now."""
        self.put("health", (venue, metric, value, detail and detail[:1000]))

    def put(self, kind: str, values: Row) -> None:
        """A row of a kind that comes from no wire event, now: its values after seq and ts_recv, enums as indices."""
        self.builder.put(kind, self.clock.now(), values)
        self._schedule()

    def put_named(self, kind: str, values: Mapping[str, Any]) -> None:
        """A row that an account's connection gives, now: its values by column name, enums as text."""
        self.builder.put_named(kind, self.clock.now(), values)
        self._schedule()

    def chain(self, ts: int, rows: Sequence[ChainRow]) -> None:
        """Rows of a chain that belong together, as of `ts` ns: all of them come in one delivery."""
        if self.takes_market:
            for row in rows:
                self.builder.put_chain(ts, row)
            self._schedule()

    def announce(self, listing: Listing, *, again: bool = False) -> None:
        """What is known of an instrument, unless the log says so already; `again`: in any case."""
        self.builder.announce(self.clock.now(), listing, again=again)
        self._schedule()

    def _schedule(self) -> None:
        if self.builder.held >= _HELD_ROWS:
            self.flush()
        elif not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._pass)

    def _pass(self) -> None:
        self._scheduled = False
        self.flush()

    def flush(self) -> None:
        """Deliver what is held."""
        if self.failure.done():
            return
        parts = self.builder.take()
        if not parts:
            return
        try:
            self._deliver(parts)
        except Exception as error:  # noqa: BLE001  # whoever runs the intake waits for `failure`, which raises it again
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """End the intake: nothing is delivered from here on."""
        if not self.failure.done():
            self.failure.set_exception(error)
