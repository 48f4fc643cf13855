"""What is counted over time: against plain reckoning."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.trial import Trial, quiet, usual
from xarb.inquiry.decided import open_decided
from xarb.model.units import NANOS_PER_MS, NANOS_PER_S
from xarb.verbs.report.replayed import replayed
from xarb.verbs.report.timeline import (
    BINS,
    BUCKETS,
    CELLS,
    STATES,
    Latency,
    _cells,
    balances,
    buckets_of,
    feeds,
    latencies,
    opportunities,
)

Spans = st.integers(1, 10**18)


@given(st.integers(0, 2 * 10**18), Spans)
def test_buckets_are_round_few_and_hold_both_ends(begins: int, span: int) -> None:
    """Whole seconds, aligned, no more than a plot holds and one for what alignment cuts off."""
    buckets = buckets_of(begins, begins + span)
    assert buckets.width % NANOS_PER_S == buckets.begins % buckets.width == 0
    assert buckets.begins <= begins < buckets.start(1)
    assert buckets.of(begins + span) <= BUCKETS


@given(st.lists(st.integers(-5, 10**12), min_size=1, max_size=60), st.sampled_from([0.5, 0.9, 0.99]))
def test_quantiles_are_at_most_a_bin_above_the_true_ones(durations: list[int], share: float) -> None:
    """Never below, and no more than 2.4 % and one ns above; zero where the true one is not above zero."""
    above = [one for one in durations if one > 0]
    bins = Counter(math.floor(BINS * math.log10(one)) for one in above)
    found = Latency("x", "y", len(durations), max(durations), len(durations) - len(above), dict(bins)).quantile(share)
    true = sorted(durations)[math.ceil(share * len(durations)) - 1]
    assert found is not None
    if true <= 0:
        assert found == 0
    else:
        assert true * (1 - 1e-9) - 1 <= found <= true * 1.024 + 1


def test_quantile_of_nothing_is_none() -> None:
    """Not zero."""
    assert Latency("x", "y", 0, 0, 0, {}).quantile(0.5) is None


Changes = st.lists(st.tuples(st.integers(0, 20 * CELLS), st.sampled_from(STATES)), max_size=12)


@example([(0, "live"), (55, "gapped"), (55, "live")], 20 * CELLS)  # gapped for no time at all: not shown
@given(Changes, st.integers(1, 20 * CELLS))
def test_a_cell_shows_the_worst_state_in_it(changes: list[tuple[int, str]], span: int) -> None:
    """Against a look at every ns."""
    told = sorted((one for one in changes if one[0] <= span), key=lambda one: one[0])
    states = [(100, "down", False), *((100 + at, state, state == "live") for at, state in told)]
    cells = _cells(states, 100, 100 + span)
    width = -(-(span + 1) // CELLS)
    worst = [0] * len(cells)
    for at in range(span + 1):
        last = next(state for ts, state, _ in reversed(states) if ts <= 100 + at)
        worst[at // width] = max(worst[at // width], STATES.index(last))
    assert cells == [STATES[rank] for rank in worst]
    assert len(cells) <= CELLS


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in which orders take 20 ms there."""
    made = tmp_path_factory.mktemp("timeline")
    trial = Trial(made)
    trial.run(trial.experiment(trial.log(usual())))
    return made / "run1"


def test_counts_durations_and_balances_are_those_of_the_rows(folder: Path) -> None:
    """Each against the rows of the run, looked at one by one."""
    with open_decided(folder) as decided:
        again = replayed(decided, lambda _: {}, quiet)
        buckets = buckets_of(again.begins, again.ends)
        rows = decided.rows("opportunities")
        counted = {one.what: one.counts for one in opportunities(decided, buckets)}
        assert counted["opened"] == Counter(buckets.of(row["ts"]) for row in rows if row["phase"] == "opened")
        assert counted["taken"] == Counter(buckets.of(row["ts"]) for row in rows if row["verdict"] == "taken")
        refused = Counter(row["reason"] for row in rows if row["verdict"] == "refused")
        assert {what: sum(counts.values()) for what, counts in counted.items() if what not in ("opened", "taken")} == refused

        heard = {(one.what, one.where): one for one in latencies(decided, again.begins, again.ends)}
        sent = {row["order"]: row["ts"] for row in decided.rows("commands", ("kind", "=", "submit"))}
        fills = decided.rows("fills", ("venue", "=", "alpha"))
        mine = heard["order to fill", "alpha"]
        assert (mine.number, mine.largest) == (len(fills), max(row["ts"] - sent[row["order"]] for row in fills))
        assert heard["order to first word", "alpha"].quantile(0.5) == pytest.approx(mine.largest, rel=0.024)
        assert mine.largest >= 20 * NANOS_PER_MS

        found = balances(decided, again.opening, buckets)
        last = {(row["account"], row["venue"], row["asset"]): row["balance"] for row in decided.rows("ledger")}
        assert {one[:3]: one.by_bucket[max(one.by_bucket)] for one in found} == {
            key: last[key] for key in (one[:3] for one in found)
        }
        assert len(found) == 4

        (alpha, bravo) = feeds(decided, again.begins, again.ends)
        assert (alpha.venue, bravo.venue) == ("alpha", "bravo")
        assert alpha.cells.count("live") > 0.9 * len(alpha.cells)
        assert 0.9 * (again.ends - again.begins) < alpha.tradable_ns <= again.ends - again.begins
