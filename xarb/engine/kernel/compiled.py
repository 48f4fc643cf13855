"""The decorators of compiled functions, and where their machine code is kept.

A decorated function imports no compiler. An entry point whose machine code is stored becomes that code (`machine.load`) as its module
is imported; else its first call has numba compile it (`lowering`), stores the result and runs it the same way.

Numba notices a change in the file of a cached function, not in what that function takes from other files (a dtype, a constant, a
called function): the old code would go on running with the old layout. So the folder is named after a digest of every source that
the functions of a package can depend on. Each package has its own: an edit of the simulated venue does not compile the engine.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, Final

Untyped = Callable[..., Any]
INTERPRETED: Final = os.environ.get("NUMBA_DISABLE_JIT", "0").strip() not in {"", "0"}  # as numba reads it
_PACKAGE: Final = Path(__file__).resolve().parents[2]
_VALUES: Final = ("model/units.py", "model/columns", "model/batch.py")  # all that compiled code takes from the model
SOURCES: Final = {
    "xarb.engine.kernel": (*_VALUES, "engine/kernel"),
    "xarb.venues.fold": (*_VALUES, "engine/kernel", "venues/fold"),
}
_RAW: Final = "xarb.engine.kernel.raw"
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


class Part:
    """A function that numba compiles when something that calls it is compiled; numba itself takes it for its dispatcher.

    Args:
        source: gives the Python function.
        options: of numba's `njit`.
    """

    def __init__(self, source: Callable[[], Untyped], **options: object) -> None:
        self._source = source
        self.targetoptions: dict[str, Any] = options  # numba's inliner asks for it

    @cached_property
    def py_func(self) -> Untyped:
        """The Python function; numba's inliner asks for it."""
        return self._source()

    @cached_property
    def dispatcher(self) -> Any:
        """Numba's own object for the function. Division by zero gives zero: no rule divides by a value that can be zero."""
        from numba import njit

        import_module(_RAW)  # what it registers must be known before a compilation starts
        return njit(self.py_func, error_model="numpy", nogil=True, **self.targetoptions)

    @property
    def _numba_type_(self) -> Any:
        return self.dispatcher._numba_type_  # numba's protocol for values that know their type

    def __call__(self, *arguments: object) -> Any:
        """Run it compiled for the types of the arguments: for tests, compiled code calls it directly."""
        return self.dispatcher(*arguments)


class Entry(Part):
    """An entry point whose machine code is not stored yet: the first call compiles and stores it. Every argument is an int64."""

    @cached_property
    def loaded(self) -> Untyped:
        """The machine code, compiled unless it is stored by now."""
        from xarb.engine.kernel import lowering, machine

        package, path = _place(self.py_func)
        found = machine.load(package, path)
        if found is None:
            machine.store(path, lowering.lower(self.dispatcher, machine.symbol_of(package, path)))
            found = machine.load(package, path)
        assert found is not None
        return found

    def __call__(self, *arguments: object) -> Any:
        """Run the machine code."""
        return self.loaded(*arguments)


def _place(function: Untyped) -> tuple[str, Path]:
    package, _, module = function.__module__.rpartition(".")
    return package, cache_folder(package) / f"{module}.{function.__name__}"


def compiled(function: Untyped) -> Untyped:
    """An entry point, called from Python with int64 arguments only, whose machine code is kept: each is a file to write and to load."""
    if INTERPRETED:
        return function
    from xarb.engine.kernel import machine

    return machine.load(*_place(function)) or Entry(lambda: function)


def machine_code(function: Untyped) -> Untyped:
    """The machine code of an entry point, compiled and stored unless it is stored already; any other function as it is."""
    return function.loaded if isinstance(function, Entry) else function


def part(function: Untyped) -> Untyped:
    """Compile as a part of the entry points that call it; the optimiser decides whether it is pasted in."""
    return function if INTERPRETED else Part(lambda: function)


def inlined(function: Untyped) -> Untyped:
    """As `part`, and pasted into its callers before types are known: for tiny accessors only, it multiplies the compile time."""
    return function if INTERPRETED else Part(lambda: function, inline="always")


def raw_view() -> Untyped:
    """`raw.view` as if it were `inlined`; its module is imported when something is compiled."""
    return Part(lambda: import_module(_RAW).view, inline="always")


def pasted(function: Untyped) -> Untyped:
    """As `part`, and pasted into its callers by the optimiser: for the few steps that every quote takes."""
    return function if INTERPRETED else Part(lambda: function, forceinline=True)
