"""The OKX session: chains of `seqId`, checksums of old recordings, exact decoding, hostile frames.

The recording of 2022-05-13 is in today's format but for `seqId`, which did not exist yet: there continuity hangs on the checksum. Everything
that needs a `seqId` is fed frames written from OKX's documentation of 2026-07-07.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wires.captures import frames
from tests.wires.hostile import endured_all, mutated, rejected
from tests.wires.instruments import Book, listing, told
from xarb.model.units import NANOS_PER_S
from xarb.wires.events import BUY, DepthEvent, LinkEvent, MarkEvent, QuoteEvent, TradeEvent
from xarb.wires.okx import OkxSession
from xarb.wires.session import Reopen, Send

CAPTURE = "OKX.ws.1.0"


def session(*channels: str) -> OkxSession:
    """A session of a spot pair, a perpetual and a dated future."""
    swap = listing("okx", "BTC-USDT-SWAP", kind="perpetual")
    return OkxSession([listing("okx", "BTC-USDT"), swap, listing("okx", "BTC-USD-220527", kind="future")], channels)


def book(last: int, prev: int, action: str = "update", **more: Any) -> bytes:
    """A book message of the documentation's form with one bid whose size is its own id."""
    item = {"asks": [["8477", "7", "0", "2"]], "bids": [["8476.9", str(last), "0", "12"]], "ts": "1597026383085", "checksum": 0}
    arg = {"channel": "books", "instId": "BTC-USDT"}
    return json.dumps({"arg": arg, "action": action, "data": [{**item, "prevSeqId": prev, "seqId": last, **more}]}).encode()


QUOTE = b'{"arg":{"channel":"bbo-tbt","instId":"BTC-USDT"},"data":[{"asks":[["111.06","55154","0","2"]],"bids":[["111.05","57745","0","2"]],"ts":"1670324386802","seqId":363996337}]}'
TRADE = b'{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT","tradeId":"130639474","px":"42219.9","sz":"0.12060306","side":"buy","ts":"1630048897897","count":"3","source":"0","seqId":1234}]}'
MARK = b'{"arg":{"channel":"mark-price","instId":"BTC-USDT-SWAP"},"data":[{"instType":"SWAP","instId":"BTC-USDT-SWAP","markPx":"42310.65","ts":"1630049139746"}]}'
INDEX = b'{"arg":{"channel":"index-tickers","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT","idxPx":"42280.1","high24h":"1","low24h":"1","open24h":"1","sodUtc0":"1","sodUtc8":"1","ts":"1630049139746"}]}'
FUNDING = b'{"arg":{"channel":"funding-rate","instId":"BTC-USDT-SWAP"},"data":[{"fundingRate":"0.0001875391284828","fundingTime":"1700726400000","instId":"BTC-USDT-SWAP","instType":"SWAP","method":"current_period","nextFundingRate":"","nextFundingTime":"1700755200000","ts":"1700724675402"}]}'
ACK = b'{"id":"1512","event":"subscribe","arg":{"channel":"books","instId":"BTC-USDT"},"connId":"a4d3ae55"}'
ERROR = b'{"id":"1512","event":"error","code":"60012","msg":"Invalid request","connId":"a4d3ae55"}'
NOTICE = b'{"event":"notice","code":"64008","msg":"The connection will soon be closed for a service upgrade. Please reconnect.","connId":"a4d3ae55"}'
VALID = [book(10, -1, "snapshot"), book(15, 10), QUOTE, TRADE, MARK, INDEX, FUNDING, ACK, ERROR, NOTICE]


def captured() -> OkxSession:
    """A session of the three instruments of the recording."""
    perpetual = listing("okx", "UNI-USD-SWAP", kind="perpetual", px_scale=3, qty_scale=0)
    return OkxSession([listing("okx", "BTC-USDT"), listing("okx", "BTC-USD-220527", kind="future", qty_scale=0), perpetual])


def test_every_checksum_of_the_recording_is_met() -> None:
    """Of 290 book messages each one is applied, its checksum met; trades are counted; tickers are no channel of ours."""
    one, counts = captured(), Counter[str]()
    for frame in frames(CAPTURE):
        for event in one.receive(frame):
            counts[told([event]).split()[-1] if isinstance(event, DepthEvent) else told([event])] += 1
    assert counts == {"apply": 290, "TradeEvent": 74, "subscribed": 18, "RejectEvent": 28}


def test_the_rebuilt_book_of_the_recording_ends_where_it_ended() -> None:
    """Applied as they are handed back, the messages build a book of 400 levels a side that never crosses."""
    one, books = captured(), {name: Book() for name in ("BTC-USDT", "BTC-USD-220527", "UNI-USD-SWAP")}
    for frame in frames(CAPTURE):
        for event in one.receive(frame):
            if isinstance(event, DepthEvent):
                found = books[event.listing.key[1]]
                found.apply(event)
                assert found.top()[0] < found.top()[2]
    spot = books["BTC-USDT"]
    assert (len(spot.bids), len(spot.asks), spot.top()) == (400, 400, (302361, 18050747, 302362, 100000))


def test_a_message_missing_from_the_recording_is_a_gap_of_its_symbol_alone() -> None:
    """Without one update the next checksum does not fit: a gap, one new subscription, and the other books go on."""
    one = captured()
    received = [frame for frame in frames(CAPTURE) if b'"books"' in frame and b'"data"' in frame]
    spot = [at for at, frame in enumerate(received) if b'"instId":"BTC-USDT"' in frame]
    lost = spot[40]
    words = [(at, told(one.receive(frame))) for at, frame in enumerate(received) if at != lost]
    assert one.asks() == [
        Send('{"op":"unsubscribe","args":[{"channel":"books","instId":"BTC-USDT"}]}'),
        Send('{"op":"subscribe","args":[{"channel":"books","instId":"BTC-USDT"}]}'),
    ]
    assert one.asks() == []
    gaps = [at for at, word in words if "gap" in word]
    assert gaps == [spot[41]]
    assert {word for at, word in words if at > spot[41] and at in spot} == {"None unsynced"}
    assert {word for at, word in words if at > spot[41] and at not in spot} == {"None apply"}


def test_the_chain_of_the_documentation() -> None:
    """Snapshot, update, quiet update, sequence reset and update, as OKX lists them, are all applied."""
    one = session()
    steps = [(10, -1, "snapshot"), (15, 10, "update"), (15, 15, "update"), (3, 15, "update"), (5, 3, "update")]
    words = [told(one.receive(book(*step))) for step in steps]
    assert words == ["snapshot 10 apply", "15 apply", "15 apply", "3 apply", "5 apply"]


def test_a_broken_chain_is_a_gap_until_the_next_snapshot() -> None:
    """Updates before and after a break are unsynced; the new snapshot is a resync."""
    one = session()
    assert told(one.receive(book(15, 10))) == "15 unsynced"
    one.receive(book(10, -1, "snapshot"))
    assert told(one.receive(book(20, 15))) == "gap, 20 unsynced"
    assert len(one.asks()) == 2
    assert told(one.receive(book(25, 20))) == "25 unsynced"
    assert told(one.receive(book(30, -1, "snapshot"))) == "resync, snapshot 30 apply"
    assert told(one.receive(book(31, 30))) == "31 apply"


def test_the_ids_and_texts_of_a_message_are_kept() -> None:
    """A row knows its own and its predecessor's id, its time in ns, and prices to the last digit."""
    one = session()
    (snapshot,) = one.receive(book(10, -1, "snapshot", bids=[["8476.97", "0.00000001", "0", "12"]]))
    assert isinstance(snapshot, DepthEvent)
    assert (snapshot.venue_seq, snapshot.first_id, snapshot.prev_id, snapshot.ts_event) == (10, None, None, 1597026383085000000)
    assert (snapshot.bids, snapshot.bid_qtys, snapshot.asks, snapshot.px_scale) == ([847697], [1], [847700], 2)
    (update,) = one.receive(book(15, 10, asks=[["8477", "0", "0", "0"]]))
    assert isinstance(update, DepthEvent)
    assert (update.prev_id, update.asks, update.ask_qtys) == (10, [847700], [0])


def test_a_rejected_update_leaves_a_hole() -> None:
    """An update that cannot be read is a reject and a gap: its levels are missing."""
    one = session()
    one.receive(book(10, -1, "snapshot"))
    assert told(one.receive(book(15, 10, bids=[["NaN", "1", "0", "1"]]))) == "RejectEvent, gap"
    assert told(one.receive(book(20, 15))) == "20 unsynced"


def test_a_wrong_checksum_is_a_gap_and_one_of_zero_says_nothing() -> None:
    """A checksum that is not 0 must be met; 0 is the exchange's word for none."""
    one = session()
    checksum = zlib.crc32(b"8476.9:10:8477:7")
    checksum -= (checksum >> 31) << 32
    assert told(one.receive(book(10, -1, "snapshot", checksum=1))) == "snapshot 10 unsynced"
    assert told(one.receive(book(10, -1, "snapshot", checksum=checksum))) == "resync, snapshot 10 apply"
    assert told(one.receive(book(15, 10, checksum=checksum))) == "gap, 15 unsynced"
    assert told(one.receive(book(10, -1, "snapshot", checksum=0))) == "resync, snapshot 10 apply"
    assert told(one.receive(book(15, 10, checksum=1))) == "15 apply"


def test_a_checksum_that_nothing_is_known_for_proves_nothing() -> None:
    """An update without an id, behind a snapshot whose levels were not kept for checksums, is a gap."""
    one = session()
    one.receive(book(10, -1, "snapshot"))
    without = json.loads(book(15, 10, checksum=5))
    del without["data"][0]["seqId"]
    assert told(one.receive(json.dumps(without).encode())) == "gap, None unsynced"


def test_quotes_trades_and_marks() -> None:
    """The documentation's examples give exact values, the taker's side, and rows of marks that say only what their frame said."""
    one = session()
    (quote,) = one.receive(QUOTE)
    assert isinstance(quote, QuoteEvent)
    assert (quote.bid, quote.bid_qty, quote.ask, quote.ask_qty) == (11105, 57745 * 10**8, 11106, 55154 * 10**8)
    assert (quote.px_scale, quote.venue_seq, quote.ts_event) == (2, 363996337, 1670324386802000000)
    (trade,) = one.receive(TRADE)
    assert isinstance(trade, TradeEvent)
    assert (trade.trade_id, trade.price, trade.qty, trade.aggressor) == ("130639474", 4221990, 12060306, BUY)
    (mark,) = one.receive(MARK)
    (funding,) = one.receive(FUNDING)
    (index,) = one.receive(INDEX)
    assert isinstance(mark, MarkEvent)
    assert isinstance(funding, MarkEvent)
    assert isinstance(index, MarkEvent)
    assert (mark.mark, mark.px_scale, mark.index, mark.funding_rate) == (4231065, 2, None, None)
    assert (funding.funding_rate, funding.funding_ts, funding.mark) == (187539128482800, 1700726400 * 10**9, None)
    assert (index.index, index.mark, index.listing.key[1]) == (4228010, None, "BTC-USDT-SWAP")


def test_an_empty_side_is_null_and_a_counter_may_start_again() -> None:
    """No bid is None; a lower `seqId` is told before the quote, so that the quote does not count as old."""
    one = session()
    one.receive(QUOTE)
    events = one.receive(QUOTE.replace(b'[["111.05","57745","0","2"]]', b"[]").replace(b"363996337", b"7"))
    assert told(events) == "subscribed, QuoteEvent"
    assert isinstance(events[1], QuoteEvent)
    assert (events[1].bid, events[1].bid_qty, events[1].venue_seq) == (None, None, 7)


def test_a_connection_opens_with_its_subscriptions() -> None:
    """Each channel of each instrument is named; marks are asked for derivatives only, funding for perpetuals."""
    asks = session("quotes", "deltas", "trades", "marks").open(0)
    (ask,) = asks
    assert isinstance(ask, Send)
    wanted = Counter((arg["channel"], arg["instId"]) for arg in msgspec.json.decode(ask.text)["args"])
    natives = ("BTC-USDT", "BTC-USDT-SWAP", "BTC-USD-220527")
    expected = [(channel, native) for channel in ("bbo-tbt", "books", "trades") for native in natives]
    expected += [("mark-price", "BTC-USDT-SWAP"), ("mark-price", "BTC-USD-220527"), ("funding-rate", "BTC-USDT-SWAP")]
    expected += [("index-tickers", "BTC-USDT"), ("index-tickers", "BTC-USD")]
    assert wanted == Counter(expected)


def test_pings_and_announcements() -> None:
    """A ping goes out every 20 s, its answer is a heartbeat, and an announced end asks for another connection once."""
    one = session()
    one.open(0)
    assert one.tick(19 * NANOS_PER_S) == []
    assert one.tick(20 * NANOS_PER_S) == [Send("ping")]
    assert one.tick(21 * NANOS_PER_S) == []
    assert told(one.receive(b"pong")) == "heartbeat"
    assert told(one.receive(NOTICE)) == "heartbeat"
    assert one.asks() == [Reopen("notice 64008")]
    assert one.asks() == []
    (ack,) = one.receive(ACK)
    assert isinstance(ack, LinkEvent)
    assert (ack.event, ack.symbol, ack.detail) == ("subscribed", "BTC-USDT", "books BTC-USDT")


@pytest.mark.parametrize(
    ("payload", "rule"),
    [
        (b"", "bad_json"),
        (b"[]", "wrong_type"),
        (b'{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"update","data":[{"asks":[],"bids":[]}]}', "missing_field"),
        (
            b'{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"partial","data":[{"asks":[],"bids":[],"seqId":1}]}',
            "unknown_message",
        ),
        (
            b'{"arg":{"channel":"books","instId":"ETH-USDT"},"action":"update","data":[{"asks":[],"bids":[],"seqId":1}]}',
            "unknown_instrument",
        ),
        (
            b'{"arg":{"channel":"index-tickers","instId":"XRP-USD"},"data":[{"idxPx":"1","ts":"1597026383085"}]}',
            "unknown_instrument",
        ),
        (b'{"arg":{"channel":"candle1m","instId":"BTC-USDT"},"data":[]}', "unknown_message"),
        (b'{"data":[]}', "missing_field"),
        (TRADE.replace(b'"buy"', b'"both"'), "wrong_type"),
        (TRADE.replace(b'"0.12060306"', b'"1e-30"'), "bad_number"),
        (TRADE.replace(b'"1630048897897"', b'"1630048897897000000"'), "bad_number"),
        (FUNDING.replace(b'"0.0001875391284828"', b'"1e30"'), "bad_number"),
        (ERROR, "venue_error"),
    ],
)
def test_hostile_frames(payload: bytes, rule: str) -> None:
    """Whatever is wrong becomes one reject with its rule and its text."""
    rejected(session(), payload, rule)


@given(st.lists(mutated(VALID), min_size=1, max_size=4))
def test_no_frame_raises_and_every_row_can_be_written(payloads: list[bytes]) -> None:
    """Damaged frames, between valid ones, give events that a log takes."""
    endured_all(session("deltas"), "okx", VALID[0], *payloads, VALID[1])
