"""`/xarb/...` on every port: what the server itself knows, for whoever proves a client against it. Exact decimal text throughout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from xarb.model.units import MONEY_SCALE, format_decimal
from xarb.serve.exchange import Exchange
from xarb.serve.faults import Faults
from xarb.serve.orders import ServedOrder


class Inspection:
    """The server's own books of one venue.

    Args:
        exchange: the venue.
        faults: of it.
        census: counts its clients.
    """

    def __init__(self, exchange: Exchange, faults: Faults, census: Callable[[], dict[str, int]]) -> None:
        self._exchange = exchange
        self._faults = faults
        self._census = census

    def routes(self) -> list[web.AbstractRouteDef]:
        """What the application serves."""
        return [
            web.get("/xarb/status", self._status),
            web.get("/xarb/ledger", self._ledger),
            web.get("/xarb/orders", self._orders),
            web.get("/xarb/balances", self._balances),
        ]

    async def _status(self, request: web.Request) -> web.Response:
        """Where the replay stands: log time (ns) of the last applied row, rows applied, whether it began and ended; who listens."""
        del request
        market = self._exchange.market
        return _json(
            {
                "venue": self._exchange.name,
                "log_ns": market.ts if market.applied else None,
                "rows": market.applied,
                "begun": market.begun.is_set(),
                "ended": market.ended.is_set(),
                "faults": self._faults.struck,
                **self._census(),
            }
        )

    async def _ledger(self, request: web.Request) -> web.Response:
        """Every movement of money at this venue in order, of one account with `?account=`."""
        account, name = request.query.get("account"), self._exchange.name
        rows = [row for row in self._exchange.desk.ledger if row.venue == name and account in {None, row.account}]
        return _json([{**msgspec.structs.asdict(row), "change": _money(row.change)} for row in rows])

    async def _balances(self, request: web.Request) -> web.Response:
        """Free plus held by account and asset at this venue."""
        del request
        found: dict[str, dict[str, str]] = {}
        for (account, venue, asset), value in self._exchange.desk.balances().items():
            if venue == self._exchange.name:
                found.setdefault(account, {})[asset] = _money(value)
        return _json(found)

    async def _orders(self, request: web.Request) -> web.Response:
        """Every order of an account (`?account=`) at this venue with its fills."""
        account = request.query.get("account", "")
        return _json([_order(order) for order in self._exchange.desk.orders(account, self._exchange.name)])


def _order(order: ServedOrder) -> dict[str, Any]:
    return {
        "id": order.id,
        "client_id": order.intent.client_id,
        "symbol": order.symbol,
        "side": "buy" if order.intent.buy else "sell",
        "kind": order.intent.kind,
        "tif": order.intent.tif,
        "status": order.status,
        "price": _money(order.price),
        "qty": _money(order.qty),
        "filled": _money(order.filled),
        "value": _money(order.value),
        "ms": order.ms,
        "fills": [
            {
                "trade_id": fill.trade_id,
                "price": _money(fill.price),
                "qty": _money(fill.qty),
                "value": _money(fill.value),
                "fee": _money(fill.fee),
                "fee_asset": fill.fee_asset,
                "is_maker": fill.is_maker,
                "ms": fill.ms,
            }
            for fill in order.fills
        ],
    }


def _money(value: int) -> str:
    return format_decimal(value, MONEY_SCALE)


def _json(value: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")


__all__ = ["Inspection"]
