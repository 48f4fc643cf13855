"""The simulated venues in plain Python: a history of quotes by venue time, and orders that are matched against it as of their arrival.

Nothing is kept up to date here: what an order meets, and what of our own fills is still missing from it, is read off the history.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from fractions import Fraction
from math import ceil
from typing import NamedTuple

from tests.plain.rows import Coin, Quote
from tests.plain.terms import VenueTerms

PPB = 10**9
MONEY = 10**18
_MASK = 2**64 - 1
FEED, ORDER, RESPONSE, CANCEL, CANCEL_RESPONSE = range(5)  # streams of draws


def splitmix(seed: int, number: int) -> int:
    """Output `number` of SplitMix64 (Steele, Lea and Flood 2014) from `seed`."""
    z = (seed + (number + 1) * 0x9E3779B97F4A7C15) & _MASK
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & _MASK
    return z ^ (z >> 31)


def draw(seed: int, stream: int, number: int, span: tuple[int, int]) -> int:
    """A latency from `span`, both ends included."""
    low, high = span
    return low + splitmix(splitmix(seed, stream) >> 1, number) % (high - low + 1)


class Order(NamedTuple):
    """An IOC order as it travels: `sign` 1 buys, -1 sells; whole units of price and size."""

    number: int
    inst: int
    sign: int
    price: Fraction
    qty: Fraction


class Report(NamedTuple):
    """What a venue says, in order of (due, number of the command, place among its reports)."""

    due: int
    command: int
    place: int
    order: int
    event: str
    price: Fraction | None = None
    qty: Fraction | None = None
    fee: Fraction | None = None
    fee_asset: str | None = None
    fill: int | None = None
    reason: str | None = None


class Travelling(NamedTuple):
    """A command on its way; `order` is None for a cancel of order `number`."""

    arrival: int
    command: int
    number: int
    response: int
    order: Order | None


class _Done(NamedTuple):
    state: str
    due: int


class Venue:
    """One venue with the money of account `main` there."""

    def __init__(self, terms: VenueTerms, coins: list[Coin], opening: Mapping[str, Fraction], seed: int) -> None:
        self.terms, self.coins, self.seed = terms, coins, seed
        self.free = dict(opening)
        self.time = -(2**62)
        self.times: dict[int, list[int]] = {}  # instrument: venue time of each of its quotes
        self.quotes: dict[int, list[Quote]] = {}
        self.taken: dict[
            tuple[int, int, int], tuple[int, int]
        ] = {}  # (instrument, sign, price): place in the history, missing then
        self.travelling: list[Travelling] = []
        self.arrived: list[int] = []  # times, for the rate limit
        self.arrivals: dict[int, int] = {}
        self.done: dict[int, _Done] = {}

    def row(self, seq: int, ts: int, quote: Quote | None) -> None:
        """A row of this venue."""
        self.time = max(self.time, ts - draw(self.seed, FEED, seq, self.terms.feed_latency))
        if quote is not None:
            self.times.setdefault(quote.inst, []).append(self.time)
            self.quotes.setdefault(quote.inst, []).append(quote)

    def send(self, now: int, command: int, order: Order) -> None:
        """An order leaves now."""
        arrival = now + draw(self.seed, ORDER, order.number, self.terms.order_latency)
        self.arrivals[order.number] = arrival
        self._travel(Travelling(arrival, command, order.number, self._response(RESPONSE, order.number), order))

    def cancel(self, now: int, command: int, number: int) -> None:
        """A cancel leaves now; it never overtakes its order."""
        arrival = max(now + draw(self.seed, CANCEL, number, self.terms.order_latency), self.arrivals[number])
        self._travel(Travelling(arrival, command, number, self._response(CANCEL_RESPONSE, number), None))

    def _response(self, stream: int, number: int) -> int:
        return max(draw(self.seed, stream, number, self.terms.response_latency), self.terms.feed_latency[1])

    def _travel(self, what: Travelling) -> None:
        self.travelling = sorted([*self.travelling, what])

    def next_due(self) -> int | None:
        """The earliest time at which a command on its way can be answered."""
        return min((one.arrival + one.response for one in self.travelling), default=None)

    def settle(self, now: int) -> list[Report]:
        """Reports of all commands whose arrival's book is known for certain by `now`: every row of it has been received."""
        reports = []
        while self.travelling and self.travelling[0].arrival <= now - self.terms.feed_latency[1]:
            one = self.travelling.pop(0)
            reports += self._meet(one, one.order) if one.order is not None else [self._answer(one)]
        return reports

    def _answer(self, one: Travelling) -> Report:
        """A cancel of an order that is done already, as every IOC order is when a cancel of it can arrive."""
        done = self.done[one.number]
        due = max(done.due, one.arrival + one.response)
        self.done[one.number] = _Done(done.state, due)
        return Report(due, one.command, 0, one.number, "canceled", reason=f"order_{done.state}")

    def _meet(self, one: Travelling, order: Order) -> list[Report]:
        due = one.arrival + one.response
        reason = self._refusal(order, one.arrival)
        if reason is not None:
            self.done[order.number] = _Done("rejected", due)
            return [Report(due, one.command, 0, order.number, "rejected", reason=reason)]
        price, qty = self._take(order, one.arrival)
        reports = []
        if qty > 0:
            fee, asset = self._pay(order, price, qty)
            reports.append(Report(due, one.command, 0, order.number, "fill", price, qty, fee, asset, 1))
        if qty < order.qty:
            reports.append(Report(due, one.command, len(reports), order.number, "expired", reason="no_liquidity"))
        self.done[order.number] = _Done("filled" if qty == order.qty else "expired", due)
        return reports

    def _refusal(self, order: Order, arrival: int) -> str | None:
        self.arrived = [when for when in self.arrived if when > arrival - PPB] + [arrival]
        if len(self.arrived) > self.terms.rate_limit:
            return "rate_limit"
        coin = self.coins[order.inst]
        asset, amount = (coin.quote, order.price * order.qty) if order.sign > 0 else (coin.base, order.qty)
        need = {asset: amount}
        fee, fee_asset = self.fee(order, order.price, order.qty)
        if fee_asset == asset:
            need[asset] += fee
        return "balance" if any(self.free.get(one, Fraction(0)) < most for one, most in need.items()) else None

    def _take(self, order: Order, arrival: int) -> tuple[Fraction, Fraction]:
        """Price and size of the fill: the top of the book as of the arrival, less what we took before and was not seen to come back."""
        coin, nothing = self.coins[order.inst], (Fraction(0), Fraction(0))
        at = bisect_right(self.times.get(order.inst, []), arrival) - 1
        if at < 0:
            return nothing
        quote = self.quotes[order.inst][at]
        price, size = (quote.ask, quote.ask_qty) if order.sign > 0 else (quote.bid, quote.bid_qty)
        if order.sign * (Fraction(price, coin.px) - order.price) > 0:
            return nothing
        left = self._left(order.inst, order.sign, price, at)
        qty = min(size - left, int(order.qty * coin.qty))
        if qty <= 0:
            return nothing
        self.taken[order.inst, order.sign, price] = (at, left + qty)
        return Fraction(price, coin.px), Fraction(qty, coin.qty)

    def _left(self, inst: int, sign: int, price: int, at: int) -> int:
        """What of our fills at a level is still missing from it: never more than it showed since, nothing once it vanished."""
        since, left = self.taken.get((inst, sign, price), (at, 0))
        for quote in self.quotes[inst][since + 1 : at + 1]:
            best, size = (quote.ask, quote.ask_qty) if sign > 0 else (quote.bid, quote.bid_qty)
            if best == price:
                left = min(left, size)
            elif sign * (best - price) > 0:  # the best is worse: the level is gone
                left = 0
        return left

    def fee(self, order: Order, price: Fraction, qty: Fraction) -> tuple[Fraction, str]:
        """Fee and its asset, rounded up at 18 decimals."""
        coin, asset = self.coins[order.inst], self.terms.fee_asset
        in_base = asset == "base" or (asset == "received" and order.sign > 0)
        worth = qty if in_base else price * qty
        return Fraction(ceil(worth * self.terms.taker_ppb * MONEY / PPB), MONEY), coin.base if in_base else coin.quote

    def _pay(self, order: Order, price: Fraction, qty: Fraction) -> tuple[Fraction, str]:
        coin = self.coins[order.inst]
        fee, asset = self.fee(order, price, qty)
        for name, change in ((coin.base, order.sign * qty), (coin.quote, -order.sign * price * qty), (asset, -fee)):
            self.free[name] = self.free.get(name, Fraction(0)) + change
        return fee, asset
