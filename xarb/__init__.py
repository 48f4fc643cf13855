"""xarb records markets, replays them and trades them with one engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xarb.frames import scan

__version__ = "0.1.0"
__all__ = ["__version__", "scan"]

_LAZY = {"scan": "xarb.frames"}  # public names whose modules import heavy libraries, which wait until they are asked for


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module 'xarb' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)
