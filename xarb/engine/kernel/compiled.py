"""The decorators of compiled functions, and where their machine code is kept.

Numba notices a change in the file of a cached function, not in what that function takes from other files (a dtype, a constant, a
called function): the old code would go on running with the old layout. So the cache folder is named after a digest of every source
that the functions of a package can depend on. Each package has its own: an edit of the simulated venue does not compile the engine.
"""

from __future__ import annotations

import hashlib
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, cast

from numba import njit, types
from numba.core import config

Untyped = Callable[..., Any]
_PACKAGE: Final = Path(__file__).resolve().parents[2]
_VALUES: Final = ("model/units.py", "model/columns.py", "model/batch.py")  # all that compiled code takes from the model
SOURCES: Final = {
    "xarb.engine.kernel": (*_VALUES, "engine/kernel"),
    "xarb.venues.fold": (*_VALUES, "engine/kernel", "venues/fold"),
}
options: Any = config  # numba's settings; they exist at run time only
_digests: dict[str, str] = {}


def source_digest(package: str) -> str:
    """Hex digest over the sources that compiled code of `package`, a key of SOURCES, depends on."""
    if package not in _digests:
        digest = hashlib.sha256()
        for source in SOURCES[package]:
            path = _PACKAGE / source
            for file in [path] if path.suffix else sorted(path.rglob("*.py")):
                digest.update(file.relative_to(_PACKAGE).as_posix().encode())
                digest.update(file.read_bytes())
        _digests[package] = digest.hexdigest()[:16]
    return _digests[package]


def cache_folder(package: str) -> Path:
    """Beside the package where that is writable, else in the user's cache; NUMBA_CACHE_DIR wins over both."""
    name = f"{package}-{source_digest(package)}"
    given = os.environ.get("NUMBA_CACHE_DIR")
    if given:
        return Path(given) / name
    if os.access(_PACKAGE, os.W_OK):
        return _PACKAGE / "__pycache__" / name
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "xarb" / name


def compiled(function: Untyped) -> Untyped:
    """Compile on first call from Python and keep the machine code: for entry points only, each is a file to write and to load.

    Division by zero gives zero instead of raising: no rule divides by a value that can be zero.
    """
    others = options.CACHE_DIR  # numba reads it while it decorates; code outside this project keeps its own
    options.CACHE_DIR = str(cache_folder(function.__module__.rpartition(".")[0]))
    try:
        wrapped: Untyped = njit(function, cache=True, error_model="numpy", nogil=True)
    finally:
        options.CACHE_DIR = others
    return wrapped


def machine_code(function: Any) -> Untyped:
    """The machine code of an entry point whose arguments are all int64, compiled unless it is cached.

    Calls of it skip numba's look at the type of each argument, 130 of 370 ns (measured). A function that is not compiled (JIT off) is
    returned as it is.
    """
    if not hasattr(function, "get_overload"):
        return cast("Untyped", function)
    signature = (types.int64,) * len(inspect.signature(function.py_func).parameters)
    function.compile(signature)
    return cast("Untyped", function.get_overload(signature))


def part(function: Untyped) -> Untyped:
    """Compile as a part of the entry points that call it; the optimiser decides whether it is pasted in."""
    wrapped: Untyped = njit(function, error_model="numpy", nogil=True)
    return wrapped


def inlined(function: Untyped) -> Untyped:
    """As `part`, and pasted into its callers before types are known: for tiny accessors only, it multiplies the compile time."""
    wrapped: Untyped = njit(function, error_model="numpy", nogil=True, inline="always")
    return wrapped


def pasted(function: Untyped) -> Untyped:
    """As `part`, and pasted into its callers by the optimiser: for the few steps that every quote takes."""
    wrapped: Untyped = njit(function, error_model="numpy", nogil=True, forceinline=True)
    return wrapped
