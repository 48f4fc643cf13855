"""When somebody should be told: what is wrong with a log now, and which of it is news."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from xarb.config.watch import Rule, WatchConfig
from xarb.console import utc
from xarb.engine.breaker import KEY_REFUSED
from xarb.engine.liverows import DISARM, KILL
from xarb.log.ends import LEFT_OFF
from xarb.model.units import MONEY_SCALE, NANOS_PER_MS, NANOS_PER_S, format_decimal, parse_money
from xarb.watch.state import WINDOW_S, Watched, Window

GONE_NS: Final = 5 * NANOS_PER_S  # a writer that let go of its log and wrote nothing for so long has ended
_MB: Final = 10**6
_UNKNOWN: Final = "unknown"
_ASTRAY: Final = (
    "reconcile_failed",
    "order_after_end",
    "journal_lost_rows",
    "others",
    "another_xarb",
    "watchdog_gone",
    "order_unproven",
)  # readings after which a person should look
_ASTRAY_NS: Final = WINDOW_S * NANOS_PER_S
_APART: Final = 10  # messages of one rule and one look that go out each alone
_SHOWN: Final = 3  # of more, how many the one message names


class Place(NamedTuple):
    """What the machine says beside the log's rows.

    Attributes:
        now: present time, ns.
        claimed: a process holds the log, as far as can be seen from here.
        claimed_at: when it took it, ns; 0 when nobody has it.
        is_sealed: nothing is left in a journal.
        disk_free: bytes, None when the folder is not there.
        trouble: why the log cannot be read, None when it can.
    """

    now: int
    claimed: bool
    claimed_at: int
    is_sealed: bool
    disk_free: int | None
    trouble: str | None = None

    def is_gone(self, state: Watched) -> bool:
        """Whether nobody writes any more."""
        return not self.claimed and self.now - state.last_ts > GONE_NS


class Condition(NamedTuple):
    """One thing that is wrong: the rule, what it is about, and a sentence."""

    rule: Rule
    subject: str
    text: str


def conditions(state: Watched, place: Place, config: WatchConfig) -> list[Condition]:
    """All that is wrong now.

    While the log is not written, nothing is said of feeds: that it is not written is what is wrong.
    """
    found = [*_process(state, place, config), *_operator(state, place, config), *_breakers(state), *_money(state, config)]
    if not place.is_gone(state):
        found += [*_feeds(state, place, config), *_storms(state, place, config), *_orders(state), *_health(state, place, config)]
    if place.disk_free is not None and place.disk_free < config.disk_mb * _MB:
        found.append(Condition("disk_low", "", f"{place.disk_free // _MB} MB of disk are free, below {config.disk_mb}"))
    return found


def _process(state: Watched, place: Place, config: WatchConfig) -> Iterator[Condition]:
    age_s = (place.now - state.last_ts) // NANOS_PER_S
    if place.trouble is not None:
        yield Condition("unreadable", "", f"the log cannot be read: {place.trouble}")
    if place.is_gone(state):
        ended = state.trading.ended
        if place.is_sealed and (ended is not None or not state.trading.number):
            act = state.trading.act
            why = "" if act is None or act.action not in (DISARM, KILL) else f": {act.action} by {act.actor}"
            yield Condition("stopped", "", f"the process ended in order; last row {utc(state.last_ts)}{why}")
        else:
            yield Condition("dead", "", f"the process is gone and left rows that are not sealed; last row {utc(state.last_ts)}")
    elif place.now - state.last_ts > config.silent_s * NANOS_PER_S:
        yield Condition("silent", "", f"the process lives and has written nothing for {age_s} s")


def _operator(state: Watched, place: Place, config: WatchConfig) -> Iterator[Condition]:
    trading = state.trading
    if state.killed is not None:
        one = state.killed
        _, _, why = (one.detail or "").partition(": ")
        reason = f": {why}" if why else ""
        yield Condition("killed", "", f"trading was killed by {one.actor} at {utc(one.ts)}{reason}; it takes xarb kill LOG --reset")
    if not trading.number or trading.armed or place.is_gone(state):
        return
    if trading.ended is not None:
        if trading.ended.action == LEFT_OFF and place.now - trading.ended.ts > config.unarmed_s * NANOS_PER_S:
            yield Condition("disarmed", "", f"start {trading.number} died before {utc(trading.ended.ts)}, and no other has begun")
        return
    if trading.act is None and place.now - trading.since > config.unarmed_s * NANOS_PER_S:
        yield Condition("disarmed", "", f"start {trading.number} has not armed since {utc(trading.since)}: a market is silent")
    elif trading.act is not None and trading.act.action == DISARM:
        detail = f": {trading.act.detail}" if trading.act.detail else ""
        yield Condition("disarmed", "", f"disarmed by {trading.act.actor} at {utc(trading.act.ts)}{detail}")


def _feeds(state: Watched, place: Place, config: WatchConfig) -> Iterator[Condition]:
    bound = config.feed_down_s * NANOS_PER_S
    for number, one in state.connections.items():
        if not one.is_up and one.opened >= place.claimed_at and place.now - one.since > bound:
            yield Condition(
                "feed_down", f"{one.venue} {number}", f"connection {number} to {one.venue} is lost since {utc(one.since)}"
            )
    if state.trading.ended is None:
        for (venue, symbol), feed in state.trading.feeds.items():
            if not feed.tradable and place.now - feed.since > bound:
                what = f"{symbol}@{venue} is {feed.state} and not tradable since {utc(feed.since)}"
                yield Condition("feed_down", f"{symbol}@{venue}", what)


def _storms(state: Watched, place: Place, config: WatchConfig) -> Iterator[Condition]:
    storms: tuple[tuple[Rule, str, Window, int], ...] = (
        ("gaps", "gaps", state.recent_gaps, config.gaps_per_min),
        ("rejects", "bad input rows", state.recent_rejects, config.rejects_per_min),
        ("order_rejects", "orders refused by venues", state.recent_refused, config.order_rejects_per_min),
    )
    for rule, what, window, bound in storms:
        count = window.count(place.now)
        if bound and count >= bound:
            yield Condition(rule, "", f"{count} {what} within a minute")


def _orders(state: Watched) -> Iterator[Condition]:
    unknown = [order for order, (word, _, _) in state.trading.alive.items() if word == _UNKNOWN]
    if unknown:
        yield Condition("order_unknown", "", f"the fate of {len(unknown)} orders is unknown, the first is {unknown[0]}")


def _breakers(state: Watched) -> Iterator[Condition]:
    """Told also of a process that has ended: what waits for a person waits on."""
    for (account, venue), one in state.trading.breakers.items():
        if one.state == "closed":
            continue
        what = "one bundle at a time, and small" if one.state == "half_open" else "no new bundles"
        until = f"until {utc(one.until)}" if one.until is not None else "until xarb kill LOG --reset-breakers"
        end = until if one.state == "open" else "until one has shown that it works"
        text = f"{venue} gets {what} of {account} since {utc(one.since)}, for {one.reason}, {end}"
        rule: Rule = "key_refused" if one.reason == KEY_REFUSED else "breaker"
        yield Condition(rule, f"{account} {venue}", text)


def _money(state: Watched, config: WatchConfig) -> Iterator[Condition]:
    course = state.course
    for currency, bound in config.drawdown.items():
        fall = course.drawdown.get(currency, 0)
        if course.gained(currency) is None:
            yield Condition("drawdown", currency, f"the drawdown in {currency} is unknown: an asset has no price")
        elif fall > parse_money(f"{bound:f}"):
            yield Condition("drawdown", currency, f"trading PnL is {money(fall)} {currency} below its peak, bound {bound}")
    for currency, bound in config.day_loss.items():
        gained = course.gained_today(currency)
        if gained is None:
            yield Condition("day_loss", currency, f"the day's result in {currency} is unknown: an asset has no price")
        elif -gained > parse_money(f"{bound:f}"):
            yield Condition("day_loss", currency, f"the day has lost {money(-gained)} {currency}, bound {bound}")


def _health(state: Watched, place: Place, config: WatchConfig) -> Iterator[Condition]:
    for (metric, venue), (value, ts, detail) in state.health.items():
        if ts < place.claimed_at:
            continue
        if metric == "clock_offset_ns" and abs(value) > config.clock_offset_ms * NANOS_PER_MS:
            yield Condition("clock_offset", venue, f"the clock of {venue} is {value // NANOS_PER_MS} ms away from ours")
        if metric in _ASTRAY and place.now - ts < _ASTRAY_NS:
            yield Condition("astray", f"{metric} {venue}".strip(), f"{metric} {value}: {detail or 'without a word more'}")
        if metric == "seal_failed" and value:
            yield Condition("seal_failed", "", f"rows cannot be sealed: {detail}")


def money(amount: int) -> str:
    """Money as exact decimal text."""
    return format_decimal(amount, MONEY_SCALE)


# --- news


class Notice(NamedTuple):
    """A message: `is_over` says that what was told before has ended; `times` that it came and went so often since."""

    rule: str
    subject: str
    text: str
    is_over: bool = False
    times: int = 1


class _Told:
    """What is known about one rule and subject."""

    __slots__ = ("is_on", "sent", "text", "times")

    def __init__(self) -> None:
        self.is_on = False
        self.sent: int | None = None  # when it was told last, ns
        self.times = 0  # how often it began since then
        self.text = ""


class News:
    """Makes messages of conditions: one when something begins, again after `repeat_s` while it lasts, one when it is over.

    What begins anew within `repeat_s` is not told at once but counted; nothing is told more often than once in `repeat_s`.
    """

    def __init__(self, repeat_s: int) -> None:
        self._repeat_ns = repeat_s * NANOS_PER_S
        self._told: dict[tuple[str, str], _Told] = {}

    def look(self, now: int, found: Sequence[Condition]) -> list[Notice]:
        """The messages that the present conditions make."""
        current: Mapping[tuple[str, str], Condition] = {(one.rule, one.subject): one for one in found}
        notices = []
        for key, condition in current.items():
            told = self._told.setdefault(key, _Told())
            told.times += not told.is_on
            told.is_on, told.text = True, condition.text
            if told.sent is None or now - told.sent >= self._repeat_ns:
                notices.append(Notice(*condition, times=max(told.times, 1)))
                told.sent, told.times = now, 0
        for key, told in list(self._told.items()):
            if key in current:
                continue
            if told.is_on and not told.times:  # its beginning was told
                notices.append(Notice(*key, told.text, is_over=True))
            told.is_on = False
            if told.sent is not None and now - told.sent >= self._repeat_ns:
                del self._told[key]
        return list(_together(notices))


def _together(notices: Sequence[Notice]) -> Iterator[Notice]:
    """The messages, but many of one rule as one: a venue that goes down takes all its feeds with it."""
    groups: dict[tuple[str, bool], list[Notice]] = {}
    for notice in notices:
        groups.setdefault((notice.rule, notice.is_over), []).append(notice)
    for (rule, is_over), found in groups.items():
        if len(found) <= _APART:
            yield from found
            continue
        first = "; ".join(f"{one.subject}: {one.text}" for one in found[:_SHOWN])
        text = f"{len(found)} at once: {first}; and {len(found) - _SHOWN} more"
        yield Notice(rule, "", text, is_over, max(one.times for one in found))
