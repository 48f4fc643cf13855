"""The strategies over pools against plain ones: every opportunity, every decision with its reason, and every wish, over the shipped recording and drawn markets."""

from __future__ import annotations

import os
import random
from fractions import Fraction
from pathlib import Path

import pytest

from tests.dexworld import Act, chain_log, experiment, run
from tests.engine.cycles import CHAIN, CHEAP, DAI, DEAR, GWEI, WETH
from tests.hedgeworld import hedge_experiment, hedge_log
from tests.plain.dex import PlainDex, said, sent, terms_of
from tests.plain.hedged import PlainHedged, wished
from tests.trial import Run
from xarb.config import load_experiment
from xarb.wires.chains import Pool

ROOT = Path(__file__).resolve().parents[2]
USUAL = 6
MARKETS = int(os.environ.get("XARB_PLAIN_MARKETS", f"{USUAL}"))  # more for a person
SHORT = 2  # units for each hop: amounts are equal but for roundings
USDC = "0x" + "c" * 40
FOUR = (
    CHEAP,
    DEAR,
    Pool(address="0x" + "3" * 40, kind="v2", token0=WETH, token1=USDC, decimals0=18, decimals1=6, fee_ppm=2500),
    Pool(address="0x" + "4" * 40, kind="v2", token0=DAI, token1=USDC, decimals0=6, decimals1=6, fee_ppm=500),
)
EVEN = ((10**21, 3_000 * 10**9), (10**21, 3_000 * 10**9), (5 * 10**20, 1_500 * 10**9), (2 * 10**12, 2 * 10**12))
LENT = f"""
[breakers]
errors = 0
rejects = 0
min_feed_score = 0
[onchain.{CHAIN}.lenders.vault]
kind = "balancer"
address = "0x{"e" * 40}"
premium_ppm = 90
depth = {{ {WETH} = 20, {DAI} = 30000 }}
[onchain.{CHAIN}.lenders.pool]
kind = "flash"
address = "{FOUR[2].address}"
premium_ppm = 5
depth = {{ {WETH} = 50, {DAI} = 90000 }}
"""


def compared(path: Path, log: Path, found: Run, chain: str = CHAIN, **changes: str) -> PlainDex:
    """The plain strategy, which said and sent the same; `changes` as of `run`."""
    asked = load_experiment(path, {name.replace("__", "."): value for name, value in changes.items()})
    [name] = asked.strategies
    plain = PlainDex(log, chain, terms_of(asked, name, chain), found)
    plain.play()
    assert plain.said == said(found.get("opportunities", []))
    assert plain.sent == sent(found.get("cycles", []))
    assert max(plain.short, default=0) <= SHORT
    return plain


def test_the_shipped_recording_is_decided_alike(tmp_path: Path) -> None:
    """Cycles of two and three pools of both kinds, with ticks: taken and refused, from the first block to the last."""
    path = ROOT / "experiments/dex_dex.toml"
    found = run(path, tmp_path / "run")
    plain = compared(path, ROOT / "recordings/pools", found, "local")
    assert len(plain.sent) > 50
    assert {one.reason for one in plain.said if one.verdict} == {None, "abnormal_edge", "max_open_bundles", "unprofitable"}


def test_lenders_of_the_recording_are_chosen_alike(tmp_path: Path) -> None:
    """A vault, a pool that may itself be in the cycle, and a lender with a premium, by what rows say of them."""
    path = ROOT / "experiments/dex_dex.toml"
    changes = {"strategies__cycles__financing": "flashloan", "strategies__cycles__max_notional_quote": "900"}
    plain = compared(path, ROOT / "recordings/pools", run(path, tmp_path / "run", **changes), "local", **changes)
    assert {one.lender for one in plain.sent} != {""}


def drawn(draw: random.Random) -> list[Act]:
    """Blocks in which pools wander, go back to where they were, or stay, and some of which are removed again."""
    now = dict(zip((one.address for one in FOUR), EVEN, strict=True))
    acts = [Act(dict(now))]
    for number in range(40):
        for pool, even in zip(FOUR, EVEN, strict=True):
            if draw.random() < 0.3:
                by = draw.uniform(0.97, 1.03)
                now[pool.address] = (int(even[0] * by), int(even[1] / by)) if draw.random() < 0.7 else even
        removed = draw.choice([0] * 6 + [1, 2]) if number > 3 else 0
        acts.append(Act(dict(now), removed=removed, base_fee_wei=draw.choice((draw.randrange(1, 90), 120)) * GWEI))
    return acts


@pytest.mark.parametrize("seed", range(MARKETS))
def test_drawn_markets_are_decided_alike(tmp_path: Path, seed: int) -> None:
    """Four pools, reorganisations, blocks that leave out, competitors that are first, every financing, purses and bounds."""
    draw = random.Random(f"plain dex {seed}")  # noqa: S311  # a test's draw
    log = chain_log(tmp_path / "log", drawn(draw), FOUR)
    model = {"missed_bps": "2000", "taken_bps": "3000", "latency": "{ uniform_ms = [10, 2500] }"}
    start = (WETH, DAI)[seed // 2 % 2]
    path = experiment(
        tmp_path,
        log,
        simulated=model,
        financing=f'"{("auto", "wallet", "callback", "flashloan")[seed % 4]}"',
        max_legs=f"{2 + (seed + 1) % 3}",
        max_open_bundles=f"{1 + seed % 2}",
        max_edge_bps=draw.choice(["0", "300"]),
        start_assets=f'["{start}"]',
        max_notional_quote=draw.choice(["3", "1000"] if start == WETH else ["9000", "100000"]),
        min_profit_bps=draw.choice(["0", "5"]),
        min_profit_quote=draw.choice(["0", "0.01"] if start == WETH else ["0", "30"]),
        success_bps=draw.choice(["10000", "7000"]),
        slip_bps=draw.choice(["0", "2500"]),
        deadline_ms="6000",
    )
    path.write_text(path.read_text().replace(f"{WETH} = 5\n", f"{WETH} = 5\n{DAI} = 8000\n") + LENT)
    plain = compared(path, log, run(path, tmp_path / "run"))
    assert plain.sent or seed >= USUAL
    assert len(plain.said) > 10


@pytest.mark.parametrize("seed", range(MARKETS // 3))
def test_drawn_gaps_to_a_book_are_decided_alike(tmp_path: Path, seed: int) -> None:
    """Paths of one and two of four pools against a book, in both directions, with every size there is tried."""
    draw = random.Random(f"plain hedged {seed}")  # noqa: S311  # a test's draw
    prices = [3_000 + draw.choice((0, 0, draw.randint(-90, 90))) for _ in range(45)]
    log = hedge_log(tmp_path / "log", drawn(draw)[:24], prices, FOUR)
    path = hedge_experiment(
        tmp_path,
        log,
        simulated={"missed_bps": "2000", "taken_bps": "2000"},
        max_legs=f"{1 + seed % 2}",
        max_notional_quote=draw.choice(["9000", "30000"]),
        min_profit_bps=draw.choice(["0", "5"]),
        min_profit_quote=draw.choice(["0", "20"]),
        success_bps=draw.choice(["10000", "7000"]),
        wait_risk_bps=draw.choice(["0", "4"]),
        slip_bps="2500",
        hedge_cap_bps="2000",
    )
    path.write_text(path.read_text() + "[breakers]\nerrors = 0\nrejects = 0\nmin_feed_score = 0\n")
    found = run(path, tmp_path / "run")
    plain = PlainHedged(load_experiment(path), log, Fraction(1, 1000), found)
    plain.play()
    assert plain.said == said(found.get("opportunities", []))
    assert plain.sent == wished(found.get("cycles", []))
    assert plain.sent or seed >= USUAL
