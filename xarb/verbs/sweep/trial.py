"""One run of a sweep: a config over shared inputs, and its figures. Nothing of it is kept but these."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from decimal import Decimal
from itertools import chain
from typing import Any, Final, NamedTuple

import msgspec

from xarb.assembly import Assembly, Recording, ground_on
from xarb.assembly.resolved import Resolved, decode_config
from xarb.errors import ConfigError, InvariantBroken, LogError, XarbError
from xarb.log.canonical import OutputDigest
from xarb.model.units import MONEY_SCALE, NANOS_PER_S, format_decimal
from xarb.replay import Rows, replay
from xarb.summary import Summary, summary_of
from xarb.summary.curve import Curve
from xarb.summary.ratios import Period, period_of
from xarb.verbs.sweep.luck import moments
from xarb.verbs.sweep.tape import Part
from xarb.verbs.sweep.windows import Span

MAX_PERIODS: Final = 1_000_000


class Stage(NamedTuple):
    """What all trials share: the log, its inputs by window, and how their figures are stated.

    `currency` None is the first one of each run, `period_s` 0 the one that fits its length.
    """

    recording: Recording
    parts: Sequence[Part]
    currency: str | None
    period_s: int


class Task(msgspec.Struct, frozen=True, array_like=True):
    """A run to do: its number in the order in which runs were asked for, its windows, and its config as a run's header has it."""

    number: int
    first: int
    count: int
    config: dict[str, Any]


class Outcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The figures of a run, by the names that the summary of a backtest has; of one that failed `error` alone.

    Money is in `currency`; `trading_pnl` is None where no mark values it. `sharpe` is that of one
    period.
    """

    inputs: int | None = None
    wakes: int | None = None
    bundles: int | None = None
    episodes: int | None = None
    taken: int | None = None
    refused: int | None = None
    orders: int | None = None
    fill_ratio: float | None = None
    currency: str | None = None
    trading_pnl: Decimal | None = None
    peak: Decimal | None = None
    drawdown: Decimal | None = None
    edge_decided_bps: float | None = None
    edge_realised_bps: float | None = None
    fees: str | None = None
    period_s: int | None = None
    observations: int | None = None
    sharpe: float | None = None
    skewness: float | None = None
    kurtosis: float | None = None
    digest: str | None = None
    error: str | None = None


def goal_of(outcome: Outcome, goal: str) -> float | Decimal | None:
    """The figure by which trials are compared; None where it is undefined."""
    value: float | Decimal | None = getattr(outcome, goal)
    return value


def judged(stage: Stage, task: Task) -> Outcome:
    """Do one run. What is wrong with its config, or raised by a strategy of the user's own, is its outcome.

    Raises:
        LogError, InvariantBroken: these are no trial's own, and end the sweep.
    """
    try:
        return _figures(stage, decode_config(task.config), Span(task.first, task.count))
    except (LogError, InvariantBroken):
        raise
    except XarbError as error:
        return Outcome(error=f"{type(error).__name__}: {error}")
    finally:
        gc.collect()  # a run collects young garbage alone: its engine goes here


def _figures(stage: Stage, resolved: Resolved, span: Span) -> Outcome:
    parts = stage.parts[span.first : span.first + span.windows]
    assembly = Assembly(resolved, ground_on(resolved, stage.recording, parts[0].instruments))
    currency = assembly.currencies[0] if stage.currency is None else stage.currency
    if currency not in assembly.currencies:
        raise ConfigError(f"sweep.currency = {currency}: profit is stated in {', '.join(assembly.currencies)}")
    summary = summary_of(assembly)
    summary.equity[currency].curve = _curve(parts, stage.period_s)
    digest = OutputDigest()

    def keep(rows: Rows) -> None:
        digest.take(rows)
        summary.take(rows)

    inputs = replay(assembly, chain.from_iterable(part.batches for part in parts), keep)
    summary.finish()
    return _outcome(summary, currency, inputs=inputs, wakes=assembly.engine.wakes, digest=digest.hex())


def _curve(parts: Sequence[Part], period_s: int) -> Curve:
    begins, ends = parts[0].first_ts, parts[-1].last_ts
    period = Period(period_s, f"{period_s} s") if period_s else period_of(ends - begins)
    if (ends - begins) // (period.seconds * NANOS_PER_S) >= MAX_PERIODS:
        raise ConfigError(f"sweep.period_s: more than {MAX_PERIODS} periods; take longer ones")
    return Curve(begins, ends, period, points=1)


def _outcome(summary: Summary, currency: str, *, inputs: int, wakes: int, digest: str) -> Outcome:
    found, curve = summary.figures(currency), summary.equity[currency].curve
    assert curve is not None
    series = None if found.trading_pnl is None else moments(curve.changes())
    return Outcome(
        inputs=inputs,
        wakes=wakes,
        bundles=summary.bundles,
        episodes=found.episodes,
        taken=found.taken,
        refused=found.refused,
        orders=found.orders,
        fill_ratio=found.fill_ratio,
        currency=currency,
        trading_pnl=None if found.trading_pnl is None else _exact(found.trading_pnl),
        peak=_exact(found.peak),
        drawdown=_exact(found.drawdown),
        edge_decided_bps=found.edge_decided_bps,
        edge_realised_bps=found.edge_realised_bps,
        fees=", ".join(f"{format_decimal(fee, MONEY_SCALE)} {asset}" for asset, fee in sorted(found.fees.items())) or None,
        period_s=curve.period.seconds,
        observations=None if series is None else series.observations,
        sharpe=None if series is None else series.sharpe,
        skewness=None if series is None else series.skewness,
        kurtosis=None if series is None else series.kurtosis,
        digest=digest,
    )


def _exact(value: int) -> Decimal:
    return Decimal(format_decimal(value, MONEY_SCALE))
