"""What is fuzzed: for each reader of foreign bytes its corpus and how it is fed."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, Final, Literal, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from tests.log.logs import small_log
from tests.log.test_journal import small_journal
from tests.log.test_strangers import forged
from tests.wires.instruments import listing
from xarb.config import load_experiment
from xarb.log.journal import Walk, guess_opening, read_header, salvage
from xarb.log.manifest import Manifest
from xarb.sql.connection import open_query
from xarb.wires import evm
from xarb.wires.exchanges import WIRES, Wire

CORPUS: Final = Path(__file__).parent / "corpus"
_NATIVES: Final = ("BTCUSDT", "BTC-USDT", "BTC-USD", "BTC/USD", "btcusd", "BTC_USDT", "KRW-BTC")
_ARROW: Final = {"int": pa.int64(), "double": pa.float64(), "text": pa.string(), "list": pa.list_(pa.int64()), "blob": pa.binary()}
_HOSTILE_NAMES: Final = ("a'b", 'a"b', "a;DROP VIEW quotes;--", "a{b}", "a[0-9]*?", "a\\b", "ä\u202eb", " ", "a%s$1")


class Target(NamedTuple):
    """One reader; `feed(data, random)` may raise a `XarbError`, and nothing else."""

    name: str
    corpus: list[bytes]
    feed: Callable[[bytes, Random], object]
    close: Callable[[], None] = lambda: None


def targets(folder: Path) -> list[Target]:
    """Those of this module, with what they write kept in `folder`."""
    found = [_wire(wire) for wire in WIRES.values()]
    found += [_logs_of_pools(), _config(folder), _journal(folder)]
    found += [_views(folder), _strange_views(folder)]
    return found


def _frames(wire: Wire) -> Path:
    """Frames of the exchange, one a line; an exchange's services (`bybitlinear`) share theirs (`bybit`)."""
    return next(path for path in sorted((CORPUS / "wires").iterdir()) if wire.venue.startswith(path.stem))


def _wire(wire: Wire) -> Target:
    lines = _frames(wire).read_bytes().splitlines()
    listings = [listing(wire.venue, native) for native in _NATIVES]

    def feed(data: bytes, random: Random) -> None:
        session = wire.session(listings, wire.channels)
        session.open(0)
        for frame in (random.choice(lines), data, random.choice(lines)):
            session.receive(frame, random.choice((None, *_NATIVES)))
            session.asks()
        session.tick(random.randrange(10**12))

    return Target(f"wire {wire.venue}", lines, feed)


class _Log(msgspec.Struct):
    """A log of a chain, as far as a node's answer is typed before it is decoded."""

    kind: Literal["v2", "v3"]
    topics: list[str]
    data: str


def _logs_of_pools() -> Target:
    def feed(data: bytes, random: Random) -> None:
        del random
        try:
            log = msgspec.json.decode(data, type=_Log)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return
        with contextlib.suppress(evm.BadLog):  # its answer to what is wrong
            event = evm.decode(log.kind, log.topics, log.data)
            assert event is None or set(log.data) <= set("x0123456789abcdefABCDEF")

    return Target("wire evm", (CORPUS / "evm.txt").read_bytes().splitlines(), feed)


def _config(folder: Path) -> Target:
    path = folder / "fuzz.toml"

    def feed(data: bytes, random: Random) -> None:
        path.write_bytes(data)
        load_experiment(path, {"run.seed": random.choice(("1", "-1", "{", "x = 1"))})

    return Target("config", [one.read_bytes() for one in sorted((CORPUS / "config").iterdir())], feed)


def _journal(folder: Path) -> Target:
    path, _, _ = small_journal(folder / "journal")
    whole = path.read_bytes()

    def feed(data: bytes, random: Random) -> None:
        del random
        guess_opening(data, 0)
        path.write_bytes(data)
        opening, start = read_header(path)
        for frame in Walk(data[start:], opening, start=start):
            frame.rows()
        for frame in salvage(data[start:], opening, start=start):
            frame.rows()

    return Target("journal", [whole, *(one.read_bytes() for one in sorted((CORPUS / "journal").iterdir()))], feed)


def _views(folder: Path) -> Target:
    """Logs with hostile names, of which one file is what the case says."""
    log = small_log(folder / "views")
    files = sorted(path for path in log.rglob("*") if path.is_file())
    whole = {path: path.read_bytes() for path in files}

    def feed(data: bytes, random: Random) -> None:
        place = folder / random.choice(_HOSTILE_NAMES)
        shutil.copytree(log, place)
        try:
            for path, content in whole.items():
                if data == content or data[:4] == content[:4]:
                    (place / path.relative_to(log)).write_bytes(data)
                    break
            with open_query([place], threads=1) as query:
                query.run("SELECT count(*), max(bid) FROM quotes")
        finally:
            shutil.rmtree(place)

    return Target("views", [*whole.values()], feed)


class _Strange(msgspec.Struct, frozen=True):
    """A log as its maker wants it to be: the folder's name, what its header says, and the columns of its quotes in place of ours."""

    folder: str
    origin: str
    columns: list[tuple[str, Literal["int", "double", "text", "list", "blob"], list[Any]]]


def _strange_views(folder: Path) -> Target:
    """Logs whose names, header, columns and values are what the case says, with digests that fit, put together with one that is sound."""
    sound = small_log(folder / "sound")
    with open_query([sound], threads=1) as query:
        expected = query.views

    def feed(data: bytes, random: Random) -> None:
        del random
        try:
            case = msgspec.json.decode(data, type=_Strange)
            table = pa.table({name: pa.array(values, _ARROW[kind]) for name, kind, values in case.columns})
            place = (
                folder
                / "strange"
                / (re.sub(r"[/\x00]", "_", case.folder).encode()[:120].decode("utf-8", "ignore").strip(".") or "x")
            )
            place.parent.mkdir(exist_ok=True)
            shutil.copytree(sound, place)
        except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError, pa.ArrowException):
            return  # what nobody can write
        try:
            entry = next(one for one in Manifest(place).files if one.kind == "quotes")
            pq.write_table(table, place / entry.path)
            forged(place, rows=table.num_rows, bytes=(place / entry.path).stat().st_size)
            with open_query([place, sound], threads=1) as query:
                assert query.views == expected, "a view came that is none of ours"
                for sql in (
                    "SELECT * FROM quotes",
                    "SELECT source, count(*), max(bid) FROM quotes GROUP BY ALL",
                    "SELECT * FROM logs",
                ):
                    query.run(sql).rows()
            assert not (folder / "pwned").exists()
        finally:
            shutil.rmtree(place)

    return Target("views of strangers", [one.read_bytes() for one in sorted((CORPUS / "views").iterdir())], feed)
