"""What an engine is built from, and how it is laid into the kernel's memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, Final

import msgspec
import numpy as np

from xarb.engine.kernel import state
from xarb.engine.strategy import Pair, Strategy
from xarb.engine.terms import StrategyTerms
from xarb.errors import ConfigError
from xarb.model.instrument import FeeTier, Instrument
from xarb.model.units import INT64_MAX, NANOS_PER_MS, NANOS_PER_S, NEVER, NULL, PPB, Money

FULL_SCORE: Final = 1000
_MEANS: Final = ("mean_latency", "mean_depth", "mean_uptime", "mean_rejects", "mean_gaps")
_UNKNOWN: Final = ("bid", "bid_qty", "ask", "ask_qty", "ts_change", "venue_seq", "trade_id")
_FILTER_MARGIN: Final = 1e-12
MAX_SCALE_GAP: Final = 9
MAX_STRATEGIES: Final = 62  # one bit each in an instrument's event mask


class FeedLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of validation and quality for one instrument; times in ns, ratios in ppb, the score runs from 0 to 1000."""

    liveness_ns: int = NANOS_PER_S
    max_latency_ns: int = 500 * NANOS_PER_MS
    future_ns: int = 50 * NANOS_PER_MS
    freeze_ns: int = 300 * NANOS_PER_S
    freeze_moves: int = 20
    outlier_mads: int = 8
    outlier_floor_ppb: int = 20_000_000
    spread_multiple: int = 20
    off_market_ppb: int = 10_000_000
    quality_floor: int = 500
    score_ns: int = NANOS_PER_S


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that an engine needs before its first input.

    `instruments` are numbered as the log numbers them. `groups` are sets of instruments proven to be the same thing. `sources`
    says which kind of row moves each instrument's book: 0 quotes, 1 books, 2 deltas. `fees` are by (account, instrument number),
    `opening` balances by (account, venue, asset), `terms` by strategy id. `rates` name by (venue, fee coin, quote asset) the
    instrument of that venue whose bid prices a fee coin, as the simulated venue's setup does.
    """

    instruments: Sequence[Instrument]
    groups: Sequence[Sequence[int]]
    sources: Sequence[int]
    limits: Sequence[FeedLimits]
    fees: Mapping[tuple[str, int], FeeTier]
    opening: Mapping[tuple[str, str, str], Money]
    connections: int
    log_id: str
    start: int = 1
    terms: Mapping[str, StrategyTerms] = {}
    rates: Mapping[tuple[str, str, str], int] = {}


def build_state(setup: Setup, strategies: Sequence[Strategy]) -> tuple[state.KernelState, list[tuple[str, Pair]]]:
    """The kernel's memory before the first input, and the pairs by kernel number.

    Raises:
        ConfigError: more strategies than event bits, or a pair whose price scales differ too much to be compared exactly.
    """
    if len(strategies) > MAX_STRATEGIES:
        raise ConfigError(f"{len(strategies)} strategies; one engine runs at most {MAX_STRATEGIES}")
    wanted = [(pair, index, number) for index, s in enumerate(strategies) for number, pair in enumerate(s.wakes().pairs)]
    wanted.sort(key=lambda item: (item[0].sell, item[1], item[2]))
    count = len(setup.instruments)
    slots = [i for i in range(count) if setup.sources[i] != state.SOURCE_QUOTES]
    members = [number for group in setup.groups for number in group]
    kernel = state.KernelState(
        {
            state.INSTRUMENTS: count,
            state.PAIRS: len(wanted),
            state.BUYS: len(wanted),
            state.CONNECTIONS: setup.connections,
            state.STRATEGIES: len(strategies),
            state.GROUPS: len(setup.groups),
            state.MEMBERS: len(members),
            state.SCRATCH: max(count, state.SPREAD_SAMPLES) + 1,
            state.BOOK_PX: len(slots),
            state.BOOK_QTY: len(slots),
        }
    )
    _lay_world(kernel, counts=(count, len(wanted), setup.connections, len(strategies)))
    _lay_instruments(kernel, setup, slots)
    _lay_groups(kernel, setup.groups)
    _lay_strategies(kernel, strategies)
    _lay_pairs(kernel, setup.instruments, wanted)
    return kernel, [(strategies[index].id, pair) for pair, index, _ in wanted]


def _lay_world(kernel: state.KernelState, *, counts: tuple[int, int, int, int]) -> None:
    world = kernel.world
    world["next_deadline"] = world["next_timer"] = world["stop_ts"] = world["next_event"] = NEVER
    world["last_seq"] = -1
    for table, count in zip((state.INSTRUMENTS, state.PAIRS, state.CONNECTIONS, state.STRATEGIES), counts, strict=True):
        world["count"][table] = count


def _lay_instruments(kernel: state.KernelState, setup: Setup, slots: Sequence[int]) -> None:
    table: Any = kernel.tables[state.INSTRUMENTS]
    for name in _UNKNOWN:
        table[name] = NULL
    table["conn"] = -1
    table["slot"] = -1
    table["float_ask"] = np.inf
    table["score"] = FULL_SCORE
    for name in _MEANS:
        table[name] = FULL_SCORE * 256
    for number, instrument in enumerate(setup.instruments):
        record = table[number]
        for field in msgspec.structs.fields(FeedLimits):
            record[field.name] = getattr(setup.limits[number], field.name)
        record["source"] = setup.sources[number]
        lay_steps(record, instrument)
    for slot, number in enumerate(slots):
        table[number]["slot"] = slot


def lay_steps(record: np.void, instrument: Instrument) -> None:
    """Write what depends on the instrument's scales and steps into its record."""
    record["float_unit"] = 10.0**-instrument.px_scale
    record["tick"] = instrument.tick_int or 0
    record["lot"] = instrument.lot_int or 0


def _lay_groups(kernel: state.KernelState, groups: Sequence[Sequence[int]]) -> None:
    at = 0
    for number, group in enumerate(groups):
        record = kernel.tables[state.GROUPS][number]
        record["member_from"], record["member_to"] = at, at + len(group)
        for member in group:
            kernel.tables[state.MEMBERS][at] = member
            kernel.tables[state.INSTRUMENTS][member]["group"] = number
            at += 1


def lay_mid_units(kernel: state.KernelState, groups: Sequence[Sequence[int]], instruments: Sequence[Instrument]) -> None:
    """Mids of a group are compared at its coarsest price scale."""
    for group in groups:
        coarsest = min(instruments[i].px_scale for i in group)
        for i in group:
            kernel.tables[state.INSTRUMENTS][i]["mid_unit"] = 10 ** (instruments[i].px_scale - coarsest)


def _lay_strategies(kernel: state.KernelState, strategies: Sequence[Strategy]) -> None:
    for number, strategy in enumerate(strategies):
        wakes = strategy.wakes()
        record = kernel.tables[state.STRATEGIES][number]
        for field in ("timer_ns", "min_life_ns", "improve_ppb", "max_edge_ppb"):
            record[field] = getattr(wakes, field)
        record["needs_edge"] = int(wakes.timer_needs_edge)
        record["on_edge"] = int(wakes.on_edge)
        if wakes.timer_ns > 0 and not wakes.timer_needs_edge:
            record["next_timer"] = 0
        for instrument in wakes.every_event:
            kernel.tables[state.INSTRUMENTS][instrument]["events"] |= 1 << number


def _lay_pairs(kernel: state.KernelState, instruments: Sequence[Instrument], wanted: Sequence[tuple[Pair, int, int]]) -> None:
    table = kernel.tables[state.PAIRS]
    records = kernel.tables[state.INSTRUMENTS]
    for at, (pair, strategy, number) in enumerate(wanted):
        record = table[at]
        record["sell"], record["buy"] = pair.sell, pair.buy
        record["strategy"], record["number"] = strategy, number
        lay_thresholds(record, pair, instruments)
    buys = sorted(range(len(wanted)), key=lambda at: (wanted[at][0].buy, at))
    for position, at in enumerate(buys):
        kernel.tables[state.BUYS][position] = at
    for number in range(len(instruments)):
        sells = [at for at, item in enumerate(wanted) if item[0].sell == number]
        bought = [position for position, at in enumerate(buys) if wanted[at][0].buy == number]
        for side, places in (("sell", sells), ("buy", bought)):
            records[number][f"{side}_from"] = places[0] if places else 0
            records[number][f"{side}_to"] = places[-1] + 1 if places else 0


def lay_thresholds(record: np.void, pair: Pair, instruments: Sequence[Instrument]) -> None:
    """Write a pair's exact thresholds for the present price scales.

    bid * (1 - fee_sell) >= ask * (1 + fee_buy) * (1 + threshold), with prices in quote units, becomes
    bid_int * left >= ask_int * right.

    Raises:
        ConfigError: the price scales differ by more than 9 decimals.
    """
    sell, buy = instruments[pair.sell], instruments[pair.buy]
    gap = buy.px_scale - sell.px_scale
    if abs(gap) > MAX_SCALE_GAP:
        raise ConfigError(
            f"{sell.id} and {buy.id}: price scales {sell.px_scale} and {buy.px_scale} differ by more than {MAX_SCALE_GAP}"
        )
    unit = Fraction(10) ** gap
    for name, threshold in (("open", pair.open_ppb), ("close", pair.close_ppb)):
        ratio = Fraction((PPB + pair.buy_fee_ppb) * (PPB + threshold), (PPB - pair.sell_fee_ppb) * PPB) / unit
        left, right = _fit(ratio)
        record[f"{name}_left"], record[f"{name}_right"] = left, right
    real = Fraction((PPB + pair.buy_fee_ppb) * (PPB + pair.open_ppb), (PPB - pair.sell_fee_ppb) * PPB)
    record["open_low"] = float(real) * (1.0 - _FILTER_MARGIN)
    record["edge_left"] = PPB * 10**gap if gap > 0 else PPB
    record["edge_right"] = 10**-gap if gap < 0 else 1


def _fit(ratio: Fraction) -> tuple[int, int]:
    """(left, right), both int64, with right / left equal to `ratio`, or above it by less than 1e-17 where it cannot be equal."""
    right, left = ratio.numerator, ratio.denominator
    if left <= INT64_MAX and right <= INT64_MAX:
        return left, right
    left = 10**18
    while -(-left * ratio.numerator // ratio.denominator) > INT64_MAX:
        left //= 10
    return left, -(-left * ratio.numerator // ratio.denominator)
