"""How fast are two usual questions in SQL: the best spread by venue and symbol over a log, and one venue on one day?

In one process over W2, thinned to 250 quotes a second so that a day has 21.6 million; with DuckDB's own threads. Wall milliseconds, the
median of a few runs after a first one; the CPU time of the best run, and its multiple of what pyarrow alone needs to decode the same columns of
the same files in one thread.

    python -m bench.asking [EVENTS]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Final, NamedTuple

import pyarrow.parquet as pq

from bench.markets import make, w2
from xarb.log.reader import LogReader
from xarb.sql import open_query

ROUNDS: Final = 5


class Question(NamedTuple):
    """SQL, the columns that it needs, and the date whose files it needs; None is all."""

    title: str
    sql: str
    columns: tuple[str, ...]
    date: str | None


QUESTIONS: Final = (
    Question(
        "best spread by venue and symbol",
        "SELECT venue, symbol, min(ask / bid - 1) * 1e4 AS bps FROM quotes WHERE ask > bid GROUP BY ALL",
        ("venue", "symbol", "bid_int", "ask_int", "px_scale"),
        None,
    ),
    Question(
        "one venue on one day",
        "SELECT symbol, count(*), max(bid) FROM quotes WHERE venue = 'bravo' AND date = DATE '2026-01-05' GROUP BY ALL",
        ("venue", "symbol", "bid_int", "px_scale"),
        "2026-01-05",
    ),
)


def decoded(folder: Path, question: Question) -> tuple[int, float]:
    """Rows that the question goes over, and the CPU seconds that pyarrow needs for its columns, the best of a few."""
    with LogReader(folder) as reader:
        entries = [entry for entry in reader.entries("quotes") if question.date in (None, entry.date)]
    costs = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for entry in entries:
            with pq.ParquetFile(folder / entry.path, pre_buffer=False) as file:
                for batch in file.iter_batches(1 << 17, columns=list(question.columns), use_threads=False):
                    assert batch.num_rows
        costs.append(time.process_time() - began)
    return sum(entry.rows for entry in entries), min(costs)


def main() -> None:
    """Print a line for each question."""
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000_000
    with tempfile.TemporaryDirectory() as name:
        log = Path(name) / "log"
        make(log, w2(events)._replace(events_per_s=250))
        with open_query([log]) as query:
            for question in QUESTIONS:
                walls, cpus = [], []
                for _ in range(ROUNDS + 1):
                    began, cpu = time.perf_counter(), time.process_time()
                    answer = list(query.run(question.sql).rows())
                    walls.append(time.perf_counter() - began)
                    cpus.append(time.process_time() - cpu)
                rows, floor_s = decoded(log, question)
                print(
                    f"{question.title:32} {rows:>11,} quotes: {statistics.median(walls[1:]) * 1e3:7.1f} ms wall,"
                    f" {min(cpus[1:]) * 1e3:7.1f} ms CPU, {min(cpus[1:]) / floor_s:.1f} x decode, {len(answer)} rows",
                    flush=True,
                )


if __name__ == "__main__":
    main()
