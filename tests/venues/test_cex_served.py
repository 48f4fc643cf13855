"""Real orders against the served Binance: real host names, its fault schedule, and its own ledger to the last digit."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.serve.site import KEY, LOTS, SECRET, Site, book, config, head, serving
from tests.venues.test_cex import run
from tests.venues.trader import BTC, LOG_ID, Trader, books_of, opened
from xarb.serve.binance.app import HOSTS
from xarb.serve.certificates import AUTHORITY, tls_context
from xarb.serve.config import KeyConfig
from xarb.serve.faults import Fault
from xarb.venues.account import Account, AccountTerms
from xarb.venues.accountdesk import Wishes
from xarb.venues.cex import CexVenue
from xarb.venues.exchange import Place
from xarb.venues.keys import Keys
from xarb.venues.readiness import inspect

DEEP = book([(9_990 - n, LOTS) for n in range(20)], [(10_000 + n, LOTS) for n in range(20)])
ONE = msgspec.structs.replace(BTC, venue="alpha", lot_int=10)


@contextlib.asynccontextmanager
async def trading_at(site: Site, secret: str = SECRET, *, settle_ms: int = 2_000, **place: Any) -> AsyncIterator[Trader]:
    """An open venue on a served exchange whose market has come to its book."""
    site.server.market.begin()
    await site.clock.set(site.clock.log_ns() + 10_000_000)
    await site.server.market.ended.wait()
    base = urlsplit(site.base)
    where = Place(**(place or {"rest_url": site.base, "stream_url": f"ws://{base.netloc}"}))
    terms = AccountTerms(label="main", exchange="binance", place=where, timeout_ms=1_000, settle_ms=settle_ms)
    account = Account(terms, Keys("alpha", "main", {"api_key": KEY, "api_secret": secret}), ["BTC/USDT"])
    venue = CexVenue("alpha", [account], [ONE], wishes=Wishes(log_id=LOG_ID, start=1), conns={"main": 7})
    told = (await (await site.http.get(f"{site.base}/xarb/balances", ssl=False)).json())["main"]
    async with opened(venue, books_of("alpha", {asset: Decimal(amount) for asset, amount in told.items()})) as trader:
        yield trader


async def _books(site: Site) -> list[dict[str, Any]]:
    """The server's own orders."""
    found = (await site.http.get(f"{site.base}/xarb/orders?account=main", ssl=False)).json()
    return list(await found)


def _ours(at: Trader) -> dict[str, tuple[str, list[tuple[str, int, int, int, str]]]]:
    """By client id: the last event that ended the order, and its fills as (id, price, quantity, fee, coin)."""
    found: dict[str, tuple[str, list[Any]]] = {}
    for values in at.of("reports"):
        end, fills = found.get(values["client_order_id"], ("", []))
        if values["event"] == "fill":
            fills.append((values["fill_id"], values["price"], values["qty"], values["fee"], values["fee_asset"]))
        elif values["event"] in ("canceled", "expired", "rejected", "not_sent"):
            end = values["event"]
        found[values["client_order_id"]] = (end, fills)
    return found


def _theirs(orders: Sequence[dict[str, Any]]) -> dict[str, list[tuple[str, int, int, int, str]]]:
    def money(text: str) -> int:
        whole = Fraction(text) * 10**18
        assert whole.denominator == 1
        return whole.numerator

    return {
        order["client_id"]: [
            (str(f["trade_id"]), money(f["price"]), money(f["qty"]), money(f["fee"]), f["fee_asset"]) for f in order["fills"]
        ]
        for order in orders
    }


async def _all_settled(at: Trader, count: int) -> None:
    """Every one of the first orders came to its end, or is filled."""
    desk = at.venue.desks["main"]
    async with asyncio.timeout(25):
        while any((one := desk.orders.order(name)) is None or not one.is_done for name in at.names(count)):
            at.take()
            await at.venue.rows_came()


def test_real_host_names_and_ed25519(tmp_path: Path) -> None:
    """No address is changed: names resolve to loopback, the certificate is trusted, Ed25519 signs; orders, fees and rights are true."""
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode() + "\n\n"
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    keys = {"trade": KeyConfig(account="main", api_key=KEY, public_key=public)}

    async def work() -> None:
        tls = tls_context(tmp_path / "tls", HOSTS)
        async with serving(tmp_path, [*head(), (10, DEEP)], tls=tls, config=config(keys=keys)) as site:
            port = site.server.addresses[0].port
            hosts = dict.fromkeys(HOSTS, f"127.0.0.1:{port}")
            async with trading_at(site, pem, hosts=hosts, ca_file=str(tmp_path / "tls" / AUTHORITY)) as at:
                await at.submit(1, 150_000, price_int=10_001)
                await at.submit(2, 500_000, price_int=10_002)
                await at.submit(3, 100_000, price_int=9_000)
                await _all_settled(at, 3)
                assert {name: (end, len(fills)) for name, (end, fills) in _ours(at).items()} == {
                    "0123abcd-1-1": ("", 2),
                    "0123abcd-1-2": ("expired", 2),
                    "0123abcd-1-3": ("expired", 0),
                }
                account = at.venue.desks["main"].account
                assert account.client.urls["api"]["private"] == "https://api.binance.com/api/v3"
                found = await inspect(account, "alpha", ["BTC"])
                assert found.objections == ()
                assert found.warnings == ("the key is not bound to addresses",)
                assert found.fees["BTC/USDT"].taker_ppb == 1_000_000

    run(work())


FAULTS = (
    Fault(kind="drop_reply", on="POST /api/v3/order", after=2, count=1),
    Fault(kind="truncate", on="POST /api/v3/order", after=4, count=1),
    Fault(kind="hang", on="POST /api/v3/order", after=6, count=1),
    Fault(kind="status", on="POST /api/v3/order", after=8, count=1, status=503, code=-1000),
    Fault(kind="close", on="POST /api/v3/order", after=10, count=1),
    Fault(kind="duplicate", on="executionReport", after=3, count=4),
    Fault(kind="reorder", on="executionReport", after=9, count=1),
    Fault(kind="malformed", on="executionReport", after=12, count=1),
    Fault(kind="gap", on="executionReport", after=15, count=2),
    Fault(kind="close", on="executionReport", after=20, count=1),
)


@pytest.mark.parametrize("faults", [(), FAULTS], ids=["no faults", "faults of every kind"])
def test_reports_equal_the_servers_own_books(tmp_path: Path, faults: tuple[Fault, ...]) -> None:
    """Twelve orders, both ways, IOC: whatever replies and pushes suffer, fills are the server's to the last digit, and none is sent twice."""

    async def work() -> None:
        async with serving(tmp_path, [*head(), (10, DEEP)], faults=faults) as site, trading_at(site) as at:
            for number in range(1, 13):
                side, price = ("buy", 10_003) if number % 2 else ("sell", 9_988)
                await at.submit(number, 30_000 + 10 * number, side=side, price_int=price)
                if number % 4 == 0:
                    await asyncio.wait_for(at.venue.rows_came(), 5)
            await _all_settled(at, 12)
            await at.venue.reconcile()
            theirs = _theirs(await _books(site))
            ours = _ours(at)
            assert {name: sorted(fills) for name, (_, fills) in ours.items() if fills} == {
                name: sorted(fills) for name, fills in theirs.items() if fills
            }
            assert all(name in theirs for name, (end, _) in ours.items() if end not in ("rejected", "not_sent"))
            assert all(ours[name][0] not in ("rejected", "not_sent") for name in theirs)
            assert len(theirs) == len(await _books(site))
            held = {row["asset"]: row["free"] + row["locked"] for row in at.of("balances")}
            told = (await (await site.http.get(f"{site.base}/xarb/balances")).json())["main"]
            assert {asset: Fraction(value) * 10**18 for asset, value in told.items()} == held

    run(work())
