"""How each exchange wants an order: parameters, lookups, request weights and limits, each with where it is written.

Orders go only to an exchange of this table: ccxt's unified parameters do not hold everywhere (`clientOrderId` is dropped without a word
by one exchange, `timeInForce` by another), and an order that cannot be looked up by our id has no safe end to an unknown fate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from xarb.errors import ConfigError
from xarb.venues.limits import Limit

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
)


class OrderRules(NamedTuple):
    """One exchange.

    create: ccxt parameters of a limit order from time in force (`ioc`, `fok`, `gtc`), post-only and client id.
    by_id: ccxt parameters that name an order by client id, for lookup and cancel.
    weights: cost of each of CALLS in the address's request weight.
    weight_limits: of the address; order_limits: of the account, new orders alone.
    used: header that states the weight used, and over how many seconds.
    acknowledges: the replies to an order and to a cancel only say that they arrived.
    stream: which protocol of `userstream.py` it speaks; empty: none, its orders are polled.
    trades_params: ccxt parameters of the list of trades of one order.
    source: where this is written, and as of when.
    """

    create: Callable[[str, bool, str], Params]
    by_id: Callable[[str], Params]
    weights: Mapping[str, int]
    weight_limits: tuple[Limit, ...]
    order_limits: tuple[Limit, ...]
    source: str
    used: tuple[str, int] | None = None
    acknowledges: bool = False
    stream: str = ""
    trades_params: Params = {}  # noqa: RUF012  # never written to


def _unified(tif: str, post_only: bool, client_id: str) -> Params:  # noqa: FBT001  # the table's one signature
    """What ccxt unifies, checked for each exchange that uses it."""
    return {"clientOrderId": client_id} | ({"postOnly": True} if post_only else {"timeInForce": tif.upper()})


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
        },
        weight_limits=(Limit(count=6000, seconds=60),),
        order_limits=(Limit(count=100, seconds=10), Limit(count=200_000, seconds=86_400)),
        used=("X-MBX-USED-WEIGHT-1M", 60),
        stream="binance",
        source="Binance spot rest-api.md and exchangeInfo rateLimits, 2026",
    ),
    "okx": OrderRules(
        create=_unified,
        by_id=lambda client_id: {"clOrdId": client_id},
        weights={**dict.fromkeys(CALLS, 1), "submit": 0},
        weight_limits=(Limit(count=10, seconds=2),),  # the least of any call of ours: balance, fees and currencies take 5 to 10
        order_limits=(Limit(count=60, seconds=2),),
        acknowledges=True,
        stream="okx",
        trades_params={"method": "privateGetTradeFills"},
        source="OKX v5: place order 60 in 2 s, order details 60 in 2 s, balance 10 in 2 s, 2026",
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
