"""Orders as they are heard of: any order and repetition of what an exchange says gives the same fills and one end."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xarb.model.units import Money
from xarb.venues import liveorders
from xarb.venues.liveorders import ALL_THE_SAME, SAME, Expected, LiveOrders, Rival, Watched
from xarb.venues.orderids import ClientIds, OrderName
from xarb.venues.replies import OrderSaid, TradeSaid
from xarb.venues.venue import VenueRow

ONE = 10**18
IDS = ClientIds("0123abcd", "binance")
SYMBOL = "BTC/USDT"


def orders() -> tuple[LiveOrders, Watched]:
    """An account with one order of 4 on its way."""
    live = LiveOrders("main", "binance", IDS, start=3)
    one = live.expect(
        Expected(name=OrderName(1, 1), account="main", strategy="s", venue="binance", symbol=SYMBOL, side="buy", qty=Money(4 * ONE))
    )
    return live, one


def said(state: str, counted: int) -> OrderSaid:
    """The order as the exchange states it."""
    return OrderSaid(
        symbol=SYMBOL, venue_order_id="9", state=state, client_id="0123abcd-1-1", side="buy", cum_qty=Money(counted * ONE)
    )


def trade(number: int, **changes: Any) -> TradeSaid:
    """A fill of 1."""
    values: dict[str, Any] = {
        "symbol": SYMBOL,
        "fill_id": str(number),
        "venue_order_id": "9",
        "price": Money(100 * ONE),
        "qty": Money(ONE),
        "side": "buy",
        "fee": Money(ONE // 1000),
        "fee_asset": "BTC",
    }
    return TradeSaid(**(values | changes))


# What an exchange says of an order that opens, fills 1 + 1 + 1 and is canceled, as (order, fill) with or without the other half.
STORY = [
    (said("open", 0), None),
    (said("open", 1), trade(1)),
    (said("open", 2), trade(2)),
    (said("open", 3), trade(3)),
    (said("canceled", 3), None),
    (None, trade(1)),
    (None, trade(2)),
    (None, trade(3)),
]


def events(rows: list[VenueRow]) -> list[str]:
    """Events of reports, fills with their id."""
    return [v["event"] + (f" {v['fill_id']}" if v["event"] == "fill" else "") for kind, v in rows if kind == "reports"]


@given(order=st.permutations(range(len(STORY))), repeats=st.lists(st.integers(0, len(STORY) - 1), max_size=8))
def test_any_order_of_what_is_said_gives_the_same_fills_and_one_end(order: list[int], repeats: list[int]) -> None:
    """Three fills, each once, then the end, once; at most one acceptance before."""
    live, one = orders()
    rows = live.sent(one, 0)
    for number in [*order, *repeats]:
        whole, fill = STORY[number]
        if whole is not None:
            rows += live.heard(whole, [fill] if fill else (), source="stream")
        else:
            assert fill is not None
            rows += live.traded(fill, source="trades")
    rows += live.release()
    found = events(rows)
    assert sorted(e for e in found if e.startswith("fill")) == ["fill 1", "fill 2", "fill 3"]
    assert found.count("canceled") == 1
    assert found.count("accepted") <= 1
    assert found[-1] == "canceled"
    assert one.is_done
    assert one.filled == 3 * ONE
    assert not live.open_orders()


@given(order=st.permutations(range(3)))
def test_an_unknown_order_is_settled_by_whatever_comes(order: list[int]) -> None:
    """Unknown, then found by a look-up, a push and a list of trades in any order: known again, filled once."""
    live, one = orders()
    rows = live.lost(one, "timeout")
    for number in order:
        steps = (
            lambda: live.heard(said("open", 1), source="lookup"),
            lambda: live.heard(said("open", 1), [trade(1)], source="stream"),
            lambda: live.traded(trade(1), source="trades"),
        )
        rows += steps[number]()
    found = events(rows + live.release())
    assert found[0] == "unknown"
    assert found.count("unknown") == 1
    assert found.count("fill 1") == 1
    assert one.is_settled


def test_fills_without_their_fee_wait_for_it() -> None:
    """A source that leaves the fee out makes the order lack a fill; another source brings it, and only then the end is told."""
    live, one = orders()
    bare = trade(1, fee=None, fee_asset=None)
    assert events(live.heard(said("canceled", 1), [bare], source="send")) == ["accepted"]
    assert one.lacks_fills
    assert events(live.traded(trade(1), source="trades")) == ["fill 1", "canceled"]


def test_fill_beyond_the_quantity_is_kept_and_moves_nothing() -> None:
    """A fourth unit and one more: the fifth is a reject with its text."""
    live, one = orders()
    rows = [row for n in range(1, 6) for row in live.traded(trade(n, client_id="0123abcd-1-1"), source="trades")]
    assert one.filled == 4 * ONE
    assert [(row.kind, row.values.get("rule")) for row in rows][-1] == ("rejects", "overfilled")
    assert events(rows) == ["fill 1", "fill 2", "fill 3", "fill 4"]


def test_fill_of_an_order_whose_id_is_not_known_yet_waits() -> None:
    """It is not reported as another's while an order of ours on that symbol has no exchange id; without one it is."""
    live, one = orders()
    assert live.traded(trade(1), source="trades") == []
    assert events(live.heard(said("open", 0), source="send")) == ["fill 1"]
    other = live.traded(trade(7, venue_order_id="77"), source="trades")
    assert [(row.values["event"], row.values["order"]) for row in other] == [("fill", None)]
    assert live.traded(trade(7, venue_order_id="77"), source="trades") == []
    assert one.filled == ONE


def test_refusal_after_the_order_was_seen_is_not_believed() -> None:
    """A stream that told of the order outweighs an error that reads like a refusal."""
    live, one = orders()
    live.heard(said("open", 0), source="stream")
    assert live.refused(one, "invalid_order") == []
    assert not one.is_done


def test_order_of_this_log_that_nobody_remembers_is_to_be_canceled() -> None:
    """Its id names start and number; it is watched again, its fills and its end are told, and the caller is asked to cancel it."""
    live, _ = orders()
    old = OrderSaid(
        symbol=SYMBOL, venue_order_id="5", state="open", client_id="0123abcd-0-3", side="sell", qty=Money(2 * ONE), cum_qty=Money(0)
    )
    (row,) = live.heard(old, source="lookup")
    names = ("event", "reason", "start", "order", "strategy")
    assert [row.values[name] for name in names] == ["accepted", "after_end", 0, 3, ""]
    assert [one.sent_id for one in live.revived] == ["0123abcd-0-3"]
    assert events(live.traded(trade(1, venue_order_id="5"), source="stream")) == ["fill 1"]
    gone = msgspec.structs.replace(old, state="canceled", cum_qty=Money(ONE))
    assert events(live.heard(gone, source="cancel")) == ["canceled"]
    ended = msgspec.structs.replace(old, client_id="0123abcd-0-4", venue_order_id="6", state="canceled")
    assert [(r.values["event"], r.values["start"], r.values["order"]) for r in live.heard(ended, source="stream")] == [
        ("canceled", 0, 4)
    ]


def test_orders_of_another_xarb_are_told_once() -> None:
    """Open ones and fills, with the exchange's time; a person's are not among them, nor an end that a person brought about."""
    live, _ = orders()
    live.heard(said("open", 0), source="send")
    theirs = {"client_id": "ffffffff-1-1", "venue_order_id": "5"}
    copied = msgspec.structs.replace(said("open", 0), client_id="0123abcd-4-2", venue_order_id="4", qty=Money(ONE))
    [row] = live.heard(copied, source="lookup")
    assert (row.values["event"], row.values["start"], live.revived) == ("foreign", 4, [])
    live.heard(msgspec.structs.replace(said("open", 0), **theirs), source="lookup")
    live.heard(msgspec.structs.replace(said("open", 0), **theirs), source="stream")
    live.heard(msgspec.structs.replace(said("open", 0), client_id="web", venue_order_id="6"), source="lookup")
    live.heard(msgspec.structs.replace(said("canceled", 0), client_id="0123abcd-9-1", venue_order_id="7"), source="stream")
    for number, name in ((1, "eeeeeeee-1-1"), (2, "web"), (3, "0123abcd-4-1")):
        live.traded(trade(number, client_id=name, venue_order_id="8", ts_event=number), source="stream")
    live.traded(trade(4, client_id="eeeeeeee-1-2", venue_order_id="10"), source="stream")  # nobody says when
    over = {"client_id": "eeeeeeee-1-3", "ts_event": 7}
    live.heard(
        msgspec.structs.replace(said("expired", 0), **over, venue_order_id="11"), source="stream"
    )  # no person can bring that about
    assert live.rivals == [
        Rival("0123abcd-4-2", SYMBOL, "is open"),
        Rival("ffffffff-1-1", SYMBOL, "is open"),
        Rival("eeeeeeee-1-1", SYMBOL, "was filled", 1),
        Rival("0123abcd-4-1", SYMBOL, "was filled", 3),
        Rival("eeeeeeee-1-3", SYMBOL, "ran out", 7),
    ]


def test_a_copy_of_this_log_that_is_at_the_same_start_is_known_by_orders_that_we_did_not_send() -> None:
    """On another machine: an order of this start that is not known here, or one with the name of ours and another id, is no order of ours.

    It is neither taken up and canceled nor counted as ours; what it filled is somebody else's.
    """
    live = LiveOrders("main", "binance", IDS, start=3)
    theirs = msgspec.structs.replace(said("open", 0), client_id="0123abcd-3-1", qty=Money(ONE), venue_order_id="5")
    [row] = live.heard(theirs, source="lookup")
    assert (row.values["event"], row.values["start"], row.values["order"], live.revived) == ("foreign", None, None, [])
    ours = Expected(
        name=OrderName(3, 2), account="main", strategy="s", venue="binance", symbol=SYMBOL, side="buy", qty=Money(4 * ONE)
    )
    one = live.expect(ours)
    live.heard(msgspec.structs.replace(said("open", 0), client_id="0123abcd-3-2", venue_order_id="6"), source="send")
    twin = msgspec.structs.replace(said("open", 1), client_id="0123abcd-3-2", venue_order_id="7")
    rows = live.heard(twin, [trade(1, venue_order_id="7")], source="stream")
    rows += live.traded(trade(2, client_id="0123abcd-3-2", venue_order_id="7", ts_event=1), source="trades")
    assert [(row.values["event"], row.values["start"], row.values["order"]) for row in rows] == [
        ("foreign", None, None),
        ("fill", None, None),
        ("fill", None, None),
    ]
    assert (one.filled, one.counted, one.venue_order_id) == (0, 0, "6")
    assert events(live.traded(trade(3, venue_order_id="6"), source="stream")) == ["fill 3"]
    assert [(rival.client_id, rival.what, rival.at) for rival in live.rivals] == [
        ("0123abcd-3-1", SAME, None),
        ("0123abcd-3-2", SAME, None),
    ]


def test_a_copy_of_this_log_is_known_by_an_order_that_is_filled_already() -> None:
    """A look-up by our order's name finds another one, which has filled: of that nothing else need ever be told."""
    live = LiveOrders("main", "binance", IDS, start=1)
    one = live.expect(orders()[1].expected)
    live.heard(said("open", 0), source="send")
    assert live.heard(msgspec.structs.replace(said("filled", 4), venue_order_id="8"), source="lookup") == []
    assert [(rival.client_id, rival.what) for rival in live.rivals] == [("0123abcd-1-1", SAME)]
    assert (one.is_done, one.counted) == (False, 0)


@pytest.mark.parametrize("end", ["refused", "not_sent"])
@pytest.mark.parametrize("heard", ["open", "fill"])
def test_an_order_that_was_never_there_and_is_shows_a_copy_of_this_log(end: str, heard: str) -> None:
    """Its name is ours, so that what it does is booked as ours is; but the exchange had refused ours, or never got it: somebody else sent it."""
    live, one = orders()
    getattr(live, end)(one, "insufficient_funds")
    assert live.rivals == []
    live.heard(said("expired", 0), source="stream")  # an end without a fill says nothing new
    assert live.rivals == []
    for _ in range(2):
        if heard == "open":
            live.heard(said("open", 0), source="stream")
        else:
            live.traded(trade(1, client_id="0123abcd-1-1"), source="trades")
    assert [(rival.client_id, rival.what, rival.at) for rival in live.rivals] == [("0123abcd-1-1", ALL_THE_SAME, None)]


@pytest.mark.parametrize("heard", ["open", "fill"])
def test_an_order_that_is_refused_after_it_was_there_shows_a_copy_of_this_log(heard: str) -> None:
    """The copy's order was told before the reply to ours: at once where it filled, else as soon as it is told again."""
    live, one = orders()
    if heard == "open":
        live.heard(said("open", 0), source="stream")
    else:
        live.traded(trade(1, client_id="0123abcd-1-1"), source="trades")
    live.refused(one, "insufficient_funds")
    live.heard(said("open", 0), source="lookup")
    assert [(rival.client_id, rival.what, rival.at) for rival in live.rivals] == [("0123abcd-1-1", ALL_THE_SAME, None)]


def test_an_order_of_this_start_that_was_forgotten_is_no_rivals(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many ended since that it is remembered no longer; it came to life all the same, and is canceled."""
    monkeypatch.setattr(liveorders, "KEPT", 1)
    live = LiveOrders("main", "binance", IDS, start=3)
    for number in (1, 2, 3):
        name = OrderName(3, number)
        one = live.expect(
            Expected(name=name, account="main", strategy="s", venue="binance", symbol=SYMBOL, side="buy", qty=Money(ONE))
        )
        live.not_sent(one, "too_old")
    for number in (1, 4):
        late = msgspec.structs.replace(
            said("open", 0), client_id=f"0123abcd-3-{number}", venue_order_id=f"{number}", qty=Money(ONE)
        )
        live.heard(late, source="lookup")
    assert [one.expected.name.order for one in live.revived] == [1]
    assert [rival.client_id for rival in live.rivals] == ["0123abcd-3-4"]
