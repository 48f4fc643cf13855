"""How each exchange wants an order: parameters, lookups, request weights and limits, each with where it is written.

Orders go only to an exchange of this table: ccxt's unified parameters do not hold everywhere (`clientOrderId` is dropped without a word
by one exchange, `timeInForce` by another), and an order that cannot be looked up by our id has no safe end to an unknown fate.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple

from xarb.errors import ConfigError
from xarb.venues.budgets import Limit
from xarb.venues.replies import UnreadableReply

Params = dict[str, Any]
CALLS: Final = (
    "submit",
    "cancel",
    "lookup",
    "open",
    "order_trades",
    "trades",
    "balances",
    "fees",
    "transfers",
    "wallets",
    "rights",
    "markets",
    "time",
    "countdown",
)


class TradesAsked(NamedTuple):
    """Which trades: of one order, by the exchange's id, or those of a span of the exchange's time, Unix ms; at most `page`."""

    order: str | None
    since_ms: int | None
    until_ms: int | None
    page: int


class Published(NamedTuple):
    """Limits as an exchange publishes them."""

    weight: tuple[Limit, ...]
    orders: tuple[Limit, ...]


class CountdownRule(NamedTuple):
    """How an exchange is told to cancel everything of an account when it hears no more of it.

    ask: has a client set the countdown, ms, or switch it off with 0. runs: whether a reply says that it runs. least_s, most_s: whole
    seconds that it takes.
    """

    ask: Callable[[Any, int], Awaitable[Any]]
    runs: Callable[[Any], bool]
    least_s: int
    most_s: int


class OrderRules(NamedTuple):
    """One exchange.

    create: ccxt parameters of a limit order from time in force (`ioc`, `fok`, `gtc`), post-only and client id.
    by_id: ccxt parameters that name an order by client id, for lookup and cancel.
    weights: cost of each of CALLS in the address's request weight.
    weight_limits: of the address; order_limits: of the account, new orders alone.
    used: header that states the weight used, and over how many seconds; orders_used: the same of orders.
    published: asks a client for the limits that the exchange publishes, of weight and of orders; None: it publishes none.
    acknowledges: the replies to an order and to a cancel only say that they arrived.
    stream: which protocol of `userstream.py` it speaks; empty: none, its orders are polled.
    trades: asks a client for trades; page: how many it gives at once; is_newest_first: which end it starts from.
    countdown: cancels everything of an account that is not heard of in time; None: it has none.
    source: where this is written, and as of when.
    """

    create: Callable[[str, bool, str], Params]
    by_id: Callable[[str], Params]
    weights: Mapping[str, int]
    weight_limits: tuple[Limit, ...]
    order_limits: tuple[Limit, ...]
    source: str
    trades: Callable[[Any, str, TradesAsked], Awaitable[Any]]
    used: tuple[str, int] | None = None
    orders_used: tuple[tuple[str, int], ...] = ()
    published: Callable[[Any, str], Awaitable[Published]] | None = None
    acknowledges: bool = False
    stream: str = ""
    page: int = 1000
    is_newest_first: bool = False
    countdown: CountdownRule | None = None


_INTERVALS: Final = {"SECOND": 1, "MINUTE": 60, "HOUR": 3_600, "DAY": 86_400}


def _unified(tif: str, post_only: bool, client_id: str) -> Params:  # noqa: FBT001  # the table's one signature
    """What ccxt unifies, checked for each exchange that uses it."""
    return {"clientOrderId": client_id} | ({"postOnly": True} if post_only else {"timeInForce": tif.upper()})


async def _binance_limits(client: Any, symbol: str) -> Published:
    """`rateLimits` of exchangeInfo, which ccxt does not keep."""
    reply = await client.publicGetExchangeInfo({"symbol": client.market(symbol)["id"]})
    listed = reply.get("rateLimits") if isinstance(reply, Mapping) else None
    found: dict[str, list[Limit]] = {"REQUEST_WEIGHT": [], "ORDERS": []}
    for one in listed or ():
        seconds = _INTERVALS.get(one["interval"])
        if one["rateLimitType"] in found and seconds is not None:
            found[one["rateLimitType"]].append(Limit(count=int(one["limit"]), seconds=seconds * int(one["intervalNum"])))
    return Published(tuple(found["REQUEST_WEIGHT"]), tuple(found["ORDERS"]))


async def _unified_trades(client: Any, symbol: str, asked: TradesAsked) -> Any:
    if asked.order is not None:
        return await client.fetch_order_trades(asked.order, symbol)
    return await client.fetch_my_trades(symbol, asked.since_ms, asked.page)


async def _okx_trades(client: Any, symbol: str, asked: TradesAsked) -> Any:
    """The list of the last three days: what ccxt unifies is the history, which lags."""
    market = client.market(symbol)
    wanted = {"ordId": asked.order, "begin": asked.since_ms, "end": asked.until_ms, "limit": asked.page}
    request = {"instType": "SPOT", "instId": market["id"], **{name: str(v) for name, v in wanted.items() if v is not None}}
    reply = await client.privateGetTradeFills(request)
    return client.parse_trades(reply["data"], market) if isinstance(reply, Mapping) and "data" in reply else reply


def _okx_runs(reply: Any) -> bool:
    """`triggerTime` is 0 when it is off.

    Raises:
        UnreadableReply: the reply does not say.
    """
    data = reply.get("data") if isinstance(reply, Mapping) else None
    text = str(data[0].get("triggerTime", "")) if isinstance(data, list) and data and isinstance(data[0], Mapping) else ""
    if not (text.isascii() and text.isdigit()):
        raise UnreadableReply("the reply does not say when the countdown ends")
    return int(text) > 0


RULES: Final[dict[str, OrderRules]] = {
    "binance": OrderRules(
        create=_unified,
        by_id=lambda client_id: {"origClientOrderId": client_id},
        weights={
            "submit": 1,
            "cancel": 1,
            "lookup": 4,
            "open": 6,
            "order_trades": 5,
            "trades": 20,
            "balances": 20,
            "fees": 1,
            "transfers": 2,
            "wallets": 10,
            "rights": 1,
            "markets": 20,
            "time": 1,
            "countdown": 1,
        },
        weight_limits=(Limit(count=6000, seconds=60),),
        trades=_unified_trades,
        order_limits=(Limit(count=100, seconds=10), Limit(count=200_000, seconds=86_400)),
        used=("X-MBX-USED-WEIGHT-1M", 60),
        orders_used=(("X-MBX-ORDER-COUNT-10S", 10), ("X-MBX-ORDER-COUNT-1D", 86_400)),
        published=_binance_limits,
        stream="binance",
        source="Binance spot rest-api.md and exchangeInfo rateLimits, 2026",
    ),
    "okx": OrderRules(
        create=_unified,
        by_id=lambda client_id: {"clOrdId": client_id},
        # Its limits are by call: 60 in 2 s where orders are concerned. A call that it allows less often costs more of one pool of 60.
        weights={
            **dict.fromkeys(CALLS, 1),
            "submit": 0,
            "balances": 6,
            "fees": 12,
            "transfers": 5,
            "wallets": 5,
            "rights": 12,
            "markets": 3,
            "time": 6,
        },
        weight_limits=(Limit(count=60, seconds=2),),
        order_limits=(Limit(count=60, seconds=2),),
        acknowledges=True,
        stream="okx",
        trades=_okx_trades,
        page=100,
        is_newest_first=True,
        countdown=CountdownRule(lambda client, ms: client.cancel_all_orders_after(ms), _okx_runs, least_s=10, most_s=120),
        source="OKX v5, rate limit of each call: orders 60 in 2 s, balance and time 10, fee rates and config 5, currencies 12, cancel-all-after 2 (`countdown.py` asks less often), 2026",
    ),
}


def rules_of(exchange: str) -> OrderRules:
    """The rules of an exchange.

    Raises:
        ConfigError: orders are not possible there.
    """
    if exchange not in RULES:
        raise ConfigError(f"{exchange}: real orders are possible at {', '.join(RULES)}; elsewhere only paper trading is")
    return RULES[exchange]


def countdown_of(exchange: str, timeout_ms: int) -> CountdownRule | None:
    """How an exchange counts down from so many ms; None: it cannot, or is not to.

    Raises:
        ConfigError: orders are not possible there, or it does not count down from so much.
    """
    rule, (seconds, rest) = rules_of(exchange).countdown, divmod(timeout_ms, 1000)
    if rule is None or timeout_ms == 0:
        return None
    if rest or not rule.least_s <= seconds <= rule.most_s:
        raise ConfigError(
            f"cancel_after_ms = {timeout_ms}: {exchange} takes 0, or whole seconds from {rule.least_s * 1000} to {rule.most_s * 1000}"
        )
    return rule
