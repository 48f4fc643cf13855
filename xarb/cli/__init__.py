"""The command line: one command for each verb of the library. Heavy imports wait until a command needs them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from xarb import __version__
from xarb.cli import executor, exports, inventory, keys, logs, markets, questions, reports, sim, watch
from xarb.cli.parts import (
    CodeOption,
    ExperimentPath,
    LogOption,
    LogPath,
    SetOption,
    TradedLog,
    WaitOption,
    allow_code,
    app,
    config_app,
    new_app,
)
from xarb.cli.parts import Verb as _Verb
from xarb.cli.parts import overrides_of as _overrides
from xarb.console import Table, drawn_in_place, interruptible, progress, say, show, warn
from xarb.errors import Refused
from xarb.model.order import STOP, KillLevel

__all__ = [
    "app",
    "executor",
    "exports",
    "inventory",
    "keys",
    "logs",
    "markets",
    "questions",
    "reports",
    "sim",
    "watch",
]  # its commands are part of the application

_DEMO: Final = "quickstart"


def _version(asked: bool) -> None:  # noqa: FBT001  # typer hands the flag over by position
    if asked:
        typer.echo(f"xarb {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    pass


@app.command(cls=_Verb)
def demo() -> None:
    """Backtest the shipped synthetic recording and say what to type next.

    Runs experiments/quickstart.toml on recordings/quickstart with the latency ladder and keeps the run in runs/.
    """
    from xarb.demo import run_demo

    run_demo()


@app.command(cls=_Verb)
def backtest(
    experiment: ExperimentPath,
    log: LogOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="RUN", help="Folder of the run; default runs/NAME-ID, replaced if there.")
    ] = None,
    ladder: Annotated[bool, typer.Option("--ladder", help="Print PnL again with 0 to 500 ms added to order latency.")] = False,
    guarded: Annotated[
        bool,
        typer.Option(
            "--guard", help="Also look for what decides beside the log: clocks, chance, files, network, hash seeds, batch sizes."
        ),
    ] = False,
    settings: SetOption = None,
) -> None:
    """Replay a recorded log through the engine and the simulated venues.

    Prints the assumptions of the simulation, then what was earned and why opportunities were refused. The run is a folder of Parquet
    files that `xarb query` reads and `xarb verify` proves. The same log and config give the same run, byte for byte.
    """
    from xarb.config import load_experiment
    from xarb.verbs.backtest import backtest as run_backtest
    from xarb.verbs.backtest import ladder as run_ladder

    loaded = load_experiment(experiment, _overrides(settings))
    with interruptible("nothing was kept"), progress("backtest") as advance:
        result = run_backtest(loaded, log=log, out=out, advance=advance)
    show(result.tables)
    if ladder:
        with interruptible(f"the run is kept in {result.folder}, the ladder is not"), progress("ladder") as advance:
            show([run_ladder(loaded, log=log, advance=advance, run=result)])
    say(f"run kept in {result.folder}; prove it with: xarb verify {result.folder}")
    if guarded:
        from xarb.verbs.guard import guard

        sets = [word for pair in settings or () for word in ("--set", pair)]
        again = ["backtest", str(experiment), *([] if log is None else ["--log", str(log)]), *sets]
        with interruptible(f"the run is kept in {result.folder}"), progress("guard") as advance:
            found = guard(loaded, result.digest, log=log, again=again, advance=advance)
        show(found.tables)
        if not found.clean:
            raise Refused("something else than the log decides: see above")


@app.command(cls=_Verb)
def sweep(
    experiment: ExperimentPath,
    log: LogOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="Folder of the sweep; default runs/NAME-sweep-ID.")
    ] = None,
    trials: Annotated[
        str | None,
        typer.Option("--trials", metavar="N", help="Trials to draw, in place of sweep.trials; of a grid, at most so many."),
    ] = None,
    seed: Annotated[str | None, typer.Option("--seed", metavar="N", help="Seed of the search, in place of sweep.seed.")] = None,
    workers: Annotated[
        str | None, typer.Option("--workers", metavar="N", help="Processes that do the runs; default: one for each core.")
    ] = None,
    ray: Annotated[
        str | None, typer.Option("--ray", metavar="ADDRESS", help="Let a Ray cluster do the runs: HOST:PORT, or auto.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a sweep that was ended; finished runs are not done again.")
    ] = False,
    settings: SetOption = None,
) -> None:
    """Backtest many settings of one experiment on one log, on all cores, and say which did best and what that is worth.

    What is tried stands in the file, any key that a backtest heeds:

        [sweep]
        method = "random"     # or "grid": every combination
        trials = 50
        windows = 4           # walk-forward: chosen in one part of the time, judged in the next; without it, all of it at once
        [sweep.parameters]
        "strategies.cross.open_bps" = { low = 4.0, high = 12.0, step = 0.5 }
        "venues.alpha.order_latency.uniform_ms.1" = [120, 250]

    The log is decoded once and shared. Every run is a backtest whose outputs have the digest in the table: the same sweep gives the same
    table, however many processes did it. Ask it: xarb query FOLDER "SELECT * FROM trials ORDER BY trading_pnl DESC". See docs/sweep.md.
    Exit code 0, also where single trials failed, and 1 where all did.
    """
    from xarb.verbs.sweep import Hands, Plan, tables
    from xarb.verbs.sweep import sweep as run_sweep
    from xarb.verbs.why import numbered

    given = _overrides(settings)
    for key, text in (("trials", trials), ("seed", seed)):
        if (number := numbered(f"--{key}", text)) is not None:
            given[f"sweep.{key}"] = str(number)
    count = numbered("--workers", workers)
    plan = Plan(experiment, given)
    with interruptible("finished runs are kept; go on with --resume"), progress("sweep") as advance:
        found = run_sweep(plan, log=log, out=out, resume=resume, hands=Hands(count, ray), advance=advance)
    show(tables(found))
    say(f'table kept in {found.folder}; ask it with: xarb query {found.folder} "FROM trials ORDER BY trading_pnl DESC"')
    if all(row.outcome.error is not None for row in found.rows):
        raise Refused("every trial failed: see above")


@app.command(cls=_Verb)
def live(
    experiment: ExperimentPath,
    out: Annotated[Path, typer.Option("--out", metavar="LOG", help="Log to create or to go on with.")],
    real: Annotated[bool, typer.Option("--live", help='Send real orders; the config must say mode = "live" too.')] = False,
    account: Annotated[
        str | None, typer.Option("--account", metavar="LABEL", help="The account of real orders, by name; else it is asked for.")
    ] = None,
    duration: Annotated[
        str | None, typer.Option("--duration", metavar="T", help="Stop after so long: 90s, 30m, 12h or 7d; else at Ctrl-C.")
    ] = None,
    settings: SetOption = None,
) -> None:
    """Trade on live markets: on paper, with fills by the simulated venues of a backtest, unless real orders are asked for three times.

    Everything goes into the log, which proves what was done: xarb verify LOG. Ctrl-C, SIGTERM and `xarb stop LOG` let open bundles
    end, then seal the log (exit code 0); `xarb kill LOG` cancels everything at once (exit code 3). See docs/live.md.
    """
    from xarb.board import Board
    from xarb.config import load_experiment
    from xarb.live.verb import check_wanted, trade
    from xarb.sources import seconds_of

    loaded = load_experiment(experiment, _overrides(settings))
    seconds = None if duration is None else seconds_of(duration)
    if real and account is None and sys.stdin.isatty():
        account = typer.prompt("Real orders. Type the label of the account")
    check_wanted(loaded, is_live=real, label=account)
    if real:
        warn(f"REAL ORDERS: account {account} at {', '.join([*loaded.venues, *loaded.sending])}")
    with drawn_in_place() as draw:
        result = trade(loaded, out, duration_s=seconds, board=Board(draw, None if draw else say))
    show(result.tables)
    say(f"prove it with: xarb verify {out}")
    raise typer.Exit(result.exit_code)


@app.command(cls=_Verb)
def stop(log: TradedLog, wait: WaitOption = "60s") -> None:
    """Stop the process that trades on a log in order: no new bundles, open ones end, then the log is sealed.

    Exit code 0 once the log is sealed, 1 when nobody trades on it or it takes longer than --wait.
    """
    from xarb.live.kill import stop as run_stop
    from xarb.sources import seconds_of

    run_stop(log, wait_s=seconds_of(wait))
    say(f"{log}: stopped")


@app.command(cls=_Verb)
def kill(
    log: TradedLog,
    wait: WaitOption = "60s",
    level: Annotated[
        KillLevel,
        typer.Option(
            "--level",
            help="entries: no new bundles, those under way come to their end. cancel: every order is canceled and nothing more is sent. "
            "unwind: every order is canceled, and what is left is undone within its caps. stop: as cancel, and the process ends. "
            "Without a process entries is only noted, and nothing is undone.",
        ),
    ] = STOP,
    reset: Annotated[bool, typer.Option("--reset", help="Take an earlier kill back, so that trading may start again.")] = False,
    forget_losses: Annotated[
        bool, typer.Option("--forget-losses", help="Have the next start count the day's loss and the drawdown from nothing.")
    ] = False,
    forget_inventory: Annotated[
        bool,
        typer.Option(
            "--forget-inventory",
            help="Have the next start begin flat: max_exposure and budgets count from nothing, open bundles are not gone on with.",
        ),
    ] = False,
    reset_breakers: Annotated[
        bool, typer.Option("--reset-breakers", help="Have the next start begin with the breakers of all venues closed.")
    ] = False,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="CONFIG.toml", help="Where the process is dead or hangs: whose keys cancel its orders."),
    ] = None,
) -> None:
    """Kill trading on a log: cancel every order at once and end. No start follows until it is taken back with --reset.

    Below the level stop the process goes on without new bundles, so that it can be looked at; end it with xarb stop. A file named KILL in the
    log's folder does the same as this command, empty or with a level in it, and SIGQUIT the same as the level stop.

    Where the process is dead its real orders are canceled at the exchanges themselves, with the keys of --config, and each that may live is
    looked up until its end is proven; on chains the nonce of what waits is taken, with the wallets of --config, until a receipt says by what. At the level entries that is only noted. Where it hangs it is stopped, they are canceled at every level, and it is ended.
    Exit code 0 once all is done and proven, 1 when it is not, or there is nothing to kill.
    """
    from xarb.config import load_experiment
    from xarb.live.kill import forget_inventory as run_forget_inventory
    from xarb.live.kill import forget_losses as run_forget
    from xarb.live.kill import kill as run_kill
    from xarb.live.kill import reset as run_reset
    from xarb.live.kill import reset_breakers as run_reset_breakers
    from xarb.model.units import MONEY_SCALE, format_decimal
    from xarb.sources import seconds_of

    if reset:
        say(f"{log}: the kill by {run_reset(log)} is taken back")
    for one in run_forget(log) if forget_losses else ():
        say(f"{log}: {one.strategy} made {format_decimal(one.last, MONEY_SCALE)} {one.currency} so far, which is forgotten")
    for flow in run_forget_inventory(log) if forget_inventory else ():
        say(
            f"{log}: fills of {flow.strategy} changed {format_decimal(flow.amount, MONEY_SCALE)} {flow.asset} so far, which is forgotten"
        )
    for broken in run_reset_breakers(log) if reset_breakers else ():
        say(f"{log}: the breaker of {broken.account} on {broken.venue}, {broken.state} for {broken.reason}, is closed")
    if reset or forget_losses or forget_inventory or reset_breakers:
        return
    show(run_kill(log, wait_s=seconds_of(wait), level=level, experiment=None if config is None else load_experiment(config)))
    say(f"{log}: killed; before another start: xarb kill {log} --reset")


@app.command(cls=_Verb)
def verify(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run, or of a log that was traded on.")],
    log: LogOption = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="SEQ|last",
            help="Prove a live log from a checkpoint on, of that input or the last; xarb log info lists them.",
        ),
    ] = None,
    code: CodeOption = None,
    cut: Annotated[
        str | None,
        typer.Option(
            "--cut", metavar="N", help="Also decide it again with the inputs cut at N random places: nothing may look ahead."
        ),
    ] = None,
) -> None:
    """Prove a run, or the starts of a live log, by replay: feed the inputs to this code and compare every output row.

    Exit code 0 when all rows are equal, 1 with the first difference shown when they are not.
    """
    from xarb.verbs.verify import verify as run_verify
    from xarb.verbs.why import numbered

    allow_code(code)
    cuts = numbered("--cut", cut)
    with progress("verify") as advance:
        proof = run_verify(run, log=log, since=since, advance=advance)
    show(proof.tables)
    if proof.equal and cuts is not None:
        from xarb.verbs.lookahead import lookahead

        with progress("verify, cut") as advance:
            proof = lookahead(run, cuts, log=log, advance=advance)
        show(proof.tables)
    if not proof.equal:
        raise typer.Exit(1)


@app.command(cls=_Verb)
def check(
    experiment: ExperimentPath,
    log: LogOption = None,
    measure: Annotated[
        str, typer.Option("--measure", metavar="T", help="How long to record live markets to estimate a day's gigabytes.")
    ] = "5s",
    settings: SetOption = None,
) -> None:
    """Say whether an experiment can run, and what would block the first trade.

    With a log (--log, or run.log in the file) it is checked for a backtest; a file with [markets.NAME] and no log is checked for live
    trading: exchanges, clocks, accounts, fees, balances, networks, gigabytes a day; chains: whether their nodes can be followed, whether
    their pools' tokens arrive whole, and who sends there: wallet, executor, nonce, gas, what pays for it. Exit code 0 when every strategy has a pair that can trade and nothing forbids a start, else 1.
    """
    from xarb.config import load_experiment
    from xarb.verbs.check import check as run_check

    loaded = load_experiment(experiment, _overrides(settings))
    objections: list[str] = []
    if log is None and loaded.run.log is None and loaded.chains:
        from xarb.verbs.check.chains import check_chains

        chains = check_chains(loaded)
        show(chains.tables)
        if chains.objections:
            raise Refused("; ".join(chains.objections))
        if not loaded.strategies:
            say(f"ready: {chains.pools} pools can be recorded")
            return
    if log is None and loaded.run.log is None and (loaded.markets or loaded.chains):
        from xarb.sources import seconds_of
        from xarb.verbs.check.live import check_live

        findings, objections = check_live(loaded, seconds=seconds_of(measure))
    else:
        findings = run_check(loaded, log=log)
    show(findings.tables)
    if objections:
        raise Refused("no real orders: " + "; ".join(objections))
    if findings.idle or not findings.pairs:
        raise Refused(f"nothing can be traded by {', '.join(findings.idle) or 'this experiment'}; the verdicts say why")
    say(f"ready: {findings.pairs - findings.blocked} of {findings.pairs} pairs and instruments of cycles can trade")


@app.command(cls=_Verb)
def symbols(log: LogPath) -> None:
    """Show which instruments of a log are the same thing, with the proof, and which are not, with the reason."""
    from xarb.verbs.check import symbols as list_symbols

    show(list_symbols(log))


@app.command(cls=_Verb)
def serve(
    log: LogPath,
    venue: Annotated[
        list[str] | None, typer.Option("--venue", metavar="VENUE", help="Venue of the log to serve; may be repeated. Default: all.")
    ] = None,
    port: Annotated[
        list[str] | None,
        typer.Option("--port", metavar="PORT", help="Port of each venue, in order, or of the first alone; 0 or none: a free one."),
    ] = None,
    wire: Annotated[
        list[str] | None,
        typer.Option(
            "--wire", metavar="WIRE", help="Protocol to speak: binance or okx; of each venue in order, or of all. Default: binance."
        ),
    ] = None,
    speed: Annotated[str, typer.Option("--speed", metavar="N", help="Log seconds per second.")] = "1",
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="Accounts, API keys, fees and limits; see docs/serve.md.")
    ] = None,
    faults: Annotated[Path | None, typer.Option("--faults", metavar="FILE", help="Fault schedule; see docs/serve.md.")] = None,
    requests: Annotated[
        Path | None, typer.Option("--requests", metavar="FILE", help="Keep every request, reply and frame as JSON lines.")
    ] = None,
    tls: Annotated[
        Path | None, typer.Option("--tls", metavar="FOLDER", help="Serve TLS for the real host names; puts the authority there.")
    ] = None,
    skip_to: Annotated[
        str | None, typer.Option("--skip-to", metavar="TIME", help="Begin at this time of the log (ISO 8601), books filled.")
    ] = None,
    duration: Annotated[
        str | None, typer.Option("--duration", metavar="T", help="Stop after so long, such as 90s or 5m. Default: Ctrl-C.")
    ] = None,
    at_once: Annotated[bool, typer.Option("--at-once", help="Begin now, not at the first request.")] = False,
) -> None:
    """Serve recorded venues as a real exchange: any client of it can watch and trade, on loopback, with paper money.

    The first lines say where each venue listens. Orders really take liquidity from the replayed books; balances, fees, filters, signatures
    and error codes are the exchange's. /xarb/ledger on each port is the server's own account of all of it.
    """
    from xarb.serve.command import Options
    from xarb.serve.command import serve as run_serve

    options = Options(
        wires=wire or [],
        speed=speed,
        config=config,
        faults=faults,
        requests=requests,
        tls=tls,
        skip_to=skip_to,
        duration=duration,
        at_once=at_once,
    )
    run_serve(log, venue or [], port or [], options)


@config_app.command("show", cls=_Verb)
def config_show(experiment: ExperimentPath, settings: SetOption = None) -> None:
    """Print every effective value of an experiment file and where it comes from."""
    from xarb.config import load_experiment
    from xarb.config import settings as list_settings

    loaded = load_experiment(experiment, _overrides(settings))
    rows = tuple((setting.key, setting.value, setting.source) for setting in list_settings(loaded))
    show([Table(f"Effective config of {experiment}", ("key", "value", "source"), rows)])


@new_app.command("strategy", cls=_Verb)
def new_strategy(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Lower-case letters, digits and underscores.")],
    folder: Annotated[Path, typer.Option("--into", metavar="FOLDER", help="Where to write; made if it is not there.")] = Path(),
) -> None:
    """Write a strategy of your own that runs as it stands: its code, an experiment on the shipped recording, and a test.

    See docs/strategies.md.
    """
    from xarb.verbs.new import new_strategy as write

    paths = write(name, folder)
    for path in paths:
        say(f"written: {path}")
    say(f"run it with: xarb backtest {paths[1]}; test it with: pytest {paths[2]}")
