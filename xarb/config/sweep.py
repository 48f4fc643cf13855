"""Keys of an experiment file for trying many settings on one log: `[sweep]`. `xarb.config` reads them, `xarb.verbs.sweep` takes them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from xarb.config.kinds import Count, doc


class SweepConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[sweep]`: which settings are tried, and what makes one better than another (docs/sweep.md)."""

    method: Annotated[
        Literal["grid", "random", "optuna"],
        doc("grid: every combination of all values; random: draws from the values and ranges; optuna: what Optuna proposes"),
    ] = "grid"
    trials: Annotated[
        Count, doc("combinations that are drawn or proposed; of a grid, how many it may have; 0: 100, of a grid 100000")
    ] = 0
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1, description="seed of the search; the runs draw by run.seed")] = 1
    batch: Annotated[
        int,
        msgspec.Meta(
            ge=1, le=10_000, description="optuna: trials that are proposed before any of them is known; what is found depends on it"
        ),
    ] = 8
    goal: Annotated[Literal["trading_pnl", "sharpe"], doc("the figure of which the highest is best")] = "trading_pnl"
    currency: Annotated[str | None, doc("currency of the figures; none: the first of run.currencies")] = None
    period_s: Annotated[
        int,
        msgspec.Meta(
            ge=0,
            le=10**8,
            description="seconds after which the trading PnL is looked at for the Sharpe ratio; 0: the longest of day, hour, minute and second"
            " of which a run has at least 30",
        ),
    ] = 0
    windows: Annotated[
        int,
        msgspec.Meta(
            ge=0,
            le=1000,
            description="walk-forward: parts of equal length that the log's time is cut into; 0: every trial runs over all of it",
        ),
    ] = 0
    train: Annotated[
        int, msgspec.Meta(ge=1, le=999, description="windows in which settings are chosen; the one after them judges the choice")
    ] = 1
    anchored: Annotated[
        bool, doc("settings are chosen in all windows before the one that judges, not in the last `train` alone")
    ] = False
    parameters: Annotated[
        dict[str, Any],
        doc(
            "by dotted key what is tried: a list of values, or a range such as { low = 2, high = 10, step = 0.5 } or"
            " { low = 1.0, high = 100.0, log = true }"
        ),
    ] = {}
