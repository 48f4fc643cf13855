"""The command that writes what a log or run holds for others: books for an accountant, market data for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xarb.cli.parts import Verb, app


@app.command(cls=Verb)
def export(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="fills, transfers, ledger, tardis or arrow.")],
    paths: Annotated[list[Path], typer.Argument(metavar="LOG_OR_RUN...", help="What was traded on; and logs for prices.")],
    year: Annotated[
        str | None, typer.Option("--year", metavar="YEAR", help="Calendar year in UTC; everything without one.")
    ] = None,
    currency: Annotated[
        str | None, typer.Option("--currency", metavar="ASSET", help="Value amounts in it, such as EUR, at the time of each.")
    ] = None,
    prices: Annotated[
        Path | None,
        typer.Option("--prices", metavar="FILE.csv", help="Prices in that currency beside those of the logs: time,asset,price."),
    ] = None,
    mode: Annotated[
        str | None, typer.Option("--mode", metavar="MODE", help="live, paper or backtest, where there are several.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="PATH", help="The file to write, standard output without it; of tardis and arrow a folder."),
    ] = None,
) -> None:
    """Write fills, transfers or a ledger in double entry as CSV, for somebody who keeps the accounts.

    Every entry of the ledger adds up to zero in each asset, fees and gas stand in the coin in which they were paid. `tardis` writes quotes, trades and
    books as Tardis CSV files, `arrow` all kinds as Arrow files. See docs/export.md.
    """
    from xarb.verbs.export.command import Wanted
    from xarb.verbs.export.command import export as write

    write(Wanted(kind, paths, year, mode, currency, prices), out)
