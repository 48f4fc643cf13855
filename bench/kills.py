"""Does `kill -9` at any moment lose anything that was written, and does the next start always go on?

A recorder is started, fed 2,000 numbered quotes a second, and killed after a random time between 0 and 8 s, while it starts, seals what
the last one left, connects or records; again and again, into one log. Before each kill an observer counts the messages in the journal:
they count as written. Printed: kills, messages written and found, messages found that do not follow each other, and whether the log is whole.

    python -m bench.kills [KILLS] [SEED]
"""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq
import uvloop

from bench.record import Feeder, write_config
from tests.venues.player import ticker
from xarb.errors import XarbError
from xarb.log.check import verify_log
from xarb.log.info import info
from xarb.log.manifest import Manifest

RATE, BURST = 2_000, 20
LONGEST_S = 8.0


def written(folder: Path) -> int:
    """Messages of the log that a reader sees now, sealed and in the journal; 0 while there is no log that can be read."""
    try:
        found = info(folder)
    except (XarbError, OSError):
        return 0
    sealed = found.kinds["frames"].rows if "frames" in found.kinds else 0
    return sealed + (found.tail.rows.get("frames", 0) if found.tail else 0)


class Seen(NamedTuple):
    """What an observer saw around a kill: messages written before and after it, and how many numbers and connections there had been."""

    before: int
    after: int
    sent: int
    connections: int


async def kill_again_and_again(folder: Path, kills: int, seed: int) -> tuple[Feeder, list[Seen]]:
    """The feeder, and what was seen around each kill."""
    feeder, rng = Feeder(RATE, BURST, 0.0), random.Random(seed)  # noqa: S311  # when to kill
    write_config(folder.with_suffix(".toml"), await feeder.listen())
    command = [sys.executable, "-m", "xarb", "record", str(folder.with_suffix(".toml")), "--into", str(folder)]
    seen = []
    for _ in range(kills):
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        await asyncio.sleep(rng.random() * LONGEST_S)
        before = await asyncio.to_thread(written, folder)
        if process.returncode is not None:
            raise SystemExit(f"the recorder ended by itself: {(await process.communicate())[1].decode()}")
        process.kill()
        await process.communicate()
        seen.append(Seen(before, written(folder), feeder.sent, len(feeder.firsts)))
    process = await asyncio.create_subprocess_exec(*command, "--duration", "1s", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    _, err = await process.communicate()
    if process.returncode:
        raise SystemExit(f"the last start did not go on: {err.decode()}")
    return feeder, seen


def payloads(folder: Path) -> list[tuple[int, bytes]]:
    """Every raw message with its connection, in order."""
    found: list[tuple[int, bytes]] = []
    for entry in sorted(Manifest(folder).files, key=lambda one: one.first):
        if entry.kind == "frames":
            table = pq.read_table(folder / entry.path, columns=["conn", "payload"])
            found += zip(table.column("conn").to_pylist(), table.column("payload").to_pylist(), strict=True)
    return found


def main() -> None:
    """Print what became of the messages."""
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    with tempfile.TemporaryDirectory(prefix="xarb-kills-") as place:
        folder = Path(place) / "log"
        feeder, seen = uvloop.run(kill_again_and_again(folder, kills, seed))
        texts = {ticker(number).encode(): number for number in range(1, feeder.sent + 1)}
        by_conn: dict[int, list[int]] = {}
        found = payloads(folder)
        for conn, payload in found:
            if payload in texts:
                by_conn.setdefault(conn, []).append(texts[payload])
        broken = sum(mine != list(range(mine[0], mine[0] + len(mine))) or mine[0] not in feeder.firsts for mine in by_conn.values())
        numbers = [number for mine in by_conn.values() for number in mine]
        lost = sum(
            one.after < one.before or sum(number <= one.sent for number in numbers) < one.after - one.connections for one in seen
        )
        report = verify_log(folder)
        print(f"{kills} kills, {len(feeder.firsts)} connections, {feeder.sent} messages sent, {len(found)} in the log")
        print(
            f"kills while messages came: {sum(one.before > 0 for one in seen)}; kills that cost something that was written: {lost}"
        )
        print(f"connections whose messages have a hole or begin late: {broken}; log whole: {report.ok}")


if __name__ == "__main__":
    main()
