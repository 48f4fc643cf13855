"""Budgets: in no window of the exchange arrives more than its limit, whatever a request's way takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xarb.errors import ConfigError
from xarb.model.units import NANOS_PER_S
from xarb.venues.budgets import SLACK_NS, Budget, Limit

ASKED = st.lists(
    st.tuples(st.integers(0, 3 * NANOS_PER_S), st.integers(1, 5), st.booleans(), st.integers(0, SLACK_NS - 1)), max_size=60
)


@given(asked=ASKED, limits=st.lists(st.builds(Limit, count=st.integers(6, 20), seconds=st.integers(1, 5)), min_size=1, max_size=3))
def test_no_window_of_the_exchange_sees_more_than_its_limit(asked: list[tuple[int, int, bool, int]], limits: list[Limit]) -> None:
    """Requests asked for at any times, each up to a second on its way: every window that ends at an arrival holds at most the limit."""
    budget, now = Budget(limits, reserve=100), 0
    arrivals: list[tuple[int, int]] = []
    for pause, units, urgent, way in asked:
        now += pause
        if units + max(limit.count * 100 // 1000 for limit in limits) > min(limit.count for limit in limits):
            continue
        if (wait := budget.wait(now, units, urgent=urgent)) > 0:
            if not urgent:
                continue
            now += wait
            assert budget.wait(now, units, urgent=True) == 0
        budget.spend(now, units)
        arrivals.append((now + way, units))
    for limit in limits:
        for end, _ in arrivals:
            begin = end - limit.seconds * NANOS_PER_S
            assert sum(units for at, units in arrivals if begin < at <= end) <= limit.count


def test_reserve_is_for_urgent_requests() -> None:
    """New orders leave the reserve alone; cancels and look-ups use it."""
    budget = Budget([Limit(count=10, seconds=10)], reserve=300)
    for now in range(7):
        assert budget.wait(now, 1) == 0
        budget.spend(now, 1)
    assert budget.wait(8, 1) > 0
    assert budget.wait(8, 1, urgent=True) == 0


def test_budget_frees_itself_with_time() -> None:
    """What `wait` says is exactly when it is allowed again."""
    budget = Budget([Limit(count=2, seconds=1)], reserve=0)
    budget.spend(0, 1)
    budget.spend(NANOS_PER_S // 2, 1)
    wait = budget.wait(NANOS_PER_S, 1)
    assert wait == SLACK_NS
    assert budget.wait(NANOS_PER_S + wait - 1, 1) == 1
    assert budget.wait(NANOS_PER_S + wait, 1) == 0


def test_what_the_exchange_states_is_believed() -> None:
    """Weight that others used at the same address counts, and a pause that the exchange asks for is kept."""
    budget = Budget([Limit(count=100, seconds=60)], reserve=0)
    budget.spend(0, 10)
    budget.stated(1, 90, 60)
    assert budget.wait(1, 10) == 0
    assert budget.wait(1, 11) > 0
    budget.stated(2, 20, 60)  # less than we know of: an older reply
    assert budget.wait(2, 11) > 0
    budget.pause(NANOS_PER_S)
    assert budget.wait(2, 1) == NANOS_PER_S - 2


def test_request_that_never_fits_is_an_error() -> None:
    """A limit below one request's cost is a mistake in the config."""
    with pytest.raises(ConfigError, match="the limit is 5"):
        Budget([Limit(count=5, seconds=1)], reserve=0).wait(0, 6)
    with pytest.raises(ConfigError, match="above 0"):
        Limit(count=0, seconds=1)


def test_adopted_limits_count_what_was_spent() -> None:
    """Ten spent under one limit leave forty of fifty under the next."""
    budget = Budget([Limit(count=100, seconds=60)], reserve=0)
    budget.spend(0, 10)
    budget.adopt(1, [Limit(count=50, seconds=10), Limit(count=1000, seconds=3600)])
    assert budget.wait(1, 40) == 0
    assert budget.wait(1, 41) > 0
