"""On what grounds two sides could decide differently: other config, other inputs, other acts of the operator, other timers."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from xarb.assembly.resolved import encode_config, opening_balances
from xarb.engine.liverows import ARM, DISARM, KILL
from xarb.inquiry.course import Market
from xarb.inquiry.decided import Decided
from xarb.model.units import NANOS_PER_MS, NANOS_PER_S, parse_decimal, parse_money, to_scale
from xarb.sql.connection import open_query
from xarb.sql.pick import unmatched

MARKET_KINDS: Final = ("quotes", "books", "book_deltas", "trades", "connections")
AFTERMATH_NS: Final = 5 * NANOS_PER_S  # how long a feed that missed rows is not yet taken to be as good as the other
_NO_MATTER: Final = ("seq", "conn", "epoch", "source", "time_rule", "detail")  # of a row: where it stands, and how it came
_TIER: Final = "fee tier"  # leads the names of what is compared of an instrument's fees
_DOINGS: Final = (
    "order_latency",
    "response_latency",
    "feed_latency",
    "rate_limit_per_s",
    "outages",
    "reject_bps",
    "fill_share_bps",
)
_CHAIN_LATENCIES: Final = ("latency", "lag_ms", "receipt_ms")
_LATENCIES: Final = ("order_latency", "response_latency", "feed_latency")


class Configs:
    """What the two configs say differently, by what it can do."""

    def __init__(self, a: Decided, b: Decided) -> None:
        mine, theirs = (dict(_flat(encode_config(one.resolved))) | _opening(one) | _tiers(one) for one in (a, b))
        keys = sorted({*mine, *theirs})
        self.different = [
            (key, mine.get(key), theirs.get(key)) for key in keys if mine.get(key) != theirs.get(key) and _matters(key)
        ]

    def keys(self, cause: str, strategy: str, venues: Iterable[str], *, outcome: bool) -> list[str]:
        """The keys that differ, are of that cause, and concern the decisions of a strategy on some venues, or the outcome of its orders."""
        there = frozenset(venues)
        mine = [key for key, _, _ in self.different if cause_of(key) == cause and _concerns(key, strategy, there)]
        return [key for key in mine if (_is_of_outcomes(key) if outcome else _is_of_decisions(key))]


def cause_of(key: str) -> str:
    """What a key that differs is the cause of: fee, latency, timer or config."""
    words = key.split(".")
    if words[0] == _TIER:
        return "fee"
    if (words[0] == "venues" and words[2] in _LATENCIES) or key in ("added_latency_ns", "run.seed"):
        return "latency"
    if words[0] == "onchain" and words[3] in _CHAIN_LATENCIES:
        return "latency"
    if words[0] == "strategies" and words[2] == "scan_ms":
        return "timer"
    return "config"


def _concerns(key: str, strategy: str, venues: frozenset[str]) -> bool:
    words = key.split(".")
    if words[0] == "strategies":
        return words[1] == strategy
    if words[0] == _TIER:
        return key.rpartition(".")[0].rpartition("@")[2] in venues
    return words[0] not in ("venues", "venue_feeds", "venue_breakers", "onchain") or words[1] in venues


def _is_of_decisions(key: str) -> bool:
    """Whether a key enters what is decided; the venue's doings alone do not."""
    words = key.split(".")
    if words[0] == "onchain" and words[2] == "simulated":
        return False
    return not (words[0] == "venues" and words[2] in _DOINGS) and key not in ("added_latency_ns", "run.seed")


def _is_of_outcomes(key: str) -> bool:
    """Whether a key enters what becomes of an order that is sent alike."""
    words = key.split(".")
    if words[0] == "strategies":
        return words[2] in ("execution_timeout_ms", "max_cancels")
    return words[0] not in ("feeds", "venue_feeds", "breakers", "venue_breakers", "pegs", "inventory")


def _matters(key: str) -> bool:
    """Whether a key can change a decision or an outcome; which part of the log is run is seen as missing data.

    Accounts and fees are compared as they were in effect: what was opened with, and the tier of each instrument.
    """
    words = key.split(".")
    if words[0] in ("accounts", "fees") or (words[0] == "venues" and words[2] == "fees"):
        return False
    if words[0] == "venues" and words[2] == "model_sha256":  # what it says is compared key by key
        return False
    return key not in ("run.start", "run.end", "run.currencies", "inventory.band_bps")


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for name, one in value.items():
            yield from _flat(one, f"{key}.{name}" if key else str(name))
    else:
        yield key, value


def _opening(side: Decided) -> dict[str, Any]:
    """The balances that it opened with: a start names them, a run's config does. What is not named is zero."""
    if side.span is not None:
        rows = side.span.start.opening.balances
        found = {f"opening.{account}.{venue}.{asset}": int(parse_money(text)) for account, venue, asset, text in rows}
    else:
        found = {f"opening.{'.'.join(place)}": int(amount) for place, amount in opening_balances(side.resolved).items()}
    return {name: amount for name, amount in found.items() if amount}


def _tiers(side: Decided) -> dict[str, Any]:
    """The fee tier of each instrument on the venues that are traded on."""
    found: dict[str, Any] = {}
    for row in side.rows("instruments"):
        if row["venue"] in side.resolved.venues:
            name = f"{row['symbol']}@{row['venue']}"
            tier = side.resolved.fees.get(name, side.resolved.fees.get(row["venue"]))
            if tier is not None:
                found |= {f"{_TIER}.{name}.{what}": getattr(tier, what) for what in ("asset", "maker_ppb", "taker_ppb")}
    return found


class Inputs:
    """Where the market inputs of two sides differ: rows that only one of them has."""

    def __init__(self, a: Decided, b: Decided, begins: tuple[int, int]) -> None:
        self._sides = (a, b)
        self._begins = begins
        self._heard: dict[Market, array[int]] = {}
        self._before: dict[tuple[str, Market], bool] = {}
        self._times: defaultdict[tuple[str, Market], list[int]] = defaultdict(list)  # by kind and market
        self.rows: defaultdict[tuple[str, str, str | None, str], int] = defaultdict(
            int
        )  # by kind, venue, symbol, side that has them
        if a.log.resolve() == b.log.resolve():
            return
        with open_query([a.log, b.log]) as query:
            first = query.sources[0].name
            for kind in MARKET_KINDS:
                for ts, venue, symbol, source, more in unmatched(query, kind, _NO_MATTER):
                    self._times[kind, (venue, symbol or "")].append(ts)
                    self.rows[kind, venue, symbol, "A" if source == first else "B"] += more

    def differ(self, market: Market, ts: int) -> str | None:
        """Whether what the sides know of a market at `ts` rests on other rows, and which.

        Books start empty: of what came before a side began it knows nothing. A quote or a whole book heals what was missed before it;
        changed levels are healed by a snapshot. A few seconds longer a feed may stand differently for having missed rows.
        """
        first, later = min(self._begins), max(self._begins)
        for kind in MARKET_KINDS[:3] if first < later else ():
            if self._came_before(kind, market, later) and (
                ts - later <= AFTERMATH_NS or not self._healed(kind, market, later - 1, ts)
            ):
                name = "A" if self._begins[0] == later else "B"
                return f"{name} began {(ts - later) / NANOS_PER_MS:.0f} ms before, with empty books, and {kind} of {market[1]}@{market[0]} had come"
        for kind in MARKET_KINDS:
            keys = [(kind, market), *([(kind, (market[0], ""))] if kind == "connections" else [])]
            for key in keys:
                times = self._times.get(key)
                at = bisect_right(times, ts) if times else 0
                if times and at and (ts - times[at - 1] <= AFTERMATH_NS or not self._healed(kind, market, times[at - 1], ts)):
                    return f"{kind} of {market[1]}@{market[0]} differ, last {(ts - times[at - 1]) / NANOS_PER_MS:.0f} ms before"
        return None

    def moved(self, market: Market, after: int, until: int) -> bool:
        """Whether side A heard of a market's prices after one time and up to another, ns."""
        times = self._heard.get(market)
        if times is None:
            where = [("venue", "=", market[0]), ("symbol", "=", market[1])]
            rows = (self._sides[0].rows(kind, *where, columns=("ts_recv",)) for kind in MARKET_KINDS[:3])
            times = self._heard[market] = array("q", sorted(row["ts_recv"] for part in rows for row in part))
        return bisect_right(times, after) < bisect_right(times, until)

    def _came_before(self, kind: str, market: Market, ts: int) -> bool:
        """Whether the side that was there had rows of a market before `ts`."""
        key = (kind, market)
        if key not in self._before:
            side = self._sides[self._begins.index(min(self._begins))]
            where = [("venue", "=", market[0]), ("symbol", "=", market[1]), ("ts_recv", "<", ts)]
            self._before[key] = bool(side.rows(kind, *where, limit=1, columns=("seq",)))
        return self._before[key]

    def _healed(self, kind: str, market: Market, since: int, ts: int) -> bool:
        """Whether a row that both have made good what differed at `since`."""
        if kind in ("trades", "connections"):
            return True  # no part of a book
        where: list[Any] = [("venue", "=", market[0]), ("symbol", "=", market[1]), ("ts_recv", ">", since), ("ts_recv", "<=", ts)]
        where += [("is_snapshot", "=", True)] if kind == "book_deltas" else []
        return bool(self._sides[0].rows(kind, *where, limit=1, columns=("seq",)))


class Conduct:
    """One side's acts of the operator and its timers."""

    def __init__(self, side: Decided) -> None:
        self._armed: list[tuple[int, bool]] = [(0, side.span is None or side.span.start.opening.armed)]
        self._timers: frozenset[tuple[str, int]] | None = None
        self.kills: tuple[int, ...] = ()
        self._scans = {name: _nanos(config.scan_ms) for name, config in side.resolved.strategies.items()}
        if side.span is not None:
            acts = side.rows("operator", ("seq", ">=", side.span.first), ("action", "in", [ARM, DISARM, KILL]))
            self._armed += [(row["ts_recv"], row["action"] == ARM) for row in acts]
            self.kills = tuple(row["ts_recv"] for row in acts if row["action"] == KILL)
            timers = side.rows("timers", ("seq", ">=", side.span.first))
            self._timers = frozenset((row["strategy"], row["ts_recv"]) for row in timers)

    def armed(self, ts: int) -> bool:
        """Whether bundles could be sent at `ts`."""
        return self._armed[bisect_right(self._armed, ts, key=_time) - 1][1]

    def woke(self, strategy: str, ts: int) -> bool:
        """Whether a timer woke the strategy at `ts`; in a run timers stand on their grid, in a live log they are rows."""
        if self._timers is not None:
            return (strategy, ts) in self._timers
        scan = self._scans.get(strategy, 0)
        return scan > 0 and ts % scan == 0


def _nanos(millis: Any) -> int:
    return to_scale(*parse_decimal(f"{millis}"), 6)


def _time(act: tuple[int, bool]) -> int:
    return act[0]
