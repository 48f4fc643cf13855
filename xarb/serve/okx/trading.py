"""OKX's signed requests: orders one by one or in a batch, account, fills. A batch is taken as far as it goes, each order with its own code."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from xarb.model.units import MONEY_ONE, MONEY_SCALE, PPB, parse_decimal
from xarb.serve.clock import Stamps
from xarb.serve.config import KeyConfig, Limits, VenueTerms
from xarb.serve.exchange import Exchange, Listing
from xarb.serve.limits import TooMany, Windows
from xarb.serve.okx import shapes
from xarb.serve.okx.countdowns import TAG
from xarb.serve.okx.errors import OkxError, bad, no_instrument, refusal, throttled
from xarb.serve.orders import LIMIT, LIMIT_MAKER, MARKET, REJECTED, Intent, ServedOrder
from xarb.serve.sizing import reach, spend_of
from xarb.serve.untrusted import is_flat, whole_of

_CLIENT_ID: Final = re.compile(r"[A-Za-z0-9]{1,32}\Z")
_TIFS: Final = {"limit": "gtc", "post_only": "gtc", "ioc": "ioc", "fok": "fok", "market": "ioc"}
_KEPT: Final = ("self_trade", "post_only_would_cross")
_MOST_ORDERS: Final = 20  # of a batch
Values = Mapping[str, Any]
Items = list[dict[str, Any]]


class Signed(NamedTuple):
    """One signed request: the permission that it needs and its answer; `is_batch` answers have a code for each item."""

    permission: str
    answer: Callable[[Any, KeyConfig], Items]
    is_batch: bool = False


class OkxTrading:
    """The signed requests of one venue.

    Args:
        exchange: the venue.
        listings: by instrument id.
        limits: of orders.
        clock: for them.
        terms: fees, and assets that cannot be moved.
    """

    def __init__(
        self, exchange: Exchange, listings: Mapping[str, Listing], limits: Limits, clock: Stamps, terms: VenueTerms
    ) -> None:
        self._exchange = exchange
        self._desk = exchange.desk
        self._listings = listings
        self._by_code = {listing.number + 1: listing for listing in listings.values()}
        self._limits = limits
        self._windows = Windows()
        self._clock = clock
        self._terms = terms
        self.requests: dict[tuple[str, str], Signed] = {
            ("POST", "trade/order"): Signed("trade", lambda one, key: self.place([one], key), is_batch=True),
            ("POST", "trade/batch-orders"): Signed("trade", self.place, is_batch=True),
            ("POST", "trade/cancel-order"): Signed("trade", lambda one, key: self.cancel([one], key), is_batch=True),
            ("POST", "trade/cancel-batch-orders"): Signed("trade", self.cancel, is_batch=True),
            ("GET", "trade/order"): Signed("read", self._order),
            ("GET", "trade/orders-pending"): Signed("read", self._pending),
            ("GET", "trade/orders-history"): Signed("read", self._history),
            ("GET", "trade/orders-history-archive"): Signed("read", self._history),
            ("GET", "trade/fills"): Signed("read", self._fills),
            ("GET", "trade/fills-history"): Signed("read", self._fills),
            ("GET", "account/balance"): Signed("read", self._balance),
            ("GET", "account/config"): Signed("read", self._config),
            ("GET", "account/trade-fee"): Signed("read", self._trade_fee),
            ("GET", "account/instruments"): Signed("read", lambda _, __: [shapes.instrument(one) for one in listings.values()]),
            ("GET", "asset/currencies"): Signed("read", self._currencies),
            ("GET", "asset/deposit-history"): Signed("read", lambda _, __: []),
            ("GET", "asset/withdrawal-history"): Signed("read", lambda _, __: []),
        }

    # --- orders

    def place(self, orders: Any, key: KeyConfig) -> Items:
        """Take orders in turn."""
        return [self._item(self._place, one, key) for one in _batch(orders)]

    def cancel(self, orders: Any, key: KeyConfig) -> Items:
        """Cancel orders in turn."""
        return [self._item(self._cancel, one, key) for one in _batch(orders)]

    def _item(self, act: Callable[[Values, KeyConfig], ServedOrder], one: Values, key: KeyConfig) -> dict[str, Any]:
        made = {"clOrdId": str(one.get("clOrdId") or ""), "ordId": str(one.get("ordId") or ""), "tag": str(one.get("tag") or "")}
        made["ts"] = str(self._exchange.now_ms())
        try:
            order = act(one, key)
        except OkxError as error:
            return {**made, "sCode": error.code, "sMsg": error.message}
        words = "Order placed" if act == self._place else ""
        return {**made, "ordId": str(order.id), "clOrdId": order.intent.client_id, "sCode": "0", "sMsg": words}

    def _place(self, one: Values, key: KeyConfig) -> ServedOrder:
        try:
            self._windows.count("orders", key.account, self._limits.orders_2s, self._clock.wall_ns())
        except TooMany:
            raise throttled() from None
        intent = self._intent(one, key.account)
        mine = self._desk.open_orders(key.account, self._exchange.name)
        if intent.client_id and any(other.intent.client_id == intent.client_id for other in mine):
            raise OkxError("51016", "Client order ID already exists.")
        order = self._desk.place(intent)
        if order.status == REJECTED:
            raise refusal(order.reason)
        return order

    def _intent(self, one: Values, account: str) -> Intent:
        listing = self._listing(one)
        if one.get("tdMode") != "cash":
            raise bad("tdMode")
        side, kind = one.get("side"), one.get("ordType")
        if side not in {"buy", "sell"}:
            raise bad("side")
        if kind not in _TIFS:
            raise bad("ordType")
        client_id = str(one.get("clOrdId") or "")
        if client_id and not _CLIENT_ID.match(client_id):
            raise bad("clOrdId")
        tag = str(one.get("tag") or "")
        if tag and not TAG.match(tag):
            raise bad("tag")
        known, buy = listing.instrument, side == "buy"
        closed = known.untradable_because()
        if closed is not None:
            raise refusal(closed)
        size = _money(one, "sz")
        price, spend = 0, 0
        if kind == "market":
            by_quote = one.get("tgtCcy", "quote_ccy" if buy else "base_ccy") == "quote_ccy"
            if by_quote:
                spend = size
                found, qty = spend_of(listing, buy=buy, value=size)
            else:
                qty = self._lots(listing, size)
                found = reach(listing, buy=buy, qty=qty)
            if found is None or qty <= 0:
                raise OkxError("51020", "Your order should meet or exceed the minimum order amount.")
            price = found.price
        else:
            money = _money(one, "px")
            if money % listing.price(known.tick_int or 1):
                raise bad("px")
            price, qty = money // 10 ** (MONEY_SCALE - known.px_scale), self._lots(listing, size)
        return Intent(
            account=account,
            number=listing.number,
            buy=buy,
            kind=MARKET if kind == "market" else LIMIT_MAKER if kind == "post_only" else LIMIT,
            tif=_TIFS[kind],
            price_int=price,
            qty_int=qty,
            client_id=client_id,
            quote_value=spend,
            tag=tag,
            kept=_KEPT,
        )

    @staticmethod
    def _lots(listing: Listing, size: int) -> int:
        known = listing.instrument
        if size < (known.min_qty or 0):
            raise refusal("min_qty")
        if size % listing.qty(known.lot_int or 1):
            raise refusal("lot")
        return int(size // 10 ** (MONEY_SCALE - known.qty_scale))

    def _listing(self, one: Values) -> Listing:
        listing = self._listings.get(str(one.get("instId") or "")) or self._by_code.get(one.get("instIdCode") or 0)
        if listing is None:
            raise no_instrument()
        return listing

    def _find(self, one: Values, key: KeyConfig, unknown: OkxError) -> ServedOrder:
        listing = self._listing(one)
        number, client_id = str(one.get("ordId") or ""), str(one.get("clOrdId") or "")
        if not number and not client_id:
            raise OkxError("51407", "Either order ID or client order ID is required.")
        order = self._desk.order(
            key.account,
            self._exchange.name,
            order_id=whole_of(number),
            client_id=client_id,
        )
        if order is None or order.intent.number != listing.number:
            raise unknown
        return order

    def _cancel(self, one: Values, key: KeyConfig) -> ServedOrder:
        order = self._find(one, key, OkxError("51400", "Cancellation failed as the order doesn't exist."))
        if not self._desk.cancel(order, cancel_id="user"):
            done = order.status == "FILLED"
            raise OkxError(
                "51402" if done else "51401",
                f"Cancellation failed as the order has been {'completed' if done else 'canceled'}.",
            )
        return order

    # --- what is asked of orders

    def _name(self, order: ServedOrder) -> str:
        return shapes.inst_id(self._exchange.by_number[order.intent.number].instrument)

    def _order(self, one: Values, key: KeyConfig) -> Items:
        order = self._find(one, key, OkxError("51603", "Order doesn't exist."))
        return [shapes.order(order, self._name(order))]

    def _chosen(self, one: Values, orders: Sequence[ServedOrder]) -> list[ServedOrder]:
        """Newest first; of one instrument when it is named."""
        name = one.get("instId")
        return [order for order in reversed(orders) if name in {None, "", self._name(order)}][: _limit(one)]

    def _pending(self, one: Values, key: KeyConfig) -> Items:
        return [
            shapes.order(order, self._name(order))
            for order in self._chosen(one, self._desk.open_orders(key.account, self._exchange.name))
        ]

    def _history(self, one: Values, key: KeyConfig) -> Items:
        done = [order for order in self._desk.orders(key.account, self._exchange.name) if not order.is_open]
        return [shapes.order(order, self._name(order)) for order in self._chosen(one, done)]

    def _fills(self, one: Values, key: KeyConfig) -> Items:
        wanted, name = str(one.get("ordId") or ""), one.get("instId")
        begin, end = (whole_of(one.get(field)) for field in ("begin", "end"))
        found = [
            (order, fill)
            for order in self._desk.orders(key.account, self._exchange.name)
            if wanted in {"", str(order.id)} and name in {None, "", self._name(order)}
            for fill in order.fills
            if (begin is None or fill.ms >= begin) and (end is None or fill.ms <= end)
        ]
        found.sort(key=lambda pair: (pair[1].ms, pair[1].trade_id), reverse=True)
        return [shapes.fill(order, self._name(order), fill) for order, fill in found[: _limit(one)]]

    # --- account

    def assets(self, account: str) -> list[str]:
        """Assets that an account has, or could have, here."""
        purse = self._desk.purse(account, self._exchange.name)
        listed = {asset for one in self._listings.values() for asset in (one.instrument.base, one.instrument.quote)}
        return sorted(listed | set(purse.free) | set(purse.held))

    def _balance(self, one: Values, key: KeyConfig) -> Items:
        wanted = set(str(one.get("ccy") or "").split(",")) - {""}
        chosen = [asset for asset in self.assets(key.account) if not wanted or asset in wanted]
        return [shapes.balance(self._desk.purse(key.account, self._exchange.name), chosen, self._exchange.now_ms())]

    def _config(self, one: Values, key: KeyConfig) -> Items:
        del one
        words = {"read": "read_only", "trade": "trade", "withdraw": "withdraw"}
        return [
            {
                "uid": "1",
                "mainUid": "1",
                "acctLv": "1",
                "posMode": "net_mode",
                "autoLoan": False,
                "perm": ",".join(words[one] for one in key.permissions),
                "label": key.api_key,
                "ip": "",
                "level": "Lv1",
                "acctStpMode": "cancel_taker",
            }
        ]

    def _trade_fee(self, one: Values, key: KeyConfig) -> Items:
        del one
        maker, taker = self._exchange.fees(key.account)
        fees = {"maker": _ratio(-maker), "taker": _ratio(-taker)}  # what is paid is negative here
        return [{"instType": "SPOT", "level": "Lv1", "category": "1", **fees, "ts": str(self._exchange.now_ms())}]

    def _currencies(self, one: Values, key: KeyConfig) -> Items:
        wanted = set(str(one.get("ccy") or "").split(",")) - {""}
        return [
            {
                "ccy": asset,
                "name": asset,
                "chain": f"{asset}-XARB",
                "canDep": asset not in self._terms.suspended,
                "canWd": asset not in self._terms.suspended,
                "canInternal": False,
                "minDep": "0",
                "minWd": "0.00000001",
                "maxWd": "9999999999",
                "wdTickSz": "8",
                "fee": "0",
                "minFee": "0",
                "maxFee": "0",
                "mainNet": True,
                "needTag": False,
            }
            for asset in self.assets(key.account)
            if not wanted or asset in wanted
        ]


def _batch(orders: Any) -> list[Values]:
    if not isinstance(orders, list) or not all(is_flat(one) for one in orders):
        raise bad("args")
    if not 0 < len(orders) <= _MOST_ORDERS:
        raise OkxError("51010", f"The number of orders must be from 1 to {_MOST_ORDERS}.")
    return orders


def _money(one: Values, name: str) -> int:
    """A decimal text above zero as an integer at 18 decimals."""
    try:
        digits, scale = parse_decimal(str(one.get(name) or ""))
    except ValueError:
        raise bad(name) from None
    if digits <= 0 or scale > MONEY_SCALE:
        raise bad(name)
    return digits * int(10 ** (MONEY_SCALE - scale))


def _limit(one: Values) -> int:
    found = whole_of(one.get("limit") or "100")
    if found is None or not 0 < found <= 100:
        raise bad("limit")
    return found


def _ratio(ppb: int) -> str:
    return shapes.text(ppb * (MONEY_ONE // PPB))


__all__ = ["Items", "OkxTrading", "Signed", "Values"]
