"""The Upbit session: on a recording of April 2021 in the SIMPLE form, and on frames written from the documentation of 2026."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given

from tests.wires.hostile import mutated, writable
from tests.wires.instruments import listing, told
from tests.wires.replay import captured, exact
from xarb.wires.events import BUY, SELL, BookEvent, LinkEvent, RejectEvent, TradeEvent
from xarb.wires.session import Send
from xarb.wires.upbit import PING_NS, UpbitSession

BTC = "KRW-BTC"
BOOK = (
    b'{"ty":"orderbook","cd":"KRW-BTC","tms":1746601573804,"tas":4.79158413,"tbs":2.65609625,"obu":['
    b'{"ap":137002000,"bp":137001000,"as":0.10623869,"bs":0.03656812},{"ap":137023000,"bp":137000000.5,"as":0.06144079,"bs":1e-8}'
    b'],"lv":0,"st":"REALTIME"}'
)
TRADE = (
    b'{"ty":"trade","cd":"KRW-BTC","tms":1730336862082,"td":"2024-10-31","ttm":"01:07:42","ttms":1730336862047,"tp":100473000.00000000,'
    b'"tv":0.00014208,"ab":"BID","pcp":100571000.00000000,"c":"FALL","cp":98000.00000000,"sid":17303368620470000,"st":"REALTIME"}'
)


def session(*natives: str, channels: tuple[str, ...] = ()) -> UpbitSession:
    """A session of these instruments, of KRW-BTC without any."""
    return UpbitSession([listing("upbit", native, px_scale=0) for native in natives or (BTC,)], channels)


def test_the_recording_is_decoded_to_the_last_digit() -> None:
    """Recording: 145 books of 15 levels a side and 304 trades; every number is the one of the text, which no float has touched."""
    frames = [frame.payload for frame in captured("UPBIT.ws.62.0")]
    raw = [json.loads(payload, parse_float=Decimal, parse_int=Decimal) for payload in frames]
    one = session(*sorted({body["cd"] for body in raw}))
    books = trades = 0
    for payload, body in zip(frames, raw, strict=True):
        (event,) = one.receive(payload)
        assert not isinstance(event, RejectEvent | LinkEvent)
        assert event.listing.instrument.native == body["cd"]
        if isinstance(event, BookEvent):
            books += 1
            found = zip(event.bids, event.bid_qtys, event.asks, event.ask_qtys, strict=True)
            assert [
                (
                    exact(bid, event.px_scale),
                    exact(bid_qty, event.qty_scale),
                    exact(ask, event.px_scale),
                    exact(ask_qty, event.qty_scale),
                )
                for bid, bid_qty, ask, ask_qty in found
            ] == [(unit["bp"], unit["bs"], unit["ap"], unit["as"]) for unit in body["obu"]]
            assert event.bids == sorted(event.bids, reverse=True)
            assert event.asks == sorted(event.asks)
            assert event.bids[0] < event.asks[0]
            assert event.ts_event == body["tms"] * 10**6
        else:
            assert isinstance(event, TradeEvent)
            trades += 1
            assert (exact(event.price, event.px_scale), exact(event.qty, event.qty_scale)) == (body["tp"], body["tv"])
            assert event.aggressor == {"ASK": SELL, "BID": BUY}[body["ab"]]
            assert (event.trade_id, event.ts_event) == (str(body["sid"]), body["ttms"] * 10**6)
    assert (books, trades) == (145, 304)


def test_recorded_takers_hit_the_book_before() -> None:
    """Recording: all 303 trades that follow a book have its best ask or better where a buyer took, its best bid where a seller did."""
    frames = [frame.payload for frame in captured("UPBIT.ws.62.0")]
    one = session(*sorted({json.loads(payload)["cd"] for payload in frames}))
    tops: dict[str, tuple[Decimal, Decimal]] = {}
    seen = {BUY: 0, SELL: 0}
    for payload in frames:
        for event in one.receive(payload):
            if isinstance(event, BookEvent):
                tops[event.listing.instrument.native] = exact(event.bids[0], event.px_scale), exact(event.asks[0], event.px_scale)
            elif isinstance(event, TradeEvent) and event.listing.instrument.native in tops:
                bid, ask = tops[event.listing.instrument.native]
                price = exact(event.price, event.px_scale)
                assert price >= ask if event.aggressor == BUY else price <= bid
                seen[event.aggressor] += 1
    assert seen == {BUY: 103, SELL: 200}


def test_a_book_is_one_event_of_all_its_levels() -> None:
    """Documented: no quote is made of the first level, and numbers may have exponents or decimals."""
    (found,) = session().receive(BOOK)
    assert isinstance(found, BookEvent)
    assert (found.bids, found.bid_qtys) == ([1370010000, 1370000005], [3656812, 1])
    assert (found.asks, found.ask_qtys) == ([1370020000, 1370230000], [10623869, 6144079])
    assert (found.px_scale, found.qty_scale, found.ts_event, found.venue_seq) == (1, 8, 1746601573804000000, None)


def test_digits_that_a_float_would_lose_are_kept() -> None:
    """Documented form: a size of 17 digits arrives as it was written."""
    (found,) = session().receive(TRADE.replace(b"0.00014208", b"900719925.47409931"))
    assert isinstance(found, TradeEvent)
    assert found.qty == 90071992547409931
    assert (found.price, found.px_scale, found.aggressor, found.trade_id) == (100473000, 0, BUY, "17303368620470000")


def test_a_side_without_a_level_is_shorter() -> None:
    """A pair of zeros beside a level of the other side is no level; a price without a size is one, of size zero."""
    text = BOOK.replace(b'"bp":137000000.5,"as":0.06144079,"bs":1e-8', b'"bp":0.0,"as":0,"bs":0.00000000')
    (found,) = session().receive(text)
    assert isinstance(found, BookEvent)
    assert (found.bids, found.asks, found.ask_qtys) == ([137001000], [137002000, 137023000], [10623869, 0])


def test_a_trade_from_before_the_subscription_is_no_news() -> None:
    """Documented: a snapshot of trades is the last one before the request; a row says that it is left out."""
    (found,) = session().receive(TRADE.replace(b"REALTIME", b"SNAPSHOT"))
    assert isinstance(found, LinkEvent)
    assert (found.event, found.symbol) == ("subscribed", BTC)
    assert found.detail == "trade 17303368620470000 from before the subscription left out"
    (found,) = session().receive(BOOK.replace(b"REALTIME", b"SNAPSHOT"))
    assert isinstance(found, BookEvent)


def test_one_message_subscribes_everything() -> None:
    """Documented: ticket, types with their codes, and the short form; trades from before the connection are not asked for."""
    one = session(BTC, "BTC-ETH", channels=("books", "trades"))
    (ask,) = one.open(1746601573804000000)
    assert isinstance(ask, Send)
    assert json.loads(ask.text) == [
        {"ticket": "xarb-1746601573804000000"},
        {"type": "orderbook", "codes": [BTC, "BTC-ETH"]},
        {"type": "trade", "codes": [BTC, "BTC-ETH"], "is_only_realtime": True},
        {"format": "SIMPLE"},
    ]
    assert session().open(0) == []
    assert one.asks() == []


def test_pings_are_answered() -> None:
    """Documented: the text PING every 30 s, and the status that comes back is a heartbeat."""
    one = session()
    one.open(10**18)
    assert one.tick(10**18 + PING_NS - 1) == []
    assert one.tick(10**18 + PING_NS) == [Send("PING")]
    assert one.tick(10**18 + PING_NS + 1) == []
    assert told(one.receive(b'{"status":"UP"}')) == "heartbeat"


@pytest.mark.parametrize(
    ("payload", "rule"),
    [
        (b"", "bad_json"),
        (b"\xff\xfe", "bad_json"),
        (b"[]", "wrong_type"),
        (b"{}", "unknown_message"),
        (BOOK[:-5], "bad_json"),
        (BOOK.replace(b"KRW-BTC", b"KRW-ETH"), "unknown_instrument"),
        (BOOK.replace(b'"cd"', b'"xx"'), "unknown_instrument"),
        (BOOK.replace(b'"obu"', b'"xx"'), "missing_field"),
        (BOOK.replace(b'"as"', b'"xx"', 1), "missing_field"),
        (BOOK.replace(b"137002000", b"null"), "bad_number"),
        (BOOK.replace(b"137002000", b'"137002000"'), "bad_number"),
        (BOOK.replace(b"137002000", b"[1]"), "bad_number"),
        (BOOK.replace(b"137002000", b"1e999"), "bad_number"),
        (BOOK.replace(b"137002000", b"9" * 5000), "bad_number"),
        (BOOK.replace(b"1746601573804", b"17466015738.4"), "wrong_type"),
        (TRADE.replace(b'"BID"', b'"bid"'), "wrong_type"),
        (TRADE.replace(b"17303368620470000", b"9223372036854775808"), "wrong_type"),
        (b'{"ty":"ticker","cd":"KRW-BTC"}', "unknown_message"),
        (b'{"error":{"name":"NO_CODES","message":"..."}}', "exchange_error"),
    ],
)
def test_bad_frames(payload: bytes, rule: str) -> None:
    """Whatever is wrong becomes one reject with its rule and its text."""
    (found,) = session().receive(payload)
    assert isinstance(found, RejectEvent)
    assert (found.rule, found.payload) == (rule, payload.decode("utf-8", "backslashreplace")[:4096])


@given(mutated([BOOK, TRADE, b'{"status":"UP"}', b'{"error":{"name":"X","message":"y"}}']))
def test_hostile_frames(payload: bytes) -> None:
    """No frame raises, whatever was done to it, and what it became can be logged."""
    one = session()
    events = one.receive(payload)
    assert len(events) == 1
    writable("upbit", events)
