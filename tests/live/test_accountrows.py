"""Reports of accounts on their way into the log."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.instruments import spot
from xarb.errors import LogError
from xarb.live.accountrows import AccountRows
from xarb.log.batching import slow_row
from xarb.model.event import SlowRow
from xarb.model.units import parse_money
from xarb.venues.clock import Clock
from xarb.venues.intake import Intake
from xarb.venues.venue import VenueRow
from xarb.wires.decimals import Listing
from xarb.wires.rows import RowBuilder

BTC = spot("alpha", lot_int=10)


def heard(price: str, qty: str = "0.5", *, start: int = 2) -> tuple[list[SlowRow], list[BaseException]]:
    """The rows of one fill that start 2 hears, in their order, and what failed."""
    rows: list[SlowRow] = []
    failed: list[BaseException] = []

    async def story() -> None:
        intake = Intake(
            RowBuilder(5),
            Clock(0),
            lambda found: rows.extend(slow_row(kind, row) for kind, mine in found.items() for row in mine),
        )
        listing = Listing(BTC)
        intake.announce(listing)
        values: dict[str, Any] = {"account": "main", "strategy": "s", "client_order_id": "x", "source": "stream", "event": "fill"}
        values |= {"venue": "alpha", "symbol": "BTC/USDT", "start": start, "order": 7, "side": "buy", "fee": 0}
        values |= {"price": parse_money(price), "qty": parse_money(qty)}
        AccountRows(intake, [listing], start=2, fail=failed.append).take(VenueRow("reports", values))
        intake.flush()

    asyncio.run(story())
    return sorted(rows, key=lambda row: row.seq)[1:], failed


@pytest.mark.parametrize(
    ("price", "qty", "scales"), [("100.0125", "0.5", (4, 5)), ("100.01", "0.1234567", (2, 7)), ("100.123", "0.123456", (3, 6))]
)
def test_a_fill_finer_than_the_scales_makes_them_grow_first(price: str, qty: str, scales: tuple[int, int]) -> None:
    """An `instruments` row with the finer scales, its steps the same amounts as before, then the report as it came."""
    (instrument, report), failed = heard(price, qty)
    assert (instrument.kind, report.kind, failed) == ("instruments", "reports", [])
    values = instrument.values
    assert (values["px_scale"], values["qty_scale"]) == scales
    assert (values["tick_int"], values["lot_int"]) == (10 ** (scales[0] - 2), 10 ** (scales[1] - 4))
    assert (report.values["price"], report.values["qty"]) == (parse_money(price), parse_money(qty))


def test_a_fill_on_the_scales_changes_nothing() -> None:
    """Only the report."""
    assert [row.kind for row in heard("100.01")[0]] == ["reports"]


def test_a_fill_of_another_start_is_recorded_as_it_is() -> None:
    """The engine does not apply it, however fine it is."""
    rows, failed = heard("0.123456789012345678", start=1)
    assert ([row.kind for row in rows], failed) == (["reports"], [])


@pytest.mark.parametrize("price", ["0.123456789012345678", "100.12345678901234"])
def test_a_fill_that_cannot_be_held_is_kept_and_ends_trading(price: str) -> None:
    """With all that it says, as a reject; disarmed at once with the reason, and the session ends in order with it."""
    (reject, act), failed = heard(price)
    assert (reject.kind, act.kind) == ("rejects", "operator")
    assert reject.values["rule"] == "unrepresentable"
    said = json.loads(reject.values["payload"])
    assert (said["price"], said["order"], said["start"]) == (price, 7, 2)
    assert (act.values["action"], act.values["actor"]) == ("disarm", "session")
    assert "a report of order 7 on BTC/USDT@alpha does not fit" in act.values["detail"]
    assert [type(error) for error in failed] == [LogError]
