"""Kinds of values that keys of several sections take, and how a key says what it means."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

import msgspec

from xarb.errors import ConfigError

Count = Annotated[int, msgspec.Meta(ge=0, le=10**9)]


def doc(text: str) -> msgspec.Meta:
    """What a key means, for its annotation."""
    return msgspec.Meta(description=text)


def check_part(bps: Decimal, where: str) -> None:
    """See that basis points are a part of something.

    Raises:
        ConfigError: they are more than all of it.
    """
    if bps > 10_000:
        raise ConfigError(f"{where} = {bps}: allowed are 0 to 10000")
