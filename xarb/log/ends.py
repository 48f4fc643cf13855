"""The operator rows that end a start: its own, or the one that whoever writes on puts first where the start's process died."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from xarb.log.packing import Row
    from xarb.log.reader import LogReader

ENDED: Final = "ended"  # nothing after it was applied
LEFT_OFF: Final = "left_off"  # the process died: neither this row nor one after it was applied
ENDS: Final = (ENDED, LEFT_OFF)


def left_off(reader: LogReader, ts_recv: int, actor: str) -> list[Row]:
    """The rows of `operator` with which every writer goes on with a sealed log: one where its last start has no end, else none.

    Args:
        reader: of the log, which the caller has claimed, so that no process of that start lives.
        ts_recv: when, ns; not before the log's last time.
        actor: who writes on.
    """
    started = max((row["seq"] for row in reader.rows("starts")), default=None)
    if started is None or any(row["seq"] > started and row["action"] in ENDS for row in reader.rows("operator")):
        return []
    return [(reader.last_seq + 1, ts_recv, LEFT_OFF, actor, "the process before it died")]


HANG: Final = (
    "hang-"  # how the name of a file in the log's folder begins that has the stacks of a process that hung; no part of the log
)
KILL_FILE: Final = "KILL"  # a file in the log's folder that kills its trading (`live.requests`); no part of the log
CANCELS_FILE: Final = "cancels.jsonl"  # a file there that holds what a kill without the log sent to chains, until the log has it (`live.chaincancels`)
