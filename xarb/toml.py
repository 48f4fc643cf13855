"""TOML files, whoever wrote them: bounded in size, and in what else takes the parser more time or depth than it has."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from xarb.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

LIMIT_BYTES: Final = 4 << 20  # 5,000 instruments in a table each take 1 MiB; 4 MiB are parsed in some 5 s (measured)
_PARTS: Final = 64  # of a dotted key: tomllib takes 1.3 s for 8,000 and 31 s for 32,000 of them (measured, Python 3.11)
_PART: Final = r"""(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')"""
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_LONG_KEY: Final = re.compile(rf"(?<![\w-]){_PART}(?:[ \t]*+\.[ \t]*+{_PART}){{{_PARTS}}}")


def loads(text: str, *, parse_float: Callable[[str], Any] = float) -> dict[str, Any]:
    """What a text says.

    Raises:
        ValueError: it is none, or nested too deep, or has a number that is out of range or a key of more than 64 parts.
    """
    if _LONG_KEY.search(text) is not None:
        raise ValueError(f"a key of more than {_PARTS} parts")
    try:
        return tomllib.loads(text, parse_float=parse_float)
    except RecursionError:
        raise ValueError("nested too deep") from None
    except ArithmeticError as error:
        raise ValueError(f"a number out of range: {type(error).__name__}") from None


def written(value: object) -> str:
    """A value as TOML text; numbers as they stand, never rounded."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(written, value)) + "]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{written(str(key))} = {written(part)}" for key, part in value.items()) + " }"
    if isinstance(value, int | float | Decimal):
        return f"{Decimal(str(value)):f}"
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{_CONTROL.sub(_escaped, text)}"'


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04X}"


def read(path: Path, *, parse_float: Callable[[str], Any] = float) -> dict[str, Any]:
    """What a file says; no more of it is read than it may have.

    Raises:
        ConfigError: it cannot be read, is too large, or no TOML.
    """
    return parsed(path, read_bytes(path), parse_float=parse_float)


def read_bytes(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        ConfigError: it cannot be read, or is too large.
    """
    try:
        with path.open("rb") as file:
            data = file.read(LIMIT_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    if len(data) > LIMIT_BYTES:
        raise ConfigError(f"{path} is {size_of(path, LIMIT_BYTES)}, at most {LIMIT_BYTES}")
    return data


def parsed(path: Path, data: bytes, *, parse_float: Callable[[str], Any] = float) -> dict[str, Any]:
    """What the bytes of a file say.

    Raises:
        ConfigError: they are no TOML.
    """
    try:
        return loads(data.decode("utf-8-sig"), parse_float=parse_float)
    except ValueError as error:
        raise ConfigError(f"{path}: no valid TOML: {error}") from None


def size_of(path: Path, limit: int) -> str:
    """How large a file is that is larger than a limit, in words; of what has no size, such as a pipe, that it is larger."""
    try:
        size = path.stat().st_size
    except OSError:
        size = 0
    return f"{size} bytes" if size > limit else f"more than {limit} bytes"
