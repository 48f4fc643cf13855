"""Whether an account has at its venue what our books say: a difference counts when two asks found the same one, and nothing moved between them.

Between the two lies more than the time for which an exchange may not know of a fill. Before each of them open orders and fills were asked
for, so that what they tell lies between the asks too, and the difference is looked for anew.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

from xarb.engine.discrepancy import DISCREPANCY, Discrepancy
from xarb.model.units import NANOS_PER_S
from xarb.venues.userwires import BalanceTold
from xarb.venues.venue import VenueRow

RECONCILE_S: Final = 60.0  # everything is compared so often, whatever a private stream or receipts say
AGAIN_S: Final = 10.0  # after which a difference is looked for again; an exchange tells of fills up to some seconds late
_REPEAT_NS: Final = 45 * NANOS_PER_S  # what still differs is told again after so long: it may be known by then what it is worth
Ours = Callable[[str, str], Mapping[str, int]]  # of an account at a venue: by asset, what our books have


class BalanceCheck:
    """Of one account at one venue.

    Args:
        account: its label.
        venue: venue id.

    Attributes:
        is_open: a difference was found that another ask is to confirm, or nobody knows whether there is one.
        again_s: when that should come, in seconds; it counts when nearly so much has passed.
    """

    def __init__(self, account: str, venue: str) -> None:
        self._account, self._venue = account, venue
        self._before: Ours | None = None
        self._ours: Ours | None = None
        self._others: Mapping[str, int] = {}
        self._found: dict[str, tuple[int, int]] = {}  # differences as of the last ask, and when they were found first
        self._as_of = -1  # how much had moved when it was asked
        self._is_again = False  # whether the last ask was one to confirm
        self.is_open = False
        self.again_s = AGAIN_S
        self._told: dict[str, tuple[Discrepancy, int]] = {}  # and when
        self._agreed: dict[str, tuple[int, int]] = {}  # the two last asks that found none, ns: one may not have shown a fill yet

    def expect(self, before: Ours) -> None:
        """What the account should have until `begin`, what others' orders lock with it: for `differences` alone."""
        self._before = before

    def begin(self, ours: Ours, others: Mapping[str, int]) -> None:
        """Compare from now on; by asset, what others' orders had locked when our books were opened is not in them."""
        self._ours, self._others = ours, others

    def differences(self, told: Sequence[BalanceTold]) -> dict[str, int] | None:
        """By asset, what it has more (negative: less) than our books say now; None: there are none."""
        books = self._ours or self._before
        if books is None:
            return None
        ours, theirs = books(self._account, self._venue), {one.asset: one.free + one.locked for one in told}
        return {asset: theirs.get(asset, 0) - self._others.get(asset, 0) - ours.get(asset, 0) for asset in sorted({*ours, *theirs})}

    @property
    def wants_again(self) -> bool:
        """Whether another ask should come soon: once for each regular one, however much moves."""
        return bool(self._found) and not self._is_again

    def look(self, now: int, told: Sequence[BalanceTold], moved: int, *, moving: Collection[str]) -> list[VenueRow]:
        """The exchange said what the account has, all of it. Rows of operator's acts, one for each difference that counts and is news.

        Args:
            now: monotonic ns.
            told: every asset of which it has some.
            moved: how much had moved by then: another number than at the ask before says that something did.
            moving: assets with a deposit or withdrawal under way, of which nothing is said.
        """
        if self._ours is None:
            return []
        ours = self._ours(self._account, self._venue)
        theirs = {one.asset: one.free + one.locked for one in told}
        found: dict[str, tuple[int, int]] = {}
        rows = []
        for asset in sorted({*ours, *theirs}):
            before_last, last_agreed = self._agreed.get(asset, (0, 0))
            one = Discrepancy(
                account=self._account,
                venue=self._venue,
                asset=asset,
                ours=ours.get(asset, 0),
                theirs=theirs.get(asset, 0) - self._others.get(asset, 0),
                agreed=before_last,
            )
            if not one.difference and asset not in moving:
                self._agreed[asset] = last_agreed, now
            last, at = self._told.get(asset, (None, 0))
            if not one.difference or asset in moving or (last == one and now - at < _REPEAT_NS):
                continue
            before = self._found.get(asset)
            if before is None or moved != self._as_of or before[0] != one.difference:
                found[asset] = (one.difference, now)
            elif now - before[1] < self.again_s * NANOS_PER_S * 9 / 10:
                found[asset] = before
            else:
                self._told[asset] = one, now
                rows.append(_row(one))
        self._is_again = self.wants_again
        self._found, self._as_of, self.is_open = found, moved, bool(found)
        return rows

    def void(self) -> None:
        """Something moved while it was asked, or may move at any moment: nothing counts."""
        self._is_again = self.wants_again
        self._as_of, self.is_open = -1, True


def _row(one: Discrepancy) -> VenueRow:
    return VenueRow("operator", {"action": DISCREPANCY, "actor": f"account {one.account} at {one.venue}", "detail": one.text})
