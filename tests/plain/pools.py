"""Pools of a chain as plainly as they can be said: every row of blocks that stand, read from the start again at each block, and the contracts' swap as sums of steps.

It shares nothing with the product's pools but the table of square roots of prices by tick, which is the contract's own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from xarb.pools.ticks import sqrt_price_at

Row = Mapping[str, Any]
Q96 = 2**96
PPM = 10**6
WORD = 256
ENDS = (sqrt_price_at(-887272) + 1, sqrt_price_at(887272) - 1)


class Gained(NamedTuple):
    """What a swap gives, and the initialised ticks that it goes through; nothing where the pool cannot take all of it."""

    out: int
    ticks: int


class PlainPool:
    """One pool: `reserves` of v2, or price, tick, liquidity and the net liquidity by tick of v3."""

    def __init__(self, row: Row) -> None:
        self.tokens = (str(row["token0"]), str(row["token1"]))
        self.decimals = (int(row["decimals0"]), int(row["decimals1"]))
        self.is_v2, self.fee, self.spacing = row["kind"] == "v2", int(row["fee_ppm"]), row["tick_spacing"]
        self.reserves = (0, 0)
        self.price = self.tick = self.liquidity = 0
        self.nets: dict[int, int] = {}
        self.gross: dict[int, int] = {}
        self.apply(row)

    def apply(self, row: Row) -> None:
        """Take over what a row says."""
        if row["reserve0"] is not None:
            self.reserves = (int(row["reserve0"]), int(row["reserve1"]))
        elif row["cause"] in ("mint", "burn"):
            self._resize(row["tick_lower"], row["tick_upper"], int(row["liquidity_delta"]))
        else:
            self.price, self.tick, self.liquidity = int(row["sqrt_price_x96"]), row["tick"], int(row["liquidity"])
        if row["cause"] == "snapshot" and not self.is_v2:
            self.nets = {tick: int(net) for tick, net in zip(row["ticks"], row["tick_nets"], strict=True)}
            self.gross = {tick: int(gross) for tick, gross in zip(row["ticks"], row["tick_grosses"], strict=True)}

    def _resize(self, lower: int, upper: int, change: int) -> None:
        for tick, net in ((lower, change), (upper, -change)):
            self.nets[tick] = self.nets.get(tick, 0) + net
            self.gross[tick] = self.gross.get(tick, 0) + change
            if not self.gross[tick]:
                del self.nets[tick], self.gross[tick]
        if lower <= self.tick < upper:
            self.liquidity += change

    @property
    def mark(self) -> tuple[int, ...]:
        """What tells it from what it was."""
        return self.reserves if self.is_v2 else (self.price, self.tick, self.liquidity)

    def first(self, *, down: bool) -> Fraction:
        """What comes out for each unit of the first bit that goes in, after the fee; `down`: token0 goes in."""
        kept = Fraction(PPM - self.fee, PPM)
        if self.is_v2:
            mine, theirs = self.reserves if down else self.reserves[::-1]
            return kept * Fraction(theirs, mine) if mine else Fraction(0)
        if not self.liquidity:
            return Fraction(0)
        price = Fraction(self.price, Q96) ** 2
        return kept * (price if down else 1 / price)

    def swap(self, amount: int, *, down: bool) -> Gained:
        """What an input gives."""
        if amount <= 0:
            return Gained(0, 0)
        if not self.is_v2:
            return self._cross(amount, down=down)
        mine, theirs = self.reserves if down else self.reserves[::-1]
        worth = amount * (PPM - self.fee)
        return Gained(worth * theirs // (mine * PPM + worth), 0)

    def _cross(self, left: int, *, down: bool) -> Gained:
        price, tick, liquidity, out, ticks = self.price, self.tick, self.liquidity, 0, 0
        while left:
            edge = self._edge(tick, down=down)
            end = max(sqrt_price_at(edge), ENDS[0]) if down else min(sqrt_price_at(edge), ENDS[1])
            low, high = min(price, end), max(price, end)
            needed = _token0(low, high, liquidity) if down else Fraction(liquidity * (high - low), Q96)
            useful = left * (PPM - self.fee) // PPM
            is_reached = useful >= math.ceil(needed)
            if is_reached:
                paid = math.ceil(needed) + -(-math.ceil(needed) * self.fee // (PPM - self.fee))
                after = end
            else:
                paid, after = left, _moved(price, useful, liquidity, down=down)
            low, high = min(price, after), max(price, after)
            out += math.floor(Fraction(liquidity * (high - low), Q96) if down else _token0(low, high, liquidity))
            left, price = left - paid, after
            if not is_reached:
                break
            if end in ENDS:
                return Gained(0, 0)
            if edge in self.nets:
                liquidity += -self.nets[edge] if down else self.nets[edge]
                ticks += 1
            tick = edge - 1 if down else edge
        return Gained(out, ticks)

    def _edge(self, tick: int, *, down: bool) -> int:
        """Where a step ends: the next initialised tick, or the end of a word of 256 of them."""
        at = tick // self.spacing + (0 if down else 1)
        first = at // WORD * WORD
        if down:
            here = [one for one in self.nets if first * self.spacing <= one <= at * self.spacing]
            return max(here) if here else max(first * self.spacing, -887272)
        here = [one for one in self.nets if at * self.spacing <= one <= (first + WORD - 1) * self.spacing]
        return min(here) if here else min((first + WORD - 1) * self.spacing, 887272)


def _token0(low: int, high: int, liquidity: int) -> Fraction:
    return Fraction(liquidity * Q96 * (high - low), low * high)


def _moved(price: int, useful: int, liquidity: int, *, down: bool) -> int:
    """The square root of the price that an input leads to, rounded against who swaps."""
    if down:
        return math.ceil(Fraction(liquidity * Q96 * price, liquidity * Q96 + useful * price))
    return price + useful * Q96 // liquidity


def standing(rows: Sequence[tuple[str, Row]], of: str) -> list[Row]:
    """Of rows of a chain in order those of one kind in blocks that stand, after the last one."""
    found: list[tuple[str, list[Row]]] = []
    waiting: list[Row] = []
    for kind, row in rows:
        if kind != "blocks":
            waiting += [row] if kind == of else []
        elif row["event"] == "added":
            found.append((row["block_hash"], waiting))
            waiting = []
        else:
            hash_, _ = found.pop()
            assert hash_ == row["block_hash"], "the newest block goes first"
    return [row for _, block in found for row in block]


def pools_of(rows: Sequence[tuple[str, Row]]) -> dict[str, PlainPool]:
    """All of them by address."""
    found: dict[str, PlainPool] = {}
    for row in standing(rows, "pools"):
        if row["symbol"] in found:
            found[row["symbol"]].apply(row)
        else:
            assert row["cause"] == "snapshot"
            found[row["symbol"]] = PlainPool(row)
    return found
