"""Keeps what the page shows up to date: follows the log, and says each part of the page anew where it changed.

All of it happens in one thread beside the server's. What costs more is looked at less often: no more than a part of one core goes into it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from xarb.console import utc
from xarb.errors import ConfigError, LogError, Refused
from xarb.inquiry.decided import Decided, open_decided, starts_in
from xarb.log.manifest import Manifest
from xarb.sql.connection import open_query
from xarb.verbs.dashboard.figures import Kill, Part, killed, now, slow, table
from xarb.verbs.dashboard.following import Begun, Following
from xarb.verbs.status import Status, standing

_OVER: Final = "the start has ended by "  # no trouble on a page that says so anyway
_PROGRESS_S: Final = 0.5
Tell = Callable[[Mapping[str, Any]], None]


class Pace(NamedTuple):
    """How often is looked: seconds between two looks at what came, at least between two by SQL, and between two of those that go over all rows.

    After each that was shown it is also waited for `share` times as long as it took; after one at a log that cannot be read, `retry_s`.
    """

    tick_s: float = 1.0
    status_s: float = 2.0
    slow_s: float = 5.0
    share: float = 8.0
    retry_s: float = 5.0

    def due(self, least_s: float, begun: float) -> float:
        """When to look again after a look that began then and is over now."""
        moment = time.monotonic()
        return moment + max(least_s, self.share * (moment - begun))


class Stopped(Exception):  # no error: nobody wants the rest
    """The first look was given up."""


class Board:
    """What is known of one run or log.

    Args:
        folder: it.
        log: the run's input log, where it does not lie where the run says.
        tell: gets parts of the page by name; called from the thread that calls `look`.
        wanted: whether to go on, asked while a long look is under way.
        pace: how often is looked.
    """

    def __init__(self, folder: Path, log: Path | None, *, tell: Tell, wanted: Callable[[], bool], pace: Pace) -> None:
        self._pace = pace
        self._folder, self._log = folder, log
        self._tell, self._wanted = tell, wanted
        self._following: Following | None = None
        self._status: Status | None = None
        self._kill: Kill | None = None
        self._now_due = self._status_due = self._slow_due = 0.0
        self._told_s = self._again_s = 0.0
        self._is_new = True
        self._was_open = False

    def close(self) -> None:
        """Let go of the files."""
        if self._following is not None:
            self._following.close()
            self._following.decided.close()
            self._following = None

    def look(self, *, is_watched: bool) -> None:
        """Take what came; tell it where somebody watches.

        Raises:
            ConfigError, LogError, Refused: at the first look, that there is nothing to be shown; later that is told on the page.
            Stopped: it is not wanted any more.
        """
        if time.monotonic() < self._again_s:
            return
        try:
            following = self._following or self._opened()
            self._is_new = following.look(self._advance) or self._is_new
            if is_watched:
                self._show(following)
        except Begun:
            self.close()
        except (ConfigError, LogError, Refused, OSError) as error:
            if not self._was_open:
                raise
            self.close()
            self._again_s = time.monotonic() + self._pace.retry_s
            self._tell({"trouble": f"the log cannot be read on: {error}"})

    def _opened(self) -> Following:
        decided = self._decided()
        try:
            self._following = Following(decided, self._advance)
        except BaseException:  # an interrupt among them: nobody else would close it
            decided.close()
            raise
        self._status, self._is_new, self._was_open = None, True, True
        self._now_due = self._status_due = self._slow_due = 0.0
        self._tell({"trouble": None, "progress": None})
        return self._following

    def _decided(self) -> Decided:
        """The run, or the last start of the log."""
        if Manifest(self._folder).header.kind == "run":
            return open_decided(self._folder, log=self._log)
        with open_query([self._folder]) as query:
            found = starts_in(query)
        if not found:
            raise ConfigError(
                f"{self._folder} is a log without a start: nothing was decided on it; look at it with: xarb log info {self._folder}"
            )
        return open_decided(self._folder, start=found[-1].start.number)

    def _advance(self, done: int, total: int, note: str = "") -> None:
        del note
        if not self._wanted():
            raise Stopped
        moment = time.monotonic()
        if self._following is None and moment > self._told_s + _PROGRESS_S:
            self._told_s = moment
            self._tell({"progress": [done, total]})

    # --- parts of the page

    def _show(self, following: Following) -> None:
        decided, begun = following.decided, time.monotonic()
        if decided.span is not None and begun >= self._status_due:
            self._status, self._kill = standing(decided.outputs), killed(decided)
            self._status_due, self._now_due = self._pace.due(self._pace.status_s, begun), 0.0
        begun = time.monotonic()
        if begun >= self._now_due:
            shown = now(following, self._status)
            self._tell({"head": self._head(following), "troubles": self._troubles(following), **shown._asdict()})
            self._now_due = self._pace.due(0.0, begun)
        begun = time.monotonic()
        if self._is_new and begun >= self._slow_due:
            self._is_new = False
            self._tell({"slow": {"as_of": utc(following.ends), "tables": slow(following)}})
            self._slow_due = self._pace.due(self._pace.slow_s, begun)

    def _head(self, following: Following) -> Part:
        decided, course = following.decided, following.course
        made: Part = {
            "name": decided.folder.resolve().name,
            "kind": "run" if decided.span is None else "log",
            "from": utc(course.begins),
            "to": utc(following.ends),
            "proof": _proof(following),
            "proven": following.doubt is None,
        }
        if decided.span is None or self._status is None:
            return made | {"state": "finished", "about": f"Backtest on {decided.log.resolve().name}", "facts": []}
        told = dict(self._status.sections[0].rows)
        kill = self._kill
        state = told["state"].partition(" ")[0]
        return made | {
            "state": state if state in ("running", "silent") else "ended",
            "about": f"{'Live' if decided.span.start.mode == 'live' else 'Paper'} trading, start {decided.number}",
            "armed": told["armed"],
            "killed": None if kill is None else f"{kill.level}, by {kill.actor} at {utc(kill.ts)}",
            "facts": table(self._status.sections[0])["rows"],
        }

    def _troubles(self, following: Following) -> list[str]:
        made = [] if self._status is None else [one for one in self._status.troubles if not one.startswith(_OVER)]
        if following.doubt is not None:
            made.append(f"Not proven: {following.doubt}: recorded rows, valued at the prices of the last fills.")
        return made


def _proof(following: Following) -> str:
    if following.doubt is not None:
        return following.doubt
    since = "" if following.since is None else f" since the checkpoint of input {following.since}"
    return f"all {following.rows} rows{since} came again from the inputs up to {following.position}"
