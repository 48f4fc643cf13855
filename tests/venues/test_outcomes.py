"""What an error means for us, over ccxt's whole tree of errors: only a named refusal below status 500 is one."""

from __future__ import annotations

from typing import Any

import ccxt
import pytest
from ccxt.base import errors as ccxt_errors

from xarb.engine.breaker import KEY_REFUSALS
from xarb.errors import OutcomeUnknown, Rejected, Retryable
from xarb.venues.keys import Redactor
from xarb.venues.outcomes import outcome_of, pause_of, reason_of
from xarb.venues.passage import Passage

CLASSES: list[type[Exception]] = [
    getattr(ccxt_errors, name) for name in ccxt_errors.__all__ if isinstance(getattr(ccxt_errors, name), type)
]
FAMILY = [one for one in CLASSES if issubclass(one, ccxt.OperationFailed)]
UNNAMED = (ccxt.ExchangeError, ccxt.BaseError)


def passage(*, left: bool, status: int = 400, **headers: str) -> Passage:
    """A request that came so far."""
    made = Passage()
    made.may_have_left, made.requests, made.status = left, 1, status
    made.headers = headers
    return made


def kind(error: Exception, at: Passage, *, is_write: bool = True) -> type[Exception]:
    """The class of the outcome."""
    return type(outcome_of(error, at, Redactor(), is_write=is_write))


def test_what_refuses_a_key_is_known_to_the_breakers() -> None:
    """All of ccxt's classes for it, and no other."""
    assert {reason_of(one.__name__) for one in CLASSES if issubclass(one, ccxt.AuthenticationError)} == KEY_REFUSALS


def test_tree_is_the_one_that_was_read() -> None:
    """A new branch of ccxt's tree must be looked at."""
    assert len(CLASSES) >= 35
    assert {one.__name__ for one in FAMILY} >= {"NetworkError", "RequestTimeout", "InvalidNonce", "DDoSProtection", "BadResponse"}


@pytest.mark.parametrize("error", CLASSES, ids=lambda one: one.__name__)
def test_every_class_has_its_outcome(error: type[Exception]) -> None:
    """Sent: the operation-failed family and the unnamed are unknown, the rest refused; with a 5xx all are unknown; unsent: none is."""
    made: Any = error("words of the exchange")
    is_refusal = error not in FAMILY and error not in UNNAMED and issubclass(error, ccxt.ExchangeError)
    is_certain = is_refusal and error is not ccxt.DuplicateOrderId
    assert kind(made, passage(left=True)) is (Rejected if is_certain else OutcomeUnknown)
    assert kind(made, passage(left=True, status=503)) is OutcomeUnknown
    assert kind(made, passage(left=False)) is Retryable
    assert kind(made, passage(left=True), is_write=False) is (Rejected if is_refusal else Retryable)


@pytest.mark.parametrize("error", [TypeError("x"), KeyError("x"), ValueError("x"), OSError("x"), TimeoutError()])
def test_what_is_not_ccxts_is_unknown_once_it_left(error: Exception) -> None:
    """A parser that stumbles over an answer says nothing about the order."""
    assert kind(error, passage(left=True, status=200)) is OutcomeUnknown
    assert kind(error, passage(left=False, status=0)) is Retryable


def test_local_refusals_are_certain() -> None:
    """ccxt refuses some orders before any request."""
    at = passage(left=False)
    at.requests = 0
    assert kind(ccxt.InvalidOrder("amount below the minimum"), at) is Rejected


def test_duplicate_id_is_no_refusal() -> None:
    """Whatever class it has, something of that id is there."""
    for error in (
        ccxt.DuplicateOrderId("x"),
        ccxt.InvalidOrder("51016 Duplicated client order ID"),
        ccxt.BadRequest("Duplicate order sent."),
    ):
        found = outcome_of(error, passage(left=True), Redactor(), is_write=True)
        assert (type(found), found.reason) == (OutcomeUnknown, "duplicate")


def test_reasons_and_pauses() -> None:
    """One word for each class; a throttle asks for a pause, by its header or for ten seconds."""
    assert reason_of("InsufficientFunds") == "insufficient_funds"
    assert reason_of("DDoSProtection") == reason_of("RateLimitExceeded") == "rate_limit"
    assert pause_of(None, passage(left=True, status=200)) == 0
    assert pause_of(ccxt.RateLimitExceeded("x"), passage(left=True)) == 10
    assert pause_of(None, passage(left=True, status=418, **{"Retry-After": "33"})) == 33
    assert pause_of(None, passage(left=True, status=429, **{"Retry-After": "²"})) == 10
