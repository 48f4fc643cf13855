"""The Gate session: on a recording of April 2021, and on frames written from the exchange's documentation of 2026."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wires.hostile import endured, mutated
from tests.wires.instruments import listing, told
from tests.wires.replay import Book, Frame, answering, captured, exact, replayed
from xarb.wires.events import APPLY, BUY, SELL, DepthEvent, LinkEvent, QuoteEvent, RejectEvent, TradeEvent
from xarb.wires.gate import PING_NS, GateSession
from xarb.wires.session import Fetch, Send

BTC = "BTC_USDT"
WANTED = Fetch("/api/v4/spot/order_book?currency_pair=BTC_USDT&limit=100&with_id=true", BTC)


def session(*natives: str, channels: tuple[str, ...] = ()) -> GateSession:
    """A session of these instruments, of BTC_USDT without any."""
    return GateSession([listing("gate", native, px_scale=2) for native in natives or (BTC,)], channels)


def message(channel: str, result: Any) -> bytes:
    """A stream message as documented in 2026."""
    return json.dumps(
        {"time": 1606294781, "time_ms": 1606294781236, "channel": channel, "event": "update", "result": result}
    ).encode()


def update(first: int, last: int, **more: Any) -> bytes:
    """An order book update as documented in 2026: one bid whose size is its last id."""
    result = {"t": 1606294781123, "e": "depthUpdate", "E": 1606294781, "s": BTC, "U": first, "u": last}
    return message("spot.order_book_update", {**result, "l": "100", "b": [["1.5", str(last)]], "a": [], **more})


def snapshot(last: int) -> bytes:
    """The answer to a snapshot request as documented in 2026."""
    return json.dumps(
        {"id": last, "current": 1623898993123, "update": 1623898993121, "asks": [["2.5", "8"]], "bids": [["1.5", "7"]]}
    ).encode()


def recorded() -> tuple[list[Frame], dict[str, bytes]]:
    """The frames of the recording, and its snapshots by native name."""
    snapshots = {one.url.partition("pair=")[2].partition("&")[0]: one.payload for one in captured("GATEIO.http.0.0")}
    return captured("GATEIO.ws.1.0"), snapshots


def test_the_recording_gives_what_is_in_it() -> None:
    """Recording: 172 updates (10 wait, 4 more are in the snapshots already), 10 snapshots, 9 trades, no gap, no crossed book."""
    frames, snapshots = recorded()
    replay = answering(session(*snapshots), snapshots)
    seen: Counter[str] = Counter()
    for frame in frames:
        events = replay.feed(frame.payload)
        seen.update(told([event]).split()[-1] for event in events if not isinstance(event, DepthEvent))
        seen.update(f"{event.is_snapshot} {event.verdict}" for event in events if isinstance(event, DepthEvent))
        for book in replay.books.values():
            assert book.top[0] < book.top[2]
    assert seen == {
        "False 0": 159,  # apply: one of those that waited comes again
        "False 1": 4,  # old
        "False 2": 10,  # unsynced
        "True 0": 10,
        "TradeEvent": 9,
        "subscribed": 22,
        "RejectEvent": 36,  # tickers and candles, which this session does not subscribe
    }
    assert {event for _, event in replay.links} == {"subscribed"}


def test_books_equal_those_of_a_plain_model() -> None:
    """Recording: the rebuilt books are those of a few lines that read the raw messages themselves, to the last digit."""
    frames, snapshots = recorded()
    replay, _ = replayed(session(*snapshots), frames, snapshots)
    compared = 0
    for native, text in snapshots.items():
        data, book = json.loads(text), Book()
        last = data["id"]
        for side, levels in ((book.bids, data["bids"]), (book.asks, data["asks"])):
            side.update({Decimal(price): Decimal(qty) for price, qty in levels})
        for frame in frames:
            body = json.loads(frame.payload).get("result", {})
            if body.get("s") != native or body["u"] <= last:
                continue
            assert body["U"] <= last + 1
            last = body["u"]
            compared += 1
            for side, name in ((book.bids, "b"), (book.asks, "a")):
                for price, qty in body[name]:
                    book.set(side, Decimal(price), Decimal(qty))
        mine = replay.books[native]
        assert (mine.bids, mine.asks, mine.last) == (book.bids, book.asks, last)
    assert compared > 150


def test_every_recorded_number_is_exact() -> None:
    """Recording: the levels of all events are, in order, the numbers of the raw text."""
    frames, snapshots = recorded()
    one = session(*snapshots)
    compared = 0
    for payload, native in [(frame.payload, None) for frame in frames] + [(text, native) for native, text in snapshots.items()]:
        data = json.loads(payload)
        body = data if native else data.get("result", {})
        sides = (body.get("b", body.get("bids")), body.get("a", body.get("asks")))
        if sides[0] is None:
            continue
        event = next(event for event in one.receive(payload, native) if isinstance(event, DepthEvent))
        for levels, prices, qtys in ((sides[0], event.bids, event.bid_qtys), (sides[1], event.asks, event.ask_qtys)):
            found = [(exact(price, event.px_scale), exact(qty, event.qty_scale)) for price, qty in zip(prices, qtys, strict=True)]
            assert found == [(Decimal(price), Decimal(qty)) for price, qty in levels]
            compared += len(found)
    assert compared > 2000


def test_a_frame_taken_out_is_a_gap_of_its_symbol_alone() -> None:
    """Recording: without its tenth update a book has one gap there and waits; the others end as before."""
    frames, snapshots = recorded()
    whole, _ = replayed(session(*snapshots), frames, snapshots)
    native = "NEO_BTC"
    of_it = [
        number for number, frame in enumerate(frames) if b"order_book_update" in frame.payload and native.encode() in frame.payload
    ]
    del frames[of_it[10]]
    replay, _ = replayed(session(*snapshots), frames, snapshots)
    assert [link for link in replay.links if link[1] in {"gap", "resync"}] == [(native, "gap")]
    assert native not in replay.books
    assert {name: book.top for name, book in replay.books.items()} == {
        name: book.top for name, book in whole.books.items() if name != native
    }
    assert replay.session.asks() == []  # asked for once; no answer came


TABLE = """
snapshot joins what waited
  u 1 4        | 4 unsynced
  u 5 8        | 8 unsynced
  s 6          | snapshot 6 apply, 8 apply
  u 9 12       | 12 apply
an overlap is allowed, a repetition is old
  s 10         | snapshot 10 apply
  u 8 12       | 12 apply
  u 11 12      | 12 old
a gap, then a new snapshot
  s 10         | snapshot 10 apply
  u 12 14      | gap, 14 unsynced
  u 15 16      | 16 unsynced
  s 11         | resync, snapshot 11 apply, 14 apply, 16 apply
a whole book in the stream starts a book without a snapshot
  f 5 8        | snapshot 8 apply
  u 9 9        | 9 apply
a whole book in the stream ends a gap and steps over a loss
  s 10         | snapshot 10 apply
  u 12 14      | gap, 14 unsynced
  f 15 16      | resync, snapshot 16 apply
  u 17 17      | 17 apply
  f 20 22      | snapshot 22 apply
  u 23 23      | 23 apply
a whole book from before is old
  s 10         | snapshot 10 apply
  f 5 8        | snapshot 8 old
  u 11 11      | 11 apply
"""


@pytest.mark.parametrize("case", [part for part in TABLE.strip().split("\n") if not part.startswith(" ")])
def test_sequences(case: str) -> None:
    """Documented frames: books follow U and u as Gate states, and `full` messages replace them."""
    one, lines = session(), TABLE.strip().split("\n")
    for line in lines[lines.index(case) + 1 :]:
        if not line.startswith(" "):
            break
        step, _, words = line.partition("|")
        kind, *numbers = step.split()
        first, last = int(numbers[0]), int(numbers[-1])
        if kind == "s":
            found = one.receive(snapshot(last), BTC)
        else:
            found = one.receive(update(first, last, **({"full": True} if kind == "f" else {})))
        assert told(found) == words.strip(), step


def test_a_whole_book_holds_no_level_of_size_zero() -> None:
    """Documented: the example of a whole book removes a level; that is none of the book's."""
    one = session()
    (found,) = one.receive(update(5, 8, full=True, b=[["19137.74", "0.0001"], ["19088.37", "0"]], a=[["19137.75", "0.6135"]]))
    assert isinstance(found, DepthEvent)
    assert (found.is_snapshot, found.verdict, found.bids, found.bid_qtys, found.asks) == (
        True,
        APPLY,
        [1913774],
        [10000],
        [1913775],
    )
    assert one.asks() == []


def test_a_snapshot_is_asked_for_until_it_comes() -> None:
    """Documented: the first update asks for it, a whole book in the stream makes it needless."""
    one = session()
    one.receive(update(1, 1))
    assert one.asks() == [WANTED]
    assert one.tick(10**18) == []
    assert one.tick(10**18 + 5 * 10**9) == [WANTED]
    (found,) = one.receive(snapshot(1), BTC)
    assert isinstance(found, DepthEvent)
    assert found.ts_event == 1623898993121000000
    assert all(isinstance(ask, Send) for ask in one.tick(10**18 + 20 * 10**9))
    one.receive(update(3, 3))
    assert one.asks() == [WANTED]
    one.receive(update(4, 4, full=True))
    assert all(isinstance(ask, Send) for ask in one.tick(10**18 + 30 * 10**9))


def test_quotes_and_trades_are_exact() -> None:
    """Documented frames: book_ticker with and without a side, and a trade."""
    one = session()
    quote = {"t": 1606293275123, "u": 48733182, "s": BTC, "b": "19177.79", "B": "0.0003341504", "a": "19179.38", "A": "0.09"}
    (found,) = one.receive(message("spot.book_ticker", quote))
    assert isinstance(found, QuoteEvent)
    assert (found.bid, found.bid_qty, found.ask, found.ask_qty) == (1917779, 3341504, 1917938, 900000000)
    assert (found.ts_event, found.venue_seq, found.px_scale, found.qty_scale) == (1606293275123000000, 48733182, 2, 10)
    (found,) = one.receive(message("spot.book_ticker", {**quote, "b": "", "B": "", "a": "0", "A": "0"}))
    assert isinstance(found, QuoteEvent)
    assert (found.bid, found.bid_qty, found.ask, found.ask_qty) == (None, None, None, None)
    trade = {
        "id": 309143071,
        "create_time": 1606292218,
        "create_time_ms": "1606292218213.4578",
        "side": "sell",
        "currency_pair": BTC,
        "amount": "16.4700000000",
        "price": "0.4705000000",
        "range": "2390902-2390902",
        "id_market": 917144,
    }
    (found,) = one.receive(message("spot.trades", trade))
    assert isinstance(found, TradeEvent)
    assert (found.price, found.px_scale, found.qty, found.aggressor) == (4705, 4, 164700000000, SELL)
    assert (found.trade_id, found.venue_seq, found.ts_event) == ("309143071", 917144, 1606292218213457800)


def test_recorded_trades_name_their_taker() -> None:
    """Recording: nine trades, with ids, sides and times to the tenth of a microsecond as in the text."""
    frames, snapshots = recorded()
    _, events = replayed(session(*snapshots), frames, snapshots)
    raw = [json.loads(frame.payload)["result"] for frame in frames if b'spot.trades","event":"update' in frame.payload]
    assert len(raw) == 9
    assert [(one.trade_id, one.aggressor, one.ts_event) for one in events if isinstance(one, TradeEvent)] == [
        (str(data["id"]), {"buy": BUY, "sell": SELL}[data["side"]], int(Decimal(data["create_time_ms"]) * 10**6)) for data in raw
    ]


def test_a_connection_opens_with_its_subscriptions() -> None:
    """Documented: one message a channel, for deltas one an instrument with its pace; pings every 15 s are answered."""
    one = session(BTC, "ETH_USDT", channels=("quotes", "deltas", "trades"))
    sent = [json.loads(ask.text) for ask in one.open(1606294781 * 10**9) if isinstance(ask, Send)]
    assert sent[0] == {"time": 1606294781, "channel": "spot.book_ticker", "event": "subscribe", "payload": [BTC, "ETH_USDT"]}
    assert [(one["channel"], one["payload"]) for one in sent[1:]] == [
        ("spot.order_book_update", [BTC, "100ms"]),
        ("spot.order_book_update", ["ETH_USDT", "100ms"]),
        ("spot.trades", [BTC, "ETH_USDT"]),
    ]
    assert one.tick(1606294781 * 10**9 + PING_NS) == [Send('{"time":1606294796,"channel":"spot.ping"}')]
    answer = b'{"time":1545404023,"time_ms":1545404023123,"channel":"spot.pong","event":"","result":null,"error":null}'
    assert told(one.receive(answer)) == "heartbeat"
    good = b'{"time":1611541000,"channel":"spot.trades","event":"subscribe","error":null,"result":{"status":"success"}}'
    (found,) = one.receive(good)
    assert isinstance(found, LinkEvent)
    assert (found.event, found.detail) == ("subscribed", "spot.trades")


@pytest.mark.parametrize(
    ("payload", "rule"),
    [
        (b"", "bad_json"),
        (b"\xff\xfe", "bad_json"),
        (b"[]", "wrong_type"),
        (b"{}", "missing_field"),
        (update(1, 2)[:-20], "bad_json"),
        (update(1, 2, s="ETH_USDT"), "unknown_instrument"),
        (update(3, 2), "wrong_type"),
        (update(-1, 2), "wrong_type"),
        (update(1, 2**63), "wrong_type"),
        (update(1, 2, b=[["1", "1"], ["NaN", "1"]]), "bad_number"),
        (update(1, 2, b=[["1", "1", "1"]]), "wrong_type"),
        (update(1, 2, full=True, b=[["1", ""]]), "bad_number"),
        (update(1, 2).replace(b'"U"', b'"V"'), "missing_field"),
        (update(1, 2, t=5), "bad_number"),
        (message("spot.tickers", {}), "unknown_message"),
        (update(1, 2).replace(b'"event": "update"', b'"event": "all"'), "unknown_message"),
        (
            b'{"time":1,"channel":"spot.trades","event":"subscribe","error":{"code":2,"message":"unknown currency pair"}}',
            "exchange_error",
        ),
        (b'{"channel":"spot.order_book_update","event":"update"}', "wrong_type"),
    ],
)
def test_bad_frames(payload: bytes, rule: str) -> None:
    """Whatever is wrong becomes one reject with its rule and its text."""
    (found,) = session().receive(payload)
    assert isinstance(found, RejectEvent)
    assert (found.rule, found.payload) == (rule, payload.decode("utf-8", "backslashreplace")[:4096])


FRAMES = [
    update(11, 12, a=[["2.5", "0"]]),
    update(11, 12, full=True),
    message("spot.book_ticker", {"t": 1606293275123, "u": 48, "s": BTC, "b": "1.5", "B": "1", "a": "2.5", "A": "1"}),
    message(
        "spot.trades",
        {"id": 3, "create_time_ms": "1606292218213.4", "side": "buy", "currency_pair": BTC, "amount": "1", "price": "2"},
    ),
    b'{"time":1,"channel":"spot.pong","event":"","error":null,"result":null}',
]


@given(mutated(FRAMES), st.booleans())
def test_hostile_frames(payload: bytes, in_sync: bool) -> None:
    """No frame raises, whatever was done to it, and what it became can be logged."""
    one = session()
    if in_sync:
        one.receive(snapshot(10), BTC)
    endured(one, "gate", payload)


@given(mutated([snapshot(10)]))
def test_hostile_snapshots(payload: bytes) -> None:
    """The same for the answer to a snapshot request."""
    one = session()
    one.receive(update(11, 11))
    endured(one, "gate", payload, BTC)
