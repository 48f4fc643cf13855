"""Why two aligned courses differ: each difference gets one cause, in order of time, so that what follows from an earlier one can say so.

A difference is of the opportunity, of the decision (with all planned orders of its bundle), of an order that execution sent by itself,
of an order's outcome, or of its fees. Every order of both sides is in one pair, and its whole change of money in the differences of that
pair: the sums by cause add up to the difference of the ledgers because nothing else is summed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from xarb.inquiry.align import DecisionPair, EpisodePair, OrderPair, align_decisions, align_episodes, align_orders
from xarb.inquiry.chainblocks import TwoChains
from xarb.inquiry.course import Course, Decision, Flow, Market, Order
from xarb.inquiry.cyclecauses import CycleComparison
from xarb.inquiry.cyclecourse import chances_of, cycles_of
from xarb.inquiry.decided import Decided
from xarb.inquiry.grounds import Conduct, Configs, Inputs
from xarb.inquiry.surplus import Fees
from xarb.inquiry.swapcourse import PURPOSE

CAUSES: Final = {
    "missing data": "the inputs that it rested on were not the same, or one side was not there",
    "operator": "one side was armed and the other was not, or somebody killed its orders",
    "fee": "other fees",
    "config": "another key of the config than those of fees, latencies and timers",
    "timer": "a timer woke one side and not the other, or later",
    "latency": "the order met the market, or its report came back, at another time",
    "report": "a venue rejected the order of one side only, or never answered",
    "fill": "a real venue filled it otherwise than the simulated one",
    "gas": "a transaction used other gas than the most that was measured of its way, with which the simulation reckons",
    "base fee": "blocks had other gas in them, ours among it, so that gas had another price",
    "lender": "lenders of the chain took something else for a loan, or had too little of it on one side alone",
    "inclusion": "a block took a transaction in at another place: in another block, or before others of its block",
    "competition": "others did something else in its block, or were drawn to be first",
    "own trade": "others asked for something else, or for more than rows prove, in a pool that a transaction of ours had moved",
    "consequence": "follows from an earlier difference: money, open bundles, cool-downs or liquidity were not the same any more",
    "unexplained": "none of the others: inputs and state were the same as far as the logs tell",
}


# Reasons for which a strategy or risk holds back because of what was done before, and the key that bounds it.
_HELD_BACK: Final = {
    "cool_down": "cool_down_ms",
    "leg_in_flight": "execution_timeout_ms",
    "order_unknown": "execution_timeout_ms",
    "max_open_bundles": "max_open_bundles",
    "balance": "opening",
    "budget": "budget",
    "max_exposure": "max_exposure",
    "price_band": "price_band_bps",
    "symbol_open": "max_symbol_open_quote",
    "venue_open": "max_venue_open_quote",
    "day_loss": "max_day_loss",
    "drawdown": "max_drawdown",
    "bundle_loss": "max_bundle_loss",
    "bundle_lost": "max_bundle_loss",
    "daily_volume": "daily_volume_quote",
    "daily_symbol": "daily_symbol_quote",
    "daily_venue": "daily_venue_quote",
    "loss": "on_loss",
    "breaker_open": "breakers",
    "breaker_probing": "breakers",
    "breaker_probe": "probe_quote",
    "orders_per_second": "max_orders_per_s",
    "bundles_per_minute": "max_bundles_per_min",
    "balance_share": "max_balance_share_bps",
}


class Difference(NamedTuple):
    """One difference and its cause.

    Attributes:
        number: counts from 1 in order of time.
        what: opportunity, decision, order, outcome or fee; of cycles on chains also bid, gas or base fee.
        ts: when the sides parted, ns.
        strategy: whose.
        a, b: what stood on each side, None for nothing.
        cause: a key of CAUSES.
        because: what it rests on.
        of: the earlier difference that it follows from.
        root: the cause at the beginning of that chain.
        flow: what it makes of the money, b minus a, by asset.
    """

    number: int
    what: str
    ts: int
    strategy: str
    a: Any
    b: Any
    cause: str
    because: str
    of: int | None
    root: str
    flow: Flow


Life = tuple[int, int | None] | None


class _Item(NamedTuple):
    """A difference before its cause is known; `episode` and `bundle` are the pairs that it belongs to, by place.

    `lives` are the ends of the opportunity on both sides, None where there is none.
    """

    what: str
    ts: int
    strategy: str
    markets: tuple[Market, ...]
    a: Any
    b: Any
    flow: Flow
    episode: int
    bundle: int
    lives: tuple[Life, Life]


class _Past:
    """The latest difference that changed what a strategy, its account or an order could do, by what it concerns."""

    def __init__(self, sides: Sequence[Decided]) -> None:
        self._latest: dict[tuple[str, Any], Difference] = {}
        self._accounts: dict[str, set[str]] = {}  # by strategy
        for side in sides:
            for name, config in side.resolved.strategies.items():
                self._accounts.setdefault(name, set()).add(config.account)

    def note(self, found: Difference, item: _Item) -> None:
        """A difference got its cause."""
        if item.what != "opportunity":
            for key in (("episode", item.episode), ("bundle", item.bundle), *self._touched(item)):
                self._latest[key] = found

    def of(self, what: str, place: int) -> Difference | None:
        """The latest of one episode or bundle."""
        return self._latest.get((what, place))

    def before(self, item: _Item) -> Difference | None:
        """The latest of the item's strategy or account, or, as orders take liquidity, of its orders' markets."""
        found = [self._latest[key] for key in self._touched(item) if key in self._latest]
        return max(found, key=_number, default=None)

    def _touched(self, item: _Item) -> list[tuple[str, Any]]:
        orders: list[Order] = []
        for one in (item.a, item.b):
            orders += one.orders if isinstance(one, Decision) else [one] if isinstance(one, Order) else []
        keys: list[tuple[str, Any]] = [("strategy", item.strategy), *(("market", order.market) for order in orders)]
        return keys + [("account", account) for account in sorted(self._accounts.get(item.strategy, ()))]


class Comparison:
    """Both sides with what could set them apart."""

    def __init__(self, sides: tuple[Decided, Decided], courses: tuple[Course, Course]) -> None:
        self.sides, self.courses = sides, courses
        self.configs = Configs(*sides)
        self.inputs = Inputs(*sides, (courses[0].first_ts, courses[1].first_ts))
        self._conducts = (Conduct(sides[0]), Conduct(sides[1]))
        self._fees = Fees(sides[0])
        self._is_real = any(side.reports == "reports" for side in sides)
        self.counts: dict[tuple[str, str], int] = {}
        self.differences: list[Difference] = []
        self._past = _Past(sides)
        self.swaps: list[OrderPair] = []
        for item in sorted(self._items(), key=_order):
            self._add(item, *self._cause(item))
        self.cycles = self._compare_cycles()
        self._number_cycles()

    # --- what differs

    def _items(self) -> Iterator[_Item]:
        bundle = 0
        for number, episodes in enumerate(align_episodes(*self.courses)):
            one = episodes.a or episodes.b
            assert one is not None
            self._count("opportunities", episodes)
            yield from self._of_episode(episodes, number)
            for decisions in align_decisions(episodes):
                self._count("decisions", decisions)
                bundle += 1
                blank = _Item("decision", 0, one.pair[0], one.pair[1], *decisions, {}, number, bundle, _lives(episodes))
                yield from self._of_decision(decisions, blank)

    def _count(self, what: str, pair: EpisodePair | DecisionPair | OrderPair) -> None:
        where = "both" if pair.a and pair.b else "only A" if pair.a else "only B"
        self.counts[what, where] = self.counts.get((what, where), 0) + 1

    def _of_episode(self, pair: EpisodePair, number: int) -> Iterator[_Item]:
        one = pair.a or pair.b
        assert one is not None
        if one.number is None:
            return  # no opportunity: the decision stands for itself
        shown: list[Any] = [None if side is None else (side.number, side.opened, side.closed) for side in pair]
        if pair.a is None or pair.b is None or shown[0][1:] != shown[1][1:]:
            opened = pair.a is not None and pair.b is not None and pair.a.opened == pair.b.opened
            ends = [side.last if opened else side.first for side in pair if side is not None]
            ts = min(end for end in (*ends, max(course.last_ts for course in self.courses)) if end is not None)
            yield _Item("opportunity", ts, one.pair[0], one.pair[1], shown[0], shown[1], {}, number, 0, _lives(pair))

    def _of_decision(self, pair: DecisionPair, blank: _Item) -> Iterator[_Item]:
        """What differs in a pair of decisions; `blank` has all but time and money."""
        orders = list(align_orders(pair))
        for order in orders:
            self._count("orders", order)
            if any(one is not None and one.purpose == PURPOSE for one in order):
                self.swaps.append(order)
        mine, theirs = (_shown(one) for one in pair)
        if mine == theirs:
            for order in orders:
                yield from self._of_order(order, blank)
            return
        both = pair.a is not None and pair.b is not None and pair.a.verdict == pair.b.verdict == "taken"
        mark = [one for one in orders if not both or _is_planned(one, pair)]
        flow: Flow = {}
        for order in mark:
            rest, surplus = self._fees.split(order)
            _add(flow, rest)
            if both and order.a and order.b and surplus:
                yield _of_fee(order.a, order.b, blank, surplus)
            else:
                _add(flow, surplus)
        places = tuple({order.market: None for one in mark for order in one if order is not None})
        ts = min(one.ts for one in pair if one is not None)
        yield blank._replace(ts=ts, markets=(*blank.markets, *places), flow=flow)
        for order in orders:
            if order not in mark:
                yield from self._of_order(order, blank)

    def _of_order(self, pair: OrderPair, blank: _Item) -> Iterator[_Item]:
        a, b = pair
        rest, surplus = self._fees.split(pair)
        if a is None or b is None or (a.ts, a.purpose, a.market, a.plan) != (b.ts, b.purpose, b.market, b.plan):
            ts = min(one.ts for one in pair if one is not None)
            _add(rest, surplus)
            yield blank._replace(what="order", ts=ts, a=a, b=b, flow=rest)
            return
        if a.outcome != b.outcome or rest:
            yield blank._replace(what="outcome", ts=_heard(a, b), markets=(a.market,), a=a, b=b, flow=rest)
        if surplus:
            yield _of_fee(a, b, blank, surplus)

    # --- cycles on chains

    def _compare_cycles(self) -> CycleComparison:
        venues = sorted({market[0] for course in self.courses for markets, _ in course.on_chains for market in markets})
        times = [(course.first_ts, course.last_ts) for course in self.courses]
        chains = {venue: TwoChains(self.sides, venue, times) for venue in venues}
        mine, theirs = (
            chances_of(course.on_chains, blocks, cycles_of(side, blocks) if venues else {})
            for at, (side, course) in enumerate(zip(self.sides, self.courses, strict=True))
            for blocks in ({venue: chain.blocks[at] for venue, chain in chains.items()},)
        )
        return CycleComparison(self.sides, (mine, theirs), configs=self.configs, conducts=self._conducts, chains=chains)

    def _number_cycles(self) -> None:
        """Their differences, behind those of exchanges."""
        before = len(self.differences)
        for one in self.cycles.differences:
            of = None if one.of is None else self.differences[before + one.of]
            shown = (one.what, one.ts, one.strategy, one.a, one.b, one.cause, one.because)
            root = one.cause if of is None else of.root
            number = len(self.differences) + 1
            self.differences.append(Difference(number, *shown, None if of is None else of.number, root, one.flow))
        for key, count in self.cycles.counts.items():
            self.counts[key] = self.counts.get(key, 0) + count

    # --- why

    def _add(self, item: _Item, cause: str, because: str, of: Difference | None) -> None:
        root = cause if of is None else of.root
        place = len(self.differences) + 1
        flow = {asset: change for asset, change in sorted(item.flow.items()) if change}
        shown = (item.what, item.ts, item.strategy, item.a, item.b)
        found = Difference(place, *shown, cause, because, None if of is None else of.number, root, flow)
        self.differences.append(found)
        self._past.note(found, item)

    def _cause(self, item: _Item) -> tuple[str, str, Difference | None]:
        """Cause, what it rests on, and the earlier difference where it follows from one."""
        if item.what == "fee":
            return (*self._cause_of_fee(item), None)
        if item.what == "outcome":
            return self._cause_of_outcome(item)
        if item.what == "order":
            earlier = self._past.of("bundle", item.bundle)
            if earlier is not None:
                return "consequence", "another part of its bundle went otherwise", earlier
        return self._cause_of_decision(item)

    def _cause_of_decision(self, item: _Item) -> tuple[str, str, Difference | None]:
        """Of an opportunity, a decision, or an order that nothing else in its bundle explains."""
        outside = self._outside(item.ts)
        if outside:
            return "missing data", outside, None
        if item.what != "opportunity" and self._conducts[0].armed(item.ts) != self._conducts[1].armed(item.ts):
            side = "A" if self._conducts[1].armed(item.ts) else "B"
            return "operator", f"{side} was disarmed", None
        for market in item.markets:
            differ = self.inputs.differ(market, item.ts)
            if differ:
                return "missing data", differ, None
        timer = self._timer(item) if item.what == "decision" else ""
        if timer:
            return "timer", timer, None
        busy, before = self._follows(item)
        if before is not None:
            return "consequence", busy, before
        for cause in ("fee", "config"):
            named = self._named(cause, item)
            if named:
                return cause, named, None
        earlier = None if item.what == "opportunity" else self._past.before(item)
        if earlier is not None:
            return "consequence", f"state was not the same after {earlier.what} {earlier.number}", earlier
        if self.inputs.rows:
            return "missing data", "the inputs differ earlier on", None
        return "unexplained", "inputs and state were the same as far as the logs tell", None

    def _cause_of_fee(self, item: _Item) -> tuple[str, str]:
        """Of other fees. A third coin's price makes them too: it may rest on other rows, be of another market, or of another time."""
        named = self._named("fee", item)
        coin = None if named or self._is_real else self._fees.coin_market(item.a)
        if coin is not None:
            rates = self.configs.keys("config", item.strategy, [coin[0]], outcome=True)
            if any(key.startswith("rates.") for key in rates):
                return "config", ", ".join(key for key in rates if key.startswith("rates."))
            differ = self.inputs.differ(coin, _heard(item.a, item.b))
            if differ:
                return "missing data", differ
            if item.a.heard_ns != item.b.heard_ns:
                return "latency", self._named("latency", item) or f"the price of {coin[1]} was that of another time"
        return "fee", named or "the venue charged otherwise than its schedule"

    def _cause_of_outcome(self, item: _Item) -> tuple[str, str, Difference | None]:
        a, b = item.a, item.b
        if a.canceled != b.canceled and any(
            ts in conduct.kills for conduct, one in zip(self._conducts, (a, b), strict=True) for ts in one.canceled
        ):
            return "operator", "its cancel was an act of the operator", None
        earlier = self._past.before(item)
        turned = [one for one in (a, b) if one.state in ("rejected", "unknown")]
        if len(turned) == 1:
            reason = turned[0].reason or turned[0].state
            if reason in ("balance", "rate_limit") and earlier is not None:
                return "consequence", f"{turned[0].state}: {reason}", earlier
            return "report", f"{turned[0].state}: {reason}", None
        for name, one in zip("AB", (a, b), strict=True):
            if one.heard_ns is None and one.state == "pending":
                return "missing data", f"{name} ended before it heard of the order", None
        if self._is_real and a.fills != b.fills:
            times = sorted(one.ts + (one.heard_ns or 0) for one in (a, b))
            if self.inputs.moved(a.market, *times):
                return "latency", "its market moved between the times at which it was heard of", None
            return "fill", "the venues filled it otherwise", None
        if self._is_real and a.purpose == PURPOSE and (a.state, a.reason) != (b.state, b.reason):
            return "fill", "the chain did otherwise with it than the simulated one", None
        if a.heard_ns != b.heard_ns:
            named = self._named("latency", item)
            if not named and not self._is_real and a.number != b.number and earlier is not None:
                return "consequence", f"its latency was drawn as that of order {a.number} and of order {b.number}", earlier
            return "latency", named or "the reports came after another time", None
        differ = self.inputs.differ(a.market, a.ts + (a.heard_ns or 0))
        if differ:
            return "missing data", differ, None
        named = self._named("config", item)
        if named:
            return "config", named, None
        if earlier is not None:
            return "consequence", f"liquidity or money were not the same after {earlier.what} {earlier.number}", earlier
        return "unexplained", "plan, latency, inputs and state were the same as far as the logs tell", None

    def _named(self, cause: str, item: _Item) -> str:
        """The keys of that cause that differ and concern the item, as text."""
        keys = self.configs.keys(
            cause, item.strategy, [venue for venue, _ in item.markets], outcome=item.what in ("outcome", "fee")
        )
        return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")

    def _outside(self, ts: int) -> str:
        for name, course in zip("AB", self.courses, strict=True):
            if not course.first_ts <= ts <= course.last_ts:
                return f"{name} was not there"
        return ""

    def _timer(self, item: _Item) -> str:
        """Whether a timer woke one side alone while the opportunity stood on both."""
        for at, name in enumerate("AB"):
            one, other = (item.a, item.b)[at], item.lives[1 - at]
            here, there = self._conducts[at], self._conducts[1 - at]
            stood = one is not None and other is not None and other[0] <= one.ts and (other[1] is None or one.ts <= other[1])
            if stood and here.woke(item.strategy, one.ts) and not there.woke(item.strategy, one.ts):
                return f"a timer woke {name} at that time and not the other"
        return ""

    def _follows(self, item: _Item) -> tuple[str, Difference | None]:
        """The earlier difference that a decision surely follows from, whatever the configs say, and why.

        That is so where a strategy was held back by what it had done before, if no key that differs is about that; and where one side
        did not decide at that time, after the sides had parted in the same opportunity.
        """
        if item.what != "decision":
            return "", None
        earlier = self._past.before(item)
        keys = self.configs.keys("config", item.strategy, [venue for venue, _ in item.markets], outcome=False)
        for name, one, other in (("A", item.a, item.b), ("B", item.b, item.a)):
            reason = None if one is None else one.reason
            if (
                reason in _HELD_BACK
                and (other is None or other.reason != reason)
                and not any(_HELD_BACK[reason] in key for key in keys)
            ):
                return f"{name} was held back: {reason}", earlier
        if item.a is None or item.b is None or item.a.ts != item.b.ts:
            return "the sides had parted in this opportunity", self._past.of("episode", item.episode)
        return "", None


def _of_fee(a: Order, b: Order, blank: _Item, surplus: Flow) -> _Item:
    return blank._replace(what="fee", ts=_heard(a, b), markets=(a.market,), a=a, b=b, flow=surplus)


def _heard(a: Order, b: Order) -> int:
    """When the first of both sides heard of its order."""
    return min(one.ts + (one.heard_ns or 0) for one in (a, b))


def total_of(differences: Iterable[Difference]) -> Flow:
    """The sum of all flows."""
    total: Flow = {}
    for one in differences:
        _add(total, one.flow)
    return total


def _add(flow: Flow, more: Flow) -> None:
    for asset, change in more.items():
        flow[asset] = flow.get(asset, 0) + change


def _shown(one: Decision | None) -> tuple[Any, ...] | None:
    """What of a decision must be equal on both sides."""
    if one is None:
        return None
    planned = tuple((order.market, order.plan) for order in one.orders if order.ts == one.ts and order.attempt == 0)
    return (one.ts, one.verdict, one.reason, one.basis, planned)


def _is_planned(pair: OrderPair, decisions: DecisionPair) -> bool:
    """Whether the strategy asked for these orders, on the sides that have them; else execution sent them later."""
    return any(
        order is not None and decision is not None and order.ts == decision.ts and order.attempt == 0
        for order, decision in zip(pair, decisions, strict=True)
    )


def _lives(pair: EpisodePair) -> tuple[Life, Life]:
    a, b = (None if one is None else (one.first, one.last) for one in pair)
    return a, b


def _number(one: Difference) -> int:
    return one.number


# At one time: what venues said comes before what execution and strategies made of it.
_RANK: Final = {"opportunity": 0, "outcome": 1, "fee": 2, "order": 3, "decision": 4}


def _order(item: _Item) -> tuple[Any, ...]:
    """Time, then what is said before what is done, then the place among the outputs or the order's number."""
    places: Sequence[int] = [
        one.number if isinstance(one, Order) else one.n for one in (item.a, item.b) if isinstance(one, Order | Decision)
    ]
    return (item.ts, _RANK[item.what], min(places, default=0), item.bundle)
