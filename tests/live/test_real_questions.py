"""Questions to a log of real orders at served exchanges: why an order was sent, how it stands, and what differs from the backtest."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.live.site import VENUES, filled, site, traded
from tests.trial import quiet
from xarb.config import load_experiment
from xarb.inquiry.causes import total_of
from xarb.inquiry.sections import as_json
from xarb.log.reader import LogReader
from xarb.model.units import parse_money
from xarb.verbs.backtest import backtest
from xarb.verbs.diff import diff
from xarb.verbs.report import Wanted, report
from xarb.verbs.status import status
from xarb.verbs.why import Question, why

TRUE = '[true-{0}]\nvenue = "{0}"\nmaker = "0.001"\ntaker = "0.001"\nasset = "received"\nsource = "served"\nas_of = "2026-11"\n'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four bundles traded at two served exchanges; the log, the config, and the fees that the exchanges really charge."""
    made = tmp_path_factory.mktemp("real")

    async def story() -> None:
        async with site(made) as at:
            await traded(at, made / "log", filled(4))

    asyncio.run(story())
    (made / "fees.toml").write_text("".join(TRUE.format(venue) for venue in VENUES))
    return made


def rerun(folder: Path, name: str, fees: str) -> Path:
    """A backtest of the log with the money that the exchanges stated."""
    settings = {"run.fees_file": "fees.toml"}
    for venue in VENUES:
        settings |= {
            f"venues.{venue}.fees": f"{fees}-{venue}",
            f"accounts.main.{venue}.USDT": "100000",
            f"accounts.main.{venue}.BTC": "50",
        }
    loaded = load_experiment(folder / "live.toml", settings)
    return backtest(loaded, log=folder / "log", out=folder / name, advance=quiet).folder


@pytest.mark.parametrize("fees", ["true", "synthetic"])
def test_real_trading_and_its_backtest(folder: Path, fees: str) -> None:
    """Every difference has a cause, the first planned orders are the same where fees are, and the money adds up exactly."""
    run = rerun(folder, f"run-{fees}", fees)
    found = diff(folder / "log", run)
    assert not found.equal
    causes = {one.cause for one in found.differences}
    roots = {one.root for one in found.differences}
    assert "unexplained" not in causes
    assert ("fee" in roots) == (fees == "synthetic")
    # The session disarms when it is stopped, and the backtest ends before it hears of the last orders.
    assert roots <= {"latency", "fill", "timer", "fee", "operator", "missing data"}
    assert "latency" in roots or fees == "synthetic"
    money: dict[str, int] = {}
    for side, sign in ((folder / "log", -1), (run, 1)):
        with LogReader(side) as reader:
            for _, row in reader.outputs(kinds=("ledger",)):
                if row["order"] is not None:
                    money[row["asset"]] = money.get(row["asset"], 0) + sign * row["delta"]
    assert {k: v for k, v in total_of(found.differences).items() if v} == {k: v for k, v in money.items() if v}
    plans = {what: [one for one in found.differences if one.what == what] for what in ("opportunity", "decision", "outcome")}
    assert not plans["opportunity"], "the inputs were the same, and so were the opportunities"
    first = found.differences[0]
    if fees == "true" and first.cause != "operator":  # it may be that an opportunity came before the session was armed
        assert (first.what, first.cause) in (("outcome", "latency"), ("outcome", "fill")), (
            "with equal inputs the first decision is the same"
        )


def test_a_real_order_leads_back_to_the_market(folder: Path) -> None:
    """From the client order id to the quotes, and forward to what the exchange said, each with its time."""
    with LogReader(folder / "log") as reader:
        command = next(row for _, row in reader.outputs(kinds=("commands",)))
        fills = [row for row in reader.rows("reports") if row["event"] == "fill" and row["order"] == command["order"]]
    found = json.loads(as_json(why(folder / "log", Question(command["client_order_id"], None, None))))
    head = {row["what"]: row["value"] for row in found["subject"]}
    assert "came again" in head["state seen"]
    assert head["armed"].startswith("yes: arm by")
    assert {row["kind"] for row in found["evidence"]} == {"quotes"}
    assert all(parse_money(row["age_ms"]) >= 0 for row in found["evidence"])
    told = [row for row in found["reports"] if row["order"] == command["order"]]
    assert [parse_money(row["qty"]) for row in told if row["event"] == "fill"] == [row["qty"] for row in fills]
    assert told[0]["event"] == "sent"
    assert all(parse_money(row["since_command"]) > 0 for row in told)


def test_status_of_real_trading(folder: Path) -> None:
    """After an ordered stop: ended, nothing alive, and the ledger agrees with what the exchanges last said."""
    found = status(folder / "log")
    assert len(found.troubles) == 1
    made = json.loads(as_json(found.sections))
    assert {row["what"]: row["value"] for row in made["status"]}["mode"] == "live"
    assert made["open_orders"] == []
    assert all(row["balance"] == row["free"] for row in made["balances"])


def test_page_of_real_trading(folder: Path) -> None:
    """Proven by replay; fills, latencies and every bundle come from what the exchanges said."""
    out = folder / "page.html"
    made = report(Wanted([folder / "log"]), out, advance=quiet)
    assert (made.parts, made.proven) == (1, True)
    told = {row[0]: row[1] for row in made.key_figures.rows}
    with LogReader(folder / "log") as reader:
        bundles = {row["bundle"] for _, row in reader.outputs(kinds=("fills",))}
    assert f"of {len(bundles)} bundles)" in told["hit ratio, USDT"]
    page = out.read_text()
    assert "Live trading on log" in page
    assert "What the venues said, ms since the command" in page
    assert "order to first word" in page
