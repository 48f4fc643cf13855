"""The commands that ask a run or a log: why, at, branch, diff, status, and SQL."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from xarb.cli.parts import CodeOption, FormatOption, LogOption, SetOption, Verb, allow_code, app, overrides_of
from xarb.console import interruptible, progress, say, show


@app.command(cls=Verb)
def why(
    folder: Annotated[Path, typer.Argument(metavar="RUN_OR_LOG", help="Folder of a run, or of a log that was traded on.")],
    order: Annotated[str | None, typer.Argument(metavar="[ORDER]", help="Number or client order id of the order.")] = None,
    opportunity: Annotated[
        str | None,
        typer.Option("--opportunity", metavar="N", help="Explain this opportunity instead, such as one that was refused."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option("--start", metavar="N", help="Start of a live log in which the number counts; a client order id says it."),
    ] = None,
    log: LogOption = None,
    code: CodeOption = None,
    output: FormatOption = None,
) -> None:
    """Explain an order: the chain from it back to the market events, the state that the strategy saw, and what became of it.

    The state is obtained by replay up to the decision. See docs/why.md.
    """
    from xarb.inquiry.sections import check_format, publish
    from xarb.verbs.why import Question, numbered
    from xarb.verbs.why import why as explain

    check_format(output)
    allow_code(code)
    question = Question(order, numbered("--opportunity", opportunity), numbered("--start", start))
    publish(explain(folder, question, log=log), output)


@app.command(cls=Verb)
def at(
    folder: Annotated[Path, typer.Argument(metavar="RUN_OR_LOG", help="Folder of a run, or of a log that was traded on.")],
    seq: Annotated[str, typer.Option("--seq", metavar="N", help="The last input that counts.")],
    market: Annotated[
        list[str] | None,
        typer.Option(
            "--market", metavar="SYMBOL@VENUE", help="Show this instrument, such as BTC/USDT@kraken; may be repeated. Default: all."
        ),
    ] = None,
    depth: Annotated[str, typer.Option("--depth", metavar="N", help="Levels of each book.")] = "5",
    start: Annotated[
        str | None, typer.Option("--start", metavar="N", help="Start of a live log; default the one that applied the input.")
    ] = None,
    log: LogOption = None,
    code: CodeOption = None,
    output: FormatOption = None,
) -> None:
    """Show books, balances, open orders and bundles, feeds and breakers as the engine had them once an input was applied.

    They come from a replay up to there, in which every row came again as recorded. Find the input with xarb query. See docs/at.md.
    """
    from xarb.inquiry.sections import check_format, publish
    from xarb.verbs.at import Markets
    from xarb.verbs.at import at as look
    from xarb.verbs.why import numbered

    check_format(output)
    allow_code(code)
    wanted, levels = numbered("--seq", seq), numbered("--depth", depth)
    assert wanted is not None
    assert levels is not None
    with progress("replay") as advance:
        found = look(folder, wanted, Markets(market or (), levels), log=log, start=numbered("--start", start), advance=advance)
    publish(found, output)


@app.command(cls=Verb)
def branch(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")],
    seq: Annotated[str, typer.Option("--seq", metavar="N", help="The last input that is decided on as it was.")],
    settings: SetOption = None,
    off: Annotated[
        list[str] | None,
        typer.Option(
            "--off", metavar="STRATEGY", help="A strategy that begins nothing more; what it has open ends. May be repeated."
        ),
    ] = None,
    log: LogOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="RUN", help="Folder of the branch; default runs/branch-ID, replaced if there.")
    ] = None,
    code: CodeOption = None,
) -> None:
    """Show what would have happened from an input on with other parameters, as a run and beside what did happen.

    Money, orders, open bundles, breakers and the losses of the day are those of the run at input N; from there the same inputs go on under
    the settings of --set. Without any the rows come out as they were. Try: xarb branch runs/mine --seq 5000 --set
    strategies.eager.open_bps=5. The branch is a run: query, report, why, verify and diff take it. See docs/branch.md.
    """
    from xarb.verbs.branch import Parameters
    from xarb.verbs.branch import branch as go_on
    from xarb.verbs.why import numbered

    allow_code(code)
    wanted = numbered("--seq", seq)
    assert wanted is not None
    parameters = Parameters(overrides_of(settings), tuple(off or ()))
    with interruptible("nothing was kept"), progress("branch") as advance:
        made = go_on(folder, wanted, parameters, log=log, out=out, advance=advance)
    show(made.tables)
    say(f"branch kept in {made.folder}; what differs, and why: xarb diff {folder} {made.folder}")


@app.command(cls=Verb)
def diff(
    live: Annotated[Path, typer.Argument(metavar="LIVE", help="Side A: a log that was traded on, or a run.")],
    backtest_run: Annotated[Path, typer.Argument(metavar="BACKTEST", help="Side B: a run over the same market, or such a log.")],
    start: Annotated[str | None, typer.Option("--start", metavar="N", help="Which start of a live log.")] = None,
    log: LogOption = None,
    code: CodeOption = None,
    output: FormatOption = None,
) -> None:
    """Compare two runs or logs over one market: align opportunities and orders, and give each difference its cause.

    The money of all causes adds up to the difference of the ledgers, exactly, asset by asset. Exit code 0 when nothing differs but what
    the simulation of a chain declares (gas, base fees, the place in a block and the like), else 1. See docs/diff.md.
    """
    from xarb.inquiry.sections import check_format, publish
    from xarb.verbs.diff import diff as compare
    from xarb.verbs.why import numbered

    check_format(output)
    allow_code(code)
    found = compare(live, backtest_run, log=log, start=numbered("--start", start))
    publish(found.sections, output)
    if not found.equal:
        raise typer.Exit(1)


@app.command(cls=Verb)
def status(
    log: Annotated[Path, typer.Argument(metavar="LOG", help="Folder of a log that is or was traded on.")],
    output: FormatOption = None,
) -> None:
    """Say how live trading stands, from its log alone: start, arming, feeds, orders alive, balances, counts, health.

    Works while the log is being written. Exit code 0 when the last start runs, is armed and all feeds of its venues can be traded on, 1
    when not, with each reason on standard error.
    """
    from xarb.inquiry.sections import check_format, publish
    from xarb.verbs.status import status as look

    check_format(output)
    found = look(log)
    publish(found.sections, output)
    for trouble in found.troubles:
        say(trouble)
    if found.troubles:
        raise typer.Exit(1)


@app.command(cls=Verb)
def query(
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar='LOG_OR_RUN... ["SQL"]', help="Logs and runs, then the statement.")
    ] = None,
    output: Annotated[
        str | None, typer.Option("--format", help="table, csv, json or parquet; default table on a terminal, else csv.")
    ] = None,
    examples: Annotated[bool, typer.Option("--examples", help="Print statements that run as they stand.")] = False,
) -> None:
    """Ask a log or a run in SQL (DuckDB). Without a statement it opens a prompt.

    Views: one for each kind of event, prices as DOUBLE beside the exact integers. Macros: bps, mid, exact. See docs/query.md.
    """
    from xarb.sql.command import command

    raise typer.Exit(command(arguments or [], output=output, examples=examples))
