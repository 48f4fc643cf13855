"""The plots as Plotly takes them: traces and axes, without colours of the theme, which the page sets. Names of others are made harmless here."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

from xarb.model.units import MONEY_ONE
from xarb.summary import Summary
from xarb.verbs.report.bundles import CAUSES
from xarb.verbs.report.curve import Curve
from xarb.verbs.report.earned import Earned, Sum, Trade
from xarb.verbs.report.timeline import BINS, FEEDS, LINES, STATES, Balance, Buckets, Counted, Feed, Latency

# Okabe and Ito's palette without yellow and black: told apart by the colour-blind, and on both backgrounds.
PALETTE: Final = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8a8a8a", "#7b61c9")
CAUSE_COLOURS: Final = dict(zip(CAUSES, ("#009e73", "#e69f00", "#cc79a7", "#56b4e9", "#d55e00", "#8a8a8a"), strict=True))
STATE_COLOURS: Final = dict(
    zip(STATES, ("#2a9d6f", "#b8c94a", "#e9c46a", "#f4a261", "#cc79a7", "#7b61c9", "#d1495b", "#a61e4d", "#6c757d"), strict=True)
)
_NAME: Final = 60  # characters of a name in a plot
_REASONS: Final = 10
_BARS: Final = 30
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


def shown(name: str) -> str:
    """A name as Plotly is to show it: without markup, and not longer than a plot can hold."""
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


def equity(curves: dict[str, Curve], currencies: Sequence[str]) -> list[Figure]:
    """Trading PnL, and how far it stands below its peak."""
    lines, falls = [], []
    for colour, currency in zip(_colours(), currencies, strict=False):
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
            _y(unit),
            320,
            is_time=True,
        ),
        Figure("drawdown", "Drawdown", "How far trading PnL stands below its peak so far.", falls, _y(unit), 200, is_time=True),
    ]


def compared(runs: Sequence[tuple[str, dict[str, Curve]]]) -> list[Figure]:
    """The trading PnL of several runs in one plot, one a currency that has changes in any."""
    made = []
    for currency in dict.fromkeys(currency for _, curves in runs for currency in curves):
        lines = []
        for (name, curves), colour in zip(runs, _colours(), strict=False):
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
                    _y(shown(currency)),
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
        note = f"By cause, in steps of {_width(buckets)} of the decision; what lies below zero was lost."
        made.append(
            Figure(
                f"pnl-{currency}",
                f"PnL by time and cause, {currency}",
                note,
                traces,
                _y(shown(currency)) | {"barmode": "relative"},
                280,
                is_time=True,
            )
        )
    return made


def _width(buckets: Buckets) -> str:
    seconds = buckets.width // 1_000_000_000
    for unit, word in ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")):
        if seconds % unit == 0:
            return f"{seconds // unit} {word}{'s' if seconds != unit else ''}"
    return f"{seconds} seconds"


def causes(found: Earned) -> list[Figure]:
    """From the edge to what was left of it, one plot a currency."""
    made = []
    for currency, sums in found.causes.items():
        names = [cause for cause in CAUSES if sums[cause]]
        trace: Trace = {
            "type": "waterfall",
            "x": [*names, "trading PnL"],
            "y": [*(money(sums[cause]) for cause in names), money(sum(sums.values()))],
            "measure": [*("relative" for _ in names), "total"],
            "text": [*(f"{money(sums[cause]):,.2f}" for cause in names), f"{money(sum(sums.values())):,.2f}"],
            "textposition": "outside",
            "cliponaxis": False,
            "connector": {"line": {"width": 1}},
            "increasing": {"marker": {"color": "#009e73"}},
            "decreasing": {"marker": {"color": "#d55e00"}},
            "totals": {"marker": {"color": "#0072b2"}},
        }
        note = "What the prices of the decision would have brought, and what became of it; definitions below."
        made.append(
            Figure(
                f"causes-{currency}", f"PnL by cause, {currency}", note, [trace], _y(shown(currency)) | {"showlegend": False}, 340
            )
        )
    return made


def sums(key: str, title: str, found: Sequence[Sum]) -> list[Figure]:
    """PnL of strategies or pairs as bars, one plot a currency, the largest first."""
    made = []
    for currency in sorted({one.currency for one in found if one.pnl is not None}):
        mine = sorted((one for one in found if one.currency == currency), key=_by_size)
        part = mine[:_BARS][::-1]
        rest = f" The {len(part)} largest of {len(mine)}." if len(mine) > _BARS else ""
        trace: Trace = {
            "type": "bar",
            "orientation": "h",
            "y": labels([one.name for one in part]),
            "x": [money(one.pnl or 0) for one in part],
            "text": [f"{money(one.pnl or 0):,.2f} ({one.bundles})" for one in part],
            "textposition": "auto",
            "marker": {"color": ["#d55e00" if (one.pnl or 0) < 0 else "#0072b2" for one in part]},
        }
        layout = {"xaxis": {"title": {"text": shown(currency)}}, "yaxis": {"automargin": True}, "showlegend": False}
        made.append(
            Figure(
                f"{key}-{currency}",
                f"{title}, {currency}",
                f"Beside each the number of bundles.{rest}",
                [trace],
                layout,
                120 + 34 * len(part),
            )
        )
    return made


def _by_size(one: Sum) -> tuple[int, str]:
    return -abs(one.pnl or 0), one.name


def hours(found: Earned) -> list[Figure]:
    """PnL by hour of the day, one plot a currency."""
    made = []
    for currency, by_hour in found.hours.items():
        values = [money(by_hour.get(hour, 0)) for hour in range(24)]
        colours = ["#d55e00" if value < 0 else "#0072b2" for value in values]
        trace: Trace = {"type": "bar", "x": [f"{hour:02}" for hour in range(24)], "y": values, "marker": {"color": colours}}
        layout = _y(shown(currency)) | {"showlegend": False, "xaxis": {"type": "category", "title": {"text": "hour, UTC"}}}
        made.append(
            Figure(f"hours-{currency}", f"PnL by hour of the day, {currency}", "By the hour of the decision.", [trace], layout, 260)
        )
    return made


def opportunities(found: Sequence[Counted], buckets: Buckets) -> list[Figure]:
    """Found and taken as lines, refused by reason as bars."""
    lines = [_line(one, buckets, colour) for one, colour in zip(found[:2], ("#0072b2", "#009e73"), strict=True)]
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
    step = _width(buckets)
    return [
        Figure(
            "found",
            "Opportunities found and taken",
            f"Episodes that opened, and decisions to take one, in steps of {step}.",
            lines,
            _y("number"),
            240,
            is_time=True,
        ),
        Figure(
            "refused",
            "Refused, by reason",
            f"Decisions not to take one, in steps of {step}; a reason is told once in an episode.",
            bars,
            _y("number") | {"barmode": "stack"},
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


def trades(found: Earned) -> list[Figure]:
    """Each trade at its time, and its edge at the decision against the edge realised; both open its panel when clicked."""
    made = []
    left = f" {len(found.trades)} of {found.shown_of} are drawn." if len(found.trades) < found.shown_of else ""
    for currency in found.currencies:
        mine = [one for one in found.trades if one.currency == currency and one.pnl is not None and one.filled]
        points = [
            _points(name, part, [at(one.ts) for one in part], [money(one.pnl or 0) for one in part], colour)
            for name, part, colour in _by_strategy(mine)
        ]
        made.append(
            Figure(
                f"trades-{currency}",
                f"Trades, {currency}",
                f"PnL of each; click one to see it down to its quotes.{left}",
                points,
                _y(shown(currency)),
                280,
                is_time=True,
            )
        )
    both = [one for one in found.trades if one.edge_bps is not None and one.realised_bps is not None]
    points = [
        _points(name, part, [one.edge_bps for one in part], [one.realised_bps for one in part], colour)
        for name, part, colour in _by_strategy(both)
    ]
    ends = [value for one in both for value in (one.edge_bps or 0, one.realised_bps or 0)]
    if ends:
        edge = [min(ends), max(ends)]
        points.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": edge,
                "y": edge,
                "name": "as decided",
                "line": {"dash": "dot", "width": 1, "color": "#8a8a8a"},
                "hoverinfo": "skip",
            }
        )
    layout = {"xaxis": {"title": {"text": "edge decided, bps"}}, "yaxis": {"title": {"text": "edge realised, bps"}}}
    note = (
        "Decided: as the opportunity has it (of pairs before fees, of cycles after). Realised: net profit over half the turnover."
    )
    made.append(Figure("edges", "Edge at decision and edge realised", note + left, points, layout, 380))
    return made


def _by_strategy(found: Sequence[Trade]) -> list[tuple[str, list[Trade], str]]:
    names = sorted({one.strategy for one in found})
    return [(name, [one for one in found if one.strategy == name], PALETTE[n % len(PALETTE)]) for n, name in enumerate(names)]


def _points(name: str, part: Sequence[Trade], x: Sequence[float | None], y: Sequence[float | None], colour: str) -> Trace:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": x,
        "y": y,
        "customdata": [one.number for one in part],
        "text": [f"bundle {one.number}, {shown(one.pair)}" for one in part],
        "name": shown(name),
        "marker": {"color": colour, "size": 6, "opacity": 0.75},
    }


def latencies(found: Sequence[Latency]) -> list[Figure]:
    """Distributions, one plot for each kind of duration."""
    made = []
    for what in dict.fromkeys(one.what for one in found):
        mine = [one for one in found if one.what == what]
        traces = []
        for one, colour in zip(mine, _colours(), strict=False):
            bins = _coarse(one)
            total = sum(bins.values()) or 1
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "x": [10 ** ((number + 0.5) / 20) / 1e6 for number in bins],
                    "y": [100 * count / total for count in bins.values()],
                    "name": shown(one.where),
                    "line": {"shape": "hvh", "color": colour, "width": 1.4},
                    "fill": "tozeroy",
                }
            )
        layout = _y("% of all") | {"xaxis": {"type": "log", "title": {"text": "ms"}}}
        made.append(
            Figure(
                f"latency-{what.replace(' ', '-')}", f"Latency: {what}", "Share in each twentieth of a decade.", traces, layout, 260
            )
        )
    return made


def _coarse(one: Latency) -> dict[int, int]:
    """Twentieths of a decade, empty ones in between and at the ends."""
    found: dict[int, int] = {}
    for number, count in one.bins.items():
        found[number * 20 // BINS] = found.get(number * 20 // BINS, 0) + count
    return {number: found.get(number, 0) for number in range(min(found) - 1, max(found) + 2)} if found else {}


def inventory(found: Sequence[Balance], summary: Summary, currency: str, buckets: Buckets) -> list[Figure]:
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
            lines.append((max(map(abs, values)), f"{one.asset}@{one.venue} {one.account}", [start, *times], values))
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
    note = f"Each balance beside its opening, at the last mids, at the end of steps of {_width(buckets)}.{left}"
    return [Figure("inventory", f"Inventory drift, {currency}", note, traces, _y(shown(currency)), 320, is_time=True)]


def _most(line: tuple[float, str, list[float], list[float]]) -> tuple[float, str]:
    return -line[0], line[1]


def band(found: Sequence[Feed], gaps: Iterable[tuple[int, str, str | None, str]], begins: int, ends: int) -> Figure:
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
        for ts, venue, symbol, event in gaps
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
    note = f"Each row is a feed; where it changed within a dot of the plot, the worst state of it is shown.{left}"
    return Figure("feeds", "Feed quality and gaps", note, traces, layout, 110 + 20 * len(part), is_time=True)


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


def _y(title: str) -> dict[str, Any]:
    return {"yaxis": {"title": {"text": title}}}


def _colours() -> Iterable[str]:
    while True:
        yield from PALETTE
