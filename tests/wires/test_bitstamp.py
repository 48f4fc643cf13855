"""The Bitstamp session: on a recording of January 2022, and on frames written from the exchange's documentation of 2026."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wires.hostile import endured, mutated
from tests.wires.instruments import listing
from tests.wires.replay import Book, Frame, answering, captured, exact, replayed
from xarb.wires.bitstamp import PING_NS, BitstampSession
from xarb.wires.events import APPLY, BUY, OLD, SELL, BookEvent, DepthEvent, LinkEvent, RejectEvent, TradeEvent, WireEvent
from xarb.wires.session import Fetch, Reopen, Send

BTC = "btcusd"
START = 1_641_343_691_000_000  # us; times of documented frames are counted from here
TRADE = (
    b'{"event":"trade","channel":"live_trades_btcusd","data":{"id":1,"type":0,"price":1.5,"amount":2.0,"price_str":"1.50",'
    b'"amount_str":"2.00000000","microtimestamp":"1641343699596000"}}'
)
WANTED = Fetch("/api/v2/order_book/btcusd/", BTC)


def session(*natives: str, channels: tuple[str, ...] = ()) -> BitstampSession:
    """A session of these instruments, of btcusd without any."""
    return BitstampSession([listing("bitstamp", native, px_scale=0) for native in natives or (BTC,)], channels)


def levels(at: int) -> dict[str, Any]:
    """A book or its changes `at` us after the start: one bid whose size is that time."""
    return {"timestamp": "1641343691", "microtimestamp": str(START + at), "bids": [["1.5", str(at)]], "asks": [["2.5", "8"]]}


def update(at: int, native: str = BTC, prefix: str = "diff_order_book_") -> bytes:
    """A message of the stream as documented in 2026."""
    return json.dumps({"data": levels(at), "channel": f"{prefix}{native}", "event": "data"}).encode()


def snapshot(at: int) -> bytes:
    """The answer to a snapshot request as documented in 2026."""
    return json.dumps(levels(at)).encode()


def told(events: list[WireEvent]) -> str:
    """Events as words, depth by its time after the start: `gap`, `snapshot 5 apply`, `7 unsynced`."""
    words = []
    for event in events:
        if isinstance(event, DepthEvent):
            verdict = {APPLY: "apply", OLD: "old"}.get(event.verdict, "unsynced")
            assert event.ts_event is not None
            words.append(f"{'snapshot ' if event.is_snapshot else ''}{event.ts_event // 1000 - START} {verdict}")
        else:
            words.append(event.event if isinstance(event, LinkEvent) else type(event).__name__)
    return ", ".join(words)


def recorded() -> tuple[list[Frame], dict[str, bytes]]:
    """The frames of the recording, and its snapshots by native name."""
    return captured("BITSTAMP.ws.1.0"), {one.url.rpartition("/")[2]: one.payload for one in captured("BITSTAMP.http.0.0")}


def test_the_recording_gives_what_is_in_it() -> None:
    """Recording: 717 messages of nine books (the tenth is silent), ten trades, no gap, and no book is ever crossed."""
    frames, snapshots = recorded()
    replay = answering(session(*snapshots), snapshots)
    seen: Counter[str] = Counter()
    for frame in frames:
        for event in replay.feed(frame.payload):
            depth = f" {event.is_snapshot} {event.verdict}" if isinstance(event, DepthEvent) else ""
            seen[type(event).__name__ + depth] += 1
        for book in replay.books.values():
            assert book.top[0] < book.top[2]
    assert seen == {
        "DepthEvent False 0": 615,  # apply
        "DepthEvent False 1": 93,  # old: the snapshots hold them
        "DepthEvent False 2": 9,  # unsynced
        "DepthEvent True 0": 9,
        "TradeEvent": 10,
        "LinkEvent": 20,
    }
    assert {event for _, event in replay.links} == {"subscribed"}


def test_books_equal_those_of_a_plain_model() -> None:
    """Recording: the rebuilt books are those of a few lines that read the raw messages themselves, to the last digit."""
    frames, snapshots = recorded()
    replay, _ = replayed(session(*snapshots), frames, snapshots)
    compared = 0
    for native, text in snapshots.items():
        data, book = json.loads(text), Book()
        for side, name in ((book.bids, "bids"), (book.asks, "asks")):
            side.update({Decimal(price): Decimal(qty) for price, qty in data[name]})
        for frame in frames:
            message = json.loads(frame.payload)
            if message["channel"] != f"diff_order_book_{native}" or message["event"] != "data":
                continue
            if int(message["data"]["microtimestamp"]) <= int(data["microtimestamp"]):
                continue
            compared += 1
            for side, name in ((book.bids, "bids"), (book.asks, "asks")):
                for price, qty in message["data"][name]:
                    book.set(side, Decimal(price), Decimal(qty))
        if native in replay.books:
            assert (replay.books[native].bids, replay.books[native].asks) == (book.bids, book.asks)
    assert compared == 615
    assert snapshots.keys() - replay.books.keys() == {"sgbeur"}


def test_every_recorded_number_is_exact() -> None:
    """Recording: levels and trades are, in order, the numbers of the raw text; times are exact microseconds."""
    frames, snapshots = recorded()
    one = session(*snapshots)
    compared = 0
    for payload, native in [(frame.payload, None) for frame in frames] + [(text, native) for native, text in snapshots.items()]:
        body = json.loads(payload) if native else json.loads(payload)["data"]
        if not body:
            continue
        event = next(event for event in one.receive(payload, native) if isinstance(event, DepthEvent | TradeEvent))
        assert event.ts_event == int(body["microtimestamp"]) * 1000
        if isinstance(event, TradeEvent):
            assert exact(event.price, event.px_scale) == Decimal(body["price_str"])
            assert exact(event.qty, event.qty_scale) == Decimal(body["amount_str"])
            assert (event.trade_id, event.aggressor) == (str(body["id"]), {0: BUY, 1: SELL}[body["type"]])
            continue
        for name, prices, qtys in (("bids", event.bids, event.bid_qtys), ("asks", event.asks, event.ask_qtys)):
            found = [(exact(price, event.px_scale), exact(qty, event.qty_scale)) for price, qty in zip(prices, qtys, strict=True)]
            assert found == [(Decimal(price), Decimal(qty)) for price, qty in body[name]]
            compared += len(found)
    assert compared > 10_000


def test_the_recorded_taker_is_the_side_of_the_newer_order() -> None:
    """Recording: order ids grow, so the order with the larger one came to the other; ten of ten trades say that its side took."""
    frames, snapshots = recorded()
    one = session(*snapshots)
    takers = []
    for frame in frames:
        for event in one.receive(frame.payload):
            if isinstance(event, TradeEvent):
                data = json.loads(frame.payload)["data"]
                assert event.aggressor == (BUY if data["buy_order_id"] > data["sell_order_id"] else SELL)
                takers.append(event.aggressor)
    assert (takers.count(BUY), takers.count(SELL)) == (1, 9)


def test_a_frame_that_cannot_be_read_is_a_gap_of_its_symbol_alone() -> None:
    """Recording: with its 20th message damaged a book has one gap there and waits; the others end as before."""
    frames, snapshots = recorded()
    whole, _ = replayed(session(*snapshots), frames, snapshots)
    of_it = [number for number, frame in enumerate(frames) if b'"channel":"diff_order_book_adaeur","event":"data"' in frame.payload]
    place = of_it[-1]
    frames[place] = frames[place]._replace(payload=frames[place].payload.replace(b'"bids"', b'"bidz"'))
    replay, events = replayed(session(*snapshots), frames, snapshots)
    assert [link for link in replay.links if link[1] in {"gap", "resync"}] == [("adaeur", "gap")]
    assert [event.symbol for event in events if isinstance(event, RejectEvent)] == ["adaeur"]
    assert {name: book.top for name, book in replay.books.items()} == {
        name: book.top for name, book in whole.books.items() if name != "adaeur"
    }


TABLE = """
snapshot joins what waited
  u 10         | 10 unsynced
  u 20         | 20 unsynced
  u 30         | 30 unsynced
  s 20         | snapshot 20 apply, 30 apply
  u 40         | 40 apply
a snapshot from between two updates
  u 10         | 10 unsynced
  u 30         | 30 unsynced
  s 20         | snapshot 20 apply, 30 apply
a snapshot that is ahead of the stream
  u 10         | 10 unsynced
  s 25         | snapshot 25 apply
  u 20         | 20 old
  u 25         | 25 old
  u 30         | 30 apply
a snapshot older than the first update misses what came between
  u 10         | 10 unsynced
  u 20         | 20 unsynced
  s 9          | gap, snapshot 9 unsynced
  s 10         | resync, snapshot 10 apply, 20 apply
two updates of one microsecond
  u 10         | 10 unsynced
  s 15         | snapshot 15 apply
  u 20         | 20 apply
  u 20         | 20 apply
  u 30         | 30 apply
time that goes back proves nothing any more
  u 10         | 10 unsynced
  s 15         | snapshot 15 apply
  u 20         | 20 apply
  u 19         | gap, 19 unsynced
  u 30         | 30 unsynced
  s 18         | gap, snapshot 18 unsynced
  s 25         | resync, snapshot 25 apply, 30 apply
a frame that cannot be read
  u 10         | 10 unsynced
  s 15         | snapshot 15 apply
  u 20         | 20 apply
  x            | RejectEvent, gap
  u 30         | 30 unsynced
  s 29         | gap, snapshot 29 unsynced
  s 30         | resync, snapshot 30 apply
  u 40         | 40 apply
a frame that cannot be read while a snapshot is awaited
  u 10         | 10 unsynced
  x            | RejectEvent
  u 30         | 30 unsynced
  s 20         | gap, snapshot 20 unsynced
  s 30         | resync, snapshot 30 apply
  u 40         | 40 apply
a hole behind the snapshot
  u 10         | 10 unsynced
  u 20         | 20 unsynced
  x            | RejectEvent
  u 30         | 30 unsynced
  s 15         | gap, snapshot 15 unsynced
  s 31         | resync, snapshot 31 apply
"""


@pytest.mark.parametrize("case", [part for part in TABLE.strip().split("\n") if not part.startswith(" ")])
def test_sequences(case: str) -> None:
    """Documented frames: what times prove, and what they do not."""
    one, lines = session(), TABLE.strip().split("\n")
    for line in lines[lines.index(case) + 1 :]:
        if not line.startswith(" "):
            break
        step, _, words = line.partition("|")
        kind, *numbers = step.split()
        if kind == "x":
            found = one.receive(update(1)[:-1])
        elif kind == "u":
            found = one.receive(update(int(numbers[0])))
        else:
            found = one.receive(snapshot(int(numbers[0])), BTC)
        assert told(found) == words.strip(), step


@pytest.mark.parametrize(
    ("payload", "lost"),
    [
        (b'{"data":', ["btcusd", "ethusd"]),
        (b'{"data":{},"channel":5,"event":"data"}', ["btcusd", "ethusd"]),
        (b'{"data":{},"channel":"diff_order_book_ethusd","event":"data"}', ["ethusd"]),
        (b'{"data":{},"channel":"diff_order_book_xrpusd","event":"data"}', []),
        (b'{"data":{},"channel":"order_book_ethusd","event":"data"}', []),
        (b'{"data":{},"channel":"live_trades_ethusd","event":"trade"}', []),
        (b'{"data":{"code":null},"channel":"","event":"bts:error"}', []),
    ],
)
def test_an_unreadable_frame_costs_the_books_that_it_may_have_changed(payload: bytes, lost: list[str]) -> None:
    """A frame of which not even the channel can be read may have been any book's; one of another channel was none's."""
    one = session("btcusd", "ethusd")
    for native in ("btcusd", "ethusd"):
        one.receive(update(10, native))
        one.receive(snapshot(15), native)
    assert one.asks() == []  # both have come before they were asked for
    reject, *gaps = one.receive(payload)
    assert isinstance(reject, RejectEvent)
    assert [gap.symbol for gap in gaps if isinstance(gap, LinkEvent)] == lost
    assert len(gaps) == len(lost)
    for native in ("btcusd", "ethusd"):
        (found,) = one.receive(update(20, native))
        assert isinstance(found, DepthEvent)
        assert (found.verdict == APPLY) == (native not in lost)
    assert [ask.native for ask in one.asks() if isinstance(ask, Fetch)] == lost


def test_a_bad_answer_costs_no_book() -> None:
    """An error in place of a snapshot says nothing of the stream."""
    one = session()
    one.receive(update(10))
    one.receive(snapshot(15), BTC)
    assert told(one.receive(b'{"error":"x"}', BTC)) == "RejectEvent"
    assert told(one.receive(update(20))) == "20 apply"


def test_a_whole_book_is_one_event() -> None:
    """Documented: `order_book_` is a book of stated depth."""
    (found,) = session().receive(update(10, prefix="order_book_"))
    assert isinstance(found, BookEvent)
    assert (found.bids, found.asks, found.px_scale, found.ts_event) == ([15], [25], 1, (START + 10) * 1000)


def test_a_connection_opens_with_a_subscription_for_each_channel() -> None:
    """Documented: one message for each channel of each instrument; heartbeats every 20 s are answered."""
    one = session(BTC, "ethusd", channels=("deltas", "books", "trades"))
    sent = [json.loads(ask.text) for ask in one.open(10**18) if isinstance(ask, Send)]
    assert sent[0] == {"event": "bts:subscribe", "data": {"channel": "diff_order_book_btcusd"}}
    assert [message["data"]["channel"] for message in sent[1:]] == [
        "diff_order_book_ethusd",
        "order_book_btcusd",
        "order_book_ethusd",
        "live_trades_btcusd",
        "live_trades_ethusd",
    ]
    (found,) = one.receive(b'{"event":"bts:subscription_succeeded","channel":"order_book_ethusd","data":{}}')
    assert isinstance(found, LinkEvent)
    assert (found.event, found.symbol) == ("subscribed", "ethusd")
    assert one.tick(10**18 + PING_NS) == [Send('{"event":"bts:heartbeat"}')]
    assert told(one.receive(b'{"event":"bts:heartbeat","channel":"","data":{"status":"success"}}')) == "heartbeat"


def test_an_announced_reconnect_asks_for_another_connection() -> None:
    """Documented: `bts:request_reconnect` is no reject: it asks to reconnect, once."""
    one = session()
    assert told(one.receive(b'{"event":"bts:request_reconnect","channel":"","data":""}')) == "heartbeat"
    assert one.asks() == [Reopen("bts:request_reconnect")]
    assert one.asks() == []


def test_a_snapshot_is_asked_for_until_it_comes() -> None:
    """The first update asks for it; one that is too old is asked for again after five seconds."""
    one = session()
    one.receive(update(10))
    assert one.asks() == [WANTED]
    assert one.tick(10**18) == []
    one.receive(snapshot(5), BTC)
    assert one.tick(10**18 + 5 * 10**9) == [WANTED]
    one.receive(snapshot(12), BTC)
    assert [ask for ask in one.tick(10**18 + 60 * 10**9) if isinstance(ask, Fetch)] == []


@pytest.mark.parametrize(
    ("payload", "rule"),
    [
        (b"", "bad_json"),
        (b"\xff\xfe", "bad_json"),
        (b"[]", "wrong_type"),
        (b"{}", "missing_field"),
        (update(1)[:-20], "bad_json"),
        (update(1, "ethusd"), "unknown_instrument"),
        (update(1, prefix="detail_order_book_"), "unknown_message"),
        (update(1).replace(b'"1.5"', b'"NaN"'), "bad_number"),
        (update(1).replace(b'"1.5"', b"1.5"), "wrong_type"),
        (update(1).replace(b'"1.5"', b'"99999999999999999999"'), "bad_number"),
        (update(1).replace(b"microtimestamp", b"xmicrotimestam"), "missing_field"),
        (update(1).replace(str(START + 1).encode(), b"-5"), "wrong_type"),
        (update(1).replace(str(START + 1).encode(), b"99999999999999999999"), "wrong_type"),
        (update(1).replace(str(START + 1).encode(), b"5"), "bad_number"),
        (b'{"event":"bts:error","channel":"","data":{"code":null,"message":"Bad subscription string."}}', "exchange_error"),
        (update(1).replace(b'"event": "data"', b'"event": "surprise"'), "unknown_message"),
        (b'{"event":"bts:surprise","channel":"","data":""}', "unknown_message"),
        (TRADE.replace(b'"type":0', b'"type":2'), "wrong_type"),
    ],
)
def test_bad_frames(payload: bytes, rule: str) -> None:
    """Whatever is wrong becomes one reject with its rule and its text."""
    (found,) = session().receive(payload)
    assert isinstance(found, RejectEvent)
    assert (found.rule, found.payload) == (rule, payload.decode("utf-8", "backslashreplace")[:4096])


FRAMES = [
    update(20),
    update(20, prefix="order_book_"),
    TRADE,
    b'{"event":"bts:subscription_succeeded","channel":"order_book_btcusd","data":{}}',
    b'{"event":"bts:request_reconnect","channel":"","data":""}',
]


@given(mutated(FRAMES), st.booleans())
def test_hostile_frames(payload: bytes, in_sync: bool) -> None:
    """No frame raises, whatever was done to it, and what it became can be logged."""
    one = session()
    if in_sync:
        one.receive(update(5))
        one.receive(snapshot(10), BTC)
    endured(one, "bitstamp", payload)


@given(mutated([snapshot(10)]))
def test_hostile_snapshots(payload: bytes) -> None:
    """The same for the answer to a snapshot request."""
    one = session()
    one.receive(update(5))
    endured(one, "bitstamp", payload, BTC)
