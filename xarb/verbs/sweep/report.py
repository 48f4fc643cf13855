"""What a sweep prints: its best trials, what walking forward made of them, and what chance alone would have shown."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

from xarb.console import Table, utc
from xarb.verbs.sweep.luck import Moments, deflated, expected_best
from xarb.verbs.sweep.search import Found
from xarb.verbs.sweep.table import Row
from xarb.verbs.sweep.trial import Outcome, goal_of

_BEST: Final = 10
_CENT: Final = Decimal("0.000001")
_FIGURES: Final = ("orders", "fill ratio", "trading PnL", "drawdown", "Sharpe", "error")


def tables(found: Found) -> list[Table]:
    """Everything about a sweep that has ended, ready to print."""
    made = [_head(found)]
    if found.splits[0].judge is None:
        made.append(_best(found))
    else:
        made += [_walk(found), _walked(found)]
    return [*made, _luck(found)]


def _head(found: Found) -> Table:
    rows = found.rows
    trials = {row.trial for row in rows}
    failed = sum(row.outcome.error is not None for row in rows)
    counts = (
        ("table", str(found.folder)),
        ("trials", f"{len(trials)}"),
        ("runs", f"{len(rows)}"),
        ("finished before", f"{found.again}"),
        ("failed", f"{failed}"),
        ("best is", f"the highest {found.goal}"),
    )
    return Table("Sweep", ("what", "value"), counts)


def _best(found: Found) -> Table:
    ranked = sorted(
        (row for row in found.rows if goal_of(row.outcome, found.goal) is not None), key=lambda row: _rank(row, found.goal)
    )
    rows = [(str(row.trial), *(row.settings[key] for key in found.keys), *_cells(row.outcome)) for row in ranked[:_BEST]]
    if not rows:  # what went wrong
        rows = [(str(row.trial), *(row.settings[key] for key in found.keys), *_cells(row.outcome)) for row in found.rows[:_BEST]]
    return Table(f"Best of {len(found.rows)} trials", ("trial", *found.keys, *_FIGURES), tuple(rows))


def _rank(row: Row, goal: str) -> tuple[Decimal | float, int]:
    value = goal_of(row.outcome, goal)
    assert value is not None
    return -value, row.trial


def _walk(found: Found) -> Table:
    rows = []
    for number, inside, outside in _chosen(found):
        head = (f"{number}", utc(outside.begin), str(inside.trial), *(inside.settings[key] for key in found.keys))
        rows.append((*head, _money(inside.outcome), _ratio(inside.outcome), *_cells(outside.outcome)))
    columns = ("split", "judged from", "trial", *found.keys, "chosen for: PnL", "Sharpe in it")
    return Table("Walk-forward: chosen in the windows before, judged in the next one", (*columns, *_FIGURES), tuple(rows))


def _walked(found: Found) -> Table:
    """All windows that judged, added up."""
    pairs = _chosen(found)
    values = [outside.outcome.trading_pnl for _, _, outside in pairs]
    known = [value for value in values if value is not None]
    total = f"{_cut(sum(known, Decimal(0)))} {_currency(found.rows)}" if len(known) == len(values) else "not valued in every window"
    rows = (
        ("windows that judged", f"{len(pairs)} of {len(found.splits)}"),
        ("with a profit", f"{sum(value > 0 for value in known)}"),
        ("trading PnL out of sample", total if pairs else "-"),
    )
    return Table("Out of sample", ("what", "value"), rows)


def _chosen(found: Found) -> list[tuple[int, Row, Row]]:
    """By split the trial that was chosen, where it was and where it was judged."""
    made = []
    for number in range(1, len(found.splits) + 1):
        mine = [row for row in found.rows if row.split == number and row.is_chosen]
        if len(mine) == 2:
            made.append((number, mine[0], mine[1]))
    return made


def _luck(found: Found) -> Table:
    """By split the best Sharpe ratio beside the number of trials that it is the best of, and what it is worth then."""
    rows = []
    for number in range(1, len(found.splits) + 1):
        mine = [row for row in found.rows if row.split == number and row.sample != "out"]
        tried = len({tuple(row.settings.values()) for row in mine})
        known = [(row.outcome.sharpe, -row.trial, row.outcome) for row in mine if row.outcome.sharpe is not None]
        if not known:
            rows.append((f"{number}", f"{tried}", "-", "undefined", "-", "-", "-"))
            continue
        sharpe, trial, outcome = max(known)
        bar = expected_best([one for one, _, _ in known], tried)
        series = Moments(outcome.observations or 0, outcome.sharpe, outcome.skewness, outcome.kurtosis)
        chance = None if bar is None else deflated(series, bar)
        cells = (f"{sharpe:.4f}", f"{series.observations}", _decimal(bar), _decimal(chance))
        rows.append((f"{number}", f"{tried}", f"{-trial}", *cells))
    head = ("split", "trials", "best trial", "its Sharpe", "observations", "best by chance", "deflated Sharpe")
    return Table("Best Sharpe ratio, of one period, and how many trials it is the best of", head, tuple(rows))


def _cells(outcome: Outcome) -> tuple[str, ...]:
    if outcome.error is not None:
        return ("-", "-", "-", "-", "-", outcome.error)
    return (f"{outcome.orders}", _decimal(outcome.fill_ratio), _money(outcome), _cut(outcome.drawdown), _ratio(outcome), "-")


def _money(outcome: Outcome) -> str:
    return "not valued: no mark" if outcome.trading_pnl is None else f"{_cut(outcome.trading_pnl)} {outcome.currency}"


def _ratio(outcome: Outcome) -> str:
    return "undefined" if outcome.sharpe is None else f"{outcome.sharpe:.4f}"


def _decimal(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _cut(value: Decimal | None) -> str:
    """Six decimals, rounded against us."""
    return "-" if value is None else f"{value.quantize(_CENT, 'ROUND_FLOOR'):f}"


def _currency(rows: Sequence[Row]) -> str:
    return next((row.outcome.currency for row in rows if row.outcome.currency is not None), "")
