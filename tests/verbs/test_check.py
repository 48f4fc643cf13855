"""Check: what would stop a backtest stops it, and each blocker of the first trade is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from xarb.config import load_experiment
from xarb.errors import ConfigError
from xarb.verbs.check import Findings, check

ROOT = Path(__file__).resolve().parents[2]
EXPERIMENT = ROOT / "experiments" / "quickstart.toml"


def found(overrides: dict[str, str]) -> Findings:
    """The findings on the quickstart with keys overridden."""
    return check(load_experiment(EXPERIMENT, overrides), log=None)


def verdicts(overrides: dict[str, str]) -> list[str]:
    """The verdicts on the pairs of the first strategy, without repetition, in order."""
    table = next(table for table in found(overrides).tables if table.title == "Pairs")
    return list(dict.fromkeys(row[4] for row in table.rows if row[0] == "eager"))


def test_quickstart_can_trade_all_pairs() -> None:
    """Nothing known blocks the shipped experiment."""
    assert verdicts({}) == ["can trade"]


@pytest.mark.parametrize(
    ("key", "value", "blocker"),
    [
        ("strategies.eager.max_open_bundles", "0", "max_open_bundles is 0"),
        ("strategies.eager.daily_volume_quote", "0", "daily_volume_quote is 0"),
        ("strategies.eager.max_orders_per_s", "0", "max_orders_per_s is 0"),
        ("strategies.eager.budget.BTC", "0", "budget: strategies.eager.budget.BTC is 0"),
        ("accounts.main.alpha.BTC", "0", "balance: main has no BTC on alpha"),
    ],
)
def test_blocker_of_the_first_trade_is_named(key: str, value: str, blocker: str) -> None:
    """A limit, budget or balance of zero lets nothing through and is said before any backtest."""
    assert blocker in verdicts({key: value})


@pytest.mark.parametrize(
    ("key", "value", "part"),
    [
        ("accounts.main.alpha.UDST", "5", "accounts.main.alpha.UDST: no asset of the log or of the asset table has this name"),
        ("accounts.main.alpha.usdt", "5", "accounts.main.alpha.usdt: no asset"),
        ("accounts.main.alpha.XBT", "5", "accounts.main.alpha.XBT: no asset"),
        ("run.currencies", '["XYZ"]', "run.currencies: XYZ: no asset of the log"),
        ("strategies.eager.budget.BCT", "1", "strategy eager: budget names BCT"),
        ("strategies.eager.max_exposure.BCT", "1", "strategy eager: max_exposure names BCT"),
        ("run.start", '"2027-01-01"', "no row between run.start and run.end"),
        ("rates", '{ "BNB/USDT@alpha" = "BNB" }', 'rates."BNB/USDT@alpha" = BNB: the log has no such instrument'),
    ],
)
def test_what_stops_a_backtest_stops_the_check(key: str, value: str, part: str) -> None:
    """A misspelt asset, an empty span and a rate without an instrument are errors here and not only in the backtest."""
    with pytest.raises(ConfigError) as caught:
        found({key: value})
    assert part in str(caught.value)


def test_account_may_hold_what_the_log_does_not_trade() -> None:
    """An account outlives a log: an asset of the asset table is one, whether or not an instrument here has it."""
    assert found({"accounts.main.alpha.USD": "5"}).blocked == 0
