"""The canonical encoding of output rows and its digest: what "byte for byte" means in a proof by replay.

A row is its kind and its values in column order, absent ones included; enums are their text, money an integer at 18 decimals. Rows
go in `(after_seq, n)` order over all kinds. Wall-clock fields do not exist among the outputs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final

from xarb.model.columns import OUTPUTS, TABLES

Row = Mapping[str, Any]
_NAMES: Final = {kind: tuple(column.name for column in TABLES[kind].columns) for kind in OUTPUTS}
_ABSENT: Final = "\\N"
_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n"})


def in_order(rows: Mapping[str, Sequence[Row]]) -> Iterator[tuple[str, Row]]:
    """Rows of all kinds in their one total order."""
    placed = [(row["after_seq"], row["n"], kind, row) for kind, batch in rows.items() for row in batch]
    placed.sort(key=itemgetter(0, 1))
    for _, _, kind, row in placed:
        yield kind, row


def encode(kind: str, row: Row) -> bytes:
    """One row as one line of text."""
    get = row.get
    cells = [kind]
    for name in _NAMES[kind]:
        value = get(name)
        cells.append(_ABSENT if value is None else value.translate(_ESCAPES) if isinstance(value, str) else str(value))
    return ("\t".join(cells) + "\n").encode()


class OutputDigest:
    """sha256 over the canonical encoding of all rows taken so far; where the rows were cut into parts does not matter."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self.rows = 0

    def take(self, rows: Mapping[str, Sequence[Row]]) -> None:
        """Add rows that come after all rows taken before."""
        for kind, row in in_order(rows):
            self._digest.update(encode(kind, row))
            self.rows += 1

    def hex(self) -> str:
        """The digest so far."""
        return self._digest.hexdigest()
