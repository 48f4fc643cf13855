"""What an error of a request means for us: refused for certain, certainly not sent, or of unknown fate.

ccxt's classes alone do not say it: a connection that drops after the exchange took an order, an HTTP 503 with JSON and a hang are
siblings of a throttle. So its whole `OperationFailed` family, any answer of status 500 and above, an error that ccxt could not
name, and everything that is not ccxt's is of unknown fate once a byte may have left. Classes are known by name: nothing imports ccxt here.
"""

from __future__ import annotations

import re
from typing import Final

from xarb.errors import OutcomeUnknown, Rejected, Retryable, VenueError
from xarb.venues.keys import Redactor
from xarb.venues.passage import Passage

_UNNAMED: Final = ("ExchangeError", "BaseError")  # ccxt knows no more than that something was wrong
_ARRIVED: Final = "duplicate"  # an order of this id is there (in ccxt's class or only in the words): the lookup tells its fate
_THROTTLED: Final = ("RateLimitExceeded", "DDoSProtection")
_WORD: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
_KNOWN: Final = {
    "RequestTimeout": "timeout",
    "DDoSProtection": "rate_limit",
    "RateLimitExceeded": "rate_limit",
    "InvalidNonce": "clock",
}


def outcome_of(error: BaseException, passage: Passage, redact: Redactor, *, is_write: bool) -> VenueError:
    """The error to raise in place of `error`, whose text holds no secret.

    Args:
        error: what the request raised.
        passage: how far it came.
        redact: hides secrets.
        is_write: whether it was to change something at the exchange; a read that failed may be repeated.
    """
    names = [kind.__name__ for kind in type(error).__mro__]
    text, reason = redact(f"{names[0]}: {error}"), reason_of(names[0])
    is_named = "BaseError" in names and names[0] not in _UNNAMED
    is_refusal = is_named and "OperationFailed" not in names and "ExchangeError" in names
    if not passage.may_have_left:
        kind: type[VenueError] = Rejected if is_refusal and not passage.requests else Retryable
        return kind(text, reason=reason)
    if passage.status >= 500 or not is_refusal:
        return OutcomeUnknown(text, reason=reason) if is_write else Retryable(text, reason=reason)
    if is_write and _ARRIVED in text.lower():
        return OutcomeUnknown(text, reason=_ARRIVED)
    return Rejected(text, reason=reason)


def reason_of(name: str) -> str:
    """The word for an error class: `InsufficientFunds` is `insufficient_funds`."""
    return _KNOWN.get(name) or _WORD.sub("_", name).lower()


def pause_of(error: BaseException | None, passage: Passage) -> int:
    """Seconds for which nothing more may be asked: the exchange's Retry-After, else 10 for a throttle without one; 0: no throttle."""
    throttled = passage.status in (418, 429) or (error is not None and any(k.__name__ in _THROTTLED for k in type(error).__mro__))
    if not throttled:
        return 0
    text = passage.headers.get("Retry-After", "")
    return max(1, int(text)) if text.isascii() and text.isdigit() else 10
