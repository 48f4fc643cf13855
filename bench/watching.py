"""What does it cost to watch a log from another process: CPU a row, and a look at a log at which nothing came?

Ratios are against writing the same rows.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from tests.log.live import head, quotes
from tests.log.logs import HEADER
from xarb.config.watch import WatchConfig
from xarb.log.committer import Policy
from xarb.log.livelog import LiveLog
from xarb.watch.verb import Watch

_ROWS = 200_000
_A_WRITE = 20
_LOOKS = 200


def main() -> None:
    """Write, watch, print."""
    with tempfile.TemporaryDirectory(prefix="xarb-bench-") as place:
        folder = Path(place) / "log"
        with LiveLog.create(folder, HEADER, Policy(reserve_bytes=0, separate=False)) as log:
            log.append(head())
            log.write()
            with Watch(folder, WatchConfig()) as watch:
                watch.look()
                spent = [0, 0]
                for at in range(2, _ROWS, 5_000):
                    rows = [quotes(first, _A_WRITE) for first in range(at, at + 5_000, _A_WRITE)]
                    began = time.process_time_ns()
                    for one in rows:
                        log.append(one)
                        log.write()
                    written = time.process_time_ns()
                    watch.look()
                    spent[0] += written - began
                    spent[1] += time.process_time_ns() - written
                began = time.process_time_ns()
                for _ in range(_LOOKS):
                    watch.look()
                idle = (time.process_time_ns() - began) / _LOOKS
                began = time.process_time_ns()
                text = watch.metrics()
                page = time.process_time_ns() - began
    write, look = (one / _ROWS for one in spent)
    print(f"writing {write / 1000:.2f} us a row, watching {look / 1000:.2f} us a row: {look / write:.2f} of writing")
    print(f"a look at nothing new {idle / 1e6:.3f} ms, the metrics page {page / 1e6:.3f} ms for {len(text)} bytes")


if __name__ == "__main__":
    main()
