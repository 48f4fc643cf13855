"""What was earned, by strategy, pair, time and cause: flows added up and valued at the marks of the summary, as the backtest values them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from typing import Final, NamedTuple

from xarb.model.units import NANOS_PER_S, PPB_PER_BPS
from xarb.summary import Summary
from xarb.summary.ratios import Hits
from xarb.verbs.report.bundles import CAUSES, Bundle, Flow
from xarb.verbs.report.timeline import Buckets

TRADES: Final = 3_000  # points in a plot of trades
_HOUR_NS: Final = 3_600 * NANOS_PER_S
UNVALUED: Final = "not valued"  # in the place of a currency


class Trade(NamedTuple):
    """One bundle with its worth.

    `edge_ppb` is the edge decided, as its opportunity has it; `realised_bps` net profit over half the turnover, where all of it is in one
    quote asset; `pnl` money in `currency`, None where an asset has no mark.
    """

    number: int
    ts: int
    strategy: str
    pair: str
    opportunity: int | None
    edge_ppb: int | None
    realised_bps: float | None
    turnover: int
    quote: str
    pnl: int | None
    currency: str
    moved: bool

    @property
    def edge_bps(self) -> float | None:
        """The edge decided in bps."""
        return None if self.edge_ppb is None else self.edge_ppb / PPB_PER_BPS


class Sum(NamedTuple):
    """What something earned: money in a currency, None where an asset has no mark; and how many bundles that is of."""

    name: str
    currency: str
    pnl: int | None
    bundles: int


class Earned(NamedTuple):
    """All of it.

    Attributes:
        currencies: those in which anything is valued, in the summary's order.
        strategies, pairs: sums.
        causes: by currency and cause.
        buckets: by currency, bucket and cause.
        hours: by currency and hour of the day, UTC.
        trades: those to be shown, in order of their numbers.
        shown_of: how many bundles there are.
        hits: by currency.
        unvalued: how many sums by cause, time or hour are left out because an asset of them has no mark.
    """

    currencies: list[str]
    strategies: list[Sum]
    pairs: list[Sum]
    causes: dict[str, dict[str, int]]
    buckets: dict[str, dict[int, dict[str, int]]]
    hours: dict[str, dict[int, int]]
    trades: list[Trade]
    shown_of: int
    hits: dict[str, Hits]
    unvalued: int


class _Adding:
    """Flows by what they are shown by."""

    def __init__(self) -> None:
        self.of: dict[tuple[str, str], Flow] = {}  # by strategy and pair
        self.count: Counter[tuple[str, str]] = Counter()
        self.by_bucket: dict[tuple[tuple[str, str], int, str], Flow] = {}  # by these, bucket and cause
        self.by_hour: dict[tuple[tuple[str, str], int], Flow] = {}

    def take(self, one: Bundle, bucket: int) -> None:
        """One more bundle."""
        key, hour = (one.strategy, one.pair), one.ts // _HOUR_NS % 24
        self.count[key] += one.number is not None
        for cause, flow in one.causes.items():
            if flow:
                self.of.setdefault(key, Counter()).update(flow)
                self.by_bucket.setdefault((key, bucket, cause), Counter()).update(flow)
                self.by_hour.setdefault((key, hour), Counter()).update(flow)


def earned(found: Iterable[Bundle], summary: Summary, buckets: Buckets, *, chosen: Collection[int], total: int) -> Earned:
    """Add up bundles.

    Args:
        found: all of them.
        summary: values flows.
        buckets: of the plots.
        chosen: the numbers of those that are shown in any case.
        total: how many there are; some of the rest are shown too.
    """
    adding, trades, every = _Adding(), list[Trade](), max(1, -(-total // TRADES))
    won, known, kept = Counter[str](), Counter[str](), frozenset(chosen)
    for one in found:
        adding.take(one, buckets.of(one.ts))
        if one.number is None:
            continue
        trade = _trade(one, summary)
        if trade.moved and trade.pnl is not None:
            known[trade.currency] += 1
            won[trade.currency] += trade.pnl > 0
        if one.number in kept or one.number % every == 0:
            trades.append(trade)
    currency_of = {key: worth(flow, summary)[1] for key, flow in adding.of.items()}
    used = [one for one in (*summary.equity, UNVALUED) if one in currency_of.values()]
    valued = [one for one in used if one != UNVALUED] or [*summary.equity][:1]
    causes: dict[str, dict[str, int]] = {one: dict.fromkeys(CAUSES, 0) for one in valued}
    by_bucket: dict[str, dict[int, dict[str, int]]] = {one: {} for one in valued}
    hours: dict[str, dict[int, int]] = {one: {} for one in valued}
    unvalued = 0
    for (key, bucket, cause), flow in sorted(adding.by_bucket.items(), key=_first):
        value = _value(flow, currency_of[key], summary)
        if value is None:
            unvalued += 1
            continue
        causes[currency_of[key]][cause] += value
        by_bucket[currency_of[key]].setdefault(bucket, dict.fromkeys(CAUSES, 0))[cause] += value
    for (key, hour), flow in sorted(adding.by_hour.items(), key=_first):
        value = _value(flow, currency_of[key], summary)
        if value is None:
            unvalued += 1
            continue
        hours[currency_of[key]][hour] = hours[currency_of[key]].get(hour, 0) + value
    return Earned(
        currencies=valued,
        strategies=_sums(adding, summary, 0),
        pairs=_sums(adding, summary, 1),
        causes=causes,
        buckets=by_bucket,
        hours=hours,
        trades=trades,
        shown_of=total,
        hits={one: Hits(won[one], known[one]) for one in valued},
        unvalued=unvalued,
    )


def _value(flow: Flow, currency: str, summary: Summary) -> int | None:
    return None if currency == UNVALUED else summary.total(flow, currency)


def _first(item: tuple[tuple[object, ...], Flow]) -> str:
    return repr(item[0])


def _sums(adding: _Adding, summary: Summary, place: int) -> list[Sum]:
    """By strategy (place 0) or pair (1)."""
    flows: dict[str, Flow] = {}
    counts: Counter[str] = Counter()
    for key, flow in adding.of.items():
        flows.setdefault(key[place], Counter()).update(flow)
    for key, count in adding.count.items():
        flows.setdefault(key[place], Counter())
        counts[key[place]] += count
    found = []
    for name, flow in sorted(flows.items()):
        pnl, currency = worth(flow, summary)
        found.append(Sum(name, currency, pnl, counts[name]))
    return found


def worth(flow: Flow, summary: Summary) -> tuple[int | None, str]:
    """A flow in the first currency that can value all of it."""
    for currency in summary.equity:
        value = summary.total(flow, currency)
        if value is not None:
            return value, currency
    return None, UNVALUED


def _trade(one: Bundle, summary: Summary) -> Trade:
    flow = one.flow
    pnl, currency = worth(flow, summary)
    net = summary.total(flow, one.quote) if one.quote else None
    assert one.number is not None
    return Trade(
        number=one.number,
        ts=one.ts,
        strategy=one.strategy,
        pair=one.pair,
        opportunity=one.opportunity,
        edge_ppb=one.edge_ppb,
        realised_bps=None if net is None or not one.turnover else net * 20_000 / one.turnover,
        turnover=one.turnover,
        quote=one.quote,
        pnl=pnl,
        currency=currency,
        moved=one.moved,
    )
