"""A venue on which too much goes wrong gets no new bundle; after a pause a single one shows whether it works again."""

from __future__ import annotations

from typing import Any

import pytest

from tests.defaults import breaker_limits, execution_policy, strategy_terms
from tests.engine.desk import HOUR, Desk, money
from xarb.engine.breaker import KEY_REFUSALS, Breakers, Broken
from xarb.engine.strategy import Entry
from xarb.model.columns import BREAKER_STATES
from xarb.model.order import BREAKER_LIFE
from xarb.model.units import MONEY_ONE, NANOS_PER_MS, NANOS_PER_S

GOOD = ("buy a 101 5", "sell b 100 5")
PAUSE = 10 * NANOS_PER_S
QUIET: dict[str, Any] = {"errors": 0, "unknown": 0, "rejects": 0, "ack_ns": 0, "feed_score": 0, "clock_offset_ns": 0}


def guarded(letters: str = "ab", *, policy: dict[str, Any] | None = None, opening: tuple[Broken, ...] = (), **limits: Any) -> Desk:
    """A desk on which only the rules that are stated open a breaker, for ten seconds at first, at most for twenty-five."""
    one = breaker_limits(**{**QUIET, "pause_ns": PAUSE, "max_pause_ns": 25 * NANOS_PER_S, **limits})
    terms = {"s": strategy_terms(execution=execution_policy(**{"timeout_ns": NANOS_PER_S, **(policy or {})}))}
    return Desk(letters, terms=terms, breakers=dict.fromkeys(letters, one), broken=opening)


def last(desk: Desk) -> tuple[int, int]:
    """First and second order of the last bundle."""
    return desk.engine.execution.orders - 1, desk.engine.execution.orders


def trade(desk: Desk, *, a: str = "fill", after: int = 2_000_000) -> None:
    """A bundle whose order on b is filled and whose order on a is, too, after so long; or ends otherwise, as then the one on b does."""
    assert len(desk.tell(*GOOD)) == 2, desk.rows[-1]
    buy, sell = last(desk)
    if a != "fill":
        desk.report(buy, a)
        desk.report(sell, "expired")
        if a == "unknown":
            desk.report(buy, "expired")  # until then nothing begins beside it
        return
    desk.fill(sell, 100, 5)
    desk.report(
        buy, a, later=after - 1_000_000, price_int=101, qty_int=5, fill_id="f", fee=money(0), fee_asset="USD", liquidity="taker"
    )


def states(desk: Desk, venue: str = "a") -> list[tuple[str, str]]:
    """State and reason, row by row."""
    return [(row["state"], row["reason"]) for row in desk.drained("breakers") if row["venue"] == venue]


def numbers(row: dict[str, Any]) -> tuple[float, float]:
    """Value and bound of a row in whole units."""
    return row["value"] / MONEY_ONE, row["bound"] / MONEY_ONE


def rest(desk: Desk, ns: int = PAUSE) -> None:
    """Let a time pass, with quotes of both at its end."""
    desk.quote(0, ts=desk.now + ns)
    desk.quote(1, ts=desk.now)


def test_rejects_one_after_the_other_open_it() -> None:
    """An answer between them begins the count anew; the row and the refusal say how many, and how long."""
    desk = guarded(rejects=2)
    trade(desk, a="rejected")
    trade(desk)
    trade(desk, a="rejected")
    assert states(desk) == []
    trade(desk, a="rejected")
    [row] = desk.drained("breakers")
    assert (row["state"], row["previous"], row["reason"], row["account"], row["trips"]) == ("open", "closed", "rejects", "main", 1)
    assert numbers(row) == (2, 2)
    assert row["until"] == row["ts"] + PAUSE
    assert desk.tell(*GOOD) == ["refuse breaker_open"]
    refusal = desk.drained("refusals")[-1]
    assert (refusal["venue"], refusal["bound"]) == ("a", 0)
    assert refusal["value"] == (row["until"] - desk.now) * 10**9
    assert len(desk.tell("buy b 101 5", "sell b 100 5")) == 1, "a bundle of another kind is refused for its own reason"
    assert states(desk, "b") == []


def test_other_venues_go_on() -> None:
    """Only bundles with a leg there are refused."""
    desk = guarded("abc", rejects=1)
    trade(desk, a="rejected")
    assert desk.tell(*GOOD) == ["refuse breaker_open"]
    assert len(desk.tell("buy c 101 5", "sell b 100 5")) == 2


@pytest.mark.parametrize("event", ["rejected", "not_sent", "unknown"])
def test_orders_that_fail_count_as_errors(event: str) -> None:
    """Each adds one; one is forgotten each five seconds."""
    desk = guarded(errors=3, error_recovery_ns=5 * NANOS_PER_S, policy={"timeout_ns": HOUR})
    for pause in (0, 0, 11 * NANOS_PER_S, 0):
        if pause:
            rest(desk, pause)
        trade(desk, a=event)
        assert states(desk) == []
    trade(desk, a=event)
    assert states(desk) == [("open", "errors")]
    assert numbers(desk.drained("breakers")[-1]) == (3, 3)


def test_orders_of_unknown_fate_open_it_and_keep_it_open() -> None:
    """Two at once open it; while one is not known a pause is followed by another as long."""
    desk = guarded(unknown=2, policy={"timeout_ns": HOUR})
    for _ in range(3):
        desk.tell(*GOOD)
    for order, event in ((1, "unknown"), (2, "expired"), (1, "accepted"), (3, "unknown"), (4, "expired"), (6, "expired")):
        desk.report(order, event)
    assert states(desk) == []
    desk.report(5, "unknown")
    assert states(desk) == [("open", "unknown")]
    rest(desk)
    assert desk.tell(*GOOD) == ["refuse breaker_open"]
    again = desk.drained("breakers")[-1]
    assert (again["reason"], again["previous"], again["trips"], again["until"]) == ("unknown", "open", 1, again["ts"] + PAUSE)
    assert numbers(again) == (2, 1)
    for order in (3, 5):
        desk.report(order, "expired")
    rest(desk)
    assert len(desk.tell(*GOOD)) == 2


def test_an_order_that_never_arrived_failed_once() -> None:
    """It was of unknown fate already: the proof that it is not there is no reject, and no answer that proves anything."""
    desk = guarded(rejects=1, errors=2, clock_offset_ns=100, policy={"timeout_ns": HOUR})
    desk.tell(*GOOD)
    for order, event in ((1, "unknown"), (2, "expired"), (1, "rejected")):
        desk.report(order, event)
    assert states(desk) == []
    trade(desk, a="rejected")
    assert states(desk) == [("open", "rejects")]


@pytest.mark.parametrize("event", ["rejected", "not_sent"])
@pytest.mark.parametrize("reason", sorted(KEY_REFUSALS))
def test_a_key_that_is_refused_opens_it_at_once_until_a_person_resets_it(event: str, reason: str) -> None:
    """Whatever is counted, and whatever it was open for; another refusal is not the key's."""
    desk = guarded(rejects=9)
    trade(desk, a="rejected")
    assert len(desk.tell(*GOOD)) == 2
    buy, sell = last(desk)
    desk.report(buy, event, reason=reason)
    [row] = desk.drained("breakers")
    assert (row["venue"], row["state"], row["reason"], row["until"]) == ("a", "open", "key_refused", None)
    desk.report(sell, "expired", reason="insufficient_funds")
    rest(desk, HOUR)
    assert desk.tell(*GOOD) == ["refuse breaker_open"]
    assert states(desk, "b") == []


def test_a_lack_of_money_opens_it_at_once_for_a_pause() -> None:
    """Whatever is counted: the first such order, of any purpose; one that was not sent or expired for it says nothing."""
    desk = guarded(rejects=9, errors=0)
    desk.tell(*GOOD)
    desk.report(1, "expired", reason="insufficient_funds")
    desk.report(2, "not_sent", reason="insufficient_funds")
    assert states(desk) == []
    desk.tell(*GOOD)
    buy, sell = last(desk)
    desk.fill(buy, 101, 5)
    desk.report(sell, "rejected", reason="insufficient_funds")
    [row] = desk.drained("breakers")
    assert (row["venue"], row["state"], row["reason"], row["until"] - row["ts"]) == ("b", "open", "insufficient_funds", PAUSE)


def test_a_key_that_is_refused_while_it_is_open_waits_for_a_person() -> None:
    """It is told once, and no probe is let through."""
    desk = guarded(rejects=1, policy={"timeout_ns": HOUR})
    for _ in range(3):
        desk.tell(*GOOD)
    for order, event in ((1, "unknown"), (2, "expired"), (3, "unknown"), (4, "expired"), (5, "rejected"), (6, "expired")):
        desk.report(order, event)
    for order in (1, 3):
        desk.report(order, "rejected", reason="authentication_error")
    assert states(desk) == [("open", "rejects"), ("open", "key_refused")]
    rest(desk, HOUR)
    assert desk.tell(*GOOD) == ["refuse breaker_open"]


def test_silence_is_of_unknown_fate() -> None:
    """An order that timed out is UNKNOWN without a report of it."""
    desk = guarded(unknown=1)
    desk.tell(*GOOD)
    desk.report(2, "expired")
    rest(desk, 2 * NANOS_PER_S)
    assert states(desk) == [("open", "unknown")]
    assert states(desk, "b") == []


def test_slow_answers_open_it() -> None:
    """Of the last twenty the slowest tenth may be slow: the third slow one opens it, with the ninth decile."""
    bound = 50 * NANOS_PER_MS
    desk = guarded(ack_ns=bound)
    for number in range(22):
        desk.quote(1)
        trade(desk, after=bound + 1 if number in (3, 4) else bound)
    assert states(desk) == []
    trade(desk, after=bound + 7)
    assert states(desk) == [("open", "ack_latency")]
    row = desk.drained("breakers")[-1]
    assert (row["value"], row["bound"]) == ((bound + 1) * 10**9, bound * 10**9)


def test_a_clock_that_is_off_opens_it_at_the_reading() -> None:
    """Either way; the next readings decide whether the pause is the last."""
    desk = guarded(clock_offset_ns=100)
    for value in (100, -100):
        desk.slow("health", {"venue": "a", "metric": "clock_offset_ns", "value": value, "detail": None})
    desk.slow("health", {"venue": None, "metric": "clock_offset_ns", "value": 10**9, "detail": None})
    desk.slow("health", {"venue": "a", "metric": "disk_free", "value": 10**9, "detail": None})
    assert states(desk) == []
    desk.slow("health", {"venue": "a", "metric": "clock_offset_ns", "value": -101, "detail": None})
    [row] = desk.drained("breakers")
    assert (row["reason"], row["value"], row["bound"]) == ("clock_offset", 101 * 10**9, 100 * 10**9)
    rest(desk)
    assert desk.tell(*GOOD) == ["refuse breaker_open"]
    desk.slow("health", {"venue": "a", "metric": "clock_offset_ns", "value": 3, "detail": None})
    rest(desk)
    assert len(desk.tell(*GOOD)) == 2
    assert [state for state, _ in states(desk)] == ["open", "open", "half_open"]


def test_bad_feeds_open_it_when_a_bundle_asks() -> None:
    """The mean score of what may be traded on the venue lies below the bound."""
    desk = guarded(feed_score=1000)
    assert len(desk.tell(*GOOD)) == 2
    desk = guarded(feed_score=1001)
    assert states(desk) == []
    assert desk.tell(*GOOD) == ["refuse breaker_open"]
    assert states(desk) == [("open", "feed_score")]
    assert numbers(desk.drained("breakers")[0]) == (1000, 1001)


def test_a_probe_that_is_answered_closes_it() -> None:
    """After the pause one bundle goes at a time; once it ended with an answer all may."""
    desk = guarded(rejects=1)
    trade(desk, a="rejected")
    rest(desk, PAUSE - 10 * NANOS_PER_MS)
    assert desk.tell(*GOOD) == ["refuse breaker_open"]
    rest(desk, 10 * NANOS_PER_MS)
    assert len(desk.tell(*GOOD)) == 2
    buy, sell = last(desk)
    assert desk.tell(*GOOD) == ["refuse breaker_probing"]
    assert numbers(desk.drained("refusals")[-1]) == (2, 1)
    desk.fill(buy, 101, 5)
    assert desk.tell(*GOOD) == ["refuse breaker_probing"]
    desk.fill(sell, 100, 5)
    assert states(desk) == [("open", "rejects"), ("half_open", "rejects"), ("closed", "rejects")]
    assert len(desk.tell(*GOOD)) == 2
    assert len(desk.tell(*GOOD)) == 2


@pytest.mark.parametrize("event", ["rejected", "not_sent", "unknown"])
def test_a_probe_that_fails_opens_it_for_twice_as_long(event: str) -> None:
    """Up to the longest pause; a success begins with the first pause again."""
    desk = guarded(rejects=1, policy={"timeout_ns": HOUR})
    trade(desk, a="rejected")
    for pause in (20, 25, 25):
        rest(desk, 60 * NANOS_PER_S)
        trade(desk, a=event)
        row = desk.drained("breakers")[-1]
        assert (row["state"], row["previous"], row["reason"]) == ("open", "half_open", f"probe_{event}")
        assert row["until"] - row["ts"] == pause * NANOS_PER_S
    rest(desk, 60 * NANOS_PER_S)
    trade(desk)
    trade(desk, a="rejected")
    row = desk.drained("breakers")[-1]
    assert (row["until"] - row["ts"], row["trips"]) == (PAUSE, 1)


def test_a_probe_that_is_slow_fails() -> None:
    """One answer beyond the bound is enough."""
    desk = guarded(rejects=1, ack_ns=50 * NANOS_PER_MS)
    trade(desk, a="rejected")
    rest(desk)
    trade(desk, after=51 * NANOS_PER_MS)
    assert states(desk)[-1] == ("open", "probe_slow")


def test_a_probe_whose_order_never_left_proves_nothing() -> None:
    """The hard leg missed, so that nothing went to the venue: another one is tried, without a pause."""
    desk = guarded(rejects=1)
    trade(desk, a="rejected")
    rest(desk)
    assert desk.tell("sell b 100 5", "buy a 101 5", sequence="hard_leg_first") == ["open 3 sell b 100 5"]
    desk.report(3, "expired")
    assert states(desk)[-1] == ("half_open", "rejects")
    trade(desk)
    assert states(desk)[-1] == ("closed", "rejects")


def test_the_size_of_a_probe_may_be_bounded() -> None:
    """Each leg in its quote currency; the strategy is told beforehand."""
    desk = guarded(rejects=1, probe=money(500))
    assert desk.engine.execution.entry(desk.told["s"], "a") == Entry("free")
    trade(desk, a="rejected")
    assert desk.engine.execution.entry(desk.told["s"], "a") == Entry("none")
    assert desk.engine.execution.entry(desk.told["s"], "b") == Entry("free")
    rest(desk)
    assert desk.engine.execution.entry(desk.told["s"], "a") == Entry("probe", money(500))
    assert desk.tell(*GOOD) == ["refuse breaker_probe"]
    assert numbers(desk.drained("refusals")[-1]) == (505, 500)
    assert len(desk.tell("buy a 101 4", "sell b 100 4")) == 2
    assert desk.engine.execution.entry(desk.told["s"], "a") == Entry("none")


def test_flattening_and_cancels_go_on_while_it_is_open() -> None:
    """The naked leg is undone on the venue that was closed, whose answers then count for nothing."""
    desk = guarded(rejects=1)
    desk.tell(*GOOD)
    desk.tell("buy a 101 3", "sell b 100 3")
    desk.report(3, "rejected")
    assert states(desk) == [("open", "rejects")]
    assert desk.report(2, "expired") == []
    assert desk.fill(1, 101, 5) == ["hedge 5 sell b 100 5"]
    desk.report(5, "expired")
    assert desk.engine.execution.cancel_all()
    desk.report(4, "expired")
    assert states(desk) == [("open", "rejects")]


def held(desk: Desk) -> None:
    """A bundle whose naked leg nobody takes."""
    desk.tell(*GOOD)
    buy, sell = last(desk)
    desk.report(sell, "expired")
    desk.quote(0, 50, 51)
    desk.quote(1, 50, 51)
    desk.fill(buy, 101, 5)
    rest(desk, 5 * NANOS_PER_S)


def test_a_residual_that_is_held_opens_its_venues_for_good() -> None:
    """No pause ends it, and the row says how much was left."""
    desk = guarded("abc")
    held(desk)
    rows = desk.drained("breakers")
    assert [(row["venue"], row["reason"], row["until"], row["bound"]) for row in rows] == [
        ("a", "residual_held", None, None),
        ("b", "residual_held", None, None),
    ]
    assert {row["value"] for row in rows} == {money(5)}
    rest(desk, HOUR)
    assert desk.tell("buy a 51 5", "sell b 50 5") == ["refuse breaker_open"]
    assert desk.drained("refusals")[-1]["value"] is None
    assert desk.engine.execution.entry(desk.told["s"], "a") == Entry("none")


def test_a_time_to_live_that_is_over_escalates_too() -> None:
    """Whatever tries are left."""
    desk = guarded(policy={"max_attempts": 1000, "residual_ttl_ns": NANOS_PER_S})
    held(desk)
    assert states(desk) == [("open", "residual_held")]


def test_what_a_person_wants_held_escalates_nothing() -> None:
    """The policy hold, a kill, dust, or the rule switched off."""
    for desk in (guarded(policy={"residual": "hold"}), guarded(residual_held=False)):
        held(desk)
        assert desk.bundle.state == "held"
        assert states(desk) == []
    desk = guarded()
    desk.tell(*GOOD)
    desk.report(2, "expired")
    desk.engine.execution.kill("cancel")
    desk.fill(1, 101, 5)
    assert desk.drained("refusals")[-1]["reason"] == "killed"
    assert states(desk) == []


def test_a_pause_gives_way_to_a_held_residual() -> None:
    """Once only, and no later trip makes it a pause again."""
    desk = guarded(rejects=1, clock_offset_ns=100)
    desk.tell("buy a 101 3", "sell b 100 3")
    desk.tell(*GOOD)
    desk.report(1, "rejected")
    desk.report(2, "expired")
    desk.report(4, "expired")
    desk.quote(0, 50, 51)
    desk.quote(1, 50, 51)
    desk.fill(3, 101, 5)
    rest(desk, 5 * NANOS_PER_S)
    desk.slow("health", {"venue": "a", "metric": "clock_offset_ns", "value": 101, "detail": None})
    assert states(desk) == [("open", "rejects"), ("open", "residual_held")]


def test_a_start_opens_with_those_that_were_open() -> None:
    """A pause goes on, a person's word is waited for, a venue that is traded no more is passed over; rows say so."""
    broken: dict[str, Any] = {"account": "main", "reason": "errors", "trips": 2}
    desk = guarded(
        "abc",
        opening=(
            Broken(venue="a", state="open", until=PAUSE, **broken),
            Broken(venue="b", state="open", until=None, **broken),
            Broken(venue="c", state="half_open", until=None, **broken),
            Broken(venue="d", state="open", until=None, **broken),
        ),
        rejects=1,
        policy={"timeout_ns": 2 * HOUR},
    )
    opened = [(row["venue"], row["state"], row["previous"], row["until"], row["trips"]) for row in desk.drained("breakers")]
    assert opened == [("a", "open", "open", PAUSE, 2), ("b", "open", "open", None, 2), ("c", "half_open", "half_open", None, 2)]
    assert desk.tell("buy a 101 5", "sell c 100 5") == ["refuse breaker_open"]
    desk.quote(2, ts=PAUSE)
    desk.quote(0, ts=PAUSE)
    assert len(desk.tell("buy a 101 5", "sell c 100 5")) == 2
    desk.report(1, "rejected")
    assert states(desk)[-1] == ("open", "probe_rejected")
    assert desk.drained("breakers")[-1]["until"] == desk.now + 25 * NANOS_PER_S
    for number in range(3):
        desk.quote(number, ts=desk.now + (HOUR if number == 0 else 0))
    assert desk.tell("buy c 101 5", "sell b 100 5") == ["refuse breaker_probing"]
    desk.report(2, "expired")
    assert states(desk, "c")[-1] == ("closed", "errors")
    assert desk.tell("buy c 101 5", "sell b 100 5") == ["refuse breaker_open"]


def test_accounts_have_breakers_of_their_own() -> None:
    """What fails for one does not stop the other."""
    desk, rows = guarded(), list[tuple[str, tuple[Any, ...]]]()
    desk.tell(*GOOD)
    limits = dict.fromkeys("ab", breaker_limits(clock_offset_ns=100))
    feeds = {(account, venue): [0] for account in ("main", "other") for venue in "ab"}
    both = Breakers(desk.engine.market, limits, feeds, opening=(), emit=lambda kind, row: rows.append((kind, row)))
    both.escalate(desk.bundle.legs, "main", money(5))
    assert [(account, venue) for _, (account, venue, *_) in rows] == [("main", "a"), ("main", "b")]
    assert (both.entry("main", "a").way, both.entry("other", "a").way) == ("none", "free")
    both.note({"venue": "a", "metric": "clock_offset_ns", "value": 101, "detail": None})
    assert [(account, venue) for _, (account, venue, *_) in rows[2:]] == [("other", "a")]


def test_the_table_names_all_states() -> None:
    """Nothing leads out of the states of the rows."""
    assert {state for state, _ in BREAKER_LIFE} | set(BREAKER_LIFE.values()) == set(BREAKER_STATES)


def test_what_one_probe_proved_does_not_count_for_the_next() -> None:
    """Its first leg was answered, then it failed; the one after it sends nothing there, and closes nothing."""
    desk = guarded(rejects=1, policy={"timeout_ns": HOUR})
    trade(desk, a="rejected")
    rest(desk)
    desk.tell(*GOOD)
    buy, sell = last(desk)
    desk.report(buy, "accepted")
    desk.report(buy, "unknown")
    desk.report(buy, "expired")
    desk.report(sell, "expired")
    assert states(desk)[-1] == ("open", "probe_unknown")
    rest(desk, 2 * PAUSE)
    desk.tell("sell b 100 5", "buy a 101 5", sequence="hard_leg_first")
    desk.report(last(desk)[1], "expired")
    assert states(desk)[-1][0] == "half_open"


def test_orders_of_other_bundles_prove_nothing() -> None:
    """One that was sent before the trip is answered while a probe is under way that sent nothing there."""
    desk = guarded(rejects=1, policy={"timeout_ns": HOUR})
    desk.tell("buy a 101 3", "sell b 100 3")
    trade(desk, a="rejected")
    rest(desk)
    desk.tell("sell b 100 5", "buy a 101 5", sequence="hard_leg_first")
    desk.report(1, "expired")
    desk.report(last(desk)[1], "expired")
    assert states(desk)[-1] == ("half_open", "rejects")


@pytest.mark.parametrize("event", ["rejected", "unknown"])
def test_what_fails_while_it_is_open_counts_for_nothing(event: str) -> None:
    """After a probe has closed it the count begins anew."""
    desk = guarded(errors=2, error_recovery_ns=HOUR, policy={"timeout_ns": HOUR})
    for size in (3, 4):
        desk.tell(f"buy a 101 {size}", f"sell b 100 {size}")
    trade(desk, a="rejected")
    trade(desk, a="rejected")
    assert states(desk) == [("open", "errors")]
    for order in (1, 3):
        desk.report(order, event)
        desk.report(order, "rejected")
        desk.report(order + 1, "expired")
    rest(desk)
    trade(desk)
    assert states(desk)[-1] == ("closed", "errors")
    trade(desk, a="rejected")
    assert states(desk)[-1] == ("closed", "errors")


def test_a_second_residual_says_nothing_new() -> None:
    """A breaker that waits for a person waits already."""
    desk = guarded()
    desk.tell("buy a 101 3", "sell b 100 3")
    held(desk)
    before = len(desk.drained("breakers"))
    desk.report(2, "expired")
    for number in range(2):
        desk.quote(number, 50, 51)
    desk.fill(1, 101, 3)
    rest(desk, 5 * NANOS_PER_S)
    assert desk.engine.execution.order(1).bundle.state == "held"
    assert len(desk.drained("breakers")) == before == 2


def test_the_first_pause_is_never_shortened() -> None:
    """A longest pause below it means that pauses do not grow."""
    desk = guarded(rejects=1, max_pause_ns=1)
    trade(desk, a="rejected")
    row = desk.drained("breakers")[-1]
    assert row["until"] - row["ts"] == PAUSE


def test_a_copy_knows_the_clocks() -> None:
    """What is restored stays open beyond its pause for a clock that was off."""
    desk = guarded(clock_offset_ns=100)
    desk.slow("health", {"venue": "a", "metric": "clock_offset_ns", "value": 101, "detail": None})
    again = guarded(clock_offset_ns=100)
    again.engine.execution._risk.breakers.restore(desk.engine.execution._risk.breakers.capture())
    rest(again, 2 * PAUSE)
    assert again.tell(*GOOD) == ["refuse breaker_open"]
    assert states(again)[-1] == ("open", "clock_offset")


def test_what_is_told_again_counts_once() -> None:
    """A reject that is repeated, and a fill that comes after the end, neither add to a streak nor end it."""
    desk = guarded(rejects=2)
    trade(desk)
    filled = last(desk)[0]
    trade(desk, a="rejected")
    desk.report(last(desk)[0], "rejected")
    desk.report(filled, "accepted")
    assert states(desk) == []
    trade(desk, a="rejected")
    assert states(desk) == [("open", "rejects")]
