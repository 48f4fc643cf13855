"""Every key of an experiment has its effect: each limit trips when it is tight and does not when it is loose.

The keys are taken from the config's own structs: a key without a case fails the first test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from importlib import import_module
from typing import Any, Final, NamedTuple

import msgspec
import pytest

from tests.log.logs import START, Placed, book_row, connection, instrument
from tests.trial import (
    LOT,
    MS,
    SYMBOL,
    VENUES,
    Rows,
    Run,
    Trial,
    beat,
    gap,
    head,
    quiet,
    some,
    steady,
    tick,
    usual,
)
from xarb.config import (
    FeedConfig,
    LiveConfig,
    MarketConfig,
    RecordConfig,
    RetentionConfig,
    RunConfig,
    VenueConfig,
    load_experiment,
)
from xarb.config.breakers import BreakerConfig
from xarb.config.chains import AskedLenderConfig, ChainConfig, FactoryConfig
from xarb.config.inventory import InventoryConfig
from xarb.config.latency import LatencyConfig
from xarb.config.onchain import LenderConfig, OnChainConfig, SimulatedChainConfig
from xarb.config.sending import SendingConfig
from xarb.config.strategies import StrategyConfig
from xarb.config.sweep import SweepConfig
from xarb.config.watch import AlertConfig, WatchConfig
from xarb.errors import ConfigError
from xarb.verbs.backtest import backtest

Settings = Mapping[str, str]
Seen = Callable[[Run], bool]
ETH: Final = "ETH/USDT"


class Case(NamedTuple):
    """A market, settings under which a key binds, settings under which it does not, and what is seen only when it binds."""

    rows: Callable[[], Rows]
    tight: Settings
    loose: Settings
    seen: Seen
    more: str = ""  # lines at the end of the experiment


def _both(settings: Settings, **values: str) -> dict[str, str]:
    return {**settings, **values}


def _pair(key: str, tight: str, loose: str, **shared: str) -> tuple[dict[str, str], dict[str, str]]:
    """Tight and loose settings of one key beside what both share; `__` in a shared name is a dot."""
    both = {name.replace("__", "."): value for name, value in shared.items()}
    return {**both, key: tight}, {**both, key: loose}


def _suspended() -> Rows:
    """Bravo pays more, and alpha takes no deposits of bitcoin on one network and no withdrawals on the other two."""
    networks = (("BTC", False, True), ("LIGHTNING", False, False), ("BEP20", False, True))
    rows: Rows = [
        (500, ("wallets", {"venue": "alpha", "asset": "BTC", "network": name, "deposit_open": deposit, "withdraw_open": withdraw}))
        for name, deposit, withdraw in networks
    ]
    return [*usual(), *rows]


# --- what is seen


def _refused(reason: str) -> Seen:
    """A decision of the strategy, or risk, refused for this reason."""
    return lambda run: some("opportunities", reason=reason)(run) or some("refusals", reason=reason)(run)


def _no_episode(run: Run) -> bool:
    return not run["opportunities"]


def _submits(run: Run) -> list[dict[str, Any]]:
    return [row for row in run["commands"] if row["kind"] == "submit"]


def _cancels(run: Run) -> list[dict[str, Any]]:
    return [row for row in run["commands"] if row["kind"] == "cancel"]


def _notionals(run: Run) -> list[Decimal]:
    return [Decimal(row["price_int"] * row["qty_int"]).scaleb(-row["px_scale"] - row["qty_scale"]) for row in _submits(run)]


def _all_at_most(bound: int) -> Seen:
    return lambda run: bool(run["commands"]) and max(_notionals(run)) <= bound


def _filled_late(run: Run) -> bool:
    return bool(min(row["ts"] for row in run["fills"]) - min(row["ts"] for row in run["commands"]) >= 300 * MS)


def _tradable_never_again(run: Run) -> bool:
    return any(row["state"] == "live" and not row["tradable"] for row in run["feed_states"])


def _outlying_to_the_end(run: Run) -> bool:
    return [row["state"] for row in run["feed_states"] if row["venue"] == "charlie"][-1:] == ["outlying"]


def _tried_again(run: Run) -> bool:
    return len({row["ts"] for row in run["refusals"] if row["reason"] == "hedge_cap"}) > 1


def _one_after_the_other(run: Run) -> bool:
    return len({row["ts"] for row in _submits(run) if row["bundle"] == 1}) == 2


# --- markets


def _silent() -> Rows:
    return [*head(), *steady(1000), *[(2500 + n, tick(v)) for n, v in enumerate(VENUES[:2])]]


def _one_block() -> Rows:
    """A chain gives a pool and one block, and nothing more."""
    pool = ("ethereum", "0xpool")
    place = {"ts_event": None, "conn": 2, "venue": pool[0], "chain_id": 1, "block_number": 1, "block_hash": "0x1"}
    tokens = {"token0": "0xa", "token1": "0xb", "decimals0": 18, "decimals1": 6, "fee_ppm": 3000}
    state = {"cause": "snapshot", "kind": "v2", "reserve0": "1000", "reserve1": "1000"}
    header = {"event": "added", "parent_hash": "0x0", "gas_used": 1, "gas_limit": 2, "miner": "0xm", "rows": 1}
    chain: Rows = [
        (0, connection(2, pool[0])),
        (0, instrument(pool, 0, 0, kind="pool", base="0xa", quote="0xb", settle="0xb")),
        (500, ("pools", place | tokens | state | {"symbol": pool[1]})),
        (500, ("blocks", place | header)),
    ]
    return [*usual(), *chain]


def _old_quote() -> Rows:
    """Alpha quotes once and is alive by heartbeats; bravo quotes, and pays more from 1000 ms on."""
    beats: Rows = [(at, beat("alpha")) for at in range(100, 3000, 100)]
    bravo: Rows = [(at + 1, tick("bravo", *((10_100, 10_110) if 1000 <= at < 2000 else ()))) for at in range(0, 3000, 100)]
    return [*head(), (0, tick("alpha")), *beats, *bravo]


def _event_times(late_ms: int) -> Callable[[], Rows]:
    def rows() -> Rows:
        return [*head(), *[(at, tick("alpha", ts_event=START + (at - late_ms) * MS)) for at in range(0, 500, 100)]]

    return rows


def _standing() -> Rows:
    """Alpha repeats its quote, bravo's ask moves with each row."""
    bravo: Rows = [(at + 1, tick("bravo", ask=10_010 + at // 100 % 2)) for at in range(0, 3000, 100)]
    return [*head(), *steady(3000, ("alpha",)), *bravo]


def _off_market(jump: int, venues: int) -> Callable[[], Rows]:
    """Venues quote 0.5 % apart; the last one jumps for half a second."""

    def rows() -> Rows:
        names = VENUES[:venues]
        found = head(names)
        for at in range(0, 2000, 100):
            for n, venue in enumerate(names):
                level = 10_000 + 50 * n if n < venues - 1 else 10_050 + (jump if 1000 <= at < 1500 else 0)
                found.append((at + n, tick(venue, level, level + 10)))
        return found

    return rows


def _jumping() -> Rows:
    """Three venues near one another; the last one is 1 % above its place from the first second on, within the floor of outliers."""
    found = head(VENUES[:3])
    for at in range(0, 2000, 100):
        for n, venue in enumerate(VENUES[:3]):
            level = 10_000 + 5 * n + (100 if n == 2 and at >= 1000 else 0)
            found.append((at + n, tick(venue, level, level + 10)))
    return found


def _wide() -> Rows:
    wide: Rows = [(at, tick("alpha", 10_000 + at // 100 % 2, 10_100 if at == 2500 else 10_010)) for at in range(0, 3000, 100)]
    return [*head(), *wide]


def _trade(at: int, price: int, ident: int) -> tuple[int, Placed]:
    row = {"conn": 0, "venue": "alpha", "symbol": SYMBOL, "trade_id": str(ident), "price_int": price, "qty_int": LOT}
    return at, ("trades", {**row, "px_scale": 2, "qty_scale": 5, "aggressor": "buy"})


def _trades() -> Rows:
    return [*head(), *steady(500), _trade(210, 10_005, 5), _trade(310, 10_200, 9)]


def _thin() -> Rows:
    return [*head(), *steady(3000, size=None)]


def _unsized() -> Rows:
    calm = [(at, row) for at, row in steady(3000, size=None) if not 1000 <= at < 2000]
    return [*head(), *calm, *gap(size=None)]


def _brief(until: int = 1050) -> Callable[[], Rows]:
    """The gap stands for 50 ms only."""

    def rows() -> Rows:
        calm = [(at, row) for at, row in steady(3000) if at != 1000]
        back = [(until + n, tick(venue)) for n, venue in enumerate(VENUES[:2])]
        return [*head(), *calm, *gap(until=until, step=1000), *back]

    return rows


def _two_symbols() -> Rows:
    """BTC and ETH gap at the same time."""
    found = head(symbols=(SYMBOL, ETH))
    for symbol in (SYMBOL, ETH):
        found += [(at, row) for at, row in steady(3000, symbol=symbol) if not 1000 <= at < 2000]
        found += gap(symbol=symbol)
    return found


def _books() -> Rows:
    """Quotes are calm, books show a gap, with little at the best price."""
    high = book_row([(10_100, 10_000), (10_090, LOT)], [(10_110, LOT)])
    calm = book_row([(10_000, LOT)], [(10_010, 10_000), (10_020, LOT)])
    found = [*head(), *steady(3000)]
    for at in range(5, 3000, 100):
        for n, venue in enumerate(VENUES[:2]):
            levels = high if venue == "bravo" and 1000 <= at < 2000 else calm
            row = {"conn": n, "venue": venue, "symbol": SYMBOL, "px_scale": 2, "qty_scale": 5, **levels}
            found.append((at + n, ("books", row)))
    return found


def _narrowing() -> Rows:
    calm = [(at, row) for at, row in steady(3000) if not 1000 <= at < 2000]
    return [*head(), *calm, *gap(until=1500), *gap(1500, 2000, by=60)]


def _widening() -> Rows:
    calm = [(at, row) for at, row in steady(3000) if not 1000 <= at < 2000]
    return [*head(), *calm, *gap(until=1500), *gap(1500, 2000, by=200)]


def _sized_later() -> Rows:
    """The gap opens without sizes; they come 300 ms later at the same prices."""
    calm = [(at, row) for at, row in steady(3000) if not 1000 <= at < 2000]
    return [*head(), *calm, *gap(until=1300, size=None), *gap(1300, 2000)]


def _refreshed() -> Rows:
    """Sizes change with each row of the gap, so that there is always something new to take."""
    calm = [(at, row) for at, row in steady(4000) if not 1000 <= at < 2000]
    fresh = [row for at in range(1000, 2000, 100) for row in gap(at, at + 100, size=LOT + at)]
    return [*head(), *calm, *fresh]


def _busy() -> Rows:
    """As `_refreshed`, for eight seconds."""
    calm = [(at, row) for at, row in steady(10_000) if not 1000 <= at < 9000]
    fresh = [row for at in range(1000, 9000, 100) for row in gap(at, at + 100, size=LOT + at)]
    return [*head(), *calm, *fresh]


def _off_clock() -> Rows:
    """Alpha's clock is 100 ms behind ours."""
    reading = {"venue": "alpha", "metric": "clock_offset_ns", "value": -100 * MS}
    return [*usual(), (500, ("health", reading))]


def _long() -> Rows:
    calm = [(at, row) for at, row in steady(9000) if not 1000 <= at < 2000]
    return [*head(), *calm, *gap()]


def _one_leg_fails() -> Rows:
    """Bravo's price is gone before an order can arrive and stays 1 % lower; alpha's stays."""
    calm = [(at, row) for at, row in steady(4000) if at != 1000]
    return [*head(), *calm, *gap(until=1100), (1015, tick("bravo"))]


def _lost_and_again() -> Rows:
    """One leg fails and the other is undone at a loss; two seconds later there is a gap that stands."""
    calm = [(at, row) for at, row in steady(5000) if at != 1000 and not 3000 <= at < 4000]
    return [*head(), *calm, *gap(until=1100), (1015, tick("bravo")), *gap(3000, 4000)]


def _dollars() -> Rows:
    """The same gap, but bravo quotes dollars."""
    found: Rows = []
    for at, (kind, row) in usual():
        named = {"symbol": "BTC/USD", "quote": "USD", "settle": "USD"} if row["venue"] == "bravo" else {}
        found.append((at, (kind, {**row, **{name: value for name, value in named.items() if name in row}})))
    return found


def _coins() -> Rows:
    """The usual gap, and a price of ETH on both venues in which fees are paid."""
    found = [*usual(), *[(at, row) for at, row in head(symbols=(ETH,)) if row[0] == "instruments"]]
    return [*found, *steady(4000, symbol=ETH)]


CROSS: Final = "strategies.cross."
BRIEF_TIGHT: Final = {"venues.alpha.feed_latency": "{ constant_ms = 200 }", "venues.bravo.feed_latency": "{ constant_ms = 200 }"}
FAILED: Final = {CROSS + "hedge_cap_bps": "20", CROSS + "unwind_cap_bps": "5"}


def _order_latency(text: str) -> dict[str, str]:
    return {"venues.alpha.order_latency": text, "venues.bravo.order_latency": text}


DOWN: Final = {"venues.alpha.outages": '[["2023-11-14T22:13:20Z", "2023-11-14T22:13:40Z"]]', "breakers.residual_held": "false"}
DOWN_FOR_2S: Final = {**DOWN, "venues.alpha.outages": '[["2023-11-14T22:13:20Z", "2023-11-14T22:13:23Z"]]'}
ONE_REJECT: Final = {**DOWN, "breakers.rejects": "1", "breakers.pause_ms": "200"}


def _opened(reason: str) -> Seen:
    return some("breakers", state="open", reason=reason)


def _pauses(run: Run) -> list[int]:
    return [(row["until"] - row["ts"]) // MS for row in run["breakers"] if row["state"] == "open"]


EXPIRED: Final = some("sim_reports", order=1, event="expired")
COIN_FEES: Final = {"venues.alpha.fees": "coin-alpha", "rates": '{ "ETH/USDT@alpha" = "ETH" }'}
CASES: Final = {
    "run.start": Case(usual, {"run.start": "2023-11-14T22:13:22.500Z"}, {}, _no_episode),
    "run.end": Case(usual, {"run.end": "2023-11-14T22:13:20.500Z"}, {}, _no_episode),
    "feeds.liveness_ms": Case(_silent, *_pair("feeds.liveness_ms", "1000", "5000"), some("feed_states", state="stale")),
    "feeds.cache_ms": Case(
        _old_quote, *_pair("feeds.cache_ms", "500", "300000"), some("feed_states", state="stale", venue="alpha")
    ),
    "feeds.max_latency_ms": Case(_event_times(600), *_pair("feeds.max_latency_ms", "500", "700"), some("flags", rule="late_event")),
    "feeds.future_ms": Case(_event_times(-60), *_pair("feeds.future_ms", "50", "70"), some("flags", rule="future_event_time")),
    "feeds.freeze_ms": Case(
        _standing,
        *_pair("feeds.freeze_ms", "1000", "5000", feeds__freeze_moves="5"),
        some("feed_states", state="frozen", venue="alpha"),
    ),
    "feeds.freeze_moves": Case(
        _standing,
        *_pair("feeds.freeze_moves", "5", "100", feeds__freeze_ms="1000"),
        some("feed_states", state="frozen", venue="alpha"),
    ),
    "feeds.outlier_mads": Case(
        _off_market(150, 4),
        *_pair("feeds.outlier_mads", "2", "8", feeds__outlier_floor_bps="10", feeds__jump_bps="0"),
        some("feed_states", state="outlying", venue="delta"),
    ),
    "feeds.outlier_floor_bps": Case(
        _off_market(100, 3),
        *_pair("feeds.outlier_floor_bps", "60", "200", feeds__outlier_mads="0", feeds__jump_bps="0"),
        some("feed_states", state="outlying", venue="charlie"),
    ),
    "feeds.jump_bps": Case(
        _jumping,
        *_pair("feeds.jump_bps", "60", "120", feeds__jump_ms="30000"),
        some("feed_states", state="outlying", venue="charlie"),
    ),
    "feeds.jump_ms": Case(_jumping, *_pair("feeds.jump_ms", "30000", "300"), _outlying_to_the_end),
    "feeds.spread_multiple": Case(
        _wide, *_pair("feeds.spread_multiple", "5", "20", feeds__score_ms="100"), some("flags", rule="wide_spread")
    ),
    "feeds.off_market_bps": Case(_trades, *_pair("feeds.off_market_bps", "100", "300"), some("flags", rule="trade_off_market")),
    "feeds.dense_trade_ids": Case(_trades, *_pair("feeds.dense_trade_ids", "true", "false"), some("flags", rule="trade_gap")),
    "feeds.quality_floor": Case(_thin, *_pair("feeds.quality_floor", "900", "500", feeds__score_ms="100"), _tradable_never_again),
    "feeds.head_ms": Case(
        _one_block, *_pair("feeds.head_ms", "1000", "60000"), some("feed_states", state="stale", venue="ethereum")
    ),
    "feeds.score_ms": Case(_thin, *_pair("feeds.score_ms", "100", "100000", feeds__quality_floor="900"), _tradable_never_again),
    "venues.fees": Case(usual, {"venues.alpha.fees": "paid-alpha"}, {}, lambda run: any(row["fee"] > 0 for row in run["fills"])),
    "venues.order_latency": Case(_brief(), _order_latency("{ constant_ms = 500 }"), {}, EXPIRED),
    "venues.feed_latency": Case(_brief(), BRIEF_TIGHT, {}, EXPIRED),
    "venues.response_latency": Case(
        usual,
        {"venues.alpha.response_latency": "{ constant_ms = 400 }", "venues.bravo.response_latency": "{ constant_ms = 400 }"},
        {},
        _filled_late,
    ),
    "venues.assumed_qty": Case(
        _unsized, {}, {"venues.alpha.assumed_qty": "0.05", "venues.bravo.assumed_qty": "0.05"}, _refused("unknown_size")
    ),
    "venues.rate_limit_per_s": Case(
        _two_symbols,
        *_pair("venues.alpha.rate_limit_per_s", "1", "1000"),
        some("sim_reports", event="rejected", reason="rate_limit", venue="alpha"),
    ),
    "venues.reject_bps": Case(
        usual,
        *_pair("venues.alpha.reject_bps", "{ busy = 10000 }", "{ busy = 0 }"),
        some("sim_reports", event="rejected", reason="busy", venue="alpha"),
    ),
    "venues.fill_share_bps": Case(
        usual,
        *_pair("venues.alpha.fill_share_bps", "[0]", "[10000]"),
        some("sim_reports", event="expired", reason="no_liquidity", venue="alpha"),
    ),
    "venues.outages": Case(
        usual,
        {"venues.alpha.outages": '[["2023-11-14T22:13:20Z", "2023-11-14T22:13:25Z"]]'},
        {"venues.alpha.outages": '[["2023-11-14T22:13:23Z", "2023-11-14T22:13:25Z"]]'},
        some("sim_reports", event="rejected", reason="outage"),
    ),
    "venues.allow_not_transferable": Case(
        _suspended,
        {},
        {"venues.alpha.allow_not_transferable": '["USDT", "BTC"]'},
        _refused("not_transferable"),
    ),
    "venues.book_source": Case(
        _books,
        {"venues.alpha.book_source": "quotes", "venues.bravo.book_source": "quotes"},
        {},
        _no_episode,
    ),
    "venues.feeds": Case(
        _silent,
        *_pair("venues.alpha.feeds.liveness_ms", "1000", "5000", feeds__liveness_ms="5000"),
        some("feed_states", state="stale", venue="alpha"),
    ),
    "venues.breakers": Case(
        _busy,
        {**DOWN, "breakers.rejects": "0", "venues.alpha.breakers.rejects": "2"},
        {**DOWN, "breakers.rejects": "0", "venues.bravo.breakers.rejects": "2"},
        _opened("rejects"),
    ),
    "breakers.rejects": Case(_busy, {**DOWN, "breakers.rejects": "2"}, {**DOWN, "breakers.rejects": "0"}, _opened("rejects")),
    "breakers.errors": Case(
        _busy,
        {**DOWN, "breakers.rejects": "0", "breakers.errors": "3"},
        {**DOWN, "breakers.rejects": "0", "breakers.errors": "0"},
        _opened("errors"),
    ),
    "breakers.error_recovery_ms": Case(
        _busy,
        {**DOWN, "breakers.rejects": "0", "breakers.errors": "3", "breakers.error_recovery_ms": "60000"},
        {**DOWN, "breakers.rejects": "0", "breakers.errors": "3", "breakers.error_recovery_ms": "1"},
        _opened("errors"),
    ),
    "breakers.unknown": Case(
        _long,
        *_pair(
            "breakers.unknown",
            "1",
            "0",
            strategies__cross__execution_timeout_ms="500",
            venues__alpha__response_latency="{ constant_ms = 1500 }",
        ),
        _opened("unknown"),
    ),
    "breakers.max_ack_ms": Case(_busy, *_pair("breakers.max_ack_ms", "39", "40"), _opened("ack_latency")),
    "breakers.min_feed_score": Case(
        _unsized,
        *_pair(
            "breakers.min_feed_score",
            "950",
            "300",
            feeds__score_ms="100",
            venues__alpha__assumed_qty="0.05",
            venues__bravo__assumed_qty="0.05",
        ),
        _opened("feed_score"),
    ),
    "breakers.max_clock_offset_ms": Case(_off_clock, *_pair("breakers.max_clock_offset_ms", "99", "100"), _opened("clock_offset")),
    "breakers.residual_held": Case(
        _one_leg_fails,
        *_pair("breakers.residual_held", "true", "false", strategies__cross__max_attempts="0"),
        _opened("residual_held"),
    ),
    "breakers.pause_ms": Case(
        _busy, ONE_REJECT, {**ONE_REJECT, "breakers.pause_ms": "60000"}, some("breakers", state="half_open", reason="rejects")
    ),
    "breakers.max_pause_ms": Case(
        _busy,
        {**ONE_REJECT, "breakers.max_pause_ms": "200"},
        {**ONE_REJECT, "breakers.max_pause_ms": "60000"},
        lambda run: len(_pauses(run)) > 1 and set(_pauses(run)) == {200},
    ),
    "breakers.probe_quote": Case(
        _busy,
        {**DOWN_FOR_2S, "breakers.rejects": "1", "breakers.pause_ms": "200", "breakers.probe_quote": "0.0001"},
        {**DOWN_FOR_2S, "breakers.rejects": "1", "breakers.pause_ms": "200", "breakers.probe_quote": "0.1"},
        _refused("max_notional"),
    ),
    "latency.constant_ms": Case(_brief(), _order_latency("{ constant_ms = 500 }"), _order_latency("{ constant_ms = 20 }"), EXPIRED),
    "latency.uniform_ms": Case(
        _brief(), _order_latency("{ uniform_ms = [400, 500] }"), _order_latency("{ uniform_ms = [10, 20] }"), EXPIRED
    ),
    "latency.table_ms": Case(
        _brief(), _order_latency("{ table_ms = [400, 500] }"), _order_latency("{ table_ms = [20, 10] }"), EXPIRED
    ),
    "strategies.account": Case(
        usual,
        *_pair(CROSS + "account", "poor", "main"),
        _refused("balance"),
        "[accounts.poor.alpha]\nUSDT = 0",
    ),
    "strategies.venues": Case(usual, *_pair(CROSS + "venues", '["alpha"]', '["alpha", "bravo"]'), _no_episode),
    "strategies.symbols": Case(_coins, *_pair(CROSS + "symbols", '["ETH/USDT"]', '["BTC/USDT"]'), _no_episode),
    "strategies.min_profit_bps": Case(usual, *_pair(CROSS + "min_profit_bps", "200", "1"), _refused("min_profit_bps")),
    "strategies.min_profit_quote": Case(usual, *_pair(CROSS + "min_profit_quote", "5", "0"), _refused("min_profit_quote")),
    "strategies.max_notional_quote": Case(usual, *_pair(CROSS + "max_notional_quote", "5", "50"), _all_at_most(5)),
    "strategies.open_bps": Case(usual, *_pair(CROSS + "open_bps", "120", "0"), _no_episode),
    "strategies.close_bps": Case(
        _narrowing,
        *_pair(CROSS + "close_bps", "60", "0", strategies__cross__open_bps="70"),
        lambda run: any(row["phase"] == "closed" and row["ts"] < START + 1600 * MS for row in run["opportunities"]),
    ),
    "strategies.improve_bps": Case(
        _widening,
        *_pair(CROSS + "improve_bps", "1", "0", strategies__cross__scan_ms="0", strategies__cross__min_profit_bps="120"),
        some("opportunities", verdict="taken"),
    ),
    "strategies.min_life_ms": Case(usual, *_pair(CROSS + "min_life_ms", "2000", "100"), _no_episode),
    "strategies.scan_ms": Case(
        _sized_later,
        *_pair(CROSS + "scan_ms", "100", "0", strategies__cross__improve_bps="0"),
        some("opportunities", verdict="taken"),
    ),
    "strategies.max_edge_bps": Case(usual, *_pair(CROSS + "max_edge_bps", "50", "500"), _refused("abnormal_edge")),
    "strategies.latency_threshold_ms": Case(
        _old_quote, *_pair(CROSS + "latency_threshold_ms", "500", "5000"), _refused("stale_quote")
    ),
    "strategies.execution_timeout_ms": Case(
        _long,
        *_pair(CROSS + "execution_timeout_ms", "500", "5000", venues__alpha__response_latency="{ constant_ms = 1500 }"),
        some("orders", state="unknown", reason="execution_timeout"),
    ),
    "strategies.max_cancels": Case(
        _long,
        *_pair(
            CROSS + "max_cancels",
            "1",
            "3",
            strategies__cross__execution_timeout_ms="300",
            venues__alpha__response_latency="{ constant_ms = 1500 }",
        ),
        lambda run: len({row["order"] for row in _cancels(run)}) == len(_cancels(run)) > 0,
    ),
    "strategies.unknown_wait_ms": Case(
        _long,
        *_pair(
            CROSS + "unknown_wait_ms",
            "200",
            "0",
            strategies__cross__execution_timeout_ms="300",
            strategies__cross__unwind_cap_bps="500",
            venues__alpha__response_latency="{ constant_ms = 1500 }",
        ),
        some("commands", purpose="unwind"),
    ),
    "strategies.max_open_bundles": Case(_two_symbols, *_pair(CROSS + "max_open_bundles", "1", "10"), _refused("max_open_bundles")),
    "strategies.daily_volume_quote": Case(usual, *_pair(CROSS + "daily_volume_quote", "15", "1000000"), _refused("daily_volume")),
    "strategies.daily_symbol_quote": Case(usual, *_pair(CROSS + "daily_symbol_quote", "15", "1000000"), _refused("daily_symbol")),
    "strategies.daily_venue_quote": Case(usual, *_pair(CROSS + "daily_venue_quote", "7", "1000000"), _refused("daily_venue")),
    "strategies.max_orders_per_s": Case(usual, *_pair(CROSS + "max_orders_per_s", "1", "100"), _refused("orders_per_second")),
    "strategies.max_bundles_per_min": Case(
        usual, *_pair(CROSS + "max_bundles_per_min", "0", "1000"), _refused("bundles_per_minute")
    ),
    "strategies.max_balance_share_bps": Case(usual, *_pair(CROSS + "max_balance_share_bps", "0.05", "10000"), _all_at_most(6)),
    "strategies.cool_down_ms": Case(_refreshed, *_pair(CROSS + "cool_down_ms", "5000", "0"), _refused("cool_down")),
    "strategies.sequence": Case(usual, *_pair(CROSS + "sequence", "hard_leg_first", "simultaneous"), _one_after_the_other),
    "strategies.hedge_cap_bps": Case(
        _one_leg_fails, FAILED, {**FAILED, CROSS + "hedge_cap_bps": "150"}, lambda run: not some("commands", purpose="hedge")(run)
    ),
    "strategies.unwind_cap_bps": Case(
        _one_leg_fails, FAILED, {**FAILED, CROSS + "unwind_cap_bps": "50"}, lambda run: not some("commands", purpose="unwind")(run)
    ),
    "strategies.max_attempts": Case(
        _one_leg_fails,
        {CROSS + "max_attempts": "0"},
        {CROSS + "max_attempts": "3"},
        lambda run: not some("commands", purpose="unwind")(run),
    ),
    "strategies.retry_ms": Case(
        _one_leg_fails, {**FAILED, CROSS + "retry_ms": "100"}, {**FAILED, CROSS + "retry_ms": "9000"}, _tried_again
    ),
    "strategies.residual": Case(
        _one_leg_fails, *_pair(CROSS + "residual", "hold", "proceed"), lambda run: not some("commands", purpose="unwind")(run)
    ),
    "strategies.cap_step_bps": Case(
        _one_leg_fails,
        {**FAILED, CROSS + "unwind_cap_bps": "50", CROSS + "cap_step_bps": "1", CROSS + "max_attempts": "2"},
        {**FAILED, CROSS + "unwind_cap_bps": "50", CROSS + "cap_step_bps": "30", CROSS + "max_attempts": "2"},
        lambda run: not some("commands", purpose="unwind")(run),
    ),
    "strategies.residual_ttl_ms": Case(
        _one_leg_fails,
        {**FAILED, CROSS + "max_attempts": "1000", CROSS + "residual_ttl_ms": "700"},
        {**FAILED, CROSS + "max_attempts": "1000", CROSS + "residual_ttl_ms": "0"},
        _refused("residual_ttl"),
    ),
    "strategies.max_exposure": Case(
        usual, *_pair(CROSS + "max_exposure", "{ BTC = 0.01 }", "{ BTC = 10 }"), _refused("max_exposure")
    ),
    "strategies.price_band_bps": Case(usual, *_pair(CROSS + "price_band_bps", "40", "60"), _refused("price_band")),
    "strategies.max_symbol_open_quote": Case(usual, *_pair(CROSS + "max_symbol_open_quote", "10", "1000"), _refused("symbol_open")),
    "strategies.max_venue_open_quote": Case(usual, *_pair(CROSS + "max_venue_open_quote", "5", "1000"), _refused("venue_open")),
    "strategies.max_day_loss": Case(
        _lost_and_again,
        *_pair(CROSS + "max_day_loss", "{ USDT = 0 }", "{ USDT = 10 }", strategies__cross__on_loss="refuse"),
        _refused("day_loss"),
    ),
    "strategies.max_drawdown": Case(
        _lost_and_again,
        *_pair(CROSS + "max_drawdown", "{ USDT = 0 }", "{ USDT = 10 }", strategies__cross__on_loss="refuse"),
        _refused("drawdown"),
    ),
    "strategies.max_bundle_loss": Case(
        usual, *_pair(CROSS + "max_bundle_loss", "{ USDT = 0.01 }", "{ USDT = 10 }"), _refused("bundle_loss")
    ),
    "strategies.on_loss": Case(
        _lost_and_again,
        *_pair(CROSS + "on_loss", "kill", "refuse", strategies__cross__max_day_loss="{ USDT = 0 }"),
        _refused("loss"),
    ),
    "strategies.inventory_cost_bps": Case(
        usual, *_pair(CROSS + "inventory_cost_bps", "{ BTC = 200 }", "{ BTC = 1 }"), _refused("inventory_cost")
    ),
    "strategies.max_levels": Case(
        _books,
        *_pair(CROSS + "max_levels", "1", "10", strategies__cross__max_notional_quote="50"),
        lambda run: max(row["qty_int"] for row in _submits(run)) <= 10_000,
    ),
    "strategies.budget": Case(usual, *_pair(CROSS + "budget", "{ USDT = 5 }", "{ USDT = 500 }"), _all_at_most(6)),
    "accounts": Case(usual, {"accounts.main.alpha.USDT": "0"}, {}, _refused("balance")),
    "pegs": Case(_dollars, {"pegs": "{ USD = 1, USDT = 1 }"}, {}, _refused("premium")),
    "run.coin_margin_bps": Case(
        _coins,
        {**COIN_FEES, "accounts.main.alpha.ETH": "0.01", "run.coin_margin_bps": "9999.9999"},
        {**COIN_FEES, "accounts.main.alpha.ETH": "0.01", "run.coin_margin_bps": "100"},
        _refused("balance"),
    ),
    "rates": Case(
        _coins,
        {"venues.alpha.fees": "coin-alpha"},
        {"venues.alpha.fees": "coin-alpha", "rates": '{ "ETH/USDT@alpha" = "ETH" }'},
        _refused("fee_rate_unknown"),
    ),
}
ELSEWHERE: Final = {  # keys whose effect is not a row of one run
    "run.log": "test_log_is_named_by_the_experiment",
    "run.seed": "test_seed_decides_the_draws",
    "run.currencies": "test_currencies_name_the_profit",
    "run.fees_file": "test_fees_come_from_the_file_that_is_named",
    "run.assets_file": "test_assets_come_from_the_file_that_is_named",
    "venues.model": "tests.test_fitted:test_a_section_takes_what_it_does_not_say",
    "venues.model_sha256": "tests.test_fitted:test_the_digest_pins_the_file",
    "strategies.kind": "test_kind_must_be_known",
    "strategies.code": "tests.test_own_strategy:test_a_new_strategy_runs_as_it_is_written",
    "strategies.code_sha256": "tests.test_own_strategy:test_other_code_than_the_config_pins_is_refused",
    "strategies.params": "tests.test_own_strategy:test_params_are_what_it_is_given",
    "strategies.start_assets": "tests.test_triangular:test_each_key_has_its_effect",
    "strategies.max_legs": "tests.test_triangular:test_each_key_has_its_effect",
    "strategies.every_row": "tests.test_triangular:test_each_key_has_its_effect",
    "markets.exchange": "tests.verbs.test_record:test_a_venue_may_be_a_second_instance_of_an_exchange",
    "markets.symbols": "tests.verbs.test_record:test_only_the_symbols_and_channels_that_are_named_are_subscribed",
    "markets.channels": "tests.verbs.test_record:test_only_the_symbols_and_channels_that_are_named_are_subscribed",
    "markets.rest_url": "tests.verbs.test_record:test_a_venue_may_be_a_second_instance_of_an_exchange",
    "markets.stream_url": "tests.verbs.test_record:test_a_venue_may_be_a_second_instance_of_an_exchange",
    "markets.price_update_interval_ms": "tests.venues.test_generic:test_books_and_trades_may_be_polled",
    **{
        f"chains.{field.name}": "tests.test_chain_sources:test_each_key_reaches_the_feed"
        for field in msgspec.structs.fields(ChainConfig)
    },
    "chains.sending": "tests.live.test_chains:test_each_key_reaches_the_desk",
    **{
        f"sending.{field.name}": "tests.live.test_chains:test_each_key_reaches_the_desk"
        for field in msgspec.structs.fields(SendingConfig)
    },
    **{
        f"strategies.{name}": "tests.test_dex:test_each_key_has_its_effect"
        for name in ("financing", "success_bps", "slip_bps", "channel", "deadline_ms")
    },
    **{
        f"{section}.{field.name}": "tests.test_dex:test_each_key_has_its_effect"
        for section, kind in (("onchain", OnChainConfig), ("lenders", LenderConfig), ("simulated", SimulatedChainConfig))
        for field in msgspec.structs.fields(kind)
    },
    **{f"asked.{name}": "tests.test_chain_sources:test_each_key_reaches_the_feed" for name in ("kind", "address", "tokens")},
    "strategies.order": "tests.test_cex_dex:test_both_at_once_and_the_hedge_undone",
    "strategies.wait_ms": "tests.test_cex_dex:test_the_risk_of_waiting_is_expected",
    "strategies.wait_risk_bps": "tests.test_cex_dex:test_the_risk_of_waiting_is_expected",
    "onchain.coins": "tests.test_cex_dex:test_a_config_that_cannot_be_is_refused",
    **{f"factories.{name}": "tests.test_chain_sources:test_each_key_reaches_the_feed" for name in ("address", "kind", "fee_ppm")},
    "record.frames": "tests.verbs.test_record:test_raw_messages_may_be_left_out",
    "record.frames_free_mb": "tests.verbs.test_record:test_raw_messages_are_the_first_to_go_when_the_disk_fills",
    "record.max_age_ms": "tests.verbs.test_record:test_old_data_make_a_connection_begin_anew",
    "record.instruments_ms": "tests.live.test_relisting:test_a_halt_and_a_coarser_step_are_heeded_at_once",
    "live.mode": "tests.live.test_real_orders:test_real_orders_need_three_words",
    "live.max_clock_offset_ms": "tests.live.test_real_orders:test_the_config_reaches_the_accounts",
    "live.request_timeout_ms": "tests.live.test_real_orders:test_the_config_reaches_the_accounts",
    "live.max_send_lag_ms": "tests.live.test_real_orders:test_the_config_reaches_the_accounts",
    "live.settle_ms": "tests.live.test_real_orders:test_the_config_reaches_the_accounts",
    "live.wallets_ms": "tests.live.test_real_orders:test_networks_and_fees_are_asked_for_anew_while_trading",
    "live.fees_ms": "tests.live.test_real_orders:test_networks_and_fees_are_asked_for_anew_while_trading",
    "live.cancel_after_ms": "tests.live.test_countdowns:test_the_length_of_the_countdown_is_the_configs",
    "live.max_loop_lag_ms": "tests.live.test_watchdog:test_a_loop_that_lags_ends_new_bundles",
    "live.max_clock_jump_ms": "tests.live.test_watchdog:test_a_clock_that_is_set_ends_new_bundles",
    "live.hang_ms": "tests.live.test_watchdog:test_a_strategy_that_never_returns_leaves_no_order",
    "live.keys": "tests.live.test_real_orders:test_the_config_reaches_the_accounts",
    "live.allow_withdraw": "tests.live.test_real_orders:test_the_config_reaches_the_accounts",
    "live.strict": "tests.live.test_trading:test_a_command_leaves_after_everything_up_to_it_is_written",
    "live.stop_ms": "tests.live.test_session:test_orders_that_do_not_end_are_canceled_when_the_time_of_a_stop_is_up",
    "retention.frames_days": "tests.test_retention:test_each_key_has_its_effect",
    "retention.inputs_days": "tests.test_retention:test_each_key_has_its_effect",
    "sweep.method": "tests.verbs.sweep.test_search:test_a_sweep_goes_on_where_it_was_ended",
    "sweep.batch": "tests.verbs.sweep.test_proposed:test_it_proposes_in_batches",
    "sweep.trials": "tests.verbs.sweep.test_search:test_a_sweep_goes_on_where_it_was_ended",
    "sweep.seed": "tests.verbs.sweep.test_search:test_a_sweep_goes_on_where_it_was_ended",
    "sweep.goal": "tests.verbs.sweep.test_search:test_goal_currency_and_period_decide_what_they_say",
    "sweep.currency": "tests.verbs.sweep.test_search:test_goal_currency_and_period_decide_what_they_say",
    "sweep.period_s": "tests.verbs.sweep.test_search:test_goal_currency_and_period_decide_what_they_say",
    "sweep.windows": "tests.verbs.sweep.test_search:test_splits_roll_or_are_anchored",
    "sweep.train": "tests.verbs.sweep.test_search:test_splits_roll_or_are_anchored",
    "sweep.anchored": "tests.verbs.sweep.test_search:test_splits_roll_or_are_anchored",
    "sweep.parameters": "tests.verbs.sweep.test_search:test_each_trial_is_the_backtest_of_its_settings",
    "watch.metrics_port": "tests.watch.test_verb:test_the_port_of_the_config_is_served",
    "watch.repeat_s": "tests.watch.test_rules:test_messages_come_once_again_and_at_the_end",
    "watch.silent_s": "tests.watch.test_rules:test_a_process_that_hangs_one_that_died_and_one_that_ended",
    "watch.unarmed_s": "tests.watch.test_state:test_a_start_that_never_arms_is_told_after_a_while",
    "watch.feed_down_s": "tests.watch.test_rules:test_a_lost_connection_is_told_after_its_time",
    "watch.gaps_per_min": "tests.watch.test_rules:test_storms_are_counted_over_a_minute",
    "watch.rejects_per_min": "tests.watch.test_rules:test_storms_are_counted_over_a_minute",
    "watch.order_rejects_per_min": "tests.watch.test_rules:test_storms_are_counted_over_a_minute",
    "watch.drawdown": "tests.watch.test_rules:test_money_lost_is_told_by_currency",
    "watch.day_loss": "tests.watch.test_rules:test_money_lost_is_told_by_currency",
    "watch.disk_mb": "tests.watch.test_rules:test_the_machine_is_looked_at",
    "watch.clock_offset_ms": "tests.watch.test_rules:test_the_machine_is_looked_at",
    "inventory.band_bps": "tests.verbs.test_inventory:test_the_command_says_what_strays_and_exits_with_1",
    "inventory.adjust_worth": "tests.engine.test_discrepancy:test_the_config_sets_what_is_booked",
    "inventory.adjust_bps": "tests.engine.test_discrepancy:test_the_config_sets_what_is_booked",
    "inventory.foreign_worth": "tests.engine.test_discrepancy:test_the_config_sets_what_is_booked",
    "inventory.shares": "tests.verbs.test_inventory:test_a_run_tells_balance_target_and_drift",
    "alerts.kind": "tests.watch.test_channels:test_what_a_table_lacks_is_named",
    "alerts.on": "tests.watch.test_verb:test_rules_go_to_those_who_want_them",
    "alerts.url": "tests.watch.test_channels:test_a_webhook_gets_text_and_fields",
    "alerts.url_env": "tests.watch.test_verb:test_a_process_that_dies_is_told_and_its_heartbeat_ends",
    "alerts.token_env": "tests.watch.test_channels:test_a_webhook_gets_text_and_fields",
    "alerts.chat": "tests.watch.test_channels:test_telegram_gets_a_message_of_the_bot",
    "alerts.command": "tests.watch.test_channels:test_a_command_gets_the_text_and_the_rule",
    "alerts.daily_at": "tests.watch.test_verb:test_the_summary_comes_once_a_day",
    "alerts.every_s": "tests.watch.test_verb:test_a_process_that_dies_is_told_and_its_heartbeat_ends",
}
STRUCTS: Final[dict[str, type[msgspec.Struct]]] = {
    "run": RunConfig,
    "feeds": FeedConfig,
    "breakers": BreakerConfig,
    "venues": VenueConfig,
    "latency": LatencyConfig,
    "strategies": StrategyConfig,
    "markets": MarketConfig,
    "chains": ChainConfig,
    "factories": FactoryConfig,
    "asked": AskedLenderConfig,
    "sending": SendingConfig,
    "onchain": OnChainConfig,
    "lenders": LenderConfig,
    "simulated": SimulatedChainConfig,
    "record": RecordConfig,
    "live": LiveConfig,
    "retention": RetentionConfig,
    "inventory": InventoryConfig,
    "sweep": SweepConfig,
    "watch": WatchConfig,
    "alerts": AlertConfig,
}


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    """One folder for all cases; alpha has schedules that cost something, too."""
    made = Trial(tmp_path_factory.mktemp("limits"))
    paid = '[paid-alpha]\nvenue = "alpha"\nmaker = "0"\ntaker = "0.001"\nsource = "a test"\nas_of = "2026-01"\n'
    with (made.folder / "fees.toml").open("a") as fees:
        fees.write(paid + paid.replace("paid", "coin").replace('as_of = "2026-01"', 'as_of = "2026-01"\nasset = "ETH"'))
    return made


def test_every_key_has_a_case() -> None:
    """Each field of each config struct has a case here or a test of its own, and none is of a key that is gone."""
    fields = {f"{section}.{field.name}" for section, kind in STRUCTS.items() for field in msgspec.structs.fields(kind)}
    assert fields | {"accounts", "pegs", "rates"} == CASES.keys() | ELSEWHERE.keys()
    for name in ELSEWHERE.values():
        module, _, test = name.rpartition(":")
        assert hasattr(import_module(module or __name__), test), name


@pytest.mark.parametrize("key", sorted(CASES))
def test_key_binds_when_tight_and_not_when_loose(key: str, trial: Trial) -> None:
    """Its effect is there under the tight setting, and absent under the loose one, all else equal."""
    case = CASES[key]
    log = trial.log(case.rows(), key)
    there = {row[1]["venue"] for _, row in case.rows()}
    experiment = trial.experiment(log, [venue for venue in VENUES if venue in there], more=case.more)
    assert case.seen(trial.run(experiment, case.tight)), "the tight setting has no effect"
    assert not case.seen(trial.run(experiment, case.loose)), "the loose setting has the same effect"


def test_log_is_named_by_the_experiment(trial: Trial) -> None:
    """Without `run.log` and without a log given, nothing runs; with it, that log does."""
    log = trial.log(usual(), "named")
    assert trial.run(trial.experiment(log))["commands"]
    with pytest.raises(ConfigError, match=r"run\.log is missing"):
        trial.run(trial.experiment(log, without=("log =",)))


def test_seed_decides_the_draws(trial: Trial) -> None:
    """Another seed draws other latencies: the same orders, other times of their fills; the same seed draws the same."""
    experiment = trial.experiment(trial.log(usual(), "seeded"))
    settings = _order_latency("{ uniform_ms = [10, 90] }")
    runs = [trial.run(experiment, {**settings, "run.seed": seed}) for seed in ("1", "2", "1")]
    times = [[row["ts"] for row in run["sim_reports"]] for run in runs]
    assert times[0] == times[2]
    assert times[0] != times[1]


def test_currencies_name_the_profit(trial: Trial) -> None:
    """Profit is stated in the first currency that can value it: the one that is named, else the instruments'."""
    experiment = trial.experiment(trial.log(usual(), "priced"))
    for stated, shown in (({}, "USDT"), ({"run.currencies": '["BTC"]'}, None)):
        result = backtest(load_experiment(experiment, stated), out=trial.folder / f"priced-{shown}", advance=quiet)
        table = next(table for table in result.tables if table.title == "Strategies")
        profit = dict(zip(table.columns, table.rows[0], strict=True))["trading PnL"]
        assert profit.endswith(shown or "no mark"), profit


def test_fees_come_from_the_file_that_is_named(trial: Trial) -> None:
    """A schedule that only `run.fees_file` has is unknown without it."""
    log = trial.log(usual(), "charged")
    with pytest.raises(ConfigError, match=r"venues\.alpha\.fees = free-alpha: no such fee schedule"):
        trial.run(trial.experiment(log, without=("fees_file =",)))


def test_assets_come_from_the_file_that_is_named(trial: Trial) -> None:
    """With a table that does not know BTC nothing is proven to be the same, so nothing is compared."""
    experiment = trial.experiment(trial.log(usual(), "proven"))
    table = '[[asset]]\nid = "{}"\nname = "one"\n'
    for name, ids in (("known", ("BTC", "USDT")), ("unknown", ("ETH", "USDT"))):
        (trial.folder / f"{name}.toml").write_text("".join(table.format(one) for one in ids))
        found = trial.run(experiment, {"run.assets_file": f'"{name}.toml"'})
        assert _no_episode(found) == (name == "unknown")


def test_kind_must_be_known(trial: Trial) -> None:
    """A kind of strategy that does not exist is refused by name."""
    experiment = trial.experiment(trial.log(usual(), "kind"))
    with pytest.raises(ConfigError, match=r"strategies\.cross\.kind = macro: allowed: micro"):
        trial.run(experiment, {CROSS + "kind": "macro"})
