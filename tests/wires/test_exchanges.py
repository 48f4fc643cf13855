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
