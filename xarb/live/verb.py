"""The live verb: trade until someone stops it, and say what was done; and how another shell stops it."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

from xarb.board import Board
from xarb.config import Experiment
from xarb.console import Table
from xarb.engine.liverows import KILL, RESET
from xarb.errors import ConfigError, Refused
from xarb.live import requests
from xarb.live.session import Session
from xarb.log.claim import is_claimed
from xarb.log.committer import Policy
from xarb.log.livelog import LiveLog
from xarb.log.reader import LogReader
from xarb.process import run_loop
from xarb.starts import LIVE
from xarb.venues.clock import Clock
from xarb.wires.rows import RowBuilder

KILLED: Final = 3  # exit code: a person killed it, and no supervisor is to start it again


class Result(NamedTuple):
    """What a session did, and the exit code that says how it ended."""

    exit_code: int
    tables: list[Table]


def trade(
    experiment: Experiment,
    folder: Path,
    *,
    duration_s: float | None = None,
    board: Board | None = None,
    policy: Policy | None = None,
) -> Result:
    """Trade until SIGINT, SIGTERM, a request of another shell, or the end of the duration; then seal the log.

    Raises:
        ConfigError: config, exchanges and instruments do not fit together.
        Refused: the log was killed and not reset, its money belongs to other accounts, or something speaks against real orders.
        Retryable: an exchange could not be reached at the start.
        LogError: another writer has the log, it is damaged, or it cannot be written any more.
    """
    mode = experiment.live.mode
    session = Session(experiment, folder, mode=mode, policy=policy or Policy())
    shown = board or Board(None)
    ending = run_loop(session.run(duration_s, shown))
    session.summary.finish()
    assembly = session.assembly
    what = (
        ("log", str(folder)),
        ("mode", mode),
        ("start", f"{assembly.ground.start}"),
        ("inputs to", f"{session.log.last}"),
        ("bundles", f"{session.summary.bundles}"),
        ("bundles left open", f"{session.open_bundles()}"),
        ("ended by", ending.actor),
    )
    tables = [
        Table("Live trading", ("what", "value"), what),
        assembly.assumptions(),
        *session.summary.tables(),
        shown.feed_table(session.feeds.streams, session.intake.clock.now(), "Feeds"),
    ]
    return Result(KILLED if ending.killed else 0, [table for table in tables if table.rows])


def check_wanted(experiment: Experiment, *, is_live: bool, label: str | None) -> None:
    """Real orders need three words that agree: the config's mode, `--live`, and the accounts' label.

    Raises:
        ConfigError: one of them is missing or another.
        Refused: the label is not that of the accounts.
    """
    mode, labels = experiment.live.mode, ",".join(sorted(experiment.accounts))
    if is_live and mode != LIVE:
        raise ConfigError(
            f'{experiment.origin}: live.mode = {mode}: --live sends real orders, which the file must want too: mode = "live"'
        )
    if mode == LIVE and not is_live:
        raise ConfigError(
            f'{experiment.origin}: live.mode = "live" sends real orders: say so with --live, or trade on paper with --set live.mode=paper'
        )
    if mode == LIVE and label != labels:
        raise Refused(
            f"real orders of account {labels}: give its label with --account {labels}" + (f"; given is {label}" if label else "")
        )


def stop(folder: Path, *, wait_s: float) -> None:
    """Ask the process that trades on a log to stop in order, and wait until it has let the log go.

    Raises:
        Refused: no process has the log, or it did not end in time.
    """
    _request(folder, "stop", wait_s)


def kill(folder: Path, *, wait_s: float) -> None:
    """Ask the process that trades on a log to cancel everything and end; no other start follows before a reset.

    Raises:
        Refused: no process has the log, or it did not end in time.
    """
    _request(folder, "kill", wait_s)


def _request(folder: Path, action: requests.Action, wait_s: float) -> None:
    if not is_claimed(folder):
        raise Refused(f"{folder}: no process is trading on this log")
    requests.ask(folder, action)
    if not requests.wait_until(lambda: not is_claimed(folder), wait_s):
        raise Refused(f"{folder}: asked for a {action}, but the process has not ended after {wait_s:g} s; it may still do so")


def reset(folder: Path) -> str:
    """Take back a kill, by name; what it took back.

    Raises:
        Refused: nothing was killed.
        LogError: a process has the log, or it is damaged.
    """
    with LiveLog.open(folder) as log:
        with LogReader(folder) as reader:
            acts = [row for row in reader.rows("operator") if row["action"] in (KILL, RESET)]
        if not acts or acts[-1]["action"] == RESET:
            raise Refused(f"{folder}: trading on this log was not killed")
        builder = RowBuilder(log.last + 1, log.last_ts)
        builder.put("operator", Clock(log.last_ts).now(), (RESET, requests.who(), None))
        log.append(builder.take())
        log.sync()
    return str(acts[-1]["actor"])
