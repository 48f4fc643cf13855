"""What accounts say, on its way into the log: a fill finer than its instrument's scales makes them grow first, as the market's rows do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from xarb.engine.liverows import DISARM
from xarb.errors import LogError
from xarb.model.units import MAX_SCALE, MONEY_SCALE, format_decimal
from xarb.venues.intake import Intake
from xarb.venues.venue import VenueRow
from xarb.wires.decimals import Listing, Unrepresentable

_PAYLOAD: Final = 4_096


class AccountRows:
    """Takes them for one start.

    Args:
        intake: where rows go.
        listings: of all instruments; their scales grow here.
        start: number of the start, whose own reports the engine applies.
        fail: told of what ends the session, in order.
    """

    def __init__(self, intake: Intake, listings: Iterable[Listing], *, start: int, fail: Callable[[BaseException], None]) -> None:
        self._intake, self._start, self._fail = intake, start, fail
        self._listings = {listing.key: listing for listing in listings}

    def take(self, row: VenueRow) -> None:
        """Put a row; a fill that the engine could not hold becomes a reject with all that it says, and trading ends in order."""
        if row.kind == "reports" and row.values.get("start") == self._start:
            listing = self._listings.get((row.values["venue"], row.values["symbol"]))
            try:
                if listing is not None:
                    self._make_room(listing, row.values)
            except Unrepresentable as error:
                self._refuse(row, str(error))
                return
        self._intake.put_named(row.kind, row.values)

    def _make_room(self, listing: Listing, values: dict[str, Any]) -> None:
        """Let the scales grow to what a report states.

        Raises:
            Unrepresentable: they cannot, or the instrument could not be traded with them; they are as before.
        """
        price, qty = (
            max(table.scale, _decimals(values.get(name))) for table, name in ((listing.price, "price"), (listing.qty, "qty"))
        )
        if (price, qty) == listing.scales:
            return
        if price + qty > MAX_SCALE:
            raise Unrepresentable(
                f"{price} decimals of the price and {qty} of the quantity, together at most {MAX_SCALE} are traded"
            )
        listing.price.grow(price)
        listing.qty.grow(qty)
        self._intake.announce(listing)

    def _refuse(self, row: VenueRow, why: str) -> None:
        values = row.values
        what = f"a report of order {values.get('order')} on {values['symbol']}@{values['venue']} does not fit: {why}"
        told = {name: value for name, value in values.items() if value is not None}
        for name in ("price", "qty", "cum_qty", "fee"):
            if name in told:
                told[name] = format_decimal(told[name], MONEY_SCALE)
        payload = msgspec.json.encode(told).decode()[:_PAYLOAD]
        about = {"venue": values["venue"], "symbol": values["symbol"], "source": f"account {values['account']}"}
        self._intake.put_named("rejects", {**about, "rule": "unrepresentable", "detail": what, "payload": payload})
        self._intake.put("operator", (DISARM, "session", what))
        self._fail(LogError(f"{what}; it is kept as a reject, and trading was ended in order"))


def _decimals(money: int | None) -> int:
    """How many decimals an amount at 18 of them needs."""
    if not money:
        return 0
    left = MONEY_SCALE
    while left and money % 10 == 0:
        money //= 10
        left -= 1
    return left
