"""The product against the plain model: every output row of whole backtests, on the markets that the speed is measured on.

Compared are all rows of all kinds in their order, so that fills, fees, ledger and with them the PnL agree to the last digit, and so do feed
states, flags, episodes, decisions, commands, refusals, reports and order states, each with its cause and its time.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from bench.markets import COINS, VENUES, Market, make, w1, w2
from tests.plain.model import Model
from tests.plain.rows import Row, money, read
from tests.plain.terms import BPS, MS, BreakerTerms, FeedTerms, StrategyTerms, Terms, VenueTerms, experiment_toml, fees_toml
from xarb.config import load_experiment
from xarb.log.reader import LogReader
from xarb.verbs.backtest import backtest

Rows = list[tuple[str, Row]]
BUSY = Market(5_000, symbols=2, venues=3, share=0.1, seed=3)
HELD = Market(10_000, symbols=2, venues=3, share=0.2, seed=5)  # one order that flattens is cut by a bound, one refused
MODEST = StrategyTerms(max_notional=Fraction(500))
STUBBORN = MODEST._replace(hedge_cap_ppb=0, unwind_cap_ppb=0, max_attempts=50, retry_ns=40 * MS)


class Case(NamedTuple):
    """A market, the terms of a run on it, and what must be seen in its rows: (kind, column, value)."""

    market: Market
    terms: Terms
    seen: tuple[tuple[str, str, str], ...]


def terms(
    market: Market,
    *strategies: StrategyTerms,
    money_each: int = 10**9,
    feeds: FeedTerms | None = None,
    breakers: BreakerTerms | None = None,
    **venue: Any,
) -> Terms:
    """Terms with the same venue everywhere; each venue holds `money_each` USDT, and about as much of each coin."""
    names = VENUES[: market.venues]
    opening = [((name, "USDT"), Fraction(money_each)) for name in names]
    for coin in COINS[: market.symbols]:
        lots = money_each * 10 ** (coin.px_scale + coin.qty_scale) // coin.mid
        opening += [((name, coin.base), Fraction(lots, 10**coin.qty_scale)) for name in names]
    venues = tuple(VenueTerms(name, **venue) for name in names)
    return Terms(venues, tuple(opening), strategies or (MODEST,), feeds or FeedTerms(), breakers=breakers or BreakerTerms())


TRADED = (("fills", "purpose", "open"), ("orders", "state", "filled"), ("opportunities", "verdict", "taken"))
FLATTENED = (("fills", "purpose", "hedge"), ("fills", "purpose", "unwind"))
AT_ONCE: dict[str, Any] = {"order_latency": (0, 0), "feed_latency": (0, 0), "response_latency": (0, 0)}
SCATTERED: dict[str, Any] = {"order_latency": (0, 9 * MS), "feed_latency": (MS, 4 * MS), "response_latency": (0, 30 * MS)}
CASES = {
    "w1": Case(w1(60_000), terms(w1(0)), TRADED),
    "w2": Case(w2(60_000), terms(w2(0)), TRADED),
    "w1, no latency": Case(w1(10_000), terms(w1(0), **AT_ONCE), TRADED),
    "w2, no latency": Case(w2(10_000), terms(w2(0), **AT_ONCE), TRADED),
    "w1, drawn latencies": Case(w1(10_000), terms(w1(0), **SCATTERED), TRADED),
    "w2, drawn latencies": Case(w2(10_000), terms(w2(0), **SCATTERED), TRADED),
    "w1, fees in base": Case(w1(10_000), terms(w1(0), fee_asset="base"), TRADED),
    "w1, fees in what is received": Case(w1(10_000), terms(w1(0), fee_asset="received"), TRADED),
    "legs that miss": Case(BUSY, terms(BUSY, order_latency=(0, 60 * MS)), (*TRADED, *FLATTENED, ("orders", "state", "expired"))),
    "caps that hold": Case(
        BUSY,
        terms(BUSY, MODEST._replace(hedge_cap_ppb=0, unwind_cap_ppb=0, max_attempts=1), order_latency=(0, 150 * MS)),
        (("refusals", "reason", "hedge_cap"), ("refusals", "reason", "unwind_cap"), ("refusals", "reason", "max_attempts")),
    ),
    "legs that are undone first": Case(
        BUSY,
        terms(BUSY, MODEST._replace(residual="reverse"), order_latency=(0, 60 * MS)),
        (*TRADED, ("fills", "purpose", "unwind")),
    ),
    "residuals that are held": Case(
        BUSY, terms(BUSY, MODEST._replace(residual="hold"), order_latency=(0, 60 * MS)), (("refusals", "reason", "residual_hold"),)
    ),
    "too much that may still fill": Case(
        BUSY,
        terms(
            BUSY,
            MODEST._replace(name="symbol", max_symbol_open=Fraction(900)),
            MODEST._replace(name="venue", max_venue_open=Fraction(600)),
            order_latency=(0, 60 * MS),
        ),
        (*TRADED, ("refusals", "reason", "symbol_open"), ("refusals", "reason", "venue_open")),
    ),
    "positions that may grow no further": Case(
        HELD,
        terms(
            HELD,
            MODEST._replace(hedge_cap_ppb=0, unwind_cap_ppb=0, max_attempts=2, retry_ns=40 * MS)._replace(
                max_exposure=((COINS[0].base, Fraction("0.009")), ("USDT", Fraction(700)))
            ),
            order_latency=(0, 150 * MS),
        ),
        (*TRADED, ("fills", "purpose", "unwind"), ("refusals", "reason", "max_exposure")),
    ),
    "prices off the median": Case(
        Market(5_000, symbols=2, venues=4, share=0.1, seed=3),
        terms(
            Market(0, symbols=2, venues=4, share=0),
            MODEST._replace(price_band_ppb=22 * BPS),
            order_latency=(0, 60 * MS),
        ),
        (*TRADED, ("refusals", "reason", "price_band")),
    ),
    "losses beyond a limit": Case(
        BUSY,
        terms(
            BUSY,
            MODEST._replace(name="day", residual="hold", max_day_loss=Fraction(1, 5), on_loss="refuse"),
            MODEST._replace(name="peak", max_day_loss=Fraction(10**6), max_drawdown=Fraction(1, 20), on_loss="refuse"),
            order_latency=(0, 60 * MS),
        ),
        (("results", "currency", "USDT"), ("refusals", "reason", "day_loss"), ("refusals", "reason", "drawdown")),
    ),
    "a loss that kills": Case(
        BUSY,
        terms(
            BUSY,
            MODEST._replace(name="day", residual="hold", max_day_loss=Fraction(1, 5), on_loss="refuse"),
            MODEST._replace(name="peak", max_drawdown=Fraction(1, 20)),
            order_latency=(0, 60 * MS),
        ),
        (("results", "currency", "USDT"), ("refusals", "reason", "loss")),
    ),
    "bundles that may lose too much": Case(
        BUSY,
        terms(
            BUSY,
            STUBBORN._replace(name="open", max_bundle_loss=Fraction(1, 100), on_loss="refuse"),
            MODEST._replace(name="held", residual="hold", max_bundle_loss=Fraction(1, 50), on_loss="refuse"),
            MODEST._replace(
                name="caps", hedge_cap_ppb=3 * BPS, unwind_cap_ppb=BPS, max_bundle_loss=Fraction(1, 40), on_loss="refuse"
            ),
            taker_ppb=BPS // 10,
            order_latency=(0, 150 * MS),
        ),
        (*TRADED, ("refusals", "reason", "bundle_loss"), ("refusals", "reason", "bundle_lost"), ("bundles", "event", "beyond")),
    ),
    "a bundle whose loss kills": Case(
        BUSY,
        terms(BUSY, STUBBORN._replace(max_bundle_loss=Fraction(1, 100)), taker_ppb=BPS // 10, order_latency=(0, 150 * MS)),
        (*TRADED, ("bundles", "event", "beyond"), ("refusals", "reason", "loss")),
    ),
    "moving inventory costs": Case(
        BUSY,
        terms(
            BUSY,
            MODEST._replace(moving=((COINS[0].base, 8 * BPS), (COINS[1].base, 3 * BPS), ("USDT", BPS))),
            money_each=20_000,
            order_latency=(0, 60 * MS),
        )._replace(
            shares=tuple(
                ((venue, asset), Fraction(part, 10))
                for asset in (COINS[0].base, "USDT")
                for venue, part in zip(VENUES, (5, 3, 2), strict=False)
            )
        ),
        (*TRADED, ("opportunities", "reason", "inventory_cost"), ("refusals", "reason", "inventory_cost")),
    ),
    "caps in steps, residuals that grow old": Case(
        BUSY,
        terms(
            BUSY,
            MODEST._replace(cap_step_ppb=BPS // 100, retry_ns=20 * MS)._replace(max_attempts=9, residual_ttl_ns=200 * MS),
            order_latency=(0, 150 * MS),
        ),
        (*FLATTENED, ("refusals", "reason", "residual_ttl"), ("refusals", "reason", "hedge_cap")),
    ),
    "several strategies, little money": Case(
        BUSY,
        terms(
            BUSY,
            MODEST._replace(name="b", budget=(("USDT", Fraction(1500)),), min_life_ns=15 * MS, scan_ns=7 * MS),
            MODEST._replace(name="a", cool_down_ns=50 * MS, improve_ppb=0, daily_volume=Fraction(10_000), orders_per_second=4),
            money_each=4_000,
            order_latency=(MS, 12 * MS),
        ),
        (
            *TRADED,
            ("opportunities", "reason", "balance"),
            ("opportunities", "reason", "cool_down"),
            ("opportunities", "reason", "leg_in_flight"),
            ("refusals", "reason", "orders_per_second"),
            ("refusals", "reason", "daily_volume"),
        ),
    ),
    "few bundles a minute, a part of each balance": Case(
        BUSY,
        terms(
            BUSY,
            MODEST._replace(name="a", bundles_per_minute=3),
            MODEST._replace(name="b", balance_share_ppb=10**6),
            money_each=20_000,
            order_latency=(0, 60 * MS),
        ),
        (*TRADED, ("refusals", "reason", "bundles_per_minute"), ("opportunities", "reason", "balance")),
    ),
    "much sent in a day": Case(
        BUSY,
        terms(
            BUSY,
            MODEST._replace(name="a", daily_symbol=Fraction(20_000)),
            MODEST._replace(name="b", daily_venue=Fraction(20_000)),
            order_latency=(0, 60 * MS),
        ),
        (*TRADED, ("refusals", "reason", "daily_symbol"), ("refusals", "reason", "daily_venue")),
    ),
    "answers that come late": Case(
        BUSY,
        terms(BUSY, MODEST._replace(timeout_ns=9 * MS), order_latency=(0, 20 * MS), response_latency=(0, 20 * MS), rate_limit=2),
        (
            ("orders", "state", "unknown"),
            ("commands", "kind", "cancel"),
            ("sim_reports", "reason", "rate_limit"),
            ("sim_reports", "reason", "order_filled"),
        ),
    ),
    "orders of unknown fate": Case(
        BUSY,
        terms(
            BUSY,
            MODEST._replace(timeout_ns=5 * MS, unknown_wait_ns=8 * MS, unwind_cap_ppb=200 * BPS, cap_step_ppb=BPS // 100),
            MODEST._replace(name="held", timeout_ns=5 * MS, unknown_wait_ns=8 * MS, residual="hold"),
            order_latency=(0, 20 * MS),
            response_latency=(0, 90 * MS),
        ),
        (
            ("orders", "state", "unknown"),
            ("fills", "purpose", "unwind"),
            ("refusals", "reason", "order_unknown"),
            ("refusals", "reason", "unwind_cap"),
        ),
    ),
    "venues that reject": Case(
        BUSY,
        terms(
            BUSY,
            MODEST,
            MODEST._replace(name="other", max_notional=Fraction(300)),
            breakers=BreakerTerms(rejects=2, errors=6, error_recovery_ns=700 * MS, pause_ns=200 * MS, max_pause_ns=900 * MS),
            order_latency=(0, 20 * MS),
            rate_limit=3,
        ),
        (
            *(("breakers", "reason", reason) for reason in ("rejects", "probe_rejected")),
            *(("breakers", "state", state) for state in ("open", "half_open", "closed")),
            ("opportunities", "reason", "breaker_open"),
        ),
    ),
    "venues that err": Case(
        BUSY,
        terms(
            BUSY,
            MODEST,
            breakers=BreakerTerms(rejects=0, errors=3, error_recovery_ns=900 * MS, pause_ns=300 * MS),
            order_latency=(0, 20 * MS),
            rate_limit=3,
        ),
        (("breakers", "reason", "errors"), ("breakers", "state", "closed")),
    ),
    "venues that are slow": Case(
        BUSY,
        terms(BUSY, MODEST, breakers=BreakerTerms(max_ack_ns=27 * MS, pause_ns=50 * MS), order_latency=(0, 30 * MS)),
        (("breakers", "reason", "ack_latency"), ("breakers", "reason", "probe_slow"), ("breakers", "state", "closed")),
    ),
    "venues that do not answer": Case(
        BUSY,
        terms(
            BUSY,
            MODEST._replace(timeout_ns=9 * MS),
            breakers=BreakerTerms(unknown=2, pause_ns=5 * MS, max_pause_ns=20 * MS),
            order_latency=(0, 20 * MS),
            response_latency=(0, 20 * MS),
        ),
        (("breakers", "reason", "unknown"), ("breakers", "reason", "probe_unknown"), ("breakers", "state", "half_open")),
    ),
    "residuals beside orders of unknown fate": Case(
        BUSY,
        terms(
            BUSY,
            MODEST._replace(timeout_ns=9 * MS, unknown_wait_ns=4 * MS, residual_ttl_ns=14 * MS),
            MODEST._replace(name="hurried", timeout_ns=9 * MS, unknown_wait_ns=2 * MS, max_attempts=1),
            breakers=BreakerTerms(unknown=0, errors=0, rejects=0),
            order_latency=(0, 60 * MS),
            response_latency=(0, 40 * MS),
        ),
        (*TRADED, *FLATTENED, ("refusals", "reason", "residual_ttl"), ("refusals", "reason", "max_attempts")),
    ),
    "residuals that nobody takes": Case(
        BUSY,
        terms(
            BUSY,
            MODEST._replace(hedge_cap_ppb=0, unwind_cap_ppb=0, max_attempts=1),
            breakers=BreakerTerms(residual_held=True),
            order_latency=(0, 150 * MS),
        ),
        (("breakers", "reason", "residual_held"), ("opportunities", "reason", "breaker_open")),
    ),
    "feeds that open breakers": Case(
        Market(4_000, symbols=2, venues=4, share=0.05, events_per_s=120, seed=4),
        terms(
            Market(0, symbols=2, venues=4, share=0),
            MODEST,
            feeds=FeedTerms(liveness_ns=90 * MS, cache_ns=200 * MS, max_latency_ns=4 * MS, quality_floor=0, score_ns=100 * MS),
            breakers=BreakerTerms(min_feed_score=930, pause_ns=300 * MS),
            **AT_ONCE,
        ),
        (("breakers", "reason", "feed_score"), ("breakers", "state", "closed")),
    ),
    "feeds that fail": Case(
        Market(4_000, symbols=2, venues=4, share=0.05, events_per_s=120, seed=4),
        terms(
            Market(0, symbols=2, venues=4, share=0),
            MODEST._replace(max_edge_ppb=2_350_000, latency_threshold_ns=30 * MS, max_open_bundles=1),
            feeds=FeedTerms(
                liveness_ns=90 * MS,
                cache_ns=200 * MS,
                max_latency_ns=4 * MS,
                freeze_ns=120 * MS,
                freeze_moves=2,
                outlier_mads=6,
                outlier_floor_ppb=23 * BPS,
                spread_multiple=1,
                quality_floor=900,
                score_ns=100 * MS,
            ),
            **AT_ONCE,
        ),
        (
            ("feed_states", "state", "stale"),
            ("feed_states", "state", "outlying"),
            ("feed_states", "state", "frozen"),
            *(("flags", "rule", rule) for rule in ("late_event", "wide_spread", "outlier", "frozen", "abnormal_edge")),
            ("opportunities", "reason", "feed"),
            ("opportunities", "reason", "abnormal_edge"),
            ("opportunities", "reason", "stale_quote"),
        ),
    ),
    "quotes that jump": Case(
        Market(4_000, symbols=2, venues=4, share=0.05, episode_events=60, events_per_s=120, seed=5),
        terms(
            Market(0, symbols=2, venues=4, share=0),
            MODEST,
            feeds=FeedTerms(cache_ns=1_500 * MS, jump_ppb=20 * BPS, jump_ns=300 * MS, score_ns=200 * MS),
            **AT_ONCE,
        ),
        (("feed_states", "state", "outlying"), ("feed_states", "previous", "outlying"), ("flags", "rule", "jump")),
    ),
}


def unseen(done: int, total: int, note: str = "") -> None:
    """No progress bar."""
    del done, total, note


def product(log: Path, given: Terms, folder: Path) -> tuple[Rows, str]:
    """Output rows of the product, absent values left out, and the prefix of its client order ids."""
    folder.mkdir()
    (folder / "fees.toml").write_text(fees_toml(given))
    (folder / "run.toml").write_text(experiment_toml(given))
    out = folder / "run"
    backtest(load_experiment(folder / "run.toml"), log=log, out=out, advance=unseen)
    reader = LogReader(out)
    rows = [(kind, {name: value for name, value in row.items() if value is not None}) for kind, row in reader.outputs()]
    return rows, f"{reader.manifest.header.log_id[:8]}-1-"


def same(log: Path, given: Terms, folder: Path) -> Rows:
    """The rows of the product, compared with the model's; and the venues' money with what the ledger says."""
    real, prefix = product(log, given, folder)
    model = Model(read(log), given)
    plain = model.run(prefix)
    for at, (expected, found) in enumerate(zip(plain, real, strict=False)):
        assert found == expected, f"row {at} of {len(real)}"
    assert len(real) == len(plain)
    ledger: dict[tuple[str, str], int] = {}
    for kind, row in real:
        if kind == "ledger":
            ledger[row["venue"], row["asset"]] = ledger.get((row["venue"], row["asset"]), 0) + row["delta"]
    done = {report.order for report in model.outbox} | {one.number for venue in model.venues.values() for one in venue.travelling}
    if not done:
        assert ledger == {place: money(amount) for place, amount in model.balances().items()}
    return real


@pytest.mark.parametrize("name", CASES)
def test_every_row_of_a_backtest_is_what_the_plain_model_says(name: str, tmp_path: Path) -> None:
    """Fills, fees, ledger and every other output row equal those of plain Python that shares no code, in what they are named for."""
    case = CASES[name]
    make(tmp_path / "log", case.market)
    rows = same(tmp_path / "log", case.terms, tmp_path / "run")
    for kind, column, value in case.seen:
        assert any(one == kind and row.get(column) == value for one, row in rows), f"nothing shows {kind}.{column} = {value}"
