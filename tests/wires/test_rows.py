"""Events to rows: order, columns, announcements and scales."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.wires.generators import NUMBERS
from xarb.catalog import load_instruments
from xarb.errors import InvariantBroken
from xarb.model.columns import CONNECTION_EVENTS, TABLES
from xarb.wires.decimals import Listing, Unrepresentable
from xarb.wires.events import (
    APPLY,
    OLD,
    UNSYNCED,
    BookEvent,
    DepthEvent,
    LinkEvent,
    MarkEvent,
    QuoteEvent,
    RejectEvent,
    TradeEvent,
)
from xarb.wires.rows import Link, RowBuilder

BTC = load_instruments().require("binance", "BTC/USDT")
LINK = Link(3, "binance", "a-file")


def named(builder: RowBuilder) -> list[dict[str, Any]]:
    """All rows in seq order, by column name, with their kind."""
    rows = []
    for kind, tuples in builder.take().items():
        names = [column.name for column in TABLES[kind].columns]
        rows += [{"table": kind, **dict(zip(names, row, strict=True))} for row in tuples]
    return sorted(rows, key=lambda row: row["seq"])


def test_every_event_lands_in_the_columns_of_its_kind() -> None:
    """Rows have one value per column of their table, under the right name, and seq leaves none out."""
    builder, listing = RowBuilder(100, 5), Listing(BTC)
    builder.add(10, LINK, LinkEvent("binance", None, "opened", "why", None, "rule"))
    builder.add(11, LINK, QuoteEvent(listing, 9, 7, 1, 2, 3, 4, 2, 8))
    builder.add(12, LINK, DepthEvent(listing, 9, 8, 6, 5, True, APPLY, [1], [2], [3, 4], [5, 6], 2, 8))
    builder.add(13, LINK, DepthEvent(listing, 9, 8, 6, 5, False, APPLY, [], [], [], [], 2, 8))
    builder.add(14, LINK, TradeEvent(listing, 9, None, "x", 1, 2, 0, 2, 8))
    builder.add(15, LINK, BookEvent(listing, 9, None, list(range(12)), list(range(12)), [5], [6], 2, 8))
    builder.add(16, LINK, MarkEvent(listing, 9, 1, 2, 3, 4, 2, 8))  # type: ignore[arg-type]  # a small amount of money
    builder.add(17, LINK, RejectEvent("rule", "detail", "payload", None, "S", 44))
    rows = named(builder)
    assert [row["seq"] for row in rows] == list(range(100, 111))
    kinds = ["connections", "instruments", "quotes", *["book_deltas"] * 4, "trades", "books", "marks", "rejects"]
    assert [row["table"] for row in rows] == kinds
    assert (rows[0]["conn"], rows[0]["event"], rows[0]["source"], rows[0]["time_rule"]) == (3, 0, "a-file", "rule")
    quote = {"ts_recv": 11, "ts_event": 9, "conn": 3, "venue": "binance", "symbol": "BTC/USDT", "venue_seq": 7}
    prices = {"bid_int": 1, "bid_qty_int": 2, "ask_int": 3, "ask_qty_int": 4, "px_scale": 2, "qty_scale": 8}
    assert rows[2] == {"table": "quotes", "seq": 102, **quote, **prices}
    assert (rows[7]["trade_id"], rows[7]["price_int"], rows[7]["qty_int"], rows[7]["aggressor"]) == ("x", 1, 2, 0)
    assert (rows[9]["mark_int"], rows[9]["index_int"], rows[9]["funding_rate"], rows[9]["funding_ts"]) == (1, 2, 3, 4)
    reject = {"conn": 3, "venue": "binance", "symbol": "S", "source": "a-file", "line": 44, "rule": "rule"}
    assert rows[10] == {"table": "rejects", "seq": 110, "ts_recv": 17, **reject, "detail": "detail", "payload": "payload"}


def test_rows_of_other_kinds_take_their_place_among_the_events() -> None:
    """A put row gets the next seq and a time that does not decrease; kinds that come from events are refused."""
    builder = RowBuilder(7, 50)
    assert builder.put("health", 40, ("binance", "clock_offset_ns", -3, None)) == 7
    builder.add(60, LINK, LinkEvent("binance", None, "opened"))
    assert builder.put("frames", 61, (3, "binance", None, b"{}")) == 9
    rows = named(builder)
    assert [(row["table"], row["seq"], row["ts_recv"]) for row in rows] == [
        ("health", 7, 50),
        ("connections", 8, 60),
        ("frames", 9, 61),
    ]
    assert (rows[0]["metric"], rows[0]["value"], rows[2]["payload"]) == ("clock_offset_ns", -3, b"{}")
    assert (builder.counts["health"], builder.counts["frames"]) == (1, 1)
    for kind in ("quotes", "commands"):
        with pytest.raises(InvariantBroken, match=kind):
            builder.put(kind, 70, ())


def test_an_instrument_is_announced_once_and_again_when_told_so() -> None:
    """Before its first event too, so that an engine that starts knows it."""
    builder, listing = RowBuilder(), Listing(BTC)
    builder.announce(5, listing)
    builder.announce(6, listing)
    builder.add(7, LINK, QuoteEvent(listing, 9, 7, 1, 2, 3, 4, *listing.scales))
    builder.announce(8, listing, again=True)
    assert [(row["table"], row["ts_recv"]) for row in named(builder)] == [("instruments", 5), ("quotes", 7), ("instruments", 8)]


def test_a_book_message_ends_with_is_last() -> None:
    """Levels are rows of their own, bids first; only the last one ends the message; an empty message is one row of nulls."""
    builder, listing = RowBuilder(), Listing(BTC)
    builder.add(12, LINK, DepthEvent(listing, 9, 8, 6, 5, True, APPLY, [1], [2], [3, 4], [5, 6], 2, 8))
    builder.add(13, LINK, DepthEvent(listing, 9, 9, 9, None, False, APPLY, [], [], [], [], 2, 8))
    deltas = [row for row in named(builder) if row["table"] == "book_deltas"]
    assert [(row["side"], row["price_int"], row["qty_int"], row["is_last"]) for row in deltas] == [
        (0, 1, 2, False),
        (1, 3, 5, False),
        (1, 4, 6, True),
        (None, None, None, True),
    ]
    assert [(row["seq"], row["first_id"], row["prev_id"], row["is_snapshot"]) for row in deltas] == [
        (1, 6, 5, True),
        (2, 6, 5, True),
        (3, 6, 5, True),
        (4, 9, None, False),
    ]


def parts(listing: Listing) -> list[DepthEvent]:
    """A snapshot, an empty update and one with a level, of one message."""
    return [
        DepthEvent(listing, 9, 8, None, None, True, APPLY, [1], [2], [], [], 2, 8, is_last=False),
        DepthEvent(listing, 9, 9, 9, None, False, APPLY, [], [], [], [], 2, 8, is_last=False),
        DepthEvent(listing, 9, 10, 10, None, False, APPLY, [6], [7], [], [], 2, 8),
    ]


def test_a_message_of_several_events_ends_once() -> None:
    """The last row of the last event ends it; an empty part is a row of nulls that does not; coarser parts are brought to the scale."""
    builder, listing = RowBuilder(scales={("binance", "BTC/USDT"): (3, 8)}), Listing(BTC)
    for event in parts(listing):
        builder.add(12, LINK, event)
    assert [(row["price_int"], row["px_scale"], row["is_snapshot"], row["is_last"]) for row in named(builder)] == [
        (10, 3, True, False),
        (None, 3, False, False),
        (60, 3, False, True),
    ]


@pytest.mark.parametrize(("place", "expected"), [(0, [False, True]), (1, [False, True]), (2, [False, False, True])])
def test_a_part_that_cannot_be_kept_leaves_no_message_open(place: int, expected: list[bool]) -> None:
    """A reject in place of one event, also of the last one, which an empty row then ends; what stands alone needs none."""
    builder, listing = RowBuilder(scales={("binance", "BTC/USDT"): (18, 8)}), Listing(BTC)
    events = parts(listing)
    events[place] = msgspec.structs.replace(events[place], bids=[6183763], bid_qtys=[1])
    for event in events:
        builder.add(12, LINK, event)
    rows = named(builder)
    assert [row["is_last"] for row in rows if row["table"] == "book_deltas"] == expected
    assert [row["rule"] for row in rows if row["table"] == "rejects"] == ["unrepresentable"]
    builder.add(13, LINK, msgspec.structs.replace(events[place], is_last=True))
    assert [row["table"] for row in named(builder)] == ["rejects", "connections"]


@pytest.mark.parametrize(
    ("verdict", "expected"), [(APPLY, ["rejects", "connections"]), (UNSYNCED, ["rejects"]), (OLD, ["rejects"])]
)
def test_a_book_without_a_part_that_would_have_moved_it_is_a_gap(verdict: int, expected: list[str]) -> None:
    """The gap is that symbol's; what moves no book leaves none."""
    builder, listing = RowBuilder(scales={("binance", "BTC/USDT"): (18, 8)}), Listing(BTC)
    builder.add(12, LINK, DepthEvent(listing, 9, 8, None, None, False, verdict, [6183763], [1], [], [], 2, 8))
    rows = named(builder)
    assert [row["table"] for row in rows] == expected
    assert [(row["event"], row["symbol"]) for row in rows[1:]] == [(CONNECTION_EVENTS.index("gap"), "BTC/USDT")] * (len(rows) - 1)


def test_levels_beyond_the_tenth_are_lists() -> None:
    """Ten levels are columns, deeper ones lists; absent levels and absent depth are null."""
    builder, listing = RowBuilder(), Listing(BTC)
    builder.add(15, LINK, BookEvent(listing, 9, None, list(range(20, 8, -1)), list(range(12)), [25], [6], 2, 8))
    row = named(builder)[-1]
    assert (row["bid_00_int"], row["bid_09_int"], row["bid_deep_int"], row["bid_qty_deep_int"]) == (20, 11, [10, 9], [10, 11])
    assert (row["ask_00_int"], row["ask_qty_00_int"], row["ask_01_int"], row["ask_deep_int"]) == (25, 6, None, None)


def test_time_never_decreases() -> None:
    """An event with an earlier time takes the time of the row before it."""
    builder, listing = RowBuilder(), Listing(BTC)
    for ts in (10, 7, 12):
        builder.add(ts, LINK, QuoteEvent(listing, None, None, 1, None, 2, None, 2, 8))
    assert [row["ts_recv"] for row in named(builder)] == [10, 10, 10, 12]


def test_growth_is_announced_and_coarser_rows_follow() -> None:
    """A finer event is preceded by an instruments row with steps at the new scale; an older, coarser event is brought to it."""
    builder, listing = RowBuilder(), Listing(BTC)
    coarse = QuoteEvent(listing, None, None, 150, None, 151, 7, 2, 8)
    builder.add(1, LINK, coarse)
    builder.add(2, LINK, TradeEvent(listing, None, None, None, 1555, 9, 0, 3, 9))
    builder.add(3, LINK, coarse)
    rows = named(builder)
    assert [row["table"] for row in rows] == ["instruments", "quotes", "instruments", "trades", "quotes"]
    assert (rows[0]["px_scale"], rows[0]["tick_int"], rows[2]["px_scale"], rows[2]["tick_int"]) == (2, 1, 3, 10)
    assert (rows[2]["qty_scale"], rows[2]["lot_int"]) == (9, 10000)
    assert (rows[4]["bid_int"], rows[4]["ask_int"], rows[4]["ask_qty_int"], rows[4]["px_scale"]) == (1500, 1510, 70, 3)
    assert rows[4]["bid_qty_int"] is None


def test_a_known_instrument_is_not_announced_again() -> None:
    """A log that knows the instrument at these scales gets no second row; one that knows finer ones rescales."""
    builder, listing = RowBuilder(scales={("binance", "BTC/USDT"): (4, 8)}), Listing(BTC)
    builder.add(1, LINK, QuoteEvent(listing, None, None, 150, None, None, None, 2, 8))
    (row,) = named(builder)
    assert (row["table"], row["bid_int"], row["px_scale"]) == ("quotes", 15000, 4)


def test_what_cannot_be_rescaled_is_a_reject() -> None:
    """A coarse value that overflows at the log's scale is kept as a reject, never wrapped."""
    builder, listing = RowBuilder(scales={("binance", "BTC/USDT"): (18, 8)}), Listing(BTC)
    builder.add(1, LINK, QuoteEvent(listing, None, None, 6183763, None, None, None, 2, 8))
    (row,) = named(builder)
    assert (row["table"], row["rule"], row["venue"], row["symbol"]) == ("rejects", "unrepresentable", "binance", "BTC/USDT")


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=10))
def test_rows_say_what_the_texts_said(pairs: list[tuple[str, str]]) -> None:
    """Through growth and rescaling every row's integer over its own scale is the number in the text."""
    builder, listing, texts = RowBuilder(), Listing(BTC), []
    for price, qty in pairs:
        try:
            prices, qtys = listing.levels([(price, qty)])
        except Unrepresentable:
            continue
        texts.append((price, qty))
        builder.add(1, LINK, TradeEvent(listing, None, None, None, prices[0], qtys[0], 2, *listing.scales))
    scales, found = (0, 0), []
    for row in named(builder):
        if row["table"] == "instruments":
            scales = row["px_scale"], row["qty_scale"]
        else:
            assert (row["px_scale"], row["qty_scale"]) == scales
            found.append((Fraction(row["price_int"], 10 ** scales[0]), Fraction(row["qty_int"], 10 ** scales[1])))
    assert found == [(Fraction(price), Fraction(qty)) for price, qty in texts]
