"""The Kraken v2 session: checksums, truncation to the subscribed depth, exact decoding, hostile frames.

Frames of the v2 protocol are written from Kraken's documentation of 2026; its guide's worked checksum is the first test. The recording of
2021-04-17 is of the older v1 protocol, whose levels, checksums and truncation are the same: rewritten as v2 frames, number by number as
they were sent, its 4,269 recorded checksums are met by this session.
"""

from __future__ import annotations

import json
import random
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wires.captures import frames
from tests.wires.hostile import mutated, writable
from tests.wires.instruments import Book, listing, told
from xarb.model.units import NANOS_PER_S
from xarb.wires.events import BUY, SELL, DepthEvent, LinkEvent, QuoteEvent, RejectEvent, TradeEvent, WireEvent
from xarb.wires.kraken import KrakenSession
from xarb.wires.session import Send

Levels = Iterable[tuple[str, str]]
# Kraken API Center, guide "Book checksum (v2)"
GUIDE_ASKS = [
    ("45285.2", "0.00100000"),
    ("45286.4", "1.54571953"),
    ("45286.6", "1.54571109"),
    ("45289.6", "1.54560911"),
    ("45290.2", "0.15890660"),
    ("45291.8", "1.54553491"),
    ("45294.7", "0.04454749"),
    ("45296.1", "0.35380000"),
    ("45297.5", "0.09945542"),
    ("45299.5", "0.18772827"),
]
GUIDE_BIDS = [
    ("45283.5", "0.10000000"),
    ("45283.4", "1.54582015"),
    ("45282.1", "0.10000000"),
    ("45281.0", "0.10000000"),
    ("45280.3", "1.54592586"),
    ("45279.0", "0.07990000"),
    ("45277.6", "0.03310103"),
    ("45277.5", "0.30000000"),
    ("45277.3", "1.54602737"),
    ("45276.6", "0.15445238"),
]
GUIDE_CHECKSUM = 3310070434


def frame(kind: str, bids: Levels, asks: Levels, checksum: int, symbol: str = "BTC/USD") -> bytes:
    """A book message with bare numbers, digit by digit as given."""
    sides = (",".join(f'{{"price":{price},"qty":{qty}}}' for price, qty in side) for side in (bids, asks))
    levels = '"bids":[{}],"asks":[{}]'.format(*sides)
    item = f'{{"symbol":"{symbol}",{levels},"checksum":{checksum},"timestamp":"2023-10-06T17:35:55.440295Z"}}'
    return f'{{"channel":"book","type":"{kind}","data":[{item}]}}'.encode()


def naive_checksum(bids: Mapping[str, str], asks: Mapping[str, str]) -> int:
    """The guide's recipe, word by word."""
    text = ""
    for side, down in ((asks, False), (bids, True)):
        for price in sorted(side, key=float, reverse=down)[:10]:
            text += price.replace(".", "").lstrip("0") + side[price].replace(".", "").lstrip("0")
    return zlib.crc32(text.encode())


def session(*channels: str, depth: int = 10) -> KrakenSession:
    """A session of two pairs."""
    return KrakenSession([listing("kraken", "BTC/USD"), listing("kraken", "ETH/USD")], channels, depth=depth)


SNAPSHOT = frame("snapshot", GUIDE_BIDS, GUIDE_ASKS, GUIDE_CHECKSUM)
UPDATE = frame(
    "update", [("45283.5", "0.20000000")], [], naive_checksum(dict(GUIDE_BIDS) | {"45283.5": "0.20000000"}, dict(GUIDE_ASKS))
)
QUOTE = b'{"channel":"ticker","type":"update","data":[{"symbol":"BTC/USD","bid":62703.4,"bid_qty":0.0318498,"ask":62710,"ask_qty":1E-8,"last":62702.9,"volume":1947.83637005,"vwap":63392.2,"low":62476.1,"high":64196.6,"change":-239.4,"change_pct":-0.38,"timestamp":"2026-07-08T05:24:41.204829Z"}]}'
TRADE = b'{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"sell","price":0.50000000000000001,"qty":1,"ord_type":"market","trade_id":1,"timestamp":"2023-09-25T07:49:37.708706Z"},{"symbol":"ETH/USD","side":"buy","price":1557.3,"qty":0.10000000,"ord_type":"limit","trade_id":4665847,"timestamp":"2023-09-25T07:49:37.708706Z"}]}'
STATUS = b'{"channel":"status","type":"update","data":[{"version":"2.0.10","system":"online","api_version":"v2","connection_id":15113583034416118705}]}'
ACK = b'{"method":"subscribe","result":{"channel":"book","depth":25,"snapshot":true,"symbol":"BTC/USD"},"success":true,"time_in":"2026-08-16T23:54:19.629313Z","time_out":"2026-08-16T23:54:19.629343Z"}'
REFUSAL = b'{"error":"Subscription depth not supported","method":"subscribe","success":false,"time_in":"2026-08-16T23:54:19.629313Z","time_out":"2026-08-16T23:54:19.629343Z"}'
PONG = b'{"method":"pong","req_id":101,"time_in":"2023-09-24T14:10:23.799685Z","time_out":"2023-09-24T14:10:23.799703Z"}'
BEAT = b'{"channel":"heartbeat"}'
VALID = [SNAPSHOT, UPDATE, QUOTE, TRADE, STATUS, ACK, REFUSAL, PONG, BEAT]


def test_the_worked_example_of_the_guide() -> None:
    """The guide's snapshot has the guide's checksum."""
    assert told(session().receive(SNAPSHOT)) == "snapshot None apply"
    assert told(session().receive(SNAPSHOT.replace(b"3310070434", b"3310070435"))) == "snapshot None unsynced"
    assert naive_checksum(dict(GUIDE_BIDS), dict(GUIDE_ASKS)) == GUIDE_CHECKSUM


def as_v2(line: bytes, books: dict[str, tuple[dict[str, str], dict[str, str]]]) -> tuple[str, bytes] | None:
    """A recorded v1 book message as a v2 frame with the recorded checksum; a snapshot had none, so its own is computed plainly."""
    body = msgspec.json.decode(line)
    if not isinstance(body, list) or not body[-2].startswith("book-"):
        return None
    symbol = body[-1]
    parts: dict[str, Any] = {key: value for part in body[1:-2] for key, value in part.items()}
    if "as" in parts:
        bids, asks = ([(level[0], level[1]) for level in parts[side]] for side in ("bs", "as"))
        books[symbol] = dict(bids), dict(asks)
        return symbol, frame("snapshot", bids, asks, naive_checksum(dict(bids), dict(asks)), symbol)
    bids, asks = ([(level[0], level[1]) for level in parts.get(side, [])] for side in ("b", "a"))
    return symbol, frame("update", bids, asks, int(parts["c"]), symbol)


def recorded() -> tuple[list[tuple[str, bytes]], list[str]]:
    """All book messages of the recording as v2 frames with their symbols, and the symbols."""
    books: dict[str, tuple[dict[str, str], dict[str, str]]] = {}
    found = [one for line in frames("KRAKEN.ws.50.0") if (one := as_v2(line, books)) is not None]
    return found, list(books)


def test_every_checksum_of_the_recording_is_met() -> None:
    """All recorded updates of ten pairs fit their checksums, and no rebuilt book is crossed or deeper than subscribed."""
    messages, symbols = recorded()
    one = KrakenSession([listing("kraken", symbol, px_scale=0) for symbol in symbols], depth=1000)
    counts, books = Counter[str](), {symbol: Book() for symbol in symbols}
    for symbol, message in messages:
        (event,) = one.receive(message)
        counts[told([event])] += 1
        assert isinstance(event, DepthEvent)
        if event.px_scale != books[symbol].px_scale:
            books[symbol].rescale(event.px_scale)
        books[symbol].apply(event)
        assert books[symbol].top()[0] < books[symbol].top()[2]
        assert max(len(books[symbol].bids), len(books[symbol].asks)) <= 1000
    assert counts == {"snapshot None apply": 10, "None apply": 4269}


def test_a_message_missing_from_the_recording_is_a_gap_of_its_symbol_alone() -> None:
    """Without one update that touches the best ten a checksum soon does not fit: one gap, one pair subscribed anew, the others go on."""
    messages, symbols = recorded()
    one = KrakenSession([listing("kraken", symbol, px_scale=0) for symbol in symbols], depth=1000)
    lost = [at for at, (symbol, _) in enumerate(messages) if symbol == "XMR/USD"][100]
    words = [(symbol, told(one.receive(message))) for at, (symbol, message) in enumerate(messages) if at != lost]
    assert Counter(word for symbol, word in words if symbol != "XMR/USD") == {
        "snapshot None apply": 9,
        "None apply": sum(symbol != "XMR/USD" for symbol, _ in messages) - 9,
    }
    seen = [word for symbol, word in words if symbol == "XMR/USD"]
    assert seen.count("gap, None unsynced") == 1
    broken = seen.index("gap, None unsynced")
    assert set(seen[broken + 1 :]) == {"None unsynced"}
    assert broken - 100 < 20
    assert [msgspec.json.decode(ask.text)["params"]["symbol"] for ask in one.asks() if isinstance(ask, Send)] == [["XMR/USD"]] * 2


class Exchange:
    """A plain exchange: a full book, of which a subscriber sees the best levels, without a removal for those that drop out of sight."""

    def __init__(self, seed: int, depth: int) -> None:
        self.random, self.depth = random.Random(seed), depth  # noqa: S311  # a market, no secret
        self.books: tuple[dict[str, str], dict[str, str]] = ({}, {})
        self.seen: tuple[dict[str, str], dict[str, str]] = ({}, {})

    def _change(self) -> None:
        side = self.random.randrange(2)
        step = self.random.randint(1, 3 * self.depth)
        price = f"{(1000 - step if side == 0 else 1000 + step) / 10:.1f}"
        if self.random.random() < 0.4:
            self.books[side].pop(price, None)
        else:
            self.books[side][price] = f"{self.random.randint(1, 99) / 1000:.8f}"

    def visible(self) -> tuple[dict[str, str], dict[str, str]]:
        """The best levels of each side."""
        bids, asks = self.books
        return (
            {price: bids[price] for price in sorted(bids, key=float, reverse=True)[: self.depth]},
            {price: asks[price] for price in sorted(asks, key=float)[: self.depth]},
        )

    def message(self, kind: str) -> bytes:
        """What changed since the last message, or all."""
        for _ in range(self.random.randint(1, 4) if kind == "update" else 8 * self.depth):
            self._change()
        now = self.visible()
        sides: list[list[tuple[str, str]]] = []
        for side in (0, 1):
            old = self.seen[side] if kind == "update" else {}
            changes = [(price, qty) for price, qty in now[side].items() if old.get(price) != qty]
            sides.append(changes + [(price, "0.00000000") for price in old if price not in self.books[side]])
        self.seen = now
        return frame(kind, sides[0], sides[1], naive_checksum(*now))


@given(st.integers(0, 2**32), st.sampled_from([10, 25]))
def test_a_book_follows_the_exchange_level_by_level(seed: int, depth: int) -> None:
    """The rebuilt book is what the exchange shows after each message: levels that dropped out of sight are removed."""
    exchange, one, book = Exchange(seed, depth), session(depth=depth), Book()
    for number in range(30):
        (event,) = one.receive(exchange.message("update" if number else "snapshot"))
        assert isinstance(event, DepthEvent)
        book.apply(event)
        for side, found in zip(exchange.visible(), (book.bids, book.asks), strict=True):
            assert found == {round(float(price) * 10): round(float(qty) * 10**8) for price, qty in side.items()}


def test_a_finer_price_leaves_the_order_of_levels_as_it_was() -> None:
    """A price with more decimals than all before lands between its neighbours, and older levels are found again."""
    one, bids, asks = session(depth=25), dict(GUIDE_BIDS), dict(GUIDE_ASKS)
    one.receive(SNAPSHOT)
    for side, price, qty in (
        (asks, "45286.45", "3.00000000"),
        (bids, "45283.45", "2.00000000"),
        (asks, "45286.4", "0"),
        (bids, "45281.0", "7"),
    ):
        side[price] = qty
        if qty == "0":
            del side[price]
        changes = ([(price, qty)], []) if side is bids else ([], [(price, qty)])
        assert told(one.receive(frame("update", *changes, naive_checksum(bids, asks)))) == "None apply"


def test_a_gap_ends_with_the_next_snapshot() -> None:
    """After a checksum that does not fit updates are unsynced until a snapshot, which is a resync; the other pair is untouched."""
    one = session()
    one.receive(SNAPSHOT)
    assert told(one.receive(frame("update", [("45283.5", "0.30000000")], [], 1))) == "gap, None unsynced"
    assert [ask.text for ask in one.asks() if isinstance(ask, Send)] == [
        '{"method":"unsubscribe","params":{"channel":"book","symbol":["BTC/USD"],"depth":10}}',
        '{"method":"subscribe","params":{"channel":"book","symbol":["BTC/USD"],"depth":10}}',
    ]
    assert told(one.receive(UPDATE)) == "None unsynced"
    assert told(one.receive(SNAPSHOT)) == "resync, snapshot None apply"
    assert told(one.receive(UPDATE)) == "None apply"


def test_a_snapshot_forgets_the_levels_before_it() -> None:
    """A second snapshot with other levels meets its own checksum, which old ones among the best ten would spoil."""
    one = session()
    one.receive(SNAPSHOT)
    bids, asks = [("45000.0", "1.00000000")], [("46000.0", "2.00000000")]
    assert told(one.receive(frame("snapshot", bids, asks, naive_checksum(dict(bids), dict(asks))))) == "resync, snapshot None apply"


def test_a_snapshot_without_a_side_is_no_snapshot() -> None:
    """A side may be empty, not absent."""
    found = session().receive(SNAPSHOT.replace(b'"asks"', b'"askz"'))
    assert [event.rule for event in found if isinstance(event, RejectEvent)] == ["missing_field"]
    assert told(session().receive(frame("snapshot", [], [], 0))) == "snapshot None apply"


def test_an_update_before_any_snapshot_is_unsynced() -> None:
    """It moves no book and is no gap."""
    assert told(session().receive(UPDATE)) == "None unsynced"


def test_a_frame_that_is_no_json_is_a_gap_of_the_connection() -> None:
    """It may have been an update of any book: all are subscribed anew."""
    one = session()
    one.receive(SNAPSHOT)
    events = one.receive(UPDATE[:40])
    assert told(events) == "RejectEvent, gap"
    assert isinstance(events[1], LinkEvent)
    assert events[1].symbol is None
    assert told(one.receive(UPDATE)) == "None unsynced"


@pytest.mark.parametrize(
    "wrong",
    [
        UPDATE.replace(b'"symbol"', b'"symbal"'),
        UPDATE.replace(b'"update"', b'"updated"'),
        UPDATE.replace(b'"data"', b'"date"'),
        UPDATE.replace(b'"channel"', b'"chanel"'),
    ],
)
def test_a_frame_that_may_have_been_of_any_book_is_a_gap_of_the_connection(wrong: bytes) -> None:
    """A loss beyond the best ten levels would not show in the next checksum."""
    one = session()
    one.receive(SNAPSHOT)
    assert told(one.receive(wrong)) == "RejectEvent, gap"
    assert told(one.receive(UPDATE)) == "None unsynced"


def test_a_refused_request_costs_no_book() -> None:
    """An answer that says no, and a channel that is not decoded, are rejects and nothing more."""
    one = session()
    one.receive(SNAPSHOT)
    assert told(one.receive(REFUSAL)) == "RejectEvent"
    assert told(one.receive(b'{"channel":"ohlc","type":"update","data":[{"symbol":"BTC/USD"}]}')) == "RejectEvent"
    assert told(one.receive(UPDATE)) == "None apply"


def test_quotes_and_trades_are_exact() -> None:
    """Whole numbers, exponents and 17 decimals are read from their text; each trade of a frame stands for itself."""
    one = session()
    (quote,) = one.receive(QUOTE)
    assert isinstance(quote, QuoteEvent)
    assert (quote.bid, quote.bid_qty, quote.ask, quote.ask_qty) == (627034, 3184980, 627100, 1)
    assert (quote.ts_event, quote.venue_seq) == (1783488281204829000, None)
    events = one.receive(TRADE)
    assert told(events) == "RejectEvent, TradeEvent"  # 17 decimals leave no room for prices of 92 and more
    assert isinstance(events[1], TradeEvent)
    assert (events[1].trade_id, events[1].price, events[1].qty, events[1].aggressor) == ("4665847", 15573, 10**7, BUY)
    (trade, _) = one.receive(TRADE.replace(b"0.50000000000000001", b"0.5"))
    assert isinstance(trade, TradeEvent)
    assert (trade.price, trade.aggressor, trade.ts_event) == (5, SELL, 1695628177708706000)


@pytest.mark.parametrize("bid", ['"bid":62703.4,"bid_qty":0', '"bid":null', '"bid":null,"bid_qty":0.00000000'])
@pytest.mark.parametrize("ask", ['"ask":62710,"ask_qty":0', '"ask":null'])
def test_an_empty_side_is_null(bid: str, ask: str) -> None:
    """A size of zero, or null for the price, is an absent side."""
    text = QUOTE.decode().replace('"bid":62703.4,"bid_qty":0.0318498', bid).replace('"ask":62710,"ask_qty":1E-8', ask)
    (quote,) = session().receive(text.encode())
    assert isinstance(quote, QuoteEvent)
    assert (quote.bid, quote.bid_qty, quote.ask, quote.ask_qty) == (None, None, None, None)


def test_a_connection_opens_with_its_subscriptions() -> None:
    """One request a channel: quotes on every change of the best levels, no trades from before."""
    texts = [json.loads(ask.text) for ask in session("quotes", "deltas", "trades", depth=25).open(0) if isinstance(ask, Send)]
    symbols = ["BTC/USD", "ETH/USD"]
    assert [text["params"] for text in texts] == [
        {"channel": "ticker", "symbol": symbols, "event_trigger": "bbo"},
        {"channel": "book", "symbol": symbols, "depth": 25},
        {"channel": "trade", "symbol": symbols, "snapshot": False},
    ]
    assert {text["method"] for text in texts} == {"subscribe"}


def test_what_the_exchange_says_of_itself() -> None:
    """Heartbeats, pongs and status are heartbeats, an acknowledgement names its pair, a refusal is a reject."""
    one = session()
    assert [told(one.receive(each)) for each in (BEAT, PONG, STATUS)] == ["heartbeat"] * 3
    (ack,) = one.receive(ACK)
    assert isinstance(ack, LinkEvent)
    assert (ack.event, ack.symbol) == ("subscribed", "BTC/USD")
    (refusal,) = one.receive(REFUSAL)
    assert isinstance(refusal, RejectEvent)
    assert (refusal.rule, refusal.detail) == ("venue_error", "subscribe: Subscription depth not supported")
    one.open(0)
    assert one.tick(20 * NANOS_PER_S) == [Send('{"method":"ping"}')]


@pytest.mark.parametrize(
    ("payload", "rules"),
    [
        (b"", ["bad_json"]),
        (b"[]", ["wrong_type"]),
        (b"{}", ["missing_field"]),
        (b'{"channel":"ohlc","data":[]}', ["unknown_message"]),
        (SNAPSHOT.replace(b"snapshot", b"partial"), ["wrong_type"]),
        (SNAPSHOT.replace(b"BTC/USD", b"XBT/USD"), ["unknown_instrument"]),
        (SNAPSHOT.replace(b"0.00100000", b'"0.00100000"'), ["bad_number"]),
        (SNAPSHOT.replace(b"0.00100000", b"1e-3"), ["bad_number"]),
        (SNAPSHOT.replace(b'"checksum":3310070434,', b""), ["missing_field"]),
        (SNAPSHOT.replace(b"2023-10-06T17", b"2023-10-06T25"), ["bad_number"]),
        (TRADE.replace(b"sell", b"both").replace(b'"trade_id":4665847', b'"trade_id":null'), ["wrong_type", "missing_field"]),
        (QUOTE.replace(b"62703.4", b"{}"), ["bad_number"]),
    ],
)
def test_hostile_frames(payload: bytes, rules: list[str]) -> None:
    """Whatever is wrong becomes a reject with its rule and its text."""
    events: list[WireEvent] = session().receive(payload)
    rejects = [event for event in events if isinstance(event, RejectEvent)]
    assert [event.rule for event in rejects] == rules
    assert all(event.payload == payload.decode() for event in rejects)


@given(st.lists(mutated(VALID), min_size=1, max_size=4))
def test_no_frame_raises_and_every_row_can_be_written(payloads: list[bytes]) -> None:
    """Damaged frames, between valid ones, give events that a log takes."""
    one = session("deltas")
    for payload in (SNAPSHOT, *payloads, UPDATE):
        writable("kraken", one.receive(payload))
        one.asks()
