"""The order desk: gives clients' orders to the market, keeps what became of them, and books every movement of money."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Protocol

from xarb.errors import InvariantBroken
from xarb.model.command import CancelOrder, Report, SubmitOrder
from xarb.model.units import INT64_MAX, MONEY_SCALE
from xarb.serve.clock import Stamps
from xarb.serve.market import Market
from xarb.serve.orders import (
    CANCELED,
    EXPIRED,
    EXPIRED_IN_MATCH,
    FILLED,
    LIMIT_MAKER,
    MARKET,
    NEW,
    PARTIALLY_FILLED,
    REJECTED,
    Fill,
    Intent,
    LedgerRow,
    ServedOrder,
)
from xarb.venues.accounts import Purse

_STRATEGY: Final = "client"
_KEPT_DONE: Final = 100_000  # done orders that can still be looked up, oldest first out
_KEPT_ROWS: Final = 1_000_000  # movements of money; beyond, the older half is carried forward as one row an asset


class Hall(Protocol):
    """One venue's public side: told what clients' orders do, where it shows."""

    def now_ms(self) -> int:
        """The venue's time as its clients are told, ms."""

    def print_fill(self, number: int, price: int, qty: int, *, buyer_is_maker: bool) -> int:
        """Print a client's execution as a public trade; its id."""

    def order_moved(self, order: ServedOrder, what: str, fill: Fill | None) -> None:
        """An order changed: `what` is NEW, TRADE, CANCELED, EXPIRED or REJECTED."""

    def money_moved(self, account: str, assets: Sequence[str]) -> None:
        """Balances of an account at this venue are others now."""


class Desk:
    """Orders and money of all accounts at all served venues.

    Args:
        market: where orders go.
        clock: what clients are told.
        opening: balances at the start, by (account, venue, asset).

    Attributes:
        ledger: every movement of money since the start, in order; the opening balances come first. Beyond a million rows the older half
            becomes `opening` rows again, so that its sums stay the balances.
    """

    def __init__(self, market: Market, clock: Stamps, opening: Mapping[tuple[str, str, str], int]) -> None:
        self._market = market
        self._orders: dict[int, ServedOrder] = {}
        self._by_client_id: dict[tuple[str, str, str], int] = {}  # latest order by account, venue and client's id
        self._open: dict[tuple[str, str], dict[int, ServedOrder]] = {}  # by account and venue
        self._halls: dict[str, Hall] = {}
        self._last = 0
        self._kept_rows = _KEPT_ROWS
        self._done: list[int] = []
        ms = clock.wall_ns() // 1_000_000
        self.ledger = [
            LedgerRow(ms=ms, account=account, venue=venue, asset=asset, change=int(value), cause="opening")
            for (account, venue, asset), value in opening.items()
        ]

    def attach(self, venue: str, hall: Hall) -> None:
        """The public side of a venue; called once for each before the first order."""
        self._halls[venue] = hall

    # --- what clients ask for

    def place(self, intent: Intent) -> ServedOrder:
        """Send an order; it is done or rests when this returns. A rejected one has status REJECTED and a reason, and is not kept."""
        self._last += 1
        order_id, one = self._last, self._market.instruments[intent.number]
        ms = self._halls[one.venue].now_ms()
        order = ServedOrder(
            id=order_id,
            intent=intent,
            symbol=one.native,
            price=0 if intent.kind == MARKET else intent.price_int * 10 ** (MONEY_SCALE - one.px_scale),
            qty=intent.qty_int * 10 ** (MONEY_SCALE - one.qty_scale),
            ms=ms,
            updated_ms=ms,
        )
        too_large = "price" if intent.price_int > INT64_MAX else "qty" if intent.qty_int > INT64_MAX else None
        if too_large is not None:
            order.status, order.reason = REJECTED, too_large
            return order
        self._orders[order_id] = order
        reports = self._market.send(
            lambda ts: SubmitOrder(
                ts=ts,
                order=order_id,
                client_order_id=f"{order_id}",
                account=intent.account,
                strategy=_STRATEGY,
                instrument=intent.number,
                side="buy" if intent.buy else "sell",
                tif=intent.tif,
                price_int=intent.price_int,
                qty_int=intent.qty_int,
                post_only=intent.kind == LIMIT_MAKER,
            )
        )
        if reports and reports[0].order == order_id and reports[0].event == "rejected" and reports[0].reason not in intent.kept:
            order.status, order.reason = REJECTED, reports[0].reason
            del self._orders[order_id]
            return order
        self._by_client_id[intent.account, one.venue, intent.client_id] = order_id
        self._open.setdefault((intent.account, one.venue), {})[order_id] = order
        self.take(reports)
        self._market.look(intent.number)
        return order

    def cancel(self, order: ServedOrder, *, cancel_id: str) -> bool:
        """Cancel an open order; False when it was done already."""
        if not order.is_open:
            return False
        order.cancel_id = cancel_id
        self.take(
            self._market.send(
                lambda ts: CancelOrder(
                    ts=ts,
                    order=order.id,
                    client_order_id=f"{order.id}",
                    account=order.intent.account,
                    strategy=_STRATEGY,
                    instrument=order.intent.number,
                )
            )
        )
        return order.status == CANCELED

    # --- what can be looked up

    def order(self, account: str, venue: str, *, order_id: int | None = None, client_id: str | None = None) -> ServedOrder | None:
        """An order of an account by the exchange's id or else by the client's, which names the latest order that had it."""
        wanted = order_id if order_id is not None else self._by_client_id.get((account, venue, client_id or ""), 0)
        found = self._orders.get(wanted)
        if found is None or found.intent.account != account or self._venue_of(found) != venue:
            return None
        return found

    def open_orders(self, account: str, venue: str) -> list[ServedOrder]:
        """Open orders in order of arrival."""
        return list(self._open.get((account, venue), {}).values())

    def orders(self, account: str, venue: str) -> list[ServedOrder]:
        """All orders that are kept, in order of arrival."""
        return [one for one in self._orders.values() if one.intent.account == account and self._venue_of(one) == venue]

    def purse(self, account: str, venue: str) -> Purse:
        """Free and held money of an account at a venue."""
        return self._market.venues.purse(account, venue)

    def balances(self) -> dict[tuple[str, str, str], int]:
        """Free plus held by (account, venue, asset)."""
        return self._market.venues.balances()

    def move(self, place: tuple[str, str, str], change: int) -> None:
        """Money of an account, venue and asset comes (negative: goes) without an order, and no list of transfers has it."""
        account, venue, asset = place
        self._market.venues.move(place, change)
        ms = self._halls[venue].now_ms()
        self.ledger.append(LedgerRow(ms=ms, account=account, venue=venue, asset=asset, change=change, cause="moved"))
        self._halls[venue].money_moved(account, [asset])

    # --- what the market says

    def take(self, reports: Iterable[Report]) -> None:
        """Book reports in order, and tell each venue's public side."""
        moved: dict[tuple[str, str], dict[str, None]] = {}
        for report in reports:
            order = self._orders.get(report.order)
            if order is None:
                raise InvariantBroken(f"a report of order {report.order}, which nobody sent")
            one = self._market.instruments[order.intent.number]
            assets = moved.setdefault((order.intent.account, one.venue), {})
            assets[one.base] = assets[one.quote] = None
            self._take(order, report, self._halls[one.venue])
            if report.fee_asset is not None:
                assets[report.fee_asset] = None
        for (account, venue), assets in moved.items():
            self._halls[venue].money_moved(account, list(assets))

    def _take(self, order: ServedOrder, report: Report, hall: Hall) -> None:
        order.updated_ms = hall.now_ms()
        if not order.announced:
            order.announced = True
            hall.order_moved(order, NEW, None)
        if report.event == "fill":
            fill = self._fill(order, report, hall)
            order.status = FILLED if order.filled >= order.qty else PARTIALLY_FILLED
            hall.order_moved(order, "TRADE", fill)
        elif report.event == "canceled":
            order.status = CANCELED
            hall.order_moved(order, CANCELED, None)
        elif report.event in {"expired", "rejected"}:
            order.status = EXPIRED_IN_MATCH if report.reason == "self_trade" else EXPIRED
            order.reason = report.reason
            hall.order_moved(order, EXPIRED, None)
        if not order.is_open:
            self._finish(order)

    def _fill(self, order: ServedOrder, report: Report, hall: Hall) -> Fill:
        intent = order.intent
        one = self._market.instruments[intent.number]
        assert report.price_int is not None
        assert report.qty_int is not None
        assert report.fee is not None
        price = report.price_int * 10 ** (MONEY_SCALE - one.px_scale)
        qty = report.qty_int * 10 ** (MONEY_SCALE - one.qty_scale)
        value = report.price_int * report.qty_int * 10 ** (MONEY_SCALE - one.scale)
        is_maker = report.liquidity == "maker"
        trade_id = hall.print_fill(intent.number, price, qty, buyer_is_maker=is_maker == intent.buy)
        fill = Fill(
            trade_id=trade_id,
            ms=order.updated_ms,
            price=price,
            qty=qty,
            value=value,
            fee=int(report.fee),
            fee_asset=report.fee_asset or one.quote,
            is_maker=is_maker,
        )
        order.fills = [*order.fills, fill]
        order.filled += qty
        order.value += value
        sign = 1 if intent.buy else -1
        for asset, change, cause in (
            (one.base, sign * qty, "fill"),
            (one.quote, -sign * value, "fill"),
            (fill.fee_asset, -fill.fee, "fee"),
        ):
            if change:
                self.ledger.append(
                    LedgerRow(
                        ms=fill.ms,
                        account=intent.account,
                        venue=one.venue,
                        asset=asset,
                        change=change,
                        cause=cause,
                        order=order.id,
                        trade=trade_id,
                    )
                )
        if len(self.ledger) > self._kept_rows:
            self._carry_forward()
        return fill

    def _carry_forward(self) -> None:
        """Make opening rows of the older half of the ledger."""
        half = len(self.ledger) // 2
        sums: dict[tuple[str, str, str], int] = {}
        for row in self.ledger[:half]:
            key = (row.account, row.venue, row.asset)
            sums[key] = sums.get(key, 0) + row.change
        ms = self.ledger[half].ms
        carried = [
            LedgerRow(ms=ms, account=account, venue=venue, asset=asset, change=change, cause="opening")
            for (account, venue, asset), change in sums.items()
        ]
        self.ledger[:half] = carried

    def _finish(self, order: ServedOrder) -> None:
        self._open[order.intent.account, self._venue_of(order)].pop(order.id, None)
        self._done.append(order.id)
        if len(self._done) > _KEPT_DONE:
            for old in self._done[: _KEPT_DONE // 10]:
                gone = self._orders.pop(old)
                key = (gone.intent.account, self._venue_of(gone), gone.intent.client_id)
                if self._by_client_id.get(key) == old:
                    del self._by_client_id[key]
            del self._done[: _KEPT_DONE // 10]

    def _venue_of(self, order: ServedOrder) -> str:
        return self._market.instruments[order.intent.number].venue


__all__ = ["Desk", "Hall"]
