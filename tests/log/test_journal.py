"""The journal's frames: whatever happens to the bytes, what is read is an exact prefix of what was written, or a refusal."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.log.generators import KEYS, input_row, value
from tests.log.live import Values, head, inputs_of, quotes, read_inputs, read_outputs, refusal, whole
from tests.log.logs import HEADER, Placed, connection, full, instrument, placed
from xarb.errors import LogError
from xarb.log.check import verify_log
from xarb.log.committer import Policy
from xarb.log.journal import (
    FOLDER,
    Frame,
    Opening,
    Walk,
    by_kind,
    frame_bytes,
    journals,
    make_journal,
    new_opening,
    read_opening,
    salvage,
)
from xarb.log.livelog import LiveLog
from xarb.log.packing import KINDS, pack, unpack
from xarb.model.columns import INPUTS, OUTPUTS, TABLES
from xarb.model.event import output_row

ROOT = Path(__file__).resolve().parents[2]
QUICK = Policy(commit_ms=1, reserve_bytes=4096, separate=False)
SLOW_TO_MAKE = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]
Rows = dict[str, list[Values]]


def frame_of(payload: bytes) -> Frame:
    """A frame whose checksum is of no interest any more."""
    return Frame(0, len(payload), first_seq=0, synced=-1, inputs=1, outputs=0, raw_length=0, flags=0, payload=payload)


@pytest.mark.parametrize(
    "payload",
    [
        msgspec.msgpack.encode(
            {KINDS.index("quotes") - len(KINDS): msgspec.Raw(pack("quotes", quotes(2, 1)["quotes"]))}
        ),  # a number from the end names no kind
        msgspec.msgpack.encode({KINDS.index("rejects"): [[b"\xff"]]}),
        b"\x81\x00" + b"\x91" * 100_000,
    ],
)
def test_frame_of_another_writer_is_refused(payload: bytes) -> None:
    """Behind a checksum that holds: kinds that are none, bytes that are no text, nested too deep."""
    with pytest.raises(LogError, match="cannot be read"):
        frame_of(payload).rows()


def test_text_that_is_no_text_is_refused() -> None:
    """Found by fuzzing: a row whose text is no UTF-8."""
    packed = pack("quotes", quotes(2, 1)["quotes"])
    venue = quotes(2, 1)["quotes"][0][4].encode()
    with pytest.raises(LogError, match="cannot be read"):
        unpack("quotes", packed.replace(venue, b"\xff" * len(venue)))


def small_journal(folder: Path) -> tuple[Path, Opening, list[Rows]]:
    """A journal of four frames, the last one ended."""
    (folder / FOLDER).mkdir(parents=True)
    opening = new_opening(0, "ab", "log")
    given = [by_kind(head(), []), by_kind(quotes(2, 1), [refusal(2, 0, -(10**37))]), by_kind(quotes(3, 2), [])]
    data, seq = [], 0
    for rows in given:
        data.append(frame_bytes(opening, rows, first_seq=seq, synced=seq - 1))
        seq += sum(len(mine) for kind, mine in rows.items() if kind in INPUTS)
    data.append(frame_bytes(opening, {}, first_seq=seq, synced=seq - 1, flags=1))
    return make_journal(folder, opening, data), opening, given


def read(path: Path) -> tuple[list[Rows], Walk]:
    """Rows of the frames that a reader finds."""
    opening, start = read_opening(path)
    walk = Walk(path.read_bytes()[start:], opening, start=start, next_seq=0)
    return [frame.rows() for frame in walk if frame.inputs or frame.outputs], walk


@given(
    rows=st.lists(st.sampled_from(INPUTS).flatmap(input_row), min_size=1, max_size=30),
    cuts=st.lists(st.integers(0, 34), max_size=4),
    data=st.data(),
)
@settings(max_examples=40, suppress_health_check=SLOW_TO_MAKE, deadline=None)
def test_rows_of_every_kind_pass_through_the_journal(rows: list[Placed], cuts: list[int], data: st.DataObject) -> None:
    """Inputs and outputs of every kind with extreme values are read from the sealed log as they were appended, however they were cut."""
    given_rows = placed([connection(0), connection(1), *(instrument(key, 2, 5) for key in KEYS), *rows])
    outs = []
    for n, kind in enumerate(data.draw(st.lists(st.sampled_from(OUTPUTS), max_size=8))):
        row = {c.name: data.draw(value(c)) for c in TABLES[kind].columns if c.name not in {"after_seq", "n", "ts"}}
        outs.append((kind, full(kind, row | {"after_seq": len(given_rows) - 1, "n": n, "ts": 2 * 10**18})))
    ends = sorted({*(min(cut, len(given_rows)) for cut in cuts), len(given_rows)})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "log"
        log = LiveLog.create(folder, HEADER, QUICK)
        for start, end in zip([0, *ends], ends, strict=False):
            log.append(inputs_of(given_rows[start:end]), [output_row(*pair) for pair in outs] if end == len(given_rows) else [])
            log.write()
        log.abandon()
        LiveLog.open(folder, QUICK).close()
        assert read_inputs(folder) == whole(given_rows)
        assert read_outputs(folder) == outs


@pytest.mark.parametrize("kind", KINDS)
def test_every_column_is_checked(kind: str) -> None:
    """A row of nulls, a short row and a long one are refused for every kind that forbids them, and reading what is no row fails."""
    width = len(TABLES[kind].columns)
    for row in ((None,) * width, (0,) * (width - 1), (0,) * (width + 1)):
        with pytest.raises(Exception, match=f"{kind}: a row does not fit"):
            pack(kind, [row])
    for data in (b"", b"\x91", b"\xc0", b"\x91\x91\x00"):
        with pytest.raises(LogError, match=f"rows of {kind} cannot be read"):
            unpack(kind, data)


def test_every_single_bit_flip_is_seen(tmp_path: Path) -> None:
    """With any one bit changed a reader gets an exact prefix and is told that something stands behind it, or is refused."""
    path, _, given_rows = small_journal(tmp_path)
    data = path.read_bytes()
    refused = damaged = 0
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        try:
            found, walk = read(path)
        except LogError:
            refused += 1
            continue
        assert found == given_rows[: len(found)]
        assert walk.trouble is not None
        assert not walk.ended
        damaged += walk.later is not None
    frames = 8 * (len(data) - read_opening_at(path, data))
    last = 8 * len(frame_bytes(new_opening(0, "", ""), {}, first_seq=0, synced=0))
    assert damaged == frames - last  # only in the last frame damage looks like a torn tail
    assert refused == 8 * len(data) - frames


def read_opening_at(path: Path, data: bytes) -> int:
    """The place of the first frame."""
    path.write_bytes(data)
    return read_opening(path)[1]


def test_a_truncation_at_every_byte_gives_the_frames_before_it(tmp_path: Path) -> None:
    """However a file was cut, exactly the frames that are whole are read, and the rest is a torn tail, not damage."""
    path, opening, given_rows = small_journal(tmp_path)
    data = path.read_bytes()
    start = read_opening(path)[1]
    stops = [frame.stop for frame in Walk(data[start:], opening, start=start)]
    for size in range(len(data)):
        path.write_bytes(data[:size])
        if size < start:
            with pytest.raises(LogError, match="header is damaged"):
                read(path)
            continue
        found, walk = read(path)
        count = sum(stop <= size for stop in stops)
        assert found == given_rows[:count]
        assert (walk.later, walk.torn_bytes, walk.ended) == (None, size - ([start, *stops][count]), False)


@pytest.mark.parametrize("tail", ["other", "same segment", "zeros", "old frame", "random"])
def test_stale_bytes_are_never_frames(tmp_path: Path, tail: str) -> None:
    """Whatever the disk held behind the end, frames of other files and earlier frames of this one among it, none of it is read."""
    path, opening, given_rows = small_journal(tmp_path)
    start = read_opening(path)[1]
    data = path.read_bytes()
    (tmp_path / "twin").mkdir()
    twin = small_journal(tmp_path / "twin" / "log")[0]
    stale = {
        "other": frame_bytes(new_opening(7, "", ""), quotes(5, 1), first_seq=5, synced=4),
        "same segment": twin.read_bytes()[read_opening(twin)[1] :],
        "zeros": bytes(500),
        "old frame": frame_bytes(opening, quotes(2, 1), first_seq=2, synced=1),
        "random": os.urandom(500),
    }[tail]
    last = list(Walk(data[start:], opening, start=start))[-1]
    path.write_bytes(data[: last.start] + stale)
    found, walk = read(path)
    assert found == given_rows
    assert walk.trouble is not None
    assert (walk.later is not None) == (tail == "old frame")
    path.write_bytes(data + stale)
    assert read(path)[1].later is not None  # nothing may stand behind the last frame


def test_frames_behind_damage_are_found(tmp_path: Path) -> None:
    """Salvage gives every frame but the damaged one, whatever was inserted, removed or changed."""
    path, opening, _ = small_journal(tmp_path)
    start = read_opening(path)[1]
    data = path.read_bytes()
    frames: list[Frame] = list(Walk(data[start:], opening, start=start))
    hurt = frames[1]
    for middle in (b"", bytes(40), os.urandom(hurt.stop - hurt.start), data[hurt.start : hurt.stop - 1]):
        body = data[start : hurt.start] + middle + data[hurt.stop :]
        found = [(frame.first_seq, frame.inputs) for frame in salvage(body, opening, start=start)]
        assert found == [(frame.first_seq, frame.inputs) for place, frame in enumerate(frames) if place != 1]


def test_a_large_frame_is_compressed_and_exact(tmp_path: Path) -> None:
    """Rows beyond a few thousand bytes are compressed, and come back equal."""
    opening = new_opening(0, "", "")
    rows = quotes(0, 5_000)
    data = frame_bytes(opening, rows, first_seq=0, synced=-1)
    assert len(data) < 5_000 * 30
    (frame,) = Walk(data, opening, start=0)
    assert frame.rows() == rows
    assert not list(tmp_path.iterdir())


class Disk:
    """`os` with a write that takes at most `part` bytes a call, and fails once `room` bytes were taken."""

    def __init__(self, room: int, part: int, code: int) -> None:
        self.room, self.part, self.code = room, part, code

    def write(self, handle: int, data: memoryview) -> int:
        """A short write, or an error when nothing fits."""
        size = min(self.part, self.room, len(data))
        if size == 0:
            raise OSError(self.code, os.strerror(self.code))
        self.room -= size
        return os.write(handle, data[:size])


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    """A disk that is under the journals' writes."""
    found = Disk(10**9, 7, errno.ENOSPC)
    monkeypatch.setattr("xarb.log.disk.os", SimpleNamespace(**(vars(os) | {"write": found.write})))
    yield found
    monkeypatch.undo()


def test_short_writes_are_finished(tmp_path: Path, disk: Disk) -> None:
    """A disk that takes seven bytes at a time loses nothing."""
    with LiveLog.create(tmp_path / "log", HEADER, QUICK) as log:
        log.append(head())
        log.append(quotes(2, 50))
    assert disk.room < 10**9
    assert verify_log(tmp_path / "log").rows == 52


def test_a_full_disk_still_takes_orders(tmp_path: Path, disk: Disk) -> None:
    """The reserve is given up: what was being written stands, market data is refused from then on, reports and outputs are taken."""
    folder = tmp_path / "log"
    log = LiveLog.create(folder, HEADER, Policy(reserve_bytes=1 << 16, separate=False))
    log.append(head())
    log.write()
    reserve = folder / FOLDER / ".reserve"
    assert reserve.stat().st_blocks * 512 >= 1 << 16
    disk.room = 20

    def freed(path: Path, *, missing_ok: bool = False) -> None:
        os.unlink(path)  # noqa: PTH108  # Path.unlink is what this stands for
        disk.room = 500
        assert missing_ok

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "unlink", freed)
        log.append(quotes(2, 3))
        log.write()
    assert (log.is_full, log.stats.is_full, reserve.exists()) == (True, True, False)
    with pytest.raises(LogError, match="the disk is full; only operator, reports"):
        log.append(quotes(5, 1))
    health = inputs_of([("health", {"seq": 5, "ts_recv": log.last_ts, "metric": "m", "value": 1})])
    log.append(health, [refusal(4, 0), refusal(5, 0)])
    log.write()
    log.append({}, [refusal(5, n) for n in range(1, 40)])
    with pytest.raises(LogError, match="No space left"):
        log.write()
    for call in (log.write, log.sync, lambda: log.append(quotes(6, 1))):
        with pytest.raises(LogError, match="cannot be written any more"):
            call()
    log.abandon()
    disk.room = 10**9
    with LiveLog.open(folder, QUICK) as again:
        assert again.last == 5
        assert again.recovered is not None
        assert again.recovered.truncated_bytes == 0  # half a frame was cut off at once
    assert verify_log(folder).ok


def test_a_disk_that_fails_halts(tmp_path: Path, disk: Disk) -> None:
    """An I/O error is final at once: no reserve helps, nothing is tried again, and what was written before is whole."""
    folder = tmp_path / "log"
    log = LiveLog.create(folder, HEADER, QUICK)
    log.append(head())
    log.write()
    disk.room, disk.code = 30, errno.EIO
    log.append(quotes(2, 1))
    with pytest.raises(LogError, match="Input/output error"):
        log.write()
    with pytest.raises(LogError, match="Input/output error"):
        log.close()
    disk.room = 10**9
    LiveLog.open(folder, QUICK).close()
    assert verify_log(folder).rows == 2


def test_a_failed_fsync_is_never_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After one failed fsync every call is refused, though the next fsync would succeed."""
    log = LiveLog.create(tmp_path / "log", HEADER, Policy(commit_ms=60_000, reserve_bytes=0))
    log.append(head())
    log.write()
    calls: list[int] = []

    def fail(handle: int) -> None:
        calls.append(handle)
        if len(calls) == 1:
            raise OSError(errno.EIO, "fsync")

    monkeypatch.setattr("xarb.log.committer.os.fdatasync", fail)
    for _ in range(2):
        with pytest.raises(LogError, match="failed and is never tried again"):
            log.sync()
    with pytest.raises(LogError, match="failed and is never tried again"):
        log.close()
    assert len(calls) == 1
    assert log.synced == -1


def test_a_limit_on_the_file_size_leaves_whole_frames(tmp_path: Path) -> None:
    """A real short write followed by an error: the frame is refused, cut off, and the log opens with what came before."""
    folder = tmp_path / "log"
    code = (
        "import resource, signal\nfrom pathlib import Path\nfrom tests.log.live import head, quotes\nfrom tests.log.logs import HEADER\n"
        "from xarb.log.committer import Policy\nfrom xarb.log.livelog import LiveLog\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"with LiveLog.create(Path({str(folder)!r}), HEADER, Policy(reserve_bytes=0)) as log:\n"
        "    log.append(head())\n    log.write()\n    size = log._file.size + 30\n    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))\n"
        "    log.append(quotes(2, 10))\n    log.write()\n"
    )
    failed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert "File too large" in failed.stderr
    with LiveLog.open(folder, QUICK) as log:
        assert log.last == 1
        assert log.recovered is not None
        assert log.recovered.truncated_bytes == 0
    assert verify_log(folder).rows == 2
    assert journals(folder) == []
