"""A flipped bit or a cut anywhere in any file of a log is found and named, or changes nothing; no other row ever comes out."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import google_crc32c
import pytest

from tests.log.flips import Damage, cuts, damage, flips
from xarb.log import journal, manifest
from xarb.log.files import Files

SPREAD = {  # by a word of the names: every how many bits (odd: it comes by all eight), and every how many of these the whole log is looked at
    "journal/": (1, 101),
    "checkpoints/": (1, 101),
    manifest.NAME: (7, 301),
    "kind=": (61, 101),
}


@pytest.mark.parametrize("word", SPREAD)
@pytest.mark.parametrize("of", [flips, cuts])
def test_damage_is_found_and_named(of: Callable[[bytes], Iterator[Damage]], word: str) -> None:
    """Bits and cuts, spread over the larger files; all of them are in `python -m tests.log.flips`."""
    step, every = SPREAD[word]
    found = damage([word], every, of=of, step=step)
    assert len(found) >= 1
    for name, one in found.items():
        assert one.named + one.torn > 0
        assert one.torn == 0 or name.startswith("journal/") or (name == manifest.NAME and of is cuts)


@pytest.mark.parametrize("bug", ["no digest of files", "no checksum of frames", "no digest of lines", "no witness"])
def test_a_reader_that_does_not_look_is_found(bug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any one of the checks some damage comes through."""
    word = {"no digest of files": "kind=quotes", "no digest of lines": manifest.NAME}.get(bug, "00000002.journal")
    of, every = flips, 10**9
    if bug == "no digest of files":
        monkeypatch.setattr(Files, "check", lambda *_: None)
    elif bug == "no checksum of frames":
        monkeypatch.setattr(journal, "_frame_at", _trusting)
    elif bug == "no digest of lines":
        monkeypatch.setattr(manifest, "is_whole", lambda _: True)
    else:
        monkeypatch.setattr("xarb.log.tail.Tail.lost", None)
        of, every = _without_its_end, 1
    with pytest.raises(AssertionError, match=word):
        damage([word], every, of=of)


def _without_its_end(data: bytes) -> Iterator[Damage]:
    yield "cut in its last frame", data[:-20]


def _trusting(data: bytes, at: int, opening: journal.Opening) -> journal.Frame | str:
    """The frame at a place, whose checksum is made to hold first."""
    if at + journal.HEAD.size <= len(data):
        stop = at + journal.HEAD.size + journal.HEAD.unpack_from(data, at)[1]
        crc = google_crc32c.value(data[at + 4 : stop]).to_bytes(4, "little")
        data = data[:at] + crc + data[at + 4 :]
    return REAL(data, at, opening)


REAL = journal._frame_at
