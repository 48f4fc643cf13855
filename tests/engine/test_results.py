"""What a strategy may lose in a day and below its peak: known after every bundle, beyond it nothing begins."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.defaults import execution_policy, feed_limits, risk_limits, strategy_terms
from tests.engine.desk import Desk, money
from tests.engine.table import instrument
from xarb.engine.results import Carried
from xarb.errors import ConfigError
from xarb.model.command import CancelOrder
from xarb.model.units import MONEY_ONE, NANOS_PER_S

DAY = 86_400 * NANOS_PER_S
GOOD = ("buy a 101 5", "sell b 100 5")


def limited(*, carried: dict[str, Any] | None = None, residual: str = "proceed", on_loss: str = "refuse", **limits: Any) -> Desk:
    """A desk whose strategy has these limits; `carried` is what an earlier start made in USD."""
    limits["on_loss"] = on_loss
    before = () if carried is None else (Carried(account="main", strategy="s", currency="USD", **carried),)
    terms = strategy_terms(limits=risk_limits(**limits), execution=execution_policy(residual=residual))
    return Desk(terms={"s": terms}, results=before)


def trade(desk: Desk, bought: int = 101, sold: int = 100) -> None:
    """A bundle of five at these prices."""
    assert len(desk.tell(*GOOD)) == 2, desk.rows[-1]
    buy = desk.engine.execution.orders - 1
    desk.fill(buy, bought, 5)
    desk.fill(buy + 1, sold, 5)


def results(desk: Desk) -> list[tuple[int, int, int]]:
    """(pnl, day_pnl, peak) so far, in whole units."""
    return [tuple(row[name] // MONEY_ONE for name in ("pnl", "day_pnl", "peak")) for row in desk.drained("results")]


def last(desk: Desk) -> tuple[int, int]:
    """Value and bound of the last refusal, in whole units."""
    row = desk.drained("refusals")[-1]
    return row["value"] // MONEY_ONE, row["bound"] // MONEY_ONE


def test_a_day_that_lost_too_much_is_over() -> None:
    """Profit counts against loss, the bound itself is allowed, beyond it nothing begins until the next UTC day; the rows say it."""
    desk = limited(max_day_loss={"USD": money(8)})
    trade(desk, 100, 101)
    trade(desk)
    trade(desk)
    trade(desk, 101, 99)
    assert results(desk) == [(5, 5, 5), (0, 0, 5), (-5, -5, 5), (-15, -15, 5)]
    assert desk.tell(*GOOD) == ["refuse day_loss"]
    assert last(desk) == (15, 8)
    for letter in range(2):
        desk.quote(letter, ts=DAY + letter)
    trade(desk)
    assert results(desk)[-1] == (-20, -5, 5)


def test_a_loss_after_midnight_counts_for_the_new_day() -> None:
    """A bundle of the evening whose fills come in the morning: the day began with the last result of the day before."""
    desk = limited(max_day_loss={"USD": money(5)})
    for letter in range(2):
        desk.quote(letter, ts=DAY - 9_000_000 + letter)
    trade(desk)
    assert len(desk.tell(*GOOD)) == 2
    for letter in range(2):
        desk.quote(letter, ts=DAY + letter)
    desk.fill(3, 101, 5)
    desk.fill(4, 99, 5)
    assert results(desk) == [(-5, -5, 0), (-15, -10, 0)]
    assert desk.tell(*GOOD) == ["refuse day_loss"]
    assert last(desk) == (10, 5)


def test_a_result_too_far_below_its_peak_stays_there() -> None:
    """Another day changes nothing."""
    desk = limited(max_drawdown={"USD": money(9)})
    trade(desk, 100, 101)
    trade(desk)
    trade(desk)
    assert desk.tell(*GOOD) == ["refuse drawdown"]
    assert last(desk) == (10, 9)
    for letter in range(2):
        desk.quote(letter, ts=DAY + letter)
    assert desk.tell(*GOOD) == ["refuse drawdown"]


def test_what_is_held_counts_at_what_it_could_be_sold_for() -> None:
    """A naked leg loses with the market, at the least bid of all venues, before anything else of it is sold."""
    desk = limited(residual="hold", max_day_loss={"USD": money(20)})
    desk.tell(*GOOD)
    desk.report(2, "expired")
    desk.fill(1, 101, 5)
    assert results(desk) == [(-5, -5, 0)]
    desk.quote(1, 97, 98)
    assert len(desk.tell(*GOOD)) == 2
    desk.quote(1, 96, 97)
    assert desk.tell(*GOOD) == ["refuse day_loss"]
    assert last(desk) == (25, 20)


@pytest.mark.parametrize("floor", [0, 1001])
def test_a_feed_that_is_not_tradable_values_nothing(floor: int) -> None:
    """A venue below its quality floor shows a bid at which nobody could sell for sure."""
    limits = risk_limits(max_day_loss={"USD": money(20)}, on_loss="refuse")
    feeds = feed_limits(liveness_ns=DAY, cache_ns=DAY, freeze_ns=0, outlier_floor_ppb=10**9, jump_ppb=0)
    desk = Desk(
        "abc",
        terms={"s": strategy_terms(limits=limits, execution=execution_policy(residual="hold"))},
        limits=[feeds, feeds, msgspec.structs.replace(feeds, quality_floor=floor)],
    )
    desk.tell(*GOOD)
    desk.report(2, "expired")
    desk.fill(1, 101, 5)
    desk.quote(2, 50, 51)
    assert desk.engine.market.feed(2).tradable == (floor == 0)
    assert (desk.tell(*GOOD) == ["refuse day_loss"]) == (floor == 0)


def test_what_is_owed_counts_at_what_it_would_cost() -> None:
    """A short is valued at the highest ask."""
    desk = limited(residual="hold", max_drawdown={"USD": money(20)})
    desk.tell(*GOOD)
    desk.report(1, "expired")
    desk.fill(2, 100, 5)
    assert results(desk) == [(-5, -5, 0)]
    desk.quote(1, 104, 105)
    assert desk.tell(*GOOD) == ["refuse drawdown"]
    assert last(desk) == (25, 20)


def test_an_order_in_flight_counts_as_far_as_it_is_filled() -> None:
    """The loss of a bundle that never ends stops the next one all the same."""
    desk = limited(max_day_loss={"USD": money(20)})
    desk.tell(*GOOD)
    desk.fill(1, 101, 5)
    desk.quote(1, 90, 91)
    assert desk.tell(*GOOD) == ["refuse day_loss"]


def test_a_loss_that_nobody_knows_stops_it() -> None:
    """A fee in a coin without a price: fails closed, and no row tells of a result."""
    desk = limited(max_day_loss={"USD": money(10**6)})
    desk.tell(*GOOD)
    desk.fill(1, 101, 5, fee=1, fee_asset="BNB")
    desk.fill(2, 100, 5)
    assert results(desk) == []
    assert desk.tell(*GOOD) == ["refuse loss_unknown"]


@pytest.mark.parametrize(
    ("carried", "reason"),
    [
        ({"flows": {"USD": -30 * MONEY_ONE}, "base": -30 * MONEY_ONE, "last": -30 * MONEY_ONE}, "drawdown"),
        ({"flows": {"USD": -30 * MONEY_ONE}, "base": -26 * MONEY_ONE, "last": -30 * MONEY_ONE, "peak": -20 * MONEY_ONE}, None),
        (
            {"flows": {"USD": -30 * MONEY_ONE}, "base": -24 * MONEY_ONE, "last": -30 * MONEY_ONE, "peak": -20 * MONEY_ONE},
            "day_loss",
        ),
        ({"flows": {"BTC": MONEY_ONE, "USD": -106 * MONEY_ONE}, "last": 0}, "day_loss"),
    ],
)
def test_what_earlier_starts_made_goes_on(carried: dict[str, Any], reason: str | None) -> None:
    """Day, peak and inventory of earlier starts count; the day is that of the engine's time."""
    desk = limited(carried=carried, max_day_loss={"USD": money(5)}, max_drawdown={"USD": money(20)})
    did = desk.tell(*GOOD)
    assert len(did) == 2 if reason is None else did == [f"refuse {reason}"]


def test_a_loss_ends_trading_for_all_strategies() -> None:
    """Where a bundle ends beyond the limit: a kill to `entries` with its row, for whoever asks, on the next day too; arming changes nothing."""
    terms = strategy_terms(limits=risk_limits(max_day_loss={"USD": money(8)}))
    desk = Desk(terms={"s": terms, "t": strategy_terms()})
    trade(desk)
    assert (desk.engine.execution.killed, desk.drained("refusals")) == (None, [])
    trade(desk)
    [row] = desk.drained("refusals")
    assert (row["reason"], row["strategy"], row["opportunity"]) == ("loss", "s", None)
    assert last(desk) == (10, 8)
    assert (desk.engine.execution.killed, desk.engine.execution.loss) == (
        "entries",
        "s is beyond its day_loss: 10, allowed are 8",
    )
    desk.slow("operator", {"action": "arm", "detail": None})
    for letter in range(2):
        desk.quote(letter, ts=DAY + letter)
    for name in "st":
        assert desk.tell(*GOOD, name=name) == ["refuse loss"]


def test_a_loss_of_what_is_open_kills_at_the_next_decision() -> None:
    """A naked leg whose market falls: known when somebody wants a bundle; what is open is flattened all the same."""
    desk = limited(on_loss="kill", max_day_loss={"USD": money(20)})
    desk.tell(*GOOD)
    desk.fill(1, 101, 5)
    desk.quote(1, 90, 91)
    assert desk.tell(*GOOD) == ["refuse loss", "refuse loss"]
    desk.quote(1, 100, 101)
    assert desk.report(2, "rejected") == ["hedge 3 sell b 100 5"]


def test_a_reset_takes_back_the_kill_and_not_the_loss() -> None:
    """A start after it on the same day refuses and kills no more; what is lost on top of a result that was within its limit kills again."""
    lost = {"flows": {"USD": -30 * MONEY_ONE}, "base": 0, "last": -30 * MONEY_ONE}
    desk = limited(on_loss="kill", carried=lost, max_day_loss={"USD": money(8)})
    assert desk.tell(*GOOD) == ["refuse day_loss"]
    assert desk.engine.execution.killed is None
    for letter in range(2):
        desk.quote(letter, ts=DAY + letter)
    trade(desk)
    assert desk.engine.execution.killed is None
    trade(desk)
    assert desk.drained("refusals")[-1]["reason"] == "loss"
    assert last(desk) == (10, 8)


def test_a_currency_that_nothing_trades_is_refused() -> None:
    """It would hold nobody to anything."""
    for name in ("max_day_loss", "max_drawdown"):
        with pytest.raises(ConfigError, match=f"{name} names EUR"):
            _ = limited(max_day_loss={"EUR": money(1)}) if name == "max_day_loss" else limited(max_drawdown={"EUR": money(1)})


def test_only_spot_prices_anything() -> None:
    """A perpetual of the same name is no place to sell what is held."""
    desk = Desk(
        "abc",
        instruments=[instrument("a"), instrument("b"), instrument("c", kind="perpetual")],
        terms={
            "s": strategy_terms(limits=risk_limits(max_day_loss={"USD": money(10)}), execution=execution_policy(residual="hold"))
        },
    )
    desk.quote(2, 1, 2)
    desk.tell(*GOOD)
    desk.report(2, "expired")
    desk.fill(1, 101, 5)
    assert results(desk) == [(-5, -5, 0)]


def test_a_kill_loses_no_command_that_was_decided_with_it() -> None:
    """A bundle that ends beyond the limit at the time at which another one's orders are canceled: the cancels leave all the same."""
    policy = execution_policy(timeout_ns=5_000_000_000, retry_ns=4_997_000_000, max_attempts=2)
    limits = risk_limits(on_loss="kill", max_day_loss={"USD": money(100)})
    desk = Desk(terms={"s": strategy_terms(limits=limits, execution=policy)})
    desk.tell(*GOOD)
    desk.tell(*GOOD)
    desk.report(4, "rejected")
    for letter in range(2):
        desk.quote(letter, 90, 91, ts=desk.now)
    desk.fill(3, 101, 5)
    desk.quote(0, 50, 51, ts=5_001_500_000)
    did = desk.quote(1, 50, 51, ts=6_000_000_000)
    assert desk.engine.execution.killed == "entries"
    assert [one for one in did if one.startswith("cancel")] == ["cancel 1", "cancel 2"]
    assert [one.order for one in desk.sent if isinstance(one, CancelOrder)] == [1, 2]
