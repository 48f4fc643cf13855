"""Checkpoints of live trading: written after seals, sound, and proof goes on from each as it does from the beginning."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from tests.live.player import Player, recorded
from tests.log.test_livelog import wait_for
from xarb.assembly import Assembly
from xarb.assembly.resolved import decode_config
from xarb.checkpoint import capture, restore
from xarb.cli import app
from xarb.errors import ConfigError, InvariantBroken, LogError, Refused
from xarb.log.check import verify_log
from xarb.log.checkpoints import KEPT, Checkpoint, checkpoint_paths, read_checkpoint, write_checkpoint
from xarb.log.info import info
from xarb.log.manifest import Manifest
from xarb.log.prune import prune
from xarb.log.reader import LogReader
from xarb.model.columns import INPUTS
from xarb.model.command import AnyCommand
from xarb.model.event import OutputRow
from xarb.provenance import code_digest
from xarb.replay import turn
from xarb.starts import LIVE, PAPER, Span, ground_of, spans
from xarb.verbs.verify import verify


def silent(done: int, total: int, note: str = "") -> None:
    """No progress."""


@cache
def market(first: int, count: int) -> list[tuple[str, tuple[Any, ...]]]:
    """Rows of the quickstart."""
    return list(recorded(first, count))


def played(folder: Path, mode: str = PAPER) -> Player:
    """A start on the first rows of the quickstart, which waits for a checkpoint after each of four seals."""
    sent: list[AnyCommand] = []
    player = Player(folder, mode=mode, send=sent.extend)
    for first in range(0, 24_000, 6_000):
        known = {*checkpoint_paths(folder)}
        player.play_and_seal(market(first, 5_000))
        player.play(market(first + 5_000, 1_000))
        wait_for(lambda known=known: bool({*checkpoint_paths(folder)} - known))  # type: ignore[misc]  # bound in the loop
    player.end()
    return player


@pytest.fixture(scope="module", params=[PAPER, LIVE])
def log(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log with checkpoints."""
    folder: Path = tmp_path_factory.mktemp(request.param) / "log"
    played(folder, request.param)
    return folder


def fresh(log: LogReader, span: Span) -> Assembly:
    """What a start was built from."""
    return Assembly(decode_config(span.start.config), ground_of(span.start, log.known_at(span.first), log.connections))


def test_what_is_restored_goes_on_alike(log: Path) -> None:
    """Cut at any place, a fresh assembly with the state as of there gives the same outputs, and the same state at the end."""
    with LogReader(log) as reader:
        (span,) = spans(reader)
        batches = list(reader.batches(kinds=INPUTS, rows=900, select=span.selection))
        whole, states, rows = fresh(reader, span), [], []
        for batch in batches:
            turn(whole, batch)
            rows.append(whole.engine.outputs.drain())
            states.append(capture(whole))
        assert sum(row[0] == "commands" for mine in rows for row in mine) > 20
        for cut in range(0, len(batches), 3):
            again = fresh(reader, span)
            restore(again, states[cut])
            assert capture(again) == states[cut]
            found: list[list[OutputRow]] = []
            for batch in batches[cut + 1 :]:
                turn(again, batch)
                found.append(again.engine.outputs.drain())
            assert found == rows[cut + 1 :]
            assert capture(again) == states[-1]


def test_each_seal_leaves_a_checkpoint_from_which_proof_goes_on(log: Path) -> None:
    """The newest ones are kept, whole, listed, and each proves what came after it; the last one by that name."""
    paths = checkpoint_paths(log)
    assert len(paths) == KEPT
    report = verify_log(log)
    assert (report.ok, report.checkpoints, report.leftovers) == (True, KEPT, [])
    assert info(log).checkpoints == tuple(int(path.stem) for path in paths)
    counts = []
    for path in paths:
        proof = verify(log, since=str(int(path.stem)), advance=silent)
        assert proof.equal, proof.tables
        assert int(path.stem) + 1 == int(proof.tables[0].rows[0][2].split()[0])
        counts.append(int(proof.tables[0].rows[0][3]))
    # what follows the last one depends on when its seal was done: maybe nothing any more
    assert 0 <= counts[2] <= counts[1] <= counts[0] < int(verify(log, advance=silent).tables[0].rows[0][3])
    assert counts[1] > 0
    last = verify(log, since="last", advance=silent)
    assert int(last.tables[0].rows[0][3]) == counts[-1]


def copied(log: Path, to: Path) -> tuple[Path, Checkpoint]:
    """A copy of a log, and its last checkpoint."""
    shutil.copytree(log, to)
    return to, read_checkpoint(checkpoint_paths(to)[-1], Manifest(to))


def test_damage_is_an_error_by_name(log: Path, tmp_path: Path) -> None:
    """Whatever byte is changed or cut off, under whatever name: `verify --from` and `log verify` name the file."""
    folder, _ = copied(log, tmp_path / "log")
    path = checkpoint_paths(folder)[-1]
    data = path.read_bytes()
    damaged = [data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :] for at in range(0, len(data), len(data) // 40)]
    for bad in (*damaged, data[:-1], data[: len(data) // 2], b"", data + b"x"):
        path.write_bytes(bad)
        with pytest.raises(LogError, match=path.name):
            verify(folder, since="last", advance=silent)
    assert [one.file for one in verify_log(folder).findings] == [f"checkpoints/{path.name}"]
    path.write_bytes(data)
    assert verify(folder, since="last", advance=silent).equal
    other = path.rename(path.with_stem(f"{int(path.stem) + 1:020d}"))
    with pytest.raises(LogError, match=f"{other.name}.*its name was changed"):
        verify(folder, since="last", advance=silent)


def test_a_foreign_checkpoint_is_refused_by_name(log: Path, tmp_path: Path) -> None:
    """Of other code, of another log, line or start, or of a state that does not fit: nothing is proven with it."""
    folder, mine = copied(log, tmp_path / "log")
    wrong: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"code_digest": "0" * 64}, Refused, "other code"),
        ({"log_id": "f" * 16}, LogError, "another log"),
        ({"line": "0" * 64}, LogError, "another log"),
        ({"start": 2}, LogError, "of start 2"),
        ({"seq": 10**9}, LogError, "input 1000000000 of this log does not belong"),
        ({"state": b"\x91\x01"}, LogError, "cannot be read"),
    ]
    for change, error, words in wrong:
        path = write_checkpoint(folder, msgspec.structs.replace(mine, **change))
        with pytest.raises(error, match=words):
            verify(folder, since=str(int(path.stem)), advance=silent)
        path.unlink()
    assert mine.code_digest == code_digest()
    with pytest.raises(ConfigError, match="has no checkpoint 7; there are: "):
        verify(folder, since="7", advance=silent)


def test_a_state_that_is_not_the_start_s_shows_as_a_difference(log: Path, tmp_path: Path) -> None:
    """A forged checkpoint, its digest right, in which the engine is disarmed: the decisions behind it are other ones."""
    folder, _ = copied(log, tmp_path / "log")
    first = read_checkpoint(checkpoint_paths(folder)[0], Manifest(folder))
    with LogReader(folder) as reader:
        (span,) = spans(reader)
        assembly = fresh(reader, span)
        restore(assembly, first.state)
        engine = assembly.engine.capture()
        risk = msgspec.structs.replace(engine.decisions.risk, armed=False)
        forged = fresh(reader, span)
        forged.engine.restore(msgspec.structs.replace(engine, decisions=msgspec.structs.replace(engine.decisions, risk=risk)))
        if assembly.venues is not None and forged.venues is not None:
            forged.venues.restore(assembly.venues.capture())
        write_checkpoint(folder, msgspec.structs.replace(first, state=capture(forged)))
    proof = verify(folder, since=str(first.seq), advance=silent)
    assert not proof.equal
    assert proof.tables[1].title == "First difference"


def test_a_checkpoint_is_of_one_setup(log: Path) -> None:
    """It does not go into an engine that has applied inputs, nor a paper one into real trading."""
    with LogReader(log) as reader:
        (span,) = spans(reader)
        state = read_checkpoint(checkpoint_paths(log)[-1], reader.manifest).state
        used = fresh(reader, span)
        restore(used, state)
        with pytest.raises(InvariantBroken, match="has applied inputs"):
            restore(used, state)
        start = span.start
        other = msgspec.structs.replace(start, mode=PAPER if start.mode == LIVE else LIVE)
        assembly = Assembly(decode_config(start.config), ground_of(other, reader.known_at(span.first), reader.connections))
        with pytest.raises(LogError, match="does not fit"):
            restore(assembly, state)


def test_what_was_started_after_a_checkpoint_is_proven_too(tmp_path: Path) -> None:
    """The start goes on to its end, with the money that the next one opens with, and that one from its beginning."""
    folder = tmp_path / "log"
    played(folder)
    second = Player(folder, seed=2)
    second.play(market(24_000, 2_000))
    second.end()
    proof = verify(folder, since="last", advance=silent)
    assert proof.equal
    assert [row[0] for row in proof.tables[0].rows] == ["1", "2"]


def test_proof_goes_on_from_a_checkpoint_behind_pruned_inputs(log: Path, tmp_path: Path) -> None:
    """With its first inputs gone a start cannot be proven, from a checkpoint behind them it can, and not from one before them."""
    folder, last = copied(log, tmp_path / "log")
    first = int(checkpoint_paths(folder)[0].stem)
    segments = [one for one in Manifest(folder).segments if one.last < last.seq]
    assert any(one.last > first for one in segments)
    prune(folder, segments[-1].last_ts + 1, by="a test")
    with pytest.raises(Refused, match="cannot be proven"):
        verify(folder, advance=silent)
    with pytest.raises(Refused, match="cannot be proven"):
        verify(folder, since=str(first), advance=silent)
    assert verify(folder, since="last", advance=silent).equal
    assert verify_log(folder).ok


def test_a_checkpoint_that_cannot_be_written_costs_only_itself(tmp_path: Path) -> None:
    """Where the folder cannot be made the log goes on, says why, and is proven whole."""
    folder = tmp_path / "log"
    player = Player(folder)
    (folder / "checkpoints").write_text("in the way")
    player.play_and_seal(market(0, 5_000))
    player.play(market(5_000, 1_000))
    wait_for(lambda: player.log.stats.checkpoint_error is not None)
    assert "checkpoints" in str(player.log.stats.checkpoint_error)
    player.end()
    (folder / "checkpoints").unlink()
    assert verify(folder, advance=silent).equal


def test_the_command_line_proves_from_a_checkpoint(log: Path) -> None:
    """`--from last` proves, an unknown input is an error that lists those that there are."""
    done = CliRunner().invoke(app, ["verify", str(log), "--from", "last"])
    assert done.exit_code == 0, done.output
    assert "from the checkpoint of input" in done.output
    assert "checkpoints" in CliRunner().invoke(app, ["log", "info", str(log)]).output
    with pytest.raises(ConfigError, match="has no checkpoint first; there are"):
        verify(log, since="first", advance=silent)
