"""Plots over the time of a run: they share its axis."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from xarb.summary import Summary
from xarb.summary.curve import Curve
from xarb.verbs.report.bundles import CAUSES
from xarb.verbs.report.drawing import (
    BLUE,
    CAUSE_COLOURS,
    GREEN,
    PALETTE,
    Figure,
    Trace,
    at,
    colours,
    labels,
    money,
    shown,
    width_of,
    y_axis,
)
from xarb.verbs.report.earned import Earned
from xarb.verbs.report.timeline import FEEDS, GAPS, LINES, STATES, Balance, Buckets, Counted, Feed

STATE_COLOURS: Final = dict(
    zip(STATES, ("#2a9d6f", "#b8c94a", "#e9c46a", "#f4a261", "#cc79a7", "#7b61c9", "#d1495b", "#a61e4d", "#6c757d"), strict=True)
)
_REASONS: Final = 10


def equity(curves: dict[str, Curve], currencies: Sequence[str]) -> list[Figure]:
    """Trading PnL, and how far it stands below its peak."""
    lines, falls = [], []
    for colour, currency in zip(colours(), currencies, strict=False):
        points = list(curves[currency].points())
        times, peak, fall = [at(ts) for ts, _ in points], 0, []
        for _, value in points:
            peak = max(peak, value)
            fall.append(money(value - peak))
        step = {"x": times, "type": "scatter", "mode": "lines", "name": shown(currency)}
        lines.append(step | {"y": [money(value) for _, value in points], "line": {"shape": "hv", "color": colour, "width": 1.6}})
        falls.append(step | {"y": fall, "fill": "tozeroy", "line": {"shape": "hv", "color": colour, "width": 1}})
    unit = ", ".join(map(shown, currencies))
    return [
        Figure(
            "equity",
            "Trading PnL",
            "Balance changes at the prices of our fills, the last point at the last mids.",
            lines,
            y_axis(unit),
            320,
            is_time=True,
        ),
        Figure("drawdown", "Drawdown", "How far trading PnL stands below its peak so far.", falls, y_axis(unit), 200, is_time=True),
    ]


def compared(runs: Sequence[tuple[str, dict[str, Curve]]]) -> list[Figure]:
    """The trading PnL of several runs in one plot, one a currency that has changes in any."""
    made = []
    for currency in dict.fromkeys(currency for _, curves in runs for currency in curves):
        lines = []
        for (name, curves), colour in zip(runs, colours(), strict=False):
            if currency in curves and curves[currency].taken > 1:
                points = list(curves[currency].points())
                y = [money(value) for _, value in points]
                line = {"shape": "hv", "color": colour, "width": 1.6}
                lines.append(
                    {
                        "type": "scatter",
                        "mode": "lines",
                        "name": shown(name),
                        "x": [at(ts) for ts, _ in points],
                        "y": y,
                        "line": line,
                    }
                )
        if lines:
            made.append(
                Figure(
                    f"compared-{currency}",
                    f"Trading PnL, {currency}",
                    "All runs on one axis of time.",
                    lines,
                    y_axis(shown(currency)),
                    340,
                    is_time=True,
                )
            )
    return made


def over_time(found: Earned, buckets: Buckets) -> list[Figure]:
    """PnL by bucket and cause, one plot a currency."""
    made = []
    for currency in found.currencies:
        parts = found.buckets[currency]
        order = sorted(parts)
        traces = [
            {
                "type": "bar",
                "x": [at(buckets.start(one) + buckets.width // 2) for one in order],
                "y": [money(parts[one][cause]) for one in order],
                "width": buckets.width / 1_000_000,
                "name": cause,
                "marker": {"color": CAUSE_COLOURS[cause], "line": {"width": 0}},
            }
            for cause in CAUSES
            if any(parts[one][cause] for one in order)
        ]
        note = f"By cause, in steps of {width_of(buckets)} of the decision; what lies below zero was lost."
        made.append(
            Figure(
                f"pnl-{currency}",
                f"PnL by time and cause, {currency}",
                note,
                traces,
                y_axis(shown(currency)) | {"barmode": "relative"},
                280,
                is_time=True,
            )
        )
    return made


def opportunities(found: Sequence[Counted], buckets: Buckets) -> list[Figure]:
    """Found and taken as lines, refused by reason as bars."""
    lines = [_line(one, buckets, colour) for one, colour in zip(found[:2], (BLUE, GREEN), strict=True)]
    kept = list(found[2 : 2 + _REASONS])
    rest = found[2 + _REASONS :]
    if rest:
        total: dict[int, int] = {}
        for one in rest:
            for bucket, count in one.counts.items():
                total[bucket] = total.get(bucket, 0) + count
        kept.append(Counted(f"{len(rest)} other reasons", total))
    bars = [
        {
            "type": "bar",
            "x": [at(buckets.start(one) + buckets.width // 2) for one in sorted(reason.counts)],
            "y": [reason.counts[one] for one in sorted(reason.counts)],
            "width": buckets.width / 1_000_000,
            "name": f"{shown(reason.what)}: {reason.total}",
            "marker": {"color": PALETTE[number % len(PALETTE)], "opacity": 1 if number < len(PALETTE) else 0.55},
        }
        for number, reason in enumerate(kept)
    ]
    step = width_of(buckets)
    return [
        Figure(
            "found",
            "Opportunities found and taken",
            f"Episodes that opened, and decisions to take one, in steps of {step}.",
            lines,
            y_axis("number"),
            240,
            is_time=True,
        ),
        Figure(
            "refused",
            "Refused, by reason",
            f"Decisions not to take one, in steps of {step}; a reason is told once in an episode.",
            bars,
            y_axis("number") | {"barmode": "stack"},
            280,
            is_time=True,
        ),
    ]


def _line(one: Counted, buckets: Buckets, colour: str) -> Trace:
    known = sorted(one.counts)
    every = range(known[0], known[-1] + 1) if known else ()
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [at(buckets.start(bucket)) for bucket in every],
        "y": [one.counts.get(bucket, 0) for bucket in every],
        "line": {"shape": "hv", "color": colour, "width": 1.4},
        "name": f"{one.what}: {one.total}",
    }


def inventory(found: Sequence[Balance], summary: Summary, currency: str, buckets: Buckets, ends: int) -> list[Figure]:
    """How far each balance has moved from its opening, valued at the last marks; those that moved most."""
    lines = []
    for one in found:
        times, values = [], [0.0]
        for bucket in sorted(one.by_bucket):
            value = summary.total({one.asset: one.by_bucket[bucket] - one.opening}, currency)
            if value is None:
                break
            times.append(at(buckets.start(bucket + 1)))
            values.append(money(value))
        else:
            start = at(buckets.start(min(one.by_bucket)))
            name = f"{one.asset}@{one.venue} {one.account}"
            lines.append((max(map(abs, values)), name, [start, *times, at(ends)], [*values, values[-1]]))
    lines.sort(key=_most)
    traces = [
        {
            "type": "scatter",
            "mode": "lines",
            "x": times,
            "y": values,
            "name": shown(name),
            "line": {
                "shape": "hv",
                "width": 1.3,
                "color": PALETTE[n % len(PALETTE)],
                "dash": ("solid", "dot", "dash")[n // len(PALETTE) % 3],
            },
        }
        for n, (_, name, times, values) in enumerate(lines[:LINES])
    ]
    left = f" The {LINES} that moved most of {len(found)}." if len(found) > LINES else ""
    note = f"Each balance beside its opening, at the last mids, at the end of steps of {width_of(buckets)}.{left}"
    return [Figure("inventory", f"Inventory drift, {currency}", note, traces, y_axis(shown(currency)), 320, is_time=True)]


def _most(line: tuple[float, str, list[float], list[float]]) -> tuple[float, str]:
    return -line[0], line[1]


def band(found: Sequence[Feed], gaps: Sequence[tuple[int, str, str | None, str]], begins: int, ends: int) -> Figure:
    """A row a feed, coloured by state, with marks where a connection was lost or had a gap."""
    worst = sorted(found, key=_by_quality)[:FEEDS]
    part = sorted(worst, key=_feed_name, reverse=True)
    names = labels([f"{one.symbol}@{one.venue}" for one in part])
    width = max(1, -(-(ends - begins + 1) // max(1, len(part[0].cells)))) if part else 1
    traces: list[Trace] = []
    for state in STATES:
        x: list[float | None] = []
        y: list[str | None] = []
        for name, one in zip(names, part, strict=True):
            for first, last in _stretches(one.cells, state):
                x += [at(begins + first * width), at(min(ends, begins + last * width)), None]
                y += [name, name, None]
        if x:
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "x": x,
                    "y": y,
                    "name": state,
                    "line": {"color": STATE_COLOURS[state], "width": 9},
                }
            )
    marks = [
        (ts, name, event)
        for ts, venue, symbol, event in gaps[:GAPS]
        for name, one in zip(names, part, strict=True)
        if one.venue == venue and symbol in (None, one.symbol)
    ]
    if marks:
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": [at(ts) for ts, _, _ in marks],
                "y": [name for _, name, _ in marks],
                "text": [event for _, _, event in marks],
                "name": "gap, lost or closed",
                "marker": {"symbol": "line-ns-open", "size": 11, "line": {"width": 2}, "color": "#a61e4d"},
            }
        )
    layout = {
        "yaxis": {"type": "category", "automargin": True, "categoryarray": names, "categoryorder": "array", "fixedrange": True}
    }
    left = f" The {FEEDS} that were tradable least of {len(found)}." if len(found) > FEEDS else ""
    left += f" Of the gaps the first {GAPS}." if len(gaps) > GAPS else ""
    note = f"Each row is a feed; where it changed within a dot of the plot, the worst state of it is shown.{left}"
    return Figure("feeds", "Feed quality and gaps", note, traces, layout, 150 + 20 * len(part), is_time=True)


def strip(found: Sequence[Feed]) -> list[float]:
    """Which share of the feeds is tradable as its worst state says, by cell: the band under every plot over time."""
    if not found:
        return []
    good = [sum(one.cells[cell] == "live" for one in found) for cell in range(len(found[0].cells))]
    return [round(one / len(found), 3) for one in good]


def _by_quality(one: Feed) -> tuple[int, str, str]:
    return one.tradable_ns, one.venue, one.symbol


def _feed_name(one: Feed) -> tuple[str, str]:
    return one.venue, one.symbol


def _stretches(cells: Sequence[str], state: str) -> list[tuple[int, int]]:
    """First cell and the one after the last of each stretch in that state."""
    inside = [False, *(one == state for one in cells), False]
    edges = [at for at, (before, after) in enumerate(pairwise(inside)) if before != after]
    return list(zip(edges[::2], edges[1::2], strict=True))
