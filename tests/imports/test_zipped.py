"""A file within a zip, and zips that are cut, damaged, locked or packed otherwise."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from xarb.errors import ConfigError
from xarb.imports.zipped import member_of

TEXT = b"\n".join(b"%d" % (number * 7919) for number in range(100))


def packed(method: int = zipfile.ZIP_DEFLATED, names: tuple[str, ...] = ("ä.csv",)) -> bytes:
    """A zip of these files, all the same."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name in names:
            archive.writestr(name, TEXT)
    return target.getvalue()


def read(path: Path, content: bytes, name: str | None = None) -> bytes:
    """What the zip holds."""
    path.write_bytes(content)
    with path.open("rb") as file, member_of(path, file, name) as member:
        return member.read()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_the_file_of_a_zip(tmp_path: Path, method: int) -> None:
    """The only one, or the one that is named."""
    assert read(tmp_path / "f", packed(method)) == TEXT
    assert read(tmp_path / "f", packed(method, ("a", "b")), "b") == TEXT
    assert read(tmp_path / "f", packed(method, ("folder/", "a"))) == TEXT


def test_a_cut_zip_says_so(tmp_path: Path) -> None:
    """Wherever it is cut, its list of files is gone: it is named as cut, not as another kind of file."""
    whole = packed()
    for length in range(len(whole)):
        with pytest.raises(ConfigError, match=r"f: damaged zip: it stops before its end.*nothing of it was imported"):
            read(tmp_path / "f", whole[:length])


@pytest.mark.parametrize(
    ("content", "name", "match"),
    [
        (packed(names=()), None, "a zip of 0 files; one is read"),
        (packed(names=("a", "b")), None, "a zip of 2 files; one is read"),
        (packed(names=("a", "b")), "c", "a zip of 2 files; not one is c"),
        (packed(zipfile.ZIP_LZMA), None, "compressed by method 14, not by deflate"),
        (packed(zipfile.ZIP_BZIP2), None, "compressed by method 12, not by deflate"),
        (packed().replace("ä".encode(), b"\xff\xff"), None, "damaged zip: 'utf-8' codec"),
        (
            packed().replace(b"PK\x01\x02\x14\x03\x14\x00\x00\x08", b"PK\x01\x02\x14\x03\x14\x00\x01\x08"),
            None,
            "damaged zip: .*password",
        ),
        (
            packed().replace(b"PK\x01\x02\x14\x03\x14\x00\x00\x08", b"PK\x01\x02\x14\x03\x14\x00\x20\x08"),
            None,
            "damaged zip: .*patched",
        ),
        (packed(zipfile.ZIP_STORED).replace(b"7919", b"7918"), None, "damaged zip: Bad CRC-32"),
    ],
)
def test_a_zip_that_cannot_be_used(tmp_path: Path, content: bytes, name: str | None, match: str) -> None:
    """What is wrong with it is named."""
    with pytest.raises(ConfigError, match=rf"f: .*{match}"):
        read(tmp_path / "f", content, name)
