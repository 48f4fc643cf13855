"""The verb `venues`: what can be recorded and traded where, from the wires of this project and from ccxt's own account of itself."""

from __future__ import annotations

import difflib
from typing import Any, Final, NamedTuple

from xarb.console import Table
from xarb.errors import ConfigError
from xarb.venues.exchange import all_names, exchange
from xarb.venues.orderrules import RULES
from xarb.wires.evm import SIGNATURES
from xarb.wires.exchanges import WIRES, Wire

# Whose REST API finds an order by the id that its client gave it, so that an order of unknown fate can be looked up: documentation of
# each, 2026. Coinbase Advanced Trade knows its own ids only.
_BY_CLIENT_ID: Final = {
    "binance": "origClientOrderId",
    "binanceusdm": "origClientOrderId",
    "binancecoinm": "origClientOrderId",
    "okx": "clOrdId",
    "bybit": "orderLinkId",
    "kraken": "cl_ord_id",
    "kucoin": "clientOid",
    "gate": "text",
    "bitstamp": "client_order_id",
    "upbit": "identifier",
}
_POOLS: Final = {
    "v2": ("Uniswap v2 and forks", "in the config"),
    "v3": ("Uniswap v3, PancakeSwap v3 and forks", "read from the pool"),
}
# Of chains: what keeps transactions or plans from leaving, in the words of its own rows.
_OBJECTIONS: Final = (
    ("another chain, executor or owner", "at a start", "check, live"),
    ("a node that is behind the log, or does not answer as it must", "while it lasts", "status, xarb_chain_objections"),
    (
        "transactions that wait and are not of this log, or of an earlier start",
        "until their fate is known",
        "status, xarb_chain_waiting",
    ),
    ("a nonce that no bid takes back", "until a person looks (halted)", "status, xarb_chain_objections"),
    ("a pool that is drifted, gapped, stale or down", "until its next whole state, or block", "status, xarb_feed_tradable"),
    (
        "nodes of which nobody can say who is right",
        "told once each (rpc_disagree); a minority is left (rpc_distrusted)",
        "status, xarb_health",
    ),
    ("a base fee above what is bid at most, or too little ether for gas", "while it is so", "check, refusals fee_cap and balance"),
)
_STREAMED: Final = {"quotes": ("watchBidsAsks", "watchTicker"), "books": ("watchOrderBook",), "trades": ("watchTrades",)}
_POLLED: Final = {"books": ("fetchOrderBook",), "trades": ("fetchTrades",)}
_COLUMNS: Final = (
    "venue",
    "decoder",
    "channels",
    "continuity",
    "real orders",
    "order by client id",
    "cancel-after timer",
    "if we die",
    "sandbox",
)


class Offer(NamedTuple):
    """What one venue offers.

    Attributes:
        venue: its name in a config.
        exchange: ccxt's id.
        wire: our decoder of its stream, None where ccxt's parsed structures are recorded.
        channels: what can be recorded.
        by_client_id: under which name an order is found by our id, empty where that is not known to work.
        takes_orders: whether xarb sends real orders there.
        has_timer: whether it cancels all orders when it has not heard from us for a while.
        if_we_die: what keeps orders from outliving us there; empty where xarb sends no real ones.
        has_sandbox: whether ccxt knows a test exchange of it.
    """

    venue: str
    exchange: str
    wire: Wire | None
    channels: tuple[str, ...]
    by_client_id: str
    takes_orders: bool
    has_timer: bool
    if_we_die: str
    has_sandbox: bool


def offer(venue: str) -> Offer:
    """What a venue offers.

    Raises:
        ConfigError: neither a wire nor an exchange of ccxt bears this name.
    """
    wire = WIRES.get(venue)
    name = (wire.exchange or wire.venue) if wire else venue
    if wire is None and venue not in all_names():
        near = ", ".join(difflib.get_close_matches(venue, [*WIRES, *all_names()], n=5)) or "none"
        raise ConfigError(f"no venue {venue}; similar ones: {near}")
    client = exchange(name)
    channels = wire.channels if wire else _channels(client.has)
    return Offer(
        venue=venue,
        exchange=name,
        wire=wire,
        channels=channels,
        by_client_id=_BY_CLIENT_ID.get(name, ""),
        takes_orders=venue in RULES,
        has_timer=bool(client.has.get("cancelAllOrdersAfter")),
        if_we_die=_if_we_die(venue),
        has_sandbox=bool(client.has.get("sandbox")) or "test" in client.urls,
    )


def _if_we_die(venue: str) -> str:
    if venue not in RULES:
        return ""
    rule = RULES[venue].countdown
    return "IOC and FOK orders alone" if rule is None else f"countdown of {rule.least_s} to {rule.most_s} s, kept running"


def _channels(has: dict[str, Any]) -> tuple[str, ...]:
    """What ccxt streams, and what else it can be asked for again and again."""
    streamed = [name for name, calls in _STREAMED.items() if any(has.get(call) for call in calls)]
    polled = [f"{name} (polled)" for name, calls in _POLLED.items() if name not in streamed and any(map(has.get, calls))]
    return (*streamed, *polled)


def offers_tables(venue: str | None) -> list[Table]:
    """All venues with a decoder of ours, or one venue in detail.

    Raises:
        ConfigError: no such venue.
    """
    if venue is not None:
        return [_detail(offer(venue))]
    rows = tuple(_row(offer(name)) for name in WIRES)
    others = [name for name in all_names() if name not in {WIRES[one].exchange or one for one in WIRES}]
    return [
        Table("Venues with a decoder of their own: every message, exact, with proof of continuity", _COLUMNS, rows),
        Table(
            f"Through ccxt, {len(others)} others: the latest state only, what came between is lost",
            ("venues", "decoder"),
            ((", ".join(others), "ccxt, coalescing"),),
        ),
        Table(
            "EVM chains, by nodes of yours ([chains.NAME], docs/chains.md): whole blocks in order, reorganisations undone; recorded and, with "
            "[chains.NAME.sending], traded on (docs/sending.md)",
            ("kind", "pools of", "fee", "events"),
            tuple(
                (kind, *_POOLS[kind], ", ".join(dict.fromkeys(one.partition("(")[0] for one in SIGNATURES[kind])))
                for kind in SIGNATURES
            ),
        ),
        Table(
            "What a chain may object to: nothing is sent while one holds; `xarb status` and the metrics tell which",
            ("what", "when", "who sees it"),
            _OBJECTIONS,
        ),
    ]


def _row(one: Offer) -> tuple[str, ...]:
    continuity = one.wire.continuity if one.wire else "none"
    return (
        one.venue,
        "exact" if one.wire else "ccxt, coalescing",
        " ".join(one.channels),
        continuity,
        "yes" if one.takes_orders else "no",
        one.by_client_id or "no",
        "yes" if one.has_timer else "no",
        one.if_we_die or "-",
        "yes" if one.has_sandbox else "no",
    )


def _detail(one: Offer) -> Table:
    rows = [*zip(_COLUMNS, _row(one), strict=True), ("exchange of ccxt", one.exchange)]
    if one.wire is not None:
        wire = one.wire
        rows += [
            ("stream", wire.stream_url or "asked for over REST"),
            ("REST", wire.rest_url),
            ("instruments a connection", f"{wire.max_instruments}"),
            ("given up when silent, s", f"{wire.silence_s}"),
            ("documentation", wire.documentation),
        ]
    return Table(f"Venue {one.venue}", ("what", "value"), tuple(rows))
