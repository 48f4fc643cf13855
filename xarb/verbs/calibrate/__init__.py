"""The calibrate verb: what logs of live trading say of each exchange, as a model file that its simulation takes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from xarb.console import Advance
from xarb.errors import ConfigError
from xarb.inquiry.sections import Section
from xarb.log.reader import LogReader
from xarb.venues.fold.draw import splitmix64
from xarb.verbs.calibrate.comparing import Figure, compare
from xarb.verbs.calibrate.fitting import LEAST
from xarb.verbs.calibrate.learning import Fit, Learnt
from xarb.verbs.calibrate.modelfile import written
from xarb.verbs.calibrate.orders import Trace
from xarb.verbs.calibrate.shown import sections
from xarb.verbs.calibrate.source import Part, decay, learn, named


class Wanted(NamedTuple):
    """What is asked for.

    Attributes:
        folders: logs.
        start: which start of each; None is all of them.
        compares: whether live starts are backtested with and without the model.
        least: observations without which nothing is fitted.
    """

    folders: Sequence[Path]
    start: int | None = None
    compares: bool = True
    least: int = LEAST


class Calibrated(NamedTuple):
    """What came of it: the tables, and whether anything was learnt, without which no file is written."""

    sections: list[Section]
    is_learnt: bool


def calibrate(wanted: Wanted, out: Path, *, advance: Advance) -> Calibrated:
    """Learn a model, write its file, and compare backtests with it.

    Args:
        wanted: from what.
        out: the file; it is there whole or not at all.
        advance: told how many logs are read, then how far the replays of each comparison are.

    Raises:
        ConfigError: the file is there already or cannot be written, or one of the folders is no log, or has no such start.
        LogError: one is damaged.
        Refused: inputs were pruned, or code of a strategy is not allowed.
    """
    if wanted.least < 1:
        raise ConfigError(f"--least {wanted.least}: allowed are numbers from 1 on")
    if out.exists():
        raise ConfigError(f"{out} is there already: move it or name another file")
    if len({folder.resolve() for folder in wanted.folders}) != len(wanted.folders):
        raise ConfigError("the same log is given twice")
    learnt: dict[str, Learnt] = {}
    parts: list[Part] = []
    for number, folder in enumerate(wanted.folders):
        advance(number, len(wanted.folders), f"read {folder.name}")
        parts += learn(folder, wanted.start, learnt)
    fits = {venue: Fit(one, wanted.least) for venue, one in sorted(learnt.items())}
    stated = {venue: fit for venue, fit in fits.items() if fit.keys}
    live = [part for part in parts if part.span is not None] if wanted.compares else []
    compared = [(named(part), *_compared(part, stated, advance)) for part in live]
    if stated:
        _put(out, written(parts, stated))
    return Calibrated(sections(parts, learnt, fits, compared, _decayed(live, fits)), bool(stated))


def _decayed(parts: Sequence[Part], fits: dict[str, Fit]) -> dict[str, list[int]]:
    """By venue, what would have been left of the book for the orders of live starts after latencies that the model draws."""

    def pick(one: Trace) -> int | None:
        there = fits[one.venue].order
        return there[splitmix64(0, one.order) % len(there)] if there else None

    found: dict[str, list[int]] = {}
    for part in parts:
        for venue, shares in decay(part, pick).items():
            found.setdefault(venue, []).extend(shares)
    return found


def _compared(part: Part, fits: dict[str, Fit], advance: Advance) -> tuple[list[Figure], str | None]:
    if part.span is None or not fits:
        return [], "nothing was learnt"
    first, last, done = part.span.first, part.span.last, [0, 0]  # inputs of replays before, and the last one applied

    def reached(seq: int) -> None:
        if seq < done[1]:
            done[0] += last - first
        done[1] = seq
        advance(done[0] + seq - first, 3 * (last - first + 1), named(part))

    with LogReader(part.folder) as reader:
        return compare(reader, part.span, part.orders, fits, reached)


def _put(out: Path, text: str) -> None:
    half = out.with_name(f".{out.name}.part")
    try:
        with half.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        half.rename(out)
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written: {error.strerror}") from None
    finally:
        half.unlink(missing_ok=True)
