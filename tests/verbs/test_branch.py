"""A run that goes on from one of its inputs under other settings: nothing of what happened is lost, nothing of the old settings is left."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import pytest
from typer.testing import CliRunner

import xarb
from tests.dexworld import EVEN, Act
from tests.engine.cycles import CHAIN, DEAR
from tests.hedgeworld import EXCHANGE, hedge_experiment, hedge_log
from tests.live.player import EXPERIMENT, QUICKSTART, Player, recorded
from tests.test_triangular import experiment as triangular_experiment
from tests.test_triangular import rows as triangular_rows
from tests.trial import Trial, quiet
from xarb.assembly import Assembly
from xarb.assembly.alike import check_alike
from xarb.assembly.altered import altered
from xarb.assembly.resolved import decode_config, encode_config, resolve_recorded
from xarb.branches import branch_of, id_of, replay_of
from xarb.cli import app
from xarb.config import load_experiment
from xarb.console import Table
from xarb.engine.kernel import state
from xarb.engine.strategy import Pair
from xarb.errors import ConfigError, LogError, Refused
from xarb.log.canonical import OutputDigest
from xarb.log.manifest import Manifest
from xarb.log.reader import LogReader
from xarb.model.units import NANOS_PER_MS, NEVER, parse_money
from xarb.replay import replay
from xarb.strategies.micro import Micro
from xarb.verbs.at import at
from xarb.verbs.backtest import backtest, log_of
from xarb.verbs.branch import Branched, Parameters, branch
from xarb.verbs.diff import diff
from xarb.verbs.lookahead import lookahead
from xarb.verbs.verify import verify
from xarb.verbs.why import Question, why

END: Final = {"run.end": "2026-01-05T23:47:00Z"}
Told = list[tuple[str, dict[str, Any]]]


class Base(NamedTuple):
    """A run to branch from: its folder, its rows, and the inputs after which it did something."""

    folder: Path
    digest: str
    tables: dict[str, Table]
    rows: Told
    busy: list[int]
    last: int


def made(experiment: Path, out: Path, settings: Mapping[str, str] | None = None) -> Base:
    """A backtest, as a base."""
    found = backtest(load_experiment(experiment, settings), out=out, advance=quiet)
    rows = rows_of(out)
    summary = Manifest(out).summary
    assert summary is not None
    busy = sorted({row["after_seq"] for kind, row in rows if kind in ("commands", "sim_reports", "cycles", "sim_receipts")})
    return Base(out, found.digest, {one.title: one for one in found.tables}, rows, busy, summary.last_seq)


def rows_of(folder: Path) -> Told:
    """All output rows; where a client order id begins with the run's own id, without that."""
    with LogReader(folder) as reader:
        header = reader.manifest.header
        begun = branch_of(header)
        prefix = (header.log_id if begun is None else begun.log_id)[:8]
        return [
            (kind, {name: one.replace(prefix, "") if isinstance(one, str) else one for name, one in row.items()})
            for kind, row in reader.outputs()
        ]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Base:
    """The first minutes of the quickstart."""
    return made(EXPERIMENT, tmp_path_factory.mktemp("branch") / "base", END)


def branched(base: Base, seq: int, out: Path, *off: str, **settings: str) -> Branched:
    """A branch of it; dots in names of settings are double underscores."""
    given = {name.replace("__", "."): value for name, value in settings.items()}
    return branch(base.folder, seq, Parameters(given, tuple(off)), out=out, advance=quiet)


def test_without_settings_the_rest_comes_out_as_it_was(base: Base, tmp_path: Path) -> None:
    """At the first input, in the midst of bundles, right after a decision and right before a report, and at the last: byte for byte."""
    draw = random.Random(3)  # noqa: S311  # a test's draw
    places = [0, base.busy[0], base.busy[0] + 1, *draw.sample(base.busy, 3), base.last]
    for number, seq in enumerate(places):
        found = branched(base, seq, tmp_path / f"{number}")
        assert (found.equal, found.digest) == (True, base.digest), seq
        worth = next(one for one in found.tables if one.title.startswith("Accounts"))
        assert worth == base.tables[worth.title], "revalued since the first order of the whole run"


EACH: Final[tuple[dict[str, str], ...]] = (
    {
        "strategies__eager__open_bps": "5",
        "strategies__eager__min_profit_bps": "2",
        "strategies__eager__max_notional_quote": "700",
        "strategies__patient__min_life_ms": "0",
        "strategies__eager__scan_ms": "70",
    },
    {
        "strategies__eager__daily_volume_quote": "60000",
        "strategies__patient__max_orders_per_s": "1",
        "strategies__eager__max_bundle_loss": "{USDT = 0.01}",
    },
    {"venues__alpha__order_latency": "{uniform_ms = [1, 9]}", "venues__bravo__feed_latency__constant_ms": "60", "run__seed": "9"},
    {
        "feeds__liveness_ms": "60",
        "feeds__jump_bps": "20",
        "feeds__freeze_ms": "800",
        "feeds__outlier_floor_bps": "3",
        "breakers__errors": "1",
        "venues__bravo__feeds__spread_multiple": "2",
        "feeds__quality_floor": "900",
    },
)


@pytest.mark.parametrize("number", range(len(EACH)))
def test_from_the_first_input_on_it_is_a_backtest_with_the_settings(base: Base, tmp_path: Path, number: int) -> None:
    """Edges, sizes, limits, latencies, feeds, breakers: each has its effect, and nothing of the old value is left; its rows are proven."""
    settings = EACH[number]
    branched(base, 0, tmp_path / "branch", **settings)
    plain = {name.replace("__", "."): value for name, value in settings.items()}
    fresh = made(EXPERIMENT, tmp_path / "fresh", END | plain)
    assert rows_of(tmp_path / "branch") == fresh.rows
    assert fresh.rows != base.rows


@pytest.mark.parametrize("number", range(len(EACH)))
def test_in_the_midst_it_goes_on_and_is_proven(base: Base, tmp_path: Path, number: int) -> None:
    """Rows up to the input are the original's, the others of another config; engine and venues agree on the money; replay gives them again."""
    sent = [row["after_seq"] for kind, row in base.rows if kind == "commands" and row["venue"] == "bravo"]
    seq = sent[len(sent) // 3]
    branched(base, seq, tmp_path / "branch", **EACH[number])
    rows = rows_of(tmp_path / "branch")
    times = [row["ts"] for _, row in rows]
    assert times == sorted(times), "a deadline that has passed under the new limit comes now"
    before = sum(row["after_seq"] < seq for _, row in base.rows)
    assert rows[:before] == base.rows[:before]
    assert rows != base.rows
    assert verify(tmp_path / "branch", advance=quiet).equal


def test_the_money_of_engine_and_venues_agrees_behind_the_turn(tmp_path: Path) -> None:
    """Over random turns, also with fees that rise under orders on their way: what the engine booked is what exchange and chain have."""
    draw = random.Random(1)  # noqa: S311  # a test's draw
    acts, prices = [Act(EVEN)], [3_000]
    for _ in range(14):
        acts.append(Act({**EVEN, DEAR.address: (10**21, draw.choice([2_950, 3_000, 3_060]) * 10**9)}))
        prices.append(draw.choice([2_930, 3_000, 3_070]))
    log = hedge_log(tmp_path / "log", [*acts, *[Act(EVEN)] * 8], [*prices, *[3_000] * 8])
    model = {"missed_bps": "2000", "taken_bps": "4000", "latency": "{ uniform_ms = [10, 2500] }"}
    path = hedge_experiment(tmp_path, log, simulated=model, deadline_ms="5000", max_open_bundles="3", max_legs="2")
    base = made(path, tmp_path / "base")
    dear = (tmp_path / "fees.toml").read_text().replace("[bravo-test]", "[dear]").replace("0.001", "0.004")
    (tmp_path / "dear.toml").write_text(dear)
    sets: list[dict[str, str]] = [
        {},
        {"strategies__hedged__order": '"simultaneous"'},
        {
            "strategies__hedged__success_bps": "5000",
            f"onchain__{CHAIN}__simulated__taken_bps": "0",
            f"onchain__{CHAIN}__tip_gwei": "3",
        },
        {"run__fees_file": f'"{tmp_path / "dear.toml"}"', f"venues__{EXCHANGE}__fees": '"dear"'},
        {f"venues__{EXCHANGE}__order_latency__constant_ms": "900", f"onchain__{CHAIN}__simulated__latency": "{ constant_ms = 1 }"},
    ]
    waiting = [row["after_seq"] for kind, row in base.rows if kind == "cycle_states" and row["state"] in ("pending", "sent")]
    for number, settings in enumerate(sets):
        for seq in draw.sample(waiting, 1):
            found = branched(base, seq, tmp_path / f"{number}-{seq}", **settings)
            if not settings:
                assert found.digest == base.digest
            with LogReader(log) as reader:
                how = replay_of(Manifest(found.folder).header, reader, rows=1 << 16)
                assembly = Assembly(how.resolved, how.ground)
                replay(assembly, how.batches, OutputDigest().take)
            assert assembly.venues is not None
            assert assembly.venues.horizon() == NEVER, "everything was told"
            books = {key: held for key, held in assembly.engine.portfolio.balances().items() if held}
            told = assembly.venues.balances() | assembly.venues.chains.balances()
            assert books == {key: held for key, held in told.items() if held}


def test_rounds_go_on(tmp_path: Path) -> None:
    """Of a strategy that finds its cycles by itself, whose opportunities stand at the turn."""
    trial = Trial(tmp_path)
    trial.log(triangular_rows())
    base = made(triangular_experiment(trial), tmp_path / "base")
    for seq in (0, base.busy[0] - 1, base.busy[0], base.busy[1]):
        assert branched(base, seq, tmp_path / f"same{seq}").digest == base.digest
    other = branched(
        base, base.busy[0], tmp_path / "other", strategies__round__max_notional_quote="30", strategies__round__scan_ms="70"
    )
    assert not other.equal
    assert verify(other.folder, advance=quiet).equal
    with LogReader(trial.folder / "log") as reader:
        how = replay_of(Manifest(other.folder).header, reader, rows=1 << 16, last=base.busy[0] + 1)
        assembly = Assembly(how.resolved, how.ground)
        replay(assembly, how.batches, OutputDigest().take)
    (timer,) = assembly.engine._kernel.tables[state.STRATEGIES]["next_timer"].tolist()
    assert timer > 0
    assert timer % (70 * NANOS_PER_MS) == 0, "the new interval has its own grid"


def test_a_strategy_that_is_off_ends_what_it_began_and_begins_nothing(base: Base, tmp_path: Path) -> None:
    """Its orders that were on their way are told of still; the other one goes on."""
    seq = next(
        row["after_seq"]
        for kind, row in base.rows
        if kind == "commands" and row["strategy"] == "eager" and row["after_seq"] > 2_000
    )
    found = branched(base, seq, tmp_path / "off", "eager")
    behind = [(kind, row) for kind, row in rows_of(found.folder) if row["after_seq"] > seq]
    ended = [row["event"] for kind, row in behind if kind == "bundles" and row["strategy"] == "eager"]
    assert ended
    assert "opened" not in ended
    assert any(kind == "opportunities" and row["strategy"] == "eager" and row["phase"] == "opened" for kind, row in behind)
    assert any(kind == "bundles" and row["event"] == "opened" and row["strategy"] == "patient" for kind, row in behind)
    assert verify(found.folder, advance=quiet).equal


def test_a_limit_that_is_new_counts_what_was_sent_before(base: Base, tmp_path: Path) -> None:
    """A volume of the day that was used up before the turn lets nothing through behind it."""
    sent = [row for kind, row in base.rows if kind == "commands" and row["strategy"] == "eager"]
    seq = sent[-6]["after_seq"]
    found = branched(base, seq, tmp_path / "limited", strategies__eager__daily_volume_quote="20000")
    behind = [(kind, row) for kind, row in rows_of(found.folder) if row["after_seq"] > seq]
    assert not any(kind == "bundles" and row["event"] == "opened" and row["strategy"] == "eager" for kind, row in behind)
    assert "daily_volume" in {row["reason"] for kind, row in behind if kind == "refusals"}


def test_a_limit_of_loss_that_is_new_is_looked_at_by_the_second(base: Base, tmp_path: Path) -> None:
    """Also where nothing was looked at before the turn; and nothing is once no limit asks for it."""
    found = branched(base, 5_000, tmp_path / "limited", strategies__eager__max_bundle_loss="{USDT = 1}")
    for last, looks in ((5_000, False), (6_000, True)):
        with LogReader(QUICKSTART) as reader:
            how = replay_of(Manifest(found.folder).header, reader, rows=1 << 16, last=last)
            assembly = Assembly(how.resolved, how.ground)
            replay(assembly, how.batches, OutputDigest().take)
        assert (assembly.engine.execution.losses.next_beat < NEVER) == looks


def test_what_asks_a_run_asks_a_branch(base: Base, tmp_path: Path) -> None:
    """Its state on both sides of the turn, an order from either side, cuts, and what differs from the original."""
    seq = base.busy[len(base.busy) // 2]
    found = branched(base, seq, tmp_path / "branch", strategies__eager__max_notional_quote="900")
    for place in (seq, base.last):
        head = dict(at(found.folder, place, advance=quiet)[0].rows)
        assert head["last input applied"] == place
    orders = [row["order"] for kind, row in rows_of(found.folder) if kind == "commands" and row["kind"] == "submit"]
    assert why(found.folder, Question(str(orders[-1]), None, None))
    assert lookahead(found.folder, 3, advance=quiet).equal
    outcome = diff(base.folder, found.folder)
    assert not outcome.equal
    (turned,) = {row["ts"] for kind, row in base.rows if row["after_seq"] == seq and kind == "commands"} or {0}
    assert all(one.ts >= turned for one in outcome.differences)


REFUSED: Final = (
    ("run.start", "2026-01-05T23:46:00Z", "over the inputs of what it branches from"),
    ("accounts.main.alpha.USDT", "1", "a deposit is no parameter"),
    ("venues.alpha.book_source", "quotes", "which rows move a book"),
    ("strategies.eager.kind", "triangular", "laid out before the first input"),
    ("strategies.eager.symbols", '["BTC/USDT"]', "laid out before the first input"),
    ("strategies.more", '{kind = "micro", min_profit_bps = 1, min_profit_quote = 0, max_notional_quote = 1}', "cannot come or go"),
    (
        "strategies.eager",
        '{kind = "micro", min_profit_bps = 1, min_profit_quote = 0, max_notional_quote = 1, venues = ["alpha"]}',
        "venues cannot",
    ),
    ("strategies.eager.max_day_loss", "{USDT = 5}", "nobody followed what it made"),
    ("strategies.eager.nothing", "1", "unknown key"),
    ("live.mode", "live", "no backtest heeds it"),
)


@pytest.mark.parametrize(("key", "value", "why_not"), REFUSED, ids=[one[0] for one in REFUSED])
def test_what_cannot_change_in_the_midst_is_refused_by_name(base: Base, tmp_path: Path, key: str, value: str, why_not: str) -> None:
    """With the key and the reason, and nothing is made."""
    with pytest.raises(ConfigError, match=why_not) as caught:
        branch(base.folder, 5_000, Parameters({key: value}), out=tmp_path / "branch", advance=quiet)
    assert key.rpartition(".")[2] in str(caught.value)
    assert not (tmp_path / "branch").exists()


def test_other_pairs_are_refused() -> None:
    """What stands open rests on pairs by number; their fees and thresholds may be others."""
    one, other = Pair(0, 1, 5, 5, 1, 1), Pair(1, 0, 5, 5, 1, 1)
    check_alike([("a", one)], [("a", one._replace(open_ppb=9, buy_fee_ppb=3))])
    for after in ([("b", one)], [("a", other)], [("a", one), ("a", other)], []):
        with pytest.raises(ConfigError, match="other pairs compared"):
            check_alike([("a", one)], after)


def test_what_nobody_can_go_on_from_is_refused(base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that was traded on, a branch, an input that is not there, a strategy that is not there, other code."""
    player = Player(tmp_path / "live")
    player.play(list(recorded(0, 500)))
    player.end()
    with pytest.raises(Refused, match="was traded on"):
        branch(tmp_path / "live", 100, Parameters({}), advance=quiet)
    found = branched(base, 9_000, tmp_path / "branch", run__seed="8")
    with pytest.raises(Refused, match="is a branch itself"):
        branch(found.folder, 100, Parameters({}), out=tmp_path / "again", advance=quiet)
    with pytest.raises(ConfigError, match="has inputs 0 to"):
        branched(base, base.last + 1, tmp_path / "again")
    with pytest.raises(ConfigError, match="--off nobody: no such strategy; there are eager, patient"):
        branched(base, 9_000, tmp_path / "again", "nobody")
    monkeypatch.setattr(Micro, "on_wake", lambda *_: ())
    with pytest.raises(Refused, match="this code decides otherwise"):
        branched(base, base.last, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_header_that_was_changed_is_found(base: Base, tmp_path: Path) -> None:
    """Another input, another config before the turn, or another strategy off is another run."""
    header = Manifest(branched(base, 9_000, tmp_path / "branch", run__seed="8").folder).header
    turned = branch_of(header)
    assert turned is not None
    with LogReader(QUICKSTART) as reader:
        assert id_of(header, reader.digest) == header.log_id
        for change in ({"seq": 9_001}, {"off": ("eager",)}, {"config": turned.config | {"pegs": {"USDC": "1"}}}):
            other = msgspec.structs.replace(header, branch=msgspec.structs.replace(turned, **change))
            assert id_of(other, reader.digest) != header.log_id
        other = msgspec.structs.replace(
            header, branch=msgspec.structs.replace(turned, config=turned.config | {"pegs": {"USDC": "1"}})
        )
        with pytest.raises(LogError, match="is not that of its config and its log"):
            replay_of(other, reader, rows=1_000)


def test_each_shipped_config_can_be_read_again() -> None:
    """A header stands for an experiment file: read as one it is the same config."""
    for name in ("quickstart", "cex_dex", "dex_dex", "triangular"):
        path = EXPERIMENT.with_stem(name)
        experiment = load_experiment(path)
        with LogReader(log_of(experiment, None)) as reader:
            resolved = decode_config(encode_config(resolve_recorded(experiment, reader)))
            assert altered(resolved, {}, reader.instruments) == resolved, path


def test_the_command_and_the_function_say_the_same(base: Base, tmp_path: Path) -> None:
    """The settings, both sides beside each other and their difference; wrong use is exit code 2."""
    words = ["branch", str(base.folder), "--seq", "9000", "--set", "strategies.eager.max_notional_quote=900", "--off", "patient"]
    result = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "a")])
    assert result.exit_code == 0, result.output
    assert "strategies.eager.max_notional_quote\t5000\t900" in result.stdout
    assert "strategies.patient\ton\toff" in result.stdout
    settings = {"strategies.eager.max_notional_quote": 900}
    found = xarb.branch(base.folder, 9_000, settings=settings, off=["patient"], out=tmp_path / "b")
    assert found.digest == Manifest(tmp_path / "a").summary.output_digest  # type: ignore[union-attr]  # a finished run has one
    assert not found.ok
    rows = {row["what"]: row for row in found.behind.to_dicts()}
    orders = [row for kind, row in base.rows if kind == "orders" and row["previous"] is None and row["after_seq"] > 9_000]
    assert rows["orders"]["original"] == len(orders)
    for row in rows.values():
        assert row["branch"] - row["original"] == row["difference"]
    fees = [
        row for kind, row in rows_of(found.folder) if kind == "fills" and row["after_seq"] > 9_000 and row["fee_asset"] == "USDT"
    ]
    assert parse_money(str(rows["fees USDT"]["branch"])) == sum(row["fee"] for row in fees)
    assert CliRunner().invoke(app, ["branch", str(base.folder), "--seq", "x"]).exit_code != 0
