"""What keeps a strategy of cycles from trading an instrument, and whether anything goes round on the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from xarb.assembly import rounds
from xarb.assembly.onchain import cex_dex, dex_dex
from xarb.assembly.resolved import Resolved, graph_of
from xarb.model.instrument import Instrument

Blocker = Callable[[int], str | None]  # what keeps an instrument from being traded


class Rounds(NamedTuple):
    """Instruments with what keeps each from being traded (None: nothing), how many cycles of assets there are on the others, and what is left out."""

    verdicts: list[tuple[int, str | None]]
    cycles: int
    left_out: tuple[str, ...] = ()


def rounds_of(resolved: Resolved, name: str, instruments: Sequence[Instrument], blocker: Blocker) -> Rounds:
    """What the triangular strategy `name` can go through.

    Raises:
        ConfigError: as `graph_of`.
    """
    verdicts = [(number, blocker(number)) for number in graph_of(resolved, name, instruments).instruments]
    found = rounds.rounds_of(resolved, name, instruments, {number for number, why in verdicts if why is None})
    return Rounds(verdicts, sum(one.looked_at for one in found), tuple(one.told for one in found if one.left_out))


def paths_of(
    resolved: Resolved, name: str, instruments: Sequence[Instrument], opening: Mapping[tuple[str, str, str], int], blocker: Blocker
) -> Rounds:
    """What the strategy `name` can swap and hedge, and how many paths have all that they need: gas, and on one side what they spend.

    Raises:
        ConfigError: as `cex_dex`.
    """
    made = cex_dex(resolved, name, instruments, ({}, {}))
    used = {number for way in made.ways for number, _ in way.path.places}
    verdicts: list[tuple[int, str | None]] = []
    for venue, chain in made.chains.items():
        native = resolved.onchain[venue].own.native
        gas = opening.get((made.account, venue, native), 0)
        why = None if gas else f"balance: {made.account} has no {native} on {venue} to pay gas"
        verdicts += [(number, why) for number, _, _ in chain.pools if number in used]
    verdicts += [(number, blocker(number)) for number in sorted({way.market.number for way in made.ways})]
    good = {number for number, why in verdicts if why is None}
    count = 0
    for way in made.ways:
        market = instruments[way.market.number]
        spends = market.base if way.side == "bid" else market.quote
        places = ((made.account, way.venue, way.path.token_in), (made.account, market.venue, spends))
        needs = {way.market.number, *(number for number, _ in way.path.places)}
        count += needs <= good and all(opening.get(place, 0) > 0 for place in places)
    return Rounds(verdicts, count)


def pools_of(
    resolved: Resolved, name: str, instruments: Sequence[Instrument], opening: Mapping[tuple[str, str, str], int]
) -> Rounds:
    """What the strategy `name` can go through on chains.

    Raises:
        ConfigError: as `dex_dex`.
    """
    made = dex_dex(resolved, name, instruments)
    verdicts: list[tuple[int, str | None]] = []
    for venue, chain in made.chains.items():
        native = resolved.onchain[venue].own.native
        gas = opening.get((made.account, venue, native), 0)
        why = None if gas else f"balance: {made.account} has no {native} on {venue} to pay gas"
        verdicts += [(number, why) for number, _, _ in chain.pools]
    can = any(why is None for _, why in verdicts)
    return Rounds(verdicts, sum(len(one) for one in made.cycles.values()) if can else 0)
