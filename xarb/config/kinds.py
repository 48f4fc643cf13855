"""Kinds of values that keys of several sections take, and how a key says what it means."""

from __future__ import annotations

from typing import Annotated

import msgspec

Count = Annotated[int, msgspec.Meta(ge=0, le=10**9)]


def doc(text: str) -> msgspec.Meta:
    """What a key means, for its annotation."""
    return msgspec.Meta(description=text)
