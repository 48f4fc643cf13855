"""A synthetic market: three venues that do not exist, made from a seed, for demonstrations and tests. Nothing in it is real.

Gaps between its venues open and close within 50 ms to several seconds: some outlive an order's way to the venue, some do not.
On top come the mishaps that a recorder meets: lost updates, lost connections, silence, a frozen feed, an outlier, crossed and
one-sided quotes, unreadable frames.

The same seed gives the same rows on every machine and Python version: draws are the raw 64-bit words of numpy's PCG64, whose stream
numpy guarantees, and everything after them is integer arithmetic. The files are the same bytes where pyarrow is the same version.
"""

from __future__ import annotations

from xarb.synthetic.recording import EVENTS, MAX_EVENTS, MIN_EVENTS, ORIGIN, SEED, make_quickstart

__all__ = ["EVENTS", "MAX_EVENTS", "MIN_EVENTS", "ORIGIN", "SEED", "make_quickstart"]
