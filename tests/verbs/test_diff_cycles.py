"""Two runs over blocks: cycles are aligned by the block they were decided upon, whichever log it is in, and each difference has its cause."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from tests.dexworld import EVEN, GAP, Act, chain_log, experiment, run
from tests.engine.cycles import CHEAP, DEAR, GWEI, WETH
from tests.hedgeworld import hedge_experiment, hedge_log
from xarb.inquiry.causes import total_of
from xarb.inquiry.chainblocks import TwoChains
from xarb.inquiry.cyclecauses import DECLARED
from xarb.inquiry.decided import open_decided
from xarb.inquiry.receipts import Aligned, Receipt, ReceiptComparison, Told
from xarb.model.command import SwapCycle
from xarb.pools.financing import MEASURED, Loan
from xarb.venues.simulated_chain import Outcome as Swapped
from xarb.venues.simulated_chain import SimulatedChain
from xarb.verbs.diff import Outcome, diff

if TYPE_CHECKING:
    import pytest

STORY = [Act(EVEN), Act(EVEN), Act(GAP), Act(GAP), Act(GAP), Act(GAP), Act(GAP)]
WIDER = {**GAP, DEAR.address: (10**21, 3_200 * 10**9)}
MORE = {address: (one * 11 // 10, other * 11 // 10) for address, (one, other) in GAP.items()}


def made(folder: Path, story: Sequence[Act], **model: str) -> Path:
    """A run over such blocks, in a log of its own."""
    folder.mkdir()
    path = experiment(folder, chain_log(folder / "log", story), simulated=model, slip_bps="5000")
    run(path, folder / "run")
    return folder / "run"


def test_a_changed_fee_is_found(tmp_path: Path) -> None:
    """A pool of other terms is no market that was the same, whatever came of it."""
    dearer = [CHEAP, msgspec.structs.replace(DEAR, fee_ppm=3001)]
    (tmp_path / "b").mkdir()
    path = experiment(tmp_path / "b", chain_log(tmp_path / "b/log", STORY, dearer), slip_bps="5000")
    run(path, tmp_path / "b/run")
    found = diff(made(tmp_path / "a", STORY), tmp_path / "b/run")
    assert not found.equal
    assert {one.root for one in found.differences} == {"missing data"}


def causes(found: Outcome) -> list[tuple[str, str]]:
    """What differs, and why."""
    return [(one.what, one.cause) for one in found.differences]


def receipts(found: Outcome) -> list[tuple[str, ...]]:
    """What differs in receipts: what, field, both values, what lies between, and why."""
    (section,) = [one for one in found.sections if one.key == "receipts"]
    return [(row[1], *row[4:]) for row in section.rows]


def compared(tmp_path: Path, story: Sequence[Act], other: Sequence[Act], model: dict[str, str] | None = None) -> Outcome:
    """A run over the one beside a run over the other."""
    return diff(made(tmp_path / "a", story), made(tmp_path / "b", other, **(model or {})))


def test_other_logs_of_the_same_blocks_are_equal(tmp_path: Path) -> None:
    """Nothing differs; the bundle is there with what it was expected to be."""
    found = compared(tmp_path, STORY, STORY)
    assert found.equal
    assert found.differences == []
    (section,) = [one for one in found.sections if one.key == "cycles"]
    (row,) = section.rows
    told = dict(zip(section.columns, row, strict=True))
    assert (told["block"], told["included A"], told["included B"], told["differs by"]) == (102, 103, 103, None)
    assert int(told["profit A"]) == int(told["profit B"]) > int(told["expected A"]) > 0


def test_a_base_fee_is_declared(tmp_path: Path) -> None:
    """Of the block decided upon it changes what is bid, of the block that holds it what gas costs: the money is all of it."""
    dear = [*STORY[:2], Act(GAP, base_fee_wei=20 * GWEI), Act(GAP, base_fee_wei=30 * GWEI), *STORY[4:]]
    found = compared(tmp_path, STORY, dear)
    assert found.equal
    assert causes(found) == [("bid", "base fee"), ("base fee", "base fee")]
    assert receipts(found) == [("cycle", "gas_price_wei", str(11 * GWEI), str(31 * GWEI), str(20 * GWEI), "base fee")]
    assert set(total_of(found.differences)) == {"ETH"}
    assert total_of(found.differences)["ETH"] < 0


def test_gas_and_its_price_are_told_apart_where_the_cost_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half the gas at twice the price: no money differs, and the receipts do."""
    mine = made(tmp_path / "a", STORY)
    whole = MEASURED["callback"]
    monkeypatch.setitem(MEASURED, "callback", msgspec.structs.replace(whole, two_hops=whole.two_hops // 2))
    dear = [*STORY[:3], Act(GAP, base_fee_wei=21 * GWEI), *STORY[4:]]
    found = diff(mine, made(tmp_path / "b", dear))
    assert not total_of(found.differences).get("ETH")
    assert {("gas", "unexplained"), ("base fee", "base fee")} <= {*causes(found)}
    assert [one[:3] for one in receipts(found)] == [
        ("cycle", "gas_used", str(whole.two_hops)),
        ("cycle", "gas_price_wei", str(11 * GWEI)),
    ]
    assert not found.equal


def test_receipts_of_removed_blocks_do_not_stand(tmp_path: Path) -> None:
    """The block that held the cycle is removed on one side: another one holds it at another price, or is too dear for it."""
    whole = [*STORY[:4], Act(EVEN), Act(EVEN)]
    for name, fee, said in (("again", 15, ("reverted", str(16 * GWEI))), ("dear", 400, (None, None))):
        (tmp_path / name).mkdir()
        removed = [*STORY[:4], Act(EVEN, removed=1, base_fee_wei=fee * GWEI), Act(EVEN, base_fee_wei=fee * GWEI)]
        told = {one[1]: one[2:4] for one in receipts(compared(tmp_path / name, whole, removed))}
        assert told["gas_price_wei"] == (str(11 * GWEI), said[1])
        assert told.get("status", ("", "succeeded"))[1] == said[0]


def test_what_a_receipt_does_not_say_is_found() -> None:
    """A field that no difference names, and what a side booked otherwise: neither is explained."""
    one = Receipt("local", "succeeded", 100, 7, profit=50, amount_in=None, amount_out=None)
    told = Told({1: one}, [one]), Told({4: one._replace(profit=51, gas_used=90)}, [])
    found = ReceiptComparison(told, [Aligned("cycle", 1, 4, ({"profit": 49}, None))], [(0, 1, "gas", "gas")])
    assert [row[1:] for row in found.rows] == [
        ("cycle", 1, 4, "gas_used", "100", "90", "-10", "gas"),
        ("cycle", 1, 4, "profit", "50", "51", "1", "unexplained"),
        ("booked by A", 1, 4, "profit", "50", "49", None, "unexplained"),
        ("cancel", None, None, "count", "1", "0", "-1", None),
        ("cancel", None, None, "gas_cost_wei", "700", "0", "-700", None),
    ]
    assert not found.is_explained
    assert ReceiptComparison(told, [Aligned("cycle", 1, 4)], [(1, 4, "outcome", "inclusion")]).is_explained


def test_what_others_did_before_us_is_no_declared_difference(tmp_path: Path) -> None:
    """Other inputs: the gap was another one."""
    wider = [*STORY[:2], *(Act(WIDER) for _ in STORY[2:])]
    found = compared(tmp_path, STORY, wider)
    assert not found.equal
    assert {one.cause for one in found.differences} == {"missing data"}
    assert f"what others left of it differs: {DEAR.address} since block 102" in {one.because for one in found.differences}


def test_lenders_that_say_something_else_are_told(tmp_path: Path) -> None:
    """Another premium is the cause; how much more than enough there is makes no difference."""
    vault = "0x" + "c" * 40
    plain = Loan(way="balancer", lender=vault, premium_wad=10**14, available=10**30)
    others = {
        "same": (plain, ""),
        "deeper": (msgspec.structs.replace(plain, available=10**31), ""),
        "dearer": (msgspec.structs.replace(plain, premium_wad=2 * 10**14), "0.02 % of"),
    }
    runs: dict[str, Path] = {}
    for name, (loan, _) in others.items():
        folder = tmp_path / name
        folder.mkdir()
        gone = Act(EVEN, loans=(msgspec.structs.replace(loan, premium_wad=3 * 10**14),))
        log = chain_log(folder / "log", [Act(EVEN, loans=(loan,)), gone, Act(EVEN, removed=1), *STORY[2:]])
        run(experiment(folder, log, financing='"flashloan"', slip_bps="5000"), folder / "run")
        runs[name] = folder / "run"
    for name, (_, words) in list(others.items())[1:]:
        found = diff(runs["same"], runs[name])
        assert found.equal is (not words), name
        assert {one.root for one in found.differences} == ({"lender"} if words else set())
        assert all(
            f"balancer {vault} lent {WETH} for 0.01 % of" in one.because for one in found.differences if one.cause == "lender"
        )
        assert words in found.differences[0].because if words else not found.differences


def test_who_is_drawn_to_be_first_is_a_key_of_the_config(tmp_path: Path) -> None:
    """Between simulated chains the key says so; a declared cause it is only beside a real one."""
    found = compared(tmp_path, STORY, STORY, {"taken_bps": "10000"})
    assert not found.equal
    assert found.differences[0].cause == "config"
    assert {one.root for one in found.differences} == {"config"}


def test_a_later_block_is_the_latencys(tmp_path: Path) -> None:
    """Whose key differs."""
    found = compared(tmp_path, STORY, STORY, {"latency": "{ constant_ms = 2500 }"})
    assert not found.equal
    assert {one.root for one in found.differences} == {"latency"}
    assert found.differences[0].because == "onchain.ethereum.simulated.latency.constant_ms"


def test_a_block_that_left_it_out_is_a_declared_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no key to say so: it was taken in a block later, and what follows in its pools follows from that."""
    mine = made(tmp_path / "a", STORY)
    included, looks = SimulatedChain._included, iter(["first"])  # what is broken here

    def later(chain: SimulatedChain, *block: Any) -> Swapped | None:
        return None if next(looks, "") else included(chain, *block)

    monkeypatch.setattr(SimulatedChain, "_included", later)
    found = diff(mine, made(tmp_path / "b", STORY))
    assert found.equal
    assert causes(found)[0] == ("outcome", "inclusion")
    assert {one.root for one in found.differences} <= DECLARED


def test_a_pool_goes_on_otherwise_after_us(tmp_path: Path) -> None:
    """Liquidity of v2 that comes after our swap was priced: what is planned there later differs for a declared cause, before us for none."""
    after = [*STORY[:5], *(Act(MORE) for _ in STORY[5:])]
    sides = made(tmp_path / "a", STORY), made(tmp_path / "b", after)
    with open_decided(sides[0]) as mine, open_decided(sides[1]) as theirs:
        times = [mine.times(), theirs.times()]
        both = TwoChains((mine, theirs), "ethereum", times)
        before = both.parted(CHEAP.address, 110)
        assert before is not None
        assert (before.number, before.by_us) == (105, False)
        touched = TwoChains((mine, theirs), "ethereum", times)
        touched.touch(CHEAP.address, 103)
        parted = touched.parted(CHEAP.address, 110)
        assert parted is not None
        assert (parted.number, parted.by_us) == (105, True)
        assert touched.parted(CHEAP.address, 104) is None


def test_a_unit_of_profit_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks, pools and configs are the same: nothing declared explains it."""
    mine = made(tmp_path / "a", STORY)
    swapped = SimulatedChain._swapped  # what is broken here

    def more(chain: SimulatedChain, command: SwapCycle) -> Swapped | None:
        outcome = swapped(chain, command)
        return outcome if outcome is None or outcome.why else outcome._replace(got=outcome.got + 1)

    monkeypatch.setattr(SimulatedChain, "_swapped", more)
    found = diff(mine, made(tmp_path / "b", STORY))
    assert not found.equal
    assert causes(found) == [("outcome", "unexplained")]
    assert sorted(total_of(found.differences).values()) == [1]


def test_a_side_that_began_later_was_not_there(tmp_path: Path) -> None:
    """What was decided before its first input, or behind its last one, is missing there and says nothing of the rest."""
    whole = made(tmp_path / "a", STORY)
    path = tmp_path / "a/dex.toml"
    run(path, tmp_path / "late", run__start='"2023-11-14T22:13:28Z"')
    found = diff(whole, tmp_path / "late")
    assert not found.equal
    assert (found.differences[0].cause, found.differences[0].because) == ("missing data", "B was not there")


def test_a_swap_with_a_hedge_is_an_order_of_its_bundle(tmp_path: Path) -> None:
    """It is decided on by quotes, and so aligned by time; what became of it has its cause, and its hedge follows from that."""
    log = hedge_log(tmp_path / "log", [Act(EVEN)] * 7, (3_000, 3_000, 3_100))
    path = hedge_experiment(tmp_path, log, symbols=f'["{CHEAP.address}", "ETH/USDC"]')
    for name, taken in (("a", "0"), ("same", "0"), ("b", "10000")):
        run(path, tmp_path / name, onchain__ethereum__simulated__taken_bps=taken)
    assert diff(tmp_path / "a", tmp_path / "same").differences == []
    found = diff(tmp_path / "a", tmp_path / "b")
    assert causes(found)[:2] == [("outcome", "config"), ("order", "consequence")]
    assert {one.root for one in found.differences} == {"config"}
    assert not found.equal
    assert [one[:2] for one in receipts(found)[:2]] == [("swap", "status"), ("swap", "gas_used")]
    assert {one[-1] for one in receipts(found)} == {"config", "consequence"}
