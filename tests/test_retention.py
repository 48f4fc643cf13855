"""Retention as a person meets it: keys of a config, commands, and what backtests, proofs and queries then say."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest

from tests.live.player import Player
from tests.live.test_trading import market, silent
from tests.log.aged import DAY, aged, named
from tests.log.live import read_outputs
from tests.log.logs import START
from tests.test_cli import xarb
from tests.trial import MS, Trial, quiet, usual
from xarb.config import RetentionConfig, load_experiment
from xarb.errors import ConfigError, Refused
from xarb.frames import scan
from xarb.log.archive import archive
from xarb.log.check import verify_log
from xarb.log.committer import Policy
from xarb.log.livelog import LiveLog
from xarb.log.manifest import Manifest
from xarb.log.prune import prune
from xarb.log.reader import LogReader, Selection
from xarb.log.tombstones import ENGINE_INPUTS, FRAMES
from xarb.log.writer import LogWriter
from xarb.model.columns import INPUTS
from xarb.settings import log_policy
from xarb.sources import sources_of
from xarb.verbs.backtest import backtest
from xarb.verbs.rederive import rederive
from xarb.verbs.verify import verify

_IDS = ("client_order_id", "venue_order_id", "fill_id")
MARKET = '[markets.binance]\nsymbols = ["BTC/USDT"]\n'


@pytest.mark.parametrize(
    ("keys", "frames", "inputs"),
    [("", 0, 0), ("frames_days = 2", 1, 0), ("inputs_days = 1", 0, 2), ("frames_days = 1\ninputs_days = 2", 2, 1)],
)
def test_each_key_has_its_effect(tmp_path: Path, keys: str, frames: int, inputs: int) -> None:
    """What the file of a recording says goes at the log's next seal; without the keys nothing ever does."""
    path = tmp_path / "record.toml"
    path.write_text(f"{MARKET}[retention]\n{keys}\n")
    folder = aged(tmp_path / "log")
    with LiveLog.open(folder, log_policy(sources_of([str(path)], {}).retention)) as log:
        log.append({"health": [(log.last + 1, log.last_ts, None, "m", 1, None)]})
    gone = sorted([*named(folder, FRAMES, range(frames)), *named(folder, ENGINE_INPUTS, range(inputs))])
    assert sorted(Manifest(folder).gone) == gone
    assert verify_log(folder).ok


def test_days_are_whole_and_not_below_zero(tmp_path: Path) -> None:
    """Anything else names the key; the default keeps everything, as does a recording without a file."""
    path = tmp_path / "record.toml"
    for value in ("-1", "1.5", '"a"'):
        path.write_text(f"{MARKET}[retention]\nframes_days = {value}\n")
        with pytest.raises(ConfigError, match=r"retention\.frames_days"):
            load_experiment(path)
    assert sources_of(["binance", "BTC/USDT"], {}).retention == RetentionConfig()
    assert log_policy(RetentionConfig()) == Policy()


def test_commands_prune_and_archive(tmp_path: Path) -> None:
    """A dry run says what would go; each takes one of --before and --keep; `log info` and `log verify` show what went."""
    folder = aged(tmp_path / "log")
    dry = xarb("log", "prune", "log", "--keep", "1d", "--frames-only", "--dry-run", cwd=tmp_path)
    assert (dry.returncode, "nothing was done: a dry run" in dry.stdout) == (0, True), dry.stderr
    assert Manifest(folder).tombstones == []
    done = xarb("log", "prune", "log", "--keep", "36h", "--frames-only", cwd=tmp_path)
    assert "segments\t0 to 1 (frames)" in done.stdout, done.stderr
    done = xarb("log", "archive", "log", "--before", "2023-11-15T00:00Z", "--to", "old", cwd=tmp_path)
    assert "segments\t0 to 0 (inputs)" in done.stdout, done.stderr
    assert "no longer proven by replay\tstarts 1\n" in done.stdout
    info = xarb("log", "info", "log", cwd=tmp_path)
    assert "archived to old\t" in info.stdout
    assert "xarb log prune --keep 36h, " in info.stdout
    checked = xarb("log", "verify", "log", cwd=tmp_path)
    assert (checked.returncode, "pruned or archived: files, rows\t4, 6;" in checked.stdout) == (0, True), checked.stdout
    assert xarb("log", "verify", "old", cwd=tmp_path).returncode == 0
    for words in ((), ("--before", "2023-11-15", "--keep", "1d")):
        wrong = xarb("log", "prune", "log", *words, cwd=tmp_path)
        assert (wrong.returncode, "one of --before TIME and --keep T" in wrong.stderr) == (2, True)


def test_a_backtest_of_what_is_gone_is_refused_and_of_what_is_left_as_before(tmp_path: Path) -> None:
    """It names the first seq that is left; from there on the same config decides what it did before the pruning."""
    trial = Trial(tmp_path)
    log = trial.log(usual())
    first, ts = Manifest(log).last, START + DAY
    again = sorted(((at, row) for at, (kind, row) in usual() if kind == "quotes"), key=itemgetter(0))
    with LogWriter.append_to(log) as writer:
        rows = [row | {"seq": first + 1 + n, "ts_recv": ts + (at + 1000) * MS} for n, (at, row) in enumerate(again)]
        writer.write_rows("quotes", rows)
        writer.commit()
    experiment = trial.experiment(log)
    whole = load_experiment(experiment)
    later = load_experiment(experiment, {"run.start": f'"{_iso(ts)}"'})
    backtest(whole, out=tmp_path / "whole", advance=quiet)
    backtest(later, out=tmp_path / "later", advance=quiet)
    prune(log, ts, by="a test")
    with pytest.raises(Refused, match=rf"the first seq that is left whole is {first + 1}"):
        backtest(whole, out=tmp_path / "again", advance=quiet)
    with pytest.raises(Refused, match="were pruned"):
        verify(tmp_path / "whole", advance=quiet)
    assert verify(tmp_path / "later", advance=quiet).equal
    backtest(later, out=tmp_path / "again", advance=quiet)
    assert _decided(tmp_path / "again") == _decided(tmp_path / "later") != []
    assert scan(log).quotes.collect()["seq"].min() == first + 1


def _decided(run: Path) -> list[tuple[str, dict[str, Any]]]:
    """The outputs of a run but for its own id, which stands in those of its orders."""
    return [(kind, {k: v for k, v in row.items() if k not in _IDS}) for kind, row in read_outputs(run)]


def _iso(ts: int) -> str:
    return dt.datetime.fromtimestamp(ts // 10**9, tz=dt.UTC).isoformat()


def test_a_run_is_proven_with_the_archive_of_its_log(tmp_path: Path) -> None:
    """The archive has the digest that the run names, so that its proof goes on where the inputs are."""
    trial = Trial(tmp_path)
    log = trial.log(usual())
    experiment = trial.experiment(log)
    backtest(load_experiment(experiment), out=tmp_path / "run", advance=quiet)
    archive(log, Manifest(log).last_ts + 1, tmp_path / "old", by="a test")
    with pytest.raises(Refused, match="were archived"):
        verify(tmp_path / "run", advance=quiet)
    assert verify(tmp_path / "run", log=tmp_path / "old", advance=quiet).equal


def test_starts_behind_what_is_gone_are_proven(tmp_path: Path) -> None:
    """Of two starts the one whose inputs went is named, the other is equal; when both went the proof is refused."""
    folder = tmp_path / "log"
    for seed, first in ((1, 0), (2, 5_000)):
        player = Player(folder, seed=seed)
        player.play(market(first, 5_000))
        player.end()
    segments = Manifest(folder).segments
    with LogReader(folder) as reader:
        _, second = (row["seq"] for row in reader.rows("starts"))
    before = next(one for one in segments if one.last == second - 1)
    prune(folder, before.last_ts + 1, by="a test")
    proof = verify(folder, advance=silent)
    assert proof.equal
    assert [(row[0], row[-1]) for row in proof.tables[0].rows] == [("1", "not provable: inputs were pruned"), ("2", "equal")]
    prune(folder, segments[-1].last_ts + 1, by="a test")
    with pytest.raises(Refused, match=rf"start 2 cannot be proven: .*left whole is {segments[-1].last + 1}"):
        verify(folder, advance=silent)
    third = Player(folder, seed=3)
    third.play(market(10_000, 5_000))
    third.end()
    assert [row[-1] for row in verify(folder, advance=silent).tables[0].rows][-1] == "equal"


def test_a_start_is_proven_without_its_raw_messages(tmp_path: Path) -> None:
    """Raw messages at times of their own, before and after deadlines, are replayed by their places alone once they are pruned."""
    folder = tmp_path / "log"
    for seed, first in ((1, 0), (2, 4_000)):
        rows = []
        for (kind, values), (_, following) in pairwise(market(first, 4_000)):
            between = (values[1] + following[1]) // 2
            rows += [(kind, values), *(("frames", (0, at, 0, "alpha", None, b"{}")) for at in (between, following[1]))]
        player = Player(folder, seed=seed)
        player.play(rows)
        player.end()
        assert any(row[0] == "fills" for row in player.outputs)
    whole = [row[1:] for row in verify(folder, advance=silent).tables[0].rows]
    assert [row[-1] for row in whole] == ["equal", "equal"]
    with LogReader(folder) as reader:
        places = [row.seq for batch in reader.batches(kinds=INPUTS, rows=1000) for row in batch.slow if row.kind == "frames"]
        frames = {row.seq for batch in reader.batches(kinds=("frames",)) for row in batch.slow}
        framed = sum(1 for _, row in reader.outputs() if row["after_seq"] in frames)
    assert (len(places), framed > 0) == (2 * 2 * 3_999, True)
    prune(folder, Manifest(folder).last_ts + 1, by="a test", frames_only=True)
    with LogReader(folder) as reader:
        batches = list(reader.batches(kinds=INPUTS, rows=1000))
        assert [row.seq for batch in batches for row in batch.slow if row.kind == "frames"] == places
        assert [batch.first_seq for batch in batches[1:]] == [batch.last_seq + 1 for batch in batches[:-1]]
        with pytest.raises(Refused, match="frames of seq"):
            reader.batches(kinds=INPUTS, select=Selection(first_ts=1))
    assert [row[1:] for row in verify(folder, advance=silent).tables[0].rows] == whole


def test_what_is_not_whole_is_not_rederived(tmp_path: Path) -> None:
    """Raw messages that are gone cannot be decoded again, and a part of them would be another recording."""
    folder = aged(tmp_path / "log")
    prune(folder, START + DAY, by="a test", frames_only=True)
    with pytest.raises(Refused, match="1 of its files were pruned or archived"):
        rederive(folder, tmp_path / "new")
    assert not (tmp_path / "new").exists()
