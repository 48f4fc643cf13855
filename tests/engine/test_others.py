"""What others trade on accounts of ours: bounded in a UTC day, over starts and copies, until a person accepts it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.engine.desk import Desk, money
from tests.engine.table import instrument
from tests.engine.test_discrepancy import LIMITS, strange
from tests.engine.test_live_rows import GOOD, desk
from xarb.engine.carried import ForeignFills
from xarb.engine.results import DAY_NS
from xarb.model.units import NANOS_PER_S

BOUND = money(1010)
BOUNDED = msgspec.structs.replace(LIMITS, foreign=BOUND)


def refused(one: Desk) -> list[tuple[int | None, int]]:
    """Worth and bound of each refusal for what others trade."""
    return [(row["value"], row["bound"]) for row in one.drained("refusals") if row["reason"] == "others_trade"]


def small(one: Desk, number: int, **changes: Any) -> None:
    """A fill of somebody else's order of 303 USD."""
    strange(one, **({"qty": int(money(3)), "fill_id": f"o{number}"} | changes))


def carried(amount: int, **changes: Any) -> tuple[ForeignFills, ...]:
    """What earlier starts of the day were told."""
    return (msgspec.structs.replace(ForeignFills(account="main", venue="a", asset="USD", day=0, amount=amount), **changes),)


def test_others_may_trade_only_so_much() -> None:
    """Beyond a worth, over all their fills of the day, buys and sales alike, new bundles end for good; also after a copy."""
    one = desk(adjust=BOUNDED)
    one.tell(*GOOD)
    for number, side in enumerate(("buy", "sell", None)):
        small(one, number, side=side)
    strange(one, start=2, order=1, fill_id="mine")  # of an earlier start, and so ours
    strange(one, event="foreign")
    strange(one, symbol="ETH/USD", fill_id="unknown")
    assert one.engine.distrust is None
    other = desk(adjust=BOUNDED, quiet=True)
    other.engine.restore(one.engine.capture())
    other.seq, other.now = one.seq, one.now
    for each in (one, other):
        strange(each, qty=int(money(1)), fill_id="last")  # 1010 in all
        assert not refused(each)
        strange(each, qty=1, price=1, fill_id="drop")
        found = each.engine.distrust
        assert found is not None
        assert str(found).startswith("others traded on main at a: their fills of this day come to 1010.00000")
        assert found.actor == "others"
        assert each.engine.execution.killed == "entries"
        assert refused(each) == [(BOUND + 1, BOUND)]
        each.slow("operator", {"action": "arm", "actor": "me", "detail": None})
        assert each.tell(*GOOD) == ["refuse disarmed"]


@pytest.mark.parametrize(("changes", "worth"), [({"currencies": ("EUR",)}, None), ({"foreign": money(0)}, money(40_400))])
def test_what_others_trade_and_nothing_can_price_is_too_much(changes: dict[str, Any], worth: int | None) -> None:
    """In none of the reporting currencies: nobody knows what it comes to. At zero the first one ends new bundles."""
    made = msgspec.structs.replace(LIMITS, **changes)
    one = desk(adjust=made)
    one.tell(*GOOD)
    strange(one)
    assert one.engine.distrust is not None
    assert refused(one) == [(worth, made.foreign)]


def test_a_day_begins_anew() -> None:
    """At the end of a UTC day by the log's clock, not at a restart."""
    one = desk(adjust=BOUNDED)
    one.tell(*GOOD)
    for number in range(3):
        small(one, number)
    one.now = DAY_NS - NANOS_PER_S
    one.quote(0)
    one.now = DAY_NS
    for number in range(3, 6):
        small(one, number)
    assert not refused(one)
    small(one, 6)
    assert refused(one) == [(money(4 * 303), BOUND)]


def test_what_earlier_starts_of_the_day_were_told_counts() -> None:
    """A restart forgives nothing; what was told on another day, or in another account, is another matter of the same sum."""
    for before, beyond in (
        (carried(int(money(800))), True),
        (carried(int(money(800)), venue="b"), True),
        (carried(int(BOUND), day=-1), False),
    ):
        one = desk(adjust=BOUNDED, foreign=before)
        assert len(one.tell(*GOOD)) == 2
        small(one, 1)
        assert bool(refused(one)) is beyond, before


def test_a_start_that_died_before_it_could_refuse_is_refused_for_by_the_next() -> None:
    """What was told already is too much: nothing begins, and the refusal says so where the most was traded; once, and also behind a copy."""
    before = carried(7) + carried(int(BOUND), venue="b")
    first = desk(adjust=BOUNDED, foreign=before)
    second = desk(adjust=BOUNDED, foreign=before, quiet=True)
    second.engine.restore(first.engine.capture())
    second.seq, second.now = first.seq, first.now
    for one in (first, second):
        assert one.engine.distrust is None
        assert one.tell(*GOOD) == ["refuse others_trade", "refuse disarmed"]
        assert refused(one) == [(BOUND + 7, BOUND)]
        assert str(one.engine.distrust).startswith("others traded on main at b: ")
        assert one.engine.execution.killed == "entries"
        assert one.tell(*GOOD) == ["refuse disarmed"]


def test_what_nothing_has_priced_yet_is_judged_as_soon_as_something_does() -> None:
    """It is looked at again before each bundle."""
    euro = msgspec.structs.replace(instrument("c"), symbol="USD/EUR", base="USD", quote="EUR")
    one = desk(
        instruments=[instrument("a"), instrument("b"), euro],
        groups=[[0, 1], [2]],
        adjust=msgspec.structs.replace(BOUNDED, currencies=("EUR",)),
        foreign=carried(int(money(11))),
        quiet=True,
    )
    one.letters = "abc"
    for number in (0, 1):
        one.quote(number)
    assert len(one.tell(*GOOD)) == 2
    one.quote(2)  # 101 EUR for one USD
    assert one.tell(*GOOD) == ["refuse others_trade", "refuse disarmed"]
    assert refused(one) == [(money(1111), BOUND)]
