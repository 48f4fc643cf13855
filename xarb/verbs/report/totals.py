"""Plots of a whole run: where its profit came from, and how long things took."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from xarb.verbs.report.bundles import CAUSES
from xarb.verbs.report.drawing import BLUE, GREEN, RED, Figure, Trace, colours, labels, money, shown, y_axis
from xarb.verbs.report.earned import Earned, Sum
from xarb.verbs.report.timeline import BINS, Latency

_BARS: Final = 30


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
            "increasing": {"marker": {"color": GREEN}},
            "decreasing": {"marker": {"color": RED}},
            "totals": {"marker": {"color": BLUE}},
        }
        note = "What the prices of the decision would have brought, and what became of it; definitions below."
        made.append(
            Figure(
                f"causes-{currency}",
                f"PnL by cause, {currency}",
                note,
                [trace],
                y_axis(shown(currency)) | {"showlegend": False},
                340,
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
            "marker": {"color": [RED if (one.pnl or 0) < 0 else BLUE for one in part]},
        }
        ends = min(0.0, *trace["x"]), max(0.0, *trace["x"])
        room = (ends[1] - ends[0]) * 0.3 or 1.0  # for the figures beside short bars
        span = [ends[0] - room * (ends[0] < 0), ends[1] + room * (ends[1] >= 0)]
        layout = {"xaxis": {"title": {"text": shown(currency)}, "range": span}, "yaxis": {"automargin": True}, "showlegend": False}
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
        colours = [RED if value < 0 else BLUE for value in values]
        trace: Trace = {"type": "bar", "x": [f"{hour:02}" for hour in range(24)], "y": values, "marker": {"color": colours}}
        layout = y_axis(shown(currency)) | {"showlegend": False, "xaxis": {"type": "category", "title": {"text": "hour, UTC"}}}
        made.append(
            Figure(f"hours-{currency}", f"PnL by hour of the day, {currency}", "By the hour of the decision.", [trace], layout, 260)
        )
    return made


def latencies(found: Sequence[Latency]) -> list[Figure]:
    """Distributions, one plot for each kind of duration."""
    made = []
    for what in dict.fromkeys(one.what for one in found):
        mine = [one for one in found if one.what == what]
        traces = []
        for one, colour in zip(mine, colours(), strict=False):
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
        layout = y_axis("% of all") | {"xaxis": {"type": "log", "title": {"text": "ms"}}}
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
