"""How long from a message in the socket to the decision on it, and from the decision to the order on the wire and its acknowledgement?

    python -m bench.live [SECONDS]

First two served exchanges (a process of their own) send 1,000 quotes a second together to a session on paper in this process, with an edge
that comes and goes. Each message is timed from when it was taken from the socket (its `ts_recv`) until its outputs are there, and until
they are written. Then a session sends real orders, two legs at once, to two served exchanges that replay the quickstart, ten times as fast as it was.
Each order is timed from when the engine gave its command until its bytes were written; and, from the log, from the ts_recv of the message
that led to it until the rows `sent` and `accepted`. Percentiles over all.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import uvloop

from tests.live.proof import CONFIG, KEYS, served
from tests.live.test_session import Market
from tests.venues.player import Player
from xarb.board import Board
from xarb.config import load_experiment
from xarb.live import trading
from xarb.live.session import Session
from xarb.log.committer import Policy
from xarb.log.reader import LogReader
from xarb.model.batch import Batch
from xarb.model.command import Command, SubmitOrder
from xarb.process import run_loop
from xarb.starts import LIVE, PAPER
from xarb.venues.liveorders import LiveOrders, Watched
from xarb.venues.venue import VenueRow

RATE = 1_000


def _serve(pipe: Connection, folder: str) -> None:
    uvloop.run(_feed(pipe, folder))


async def _feed(pipe: Connection, folder: str) -> None:
    """Quote at both exchanges, RATE a second together; every second the second one is 1 % dearer for a tenth of it."""
    async with Player().serving() as one, Player().serving() as two:
        players = [one, two]
        pipe.send(str(Market(players).config(Path(folder))))
        number, due = 0, time.monotonic()
        while True:
            number += 1
            player = players[number % 2]
            bid = 60_000 + number % 7 + (600 if number % 2 and number % RATE < RATE // 10 else 0)
            data = {"u": number, "s": "BTCUSDT", "b": f"{bid:.8f}", "B": "1.50000000", "a": f"{bid + 1:.8f}", "A": "2.25000000"}
            text = json.dumps({"stream": "btcusdt@bookTicker", "data": data}, separators=(",", ":"))
            for socket in player.sockets:
                if not socket.closed:
                    await socket.send_str(text)
            due += 1 / RATE
            await asyncio.sleep(max(0.0, due - time.monotonic()))


class _Timed:
    """Times from a batch's first ts_recv to its outputs and to their being written, ns."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.decided: list[int] = []
        self.written: list[int] = []
        self._turn, self._take = trading.turn, trading.Trading.take

    def turn(self, assembly: trading.Assembly, batch: Batch) -> list[Command]:
        """As the real one."""
        commands = self._turn(assembly, batch)
        if len(batch.quotes.seq):
            self.decided.append(self.session.intake.clock.now() - int(batch.quotes.ts_recv[0]))
        return commands

    def take(self, mine: trading.Trading, rows: trading.Mapping[str, Sequence[trading.Row]]) -> None:
        """As the real one."""
        self._take(mine, rows)
        if "quotes" in rows:
            self.written.append(self.session.intake.clock.now() - rows["quotes"][0][1])


def _decisions(seconds: float) -> None:
    here, there = multiprocessing.Pipe()
    with tempfile.TemporaryDirectory() as folder:
        process = multiprocessing.get_context("spawn").Process(target=_serve, args=(there, folder), daemon=True)
        process.start()
        experiment = load_experiment(Path(here.recv()))
        session = Session(experiment, Path(folder) / "log", mode=PAPER, policy=Policy())
        timed = _Timed(session)
        trading.turn = timed.turn  # type: ignore[assignment]  # timed

        def take(mine: trading.Trading, rows: trading.Mapping[str, Sequence[trading.Row]]) -> None:
            timed.take(mine, rows)  # not the bound method itself: it would get no `mine`

        trading.Trading.take = take  # type: ignore[method-assign]  # timed
        run_loop(session.run(seconds, Board(None)))
        process.terminate()
        bundles = session.summary.bundles
    warm = len(timed.decided) // 10
    print(f"{len(timed.decided)} passes of the loop with quotes in {seconds:g} s, {bundles} bundles; the first tenth is left out")
    _say("message to decision, us", [ns / 1e3 for ns in timed.decided[warm:]])
    _say("message to written, us", [ns / 1e3 for ns in timed.written[warm:]])


class _Walk:
    """When each order was decided and its bytes were written, monotonic ns by client order id."""

    def __init__(self) -> None:
        self.decided: dict[str, int] = {}
        self.wired: dict[str, int] = {}
        self._turn, self._sent = trading.turn, LiveOrders.sent

    def turn(self, assembly: trading.Assembly, batch: Batch) -> list[Command]:
        """As the real one."""
        commands = self._turn(assembly, batch)
        now = time.monotonic_ns()
        self.decided |= {one.client_order_id: now for one in commands if isinstance(one, SubmitOrder)}
        return commands

    def sent(self, mine: LiveOrders, one: Watched, now: int) -> list[VenueRow]:
        """As the real one, which is called when the bytes were written."""
        self.wired[one.sent_id] = time.monotonic_ns()
        return self._sent(mine, one, now)


def _orders(seconds: float) -> None:
    walk = _Walk()
    with tempfile.TemporaryDirectory() as folder, served("--speed", "10") as rests:
        log = Path(folder) / "log"
        places = {
            f"markets.{venue}.{key}": f'"{url}"'
            for venue, rest in rests.items()
            for key, url in (("rest_url", rest), ("stream_url", rest.replace("http", "ws")))
        }
        experiment = load_experiment(CONFIG, {**places, "live.mode": '"live"'})
        os.environ.update(KEYS)
        session = Session(experiment, log, mode=LIVE, policy=Policy())
        trading.turn = walk.turn  # type: ignore[assignment]  # timed

        def sent(mine: LiveOrders, one: Watched, now: int) -> list[VenueRow]:
            return walk.sent(mine, one, now)  # not the bound method itself: it would get no `mine`

        LiveOrders.sent = sent  # type: ignore[method-assign]  # timed
        run_loop(session.run(seconds, Board(None)))
        with LogReader(log) as reader:
            began = {row["client_order_id"]: row["ts"] for _, row in reader.outputs(kinds=("commands",)) if row["kind"] == "submit"}
            told = [
                (row["event"], (row["ts_recv"] - began[row["client_order_id"]]) / 1e6)
                for row in reader.rows("reports")
                if row["event"] in ("sent", "accepted")
            ]
    print(f"{len(began)} real orders in {seconds:g} s")
    _say("decision to the wire, ms", [(walk.wired[name] - at) / 1e6 for name, at in walk.decided.items() if name in walk.wired])
    _say("message to `sent` in the log, ms", [took for event, took in told if event == "sent"])
    _say("message to `accepted`, ms", [took for event, took in told if event == "accepted"])


def _say(what: str, values: list[float]) -> None:
    ordered = sorted(values)
    cells = [f"p{share:g} {ordered[min(int(len(ordered) * share / 100), len(ordered) - 1)]:.3f}" for share in (50, 90, 99)]
    print(f"{what:32} {'  '.join(cells)}  max {ordered[-1]:.3f}  n {len(ordered)}")


def main() -> None:
    """Both parts."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 30.0
    _decisions(seconds)
    _orders(seconds)


if __name__ == "__main__":
    main()
