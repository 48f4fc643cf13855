"""Keys of an experiment file for the breakers of venues: `[breakers]`. `xarb.config` reads them."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

import msgspec

from xarb.config.kinds import Count, doc


class BreakerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[breakers]`, and `[venues.NAME.breakers]` for one venue: what stops new bundles there (docs/orders.md)."""

    errors: Annotated[Count, doc("orders rejected, not sent or of unknown fate that open it; 0 switches the rule off")] = 20
    error_recovery_ms: Annotated[Decimal, doc("time in which one of those is forgotten")] = Decimal(30_000)
    unknown: Annotated[Count, doc("orders of unknown fate at once that open it; 0 switches the rule off")] = 3
    rejects: Annotated[Count, doc("orders rejected one after the other that open it; 0 switches the rule off")] = 10
    max_ack_ms: Annotated[
        Decimal, doc("time to the first answer above which the slowest tenth of the last 20 may lie, not more; 0: no bound")
    ] = Decimal(2_000)
    min_feed_score: Annotated[
        int, msgspec.Meta(ge=0, le=1000, description="mean score of the venue's feeds below which it opens; 0: no bound")
    ] = 300
    max_clock_offset_ms: Annotated[
        Decimal, doc("distance of the venue's clock from ours beyond which it opens; 0 switches the rule off")
    ] = Decimal(500)
    residual_held: Annotated[
        bool | None,
        doc(
            "a residual that had to be held, its tries or its time used up, opens it until a person resets it; "
            "else so it does where a log is traded on, and not in a backtest, in which nobody could"
        ),
    ] = None
    pause_ms: Annotated[Decimal, doc("pause before a single small bundle is tried; each that fails doubles it")] = Decimal(60_000)
    max_pause_ms: Annotated[Decimal, doc("longest pause")] = Decimal(3_600_000)
    probe_quote: Annotated[
        Decimal | None, doc("most notional of a leg of that bundle; else the strategy makes it as small as it can")
    ] = None
