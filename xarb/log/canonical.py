"""The canonical encoding of output rows and its digest: what "byte for byte" means in a proof by replay.

A row is one line of JSON: an array of its kind and its values in column order, absent ones as null, enums as their text, money as an
integer at 18 decimals, text as UTF-8. Rows go in `(after_seq, n)` order over all kinds. Wall-clock fields do not exist among the
outputs, nor do floats.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec

from xarb.model.event import OutputRow

_ENCODER: Final = msgspec.json.Encoder()


class OutputDigest:
    """sha256 over the canonical encoding of all rows taken so far; where the rows were cut into parts does not matter."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self.rows = 0

    def take(self, rows: Sequence[OutputRow]) -> None:
        """Add rows in their order, which come after all rows taken before."""
        self._digest.update(_ENCODER.encode_lines(rows))
        self.rows += len(rows)

    def hex(self) -> str:
        """The digest so far."""
        return self._digest.hexdigest()
