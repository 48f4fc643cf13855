"""Real orders through ccxt against an exchange on loopback: each fault, each source of reports, each fill once."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Coroutine
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec
import pytest

from tests.venues.exchange_server import SmallExchange
from tests.venues.trader import BTC, LOG_ID, trading
from xarb.errors import InvariantBroken, Refused, Retryable, VenueError
from xarb.model.command import SubmitOrder
from xarb.model.units import NANOS_PER_S, Money
from xarb.venues import accountdesk
from xarb.venues.budgets import Limit
from xarb.venues.funds import Transfers, balances
from xarb.venues.liveorders import Expected
from xarb.venues.orderids import OrderName
from xarb.venues.passage import Passage


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run a test with a time limit."""

    async def limited() -> None:
        async with asyncio.timeout(30):
            await work

    asyncio.run(limited())


def ends(*words: str) -> Any:
    """Whether the last event is one of these."""
    return lambda events: bool(events) and events[-1] in words


def test_ioc_order_that_fills_is_reported_by_both_sources_once() -> None:
    """Reply and private stream say the same: sent, accepted, one fill, each once, with exact numbers."""

    async def work() -> None:
        async with SmallExchange().serving() as server, trading(server) as at:
            await at.submit(1, 123_457)
            events = await at.until(ends("fill 1.23457"), 1)
            assert sorted(events) == ["accepted", "fill 1.23457", "sent"]
            fill = next(v for v in at.of("reports") if v["event"] == "fill")
            assert fill["price"] == 60_000_010_000_000_000_000_000
            assert fill["fee"] == 1_234_570_000_000_000
            assert (fill["fee_asset"], fill["fill_id"], fill["client_order_id"]) == ("BTC", "1000", "0123abcd-1-1")
            sent = next(values for method, path, values in server.seen if (method, path) == ("POST", "/api/v3/order"))
            assert (sent["price"], sent["quantity"], sent["newClientOrderId"]) == ("60000.01", "1.23457", "0123abcd-1-1")

    run(work())


class Fault(NamedTuple):
    """A fault of the first order, and the events (in order, without `not_found`) that must come of it, with the private stream mute."""

    fault: Any
    events: list[str]
    fill: str = "1"
    more: Callable[[SmallExchange], None] = lambda _: None


UNKNOWN_THEN_FILLED = ["accepted", "fill 1"]
FAULTS = {
    "accepted, then cut": Fault("drop", ["sent", "unknown exchange_not_available", *UNKNOWN_THEN_FILLED]),
    "accepted, never answered": Fault("hang", ["sent", "unknown timeout", *UNKNOWN_THEN_FILLED]),
    "accepted, half a reply": Fault("truncate", ["sent", "unknown unreadable_reply", *UNKNOWN_THEN_FILLED]),
    "accepted, 503 that reads like a refusal": Fault("accept_503", ["sent", "unknown invalid_order", *UNKNOWN_THEN_FILLED]),
    "accepted, reply to another order": Fault("stranger", ["sent", "unknown unreadable_reply", *UNKNOWN_THEN_FILLED]),
    "accepted after the cut": Fault("late", ["sent", "unknown exchange_not_available", *UNKNOWN_THEN_FILLED]),
    "half filled, then cut": Fault(
        "drop", ["sent", "unknown exchange_not_available", "accepted", "fill 0.5", "expired"], fill="0.5"
    ),
    "cut, never accepted": Fault("lose", ["sent", "unknown exchange_not_available", "rejected never_arrived"]),
    "503, never accepted": Fault("503", ["sent", "unknown operation_failed", "rejected never_arrived"]),
    "throttled": Fault("429", ["sent", "unknown rate_limit", "rejected never_arrived"]),
    "clock": Fault(
        (-1021, "Timestamp for this request is outside of the recvWindow."), ["sent", "unknown clock", "rejected never_arrived"]
    ),
    "no money": Fault((-2010, "Account has insufficient balance for requested action."), ["sent", "rejected insufficient_funds"]),
    "filter": Fault((-1013, "Filter failure: LOT_SIZE"), ["sent", "rejected invalid_order"]),
    "key": Fault((-2014, "API-key format invalid."), ["sent", "rejected authentication_error"]),
    "a code that ccxt does not know": Fault((-9999, "whatever"), ["sent", "unknown exchange_error", "rejected never_arrived"]),
    "id used before": Fault((-2010, "Duplicate order sent."), ["sent", "unknown duplicate", "rejected never_arrived"]),
}


async def _suffer(case: Fault) -> tuple[list[str], Decimal, int, int]:
    server = SmallExchange()
    server.is_mute, server.fill, server.faults = True, Decimal(case.fill), [case.fault]
    async with server.serving(), trading(server) as at:
        await at.submit(1)
        await at.until(lambda events: [e for e in events if e != "not_found"] == case.events, 1)
        posts = sum(method == "POST" for method, _, _ in server.seen)
        traded = sum((Decimal(trade["qty"]) for trade in server.trades), Decimal())
        return at.events(1), traded - Decimal(at.filled()).scaleb(-18), posts, len(server.orders)


def test_every_fault_ends_in_what_the_exchange_has() -> None:
    """Whatever happens to a request, the order is sent once, its fate is found, and fills are those of the exchange's own books."""

    async def work() -> None:
        found = await asyncio.gather(*(_suffer(case) for case in FAULTS.values()))
        for (name, case), (events, difference, posts, orders) in zip(FAULTS.items(), found, strict=True):
            assert [e for e in events if e != "not_found"] == case.events, name
            assert difference == 0, name
            assert posts == 1, name
            assert orders == (case.events[-1].split()[0] != "rejected"), name

    run(work())


def test_order_that_comes_to_life_after_its_end_is_canceled() -> None:
    """An exchange that takes an order seconds after it denied it has it canceled, and both are told."""

    async def work() -> None:
        server = SmallExchange()
        server.fill, server.late_s, server.faults, server.is_mute = Decimal(0), 6.0, ["late"], True
        async with server.serving(), trading(server) as at:
            await at.submit(1, tif="gtc")
            await at.until(ends("rejected never_arrived"), 1)
            server.is_mute = False
            await at.until(lambda events: "accepted after_end" in events and "cancel_sent" in events, 1)
            await at.until(lambda _: server.orders[1]["status"] == "CANCELED")
            assert [v["metric"] for v in at.of("health") if v["metric"] == "order_after_end"]

    run(work())


def test_exchange_that_is_down_leaves_orders_unsent() -> None:
    """Without a connection nothing can have left: not_sent, at once, and no look-up."""

    async def work() -> None:
        server = SmallExchange()
        async with server.serving():
            context = trading(server)
            at = await context.__aenter__()
        asked = len(server.seen)
        await at.submit(1)
        assert (await at.until(ends("not_sent exchange_not_available"), 1)) == ["not_sent exchange_not_available"]
        assert len(server.seen) == asked
        await context.__aexit__(None, None, None)

    run(work())


def test_all_that_may_still_fill_is_canceled_at_once() -> None:
    """Orders that rest are canceled, done ones are left alone; the cancels were answered when it returns."""

    async def work() -> None:
        server = SmallExchange()
        async with server.serving(), trading(server) as at:
            await at.submit(1)
            await at.until(ends("fill 1"), 1)
            server.fill = Decimal(0)
            await at.submit(2, tif="gtc")
            await at.submit(3, tif="gtc")
            await at.venue.cancel_open()
            assert [order["status"] for order in server.orders.values()] == ["FILLED", "CANCELED", "CANCELED"]

    run(work())


def test_repeated_and_late_pushes_count_once() -> None:
    """Every push three times, replies and look-ups beside them: each fill and each end is reported once."""

    async def work() -> None:
        server = SmallExchange()
        server.repeat_pushes, server.fill = 3, Decimal("0.25")
        async with server.serving(), trading(server) as at:
            await at.submit(1, tif="gtc")
            await at.until(ends("fill 0.25"), 1)
            server.execute(1, Decimal("0.5"))
            await at.until(ends("fill 0.5"), 1)
            await at.cancel(1)
            await at.until(lambda events: "canceled" in events and "cancel_sent" in events, 1)
            await at.venue.reconcile()
            events = at.events(1)
            at.take()
            assert sorted(events) == sorted(["sent", "accepted", "fill 0.25", "fill 0.5", "cancel_sent", "canceled"])
            assert at.events(1) == events

    run(work())


def test_end_waits_for_the_fills_that_the_exchange_counts() -> None:
    """A look-up that counts more than the known fills brings the fills first, then the end."""

    async def work() -> None:
        server = SmallExchange()
        server.is_mute, server.fill, server.faults, server.hides_trades = True, Decimal("0.5"), ["drop"], True
        async with server.serving(), trading(server) as at:
            await at.submit(1)
            await at.until(ends("accepted"), 1)
            for _ in range(3):
                await at.until(lambda events: events[-1] == "accepted", 1)
                await at.venue.reconcile()
            server.hides_trades = False
            assert (await at.until(ends("expired"), 1))[-2:] == ["fill 0.5", "expired"]

    run(work())


def test_cancel_of_an_order_that_is_done_tells_that_it_failed() -> None:
    """The refusal of a cancel ends nothing by itself; the order's own end stands."""

    async def work() -> None:
        server = SmallExchange()
        async with server.serving(), trading(server) as at:
            await at.submit(1)
            await at.until(ends("fill 1"), 1)
            await at.cancel(1)
            events = await at.until(lambda events: "cancel_failed order_not_found" in events, 1)
            assert events[-2:] == ["cancel_sent", "cancel_failed order_not_found"]

    run(work())


def test_cancel_does_not_overtake_its_order() -> None:
    """Given together, the cancel leaves after the order's reply."""

    async def work() -> None:
        server = SmallExchange()
        server.fill = Decimal(0)
        async with server.serving(), trading(server) as at:
            await asyncio.gather(at.submit(1, tif="gtc"), at.cancel(1))
            await at.until(ends("canceled"), 1)
            methods = [method for method, path, _ in server.seen if path.endswith("/order")]
            assert methods == ["POST", "DELETE"]

    run(work())


def test_reconnect_reconciles_what_was_missed() -> None:
    """What happens while the private stream is down is reported after it is back, and the loss and the return are rows."""

    async def work() -> None:
        server = SmallExchange()
        server.fill = Decimal(0)
        async with server.serving(), trading(server) as at:
            await at.submit(1, tif="gtc")
            await at.until(ends("accepted"), 1)
            server.subscribed.clear()
            server.is_mute = True
            for socket in list(server.sockets):
                await socket.close()
            server.execute(1, Decimal("0.5"))
            await server.subscribed.wait()
            assert (await at.until(ends("fill 0.5"), 1)) == ["sent", "accepted", "unknown stream_lost", "accepted", "fill 0.5"]
            states = [(v["event"], v["epoch"]) for v in at.of("connections")]
            assert states == [("opened", 1), ("subscribed", 1), ("lost", 1), ("opened", 2), ("subscribed", 2)]
            async with asyncio.timeout(10):
                while sum(v["metric"] == "reconciled_ns" for v in at.of("health")) < 2:
                    await at.venue.rows_came()

    run(work())


def test_stream_that_the_exchange_ends_is_opened_again() -> None:
    """`eventStreamTerminated` and unreadable frames: the first leads to a new connection, the others to rejects."""

    async def work() -> None:
        server = SmallExchange()
        async with server.serving(), trading(server) as at:
            server.subscribed.clear()
            server.push("{half")
            server.push({"subscriptionId": 0, "event": {"e": "executionReport"}})
            server.push({"subscriptionId": 0, "event": {"e": "eventStreamTerminated"}})
            await server.subscribed.wait()
            await at.submit(1)
            await at.until(ends("fill 1"), 1)
            assert [v["rule"] for v in at.of("rejects")] == ["unreadable_frame"] * 2
            assert [v["detail"] for v in at.of("connections") if v["event"] == "lost"] == ["eventStreamTerminated"]

    run(work())


def test_orders_of_others_are_reported_as_such() -> None:
    """An open order and a fill that this log did not send are rows without an order number, once."""

    async def work() -> None:
        server = SmallExchange()
        server.fill = Decimal("0.5")
        other = {
            "symbol": "BTCUSDT",
            "newClientOrderId": "web_1",
            "price": "5.00",
            "quantity": "2",
            "side": "SELL",
            "type": "LIMIT",
        }
        server.accept(other)
        server.accept({**other, "newClientOrderId": "ffffffff-1-1"})
        async with server.serving(), trading(server) as at:
            await at.venue.reconcile()
            rows = [(v["event"], v["client_order_id"], v["order"], v.get("cum_qty")) for v in at.of("reports")]
            one = 10**18
            assert rows == [
                ("foreign", "web_1", None, one),
                ("foreign", "ffffffff-1-1", None, one),
                ("fill", "web_1", None, None),
                ("fill", "ffffffff-1-1", None, None),
            ]

    run(work())


@pytest.mark.parametrize("is_early", [True, False])
def test_another_xarb_is_looked_for_again_once_orders_may_leave(monkeypatch: pytest.MonkeyPatch, *, is_early: bool) -> None:
    """Where the private stream says nothing of it: some seconds after arming, since two may have begun at once, and then one symbol after the other."""
    monkeypatch.setattr(accountdesk, "LOOK_OUT_S", (0.2,) if is_early else ())
    monkeypatch.setattr(accountdesk, "CALM_POLL_S", 60 if is_early else 0.2)

    async def work() -> None:
        server = SmallExchange()
        server.is_mute = True
        async with server.serving(), trading(server) as at:
            [desk] = at.venue.desks.values()
            desk._opened_at = time.time_ns() - 60 * NANOS_PER_S  # the allowed distance of clocks is waited out
            desk.look_out()
            server.accept(
                {
                    "symbol": "BTCUSDT",
                    "price": "5.00",
                    "quantity": "2",
                    "side": "SELL",
                    "type": "LIMIT",
                    "newClientOrderId": "ffffffff-1-1",
                }
            )
            async with asyncio.timeout(30):
                while not desk.objections:  # noqa: ASYNC110  # no event
                    await asyncio.sleep(0.01)
            assert "its order ffffffff-1-1" in desk.objections[0]

    run(work())


def test_another_xarb_is_known_by_what_is_filled_since_we_began() -> None:
    """A fill before it is the past of the account; one behind it speaks against new orders, and a reading says so once."""

    async def work() -> None:
        server = SmallExchange()
        server.is_mute = True  # the list of fills alone tells
        order = {"symbol": "BTCUSDT", "price": "5.00", "quantity": "2", "side": "SELL", "type": "LIMIT"}
        server.accept({**order, "newClientOrderId": "ffffffff-1-1"})
        async with server.serving(), trading(server) as at:
            [desk] = at.venue.desks.values()
            seen = []
            for name in ("web_0", "web_1", "ffffffff-1-2"):
                await at.venue.reconcile()
                seen.append(desk.rival)
                desk._opened_at = time.time_ns() - 60 * NANOS_PER_S  # the allowed distance of clocks is waited out
                server.accept({**order, "newClientOrderId": name})
            await at.venue.reconcile()
            assert seen == [None, None, None]
            [why] = desk.objections
            assert f"its order {name} on BTC/USDT was filled" in why
            await at.venue.reconcile()
            assert [v["metric"] for v in at.of("health")].count("another_xarb") == 1

    run(work())


def test_start_finds_what_the_one_before_left() -> None:
    """Orders left by an earlier start, one filled meanwhile, one open, one that never arrived, and one that nobody remembered."""

    async def work() -> None:
        server = SmallExchange()
        order = {"symbol": "BTCUSDT", "price": "5.00", "quantity": "2", "side": "SELL", "type": "LIMIT"}
        server.accept({**order, "newClientOrderId": "0123abcd-0-1"})
        server.fill = Decimal(0)
        server.accept({**order, "newClientOrderId": "0123abcd-0-2"})
        server.accept({**order, "newClientOrderId": "0123abcd-0-9"})
        left = tuple(
            Expected(
                name=OrderName(0, n),
                account="main",
                strategy="s",
                venue="binance",
                symbol="BTC/USDT",
                side="sell",
                qty=Money(2 * 10**18),
            )
            for n in (1, 2, 3)
        )
        async with server.serving(), trading(server, left=left) as at:
            assert (await at.until(ends("fill 2"), 1))[-1] == "fill 2"
            assert (await at.until(ends("accepted"), 2)) == ["accepted"]
            assert (await at.until(ends("canceled"), 9)) == ["accepted after_end", "cancel_sent", "canceled"]
            assert (await at.until(ends("rejected never_arrived"), 3))[-1] == "rejected never_arrived"
            await at.venue.cancel_left()
            assert (await at.until(ends("canceled"), 2)) == ["accepted", "cancel_sent", "canceled"]
            assert [order["status"] for order in server.orders.values()] == ["FILLED", "CANCELED", "CANCELED"]

    run(work())


def test_budget_of_orders_is_never_exceeded() -> None:
    """More orders than the limit allows: the rest is not sent, with the reason, and nothing reaches the exchange."""

    async def work() -> None:
        server = SmallExchange()
        async with server.serving(), trading(server, order_limits=(Limit(count=5, seconds=60),)) as at:
            for number in range(1, 9):
                await at.submit(number)
            await at.until(lambda events: len([e for e in events if e.startswith(("fill", "not_sent"))]) == 8)
            assert len(server.orders) == 5
            assert [at.events(n)[-1] for n in (6, 7, 8)] == ["not_sent rate_limit"] * 3

    run(work())


def test_order_that_is_too_old_does_not_leave() -> None:
    """Older than the bound when its turn comes: told as not sent; a younger one is sent, and without a bound any."""

    async def work() -> None:
        server = SmallExchange()
        async with server.serving(), trading(server, max_send_lag_ms=60_000) as at:
            await at.submit(1, age_ms=60_001)
            assert at.events(1) == ["not_sent too_old"]
            assert server.orders == {}
            await at.submit(2, age_ms=1)
            await at.until(ends("fill 1"), 2)
        async with server.serving(), trading(server) as at:
            await at.submit(3, age_ms=10**9)
            await at.until(ends("fill 1"), 3)

    run(work())


def test_published_limits_are_held_and_what_others_used_counts() -> None:
    """The exchange publishes three orders in ten seconds, one of which somebody else had: the third of ours is not sent."""

    async def work() -> None:
        server = SmallExchange()
        server.rate_limits = [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 3000},
            {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 3},
            {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 61000},
        ]
        async with server.serving(), trading(server) as at:
            await at.submit(1)
            await at.until(ends("fill 1"), 1)
            server.used_orders = 2
            await at.venue.reconcile()
            await at.submit(2)
            await at.until(ends("fill 1"), 2)
            await at.submit(3)
            assert (await at.until(ends("not_sent rate_limit"), 3)) == ["not_sent rate_limit"]
            assert at.venue.desks["main"].account.weight.wait(at.venue.desks["main"].account.now(), 2900, urgent=True) > 0

    run(work())


def test_order_off_the_grid_does_not_leave() -> None:
    """Zero is no quantity: the order is refused here."""

    async def work() -> None:
        server = SmallExchange()
        async with server.serving(), trading(server) as at:
            await at.submit(1, 0)
            assert (await at.until(ends("not_sent off_grid"), 1)) == ["not_sent off_grid"]

    run(work())


def test_numbers_leave_as_they_are() -> None:
    """Finer than what ccxt thinks of the market: the text that was made from integers is sent, and not what ccxt would round it to."""

    async def work() -> None:
        server = SmallExchange()
        fine = msgspec.structs.replace(BTC, px_scale=4, qty_scale=8)
        async with server.serving(), trading(server) as at:
            account = at.venue.desks["main"].account
            command = SubmitOrder(
                ts=0,
                order=1,
                client_order_id="0123abcd-1-1",
                account="main",
                strategy="s",
                instrument=0,
                side="sell",
                tif="ioc",
                price_int=600_001_239,
                qty_int=123_456_789,
            )
            said, trades = await account.submit(fine, command, "0123abcd-1-1", Passage())
            sent = next(values for method, _, values in server.seen if method == "POST")
            assert (sent["price"], sent["quantity"]) == ("60000.1239", "1.23456789")
            assert (said.cum_qty, trades[0].qty) == (1_234_567_890_000_000_000, 1_234_567_890_000_000_000)

    run(work())


def test_balances_and_transfers_are_rows() -> None:
    """At the start every balance; a deposit that is pushed brings its transfer and the new balances."""

    async def work() -> None:
        server = SmallExchange()
        async with server.serving(), trading(server) as at:
            assert {v["asset"]: v["free"] // 10**18 for v in at.of("balances")} == {"USDT": 1_000_000, "BTC": 100, "BNB": 5}
            deposit = {
                "id": "d1",
                "amount": "2.50000000",
                "coin": "BTC",
                "network": "BTC",
                "status": 1,
                "insertTime": time.time_ns() // 1_000_000,
            }
            server.deposits.append({**deposit, "txId": "ab", "transferType": 0, "address": "x"})
            server.push({"subscriptionId": 0, "event": {"e": "balanceUpdate", "a": "BTC", "d": "2.5", "T": 1}})
            async with asyncio.timeout(10):
                while not at.of("transfers"):
                    await at.venue.rows_came()
            row = at.of("transfers")[0]
            assert (row["asset"], row["qty"], row["transfer_id"], row["status"]) == ("BTC", 25 * 10**17, "d1", "ok")

    run(work())


def _deposit(server: SmallExchange, number: str) -> None:
    """A deposit of 2.5 BTC, done now; the exchange has no id of its own for it where `number` is empty."""
    deposit = {"id": number, "amount": "2.50000000", "coin": "BTC", "network": "BTC", "status": 1, "txId": number and "ab"}
    server.deposits.append({**deposit, "insertTime": time.time_ns() // 1_000_000, "transferType": 0, "address": "x"})


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5])
def test_reply_that_was_cut_off_is_no_answer(kept: float) -> None:
    """Not no orders, no fills, no money: nothing of it, or a part that is no JSON."""

    async def work() -> None:
        server = SmallExchange()
        async with server.serving(), trading(server) as at:
            account = at.venue.desks["main"].account
            server.fill = Decimal(0)
            await at.submit(1, tif="gtc")
            _deposit(server, "d1")
            server.kept, server.cuts_reads = kept, True
            for call in (
                lambda: account.open_orders("BTC/USDT"),
                lambda: account.trades_since("BTC/USDT", 0),
                lambda: account.lookup("BTC/USDT", f"{LOG_ID[:8]}-1-1"),
                lambda: balances(account),
                lambda: Transfers(account, "binance").fresh(0),
            ):
                with pytest.raises(Retryable):
                    await call()
            server.cuts_reads = False

    run(work())


def test_deposit_is_told_though_the_withdrawals_could_not_be_had() -> None:
    """What one look could not finish the next one tells, however much time lies between them."""

    async def work() -> None:
        server = SmallExchange()
        async with server.serving(), trading(server) as at:
            transfers = Transfers(at.venue.desks["main"].account, "binance")
            since_ms = time.time_ns() // 1_000_000
            _deposit(server, "d1")
            server.tells_withdrawals = False
            with pytest.raises(VenueError):
                await transfers.fresh(since_ms)
            server.tells_withdrawals = True
            rows = await transfers.fresh(since_ms + 60_000)
            assert [row.values["transfer_id"] for row in rows] == ["d1"]
            assert await transfers.fresh(since_ms + 60_000) == []

    run(work())


def test_transfers_without_an_id_are_told_each() -> None:
    """Two that only their times tell apart are two rows, each once."""

    async def work() -> None:
        server = SmallExchange()
        async with server.serving(), trading(server) as at:
            transfers = Transfers(at.venue.desks["main"].account, "binance")
            since_ms = time.time_ns() // 1_000_000
            _deposit(server, "")
            _deposit(server, "")
            server.deposits[1]["insertTime"] += 5
            assert len(await transfers.fresh(since_ms)) == 2
            assert await transfers.fresh(since_ms) == []

    run(work())


def test_clock_that_is_off_refuses_the_start() -> None:
    """Over 50 ms between the clocks nothing is traded."""

    async def work() -> None:
        server = SmallExchange()
        server.clock_ms = 400
        async with server.serving():
            with pytest.raises(Refused, match="50 ms are allowed"):
                async with trading(server):
                    pass

    run(work())


def test_clock_is_watched_while_trading(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that goes wrong speaks against new orders until it is right again; each change is told once, with the distance."""
    monkeypatch.setattr(accountdesk, "CLOCK_S", 0.0)
    monkeypatch.setattr(accountdesk, "POLL_S", 0.02)

    async def work() -> None:
        server = SmallExchange()
        async with server.serving(), trading(server) as at:
            mine = at.venue.desks["main"]

            async def turned(value: int) -> str:
                async with asyncio.timeout(10):
                    while True:
                        at.take()
                        off = [row for row in at.of("health") if row["metric"] == "clock_off"]
                        if off and off[-1]["value"] == value:
                            return f"{len(off)}: {off[-1]['detail']}"
                        await asyncio.sleep(0.02)

            server.clock_ms = 400
            assert re.match(r"1: main: the clock of binance is [34]\d\d\.\d ms from ours, 50 ms are allowed", await turned(1))
            assert mine.clock.objection is not None
            server.clock_ms = 0
            assert await turned(0) == "2: main: the clock is right again"
            assert mine.clock.objection is None

    run(work())


def test_order_is_never_sent_twice() -> None:
    """The same order given again is a mistake of the caller: nothing leaves, whatever became of the first."""

    async def work() -> None:
        server = SmallExchange()
        async with server.serving(), trading(server) as at:
            await at.submit(1)
            await at.until(ends("fill 1"), 1)
            with pytest.raises(InvariantBroken, match="sent already"):
                await at.submit(1)
            assert len(server.orders) == 1

    run(work())


def test_failure_of_the_venues_own_work_stops_new_orders() -> None:
    """When its own work breaks, that is told, new orders do not leave, and cancels still do."""

    async def work() -> None:
        server = SmallExchange()
        server.fill = Decimal(0)
        async with server.serving(), trading(server) as at:
            await at.submit(1, tif="gtc")
            await at.until(ends("accepted"), 1)
            at.venue._spawn(_break())
            await at.until(lambda _: any(v["detail"] == "ZeroDivisionError" for v in at.of("health")))
            await at.submit(2)
            await at.until(ends("not_sent venue_failed"), 2)
            await at.cancel(1)
            await at.until(ends("canceled"), 1)
            assert len(server.orders) == 1

    with pytest.raises(ZeroDivisionError):
        run(work())


async def _break() -> None:
    raise ZeroDivisionError
