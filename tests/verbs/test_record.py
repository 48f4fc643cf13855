"""The record verb against a served exchange on loopback: what is recorded, what each key does, and every way in which it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.log.aged import aged
from tests.venues.player import Player, ticker
from xarb.board import Board
from xarb.config import RecordConfig, load_experiment
from xarb.errors import ConfigError, LogError, Retryable
from xarb.log.check import verify_log
from xarb.log.committer import Policy
from xarb.log.info import info
from xarb.log.livelog import Latency, Stats
from xarb.log.manifest import Manifest, last_digest
from xarb.log.tombstones import ENGINE_INPUTS, FRAMES
from xarb.model.units import NANOS_PER_S
from xarb.sources import market_sources, seconds_of, sources_of
from xarb.venues.exchange import Place
from xarb.venues.feeds import Source
from xarb.venues.generic import GenericFeed
from xarb.venues.stream import Meter
from xarb.verbs.record import Recorder, RecordReport, report_tables

ROOT = Path(__file__).resolve().parents[2]
QUICK = Policy(reserve_bytes=0, separate=False)
QUIET = Board(None)


def run(test: Coroutine[Any, Any, None], seconds: float = 60) -> None:
    """Run a test's coroutine with a limit of time."""

    async def limited() -> None:
        async with asyncio.timeout(seconds):
            await test

    asyncio.run(limited())


def source(
    player: Player, *, symbols: tuple[str, ...] = ("BTC/USDT",), channels: tuple[str, ...] = (), place: Place | None = None
) -> Source:
    """The served exchange as a source."""
    place = place or Place(rest_url=player.rest_url, stream_url=player.stream_url)
    return Source(venue="binance", exchange="binance", symbols=symbols, channels=channels, place=place)


async def recorded(
    player: Player,
    folder: Path,
    story: Callable[[], Coroutine[Any, Any, None]],
    *,
    config: RecordConfig | None = None,
    sources: Sequence[Source] = (),
) -> RecordReport:
    """Record while `story` goes on, then stop as Ctrl-C does."""
    recorder = Recorder(sources or [source(player)], folder, config or RecordConfig(), QUICK)
    task = asyncio.create_task(recorder.run(None, QUIET))
    work = asyncio.create_task(story())
    await asyncio.wait({task, work}, return_when=asyncio.FIRST_COMPLETED)
    if not task.done():
        await work
        os.kill(os.getpid(), signal.SIGINT)
    return await task


def rows(folder: Path, kind: str) -> list[dict[str, Any]]:
    """All sealed rows of a kind, in order of seq."""
    found: list[dict[str, Any]] = []
    for entry in Manifest(folder).files:
        if entry.kind == kind:
            found += pq.read_table(folder / entry.path).to_pylist()
    return sorted(found, key=lambda row: row["seq"])


def test_a_recording_holds_what_was_sent_and_goes_on_where_it_ended(tmp_path: Path) -> None:
    """Two recordings into one log: seq goes on, the connection has a new number, the instrument is announced once, clocks are compared."""

    async def story() -> None:
        async with Player().serving() as player:
            numbers = iter(range(1, 10_000))

            async def send() -> None:
                socket = await player.next_subscription()
                for _ in range(100):
                    await socket.send_str(ticker(next(numbers)))
                await until_requested(player, "/api/v3/time")
                await asyncio.sleep(0.2)

            first = await recorded(player, tmp_path / "log", send)
            second = await recorded(player, tmp_path / "log", send)
            assert (first.first_seq, second.first_seq) == (0, first.last_seq + 1)
            assert first.digest != second.digest == last_digest(tmp_path / "log")

    run(story())
    assert verify_log(tmp_path / "log").ok
    assert [row["venue_seq"] for row in rows(tmp_path / "log", "quotes")] == list(range(1, 201))
    assert {row["conn"] for row in rows(tmp_path / "log", "quotes")} == {0, 1}
    assert len(rows(tmp_path / "log", "instruments")) == 1
    offsets = [row["value"] for row in rows(tmp_path / "log", "health") if row["metric"] == "clock_offset_ns"]
    assert len(offsets) == 2
    assert all(abs(offset) < 100_000_000 for offset in offsets)


def test_the_quality_of_each_feed_is_reported(tmp_path: Path) -> None:
    """A feed that spoke has a score, one that did not has none."""

    async def story() -> None:
        async with Player().serving() as player:

            async def send() -> None:
                socket = await player.next_subscription()
                await socket.send_str(ticker(1))
                await socket.close()
                await player.next_subscription()  # so what came before the end is recorded

            report = await recorded(player, tmp_path / "one", send, sources=[source(player, channels=("quotes",))])
            (score,) = [row[-1] for row in report.feeds.rows]
            assert 0 < int(score) <= 1000

            async def listen() -> None:
                await player.next_subscription()

            report = await recorded(player, tmp_path / "two", listen, sources=[source(player, channels=("quotes",))])
            assert [row[-1] for row in report.feeds.rows] == ["-"]

    run(story())


async def until_requested(player: Player, path: str) -> None:
    """Wait until somebody asked for a path."""
    while path not in player.requests:  # noqa: ASYNC110  # the server has no event for each path
        await asyncio.sleep(0.01)


def test_a_venue_may_be_a_second_instance_of_an_exchange(tmp_path: Path) -> None:
    """`exchange`, `rest_url` and `stream_url`: two venues of one log over the same wire, each from its own address."""
    config = tmp_path / "two.toml"

    async def story() -> None:
        async with Player().serving() as one, Player().serving() as two:
            config.write_text(
                "".join(
                    f'[markets.{name}]\nexchange = "binance"\nsymbols = ["BTC/USDT"]\nrest_url = "{player.rest_url}"\n'
                    f'stream_url = "{player.stream_url}"\nchannels = ["quotes"]\n'
                    for name, player in (("alpha", one), ("beta", two))
                )
            )

            async def send() -> None:
                for number, player in enumerate((one, two), 1):
                    socket = await player.next_subscription()
                    await socket.send_str(ticker(number))
                await asyncio.sleep(0.2)

            await recorded(one, tmp_path / "log", send, sources=market_sources(load_experiment(config)))

    run(story())
    quotes = rows(tmp_path / "log", "quotes")
    assert sorted((row["venue"], row["symbol"], row["venue_seq"]) for row in quotes) == [
        ("alpha", "BTC/USDT", 1),
        ("beta", "BTC/USDT", 2),
    ]
    assert {row["venue"] for row in rows(tmp_path / "log", "connections")} == {"alpha", "beta"}


def test_only_the_symbols_and_channels_that_are_named_are_subscribed(tmp_path: Path) -> None:
    """`symbols` and `channels` decide what is asked of the exchange; without channels it is all that there is."""

    async def story() -> None:
        async with Player().serving() as player:

            async def listen() -> None:
                await player.next_subscription()

            for number, (symbols, channels, wanted) in enumerate(
                [
                    (("BTC/USDT",), ("trades",), ["btcusdt@trade"]),
                    (("ETH/USDT",), (), ["ethusdt@bookTicker", "ethusdt@depth@100ms", "ethusdt@trade"]),
                ]
            ):
                player.heard.clear()
                sources = [source(player, symbols=symbols, channels=channels)]
                await recorded(player, tmp_path / f"log{number}", listen, sources=sources)
                assert json.loads(player.heard[0])["params"] == wanted

    run(story())


def test_raw_messages_may_be_left_out(tmp_path: Path) -> None:
    """`frames = false` keeps the events and no raw message."""

    async def story() -> None:
        async with Player().serving() as player:

            async def send() -> None:
                await (await player.next_subscription()).send_str(ticker(1))
                await asyncio.sleep(0.2)

            for name, frames in (("with", True), ("without", False)):
                await recorded(player, tmp_path / name, send, config=RecordConfig(frames=frames))

    run(story())
    assert (len(rows(tmp_path / "with", "frames")), len(rows(tmp_path / "without", "frames"))) == (2, 0)
    assert len(rows(tmp_path / "without", "quotes")) == 1


def test_raw_messages_are_the_first_to_go_when_the_disk_fills(tmp_path: Path) -> None:
    """Below `frames_free_mb` of free space they are left out, which is on record; events go on."""

    async def story() -> None:
        async with Player().serving() as player:
            recorder = Recorder([source(player)], tmp_path / "log", RecordConfig(frames_free_mb=10**9), QUICK)
            task = asyncio.create_task(recorder.run(None, QUIET))
            socket = await player.next_subscription()
            async with asyncio.timeout(20):
                while recorder.intake.keeps_frames:  # noqa: ASYNC110  # the disk is looked at once a second
                    await asyncio.sleep(0.02)
                await socket.send_str(ticker(1))
                while not recorder.intake.builder.counts["quotes"]:  # noqa: ASYNC110  # until it is there
                    await asyncio.sleep(0.02)
            os.kill(os.getpid(), signal.SIGINT)
            await task

    run(story())
    assert [row["value"] for row in rows(tmp_path / "log", "health") if row["metric"] == "frames_kept"] == [0]
    assert all(b"bookTicker" not in row["payload"] for row in rows(tmp_path / "log", "frames"))
    assert len(rows(tmp_path / "log", "quotes")) == 1


def test_old_data_make_a_connection_begin_anew(tmp_path: Path) -> None:
    """`max_age_ms` without a quote or book of an instrument: the connection is made anew, with the reason."""

    async def story() -> None:
        async with Player().serving() as player:

            async def wait() -> None:
                for _ in range(2):
                    await player.next_subscription()

            config = load_experiment(_file(tmp_path, "[record]\nmax_age_ms = 900\n")).record
            await recorded(player, tmp_path / "log", wait, config=config)

    run(story())
    details = [row["detail"] for row in rows(tmp_path / "log", "connections") if row["detail"]]
    assert any(detail.startswith("by us: no quote or book of BTC/USDT for ") for detail in details)


def _file(folder: Path, text: str) -> Path:
    path = folder / "config.toml"
    path.write_text(text)
    return path


def served(folder: Path, player: Player, more: str = "") -> Path:
    """A config that records one symbol of the served exchange."""
    place = f'rest_url = "{player.rest_url}"\nstream_url = "{player.stream_url}"\n'
    return _file(folder, f'[markets.binance]\nsymbols = ["BTC/USDT"]\n{place}{more}')


class Command:
    """`xarb` as a process of its own."""

    def __init__(self, process: Process) -> None:
        self.process = process

    @classmethod
    async def start(cls, *words: str) -> Command:
        """Start it."""
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable, "-m", "xarb", *words, cwd=ROOT, env=environment, stdout=PIPE, stderr=PIPE
            )
        )

    async def end(self) -> tuple[int | None, str, str]:
        """Its exit code, and what it said."""
        out, err = await self.process.communicate()
        return self.process.returncode, out.decode(), err.decode()


def test_the_command_seals_on_sigterm_and_keeps_a_second_writer_out(tmp_path: Path) -> None:
    """Exit code 0 and tables of what was written; while it ran, another recorder of the same log was refused."""

    async def story() -> None:
        async with Player().serving() as player:
            config = served(tmp_path, player)
            words = ("record", str(config), "--into", str(tmp_path / "log"))
            first = await Command.start(*words)
            socket = await player.next_subscription()
            await socket.send_str(ticker(1))
            code, _, err = await (await Command.start(*words)).end()
            assert (code, "is being written by another process" in err) == (1, True), err
            first.process.send_signal(signal.SIGTERM)
            code, out, err = await first.end()
            assert code == 0, err
            assert "quotes\t1" in out

    run(story())
    assert verify_log(tmp_path / "log").ok


def test_a_recording_prunes_what_its_config_does_not_keep(tmp_path: Path) -> None:
    """A log of years ago goes on: at the seal its raw messages and inputs go, as the file says, and what is new stays."""
    folder = aged(tmp_path / "log")
    old = Manifest(folder).last

    async def story() -> None:
        async with Player().serving() as player:
            config = served(tmp_path, player, "[retention]\nframes_days = 1\ninputs_days = 2\n")
            command = await Command.start("record", str(config), "--into", str(folder))
            await (await player.next_subscription()).send_str(ticker(1))
            while unsealed_quotes(folder) < 1:  # noqa: ASYNC110  # another process writes
                await asyncio.sleep(0.01)
            command.process.send_signal(signal.SIGTERM)
            code, _, err = await command.end()
            assert code == 0, err

    run(story())
    assert [stone.gone[0].kinds for stone in Manifest(folder).tombstones] == [FRAMES, ENGINE_INPUTS]
    assert verify_log(folder).findings == []
    for kind in ("quotes", "frames"):
        assert rows(folder, kind)[0]["seq"] > old
    assert len(rows(folder, "balances")) == 4


def test_a_killed_recording_opens_and_goes_on(tmp_path: Path) -> None:
    """After SIGKILL the log holds every frame that was there when the journal was last written, and the next start continues it."""

    async def story() -> None:
        async with Player().serving() as player:
            config = served(tmp_path, player)
            words = ("record", str(config), "--into", str(tmp_path / "log"))
            number = 0
            for _ in range(2):
                command = await Command.start(*words)
                socket = await player.next_subscription()
                for _ in range(500):
                    number += 1
                    await socket.send_str(ticker(number))
                while unsealed_quotes(tmp_path / "log") < 400:  # noqa: ASYNC110  # another process writes; the rest is under way
                    await asyncio.sleep(0.01)
                command.process.kill()
                await command.end()
            last = await Command.start(*words, "--duration", "500ms")
            code, _, err = await last.end()
            assert code == 0, err

    run(story())
    assert verify_log(tmp_path / "log").ok
    quotes = [row["venue_seq"] for row in rows(tmp_path / "log", "quotes")]
    assert quotes == sorted(set(quotes))
    for first in (1, 501):
        mine = [number for number in quotes if first <= number < first + 500]
        assert mine == list(range(first, first + len(mine)))
        assert len(mine) >= 400
    assert {row["conn"] for row in rows(tmp_path / "log", "connections")} == {0, 1, 2}


def unsealed_quotes(log: Path) -> int:
    """Quotes in the journals of a log."""
    tail = info(log).tail
    return tail.rows.get("quotes", 0) if tail else 0


def test_on_a_terminal_it_is_drawn_and_elsewhere_said_in_lines(tmp_path: Path) -> None:
    """A table a second in place on a terminal, which Ctrl-C ends; every ten seconds a line of name=value without one."""

    async def story() -> None:
        async with Player().serving() as player:
            config = served(tmp_path, player)
            mine, theirs = os.openpty()
            words = [sys.executable, "-m", "xarb", "record", str(config), "--into", str(tmp_path / "log")]
            environment = os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "200"}
            process = await asyncio.create_subprocess_exec(*words, cwd=ROOT, env=environment, stdout=PIPE, stderr=theirs)
            os.close(theirs)
            await player.next_subscription()
            await asyncio.sleep(2.5)
            process.send_signal(signal.SIGINT)
            out, _ = await process.communicate()
            drawn = os.read(mine, 1 << 16).decode()
            os.close(mine)
            assert process.returncode == 0
            assert "Recording for " in drawn
            assert "quality" in drawn
            assert "binance 0" in drawn
            assert b"# Recorded" in out

    run(story())
    said: list[str] = []
    board, stream = Board(None, said.append), Stub()
    for second in range(1, 22):
        stream.meter.events += 50
        board.update([stream], second * NANOS_PER_S, STATS, float(second))  # type: ignore[list-item]  # only what is shown
    board.update([stream], 40 * NANOS_PER_S, STATS, 40.0, scores=lambda one: one.feed.conn * 100)  # type: ignore[list-item]  # same
    assert [line.rpartition(" quality=")[2] for line in said[::2]] == ["-", "-", "700"]
    assert len(said) == 6
    assert said[0].startswith("feed=alpha_7 state=open instruments=2 events_per_s=50 age_s=- lag_ms=1.50 ")
    assert "sync_p99_ms=2.00" in said[1]


class Stub:
    """What a board shows of a stream."""

    def __init__(self) -> None:
        self.meter, self.is_open = Meter(), True
        self.meter.lag_ns = 1_500_000
        self.feed = GenericFeed("alpha", "x", 7, [None, None], (), Place())  # type: ignore[list-item]  # they are counted


STATS = Stats(
    rows=5,
    bytes=7,
    write=Latency(),
    sync=Latency(1_000_000, 2_000_000, 3_000_000),
    lag_ns=0,
    journal_rows=5,
    seals=0,
    seal_error=None,
    is_full=False,
)


def test_estimate_says_what_a_day_takes_and_leaves_nothing(tmp_path: Path) -> None:
    """A row for each table and one for all, in GB a day; no log is made."""

    async def story() -> None:
        async with Player().serving() as player:
            config = served(tmp_path, player)
            command = await Command.start("record", str(config), "--into", str(tmp_path / "log"), "--estimate", "--duration", "1s")
            socket = await player.next_subscription()
            for number in range(1000):
                await socket.send_str(ticker(number))
            code, out, err = await command.end()
            assert code == 0, err
            found = {line.split("\t")[0]: line.split("\t") for line in out.splitlines()}
            assert float(found["quotes"][4]) > 0
            assert float(found["all"][4]) >= float(found["quotes"][4]) + float(found["frames"][4]) - 0.002
            assert found["quotes"][1] == "1000"

    run(story())
    assert not (tmp_path / "log").exists()


def test_what_cannot_be_recorded_is_said_before_anything_is_written(tmp_path: Path) -> None:
    """An unknown symbol names similar ones; an unreachable exchange, an unknown one, an unknown channel; no log is made."""

    async def story() -> None:
        async with Player().serving() as player:

            async def nothing() -> None:
                await asyncio.Event().wait()

            with pytest.raises(ConfigError, match="has no market BTC/USD; similar ones: BTC/USDT"):
                await recorded(player, tmp_path / "log", nothing, sources=[source(player, symbols=("BTC/USD",))])
            with pytest.raises(ConfigError, match="has no channel marks; it has: quotes, deltas, trades"):
                Recorder([source(player, channels=("marks",))], tmp_path / "log", RecordConfig(), QUICK)
            url = player.rest_url
        with pytest.raises(Retryable, match="the markets of binance could not be loaded"):
            await recorded(player, tmp_path / "log", nothing, sources=[source(player, place=Place(rest_url=url))])

    run(story())
    assert not (tmp_path / "log").exists()


def test_a_log_that_cannot_be_written_ends_the_recording(tmp_path: Path) -> None:
    """The error is raised, not swallowed, and what was written is there for the next start."""

    async def story() -> None:
        async with Player().serving() as player:
            recorder = Recorder([source(player)], tmp_path / "log", RecordConfig(), QUICK)
            task = asyncio.create_task(recorder.run(None, QUIET))
            socket = await player.next_subscription()
            await socket.send_str(ticker(1))
            await asyncio.sleep(0.1)
            recorder.log._committer.fail("the disk is gone")
            await socket.send_str(ticker(2))
            with pytest.raises(LogError, match="the disk is gone"):
                await task

    run(story())


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("1.5m", 90), ("2h", 7200), ("1d", 86400), ("250ms", 0.25)])
def test_durations_are_numbers_with_a_unit(text: str, seconds: float) -> None:
    """As people write them."""
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "s", "-1s", "0s", "1w", "1e3s", "1 s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """By the text, and with what is allowed."""
    with pytest.raises(ConfigError, match="allowed are numbers above 0 with a unit"):
        seconds_of(text)


def test_sources_are_a_file_or_venues_and_symbols(tmp_path: Path) -> None:
    """Two comma-separated lists make each venue a source of all symbols; anything else is refused with an example."""
    found, chains, config, _ = sources_of(["binance,binanceusdm", "BTC/USDT,ETH/USDT"], {})
    assert [(one.venue, one.exchange, one.symbols) for one in found] == [
        ("binance", "binance", ("BTC/USDT", "ETH/USDT")),
        ("binanceusdm", "binanceusdm", ("BTC/USDT", "ETH/USDT")),
    ]
    assert (chains, config) == ([], RecordConfig())
    for words, overrides in (
        (["binance"], {}),
        (["binance", ","], {}),
        (["a", "b", "c"], {}),
        (["a", "b"], {"record.frames": "true"}),
    ):
        with pytest.raises(ConfigError):
            sources_of(words, overrides)
    with pytest.raises(ConfigError, match=r"no \[markets.NAME\]"):
        sources_of([str(_file(tmp_path, "[record]\nframes = true\n"))], {})
    with pytest.raises(ConfigError, match=r"markets.a.symbols is empty"):
        sources_of([str(_file(tmp_path, "[markets.a]\nsymbols = []\n"))], {})


def test_the_report_says_what_was_written() -> None:
    """Rows by kind, the range of seq, and the feeds."""
    feeds = QUIET.feed_table([], 0, "Feeds")
    report = RecordReport(log="log", first_seq=3, last_seq=9, seconds=1.25, rows={"quotes": 7}, feeds=feeds, digest="ab12")
    tables = report_tables(report)
    assert ("digest", "ab12") in tables[0].rows
    assert ("seq", "3 to 9") in tables[0].rows
    assert tables[1].rows == (("quotes", "7"),)
