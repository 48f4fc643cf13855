"""A request's parameters: text by name, read into exact values or refused with Binance's own words."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec

from xarb.model.units import MONEY_SCALE, parse_decimal
from xarb.serve.binance.errors import ApiError, bad_symbol, illegal, missing, too_precise
from xarb.serve.exchange import Exchange, Listing

_SYMBOL: Final = re.compile(r"[A-Z0-9\-_.]{1,20}\Z")
_CLIENT_ID: Final = re.compile(r"[a-zA-Z0-9\-_.:/]{1,36}\Z")
_DECIMAL: Final = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?\Z")
_INTEGER: Final = re.compile(r"[0-9]{1,20}\Z")
_DECIMAL_RANGE: Final = r"^([0-9]{1,20})(\.[0-9]{1,20})?$"


class Parameters:
    """The parameters of one request.

    Args:
        values: by name; what is not text (as a socket sends it) is taken as its text.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = {name: _text(value) for name, value in values.items() if value is not None}

    def __contains__(self, name: str) -> bool:
        return bool(self._values.get(name))

    def text(self, name: str) -> str:
        """A mandatory text."""
        value = self._values.get(name, "")
        if not value:
            raise missing(name)
        return value

    def optional(self, name: str) -> str | None:
        """A text or None."""
        return self._values.get(name) or None

    def choice(self, name: str, allowed: Collection[str], error: ApiError) -> str:
        """A mandatory word out of a few."""
        value = self.text(name)
        if value not in allowed:
            raise error
        return value

    def client_id(self, name: str) -> str | None:
        """A client's id."""
        value = self.optional(name)
        if value is not None and not _CLIENT_ID.match(value):
            raise illegal(name, r"^[a-zA-Z0-9-_.:/]{1,36}$")
        return value

    def integer(self, name: str, default: int | None = None) -> int:
        """A whole number; mandatory without a default."""
        value = self.optional(name)
        if value is None:
            if default is None:
                raise missing(name)
            return default
        if not _INTEGER.match(value):
            raise illegal(name, r"^[0-9]{1,20}$")
        return int(value)

    def optional_integer(self, name: str) -> int | None:
        """A whole number or None."""
        return self.integer(name) if name in self else None

    def money(self, name: str, scale: int = 8) -> int:
        """A mandatory decimal number above zero, as an integer at 18 decimals; at most `scale` of them may be used."""
        value = self.text(name)
        if not _DECIMAL.match(value):
            raise illegal(name, _DECIMAL_RANGE)
        digits, decimals = parse_decimal(value)
        if decimals > scale:
            raise too_precise(name)
        if digits == 0:
            raise ApiError(-1013, f"Invalid {name}.")
        return digits * int(10 ** (MONEY_SCALE - decimals))

    def listing(self, exchange: Exchange, name: str = "symbol") -> Listing:
        """The listing of a mandatory symbol."""
        value = self.text(name)
        if not _SYMBOL.match(value):
            raise illegal(name, r"^[A-Z0-9-_.]{1,20}$")
        found = exchange.listings.get(value)
        if found is None:
            raise bad_symbol()
        return found

    def listings(self, exchange: Exchange) -> list[Listing] | None:
        """The listings that `symbol` or `symbols` (a JSON list) names, None without either."""
        if "symbol" in self:
            return [self.listing(exchange)]
        text = self.optional("symbols")
        if text is None:
            return None
        try:
            names = msgspec.json.decode(text, type=list[str])
        except msgspec.MsgspecError:
            raise illegal("symbols", r"^\[(\"[A-Z0-9-_.]{1,20}\"(,\"[A-Z0-9-_.]{1,20}\")*)?\]$") from None
        return [Parameters({"symbol": name}).listing(exchange) for name in names]


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | dict):
        return msgspec.json.encode(value).decode()
    return str(value)


__all__ = ["Parameters"]
