"""OKX's errors: codes and texts of its error code page (2026-07). A request has one, and each order of a request its own."""

from __future__ import annotations

from typing import Any, Final


class OkxError(Exception):
    """A request, or one order of it, that is refused."""

    def __init__(self, code: str, message: str, *, status: int = 200) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status

    def body(self) -> dict[str, Any]:
        """As a whole request's answer."""
        return {"code": self.code, "msg": self.message, "data": []}


def bad(name: str) -> OkxError:
    """A parameter that is absent or wrong."""
    return OkxError("51000", f"Parameter {name} error", status=400)


def no_instrument() -> OkxError:
    """No such instrument."""
    return OkxError("51001", "Instrument ID, Instrument ID code, or Spread ID doesn't exist.")


def throttled(*, status: int = 200) -> OkxError:
    """Too many requests, or orders, in their span."""
    text = "Rate limit reached. Please refer to API documentation and throttle requests accordingly."
    return OkxError("50011", text, status=status)


# What the simulated venue's reasons are called here.
REASONS: Final[dict[str, tuple[str, str]]] = {
    "balance": ("51008", "Order failed. Insufficient account balance."),
    "too_many_orders": ("51174", "Order failed. The number of pending orders reaches the limit."),
    "tick": ("51000", "Parameter px error"),
    "price": ("51000", "Parameter px error"),
    "lot": ("51121", "Order quantity must be a multiple of the lot size."),
    "qty": ("51000", "Parameter sz error"),
    "min_qty": ("51020", "Your order should meet or exceed the minimum order amount."),
    "min_notional": ("51020", "Your order should meet or exceed the minimum order amount."),
    "instrument_inactive": ("51027", "Instrument expired."),
    "steps_unknown": ("51022", "Contract suspended."),
    "scale_too_fine": ("51022", "Contract suspended."),
}


def refusal(reason: str | None) -> OkxError:
    """The error for a reason of the simulated venue."""
    return OkxError(*REASONS.get(reason or "", ("51000", f"Order failed: {reason}")))


__all__ = ["OkxError", "bad", "no_instrument", "refusal", "throttled"]
