"""Follows a log as it grows: every row once, soon after it was written, by another process and without a lock.

An open journal is read on from where the last look ended. A file that the seal removed is read to its end all the same, since it stays
open here; what was never seen of a sealed segment comes from its Parquet files.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, NamedTuple, Self

import msgspec
import pyarrow.parquet as pq

from xarb.errors import ConfigError, LogError
from xarb.log import smallfiles
from xarb.log.batching import slow_row
from xarb.log.journal import FOLDER, SUFFIX, Frame, Opening, Walk, read_opening
from xarb.log.manifest import NAME, FileEntry, Manifest, Segment
from xarb.log.packing import Row
from xarb.log.rows import from_table
from xarb.model.columns import TABLES
from xarb.model.event import named

MARKET: Final = ("quotes", "books", "book_deltas", "trades", "marks")
_TRIES: Final = 5  # looks after which a manifest that cannot be read is damaged, not being written
_READ_ROWS: Final = 65_536
_END: Final = -1  # an input stands before the outputs that follow it
_AT: Final = {
    name: [column.name for column in TABLES["quotes"].columns].index(name)
    for name in ("ts_recv", "ts_event", "conn", "venue", "symbol", "bid_int", "ask_int", "px_scale")
}
Named = tuple[str, dict[str, Any]]  # a kind, and a row by column name: enums as text, money as an int at 18 decimals


class Heard(NamedTuple):
    """The last market row of a connection: when it came, and the venue's time, ns; None where the venue gives none."""

    venue: str
    ts_recv: int
    ts_event: int | None


class Mid(NamedTuple):
    """The last quote of an instrument: bid plus ask, its decimals, and when it came, ns."""

    doubled: int
    px_scale: int
    ts_recv: int


class News(msgspec.Struct):
    """What came since the last look.

    Attributes:
        rows: rows of the wanted kinds, in the log's order.
        counts: rows by kind, of all kinds.
        heard: by connection.
        mids: by (venue, symbol).
        last_ts: ts_recv of the last input of the log, 0 when it is empty.
    """

    rows: list[Named]
    counts: dict[str, int]
    heard: dict[int, Heard]
    mids: dict[tuple[str, str], Mid]
    last_ts: int


class _Journal(NamedTuple):
    """An open journal."""

    file: IO[bytes]
    opening: Opening


class Follower:
    """Hands out the rows of a log, first those that are there, then those that come. Use as a context manager.

    Args:
        folder: the log.
        kinds: whose rows are handed out; the others are counted.
        always: those of them that are handed out from the log's beginning; of the others none from segments that ended before `since`.
        since: ns.

    Raises:
        ConfigError: the folder is no log.
        LogError: its manifest is damaged.
    """

    def __init__(self, folder: Path, kinds: Collection[str], *, always: Collection[str] = (), since: int = 0) -> None:
        self.folder = folder
        self._kinds, self._always, self._since = frozenset(kinds), frozenset(always), since
        self._segment = 0  # the next one to be read
        self._next_seq = 0
        self._last_output = (-1, -1)
        self._journal: _Journal | None = None
        self._end = 0  # how far the journal was read
        self._last_ts = 0
        self._manifest_bytes = -1
        self._failures = 0
        if Manifest(folder).header.kind != "log":
            raise ConfigError(f"{folder} is a run: it is finished, nothing comes")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the open journal."""
        self._let_go()

    def take(self) -> News:
        """The rows that came since the last call; costs as much as there is of them.

        Raises:
            LogError: the log is damaged, and what stands before the damage was handed out.
        """
        news = News([], {}, {}, {}, 0)
        try:
            while self._journal is not None or self._opened() or self._read_sealed(news):
                if self._journal is not None and not self._read_journal(news):
                    break
        except LogError:
            if not news.counts:
                raise
        news.last_ts = self._last_ts
        return news

    # --- the open journal

    def _opened(self) -> bool:
        """Open the journal of the next segment, if it is there."""
        path = self.folder / FOLDER / f"{self._segment:08d}{SUFFIX}"
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return False
        try:
            opening, self._end = read_opening(path)
        except FileNotFoundError:
            file.close()
            return False
        except LogError:
            file.close()
            raise
        self._journal = _Journal(file, opening)
        return True

    def _let_go(self) -> None:
        if self._journal is not None:
            self._journal.file.close()
            self._journal = None

    def _read_journal(self, news: News) -> bool:
        """Read on; whether the next segment may be looked at."""
        assert self._journal is not None
        file, opening = self._journal
        is_gone = not _is_there(file)  # asked first: nothing is written to it after that
        file.seek(self._end)
        walk = Walk(file.read(), opening, start=self._end)
        for frame in walk:
            self._take_frame(frame, news)
        self._end = walk.end
        if walk.later is not None and not is_gone:
            raise LogError(f"{file.name}: {walk.trouble}; run: xarb log verify {self.folder}")
        if walk.ended:
            self._let_go()
            self._segment += 1
            return True
        if is_gone:  # its writer died and the next one sealed it, or it was mended
            self._let_go()
            return True
        return False

    def _take_frame(self, frame: Frame, news: News) -> None:
        found: list[tuple[tuple[int, int], Named]] = []
        newest = self._last_output
        for kind, all_rows in frame.rows().items():
            is_input = TABLES[kind].is_input
            rows = all_rows
            if frame.first_seq < self._next_seq:  # a journal that was mended holds again what was read before
                rows = [row for row in rows if (row[0] >= self._next_seq if is_input else row[:2] > self._last_output)]
            if not rows:
                continue
            news.counts[kind] = news.counts.get(kind, 0) + len(rows)
            if kind in MARKET:
                _hear(kind, rows, news)
            if is_input:
                self._last_ts = max(self._last_ts, rows[-1][1])
                if kind in self._kinds:
                    found += [((row[0], _END), (kind, slow_row(kind, row).values)) for row in rows]
            else:
                newest = max(newest, (rows[-1][0], rows[-1][1]))
                if kind in self._kinds:
                    found += [((row[0], row[1]), (kind, named((kind, *row)))) for row in rows]
        self._last_output = newest
        self._next_seq = max(self._next_seq, frame.first_seq + frame.inputs)
        news.rows += [row for _, row in sorted(found, key=_place)]

    # --- sealed segments

    def _read_sealed(self, news: News) -> bool:
        """Take the next segment from its files, if it is sealed."""
        size = (self.folder / NAME).stat().st_size
        if size == self._manifest_bytes:
            return False
        try:
            found = Manifest(self.folder)
        except LogError:  # or the writer is in the middle of a line
            self._failures += 1
            if self._failures >= _TRIES:
                raise
            return False
        self._failures = 0
        left = found.segments[self._segment :]
        if not left:
            self._manifest_bytes = found.bytes
            return False
        self._take_segment(left[0], news, found.gone)
        return True

    def _take_segment(self, segment: Segment, news: News, gone: Collection[str]) -> None:
        rows: list[tuple[tuple[int, int], Named]] = []
        for entry in segment.files:
            if entry.path in gone:
                continue
            is_input = TABLES[entry.kind].is_input
            is_partial = (is_input and entry.first < self._next_seq) or (not is_input and entry.first <= self._last_output[0])
            if not is_partial:
                news.counts[entry.kind] = news.counts.get(entry.kind, 0) + entry.rows
            else:
                news.counts[entry.kind] = news.counts.get(entry.kind, 0) + self._count(entry)
            if entry.kind in self._kinds and (entry.kind in self._always or entry.last_ts >= self._since):
                rows += self._fresh(entry)
        news.rows += [row for _, row in sorted(rows, key=_place)]
        self._last_output = max([self._last_output, *(place for place, _ in rows if place[1] != _END)])
        self._next_seq = max(self._next_seq, segment.last + 1)
        self._last_ts = max(self._last_ts, segment.last_ts)
        self._segment = segment.segment + 1

    def _fresh(self, entry: FileEntry) -> list[tuple[tuple[int, int], Named]]:
        """The rows of a file that were not handed out yet, with their places."""
        found: list[tuple[tuple[int, int], Named]] = []
        try:
            with pq.ParquetFile(self.folder / entry.path, pre_buffer=False) as file:
                for batch in file.iter_batches(_READ_ROWS, use_threads=False):
                    for row in from_table(entry.kind, batch):
                        if TABLES[entry.kind].is_input:
                            place, is_new = (row["seq"], _END), row["seq"] >= self._next_seq
                        else:
                            place = (row["after_seq"], row["n"])
                            is_new = place > self._last_output
                        if is_new:
                            found.append((place, (entry.kind, row)))
        except smallfiles.UNREADABLE as error:
            raise LogError(f"{self.folder / entry.path} cannot be read: {error}; run: xarb log verify {self.folder}") from None
        return found

    def _count(self, entry: FileEntry) -> int:
        """How many rows of a file, some of which were seen in a journal, were not counted yet."""
        keys = pq.read_table(self.folder / entry.path, columns=[TABLES[entry.kind].key[0]]).column(0).to_numpy()
        return int((keys >= self._next_seq).sum() if TABLES[entry.kind].is_input else (keys > self._last_output[0]).sum())


def last_ts_of(folder: Path, kind: str) -> int | None:
    """Time of the last sealed row of an input kind, ns; None without one.

    Raises:
        ConfigError: the folder is no log.
        LogError: its manifest is damaged.
    """
    return max((entry.last_ts for entry in Manifest(folder).files if entry.kind == kind), default=None)


def _is_there(file: IO[bytes]) -> bool:
    """Whether an open file still has its name: a seal removes it, a repair puts another in its place."""
    try:
        return Path(file.name).stat().st_ino == os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return False


def _place(found: tuple[tuple[int, int], Named]) -> tuple[int, int]:
    return found[0]


def _hear(kind: str, rows: Iterable[Row], news: News) -> None:
    """Note the last row of each connection and instrument; every kind of market row begins alike."""
    recv, event, conn, venue = _AT["ts_recv"], _AT["ts_event"], _AT["conn"], _AT["venue"]
    last = {row[conn]: row for row in rows}
    for number, row in last.items():
        news.heard[number] = Heard(row[venue], row[recv], row[event])
    if kind == "quotes":
        symbol, bid, ask, scale = _AT["symbol"], _AT["bid_int"], _AT["ask_int"], _AT["px_scale"]
        for key, row in {(row[venue], row[symbol]): row for row in rows}.items():
            if row[bid] is not None and row[ask] is not None:
                news.mids[key] = Mid(row[bid] + row[ask], row[scale], row[recv])
