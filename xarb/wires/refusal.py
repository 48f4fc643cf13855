"""What is wrong with a frame, and how it becomes a reject that keeps the text."""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec

from xarb.model.units import Money, parse_money
from xarb.wires.decimals import Listing
from xarb.wires.events import RejectEvent, readable

_T = TypeVar("_T")
_DETAIL_LIMIT: Final = 500
_ABSENT: Final = "Object missing required field"  # how msgspec begins that error
_RATIO_LIMIT: Final = 10**38  # what DECIMAL(38, 18) holds


class Refused(Exception):  # it says what is done with the frame
    """A frame, or a part of one, that breaks the rule `rule`."""

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(detail)
        self.rule = rule


FAULTS: Final = (Refused, msgspec.DecodeError, ValueError, RecursionError)  # whatever reading hostile input raises


def need(value: _T | None, name: str) -> _T:
    """`value` itself.

    Raises:
        Refused: it is absent.
    """
    if value is None:
        raise Refused("missing_field", f"{name} is absent")
    return value


def ratio_of(text: str | None) -> Money | None:
    """A funding rate as a ratio at 18 decimals; None for no text or an empty one.

    Raises:
        ValueError: no decimal number, finer than 18 decimals, or one that 38 digits do not hold.
    """
    if not text:
        return None
    value = parse_money(text)
    if abs(value) >= _RATIO_LIMIT:
        raise ValueError(f"{text} does not fit in 38 digits")
    return value


def reject_of(error: Exception, payload: bytes, venue: str, native: str | None, listing: Listing | None) -> RejectEvent:
    """The reject of a frame whose reading raised one of `FAULTS`; the symbol is the native name where it is no instrument's."""
    if isinstance(error, Refused):
        rule = error.rule
    elif isinstance(error, msgspec.ValidationError):
        rule = "missing_field" if str(error).startswith(_ABSENT) else "wrong_type"
    elif isinstance(error, (msgspec.DecodeError, RecursionError, UnicodeDecodeError)):
        rule = "bad_json"
    else:
        rule = "bad_number"
    symbol = listing.instrument.symbol if listing else native and readable(native)
    return RejectEvent(rule, readable(str(error)[:_DETAIL_LIMIT]), readable(payload), venue, symbol)


def of_waiting(reject: RejectEvent) -> RejectEvent:
    """The reject of a message of a book that waits, which says what is done; no time is in it, since messages are decoded again without."""
    return msgspec.structs.replace(reject, detail=f"{reject.detail}; the book waits for a snapshot, which is asked for ever later")
