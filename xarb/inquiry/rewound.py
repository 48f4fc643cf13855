"""A run or start taken back to one of its inputs: replayed up to there, with every row that comes of it compared with the recorded one."""

from __future__ import annotations

from typing import NamedTuple

from xarb.assembly import Assembly
from xarb.checkpoint import restore
from xarb.console import Advance
from xarb.errors import ConfigError, Refused
from xarb.inquiry.comparison import Comparison, Differs
from xarb.inquiry.decided import Decided
from xarb.log.checkpoints import Checkpoint, checkpoint_paths, read_checkpoint
from xarb.log.manifest import Manifest
from xarb.log.reader import LogReader, Selection
from xarb.provenance import code_digest
from xarb.replay import replay


class Rewound(NamedTuple):
    """Engine and venues as they stood right after an input.

    Attributes:
        assembly: both.
        seq: the input.
        rows: how many output rows came again as recorded.
        since: the input of the checkpoint from which it was replayed; None is from the first input on.
    """

    assembly: Assembly
    seq: int
    rows: int
    since: int | None


def rewound(decided: Decided, seq: int, advance: Advance) -> Rewound:
    """Take a run or start back to the moment when input `seq` had been applied, and nothing after it.

    Of a live log the newest checkpoint before it is taken, if this code made it and it can be read.

    Raises:
        ConfigError: it has no such input.
        LogError: a file is damaged.
        Refused: the inputs were pruned or are not sealed yet, or this code decides otherwise than the code of the run did.
    """
    with decided.open_inputs() as reader, LogReader(decided.folder) as recorded:
        _check_there(decided, reader, seq)
        checkpoint = checkpoint_before(decided, seq)
        since = None if checkpoint is None else checkpoint.seq
        how = decided.replay(reader, last=seq, behind=since)
        assembly = Assembly(how.resolved, how.ground)
        if checkpoint is not None:
            restore(assembly, checkpoint.state)
        comparison = Comparison(
            (kind, row)
            for kind, row in recorded.outputs(select=_outputs(decided, since, seq))
            if checkpoint is None or (row["after_seq"], row["n"]) >= (checkpoint.seq, checkpoint.n)
        )
        try:
            replay(assembly, how.batches, comparison.take, reached=lambda at: advance(at, seq))
        except Differs:
            raise Refused(
                f"{decided.title}: up to seq {seq} this code decides otherwise than the code that decided then; xarb verify shows where"
            ) from None
    return Rewound(assembly, seq, comparison.rows, since)


def _check_there(decided: Decided, reader: LogReader, seq: int) -> None:
    """Refuse an input that the run or start does not have.

    Raises:
        ConfigError: it does not.
        Refused: it is not sealed yet.
    """
    if decided.span is None:
        summary = Manifest(decided.folder).summary
        first, last = 0, -1 if summary is None else summary.last_seq
    else:
        first, last = decided.span.first, min(decided.span.last, reader.last_seq)
        if last < seq <= decided.span.last and reader.is_open:
            raise Refused(
                f"{decided.folder} is sealed up to seq {last}: input {seq} lies in its open tail; try again after the next seal"
            )
    if not first <= seq <= last:
        raise ConfigError(f"{decided.title} has inputs {first} to {last}, not {seq}")


def checkpoint_before(decided: Decided, seq: int) -> Checkpoint | None:
    """The newest one of the start that is not behind an input and that this code made; None without one."""
    if decided.span is None:
        return None
    manifest = Manifest(decided.folder)
    for path in reversed(checkpoint_paths(decided.folder)):
        if not decided.span.first <= int(path.stem) <= seq:
            continue
        found = read_checkpoint(path, manifest)
        if found.start == decided.number and found.code_digest == code_digest():
            return found
    return None


def _outputs(decided: Decided, since: int | None, seq: int) -> Selection:
    first = since if since is not None else None if decided.span is None else decided.span.first
    return Selection(first_seq=first, last_seq=seq)
