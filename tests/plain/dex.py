"""A strategy over pools as plainly as it can be said: at each block all cycles there can be, each looked at anew, the best input searched by halving.

It knows what the simulated chain told (`cycle_states`), which is no decision. The amount of a plan is taken from the run once it is shown to be as good as the
best that is found here; all else that a plan says follows from it and is compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import permutations, product
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.plain.pools import PlainPool, Row, pools_of, standing
from xarb.config import Experiment
from xarb.log.reader import LogReader
from xarb.pools.financing import MEASURED, GasUse

Hops = tuple[tuple[int, bool], ...]  # number of a pool, and whether token0 goes in
WAYS: Final = ("callback", "wallet", "balancer", "flash", "aave")  # of two that leave as much the first
ENDED: Final = ("refused", "succeeded", "reverted", "dropped", "final")
GAS: Final[Mapping[str, GasUse]] = {str(way): use for way, use in MEASURED.items()}  # measured, and so no decision
TICK_GAS: Final = 65_000
WAD: Final = 10**18


class Loan(NamedTuple):
    """Who lends how much of a token, in whole ones, for which share; None: it did not say."""

    way: str
    who: str
    depth: Fraction | None
    share: Fraction | None


class DexTerms(NamedTuple):
    """What the config says, in whole tokens and plain ratios; `wei` are the tip and the most for each gas."""

    start: str
    wrapped: str
    most_hops: int
    max_edge: Fraction
    min_ratio: Fraction
    min_profit: Fraction
    most: Fraction
    bundles: int
    ways: tuple[str, ...]
    success: Fraction
    slip: Fraction
    deadline_ns: int
    wei: tuple[int, int]
    loans: tuple[Loan, ...]
    held: Fraction


def terms_of(experiment: Experiment, name: str, chain: str) -> DexTerms:
    """Those of a strategy on a chain, where one token goes round."""
    mine, onchain = experiment.strategies[name], experiment.onchain[chain]
    own = onchain.own
    [start] = mine.start_assets or (own.wrapped,)
    ways = {"auto": WAYS, "flashloan": WAYS[2:]}.get(mine.financing, (mine.financing,))
    loans = [
        Loan(one.kind, one.address, Fraction(one.depth[start]), Fraction(one.premium_ppm, 10**6))
        for one in onchain.lenders.values()
        if start in one.depth
    ]
    return DexTerms(
        start=start,
        wrapped=own.wrapped,
        most_hops=mine.max_legs,
        max_edge=Fraction(mine.max_edge_bps) / 10**4,
        min_ratio=Fraction(mine.min_profit_bps) / 10**4,
        min_profit=Fraction(mine.min_profit_quote),
        most=Fraction(mine.max_notional_quote),
        bundles=mine.max_open_bundles,
        ways=ways,
        success=Fraction(mine.success_bps) / 10**4,
        slip=Fraction(mine.slip_bps) / 10**4,
        deadline_ns=int(mine.deadline_ms * 10**6),
        wei=(int(own.tip_gwei * 10**9), int(own.max_fee_gwei * 10**9)),
        loans=tuple(loans),
        held=Fraction(experiment.accounts[mine.account][chain].get(start, 0)),
    )


class Said(NamedTuple):
    """A decision, or the beginning or end of a cycle that earns, as a row of `opportunities` says it."""

    after_seq: int
    phase: str
    legs: str
    edge_ppb: int | None
    best_ppb: int
    verdict: str | None = None
    reason: str | None = None


class Sent(NamedTuple):
    """A wish as a row of `cycles` says it."""

    after_seq: int
    hops: str
    token: str
    amount: int
    funding: str
    lender: str
    premium: int
    min_profit: int
    expected_net: int
    gas_limit: int
    ceiling_wei: int
    deadline_s: int


class Stands:
    """A cycle that earns."""

    def __init__(self, edge: int) -> None:
        self.edge = self.best = edge
        self.told: set[str] = set()


class PlainDex:
    """The strategy on a chain.

    Args:
        log, chain: the recording.
        terms: what it was told.
        run: rows of the run that is compared, by kind.
    """

    def __init__(self, log: Path, chain: str, terms: DexTerms, run: Mapping[str, Sequence[Row]]) -> None:
        self.terms, self._chain = terms, chain
        with LogReader(log) as reader:
            self._pools = [row["symbol"] for row in reader.rows("instruments") if row["kind"] == "pool"]
            rows = [(kind, row) for kind in ("pools", "loans", "blocks") for row in reader.rows(kind)]
        self._rows = sorted(rows, key=lambda one: int(one[1]["seq"]))
        self._states = sorted(run.get("cycle_states", ()), key=lambda row: (row["after_seq"], row["n"]))
        self._wishes = [row for row in run.get("cycles", ()) if row["kind"] == "submit"]
        self._stands: dict[Hops, Stands] = {}
        self._taken: dict[int, tuple[int, ...]] = {}
        self._tried: set[int] = set()
        self._open: set[int] = set()
        self._held = terms.held
        self._booked: dict[int, Fraction] = {}
        self._highest = -1
        self._loans: list[Loan] = []
        self._units = 1  # smallest ones of the token that goes round in a whole one
        self._count = 0
        self.said: list[Said] = []
        self.sent: list[Sent] = []
        self.short: list[
            Fraction
        ] = []  # how much less each plan earns than the best that is found here: units of its coarsest token, for each hop

    def play(self) -> None:
        """All of the recording."""
        ways: list[Hops] = []
        heads: list[Row] = []
        for at, (kind, row) in enumerate(self._rows):
            if kind != "blocks":
                continue
            self._hear(row["seq"])
            if row["event"] == "added":
                heads.append(row)
            else:
                heads.pop()
            pools = pools_of(self._rows[: at + 1])
            known = {number: pools[name] for number, name in enumerate(self._pools) if name in pools}
            ways = ways or list(self._cycles(known))
            self._units = self._unit(known)
            self._loans = self._lent(self._rows[: at + 1])
            if not self._open:
                for number in self._tried:
                    self._taken.pop(number, None)
            self._tried.clear()
            self._look({**heads[-1], "seq": row["seq"]}, known, ways)

    def _lent(self, rows: Sequence[tuple[str, Row]]) -> list[Loan]:
        """Who lends: what the config says, and of whom rows speak what the latest of them says."""
        found = {(one.way, one.who): one for one in self.terms.loans}
        for row in standing(rows, "loans"):
            if row["token"] == self.terms.start:
                depth = None if row["available"] is None else Fraction(int(row["available"]), self._units)
                share = None if row["premium_wad"] is None else Fraction(int(row["premium_wad"]), WAD)
                found[row["way"], row["lender"]] = Loan(row["way"], row["lender"], depth, share)
        return [found[key] for key in sorted(found)]

    # --- what was told

    def _hear(self, before: int) -> None:
        """What the chain told until an input."""
        while self._states and self._states[0]["after_seq"] < before:
            row = self._states.pop(0)
            order, state = row["order"], row["state"]
            if state == "pending":
                continue
            self._tried.clear()
            if state == "succeeded":
                self._booked[order] = Fraction(int(row["profit"]), self._units)
                self._held += self._booked[order]
            elif state == "sent":  # the first time, or because its block is gone
                self._held -= self._booked.pop(order, 0)
                self._open.add(order)
            if state in ENDED:
                self._open.discard(order)
            if state in ("reverted", "dropped") and not self._open:
                self._taken.clear()

    # --- what there is

    def _cycles(self, pools: Mapping[int, PlainPool]) -> Iterator[Hops]:
        """Every way of the token that goes round through two pools or more and back, no pool and no token twice."""
        for count in range(2, self.terms.most_hops + 1):
            for numbers in permutations(sorted(pools), count):
                for downs in product((True, False), repeat=count):
                    tokens = [pools[number].tokens[not down] for number, down in zip(numbers, downs, strict=True)]
                    given = [pools[number].tokens[down] for number, down in zip(numbers, downs, strict=True)]
                    if tokens == [self.terms.start, *given[:-1]] and given[-1] == self.terms.start and len({*tokens}) == count:
                        yield tuple(zip(numbers, downs, strict=True))

    def _look(self, block: Row, pools: Mapping[int, PlainPool], ways: Sequence[Hops]) -> None:
        found: list[tuple[int, Hops]] = []
        for hops in ways:
            rate = math.prod((pools[number].first(down=down) for number, down in hops), start=Fraction(1))
            if rate > 1:
                found.append((math.floor((rate - 1) * 10**9), hops))
        found.sort(key=lambda one: (-one[0], one[1]))
        for hops in [one for one in self._stands if one not in {way for _, way in found}]:
            gone = self._stands.pop(hops)
            self._say(block, "closed", hops, None, gone.best, reason="edge_gone")
        is_lower, self._highest = block["block_number"] < self._highest, max(block["block_number"], self._highest)
        for edge, hops in found:
            one = self._stands.get(hops)
            if one is None:
                one = self._stands[hops] = Stands(edge)
                self._say(block, "opened", hops, edge, edge)
            one.edge, one.best = edge, max(edge, one.best)
            if not is_lower:
                self._decide(block, pools, hops, one)

    def _say(
        self,
        block: Row,
        phase: str,
        hops: Hops,
        edge: int | None,
        best: int,
        *,
        verdict: str | None = None,
        reason: str | None = None,
    ) -> None:
        legs = ", ".join(f"{'sell' if down else 'buy'} {self._pools[number]}@{self._chain}" for number, down in hops)
        self.said.append(Said(block["seq"], phase, legs, edge, best, verdict, reason))

    # --- decisions

    def _decide(self, block: Row, pools: Mapping[int, PlainPool], hops: Hops, one: Stands) -> None:
        if any(self._taken.get(number) == pools[number].mark for number, _ in hops) and not self._speaks_against(one):
            return
        reason = self._speaks_against(one) or self._plan(block, pools, hops)
        if not reason:
            self._say(block, "decided", hops, one.edge, one.best, verdict="taken")
        elif reason not in one.told:
            one.told.add(reason)
            self._say(block, "decided", hops, one.edge, one.best, verdict="refused", reason=reason)

    def _speaks_against(self, one: Stands) -> str:
        if self.terms.max_edge and one.edge > self.terms.max_edge * 10**9:
            return "abnormal_edge"
        return "max_open_bundles" if len(self._open) >= self.terms.bundles else ""

    def _plan(self, block: Row, pools: Mapping[int, PlainPool], hops: Hops) -> str:
        """Why nothing is planned; empty where a wish leaves."""
        unit = self._units
        most = int(self.terms.most * unit)
        if self.terms.ways == ("wallet",):
            most = min(most, int(self._held * unit))
        amount, profit = best_input(pools, hops, most)
        wish = next((row for row in self._wishes if row["after_seq"] == block["seq"] and self._is_of(row, hops)), None)
        if wish is not None:
            amount, found = int(wish["amount"]), profit
            profit = self.earned(pools, hops, amount)
            self.short.append((found - profit) / (coarsest(pools, hops) * len(hops)))
        if profit <= 0:
            return "unprofitable"
        best, why = self._financed(block, pools, hops, (amount, profit))
        if best is None:
            return why
        self._count += 1
        self._open.add(self._count)
        for number, _ in hops:
            self._taken[number] = pools[number].mark
            self._tried.add(number)
        self.sent.append(best)
        return ""

    @staticmethod
    def earned(pools: Mapping[int, PlainPool], hops: Hops, amount: int) -> int:
        """What an input comes to beyond itself."""
        return through(pools, hops, amount)[0] - amount

    def _is_of(self, wish: Row, hops: Hops) -> bool:
        return [hop.split()[1] for hop in wish["hops"].split(", ")] == [self._pools[number] for number, _ in hops]

    def _unit(self, pools: Mapping[int, PlainPool]) -> int:
        """Smallest units of the token that goes round in a whole one."""
        [decimals] = {
            places
            for one in pools.values()
            for token, places in zip(one.tokens, one.decimals, strict=True)
            if token == self.terms.start
        }
        return int(10**decimals)

    def _financed(self, block: Row, pools: Mapping[int, PlainPool], hops: Hops, sizes: tuple[int, int]) -> tuple[Sent | None, str]:
        """The wish by the way that is expected to leave most; else why the one that comes closest does not."""
        terms, unit, (amount, profit) = self.terms, self._units, sizes
        worth = self._worth(pools)
        if worth is None:
            return None, "gas_price_unknown"
        ticks = through(pools, hops, amount)[1]
        price = next_fee(block) + terms.wei[0]
        least = max(math.ceil(terms.min_profit * unit), math.ceil(amount * terms.min_ratio), 1)
        good: list[tuple[int, int, Sent]] = []
        poor: list[str] = []
        for place, way in enumerate(terms.ways):
            lenders: list[Loan | None] = [loan for loan in self._loans if loan.way == way]
            for loan in lenders or [None]:
                names = {self._pools[number] for number, _ in hops}
                why = self._refused(way, loan, amount, names) or ("fee_cap" if price > terms.wei[1] else "")
                if why:
                    poor.append(why)
                    continue
                premium = math.ceil(amount * loan.share) if loan and loan.share else 0
                kept, use = profit - premium, GAS[way]
                gas = use.two_hops + use.hop * (len(hops) - 2) + TICK_GAS * ticks
                cost = math.ceil(gas * price * worth)
                vain = math.ceil(math.ceil(Fraction(use.revert * len(hops), 2)) * price * worth)
                gross = math.floor(terms.success * kept)
                net = gross - cost - math.ceil((1 - terms.success) * vain)
                if net < least:
                    poor.insert(0, "unprofitable")
                    continue
                ranged = sum(not pools[number].is_v2 for number, _ in hops)
                wish = Sent(
                    after_seq=block["seq"],
                    hops=", ".join(_hop(self._pools[number], pools[number], down=down) for number, down in hops),
                    token=terms.start,
                    amount=amount,
                    funding=way,
                    lender=loan.who if loan else "",
                    premium=premium,
                    min_profit=max(math.ceil(kept * (1 - terms.slip)), 0),
                    expected_net=net,
                    gas_limit=(gas + TICK_GAS * ranged) * 120 // 100,
                    ceiling_wei=max(min(price * (gross - least) // max(gross - net, 1), terms.wei[1]), price),
                    deadline_s=(block["ts_event"] + terms.deadline_ns) // 10**9,
                )
                good.append((-net, place, wish))
        return (min(good)[2], "") if good else (None, poor[0])

    def _worth(self, pools: Mapping[int, PlainPool]) -> Fraction | None:
        """What a wei costs in the token that goes round, where the wrapped token is dearest; None where nobody sells it."""
        start, wrapped = self.terms.start, self.terms.wrapped
        if start == wrapped:
            return Fraction(1)
        rates = [one.first(down=one.tokens[0] == start) for one in pools.values() if {*one.tokens} == {start, wrapped}]
        return max((1 / rate for rate in rates if rate), default=None)

    def _refused(self, way: str, loan: Loan | None, amount: int, pools: set[str]) -> str:
        if way == "wallet":
            return "balance" if self._held * self._units < amount else ""
        if way == "callback":
            return ""
        if loan is None:
            return "no_lender"
        if loan.who in pools:
            return "lender_in_cycle"
        if loan.share is None or loan.depth is None:
            return "premium_unknown" if loan.share is None else "depth_unknown"
        return "lender_depth" if loan.depth * self._units < amount else ""


def _hop(name: str, pool: PlainPool, *, down: bool) -> str:
    token, way = pool.tokens[not down], "0>1" if down else "1>0"
    return f"{'v2' if pool.is_v2 else 'v3'} {name} {token} {way} {pool.fee if pool.is_v2 else 0}"


def through(pools: Mapping[int, PlainPool], hops: Hops, amount: int) -> tuple[int, int]:
    """What an input comes to, and the initialised ticks on its way."""
    ticks = 0
    for number, down in hops:
        amount, more = pools[number].swap(amount, down=down)
        ticks += more
    return amount, ticks


def coarsest(pools: Mapping[int, PlainPool], hops: Hops) -> Fraction:
    """What the unit on the way that is worth most is worth in units of what goes round."""
    worth = [Fraction(1)]
    for number, down in hops[:-1]:
        worth.append(worth[-1] / pools[number].first(down=down))
    return max(worth)


def best_input(pools: Mapping[int, PlainPool], hops: Hops, most: int) -> tuple[int, int]:
    """The input up to `most` that earns most: what is left of a range after thirds of it that earn less are thrown away."""
    low, high = 1, max(most, 1)
    while high - low > 2:
        third = (high - low) // 3
        at = (low + third, high - third)
        earned = [through(pools, hops, amount)[0] - amount for amount in at]
        if earned[0] < earned[1]:
            low = at[0]
        else:
            high = at[1]
    return max(((amount, through(pools, hops, amount)[0] - amount) for amount in range(low, high + 1)), key=lambda one: one[1])


def next_fee(block: Row) -> int:
    """EIP-1559."""
    fee, used, target = int(block["base_fee_wei"]), block["gas_used"], block["gas_limit"] // 2
    if used > target:
        return int(fee + max(fee * (used - target) // target // 8, 1))
    return int(fee - fee * (target - used) // target // 8)


def said(rows: Sequence[Mapping[str, Any]]) -> list[Said]:
    """Rows of `opportunities` in order."""
    names = ("after_seq", "phase", "legs", "edge_ppb", "best_edge_ppb", "verdict", "reason")
    ordered = sorted(rows, key=lambda row: (row["after_seq"], row["n"]))
    return [Said(*(row[name] for name in names)) for row in ordered]


def sent(rows: Sequence[Mapping[str, Any]]) -> list[Sent]:
    """Rows of `cycles` in order."""
    numbers = ("amount", "premium", "min_profit", "expected_net", "ceiling_wei")
    ordered = sorted((row for row in rows if row["kind"] == "submit"), key=lambda row: (row["after_seq"], row["n"]))
    plain: list[dict[str, Any]] = [
        {name: int(row[name]) if name in numbers else row[name] for name in Sent._fields} for row in ordered
    ]
    return [Sent(**row) for row in plain]
