"""Binance's signed requests, the same on REST and on a request socket: orders, account, trades, permissions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from xarb.model.units import MONEY_ONE, PPB
from xarb.serve.binance import order_shapes, shapes
from xarb.serve.binance.errors import ApiError, order_rejected, refusal
from xarb.serve.binance.order_entry import read_intent
from xarb.serve.binance.parameters import Parameters
from xarb.serve.binance.signing import Key
from xarb.serve.clock import Stamps
from xarb.serve.config import VenueTerms
from xarb.serve.exchange import Exchange
from xarb.serve.limits import RateLimits, TooMany
from xarb.serve.orders import LIMIT_MAKER, REJECTED, Intent, ServedOrder

_RESPONSES: Final = ("ACK", "RESULT", "FULL")


class Private(NamedTuple):
    """One signed request: its weight, the permission that it needs, and its answer."""

    weight: Callable[[Parameters], int]
    permission: str
    answer: Callable[[Parameters, Key], Any]


class Trading:
    """The signed requests of one venue.

    Args:
        exchange: the venue.
        limits: its counters.
        clock: for them.
        terms: fees, and assets that cannot be moved.
    """

    def __init__(self, exchange: Exchange, limits: RateLimits, clock: Stamps, terms: VenueTerms) -> None:
        self._exchange = exchange
        self._desk = exchange.desk
        self._limits = limits
        self._clock = clock
        self._terms = terms
        self._made = 0
        self.requests: dict[str, Private] = {
            "order.place": Private(_flat(1), "trade", self._place),
            "order.test": Private(_flat(1), "trade", self._test),
            "order.cancel": Private(_flat(1), "trade", self._cancel),
            "order.status": Private(_flat(4), "read", self._status),
            "openOrders.status": Private(lambda p: 6 if "symbol" in p else 80, "read", self._open),
            "openOrders.cancelAll": Private(_flat(1), "trade", self._cancel_all),
            "allOrders": Private(_flat(20), "read", self._all),
            "myTrades": Private(_flat(20), "read", self._trades),
            "account.status": Private(_flat(20), "read", self._account),
            "account.commission": Private(_flat(20), "read", self._commission),
            "account.rateLimits.orders": Private(_flat(40), "read", self._order_counts),
            "tradeFee": Private(_flat(1), "read", self._trade_fees),
            "apiRestrictions": Private(_flat(1), "read", self._restrictions),
            "coins": Private(_flat(10), "read", self._coins),
            "bnbBurn": Private(_flat(1), "read", lambda _, __: {"spotBNBBurn": False, "interestBNBBurn": False}),
            "nothing": Private(_flat(1), "read", lambda _, __: []),
        }

    # --- orders

    def _read(self, parameters: Parameters, key: Key) -> Intent:
        client_id = parameters.client_id("newClientOrderId")
        if client_id is None:
            self._made += 1
            client_id = f"xarb-{self._made:018d}"
        return read_intent(parameters, self._exchange, key.account, client_id)

    def _place(self, parameters: Parameters, key: Key) -> dict[str, Any]:
        intent = self._read(parameters, key)
        default = "ACK" if intent.kind == LIMIT_MAKER else "FULL"
        response = parameters.optional("newOrderRespType") or default
        if response not in _RESPONSES:
            raise ApiError(-1100, "Illegal characters found in parameter 'newOrderRespType'.")
        try:
            self._limits.order(key.account, self._clock.wall_ns())
        except TooMany as many:
            raise ApiError(
                -1015,
                f"Too many new orders; current limit is {self._limits.limits.orders_10s} orders per 10 SECOND.",
                status=429,
                retry_after_s=many.wait_s,
            ) from None
        name = self._exchange.name
        if any(one.intent.client_id == intent.client_id for one in self._desk.open_orders(key.account, name)):
            raise order_rejected("Duplicate order sent.")
        order = self._desk.place(intent)
        if order.status == REJECTED:
            raise refusal(order.reason)
        return order_shapes.placed(order, response)

    def _test(self, parameters: Parameters, key: Key) -> dict[str, Any]:
        intent = self._read(parameters, key)
        if parameters.optional("computeCommissionRates") != "true":
            return {}
        del intent
        maker, taker = self._exchange.fees(key.account)
        none = {"maker": "0.00000000", "taker": "0.00000000"}
        return {
            "standardCommissionForOrder": {"maker": _ratio(maker), "taker": _ratio(taker)},
            "specialCommissionForOrder": none,
            "taxCommissionForOrder": none,
            "discount": {"enabledForAccount": False, "enabledForSymbol": False, "discountAsset": "", "discount": "0.00000000"},
        }

    def _find(self, parameters: Parameters, key: Key, unknown: ApiError) -> ServedOrder:
        """The order that the parameters name, on the symbol that they name."""
        listing = parameters.listing(self._exchange)
        order_id = parameters.optional_integer("orderId")
        client_id = parameters.client_id("origClientOrderId")
        if order_id is None and client_id is None:
            raise ApiError(-1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
        order = self._desk.order(key.account, self._exchange.name, order_id=order_id, client_id=client_id)
        if order is None or order.intent.number != listing.number:
            raise unknown
        if client_id is not None and order.intent.client_id != client_id:
            raise unknown
        return order

    def _cancel(self, parameters: Parameters, key: Key) -> dict[str, Any]:
        unknown = ApiError(-2011, "Unknown order sent.")
        order = self._find(parameters, key, unknown)
        return self._canceled(order, parameters.client_id("newClientOrderId"), unknown)

    def _canceled(self, order: ServedOrder, cancel_id: str | None, unknown: ApiError) -> dict[str, Any]:
        if cancel_id is None:
            self._made += 1
            cancel_id = f"xarb-{self._made:018d}"
        if not self._desk.cancel(order, cancel_id=cancel_id):
            raise unknown
        return order_shapes.canceled(order)

    def _cancel_all(self, parameters: Parameters, key: Key) -> list[dict[str, Any]]:
        listing = parameters.listing(self._exchange)
        unknown = ApiError(-2011, "Unknown order sent.")
        mine = [one for one in self._desk.open_orders(key.account, self._exchange.name) if one.intent.number == listing.number]
        if not mine:
            raise unknown
        return [self._canceled(order, None, unknown) for order in mine]

    def _status(self, parameters: Parameters, key: Key) -> dict[str, Any]:
        return order_shapes.known(self._find(parameters, key, ApiError(-2013, "Order does not exist.")))

    def _open(self, parameters: Parameters, key: Key) -> list[dict[str, Any]]:
        number = parameters.listing(self._exchange).number if "symbol" in parameters else None
        found = self._desk.open_orders(key.account, self._exchange.name)
        return [order_shapes.known(one) for one in found if number in {None, one.intent.number}]

    def _all(self, parameters: Parameters, key: Key) -> list[dict[str, Any]]:
        listing = parameters.listing(self._exchange)
        first, limit = parameters.optional_integer("orderId"), min(parameters.integer("limit", 500), 1000)
        start, end = parameters.optional_integer("startTime"), parameters.optional_integer("endTime")
        found = [
            one
            for one in self._desk.orders(key.account, self._exchange.name)
            if one.intent.number == listing.number
            and (first is None or one.id >= first)
            and (start is None or one.ms >= start)
            and (end is None or one.ms <= end)
        ]
        return [order_shapes.known(one) for one in (found[:limit] if first is not None else found[-limit:])]

    def _trades(self, parameters: Parameters, key: Key) -> list[dict[str, Any]]:
        listing = parameters.listing(self._exchange)
        limit = min(parameters.integer("limit", 500), 1000)
        wanted, first = parameters.optional_integer("orderId"), parameters.optional_integer("fromId")
        start, end = parameters.optional_integer("startTime"), parameters.optional_integer("endTime")
        found = [
            (order, fill)
            for order in self._desk.orders(key.account, self._exchange.name)
            if order.intent.number == listing.number and wanted in {None, order.id}
            for fill in order.fills
            if (first is None or fill.trade_id >= first) and (start is None or fill.ms >= start) and (end is None or fill.ms <= end)
        ]
        found.sort(key=lambda pair: pair[1].trade_id)
        return [order_shapes.own_trade(*pair) for pair in (found[:limit] if first is not None else found[-limit:])]

    # --- account

    def _account(self, parameters: Parameters, key: Key) -> dict[str, Any]:
        maker, taker = self._exchange.fees(key.account)
        purse = self._desk.purse(key.account, self._exchange.name)
        omit = parameters.optional("omitZeroBalances") == "true"
        balances = [
            {"asset": asset, "free": shapes.amount(purse.free.get(asset, 0)), "locked": shapes.amount(purse.held.get(asset, 0))}
            for asset in self._assets(key)
            if not omit or purse.free.get(asset, 0) or purse.held.get(asset, 0)
        ]
        return {
            "makerCommission": maker // 100_000,
            "takerCommission": taker // 100_000,
            "buyerCommission": 0,
            "sellerCommission": 0,
            "commissionRates": {
                "maker": _ratio(maker),
                "taker": _ratio(taker),
                "buyer": "0.00000000",
                "seller": "0.00000000",
            },
            "canTrade": "trade" in key.permissions,
            "canWithdraw": "withdraw" in key.permissions,
            "canDeposit": True,
            "brokered": False,
            "requireSelfTradePrevention": False,
            "preventSor": False,
            "updateTime": self._exchange.now_ms(),
            "accountType": "SPOT",
            "balances": balances,
            "permissions": ["SPOT"],
            "uid": 1,
        }

    def _assets(self, key: Key) -> list[str]:
        purse = self._desk.purse(key.account, self._exchange.name)
        listed = {asset for one in self._exchange.listings.values() for asset in (one.instrument.base, one.instrument.quote)}
        return sorted(listed | set(purse.free) | set(purse.held))

    def _commission(self, parameters: Parameters, key: Key) -> dict[str, Any]:
        listing = parameters.listing(self._exchange)
        none = {"maker": "0.00000000", "taker": "0.00000000", "buyer": "0.00000000", "seller": "0.00000000"}
        maker, taker = self._exchange.fees(key.account)
        return {
            "symbol": listing.instrument.native,
            "standardCommission": {**none, "maker": _ratio(maker), "taker": _ratio(taker)},
            "specialCommission": none,
            "taxCommission": none,
            "discount": {"enabledForAccount": False, "enabledForSymbol": False, "discountAsset": "", "discount": "0.00000000"},
        }

    def _order_counts(self, parameters: Parameters, key: Key) -> list[dict[str, Any]]:
        del parameters
        tens, day = self._limits.orders_used(key.account, self._clock.wall_ns())
        limits = self._limits.limits
        return [
            {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": limits.orders_10s, "count": tens},
            {"rateLimitType": "ORDERS", "interval": "DAY", "intervalNum": 1, "limit": limits.orders_1d, "count": day},
        ]

    def _trade_fees(self, parameters: Parameters, key: Key) -> list[dict[str, Any]]:
        chosen = [parameters.listing(self._exchange)] if "symbol" in parameters else list(self._exchange.listings.values())
        maker, taker = self._exchange.fees(key.account)
        return [
            {"symbol": one.instrument.native, "makerCommission": _ratio(maker), "takerCommission": _ratio(taker)} for one in chosen
        ]

    def _restrictions(self, parameters: Parameters, key: Key) -> dict[str, Any]:
        del parameters
        return {
            "ipRestrict": False,
            "createTime": self._exchange.now_ms(),
            "enableReading": "read" in key.permissions,
            "enableWithdrawals": "withdraw" in key.permissions,
            "enableInternalTransfer": False,
            "enableMargin": False,
            "enableFutures": False,
            "permitsUniversalTransfer": False,
            "enableVanillaOptions": False,
            "enableFixApiTrade": False,
            "enableFixReadOnly": False,
            "enableSpotAndMarginTrading": "trade" in key.permissions,
            "enablePortfolioMarginTrading": False,
        }

    def _coins(self, parameters: Parameters, key: Key) -> list[dict[str, Any]]:
        del parameters
        purse = self._desk.purse(key.account, self._exchange.name)
        return [
            order_shapes.coin(asset, purse.free.get(asset, 0), purse.held.get(asset, 0), is_open=asset not in self._terms.suspended)
            for asset in self._assets(key)
        ]


def _flat(weight: int) -> Callable[[Parameters], int]:
    return lambda _: weight


def _ratio(ppb: int) -> str:
    """Parts per billion as a decimal with 8 places or more."""
    return shapes.amount(ppb * (MONEY_ONE // PPB))


__all__ = ["Private", "Trading"]
