"""Does `kill -9` at any moment of real trading lose a fill, forget an order, or send one twice?

Two served exchanges replay the quickstart five times as fast as it was; `xarb live` sends real orders to them and is killed after a random time between 0 and 10 s, while it
starts, reconciles, trades or writes; again and again, into one log. A last session is stopped in order. Printed: kills, starts, orders and
fills by the exchanges' own books, orders that they got twice, fills that the log has and they do not, or the other way round, whether the log
is whole, and whether every start is reproduced byte for byte.

    python -m bench.trading_kills [KILLS] [SEED]
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from urllib.request import urlopen

from tests.live.proof import CONFIG, KEYS, REAL, ROOT, ours, served, theirs, xarb
from xarb.log.check import verify_log

LONGEST_S = 10.0


def main() -> None:
    """Kill, then look."""
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    draw = random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 1)  # noqa: S311  # moments of death
    with tempfile.TemporaryDirectory() as folder, served("--speed", "5") as rests:
        log = Path(folder) / "log"
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
        words = ("live", str(CONFIG), "--out", str(log), *places, *REAL)
        for _ in range(kills):
            with subprocess.Popen(
                [sys.executable, "-m", "xarb", *words],
                cwd=ROOT,
                env=os.environ | KEYS,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            ) as process:
                time.sleep(draw.random() * LONGEST_S)
                died = process.poll()
                process.kill()
            if died is not None:
                print(f"a session ended by itself with {died}")
        xarb((*words, "--duration", "10s"))
        _say(log, rests, kills)


def _say(log: Path, rests: dict[str, str], kills: int) -> None:
    sent: Counter[str] = Counter()
    for rest in rests.values():
        with urlopen(f"{rest}/xarb/orders?account=main") as answer:  # noqa: S310  # our own server on loopback
            sent.update(order["client_id"] for order in json.load(answer))
    mine, known = ours(log), theirs(rests)
    proof = xarb(("verify", str(log)), check=False)
    equal = sum(line.endswith("\tequal") for line in proof.stdout.splitlines())
    starts = len({name.split("-")[1] for name in sent})
    print(f"{kills} kills; {len(sent)} orders of {starts} starts, {len(known)} fills by the exchanges' books")
    print(
        f"sent twice {sum(count > 1 for count in sent.values())}; fills lost {len(known - mine)}; fills invented {len(mine - known)}"
    )
    print(f"log whole: {verify_log(log).ok}; starts proven equal: {equal}; verify exit code {proof.returncode}")


if __name__ == "__main__":
    main()
