"""The page: one file that holds all it needs, asks nobody for anything, and shows every name as text."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any, Final, NamedTuple

import msgspec

from xarb.console import Table, utc
from xarb.verbs.report.drawing import Figure
from xarb.verbs.report.panels import Panel

# What stands in a script of data must not end it, nor begin anything else.
_IN_SCRIPT: Final = (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026"), ("\u2028", "\\u2028"), ("\u2029", "\\u2029"))


_LEAST_MARGIN: Final = 64  # pixels, for numbers
_MOST_MARGIN: Final = 260


class Line(NamedTuple):
    """A row of the table of trades: the bundle, and cells as text with what they are sorted by."""

    bundle: int
    cells: tuple[tuple[str, float | str], ...]


class Part(NamedTuple):
    """One run or start on the page.

    Attributes:
        name: as it is called on the page.
        notes: sentences below the name; `warnings` are those that must not be overlooked.
        begins, ends: the axis of time, ns.
        figures: plots; those over time first.
        strip: by cell of time, the share of feeds that can be traded on.
        columns, lines: the table of trades.
        panels: by bundle, what a click on it shows.
        bundles: how many bundles there are.
        tables: what else is told.
    """

    name: str
    notes: list[str]
    warnings: list[str]
    begins: int
    ends: int
    figures: list[Figure]
    strip: list[float]
    columns: tuple[str, ...]
    lines: list[Line]
    panels: Mapping[int, Panel]
    bundles: int
    tables: list[Table]


class Page(NamedTuple):
    """All of it: key figures with a column for each run, definitions, and the runs."""

    title: str
    made: str
    key_figures: Table
    compared: list[Figure]
    definitions: Mapping[str, str]
    parts: list[Part]


def written(page: Page) -> str:
    """The page as HTML."""
    script, library, style = _resource("page.js"), plotly(), _resource("palette.css") + _resource("page.css")
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src {_digest(library)} {_digest(script)}",
            "style-src 'unsafe-inline'",  # the library writes styles; they can load nothing
            "img-src data: blob:",  # a picture of a plot that is saved
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    runs = "".join(_run(number, part) for number, part in enumerate(page.parts))
    compared = "".join(_figure(one, None) for one in page.compared)
    definitions = "".join(f"<dt>{_text(word)}</dt><dd>{_text(meaning)}</dd>" for word, meaning in page.definitions.items())
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{html.escape(policy)}">
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="referrer" content="no-referrer">
<title>{_text(page.title)}</title><style>{style}</style></head><body>
<header><h1>{_text(page.title)}</h1><span class="note">{_text(page.made)}</span><button id="theme" type="button">Light or dark</button></header>
<section id="key"><h2>Key figures</h2>{_table(page.key_figures)}{compared}</section>
<div class="runs">{runs}</div>
<section id="definitions"><h2>Definitions</h2><dl>{definitions}</dl></section>
<dialog id="trade"><header><h1></h1><button type="button">Close</button></header><div class="body"></div></dialog>
<script type="application/json" id="data">{_data(page)}</script>
<script>{library}</script>
<script>{script}</script>
</body></html>
"""


def plotly() -> str:
    """The library that draws, as its package has it."""
    from plotly.offline import get_plotlyjs

    found: str = get_plotlyjs()
    return found


def _resource(name: str) -> str:
    return resources.files("xarb.verbs.report").joinpath(name).read_text(encoding="utf-8")


def _digest(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _text(value: str) -> str:
    return html.escape(value)


def _data(page: Page) -> str:
    """What the script draws from, so that no name in it can end the element."""
    runs = [_run_data(part) for part in page.parts]
    first, last = min(part.begins for part in page.parts), max(part.ends for part in page.parts)
    compared = {
        "name": "",
        "figures": _figures(page.compared),
        "range": [first / 1e6, last / 1e6],
        "strip": [],
        "margin": _LEAST_MARGIN,
        "panels": {},
    }
    text = msgspec.json.encode({"runs": runs, "compared": compared}).decode()
    for mark, instead in _IN_SCRIPT:
        text = text.replace(mark, instead)
    return text


def _run_data(part: Part) -> dict[str, Any]:
    return {
        "name": part.name,
        "range": [part.begins / 1e6, part.ends / 1e6],
        "strip": part.strip,
        "margin": _margin(part),
        "figures": _figures(part.figures),
        "panels": {str(number): _panel(panel) for number, panel in part.panels.items()},
        "panels_kept": len(part.panels),
        "panels_of": part.bundles,
    }


def _margin(part: Part) -> int:
    """Pixels left of the plots over time: for the longest name of a feed, so that all have their axes in one line."""
    names = [name for one in part.figures for name in one.layout.get("yaxis", {}).get("categoryarray", ()) if one.is_time]
    return max(_LEAST_MARGIN, min(_MOST_MARGIN, 16 + 7 * max(map(len, names), default=0)))


def _panel(panel: Panel) -> dict[str, Any]:
    return {"quotes": panel.quotes, "tables": [[one.title, one.columns, one.rows] for one in panel.sections]}


def _figures(figures: Sequence[Figure]) -> dict[str, Any]:
    return {one.key: {"traces": one.traces, "layout": one.layout, "height": one.height, "is_time": one.is_time} for one in figures}


def _run(number: int, part: Part) -> str:
    notes = "".join(f"<p>{_text(note)}</p>" for note in part.notes)
    warnings = "".join(f'<p class="warning">{_text(one)}</p>' for one in part.warnings)
    over_time = "".join(_figure(one, number) for one in part.figures if one.is_time)
    others = "".join(_figure(one, number) for one in part.figures if not one.is_time)
    tables = "".join(f"<h3>{_text(one.title)}</h3>{_table(one)}" for one in part.tables)
    return f"""<section class="run" id="run-{number}"><h2>{_text(part.name)}</h2>{warnings}{notes}
<p>{_text(utc(part.begins))} to {_text(utc(part.ends))}, all times UTC. Drag over a plot to zoom all of them; a double click shows everything.
The strip under each plot is the share of feeds that were live: green all, red none.</p>
{over_time}<div class="plots">{others}</div>{_trades(number, part)}<details open><summary>Tables</summary>{tables}</details></section>"""


def _figure(figure: Figure, run: int | None) -> str:
    of = "" if run is None else f' data-run="{run}"'
    drawn = (
        f'<div class="plot" data-figure="{_text(figure.key)}"{of}></div>'
        if figure.has_points
        else "<p>There is nothing to draw.</p>"
    )
    return f'<div class="figure"><h3>{_text(figure.title)}</h3><p>{_text(figure.note)}</p>{drawn}</div>'


def _table(table: Table) -> str:
    numbers = [bool(table.rows) and all(_is_number(row[at]) for row in table.rows) for at in range(len(table.columns))]
    head = "".join(f"<th{_class(number)}>{_text(name)}</th>" for name, number in zip(table.columns, numbers, strict=True))
    rows = "".join(
        "<tr>" + "".join(f"<td{_class(number)}>{_text(cell)}</td>" for cell, number in zip(row, numbers, strict=True)) + "</tr>"
        for row in table.rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _class(is_number: bool) -> str:  # noqa: FBT001  # one word of two
    return ' class="number"' if is_number else ""


def _is_number(cell: str) -> bool:
    return cell in ("-", "") or cell.split(" ", 1)[0].lstrip("+-").replace(",", "").replace(".", "", 1).isdigit()


def _trades(run: int, part: Part) -> str:
    if not part.lines:
        return f"<h3>Trades</h3><p>There are {part.bundles or 'none'}{', and none was to be opened' if part.bundles else ''}.</p>"
    numbers = [
        all(line.cells[at][1] == "-" or not isinstance(line.cells[at][1], str) for line in part.lines)
        for at in range(len(part.columns))
    ]
    head = "".join(
        f'<th data-sort=""{_class(number)}>{_text(name)}</th>' for name, number in zip(part.columns, numbers, strict=True)
    )
    rows = "".join(
        f'<tr class="trade" data-run="{run}" data-bundle="{line.bundle}">'
        + "".join(
            f'<td{_class(number)} data-value="{_text(str(key))}">{_text(cell)}</td>'
            for (cell, key), number in zip(line.cells, numbers, strict=True)
        )
        + "</tr>"
        for line in part.lines
    )
    left = "" if len(part.lines) == part.bundles else f" These are the {len(part.lines)} that changed most of {part.bundles}."
    return (
        f"<h3>Trades</h3><p>Click one to see what its strategy saw, its legs, orders, fills and money.{left}</p>"
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    )
