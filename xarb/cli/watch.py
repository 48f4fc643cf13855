"""The command for those who look on while a log is written."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from xarb.cli.parts import SetOption, Verb, app, overrides_of
from xarb.console import say


@app.command(cls=Verb)
def watch(
    log: Annotated[Path, typer.Argument(metavar="LOG", help="Folder of a log that is recorded or traded on.")],
    config: Annotated[
        Path | None, typer.Argument(metavar="[CONFIG.toml]", help="File with [watch] and [[alerts]]; the experiment's own will do.")
    ] = None,
    metrics_port: Annotated[
        str | None, typer.Option("--metrics-port", metavar="PORT", help="Serve metrics there, on loopback; 0: a free port.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Print the metrics as they stand and leave.")] = False,
    settings: SetOption = None,
) -> None:
    """Watch a log that another process writes: Prometheus metrics on loopback, and alerts to people.

    Tells what [[alerts]] name when trading is killed or disarmed, the process is gone or hangs, feeds are down, orders are of unknown fate,
    money is lost, the disk fills; with a daily summary and heartbeats outwards. Ends at Ctrl-C or SIGTERM. See docs/operations.md.
    """
    from xarb.config.watch import WatchConfig
    from xarb.watch.verb import NOBODY, metrics_once, port_of
    from xarb.watch.verb import watch as run_watch

    section, alerts = WatchConfig(), NOBODY
    if config is not None:
        from xarb.config import load_experiment

        experiment = load_experiment(config, overrides_of(settings))
        section, alerts = experiment.watch, experiment.alerts
    if once:
        sys.stdout.write(metrics_once(log, section))
        return
    run_watch(log, section, alerts, environment=os.environ, say=say, port=port_of(metrics_port))
