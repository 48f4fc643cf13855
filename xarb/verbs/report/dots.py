"""Plots of single trades; a click on one opens what is known of it."""

from __future__ import annotations

from collections.abc import Sequence

from xarb.verbs.report.drawing import GREY, PALETTE, Figure, Trace, at, money, shown, y_axis
from xarb.verbs.report.earned import Earned, Trade


def trades(found: Earned) -> list[Figure]:
    """Each trade at its time, one plot a currency."""
    made = []
    for currency in found.currencies:
        mine = [one for one in found.trades if one.currency == currency and one.pnl is not None and one.moved]
        points = [
            _points(name, part, [at(one.ts) for one in part], [money(one.pnl or 0) for one in part], colour)
            for name, part, colour in _by_strategy(mine)
        ]
        made.append(
            Figure(
                f"trades-{currency}",
                f"Trades, {currency}",
                f"PnL of each; click one to see it down to its quotes.{_left(found)}",
                points,
                y_axis(shown(currency)),
                280,
                is_time=True,
            )
        )
    return made


def edges(found: Earned) -> Figure:
    """The edge of each at the decision against the edge realised."""
    both = [one for one in found.trades if one.edge_bps is not None and one.realised_bps is not None]
    points = [
        _points(name, part, [one.edge_bps for one in part], [one.realised_bps for one in part], colour)
        for name, part, colour in _by_strategy(both)
    ]
    decided = [one.edge_bps or 0 for one in both]
    if decided:
        edge = [min(decided), max(decided)]
        points.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": edge,
                "y": edge,
                "name": "as decided",
                "line": {"dash": "dot", "width": 1, "color": GREY},
                "hoverinfo": "skip",
            }
        )
    layout = {"xaxis": {"title": {"text": "edge decided, bps"}}, "yaxis": {"title": {"text": "edge realised, bps"}}}
    note = (
        "Decided: as the opportunity has it (of pairs before fees, of cycles after). Realised: net profit over half the turnover."
    )
    return Figure("edges", "Edge at decision and edge realised", note + _left(found), points, layout, 380)


def _left(found: Earned) -> str:
    return f" {len(found.trades)} of {found.shown_of} are drawn." if len(found.trades) < found.shown_of else ""


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
