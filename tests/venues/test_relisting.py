"""Instruments asked for again while a log is written: what changed becomes a row, what fails changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from tests.instruments import spot
from xarb.errors import Retryable
from xarb.model.instrument import Instrument
from xarb.model.units import parse_money
from xarb.venues.clock import Clock
from xarb.venues.feeds import Source
from xarb.venues.intake import Intake
from xarb.venues.relisting import Relisting
from xarb.wires.decimals import Listing
from xarb.wires.rows import RowBuilder

BTC = msgspec.structs.replace(
    spot("binance", native="BTCUSDT"),
    px_scale=2,
    qty_scale=5,
    tick_int=1,
    lot_int=10,
    min_notional=parse_money("5"),
    origin="start",
)
SOURCE = Source(venue="binance", exchange="binance", symbols=(BTC.symbol,))


class World:
    """One exchange that lists what it is told to, and the rows that follow."""

    def __init__(self) -> None:
        self.rows: dict[str, list[tuple[Any, ...]]] = {}
        self.answer: Mapping[str, Instrument] | Retryable = {BTC.symbol: BTC}
        self.listing = Listing(BTC)

    async def _say(self, source: Source) -> Mapping[str, Instrument]:
        assert source is SOURCE
        if isinstance(self.answer, Retryable):
            raise self.answer
        return self.answer

    def run(self, *answers: Mapping[str, Instrument] | Retryable, after: Callable[[], None] = lambda: None) -> None:
        """Ask once for each answer."""

        async def work() -> None:
            intake = Intake(RowBuilder(), Clock(0), self._deliver)
            intake.announce(self.listing)
            asked = Relisting([SOURCE], {"binance": [self.listing]}, intake, every_s=600, asked=self._say)
            for answer in answers:
                self.answer = answer
                await asked.ask(SOURCE)
                after()
            intake.flush()

        asyncio.run(asyncio.wait_for(work(), 20))

    def _deliver(self, parts: dict[str, list[tuple[Any, ...]]]) -> None:
        for kind, rows in parts.items():
            self.rows.setdefault(kind, []).extend(rows)

    @property
    def health(self) -> list[tuple[str, int, str]]:
        """Metric, value and detail of the readings."""
        return [(row[3], row[4], row[5] or "") for row in self.rows.get("health", [])]


@pytest.fixture
def world() -> World:
    """An exchange with one instrument, which the log knows."""
    return World()


def test_what_did_not_change_is_no_news(world: World) -> None:
    """Not even where the log has finer scales than the exchange, or it is known from elsewhere."""
    world.listing.price.grow(4)
    world.run({BTC.symbol: msgspec.structs.replace(BTC, origin="later")}, {BTC.symbol: BTC})
    assert len(world.rows["instruments"]) == 1
    assert world.health == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tick_int": 10}, "tick_int 1 to 10"),
        ({"px_scale": 3}, "px_scale 2 to 3"),
        ({"px_scale": 1}, "px_scale 2 to 1"),
        ({"lot_int": 100}, "lot_int 10 to 100"),
        ({"min_notional": parse_money("10")}, "min_notional"),
        ({"active": False}, "it is traded no more"),
    ],
)
def test_a_change_is_a_row_and_a_reading(world: World, changes: dict[str, Any], said: str) -> None:
    """At scales that only grow: a coarser step is a larger number at the scale that there is."""
    now = msgspec.structs.replace(BTC, **changes)
    world.run({BTC.symbol: now}, {BTC.symbol: now})
    assert world.listing.instrument == now
    assert world.listing.scales == (max(now.px_scale, 2), 5)
    assert len(world.rows["instruments"]) == 2
    [(metric, value, detail)] = world.health
    assert (metric, value) == ("instrument_changed", int(now.active))
    assert said in detail
    row = world.rows["instruments"][1]
    assert Decimal(now.tick_int or 0).scaleb(-now.px_scale) == Decimal(row[11]).scaleb(-row[9])


def test_one_that_is_gone_is_not_traded_until_it_is_back(world: World) -> None:
    """And neither is one that is another thing by now, or whose steps cannot be held: the log's instruments stay what they are."""
    other, fine = msgspec.structs.replace(BTC, quote="USDC"), msgspec.structs.replace(BTC, px_scale=18)
    for answer, why in (({}, "listed no more"), ({BTC.symbol: other}, "its quote changed"), ({BTC.symbol: fine}, "cannot be held")):
        world.rows.clear()
        world.run(answer, answer, after=lambda: _inactive(world))
        assert world.listing.scales == (2, 5)
        world.run({BTC.symbol: BTC})
        assert world.listing.instrument == BTC
        assert [(metric, value) for metric, value, _ in world.health] == [("instrument_changed", 0), ("instrument_changed", 1)]
        assert why in world.health[0][2]


def _inactive(world: World) -> None:
    assert world.listing.instrument == msgspec.structs.replace(BTC, active=False)


def test_an_answer_that_fails_changes_nothing_and_is_told(world: World) -> None:
    """How many times in a row, and when it is over."""
    broken = Retryable("no answer")
    world.run(broken, broken, {BTC.symbol: BTC})
    assert [(metric, value) for metric, value, _ in world.health] == [("instruments_unknown", value) for value in (1, 2, 0)]
    assert world.listing.instrument == BTC
    assert len(world.rows["instruments"]) == 1
