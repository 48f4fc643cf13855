"""Hand-made rows with known answers: when orders were heard of and by which clock, and what is learnt from them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from xarb.config import VenueConfig
from xarb.model.units import MONEY_ONE, PPB
from xarb.settings import venue_model
from xarb.venues.terms import ConstantLatency
from xarb.verbs.calibrate.clocks import Clock, clocks_of, step_of
from xarb.verbs.calibrate.depth import ARRIVED, DECIDED, Held, Rows
from xarb.verbs.calibrate.feeds import Feed
from xarb.verbs.calibrate.learning import Fit, Learnt, learn_orders
from xarb.verbs.calibrate.orders import Trace, traces

MS = 1_000_000
AT = 1_700_000_000_000 * MS
AHEAD = 7 * MS  # the exchange's clock


def command(order: int, ts: int, **values: Any) -> dict[str, Any]:
    """A submit, as a row of `commands`."""
    shape = {"venue": "alpha", "symbol": "BTC/USDT", "side": "buy", "tif": "ioc", "kind": "submit", "after_seq": 40 + order}
    scales = {"price_int": 10_000, "qty_int": 300, "px_scale": 2, "qty_scale": 2}
    return {**shape, **scales, "order": order, "ts": ts} | values


def report(order: int, event: str, ts: int, **values: Any) -> dict[str, Any]:
    """A row of `reports`."""
    usual = {"source": "stream", "ts_event": None, "qty": None, "reason": None, "seq": ts - AT}
    return {"order": order, "event": event, "ts_recv": ts, **usual} | values


def one(said: list[dict[str, Any]], **values: Any) -> Trace:
    """The trace of an order that was decided at AT."""
    [found] = traces([command(1, AT, **values)], said)
    return found


def learn(orders: list[Trace], clock: Clock | None = None) -> Learnt:
    """What is learnt of alpha."""
    learnt = {"alpha": Learnt()}
    learn_orders(learnt, orders, {"alpha": clock or Clock((AT,), (AHEAD,), MS)}, {})
    return learnt["alpha"]


def test_an_orders_ways_add_up_to_what_was_heard() -> None:
    """Decided at 0, sent at 1 ms, there at 20.5 ms by a clock 7 ms ahead that is cut to ms, heard of at 32 ms: 20.5 there, 11.5 back."""
    theirs = AT + AHEAD + 20 * MS
    found = one([report(1, "sent", AT + MS), report(1, "fill", AT + 32 * MS, ts_event=theirs, qty=MONEY_ONE, source="send")])
    assert (found.sent, found.heard, found.told, found.filled) == (AT + MS, AT + 32 * MS, theirs, MONEY_ONE)
    mine = learn([found])
    assert (mine.own, mine.there, mine.back, mine.heard) == ([MS], [20_500_000], [11_500_000], [32 * MS])


def test_columns_are_not_taken_for_each_other() -> None:
    """Swapped times, or one in another unit, give other answers: the exchange's time is neither ours nor a duration."""
    right = one([report(1, "accepted", AT + 32 * MS, ts_event=AT + AHEAD + 20 * MS)])
    swapped = right._replace(heard=right.told, told=right.heard)
    millis = right._replace(told=(right.told or 0) // MS)
    ways = [(mine.there, mine.back, mine.astray) for mine in map(learn, ([right], [swapped], [millis]))]
    assert ways[0] == ([20_500_000], [11_500_000], 0)
    assert ways[1] == ([25_500_000], [1_500_000], 0)
    assert ways[2] == ([0], [32 * MS], 1), "a time in ms lies before every decision, and is counted as such"
    ahead = learn([right], Clock((AT,), (-20 * MS,), MS))
    assert (ahead.there, ahead.back, ahead.astray) == ([32 * MS], [0], 1), "and one that lies behind the answer too"


@pytest.mark.parametrize(
    ("said", "told", "is_asked", "refused"),
    [
        ([report(1, "fill", AT + 9, qty=1), report(1, "expired", AT + 12, ts_event=AT + 5)], AT + 5, False, None),
        ([report(1, "accepted", AT + 9, source="lookup", ts_event=AT + 5)], AT + 5, True, None),
        ([report(1, "rejected", AT + 9, source="send", reason="busy")], None, False, "busy"),
        ([report(1, "unknown", AT + 9, source="send"), report(1, "not_found", AT + 10, source="lookup")], None, False, None),
    ],
)
def test_words_are_told_apart(said: list[dict[str, Any]], told: int | None, refused: str | None, *, is_asked: bool) -> None:
    """A later word of an IOC order has its time too; what was only asked for is no latency; that its fate is unknown is no word."""
    found = one([report(1, "sent", AT + 1), *said])
    assert (found.told, found.is_asked, found.refused) == (told, is_asked, refused)
    assert found.is_unknown == (said[0]["event"] == "unknown")
    mine = learn([found])
    assert (mine.orders, mine.unanswered) == ((0, 1) if found.is_unknown else (1, 0))
    assert len(mine.heard) == int(not is_asked and not found.is_unknown)


def test_a_resting_orders_fill_is_not_its_arrival() -> None:
    """Of an order that may rest the first word alone says when it came; the cancel has a way of its own."""
    said = [
        report(1, "accepted", AT + 9, source="send"),
        report(1, "fill", AT + 90, ts_event=AT + 80, qty=5),
        report(1, "canceled", AT + 300, source="cancel", ts_event=AT + 250),
    ]
    cancel = {"kind": "cancel", "order": 1, "ts": AT + 200}
    [found] = traces([command(1, AT, tif="gtc"), cancel], said)
    assert (found.told, found.first_fill, found.canceled) == (None, AT + 90, (AT + 200, AT + 300))
    assert learn([found]).canceled == [100]


def test_an_order_that_never_left_counts_nowhere() -> None:
    """A command that was not sent says nothing of the exchange."""
    mine = learn([one([report(1, "not_sent", AT + 5, source="send", reason="too_old")])])
    assert (mine.orders, mine.unanswered, mine.own) == (0, 0, [])


def test_without_the_exchanges_times_the_whole_is_halved() -> None:
    """Reports without a time give both ways half of what was heard, and the model says so; with enough times only these count."""
    silent = [one([report(1, "expired", AT + 30 * MS, source="send")]) for _ in range(25)]
    mine = learn(silent)
    assert mine.is_split(20)
    assert Fit(mine).order == Fit(mine).response == (15 * MS,) * 25
    timed = [one([report(1, "expired", AT + 30 * MS, ts_event=AT + AHEAD + 10 * MS, source="send")]) for _ in range(20)]
    both = learn(silent + timed)
    assert not both.is_split(20)
    assert Fit(both).order == (10_500_000,) * 20


def test_refusals_are_learnt_but_for_what_is_simulated() -> None:
    """3 of 40 orders lacked the money, which the simulation finds itself; 2 of the other 37 were refused for what it does not know."""
    reasons = ["insufficient_funds"] * 3 + ["busy"] * 2
    said = [[report(1, "rejected", AT + 9, source="send", reason=reason)] for reason in reasons]
    said += [[report(1, "expired", AT + 9, source="send")]] * 35
    mine = learn([one(rows) for rows in said])
    assert {reason: (ratio.hits, ratio.total) for reason, ratio in mine.refusals.items()} == {"busy": (2, 37)}
    fit = Fit(mine)
    assert fit.refusals == {"busy": 2 * PPB // 37}
    assert fit.keys["reject_bps"] == {"busy": Decimal("540.54054")}
    assert Fit(mine, 41).refusals == {}


def test_what_the_book_held_is_compared_with_what_was_got() -> None:
    """3 were asked for; the book held 8, then 2 as the order came, and 1.5 were got: a quarter was left, three quarters of that were got."""
    filled = one([report(1, "fill", AT + 9, qty=3 * MONEY_ONE // 2)])
    learnt = {"alpha": Learnt()}
    books = {(1, DECIDED): Held(8 * MONEY_ONE, 3 * MONEY_ONE), (1, ARRIVED): Held(2 * MONEY_ONE, 2 * MONEY_ONE)}
    learn_orders(learnt, [filled], {"alpha": Clock()}, books)
    mine = learnt["alpha"]
    assert (mine.decay, mine.shares, mine.beyond) == ([PPB // 4], [3 * PPB // 4], 0)
    assert (mine.whole.hits, mine.whole.total) == (0, 1)
    learn_orders(learnt, [filled._replace(filled=3 * MONEY_ONE)], {"alpha": Clock()}, books)
    assert (mine.shares[1], mine.beyond, mine.whole.hits) == (PPB, 1, 1)


def test_a_fit_is_the_section_of_a_venue() -> None:
    """Its keys give the simulated venue the same tables, in ns and parts per billion; what was not fitted stays as it was."""
    mine = Learnt()
    mine.there, mine.back = [10 * MS + 250_000] * 20, [4 * MS] * 20
    mine.shares = [PPB // 8] * 10 + [PPB] * 10
    fit = Fit(mine)
    config = fit.applied(VenueConfig(fees="alpha-spot"))
    model = venue_model(config, "venues.alpha", added_ns=0)
    assert set(model.order_latency.values_ns) == {10_250_000}  # type: ignore[union-attr]  # a table
    assert model.fill_shares == (PPB // 8,) * 10 + (PPB,) * 10
    assert model.feed_latency == ConstantLatency(5 * MS)
    assert model.refusals == ()


def test_clocks_are_the_middle_one_of_five_readings() -> None:
    """One reading that is far off does not move the clock; a time between two readings has the earlier one."""
    readings = [(AT + at * MS, 3 * MS if at != 2 else 90 * MS) for at in range(5)]
    rows = [{"metric": "clock_offset_ns", "venue": "alpha", "ts_recv": ts, "value": value} for ts, value in readings]
    rows.append({"metric": "queue", "venue": "alpha", "ts_recv": AT, "value": 5})
    clock = clocks_of(rows)["alpha"]
    assert set(clock.offsets) == {3 * MS}
    moved = Clock((AT, AT + 10), (1, 5), 1)
    assert [moved.ours(100, AT + near) for near in (-5, 0, 9, 10)] == [99, 99, 99, 95]
    assert moved.ours_all(np.array([100, 100]), np.array([AT - 5, AT + 10])).tolist() == [99, 95]


def test_times_stand_for_the_middle_of_their_step() -> None:
    """Times in whole ms are half a ms late on average; finer ones are what they are."""
    assert [step_of(times) for times in ([5 * MS, 7 * MS], [5_000, 7 * MS], [5_001], [])] == [MS, 1_000, 1, 1]
    assert Clock(step=MS).ours(5 * MS, 0) == 5_500_000


def test_rows_after_an_order_came_do_not_count() -> None:
    """The last row before a time is meant: one at the same time may be of the order itself."""
    rows = Rows(np.array([3, 5, 9]), np.array([10, 20, 30]))
    assert [rows.last_before(time) for time in (10, 11, 20, 21, 99)] == [None, 3, 3, 5, 9]


def test_a_feed_that_is_not_timed_has_no_table() -> None:
    """Rows without a time of the exchange are counted, and nothing is fitted."""
    mine = Learnt()
    mine.take_feed(Feed(900, 0, np.zeros(0, np.int64), Clock()))
    assert (mine.rows, mine.timed, Fit(mine).keys) == (900, 0, {})
