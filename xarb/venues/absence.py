"""When an order that its exchange does not know is dead: how often and for how long it is looked up, and what the balance says of it.

No clock, no I/O and no chance here but that of the pauses, which are drawn from what names their desk.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from typing import Final

from xarb.model.units import MONEY_SCALE, NANOS_PER_S, format_decimal
from xarb.venues.liveorders import Expected

LOOKS_S: Final = (0.2, 0.5, 1.0, 2.0, 5.0)  # pauses before look-ups of one order; the last repeats
MISSES: Final = (
    4  # look-ups in a row that find nothing before an order may be given up, with the settle time between first and last
)
JITTER: Final = 0.25  # of a pause, that it may be longer: desks that lost one exchange at once do not come back to it at once
DOUBT_S: Final = 60.0  # after which what may be a fill of an order, and nobody tells of, is told as a difference of the balance
OLD_NS: Final = (
    600 * NANOS_PER_S
)  # orders of a log that ended so long ago are judged without the balance: the start tells what differs


class Pauses:
    """Pauses before look-ups; `name` says whose, and is the seed of their jitter."""

    def __init__(self, name: str) -> None:
        self._draw = random.Random(name)  # noqa: S311  # spreads requests, and a simulated world is to come again

    def before(self, turn: int) -> float:
        """Seconds before a look-up, 0 being the first."""
        return LOOKS_S[min(turn, len(LOOKS_S) - 1)] * (1 + JITTER * self._draw.random())


def doubt(one: Expected, more: Mapping[str, int], others: Iterable[Expected]) -> str | None:
    """What in the balance may be a fill of an order that nobody knows; None: the balance shows that it has none.

    A fill moves both coins of its symbol. Where the account has of one of them exactly what the log says, the order did not fill; but
    not where another order that may have filled unseen moves that coin the other way: then the two may cancel out, and every coin of
    the account has to be exact, which the fees of two fills would not leave so. Orders that are unknown together are so judged as a set.

    Args:
        one: the order.
        more: by asset what the account has more (negative: less) than the log says.
        others: orders of the account that may have fills which the log does not have.
    """
    mine = _moves(one)
    against = {asset for other in others for asset, sign in _moves(other).items() if mine.get(asset, sign) != sign}
    if any(not more.get(asset) and asset not in against for asset in mine) or not any(more.values()):
        return None
    seen = ", ".join(f"{format_decimal(more.get(asset, 0), MONEY_SCALE)} {asset}" for asset in mine)
    beside = "" if against.isdisjoint(mine) else ", beside another order that may hide one"
    return f"the balance differs by {seen}, which may be a fill of it{beside}"


def _moves(one: Expected) -> dict[str, int]:
    """The coins that a fill of an order moves, by their sign."""
    base, _, quote = one.symbol.partition("/")
    sign = 1 if one.side == "buy" else -1
    return {base: sign, quote.partition(":")[0]: -sign}
