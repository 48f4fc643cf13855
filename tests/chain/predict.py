"""More of what `test_prediction` shows, for a person: other seeds, more blocks, larger trades. `make predict`, or `python -m tests.chain.predict --help`.

Each seed is a market that is recorded alone and traded on live. A backtest of each log is put beside the session; a line says what differs and why.
The exit code is 1 when something does that is not declared.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.chain.node import BINARY, running
from tests.chain.stage import Stage
from tests.chain.traders import Traders
from tests.chain.twice import BID, Acts, Paced, play, wallet
from tests.chain.world import UNIT, build, dump
from tests.trial import quiet
from xarb.config import load_experiment
from xarb.venues.dex.executor import creation_code
from xarb.verbs.backtest import backtest
from xarb.verbs.diff import diff

QUIET_BLOCKS = 5  # at the end, so that what was sent is told
WHALE_EVERY = 5


def acts(seed: int, rate: int, blocks: int) -> Acts:
    """So many acts of the traders in each block, and now and then somebody who trades much."""

    def act(paced: Paced, stage: Stage, traders: Traders) -> None:
        del traders
        if paced.count > blocks - QUIET_BLOCKS:
            return
        paced.trade(rate)
        if paced.count % WHALE_EVERY == 0:
            draw = random.Random(f"{seed} {paced.count}")  # noqa: S311  # a test's draw
            path, unit = draw.choice([(("WETH", "DAI"), UNIT), (("DAI", "WETH"), 3_000 * UNIT)])
            wish = stage.swap_request(path, int(draw.uniform(1, 12) * unit), is_v3=draw.random() < 0.5)
            stage.node.call("eth_sendTransaction", wish | BID)

    return act


def predictions(seed: int, folder: Path, world: Path, asked: argparse.Namespace) -> Iterator[tuple[str, bool]]:
    """One market: a line for each of both backtests, and whether all that differs is declared."""
    code, market = "0x" + creation_code().hex(), (acts(seed, asked.rate, asked.blocks), seed)
    for name in ("recorded", "traded"):
        play(world, folder / name, code, market=market, blocks=asked.blocks, is_live=name == "traded")
    for name in ("recorded", "traded"):
        experiment = load_experiment(folder / "recorded/cycles.toml")
        run = backtest(experiment, log=folder / name / "log", out=folder / f"run-{name}", advance=quiet).folder
        found = diff(run, folder / "traded/log")
        (cycles,) = [len(one.rows) for one in found.sections if one.key == "cycles"]
        causes = ", ".join(f"{cause} {count}" for cause, count in sorted(Counter(one.root for one in found.differences).items()))
        yield f"seed {seed}: backtest of the {name} log, {cycles} bundles; differences by root: {causes or 'none'}", found.equal


def main() -> int:
    """Run it; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.chain.predict", description=__doc__.splitlines()[0])
    parser.add_argument("--first", type=int, default=1, help="seed of the first market")
    parser.add_argument("--seeds", type=int, default=8, help="how many")
    parser.add_argument("--blocks", type=int, default=30, help="of each")
    parser.add_argument("--rate", type=int, default=3, help="acts of the traders in a block")
    asked = parser.parse_args()
    if not BINARY.is_file():
        print("no node and contracts: npm ci in tests/chain fetches them", file=sys.stderr)  # noqa: T201  # what a person reads
        return 1
    is_good = True
    with tempfile.TemporaryDirectory(prefix="xarb-predict-") as place:
        world = Path(place) / "world"
        world.mkdir()
        with running(world) as node:
            dump(node, build(node), world)
        os.environ.update(wallet(Path(place)))
        for seed in range(asked.first, asked.first + asked.seeds):
            folder = Path(place) / f"{seed}"
            folder.mkdir()
            for line, is_declared in predictions(seed, folder, world, asked):
                print(line if is_declared else f"{line}: NOT ALL DECLARED", flush=True)  # noqa: T201  # what a person reads
                is_good = is_good and is_declared
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
