"""Why two courses of cycles on chains differ: aligned by block, each difference with one cause.

What a backtest assumes of a chain is declared (docs/diff.md, ADR 55): the gas that a way takes, fees that follow from blocks' gas, the place in a block,
others who come first, and that others go on alike in pools that we moved. What follows from that is a declared difference. Whatever else differs is
not, and is found as such.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from xarb.inquiry.align import overlapping, paired
from xarb.inquiry.chainblocks import Header, TwoChains
from xarb.inquiry.cyclecourse import Chance, Choice, Cycle, Flow
from xarb.inquiry.decided import Decided
from xarb.inquiry.grounds import Conduct, Configs
from xarb.inquiry.lenders import REASONS

DECLARED: Final = frozenset({"gas", "base fee", "inclusion", "competition", "own trade"})
_BY_FEES: Final = ("unprofitable", "fee_cap")  # reasons that rest on what gas costs
_BY_STATE: Final = (
    "balance",
    "budget",
    "max_open_bundles",
    "cool_down",
    "day_loss",
    "drawdown",
    "bundle_lost",
    "loss",
    "balance_share",
)
_MINED: Final = ("succeeded", "reverted")
_RANK: Final = {"opportunity": 0, "decision": 1, "bid": 2, "outcome": 3, "gas": 4, "base fee": 5}
Found = tuple[str, str, int | None]  # cause, what it rests on, and the place among the differences of the one it follows from


class ChainDifference(NamedTuple):
    """A difference before it is numbered: `of` is the place of the one it follows from, `cycles` those that it is about."""

    what: str
    ts: int
    strategy: str
    a: Any
    b: Any
    cause: str
    because: str
    of: int | None
    flow: Flow
    cycles: tuple[Cycle | None, Cycle | None]


class _Item(NamedTuple):
    """A difference before its cause is known, `block` is where it came about."""

    what: str
    block: Header
    strategy: str
    venue: str
    pools: tuple[str, ...]
    a: Any
    b: Any
    flow: Flow
    cycles: tuple[Cycle | None, Cycle | None]


class CyclePair(NamedTuple):
    """Cycles of decisions that belong together, None on the side that has none."""

    a: Cycle | None
    b: Cycle | None


class CycleComparison:
    """The cycles of both sides with what could set them apart.

    Args:
        sides: both.
        chances: of each side, its opportunities.
        configs, conducts: what they were told to do, and did.
        chains: by venue.
    """

    def __init__(
        self,
        sides: tuple[Decided, Decided],
        chances: tuple[list[Chance], list[Chance]],
        *,
        configs: Configs,
        conducts: tuple[Conduct, Conduct],
        chains: Mapping[str, TwoChains],
    ) -> None:
        self._simulated = tuple(side.reports == "sim_reports" for side in sides)
        self._configs, self._conducts, self.chains = configs, conducts, chains
        self.counts: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.pairs: list[CyclePair] = []
        self.differences: list[ChainDifference] = []
        self._of_pool: dict[tuple[str, str], int] = {}  # by strategy and pool the latest difference that changed what it could do
        self._of_strategy: dict[str, int] = {}
        for side in chances:
            for cycle in (choice.cycle for one in side for choice in one.choices if choice.cycle is not None):
                for pool in cycle.pools if cycle.included is not None else ():
                    assert cycle.included is not None
                    chains[cycle.venue].touch(pool, cycle.included)
        for item in sorted(self._items(chances), key=_order):
            self._add(item, *self._cause(item))

    def _add(self, item: _Item, cause: str, because: str, of: int | None) -> None:
        flow = {asset: change for asset, change in sorted(item.flow.items()) if change}
        self.differences.append(
            ChainDifference(item.what, item.block.ts, item.strategy, item.a, item.b, cause, because, of, flow, item.cycles)
        )
        if item.what in ("decision", "outcome"):
            place = len(self.differences) - 1
            self._of_strategy[item.strategy] = place
            self._of_pool |= dict.fromkeys(((item.strategy, pool) for pool in item.pools), place)

    # --- what differs

    def _items(self, chances: tuple[list[Chance], list[Chance]]) -> Iterator[_Item]:
        keys = sorted({(one.strategy, one.markets) for side in chances for one in side}, key=str)
        for strategy, markets in keys:
            mine, theirs = ([one for one in side if (one.strategy, one.markets) == (strategy, markets)] for side in chances)
            blank = _Item("", _NO_BLOCK, strategy, markets[0][0], tuple(pool for _, pool in markets), None, None, {}, (None, None))
            for a, b in overlapping(mine, theirs, _span):
                self._count("opportunities", (a, b))
                yield from self._of_chance(a, b, blank)
                yield from self._of_choices(a, b, blank)

    def _count(self, what: str, pair: Sequence[Any]) -> None:
        self.counts[what, "both" if pair[0] and pair[1] else "only A" if pair[0] else "only B"] += 1

    def _of_chance(self, a: Chance | None, b: Chance | None, blank: _Item) -> Iterator[_Item]:
        if a is not None and b is not None and _life(a) == _life(b):
            return
        opened = a is not None and b is not None and _life(a)[0] == _life(b)[0]
        ends = [_end(one) if opened else one.opened[0] for one in (a, b) if one is not None]
        first = min((end for end in ends if end is not None), key=_place, default=None)
        yield blank._replace(what="opportunity", block=first or _NO_BLOCK, a=a, b=b)

    def _of_choices(self, a: Chance | None, b: Chance | None, blank: _Item) -> Iterator[_Item]:
        for mine, theirs in paired(() if a is None else a.choices, () if b is None else b.choices, _upon):
            self._count("decisions", (mine, theirs))
            cycles = CyclePair(None if mine is None else mine.cycle, None if theirs is None else theirs.cycle)
            if cycles.a or cycles.b:
                self.pairs.append(cycles)
                self._count("orders", cycles)
            if _decided(mine) != _decided(theirs):
                first = min((one.block for one in (mine, theirs) if one is not None), key=_place)
                yield blank._replace(what="decision", block=first, a=mine, b=theirs, flow=_change(cycles), cycles=cycles)
            elif cycles.a is not None and cycles.b is not None:
                yield from self._of_cycles(cycles.a, cycles.b, blank)

    def _of_cycles(self, a: Cycle, b: Cycle, blank: _Item) -> Iterator[_Item]:
        same = blank._replace(block=a.block, a=a, b=b, cycles=(a, b))
        if a.bid != b.bid:
            yield same._replace(what="bid")
        if a.outcome != b.outcome or a.made != b.made or (a.gas_used is None) != (b.gas_used is None):
            yield same._replace(what="outcome", flow=_change((a, b)))
            return
        if (a.gas_used, a.price_wei, a.gas) == (b.gas_used, b.price_wei, b.gas):
            return
        (asset,) = {*a.gas, *b.gas}
        whole = b.gas.get(asset, 0) - a.gas.get(asset, 0)
        assert a.gas_used is not None
        assert b.gas_used is not None
        assert a.price_wei is not None
        units = -(b.gas_used - a.gas_used) * a.price_wei
        if units:
            yield same._replace(what="gas", flow={asset: units})
        if whole - units or a.price_wei != b.price_wei:
            yield same._replace(what="base fee", flow={asset: whole - units})

    # --- why

    def _cause(self, item: _Item) -> Found:
        blocks = self.chains[item.venue].blocks
        for name, side in zip("AB", blocks, strict=True):
            if side.first is None or side.last is None or not side.first.place <= item.block.place <= side.last.place:
                return "missing data", f"{name} was not there", None
        if item.what == "outcome":
            return self._cause_of_outcome(item)
        if item.what == "bid":
            return self._cause_of_bid(item)
        if item.what in ("gas", "base fee"):
            return self._cause_of_cost(item)
        return self._cause_of_decision(item)

    def _cause_of_decision(self, item: _Item) -> Found:
        """Of an opportunity or a decision."""
        there = [blocks.by_place.get(item.block.place) for blocks in self.chains[item.venue].blocks]
        armed = [head is None or conduct.armed(head.ts) for head, conduct in zip(there, self._conducts, strict=True)]
        if item.what == "decision" and armed[0] != armed[1]:
            return "operator", f"{'B' if armed[0] else 'A'} was disarmed", None
        if item.what == "decision" and (by_fees := self._by_fees(item, there)):
            return "base fee", by_fees, None
        return self._grounds(item, item.block.number, outcome=False)

    def _by_fees(self, item: _Item, there: Sequence[Header | None]) -> str:
        """Whether a decision went otherwise for what gas costs alone."""
        a, b = item.a, item.b
        reasons = {None if one is None else one.reason for one in (a, b)}
        if a is None or b is None or (a.block.place, a.edge_ppb) != (b.block.place, b.edge_ppb):
            return ""
        paid = a.cycle and b.cycle and _but_funding(a.cycle) == _but_funding(b.cycle)
        return _fees_differ(there) if paid or reasons & {*_BY_FEES} else ""

    def _grounds(self, item: _Item, number: int, *, outcome: bool) -> Found:
        """Others' acts, ours before, and keys of the config, as of the end of a block; else nothing is known that explains it."""
        chain = self.chains[item.venue]
        by_others = None
        for pool in item.pools:
            parted = chain.parted(pool, number)
            if parted is not None and not parted.by_us:
                return "missing data", f"{parted.what}: {pool} since block {parted.number}", None
            if parted is not None:
                by_others = by_others or f"{parted.what}: {pool} since block {parted.number}"
        if words := self._by_lenders(item, number):
            return "lender", words, None
        earlier = self._earlier(item)
        if earlier is not None:
            return "consequence", "its pools or its strategy were not the same any more", earlier
        if by_others:
            return "own trade", by_others, None
        for cause in ("fee", "latency", "config"):
            keys = self._configs.keys(cause, item.strategy, [item.venue], outcome=outcome)
            if keys:
                return cause, ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else ""), None
        return "unexplained", "blocks, pools and state were the same as far as the logs tell", None

    def _by_lenders(self, item: _Item, number: int) -> str:
        """Whether lenders said something else, where a side borrowed or passed on it for a lender's sake."""
        cycles = [one for one in item.cycles if one is not None]
        reasons = {one.reason for one in (item.a, item.b) if isinstance(one, Choice | Cycle)}
        borrowed = any(len(one.plan[1].split()) > 1 for one in cycles)
        if not borrowed and not reasons & REASONS:
            return ""
        amounts = {int(one.plan[2]) for one in cycles}
        return self.chains[item.venue].lenders_differ(number, max(amounts, default=None))

    def _earlier(self, item: _Item) -> int | None:
        """The latest difference that this one may follow from: in one of its pools; or of the strategy, where it was held back by what it had done."""
        places = [self._of_pool[key] for pool in item.pools if (key := (item.strategy, pool)) in self._of_pool]
        reasons = {one.reason for one in (item.a, item.b) if isinstance(one, Choice | Cycle)}
        if reasons & {*_BY_STATE} and item.strategy in self._of_strategy:
            places.append(self._of_strategy[item.strategy])
        return max(places, default=None)

    def _cause_of_bid(self, item: _Item) -> Found:
        there = [item.a.block, item.b.block]
        if words := _fees_differ(there):
            return "base fee", words, None
        return self._grounds(item, item.block.number, outcome=False)

    def _cause_of_outcome(self, item: _Item) -> Found:
        a, b = item.a, item.b
        chain = self.chains[item.venue]
        if a.canceled != b.canceled and any(
            ts in conduct.kills for conduct, one in zip(self._conducts, (a, b), strict=True) for ts in one.canceled
        ):
            return "operator", "its cancel was an act of the operator", None
        for name, one in zip("AB", (a, b), strict=True):
            if one.state in ("pending", "sent"):
                return "missing data", f"{name} ended before it heard what became of it", None
        latencies = self._configs.keys("latency", item.strategy, [item.venue], outcome=True)
        after = [None if one.included is None else one.included - one.block.number for one in (a, b)]
        if after[0] != after[1] and latencies:
            return "latency", ", ".join(latencies[:3]), None
        named = self._configs.keys("config", item.strategy, [item.venue], outcome=True)
        if named and all(self._simulated):
            return "config", ", ".join(named[:3]), None
        if any(one.reason == "out_of_gas" for one, is_it in zip((a, b), self._simulated, strict=True) if is_it):
            return "gas", "the most that was measured of its way was above its limit", None
        if "taken" in (a.reason, b.reason):
            return "competition", "somebody else was drawn to be first", None
        if after[0] != after[1] and None not in after:
            return "inclusion", f"in block {after[0]} after its decision, and in block {after[1]}", None
        number = a.included or b.included
        if number is not None:
            for pool in item.pools:
                if not chain.same_acts(pool, number) and {a.state, b.state} == {*_MINED}:
                    return "competition", f"others did something else in {pool} in its block", None
                if any(acts.came_after(pool, number) for acts in chain.acts):
                    return "inclusion", f"others came behind it in {pool} in its block, where they are simulated before it", None
        if {a.state, b.state} & {"refused", "dropped"} and a.state != b.state and not all(self._simulated):
            one = a if a.state in ("refused", "dropped") else b
            return "report", f"{one.state}: {one.reason}", None
        return self._grounds(item, number or item.block.number, outcome=True)

    def _cause_of_cost(self, item: _Item) -> Found:
        """Of gas that was used, and of its price, where everything else was the same."""
        a, b = item.a, item.b
        if item.what == "gas":
            real = [one for one, simulated in zip((a, b), self._simulated, strict=True) if not simulated]
            if len(real) == 1:
                reckoned = b if real[0] is a else a
                if real[0].gas_used <= reckoned.gas_used:
                    return "gas", "the most that was measured of its way is what is simulated", None
                return "unexplained", "it used more gas than was ever measured of its way", None
            if len(real) == len(self._simulated):
                return "gas", "what contracts had to write was not the same", None
            return self._grounds(item, item.block.number, outcome=True)
        heads = [blocks.by_number.get(one.included) for blocks, one in zip(self.chains[item.venue].blocks, (a, b), strict=True)]
        fees = [None if head is None else head.base_fee_wei for head in heads]
        if None not in fees and fees[0] != fees[1] and a.price_wei - fees[0] == b.price_wei - fees[1]:
            return "base fee", f"its block had a base fee of {fees[0]} wei, and of {fees[1]}", None
        return self._grounds(item, item.block.number, outcome=True)


_NO_BLOCK: Final = Header(-1, -1, 0, None, 0, 0)


def _span(one: Chance) -> tuple[int, int | None]:
    return one.opened[0].place, None if one.closed is None else one.closed[0].place


def _upon(one: Choice) -> int:
    return one.block.place


def _life(one: Chance) -> tuple[Any, Any]:
    opened, closed = one.opened, one.closed
    return (opened[0].place, opened[1]), None if closed is None else (closed[0].place, *closed[1:])


def _end(one: Chance) -> Header | None:
    return None if one.closed is None else one.closed[0]


def _decided(one: Choice | None) -> tuple[Any, ...] | None:
    """What of a decision must be equal on both sides."""
    if one is None:
        return None
    return (one.block.place, one.verdict, one.reason, one.edge_ppb, None if one.cycle is None else one.cycle.plan)


def _but_funding(one: Cycle) -> tuple[Any, ...]:
    hops, _, amount, *_ = one.plan
    return (hops, amount)


def _fees_differ(there: Sequence[Header | None]) -> str:
    """In which words the blocks say that gas will cost something else; empty where they do not."""
    fees = [None if head is None else (head.base_fee_wei, head.gas_used, head.gas_limit) for head in there]
    if None in fees or fees[0] == fees[1]:
        return ""
    return "the blocks had base fees of {} and {} wei, and {} and {} gas in them".format(
        *(one[at] for at in (0, 1) for one in fees if one is not None)
    )


def _change(cycles: Sequence[Cycle | None]) -> Flow:
    """What the cycle of side B changed, less what that of side A did."""
    found: Flow = {}
    for sign, one in zip((-1, 1), cycles, strict=True):
        for asset, change in one.flow.items() if one is not None else ():
            found[asset] = found.get(asset, 0) + sign * change
    return found


def _place(block: Header) -> int:
    return block.place


def _order(item: _Item) -> tuple[int, int, str, tuple[str, ...]]:
    return (item.block.place, _RANK[item.what], item.strategy, item.pools)
