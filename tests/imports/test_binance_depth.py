"""T_DEPTH books of Binance's futures: the originals, snapshots between updates, holes, and rows that spoil a message."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from tests.imports.conftest import Imported, TextImport, imported
from xarb.errors import ConfigError
from xarb.imports import binance_depth
from xarb.imports.sources import load_sources
from xarb.model.columns import CONNECTION_EVENTS

HEADER = "symbol,timestamp,first_update_id,last_update_id,side,update_type,price,qty,pu\n"
SNAP, UPDATE = (f"BTCUSDT_T_DEPTH_2022-11-01_depth_{part}.csv" for part in ("snap", "update"))
MS = 1667347199000
SURE = {"bad_number", "bad_side", "unread_kind"}  # the row says of which message it is
SOURCE = (
    '[[source]]\nformat = "binance-archive"\nvenue = "binanceusdm"\nsymbol = "BTC/USDT:USDT"\ntime_rule = "ts_event + 5 ms"\n'
    f'path = "{UPDATE}"\nrest = "{SNAP}"\n'
)


def snap(last: int, at: int, *levels: str) -> str:
    """Rows of a snapshot, `at` ms after the start; a level is `a 20377.00 1.5`."""
    return "".join(
        f"BTCUSDT,{MS + at},{last},{last},{row(level, 'snap')},-1\n" for level in levels or ("b 20377.0 1", "a 20378.0 2")
    )


def update(pu: int, last: int, at: int, *levels: str) -> str:
    """Rows of an update that follows the one that ended with `pu`."""
    return "".join(f"BTCUSDT,{MS + at},{pu + 3},{last},{row(level, 'set')},{pu}\n" for level in levels or ("b 20377.0 3",))


def row(level: str, kind: str) -> str:
    """Side, type, price and size."""
    side, price, qty = level.split()
    return f"{side},{kind},{price},{qty}"


def run(text_import: TextImport, snaps: str, updates: str) -> Imported:
    """The import of both files."""
    return text_import(SOURCE, {SNAP: (HEADER + snaps).encode(), UPDATE: (HEADER + updates).encode()})


def verdicts(found: Imported) -> list[tuple[int, bool, int]]:
    """Last id, snapshot and verdict (0 apply, 1 old, 2 unsynced) of every message."""
    rows = found.named("book_deltas")
    ends = [place for place, one in enumerate(rows) if place + 1 == len(rows) or rows[place + 1]["venue_seq"] != one["venue_seq"]]
    return [(rows[place]["venue_seq"], rows[place]["is_snapshot"], rows[place]["verdict"]) for place in ends]


def links(found: Imported) -> list[str]:
    """What happened to the connection, without what the checksums say."""
    names = [CONNECTION_EVENTS[one["event"]] for one in found.named("connections")]
    return [name for name in names if name != "heartbeat"]


def test_the_originals(shared: Path, tmp_path: Path) -> None:
    """Originals: a snapshot of 100 levels, and an update of 100 that does not follow it, which is a gap."""
    folder = shared / "vendor-formats" / "binance"
    if not folder.is_dir():
        pytest.skip(f"the real recordings are not there: {folder}")
    text = SOURCE.replace(UPDATE, f"{folder}/btcusdt-depth-update.csv").replace(SNAP, f"{folder}/btcusdt-depth-snap.csv")
    (tmp_path / "sources.toml").write_text(text)
    found = imported(load_sources(tmp_path / "sources.toml"))
    assert verdicts(found) == [(2098021528332, True, 0), (2098041696700, False, 2)]
    rows = found.named("book_deltas")
    assert (len(rows), found.rules(), links(found)) == (200, [], ["opened", "gap", "closed"])
    first, last = rows[0], rows[-1]
    assert (first["ts_event"], first["ts_recv"]) == (1667346579146000000, 1667346579151000000)
    assert (first["price_int"], first["qty_int"], first["px_scale"], first["qty_scale"]) == (2037700, 1770, 2, 3)
    assert (last["first_id"], last["prev_id"]) == (2098041693435, 2098041693400)
    assert found.summary.notes[1] == "btcusdt-depth-snap.csv was not verified: no btcusdt-depth-snap.csv.CHECKSUM beside it"


def test_snapshots_start_books_between_updates(text_import: TextImport) -> None:
    """Updates wait for their snapshot, are old when it holds them, and follow each other by `pu`; a hole waits for the next snapshot."""
    updates = update(100, 110, 1) + update(110, 120, 2) + update(120, 130, 4, "a 20378.0 0", "a 20379.0 1") + update(130, 140, 5)
    updates += update(145, 150, 6) + update(150, 160, 8)
    found = run(text_import, snap(115, 3) + snap(155, 7), updates)
    assert verdicts(found) == [
        *[(110, False, 2), (120, False, 2), (115, True, 0), (120, False, 0), (130, False, 0), (140, False, 0)],
        *[(150, False, 2), (155, True, 0), (160, False, 0)],
    ]
    assert (links(found), found.rules()) == (["opened", "gap", "resync", "closed"], [])


@pytest.mark.parametrize(
    ("bad", "rule"),
    [
        ("BTCUSDT,{t},113,120,b,set,x,1,110\n", "bad_number"),
        ("BTCUSDT,{t},113,120,c,set,20377.0,1,110\n", "bad_side"),
        ("BTCUSDT,{t},113,120,b,delta,20377.0,1,110\n", "unread_kind"),
        ("BTCUSDT,{t},113,120,b,set,20377.0,1\n", "wrong_fields"),
        ("ETHUSDT,{t},113,120,b,set,20377.0,1,110\n", "unknown_instrument"),
        ("BTCUSDT,166734719,113,120,b,set,20377.0,1,110\n", "bad_time"),
        ("BTCUSDT,{t},113,-120,b,set,20377.0,1,110\n", "wrong_type"),
        ("\n", "wrong_fields"),
    ],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_bad_row_gives_its_book_up(text_import: TextImport, bad: str, rule: str, place: int) -> None:
    """A message that may miss a level is kept and moves nothing, wherever in it the bad row stands; the next snapshot starts anew."""
    message = update(110, 120, 3, "b 20377.0 5", "a 20378.0 6").splitlines(keepends=True)
    message.insert(place, bad.format(t=MS + 3))
    updates = update(100, 110, 1) + "".join(message) + update(120, 130, 4) + update(130, 140, 6)
    found = run(text_import, snap(105, 0) + snap(135, 5), updates)
    assert found.rules() == [(rule, 3 + place)]
    applied = [(last, verdict) for last, is_snapshot, verdict in verdicts(found) if not is_snapshot]
    assert [last for last, verdict in applied if verdict == 0] == ([110, 140] if place or rule in SURE else [140])
    assert all(verdict == 2 for last, verdict in applied if last in {120, 130})
    assert links(found) == ["opened", "gap", "resync", "closed"]
    assert len([one for one in found.named("book_deltas") if one["venue_seq"] == 120]) == 2


def test_a_snapshot_that_is_not_whole_starts_no_book(text_import: TextImport) -> None:
    """Its levels are kept, updates wait on; the file beside has its line in the detail."""
    found = run(text_import, snap(105, 0, "b 20377.0 1", "a x 1"), update(105, 110, 1))
    assert verdicts(found) == [(105, True, 2), (110, False, 2)]
    assert found.rules() == [("bad_number", None)]
    assert found.named("rejects")[0]["detail"].startswith(f"{SNAP}, line 3: ")


def test_a_message_that_goes_back(text_import: TextImport) -> None:
    """Every row of it is a reject, and the book has a gap because of the hole."""
    updates = update(105, 110, 2) + update(110, 120, 1, "b 20377.0 1", "a 20378.0 2") + update(120, 130, 3)
    found = run(text_import, snap(105, 0), updates)
    assert found.rules() == [("time_backwards", 3), ("time_backwards", 4)]
    assert verdicts(found) == [(105, True, 0), (110, False, 0), (130, False, 2)]
    assert links(found) == ["opened", "gap", "closed"]


@pytest.mark.parametrize(
    ("header", "match"),
    [
        (HEADER.replace(",pu", ""), "line 1 has no pu, without which"),
        ("a,b\n", "line 1 is not the header of T_DEPTH"),
        ("", "line 1 is not the header"),
    ],
)
def test_another_header_stops_the_import(text_import: TextImport, header: str, match: str) -> None:
    """A layout that cannot be proven whole, or another one, is named with its file."""
    for name, other in ((SNAP, UPDATE), (UPDATE, SNAP)):
        with pytest.raises(ConfigError, match=rf"{name}: {match}"):
            text_import(SOURCE, {name: header.encode(), other: (HEADER + snap(1, 0)).encode()})


def test_a_message_behind_a_bad_row_waits_for_no_snapshot(text_import: TextImport) -> None:
    """A row whose head cannot be read may have been of the next message, which a snapshot that comes later must not build on."""
    updates = update(100, 110, 1) + "\n" + update(110, 120, 2) + update(120, 130, 5)
    found = run(text_import, snap(115, 3), updates)
    assert verdicts(found) == [(110, False, 2), (120, False, 2), (115, True, 0), (130, False, 2)]


def test_a_bad_row_at_the_start_of_the_next_file(text_import: TextImport) -> None:
    """It has no time of its own and gives the book up all the same."""
    later = UPDATE.replace("11-01", "11-02")
    source = SOURCE + SOURCE.replace(UPDATE, later).replace(f'rest = "{SNAP}"', "continues = true")
    files = {SNAP: HEADER + snap(105, 0), UPDATE: HEADER + update(105, 110, 1), later: HEADER + "x\n"}
    found = text_import(source, {name: text.encode() for name, text in files.items()})
    assert (verdicts(found), links(found)) == ([(105, True, 0), (110, False, 0)], ["opened", "gap", "closed"])


def test_a_cut_file_leaves_its_last_message_open(text_import: TextImport) -> None:
    """Rows of it may be missing, so it moves nothing."""
    packer = zlib.compressobj(wbits=31)
    text = HEADER + update(105, 110, 1) + update(110, 120, 2)
    cut = packer.compress(text.encode()) + packer.flush(zlib.Z_SYNC_FLUSH)  # behind a whole row, without the end of the gzip file
    files = {SNAP: (HEADER + snap(105, 0)).encode(), f"{UPDATE}.gz": cut}
    found = text_import(SOURCE.replace(UPDATE, f"{UPDATE}.gz"), files)
    assert found.rules() == [("truncated_file", 3)]
    assert verdicts(found) == [(105, True, 0), (110, False, 0), (120, False, 2)]
    assert links(found) == ["opened", "gap", "closed"]


def test_a_message_without_end_is_none(text_import: TextImport, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows that are held for one message have a bound."""
    monkeypatch.setattr(binance_depth, "_ROWS_LIMIT", 3)
    levels = [f"b {number}.0 1" for number in range(3)]
    assert len(run(text_import, snap(105, 0), update(105, 110, 1, *levels)).rows["book_deltas"]) == 5
    with pytest.raises(ConfigError, match="line 5 is of a message of more than 3 rows"):
        run(text_import, snap(105, 0), update(105, 110, 1, *levels, "b 9.0 1"))
