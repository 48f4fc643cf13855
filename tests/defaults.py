"""What the config's defaults make of an experiment, in the engine's units, with whatever a test changes.

The structs themselves have no defaults: this is how tests get them without stating every field.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

import msgspec

from xarb.config import FeedConfig, RunConfig, VenueConfig
from xarb.config.breakers import BreakerConfig
from xarb.config.inventory import InventoryConfig
from xarb.config.strategies import StrategyConfig
from xarb.engine.breaker import BreakerLimits
from xarb.engine.setup import FeedLimits, Setup
from xarb.engine.terms import ExecutionPolicy, RiskLimits, StrategyTerms
from xarb.model.units import NANOS_PER_S, Money, Ppb
from xarb.settings import adjust_limits, ratio_of
from xarb.settings import breaker_limits as breaker_limits_of
from xarb.settings import feed_limits as feed_limits_of
from xarb.settings import micro_params as micro_params_of
from xarb.settings import strategy_terms as strategy_terms_of
from xarb.settings import triangular_params as triangular_params_of
from xarb.settings import venue_model as venue_model_of
from xarb.strategies.micro import MicroParams
from xarb.strategies.triangular import TriangularParams
from xarb.venues.terms import VenueModel

# The keys that have no default are stated: any profit will do, and risk bounds no leg unless a test says so.
_STRATEGY: Final = StrategyConfig(
    kind="micro", min_profit_bps=Decimal(0), min_profit_quote=Decimal(0), max_notional_quote=Decimal(10**9)
)
_VENUE: Final = VenueConfig(fees="of no schedule")


def feed_limits(**changes: Any) -> FeedLimits:
    """Limits of a feed."""
    return msgspec.structs.replace(feed_limits_of(FeedConfig()), **changes)


def breaker_limits(**changes: Any) -> BreakerLimits:
    """Limits of a venue's breaker."""
    return msgspec.structs.replace(breaker_limits_of(BreakerConfig(), attended=True), **changes)


def risk_limits(**changes: Any) -> RiskLimits:
    """Limits of a strategy, without a bound on the notional of a leg."""
    return msgspec.structs.replace(strategy_terms_of(_STRATEGY).limits, **({"max_notional": None} | changes))


def execution_policy(**changes: Any) -> ExecutionPolicy:
    """How a strategy's orders are carried out."""
    return msgspec.structs.replace(strategy_terms_of(_STRATEGY).execution, **changes)


def strategy_terms(**changes: Any) -> StrategyTerms:
    """Limits, policy and budget of a strategy."""
    plain = StrategyTerms(limits=risk_limits(), execution=execution_policy(), budget={})
    return msgspec.structs.replace(plain, **changes)


def micro_params(**changes: Any) -> MicroParams:
    """Parameters of `micro` that take any profit and a leg of up to a billion."""
    plain = msgspec.structs.replace(micro_params_of(_STRATEGY), min_profit_ppb=Ppb(0), min_profit_quote=Money(0))
    return msgspec.structs.replace(plain, **changes)


def triangular_params(**changes: Any) -> TriangularParams:
    """Parameters of `triangular` that take any profit, look at every row, and let up to a billion go round."""
    plain = msgspec.structs.replace(
        triangular_params_of(_STRATEGY), min_profit_ppb=Ppb(0), min_profit_quote=Money(0), every_row=True
    )
    return msgspec.structs.replace(plain, **changes)


def venue_model(**changes: Any) -> VenueModel:
    """A simulated venue."""
    return msgspec.structs.replace(venue_model_of(_VENUE, "venue", added_ns=0), **changes)


def engine_setup(**fields: Any) -> Setup:
    """A setup of an engine as a backtest has it: `fields`, no terms and no priced fee coins unless stated, the default margin of a coin."""
    plain: dict[str, Any] = {"terms": {}, "rates": {}, "coin_margin_ppb": ratio_of(RunConfig().coin_margin_bps)}
    plain |= {"timers_are_rows": False, "armed": True, "start": 1, "not_transferable_anyway": {}, "results": ()}
    plain |= {"volumes": (), "identities": {}, "bundles": (), "flows": (), "foreign": (), "cycles": (), "transactions": ()}
    plain |= {
        "breakers": {one.venue: breaker_limits() for one in fields["instruments"]},
        "broken": (),
        "chains": {},
        "counts_all": False,
    }
    plain |= {"heads": {one.venue: 60 * NANOS_PER_S for one in fields["instruments"]}}
    quotes = tuple(sorted({one.quote for one in fields["instruments"]}))
    plain |= {"adjust": adjust_limits(InventoryConfig(), quotes)}
    return Setup(**(plain | fields))
