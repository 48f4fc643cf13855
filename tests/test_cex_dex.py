"""Gaps between a book and a chain's pools, from the config to money: found, swapped in a simulated block, hedged, proven."""

from __future__ import annotations

import random
from math import isqrt
from pathlib import Path
from typing import Any

import pytest

from tests.dexworld import EVEN, Act, run
from tests.engine.cycles import CHAIN, CHEAP, DAI, DEAR, GWEI, WETH, product
from tests.hedgeworld import EXCHANGE, hedge_experiment, hedge_log
from tests.trial import Run, quiet
from xarb.assembly import Assembly, recorded_ground
from xarb.assembly.resolved import resolve_recorded
from xarb.checkpoint import capture, restore
from xarb.config import load_experiment
from xarb.errors import ConfigError
from xarb.log.canonical import OutputDigest
from xarb.log.reader import LogReader
from xarb.model.units import MONEY_ONE
from xarb.pools.financing import PATH
from xarb.replay import replay
from xarb.verbs.check import check
from xarb.verbs.verify import verify

RISE = (3_000, 3_000, 3_100)
FALL = (3_000, 3_000, 2_900)
BLOCKS = [Act(EVEN)] * 7
ONE_POOL = {"symbols": f'["{CHEAP.address}", "ETH/USDC"]'}
DOLLARS = 10**12  # a smallest unit of DAI as money


def found_in(folder: Path, acts: list[Act] = BLOCKS, prices: tuple[int, ...] = RISE, **given: Any) -> Run:
    """What a backtest makes of it, through one pool."""
    log = folder / "log"
    if not log.exists():
        hedge_log(log, acts, prices)
    number = len(list(folder.glob("run*")))
    return run(hedge_experiment(folder, log, **(ONE_POOL | given)), folder / f"run{number}")


def states(found: Run) -> list[str]:
    """Of swaps, in order."""
    return [row["state"] for row in found.get("cycle_states", [])]


def lives(found: Run) -> list[str]:
    """Of bundles."""
    return [row["event"] for row in found.get("bundles", [])]


def orders(found: Run) -> list[tuple[str, str, int]]:
    """Purpose, side and quantity of each that was sent."""
    return [(row["purpose"], row["side"], row["qty_int"]) for row in found.get("commands", []) if row["kind"] == "submit"]


def changes(found: Run) -> dict[tuple[str, str], int]:
    """By venue and asset, what became of the opening balances."""
    made: dict[tuple[str, str], int] = {}
    for row in found["ledger"]:
        if row["cause"] != "opening":
            made[row["venue"], row["asset"]] = made.get((row["venue"], row["asset"]), 0) + row["delta"]
    return made


def best_by_hand(bid: int) -> tuple[int, int, int]:
    """Lots (of 0.001), DAI that go in and profit, in smallest units of DAI, of the best of all sizes against a bid in cents."""
    pool = product(CHEAP, EVEN[CHEAP.address])
    best = (0, 0, 0)
    for lots in range(1, 16_000):
        paid = pool.quote_out(lots * 10**15, zero_for_one=False).amount_in
        value = lots * bid * 10  # at six decimals
        profit = value - -(-value // 1000) - paid
        best = max(best, (lots, paid, profit), key=lambda one: one[2])
    return best


def test_a_rise_is_bought_on_the_chain_and_sold_at_the_exchange(tmp_path: Path) -> None:
    """The best of all sizes, swapped into the next block and sold for what the receipt says; money to the unit; `verify` agrees."""
    found = found_in(tmp_path)
    lots, paid, profit = best_by_hand(309_950)
    assert states(found)[:3] == ["pending", "sent", "succeeded"]
    assert orders(found) == [("open", "sell", lots)]
    assert lives(found) == ["opened", "unbalanced", "closed"]
    wish, receipt = found["cycles"][0], found["cycle_states"][2]
    assert (wish["amount"], wish["funding"], receipt["amount_in"]) == (str(paid), "wallet", str(paid))
    made = changes(found)
    gas = PATH.of(1, 0) * 11 * GWEI
    assert made[CHAIN, DAI] == -paid * DOLLARS
    assert made[CHAIN, WETH] == int(receipt["amount_out"])
    assert made[EXCHANGE, "ETH"] == -lots * 10**15
    assert made[CHAIN, "ETH"] == -gas
    assert made[EXCHANGE, "USDC"] + made[CHAIN, DAI] == profit * DOLLARS
    assert int(wish["expected_profit"]) == profit * DOLLARS - -(-gas * 310_050 // 100)
    assert [row["cause"] for row in found["residuals"]] == ["dust"]
    assert found["opportunities"][0]["legs"] == f"buy {CHEAP.address}@{CHAIN}, sell ETH/USDC@{EXCHANGE}"
    assert verify(tmp_path / "run0", advance=quiet).equal


def test_a_fall_is_sold_on_the_chain_and_bought_back(tmp_path: Path) -> None:
    """The other way round."""
    found = found_in(tmp_path, prices=FALL)
    ((purpose, side, lots),) = orders(found)
    assert (purpose, side) == ("open", "buy")
    made = changes(found)
    assert (made[CHAIN, WETH], made[EXCHANGE, "ETH"]) == (-lots * 10**15, lots * 10**15)
    assert made[CHAIN, DAI] + made[EXCHANGE, "USDC"] > 0
    assert lives(found) == ["opened", "closed"]


def test_the_risk_of_waiting_is_expected(tmp_path: Path) -> None:
    """It lessens what is expected by the square root of the time, and beyond what the gap is worth nothing is planned."""
    free = found_in(tmp_path)["cycles"][0]
    charged = found_in(tmp_path, wait_ms="4000", wait_risk_bps="10")["cycles"][0]
    notional = free["notional"]
    assert free["amount"] == charged["amount"]
    assert (
        free["expected_profit"] - charged["expected_profit"] == notional * 10 * 2 // 10_000 == notional * 2 * isqrt(10**6) // 10**6
    )
    refused = found_in(tmp_path, wait_ms="4000", wait_risk_bps="1000")
    assert [row["reason"] for row in refused["refusals"]] == ["unprofitable"]
    assert "cycles" not in refused


@pytest.mark.parametrize(
    ("model", "given", "expected"),
    [
        ({"taken_bps": "10000"}, {}, ["pending", "sent", "reverted"]),
        ({"missed_bps": "10000"}, {"deadline_ms": "1500"}, ["pending", "sent", "dropped"]),
        ({}, {"chain": "max_fee_gwei = 11", "channel": '"relay"'}, ["pending", "sent", "succeeded"]),
    ],
)
def test_only_a_success_is_hedged(tmp_path: Path, model: dict[str, str], given: dict[str, Any], expected: list[str]) -> None:
    """Where somebody else was first the bundle closes with its gas booked; one that no block takes is given up by its deadline, and ends then."""
    found = found_in(tmp_path, simulated=model, **given)
    assert states(found)[:3] == expected
    if expected[-1] == "succeeded":
        assert orders(found)[0][0] == "open"
        return
    assert orders(found) == []
    assert lives(found)[:2] == ["opened", "closed"]
    assert {asset for (_, asset), change in changes(found).items() if change} == {"ETH"}
    kinds = [row["kind"] for row in found["cycles"] if row["bundle"] == 1]
    assert kinds == (["submit", "cancel"] if expected[-1] == "dropped" else ["submit"])


def test_both_at_once_and_the_hedge_undone(tmp_path: Path) -> None:
    """The order leaves with the swap; where that reverts it is bought back, at a loss of fees and the spread."""
    found = found_in(tmp_path, simulated={"taken_bps": "10000"}, order='"simultaneous"', max_open_bundles="1", cool_down_ms="60000")
    assert [one[:2] for one in orders(found)] == [("open", "sell"), ("unwind", "buy")]
    made = changes(found)
    assert made.get((EXCHANGE, "ETH"), 0) == 0
    assert made[EXCHANGE, "USDC"] < 0
    good = found_in(tmp_path, order='"simultaneous"')
    assert orders(good)[0][:2] == ("open", "sell")
    assert good["commands"][0]["ts"] == good["cycles"][0]["ts"]


def test_a_reorganisation_after_the_hedge(tmp_path: Path) -> None:
    """Its block is removed: rows are booked back and the bundle goes on; the new branch holds the swap, and all is as if nothing had been."""
    acts = [Act(EVEN)] * 5 + [Act(EVEN, removed=1), Act(EVEN), Act(EVEN)]
    found = found_in(tmp_path, acts)
    assert states(found)[:5] == ["pending", "sent", "succeeded", "sent", "succeeded"]
    again = ["reopened", "unbalanced", "unbalanced", "closed"]  # first by the hedge, then by dust
    assert lives(found)[:7] == ["opened", "unbalanced", "closed", *again]
    assert len(orders(found)) == 1
    swaps = [row["delta"] for row in found["ledger"] if row["cause"] == "swap" and row["asset"] == DAI]
    assert len(swaps) == 3
    assert sum(swaps) == swaps[0]


def test_a_swap_that_a_reorganisation_loses_leaves_its_hedge_to_be_undone(tmp_path: Path) -> None:
    """Its branch has another price, so that it reverts: what was sold is bought back within its cap."""
    far = {**EVEN, CHEAP.address: (10**21, 3_200 * 10**9)}
    acts = [Act(EVEN)] * 5 + [Act(far, removed=1), Act(far), Act(far)]
    found = found_in(tmp_path, acts, cool_down_ms="60000")
    assert states(found)[:5] == ["pending", "sent", "succeeded", "sent", "reverted"]
    assert [one[:2] for one in orders(found)][:2] == [("open", "sell"), ("unwind", "buy")]
    made = changes(found)
    assert (made[CHAIN, DAI], made[CHAIN, WETH], made[EXCHANGE, "ETH"]) == (0, 0, 0)


def replayed(path: Path, log: Path, *, size: int, copied: bool) -> tuple[Assembly, str]:
    """An assembly that went through a log in batches, gone on with from a checkpoint after each if `copied`; and its digest."""
    digest = OutputDigest()
    with LogReader(log) as reader:
        resolved = resolve_recorded(load_experiment(path), reader)
        assembly = Assembly(resolved, recorded_ground(resolved, reader))
        for batch in reader.batches(rows=size):
            replay(assembly, [batch], digest.take)
            if copied:
                state = capture(assembly)
                assembly = Assembly(resolved, recorded_ground(resolved, reader))
                restore(assembly, state)
                assert capture(assembly) == state
    return assembly, digest.hex()


@pytest.mark.parametrize("seed", range(6))
def test_what_a_run_says_is_what_chain_and_exchange_have(tmp_path: Path, seed: int) -> None:
    """Over random prices, pools, reorganisations, misses and competitors: the engine's money is theirs, over any batches and checkpoints."""
    draw = random.Random(seed)  # noqa: S311  # a test's draw
    acts, prices = [Act(EVEN)], [3_000]
    for number in range(24):
        tilted = {**EVEN, DEAR.address: (10**21, draw.choice([2_950, 3_000, 3_060]) * 10**9)}
        acts.append(Act(tilted, removed=draw.choice([0, 0, 0, 1]) if number > 3 else 0, base_fee_wei=draw.randrange(1, 60) * GWEI))
        prices.append(draw.choice([2_930, 3_000, 3_000, 3_070]))
    acts += [Act(EVEN)] * 6
    model = {"missed_bps": "2000", "taken_bps": "4000", "latency": "{ uniform_ms = [10, 2500] }"}
    log = hedge_log(tmp_path / "log", acts, [*prices, *[3_000] * 6])
    order = draw.choice(['"dex_first"', '"simultaneous"'])
    path = hedge_experiment(tmp_path, log, simulated=model, deadline_ms="5000", order=order, max_open_bundles="3", max_legs="2")
    assembly, digest = replayed(path, log, size=1 << 20, copied=False)
    assert replayed(path, log, size=7, copied=True)[1] == digest
    assert assembly.venues is not None
    books = {key: value for key, value in assembly.engine.portfolio.balances().items() if value}
    told = assembly.venues.chains.balances() | {
        ("main", EXCHANGE, asset): amount for asset, amount in assembly.venues.purse("main", EXCHANGE).free.items()
    }
    assert books == {key: value for key, value in told.items() if value}
    assert assembly.engine.onchain.capture().cycles == [] or assembly.engine.execution.open_bundles("hedged") <= 3


def test_keys_that_other_strategies_have_too(tmp_path: Path) -> None:
    """When it looks, how far a path may go, how much is held to be likely, what may be lost before the contract undoes it."""
    at_block = found_in(tmp_path)["cycles"][0]
    at_row = found_in(tmp_path, every_row="true")["cycles"][0]
    by_scan = found_in(tmp_path, scan_ms="100")["cycles"][0]
    assert at_row["ts"] < by_scan["ts"] < at_block["ts"]
    assert (at_block["ts"] - at_row["ts"]) // 10**6 == 2_000 - 1
    unlikely = found_in(tmp_path, success_bps="5000")["cycles"][0]
    gas, revert = PATH.of(1, 0), PATH.more_of_revert(1)
    whole = at_block["expected_profit"] + -(-gas * 11 * GWEI * 310_050 // 100)
    assert (
        unlikely["expected_profit"]
        == whole // 2 - -(-gas * 11 * GWEI * 310_050 // 100) - -(-revert * 11 * GWEI * 310_050 // 100) // 2
    )
    strict = found_in(tmp_path, slip_bps="0")["cycles"][0]
    assert int(strict["min_out"]) == int(strict["expected_out"]) > int(at_block["min_out"])
    small = found_in(tmp_path, max_notional_quote="1000")["cycles"][0]
    assert small["notional"] <= 1_000 * MONEY_ONE
    assert "cycles" not in found_in(tmp_path, min_profit_bps="300")
    assert [row["reason"] for row in found_in(tmp_path, max_edge_bps="100")["refusals"]] == ["abnormal_edge"]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"financing": '"flashloan"'}, "must be paid back in the transaction"),
        ({"financing": '"callback"'}, "must be paid back in the transaction"),
        ({"sequence": '"simultaneous"'}, "what leaves first of cex_dex says `order`"),
        ({"max_legs": "5"}, "allowed are 1 to 4"),
        ({"start_assets": f'["{WETH}"]'}, "is of strategies of kind"),
        ({"wait_ms": "-1"}, "numbers from 0 on"),
        ({"chain": "coins = {}"}, "must be said"),
        ({"chain": f'coins = {{ {WETH} = "ETH" }}'}, "no path of pools has two tokens"),
        ({"chain": f'coins = {{ {WETH} = "ETH", {DAI} = "EUR" }}'}, "coins"),
        ({"chain": f'coins = {{ {"0x" + "9" * 40} = "ETH" }}'}, "coins"),
        ({"symbols": f'["{CHEAP.address}"]'}, "no spot market"),
    ],
)
def test_a_config_that_cannot_be_is_refused(tmp_path: Path, given: dict[str, Any], why: str) -> None:
    """By name, and with the reason."""
    with pytest.raises(ConfigError, match=why):
        found_in(tmp_path, **given)


def test_check_says_what_it_can_do(tmp_path: Path) -> None:
    """Pools and the market without a blocker; without gas none can be swapped."""
    log = hedge_log(tmp_path / "log", BLOCKS, RISE)
    good = check(load_experiment(hedge_experiment(tmp_path, log)), log=None)
    assert not good.idle
    path = hedge_experiment(tmp_path, log)
    path.write_text(path.read_text().replace("ETH = 10\n", "ETH = 0\n"))
    bad = check(load_experiment(path), log=None)
    assert bad.idle == ("hedged",)


ROOT = Path(__file__).parent.parent


def test_the_shipped_experiment_trades_and_balances(tmp_path: Path) -> None:
    """On the shipped recording it finds gaps on both sides, swaps and hedges them, earns, and is proven; what is left is dust."""
    found = run(ROOT / "experiments" / "cex_dex.toml", tmp_path / "run")
    ends = [row["event"] for row in found["bundles"]]
    last = {row["order"]: row["state"] for row in found["cycle_states"]}
    under_way = sum(state in ("pending", "sent") for state in last.values())  # when the recording ends
    assert ends.count("opened") == ends.count("closed") + ends.count("held") - ends.count("reopened") + under_way
    assert under_way <= 1
    done = [row for row in found["cycle_states"] if row["state"] == "succeeded"]
    assert len(done) > 3
    sides = {row["side"] for row in found["commands"] if row["kind"] == "submit" and row["purpose"] == "open"}
    assert sides == {"buy", "sell"}
    swapped = {row["bundle"] for row in done}
    assert {row["bundle"] for row in found["fills"]} <= swapped
    made = changes(found)
    weth, usdc = "0x5fbdb2315678afecb367f032d93f642f64180aa3", "0x9fe46736679d2d9a65f0992f2272de9f3c7fa6e0"
    left = made["local", weth] + made["alpha", "ETH"]
    assert left == sum(row["qty"] for row in found.get("residuals", []) if row["asset"] == "ETH")
    price = found["fills"][-1]["price"]
    assert made["local", usdc] + made["alpha", "USDC"] + left * price // MONEY_ONE > 100 * MONEY_ONE
    assert verify(tmp_path / "run", advance=quiet).equal
