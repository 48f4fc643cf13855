"""The one decorator of compiled functions, and where their machine code is kept.

Numba notices a change in the file of a cached function, not in what that function takes from other files (a dtype, a constant, a
called function): the old code would go on running with the old layout. So the cache folder is named after a digest of every source
that compiled code can depend on.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from numba import config, njit

Function = TypeVar("Function", bound=Callable[..., object])
_PACKAGE: Final = Path(__file__).resolve().parents[2]
_SOURCES: Final = ("model", "engine/kernel", "venues")


def source_digest() -> str:
    """Hex digest over the sources that compiled code depends on."""
    digest = hashlib.sha256()
    for folder in _SOURCES:
        for path in sorted((_PACKAGE / folder).rglob("*.py")):
            digest.update(path.relative_to(_PACKAGE).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _cache_folder() -> Path:
    """Beside the package where that is writable, else in the user's cache; NUMBA_CACHE_DIR wins over both."""
    given = os.environ.get("NUMBA_CACHE_DIR")
    if given:
        return Path(given) / f"xarb-{source_digest()}"
    if os.access(_PACKAGE, os.W_OK):
        return _PACKAGE / "__pycache__" / f"kernel-{source_digest()}"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "xarb" / f"kernel-{source_digest()}"


config.CACHE_DIR = str(_cache_folder())


def compiled(function: Function) -> Function:
    """Compile on first call. Division by zero gives zero instead of raising: no rule divides by a value that can be zero."""
    wrapped: Function = njit(function, cache=True, error_model="numpy", nogil=True)
    return wrapped


def inlined(function: Function) -> Function:
    """As `compiled`, and pasted into its callers: worth it for small functions on the path of every event."""
    wrapped: Function = njit(function, cache=True, error_model="numpy", nogil=True, inline="always")
    return wrapped
