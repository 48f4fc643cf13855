"""The command line: exit codes, errors that name what is wrong, plain data in a pipe, and nothing left behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.imports.conftest import ROOT
from tests.trial import Trial, head, steady, usual, write_log
from xarb.console import while_read

ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}


def xarb(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command line in a folder."""
    command = [sys.executable, "-m", "xarb", *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `log`, `trial.toml` over it, `fees.toml`, and `run`, its backtest."""
    trial = Trial(tmp_path_factory.mktemp("place"))
    trial.experiment(trial.log(usual()))
    done = xarb("backtest", "trial.toml", "--out", "run", cwd=trial.folder)
    assert done.returncode == 0, done.stderr
    return trial.folder


def test_backtest_prints_tab_separated_tables_in_a_pipe(place: Path) -> None:
    """Standard output is tables alone, each with a comment line and one number of cells a row; what is said goes to standard error."""
    done = xarb("backtest", "trial.toml", cwd=place)
    assert (done.returncode, "run kept in runs/trial-" in done.stderr) == (0, True)
    titles = [line for line in done.stdout.splitlines() if line.startswith("# ")]
    assert titles[:3] == ["# Backtest", "# Assumptions", "# Strategies"]
    for block in done.stdout.split("# ")[1:]:
        rows = [line.split("\t") for line in block.splitlines()[1:]]
        assert len({len(row) for row in rows}) == 1
    assert "\x1b" not in done.stdout
    assert "alpha\tfees\tmaker 0 bps, taker 0 bps, in quote (a test, 2026-01)" in done.stdout


def test_ladder_prints_every_rung(place: Path) -> None:
    """`--ladder` states PnL with 0, 50, 100, 250 and 500 ms added, once a strategy."""
    done = xarb("backtest", "trial.toml", "--ladder", cwd=place)
    assert done.returncode == 0, done.stderr
    rungs = done.stdout.split("# Latency ladder")[1].splitlines()[2:]
    assert [row.split("\t")[0] for row in rungs] == ["0 ms", "50 ms", "100 ms", "250 ms", "500 ms"]


def test_set_overrides_one_key(place: Path) -> None:
    """`--set` changes the effective value and says so; the run is another one with another id."""
    shown = xarb("config", "show", "trial.toml", "--set", "strategies.cross.min_profit_bps=200", cwd=place)
    assert "strategies.cross.min_profit_bps\t200\tcommand line" in shown.stdout.splitlines()
    before = set((place / "runs").iterdir()) if (place / "runs").exists() else set()
    done = xarb("backtest", "trial.toml", "--set", "strategies.cross.min_profit_bps=200", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "cross\tmin_profit_bps\t" in done.stdout
    assert len(set((place / "runs").iterdir()) - before) == 1


def test_the_same_run_replaces_itself(place: Path) -> None:
    """Without `--out` a run lies in `runs/NAME-ID`; run again it is replaced by the same bytes."""
    first = xarb("backtest", "trial.toml", "--set", "run.seed=5", cwd=place)
    kept = Path(first.stderr.split("run kept in ")[1].split(";")[0])
    bytes_of = {path.relative_to(place): path.read_bytes() for path in sorted((place / kept).rglob("*.parquet"))}
    assert bytes_of
    second = xarb("backtest", "trial.toml", "--set", "run.seed=5", cwd=place)
    assert second.stdout == first.stdout
    assert {path.relative_to(place): path.read_bytes() for path in sorted((place / kept).rglob("*.parquet"))} == bytes_of


def test_verify_proves_a_run(place: Path) -> None:
    """`verify` of an untouched run exits with 0 and counts the rows that it compared."""
    done = xarb("verify", "run", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "result\tequal: every output row is reproduced" in done.stdout
    assert "code\tthe same as the run's" in done.stdout


def test_check_says_what_blocks_the_first_trade(place: Path) -> None:
    """`check` exits with 0 when a pair can trade, with 1 and the reason when none can."""
    good = xarb("check", "trial.toml", cwd=place)
    assert good.returncode == 0, good.stderr
    assert "BTC/USDT@alpha\tBTC/USDT@bravo\t-\tcan trade" in good.stdout
    poor = xarb("check", "trial.toml", "--set", "accounts.main.alpha.USDT=0", "--set", "accounts.main.bravo.USDT=0", cwd=place)
    assert poor.returncode == 1
    assert "balance: main has no USDT on alpha" in poor.stdout


def test_log_verbs(place: Path) -> None:
    """`log info` counts rows, `log verify` finds a log and a run whole."""
    info = xarb("log", "info", "log", cwd=place)
    assert "BTC/USDT@alpha\t40" in info.stdout
    for folder in ("log", "run"):
        done = xarb("log", "verify", folder, cwd=place)
        assert (done.returncode, "whole: digests, chain" in done.stdout) == (0, True), done.stderr


def test_version_and_help(place: Path) -> None:
    """`--version` and `--help` need no experiment; nothing at all is wrong use."""
    assert xarb("--version", cwd=place).stdout.startswith("xarb ")
    assert "backtest" in xarb("--help", cwd=place).stdout
    assert xarb(cwd=place).returncode == 2
    assert xarb("fly", cwd=place).returncode == 2


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads in /proc")
def test_numpy_starts_no_threads_of_its_own(place: Path) -> None:
    """The command needs no matrices, and threads for them that wait by spinning cost a fifth of a short run."""
    code = """
import os, sys
from xarb.__main__ import main
sys.argv = ["xarb", "--version"]
try:
    main()
except SystemExit:
    import numpy
    print(len(os.listdir("/proc/self/task")), "thread")
"""
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    environment |= {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=place, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.splitlines()[-1:] == ["1 thread"], done.stderr


def test_a_backtest_imports_nothing_that_it_does_not_use(place: Path) -> None:
    """A short run is mostly start-up: no compiler where the code is stored, no pydantic for texts and paths, no second table library."""
    script = "import sys; from xarb.__main__ import main\ntry:\n  main()\nfinally: print(*sys.modules)"
    words = ["backtest", "trial.toml", "--log", "log", "--out", "lean"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", script, *words]
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=True)
    unused = {"numba", "pydantic", "pyarrow.compute", "numpy.ma", "polars", "duckdb", "ccxt", "web3", "rich", "multiprocessing"}
    unused |= {"eth_account", "Crypto"}
    assert unused & set(done.stdout.splitlines()[-1].split()) == set()


def _write(path: Path, text: str) -> None:
    path.write_text(text)


HOSTILE = {
    "missing file": (("backtest", "none.toml"), 2, "none.toml: cannot be read: No such file"),
    "folder as file": (("backtest", "."), 2, "cannot be read: Is a directory"),
    "no TOML": (("backtest", "bad.toml"), 2, "bad.toml: no valid TOML"),
    "not UTF-8": (("backtest", "latin.toml"), 2, "latin.toml: no valid TOML"),
    "unknown key": (("backtest", "trial.toml", "--set", "run.sed=1"), 2, "unknown key run.sed; allowed: log, seed"),
    "unknown section": (("backtest", "trial.toml", "--set", "walk.seed=1"), 2, "unknown section 'walk'"),
    "set without value": (("backtest", "trial.toml", "--set", "run.seed"), 2, "--set run.seed: must be KEY=VALUE"),
    "bad value": (("backtest", "trial.toml", "--set", "run.seed=x"), 2, "run.seed = x"),
    "bad time": (("backtest", "trial.toml", "--set", "run.start=noon"), 2, "run.start = noon: allowed is an ISO 8601 time"),
    "no rows in time": (("backtest", "trial.toml", "--set", "run.start=2030-01-01"), 2, "no row between run.start and run.end"),
    "missing log": (("backtest", "trial.toml", "--log", "none"), 2, "none"),
    "file as log": (("backtest", "trial.toml", "--log", "fees.toml"), 2, "fees.toml"),
    "folder that is no log": (("backtest", "trial.toml", "--log", "."), 2, "no log"),
    "run as log": (("backtest", "trial.toml", "--log", "run"), 2, "run is a run, not a log"),
    "log without instruments": (("backtest", "trial.toml", "--log", "bare"), 2, "venues.alpha"),
    "unknown venue": (("backtest", "trial.toml", "--set", "venues.echo.fees=free-alpha"), 2, "venues.echo"),
    "other venue's fees": (("backtest", "trial.toml", "--set", "venues.alpha.fees=free-bravo"), 2, "that is the schedule of bravo"),
    "unknown account": (("backtest", "trial.toml", "--set", "strategies.cross.account=you"), 2, "there is no [accounts.you.VENUE]"),
    "unknown symbol": (("backtest", "trial.toml", "--set", 'strategies.cross.symbols=["X/Y"]'), 2, "the log has no X/Y"),
    "two latencies": (
        ("backtest", "trial.toml", "--set", "venues.alpha.order_latency={constant_ms=1, table_ms=[1]}"),
        2,
        "venues.alpha.order_latency: state exactly one of",
    ),
    "backward latency": (
        ("backtest", "trial.toml", "--set", "venues.alpha.order_latency={uniform_ms=[5, 1]}"),
        2,
        "venues.alpha.order_latency: latency",
    ),
    "backward outage": (
        ("backtest", "trial.toml", "--set", 'venues.alpha.outages=[["2024-01-02", "2024-01-01"]]'),
        2,
        "venues.alpha.outages: outage",
    ),
    "book source that is not there": (
        ("backtest", "trial.toml", "--set", "venues.alpha.book_source=deltas"),
        2,
        "venues.alpha.book_source = deltas: the log has only quotes",
    ),
    "taken folder": (("backtest", "trial.toml", "--out", "log"), 2, "log exists already"),
    "no rate": (("backtest", "trial.toml", "--set", "venues.alpha.rate_limit_per_s=0"), 2, "venues.alpha.rate_limit_per_s = 0"),
    "no interval": (("backtest", "trial.toml", "--set", "feeds.score_ms=0"), 2, "feeds.score_ms = 0"),
    "no interval on a venue": (
        ("backtest", "trial.toml", "--set", "venues.alpha.feeds.score_ms=0"),
        2,
        "venues.alpha.feeds.score_ms = 0",
    ),
    "zero notional": (
        ("backtest", "trial.toml", "--set", "strategies.cross.max_notional_quote=0"),
        2,
        "strategies.cross.max_notional_quote = 0",
    ),
    "verify of nothing": (("verify", "none"), 2, "none"),
    "verify of a log": (("verify", "log"), 2, "log is a log without a start"),
    "info of nothing": (("log", "info", "none"), 2, "none"),
    "query of nothing": (("query", "none", "SELECT 1"), 2, "none"),
    "query that is wrong": (("query", "log", "SELECT bid FROM nowhere"), 2, "nowhere"),
    "query that writes": (("query", "log", "COPY quotes TO 'x.csv'"), 2, "COPY"),
    "query format": (("query", "log", "SELECT 1", "--format", "xml"), 2, "--format xml: allowed are"),
    "import of nothing": (("import", "none.toml", "--into", "new"), 2, "none.toml"),
    "import of an unknown format": (("import", "zip", "fees.toml", "--into", "new"), 2, "'zip' is no format"),
    "import without files": (("import", "quotes-csv", "--into", "new"), 2, "give the files"),
    "symbols of nothing": (("symbols", "none"), 2, "none"),
}


@pytest.fixture(scope="module")
def hostile(place: Path) -> Path:
    """The folder with bad files beside the good ones."""
    (place / "bad.toml").write_text("[run\n")
    (place / "latin.toml").write_bytes(b'[run]\nlog = "caf\xe9"\n')
    write_log(place / "bare", [row for row in head() if row[1][0] == "connections"])
    return place


@pytest.mark.parametrize("case", sorted(HOSTILE))
def test_wrong_use_is_one_clear_line(case: str, hostile: Path) -> None:
    """Each wrong input ends with its exit code and one line that names it: no traceback, no new folder."""
    words, code, part = HOSTILE[case]
    before = sorted(path.name for path in hostile.iterdir())
    done = xarb(*words, cwd=hostile)
    assert done.returncode == code, done.stdout + done.stderr
    assert part in done.stderr
    assert "Traceback" not in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("xarb: ")]) == 1
    assert sorted(path.name for path in hostile.iterdir()) == before


@pytest.mark.parametrize("moment", ["manifest.jsonl", "kind=*"])
def test_interrupt_leaves_no_half_run(moment: str, place: Path, tmp_path: Path) -> None:
    """SIGINT as a run begins or while it writes exits with 130 and leaves no folder behind."""
    write_log(tmp_path / "log", [*usual(), *[row for row in steady(1_500_000) if row[0] >= 4000]])
    for name in ("trial.toml", "fees.toml"):
        shutil.copy(place / name, tmp_path / name)
    process = subprocess.Popen(
        [sys.executable, "-m", "xarb", "backtest", "trial.toml", "--out", "run", "--set", "run.seed=3"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not any((tmp_path / "run").glob(moment)) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert (process.returncode, said) == (130, "xarb: interrupted; nothing was kept\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fees.toml", "log", "trial.toml"]


@pytest.mark.skipif(sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2, reason="one core: the ladder runs in one process")
def test_interrupt_of_the_ladder_keeps_the_run_and_says_so(place: Path, tmp_path: Path) -> None:
    """Ctrl-C on a terminal reaches every process of the ladder: one line names the run that is kept, and no process stays behind."""
    write_log(tmp_path / "log", [*usual(), *[row for row in steady(400_000) if row[0] >= 4000]])
    for name in ("trial.toml", "fees.toml"):
        shutil.copy(place / name, tmp_path / name)
    process = subprocess.Popen(
        [sys.executable, "-m", "xarb", "backtest", "trial.toml", "--out", "run", "--ladder"],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + 120
    while process.poll() is None and not children.read_text() and time.monotonic() < deadline:
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert (process.returncode, said) == (130, "xarb: interrupted; the run is kept in run, the ladder is not\n")
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_interrupt_of_any_verb_is_one_line(tmp_path: Path) -> None:
    """A verb that keeps nothing says only that it was interrupted, and exits with 130."""
    text = "from xarb import __main__\nfrom xarb.cli.parts import log_app\n@log_app.command()\ndef stop(): raise KeyboardInterrupt\n__main__.main()"
    command = [sys.executable, "-c", text, "log", "stop"]
    done = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (130, "xarb: interrupted\n")


@pytest.mark.parametrize(("words", "code"), [(("why", "run", "1"), 141), (("verify", "run"), 141), (("status", "log"), 2)])
def test_a_reader_that_leaves_is_no_verdict(place: Path, words: tuple[str, ...], code: int) -> None:
    """Who reads left before a word was written: neither good nor a failed check, and no traceback; wrong use stays wrong use."""
    ours, theirs = os.pipe()
    os.close(ours)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "xarb", *words],
            cwd=place,
            env=ENVIRONMENT,
            stdout=theirs,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=300,
        )
    finally:
        os.close(theirs)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert "ignored" not in done.stderr


@pytest.mark.parametrize(("end", "code"), [("sys.exit(1)", 1), ("pass", 141), ("raise BrokenPipeError(32, 'Broken pipe')", 141)])
def test_a_verdict_that_was_reached_stands_without_a_reader(place: Path, end: str, code: int) -> None:
    """What was printed and is still held reaches nobody: the exit code of a failed check is that of a failed check."""
    program = f"import sys\nfrom xarb.console import while_read\nwith while_read():\n    print('different')\n    {end}"
    ours, theirs = os.pipe()
    os.close(ours)
    try:
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=place,
            env=ENVIRONMENT | {"PYTHONUNBUFFERED": ""},
            stdout=theirs,
            stderr=subprocess.PIPE,
            check=False,
            timeout=60,
        )
    finally:
        os.close(theirs)
    assert (done.returncode, done.stderr) == (code, b"")


def test_another_broken_pipe_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    """A connection that broke is an error with words, not a reader that left."""
    del capfd
    with pytest.raises(OSError, match="a connection broke: Broken pipe"), while_read():
        raise BrokenPipeError(32, "Broken pipe")


def test_closed_standard_streams_are_no_error(place: Path) -> None:
    """As a service may be begun: what would be printed goes nowhere, the exit code is the verdict."""
    command = f'exec "{sys.executable}" -m xarb verify run >&- 2>&-'
    done = subprocess.run(["sh", "-c", command], cwd=place, env=ENVIRONMENT, check=False, timeout=300)
    assert done.returncode == 0
