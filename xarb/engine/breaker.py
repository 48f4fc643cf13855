"""Breakers: a venue on which too much goes wrong gets no new bundle, until a single small one has shown that it works again.

There is one for each account and venue. It opens by what the engine hears and reckons itself, so that a replay opens it at the same input.
Orders that flatten a residual, and cancels, always go out, but no order to a venue that refuses the key. A residual that had to be held opens the breakers of its venues until a
person resets them; so does an exchange that refuses the key, which does not mend itself. One that says that an account lacks money opens
at the first such order: our books are wrong.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from xarb.engine.bundle import Leg, Order
from xarb.engine.captured import BreakerCopy, BreakersCopy
from xarb.engine.rules import Market, Refusal
from xarb.engine.strategy import Entry
from xarb.model.order import BREAKER_LIFE, advance
from xarb.model.units import MONEY_ONE, MONEY_SCALE, NEVER, Money, ceil_div

RESIDUAL_HELD: Final = "residual_held"
KEY_REFUSED: Final = "key_refused"
# Reasons of reports that say so.
KEY_REFUSALS: Final = frozenset({"account_not_enabled", "account_suspended", "authentication_error", "permission_denied"})
NO_MONEY: Final = "insufficient_funds"  # the reason of such reports, and of the trip
_FOR_A_PERSON: Final = (RESIDUAL_HELD, KEY_REFUSED)  # no pause ends these
ANSWERS: Final = 20  # of so many answers of a venue the slowest tenth may be slow
_ENOUGH: Final = ANSWERS * 9 // 10  # the 9th decile: this many answers are no slower
_NANO: Final = 10 ** (MONEY_SCALE - 9)  # one ns as money of seconds
_MOST_DOUBLINGS: Final = 40
Key = tuple[str, str]  # account, venue
Emit = Callable[[str, tuple[Any, ...]], None]


class BreakerLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What opens the breaker of a venue, and how it closes; zero switches a rule off. Times in ns, money at 18 decimals.

    `errors` orders that failed (rejected, not sent, or of unknown fate), of which one is forgotten each `error_recovery_ns`. `unknown`
    orders of unknown fate at once. `rejects` orders rejected one after the other. `ack_ns`: the 9th decile of the last `ANSWERS` times
    from a command to the first answer of the venue lies above it. `feed_score`: the mean score of the venue's feeds lies below it.
    `clock_offset_ns`: the venue's clock is further than that from ours. `residual_held`: a residual had to be held.

    The first pause takes `pause_ns`; each failed probe doubles it, up to `max_pause_ns`. `probe` bounds each leg of a probe in its quote
    currency; None: the strategy makes it as small as it can.
    """

    errors: int
    error_recovery_ns: int
    unknown: int
    rejects: int
    ack_ns: int
    feed_score: int
    clock_offset_ns: int
    residual_held: bool
    pause_ns: int
    max_pause_ns: int
    probe: Money | None


class Broken(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A breaker that was not closed at the end of a start: the next one opens with it.

    Attributes:
        account: whose.
        venue: where.
        state: open or half_open.
        reason: of the last trip.
        until: end of the pause, ns; None: until a person resets it.
        trips: pauses so far without a probe that succeeded.
    """

    account: str
    venue: str
    state: str
    reason: str
    until: int | None
    trips: int

    @property
    def key(self) -> Key:
        """What there is one of."""
        return self.account, self.venue


FREE: Final = Entry("free")
SHUT: Final = Entry("none")


class _Trip(NamedTuple):
    """Why a breaker opens; counts as money, times as money of seconds."""

    reason: str
    value: int | None = None
    bound: int | None = None


class Breaker:
    """One account's on one venue.

    `until` is when its pause ends, NEVER: a person must reset it. `trips` counts pauses since it was last closed. `worn` is when all errors
    will be forgotten. `rejects` were the last answers, one after the other. `acks` are the last times to an answer. `waiting` are orders
    without an answer, by number with the time of sending; `unknown` those of unknown fate. `probe` is the bundle that is tried, 0 without
    one; `proven` whether the venue answered an order of it.
    """

    __slots__ = (
        *("acks", "feeds", "key", "limits", "probe", "proven", "reason", "rejects", "state", "trips", "unknown", "until"),
        *("waiting", "worn"),
    )

    def __init__(self, key: Key, limits: BreakerLimits, feeds: Sequence[int]) -> None:
        self.key = key
        self.limits = limits
        self.feeds = tuple(feeds)
        self.state = "closed"
        self.reason = ""
        self.until = self.trips = self.worn = self.rejects = self.probe = 0
        self.proven = False
        self.acks: deque[int] = deque(maxlen=ANSWERS)
        self.waiting: dict[int, int] = {}
        self.unknown: dict[int, None] = {}

    # --- what is counted while it is not open

    def failed(self, now: int, kind: str) -> _Trip | None:
        """An order came to nothing, or nobody knows to what."""
        limits = self.limits
        if self.state == "half_open":
            return _Trip(f"probe_{kind}")
        if limits.unknown and len(self.unknown) >= limits.unknown:
            return _Trip("unknown", len(self.unknown) * MONEY_ONE, limits.unknown * MONEY_ONE)
        if limits.rejects and self.rejects >= limits.rejects:
            return _Trip("rejects", self.rejects * MONEY_ONE, limits.rejects * MONEY_ONE)
        if limits.errors:
            self.worn = max(self.worn, now) + limits.error_recovery_ns
            count = ceil_div(self.worn - now, limits.error_recovery_ns)
            if count >= limits.errors:
                return _Trip("errors", count * MONEY_ONE, limits.errors * MONEY_ONE)
        return None

    def answered(self, taken_ns: int) -> _Trip | None:
        """The venue's first answer to an order came after so long."""
        bound = self.limits.ack_ns
        if not bound:
            return None
        if self.state == "half_open":
            return _Trip("probe_slow", taken_ns * _NANO, bound * _NANO) if taken_ns > bound else None
        self.acks.append(taken_ns)
        if taken_ns <= bound or len(self.acks) < ANSWERS:
            return None
        decile = sorted(self.acks)[_ENOUGH - 1]
        return _Trip("ack_latency", decile * _NANO, bound * _NANO) if decile > bound else None

    def rest(self, now: int, trip: _Trip) -> None:
        """Begin the pause after a trip; what was counted begins anew."""
        limits = self.limits
        self.reason, self.probe = trip.reason, 0
        self.trips += 1
        pause = min(limits.pause_ns << min(self.trips - 1, _MOST_DOUBLINGS), max(limits.max_pause_ns, limits.pause_ns))
        self.until = NEVER if trip.reason in _FOR_A_PERSON else now + pause
        self.worn = self.rejects = 0
        self.acks.clear()

    # --- over checkpoints

    def capture(self) -> BreakerCopy:
        """It as plain values."""
        return BreakerCopy(
            *self.key,
            self.state,
            self.reason,
            self.until,
            self.trips,
            self.worn,
            self.rejects,
            [*self.acks],
            [*self.waiting.items()],
            [*self.unknown],
            self.probe,
            self.proven,
        )

    def restore(self, copy: BreakerCopy) -> None:
        """Take over a copy."""
        self.state, self.reason, self.until, self.trips = copy.state, copy.reason, copy.until, copy.trips
        self.worn, self.rejects, self.probe, self.proven = copy.worn, copy.rejects, copy.probe, copy.proven
        self.acks = deque(copy.acks, maxlen=ANSWERS)
        self.waiting, self.unknown = dict(copy.waiting), dict.fromkeys(copy.unknown)


def refuses_key(event: str, reason: str | None) -> bool:
    """Whether a report says that a venue refuses the account's key."""
    return event in ("rejected", "not_sent") and reason in KEY_REFUSALS


class Breakers:
    """All of them; each change of a state is a row of `breakers`.

    Args:
        market: the time, and the scores of feeds.
        limits: by venue.
        feeds: by account and venue, the instruments that its strategies may trade.
        opening: those that earlier starts left open.
        emit: where rows go.
    """

    def __init__(
        self,
        market: Market,
        limits: Mapping[str, BreakerLimits],
        feeds: Mapping[Key, Sequence[int]],
        *,
        opening: Iterable[Broken],
        emit: Emit,
    ) -> None:
        self._market, self._emit = market, emit
        self._all = {key: Breaker(key, limits[key[1]], feeds[key]) for key in sorted(feeds)}
        self._clocks: dict[str, int] = {}  # by venue: its clock less ours, ns
        for one in opening:
            breaker = self._all.get(one.key)
            if breaker is not None:
                breaker.state, breaker.reason, breaker.trips = one.state, one.reason, one.trips
                breaker.until = NEVER if one.until is None else one.until

    def open_books(self) -> None:
        """Write what the start opens with, where it is not closed."""
        for breaker in self._all.values():
            if breaker.state != "closed":
                self._tell(breaker, breaker.state, _Trip(breaker.reason))

    # --- new bundles

    def entry(self, account: str, venue: str) -> Entry:
        """How a bundle may begin there, as far as is known before it is planned."""
        breaker = self._all.get((account, venue))
        if breaker is None or breaker.state == "closed":
            return FREE
        if breaker.probe or (breaker.state == "open" and self._market.now < breaker.until):
            return SHUT
        return Entry("probe", breaker.limits.probe)

    def check(self, legs: Sequence[Leg]) -> Refusal | None:
        """Why a bundle of these legs must not begin now. A pause that is over ends here, unless its cause still stands."""
        for leg in legs:
            refusal = self._against(self._of(leg.side.names), leg.instrument, leg.value)
            if refusal is not None:
                return refusal
        return None

    def check_cycle(self, key: Key, instrument: int, value: int) -> Refusal | None:
        """The same of a cycle on a chain, into whose first pool so much goes."""
        return self._against(self._all[key], instrument, value)

    def _against(self, breaker: Breaker, instrument: int, value: int) -> Refusal | None:
        if breaker.state != "half_open" and self._is_shut(breaker):
            left = None if breaker.until == NEVER else (breaker.until - self._market.now) * _NANO
            return Refusal("breaker_open", instrument, left, 0)
        if breaker.state == "closed":
            return None
        if breaker.probe:
            return Refusal("breaker_probing", instrument, 2 * MONEY_ONE, MONEY_ONE)
        most = breaker.limits.probe
        if most is not None and value > most:
            return Refusal("breaker_probe", instrument, value, most)
        return None

    def _is_shut(self, breaker: Breaker) -> bool:
        """Whether a breaker that is not half open lets nothing through, after what it must do now was done."""
        now, is_open = self._market.now, breaker.state == "open"
        if is_open and now < breaker.until:
            return True
        cause = self._cause(breaker, 1 if is_open else breaker.limits.unknown)
        if cause is None:
            if is_open:
                breaker.state = advance(BREAKER_LIFE, "open", "paused")
                self._tell(breaker, "open", _Trip(breaker.reason))
            return False
        if is_open:
            breaker.trips -= 1  # no probe failed: as long a pause again
        self._trip(breaker, cause)
        return True

    def _cause(self, breaker: Breaker, unknown: int) -> _Trip | None:
        """What is wrong with the venue now, whatever was heard before; `unknown` orders of unknown fate are too many."""
        limits, offset = breaker.limits, abs(self._clocks.get(breaker.key[1], 0))
        if limits.unknown and len(breaker.unknown) >= unknown:
            return _Trip("unknown", len(breaker.unknown) * MONEY_ONE, unknown * MONEY_ONE)
        if limits.clock_offset_ns and offset > limits.clock_offset_ns:
            return _Trip("clock_offset", offset * _NANO, limits.clock_offset_ns * _NANO)
        if limits.feed_score and breaker.feeds:
            score = sum(self._market.feed(number).score for number in breaker.feeds) // len(breaker.feeds)
            if score < limits.feed_score:
                return _Trip("feed_score", score * MONEY_ONE, limits.feed_score * MONEY_ONE)
        return None

    def began(self, bundle: int, legs: Sequence[Leg]) -> None:
        """A bundle was approved: it is the probe of what is half open."""
        for leg in legs:
            self._try_out(self._of(leg.side.names), bundle)

    def began_cycle(self, bundle: int, key: Key) -> None:
        """The same of a cycle on a chain."""
        self._try_out(self._all[key], bundle)

    def _try_out(self, breaker: Breaker, bundle: int) -> None:
        if breaker.state == "half_open":
            breaker.probe, breaker.proven = bundle, False

    def ended(self, bundle: int) -> None:
        """A bundle came to its end: what it proved is closed; where no order of it was answered another one has to prove it."""
        for breaker in self._all.values():
            if breaker.probe != bundle:
                continue
            breaker.probe = 0
            if breaker.state == "half_open" and breaker.proven:
                breaker.state = advance(BREAKER_LIFE, "half_open", "proven")
                breaker.trips = breaker.until = 0
                self._tell(breaker, "half_open", _Trip(breaker.reason))

    def escalate(self, legs: Sequence[Leg], account: str, left: int) -> None:
        """A residual of `left` was held, because nothing could flatten it: nothing begins on its venues until a person says so."""
        self.escalate_at(account, [leg.side.names[2] for leg in legs], left)

    def escalate_at(self, account: str, venues: Sequence[str], left: int) -> None:
        """The same by the names of venues, of which some may be gone."""
        for venue in dict.fromkeys(venues):
            breaker = self._all.get((account, venue))
            if breaker is not None and breaker.limits.residual_held:
                self._hold(breaker, _Trip(RESIDUAL_HELD, left))

    # --- what is heard

    def sent(self, order: Order) -> None:
        """An order leaves."""
        self._of(order.side.names).waiting[order.number] = self._market.now

    def heard(self, order: Order, event: str, reason: str | None) -> None:
        """A report of an order that may still fill, with the venue's reason; that it turned UNKNOWN is told by `moved`."""
        if event in ("sent", "unknown"):
            return
        breaker, now = self._of(order.side.names), self._market.now
        at = breaker.waiting.pop(order.number, None)
        if refuses_key(event, reason):
            self._hold(breaker, _Trip(KEY_REFUSED))
        if breaker.state == "open":
            return  # what flattens a residual
        if event == "not_sent":
            self._try(breaker, breaker.failed(now, event))
            return
        trip = None if at is None else breaker.answered(now - at)
        if event != "rejected" or order.filled:
            breaker.rejects = 0
            breaker.proven = breaker.proven or order.bundle.number == breaker.probe
        elif order.state != "unknown":  # else it was counted as that: it never arrived
            breaker.rejects += 1
            trip = trip or breaker.failed(now, event)
        self._try(breaker, _Trip(NO_MONEY) if event == "rejected" and reason == NO_MONEY else trip)

    def moved(self, order: Order, before: str, after: str) -> None:
        """An order has another state."""
        if after == "unknown":
            breaker = self._of(order.side.names)
            breaker.unknown[order.number] = None
            if breaker.state != "open":
                self._try(breaker, breaker.failed(self._market.now, after))
        elif before == "unknown":
            self._of(order.side.names).unknown.pop(order.number, None)

    def heard_cycle(self, key: Key, bundle: int, *, earned: bool) -> None:
        """A cycle on a chain came to its end: it earned something, or it reverted, was dropped or never left."""
        breaker = self._all[key]
        if breaker.state == "open":
            return
        if earned:
            breaker.rejects = 0
            breaker.proven = breaker.proven or bundle == breaker.probe
            return
        breaker.rejects += 1
        self._try(breaker, breaker.failed(self._market.now, "rejected"))

    def note(self, values: Mapping[str, Any]) -> None:
        """A `health` row: of a venue's clock."""
        venue, offset = values["venue"], abs(values["value"])
        if values["metric"] != "clock_offset_ns" or venue is None:
            return
        self._clocks[venue] = values["value"]
        for breaker in self._all.values():
            bound = breaker.limits.clock_offset_ns
            if breaker.key[1] == venue and bound and offset > bound:
                self._try(breaker, _Trip("clock_offset", offset * _NANO, bound * _NANO))

    def refuses(self, names: tuple[str, ...]) -> bool:
        """Whether a venue refuses the key of what has the names account, strategy, venue, symbol, and nobody said that it does no more."""
        breaker = self._of(names)
        return breaker.state == "open" and breaker.reason == KEY_REFUSED

    # --- states

    def _of(self, names: tuple[str, ...]) -> Breaker:
        """The breaker of what has the names account, strategy, venue, symbol."""
        return self._all[names[0], names[2]]

    def _try(self, breaker: Breaker, trip: _Trip | None) -> None:
        if trip is not None and breaker.state != "open":
            self._trip(breaker, trip)

    def _hold(self, breaker: Breaker, trip: _Trip) -> None:
        """Open one, open for a pause or not, until a person resets it; that a key is refused is told beside whatever else was."""
        if breaker.state != "open" or breaker.until != NEVER or (trip.reason == KEY_REFUSED != breaker.reason):
            self._trip(breaker, trip)

    def _trip(self, breaker: Breaker, trip: _Trip) -> None:
        before, breaker.state = breaker.state, advance(BREAKER_LIFE, breaker.state, "tripped")
        breaker.rest(self._market.now, trip)
        self._tell(breaker, before, trip)

    def _tell(self, breaker: Breaker, before: str, trip: _Trip) -> None:
        until = breaker.until if breaker.state == "open" and breaker.until != NEVER else None
        self._emit("breakers", (*breaker.key, breaker.state, before, *trip, until, breaker.trips))

    # --- over checkpoints

    def capture(self) -> BreakersCopy:
        """All of them as plain values."""
        return BreakersCopy([one.capture() for one in self._all.values()], {**self._clocks})

    def restore(self, copy: BreakersCopy) -> None:
        """Take over a copy."""
        self._clocks = {**copy.clocks}
        for one in copy.breakers:
            self._all[one.account, one.venue].restore(one)
