"""The rule of the micro strategy in plain Python: every size is tried, none is derived."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor
from typing import NamedTuple

from tests.plain.bundles import Leg, Plan
from tests.plain.desk import Desk
from tests.plain.episodes import Episodes, Pair, Wake
from tests.plain.feeds import PPB, Feed
from tests.plain.rows import Outputs
from tests.plain.venue import MONEY

Found = tuple[Fraction, Fraction, Fraction, Fraction]  # profit, bought, sold, what moving inventory costs
Side = tuple[int, int]  # instrument, and 1 for its asks, -1 for its bids


class Pass(NamedTuple):
    """An episode that was looked at and refused; value and bound as the reason has them, times in seconds."""

    pair: Pair
    reason: str
    value: Fraction | None = None
    bound: Fraction | None = None


class Rule:
    """One strategy's memory and decisions."""

    def __init__(self, number: int, desk: Desk, episodes: Episodes, outputs: Outputs) -> None:
        self.number, self.desk, self.episodes, self.outputs = number, desk, episodes, outputs
        self.terms = desk.strategies[number]
        self.asked: dict[Side, tuple[int, Fraction]] = {}  # row that set the side, size asked of it since
        self.in_flight: dict[Side, tuple[Pair, int]] = {}
        self.cooling: dict[int, int] = {}
        self.rested_on: dict[int, tuple[int, int]] = {}
        self.told: dict[int, tuple[int, list[str]]] = {}

    def on_wake(self, wake: Wake) -> list[Plan | Pass]:
        """Plans and passes, decided one after the other before any of them is sent."""
        if self.desk.open[self.number] == 0:
            self.in_flight.clear()
        if wake.pair is None:
            pairs = sorted(self.episodes.open(self.number), key=lambda pair: (-pair.edge, pair.number))
        elif wake.kind == "close":
            self.told.pop(wake.pair.number, None)
            return []
        else:
            pairs = [wake.pair]
            if wake.kind == "rearm":
                self.in_flight = {side: entry for side, entry in self.in_flight.items() if entry[0] is not wake.pair}
                self.rested_on.pop(wake.pair.number, None)
        found: list[Plan | Pass] = []
        spent: dict[tuple[str, str], Fraction] = {}
        for pair in pairs:
            planned = sum(isinstance(one, Plan) for one in found)
            decision = self._decide(pair, planned, spent)
            if isinstance(decision, Plan) or (decision is not None and self._is_news(pair, decision.reason)):
                found.append(decision)
        return found

    def _is_news(self, pair: Pair, reason: str) -> bool:
        """A reason is told once in an episode."""
        opportunity, reasons = self.told.get(pair.number, (-1, []))
        if opportunity != pair.opportunity:
            reasons = []
        self.told[pair.number] = (pair.opportunity, [*reasons, reason])
        return reason not in reasons

    def _decide(self, pair: Pair, planned: int, spent: dict[tuple[str, str], Fraction]) -> Plan | Pass | None:
        terms, now = self.terms, self.outputs.now
        if pair.abnormal:
            return Pass(pair, "abnormal_edge", Fraction(pair.edge, PPB), Fraction(terms.max_edge_ppb, PPB))
        sides: list[tuple[Feed, Side]] = [(pair.sell, (pair.sell.number, -1)), (pair.buy, (pair.buy.number, 1))]
        for _, side in sides:
            owner, since = self.in_flight.get(side, (None, 0))
            if owner is not None and now < since + terms.timeout_ns:
                return None if owner is pair else Pass(pair, "leg_in_flight")
        if now < self.cooling.get(pair.number, 0):
            return Pass(pair, "cool_down")
        bundles = self.desk.open[self.number] + planned
        if bundles >= terms.max_open_bundles:
            return Pass(pair, "max_open_bundles", Fraction(bundles), Fraction(terms.max_open_bundles))
        ways = [self.desk.breakers[feed.coin.venue].way(now) for feed, _ in sides]
        for (feed, _), way in zip(sides, ways, strict=True):
            if way == "none":
                return Pass(pair, "breaker_open")
            if not feed.tradable:
                return Pass(pair, "feed_not_tradable")
            age = now - feed.confirmed
            if age > terms.latency_threshold_ns:
                return Pass(pair, "stale_quote", Fraction(age, PPB), Fraction(terms.latency_threshold_ns, PPB))
        seqs = (pair.sell.bid_seq, pair.buy.ask_seq)
        if self.rested_on.get(pair.number) == seqs:
            return None
        return self._size(pair, seqs, spent, is_probe="probe" in ways)

    def _left(self, feed: Feed, sign: int, seq: int) -> Fraction:
        """Size of a side, less what was asked of it since a row set it."""
        assert feed.quote is not None
        shown = Fraction(feed.quote.ask_qty if sign > 0 else feed.quote.bid_qty, feed.coin.qty)
        since, asked = self.asked.get((feed.number, sign), (-1, Fraction(0)))
        return shown - asked if since == seq else shown

    def _size(self, pair: Pair, seqs: tuple[int, int], spent: dict[tuple[str, str], Fraction], *, is_probe: bool) -> Plan | Pass:
        sell, buy = pair.sell, pair.buy
        assert sell.quote is not None
        assert buy.quote is not None
        bid, ask = Fraction(sell.quote.bid, sell.coin.px), Fraction(buy.quote.ask, buy.coin.px)
        lefts = [self._left(sell, -1, seqs[0]), self._left(buy, 1, seqs[1])]
        if min(lefts) <= 0:
            return Pass(pair, "depth", Fraction(0))
        places = [(sell.coin.venue, sell.coin.base), (buy.coin.venue, buy.coin.quote)]
        funds = [self.desk.free(self.number, *place) - spent.get(place, Fraction(0)) for place in places]
        found = self._best(pair, lefts, funds)
        if found is None:
            return Pass(pair, self._too_small(sell.coin.lot, lefts, funds, (bid, ask)), Fraction(0), sell.coin.lot)
        most = sell.coin.lot
        while is_probe and most < found[2]:
            smaller = self._best(pair, [min(most, lefts[0]), lefts[1]], funds)
            if smaller is not None and self._ratio(smaller, ask) >= self.terms.min_profit_ppb:
                found = smaller
                break
            most *= 2
        profit, bought, sold, moving = found
        least = Fraction(ceil(bought * ask * MONEY), MONEY)
        profit = Fraction(floor(profit * MONEY), MONEY)
        moving = Fraction(ceil(moving * MONEY), MONEY)
        least_profit = Fraction(0) if is_probe else self.terms.min_profit_quote
        required = max(Fraction(ceil(least * MONEY * self.terms.min_profit_ppb / PPB), MONEY), least_profit)
        if profit < required <= profit + moving:
            return Pass(pair, "inventory_cost", moving, profit + moving - required)
        ratio = self._ratio(found, ask)
        if ratio < self.terms.min_profit_ppb:
            return Pass(pair, "min_profit_bps", Fraction(ratio, PPB), Fraction(self.terms.min_profit_ppb, PPB))
        if profit < least_profit:
            return Pass(pair, "min_profit_quote", profit, least_profit)
        legs = (Leg(sell, -1, bid, sold), Leg(buy, 1, ask, bought))
        self._remember(pair, seqs, legs, spent)
        return Plan(self.number, pair, legs)

    def _ratio(self, found: Found, ask: Fraction) -> int:
        """Profit over what the bought quantity costs, in ppb."""
        profit, bought, _, _ = found
        return floor(Fraction(floor(profit * MONEY), MONEY) / Fraction(ceil(bought * ask * MONEY), MONEY) * PPB)

    def _best(self, pair: Pair, lefts: list[Fraction], funds: list[Fraction]) -> Found | None:
        """(profit, bought, sold, what moving inventory costs) of the size that earns most of all that depth, limit and balances allow, None where none does.

        Both sides have the same units: sizes are counted in lots, money in the unit of a price times a lot times a ppb.
        """
        coin, sell, buy = pair.sell.coin, pair.sell.quote, pair.buy.quote
        assert sell is not None
        assert buy is not None
        assert (coin.px, coin.qty) == (pair.buy.coin.px, pair.buy.coin.qty)
        sell_venue, buy_venue = (self.desk.venues[feed.coin.venue] for feed in (pair.sell, pair.buy))
        sells_in_base = sell_venue.fee_asset == "base"
        buys_in_base = buy_venue.fee_asset in ("base", "received")
        gives = PPB + (sell_venue.taker_ppb if sells_in_base else 0)  # ppb of a lot that selling one takes
        keeps = PPB - (buy_venue.taker_ppb if buys_in_base else 0)  # ppb of a lot that buying one leaves
        bid = sell.bid * (PPB - (0 if sells_in_base else sell_venue.taker_ppb))
        ask = buy.ask * (PPB + (0 if buys_in_base else buy_venue.taker_ppb))
        unit = coin.px * coin.qty
        limit = floor(self.terms.max_notional * unit)
        have = (floor(funds[0] * coin.qty * PPB), floor(funds[1] * unit * PPB))
        depth = [floor(left * coin.qty) for left in lefts]
        moving = self._moving(pair)
        best: tuple[int, int, int, int] | None = None
        for sold in range(1, depth[0] + 1):
            bought = ceil(Fraction(sold * gives, keeps)) if sells_in_base or buys_in_base else sold
            if sold * sell.bid > limit or bought * buy.ask > limit or bought > depth[1]:
                break
            if sold * gives > have[0] or bought * ask > have[1]:
                break
            moved = sum(max(0, bought - free) * buy.ask * ppb for free, ppb in moving)
            profit = sold * bid - bought * ask - moved
            if best is None or profit > best[0]:
                best = (profit, bought, sold, moved)
        if best is None:
            return None
        return (
            Fraction(best[0], unit * PPB),
            Fraction(best[1], coin.qty),
            Fraction(best[2], coin.qty),
            Fraction(best[3], unit * PPB),
        )

    def _moving(self, pair: Pair) -> list[tuple[int, int]]:
        """Of base and quote the lots that may be bought without moving anything away from the targets, and what each more costs, in ppb."""
        coin, buy = pair.buy.coin, pair.buy.quote
        assert buy is not None
        found = []
        for asset, source, to in ((coin.base, pair.sell.coin.venue, coin.venue), (coin.quote, coin.venue, pair.sell.coin.venue)):
            ppb = dict(self.terms.moving).get(asset, 0)
            free = self._surplus(source, asset) + max(Fraction(0), -self._drift(to, asset))
            lots = floor(free * coin.qty) if asset == coin.base else floor(free * coin.px * coin.qty / buy.ask)
            found.append((lots, ppb))
        return found

    def _surplus(self, venue: str, asset: str) -> Fraction:
        return max(Fraction(0), self._drift(venue, asset))

    def _drift(self, venue: str, asset: str) -> Fraction:
        """How far a balance lies above its target, zero where there is none."""
        shares = {name: share for (name, one), share in self.desk.shares.items() if one == asset}
        if venue not in shares:
            return Fraction(0)
        total = sum((self.desk.balances.get((name, asset), Fraction(0)) for name in shares), Fraction(0))
        target = Fraction(floor(total * shares[venue] * MONEY), MONEY)
        return self.desk.balances.get((venue, asset), Fraction(0)) - target

    def _too_small(self, lot: Fraction, lefts: list[Fraction], funds: list[Fraction], prices: tuple[Fraction, Fraction]) -> str:
        """Why not even one lot can be traded; the sell side's reason comes before the buy side's."""
        for left, fund, price, buys in ((lefts[0], funds[0], prices[0], False), (lefts[1], funds[1], prices[1], True)):
            if left < lot:
                return "depth"
            if self.terms.max_notional < lot * price:
                return "max_notional"
            if fund < (lot * price if buys else lot):
                return "balance"
        return "balance"

    def _remember(self, pair: Pair, seqs: tuple[int, int], legs: tuple[Leg, Leg], spent: dict[tuple[str, str], Fraction]) -> None:
        now = self.outputs.now
        for leg, seq in zip(legs, seqs, strict=True):
            side = (leg.feed.number, leg.sign)
            since, asked = self.asked.get(side, (-1, Fraction(0)))
            self.asked[side] = (seq, leg.qty + (asked if since == seq else 0))
            self.in_flight[side] = (pair, now)
            asset, amount = self.desk.hold(leg, leg.qty)
            place = (leg.feed.coin.venue, asset)
            spent[place] = spent.get(place, Fraction(0)) + amount
        if self.terms.cool_down_ns > 0:
            self.cooling[pair.number] = now + self.terms.cool_down_ns
        self.rested_on[pair.number] = seqs
