"""Two runs over one market: nothing differs where nothing was changed, and each planted change is found as the cause that it is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.live.player import EXPERIMENT, GOES_ON, QUICKSTART, Player, recorded
from tests.log.live import read_inputs, values_of
from tests.trial import Trial, quiet, usual
from xarb.cli import app
from xarb.config import load_experiment
from xarb.errors import ConfigError, Refused
from xarb.inquiry.align import EpisodePair, align_decisions
from xarb.inquiry.causes import CAUSES, total_of
from xarb.inquiry.course import Decision, Episode
from xarb.inquiry.sections import as_json
from xarb.log.manifest import Header, Manifest
from xarb.log.prune import prune
from xarb.log.reader import LogReader
from xarb.log.writer import LogWriter
from xarb.model.columns import INPUTS, KERNEL_KINDS
from xarb.model.command import AnyCommand, SubmitOrder
from xarb.model.units import MONEY_SCALE, PPB, parse_money
from xarb.starts import LIVE
from xarb.verbs.backtest import backtest
from xarb.verbs.diff import Outcome, diff

ROWS = 9_000
Row = tuple[str, dict[str, Any]]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A live log on paper."""
    player = Player(tmp_path_factory.mktemp("diff") / "live")
    player.play(list(recorded(0, ROWS)))
    player.end()
    return player.log.folder


@pytest.fixture(scope="module")
def same(live: Path) -> Path:
    """Its backtest with the same config."""
    return backtest_of(live, "same")


def backtest_of(log: Path, name: str, **settings: str) -> Path:
    """A backtest of the experiment that a player trades, over a log, with keys changed; a dot in a key is written as two underscores."""
    changed = GOES_ON | {key.replace("__", "."): value for key, value in settings.items()}
    return backtest(load_experiment(EXPERIMENT, changed), log=log, out=log.parent / name, advance=quiet).folder


def money_of(folder: Path) -> dict[str, int]:
    """What the orders of a run or log changed, by asset, from its ledger."""
    found: dict[str, int] = {}
    with LogReader(folder) as reader:
        for _, row in reader.outputs(kinds=("ledger",)):
            if row["order"] is not None:
                found[row["asset"]] = found.get(row["asset"], 0) + row["delta"]
    return found


def compared(a: Path, b: Path, **more: Any) -> Outcome:
    """The comparison; whatever differs, its causes add up to the difference of the ledgers and nothing is left unexplained."""
    found = diff(a, b, **more)
    mine, theirs = money_of(a), money_of(b)
    change = {asset: theirs.get(asset, 0) - mine.get(asset, 0) for asset in {*mine, *theirs}}
    assert {asset: one for asset, one in total_of(found.differences).items() if one} == {k: v for k, v in change.items() if v}
    sections = json.loads(as_json(found.sections))
    for table in ("causes", "roots"):
        summed: dict[str, int] = {}
        for row in sections[table]:
            if row["asset"] is not None:
                summed[row["asset"]] = summed.get(row["asset"], 0) + parse_money(row["B - A"])
        assert {k: v for k, v in summed.items() if v} == {k: v for k, v in change.items() if v}, table
    assert "unexplained" not in {one.cause for one in found.differences}
    for one in found.differences:
        assert one.cause in CAUSES
        assert (one.of is None) == (one.cause != "consequence")
        assert one.of is None or one.of < one.number
    assert [one.ts for one in found.differences] == sorted(one.ts for one in found.differences)
    return found


def causes(found: Outcome) -> set[str]:
    """The causes that occur."""
    return {one.cause for one in found.differences}


def roots(found: Outcome) -> set[str]:
    """The causes at the beginning of the chains."""
    return {one.root for one in found.differences}


def test_live_on_paper_and_its_backtest_are_equal(live: Path, same: Path) -> None:
    """Where inputs were equal so were decisions and fills: no difference, with opportunities, decisions and orders all aligned."""
    found = compared(live, same)
    assert found.equal
    counted = next(section for section in found.sections if section.key == "aligned")
    for row in counted.rows:
        assert row[1] > 10, row
        assert row[2:] == (0, 0, 0), row


def test_another_order_latency(live: Path) -> None:
    """Orders on that venue meet another market; all the rest follows from them."""
    changed = backtest_of(live, "latency", venues__alpha__order_latency__uniform_ms="[100, 160]")
    found = compared(live, changed)
    assert roots(found) == {"latency"}
    first = found.differences[0]
    assert (first.what, first.cause, first.because) == ("outcome", "latency", "venues.alpha.order_latency.uniform_ms")
    assert {one.a.market[0] for one in found.differences if one.cause == "latency"} == {"alpha"}


def test_another_seed_draws_other_latencies(live: Path) -> None:
    """The seed is a matter of latency too."""
    assert roots(compared(live, backtest_of(live, "seed", run__seed="8"))) == {"latency"}


def test_another_timer(live: Path) -> None:
    """What a scan finds that the other side did not make is the timer's; what comes from it is a consequence."""
    found = compared(live, backtest_of(live, "timer", strategies__eager__scan_ms="300"))
    assert roots(found) == {"timer"}
    assert "timer" in {one.cause for one in found.differences if one.what == "decision"}
    none = compared(live, backtest_of(live, "none", strategies__eager__scan_ms="0", strategies__patient__scan_ms="0"))
    assert roots(none) == {"timer"}


def test_another_limit_is_named(live: Path) -> None:
    """A key of the strategy is the cause, by name."""
    found = compared(live, backtest_of(live, "config", strategies__eager__max_notional_quote="3000"))
    assert roots(found) == {"config"}
    assert found.differences[0].because == "strategies.eager.max_notional_quote"
    assert {one.strategy for one in found.differences if one.cause == "config"} == {"eager"}


def decision(ts: int, verdict: str = "taken") -> Decision:
    """A decision without orders."""
    return Decision(ts, 0, verdict, None, (), None, ())


@pytest.mark.parametrize(
    ("mine", "theirs", "pairs"),
    [
        ("1 3", "3", "1/- 3/3"),  # the same time before the same place
        ("1 3 5", "2 5", "1/2 3/- 5/5"),  # between equal times in order
        ("1 r2", "r1 2", "1/r1 r2/2"),  # at one time whatever the verdict
        ("1 r2 4", "r1.5 2.5 4", "1/2.5 r2/r1.5 4/4"),  # between equal times taken with taken, refused with refused
        ("", "7", "-/7"),
    ],
)
def test_decisions_are_aligned_by_time_then_place(mine: str, theirs: str, pairs: str) -> None:
    """Each decision is in one pair, and those at the same time are in the same."""

    def read(text: str) -> tuple[Decision, ...]:
        return tuple(decision(round(float(one.strip("r")) * 10), "refused" if one[0] == "r" else "taken") for one in text.split())

    def name(one: Decision | None) -> str:
        return "-" if one is None else f"{'r' if one.verdict == 'refused' else ''}{one.ts / 10:g}"

    pair = ("s", ())
    sides = [Episode(1, pair, (), None, 0, None, read(text)) for text in (mine, theirs)]
    found = align_decisions(EpisodePair(*sides))
    assert sorted(f"{name(a)}/{name(b)}" for a, b in found) == sorted(pairs.split())


def test_what_held_a_strategy_back_is_no_matter_of_an_idle_key(live: Path) -> None:
    """A floor of quality that no feed falls below changes nothing: what the strategy did not do for what it had done is the latency's."""
    idle = {"feeds__quality_floor": "501"}
    assert compared(live, backtest_of(live, "idle", **idle)).equal
    found = compared(live, backtest_of(live, "both", venues__alpha__order_latency__uniform_ms="[100, 160]", **idle))
    held = [one for one in found.differences if "held back" in one.because]
    assert held
    assert {one.root for one in held} == {"latency"}
    assert found.differences[0].cause == "latency"


def test_other_fees_change_decisions(live: Path) -> None:
    """A schedule under which nothing pays any more: the opportunities and all that was earned are gone because of the fees."""
    found = compared(live, backtest_of(live, "fees", venues__alpha__fees="synthetic-alpha-retail"))
    assert roots(found) == {"fee"}
    assert "opportunity" in {one.what for one in found.differences if one.cause == "fee"}


def test_other_fees_on_equal_fills_are_fees_alone(tmp_path: Path) -> None:
    """With equal decisions and fills the whole difference is the fees', to the last digit."""
    trial = Trial(tmp_path)
    path = trial.experiment(trial.log(usual()))
    text = (tmp_path / "fees.toml").read_text()
    made = []
    for name, fee in (("a", "0.0001"), ("b", "0.00010001")):
        (tmp_path / "fees.toml").write_text(text.replace('taker = "0"', f'taker = "{fee}"'))
        settings = {"strategies.cross.cool_down_ms": "9000", "strategies.cross.min_profit_bps": "1"}
        made.append(backtest(load_experiment(path, settings), out=tmp_path / name, advance=quiet).folder)
    found = compared(made[0], made[1])
    assert {(one.what, one.cause) for one in found.differences} == {("fee", "fee")}
    assert len(found.differences) == 2
    assert total_of(found.differences)["USDT"] < 0


def write_log(folder: Path, rows: Sequence[Row]) -> Path:
    """Rows as a log, numbered anew."""
    numbered = [(kind, row | {"seq": seq}) for seq, (kind, row) in enumerate(rows)]
    with LogWriter.create(folder, Header(kind="log", log_id=folder.name, origin="a test")) as writer:
        for kind in INPUTS:
            writer.write_rows(kind, [row for name, row in numbered if name == kind])
        writer.commit()
    return folder


@pytest.mark.parametrize("venue", ["alpha", "charlie"])
def test_missing_data(tmp_path: Path, venue: str) -> None:
    """Four seconds of a venue's rows are missing (quotes of alpha, changed levels of charlie): that is where all differences begin."""
    rows = read_inputs(QUICKSTART)[:ROWS]
    start = rows[0][1]["ts_recv"] + 10 * 10**9

    def stays(kind: str, row: Mapping[str, Any]) -> bool:
        return not (kind in KERNEL_KINDS and row["venue"] == venue and start < row["ts_recv"] < start + 4 * 10**9)

    made = []
    for name, keep in (("whole", lambda _: True), ("cut", lambda one: stays(*one))):
        log = write_log(tmp_path / name, list(filter(keep, rows)))
        made.append(backtest_of(log, f"run-{name}"))
    found = compared(made[0], made[1])
    assert roots(found) == {"missing data"}
    assert venue in found.differences[0].because
    only = next(section for section in found.sections if section.key == "inputs")
    assert {(row[1], row[3]) for row in only.rows} == {(venue, "A")}


def test_a_run_that_ends_earlier_was_not_there(live: Path, same: Path) -> None:
    """What one side did after the other had ended is missing data there."""
    with LogReader(live) as reader:
        taken = [row["ts"] for _, row in reader.outputs(kinds=("commands",))]
    cut = write_log(
        live.parent / "short",
        [one for one in read_inputs(live) if one[0] in BACKTEST and one[1]["ts_recv"] < taken[len(taken) // 2]],
    )
    found = compared(same, backtest_of(cut, "shorter"))
    late = [one for one in found.differences if one.because == "B was not there"]
    assert late
    assert {one.cause for one in late} == {"missing data"}


BACKTEST = (*KERNEL_KINDS, "instruments", "connections", "health", "rejects")


def test_disarmed_in_between(tmp_path: Path) -> None:
    """What was refused while the operator had disarmed is the operator's; what differs later follows from it."""
    rows, folder = list(recorded(0, ROWS)), tmp_path / "live"
    player = Player(folder)
    for part, act in ((rows[:1_400], "disarm"), (rows[1_400:4_000], "arm"), (rows[4_000:], None)):
        player.play(part)
        if act is not None:
            player._put("operator", (act, "test", None))
            player.flush()
    player.end()
    found = compared(folder, backtest_of(folder, "run"))
    assert roots(found) == {"operator"}
    assert {one.because for one in found.differences if one.cause == "operator"} == {"A was disarmed"}
    assert "disarmed" in {one.a.reason for one in found.differences if one.cause == "operator" and one.a is not None}


def test_an_outage_is_a_report_of_the_venue(tmp_path: Path) -> None:
    """Orders that one side's venue rejects are the venue's doing, with its reason."""
    trial = Trial(tmp_path)
    path = trial.experiment(trial.log(usual()))
    settings = {"strategies.cross.cool_down_ms": "9000"}
    a = backtest(load_experiment(path, settings), out=tmp_path / "a", advance=quiet).folder
    down = settings | {"venues.alpha.outages": '[["2023-11-14T22:13:20Z", "2023-11-14T22:13:25Z"]]'}
    b = backtest(load_experiment(path, down), out=tmp_path / "b", advance=quiet).folder
    found = compared(a, b)
    assert found.differences[0].cause == "report"
    assert "outage" in found.differences[0].because
    assert found.differences[0].flow == {"BTC": -parse_money("0.099"), "USDT": parse_money("9.9099")}  # 0.099 at 100.10 not bought
    assert roots(found) == {"report"}


class Answered(Player):
    """A live log whose venues answer 100 ms after an order."""

    def __init__(self, folder: Path) -> None:
        self._waiting: list[AnyCommand] = []
        super().__init__(folder, mode=LIVE, send=self._waiting.extend)

    def flush(self) -> None:
        """Hand on what is held, and what the venues have said meanwhile."""
        super().flush()
        while self._waiting and self._ts >= self._waiting[0].ts + 100_000_000:
            answer(self, self._waiting.pop(0))
            super().flush()


def test_a_venue_that_fills_otherwise(tmp_path: Path) -> None:
    """A real venue's fills, rejects and fees are told apart from what the simulation assumed of the same orders."""
    player = Answered(tmp_path / "live")
    player.play(list(recorded(0, 4_000)))
    player.end()
    found = compared(tmp_path / "live", backtest_of(tmp_path / "live", "run"))
    assert causes(found) == {"fill", "report", "fee", "latency", "consequence"}
    rejected = next(one for one in found.differences if one.cause == "report")
    assert (rejected.a.state, rejected.because) == ("rejected", "rejected: post_trade_check")


def answer(player: Player, command: AnyCommand) -> None:
    """A venue that fills whole at the limit, charges the second order twice, and rejects the fourth."""
    assert isinstance(command, SubmitOrder)
    assembly = player.trading.assembly
    one = assembly.engine.market.instrument(command.instrument)
    price, qty = command.price_int * 10 ** (MONEY_SCALE - one.px_scale), command.qty_int * 10 ** (MONEY_SCALE - one.qty_scale)
    tier = assembly.resolved.fees[one.venue]
    in_base = tier.asset == "base" or (tier.asset == "received" and command.side == "buy")
    paid = qty if in_base else price * qty // 10**MONEY_SCALE
    fee = -(-paid * tier.taker_ppb // PPB) * (2 if command.order == 2 else 1)
    what: dict[str, Any] = {"account": command.account, "strategy": command.strategy, "venue": one.venue, "symbol": one.symbol}
    what |= {"start": 1, "order": command.order, "client_order_id": command.client_order_id, "source": "send"}
    if command.order == 4:
        told = [{"event": "rejected", "reason": "post_trade_check"}]
    else:
        fill = {"price": price, "qty": qty, "fee": fee, "fee_asset": one.base if in_base else one.quote, "liquidity": "taker"}
        told = [{"event": "fill", "fill_id": f"t{command.order}"} | fill]
    for report in told:
        player._put("reports", values_of("reports", what | report)[2:])


def test_the_second_start_began_with_empty_books_and_other_money(tmp_path: Path) -> None:
    """Against a backtest of the whole log a later start lacks what came before it, and opened with what the first one had left."""
    folder = tmp_path / "live"
    for at, seed in ((0, 1), (2_500, 2)):
        player = Player(folder, seed=seed)
        player.play(list(recorded(at, 6_500 if at else 2_500)))
        player.end()
    found = diff(folder, backtest_of(folder, "run"), start=2)
    assert roots(found) <= {"missing data", "config"}
    assert "A was not there" in {one.because for one in found.differences}
    assert any(one.because.startswith("A began") for one in found.differences)
    assert any(one.because.startswith("opening.main") for one in found.differences)


def test_a_side_of_which_inputs_were_pruned_is_refused(live: Path, same: Path, tmp_path: Path) -> None:
    """Rows that are gone from a copy of the log are no missing data of the one who decided on them."""
    copy = tmp_path / "copy"
    shutil.copytree(live, copy)
    assert compared(copy, same).equal
    prune(copy, Manifest(copy).segments[0].last_ts + 1, by="a test")
    with pytest.raises(Refused, match=r"copy, start 1 \(paper\) cannot be compared any more: .*were pruned"):
        diff(copy, same)


def test_sides_may_be_given_in_either_order(live: Path, same: Path) -> None:
    """The money changes its sign, the differences are as many."""
    changed = live.parent / "latency2"
    backtest_of(live, "latency2", venues__bravo__order_latency__uniform_ms="[100, 160]")
    there, back = compared(same, changed), compared(changed, same)
    assert total_of(there.differences) == {asset: -change for asset, change in total_of(back.differences).items()}
    assert len(there.differences) == len(back.differences)


@pytest.mark.parametrize(("change", "code"), [({}, 0), ({"run__seed": "9"}, 1)])
def test_command_exits_with_1_when_something_differs(live: Path, change: dict[str, str], code: int) -> None:
    """0 for equal, 1 for different, and both print what was compared."""
    made = backtest_of(live, f"command{code}", **change)
    done = CliRunner().invoke(app, ["diff", str(live), str(made)])
    assert done.exit_code == code
    assert "# What was aligned" in done.stdout
    assert ("# Differences in order of time" in done.stdout) == bool(code)


def test_wrong_use_is_told(live: Path, same: Path) -> None:
    """One side twice, a start that is not there, a log without decisions."""
    refusals: list[tuple[Callable[[], object], str]] = [
        (lambda: diff(live, live), "given twice"),
        (lambda: diff(live, same, start=4), "no start 4"),
        (lambda: diff(QUICKSTART, same), "nothing was decided"),
    ]
    for call, message in refusals:
        with pytest.raises(ConfigError, match=message):
            call()
