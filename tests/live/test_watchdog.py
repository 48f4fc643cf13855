"""A loop that hangs or lags: the process beside it cancels its orders and ends it; a lag ends new bundles."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path

import pytest

from tests.live.endless import HUNG
from tests.live.site import QUICK, VENUES, account_at, filled, rest, site, statuses, traded
from tests.serve.site import KEY, SECRET
from tests.trial import quiet
from xarb.board import Board
from xarb.config import load_experiment
from xarb.errors import Killed
from xarb.live.guard import BEAT, FAREWELL, Guard, Pulse, Secret, Wish
from xarb.live.session import EVENT_LOOP, Session
from xarb.live.watchdog import Purse, attempt, is_silent, send, stacks_of
from xarb.log.check import verify_log
from xarb.log.manifest import header_of
from xarb.log.reader import LogReader
from xarb.starts import LIVE
from xarb.venues.clock import Clock
from xarb.venues.feeds import Feeds
from xarb.venues.keys import Keys
from xarb.verbs.verify import verify

WAIT_S = 120
ROOT = Path(__file__).parents[2]


def told_to_child(pid: int) -> bytes:
    """Command lines and environments of a process's children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return b"".join(Path(f"/proc/{child}/{name}").read_bytes() for child in children for name in ("cmdline", "environ"))


async def until(seen: Callable[[], bool]) -> None:
    """Wait for what a file shows."""
    async with asyncio.timeout(WAIT_S):
        while not seen():  # noqa: ASYNC110  # files have no event
            await asyncio.sleep(0.05)


def test_a_strategy_that_never_returns_leaves_no_order(tmp_path: Path) -> None:
    """Its stack is told, a resting order of the log goes at the exchange, the process ends, and no start follows before a reset.

    The keys that it read at its start are gone by then, as a passphrase is that a person typed: the process beside it was handed them.
    """
    log, flag = tmp_path / "log", tmp_path / "hang"

    async def story() -> None:
        async with site(tmp_path) as at:
            keys = at.config.with_name("keys.toml")
            keys.touch(mode=0o600)
            keys.write_text(f'api_key = "{KEY}"\napi_secret = "{SECRET}"\n')
            named = "".join(f'keys."main.{venue}" = "keys.toml"\n' for venue in VENUES)
            config = at.config.with_name("with-keys.toml")
            config.write_text(at.config.read_text().replace("[live]\n", f"[live]\nhang_ms = 2500\n{named}"))
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.live.endless", str(config), str(log), str(flag)),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env={name: text for name, text in os.environ.items() if SECRET not in text} | {"PYTHONPATH": str(ROOT)},
            )
            async with asyncio.timeout(WAIT_S):
                while not await at.ask("alpha", "orders"):
                    assert process.returncode is None
                    await asyncio.sleep(0.05)
            keys.unlink()  # from here on none but the two processes have them
            child = told_to_child(process.pid)
            assert b"xarb.live.watchdog" in child
            assert SECRET.encode() not in child
            mine = f"{header_of(log).log_id[:8]}-1-9999"
            async with account_at(at, "alpha") as account:
                flag.touch()
                await until(flag.with_suffix(HUNG).exists)
                await rest(account, mine)  # not before: it would be canceled as one that came to life again
                await rest(account, "somebody")
            async with asyncio.timeout(WAIT_S):
                _, said = await process.communicate()  # ends when the process beside it has ended too
            assert process.returncode == -signal.SIGKILL
            told = said.decode()
            assert "NO SIGN OF LIFE for 2.5 s" in told
            assert "in endless" in told
            assert f"canceled {mine}" in told
            stands = await statuses(at, "alpha")
            assert (stands[mine], stands["somebody"]) == ("CANCELED", "NEW")
            [stacks] = log.glob("hang-*.txt")
            assert "endless.py" in stacks.read_text()
            assert not (log / "KILL").exists()
            with pytest.raises(Killed, match=r"killed by watchdog: no sign of life for 2\.5 s; stacks in hang-"):
                await traded(at, log, filled(1))

    asyncio.run(story())
    assert verify_log(log).ok
    assert verify(log, advance=quiet).equal


def test_a_loop_that_lags_ends_new_bundles(tmp_path: Path) -> None:
    """A kill to `entries` with its figure, and a reading of it; the process goes on, and ends as one that was killed."""
    log = tmp_path / "log"
    bundles: list[int] = []

    async def story() -> None:
        async with site(tmp_path) as at:
            at.config.write_text(at.config.read_text().replace("[live]\n", "[live]\nmax_loop_lag_ms = 700\n"))
            session = Session(load_experiment(at.config), log, mode=LIVE, policy=QUICK)
            task = asyncio.create_task(session.run(None, Board(None)))
            await until(lambda: task.done() or (hasattr(session, "summary") and filled(1)(session)))
            await asyncio.sleep(2 * Pulse.PERIOD_S)  # the pulse has begun
            time.sleep(1.2)  # noqa: ASYNC251  # this is the lag
            await until(lambda: task.done() or session.assembly.engine.execution.killed == "entries")
            bundles.append(session.summary.bundles)
            await asyncio.sleep(1.1)  # in which the market offers a bundle
            bundles.append(session.summary.bundles)
            assert session.was_killed
            os.kill(os.getpid(), signal.SIGINT)
            await task

    asyncio.run(story())
    with LogReader(log) as reader:
        [kill] = [row for row in reader.rows("operator") if row["action"] == "kill"]
        lags = [row["value"] for row in reader.rows("health") if row["metric"] == "loop_late_ns"]
    assert kill["actor"] == EVENT_LOOP
    assert re.fullmatch(r"entries: the event loop lagged \d+ ms behind, allowed are 700", kill["detail"])
    assert bundles[0] == bundles[1], "no bundle began behind the kill"
    assert max(lags) >= 100_000_000  # of a look once a second, which the lag may have begun before
    assert verify(log, advance=quiet).equal


class _Listening(Guard):
    """Notes when it is told something, without a process beside this one."""

    def __init__(self) -> None:
        self.heard: list[tuple[float, bytes]] = []
        self.is_gone = False

    def entrust(self, keys: Mapping[tuple[str, str], Secret]) -> None:
        """Nobody is there to have them."""
        assert keys

    def _say(self, word: bytes) -> None:
        self.heard.append((time.monotonic(), word))


def test_a_loop_that_waits_for_goodbyes_is_not_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections that take two seconds to end at a stop: it beats until then, and only then says farewell."""
    guard, run = _Listening(), Feeds.run

    async def slow(feeds: Feeds) -> None:
        try:
            await run(feeds)
        finally:
            await asyncio.sleep(2)

    monkeypatch.setattr(Feeds, "run", slow)

    async def story() -> None:
        async with site(tmp_path) as at:
            session = Session(load_experiment(at.config), tmp_path / "log", mode=LIVE, policy=QUICK, guard=guard)
            task = asyncio.create_task(session.run(None, Board(None)))
            await until(lambda: task.done() or len(guard.heard) > 1)
            os.kill(os.getpid(), signal.SIGINT)
            await task

    asyncio.run(story())
    times = [at for at, _ in guard.heard]
    assert max(later - before for before, later in pairwise(times)) < 1.5
    assert [word for _, word in guard.heard].index(FAREWELL) == len(times) - 1


@pytest.mark.parametrize(("step_ms", "is_killed"), [(-1_501, True), (1_499, False)])
def test_a_clock_that_is_set_ends_new_bundles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step_ms: int, *, is_killed: bool
) -> None:
    """A kill to `entries` with its figure where the wall clock was set by more than is allowed, either way; it holds over starts."""
    log = tmp_path / "log"
    steps: list[int | None] = []

    async def story() -> None:
        async with site(tmp_path) as at:
            at.config.write_text(at.config.read_text().replace("[live]\n", "[live]\nmax_clock_jump_ms = 1500\n"))
            monkeypatch.setattr(Clock, "step", lambda _: steps.pop() if steps else None)
            session = Session(load_experiment(at.config), log, mode=LIVE, policy=QUICK)
            task = asyncio.create_task(session.run(None, Board(None)))
            await until(lambda: task.done() or (hasattr(session, "summary") and filled(1)(session)))
            steps.extend([None, step_ms * 1_000_000])
            await until(lambda: task.done() or not steps)
            assert session.was_killed == is_killed
            if is_killed:
                await until(lambda: task.done() or session.assembly.engine.execution.killed == "entries")
            os.kill(os.getpid(), signal.SIGINT)
            await task
            if is_killed:
                with pytest.raises(Killed, match=r"killed by wall clock: the wall clock was set by -1501 ms, allowed are 1500"):
                    await traded(at, log, filled(1))

    asyncio.run(story())
    assert verify(log, advance=quiet).equal


@pytest.mark.parametrize(
    ("words", "expected"),
    [((BEAT, BEAT), [True]), ((BEAT, FAREWELL), [False]), ((), [])],
)
def test_silence_counts_from_the_first_beat_to_the_farewell(words: tuple[bytes, ...], expected: list[bool]) -> None:
    """Without a beat nothing is silent, however long it lasts; the end of the process is no silence."""
    out, into = os.pipe()
    found: list[bool] = []
    watching = threading.Thread(target=lambda: found.append(is_silent(out, 0.3)))
    for word in words:
        os.write(into, word)
    watching.start()
    watching.join(WAIT_S if expected else 1)
    assert found == expected
    os.close(into)
    watching.join(WAIT_S)
    os.close(out)
    assert found == (expected or [False])


def test_what_no_error_of_ours_says_keeps_nothing_from_being_done(capsys: pytest.CaptureFixture[str]) -> None:
    """A library's own error while orders are canceled is said; the stopped process is ended all the same."""
    assert not attempt(lambda: int("x"))
    assert "ValueError: invalid literal" in capsys.readouterr().err
    assert attempt(lambda: 1)


def test_no_signal_meets_another_than_who_started_it() -> None:
    """Once the parent has ended, and the number is another's, nothing is sent."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        send(other.pid, signal.SIGKILL)
        other.communicate(b"\n", timeout=WAIT_S)
        assert other.returncode == 0


def test_stacks_of_a_slow_process_are_waited_for() -> None:
    """A process that gets to write them only half a second after it was asked is heard."""
    out, into = os.pipe()
    slow = (
        "import os, signal, sys, time\n"
        "def tell(*_):\n"
        "    time.sleep(0.6); os.write(int(sys.argv[1]), b'in slow')\n"
        "signal.signal(signal.SIGUSR2, tell); print(flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", slow, str(into)], pass_fds=(into,), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        wish = Wish(config="", overrides={}, folder="", pid=process.pid, hang_ms=1000, stacks=out, keys=-1)
        assert stacks_of(wish) == "in slow"
        process.kill()
    os.close(into)
    os.close(out)


def test_a_pulse_beats_and_measures() -> None:
    """What is above the bound is told, what comes in time or nearly is not; without a bound nothing is."""
    now = [0]
    beats: list[int] = []
    late: list[int] = []
    pulse = Pulse(lambda: beats.append(now[0]), late.append, bound_ms=500, clock=lambda: now[0])
    for lag in (0, 400_000_000, 500_000_000, 500_000_001, 0):
        now[0] += 250_000_000 + lag
        pulse.look()
    assert len(beats) == 5
    assert late == [500_000_001]
    loose = Pulse(lambda: None, late.append, bound_ms=0, clock=lambda: now[0])
    now[0] += 10**12
    loose.look()
    assert len(late) == 1


def test_a_guard_runs_nothing_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files there that are named as modules are left alone; what goes through the pipe comes out once."""
    for name in ("json", "xarb", "msgspec", "os"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(7)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)  # "." in it is a wish
    config = tmp_path / "live.toml"
    config.write_text("[live]\nhang_ms = 60000\n")
    guard = Guard(load_experiment(config), tmp_path)
    guard.beat()
    guard.entrust(
        {("main", "alpha"): Keys("alpha", "main", {"api_key": KEY, "api_secret": SECRET * 5_000})}
    )  # more than a pipe holds
    guard.end()
    assert guard._process.returncode == 0


def test_entrusted_keys_are_whole_or_none() -> None:
    """Those of a pipe that ended are taken; of one that has not, or that ends within them, or says nothing, none are."""
    whole = b'[{"account":"main","venue":"alpha","values":{"api_key":"hidden"}}]'
    for data, ends, expected in ((whole, True, 1), (whole, False, None), (whole[:-2], True, None), (b"", True, None)):
        out, into = os.pipe()
        purse = Purse(out)
        os.write(into, data)
        if ends:
            os.close(into)
        for _ in range(2 if data and ends else 1):
            if data or ends:
                purse.take()
        told = purse.entrusted()
        assert (None if told is None else len(told)) == expected
        assert "hidden" not in f"{told}{purse}"
        if not ends:
            os.close(into)
            os.close(out)


def test_a_guard_ends_with_its_process(tmp_path: Path) -> None:
    """Let go it ends at once; one that died is noticed, and breaks nothing."""
    config = tmp_path / "live.toml"
    config.write_text("[live]\nhang_ms = 1000\n")
    guard = Guard(load_experiment(config), tmp_path)
    guard.beat()
    assert not guard.is_gone
    guard.end()
    other = Guard(load_experiment(config, {"live.hang_ms": "2000"}), tmp_path)
    other._process.kill()
    other._process.wait()
    other.beat()
    assert other.is_gone
    other.end()
    assert not list(tmp_path.glob("hang-*"))


def test_a_watching_process_that_is_gone_is_told_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nobody would end this one if it hung: a reading says so, however long that lasts."""
    monkeypatch.setattr(Pulse, "PERIOD_S", 0.01)
    told: list[tuple[object, ...]] = []

    class Told:
        def health(self, *reading: object) -> None:
            told.append(reading)

    class Gone:
        is_gone, beats = True, 0

        def beat(self) -> None:
            self.beats += 1

    path = tmp_path / "live.toml"
    path.write_text('[live]\nmax_loop_lag_ms = 0\n[markets.alpha]\nexchange = "binance"\nsymbols = ["BTC/USDT"]\n')
    guard = Gone()

    async def story() -> None:
        session = Session(load_experiment(path), tmp_path / "log", mode=LIVE, policy=QUICK, guard=guard)  # type: ignore[arg-type]
        session.intake = Told()  # type: ignore[assignment]
        session._has_armed.set()
        beating = asyncio.ensure_future(session._beat())
        async with asyncio.timeout(30):
            while guard.beats < 3:  # noqa: ASYNC110  # no event
                await asyncio.sleep(0.01)
        beating.cancel()

    asyncio.run(story())
    assert [reading[:3] for reading in told] == [("watchdog_gone", 1, None)]
