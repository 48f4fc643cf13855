"""Writes `requirements.lock`: every package that runs or builds xarb, with its version and the digests of its wheels.

    python packaging/lock.py

pip resolves what pyproject.toml asks for, as wheels alone (they run nothing when they are installed), for each Python and machine below. Look at
the difference before it is committed: a package that is new, or a day old, is worth a question.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tomllib
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

HERE: Final = Path(__file__).resolve().parent
LOCK: Final = HERE / "requirements.lock"
PYTHONS: Final = ("3.11", "3.12", "3.13")
MACHINES: Final = ("x86_64", "aarch64")
GLIBCS: Final = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_26", "manylinux_2_17", "manylinux2014")
HEAD: Final = f"""\
# Made by packaging/lock.py, for Linux (glibc 2.28 or newer) on {" and ".join(MACHINES)} with Python {PYTHONS[0]} to {PYTHONS[-1]}. Install with:
#   pip install --require-hashes --only-binary :all: -r packaging/requirements.lock
#   pip install --no-deps --no-build-isolation .
"""


def wanted() -> list[str]:
    """What pyproject.toml asks for, to run and to build."""
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text())
    return [*project["project"]["dependencies"], *project["build-system"]["requires"]]


def resolved(python: str, machine: str) -> list[dict[str, Any]]:
    """What pip would install there.

    Raises:
        subprocess.CalledProcessError: it finds no set of wheels.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        words = [
            "--dry-run",
            "--ignore-installed",
            "--quiet",
            "--only-binary",
            ":all:",
            "--target",
            folder,
            "--report",
            str(report),
        ]
        words += ["--implementation", "cp", "--python-version", python]
        for glibc in GLIBCS:
            words += ["--platform", f"{glibc}_{machine}"]
        subprocess.run([sys.executable, "-m", "pip", "install", *words, *wanted()], check=True)
        found: list[dict[str, Any]] = json.loads(report.read_text())["install"]
        return found


def lock() -> str:
    """The text of the file.

    Raises:
        ValueError: the machines of one Python differ in versions.
    """
    hashes: dict[tuple[str, str], set[str]] = defaultdict(set)
    pythons: dict[tuple[str, str], set[str]] = defaultdict(set)
    for python in PYTHONS:
        kinds = []
        for machine in MACHINES:
            parts = {
                (one["metadata"]["name"].lower().replace("_", "-"), one["metadata"]["version"]): one["download_info"]
                for one in resolved(python, machine)
            }
            for key, download in parts.items():
                hashes[key].add(download["archive_info"]["hashes"]["sha256"])
                pythons[key].add(python)
            kinds.append(parts.keys())
        if any(kind != kinds[0] for kind in kinds):
            raise ValueError(f"Python {python}: {kinds[0] ^ kinds[-1]} differ between machines")
    lines = [HEAD]
    for (name, version), mine in sorted(hashes.items()):
        here = pythons[name, version]
        marker = "" if len(here) == len(PYTHONS) else " ; " + " or ".join(f'python_version == "{one}"' for one in sorted(here))
        lines.append(" \\\n    ".join([f"{name}=={version}{marker}", *(f"--hash=sha256:{one}" for one in sorted(mine))]) + "\n")
    return "".join(lines)


if __name__ == "__main__":
    text = lock()
    LOCK.write_text(text)
    print(f"{LOCK}: {text.count('==')} packages, {text.count('sha256:')} wheels")
