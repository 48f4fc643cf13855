"""Valid frames made wrong: what a Hypothesis test of a session feeds to it, and what it must do with that."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from xarb.log.packing import pack
from xarb.wires.events import RejectEvent, WireEvent
from xarb.wires.rows import Link, RowBuilder
from xarb.wires.session import Session

VALUES: list[Any] = [
    None,
    True,
    -1,
    0,
    2**63,
    10**400,
    1.5,
    1e300,
    "",
    "NaN",
    "-0",
    "1e999",
    "9" * 5000,
    "0." + "0" * 40 + "1",
    "é",
    [],
    [[]],
    [["1"]],
    {},
    {"a": 1},
]


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values inside a JSON value."""
    found: list[tuple[Any, ...]] = []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found.append((*path, key))
        found += _places(inner, (*path, key))
    return found


@st.composite
def mutated(draw: st.DrawFn, frames: Sequence[bytes]) -> bytes:
    """A frame of `frames` cut short, with changed, removed or repeated bytes, or with a value replaced, removed or repeated."""
    frame = draw(st.sampled_from(frames))
    how = draw(st.sampled_from(["cut", "bytes", "drop", "repeat", "value", "remove", "twice"]))
    if how in {"value", "remove", "twice"}:
        body = json.loads(frame, parse_float=str)
        places = _places(body)
        if not places:
            return b"{}"
        *path, key = draw(st.sampled_from(places))
        inner = body
        for step in path:
            inner = inner[step]
        if how == "value":
            inner[key] = draw(st.sampled_from(VALUES))
        elif how == "remove":
            del inner[key]
        elif isinstance(inner, list):
            inner.insert(key, inner[key])
        return json.dumps(body).encode()
    start = draw(st.integers(0, len(frame) - 1))
    end = draw(st.integers(start, min(len(frame), start + 40)))
    return {
        "cut": frame[:start],
        "bytes": frame[:start] + draw(st.binary(max_size=5)) + frame[end:],
        "drop": frame[:start] + frame[end:],
        "repeat": frame[:end] + frame[start:],
    }[how]


def writable(venue: str, events: Sequence[WireEvent], builder: RowBuilder | None = None) -> None:
    """Assert that a log takes the rows of the events, and that every reject says what it is about."""
    builder = builder or RowBuilder(0, 1)
    for event in events:
        builder.add(1, Link(0, venue, "test"), event)
        assert not isinstance(event, RejectEvent) or (event.rule and event.detail and event.payload is not None)
    for kind, rows in builder.take().items():
        pack(kind, rows)


def endured(session: Session, venue: str, payload: bytes, native: str | None = None) -> None:
    """Assert that a frame, or the answer to a request for `native`, becomes events that a log takes."""
    events = session.receive(payload, native)
    assert events
    writable(venue, events)
    session.asks()


def endured_all(session: Session, venue: str, *payloads: bytes) -> None:
    """Assert that frames, one after another, become what a log takes, if anything."""
    for payload in payloads:
        writable(venue, session.receive(payload))
        session.asks()


def rejected(session: Session, payload: bytes, rule: str) -> None:
    """Assert that a frame becomes one reject with that rule and its text."""
    (found,) = session.receive(payload)
    assert isinstance(found, RejectEvent)
    assert (found.rule, found.payload) == (rule, payload.decode())
