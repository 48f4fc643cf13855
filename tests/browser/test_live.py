"""The live page as a person finds it, while its log grows."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

from tests.browser.test_page import DARK, HERE, LIGHT, skip_without
from tests.live.player import EXPERIMENT, Player, recorded
from tests.verbs.dashboard.reader import LIMIT_S, PACE
from xarb.engine.liverows import KILL
from xarb.live import requests
from xarb.verbs.dashboard import Page

NAME = "<img src=x onerror=alert(1)>"
TOKEN = "a-token-of-a-test"  # noqa: S105  # a test's
FILES = ("", "palette.css", "page.css", "page.js", "events")


def test_live_page_in_a_browser(tmp_path: Path) -> None:
    """Figures, tables and a curve that follow the log, light and dark, no wider than a phone; a kill with the token; no error, no name run."""
    experiment = tmp_path / "experiment.toml"
    text = EXPERIMENT.read_text().replace("[strategies.eager]", f'[strategies."{NAME}"]')
    experiment.write_text(text)
    player = Player(tmp_path / "log", experiment=experiment)
    player.play(list(recorded(0, 2_500)))
    found: dict[str, Any] = asyncio.run(looked_at(player))
    player.log.close()

    url = found["asked"][0].partition("#")[0]
    assert found["told"] == []
    assert {one.partition("#")[0] for one in found["asked"]} <= {*(url + name for name in FILES), f"{url}kill"}
    assert found["address"] == url  # the token is out of sight
    assert found["head"][0] == "connected"
    assert {"armed", "not killed"} <= {*found["head"]}
    rows = dict(found["tables"])
    assert {"feeds", "exposure", "refusals", "Strategies", "Key figures", "PnL by cause", "balances", "counts"} <= {*rows}
    assert min(rows.values()) >= 1
    assert rows["feeds"] == 13
    assert found["curve"] > 20
    assert ": " in found["reading"]
    before, after = map(int, found["orders"])
    assert 0 < before < after
    assert [found["light"], found["dark"], found["switched"]] == [
        [LIGHT["paper"], LIGHT["ink"]],
        [DARK["paper"], DARK["ink"]],
        [LIGHT["paper"], LIGHT["ink"]],
    ]
    assert found["phone"] == [390, 390]
    assert found["answer"].startswith("killed to entries")
    assert (found["kill_without_token"], found["elements"]) == (False, [0, 1])


async def looked_at(player: Player) -> Any:
    """What the browser says, whose wishes are met."""
    node = shutil.which("node")
    skip_without(node)
    stop, said = asyncio.Event(), asyncio.Queue[str]()
    async with asyncio.timeout(3 * LIMIT_S):
        page = asyncio.ensure_future(Page(player.log.folder, None, 0, TOKEN, PACE).show(stop, said.put_nowait))
        address = (await said.get()).partition(": ")[2]
        look = await asyncio.create_subprocess_exec(str(node), HERE / "live.mjs", address, stdout=PIPE, stderr=PIPE)
        try:
            return await met(player, look, stop)
        finally:
            stop.set()
            with contextlib.suppress(ProcessLookupError):  # it has ended
                look.kill()
            await look.communicate()
            await page


async def met(player: Player, look: asyncio.subprocess.Process, stop: asyncio.Event) -> Any:
    """Do what the browser asks for, line by line; its last one says what it found."""
    assert look.stdout is not None
    assert look.stderr is not None
    while line := (await look.stdout.readline()).decode().strip():
        if line == "grow":
            player.play(list(recorded(2_500, 2_500)))
        elif line == "kill":
            while not (found := requests.take(player.log.folder)):  # noqa: ASYNC110  # a file, of which no event tells
                await asyncio.sleep(0.02)
            player._put("operator", (KILL, found[0].actor, found[0].level))
            player.flush()
        elif line == "end":
            stop.set()
        else:
            return json.loads(line)
    text = (await look.stderr.read()).decode()
    skip_without("node", text)
    raise AssertionError(text)
