"""The KuCoin session: on a recording of April 2021, and on frames written from the exchange's documentation of 2026."""

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
from xarb.wires.events import APPLY, BUY, OLD, SELL, UNSYNCED, DepthEvent, LinkEvent, QuoteEvent, RejectEvent, TradeEvent
from xarb.wires.kucoin import LEAST_KNOWN, PING_NS, SNAPSHOT_LEVELS, KucoinSession, stream_url
from xarb.wires.session import Fetch, Send

BTC = "BTC-USDT"
VERDICT = {APPLY: "apply", OLD: "old", UNSYNCED: "unsynced"}


def session(*natives: str, channels: tuple[str, ...] = (), buffered: int = 100) -> KucoinSession:
    """A session of these instruments, of BTC-USDT without any."""
    return KucoinSession([listing("kucoin", native) for native in natives or (BTC,)], channels, buffered=buffered)


def update(
    first: int, last: int, bids: list[list[str]] | None = None, asks: list[list[str]] | None = None, native: str = BTC
) -> bytes:
    """A level 2 update as documented in 2026; without levels one bid whose size is its last sequence."""
    changes = {"bids": bids if bids is not None else [["1.5", str(last), str(last)]], "asks": asks or []}
    data = {"changes": changes, "sequenceEnd": last, "sequenceStart": first, "symbol": native, "time": 1729816425625}
    return json.dumps({"topic": f"/market/level2:{native}", "type": "message", "subject": "trade.l2update", "data": data}).encode()


def snapshot(last: int, bids: list[list[str]] | None = None, asks: list[list[str]] | None = None) -> bytes:
    """The answer to a snapshot request as documented in 2026."""
    data = {"time": 1729176273859, "sequence": str(last), "bids": bids or [["1.5", "7"]], "asks": asks or [["2.5", "8"]]}
    return json.dumps({"code": "200000", "data": data}).encode()


def recorded() -> tuple[list[Frame], dict[str, bytes]]:
    """The frames of the recording, and its snapshots by native name."""
    return captured("KUCOIN.ws.1.0"), {one.url.partition("symbol=")[2]: one.payload for one in captured("KUCOIN.http.0.0")}


def test_every_recorded_quote_is_the_top_of_the_rebuilt_book() -> None:
    """Recording: wherever a ticker has the sequence of its book, 766 times, both agree in all four numbers; and nothing is lost."""
    frames, snapshots = recorded()
    replay = answering(session(*snapshots), snapshots)
    seen: Counter[str] = Counter()
    for frame in frames:
        for event in replay.feed(frame.payload):
            verdict = f" {VERDICT[event.verdict]}" if isinstance(event, DepthEvent) else ""
            seen[type(event).__name__ + verdict + (" snapshot" if getattr(event, "is_snapshot", False) else "")] += 1
            if isinstance(event, QuoteEvent):
                book = replay.books.get(event.listing.instrument.symbol)
                if book is not None and book.last == event.venue_seq:
                    assert None not in (event.bid, event.bid_qty, event.ask, event.ask_qty)
                    prices = exact(event.bid or 0, event.px_scale), exact(event.ask or 0, event.px_scale)
                    sizes = exact(event.bid_qty or 0, event.qty_scale), exact(event.ask_qty or 0, event.qty_scale)
                    assert book.top == (prices[0], sizes[0], prices[1], sizes[1])
                    seen["agrees"] += 1
    assert seen == {
        "DepthEvent apply": 3805,
        "DepthEvent old": 39,
        "DepthEvent unsynced": 9,
        "DepthEvent apply snapshot": 9,
        "QuoteEvent": 830,
        "TradeEvent": 18,
        "LinkEvent": 14,
        "RejectEvent": 6,  # candles, which this session does not subscribe
        "agrees": 766,
    }
    assert {event for _, event in replay.links} == {"heartbeat", "subscribed"}


def test_every_recorded_number_is_exact() -> None:
    """Recording: the levels of all events are, in order, the numbers of the raw text; changes with price 0 are none."""
    frames, snapshots = recorded()
    one = session(*snapshots)
    for payload, native in [(frame.payload, None) for frame in frames] + [(text, native) for native, text in snapshots.items()]:
        data = json.loads(payload).get("data")
        levels = data and (data.get("changes") or (data if native else None))
        if not levels:
            continue
        texts = {side: [level[:2] for level in levels[side] if level[0] != "0"] for side in ("bids", "asks")}
        event = next(event for event in one.receive(payload, native) if isinstance(event, DepthEvent))
        for side, prices, qtys in (("bids", event.bids, event.bid_qtys), ("asks", event.asks, event.ask_qtys)):
            found = zip(prices, qtys, strict=True)
            expected = [(Decimal(price), Decimal(qty)) for price, qty in texts[side]]
            assert [(exact(price, event.px_scale), exact(qty, event.qty_scale)) for price, qty in found] == expected


def test_books_equal_those_of_a_plain_model() -> None:
    """Recording: the rebuilt books are those of twenty lines that read the raw messages themselves."""
    frames, snapshots = recorded()
    replay, _ = replayed(session(*snapshots), frames, snapshots)
    for native, text in snapshots.items():
        data, book = json.loads(text)["data"], Book()
        last = int(data["sequence"])
        for side, levels in ((book.bids, data["bids"]), (book.asks, data["asks"])):
            side.update({Decimal(price): Decimal(qty) for price, qty in levels})
        for frame in frames:
            message = json.loads(frame.payload)
            if message.get("topic") != f"/market/level2:{native}" or message["data"]["sequenceEnd"] <= last:
                continue
            assert message["data"]["sequenceStart"] == last + 1
            last = message["data"]["sequenceEnd"]
            for side, name in ((book.bids, "bids"), (book.asks, "asks")):
                for price, qty, _ in message["data"]["changes"][name]:
                    if Decimal(price):
                        book.set(side, Decimal(price), Decimal(qty))
        mine = replay.books[native]
        assert (mine.bids, mine.asks, mine.last) == (book.bids, book.asks, last)


def test_a_frame_taken_out_is_a_gap_of_its_symbol_alone() -> None:
    """Recording: without its 100th update a book has one gap there and waits; the eight others go on and end as before."""
    frames, snapshots = recorded()
    whole, _ = replayed(session(*snapshots), frames, snapshots)
    native = "BCHSV-USDT"
    of_it = [number for number, frame in enumerate(frames) if b"l2update" in frame.payload and native.encode() in frame.payload]
    del frames[of_it[100]]
    replay, events = replayed(session(*snapshots), frames, snapshots)
    assert [link for link in replay.links if link[1] in {"gap", "resync"}] == [(native, "gap")]
    gap = next(event for event in events if isinstance(event, LinkEvent) and event.event == "gap")
    assert gap.detail is not None
    assert gap.detail.startswith("expected U <= ")
    assert native not in replay.books
    assert {name: book.top for name, book in replay.books.items()} == {
        name: book.top for name, book in whole.books.items() if name != native
    }
    assert replay.session.asks() == []  # asked for once; no answer came


TABLE = """
snapshot joins what waited
  u 1 4        | 4 unsynced
  u 5 8        | 8 unsynced
  u 9 9        | 9 unsynced
  s 6          | snapshot 6 apply, 8 apply, 9 apply
  u 10 12      | 12 apply
an overlap is allowed, a repetition is old
  s 10         | snapshot 10 apply
  u 8 12       | 12 apply
  u 11 12      | 12 old
  u 12 14      | 14 apply
a gap, then a new snapshot
  s 10         | snapshot 10 apply
  u 11 11      | 11 apply
  u 13 14      | gap, 14 unsynced
  u 15 16      | 16 unsynced
  s 14         | resync, snapshot 14 apply, 16 apply
  u 17 17      | 17 apply
a snapshot that is too old
  u 10 12      | 12 unsynced
  s 5          | gap, snapshot 5 unsynced
  s 9          | resync, snapshot 9 apply, 12 apply
"""


@pytest.mark.parametrize("case", [part for part in TABLE.strip().split("\n") if not part.startswith(" ")])
def test_sequences(case: str) -> None:
    """Documented frames: books follow sequenceStart and sequenceEnd as KuCoin states."""
    one, lines = session(), TABLE.strip().split("\n")
    for line in lines[lines.index(case) + 1 :]:
        if not line.startswith(" "):
            break
        step, _, words = line.partition("|")
        kind, *numbers = step.split()
        first, last = int(numbers[0]), int(numbers[-1])
        found = one.receive(update(first, last)) if kind == "u" else one.receive(snapshot(last), BTC)
        assert told(found) == words.strip(), step


def test_price_zero_moves_the_sequence_and_no_level() -> None:
    """Documented: a change with price 0 is an empty message, after which the book goes on."""
    one = session()
    one.receive(snapshot(10), BTC)
    (found,) = one.receive(update(11, 11, bids=[["0", "0", "11"]]))
    assert isinstance(found, DepthEvent)
    assert (found.verdict, found.bids, found.asks, found.venue_seq) == (APPLY, [], [], 11)
    assert told(one.receive(update(12, 12))) == "12 apply"


def ladder(worst: int, best: int, step: int) -> list[list[str]]:
    """Levels from best to worst, size 1."""
    return [[str(price), "1"] for price in range(best, worst, step)]


def test_a_book_is_given_up_before_the_market_leaves_its_snapshot() -> None:
    """Documented: the public snapshot has 100 levels; with fewer than 20 of them left the book waits for a new one."""
    one = session()
    bids, asks = ladder(900, 1000, -1), ladder(1101, 1001, 1)
    assert len(bids) == len(asks) == SNAPSHOT_LEVELS
    one.receive(snapshot(10, bids, asks), BTC)
    spare = SNAPSHOT_LEVELS - LEAST_KNOWN
    gone = [[str(1000 - place), "0", "1"] for place in range(spare)]
    for number, level in enumerate(gone):
        assert told(one.receive(update(11 + number, 11 + number, bids=[level]))) == f"{11 + number} apply"
    # A level behind the worst one of the snapshot tells nothing of those beside it; one before it makes up for one that goes.
    last = 11 + spare
    assert told(one.receive(update(last, last, bids=[["500", "1", "1"]]))) == f"{last} apply"
    assert told(one.receive(update(last + 1, last + 1, bids=[["999.5", "1", "1"], ["905", "0", "1"]]))) == f"{last + 1} apply"
    assert one.asks() == []
    assert told(one.receive(update(last + 2, last + 2, bids=[["906", "0", "1"]]))) == f"gap, {last + 2} unsynced"
    assert told(one.receive(update(last + 3, last + 3))) == f"{last + 3} unsynced"
    assert one.asks() == [Fetch("/api/v1/market/orderbook/level2_100?symbol=BTC-USDT", BTC)]
    assert told(one.receive(snapshot(last + 3, bids, asks), BTC)) == f"resync, snapshot {last + 3} apply"
    assert told(one.receive(update(last + 4, last + 4, bids=gone))) == f"{last + 4} apply"  # counted anew


def test_a_side_with_fewer_levels_than_a_snapshot_holds_is_whole() -> None:
    """Documented: all levels of a thin book may go; nothing is unknown."""
    one = session()
    one.receive(snapshot(10, ladder(950, 1000, -1), ladder(1101, 1001, 1)), BTC)
    gone = [[str(price), "0", "1"] for price in range(951, 1001)]
    assert told(one.receive(update(11, 11, bids=gone))) == "11 apply"


def test_levels_at_the_edge_of_the_snapshot_count() -> None:
    """Documented: the worst price of each side is known; with 81 of 100 levels gone, one there, put back, makes twenty."""
    one = session()
    bids, asks = ladder(900, 1000, -1), ladder(1101, 1001, 1)
    one.receive(snapshot(10, bids, asks), BTC)
    gone = [[price, "0", "1"] for price, _ in bids[20:]]
    assert told(one.receive(update(11, 11, bids=gone))) == "11 apply"
    assert told(one.receive(update(12, 12, bids=[["1000", "0", "1"], ["901", "1", "1"]]))) == "12 apply"
    gone = [[price, "0", "1"] for price, _ in asks[20:]]
    assert told(one.receive(update(13, 13, bids=[], asks=gone))) == "13 apply"
    assert told(one.receive(update(14, 14, bids=[], asks=[["1001", "0", "1"], ["1100", "1", "1"]]))) == "14 apply"
    assert told(one.receive(update(15, 15, bids=[], asks=[["1100", "0", "1"], ["1101", "1", "1"]]))) == "gap, 15 unsynced"


def test_a_scale_that_grows_keeps_what_is_known() -> None:
    """Documented: known levels are counted at one scale, whether an update was decoded before or after the scale grew."""
    one = session()
    bids, asks = ladder(900, 1000, -1), ladder(1101, 1001, 1)
    one.receive(update(10, 10, bids=[[price, "0", "1"] for price, _ in bids[20:]]))
    one.receive(update(11, 11, bids=[["999.123", "0", "11"]]))  # finer: the snapshot is decoded at three decimals
    assert told(one.receive(snapshot(9, bids, asks), BTC)) == "snapshot 9 apply, 10 apply, 11 apply"
    outside = [[f"{price}.0001", "1", "1"] for price in range(100, 200)]  # finer still, far behind the snapshot
    assert told(one.receive(update(12, 12, bids=outside))) == "12 apply"
    assert told(one.receive(update(13, 13, bids=[["1000", "0", "1"]]))) == "gap, 13 unsynced"


def test_quotes_and_trades_are_exact() -> None:
    """Documented frames: level 1, ticker and match, with empty sides as null."""
    one = session()
    head = '{"type":"message","topic":"/spotMarket/level1:BTC-USDT","subject":"level1","data":'
    (found,) = one.receive(
        f'{head}{{"asks":["68145.8","0.51987471"],"bids":["68145.7","1.29267802"],"timestamp":1729816058766}}}}'.encode()
    )
    assert isinstance(found, QuoteEvent)
    assert (found.bid, found.bid_qty, found.ask, found.ask_qty) == (681457, 129267802, 681458, 51987471)
    assert (found.ts_event, found.venue_seq, found.px_scale, found.qty_scale) == (1729816058766000000, None, 1, 8)
    for side in (b'"asks":["1","1"],"bids":["1"]', b'"asks":["1"],"bids":[]', b'"asks":[],"bids":["1","1","1"]'):
        (reject,) = one.receive(head.encode() + b"{" + side + b',"timestamp":1729816058766}}')
        assert isinstance(reject, RejectEvent)
        assert reject.rule == "wrong_type"
    (found,) = one.receive(f'{head}{{"asks":[],"bids":["1","0"],"timestamp":1729816058766}}}}'.encode())
    assert isinstance(found, QuoteEvent)
    assert (found.bid, found.bid_qty, found.ask, found.ask_qty) == (None, None, None, None)
    (found,) = one.receive(
        b'{"topic":"/market/match:BTC-USDT","type":"message","subject":"trade.l3match","data":{"makerOrderId":"67","price":"67523",'
        b'"sequence":"11067996711960577","side":"sell","size":"0.003","symbol":"BTC-USDT","takerOrderId":"671",'
        b'"time":"1729843222921000001","tradeId":"11067996711960577","type":"match"}}'
    )
    assert isinstance(found, TradeEvent)
    assert (found.price, found.qty, found.aggressor, found.trade_id) == (675230, 300000, SELL, "11067996711960577")
    assert (found.ts_event, found.venue_seq) == (1729843222921000001, 11067996711960577)


def test_recorded_trades_name_their_taker() -> None:
    """Recording: 18 trades, sides and times as in the text."""
    frames, snapshots = recorded()
    _, events = replayed(session(*snapshots), frames, snapshots)
    raw = [json.loads(frame.payload)["data"] for frame in frames if b"l3match" in frame.payload]
    found = [event for event in events if isinstance(event, TradeEvent)]
    assert [(one.trade_id, one.aggressor, one.ts_event) for one in found] == [
        (data["tradeId"], {"buy": BUY, "sell": SELL}[data["side"]], int(data["time"])) for data in raw
    ]


def test_subscriptions_follow_the_welcome() -> None:
    """Documented: nothing is sent before the welcome; then a message a channel, and a ping every 15 s, which is answered."""
    one = session(BTC, "ETH-USDT", channels=("quotes", "deltas", "trades"))
    assert one.open(10**18) == []
    assert one.asks() == []
    assert told(one.receive(b'{"id":"hQvf8jkno","type":"welcome"}')) == "heartbeat"
    asks = one.asks()
    assert all(isinstance(ask, Send) for ask in asks)
    messages = [json.loads(ask.text) for ask in asks if isinstance(ask, Send)]
    assert [message["topic"] for message in messages] == [
        "/spotMarket/level1:BTC-USDT,ETH-USDT",
        "/market/level2:BTC-USDT,ETH-USDT",
        "/market/match:BTC-USDT,ETH-USDT",
    ]
    assert messages[0] == {
        "id": "1",
        "type": "subscribe",
        "topic": "/spotMarket/level1:BTC-USDT,ETH-USDT",
        "privateChannel": False,
        "response": True,
    }
    assert told(one.receive(b'{"id":"1","type":"ack"}')) == "subscribed"
    assert one.asks() == []
    assert one.tick(10**18 + PING_NS - 1) == []
    assert one.tick(10**18 + PING_NS) == [Send('{"id":"1000000015000000000","type":"ping"}')]
    assert told(one.receive(b'{"id":"1000000015000000000","type":"pong","timestamp":1729000000000000}')) == "heartbeat"


def test_at_most_100_symbols_a_topic() -> None:
    """Documented: a subscription names at most 100 symbols."""
    one = session(*(f"A{number}-USDT" for number in range(101)), channels=("trades",))
    one.receive(b'{"id":"x","type":"welcome"}')
    assert [json.loads(ask.text)["topic"].count(",") for ask in one.asks() if isinstance(ask, Send)] == [99, 0]


def test_the_address_of_the_stream() -> None:
    """Documented: the token is quoted behind the first server that is reached by wss; other answers are errors."""
    servers = [{"endpoint": "http://x/"}, {"endpoint": "wss://ws-api-spot.kucoin.com/", "pingInterval": 18000}]
    answer: dict[str, Any] = {"code": "200000", "data": {"token": "a+b/c==.d", "instanceServers": servers}}
    assert stream_url(json.dumps(answer).encode()) == "wss://ws-api-spot.kucoin.com/?token=a%2Bb%2Fc%3D%3D.d"
    wrong: list[list[dict[str, str]]] = [[], [{"endpoint": "ws://kucoin.com/"}], [{"endpoint": "http://x/"}], [{}]]
    for others in wrong:
        answer["data"]["instanceServers"] = others
        with pytest.raises(ValueError, match="stream"):
            stream_url(json.dumps(answer).encode())
    for text in (b"", b"{}", b'{"code":"429000","msg":"Too many requests"}'):
        with pytest.raises(ValueError, match="no address of its stream"):
            stream_url(text)


@pytest.mark.parametrize(
    ("payload", "rule"),
    [
        (b"", "bad_json"),
        (b"\xff\xfe", "bad_json"),
        (b"[]", "wrong_type"),
        (update(1, 2)[:-20], "bad_json"),
        (update(1, 2, native="ETH-USDT"), "unknown_instrument"),
        (update(3, 2), "wrong_type"),
        (update(1, 2**63), "wrong_type"),
        (update(1, 2, bids=[["1", "1", "1"], ["NaN", "1", "1"]]), "bad_number"),
        (update(1, 2, bids=[["1", "99999999999999999999", "1"]]), "bad_number"),
        (update(1, 2).replace(b"sequenceEnd", b"sequenceend"), "missing_field"),
        (b'{"type":"message","topic":"/market/level2:BTC-USDT","subject":"trade.l2update"}', "wrong_type"),
        (b'{"type":"message","topic":"/market/candles:BTC-USDT_1min","subject":"trade.candles.add","data":{}}', "unknown_message"),
        (b'{"id":"1","type":"error","code":404,"data":"topic /market/x is not found"}', "exchange_error"),
        (b'{"type":"surprise"}', "unknown_message"),
        (b"{}", "unknown_message"),
    ],
)
def test_bad_frames(payload: bytes, rule: str) -> None:
    """Whatever is wrong becomes one reject with its rule and its text."""
    (found,) = session().receive(payload)
    assert isinstance(found, RejectEvent)
    assert (found.rule, found.payload) == (rule, payload.decode("utf-8", "backslashreplace")[:4096])


def test_more_known_levels_than_the_engine_keeps_start_the_book_anew() -> None:
    """A side of 100 levels into which 4,900 others come is known; one more is a gap, as it is where too few are left."""
    one = session()
    bids, asks = [[str(10_000 - at), "1"] for at in range(100)], [["10001", "1"]]
    one.receive(update(1, 1, [], []))
    assert told(one.receive(snapshot(1, bids, asks), BTC)) == "snapshot 1 apply"
    between = [[f"{9901 + at // 50}.{at % 50 + 10}", "1", "2"] for at in range(4_900)]
    assert told(one.receive(update(2, 2, between))) == "2 apply"
    assert told(one.receive(update(3, 3, [["9999.99", "1", "3"]]))) == "gap, 3 unsynced"


def test_a_refused_snapshot_is_asked_for_again() -> None:
    """Documented: an error in place of the snapshot is a reject, and after five seconds the snapshot is asked for again."""
    one = session()
    one.receive(update(1, 1))
    assert len(one.asks()) == 1
    (found,) = one.receive(b'{"code":"429000","msg":"Too many requests"}', BTC)
    assert isinstance(found, RejectEvent)
    assert found.rule == "exchange_error"
    assert one.tick(10**18) == []
    assert one.tick(10**18 + 5 * 10**9) == [Fetch("/api/v1/market/orderbook/level2_100?symbol=BTC-USDT", BTC)]


FRAMES = [
    update(11, 12, [["1.5", "2", "11"]], [["2.5", "0", "12"]]),
    b'{"type":"message","topic":"/spotMarket/level1:BTC-USDT","subject":"level1","data":{"asks":["2.5","1"],"bids":["1.5","1"],"timestamp":1729816058766}}',
    b'{"type":"message","topic":"/market/ticker:BTC-USDT","subject":"trade.ticker","data":{"sequence":"9","bestAsk":"2.5","bestAskSize":"1","bestBid":"1.5","bestBidSize":"1","time":1729816058766}}',
    b'{"type":"message","topic":"/market/match:BTC-USDT","subject":"trade.l3match","data":{"sequence":"9","tradeId":"7","side":"buy","price":"2","size":"1","time":"1729843222921000000"}}',
    b'{"id":"1","type":"welcome"}',
]


@given(mutated(FRAMES), st.booleans())
def test_hostile_frames(payload: bytes, in_sync: bool) -> None:
    """No frame raises, whatever was done to it, and what it became can be logged."""
    one = session()
    if in_sync:
        one.receive(snapshot(10), BTC)
    endured(one, "kucoin", payload)


@given(mutated([snapshot(10)]))
def test_hostile_snapshots(payload: bytes) -> None:
    """The same for the answer to a snapshot request."""
    one = session()
    one.receive(update(11, 11))
    endured(one, "kucoin", payload, BTC)
