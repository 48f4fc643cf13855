"""Limits of some worlds that bind now and then, drawn apart so that worlds without them are what they would be.

The words of which a draw is made leave the worlds of `tests/simulation/test_worlds.py`'s list of regressions as they were.
"""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any, Final

import msgspec

from xarb.config.strategies import StrategyConfig
from xarb.model.units import NANOS_PER_S

_LIMITED: Final = 0.45  # worlds that have any
_EACH: Final = 0.4  # of them, those that have a given one
_KILLS: Final = 0.4  # worlds in which a loss beyond a limit kills
_MIDNIGHT: Final = 0.3  # worlds in which a UTC day may end
_BAND_BPS: Final = ("12", "20", "30", "60", "150")
_LOSS: Final = ("0", "0.01", "0.03", "0.1")
_BOUNDED: Final = 0.1  # strategies whose bundles may lose so much only
_BUNDLE_LOSS: Final = ("0.0005", "0.002", "0.005", "0.02")  # of the largest leg
_OPEN: Final = ("1.1", "2.1", "3.5", "8")  # largest legs that may be open
_WAIT_MS: Final = (0, 100, 300, 1_000, 10_000)  # for how long unknown orders keep a residual
_HURRIED: Final = 0.3  # worlds whose residuals grow old
_TTL_MS: Final = (10, 60, 300)
_DAILY: Final = ("1.2", "2.2", "5")  # largest legs that a day may have


def limited(seed: int, name: str, config: StrategyConfig) -> StrategyConfig:
    """A strategy with the limits that a world gives it: in most none beside those that it has."""
    draw = random.Random(f"wait {seed} {name}")  # noqa: S311  # a case is to be drawn again
    config = msgspec.structs.replace(config, unknown_wait_ms=Decimal(draw.choice(_WAIT_MS)))
    kills = random.Random(f"losses kill-27 {seed}").random() < _KILLS  # noqa: S311  # a case is to be drawn again
    config = msgspec.structs.replace(config, on_loss="kill" if kills else "refuse")
    draw = random.Random(f"ttl-14 {seed}")  # noqa: S311  # same
    if draw.random() < _HURRIED:
        config = msgspec.structs.replace(config, residual_ttl_ms=Decimal(draw.choice(_TTL_MS)))
    leg = config.max_notional_quote
    draw = random.Random(f"bundle-loss {seed} {name}")  # noqa: S311  # same
    if leg is not None and draw.random() < _BOUNDED:
        config = msgspec.structs.replace(config, max_bundle_loss={"USDT": leg * Decimal(draw.choice(_BUNDLE_LOSS))})
    if leg is None or random.Random(f"limited-4 {seed}").random() >= _LIMITED:  # noqa: S311  # a case is to be drawn again
        return config
    draw = random.Random(f"limits {seed} {name}")  # noqa: S311  # same
    limits = (
        ("max_symbol_open_quote", leg * Decimal(draw.choice(_OPEN))),
        ("max_venue_open_quote", leg * Decimal(draw.choice(_OPEN))),
        ("daily_symbol_quote", leg * Decimal(draw.choice(_DAILY))),
        ("daily_venue_quote", leg * Decimal(draw.choice(_DAILY))),
        ("price_band_bps", Decimal(draw.choice(_BAND_BPS))),
        ("max_day_loss", {"USDT": Decimal(draw.choice(_LOSS))}),
        ("max_drawdown", {"USDT": Decimal(draw.choice(_LOSS))}),
    )
    chosen: dict[str, Any] = {key: value for key, value in limits if draw.random() < _EACH}
    return msgspec.structs.replace(config, **chosen)


def before_midnight(seed: int) -> int:
    """How long before the end of a UTC day, ns, a world begins; 0: with a day."""
    draw = random.Random(f"eve {seed}")  # noqa: S311  # a case is to be drawn again
    return draw.randrange(6 * NANOS_PER_S) if draw.random() < _MIDNIGHT else 0
