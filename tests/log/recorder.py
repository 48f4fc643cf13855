"""A recorder to be killed: `python -m tests.log.recorder LOG SEED [PAUSE_S]` appends random rows and prints each seq that was written."""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

from tests.log.live import Values, head, quotes, read_inputs, read_outputs, refusal
from tests.log.logs import HEADER, START
from xarb.log.check import verify_log
from xarb.log.committer import Policy
from xarb.log.livelog import LiveLog
from xarb.model.event import OutputRow

FAST = Policy(commit_ms=1, seal_rows=400, reserve_bytes=4096)


def rows_from(first: int, count: int) -> tuple[dict[str, list[Values]], list[OutputRow]]:
    """The rows that any recorder writes from a seq on: they depend on nothing else."""
    outs = [refusal(n, 0, n * 10**18) for n in range(first, first + count) if n % 3 == 0]
    return quotes(first, count), outs


def check_recorded(folder: Path, acknowledged: int) -> None:
    """Open a log after a crash, and compare every row with what a recorder writes; nothing up to `acknowledged` may be missing."""
    with LiveLog.open(folder, FAST) as log:
        last = log.last
    assert last >= acknowledged, f"{acknowledged - last} acknowledged rows are lost"
    report = verify_log(folder)
    assert report.ok, report.findings
    rows = read_inputs(folder)
    assert [row["seq"] for _, row in rows] == list(range(last + 1))
    assert all(row["bid_int"] == 100 + row["seq"] for kind, row in rows if kind == "quotes")
    lost = {row["seq"] for kind, row in rows if kind == "health"}
    outs = [(row["after_seq"], row["value"]) for _, row in read_outputs(folder)]
    assert outs == [(n, n * 10**18) for n in range(2, last + 1) if n % 3 == 0 and n not in lost]


def main(folder: Path, seed: int, pause_s: float = 0.0) -> None:
    """Write until killed, with a pause after each write."""
    draw = random.Random(seed)  # noqa: S311  # a test's draw
    log = LiveLog.open(folder, FAST) if folder.exists() else LiveLog.create(folder, HEADER, FAST)
    if log.last < 1:
        log.append(head())
    while True:
        inputs, outs = rows_from(log.last + 1, draw.randint(1, 30))
        if log.recovered is not None and log.last_ts > START + (log.last + 1) * 1000:
            raise SystemExit("the clock of the rows went back")
        log.append(inputs, outs)
        log.write()
        sys.stdout.write(f"{log.last}\n")
        sys.stdout.flush()
        time.sleep(pause_s)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), *map(float, sys.argv[3:]))
