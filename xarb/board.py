"""What a person sees while feeds run: one line a connection, drawn in place on a terminal, plain lines now and then elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from xarb.console import Table
from xarb.model.units import NANOS_PER_MS, NANOS_PER_S

if TYPE_CHECKING:
    from xarb.log.livelog import Stats
    from xarb.venues.feeds import Connection

    Scores = Callable[[Connection], int | None]  # the lowest score of a connection's instruments, None where there is none yet

_COLUMNS: Final = (
    "feed",
    "state",
    "instruments",
    "events/s",
    "age s",
    "lag ms",
    "round trip ms",
    "messages",
    "events",
    "gaps",
    "rejects",
    "quality",
)
_PLAIN_S: Final = 10.0


def _unknown(_: Connection) -> None:
    """No score, where nobody keeps any."""


class Board:
    """Turns meters into tables.

    Args:
        draw: draws tables in place of the last ones; None where there is no terminal.
        say: prints a line; None keeps silent.
    """

    def __init__(self, draw: Callable[[Sequence[Table]], None] | None, say: Callable[[str], None] | None = None) -> None:
        self._draw, self._say = draw, say
        self._before: dict[int, tuple[int, int]] = {}  # by connection: ts and events of the last look
        self._rates: dict[int, float] = {}
        self._said_s = 0.0

    def update(
        self,
        streams: Sequence[Connection],
        now: int,
        stats: Stats,
        seconds: float,
        *,
        scores: Scores = _unknown,
        more: Sequence[Table] = (),
    ) -> None:
        """Show how it goes, `seconds` after the start; `more` stands between feeds and log."""
        for stream in streams:
            self._rate(stream, now)
        if self._draw is not None:
            feeds = self.feed_table(streams, now, f"Recording for {seconds:.0f} s", scores=scores)
            self._draw([feeds, *(table for table in more if table.rows), _journal_table(stats)])
        elif self._say is not None and seconds - self._said_s >= _PLAIN_S:
            self._said_s = seconds
            for table in (self.feed_table(streams, now, "", scores=scores), *more):
                for row in table.rows:
                    self._say(_line(table.columns, row))
            self._say(" ".join(f"{name.replace(' ', '_')}={value}" for name, value in _journal_table(stats).rows))

    def feed_table(self, streams: Sequence[Connection], now: int, title: str, *, scores: Scores = _unknown) -> Table:
        """One row a connection."""
        rows = []
        for stream in streams:
            meter, score = stream.meter, scores(stream)
            rows.append(
                (
                    f"{stream.feed.venue} {stream.feed.conn}",
                    "open" if stream.is_open else "down",
                    f"{len(stream.feed.listings)}",
                    f"{self._rates.get(stream.feed.conn, 0):.0f}",
                    f"{(now - meter.last_ts) / NANOS_PER_S:.1f}" if meter.last_ts else "-",
                    _ms(meter.lag_ns),
                    _ms(meter.round_trip_ns),
                    f"{meter.frames}",
                    f"{meter.events}",
                    f"{meter.gaps}",
                    f"{meter.rejects}",
                    "-" if score is None else f"{score}",
                )
            )
        return Table(title, _COLUMNS, tuple(rows))

    def _rate(self, stream: Connection, now: int) -> None:
        ts, events = self._before.get(stream.feed.conn, (0, 0))
        if ts and now > ts:
            self._rates[stream.feed.conn] = (stream.meter.events - events) * NANOS_PER_S / (now - ts)
        self._before[stream.feed.conn] = now, stream.meter.events


def _line(columns: Sequence[str], row: Sequence[str]) -> str:
    names = (name.replace(" ", "_").replace("/", "_per_") for name in columns)
    return " ".join(f"{name}={cell.replace(' ', '_')}" for name, cell in zip(names, row, strict=True))


def _journal_table(stats: Stats) -> Table:
    rows = (
        ("rows", f"{stats.rows}"),
        ("journal MB written", f"{stats.bytes / 1e6:.1f}"),
        ("write p99 ms", _ms(stats.write.p99)),
        ("sync p99 ms", _ms(stats.sync.p99)),
        ("not yet durable ms", _ms(stats.lag_ns)),
        ("segments sealed", f"{stats.seals}"),
        ("disk", "full" if stats.is_full else stats.seal_error or "good"),
    )
    return Table("Log", ("what", "value"), rows)


def _ms(ns: int | None) -> str:
    return "-" if ns is None else f"{ns / NANOS_PER_MS:.2f}"
