"""The Bybit session: consecutive `u`, restarts, merged tickers, exact decoding, hostile frames.

The recording is Bybit's own order book archive of 2024-12-01, whose lines are messages of the v5 stream in today's format; its depth of 500
is called 200 here, since 500 is no longer offered. All other frames are written from Bybit's v5 documentation of 2026.
"""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wires.captures import FOLDER
from tests.wires.hostile import endured_all, mutated, rejected
from tests.wires.instruments import Book, listing, told
from xarb.model.units import NANOS_PER_S
from xarb.wires.bybit import BybitSession
from xarb.wires.events import BUY, SELL, DepthEvent, MarkEvent, QuoteEvent, RejectEvent, TradeEvent
from xarb.wires.session import Send

ARCHIVE = FOLDER.parent / "vendor-formats" / "bybit" / "xrpusdt-ob500.data.zip"


def session(*channels: str, market: str = "linear") -> BybitSession:
    """A session of two instruments."""
    venue = {"linear": "bybitlinear", "spot": "bybit"}[market]
    return BybitSession(market, [listing(venue, native, px_scale=2, qty_scale=3) for native in ("BTCUSDT", "ETHUSDT")], channels)


def book(number: int, kind: str = "delta", symbol: str = "BTCUSDT", **more: Any) -> bytes:
    """A book message of the documentation's form with one bid whose size is its own id."""
    data = {"s": symbol, "b": [["16493.50", str(number)]], "a": [["16611.00", "0.029"]], "u": number, "seq": 7961638724, **more}
    return json.dumps(
        {"topic": f"orderbook.50.{symbol}", "type": kind, "ts": 1672304484978, "data": data, "cts": 1672304484976}
    ).encode()


QUOTE = b'{"topic":"orderbook.1.BTCUSDT","type":"snapshot","ts":1672304484978,"data":{"s":"BTCUSDT","b":[["16493.50","0.006"]],"a":[["16611.00","0.029"]],"u":18521288,"seq":7961638724},"cts":1672304484976}'
TRADE = b'{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1672304486868,"data":[{"T":1672304486865,"s":"BTCUSDT","S":"Buy","v":"0.001","p":"16578.50","L":"PlusTick","i":"20f43950-d8dd-5b31-9112-a178eb6023af","BT":false,"seq":1783284617},{"T":1672304486866,"s":"BTCUSDT","S":"Sell","v":"2","p":"16578","L":"PlusTick","i":"x","BT":true}]}'
TICKER = b'{"topic":"tickers.BTCUSDT","type":"snapshot","data":{"symbol":"BTCUSDT","tickDirection":"PlusTick","lastPrice":"17216.00","markPrice":"17217.33","indexPrice":"17227.36","nextFundingTime":"1673280000000","fundingRate":"-0.000212","bid1Price":"17215.50","bid1Size":"84.489","ask1Price":"17216.00","ask1Size":"83.020"},"cs":24987956059,"ts":1673272861686}'
DELTA = b'{"topic":"tickers.BTCUSDT","type":"delta","data":{"symbol":"BTCUSDT","markPrice":"17218.125"},"cs":24987956060,"ts":1673272861786}'
QUIET = (
    b'{"topic":"tickers.BTCUSDT","type":"delta","data":{"symbol":"BTCUSDT","bid1Size":"84.5"},"cs":24987956061,"ts":1673272861886}'
)
ACK = b'{"success":true,"ret_msg":"subscribe","conn_id":"2324d924-aa4d-45b0-a858-7b8be29ab52b","req_id":"subscribe 1","op":"subscribe"}'
ERROR = b'{"success":false,"ret_msg":"error:handler not found,topic:x","conn_id":"2324d924","req_id":"","op":"subscribe"}'
PONG = b'{"success":true,"ret_msg":"pong","conn_id":"0970e817-426e-429a-a679-ff7f55e0b16a","op":"ping"}'
VALID = [book(10, "snapshot"), book(11), QUOTE, TRADE, TICKER, DELTA, QUIET, ACK, ERROR, PONG]


def archived() -> list[bytes]:
    """The messages of the archive, with the depth that the session subscribes."""
    if not ARCHIVE.exists():
        pytest.skip(f"no recording {ARCHIVE.name} beside the checkout")
    with zipfile.ZipFile(ARCHIVE) as file:
        return [line.replace(b"orderbook.500.", b"orderbook.200.") for line in file.read(file.namelist()[0]).splitlines()]


def test_the_archive_is_one_unbroken_book_of_500_levels() -> None:
    """A snapshot and 49 deltas are all applied, and after each the book has exactly 500 levels a side and does not cross."""
    one, found, counts = (
        BybitSession("linear", [listing("bybitlinear", "XRPUSDT", px_scale=4, qty_scale=0)], depth=200),
        Book(),
        Counter[str](),
    )
    for message in archived():
        (event,) = one.receive(message)
        assert isinstance(event, DepthEvent)
        counts["snapshot" if event.is_snapshot else "delta"] += 1
        found.apply(event)
        assert (len(found.bids), len(found.asks)) == (500, 500)
        assert found.top()[0] < found.top()[2]
    assert counts == {"snapshot": 1, "delta": 49}
    assert event.ts_event == 1733011205488000000  # type: ignore[union-attr]  # the last one of the loop


def test_a_message_missing_from_the_archive_is_a_gap() -> None:
    """Without the tenth message the eleventh is a gap; what follows is unsynced; the instrument is subscribed anew."""
    one = BybitSession("linear", [listing("bybitlinear", "XRPUSDT", px_scale=4, qty_scale=0)], depth=200)
    messages = archived()
    words = [told(one.receive(message)) for message in messages[:9] + messages[10:]]
    assert [word.split()[-1] for word in words[:9]] == ["apply"] * 9
    assert words[9].startswith("gap, ")
    assert {word.split()[-1] for word in words[9:]} == {"unsynced"}
    assert [ask.text for ask in one.asks() if isinstance(ask, Send)] == [
        '{"req_id":"unsubscribe 1","op":"unsubscribe","args":["orderbook.200.XRPUSDT"]}',
        '{"req_id":"subscribe 1","op":"subscribe","args":["orderbook.200.XRPUSDT"]}',
    ]


def test_a_break_concerns_its_symbol_alone() -> None:
    """The other book goes on; the snapshot that comes is a resync."""
    one = session()
    for symbol in ("BTCUSDT", "ETHUSDT"):
        assert told(one.receive(book(10, "snapshot", symbol))) == "snapshot 10 apply"
    assert told(one.receive(book(12))) == "gap, 12 unsynced"
    assert told(one.receive(book(13))) == "13 unsynced"
    assert told(one.receive(book(11, symbol="ETHUSDT"))) == "11 apply"
    assert told(one.receive(book(20, "snapshot"))) == "resync, snapshot 20 apply"
    assert told(one.receive(book(21))) == "21 apply"
    assert told(one.receive(book(21))) == "gap, 21 unsynced"


def test_a_restart_of_the_service_replaces_the_book() -> None:
    """A snapshot with u 1 in the midst of updates is a resync, not a gap, and u goes on from there."""
    one = session()
    one.receive(book(10, "snapshot"))
    assert told(one.receive(book(1, "snapshot"))) == "resync, snapshot 1 apply"
    assert told(one.receive(book(2))) == "2 apply"
    assert one.asks() == []


def test_a_delta_before_any_snapshot_is_unsynced() -> None:
    """It moves no book and is no gap."""
    assert told(session().receive(book(11))) == "11 unsynced"


def test_a_rejected_delta_leaves_a_hole() -> None:
    """A delta that cannot be read is a reject and a gap of its symbol."""
    one = session()
    one.receive(book(10, "snapshot"))
    assert told(one.receive(book(11, b=[["1", "-"]]))) == "RejectEvent, gap"
    assert told(one.receive(book(12))) == "12 unsynced"


def test_quotes_and_trades_are_exact() -> None:
    """The documentation's examples give exact values, the matching engine's time and the taker's side."""
    one = session()
    (quote,) = one.receive(QUOTE)
    assert isinstance(quote, QuoteEvent)
    assert (quote.bid, quote.bid_qty, quote.ask, quote.ask_qty) == (1649350, 6, 1661100, 29)
    assert (quote.venue_seq, quote.ts_event) == (18521288, 1672304484976000000)
    first, second = one.receive(TRADE)
    assert isinstance(first, TradeEvent)
    assert isinstance(second, TradeEvent)
    assert (first.price, first.qty, first.aggressor, first.ts_event) == (1657850, 1, BUY, 1672304486865000000)
    assert (first.trade_id, second.aggressor, second.qty) == ("20f43950-d8dd-5b31-9112-a178eb6023af", SELL, 2000)


def test_an_empty_side_is_null_and_a_counter_may_start_again() -> None:
    """No ask is None; the same u is a repetition, a lower one a new life of the counter, told before the quote."""
    one = session()
    one.receive(QUOTE)
    assert told(one.receive(QUOTE)) == "QuoteEvent"
    events = one.receive(QUOTE.replace(b"18521288", b"1").replace(b'[["16611.00","0.029"]]', b"[]"))
    assert told(events) == "subscribed, QuoteEvent"
    assert isinstance(events[1], QuoteEvent)
    assert (events[1].ask, events[1].ask_qty, events[1].venue_seq) == (None, None, 1)


def test_tickers_are_merged() -> None:
    """A delta keeps what it does not say; one about other things gives no row; empty texts are null."""
    one = session()
    (mark,) = one.receive(TICKER)
    assert isinstance(mark, MarkEvent)
    assert (mark.mark, mark.index, mark.funding_rate, mark.funding_ts) == (1721733, 1722736, -212 * 10**12, 1673280000 * 10**9)
    (mark,) = one.receive(DELTA)
    assert isinstance(mark, MarkEvent)
    assert (mark.mark, mark.index, mark.px_scale, mark.funding_rate) == (17218125, 17227360, 3, -212 * 10**12)
    assert one.receive(QUIET) == []
    assert one.receive(QUIET.replace(b"delta", b"snapshot")) == []
    (mark,) = one.receive(DELTA.replace(b'"markPrice":"17218.125"', b'"fundingRate":"","nextFundingTime":"0"'))
    assert isinstance(mark, MarkEvent)
    assert (mark.mark, mark.funding_rate, mark.funding_ts) == (17218125, None, None)
    (mark,) = one.receive(TICKER.replace(b'"indexPrice":"17227.36",', b""))
    assert isinstance(mark, MarkEvent)
    assert mark.index is None


def test_a_connection_opens_with_its_subscriptions() -> None:
    """Every topic of every instrument, for spot at most ten a request; acknowledgements, pings and refusals are known."""
    one = session("quotes", "deltas", "trades", "marks")
    (ask,) = one.open(0)
    assert isinstance(ask, Send)
    topics = ("orderbook.1", "orderbook.50", "publicTrade", "tickers")
    wanted = [f"{topic}.{native}" for topic in topics for native in ("BTCUSDT", "ETHUSDT")]
    assert json.loads(ask.text) == {"req_id": "subscribe 1", "op": "subscribe", "args": wanted}
    many = BybitSession("spot", [listing("bybit", f"A{number}USDT") for number in range(12)], ("quotes",))
    assert [len(json.loads(ask.text)["args"]) for ask in many.open(0) if isinstance(ask, Send)] == [10, 2]
    more = BybitSession("linear", [listing("bybitlinear", f"A{number}USDT") for number in range(12)], ("quotes",))
    assert [len(json.loads(ask.text)["args"]) for ask in more.open(0) if isinstance(ask, Send)] == [12]
    assert one.tick(20 * NANOS_PER_S)[-1] == Send('{"op":"ping"}')
    assert [told(one.receive(each)) for each in (ACK, PONG)] == ["subscribed", "heartbeat"]
    (error,) = one.receive(ERROR)
    assert isinstance(error, RejectEvent)
    assert (error.rule, error.detail) == ("venue_error", "subscribe: error:handler not found,topic:x")


@pytest.mark.parametrize(
    ("payload", "rule"),
    [
        (b"", "bad_json"),
        (b"[]", "wrong_type"),
        (b"{}", "unknown_message"),
        (b'{"topic":"kline.1.BTCUSDT","type":"snapshot","data":{}}', "unknown_message"),
        (b'{"topic":"1.BTCUSDT","type":"snapshot","data":{}}', "unknown_message"),
        (b'{"topic":"publicTrade.BTCUSDT","type":"snapshot","data":{}}', "wrong_type"),
        (b'{"topic":"tickers.BTCUSDT","type":"snapshot","data":[]}', "wrong_type"),
        (b'{"topic":"orderbook.50.BTCUSDT","type":"delta"}', "missing_field"),
        (b'{"topic":"orderbook.1.XRPUSDT","type":"snapshot","data":{"b":[],"a":[],"u":1}}', "unknown_instrument"),
        (book(10, "partial"), "unknown_message"),
        (book(10, "snapshot", s="ETHUSDT"), "wrong_type"),
        (book(10, "snapshot", u=None), "missing_field"),
        (book(10, "snapshot", u=2**63), "wrong_type"),
        (book(10, "snapshot", b=[["1e-30", "1"]]), "bad_number"),
        (book(10, "snapshot", b=[["1"]]), "wrong_type"),
        (QUOTE.replace(b"snapshot", b"delta"), "unknown_message"),
        (TICKER.replace(b"-0.000212", b"NaN"), "bad_number"),
        (TICKER.replace(b"snapshot", b"x"), "unknown_message"),
        (ERROR, "venue_error"),
    ],
)
def test_hostile_frames(payload: bytes, rule: str) -> None:
    """Whatever is wrong becomes one reject with its rule and its text."""
    rejected(session(), payload, rule)


@given(st.lists(mutated(VALID), min_size=1, max_size=4))
def test_no_frame_raises_and_every_row_can_be_written(payloads: list[bytes]) -> None:
    """Damaged frames, between valid ones, give events that a log takes."""
    endured_all(session("deltas"), "bybitlinear", VALID[0], *payloads, VALID[1])
