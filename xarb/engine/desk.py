"""One strategy at work: its terms, the sides on which it trades, and the counts that its limits need."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from functools import partial

from xarb.engine.captured import DeskCopy
from xarb.engine.portfolio import Portfolio, Till
from xarb.engine.results import Results
from xarb.engine.rules import Market
from xarb.engine.side import Side
from xarb.engine.strategy import Strategy
from xarb.engine.terms import StrategyTerms
from xarb.engine.volumes import Volumes
from xarb.model.instrument import FeeTier
from xarb.model.units import NANOS_PER_S, PPB

_MINUTE_NS = 60 * NANOS_PER_S


class Desk:
    """What a strategy trades with, and what it did today.

    `open_bundles` counts the bundles that are neither closed nor held. `cool_until` says by a bundle's set of instruments until when
    they rest. A side is laid out when it is first asked for. `results` are what it made, None where no limit asks for it, `volumes` what it
    sent today. `allowed` are
    the instruments on which it may send orders: none before risk says which.
    """

    __slots__ = (
        *("_begun", "_counts", "_fees", "_market", "_portfolio", "_sent", "_sides"),
        *("account", "allowed", "cool_until", "limits", "open_bundles", "policy", "results", "strategy", "volumes"),
    )

    def __init__(
        self,
        strategy: Strategy,
        terms: StrategyTerms,
        *,
        market: Market,
        portfolio: Portfolio,
        fees: Mapping[tuple[str, int], FeeTier],
        results: Results | None,
    ) -> None:
        self.strategy = strategy.id
        self.account = strategy.account
        self.limits = terms.limits
        self.policy = terms.execution
        self.results = results
        self.volumes = Volumes(strategy.id, terms.limits, market)
        self.allowed: frozenset[int] = frozenset()
        self.open_bundles = 0
        self.cool_until: dict[tuple[int, ...], int] = {}
        self._market = market
        self._portfolio = portfolio
        self._fees = fees
        self._sides: dict[tuple[int, int], Side] = {}
        self._sent: deque[int] = deque()
        self._begun: deque[int] = deque()
        self._counts = False

    def count_all(self) -> None:
        """Count also what no limit asks for: another config may, later."""
        self._counts = True
        self.volumes.count_all()

    # --- what it trades with

    def side(self, number: int, sign: int) -> Side:
        """Buying (+1) or selling (-1) an instrument: always the same object."""
        side = self._sides.get((number, sign))
        if side is None:
            instrument = self._market.instrument(number)
            fee = self._fees.get((self.account, number))
            side = Side(number, sign, instrument, fee, till=partial(self.till, instrument.venue))
            self._sides[number, sign] = side
        return side

    def till(self, venue: str, asset: str) -> Till:
        """An asset of its account on a venue."""
        return self._portfolio.till(self.strategy, (self.account, venue, asset))

    def follow(self, number: int) -> None:
        """Something new is known of an instrument."""
        for sign in (1, -1):
            side = self._sides.get((number, sign))
            if side is not None:
                side.lay(self._market.instrument(number))

    # --- what it did

    def orders_in_last_second(self) -> int:
        """Orders sent within the last second; counted where a limit asks for it."""
        sent = self._sent
        while sent and sent[0] <= self._market.now - NANOS_PER_S:
            sent.popleft()
        return len(sent)

    def count_order(self, now: int) -> None:
        """An order was sent."""
        if self._counts or self.limits.orders_per_second is not None:
            self._sent.append(now)

    def bundles_in_last_minute(self) -> int:
        """Bundles begun within the last minute; counted where a limit asks for it."""
        begun = self._begun
        while begun and begun[0] <= self._market.now - _MINUTE_NS:
            begun.popleft()
        return len(begun)

    def begin(self) -> None:
        """A bundle begins."""
        self.open_bundles += 1
        if self._counts or self.limits.bundles_per_minute is not None:
            self._begun.append(self._market.now)

    def spendable(self, till: Till) -> int:
        """What a new bundle may take of an asset: free in the account, left in the budget, within the part that may be drawn on; never below zero."""
        share = self.limits.balance_share_ppb
        return till.free if not share else max(0, min(till.free, self.most_drawn(till) - till.pot.reserved))

    def most_drawn(self, till: Till) -> int:
        """How much of a balance orders may draw on when a bundle begins."""
        share = self.limits.balance_share_ppb
        return till.pot.balance * share // PPB if share else till.pot.balance

    def cool(self, instruments: tuple[int, ...]) -> int | None:
        """A bundle closed: its instruments rest until the returned time, None where no cool-down is set."""
        pause = self.limits.cool_down_ns
        if pause <= 0:
            return None
        until = self.cool_until[instruments] = self._market.now + pause
        return until

    def capture(self) -> DeskCopy:
        """What it did, as plain values."""
        results = [] if self.results is None else self.results.capture()
        return DeskCopy(
            self.open_bundles, [*self.cool_until.items()], self.volumes.capture(), [*self._sent], results, [*self._begun]
        )

    def restore(self, copy: DeskCopy) -> None:
        """Take over what a copy did; what was taken up before it follows what is known of instruments by now."""
        for side in self._sides.values():
            side.lay(self._market.instrument(side.number))
        self.open_bundles = copy.open_bundles
        self.cool_until = dict(copy.cool_until)
        self.volumes.restore(*copy.volumes)
        self._sent = deque(copy.sent)
        self._begun = deque(copy.begun)
        if self.results is not None:
            self.results.restore(copy.results)
