"""Answers without end are not taken whole, whoever sends them."""

from __future__ import annotations

import tracemalloc

import aiohttp
import pytest

from tests.venues.exchange_server import SmallExchange
from tests.venues.test_cex import run
from tests.venues.trader import BTC, LOG_ID, trading
from xarb.errors import OutcomeUnknown, Retryable
from xarb.model.command import SubmitOrder
from xarb.venues import bodies
from xarb.venues.exchange import Place
from xarb.venues.markets import load_instruments
from xarb.venues.passage import Passage
from xarb.venues.rest import PublicRest


@pytest.mark.parametrize("kind", ["endless", "gzip"])
def test_answers_to_signed_requests_are_bounded(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """A read may be repeated, a new order is of unknown fate, and memory does not grow with what is sent or unpacks to."""
    monkeypatch.setattr(bodies, "REPLY_BYTES", 1 << 20)

    async def work() -> None:
        server = SmallExchange()
        async with server.serving(), trading(server) as at:
            account = at.venue.desks["main"].account
            server.is_mute, server.flood = True, kind
            order = SubmitOrder(
                ts=0,
                order=1,
                client_order_id=f"{LOG_ID[:8]}-1-1",
                account="main",
                strategy="s",
                instrument=0,
                side="buy",
                tif="ioc",
                price_int=6_000_001,
                qty_int=100_000,
            )
            tracemalloc.start()
            with pytest.raises(Retryable):
                await account.open_orders("BTC/USDT")
            with pytest.raises(OutcomeUnknown):
                await account.submit(BTC, order, order.client_order_id, Passage())
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert peak < 30 << 20
            assert len(server.orders) == 1
            server.flood = None
            assert await account.open_orders("BTC/USDT") == []

    run(work())


def test_public_answers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same of requests without keys."""
    monkeypatch.setattr(bodies, "REPLY_BYTES", 1 << 20)

    async def work() -> None:
        server = SmallExchange()
        server.flood = "endless"
        async with server.serving(), aiohttp.ClientSession() as http:
            with pytest.raises(Retryable, match="an answer of more than 1048576 bytes"):
                await PublicRest(http, f"http://{server.url}").fetch("/api/v3/time")

    run(work())


@pytest.mark.parametrize("kind", ["endless", "gzip"])
def test_answers_to_ccxts_own_clients_are_bounded(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Those without keys, which load markets and poll where there is no decoder of ours."""
    monkeypatch.setattr(bodies, "REPLY_BYTES", 1 << 20)

    async def work() -> None:
        server = SmallExchange()
        server.flood = kind
        async with server.serving():
            tracemalloc.start()
            with pytest.raises(Retryable, match="could not be loaded"):
                await load_instruments("binance", "binance", ["BTC/USDT"], place=Place(rest_url=f"http://{server.url}"))
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert peak < 40 << 20

    run(work())
