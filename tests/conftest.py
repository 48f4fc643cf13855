"""Shared test settings."""

from __future__ import annotations

import os
import tempfile

from hypothesis import settings

_STATE = tempfile.TemporaryDirectory(prefix="xarb-state-")
os.environ["XDG_STATE_HOME"] = _STATE.name  # the locks of accounts; processes that tests start inherit it

# The first example of a compiled function includes its compilation, so examples have no time limit.
settings.register_profile("xarb", deadline=None)
settings.load_profile("xarb")
