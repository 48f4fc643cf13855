"""A strategy of pools against a book as plainly as it can be said: at each block every path, every whole lot that the book shows, and the one that leaves most.

For one open bundle at a time, woken by blocks alone, over pools of v2 and a book of one level. What venues told (`bundles`, `cycle_states`, and the money of the
`ledger`) is no decision, and is taken from the run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import permutations, product
from pathlib import Path
from typing import Any, NamedTuple

from tests.plain.dex import Hops, Said, Stands, next_fee, through
from tests.plain.pools import PPM, PlainPool, Row, pools_of
from xarb.config import Experiment
from xarb.log.reader import LogReader
from xarb.pools.financing import PATH

ONE = 10**18
OVER = ("closed", "held")
TICKS = 0  # pools of v2 have none


class Top(NamedTuple):
    """The best price and its size, in whole units, of both sides of the book."""

    bid: Fraction
    bid_qty: Fraction
    ask: Fraction
    ask_qty: Fraction
    lot: Fraction


class Wish(NamedTuple):
    """A wish for a path as a row of `cycles` says it."""

    after_seq: int
    hops: str
    token: str
    amount: int
    token_out: str
    min_out: int
    expected_out: int
    expected_profit: int
    gas_limit: int
    ceiling_wei: int
    deadline_s: int


class Size(NamedTuple):
    """A quantity of the order: what goes into the path and comes out of it, and money of the quote at 18 decimals."""

    amount: int
    out: int
    value: int
    notional: int
    profit: int


class PlainHedged:
    """The strategy.

    Args:
        experiment: one strategy, one chain, one market of one exchange, whose fee is a ratio of the quote.
        log: the recording.
        fee: that ratio.
        run: rows of the run that is compared, by kind.
    """

    def __init__(self, experiment: Experiment, log: Path, fee: Fraction, run: Mapping[str, Sequence[Row]]) -> None:
        [self._config], [(self._chain, onchain)] = experiment.strategies.values(), experiment.onchain.items()
        self._own, self._fee = onchain.own, fee
        with LogReader(log) as reader:
            self._instruments = list(reader.rows("instruments"))
            rows = [(kind, row) for kind in ("pools", "quotes", "blocks") for row in reader.rows(kind)]
        self._rows = sorted(rows, key=lambda one: int(one[1]["seq"]))
        [self._market] = [number for number, row in enumerate(self._instruments) if row["kind"] == "spot"]
        told = [(kind, row) for kind in ("bundles", "cycle_states", "ledger") for row in run.get(kind, ())]
        self._told = sorted(told, key=lambda one: (one[1]["after_seq"], one[1]["n"]))
        self._held: dict[tuple[str, str], int] = {}
        self._stands: dict[Hops, Stands] = {}
        self._taken: dict[int, tuple[int, ...]] = {}
        self._tried: set[int] = set()
        self._open: set[int] = set()
        self._count = 0
        self._highest = -1
        self.said: list[Said] = []
        self.sent: list[Wish] = []

    def play(self) -> None:
        """All of the recording."""
        heads: list[Row] = []
        quote: Row = {}
        for at, (kind, row) in enumerate(self._rows):
            if kind == "quotes":
                quote = row
            if kind != "blocks":
                continue
            self._hear(row["seq"])
            if row["event"] == "added":
                heads.append(row)
            else:
                heads.pop()
            if not self._open:
                for number in self._tried:
                    self._taken.pop(number, None)
            self._tried.clear()
            pools = pools_of([one for one in self._rows[: at + 1] if one[0] != "quotes"])
            known = {number: pools[one["symbol"]] for number, one in enumerate(self._instruments) if one["symbol"] in pools}
            self._look({**heads[-1], "seq": row["seq"], "ts_recv": row["ts_recv"]}, known, _top(quote) if quote else None)

    def _hear(self, before: int) -> None:
        """What venues told until an input."""
        while self._told and self._told[0][1]["after_seq"] < before:
            kind, row = self._told.pop(0)
            if kind == "ledger":
                key = (row["venue"], row["asset"])
                self._held[key] = self._held.get(key, 0) + row["delta"]
            elif kind == "bundles":
                (self._open.discard if row["event"] in OVER else self._open.add)(row["bundle"])
            elif row["state"] != "pending":
                self._tried.clear()
                if row["state"] in ("reverted", "dropped"):
                    mine = [one for of, one in self._told if of == "bundles" and one["bundle"] == row["bundle"]]
                    if any(one["ts"] == row["ts"] and one["event"] in OVER for one in mine):
                        self._open.discard(row["bundle"])  # told in the same moment, and a row later
                    self._taken = self._taken if self._open else {}

    # --- what there is

    def _ways(self, pools: Mapping[int, PlainPool]) -> Iterator[Hops]:
        """Every path between two tokens that count as what the exchange trades, with the order that takes it back: True sells there."""
        market = self._instruments[self._market]
        for count in range(1, self._config.max_legs + 1):
            for numbers in permutations(sorted(pools), count):
                for downs in product((True, False), repeat=count):
                    hops = tuple(zip(numbers, downs, strict=True))
                    tokens = [pools[number].tokens[not down] for number, down in hops]
                    given = [pools[number].tokens[down] for number, down in hops]
                    passed = [*tokens, given[-1]]
                    if tokens[1:] != given[:-1] or len({*passed}) <= count:
                        continue
                    ends = (self._own.coins.get(passed[0]), self._own.coins.get(passed[-1]))
                    if any(one in self._own.coins and self._own.coins[one] == ends[1] for one in passed[1:-1]):
                        continue
                    if ends == (market["quote"], market["base"]):
                        yield (*hops, (self._market, True))
                    elif ends == (market["base"], market["quote"]):
                        yield (*hops, (self._market, False))

    def _look(self, block: Row, pools: Mapping[int, PlainPool], top: Top | None) -> None:
        found = []
        for way in self._ways(pools) if top is not None else ():
            assert top is not None
            units = self._units(pools, way)
            rate = math.prod((pools[number].first(down=down) for number, down in way[:-1]), start=Fraction(units[0], units[1]))
            rate = rate * top.bid * (1 - self._fee) if way[-1][1] else rate / (top.ask * (1 + self._fee))
            if rate > 1:
                found.append((math.floor((rate - 1) * 10**9), way))
        found.sort(key=lambda one: (-one[0], one[1]))
        for way in [one for one in self._stands if one not in {way for _, way in found}]:
            gone = self._stands.pop(way)
            self._say(block, "closed", way, (None, gone.best), reason="edge_gone")
        is_lower, self._highest = block["block_number"] < self._highest, max(block["block_number"], self._highest)
        for edge, way in found:
            one = self._stands.get(way)
            if one is None:
                one = self._stands[way] = Stands(edge)
                self._say(block, "opened", way, (edge, edge))
            one.edge, one.best = edge, max(edge, one.best)
            if not is_lower:
                assert top is not None
                self._decide(block, pools, way, top)

    def _say(
        self,
        block: Row,
        phase: str,
        way: Hops,
        edges: tuple[int | None, int],
        verdict: str | None = None,
        reason: str | None = None,
    ) -> None:
        names = [f"{one['symbol']}@{one['venue']}" for one in self._instruments]
        legs = ", ".join(f"{'sell' if is_sold else 'buy'} {names[number]}" for number, is_sold in way)
        self.said.append(Said(block["seq"], phase, legs, *edges, verdict, reason))

    def _units(self, pools: Mapping[int, PlainPool], way: Hops) -> tuple[int, int]:
        """Smallest units in a whole token, of what goes in and of what comes out."""
        (first, down), (last, last_down) = way[0], way[-2]
        return 10 ** pools[first].decimals[not down], 10 ** pools[last].decimals[last_down]

    # --- decisions

    def _decide(self, block: Row, pools: Mapping[int, PlainPool], way: Hops, top: Top) -> None:
        one = self._stands[way]
        edges = (one.edge, one.best)
        reason = "max_open_bundles" if self._open else ""
        if not reason and any(self._taken.get(number) == pools[number].mark for number, _ in way[:-1]):
            return
        reason = reason or self._plan(block, pools, way, top)
        if not reason:
            self._say(block, "decided", way, edges, "taken")
        elif reason not in one.told:
            one.told.add(reason)
            self._say(block, "decided", way, edges, "refused", reason)

    def _plan(self, block: Row, pools: Mapping[int, PlainPool], way: Hops, top: Top) -> str:
        """Why nothing is planned; empty where a wish leaves."""
        config, own = self._config, self._own
        size = self._size(pools, way, top)
        if size is None:
            return "unprofitable"
        price, cap = next_fee(block) + int(own.tip_gwei * 10**9), int(own.max_fee_gwei * 10**9)
        if price > cap:
            return "fee_cap"
        count, success = len(way) - 1, Fraction(config.success_bps) / 10**4
        gas = PATH.two_hops + PATH.hop * (count - 2) + PATH.tick * TICKS
        cost = math.ceil(gas * price * top.ask)
        vain = math.ceil(math.ceil(Fraction(PATH.revert * count, 2)) * price * top.ask)
        wait = Fraction(math.isqrt(int(config.wait_ms * 10**6) * 10**9), 10**9)
        risk = math.ceil(size.notional * Fraction(config.wait_risk_bps) / 10**4 * wait)
        net = math.floor(success * (size.profit - risk)) - cost - math.ceil((1 - success) * vain)
        least = max(int(config.min_profit_quote * ONE), math.ceil(size.notional * Fraction(config.min_profit_bps) / 10**4), 1)
        if net < least:
            return "unprofitable"
        lost = math.floor(size.profit * Fraction(config.slip_bps) / 10**4)
        hops = ", ".join(
            f"v2 {self._instruments[number]['symbol']} {pools[number].tokens[not down]} {'0>1' if down else '1>0'} {pools[number].fee}"
            for number, down in way[:-1]
        )
        wish = Wish(
            after_seq=block["seq"],
            hops=hops,
            token=pools[way[0][0]].tokens[not way[0][1]],
            amount=size.amount,
            token_out=pools[way[-2][0]].tokens[way[-2][1]],
            min_out=max(size.out - size.out * lost // (size.value if way[-1][1] else size.notional), 1),
            expected_out=size.out,
            expected_profit=net,
            gas_limit=gas * 120 // 100,
            ceiling_wei=max(min(price * (net - least + cost) // max(cost, 1), cap), price),
            deadline_s=(max(block["ts_event"], block["ts_recv"]) + int(config.deadline_ms * 10**6)) // 10**9,
        )
        for number, _ in way[:-1]:
            self._taken[number] = pools[number].mark
            self._tried.add(number)
        self._count += 1
        self._open.add(self._count)
        self.sent.append(wish)
        return ""

    def _size(self, pools: Mapping[int, PlainPool], way: Hops, top: Top) -> Size | None:
        """Of all lots that the book shows the one that leaves most."""
        best: Size | None = None
        for lots in range(1, int((top.bid_qty if way[-1][1] else top.ask_qty) / top.lot) + 1):
            one = self._sized(pools, way, top, lots * top.lot)
            if one is None:
                break  # more of it there is not
            if best is None or one.profit > best.profit:
                best = one
        return best if best is not None and best.profit > 0 else None

    def _sized(self, pools: Mapping[int, PlainPool], way: Hops, top: Top, qty: Fraction) -> Size | None:
        """A quantity; None where money or a bound does not reach so far."""
        market, most = self._instruments[self._market], int(self._config.max_notional_quote * ONE)
        unit_in, unit_out = self._units(pools, way)
        first = pools[way[0][0]].tokens[not way[0][1]]
        wallet = self._held.get((self._chain, first), 0)
        venue, is_sale = market["venue"], way[-1][1]
        value = math.floor(qty * (top.bid if is_sale else top.ask) * ONE)
        fee = math.ceil(value * self._fee)
        if is_sale:
            amount = math.ceil(qty * unit_out)
            for number, down in reversed(way[:-1]):
                cost = _cost(pools[number], amount, down=down)
                if cost is None:
                    return None
                amount = cost
            out, notional = through(pools, way[:-1], amount)[0], amount * (ONE // unit_in)
            is_there = qty * ONE <= self._held.get((venue, market["base"]), 0) and value <= most
            profit = value - fee - notional
        else:
            amount = int(qty * unit_in)
            out = through(pools, way[:-1], amount)[0]
            notional = out * (ONE // unit_out)
            is_there = value + fee <= self._held.get((venue, market["quote"]), 0) and value <= most
            profit = notional - value - fee
        if not is_there or notional > most or amount * (ONE // unit_in) > wallet:
            return None
        return Size(amount, out, value, notional, profit)


def _cost(pool: PlainPool, out: int, *, down: bool) -> int | None:
    """What an output costs, as the router rounds it; None where the pool has not so much."""
    mine, theirs = pool.reserves if down else pool.reserves[::-1]
    return None if out >= theirs else mine * out * PPM // ((theirs - out) * (PPM - pool.fee)) + 1


def _top(row: Row) -> Top:
    px, qty = 10 ** row["px_scale"], 10 ** row["qty_scale"]
    bid, ask = (Fraction(row[f"{side}_int"], px) for side in ("bid", "ask"))
    bid_qty, ask_qty = (Fraction(row[f"{side}_qty_int"], qty) for side in ("bid", "ask"))
    return Top(bid, bid_qty, ask, ask_qty, Fraction(1, qty))


def wished(rows: Sequence[Mapping[str, Any]]) -> list[Wish]:
    """Rows of `cycles` in order."""
    numbers = ("amount", "min_out", "expected_out", "ceiling_wei")
    ordered = sorted((row for row in rows if row["kind"] == "submit"), key=lambda row: (row["after_seq"], row["n"]))
    plain: list[dict[str, Any]] = [
        {name: int(row[name]) if name in numbers else row[name] for name in Wish._fields} for row in ordered
    ]
    return [Wish(**row) for row in plain]
