"""Live trading on paper: what it did is proven by replay, over starts, stops and deaths of the process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.live.player import EXPERIMENT, SMALL, Player, recorded
from xarb.assembly.resolved import resolve
from xarb.config import load_experiment
from xarb.engine.liverows import ARM, KILL
from xarb.errors import LogError, Refused
from xarb.imports.run import import_into
from xarb.imports.sources import load_sources
from xarb.live.begin import paper_money, past_of
from xarb.log.check import verify_log
from xarb.log.ends import ENDED, LEFT_OFF
from xarb.log.livelog import LiveLog
from xarb.log.reader import LogReader
from xarb.model.columns import REPORT_EVENTS, TABLES
from xarb.model.command import AnyCommand, SubmitOrder
from xarb.model.units import Money
from xarb.starts import LIVE
from xarb.upkeep import open_log
from xarb.verbs.verify import verify


def silent(done: int, total: int, note: str = "") -> None:
    """No progress."""


@cache
def market(first: int, count: int) -> list[tuple[str, tuple[Any, ...]]]:
    """Rows of the quickstart."""
    return list(recorded(first, count))


def test_a_start_on_paper_is_proven_by_replay(tmp_path: Path) -> None:
    """Orders were sent and filled, timers were rows, and every output row comes again in other batches."""
    player = Player(tmp_path / "log")
    player.play(market(0, 30_000))
    player.end()
    kinds = Counter(row[0] for row in player.outputs)
    assert kinds["commands"] > 20
    assert kinds["fills"] > 10
    proof = verify(tmp_path / "log", advance=silent)
    assert proof.equal
    with LogReader(tmp_path / "log") as log:
        assert sum(1 for _ in log.rows("timers")) > 10
        assert sum(1 for _ in log.outputs()) == len(player.outputs) == int(proof.tables[0].rows[0][3])


def test_a_start_goes_on_where_the_one_before_stopped_or_died(tmp_path: Path) -> None:
    """Money on paper is carried over, orders are counted anew, and each start is proven alone."""
    folder = tmp_path / "log"
    first = Player(folder)
    first.play(market(0, 10_000))
    first.end()
    second = Player(folder, seed=2)
    second.play(market(10_000, 10_000))
    second.log.abandon()
    third = Player(folder, seed=3)
    third.play(market(20_000, 10_000))
    third.end()
    assert any(row[0] == "fills" for row in third.outputs)
    before = second.trading.assembly.engine.portfolio.balances()
    assert third.trading.assembly.opening == before != first.trading.assembly.opening
    proof = verify(folder, advance=silent)
    assert [(row[0], row[-1]) for row in proof.tables[0].rows] == [("1", "equal"), ("2", "equal"), ("3", "equal")]


def test_money_on_paper_that_is_not_carried_over_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start opens with other balances than the one before it ended with; and accounts that were not there are refused."""
    folder = tmp_path / "log"
    Player(folder).end()
    past = past_of(folder)
    changed = {key: Money(amount + 1) for key, amount in past.closing.items()}
    monkeypatch.setattr("tests.live.player.paper_money", lambda *_: changed)
    Player(folder).end()
    with pytest.raises(LogError, match="start 2 opens with"):
        verify(folder, advance=silent)
    with LogReader(folder) as reader:
        resolved = resolve(load_experiment(EXPERIMENT), list(reader.instruments))
    with pytest.raises(Refused, match="had no such account"):
        paper_money(resolved, past._replace(closing={}))


def test_an_asset_that_is_new_in_the_config_is_refused_by_name(tmp_path: Path) -> None:
    """What the start before left goes on; money that it never had would else be nothing without a word. None of it is no news."""
    folder = tmp_path / "log"
    Player(folder).end()
    past = past_of(folder)
    with LogReader(folder) as reader:
        resolved = resolve(load_experiment(EXPERIMENT), list(reader.instruments))
    account, venue = next((account, venue) for account, venues in resolved.accounts.items() for venue in venues)
    mine = resolved.accounts[account][venue]
    for amount in ("0", "5"):
        accounts = {**resolved.accounts, account: {**resolved.accounts[account], venue: {**mine, "XYZ": Decimal(amount)}}}
        changed = msgspec.structs.replace(resolved, accounts=accounts)
        if amount == "0":
            assert paper_money(changed, past) == past.closing
        else:
            with pytest.raises(Refused, match=f"accounts.{account}.{venue}.XYZ: the start before had none of it"):
                paper_money(changed, past)


def test_rows_that_the_engine_cannot_take_are_logged(tmp_path: Path) -> None:
    """Recorded data is never dropped: they stand behind the end of the start, which is proven up to there, and the next one goes on."""
    folder = tmp_path / "log"
    player = Player(folder)
    player.play(market(0, 6_000))
    last, outputs = player.log.last, len(player.outputs)
    [quote] = [row for kind, row in market(6_000, 500) if kind == "quotes"][:1]
    ts = max(player.log.last_ts, quote[1])
    report = {
        "account": "main",
        "strategy": "",
        "client_order_id": "x",
        "side": 0,
        "source": 0,
        "venue": "nowhere",
        "symbol": "X/Y",
        "start": 1,
        "order": 1,
        "event": REPORT_EVENTS.index("accepted"),
    }
    values = tuple(report.get(column.name) for column in TABLES["reports"].columns[2:])
    with pytest.raises(LogError, match="a report of order 1 on X/Y@nowhere"):
        player.trading.take({"quotes": [(last + 1, ts, *quote[2:])], "reports": [(last + 2, ts, *values)]})
    assert len(player.outputs) == outputs
    player.log.abandon()
    second = Player(folder, seed=2)
    second.play(market(10_000, 5_000))
    second.end()
    proof = verify(folder, advance=silent)
    assert [row[-1] for row in proof.tables[0].rows] == ["equal", "equal"]
    with LogReader(folder) as reader:
        [end] = [row for row in reader.rows("operator") if row["action"] == LEFT_OFF]
        assert (end["seq"], end["actor"]) == (last + 1, "session")
        assert "LogError: seq" in end["detail"]
        assert [row["seq"] for row in reader.rows("reports")] == [last + 3]
        assert any(row["seq"] == last + 2 for row in reader.rows("quotes"))
    assert verify_log(folder).ok


def test_rows_that_others_write_after_a_death_are_not_its_starts(tmp_path: Path) -> None:
    """The process died with orders out; who writes next, be it no start, says so first, and time goes on: nothing of it was applied."""
    folder = tmp_path / "log"
    first = Player(folder, mode=LIVE, send=lambda _: None)
    first.play(market(0, 6_000))
    assert any(row[0] == "commands" for row in first.outputs)
    first.log.abandon()
    for writer in range(2):  # the second finds that it was said
        log = open_log(folder, "", SMALL).log
        log.append({"operator": [(log.last + 1, log.last_ts + 60_000_000_000, KILL, f"{writer}", None)]})
        log.close()
    assert verify(folder, advance=silent).equal
    second = Player(folder, mode=LIVE, send=lambda _: None)
    second.play(market(6_000, 3_000))
    second.end()
    log = open_log(folder, "", SMALL).log
    log.close()
    proof = verify(folder, advance=silent)
    assert [row[-1] for row in proof.tables[0].rows] == ["equal", "equal"]
    with LogReader(folder) as reader:
        acts = [(row["action"], row["seq"]) for row in reader.rows("operator")]
        assert [act for act, _ in acts] == [ARM, LEFT_OFF, KILL, KILL, ARM, ENDED]
        assert [row["applied_seq"] for row in reader.rows("starts")] == [None, acts[1][1] - 1]


def test_rows_that_are_imported_after_a_death_are_not_its_starts(tmp_path: Path) -> None:
    """An import into the log of a process that died says so first, at the log's last time, once; the start is proven without its rows."""
    folder = tmp_path / "log"
    first = Player(folder)
    first.play(market(0, 6_000))
    last_ts = first.log.last_ts
    first.log.abandon()
    LiveLog.open(folder, SMALL).close()  # as a repair
    with LogReader(folder) as reader:
        last_seq, one = reader.last_seq, reader.instruments[0]
    for later in (1, 2):
        second = last_ts // 1_000_000_000 + later * 60
        (tmp_path / "s.csv").write_text(f"time,bid,ask\n{second},1,2\n")
        (tmp_path / "s.toml").write_text(
            f'[[source]]\nformat = "quotes-csv"\npath = "s.csv"\nvenue = "{one.venue}"\nsymbol = "{one.symbol}"\n'
            'time_unit = "s"\ncolumns = { ts_recv = "time", bid = "bid", ask = "ask" }\n'
        )
        summary = import_into(load_sources(tmp_path / "s.toml"), folder)
        assert summary.last_seq == summary.first_seq + sum(summary.rows.values()) - 1
    proof = verify(folder, advance=silent)
    assert proof.equal
    assert proof.tables[0].rows[0][2].endswith(f" to {last_seq}")
    with LogReader(folder) as reader:
        said = [(row["seq"], row["ts_recv"]) for row in reader.rows("operator") if row["action"] == LEFT_OFF]
    assert said == [(last_seq + 1, last_ts)]
    assert verify_log(folder).ok


@pytest.mark.parametrize("strict", [False, True])
def test_a_command_leaves_after_everything_up_to_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, strict: bool
) -> None:
    """`strict`: not before the disk has it. Real venues get commands, simulated ones none; what was sent is in the log and nothing else."""
    did: list[str] = []

    def note(name: str) -> None:
        call = getattr(LiveLog, name)

        def noted(log: LiveLog) -> None:
            did.append(name)
            call(log)

        monkeypatch.setattr(LiveLog, name, noted)

    note("write")
    note("sync")
    sent: list[AnyCommand] = []

    def send(commands: Sequence[AnyCommand]) -> None:
        did.append("send")
        sent.extend(commands)

    player = Player(tmp_path / "log", mode=LIVE, strict=strict, send=send)
    player.play(market(0, 6_000))
    player.end()
    places = [at for at, what in enumerate(did) if what == "send"]
    assert len(places) > 3
    assert {did[at - 1] for at in places} == {"write"}  # a sync writes first
    assert {did[at - 2] == "sync" for at in places} == {strict}
    assert not any(row[0] == "sim_reports" for row in player.outputs)
    with LogReader(tmp_path / "log") as log:
        submitted = [row["client_order_id"] for _, row in log.outputs(kinds=("commands",)) if row["kind"] == "submit"]
    assert submitted == [command.client_order_id for command in sent if isinstance(command, SubmitOrder)]
    assert verify(tmp_path / "log", advance=silent).equal


def test_a_log_that_cannot_be_written_lets_no_command_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows fail before the commands go."""
    sent: list[AnyCommand] = []
    player = Player(tmp_path / "log", mode=LIVE, send=sent.extend)
    player.play(market(0, 1_000))
    before = len(sent)

    def fail(log: LiveLog) -> None:
        raise LogError(f"{log.folder}: no disk")

    monkeypatch.setattr(LiveLog, "write", fail)
    with pytest.raises(LogError, match="no disk"):
        player.play(market(1_000, 20_000))
    assert len(sent) == before
    player.log.abandon()
