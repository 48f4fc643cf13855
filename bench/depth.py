"""How fast is a whole backtest over books of ten levels a side, and over single changed levels (L2 deltas)?

Runs `xarb backtest` as a process, from Parquet to a sealed run, on five symbols of four venues with the micro strategy watching all pairs and
the simulated venue keeping its own books. Prints rows a second (wall and CPU, start-up included), the multiple of pyarrow's decode, peak
memory, bytes a row, and bundles a million rows.

    python -m bench.depth [DELTA_ROWS]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from bench.backtest import decode_s, experiment, fees, median_cost, timed, value_of
from bench.markets import w2
from xarb.log.reader import LogReader


def main() -> None:
    """Print a line for each kind; a quarter as many books as deltas."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000_000
    market = w2(rows)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "fees.toml").write_text(fees(market))
        config = folder / "config.toml"
        config.write_text(experiment(market))
        for kind, wanted in (("books", rows // 4), ("book_deltas", rows)):
            log = folder / kind
            timed(
                [sys.executable, "-m", "bench.depth_markets", kind, str(log), str(wanted)]
            )  # apart: a child's peak counts its parent's
            with LogReader(log) as reader:
                count = sum(entry.rows for entry in reader.entries(kind))
            cost = median_cost(config, log)
            size = sum(path.stat().st_size for path in log.rglob("*.parquet")) / count
            print(
                f"{kind:12} {count:>10,} rows: {count / cost.wall_s / 1e6:5.2f} M/s wall, {count / cost.cpu_s / 1e6:5.2f} M/s CPU,"
                f" {cost.cpu_s / min(decode_s(log, kind) for _ in range(2)):4.1f} x decode, {cost.peak_mib:.0f} MiB,"
                f" {size:.1f} bytes a row, {value_of(cost.output, 'bundles') / count * 1e6:.0f} bundles a million",
                flush=True,
            )


if __name__ == "__main__":
    main()
