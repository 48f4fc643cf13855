"""The known answers of the real recordings, end to end: import, log, engine, backtest, query.

The recordings lie beside the checkout and are no part of it; without them these tests are skipped and say so.
"""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import pytest

from tests.defaults import engine_setup, feed_limits, strategy_terms
from tests.imports.conftest import ROOT, SHARED
from xarb.config import load_experiment
from xarb.engine.engine import Engine, Stop
from xarb.engine.kernel.state import SOURCE_DELTAS
from xarb.engine.strategy import BundlePlan, LegPlan, Plan, View, Wake, Wakes
from xarb.imports.run import import_into
from xarb.imports.sources import load_sources
from xarb.log.reader import BACKTEST_KINDS, LogReader
from xarb.model.event import named
from xarb.model.instrument import FeeTier
from xarb.model.units import NANOS_PER_S, Money, Ppb
from xarb.sql import open_query
from xarb.verbs.backtest import backtest

MIDNIGHT: Final = 1_723_161_600 * NANOS_PER_S
VENUES: Final = {"binance": 0, "binanceusdm": 1, "binancecoinm": 2}
# On the second day two spot updates end three and four ids behind the last ticker, in a fast move: the level that it names was gone
# by then, and the next update says so again. The README's answers are for the first day, where all agree.
BETWEEN_TICKERS: Final = [50093478174, 50093480542]
# At the last row of each applied update the last ticker whose id is not above the update's, and whether its message ends there.
TICKERS: Final = """
SELECT d.seq, d.ts_recv, d.venue, d.venue_seq, exact(q.bid_int, q.px_scale) AS bid, exact(q.ask_int, q.px_scale) AS ask, d.is_last
FROM (
    SELECT * FROM book_deltas WHERE verdict = 'apply' AND NOT is_snapshot
    QUALIFY row_number() OVER (PARTITION BY venue, venue_seq ORDER BY seq DESC) = 1
) d
ASOF LEFT JOIN quotes q ON q.venue = d.venue AND q.venue_seq <= d.venue_seq ORDER BY d.seq
"""


def rows_of(paths: Sequence[Path], sql: str, **tables: str) -> list[tuple[Any, ...]]:
    """The rows of a statement; `tables` are made of statements before it."""
    with open_query(paths) as query:
        for name, made_of in tables.items():
            query.run(f"CREATE TABLE {name} AS {made_of}")
        return list(query.run(sql).rows())


def xarb(*words: str) -> str:
    """What the command line prints; it must succeed."""
    done = subprocess.run([sys.executable, "-m", "xarb", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def quiet(done: int, total: int, note: str = "") -> None:
    """A progress bar that shows nothing."""


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the logs imported here; skipped without the recordings."""
    if not SHARED.is_dir():
        pytest.skip(f"the real recordings are not beside the checkout ({SHARED.relative_to(ROOT.parent)} is missing)")
    return tmp_path_factory.mktemp("logs")


@pytest.fixture(scope="module")
def binance(logs: Path) -> Path:
    """The log of the five Binance files."""
    import_into(load_sources(ROOT / "experiments" / "binance-2024-sources.toml"), logs / "btc-2024")
    return logs / "btc-2024"


@pytest.fixture(scope="module")
def quotes(logs: Path) -> Path:
    """The log of the four-venue quote set."""
    import_into(load_sources(ROOT / "experiments" / "btcusd-2018-sources.toml"), logs / "btcusd-2018")
    return logs / "btcusd-2018"


class Nothing(msgspec.Struct):
    """No memory."""


class Watcher:
    """A strategy that is woken by every event, notes the tops of some inputs, and plans once what it was given."""

    id = "watcher"
    account = "main"

    def __init__(self, wanted: Sequence[int], plans: Sequence[Plan] = ()) -> None:
        self.state: msgspec.Struct = Nothing()
        self.engine: Engine | None = None
        self.tops: dict[int, tuple[Decimal, Decimal]] = {}
        self._wanted = frozenset(wanted)
        self._plans = list(plans)

    def wakes(self) -> Wakes:
        """Every event of the three instruments."""
        return Wakes(every_event=tuple(range(len(VENUES))))

    def on_wake(self, wake: Wake, view: View) -> Sequence[Plan]:
        """Note the quote; plan when all feeds can be traded."""
        assert self.engine is not None
        seq = self.engine.position
        if seq in self._wanted:
            quote, one = view.quote(wake.instrument), view.instruments[wake.instrument]
            assert quote.bid is not None
            assert quote.ask is not None
            self.tops[seq] = (Decimal(quote.bid).scaleb(-one.px_scale), Decimal(quote.ask).scaleb(-one.px_scale))
        if self._plans and all(view.feed(number).tradable for number in range(len(VENUES))):
            plans, self._plans = self._plans, []
            return plans
        return ()


class Watched(NamedTuple):
    """What a watcher saw of a log, and the outputs by kind."""

    watcher: Watcher
    outputs: dict[str, list[dict[str, Any]]]
    reader: LogReader


def watch(log: Path, watcher: Watcher) -> Watched:
    """Fold a log with deltas moving every book; the watcher rides along. Commands go nowhere."""
    reader = LogReader(log)
    count = len(reader.instruments)
    assert {one.venue: number for number, one in enumerate(reader.instruments)} == VENUES
    tier = FeeTier(maker_ppb=Ppb(0), taker_ppb=Ppb(0))
    setup = engine_setup(
        instruments=reader.instruments,
        groups=[],
        sources=[SOURCE_DELTAS] * count,
        limits=[feed_limits()] * count,
        fees={("main", number): tier for number in range(count)},
        opening={("main", venue, asset): Money(10**24) for venue in VENUES for asset in ("BTC", "USD", "USDT")},
        connections=reader.connections,
        log_id="watched0",
        terms={"watcher": strategy_terms()},
    )
    engine = watcher.engine = Engine(setup, [watcher])
    outputs: dict[str, list[dict[str, Any]]] = {}
    for batch in reader.batches(kinds=BACKTEST_KINDS):
        engine.load(batch)
        while engine.run() is Stop.COMMANDS:
            engine.take_commands()
        for row in engine.outputs.drain():
            outputs.setdefault(row[0], []).append(named(row))
    return Watched(watcher, outputs, reader)


def derivative_plans() -> list[Plan]:
    """Bundles that a strategy must not be able to send: a perpetual as spot, a dollar as a Tether, contracts as coins."""
    legs = [
        (LegPlan(0, "sell", 6_100_000, 100_000), LegPlan(1, "buy", 6_200_000, 100_000)),
        (LegPlan(1, "sell", 6_100_000, 100_000), LegPlan(2, "buy", 620_000, 1)),
        (LegPlan(2, "sell", 610_000, 1), LegPlan(0, "buy", 6_200_000, 100_000)),
    ]
    return [
        BundlePlan(
            opportunity=None,
            legs=two,
            sequence="simultaneous",
            quote_seqs=(),
            expected_profit=Money(1),
            profit_asset="USDT",
            edge_ppb=1,
        )
        for two in legs
    ]


@pytest.fixture(scope="module")
def watched(binance: Path) -> tuple[Watched, list[tuple[Any, ...]]]:
    """The Binance log through the engine, and what the tickers say at each update."""
    tickers = rows_of([binance], TICKERS)
    return watch(binance, Watcher([row[0] for row in tickers], derivative_plans())), tickers


def test_engine_books_equal_the_ticker_after_every_update(watched: tuple[Watched, list[tuple[Any, ...]]]) -> None:
    """The kernel's best bid and ask equal the captured bookTicker after all 3,449, 6,547 and 26,824 updates of 2024-08-08.

    The second day goes on without a snapshot: its 3,044 and 17,948 updates land on the books of the first. One update each of USD-M and
    COIN-M waited for the snapshot with another one behind it: they are of one message, and nobody sees the book between them.
    """
    found, tickers = watched
    counts: Counter[tuple[str, bool]] = Counter()
    unlike = []
    inside = []
    for seq, ts, venue, update, bid, ask, is_last in tickers:
        counts[venue, ts >= MIDNIGHT] += 1
        if not is_last:
            inside.append(venue)
            assert seq not in found.watcher.tops
        elif bid is not None and found.watcher.tops[seq] != (bid, ask):
            unlike.append((ts >= MIDNIGHT, update))
    assert counts == {
        ("binance", False): 3449,
        ("binance", True): 3044,
        ("binanceusdm", False): 6547,
        ("binancecoinm", False): 26824,
        ("binancecoinm", True): 17948,
    }
    assert sorted(inside) == ["binancecoinm", "binanceusdm"]
    assert sum(row[4] is None for row in tickers) == 0
    assert unlike == [(True, update) for update in BETWEEN_TICKERS]


def test_final_tops_of_the_first_day(watched: tuple[Watched, list[tuple[Any, ...]]]) -> None:
    """The last books of 2024-08-08 stand where the README says."""
    found, tickers = watched
    last = {venue: found.watcher.tops[seq] for seq, ts, venue, *_, is_last in tickers if ts < MIDNIGHT and is_last}
    assert {venue: tuple(map(str, top)) for venue, top in last.items()} == {
        "binance": ("61685.99", "61686.00"),
        "binanceusdm": ("61659.70", "61659.80"),
        "binancecoinm": ("61668.6", "61668.7"),
    }


def test_no_gap_and_no_crossed_book(watched: tuple[Watched, list[tuple[Any, ...]]]) -> None:
    """No feed is ever gapped or crossed, and no rule about books is broken in either day."""
    found, _ = watched
    states = {row["state"] for row in found.outputs["feed_states"]}
    assert not states & {"gapped", "crossed", "frozen", "outlying"}
    rules = {row["rule"] for row in found.outputs["flags"]}
    about_books = {"no_snapshot", "book_crossed", "crossed", "bad_price", "bad_qty", "old_update", "unsorted_levels"}
    assert not rules & about_books
    assert "future_event_time" in rules  # the recorder's clock ran 1.27 s behind


def test_orders_on_derivatives_are_refused_by_name(watched: tuple[Watched, list[tuple[Any, ...]]]) -> None:
    """Each bundle with a perpetual in it is refused `derivative_not_supported`, and nothing is sent."""
    found, _ = watched
    refused = [(row["reason"], row["venue"]) for row in found.outputs["refusals"]]
    assert refused == [
        ("derivative_not_supported", "binanceusdm"),
        ("derivative_not_supported", "binanceusdm"),
        ("derivative_not_supported", "binancecoinm"),
    ]
    assert "commands" not in found.outputs


def test_contract_size_of_coin_margined_trades_is_honoured(binance: Path) -> None:
    """A COIN-M trade of q contracts is worth q times 100 USD whatever its price; a linear one its size times its price."""
    sql = """
    SELECT t.venue, i.quote, sum(notional(t.price, t.qty, i.contract, i.contract_size)) AS worth, sum(t.qty) AS qty, sum(t.price * t.qty) AS product
    FROM trades t JOIN (SELECT DISTINCT ON (venue, symbol) * FROM instruments ORDER BY venue, symbol, seq DESC) i USING (venue, symbol)
    GROUP BY ALL ORDER BY ALL
    """
    found = {venue: (quote, worth, qty, product) for venue, quote, worth, qty, product in rows_of([binance], sql)}
    quote, worth, qty, product = found["binancecoinm"]
    assert (quote, worth) == ("USD", pytest.approx(100 * qty))
    assert product > 500 * worth  # who multiplies contracts by the price is wrong by a factor of 600
    for venue in ("binance", "binanceusdm"):
        quote, worth, _, product = found[venue]
        assert (quote, worth) == ("USDT", pytest.approx(product))


def test_nothing_is_compared_across_kinds_and_currencies(binance: Path, tmp_path: Path) -> None:
    """Spot, a linear and an inverse perpetual give no pair: the run has no episode and no order, and `check` says why."""
    experiment = load_experiment(ROOT / "experiments" / "btc-2024.toml")
    result = backtest(experiment, log=binance, out=tmp_path / "run", advance=quiet)
    assert rows_of([result.folder], "SELECT count(*) FROM opportunities") == [(0,)]
    assert rows_of([result.folder], "SELECT count(*) FROM commands") == [(0,)]
    done = subprocess.run(
        [sys.executable, "-m", "xarb", "check", "experiments/btc-2024.toml", "--log", str(binance)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    reasons = {line.split("\t")[2] for line in done.stdout.splitlines() if line.startswith("BTC/")}
    assert reasons == {"kind_differs", "contract_differs"}


# --- the four-venue quote set

TABLE: Final = """
kraken / bitstamp | 60,047 | 23,376 | 19,706 | 260 | 215
bitstamp / kraken | 60,047 | 11,017 | 9,518 | 63 | 30
kraken / gdax | 58,770 | 38,352 | 11,621 | 4,831 | 1,370
gdax / kraken | 58,770 | 13,806 | 4,945 | 78 | 42
kraken / exmo | 60,175 | 7,051 | 4,317 | 1,318 | 823
exmo / kraken | 60,175 | 39,250 | 26,714 | 25,530 | 17,832
bitstamp / gdax | 58,620 | 26,129 | 8,556 | 3,579 | 1,013
gdax / bitstamp | 58,620 | 15,450 | 5,843 | 124 | 19
bitstamp / exmo | 60,024 | 5,089 | 3,631 | 561 | 483
exmo / bitstamp | 60,024 | 39,628 | 29,264 | 26,346 | 19,463
gdax / exmo | 58,747 | 4,523 | 1,185 | 842 | 288
exmo / gdax | 58,747 | 42,591 | 12,141 | 29,462 | 8,887
"""
CROSSED_ROUNDS: Final = "Crossed rounds of a polled recording"
# Runs of one value: the row that began it, the times of its first and last row, and when the next value came.
SPELLS: Final = """
SELECT venue, min(seq) AS seq, min(ts_recv) AS ts_recv, max(ts_recv) AS last_ts, lead(min(ts_recv)) OVER (PARTITION BY venue ORDER BY run) AS until,
    any_value(bid) AS bid, any_value(ask) AS ask
FROM (SELECT *, sum(CAST(changed AS INT)) OVER (PARTITION BY venue ORDER BY seq ROWS UNBOUNDED PRECEDING) AS run FROM (
    SELECT *, bid IS DISTINCT FROM lag(bid) OVER v OR ask IS DISTINCT FROM lag(ask) OVER v AS changed
    FROM quotes WINDOW v AS (PARTITION BY venue ORDER BY seq)))
GROUP BY venue, run
"""
# A single value whose mid lies more than 1 % off the mean of the mids before and after it, which agree: 14 on EXMO, none elsewhere.
OUTLIERS: Final = """
SELECT venue, seq FROM (SELECT venue, seq, mid(bid, ask) AS mid, lag(mid(bid, ask)) OVER w AS before, lead(mid(bid, ask)) OVER w AS after
    FROM spells WINDOW w AS (PARTITION BY venue ORDER BY seq))
WHERE abs(bps(mid, mid(before, after))) > 100 AND abs(bps(before, after)) < 50
"""
# Each leg of each bundle that was sent: the row that set the price, the venue's last row before the decision, and the feed's state then.
RESTED: Final = """
WITH legs AS (
    SELECT bundle, after_seq, n, ts, unnest([sell_venue, buy_venue]) AS venue, unnest([sell_seq, buy_seq]) AS set_seq
    FROM opportunities WHERE verdict = 'taken' AND bundle IN (SELECT bundle FROM commands WHERE kind = 'submit')),
states AS (SELECT venue, after_seq * 1000000 + n AS place, state, tradable FROM feed_states)
SELECT l.bundle, l.venue, s.state, s.tradable, f.bid < f.ask AS sound_when_set, q.bid < q.ask AS sound_now, l.ts - h.ts_recv AS unchanged_ns, h.seq AS value_seq
FROM legs l
JOIN quotes f ON f.venue = l.venue AND f.seq = l.set_seq
ASOF JOIN quotes q ON q.venue = l.venue AND q.seq <= l.after_seq
ASOF JOIN spells h ON h.venue = l.venue AND h.seq <= l.after_seq
ASOF JOIN states s ON s.venue = l.venue AND s.place < l.after_seq * 1000000 + l.n
ORDER BY ALL
"""


def test_rows_repeats_and_crossed_rows(quotes: Path) -> None:
    """Rows, distinct times, self-crossed rows (bid >= ask) and repeated quotes are those of the README, by `xarb query`."""
    sql = """
    SELECT venue, count(*), count(DISTINCT ts_recv), count(*) FILTER (bid >= ask),
        count(*) FILTER (bid = before_bid AND ask = before_ask), count(bid_qty), count(ts_event)
    FROM (SELECT *, lag(bid) OVER w AS before_bid, lag(ask) OVER w AS before_ask FROM quotes WINDOW w AS (PARTITION BY venue ORDER BY seq))
    GROUP BY 1 ORDER BY 1
    """
    lines = xarb("query", str(quotes), sql).splitlines()[1:]
    assert lines == [
        "bitstamp,61103,60069,0,28507,0,0",
        "exmo,61246,60197,12,36249,0,0",
        "gdax,59834,58792,0,55203,0,0",
        "kraken,61275,60220,19,30210,0,0",
    ]


def test_crossed_rounds_equal_the_table(quotes: Path) -> None:
    """The shipped example query prints the README's twelve rows: rounds, crossed, fresh within 30 s, above 20 bps, of them fresh."""
    examples = xarb("query", "--examples")
    sql = next(part for part in examples.split(";\n") if CROSSED_ROUNDS in part)
    found = list(csv.reader(io.StringIO(xarb("query", str(quotes), sql, "--format", "csv"))))
    stated = [[cell.strip().replace(",", "") for cell in line.split("|")] for line in TABLE.strip().splitlines()]
    expected = [["BTC/USD", *pair.split(" / "), *counts] for pair, *counts in stated]
    assert found[0] == ["symbol", "sell_at", "buy_at", "rounds", "crossed", "crossed_fresh", "over_20_bps", "over_20_bps_fresh"]
    assert sorted(found[1:]) == sorted(expected)


@pytest.fixture(scope="module")
def run(quotes: Path) -> Path:
    """The backtest of experiments/btcusd-2018.toml."""
    experiment = load_experiment(ROOT / "experiments" / "btcusd-2018.toml")
    return backtest(experiment, log=quotes, out=quotes.parent / "run-2018", advance=quiet).folder


@pytest.fixture(scope="module")
def greedy(quotes: Path) -> Path:
    """Its last twelve hours without fees and thresholds: every crossed moment is an opportunity, thousands of bundles."""
    (quotes.parent / "free.toml").write_text(
        "".join(
            f'[{v}]\nvenue = "{v}"\nmaker = "0"\ntaker = "0"\nsource = "free of charge, a test"\nas_of = "2018-05"\n'
            for v in ("kraken", "bitstamp", "gdax", "exmo")
        )
    )
    overrides = {f"venues.{v}.fees": f'"{v}"' for v in ("kraken", "bitstamp", "gdax", "exmo")}
    overrides |= {f"accounts.main.{v}": "{ USD = 5000000, BTC = 500 }" for v in ("kraken", "bitstamp", "gdax", "exmo")}
    overrides |= {"run.fees_file": f'"{quotes.parent / "free.toml"}"', "strategies.cross.min_profit_bps": "0"}
    overrides |= {"strategies.cross.min_profit_quote": "0", "strategies.cross.max_open_bundles": "100"}
    overrides |= {"run.start": "2018-05-10T17:00:00Z"}
    experiment = load_experiment(ROOT / "experiments" / "btcusd-2018.toml", overrides)
    return backtest(experiment, log=quotes, out=quotes.parent / "run-greedy", advance=quiet).folder


def test_every_freeze_is_a_frozen_feed(quotes: Path, run: Path) -> None:
    """All 127 values of GDAX that stood over 5 minutes, 20 of EXMO and 8 of Kraken have a `frozen` spell; none lies elsewhere."""
    long = "SELECT venue, seq FROM spells WHERE last_ts - ts_recv > 300_000_000_000"
    frozen = """
    SELECT s.venue, s.seq, min(f.ts - s.ts_recv) FROM feed_states f ASOF JOIN spells s ON s.venue = f.venue AND s.seq <= f.after_seq
    WHERE f.state = 'frozen' GROUP BY ALL
    """
    stood, found = rows_of([quotes], long, spells=SPELLS), rows_of([quotes, run], frozen, spells=SPELLS)
    assert Counter(venue for venue, _ in stood) == {"gdax": 127, "exmo": 20, "kraken": 8}
    assert set(stood) <= {(venue, seq) for venue, seq, _ in found}
    assert min(age for _, _, age in found) >= 300 * NANOS_PER_S


def test_every_self_crossed_row_is_flagged_and_not_traded_on(run: Path) -> None:
    """All 19 self-crossed rows of Kraken and 12 of EXMO are flagged by the fold, which calls the feed crossed meanwhile."""
    flagged = "SELECT venue, count(*) FROM flags WHERE rule IN ('locked', 'crossed') GROUP BY 1 ORDER BY 1"
    assert rows_of([run], flagged) == [("exmo", 12), ("kraken", 19)]
    states = "SELECT venue, count(*), bool_or(tradable) FROM feed_states WHERE state = 'crossed' GROUP BY 1 ORDER BY 1"
    assert rows_of([run], states) == [("exmo", 12, False), ("kraken", 2, False)]


def test_every_outlier_is_an_outlying_feed(quotes: Path, run: Path) -> None:
    """All 14 single-row outliers of EXMO become the feed state `outlying` with that very row, and cease to be with the next value.

    The feed is outlying in one more row of EXMO, in which the bids near 9,283 were gone: its mid lies 98 bps off those before and after.
    None of the other 243,443 rows is called an outlier.
    """
    outlying = """
    SELECT s.venue, s.seq, max(f.ts) FROM feed_states f JOIN spells s ON s.venue = f.venue AND s.seq = f.after_seq
    WHERE f.state = 'outlying' AND NOT f.tradable GROUP BY ALL
    """
    states = rows_of(
        [run], "SELECT after_seq, state, previous FROM feed_states WHERE 'outlying' IN (state, previous) ORDER BY after_seq, n"
    )
    entered, left = (
        [seq for seq, state, _ in states if state == "outlying"],
        [seq for seq, _, state in states if state == "outlying"],
    )
    expected = rows_of([quotes], OUTLIERS, spells=SPELLS)
    found = {(venue, seq) for venue, seq, _ in rows_of([quotes, run], outlying, spells=SPELLS)}
    assert {venue for venue, _ in expected} == {"exmo"}
    assert len(expected) == 14
    assert set(expected) <= found
    assert (len(found), len(entered), len(left)) == (15, 15, 15)


@pytest.mark.parametrize("which", ["run", "greedy"])
def test_no_order_rests_on_a_bad_quote(quotes: Path, which: str, request: pytest.FixtureRequest) -> None:
    """No leg of a sent bundle rests on a frozen, self-crossed or outlying quote, be the strategy careful or greedy."""
    folder = request.getfixturevalue(which)
    outliers = {seq for _, seq in rows_of([quotes], OUTLIERS, spells=SPELLS)}
    assert len(outliers) == 14
    legs = rows_of([quotes, folder], RESTED, spells=SPELLS)
    assert len(legs) >= (100 if which == "run" else 2000)
    for bundle, venue, state, tradable, sound_when_set, sound_now, unchanged, value_seq in legs:
        assert (state, tradable) == ("live", True), (bundle, venue)
        assert sound_when_set, (bundle, venue)
        assert sound_now, (bundle, venue)
        assert unchanged < 300 * NANOS_PER_S, (bundle, venue)
        assert value_seq not in outliers, (bundle, venue)


def test_every_bundle_is_in_one_currency(quotes: Path, run: Path) -> None:
    """All orders of every bundle trade BTC for USD on instruments of that quote asset."""
    sql = """
    SELECT c.bundle FROM commands c JOIN (SELECT DISTINCT venue, symbol, base, quote FROM instruments) i USING (venue, symbol)
    GROUP BY 1 HAVING count(DISTINCT i.quote) <> 1 OR count(DISTINCT i.base) <> 1
    """
    assert rows_of([quotes, run], sql) == []
