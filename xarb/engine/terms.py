"""The terms on which a strategy trades: its limits, its budget, and how its orders are carried out.

No field has a default: each is a config key, and the defaults of those stand in the config alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from xarb.errors import ConfigError
from xarb.model.units import Money, Ppb
from xarb.pools.financing import LoanTerms


class RiskLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What risk holds a strategy to. Times are in ns, money is an int at 18 decimals; None means no limit.

    `max_notional` bounds each planned leg in its own quote currency. `daily_volume` bounds the notional of all orders sent in a UTC day
    of engine time, starts before included, in each quote currency on its own; `daily_symbol` and `daily_venue` that on one symbol over all
    venues, and on one venue. `cool_down_ns` runs for a strategy's set of instruments from the close of a
    bundle on them. `latency_threshold_ns` is the largest age of the row that last confirmed a leg's quote. `orders_per_second`
    bounds orders of this strategy in any window of one second, `bundles_per_minute` the bundles that begin in any window of one
    minute. `balance_share_ppb` bounds what a new bundle may add to the orders that draw on a venue's balance of an asset, as a part of that
    balance; 0: no bound. `max_exposure` bounds, by asset and at 18 decimals, what the
    strategy's fills add up to, long or short, whatever part of its orders in flight (UNKNOWN ones too) fills. `max_day_loss` and
    `max_drawdown` bound by currency what its fills lost there since the UTC day of engine time began, and since the peak of what they made,
    starts before included; beyond them no bundle of it begins (`results.Results`), and unless `on_loss` says that this is all, trading is
    killed to `entries` for all strategies. `max_bundle_loss` bounds by currency what a bundle may lose at worst, by its plan and the caps (`worst.Worst`):
    one that may lose more does not begin, and one that has, by its fills as they are worth now, does what `on_loss` says. `max_symbol_open` and `max_venue_open` bound, in each quote
    currency on its own, the notional of this strategy that may still fill on one symbol over all venues, and on one venue: orders on their
    way (UNKNOWN ones too), what a hard leg may release, and the new bundle's legs. `venues` and `symbols` are the only ones that it may
    trade (none: all); `symbols` does not bind what converts a quote currency. `price_band_ppb` bounds how
    far a planned leg's price may lie from the cross-venue median (`band.Band`); 0: no bound. Orders that a hard leg
    releases or that flatten a residual count towards the daily volume, the orders per second and what is open but are not refused by them: a naked
    leg is the costlier risk. `max_exposure` binds them as well: one that flattens is cut down to it.
    """

    max_open_bundles: int
    max_notional: Money | None
    daily_volume: Money | None
    daily_symbol: Money | None
    daily_venue: Money | None
    cool_down_ns: int
    latency_threshold_ns: int
    orders_per_second: int | None
    bundles_per_minute: int | None
    balance_share_ppb: Ppb
    max_exposure: Mapping[str, Money]
    max_symbol_open: Money | None
    max_venue_open: Money | None
    price_band_ppb: Ppb
    venues: tuple[str, ...]
    symbols: tuple[str, ...]
    max_day_loss: Mapping[str, Money]
    max_drawdown: Mapping[str, Money]
    max_bundle_loss: Mapping[str, Money]
    on_loss: Literal["kill", "refuse"]


class ExecutionPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How a strategy's bundles are carried out.

    An order without a final report `timeout_ns` after it was sent is UNKNOWN and canceled, up to `max_cancels` times, `timeout_ns`
    apart. A residual is completed (hedge) at a price up to `hedge_cap_ppb` beyond the leg's limit, or undone (unwind) up to
    `unwind_cap_ppb` beyond the filled leg's limit: `residual` says which of the two is looked at first, or that it is held at once. Each
    try goes `cap_step_ppb` further, up to the cap; 0: all of the cap at once. Where neither is possible now, or the venue rejected the
    last such order, it is tried again after `retry_ns`. After `max_attempts` tries for one residual, or `residual_ttl_ns` after it
    appeared (0: for ever), it is held as inventory. Orders of unknown fate keep a residual from being flattened for `unknown_wait_ns` at most (0:
    until they are known); then what surely filled is undone.

    Raises:
        ConfigError: `timeout_ns`, `retry_ns` or `max_cancels` is not above zero.
    """

    timeout_ns: int
    hedge_cap_ppb: Ppb
    unwind_cap_ppb: Ppb
    max_attempts: int
    retry_ns: int
    max_cancels: int
    residual: Literal["proceed", "reverse", "hold"]
    cap_step_ppb: Ppb
    residual_ttl_ns: int
    unknown_wait_ns: int

    def __post_init__(self) -> None:
        """Without a pause between tries, or without a cancel, an order or a residual would never come to an end."""
        for name in ("timeout_ns", "retry_ns", "max_cancels"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} must be above zero")


class ChainTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What a chain's transactions are paid with.

    Attributes:
        native: the asset that gas is paid in, as balances name it; 18 decimals.
        wrapped: address of the token that is worth as much, empty where none is known.
        max_fee_wei: most that is ever bid for each gas.
        coins: by address of a token the coin of exchanges that it counts as: by a person's word, no name proves it.
        loans: what a person states of lenders of whom the log says nothing.
    """

    native: str
    wrapped: str
    max_fee_wei: int
    coins: Mapping[str, str]
    loans: Sequence[LoanTerms]


class StrategyTerms(msgspec.Struct, frozen=True, kw_only=True):
    """Limits, execution policy and budget of one strategy.

    `budget` allots amounts of assets, at 18 decimals and over all venues: what the strategy may still spend of an asset is its
    allotment plus what its fills brought in minus what they took and what its orders reserve, for orders that flatten a residual too.
    An asset that is not named is bounded by the account alone.
    """

    limits: RiskLimits
    execution: ExecutionPolicy
    budget: Mapping[str, Money]
