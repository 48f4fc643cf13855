"""The compiled form of `pointer.view`. It imports numba, so nothing imports it before something is compiled."""

# No `from __future__ import annotations`: numba reads signatures of compiled functions.
from numba import carray, types  # type: ignore[attr-defined]  # numba ships no types
from numba.core import cgutils
from numba.extending import intrinsic


@intrinsic
def _as_pointer(_context, source):
    def generate(_context, builder, _signature, args):
        return builder.inttoptr(args[0], cgutils.voidptr_t)

    return types.voidptr(source), generate


def view(address, length, dtype):
    """An array over the memory at `address`; it does not own it."""
    return carray(_as_pointer(address), length, dtype)
