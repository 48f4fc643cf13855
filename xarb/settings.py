"""A config's sections in the units of what takes them: ns, parts per billion, money at 18 decimals."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import TypeVar

from xarb.config import FeedConfig, RetentionConfig, VenueConfig
from xarb.config.breakers import BreakerConfig
from xarb.config.inventory import InventoryConfig
from xarb.config.latency import LatencyConfig
from xarb.config.onchain import LenderConfig, OnChain
from xarb.config.strategies import StrategyConfig
from xarb.engine.breaker import BreakerLimits
from xarb.engine.setup import AdjustLimits, FeedLimits
from xarb.engine.terms import ChainTerms, ExecutionPolicy, RiskLimits, StrategyTerms
from xarb.errors import ConfigError
from xarb.log.committer import Policy
from xarb.log.prune import Retention
from xarb.model.units import NANOS_PER_MS, NANOS_PER_S, Money, Ppb, parse_bps, parse_money
from xarb.pools.financing import PPM, WAD, LoanTerms
from xarb.strategies.cex_dex import CexDexParams
from xarb.strategies.dex import DexParams
from xarb.strategies.micro import MicroParams
from xarb.strategies.moving import MovingTerms
from xarb.strategies.triangular import TriangularParams
from xarb.venues.chainterms import ChainModel
from xarb.venues.terms import ConstantLatency, Latency, Outage, TableLatency, UniformLatency, VenueModel

_Made = TypeVar("_Made")


@lru_cache(1024)  # the same few values stand in many sections, of many instruments
def nanos(ms: Decimal) -> int:
    """Milliseconds as whole ns, rounded up."""
    return -int(-ms * NANOS_PER_MS // 1)


def ts_of(text: str, where: str) -> int:
    """An ISO 8601 time as ns since 1970; without an offset it is UTC.

    Raises:
        ConfigError: not such a time.
    """
    try:
        when = dt.datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{where} = {text}: allowed is an ISO 8601 time such as 2024-08-08T23:55:00Z") from None
    when = when.replace(tzinfo=dt.UTC) if when.tzinfo is None else when
    delta = when - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return (delta.days * 86_400 + delta.seconds) * NANOS_PER_S + delta.microseconds * 1000


def log_policy(config: RetentionConfig) -> Policy:
    """How a log that grows is written, with what it need not keep."""
    if not config.frames_days and not config.inputs_days:
        return Policy()
    return Policy(retention=Retention(frames_days=config.frames_days, inputs_days=config.inputs_days))


@lru_cache(256)  # most instruments of a log have the same
def feed_limits(config: FeedConfig) -> FeedLimits:
    """A feed section in the engine's units."""
    return FeedLimits(
        liveness_ns=nanos(config.liveness_ms),
        max_latency_ns=nanos(config.max_latency_ms),
        future_ns=nanos(config.future_ms),
        freeze_ns=nanos(config.freeze_ms),
        cache_ns=nanos(config.cache_ms),
        freeze_moves=config.freeze_moves,
        outlier_mads=config.outlier_mads,
        outlier_floor_ppb=ratio_of(config.outlier_floor_bps),
        jump_ppb=ratio_of(config.jump_bps),
        jump_ns=nanos(config.jump_ms),
        spread_multiple=config.spread_multiple,
        off_market_ppb=ratio_of(config.off_market_bps),
        dense_trade_ids=config.dense_trade_ids,
        quality_floor=config.quality_floor,
        score_ns=nanos(config.score_ms),
    )


def adjust_limits(config: InventoryConfig, currencies: tuple[str, ...]) -> AdjustLimits:
    """What difference from an exchange's balances is booked; it is valued in the first of these currencies that prices an asset."""
    return AdjustLimits(
        worth=money_of(config.adjust_worth),
        ratio_ppb=ratio_of(config.adjust_bps),
        currencies=currencies,
        foreign=money_of(config.foreign_worth),
    )


def breaker_limits(config: BreakerConfig, *, attended: bool) -> BreakerLimits:
    """A breaker section in the engine's units; `attended` says that there is a person who could reset a breaker."""
    return BreakerLimits(
        errors=config.errors,
        error_recovery_ns=nanos(config.error_recovery_ms),
        unknown=config.unknown,
        rejects=config.rejects,
        ack_ns=nanos(config.max_ack_ms),
        feed_score=config.min_feed_score,
        clock_offset_ns=nanos(config.max_clock_offset_ms),
        residual_held=attended if config.residual_held is None else config.residual_held,
        pause_ns=nanos(config.pause_ms),
        max_pause_ns=nanos(config.max_pause_ms),
        probe=None if config.probe_quote is None else money_of(config.probe_quote),
    )


def venue_model(config: VenueConfig, where: str, *, added_ns: int) -> VenueModel:
    """A venue section as the model of a simulated venue.

    Raises:
        ConfigError: a latency with no model or several, an outage that is no span of times, or a number out of range; the message
            names the key or the section `where`.
    """
    outages = [
        _told(f"{where}.outages", Outage, ts_of(first, f"{where}.outages"), ts_of(last, f"{where}.outages"))
        for first, last in config.outages
    ]
    if config.fill_share_bps == ():
        raise ConfigError(f"{where}.fill_share_bps: a table needs at least one share")
    model = _told(
        where,
        VenueModel,
        feed_latency=_latency(config.feed_latency, f"{where}.feed_latency"),
        order_latency=_latency(config.order_latency, f"{where}.order_latency"),
        response_latency=_latency(config.response_latency, f"{where}.response_latency"),
        assumed_qty=None if config.assumed_qty is None else money_of(config.assumed_qty),
        rate_limit=config.rate_limit_per_s,
        outages=tuple(outages),
        refusals=tuple((reason, ratio_of(bps)) for reason, bps in sorted((config.reject_bps or {}).items())),
        fill_shares=tuple(sorted(ratio_of(bps) for bps in config.fill_share_bps or ())),
    )
    return model.slower(added_ns)


def _told(where: str, make: Callable[..., _Made], *values: object, **named: object) -> _Made:
    """What `make` makes; where it refuses, the message begins with the key."""
    try:
        return make(*values, **named)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def _latency(config: LatencyConfig, where: str) -> Latency:
    given = [name for name in config.__struct_fields__ if getattr(config, name) is not None]
    if len(given) != 1:
        raise ConfigError(f"{where}: state exactly one of constant_ms, uniform_ms, table_ms; there is {', '.join(given) or 'none'}")
    if config.constant_ms is not None:
        return _told(where, ConstantLatency, nanos(config.constant_ms))
    if config.uniform_ms is not None:
        return _told(where, UniformLatency, *(nanos(ms) for ms in config.uniform_ms))
    return _told(where, TableLatency, tuple(sorted(nanos(ms) for ms in config.table_ms or ())))


def strategy_terms(config: StrategyConfig) -> StrategyTerms:
    """A strategy's section as its limits, policy and budget."""
    return StrategyTerms(
        limits=RiskLimits(
            max_open_bundles=config.max_open_bundles,
            max_notional=money_of(config.max_notional_quote),
            daily_volume=None if config.daily_volume_quote is None else money_of(config.daily_volume_quote),
            daily_symbol=None if config.daily_symbol_quote is None else money_of(config.daily_symbol_quote),
            daily_venue=None if config.daily_venue_quote is None else money_of(config.daily_venue_quote),
            cool_down_ns=nanos(config.cool_down_ms),
            latency_threshold_ns=nanos(config.latency_threshold_ms),
            orders_per_second=config.max_orders_per_s,
            bundles_per_minute=config.max_bundles_per_min,
            balance_share_ppb=ratio_of(config.max_balance_share_bps),
            max_exposure={asset: money_of(amount) for asset, amount in config.max_exposure.items()},
            max_symbol_open=None if config.max_symbol_open_quote is None else money_of(config.max_symbol_open_quote),
            max_venue_open=None if config.max_venue_open_quote is None else money_of(config.max_venue_open_quote),
            price_band_ppb=ratio_of(config.price_band_bps),
            venues=config.venues,
            symbols=config.symbols,
            on_loss=config.on_loss,
            max_day_loss={asset: money_of(amount) for asset, amount in config.max_day_loss.items()},
            max_drawdown={asset: money_of(amount) for asset, amount in config.max_drawdown.items()},
            max_bundle_loss={asset: money_of(amount) for asset, amount in config.max_bundle_loss.items()},
        ),
        execution=ExecutionPolicy(
            timeout_ns=nanos(config.execution_timeout_ms),
            hedge_cap_ppb=ratio_of(config.hedge_cap_bps),
            unwind_cap_ppb=ratio_of(config.unwind_cap_bps),
            max_attempts=config.max_attempts,
            max_cancels=config.max_cancels,
            retry_ns=nanos(config.retry_ms),
            residual=config.residual,
            cap_step_ppb=ratio_of(config.cap_step_bps),
            residual_ttl_ns=nanos(config.residual_ttl_ms),
            unknown_wait_ns=nanos(config.unknown_wait_ms),
        ),
        budget={asset: money_of(amount) for asset, amount in config.budget.items()},
    )


def micro_params(config: StrategyConfig, inventory: InventoryConfig | None = None) -> MicroParams:
    """A strategy's section as the parameters of `micro`, with the targets of its account."""
    return MicroParams(
        min_profit_ppb=ratio_of(config.min_profit_bps),
        min_profit_quote=money_of(config.min_profit_quote),
        max_notional_quote=money_of(config.max_notional_quote),
        max_open_bundles=config.max_open_bundles,
        latency_threshold_ns=nanos(config.latency_threshold_ms),
        execution_timeout_ns=nanos(config.execution_timeout_ms),
        cool_down_ns=nanos(config.cool_down_ms),
        scan_ns=nanos(config.scan_ms),
        min_life_ns=nanos(config.min_life_ms),
        improve_ppb=ratio_of(config.improve_bps),
        max_edge_ppb=ratio_of(config.max_edge_bps),
        sequence=config.sequence,
        max_levels=config.max_levels,
        moving=_moving_terms(config, inventory),
    )


def triangular_params(config: StrategyConfig, inventory: InventoryConfig | None = None) -> TriangularParams:
    """A strategy's section as the parameters of `triangular`, with the targets of its account."""
    return TriangularParams(
        max_legs=config.max_legs,
        open_ppb=ratio_of(config.open_bps),
        close_ppb=ratio_of(config.close_bps),
        every_row=config.every_row,
        min_profit_ppb=ratio_of(config.min_profit_bps),
        min_profit_quote=money_of(config.min_profit_quote),
        max_notional_quote=money_of(config.max_notional_quote),
        max_open_bundles=config.max_open_bundles,
        latency_threshold_ns=nanos(config.latency_threshold_ms),
        cool_down_ns=nanos(config.cool_down_ms),
        scan_ns=nanos(config.scan_ms),
        max_edge_ppb=ratio_of(config.max_edge_bps),
        sequence=config.sequence,
        max_levels=config.max_levels,
        moving=_moving_terms(config, inventory),
    )


def dex_params(config: StrategyConfig) -> DexParams:
    """A strategy's section as the parameters of `dex_dex`."""
    return DexParams(
        max_hops=config.max_legs,
        open_ppb=ratio_of(config.open_bps),
        close_ppb=ratio_of(config.close_bps),
        max_edge_ppb=ratio_of(config.max_edge_bps),
        min_profit_ppb=ratio_of(config.min_profit_bps),
        min_profit_quote=money_of(config.min_profit_quote),
        max_notional_quote=money_of(config.max_notional_quote),
        max_open_bundles=config.max_open_bundles,
        financing=config.financing,
        success_ppm=_ppm(config.success_bps),
        slip_ppm=_ppm(config.slip_bps),
        channel=config.channel,
        deadline_ns=nanos(config.deadline_ms),
    )


def cex_dex_params(config: StrategyConfig) -> CexDexParams:
    """A strategy's section as the parameters of `cex_dex`."""
    return CexDexParams(
        max_hops=config.max_legs,
        open_ppb=ratio_of(config.open_bps),
        close_ppb=ratio_of(config.close_bps),
        max_edge_ppb=ratio_of(config.max_edge_bps),
        min_profit_ppb=ratio_of(config.min_profit_bps),
        min_profit_quote=money_of(config.min_profit_quote),
        max_notional_quote=money_of(config.max_notional_quote),
        max_open_bundles=config.max_open_bundles,
        latency_threshold_ns=nanos(config.latency_threshold_ms),
        max_levels=config.max_levels,
        scan_ns=nanos(config.scan_ms),
        every_row=config.every_row,
        order=config.order,
        success_ppm=_ppm(config.success_bps),
        slip_ppm=_ppm(config.slip_bps),
        wait_ns=nanos(config.wait_ms),
        wait_risk_ppb=ratio_of(config.wait_risk_bps),
        channel=config.channel,
        deadline_ns=nanos(config.deadline_ms),
    )


def chain_terms(config: OnChain) -> ChainTerms:
    """What a chain's transactions are paid with."""
    own = config.own
    return ChainTerms(
        native=own.native,
        wrapped=own.wrapped,
        max_fee_wei=wei_of(own.max_fee_gwei),
        coins=own.coins,
        loans=loan_terms(config.lenders),
    )


def chain_model(config: OnChain, where: str, *, added_ns: int) -> ChainModel:
    """How a chain is simulated.

    Raises:
        ConfigError: as `venue_model`.
    """
    one = config.simulated
    return ChainModel(
        native=config.own.native,
        latency=_latency(one.latency, f"{where}.simulated.latency").slower(added_ns),
        lag_ns=nanos(one.lag_ms),
        receipt_ns=nanos(one.receipt_ms),
        tip_wei=wei_of(config.own.tip_gwei),
        missed_ppm=_ppm(one.missed_bps),
        taken_ppm=_ppm(one.taken_bps),
        finality_blocks=one.finality_blocks,
        sees_own_swaps=one.sees_own_swaps,
        loans=loan_terms(config.lenders),
    )


def loan_terms(lenders: Mapping[str, LenderConfig]) -> tuple[LoanTerms, ...]:
    """Who lends what."""
    return tuple(
        LoanTerms(
            way=one.kind, lender=one.address, token=token, premium_wad=one.premium_ppm * (WAD // PPM), available=money_of(depth)
        )
        for one in lenders.values()
        for token, depth in one.depth.items()
    )


def wei_of(gwei: Decimal) -> int:
    """Whole wei, rounded down."""
    return int(gwei * 10**9)


def _ppm(bps: Decimal) -> int:
    """Basis points as millionths, rounded down."""
    return int(bps * 100)


def _moving_terms(config: StrategyConfig, inventory: InventoryConfig | None) -> MovingTerms:
    """What moving assets costs a strategy, with the targets of its account."""
    shares: dict[str, dict[str, int]] = {}
    for (account, asset), mine in ({} if inventory is None else inventory.by_asset()).items():
        if account == config.account:
            shares[asset] = {venue: money_of(share) for venue, share in mine.items()}
    return MovingTerms(costs={asset: ratio_of(cost) for asset, cost in config.inventory_cost_bps.items()}, shares=shares)


@lru_cache(1024)
def money_of(amount: Decimal) -> Money:
    """An amount as money, exact.

    Raises:
        ValueError: finer than 18 decimals.
    """
    return parse_money(f"{amount:f}")


@lru_cache(1024)
def ratio_of(amount: Decimal) -> Ppb:
    """Basis points as parts per billion, exact.

    Raises:
        ValueError: finer than 0.00001 bps.
    """
    return parse_bps(f"{amount:f}")
