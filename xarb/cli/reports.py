"""The commands that make something of what was done: a page to look at, as a file or live, and a model of the exchanges."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xarb.cli.parts import CodeOption, FormatOption, LogOption, Verb, allow_code, app
from xarb.console import progress, say


@app.command(cls=Verb)
def report(
    folders: Annotated[
        list[Path], typer.Argument(metavar="RUN_OR_LOG...", help="Runs, and logs that were traded on; several are compared.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE.html", help="The page to write.")],
    trades: Annotated[
        str, typer.Option("--trades", metavar="N", help="How many trades of each can be opened down to their quotes.")
    ] = "500",
    start: Annotated[
        str | None, typer.Option("--start", metavar="N", help="Which start of a live log; default all of them, beside each other.")
    ] = None,
    log: LogOption = None,
    code: CodeOption = None,
) -> None:
    """Write one page with everything to look at: equity, PnL by cause, trades down to their quotes, refusals, latencies, feeds.

    It is one file that asks nobody for anything. The figures come from a replay in which every row came again as recorded. Exit code 0
    when it is written; 1 when this code decides otherwise than that of a run, whose recorded rows are then shown, valued at the last
    fills. See docs/report.md.
    """
    from xarb.verbs.report import Wanted
    from xarb.verbs.report import report as write
    from xarb.verbs.why import numbered

    allow_code(code)
    most = numbered("--trades", trades)
    assert most is not None
    with progress("replay") as advance:
        made = write(Wanted(folders, log, numbered("--start", start), most), out, advance=advance)
    say(f"{out}: {made.parts} {'run' if made.parts == 1 else 'runs'}, {made.size / 1e6:.1f} MB")
    if not made.proven:
        say("not proven: this code decides otherwise than that of a run; the page says of which, xarb verify says where")
        raise typer.Exit(1)


@app.command(cls=Verb)
def dashboard(
    folder: Annotated[Path, typer.Argument(metavar="RUN_OR_LOG", help="Folder of a log that is or was traded on, or of a run.")],
    port: Annotated[str, typer.Option("--port", metavar="PORT", help="On 127.0.0.1; 0: a free one.")] = "0",
    token: Annotated[
        bool,
        typer.Option(
            "--token", help="Make a token, and let whoever has the printed address kill trading. Without it nothing can be changed."
        ),
    ] = False,
    log: LogOption = None,
    code: CodeOption = None,
) -> None:
    """Show a log live in a browser of this machine: PnL, open legs, exposure, feeds, refusals, kill switch; a finished run as well.

    The address is printed. Figures are those of xarb report and xarb status, pushed as they change. Ends at Ctrl-C or SIGTERM. See
    docs/dashboard.md.
    """
    from xarb.verbs.dashboard import dashboard as show
    from xarb.verbs.why import numbered

    allow_code(code)
    show(folder, log=log, port=numbered("--port", port) or 0, may_kill=token, say=say)


@app.command(cls=Verb)
def calibrate(
    logs: Annotated[
        list[Path], typer.Argument(metavar="LOG...", help="Logs that were traded on for real; of recordings the feed alone.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="MODEL.toml", help="The model file to write.")],
    start: Annotated[
        str | None, typer.Option("--start", metavar="N", help="Which start of each log; default all of them, together.")
    ] = None,
    no_backtest: Annotated[
        bool, typer.Option("--no-backtest", help="Do not replay the starts, without and with the model, beside what happened.")
    ] = False,
    least: Annotated[str, typer.Option("--least", metavar="N", help="Observations without which nothing is fitted.")] = "20",
    code: CodeOption = None,
    output: FormatOption = None,
) -> None:
    """Learn from live logs how quick, how willing and how deep exchanges are, as a model file that their simulation takes.

    Tables of latencies, refusals by reason, and what orders got of the book, printed observed beside fitted; what has too few observations
    is said and not fitted. Then how far a backtest of the same time is from live, without and with the model. An experiment takes the
    file with [venues.NAME] model = "MODEL.toml". Exit code 1 where nothing could be learnt: no file is written. See docs/calibrate.md.
    """
    from xarb.inquiry.sections import check_format, publish
    from xarb.verbs.calibrate import Wanted
    from xarb.verbs.calibrate import calibrate as learn
    from xarb.verbs.why import numbered

    check_format(output)
    allow_code(code)
    few = numbered("--least", least)
    assert few is not None
    with progress("replay") as advance:
        found = learn(Wanted(logs, numbered("--start", start), not no_backtest, few), out, advance=advance)
    publish(found.sections, output)
    if not found.is_learnt:
        say(f"nothing could be learnt: {out} is not written")
        raise typer.Exit(1)
    say(f"{out} is written")
