"""Plays the market rows of a recorded log into live trading on paper, in bursts, in virtual time: no socket, no clock."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from tests.log.live import read_inputs, values_of
from tests.log.test_livelog import wait_for
from xarb.assembly.resolved import Resolved, opening_balances, resolve
from xarb.config import load_experiment
from xarb.engine.liverows import ARM
from xarb.live.begin import Heard, Listening, begin, paper_money, past_of
from xarb.live.timers import Timers
from xarb.live.trading import Send, Trading
from xarb.log.committer import Policy
from xarb.log.ends import ENDED
from xarb.log.livelog import LiveLog
from xarb.log.manifest import Header
from xarb.log.packing import Row
from xarb.log.reader import LogReader
from xarb.model.command import AnyCommand
from xarb.model.instrument import Instrument
from xarb.starts import LIVE, PAPER

ROOT = Path(__file__).resolve().parents[2]
QUICKSTART = ROOT / "recordings" / "quickstart"
EXPERIMENT = ROOT / "experiments" / "quickstart.toml"
GOES_ON = {"breakers.residual_held": "false"}  # no person is there who would reset a breaker
SMALL = Policy(commit_ms=1, seal_rows=4_000, reserve_bytes=4096)


def _refuse(commands: Sequence[AnyCommand]) -> None:
    raise AssertionError(f"{commands} on paper")


class Player:
    """A live log on paper that is fed by hand.

    Args:
        folder: the log; it is made, or continued.
        seed: of the bursts' sizes.
        mode: PAPER, or LIVE with venues that never answer.
        strict: whether commands wait for the disk.
        send: takes the commands of LIVE.
        armed: whether the operator arms at once.
        changes: of the config, dotted keys with TOML values, beside GOES_ON.
        experiment: the config.
        source: a recorded log that has the instruments.
        told: rows that are heard between the opening of the log and the row of the start, kind and values by name.
        held: what the accounts have in LIVE, beside what the config says.
    """

    def __init__(
        self,
        folder: Path,
        *,
        seed: int = 1,
        mode: str = PAPER,
        strict: bool = False,
        send: Send = _refuse,
        armed: bool = True,
        changes: Mapping[str, str] | None = None,
        experiment: Path = EXPERIMENT,
        source: Path = QUICKSTART,
        told: Sequence[tuple[str, dict[str, Any]]] = (),
        held: Mapping[tuple[str, str, str], int] | None = None,
    ) -> None:
        is_new = not folder.exists()
        self.log = (
            LiveLog.create(folder, Header(kind="log", log_id="0123456789abcdef"), SMALL) if is_new else LiveLog.open(folder, SMALL)
        )
        self._draw = random.Random(seed)  # noqa: S311  # a test's draw
        past = past_of(folder)
        with LogReader(source) as reader:
            instruments, kinds = list(reader.instruments), reader.kinds_of
        resolved: Resolved = resolve(load_experiment(experiment, {**GOES_ON, **(changes or {})}), instruments)
        prelude: dict[str, list[Row]] = {}
        if is_new:
            prelude["instruments"] = [(number, 0, *_instrument(one)) for number, one in enumerate(instruments)]
        for at, (kind, row) in enumerate(told, start=self.log.last + 1):
            prelude.setdefault(kind, []).append(values_of(kind, {"ts_event": None, "seq": at, "ts_recv": self.log.last_ts} | row))
        if prelude:
            self.log.append(prelude)
        balances = opening_balances(resolved) if mode == LIVE else paper_money(resolved, past)  # an exchange would tell them
        balances = {**balances, **(held or {})}
        start, assembly = begin(resolved, past, Listening(instruments, kinds, 16), Heard(prelude, balances), mode=mode)
        self.outputs: list[Any] = []
        self.trading = Trading(self.log, assembly, send=send, strict=strict, sink=self.outputs.extend)
        self._pending: dict[str, list[Row]] = {}
        self._next, self._ts = self.log.last + 1, self.log.last_ts
        self._timers = Timers(self._put)
        self._put("starts", start.row())
        self.flush()
        if armed:
            self.act(ARM)

    def _put(self, kind: str, values: tuple[Any, ...]) -> None:
        self._pending.setdefault(kind, []).append((self._next, self._ts, *values))
        self._next += 1

    def play_and_seal(self, rows: Sequence[tuple[str, tuple[Any, ...]]]) -> None:
        """Play 5,000 rows, more than a journal takes, and wait until one is sealed.

        The thread makes the next journal when this one is three quarters full; it is there before the last rows are written, however late the
        thread is, since only a write goes on in it.
        """
        assert len(rows) == 5_000
        seals, _ = self.log.sealed
        self.play(rows[:3_500])
        wait_for(lambda: self.log._committer.has_next or self.log.sealed[0] > seals, 60)
        self.play(rows[3_500:])
        wait_for(lambda: self.log.sealed[0] > seals, 60)

    def flush(self) -> None:
        """Hand on what is held."""
        rows, self._pending = self._pending, {}
        self.trading.take(rows)

    def flush_held(self) -> None:
        """Hand on what is held, if anything is."""
        if self._pending:
            self.flush()

    def play(self, rows: Sequence[tuple[str, tuple[Any, ...]]]) -> None:
        """Feed rows (kind, values in column order) in bursts; timers come as their time comes."""
        engine = self.trading.assembly.engine
        again = 0
        left = iter(rows)
        for size in iter(lambda: self._draw.choice([1, 1, 1, 2, 5, 30]), 0):
            burst = [row for _, row in zip(range(size), left, strict=False)]
            if not burst:
                return
            for kind, values in burst:
                while again and again < values[1]:
                    self._ts = max(self._ts, again)
                    again = self._timers.look(self._ts, self.log.last_ts, engine.timers(), engine.next_due)
                    if self._pending:
                        self.flush()
                self._ts = max(self._ts, values[1])
                self._put(kind, values[2:])
            self.flush()
            again = self._timers.look(self._ts, self.log.last_ts, engine.timers(), engine.next_due)
            if self._pending:
                self.flush()

    def act(self, action: str) -> None:
        """The operator does something."""
        self._put("operator", (action, "test", None))
        self.flush()

    def end(self) -> None:
        """End the start as an ordered stop does."""
        self.act(ENDED)
        self.log.close()


def recorded(first: int, count: int) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Market rows of the quickstart: (kind, values in column order), without its instruments."""
    yield from _recorded()[first : first + count]


@cache
def _recorded() -> list[tuple[str, tuple[Any, ...]]]:
    return [(kind, values_of(kind, row)) for kind, row in read_inputs(QUICKSTART) if kind != "instruments"]


def _instrument(one: Instrument) -> tuple[Any, ...]:
    row = {name: getattr(one, name) for name in one.__struct_fields__} | {"seq": 0, "ts_recv": 0}
    return values_of("instruments", row)[2:]
