"""Where the real recordings lie, and a way to import into memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from xarb.imports.run import ImportSummary, LogState, Merge
from xarb.imports.sources import Sources, load_sources
from xarb.model.columns import TABLES
from xarb.wires.rows import Row

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "data"


class Imported(NamedTuple):
    """All rows of an import by kind, and its summary."""

    rows: dict[str, list[Row]]
    summary: ImportSummary

    def named(self, kind: str) -> list[dict[str, Any]]:
        """Rows of a kind by column name."""
        names = [column.name for column in TABLES[kind].columns]
        return [dict(zip(names, row, strict=True)) for row in self.rows.get(kind, [])]

    def rules(self) -> list[tuple[str, int | None]]:
        """Rule and line of every reject."""
        return [(row["rule"], row["line"]) for row in self.named("rejects")]


def imported(sources: Sources, state: LogState | None = None) -> Imported:
    """Run an import and keep its rows."""
    rows: dict[str, list[Row]] = {}
    merge = Merge(sources, state or LogState())

    def keep(parts: dict[str, list[Row]]) -> None:
        for kind, part in parts.items():
            rows.setdefault(kind, []).extend(part)

    merge.run(keep)
    return Imported(rows, merge.summary("memory"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real recordings; without it the test is skipped."""
    if not SHARED.is_dir():
        pytest.skip(f"the real recordings are not there: {SHARED}")
    return SHARED


@pytest.fixture
def text_import(tmp_path: Path) -> Callable[..., Imported]:
    """Imports a sources text that names files written beside it: `text_import(sources, {"a.csv": b"..."})`."""

    def run(sources: str, files: dict[str, bytes], state: LogState | None = None) -> Imported:
        for name, content in files.items():
            (tmp_path / name).write_bytes(content)
        path = tmp_path / "sources.toml"
        path.write_text(sources)
        return imported(load_sources(path), state)

    return run


TextImport = Callable[..., Imported]
