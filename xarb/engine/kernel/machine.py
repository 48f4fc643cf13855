"""Machine code of entry points, kept in files and run without the compiler.

Importing numba and letting it load what it compiled takes longer than a whole run over 100,000 events. An entry point is therefore stored
as a plain object file with one exported function of CPython's METH_FASTCALL form (`lowering` makes it). Loading it needs llvmlite's
linker only, and a call costs less than one through numba, which looks at the types of the arguments each time.
"""

import ctypes
import hashlib
import os
import sys
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import llvmlite
import llvmlite.binding as llvm

from xarb.errors import ConfigError, InvariantBroken

_FASTCALL: Final = 0x80  # METH_FASTCALL of CPython's methodobject.h, part of its stable ABI since 3.10
_DIGEST_BYTES: Final = 32
_SETTINGS: Final = (
    *("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "NUMBA_OPT", "NUMBA_LOOP_VECTORIZE", "NUMBA_SLP_VECTORIZE"),
    "NUMBA_BOUNDSCHECK",
)
_alive: list[Any] = []  # engines, which own the code, and definitions of functions, which CPython does not copy


class _Definition(ctypes.Structure):
    """CPython's PyMethodDef."""

    _fields_ = (("name", ctypes.c_char_p), ("call", ctypes.c_void_p), ("flags", ctypes.c_int), ("doc", ctypes.c_char_p))


def symbol_of(package: str, path: Path) -> str:
    """Name of the exported function in the object file of an entry point."""
    return f"{package}.{path.name}"


def load(package: str, path: Path) -> Callable[..., Any] | None:
    """The stored entry point, None when there is none for this machine, Python and compiler, or when the file was damaged."""
    try:
        stored = _file(path).read_bytes()
    except OSError:
        return None  # it is compiled, and `store` says where that cannot be kept
    digest, code = stored[:_DIGEST_BYTES], stored[_DIGEST_BYTES:]
    if hashlib.sha256(code).digest() != digest:
        return None  # it is compiled again
    target = llvm.Target.from_triple(llvm.get_process_triple())
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target.create_target_machine(jit=True))  # one each, 0.14 ms
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _alive.append(engine)
    symbol = symbol_of(package, path)
    return _callable(symbol, engine.get_function_address(symbol))


def store(path: Path, code: bytes) -> None:
    """Keep the object file of an entry point; it appears whole or not at all.

    Raises:
        ConfigError: the folder cannot be written.
    """
    file = _file(path)
    made = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        made.write_bytes(hashlib.sha256(code).digest() + code)
        made.replace(file)
    except OSError as error:
        raise ConfigError(
            f"compiled code cannot be kept in {file.parent}: {error.strerror}; set NUMBA_CACHE_DIR to a folder that can be written"
        ) from None


def _file(path: Path) -> Path:
    return path.with_name(f"{path.name}-{_platform()}.o")


@cache
def _platform() -> str:
    """Digest of what machine code depends on beside its sources: processor, Python, compiler and the compiler's settings."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    parts = [llvm.get_process_triple(), llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()]
    parts += [sys.implementation.cache_tag or "", llvmlite.__version__, _numba_release()]
    parts += [os.environ.get(name, "") for name in _SETTINGS]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def _numba_release() -> str:
    """What numba's own file says of its version, read without importing numba."""
    found = find_spec("numba")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).with_name("_version.py").read_text()


def _callable(symbol: str, address: int) -> Callable[..., Any]:
    """The function at `address` as a builtin."""
    module, _, name = symbol.rpartition(".")
    definition = _Definition(name.encode(), address, _FASTCALL, None)
    _alive.append(definition)

    def refuse(why: int) -> None:
        if why == 0:
            raise TypeError(f"{symbol}: wrong number of arguments")
        raise InvariantBroken(f"{symbol} raised an error, which compiled code cannot name")

    make = ctypes.pythonapi.PyCFunction_NewEx
    make.restype = ctypes.py_object
    make.argtypes = (ctypes.POINTER(_Definition), ctypes.py_object, ctypes.py_object)
    made: Callable[..., Any] = make(ctypes.byref(definition), refuse, module)
    return made
