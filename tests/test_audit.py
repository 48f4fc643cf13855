"""What an audit of dependencies says: a package that could not be asked for is never taken for a sound one."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

SOUND: dict[str, Any] = {"name": "a", "version": "1", "vulns": []}
WEAK: dict[str, Any] = {"name": "b", "version": "2", "vulns": [{"id": "X-1", "fix_versions": ["3"]}]}
SKIPPED: dict[str, Any] = {"name": "c", "skip_reason": "Dependency not found and could not be audited"}


def judged(*dependencies: dict[str, Any]) -> tuple[list[str], int]:
    """What `packaging/audit.py` makes of an answer."""
    path = Path(__file__).resolve().parents[1] / "packaging" / "audit.py"
    found = importlib.util.spec_from_file_location("audit", path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    told: tuple[list[str], int] = module.judge({"dependencies": list(dependencies)})
    return told


def test_an_audit_is_clean_only_where_every_package_was_asked_for() -> None:
    """Weaknesses give 1, a package without an answer 2, none at all 2."""
    assert judged(SOUND) == (["1 packages were asked for; no weakness of these is known"], 0)
    told, code = judged(SOUND, WEAK)
    assert (told[0], code) == ("b 2: X-1, mended in 3", 1)
    told, code = judged(SOUND, SKIPPED)
    assert (told[0], code) == ("NOT AUDITED: 1 packages, for which no database could be asked: c", 2)
    assert judged()[1] == 2
    told, code = judged(WEAK, SKIPPED)
    assert (len(told), code) == (3, 1)
