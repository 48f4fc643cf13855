"""From a client's order parameters to an intent: everything that is checked before the matching engine sees an order."""

from __future__ import annotations

from typing import Final

from xarb.model.units import MONEY_ONE, MONEY_SCALE
from xarb.serve.binance import shapes
from xarb.serve.binance.errors import ApiError, filtered, missing, not_required, order_rejected, refusal
from xarb.serve.binance.parameters import Parameters
from xarb.serve.exchange import Exchange, Listing
from xarb.serve.orders import LIMIT, LIMIT_MAKER, MARKET, Intent
from xarb.serve.sizing import reach, spend_of

_TIFS: Final = {"GTC": "gtc", "IOC": "ioc", "FOK": "fok"}
_UNSUPPORTED: Final = ("stopPrice", "trailingDelta", "icebergQty", "pegPriceType")


def read_intent(parameters: Parameters, exchange: Exchange, account: str, client_id: str) -> Intent:
    """Check an order's parameters against Binance's rules and the symbol's filters.

    Raises:
        ApiError: in Binance's own words.
    """
    listing = parameters.listing(exchange)
    buy = parameters.choice("side", ("BUY", "SELL"), ApiError(-1117, "Invalid side.")) == "BUY"
    kind = parameters.choice("type", shapes.ORDER_TYPES, ApiError(-1116, "Invalid orderType."))
    for name in _UNSUPPORTED:
        if name in parameters:
            raise not_required(name)
    closed = listing.instrument.untradable_because()
    if closed is not None:
        raise refusal(closed)
    if kind == MARKET:
        return _market(parameters, listing, account=account, buy=buy, client_id=client_id)
    tif = "gtc"
    if kind == LIMIT:
        tif = _TIFS[parameters.choice("timeInForce", _TIFS, ApiError(-1115, "Invalid timeInForce."))]
    elif "timeInForce" in parameters:
        raise not_required("timeInForce")
    if "quoteOrderQty" in parameters:
        raise not_required("quoteOrderQty")
    one = listing.instrument
    price = parameters.money("price", max(shapes.PRECISION, one.px_scale))
    qty = parameters.money("quantity", shapes.precision_of(one.qty_scale))
    if price % listing.price(one.tick_int or 1):
        raise filtered("PRICE_FILTER")
    _check_qty(listing, qty)
    if price * qty < (one.min_notional or 0) * MONEY_ONE:
        raise filtered("NOTIONAL")
    return Intent(
        account=account,
        number=listing.number,
        buy=buy,
        kind=LIMIT_MAKER if kind == LIMIT_MAKER else LIMIT,
        tif=tif,
        price_int=price // 10 ** (MONEY_SCALE - one.px_scale),
        qty_int=qty // 10 ** (MONEY_SCALE - one.qty_scale),
        client_id=client_id,
    )


def _check_qty(listing: Listing, qty: int) -> None:
    one = listing.instrument
    if qty < (one.min_qty or 0) or qty % listing.qty(one.lot_int or 1):
        raise filtered("LOT_SIZE")


def _market(parameters: Parameters, listing: Listing, *, account: str, buy: bool, client_id: str) -> Intent:
    """A market order takes what stands in the book: its worst price is that of the last level that it needs."""
    for name in ("price", "timeInForce"):
        if name in parameters:
            raise not_required(name)
    if "quantity" in parameters and "quoteOrderQty" in parameters:
        raise not_required("quoteOrderQty")
    one = listing.instrument
    scale = 10 ** (MONEY_SCALE - one.qty_scale)
    spend = 0
    if "quantity" in parameters:
        qty = parameters.money("quantity", shapes.precision_of(one.qty_scale))
        _check_qty(listing, qty)
        wanted = qty // scale
        found = reach(listing, buy=buy, qty=wanted)
    elif "quoteOrderQty" in parameters:
        spend = parameters.money("quoteOrderQty", shapes.PRECISION)
        found, wanted = spend_of(listing, buy=buy, value=spend)
    else:
        raise missing("quantity")
    if found is None and not spend:
        raise order_rejected("Market orders cannot be matched: the book is empty.")
    if found is None or found.value < (one.min_notional or 0) or wanted <= 0:
        raise filtered("NOTIONAL")
    return Intent(
        account=account,
        number=listing.number,
        buy=buy,
        kind=MARKET,
        tif="ioc",
        price_int=found.price,
        qty_int=wanted,
        client_id=client_id,
        quote_value=spend,
    )


__all__ = ["read_intent"]
