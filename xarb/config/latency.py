"""How a latency is stated."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

import msgspec

from xarb.config.kinds import doc


class LatencyConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A latency: exactly one of three models, in ms."""

    constant_ms: Annotated[Decimal | None, doc("always this long")] = None
    uniform_ms: Annotated[tuple[Decimal, Decimal] | None, doc("drawn evenly between two values")] = None
    table_ms: Annotated[tuple[Decimal, ...] | None, doc("drawn evenly from measured values")] = None
