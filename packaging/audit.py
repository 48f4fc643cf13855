"""Asks pip-audit of every version in `requirements.lock` whether a weakness of it is known.

    make audit

pip-audit asks a database on the network, and calls a package that the database does not answer for "skipped", with exit code 0: behind a mirror that
has packages and nothing else, all of them. Here that is no answer. Exit code 1: weaknesses are known; 2: not every package could be asked for.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

LOCK: Final = Path(__file__).resolve().parent / "requirements.lock"
KNOWN: Final = 1
NOT_ASKED: Final = 2


def judge(found: dict[str, Any]) -> tuple[list[str], int]:
    """What is to be said of pip-audit's JSON, and the exit code."""
    told: list[str] = []
    skipped: list[str] = []
    for one in found["dependencies"]:
        if "skip_reason" in one:
            skipped.append(one["name"])
        for weakness in one.get("vulns", ()):
            mended = ", ".join(weakness["fix_versions"]) or "no version"
            told.append(f"{one['name']} {one['version']}: {weakness['id']}, mended in {mended}")
    asked = len(found["dependencies"]) - len(skipped)
    code = KNOWN if told else 0
    if skipped or not asked:
        told.append(
            f"NOT AUDITED: {len(skipped)} packages, for which no database could be asked: {', '.join(sorted(skipped)) or '-'}"
        )
        code = code or NOT_ASKED
    if asked:
        told.append(
            f"{asked} packages were asked for; {'weaknesses are known' if code == KNOWN else 'no weakness of these is known'}"
        )
    return told, code


def main() -> int:
    """Ask, and say what came back."""
    command = ["-r", str(LOCK), "--require-hashes", "--disable-pip", "--format", "json", "--progress-spinner", "off"]
    done = subprocess.run([sys.executable, "-m", "pip_audit", *command], capture_output=True, text=True, check=False)
    try:
        told, code = judge(json.loads(done.stdout))
    except (ValueError, KeyError):
        told, code = [f"NOT AUDITED: pip-audit gave no answer: {done.stderr.strip()[-1000:]}"], NOT_ASKED
    print("\n".join(told))
    return code


if __name__ == "__main__":
    sys.exit(main())
