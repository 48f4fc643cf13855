"""Breakers of the plain model: everything that happened is kept as a list, and looked through anew for each question."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

from tests.plain.feeds import Feed
from tests.plain.terms import BreakerTerms

SECOND = 10**9
WINDOW = 20
Told = dict[str, object]


class Trouble(NamedTuple):
    """Why a breaker opens, with a count or seconds and the bound of it."""

    reason: str
    value: Fraction | None = None
    bound: Fraction | None = None


class Breaker:
    """The breaker of one venue. `happened` are (time, what, how long an answer took) since it was last opened."""

    def __init__(self, venue: str, terms: BreakerTerms, feeds: list[Feed]) -> None:
        self.venue, self.terms, self.feeds = venue, terms, feeds
        self.state, self.reason = "closed", ""
        self.until: int | None = 0
        self.trips = 0
        self.happened: list[tuple[int, str, int | None]] = []
        self.unknown: set[int] = set()
        self.probe = 0
        self.proven = False

    def way(self, now: int) -> str:
        """How a strategy finds it: free, probe or none."""
        if self.state == "closed":
            return "free"
        resting = self.state == "open" and (self.until is None or now < self.until)
        return "none" if resting or self.probe else "probe"

    def ask(self, now: int) -> Iterator[Told]:
        """A bundle wants in: a pause that is over ends, unless orders are of unknown fate or the feeds are bad; those open it, too."""
        too_many = 1 if self.state == "open" else self.terms.unknown
        rested = self.state == "open" and self.until is not None and now >= self.until
        score = sum(feed.score for feed in self.feeds) // len(self.feeds)
        if not rested and self.state != "closed":
            return
        if self.terms.unknown and len(self.unknown) >= too_many:
            trouble = Trouble("unknown", Fraction(len(self.unknown)), Fraction(too_many))
        elif score < self.terms.min_feed_score:
            trouble = Trouble("feed_score", Fraction(score), Fraction(self.terms.min_feed_score))
        elif rested:
            yield self._turn("half_open")
            return
        else:
            return
        self.trips -= rested
        yield self._open(now, trouble)

    def answer(self, now: int, took: int | None, what: str, *, of_probe: bool) -> Iterator[Told]:
        """An order that was not final was answered, rejected, or, of unknown fate before, lost; it took so long where it was the first."""
        if self.state == "open":
            return
        self.happened.append((now, what, took))
        self.proven = self.proven or (of_probe and what == "answered")
        trouble = None if took is None else self._slow(took)
        trouble = trouble or (self._failure(what) if what == "rejected" else None)
        if trouble is not None:
            yield self._open(now, trouble)

    def lose(self, now: int, order: int) -> Iterator[Told]:
        """An order is of unknown fate."""
        self.unknown.add(order)
        if self.state != "open":
            self.happened.append((now, "unknown", None))
            trouble = self._failure("unknown")
            if trouble is not None:
                yield self._open(now, trouble)

    def hold(self, now: int, left: Fraction) -> Iterator[Told]:
        """A residual had to be held."""
        if self.terms.residual_held and not (self.state == "open" and self.until is None):
            yield self._open(now, Trouble("residual_held", left))

    def end(self, bundle: int) -> Iterator[Told]:
        """A bundle ended."""
        if self.probe == bundle:
            self.probe = 0
            if self.state == "half_open" and self.proven:
                self.trips = 0
                self.happened.clear()
                yield self._turn("closed")

    # --- what is wrong

    def _failure(self, kind: str) -> Trouble | None:
        terms = self.terms
        if self.state == "half_open":
            return Trouble(f"probe_{kind}")
        if terms.unknown and len(self.unknown) >= terms.unknown:
            return Trouble("unknown", Fraction(len(self.unknown)), Fraction(terms.unknown))
        streak = 0
        for _, what, _ in self.happened:
            streak = {"answered": 0, "rejected": streak + 1}.get(what, streak)
        if terms.rejects and streak >= terms.rejects:
            return Trouble("rejects", Fraction(streak), Fraction(terms.rejects))
        errors, last = Fraction(0), 0
        for at, what, _ in self.happened:
            if what in ("rejected", "unknown"):
                errors = max(Fraction(0), errors - Fraction(at - last, terms.error_recovery_ns)) + 1
                last = at
        if terms.errors and errors > terms.errors - 1:
            return Trouble("errors", Fraction(-(-errors // 1)), Fraction(terms.errors))
        return None

    def _slow(self, took: int) -> Trouble | None:
        bound = self.terms.max_ack_ns
        if not bound or took <= bound:
            return None
        if self.state == "half_open":
            return Trouble("probe_slow", Fraction(took, SECOND), Fraction(bound, SECOND))
        answers = [one for _, _, one in self.happened if one is not None][-WINDOW:]
        slow = sorted(answers)[WINDOW * 9 // 10 - 1 :]
        if len(answers) < WINDOW or slow[0] <= bound:
            return None
        return Trouble("ack_latency", Fraction(slow[0], SECOND), Fraction(bound, SECOND))

    # --- states

    def _open(self, now: int, trouble: Trouble) -> Told:
        self.happened.clear()
        self.probe, self.reason = 0, trouble.reason
        self.trips += 1
        pause = self.terms.pause_ns
        for _ in range(self.trips - 1):
            pause = min(2 * pause, max(self.terms.max_pause_ns, self.terms.pause_ns))
        self.until = None if trouble.reason == "residual_held" else now + pause
        return self._turn("open", trouble.value, trouble.bound)

    def _turn(self, state: str, value: Fraction | None = None, bound: Fraction | None = None) -> Told:
        before, self.state = self.state, state
        return {
            "account": "main",
            "venue": self.venue,
            "state": state,
            "previous": before,
            "reason": self.reason,
            "value": value,
            "bound": bound,
            "until": self.until if state == "open" else None,
            "trips": self.trips,
        }
