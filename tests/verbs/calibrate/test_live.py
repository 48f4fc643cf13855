"""A live log of two served exchanges whose delays and refusals are known: calibrate finds them, and a backtest takes them."""

from __future__ import annotations

import asyncio
import tomllib
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import xarb
from tests.live.site import filled, site, traded
from tests.trial import quiet
from xarb.config import load_experiment
from xarb.config.fitted import read_model
from xarb.errors import ConfigError
from xarb.log.reader import LogReader
from xarb.serve.clock import WallClock
from xarb.serve.faults import Fault
from xarb.verbs.backtest import backtest
from xarb.verbs.verify import verify

BACK_MS, FEED_MS, REFUSED = 20, 12, 2
LOOSE_MS = 2  # times of the exchange are whole ms, and so is what its clock says
UNIT_MS = 10_000  # more than any machine takes, less than a wrong unit makes of it
FAULTS = (
    Fault(kind="delay", on="POST /api/v3/order", after=1, count=0, for_s=Decimal(BACK_MS) / 1000, venue="alpha"),
    Fault(kind="delay", on="executionReport", after=1, count=0, for_s=Decimal(BACK_MS) / 1000, venue="alpha"),
    Fault(kind="delay", on="*depth*", after=1, count=0, for_s=Decimal(FEED_MS) / 1000, venue="alpha"),
    Fault(kind="status", on="POST /api/v3/order", after=2, count=REFUSED, status=400, code=-1013, venue="bravo"),
)


class Told(NamedTuple):
    """The log, the config that was traded, the model file, what calibrate said, and how many orders bravo took."""

    log: Path
    config: Path
    model: Path
    said: xarb.Answer
    taken: int


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """One session, calibrated."""
    folder = tmp_path_factory.mktemp("calibrated")
    log, model = folder / "log", folder / "model.toml"

    async def story() -> tuple[Path, int]:
        async with site(folder, FAULTS, clock=WallClock(Fraction(2))) as at:
            text = at.config.read_text().replace(
                'channels = ["quotes"]', 'channels = ["quotes", "deltas"]', 1
            )  # the latter are timed
            at.config.write_text(text.replace("[venues.alpha]", '[venues.alpha]\nbook_source = "quotes"'))
            await traded(at, log, filled(4))
            return at.config, len(await at.ask("bravo", "orders"))

    config, taken = asyncio.run(story())
    return Told(log, config, model, xarb.calibrate(log, model, least=3), taken)


def latency(told: Told, venue: str, what: str) -> dict[str, Any]:
    """One row of the latencies, in ms."""
    [row] = [row for row in told.said.latencies.to_dicts() if row["venue"] == venue and row["what"].startswith(what)]
    return row


def _venues(told: Told) -> dict[str, Any]:
    """The venues of the model file."""
    found: dict[str, Any] = tomllib.loads(told.model.read_text())["venues"]
    return found


def test_the_delays_are_found(told: Told) -> None:
    """Answers and rows of alpha were at least as long on their way as they were held back, in ms; the table has what was observed."""
    assert told.said.ok
    for what, least in (("response", BACK_MS), ("feed", FEED_MS)):
        row = latency(told, "alpha", what)
        assert least - LOOSE_MS <= row["observed p10 ms"] <= row["observed p50 ms"] < UNIT_MS
    assert not any(row["venue"] == "bravo" and row["what"].startswith("feed") for row in told.said.latencies.to_dicts())
    assert (
        "bravo",
        "feed latency is not fitted and stays as the config has it: no row has a time of the exchange",
    ) in told.said.notes.rows()
    row = latency(told, "alpha", "order")
    assert row["observed p50 ms"] <= row["fitted p50 ms"] < row["observed p50 ms"] + Decimal("0.002")
    assert row["observations"] >= 4


def test_the_refusals_are_found(told: Told) -> None:
    """As many orders were refused as the exchange refused, of all that it was asked for."""
    [row] = [row for row in told.said.ratios.to_dicts() if row["what"].startswith("refused")]
    assert (row["venue"], row["count"], row["of"]) == ("bravo", REFUSED, told.taken + REFUSED)
    assert row["from %"] < row["observed %"] < row["to %"]
    assert row["fitted %"] == row["observed %"]


def test_the_file_names_what_it_is_made_of(told: Told) -> None:
    """Its log by id and digest, its period, and how many observations each key rests on."""
    plain = tomllib.loads(told.model.read_text())
    with LogReader(told.log) as reader:
        [source] = plain["logs"]
        assert (source["log_id"], source["digest"], source["start"]) == (reader.header.log_id, reader.digest, 1)
    assert source["begin"] < source["end"]
    alpha = plain["venues"]["alpha"]
    assert alpha["counts"]["response_latency"] == len(alpha["response_latency"]["table_ms"])
    assert alpha["response_latency"]["table_ms"] == sorted(alpha["response_latency"]["table_ms"])


def test_the_same_time_is_backtested_without_and_with_it(told: Told) -> None:
    """Every figure has its distances, and the waits of the backtest with the model are in the unit of those that were observed."""
    rows = {row["figure"]: row for row in told.said.comparison.to_dicts()}
    assert {"bundles", "orders", "fills", "fill ratio", "PnL at the last fills, USDT"} <= rows.keys()
    for row in rows.values():
        assert row["moved"] in ("closer", "farther", "same", None)
        if row["moved"] == "closer":
            assert row["distance with"] < row["distance without"]
    with LogReader(told.log) as reader:
        sent = sum(row["kind"] == "submit" for _, row in reader.outputs(kinds=("commands",)))
        fills = sum(row["event"] == "fill" for row in reader.rows("reports"))
    assert (rows["orders"]["live"], rows["fills"]["live"]) == (sent, fills)
    wait = rows["first word after, p50, ms"]
    assert 100 <= wait["without"] <= 140, "80 to 120 ms there and 20 back, as the config has it"
    longest = [
        sum(max(venue[key]["table_ms"]) for key in ("order_latency", "response_latency")) for venue in _venues(told).values()
    ]
    assert BACK_MS / 2 < wait["with"] <= max(longest)
    assert sum(told.said.moved.row(0)[1:]) >= 6


def test_a_backtest_takes_the_file_and_is_proven(told: Told, tmp_path: Path) -> None:
    """An experiment that names it replays to the same rows, and the run's header pins the model that it used."""
    settings = {f"venues.{venue}.model": '"model.toml"' for venue in ("alpha", "bravo")}
    out = tmp_path / "run"
    backtest(load_experiment(told.config, settings), log=told.log, out=out, advance=quiet)
    assert verify(out, log=told.log, advance=quiet).equal
    with LogReader(out) as reader:
        config = reader.header.config
    assert config is not None
    assert config["venues"]["alpha"]["model_sha256"] == read_model(told.model).digest
    assert config["venues"]["bravo"]["reject_bps"].keys() == read_model(told.model).venues["bravo"]["reject_bps"].keys()


def test_wrong_use_is_refused(told: Told, tmp_path: Path) -> None:
    """A file that is there, a log that is given twice, a start that is not there, a run in a log's place: each is named."""
    new = tmp_path / "new.toml"
    for logs, out, start, words in (
        ([told.log], told.model, None, "is there already"),
        ([told.log, told.log], new, None, "given twice"),
        ([told.log], new, 7, "no start 7"),
    ):
        with pytest.raises(ConfigError, match=words):
            xarb.calibrate(logs, out, start=start)
    with pytest.raises(ConfigError, match="allowed are numbers from 1 on"):
        xarb.calibrate(told.log, new, least=0)
    assert not new.exists()
    few = xarb.calibrate(told.log, new, least=100_000, backtests=False)
    assert not few.ok
    assert not new.exists(), "too few observations make no file"
    assert any("are needed" in note for note in few.notes["note"])
