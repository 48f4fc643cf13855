"""Gaps between a book of an exchange and a path of pools of a chain: the pools swap, an order at the exchange takes it back.

Woken by blocks, by its scan and, where the config says so, by every row of its books, it compares what the first unit of each path comes to with the
best price after fees, as fractions of integers. A gap that earns stands, and is told when it began and ceased to. Each one, best first, is sized
exactly (`swap_size`) and planned where enough is expected of it, or passed on with the reason, told once.

What is expected: the likelihood of success times (profit less the risk of waiting), less gas at the base fee of the next block, less the
unlikelihood times what failing costs: a revert's gas, and where the order leaves at once, taking it back. The risk of waiting is what the price
moves in the square root of the time between decision and receipt, all of it held against us.

Pools that a plan takes from are left alone until a row changed them, or until what was sent has reverted or was dropped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isqrt
from typing import Final, Literal, NamedTuple

import msgspec

from xarb.engine.strategy import CycleNote, LegPlan, Plan, SwapPlan, View, Wake, Wakes
from xarb.model.units import MONEY_ONE, MONEY_SCALE, NANOS_PER_S, PPB, Money, Ppb, ceil_div
from xarb.pools.basefee import next_base_fee
from xarb.pools.concentrated import Concentrated
from xarb.pools.cycle import Hop
from xarb.pools.financing import PATH, PPM, GasPrice
from xarb.strategies.books import Asked, Books, Rates, note_asked
from xarb.strategies.ladder import TEN, Level, walk
from xarb.strategies.legs import LegTerms, Rate, bounded_leg, leg_terms
from xarb.strategies.swap_size import Bounds, Size, Tokens, best_size
from xarb.strategies.swaps import (
    FROM_NINE,
    LIMIT_PERCENT,
    PathPlaces,
    Places,
    Pool,
    Pools,
    Standing,
    forget_untaken,
    key_of,
    pass_on,
    paths,
    print_of,
    rate_of,
    stand,
    told_of,
)

MOST_PATHS: Final = 5_000  # of all chains and markets; looking at each takes some 3 us
_NANO: Final = 10**9


class SwapChain(msgspec.Struct, frozen=True, kw_only=True):
    """A chain as the strategy uses it.

    Attributes:
        pools: (instrument, token0, token1) of each pool that it may go through.
        coins: by address of a token the coin that it counts as.
        wrapped: the token that is worth what gas is paid in.
        tip_wei, cap_wei: what a builder gets for each gas, and the most that is ever bid for it.
    """

    pools: Pools
    coins: Mapping[str, str]
    wrapped: str
    tip_wei: int
    cap_wei: int


class Market(NamedTuple):
    """An instrument of an exchange that may hedge, with the coins that it trades."""

    number: int
    base: str
    quote: str


class CexDexParams(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of one strategy; each is a config key, and the config alone has defaults.

    Money is in the quote of the order that hedges. `wait_ns` is the time between decision and receipt that is reckoned with, `wait_risk_ppb` how far
    the price moves in a second, as its standard deviation; it grows with the square root of the time. Others as of `DexParams`.
    """

    max_hops: int
    open_ppb: int
    close_ppb: int
    max_edge_ppb: int
    min_profit_ppb: Ppb
    min_profit_quote: Money
    max_notional_quote: Money
    max_open_bundles: int
    latency_threshold_ns: int
    max_levels: int
    scan_ns: int
    every_row: bool
    order: Literal["dex_first", "simultaneous"]
    success_ppm: int
    slip_ppm: int
    wait_ns: int
    wait_risk_ppb: Ppb
    channel: Literal["public", "relay"]
    deadline_ns: int


class CexDexState(msgspec.Struct):
    """Memory.

    `asked` is by pool what it was when a plan took from it, `tried` those of the plans since the last block, `books` by side of a book what plans
    asked of it, `heads` the highest block.
    """

    found: int = 0
    standing: dict[str, Standing] = {}
    asked: dict[int, list[int]] = {}
    tried: list[int] = []
    books: dict[int, Asked] = {}
    heads: dict[str, int] = {}


class _Way(NamedTuple):
    """A path with the side of a book that takes it back: "bid" sells the coin that comes, "ask" buys the one that goes."""

    venue: str
    path: PathPlaces
    market: Market
    side: str

    @property
    def places(self) -> Places:
        """As text has them: the order is the last."""
        return (*self.path.places, (self.market.number, self.side == "bid"))


class _Gap(NamedTuple):
    """A way that earns: its pools, the order's terms and book, and what comes back over what goes in, less one, for the first unit."""

    way: _Way
    hops: tuple[Hop, ...]
    terms: LegTerms
    levels: list[Level]
    rate: Rate | None
    edge_ppb: int


class _Worth(NamedTuple):
    """What is expected of a size; gas and what it costs, the most that is bid for each, and what the contract is to insist on."""

    net: int
    gas: int
    gas_cost: int
    least_out: int
    ceiling_wei: int = 0


class CexDex:
    """The strategy.

    Args:
        name: id, unique in the run.
        account: account whose money it uses.
        chains: by venue id.
        markets: what may hedge.
        books: rates of fee coins, and sizes to assume where a quote has none.
        params: parameters.

    Raises:
        ValueError: there are none, or more ways than it could look at.
    """

    def __init__(
        self,
        name: str,
        account: str,
        *,
        chains: Mapping[str, SwapChain],
        markets: Sequence[Market],
        books: tuple[Rates, Mapping[str, Money]],
        params: CexDexParams,
    ) -> None:
        self.id, self.account, self.params = name, account, params
        self.state = CexDexState()
        self.chains, self.markets = dict(chains), list(markets)
        self.books = Books(*books, max_age_ns=params.latency_threshold_ns, depth=params.max_levels)
        self.ways = [
            _Way(venue, path, market, side)
            for venue, chain in self.chains.items()
            for market in self.markets
            for side in ("bid", "ask")
            for ends in _ends(chain, market, side)
            for path in paths(chain.pools, ends, params.max_hops)
        ]
        if not self.ways:
            raise ValueError("no path of pools has two tokens that count as what an exchange trades (onchain.NAME.coins)")
        if len(self.ways) > MOST_PATHS:
            raise ValueError(f"more than {MOST_PATHS} paths of up to {params.max_hops} pools: fewer pools, symbols, or max_legs")
        self._wakes = Wakes(
            blocks=tuple(self.chains),
            own_reports=True,
            on_edge=False,
            timer_ns=params.scan_ns,
            timer_needs_edge=False,
            every_event=tuple(sorted({way.market.number for way in self.ways})) if params.every_row else (),
        )

    def wakes(self) -> Wakes:
        """Blocks of its chains, the scan, every row of its books where the config says so, and what becomes of its orders."""
        return self._wakes

    def on_wake(self, wake: Wake, view: View) -> Sequence[Plan]:
        """Gaps that began or ceased to earn, plans and passes, best gap first."""
        forget_untaken(self.state.asked, self.state.tried, wake, view)
        if wake.kind not in ("block", "timer", "event"):
            return ()
        return _Look(self, view).plans()


class _Look:
    """One look at all chains and books."""

    def __init__(self, strategy: CexDex, view: View) -> None:
        self._strategy, self._view = strategy, view
        self._params, self._state = strategy.params, strategy.state
        self._pools: dict[int, Pool | None] = {
            number: view.pool(number) for chain in strategy.chains.values() for number, _, _ in chain.pools
        }
        self._rates: dict[tuple[int, bool], tuple[int, int]] = {}
        self._sides: dict[tuple[int, str], tuple[LegTerms, list[Level], Rate | None] | None] = {}
        self._bundles = view.open_bundles()

    def plans(self) -> list[Plan]:
        """What follows."""
        state = self._state
        behind = {venue for venue in self._strategy.chains if self._is_behind(venue)}
        found = {key_of(gap.way.venue, gap.way.places): gap for gap in self._search()}
        plans: list[Plan] = []
        for key in [key for key in state.standing if key not in found]:
            plans.append(CycleNote(cycle=told_of(key, state.standing.pop(key)), phase="closed", reason="edge_gone"))
        for key, gap in found.items():
            known, begun = stand(state, key, gap.edge_ppb, self._params.open_ppb, self._view.now)
            plans += begun
            if known is None:
                continue
            plan = None if gap.way.venue in behind else self._decide(key, known, gap)
            if plan is not None:
                plans.append(plan)
        return plans

    def _is_behind(self, venue: str) -> bool:
        """Whether a chain is reorganised and lower than it was, or nothing is known of it."""
        block, heads = self._view.block(venue), self._state.heads
        if block is None:
            return True
        before = heads.get(venue, 0)
        heads[venue] = max(block.number, before)
        return block.number < before

    # --- search

    def _search(self) -> list[_Gap]:
        """The ways that earn more than `close_ppb`, best first."""
        above = PPB + self._params.close_ppb
        found = []
        for way in self._strategy.ways:
            side = self._side(way.market.number, way.side)
            units = self._units(way)
            if side is None or units is None:
                continue
            terms, levels, rate = side
            gain, cost = units.unit_out, units.unit_in
            for place in way.path.places:
                part = self._rate(place)
                gain, cost = gain * part[0], cost * part[1]
            if not gain:
                continue
            unit = 10 ** (MONEY_SCALE - terms.instrument.px_scale)
            price, fee = levels[0][0] * unit, terms.quote_fee_ppb + terms.base_fee_ppb + _coin_ppb(terms, rate)
            if way.side == "bid":
                gain, cost = gain * price * (PPB - fee), cost * MONEY_ONE * PPB
            else:
                gain, cost = gain * MONEY_ONE * PPB, cost * price * (PPB + fee)
            if gain * PPB > cost * above:
                hops = tuple(Hop(self._pools[number], is_zero) for number, is_zero in way.path.places)  # type: ignore[arg-type]  # known: it has a rate
                found.append(_Gap(way, hops, terms, levels, rate, gain * PPB // cost - PPB))
        return sorted(found, key=lambda one: (-one.edge_ppb, one.way.places))

    def _side(self, number: int, side: str) -> tuple[LegTerms, list[Level], Rate | None] | None:
        """A side of a book that may be taken, less what was asked of it; None where it is not there, too old or not tradable."""
        key = (number, side)
        if key not in self._sides:
            self._sides[key] = self._side_of(number, side)
        return self._sides[key]

    def _side_of(self, number: int, side: str) -> tuple[LegTerms, list[Level], Rate | None] | None:
        view, books = self._view, self._strategy.books
        terms = leg_terms(number, view.instruments[number], side, view.fee(number))
        quote = view.quote(number)
        if terms.refused is not None or not view.feed(number).tradable:
            return None
        price = quote.bid if side == "bid" else quote.ask
        if price is None or price <= 0 or view.now - quote.ts > self._params.latency_threshold_ns:
            return None
        rate = books.rate(terms, view) if terms.coin else None
        if terms.coin and rate is None:
            return None
        levels = books.levels(terms, view, self._state.books.get(terms.key), self._seq(number, side))
        return (terms, levels, rate) if levels else None

    def _seq(self, number: int, side: str) -> int:
        quote = self._view.quote(number)
        return quote.bid_seq if side == "bid" else quote.ask_seq

    def _rate(self, place: tuple[int, bool]) -> tuple[int, int]:
        known = self._rates.get(place)
        if known is None:
            known = self._rates[place] = rate_of(self._pools[place[0]], zero_for_one=place[1])
        return known

    def _units(self, way: _Way) -> Tokens | None:
        """Smallest units of both tokens as money; None where they are not known or too fine to be."""
        units = []
        for token in (way.path.token_in, way.path.token_out):
            decimals = self._view.decimals(way.venue, token)
            if decimals is None or decimals > MONEY_SCALE:
                return None
            units.append(10 ** (MONEY_SCALE - decimals))
        return Tokens(*units)

    # --- decisions

    def _decide(self, key: str, one: Standing, gap: _Gap) -> Plan | None:
        """A plan, a pass whose reason is new for the gap, or None."""
        params, view, way = self._params, self._view, gap.way
        if params.max_edge_ppb and gap.edge_ppb > params.max_edge_ppb:
            return pass_on(key, one, "abnormal_edge", gap.edge_ppb * FROM_NINE, params.max_edge_ppb * FROM_NINE)
        entries = [view.entry(venue) for venue in (way.venue, gap.terms.instrument.venue)]
        if any(entry.way == "none" for entry in entries):
            return pass_on(key, one, "breaker_open")
        if self._bundles >= params.max_open_bundles:
            return pass_on(key, one, "max_open_bundles", self._bundles * MONEY_ONE, params.max_open_bundles * MONEY_ONE)
        if any(
            self._state.asked.get(number) == print_of(hop.pool) for (number, _), hop in zip(way.path.places, gap.hops, strict=True)
        ):
            return None  # a plan took what is there, and nothing has changed
        probes = [int(entry.most) for entry in entries if entry.way == "probe" and entry.most is not None]
        size = self._size(gap, min([int(params.max_notional_quote), *probes]))
        if size is None:
            return pass_on(key, one, "unprofitable")
        price = self._gas_price(gap)
        if isinstance(price, str):
            return pass_on(key, one, price)
        if price.base_fee_wei + price.tip_wei > price.cap_wei:
            return pass_on(key, one, "fee_cap", price.base_fee_wei + price.tip_wei, price.cap_wei)
        least: int = max(int(params.min_profit_quote), ceil_div(size.notional * int(params.min_profit_ppb), PPB), 1)
        worth = self._worth(gap, size, price)
        if worth.net < least:
            return pass_on(key, one, "unprofitable", worth.net, least)
        return self._plan(key, one, gap, size, worth._replace(ceiling_wei=_ceiling(price, worth, least)))

    def _size(self, gap: _Gap, most: int) -> Size | None:
        view, terms, way = self._view, gap.terms, gap.way
        venue = terms.instrument.venue
        funds = (int(view.free(venue, terms.spends)), int(view.free(venue, terms.coin)) if terms.coin else 0)
        leg = bounded_leg(terms, gap.levels, funds, most, gap.rate)
        tokens = self._units(way)
        assert tokens is not None, "else it would not have been found"
        return best_size(gap.hops, tokens, leg, terms, Bounds(int(view.free(way.venue, way.path.token_in)), most))

    def _worth(self, gap: _Gap, size: Size, price: GasPrice) -> _Worth:
        """What is expected of a size, in the hedge's quote; gains round down, costs up."""
        params = self._params
        ticks = sum(
            hop.pool.crossed(hop.pool.cross(given, zero_for_one=hop.zero_for_one).tick)
            for hop, given in zip(gap.hops, size.amounts, strict=False)
            if isinstance(hop.pool, Concentrated)
        )
        units = PATH.of(len(gap.hops), ticks)
        gas_cost, unlikely = price.cost(units), PPM - params.success_ppm
        risk = ceil_div(size.notional * int(params.wait_risk_ppb) * isqrt(params.wait_ns * _NANO), PPB * _NANO)
        waits = risk if params.order == "dex_first" else 0
        failing = 0 if params.order == "dex_first" else self._taking_back(gap, size) + risk
        if price.pays_reverts:
            failing += price.cost(PATH.more_of_revert(len(gap.hops)))
            net = params.success_ppm * (size.profit - waits) // PPM - gas_cost - ceil_div(unlikely * failing, PPM)
        else:
            net = params.success_ppm * (size.profit - waits - gas_cost) // PPM - ceil_div(unlikely * failing, PPM)
        lost = size.profit * params.slip_ppm // PPM  # of the profit, in what comes out
        out = size.amounts[-1]
        return _Worth(
            net, units, gas_cost, max(out - out * lost // max(size.value if gap.way.side == "bid" else size.notional, 1), 1)
        )

    def _taking_back(self, gap: _Gap, size: Size) -> int:
        """What it costs to have sent an order of which the swap failed: its fee twice, and the way from one side of the book to the other."""
        number, other = gap.terms.number, "ask" if gap.way.side == "bid" else "bid"
        levels = [(price, qty) for price, qty in self._view.levels(number, other, self._params.max_levels) if qty is not None]
        if not levels:
            return size.value  # nothing to take it back with
        one = gap.terms.instrument
        total, worst = walk(levels, size.qty)
        total += worst * max(size.qty - sum(qty for _, qty in levels), 0)  # beyond what is shown, at the last level
        back = total * MONEY_ONE // TEN[one.px_scale + one.qty_scale]
        fee = gap.terms.quote_fee_ppb + gap.terms.base_fee_ppb + _coin_ppb(gap.terms, gap.rate)
        return abs(back - size.value) + ceil_div((back + size.value) * max(fee, 0), PPB)

    def _gas_price(self, gap: _Gap) -> GasPrice | str:
        """What gas costs in the next block, in the hedge's quote; why it is not known."""
        chain, block = self._strategy.chains[gap.way.venue], self._view.block(gap.way.venue)
        worth = self._of_gas(chain, gap.way)
        if worth is None or block is None or block.base_fee_wei is None:
            return "gas_price_unknown"
        return GasPrice(
            base_fee_wei=next_base_fee(block.base_fee_wei, block.gas_used, block.gas_limit),
            tip_wei=chain.tip_wei,
            cap_wei=chain.cap_wei,
            worth=worth,
            pays_reverts=self._params.channel == "public",
        )

    def _of_gas(self, chain: SwapChain, way: _Way) -> tuple[int, int] | None:
        """Money of the hedge's quote for wei: by the dearest ask of an exchange, else by the pool in which the wrapped token is dearest."""
        quote, coin = way.market.quote, chain.coins.get(chain.wrapped)
        if coin == quote:
            return (1, 1)
        asks = []
        for market in self._strategy.markets:
            side = self._side(market.number, "ask") if (market.base, market.quote) == (coin, quote) else None
            if side is not None:
                asks.append(side[1][0][0] * 10 ** (MONEY_SCALE - side[0].instrument.px_scale))
        if asks:
            return (max(asks), MONEY_ONE)
        dearest: tuple[int, int] | None = None
        for number, token0, token1 in chain.pools:
            token = token0 if token1 == chain.wrapped else token1
            decimals = self._view.decimals(way.venue, token)
            if (
                chain.wrapped not in (token0, token1)
                or chain.coins.get(token) != quote
                or decimals is None
                or decimals > MONEY_SCALE
            ):
                continue
            gain, cost = self._rate((number, token0 == token))  # of the wrapped token for one of this
            cost *= 10 ** (MONEY_SCALE - decimals)
            if gain and (dearest is None or cost * dearest[1] > dearest[0] * gain):
                dearest = (cost, gain)
        return dearest

    def _plan(self, key: str, one: Standing, gap: _Gap, size: Size, worth: _Worth) -> SwapPlan:
        params, way = self._params, gap.way
        for (number, _), hop in zip(way.path.places, gap.hops, strict=True):
            self._state.asked[number] = print_of(hop.pool)
            self._state.tried.append(number)
        note_asked(self._state.books, gap.terms, self._seq(gap.terms.number, way.side), size.qty)
        self._sides.clear()
        self._bundles += 1
        block = self._view.block(way.venue)
        began = self._view.now if block is None or block.ts_event is None else max(block.ts_event, self._view.now)
        return SwapPlan(
            venue=way.venue,
            hops=way.path.places,
            amount=size.amounts[0],
            min_out=worth.least_out,
            hedge=LegPlan(gap.terms.number, "sell" if way.side == "bid" else "buy", size.price, size.qty),
            sequence=params.order,
            expected_profit=Money(worth.net),
            profit_asset=way.market.quote,
            edge_ppb=gap.edge_ppb,
            gas_limit=worth.gas * LIMIT_PERCENT // 100,
            ceiling_wei=worth.ceiling_wei,
            deadline_s=(began + params.deadline_ns) // NANOS_PER_S,
            channel=params.channel,
            cycle=told_of(key, one),
        )


def _ends(chain: SwapChain, market: Market, side: str) -> list[tuple[str, str]]:
    """The tokens between which a path leads whose move an order on that side of a book takes back."""
    bases = [token for token, coin in chain.coins.items() if coin == market.base]
    quotes = [token for token, coin in chain.coins.items() if coin == market.quote]
    return [(quote, base) if side == "bid" else (base, quote) for base in bases for quote in quotes]


def _ceiling(price: GasPrice, worth: _Worth, least: int) -> int:
    """The most for each gas at which what is expected is still enough."""
    now = price.base_fee_wei + price.tip_wei
    return max(min(now * (worth.net - least + worth.gas_cost) // max(worth.gas_cost, 1), price.cap_wei), now)


def _coin_ppb(terms: LegTerms, rate: Rate | None) -> int:
    """What a fee in a third coin costs, of the notional."""
    return 0 if rate is None else ceil_div(terms.coin_fee_ppb * rate.ask, rate.bid)
