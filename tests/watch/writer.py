"""A process that writes a log at the present time: `python -m tests.watch.writer LOG` puts a reading every 50 ms until SIGTERM."""

from __future__ import annotations

import signal
import sys
import threading
import time
from pathlib import Path

from tests.log.logs import HEADER
from xarb.log.committer import Policy
from xarb.log.livelog import LiveLog

SMALL = Policy(commit_ms=1, reserve_bytes=4096, separate=False)


def main(folder: Path) -> None:
    """Write until told to stop, then seal."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    with LiveLog.open(folder, SMALL) if folder.exists() else LiveLog.create(folder, HEADER, SMALL) as log:
        while not stop.is_set():
            row = (log.last + 1, max(time.time_ns(), log.last_ts), None, "heartbeat", 1, None)
            log.append({"health": [row]})
            log.write()
            sys.stdout.write(f"{log.last}\n")
            sys.stdout.flush()
            stop.wait(0.05)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
