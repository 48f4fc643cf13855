"""Recordings of four exchanges as logs, and what the engine's own rules say of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.log.logs import HEADER
from tests.log.recorder import FAST
from tests.wires.instruments import listing
from tests.wires.replay import captured
from xarb.backtest import backtest
from xarb.config import load_experiment
from xarb.log.livelog import LiveLog
from xarb.log.reader import LogReader
from xarb.wires.events import LinkEvent
from xarb.wires.exchanges import WIRES
from xarb.wires.rows import Link, RowBuilder
from xarb.wires.session import Fetch

CLOCKS = {"late_event", "future_event_time"}  # the recorder's clock was not the exchange's, and frames waited for its snapshots


class Case(NamedTuple):
    """A recording: its files, the native name in a snapshot's address, instruments whose feed lives, and rules that are broken."""

    stream: str
    snapshots: str
    key_of: Callable[[str], str]
    live: int
    broken: frozenset[str] = frozenset()


CASES = {
    "kucoin": Case("KUCOIN.ws.1.0", "KUCOIN.http.0.0", lambda url: url.partition("symbol=")[2], 9),
    "gate": Case("GATEIO.ws.1.0", "GATEIO.http.0.0", lambda url: url.partition("pair=")[2].partition("&")[0], 10),
    "bitstamp": Case("BITSTAMP.ws.1.0", "BITSTAMP.http.0.0", lambda url: url.rpartition("/")[2], 9),
    "upbit": Case("UPBIT.ws.62.0", "", str, 5, frozenset({"trade_disorder"})),  # its ids go back six times
}


@pytest.mark.parametrize("venue", CASES)
def test_the_engine_finds_nothing_wrong_with_recorded_books(venue: str, tmp_path: Path) -> None:
    """Recording: no book is crossed, gapped or unsorted, no level is removed that was not there, no quote is off its book."""
    case, wire = CASES[venue], WIRES[venue]
    frames = captured(case.stream)
    snapshots = {case.key_of(frame.url): frame.payload for frame in (captured(case.snapshots) if case.snapshots else [])}
    natives = sorted(snapshots) or sorted({json.loads(frame.payload)["cd"] for frame in frames})
    session = wire.session([listing(venue, native) for native in natives], wire.channels)
    rows, link = RowBuilder(), Link(0, venue, case.stream)
    rows.add(int(frames[0].at * 10**9), link, LinkEvent(venue, None, "opened"))
    for frame in frames:
        events = session.receive(frame.payload)
        for ask in session.asks():
            if isinstance(ask, Fetch) and ask.native in snapshots:
                events += session.receive(snapshots.pop(ask.native), ask.native)
        for event in events:
            rows.add(int(frame.at * 10**9), link, event)
    with LiveLog.create(tmp_path / "log", HEADER, FAST) as log:
        log.append(rows.take())
    config = tmp_path / "run.toml"
    config.write_text('[run]\nlog = "log"\ncurrencies = ["USDT"]\n')
    backtest(load_experiment(config), out=tmp_path / "run", advance=lambda *_: None)
    outputs = list(LogReader(tmp_path / "run").outputs())
    flags = {row["rule"] for kind, row in outputs if kind == "flags"}
    assert flags - CLOCKS == case.broken
    states = [row for kind, row in outputs if kind == "feed_states"]
    assert len({row["symbol"] for row in states if row["state"] == "live"}) == case.live
    assert not {row["state"] for row in states} & {"gapped", "crossed"}
