"""Cycles and paths that left for chains and are not final."""

from __future__ import annotations

from xarb.engine.captured import PathCopy, SentCycleCopy
from xarb.engine.desk import Desk
from xarb.engine.portfolio import Hold
from xarb.model.order import CYCLE_OPEN


class Path:
    """What a path swaps: both tokens by address, whether the second counts as the base of its hedge, the latest block time, and whether it was given up."""

    __slots__ = ("deadline_s", "given_up", "gives_base", "token_in", "token_out")

    def __init__(self, tokens: tuple[str, str], *, gives_base: bool, deadline_s: int, given_up: bool = False) -> None:
        self.token_in, self.token_out = tokens
        self.gives_base, self.deadline_s, self.given_up = gives_base, deadline_s, given_up

    def capture(self) -> PathCopy:
        """It as plain values."""
        return PathCopy(self.token_in, self.token_out, self.gives_base, self.deadline_s, self.given_up)


class SentCycle:
    """A cycle, or a path, that is not final.

    `state` is of `CYCLE_LIFE`, `tx_hash` the transaction whose receipt is booked, empty where none is. `hold` is what is reserved, `most` what
    it was. `path` is None of a cycle.
    """

    __slots__ = ("bundle", "client_id", "desk", "hold", "instruments", "most", "number", "path", "state", "tx_hash", "venue")

    def __init__(self, names: tuple[int, int, str], desk: Desk, venue: str, *, hold: Hold, instruments: tuple[int, ...]) -> None:
        self.bundle, self.number, self.client_id = names
        self.desk, self.venue = desk, venue
        self.state, self.tx_hash = "pending", ""
        self.hold = self.most = hold
        self.instruments = instruments
        self.path: Path | None = None

    @property
    def is_open(self) -> bool:
        """Whether it may still be included."""
        return self.state in CYCLE_OPEN

    def capture(self) -> SentCycleCopy:
        """It as plain values."""
        return SentCycleCopy(
            number=self.number,
            bundle=self.bundle,
            client_id=self.client_id,
            strategy=self.desk.strategy,
            venue=self.venue,
            state=self.state,
            tx_hash=self.tx_hash,
            hold=[(till.names[2], till.asset, amount) for till, amount in self.most],
            instruments=self.instruments,
            path=None if self.path is None else self.path.capture(),
        )


def restored_cycle(copy: SentCycleCopy, desk: Desk) -> SentCycle:
    """The cycle of a copy; what is reserved for it is the portfolio's already."""
    hold = tuple([(desk.till(venue, asset), amount) for venue, asset, amount in copy.hold])
    one = SentCycle((copy.bundle, copy.number, copy.client_id), desk, copy.venue, hold=hold, instruments=copy.instruments)
    one.state, one.tx_hash = copy.state, copy.tx_hash
    one.hold = hold if one.is_open else ()
    if (path := copy.path) is not None:
        tokens = (path.token_in, path.token_out)
        one.path = Path(tokens, gives_base=path.gives_base, deadline_s=path.deadline_s, given_up=path.given_up)
    return one
