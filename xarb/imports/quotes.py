"""One row of a quote file, as text, to a quote: what the CSV and the Parquet reader share."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from xarb.model.units import INT64_MAX
from xarb.wires.events import QuoteEvent, RejectEvent, readable
from xarb.wires.times import checked, nanos_of

if TYPE_CHECKING:
    from xarb.imports.sources import Source
    from xarb.imports.tape import Tape


class QuoteText(NamedTuple):
    """The cells of one row; None is an absent column or an empty cell. Field names are those of `sources.QUOTE_COLUMNS`."""

    ts_recv: str | None
    ts_event: str | None
    bid: str | None
    bid_qty: str | None
    ask: str | None
    ask_qty: str | None
    venue: str | None
    symbol: str | None
    venue_seq: str | None


def quote_event(source: Source, tape: Tape, row: QuoteText, line: int, payload: str) -> QuoteEvent | RejectEvent:
    """The quote of a row, or the reject that it is; moves the tape's clock when the row has a time in order."""
    unit = source.time_unit or "ns"
    venue, symbol = source.venue or row.venue, source.symbol or row.symbol
    try:
        ts_event = None if row.ts_event is None else nanos_of(row.ts_event, unit)
        if source.time_rule is None:
            ts_recv = nanos_of(row.ts_recv or "", unit)
        else:
            if ts_event is None:
                raise ValueError("no venue time, from which the receive time is made")
            ts_recv = checked(ts_event + source.rule_ns)
    except ValueError as error:
        return RejectEvent("bad_time", str(error), readable(payload), venue, symbol, line)
    listing = tape.listings.find(venue or "", symbol or "")
    if listing is None:
        return RejectEvent("unknown_instrument", f"no instrument {symbol}@{venue}", readable(payload), venue, symbol, line)
    late = tape.backwards(ts_recv, line, payload, venue)
    if late is not None:
        return late
    if row.bid is None and row.ask is None:
        return RejectEvent("empty_quote", "neither bid nor ask", readable(payload), venue, symbol, line)
    try:
        venue_seq = None if row.venue_seq is None else _counter(row.venue_seq)
        numbers = listing.quote(row.bid, row.bid_qty, row.ask, row.ask_qty)
    except ValueError as error:
        return RejectEvent("bad_number", str(error), readable(payload), venue, symbol, line)
    return QuoteEvent(listing, ts_event, venue_seq, *numbers, *listing.scales)


def _counter(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text[:20]) > INT64_MAX:
        raise ValueError(f"venue_seq {text!r} is no counter")
    return int(text)
