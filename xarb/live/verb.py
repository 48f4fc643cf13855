"""The live verb: trade until someone stops it, and say what was done; and how another shell stops it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from xarb.board import Board
from xarb.config import Experiment
from xarb.console import Table
from xarb.engine.breaker import Broken
from xarb.engine.liverows import FORGET, KILL, RESET, RESET_BREAKERS
from xarb.engine.results import Carried
from xarb.errors import ConfigError, Killed, LogError, Refused, Rejected, Retryable
from xarb.live import requests
from xarb.live.begin import Past, past_of
from xarb.live.exchanges import accounts_of, spot_symbols
from xarb.live.guard import Guard
from xarb.live.session import Session
from xarb.log.claim import is_claimed
from xarb.log.committer import Policy
from xarb.log.follow import Follower
from xarb.log.manifest import Manifest, header_of, last_digest
from xarb.log.reader import LogReader
from xarb.model.order import ENTRIES, STOP, UNWIND
from xarb.process import run_loop
from xarb.settings import log_policy
from xarb.sources import market_sources
from xarb.starts import LIVE
from xarb.upkeep import open_log
from xarb.venues.clock import Clock
from xarb.venues.killing import kill as cancel_all
from xarb.wires.rows import RowBuilder

KILLED: Final = Killed.exit_code  # a person killed it, and no supervisor is to start it again
_NOT_UNWOUND: Final = (
    "unwind",
    (
        "no process is there to undo what is left unbalanced, and no later start undoes what an earlier one left: it is refused until "
        "--reset, and begins with the balances that are there then; a person undoes it at the exchanges"
    ),
)
_Found = TypeVar("_Found")


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


def stop(folder: Path, *, wait_s: float) -> None:
    """Ask the process that trades on a log to stop in order, and wait until it has let the log go.

    Raises:
        Refused: no process has the log, or it did not end in time.
    """
    _request(folder, "stop", wait_s)


def kill(folder: Path, *, wait_s: float, level: str = STOP, experiment: Experiment | None = None) -> list[Table]:
    """Kill a log's trading to a level of `KILL_LEVELS`, and keep it from starting again before a reset.

    The process that trades is asked to; below STOP it goes on without new bundles, and this returns when its log says so. Where it is
    dead and orders were real, the level is noted; above ENTRIES they are canceled at the exchanges that `experiment` names until none is
    left there, which is proven by their own lists; what was done is returned as a table. Nothing is unwound without a process.

    With `experiment` a process that hangs, or a log that cannot be read or written, keeps no order alive at any level: they are canceled
    first, and what is wrong is said then.

    Raises:
        Refused: the config is not given and the process did not end in time, or no process trades; or an exchange still lists an order or
            does not say what is open, so that nothing is proven there; the others are dealt with all the same.
        LogError: the log is damaged, cannot be written or is being written still, so that the kill is not noted in it.
    """
    was_asked = is_claimed(folder)
    if was_asked:
        try:
            if level != STOP and _kill_to(folder, level, wait_s):
                return []
            if level == STOP:
                _request(folder, "kill", wait_s)
        except Refused:
            if experiment is None:
                raise
            # it hangs, and its orders are canceled all the same
    damage: Exception | None = None
    try:
        whose = _noted(folder, level, was_asked=was_asked, experiment=experiment)
    except (LogError, OSError) as error:
        if experiment is None:
            raise
        damage, whose = error, _whose_by_what_is_sound(folder, experiment)
    if whose is None or experiment is None:
        return []
    rows = run_loop(_kill_everywhere(experiment, whose))
    left = "; ".join(f"{row[0]} at {row[1]}: {row[3]}" for row in rows if row[3] != "-")
    if damage is not None:
        done = "; ".join(f"{row[0]} at {row[1]}: {row[2]}" for row in rows)
        raise LogError(
            f"{folder}: canceled at the exchanges: {done}"
            + (f"; orders are still open: {left}; try again" if left else "")
            + f"; but the kill is not noted in the log, so that nothing keeps back its next start: {damage}"
            + ("; where it hangs end it with kill -KILL, and kill again" if is_claimed(folder) else "")
        ) from damage
    if left:
        raise Refused(f"orders are still open: {left}; try again")
    heads = ("account", "venue", "canceled", "left", "of others, left alone", "failures")
    canceled = Table("Canceled at the exchanges", heads, tuple(rows))
    return [canceled, Table("Not done", ("what", "why"), (_NOT_UNWOUND,))] if level == UNWIND else [canceled]


class _Whose(NamedTuple):
    """Whose orders are canceled: those of a log, on these symbols by venue."""

    log_id: str
    symbols: dict[str, list[str]]


def _noted(folder: Path, level: str, *, was_asked: bool, experiment: Experiment | None) -> _Whose | None:
    """Note a kill in a log that nobody writes any more; whose orders are left to cancel, None when there are none or the level is ENTRIES.

    Raises:
        Refused: no process traded, and no order is real or the config, which all levels but ENTRIES need, is not given.
        LogError, OSError: the log is damaged, or cannot be written.
    """
    past = _settled_past(folder)
    if was_asked and past.killed is not None and past.killed.partition(": ")[0] == requests.who():
        return None  # it obeyed; a kill of somebody before tells nothing of how it ended
    if was_asked:  # it ended, of itself or for another reason, before it saw the request
        requests.forget(folder, time.time_ns())
        _note(folder, KILL, f"{level}: the process had ended")
    is_real = past.span is not None and past.span.start.mode == LIVE
    if not is_real and was_asked:
        return None
    if not is_real:
        raise Refused(f"{folder}: no process is trading on this log, and none of its orders are real")
    if level == ENTRIES:
        if not was_asked:
            _note(folder, KILL, f"{level}: without a process")
        return None
    if experiment is None:
        raise Refused(
            f"{folder}: no process is trading on this log; to cancel its orders at the exchanges give the config with --config"
        )
    if not was_asked:
        _note(folder, KILL, f"{level}: without a process, by {experiment.origin}")
    return _Whose(past.log_id, spot_symbols(past.instruments))


def _whose_by_what_is_sound(folder: Path, experiment: Experiment) -> _Whose:
    """The same of a damaged log: its header names it; symbols are those of the config, and of sealed instruments where they can be read.

    Raises:
        LogError: the header is damaged too, so that nothing says which orders are the log's.
    """
    symbols = {source.venue: [one for one in source.symbols if ":" not in one] for source in market_sources(experiment)}
    try:
        with LogReader(folder) as reader:
            sealed = spot_symbols(reader.instruments)
    except LogError:  # what is damaged is said by the caller
        sealed = {}
    for venue, mine in sealed.items():
        symbols[venue] = list(dict.fromkeys([*symbols.get(venue, ()), *mine]))
    return _Whose(header_of(folder).log_id, symbols)


def cancel_hung(folder: Path, experiment: Experiment) -> str:
    """Cancel at the exchanges what the process that trades on a log has open, while it is stopped; what was done, in words.

    Raises:
        LogError: the log's header is damaged, so that nothing says which orders are its.
    """
    if experiment.live.mode != LIVE:
        return "on paper: nothing is to be canceled"
    rows = run_loop(_kill_everywhere(experiment, _whose_by_what_is_sound(folder, experiment)))
    return "; ".join(f"{row[0]} at {row[1]}: canceled {row[2]}, left {row[3]}, failures {row[5]}" for row in rows)


def note_kill(folder: Path, actor: str, why: str) -> None:
    """Note a kill to STOP in a log whose process was just killed, unless one is there already.

    Raises:
        LogError: the log is damaged, or a process has it still.
    """
    if _settled_past(folder).killed is None:
        _note(folder, KILL, f"{STOP}: {why}", actor=actor)


async def _kill_everywhere(experiment: Experiment, whose: _Whose) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    found = accounts_of(experiment, market_sources(experiment), whose.symbols)
    async with AsyncExitStack() as stack:
        for accounts in found.values():
            for account in accounts:
                stack.push_async_callback(account.close)
        for venue, accounts in found.items():
            for account in accounts:
                try:
                    await account.open()
                    done = await cancel_all(account, whose.log_id)
                    what = (", ".join(done.canceled), ", ".join(done.left), f"{done.foreign}", "; ".join(done.failures))
                except (Retryable, Rejected) as error:  # the others are dealt with all the same
                    what = ("", "not known", "", str(error))
                rows.append((account.label, venue, *(word or "-" for word in what)))
    return rows


def _kill_to(folder: Path, level: str, wait_s: float) -> bool:
    """Ask for a kill at which the process goes on, and wait until its log has it; False when the process ended instead.

    Raises:
        Refused: neither came in time.
    """
    request = requests.ask(folder, "kill", level)

    with Follower(folder, ("operator",), always=("operator",)) as follower:

        def is_logged() -> bool:
            acts = [row for _, row in follower.take().rows if row["action"] == KILL]
            return (request.actor, level) in {(row["actor"], row["detail"]) for row in acts}

        if not requests.wait_until(lambda: is_logged() or not is_claimed(folder), wait_s):
            raise Refused(
                f"{folder}: asked for a kill of {level}, but the log does not show it after {wait_s:g} s; it may still come. "
                "Where the process hangs, its orders are canceled at the exchanges with --config"
            )
    return is_claimed(folder)


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
    return _take_back(folder, RESET, lambda past: past.killed, nothing="trading on this log was not killed")


def forget_losses(folder: Path) -> tuple[Carried, ...]:
    """Have the next start count losses, and the peak of results, from nothing; what is forgotten.

    Raises:
        Refused: nothing was counted.
        LogError: a process has the log, or it is damaged.
    """
    nothing = "no start counted losses; max_day_loss and max_drawdown are the limits that do"
    return _take_back(folder, FORGET, lambda past: past.results, nothing=nothing)


def reset_breakers(folder: Path) -> tuple[Broken, ...]:
    """Have the next start begin with all breakers closed; those that were not.

    Raises:
        Refused: all are closed.
        LogError: a process has the log, or it is damaged.
    """
    return _take_back(folder, RESET_BREAKERS, lambda past: past.broken, nothing="no breaker is open")


def _take_back(folder: Path, action: str, what: Callable[[Past], _Found | None], *, nothing: str) -> _Found:
    """Note between two starts that something of the last one is not to count in the next; what that is.

    Raises:
        Refused: there is nothing of it.
        LogError: a process has the log, or it is damaged.
    """
    found = what(_settled_past(folder))
    if not found:
        raise Refused(f"{folder}: {nothing}")
    _note(folder, action, None)
    return found


def _settled_past(folder: Path) -> Past:
    """What a log that nobody writes knows, also of what a dead process left in its journal."""
    Manifest(folder)  # a folder that is no log must not become one
    log = open_log(folder, "", Policy()).log
    log.close()
    return past_of(folder)


def _note(folder: Path, action: str, detail: str | None, *, actor: str | None = None) -> None:
    """Put an act of the operator into a log that nobody writes."""
    log = open_log(folder, "", Policy()).log
    with log:
        builder = RowBuilder(log.last + 1, log.last_ts)
        builder.put("operator", Clock(log.last_ts).now(), (action, actor or requests.who(), detail))
        log.append(builder.take())
        log.sync()
