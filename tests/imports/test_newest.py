"""Files that run backwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xarb.errors import ConfigError
from xarb.imports import newest
from xarb.imports.newest import InOrder


def when(line: bytes) -> int | None:
    """A line of digits is its time."""
    return int(line) if line.isdigit() else None


def read(lines: list[bytes]) -> tuple[list[tuple[int, bytes]], bool]:
    """The rows in order, and whether the file was turned round; line 1 was a header."""
    order = InOrder(iter(list(enumerate(lines, 2))), when)
    return list(order.rows()), order.is_newest_first


@pytest.mark.parametrize(
    ("lines", "is_newest_first"),
    [
        ([], False),
        ([b"5"], False),
        ([b"5", b"5", b"x"], False),
        ([b"5", b"6", b"4"], False),
        ([b"5", b"4", b"6"], False),
        ([b"5", b"4", b"5"], False),
        ([b"6", b"6", b"x", b"", b"5", b"x"], True),
    ],
)
def test_which_way_a_file_runs(lines: list[bytes], is_newest_first: bool) -> None:
    """It takes the second time and the last one to say so; a row out of place at the top does not."""
    rows = list(enumerate(lines, 2))
    assert read(lines) == (rows[::-1] if is_newest_first else rows, is_newest_first)


@given(st.lists(st.sampled_from([b"", b"x", b"yy" * 9, b"3", b"2"]), max_size=30), st.integers(1, 40))
def test_every_row_comes_once_with_its_number(lines: list[bytes], chunk: int) -> None:
    """Whatever the lines are, and wherever the pieces of the file end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(newest, "CHUNK", chunk)
        found, is_newest_first = read([b"9", *lines, b"1"])
    rows = list(enumerate([b"9", *lines, b"1"], 2))
    assert (found, is_newest_first) == (rows[::-1], True)


def test_without_a_place_for_it_a_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of temporary files that is not there is named."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="none: a file that begins with its newest row cannot be kept here: No such file"):
        read([b"5", b"4"])


def test_a_file_of_one_time_is_not_kept_in_memory() -> None:
    """Rows are passed on once so many show no second time."""

    def rows() -> Iterator[tuple[int, bytes]]:
        for number in range(newest.LOOKED_AT):
            yield number, b"5"
        raise AssertionError("read on")

    assert next(InOrder(rows(), when).rows()) == (0, b"5")
