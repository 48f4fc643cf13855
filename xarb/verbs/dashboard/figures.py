"""What the page shows, as plain data by part: key figures as the report reckons them, the state as `status` and `at` tell it.

Every cell is text that was made by the code of these verbs; the page sets it as text and reckons nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from xarb.console import Table
from xarb.engine.captured import DecisionsCopy
from xarb.engine.liverows import KILL, RESET
from xarb.inquiry.decided import Decided
from xarb.inquiry.sections import Section, amount, moment_of
from xarb.model.order import KILL_LEVELS, ORDER_TERMINAL
from xarb.settings import strategy_terms
from xarb.sql.pick import pick
from xarb.summary import accounts_of, money
from xarb.summary.curve import Curve
from xarb.summary.ratios import period_of
from xarb.verbs.at import ALL, knowledge
from xarb.verbs.dashboard.following import Following
from xarb.verbs.report.bundles import bundles
from xarb.verbs.report.earned import earned
from xarb.verbs.report.parts import causes_of, key_figures, latencies_of
from xarb.verbs.report.replayed import Replayed
from xarb.verbs.report.timeline import buckets_of, latencies, opportunities
from xarb.verbs.status import Status

ROWS: Final = 100  # of a table on the page
STRETCHES: Final = 300  # of a curve, up to four points each
_NANOS: Final = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3})\d{6}Z$", re.ASCII)
_FROM_STATUS: Final = (  # beside feeds and open orders, in the order of the page
    *("breakers", "discrepancies", "chains", "senders", "waiting", "counts", "money", "balances", "countdowns", "health"),
)
_BUSY: Final = ("bundles", "cycles", "opportunities")  # sections of `at`
_OF_RUN: Final = ("inventory", "breakers", "pools", "balances")
_SHOWN_FEED: Final = ("venue", "symbol", "state", "score", "tradable")
_MORE_FEED: Final = ("age_ms", "gaps", "rejects", "since")
_EXPOSURE: Final = ("strategy", "asset", "by_fills", "least", "most", "bound")
Part = dict[str, Any]


class Kill(NamedTuple):
    """How far trading is killed, by whom, and when (ns)."""

    level: str
    actor: str
    ts: int


def killed(decided: Decided) -> Kill | None:
    """The highest level since a person last took kills back; None where nothing is killed."""
    found: Kill | None = None
    for row in pick(decided.outputs, "operator", ("action", "in", [KILL, RESET])):
        if row["action"] == RESET:
            found = None
            continue
        level = (row["detail"] or KILL_LEVELS[-1]).partition(":")[0]
        rank = KILL_LEVELS.index(level) if level in KILL_LEVELS else len(KILL_LEVELS)
        if found is None or found.level not in KILL_LEVELS or rank > KILL_LEVELS.index(found.level):
            found = Kill(level, row["actor"], row["ts_recv"])
    return found


def table(found: Section | Table) -> Part:
    """A table of the page; what it leaves out it says."""
    more = f"; the first {ROWS} of {len(found.rows)}" if len(found.rows) > ROWS else ""
    key = found.key if isinstance(found, Section) else found.title.split(";", 1)[0].split(",", 1)[0]
    return {
        "key": key,
        "title": found.title + more,
        "columns": [name.replace("_", " ") for name in found.columns],
        "rows": [[_cell(cell) for cell in row] for row in found.rows[:ROWS]],
    }


def tables(found: Iterable[Section | Table]) -> list[Part]:
    """Those that have rows."""
    return [table(one) for one in found if one.rows]


def _cell(cell: object) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    return _NANOS.sub(r"\1Z", str(cell))


class Now(NamedTuple):
    """What is pushed often: tiles, curves, tables of what is under way, of what was earned, and of how it stands else."""

    tiles: list[Part]
    curves: list[Part]
    busy: list[Part]
    earned: list[Part]
    standing: list[Part]


def now(following: Following, status: Status | None) -> Now:
    """Everything that costs little; `status` is that of a log, None of a run."""
    course, assembly = following.course, following.assembly
    state = assembly.engine.decisions() if following.doubt is None else None
    with course.summary.ended():
        curves = course.now(following.ends, points=STRETCHES)
        shown = [name for name, curve in curves.items() if curve.taken > 1] or [*curves][:1]
        tiles = [*_gains(following, shown), *_counts(following, status, state)]
        made = tables(course.summary.tables())
        if following.doubt is None and following.since is None:  # behind a checkpoint the first marks are not known
            made += tables([accounts_of(assembly), assembly.doubtful_marks()])
        if status is None:
            made += tables([assembly.assumptions()])
    known = {} if state is None else {one.key: one for one in knowledge(assembly, ALL, state)}
    busy = [
        _open_orders(status, known),
        *(known[key] for key in _BUSY if key in known),
        *([] if state is None else [_exposure(following)]),
        _feeds(status, known),
        _refusals(following),
    ]
    rest = [known[key] for key in _OF_RUN if key in known] if status is None else _rest(status, known)
    return Now(
        tiles, [_curve(name, curves[name]) for name in shown], tables(one for one in busy if one is not None), made, tables(rest)
    )


def _open_orders(status: Status | None, known: Mapping[str, Section]) -> Section | None:
    return known.get("orders") if status is None else _of(status, "open_orders")


def _feeds(status: Status | None, known: Mapping[str, Section]) -> Section | None:
    """Of a log what `status` says, with score and best prices as the engine has them now."""
    if status is None:
        return known.get("feeds")
    told = _of(status, "feeds")
    if "feeds" not in known:
        return told
    quotes = {(row["venue"], row["symbol"]): row for row in _by_name(known["feeds"])}
    rows = []
    for row in _by_name(told):
        quote = quotes.get((row["venue"], row["symbol"]), {})
        row["score"] = quote.get("score", row["score"])
        rows.append((*(row[name] for name in _SHOWN_FEED), quote.get("bid"), quote.get("ask"), *(row[name] for name in _MORE_FEED)))
    return Section("feeds", "Feeds and best quotes", (*_SHOWN_FEED, "bid", "ask", *_MORE_FEED), rows)


def _by_name(section: Section) -> list[dict[str, Any]]:
    return [dict(zip(section.columns, row, strict=True)) for row in section.rows]


def _exposure(following: Following) -> Section:
    """What each strategy's fills may come to, whatever of its orders fills, beside the bound of its config."""
    engine, rows = following.assembly.engine, []
    for strategy, config in sorted(following.assembly.resolved.strategies.items()):
        bounds = strategy_terms(config).limits.max_exposure
        for asset in sorted({*bounds, *engine.portfolio.flows(strategy)}):
            least, most = engine.execution.exposure(strategy, asset)
            flow = engine.portfolio.flow(strategy, asset)
            if flow or least or most or asset in bounds:
                rows.append((strategy, asset, amount(flow), amount(least), amount(most), amount(bounds.get(asset))))
    return Section("exposure", "Exposure: what fills came to, and may come to whatever of open orders fills", _EXPOSURE, rows)


def _refusals(following: Following) -> Section:
    rows = [
        (
            moment_of(row["ts"]),
            *(row[name] for name in ("strategy", "opportunity", "venue", "symbol", "reason")),
            *map(amount, (row["value"], row["bound"])),
        )
        for row in reversed(following.refusals)
    ]
    head = ("at", "strategy", "opportunity", "venue", "symbol", "reason", "asked", "allowed")
    return Section("refusals", "Last refusals", head, rows)


def _rest(status: Status, known: Mapping[str, Section]) -> list[Section]:
    told = {one.key: one for one in status.sections}
    return [*(known[key] for key in ("inventory", "pools") if key in known), *(told[key] for key in _FROM_STATUS if key in told)]


def slow(following: Following) -> list[Part]:
    """What takes a look over all rows: the key figures of the report, PnL by cause, latencies; as of the last input that was applied."""
    decided, course = following.decided, following.course
    begins, ends = course.begins, following.ends
    whole = decided.span
    if whole is not None:  # nothing beyond what the summary has
        decided.span = whole._replace(last=min(whole.last, following.position))
    try:
        with course.summary.ended():
            again = _as_report(following)
            buckets = buckets_of(begins, ends)
            found = earned(bundles(decided, again.assets, again.alike), again.summary, buckets, chosen=(), total=0)
            counted = opportunities(decided, buckets)
            rows = tuple(key_figures(again, found, counted).items())
            figures = Table("Key figures", ("figure", "value"), rows)
            return tables([figures, causes_of(found), latencies_of(latencies(decided, begins, ends))])
    finally:
        decided.span = whole


def _as_report(following: Following) -> Replayed:
    """The same that a report makes its figures of."""
    course, assembly, ends = following.course, following.assembly, following.ends
    return Replayed(
        summary=course.summary,
        tables=[],
        curves=course.now(ends, points=STRETCHES),
        period=period_of(ends - course.begins),
        begins=course.begins,
        ends=ends,
        moments={},
        assets=assembly.assets,
        alike=assembly.alike,
        opening=assembly.opening,
        proof=following.doubt or "",
        equal=following.doubt is None,
    )


def _gains(following: Following, shown: Sequence[str]) -> list[Part]:
    marks = "at the last mids" if following.doubt is None else "at the last fills"
    made = []
    for currency in shown:
        equity = following.course.summary.equity[currency]
        value = "undefined" if equity.last is None else money(equity.last)
        tone = "" if not equity.last else "good" if equity.last > 0 else "bad"
        note = "an asset has no mark" if equity.last is None else marks
        made.append(
            _tile(
                f"Trading PnL, {currency}",
                value,
                f"{note}; peak {money(equity.peak)}, largest drawdown {money(equity.drawdown)}",
                tone,
            )
        )
    return made


def _counts(following: Following, status: Status | None, state: DecisionsCopy | None) -> list[Part]:
    summary, made = following.course.summary, list[Part]()
    for currency in [*summary.equity][:1]:  # counts are of all currencies
        found = summary.figures(currency)
        ratio = "-" if found.fill_ratio is None else f"{found.fill_ratio:.4f}"
        made.append(_tile("Opportunities", str(found.episodes), f"taken {found.taken}, refused {found.refused}"))
        made.append(_tile("Orders", str(found.orders), f"fill ratio {ratio}"))
    if state is not None:
        still = state.execution.archive.open
        legs = sum(order.state not in ORDER_TERMINAL for one in still for order in one.orders)
        made.append(_tile("Open legs", str(legs), f"of {len(still)} open bundle{'' if len(still) == 1 else 's'}"))
    elif status is not None:
        legs = len(_of(status, "open_orders").rows)
        made.append(_tile("Open legs", str(legs), "orders that may still fill"))
    if status is not None:
        feeds = _of(status, "feeds")
        at = feeds.columns.index("tradable")
        live = sum(row[at] is True for row in feeds.rows)
        tone = "good" if live == len(feeds.rows) else "bad"
        made.append(_tile("Feeds", f"{live} of {len(feeds.rows)}", "can be traded on", tone))
    return made


def _tile(what: str, value: str, note: str, tone: str = "") -> Part:
    return {"what": what, "value": value, "note": note, "tone": tone}


def _curve(currency: str, curve: Curve) -> Part:
    points = [[ts // 1_000_000, float(money(value))] for ts, value in curve.points()]
    return {"currency": currency, "points": points}


def _of(status: Status, key: str) -> Section:
    return next(one for one in status.sections if one.key == key)
