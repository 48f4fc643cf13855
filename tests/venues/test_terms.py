"""Latencies, draws, models and what they say of themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.defaults import venue_model
from tests.instruments import instrument
from tests.venues.market import MS, plain_model, setup_of
from xarb.errors import ConfigError
from xarb.model.units import MONEY_ONE, PPB, Money
from xarb.venues.fold.draw import draw_below, splitmix64
from xarb.venues.simulated import SimulatedVenues
from xarb.venues.terms import ConstantLatency, Outage, TableLatency, UniformLatency


def test_draws_are_splitmix64() -> None:
    """The first outputs for seed 1234567 are the published ones."""
    first = [splitmix64(1234567, counter) for counter in range(3)]
    assert first == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1), st.integers(1, 2**40))
def test_compiled_draws_equal_plain_ones(seed: int, counter: int, span: int) -> None:
    """The compiled draw is the plain one modulo the span."""
    assert draw_below(seed, counter, span) == splitmix64(seed, counter) % span


def test_latencies_reach_both_ends() -> None:
    """A uniform latency takes every value of its range, a table each of its values, a constant one."""
    draws = [splitmix64(1, counter) for counter in range(200)]
    assert {UniformLatency(3, 6).pick(draw) for draw in draws} == {3, 4, 5, 6}
    assert {TableLatency((1, 5, 9)).pick(draw) for draw in draws} == {1, 5, 9}
    assert {ConstantLatency(4).pick(draw) for draw in draws} == {4}


@pytest.mark.parametrize("latency", [ConstantLatency(4), UniformLatency(3, 6), TableLatency((1, 5, 9))])
def test_a_rung_of_the_ladder_only_adds(latency: ConstantLatency | UniformLatency | TableLatency) -> None:
    """A slower model draws the same numbers, later by exactly what was added."""
    assert all(latency.slower(50).pick(draw) == latency.pick(draw) + 50 for draw in range(20))
    slower = venue_model(order_latency=latency).slower(50)
    assert slower == venue_model(order_latency=latency.slower(50))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ConstantLatency(-1), "latency ns"),
        (lambda: UniformLatency(5, 4), "low_ns, high_ns"),
        (lambda: UniformLatency(0, 10**18), "3600000000000"),
        (lambda: TableLatency(()), "at least one"),
        (lambda: TableLatency((2, 1)), "must ascend"),
        (lambda: Outage(5, 5), "must end after it begins"),
        (lambda: venue_model(assumed_qty=Money(0)), "assumed_qty"),
        (lambda: venue_model(rate_limit=0), "rate_limit"),
        (lambda: venue_model(max_resting=0), "max_resting"),
        (lambda: venue_model(outages=(Outage(0, 5), Outage(4, 9))), "not overlap"),
        (lambda: venue_model(refusals=(("busy", PPB), ("closed", 1))), "at most all"),
        (lambda: venue_model(refusals=(("busy", -1),)), "shares of all orders"),
        (lambda: venue_model(fill_shares=(2, 1)), "fill_shares"),
        (lambda: venue_model(fill_shares=(PPB + 1,)), "fill_shares"),
        (lambda: SimulatedVenues(setup_of([instrument("a")]), {}), "no model for a"),
        (lambda: SimulatedVenues(setup_of([instrument("a")], sources=[0, 1]), {"a": plain_model()}), "sources: 2 for 1"),
    ],
)
def test_values_that_make_no_sense_are_errors(build: Callable[[], object], message: str) -> None:
    """Each error names its key."""
    with pytest.raises(ConfigError, match=message):
        build()


def test_refusals_and_shares_come_as_often_as_they_are_to() -> None:
    """Over 20,000 draws each reason and each share has its part within a hundredth, and what is not to be refused is not."""
    model = venue_model(refusals=(("busy", PPB // 10), ("closed", PPB // 4)), fill_shares=(0, PPB // 2, PPB))
    draws = [splitmix64(7, counter) for counter in range(20_000)]
    parts = Counter(model.refused(one) for one in draws)
    assert parts.keys() == {None, "busy", "closed"}
    assert all(abs(parts[reason] / 20_000 - part) < 0.01 for reason, part in (("busy", 0.1), ("closed", 0.25), (None, 0.65)))
    shares = Counter(model.share(one) for one in draws)
    assert all(abs(shares[share] / 20_000 - 1 / 3) < 0.01 for share in (0, PPB // 2, PPB))
    assert (venue_model().refused(5), venue_model().share(5)) == (None, PPB)


def test_defaults_are_pessimistic() -> None:
    """An order takes 80 to 120 ms by default, unknown sizes do not fill, and nothing is marked as optimistic."""
    model = venue_model()
    assert (model.order_latency.low_ns, model.order_latency.high_ns) == (80 * MS, 120 * MS)
    assert model.optimism() == []


def test_optimism_is_printed() -> None:
    """Every flattering setting has its own line among the assumptions."""
    model = venue_model(order_latency=ConstantLatency(0), assumed_qty=Money(MONEY_ONE), consumption=False, rate_limit=None)
    said = SimulatedVenues(setup_of([instrument("a")]), {"a": model}).describe()
    assert [value for venue, what, value in said if (venue, what) == ("a", "optimistic")] == model.optimism()
    assert len(model.optimism()) == 4
    assert ("a", "unknown sizes", "1 base units") in said
