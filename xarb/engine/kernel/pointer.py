"""Tables by address: how one pointer-sized handle leads compiled code to every table of its state.

With the JIT off, addresses are looked up among the arrays that were registered, so that the same functions run interpreted.
"""

# No `from __future__ import annotations`: numba reads signatures of compiled functions.
from collections.abc import Iterable

import numpy as np

from xarb.engine.kernel.compiled import INTERPRETED, raw_view

_owned: dict[int, np.ndarray] = {}


def own(arrays: Iterable[np.ndarray]) -> None:
    """Keep the arrays findable by address where the JIT is off; with the JIT on the caller's references are enough."""
    if INTERPRETED:
        for array in arrays:
            _owned[address(array)] = array


def disown(arrays: Iterable[np.ndarray]) -> None:
    """Forget arrays that were owned."""
    if INTERPRETED:
        for array in arrays:
            _owned.pop(address(array), None)


def address(array: np.ndarray) -> int:
    """Where the array's first value lies; it must be contiguous. Empty arrays share one place that nobody reads."""
    assert array.flags.c_contiguous
    return int(array.ctypes.data) if len(array) else 0


if INTERPRETED:

    def view(address, length, dtype):
        """The registered array that starts at `address`."""
        return _owned[int(address)]

else:
    view = raw_view()
