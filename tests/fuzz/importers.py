"""Fuzzed: the importers. A target is a sources file of `corpus/imports` and what it names, whole, line by line, packed, and with bytes changed."""

from __future__ import annotations

import gzip
import io
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, Final, Literal

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.fuzz.targets import CORPUS, Target
from tests.imports.conftest import imported
from tests.imports.test_bybit_ob500 import INSTRUMENT
from tests.imports.test_hftbacktest import ASK, SNAP, event, npz
from tests.imports.test_nautilus import delta, parquet
from xarb.imports.hftbacktest_npz import DEPTH, EVENT
from xarb.imports.nautilus_parquet import ADD, CLEAR, LAST, SNAPSHOT
from xarb.imports.sources import load_sources
from xarb.log.rows import tuples_to_table

FOLDER: Final = CORPUS / "imports"
_PERPETUALS: Final = (("bybitlinear", "BTCUSDT", "1"), ("okx", "BTC-USDT-SWAP", "0.01"))
_PERPETUAL: Final = (
    '[[instrument]]\nvenue = "{}"\nsymbol = "BTC/USDT:USDT"\nnative = "{}"\nkind = "perpetual"\npx_scale = 1\nqty_scale = 3\n'
    'base = "BTC"\nquote = "USDT"\nsettle = "USDT"\ncontract = "linear"\ncontract_size = "{}"\n'
)
_ARROW: Final = {
    "int": pa.int64(),
    "double": pa.float64(),
    "text": pa.string(),
    "list": pa.list_(pa.int64()),
    "blob": pa.binary(),
    "time": pa.timestamp("ns"),
    "flag": pa.bool_(),
}
_Columns = list[tuple[str, Literal["int", "double", "text", "list", "blob", "time", "flag"], list[Any]]]


def importers(folder: Path) -> list[Target]:
    """One for each sources file, which runs in a folder of its own."""
    return [_importer(folder / f"import {path.stem}", path) for path in sorted(FOLDER.glob("*.toml"))]


def _importer(place: Path, origin: Path) -> Target:
    place.mkdir()
    shutil.copy(origin, place / "sources.toml")
    (place / "mine.toml").write_text("".join((INSTRUMENT, *(_PERPETUAL.format(*names) for names in _PERPETUALS))))
    (source,) = load_sources(place / "sources.toml").sources
    if source.rest is not None:
        shutil.copy(origin.with_name(f"{origin.stem}-rest.txt"), source.rest_file)
    is_lake = source.format == "cryptolake-parquet"
    corpus = _BINARY[source.format]() if source.format in _BINARY else _of_text(origin.with_suffix(".txt").read_bytes())

    def feed(data: bytes, random: Random) -> None:
        del random
        content = _lake_file(data) if is_lake else data
        if content is None:
            return  # what nobody can write
        source.file.write_bytes(content)
        for kind, rows in imported(load_sources(place / "sources.toml")).rows.items():
            tuples_to_table(kind, rows)  # as a log would hold them

    return Target(place.name, corpus, feed)


def _of_text(text: bytes) -> list[bytes]:
    """The sample, each of its lines, and the sample as gzip, zip and tar."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("sample", text)
    taped, about = io.BytesIO(), tarfile.TarInfo("sample")
    about.size = len(text)
    with tarfile.open(fileobj=taped, mode="w") as tape:
        tape.addfile(about, io.BytesIO(text))
    return [text, *text.splitlines(keepends=True), gzip.compress(text), packed.getvalue(), taped.getvalue()]


def _of_quotes() -> list[bytes]:
    table = pa.table(
        {"t": [1_700_000_000 * 10**9 + n for n in range(3)], **{name: [1.5, None, 2.25] for name in ("b", "bq", "a", "aq")}}
    )
    file = io.BytesIO()
    pq.write_table(table, file)
    return [file.getvalue()]


def _of_npz() -> list[bytes]:
    """Packed, and stored, where the bytes of the array and of its header are seen."""
    rows = [*SNAP, event(DEPTH | ASK, 61659.8, 0.0)]
    stored = io.BytesIO()
    np.savez(stored, data=np.array(rows, EVENT))
    return [npz(rows), stored.getvalue()]


def _of_nautilus() -> list[bytes]:
    book = [
        delta(CLEAR, 0, 0, 0, flags=SNAPSHOT),
        delta(ADD, 1, 15 * 10**8, 10**9, flags=SNAPSHOT),
        delta(ADD, 2, 25 * 10**8, 10**9, flags=LAST),
    ]
    return [parquet("OrderBookDelta", book)["a.parquet"], parquet("OrderBookDelta", book, width=16)["a.parquet"]]


def _of_lake() -> list[bytes]:
    return [path.read_bytes() for path in sorted((CORPUS / "lake").iterdir())]


def _lake_file(data: bytes) -> bytes | None:
    """A table of Crypto Lake whose columns, types and values are what the case says."""
    file = io.BytesIO()
    try:
        columns = msgspec.json.decode(data, type=_Columns)
        table = pa.table([pa.array(values, _ARROW[kind]) for _, kind, values in columns], [name for name, _, _ in columns])
        pq.write_table(table, file)
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError, TypeError, pa.ArrowException):
        return None
    return file.getvalue()


_BINARY: Final[dict[str, Callable[[], list[bytes]]]] = {
    "cryptolake-parquet": _of_lake,
    "hftbacktest-npz": _of_npz,
    "nautilus-parquet": _of_nautilus,
    "quotes-parquet": _of_quotes,
}
