"""The commands that say where money lies, and how to move it back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xarb.cli.parts import FormatOption, LogOption, Verb, app
from xarb.console import say
from xarb.errors import Refused

Folder = Annotated[Path, typer.Argument(metavar="RUN_OR_LOG", help="Folder of a run, or of a log that is or was traded on.")]
Targets = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="CONFIG.toml", help="Take the targets of this file's [inventory], not those of the run or log."
    ),
]


@app.command(cls=Verb)
def inventory(folder: Folder, config: Targets = None, log: LogOption = None, output: FormatOption = None) -> None:
    """Show where each asset lies, its target by the config's [inventory], and how far from it, in units and in quote currency.

    As of the end of a run, or of the last start of a live log. Exit code 0 when every balance lies within its band, 1 when one does not, with
    each named on standard error. See docs/inventory.md.
    """
    from xarb.config import load_experiment
    from xarb.inquiry.sections import check_format, publish
    from xarb.verbs.inventory import inventory_of, inventory_sections

    check_format(output)
    found = inventory_of(folder, log=log, targets=None if config is None else load_experiment(config).inventory)
    publish(inventory_sections(found), output)
    for stray in found.strays:
        say(stray)
    if not found.inventory.shares:
        say("no targets: [inventory.shares.ACCOUNT.VENUE] states them")
    if found.strays:
        raise typer.Exit(1)


@app.command(cls=Verb)
def rebalance(
    folder: Folder,
    plan: Annotated[
        bool, typer.Option("--plan", help="Print the plan; xarb moves no money itself, so this must be given.")
    ] = False,
    config: Targets = None,
    networks: Annotated[
        Path | None,
        typer.Option("--networks", metavar="FILE", help="What is known of fees, minimums, steps and times of networks; TOML."),
    ] = None,
    ask: Annotated[
        bool, typer.Option("--ask", help="Ask the exchanges of --config for their networks now, with its keys.")
    ] = False,
    log: LogOption = None,
    output: FormatOption = None,
) -> None:
    """Plan the cheapest transfers that bring every asset back to its targets, for a person to carry out. Nothing is sent.

    Fees, minimums and what is open come from the log's wallets rows or the exchanges themselves (--ask), and from --networks. Exit code 0 when the
    plan brings everything back, or nothing needs it, 1 when an asset cannot be brought back or a transfer is under way. See docs/inventory.md.
    """
    from xarb.config import load_experiment
    from xarb.inquiry.sections import check_format, publish
    from xarb.verbs.inventory import inventory_of
    from xarb.verbs.rebalance import rebalance as run_rebalance
    from xarb.verbs.rebalance.asking import ask_networks
    from xarb.verbs.rebalance.networks import read_networks

    check_format(output)
    if not plan:
        raise Refused("xarb moves no money between venues; ask for the plan, with --plan")
    experiment = None if config is None else load_experiment(config)
    table = [] if networks is None else read_networks(networks)
    found = inventory_of(folder, log=log, targets=None if experiment is None else experiment.inventory)
    if not found.inventory.shares:
        raise Refused(
            "there are no targets: state them as [inventory.shares.ACCOUNT.VENUE], in the config or in the file of --config"
        )
    told = []
    if ask:
        if experiment is None:
            raise Refused("--ask needs --config: it says which exchanges, and where the keys are")
        told = ask_networks(experiment, {one.asset for one in found.holdings if one.shares})
    done = run_rebalance(found, table=table, told=told)
    publish(done.sections, output)
    for trouble in done.troubles:
        say(trouble)
    if done.troubles:
        raise typer.Exit(1)
    if not done.sections[0].rows:
        say("nothing to move: every balance lies within its band")
