"""The page of a run: its figures are the backtest's, nothing of it asks anybody for anything, and names are text."""

from __future__ import annotations

import html
import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import pytest
from typer.testing import CliRunner

from tests.live.player import EXPERIMENT, Player, recorded
from tests.log.logs import rewrite
from tests.trial import Trial, quiet, usual
from xarb.cli import app
from xarb.config import load_experiment
from xarb.console import Table
from xarb.errors import ConfigError
from xarb.inquiry.decided import open_decided
from xarb.inquiry.sections import Section
from xarb.model.units import MONEY_ONE
from xarb.summary import Summary, money
from xarb.verbs.backtest import Result, backtest
from xarb.verbs.report import TRADES, Wanted, report
from xarb.verbs.report.around import POINTS
from xarb.verbs.report.bundles import CAUSES, Bundle, bundles
from xarb.verbs.report.drawing import Figure, labels, shown
from xarb.verbs.report.earned import TRADES as DRAWN
from xarb.verbs.report.earned import earned
from xarb.verbs.report.page import Line, Page, Part, plotly, written
from xarb.verbs.report.panels import Panel
from xarb.verbs.report.replayed import replayed
from xarb.verbs.report.timeline import buckets_of

END = {"run.end": '"2026-01-05T23:50:00Z"', "strategies.eager.min_profit_bps": "5"}
HOSTILE = "</script><img src=x onerror=alert(1)> & \"quoted\" 'name' %{x} <b>b</b>"


class _Cells(HTMLParser):
    """The rows of all tables of a page, as text."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        """A row or a cell begins."""
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self._inside = True

    def handle_endtag(self, tag: str) -> None:
        """A cell ends."""
        if tag in ("td", "th"):
            self._inside = False

    def handle_data(self, data: str) -> None:
        """Text of a cell."""
        if self._inside:
            self.rows[-1][-1] += data


def rows_of(page: str) -> list[list[str]]:
    """The rows of all tables."""
    cells = _Cells()
    cells.feed(page)
    return cells.rows


def data_of(page: str) -> dict[str, Any]:
    """What the page's script draws from."""
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """A part of the quickstart."""
    return backtest(load_experiment(EXPERIMENT, END), out=tmp_path_factory.mktemp("report") / "run", advance=quiet)


@pytest.fixture(scope="module")
def page(run: Result) -> str:
    """Its page, with ten trades that can be opened."""
    out = run.folder.parent / "page.html"
    assert report(Wanted([run.folder], trades=10), out, advance=quiet).proven
    return out.read_text()


def test_every_figure_of_the_backtest_stands_on_the_page(run: Result, page: str) -> None:
    """Each row of each table that the backtest printed but its head, to the last digit."""
    rows = rows_of(page)
    for table in run.tables[1:]:
        for row in table.rows:
            assert list(row) in rows, table.title


def test_key_figures_are_those_of_the_summary(run: Result, page: str) -> None:
    """PnL, peak and drawdown as printed; the counts of strategies add up to those found, taken and refused."""
    told = {row[0]: row[1] for row in rows_of(page) if len(row) == 2}
    tables = {table.title.partition(" (")[0]: table for table in run.tables}
    ((_, last, peak, drawdown, _),) = tables["Trading PnL"].rows
    assert (told["trading PnL, USDT"], told["peak, USDT"], told["largest drawdown, USDT"]) == (last, peak, drawdown)
    year, period = (float(told[f"Sharpe ratio, a {span}, USDT"].split(" ")[0].replace(",", "")) for span in ("year", "period"))
    seconds = {"second": 1, "minute": 60}[told["Sharpe ratio, a year, USDT"].rstrip(")").rsplit(" ", 1)[1]]
    assert year == pytest.approx(period * (365 * 86_400 / seconds) ** 0.5, rel=1e-3)
    (figures,) = [one["figures"] for one in data_of(page)["runs"]]
    (fall,), (line,) = figures["drawdown"]["traces"], figures["equity"]["traces"]
    assert (max(fall["y"]), -min(fall["y"])) == pytest.approx((0, float(drawdown)), abs=2e-6)  # what is printed is cut
    assert (line["y"][0], line["y"][-1], max(line["y"])) == pytest.approx((0, float(last), float(peak)), abs=2e-6)
    columns = list(zip(*tables["Strategies"].rows, strict=True))
    sums = [str(sum(map(int, columns[at]))) for at in (1, 2, 3)]
    assert [told["opportunities found"], told["taken"], told["refused"]] == sums


def test_sums_and_causes_are_those_of_the_summary(run: Result) -> None:
    """By strategy and pair to the last printed digit; the causes of a bundle add up to its ledger exactly."""
    with open_decided(run.folder) as decided:
        again = replayed(decided, lambda _: {}, quiet)
        found = list(bundles(decided, again.assets, again.alike))
        ledger: Counter[str] = Counter()
        for row in decided.rows("ledger"):
            if row["order"] is not None:
                ledger[row["asset"]] += row["delta"]
    total: Counter[str] = Counter()
    for one in found:
        total.update(one.flow)
    assert {asset: change for asset, change in total.items() if change} == {a: c for a, c in ledger.items() if c}
    buckets = buckets_of(again.begins, again.ends)
    sums = earned(found, again.summary, buckets, chosen=(), total=len(found))
    tables = {table.title.partition(" (")[0]: table for table in run.tables}
    assert [(one.name, f"{money(one.pnl or 0)} {one.currency}") for one in sums.pairs] == [
        (r[0], r[2]) for r in tables["Pairs of venues"].rows
    ]
    assert [(one.name, f"{money(one.pnl or 0)} {one.currency}") for one in sums.strategies] == [
        (r[0], r[6]) for r in tables["Strategies"].rows
    ]
    whole = again.summary.equity["USDT"].last or 0
    for parts in (sums.causes["USDT"], sums.hours["USDT"]):
        assert abs(sum(parts.values()) - whole) < MONEY_ONE // 10**12
    assert abs(sum(sum(one.values()) for one in sums.buckets["USDT"].values()) - whole) < MONEY_ONE // 10**12
    assert sums.causes["USDT"]["fees"] < 0 < sums.causes["USDT"]["edge"]


@pytest.mark.parametrize("name", ["dex_dex", "cex_dex"])
def test_sums_on_chains_are_those_of_the_summary(name: str, tmp_path: Path) -> None:
    """By pair to the last printed digit; the page is proven, its trades have their transactions, and a swap's slippage is apart."""
    done = backtest(load_experiment(EXPERIMENT.with_name(f"{name}.toml")), out=tmp_path / "run", advance=quiet)
    with open_decided(done.folder) as decided:
        again = replayed(decided, lambda _: {}, quiet)
        found = list(bundles(decided, again.assets, again.alike))
    sums = earned(found, again.summary, buckets_of(again.begins, again.ends), chosen=(), total=len(found))
    (pairs,) = [table for table in done.tables if table.title.startswith("Pairs of venues")]
    assert [
        (one.name, f"{money(one.pnl or 0)} {one.currency}".removesuffix(f" {one.currency}" * (not one.pnl))) for one in sums.pairs
    ] == [(row[0], row[2]) for row in pairs.rows]
    (currency,) = sums.currencies
    assert sums.causes[currency]["gas"] < 0
    assert (sums.causes[currency]["slippage"] != 0) == (name == "cex_dex")
    assert sums.unvalued == 0
    assert report(Wanted([done.folder], trades=5), tmp_path / "page.html", advance=quiet).proven
    (run,) = data_of((tmp_path / "page.html").read_text())["runs"]
    for panel in run["panels"].values():
        assert {"Transactions", "Their states", "Ledger"} <= {title for title, _, _ in panel["tables"]}


def test_a_swap_that_brings_other_than_expected_slips() -> None:
    """110 came where 100 were expected: a tenth of a part of what came is slippage, the edge is without it, a token counts as its coin."""
    from xarb.verbs.report.bundles import _bundle

    one = MONEY_ONE
    rows: list[tuple[Any, ...]] = [
        (1, 0, 5, "s", "sell p@c, buy X/U@a", "", None, None, 1, 3, "", "sell p@c, buy X/U@a", 10_000),
        (1, 1, 5, "s", "0xt", "swap", 110 * one, None, None, None, None, None, None),
        (1, 1, 5, "s", "0xin", "swap", -50 * one, None, None, None, None, None, None),
        (1, 1, 5, "s", "ETH", "gas", -2 * one, None, None, None, None, None, None),
        (1, 3, 5, "s", "0xt", "", 110 * one, None, None, None, "100000000", "110000000", None),
    ]
    hedge = (
        1,
        2,
        6,
        "s",
        "a",
        "X/U",
        50 * one,
        99 * one,
        2,
        0,
        "buy",
        "hedge",
        None,
    )  # planned at 2, paid less: no unwind of a swap
    money_of_hedge = [
        (1, 1, 6, "s", "X", "trade", 50 * one, None, None, None, None, None, None),
        (1, 1, 6, "s", "U", "trade", -99 * one, None, None, None, None, None, None),
    ]
    hedged = _bundle(1, [*rows, *money_of_hedge, hedge], {("a", "X/U"): ("X", "U")}, {"0xt": "U", "0xin": "X"})
    assert (hedged.causes["slippage"]["U"], hedged.causes["unwind"]["U"]) == ((10 + 1) * one, 0)
    found = _bundle(1, rows, {}, {"0xt": "U", "0xin": "X"})
    told = {cause: {asset: change // one for asset, change in flow.items() if change} for cause, flow in found.causes.items()}
    assert told["slippage"] == {"U": 10}
    assert told["edge"] == {"U": 100, "X": -50}
    assert told["gas"] == {"ETH": -2}
    assert (found.moved, found.turnover, found.quote) == (True, 0, "")


def test_causes_are_reckoned_against_the_prices_of_the_decision(tmp_path: Path) -> None:
    """Sold at 101, bought at 100.10, no fees and books that stand: all is edge, to the last digit."""
    trial = Trial(tmp_path)
    trial.run(trial.experiment(trial.log(usual())))
    with open_decided(tmp_path / "run1") as decided:
        again = replayed(decided, lambda _: {}, quiet)
        found = [one for one in bundles(decided, again.assets, again.alike) if one.moved]
        sold = {row["bundle"]: row["qty"] for row in decided.rows("fills", ("side", "=", "sell"))}
    assert found
    for one in found:
        assert {cause for cause in CAUSES if any(one.causes[cause].values())} == {"edge"}
        assert one.flow["USDT"] == sold[one.number or 0] * 90 // 100


def test_what_cannot_be_valued_is_counted() -> None:
    """An asset without a mark that two causes cancel out: the sum is valued, the two parts are left out and counted."""
    one, nothing = MONEY_ONE, Counter[str]()
    summary = Summary(marks=lambda _asset, _currency: None, opening={}, assets={}, currencies=["U"])
    causes = {cause: Counter[str]() for cause in CAUSES}
    causes["edge"], causes["fees"] = Counter({"X": one, "U": 5 * one}), Counter({"X": -one})
    bundle = Bundle(1, 10**18, "s", "a / b", 1, 1, 0, 0, "", True, causes)
    assert bundle.flow - nothing == Counter({"U": 5 * one})
    found = earned([bundle], summary, buckets_of(10**18, 10**18 + 10**9), chosen=[1], total=1)
    assert (found.strategies[0].pnl, found.unvalued) == (5 * one, 2)
    assert found.hits["U"] == (1, 1)
    causes["edge"] = Counter({"X": 2 * one})
    lost = earned([bundle], summary, buckets_of(10**18, 10**18 + 10**9), chosen=[1], total=1)
    assert (lost.strategies[0].pnl, lost.trades[0].pnl, lost.hits["U"].ratio) == (None, None, None)


def test_hits_gain_and_of_many_trades_some_are_shown() -> None:
    """What ends at zero is no hit; of more bundles than are drawn those chosen are, and every so many of the rest."""
    summary = Summary(marks=lambda _asset, _currency: None, opening={}, assets={}, currencies=["U"])
    found = [
        Bundle(
            number, 10**18, "s", "a / b", 1, 1, 0, 0, "", True, {"edge": Counter({"U": MONEY_ONE * (number % 2)})}
        )  # a named field
        for number in range(1, 9)
    ]
    made = earned(found, summary, buckets_of(10**18, 10**18 + 10**9), chosen=[7], total=4 * DRAWN)
    assert made.hits["U"] == (4, 8)
    assert [one.number for one in made.trades] == [4, 7, 8]


def test_slippage_unwind_and_left_are_apart() -> None:
    """Filled a tick worse, a hedge dearer than decided, and a rest that stays: each in its own cause, the sum untouched."""
    from xarb.verbs.report.bundles import _bundle

    one = MONEY_ONE
    assets = {("a", "X/U"): ("X", "U"), ("b", "X/U"): ("X", "U")}
    fill = (7, 2, 5, "s")
    rows: list[tuple[Any, ...]] = [
        (7, 0, 5, "s", "a / b", "", None, None, 1, 3, "", None, 10_000),
        (7, 1, 5, "s", "X", "trade", -3 * one, None, None, None, None, None, None),
        (7, 1, 5, "s", "U", "trade", 1000 * one - 591 * one, None, None, None, None, None, None),
        (7, 1, 5, "s", "U", "fee", -2 * one, None, None, None, None, None, None),
        (*fill, "a", "X/U", 10 * one, 1000 * one, 101, 0, "sell", "open", None),  # decided at 101
        (*fill, "b", "X/U", 5 * one, 420 * one, 83, 0, "buy", "open", None),  # decided at 83
        (*fill, "b", "X/U", 2 * one, 171 * one, 83, 0, "buy", "hedge", None),
    ]
    found = _bundle(7, rows, assets, {})
    told = {cause: {asset: change // one for asset, change in flow.items() if change} for cause, flow in found.causes.items()}
    assert told["slippage"] == {"U": -10 - 5}
    assert told["unwind"] == {"U": -5}
    assert told["left"] == {"X": -3, "U": 303}
    assert told["fees"] == {"U": -2}
    assert told["edge"] == {"U": 7 * (101 - 83)}
    assert dict(found.flow) == {"X": -3 * one, "U": (1000 - 591 - 2) * one}


def test_trades_open_down_to_their_quotes(page: str) -> None:
    """As many as were asked for have a panel with what the strategy saw, orders and fills; the page says that others have none."""
    (run,) = data_of(page)["runs"]
    assert (len(run["panels"]), run["panels_kept"]) == (10, 10)
    assert run["panels_of"] > 10
    for panel in run["panels"].values():
        titles = [title for title, _, _ in panel["tables"]]
        assert {"What the strategy saw: instruments", "What the strategy saw: levels", "Fills", "Ledger"} <= set(titles)
        _, columns, rows = panel["tables"][titles.index("What the strategy saw: instruments")]
        assert all(row[columns.index("bid")] for row in rows)
        for market in panel["quotes"]["markets"]:
            assert 0 < len(market["t"]) <= POINTS
            assert market["t"] == [0] or -2000 <= market["t"][0] < market["t"][-1] <= 10_000
            assert market["t"] == sorted(market["t"])
            assert all(bid < ask for bid, ask in zip(market["bid"], market["ask"], strict=True))
        assert len(panel["quotes"]["markets"]) == 2
        for fill in panel["quotes"]["fills"]:
            prices = [price for market in panel["quotes"]["markets"] for price in market["bid"] + market["ask"]]
            assert 0.9 * min(prices) < fill["price"] < 1.1 * max(prices)
    first = min(market["t"][0] for panel in run["panels"].values() for market in panel["quotes"]["markets"])
    assert first < -1_000
    assert f"These are the 10 that changed most of {run['panels_of']}." in page


def test_plots_are_ones_that_the_library_knows(page: str) -> None:
    """Every trace and axis passes its own check of names and values."""
    (run,) = data_of(page)["runs"]
    for figure in run["figures"].values():
        go.Figure(data=figure["traces"], layout=figure["layout"])
    assert {"equity", "drawdown", "found", "refused", "feeds", "edges"} <= run["figures"].keys()
    assert any(point is not None for trace in run["figures"]["trades-USDT"]["traces"] for point in trace["customdata"])


def test_page_names_no_outside_address(page: str) -> None:
    """Beside the library's own text there is no address; the policy allows its two scripts by digest and no connection."""
    ours = page.replace(plotly(), "")
    assert len(ours) < len(page)
    assert not re.findall(r"https?:|//[a-z]|@import|url\(|<link|<iframe|<img", ours)
    policy = html.unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1])  # type: ignore[index]  # it must be there
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in policy
    assert "connect" not in policy


def hostile_page() -> str:
    """A page in which every name is hostile."""
    trace = {
        "type": "scatter",
        "x": [1, 2],
        "y": [1, 2],
        "name": shown(HOSTILE),
        "text": [shown(HOSTILE)] * 2,
        "customdata": [1, 1],
    }
    figure = Figure("equity", HOSTILE, HOSTILE, [trace], {"yaxis": {"title": {"text": shown(HOSTILE)}}}, 200, is_time=True)
    around = {
        "markets": [{"name": shown(HOSTILE), "t": [0, 1], "bid": [1, 2], "ask": [2, 3]}],
        "fills": [{"t": 1, "price": 2, "side": "buy", "text": shown(HOSTILE)}],
    }
    part = Part(
        name=HOSTILE,
        notes=[HOSTILE],
        warnings=[HOSTILE],
        begins=10**18,
        ends=10**18 + 10**12,
        figures=[figure],
        strip=[1.0],
        columns=(HOSTILE,),
        lines=[Line(1, ((HOSTILE, HOSTILE),))],
        panels={1: Panel([Section("x", HOSTILE, (HOSTILE,), [(HOSTILE,)])], around)},
        bundles=1,
        tables=[Table(HOSTILE, (HOSTILE,), ((HOSTILE,),))],
    )
    return written(Page(HOSTILE, HOSTILE, part.tables[0], [figure], {HOSTILE: HOSTILE}, [part]))


def test_names_are_text() -> None:
    """No name makes an element or ends a script: the page has the elements that one with plain names has."""
    ours = hostile_page().replace(plotly(), "")
    assert "<img" not in ours
    assert "<b>" not in ours
    assert ours.count("</script>") == 3
    assert data_of(ours)["runs"][0]["name"] == HOSTILE
    assert [HOSTILE] in rows_of(ours)


def test_names_in_plots_are_harmless_and_apart() -> None:
    """The library reads markup in names, so there is none; long ones keep both ends, and two that are cut alike stay two."""
    assert "<" not in shown(HOSTILE)
    assert shown("a" * 90).count("…") == 1
    assert shown(f"sell 0x{'aB1' * 13}c@local") == "sell 0xaB1a…aB1c@local"
    assert len(set(labels(["a" * 100 + "b" * 30, "a" * 90 + "b" * 30]))) == 2


def test_rows_that_do_not_come_again_are_told(tmp_path: Path) -> None:
    """A score was changed: the page says that it is not proven and how it is valued, and the exit code is 1. A strategy's name stays text."""
    trial = Trial(tmp_path)
    experiment = trial.experiment(trial.log(usual()))
    experiment.write_text(experiment.read_text().replace("[strategies.cross]", '[strategies."<img src=x>"]'))
    trial.run(experiment)
    rewrite(tmp_path / "run1", "feed_states", lambda rows: [{**row, "score": row["score"] - 1} for row in rows])
    out = tmp_path / "page.html"
    done = CliRunner().invoke(app, ["report", str(tmp_path / "run1"), "--out", str(out)])
    assert done.exit_code == 1, done.output
    assert "valued at the last fills" in out.read_text()
    assert "not proven" in done.output
    page = out.read_text().replace(plotly(), "")
    assert "<img" not in page
    assert ["&lt;img src=x&gt;" in page, data_of(page)["runs"][0]["figures"]["trades-USDT"]["traces"][0]["name"]] == [
        True,
        "&lt;img src=x&gt;",
    ]


def test_starts_of_a_live_log_stand_beside_each_other(tmp_path: Path) -> None:
    """Two starts, two columns, both proven, and a word of the third, of which nothing is sealed yet; one alone with --start."""
    folder = tmp_path / "live"
    for at, seed in ((0, 1), (150, 2)):
        player = Player(folder, seed=seed)
        player.play(list(recorded(at, 150)))
        player.end()
    player = Player(folder, seed=3)
    player.play(list(recorded(300, 60)))  # and goes on
    made = report(Wanted([folder]), tmp_path / "all.html", advance=quiet)
    page = (tmp_path / "all.html").read_text()
    assert (made.parts, made.size, made.proven) == (2, len(page.encode()), True)
    assert [row for row in rows_of(page) if row[0] == "figure"] == [["figure", "live, start 1 (paper)", "live, start 2 (paper)"]]
    assert "Start 3 is not sealed yet" in page
    with pytest.raises(ConfigError, match="nothing of it is sealed yet"):
        report(Wanted([folder], start=3), tmp_path / "page.html", advance=quiet)
    player.end()
    assert report(Wanted([folder], start=2), tmp_path / "one.html", advance=quiet).parts == 1


def test_wrong_use_is_named(run: Result, tmp_path: Path) -> None:
    """A file that is there, a run twice, a log that nobody traded on; nothing is left behind."""
    there = tmp_path / "there.html"
    there.write_text("mine")
    with pytest.raises(ConfigError, match="is there already"):
        report(Wanted([run.folder]), there, advance=quiet)
    with pytest.raises(ConfigError, match="twice"):
        report(Wanted([run.folder, run.folder]), tmp_path / "page.html", advance=quiet)
    with pytest.raises(ConfigError, match="cannot be written"):
        report(Wanted([run.folder], trades=1), tmp_path / "no" / "page.html", advance=quiet)
    log = Trial(tmp_path).log(usual())
    with pytest.raises(ConfigError, match="nothing was decided"):
        report(Wanted([log]), tmp_path / "page.html", advance=quiet)
    assert there.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fees.toml", "log", "there.html"]
    assert TRADES > 0
