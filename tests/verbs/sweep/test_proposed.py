"""Optuna's proposals: they come again, in batches, and find what is good."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from tests.trial import quiet
from tests.verbs.sweep.test_search import made
from xarb.sql import TRIALS
from xarb.verbs.sweep import Hands, Plan, sweep
from xarb.verbs.sweep.proposed import Optuna, Value
from xarb.verbs.sweep.space import Settings, parameters

pytest.importorskip("optuna", reason="Optuna is not installed: pip install 'xarb[optuna]'")
SPACE = parameters(
    {"run.a": {"low": "0", "high": "100"}, "run.b": {"low": "0.1", "high": "100.0", "log": True}, "run.c": ["one", "two"]}, "x"
)


def asked(goal: Callable[[Settings], Value], *, trials: int = 40, batch: int = 8, seed: str = "1") -> list[Settings]:
    """What is proposed where the goal is that function."""
    proposals, found = Optuna(SPACE, seed=seed, trials=trials, batch=batch), list[Settings]()
    while more := proposals.more():
        assert len(more) <= batch
        found += more
        proposals.tell([goal(one) for one in more])
    return found


def near(one: Settings) -> Value:
    """High where a is 70 and c is "two"; undefined for small b."""
    if Decimal(one["run.b"]) < 1:
        return None
    return -abs(int(one["run.a"]) - 70) - (30 if one["run.c"] == '"one"' else 0)


def test_it_proposes_in_batches() -> None:
    """As many as are wanted, the same again by the seed and the size of a batch, more of them where the goal is high."""
    found = asked(near)
    assert len(found) == 40
    assert found == asked(near)
    assert found != asked(near, seed="2")
    assert found != asked(near, batch=4)
    assert found[:8] == asked(near, trials=8) == asked(lambda _: 1.0)[:8], "a batch does not know its own goals"
    assert asked(near, trials=20)[:20] == found[:20], "how many are wanted decides nothing before"
    late = [int(one["run.a"]) for one in found[20:]]
    assert sum(abs(one - 70) <= 15 for one in late) > len(late) / 2
    assert {one["run.c"] for one in found} == {'"one"', '"two"'}
    assert all(Decimal(one["run.b"]).as_tuple().exponent == -1 for one in found)


def test_a_sweep_by_optuna_is_the_same_however_it_was_done(tmp_path: Path) -> None:
    """In one process or two, whole or gone on with, over windows of their own searches: one table; nothing is done twice."""
    experiment = made(tmp_path)
    keys = {"sweep.method": '"optuna"', "sweep.batch": "4", "sweep.windows": "2"}
    for out, workers, trials in (("one", 1, 9), ("two", 2, 5), ("two", 2, 9)):
        plan = Plan(experiment, keys | {"sweep.trials": str(trials)})
        found = sweep(plan, out=tmp_path / out, resume=(tmp_path / out).exists(), hands=Hands(workers), advance=quiet)
    assert found.again > 0
    assert len(found.rows) == 10
    assert (tmp_path / "one" / TRIALS).read_bytes() == (tmp_path / "two" / TRIALS).read_bytes()
