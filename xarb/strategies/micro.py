"""Micro-arbitrage: sell where the bid is high, buy where the ask is low, at the same moment, for the size that earns most.

Woken by an episode (open, improvement, rearm) or by the scan timer over all open episodes, it asks the gates in the order of `_decide`
and either plans a bundle or passes with the reason. A reason is told once in an episode.

What binds where: size, levels, profit, age of quotes and the abnormal edge are decided here, and a plan keeps within free balances, budget
(which the view takes into account), `max_notional_quote` and `max_open_bundles`. Risk checks all of these again and alone holds the daily
volume, the order rate and the end of a cool-down. Neither trusts the other.

Liquidity is asked for once: what a plan asked of a book's side is taken off that side until a new row sets it, and a side of which an
order is in flight waits for the bundle of its pair to close, for all bundles to be closed, or for `execution_timeout_ns` to pass.

Where the breaker of a venue lets through a probe only, the size is about the smallest that earns `min_profit_ppb`: a probe shows whether
the venue works, and need not earn `min_profit_quote`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from xarb.engine.strategy import BundlePlan, Edge, Entry, LegPlan, Pair, Pass, Plan, View, Wake, Wakes
from xarb.model.units import MONEY_ONE, PPB, Money, Ppb, ceil_div
from xarb.strategies.books import Asked, Books, note_asked
from xarb.strategies.ladder import Leg, Level
from xarb.strategies.legs import LegTerms, Rate, bounded_leg, draws_of, leg_terms, spent_by
from xarb.strategies.moving import Move, MovingTerms, Way, moves_of, steps_of
from xarb.strategies.sizing import Size, TooSmall, best_size, smallest_size

_FROM_NINE: Final = 10**9  # ppb and ns as money: a ratio, seconds
_SEQUENCES: Final = ("simultaneous", "hard_leg_first")


class MicroParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of one micro strategy. None has a default here: each is a config key, and the config alone has defaults.

    `min_profit_ppb` is profit after all fees over the notional of the buy leg before fees. `min_profit_quote` is money in the buy leg's
    quote asset. `max_notional_quote` bounds each leg in its own quote asset. Times in ns. Zero switches off
    `cool_down_ns`, `scan_ns`, `improve_ppb` and `max_edge_ppb`.
    """

    min_profit_ppb: Ppb
    min_profit_quote: Money
    max_notional_quote: Money
    max_open_bundles: int
    latency_threshold_ns: int
    execution_timeout_ns: int
    cool_down_ns: int
    scan_ns: int
    min_life_ns: int
    improve_ppb: int
    max_edge_ppb: int
    sequence: str
    max_levels: int
    moving: MovingTerms

    def __post_init__(self) -> None:
        """Raises ValueError on a sequence that does not exist, or a number that must not be negative or zero."""
        if self.sequence not in _SEQUENCES:
            raise ValueError(f"sequence {self.sequence!r} is none of {', '.join(_SEQUENCES)}")
        for name in ("max_notional_quote", "execution_timeout_ns", "max_levels"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above zero")
        for name in (
            "max_open_bundles",
            "latency_threshold_ns",
            "cool_down_ns",
            "scan_ns",
            "min_life_ns",
            "improve_ppb",
            "max_edge_ppb",
        ):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative")


class Told(msgspec.Struct):
    """The reasons told in an episode."""

    opportunity: int
    reasons: list[str]


class MicroState(msgspec.Struct):
    """Memory of one micro strategy; book sides are numbered instrument * 2, + 1 for asks, pairs as in its list."""

    asked: dict[int, Asked] = {}
    in_flight: dict[int, tuple[int, int]] = {}  # side: (pair, time of the plan)
    cooling: dict[int, int] = {}  # pair: not before
    rested_on: dict[int, tuple[int, ...]] = {}  # pair: the rows of its last plan
    told: dict[int, Told] = {}  # pair


_Planned = tuple[LegTerms, int, int, Rate | None]  # a planned leg: terms, price, quantity, price of its fee coin


class _Terms(msgspec.Struct, frozen=True):
    """A pair's legs, how many of them draw on each balance, why one of them is refused by name, and what a bundle moves at a cost."""

    legs: tuple[LegTerms, ...]
    draws: list[tuple[int, int]]
    refused: str | None
    moves: tuple[Move, ...]


class Micro:
    """The strategy.

    Args:
        name: id, unique in the run.
        account: account whose money it uses.
        pairs: directed pairs from `pairing.make_pairs`.
        params: parameters.
        rates: by (venue, fee coin, quote asset), the number of the instrument that prices the coin.
        assumed_qty: by venue, the size in base units to assume where a quote has none; a venue left out: pass.
    """

    def __init__(
        self,
        name: str,
        account: str,
        pairs: Sequence[Pair],
        params: MicroParams,
        *,
        rates: Mapping[tuple[str, str, str], int],
        assumed_qty: Mapping[str, Money],
    ) -> None:
        self.id = name
        self.account = account
        self.params = params
        self.state = MicroState()
        self._pairs = tuple(pairs)
        self.premiums = tuple(pair.premium for pair in pairs)  # by pair: whether it is compared through a peg only
        self.books = Books(rates, assumed_qty, max_age_ns=params.latency_threshold_ns, depth=params.max_levels)
        self._terms: dict[int, _Terms] = {}  # derived from instruments and fees, remade when they change
        self._wakes = Wakes(
            pairs=self._pairs,
            min_life_ns=params.min_life_ns,
            improve_ppb=params.improve_ppb,
            timer_ns=params.scan_ns,
            timer_needs_edge=True,
            max_edge_ppb=params.max_edge_ppb,
        )

    def wakes(self) -> Wakes:
        """Edges of all pairs, and the scan timer while one stands."""
        return self._wakes

    def on_wake(self, wake: Wake, view: View) -> Sequence[Plan]:
        """Plans and passes for the episode of the wake, or on the timer for all open ones, best edge first."""
        state, edge = self.state, wake.edge
        bundles = view.open_bundles()
        if bundles == 0:
            state.in_flight.clear()
        if edge is None:
            edges = sorted(view.edges(), key=_best_first) if wake.kind == "timer" else []
        elif wake.kind == "close":
            state.told.pop(edge.pair, None)
            return ()
        else:
            edges = [edge]
            if wake.kind == "rearm":
                self._rearm(edge.pair, wake.ts)
        plans: list[Plan] = []
        decision = _Decision(self, view, bundles)
        for edge in edges:
            plan = decision.on(edge)
            if plan is not None:
                plans.append(plan)
        return plans

    def terms(self, pair: int, view: View) -> _Terms:
        """Terms of a pair's legs (sell, buy and, if there is one, conversion) as the instruments are known now."""
        known, instruments = self._terms.get(pair), view.instruments
        if known is not None:
            for leg in known.legs:
                if instruments[leg.number] is not leg.instrument:
                    break
            else:
                return known
        legs = self._pairs[pair]
        sides = [(legs.sell, "bid"), (legs.buy, "ask")]
        if legs.convert >= 0:
            sides.append((legs.convert, legs.convert_side))
        made = tuple(leg_terms(number, instruments[number], side, view.fee(number)) for number, side in sides)
        refused = next((leg.refused for leg in made if leg.refused is not None), None)
        self._terms[pair] = _Terms(made, draws_of(made), refused, moves_of(made, self.params.moving.costs))
        return self._terms[pair]

    def _rearm(self, pair: int, ts: int) -> None:
        """A bundle of the pair closed, or its cool-down ended: its sides are free again."""
        state = self.state
        for key in [key for key, (owner, _) in state.in_flight.items() if owner == pair]:
            del state.in_flight[key]
        state.rested_on.pop(pair, None)
        if self.params.cool_down_ns and ts < state.cooling.get(pair, 0):
            state.cooling[pair] = ts + self.params.cool_down_ns


class _Decision:
    """The decisions of one wake: they share what the plans before them spend."""

    def __init__(self, micro: Micro, view: View, bundles: int) -> None:
        self._micro, self._view = micro, view
        self._now = view.now
        self._bundles = bundles  # open or planned
        self._plans: list[_Planned] = []  # what the plans so far take from the account

    def on(self, edge: Edge) -> Plan | None:
        """A plan, a pass whose reason is new in the episode, or None."""
        micro, view, now, pair = self._micro, self._view, self._now, edge.pair
        state, params = micro.state, micro.params
        if micro.premiums[pair]:
            return self._pass(edge, "premium")
        if edge.abnormal:
            return self._pass(edge, "abnormal_edge", edge.edge_ppb * _FROM_NINE, params.max_edge_ppb * _FROM_NINE)
        terms = micro.terms(pair, view)
        if terms.refused is not None:
            return self._pass(edge, terms.refused)
        if state.in_flight:
            for leg in terms.legs:
                held = state.in_flight.get(leg.key)
                if held is not None and now < held[1] + params.execution_timeout_ns:
                    return None if held[0] == pair else self._pass(edge, "leg_in_flight")
        if now < state.cooling.get(pair, 0):
            return self._pass(edge, "cool_down")
        if self._bundles >= params.max_open_bundles:
            return self._pass(edge, "max_open_bundles", self._bundles * MONEY_ONE, params.max_open_bundles * MONEY_ONE)
        entries = [view.entry(leg.instrument.venue) for leg in terms.legs]
        seqs = []
        for leg, entry in zip(terms.legs, entries, strict=True):
            if entry.way == "none":
                return self._pass(edge, "breaker_open")
            if not view.feed(leg.number).tradable:
                return self._pass(edge, "feed_not_tradable")
            quote = view.quote(leg.number)
            age = now - quote.ts
            if age > params.latency_threshold_ns:
                return self._pass(edge, "stale_quote", age * _FROM_NINE, params.latency_threshold_ns * _FROM_NINE)
            seqs.append(quote.bid_seq if leg.side == "bid" else quote.ask_seq)
        if state.rested_on.get(pair) == tuple(seqs):
            return None  # risk refused the same plan on the same rows
        return self._size(edge, terms, seqs, entries)

    def _pass(self, edge: Edge, reason: str, value: int | None = None, bound: int | None = None) -> Pass | None:
        """A pass, None if its reason was told in this episode."""
        told = self._micro.state.told.get(edge.pair)
        if told is None or told.opportunity != edge.opportunity:
            told = self._micro.state.told[edge.pair] = Told(edge.opportunity, [])
        elif reason in told.reasons:
            return None
        told.reasons.append(reason)
        return Pass(
            opportunity=edge.opportunity,
            reason=reason,
            value=None if value is None else Money(value),
            bound=None if bound is None else Money(bound),
        )

    def _size(self, edge: Edge, terms: _Terms, seqs: list[int], entries: list[Entry]) -> Plan | None:
        micro, view = self._micro, self._view
        rates: list[Rate | None] = []
        books: list[list[Level]] = []
        for leg, seq in zip(terms.legs, seqs, strict=True):
            levels = micro.books.levels(leg, view, micro.state.asked.get(leg.key), seq)
            if levels is None:
                return self._pass(edge, "unknown_size")
            if not levels:
                return self._pass(edge, "depth", 0)
            rate = None
            if leg.coin:
                rate = micro.books.rate(leg, view)
                if rate is None:
                    return self._pass(edge, "fee_rate_unknown")
            rates.append(rate)
            books.append(levels)
        params, spent = micro.params, self._spent() if self._plans else {}
        legs: list[Leg] = []
        is_probe = False
        for leg, entry, draws, levels, rate in zip(terms.legs, entries, terms.draws, books, rates, strict=True):
            free, coins = self._free(leg, spent)
            funds = (free // draws[0], coins // draws[1] if coins else 0)
            most = params.max_notional_quote if entry.most is None else min(entry.most, params.max_notional_quote)
            legs.append(bounded_leg(leg, levels, funds, most, rate))
            is_probe = is_probe or entry.way == "probe"
        convert = legs[2] if len(legs) > 2 else None
        convert_sells = terms.legs[-1].side == "bid"
        if terms.moves:
            way = Way() if convert is None else Way(convert.levels[0][0], convert.px_scale, convert_sells)
            steps = steps_of(terms.moves, params.moving.shares, view.balance, (terms.legs[1], books[1]), way)
            legs[1] = msgspec.structs.replace(legs[1], moving=steps)
        if is_probe:
            size = smallest_size(legs, params.min_profit_ppb, convert_sells=convert_sells)
        else:
            size = best_size(*legs, convert_sells=convert_sells)
        if isinstance(size, TooSmall):
            return self._pass(edge, size.reason, size.most, size.least)
        least_profit = Money(0) if is_probe else params.min_profit_quote
        if size.inventory_cost:
            needed = max(ceil_div(size.buy_notional * params.min_profit_ppb, PPB), least_profit)
            if size.profit < needed <= size.profit + size.inventory_cost:
                return self._pass(edge, "inventory_cost", size.inventory_cost, size.profit + size.inventory_cost - needed)
        ratio = size.ratio_ppb
        if ratio < params.min_profit_ppb:
            return self._pass(edge, "min_profit_bps", ratio * _FROM_NINE, params.min_profit_ppb * _FROM_NINE)
        if size.profit < least_profit:
            return self._pass(edge, "min_profit_quote", size.profit, params.min_profit_quote)
        return self._plan(edge, terms.legs, size, seqs, (legs, rates))

    def _free(self, leg: LegTerms, spent: Mapping[tuple[str, str], int]) -> tuple[int, int]:
        """What is free of the asset that a leg spends and of its fee coin, less what the plans of this wake take."""
        venue, asset, coin = leg.instrument.venue, leg.spends, leg.coin
        free: int = self._view.free(venue, asset)
        coins: int = self._view.free(venue, coin) if coin else 0
        if spent:
            free = max(free - spent.get((venue, asset), 0), 0)
            coins = max(coins - spent.get((venue, coin), 0), 0)
        return free, coins

    def _spent(self) -> dict[tuple[str, str], int]:
        """The most that the plans of this wake take, by venue and asset."""
        spent: dict[tuple[str, str], int] = {}
        for leg, price, qty, rate in self._plans:
            venue = leg.instrument.venue
            for asset, amount in zip((leg.spends, leg.coin), spent_by(leg, price, qty, rate), strict=True):
                spent[venue, asset] = spent.get((venue, asset), 0) + amount
        return spent

    def _plan(
        self,
        edge: Edge,
        terms: tuple[LegTerms, ...],
        size: Size,
        seqs: list[int],
        sized: tuple[list[Leg], list[Rate | None]],
    ) -> BundlePlan:
        micro, state, params, rested_on = self._micro, self._micro.state, self._micro.params, tuple(seqs)
        orders = ((size.sell_price, size.sell_qty), (size.buy_price, size.buy_qty), (size.convert_price, size.convert_qty))
        plans, rows = [], list(seqs)
        for leg, (price, qty), seq, rate in zip(terms, orders, seqs, sized[1], strict=False):
            plans.append(LegPlan(leg.number, "sell" if leg.side == "bid" else "buy", price, qty))
            self._plans.append((leg, price, qty, rate))
            note_asked(state.asked, leg, seq, qty)
            state.in_flight[leg.key] = (edge.pair, self._now)
            if rate is not None:
                rows.append(micro.books.rate_seq(leg, self._view))
        if params.cool_down_ns:
            state.cooling[edge.pair] = self._now + params.cool_down_ns
        state.rested_on[edge.pair] = rested_on
        self._bundles += 1
        if params.sequence == "hard_leg_first" and _is_thinner(sized[0][1], plans[1], sized[0][0], plans[0]):
            plans[0], plans[1] = plans[1], plans[0]
        return BundlePlan(
            opportunity=edge.opportunity,
            legs=tuple(plans),
            sequence=params.sequence,
            quote_seqs=tuple(rows),
            expected_profit=size.profit,
            profit_asset=terms[1].instrument.quote,
            edge_ppb=edge.edge_ppb,
            inventory_cost=size.inventory_cost,
        )


def _is_thinner(leg: Leg, plan: LegPlan, other: Leg, other_plan: LegPlan) -> bool:
    """Whether the depth up to the limit price is a smaller multiple of the order than on the other leg: the harder one to fill."""
    depths = []
    for one, order in ((leg, plan), (other, other_plan)):
        worse = 1 if order.side == "buy" else -1
        depths.append(sum(qty for price, qty in one.levels if price * worse <= order.price_int * worse))
    return depths[0] * other_plan.qty_int < depths[1] * plan.qty_int


def _best_first(edge: Edge) -> tuple[int, int]:
    return -edge.edge_ppb, edge.pair
