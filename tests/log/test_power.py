"""Real power failures, where the machine lets a test mount a file system of its own; elsewhere the run says that it was not done."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.log.power import cut

ROOT = Path(__file__).parents[2]
APART = ["unshare", "--mount", "--propagation", "private"]


def can_cut(scratch: Path) -> str | None:
    """Why no power can be cut here, None when it can."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return "it takes root on Linux"
    if missing := [tool for tool in ("unshare", "mkfs.ext4", "mount") if shutil.which(tool) is None]:
        return f"no {', '.join(missing)}"
    scratch.mkdir()
    probe = f"import tests.log.test_power as t, sys; t.probe({str(scratch)!r})"
    done = subprocess.run([*APART, sys.executable, "-c", probe], capture_output=True, text=True, check=False, cwd=ROOT, timeout=60)
    return None if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


def probe(scratch: str) -> None:
    """Make, mount and shut down the smallest file system; raises where this is not allowed."""
    image, mounted = Path(scratch) / "image", Path(scratch) / "mounted"
    mounted.mkdir()
    with image.open("wb") as file:
        file.truncate(8 << 20)
    for command in (["mkfs.ext4", "-q", "-F", str(image)], ["mount", "-o", "loop", str(image), str(mounted)]):
        subprocess.run(command, check=True, timeout=30)
    cut(mounted)
    subprocess.run(["umount", mounted], check=True, timeout=30)


def run(tmp_path: Path, rounds: int, fault: str = "") -> subprocess.CompletedProcess[str]:
    """Cut the power of a recorder this many times, or skip with the reason."""
    why = can_cut(tmp_path / "probe")
    if why is not None:
        pytest.skip(f"REAL POWER LOSS WAS NOT TESTED: {why}")  # a mount is the machine's to allow
    (tmp_path / "scratch").mkdir()
    command = [*APART, sys.executable, "-m", "tests.log.power", str(tmp_path / "scratch"), str(rounds), fault]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=300)


def test_power_failures_lose_nothing_that_was_on_the_disk(tmp_path: Path) -> None:
    """After each of 6 cuts, two of them at the beginning of a start, every acknowledged row is there once, and the log is sound."""
    done = run(tmp_path, 6)
    assert done.returncode == 0, done.stderr
    assert "rows were acknowledged in 6 rounds" in done.stdout


@pytest.mark.parametrize(("fault", "what"), [("journal", "acknowledged rows are lost"), ("seal", "LogError: ")])
def test_a_missing_fsync_is_caught(tmp_path: Path, fault: str, what: str) -> None:
    """A recorder whose fdatasync or fsync does nothing loses rows or files, and the cut shows it: the test above can fail."""
    done = run(tmp_path, 6, fault)
    assert done.returncode != 0
    assert what in done.stderr
