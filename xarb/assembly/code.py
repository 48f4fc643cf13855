"""The code of strategies of the user's own, and which of it this process may run.

A run or a log says by a digest which code decided, and replay asks for the same. Code that only a log names is never run: a log may be a stranger's.
A file is run because an experiment of the user's names it, or because the user named it beside the log (`allow`).
"""

from __future__ import annotations

import hashlib
import sys
from importlib.abc import SourceLoader
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec, module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Final

import msgspec

from xarb.config.strategies import StrategyConfig
from xarb.errors import ConfigError, Refused

GROUP: Final = "xarb.strategies"
_MOST_BYTES: Final = 1 << 20
_files: dict[str, Path] = {}  # by digest, the files that this process may run


def allow(path: Path) -> str:
    """Let this process run a file as a strategy's code; its digest.

    Raises:
        ConfigError: it cannot be read, or is larger than 1 MiB.
    """
    digest = hashlib.sha256(_read(path)).hexdigest()
    _files[digest] = path
    return digest


def allowed() -> list[tuple[str, bytes]]:
    """Name and code of every file that this process may run, for another one that is to decide alike.

    Raises:
        Refused: one was changed since.
    """
    found = []
    for digest, path in _files.items():
        code = _read(path)
        if hashlib.sha256(code).hexdigest() != digest:
            raise Refused(f"{path} was changed while it was used")
        found.append((path.name, code))
    return found


def pinned(config: StrategyConfig, folder: Path, where: str) -> StrategyConfig:
    """A section with the digest of its code, which may run from here on; `folder` is the experiment's.

    Raises:
        ConfigError: there is no such code, or it is not the one whose digest the section names.
    """
    if config.code is None:
        return config
    digest = allow(folder / config.code) if _is_file(config.code) else _installed_digest(config.code)
    if config.code_sha256 not in (None, digest):
        raise ConfigError(f"{where}.code_sha256 is {config.code_sha256}, but {config.code} has the digest {digest}: it was changed")
    return msgspec.structs.replace(config, code_sha256=digest)


def load_code(name: str, config: StrategyConfig) -> ModuleType:
    """The module of a strategy's code, which is the code whose digest its section has.

    Raises:
        Refused: it is another, or nobody named its file.
        Exception: whatever the code raises when it is loaded.
    """
    assert config.code is not None
    if not _is_file(config.code):
        if _installed_digest(config.code) != config.code_sha256:
            raise Refused(
                f"strategies.{name}: the installed {config.code} is not the code that decided ({str(config.code_sha256)[:16]})"
            )
        found: ModuleType = _entry(config.code).load()
        return found
    path = _files.get(config.code_sha256 or "")
    if path is None:
        raise Refused(
            f"strategies.{name}: it was decided by code of {config.code} with the digest {str(config.code_sha256)[:16]}. Code that only a log names "
            "is not run: name the file with --code"
        )
    code = _read(path)
    if hashlib.sha256(code).hexdigest() != config.code_sha256:
        raise Refused(f"{path} was changed while it was used")
    loader = _Loaded(path, code)
    spec = spec_from_loader(f"xarb_strategy_{name}_{str(config.code_sha256)[:16]}", loader)
    assert spec is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # where types written as text are looked up
    loader.exec_module(module)
    return module


class _Loaded(SourceLoader):
    """Makes a module of bytes that were read and compared already."""

    def __init__(self, path: Path, code: bytes) -> None:
        self._path, self._code = str(path), code

    def get_filename(self, _name: str) -> str:
        """Where the code is from."""
        return self._path

    def get_data(self, path: str) -> bytes:
        """The code; no compiled copy of it is looked for."""
        if path != self._path:
            raise FileNotFoundError(path)
        return self._code


def _is_file(code: str) -> bool:
    return code.endswith(".py")


def _entry(name: str) -> EntryPoint:
    found = [one for one in entry_points(group=GROUP) if one.name == name]
    if not found:
        there = ", ".join(sorted(one.name for one in entry_points(group=GROUP))) or "none"
        raise ConfigError(f"no installed strategy {name}: packages offer {there}; a file ends with .py")
    return found[0]


def _installed_digest(name: str) -> str:
    spec = find_spec(_entry(name).module)
    if spec is None or spec.origin is None:
        raise ConfigError(f"the code of the installed strategy {name} cannot be found")
    return hashlib.sha256(_read(Path(spec.origin))).hexdigest()


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            code = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    if len(code) > _MOST_BYTES:
        raise ConfigError(f"{path}: larger than 1 MiB, which no strategy is")
    return code
