"""Shared test settings."""

from __future__ import annotations

from hypothesis import settings

# The first example of a compiled function includes its compilation, so examples have no time limit.
settings.register_profile("xarb", deadline=None)
settings.load_profile("xarb")
