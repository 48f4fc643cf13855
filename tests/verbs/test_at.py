"""A run or log taken back to one of its inputs: what is shown is what the rows up to there say, and nothing of what follows."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any, Final

import pytest
from typer.testing import CliRunner

from tests.live.player import EXPERIMENT, QUICKSTART, Player, recorded
from tests.log.test_livelog import wait_for
from tests.trial import quiet
from xarb.cli import app
from xarb.config import load_experiment
from xarb.errors import ConfigError, Refused
from xarb.inquiry.sections import as_json
from xarb.log.checkpoints import checkpoint_paths
from xarb.log.manifest import Manifest
from xarb.log.reader import LogReader
from xarb.model.order import ORDER_TERMINAL
from xarb.model.units import parse_money
from xarb.sql import open_query
from xarb.strategies.micro import Micro
from xarb.verbs.at import Markets, at
from xarb.verbs.backtest import backtest

ROWS: Final = 2_500
ENDED: Final = ("closed", "held", "kept")
Tables = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backtest of the quickstart."""
    return backtest(load_experiment(EXPERIMENT), out=tmp_path_factory.mktemp("at") / "run", advance=quiet).folder


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A live log on paper with two starts."""
    folder = tmp_path_factory.mktemp("at") / "live"
    for first, count, seed in ((0, ROWS, 1), (ROWS, 3_500, 2)):
        player = Player(folder, seed=seed)
        player.play(list(recorded(first, count)))
        player.end()
    return folder


def told(folder: Path, seq: int, **more: Any) -> Tables:
    """The answer as JSON gives it."""
    found: Tables = json.loads(as_json(at(folder, seq, advance=quiet, **more)))
    return found


def head(tables: Tables) -> dict[str, Any]:
    """The first table."""
    return {row["what"]: row["value"] for row in tables["moment"]}


def outputs_before(folder: Path, count: int, first: int = 0) -> list[tuple[str, dict[str, Any]]]:
    """The first output rows of a start that begins with input `first`."""
    with LogReader(folder) as reader:
        rows = ((kind, row) for kind, row in reader.outputs() if row["after_seq"] >= first)
        return [one for one, _ in zip(rows, range(count), strict=False)]


def check_equal(tables: Tables, rows: list[tuple[str, dict[str, Any]]]) -> None:
    """What is shown is what comes of the rows, put together in another way."""
    balances = {(row["account"], row["venue"], row["asset"]): row["balance"] for kind, row in rows if kind == "ledger"}
    shown = {(row["account"], row["venue"], row["asset"]): parse_money(row["balance"]) for row in tables["balances"]}
    assert shown == {place: held for place, held in balances.items() if held}
    orders = {row["order"]: row for kind, row in rows if kind == "orders"}
    alive = {number: row for number, row in orders.items() if row["state"] not in ORDER_TERMINAL}
    assert {row["order"]: row["state"] for row in tables["orders"]} == {number: row["state"] for number, row in alive.items()}
    for row in tables["orders"]:
        one = alive[row["order"]]
        assert (row["venue"], row["symbol"], row["side"], row["bundle"]) == (
            one["venue"],
            one["symbol"],
            one["side"],
            one["bundle"],
        )
        assert [parse_money(row[key]) for key in ("price", "qty", "filled")] == [one["price"], one["qty"], one["filled_qty"]]
    bundles = {row["bundle"]: row["event"] for kind, row in rows if kind == "bundles"}
    assert {row["bundle"] for row in tables["bundles"]} == {number for number, event in bundles.items() if event not in ENDED}
    feeds = {(row["venue"], row["symbol"]): row["state"] for kind, row in rows if kind == "feed_states"}
    assert {(row["venue"], row["symbol"]): row["state"] for row in tables["feeds"]}.items() >= feeds.items()
    phases = {(row["strategy"], row["opportunity"]): row["phase"] for kind, row in rows if kind == "opportunities"}
    assert {(row["strategy"], row["opportunity"]) for row in tables["opportunities"]} == {
        key for key, phase in phases.items() if phase != "closed"
    }


def test_a_run_is_shown_as_its_rows_up_to_there_say(run: Path) -> None:
    """At random inputs, and at one with orders on their way: balances, orders, bundles, feeds, opportunities, quotes."""
    draw = random.Random(7)  # noqa: S311  # a test's draw
    with LogReader(run) as reader:
        sent = [row["after_seq"] for _, row in reader.outputs(kinds=("commands",))]
    busy = 0
    for seq in [draw.randrange(1_000, 190_000), draw.choice(sent), draw.choice(sent)]:
        tables = told(run, seq, log=QUICKSTART)
        first = head(tables)
        assert first["last input applied"] <= seq
        rows = outputs_before(run, first["rows that came again as recorded"])
        assert {row["after_seq"] for _, row in rows[-1:]} <= {*range(seq + 1)}
        check_equal(tables, rows)
        busy += len(tables["orders"])
        with open_query([QUICKSTART]) as query:
            sql = f"""SELECT venue, symbol, arg_max(bid_int, seq), arg_max(px_scale, seq) FROM quotes
                WHERE seq <= {seq} AND venue = 'alpha' GROUP BY ALL"""  # noqa: S608  # a number
            for venue, symbol, bid, scale in query.run(sql).rows():
                (quote,) = (row for row in tables["feeds"] if (row["venue"], row["symbol"]) == (venue, symbol))
                assert parse_money(quote["bid"]) == int(str(bid)) * 10 ** (18 - int(str(scale)))
    assert busy


def test_a_start_is_found_by_the_input(live: Path) -> None:
    """Of two starts the one that applied it, with its own orders and money."""
    with LogReader(live) as reader:
        second = [row["seq"] for row in reader.rows("starts")][1]
        last = reader.last_seq
    for seq, number, first in ((second - 300, 1, 0), (second + 200, 2, second), (last - 5, 2, second)):
        tables = told(live, seq)
        assert head(tables)["of"].endswith(f"start {number} (paper)")
        check_equal(tables, outputs_before(live, head(tables)["rows that came again as recorded"], first))
    assert told(live, last - 5, start=2) == tables


def test_a_checkpoint_gives_the_same_as_the_whole_way(tmp_path: Path) -> None:
    """And says that it was used."""
    folder = tmp_path / "log"
    player = Player(folder)
    market = list(recorded(0, 9_000))
    player.play_and_seal(market[:5_000])
    player.play(market[5_000:])
    wait_for(lambda: bool(checkpoint_paths(folder)))
    player.end()
    paths = checkpoint_paths(folder)
    assert paths
    seq = int(paths[0].stem) + 40
    short = told(folder, seq)
    assert head(short)["replayed from"] == f"the checkpoint of input {int(paths[0].stem)}"
    shutil.rmtree(folder / "checkpoints")
    whole = told(folder, seq)
    assert head(whole)["replayed from"] == "the first input"
    told_apart = ("replayed from", "rows that came again as recorded")
    for tables in (short, whole):
        tables["moment"] = [row for row in tables["moment"] if row["what"] not in told_apart]
    assert short == whole


def test_what_does_not_come_again_is_not_shown(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code that decides otherwise shows nothing that was not there; an input that nobody applied is no moment."""
    with pytest.raises(ConfigError, match="has inputs 0 to"):
        told(run, Manifest(QUICKSTART).last + 1, log=QUICKSTART)
    monkeypatch.setattr(Micro, "on_wake", lambda *_: ())
    with pytest.raises(Refused, match="up to seq 50000 this code decides otherwise"):
        told(run, 50_000, log=QUICKSTART)


def test_wrong_use_says_what_is_right(run: Path, live: Path) -> None:
    """No such input, instrument, start; a log that nothing was decided on."""
    with pytest.raises(ConfigError, match=r"no instrument XRP/USDT@alpha; there are .*BTC/USDT@alpha"):
        told(run, 5_000, log=QUICKSTART, markets=Markets(["XRP/USDT@alpha"]))
    with pytest.raises(ConfigError, match="no start applied input 999999"):
        told(live, 999_999)
    with pytest.raises(ConfigError, match="without a start"):
        told(QUICKSTART, 5)
    with pytest.raises(ConfigError, match="it has no start 2"):
        told(run, 5, log=QUICKSTART, start=2)


def test_the_command_shows_what_is_asked_for(run: Path) -> None:
    """One instrument, some levels; as tables and as JSON."""
    runner = CliRunner()
    words = ["at", str(run), "--log", str(QUICKSTART), "--seq", "50000", "--market", "BTC/USDT@bravo", "--depth", "2"]
    done = runner.invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "# As of input 50000" in done.stdout
    found = json.loads(runner.invoke(app, [*words, "--format", "json"]).stdout)
    assert [(row["venue"], row["symbol"]) for row in found["feeds"]] == [("bravo", "BTC/USDT")]
    assert [row["level"] for row in found["levels"]] == [0, 1]
    refused = runner.invoke(app, [*words[:4], "--seq", "x"])
    assert isinstance(refused.exception, ConfigError)
