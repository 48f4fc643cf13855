"""`xarb kill --config` where the log or its process is in trouble: orders go first, and what is wrong is said then."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.live.site import QUICK, left_order, site, statuses
from xarb.config import load_experiment
from xarb.errors import LogError, Refused
from xarb.live.verb import kill
from xarb.log.journal import HEAD, journals, read_opening
from xarb.log.livelog import LiveLog


def damage(log: Path) -> None:
    """Spoil a frame in the middle of the last journal: sound ones follow."""
    path = journals(log)[-1][1]
    raw = bytearray(path.read_bytes())
    _, start = read_opening(path)
    raw[start + HEAD.size + 1] ^= 0xFF
    path.write_bytes(raw)


def test_a_kill_on_a_damaged_log_cancels_first_and_names_the_damage_then(tmp_path: Path) -> None:
    """The process died and its journal is damaged in the middle: the log's orders go all the same, and the error says both."""
    log = tmp_path / "log"

    async def story() -> None:
        async with site(tmp_path) as at:
            mine = await left_order(at, log)
            with LiveLog.open(log, QUICK) as left:
                for _ in range(3):
                    row = (left.last + 1, left.last_ts, None, "disk_free_mb", 1, None)
                    left.append({"health": [row]})
                    left.write()
                left.abandon()
            damage(log)
            with pytest.raises(LogError, match="damaged") as said:
                await asyncio.to_thread(lambda: kill(log, wait_s=1, experiment=load_experiment(at.config)))
            assert mine in str(said.value)
            assert "xarb log repair" in str(said.value)
            assert said.value.exit_code == 1
            assert (await statuses(at, "alpha"))[mine] == "CANCELED"
            with pytest.raises(LogError, match="damaged"):
                await asyncio.to_thread(lambda: kill(log, wait_s=1))

    asyncio.run(story())


def test_a_kill_cancels_what_a_process_that_hangs_left_open(tmp_path: Path) -> None:
    """The writer lives and does not obey: after the wait its orders go at the exchanges, and the error says that it is there still."""
    log = tmp_path / "log"

    async def story() -> None:
        async with site(tmp_path) as at:
            mine = await left_order(at, log)
            with LiveLog.open(log, QUICK):
                with pytest.raises(Refused, match="has not ended"):
                    await asyncio.to_thread(lambda: kill(log, wait_s=0.1))
                with pytest.raises(LogError, match="being written") as said:
                    await asyncio.to_thread(lambda: kill(log, wait_s=0.1, experiment=load_experiment(at.config)))
                assert mine in str(said.value)
            assert (await statuses(at, "alpha"))[mine] == "CANCELED"

    asyncio.run(story())
