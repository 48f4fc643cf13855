"""Walk-forward: the log's time in windows, in which of them settings are chosen and in which one the choice is judged."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final, NamedTuple

from xarb.config.sweep import SweepConfig
from xarb.errors import ConfigError
from xarb.toml import written
from xarb.verbs.sweep.space import Settings

_NANOS_PER_US: Final = 1000


class Span(NamedTuple):
    """Windows that follow each other: the first one's number, and how many."""

    first: int
    windows: int


class Split(NamedTuple):
    """Where settings are chosen and where the choice is judged; `judge` is None where all of the log is both."""

    choose: Span
    judge: Span | None


def edges(first_ts: int, last_ts: int, windows: int) -> list[int]:
    """Times in ns, whole microseconds, at which one window ends and the next begins."""
    return [(first_ts + (last_ts - first_ts) * number // windows) // _NANOS_PER_US * _NANOS_PER_US for number in range(1, windows)]


def splits(config: SweepConfig) -> list[Split]:
    """All splits in order of time.

    Raises:
        ConfigError: there are too few windows.
    """
    if not config.windows:
        return [Split(Span(0, 1), None)]
    if config.windows <= config.train:
        raise ConfigError(f"sweep.windows = {config.windows}: one more than sweep.train = {config.train} are needed at least")
    return [
        Split(Span(0, judge) if config.anchored else Span(judge - config.train, config.train), Span(judge, 1))
        for judge in range(config.train, config.windows)
    ]


def bounds(span: Span, cuts: Sequence[int]) -> Settings:
    """`run.start` and `run.end` of a span, where it does not begin or end with what is swept."""
    found = {}
    if span.first:
        found["run.start"] = _iso(cuts[span.first - 1])
    if span.first + span.windows <= len(cuts):
        found["run.end"] = _iso(cuts[span.first + span.windows - 1])
    return found


def _iso(ts: int) -> str:
    when = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=ts // _NANOS_PER_US)
    return written(when.isoformat(timespec="microseconds"))
