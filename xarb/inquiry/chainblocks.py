"""The blocks of a chain as two sides have them, and what others did to pools in them.

Blocks are told apart by their numbers: two chains that began alike and were traded on otherwise have other hashes for the same height. Over one log they
are told apart by their rows, so that blocks which were removed stand for themselves.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from xarb.inquiry.decided import Decided
from xarb.inquiry.lenders import Lenders, lenders_differ
from xarb.pools.constant_product import ConstantProduct
from xarb.venues.asked import again

Act = tuple[Any, ...]  # what somebody asked of a pool, first; then the state that it left
Reserves = tuple[int, int]
_HEADER: Final = ("seq", "ts_recv", "block_number", "block_hash", "event", "base_fee_wei", "gas_used", "gas_limit")
_ACTS: Final = (
    *("block_number", "block_hash", "log_index", "tx_hash", "symbol", "cause", "kind", "fee_ppm", "reserve0", "reserve1"),
    *("sqrt_price_x96", "liquidity", "tick", "tick_lower", "tick_upper", "liquidity_delta"),
)
_SWAPS: Final = ("block_hash", "log_index", "symbol", "delta0", "delta1", "in0", "in1")
_STATE: Final = ("reserve0", "reserve1", "sqrt_price_x96", "liquidity", "tick")
_PRICE: Final = _STATE.index("sqrt_price_x96")
SWAP: Final = "swap"
PRICED: Final = "liquidity of v2"  # it has other amounts in another state


class Header(NamedTuple):
    """A block: its place among those of its side, and what its row says."""

    place: int
    number: int
    ts: int
    base_fee_wei: int | None
    gas_used: int
    gas_limit: int


class Done(NamedTuple):
    """What somebody did in a pool: what was asked of it, the state that it left, its place in the block, and reserves before it (None: not known)."""

    asked: Act
    left: Act
    log_index: int
    was: Reserves | None


class Blocks:
    """The blocks of one side.

    Args:
        side: a run or a start.
        venue: the chain.
        times: when its first and its last input came, ns.
        by_seq: whether places are those of rows, else the blocks' numbers.
    """

    def __init__(self, side: Decided, venue: str, times: tuple[int, int], *, by_seq: bool) -> None:
        rows = side.rows("blocks", ("venue", "=", venue), columns=_HEADER)
        added = [row for row in rows if row["event"] == "added"]
        self._seqs = [row["seq"] for row in added]
        self._headers = [_header(row, by_seq=by_seq) for row in added]
        standing: dict[int, str] = {}
        self.by_number: dict[int, Header] = {}
        self.by_place: dict[int, Header] = {one.place: one for one in self._headers}
        for row in rows:
            if row["event"] == "removed":
                standing.pop(row["block_number"], None)
            else:
                standing[row["block_number"]] = row["block_hash"]
                self.by_number[row["block_number"]] = _header(row, by_seq=by_seq)
        self.hashes = frozenset(standing.values())
        began = 0 if side.span is None else side.span.first
        heads = zip(self._headers, self._seqs, strict=True)
        mine = [one for one, seq in heads if seq >= began and times[0] <= one.ts <= times[1]]
        self.first: Header | None = mine[0] if mine else None
        self.last: Header | None = mine[-1] if mine else None

    def at(self, after_seq: int) -> Header | None:
        """The newest block as of an output."""
        place = bisect_right(self._seqs, after_seq)
        return self._headers[place - 1] if place else None


def _header(row: Mapping[str, Any], *, by_seq: bool) -> Header:
    fee = row["base_fee_wei"]
    fees = (None if fee is None else int(fee), row["gas_used"], row["gas_limit"])
    return Header(row["seq"] if by_seq else row["block_number"], row["block_number"], row["ts_recv"], *fees)


class Acts:
    """What was done to the pools of a chain in the blocks that stand, by others and by us, as the log of one side has it."""

    def __init__(self, side: Decided, venue: str, hashes: frozenset[str]) -> None:
        where = ("venue", "=", venue)
        own = {row["tx_hash"] for row in side.rows("transactions", where, columns=("tx_hash",))}
        swaps = {(row["block_hash"], row["log_index"], row["symbol"]): row for row in side.rows("swaps", where, columns=_SWAPS)}
        self.others: defaultdict[tuple[str, int], list[Done]] = defaultdict(list)  # by pool and number of the block
        self.ours: defaultdict[tuple[str, int], list[int]] = defaultdict(list)  # the same, places in the block
        known: dict[str, Reserves] = {}
        for row in side.rows("pools", where, columns=_ACTS):
            if row["block_hash"] not in hashes:
                continue
            was = known.get(row["symbol"])
            if row["reserve0"] is not None:
                known[row["symbol"]] = (int(row["reserve0"]), int(row["reserve1"]))
            if row["log_index"] is None:
                continue
            key = (row["symbol"], row["block_number"])
            if row["tx_hash"] in own:
                self.ours[key].append(row["log_index"])
            else:
                of_log = row["log_index"] + (row["kind"] == "v2")
                asked = _asked(row, swaps.get((row["block_hash"], of_log, row["symbol"])))
                state = tuple(row[name] for name in _STATE)
                self.others[key].append(Done((row["fee_ppm"], *asked), state, row["log_index"], was))

    def came_after(self, pool: str, number: int) -> bool:
        """Whether others did something in a pool behind us in a block of the log."""
        ours, others = self.ours.get((pool, number)), self.others.get((pool, number))
        return bool(ours and others) and max(one.log_index for one in others or ()) > min(ours or ())


def _asked(row: Mapping[str, Any], swap: Mapping[str, Any] | None) -> Act:
    """What somebody asked of a pool, in terms that hold in any state of it."""
    if row["cause"] in ("mint", "burn"):
        return (row["cause"], row["tick_lower"], row["tick_upper"], row["liquidity_delta"])
    if swap is None:
        return (PRICED if row["cause"] == "sync" else row["cause"],)
    put = [int(swap[f"in{token}"]) if swap[f"in{token}"] is not None else max(int(swap[f"delta{token}"]), 0) for token in (0, 1)]
    taken = [max(-int(swap[f"delta{token}"]), 0) for token in (0, 1)]
    return (SWAP, tuple(put), tuple(taken))


def _same(one: Done, other: Done) -> bool:
    """Whether two acts ask for the same: swaps the same input, the same output, or the same price to stop at; which of them was asked for no row says."""
    mine, theirs = one.asked, other.asked
    if mine[1] != SWAP or theirs[1] != SWAP or mine[0] != theirs[0]:
        return mine == theirs
    (in0, in1), (out0, out1) = mine[2], mine[3]
    same_way = (in0 > 0, in1 > 0) == (theirs[2][0] > 0, theirs[2][1] > 0)
    stopped = one.left[_PRICE] is not None and one.left[_PRICE] == other.left[_PRICE]
    return same_way and (stopped or (in0, in1) == theirs[2] or (out0, out1) == theirs[3])


def _alike(mine: Sequence[Done], theirs: Sequence[Done]) -> bool:
    return len(mine) == len(theirs) and all(_same(one, other) for one, other in zip(mine, theirs, strict=True))


def _otherwise(one: Done, other: Done) -> str:
    """How liquidity of v2 on one side differs from what a simulation makes of it that knows the other side's row; empty where it does not."""
    if one.was is None or other.was is None:
        return f"{PRICED} changed after us, and what it was before no row says"
    try:
        found = again(_pool(other.was), _pool(one.was), _pool(_held(one)), ({"cause": "sync"}, None)).maths
    except ValueError:
        return f"{PRICED} changed after us as no pool could"
    assert isinstance(found, ConstantProduct)
    off = [abs(have - made) for have, made in zip(_held(other), (found.reserve0, found.reserve1), strict=True)]
    if not any(off):
        return ""
    return f"{PRICED} changed after us by {off[0]} of token0 and {off[1]} of token1 otherwise than its row proves"


def _held(one: Done) -> Reserves:
    return int(one.left[0]), int(one.left[1])


def _pool(reserves: Reserves) -> ConstantProduct:
    return ConstantProduct(reserve0=reserves[0], reserve1=reserves[1])


class Parted(NamedTuple):
    """From which block on a pool was not the same on both sides, whether that began with what we had done to it, and what it was."""

    number: int
    by_us: bool
    what: str


class TwoChains:
    """One chain on both sides.

    Args:
        sides: both.
        venue: the chain.
        times: of each side, when its first and its last input came, ns.
    """

    def __init__(self, sides: tuple[Decided, Decided], venue: str, times: Sequence[tuple[int, int]]) -> None:
        is_one = sides[0].log.resolve() == sides[1].log.resolve()
        mine, theirs = (Blocks(side, venue, span, by_seq=is_one) for side, span in zip(sides, times, strict=True))
        self.blocks = (mine, theirs)
        self.acts = tuple(Acts(side, venue, blocks.hashes) for side, blocks in zip(sides, self.blocks, strict=True))
        self._lenders = (Lenders(sides[0], venue, mine.hashes), Lenders(sides[1], venue, theirs.hashes))
        self._touched: dict[str, int] = {}  # by pool the first block in which either side had us in it
        for acts in self.acts:
            for pool, number in acts.ours:
                self.touch(pool, number)
        self._parted: dict[str, Parted | None] = {}
        simulated = [side.reports == "sim_reports" for side in sides]
        self._from = [is_first for is_first, is_it in zip((True, False), simulated, strict=True) if is_it] or [True]

    def touch(self, pool: str, number: int) -> None:
        """A transaction of ours was in a pool in a block, on one of the sides."""
        self._touched[pool] = min(number, self._touched.get(pool, number))

    def parted(self, pool: str, number: int) -> Parted | None:
        """Since when a pool is not the same on both sides, if it is not as of the end of a block."""
        if pool not in self._parted:
            self._parted[pool] = self._find(pool)
        found = self._parted[pool]
        return found if found is not None and found.number <= number else None

    def _find(self, pool: str) -> Parted | None:
        """The first block in which others did not do the same to a pool, or what they asked of it says too little."""
        firsts = [blocks.first for blocks in self.blocks]
        if firsts[0] is None or firsts[1] is None:
            return None
        since, touched = max(one.number for one in firsts if one is not None), self._touched.get(pool)
        numbers = sorted({number for acts in self.acts for of, number in acts.others if of == pool and number > since})
        for number in numbers:
            mine, theirs = (acts.others.get((pool, number), []) for acts in self.acts)
            by_us = touched is not None and number >= touched
            if not _alike(mine, theirs):
                what = "others asked for something else in it after us" if by_us else "what others did in it differs"
                return Parted(number, by_us, what)
            if not by_us and [one.left for one in mine] != [one.left for one in theirs]:
                return Parted(number, by_us=False, what="what others left of it differs")
            if by_us and (what := self._priced(mine, theirs)):
                return Parted(number, by_us, what)
        return None

    def _priced(self, mine: Sequence[Done], theirs: Sequence[Done]) -> str:
        """How liquidity of v2 came otherwise than the rows of a side that is simulated let it; empty where it did not."""
        pairs = [one for one in zip(mine, theirs, strict=True) if one[0].asked[1] == PRICED]
        ways = [pair if is_first else pair[::-1] for pair in pairs for is_first in self._from]
        return next((what for way in ways if (what := _otherwise(*way))), "")

    def lenders_differ(self, number: int, amount: int | None) -> str:
        """In which words lenders said something else to both sides that a loan of so much rests on; empty where they did not."""
        return lenders_differ(*self._lenders, number, amount)

    def same_acts(self, pool: str, number: int) -> bool:
        """Whether others did the same to a pool in a block."""
        return _alike(*(acts.others.get((pool, number), []) for acts in self.acts))

    def counts(self) -> dict[tuple[str, str], int]:
        """By pool and side, acts of others that only that side has, over the blocks that both have."""
        found: defaultdict[tuple[str, str], int] = defaultdict(int)
        firsts, lasts = [one.first for one in self.blocks], [one.last for one in self.blocks]
        if None in firsts or None in lasts:
            return found
        low, high = max(one.number for one in firsts if one), min(one.number for one in lasts if one)
        for pool, number in sorted({key for acts in self.acts for key in acts.others}):
            if low < number <= high and not self.same_acts(pool, number):
                mine, theirs = (len(acts.others.get((pool, number), ())) for acts in self.acts)
                found[pool, "A"] += mine
                found[pool, "B"] += theirs
        return found
