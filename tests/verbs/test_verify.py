"""The proof by replay: an untouched run is equal, and each change of run, config, log or code is found and said."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from operator import itemgetter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.imports.conftest import ROOT
from tests.live.player import Player
from tests.log.logs import forge, rewrite
from tests.trial import Trial, gap, head, quiet, tick, usual
from xarb.config import load_experiment
from xarb.errors import ConfigError, LogError, Refused
from xarb.log import manifest
from xarb.log.manifest import Manifest
from xarb.log.reader import LogReader
from xarb.log.writer import LogWriter
from xarb.model.columns import INPUTS
from xarb.verbs.backtest import backtest
from xarb.verbs.verify import Proof, verify


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a log and its run."""
    trial = Trial(tmp_path_factory.mktemp("made"))
    backtest(load_experiment(trial.experiment(trial.log(usual()))), out=trial.folder / "run", advance=quiet)
    return trial.folder


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    """A copy of it to damage."""
    shutil.copytree(made, tmp_path / "place")
    return tmp_path / "place"


def proof(place: Path) -> Proof:
    """The proof of the run there."""
    return verify(place / "run", advance=quiet)


def text_of(found: Proof) -> str:
    """All that is printed of a proof."""
    return "\n".join("\t".join(row) for table in found.tables for row in table.rows)


def change_header(run: Path, **changes: Any) -> None:
    """Rewrite a run's header with a chain that holds."""
    found = Manifest(run)
    path = run / manifest.NAME
    path.unlink()
    previous = manifest.append_line(path, msgspec.structs.replace(found.header, **changes))
    for segment in found.segments:
        previous = manifest.append_line(path, msgspec.structs.replace(segment, previous=previous))
    assert found.summary is not None
    manifest.append_line(path, msgspec.structs.replace(found.summary, previous=previous))


def refinish(run: Path, change: Callable[[], None]) -> None:
    """Make a change that rewrites the segments, and close the run again with the summary that it had."""
    before = Manifest(run).summary
    assert before is not None
    change()
    after = Manifest(run)
    manifest.append_line(run / manifest.NAME, msgspec.structs.replace(before, previous=after.head))


def test_untouched_run_is_equal(place: Path) -> None:
    """Every output row is reproduced, and their number and digest are stated."""
    found = proof(place)
    assert found.equal
    assert "equal: every output row is reproduced" in text_of(found)
    assert "the same as the run's" in text_of(found)


def test_run_and_log_may_move_together(place: Path, tmp_path: Path) -> None:
    """The run finds its log relative to itself; alone it must be told where."""
    (place / "run").rename(tmp_path / "alone")
    with pytest.raises(ConfigError, match="--log"):
        verify(tmp_path / "alone", advance=quiet)
    assert verify(tmp_path / "alone", log=place / "log", advance=quiet).equal


@pytest.mark.parametrize(
    ("kind", "column", "value"),
    [("fills", "price", 1), ("commands", "qty_int", 1), ("orders", "reason", "whim"), ("ledger", "balance", 7)],
)
def test_changed_row_is_shown(place: Path, kind: str, column: str, value: Any) -> None:
    """A row that was altered under digests that hold is the first difference: both values stand side by side, marked."""

    def altered(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [*rows[:-1], {**rows[-1], column: value}]

    refinish(place / "run", lambda: rewrite(place / "run", kind, lambda rows: altered([_money(row) for row in rows])))
    found = proof(place)
    assert not found.equal
    rows = next(table for table in found.tables if table.title == "First difference").rows
    marked = [row for row in rows if row[0] == "*"]
    assert [row[1] for row in marked] == [column]
    assert marked[0][2] == str(value)
    assert ("", "kind", kind, kind) in rows


def _money(row: dict[str, Any]) -> dict[str, Any]:
    """Decimals of Arrow as the ints at 18 decimals that rows hold."""
    return {name: int(value.scaleb(18)) if isinstance(value, Decimal) else value for name, value in row.items()}


def test_missing_row_is_shown(place: Path) -> None:
    """A row that was taken out is found at its place."""
    refinish(
        place / "run",
        lambda: rewrite(place / "run", "fills", lambda rows: [_money(row) for row in rows[:-1]], rows=len(_fills(place)) - 1),
    )
    found = proof(place)
    assert not found.equal
    assert "fills" in text_of(found)


def _fills(place: Path) -> list[dict[str, Any]]:
    return [dict(row) for kind, row in LogReader(place / "run").outputs() if kind == "fills"]


def test_changed_config_is_found(place: Path) -> None:
    """A header whose config was edited no longer fits the run's id, which was made of it."""
    config = Manifest(place / "run").header.config
    assert config is not None
    text = json.dumps(config).replace('"max_notional_quote": "10"', '"max_notional_quote": "9"')
    assert json.loads(text) != config
    change_header(place / "run", config=json.loads(text))
    with pytest.raises(LogError, match="the header was changed"):
        proof(place)


@pytest.mark.parametrize("changes", [{"log_id": "0" * 64}, {"seed": 99}])
def test_changed_id_or_seed_is_found(place: Path, changes: dict[str, Any]) -> None:
    """Id and seed of the header follow from config and log; no output row has to differ for a false one to be found."""
    change_header(place / "run", **changes)
    with pytest.raises(LogError, match="the header was changed"):
        proof(place)


def test_unreadable_config_is_an_error(place: Path) -> None:
    """A config of another version is refused, not guessed."""
    change_header(place / "run", config={"walk": 1})
    with pytest.raises(ConfigError, match="config cannot be read by this version"):
        proof(place)


def test_other_log_is_refused(place: Path) -> None:
    """A log with another digest proves nothing about this run, and that is said."""
    Trial(place).log(usual()[:-1], "other")
    with pytest.raises(Refused, match="is not the log of this run"):
        verify(place / "run", log=place / "other", advance=quiet)


def test_a_log_that_has_grown_is_replayed_as_far_as_it_went(place: Path) -> None:
    """What came to the log after the run, a new venue among it, has no part in the proof, and that is said."""
    log = place / "log"
    last, last_ts = Manifest(log).last, Manifest(log).last_ts
    later = [*head(("charlie",)), *gap(1000, 3000), (1500, tick("charlie", 11_000, 11_010, conn=2))]
    placed = [(kind, row | {"conn": 2} if kind == "connections" else row) for _, (kind, row) in sorted(later, key=itemgetter(0))]
    with LogWriter.append_to(log) as writer:
        for kind in INPUTS:
            keys = [{"seq": last + 1 + n, "ts_recv": last_ts + n} for n in range(len(placed))]
            writer.write_rows(kind, [key | row for key, (name, row) in zip(keys, placed, strict=True) if name == kind])
        writer.commit()
    assert Manifest(log).heads.index(Manifest(place / "run").header.input_digest or "") == 1
    found = proof(place)
    assert found.equal
    assert f"has {len(placed)} more inputs than the run saw" in text_of(found)
    with pytest.raises(LogError, match="no line has the digest"):
        LogReader(log, head="0" * 64)


def test_damaged_log_and_run_are_errors(place: Path) -> None:
    """A flipped bit in the run or in its log stops the proof with the file's name."""
    for folder, kind in (("run", "fills"), ("log", "quotes")):
        path = next((place / folder / f"kind={kind}").rglob("*.parquet"))
        whole = path.read_bytes()
        path.write_bytes(whole[:100] + bytes([whole[100] ^ 1]) + whole[101:])
        with pytest.raises(LogError, match=path.name):
            proof(place)
        path.write_bytes(whole)
    assert proof(place).equal


def test_unfinished_run_is_refused(place: Path) -> None:
    """A run without its last line was never finished."""
    forge(place / "run", lambda segment: segment)
    with pytest.raises(Refused, match="never finished"):
        proof(place)


def test_wrong_digest_in_the_last_line_is_an_error(place: Path) -> None:
    """Equal rows under a digest that is not theirs are damage."""
    found = Manifest(place / "run")
    assert found.summary is not None
    forge(place / "run", lambda segment: segment)
    again = Manifest(place / "run")
    summary = msgspec.structs.replace(found.summary, previous=again.head, output_digest="0" * 64)
    manifest.append_line(place / "run" / manifest.NAME, summary)
    with pytest.raises(LogError, match="digest"):
        proof(place)


def test_wrong_last_input_in_the_last_line_is_an_error(place: Path) -> None:
    """The last line names the input at which the fold ended, and the replay must end there too."""
    found = Manifest(place / "run")
    assert found.summary is not None
    forge(place / "run", lambda segment: segment)
    again = Manifest(place / "run")
    summary = msgspec.structs.replace(found.summary, previous=again.head, last_seq=found.summary.last_seq + 1)
    manifest.append_line(place / "run" / manifest.NAME, summary)
    with pytest.raises(LogError, match="last input"):
        proof(place)


def test_other_code_is_said(place: Path) -> None:
    """Made by other code, equal or not: the proof says which code made the run and which compares."""
    change_header(place / "run", code_digest="f" * 64)
    found = proof(place)
    assert found.equal
    assert "OTHER than the run's" in text_of(found)
    assert "ffffffffffffffff" in text_of(found)


def test_log_is_no_run(place: Path) -> None:
    """Verifying a log by replay is wrong use; the message names the right command."""
    with pytest.raises(ConfigError, match="xarb log verify"):
        verify(place / "log", advance=quiet)


def test_a_start_that_is_not_sealed_yet_is_said(tmp_path: Path) -> None:
    """While the first seal is still to come the log has a start: the proof waits for it, and does not say that there is none."""
    player = Player(tmp_path / "live")
    with pytest.raises(Refused, match="no start is sealed yet"):
        verify(tmp_path / "live", advance=quiet)
    player.end()
    assert verify(tmp_path / "live", advance=quiet).equal


def test_exit_code_tells(place: Path) -> None:
    """The command exits with 0 for an equal run and with 1 for a changed one, the difference on standard output."""
    command = [sys.executable, "-m", "xarb", "verify", "run"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}

    def done() -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)

    assert done().returncode == 0
    refinish(
        place / "run",
        lambda: rewrite(place / "run", "fills", lambda rows: [{**_money(row), "fill_id": "x"} for row in rows]),
    )
    found = done()
    assert (found.returncode, found.stderr) == (1, "")
    assert "# First difference" in found.stdout
    assert "*\tfill_id\tx\t" in found.stdout
