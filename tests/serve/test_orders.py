"""Orders through REST and their events: life cycles, money, filters, errors."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.log.logs import instrument
from tests.serve.site import LOTS, READ_KEY, STANDING, SYMBOL, Site, book, config, head, run, serving, trade
from xarb.serve.config import Limits

ROWS = [*head(), (10, STANDING)]


def test_a_limit_order_takes_what_crosses_and_rests_with_the_rest(tmp_path: Path) -> None:
    """1.5 BTC at the ask's price: 1 is filled there, 0.5 rests; the level is gone for everyone."""

    async def test() -> None:
        async with serving(tmp_path, ROWS) as site:
            await site.to(10)
            reply = await site.order("BUY", "1.5", "100.00", newClientOrderId="mine")
            assert reply.status == 200
            order = reply.body
            assert (order["status"], order["executedQty"], order["cummulativeQuoteQty"]) == (
                "PARTIALLY_FILLED",
                "1.00000000",
                "100.00000000",
            )
            assert order["fills"] == [
                {
                    "price": "100.00000000",
                    "qty": "1.00000000",
                    "commission": "0.00100000",
                    "commissionAsset": "BTC",
                    "tradeId": 1,
                }
            ]
            depth = (await site.get("/api/v3/depth", symbol=SYMBOL)).body
            assert depth["asks"][0] == ["100.10000000", "2.00000000"]
            known = (await site.signed("GET", "/api/v3/order", symbol=SYMBOL, origClientOrderId="mine")).body
            assert (known["status"], known["orderId"]) == ("PARTIALLY_FILLED", order["orderId"])
            account = (await site.signed("GET", "/api/v3/account")).body
            money = {one["asset"]: (one["free"], one["locked"]) for one in account["balances"]}
            assert money == {"BTC": ("50.99900000", "0.00000000"), "USDT": ("9850.00000000", "50.00000000")}

    run(test())


@pytest.mark.parametrize(
    ("tif", "qty", "status", "filled"),
    [
        ("IOC", "0.4", "FILLED", "0.40000000"),
        ("IOC", "1.5", "EXPIRED", "1.00000000"),
        ("FOK", "1", "FILLED", "1.00000000"),
        ("FOK", "1.0001", "EXPIRED", "0.00000000"),
        ("GTC", "0.4", "FILLED", "0.40000000"),
    ],
)
def test_each_time_in_force(tmp_path: Path, tif: str, qty: str, status: str, filled: str) -> None:
    """IOC takes what there is, FOK all or nothing, and nothing is held afterwards."""

    async def test() -> None:
        async with serving(tmp_path, ROWS) as site:
            await site.to(10)
            order = (await site.order("BUY", qty, "100.00", timeInForce=tif)).body
            assert (order["status"], order["executedQty"]) == (status, filled)
            assert (await site.signed("GET", "/api/v3/openOrders")).body == []
            account = (await site.signed("GET", "/api/v3/account")).body
            assert {one["locked"] for one in account["balances"]} == {"0.00000000"}

    run(test())


def test_market_orders_walk_the_book(tmp_path: Path) -> None:
    """By quantity through two levels; by what is to be spent in whole lots, never more than that."""

    async def test() -> None:
        async with serving(tmp_path, ROWS) as site:
            await site.to(10)
            order = (await site.order("BUY", "2")).body
            assert [(one["price"], one["qty"]) for one in order["fills"]] == [
                ("100.00000000", "1.00000000"),
                ("100.10000000", "1.00000000"),
            ]
            assert (order["status"], order["type"], order["price"]) == ("FILLED", "MARKET", "0.00000000")
            spend = {"symbol": SYMBOL, "side": "BUY", "type": "MARKET", "quoteOrderQty": "50"}
            spent = (await site.signed("POST", "/api/v3/order", **spend)).body
            assert Fraction(50) - Fraction("0.0001") * Fraction("100.10") < Fraction(spent["cummulativeQuoteQty"]) <= 50
            sold = (await site.order("SELL", "1.5")).body
            assert [(one["price"], one["qty"]) for one in sold["fills"]] == [
                ("99.90000000", "1.00000000"),
                ("99.80000000", "0.50000000"),
            ]

    run(test())


def test_a_resting_order_fills_by_the_market_and_cancels(tmp_path: Path) -> None:
    """A bid behind 1 BTC: a sale of 1.3 there fills 0.3 as maker, printed as trades of 0.3 and 1.0; the rest is canceled."""
    rows = [*ROWS, (20, trade(9_990, 130_000, "sell"))]

    async def test() -> None:
        async with serving(tmp_path, rows) as site, site.requests() as ws:
            await site.to(10)
            await site.user_stream(ws)
            order = (await site.order("BUY", "1", "99.90", newClientOrderId="bid")).body
            assert order["status"] == "NEW"
            await site.to(20)
            events = [await _event(ws) for _ in range(4)]
            assert [(one["e"], one.get("x"), one.get("X")) for one in events] == [
                ("executionReport", "NEW", "NEW"),
                ("outboundAccountPosition", None, None),
                ("executionReport", "TRADE", "PARTIALLY_FILLED"),
                ("outboundAccountPosition", None, None),
            ]
            fill = events[2]
            assert (fill["l"], fill["L"], fill["m"], fill["n"], fill["N"]) == (
                "0.30000000",
                "99.90000000",
                True,
                "0.00030000",
                "BTC",
            )
            trades = (await site.get("/api/v3/trades", symbol=SYMBOL)).body
            assert [(one["id"], one["qty"], one["isBuyerMaker"]) for one in trades] == [
                (1, "0.30000000", True),
                (2, "1.00000000", True),
            ]
            gone = await site.signed("DELETE", "/api/v3/order", symbol=SYMBOL, origClientOrderId="bid", newClientOrderId="stop")
            assert (gone.body["status"], gone.body["executedQty"], gone.body["clientOrderId"]) == ("CANCELED", "0.30000000", "stop")
            last = await _event(ws)
            assert (last["x"], last["c"], last["C"]) == ("CANCELED", "stop", "bid")
            again = await site.signed("DELETE", "/api/v3/order", symbol=SYMBOL, origClientOrderId="bid")
            assert again.body == {"code": -2011, "msg": "Unknown order sent."}
            mine = (await site.signed("GET", "/api/v3/myTrades", symbol=SYMBOL)).body
            assert [(one["id"], one["isMaker"], one["quoteQty"]) for one in mine] == [(1, True, "29.97000000")]

    run(test())


async def _event(ws: Any) -> Any:
    message = await ws.receive_json()
    return message["event"]


@pytest.mark.parametrize(
    ("changes", "status", "code", "words"),
    [
        ({"price": "100.005"}, 400, -1013, "PRICE_FILTER"),
        ({"quantity": "0.00015"}, 400, -1013, "LOT_SIZE"),
        ({"quantity": "0.00001"}, 400, -1013, "LOT_SIZE"),
        ({"quantity": "0.0001"}, 400, -1013, "NOTIONAL"),
        ({"quantity": "0.000000001"}, 400, -1111, "too much precision"),
        ({"quantity": "1e3"}, 400, -1100, "quantity"),
        ({"quantity": "0"}, 400, -1013, "quantity"),
        ({"quantity": ""}, 400, -1102, "quantity"),
        ({"symbol": "ETHUSDT"}, 400, -1121, "Invalid symbol."),
        ({"symbol": "btc/usdt"}, 400, -1100, "symbol"),
        ({"side": "LONG"}, 400, -1117, "side"),
        ({"type": "STOP_LOSS"}, 400, -1116, "orderType"),
        ({"timeInForce": "GTD"}, 400, -1115, "timeInForce"),
        ({"type": "MARKET"}, 400, -1106, "price"),
        ({"type": "LIMIT_MAKER"}, 400, -1106, "timeInForce"),
        ({"type": "LIMIT_MAKER", "timeInForce": None}, 400, -2010, "would immediately match"),
        ({"quantity": "1000"}, 400, -2010, "insufficient balance"),
        ({"stopPrice": "90"}, 400, -1106, "stopPrice"),
        ({"newClientOrderId": "a b"}, 400, -1100, "newClientOrderId"),
        ({"timestamp": 1}, 400, -1021, "recvWindow"),
        ({"timestamp": 99_999_999_999_999}, 400, -1021, "ahead"),
        ({"timestamp": ""}, 400, -1102, "timestamp"),
        ({"recvWindow": 60_001}, 400, -1131, "recvWindow"),
        ({"signature": "00"}, 400, -1022, "Signature"),
    ],
)
def test_a_bad_order_is_refused_in_the_exchange_own_words(
    tmp_path: Path, changes: dict[str, Any], status: int, code: int, words: str
) -> None:
    """Each broken rule has its code, and nothing happened."""

    async def test() -> None:
        async with serving(tmp_path, ROWS) as site:
            await site.to(10)
            order = {"symbol": SYMBOL, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.1", "price": "100.00"}
            params = {name: value for name, value in (order | changes).items() if value is not None}
            reply = await site.signed("POST", "/api/v3/order", **params)
            assert (reply.status, reply.body["code"]) == (status, code)
            assert words in reply.body["msg"]
            assert (await site.signed("GET", "/api/v3/allOrders", symbol=SYMBOL)).body == []
            assert {row.cause for row in site.server.desk.ledger} == {"opening"}

    run(test())


@pytest.mark.parametrize(("key", "status", "code"), [("", 401, -2014), ("nobody", 401, -2015), (READ_KEY, 401, -2015)])
def test_a_key_must_exist_and_may_trade(tmp_path: Path, key: str, status: int, code: int) -> None:
    """No key, an unknown one, and one that only reads."""

    async def test() -> None:
        async with serving(tmp_path, ROWS) as site:
            site.key = key
            reply = await site.order("BUY", "0.1", "100.00")
            assert (reply.status, reply.body["code"]) == (status, code)

    run(test())


def test_an_order_that_nobody_knows(tmp_path: Path) -> None:
    """-2013 for a question, -2011 for a cancel, -1102 without any id; a second order under an open order's id is refused."""

    async def test() -> None:
        async with serving(tmp_path, ROWS) as site:
            await site.to(10)
            asked = await site.signed("GET", "/api/v3/order", symbol=SYMBOL, orderId=7)
            assert asked.body == {"code": -2013, "msg": "Order does not exist."}
            canceled = await site.signed("DELETE", "/api/v3/order", symbol=SYMBOL, orderId=7)
            assert canceled.body["code"] == -2011
            assert (await site.signed("GET", "/api/v3/order", symbol=SYMBOL)).body["code"] == -1102
            assert (await site.order("BUY", "0.1", "90.00", newClientOrderId="one")).status == 200
            assert (await site.order("BUY", "0.1", "90.00", newClientOrderId="one")).body["msg"] == "Duplicate order sent."
            assert (
                await site.signed("POST", "/api/v3/order/test", symbol=SYMBOL, side="BUY", type="MARKET", quantity=1)
            ).body == {}

    run(test())


def test_own_orders_never_trade_with_each_other(tmp_path: Path) -> None:
    """An order that would meet the account's own resting one expires in the match."""

    async def test() -> None:
        async with serving(tmp_path, ROWS) as site:
            await site.to(10)
            assert (await site.order("SELL", "0.1", "99.95")).body["status"] == "NEW"
            assert (await site.order("BUY", "0.1", "99.95")).body["status"] == "EXPIRED_IN_MATCH"

    run(test())


def test_too_many_orders_and_requests(tmp_path: Path) -> None:
    """The third order in ten seconds is 429 -1015; weight beyond the minute's is 429 with Retry-After, then a ban, 418."""
    limits = Limits(orders_10s=2, weight_1m=60, tolerated=2, frames_1s=1000)

    async def test() -> None:
        async with serving(tmp_path, ROWS, config=config(limits=limits)) as site:
            await site.to(10)
            replies = [await site.order("BUY", "0.1", "90.00") for _ in range(3)]
            assert [one.status for one in replies] == [200, 200, 429]
            assert replies[2].body["code"] == -1015
            assert replies[1].headers["X-MBX-ORDER-COUNT-10S"] == "2"
            assert replies[2].headers["X-MBX-USED-WEIGHT-1M"] == "3"
            seen = [await site.get("/api/v3/exchangeInfo") for _ in range(7)]
            assert [one.status for one in seen] == [200, 200, 429, 429, 418, 418, 418]
            assert seen[2].body["code"] == -1003
            assert int(seen[2].headers["Retry-After"]) <= 60
            assert "banned" in seen[4].body["msg"]

    run(test())


def test_the_ledger_is_conserved_to_the_last_digit(tmp_path: Path) -> None:
    """Opening plus every movement equals the balances; the sums of the fills, as fractions, say the same."""
    rows = [*ROWS]
    for at in range(20, 400, 10):
        shift = at % 70
        rows.append((at, book([(9_990 - shift, LOTS // 3)], [(10_000 - shift, 77_770), (10_003 - shift, LOTS)])))
        rows.append((at + 5, trade(9_985 - shift, 40_000 + at, "sell")))

    async def test() -> None:
        async with serving(tmp_path, rows) as site:
            for at in range(10, 400, 10):
                await site.to(at)
                await _random_orders(site, at)
            desk = site.server.desk
            booked: Counter[str] = Counter()
            for row in desk.ledger:
                booked[row.asset] += row.change
            assert {("main", "alpha", asset): value for asset, value in booked.items()} == desk.balances()
            sums = {"USDT": Fraction(10_000), "BTC": Fraction(50)}
            shown = await _json(site, "/xarb/orders?account=main")
            fills = [(order["side"], fill) for order in shown for fill in order["fills"]]
            assert len(fills) > 30
            assert {fill["is_maker"] for _, fill in fills} == {True, False}
            for side, fill in fills:
                sign = 1 if side == "buy" else -1
                sums["BTC"] += sign * Fraction(fill["qty"])
                sums["USDT"] -= sign * Fraction(fill["qty"]) * Fraction(fill["price"])
                sums[fill["fee_asset"]] -= Fraction(fill["fee"])
            balances = (await _json(site, "/xarb/balances"))["main"]
            assert {asset: Fraction(value) for asset, value in balances.items()} == sums
            assert (
                sum(Fraction(one["change"]) for one in await _json(site, "/xarb/ledger?account=main") if one["asset"] == "BTC")
                == sums["BTC"]
            )

    run(test())


async def _random_orders(site: Site, at: int) -> None:
    """Orders that cross, rest and are canceled, different at each time."""
    for number in range(4):
        price = f"{(10_000 - at % 70 + (at * 7 + number * 5) % 29 - 16) / 100:.2f}"
        tif = ("GTC", "IOC", "FOK")[(at + number) % 3]
        await site.order(("BUY", "SELL")[(at // 10 + number) % 2], f"{0.1 + (at + number) / 10_000:.4f}", price, timeInForce=tif)
    if at % 50 == 0:
        await site.signed("DELETE", "/api/v3/openOrders", symbol=SYMBOL)


async def _json(site: Site, path: str) -> Any:
    return (await site.get(path)).body


def test_an_instrument_of_unknown_steps_is_shown_and_not_traded(tmp_path: Path) -> None:
    """Listed with status BREAK; limit and market orders are refused before anything is computed from steps."""
    unknown = instrument(("alpha", "BTC/USDT"), 2, 5, native=SYMBOL)
    rows = [head()[0], (0, unknown), (10, STANDING)]

    async def test() -> None:
        async with serving(tmp_path, rows) as site:
            await site.to(10)
            assert (await site.get("/api/v3/exchangeInfo")).body["symbols"][0]["status"] == "BREAK"
            for price in ("100.00", None):
                assert (await site.order("BUY", "1", price)).body["code"] == -2010
            assert (await site.get("/api/v3/depth", symbol=SYMBOL)).body["asks"][0] == ["100.00000000", "1.00000000"]

    run(test())
