"""The table of exchanges: every wire can be opened and says what it offers."""

from __future__ import annotations

import pytest

from xarb.wires.exchanges import WIRES, Wire


@pytest.mark.parametrize("wire", WIRES.values(), ids=WIRES)
def test_a_wire_makes_sessions_of_its_venue(wire: Wire) -> None:
    """A session without instruments carries the venue's name, asks nothing after nothing, and rejects what is no message."""
    session = wire.session([], wire.channels)
    assert session.venue == wire.venue
    assert session.asks() == []
    assert [type(event).__name__ for event in session.receive(b"\xff{")] == ["RejectEvent"]
    assert wire.stream_url.startswith("wss://") or wire.lookup is not None
    assert wire.rest_url.startswith("https://")


@pytest.mark.parametrize("wire", WIRES.values(), ids=WIRES)
def test_a_wire_says_what_it_carries(wire: Wire) -> None:
    """Each service of an exchange with several names its markets, and no two of them carry the same; marks are of contracts."""
    others = [
        other for other in WIRES.values() if (other.exchange or other.venue) == (wire.exchange or wire.venue) and other is not wire
    ]
    assert all(not set(wire.markets) & set(other.markets) for other in others)
    assert wire.markets or not others
    assert ("marks" in wire.channels) <= (wire.markets != ("spot",))
    assert set(wire.markets) <= {"spot", "linear", "inverse"}
    assert wire.max_instruments > 0
    assert wire.silence_s > 0
    assert wire.continuity
    assert "20" in wire.documentation, "as of when"
