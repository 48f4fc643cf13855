"""Tables by address: how one pointer-sized handle leads compiled code to every table of its state.

With the JIT off, addresses are looked up among the arrays that were registered, so that the same functions run interpreted.
"""

# No `from __future__ import annotations`: numba reads signatures of compiled functions.
from collections.abc import Iterable

import numpy as np
from numba import carray, types  # type: ignore[attr-defined]  # numba ships no types
from numba.core import cgutils
from numba.extending import intrinsic

from xarb.engine.kernel.compiled import inlined, options

_INTERPRETED: bool = options.DISABLE_JIT
_owned: dict[int, np.ndarray] = {}


def own(arrays: Iterable[np.ndarray]) -> None:
    """Keep the arrays findable by address where the JIT is off; with the JIT on the caller's references are enough."""
    if _INTERPRETED:
        for array in arrays:
            _owned[address(array)] = array


def disown(arrays: Iterable[np.ndarray]) -> None:
    """Forget arrays that were owned."""
    if _INTERPRETED:
        for array in arrays:
            _owned.pop(address(array), None)


def address(array: np.ndarray) -> int:
    """Where the array's first value lies; it must be contiguous. Empty arrays share one place that nobody reads."""
    assert array.flags.c_contiguous
    return int(array.ctypes.data) if len(array) else 0


if _INTERPRETED:

    def view(address, length, dtype):
        """The registered array that starts at `address`."""
        return _owned[int(address)]

else:

    @intrinsic
    def _as_pointer(_context, source):
        def generate(_context, builder, _signature, args):
            return builder.inttoptr(args[0], cgutils.voidptr_t)

        return types.voidptr(source), generate

    @inlined
    def view(address, length, dtype):  # type: ignore[misc]  # the interpreted variant is a plain function
        """An array over the memory at `address`; it does not own it."""
        return carray(_as_pointer(address), length, dtype)
