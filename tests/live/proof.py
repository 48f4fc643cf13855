"""The walk of docs/proof.md from the command line: `python -m tests.live.proof RUNS [SECONDS]`, half of the runs real, half on paper.

Each run: two served exchanges, `xarb live` on them, `xarb verify` of its log, a backtest of that log, `xarb diff` of the two, and for real orders
every fill against the exchanges' own books.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple
from urllib.request import urlopen

from xarb.log.reader import LogReader

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "experiments" / "served.toml"
VENUES = ("alpha", "charlie")
KEYS = {
    f"XARB_{venue.upper()}_MAIN_{part}": f"play-{word}"
    for venue in VENUES
    for part, word in (("API_KEY", "key"), ("API_SECRET", "secret"))
}
REAL = ("--set", "live.mode=live", "--live", "--account", "main")
Fill = tuple[str, str, Fraction, Fraction, Fraction]


class Run(NamedTuple):
    """What a run gave: the verdict of verify, commands and fills, whether diff added up, and whether the exchanges' books agree."""

    verified: bool
    commands: int
    fills: int
    diff: int
    agrees: bool


def xarb(words: Sequence[str], *, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command of ours."""
    done = subprocess.run(
        [sys.executable, "-m", "xarb", *words],
        cwd=ROOT,
        env=os.environ | KEYS,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0 or not check, f"{' '.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


@contextmanager
def served(*more: str) -> Iterator[dict[str, str]]:
    """The two exchanges on free ports: their REST addresses by venue; `more` are further words of `xarb serve`."""
    words = ("serve", "recordings/quickstart", "--config", "experiments/served-exchanges.toml")
    venues = [word for venue in VENUES for word in ("--venue", venue, "--port", "0")]
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "xarb", *words, *venues, *more],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            found: dict[str, str] = {}
            while len(found) < len(VENUES):
                cells = process.stdout.readline().rstrip("\n").split("\t")
                if cells[0] in VENUES:
                    found[cells[0]] = cells[3]
            yield found
        finally:
            process.terminate()
            process.wait()


def run(folder: Path, *, seconds: float, is_real: bool) -> Run:
    """One walk in a folder."""
    log, backtest = folder / "log", folder / "run"
    with served("--skip-to", "2026-01-05T23:46:00Z") as rests:
        places = [
            word
            for venue, rest in rests.items()
            for word in (
                "--set",
                f"markets.{venue}.rest_url={rest}",
                "--set",
                f"markets.{venue}.stream_url={rest.replace('http', 'ws')}",
            )
        ]
        xarb(("live", str(CONFIG), "--out", str(log), "--duration", f"{seconds}s", *places, *(REAL if is_real else ())))
        agrees = not is_real or ours(log) == theirs(rests)
    verified = xarb(("verify", str(log)), check=False).returncode == 0
    xarb(("backtest", str(CONFIG), "--log", str(log), "--out", str(backtest)))
    diff = xarb(("diff", str(log), str(backtest)), check=False).returncode
    with LogReader(log) as reader:
        kinds = [kind for kind, _ in reader.outputs(kinds=("commands", "fills"))]
    return Run(verified, kinds.count("commands"), kinds.count("fills"), diff, agrees)


def ours(log: Path) -> set[Fill]:
    """Every fill that the log was told of."""
    one = Fraction(10**18)
    with LogReader(log) as reader:
        return {
            (row["client_order_id"], row["fill_id"], row["price"] / one, row["qty"] / one, row["fee"] / one)
            for row in reader.rows("reports")
            if row["event"] == "fill"
        }


def theirs(rests: dict[str, str]) -> set[Fill]:
    """Every fill that the exchanges have."""
    found: set[Fill] = set()
    for rest in rests.values():
        with urlopen(f"{rest}/xarb/orders?account=main") as answer:  # noqa: S310  # our own server on loopback
            for order in json.load(answer):
                for fill in order["fills"]:
                    numbers = (Fraction(fill[name]) for name in ("price", "qty", "fee"))
                    found.add((order["client_id"], str(fill["trade_id"]), *numbers))
    return found


def main(runs: int, seconds: float) -> None:
    """Walk so many times and print a line for each."""
    for number in range(1, runs + 1):
        is_real = number % 2 == 1
        with tempfile.TemporaryDirectory() as folder:
            found = run(Path(folder), seconds=seconds, is_real=is_real)
        words = f"verified={found.verified} commands={found.commands} fills={found.fills} diff_exit={found.diff} books_agree={found.agrees}"
        sys.stdout.write(f"{number} {'real' if is_real else 'paper'} {words}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 20.0)
