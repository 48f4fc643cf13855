"""What a file of Binance's archive is before a row of it is read: what its name says, whether it is whole, and in which unit its times are.

Names are those of github.com/binance/binance-public-data: `BTCUSDT-trades-2024-01-01.zip` with `NAME.zip.CHECKSUM` beside it (SHA-256), and of the
books of futures `BTCUSDT_T_DEPTH_2022-11-01_depth_snap.csv` and `..._depth_update.csv`.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

from xarb.errors import ConfigError
from xarb.wires.times import nanos_of

if TYPE_CHECKING:
    from pathlib import Path

SNAP: Final = "depth_snap"
UPDATE: Final = "depth_update"
_ENDING: Final = r"\.(?:csv|zip|csv\.zip|csv\.gz)\Z"
_NAME: Final = re.compile(r"(?P<native>[^-]+)-(?P<kind>\w+)-\d{4}-\d\d(?:-\d\d)?" + _ENDING, re.ASCII)
_DEPTH: Final = re.compile(
    r"(?P<native>.+?)[_-](?:T_DEPTH(?:_BACKFILL)?_\d{4}-\d\d-\d\d_)?depth[_-](?P<part>snap|update)" + _ENDING
)
_CHECKSUM: Final = re.compile(r"(?P<digest>[0-9a-fA-F]{64}) [ *](?P<name>[^/\\\n]+)\s*\Z")
_CHECKSUM_LIMIT: Final = 4096  # bytes; it is one line
_UNITS: Final = {13: "ms", 16: "us"}  # digits of a time between 2001 and 2286


def kind_of(path: Path, native: str) -> str:
    """What the file's name says that it holds: `trades`, `bookTicker` and so on, or `depth_snap` and `depth_update`.

    Args:
        path: the file.
        native: the exchange's name of the instrument that it must be of.

    Raises:
        ConfigError: no name of the archive's, or of another instrument.
    """
    depth = _DEPTH.match(path.name)
    found = depth or _NAME.match(path.name)
    if found is None:
        raise ConfigError(
            f"{path}: not named as in Binance's archive, such as {native}-trades-2024-01-01.zip or {native}_T_DEPTH_2022-11-01_depth_snap.csv"
        )
    if found["native"].upper() != native.upper():
        raise ConfigError(f"{path}: named as a file of {found['native']}, but the source is of {native}")
    return f"depth_{depth['part']}" if depth else found["kind"]


def verified(path: Path) -> str:
    """What the `.CHECKSUM` beside a file says of it, in words.

    Raises:
        ConfigError: the digests differ, or there is such a file and it cannot be read or is of another file.
    """
    beside = path.with_name(f"{path.name}.CHECKSUM")
    try:
        with beside.open("rb") as file:
            text = file.read(_CHECKSUM_LIMIT).decode("utf-8", "backslashreplace")
    except FileNotFoundError:
        return f"{path.name} was not verified: no {beside.name} beside it"
    except OSError as error:
        raise ConfigError(f"{beside}: cannot be read: {error.strerror or error}") from None
    found = _CHECKSUM.match(text)
    if found is None:
        raise ConfigError(f"{beside}: line 1 is no SHA-256 digest and name: {text[:100]!r}")
    if found["name"].strip() != path.name:
        raise ConfigError(f"{beside}: the digest of {found['name'].strip()}, not of {path.name}")
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    if digest != found["digest"].lower():
        raise ConfigError(f"{path}: its SHA-256 is {digest}, {beside.name} says {found['digest'].lower()}; fetch it again")
    return f"{path.name} has the SHA-256 of {beside.name}"


class Clock:
    """The times of one file: in ms (13 digits), or in us (16) as of spot since 2025, whichever its first time has."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._unit = ""
        self._line = 0

    def nanos(self, text: str, line: int) -> int:
        """A time of the file, ns.

        Raises:
            ValueError: no time.
            ConfigError: in another unit than the times before.
        """
        unit = _UNITS.get(len(text), "") if text.isascii() and text.isdigit() else ""
        if not unit:
            raise ValueError(f"a time has 13 digits (ms) or 16 (us), not {text[:40]!r}")
        nanos = nanos_of(text, unit)
        if unit != self._unit:
            if self._unit:
                raise ConfigError(f"{self._name}: line {line} has its time in {unit}, line {self._line} in {self._unit}")
            self._unit, self._line = unit, line
        return nanos
