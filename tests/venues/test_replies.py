"""Replies as ccxt structures them, with numbers as text: what lacks something is refused, never completed."""

from __future__ import annotations

from typing import Any

import pytest

from xarb.model.units import parse_money
from xarb.venues.replies import OrderSaid, TradeSaid, UnreadableReply, order_said, trade_said

ORDER: dict[str, Any] = {
    "info": {"orderId": 7},
    "id": "7",
    "clientOrderId": "mine",
    "symbol": "BTC/USDT",
    "side": "buy",
    "status": "open",
    "price": "61837.63000000",
    "amount": "0.00001000",
    "filled": "0.00000000",
    "timestamp": 1_700_000_000_001,
    "lastUpdateTimestamp": None,
}
TRADE: dict[str, Any] = {
    "info": {},
    "id": "11",
    "order": "7",
    "side": "buy",
    "price": "61837.63",
    "amount": "0.00001",
    "fee": {"cost": "0.00000001", "currency": "BNB"},
    "takerOrMaker": "maker",
    "timestamp": "1700000000002",
}


def test_whole_replies_are_read_exactly() -> None:
    """Amounts at 18 decimals, times in ns, ids as text."""
    assert order_said(ORDER, "BTC/USDT") == OrderSaid(
        symbol="BTC/USDT",
        venue_order_id="7",
        state="open",
        client_id="mine",
        side="buy",
        price=parse_money("61837.63"),
        qty=parse_money("0.00001"),
        cum_qty=parse_money("0"),
        ts_event=1_700_000_000_001_000_000,
    )
    assert trade_said(TRADE, "BTC/USDT") == TradeSaid(
        symbol="BTC/USDT",
        fill_id="11",
        venue_order_id="7",
        price=parse_money("61837.63"),
        qty=parse_money("0.00001"),
        side="buy",
        fee=parse_money("0.00000001"),
        fee_asset="BNB",
        liquidity="maker",
        ts_event=1_700_000_000_002_000_000,
    )


def test_fill_within_a_reply_takes_the_orders_names() -> None:
    """Binance leaves order, side and client id out of the fills of a reply; OKX states the client id in a list of fills."""
    order = order_said(ORDER, "BTC/USDT")
    inner = trade_said({"id": "1", "price": "2", "amount": "3"}, "BTC/USDT", order)
    assert (inner.venue_order_id, inner.side, inner.client_id, inner.fee) == ("7", "buy", "mine", None)
    assert trade_said({**TRADE, "info": {"clOrdId": "c"}}, "BTC/USDT").client_id == "c"


@pytest.mark.parametrize(
    "change",
    [
        {"info": None},
        {"info": "<html>"},
        {"id": None},
        {"id": ""},
        {"status": None},
        {"status": "new word"},
        {"symbol": "ETH/USDT"},
        {"symbol": None},
        {"price": 61837.63},
        {"filled": "NaN"},
        {"amount": "1e-19"},
        {"amount": True},
    ],
)
def test_an_order_that_lacks_something_is_refused(change: dict[str, Any]) -> None:
    """No structure, no id, no known state, another symbol, a float or no number."""
    with pytest.raises(UnreadableReply):
        order_said({**ORDER, **change}, "BTC/USDT")


@pytest.mark.parametrize(
    "change",
    [
        {"id": None},
        {"order": None},
        {"price": None},
        {"price": "0"},
        {"price": "-1"},
        {"amount": "0"},
        {"amount": 0.5},
        {"fee": {"cost": 0.1, "currency": "X"}},
    ],
)
def test_a_trade_that_lacks_something_is_refused(change: dict[str, Any]) -> None:
    """No id, no order, no positive price or quantity, a float."""
    with pytest.raises(UnreadableReply):
        trade_said({**TRADE, **change}, "BTC/USDT")


@pytest.mark.parametrize("raw", [None, "text", 5, [], {}])
def test_what_is_no_structure_is_refused(raw: object) -> None:
    """A body that was cut off reaches us as text or as an empty structure."""
    with pytest.raises(UnreadableReply):
        order_said(raw, "BTC/USDT")
    with pytest.raises(UnreadableReply):
        trade_said(raw, "BTC/USDT")
