"""Binance's errors: HTTP status, code and text as the exchange sends them (errors.md of binance-spot-api-docs, 2026-02)."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """A request that is refused; `status` is the HTTP status or that of the WebSocket API."""

    def __init__(self, code: int, message: str, *, status: int = 400, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.retry_after_s = retry_after_s

    def body(self) -> dict[str, Any]:
        """As it is sent."""
        return {"code": self.code, "msg": self.message}


def missing(name: str) -> ApiError:
    """A mandatory parameter is absent or empty."""
    return ApiError(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def illegal(name: str, legal: str) -> ApiError:
    """A parameter has characters that it must not have."""
    return ApiError(-1100, f"Illegal characters found in parameter '{name}'; legal range is '{legal}'.")


def not_required(name: str) -> ApiError:
    """A parameter that this kind of order must not have."""
    return ApiError(-1106, f"Parameter '{name}' sent when not required.")


def too_precise(name: str) -> ApiError:
    """More decimals than the asset has."""
    return ApiError(-1111, f"Parameter '{name}' has too much precision.")


def bad_symbol() -> ApiError:
    """No such symbol."""
    return ApiError(-1121, "Invalid symbol.")


def filtered(name: str) -> ApiError:
    """A filter of the symbol or the account refuses an order."""
    return ApiError(-1013, f"Filter failure: {name}")


def order_rejected(message: str) -> ApiError:
    """The matching engine refuses an order."""
    return ApiError(-2010, message)


# What the simulated venue's reasons are called here; anything else is a plain rejection that names it.
REASONS: dict[str, ApiError] = {
    "balance": order_rejected("Account has insufficient balance for requested action."),
    "post_only_would_cross": order_rejected("Order would immediately match and take."),
    "too_many_orders": filtered("MAX_NUM_ORDERS"),
    "tick": filtered("PRICE_FILTER"),
    "price": filtered("PRICE_FILTER"),
    "lot": filtered("LOT_SIZE"),
    "qty": filtered("LOT_SIZE"),
    "min_qty": filtered("LOT_SIZE"),
    "min_notional": filtered("NOTIONAL"),
    "instrument_inactive": order_rejected("Market is closed."),
    "steps_unknown": order_rejected("This symbol is not permitted for this account."),
    "scale_too_fine": order_rejected("This symbol is not permitted for this account."),
    "outage": ApiError(-1001, "Internal error; unable to process your request. Please try again.", status=503),
}


def refusal(reason: str | None) -> ApiError:
    """The error for a reason of the simulated venue."""
    found = REASONS.get(reason or "")
    return found if found is not None else order_rejected(f"The order was rejected: {reason}.")


__all__ = [
    "ApiError",
    "bad_symbol",
    "filtered",
    "illegal",
    "missing",
    "not_required",
    "order_rejected",
    "refusal",
    "too_precise",
]
