"""OKX's archive of order books, written to the layout that it publishes: books and what loses them, hostile lines, other files; recorded messages as its lines."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.imports.conftest import Imported, TextImport, imported
from xarb.errors import ConfigError
from xarb.imports.sources import load_sources
from xarb.model.columns import CONNECTION_EVENTS

INSTRUMENT = (
    '[[instrument]]\nvenue = "okx"\nsymbol = "BTC/USDT:USDT"\nnative = "BTC-USDT-SWAP"\nkind = "perpetual"\npx_scale = 1\nqty_scale = 2\nbase = "BTC"\n'
    'quote = "USDT"\nsettle = "USDT"\ncontract = "linear"\ncontract_size = "0.01"\n'
)
NAME = "BTC-USDT-SWAP-L2orderbook-400lv-2023-11-14"
SOURCE = (
    'instruments = "mine.toml"\n[[source]]\nformat = "okx-books"\nvenue = "okx"\nsymbol = "BTC/USDT:USDT"\ntime_rule = "ts_event + 5 ms"\n'
    f'path = "{NAME}.tar.gz"\n'
)
T = 1_700_000_000 * 10**9


def message(at: int, *, action: str = "update", bid: tuple[str, str] | None = ("93712.9", "0.5"), **more: Any) -> bytes:
    """A line of the archive, `at` ms after 1,700,000,000 seconds: one ask, and a bid or none."""
    line = {"instId": "BTC-USDT-SWAP", "action": action, "ts": f"{1_700_000_000_000 + at}", "asks": [["93713", "248.89", "26"]]}
    line |= {"bids": [[*bid, "1"]] if bid else [], **more}
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"


def tarred(*contents: bytes) -> bytes:
    """A tar with a file for each of the contents."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for content in contents:
            info = tarfile.TarInfo(f"{NAME}.data")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return target.getvalue()


def zipped(content: bytes) -> bytes:
    """A zip of one file."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr(f"{NAME}.data", content)
    return target.getvalue()


def run(text_import: TextImport, *lines: bytes, source: str = SOURCE) -> Imported:
    """The import of one file as it is published."""
    return text_import(source, {f"{NAME}.tar.gz": gzip.compress(tarred(b"".join(lines))), "mine.toml": INSTRUMENT.encode()})


def verdicts(found: Imported) -> list[tuple[int, bool, int]]:
    """Venue time in ms after `T`, snapshot and verdict (0 apply, 2 unsynced) of every message."""
    return [
        ((row["ts_event"] - T) // 10**6, row["is_snapshot"], row["verdict"]) for row in found.named("book_deltas") if row["is_last"]
    ]


def links(found: Imported) -> list[tuple[str, str]]:
    """Event and detail of every row of the connection."""
    return [(CONNECTION_EVENTS[row["event"]], row["detail"]) for row in found.named("connections")]


def test_a_book(text_import: TextImport) -> None:
    """Numbers are exact and sizes contracts; an update moves one side or both, a new snapshot starts the book again."""
    found = run(
        text_import,
        message(7, action="snapshot"),
        message(17, bid=("93712.9", "0")),
        message(17, bid=None),
        message(27, action="snapshot"),
    )
    assert found.rules() == []
    assert verdicts(found) == [(7, True, 0), (17, False, 0), (17, False, 0), (27, True, 0)]
    rows = found.named("book_deltas")
    assert [(row["side"], row["price_int"], row["px_scale"], row["qty_int"], row["qty_scale"]) for row in rows[:4]] == [
        (0, 937129, 1, 50, 2),
        (1, 937130, 1, 24889, 2),
        (0, 937129, 1, 0, 2),
        (1, 937130, 1, 24889, 2),
    ]
    assert {(row["ts_recv"] - row["ts_event"], row["venue_seq"], row["prev_id"]) for row in rows} == {(5_000_000, None, None)}
    assert [row["contract_size"] for row in found.named("instruments")] == [10**16]
    assert links(found) == [
        ("opened", "import of okx-books"),
        ("resync", "the exchange sent a new snapshot"),
        ("closed", "end of the source"),
    ]


def test_an_update_in_front_of_a_snapshot_moves_nothing(text_import: TextImport) -> None:
    """A file that begins in the middle waits for its first snapshot."""
    found = run(text_import, message(7), message(17, action="snapshot"), message(27))
    assert verdicts(found) == [(7, False, 2), (17, True, 0), (27, False, 0)]


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (b"{\n", "bad_json"),
        (b"\n", "bad_json"),
        (b'{"instId":"\xff"}\n', "bad_json"),
        (b'{"x":' + b"[" * 100_000 + b"\n", "wrong_type"),
        (b'{"instId":"BTC-USDT-SWAP"}\n', "missing_field"),
        (message(17, action="delta"), "unknown_message"),
        (message(17, fee="1"), "wrong_type"),
        (message(17, asks=[["93713", "1"]]), "wrong_type"),
        (message(17, asks=[["93713", "1", "0", "1"]]), "wrong_type"),
        (message(17, asks=[[93713, 1, 1]]), "wrong_type"),
        (message(17, bid=("1e", "1")), "bad_number"),
        (message(17, bid=("", "1")), "bad_number"),
        (message(17, ts="1700000000017000"), "bad_time"),
        (message(6), "time_backwards"),
    ],
)
def test_a_line_that_cannot_be_used_loses_the_book(text_import: TextImport, line: bytes, rule: str) -> None:
    """It is a reject and a gap, since no number tells what it was; the next snapshot starts the book again."""
    found = run(text_import, message(7, action="snapshot"), line, message(27), message(37, action="snapshot"), message(47))
    assert found.rules() == [(rule, 2)]
    assert verdicts(found) == [(7, True, 0), (27, False, 2), (37, True, 0), (47, False, 0)]
    assert [event for event, _ in links(found)] == ["opened", "gap", "resync", "closed"]


def test_another_instrument_is_a_reject(text_import: TextImport) -> None:
    """And leaves the book alone."""
    found = run(text_import, message(7, action="snapshot"), message(17, instId="BTC-USDT"), message(27))
    assert found.rules() == [("unknown_instrument", 2)]
    assert verdicts(found) == [(7, True, 0), (27, False, 0)]


def test_numbers_of_the_wire_are_heeded(text_import: TextImport) -> None:
    """Should a file have them: a hole in the chain is a gap, and so is an update without a number in a book that has them."""
    numbers: list[dict[str, Any]] = [{"seqId": 9, "prevSeqId": 8}, {}]
    for more in numbers:
        first = message(7, action="snapshot", seqId=5, prevSeqId=-1), message(17, seqId=6, prevSeqId=5)
        found = run(text_import, *first, message(27, **more), message(37, action="snapshot"), message(47))
        assert verdicts(found) == [(7, True, 0), (17, False, 0), (27, False, 2), (37, True, 0), (47, False, 0)]
        assert [event for event, _ in links(found)] == ["opened", "gap", "resync", "closed"]


@pytest.mark.parametrize("pack", [tarred, zipped, bytes, gzip.compress])
def test_what_it_is_packed_in(text_import: TextImport, pack: Callable[[bytes], bytes]) -> None:
    """A tar, a zip, the file itself and a gzip of it are read as the tar.gz is."""
    content = message(7, action="snapshot") + message(17) * 3000
    found = text_import(SOURCE.replace(".tar.gz", ".data"), {f"{NAME}.data": pack(content), "mine.toml": INSTRUMENT.encode()})
    assert (len(verdicts(found)), found.rules()) == (3001, [])


def test_a_file_that_is_cut_off_loses_the_book(text_import: TextImport) -> None:
    """The lines before the cut are kept, and the file that follows begins with its own snapshot."""
    packed = gzip.compress(tarred(message(7, action="snapshot") + b"".join(message(at) for at in range(17, 9_000))))
    again = '[[source]]\nformat = "okx-books"\nvenue = "okx"\nsymbol = "BTC/USDT:USDT"\ntime_rule = "ts_event + 5 ms"\ncontinues = true\npath = "b.data"\n'
    files = {f"{NAME}.tar.gz": packed[: len(packed) // 2], "b.data": message(9_001), "mine.toml": INSTRUMENT.encode()}
    found = text_import(SOURCE + again, files)
    assert found.rules()[-1][0] == "truncated_file"
    kinds = verdicts(found)
    assert len(kinds) > 1000
    assert kinds[-1] == (9_001, False, 2)
    assert [event for event, _ in links(found)][:2] == ["opened", "gap"]


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"{}\n", "not a gzip file"),
        (gzip.compress(message(7)), "not a tar file although"),
        (gzip.compress(tarred()), "not a tar file although|it holds no file"),
        (gzip.compress(tarred(message(7, action="snapshot"), b"")), "more than one file"),
        (gzip.compress(tarred(b"x" * 2000)), "line 1 is no message of OKX's archive"),
        (gzip.compress(tarred(message(7, fee="1"))), f"{NAME}.tar.gz: line 1 is no message of OKX's archive.*fee"),
        (gzip.compress(tarred(b'{"arg":{"channel":"books"},"data":[]}\n')), "line 1 is no message of OKX's archive"),
        (gzip.compress(tarred(message(7, ts="1700000000007000"))), "line 1 is no message.*is the unit right"),
        (gzip.compress(tarred(message(7, action="snapshot")))[:-8] + b"12345678", "damaged gzip"),
    ],
    ids=["plain", "no tar", "empty tar", "two files", "other text", "other key", "other message", "other unit", "damaged"],
)
def test_another_file_stops_the_import(text_import: TextImport, content: bytes, match: str) -> None:
    """A file that is no archive of one book is named."""
    with pytest.raises(ConfigError, match=match):
        text_import(SOURCE, {f"{NAME}.tar.gz": content, "mine.toml": INSTRUMENT.encode()})


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ('time_rule = "ts_event + 5 ms"\n', "", "has no receive time, so time_rule"),
        ('venue = "okx"', 'venue = "binance"', "'binance' is not OKX's|no instrument"),
        ('symbol = "BTC/USDT:USDT"\n', "", "needs venue and symbol"),
    ],
)
def test_keys(text_import: TextImport, old: str, new: str, match: str) -> None:
    """What the file does not say must be stated."""
    with pytest.raises(ConfigError, match=match):
        run(text_import, message(7), source=SOURCE.replace(old, new))


def test_recorded_messages_as_lines_of_the_archive(shared: Path, tmp_path: Path) -> None:
    """98 messages of the wire without what is around them: every checksum is met, and without checksums the same levels are read."""
    path = shared / "exchange-wire-cryptofeed" / "OKX.ws.1.0"
    if not path.is_file():
        pytest.skip(f"the real recording is not there: {path}")
    lines = []
    for text in path.read_text().splitlines():
        frame = json.loads(text.partition(": ")[2]) if '"action"' in text and '"instId":"BTC-USDT"' in text else {}
        for item in frame.get("data", []):
            sides = {side: [[price, size, orders] for price, size, _, orders in item[side]] for side in ("asks", "bids")}
            lines.append({"instId": "BTC-USDT", "action": frame["action"], "ts": item["ts"], **sides, "checksum": item["checksum"]})
    spot = INSTRUMENT.replace("BTC-USDT-SWAP", "BTC-USDT").replace("BTC/USDT:USDT", "BTC/USDT").replace("perpetual", "spot")
    (tmp_path / "mine.toml").write_text(spot[: spot.index("settle")])
    (tmp_path / "sources.toml").write_text(SOURCE.replace("BTC/USDT:USDT", "BTC/USDT").replace(f"{NAME}.tar.gz", "a.data"))
    read = []
    for without in ("", "checksum"):
        kept = [json.dumps({key: value for key, value in line.items() if key != without}) for line in lines]
        (tmp_path / "a.data").write_text("\n".join(kept))
        read.append(imported(load_sources(tmp_path / "sources.toml")))
    proven, unproven = read
    assert (len(lines), proven.rules(), {event for event, _ in links(proven)}) == (98, [], {"opened", "closed"})
    assert [verdict for _, _, verdict in verdicts(proven)] == [0] * 98
    assert proven.rows == unproven.rows
