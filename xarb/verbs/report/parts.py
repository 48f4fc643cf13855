"""One run or start made into its part of the page: figures reckoned, plots and tables made of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from xarb.console import Advance, Table, utc
from xarb.inquiry.decided import Decided
from xarb.summary import money
from xarb.summary.curve import Curve
from xarb.summary.ratios import YEAR_S, Ratios, ratios_of
from xarb.verbs.report import dots, overtime, totals
from xarb.verbs.report.bundles import bundles
from xarb.verbs.report.drawing import Figure
from xarb.verbs.report.drawing import money as as_float
from xarb.verbs.report.earned import Earned, Trade, earned
from xarb.verbs.report.page import Line, Part
from xarb.verbs.report.panels import Chosen, panels
from xarb.verbs.report.replayed import Replayed, replayed
from xarb.verbs.report.timeline import Counted, Latency, balances, buckets_of, feeds, gaps, latencies, opportunities

UNDEFINED: Final = "undefined"
_COLUMNS: Final = (
    *("bundle", "time", "strategy", "pair or cycle", "edge decided, bps", "edge realised, bps", "turnover", "PnL", "currency"),
    "opportunity",
)
_SHARES: Final = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999))


class Reckoned(NamedTuple):
    """A part of the page with its key figures, by name in order, its curves, and whether every row came again."""

    part: Part
    key_figures: dict[str, str]
    curves: dict[str, Curve]
    is_proven: bool


def reckoned(decided: Decided, name: str, notes: Sequence[str], most: int, advance: Advance) -> Reckoned:
    """Reckon and draw a run or start.

    Args:
        decided: it.
        name: as it is called on the page.
        notes: what is to be said of it.
        most: how many trades get a panel at most.
        advance: told how far the replay is.

    Raises:
        LogError: a file is damaged.
        Refused: inputs were pruned, or the log is not the run's.
    """
    chosen = Chosen(decided, most)
    again = replayed(decided, chosen, advance)
    advance(1, 1, f"{name}: figures")
    buckets = buckets_of(again.begins, again.ends)
    found = earned(bundles(decided, again.assets, again.alike), again.summary, buckets, chosen=chosen.numbers, total=chosen.total)
    counted = opportunities(decided, buckets)
    advance(1, 1, f"{name}: latencies")
    durations = latencies(decided, again.begins, again.ends)
    told = feeds(decided, again.begins, again.ends)
    drift = balances(decided, again.opening, buckets)
    over_time = [
        *overtime.equity(again.curves, drawn(again)),
        *overtime.over_time(found, buckets),
        *dots.trades(found),
        *overtime.opportunities(counted, buckets),
        *(one for currency in found.currencies for one in overtime.inventory(drift, again.summary, currency, buckets, again.ends)),
        overtime.band(told, gaps(decided, again.begins, again.ends), again.begins, again.ends),
    ]
    others = [
        dots.edges(found),
        *totals.causes(found),
        *totals.sums("strategies", "PnL by strategy", found.strategies),
        *totals.sums("pairs", "PnL by venue pair or cycle", found.pairs),
        *totals.hours(found),
        *totals.latencies(durations),
    ]
    advance(1, 1, f"{name}: trades")
    part = Part(
        name=name,
        notes=[*notes, f"Rows: {again.proof}."],
        warnings=_warnings(again, found),
        begins=again.begins,
        ends=again.ends,
        figures=[*over_time, *others],
        strip=overtime.strip(told),
        columns=_COLUMNS,
        lines=[_line(one) for one in found.trades if one.number in frozenset(chosen.numbers)],
        panels=panels(decided, chosen.numbers, again.moments),
        bundles=chosen.total,
        tables=[*again.tables, causes_of(found), latencies_of(durations)],
    )
    return Reckoned(part, key_figures(again, found, counted), again.curves, again.equal)


def _warnings(again: Replayed, found: Earned) -> list[str]:
    """What must not be overlooked."""
    made = [] if again.equal else [f"Not proven: {again.proof}."]
    if found.unvalued:
        made.append(f"PnL by cause, time and hour leaves out {found.unvalued} sums of which an asset has no mark.")
    return made


def drawn(again: Replayed) -> list[str]:
    """The currencies that have a curve."""
    with_points = [currency for currency, curve in again.curves.items() if curve.taken > 1]
    return with_points or [*again.curves][:1]


def key_figures(again: Replayed, found: Earned, counted: Sequence[Counted]) -> dict[str, str]:
    """By name in order: what a run came to, currency by currency, and its opportunities."""
    made = {"from": utc(again.begins), "to": utc(again.ends)}
    for currency in [one for one in again.curves if one in found.currencies or one in drawn(again)]:
        made |= _of_currency(again, found, currency)
    made["opportunities found"] = str(counted[0].total)
    made["taken"] = str(counted[1].total)
    made["refused"] = str(sum(one.total for one in counted[2:]))
    reasons = ", ".join(f"{one.what} {one.total}" for one in counted[2:5])
    made["refused most for"] = reasons or "-"
    return made


def _of_currency(again: Replayed, found: Earned, currency: str) -> dict[str, str]:
    equity, period = again.summary.equity[currency], again.period
    is_valued = equity.last is not None
    ratios = ratios_of(again.curves[currency].changes(), period) if is_valued else Ratios(None, None, 0)
    hits = found.hits.get(currency)
    known = f"{hits.known} bundles" if hits else "no bundles"
    changes = f"{ratios.observations} changes, one a {period.word}"
    made = {
        "trading PnL": money(equity.last) if equity.last is not None else f"{UNDEFINED}: an asset has no mark",
        "peak": money(equity.peak),
        "largest drawdown": money(equity.drawdown),
        "Sharpe ratio, a year": _of_year(ratios.sharpe, changes),
        "Sharpe ratio, a period": _ratio(
            None if ratios.sharpe is None else ratios.sharpe * (period.seconds / YEAR_S) ** 0.5, changes
        ),
        "Sortino ratio, a year": _of_year(ratios.sortino, changes),
        "Sortino ratio, a period": _ratio(
            None if ratios.sortino is None else ratios.sortino * (period.seconds / YEAR_S) ** 0.5, changes
        ),
        "hit ratio": f"{UNDEFINED} (no bundles)"
        if hits is None or hits.ratio is None
        else f"{hits.ratio:.4f} ({hits.won} of {known})",
    }
    if currency in found.causes:
        made |= {f"PnL of {cause}": money(value) for cause, value in found.causes[currency].items()}
    return {f"{what}, {currency}": value for what, value in made.items()}


def _of_year(value: float | None, observed: str) -> str:
    return _ratio(value, observed)


def _ratio(value: float | None, observed: str) -> str:
    return f"{UNDEFINED} ({observed})" if value is None else f"{value:,.4f} ({observed})"


def _line(one: Trade) -> Line:
    pnl = "-" if one.pnl is None else money(one.pnl)
    cells: tuple[tuple[str, float | str], ...] = (
        (str(one.number), one.number),
        (utc(one.ts), str(one.ts)),
        (one.strategy, one.strategy),
        (one.pair, one.pair),
        _bps(one.edge_bps),
        _bps(one.realised_bps),
        (f"{money(one.turnover)}", as_float(one.turnover)),
        (pnl, "-" if one.pnl is None else as_float(one.pnl)),
        (one.currency, one.currency),
        ("-" if one.opportunity is None else str(one.opportunity), "-" if one.opportunity is None else float(one.opportunity)),
    )
    return Line(one.number, cells)


def _bps(value: float | None) -> tuple[str, float | str]:
    return ("-", "-") if value is None else (f"{value:.3f}", value)


def causes_of(found: Earned) -> Table:
    """PnL by cause, as a table."""
    rows = [(cause, money(value), currency) for currency, sums in found.causes.items() for cause, value in sums.items()]
    rows += [("trading PnL of bundles", money(sum(sums.values())), currency) for currency, sums in found.causes.items()]
    return Table("PnL by cause", ("cause", "PnL", "currency"), tuple(rows))


def latencies_of(durations: Sequence[Latency]) -> Table:
    """Quantiles of latencies, as a table."""
    rows = tuple(
        (
            one.what,
            one.where,
            str(one.number),
            *(_ms(one.quantile(share)) for _, share in _SHARES),
            _ms(one.largest),
            str(one.not_above_zero),
        )
        for one in durations
    )
    return Table("Latencies in ms", ("what", "where", "number", *(word for word, _ in _SHARES), "largest", "not above zero"), rows)


def _ms(nanos: int | None) -> str:
    return "-" if nanos is None else f"{nanos / 1e6:.3f}"


def compared(found: Sequence[Reckoned]) -> tuple[Table, list[Figure]]:
    """Key figures with a column for each, and, of several, their curves in one plot."""
    names = list(dict.fromkeys(name for one in found for name in one.key_figures))
    rows = tuple((name, *(one.key_figures.get(name, "-") for one in found)) for name in names)
    table = Table("Key figures", ("figure", *(one.part.name for one in found)), rows)
    return table, overtime.compared([(one.part.name, one.curves) for one in found]) if len(found) > 1 else []
