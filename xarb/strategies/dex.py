"""Cycles over the pools of a chain, each in one transaction that swaps all of it or nothing.

Woken by every block, it compares what the first unit of each cycle through its pools comes to, in integers and after the pools' fees. A cycle that
earns stands; it is told when it began and ceased to. Each one, best first, is computed exactly (`pools.cycle`), paid for in the way that is
expected to leave most (`pools.financing`) at the base fee of the next block, and planned, or passed on with the reason, told once.

What a plan takes is taken once: no other plan goes through its pools until a row changed them, or until what was sent has reverted or was dropped.
While a chain is reorganised, and is lower than it was, nothing is planned.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal, NamedTuple

import msgspec

from xarb.engine.strategy import AtomicPlan, BlockView, CycleNote, Plan, View, Wake, Wakes
from xarb.model.units import MONEY_ONE, MONEY_SCALE, NANOS_PER_S, PPB, Money, Ppb
from xarb.pools.basefee import next_base_fee
from xarb.pools.concentrated import Concentrated
from xarb.pools.cycle import Best, Hop, best_input
from xarb.pools.financing import MEASURED, PPM, Financing, Funded, GasPrice, Need, Purse, Wish, financing
from xarb.strategies.swaps import (
    FROM_NINE,
    LIMIT_PERCENT,
    Places,
    Pool,
    Standing,
    forget_untaken,
    key_of,
    pass_on,
    print_of,
    rate_of,
    stand,
    told_of,
)

LEAST_HOPS: Final = 2
MOST_HOPS: Final = 4
MOST_CYCLES: Final = 20_000  # of one chain; looking at each takes some 2 us


class DexChain(msgspec.Struct, frozen=True, kw_only=True):
    """A chain as a strategy uses it.

    Attributes:
        pools: (instrument, token0, token1) of each pool that it may go through.
        starts: tokens that go round.
        wrapped: the token that is worth what gas is paid in.
        tip_wei, cap_wei: what a builder gets for each gas, and the most that is ever bid for it.
    """

    pools: tuple[tuple[int, str, str], ...]
    starts: tuple[str, ...]
    wrapped: str
    tip_wei: int
    cap_wei: int


class DexParams(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of one strategy over pools; each is a config key, and the config alone has defaults.

    `min_profit_ppb` is what is expected after everything over what goes round, `min_profit_quote` and `max_notional_quote` money in the token
    that goes round. `success_ppm` is how likely a cycle comes about as computed, `slip_ppm` what part of its profit may be lost before the
    contract undoes it. Times in ns.
    """

    max_hops: int
    open_ppb: int
    close_ppb: int
    max_edge_ppb: int
    min_profit_ppb: Ppb
    min_profit_quote: Money
    max_notional_quote: Money
    max_open_bundles: int
    financing: Wish
    success_ppm: int
    slip_ppm: int
    channel: Literal["public", "relay"]
    deadline_ns: int


class DexState(msgspec.Struct):
    """Memory of one strategy over pools.

    `asked` is by instrument what a pool was when a plan took from it, `tried` those of the plans since the last block, `heads` the highest block by
    chain.
    """

    found: int = 0
    standing: dict[str, Standing] = {}
    asked: dict[int, list[int]] = {}
    tried: list[int] = []
    heads: dict[str, int] = {}


class DexDex:
    """The strategy.

    Args:
        name: id, unique in the run.
        account: account whose money it uses.
        chains: by venue id.
        params: parameters.

    Raises:
        ValueError: there are more cycles than it could look at.
    """

    def __init__(self, name: str, account: str, chains: Mapping[str, DexChain], params: DexParams) -> None:
        self.id, self.account, self.params = name, account, params
        self.state = DexState()
        self.chains = dict(chains)
        self.cycles = {venue: list(_cycles(one, params.max_hops)) for venue, one in self.chains.items()}

    def wakes(self) -> Wakes:
        """Every block of its chains, and what becomes of its transactions."""
        return Wakes(blocks=tuple(self.chains), own_reports=True, on_edge=False)

    def on_wake(self, wake: Wake, view: View) -> Sequence[Plan]:
        """Cycles that began or ceased to earn, plans and passes, best cycle first."""
        forget_untaken(self.state.asked, self.state.tried, wake, view)
        block = view.block(wake.venue) if wake.kind == "block" else None
        if block is None:
            return ()
        return _Look(self, wake.venue, view, block).plans()


class _Found(NamedTuple):
    """A cycle that earns: its hops, and what comes back over what goes in, less one, for the first unit."""

    places: Places
    hops: tuple[Hop, ...]
    edge_ppb: int


class _Look:
    """One look at a chain as of a block."""

    def __init__(self, strategy: DexDex, venue: str, view: View, block: BlockView) -> None:
        self._strategy, self._venue, self._view, self._block = strategy, venue, view, block
        self._chain, self._params, self._state = strategy.chains[venue], strategy.params, strategy.state
        self._pools: dict[int, Pool | None] = {number: view.pool(number) for number, _, _ in self._chain.pools}
        self._rates: dict[tuple[int, bool], tuple[int, int]] = {}
        self._bundles = view.open_bundles()

    def plans(self) -> list[Plan]:
        """What follows."""
        state, venue = self._state, self._venue
        is_behind = self._block.number < state.heads.get(venue, 0)
        state.heads[venue] = max(self._block.number, state.heads.get(venue, 0))
        found = {key_of(venue, one.places): one for one in self._search()}
        plans: list[Plan] = []
        for key in [key for key in state.standing if key.startswith(f"{venue} ") and key not in found]:
            plans.append(CycleNote(cycle=told_of(key, state.standing.pop(key)), phase="closed", reason="edge_gone"))
        for key, one in found.items():
            known, begun = stand(state, key, one.edge_ppb, self._params.open_ppb, self._view.now)
            plans += begun
            if known is None:
                continue
            plan = None if is_behind else self._decide(key, known, one)
            if plan is not None:
                plans.append(plan)
        return plans

    # --- search

    def _search(self) -> list[_Found]:
        """The cycles that earn more than `close_ppb`, best first."""
        above = PPB + self._params.close_ppb
        found = []
        for places in self._strategy.cycles[self._venue]:
            gain = cost = 1
            for place in places:
                rate = self._rate(place)
                gain, cost = gain * rate[0], cost * rate[1]
            if gain * PPB > cost * above:
                hops = tuple(Hop(self._pools[number], zero_for_one) for number, zero_for_one in places)  # type: ignore[arg-type]  # known: it has a rate
                found.append(_Found(places, hops, gain * PPB // cost - PPB))
        return sorted(found, key=lambda one: (-one.edge_ppb, one.places))

    def _rate(self, place: tuple[int, bool]) -> tuple[int, int]:
        """What the first unit comes to, as a fraction; (0, 1) of a pool that is not known."""
        known = self._rates.get(place)
        if known is None:
            known = self._rates[place] = rate_of(self._pools[place[0]], zero_for_one=place[1])
        return known

    # --- decisions

    def _decide(self, key: str, one: Standing, found: _Found) -> Plan | None:
        """A plan, a pass whose reason is new for the cycle, or None."""
        params, view = self._params, self._view
        if params.max_edge_ppb and found.edge_ppb > params.max_edge_ppb:
            return pass_on(key, one, "abnormal_edge", found.edge_ppb * FROM_NINE, params.max_edge_ppb * FROM_NINE)
        if view.entry(self._venue).way == "none":
            return pass_on(key, one, "breaker_open")
        if self._bundles >= params.max_open_bundles:
            return pass_on(key, one, "max_open_bundles", self._bundles * MONEY_ONE, params.max_open_bundles * MONEY_ONE)
        if any(
            self._state.asked.get(number) == print_of(hop.pool) for (number, _), hop in zip(found.places, found.hops, strict=True)
        ):
            return None  # a plan took what is there, and nothing has changed
        token = self._token(found.places[0])
        decimals = view.decimals(self._venue, token)
        if decimals is None or decimals > MONEY_SCALE:
            return pass_on(key, one, "decimals")
        unit: int = 10 ** (MONEY_SCALE - decimals)
        balance = view.free(self._venue, token) // unit
        most = params.max_notional_quote // unit
        best = best_input(found.hops, min(most, balance) if params.financing == "wallet" else most) if most else None
        if best is None:
            return pass_on(key, one, "unprofitable")
        price = self._gas_price(token)
        if price is None:
            return pass_on(key, one, "gas_price_unknown")
        need = self._need(found, best, unit)
        chosen = financing(
            params.financing, need, Purse(balance=balance, loans=view.loans(self._venue, token)), price=price, gas=MEASURED
        )
        if chosen.taken is None:
            return pass_on(key, one, *_worst(chosen, unit))
        return self._plan(key, one, found, (need, chosen.taken, price))

    def _need(self, found: _Found, best: Best, unit: int) -> Need:
        params, amount = self._params, best.amounts[0]
        ticks = sum(
            hop.pool.crossed(hop.pool.cross(given, zero_for_one=hop.zero_for_one).tick)
            for hop, given in zip(found.hops, best.amounts, strict=False)
            if isinstance(hop.pool, Concentrated)
        )
        return Need(
            amount=amount,
            profit=best.profit,
            pools=tuple(self._view.instruments[number].symbol for number, _ in found.places),
            ticks=ticks,
            is_atomic=True,
            success_ppm=params.success_ppm,
            slip_ppm=params.slip_ppm,
            min_net=max(-(-params.min_profit_quote // unit), -(-amount * params.min_profit_ppb // PPB), 1),
        )

    def _gas_price(self, token: str) -> GasPrice | None:
        """What gas costs in the next block; None where nothing says what it is worth in the token."""
        block, chain = self._block, self._chain
        worth = (1, 1) if token == chain.wrapped else self._worth(token)
        if worth is None or block.base_fee_wei is None:
            return None
        return GasPrice(
            base_fee_wei=next_base_fee(block.base_fee_wei, block.gas_used, block.gas_limit),
            tip_wei=chain.tip_wei,
            cap_wei=chain.cap_wei,
            worth=worth,
            pays_reverts=self._params.channel == "public",
        )

    def _worth(self, token: str) -> tuple[int, int] | None:
        """Units of a token for wei, by the pool in which it is dearest to buy the wrapped one."""
        dearest: tuple[int, int] | None = None
        for number, token0, token1 in self._chain.pools:
            if {token0, token1} != {token, self._chain.wrapped}:
                continue
            gain, cost = self._rate((number, token0 == token))  # of the wrapped token for one of this
            if gain and (dearest is None or cost * dearest[1] > dearest[0] * gain):
                dearest = (cost, gain)
        return dearest

    def _token(self, place: tuple[int, bool]) -> str:
        one = self._view.instruments[place[0]]
        return one.base if place[1] else one.quote

    def _plan(self, key: str, one: Standing, found: _Found, chosen: tuple[Need, Funded, GasPrice]) -> AtomicPlan:
        need, funded, price = chosen
        for (number, _), hop in zip(found.places, found.hops, strict=True):
            self._state.asked[number] = print_of(hop.pool)
            self._state.tried.append(number)
        self._bundles += 1
        # Prices move until a block holds it: one tick more in each v3 pool. What is not used is not paid.
        spare = sum(isinstance(hop.pool, Concentrated) for hop in found.hops) * MEASURED[funded.way].tick
        began = self._block.ts_event if self._block.ts_event is not None else self._view.now
        return AtomicPlan(
            venue=self._venue,
            hops=found.places,
            amount=need.amount,
            funding=funded.way,
            lender=funded.lender,
            premium=funded.premium,
            min_profit=funded.min_profit,
            expected_net=funded.net,
            gas_limit=(funded.gas + spare) * LIMIT_PERCENT // 100,
            ceiling_wei=_ceiling(need, funded, price),
            deadline_s=(began + self._params.deadline_ns) // NANOS_PER_S,
            channel=self._params.channel,
            cycle=told_of(key, one),
        )


def _cycles(chain: DexChain, most: int) -> Iterator[Places]:
    """Every way from a token that goes round back to it, through other pools and other tokens each time; rotations of one count once.

    Raises:
        ValueError: there are more than `MOST_CYCLES`.
    """
    ways: dict[str, list[tuple[int, bool, str]]] = {}
    for number, token0, token1 in chain.pools:
        ways.setdefault(token0, []).append((number, True, token1))
        ways.setdefault(token1, []).append((number, False, token0))
    seen: set[Places] = set()
    count = 0

    def follow(at: str, start: str, places: Places, passed: tuple[str, ...]) -> Iterator[Places]:
        for number, zero_for_one, token in ways.get(at, ()):
            if any(number == used for used, _ in places):
                continue
            longer = (*places, (number, zero_for_one))
            if token == start and len(longer) >= LEAST_HOPS:
                yield longer
            elif token not in passed and len(longer) < most:
                yield from follow(token, start, longer, (*passed, token))

    for start in chain.starts:
        for places in follow(start, start, (), (start,)):
            turned = min(places[at:] + places[:at] for at in range(len(places)))
            if turned in seen:
                continue
            seen.add(turned)
            count += 1
            if count > MOST_CYCLES:
                raise ValueError(
                    f"more than {MOST_CYCLES} cycles of up to {most} pools: fewer pools, tokens that go round, or max_legs"
                )
            yield places


def _ceiling(need: Need, funded: Funded, price: GasPrice) -> int:
    """The most for each gas at which what is expected is still enough."""
    now = price.base_fee_wei + price.tip_wei
    gross = need.success_ppm * (need.profit - funded.premium) // PPM
    spent = max(gross - funded.net, 1)
    return max(min(now * (gross - need.min_net) // spent, price.cap_wei), now)


def _worst(chosen: Financing, unit: int) -> tuple[str, int | None, int | None]:
    """Why no way can be taken: that of the way which came closest."""
    close = [one for one in chosen.refused if one.reason == "unprofitable"]
    one = max(close, key=lambda each: each.value or 0) if close else chosen.refused[0]
    if one.reason == "fee_cap":
        return one.reason, one.value, one.bound  # wei are money of the native asset
    return one.reason, None if one.value is None else one.value * unit, None if one.bound is None else one.bound * unit
