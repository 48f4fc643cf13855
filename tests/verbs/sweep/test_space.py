"""What a sweep tries: grids, ranges and draws, and what the config says of it."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from xarb import toml
from xarb.config import read_draft
from xarb.config.reader import shown
from xarb.errors import ConfigError
from xarb.verbs.sweep.space import drawn, grid, parameters

WIDE = {"low": "1.0", "high": "1000.0", "log": True}


def space(**raw: Any) -> Any:
    """Parameters of strategies.cross."""
    return parameters({f"strategies.cross.{key}": value for key, value in raw.items()}, "sweep.parameters")


def test_a_grid_has_every_combination_once_in_order() -> None:
    """The last key changes fastest; a range takes its ends where the step meets them; numbers stay exact."""
    found = grid(space(b=["1", "2.50"], a={"low": "2", "high": "3.2", "step": "0.5"}), 100, "sweep")
    assert [tuple(one.values()) for one in found] == [(a, b) for a in ("2.0", "2.5", "3.0") for b in ("1", "2.50")]
    assert list(found[0]) == ["strategies.cross.a", "strategies.cross.b"]
    with pytest.raises(ConfigError, match="the grid has 6 combinations, allowed are 5"):
        grid(space(b=["1", "2"], a=["1", "2", "3"]), 5, "sweep")
    with pytest.raises(ConfigError, match="a grid needs a step"):
        grid(space(a=WIDE), 100, "sweep")


def test_draws_come_again_and_do_not_depend_on_how_many_there_are() -> None:
    """A trial is its seed and number; another seed draws others; each draw lies on the steps of its range."""
    tried = space(a={"low": "2", "high": "10"}, b=["true", "false"], c=WIDE)
    first = [drawn(tried, 1, number) for number in range(200)]
    assert first[:50] == [drawn(tried, 1, number) for number in range(50)]
    assert first != [drawn(tried, 2, number) for number in range(200)]
    assert {one["strategies.cross.a"] for one in first} == {str(number) for number in range(2, 11)}
    logs = [Decimal(one["strategies.cross.c"]) for one in first]
    assert all(Decimal(1) <= one <= 1000 and one.as_tuple().exponent == -1 for one in logs)
    assert 40 < sum(one < 10 for one in logs) < 95, "a third of the draws lies in each order of magnitude"


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({}, "sweep.parameters is missing"),
        ({"live.mode": ["paper"]}, "no backtest of one log heeds it"),
        ({"run.start": ["2024-01-01"]}, "no backtest of one log heeds it"),
        ({"run": ["2024-01-01"]}, "no backtest of one log heeds it"),
        ({"run.seed": 3}, "must be a list of values or a range"),
        ({"run.seed": []}, "must be a list of values or a range"),
        ({"run.seed": ["1", "1"]}, "a value is there twice"),
        ({"run.seed": ["1"], "run": {"seed": ["2"]}}, "run.seed is written twice"),
        ({"run.seed": {"low": "3", "high": "2"}}, "low must be below high"),
        ({"run.seed": {"low": "0", "high": "2", "log": True}}, "log = true low above 0"),
        ({"run.seed": {"low": "1", "high": "2", "step": "0"}}, "step above 0"),
        ({"run.seed": {"low": "1"}}, "a range has low and high"),
        ({"run.seed": {"low": "1", "high": "x"}}, "high = x: must be a number"),
    ],
)
def test_what_cannot_be_tried_is_refused_by_name(raw: dict[str, Any], said: str) -> None:
    """Each message names the key."""
    with pytest.raises(ConfigError, match=said):
        parameters(raw, "sweep.parameters")


def test_keys_lead_into_lists_by_number_or_name(tmp_path: Path) -> None:
    """An entry of a list is named by its place, one of tables by its name; one that is not there is an error that says which are."""
    (tmp_path / "a.toml").write_text(
        '[run]\nfees_file = "fees.toml"\n[venues.alpha]\nfees = "x"\norder_latency = { uniform_ms = [80, 120] }\n'
        '[[alerts]]\nkind = "command"\ncommand = ["true"]\nname = "one"\n'
    )
    draft = read_draft(tmp_path / "a.toml")
    del draft.raw["alerts"]
    found = draft.experiment({"venues.alpha.order_latency.uniform_ms.1": "200"}).venues["alpha"].order_latency
    assert shown(list(found.uniform_ms or ())) == "[80, 200]"
    with pytest.raises(ConfigError, match="2 is no entry of that list; there are 0 to 1"):
        draft.experiment({"venues.alpha.order_latency.uniform_ms.2": "200"})
    named = read_draft(tmp_path / "a.toml")
    with pytest.raises(ConfigError, match=r"unknown key alerts number 1\.name"):
        named.experiment({"alerts.one.command": '["false"]'})
    with pytest.raises(ConfigError, match="two is no entry of that list; there are 0 to 0, or one"):
        named.experiment({"alerts.two.command": '["false"]'})
    assert named.raw["alerts"][0]["command"] == ["true"], "the draft stays as it was read"


@pytest.mark.parametrize("value", [True, 3, "2.50", 'a "b" \\ \n\x7f', ["a", 1], {"x y": [True], "z": "ü"}])
def test_values_written_as_toml_are_read_again(value: object) -> None:
    """Whatever stands in them."""
    assert toml.loads(f"value = {toml.written(value)}")["value"] == value
