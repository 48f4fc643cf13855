"""What a wire session hands back: decoded facts, before they have a place in a log.

Prices and quantities are integers at the `px_scale` and `qty_scale` of the event, which may be finer than those of earlier events
of the same listing, never coarser than its instrument. Times are ns. Enums are indices into the tables of `model/columns`.
"""

from __future__ import annotations

from typing import Final

import msgspec

from xarb.model.units import Money
from xarb.wires.decimals import Listing

BID: Final = 0
ASK: Final = 1
APPLY: Final = 0
OLD: Final = 1
UNSYNCED: Final = 2
BUY: Final = 0
SELL: Final = 1
UNKNOWN: Final = 2
PAYLOAD_LIMIT: Final = 4096  # characters of an offending text that a reject keeps


class QuoteEvent(msgspec.Struct, frozen=True, gc=False):
    """Best bid and ask; None is an absent side or size."""

    listing: Listing
    ts_event: int | None
    venue_seq: int | None
    bid: int | None
    bid_qty: int | None
    ask: int | None
    ask_qty: int | None
    px_scale: int
    qty_scale: int


class DepthEvent(msgspec.Struct, frozen=True, gc=False):
    """One book message: bids first, then asks, each in the order of the wire; empty lists are an empty message.

    With `is_last` False the next event belongs to the same message, which moves a book only at its end: a fetched snapshot and the
    updates that waited for it. Only depth of the same listing comes in between.
    """

    listing: Listing
    ts_event: int | None
    venue_seq: int | None
    first_id: int | None
    prev_id: int | None
    is_snapshot: bool
    verdict: int
    bids: list[int]
    bid_qtys: list[int]
    asks: list[int]
    ask_qtys: list[int]
    px_scale: int
    qty_scale: int
    is_last: bool = True


class BookEvent(msgspec.Struct, frozen=True, gc=False):
    """A whole book of stated depth, each side from the best level."""

    listing: Listing
    ts_event: int | None
    venue_seq: int | None
    bids: list[int]
    bid_qtys: list[int]
    asks: list[int]
    ask_qtys: list[int]
    px_scale: int
    qty_scale: int


class TradeEvent(msgspec.Struct, frozen=True, gc=False):
    """A public print."""

    listing: Listing
    ts_event: int | None
    venue_seq: int | None
    trade_id: str | None
    price: int
    qty: int
    aggressor: int
    px_scale: int
    qty_scale: int


class MarkEvent(msgspec.Struct, frozen=True, gc=False):
    """Mark price, index price and funding of a derivative; `funding_rate` is a ratio at 18 decimals."""

    listing: Listing
    ts_event: int | None
    mark: int | None
    index: int | None
    funding_rate: Money | None
    funding_ts: int | None
    px_scale: int
    qty_scale: int


class LinkEvent(msgspec.Struct, frozen=True, gc=False):
    """Something that happened to the connection or to one symbol on it; `event` is one of `CONNECTION_EVENTS`."""

    venue: str
    symbol: str | None
    event: str
    detail: str | None = None
    source: str | None = None
    time_rule: str | None = None


class RejectEvent(msgspec.Struct, frozen=True, gc=False):
    """Bad input: the rule that it broke, what was wrong, and the text itself (cut to 4,096 characters).

    `line` counts lines or rows of the source from 1; None where there are none.
    """

    rule: str
    detail: str
    payload: str | None = None
    venue: str | None = None
    symbol: str | None = None
    line: int | None = None


WireEvent = QuoteEvent | DepthEvent | BookEvent | TradeEvent | MarkEvent | LinkEvent | RejectEvent


def readable(payload: bytes | str) -> str:
    r"""The payload as text for a reject: bytes that are no UTF-8 appear as `\\xNN`, cut to 4,096 characters."""
    if isinstance(payload, str):
        return payload[:PAYLOAD_LIMIT].encode("utf-8", "backslashreplace").decode()[:PAYLOAD_LIMIT]
    return payload[: 4 * PAYLOAD_LIMIT].decode("utf-8", "backslashreplace")[:PAYLOAD_LIMIT]
