"""Pools of Uniswap v3 and its forks: liquidity that holds within ranges of ticks.

The state is what a swap depends on: price, tick, the liquidity in range, and for each initialised tick the liquidity that begins or
ends there. A swap goes range by range, and stops at the edge of every word of 256 ticks even if nothing begins there, because the
contract does, and rounds each step. Source: `UniswapV3Pool.swap` of v3-core 1.0.1.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from xarb.pools.outcome import Swapped
from xarb.pools.steps import PIPS, Step, step_in, step_out
from xarb.pools.ticks import MAX_SQRT_PRICE, MAX_TICK, MIN_SQRT_PRICE, MIN_TICK, sqrt_price_at, tick_at

_WORD: Final = 256
_UINT128: Final = (1 << 128) - 1


class Crossing(NamedTuple):
    """A swap through the ranges: what was taken with fee, what was given, and the state after it."""

    amount_in: int
    amount_out: int
    sqrt_price: int
    tick: int
    liquidity: int


class Range(NamedTuple):
    """A stretch that a swap goes through at one liquidity: squares roots of prices where it enters and leaves."""

    start: int
    end: int
    liquidity: int


class Concentrated:
    """A pool, fed by its events.

    Args:
        fee_pips: fee in millionths of the input.
        tick_spacing: ticks between those that can be initialised.
        sqrt_price: square root of the price, Q64.96.
        tick: the current tick as the contract states it (after a fall onto a tick it is one below).
        liquidity: in range.
        ticks: by initialised tick the net liquidity that begins there (negative: ends), and the gross one that refers to it.

    Raises:
        ValueError: a value outside of what the contract can hold, or a tick off the spacing.
    """

    __slots__ = ("_marks", "_words", "fee_pips", "gross", "liquidity", "net", "sqrt_price", "tick", "tick_spacing")

    def __init__(
        self,
        *,
        fee_pips: int,
        tick_spacing: int,
        sqrt_price: int,
        tick: int,
        liquidity: int,
        ticks: Mapping[int, tuple[int, int]],
    ) -> None:
        if not (0 <= fee_pips < PIPS and 0 < tick_spacing <= MAX_TICK):
            raise ValueError(f"fee of {fee_pips} millionths, tick spacing {tick_spacing}: no pool has these")
        self.fee_pips, self.tick_spacing = fee_pips, tick_spacing
        self.net: dict[int, int] = {}
        self.gross: dict[int, int] = {}
        self._words: dict[int, int] = {}
        self._marks: list[int] = []
        for at in sorted(ticks):
            net, gross = ticks[at]
            self._check_tick(at, net, gross)
            self._set_tick(at, net, gross)
        self.move(sqrt_price, tick, liquidity)

    # --- events

    def move(self, sqrt_price: int, tick: int, liquidity: int) -> None:
        """Take over what a Swap or Initialize event says of the state after it.

        Raises:
            ValueError: outside of what the contract can hold, or the tick is not the price's.
        """
        if not (MIN_SQRT_PRICE <= sqrt_price < MAX_SQRT_PRICE and 0 <= liquidity <= _UINT128):
            raise ValueError(f"square root of a price {sqrt_price}, liquidity {liquidity}: outside of what a pool can hold")
        exact = tick_at(sqrt_price)
        if tick != exact and not (tick == exact - 1 and sqrt_price_at(exact) == sqrt_price):
            raise ValueError(f"tick {tick} is not that of the square root of a price {sqrt_price}, which is {exact}")
        self.sqrt_price, self.tick, self.liquidity = sqrt_price, tick, liquidity

    def change(self, lower: int, upper: int, liquidity: int) -> None:
        """Liquidity is added (Mint) or taken away (Burn, negative) between two ticks.

        Raises:
            ValueError: the range is none, or more is taken away than there is: the pool is not what its events say.
        """
        if not lower < upper:
            raise ValueError(f"ticks {lower} and {upper} are no range")
        nets = (self.net.get(lower, 0) + liquidity, self.net.get(upper, 0) - liquidity)
        grosses = (self.gross.get(lower, 0) + liquidity, self.gross.get(upper, 0) + liquidity)
        within = self.liquidity + (liquidity if lower <= self.tick < upper else 0)
        if min(grosses) < 0 or not 0 <= within <= _UINT128:
            raise ValueError(f"{-liquidity} is taken away between ticks {lower} and {upper}, where there is less")
        for tick, net, gross in zip((lower, upper), nets, grosses, strict=True):
            self._check_tick(tick, net, gross)  # of both, before one is set
        self._set_tick(lower, nets[0], grosses[0])
        self._set_tick(upper, nets[1], grosses[1])
        self.liquidity = within

    def _check_tick(self, tick: int, net: int, gross: int) -> None:
        if tick % self.tick_spacing or not MIN_TICK <= tick <= MAX_TICK:
            raise ValueError(f"tick {tick} cannot be initialised at a spacing of {self.tick_spacing}")
        if not abs(net) <= gross <= _UINT128:
            raise ValueError(f"tick {tick}: net liquidity {net} of a gross one of {gross}")

    def _set_tick(self, tick: int, net: int, gross: int) -> None:
        word, bit = divmod(tick // self.tick_spacing, _WORD)
        if gross:
            if tick not in self.gross:
                insort(self._marks, tick)
            self.net[tick], self.gross[tick] = net, gross
            self._words[word] = self._words.get(word, 0) | 1 << bit
        elif tick in self.gross:
            del self.net[tick], self.gross[tick]
            self._marks.remove(tick)
            self._words[word] &= ~(1 << bit)

    def copy(self) -> Concentrated:
        """A pool of the same state that goes its own way."""
        ticks = {tick: (self.net[tick], gross) for tick, gross in self.gross.items()}
        return Concentrated(
            fee_pips=self.fee_pips,
            tick_spacing=self.tick_spacing,
            sqrt_price=self.sqrt_price,
            tick=self.tick,
            liquidity=self.liquidity,
            ticks=ticks,
        )

    # --- quotes

    def quote_in(self, amount_in: int, *, zero_for_one: bool) -> Swapped:
        """What an exact input comes to; less is taken where liquidity ends.

        Raises:
            ValueError: the input is not above 0.
        """
        return Swapped(*self.cross(amount_in, zero_for_one=zero_for_one)[:2])

    def quote_out(self, amount_out: int, *, zero_for_one: bool) -> Swapped:
        """What an exact output costs; less is given where liquidity ends.

        Raises:
            ValueError: the output is not above 0.
        """
        return Swapped(*self.cross(amount_out, zero_for_one=zero_for_one, exact_out=True)[:2])

    def cross(self, amount: int, *, zero_for_one: bool, exact_out: bool = False, limit: int | None = None) -> Crossing:
        """A swap up to a limit of the square root of the price, without changing the pool.

        Args:
            amount: input with fee, or output wanted, above 0.
            zero_for_one: whether token0 comes in, which lets the price fall.
            exact_out: whether `amount` is the output.
            limit: where the price stops; none: at the end of all prices.

        Raises:
            ValueError: an amount that is not above 0, or a limit on the wrong side of the price.
        """
        if amount <= 0:
            raise ValueError(f"amount {amount} is not above 0")
        if limit is None:
            limit = MIN_SQRT_PRICE + 1 if zero_for_one else MAX_SQRT_PRICE - 1
        elif not (MIN_SQRT_PRICE < limit < self.sqrt_price if zero_for_one else self.sqrt_price < limit < MAX_SQRT_PRICE):
            raise ValueError(f"limit {limit} lies on the wrong side of {self.sqrt_price}")
        price, tick, liquidity, left = self.sqrt_price, self.tick, self.liquidity, amount
        taken = given = 0
        step_of, fee_pips = (step_out if exact_out else step_in), self.fee_pips
        while left and price != limit:
            edge, is_initialised = self._next_tick(tick, down=zero_for_one)
            end = sqrt_price_at(edge)
            target = max(end, limit) if zero_for_one else min(end, limit)
            step: Step = step_of(price, target, liquidity, left, fee_pips)
            after, gross = step.sqrt_price, step.amount_in + step.fee
            taken, given = taken + gross, given + step.amount_out
            left -= step.amount_out if exact_out else gross
            if after == end:
                if is_initialised:
                    liquidity += -self.net[edge] if zero_for_one else self.net[edge]
                tick = edge - 1 if zero_for_one else edge
            elif after != price:
                tick = tick_at(after)
            price = after
        return Crossing(taken, given, price, tick, liquidity)

    def crossed(self, tick: int) -> int:
        """Initialised ticks between the current tick and another one, as a swap that ends there crosses them."""
        here, there = bisect_right(self._marks, self.tick), bisect_right(self._marks, tick)
        return abs(there - here)

    def ranges(self, *, zero_for_one: bool) -> Iterator[Range]:
        """The stretches of one liquidity that a swap goes through, in order; those without liquidity are passed over."""
        price, liquidity, marks = self.sqrt_price, self.liquidity, self._marks
        here = bisect_right(marks, self.tick)
        for place in range(here - 1, -1, -1) if zero_for_one else range(here, len(marks)):
            tick = marks[place]
            end = sqrt_price_at(tick)
            if liquidity and end != price:
                yield Range(price, end, liquidity)
            liquidity += -self.net[tick] if zero_for_one else self.net[tick]
            price = end
        end = MIN_SQRT_PRICE + 1 if zero_for_one else MAX_SQRT_PRICE - 1
        if liquidity and end != price:
            yield Range(price, end, liquidity)

    def _next_tick(self, tick: int, *, down: bool) -> tuple[int, bool]:
        """The next tick at which a step ends: an initialised one, or the edge of a word; and whether it is initialised."""
        spacing = self.tick_spacing
        if down:
            compressed = tick // spacing
            word, bit = divmod(compressed, _WORD)
            below = self._words.get(word, 0) & ((2 << bit) - 1)
            if below:
                return (compressed - bit + below.bit_length() - 1) * spacing, True
            return max((compressed - bit) * spacing, MIN_TICK), False
        compressed = tick // spacing + 1
        word, bit = divmod(compressed, _WORD)
        above = self._words.get(word, 0) >> bit
        if above:
            return (compressed + (above & -above).bit_length() - 1) * spacing, True
        return min((compressed - bit + _WORD - 1) * spacing, MAX_TICK), False
