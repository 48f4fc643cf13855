"""The demo verb: backtests the shipped synthetic recording with the latency ladder and says what to type next."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from xarb.catalog import data_dir
from xarb.config import load_experiment
from xarb.console import interruptible, progress, say, show
from xarb.verbs.backtest import backtest, ladder

_WHAT = """This backtest ran the micro-arbitrage strategies of experiments/quickstart.toml on recordings/quickstart, a SYNTHETIC market:
three venues whose quotes a seeded generator made, with gaps, stale spells and crossed moments. It proves the machinery, not a profit."""
_NEXT = (
    ("verify {run}", "prove the run: replay it and compare every row"),
    ("query {log} {run} --examples", "statements that run as they stand"),
    ('query {log} {run} "SELECT reason, count(*) FROM refusals GROUP BY 1"', "ask for yourself"),
    ("log info {log}", "what the recording holds"),
    ("check {experiment}", "what would block the first trade"),
    ("config show {experiment}", "every effective value"),
    ("new strategy mine --into mine", "a strategy of your own, that runs as it stands"),
    ("record binance BTC/USDT --into recordings/mine", "a market of your own, until Ctrl-C"),
)


def run_demo() -> None:
    """Run it.

    Raises:
        ConfigError: the experiment or the recording is not there.
    """
    root = data_dir().parent
    file = os.path.relpath(root / "experiments" / "quickstart.toml")
    experiment = load_experiment(Path(file))
    with interruptible("nothing was kept"), progress("backtest") as advance:
        result = backtest(experiment, advance=advance)
    show(result.tables)
    with interruptible(f"the run is kept in {result.folder}, the ladder is not"), progress("ladder") as advance:
        show([ladder(experiment, advance=advance, run=result)])
    say(_WHAT)
    log = os.path.relpath(root / "recordings" / "quickstart")
    say(f"What to type next (xarb is {os.path.relpath(sys.argv[0])}):")
    for words, what in _NEXT:
        say(f"  xarb {words.format(run=result.folder, log=log, experiment=file)}\n      {what}")
