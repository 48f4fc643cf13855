"""What assets are valued at: the best feed that there is, and a word where it is not live."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.engine.market import NO_LIMITS, Market
from tests.log.logs import connection
from tests.trial import Trial, head, quiet, steady, tick, usual
from xarb.assembly.marks import _TRUST, Mark, Marks
from xarb.config import load_experiment
from xarb.model.columns import QUOTE_STATES
from xarb.model.units import MONEY_ONE
from xarb.verbs.backtest import Result, backtest

LIVE = """
    0.0 a quote 100 5 102 5 > feed a down live
    0.0 b quote 200 5 202 5 > feed b down live
    0.0 c quote 300 5 302 5 > feed c down live
"""


def marked(market: Market, *rows: str) -> tuple[int, str, str, int]:
    """BTC in USD after the rows: whole dollars, venue, doubt, milliseconds."""
    for row in rows:
        market.feed(market.parse(row.split()))
    mark = Marks(market.engine.market, market.engine.instruments, ["USD"]).now("BTC", "USD")
    assert mark is not None
    return mark.value // MONEY_ONE, mark.instrument[-1], mark.doubt, mark.ts // 10**6


def three() -> Market:
    """Three venues with mids of 101, 201 and 301, all live."""
    market = Market("abc")
    market.check(LIVE)
    return market


def test_the_first_live_feed_is_the_mark() -> None:
    """Among live feeds the instrument's number decides, and nothing is in doubt."""
    assert marked(three()) == (101, "a", "", 0)


@pytest.mark.parametrize("bad", ["1.0 a gap", "1.0 A lost", "1.0 a quote 105 5 101 5"])
def test_a_live_feed_is_preferred_to_an_earlier_one_that_is_not(bad: str) -> None:
    """A gapped, down or crossed feed is passed over for the next live one, whatever mid it still shows."""
    assert marked(three(), bad) == (201, "b", "", 0)


def test_without_a_live_feed_the_least_doubtful_is_the_mark_and_says_so() -> None:
    """Gapped comes before crossed, by the stated order and not by number; the doubt and the age of the quote are told."""
    market = three()
    assert marked(market, "1.0 a quote 105 5 101 5", "2.0 b gap", "3.0 C gap") == (201, "b", "gapped", 0)
    assert marked(market, "4.0 a quote 100 5 102 5") == (101, "a", "", 4000)


def test_a_feed_below_the_quality_floor_is_in_doubt() -> None:
    """It is live and yet not tradable: it comes after tradable ones and says why."""
    market = Market("a", limits=msgspec.structs.replace(NO_LIMITS, quality_floor=1000))
    market.check("0.0 a quote 100 5 102 5 > feed a down live")
    market.feed(market.parse(["0.5", "a", "gap"]) + market.parse(["0.6", "a", "quote", "100", "5", "102", "5"]))
    market.feed(market.parse(["2.0", "a", "quote", "100", "5", "102", "5"]))
    assert not market.engine.market.feed(0).tradable
    assert marked(market)[2] == "live, below the quality floor"


def test_no_mid_no_mark() -> None:
    """An instrument without a side, or of other assets, gives none; the currency itself is worth one."""
    market = Market("a")
    market.check("0.0 a quote 100 5 - - > feed a down live")
    marks = Marks(market.engine.market, market.engine.instruments, ["USD"])
    assert marks.now("BTC", "USD") is marks.now("ETH", "USD") is None
    assert marks.now("USD", "USD") == Mark(MONEY_ONE)


def test_every_feed_state_has_its_place() -> None:
    """A new state of feeds needs a place in the order of trust."""
    assert sorted(_TRUST) == sorted(QUOTE_STATES)


def doubts(result: Result) -> list[tuple[str, ...]]:
    """The rows of the table of doubtful marks; none where it is not printed."""
    return [row for table in result.tables if table.title.startswith("Marks that are not live") for row in table.rows]


def test_a_run_that_ends_without_a_live_feed_says_what_it_is_valued_at(tmp_path: Path) -> None:
    """With both feeds gapped at the end the summary names mark, feed and age; with one of them live it has nothing to say."""
    trial = Trial(tmp_path)
    gapped = [(4000 + number, connection(number, venue, "gap")) for number, venue in enumerate(("alpha", "bravo"))]
    for name, rows, expected in (
        ("none", [*usual(), *gapped], [("end", "BTC", "USDT", "BTC/USDT@alpha", "gapped", "2023-11-14T22:13:23.900Z")]),
        ("one", [*usual(), gapped[0]], []),
    ):
        experiment = load_experiment(trial.experiment(trial.log(rows, name)))
        assert doubts(backtest(experiment, out=tmp_path / f"run-{name}", advance=quiet)) == expected


def test_a_doubtful_mark_of_the_first_order_is_told(tmp_path: Path) -> None:
    """Inventory is revalued since the first order: where that mark rests on no live feed the summary says so too."""
    trial = Trial(tmp_path)
    eth, gone = "ETH/USDT", connection(0, "alpha", "gap")[1]
    rows = [*head(symbols=("BTC/USDT", eth)), *usual()[4:], (0, tick("alpha", 2000, 2001, symbol=eth))]
    rows += [(500, ("connections", gone | {"symbol": eth})), (3950, tick("alpha", 2000, 2001, symbol=eth))]
    experiment = load_experiment(trial.experiment(trial.log([*rows, *steady(0)])))
    told = doubts(backtest(experiment, out=tmp_path / "run", advance=quiet))
    assert [row[:5] for row in told] == [("first order", "ETH", "USDT", "ETH/USDT@alpha", "gapped")]
