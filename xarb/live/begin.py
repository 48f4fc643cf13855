"""The beginning of a start: what the log knows already, and the row and the engine that go on from there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from xarb.assembly import Assembly, Resolved, encode_config, opening_balances, sources_of
from xarb.engine.liverows import KILL, RESET
from xarb.errors import Refused
from xarb.log.reader import LogReader
from xarb.model.instrument import Instrument
from xarb.model.units import Money
from xarb.provenance import code_digest
from xarb.starts import PAPER, Balances, Span, Start, closing_balances, ground_of, opening_of, spans


class Past(NamedTuple):
    """What an opened log knows: everything of it is sealed.

    Attributes:
        log_id: identity of the log.
        instruments: by number, in their latest form.
        connections: one more than the highest connection number.
        last_seq: the last input.
        span: the last start, None in a log without one.
        closing: what the accounts held at its end.
        killed: who killed it, while nobody has reset that; else None.
    """

    log_id: str
    instruments: list[Instrument]
    connections: int
    last_seq: int
    span: Span | None
    closing: dict[tuple[str, str, str], Money]
    killed: str | None


class Listening(NamedTuple):
    """What a start will hear.

    Attributes:
        instruments: all that the log knows when it begins, by number.
        kinds_of: by number, which of quotes, books and book_deltas come of each.
        connections: connection numbers lie below this.
    """

    instruments: Sequence[Instrument]
    kinds_of: Sequence[Sequence[str]]
    connections: int


def past_of(folder: Path) -> Past:
    """What a log knows.

    Raises:
        LogError: it is damaged.
    """
    with LogReader(folder) as reader:
        found = list(spans(reader))
        span = found[-1] if found else None
        switch = [row for row in reader.rows("operator") if row["action"] in (KILL, RESET)]
        return Past(
            log_id=reader.header.log_id,
            instruments=reader.instruments_at(reader.last_seq + 1),
            connections=reader.connections,
            last_seq=reader.last_seq,
            span=span,
            closing={} if span is None else closing_balances(reader, span),
            killed=switch[-1]["actor"] if switch and switch[-1]["action"] == KILL else None,
        )


def opening_money(resolved: Resolved, past: Past, mode: str) -> Balances:
    """What the accounts of a start on paper open with: what the start before left, else what the config gives.

    Raises:
        Refused: trading was killed and nobody reset that, the log's last start was of another mode, or other accounts are configured
            than it had.
    """
    if past.killed is not None:
        raise Refused(f"trading on this log was killed by {past.killed}; when the reason is gone: xarb kill LOG --reset")
    configured = opening_balances(resolved)
    if past.span is None:
        return configured
    before = past.span.start
    if before.mode != mode:
        raise Refused(f"the log was {before.mode} trading; {mode} trading needs a log of its own")
    new = sorted({key[:2] for key in configured} - {key[:2] for key in past.closing})
    if mode == PAPER and new:
        account, venue = new[0]
        raise Refused(f"accounts.{account}.{venue}: the start before had no such account; money on paper needs a log of its own")
    return past.closing


def begin(resolved: Resolved, past: Past, listening: Listening, *, mode: str, balances: Balances) -> tuple[Start, Assembly]:
    """The next start, disarmed, and its engine.

    Args:
        resolved: the config.
        past: what the log knew when it was opened.
        listening: what it will hear.
        mode: PAPER or LIVE.
        balances: what the accounts open with.

    Raises:
        ConfigError: config and instruments do not fit together.
    """
    sources = sources_of(resolved, listening.instruments, listening.kinds_of)
    start = Start(
        number=1 if past.span is None else past.span.start.number + 1,
        log_id=past.log_id,
        code_digest=code_digest(),
        config=encode_config(resolved),
        seed=resolved.run.seed,
        mode=mode,
        opening=opening_of(balances, listening.instruments, sources, armed=False),
        applied_seq=None if past.span is None else past.last_seq,
    )
    return start, Assembly(resolved, ground_of(start, listening.instruments, listening.connections))
