"""The diff verb: two runs or starts over one market, every difference with one cause, and what each cause makes of the money."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from xarb.errors import ConfigError, InvariantBroken, Refused
from xarb.inquiry.causes import CAUSES, Comparison, Difference, total_of
from xarb.inquiry.course import Course, Decision, Flow, Order, course_of
from xarb.inquiry.cyclecauses import DECLARED
from xarb.inquiry.cyclecourse import Chance, Choice, Cycle
from xarb.inquiry.cycleshown import acts_of, cycle_section, told
from xarb.inquiry.decided import Decided, open_decided
from xarb.inquiry.receipts import Aligned, ReceiptComparison, receipt_section, told_by
from xarb.inquiry.sections import Section, amount, bps, millis, moment_of
from xarb.inquiry.swapcourse import PURPOSE
from xarb.log.manifest import Manifest
from xarb.model.units import MONEY_ONE, MONEY_SCALE, format_decimal

_ABSENT: Final = "none"


class Outcome(NamedTuple):
    """Whether both sides are equal but for declared differences, the differences in order of time, and tables that say so."""

    equal: bool
    differences: list[Difference]
    sections: list[Section]


def diff(a: Path, b: Path, *, log: Path | None = None, start: int | None = None) -> Outcome:
    """Compare side A (as a rule the live log) with side B (its backtest).

    Args:
        a: a run or a live log.
        b: another.
        log: the input log of the runs, where it does not lie where they say.
        start: which start of a live log.

    Raises:
        ConfigError: one of them is neither, or which start is meant must be said.
        LogError: one of them is damaged.
        Refused: inputs of one of them were pruned, or a run's log is another one.
    """
    if a.resolve() == b.resolve():
        raise ConfigError(f"{a} is given twice")
    with _opened(a, log, start) as mine, _opened(b, log, start) as theirs:
        for side in (mine, theirs):
            pruned = side.pruned()
            if pruned is not None:  # it would look like missing data, and what rests on it could not be told
                raise Refused(f"{side.title} cannot be compared any more: {pruned}")
        courses = (course_of(mine), course_of(theirs))
        found = Comparison((mine, theirs), courses)
        total = _minus(courses[1].total, courses[0].total)
        summed = {asset: change for asset, change in total_of(found.differences).items() if change}
        if summed != total:
            raise InvariantBroken(f"the causes add up to {summed}, the ledgers differ by {total}")
        differences = found.differences
        receipts = _receipts((mine, theirs), found)
        sections = [
            _sides((mine, theirs), courses),
            _configs(found),
            _inputs(found),
            _counts(found),
            _money(courses, summed),
            *_by_cause(differences),
            _worth((mine, theirs), courses, differences),
            cycle_section(found.cycles),
            receipt_section(receipts),
            Section("differences", "Differences in order of time", _HEAD, [_line(one) for one in differences]),
        ]
        return Outcome(receipts.is_explained and all(one.root in DECLARED for one in differences), differences, sections)


def _opened(folder: Path, log: Path | None, start: int | None) -> Decided:
    is_run = Manifest(folder).header.kind == "run"
    return open_decided(folder, log=log if is_run else None, start=None if is_run else start)


def _receipts(sides: tuple[Decided, Decided], found: Comparison) -> ReceiptComparison:
    """What blocks say of the orders that belong together."""
    cycles = [Aligned("cycle", _number(a), _number(b), booked=(_booked(a), _booked(b))) for a, b in found.cycles.pairs]
    swaps = [Aligned("swap", _number(a), _number(b)) for a, b in found.swaps]
    causes = [
        (side, number, one.what, one.cause)
        for one in found.differences
        for side, shown in enumerate((one.a, one.b))
        for number in _orders_of(shown)
    ]
    return ReceiptComparison((told_by(sides[0]), told_by(sides[1])), cycles + swaps, causes)


def _number(one: Cycle | Order | None) -> int | None:
    return None if one is None else one.number


def _booked(one: Cycle | None) -> dict[str, int | None] | None:
    return None if one is None else {"gas_used": one.gas_used, "gas_price_wei": one.price_wei, "profit": one.profit}


def _orders_of(shown: Any) -> list[int]:
    """The numbers of the orders that a side of a difference is about."""
    if isinstance(shown, Choice):
        return [] if shown.cycle is None else [shown.cycle.number]
    if isinstance(shown, Decision):
        return [order.number for order in shown.orders]
    return [shown.number] if isinstance(shown, Cycle | Order) else []


# --- tables


def _sides(sides: tuple[Decided, Decided], courses: tuple[Course, Course]) -> Section:
    rows = [
        (name, side.title, str(side.log), moment_of(course.first_ts), moment_of(course.last_ts), str(side.code_digest)[:16])
        for name, side, course in zip("AB", sides, courses, strict=True)
    ]
    return Section("sides", "What is compared", ("side", "what", "inputs", "from", "to", "code"), rows)


def _configs(found: Comparison) -> Section:
    rows = [(key, _plain(mine), _plain(theirs)) for key, mine, theirs in found.configs.different]
    return Section("config", "Keys that differ", ("key", "A", "B"), rows)


def _plain(value: Any) -> str | None:
    return None if value is None else str(value)


def _inputs(found: Comparison) -> Section:
    rows = [(*key, count) for key, count in sorted(found.inputs.rows.items(), key=str)] + acts_of(found.cycles)
    return Section("inputs", "Market inputs that only one side has", ("kind", "venue", "symbol", "side", "rows"), rows)


def _counts(found: Comparison) -> Section:
    differ: defaultdict[str, int] = defaultdict(int)
    for one in found.differences:
        differ[{"opportunity": "opportunities", "decision": "decisions"}.get(one.what, "orders")] += 1
    rows = [
        (what, *(found.counts.get((what, where), 0) for where in ("both", "only A", "only B")), differ[what])
        for what in ("opportunities", "decisions", "orders")
    ]
    return Section("aligned", "What was aligned", ("what", "in both", "only in A", "only in B", "differences"), rows)


def _money(courses: tuple[Course, Course], summed: Flow) -> Section:
    a, b = courses[0].total, courses[1].total
    rows = []
    for asset in sorted({*a, *b}):
        mine, theirs = a.get(asset, 0), b.get(asset, 0)
        rows.append((asset, amount(mine), amount(theirs), amount(theirs - mine), amount(summed.get(asset, 0))))
    return Section(
        "money", "What orders changed, asset by asset, fees included", ("asset", "A", "B", "B - A", "sum of causes"), rows
    )


def _by_cause(differences: list[Difference]) -> list[Section]:
    """Counts and money by cause, each difference under its own, and again under the root from which it follows."""
    causes: defaultdict[tuple[str, str | None], list[Difference]] = defaultdict(list)
    roots: defaultdict[tuple[str, str | None], list[Difference]] = defaultdict(list)
    for one in differences:
        causes[one.cause, one.root if one.of is not None else None].append(one)
        roots[one.root, None].append(one)
    head = ("cause", "of", "differences", "asset", "B - A")
    return [
        Section("causes", "Causes, and what each makes of the money", head, _summed(causes)),
        Section("roots", "Roots: each cause with all that followed from it", head, _summed(roots)),
    ]


def _summed(groups: Mapping[tuple[str, str | None], list[Difference]]) -> list[tuple[Any, ...]]:
    """A row for each group and asset, in the order of the causes; one without money where there is none."""
    order = list(CAUSES)
    rows: list[tuple[Any, ...]] = []
    for (cause, of), found in sorted(
        groups.items(), key=lambda item: (order.index(item[0][0]), order.index(item[0][1] or item[0][0]))
    ):
        flow = {asset: change for asset, change in sorted(total_of(found).items()) if change}
        rows += [(cause, of, len(found), asset, amount(change)) for asset, change in flow.items()] or [
            (cause, of, len(found), None, None)
        ]
    return rows


def _worth(sides: tuple[Decided, Decided], courses: tuple[Course, Course], differences: list[Difference]) -> Section:
    """The roots again, in each currency: at the price of the last fill, unrounded, so that the sums stay exact; what has none is told."""
    rows: list[tuple[Any, ...]] = []
    traded = sorted({quote for course in courses for _, quote in course.fills})
    for currency in sides[0].resolved.run.currencies or traded:
        prices = courses[1].prices(currency) | courses[0].prices(currency) | {currency: MONEY_ONE}
        roots: defaultdict[str, int] = defaultdict(int)
        unpriced = sorted({asset for one in differences for asset in one.flow if asset not in prices})
        if unpriced:
            rows.append((f"not valued: no fill of ours prices {', '.join(unpriced)}", currency, None))
            continue
        for one in differences:
            roots[one.root] += sum(change * prices[asset] for asset, change in one.flow.items())
        rows += [(root, currency, format_decimal(roots[root], 2 * MONEY_SCALE)) for root in CAUSES if root in roots]
        rows.append(("all", currency, format_decimal(sum(roots.values()), 2 * MONEY_SCALE)))
    title = "Roots at the last price of our fills, side A's first"
    return Section("worth", title, ("cause", "currency", "B - A"), rows)


_HEAD: Final = ("number", "ts", "what", "strategy", "cause", "because", "of", "A", "B", "B - A")


def _line(one: Difference) -> tuple[Any, ...]:
    money = ", ".join(f"{amount(change)} {asset}" for asset, change in one.flow.items())
    shown = (_told(one.what, one.a), _told(one.what, one.b))
    return (one.number, moment_of(one.ts), one.what, one.strategy, one.cause, one.because, one.of, *shown, money or None)


def _told(what: str, side: Any) -> str:
    if side is None:
        return _ABSENT
    if isinstance(side, Decision):
        taken = f"bundle {side.bundle}: " + "; ".join(_asked(order) for order in side.orders if order.ts == side.ts)
        verdict = taken if side.verdict == "taken" else f"refused: {side.reason}"
        return f"{moment_of(side.ts)} {verdict}, at an edge of {bps(side.basis[0]) if side.basis else None} bps"
    if isinstance(side, Order):
        return _asked(side) if what == "order" else _became(what, side)
    if isinstance(side, Chance | Choice | Cycle):
        return told(side, what)
    number, opened, closed = side
    ended = "open" if closed is None else f"{moment_of(closed[0])} {closed[1]}"
    return f"opportunity {number}: {moment_of(opened[0])} at {bps(opened[1])} bps to {ended}"


def _asked(order: Order) -> str:
    side, _, price, qty = order.plan
    if order.purpose == PURPOSE:
        return f"order {order.number} swap of {qty}@{order.market[0]}: {side}"
    return f"order {order.number} {order.purpose} {side} {amount(qty)} {order.market[1]}@{order.market[0]} at {amount(price)}"


def _became(what: str, order: Order) -> str:
    if what == "fee":
        return f"order {order.number}: " + (
            ", ".join(f"{amount(-fee)} {asset}" for asset, fee in sorted(order.fees.items())) or "no fee"
        )
    if order.purpose == PURPOSE:
        made = ", ".join(f"{amount(change)} {asset}" for asset, change in sorted(order.trades.items())) or "nothing"
        return f"order {order.number}: {order.state}" + (f" ({order.reason})" if order.reason else "") + f", {made}"
    fills = " + ".join(f"{amount(fill.qty)} at {amount(fill.price)}" for fill in order.fills) or "no fill"
    reason = f" ({order.reason})" if order.reason else ""
    return f"order {order.number}: {order.state}{reason}, {fills}, heard of after {millis(order.heard_ns)} ms"


def _minus(one: Flow, other: Flow) -> Flow:
    found = {asset: one.get(asset, 0) - other.get(asset, 0) for asset in sorted({*one, *other})}
    return {asset: change for asset, change in found.items() if change}
