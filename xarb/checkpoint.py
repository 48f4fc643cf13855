"""The whole state of an assembly as bytes, and back: the engine with its strategies and, on paper, the simulated venues.

Compiled memory is kept as the bytes that it is, everything else as JSON text, because money goes beyond 64 bits.
"""

from __future__ import annotations

import msgspec

from xarb.assembly import Assembly
from xarb.engine.captured import DecisionsCopy, EngineCopy
from xarb.engine.kernel.memory import Memory
from xarb.errors import LogError
from xarb.venues.captured import DealingsCopy, VenuesCopy


class State(msgspec.Struct, frozen=True, array_like=True):
    """The parts: memory and text of the engine, memory and text of the simulated venues."""

    memory: Memory
    decisions: bytes
    venue_memory: Memory | None
    dealings: bytes | None


def capture(assembly: Assembly) -> bytes:
    """The state between two batches.

    Raises:
        InvariantBroken: commands or rows were not taken yet.
    """
    engine = assembly.engine.capture()
    venues = None if assembly.venues is None else assembly.venues.capture()
    return msgspec.msgpack.encode(
        State(
            engine.memory,
            msgspec.json.encode(engine.decisions),
            None if venues is None else venues.memory,
            None if venues is None else msgspec.json.encode(venues.dealings),
        )
    )


def restore(assembly: Assembly, data: bytes) -> None:
    """Lay a state into an assembly of the same start that has applied nothing.

    Raises:
        LogError: it is of another config, mode or version.
    """
    try:
        state = msgspec.msgpack.decode(data, type=State)
        decisions = msgspec.json.decode(state.decisions, type=DecisionsCopy)
        dealings = None if state.dealings is None else msgspec.json.decode(state.dealings, type=DealingsCopy)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise LogError(f"the state of a checkpoint cannot be read: {error}") from None
    venues = assembly.venues
    if (venues is None) != (dealings is None or state.venue_memory is None):
        raise LogError("a checkpoint of real trading does not fit a start on paper, nor the other way round")
    assembly.engine.restore(EngineCopy(state.memory, decisions))
    if venues is not None and dealings is not None and state.venue_memory is not None:
        venues.restore(VenuesCopy(state.venue_memory, dealings))
