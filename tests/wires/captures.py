"""Frames of real connections as cryptofeed recorded them; the recordings lie beside the checkout and are no part of it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "exchange-wire-cryptofeed"


@cache
def frames(name: str) -> tuple[bytes, ...]:
    """What was received in one recorded file, frame by frame; lines that tell what was sent or connected are none."""
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"no recording {path.name} beside the checkout")
    found = []
    for line in path.read_bytes().splitlines():
        clock, colon, payload = line.partition(b": ")
        if colon and clock.replace(b".", b"").isdigit():
            found.append(payload)
    return tuple(found)
