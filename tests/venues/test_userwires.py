"""Private streams: frames as the exchanges document them, exact, and hostile ones refused. No capture of a private stream is at hand."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xarb.model.units import parse_money
from xarb.venues.replies import OrderSaid, TradeSaid, UnreadableReply
from xarb.venues.userwires import BalanceTold, BinanceUserSession, Ended, Moved, Names, OkxUserSession, Ready, Told, UserSession

NAMES = Names({"ETHBTC": "ETH/BTC", "BTC-USDT": "BTC/USDT"}, lambda code: {"XBT": "BTC"}.get(code, code))

# Binance spot, user-data-stream.md (2026): the example of an executionReport; the fill below changes what a fill changes.
NEW = {
    "e": "executionReport",
    "E": 1499405658658,
    "s": "ETHBTC",
    "c": "mUvoqJxFIILMdfAW5iGSOW",
    "S": "BUY",
    "o": "LIMIT",
    "f": "GTC",
    "q": "1.00000000",
    "p": "0.10264410",
    "P": "0.00000000",
    "F": "0.00000000",
    "g": -1,
    "C": "",
    "x": "NEW",
    "X": "NEW",
    "r": "NONE",
    "i": 4293153,
    "l": "0.00000000",
    "z": "0.00000000",
    "L": "0.00000000",
    "n": "0",
    "N": None,
    "T": 1499405658657,
    "t": -1,
    "w": True,
    "m": False,
    "M": False,
    "O": 1499405658657,
    "Z": "0.00000000",
}
FILL = {**NEW, "x": "TRADE", "X": "PARTIALLY_FILLED", "l": "0.40000000", "L": "0.10260000", "z": "0.40000000", "t": 77, "m": True}


def binance() -> BinanceUserSession:
    """A session that signs with a word."""
    return BinanceUserSession(lambda params: {**params, "signature": "s"}, NAMES)


def okx() -> OkxUserSession:
    """A session that logs in with a word."""
    return OkxUserSession(lambda: {"sign": "s"}, NAMES)


def said(session: UserSession, frame: Any) -> list[Any]:
    """What a frame says."""
    return session.take(json.dumps(frame))[0]


def wrapped(event: dict[str, Any]) -> dict[str, Any]:
    """As the WebSocket API pushes it."""
    return {"subscriptionId": 1, "event": event}


def test_binance_order_and_fill() -> None:
    """A new order, then a fill of it as maker with its fee; numbers are exact, times ns."""
    order = OrderSaid(
        symbol="ETH/BTC",
        venue_order_id="4293153",
        state="open",
        client_id="mUvoqJxFIILMdfAW5iGSOW",
        side="buy",
        price=parse_money("0.1026441"),
        qty=parse_money("1"),
        cum_qty=parse_money("0"),
        ts_event=1499405658657_000_000,
    )
    assert said(binance(), wrapped(NEW)) == [Told(order, None)]
    (told,) = said(binance(), wrapped({**FILL, "n": "0.00001000", "N": "XBT"}))
    assert told.trade == TradeSaid(
        symbol="ETH/BTC",
        fill_id="77",
        venue_order_id="4293153",
        price=parse_money("0.1026"),
        qty=parse_money("0.4"),
        client_id="mUvoqJxFIILMdfAW5iGSOW",
        side="buy",
        fee=parse_money("0.00001"),
        fee_asset="BTC",
        liquidity="maker",
        ts_event=1499405658657_000_000,
    )
    assert told.order.cum_qty == parse_money("0.4")


@pytest.mark.parametrize(
    ("kind", "state", "ours"),
    [
        ("CANCELED", "CANCELED", "canceled"),
        ("EXPIRED", "EXPIRED", "expired"),
        ("TRADE_PREVENTION", "EXPIRED_IN_MATCH", "expired"),
        ("REJECTED", "REJECTED", "rejected"),
        ("TRADE", "FILLED", "filled"),
    ],
)
def test_binance_ends(kind: str, state: str, ours: str) -> None:
    """Each way in which an order ends; of a cancel the id is the canceled order's, not the cancel's own."""
    (told,) = said(binance(), wrapped({**FILL, "x": kind, "X": state, "c": "other", "C": "mine"}))
    assert (told.order.state, told.order.client_id) == (ours, "mine")
    assert (told.trade is None) is (kind != "TRADE")


def test_binance_other_events() -> None:
    """Subscription, refusal, balances, a deposit, the end of the stream, and what does not concern us."""
    hello = json.loads(binance().hello()[0])
    assert (hello["method"], hello["params"]) == ("userDataStream.subscribe.signature", {"signature": "s"})
    assert said(binance(), {"id": "1", "status": 200, "result": {"subscriptionId": 0}}) == [Ready()]
    assert said(binance(), {"id": "1", "status": 401, "error": {"code": -1022, "msg": "x"}}) == [
        Ended("refused with status 401, code -1022")
    ]
    position = {"e": "outboundAccountPosition", "E": 1, "u": 1564034571073, "B": [{"a": "XBT", "f": "10000.5", "l": "0.1"}]}
    assert said(binance(), wrapped(position)) == [
        BalanceTold("BTC", parse_money("10000.5"), parse_money("0.1"), 1564034571073_000_000)
    ]
    assert said(binance(), wrapped({"e": "balanceUpdate", "E": 1, "a": "XBT", "d": "100", "T": 2})) == [Moved("BTC")]
    assert said(binance(), wrapped({"e": "eventStreamTerminated", "E": 1})) == [Ended("eventStreamTerminated")]
    assert said(binance(), {"event": {"e": "serverShutdown", "E": 1}}) == [Ended("serverShutdown")]
    assert said(binance(), wrapped({"e": "listStatus"})) == []


# OKX v5, order channel (2026): the documented push, shortened to what is read.
OKX_ORDER = {
    "instType": "SPOT",
    "instId": "BTC-USDT",
    "ordId": "312269865356374016",
    "clOrdId": "b1",
    "px": "999.5",
    "sz": "3",
    "ordType": "limit",
    "side": "buy",
    "fillPx": "",
    "tradeId": "",
    "fillSz": "0",
    "fillTime": "",
    "state": "live",
    "accFillSz": "0",
    "fillFee": "",
    "fillFeeCcy": "",
    "execType": "",
    "uTime": "1597026383085",
}


def test_okx_order_and_fill() -> None:
    """Login, both channels, an order, a fill whose negative fee is one that is paid, a rebate, an end."""
    session = okx()
    assert json.loads(session.hello()[0]) == {"op": "login", "args": [{"sign": "s"}]}
    items, answers = session.take('{"event":"login","code":"0","msg":""}')
    assert items == []
    assert [channel["channel"] for channel in json.loads(answers[0])["args"]] == ["orders", "account"]
    assert said(session, {"event": "subscribe", "arg": {"channel": "orders"}}) == []
    assert said(session, {"event": "subscribe", "arg": {"channel": "account"}}) == [Ready()]
    about = {"channel": "orders", "instType": "SPOT"}
    (told,) = said(session, {"arg": about, "data": [OKX_ORDER]})
    assert (told.order.state, told.order.qty, told.order.price, told.trade) == (
        "open",
        parse_money("3"),
        parse_money("999.5"),
        None,
    )
    filled = {
        **OKX_ORDER,
        "state": "partially_filled",
        "accFillSz": "1.5",
        "fillPx": "999",
        "fillSz": "1.5",
        "tradeId": "242720719",
        "fillFee": "-0.0015",
        "fillFeeCcy": "BTC",
        "execType": "T",
        "fillTime": "1597026383084",
    }
    (told,) = said(session, {"arg": about, "data": [filled]})
    assert told.trade is not None
    assert (told.trade.fee, told.trade.fee_asset, told.trade.liquidity) == (parse_money("0.0015"), "BTC", "taker")
    assert (told.trade.fill_id, told.trade.ts_event) == ("242720719", 1597026383084_000_000)
    (told,) = said(session, {"arg": about, "data": [{**filled, "fillFee": "0.1", "execType": "M"}]})
    assert (told.trade.fee, told.trade.liquidity) == (-parse_money("0.1"), "maker")
    (told,) = said(session, {"arg": about, "data": [{**OKX_ORDER, "state": "canceled"}]})
    assert told.order.state == "canceled"
    account = {"uTime": "1", "details": [{"ccy": "USDT", "availBal": "10", "frozenBal": "0.5", "uTime": "1597026383085"}]}
    assert said(session, {"arg": {"channel": "account"}, "data": [account]}) == [
        BalanceTold("USDT", parse_money("10"), parse_money("0.5"), 1597026383085_000_000)
    ]
    assert session.take("pong") == ([], [])
    assert said(session, {"event": "error", "code": "60009", "msg": "x"}) == [Ended("refused with code 60009")]
    assert said(session, {"event": "notice", "code": "64008", "msg": "x"}) == [Ended("notice 64008")]


@pytest.mark.parametrize(
    "event",
    [
        {**NEW, "X": "NOVEL"},
        {**NEW, "q": 1.5},
        {**NEW, "q": "NaN"},
        {**NEW, "z": None},
        {**NEW, "s": 5},
        {**NEW, "i": None},
        {**FILL, "t": -1},
        {**FILL, "L": "1e-30"},
        {"e": "outboundAccountPosition", "B": [{"a": "BTC", "f": 0.1, "l": "0"}]},
        {"e": "outboundAccountPosition", "B": {}},
        {"e": "balanceUpdate"},
    ],
)
def test_what_cannot_be_read_is_refused(event: dict[str, Any]) -> None:
    """A float, a missing or unknown word, a number beyond 18 decimals: never guessed."""
    with pytest.raises(UnreadableReply):
        said(binance(), wrapped(event))


OKX_ABOUT = {"channel": "orders", "instType": "SPOT"}
OKX_FILL = {**OKX_ORDER, "fillPx": "999", "fillSz": "1.5", "tradeId": "1", "fillFee": "-1", "fillFeeCcy": "BTC"}


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (binance, '{"event":' + "[" * 100_000),
        (okx, '{"a":' * 50_000),
        (binance, json.dumps(wrapped({**NEW, "C": ["mine"]}))),
        (binance, json.dumps(wrapped({**FILL, "N": {"a": 1}}))),
        (okx, json.dumps({"arg": OKX_ABOUT, "data": [{**OKX_ORDER, "clOrdId": 7}]})),
        (okx, json.dumps({"arg": OKX_ABOUT, "data": [{**OKX_FILL, "fillFeeCcy": ["BTC"]}]})),
        (okx, json.dumps({"arg": {"channel": "account"}, "data": [{"details": [[]]}]})),
    ],
)
def test_what_fuzzing_found_is_refused(make: Any, text: str) -> None:
    """Frames that ended the stream's task, or gave texts that were none: nested too deep, lists in place of words or objects."""
    with pytest.raises(UnreadableReply):
        make().take(text)


@given(text=st.text(max_size=60) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
@pytest.mark.parametrize("make", [binance, okx])
def test_any_text_is_read_or_refused(make: Any, text: str) -> None:
    """Whatever comes, a session gives items or raises `UnreadableReply`, nothing else."""
    try:
        items, answers = make().take(text)
    except UnreadableReply:
        return
    assert all(isinstance(item, tuple) for item in items)
    assert all(isinstance(answer, str) for answer in answers)


@given(
    frame=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
        lambda part: (
            st.lists(part, max_size=3)
            | st.dictionaries(
                st.sampled_from(["e", "event", "status", "arg", "data", "channel", "details", "X", "s", "state", "B", "a"]),
                part,
                max_size=5,
            )
        ),
        max_leaves=12,
    )
)
@pytest.mark.parametrize("make", [binance, okx])
def test_any_shape_is_read_or_refused(make: Any, frame: Any) -> None:
    """Known words in places where they do not belong."""
    try:
        make().take(json.dumps(frame))
    except UnreadableReply:
        return
