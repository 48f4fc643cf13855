"""Raw captures of cryptofeed: what it received, sent and fetched, line by line, through the wire session that reads the exchange live.

Lines of cryptofeed's `AsyncFileCallback`, times in seconds by the recorder's clock: `TIME: frame` received, `URL -> TIME: body` an HTTP answer,
`URL <- TIME: text` sent, `URL <-> TIME` about to connect, `configuration: ...`. A frame that is no text stands as a Python bytes literal. Answers are in a
file of their own (`NAME.http.0.0` beside `NAME.ws.1.0`), which is merged by time; the book that one starts is named in its URL.
"""

from __future__ import annotations

import ast
import heapq
import re
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

import msgspec

from xarb.errors import ConfigError
from xarb.imports.levels import missed
from xarb.imports.textfile import TextFile
from xarb.wires.events import LinkEvent, RejectEvent, WireEvent, readable
from xarb.wires.exchanges import WIRES
from xarb.wires.times import nanos_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from xarb.imports.sources import Source
    from xarb.imports.tape import Tape
    from xarb.wires.session import Session

_LINE: Final = re.compile(rb"(?:(?P<url>\S+) (?P<arrow>->|<-|<->) )?(?P<clock>\d+(?:\.\d+)?)(?:: (?P<payload>.*))?\Z", re.DOTALL)
_LITERAL: Final = re.compile(rb"b(?:'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")\s*\Z", re.DOTALL)
_PARTS: Final = re.compile(r"[/?&=]")
_HEADER: Final = b"configuration: "

Item = tuple[int, WireEvent]


class _Line(NamedTuple):
    """A line that matters: when, what, and from where; `flaw` is why it cannot be used. A connection has no payload."""

    ts_recv: int
    line: int
    url: str
    payload: bytes | None
    file: str  # empty for the source's own file
    flaw: RejectEvent | None = None


class Reader:
    """Reads the files of one connection; the session, and with it the sync of the books, lives on from file to file."""

    def __init__(self, source: Source, tape: Tape) -> None:
        wire = WIRES.get(source.venue or "")
        if wire is None:
            raise ConfigError(f"{source.name}: no wire of venue {source.venue!r} is decoded here; allowed: {', '.join(WIRES)}")
        self._tape = tape
        self._wire = wire
        listings = [tape.listings.require(wire.venue, source.symbol)] if source.symbol else tape.listings.of_venue(wire.venue)
        if not listings:
            raise ConfigError(f"{source.name}: no instrument of {wire.venue} is listed; add an instruments file")
        self._natives = {listing.instrument.native: listing for listing in listings}
        self._session = self._opened()
        self._is_connected = False

    def _opened(self) -> Session:
        return self._wire.session(list(self._natives.values()), self._wire.channels)

    def read(self, source: Source) -> Iterator[Item]:
        """The events of one file, and of the answers beside it, with their receive times.

        Raises:
            ConfigError: a file cannot be used, or is the capture of another stream than the session reads.
        """
        streams = [self._lines(source.file, source, "")]
        if source.rest is not None:
            streams.append(self._lines(source.rest_file, source, source.rest))
        for one in heapq.merge(*streams, key=attrgetter("ts_recv")):
            flaw = one.flaw or self._tape.backwards(one.ts_recv, one.line, one.payload or one.url, source.venue)
            if flaw is not None:
                yield self._tape.last, _placed(flaw, one)
                if not one.file:  # a frame of the stream
                    for event in missed(self._session):
                        yield self._tape.last, event
                continue
            for event in self._events(one, source):
                yield one.ts_recv, _placed(event, one) if isinstance(event, RejectEvent) else event

    def _events(self, one: _Line, source: Source) -> list[WireEvent]:
        """What a line says."""
        if one.payload is None:
            return self._connected(one.url, source)
        if not one.url:
            return self._session.receive(one.payload)
        named = {part for part in _PARTS.split(one.url) if part in self._natives}
        if len(named) != 1:
            detail = f"{len(named)} listed instruments in the address {one.url[:200]}"
            return [RejectEvent("unknown_instrument", detail, readable(one.payload), source.venue)]
        return self._session.receive(one.payload, named.pop())

    def _connected(self, url: str, source: Source) -> list[WireEvent]:
        """A connection: the first is what the session reads, any further one starts a session without books.

        Raises:
            ConfigError: it leads to another stream.
        """
        wanted = self._wire.stream_url
        if wanted and _place(wanted) != _place(url):
            raise ConfigError(f"{source.file}: a capture of {url[:200]}; of {self._wire.venue}, {wanted} is decoded")
        if not self._is_connected:
            self._is_connected = True
            return []
        self._session = self._opened()
        return [LinkEvent(self._wire.venue, None, "gap", "the recorder connected anew")]

    def _lines(self, path: Path, source: Source, name: str) -> Iterator[_Line]:
        """The lines of a file that matter.

        Raises:
            ConfigError: the file cannot be used, or begins with no line of a capture.
        """
        file, start, last, line, is_known = TextFile(path), self._tape.bytes_read, 0, 0, False
        for line, raw in file.lines():
            if not name:
                self._tape.bytes_read = start + file.bytes_read
            if not raw or raw.startswith(_HEADER):
                continue
            found = _LINE.match(raw)
            if found is None or (found["arrow"] == b"<->") == (found["payload"] is not None):
                if not is_known:
                    raise ConfigError(f"{path}: line {line} is no line of a raw capture of cryptofeed: {readable(raw[:80])!r}")
                flaw = RejectEvent("bad_line", "no line of a raw capture", readable(raw), source.venue)
                yield _Line(last, line, "", raw, name, flaw)
                continue
            is_known = True
            if found["arrow"] == b"<-":
                continue
            try:
                last = nanos_of(found["clock"].decode(), "s")
                yield _Line(last, line, (found["url"] or b"").decode(), _frame(found["payload"]), name)
            except (ValueError, SyntaxError) as error:
                rule = "bad_line" if isinstance(error, SyntaxError | UnicodeDecodeError) else "bad_time"
                yield _Line(last, line, "", raw, name, RejectEvent(rule, str(error), readable(raw), source.venue))
        if file.truncated:
            detail = "the gzip file stops in the middle; the lines before are imported"
            yield _Line(last, line, "", b"", name, RejectEvent("truncated_file", detail, None, source.venue))


def _place(url: str) -> tuple[str | None, str]:
    """Host and path of an address, without port and query."""
    try:
        parts = urlsplit(url)
    except ValueError:  # no address at all, which is none of ours
        return None, url
    return parts.hostname, parts.path.strip("/")


def _frame(text: bytes | None) -> bytes | None:
    """The frame as it came: a bytes literal is what it stands for.

    Raises:
        SyntaxError: an escape in it means nothing.
    """
    if text is None or not _LITERAL.match(text):
        return text
    value = ast.literal_eval(text.decode("ascii"))
    return value if isinstance(value, bytes) else text


def _placed(reject: RejectEvent, one: _Line) -> RejectEvent:
    """A reject with its line; of the answers' file, which a row has no column for, the detail tells it."""
    if one.file:
        return msgspec.structs.replace(reject, detail=f"{one.file}, line {one.line}: {reject.detail}", line=None)
    return msgspec.structs.replace(reject, line=one.line)
