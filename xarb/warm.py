"""Compiles the kernels ahead of their first use: an installation does it on one core while it downloads on the other.

    python -m xarb.warm engine
    python -m xarb.warm venues

The machine code lands in the same cache as that of a first run. It needs numba, numpy and msgspec, and nothing else that is installed later.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Final

ENTRIES: Final[dict[str, dict[str, tuple[str, ...]]]] = {  # what a backtest enters, by module; every argument is an int64
    "engine": {"xarb.engine.kernel.fold": ("run", "before_row", "begin_row", "connection_row")},
    "venues": {
        "xarb.venues.fold.loop": ("run", "slow_row", "empty_books"),
        "xarb.venues.fold.book": ("walk",),
    },
}


def warm(part: str) -> None:
    """Compile the entry points of one part, a key of ENTRIES, unless their machine code is cached; nothing with the JIT off.

    Raises:
        KeyError: no such part.
    """
    from xarb.engine.kernel.compiled import machine_code

    for module, names in ENTRIES[part].items():
        for name in names:
            machine_code(getattr(import_module(module), name))


if __name__ == "__main__":
    for chosen in sys.argv[1:] or ENTRIES:
        warm(chosen)
