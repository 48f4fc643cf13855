"""The money of a comparison where bundles have a leg that converts, and fees are paid in a third coin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.log.logs import instrument
from tests.trial import SPOT, Rows, Trial, head, quiet, tick
from tests.verbs.test_diff import compared
from xarb.config import load_experiment
from xarb.inquiry.causes import total_of
from xarb.log.reader import LogReader
from xarb.verbs.backtest import backtest

OUTAGE = '[["2023-11-14T22:13:20Z", "2023-11-14T22:13:25Z"]]'
FEES = {"strategies.cross.cool_down_ms": "300", "strategies.cross.max_notional_quote": "50"}


def market(*, coin_at: int = 20_000) -> Rows:
    """BTC pays 300 bps more in USDC at bravo than in USDT at alpha, from 1 s to 2 s; USDC turns into USDT at bravo near par.

    Alpha takes its fees in BNB, whose price is `coin_at` cents, bravo in what is paid with.
    """
    rows = head()[:2]
    rows.append((0, instrument(("alpha", "BNB/USDT"), 2, 5, base="BNB", quote="USDT", settle="USDT", **SPOT)))
    rows.append((0, instrument(("alpha", "BTC/USDT"), 2, 5, base="BTC", quote="USDT", settle="USDT", **SPOT)))
    rows.append((0, instrument(("bravo", "BTC/USDC"), 2, 5, base="BTC", quote="USDC", settle="USDC", **SPOT)))
    rows.append((0, instrument(("bravo", "USDC/USDT"), 4, 5, base="USDC", quote="USDT", settle="USDT", **SPOT)))
    for at in range(0, 4000, 100):
        by = 300 if 1000 <= at < 2000 else 0
        step = at // 100 % 3  # prices move, so that another latency meets other ones
        rows.append((at, tick("alpha", 10_000 - step, 10_010 - step)))
        rows.append((at + 1, tick("bravo", 10_000 + by + step, 10_010 + by + step, symbol="BTC/USDC")))
        rows.append((at + 2, tick("bravo", 9_990 + step, 10_000 + step, symbol="USDC/USDT", scales=(4, 5), size=10**9)))
        rows.append((at + 3, tick("alpha", coin_at, coin_at + 10, symbol="BNB/USDT")))
    return rows


class Coins(Trial):
    """Runs over that market with fees in BNB."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        text = (folder / "fees.toml").read_text()
        (folder / "fees.toml").write_text(
            text.replace('taker = "0"', 'taker = "0.0005"\nasset = "BNB"', 1).replace('taker = "0"', 'taker = "0.0005"')
        )

    def made(self, name: str, log: Path, taker: str = "0.0005", **settings: str) -> Path:
        """A run with another taker fee, or keys changed; a dot in a key is written as two underscores."""
        fees = self.folder / "fees.toml"
        text = fees.read_text()
        fees.write_text(text.replace('taker = "0.0005"', f'taker = "{taker}"'))
        path = self.experiment(log, more='[rates]\n"BNB/USDT@alpha" = "BNB"')
        changed = FEES | {key.replace("__", "."): value for key, value in settings.items()}
        done = backtest(load_experiment(path, changed), out=self.folder / name, advance=quiet).folder
        fees.write_text(text)
        return done


@pytest.fixture
def coins(tmp_path: Path) -> Coins:
    """A folder for them."""
    return Coins(tmp_path)


def rows_of(run: Path, kind: str) -> list[dict[str, Any]]:
    """The rows of a kind of a run."""
    with LogReader(run) as reader:
        return [dict(row) for _, row in reader.outputs(kinds=(kind,))]


def gained(run: Path) -> dict[str, int]:
    """What the accounts have at the end more than they opened with, by asset."""
    opened: dict[tuple[str, str, str], int] = {}
    last: dict[tuple[str, str, str], int] = {}
    for row in rows_of(run, "ledger"):
        place = (row["account"], row["venue"], row["asset"])
        if row["cause"] == "opening":
            opened[place] = row["balance"]
        last[place] = row["balance"]
    found: dict[str, int] = {}
    for (_, _, asset), balance in last.items():
        found[asset] = found.get(asset, 0) + balance
    for (_, _, asset), balance in opened.items():
        found[asset] -= balance
    return found


def adds_up(a: Path, b: Path) -> Any:
    """The comparison, whose causes add up to the difference of what both sides gained, in every asset."""
    found = compared(a, b)
    mine, theirs = gained(a), gained(b)
    change = {asset: theirs.get(asset, 0) - mine.get(asset, 0) for asset in {*mine, *theirs}}
    assert {k: v for k, v in total_of(found.differences).items() if v} == {k: v for k, v in change.items() if v}
    return found


def test_the_market_is_what_it_says(coins: Coins) -> None:
    """Three legs, one of which converts; fees in the third coin at alpha, in what is paid with at bravo."""
    run = coins.made("a", coins.log(market()))
    assert {row["symbol"] for row in rows_of(run, "commands")} == {"BTC/USDT", "BTC/USDC", "USDC/USDT"}
    assert {(row["venue"], row["fee_asset"]) for row in rows_of(run, "fills")} == {
        ("alpha", "BNB"),
        ("bravo", "USDC"),
        ("bravo", "USDT"),
    }
    assert gained(run)["BNB"] < 0


def test_other_fees_on_equal_fills_are_fees_alone(coins: Coins) -> None:
    """In the third coin and in the others, to the last digit; the legs that convert have theirs too."""
    log = coins.log(market())
    found = adds_up(coins.made("a", log), coins.made("b", log, taker="0.00050001"))
    assert {(one.what, one.cause) for one in found.differences} == {("fee", "fee")}
    assert {one.a.market[1] for one in found.differences} == {"BTC/USDT", "BTC/USDC", "USDC/USDT"}
    assert set(total_of(found.differences)) == {"BNB", "USDC", "USDT"}


@pytest.mark.parametrize(
    ("settings", "cause"),
    [
        ({"venues__alpha__order_latency__constant_ms": "150"}, "latency"),
        ({"venues__bravo__order_latency__constant_ms": "150"}, "latency"),
        ({"strategies__cross__max_notional_quote": "30"}, "config"),
        ({"venues__alpha__outages": OUTAGE}, "report"),
        ({"venues__bravo__outages": OUTAGE}, "report"),
        ({"taker": "0.002"}, "fee"),
        ({"taker": "0.02"}, "fee"),
    ],
)
def test_every_change_adds_up(coins: Coins, settings: dict[str, str], cause: str) -> None:
    """Late, smaller, rejected, dearer: all chains begin with what was changed, and the causes add up in every asset."""
    log = coins.log(market())
    found = adds_up(coins.made("a", log), coins.made("b", log, **settings))
    assert {one.root for one in found.differences} == {cause}
    assert total_of(found.differences)["BNB"]
    assert "USDC" in total_of(found.differences)


def test_a_coin_of_another_price_is_no_other_schedule(coins: Coins) -> None:
    """The rows that price the coin differ: the fees do for missing data, and name its market."""
    a, b = coins.made("a", coins.log(market())), coins.made("b", coins.log(market(coin_at=25_000), "dear"))
    found = adds_up(a, b)
    assert {(one.what, one.cause) for one in found.differences} == {("fee", "missing data")}
    assert all("BNB/USDT@alpha" in one.because for one in found.differences)


def test_a_coin_paid_later_is_latency(coins: Coins) -> None:
    """With a price of the coin that moves and fills that do not, the fee of a late order is the latency's."""
    rows = [(at, row) for at, row in market() if row[1].get("symbol") != "BNB/USDT" or row[0] != "quotes"]
    rows += [(at, tick("alpha", 20_000 + at, 20_010 + at, symbol="BNB/USDT")) for at in range(3, 4000, 10)]
    log = coins.log(rows)
    found = adds_up(coins.made("a", log), coins.made("b", log, venues__alpha__order_latency__constant_ms="40"))
    fees = [one for one in found.differences if one.what == "fee"]
    assert fees
    assert {one.root for one in found.differences} == {"latency"}
    assert {one.cause for one in fees} == {"latency"}
    assert set(total_of(fees)) == {"BNB"}


def test_what_cannot_be_valued_is_named(coins: Coins) -> None:
    """No fill prices the coin: each currency says so, instead of missing from the table."""
    log = coins.log(market())
    found = adds_up(coins.made("a", log), coins.made("b", log, taker="0.00050001"))
    worth = next(section for section in found.sections if section.key == "worth")
    assert [row[1:] for row in worth.rows] == [("USDC", None), ("USDT", None)]
    assert all("BNB" in row[0] for row in worth.rows)
