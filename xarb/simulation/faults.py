"""What goes wrong in a world, and how often: drawn from the seed, so that some worlds know one fault alone and some none."""

from __future__ import annotations

import random
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

import msgspec

from xarb.model.order import KILL_LEVELS
from xarb.model.units import MONEY_ONE, NANOS_PER_MS, NANOS_PER_S


class Odds(msgspec.Struct, frozen=True, kw_only=True):
    """The probability of each fault; the numbers in brackets are those of the table of faults in SECURITY.md and docs/simulation.md.

    Attributes:
        no_connection: an order never leaves.
        lose_request: an order leaves and never arrives [2].
        late_request: it arrives within a second after its request was given up [1, 3].
        very_late_request: it arrives 5 to 10 s after that.
        lose_reply: it arrives and the reply is lost [1].
        hide: the exchange does not know an order or fill when it is asked within the next 2 s [3].
        deny: it knows neither for 3 to 20 s, which is longer than the settle time, unless a cancel finds the order open, and says nothing of them;
            the balance is right at once [3]; drawn apart.
        refuse: an order is refused [9].
        partial: a part fills [8].
        linger: an immediate order stays open for seconds, and may fill then [8, 10].
        late_push: a push comes up to 5 s late and out of order [6].
        lose_push: a push never comes.
        repeat_push: a push comes twice [4].
        stale_end: an end is told with a count of fills that is too low; they are told later [10].
        lose_cancel: the request or the reply of a cancel is lost.
        fail_read: a question is not answered.
        drop_stream: the private stream breaks off for a while.
        silent_feed: market data of a venue stop without a word [11].
        gap: market data are lost, and the connection says so [12].
        wild_quote: a price is ten times too high or crossed [13, 14].
        full_disk, failed_disk, failed_sync: a write finds the disk full, fails, an fsync fails [18].
        kill: the process dies and is started again [16].
        power: the machine dies: what was not on the disk is gone or torn [17].
    """

    no_connection: float = 0.0
    lose_request: float = 0.0
    late_request: float = 0.0
    very_late_request: float = 0.0
    lose_reply: float = 0.0
    hide: float = 0.0
    deny: float = 0.0
    refuse: float = 0.0
    partial: float = 0.0
    linger: float = 0.0
    late_push: float = 0.0
    lose_push: float = 0.0
    repeat_push: float = 0.0
    stale_end: float = 0.0
    lose_cancel: float = 0.0
    fail_read: float = 0.0
    drop_stream: float = 0.0
    silent_feed: float = 0.0
    gap: float = 0.0
    wild_quote: float = 0.0
    full_disk: float = 0.0
    failed_disk: float = 0.0
    failed_sync: float = 0.0
    kill: float = 0.0
    power: float = 0.0


DENY: Final = "deny"
FAULTS: Final = tuple(name for name in Odds.__struct_fields__ if name != DENY)  # those that are drawn together
NONE: Final = Odds()
DISK: Final = ("full_disk", "failed_disk", "failed_sync", "kill", "power")  # once in a world at most
_CALM: Final = 0.1
_ALONE: Final = 0.35
_DENIED: Final = 0.08  # worlds of which an exchange denies what it has
_AT_AN_ORDER: Final = 0.5  # disks that break soon after an order
_SEALED: Final = 0.012  # worlds whose log is sealed while they run: each takes six times as long
_COUNTED: Final = 0.08  # worlds of which an exchange has a countdown
_SLOW: Final = 0.12  # worlds whose disk is slow
NO_MORE: Final[Mapping[str, float]] = MappingProxyType({})
_KILLED: Final = 0.06  # worlds in which a person kills the trading
_MOVED: Final = 0.05  # worlds in which money moves without a word
_LARGE: Final = 0.3  # of such moves, those that are too large to be booked
_KILLED_AGAIN: Final = 0.4  # of them, those in which it happens twice


def draw_odds(draw: random.Random) -> Odds:
    """The faults of one world: none, one alone and often, or a mixture; the process dies in one world of eight."""
    kind = draw.random()
    if kind < _CALM:
        return NONE
    if kind < _ALONE:
        name = draw.choice(FAULTS)
        return Odds(**{name: 1.0 if name in DISK else draw.choice([0.2, 0.5, 0.9])})
    chosen = {name: draw.random() ** 3 for name in FAULTS if name not in DISK and draw.random() < 0.4}
    if draw.random() < 0.15:
        chosen[draw.choice(DISK)] = 1.0
    return Odds(**chosen)


def draw_deny(seed: int) -> float:
    """How often exchanges of a world deny what they took, mostly never; drawn apart."""
    draw = random.Random(f"deny {seed}")  # noqa: S311  # a case is to be drawn again
    return draw.choice([0.1, 0.3, 0.8]) if draw.random() < _DENIED else 0.0


class Moved(NamedTuple):
    """Money comes to an account or goes, and nothing says why [23].

    Attributes:
        share_ppm: when, in millionths of the market's time.
        place: at which exchange, in millionths of their number.
        asset: of what. amount: how much, money.
        is_large: whether it is more than may be booked.
    """

    share_ppm: int
    place: int
    asset: str
    amount: int
    is_large: bool


def draw_moved(seed: int) -> list[Moved]:
    """What moves in one world, mostly nothing; drawn apart, as kills are. One asset is one that nothing trades."""
    draw = random.Random(f"moved {seed}")  # noqa: S311  # a case is to be drawn again
    if draw.random() >= _MOVED:
        return []
    found = []
    for _ in range(draw.choice([1, 1, 2])):
        asset = draw.choice(["BTC", "BTC", "USDT", "USDT", "GIFT"])
        is_large = asset != "GIFT" and draw.random() < _LARGE
        cents = draw.randrange(2_000, 6_000) if is_large else draw.randrange(1, 30)  # worth; a BTC is some hundred
        amount = cents * MONEY_ONE // (20_000 if asset == "BTC" else 100) * (1 if asset == "GIFT" else draw.choice([1, -1]))
        found.append(Moved(draw.randrange(1_000_000), draw.randrange(1_000_000), asset, amount, is_large))
    return found


class Kill(NamedTuple):
    """A person kills the trading: when, in millionths of the market's time, to which of `KILL_LEVELS`, and how long after it somebody arms, ns."""

    share_ppm: int
    level: str
    arm_ns: int


class Sealing(NamedTuple):
    """How the log is written: rows of a journal before the next one begins and this one is sealed, and the time of a commit, ns."""

    rows: int = 10**9
    commit_ns: int = 10 * NANOS_PER_MS


def draw_sealing(seed: int) -> Sealing:
    """How the log of a world is written, mostly into one journal for each process; drawn apart."""
    draw = random.Random(f"turns {seed}")  # noqa: S311  # a case is to be drawn again
    if draw.random() >= _SEALED:
        return Sealing()
    return Sealing(draw.choice([20, 60, 120]), draw.choice([10, 250]) * NANOS_PER_MS)


class Waits(NamedTuple):
    """Exchanges that cancel everything when they hear nothing.

    Attributes:
        exchanges: their numbers. countdown_ms: how long they wait.
        restart_ns: how long it takes until a process that died is started again. linger_ns: how long orders linger, at most.
        more: faults beside those of the world, so that a countdown has something to do.
    """

    exchanges: tuple[int, ...] = ()
    countdown_ms: int = 0
    restart_ns: int = NANOS_PER_S // 2
    linger_ns: int = 6 * NANOS_PER_S
    more: Mapping[str, float] = NO_MORE


def draw_waits(seed: int, count: int) -> Waits:
    """The countdowns of a world of so many exchanges, mostly none; drawn apart."""
    draw = random.Random(f"countdown {seed}")  # noqa: S311  # a case is to be drawn again
    if draw.random() >= _COUNTED:
        return Waits()
    numbers = tuple(number for number in range(count) if draw.random() < 0.6) or (draw.randrange(count),)
    more: Mapping[str, float] = draw.choice([NO_MORE, {"kill": 1.0, "linger": 0.7}, {"fail_read": 0.9}])
    return Waits(
        numbers,
        draw.choice([2_500, 2_500, 10_000]),
        draw.randrange(NANOS_PER_S // 2, 12 * NANOS_PER_S),
        15 * NANOS_PER_S,
        more,
    )


class Slowness(NamedTuple):
    """The disk is slow now and then: odds of a write or sync to take long, how long at most, ns, and how old an order may be that leaves, ms."""

    odds: float = 0.0
    most_ns: int = 1
    max_send_lag_ms: int | None = None


def draw_slowness(seed: int) -> Slowness:
    """How slow the disk of a world is, mostly not; drawn apart."""
    draw = random.Random(f"slowness {seed}")  # noqa: S311  # a case is to be drawn again
    if draw.random() >= _SLOW:
        return Slowness()
    return Slowness(draw.choice([0.02, 0.2]), draw.choice([50, 500]) * NANOS_PER_MS, draw.choice([None, 20, 100, 300]))


def draw_break(seed: int) -> int:
    """Behind how many orders a disk breaks that does so, 0: at any time; drawn apart."""
    draw = random.Random(f"breaks {seed}")  # noqa: S311  # a case is to be drawn again
    return draw.randrange(1, 5) if draw.random() < _AT_AN_ORDER else 0


def draw_kills(seed: int) -> list[Kill]:
    """The kills of one world, mostly none; drawn apart, so that worlds without them are what they would be."""
    draw = random.Random(f"kills {seed}")  # noqa: S311  # a case is to be drawn again
    if draw.random() >= _KILLED:
        return []
    count = 2 if draw.random() < _KILLED_AGAIN else 1
    return [Kill(draw.randrange(1_000_000), draw.choice(KILL_LEVELS), draw.randrange(NANOS_PER_S)) for _ in range(count)]
