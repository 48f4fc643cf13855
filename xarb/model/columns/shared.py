"""Columns that several tables share."""

from __future__ import annotations

from typing import Final

from xarb.model.columns.table import Column, Encoding, Type, counter, small, text, time

SEQ: Final = counter("seq", "our order: gap-free over all inputs of the log")
RECV: Final = time("ts_recv", "our receive time; never decreases within a log")
EVENT: Final = time("ts_event", "the venue's time; null where the venue gives none", nullable=True)
ENVELOPE: Final = (SEQ, RECV)
VENUE: Final = text("venue", "venue id, lower case")
SYMBOL: Final = text("symbol", "unified symbol such as BTC/USDT or BTC/USD:BTC")
FEED: Final = (
    SEQ,
    RECV,
    EVENT,
    small("conn", "connection that delivered the row; see connections"),
    VENUE,
    SYMBOL,
    counter("venue_seq", "the venue's own counter; null where it has none", nullable=True),
)
SCALES: Final = (
    Column("px_scale", Type.INT8, "decimals of every price in the row"),
    Column("qty_scale", Type.INT8, "decimals of every quantity in the row"),
)
OUTPUT: Final = (
    counter("after_seq", "seq of the last input applied before this output"),
    Column("n", Type.INT32, "ordinal among the outputs after that input", encoding=Encoding.DELTA),
    time("ts", "engine time: ts_recv of that input, or the time of the deadline, timer or report that caused it"),
)
ACTOR: Final = (text("account", "account id"), text("strategy", "strategy id"))
MARKET: Final = (VENUE, SYMBOL)
