"""Small markets and experiments for tests of whole runs: a log of a few seconds, an experiment over it, and the rows of its run.

Venues alpha, bravo, charlie and delta trade BTC/USDT with prices in cents and sizes in 0.00001 BTC. All quote 100.00 / 100.10 every
100 ms; a test puts its own rows beside these or in their place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tests.log.logs import START, Placed, connection, instrument, quote
from xarb.config import load_experiment
from xarb.log.manifest import Header
from xarb.log.reader import LogReader
from xarb.log.writer import LogWriter
from xarb.model.columns import INPUTS
from xarb.verbs.backtest import backtest

MS: Final = 1_000_000
VENUES: Final = ("alpha", "bravo", "charlie", "delta")
SYMBOL: Final = "BTC/USDT"
LOT: Final = 100_000  # one BTC at the scale of sizes
SPOT: Final = {"tick_int": 1, "lot_int": 1}
FREE: Final = "".join(
    f'[free-{venue}]\nvenue = "{venue}"\nmaker = "0"\ntaker = "0"\nsource = "a test"\nas_of = "2026-01"\n' for venue in VENUES
)
Rows = list[tuple[int, Placed]]  # at so many ms after the start


def head(venues: Sequence[str] = VENUES[:2], symbols: Sequence[str] = (SYMBOL,)) -> Rows:
    """A connection for each venue, and its instruments."""
    rows: Rows = [(0, connection(number, venue)) for number, venue in enumerate(venues)]
    for venue in venues:
        for symbol in symbols:
            base, _, named = symbol.partition("/")
            rows.append((0, instrument((venue, symbol), 2, 5, base=base, quote=named, settle=named, **SPOT)))
    return rows


def tick(venue: str, bid: int = 10_000, ask: int = 10_010, *, symbol: str = SYMBOL, size: int | None = LOT, **more: Any) -> Placed:
    """A quote of a venue, in cents."""
    conn = more.pop("conn", VENUES.index(venue))
    return quote(bid, ask, key=(venue, symbol), conn=conn, bid_qty_int=size, ask_qty_int=size, **more)


def beat(venue: str) -> Placed:
    """A heartbeat of a venue's connection."""
    return connection(VENUES.index(venue), venue, "heartbeat")


def steady(until: int, venues: Sequence[str] = VENUES[:2], *, step: int = 100, **more: Any) -> Rows:
    """The same quotes every 100 ms, one venue after another."""
    return [(at + number, tick(venue, **more)) for at in range(0, until, step) for number, venue in enumerate(venues)]


def gap(at: int = 1000, until: int = 2000, *, by: int = 100, size: int | None = LOT, step: int = 100, symbol: str = SYMBOL) -> Rows:
    """From `at` to `until` bravo quotes `by` cents higher than alpha, every 100 ms: selling there and buying at alpha pays."""
    found: Rows = []
    for t in range(at, until, step):
        found.append((t, tick("alpha", size=size, symbol=symbol)))
        found.append((t + 1, tick("bravo", 10_000 + by, 10_010 + by, size=size, symbol=symbol)))
    return found


def usual() -> Rows:
    """A second of calm, a second in which bravo pays 90 bps more, two seconds of calm."""
    calm = [(at, row) for at, row in steady(4000) if not 1000 <= at < 2000]
    return [*head(), *calm, *gap()]


def write_log(folder: Path, rows: Rows) -> Path:
    """Write rows in the order of their times as a new log."""
    ordered = sorted(rows, key=lambda item: item[0])
    with LogWriter.create(folder, Header(kind="log", log_id="trial", origin="a test")) as writer:
        for kind in INPUTS:
            placed = [
                {"seq": seq, "ts_recv": START + at * MS} | row for seq, (at, (name, row)) in enumerate(ordered) if name == kind
            ]
            writer.write_rows(kind, placed)
        writer.commit()
    return folder


def experiment_text(log: Path, venues: Sequence[str] = VENUES[:2]) -> str:
    """An experiment over a log beside it: no fees, rich accounts, one strategy that takes whatever pays."""
    with LogReader(log) as reader:
        assets = {
            venue: sorted({name for i in reader.instruments if i.venue == venue for name in (i.base, i.quote)}) for venue in venues
        }
    parts = [f'[run]\nlog = "{log.name}"\nfees_file = "fees.toml"\n']
    for venue in venues:
        parts.append(f'[venues.{venue}]\nfees = "free-{venue}"\norder_latency = {{ constant_ms = 20 }}\n')
        parts.append("\n".join([f"[accounts.main.{venue}]", *(f"{asset} = 1000000" for asset in assets[venue]), ""]))
    parts.append('[strategies.cross]\nkind = "micro"\nmin_profit_bps = 1\nmin_profit_quote = 0\nmax_notional_quote = 10\n')
    return "\n".join(parts)


Run = dict[str, list[dict[str, Any]]]


class Trial:
    """A folder with logs, a fee schedule and experiments; `run` gives the output rows of a backtest by kind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs = 0
        (folder / "fees.toml").write_text(FREE)

    def log(self, rows: Rows, name: str = "log") -> Path:
        """A log in the folder."""
        return write_log(self.folder / name, rows)

    def experiment(self, log: Path, venues: Sequence[str] = VENUES[:2], *, without: Sequence[str] = (), more: str = "") -> Path:
        """An experiment file over a log; lines that begin with one of `without` are left out, `more` follows."""
        lines = experiment_text(log, venues).splitlines()
        text = "\n".join(line for line in lines if not line.startswith(tuple(without))) if without else "\n".join(lines)
        path = self.folder / "trial.toml"
        path.write_text(f"{text}\n{more}\n")
        return path

    def run(self, experiment: Path, settings: Mapping[str, str] | None = None) -> Run:
        """The rows of a backtest by kind; a kind without rows is an empty list."""
        self.runs += 1
        out = self.folder / f"run{self.runs}"
        backtest(load_experiment(experiment, settings), out=out, advance=quiet)
        rows = Kinds()
        with LogReader(out) as reader:
            for kind, row in reader.outputs():
                rows.setdefault(kind, []).append(dict(row))
        return rows


class Kinds(dict[str, list[dict[str, Any]]]):
    """Rows by kind."""

    def __missing__(self, kind: str) -> list[dict[str, Any]]:
        return []


def quiet(done: int, total: int, note: str = "") -> None:
    """A progress bar that shows nothing."""


def some(kind: str, **values: Any) -> Callable[[Run], bool]:
    """Whether a run has a row of that kind with these values."""
    return lambda run: any(all(row[name] == value for name, value in values.items()) for row in run[kind])
