"""The live page over loopback: figures of status and report, pushed as the log grows; who may ask, and who may kill."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from typer.testing import CliRunner

from tests.live.player import Player, recorded
from tests.log.logs import rewrite, small_log
from tests.trial import Trial, quiet, usual
from tests.verbs.dashboard.reader import LIMIT_S, Reader, reading, shown
from xarb.cli import app
from xarb.engine.liverows import KILL
from xarb.live import requests
from xarb.verbs.dashboard.server import HEADER, LISTENERS, Hub
from xarb.verbs.report import Wanted, report
from xarb.verbs.status import status

TOKEN = "a-token-of-a-test"  # noqa: S105  # a test's
ROWS = 2_500


def run(test: Coroutine[Any, Any, None]) -> None:
    """Run a test's coroutine with a limit of time."""

    async def limited() -> None:
        async with asyncio.timeout(3 * LIMIT_S):
            await test

    asyncio.run(limited())


@pytest.fixture
def player(tmp_path: Path) -> Iterator[Player]:
    """Trading on paper that goes on."""
    made = Player(tmp_path / "log")
    made.play(list(recorded(0, ROWS)))
    yield made
    made.log.close()


def of_status(folder: Path) -> dict[str, list[list[str]]]:
    """The rows of the tables of `xarb status`, as text."""
    return {one.key: [["-" if cell is None else str(cell) for cell in row] for row in one.rows] for one in status(folder).sections}


def check_figures(reader: Reader, told: dict[str, list[list[str]]]) -> None:
    """What stands on the page is what `xarb status` says of the log."""
    for key in ("counts", "money", "balances"):
        assert reader.rows("standing", key) == told[key]
    feeds = {(row[0], row[1]): row for row in told["feeds"]}
    assert len(feeds) == len(reader.rows("busy", "feeds")) > 5
    for row in reader.rows("busy", "feeds"):
        one = feeds[row[0], row[1]]
        assert (row[2], row[4], row[8:10]) == (one[2], {"True": "yes", "False": "no"}[one[4]], one[7:9])


def test_figures_are_those_of_status_and_report_and_follow_the_log(player: Player, tmp_path: Path) -> None:
    """Pushed after rows were written, through seals; who comes back gets all; a start that ended, and the next one, are said; as the report has it."""
    folder = player.log.folder

    async def story() -> None:
        async with shown(folder) as url, aiohttp.ClientSession() as http:
            async with reading(http, url) as reader, reading(http, url) as other:
                await reader.until(lambda parts: "slow" in parts)
                before = int(reader.tile("Orders")["value"])
                assert before > 0
                assert reader.parts["head"]["proven"]
                assert reader.parts["server"] == {"may_kill": False}
                player.play(list(recorded(ROWS, 2_500)))
                last = str(player.log.last)
                for one in (reader, other):
                    await one.until(lambda parts: parts.get("head", {}).get("proof", "").endswith(f"up to {last}"))
                told = of_status(folder)
                await reader.until(lambda _: reader.rows("standing", "counts") == told["counts"])
                check_figures(reader, told)
                assert int(reader.tile("Orders")["value"]) > before
                assert reader.tile("Feeds")["value"] == "13 of 13"
            player.end()
            async with reading(http, url) as again:
                await again.until(lambda parts: parts.get("head", {}).get("state") == "ended" and "slow" in parts)
                as_of = again.parts["head"]["to"]
                await again.until(lambda parts: parts["slow"]["as_of"] == as_of)
                made = report(Wanted([folder], trades=0), tmp_path / "page.html", advance=quiet)
                assert again.rows("slow", "Key figures") == [list(row) for row in made.key_figures.rows]
                assert again.parts["curves"][0]["points"][-1][1] == float(again.tile("Trading PnL, USDT")["value"])
                next_one = Player(folder)
                next_one.play(list(recorded(ROWS, 300)))
                await again.until(lambda parts: "start 2" in parts["head"]["about"] and parts["head"]["proven"])
                next_one.log.close()

    run(story())


def test_what_is_killed_from_the_page_is_killed_as_by_the_command(player: Player) -> None:
    """With token, host and origin the process is asked, the log has the level, the page shows it; nothing of it without one of the three.

    A log that cannot be read any more is told, and shown again when it can.
    """

    async def story() -> None:
        async with shown(player.log.folder, token=TOKEN) as url, aiohttp.ClientSession() as http:
            origin = url.removesuffix("/")
            good = {HEADER: TOKEN, "Origin": origin, "Content-Type": "application/json"}
            wrong: list[tuple[int, dict[str, str], str]] = [
                (403, {HEADER: "another"}, '{"level": "stop"}'),
                (403, {HEADER: ""}, '{"level": "stop"}'),
                (403, {"Origin": "http://127.0.0.1:1"}, '{"level": "stop"}'),
                (403, {"Origin": "http://evil.example"}, '{"level": "stop"}'),
                (403, {"Host": "evil.example"}, '{"level": "stop"}'),
                (415, {"Content-Type": "text/plain"}, '{"level": "stop"}'),
                (400, {}, '{"level": "all"}'),
                (400, {}, '{"level": "stop", "more": 1}'),
                (413, {}, " " * 4_096),
            ]
            for code, headers, body in wrong:
                async with http.post(f"{url}kill", data=body, headers=good | headers) as answer:
                    assert (answer.status, headers) == (code, headers)
            async with http.post(f"{url}kill", data='{"level": "stop"}', headers={HEADER: TOKEN}) as answer:
                assert answer.status == 403  # without any origin
            assert requests.take(player.log.folder) == []

            async with reading(http, url) as reader:
                await reader.until(lambda parts: "head" in parts)
                assert (reader.parts["head"]["killed"], reader.parts["server"]) == (None, {"may_kill": True})
                asked = asyncio.ensure_future(http.post(f"{url}kill", data='{"level": "entries"}', headers=good))
                while not (found := requests.take(player.log.folder)):  # noqa: ASYNC110  # a file, of which no event tells
                    await asyncio.sleep(0.02)
                player._put("operator", (KILL, found[0].actor, found[0].level))
                player.flush()
                async with await asked as answer:
                    assert (answer.status, (await answer.text()).split(";")[0]) == (200, "killed to entries")
                await reader.until(lambda parts: parts["head"]["killed"] is not None)
                assert reader.parts["head"]["killed"].startswith(f"entries, by {found[0].actor} at ")
            player.log.close()
            async with http.post(f"{url}kill", data='{"level": "stop"}', headers=good) as answer:
                assert (answer.status, "no process is trading" in await answer.text()) == (409, True)
            async with reading(http, url) as reader:
                away = player.log.folder.rename(player.log.folder.with_name("away"))
                await reader.until(lambda parts: "cannot be read on" in (parts.get("trouble") or ""))
                away.rename(player.log.folder)
                await reader.until(lambda parts: parts["trouble"] is None)

    run(story())


def test_a_finished_run_is_shown_to_this_host_alone_and_changed_by_nobody(tmp_path: Path) -> None:
    """Its figures are the report's, names stay text; other hosts, pages of others and every change are refused, each answer has its policy."""
    trial = Trial(tmp_path)
    experiment = trial.experiment(trial.log(usual()))
    experiment.write_text(experiment.read_text().replace("[strategies.cross]", '[strategies."<img src=x>"]'))
    trial.run(experiment)
    folder = tmp_path / "run1"

    async def story() -> None:
        async with shown(folder) as url, aiohttp.ClientSession() as http:
            async with reading(http, url) as reader:
                await reader.until(lambda parts: "slow" in parts)
                made = report(Wanted([folder], trades=0), tmp_path / "page.html", advance=quiet)
                assert reader.rows("slow", "Key figures") == [list(row) for row in made.key_figures.rows]
                assert (reader.parts["head"]["state"], reader.parts["head"]["proven"]) == ("finished", True)
                assert reader.parts["troubles"] == []
                assert reader.rows("earned", "Strategies")[0][0] == "<img src=x>"
            for path in ("", "page.css", "palette.css", "page.js"):
                async with http.get(url + path) as answer:
                    assert (answer.status, "<img" in await answer.text()) == (200, False)
                    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self';")
                    assert answer.headers["Cache-Control"] == "no-store"
            for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
                for path in ("", "events"):
                    async with http.get(url + path, headers=headers) as answer:
                        assert (answer.status, answer.headers["X-Content-Type-Options"]) == (403, "nosniff")
            async with http.post(
                f"{url}kill", data='{"level": "stop"}', headers={"Origin": url.removesuffix("/"), HEADER: ""}
            ) as answer:
                assert (answer.status, "read-only" in await answer.text()) == (403, True)
            for method, path, code in (
                ("PUT", "kill", 405),
                ("POST", "", 405),
                ("GET", "kill", 405),
                ("GET", "../manifest.jsonl", 404),
            ):
                async with http.request(method, url + path) as answer:
                    assert answer.status == code

    run(story())
    rewrite(folder, "feed_states", lambda rows: [{**row, "score": row["score"] - 1} for row in rows])

    async def changed() -> None:
        async with shown(folder) as url, aiohttp.ClientSession() as http, reading(http, url) as reader:
            await reader.until(lambda parts: "slow" in parts)
            assert not reader.parts["head"]["proven"]
            assert "valued at the prices of the last fills" in reader.parts["troubles"][0]
            made = report(Wanted([folder], trades=0), tmp_path / "changed.html", advance=quiet)
            assert reader.rows("slow", "Key figures") == [list(row) for row in made.key_figures.rows]

    run(changed())


def test_a_slow_listener_gets_the_newest_state_and_holds_up_nobody(tmp_path: Path) -> None:
    """States that it did not take are not kept for it; what is as it was is not said again; beyond the bound nobody more may listen."""

    async def story() -> None:
        hub = Hub()
        for number in range(1_000):
            hub.tell({"tiles": b"%d" % number, "head": b"same"})
        since, parts = await hub.news(0)
        assert parts == {"tiles": b"999", "head": b"same"}
        hub.tell({"tiles": b"999", "head": b"same"})
        waiting = asyncio.ensure_future(hub.news(since))
        await asyncio.sleep(0)
        assert not waiting.done()
        hub.tell({"head": b"other"})
        assert (await waiting)[1] == {"head": b"other"}
        hub.close()
        assert (await hub.news(since + 10))[1] == {}

    run(story())
    trial = Trial(tmp_path)
    trial.run(trial.experiment(trial.log(usual())))

    async def crowd() -> None:
        connector = aiohttp.TCPConnector(limit=0)
        async with shown(tmp_path / "run1") as url, aiohttp.ClientSession(connector=connector) as http:
            answers = [await http.get(f"{url}events") for _ in range(LISTENERS + 1)]
            assert [one.status for one in answers] == [200] * LISTENERS + [503]
            for one in answers:
                one.close()

    run(crowd())


def test_wrong_use_is_named(tmp_path: Path) -> None:
    """No log, a log without a start, a run with a token, ports that are none or taken."""
    trial = Trial(tmp_path)
    trial.run(trial.experiment(trial.log(usual())))
    recording = tmp_path / "recording"
    small_log(recording)
    taken = socket.create_server(("127.0.0.1", 0))
    with taken:
        port = str(taken.getsockname()[1])
        for words, said in (
            ([str(tmp_path / "nothing")], "nothing"),
            ([str(recording)], "without a start"),
            ([str(tmp_path / "run1"), "--token"], "finished"),
            ([str(tmp_path / "run1"), "--port", "65536"], "65535"),
            ([str(tmp_path / "run1"), "--port", "x"], "--port"),
            ([str(tmp_path / "run1"), "--port", port], "in use"),
        ):
            done = CliRunner().invoke(app, ["dashboard", *words])
            assert (done.exit_code != 0, said in str(done.exception) + done.output) == (True, True), (words, done.exception)
