"""The Coinbase Advanced Trade session: one counter for the connection, exact decoding, hostile frames.

All frames are written from Coinbase's documentation of 2026 in the form in which its server sends them; the recording of 2021 beside the
checkout is of another API, the old exchange feed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wires.hostile import endured_all, mutated, rejected
from tests.wires.instruments import listing, told
from xarb.model.units import NANOS_PER_S
from xarb.wires.coinbase import CoinbaseSession
from xarb.wires.events import BUY, SELL, DepthEvent, LinkEvent, QuoteEvent, TradeEvent
from xarb.wires.session import Send

Levels = Sequence[tuple[str, str, str]]
USUAL: Levels = [("bid", "21921.73", "0.06317902"), ("bid", "21921.3", "0.02"), ("offer", "21921.74", "1.5")]


def session(*channels: str) -> CoinbaseSession:
    """A session of two products."""
    return CoinbaseSession([listing("coinbase", native, px_scale=2) for native in ("BTC-USD", "ETH-USD")], channels)


def frame(number: int, channel: str, *events: dict[str, Any]) -> bytes:
    """A message with its number."""
    head = {"channel": channel, "client_id": "", "timestamp": "2023-02-09T20:32:50.714964855Z", "sequence_num": number}
    return json.dumps({**head, "events": list(events)}).encode()


def book(number: int, kind: str = "update", product: str = "BTC-USD", levels: Levels = USUAL, **more: Any) -> bytes:
    """A level2 message."""
    updates = [
        {"side": side, "event_time": "1970-01-01T00:00:00Z", "price_level": price, "new_quantity": qty}
        for side, price, qty in levels
    ]
    return frame(number, "l2_data", {"type": kind, "product_id": product, "updates": updates, **more})


def beat(number: int) -> bytes:
    """A heartbeat."""
    when = "2023-06-23 20:31:56.121961769 +0000 UTC m=+91717.525857105"
    return frame(number, "heartbeats", {"current_time": when, "heartbeat_counter": 3049})


def prints(number: int, kind: str, *trades: tuple[str, str, str, str]) -> bytes:
    """Trades as (id, product, size, maker's side)."""
    rows = [
        {"trade_id": one, "product_id": product, "price": "1260.01", "size": size, "side": side, "time": "2019-08-14T20:42:27.265Z"}
        for one, product, size, side in trades
    ]
    return frame(number, "market_trades", {"type": kind, "trades": rows})


def quote(number: int, **more: Any) -> bytes:
    """A ticker."""
    best = {"best_bid": "21931.98", "best_bid_quantity": "8000.21", "best_ask": "21933.98", "best_ask_quantity": "8038.07770938"}
    return frame(
        number,
        "ticker",
        {"type": "update", "tickers": [{"type": "ticker", "product_id": "BTC-USD", "price": "21932.98", **best, **more}]},
    )


ACK = frame(1, "subscriptions", {"subscriptions": {"level2": ["BTC-USD"], "heartbeats": ["heartbeats"]}})
ERROR = b'{"type":"error","message":"failure to subscribe"}'
TRADES = prints(
    4,
    "update",
    ("99", "ETH-USD", "0.3", "BUY"),
    ("100", "ETH-USD", "1", "SELL"),
    ("98", "ETH-USD", "2", "SELL"),
    ("7", "BTC-USD", "1", "BUY"),
)
VALID = [book(0, "snapshot"), ACK, book(2), quote(3), TRADES, beat(5), prints(6, "snapshot", ("1", "ETH-USD", "1", "BUY")), ERROR]


def test_every_channel_counts() -> None:
    """Snapshot, acknowledgement, update, quote, trades and heartbeat are one sequence, and nothing in it is a gap."""
    one = session()
    words = [told(one.receive(message)) for message in VALID[:7]]
    assert words == [
        "snapshot 0 apply",
        "subscribed",
        "2 apply",
        "QuoteEvent",
        "TradeEvent, TradeEvent, TradeEvent, TradeEvent",
        "heartbeat",
        "subscribed",
    ]


@pytest.mark.parametrize("number", [7, 5, 4, 0])
def test_any_other_number_is_a_gap_of_the_connection(number: int) -> None:
    """A missing, a repeated and a lower number each leave no book in sync; quotes go on; both products are subscribed anew."""
    one = session()
    for at, product in enumerate(("BTC-USD", "ETH-USD")):
        one.receive(book(at + 4, "snapshot", product))
    assert one.asks() == []
    events = one.receive(beat(number))
    assert told(events) == "gap, heartbeat"
    assert isinstance(events[0], LinkEvent)
    assert (events[0].symbol, events[0].detail) == (None, f"expected sequence_num 6, got {number}")
    assert [json.loads(ask.text) for ask in one.asks() if isinstance(ask, Send)] == [
        {"type": kind, "channel": "level2", "product_ids": ["BTC-USD", "ETH-USD"]} for kind in ("unsubscribe", "subscribe")
    ]
    assert told(one.receive(book(number + 1))) == f"{number + 1} unsynced"
    assert told(one.receive(quote(number + 2))) == "QuoteEvent"
    assert told(one.receive(book(number + 3, "snapshot"))) == f"resync, snapshot {number + 3} apply"
    assert told(one.receive(book(number + 4))) == f"{number + 4} apply"
    assert told(one.receive(book(number + 5, product="ETH-USD"))) == f"{number + 5} unsynced"


def test_an_unreadable_message_shows_as_a_gap() -> None:
    """What cannot be read is not counted: it is a reject, and the next message a gap."""
    one = session()
    one.receive(book(0, "snapshot"))
    assert told(one.receive(book(1)[:60])) == "RejectEvent"
    assert told(one.receive(book(2))) == "gap, 2 unsynced"


@pytest.mark.parametrize("wrong", ["timestamp", "product_id", "events", "channel"])
def test_a_counted_message_that_may_have_been_a_books_is_a_gap(wrong: str) -> None:
    """With a number and no readable content all books are lost: the next message's number would not show it."""
    one = session()
    one.receive(book(0, "snapshot"))
    body = json.loads(book(1))
    if wrong == "product_id":
        del body["events"][0]["product_id"]
    elif wrong == "events":
        del body["events"]
    else:
        body[wrong] = "l2_datum"
    assert told(one.receive(json.dumps(body).encode())) == "RejectEvent, gap"
    assert told(one.receive(book(2))) == "2 unsynced"
    assert told(one.receive(book(3, "snapshot"))) == "resync, snapshot 3 apply"


def test_a_counted_message_of_another_channel_costs_no_book() -> None:
    """A ticker that cannot be read says nothing of books."""
    one = session()
    one.receive(book(0, "snapshot"))
    body = json.loads(quote(1))
    del body["events"][0]["tickers"]
    assert told(one.receive(json.dumps(body).encode())) == "RejectEvent"
    assert told(one.receive(book(2))) == "2 apply"


def test_a_rejected_update_is_a_gap_of_its_product_alone() -> None:
    """A bad number in one product's message leaves the other product in sync."""
    one = session()
    one.receive(book(0, "snapshot"))
    one.receive(book(1, "snapshot", "ETH-USD"))
    events = one.receive(book(2, levels=[("bid", "NaN", "1")]))
    assert told(events) == "RejectEvent, gap"
    assert isinstance(events[1], LinkEvent)
    assert events[1].symbol == "BTC-USD"
    assert told(one.receive(book(3))) == "3 unsynced"
    assert told(one.receive(book(4, product="ETH-USD"))) == "4 apply"


def test_a_book_message_is_exact() -> None:
    """Bids come first, then offers, each in the message's order; the time is the message's, to the nanosecond; 0 removes."""
    (event,) = session().receive(book(0, "snapshot", levels=[USUAL[2], *USUAL[:2]]))
    assert isinstance(event, DepthEvent)
    assert (event.bids, event.bid_qtys, event.asks, event.ask_qtys) == (
        [2192173, 2192130],
        [6317902, 2000000],
        [2192174],
        [150000000],
    )
    assert (event.ts_event, event.venue_seq, event.is_snapshot) == (1675974770714964855, 0, True)
    one = session()
    one.receive(book(0, "snapshot"))
    (event,) = one.receive(book(1, levels=[("offer", "21921.74", "0")]))
    assert isinstance(event, DepthEvent)
    assert (event.bids, event.asks, event.ask_qtys) == ([], [2192174], [0])


def test_quotes_and_trades_are_exact() -> None:
    """Empty texts and sizes of 0 are absent sides; the aggressor is not the maker; trades stand in the order of their ids."""
    one = session()
    (event,) = one.receive(quote(0))
    assert isinstance(event, QuoteEvent)
    assert (event.bid, event.bid_qty, event.ask, event.ask_qty) == (2193198, 800021000000, 2193398, 803807770938)
    assert event.venue_seq == 0
    (event,) = one.receive(quote(1, best_bid="", best_bid_quantity="", best_ask_quantity="0"))
    assert isinstance(event, QuoteEvent)
    assert (event.bid, event.bid_qty, event.ask, event.ask_qty) == (None, None, None, None)
    (event,) = one.receive(quote(2, best_bid_quantity="0.00"))
    assert isinstance(event, QuoteEvent)
    assert (event.bid, event.bid_qty, event.ask) == (None, None, 2193398)
    trades = one.receive(TRADES.replace(b'"sequence_num": 4', b'"sequence_num": 3'))
    found = [(event.trade_id, event.qty, event.aggressor) for event in trades if isinstance(event, TradeEvent)]
    assert found == [("7", 10**8, SELL), ("98", 2 * 10**8, BUY), ("99", 3 * 10**7, SELL), ("100", 10**8, BUY)]
    assert isinstance(trades[1], TradeEvent)
    assert (trades[1].price, trades[1].ts_event) == (126001, 1565815347265000000)


def test_products_in_usdc_are_those_in_usd_under_another_name() -> None:
    """`X-USD` is subscribed once, and its rows are those of each instrument that is recorded; a loss is one of both."""
    natives = ("BTC-USDC", "BTC-USD", "ETH-USDC", "USDT-USDC")
    one = CoinbaseSession([listing("coinbase", native, px_scale=2) for native in natives], ("deltas",))
    bodies = [json.loads(ask.text) for ask in one.open(0) if isinstance(ask, Send)]
    assert bodies[1]["product_ids"] == ["BTC-USD", "ETH-USD", "USDT-USDC"]
    symbols = [
        [event.listing.key[1] for event in one.receive(message) if isinstance(event, DepthEvent | QuoteEvent | TradeEvent)]
        for message in (
            book(0, "snapshot"),
            book(1, "snapshot", "ETH-USD"),
            book(2, "snapshot", "USDT-USDC"),
            quote(3),
            prints(4, "update", ("1", "ETH-USD", "1", "BUY"), ("2", "BTC-USD", "1", "BUY")),
        )
    ]
    both = ["BTC-USDC", "BTC-USD"]
    assert symbols == [both, ["ETH-USDC"], ["USDT-USDC"], both, [*both, "ETH-USDC"]]
    assert told(one.receive(book(5, levels=[("bid", "x", "1")]))) == "RejectEvent, gap, RejectEvent, gap"
    assert [json.loads(ask.text)["product_ids"] for ask in one.asks() if isinstance(ask, Send)] == [["BTC-USD"]] * 2


def test_trades_from_before_the_subscription_are_no_news() -> None:
    """They are counted in a row, not taken as prints of now."""
    (event,) = session().receive(prints(0, "snapshot", ("1", "ETH-USD", "1", "BUY"), ("2", "ETH-USD", "1", "BUY")))
    assert isinstance(event, LinkEvent)
    assert (event.event, event.detail) == ("subscribed", "2 trades from before the subscription left out")


def test_a_connection_opens_with_its_subscriptions() -> None:
    """Heartbeats first, then one request a channel; there is nothing to ping."""
    one = session("quotes", "deltas", "trades")
    products = ["BTC-USD", "ETH-USD"]
    assert [json.loads(ask.text) for ask in one.open(0) if isinstance(ask, Send)] == [
        {"type": "subscribe", "channel": "heartbeats"},
        *({"type": "subscribe", "channel": name, "product_ids": products} for name in ("ticker", "level2", "market_trades")),
    ]
    assert one.tick(10 * NANOS_PER_S) == []
    assert len(one.tick(11 * NANOS_PER_S)) == 2  # the snapshots did not come in the 10 s after a second of sending


@pytest.mark.parametrize(
    ("payload", "rule"),
    [
        (b"", "bad_json"),
        (b"[]", "wrong_type"),
        (b"{}", "missing_field"),
        (frame(0, "candles", {}), "unknown_message"),
        (book(0, "partial"), "unknown_message"),
        (book(0, product="ETH-BTC"), "unknown_instrument"),
        (book(0, levels=[("ask", "1", "1")]), "wrong_type"),
        (book(0, updates=None), "missing_field"),
        (book(0, updates=[{"side": "bid", "price_level": "1"}]), "missing_field"),
        (book(0, levels=[("bid", "1", "1e-30")]), "bad_number"),
        (book(2**63), "wrong_type"),
        (book(0).replace(b"20:32:50", b"20:32:61"), "bad_number"),
        (quote(0, product_id=""), "unknown_instrument"),
        (quote(0, best_bid="inf"), "bad_number"),
        (prints(0, "update", ("1", "ETH-USD", "1", "buy")), "wrong_type"),
        (prints(0, "update", ("1", "ETH-USD", "one", "BUY")), "bad_number"),
        (ERROR, "venue_error"),
        (ERROR.replace(b"}", b',"sequence_num":5}'), "venue_error"),
    ],
)
def test_hostile_frames(payload: bytes, rule: str) -> None:
    """Whatever is wrong becomes one reject with its rule and its text."""
    rejected(session(), payload, rule)


@given(st.lists(mutated(VALID), min_size=1, max_size=4))
def test_no_frame_raises_and_every_row_can_be_written(payloads: list[bytes]) -> None:
    """Damaged frames, between valid ones, give events that a log takes."""
    endured_all(session("deltas"), "coinbase", VALID[0], *payloads, VALID[2])
