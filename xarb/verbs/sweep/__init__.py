"""The sweep verb: many settings of one experiment over one log, on all cores, into a table that `xarb query` reads."""

from __future__ import annotations

from xarb.verbs.sweep.crew import Hands
from xarb.verbs.sweep.plan import Plan
from xarb.verbs.sweep.report import tables
from xarb.verbs.sweep.search import Found, sweep
from xarb.verbs.sweep.table import frame

__all__ = ["Found", "Hands", "Plan", "frame", "sweep", "tables"]
