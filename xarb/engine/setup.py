"""What an engine is built from, and how it is laid into the kernel's memory. What a config key sets has its default in the config alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final

import msgspec
import numpy as np

from xarb.engine.breaker import BreakerLimits, Broken
from xarb.engine.carried import CarriedBundle, CarriedCycle, CarriedFlow, CarriedTransaction, ForeignFills
from xarb.engine.kernel import state
from xarb.engine.results import Carried
from xarb.engine.strategy import Pair, Strategy
from xarb.engine.terms import ChainTerms, StrategyTerms
from xarb.engine.volumes import SentVolume
from xarb.errors import ConfigError
from xarb.model.instrument import FeeTier, Instrument
from xarb.model.units import INT64_MAX, NEVER, NULL, PPB, Money, Ppb

FULL_SCORE: Final = 1000
_MEANS: Final = ("mean_latency", "mean_depth", "mean_uptime", "mean_rejects", "mean_gaps")
_UNKNOWN: Final = (
    *("bid", "bid_qty", "ask", "ask_qty", "ts_last", "ts_change", "venue_seq", "trade_id", "recent_trades"),
    *("score_from", "down_since", "usual_ts", "jump_since"),
)
_FILTER_MARGIN: Final = 1e-12
MAX_SCALE_GAP: Final = 9
_JUDGES: Final = 2  # peers that must be known before a quote can be called a jump
MAX_SHIFT: Final = 18  # decimals by which a conversion may shift a price
CONVERT_DIGITS: Final = 4  # a converted bid is held so many decimals below the buy leg's price scale
MAX_STRATEGIES: Final = 62  # one bit each in an instrument's event mask


class AdjustLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What difference between a venue's balance and ours is booked: worth at most so much, or at most so much of the balance.

    `worth` is in the first of `currencies` that prices the asset; so is `foreign`, what others' fills of a UTC day may come to.
    """

    worth: Money
    ratio_ppb: Ppb
    currencies: tuple[str, ...]
    foreign: Money


class FeedLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of validation and quality for one instrument; times in ns, ratios in ppb, the score runs from 0 to 1000.

    `cache_ns` is the age beyond which a quote leaves the state even on a live connection. `dense_trade_ids` says that the venue
    numbers its trades without holes, so that a hole is a loss.
    """

    liveness_ns: int
    cache_ns: int
    max_latency_ns: int
    future_ns: int
    freeze_ns: int
    freeze_moves: int
    outlier_mads: int
    outlier_floor_ppb: int
    jump_ppb: int
    jump_ns: int
    spread_multiple: int
    off_market_ppb: int
    dense_trade_ids: bool
    quality_floor: int
    score_ns: int


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that an engine needs before its first input.

    `instruments` are numbered as the log numbers them. `groups` are sets of instruments proven to be the same thing;
    `identities` say by (venue, name of an asset there) which asset it was proven to be, a name left out is unproven. `sources`
    says which kind of row moves each instrument's book: 0 quotes, 1 books, 2 deltas. `fees` are by (account, instrument number),
    `opening` balances by (account, venue, asset), `terms` by strategy id. `rates` name by (venue, fee coin, quote asset) the
    instrument of that venue whose bid prices a fee coin, as the simulated venue's setup does; what is reserved of the coin allows for
    a fall of that bid by `coin_margin_ppb` until the match.

    `timers_are_rows` says that timers come as inputs, as they do live; else the kernel fires them on their grid. Without `armed` no
    bundle is sent until the operator arms. `start` counts the starts of a live log. `not_transferable_anyway` are by venue the assets that are
    traded although the venue says that deposits or withdrawals are suspended. `results` are what strategies made in earlier starts,
    `volumes` what they sent in them. `breakers` are by venue, `broken` those that an earlier start left open. `bundles`
    are those that earlier starts left without an end, or ended of late, `flows` what strategies' fills added up to in them. `heads` are by venue of a chain, how long after its last block
    its pools are stale, ns. `adjust` bounds what difference from a venue's balances is booked, and what others may trade; `foreign` is what
    they did in earlier starts. `chains` are by venue those on which cycles may be sent, `cycles` and `transactions` what earlier starts sent to them that is
    not final. `counts_all` says that what limits count is counted without them too, since others will follow.
    """

    instruments: Sequence[Instrument]
    groups: Sequence[Sequence[int]]
    identities: Mapping[tuple[str, str], str]
    sources: Sequence[int]
    limits: Sequence[FeedLimits]
    fees: Mapping[tuple[str, int], FeeTier]
    opening: Mapping[tuple[str, str, str], Money]
    connections: int
    log_id: str
    terms: Mapping[str, StrategyTerms]
    rates: Mapping[tuple[str, str, str], int]
    coin_margin_ppb: int
    timers_are_rows: bool
    armed: bool
    start: int
    not_transferable_anyway: Mapping[str, frozenset[str]]
    results: Sequence[Carried]
    volumes: Sequence[SentVolume]
    breakers: Mapping[str, BreakerLimits]
    broken: Sequence[Broken]
    bundles: Sequence[CarriedBundle]
    flows: Sequence[CarriedFlow]
    foreign: Sequence[ForeignFills]
    heads: Mapping[str, int]
    adjust: AdjustLimits
    chains: Mapping[str, ChainTerms]
    cycles: Sequence[CarriedCycle]
    transactions: Sequence[CarriedTransaction]
    counts_all: bool


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
    converts = [pair for pair, _, _ in wanted if pair.convert >= 0]
    screens = _screens(count, wanted)
    kernel = state.KernelState(
        {
            state.INSTRUMENTS: count,
            state.PAIRS: len(wanted),
            state.BUYS: len(wanted),
            state.CONNECTIONS: setup.connections,
            state.STRATEGIES: len(strategies),
            state.GROUPS: len(setup.groups) + count,
            state.MEMBERS: count,
            state.CONVERTS: len(converts),
            state.SCREENS: len(screens),
            state.SCREENED: count,
            state.SCRATCH: max(count, state.SPREAD_SAMPLES) + 1,
            state.BOOK_PX: len(slots),
            state.BOOK_QTY: len(slots),
        }
    )
    _lay_world(kernel, counts=(count, len(wanted), setup.connections, len(strategies)))
    _lay_instruments(kernel, setup, slots)
    _lay_groups(kernel, setup.groups)
    _lay_strategies(kernel, strategies, timers_are_rows=setup.timers_are_rows)
    _lay_pairs(kernel, setup.instruments, wanted)
    _lay_screens(kernel, screens)
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
    table["spread_bound"] = INT64_MAX
    table["score"] = FULL_SCORE
    for name in _MEANS:
        table[name] = FULL_SCORE * 256
    for number, instrument in enumerate(setup.instruments):
        record = table[number]
        for name in FeedLimits.__struct_fields__:
            record[name] = getattr(setup.limits[number], name)
        record["source"] = setup.sources[number]
        lay_steps(record, instrument)
    for slot, number in enumerate(slots):
        table[number]["slot"] = slot


def lay_steps(record: np.void, instrument: Instrument) -> None:
    """Write what depends on the instrument's scales and steps into its record."""
    record["float_unit"] = 10.0**-instrument.px_scale
    record["tick"] = instrument.tick_int or 0
    record["lot"] = instrument.lot_int or 0
    if record["spread_bound"] != INT64_MAX:  # the median was rescaled
        record["spread_bound"] = min(int(record["median_spread"]) * int(record["spread_multiple"]), INT64_MAX)


def _lay_groups(kernel: state.KernelState, groups: Sequence[Sequence[int]]) -> None:
    """Each instrument belongs to one group; one that has no peers is a group by itself."""
    instruments = kernel.tables[state.INSTRUMENTS]
    grouped = {member for group in groups for member in group}
    alone = [[number] for number in range(len(instruments)) if number not in grouped]
    at = 0
    for number, group in enumerate([*groups, *alone]):
        record = kernel.tables[state.GROUPS][number]
        record["member_from"], record["member_to"] = at, at + len(group)
        record["floor_ppb"] = min((int(instruments[member]["outlier_floor_ppb"]) for member in group), default=0)
        for member in group:
            kernel.tables[state.MEMBERS][at] = member
            instruments[member]["group"] = number
            instruments[member]["mid_unit"] = 1
            _lay_jump(instruments[member], len(group))
            at += 1
    kernel.tables[state.GROUPS]["band_low"] = 1


def _lay_jump(record: np.void, members: int) -> None:
    """Without two peers, or without a bound, no mid is ever looked at; else the first one is."""
    judged = members > _JUDGES and record["jump_ppb"] > 0
    record["jump_low"] = record["look_low"] = 1
    record["jump_high"], record["next_look"] = (0, 0) if judged else (INT64_MAX, NEVER)


def lay_mid_units(kernel: state.KernelState, groups: Sequence[Sequence[int]], instruments: Sequence[Instrument]) -> None:
    """Mids of a group are compared at its coarsest price scale; what is known in it already is expressed in it anew."""
    for number, group in enumerate(groups):
        own = kernel.tables[state.GROUPS][number]
        coarsest = min((instruments[i].px_scale for i in group), default=0)
        growth = 10 ** max(0, coarsest - int(own["px_scale"]))
        own["px_scale"] = coarsest
        for i in group:
            _lay_mid(kernel.tables[state.INSTRUMENTS][i], 10 ** (instruments[i].px_scale - coarsest), growth)
        own["band_low"], own["band_high"] = 1, 0


def _lay_mid(record: np.void, unit: int, growth: int) -> None:
    """Express the mid, and the bounds of its last look (but for the empty ones of a jump), in a unit that is `growth` times as fine."""
    record["mid_unit"] = unit
    if record["mid"] != 0:
        record["mid"] = (int(record["bid"]) + int(record["ask"])) // 2 // unit
    if record["jump_low"] <= record["jump_high"] and record["next_look"] < NEVER:
        for bound in ("jump_low", "jump_high"):
            record[bound] = min(int(record[bound]) * growth, INT64_MAX)
    record["look_low"], record["look_high"] = 1, 0


def _lay_strategies(kernel: state.KernelState, strategies: Sequence[Strategy], *, timers_are_rows: bool) -> None:
    for number, strategy in enumerate(strategies):
        wakes = strategy.wakes()
        record = kernel.tables[state.STRATEGIES][number]
        for field in ("timer_ns", "min_life_ns", "improve_ppb", "max_edge_ppb"):
            record[field] = getattr(wakes, field)
        record["needs_edge"] = int(wakes.timer_needs_edge)
        record["on_edge"] = int(wakes.on_edge)
        if timers_are_rows:
            record["timer_ns"] = 0
        elif (
            wakes.timer_ns > 0 and not wakes.timer_needs_edge
        ):  # its grid begins with the first input, before which nothing happened
            record["next_timer"] = kernel.world["next_timer"] = 0
            kernel.world["quiet"] |= 1 << number
        for instrument in wakes.every_event:
            kernel.tables[state.INSTRUMENTS][instrument]["events"] |= 1 << number


def _lay_pairs(kernel: state.KernelState, instruments: Sequence[Instrument], wanted: Sequence[tuple[Pair, int, int]]) -> None:
    table = kernel.tables[state.PAIRS]
    for at, (pair, strategy, number) in enumerate(wanted):
        record = table[at]
        record["sell"], record["buy"] = pair.sell, pair.buy
        record["strategy"], record["number"] = strategy, number
        lay_thresholds(record, pair, instruments)
    places = range(len(wanted))
    buys = sorted(places, key=lambda at: (wanted[at][0].buy, at))
    converts = sorted((at for at in places if wanted[at][0].convert >= 0), key=lambda at: (wanted[at][0].convert, at))
    kernel.tables[state.BUYS][: len(buys)] = buys
    kernel.tables[state.CONVERTS][: len(converts)] = converts
    for side, order in (("sell", places), ("buy", buys), ("convert", converts)):
        spans: dict[int, tuple[int, int]] = {}
        for position, at in enumerate(order):
            owner = getattr(wanted[at][0], side)
            spans[owner] = (spans.get(owner, (position, 0))[0], position + 1)
        for number, (begin, end) in spans.items():
            record = kernel.tables[state.INSTRUMENTS][number]
            record[f"{side}_from"], record[f"{side}_to"] = begin, end


def is_plain(pair: Pair) -> bool:
    """Whether both legs are priced in one currency, so that their prices compare as they are."""
    return pair.convert < 0 and not pair.premium


def _screens(count: int, wanted: Sequence[tuple[Pair, int, int]]) -> list[list[int]]:
    """Sets of instruments that plain pairs connect, each in order."""
    root = list(range(count))

    def find(number: int) -> int:
        while root[number] != number:
            number = root[number]
        return number

    plain = [pair for pair, _, _ in wanted if is_plain(pair)]
    for pair in plain:
        low, high = sorted((find(pair.sell), find(pair.buy)))
        root[high] = low
    members: dict[int, list[int]] = {}
    for number in sorted({number for pair in plain for number in (pair.sell, pair.buy)}):
        members.setdefault(find(number), []).append(number)
    return list(members.values())


def _lay_screens(kernel: state.KernelState, screens: Sequence[Sequence[int]]) -> None:
    """Tell instruments and plain pairs their screen, and the instruments of other pairs to look always."""
    instruments, pairs = kernel.tables[state.INSTRUMENTS], kernel.tables[state.PAIRS]
    instruments["screen"] = -1
    at = 0
    for number, members in enumerate(screens):
        record = kernel.tables[state.SCREENS][number]
        record["bid_cap"], record["open_low"] = -1.0, np.inf
        record["member_from"], record["member_to"] = at, at + len(members)
        for member in members:
            instruments[member]["screen"] = number
            kernel.tables[state.SCREENED][at] = member
            at += 1
    for pair in pairs[: int(kernel.world["count"][state.PAIRS])]:
        legs = [int(number) for number in (pair["sell"], pair["buy"], pair["convert"]) if number >= 0]
        if pair["conversion"] != state.SAME_CURRENCY:
            pair["screen"] = -1
            for leg in legs:
                instruments[leg]["always"] = 1
        else:
            pair["screen"] = instruments[legs[0]]["screen"]
            screen = kernel.tables[state.SCREENS][int(pair["screen"])]
            screen["open_low"] = min(float(screen["open_low"]), float(pair["open_low"]))


def lay_thresholds(record: np.void, pair: Pair, instruments: Sequence[Instrument]) -> None:
    """Write a pair's exact thresholds for the present price scales.

    bid * (1 - fee_sell) >= ask * (1 + fee_buy) * (1 + threshold), with prices in quote units, becomes
    bid_int * left >= ask_int * right. Where the bid is converted it stands at CONVERT_DIGITS below the buy leg's scale, and the
    conversion's fee takes its part: 1 - fee of what a sale there yields, 1 + fee of what a purchase there costs.

    Raises:
        ConfigError: the price scales are too far apart to be compared exactly, or the pair's conversion makes no sense.
    """
    sell, buy = instruments[pair.sell], instruments[pair.buy]
    factor = None
    if is_plain(pair):
        gap = buy.px_scale - sell.px_scale
        if abs(gap) > MAX_SCALE_GAP:
            raise ConfigError(
                f"{sell.id} and {buy.id}: price scales {sell.px_scale} and {buy.px_scale} differ by more than {MAX_SCALE_GAP}"
            )
        record["conversion"], record["convert"], record["peg"] = state.SAME_CURRENCY, -1, 1.0
    else:
        gap = -CONVERT_DIGITS
        factor = _lay_conversion(record, pair, instruments)
    for name, threshold in (("open", pair.open_ppb), ("close", pair.close_ppb)):
        left, right, low = _threshold(pair.sell_fee_ppb, pair.buy_fee_ppb, threshold, gap=gap, factor=factor)
        record[f"{name}_left"], record[f"{name}_right"] = left, right
        if name == "open":
            record["open_low"] = low
    record["edge_left"] = PPB * 10**gap if gap > 0 else PPB
    record["edge_right"] = 10**-gap if gap < 0 else 1


@lru_cache(1024)  # most pairs have the fees and thresholds of others
def _threshold(
    sell_fee_ppb: int, buy_fee_ppb: int, threshold_ppb: int, *, gap: int, factor: Fraction | None
) -> tuple[int, int, float]:
    """(left, right) of a threshold for scales that differ by `gap`, and the ratio of the prices below which it surely is not reached."""
    ratio = Fraction(PPB + buy_fee_ppb, PPB - sell_fee_ppb) * (factor or 1) * Fraction(PPB + threshold_ppb, PPB)
    return *_fit(ratio / Fraction(10) ** gap), float(ratio) * (1.0 - _FILTER_MARGIN)


def _lay_conversion(record: np.void, pair: Pair, instruments: Sequence[Instrument]) -> Fraction:
    """Write how the bid becomes the buy leg's currency; the factor by which the conversion's fee raises the thresholds."""
    sell, buy = instruments[pair.sell], instruments[pair.buy]
    shift = buy.px_scale + CONVERT_DIGITS - sell.px_scale
    factor = Fraction(1)
    record["convert"], record["peg"] = pair.convert, 1.0
    if pair.premium:
        record["conversion"], record["convert"] = state.AT_PEG, -1
        rate = Fraction(pair.peg_left, pair.peg_right)
        record["peg"] = float(rate)
        scaled = rate * Fraction(10) ** shift
    elif pair.convert_side == "bid":
        record["conversion"] = state.AT_BID
        scaled = Fraction(10) ** (shift - instruments[pair.convert].px_scale)
        factor = Fraction(PPB, PPB - pair.convert_fee_ppb)
    elif pair.convert_side == "ask":
        record["conversion"] = state.AT_ASK
        scaled = Fraction(10) ** (shift + instruments[pair.convert].px_scale)
        factor = Fraction(PPB + pair.convert_fee_ppb, PPB)
    else:
        raise ConfigError(f"{sell.id} and {buy.id}: convert_side is {pair.convert_side!r}, allowed are 'bid' and 'ask'")
    if scaled <= 0 or max(scaled.numerator, scaled.denominator) > 10**MAX_SHIFT:
        raise ConfigError(f"{sell.id} and {buy.id}: the conversion shifts prices by more than {MAX_SHIFT} decimals")
    record["convert_mul"], record["convert_div"] = scaled.numerator, scaled.denominator
    return factor


def _fit(ratio: Fraction) -> tuple[int, int]:
    """(left, right), both int64, with right / left equal to `ratio`, or above it by less than 1e-17 where it cannot be equal."""
    right, left = ratio.numerator, ratio.denominator
    if left <= INT64_MAX and right <= INT64_MAX:
        return left, right
    left = 10**18
    while -(-left * ratio.numerator // ratio.denominator) > INT64_MAX:
        left //= 10
    return left, -(-left * ratio.numerator // ratio.denominator)
