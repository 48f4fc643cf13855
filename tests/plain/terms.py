"""What a run of the plain model is told: every setting stated, none taken from the product's defaults; and the same as an experiment file.

Times are in ns, ratios in ppb, money and sizes are fractions of whole units.
"""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

MS = 10**6
BPS = 100_000  # ppb


class VenueTerms(NamedTuple):
    """A simulated venue; a latency is (low, high), both reached, equal ones constant."""

    name: str
    taker_ppb: int = 1_000_000
    fee_asset: str = "quote"
    order_latency: tuple[int, int] = (2 * MS, 2 * MS)
    feed_latency: tuple[int, int] = (MS, MS)
    response_latency: tuple[int, int] = (2 * MS, 2 * MS)
    rate_limit: int = 1000


class FeedTerms(NamedTuple):
    """What makes a quote usable, for all venues."""

    liveness_ns: int = 1000 * MS
    cache_ns: int = 300_000 * MS
    max_latency_ns: int = 500 * MS
    future_ns: int = 50 * MS
    freeze_ns: int = 300_000 * MS
    freeze_moves: int = 20
    outlier_mads: int = 8
    outlier_floor_ppb: int = 200 * BPS
    jump_ppb: int = 75 * BPS
    jump_ns: int = 30_000 * MS
    spread_multiple: int = 20
    quality_floor: int = 500
    score_ns: int = 1000 * MS


class BreakerTerms(NamedTuple):
    """What opens the breaker of any venue; 0 switches a rule off."""

    errors: int = 20
    error_recovery_ns: int = 30_000 * MS
    unknown: int = 3
    rejects: int = 10
    max_ack_ns: int = 2_000 * MS
    min_feed_score: int = 300
    residual_held: bool = False
    pause_ns: int = 60_000 * MS
    max_pause_ns: int = 3_600_000 * MS


class StrategyTerms(NamedTuple):
    """One micro strategy with simultaneous legs on account `main`."""

    name: str = "cross"
    min_profit_ppb: int = BPS
    min_profit_quote: Fraction = Fraction(1, 100)
    max_notional: Fraction = Fraction(5000)
    open_ppb: int = 0
    close_ppb: int = 0
    improve_ppb: int = BPS
    min_life_ns: int = 0
    scan_ns: int = 100 * MS
    max_edge_ppb: int = 500 * BPS
    latency_threshold_ns: int = 1000 * MS
    timeout_ns: int = 5000 * MS
    max_open_bundles: int = 10
    daily_volume: Fraction | None = None
    daily_symbol: Fraction | None = None
    daily_venue: Fraction | None = None
    orders_per_second: int | None = None
    bundles_per_minute: int | None = None
    balance_share_ppb: int = 0
    cool_down_ns: int = 0
    hedge_cap_ppb: int = 20 * BPS
    unwind_cap_ppb: int = 50 * BPS
    max_attempts: int = 3
    retry_ns: int = 500 * MS
    residual: str = "proceed"
    cap_step_ppb: int = 0
    residual_ttl_ns: int = 0
    unknown_wait_ns: int = 10_000 * MS
    price_band_ppb: int = 0
    max_symbol_open: Fraction | None = None
    max_venue_open: Fraction | None = None
    max_exposure: tuple[tuple[str, Fraction], ...] = ()
    max_day_loss: Fraction | None = None  # in USDT
    max_drawdown: Fraction | None = None
    max_bundle_loss: Fraction | None = None
    on_loss: str = "kill"
    moving: tuple[tuple[str, int], ...] = ()  # what moving an asset back costs, ppb
    budget: tuple[tuple[str, Fraction], ...] = ()


class Terms(NamedTuple):
    """A whole run; `opening` are balances of account `main` by (venue, asset)."""

    venues: tuple[VenueTerms, ...]
    opening: tuple[tuple[tuple[str, str], Fraction], ...]
    strategies: tuple[StrategyTerms, ...] = (StrategyTerms(),)
    feeds: FeedTerms = FeedTerms()
    shares: tuple[tuple[tuple[str, str], Fraction], ...] = ()  # targets by (venue, asset)
    breakers: BreakerTerms = BreakerTerms()
    seed: int = 7


def text(number: Fraction | int) -> str:
    """A finite decimal as text."""
    scaled = Fraction(number) * 10**18
    assert scaled.denominator == 1
    whole, part = divmod(scaled.numerator, 10**18)
    return f"{whole}.{part:018d}".rstrip("0").rstrip(".")


def _ms(ns: int) -> str:
    return text(Fraction(ns, MS))


def _bps(ppb: int) -> str:
    return text(Fraction(ppb, BPS))


def fees_toml(terms: Terms) -> str:
    """The fee schedules of the venues."""
    lines = []
    for venue in terms.venues:
        ratio = text(Fraction(venue.taker_ppb, 10**9))
        lines += [f"[plain-{venue.name}]", f'venue = "{venue.name}"', f'maker = "{ratio}"', f'taker = "{ratio}"']
        lines += [f'asset = "{venue.fee_asset}"', 'source = "test"', 'as_of = "2026-01"']
    return "\n".join(lines) + "\n"


def experiment_toml(terms: Terms) -> str:
    """The run as an experiment file beside `fees.toml`."""
    feeds = terms.feeds
    lines = ["[run]", f"seed = {terms.seed}", 'fees_file = "fees.toml"', "[feeds]"]
    for name in ("liveness", "cache", "max_latency", "future", "freeze", "jump", "score"):
        lines.append(f"{name}_ms = {_ms(getattr(feeds, f'{name}_ns'))}")
    for name in ("freeze_moves", "outlier_mads", "spread_multiple", "quality_floor"):
        lines.append(f"{name} = {getattr(feeds, name)}")
    lines.append(f"outlier_floor_bps = {_bps(feeds.outlier_floor_ppb)}")
    lines.append(f"jump_bps = {_bps(feeds.jump_ppb)}")
    breakers = terms.breakers
    lines += ["[breakers]", f"residual_held = {str(breakers.residual_held).lower()}"]
    lines += [f"{name} = {getattr(breakers, name)}" for name in ("errors", "unknown", "rejects", "min_feed_score")]
    for name in ("error_recovery", "max_ack", "pause", "max_pause"):
        lines.append(f"{name}_ms = {_ms(getattr(breakers, f'{name}_ns'))}")
    for venue in terms.venues:
        lines += [f"[venues.{venue.name}]", f'fees = "plain-{venue.name}"', f"rate_limit_per_s = {venue.rate_limit}"]
        for name in ("order_latency", "feed_latency", "response_latency"):
            low, high = getattr(venue, name)
            value = f"constant_ms = {_ms(low)}" if low == high else f"uniform_ms = [{_ms(low)}, {_ms(high)}]"
            lines.append(f"{name} = {{ {value} }}")
        lines.append(f"[accounts.main.{venue.name}]")
        lines += [f"{asset} = {text(amount)}" for (name, asset), amount in terms.opening if name == venue.name]
        lines.append(f"[inventory.shares.main.{venue.name}]")
        lines += [f"{asset} = {text(share)}" for (name, asset), share in terms.shares if name == venue.name]
    for strategy in terms.strategies:
        lines += _strategy(strategy)
    return "\n".join(lines) + "\n"


def _strategy(strategy: StrategyTerms) -> list[str]:
    lines = [f"[strategies.{strategy.name}]", 'kind = "micro"', 'account = "main"', 'sequence = "simultaneous"']
    for key in ("min_profit", "open", "close", "improve", "max_edge", "hedge_cap", "unwind_cap", "cap_step", "price_band"):
        lines.append(f"{key}_bps = {_bps(getattr(strategy, f'{key}_ppb'))}")
    for key in ("min_life", "scan", "latency_threshold", "cool_down", "retry", "residual_ttl", "unknown_wait"):
        lines.append(f"{key}_ms = {_ms(getattr(strategy, f'{key}_ns'))}")
    lines.append(f"execution_timeout_ms = {_ms(strategy.timeout_ns)}")
    lines += [f"min_profit_quote = {text(strategy.min_profit_quote)}", f"max_notional_quote = {text(strategy.max_notional)}"]
    lines += [f"max_open_bundles = {strategy.max_open_bundles}", f"max_attempts = {strategy.max_attempts}"]
    lines += [f'residual = "{strategy.residual}"', f'on_loss = "{strategy.on_loss}"']
    if strategy.orders_per_second is not None:
        lines.append(f"max_orders_per_s = {strategy.orders_per_second}")
    if strategy.bundles_per_minute is not None:
        lines.append(f"max_bundles_per_min = {strategy.bundles_per_minute}")
    if strategy.balance_share_ppb:
        lines.append(f"max_balance_share_bps = {_bps(strategy.balance_share_ppb)}")
    for key in ("max_symbol_open", "max_venue_open", "daily_volume", "daily_symbol", "daily_venue"):
        if getattr(strategy, key) is not None:
            lines.append(f"{key}_quote = {text(getattr(strategy, key))}")
    for key in ("max_day_loss", "max_drawdown", "max_bundle_loss"):
        if getattr(strategy, key) is not None:
            lines.append(f"{key} = {{ USDT = {text(getattr(strategy, key))} }}")
    if strategy.max_exposure:
        lines.append("max_exposure = { " + ", ".join(f"{asset} = {text(most)}" for asset, most in strategy.max_exposure) + " }")
    if strategy.moving:
        lines.append("inventory_cost_bps = { " + ", ".join(f"{asset} = {_bps(ppb)}" for asset, ppb in strategy.moving) + " }")
    if strategy.budget:
        lines.append("budget = { " + ", ".join(f"{asset} = {text(amount)}" for asset, amount in strategy.budget) + " }")
    return lines
