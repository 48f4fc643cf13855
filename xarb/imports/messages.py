"""Archives that hold an exchange's messages of books as JSON, one a line, without a receive time: each line through a session, at the time that a rule makes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from xarb.errors import ConfigError
from xarb.imports.levels import missed
from xarb.imports.textfile import TextFile
from xarb.wires.events import RejectEvent, WireEvent, readable
from xarb.wires.refusal import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from xarb.imports.sources import Source
    from xarb.imports.tape import Tape
    from xarb.wires.session import Session


class MessageReader:
    """Reads the files of one book; the session, and with it the sync of the book, lives on from file to file.

    Args:
        tape: the stream's clock.
        session: decodes the lines.
        time_of: the venue's time of a line, ns; raises Refused for what is no message.
        whose: what the files are, for errors.
    """

    def __init__(self, tape: Tape, session: Session, time_of: Callable[[bytes], int], whose: str) -> None:
        self._tape = tape
        self._session = session
        self._time_of = time_of
        self._whose = whose

    def read(self, source: Source) -> Iterator[tuple[int, WireEvent]]:
        """The events of one file with the receive times that the rule makes.

        Raises:
            ConfigError: the file cannot be used, or its first line is no message that is read.
        """
        tape, file = self._tape, TextFile(source.file)
        start = tape.bytes_read
        line = 0
        for line, raw in file.lines():
            tape.bytes_read = start + file.bytes_read
            try:
                ts_recv = self._time_of(raw) + source.rule_ns
            except Refused as refused:
                if line == 1:
                    raise ConfigError(f"{source.name}: line 1 is no message of {self._whose}: {refused}") from None
                flaw = RejectEvent(refused.rule, str(refused), readable(raw), source.venue, source.symbol, line)
                yield from self._lost(flaw)
                continue
            late = tape.backwards(ts_recv, line, raw, source.venue)
            if late is not None:
                yield from self._lost(late)
                continue
            for event in self._session.receive(raw):
                yield ts_recv, msgspec.structs.replace(event, line=line) if isinstance(event, RejectEvent) else event
        if file.truncated:
            detail = "the gzip file stops in the middle; the lines before are imported"
            yield from self._lost(RejectEvent("truncated_file", detail, None, source.venue, source.symbol, line))

    def _lost(self, flaw: RejectEvent) -> Iterator[tuple[int, WireEvent]]:
        """The reject of a line that the session never sees, and the gap where no number would tell of it."""
        for event in [flaw, *missed(self._session)]:
            yield self._tape.last, event
