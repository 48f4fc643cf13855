"""Cycles over the pools of a log, from the config to money: found, paid for, included in a simulated block, proven."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.dexworld import BLOCK_MS, EVEN, GAP, Act, chain_log, experiment, run
from tests.engine.cycles import CHAIN, CHEAP, DEAR, GWEI, WETH, product
from tests.trial import Run, quiet
from xarb.assembly import Assembly, recorded_ground
from xarb.assembly.resolved import resolve_recorded
from xarb.checkpoint import capture, restore
from xarb.config import load_experiment
from xarb.engine.onchain import OnChain
from xarb.engine.results import DAY_NS
from xarb.engine.strategy import AtomicPlan
from xarb.errors import ConfigError
from xarb.log.canonical import OutputDigest
from xarb.log.reader import LogReader
from xarb.model.command import AnyCommand
from xarb.pools.cycle import Hop, best_input
from xarb.pools.financing import MEASURED, Loan
from xarb.replay import replay
from xarb.starts import Opening, Span, Start, closing_volumes
from xarb.venues.asked import through
from xarb.verbs.diff import diff
from xarb.verbs.verify import verify
from xarb.verbs.why import Question, why

STORY = [Act(EVEN), Act(GAP), Act(GAP), Act(GAP), Act(EVEN), Act(EVEN)]


def best_profit() -> int:
    """What the gap is worth at most, before gas."""
    hops = [Hop(product(DEAR, GAP[DEAR.address]), zero_for_one=True), Hop(product(CHEAP, GAP[CHEAP.address]), zero_for_one=False)]
    best = best_input(hops)
    assert best is not None
    return best.profit


def states(found: Run) -> list[str]:
    """Of cycles, in order."""
    return [row["state"] for row in found.get("cycle_states", [])]


def sums(found: Run) -> dict[tuple[str, str], int]:
    """Of the ledger by asset and cause."""
    made: dict[tuple[str, str], int] = {}
    for row in found["ledger"]:
        made[row["asset"], row["cause"]] = made.get((row["asset"], row["cause"]), 0) + row["delta"]
    return made


def test_a_gap_is_taken_once_and_proven(tmp_path: Path) -> None:
    """The best cycle goes into the next block, earns to the unit what was computed, pays gas as measured, and is final; `verify` agrees."""
    path = experiment(tmp_path, chain_log(tmp_path / "log", STORY))
    found = run(path, tmp_path / "run")
    assert states(found) == ["pending", "sent", "succeeded", "final"]
    made = sums(found)
    gas = MEASURED["callback"].of(2, 0) * 11 * GWEI
    assert (made[WETH, "cycle"], made["ETH", "gas"]) == (best_profit(), -gas)
    phases = [(row["phase"], row["verdict"], row["bundle"]) for row in found["opportunities"]]
    assert phases == [("opened", None, None), ("decided", "taken", 1), ("closed", None, None)]
    assert found["opportunities"][0]["legs"] == f"sell {DEAR.address}@{CHAIN}, buy {CHEAP.address}@{CHAIN}"
    assert found["cycles"][0]["funding"] == "callback"
    assert int(found["cycles"][0]["expected_net"]) == best_profit() - gas
    assert verify(tmp_path / "run", advance=quiet).equal


def test_batches_and_checkpoints_change_nothing(tmp_path: Path) -> None:
    """However the log is cut, and gone on with from a checkpoint after each batch: the same bytes."""
    draw = random.Random(5)  # noqa: S311  # a test's draw
    acts = [Act(EVEN)]
    for number in range(40):
        pools = draw.choice([EVEN, GAP, GAP, acts[-1].pools])
        acts.append(Act(pools, removed=draw.choice([0, 0, 1, 2]) if number > 5 else 0, base_fee_wei=draw.randrange(1, 90) * GWEI))
    model = {"missed_bps": "3000", "taken_bps": "3000", "finality_blocks": "3", "latency": "{ uniform_ms = [10, 3000] }"}
    model["sees_own_swaps"] = "true"
    path = experiment(tmp_path, chain_log(tmp_path / "log", acts), simulated=model, deadline_ms="6000")
    digests = set()
    for size, copied in ((1, True), (3, True), (7, False), (1 << 20, False)):
        digest = OutputDigest()
        with LogReader(tmp_path / "log") as reader:
            resolved = resolve_recorded(load_experiment(path), reader)
            assembly = Assembly(resolved, recorded_ground(resolved, reader))
            for batch in reader.batches(rows=size):
                replay(assembly, [batch], digest.take)
                if copied:
                    state = capture(assembly)
                    assembly = Assembly(resolved, recorded_ground(resolved, reader))
                    restore(assembly, state)
                    assert capture(assembly) == state
        digests.add((digest.rows, digest.hex()))
    assert len(digests) == 1


@pytest.mark.parametrize("seed", range(8))
def test_what_a_run_says_is_what_the_chain_has(tmp_path: Path, seed: int) -> None:
    """Over random gaps, fees, reorganisations, misses and competitors: the engine's money is the simulated chain's once all was told."""
    draw = random.Random(seed)  # noqa: S311  # a test's draw
    acts = [Act(EVEN)]
    for number in range(30):
        pools = draw.choice([EVEN, GAP, GAP, acts[-1].pools])
        acts.append(Act(pools, removed=draw.choice([0, 0, 0, 1]) if number > 3 else 0, base_fee_wei=draw.randrange(1, 60) * GWEI))
    acts += [Act(EVEN)] * 6
    model = {"missed_bps": "2000", "taken_bps": "4000", "latency": "{ uniform_ms = [10, 2500] }"}
    model["sees_own_swaps"] = "true" if seed % 2 else "false"
    log = chain_log(tmp_path / "log", acts)
    path = experiment(tmp_path, log, simulated=model, deadline_ms="5000")
    with LogReader(log) as reader:
        resolved = resolve_recorded(load_experiment(path), reader)
        assembly = Assembly(resolved, recorded_ground(resolved, reader))
        rows: list[tuple[object, ...]] = []
        replay(assembly, reader.batches(), rows.extend)
    assert assembly.venues is not None
    books = assembly.engine.portfolio.balances()
    told = assembly.venues.chains.balances()
    assert {key: value for key, value in books.items() if value} == {key: value for key, value in told.items() if value}
    assert any(row[0] == "cycle_states" for row in rows)


@pytest.mark.parametrize(
    ("story", "model", "changes", "expected"),
    [
        ([EVEN, GAP, EVEN, EVEN], {}, {}, ["pending", "sent", "reverted"]),  # the gap is gone in the block that holds it
        ([EVEN, GAP, GAP, GAP], {"taken_bps": "10000"}, {}, ["pending", "sent", "reverted"]),
        ([EVEN, GAP, GAP, GAP], {"missed_bps": "10000"}, {}, ["pending", "sent"]),
        (
            [EVEN, GAP, GAP, GAP],
            {"taken_bps": "10000"},
            {"channel": '"relay"', "deadline_ms": "1000"},
            ["pending", "sent", "dropped"],
        ),
        ([EVEN, GAP, GAP, GAP, GAP], {"lag_ms": "1950"}, {}, ["pending", "sent", "succeeded"]),
    ],
)
def test_what_may_become_of_it(
    tmp_path: Path, story: list[dict[str, tuple[int, int]]], model: dict[str, str], changes: dict[str, str], expected: list[str]
) -> None:
    """Gone, taken by somebody else, left out, dropped by a relay, and late for a block."""
    path = experiment(tmp_path, chain_log(tmp_path / "log", [Act(pools) for pools in story]), simulated=model, **changes)
    found = run(path, tmp_path / "run")
    assert states(found)[: len(expected)] == expected
    assert (WETH, "cycle") in sums(found) or expected[-1] != "succeeded"
    if expected[-1] == "reverted":
        use = MEASURED["callback"]
        assert sums(found)["ETH", "gas"] % ((use.of(2, 0) + use.more_of_revert(2)) * 11 * GWEI) == 0
    if expected[-1] == "dropped":
        assert ("ETH", "gas") not in sums(found)


def test_what_is_undone_pays_for_the_ticks_that_it_crossed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Swaps came about before the end found too little left, and their gas was used: three ticks in each pool, here up to the limit."""
    calls: list[Any] = []

    def crossing(pool: Any, amount: int, *, zero_for_one: bool) -> tuple[int, Any, int]:
        given, left, _ = through(pool, amount, zero_for_one=zero_for_one)
        calls.append(pool)
        return given, left, 3 if len(calls) > 2 else 0  # the first two are the simulation before it is sent

    monkeypatch.setattr("xarb.venues.simulated_chain.through", crossing)
    path = experiment(tmp_path, chain_log(tmp_path / "log", [Act(pools) for pools in (EVEN, GAP, EVEN, EVEN)]))
    found = run(path, tmp_path / "run")
    assert (states(found)[2], found["cycle_states"][2]["reason"]) == ("reverted", "unprofitable")
    use, limit = MEASURED["callback"], found["cycles"][0]["gas_limit"]
    assert use.of(2, 0) + use.more_of_revert(2) < limit < use.of(2, 6)
    assert sums(found)["ETH", "gas"] == -limit * 11 * GWEI


def test_a_reorganisation_takes_it_back_and_another_block_has_it(tmp_path: Path) -> None:
    """What was booked is booked back; the transaction goes into the new branch."""
    acts = [Act(EVEN), Act(GAP), Act(GAP), Act(GAP, removed=1), Act(EVEN)]
    path = experiment(tmp_path, chain_log(tmp_path / "log", acts))
    found = run(path, tmp_path / "run")
    assert states(found)[:5] == ["pending", "sent", "succeeded", "sent", "succeeded"]
    assert sums(found)[WETH, "cycle"] == best_profit()


def test_a_bid_that_does_not_pay_for_a_block_waits(tmp_path: Path) -> None:
    """A base fee above what is bid: the next block has it."""
    story = [Act(EVEN), Act(GAP), Act(GAP, base_fee_wei=5_000 * GWEI), Act(GAP), Act(GAP)]
    found = run(experiment(tmp_path, chain_log(tmp_path / "log", story)), tmp_path / "run")
    assert [row["block_number"] for row in found["cycle_states"] if row["state"] == "succeeded"] == [103]


def test_nothing_is_planned_while_a_chain_is_lower_than_it_was(tmp_path: Path) -> None:
    """Two blocks are removed, and the first of the new branch has a gap: the plan comes with the second."""
    story = [Act(EVEN), Act(EVEN), Act(EVEN), Act(GAP, removed=2), Act(GAP), Act(GAP), Act(GAP)]
    found = run(experiment(tmp_path, chain_log(tmp_path / "log", story)), tmp_path / "run")
    assert (found["cycles"][0]["ts"] - found["ledger"][0]["ts"]) // 10**6 == 4 * BLOCK_MS


def test_nothing_is_taken_twice(tmp_path: Path) -> None:
    """The log knows nothing of us, and the strategy sees its gap again once a pool changes: what we swapped still lies in the way."""
    nearly = {CHEAP.address: (10**21, 3_000 * 10**9 + 10**6), DEAR.address: (10**21, 3_150 * 10**9 - 10**6)}
    wider = {**GAP, DEAR.address: (10**21, 3_300 * 10**9)}
    story = [Act(EVEN), Act(GAP), Act(GAP), Act(nearly), Act(nearly), Act(wider), Act(wider), Act(wider)]
    path = experiment(tmp_path, chain_log(tmp_path / "log", story), slip_bps="10000")
    found = run(path, tmp_path / "run")
    assert states(found) == ["pending", "sent", "succeeded", "pending", "refused", "final", "pending", "sent", "succeeded"]
    assert [row["reason"] for row in found["cycle_states"] if row["state"] == "refused"] == ["simulation"]
    first, second = (int(row["profit"]) for row in found["cycle_states"] if row["state"] == "succeeded")
    whole = [
        Hop(product(DEAR, wider[DEAR.address]), zero_for_one=True),
        Hop(product(CHEAP, wider[CHEAP.address]), zero_for_one=False),
    ]
    best = best_input(whole)
    assert best is not None
    assert first == best_profit()
    assert 0 < second < best.profit


def test_what_risk_refuses_is_asked_for_again_at_the_next_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was taken, so that the same pools as they were may be planned on again."""
    submit, refused = OnChain.submit, list[int]()

    def first_not(
        self: OnChain, plan: AtomicPlan, strategy: str, opportunity: int | None
    ) -> tuple[Sequence[AnyCommand], int | None]:
        if len(refused) < 2:
            refused.append(plan.amount)
            return [], None
        return submit(self, plan, strategy, opportunity)

    monkeypatch.setattr(OnChain, "submit", first_not)
    found = run(experiment(tmp_path, chain_log(tmp_path / "log", [Act(EVEN), *[Act(GAP)] * 6])), tmp_path / "run")
    assert states(found)[:3] == ["pending", "sent", "succeeded"]
    assert len(found["cycles"]) == 1
    assert refused == [int(found["cycles"][0]["amount"])] * 2


def test_each_key_has_its_effect(tmp_path: Path) -> None:
    """Keys of the strategy and of the chain change what is done, or refuse it by name."""
    log = chain_log(tmp_path / "log", STORY)
    runs = iter(range(100))
    lender = '[onchain.ethereum.lenders.vault]\nkind = "balancer"\naddress = "0x%s"\npremium_ppm = %s\ndepth = { %s = %s }\n'

    def with_(more: str = "", *, simulated: dict[str, str] | None = None, chain: str = "", **changes: str) -> Run:
        path = experiment(tmp_path, log, simulated=simulated, **changes)
        text = path.read_text().replace("[onchain.ethereum.simulated]", f"{chain}\n[onchain.ethereum.simulated]") + more
        path.write_text(text)
        return run(path, tmp_path / f"run{next(runs)}")

    def reasons(found: Run) -> set[str]:
        return {row["reason"] for row in found.get("refusals", [])}

    amount = int(with_()["cycles"][0]["amount"])
    assert 5 * 10**18 < amount < 30 * 10**18
    assert 0 <= 5 * 10**18 - int(with_(financing='"wallet"')["cycles"][0]["amount"]) < 10**10  # what a unit of DAI comes to
    assert "no_lender" in reasons(with_(financing='"flashloan"'))
    lent = with_(lender % ("c" * 40, 0, WETH, 50), financing='"flashloan"')
    assert (lent["cycles"][0]["funding"], lent["cycles"][0]["premium"]) == ("balancer", "0")
    assert int(with_(lender % ("c" * 40, 500, WETH, 50), financing='"flashloan"')["cycles"][0]["premium"]) == -(
        -amount * 500 // 10**6
    )
    assert "lender_depth" in reasons(with_(lender % ("c" * 40, 0, WETH, 1), financing='"flashloan"'))
    dai = with_(start_assets=f'["{CHEAP.token1}"]')
    assert dai["cycles"][0]["token"] == CHEAP.token1
    assert int(with_(slip_bps="5000")["cycles"][0]["min_profit"]) == -(-best_profit() // 2)
    assert int(with_(success_bps="5000")["cycles"][0]["expected_net"]) < best_profit() // 2
    assert with_(channel='"relay"')["cycles"][0]["channel"] == "relay"
    assert with_(deadline_ms="7000")["cycles"][0]["deadline_s"] == with_(deadline_ms="3000")["cycles"][0]["deadline_s"] + 4
    assert "unprofitable" in reasons(with_(min_profit_quote="100"))
    assert "fee_cap" in reasons(with_(chain="max_fee_gwei = 10"))
    assert int(with_(chain="max_fee_gwei = 50")["cycles"][0]["ceiling_wei"]) == 50 * GWEI
    tip = MEASURED["callback"].of(2, 0) * 15 * GWEI
    assert sums(with_(chain="tip_gwei = 5"))["ETH", "gas"] == -tip
    late = with_(simulated={"latency": "{ constant_ms = 2500 }"})
    assert late["sim_receipts"][1]["block_number"] == 103
    assert with_(simulated={"receipt_ms": "700"})["sim_receipts"][1]["ts"] == with_()["sim_receipts"][1]["ts"] + 600 * 10**6
    assert states(with_(simulated={"finality_blocks": "9"})) == ["pending", "sent", "succeeded"]
    assert len(with_(simulated={"sees_own_swaps": "true"})["cycles"]) > len(with_()["cycles"])
    assert with_(simulated={"lag_ms": "1950"})["sim_receipts"][1]["block_number"] == 103
    path = experiment(tmp_path, log)
    for key, value in {
        "onchain.ethereum.wrapped": '"0x1"',
        "onchain.ethereum.tip_gwei": "200",
        "onchain.ethereum.simulated.taken_bps": "10001",
        "strategies.dex.success_bps": "10001",
        "strategies.dex.max_legs": "5",
        "strategies.dex.start_assets": '["0xnone"]',
        "strategies.dex.every_row": "true",
        "strategies.dex.venues": '["base"]',
    }.items():
        with pytest.raises(ConfigError, match=key.rpartition(".")[2]):
            run(path, tmp_path / "never", **{key.replace(".", "__"): value})
    assert {
        row["asset"]
        for row in run(
            path, tmp_path / "xyz", onchain__ethereum__native='"DAI"', accounts="{ main = { ethereum = { DAI = 10 } } }"
        )["ledger"]
    } == {"DAI", WETH}


def test_loans_are_what_the_log_says(tmp_path: Path) -> None:
    """Premium and depth of the block decide which lender is taken, and those of the block that holds the cycle what becomes of it."""
    vault, pool = "0x" + "c" * 40, "0x" + "d" * 40
    dear = Loan(way="balancer", lender=vault, premium_wad=10**15, available=10**30)
    cheap = Loan(way="aave", lender=pool, premium_wad=0, available=2**256 - 1)
    runs = iter(range(100))

    def of(*later: tuple[Loan, ...], gap: tuple[Loan, ...] = ()) -> Run:
        acts = [Act(EVEN, loans=(dear,)), Act(GAP, loans=gap), *[Act(GAP, loans=loans) for loans in later or ((),)]]
        folder = tmp_path / str(next(runs))
        folder.mkdir()
        log = chain_log(folder / "log", [*acts, Act(EVEN), Act(EVEN)])
        return run(experiment(folder, log, financing='"flashloan"'), folder / "run")

    def sent(found: Run) -> tuple[str, str, int, int]:
        row = found["cycles"][0]
        return row["funding"], row["lender"], int(row["premium"]), int(row["amount"])

    way, who, premium, amount = sent(of())
    assert (way, who, premium) == ("balancer", vault, -(-amount * 10**15 // 10**18))
    taken = of(gap=(cheap,))
    assert (sent(taken)[:3], states(taken)[:3]) == (("aave", pool, 0), ["pending", "sent", "succeeded"])
    assert sent(of(gap=(msgspec.structs.replace(cheap, available=amount - 1),)))[0] == "balancer"
    for name, value, reason in (("premium_wad", 10**17, "unprofitable"), ("premium_wad", None, "loan"), ("available", 1, "loan")):
        found = of((msgspec.structs.replace(cheap, **{name: value}),), gap=(cheap,))
        assert (states(found)[2], found["cycle_states"][2]["reason"]) == ("reverted", reason)
    acts = [Act(EVEN, loans=(dear,)), Act(EVEN, loans=(cheap,)), Act(GAP, removed=1), Act(EVEN)]
    found = run(experiment(tmp_path, chain_log(tmp_path / "log", acts), financing='"flashloan"'), tmp_path / "run")
    assert sent(found)[0] == "balancer", "with its block goes what the lender said in it"
    told = {one.key.rpartition("_")[2]: one.rows for one in why(tmp_path / "run", Question(None, 1, None))}
    assert (CHAIN, WETH, "balancer", vault, "10", 10**30) in told["loans"]
    assert [row[2:] for row in told["instruments"]] == [("live", 1000, True, *(None,) * 8)] * 2, "a pool has no quote"
    assert [row[4:] for row in told["pools"]] == [("v2", 101, f"reserves {10**21} {price * 10**9}") for price in (3150, 3000)]
    premium = int(found["cycles"][0]["premium"])
    assert any({("paid for by", f"balancer {vault}"), ("premium", premium)} <= {*rows} for rows in told.values())


def test_a_config_states_loans_only_where_the_log_does_not(tmp_path: Path) -> None:
    """What a recording lacks may be assumed, and the summary tells it; beside rows of the same lender and token it is refused."""
    vault = "0x" + "c" * 40
    loan = Loan(way="balancer", lender=vault, premium_wad=0, available=10**30)
    text = (
        f'[onchain.ethereum.lenders.vault]\nkind = "balancer"\naddress = "{vault}"\npremium_ppm = 500\ndepth = {{ {WETH} = 50 }}\n'
    )
    for rows, told in (((), "lends 50 of"), ((loan,), "")):
        log = chain_log(tmp_path / f"log{len(rows)}", [Act(EVEN, loans=rows), Act(GAP), Act(EVEN)])
        path = experiment(tmp_path, log)
        with LogReader(log) as reader:
            plain = resolve_recorded(load_experiment(path), reader)
            assert ("ethereum", "loans", "as the log says") in Assembly(plain, recorded_ground(plain, reader)).assumptions().rows
            path.write_text(path.read_text() + text)
            stated = resolve_recorded(load_experiment(path), reader)
            if rows:
                with pytest.raises(ConfigError, match=f"lenders.vault: the log says what it takes and has of {WETH}"):
                    recorded_ground(stated, reader)
                continue
            (row,) = [one for one in Assembly(stated, recorded_ground(stated, reader)).assumptions().rows if vault in one[1]]
        assert row[2] == f"{told} {WETH} for 0.05 %, by the config alone: the log does not say"


def test_a_cycle_that_has_no_budget_for_gas_is_refused(tmp_path: Path) -> None:
    """What is not there cannot be bid."""
    path = experiment(tmp_path, chain_log(tmp_path / "log", STORY))
    found = run(path, tmp_path / "run", accounts__main__ethereum__ETH="0.001")
    assert {row["reason"] for row in found["refusals"]} == {"balance"}


def test_a_difference_of_two_runs_has_causes_that_add_up(tmp_path: Path) -> None:
    """Competitors on one side alone: the cycle reverted there, by the key that says so, and the money is all of it."""
    path = experiment(tmp_path, chain_log(tmp_path / "log", STORY))
    earned, taken = run(path, tmp_path / "a"), run(path, tmp_path / "b", onchain__ethereum__simulated__taken_bps="10000")
    found = diff(tmp_path / "a", tmp_path / "b")
    first = found.differences[0]
    assert (first.what, first.cause, first.because) == ("outcome", "config", "onchain.ethereum.simulated.taken_bps")
    assert (first.a.state, first.b.state, first.b.reason) == ("succeeded", "reverted", "taken")
    total = dict.fromkeys(("ETH", WETH), 0)
    for one in found.differences:
        for asset, change in one.flow.items():
            total[asset] += change
    assert total[WETH] == -sums(earned)[WETH, "cycle"]
    assert total["ETH"] == sums(taken)["ETH", "gas"] - sums(earned)["ETH", "gas"]
    run(path, tmp_path / "c", onchain__ethereum__simulated__latency="{ constant_ms = 2500 }")
    assert {one.cause for one in diff(tmp_path / "a", tmp_path / "c").differences} == {"latency"}


def test_why_tells_where_a_cycle_is_explained(tmp_path: Path) -> None:
    """An order that is a transaction on a chain names its opportunity, which is explained as any other."""
    run(experiment(tmp_path, chain_log(tmp_path / "log", STORY)), tmp_path / "run")
    with pytest.raises(ConfigError, match="--opportunity 1"):
        why(tmp_path / "run", Question("1", None, None))
    assert why(tmp_path / "run", Question(None, 1, None))


def test_what_cycles_sent_counts_over_a_restart(tmp_path: Path) -> None:
    """The volumes that a start ends with hold what goes into the first pool, in its token."""
    found = run(experiment(tmp_path, chain_log(tmp_path / "log", STORY)), tmp_path / "run")
    opening = Opening(balances=(), sources={}, armed=True)
    start = Start(number=1, log_id="x", code_digest="", config={}, seed=1, mode="paper", opening=opening, applied_seq=None)
    with LogReader(tmp_path / "run") as reader:
        (sent,) = closing_volumes(reader, Span(start, 0, 10**6))
    row = found["cycles"][0]
    assert (sent.strategy, sent.venue, sent.symbol, sent.currency) == ("dex", CHAIN, DEAR.address, WETH)
    assert sent.amount == row["notional"] == int(row["amount"])
    assert sent.day == row["ts"] // DAY_NS
