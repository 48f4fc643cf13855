"""Counter-based random draws: the n-th output of a SplitMix64 generator, computed without the ones before it.

A draw depends on (seed, counter) only, so neither batches nor the order of evaluation can change it. The compiled and the
interpreted form give the same numbers; the constants are those of Steele, Lea and Flood (2014).
"""

# No `from __future__ import annotations`: numba reads signatures of compiled functions.
from typing import Final

import numpy as np

from xarb.engine.kernel.compiled import INTERPRETED, part

_MASK: Final = 2**64 - 1
_GOLDEN: Final = 0x9E3779B97F4A7C15
_MIX_1: Final = 0xBF58476D1CE4E5B9
_MIX_2: Final = 0x94D049BB133111EB

_U_GOLDEN = np.uint64(_GOLDEN)
_U_MIX_1 = np.uint64(_MIX_1)
_U_MIX_2 = np.uint64(_MIX_2)
_U30, _U27, _U31, _U1 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(1)

# One stream a purpose, so that an order's way there, its answer and its cancel are independent draws.
STREAM_FEED, STREAM_ORDER, STREAM_RESPONSE, STREAM_CANCEL, STREAM_CANCEL_RESPONSE, STREAM_REFUSAL, STREAM_SHARE = range(7)


def splitmix64(seed: int, counter: int) -> int:
    """Output number `counter` (from 0) of SplitMix64 started at `seed`: 64 bits."""
    z = (seed + (counter + 1) * _GOLDEN) & _MASK
    z = ((z ^ (z >> 30)) * _MIX_1) & _MASK
    z = ((z ^ (z >> 27)) * _MIX_2) & _MASK
    return z ^ (z >> 31)


def stream_seed(seed: int, stream: int) -> int:
    """The seed of one stream, non-negative and below 2**63 so that a kernel's int64 holds it."""
    return splitmix64(seed & _MASK, stream) >> 1


if INTERPRETED:

    def draw_below(seed: int, counter: int, span: int) -> int:
        """A draw from 0 to span - 1; the modulo's bias is below span / 2**64."""
        return splitmix64(int(seed), int(counter)) % int(span)

else:

    @part
    def draw_below(seed: int, counter: int, span: int) -> int:  # type: ignore[misc]  # numba wraps it
        """A draw from 0 to span - 1; the modulo's bias is below span / 2**64."""
        z = np.uint64(seed) + (np.uint64(counter) + _U1) * _U_GOLDEN
        z = (z ^ (z >> _U30)) * _U_MIX_1
        z = (z ^ (z >> _U27)) * _U_MIX_2
        z = z ^ (z >> _U31)
        return int(z % np.uint64(span))
