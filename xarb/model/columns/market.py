"""Inputs about markets of any venue: prices, books, prints, and what is known of what is traded."""

from __future__ import annotations

from typing import Final

from xarb.model.columns.shared import ENVELOPE, FEED, MARKET, SCALES, VENUE
from xarb.model.columns.table import Column, Type, counter, enum, flag, input_table, money, text, time, whole
from xarb.model.columns.words import AGGRESSORS, CONTRACT_KINDS, DELTA_VERDICTS, INSTRUMENT_KINDS, LEVELS, SIDES


def _book_columns() -> tuple[Column, ...]:
    columns: list[Column] = []
    for side in SIDES:
        for level in range(LEVELS):
            columns.append(whole(f"{side}_{level:02d}_int", f"{side} price, level {level} from the best", nullable=True))
        for level in range(LEVELS):
            columns.append(whole(f"{side}_qty_{level:02d}_int", f"{side} quantity, level {level}", nullable=True))
    for side in SIDES:
        columns.append(Column(f"{side}_deep_int", Type.INTS, f"{side} prices from level {LEVELS} on", nullable=True))
        columns.append(Column(f"{side}_qty_deep_int", Type.INTS, f"{side} quantities from level {LEVELS} on", nullable=True))
    return tuple(columns)


MARKETS: Final = (
    input_table(
        "quotes",
        "Best bid and ask. An absent side or size is null, never zero.",
        *FEED,
        whole("bid_int", "best bid", nullable=True),
        whole("bid_qty_int", "quantity at the best bid", nullable=True),
        whole("ask_int", "best ask", nullable=True),
        whole("ask_qty_int", "quantity at the best ask", nullable=True),
        *SCALES,
    ),
    input_table(
        "books",
        f"A whole book as of one moment: {LEVELS} levels a side as columns, deeper ones as lists.",
        *FEED,
        *SCALES,
        *_book_columns(),
    ),
    input_table(
        "book_deltas",
        "One changed level. The rows of one message follow each other and end with is_last; an empty message is one row of nulls. "
        "A fetched snapshot and the updates that waited for it are one message: what they left is the book, nothing before.",
        *FEED,
        enum("side", SIDES, "side of the level", nullable=True),
        whole("price_int", "price of the level", nullable=True),
        whole("qty_int", "new quantity of the level; 0 removes it", nullable=True),
        *SCALES,
        flag("is_snapshot", "part of a snapshot: the first such row of a message clears the book"),
        flag("is_last", "last row of its message; the book is a book again after it"),
        enum("verdict", DELTA_VERDICTS, "what the wire session says: apply, old (before the snapshot), unsynced"),
        counter("first_id", "first update id of the message where the venue gives one", nullable=True),
        counter("prev_id", "last update id of the message before where the venue gives one", nullable=True),
    ),
    input_table(
        "trades",
        "A public print. Our own executions are fills.",
        *FEED,
        text("trade_id", "the venue's trade id", nullable=True),
        whole("price_int", "price"),
        whole("qty_int", "quantity"),
        *SCALES,
        enum("aggressor", AGGRESSORS, "side that took liquidity"),
    ),
    input_table(
        "marks",
        "Mark price, index price and funding of a derivative.",
        *FEED,
        whole("mark_int", "mark price", nullable=True),
        whole("index_int", "index price", nullable=True),
        *SCALES,
        money("funding_rate", "funding rate of the current interval, a ratio", nullable=True),
        time("funding_ts", "time of the next funding payment", nullable=True),
    ),
    input_table(
        "instruments",
        "What is known of an instrument from here on; a later row replaces an earlier one, scales only grow.",
        *ENVELOPE,
        *MARKET,
        text("native", "the venue's own name"),
        enum("kind", INSTRUMENT_KINDS, "kind"),
        text("base", "base asset id"),
        text("quote", "quote asset id"),
        text("settle", "settle asset id"),
        *SCALES,
        whole("tick_int", "price step at px_scale", nullable=True),
        whole("lot_int", "quantity step at qty_scale", nullable=True),
        money("min_qty", "smallest order quantity", nullable=True),
        money("min_notional", "smallest order value in quote asset", nullable=True),
        enum("contract", CONTRACT_KINDS, "none for spot"),
        money("contract_size", "value of one contract: base units (linear) or quote units (inverse)", nullable=True),
        time("expiry", "expiry of a dated contract", nullable=True),
        flag("active", "false when trading is halted or the instrument is delisted"),
        text("origin", "file or venue from which this is known"),
    ),
    input_table(
        "wallets",
        "Whether an asset can be deposited and withdrawn on a network.",
        *ENVELOPE,
        VENUE,
        text("asset", "asset id"),
        text("network", "network name"),
        flag("deposit_open", "deposits work"),
        flag("withdraw_open", "withdrawals work"),
        money("withdraw_fee", "fixed fee", nullable=True),
        money("withdraw_min", "smallest withdrawal", nullable=True),
    ),
)
