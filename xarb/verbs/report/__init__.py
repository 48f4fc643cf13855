"""The report verb: runs and live logs as one page to look at, from their rows and a replay that gives these rows again."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from xarb.console import Advance, Table
from xarb.errors import ConfigError
from xarb.inquiry.decided import Decided, open_decided, starts_in
from xarb.log.manifest import Manifest
from xarb.provenance import code_digest
from xarb.sql.connection import open_query
from xarb.verbs.report.bundles import CAUSES
from xarb.verbs.report.page import Page, written
from xarb.verbs.report.parts import compared, reckoned

TRADES: Final = 500  # of each run with all that is known of them: some 10 KB each
MOST_PARTS: Final = 8  # runs and starts on a page
DEFINITIONS: Final = {
    "trading PnL": "What balances changed by, valued at the last mids; what the opening inventory gained by itself is not in it. The curve is at the prices of our fills.",
    "drawdown": "How far the curve stands below its highest point so far; the largest is of all moments.",
    "changes": "The curve is looked at once a period: the longest of day, hour, minute and second of which the run has at least 30. A change is from one end of a period to the next.",
    "Sharpe ratio": "Mean of the changes over their standard deviation (n - 1). A year's is this times the root of the number of periods in 365 days. No rate without risk, no capital. Undefined with fewer than two changes, or where all are equal.",
    "Sortino ratio": "Mean of the changes over the root of the mean square of the losses, of all n changes. Undefined without a loss.",
    "hit ratio": "Bundles of which the trading PnL is above zero, of those that changed any balance, by gas alone too, and of which it is known. Undefined without any.",
    "edge decided": "As the opportunity has it: of a pair bid / ask - 1 before fees, of a cycle after fees.",
    "edge realised": "Net profit over half the turnover, of bundles whose fills are in one quote asset.",
    **{f"PnL of {cause}": f"{meaning[0].upper()}{meaning[1:]}." for cause, meaning in CAUSES.items()},
    "price of the decision": "Of a pair the bid and ask of the decided opportunity; of a cycle on exchanges, and of a hedge of a swap, the limit price of the first order there.",
    "latency": "Quantiles are upper ends of bins of a hundredth of a decade: at most 2.4 % too high. Not above zero: the venue's clock is ahead of ours.",
}


class Wanted(NamedTuple):
    """What is asked for.

    Attributes:
        folders: runs and live logs.
        log: the input log of the runs, where it does not lie where they say.
        start: which start of live logs; None is all of them.
        trades: how many of each get a panel.
    """

    folders: Sequence[Path]
    log: Path | None = None
    start: int | None = None
    trades: int = TRADES


class Made(NamedTuple):
    """A page that was written: how many runs and starts are on it, its bytes, its key figures, and whether every row of all came again."""

    parts: int
    size: int
    key_figures: Table
    proven: bool


def report(wanted: Wanted, out: Path, *, advance: Advance) -> Made:
    """Write the page.

    Args:
        wanted: what is to be on it.
        out: the file; it is there whole or not at all.
        advance: told how far the replay is, with the run as its note.

    Raises:
        ConfigError: the file is there already or cannot be written, a folder is neither a run nor a log that was traded on, or there are too many.
        LogError: one is damaged.
        Refused: inputs were pruned, or a run's log is another one.
    """
    if out.exists():
        raise ConfigError(f"{out} is there already: move it or name another file")
    if len({folder.resolve() for folder in wanted.folders}) != len(wanted.folders):
        raise ConfigError("the same run is given twice")
    chosen = [one for folder in wanted.folders for one in _starts(folder, wanted)]
    if len(chosen) > MOST_PARTS:
        raise ConfigError(f"{len(chosen)} runs and starts: a page takes {MOST_PARTS}; name fewer, or one start with --start")
    found = []
    for folder, start in chosen:
        with open_decided(folder, log=wanted.log if start is None else None, start=start) as decided:
            name = _name(decided, [one.resolve().name for one in wanted.folders])
            notes = [*_notes(decided), *_only_sealed(decided)]

            def told(done: int, total: int, note: str = "", *, of: str = name) -> None:
                advance(done, total, note or of)

            found.append(reckoned(decided, name, notes, wanted.trades, told))
    key_figures, plots = compared(found)
    title = " and ".join(one.part.name for one in found)
    made = f"made by xarb {code_digest()[:12]}"
    page = Page(title, made, key_figures, plots, DEFINITIONS, [one.part for one in found])
    size = _put(out, written(page))
    return Made(len(found), size, key_figures, all(one.is_proven for one in found))


def _starts(folder: Path, wanted: Wanted) -> Iterator[tuple[Path, int | None]]:
    """A run alone, or the starts of a live log."""
    if Manifest(folder).header.kind == "run":
        yield folder, None
        return
    if wanted.start is not None:
        yield folder, wanted.start
        return
    sealed = Manifest(folder).last
    with open_query([folder]) as query:
        found = starts_in(query)
    if not found:
        raise ConfigError(f"{folder} is a log without a start: nothing was decided on it")
    shown = [one.start.number for one in found if one.first <= sealed]
    if not shown:
        raise ConfigError(f"{folder}: nothing is sealed yet; try again after the next seal")
    for number in shown:
        yield folder, number


def _name(decided: Decided, names: Sequence[str]) -> str:
    short = decided.folder.resolve().name
    name = short if names.count(short) == 1 else decided.folder.as_posix()
    return name if decided.span is None else f"{name}, start {decided.number} ({decided.span.start.mode})"


def _notes(decided: Decided) -> list[str]:
    code = str(decided.code_digest)[:12]
    kind = "Backtest" if decided.span is None else "Live trading" if decided.reports == "reports" else "Paper trading"
    made = [f"{kind} on {decided.log.resolve().name}, decided by code {code}."]
    if decided.span is not None:
        later = [one.start.number for one in starts_in(decided.outputs) if one.first > Manifest(decided.folder).last]
        made += [f"Start {number} is not sealed yet and not on this page." for number in later]
    return made


def _only_sealed(decided: Decided) -> list[str]:
    """Leaves out what is not sealed yet, and says so."""
    with decided.open_inputs() as reader:
        sealed, is_open = reader.last_seq, reader.is_open
    if decided.span is None or not is_open or decided.span.last <= sealed:
        return []
    if decided.span.first > sealed:
        raise ConfigError(f"{decided.title}: nothing of it is sealed yet; try again after the next seal")
    decided.span = decided.span._replace(last=sealed)
    return [f"The log is being written: what follows input {sealed} is not sealed yet and is left out."]


def _put(out: Path, text: str) -> int:
    """Write the file; its bytes."""
    half = out.with_name(f".{out.name}.part")
    try:
        with half.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        size = half.stat().st_size
        half.rename(out)
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written: {error.strerror}") from None
    finally:
        half.unlink(missing_ok=True)
    return size
