"""Lines of text files, whole and broken."""

from __future__ import annotations

import gzip
import io
import tarfile
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


def tarred(*files: tuple[str, bytes], kind: int = tarfile.USTAR_FORMAT, pax: dict[str, str] | None = None) -> bytes:
    """A tar of files; one whose name ends with a stroke is a folder."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=kind) as archive:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.type = tarfile.DIRTYPE if name.endswith("/") else tarfile.REGTYPE
            info.size = len(content)
            info.pax_headers = pax or {}
            archive.addfile(info, io.BytesIO(content))
    return target.getvalue()


@pytest.mark.parametrize("length", [0, 1, 511, 512, 513, 600_000])
@pytest.mark.parametrize(
    ("kind", "pax"), [(tarfile.USTAR_FORMAT, None), (tarfile.GNU_FORMAT, None), (tarfile.PAX_FORMAT, {"comment": "x size=3\n"})]
)
def test_the_only_file_of_a_tar(tmp_path: Path, length: int, kind: int, pax: dict[str, str] | None) -> None:
    """Of every kind, with folders and long names, plain and gzip: exactly its bytes, whatever stands around them."""
    name = "x" * (90 if kind == tarfile.USTAR_FORMAT else 200)
    whole = tarred(("d/", b""), (name, b"a" * length), kind=kind, pax=pax)
    for content in (whole, gzip.compress(whole)):
        path = tmp_path / "f"
        path.write_bytes(content)
        assert lines(path) == ([b"a" * length] if length else [])


def test_a_size_in_the_extended_header_overrides(tmp_path: Path) -> None:
    """As for files that are too large for the field of the header."""
    path = tmp_path / "f.tar"
    whole = bytearray(tarred(("f", b"abcd"), kind=tarfile.PAX_FORMAT, pax={"size": "4"}))
    at = whole.rindex(b"ustar", 0, 2000) - 257
    whole[at + 124 : at + 136] = b"00000000000\0"
    whole[at + 148 : at + 156] = b" " * 8
    whole[at + 148 : at + 156] = b"%06o\0 " % sum(whole[at : at + 512])
    path.write_bytes(whole)
    assert lines(path) == [b"abcd"]


def test_a_large_size_is_a_binary_number(tmp_path: Path) -> None:
    """GNU tar writes so what eight GiB exceed; here a file that ends long before."""
    path = tmp_path / "f.tar"
    whole = bytearray(tarred(("f", b"abcd")))
    whole[124:136] = b"\x80" + (9 << 30).to_bytes(11, "big")
    whole[148:156] = b" " * 8
    whole[148:156] = b"%06o\0 " % sum(whole[:512])
    path.write_bytes(whole)
    with pytest.raises(ConfigError, match=f"ends {(9 << 30) - len(whole) + 512} bytes before the end of its file"):
        lines(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (tarred(("a", b"1"), ("b", b"2")), "more than one file"),
        (tarred(("d/", b"")), "holds no file"),
        (tarred(("a", b"1"))[:1024], "without the mark of its end"),
        (tarred(("a", b"1" * 9))[:515], "ends 6 bytes before the end of its file"),
        (tarred(("a", b"1"))[:512] + b"1" + bytes(511) + b"x" * 100, "in the middle of a header"),
        (tarred(("a", b"1"))[:1024] + b"x" * 512, "which is no octal number"),
        (b"b" + tarred(("a", b"1"))[1:], "the checksum of a header"),
        (tarred(("a", b"1"), kind=tarfile.PAX_FORMAT, pax={"comment": "x" * 70_000}), "an extended header of 7"),
        (b"no tar at all\n", "not a tar file although"),
    ],
)
def test_a_tar_that_cannot_be_read(tmp_path: Path, content: bytes, message: str) -> None:
    """What is damaged, or is not one file, stops the import, plain and in gzip."""
    for name, packed in (("f.tar", content), ("f.tar.gz", gzip.compress(content))):
        path = tmp_path / name
        path.write_bytes(packed)
        with pytest.raises(ConfigError, match=message):
            lines(path)
