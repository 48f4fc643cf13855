"""xarb records markets, replays them and trades them with one engine."""

from __future__ import annotations

__version__ = "0.1.0"
