"""The check for lookahead: what is decided without what follows must be what was decided with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest
from typer.testing import CliRunner

from tests.live.player import EXPERIMENT, QUICKSTART, Player, recorded
from tests.trial import quiet
from xarb.cli import app
from xarb.config import load_experiment
from xarb.engine.engine import Engine
from xarb.engine.strategy import Plan, View, Wake
from xarb.errors import ConfigError
from xarb.log.reader import LogReader
from xarb.model.batch import Batch
from xarb.strategies.micro import Micro
from xarb.verbs.backtest import backtest
from xarb.verbs.lookahead import lookahead

CUTS: Final = 40


def test_nothing_of_ours_looks_ahead(tmp_path: Path) -> None:
    """The quickstart, over cuts at random places."""
    run = backtest(load_experiment(EXPERIMENT), out=tmp_path / "run", advance=quiet).folder
    found = lookahead(run, CUTS, log=QUICKSTART, advance=quiet)
    assert found.equal
    assert found.tables[0].rows[0][1] == str(CUTS)


def test_each_start_of_a_live_log_is_checked(tmp_path: Path) -> None:
    """Two starts on paper, by the command."""
    folder = tmp_path / "log"
    for first, seed in ((0, 1), (1_500, 2)):
        player = Player(folder, seed=seed)
        player.play(list(recorded(first, 1_500)))
        player.end()
    done = CliRunner().invoke(app, ["verify", str(folder), "--cut", "15"])
    assert done.exit_code == 0, done.output
    assert done.stdout.count("no lookahead") == 2


def test_a_strategy_that_looks_ahead_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that waits until the batch that it was handed has nothing more to come: a run repeats it, and cuts show it."""
    batch: list[Batch] = []
    load, on_wake = Engine.load, Micro.on_wake

    def note(self: Engine, given: Batch) -> None:
        batch[:] = [given]
        load(self, given)

    def peek(self: Micro, wake: Wake, view: View) -> Sequence[Plan]:
        last = int(max(batch[0].quotes.ts_recv[-1:], default=0))
        return on_wake(self, wake, view) if last - view.now > 2 * 10**9 else ()

    monkeypatch.setattr(Engine, "load", note)
    monkeypatch.setattr(Micro, "on_wake", peek)
    run = backtest(load_experiment(EXPERIMENT), out=tmp_path / "run", advance=quiet).folder
    assert lookahead(run, 1, log=QUICKSTART, advance=quiet).tables[0].rows[0][1] == "1"
    found = lookahead(run, CUTS, log=QUICKSTART, advance=quiet)
    assert not found.equal
    assert "DIFFERENT before the cut at" in found.tables[0].rows[0][3]
    assert found.tables[1].title == "First difference"


def test_batches_end_at_the_cuts_and_hold_the_same_rows() -> None:
    """Also where a cut lies at an end, outside, or on a row that is not read."""
    with LogReader(QUICKSTART) as reader:
        whole = [seq for batch in reader.batches() for seq in batch.quotes.seq.tolist()]
        cuts = [0, 217, 218, 50_000, reader.last_seq, reader.last_seq + 5]
        parts = [batch.quotes.seq.tolist() for batch in reader.batches(cuts=cuts)]
    assert [seq for part in parts for seq in part] == whole
    for cut in cuts:
        assert not any(part and part[0] <= cut < part[-1] for part in parts)


def test_a_number_of_cuts_is_needed(tmp_path: Path) -> None:
    """At least one."""
    with pytest.raises(ConfigError, match="--cut 0: must be 1 or more"):
        lookahead(tmp_path, 0, advance=quiet)
