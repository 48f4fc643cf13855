"""Text tables for the simulated venue: inputs and commands line by line, the reports that must follow.

    0    a q 100 5 101 5        a quote of instrument a at 0 ms: bid, size, ask, size; `-` is null
    1    a t 101 3 buy          a public trade: price, size, aggressor
    2    a b 100x5 99x2 / 101x1 a whole book: bids / asks, best first
    3    a d bid 100 4          one changed level; `snap` and `more` (not the last of its message) may follow
    4    a c gap                a connection row of the instrument
    > buy 1 ioc 3@101           an order decided after the line above; `post` may follow
    > cancel 1
    = 15 1 fill 3@101 taker     a report: when it reached the engine (ms), and what it says

Instruments are letters, in the order of the setup. All reports must be listed, in order.
"""

from __future__ import annotations

from typing import Any

from tests.instruments import instrument as plain_instrument
from tests.venues.market import MS, Row, plain_model, play, setup_of, submit, text
from tests.venues.market import cancel as cancel_of
from xarb.model.command import Command
from xarb.model.instrument import Instrument
from xarb.venues.simulated import SimulatedVenues
from xarb.venues.terms import VenueModel, VenueSetup


def check(
    table: str,
    *,
    model: VenueModel | None = None,
    models: dict[str, VenueModel] | None = None,
    setup: VenueSetup | None = None,
    books: bool = False,
    deltas: bool = False,
) -> SimulatedVenues:
    """Play a table and compare the reports; the venues as they stand at its end."""
    if setup is None:
        instruments = [plain_instrument("a"), plain_instrument("b")]
        setup = setup_of(instruments, sources=[1 if books else 2 if deltas else 0] * 2)
    chosen = models or {i.venue: model or plain_model() for i in setup.instruments}
    venues = SimulatedVenues(setup, chosen)
    rows: list[Row] = []
    commands: dict[int, list[Command]] = {}
    wanted: list[str] = []
    for line in table.strip().splitlines():
        words = line.split()
        if not words:
            continue
        if words[0] == "=":
            wanted.append(" ".join(words[1:]))
        elif words[0] == ">":
            commands.setdefault(len(rows) - 1, []).append(_command(words[1:], rows[-1].inst))
        else:
            rows.append(_row(words))
    told = play(venues, rows, commands, instruments=setup.instruments)
    assert [f"{one.ts / MS:g} {text(one.report)}" for one in told] == wanted
    return venues


def _row(words: list[str]) -> Row:
    ts, number, kind, rest = round(float(words[0]) * MS), ord(words[1]) - ord("a"), words[2], words[3:]
    if kind == "q":
        return Row("quote", ts, number, tuple(None if word == "-" else int(word) for word in rest))
    if kind == "t":
        return Row("trade", ts, number, (int(rest[0]), int(rest[1]), ("buy", "sell", "unknown").index(rest[2])))
    if kind == "b":
        middle = rest.index("/")
        return Row("book", ts, number, (_levels(rest[:middle]), _levels(rest[middle + 1 :])))
    if kind == "d":
        side, price, qty, *flags = rest
        values = (("bid", "ask").index(side), int(price), int(qty), "snap" in flags, "more" not in flags, 0)
        return Row("delta", ts, number, values)
    if kind == "i":
        return Row("instrument", ts, number, ({word.split("=")[0]: int(word.split("=")[1]) for word in rest},))
    return Row("connection", ts, number, (rest[0], False))


def _levels(words: list[str]) -> tuple[tuple[int, int], ...]:
    return tuple((int(word.split("x")[0]), int(word.split("x")[1])) for word in words)


def _command(words: list[str], inst: int) -> Command:
    if words[0] == "cancel":
        return cancel_of(int(words[1]), inst=inst)
    side, order, tif, size, *flags = words
    qty, price = size.split("@")
    return submit(int(order), side, int(price), int(qty), inst=inst, tif=tif, post_only="post" in flags)


def one(**changes: Any) -> Instrument:
    """A single instrument on venue a."""
    return plain_instrument("a", **changes)
