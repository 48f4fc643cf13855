"""`xarb kill --config` where the log or its process is in trouble: orders go first, and what is wrong is said then."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from tests.live.site import QUICK, Site, account_order, filled, left_order, site, statuses, traded
from tests.serve.site import SECRET
from tests.trial import quiet
from xarb.config import load_experiment
from xarb.errors import ConfigError, Killed, LogError, Refused
from xarb.live import canceling, requests
from xarb.live import kill as kill_module
from xarb.live.begin import past_of
from xarb.live.holder import Holder
from xarb.live.kill import kill
from xarb.log.check import verify_log
from xarb.log.claim import LOCK
from xarb.log.journal import HEAD, journals, read_opening
from xarb.log.livelog import LiveLog
from xarb.log.manifest import header_of
from xarb.log.openreader import OpenReader
from xarb.log.reader import EVERYTHING, LogReader, Selection
from xarb.log.rows import from_table
from xarb.model.columns import TABLES
from xarb.model.units import parse_money
from xarb.venues.account import Account
from xarb.venues.killing import Killed as Ended
from xarb.venues.killing import Suspects
from xarb.venues.killing import kill as cancel_there
from xarb.venues.liveorders import Expected
from xarb.venues.orderids import OrderName
from xarb.verbs.verify import verify

WAIT_S = 120


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


@pytest.mark.parametrize(
    ("level", "said_first"), [("stop", "has not ended"), ("cancel", "does not show it"), ("entries", "--config")]
)
def test_a_kill_cancels_what_a_process_that_hangs_left_open(tmp_path: Path, level: str, said_first: str) -> None:
    """The writer lives and does not obey: after the wait its orders go at the exchanges, and the error says that it is there still."""
    log = tmp_path / "log"

    async def story() -> None:
        async with site(tmp_path) as at:
            mine = await left_order(at, log)
            with LiveLog.open(log, QUICK):
                with pytest.raises(Refused, match=said_first):
                    await asyncio.to_thread(lambda: kill(log, wait_s=0.1, level=level))
                with pytest.raises(LogError, match=r"being written.*kill -KILL") as said:
                    await asyncio.to_thread(lambda: kill(log, wait_s=0.1, level=level, experiment=load_experiment(at.config)))
                assert mine in str(said.value)
            assert (await statuses(at, "alpha"))[mine] == "CANCELED"

    asyncio.run(story())


@contextlib.asynccontextmanager
async def trading(at: Site, log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that trades, once it has sent an order."""
    at.config.write_text(at.config.read_text().replace("[live]\n", "[live]\nhang_ms = 600_000\n"))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.live.endless", str(at.config), str(log), str(log.with_suffix(".never"))),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    try:
        async with asyncio.timeout(WAIT_S):
            while not await at.ask("alpha", "orders"):
                assert process.returncode is None
                await asyncio.sleep(0.05)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def told(reader: LogReader, select: Selection = EVERYTHING) -> list[dict[str, object]]:
    """Its commands and starts."""
    columns = [column.name for column in TABLES["commands"].columns]
    commands = [row for part in reader.tables("commands", columns, select) for row in from_table("commands", part)]
    return commands + list(reader.rows("starts"))


def test_a_process_that_hangs_sends_nothing_after_a_kill(tmp_path: Path) -> None:
    """It stands and is continued after the kill: it is gone, its orders are, and no start follows. Its log was read as it is when sealed."""
    log = tmp_path / "log"

    open_rows, last = list[dict[str, object]](), -1

    async def story() -> None:
        nonlocal open_rows, last
        async with site(tmp_path) as at, trading(at, log) as process:
            process.send_signal(signal.SIGSTOP)
            with OpenReader(log) as reader:
                last = reader.last_seq
                open_rows = told(reader)
            mine = f"{header_of(log).log_id[:8]}-1-9999"
            await account_order(at, "alpha", mine)
            lacking = load_experiment(at.config, {"live.keys": '{ "main.alpha" = "nowhere.toml" }'})
            with pytest.raises(ConfigError, match=r"nowhere\.toml"):
                await asyncio.to_thread(kill, log, wait_s=0.2, experiment=lacking)
            assert process.returncode is None, "what lacks keys does nothing"
            assert not (log / requests.FLAG).exists()
            [table] = await asyncio.to_thread(lambda: kill(log, wait_s=0.2, experiment=load_experiment(at.config)))
            before = await statuses(at, "alpha") | await statuses(at, "bravo")
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGCONT)
            async with asyncio.timeout(WAIT_S):
                assert await process.wait() == -signal.SIGKILL
            await asyncio.sleep(1.1)  # in which the market offers a bundle
            assert before == await statuses(at, "alpha") | await statuses(at, "bravo")
            assert before[mine] == "CANCELED"
            assert not {"NEW", "PARTIALLY_FILLED"} & {*before.values()}
            assert [row[3] for row in table.rows] == ["-", "-"]
            assert not (log / requests.FLAG).exists()
            assert verify_log(log).ok, "what it was asked for is not left behind"
            with pytest.raises(Killed, match="hung and was ended"):
                await traded(at, log, filled(1))

    asyncio.run(story())
    assert verify_log(log).ok
    assert verify(log, advance=quiet).equal
    with LogReader(log) as reader:
        assert open_rows == told(reader, Selection(last_seq=last))
        assert len(open_rows) > 2


def test_a_process_without_the_log_is_not_ended(tmp_path: Path) -> None:
    """The lock names a process that does not have it, as after a number was given anew; itself; and nobody: each is said."""
    log = tmp_path / "log"
    log.mkdir()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        for named, said in ((str(other.pid), "does not have it open"), (str(os.getpid()), "has it itself"), ("", "does not say")):
            (log / LOCK).write_text(named)
            with pytest.raises(Refused, match=said), Holder(log):
                pass
        assert other.poll() is None
        other.communicate(b"\n", timeout=WAIT_S)
        assert other.returncode == 0


def test_a_process_that_does_not_trade_goes_on(tmp_path: Path) -> None:
    """Whoever writes on a log whose last start has ended, such as a recorder, is left alone; the log's orders go all the same."""
    log = tmp_path / "log"
    writer = (
        "import sys; from pathlib import Path; from xarb.log.livelog import LiveLog\n"
        "with LiveLog.open(Path(sys.argv[1])): print(flush=True); input()\n"
    )

    async def story() -> None:
        async with site(tmp_path) as at:
            mine = await left_order(at, log)
            other = await asyncio.create_subprocess_exec(
                sys.executable, "-c", writer, str(log), stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            assert other.stdout is not None
            await asyncio.wait_for(other.stdout.readline(), WAIT_S)
            with pytest.raises(LogError, match="does not trade"):
                await asyncio.to_thread(lambda: kill(log, wait_s=0.1, experiment=load_experiment(at.config)))
            assert (await statuses(at, "alpha"))[mine] == "CANCELED"
            assert (log / requests.FLAG).exists()
            await asyncio.wait_for(other.communicate(b"\n"), WAIT_S)
            assert other.returncode == 0

    asyncio.run(story())


def noted(log: Path) -> list[str]:
    """The kills in a log, by their details."""
    with LogReader(log) as reader:
        return [row["detail"] for row in reader.rows("operator") if row["action"] == "kill"]


def test_a_kill_without_a_process_goes_as_far_as_its_level(tmp_path: Path) -> None:
    """`entries` is noted and cancels nothing, also without a config; the others cancel; `unwind` says who undoes what is left. All hold."""
    log = tmp_path / "log"

    async def story() -> None:
        async with site(tmp_path) as at:
            mine = await left_order(at, log)
            experiment = load_experiment(at.config)
            assert await asyncio.to_thread(lambda: kill(log, wait_s=1, level="entries", experiment=experiment)) == []
            assert await asyncio.to_thread(lambda: kill(log, wait_s=1, level="entries")) == []
            assert (await statuses(at, "alpha"))[mine] == "NEW"
            [canceled] = await asyncio.to_thread(lambda: kill(log, wait_s=1, level="cancel", experiment=experiment))
            assert (await statuses(at, "alpha"))[mine] == "CANCELED"
            assert mine in {row[2] for row in canceled.rows}
            await account_order(at, "bravo", mine)
            _, undone = await asyncio.to_thread(lambda: kill(log, wait_s=1, level="unwind", experiment=experiment))
            assert (await statuses(at, "bravo"))[mine] == "CANCELED"
            assert "the next start, which is refused until --reset, takes it up" in undone.rows[0][1]
            with pytest.raises(Killed, match="without a process"):
                await traded(at, log, filled(1))

    asyncio.run(story())
    by = f"without a process, by {tmp_path / 'live.toml'}"
    assert noted(log) == ["entries: without a process"] * 2 + [f"cancel: {by}", f"unwind: {by}"]


def test_an_account_that_breaks_keeps_no_other_from_being_dealt_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is raised at one exchange, the other's order goes, and what was raised is said without a secret."""
    log = tmp_path / "log"

    async def breaks(account: Account, suspects: Suspects) -> Ended:
        if account.client.urls["api"]["private"].startswith(broken[0]):
            raise RuntimeError(f"a bug that tells {SECRET}")
        return await cancel_there(account, suspects)

    broken: list[str] = []

    async def story() -> None:
        async with site(tmp_path) as at:
            mine = await left_order(at, log)
            await account_order(at, "bravo", mine)
            broken.append(next(one.rest for one in at.server.addresses if one.venue == "alpha"))
            monkeypatch.setattr(canceling, "kill", breaks)
            with pytest.raises(
                Refused, match=r"NOT PROVEN: main at alpha: not known: RuntimeError: a bug that tells \*\*\*; try again"
            ) as said:
                await asyncio.to_thread(lambda: kill(log, wait_s=1, experiment=load_experiment(at.config)))
            assert f"main at bravo: {mine}" in str(said.value)
            assert (await statuses(at, "bravo"))[mine] == "CANCELED"

    asyncio.run(story())


def test_a_process_that_ends_before_it_obeys_is_treated_as_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It let the log go when it was asked: at once, not after the wait, the level is noted and its orders are canceled.

    After one that obeyed, orders whose fate it did not know are looked up, named where no config is given, and not proven where it lacks
    their account.
    """
    log = tmp_path / "log"

    async def story() -> None:
        async with site(tmp_path) as at:
            mine = await left_order(at, log)
            writer = LiveLog.open(log, QUICK)
            ask = requests.ask

            def ended(folder: Path, action: requests.Action, level: str = "stop") -> requests.Request:
                request = ask(folder, action, level)
                writer.close()
                return request

            monkeypatch.setattr(requests, "ask", ended)
            await asyncio.to_thread(lambda: kill(log, wait_s=600, level="cancel", experiment=load_experiment(at.config)))
            assert (await statuses(at, "alpha"))[mine] == "CANCELED"
            noted_first.extend(noted(log))
            # one that obeyed, and could not tell what became of an order that no list shows
            await account_order(at, "bravo", f"{mine[:-4]}8888")
            past = past_of(log)
            unknown = Expected(
                name=OrderName(1, 8888),
                account="main",
                strategy="cross",
                venue="bravo",
                symbol="BTC/USDT",
                side="buy",
                qty=parse_money("0.5"),
            )
            obeyed = past._replace(killed=f"{requests.who()}: stop", left=(unknown,))
            monkeypatch.setattr(kill_module, "past_of", lambda _: obeyed)
            writer = LiveLog.open(log, QUICK)
            with pytest.raises(Refused, match="the fate of these is not known: start 1 order 8888 at bravo"):
                await asyncio.to_thread(kill, log, wait_s=600)
            writer = LiveLog.open(log, QUICK)
            [table] = await asyncio.to_thread(lambda: kill(log, wait_s=600, experiment=load_experiment(at.config)))
            assert {row[1]: row[2] for row in table.rows} == {"alpha": "-", "bravo": f"{mine[:-4]}8888"}
            strange = obeyed._replace(left=(msgspec.structs.replace(unknown, account="other"),))
            monkeypatch.setattr(kill_module, "past_of", lambda _: strange)
            writer = LiveLog.open(log, QUICK)
            with pytest.raises(Refused, match=r"NOT PROVEN: other at bravo: start 1 order 8888: .*live\.toml has no such account"):
                await asyncio.to_thread(lambda: kill(log, wait_s=600, experiment=load_experiment(at.config)))

    noted_first: list[str] = []
    asyncio.run(asyncio.wait_for(story(), 120))
    assert noted_first == ["cancel: the process had ended"]


def test_a_log_that_cannot_even_get_its_flag_is_said_to(tmp_path: Path) -> None:
    """The error keeps its own words, and says whether the next start is kept back."""
    said = requests.hold_back(tmp_path, LogError("the disk is gone"))
    assert (tmp_path / requests.FLAG).read_bytes() == b""
    assert "the disk is gone; " in str(said)
    assert "keeps back its next start" in str(said)
    said = requests.hold_back(tmp_path / "nowhere", LogError("the disk is gone"))
    assert "NOTHING KEEPS BACK ITS NEXT START" in str(said)
