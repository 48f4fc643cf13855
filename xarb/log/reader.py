"""Reads a sealed log or run: batches of inputs in order over all kinds, outputs in their order, both in bounded memory.

No row of a file is handed out before the file's digest was checked, which happens in a thread one file ahead. What was pruned is never
passed over in silence: who asks for it is refused, and told where what is left begins.
"""

from __future__ import annotations

import datetime as dt
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec
import numpy as np

from xarb.errors import ConfigError, LogError, Refused
from xarb.log.decode import COLUMNS, Decoder, chosen, cut
from xarb.log.files import Files, Range
from xarb.log.journal import journals
from xarb.log.manifest import FileEntry, Manifest
from xarb.log.merge import END, Chunk, Position, Stream, merged
from xarb.log.places import filled
from xarb.log.rows import from_table
from xarb.log.tombstones import FRAMES
from xarb.model.batch import NO_BOOKS, NO_DELTAS, NO_QUOTES, NO_TRADES, Batch
from xarb.model.columns import INPUTS, KERNEL_KINDS, OUTPUTS, TABLES
from xarb.model.event import SlowRow
from xarb.model.instrument import Instrument, instrument_fields
from xarb.model.units import NANOS_PER_S

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from types import TracebackType

    import pyarrow as pa

BACKTEST_KINDS: Final = (
    *KERNEL_KINDS,
    "marks",
    "pools",
    "swaps",
    "loans",
    "blocks",
    "pending",
    "instruments",
    "wallets",
    "connections",
    "health",
    "rejects",
)
BATCH_ROWS: Final = 262_144
_CHUNK_ROWS: Final = {"quotes": 131_072, "book_deltas": 131_072, "trades": 65_536, "books": 65_536}
_PIECE_ROWS: Final = {"books": 16_384}  # 44 columns: decoded fastest in large chunks, laid out by row fastest in the cache
_SLOW_ROWS: Final = 8_192
_BOOK_KINDS: Final = ("quotes", "books", "book_deltas")


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which part of a log to read; every range is inclusive, None is everything.

    `instruments` ("BTC/USDT@binance") chooses rows of the four compiled kinds and of marks; other kinds are not about one instrument.
    """

    first_seq: int | None = None
    last_seq: int | None = None
    first_ts: int | None = None
    last_ts: int | None = None
    dates: frozenset[str] | None = None
    instruments: frozenset[str] | None = None

    @property
    def seqs(self) -> Range | None:
        """The range of seq, None when it is open on both sides."""
        return _range(self.first_seq, self.last_seq)

    @property
    def times(self) -> Range | None:
        """The range of ts_recv, None when it is open on both sides."""
        return _range(self.first_ts, self.last_ts)

    @property
    def is_by_seq(self) -> bool:
        """Whether nothing but seq chooses its rows."""
        return self.times is None and self.dates is None and self.instruments is None

    def wants(self, entry: FileEntry) -> bool:
        """Whether the file may hold rows of it."""
        return (
            _overlap(self.seqs, entry.first, entry.last)
            and _overlap(self.times, entry.first_ts, entry.last_ts)
            and (self.dates is None or entry.date in self.dates)
            and (self.instruments is None or not entry.instruments or not self.instruments.isdisjoint(entry.instruments))
        )


EVERYTHING: Final = Selection()


class LogReader:
    """A sealed log or run, as its manifest stands now, or as it stood when `head` was the digest of its last line.

    Who has read the manifest already hands it over as `found`; it does not grow while the reader is used.

    Attributes:
        header: what the folder is.
        instruments: every instrument in its first known form, in number order (`inst` of a batch).
        connections: one more than the highest connection number.
        kinds_of: which of quotes, books and book_deltas each instrument has rows of, or had before they were pruned, by number.
        digest: head of the manifest's chain: it names everything in the log.
        last_seq: last seq of the log (last after_seq of a run), -1 when empty.
        is_open: a journal holds rows beyond `last_seq`, which are not read: the log is being written, or its writer died and the next
            start (or `xarb log repair`) will seal them. `xarb.log.tail` reads them.

    Raises:
        ConfigError: the folder is no log.
        LogError: the manifest is damaged, a file that holds instruments or connections is, or no line has the digest `head`.
    """

    def __init__(self, folder: Path | str, *, head: str | None = None, found: Manifest | None = None) -> None:
        self.folder = Path(folder)
        self.manifest = Manifest(self.folder, head) if found is None else found
        self.header = self.manifest.header
        self.digest = self.manifest.head
        self.last_seq = self.manifest.last
        self.is_open = bool(journals(self.folder))
        self.files = Files(self.folder)
        self._entries: dict[str, list[FileEntry]] = {}  # of files that are there, by kind
        for entry in self.manifest.files:
            self._entries.setdefault(entry.kind, []).append(entry)
        self._forms: list[list[tuple[int, Instrument]]] = []  # by number: (seq, form from there on)
        self._numbers: dict[tuple[str, str], int] = {}
        for row in self._all_rows("instruments"):
            self._announce(row)
        self.instruments = [forms[0][1] for forms in self._forms]
        self.connections = self._connections()
        self.kinds_of = self._kinds()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the checking thread."""
        self.files.close()

    def number(self, venue: str, symbol: str) -> int | None:
        """The number of an instrument, None when the log does not know it."""
        return self._numbers.get((venue, symbol))

    def instruments_at(self, seq: int) -> list[Instrument]:
        """Every instrument as the log knows it before `seq`: its latest form, or its first one where that comes later."""
        return [([one for at, one in forms if at < seq] or [forms[0][1]])[-1] for forms in self._forms]

    def known_at(self, seq: int) -> list[Instrument]:
        """The instruments that the log knew before `seq`, as it knew them then; numbers count them in this order."""
        there = sum(forms[0][0] < seq for forms in self._forms)
        return self.instruments_at(seq)[:there]

    def rows(
        self, kind: str, *, columns: Collection[str] | None = None, select: Selection = EVERYTHING
    ) -> Iterator[dict[str, Any]]:
        """Every row of an input kind outside the compiled ones, enums as text, money as an int at 18 decimals.

        Args:
            kind: which.
            columns: those that are wanted, None for all.
            select: files without a row of it are left out; of the others every row comes.

        Raises:
            LogError: a file was changed.
            Refused: some of them were pruned.
        """
        self._refuse_gone([kind], select)
        return self._all_rows(kind, columns, select)

    def tables(self, kind: str, columns: Collection[str], select: Selection = EVERYTHING) -> Iterator[pa.RecordBatch]:
        """Columns of the rows of a kind as Arrow, enums as their index: of a million rows those that matter are found ten times as fast.

        The columns of its key and time are there in any case; instruments are not chosen by.

        Raises:
            LogError: a file was changed.
            Refused: some of the rows were pruned.
        """
        self._refuse_gone([kind], select)
        table = TABLES[kind]
        wanted = {*columns, table.key[0], "ts_recv" if table.is_input else "ts"}
        names = [column.name for column in table.columns if column.name in wanted]
        for entry in self.entries(kind, select):
            for batch in self.files.chosen(entry, names, BATCH_ROWS, seqs=select.seqs, times=select.times):
                part = narrowed(kind, batch, select)
                if part.num_rows:
                    yield part

    def batches(
        self,
        *,
        kinds: Collection[str] = BACKTEST_KINDS,
        rows: int = BATCH_ROWS,
        select: Selection = EVERYTHING,
        cuts: Sequence[int] = (),
    ) -> Iterator[Batch]:
        """The inputs of `kinds` in seq order; a batch covers at most `rows` seqs, ends at each of `cuts` (rising seqs), and is never empty.

        Where raw frames were pruned and all kinds are asked for, a `SlowRow` without values or time (0) stands in each one's place: that
        is all of it that the engine hears.

        Raises:
            ConfigError: a kind is no input, `rows` is not positive, or the folder is a run.
            LogError: a file was changed, or breaks a promise of the log; names it.
            Refused: some of the rows were pruned or archived; names the first seq that is left.
        """
        if self.header.kind == "run":
            raise ConfigError(f"{self.folder} is a run: it has no inputs; its log has the digest {self.header.input_digest}")
        strange = sorted(set(kinds) - set(INPUTS))
        if strange or rows < 1:
            raise ConfigError(f"no kind of input: {', '.join(strange)}" if strange else f"rows must be 1 or more, not {rows}")
        if cuts:
            return chain.from_iterable(self.batches(kinds=kinds, rows=rows, select=part) for part in _parts(select, cuts))
        asked = [kind for kind in INPUTS if kind in kinds]
        places = self.gone(FRAMES, select) if len(asked) == len(INPUTS) and select.is_by_seq else []
        self._refuse_gone([kind for kind in asked if kind not in FRAMES] if places else asked, select)
        found = self._batches(asked, rows, select)
        last = self.last_seq if select.last_seq is None else select.last_seq
        return filled(found, places, (select.first_seq or 0, last)) if places else found

    def gone(self, kinds: Collection[str], select: Selection = EVERYTHING) -> list[FileEntry]:
        """The files of these kinds that are gone and may have held rows of the selection, in segment order."""
        there = self.manifest.gone
        found = [one for segment in self.manifest.segments for one in segment.files if there and one.path in there]
        return [entry for entry in found if entry.kind in kinds and select.wants(entry)]

    def _refuse_gone(self, kinds: Collection[str], select: Selection) -> None:
        """Refuse a selection of which rows are gone: what is left of it would be another log."""
        found = self.gone(kinds, select)
        if found:
            last = max(found, key=_last_of)
            stone = self.manifest.gone[last.path]
            after = next(segment.last + 1 for segment in self.manifest.segments if last in segment.files)
            when = dt.datetime.fromtimestamp(last.last_ts // NANOS_PER_S + 1, tz=dt.UTC).isoformat()
            where = "" if stone.to is None else f", to {stone.to}"
            raise Refused(
                f"{self.folder}: {', '.join(sorted({entry.kind for entry in found}))} of seq {min(map(_first_of, found))} to "
                f"{last.last} were {stone.reason} ({stone.by}{where}); the first seq that is left whole is {after}: "
                f"start behind them, at {when} or later"
            )

    def _batches(self, kinds: Sequence[str], rows: int, select: Selection) -> Iterator[Batch]:
        for parts in merged([self._stream(kind, select) for kind in kinds], rows):
            blocks = {part.kind: part.rows for part in parts}
            slow = [row for kind, found in blocks.items() if kind not in KERNEL_KINDS for row in found]
            slow.sort(key=_seq_of)
            yield Batch(
                min(int(part.keys[0]) for part in parts),
                max(int(part.keys[-1]) for part in parts),
                blocks.get("quotes", NO_QUOTES),
                blocks.get("book_deltas", NO_DELTAS),
                blocks.get("trades", NO_TRADES),
                blocks.get("books", NO_BOOKS),
                slow,
            )

    def outputs(self, *, kinds: Collection[str] = OUTPUTS, select: Selection = EVERYTHING) -> Iterator[tuple[str, dict[str, Any]]]:
        """The outputs of `kinds` in (after_seq, n) order as (kind, row), enums as text, money as an int at 18 decimals.

        Raises:
            ConfigError: a kind is no output.
            LogError: a file was changed.
        """
        strange = sorted(set(kinds) - set(OUTPUTS))
        if strange:
            raise ConfigError(f"no kind of output: {', '.join(strange)}")
        return self._outputs([kind for kind in OUTPUTS if kind in kinds], select)

    def _outputs(self, kinds: Sequence[str], select: Selection) -> Iterator[tuple[str, dict[str, Any]]]:
        for parts in merged([self._stream(kind, select) for kind in kinds]):
            rows = [(part.kind, row) for part in parts for row in part.rows]
            if len(parts) > 1:
                rows.sort(key=_place_of)
            yield from rows

    def entries(self, kind: str, select: Selection = EVERYTHING) -> list[FileEntry]:
        """The files of a kind that may hold rows of the selection, in order."""
        found = [entry for entry in self._entries.get(kind, ()) if select.wants(entry)]
        return sorted(found, key=lambda entry: (entry.first, entry.last))

    def _stream(self, kind: str, select: Selection) -> Stream:
        entries = self.entries(kind, select)
        if entries:
            self.files.ahead(entries[0])
        make = self._blocks if kind in KERNEL_KINDS else _slow_chunk if TABLES[kind].is_input else _output_chunk
        unsealed = [(place, self._chosen(kind, make(kind, part), select)) for place, part in self._unsealed(kind, select)]
        first = (entries[0].first, 0) if entries else unsealed[0][1].position(0) if unsealed else END
        return Stream(kind, first, chain(self._chunks(entries, select, make), unsealed))

    def _unsealed(self, kind: str, select: Selection) -> list[tuple[Position, pa.RecordBatch]]:
        """Rows behind the sealed ones, each batch with the position after it: none, but where the open tail is read too."""
        del kind, select
        return []

    def _chunks(
        self, entries: Sequence[FileEntry], select: Selection, make: Callable[[str, pa.RecordBatch], Chunk]
    ) -> Iterator[tuple[Position, Chunk | None]]:
        """The chunks of files that follow each other, each with the position after which the next one begins."""
        for number, entry in enumerate(entries):
            if number:
                yield (entry.first, 0), None  # a file is opened when the merge gets to it
            if number + 1 < len(entries):
                self.files.ahead(entries[number + 1])
            columns = COLUMNS.get(entry.kind) or [column.name for column in TABLES[entry.kind].columns]
            size = _CHUNK_ROWS.get(entry.kind, _SLOW_ROWS)
            try:
                batches = self.files.chosen(entry, columns, size, seqs=select.seqs, times=select.times)
                for part in _pieces(batches, select, entry.kind):
                    if not part.num_rows:
                        continue
                    yield behind(entry.kind, part), self._chosen(entry.kind, make(entry.kind, part), select)
            except LogError as error:
                if entry.path in str(error):
                    raise
                raise LogError(f"{self.folder / entry.path}: {error}") from None

    def _chosen(self, kind: str, chunk: Chunk, select: Selection) -> Chunk:
        """The rows of the chosen instruments."""
        if select.instruments is None:
            return chunk
        if kind in KERNEL_KINDS:
            wanted = np.array([one.id in select.instruments for one in self.instruments] or [False])
            keep = wanted[chunk.rows.inst]
            return chunk if keep.all() else Chunk(chunk.keys[keep], None, chosen(chunk.rows, keep), cut)
        if kind == "marks":
            keep = np.array([f"{row.values['symbol']}@{row.values['venue']}" in select.instruments for row in chunk.rows], np.bool_)
            return Chunk(chunk.keys[keep], None, [row for row, kept in zip(chunk.rows, keep, strict=True) if kept], _sliced)
        return chunk

    def _blocks(self, kind: str, batch: pa.RecordBatch) -> Chunk:
        block = Decoder(kind, self._numbers, self.connections).block(batch)
        return Chunk(block.seq, None, block, cut)

    def _all_rows(
        self, kind: str, columns: Collection[str] | None = None, select: Selection = EVERYTHING
    ) -> Iterator[dict[str, Any]]:
        names = [column.name for column in TABLES[kind].columns if columns is None or column.name in columns]
        for entry in self.entries(kind, select):
            for batch in self.files.batches(entry, names, _SLOW_ROWS):
                yield from from_table(kind, batch)

    def _announce(self, row: dict[str, Any]) -> None:
        form = Instrument(**instrument_fields(row))
        key = (form.venue, form.symbol)
        if key not in self._numbers:
            self._numbers[key] = len(self._forms)
            self._forms.append([])
        self._forms[self._numbers[key]].append((row["seq"], form))

    def _connections(self) -> int:
        """By the manifest; files of a time when it did not say so are read. None is ever pruned."""
        highest = 0
        for entry in self._entries.get("connections", ()):
            if entry.connections is not msgspec.UNSET:
                highest = max(highest, entry.connections)
            else:
                for batch in self.files.batches(entry, ["conn"], _SLOW_ROWS):
                    highest = max(highest, 1 + int(batch.column("conn").to_numpy().max()))
        return highest

    def _kinds(self) -> list[tuple[str, ...]]:
        there: dict[str, set[str]] = {}
        for entry in (one for segment in self.manifest.segments for one in segment.files):  # those that are gone, too
            if entry.kind in _BOOK_KINDS:
                for name in entry.instruments:
                    there.setdefault(name, set()).add(entry.kind)
        return [tuple(kind for kind in _BOOK_KINDS if kind in there.get(one.id, ())) for one in self.instruments]


def _range(first: int | None, last: int | None) -> Range | None:
    if first is None and last is None:
        return None
    return (-(2**63) if first is None else first, 2**63 - 1 if last is None else last)


def _overlap(range_: Range | None, first: int, last: int) -> bool:
    return range_ is None or (first <= range_[1] and last >= range_[0])


def _pieces(batches: Iterator[pa.RecordBatch], select: Selection, kind: str) -> Iterator[pa.RecordBatch]:
    """The rows of the ranges, in batches that are worth a block."""
    size = _PIECE_ROWS.get(kind)
    for batch in batches:
        part = narrowed(kind, batch, select)
        for start in range(0, part.num_rows, size or max(part.num_rows, 1)):
            yield part if size is None else part.slice(start, size)


def behind(kind: str, batch: pa.RecordBatch) -> Position:
    """The position after the last row of a batch that has rows."""
    table = TABLES[kind]
    key = batch.column(table.key[0])[-1].as_py()
    return (key + 1, 0) if table.is_input else (key, batch.column("n")[-1].as_py() + 1)


def narrowed(kind: str, batch: pa.RecordBatch, select: Selection) -> pa.RecordBatch:
    """The rows of the batch within the ranges; both columns are sorted."""
    table = TABLES[kind]
    start, stop = 0, batch.num_rows
    for range_, name in ((select.seqs, table.key[0]), (select.times, "ts_recv" if table.is_input else "ts")):
        if range_ is not None:
            values = batch.column(name).to_numpy()
            start = max(start, int(np.searchsorted(values, range_[0], "left")))
            stop = min(stop, int(np.searchsorted(values, range_[1], "right")))
    return batch.slice(start, max(0, stop - start)) if (start, stop) != (0, batch.num_rows) else batch


def _sliced(rows: list[Any], start: int, stop: int) -> list[Any]:
    return rows[start:stop]


def _slow_chunk(kind: str, batch: pa.RecordBatch) -> Chunk:
    rows = [SlowRow(values["seq"], values["ts_recv"], kind, values) for values in from_table(kind, batch)]
    return Chunk(batch.column("seq").to_numpy(), None, rows, _sliced)


def _output_chunk(kind: str, batch: pa.RecordBatch) -> Chunk:
    return Chunk(batch.column("after_seq").to_numpy(), batch.column("n").to_numpy(), from_table(kind, batch), _sliced)


def _first_of(entry: FileEntry) -> int:
    return entry.first


def _parts(select: Selection, cuts: Sequence[int]) -> Iterator[Selection]:
    """A selection in parts, each up to a cut that lies in it, and the rest."""
    first, last = select.first_seq, select.last_seq
    for end in cuts:
        if (first is None or first <= end) and (last is None or end < last):
            yield msgspec.structs.replace(select, first_seq=first, last_seq=end)
            first = end + 1
    yield msgspec.structs.replace(select, first_seq=first, last_seq=last)


def _last_of(entry: FileEntry) -> int:
    return entry.last


def _seq_of(row: SlowRow) -> int:
    return row.seq


def _place_of(row: tuple[str, dict[str, Any]]) -> tuple[int, int]:
    return row[1]["after_seq"], row[1]["n"]
