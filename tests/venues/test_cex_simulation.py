"""Hundreds of seeds of a faulty exchange in virtual time: whatever happens, what is told is in the end what the exchange has."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any, cast

import pytest

from tests.venues.simulated_account import OPENING, UNIT, SimulatedAccount, VirtualLoop
from tests.venues.trader import BTC, LOG_ID, books_of
from xarb.model.command import CancelOrder, SubmitOrder
from xarb.venues.account import Account
from xarb.venues.accountdesk import Wishes
from xarb.venues.cex import CexVenue
from xarb.venues.liveorders import Expected
from xarb.venues.orderids import OrderName
from xarb.venues.venue import VenueRow

SEEDS = int(os.environ.get("XARB_SEEDS", "150"))
ORDERS = 8
ENDS = ("canceled", "expired", "rejected", "not_sent")


class Tale(list[VenueRow]):
    """All rows of a run, but for fills that the log had before this start, which its driver leaves out."""

    told: set[str] = set()  # noqa: RUF012  # replaced, never written to

    def take(self, rows: list[VenueRow]) -> None:
        """Keep rows."""
        self.extend(row for row in rows if row.values.get("fill_id") not in self.told)

    def of(self, number: int) -> list[dict[str, Any]]:
        """Reports of one order."""
        return [v for kind, v in self if kind == "reports" and v["order"] == number]


def _venue(account: SimulatedAccount, wishes: Wishes, tale: Tale) -> CexVenue:
    """A venue whose books are those of the tale."""
    venue = CexVenue("binance", [cast("Account", account)], [BTC], wishes=wishes, conns={})
    account.push = venue.desks["main"].told

    def ours(label: str, name: str) -> Mapping[str, int]:
        tale.take(venue.take_rows())
        books = books_of("binance", OPENING)
        for kind, values in tale:
            books.take(kind, values)
        return books.totals(label, name)

    venue.desks["main"].check.expect(ours)
    return venue


async def _open(account: SimulatedAccount, venue: CexVenue) -> None:
    """Open; an exchange that cannot be read then is no start at all."""
    account.is_calm = True
    await venue.open()
    account.is_calm = False


async def _trade(account: SimulatedAccount, venue: CexVenue, tale: Tale) -> None:
    """Send orders and some cancels, at any times."""
    await _open(account, venue)
    for number in range(1, ORDERS + 1):
        client = f"{LOG_ID[:8]}-1-{number}"
        about: dict[str, Any] = {
            "order": number,
            "client_order_id": client,
            "account": "main",
            "strategy": "s",
            "instrument": 0,
            "ts": 0,
        }
        tif = account.random.choice(["ioc", "gtc"])
        lots = account.random.randint(1, 9)
        venue.send([SubmitOrder(**about, side="buy", tif=tif, price_int=100, qty_int=lots)])
        if account.random.random() < 0.3:
            venue.send([CancelOrder(**about)])
        await asyncio.sleep(account.random.random() * 2)
        tale.take(venue.take_rows())


async def _come_to_rest(account: SimulatedAccount, venue: CexVenue, tale: Tale, start: int) -> None:
    """Without faults, cancel what is open and wait until nothing is."""
    account.quiet()
    await asyncio.sleep(20)
    desk = venue.desks["main"]
    for _ in range(5):
        for one in desk.orders.open_orders():
            name = one.expected.name
            about: dict[str, Any] = {
                "order": name.order,
                "client_order_id": desk.ids.canonical(name),
                "account": "main",
                "strategy": "s",
            }
            if name.start == start:
                venue.send([CancelOrder(**about, instrument=0, ts=0)])
        await venue.cancel_left()
        await asyncio.sleep(20)
        tale.take(venue.take_rows())
    await venue.reconcile()
    tale.take(venue.take_rows())
    await venue.close()
    tale.take(venue.take_rows())
    assert venue.failure is None
    left = [
        (one.sent_id, one.is_placed, one.is_unknown, one.filled // UNIT, one.counted // UNIT) for one in desk.orders.open_orders()
    ]
    assert not left, left


def _judge(account: SimulatedAccount, tale: Tale) -> None:
    """What was told equals what the exchange has."""
    assert set(account.submits.values()) <= {1}
    for number in range(1, ORDERS + 1):
        rows, client = tale.of(number), f"{LOG_ID[:8]}-1-{number}"
        events = [row["event"] for row in rows]
        order = account.orders.get(client)
        told = [(row["fill_id"], row["qty"]) for row in rows if row["event"] == "fill"]
        assert len(told) == len(set(told)), events
        if order is None:
            assert told == []
            assert not events or [event for event in events if event in ENDS] in (["rejected"], ["not_sent"]), events
            continue
        assert sorted(told) == sorted((trade.fill_id, trade.qty) for _, trade in order.fills), events
        ends = [event for event in events if event in ENDS]
        if client in account.revived:
            continue
        assert "not_sent" not in ends
        assert ends == ([] if order.filled == order.lots else [order.state]), events
        if ends:
            assert not any(event in ("fill", "accepted", "unknown") for event in events[events.index(ends[0]) :]), events


def _run(seed: int, *, crash: bool) -> Tale:
    account, tale = SimulatedAccount(seed), Tale()

    async def work() -> None:
        start, venue = 1, _venue(account, Wishes(log_id=LOG_ID, start=1), tale)
        if crash:
            trading = asyncio.create_task(_trade(account, venue, tale))
            await asyncio.sleep(account.random.random() * 12)
            trading.cancel()
            (died,) = await asyncio.gather(trading, return_exceptions=True)
            assert died is None or isinstance(died, asyncio.CancelledError), died
            tale.take(venue.take_rows())
            await _vanish(venue)
            tale.told = {row["fill_id"] for n in range(1, ORDERS + 1) for row in tale.of(n) if row["event"] == "fill"}
            start, venue = (
                2,
                _venue(account, Wishes(log_id=LOG_ID, start=2, left=_left(account, tale), ended_at=account.wall()), tale),
            )
            await _open(account, venue)
        else:
            await _trade(account, venue, tale)
        await _come_to_rest(account, venue, tale, start)

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(work())
    _judge(account, tale)
    return tale


async def _vanish(venue: CexVenue) -> None:
    """The process dies: nothing that runs goes on, nothing is told any more."""
    venue.desks["main"].check.expect(lambda *_: {})  # pushes that are under way may still wake it: none of its rows is the tale's
    while tasks := [task for task in venue._tasks if not task.done()]:  # what is canceled begins look-ups yet
        for task in tasks:
            task.remove_done_callback(venue._ended)
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _left(account: SimulatedAccount, tale: Tale) -> tuple[Expected, ...]:
    """What a log would know: every order that was sent, with the fills that were told, whose end was not."""
    found = []
    for number in range(1, ORDERS + 1):
        rows, client = tale.of(number), f"{LOG_ID[:8]}-1-{number}"
        if client not in account.submits or any(row["event"] in ENDS for row in rows):  # one that lives after its end is found
            continue
        fills = [row for row in rows if row["event"] == "fill"]
        lots = account.lots[client]
        if fills and sum(row["qty"] for row in fills) == lots * UNIT:
            continue
        found.append(
            Expected(
                name=OrderName(1, number),
                account="main",
                strategy="s",
                venue="binance",
                symbol="BTC/USDT",
                side="buy",
                qty=cast("Any", lots * UNIT),
                fill_ids=tuple(row["fill_id"] for row in fills),
                filled_qty=cast("Any", sum(row["qty"] for row in fills)),
            )
        )
    return tuple(found)


@pytest.mark.parametrize("block", range(5))
def test_what_is_told_is_what_the_exchange_has(block: int) -> None:
    """Faults of every kind in any mixture: each order sent once, each fill told once, each end once and after its fills."""
    for seed in range(block * SEEDS // 5, (block + 1) * SEEDS // 5):
        try:
            _run(seed, crash=False)
        except BaseException as error:
            raise AssertionError(f"seed {seed}: {error!r}") from error


def test_start_after_a_death_tells_the_rest() -> None:
    """Killed at any moment and started again with what the log knows: together both starts tell what the exchange has."""
    for seed in range(10_000, 10_000 + SEEDS // 2):
        try:
            _run(seed, crash=True)
        except BaseException as error:
            raise AssertionError(f"seed {seed}: {error!r}") from error


def test_everything_is_compared_every_minute() -> None:
    """Over ten quiet minutes ten reconciliations follow the first one, and the clock is looked at every half minute."""
    account, tale = SimulatedAccount(1), Tale()

    async def work() -> None:
        account.quiet()
        venue = _venue(account, Wishes(log_id=LOG_ID, start=1), tale)
        await venue.open()
        await asyncio.sleep(601)
        tale.take(venue.take_rows())
        await venue.close()

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(work())
    metrics = [row.values["metric"] for row in tale if row.kind == "health"]
    assert 9 <= metrics.count("reconciled_ns") - 1 <= 10
    assert 18 <= metrics.count("clock_offset_ns") - 1 <= 20


def test_same_seed_tells_the_same_tale() -> None:
    """A run is a function of its seed, so that a failure can be looked at again."""
    assert [_run(5, crash=False) for _ in range(2)] == [_run(5, crash=False) for _ in range(2)]
