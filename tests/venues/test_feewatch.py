"""Fees are asked for again: what changed is told once, in which coin too, and what is not answered is told and changes nothing."""

from __future__ import annotations

from typing import Any

import msgspec

from tests.venues.exchange_server import SmallExchange
from tests.venues.test_cex import run
from tests.venues.trader import trading
from xarb.venues.feewatch import UNKNOWN, FeeWatch
from xarb.venues.funds import fee_tier


def test_what_changed_is_told_once() -> None:
    """A dearer taker, then fees in BNB, then no answer, then the same as before it."""

    async def work() -> None:
        server = SmallExchange()
        async with server.serving(), trading(server) as at:
            account = at.venue.desks["main"].account
            watch = FeeWatch(account, "binance", {"BTC/USDT": await fee_tier(account, "BTC/USDT")})
            assert await watch.fresh() == []
            fees, burn = account.client.fetch_trading_fee, account.client.sapiGetBnbBurn

            async def dearer(symbol: str) -> Any:
                return await fees(symbol) | {"taker": 0.002}

            async def burns(*_: object) -> Any:
                return await burn() | {"spotBNBBurn": True}

            async def nothing(_: str) -> Any:
                return {}

            told = []
            for name, answer in (("fetch_trading_fee", dearer), ("sapiGetBnbBurn", burns)):
                setattr(account.client, name, answer)
                [row] = await watch.fresh()
                told.append(msgspec.json.decode(row.values["detail"]))
                assert (row.kind, row.values["action"], await watch.fresh()) == ("operator", "fee", [])
            assert [(one["taker_ppb"], one["asset"]) for one in told] == [(2_000_000, "received"), (2_000_000, "BNB")]
            account.client.fetch_trading_fee = nothing
            [row] = await watch.fresh()
            assert (row.kind, row.values["metric"], row.values["value"]) == ("health", UNKNOWN, 1)
            account.client.fetch_trading_fee = dearer
            assert await watch.fresh() == []

    run(work())
