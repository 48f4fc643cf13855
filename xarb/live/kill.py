"""How another shell stops trading on a log: by asking its process, and where that is dead or hangs by ending it and canceling for it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from xarb.config import Experiment
from xarb.console import Table
from xarb.engine.breaker import Broken
from xarb.engine.carried import CarriedFlow
from xarb.engine.liverows import FORGET, FORGET_INVENTORY, KILL, RESET, RESET_BREAKERS
from xarb.engine.results import Carried
from xarb.errors import ConfigError, LogError, Refused
from xarb.live import requests
from xarb.live.begin import Past, past_of
from xarb.live.canceling import (
    HEADS,
    Whose,
    cancel,
    cancel_hung,
    done,
    means_of,
    unproven,
    whose_by_what_is_sound,
    whose_of,
)
from xarb.live.chaincancels import alive, take_in
from xarb.live.chains import transactions_of
from xarb.live.holder import GONE_S, Holder
from xarb.log.claim import is_claimed
from xarb.log.committer import Policy
from xarb.log.follow import Follower
from xarb.log.manifest import Manifest
from xarb.model.order import ENTRIES, STOP, UNWIND
from xarb.starts import LIVE
from xarb.upkeep import open_log
from xarb.venues.clock import Clock
from xarb.wires.rows import RowBuilder

_NOT_UNWOUND: Final = (
    "unwind",
    (
        "no process is there to undo what is left unbalanced: the next start, which is refused until --reset, takes it up and settles it "
        "by its strategy's policy; who wants it undone before does so at the exchanges, and then forgets it with --forget-inventory"
    ),
)
_AGAIN_S: Final = 0.2  # before another look at a log that somebody has
_Found = TypeVar("_Found")


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
    left there, which is proven order by order (`venues.killing`), and on its chains nonce by nonce (`venues.dex.killing`); what was done is returned as a table. Nothing is unwound without a process.

    With `experiment` a process that hangs is stopped where it stands, its orders are canceled at any level, and it is ended. A log that cannot be
    read or written keeps no order alive either: they are canceled first, and what is wrong is said then.

    Raises:
        Refused: the config is not given and the process did not end in time, or no process trades, or the fate of orders is open; or something is
            not proven at an exchange; the others are dealt with all the same.
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
            return _kill_hung(folder, level, experiment)
    try:
        whose = _noted(folder, level, was_asked=was_asked, experiment=experiment)
    except (LogError, OSError) as error:
        if experiment is None:
            raise
        rows = cancel(folder, experiment, whose_by_what_is_sound(folder, experiment, error))
        raise _not_noted(folder, rows, error) from error
    if whose is None or experiment is None:
        return []
    rows = cancel(folder, experiment, whose)
    try:
        take_in(folder)
    except (LogError, OSError) as error:
        raise _not_noted(folder, rows, error) from error
    return _proven(rows, level)


def _kill_hung(folder: Path, level: str, experiment: Experiment) -> list[Table]:
    """Stop the process that does not obey where it stands, cancel, end it, note the kill; one that cannot be stopped is canceled for too.

    Raises:
        ConfigError: keys are missing; nothing was done.
        Refused: something is not proven.
        LogError: the process could not be ended, or orders not be canceled at all, or the kill not noted.
    """
    means = means_of(experiment) if experiment.live.mode == LIVE else None  # opened before anything is stopped
    trouble: Exception | None = None
    with contextlib.ExitStack() as stack:
        holder: Holder | None = None
        try:
            holder = stack.enter_context(Holder(folder))
            holder.stop()  # what hangs now may go on in a moment, and must not send anything
        except Refused as error:
            holder, trouble = None, error
        with contextlib.suppress(OSError):
            (folder / requests.FLAG).touch()  # it holds also if this process does not live to note it
        trades = True
        try:
            found = cancel_hung(folder, experiment, means)
            trades = found.trades
        except (ConfigError, LogError) as error:
            stays = f"{folder / requests.FLAG} keeps back its next start"
            raise LogError(f"{folder}: its process was stopped, but its orders are NOT CANCELED: {error}; {stays}") from error
        finally:  # whatever happens, it must not go on with orders
            if holder is not None and not trades:
                holder.go_on()
                trouble = Refused(f"process {holder.pid}, which writes it, does not trade")
            elif holder is not None and not holder.end():
                trouble = Refused(f"process {holder.pid} was sent SIGKILL, and is there after {GONE_S:g} s")
    try:
        if trouble is not None:
            raise LogError(f"it is being written still, and was not ended: {trouble}; end it with kill -KILL, and kill again")
        note_kill(folder, requests.who(), f"the process hung and was ended, by {experiment.origin}", level=level)
        take_in(folder)
        requests.forget(folder, time.time_ns())  # what it was asked for is done without it
    except (LogError, OSError) as error:
        raise _not_noted(folder, found.rows, error) from trouble or error
    (folder / requests.FLAG).unlink(missing_ok=True)
    return _proven(found.rows, level)


def _proven(rows: Sequence[tuple[str, ...]], level: str) -> list[Table]:
    """What was done, as tables.

    Raises:
        Refused: something is not proven.
    """
    left = unproven(rows)
    if left:
        raise Refused(f"canceled: {done(rows)}; NOT PROVEN: {left}; try again")
    if not rows:
        return []
    canceled = Table("Canceled", HEADS, tuple(rows))
    return [canceled, Table("Not done", ("what", "why"), (_NOT_UNWOUND,))] if level == UNWIND else [canceled]


def _not_noted(folder: Path, rows: Sequence[tuple[str, ...]], why: Exception) -> LogError:
    """The error where orders were dealt with, but the log does not say so."""
    left = unproven(rows)
    said = f"{folder}: canceled: {done(rows)}" + (f"; NOT PROVEN: {left}; try again" if left else "")
    return requests.hold_back(folder, LogError(f"{said}; but the kill is not noted in the log: {why}"))


def _noted(folder: Path, level: str, *, was_asked: bool, experiment: Experiment | None) -> Whose | None:
    """Note a kill in a log that nobody writes any more; whose orders are left to cancel, None when there are none or the level is ENTRIES.

    Raises:
        Refused: no process traded, and no order is real or the config, which all levels but ENTRIES need, is not given; or it is not, and the
            process that obeyed does not know what became of orders.
        LogError, OSError: the log is damaged, or cannot be written.
    """
    past = _settled_past(folder)
    sent = transactions_of(folder)
    is_real = past.span is not None and past.span.start.mode == LIVE
    if was_asked and past.killed is not None and past.killed.partition(": ")[0] == requests.who():
        # it obeyed; a kill of somebody before tells nothing of how it ended
        left = [f"start {one.name.start} order {one.name.order} at {one.venue}" for one in past.left] + alive(sent)
        if is_real and left and experiment is None:
            raise Refused(
                f"{folder}: killed, but the fate of these is not known: {', '.join(left)}; with --config they are looked up and canceled"
            )
        return whose_of(past, sent) if is_real and left else None
    if was_asked:  # it ended, of itself or for another reason, before it saw the request
        requests.forget(folder, time.time_ns())
        _note(folder, KILL, f"{level}: the process had ended")
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
    return whose_of(past, sent)


def note_kill(folder: Path, actor: str, why: str, *, level: str = STOP) -> None:
    """Note a kill in a log whose process was just killed, unless one is there already; who else notes one now is waited for.

    Raises:
        LogError: the log is damaged, or a process has it still.
    """
    until = time.monotonic() + GONE_S
    while True:
        try:
            if _settled_past(folder).killed is None:
                _note(folder, KILL, f"{level}: {why}", actor=actor)
        except LogError:
            if not is_claimed(folder) or time.monotonic() > until:
                raise
            time.sleep(_AGAIN_S)
        else:
            return


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
                "Where the process hangs, its orders are canceled with --config"
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


def forget_inventory(folder: Path) -> tuple[CarriedFlow, ...]:
    """Have the next start begin flat: exposure and budgets count from nothing, and open bundles are not gone on with; the flows forgotten.

    Raises:
        Refused: nothing was counted.
        LogError: a process has the log, or it is damaged.
    """
    return _take_back(folder, FORGET_INVENTORY, _flows_of, nothing="no fill was ever counted")


def _flows_of(past: Past) -> tuple[CarriedFlow, ...]:
    return () if past.going_on is None else past.going_on.flows


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
