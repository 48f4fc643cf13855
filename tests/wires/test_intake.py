"""What sessions share around their decoders."""

from __future__ import annotations

import pytest

from tests.wires.instruments import listing
from xarb.wires.events import RejectEvent, WireEvent
from xarb.wires.intake import Intake, best, counter, millis, sides
from xarb.wires.pings import Pings
from xarb.wires.refusal import Refused
from xarb.wires.session import Send


@pytest.mark.parametrize("text", ["", "-1", "+1", " 1", "1.0", "1e3", "\u0661", "9223372036854775808", "0" * 20])
def test_a_counter_is_digits_within_63_bits(text: str) -> None:
    """Signs, blanks, points, exponents, digits of other scripts and larger numbers are none."""
    with pytest.raises(Refused, match="sequence must be a whole number"):
        counter(text, "sequence")


def test_the_largest_counter() -> None:
    """The largest of 63 bits is one."""
    assert counter("9223372036854775807", "sequence") == 2**63 - 1


def test_sides_share_one_scale() -> None:
    """A finer number anywhere brings all levels of the message to its scale."""
    one = listing("kucoin", "BTC-USDT", px_scale=1, qty_scale=0)
    found = sides(one, [("1.5", "2")], [("2.25", "3.5", "77"), ("3", "1")])
    assert found == ([150], [20], [225, 300], [35, 10], 2, 1)


def test_an_empty_side_of_a_quote_is_null() -> None:
    """Size zero empties a side; a size that is not given leaves its price."""
    found = best(listing("kucoin", "BTC-USDT"), 5, 7, ("1.5", None, "2.5", "0"))
    assert (found.bid, found.bid_qty, found.ask, found.ask_qty, found.ts_event, found.venue_seq) == (15, None, None, None, 5, 7)
    found = best(listing("kucoin", "BTC-USDT"), None, None, ("1.5", "0.00", None, "3"))
    assert (found.bid, found.bid_qty, found.ask, found.ask_qty) == (None, None, None, 3 * 10**8)


def test_a_time_in_ms_is_exact_or_absent() -> None:
    """A time of no year from 2000 to 2099 is an error, none stays none."""
    assert millis(None) is None
    assert millis(1_700_000_000_001) == 1_700_000_000_001_000_000
    with pytest.raises(ValueError, match="2000"):
        millis(5)


def test_a_reject_names_the_instrument_that_the_frame_at_hand_names() -> None:
    """Not the one of the frame before."""
    intake = Intake("kucoin", [listing("kucoin", "BTC-USDT")])

    def fails(payload: bytes, native: str | None) -> list[WireEvent]:  # noqa: ARG001  # the signature of a decoder
        if payload == b"named":
            intake.listing("BTC-USDT")
        raise ValueError("x")

    named, unnamed, fetched = (
        intake.guarded(fails, payload, native) for payload, native in ((b"named", None), (b"", None), (b"", "BTC-USDT"))
    )
    rejects = [event for event in (*named, *unnamed, *fetched) if isinstance(event, RejectEvent)]
    assert [(one.rule, one.symbol, one.venue) for one in rejects] == [
        ("bad_number", "BTC-USDT", "kucoin"),
        ("bad_number", None, "kucoin"),
        ("bad_number", "BTC-USDT", "kucoin"),
    ]


def test_pings_keep_their_pace() -> None:
    """The first tick starts the clock, a ping starts it anew."""
    pings = Pings(10, str)
    assert [pings.tick(ts) for ts in (100, 109, 110, 119, 125, 134, 135)] == [
        [],
        [],
        [Send("110")],
        [],
        [Send("125")],
        [],
        [Send("135")],
    ]
