"""The real venue against the naive one, over random small markets, orders and cuts."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.defaults import venue_model
from tests.instruments import instrument
from tests.venues.market import MS, Row, Told, play, setup_of, submit
from tests.venues.market import cancel as cancel_of
from tests.venues.naive import Said, naive_reports
from xarb.model.command import Command, Report
from xarb.model.instrument import FeeTier
from xarb.model.units import MONEY_ONE, PPB, Money, Ppb
from xarb.venues.simulated import SimulatedVenues
from xarb.venues.terms import ConstantLatency, TableLatency, UniformLatency, VenueModel, VenueSetup

INSTRUMENTS = [instrument("a"), instrument("a", "ETH/USD"), instrument("b")]
VENUES = ("a", "b")
END = 10**12  # the time of a last row, after which everything is due

prices = st.integers(96, 104)
sizes = st.integers(0, 6)
bools = st.booleans()


@st.composite
def quotes(draw: st.DrawFn) -> tuple[str, tuple[Any, ...]]:
    """A quote, rarely with an absent side or size."""
    values = [draw(st.one_of(st.none(), prices)) if draw(st.integers(0, 9)) == 0 else draw(prices) for _ in range(2)]
    amounts = [None if draw(st.integers(0, 9)) == 0 else draw(sizes) for _ in range(2)]
    bid, ask = (min(values), max(values)) if None not in values else values  # type: ignore[type-var]  # None was excluded
    return "quote", (bid, amounts[0], ask, amounts[1])


@st.composite
def books(draw: st.DrawFn) -> tuple[str, tuple[Any, ...]]:
    """A sorted book of a few levels."""
    levels = sorted(draw(st.sets(prices, max_size=6)))
    middle = draw(st.integers(0, len(levels)))
    amount = st.integers(1, 6)
    return "book", (
        tuple((price, draw(amount)) for price in reversed(levels[:middle])),
        tuple((price, draw(amount)) for price in levels[middle:]),
    )


@st.composite
def deltas(draw: st.DrawFn) -> tuple[str, tuple[Any, ...]]:
    """A changed level; one in four begins or continues a snapshot."""
    snapshot = draw(st.integers(0, 3)) == 0
    return "delta", (draw(st.integers(0, 1)), draw(prices), draw(sizes), snapshot, draw(bools), draw(st.sampled_from([0, 0, 0, 1])))


trades = st.tuples(st.just("trade"), st.tuples(prices, st.integers(1, 6), st.integers(0, 2)))
losses = st.tuples(st.just("connection"), st.tuples(st.sampled_from(["gap", "lost", "opened", "heartbeat"]), bools))


@st.composite
def markets(draw: st.DrawFn) -> tuple[VenueSetup, dict[str, VenueModel], list[Row], dict[int, list[Command]]]:
    """A setup, models, rows in receive order, and commands by the row that they follow."""
    sources = [draw(st.integers(0, 2)) for _ in INSTRUMENTS]
    latency = st.one_of(
        st.integers(0, 3).map(lambda ms: ConstantLatency(ms * MS)),
        st.just(UniformLatency(0, 3)),
        st.just(UniformLatency(MS, 4 * MS)),
        st.just(TableLatency((0, MS, 2 * MS))),
    )
    models = {
        venue: venue_model(
            feed_latency=draw(latency),
            order_latency=draw(latency),
            response_latency=draw(latency),
            assumed_qty=draw(st.sampled_from([None, Money(3 * MONEY_ONE)])),
            consumption=draw(st.integers(0, 4)) > 0,
            rate_limit=None,
            refusals=draw(st.sampled_from([(), (), (("busy", PPB // 4), ("closed", PPB // 8))])),
            fill_shares=draw(st.sampled_from([(), (), (0, PPB // 3, PPB)])),
        )
        for venue in VENUES
    }
    tier = FeeTier(
        maker_ppb=Ppb(draw(st.sampled_from([-100_001, 0, 1_000_001]))),
        taker_ppb=Ppb(draw(st.sampled_from([0, 1_000_003]))),
        asset=draw(st.sampled_from(["quote", "base", "received"])),
    )
    money = draw(st.sampled_from([10**6, 1200]))
    assets = [(i.venue, asset) for i in INSTRUMENTS for asset in (i.base, i.quote)]
    setup = setup_of(
        INSTRUMENTS,
        sources=sources,
        fee=tier,
        opening={("main", venue, asset): Money(money * MONEY_ONE) for venue, asset in assets},
        seed=draw(st.integers(0, 3)),
    )
    kinds = {0: quotes(), 1: books(), 2: deltas()}
    rows: list[Row] = []
    commands: dict[int, list[Command]] = {}
    now, orders = 0, 0
    for _ in range(draw(st.integers(1, 40))):
        now += draw(st.sampled_from([0, 0, 1, MS, MS, 3 * MS]))
        number = draw(st.integers(0, len(INSTRUMENTS) - 1))
        source = sources[number] if draw(st.integers(0, 9)) else draw(st.integers(0, 2))
        kind, values = draw(st.one_of(kinds[source], kinds[source], kinds[source], trades, trades, losses))
        rows.append(Row(kind, now, number, values))
        for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
            where = draw(st.integers(0, len(INSTRUMENTS) - 1))
            command: Command
            if orders and draw(st.integers(0, 3)) == 0:
                target = draw(st.integers(1, orders))
                before = next(c for batch in commands.values() for c in batch if c.order == target)
                command = cancel_of(target, inst=before.instrument)
            else:
                orders += 1
                tif = draw(st.sampled_from(["ioc", "fok", "gtc", "gtc"]))
                command = submit(
                    orders,
                    draw(st.sampled_from(["buy", "sell"])),
                    draw(prices),
                    draw(st.integers(1, 9)),
                    inst=where,
                    tif=tif,
                    post_only=tif == "gtc" and draw(bools),
                )
            commands.setdefault(len(rows) - 1, []).append(command)
    rows.append(Row("quote", END, 2, (1, None, 1000, None)))
    rows.append(Row("quote", END, 1, (1, None, 1000, None)))
    rows.append(Row("quote", 2 * END, 1, (1, None, 1000, None)))
    return setup, models, rows, commands


def said(report: Report) -> tuple[Any, ...]:
    """What a report says, comparable with the naive model's."""
    fee = None if report.fee is None else int(report.fee)
    values = (report.price_int, report.qty_int, fee, report.fee_asset, report.liquidity, report.reason)
    return (report.ts, report.order, report.event, *values)


def expected(one: Said) -> tuple[Any, ...]:
    """The same of the naive model's."""
    return (one.due, *one[3:])


@settings(max_examples=400)
@given(markets(), st.lists(st.integers(0, 45), max_size=6))
def test_reports_and_balances_equal_the_naive_models(
    market: tuple[VenueSetup, dict[str, VenueModel], list[Row], dict[int, list[Command]]], cuts: list[int]
) -> None:
    """Over any small market, cut into batches anywhere, every report and every balance equals the naive model's."""
    setup, models, rows, commands = market
    venues = SimulatedVenues(setup, models)
    told = play(venues, rows, commands, instruments=INSTRUMENTS, cuts=cuts)
    sent = [msgspec.structs.replace(c, ts=rows[seq].ts) for seq in sorted(commands) for c in commands[seq]]
    naive, balances = naive_reports(setup, models, rows, sent)
    assert [said(one.report) for one in told] == [expected(one) for one in naive if one.due < 2 * END]
    assert {key: value for key, value in venues.balances().items() if value} == {k: v for k, v in sorted(balances.items()) if v}
    assert all(one.report.ts == one.ts or one.ts > one.report.ts for one in told)
    assert_on_time(told, rows)


def assert_on_time(told: list[Told], rows: list[Row]) -> None:
    """Each report was handed over at its due time: after every input received up to then, before any later one."""
    for one in told:
        assert one.ts == one.report.ts
        assert rows[one.after_seq].ts <= one.ts
        assert one.after_seq + 1 == len(rows) or rows[one.after_seq + 1].ts > one.ts


@settings(max_examples=100)
@given(markets(), st.data())
def test_no_report_depends_on_what_comes_after_it(
    market: tuple[VenueSetup, dict[str, VenueModel], list[Row], dict[int, list[Command]]], data: st.DataObject
) -> None:
    """With the input cut after any row, the reports due before the next row are the same."""
    setup, models, rows, commands = market
    whole = play(SimulatedVenues(setup, models), rows, commands, instruments=INSTRUMENTS)
    at = data.draw(st.integers(1, len(rows) - 1))
    stump = play(SimulatedVenues(setup, models), rows[:at], commands, instruments=INSTRUMENTS)
    assert stump == [one for one in whole if one.ts < rows[at - 1].ts]


@pytest.mark.skipif("NUMBA_DISABLE_JIT" in os.environ, reason="this is the interpreted run itself")
def test_interpreted_fold_agrees_too() -> None:
    """The comparison with the naive model holds with the compiler off."""
    code = (
        "from hypothesis import settings; settings.register_profile('few', max_examples=60, deadline=None); "
        "settings.load_profile('few'); from tests.venues import test_naive as t; "
        "t.test_reports_and_balances_equal_the_naive_models()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "NUMBA_DISABLE_JIT": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
