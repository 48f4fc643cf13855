"""Books that start in the stream: when a lost one is subscribed anew, told on OKX's session, whose frames are short."""

from __future__ import annotations

import json

from tests.wires.instruments import listing, told
from xarb.model.units import NANOS_PER_S
from xarb.wires.okx import OkxSession
from xarb.wires.session import Ask, Send

NATIVES = ("BTC-USDT", "ETH-USDT")


def session() -> OkxSession:
    """A session of two books, opened at second 0."""
    one = OkxSession([listing("okx", native) for native in NATIVES], ("deltas",))
    one.open(0)
    return one


def book(native: str, last: int, prev: int, *, is_snapshot: bool = False) -> bytes:
    """An empty book message."""
    item = {"asks": [], "bids": [], "ts": "1597026383085", "checksum": 0, "prevSeqId": prev, "seqId": last}
    arg = {"channel": "books", "instId": native}
    return json.dumps({"arg": arg, "action": "snapshot" if is_snapshot else "update", "data": [item]}).encode()


def begin(one: OkxSession, native: str) -> str:
    """A snapshot arrives."""
    return told(one.receive(book(native, 1, -1, is_snapshot=True)))


def breaks(one: OkxSession, native: str) -> str:
    """An update after a missing one arrives."""
    return told(one.receive(book(native, 9, 8)))


def anew(asks: list[Ask]) -> list[str]:
    """The native names that are subscribed anew."""
    bodies = [json.loads(ask.text) for ask in asks if isinstance(ask, Send) and ask.text != "ping"]
    ended = [arg["instId"] for body in bodies if body["op"] == "unsubscribe" for arg in body["args"]]
    assert ended == [arg["instId"] for body in bodies if body["op"] == "subscribe" for arg in body["args"]]
    return ended


def by_second(one: OkxSession, first: int, last: int) -> dict[int, list[str]]:
    """What each tick from second `first` to `last` subscribes anew."""
    found = {second: anew(one.tick(second * NANOS_PER_S)) for second in range(first, last + 1)}
    return {second: natives for second, natives in found.items() if natives}


def test_a_snapshot_that_does_not_come_is_asked_for_ever_more_slowly() -> None:
    """After 10 s and what sending takes, then 20, then 40, at last every 320 s; a book that came is left alone."""
    one = session()
    begin(one, "BTC-USDT")
    assert list(by_second(one, 1, 1300)) == [11, 31, 71, 151, 311, 631, 951, 1271]
    assert begin(one, "ETH-USDT") == "snapshot 1 apply"
    assert by_second(one, 1301, 2000) == {}


def test_the_first_loss_is_answered_at_once_and_alone() -> None:
    """The frame that shows the break is followed by the request, which names no other book and is not repeated."""
    one = session()
    assert [begin(one, native) for native in NATIVES] == ["snapshot 1 apply"] * 2
    assert breaks(one, "ETH-USDT") == "gap, 9 unsynced"
    assert anew(one.asks()) == ["ETH-USDT"]
    assert breaks(one, "ETH-USDT") == "9 unsynced"
    assert one.asks() == []
    assert told(one.receive(book("BTC-USDT", 2, 1))) == "2 apply"


def test_a_book_that_breaks_at_once_again_waits() -> None:
    """No storm: the next request comes 20 s after the first, the one after that 40 s later."""
    one = session()
    for native in NATIVES:
        begin(one, native)
    one.tick(1000 * NANOS_PER_S)
    breaks(one, "BTC-USDT")
    assert anew(one.asks()) == ["BTC-USDT"]
    assert begin(one, "BTC-USDT") == "resync, snapshot 1 apply"
    breaks(one, "BTC-USDT")
    assert one.asks() == []
    assert by_second(one, 1001, 1059) == {1020: ["BTC-USDT"]}
    begin(one, "BTC-USDT")
    breaks(one, "BTC-USDT")
    assert by_second(one, 1060, 1061) == {1060: ["BTC-USDT"]}


def test_a_book_that_held_for_a_minute_is_trusted_again() -> None:
    """Its next loss is answered at once, as if it were the first."""
    one = session()
    for native in NATIVES:
        begin(one, native)
    for start in range(1000, 1361, 60):
        one.tick(start * NANOS_PER_S)
        breaks(one, "BTC-USDT")
        assert anew(one.asks()) == ["BTC-USDT"]
        begin(one, "BTC-USDT")


def test_a_session_that_only_decodes_asks_nothing_on_its_own() -> None:
    """Without channels, as an import or a derivation from raw frames has it, no subscription is expected."""
    one = OkxSession([listing("okx", "BTC-USDT")])
    assert one.open(0) == []
    assert by_second(one, 1, 15) == {}
    assert OkxSession([], ("deltas",)).open(0) == []
