"""The status verb: how live trading stands, from its log alone, while that is being written or after.

It asks the log once, by SQL: the last row of each thing, however long the log is. `watch` folds the same rows as they come
(`watch.state`), since it cannot ask the whole log anew each second; what both make of a row stands in `starts` and `engine.liverows`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from xarb.assembly.resolved import Resolved, decode_config
from xarb.engine.discrepancy import DISCREPANCY, REFUSED, read_discrepancy
from xarb.engine.liverows import ARM, DISARM, KILL, RESET_BREAKERS
from xarb.errors import ConfigError
from xarb.inquiry.chainstanding import Seen, chain_sections, cycle_counts
from xarb.inquiry.decided import starts_in
from xarb.inquiry.sections import Section, Shown, amount, listed, millis, moment_of
from xarb.log.ends import ENDS, LEFT_OFF
from xarb.log.manifest import Manifest
from xarb.model.columns import ORDER_STATES
from xarb.model.order import ORDER_TERMINAL
from xarb.model.units import NANOS_PER_MS, NANOS_PER_S
from xarb.sql.connection import Query, open_query
from xarb.sql.pick import Condition, latest, pick, summed, tally, tally_latest
from xarb.starts import LIVE, Span
from xarb.venues.countdown import FAILED, RUNS

SILENCE_NS: Final = 5 * NANOS_PER_S  # a driver writes a heartbeat every second
LOOK_BACK_NS: Final = 600 * NANOS_PER_S  # how far back the last row of a feed is looked for
_MARKET_KINDS: Final = ("quotes", "books", "book_deltas", "trades")
_ALIVE: Final = [state for state in ORDER_STATES if state not in ORDER_TERMINAL]
_MADE: Final = ("trade", "cycle", "swap")  # causes of the ledger by which orders and transactions change money, and what they cost
_COSTS: Final = ("fee", "gas")
_BREAKS: Final = ("gap", "lost", "closed")
Row = dict[str, Any]


class Status(NamedTuple):
    """How it stands.

    Attributes:
        troubles: why it is not trading as it should, a sentence each; empty when all is well.
        sections: tables.
    """

    troubles: list[str]
    sections: list[Section]


class _View(NamedTuple):
    """The last start of a log, as it is seen now."""

    query: Query
    span: Span
    now: int
    last_ts: int

    def age_ms(self, ts: int) -> str | None:
        """How old something of `ts` ns is; what came while this look was under way is of no age."""
        return millis(max(0, self.now - ts) // NANOS_PER_MS * NANOS_PER_MS)

    @property
    def after(self) -> Condition:
        """What outputs of the start meet."""
        return ("after_seq", ">=", self.span.first)

    @property
    def since(self) -> Condition:
        """What inputs of the start meet."""
        return ("seq", ">=", self.span.first)


def status(folder: Path, *, now: int | None = None) -> Status:
    """How the last start of a live log stands.

    Args:
        folder: the log.
        now: the present time in ns; None asks the clock. Ages are reckoned from it while the start runs, else from its last input.

    Raises:
        ConfigError: the folder is no log, or nothing was decided on it.
        LogError: it is damaged.
    """
    if Manifest(folder).header.kind == "run":
        raise ConfigError(f"{folder} is a run: it is finished; look at it with xarb dashboard, xarb query or xarb why")
    with open_query([folder]) as query:
        return standing(query, now=now)


def standing(query: Query, *, now: int | None = None) -> Status:
    """The same of a log that is open already.

    Raises:
        ConfigError: nothing was decided on it.
        LogError: it is damaged.
    """
    folder, spans = query.sources[0].folder, starts_in(query)
    if not spans:
        raise ConfigError(f"{folder} is a log without a start: nothing trades on it; look at it with: xarb log info {folder}")
    span = spans[-1]
    tail = query.sources[0].tail
    last_ts = query.sources[0].manifest.last_ts if tail is None else tail.last_ts
    ended = pick(query, "operator", ("seq", ">=", span.first), ("action", "in", ENDS), limit=1)
    here = last_ts if ended else (time.time_ns() if now is None else now)
    view = _View(query, span, max(here, last_ts), last_ts)
    troubles: list[str] = []
    head = _head(view, ended, troubles)
    feeds = _feeds(view, [] if ended else troubles)  # without a start no feed is heard
    breakers = _breakers(view, troubles)
    chains = Seen(query, view.since, view.after, view.now, _chains_of(view))
    return Status(
        troubles,
        [
            Section("status", f"Status of {folder}", ("what", "value"), head),
            feeds,
            *chain_sections(chains, [] if ended else troubles),
            breakers,
            *_orders(view, cycle_counts(chains)),
            *_money(view),
            *_discrepancies(view, troubles),
            *_health(view, [] if ended else troubles),
        ],
    )


# --- the start


def _head(view: _View, ended: Sequence[Row], troubles: list[str]) -> list[tuple[str, Any]]:
    start, age = view.span.start, view.now - view.last_ts
    begun = pick(view.query, "starts", ("seq", "=", view.span.first))[0]["ts_recv"]
    if ended:
        one = ended[0]
        died = one["action"] == LEFT_OFF  # as whoever wrote on found
        what, at = ("died", "before") if died else (f"ended by {one['actor']}", "at")
        state = f"{what} {at} {moment_of(one['ts_recv'])}" + (f": {one['detail']}" if one["detail"] and not died else "")
        troubles.append(f"the start has {what}")
    elif age > SILENCE_NS:
        state = f"silent for {millis(age // NANOS_PER_MS * NANOS_PER_MS)} ms: its process is gone, or hangs"
        troubles.append("nothing was written lately: the process is gone, or hangs")
    else:
        state = "running"
    armed, how = (False, "it has ended") if ended else _armed(view)
    if not armed and not ended:
        troubles.append(f"it is disarmed: {how}")
    return [
        ("start", start.number),
        ("mode", start.mode),
        ("state", state),
        ("since", moment_of(begun)),
        ("last input", moment_of(view.last_ts)),
        ("age, ms", millis(age // NANOS_PER_MS * NANOS_PER_MS)),
        ("armed", f"{'yes' if armed else 'no'}: {how}"),
        ("strategies", ", ".join(sorted(start.config["strategies"]))),
        ("code", start.code_digest[:16]),
    ]


def _armed(view: _View) -> tuple[bool, str]:
    """Whether bundles can be sent, and since when and by whom."""
    acts = ("action", "in", [ARM, DISARM, KILL])
    last = pick(view.query, "operator", view.since, acts, newest=True, limit=1)
    if not last:
        return view.span.start.opening.armed, "as it was started"
    one = last[0]
    return one["action"] == ARM, f"{one['action']} by {one['actor']} at {moment_of(one['ts_recv'])}" + (
        f": {one['detail']}" if one["detail"] else ""
    )


# --- feeds


def _chains_of(view: _View) -> list[str]:
    """The chains that are traded on."""
    return sorted(decode_config(view.span.start.config).onchain)


def _feeds(view: _View, troubles: list[str]) -> Section:
    """Each instrument of the venues that are traded on."""
    resolved: Resolved = decode_config(view.span.start.config)
    states = {(row["venue"], row["symbol"]): row for row in latest(view.query, "feed_states", ("venue", "symbol"), view.after)}
    heard = _heard(view)
    breaks: dict[tuple[str, str | None], int] = {}
    for venue, symbol, count in tally(view.query, "connections", ("venue", "symbol"), view.since, ("event", "in", list(_BREAKS))):
        breaks[venue, symbol] = count
    rejects: dict[tuple[str, str | None], int] = {
        (row[0], row[1]): row[2] for row in tally(view.query, "rejects", ("venue", "symbol"), view.since)
    }
    rows = []
    for row in latest(view.query, "instruments", ("venue", "symbol")):
        key = (row["venue"], row["symbol"])
        if key[0] not in resolved.venues:
            continue
        state, last = states.get(key), heard.get(key)
        word = "never live" if state is None else state["state"]
        if state is None or not state["tradable"]:
            troubles.append(
                f"feed {key[1]}@{key[0]} is {word}" + (f" with score {state['score']}" if state and word == "live" else "")
            )
        seen = (None, None, None) if state is None else (state["score"], state["tradable"], moment_of(state["ts"]))
        age = f"over {LOOK_BACK_NS // NANOS_PER_MS}" if last is None else view.age_ms(last)
        rows.append((*key, word, *seen, age, breaks.get(key, 0) + breaks.get((key[0], None), 0), rejects.get(key, 0)))
    head = ("venue", "symbol", "state", "score", "tradable", "since", "age_ms", "gaps", "rejects")
    return Section("feeds", "Feeds; the score as of the last change of state", head, rows)


def _heard(view: _View) -> dict[tuple[str, str], int]:
    """When the last market row of each instrument came."""
    found: dict[tuple[str, str], int] = {}
    recent = ("ts_recv", ">=", view.last_ts - LOOK_BACK_NS)
    for kind in _MARKET_KINDS:
        for row in latest(view.query, kind, ("venue", "symbol"), recent):
            key = (row["venue"], row["symbol"])
            found[key] = max(found.get(key, 0), row["ts_recv"])
    return found


def _breakers(view: _View, troubles: list[str]) -> Section:
    """Venues that get no new bundles of an account, or one at a time; none after a person reset them."""
    is_reset = pick(view.query, "operator", view.since, ("action", "=", RESET_BREAKERS), limit=1)
    rows = []
    for row in [] if is_reset else latest(view.query, "breakers", ("account", "venue"), view.after):
        if row["state"] == "closed":
            continue
        is_held = row["state"] == "open" and row["until"] is None
        until = "xarb kill LOG --reset-breakers" if is_held else None if row["until"] is None else moment_of(row["until"])
        troubles.append(f"the breaker of {row['account']} on {row['venue']} is {row['state']}: {row['reason']}")
        rows.append((row["account"], row["venue"], row["state"], row["reason"], moment_of(row["ts"]), until, row["trips"]))
    head = ("account", "venue", "state", "reason", "since", "until", "trips")
    return Section("breakers", "Venues without new bundles, or with one at a time", head, rows)


# --- orders and money


def _orders(view: _View, cycles: Sequence[tuple[Any, ...]]) -> list[Section]:
    """Orders that are alive with their bundles, and what was counted, `cycles` with it."""
    alive = latest(view.query, "orders", ("order",), view.after, keep=("state", "in", _ALIVE))
    sent = {
        row["order"]: row
        for row in pick(
            view.query, "commands", view.after, ("order", "in", [row["order"] for row in alive]), ("kind", "=", "submit")
        )
    }
    shown = [
        row
        | {"client_order_id": sent[row["order"]]["client_order_id"], "age_ms": millis(max(0, view.now - sent[row["order"]]["ts"]))}
        for row in alive
    ]
    prices: tuple[Shown, ...] = (("price", amount), ("qty", amount), ("filled_qty", amount))
    counts: list[tuple[Any, ...]] = [
        (
            "opportunities opened",
            None,
            sum(count for _, count in tally(view.query, "opportunities", ("phase",), view.after, ("phase", "=", "opened"))),
        )
    ]
    counts += [
        ("decisions", *row) for row in tally(view.query, "opportunities", ("verdict",), view.after, ("phase", "=", "decided"))
    ]
    states: dict[str, int] = dict(tally_latest(view.query, "orders", ("order",), "state", view.after))
    counts += [("orders", *one) for one in sorted(states.items())]
    counts += cycles
    counts += [("fills", *row) for row in tally(view.query, "fills", ("purpose",), view.after)]
    counts += [("left as inventory", *row) for row in tally(view.query, "residuals", ("cause",), view.after)]
    refusals = tally(view.query, "refusals", ("reason",), view.after)
    counts += [("refusals", *row) for row in sorted(refusals, key=lambda row: (-row[1], row[0]))]
    bundles = len({row["bundle"] for row in alive})
    return [
        listed(
            "open_orders",
            f"Orders that are alive, of {bundles} bundle{'' if bundles == 1 else 's'}",
            shown,
            *(
                "order",
                "client_order_id",
                "bundle",
                "strategy",
                "venue",
                "symbol",
                "side",
                *prices,
                "state",
                ("ts", moment_of),
                "age_ms",
            ),
        ),
        Section("counts", "Counts since the start", ("what", "which", "count"), counts),
    ]


def _money(view: _View) -> list[Section]:
    """Balances as the ledger and, in real trading, the venues have them; what orders changed."""
    places = latest(view.query, "ledger", ("account", "venue", "asset"), view.after)
    stated = latest(view.query, "balances", ("account", "venue", "asset"), view.since) if view.span.start.mode == LIVE else []
    venues = {(row["account"], row["venue"], row["asset"]): row for row in stated}
    rows = []
    for row in places:
        said = venues.get((row["account"], row["venue"], row["asset"]))
        rows.append(
            (
                row["account"],
                row["venue"],
                row["asset"],
                amount(row["balance"]),
                *((None, None) if said is None else (amount(said["free"]), amount(said["locked"]))),
            )
        )
    changes: dict[tuple[str, str], list[int]] = {}
    by = ("strategy", "asset", "cause")
    for strategy, asset, cause, total in summed(view.query, "ledger", by, "delta", view.after, ("cause", "in", [*_MADE, *_COSTS])):
        changes.setdefault((strategy, asset), [0, 0])[cause in _COSTS] += total
    gained = [(*key, amount(trade), amount(fee), amount(trade + fee)) for key, (trade, fee) in sorted(changes.items())]
    return [
        Section(
            "balances",
            "Balances by the ledger, and as the venues last said",
            ("account", "venue", "asset", "balance", "free", "locked"),
            rows,
        ),
        Section("money", "What orders changed since the start", ("strategy", "asset", "trades", "fees", "sum"), gained),
    ]


def _discrepancies(view: _View, troubles: list[str]) -> list[Section]:
    """Where exchanges had other money than our books, and what became of it; the last one of each place that was not booked is a trouble."""
    booked = {row["after_seq"] for row in pick(view.query, "ledger", view.after, ("cause", "=", "adjustment"))}
    refused = {row["after_seq"] for row in pick(view.query, "refusals", view.after, ("reason", "=", REFUSED))}
    rows, last = [], dict[tuple[str, str, str], str]()
    for row in pick(view.query, "operator", view.since, ("action", "=", DISCREPANCY)):
        one, seq = read_discrepancy(row["seq"], row["detail"]), row["seq"]
        verdict = "booked" if seq in booked else "too large to be booked" if seq in refused else "looked at again"
        if seq in booked:
            last.pop(one.place, None)
        elif seq in refused:
            last[one.place] = f"{one}; xarb kill LOG --reset accepts it"
        amounts = (amount(one.ours), amount(one.theirs), amount(one.difference))
        rows.append((moment_of(row["ts_recv"]), *one.place, *amounts, verdict))
    troubles += last.values()
    head = ("ts", "account", "venue", "asset", "ours", "theirs", "difference", "verdict")
    title = "Where venues had other money than the ledger, others' locks apart"
    return [Section("discrepancies", title, head, rows)] if rows else []


def _health(view: _View, troubles: list[str]) -> list[Section]:
    found = latest(view.query, "health", ("venue", "metric"), view.since)
    rows = [(row["metric"], row["venue"], row["value"], moment_of(row["ts_recv"]), row["detail"]) for row in found]
    last = Section("health", "Last reading of each kind", ("metric", "venue", "value", "at", "detail"), rows)
    return [*_countdowns(view, found, troubles), last]


def _countdowns(view: _View, readings: Sequence[Row], troubles: list[str]) -> list[Section]:
    """Whether the exchanges that can do so cancel everything when they hear nothing of us; of several accounts the one told of last."""
    late = {row["venue"] for row in readings if row["metric"] == FAILED and row["value"]}
    rows = []
    for row in readings:
        if row["metric"] == RUNS:
            if not row["value"]:
                troubles.append(f"the countdown at {row['venue']} does not run: {row['detail']}")
            state = "off" if not row["value"] else "late" if row["venue"] in late else "runs"
            age = view.age_ms(row["ts_recv"])
            rows.append((row["venue"], state, row["value"], moment_of(row["ts_recv"]), age, row["detail"]))
    head = ("venue", "state", "length_ms", "told", "age_ms", "detail")
    return [Section("countdowns", "Exchanges that cancel everything when they hear nothing of us", head, rows)] if rows else []
