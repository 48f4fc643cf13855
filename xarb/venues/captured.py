"""The state of the simulated venues as plain values: all that decides later reports. Money is an int at 18 decimals, times are ns."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from xarb.engine.captured import ChainsCopy, MathsCopy
from xarb.engine.kernel.memory import Memory
from xarb.model.command import AnySwap, CancelOrder, CycleReport, Report, SubmitOrder
from xarb.model.instrument import Instrument


class SentCopy(msgspec.Struct, frozen=True, array_like=True):
    """A command on its way: when it arrives, its number, its response latency, and the one or the other that it is."""

    arrival: int
    ordinal: int
    response: int
    submit: SubmitOrder | None
    cancel: CancelOrder | None


class RestingCopy(msgspec.Struct, frozen=True):
    """An order that rests; see `resting.Order`."""

    command: SubmitOrder
    ordinal: int
    response: int
    price: int
    rest: int
    rate: int
    due: int
    reports: int
    fills: int
    held: tuple[str, int, str, int]
    ahead: int | None
    owed: int


class MatchingCopy(msgspec.Struct, frozen=True):
    """Orders and money.

    `purses` are account, venue, free and held by asset; `outbox` due time, number of the command, number of its report and the report;
    `arrivals` the latest ones by account and venue; `done` state, due time and number of the last report by order; `resting` by instrument.
    """

    instruments: list[Instrument]
    purses: list[tuple[str, str, dict[str, int], dict[str, int]]]
    outbox: list[tuple[int, int, int, Report]]
    arrivals: list[tuple[str, str, list[int]]]
    done: dict[int, tuple[str, int, int]]
    resting: list[tuple[int, list[RestingCopy]]]


class ApartCopy(msgspec.Struct, frozen=True, array_like=True):
    """A pool that is not what the log says, by instrument number; None: unknown. `net` is what simulated swaps put in of both tokens."""

    number: int
    maths: MathsCopy | None
    net: tuple[int, int]


class MinedCopy(msgspec.Struct, frozen=True, array_like=True):
    """A cycle or a path that a block holds, with what it changed by asset."""

    command: AnySwap
    block_hash: str
    block_number: int
    changes: list[tuple[str, int]]


class ChainBlockCopy(msgspec.Struct, frozen=True, array_like=True):
    """A block that may be removed, and the pools that were apart from the log before it."""

    block_hash: str
    apart: list[ApartCopy]


class ChainDealingsCopy(msgspec.Struct, frozen=True):
    """One simulated chain; see `simulated_chain.SimulatedChain`. `balances` are account, asset, amount."""

    venue: str
    coming: list[tuple[int, AnySwap]]
    cancels: list[tuple[int, int]]
    waiting: list[tuple[int, AnySwap]]
    canceled: list[int]
    mined: list[MinedCopy]
    apart: list[ApartCopy]
    kept: list[ChainBlockCopy]
    outbox: list[tuple[int, int, CycleReport]]
    told: int
    balances: list[tuple[str, str, int]]


class ChainsDealingsCopy(msgspec.Struct, frozen=True):
    """All of them, and their pools as the log has them."""

    chains: ChainsCopy = ChainsCopy()
    dealings: list[ChainDealingsCopy] = []


class DealingsCopy(msgspec.Struct, frozen=True):
    """All that is not compiled memory; `sent` is by venue."""

    position: int
    commands: int
    clipped: int
    sent: list[list[SentCopy]]
    matching: MatchingCopy
    chains: ChainsDealingsCopy = ChainsDealingsCopy()  # older copies have none


class VenuesCopy(msgspec.Struct, frozen=True):
    """All simulated venues of a run between two batches."""

    memory: Memory
    dealings: DealingsCopy


def slower(copy: DealingsCopy, quickest: Callable[[int], int]) -> DealingsCopy:
    """The same with no response that is quicker than the least latency (ns) that an instrument's venue has."""
    sent = [[_slower_sent(one, quickest) for one in venue] for venue in copy.sent]
    resting = [
        (number, [msgspec.structs.replace(one, response=max(one.response, quickest(number))) for one in orders])
        for number, orders in copy.matching.resting
    ]
    return msgspec.structs.replace(copy, sent=sent, matching=msgspec.structs.replace(copy.matching, resting=resting))


def _slower_sent(one: SentCopy, quickest: Callable[[int], int]) -> SentCopy:
    command = one.submit or one.cancel
    assert command is not None, "it is the one or the other"
    return msgspec.structs.replace(one, response=max(one.response, quickest(command.instrument)))
