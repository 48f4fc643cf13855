"""Runs benchmarks by name, or all of them with each one's question before it: `python -m bench [NAME...]`."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Final

NAMES: Final = (
    "backtest",
    "sweep",
    "parts",
    "kernel",
    "reading",
    "depth",
    "every_event",
    "orders",
    "micro",
    "sizing",
    "pools",
    "chains",
    "asking",
    "journal",
    "recovery",
    "checkpoint",
    "record",
    "kills",
    "watching",
    "trading_kills",
    "served",
    "real_orders",
    "live",
    "wires",
)


def question(module: ModuleType) -> str:
    """The first paragraph of a benchmark's documentation."""
    return (module.__doc__ or "").partition("\n\n")[0].replace("\n", " ")


def main() -> None:
    """Run them one after another."""
    wanted = sys.argv[1:] or list(NAMES)
    unknown = [name for name in wanted if name not in NAMES]
    if unknown:
        raise SystemExit(f"no benchmark {', '.join(unknown)}; there are {', '.join(NAMES)}")
    sys.argv[1:] = []  # each one takes its own default size
    for name in wanted:
        module = import_module(f"bench.{name}")
        print(f"# {name}: {question(module)}", flush=True)
        module.main()


if __name__ == "__main__":
    main()
