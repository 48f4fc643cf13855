"""The new verb: writes a strategy of the user's own that runs as it stands, with its config and a test."""

from __future__ import annotations

import keyword
import os
import re
from pathlib import Path
from string import Template
from typing import Final

from xarb.catalog import data_dir
from xarb.errors import ConfigError

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_FILES: Final = {"strategy.py.txt": "{name}.py", "experiment.toml.txt": "{name}.toml", "test_strategy.py.txt": "test_{name}.py"}


def new_strategy(name: str, folder: Path) -> list[Path]:
    """Write the files of a new strategy; where they are.

    Args:
        name: of the strategy, and of its file: lower-case letters, digits and underscores.
        folder: where to; it is made.

    Raises:
        ConfigError: the name is none, or a file is there already: nothing is written then.
    """
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise ConfigError(
            f"{name}: a strategy's name is made of lower-case letters, digits and underscores, and begins with a letter"
        )
    paths = {source: folder / target.format(name=name) for source, target in _FILES.items()}
    there = [path for path in paths.values() if path.exists()]
    if there:
        raise ConfigError(f"{', '.join(map(str, there))}: there already; choose another name or folder")
    data = data_dir()
    words = {
        "name": name,
        "class_name": "".join(part.capitalize() for part in name.split("_")),
        "log": os.path.relpath(data.parent / "recordings" / "quickstart", folder),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for source, path in paths.items():
        path.write_text(Template((data / "new" / source).read_text(encoding="utf-8")).substitute(words), encoding="utf-8")
    return list(paths.values())
