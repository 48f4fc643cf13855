"""Others on our account: each fill of theirs is kept, none is taken for ours, and beyond the bound nothing begins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from xarb.engine.liverows import RESET
from xarb.engine.results import DAY_NS
from xarb.log.ends import ENDS
from xarb.model.units import MONEY_ONE, NANOS_PER_MS
from xarb.settings import money_of
from xarb.simulation.log import ASTRAY, Found
from xarb.simulation.trader import Site
from xarb.venues.accountdesk import BEFORE_MS

_BEFORE_NS: Final = (BEFORE_MS - 1_000) * NANOS_PER_MS
_TOO_MUCH: Final = "others_trade"
Say = Callable[[str, str], None]


def judge_others(site: Site, found: Found, say: Say, *, since: int) -> None:
    """Judge a log whose last start came to rest; `since`: when the first one began, ns, which asks for what was a minute before."""
    made = [one for exchange in site.exchanges for one in exchange.foreign]
    theirs = {one.said.fill_id for one in made if one.said is not None}
    late = {one.said.fill_id for one in made if one.said is not None and one.at >= since - _BEFORE_NS}
    if not theirs:
        return
    told: dict[str, int] = {}
    for row in (*found["reports"], *found[ASTRAY]):
        if row["event"] == "fill" and row["fill_id"] in theirs:
            told[row["fill_id"]] = told.get(row["fill_id"], 0) + 1
            if row["start"] is not None:
                say("others", f"{row['fill_id']} of somebody else is told as one of {row['client_order_id']}")
    for fill_id in sorted(late):
        if told.get(fill_id, 0) != 1:
            say("others", f"{fill_id} of somebody else was told {told.get(fill_id, 0)} times")
    for row in found["fills"]:
        if row["fill_id"] in theirs:
            say("others", f"{row['fill_id']} of somebody else is a fill of order {row['order']}")
    Bound(money_of(site.resolved.inventory.foreign_worth), say).go(found)


class Bound:
    """Adds up what others traded as the log tells it, and compares what followed.

    Args:
        bound: what their fills of a UTC day may come to, money.
        say: is told of what is broken.
    """

    def __init__(self, bound: int, say: Say) -> None:
        self._bound, self._say = bound, say
        self._day = self._sum = 0
        self._is_live = self._was_refused = False
        self._due: int | None = None  # seq of a report that must be refused for
        self._bundles: set[int] = set()  # of the start that is at work
        self._number = 0

    def go(self, found: Found) -> None:
        """Go through a log once."""
        rows: list[tuple[int, int, str, dict[str, Any]]] = []
        for kind in ("operator", ASTRAY, "starts"):
            rows += [(row["seq"], -1, kind, row) for row in found[kind]]
        for kind in ("commands", "refusals"):
            rows += [(row["after_seq"], row["n"], kind, row) for row in found[kind]]
        steps = {
            "operator": self._act,
            ASTRAY: self._report,
            "starts": self._begin,
            "commands": self._command,
            "refusals": self._refused,
        }
        for seq, n, kind, row in sorted(rows, key=lambda one: one[:2]):
            if n < 0 and self._due is not None and self._due < seq:
                self._missed()
            steps[kind](row)
        self._missed()

    def _missed(self) -> None:
        """The report that was due has no refusal; where a process died right behind it, the next start has one."""
        if self._due is not None and self._is_live:
            self._say("others", f"what others traded came to {self._sum / MONEY_ONE} by {self._due}, and nothing was said")
        self._due = None

    def _begin(self, row: dict[str, Any]) -> None:
        self._is_live, self._was_refused = True, False
        self._bundles, self._number = set(), row["number"]

    def _act(self, row: dict[str, Any]) -> None:
        if row["action"] in ENDS:
            self._is_live = False
        elif row["action"] == RESET and self._was_refused:
            self._sum = 0

    def _report(self, row: dict[str, Any]) -> None:
        if row["event"] != "fill" or not self._is_live:
            return
        self._turn(row["ts_recv"])
        self._sum += -(-row["price"] * row["qty"] // MONEY_ONE)
        if self._sum > self._bound:
            self._due = row["seq"]

    def _turn(self, ts: int) -> None:
        if ts // DAY_NS != self._day:
            self._day, self._sum = ts // DAY_NS, 0

    def _command(self, row: dict[str, Any]) -> None:
        if row["kind"] != "submit" or row["purpose"] != "open" or row["bundle"] in self._bundles:
            return
        self._bundles.add(row["bundle"])
        self._turn(row["ts"])
        if self._sum > self._bound:
            what = f"others traded {self._sum / MONEY_ONE}, of {self._bound / MONEY_ONE} that are allowed"
            self._say("others", f"bundle {row['bundle']} of start {self._number} begins although {what}")

    def _refused(self, row: dict[str, Any]) -> None:
        if row["reason"] != _TOO_MUCH:
            return
        self._due, self._was_refused = None, True
        self._turn(row["ts"])
        if (row["value"], row["bound"]) != (self._sum, self._bound) or self._sum <= self._bound:
            told, truth = [None if one is None else one / MONEY_ONE for one in (row["value"], row["bound"])], self._sum / MONEY_ONE
            self._say("others", f"new bundles end since others traded {told[0]} of {told[1]}, truly {truth}")
