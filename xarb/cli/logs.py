"""The commands that make a log from files, look at one, prove it whole, mend it and cut it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xarb.cli.parts import LogPath, Verb, app, log_app, overrides_of
from xarb.console import interruptible, progress, say, show
from xarb.errors import ConfigError


@app.command(name="import", cls=Verb)
def import_command(
    what: Annotated[
        str, typer.Argument(metavar="SOURCES.toml|FORMAT", help="A sources file, or the format of the files that follow.")
    ],
    paths: Annotated[list[Path] | None, typer.Argument(metavar="[PATH]...", help="Files of one source, in order.")] = None,
    into: Annotated[Path, typer.Option("--into", metavar="LOG", help="Log to create or to continue.")] = Path("recordings/import"),
    venue: Annotated[str | None, typer.Option(help="Venue of the files, where they do not say it.")] = None,
    symbol: Annotated[str | None, typer.Option(help="Unified symbol of the files, such as BTC/USDT.")] = None,
    keys: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any other key of a [[source]].")] = None,
) -> None:
    """Import recorded files of other systems into a log, merged by receive time.

    Formats: quotes-csv, quotes-parquet, binance-raw, binance-archive, bybit-ob500, bybit-trades, okx-books, okx-trades, tardis-csv,
    tardis-raw, ccxt-books, coinapi-csv, cryptofeed-raw, cryptolake-parquet, hftbacktest-npz, nautilus-parquet. Bad rows become rejects with
    file, line and rule; only an unusable file stops the import, and then nothing of it is kept.
    """
    from xarb.imports.command import import_tables

    with interruptible("nothing of this import was kept"), progress("import") as advance:
        tables = import_tables(what, paths or [], into, {"venue": venue, "symbol": symbol, **overrides_of(keys)}, advance=advance)
    show(tables)


@app.command(cls=Verb)
def synthetic(
    into: Annotated[Path, typer.Option("--into", metavar="LOG", help="Folder of the log to make.")],
    seed: Annotated[int, typer.Option(help="Seed of the generator.")] = 20260105,
    events: Annotated[int, typer.Option(help="About how many events.")] = 200_000,
) -> None:
    """Make a synthetic market: three venues with every flaw that real feeds have. It is not real data and says so."""
    from xarb.synthetic import make_quickstart

    make_quickstart(into, seed=seed, events=events)
    say(f"synthetic market in {into}; look at it with: xarb log info {into}")


@log_app.command("info", cls=Verb)
def log_info(log: LogPath) -> None:
    """Show what a log or a run holds: range, rows and bytes by kind, instruments, digest."""
    from xarb.inspection import info_tables

    show(info_tables(log))


@log_app.command("verify", cls=Verb)
def log_verify(
    log: LogPath,
    had: Annotated[
        list[str] | None,
        typer.Option("--had", metavar="DIGEST", help="A digest that the log had once: it must still come by it. May be repeated."),
    ] = None,
    signed_by: Annotated[
        str | None, typer.Option("--signed-by", metavar="PUBKEY", help="The log must be signed by this key, see xarb log sign.")
    ] = None,
    signature: Annotated[
        Path | None, typer.Option("--signature", metavar="FILE", help="The signature; LOG.sig unless told otherwise.")
    ] = None,
) -> None:
    """Prove that a log or a run is whole: digests, chain, gap-free seq, schema, order. Exit code 1 with each finding if not.

    Whoever can write the files can write a whole log that is another. --had finds that out: give it a digest that was printed when trading or
    recording stopped, or came with a daily summary, and was kept elsewhere. So does --signed-by, up to the line that was signed.
    """
    from xarb.inspection import verify_tables

    if signature is not None and signed_by is None:
        raise ConfigError("--signature FILE: by whose key it must be says --signed-by PUBKEY")
    with progress("verify") as advance:
        tables, sound = verify_tables(log, had=had or (), signed_by=signed_by, signature=signature, advance=advance)
    show(tables)
    if not sound:
        raise typer.Exit(1)


@log_app.command("sign", cls=Verb)
def log_sign(
    log: LogPath,
    key: Annotated[str, typer.Option("--key", metavar="NAME", help="The signing key; make one with xarb keys add --signing NAME.")],
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Where the signature goes; LOG.sig unless told otherwise.")
    ] = None,
) -> None:
    """Sign the digest of a log's last sealed line, and with it every sealed row so far.

    Whoever has the public key proves with xarb log verify --signed-by that the log comes by that line. What is written later is covered by the next
    signature. Sign where the log's writer has no access, or with a key behind a passphrase that is typed: see docs/log.md.
    """
    import os

    from xarb.inspection import signed_table
    from xarb.venues.signingkeys import seed_of

    show([signed_table(log, seed_of(key, os.environ), to)])


@log_app.command("repair", cls=Verb)
def log_repair(log: LogPath) -> None:
    """Mend a log whose writer died: seal its journal, and if that is damaged, save every sound row and record the gap.

    The damaged file is kept. Nothing is changed in sealed files. A recorder that starts does all but the last by itself.
    """
    from xarb.inspection import repair_table

    show([repair_table(log)])


BeforeOption = Annotated[
    str | None,
    typer.Option("--before", metavar="TIME", help="Segments that end before it, such as 2026-01-05 or 2026-01-05T12:00Z."),
]
KeepOption = Annotated[
    str | None, typer.Option("--keep", metavar="T", help="Segments that end so long before the log does: 12h or 30d.")
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")]


@log_app.command("prune", cls=Verb)
def log_prune(
    log: LogPath,
    before: BeforeOption = None,
    keep: KeepOption = None,
    frames_only: Annotated[bool, typer.Option("--frames-only", help="Raw messages only; the engine's inputs stay.")] = False,
    dry_run: DryRunOption = False,
) -> None:
    """Remove old inputs and raw messages of a log for good. Orders, money, instruments and connections stay.

    Whole segments go, and a line of the manifest says so: the log still verifies, and what is left can be read, replayed and asked.
    Starts whose inputs went can no longer be proven. See docs/log.md.
    """
    from xarb.inspection import pruned_table
    from xarb.log.prune import prune
    from xarb.sources import cut_of

    by = f"xarb log prune {f'--before {before}' if before else f'--keep {keep}'}"
    done = prune(log, cut_of(log, before, keep), by=by, frames_only=frames_only, dry_run=dry_run)
    show([pruned_table(done, dry_run=dry_run)])


@log_app.command("archive", cls=Verb)
def log_archive(
    log: LogPath,
    to: Annotated[Path, typer.Option("--to", metavar="FOLDER", help="Folder of the archive, which does not exist yet.")],
    before: BeforeOption = None,
    keep: KeepOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Move the old part of a log into a folder of its own, which is a log too, then prune it here.

    The archive has the same lines and digests as the log: runs that were made from that part are proven with it. See docs/log.md.
    """
    from xarb.inspection import pruned_table
    from xarb.log.archive import archive
    from xarb.sources import cut_of

    by = f"xarb log archive {f'--before {before}' if before else f'--keep {keep}'}"
    with interruptible("nothing was removed from the log"), progress("archive") as advance:
        done = archive(log, cut_of(log, before, keep), to, by=by, progress=advance, dry_run=dry_run)
    show([pruned_table(done, dry_run=dry_run)])
