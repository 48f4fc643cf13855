"""The live verb: trade until someone stops it, and say what was done."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

from xarb.board import Board
from xarb.config import Experiment
from xarb.console import Table
from xarb.errors import ConfigError, Killed, Refused
from xarb.live.guard import Guard
from xarb.live.session import Session
from xarb.log.committer import Policy
from xarb.log.manifest import last_digest
from xarb.process import run_loop
from xarb.settings import log_policy
from xarb.starts import LIVE

KILLED: Final = Killed.exit_code  # a person killed it, and no supervisor is to start it again


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
    guard = Guard(experiment, folder)
    try:
        session = Session(experiment, folder, mode=mode, policy=policy or log_policy(experiment.retention), guard=guard)
        shown = board or Board(None)
        ending = run_loop(session.run(duration_s, shown))
    finally:
        guard.end()
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
        ("digest", last_digest(folder)),
    )
    tables = [
        Table("Live trading", ("what", "value"), what),
        assembly.assumptions(),
        *session.summary.tables(),
        shown.feed_table(session.feeds.streams, session.intake.clock.now(), "Feeds", scores=session.score),
    ]
    return Result(KILLED if ending.killed or session.was_killed else 0, [table for table in tables if table.rows])


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
