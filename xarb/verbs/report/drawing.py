"""What plots are made of, as Plotly takes them; without colours of the theme, which the page sets. Names of others are made harmless here."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from xarb.model.units import MONEY_ONE
from xarb.verbs.report.bundles import CAUSES
from xarb.verbs.report.timeline import Buckets

# After Okabe and Ito's palette, at a lightness of which each colour stands out by 2.7 to 1 on white and on the dark paper.
BLUE, ORANGE, GREEN, PINK, VIOLET, RED, GREY, TEAL = PALETTE = (
    *("#2b8fd0", "#d98200", "#159a72", "#cc6fa3", "#8a70d6", "#e0611f", "#8a8a8a", "#20a0a4"),
)
CAUSE_COLOURS: Final = dict(zip(CAUSES, (GREEN, ORANGE, PINK, VIOLET, RED, GREY), strict=True))
_ADDRESS: Final = re.compile(r"(0x[0-9a-f]{4})[0-9a-f]{32}([0-9a-f]{4})", re.IGNORECASE | re.ASCII)
_NAME: Final = 60  # characters of a name in a plot
Trace = dict[str, Any]


class Figure(NamedTuple):
    """One plot: its id within a run, title, a sentence below it, traces, layout, and whether its x axis is the time of the run."""

    key: str
    title: str
    note: str
    traces: list[Trace]
    layout: dict[str, Any]
    height: int
    is_time: bool = False

    @property
    def has_points(self) -> bool:
        """Whether there is anything to draw."""
        return any(trace["x"] for trace in self.traces)


def shown(name: str) -> str:
    """A name as Plotly is to show it: without markup, addresses by both ends, and not longer than a plot can hold."""
    name = _ADDRESS.sub(r"\1…\2", name)
    short = name if len(name) <= _NAME else f"{name[: _NAME - 20]}…{name[-19:]}"
    return html.escape(short, quote=False)


def labels(names: Sequence[str]) -> list[str]:
    """The names as they are shown, made different where they would be equal."""
    found: list[str] = []
    for name in names:
        label, number = shown(name), 1
        while label in found:
            number += 1
            label = f"{shown(name)} ({number})"
        found.append(label)
    return found


def money(value: int) -> float:
    """Money as the nearest float, for drawing."""
    return value / MONEY_ONE


def at(ts: int) -> float:
    """A time in ns as Plotly has it: ms since 1970 UTC."""
    return ts / 1_000_000


def width_of(buckets: Buckets) -> str:
    """How long a bucket is, in words."""
    seconds = buckets.width // 1_000_000_000
    for unit, word in ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")):
        if seconds % unit == 0:
            return f"{seconds // unit} {word}{'s' if seconds != unit else ''}"
    return f"{seconds} seconds"


def y_axis(title: str) -> dict[str, Any]:
    """A layout with a title at the y axis."""
    return {"yaxis": {"title": {"text": title}}}


def colours() -> Iterator[str]:
    """The palette, again and again."""
    while True:
        yield from PALETTE
