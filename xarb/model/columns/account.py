"""Inputs about accounts: what venues say of orders, balances and transfers."""

from __future__ import annotations

from typing import Final

from xarb.model.columns.shared import ACTOR, ENVELOPE, EVENT, MARKET, VENUE
from xarb.model.columns.table import counter, enum, input_table, money, small, text
from xarb.model.columns.words import DIRECTIONS, LIQUIDITY, LIVE_REPORT_EVENTS, REPORT_SOURCES

LIVE_REPORT: Final = (
    *ACTOR,
    *MARKET,
    small("start", "start whose order it is; null when the order is not of this log", nullable=True),
    counter("order", "our order number, counted per start; null when the order is not of this log", nullable=True),
    text("client_order_id", "(log, start, order) as in commands; of another's order the venue's text, empty without one"),
    text("venue_order_id", "the venue's id", nullable=True),
    enum("event", LIVE_REPORT_EVENTS, "what is reported"),
    enum("source", REPORT_SOURCES, "reply to the order or the cancel, user stream, order lookup, or list of trades"),
    text("fill_id", "the venue's trade id, unique per venue and symbol", nullable=True),
    enum("side", DIRECTIONS, "buy or sell where it is known", nullable=True),
    money("price", "fill price in quote asset per unit", nullable=True),
    money("qty", "fill quantity", nullable=True),
    money("cum_qty", "filled so far as the venue states it", nullable=True),
    money("fee", "fee of this fill, positive is paid", nullable=True),
    text("fee_asset", "asset in which the fee is charged", nullable=True),
    enum("liquidity", LIQUIDITY, "taker or maker", nullable=True),
    text("reason", "why, in one word of ours", nullable=True),
    text("error", "the venue's own words, without secrets", nullable=True),
)

ACCOUNTS: Final = (
    input_table(
        "reports",
        "What a real or served venue said of orders, and whether we sent them. A final event follows all fills that it counts.",
        *ENVELOPE,
        EVENT,
        *LIVE_REPORT,
    ),
    input_table(
        "balances",
        "A balance as the venue states it; its strategy is empty.",
        *ENVELOPE,
        EVENT,
        *ACTOR,
        VENUE,
        text("asset", "asset id"),
        money("free", "available"),
        money("locked", "held by open orders"),
    ),
    input_table(
        "transfers",
        "A deposit or withdrawal; its strategy is empty. The same transfer comes again when its status changes.",
        *ENVELOPE,
        EVENT,
        *ACTOR,
        VENUE,
        text("asset", "asset id"),
        text("network", "network name", nullable=True),
        money("qty", "positive in, negative out"),
        money("fee", "fee in the same asset", nullable=True),
        text("transfer_id", "the venue's id", nullable=True),
        text("status", "the venue's word for its state"),
    ),
)
