"""How fast are two usual questions in SQL: the best spread by venue and symbol over a log, and one venue on one day?

In one process over W2, with DuckDB's own threads; wall milliseconds, the median of a few runs after a first one.

    python -m bench.asking [EVENTS]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from bench.markets import make, w2
from xarb.query import open_query

ROUNDS: Final = 5
QUESTIONS: Final = {
    "best spread by venue and symbol": "SELECT venue, symbol, min(ask / bid - 1) * 1e4 AS bps FROM quotes WHERE ask > bid GROUP BY ALL",
    "one venue on one day": "SELECT symbol, count(*), max(bid) FROM quotes WHERE venue = 'bravo' AND date = DATE '2026-01-05' GROUP BY ALL",
}


def main() -> None:
    """Print a line for each question."""
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000_000
    with tempfile.TemporaryDirectory() as name:
        make(Path(name) / "log", w2(events))
        with open_query([Path(name) / "log"]) as query:
            for title, sql in QUESTIONS.items():
                took = []
                for _ in range(ROUNDS + 1):
                    began = time.perf_counter()
                    rows = list(query.run(sql).rows())
                    took.append(time.perf_counter() - began)
                print(f"{title:32} {events:>11,} quotes: {statistics.median(took[1:]) * 1e3:7.1f} ms, {len(rows)} rows", flush=True)


if __name__ == "__main__":
    main()
