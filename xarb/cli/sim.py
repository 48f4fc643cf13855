"""The command that runs simulated worlds."""

from __future__ import annotations

from typing import Annotated

import typer

from xarb.cli.parts import Verb, app
from xarb.console import progress, say, show


@app.command(cls=Verb)
def sim(
    seed: Annotated[int, typer.Option("--seed", min=0, metavar="N", help="The first world.")] = 1,
    count: Annotated[int, typer.Option("--count", min=1, metavar="K", help="How many worlds, by seeds that follow.")] = 1,
    trace: Annotated[bool, typer.Option("--trace", help="Print every event, with its time in ms.")] = False,
) -> None:
    """Try trading in simulated worlds full of faults: a seed gives the same world each time, event by event.

    The engine, execution, order desks and log are the real ones; exchanges, markets, time and chance are made up. What must never be
    (an order sent twice, money that differs, a limit broken, a log that does not come again) is looked for in each. See docs/simulation.md.
    """
    from xarb.simulation.verb import simulate

    with progress("sim") as advance:
        tables = simulate(seed, count=count, trace=say if trace else None, advance=advance)
    show(tables)
