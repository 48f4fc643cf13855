"""Metrics of a log in Prometheus' text format, version 0.0.4; names follow the events that they count."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from xarb.engine.liverows import kill_level
from xarb.model.columns import BREAKER_STATES, TABLES
from xarb.model.order import KILL_LEVELS
from xarb.model.units import NANOS_PER_S
from xarb.venues.countdown import RUNS
from xarb.venues.dex.nonces import OBJECTIONS
from xarb.watch.rules import Place, money
from xarb.watch.state import Watched

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
ARMED, DISARMED = 0, 1  # kill levels: bundles are sent, no new bundles; further ones as KILL_LEVELS
Sample = tuple[Mapping[str, str], float | str]


def exposition(state: Watched, place: Place) -> str:
    """All metrics as they stand; a value that is not known has no line."""
    lines: list[str] = []
    for name, kind, doc, samples in (*_log(state, place), *_feeds(state, place), *_trading(state, place), *_gains(state)):
        found = [f"{name}{_labels(labels)} {value}" for labels, value in samples]
        if found:
            lines += [f"# HELP {name} {doc}", f"# TYPE {name} {kind}", *found]
    return "\n".join(lines) + "\n"


Metric = tuple[str, str, str, Iterable[Sample]]  # name, type, what it is, samples


def _log(state: Watched, place: Place) -> list[Metric]:
    health = {metric: value for (metric, venue), (value, _, _) in state.health.items() if not venue}
    write = [({"quantile": "0.99"}, _seconds(health["journal_write_p99_ns"]))] if "journal_write_p99_ns" in health else []
    sync = [({"quantile": "0.99"}, _seconds(health["journal_sync_p99_ns"]))] if "journal_sync_p99_ns" in health else []
    return [
        ("xarb_up", "gauge", "1 while a process writes the log.", [({}, int(not place.is_gone(state)))]),
        ("xarb_readable", "gauge", "1 while the log can be read.", [({}, int(place.trouble is None))]),
        ("xarb_last_row_age_seconds", "gauge", "Age of the log's last row.", _age(place.now, state.last_ts)),
        ("xarb_rows_total", "counter", "Rows by kind of event.", [({"kind": k}, state.rows[k]) for k in TABLES if state.rows[k]]),
        ("xarb_journal_write_seconds", "gauge", "Latency of a write to the journal, last minute's reading.", write),
        ("xarb_journal_sync_seconds", "gauge", "Latency of fsync, last minute's reading.", sync),
        ("xarb_seal_failed", "gauge", "1 when the last seal failed.", [({}, health.get("seal_failed", 0))]),
        (
            "xarb_health",
            "gauge",
            "The last reading of each kind, in the unit that its name ends with.",
            [({"metric": metric, "venue": venue}, value) for (metric, venue), (value, _, _) in state.health.items()],
        ),
        (
            "xarb_disk_free_bytes",
            "gauge",
            "Free space where the log lies.",
            [] if place.disk_free is None else [({}, place.disk_free)],
        ),
    ]


def _feeds(state: Watched, place: Place) -> list[Metric]:
    is_gone = place.is_gone(state)
    mine = {n: one for n, one in state.connections.items() if one.opened >= place.claimed_at and not is_gone}
    labels = {number: {"venue": one.venue, "conn": f"{number}"} for number, one in mine.items()}
    offsets = [({"venue": v}, _seconds(value)) for (m, v), (value, _, _) in state.health.items() if m == "clock_offset_ns"]
    return [
        (
            "xarb_feed_up",
            "gauge",
            "1 while the connection stands.",
            [(labels[n], int(one.is_up)) for n, one in mine.items()],
        ),
        (
            "xarb_feed_age_seconds",
            "gauge",
            "Time since the connection was last heard.",
            [(labels[n], _seconds(max(place.now - one.heard, 0))) for n, one in mine.items()],
        ),
        (
            "xarb_feed_lag_seconds",
            "gauge",
            "Receive time minus the venue's time of the last market row, the clocks' distance included.",
            [({"venue": venue}, _seconds(lag)) for venue, lag in state.lag_ns.items()],
        ),
        ("xarb_feed_gaps_total", "counter", "Gaps, since midnight UTC or the last start.", _by("venue", state.gaps)),
        ("xarb_rejects_total", "counter", "Bad input, since midnight UTC or the last start.", _by("venue", state.rejects)),
        (
            "xarb_feed_tradable",
            "gauge",
            "1 while the engine may trade on the feed.",
            [({"venue": venue, "symbol": symbol}, int(feed.tradable)) for (venue, symbol), feed in state.trading.feeds.items()],
        ),
        ("xarb_clock_offset_seconds", "gauge", "Distance of the venue's clock from ours.", offsets),
        *_countdowns(state, place),
        *_chains(state, place),
    ]


def _chains(state: Watched, place: Place) -> list[Metric]:
    ages = [({"venue": venue}, _seconds(max(place.now - head.ts, 0))) for venue, head in state.heads.items()]
    return [
        (
            "xarb_chain_block",
            "gauge",
            "Number of the chain's latest block.",
            [({"venue": v}, h.number) for v, h in state.heads.items()],
        ),
        ("xarb_chain_block_age_seconds", "gauge", "Time since its timestamp.", ages),
        (
            "xarb_chain_base_fee_wei",
            "gauge",
            "Its base fee for each gas.",
            [({"venue": v}, h.base_fee_wei) for v, h in state.heads.items() if h.base_fee_wei is not None],
        ),
        *_senders(state),
        (
            "xarb_chain_removed_total",
            "counter",
            "Blocks that reorganisations took back, since midnight UTC or the last start.",
            _by("venue", state.removed),
        ),
    ]


def _senders(state: Watched) -> list[Metric]:
    labels = {key: {"venue": key[0], "address": key[1]} for key in state.senders}
    nonces = [(labels[key], one.next_nonce) for key, one in state.senders.items() if one.next_nonce is not None]
    against = [({"venue": venue}, value) for (metric, venue), (value, _, _) in state.health.items() if metric == OBJECTIONS]
    return [
        ("xarb_chain_next_nonce", "gauge", "Nonce of the address' next transaction.", nonces),
        (
            "xarb_chain_waiting",
            "gauge",
            "Transactions of the address that may still be included.",
            [(labels[key], len(one.waiting)) for key, one in state.senders.items()],
        ),
        ("xarb_chain_objections", "gauge", "What speaks against sending there, how many; the reading says what.", against),
    ]


def _countdowns(state: Watched, place: Place) -> list[Metric]:
    told = {venue: (value, ts) for (metric, venue), (value, ts, _) in state.health.items() if metric == RUNS}
    lengths = [({"venue": venue}, value / 1000) for venue, (value, _) in told.items()]
    ages = [({"venue": venue}, _seconds(max(place.now - ts, 0))) for venue, (_, ts) in told.items()]
    return [
        ("xarb_cancel_after_seconds", "gauge", "How long the venue hears nothing of us until it cancels; 0: it does not.", lengths),
        ("xarb_cancel_after_age_seconds", "gauge", "Time since that was told, once a minute while it runs.", ages),
    ]


def _trading(state: Watched, place: Place) -> list[Metric]:
    trading = state.trading
    if not trading.number:
        return []
    level = ARMED if trading.armed else DISARMED
    if state.killed is not None:
        level = DISARMED + KILL_LEVELS.index(kill_level(state.killed.detail))
    end = trading.ended.ts if trading.ended is not None else place.now
    alive: dict[str, int] = {}
    for word, _, _ in trading.alive.values():
        alive[word] = alive.get(word, 0) + 1
    return [
        ("xarb_start_number", "gauge", "Number of the last start.", [({"mode": trading.mode}, trading.number)]),
        ("xarb_uptime_seconds", "gauge", "Time since the last start, up to its end.", [({}, _seconds(end - trading.since))]),
        ("xarb_armed", "gauge", "1 while bundles are sent.", [({}, int(trading.armed))]),
        ("xarb_kill_level", "gauge", "0 armed, 1 no new bundles, killed to 2 cancel, 3 unwind, 4 stop.", [({}, level)]),
        ("xarb_scans_total", "counter", "Timer wakes of strategies, in this start.", [({}, trading.scans)]),
        ("xarb_opportunities_total", "counter", "Opportunities that opened, in this start.", [({}, trading.opportunities)]),
        ("xarb_decisions_total", "counter", "Decisions on opportunities.", _by("verdict", trading.decided)),
        ("xarb_refusals_total", "counter", "What was passed on or not let go.", _by("reason", trading.refusals)),
        ("xarb_orders_total", "counter", "Orders by the states that they came into.", _by("state", trading.orders)),
        ("xarb_cycles_total", "counter", "Transactions on chains by the states that they came into.", _by("state", trading.cycles)),
        (
            "xarb_chain_gas",
            "gauge",
            "What transactions on chains cost in this start, in the chain's own asset, exact.",
            [({"account": account, "venue": venue}, money(spent)) for (account, venue), spent in sorted(trading.gas.items())],
        ),
        (
            "xarb_balance",
            "gauge",
            "Balances by the ledger, exact.",
            [
                ({"account": account, "venue": venue, "asset": asset}, money(amount))
                for (account, venue, asset), amount in sorted(state.held.items())
            ],
        ),
        ("xarb_open_orders", "gauge", "Orders that may still fill.", _by("state", alive)),
        ("xarb_fills_total", "counter", "Fills.", _by("purpose", trading.fills)),
        ("xarb_open_bundles", "gauge", "Bundles with orders that may still fill.", [({}, trading.open_bundles)]),
        (
            "xarb_breaker",
            "gauge",
            "New bundles of an account at a venue: 0 freely, 1 none, 2 one small one at a time.",
            [
                ({"account": account, "venue": venue}, BREAKER_STATES.index(one.state))
                for (account, venue), one in trading.breakers.items()
            ],
        ),
    ]


def _gains(state: Watched) -> list[Metric]:
    trading = state.trading
    if not trading.number:
        return []
    course = state.course
    gained = {currency: course.gained(currency) for currency in course.currencies}
    today = {currency: course.gained_today(currency) for currency in course.currencies}
    taken = trading.decided["taken"]
    return [
        ("xarb_trading_pnl", "gauge", "What orders gained in this start, at the last prices.", _amounts(gained)),
        ("xarb_trading_pnl_today", "gauge", "The same since midnight UTC, over all starts.", _amounts(today)),
        ("xarb_trading_drawdown", "gauge", "How far it lies below its peak.", _amounts(course.drawdown)),
        (
            "xarb_mean_profit",
            "gauge",
            "Trading PnL divided by the bundles that were taken.",
            _amounts({c: None if value is None or not taken else value // taken for c, value in gained.items()}),
        ),
        (
            "xarb_flow",
            "gauge",
            "Change of each asset by trades, fees, cycles and gas in this start, exact; a wrapped one is what it wraps.",
            [({"asset": asset}, money(change)) for asset, change in course.flows.items()],
        ),
    ]


def _amounts(by_currency: Mapping[str, int | None]) -> list[Sample]:
    return [({"currency": currency}, money(value)) for currency, value in by_currency.items() if value is not None]


def _by(label: str, counts: Mapping[str, int]) -> list[Sample]:
    return [({label: word}, count) for word, count in sorted(counts.items())]


def _age(now: int, ts: int) -> list[Sample]:
    return [({}, _seconds(max(now - ts, 0)))] if ts else []


def _seconds(nanos: int) -> float:
    return nanos / NANOS_PER_S


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    quoted = (f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return "{" + ",".join(quoted) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
