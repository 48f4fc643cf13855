"""What a calibration prints: observed beside fitted, what is not fitted and why, and what the model does to a backtest of the same time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from xarb.inquiry.sections import Section, millis
from xarb.model.units import PPB
from xarb.verbs.calibrate.comparing import Figure
from xarb.verbs.calibrate.fitting import Ratio, quantile, sums
from xarb.verbs.calibrate.learning import SIMULATED, Fit, Learnt
from xarb.verbs.calibrate.source import Part, named, spanned

_QUANTILES: Final = (0.1, 0.5, 0.9, 0.99)
_HEADS: Final = tuple(f"{side} p{int(share * 100)} ms" for share in _QUANTILES for side in ("observed", "fitted"))
Compared = Sequence[tuple[str, list[Figure], str | None]]


def sections(
    parts: Sequence[Part],
    learnt: Mapping[str, Learnt],
    fits: Mapping[str, Fit],
    compared: Compared,
    decayed: Mapping[str, Sequence[int]],
) -> list[Section]:
    """All tables; `decayed` is by venue what the model leaves of the book."""
    return [
        _logs(parts),
        _latencies(learnt, fits),
        _ratios(learnt, fits),
        _depth(learnt, fits, decayed),
        _notes(parts, learnt, fits, compared),
        *_comparison(compared),
    ]


def _logs(parts: Sequence[Part]) -> Section:
    rows = [(str(part.folder), part.number or None, part.mode, *spanned(part), len(part.orders)) for part in parts]
    return Section("logs", "What the model is learnt from", ("log", "start", "mode", "from", "to", "orders"), rows)


def _latencies(learnt: Mapping[str, Learnt], fits: Mapping[str, Fit]) -> Section:
    rows = []
    for venue, one in sorted(learnt.items()):
        fit = fits[venue]
        there, back = one.ways(fit.least)
        both = sums(fit.order, fit.response, least=max(fit.feed, default=0))
        for what, values, fitted in (
            ("feed: exchange to us", one.feed, fit.feed),
            ("order: decision to exchange", there, fit.order),
            ("response: exchange to us", back, _raised(fit)),
            ("decision to first word", one.heard, both),
            ("decision to first fill", one.filled, both),
            ("cancel: decision to end", one.canceled, both),
            ("of it our own: decision to network", one.own, None),
        ):
            if values:
                rows.append((venue, what, len(values), *_beside(values, fitted)))
    return Section("latencies", "Latencies, observed and as the model gives them", ("venue", "what", "observations", *_HEADS), rows)


def _raised(fit: Fit) -> list[int]:
    """The answers' latencies as the simulated venue has them: none below that of its slowest row."""
    return [max(value, *fit.feed[-1:]) if fit.feed else value for value in fit.response]


def _beside(values: Sequence[int], fitted: Sequence[int] | None) -> list[str | None]:
    ascending, other = sorted(values), sorted(fitted or ())
    return [millis(quantile(side, share)) for share in _QUANTILES for side in (ascending, other)]


def _ratios(learnt: Mapping[str, Learnt], fits: Mapping[str, Fit]) -> Section:
    rows: list[tuple[Any, ...]] = []
    for venue, one in sorted(learnt.items()):
        fit = fits[venue]
        if not one.orders + one.unanswered:
            continue
        ratios = one.refusals
        for reason, ratio in ratios.items():
            fitted = fit.refusals.get(reason)
            rows.append((venue, f"refused: {reason}", *_ratio(ratio), None if fitted is None else _percent(fitted / PPB)))
        for reason in SIMULATED:
            if one.refused[reason]:
                rows.append((venue, f"refused: {reason}", *_ratio(Ratio(one.refused[reason], one.orders)), "simulated"))
        rows.append((venue, "filled whole, of IOC and FOK", *_ratio(one.whole), None))
        asked = one.orders + one.unanswered
        for what, count in (
            ("never answered", one.unanswered),
            ("fate unknown for a time", one.unknown),
            ("heard of by asking", one.asked),
        ):
            rows.append((venue, what, *_ratio(Ratio(count, asked)), None))
    head = ("venue", "what", "count", "of", "observed %", "from %", "to %", "fitted %")
    return Section("ratios", "How often: observed with its interval at 95 %, and fitted", head, rows)


def _ratio(ratio: Ratio) -> tuple[Any, ...]:
    low, high = ratio.bounds or (None, None)
    return (ratio.hits, ratio.total, _percent(ratio.value), _percent(low), _percent(high))


def _depth(learnt: Mapping[str, Learnt], fits: Mapping[str, Fit], decayed: Mapping[str, Sequence[int]]) -> Section:
    rows: list[tuple[Any, ...]] = []
    for venue, one in sorted(learnt.items()):
        fit = fits[venue]
        shares = fit.shares or ((PPB,) if one.shares else ())
        for what, values, fitted in (
            ("still shown as the order came, of what was shown at its decision", one.decay, decayed.get(venue, ())),
            ("got by IOC and FOK orders, of what the book would have filled", one.shares, shares),
        ):
            if values:
                rows += [
                    (venue, what, side, len(table), *_spread(table))
                    for side, table in (("observed", values), ("fitted", fitted))
                    if table
                ]
    head = ("venue", "share", "side", "values", "p10 %", "p50 %", "p90 %", "mean %")
    return Section("depth", "What was left of the book", head, rows)


def _spread(values: Sequence[int]) -> list[str | None]:
    ascending = sorted(values)
    found = [quantile(ascending, share) for share in _QUANTILES[:3]]
    return [_percent(None if one is None else one / PPB) for one in (*found, sum(values) / len(values))]


def _notes(parts: Sequence[Part], learnt: Mapping[str, Learnt], fits: Mapping[str, Fit], compared: Compared) -> Section:
    rows: list[tuple[Any, ...]] = []
    for venue, one in sorted(learnt.items()):
        rows += [(venue, note) for note in _venue_notes(one, fits[venue])]
    rows += [(named(part), "the log is being written: what is not sealed yet is not read") for part in parts if part.is_open]
    if not any(part.mode == "live" for part in parts):
        rows.append((None, "nobody traded for real on these logs: of orders there is nothing to learn"))
    rows += [(name, f"no backtests: {why}") for name, _, why in compared if why is not None]
    return Section("notes", "What to know of it", ("of", "note"), rows)


def _venue_notes(one: Learnt, fit: Fit) -> list[str]:
    found = []
    few = f"too few observations, {fit.least} are needed; the config's stands"
    if not one.timed:
        found.append("feed latency is not fitted and stays as the config has it: no row has a time of the exchange")
    elif not fit.feed:
        found.append(f"feed latency is not fitted: {few}")
    middle = f"the middle one is {millis(sorted(one.offset_ns)[len(one.offset_ns) // 2])} ms" if one.offset_ns else ""
    found.append(
        f"the exchange's clock was measured {one.offsets} times and is subtracted; {middle}"
        if middle
        else "the exchange's clock was never measured: it is taken to be ours"
    )
    if late := sum(value < 0 for value in one.feed):
        found.append(f"{late} of {len(one.feed)} rows seem to come before the exchange had them; they count as at once")
    if not one.orders:
        return found
    if not fit.order:
        found.append(f"order and response latency are not fitted: {few}")
    elif one.is_split(fit.least):
        found.append("reports have no time of the exchange: the ways there and back are halves of the whole")
    if one.astray:
        found.append(
            f"{one.astray} orders seem to have come before they were decided on or after they were answered: the clocks are wrong by more than "
            "that; they count as at that moment"
        )
    if fit.feed and fit.response and (raised := sum(value < fit.feed[-1] for value in fit.response)):
        found.append(
            f"{raised} of {len(fit.response)} responses are quicker than the slowest row, to which the simulated venue raises them: {millis(fit.feed[-1])} ms"
        )
    if fit.feed and (cut := sum(value > fit.feed[-1] for value in one.feed)):
        found.append(
            f"{cut} of {len(one.feed)} rows were longer on their way than {millis(fit.feed[-1])} ms, to which the table is cut"
        )
    if not fit.is_of_refusals:
        found.append(f"refusals are not fitted: {few}")
    if len(one.shares) < fit.least:
        found.append(f"the share of the book is not fitted: {few}")
    elif not fit.shares:
        found.append("the share of the book is not fitted: every order got all that the book would have filled")
    if one.beyond:
        found.append(f"{one.beyond} orders got more than the book showed; they count as all of it")
    return found


def _comparison(compared: Compared) -> list[Section]:
    rows: list[tuple[Any, ...]] = []
    for name, figures, _ in compared:
        for one in figures:
            values = (one.live, one.without, one.fitted, one.before, one.after)
            rows.append((name, one.name, *map(_number, values), one.moved))
    head = ("of", "figure", "live", "without", "with", "distance without", "distance with", "moved")
    counts = [
        (name, *(sum(one.moved == word for one in figures) for word in ("closer", "farther", "same")))
        for name, figures, _ in compared
        if figures
    ]
    return [
        Section(
            "comparison", "Backtests of the same time, without and with the model (in sample: it was learnt from it)", head, rows
        ),
        Section("moved", "Figures that the model moved", ("of", "closer to live", "farther from it", "as far"), counts),
    ]


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.6f}".rstrip("0").rstrip(".") if not isinstance(value, int) else str(value)


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{math.floor(share * 1e6 + 0.5) / 1e4:.4f}"
