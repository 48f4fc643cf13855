"""The fault schedule: what goes wrong, where and when, as data.

    [[fault]]
    kind = "drop_reply"             # the order is taken, its reply is lost
    on = "POST /api/v3/order"       # glob over names of requests, streams or events
    after = 3                       # at the third one, and at `count` in all (0: at every one from there on)

Names: requests are `METHOD /path` on REST and the method on a request socket (`order.place`); frames are named after their stream
(`btcusdt@depth@100ms`) or their event (`executionReport`).
"""

from __future__ import annotations

from decimal import Decimal
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

from xarb.errors import ConfigError
from xarb.model.units import NANOS_PER_S
from xarb.serve.clock import Stamps
from xarb.serve.config import read_toml

Kind = Literal[
    "close",
    "freeze",
    "malformed",
    "gap",
    "status",
    "empty",
    "truncate",
    "drop_reply",
    "hang",
    "delay",
    "duplicate",
    "reorder",
    "clock_offset",
    "server_shutdown",
    "user_stream_end",
    "money",
]
REQUEST_KINDS: Final = frozenset({"status", "empty", "truncate", "drop_reply", "hang", "delay", "close"})
FRAME_KINDS: Final = frozenset({"close", "freeze", "malformed", "gap", "delay", "duplicate", "reorder"})
CLOCK_KINDS: Final = frozenset({"clock_offset", "server_shutdown", "user_stream_end", "money"})
TIMED_KINDS: Final = CLOCK_KINDS | {"close", "freeze"}
_LONGEST_S: Final = 86_400


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One fault.

    kind: close (the connection), freeze (the socket stays open and says nothing for `for_s`, then goes on with what was held back),
        malformed (a frame that is no JSON), gap (a frame that never comes), status (`status` and `code` in place of an answer, nothing is
        done), empty (a list of nothing, whatever is asked for: REST alone), truncate (half of a 200), drop_reply (done, but the connection ends before the answer), hang (done, never answered), delay (an
        answer or frame that comes `for_s` later), duplicate, reorder (after the following one), clock_offset (the venue's clock is wrong
        by `offset_ms` for `for_s`, 0 for good), server_shutdown (announced, and the sockets close after `for_s`), user_stream_end (what
        sockets are told of accounts ends, announced where the exchange announces it; they stay open), money (`change` of `asset` comes to
        `account`, or goes, as a rebate, a deposit or a withdrawal does that no list has).
    on: glob over names; `venue`: of one venue only.
    at_s: seconds after the market began; alone it strikes everything that fits then, with `after` it arms the count.
    after: the n-th matching request or frame, from 1; `count` of them in all, 0 for all that follow.
    """

    kind: Kind
    on: str = "*"
    venue: str | None = None
    at_s: Decimal | None = None
    after: Annotated[int, msgspec.Meta(ge=1)] | None = None
    count: Annotated[int, msgspec.Meta(ge=0)] = 1
    for_s: Decimal = Decimal(0)
    status: Annotated[int, msgspec.Meta(ge=400, le=599)] = 503
    code: int | None = None
    message: str = "Internal error; unable to process your request. Please try again."
    retry_after_s: int | None = None
    offset_ms: int = 0
    account: str = "main"
    asset: str | None = None
    change: Decimal = Decimal(0)

    @property
    def is_timed(self) -> bool:
        """Whether it strikes by the clock alone."""
        return self.at_s is not None and self.after is None and self.kind in TIMED_KINDS

    @property
    def for_ns(self) -> int:
        """`for_s` in ns."""
        return int(self.for_s * NANOS_PER_S)


class Schedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of faults."""

    fault: tuple[Fault, ...] = ()


def load_faults(path: Path) -> tuple[Fault, ...]:
    """Read a schedule.

    Raises:
        ConfigError: not readable, or a fault that could never strike.
    """
    schedule: Schedule = read_toml(path, Schedule)
    for number, fault in enumerate(schedule.fault):
        where = f"{path}: fault[{number}] ({fault.kind})"
        if fault.at_s is None and fault.after is None:
            raise ConfigError(f"{where}: state at_s, after or both")
        if fault.kind == "empty" and not fault.on.startswith("GET "):
            raise ConfigError(f'{where}: state on = "GET /...", a list that is asked for by REST')
        if fault.kind in CLOCK_KINDS and not fault.is_timed:
            raise ConfigError(f"{where}: it strikes by the clock: state at_s and not after")
        if fault.kind == "money" and (fault.asset is None or not fault.change or fault.change * 10**18 % 1):
            raise ConfigError(f"{where}: state the asset, and a change that is not 0 and has at most 18 decimals")
        if not all(0 <= seconds <= _LONGEST_S for seconds in (fault.at_s or Decimal(0), fault.for_s)):
            raise ConfigError(f"{where}: at_s and for_s lie between 0 and {_LONGEST_S}")
    return schedule.fault


class Faults:
    """Which fault strikes what. Each fault counts its own matches.

    Args:
        faults: the schedule.
        venue: the venue that asks.
        clock: for `at_s`.
    """

    def __init__(self, faults: tuple[Fault, ...], venue: str, clock: Stamps) -> None:
        self.faults = tuple(fault for fault in faults if fault.venue in {None, venue})
        self._clock = clock
        self._began: int | None = None
        self._seen = [0] * len(self.faults)
        self.struck = 0

    @property
    def any(self) -> bool:
        """Whether there is anything to look for."""
        return bool(self.faults)

    def begin(self) -> None:
        """The market begins: seconds count from here."""
        self._began = self._clock.mono_ns()

    def request(self, name: str) -> Fault | None:
        """The fault that strikes a request, or None."""
        return self._due(name, REQUEST_KINDS)

    def frame(self, name: str) -> Fault | None:
        """The fault that strikes a pushed frame, or None."""
        return self._due(name, FRAME_KINDS)

    def timed(self) -> list[Fault]:
        """Faults that strike by the clock alone, in order."""
        return sorted((fault for fault in self.faults if fault.is_timed), key=lambda fault: fault.at_s or Decimal(0))

    def _due(self, name: str, kinds: frozenset[str]) -> Fault | None:
        found = None
        for number, fault in enumerate(self.faults):
            if fault.is_timed or fault.kind not in kinds or not fnmatchcase(name, fault.on) or not self._is_armed(fault):
                continue
            self._seen[number] += 1
            first = fault.after or 1
            if found is None and self._seen[number] >= first and (not fault.count or self._seen[number] < first + fault.count):
                found = fault
        if found is not None:
            self.struck += 1
        return found

    def _is_armed(self, fault: Fault) -> bool:
        if fault.at_s is None:
            return True
        if self._began is None:
            return False
        return self._clock.mono_ns() - self._began >= int(fault.at_s * NANOS_PER_S)


__all__ = ["Fault", "Faults", "Schedule", "load_faults"]
