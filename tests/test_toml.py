"""TOML of strangers: whatever it is, it is an error that names the file, in bounded time and memory."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from xarb import toml
from xarb.catalog import read_instruments
from xarb.config import load_experiment
from xarb.errors import ConfigError
from xarb.imports.sources import load_sources
from xarb.serve.config import load_config
from xarb.venues.keys import load_keys


def keys(path: Path) -> object:
    """What an account's file of keys says."""
    path.chmod(0o600)
    return load_keys("okx", "main", environment={}, file=path)


READERS: list[Callable[[Path], object]] = [load_experiment, load_sources, load_config, read_instruments, keys]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    "text",
    [
        "x = " + "[" * 100_000,
        "x = " + "{ a = " * 50_000,
        ".".join(["a"] * 30_000) + " = 1",
        "[" + " . ".join(['"a"'] * 30_000) + "]",
        "x = { " + ".".join(["a", "'b'"] * 15_000) + " = 1 }",
        "x = 1e" + "9" * 30,
    ],
    ids=["lists", "tables", "key", "quoted key", "key within", "exponent"],
)
def test_text_that_is_made_to_take_long_is_refused_at_once(tmp_path: Path, read: Callable[[Path], object], text: str) -> None:
    """Nested deeper than the stack, or with a key of so many parts that the parser takes half a minute."""
    path = tmp_path / "x.toml"
    path.write_text(text)
    began = time.monotonic()
    with pytest.raises(ConfigError, match=r"x\.toml"):
        read(path)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("read", READERS)
def test_a_file_that_is_too_large_is_refused_with_its_size(tmp_path: Path, read: Callable[[Path], object]) -> None:
    """How large it is and how large it may be; it is not read."""
    path = tmp_path / "x.toml"
    path.touch()
    os.truncate(path, 1 << 33)
    with pytest.raises(ConfigError, match=r"x\.toml is 8589934592 bytes, at most (4194304|1048576)"):
        read(path)


def test_what_has_no_end_is_refused() -> None:
    """A device has no size; no more than the bound is read of it."""
    with pytest.raises(ConfigError, match=r"/dev/zero is more than 4194304 bytes"):
        load_experiment(Path("/dev/zero"))


def test_keys_of_some_parts_are_taken() -> None:
    """Dotted keys as people write them, and texts with many dots and dashes."""
    assert toml.loads("a.b.c.d = 1\n[x.y]\nz = 'a-b'") == {"a": {"b": {"c": {"d": 1}}}, "x": {"y": {"z": "a-b"}}}
    long = "a" * 1_000_000
    assert toml.loads(f"x = '{long}'") == {"x": long}
    assert toml.loads("x = [" + "1.5," * 10_000 + "]")["x"][-1] == 1.5
