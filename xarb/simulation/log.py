"""What the log of a world holds, as oracles look at it: rows by kind, of the journals as they lie, or of a sealed log."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from xarb.log.batching import slow_row
from xarb.log.journal import Walk, journals, read_opening
from xarb.log.packing import Row
from xarb.log.reader import LogReader
from xarb.log.rows import from_table
from xarb.model.columns import TABLES
from xarb.model.event import OutputRow, named

Found = dict[str, list[dict[str, Any]]]  # rows by column name, in the order of the log
ASTRAY: Final = "astray"  # reports that are of no start of the log
_OUTPUTS: Final = ("bundles", "commands", "feed_states", "fills", "ledger", "refusals", "residuals", "results")
_INPUTS: Final = ("health", "instruments", "operator", "reports", "starts")
_QUOTE: Final = ("ts_recv", "venue", "bid_int", "ask_int", "px_scale")
_QUOTES: Final = tuple(column.name for column in TABLES["quotes"].columns)


def journal_rows(folder: Path) -> tuple[dict[str, list[Row]], list[OutputRow]]:
    """Inputs by kind and outputs in their order, as the journals of a log hold them."""
    inputs: dict[str, list[Row]] = {}
    outputs: list[OutputRow] = []
    for _, path in journals(folder):
        opening, start = read_opening(path)
        for frame in Walk(path.read_bytes()[start:], opening, start=start):
            for kind, rows in frame.rows().items():
                if TABLES[kind].is_input:
                    inputs.setdefault(kind, []).extend(rows)
                else:
                    outputs += [(kind, *row) for row in rows]
    outputs.sort(key=lambda row: row[1:3])
    return inputs, outputs


def found_in(inputs: dict[str, list[Row]], outputs: list[OutputRow]) -> Found:
    """What oracles want of these rows."""
    found: Found = {kind: [slow_row(kind, row).values for row in inputs.get(kind, ())] for kind in _INPUTS}
    found["quotes"] = [dict(zip(_QUOTES, row, strict=True)) for row in inputs.get("quotes", ())]
    return _apart(found) | {kind: [named(row) for row in outputs if row[0] == kind] for kind in _OUTPUTS}


def read_log(folder: Path) -> Found:
    """What oracles want of a sealed log."""
    with LogReader(folder) as reader:
        found: Found = {kind: [dict(row) for row in reader.rows(kind)] for kind in _INPUTS}
        found["quotes"] = [row for part in reader.tables("quotes", _QUOTE) for row in from_table("quotes", part)]
        found |= {kind: [] for kind in _OUTPUTS}
        for kind, row in reader.outputs(kinds=_OUTPUTS):
            found[kind].append(dict(row))
        return _apart(found)


def _apart(found: Found) -> Found:
    """Reports of others' orders under a kind of their own, since one of another process may have the name of ours."""
    mine = [row for row in found["reports"] if row["start"] is not None]
    return found | {"reports": mine, ASTRAY: [row for row in found["reports"] if row["start"] is None]}
