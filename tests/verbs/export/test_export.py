"""Books as CSV: what they hold adds up, is what was traded, and says what it does not know."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest

from xarb.config import load_experiment
from xarb.errors import ConfigError, LogError
from xarb.log.manifest import Header
from xarb.log.writer import LogWriter
from xarb.model.columns.words import LEDGER_CAUSES
from xarb.model.units import parse_money
from xarb.sql import open_query
from xarb.verbs.backtest import backtest
from xarb.verbs.export.command import KINDS, Wanted, export
from xarb.verbs.export.ledger import AGAINST

ROOT: Final = Path(__file__).resolve().parents[3]
QUICKSTART: Final = ROOT / "recordings" / "quickstart"
NEW_YEAR: Final = 1_798_761_600 * 10**9  # 2027-01-01 UTC
S: Final = 10**9
MINE: Final = {"account": "main", "venue": "kraken"}

Line = dict[str, str]


def exported(kind: str, *paths: Path, out: Path, **more: Any) -> list[Line]:
    """The lines of an export."""
    export(Wanted(kind, paths, **more), out)
    return list(csv.DictReader(io.StringIO(out.read_text())))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backtest of the quickstart."""
    experiment = load_experiment(ROOT / "experiments" / "quickstart.toml")
    return backtest(experiment, out=tmp_path_factory.mktemp("runs") / "run", advance=lambda *_: None).folder


class Traded:
    """Writes a log of real trading, row by row."""

    def __init__(self, folder: Path, log_id: str = "L1") -> None:
        self._log = LogWriter.create(folder, Header(kind="log", log_id=log_id, origin="test's log"))
        self._rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.folder, self._seq, self._n = folder, -1, 0

    def input(self, kind: str, ts: int, /, **values: Any) -> None:
        """An input row."""
        self._seq, self._n = self._seq + 1, 0
        self._rows[kind].append({"seq": self._seq, "ts_recv": ts, **values})

    def start(self, ts: int, mode: str = "live") -> None:
        """A start."""
        number = len(self._rows["starts"]) + 1
        self.input(
            "starts", ts, number=number, log_id="L", code_digest="c", config="{}", seed=1, mode=mode, opening="{}", applied_seq=None
        )

    def book(self, ts: int, asset: str, delta: str, balance: str, cause: str, order: int | None = None) -> None:
        """A row of the ledger."""
        row = {"after_seq": self._seq, "n": self._n, "ts": ts, **MINE, "strategy": "" if order is None else "m1", "asset": asset}
        self._rows["ledger"].append(
            row | {"delta": parse_money(delta), "balance": parse_money(balance), "cause": cause, "order": order}
        )
        self._n += 1

    def quote(self, ts: int, symbol: str, bid: int, ask: int) -> None:
        """A quote, in cents."""
        sizes = {"bid_qty_int": 1, "ask_qty_int": 1, "px_scale": 2, "qty_scale": 0}
        self.input("quotes", ts, conn=0, venue="kraken", symbol=symbol, bid_int=bid, ask_int=ask, **sizes)

    def pair(self, ts: int, base: str, quote: str) -> None:
        """A spot instrument."""
        names = {
            "venue": "kraken",
            "symbol": f"{base}/{quote}",
            "native": base + quote,
            "base": base,
            "quote": quote,
            "settle": quote,
        }
        self.input("instruments", ts, **names, kind="spot", px_scale=2, qty_scale=0, contract="none", active=True, origin="kraken")

    def done(self) -> Path:
        """The log, whole."""
        with self._log as log:
            for kind, rows in self._rows.items():
                log.write_rows(kind, rows)
        return self.folder


def two_years(folder: Path) -> Path:
    """Two starts around a new year: BTC bought in the old one; in between EUR went, nobody knows where, and in the new one BTC is sold."""
    log = Traded(folder)
    old, new = NEW_YEAR - 100 * S, NEW_YEAR + 100 * S
    log.start(old)
    log.pair(old, "BTC", "EUR")
    log.pair(old, "EUR", "USD")
    log.quote(old, "BTC/EUR", 9_900, 10_100)
    log.quote(old, "EUR/USD", 124, 126)
    log.book(old, "EUR", "1000", "1000", "opening")
    fill = {
        **MINE,
        "strategy": "m1",
        "symbol": "BTC/EUR",
        "start": 1,
        "order": 1,
        "client_order_id": "x-1-1",
        "venue_order_id": "V1",
    }
    told = {
        "event": "fill",
        "source": "stream",
        "side": "buy",
        "price": parse_money("101"),
        "qty": parse_money("2"),
        "fee": parse_money("0.5"),
    }
    for again in range(2):  # the venue tells the same twice
        log.input("reports", old + S + again, **fill, **told, fill_id="=HYPERLINK()", fee_asset="EUR", liquidity="taker")
        if not again:
            log.book(old + S, "BTC", "2", "2", "trade", 1)
            log.book(old + S, "EUR", "-202", "798", "trade", 1)
            log.book(old + S, "EUR", "-0.5", "797.5", "fee", 1)
    moved = {**MINE, "strategy": "", "asset": "EUR", "network": "sepa", "transfer_id": "T1", "qty": parse_money("10")}
    log.input("transfers", old + 2 * S, **moved, status="pending")
    log.input("transfers", old + 3 * S, **moved, status="ok", fee=parse_money("0.1"))
    log.book(old + 3 * S, "EUR", "10", "807.5", "transfer")
    log.start(new)
    log.quote(new, "BTC/EUR", 11_900, 12_100)
    log.book(new, "BTC", "2", "2", "opening")
    log.book(new, "EUR", "800", "800", "opening")
    log.input("reports", new + S, **(fill | {"start": None, "order": None, "client_order_id": "theirs"}), **told, fill_id="F2")
    log.book(new + S, "BTC", "-2", "0", "foreign")
    return log.done()


def sums(lines: list[Line], *by: str, of: str = "amount") -> dict[tuple[str, ...], Decimal]:
    """Sums of a column."""
    found: dict[tuple[str, ...], Decimal] = defaultdict(Decimal)
    for line in lines:
        found[tuple(line[key] for key in by)] += Decimal(line[of] or 0)
    return found


def test_every_entry_of_a_backtest_adds_up_to_zero_in_every_asset_and_in_value(run: Path, tmp_path: Path) -> None:
    """Both ways, and no entry has one line only."""
    lines = exported("ledger", QUICKSTART, run, out=tmp_path / "ledger.csv", currency="USDT")
    assert len(lines) > 1_000
    assert not any(sums(lines, "entry", "asset").values())
    assert not any(sums(lines, "entry", "asset", of="value").values())
    assert all(line["value"] for line in lines)


def test_the_books_of_a_backtest_hold_what_its_accounts_hold(run: Path, tmp_path: Path) -> None:
    """Sums of asset books are the last balances; those of fees are the fees of all fills, each in its coin."""
    lines = exported("ledger", run, out=tmp_path / "ledger.csv")
    fills = exported("fills", QUICKSTART, run, out=tmp_path / "fills.csv")
    with open_query([run]) as query:
        last = query.run("SELECT account, venue, asset, arg_max(balance, (after_seq, n)) FROM ledger GROUP BY ALL").rows()
        held = {f"Assets:{account}:{venue}:{asset}": balance for account, venue, asset, balance in last}
        count = next(iter(query.run("SELECT count(*) FROM fills").rows()))[0]
    booked = {book: amount for (book,), amount in sums(lines, "book").items() if book.startswith("Assets:")}
    assert booked == held
    fees = {asset: amount for (book, asset), amount in sums(lines, "book", "asset").items() if book == "Expenses:Fees"}
    assert fees == {asset: amount for (asset,), amount in sums(fills, "fee_asset", of="fee").items() if amount}
    assert len(fills) == count


def test_fills_are_named_as_the_venue_names_them(run: Path, tmp_path: Path) -> None:
    """Ids, and notionals to the last digit; values in another currency come by way of a pair."""
    fills = exported("fills", QUICKSTART, run, out=tmp_path / "fills.csv", currency="USDC")
    assert all(line["venue_order_id"] and line["client_order_id"] and line["fill_id"] for line in fills)
    assert all(Decimal(line["notional"]) == Decimal(line["qty"]) * Decimal(line["price"]) for line in fills)
    assert {line["price_of"].partition("@")[0] for line in fills if line["quote"] == "USDT"} == {"USDC/USDT"}
    one = next(line for line in fills if line["quote"] == "USDT")
    assert Decimal(one["notional_value"]) == pytest.approx(
        Decimal(one["notional"]) * Decimal(one["quote_price"]), abs=Decimal("1e-7")
    )


def test_a_year_begins_with_what_was_brought_into_it(tmp_path: Path) -> None:
    """And what went while nothing ran stands against its own book."""
    log = two_years(tmp_path / "log")
    before = exported("ledger", log, out=tmp_path / "2026.csv", year="2026")
    after = exported("ledger", log, out=tmp_path / "2027.csv", year="2027", currency="USD")
    whole = exported("ledger", log, out=tmp_path / "all.csv")
    for lines in (before, after, whole):
        assert not any(sums(lines, "entry", "asset").values())
    assert sums(before, "book")["Assets:main:kraken:EUR",] == Decimal("807.5")
    assert [(line["book"], line["asset"], line["amount"], line["cause"]) for line in after] == [
        ("Assets:main:kraken:BTC", "BTC", "2", "brought"),
        ("Equity:Opening", "BTC", "-2", "brought"),
        ("Assets:main:kraken:EUR", "EUR", "807.5", "brought"),
        ("Equity:Opening", "EUR", "-807.5", "brought"),
        ("Assets:main:kraken:EUR", "EUR", "-7.5", "between"),
        ("Equity:Between", "EUR", "7.5", "between"),
        ("Assets:main:kraken:BTC", "BTC", "-2", "foreign"),
        ("Equity:Others", "BTC", "2", "foreign"),
    ]
    assert {line["time"] for line in after[:4]} == {"2027-01-01T00:00:00.000Z"}
    assert [line["value"] for line in after[::2]] == ["250", "1009.375", "-9.375", "-300"]  # 100 and 120 EUR a BTC, 1.25 USD a EUR
    assert after[6]["price_of"] == "BTC/EUR@kraken EUR/USD@kraken"
    assert sums(whole, "book") == {key: sums(before, "book")[key] + sums(after[4:], "book")[key] for key in sums(whole, "book")}


def test_fills_of_real_trading_are_the_venues_and_each_counts_once(tmp_path: Path) -> None:
    """Also those of orders that are not ours; no text is a formula to a spreadsheet."""
    log = two_years(tmp_path / "log")
    fills = exported("fills", log, out=tmp_path / "fills.csv", currency="USD")
    assert [(line["fill_id"], line["order"], line["client_order_id"]) for line in fills] == [
        ("'=HYPERLINK()", "1", "x-1-1"),
        ("F2", "", "theirs"),
    ]
    assert fills[0]["notional_value"] == "252.5"
    assert fills[0]["fee_value"] == "0.625"
    assert exported("fills", log, out=tmp_path / "2027.csv", year="2027")[0]["fill_id"] == "F2"


def test_a_transfer_stands_once_with_its_last_word(tmp_path: Path) -> None:
    """By the time that it was first told."""
    (line,) = exported("transfers", two_years(tmp_path / "log"), out=tmp_path / "transfers.csv", currency="USD")
    assert (line["time"], line["status"], line["qty"], line["fee"], line["value"]) == (
        "2026-12-31T23:58:22.000Z",
        "ok",
        "10",
        "0.1",
        "12.5",
    )
    assert line["transfer_id"] == "T1"


def test_what_has_no_price_is_left_empty_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A table of the user's fills it, from its time on."""
    log = two_years(tmp_path / "log")
    lines = exported("ledger", log, out=tmp_path / "none.csv", currency="CHF")
    assert not any(line["value"] for line in lines)
    assert "no price of BTC in CHF" in capsys.readouterr().err
    table = tmp_path / "prices.csv"
    table.write_text("time,asset,price\n2026-12-31T23:58:21Z,EUR,0.9\n2027-01-01T01:00:00+01:00,EUR,0.95\n")
    lines = exported("ledger", log, out=tmp_path / "some.csv", currency="CHF", prices=table)
    priced = [(line["asset"], line["price"]) for line in lines if line["book"].endswith(":EUR")]
    assert priced == [("EUR", ""), ("EUR", "0.9"), ("EUR", "0.9"), ("EUR", "0.9"), ("EUR", "0.95")]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("asset,price\n", "line must be time,asset,price"),
        ("time,asset,price\n2026-01-01,EUR\n", "line 2: 2 fields"),
        ("time,asset,price\n2026-01-01,EUR,cheap\n", "line 2: 'cheap' is no price"),
        ("time,asset,price\n2026-01-01,EUR,NaN\n", "line 2: a price must be 0 or more"),
        ("time,asset,price\n2026-01-01,EUR,-1\n", "line 2: a price must be 0 or more"),
        ("time,asset,price\nyesterday,EUR,1\n", "line 2: 'yesterday' is no time"),
        ("time,asset,price\n2026-01-01,,1\n", "line 2: no asset"),
        ('time,asset,price\n2026-01-01,"EUR,1\n', "cannot be read"),
    ],
)
def test_a_table_of_prices_that_is_wrong_is_refused_by_line(tmp_path: Path, text: str, part: str) -> None:
    """And no file is left behind."""
    (tmp_path / "prices.csv").write_text(text)
    wanted = Wanted("ledger", [two_years(tmp_path / "log")], currency="EUR", prices=tmp_path / "prices.csv")
    with pytest.raises(ConfigError, match=part):
        export(wanted, tmp_path / "out.csv")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["log", "prices.csv"]


def test_a_ledger_that_does_not_add_up_is_refused_and_nothing_written(tmp_path: Path) -> None:
    """With the place and the numbers."""
    log = Traded(tmp_path / "log")
    log.start(NEW_YEAR)
    log.book(NEW_YEAR, "EUR", "1000", "1000", "opening")
    log.quote(NEW_YEAR + S, "BTC/EUR", 1, 2)
    log.book(NEW_YEAR + S, "EUR", "-1", "998", "fee", 1)
    with pytest.raises(LogError, match=r"after_seq 1: EUR of main at kraken was 1000.*changed by -1.*and is 998"):
        export(Wanted("ledger", [log.done()]), tmp_path / "out.csv")
    assert [one.name for one in tmp_path.iterdir()] == ["log"]


def test_paper_and_real_money_are_never_mixed(tmp_path: Path) -> None:
    """One mode is named; one that is not there is refused."""
    log = Traded(tmp_path / "log")
    for number, mode in enumerate(("paper", "live")):
        log.start(NEW_YEAR + number * S, mode)
        log.book(NEW_YEAR + number * S, "EUR", str(number + 1), str(number + 1), "opening")
    folder = log.done()
    with pytest.raises(ConfigError, match=r"several modes \(live, paper\): name one with --mode"):
        export(Wanted("ledger", [folder]), None)
    with pytest.raises(ConfigError, match="nothing was traded in mode backtest"):
        export(Wanted("ledger", [folder], mode="backtest"), None)
    lines = exported("ledger", folder, out=tmp_path / "live.csv", mode="live")
    assert [(line["amount"], line["cause"]) for line in lines] == [("2", "opening"), ("-2", "opening")]


def test_accounts_go_on_from_one_log_to_the_next(tmp_path: Path) -> None:
    """What the next log opens with is compared with what the last one left; an asset that it does not name is gone."""
    first = Traded(tmp_path / "first", "A")
    first.start(NEW_YEAR)
    first.book(NEW_YEAR, "EUR", "5", "5", "opening")
    first.book(NEW_YEAR, "BTC", "1", "1", "opening")
    second = Traded(tmp_path / "second", "B")
    second.start(NEW_YEAR + S)
    second.book(NEW_YEAR + S, "EUR", "5", "5", "opening")
    lines = exported("ledger", second.done(), first.done(), out=tmp_path / "ledger.csv")
    assert [(line["asset"], line["amount"], line["cause"]) for line in lines[4:]] == [
        ("BTC", "-1", "between"),
        ("BTC", "1", "between"),
    ]
    assert sums(lines, "book")["Assets:main:kraken:EUR",] == 5


def test_wrong_use_says_what_is_right(tmp_path: Path, run: Path) -> None:
    """A kind, a year, a mode, prices without a currency, a file that is there."""
    (tmp_path / "there.csv").write_text("mine")
    wrong = [
        (Wanted("profits", [run]), None, "must be one of fills, transfers, ledger"),
        (Wanted("fills", [run], year="26"), None, "must be a calendar year such as 2026"),
        (Wanted("fills", [run], mode="real"), None, "must be one of live, paper, backtest"),
        (Wanted("fills", [run], prices=tmp_path), None, "--prices needs --currency"),
        (Wanted("fills", [run]), tmp_path / "there.csv", "is there already"),
        (Wanted("fills", [QUICKSTART]), None, "nothing was traded in quickstart"),
    ]
    for wanted, out, part in wrong:
        with pytest.raises(ConfigError, match=part):
            export(wanted, out)
    assert (tmp_path / "there.csv").read_text() == "mine"


def test_every_cause_has_a_book() -> None:
    """A new cause must be given one."""
    assert sorted(AGAINST) == sorted(LEDGER_CAUSES)


def test_the_command_writes_to_a_pipe(run: Path) -> None:
    """The lines on standard output, what is said of them beside it."""
    for kind in KINDS:
        command = [sys.executable, "-m", "xarb", "export", kind, str(run)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        assert done.stdout.count("\n") == int(done.stderr.split()[0]) + 1
