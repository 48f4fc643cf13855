"""The commands that go to exchanges for market data: record, scan, venues; and what decodes a recording again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xarb.cli.parts import LogPath, SetOption, Verb, app, log_app, overrides_of
from xarb.console import drawn_in_place, interruptible, progress, say, show


@app.command(cls=Verb)
def record(
    what: Annotated[
        list[str],
        typer.Argument(metavar="CONFIG.toml|VENUES SYMBOLS", help="A file with [markets.NAME] tables, or names, comma-separated."),
    ],
    into: Annotated[Path, typer.Option("--into", metavar="LOG", help="Log to create or to continue.")] = Path("recordings/live"),
    duration: Annotated[
        str | None, typer.Option("--duration", metavar="T", help="Stop after so long: 90s, 30m, 12h or 7d; else at Ctrl-C.")
    ] = None,
    frames: Annotated[
        bool | None, typer.Option("--frames/--no-frames", help="Keep every raw message too; as the config says, else yes.")
    ] = None,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Record a minute (or --duration) into a temporary folder; print GB a day per table.")
    ] = False,
    settings: SetOption = None,
) -> None:
    """Record live market data of exchanges into a log.

    Every message is kept as it arrived and decoded at once. Ctrl-C or SIGTERM seals the log and ends with exit code 0; what a crash
    leaves is sealed by the next start, which goes on with the same log. See docs/record.md.
    """
    from msgspec.structs import replace

    from xarb.board import Board
    from xarb.settings import log_policy
    from xarb.sources import seconds_of, sources_of
    from xarb.venues.feeds import AnySource
    from xarb.verbs.record import estimate as run_estimate
    from xarb.verbs.record import record as run_record
    from xarb.verbs.record import report_tables

    exchanges, chains, config, retention = sources_of(what, overrides_of(settings))
    sources: list[AnySource] = [*exchanges, *chains]
    seconds = None if duration is None else seconds_of(duration)
    config = config if frames is None else replace(config, frames=frames)
    with drawn_in_place() as draw:
        board = Board(draw, None if draw else say)
        if estimate:
            tables = [run_estimate(sources, config=config, seconds=seconds or 60.0, board=board)]
        else:
            policy = log_policy(retention)
            tables = report_tables(run_record(sources, into, config=config, duration_s=seconds, board=board, policy=policy))
    show(tables)


@app.command(cls=Verb)
def scan(
    what: Annotated[
        list[str],
        typer.Argument(metavar="CONFIG.toml|VENUES SYMBOLS", help="A file with [markets.NAME] tables, or names, comma-separated."),
    ],
    once: Annotated[bool, typer.Option("--once", help="One look, when every price is there, and leave.")] = False,
    duration: Annotated[str | None, typer.Option("--duration", metavar="T", help="Stop after so long, such as 90s.")] = None,
    settings: SetOption = None,
) -> None:
    """Show what arbitrage between venues would yield now, after taker fees. Needs no keys and keeps nothing.

    Compares only what the asset table proves to be the same thing. Fees are what ccxt states for accounts that trade little.
    """
    from xarb.sources import seconds_of, sources_of
    from xarb.verbs.scan import View
    from xarb.verbs.scan import scan as run_scan

    recording = sources_of(what, overrides_of(settings))
    if recording.chains:
        say(f"Pools are not scanned: {', '.join(one.venue for one in recording.chains)} is left out.")
    seconds = None if duration is None else seconds_of(duration)
    with drawn_in_place() as draw:
        run_scan(recording.sources, View(once, seconds, draw, show))


@app.command(cls=Verb)
def venues(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One venue, in detail.")] = None,
) -> None:
    """List what each exchange offers: decoder, channels, proof of continuity, real orders, lookup by client id, timer and what it is used for, sandbox."""
    from xarb.verbs.venues import offers_tables

    show(offers_tables(name))


@log_app.command("rederive", cls=Verb)
def log_rederive(
    log: LogPath, into: Annotated[Path, typer.Option("--into", metavar="NEW", help="Folder of the log to make.")]
) -> None:
    """Decode the raw messages of a recorded log again, with the decoders of this version, into a new log.

    Everything that did not come out of a raw message is copied; outputs, starts and timers of live trading are left out.
    """
    from xarb.verbs.rederive import rederive, rederived_tables

    with interruptible("no new log was made"), progress("rederive") as advance:
        done = rederive(log, into, advance=advance)
    show(rederived_tables(done))
