"""Stops a process at every step that it takes on the disk, one after the other, and lets the log be opened again after each.

Run as `python -m tests.log.crash LOG SCRATCH ACTION`: prints how many steps there were, and fails on the first crash after which
a row is missing, doubled or wrong.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.log.aged import DAY
from tests.log.live import Values, read_inputs, read_outputs
from tests.log.logs import START
from xarb.log.archive import archive
from xarb.log.check import verify_log
from xarb.log.claim import Claim
from xarb.log.committer import Policy
from xarb.log.journal import FOLDER
from xarb.log.livelog import LiveLog
from xarb.log.manifest import NAME, Manifest
from xarb.log.prune import prune
from xarb.log.recovery import mend_manifest, recover
from xarb.log.repair import repair
from xarb.log.seal import seal_ended

EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.link")
QUICK = Policy(commit_ms=1, reserve_bytes=0, separate=False)


def _seal(folder: Path) -> None:
    claim = Claim(folder, None)
    seal_ended(Manifest(folder), claim)
    claim.release()


def _recover(folder: Path) -> None:
    claim = Claim(folder, None)
    mend_manifest(folder)
    recover(Manifest(folder), claim)
    claim.release()


def _repair(folder: Path) -> None:
    repair(folder)


def _prune(folder: Path) -> None:
    prune(folder, START + DAY, by="a test")


def _archive(folder: Path) -> None:
    archive(folder, START + DAY, _old(folder), by="a test")


def _old(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}-old")


ACTIONS: dict[str, Callable[[Path], None]] = {
    "seal": _seal,
    "recover": _recover,
    "repair": _repair,
    "prune": _prune,
    "archive": _archive,
}


def _die_at(step: int, folder: Path) -> None:
    """End this process without a trace before its `step`-th operation in the folder; fsync and write stand between two opens."""
    seen = 0

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        if event in EVENTS and str(folder.parent) in str(arguments[0]) and folder.name in str(arguments[0]):
            seen += 1
            if seen == step:
                os._exit(9)

    sys.addaudithook(watch)


def _rows(folder: Path) -> tuple[list[Values], list[Values]]:
    inputs = [(kind, *row.values()) for kind, row in read_inputs(folder)]
    return inputs, [(kind, *row.values()) for kind, row in read_outputs(folder)]


def _crashed(folder: Path, action: Callable[[Path], None], step: int) -> bool:
    """Whether the action was stopped at a step, rather than done before it."""
    child = os.fork()
    if child == 0:
        _die_at(step, folder)
        action(folder)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code not in {0, 9}:
        raise SystemExit(f"step {step}: exit code {code}")
    return code == 9


def _check_between(folder: Path, states: Sequence[object], step: int, seen: list[object]) -> None:
    """What a crash left of a pruning is the log as it was or as it is to be, whole either way; what was seen before is as it was then."""
    now = sorted(path.relative_to(folder) for path in folder.rglob("*")), (folder / NAME).stat().st_size
    if now in seen:
        return
    seen.append(now)
    report = verify_log(folder)
    if not report.ok or _rows(folder) not in states:
        raise SystemExit(f"step {step}: {report.findings}, or rows of neither state")
    with LiveLog.open(shutil.copytree(folder, folder.with_name("started")), QUICK):
        pass
    shutil.rmtree(folder.with_name("started"))


def _check_archive(folder: Path, before: object, step: int) -> None:
    """Log and archive hold everything, and both are whole."""
    report = verify_log(_old(folder))
    inputs, outputs = (sorted({*one, *two}, key=repr) for one, two in zip(_rows(folder), _rows(_old(folder)), strict=True))
    if not report.ok or [inputs, outputs] != before or len(report.leftovers) > 0:
        raise SystemExit(f"step {step}: {report.findings} in the archive, or rows are lost")
    shutil.rmtree(_old(folder))


def main(log: Path, scratch: Path, action: str) -> None:
    """Crash at every step; after a crash a repair and a pruning are done again, then a start goes on."""
    before = _rows(log)
    whole = scratch / "whole"
    shutil.copytree(log, whole)
    ACTIONS[action](whole)
    LiveLog.open(whole, QUICK).close()
    expected = _rows(whole)
    kept = len(list(whole.glob(f"{FOLDER}/damaged/*")))
    step, seen = 1, list[object]()
    while True:
        folder = scratch / f"at{step}"
        shutil.copytree(log, folder)
        crashed = _crashed(folder, ACTIONS[action], step)
        if action in {"prune", "archive"}:
            _check_between(folder, (before, expected), step, seen)
            ACTIONS[action](folder)
        if action == "archive":
            _check_archive(folder, [sorted(one, key=repr) for one in before], step)
        if action == "repair":
            repair(folder)
            if len(list(folder.glob(f"{FOLDER}/damaged/*"))) < kept:
                raise SystemExit(f"step {step}: a damaged file was not kept")
        with LiveLog.open(folder, QUICK) as again:
            again.append({"health": [(again.last + 1, again.last_ts, None, "m", 1, None)]})
        report = verify_log(folder)
        inputs, outputs = _rows(folder)
        if not report.ok or (inputs[:-1], outputs) != expected:
            raise SystemExit(f"step {step}: {report.findings} {len(inputs) - 1} inputs, {len(expected[0])} expected")
        shutil.rmtree(folder)
        if not crashed:
            sys.stdout.write(f"{step - 1}\n")
            return
        step += 1


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
