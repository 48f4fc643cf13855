"""The Binance session: exact decoding, sync of books, gaps and hostile frames."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xarb.catalog import load_instruments
from xarb.wires.binance import BinanceSession
from xarb.wires.decimals import Listing
from xarb.wires.events import APPLY, OLD, UNSYNCED, DepthEvent, LinkEvent, MarkEvent, QuoteEvent, RejectEvent, TradeEvent, WireEvent
from xarb.wires.session import Fetch, Reopen, Send

SPOT = load_instruments().require("binance", "BTC/USDT")
USDM = load_instruments().require("binanceusdm", "BTC/USDT:USDT")
VERDICT = {APPLY: "apply", OLD: "old", UNSYNCED: "unsynced"}


def session(market: str = "spot", buffered: int = 100) -> BinanceSession:
    """A session of one symbol."""
    return BinanceSession(market, [Listing(SPOT if market == "spot" else USDM)], buffered=buffered)


def depth(first: int, last: int, prev: int | None = None) -> bytes:
    """A depth update with one bid whose size is its last id."""
    ids = {"U": first, "u": last} | ({} if prev is None else {"pu": prev})
    return json.dumps(
        {"stream": "x", "data": {"e": "depthUpdate", "E": 1723161256299, "s": "BTCUSDT", **ids, "b": [["1.5", str(last)]], "a": []}}
    ).encode()


def snapshot(last: int) -> bytes:
    """A REST snapshot."""
    return json.dumps({"lastUpdateId": last, "bids": [["1.5", "7"]], "asks": [["2.5", "8"]]}).encode()


def told(events: list[WireEvent]) -> list[str]:
    """Events as words: `gap`, `snapshot 5 apply`, `7 unsynced`."""
    words = []
    for event in events:
        if isinstance(event, DepthEvent):
            words.append(f"{'snapshot ' if event.is_snapshot else ''}{event.venue_seq} {VERDICT[event.verdict]}")
        else:
            words.append(event.event if isinstance(event, LinkEvent) else type(event).__name__)
    return words


SPOT_TABLE = """
snapshot joins what waited
  d 1 4        | 4 unsynced
  d 5 8        | 8 unsynced
  d 9 9        | 9 unsynced
  s 6          | snapshot 6 apply, 8 apply, 9 apply
  d 10 12      | 12 apply
updates older than the snapshot
  s 10         | snapshot 10 apply
  d 5 8        | 8 old
  d 9 10       | 10 old
  d 9 11       | 11 apply
  d 12 12      | 12 apply
a gap, then a new snapshot
  s 10         | snapshot 10 apply
  d 11 11      | 11 apply
  d 13 14      | gap, 14 unsynced
  d 15 16      | 16 unsynced
  s 14         | resync, snapshot 14 apply, 16 apply
  d 17 17      | 17 apply
an overlap after the start is a gap, a repetition is old
  s 10         | snapshot 10 apply
  d 11 14      | 14 apply
  d 11 14      | 14 old
  d 14 16      | gap, 16 unsynced
a snapshot that is too old
  d 10 12      | 12 unsynced
  s 5          | gap, snapshot 5 unsynced
  s 11         | resync, snapshot 11 apply, 12 apply
the first update after the snapshot is too new
  s 5          | snapshot 5 apply
  d 7 8        | gap, 8 unsynced
a later snapshot of a book in sync
  s 5          | snapshot 5 apply
  d 6 9        | 9 apply
  s 7          | snapshot 7 old
  d 10 10      | 10 apply
  s 12         | snapshot 12 apply
  d 11 13      | 13 apply
a break inside the buffer
  d 5 8        | 8 unsynced
  d 10 11      | 11 unsynced
  s 6          | gap, snapshot 6 unsynced
  s 9          | resync, snapshot 9 apply, 11 apply
"""

FUTURES_TABLE = """
ids skip, pu links
  d 1 4 0      | 4 unsynced
  d 7 9 4      | 9 unsynced
  s 8          | snapshot 8 apply, 9 apply
  d 15 20 9    | 20 apply
  d 25 26 20   | 26 apply
the update that ends at the snapshot is the first one
  s 9          | snapshot 9 apply
  d 3 5 2      | 5 old
  d 7 9 5      | 9 apply
  d 12 13 9    | 13 apply
a snapshot between two updates
  d 3 5 2      | 5 unsynced
  d 9 12 5     | 12 unsynced
  s 7          | snapshot 7 apply, 12 apply
a broken link
  s 9          | snapshot 9 apply
  d 8 10 7     | 10 apply
  d 12 13 11   | gap, 13 unsynced
  d 15 16 13   | 16 unsynced
  s 14         | resync, snapshot 14 apply, 16 apply
"""


def cases(table: str) -> list[Any]:
    """One case per title: its steps as (input, expected words)."""
    found: list[tuple[str, list[tuple[str, str]]]] = []
    for line in table.strip().splitlines():
        if line.startswith(" "):
            step, _, words = line.partition("|")
            found[-1][1].append((step.strip(), words.strip()))
        else:
            found.append((line, []))
    return [pytest.param(steps, id=title) for title, steps in found]


def play(one: BinanceSession, steps: list[tuple[str, str]]) -> None:
    """Feed the steps and compare."""
    for step, words in steps:
        kind, *numbers = step.split()
        ids = [int(number) for number in numbers]
        found = one.receive(depth(*ids)) if kind == "d" else one.receive(snapshot(*ids))
        assert ", ".join(told(found)) == words, step


@pytest.mark.parametrize("steps", cases(SPOT_TABLE))
def test_spot_sequences(steps: list[tuple[str, str]]) -> None:
    """Spot books follow U and u as Binance states."""
    play(session(), steps)


@pytest.mark.parametrize("steps", cases(FUTURES_TABLE))
def test_futures_sequences(steps: list[tuple[str, str]]) -> None:
    """Futures books follow pu."""
    play(session("usdm"), steps)


def test_the_buffer_is_bounded() -> None:
    """With room for two updates the third drives out the first, and a snapshot that needs it is refused."""
    one = session(buffered=2)
    for last in (1, 2, 3):
        one.receive(depth(last, last))
    assert one.asks()
    assert told(one.receive(snapshot(0))) == ["gap", "snapshot 0 unsynced"]
    assert told(one.receive(snapshot(1))) == ["resync", "snapshot 1 apply", "2 apply", "3 apply"]
    assert not one.asks()


def test_a_connection_opens_with_the_subscriptions_of_its_channels() -> None:
    """One message names every stream in the exchange's own words; a session without channels, as an import's, asks for nothing."""
    one = BinanceSession("usdm", [Listing(USDM)], ("quotes", "deltas", "trades", "marks"))
    (ask,) = one.open(0)
    assert isinstance(ask, Send)
    assert msgspec.json.decode(ask.text) == {
        "method": "SUBSCRIBE",
        "params": ["btcusdt@bookTicker", "btcusdt@depth@0ms", "btcusdt@aggTrade", "btcusdt@markPrice@1s"],
        "id": 1,
    }
    assert session().open(0) == []


def test_a_snapshot_is_asked_for_once_then_again_when_it_does_not_come() -> None:
    """The first update asks for it, further ones do not; after five seconds in vain it is asked for again; a gap asks anew."""
    one = session()
    one.receive(depth(1, 1))
    wanted = Fetch("/api/v3/depth?symbol=BTCUSDT&limit=1000", "BTCUSDT")
    assert one.asks() == [wanted]
    one.receive(depth(2, 2))
    assert one.asks() == []
    assert one.tick(10**9) == []
    assert one.tick(5 * 10**9) == []
    assert one.tick(6 * 10**9) == [wanted]
    one.receive(snapshot(1), "BTCUSDT")
    assert one.tick(20 * 10**9) == []
    one.receive(depth(9, 9))
    assert one.asks() == [wanted]


def test_an_announced_shutdown_asks_for_another_connection() -> None:
    """`serverShutdown` is no reject: it asks to reconnect, once."""
    one = session()
    assert [event.event for event in one.receive(b'{"e":"serverShutdown","E":1723161254000}') if isinstance(event, LinkEvent)] == [
        "heartbeat"
    ]
    assert one.asks() == [Reopen("serverShutdown")]
    assert one.asks() == []


@given(st.lists(st.integers(1, 4), min_size=1, max_size=30), st.integers(0, 30), st.integers(0, 60))
def test_applied_updates_are_contiguous(sizes: list[int], arrival: int, snapshot_id: int) -> None:
    """Wherever the snapshot falls, applied updates leave no id out after it."""
    one, last, applied = session(), 0, []
    for number, size in enumerate(sizes):
        if number == arrival:
            applied += one.receive(snapshot(snapshot_id))
        applied += one.receive(depth(last + 1, last + size))
        last += size
    known: int | None = None
    for event in applied:
        if isinstance(event, DepthEvent) and event.verdict == APPLY:
            assert event.venue_seq is not None
            if event.is_snapshot:
                known = event.venue_seq
            else:
                assert known is not None
                assert event.first_id is not None
                assert event.first_id <= known + 1 <= event.venue_seq
                known = event.venue_seq


def test_a_quote_is_exact() -> None:
    """A bookTicker of spot has no time and keeps every digit."""
    (found,) = session().receive(
        b'{"stream":"s","data":{"u":5,"s":"BTCUSDT","b":"61837.63000000","B":"3.78826000","a":"61837.64","A":"0.00000001"}}'
    )
    assert isinstance(found, QuoteEvent)
    assert (found.bid, found.bid_qty, found.ask, found.ask_qty) == (6183763, 378826000, 6183764, 1)
    assert (found.ts_event, found.venue_seq, found.px_scale, found.qty_scale) == (None, 5, 2, 8)


def test_an_empty_side_is_null() -> None:
    """A size of zero means that the side is empty: price and size are None, not zero."""
    (found,) = session().receive(b'{"u":5,"s":"BTCUSDT","b":"0.0","B":"0.0","a":"2.5","A":"1"}')
    assert isinstance(found, QuoteEvent)
    assert (found.bid, found.bid_qty, found.ask) == (None, None, 250)


def test_a_trade_names_its_taker() -> None:
    """The buyer is the maker, so the seller took."""
    (found,) = session().receive(
        b'{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":77,"p":"1.50","q":"0.02","T":1723161255342,"m":true,"M":true}'
    )
    assert isinstance(found, TradeEvent)
    assert (found.trade_id, found.price, found.aggressor, found.ts_event) == ("77", 150, 1, 1723161255342000000)


def test_an_aggregate_trade() -> None:
    """aggTrade uses its aggregate id."""
    (found,) = session().receive(
        b'{"e":"aggTrade","E":1723161255343,"s":"BTCUSDT","a":26129,"p":"0.01","q":"4","f":1,"l":2,"T":1723161255342,"m":false,"M":true}'
    )
    assert isinstance(found, TradeEvent)
    assert (found.trade_id, found.qty, found.aggressor) == ("26129", 4 * 10**8, 0)


def test_a_mark_price() -> None:
    """Mark, index, funding rate and its time are read; T is the funding time, E the event's."""
    raw = b'{"e":"markPriceUpdate","E":1723161255343,"s":"BTCUSDT","p":"61794.15","i":"61784.62659618","P":"61784.25","r":"-0.00038167","T":1723161600000}'
    (found,) = session("usdm").receive(raw)
    assert isinstance(found, MarkEvent)
    assert (found.mark, found.index, found.px_scale) == (6179415000000, 6178462659618, 8)
    assert (found.funding_rate, found.funding_ts, found.ts_event) == (-381670000000000, 1723161600000000000, 1723161255343000000)


def test_json_numbers_are_exact_too() -> None:
    """Prices as JSON numbers keep digits that a float would lose."""
    (found,) = session().receive(
        b'{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":1,"p":9007199254740993,"q":0.10000000000000001,"T":1723161255342,"m":true}'
    )
    assert isinstance(found, RejectEvent)  # 17 decimals would leave no room for sizes of the venue
    (found,) = session().receive(
        b'{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":1,"p":90071992547409.93,"q":1e-8,"T":1723161255342,"m":true}'
    )
    assert isinstance(found, TradeEvent)
    assert (found.price, found.qty) == (9007199254740993, 1)
    (book,) = session().receive(b'{"e":"depthUpdate","E":1723161255343,"s":"BTCUSDT","U":1,"u":2,"b":[[1.10,3]],"a":[]}')
    assert isinstance(book, DepthEvent)
    assert (book.bids, book.bid_qtys) == ([110], [3 * 10**8])


def test_an_acknowledgement_is_an_event() -> None:
    """The answer to a subscription is recorded."""
    assert told(session().receive(b'{"result":null,"id":1}')) == ["subscribed"]


@pytest.mark.parametrize(
    ("payload", "rule"),
    [
        (b"", "bad_json"),
        (b'{"stream":"x","data":{"e":"depthUp', "bad_json"),
        (b"\xff\xfe", "bad_json"),
        (b'{"u":1,"s":"BTCUSDT","b":NaN,"B":"1","a":"2","A":"1"}', "bad_json"),
        (b"[" * 5000, "wrong_type"),
        (b"[]", "wrong_type"),
        (b"null", "wrong_type"),
        (b'{"e":"trade","s":5}', "wrong_type"),
        (b'{"e":"depthUpdate","s":"BTCUSDT","U":1,"u":2,"b":[["1"]],"a":[]}', "wrong_type"),
        (b'{"e":"depthUpdate","s":"BTCUSDT","U":1.5,"u":2,"b":[],"a":[]}', "wrong_type"),
        (b'{"u":1,"s":"BTCUSDT","b":"NaN","B":"1","a":"2","A":"1"}', "bad_number"),
        (b'{"u":1,"s":"BTCUSDT","b":"","B":"1","a":"2","A":"1"}', "bad_number"),
        (b'{"u":1,"s":"BTCUSDT","b":"1","B":"inf","a":"2","A":"1"}', "bad_number"),
        (b'{"u":1,"s":"BTCUSDT","b":"1e-30","B":"1","a":"2","A":"1"}', "bad_number"),
        (b'{"u":1,"s":"BTCUSDT","b":"1","B":"99999999999999999999","a":"2","A":"1"}', "bad_number"),
        (b'{"u":9223372036854775808,"s":"BTCUSDT","b":"1","B":"1","a":"2","A":"1"}', "wrong_type"),
        (b'{"u":1,"s":"BTCUSDT","b":true,"B":"1","a":"2","A":"1"}', "wrong_type"),
        (b'{"u":1,"s":"ETHUSDT","b":"1","B":"1","a":"2","A":"1"}', "unknown_instrument"),
        (b'{"e":"kline","s":"BTCUSDT"}', "unknown_message"),
        (b'{"e":"trade","s":"BTCUSDT","p":"1","q":"1","m":true}', "missing_field"),
        (b'{"e":"depthUpdate","s":"BTCUSDT","u":2,"b":[],"a":[]}', "missing_field"),
        (b'{"code":-1003,"msg":"too many requests","id":3}', "unknown_message"),
        (b'{"e":"trade","E":99,"s":"BTCUSDT","t":1,"p":"1","q":"1","m":true}', "bad_number"),
        (b'{"e":"markPriceUpdate","E":1723161255343,"s":"BTCUSDT","p":"1","i":"1","r":"1e20","T":0}', "bad_number"),
    ],
)
def test_hostile_frames(payload: bytes, rule: str) -> None:
    """Whatever is wrong becomes one reject with its rule and its text."""
    (found,) = session().receive(payload)
    assert isinstance(found, RejectEvent)
    assert found.rule == rule
    assert found.payload == payload.decode("utf-8", "backslashreplace")[:4096]


@given(st.binary(max_size=200))
def test_any_bytes_give_events(payload: bytes) -> None:
    """No frame raises."""
    assert len(session().receive(payload)) == 1
