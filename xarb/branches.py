"""What decides a run again, whether it is a backtest or branched from one: from its header and its log alone."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from xarb.assembly import Ground, Replay, Turn, inputs_of, recorded_ground, replay_of_run
from xarb.assembly.resolved import Resolved, decode_config, run_id
from xarb.errors import LogError
from xarb.log.manifest import Branch, Header
from xarb.log.reader import LogReader


def id_of(header: Header, log_digest: str) -> str:
    """The id that a run with this header must have, on a log with that digest."""
    assert header.config is not None, "a run has a config"
    mine = run_id(header.config, log_digest)
    branch = branch_of(header)
    if branch is None:
        return mine
    text = msgspec.json.encode(msgspec.structs.replace(branch, origin=""), order="deterministic")
    return hashlib.sha256(mine.encode() + b"\0" + text).hexdigest()


def branch_of(header: Header) -> Branch | None:
    """What a run branched from, None of a backtest."""
    return header.branch if isinstance(header.branch, Branch) else None


def replay_of(header: Header, reader: LogReader, *, rows: int, last: int | None = None, cuts: Sequence[int] = ()) -> Replay:
    """What decides a run again; `rows`, `last` and `cuts` as in `inputs_of`.

    Raises:
        ConfigError: the config was written by a version with other keys, or does not fit the log.
        LogError: the branch in the header is not of a run over this log.
        Refused: some of the inputs were pruned.
    """
    assert header.config is not None, "a run has a config"
    resolved, branch = decode_config(header.config), branch_of(header)
    if branch is None:
        return replay_of_run(resolved, reader, rows=rows, last=last, cuts=cuts)
    if branch.log_id != run_id(branch.config, reader.digest):
        raise LogError(f"the id of what was branched from ({branch.log_id[:16]}) is not that of its config and its log")
    return branched(decode_config(branch.config), Turn(branch.seq, resolved, branch.off), reader, rows=rows, last=last, cuts=cuts)


def branched(
    base: Resolved, turn: Turn, reader: LogReader, *, rows: int, last: int | None = None, cuts: Sequence[int] = ()
) -> Replay:
    """A backtest that goes on under another config behind an input, where a batch ends."""
    ground: Ground = msgspec.structs.replace(recorded_ground(base, reader), turn=turn)
    return Replay(base, ground, inputs_of(base, reader, rows, last=last, cuts=sorted({*cuts, turn.seq})))
