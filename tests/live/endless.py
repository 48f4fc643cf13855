"""Trades as `xarb live` does, with a strategy that never returns once a file is there: `python -m tests.live.endless CONFIG LOG FILE`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from xarb.config import load_experiment
from xarb.engine.strategy import Plan, View, Wake
from xarb.live.verb import trade
from xarb.strategies.micro import Micro

HUNG = ".hung"  # is made beside the file when it begins


def main() -> None:
    """Trade until it hangs."""
    config, log, flag = (Path(word) for word in sys.argv[1:])
    on_wake = Micro.on_wake

    def endless(strategy: Micro, wake: Wake, view: View) -> Sequence[Plan]:
        if flag.exists():
            flag.with_suffix(HUNG).touch()
            while True:
                pass
        return on_wake(strategy, wake, view)

    Micro.on_wake = endless  # type: ignore[method-assign,assignment]  # the strategy that is tried
    trade(load_experiment(config), log)


if __name__ == "__main__":
    main()
