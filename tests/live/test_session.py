"""Sessions of live trading on paper against two exchanges on loopback: real sockets, real time, and a proof afterwards."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.live.player import Player as Paper
from tests.log.logs import small_log
from tests.venues.player import Player
from xarb.board import Board
from xarb.config import load_experiment
from xarb.engine.liverows import ARM, DISARM, KILL
from xarb.errors import ConfigError, Killed, LogError, Refused
from xarb.live import requests
from xarb.live.begin import check_may_start, past_of
from xarb.live.ending import Ending
from xarb.live.kill import kill, reset, stop
from xarb.live.session import Session
from xarb.log import journal, livelog
from xarb.log.check import verify_log
from xarb.log.checkpoints import checkpoint_paths
from xarb.log.committer import Policy
from xarb.log.disk import Disk
from xarb.log.livelog import LiveLog
from xarb.log.reader import LogReader
from xarb.starts import PAPER
from xarb.verbs.verify import verify

QUICK = Policy(reserve_bytes=4096, separate=False)
VENUES = ("alpha", "bravo")
CONFIG = """
[run]
currencies = ["USDT"]

[record]
frames = true

[live]
stop_ms = 10000

[breakers]
residual_held = false  # the market jumps to and fro, and trading is to go on

[strategies.cross]
kind = "micro"
min_profit_bps = 1
min_profit_quote = 0.01
max_notional_quote = 2000
cool_down_ms = 50
"""
VENUE = """
[markets.{name}]
exchange = "binance"
symbols = ["BTC/USDT"]
channels = ["quotes"]
rest_url = "{player.rest_url}"
stream_url = "{player.stream_url}"

[venues.{name}]
fees = "synthetic-{name}"
order_latency = {{ uniform_ms = [5, 15] }}
feed_latency = {{ constant_ms = 1 }}
response_latency = {{ constant_ms = 2 }}

[accounts.main.{name}]
USDT = 100000
BTC = 2
"""


def silent(done: int, total: int, note: str = "") -> None:
    """No progress."""


class Market:
    """Two exchanges whose prices part and meet again, many times a second."""

    def __init__(self, players: list[Player]) -> None:
        self.players = players
        self.sent = 0
        self._task: asyncio.Task[None] | None = None

    def config(self, folder: Path) -> Path:
        """The experiment file."""
        path = folder / "live.toml"
        path.write_text(
            CONFIG + "".join(VENUE.format(name=name, player=player) for name, player in zip(VENUES, self.players, strict=True))
        )
        return path

    async def move(self) -> None:
        """Quote for ever; every 40th step one of the two is 1 % higher for ten steps."""
        step = 0
        while True:
            step += 1
            for number, player in enumerate(self.players):
                apart = 600 if step % 40 < 10 and number == step // 40 % 2 else 0
                bid = 60_000 + step % 7 + apart
                data = {"u": step, "s": "BTCUSDT", "b": f"{bid:.8f}", "B": "1.50000000", "a": f"{bid + 1:.8f}", "A": "2.25000000"}
                text = json.dumps({"stream": "btcusdt@bookTicker", "data": data}, separators=(",", ":"))
                for socket in [*player.sockets]:
                    if not socket.closed:
                        with suppress(ConnectionError):  # of a process that was killed just now; the market goes on
                            await socket.send_str(text)
                            self.sent += 1
            await asyncio.sleep(0.005)


@asynccontextmanager
async def market() -> AsyncIterator[Market]:
    """A market that moves."""
    async with Player().serving() as one, Player().serving() as two:
        made = Market([one, two])
        task = asyncio.create_task(made.move())
        try:
            yield made
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def traded(
    config: Path,
    folder: Path,
    until: Callable[[Session], bool],
    end: Callable[[], Awaitable[None] | None],
    policy: Policy = QUICK,
) -> tuple[Session, Ending]:
    """Trade until something holds, then end it."""
    session = Session(load_experiment(config), folder, mode=PAPER, policy=policy)
    task = asyncio.create_task(session.run(None, Board(None)))
    async with asyncio.timeout(90):
        while not (task.done() or (hasattr(session, "summary") and until(session))):  # noqa: ASYNC110  # a session has no event for it
            await asyncio.sleep(0.02)
        if not task.done():
            end()
        return session, await task


def filled(count: int) -> Callable[[Session], bool]:
    """Whether so many bundles were opened and all have ended."""
    return lambda session: session.summary.bundles >= count and session.open_bundles() == 0


def interrupt() -> None:
    """Ctrl-C."""
    os.kill(os.getpid(), signal.SIGINT)


def acts(folder: Path) -> list[str]:
    """What the operator did."""
    with LogReader(folder) as reader:
        return [row["action"] for row in reader.rows("operator")]


def test_trading_on_paper_is_proven_and_goes_on(tmp_path: Path) -> None:
    """Two sessions into one log: both trade, both are reproduced byte for byte; money is carried over; every frame is in the log."""
    folder = tmp_path / "log"

    async def story() -> None:
        async with market() as made:
            config = made.config(tmp_path)
            first, ending = await traded(config, folder, filled(5), interrupt)
            assert ending.actor == "signal"
            assert all(0 < (first.score(stream) or 0) <= 1000 for stream in first.feeds.streams)
            second, _ = await traded(config, folder, filled(3), interrupt)
            assert second.assembly.opening == first.assembly.engine.portfolio.balances()

    asyncio.run(story())
    assert verify_log(folder).ok
    proof = verify(folder, advance=silent)
    assert [row[-1] for row in proof.tables[0].rows] == ["equal", "equal"]
    assert acts(folder) == [ARM, DISARM, "ended"] * 2
    with LogReader(folder) as reader:
        kinds = Counter(kind for kind, _ in reader.outputs())
        assert kinds["fills"] >= 8
        assert kinds["sim_reports"] >= kinds["fills"]
        assert reader.header.origin.startswith("live of ")
        assert sum(1 for _ in reader.rows("frames")) > 100


def test_what_is_sealed_while_it_trades_leaves_checkpoints(tmp_path: Path) -> None:
    """Over sockets, with raw messages: after two seals there are two checkpoints, the log is whole, each proves what came after it."""
    folder = tmp_path / "log"

    def two_checkpoints(session: Session) -> bool:
        return session.summary.bundles >= 5 and len(checkpoint_paths(folder)) >= 2

    async def story() -> None:
        async with market() as made:
            policy = Policy(reserve_bytes=4096, separate=False, seal_rows=2_000)
            await traded(made.config(tmp_path), folder, two_checkpoints, interrupt, policy)

    asyncio.run(story())
    assert verify_log(folder).ok
    for path in checkpoint_paths(folder):
        assert verify(folder, since=str(int(path.stem)), advance=silent).equal


def test_a_kill_from_another_shell_ends_it_and_holds_until_it_is_reset(tmp_path: Path) -> None:
    """The session ends as killed; another start is refused by name; after a reset it trades again."""
    folder = tmp_path / "log"

    async def story() -> None:
        async with market() as made:
            config = made.config(tmp_path)
            shell = threading.Thread(target=lambda: kill(folder, wait_s=20))
            _, ending = await traded(config, folder, filled(1), shell.start)
            shell.join()
            assert ending.killed
            with pytest.raises(Killed, match="killed by"):
                await traded(config, folder, filled(1), interrupt)
            reset(folder)
            with pytest.raises(Refused, match="not killed"):
                reset(folder)
            _, ending = await traded(config, folder, filled(1), interrupt)
            assert not ending.killed

    asyncio.run(story())
    assert acts(folder) == [ARM, KILL, "ended", "reset", ARM, DISARM, "ended"]
    assert verify(folder, advance=silent).equal


def test_below_a_stop_a_killed_process_goes_on_without_bundles(tmp_path: Path) -> None:
    """The command returns when the log has it; the process records on and ends by a stop, as killed; no start follows before a reset."""
    folder, after = tmp_path / "log", 0
    config = tmp_path / "live.toml"

    async def story() -> None:
        nonlocal config, after
        async with market() as made:
            config = made.config(tmp_path)
            session = Session(load_experiment(config), folder, mode=PAPER, policy=QUICK)
            running = asyncio.ensure_future(session.run(None, Board(None)))
            async with asyncio.timeout(60):
                while not hasattr(session, "summary") or not filled(1)(session):  # noqa: ASYNC110  # a session has no event for it
                    await asyncio.sleep(0.02)
                await asyncio.to_thread(kill, folder, wait_s=20, level="cancel")
                bundles, seen = session.summary.bundles, session.log.last
                while session.log.last < seen + 200:  # noqa: ASYNC110  # a session has no event for it
                    await asyncio.sleep(0.02)
                after = session.summary.bundles - bundles
                interrupt()
                assert not (await running).killed
                assert session.was_killed

    asyncio.run(story())
    assert after == 0
    assert acts(folder) == [ARM, KILL, DISARM, "ended"]
    with pytest.raises(Killed, match="killed by"):
        check_may_start(past_of(folder), PAPER)
    assert verify(folder, advance=silent).equal


@pytest.mark.parametrize(("text", "level"), [("", "stop"), ("unwind\n", "unwind"), ("nonsense", "stop"), ("\xff", "stop")])
def test_a_file_in_the_logs_folder_is_a_kill(tmp_path: Path, text: str, level: str) -> None:
    """Once; what it says is the level, and anything else the highest."""
    (tmp_path / requests.FLAG).write_bytes(text.encode("latin-1"))
    requests.forget(tmp_path, time.time_ns())
    [found] = requests.take(tmp_path)
    assert (found.action, found.level, found.actor) == ("kill", level, "the file KILL")
    assert requests.take(tmp_path) == []


def test_sigquit_is_a_kill(tmp_path: Path) -> None:
    """Where neither a shell nor the disk helps."""
    folder = tmp_path / "log"

    async def story() -> Ending:
        async with market() as made:
            _, ending = await traded(made.config(tmp_path), folder, filled(1), lambda: os.kill(os.getpid(), signal.SIGQUIT))
            return ending

    ending = asyncio.run(story())
    assert (ending.killed, ending.actor) == (True, "signal SIGQUIT")
    assert acts(folder) == [ARM, KILL, "ended"]


def test_orders_that_do_not_end_are_canceled_when_the_time_of_a_stop_is_up(tmp_path: Path) -> None:
    """`stop_ms`: with an exchange that takes a minute to answer, a stop waits so long, cancels, and ends."""
    folder = tmp_path / "log"

    async def story() -> float:
        async with market() as made:
            config = made.config(tmp_path)
            text = (
                config.read_text()
                .replace("uniform_ms = [5, 15]", "constant_ms = 60000")
                .replace("stop_ms = 10000", "stop_ms = 300")
            )
            config.write_text(text)
            began = 0.0

            def interrupted() -> None:
                nonlocal began
                began = time.monotonic()
                interrupt()

            await traded(config, folder, lambda session: session.open_bundles() > 0, interrupted)
            return time.monotonic() - began

    seconds = asyncio.run(story())
    assert 0.6 <= seconds < 20
    assert acts(folder) == [ARM, DISARM, "cancel", "ended"]
    with LogReader(folder) as reader:
        commands = [row["kind"] for kind, row in reader.outputs() if kind == "commands"]
    assert commands.count("cancel") == commands.count("submit") > 0
    assert verify(folder, advance=silent).equal


def test_a_full_disk_ends_trading_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reserve takes what becomes of orders: disarmed, open bundles ended, connections closed on record, sealed; and the error is told."""
    folder = tmp_path / "log"
    write = journal.write_whole
    full: list[bool] = []

    def fill(handle: int, data: bytes, disk: Disk) -> None:
        if full == [True]:
            full.append(False)
            raise OSError(errno.ENOSPC, "no space left")
        write(handle, data, disk)

    monkeypatch.setattr(livelog, "write_whole", fill)

    def until(session: Session) -> bool:
        if filled(1)(session) and not full:
            full.append(True)
        return False  # it ends by itself

    async def story() -> None:
        async with market() as made:
            with pytest.raises(LogError, match="disk is full"):
                await traded(made.config(tmp_path), folder, until, interrupt)

    asyncio.run(story())
    assert full == [True, False]
    assert (folder / "KILL").exists(), "a start that a supervisor makes is a killed one"
    LiveLog.open(folder, QUICK).close()  # a full disk has no room to seal: the next start does
    assert acts(folder) == [ARM, DISARM, "ended"]
    with LogReader(folder) as reader:
        closed = [row["venue"] for row in reader.rows("connections") if row["event"] == "closed"]
    assert sorted(closed) == ["alpha", "bravo"]
    assert verify_log(folder).ok
    assert verify(folder, advance=silent).equal


def test_nobody_to_ask_is_said(tmp_path: Path) -> None:
    """A stop or kill of a log on which nobody trades is refused, and leaves no request behind; a folder that is no log becomes none."""
    folder = small_log(tmp_path / "log")
    for ask in (stop, kill):
        with pytest.raises(Refused, match="no process"):
            ask(folder, wait_s=1)
    assert requests.take(folder) == []
    with pytest.raises(ConfigError, match="is no log"):
        kill(tmp_path, wait_s=1)
    assert [path.name for path in tmp_path.iterdir()] == ["log"]


def test_a_kill_goes_before_a_stop_that_is_under_way(tmp_path: Path) -> None:
    """The stop waits for open orders; a kill that comes meanwhile cancels them at once, and holds."""
    folder = tmp_path / "log"

    async def story() -> Ending:
        async with market() as made:
            config = made.config(tmp_path)
            text = config.read_text().replace("uniform_ms = [5, 15]", "constant_ms = 60000")
            config.write_text(text.replace("stop_ms = 10000", "stop_ms = 3000"))
            shell = threading.Thread(target=lambda: kill(folder, wait_s=20))

            def end() -> None:
                interrupt()
                asyncio.get_running_loop().call_later(0.5, shell.start)

            _, ending = await traded(config, folder, lambda session: session.open_bundles() > 0, end)
            await asyncio.to_thread(shell.join)
            return ending

    assert asyncio.run(story()).killed
    assert acts(folder) == [ARM, DISARM, KILL, "ended"]
    with LogReader(folder) as reader:
        commands = [row["kind"] for kind, row in reader.outputs() if kind == "commands"]
    assert commands.count("cancel") == commands.count("submit") > 0
    assert verify(folder, advance=silent).equal


def test_a_kill_that_the_process_did_not_live_to_see_is_noted(tmp_path: Path) -> None:
    """It lets the log go without having taken the request: no start follows all the same."""
    folder = tmp_path / "log"
    player = Paper(folder)
    shell = threading.Thread(target=lambda: kill(folder, wait_s=20))
    shell.start()
    assert requests.wait_until(lambda: any(folder.glob(".request-*")), 20)
    player.end()
    shell.join()
    assert not any(folder.glob(".request-*"))
    past = past_of(folder)
    assert past.killed is not None
    with pytest.raises(Killed, match="killed by"):
        check_may_start(past, PAPER)
    assert verify(folder, advance=silent).equal


def test_a_kill_is_taken_back_while_it_is_only_in_the_journal(tmp_path: Path) -> None:
    """The process was killed by request and then died: the log is mended first, so that reset and start agree."""
    folder = tmp_path / "log"
    player = Paper(folder)
    player.act(KILL)
    player.log.abandon()
    assert reset(folder) == "test"
    assert past_of(folder).killed is None
    assert verify(folder, advance=silent).equal


def test_what_is_being_stopped_is_armed_no_more(tmp_path: Path) -> None:
    """The stop comes before the markets speak, and takes until they do."""

    class Slow(Session):
        async def _reconcile(self, ending: Ending) -> None:
            while not all(stream.is_open and stream.meter.events for stream in self.feeds.streams):  # noqa: ASYNC110  # they have no event for it
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.3)

    async def story() -> None:
        async with market() as made:
            session = Slow(load_experiment(made.config(tmp_path)), tmp_path / "log", mode=PAPER, policy=QUICK)
            async with asyncio.timeout(60):
                await session.run(0, Board(None))

    asyncio.run(story())
    assert acts(tmp_path / "log") == [DISARM, "ended"]


def test_a_process_that_dies_while_trading_is_proven_and_followed(tmp_path: Path) -> None:
    """SIGKILL at some moment of real trading from the command line: the next session opens the log, both starts are proven."""
    folder = tmp_path / "log"

    async def story() -> None:
        async with market() as made:
            config = made.config(tmp_path)
            for seconds in (0.8, 1.9):
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "xarb", "live", str(config), "--out", str(folder), stdout=subprocess.DEVNULL
                )
                before = time.monotonic()
                while not (folder / "manifest.jsonl").exists() or made.players[1].subscribed.is_set() is False:
                    assert time.monotonic() - before < 40
                    await asyncio.sleep(0.05)
                await asyncio.sleep(seconds)
                process.kill()
                await process.wait()
                made.players[1].subscribed.clear()
            await traded(config, folder, filled(2), interrupt)

    asyncio.run(story())
    assert verify_log(folder).ok
    rows: list[Any] = list(verify(folder, advance=silent).tables[0].rows)
    assert [(row[0], row[-1]) for row in rows] == [("1", "equal"), ("2", "equal"), ("3", "equal")]
