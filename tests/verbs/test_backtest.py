"""A backtest: what it keeps, what it proves before it uses it, and what it leaves when it fails."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.trial import MS, Trial, gap, head, quiet, steady, tick, usual
from xarb.config import Experiment, load_experiment
from xarb.errors import ConfigError, LogError
from xarb.log.manifest import Manifest
from xarb.log.reader import LogReader
from xarb.model.columns import TABLES
from xarb.model.units import MONEY_ONE
from xarb.verbs.backtest import Result, backtest, ladder, log_of


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    """A folder."""
    return Trial(tmp_path)


@pytest.fixture
def experiment(trial: Trial) -> Experiment:
    """The usual market with one gap."""
    return load_experiment(trial.experiment(trial.log(usual())))


def test_run_names_its_log_config_code_and_digest(trial: Trial, experiment: Experiment) -> None:
    """The header of a run holds the digest of its input log and the effective config; its last line the digest of its outputs."""
    result = backtest(experiment, out=trial.folder / "run", advance=quiet)
    log, run = LogReader(trial.folder / "log"), LogReader(result.folder)
    header = run.header
    assert (header.kind, header.input_digest, header.origin) == ("run", log.digest, "../log")
    assert header.config is not None
    assert header.config["strategies"]["cross"]["min_profit_bps"] == "1"
    assert header.code_digest is not None
    assert run.manifest.summary is not None
    assert run.manifest.summary.output_digest == result.digest
    assert not any(TABLES[entry.kind].is_input for entry in run.manifest.files)


def test_run_id_follows_from_config_and_log_alone(trial: Trial, experiment: Experiment) -> None:
    """The same config over the same log is the same run wherever it is kept; another config or log is another run."""
    ids = [LogReader(backtest(experiment, out=trial.folder / name, advance=quiet).folder).header.log_id for name in ("one", "two")]
    other = load_experiment(Path(experiment.origin), {"run.seed": "2"})
    ids.append(LogReader(backtest(other, out=trial.folder / "three", advance=quiet).folder).header.log_id)
    log = trial.log(usual()[:-1], "shorter")
    ids.append(LogReader(backtest(experiment, log=log, out=trial.folder / "four", advance=quiet).folder).header.log_id)
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3


def test_money_is_what_the_market_gives(trial: Trial, experiment: Experiment) -> None:
    """Ten dollars' worth bought at 100.10 and sold at 101.00: the ledger says so to the last digit, and base ends where it began."""
    result = backtest(
        load_experiment(Path(experiment.origin), {"strategies.cross.cool_down_ms": "9000"}), out=trial.folder / "r", advance=quiet
    )
    rows = [row for kind, row in LogReader(result.folder).outputs() if kind == "ledger" and row["order"] is not None]
    change: dict[str, int] = {}
    for row in rows:
        change[row["asset"]] = change.get(row["asset"], 0) + row["delta"]
    qty = 9_900 * MONEY_ONE // 100_000  # 0.099 BTC is the most that sells for ten dollars at 101.00
    assert change == {"BTC": 0, "USDT": qty * 101 - qty * 10_010 // 100}


@pytest.mark.parametrize("batch_rows", [1, 262_144])
def test_inventory_is_revalued_apart_from_trading(trial: Trial, batch_rows: int) -> None:
    """Two million coins that gain a dollar after the first order are no trading profit, however the rows are cut."""
    rows = [*usual(), (4050, tick("bravo", 10_100, 10_110)), (4051, tick("alpha", 10_100, 10_110))]
    experiment = load_experiment(trial.experiment(trial.log(rows)), {"strategies.cross.cool_down_ms": "9000"})
    result = backtest(experiment, out=trial.folder / "run", advance=quiet, batch_rows=batch_rows)
    assert _account(result) == ("204100000.0891", "204100000", "0.0891", "2000000")


def test_without_an_order_inventory_is_not_revalued(trial: Trial) -> None:
    """Nothing was at stake: no profit and no revaluation, and no mark is said to be missing."""
    experiment = load_experiment(trial.experiment(trial.log([*head(), *steady(2000)])))
    assert _account(backtest(experiment, out=trial.folder / "run", advance=quiet))[2:] == ("0", "0")


def _account(result: Result) -> tuple[str, ...]:
    """Equity, opening inventory, trading PnL and inventory revaluation as printed."""
    return next(table.rows[0][2:] for table in result.tables if table.title.startswith("Accounts"))


def test_every_output_points_at_its_cause(trial: Trial, experiment: Experiment) -> None:
    """`after_seq` names an input that was there: no later than the output's time, and the log's rows are gap-free."""
    result = backtest(experiment, out=trial.folder / "run", advance=quiet)
    with LogReader(trial.folder / "log") as reader:
        times = {row.seq: row.ts_recv for batch in reader.batches() for row in batch.slow}
        for batch in reader.batches():
            times |= dict(zip(batch.quotes.seq.tolist(), batch.quotes.ts_recv.tolist(), strict=True))
        last = reader.last_seq
    assert sorted(times) == list(range(last + 1))
    outputs = list(LogReader(result.folder).outputs())
    assert outputs
    for _, row in outputs:
        assert times[row["after_seq"]] <= row["ts"]
        assert row["after_seq"] == last or row["ts"] <= times[row["after_seq"] + 1]


def test_ladder_gets_worse_or_equal_where_the_gap_is_brief(trial: Trial) -> None:
    """With 500 ms more the legs arrive when the gap is gone, so that nothing is earned."""
    brief = [*head(), *[row for row in steady(4000) if row[0] // 100 != 10], *gap(until=1100)]
    table = ladder(load_experiment(trial.experiment(trial.log(brief))), advance=quiet)
    pnl = [row[-1] for row in table.rows]
    assert float(pnl[0].split()[0]) > 0
    assert float(pnl[-1].split()[0]) <= 0


@pytest.mark.parametrize("kind", ["quotes", "instruments", "connections"])
def test_a_flipped_bit_is_found_before_the_data_is_used(kind: str, trial: Trial, experiment: Experiment) -> None:
    """A bit turned anywhere in the input ends the backtest with the file's name, and no run is left."""
    path = next((trial.folder / "log" / f"kind={kind}").rglob("*.parquet"))
    whole = path.read_bytes()
    for place in (4, len(whole) // 2, len(whole) - 9):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(LogError, match=path.name):
            backtest(experiment, out=trial.folder / "run", advance=quiet)
        assert not (trial.folder / "run").exists()
    path.write_bytes(whole)
    backtest(experiment, out=trial.folder / "run", advance=quiet)


def test_a_missing_or_longer_file_is_found(trial: Trial, experiment: Experiment) -> None:
    """A file that is gone, or that grew, ends the backtest."""
    path = next((trial.folder / "log" / "kind=quotes").rglob("*.parquet"))
    whole = path.read_bytes()
    path.write_bytes(whole + b"\0")
    with pytest.raises(LogError, match=path.name):
        backtest(experiment, out=trial.folder / "run", advance=quiet)
    path.unlink()
    with pytest.raises(LogError, match=path.name):
        backtest(experiment, out=trial.folder / "run", advance=quiet)
    assert not (trial.folder / "run").exists()


def test_a_changed_manifest_is_found(trial: Trial, experiment: Experiment) -> None:
    """A manifest line that was edited, or whose end is missing, ends the backtest."""
    path = trial.folder / "log" / "manifest.jsonl"
    whole = path.read_text()
    for text in (whole.replace('"rows":', '"rows":1', 1), whole[: len(whole) // 2], ""):
        path.write_text(text)
        with pytest.raises((LogError, ConfigError)):
            backtest(experiment, out=trial.folder / "run", advance=quiet)
        assert not (trial.folder / "run").exists()


def test_failure_midway_leaves_nothing(trial: Trial, experiment: Experiment) -> None:
    """An exception while the log is folded removes the run, and the folder can be used again."""

    def fail(done: int, total: int, note: str = "") -> None:
        raise KeyboardInterrupt(done, total, note)

    with pytest.raises(KeyboardInterrupt):
        backtest(experiment, out=trial.folder / "run", advance=fail)
    assert not (trial.folder / "run").exists()
    backtest(experiment, out=trial.folder / "run", advance=quiet)


def test_a_foreign_folder_is_never_replaced(trial: Trial, experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `out` an earlier run of the same id is replaced, but nothing that is no run."""
    monkeypatch.chdir(trial.folder)
    result = backtest(experiment, advance=quiet)
    assert result.folder.parent == Path("runs")
    assert backtest(experiment, advance=quiet).digest == result.digest
    shutil.rmtree(result.folder)
    result.folder.mkdir()
    (result.folder / "thesis.txt").write_text("years of work")
    with pytest.raises(ConfigError):
        backtest(experiment, advance=quiet)
    assert (result.folder / "thesis.txt").read_text() == "years of work"
    shutil.rmtree(result.folder)
    shutil.copytree("log", result.folder)
    with pytest.raises(ConfigError, match="is no run"):
        backtest(experiment, advance=quiet)
    assert LogReader(result.folder).header.kind == "log"


def test_a_run_with_anything_else_in_it_is_not_replaced(
    trial: Trial, experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that the manifest does not name, however deep, or a link is named and refused before any work; nothing is touched."""
    monkeypatch.chdir(trial.folder)
    folder = backtest(experiment, advance=quiet).folder
    notes = folder / "kind=orders" / "notes.txt"
    notes.write_text("years of work")
    with pytest.raises(ConfigError, match=r"does not name kind=orders/notes.txt; move it away"):
        backtest(experiment, advance=quiet)
    assert notes.read_text() == "years of work"
    assert Manifest(folder).summary is not None
    notes.unlink()
    (folder / "elsewhere").symlink_to(trial.folder / "log")
    with pytest.raises(ConfigError, match="does not name elsewhere"):
        backtest(experiment, advance=quiet)
    (folder / "elsewhere").unlink()
    folder.rename("kept")
    folder.symlink_to(trial.folder / "kept")
    with pytest.raises(ConfigError, match="is a link"):
        backtest(experiment, advance=quiet)
    assert Manifest(Path("kept")).summary is not None


def test_a_file_put_into_an_earlier_run_meanwhile_outlives_it(
    trial: Trial, experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only files of the earlier run are removed; what came to lie beside them stays, the error says where, and the new run stands."""
    monkeypatch.chdir(trial.folder)
    result = backtest(experiment, advance=quiet)

    def put(done: int, total: int, note: str = "") -> None:
        del done, total, note
        (result.folder / "notes.txt").write_text("years of work")

    with pytest.raises(ConfigError, match="is no file of it and stays there"):
        backtest(experiment, advance=put)
    assert Manifest(result.folder).summary is not None
    (left,) = Path("runs").glob("*/notes.txt")
    assert left.parent != result.folder
    assert left.read_text() == "years of work"
    assert list(left.parent.rglob("*.parquet")) == []


def test_an_earlier_run_stands_until_the_new_one_is_finished(
    trial: Trial, experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupt costs nothing that was there, and leaves nothing beside it."""
    monkeypatch.chdir(trial.folder)
    result = backtest(experiment, advance=quiet)

    def fail(done: int, total: int, note: str = "") -> None:
        raise KeyboardInterrupt(done, total, note)

    with pytest.raises(KeyboardInterrupt):
        backtest(experiment, advance=fail)
    assert Manifest(result.folder).summary is not None
    assert list(Path("runs").iterdir()) == [result.folder]


def test_a_run_is_never_made_inside_a_log(trial: Trial, experiment: Experiment) -> None:
    """A run in the folder of its log would be part of what the log's owner copies, prunes and proves."""
    with pytest.raises(ConfigError, match="lies inside the log"):
        backtest(experiment, out=trial.folder / "log" / "deep" / "run", advance=quiet)
    assert not (trial.folder / "log" / "deep").exists()


def test_log_is_found_beside_the_experiment(trial: Trial, experiment: Experiment) -> None:
    """`run.log` is relative to the file, wherever the command is typed; a log that is given wins."""
    assert log_of(experiment, None) == trial.folder / "log"
    assert log_of(experiment, Path("else")) == Path("else")


def test_part_of_a_log(trial: Trial, experiment: Experiment) -> None:
    """`run.start` and `run.end` cut the inputs by receive time, the end exclusive; all outputs lie between."""
    part = load_experiment(Path(experiment.origin), {"run.start": '"2023-11-14T22:13:21Z"', "run.end": '"2023-11-14T22:13:21.5Z"'})
    result = backtest(part, out=trial.folder / "run", advance=quiet)
    times = [row["ts"] for _, row in LogReader(result.folder).outputs()]
    start = 1_700_000_001_000 * MS
    assert start <= min(times)
    assert max(times) < start + 500 * MS
