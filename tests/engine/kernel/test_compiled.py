"""Machine code is cached under digests that follow every source it depends on."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import xarb
from xarb.engine.kernel import fold
from xarb.engine.kernel.compiled import SOURCES, cache_folder, machine_code, source_digest
from xarb.engine.kernel.state import INSTRUMENTS, PAIRS, KernelState
from xarb.model.units import NEVER

PACKAGE = Path(xarb.__file__).parent
COMPILED = sorted(path for folder in ("engine/kernel", "venues/fold") for path in (PACKAGE / folder).rglob("*.py"))


@pytest.mark.parametrize("path", COMPILED, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_what_compiled_code_imports_is_in_the_digest(path: Path) -> None:
    """Each module that a compiled one imports lies under the sources of its package, so that no edit runs old machine code."""
    package = "xarb." + ".".join(path.relative_to(PACKAGE).parts[:2])
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module is not None and node.module.startswith("xarb"):
            imported = "/".join(node.module.split(".")[1:])
            if node.module == "xarb.errors":
                continue  # raised by what makes and loads machine code, never in it
            assert any(f"{imported}.py" == source or imported.startswith(source) for source in SOURCES[package]), node.module


def test_each_package_has_a_folder_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The engine's code and the simulated venue's lie apart, below the given folder, under their digests."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    folders = {package: cache_folder(package) for package in SOURCES}
    assert len(set(folders.values())) == len(SOURCES)
    for package, folder in folders.items():
        assert folder == tmp_path / f"{package}-{source_digest(package)}"


def test_machine_code_is_the_function_without_its_dispatcher() -> None:
    """It gives what the entry point gives, also with the JIT off, and anything else is left as it is."""
    kernel = KernelState({INSTRUMENTS: 1, PAIRS: 1})
    step = machine_code(fold.run)
    assert step(kernel.handle, NEVER) == fold.run(kernel.handle, NEVER) == fold.END
    assert step(kernel.handle, 5) == fold.run(kernel.handle, 5) == fold.SLOW
    assert machine_code(len) is len
