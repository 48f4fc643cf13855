"""What a watcher knows of live trading, against what was decided: the same rows, played into a log by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live.player import Player, recorded
from xarb.config.watch import WatchConfig
from xarb.log.manifest import last_digest
from xarb.model.event import named
from xarb.model.units import MONEY_ONE, NANOS_PER_S, format_decimal
from xarb.venues.keys import Redactor
from xarb.watch.daily import summary
from xarb.watch.exposition import exposition
from xarb.watch.rules import Place, conditions, money
from xarb.watch.verb import Watch, metrics_once

ROWS = 2_500


@pytest.fixture
def player(tmp_path: Path) -> Iterator[Player]:
    """Trading on paper that goes on; some of its log is sealed, some is open tail."""
    made = Player(tmp_path / "log")
    yield made
    made.log.close()


def values(text: str) -> dict[str, str]:
    """Each sample by its name with labels; every line is a sample or a comment, and each name has one type."""
    found: dict[str, str] = {}
    types: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in types, name
            types[name] = kind
        elif not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            assert name not in found, name
            assert name.partition("{")[0] in types, name
            float(value)
            found[name] = value
    assert all(name.endswith("_total") == (kind == "counter") for name, kind in types.items())
    return found


def looked(player: Player, config: WatchConfig) -> Watch:
    """A watch that has looked at everything, and may go on."""
    watch = Watch(player.log.folder, config, now=lambda: player._ts)
    watch.look()
    return watch


def rows(player: Player, kind: str) -> list[dict[str, Any]]:
    """The output rows of a kind, as they were decided."""
    return [named(row) for row in player.outputs if row[0] == kind]


@pytest.mark.parametrize("looks", [1, 25])
def test_metrics_are_what_was_decided(player: Player, looks: int) -> None:
    """Counters, open bundles and exact flows equal the outputs and the engine's portfolio, looked at once or again and again."""
    watch = Watch(player.log.folder, WatchConfig(), now=lambda: player._ts)
    market = list(recorded(0, ROWS))
    step = ROWS // looks
    for at in range(0, ROWS, step):
        player.play(market[at : at + step])
        watch.look()
    found = values(watch.metrics())
    watch.__exit__(None, None, None)
    orders = rows(player, "orders")
    for state, count in Counter(row["state"] for row in orders if row["state"] != row["previous"]).items():
        assert found[f'xarb_orders_total{{state="{state}"}}'] == f"{count}"
    for reason, count in Counter(row["reason"] for row in rows(player, "refusals")).items():
        assert found[f'xarb_refusals_total{{reason="{reason}"}}'] == f"{count}"
    fills = rows(player, "fills")
    assert sum(int(value) for name, value in found.items() if name.startswith("xarb_fills_total")) == len(fills) > 0
    for kind in ("orders", "fills", "quotes", "opportunities"):
        written = len(rows(player, kind)) if kind != "quotes" else sum(name == "quotes" for name, _ in market)
        assert found[f'xarb_rows_total{{kind="{kind}"}}'] == f"{written}"
    last = {row["order"]: row for row in orders}
    alive = {row["bundle"] for row in last.values() if row["state"] in ("pending", "accepted", "partially_filled", "unknown")}
    assert found["xarb_open_bundles"] == f"{len(alive)}"
    portfolio, strategies = player.trading.assembly.engine.portfolio, player.trading.assembly.resolved.strategies
    flows: Counter[str] = Counter()
    for strategy in strategies:
        flows.update(portfolio.flows(strategy))
    for asset, change in flows.items():
        assert found[f'xarb_flow{{asset="{asset}"}}'] == format_decimal(change, 18)
    assert (found["xarb_armed"], found["xarb_kill_level"], found["xarb_up"]) == ("1", "0", "1")
    taken = sum(row["verdict"] == "taken" for row in rows(player, "opportunities"))
    assert found['xarb_decisions_total{verdict="taken"}'] == f"{taken}"
    assert float(found["xarb_uptime_seconds"]) > 0
    assert int(found["xarb_scans_total"]) > 0


def test_countdowns_have_their_length_and_age(player: Player) -> None:
    """As the log was told last; a venue without one has no line."""
    watch = Watch(player.log.folder, WatchConfig(), now=lambda: player._ts + NANOS_PER_S)
    for value in (60_000, 0):
        player._put("health", ("charlie", "cancel_after_ms", value, "main: said"))
        player.flush()
        watch.look()
        found = values(watch.metrics())
        assert float(found['xarb_cancel_after_seconds{venue="charlie"}']) == value / 1000
        assert float(found['xarb_cancel_after_age_seconds{venue="charlie"}']) == 1
        assert sum(name.startswith("xarb_cancel_after_seconds") for name in found) == 1
    watch.__exit__(None, None, None)


def test_trading_pnl_values_flows_at_the_last_mids(player: Player) -> None:
    """In each stated currency: what changed, each asset at the mid of its last quote, rounded down; mean profit is that by bundle."""
    market = list(recorded(0, ROWS))
    player.play(market)
    watch = looked(player, WatchConfig())
    found, course = values(watch.metrics()), watch.state.course
    watch.__exit__(None, None, None)
    (currency,) = course.currencies
    total = 0
    for asset, change in course.flows.items():
        price = MONEY_ONE if asset == currency else course._prices[asset, currency]
        total += change * price // MONEY_ONE
    assert len(course.flows) > 1
    assert found[f'xarb_trading_pnl{{currency="{currency}"}}'] == money(total)
    taken = int(found['xarb_decisions_total{verdict="taken"}'])
    assert found[f'xarb_mean_profit{{currency="{currency}"}}'] == money(total // taken)


def test_acts_of_the_operator_show_at_once(player: Player) -> None:
    """Disarmed, killed and reset: metrics and the conditions that go with them; a kill holds over starts."""
    watch = looked(player, WatchConfig())
    assert [one.rule for one in watch.found if one.rule != "disk_low"] == []
    for action, level, wrong in (("disarm", 1, "disarmed"), ("arm", 0, None), ("kill", 4, "killed")):
        player._put("operator", (action, "ann", "lunch"))
        player.flush()
        watch.look()
        assert values(watch.metrics())["xarb_kill_level"] == f"{level}"
        found = [one for one in watch.found if one.rule != "disk_low"]
        assert [one.rule for one in found] == ([wrong] if wrong else [])
        assert all("ann" in one.text for one in found)
    watch.__exit__(None, None, None)
    player.end()
    with Watch(player.log.folder, WatchConfig(), now=lambda: player._ts + 10 * NANOS_PER_S) as again:
        again.look()
        assert {one.rule for one in again.found} - {"disk_low"} == {"killed", "stopped"}


def test_a_start_that_never_arms_is_told_after_a_while(tmp_path: Path) -> None:
    """`unarmed_s`: not at once, since markets need a moment to speak."""
    player = Player(tmp_path / "log", armed=False)
    ages = {}
    for config, seconds in ((WatchConfig(), 119), (WatchConfig(), 121), (WatchConfig(unarmed_s=300, silent_s=1000), 121)):
        watch = Watch(player.log.folder, config, now=lambda: player.log.last_ts + seconds * NANOS_PER_S)  # noqa: B023  # used at once
        watch.look()
        ages[seconds, config.unarmed_s] = "disarmed" in {one.rule for one in watch.found}
        watch.__exit__(None, None, None)
    player.log.close()
    assert ages == {(119, 120): False, (121, 120): True, (121, 300): False}


def test_the_summary_says_how_the_day_went(player: Player) -> None:
    """Mode, opportunities, fills and PnL with its currency, and what is wrong now."""
    player.play(list(recorded(0, ROWS)))
    player._put("operator", ("disarm", "ann", None))
    player.flush()
    watch = looked(player, WatchConfig(disk_mb=0))
    text = summary("log", watch.state, watch.place(), watch.found, head=watch.head())
    watch.__exit__(None, None, None)
    assert "start 1 (paper), not armed" in text
    assert f"fills {len(rows(player, 'fills'))}" in text
    assert "USDT" in text
    assert f"digest {last_digest(player.log.folder)[:32]}" in Redactor()(text, 3_500)
    assert text.splitlines()[-1].startswith("now: disarmed disarmed by ann")


def test_a_recording_has_metrics_without_trading() -> None:
    """The shipped recording: its rows, no start."""
    root = Path(__file__).resolve().parents[2]
    found = values(metrics_once(root / "recordings" / "quickstart", WatchConfig()))
    assert int(found['xarb_rows_total{kind="quotes"}']) > 10_000
    assert found["xarb_up"] == "0"
    assert not any(name.startswith(("xarb_armed", "xarb_orders")) for name in found)


def test_labels_are_escaped(player: Player) -> None:
    """A venue's words may hold quotes, backslashes and line ends."""
    watch = looked(player, WatchConfig())
    watch.state.trading.refusals['a"b\\c\nd'] = 3
    place = Place(now=player._ts, claimed=True, claimed_at=0, is_sealed=False, disk_free=10**12)
    text = exposition(watch.state, place)
    watch.__exit__(None, None, None)
    assert 'xarb_refusals_total{reason="a\\"b\\\\c\\nd"} 3' in text
    assert conditions(watch.state, place, WatchConfig()) == []
