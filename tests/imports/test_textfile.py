"""Lines of text files, whole and broken."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xarb.errors import ConfigError
from xarb.imports import textfile
from xarb.imports.textfile import TextFile


def lines(path: Path) -> list[bytes]:
    """All lines, after checking that numbers count from 1."""
    found = list(TextFile(path).lines())
    assert [number for number, _ in found] == list(range(1, len(found) + 1))
    return [line for _, line in found]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=30).filter(lambda b: not set(b) & {10, 13}), max_size=20), st.booleans(), st.booleans())
def test_lines_come_back(tmp_path: Path, parts: list[bytes], packed: bool, split: bool) -> None:
    """Plain, gzip and two-member gzip files give the same lines; the last line end is optional."""
    text = b"x\n" + b"\n".join(parts)
    whole = gzip.compress(text)
    if split:
        whole = gzip.compress(text[: len(text) // 2]) + gzip.compress(text[len(text) // 2 :])
    path = tmp_path / "f"
    path.write_bytes(whole if packed else text)
    expected = text.split(b"\n")
    if expected[-1] == b"":
        expected.pop()
    assert lines(path) == expected


def test_a_large_gzip_file_is_read_in_pieces(tmp_path: Path) -> None:
    """A file that inflates far beyond one chunk gives every line."""
    rows = [b"%d" % number * 40 for number in range(60_000)]
    path = tmp_path / "f.gz"
    path.write_bytes(gzip.compress(b"\n".join(rows)))
    assert lines(path) == rows


def test_line_ends_and_byte_order_mark(tmp_path: Path) -> None:
    """A byte order mark and carriage returns are no part of lines."""
    path = tmp_path / "f"
    path.write_bytes(b"\xef\xbb\xbfa,b\r\n1,2\r\n")
    assert lines(path) == [b"a,b", b"1,2"]


def test_a_truncated_gzip_says_so(tmp_path: Path) -> None:
    """What was readable is given, and the file is marked as cut."""
    whole = gzip.compress(b"\n".join(b"%d" % (number * 7919) for number in range(20_000)))
    path = tmp_path / "f.gz"
    path.write_bytes(whole[: len(whole) // 2])
    file = TextFile(path)
    assert len(list(file.lines())) > 1000
    assert file.truncated


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [("f.gz", b"time,bid", "not a gzip file"), ("f.gz", gzip.compress(b"a" * 999, mtime=0)[:-8] + b"12345678", "damaged gzip")],
)
def test_unusable_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    """A false name and a wrong checksum stop the import."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        lines(path)


def test_missing_files_and_endless_lines(tmp_path: Path) -> None:
    """A missing file, a folder, and a file without line ends are refused."""
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        lines(tmp_path / "none")
    with pytest.raises(ConfigError, match="cannot be read"):
        lines(tmp_path)
    path = tmp_path / "f"
    path.write_bytes(b"x" * (textfile.LINE_LIMIT + textfile.CHUNK * 2))
    with pytest.raises(ConfigError, match="this is no text file"):
        lines(path)
