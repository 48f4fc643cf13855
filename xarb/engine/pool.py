"""One pool as its chain's rows say it is: followed row by row, every row undone again when its block is removed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from xarb.engine.captured import MathsCopy, PoolCopy
from xarb.engine.drift import (
    MISSED,
    SHORT_SWAPS,
    UNKNOWN,
    WRONG_FEE,
    CrossedTo,
    Drift,
    Paid,
    judge_crossing,
    judge_paid,
    judge_reserves,
)
from xarb.pools.concentrated import Concentrated
from xarb.pools.constant_product import ConstantProduct

PPM: Final = 1_000_000
Maths = ConstantProduct | Concentrated


class Moved(NamedTuple):
    """Price, tick and liquidity before a swap."""

    sqrt_price: int
    tick: int
    liquidity: int


class Resized(NamedTuple):
    """A change of a range's liquidity."""

    lower: int
    upper: int
    liquidity: int


class Whole(NamedTuple):
    """The whole pool before a row; None: unknown."""

    maths: Maths | None


Undo = Moved | Resized | Whole


class Pool:
    """State of one pool.

    Attributes:
        maths: what it is now; None until a snapshot or its first price came, after a gap, and after a drift until the next snapshot.
        gapped: rows of it were lost since the last snapshot.
        drift: the rule that it broke, empty where none.
    """

    __slots__ = ("_least_fee", "_short", "_undo", "drift", "gapped", "maths")

    def __init__(self) -> None:
        self.maths: Maths | None = None
        self.gapped = False
        self.drift = ""
        self._short = 0  # swaps of v2 in a row that gave less than the quote
        self._least_fee = 0  # the least fee that they show
        self._undo: list[Undo] = []

    def apply(self, values: Mapping[str, Any], swap: Mapping[str, Any] | None) -> tuple[list[Undo], Drift | None]:
        """Apply one `pools` row, with the `swaps` row that belongs to it: how to undo it, last first, and what is wrong from here on."""
        self._undo = []
        try:
            found = self._followed(values, swap)
        except (ValueError, TypeError):  # what the row states is no pool that this maths knows
            self._replace(None)
            found = Drift(UNKNOWN)
        undo, self._undo = self._undo[::-1], []
        return undo, self._note(found)

    def _followed(self, values: Mapping[str, Any], swap: Mapping[str, Any] | None) -> Drift | None:
        cause, before = values["cause"], self.maths
        if cause == "snapshot":
            return self._snapshot(_maths_of(values))
        if cause == "initialize":
            self._replace(_maths_of({**values, "ticks": ()}))
            self.gapped = False
            return None
        if before is None:
            return None  # nothing to follow before a snapshot
        if isinstance(before, ConstantProduct):
            return self._sync(before, values, swap)
        return self._cross(before, values, swap) if cause == "swap" else self._resize(before, values)

    def undo(self, one: Undo) -> None:
        """Take back one step of a row that was applied."""
        if isinstance(one, Whole):
            self.maths = one.maths
        elif isinstance(self.maths, Concentrated):
            if isinstance(one, Moved):
                self.maths.move(*one)
            else:
                self.maths.change(one.lower, one.upper, -one.liquidity)

    def forget(self) -> None:
        """Rows were lost: what it is can be known by a snapshot only."""
        self.gapped = self.gapped or self.maths is not None
        self.maths = None

    def capture(self) -> PoolCopy:
        """All of it as plain values."""
        return PoolCopy(copy_of(self.maths), self.gapped, self.drift, self._short, self._least_fee)

    def restore(self, copy: PoolCopy) -> None:
        """Take over a copy."""
        self.maths = maths_of(copy.maths)
        self.gapped, self.drift, self._short, self._least_fee = copy.gapped, copy.drift, copy.short, copy.least_fee

    # --- rows

    def _snapshot(self, stated: Maths) -> Drift | None:
        """A snapshot that says what we know proves it. Else it is taken over, and is a drift where we thought that we knew."""
        before = self.maths
        if before is not None and fees(before) != fees(stated):
            self._replace(stated)
            return Drift(WRONG_FEE, fees(stated), fees(before))
        if before is not None and same(before, stated):
            if self.drift == MISSED:
                self.drift = ""
            return None
        self._replace(stated)
        self.gapped = False
        return None if before is None else Drift(MISSED)

    def _sync(self, before: ConstantProduct, values: Mapping[str, Any], swap: Mapping[str, Any] | None) -> Drift | None:
        after = _maths_of(values)
        assert isinstance(after, ConstantProduct)
        self._replace(after)
        if swap is None or swap["in0"] is None or swap["in1"] is None:
            return None
        paid = Paid(*(int(swap[name]) for name in ("in0", "in1", "delta0", "delta1")))
        found = judge_reserves(before, after, paid)
        if found is not None:
            return found
        exact, found = judge_paid(before, after, paid)
        if exact:
            self._short = 0
        if found is None or found.value is None or found.bound is None or found.value < found.bound:
            return found
        self._least_fee = found.value if self._short == 0 else min(self._least_fee, found.value)
        self._short += 1
        return found._replace(value=self._least_fee) if self._short >= SHORT_SWAPS else None

    def _cross(self, before: Concentrated, values: Mapping[str, Any], swap: Mapping[str, Any] | None) -> Drift | None:
        price, liquidity, tick = int(values["sqrt_price_x96"]), int(values["liquidity"]), values["tick"]
        if swap is None:
            return self._lose()
        found = judge_crossing(before, CrossedTo(int(swap["delta0"]), int(swap["delta1"]), price, liquidity, tick))
        if found is not None:
            self._replace(None)
            return found
        self._undo.append(Moved(before.sqrt_price, before.tick, before.liquidity))
        before.move(price, tick, liquidity)
        return None

    def _resize(self, before: Concentrated, values: Mapping[str, Any]) -> Drift | None:
        change = Resized(values["tick_lower"], values["tick_upper"], int(values["liquidity_delta"]))
        try:
            before.change(*change)
        except ValueError:
            return self._lose()
        self._undo.append(change)
        return None

    def _lose(self) -> Drift:
        """What the row says cannot be of the pool that we know."""
        self._replace(None)
        return Drift(MISSED)

    def _replace(self, maths: Maths | None) -> None:
        self._undo.append(Whole(self.maths))
        self.maths = maths

    def _note(self, found: Drift | None) -> Drift | None:
        """Remember a drift; the first one that is not healed by a snapshot stays. None where it is no news."""
        if found is None or self.drift == found.rule or self.drift not in ("", MISSED):
            return None
        self.drift = found.rule
        return found


def same(one: Maths, other: Maths) -> bool:
    """Whether all that a swap depends on is equal."""
    if isinstance(one, ConstantProduct) or isinstance(other, ConstantProduct):
        return one == other
    return (one.sqrt_price, one.tick, one.liquidity, one.net, one.gross, one.tick_spacing) == (
        *(other.sqrt_price, other.tick, other.liquidity, other.net, other.gross),
        other.tick_spacing,
    )


def fees(maths: Maths) -> int:
    """Its fee in ppm."""
    if isinstance(maths, Concentrated):
        return maths.fee_pips
    return maths.fee_numerator * PPM // maths.fee_denominator


def copy_of(maths: Maths | None) -> MathsCopy | None:
    """Its state as plain values."""
    if maths is None:
        return None
    if isinstance(maths, ConstantProduct):
        return MathsCopy(fees(maths), reserves=(maths.reserve0, maths.reserve1))
    ticks = [(tick, maths.net[tick], gross) for tick, gross in sorted(maths.gross.items())]
    return MathsCopy(maths.fee_pips, spacing=maths.tick_spacing, moved=(maths.sqrt_price, maths.tick, maths.liquidity), ticks=ticks)


def maths_of(copy: MathsCopy | None) -> Maths | None:
    """The reverse of `copy_of`."""
    if copy is None:
        return None
    if copy.reserves is not None:
        return ConstantProduct(
            reserve0=copy.reserves[0], reserve1=copy.reserves[1], fee_numerator=copy.fee_ppm, fee_denominator=PPM
        )
    sqrt_price, tick, liquidity = copy.moved
    ticks = {at: (net, gross) for at, net, gross in copy.ticks}
    return Concentrated(
        fee_pips=copy.fee_ppm,
        tick_spacing=copy.spacing,
        sqrt_price=sqrt_price,
        tick=tick,
        liquidity=liquidity,
        ticks=ticks,
    )


def _maths_of(values: Mapping[str, Any]) -> Maths:
    """The pool that a row states whole.

    Raises:
        ValueError: no pool can be that.
        TypeError: a column that it takes is null.
    """
    if values["kind"] == "v2":
        return ConstantProduct(
            reserve0=int(values["reserve0"]),
            reserve1=int(values["reserve1"]),
            fee_numerator=values["fee_ppm"],
            fee_denominator=PPM,
        )
    listed = zip(values["ticks"], values["tick_nets"] or (), values["tick_grosses"] or (), strict=True)
    return Concentrated(
        fee_pips=values["fee_ppm"],
        tick_spacing=values["tick_spacing"],
        sqrt_price=int(values["sqrt_price_x96"]),
        tick=values["tick"],
        liquidity=int(values["liquidity"]),
        ticks={tick: (int(net), int(gross)) for tick, net, gross in listed},
    )
