"""The status of live trading, read from its log while it is written and after."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.live.player import EXPERIMENT, QUICKSTART, SMALL, Player, recorded
from tests.live.test_breakers import NAKED
from tests.trial import quiet
from xarb.cli import app
from xarb.config import load_experiment
from xarb.config.watch import WatchConfig
from xarb.errors import ConfigError
from xarb.inquiry.decided import starts_in
from xarb.inquiry.sections import as_json
from xarb.live.kill import reset_breakers
from xarb.model.columns import TABLES
from xarb.model.event import named
from xarb.model.units import NANOS_PER_S, parse_money
from xarb.sql.connection import open_query
from xarb.upkeep import open_log
from xarb.verbs.backtest import backtest
from xarb.verbs.status import SILENCE_NS, Status, _feeds, _View, status
from xarb.watch.verb import Watch

ROWS = 2_500


@pytest.fixture
def player(tmp_path: Path) -> Iterator[Player]:
    """Trading on paper that goes on; some of its log is sealed, some is open tail."""
    made = Player(tmp_path / "log")
    made.play(list(recorded(0, ROWS)))
    yield made
    made.log.close()


def tables(found: Status) -> dict[str, list[dict[str, Any]]]:
    """Its tables as JSON gives them."""
    made: dict[str, list[dict[str, Any]]] = json.loads(as_json(found.sections))
    return made


def head(found: Status) -> dict[str, Any]:
    """The first table."""
    return {row["what"]: row["value"] for row in tables(found)["status"]}


def look(player: Player, *, later: int = 0) -> Status:
    """The status as somebody sees it `later` ns after the last input."""
    return status(player.log.folder, now=player._ts + later)


def rows(player: Player, kind: str) -> list[dict[str, Any]]:
    """The output rows of a kind, as they were decided."""
    return [named(row) for row in player.outputs if row[0] == kind]


def test_a_running_start_is_seen_up_to_its_last_row(player: Player) -> None:
    """Armed, running, all feeds live: no trouble; counts, balances and open orders are those of the outputs, the open tail included."""
    found = look(player)
    assert found.troubles == []
    first = head(found)
    assert (first["start"], first["mode"], first["state"]) == (1, "paper", "running")
    assert first["armed"].startswith("yes: arm by test")
    made = tables(found)
    counted = {(row["what"], row["which"]): row["count"] for row in made["counts"]}
    last = {row["order"]: row["state"] for row in rows(player, "orders")}
    for state, count in Counter(last.values()).items():
        assert counted["orders", state] == count
    assert sum(count for (what, _), count in counted.items() if what == "fills") == len(rows(player, "fills")) > 0
    for reason, count in Counter(row["reason"] for row in rows(player, "refusals")).items():
        assert counted["refusals", reason] == count
    for row in made["balances"]:
        place = (row["account"], row["venue"], row["asset"])
        assert parse_money(row["balance"]) == player.trading.assembly.engine.portfolio.balances()[place]
    sums = {(row["strategy"], row["asset"]): parse_money(row["sum"]) for row in made["money"]}
    for strategy in player.trading.assembly.resolved.strategies:
        flows = player.trading.assembly.engine.portfolio.flows(strategy)
        assert {asset: change for (owner, asset), change in sums.items() if owner == strategy} == flows


def test_orders_that_are_alive_are_listed_with_their_age(tmp_path: Path) -> None:
    """While orders are on their way they are shown; the log is looked at right after each burst."""
    player = Player(tmp_path / "log")
    market = list(recorded(0, ROWS))
    for at in range(0, ROWS, 20):
        player.play(market[at : at + 20])
        last = {row["order"]: row for row in rows(player, "orders")}
        alive = [row for row in last.values() if row["state"] == "pending"]
        if alive:
            break
    made = tables(look(player, later=1_000_000))
    player.log.close()
    assert alive
    sent = {row["order"]: row["ts"] for row in rows(player, "commands")}
    assert [(row["order"], row["state"]) for row in made["open_orders"]] == [(row["order"], "pending") for row in alive]
    for row in made["open_orders"]:
        assert parse_money(row["age_ms"]) == (player._ts + 1_000_000 - sent[row["order"]]) * 10**12


def test_a_disarmed_start_says_who_and_when(player: Player) -> None:
    """The last act of the operator counts."""
    player._put("operator", ("disarm", "ann", "lunch"))
    player.flush()
    found = look(player)
    assert len(found.troubles) == 1
    assert "disarmed: disarm by ann" in found.troubles[0]
    assert head(found)["armed"].endswith("lunch")
    player._put("operator", ("arm", "ann", None))
    player.flush()
    assert look(player).troubles == []


def test_venues_without_new_bundles_are_named(tmp_path: Path) -> None:
    """Each breaker that is not closed, with its reason and end, until a person reset it."""
    made = Player(tmp_path / "log", changes=NAKED)
    made.play(list(recorded(0, 30_000)))
    found = look(made)
    open_now = tables(found)["breakers"]
    assert [(row["account"], row["state"], row["reason"]) for row in open_now] == [("main", "open", "residual_held")] * 2
    assert {row["until"] for row in open_now} == {"xarb kill LOG --reset-breakers"}
    assert {f"the breaker of main on {row['venue']} is open: residual_held" for row in open_now} <= set(found.troubles)
    made.end()
    reset_breakers(made.log.folder)
    assert tables(look(made))["breakers"] == []


def test_countdowns_are_shown_with_their_age(player: Player) -> None:
    """By the last readings: running, late, off; one that does not run is a trouble by name."""
    stories: tuple[tuple[str, int, str, int], ...] = (
        ("cancel_after_ms", 60_000, "runs", 0),
        ("cancel_after_failed", 1, "late", 0),
        ("cancel_after_ms", 0, "off", 1),
        ("cancel_after_failed", 0, "off", 1),
        ("cancel_after_ms", 60_000, "runs", 0),
    )
    assert "countdowns" not in tables(look(player))
    for metric, value, state, troubles in stories:
        player._put("health", ("charlie", metric, value, "main: said"))
        player.flush()
        found = look(player, later=NANOS_PER_S)
        [row] = tables(found)["countdowns"]
        assert (row["venue"], row["state"], row["detail"]) == ("charlie", state, "main: said")
        assert [one for one in found.troubles if "countdown" in one] == [
            "the countdown at charlie does not run: main: said"
        ] * troubles
    assert (row["length_ms"], parse_money(row["age_ms"])) == (60_000, 1_000 * 10**18)


def test_a_silent_start_is_not_taken_for_a_running_one(player: Player) -> None:
    """A driver writes at least each second; after five without a row its process is gone, or hangs."""
    assert look(player, later=SILENCE_NS).troubles == []
    found = look(player, later=SILENCE_NS + 1)
    assert "silent" in head(found)["state"]
    assert len(found.troubles) == 1


def test_a_lost_connection_is_a_feed_that_is_not_live(player: Player) -> None:
    """The feeds of a venue whose connection is lost are down, each is named, and the gap is counted."""
    with_venue = next(values for kind, values in recorded(0, 200) if kind == "connections" and "alpha" in values)
    lost = list(with_venue[2:])
    names = [column.name for column in TABLES["connections"].columns][2:]
    lost[names.index("event")] = TABLES["connections"].column("event").values.index("lost")
    player._put("connections", tuple(lost))
    player.flush()
    found = look(player)
    feeds = {(row["venue"], row["symbol"]): row for row in tables(found)["feeds"]}
    assert feeds["alpha", "BTC/USDT"]["state"] == "down"
    assert feeds["alpha", "BTC/USDT"]["gaps"] == 1
    assert feeds["bravo", "BTC/USDT"]["state"] == "live"
    assert {trouble.split("@")[1] for trouble in found.troubles} == {"alpha is down"}


def test_only_the_last_start_is_shown(player: Player) -> None:
    """What an earlier start did is not counted, but its money is what the last one opened with."""
    player.end()
    assert status(player.log.folder).troubles == ["the start has ended by test"]
    again = Player(player.log.folder, seed=2, armed=False)
    again.play(list(recorded(ROWS, 100)))
    found = look(again)
    again.log.close()
    assert head(found)["start"] == 2
    assert any("disarmed: as it was started" in trouble for trouble in found.troubles)
    made = tables(found)
    assert not made["money"]
    assert {row["balance"] for row in made["balances"]} == {row["balance"] for row in tables(status(player.log.folder))["balances"]}


def test_a_start_whose_process_died_is_not_running_when_others_write(player: Player) -> None:
    """Whoever writes on says that it was left off: fresh rows are not the start's, and it is armed no more."""
    player.log.abandon()
    log = open_log(player.log.folder, "", SMALL).log
    found = status(log.folder, now=log.last_ts)
    with Watch(log.folder, WatchConfig(disk_mb=0), now=lambda: log.last_ts) as watch:
        watch.look()
        armed = watch.state.trading.armed
    log.close()
    assert not armed
    assert head(found)["armed"].startswith("no")
    assert head(found)["state"].startswith("died")
    assert found.troubles == ["the start has died"]


def test_command_exits_with_1_and_says_why(player: Player) -> None:
    """An ended start is not trading: the tables go to standard output, the reason to standard error."""
    player.end()
    done = CliRunner().invoke(app, ["status", str(player.log.folder)])
    assert done.exit_code == 1
    assert "# Feeds" in done.stdout
    assert "the start has ended by test" in done.stderr
    again = CliRunner().invoke(app, ["status", str(player.log.folder), "--format", "json"])
    assert json.loads(again.stdout)["status"][0] == {"what": "start", "value": 1}


def test_what_nothing_trades_on_has_no_status(tmp_path: Path) -> None:
    """A recording and a finished run are refused by name."""
    with pytest.raises(ConfigError, match="without a start"):
        status(QUICKSTART)
    run = backtest(load_experiment(EXPERIMENT, {"run.end": "2026-01-05T23:45:20Z"}), out=tmp_path / "run", advance=quiet).folder
    with pytest.raises(ConfigError, match="is a run"):
        status(run)


def test_what_comes_while_it_looks_has_no_age_below_zero(player: Player) -> None:
    """A log goes on between two statements: a row that is later than the look is of no age."""
    with open_query([player.log.folder]) as query:
        before = player._ts - NANOS_PER_S
        found = _feeds(_View(query, starts_in(query)[-1], before, before), [])
    at = found.columns.index("age_ms")
    assert "0" in {row[at] for row in found.rows}
    assert not [row for row in found.rows if row[at].startswith("-")]
