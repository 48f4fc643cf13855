"""When somebody is told, rule by rule: just beyond each bound, not at it; and how often."""

from __future__ import annotations

import ast
import inspect
from decimal import Decimal
from typing import Any, get_args

import pytest

import xarb.watch.rules
from xarb.config.watch import Rule, WatchConfig
from xarb.log.follow import News as LogNews
from xarb.model.units import MONEY_ONE, NANOS_PER_S
from xarb.watch.exposition import exposition
from xarb.watch.rules import Condition, News, Place, conditions
from xarb.watch.state import Watched

NOW = 1_700_000_000 * NANOS_PER_S
S = NANOS_PER_S
HERE = Place(now=NOW, claimed=True, claimed_at=NOW - 3600 * S, is_sealed=False, disk_free=10**13)
START = {
    "number": 1,
    "mode": "paper",
    "ts_recv": NOW - 1000 * S,
    "config": '{"run":{"currencies":["USDT"]}}',
}
ARM = {"action": "arm", "actor": "start", "ts_recv": NOW - 999 * S, "detail": None}
BTC = {"venue": "alpha", "symbol": "BTC/USDT", "base": "BTC", "quote": "USDT"}


def state(*rows: tuple[str, dict[str, Any]], last_ts: int = NOW, bounded: tuple[str, ...] = ()) -> Watched:
    """What is known after an armed start and these rows."""
    made = Watched(bounded)
    found: list[tuple[str, dict[str, Any]]] = [("instruments", BTC), ("starts", START), ("operator", ARM), *rows]
    made.take(LogNews(rows=found, counts={}, heard={}, mids={}, last_ts=last_ts))
    return made


def rules(made: Watched, place: Place = HERE, **config: Any) -> list[tuple[str, str]]:
    """The rules that hold, and what about."""
    return [(one.rule, one.subject) for one in conditions(made, place, WatchConfig(**config))]


def connection(event: str, ts: int, conn: int = 7) -> tuple[str, dict[str, Any]]:
    """A row of connections."""
    return "connections", {"ts_recv": ts, "venue": "alpha", "conn": conn, "symbol": None, "event": event}


def health(metric: str, value: int, venue: str | None = None, ts: int = NOW) -> tuple[str, dict[str, Any]]:
    """A row of health."""
    return "health", {"ts_recv": ts, "venue": venue, "metric": metric, "value": value, "detail": "no space"}


def order(state_: str, previous: str | None, ts: int = NOW, number: int = 1) -> tuple[str, dict[str, Any]]:
    """A row of orders."""
    return "orders", {"ts": ts, "order": number, "bundle": 1, "state": state_, "previous": previous}


def ledger(asset: str, delta: int, ts: int = NOW) -> tuple[str, dict[str, Any]]:
    """A change by a trade, in whole units."""
    place = {"account": "main", "venue": "binance", "asset": asset, "balance": 0}
    return "ledger", place | {"ts": ts, "delta": delta * MONEY_ONE, "cause": "trade"}


def test_all_is_well() -> None:
    """An armed start with a row of this second, nothing lost: nothing is said."""
    assert rules(state(connection("opened", NOW - 900 * S))) == []


def test_a_lost_connection_is_told_after_its_time() -> None:
    """`feed_down_s`: beyond it, while it lasts; a connection of an earlier process counts no more."""
    lost = state(connection("opened", NOW - 900 * S), connection("lost", NOW - 31 * S))
    assert rules(lost) == [("feed_down", "alpha 7")]
    assert rules(lost, feed_down_s=31) == []
    assert rules(lost, HERE._replace(claimed_at=NOW - 800 * S)) == []
    back = state(connection("opened", NOW - 900 * S), connection("lost", NOW - 60 * S), connection("opened", NOW - 40 * S))
    assert rules(back) == []


def test_a_feed_that_may_not_be_traded_is_told() -> None:
    """The engine's word: not tradable for so long, whatever the states in between are called."""
    down = {"ts": NOW - 40 * S, "venue": "alpha", "symbol": "BTC/USDT", "state": "stale", "tradable": False}
    made = state(("feed_states", down), ("feed_states", down | {"ts": NOW - 5 * S, "state": "gapped"}))
    (found,) = conditions(made, HERE, WatchConfig())
    assert (found.rule, found.subject) == ("feed_down", "BTC/USDT@alpha")
    assert "gapped" in found.text
    assert rules(made, feed_down_s=40) == []
    up = down | {"ts": NOW, "state": "live", "tradable": True}
    assert rules(state(("feed_states", down), ("feed_states", up))) == []


@pytest.mark.parametrize(
    ("rule", "key", "row"),
    [
        ("gaps", "gaps_per_min", connection("gap", NOW - S)),
        ("rejects", "rejects_per_min", ("rejects", {"venue": "alpha", "ts_recv": NOW - S})),
        ("order_rejects", "order_rejects_per_min", order("rejected", "pending", NOW - S)),
    ],
)
def test_storms_are_counted_over_a_minute(rule: str, key: str, row: tuple[str, dict[str, Any]]) -> None:
    """At the bound, not below it, not when it is older than a minute; 0 switches the rule off."""
    five = state(*[row] * 5)
    assert rules(five, HERE, **{key: 5}) == [(rule, "")]
    assert rules(five, HERE, **{key: 6}) == []
    assert rules(five, HERE, **{key: 0}) == []
    assert rules(five, HERE._replace(now=NOW + 60 * S), **{key: 5, "silent_s": 1000}) == []


def test_an_order_of_unknown_fate_is_told_until_it_is_known() -> None:
    """By its number."""
    assert rules(state(order("pending", None), order("unknown", "pending"))) == [("order_unknown", "")]
    assert rules(state(order("pending", None), order("unknown", "pending"), order("filled", "unknown"))) == []


def test_an_order_is_counted_once_in_each_state() -> None:
    """A second partial fill is no other state."""
    made = state(order("accepted", "pending"), order("partially_filled", "accepted"), order("partially_filled", "partially_filled"))
    assert made.trading.orders == {"accepted": 1, "partially_filled": 1}
    assert made.trading.open_bundles == 1


def test_money_lost_is_told_by_currency() -> None:
    """`day_loss` and `drawdown`: beyond the bound; a gain is none."""
    lost = state(ledger("USDT", -100))
    assert rules(lost, day_loss={"USDT": Decimal("99.9")}) == [("day_loss", "USDT")]
    assert rules(lost, day_loss={"USDT": Decimal(100)}) == []
    assert rules(lost, drawdown={"USDT": Decimal(99)}) == [("drawdown", "USDT")]
    assert rules(lost, drawdown={"USDT": Decimal(100)}) == []
    assert rules(state(ledger("USDT", 100)), day_loss={"USDT": Decimal(1)}, drawdown={"USDT": Decimal(1)}) == []


def test_the_day_ends_at_midnight_and_goes_on_over_starts() -> None:
    """What was lost before midnight UTC is not the day's; what was lost in a start before is."""
    midnight = NOW // (86_400 * S) * 86_400 * S
    before = ledger("USDT", -50, midnight - 1)
    assert rules(state(before), day_loss={"USDT": Decimal(1)}) == []
    over = state(ledger("USDT", -50, NOW - 2), ("starts", START | {"number": 2}), ("operator", ARM))
    assert rules(over, day_loss={"USDT": Decimal(49)}) == [("day_loss", "USDT")]
    assert rules(over, drawdown={"USDT": Decimal(49)}) == []


def test_a_loss_that_cannot_be_valued_is_told_too() -> None:
    """An asset without a price: the day's result is unknown, and unknown is not zero."""
    for rule in ("day_loss", "drawdown"):
        bound: dict[str, Any] = {rule: {"USDT": Decimal(5)}}
        (found,) = conditions(state(ledger("BNB", -1)), HERE, WatchConfig(**bound))
        assert (found.rule, found.subject) == (rule, "USDT")
        assert "unknown" in found.text


def test_a_bound_in_a_currency_that_nothing_is_stated_in_binds_or_is_told() -> None:
    """Before anything changed nothing is lost in it; a change that has no price in it is told; one that has a price is bounded."""
    bounds: dict[str, Any] = {rule: {"EUR": Decimal(5)} for rule in ("day_loss", "drawdown")}
    assert rules(state(), HERE, **bounds) == []
    assert rules(state(ledger("USDT", -1)), HERE, **bounds) == [("drawdown", "EUR"), ("day_loss", "EUR")]
    made = state(ledger("EUR", -6), bounded=("EUR",))
    assert rules(made, HERE, **bounds) == [("drawdown", "EUR"), ("day_loss", "EUR")]
    assert " 6" in conditions(made, HERE, WatchConfig(**bounds))[0].text


def test_the_peak_is_found_in_one_look_or_in_many() -> None:
    """A gain and a fall that came between two looks: the fall is told; what changes at one moment is one change."""
    steps = [ledger("USDT", 50, NOW - 3), ledger("USDT", -49, NOW - 2), ledger("USDT", -30, NOW - 1), ledger("USDT", 20, NOW - 1)]
    many = state()
    for step in steps[:2], steps[2:]:
        many.take(LogNews(rows=list(step), counts={}, heard={}, mids={}, last_ts=NOW))
    for made in (state(*steps), many):
        assert made.course.drawdown == {"USDT": 59 * MONEY_ONE}
    apart = state(ledger("USDT", 50, NOW - 3), ledger("BNB", 1, NOW - 2), ledger("USDT", -50, NOW - 2))
    assert apart.course.drawdown == {}


def test_a_drawdown_that_becomes_unknown_is_no_longer_the_old_one() -> None:
    """Neither the alert nor the metric goes on with a figure of before."""
    made = state(ledger("USDT", -10, NOW - 2), ledger("BNB", 1, NOW - 1))
    (found,) = conditions(made, HERE, WatchConfig(drawdown={"USDT": Decimal(5)}))
    assert "unknown" in found.text
    assert "xarb_trading_drawdown{" not in exposition(made, HERE)


def test_the_machine_is_looked_at() -> None:
    """`disk_mb`, `clock_offset_ms`, seals; readings of an earlier process do not count."""
    assert rules(state(), HERE._replace(disk_free=2_999_000_000)) == [("disk_low", "")]
    assert rules(state(), HERE._replace(disk_free=2_999_000_000), disk_mb=2999) == []
    assert rules(state(health("clock_offset_ns", -51_000_000, "alpha"))) == [("clock_offset", "alpha")]
    assert rules(state(health("clock_offset_ns", -51_000_000, "alpha")), clock_offset_ms=51) == []
    assert rules(state(health("seal_failed", 1))) == [("seal_failed", "")]
    assert rules(state(health("seal_failed", 1), health("seal_failed", 0))) == []
    assert rules(state(health("seal_failed", 1, ts=NOW - 4000 * S))) == []


def test_what_went_astray_at_an_exchange_is_told_for_a_minute() -> None:
    """A reconciliation that failed and an order that lives after its end, each with the venue; a minute later it is no news."""
    made = state(health("reconcile_failed", 2, "alpha", NOW - 59 * S), health("order_after_end", 1, "bravo", NOW - 61 * S))
    (found,) = conditions(made, HERE, WatchConfig())
    assert (found.rule, found.subject, found.text) == ("astray", "reconcile_failed alpha", "reconcile_failed 2: no space")
    assert rules(made, HERE._replace(now=NOW + 2 * S)) == []
    assert rules(state(health("watchdog_gone", 1, ts=NOW))) == [("astray", "watchdog_gone")]
    assert rules(state(health("order_unproven", 1, ts=NOW))) == [("astray", "order_unproven")]


def test_a_process_that_hangs_one_that_died_and_one_that_ended() -> None:
    """`silent_s` while it lives; gone with an open journal is dead, with everything sealed and ended in order it is stopped."""
    quiet = state(last_ts=NOW - 31 * S)
    assert rules(quiet) == [("silent", "")]
    assert rules(quiet, silent_s=31) == []
    gone = HERE._replace(claimed=False)
    assert rules(quiet, gone) == [("dead", "")]
    ended = state(
        ("operator", {"action": "ended", "actor": "session", "ts_recv": NOW - 31 * S, "detail": None}), last_ts=NOW - 31 * S
    )
    assert rules(ended, gone._replace(is_sealed=True)) == [("stopped", "")]
    assert rules(ended, gone) == [("dead", "")]
    assert rules(state(), gone) == []  # it wrote a moment ago: who looks from another namespace sees no process
    assert rules(state(), HERE._replace(trouble="damaged")) == [("unreadable", "")]


def test_a_start_that_died_is_told_while_others_write_on() -> None:
    """`unarmed_s` after somebody else went on with its log: nothing trades there; an ended start is no trouble."""
    for action, told in (("left_off", [("disarmed", "")]), ("ended", [])):
        act = {"action": action, "actor": "process 7", "ts_recv": NOW - 121 * S, "detail": "the process before it died"}
        made = state(("operator", act))
        assert rules(made) == told
        assert rules(made, unarmed_s=121) == []


def test_every_rule_of_the_config_is_told() -> None:
    """Each word that `on` takes stands in the rules; that these tell no other one is seen by the type checker."""
    words = {node.value for node in ast.walk(ast.parse(inspect.getsource(xarb.watch.rules))) if isinstance(node, ast.Constant)}
    assert set(get_args(Rule)) <= words


def test_messages_come_once_again_and_at_the_end() -> None:
    """When it begins, every `repeat_s` while it lasts, when it is over; then it may begin anew."""
    news, one = News(60), Condition("gaps", "", "20 gaps")
    told = {at: news.look(at * S, [one] if at < 130 else []) for at in range(0, 200, 10)}
    assert [at for at, found in told.items() if found and not found[0].is_over] == [0, 60, 120]
    assert [at for at, found in told.items() if found and found[0].is_over] == [130]
    assert [found.text for found in news.look(300 * S, [one])] == ["20 gaps"]


def test_what_comes_and_goes_is_counted_not_repeated() -> None:
    """Ten times within `repeat_s`: told once, then with the count, and no end of what was not told."""
    news, one = News(60), Condition("feed_down", "alpha 7", "lost")
    notices = [notice for at in range(20) for notice in news.look(at * S, [one] if at % 2 == 0 else [])]
    assert [(notice.is_over, notice.times) for notice in notices] == [(False, 1), (True, 1)]
    (again,) = news.look(61 * S, [one])
    assert again.times == 10


def test_different_things_are_told_apart() -> None:
    """Two connections: each has its own message."""
    news = News(60)
    found = [Condition("feed_down", f"alpha {n}", "lost") for n in (1, 2)]
    assert len(news.look(0, found)) == 2
    assert [notice.subject for notice in news.look(S, found[:1])] == ["alpha 2"]


def test_thousands_at_once_are_a_few_messages() -> None:
    """Many of one rule in one look are one, with how many and the first of them; up to ten go out alone; others are as they were."""
    news = News(60)
    feeds = [Condition("feed_down", f"alpha {n}", "lost") for n in range(4_000)]
    found = news.look(0, [Condition("killed", "", "by ann"), *feeds])
    assert [(one.rule, one.is_over) for one in found] == [("killed", False), ("feed_down", False)]
    assert found[1].text == "4000 at once: alpha 0: lost; alpha 1: lost; alpha 2: lost; and 3997 more"
    over = news.look(S, feeds[:10])
    assert [(one.rule, one.is_over) for one in over] == [("killed", True), ("feed_down", True)]
    assert over[1].text.startswith("3990 at once")
    assert [one.subject for one in News(60).look(0, feeds[:10])] == [one.subject for one in feeds[:10]]


def breaker(state_: str, reason: str = "errors", until: int | None = NOW + S, venue: str = "alpha") -> tuple[str, dict[str, Any]]:
    """A row of breakers."""
    row = {"ts": NOW - S, "account": "main", "venue": venue, "state": state_, "previous": "closed", "reason": reason}
    return "breakers", {**row, "value": None, "bound": None, "until": until, "trips": 1}


def test_a_breaker_is_told_until_it_is_closed_again() -> None:
    """With its reason and its end, after the process has gone too; the next start tells anew what it opens with."""
    made = state(breaker("open"), breaker("open", "residual_held", None, "bravo"))
    assert rules(made) == [("breaker", "main alpha"), ("breaker", "main bravo")]
    texts = [one.text for one in conditions(made, HERE, WatchConfig())]
    assert "for errors, until 2023-11-14" in texts[0]
    assert "for residual_held, until xarb kill LOG --reset-breakers" in texts[1]
    gone = HERE._replace(claimed=False, now=NOW + 60 * S)
    assert [rule for rule, _ in rules(made, gone)].count("breaker") == 2
    assert 'xarb_breaker{account="main",venue="bravo"} 1' in exposition(made, HERE)
    half = state(breaker("open"), breaker("half_open", until=None))
    assert "gets one bundle at a time" in conditions(half, HERE, WatchConfig())[0].text
    assert 'xarb_breaker{account="main",venue="alpha"} 2' in exposition(half, HERE)
    closed = state(breaker("open"), breaker("closed", until=None))
    assert rules(closed) == []
    assert 'xarb_breaker{account="main",venue="alpha"} 0' in exposition(closed, HERE)
    again = state(breaker("open"), ("starts", START), ("operator", ARM))
    assert rules(again) == []
    reset = state(breaker("open"), ("operator", {"action": "reset_breakers", "actor": "ann", "ts_recv": NOW, "detail": None}))
    assert rules(reset) == []


def test_a_key_that_is_refused_is_told_by_a_name_of_its_own() -> None:
    """Until a person resets the breaker that it opened."""
    made = state(breaker("open"), breaker("open", "key_refused", None, "bravo"))
    assert rules(made) == [("breaker", "main alpha"), ("key_refused", "main bravo")]
    text = conditions(made, HERE, WatchConfig())[1].text
    assert "for key_refused, until xarb kill LOG --reset-breakers" in text


def test_a_kill_is_told_with_its_reason() -> None:
    """Where the row of the kill gives one behind its level."""
    texts = []
    for detail in ("entries: 3 BTC at alpha are not explained", "entries", None):
        row = {"action": "kill", "actor": "balances", "ts_recv": NOW, "detail": detail}
        texts += [one.text for one in conditions(state(("operator", row)), HERE, WatchConfig()) if one.rule == "killed"]
    assert ": 3 BTC at alpha are not explained; it takes" in texts[0]
    assert all("balances at" in text and "; it takes" in text for text in texts)
    assert texts[1] == texts[2]
