"""The made-up markets of a world: one instrument at two or three exchanges, and a gap between two of them every now and then."""

from __future__ import annotations

import random
from collections.abc import Iterator
from decimal import Decimal
from typing import Final, NamedTuple

import msgspec

from xarb.assembly.resolved import Resolved
from xarb.catalog import load_assets
from xarb.config import FeedConfig, RunConfig, VenueConfig
from xarb.config.breakers import BreakerConfig
from xarb.config.strategies import StrategyConfig
from xarb.model.instrument import FeeTier, Instrument
from xarb.model.units import MONEY_ONE, NANOS_PER_MS, NANOS_PER_S, Money
from xarb.simulation.exchange import FEE_PPB
from xarb.simulation.limits import limited

NAMES: Final = ("alpha", "bravo", "charlie")
STRATEGIES: Final = ("cross", "other")  # of one account: they spend the same money
PRICE: Final = 10_000  # cents
_SPREAD: Final = 4
_DAY_LOSS: Final = ("0.05", None, "1000", None, "1000", None)  # by seed: not drawn, so that worlds stay what they were
_NO_BREAKER: Final = BreakerConfig(
    errors=0, unknown=0, rejects=0, max_ack_ms=Decimal(0), min_feed_score=0, max_clock_offset_ms=Decimal(0), residual_held=False
)
_TIGHT: Final = BreakerConfig(
    errors=4,
    error_recovery_ms=Decimal(2_000),
    unknown=1,
    rejects=2,
    max_ack_ms=Decimal(300),
    pause_ms=Decimal(400),
    max_pause_ms=Decimal(1_500),
    residual_held=False,
)
_BREAKERS: Final = (_TIGHT, BreakerConfig(), msgspec.structs.replace(_TIGHT, residual_held=True), _NO_BREAKER)  # by seed, too
_LOTS: Final = 100_000  # of one BTC


class Move(NamedTuple):
    """A quote of an exchange (by number) at a time, ns."""

    ts: int
    exchange: int
    bid: int
    ask: int
    size: int


def instruments(count: int) -> list[Instrument]:
    """BTC/USDT on so many exchanges, in cents and hundred-thousandths."""
    return [
        Instrument(
            venue=name,
            symbol="BTC/USDT",
            native="BTCUSDT",
            kind="spot",
            base="BTC",
            quote="USDT",
            settle="USDT",
            px_scale=2,
            qty_scale=5,
            tick_int=1,
            lot_int=1,
            min_notional=Money(MONEY_ONE),
        )
        for name in NAMES[:count]
    ]


def moves(draw: random.Random, count: int, *, gaps: int) -> Iterator[Move]:
    """Quotes in order of time: everyone quotes, then gaps open and close."""
    ts, middle = 0, PRICE

    def quote(exchange: int, by: int) -> Move:
        nonlocal ts
        ts += draw.randrange(NANOS_PER_MS, 60 * NANOS_PER_MS)
        bid = middle + by
        return Move(ts, exchange, bid, bid + _SPREAD, draw.randrange(_LOTS // 20, 2 * _LOTS))

    for _ in range(2):
        for exchange in range(count):
            yield quote(exchange, 0)
    for _ in range(gaps):
        middle += draw.randrange(-10, 11)
        apart = draw.randrange(count)
        by = draw.choice([-1, 1]) * draw.randrange(35, 70)
        for exchange in range(count):
            yield quote(exchange, by if exchange == apart else 0)
        ts += draw.randrange(20 * NANOS_PER_MS, 500 * NANOS_PER_MS)
        yield quote(apart, draw.choice([0, by // 2]))


def more_moves(seed: int, count: int, after: int, *, odds: float) -> Iterator[Move]:
    """In some worlds the market goes on after a pause, so that a process that was started again trades as well; drawn apart."""
    draw = random.Random(f"further-on {seed}")  # noqa: S311  # a case is to be drawn again
    if draw.random() < odds:
        pause = draw.randrange(NANOS_PER_S // 2, 2 * NANOS_PER_S)
        for move in moves(draw, count, gaps=draw.randrange(2, 6)):
            yield move._replace(ts=after + pause + move.ts)


def later_moves(seed: int, count: int, after: int, pause_ns: int) -> Iterator[Move]:
    """Where there is a pause the market goes on behind it; drawn apart."""
    draw = random.Random(f"later {seed}")  # noqa: S311  # a case is to be drawn again
    if pause_ns:
        for move in moves(draw, count, gaps=draw.randrange(2, 5)):
            yield move._replace(ts=after + pause_ns + move.ts)


def resolved(draw: random.Random, seed: int, count: int) -> Resolved:
    """The config of a world: one or two strategies with limits and money that bind now and then."""
    strategies = {
        name: limited(seed, name, _strategy(draw, _DAY_LOSS[seed % len(_DAY_LOSS)])) for name in STRATEGIES[: draw.choice([1, 2])]
    }
    most = max(one.max_notional_quote for one in strategies.values())
    names = NAMES[:count]
    balances = {name: {"BTC": most / 100 * _share(draw), "USDT": most * _share(draw)} for name in names}
    feeds = FeedConfig(liveness_ms=Decimal(3_000), jump_bps=Decimal(0))
    return Resolved(
        run=RunConfig(seed=seed),
        venues={name: VenueConfig(fees="simulated") for name in names},
        feeds=feeds,
        venue_feeds=dict.fromkeys(names, feeds),
        breakers=_BREAKERS[seed % len(_BREAKERS)],
        venue_breakers={},
        accounts={"main": balances},
        pegs={},
        rates={},
        strategies=strategies,
        fees=dict.fromkeys(names, FeeTier(maker_ppb=FEE_PPB, taker_ppb=FEE_PPB, asset="received")),  # type: ignore[arg-type]  # parts per billion
        assets=tuple(one for one in load_assets().assets if one.id in ("BTC", "USDT")),
    )


def _share(draw: random.Random) -> Decimal:
    """How many of the largest legs an account can pay for."""
    return Decimal(draw.choice(["0.8", "1.3", "1.3", "4"]))


def _strategy(draw: random.Random, loss: str | None) -> StrategyConfig:
    notional = Decimal(draw.choice([20, 60, 150]))
    return StrategyConfig(
        kind="micro",
        min_profit_bps=Decimal(2),
        min_profit_quote=Decimal("0.001"),
        max_notional_quote=notional,
        open_bps=Decimal(3),
        scan_ms=Decimal(draw.choice([0, 250])),
        max_edge_bps=Decimal(200),
        latency_threshold_ms=Decimal(5_000),
        execution_timeout_ms=Decimal(draw.choice([100, 400, 1500])),
        max_open_bundles=draw.choice([1, 2, 4]),
        daily_volume_quote=notional * draw.choice([3, 30]),
        max_orders_per_s=draw.choice([4, 20]),
        cool_down_ms=Decimal(draw.choice([0, 300])),
        sequence=draw.choice(["simultaneous", "hard_leg_first"]),
        max_attempts=draw.choice([1, 3, 5]),
        max_cancels=draw.choice([1, 3]),
        retry_ms=Decimal(draw.choice([100, 500])),
        max_day_loss={} if loss is None else {"USDT": Decimal(loss)},
        max_exposure={"BTC": notional / 100 * Decimal(draw.choice(["0.6", "1.1", "1.6", "3"]))},
    )
