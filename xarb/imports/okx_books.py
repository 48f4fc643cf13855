"""OKX's archive of order books, 400 levels: messages of one book as JSON, one a line, in a tar.gz of one file a day.

The messages are those of the channel `books` without what is around them, and without its `seqId` (see `wires/okx.py`). The archive has no receive time:
`time_rule` makes one of the exchange's `ts`, in ms. Sizes of derivatives are contracts, as the exchange writes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xarb.errors import ConfigError
from xarb.imports.messages import MessageReader
from xarb.imports.okx_trades import VENUE
from xarb.wires.events import readable
from xarb.wires.okx import OkxArchiveSession, decode_archived
from xarb.wires.refusal import FAULTS, Refused, reject_of
from xarb.wires.times import nanos_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xarb.imports.sources import Source
    from xarb.imports.tape import Tape
    from xarb.wires.events import WireEvent


class Reader:
    """Reads the files of one book; the session, and with it the sync of the book, lives on from file to file."""

    def __init__(self, source: Source, tape: Tape) -> None:
        if source.venue != VENUE:
            raise ConfigError(f"{source.name}: venue {source.venue!r} is not OKX's; allowed: {VENUE}")
        session = OkxArchiveSession([tape.listings.require(VENUE, source.symbol or "")])
        self._messages = MessageReader(tape, session, _time, "OKX's archive of order books")

    def read(self, source: Source) -> Iterator[tuple[int, WireEvent]]:
        """The events of one file with the receive times that the rule makes.

        Raises:
            ConfigError: the file cannot be used, or its first line is no message of the archive.
        """
        return self._messages.read(source)


def _time(raw: bytes) -> int:
    """The venue's time of a message, ns.

    Raises:
        Refused: not what a line of the archive holds, or with a time that is none.
    """
    try:
        line = decode_archived(raw)
    except FAULTS as error:
        raise Refused(reject_of(error, raw, VENUE, None, None).rule, readable(str(error))) from None
    try:
        return nanos_of(line.ts, "ms")
    except ValueError as error:
        raise Refused("bad_time", readable(str(error))) from None
