"""Real orders at OKX v5 over ccxt: its replies only acknowledge, so that look-ups and the private stream tell the rest."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from tests.venues.exchange_server import KEY
from tests.venues.okx_server import SmallOkx
from tests.venues.test_cex import ends, run
from tests.venues.trader import trading
from xarb.model.instrument import FeeTier
from xarb.venues import funds


def test_acknowledged_order_is_told_by_stream_and_look_up_once() -> None:
    """Sent, accepted, a partial fill with its fee, the end; the id is letters and digits, the numbers are exact."""

    async def work() -> None:
        server = SmallOkx()
        server.fill = Decimal("0.5")
        async with server.serving(), trading(server) as at:
            await at.submit(1, 123_450)
            events = await at.until(ends("canceled"), 1)
            assert events == ["sent", "accepted", "fill 0.61725", "canceled"]
            fill = next(v for v in at.of("reports") if v["event"] == "fill")
            assert (fill["price"], fill["fee"], fill["fee_asset"]) == (6_000_001 * 10**16, 61_725 * 10**10, "BTC")
            assert fill["client_order_id"] == "0123abcd-1-1"
            order = server.orders["1"]
            assert (order["px"], order["sz"], order["clOrdId"].isalnum()) == ("60000.01", "1.2345", True)
            assert server.refused == 0

    run(work())


def test_without_the_stream_look_ups_tell_everything() -> None:
    """Mute: the same rows, from look-ups and the list of trades; a cancel that is only acknowledged is looked up, too."""

    async def work() -> None:
        server = SmallOkx()
        server.fill, server.is_mute = Decimal("0.25"), True
        async with server.serving(), trading(server) as at:
            await at.submit(1, tif="gtc")
            await at.until(ends("fill 0.25"), 1)
            await at.cancel(1)
            assert (await at.until(ends("canceled"), 1)) == ["sent", "accepted", "fill 0.25", "cancel_sent", "canceled"]

    run(work())


def test_faults() -> None:
    """A dropped reply is found, a lost order is given up, a refusal within a reply of status 200 is one."""

    async def work() -> None:
        server = SmallOkx()
        server.is_mute = True
        server.faults = ["drop", ("51008", "Order failed. Insufficient USDT balance in account."), "lose"]
        async with server.serving(), trading(server) as at:
            for number in (1, 2, 3):
                await at.submit(number)
                await at.until(lambda events: bool(events) and events[-1] != "sent", number)
            assert (await at.until(ends("fill 1"), 1)) == ["sent", "unknown exchange_not_available", "accepted", "fill 1"]
            assert (await at.until(ends("rejected insufficient_funds"), 2)) == ["sent", "rejected insufficient_funds"]
            last = await at.until(ends("rejected never_arrived"), 3)
            assert [e for e in last if e != "not_found"] == ["sent", "unknown exchange_not_available", "rejected never_arrived"]

    run(work())


def test_more_fills_than_a_page_are_all_found() -> None:
    """350 fills of one order while nobody listens, newest first in pages of 100: all are reported after the fact."""

    async def work() -> None:
        server = SmallOkx()
        server.fill, server.is_mute = Decimal(0), True
        async with server.serving(), trading(server) as at:
            await at.submit(1, tif="gtc")
            await at.until(ends("accepted"), 1)
            for number in range(350):
                server.execute("1", Decimal("0.001"))
                server.fills[-1]["ts"] = str(int(server.fills[-1]["ts"]) + number)
            await at.venue.reconcile()
            assert at.filled() == 350 * 10**15

    run(work())


def test_fees_and_rights_are_the_accounts_own() -> None:
    """What the exchange states, exactly: fees as ratios paid, the key's permissions, balances."""

    async def work() -> None:
        server = SmallOkx()
        async with server.serving(), trading(server) as at:
            account = at.venue.desks["main"].account
            tier = await funds.fee_tier(account, "BTC/USDT")
            assert tier == FeeTier(maker_ppb=800_000, taker_ppb=1_000_000, asset="received", source=tier.source)  # type: ignore[arg-type]
            assert await funds.rights(account) == funds.Rights(can_trade=True, can_withdraw=False, is_bound_to_addresses=True)
            (row,) = at.of("balances")
            assert (row["asset"], row["free"], row["locked"]) == ("USDT", 10_000_005 * 10**17, 2 * 10**18)

    run(work())


def test_wrong_pass_phrase_is_no_stream() -> None:
    """A login that is refused is told as a loss with its code, and tried again."""

    async def work() -> None:
        server = SmallOkx()
        async with server.serving(), trading(server) as at:
            await at.venue.desks["main"].clock.check()
            at.venue.desks["main"].account.client.password = KEY
            for socket in list(server.sockets):
                await socket.close()
            async with asyncio.timeout(10):
                while not any("60009" in (v["detail"] or "") for v in at.of("connections")):
                    await at.venue.rows_came()

    run(work())
