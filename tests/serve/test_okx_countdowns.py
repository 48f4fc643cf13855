"""OKX's cancel-all-after, request by request and through ccxt."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.serve.site import KEY, READ_KEY, SECRET, Site, config, run
from tests.serve.test_okx import LIMIT, NAME, PAIR, PHRASE, client, signed, site_of
from xarb.model.units import NANOS_PER_S
from xarb.serve.config import KeyConfig

PATH = "trade/cancel-all-after"


async def rest(site: Site, *tags: str) -> None:
    """An order that rests, for each tag."""
    for tag in tags:
        _, answer = await signed(site, "POST", "trade/order", LIMIT | ({"tag": tag} if tag else {}))
        assert answer["code"] == "0"


async def states(site: Site) -> list[str]:
    """Of all orders, in order."""
    return [order["status"] for order in (await site.get("/xarb/orders", account="main")).body]


async def run_out(site: Site, seconds: float) -> None:
    """Let so much time pass; the request after it sees what ran out."""
    site.clock.passed_ns += int(seconds * NANOS_PER_S)
    await site.get("/api/v5/public/time")


def test_a_countdown_that_runs_out_cancels_everything_and_is_off_then(tmp_path: Path) -> None:
    """Through ccxt unchanged: set, set anew in time, run out; the orders are canceled for its reason, and the next one rests."""

    async def test() -> None:
        async with site_of(tmp_path) as site, client(site) as exchange:
            await site.to(10)
            await exchange.load_markets()
            set_at = await exchange.cancel_all_orders_after(60_000)
            one = set_at["data"][0]
            assert (set_at["code"], one["tag"], int(one["triggerTime"]) - int(one["ts"])) == ("0", "", 60_000)
            made = [await exchange.create_order(PAIR, "limit", "buy", 0.5, price) for price in (99, 98)]
            await run_out(site, 50)
            await exchange.cancel_all_orders_after(60_000)
            await run_out(site, 50)
            assert await states(site) == ["NEW", "NEW"]
            news = asyncio.ensure_future(exchange.watch_orders(PAIR))
            await site.listened(users=1)
            site.clock.passed_ns += 10 * NANOS_PER_S
            async with asyncio.timeout(10):
                assert (await news)[0]["status"] == "canceled"
            for order in made:
                assert (await exchange.fetch_order(order["id"], PAIR))["info"]["cancelSource"] == "20"
            assert (await exchange.fetch_balance())["USDT"]["used"] == 0
            assert (await site.get("/xarb/status")).body["countdowns"] == 0
            await exchange.create_order(PAIR, "limit", "buy", 0.5, 99)
            await run_out(site, 1000)
            assert await states(site) == ["CANCELED", "CANCELED", "NEW"]

    run(test())


def test_zero_switches_it_off(tmp_path: Path) -> None:
    """The answer says 0; what rests goes on resting."""

    async def test() -> None:
        async with site_of(tmp_path) as site:
            await site.to(10)
            await rest(site, "")
            assert (await signed(site, "POST", PATH, {"timeOut": "10"}))[1]["code"] == "0"
            site.clock.passed_ns += NANOS_PER_S  # one a second
            _, off = await signed(site, "POST", PATH, {"timeOut": "0"})
            assert (off["code"], off["data"][0]["triggerTime"]) == ("0", "0")
            await run_out(site, 1000)
            assert await states(site) == ["NEW"]

    run(test())


def test_a_countdown_with_a_tag_cancels_the_orders_that_bear_it(tmp_path: Path) -> None:
    """Others rest on; each tag has its own time, and its own limit of requests."""

    async def test() -> None:
        async with site_of(tmp_path) as site:
            await site.to(10)
            await rest(site, "one", "two", "")
            for tag, seconds in (("one", 10), ("two", 20)):
                _, answer = await signed(site, "POST", PATH, {"timeOut": seconds, "tag": tag})
                assert answer["data"][0]["tag"] == tag
            await run_out(site, 15)
            assert await states(site) == ["CANCELED", "NEW", "NEW"]
            await run_out(site, 15)
            assert await states(site) == ["CANCELED", "CANCELED", "NEW"]
            _, listed = await signed(site, "GET", f"trade/orders-history?instId={NAME}")
            assert [order["tag"] for order in listed["data"]] == ["two", "one"]

    run(test())


def test_other_accounts_are_left_alone(tmp_path: Path) -> None:
    """The countdown is of the account whose key asked for it."""
    keys = {
        "trade": KeyConfig(account="other", api_key=KEY, secret=SECRET, passphrase=PHRASE),
        "main": KeyConfig(account="main", api_key="main-key", secret=SECRET, passphrase=PHRASE),
    }
    money = {name: {"alpha": {"USDT": 10_000}} for name in ("main", "other")}

    async def test() -> None:
        async with site_of(tmp_path, config=config(accounts=money, keys=keys)) as site:
            await site.to(10)
            _, answer = await signed(site, "POST", "trade/order", LIMIT, **{"OK-ACCESS-KEY": "main-key"})
            assert answer["code"] == "0"
            await signed(site, "POST", PATH, {"timeOut": "10"})
            await run_out(site, 20)
            assert await states(site) == ["NEW"]

    run(test())


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({}, "51000"),
        ({"timeOut": "9"}, "51000"),
        ({"timeOut": "121"}, "51000"),
        ({"timeOut": "-10"}, "51000"),
        ({"timeOut": "10.5"}, "51000"),
        ({"timeOut": True}, "51000"),
        ({"timeOut": "60", "tag": "a-b"}, "51000"),
        ({"timeOut": "60", "tag": "a" * 17}, "51000"),
        ([{"timeOut": "60"}], "51000"),
    ],
)
def test_what_is_refused(tmp_path: Path, values: Any, code: str) -> None:
    """0 or 10 to 120 whole seconds, a tag of letters and digits; what is refused sets nothing."""

    async def test() -> None:
        async with site_of(tmp_path) as site:
            _, answer = await signed(site, "POST", PATH, values)
            assert (answer["code"], answer["data"]) == (code, [])
            assert (await site.get("/xarb/status")).body["countdowns"] == 0

    run(test())


def test_it_takes_the_permission_to_trade_and_one_request_a_second(tmp_path: Path) -> None:
    """A key that reads may not; of three requests at once the last ones are turned away."""

    async def test() -> None:
        async with site_of(tmp_path) as site:
            _, answer = await signed(site, "POST", PATH, {"timeOut": "60"}, **{"OK-ACCESS-KEY": READ_KEY})
            assert answer["code"] == "50120"
            codes = [(await signed(site, "POST", PATH, {"timeOut": "60"}))[1]["code"] for _ in range(3)]
            assert codes[0] == "0"
            assert "50011" in codes

    run(test())
