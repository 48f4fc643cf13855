"""xarb records markets, replays them and trades them with one engine.

The verbs are functions here (`xarb.backtest(...)`), which return Polars frames; `xarb.api` has their texts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xarb.api import (
        Answer,
        Branch,
        Run,
        Swept,
        at,
        backtest,
        branch,
        calibrate,
        check,
        diff,
        query,
        report,
        status,
        sweep,
        verify,
        why,
    )
    from xarb.frames import scan
    from xarb.verbs.sweep import Hands

__version__ = "0.1.0"
__all__ = [
    "Answer",
    "Branch",
    "Hands",
    "Run",
    "Swept",
    "__version__",
    "at",
    "backtest",
    "branch",
    "calibrate",
    "check",
    "diff",
    "query",
    "report",
    "scan",
    "status",
    "sweep",
    "verify",
    "why",
]

# Of the other public names it is `xarb.api`; all import heavy libraries, which wait until they are asked for.
_PLACES = {"scan": "xarb.frames", "Hands": "xarb.verbs.sweep"}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'xarb' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_PLACES.get(name, "xarb.api")), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
