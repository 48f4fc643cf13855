"""Triangular arbitrage and longer cycles: an asset goes through three or more trades, on one venue or several, and comes back as more.

Woken by the scan timer, and by every market row where the config asks for it, it lays the best price after fees of each side of each tradable
book as a rate between two assets, of parallel ones the best, and searches for cycles (`cycles.py`) through each asset that is to go round. A
cycle is named by its legs; while it is found it stands, and it is told when it began and ceased to. Each one found, best first, goes through
the gates of `_Look` and is either planned at the size that earns most (`round_trip.py`) or passed on with the reason, told once.

Between venues nothing is sent: what a leg spends must lie where it is spent. Names of an asset on two venues are one asset where the table of
assets proves it, else two. A trade whose feed is not tradable, whose quote is too old or whose venue lets no bundle begin has no rate.

Where the breaker of a venue lets through a probe only, about the smallest amount that earns `min_profit_ppb` goes round, and need not earn
`min_profit_quote`.

Liquidity is asked for once, as `micro` does: what a plan asked of a book's side is taken off that side until a new row sets it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from xarb.engine.strategy import BundlePlan, CycleFound, CycleNote, Entry, LeftOut, LegPlan, Pass, Plan, View, Wake, Wakes
from xarb.model.units import MONEY_ONE, MONEY_SCALE, NANOS_PER_S, PPB, Money, Ppb, ceil_div
from xarb.strategies.books import Asked, Books, note_asked
from xarb.strategies.cycles import COUNTED, LEAST_LEGS, MAX_FOUND, ONE, Cycle, Hop, best_hops, earning_cycles
from xarb.strategies.ladder import TEN, Leg
from xarb.strategies.legs import LegTerms, bounded_leg, draws_of, leg_terms, spent_by
from xarb.strategies.moving import MovingTerms, surplus
from xarb.strategies.round_trip import Moving, RoundTrip, Trade, best_round_trip, smallest_round_trip
from xarb.strategies.sizing import TooSmall

_FROM_NINE: Final = 10**9  # ppb and ns as money: a ratio, seconds
MOST_LEGS: Final = 6
_TELL_NS: Final = 60 * NANOS_PER_S  # cycles that are left out are counted and told so often at most


class TriangularParams(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of one triangular strategy. None has a default here: each is a config key, and the config alone has defaults.

    `min_profit_ppb` is profit after all fees over what goes round, `min_profit_quote` money in the asset that goes round. `max_notional_quote`
    bounds what goes round, and each leg's notional, each in its own asset. Times in ns. Zero switches off `cool_down_ns` and `max_edge_ppb`.

    Raises:
        ValueError: a number that must be above zero is not, or it would never look.
    """

    max_legs: int
    open_ppb: int
    close_ppb: int
    every_row: bool
    min_profit_ppb: Ppb
    min_profit_quote: Money
    max_notional_quote: Money
    max_open_bundles: int
    latency_threshold_ns: int
    cool_down_ns: int
    scan_ns: int
    max_edge_ppb: int
    sequence: str
    max_levels: int
    moving: MovingTerms

    def __post_init__(self) -> None:
        """Without these nothing could be found, or it would be found for ever."""
        for name in ("max_notional_quote", "max_levels"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above zero")
        if not LEAST_LEGS <= self.max_legs <= MOST_LEGS:
            raise ValueError(f"max_legs must be {LEAST_LEGS} to {MOST_LEGS}")
        if not self.scan_ns and not self.every_row:
            raise ValueError("without scan_ms and every_row it would never look")


class TradeGraph(msgspec.Struct, frozen=True, kw_only=True):
    """What may be traded: numbers of instruments, all spot, what base and quote of each are (equal names: one asset), and what goes round."""

    instruments: tuple[int, ...]
    assets: Mapping[int, tuple[str, str]]
    starts: tuple[str, ...]


class Standing(msgspec.Struct):
    """A cycle that was found at the last look, as it was first numbered; `told` are the reasons told of it."""

    number: int
    since: int
    best_edge_ppb: int
    seqs: tuple[int, ...]
    edge_ppb: int
    told: list[str] = []
    rested_on: tuple[int, ...] = ()  # the rows of its last plan


class TriangularState(msgspec.Struct):
    """Memory of one triangular strategy; book sides are numbered instrument * 2, + 1 for asks, and name a cycle as text."""

    found: int = 0
    standing: dict[str, Standing] = {}
    asked: dict[int, Asked] = {}
    cooling: dict[str, int] = {}  # cycle: not before
    tell_at: int = 0  # cycles that were left out are told again then, ns


class _Side(NamedTuple):
    """One side of a book as a trade between two assets, by their numbers, and their venue."""

    number: int
    instrument: int
    side: str
    source: int
    target: int


class Triangular:
    """The strategy.

    Args:
        name: id, unique in the run.
        account: account whose money it uses.
        graph: what it may trade.
        params: parameters.
        rates: by (venue, fee coin, quote asset), the number of the instrument that prices the coin.
        assumed_qty: by venue, the size in base units to assume where a quote has none; a venue left out: its quotes have no rate.
    """

    def __init__(
        self,
        name: str,
        account: str,
        graph: TradeGraph,
        params: TriangularParams,
        *,
        rates: Mapping[tuple[str, str, str], int],
        assumed_qty: Mapping[str, Money],
    ) -> None:
        self.id = name
        self.account = account
        self.params = params
        self.state = TriangularState()
        self.books = Books(rates, assumed_qty, max_age_ns=params.latency_threshold_ns, depth=params.max_levels)
        names = {asset for number in graph.instruments for asset in graph.assets[number]}
        places = {asset: at for at, asset in enumerate(sorted(names))}
        self.starts = [places[asset] for asset in graph.starts]
        self.sides: list[_Side] = []
        for number in graph.instruments:
            base, quote = (places[asset] for asset in graph.assets[number])
            self.sides.append(_Side(len(self.sides), number, "bid", base, quote))
            self.sides.append(_Side(len(self.sides), number, "ask", quote, base))
        self._terms: dict[int, LegTerms] = {}  # derived from instruments and fees, remade when they change
        self._wakes = Wakes(
            every_event=graph.instruments if params.every_row else (),
            timer_ns=params.scan_ns,
            timer_needs_edge=False,
            on_edge=False,
        )

    def wakes(self) -> Wakes:
        """The scan timer, and every row of its instruments where the config says so."""
        return self._wakes

    def on_wake(self, wake: Wake, view: View) -> Sequence[Plan]:
        """Cycles that began or ceased to earn, plans and passes, best cycle first."""
        if wake.kind not in ("timer", "event"):
            return ()
        return _Look(self, view).plans()

    def terms(self, side: _Side, view: View) -> LegTerms:
        """Terms of taking a side as the instrument is known now."""
        known, instrument = self._terms.get(side.number), view.instruments[side.instrument]
        if known is None or known.instrument is not instrument:
            known = leg_terms(side.instrument, instrument, side.side, view.fee(side.instrument))
            self._terms[side.number] = known
        return known


class _Look:
    """One look at the market: its plans share what the ones before them spend."""

    def __init__(self, strategy: Triangular, view: View) -> None:
        self._strategy, self._view = strategy, view
        self._params, self._state = strategy.params, strategy.state
        self._now = view.now
        self._bundles = view.open_bundles()
        self._spent: dict[tuple[str, str], int] = {}
        self._entries: dict[str, Entry] = {}
        self._left_out: LeftOut | None = None

    def plans(self) -> list[Plan]:
        """What follows."""
        state = self._state
        found = self._search()
        plans: list[Plan] = [] if self._left_out is None else [self._left_out]
        for key in [key for key in state.standing if key not in found]:
            gone = state.standing.pop(key)
            plans.append(CycleNote(cycle=self._told(gone, key), phase="closed", reason="edge_gone"))
        for key, cycle in found.items():
            edge = cycle.product * PPB // ONE - PPB
            seqs = tuple(self._seq(side) for side in self._sides(cycle))
            known = state.standing.get(key)
            if known is None and edge < self._params.open_ppb:
                continue
            if known is None:
                state.found += 1
                known = state.standing[key] = Standing(state.found, self._now, edge, seqs, edge)
                plans.append(CycleNote(cycle=self._told(known, key), phase="opened"))
            known.seqs, known.edge_ppb, known.best_edge_ppb = seqs, edge, max(edge, known.best_edge_ppb)
            plan = self._decide(key, known, self._sides(cycle))
            if plan is not None:
                plans.append(plan)
        return plans

    def _sides(self, cycle: Cycle) -> list[_Side]:
        return [self._strategy.sides[at] for at in cycle.trades]

    def _told(self, one: Standing, key: str) -> CycleFound:
        sides = [self._strategy.sides[int(at)] for at in key.split()]
        return CycleFound(
            number=one.number,
            legs=tuple((side.instrument, "sell" if side.side == "bid" else "buy") for side in sides),
            seqs=one.seqs,
            edge_ppb=one.edge_ppb,
            best_edge_ppb=one.best_edge_ppb,
            since=one.since,
        )

    # --- rates

    def _search(self) -> dict[str, Cycle]:
        """The cycles that earn, best first over all start assets."""
        strategy, above = self._strategy, ONE * (PPB + self._params.close_ppb) // PPB
        hops = best_hops([hop for side in strategy.sides if (hop := self._hop(side)) is not None])
        rounds: dict[tuple[int, ...], Cycle] = {}
        tells, left_out = self._now >= self._state.tell_at, 0
        for start in strategy.starts:  # a cycle through two of them is found from each: the first one named counts, at every look
            found = earning_cycles(hops, start, max_legs=self._params.max_legs, above=above, counted=COUNTED if tells else 1)
            left_out += found.left_out
            for cycle in found.cycles:
                turned = min(cycle.trades[at:] + cycle.trades[:at] for at in range(len(cycle.trades)))
                rounds.setdefault(turned, cycle)
        if tells and left_out:
            self._state.tell_at = self._now + _TELL_NS
            self._left_out = LeftOut(count=left_out, bound=MAX_FOUND)
        best_first = sorted(rounds.values(), key=lambda cycle: (-cycle.product, cycle.trades))
        return {" ".join(str(trade) for trade in cycle.trades): cycle for cycle in best_first}

    def _hop(self, side: _Side) -> Hop | None:
        """What a unit of what a side spends brings at its best price after fees; None where nothing may be traded on it."""
        view, strategy = self._view, self._strategy
        terms = strategy.terms(side, view)
        if terms.refused is not None or not view.feed(side.instrument).tradable:
            return None
        quote = view.quote(side.instrument)
        price, size = (quote.bid, quote.bid_qty) if side.side == "bid" else (quote.ask, quote.ask_qty)
        if price is None or price <= 0 or self._now - quote.ts > self._params.latency_threshold_ns:
            return None
        venue = terms.instrument.venue
        if (size is None and venue not in strategy.books.assumed) or self._entry(venue).way == "none":
            return None
        unit = TEN[terms.instrument.px_scale]
        coin = 0
        if terms.coin:
            rate = strategy.books.rate(terms, view)
            if rate is None:
                return None
            coin = ceil_div(terms.coin_fee_ppb * rate.ask, rate.bid)
        if side.side == "bid":
            gain, cost = price * (PPB - terms.quote_fee_ppb - coin), unit * (PPB + terms.base_fee_ppb)
        else:
            gain, cost = unit * (PPB - terms.base_fee_ppb), price * (PPB + terms.quote_fee_ppb + coin)
        return Hop(side.source, side.target, gain * ONE // cost, side.number) if gain > 0 else None

    def _entry(self, venue: str) -> Entry:
        entry = self._entries.get(venue)
        if entry is None:
            entry = self._entries[venue] = self._view.entry(venue)
        return entry

    def _seq(self, side: _Side) -> int:
        quote = self._view.quote(side.instrument)
        return quote.bid_seq if side.side == "bid" else quote.ask_seq

    # --- decisions

    def _decide(self, key: str, one: Standing, sides: Sequence[_Side]) -> Plan | None:
        """A plan, a pass whose reason is new for the cycle, or None."""
        params = self._params
        if params.max_edge_ppb and one.edge_ppb > params.max_edge_ppb:
            return self._pass(key, one, "abnormal_edge", one.edge_ppb * _FROM_NINE, params.max_edge_ppb * _FROM_NINE)
        if self._now < self._state.cooling.get(key, 0):
            return self._pass(key, one, "cool_down")
        if self._bundles >= params.max_open_bundles:
            return self._pass(key, one, "max_open_bundles", self._bundles * MONEY_ONE, params.max_open_bundles * MONEY_ONE)
        if one.rested_on == one.seqs:
            return None  # planned on the same rows already
        terms = [self._strategy.terms(side, self._view) for side in sides]
        sized = self._trades(terms, one.seqs)
        if isinstance(sized, str):
            return self._pass(key, one, sized)
        probes = any(self._entry(leg.instrument.venue).way == "probe" for leg in terms)
        trip = smallest_round_trip(sized, params.min_profit_ppb) if probes else best_round_trip(sized)
        if isinstance(trip, TooSmall):
            return self._pass(key, one, trip.reason, trip.most, trip.least)
        if trip.profit < 0 <= trip.profit + trip.inventory_cost:
            return self._pass(key, one, "inventory_cost", trip.inventory_cost, trip.profit + trip.inventory_cost)
        if trip.ratio_ppb < params.min_profit_ppb:
            return self._pass(key, one, "min_profit_bps", trip.ratio_ppb * _FROM_NINE, params.min_profit_ppb * _FROM_NINE)
        if trip.profit < params.min_profit_quote and not (probes and trip.profit >= 0):
            return self._pass(key, one, "min_profit_quote", trip.profit, params.min_profit_quote)
        return self._plan(key, one, terms, trip)

    def _pass(self, key: str, one: Standing, reason: str, value: int | None = None, bound: int | None = None) -> Pass | None:
        if reason in one.told:
            return None
        one.told.append(reason)
        return Pass(
            opportunity=None,
            reason=reason,
            value=None if value is None else Money(value),
            bound=None if bound is None else Money(bound),
            cycle=self._told(one, key),
        )

    def _trades(self, terms: Sequence[LegTerms], seqs: Sequence[int]) -> list[Trade] | str:
        """The legs within what is free, or why a leg is not known well enough."""
        books, trades = self._strategy.books, []
        spending = [leg.spends for leg in terms]
        for at, (leg, seq, (draws, coins)) in enumerate(zip(terms, seqs, draws_of(terms), strict=True)):
            levels = books.levels(leg, self._view, self._state.asked.get(leg.key), seq)
            if levels is None:
                return "unknown_size"
            if not levels:
                return "depth"
            rate = books.rate(leg, self._view) if leg.coin else None
            if leg.coin and rate is None:
                return "fee_rate_unknown"
            free, coin = self._free(leg)
            probe = self._entry(leg.instrument.venue).most
            most = self._params.max_notional_quote if probe is None else min(probe, self._params.max_notional_quote)
            bounded = bounded_leg(leg, levels, (free // draws, coin // coins if coins else 0), most, rate)
            if at == 0:
                bounded = self._bound_start(leg, bounded, most)
            trades.append(Trade(bounded, leg.side == "bid", self._moving(terms[at - 1], leg, spending[at])))
        return trades

    def _bound_start(self, leg: LegTerms, bounded: Leg, most: int) -> Leg:
        """What goes round is bounded in its own asset, which is the base where the first leg sells."""
        if leg.side == "ask":
            return bounded
        unit = TEN[MONEY_SCALE - leg.instrument.qty_scale]
        own = most // unit
        if bounded.max_qty is not None and bounded.max_qty <= own:
            return bounded
        return msgspec.structs.replace(bounded, max_qty=own, bound="max_notional")

    def _moving(self, before: LegTerms, leg: LegTerms, asset: str) -> Moving:
        """What it costs that a leg spends elsewhere than where the one before it brings."""
        source, to = leg.instrument.venue, before.instrument.venue
        cost = self._params.moving.costs.get(asset, 0)
        if source == to or not cost:
            return Moving()
        shares, balance = self._params.moving.shares, self._view.balance
        free = surplus(asset, source, shares, balance) + surplus(asset, to, shares, balance, sign=-1)
        return Moving(free, int(cost))

    def _free(self, leg: LegTerms) -> tuple[int, int]:
        """What is free of what a leg spends and of its fee coin, less what the plans of this look take."""
        venue = leg.instrument.venue
        free = self._view.free(venue, leg.spends) - self._spent.get((venue, leg.spends), 0)
        coins = self._view.free(venue, leg.coin) - self._spent.get((venue, leg.coin), 0) if leg.coin else 0
        return max(free, 0), max(coins, 0)

    def _plan(self, key: str, one: Standing, terms: Sequence[LegTerms], trip: RoundTrip) -> BundlePlan:
        state, params, books = self._state, self._params, self._strategy.books
        legs, rows = [], [*one.seqs]
        for leg, (qty, price), seq in zip(terms, trip.orders, one.seqs, strict=True):
            legs.append(LegPlan(leg.number, "sell" if leg.side == "bid" else "buy", price, qty))
            rate = books.rate(leg, self._view) if leg.coin else None
            if rate is not None:
                rows.append(books.rate_seq(leg, self._view))
            for asset, amount in zip((leg.spends, leg.coin), spent_by(leg, price, qty, rate), strict=True):
                place = (leg.instrument.venue, asset)
                self._spent[place] = self._spent.get(place, 0) + amount
            note_asked(state.asked, leg, seq, qty)
        if params.cool_down_ns:
            state.cooling = {name: until for name, until in state.cooling.items() if until > self._now}
            state.cooling[key] = self._now + params.cool_down_ns
        one.rested_on = one.seqs
        self._bundles += 1
        return BundlePlan(
            opportunity=None,
            legs=tuple(legs),
            sequence=params.sequence,
            quote_seqs=tuple(rows),
            expected_profit=trip.profit,
            profit_asset=terms[0].spends,
            edge_ppb=one.edge_ppb,
            inventory_cost=trip.inventory_cost,
            cycle=self._told(one, key),
        )
