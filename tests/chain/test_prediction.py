"""A backtest of what was recorded from a chain predicts what the same strategy then earns there live; `xarb diff` says so, and finds what is planted."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from typer.testing import CliRunner

from tests.chain.stage import Stage
from tests.chain.traders import Traders
from tests.chain.twice import BID, Paced, play, wallet
from tests.chain.world import UNIT
from tests.trial import quiet
from xarb.cli import app
from xarb.config import load_experiment
from xarb.config.watch import WatchConfig
from xarb.inquiry.cyclecauses import DECLARED
from xarb.inquiry.sections import as_json
from xarb.log.reader import LogReader
from xarb.model.command import SwapCycle
from xarb.model.units import MONEY_SCALE, format_decimal
from xarb.pools.financing import MEASURED
from xarb.venues.simulated_chain import Outcome as Swapped
from xarb.venues.simulated_chain import SimulatedChain
from xarb.verbs.backtest import backtest
from xarb.verbs.diff import Outcome, diff
from xarb.verbs.status import status
from xarb.verbs.verify import verify
from xarb.watch.verb import metrics_once

BLOCKS = 12
SEED = 4
WHALE_AT = 3  # the block in which somebody sells much


class Twice(NamedTuple):
    """The log that was recorded, the one of the session that traded, the config, and what the executor holds of WETH in the end."""

    recorded: Path
    traded: Path
    config: Path
    held: int


@pytest.fixture(scope="module")
def twice(world_folder: Path, code: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twice]:
    """The same market on two chains from the same dump."""
    folder = tmp_path_factory.mktemp("twice")
    before, added = dict(os.environ), wallet(folder)
    os.environ.update(added)
    try:
        play(world_folder, folder / "recorded", code, market=(_acts, SEED), blocks=BLOCKS, is_live=False)
        held = play(world_folder, folder / "traded", code, market=(_acts, SEED), blocks=BLOCKS, is_live=True)
        yield Twice(folder / "recorded/log", folder / "traded/log", folder / "recorded/cycles.toml", held)
    finally:
        os.environ.clear()
        os.environ.update(before)


def _acts(paced: Paced, stage: Stage, traders: Traders) -> None:
    """Two acts of the seeded traders in each block, and once somebody sells much."""
    del traders
    paced.trade(2)
    if paced.count == WHALE_AT:
        stage.node.call("eth_sendTransaction", stage.swap_request(("WETH", "DAI"), 10 * UNIT) | BID)


def predicted(twice: Twice, name: str, log: Path, **changes: str) -> Path:
    """A backtest; dots in names of `changes` are double underscores."""
    given = {key.replace("__", "."): value for key, value in changes.items()}
    return backtest(load_experiment(twice.config, given), log=log, out=log.parent / name, advance=quiet).folder


def cycles(found: Outcome) -> list[dict[str, object]]:
    """The bundles that are compared."""
    (section,) = [one for one in found.sections if one.key == "cycles"]
    return [dict(zip(section.columns, row, strict=True)) for row in section.rows]


def earned(log: Path) -> int:
    """Profits that succeeded, in smallest units of WETH."""
    with LogReader(log) as reader:
        return sum(int(row["profit"]) for _, row in reader.outputs(kinds=("cycle_states",)) if row["state"] == "succeeded")


def test_the_backtest_of_a_recording_predicts_what_live_earns(twice: Twice) -> None:
    """The same cycles, amounts, blocks and profits to the unit; gas and its price differ as is declared, with each bundle; exit code 0."""
    run = predicted(twice, "run", twice.recorded)
    found = diff(run, twice.traded)
    assert found.equal
    assert {one.root for one in found.differences} <= DECLARED
    bundles = cycles(found)
    assert len(bundles) >= 3
    for one in bundles:
        assert (one["became A"], one["profit A"], one["included A"]) == (one["became B"], one["profit B"], one["included B"])
        assert one["became B"] == "succeeded"
        assert "gas 1" in str(one["differs by"])
    (receipts,) = [one for one in found.sections if one.key == "receipts"]
    differing = [(row[4], row[8]) for row in receipts.rows]
    assert {*differing} <= {("gas_used", "gas"), ("gas_price_wei", "base fee")}
    assert differing.count(("gas_used", "gas")) == len(bundles)
    assert earned(run) == earned(twice.traded) == twice.held
    assert CliRunner().invoke(app, ["diff", str(run), str(twice.traded)]).exit_code == 0
    assert verify(run, advance=quiet).equal
    assert verify(twice.traded, advance=quiet).equal


def test_the_backtest_of_a_log_that_was_traded_on_does_not_count_us_twice(twice: Twice) -> None:
    """Our swaps stand in its blocks: it decides and earns the same, and nothing but gas differs."""
    run = predicted(twice, "again", twice.traded)
    found = diff(twice.traded, run)
    assert found.equal
    assert {one.cause for one in found.differences} == {"gas"}
    assert earned(run) == twice.held


def test_status_and_metrics_tell_of_the_chain(twice: Twice) -> None:
    """Head, fees, nonce, gas and cycles as the log has them; profits and gas are part of what was gained, the wrapped token as what it wraps."""
    found = json.loads(as_json(status(twice.traded).sections))
    with LogReader(twice.traded) as reader:
        head = list(reader.rows("blocks"))[-1]
        gas = -sum(row["delta"] for _, row in reader.outputs(kinds=("ledger",)) if row["cause"] == "gas")
        states = [row["state"] for _, row in reader.outputs(kinds=("cycle_states",))]
    bundles = states.count("succeeded")
    (chain,) = found["chains"]
    assert (chain["block"], chain["base_fee_wei"], chain["objections"]) == (head["block_number"], head["base_fee_wei"], None)
    assert int(chain["next_base_fee_wei"]) <= int(chain["base_fee_wei"])  # blocks were far from full
    (sender,) = found["senders"]
    assert (sender["account"], sender["next_nonce"], sender["waiting"], sender["gas_spent_wei"]) == (
        "main",
        1 + bundles,
        0,
        str(gas),
    )
    assert "waiting" not in found
    counted = {row["which"]: row["count"] for row in found["counts"] if row["what"] == "cycles"}
    assert sum(counted.values()) == bundles
    made = {row["asset"]: row["sum"] for row in found["money"]}
    assert made["ETH"] == format_decimal(-gas, MONEY_SCALE)
    assert made[next(asset for asset in made if asset != "ETH")] == format_decimal(twice.held, MONEY_SCALE)
    lines = [line for line in metrics_once(twice.traded, WatchConfig()).splitlines() if not line.startswith("#")]
    metrics = dict(line.rsplit(" ", 1) for line in lines)
    assert metrics['xarb_chain_base_fee_wei{venue="local"}'] == head["base_fee_wei"]
    assert metrics[f'xarb_chain_next_nonce{{venue="local",address="{sender["address"]}"}}'] == f"{1 + bundles}"
    assert metrics[f'xarb_chain_waiting{{venue="local",address="{sender["address"]}"}}'] == "0"
    assert metrics['xarb_chain_gas{account="main",venue="local"}'] == format_decimal(gas, MONEY_SCALE)
    assert metrics['xarb_cycles_total{state="succeeded"}'] == f"{bundles}"
    assert metrics['xarb_trading_pnl{currency="ETH"}'] == format_decimal(twice.held - gas, MONEY_SCALE)
    assert metrics['xarb_balance{account="main",venue="local",asset="ETH"}'] == next(
        row["balance"] for row in found["balances"] if row["asset"] == "ETH"
    )


def test_what_is_planted_is_found(twice: Twice, monkeypatch: pytest.MonkeyPatch) -> None:
    """One unit of profit too many, gas below what is used, a key: none of it is declared, and the exit code is 1."""
    swapped = SimulatedChain._swapped  # what is broken here

    def more(chain: SimulatedChain, command: SwapCycle) -> Swapped | None:
        outcome = swapped(chain, command)
        return None if outcome is None or outcome.why else outcome._replace(got=outcome.got + 1)

    with monkeypatch.context() as broken:
        broken.setattr(SimulatedChain, "_swapped", more)
        run = predicted(twice, "unit", twice.recorded)
    found = diff(run, twice.traded)
    assert "unexplained" in {one.cause for one in found.differences}
    assert not found.equal
    said = CliRunner().invoke(app, ["diff", str(run), str(twice.traded)])
    assert said.exit_code == 1
    with monkeypatch.context() as broken:
        broken.setitem(MEASURED, "callback", msgspec.structs.replace(MEASURED["callback"], two_hops=100_000))
        run = predicted(twice, "gas", twice.recorded)
    found = diff(run, twice.traded)
    assert not found.equal
    assert "it used more gas than was ever measured of its way" in {one.because for one in found.differences}
    found = diff(predicted(twice, "key", twice.recorded, strategies__cycles__min_profit_quote="0.003"), twice.traded)
    assert not found.equal
    assert "config" in {one.cause for one in found.differences}
