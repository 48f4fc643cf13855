"""Starts of the engine on a live log: each as the row that it is, and as what an engine is built from, when trading and when proving.

A start is an input like any other. It holds the whole config and the opening state, so that its part of the log can be replayed alone: from
its own row up to the last input that it applied: the act that ended it, or the row before which the next writer found it dead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import pyarrow.compute as pc

from xarb.assembly import Ground, Replay
from xarb.assembly.resolved import Resolved, decode_config
from xarb.engine.breaker import Broken
from xarb.engine.carried import CarriedBundle, CarriedCycle, CarriedFlow, CarriedTransaction, ForeignFills
from xarb.engine.liverows import RESET, RESET_BREAKERS
from xarb.engine.others import OTHERS, added_up, quotes_of
from xarb.engine.results import DAY_NS, Carried, currencies_of
from xarb.engine.volumes import SentVolume
from xarb.errors import LogError
from xarb.log.ends import ENDS, LEFT_OFF
from xarb.log.reader import LogReader, Selection
from xarb.log.rows import from_table
from xarb.model.columns import INPUTS
from xarb.model.instrument import Instrument
from xarb.model.units import MONEY_ONE, MONEY_SCALE, Money, ceil_div, format_decimal, parse_money
from xarb.settings import strategy_terms

PAPER: Final = "paper"
LIVE: Final = "live"
_FOREIGN: Final = ("ts_recv", "account", "venue", "symbol", "start", "event", "price", "qty")
_SENT: Final = ("strategy", "venue", "symbol", "kind", "price_int", "qty_int", "px_scale", "qty_scale")
Balances = Mapping[tuple[str, str, str], int]


class Opening(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The state that a start begins with.

    Attributes:
        balances: (account, venue, asset, amount as decimal text), sorted.
        sources: by instrument ("BTC/USDT@binance") which rows move its book, as in the engine's setup.
        armed: whether bundles are sent before the operator says so.
        left: orders of earlier starts whose end is not known yet, as plain data (`live.left`); the engine knows nothing of them.
        results: what strategies made in earlier starts, in the currencies that limits of loss ever named; money is an int at 18 decimals.
        volumes: what strategies sent in earlier starts on the last day on which they sent anything.
        told_seq: what the log had when this was reckoned; fills reported up to this input are in `results`, `bundles` and `flows`.
        broken: breakers that earlier starts left open.
        others: as balances, what others' orders had locked; it is in none of them.
        bundles: bundles that earlier starts left without an end, and the last ones that ended, whose orders may be told of yet.
        flows: what strategies' fills added up to in earlier starts; None in a log that an older version wrote.
        foreign: what others' fills on the accounts came to on the last day on which any was told while a start ran.
        known_seq: what the log had when it was opened: others' fills told up to this input are in `foreign`.
        cycles, transactions: what earlier starts sent to chains that is not final, as of input `told_seq`; None in a log that an older version wrote.
    """

    balances: tuple[tuple[str, str, str, str], ...]
    sources: dict[str, int]
    armed: bool
    left: tuple[dict[str, Any], ...] = ()
    results: tuple[Carried, ...] = ()
    volumes: tuple[SentVolume, ...] = ()
    told_seq: int = -1
    broken: tuple[Broken, ...] = ()
    others: tuple[tuple[str, str, str, str], ...] = ()
    bundles: tuple[CarriedBundle, ...] = ()
    flows: tuple[CarriedFlow, ...] | None = None
    foreign: tuple[ForeignFills, ...] | None = None
    known_seq: int = -1
    cycles: tuple[CarriedCycle, ...] | None = None
    transactions: tuple[CarriedTransaction, ...] | None = None


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """One start.

    Attributes:
        number: counts the starts of a log from 1.
        log_id: identity of the log; client order ids begin with it.
        code_digest: the code that ran, see provenance.
        config: the effective config, as `assembly.encode_config` gives it.
        seed: of every random draw.
        mode: PAPER or LIVE.
        opening: the state that it begins with.
        applied_seq: the last input that the start before applied, None in the first.
    """

    number: int
    log_id: str
    code_digest: str
    config: dict[str, Any]
    seed: int
    mode: str
    opening: Opening
    applied_seq: int | None

    def row(self) -> tuple[Any, ...]:
        """The values of its `starts` row after seq and ts_recv."""
        config = msgspec.json.encode(self.config, order="deterministic").decode()
        opening = msgspec.json.encode(self.opening, order="deterministic").decode()
        return (self.number, self.log_id, self.code_digest, config, self.seed, self.mode, opening, self.applied_seq)


class Span(NamedTuple):
    """A start and its part of the log: inputs from `first` (its own row) to `last`, inclusive."""

    start: Start
    first: int
    last: int

    @property
    def selection(self) -> Selection:
        """Its inputs, or the outputs after them."""
        return self.behind(None)

    def behind(self, seq: int | None) -> Selection:
        """Those behind an input of it, all for None."""
        return Selection(first_seq=self.first if seq is None else seq + 1, last_seq=self.last)


def opening_of(balances: Balances, instruments: Sequence[Instrument], sources: Sequence[int], *, armed: bool) -> Opening:
    """The opening state of a start."""
    return Opening(
        balances=as_rows(balances), sources={one.id: source for one, source in zip(instruments, sources, strict=True)}, armed=armed
    )


def as_rows(balances: Balances) -> tuple[tuple[str, str, str, str], ...]:
    """Account, venue, asset and amount as decimal text, sorted."""
    return tuple(sorted((*key, format_decimal(amount, MONEY_SCALE)) for key, amount in balances.items()))


def ground_of(start: Start, instruments: Sequence[Instrument], connections: int) -> Ground:
    """What the engine of a start is built from beside its config.

    Args:
        start: the start.
        instruments: those that the log knew when it began, by number.
        connections: connection numbers lie below this.

    Raises:
        LogError: the start does not say what moves an instrument's book.
    """
    missing = [one.id for one in instruments if one.id not in start.opening.sources]
    if missing:
        raise LogError(f"start {start.number}: its opening state names no source for {', '.join(missing)}")
    return Ground(
        instruments=instruments,
        sources=[start.opening.sources[one.id] for one in instruments],
        connections=connections,
        log_id=start.log_id,
        opening={(account, venue, asset): parse_money(text) for account, venue, asset, text in start.opening.balances},
        simulated=start.mode == PAPER,
        timers_are_rows=True,
        armed=start.opening.armed,
        start=start.number,
        results=start.opening.results,
        volumes=start.opening.volumes,
        broken=start.opening.broken,
        bundles=start.opening.bundles,
        flows=start.opening.flows or (),
        foreign=start.opening.foreign or (),
        cycles=start.opening.cycles or (),
        transactions=start.opening.transactions or (),
    )


def replay_of_start(reader: LogReader, span: Span, *, rows: int, behind: int | None = None, cuts: Sequence[int] = ()) -> Replay:
    """What decides a start again on its own inputs, or on those behind input `behind`, in batches of at most `rows` seqs that end at `cuts`.

    Raises:
        ConfigError: its config was written by a version with other keys.
        LogError: it does not say what moves an instrument's book.
        Refused: some of the inputs were pruned.
    """
    ground = ground_of(span.start, reader.known_at(span.first), max(reader.connections, 1))
    batches = reader.batches(kinds=INPUTS, rows=rows, select=span.behind(behind), cuts=cuts)
    return Replay(decode_config(span.start.config), ground, batches)


def spans(reader: LogReader) -> Iterator[Span]:
    """The starts of a sealed log, in order, each with its part of it.

    Raises:
        LogError: a row cannot be read by this version.
    """
    return spans_of(list(reader.rows("starts")), list(reader.rows("operator")), last_seq=reader.last_seq)


def spans_of(found: Sequence[Mapping[str, Any]], operator: Sequence[Mapping[str, Any]], *, last_seq: int) -> Iterator[Span]:
    """The starts among rows of `starts` and `operator`, in order; `last_seq` is the last input of the log.

    Raises:
        LogError: a row cannot be read by this version.
    """
    ends = [row["seq"] - (row["action"] == LEFT_OFF) for row in operator if row["action"] in ENDS]
    for number, row in enumerate(found):
        last = last_seq
        if number + 1 < len(found):
            after = found[number + 1]
            if after["applied_seq"] is None:
                raise LogError(f"seq {after['seq']}: start {after['number']} does not say what the start before applied")
            last = after["applied_seq"]
        end = next((seq for seq in ends if row["seq"] <= seq <= last), None)
        yield Span(read_start(row), row["seq"], last if end is None else end)


def read_start(row: Mapping[str, Any]) -> Start:
    """A start from its row by column name.

    Raises:
        LogError: it was written by a version with other fields.
    """
    try:
        return Start(
            number=row["number"],
            log_id=row["log_id"],
            code_digest=row["code_digest"],
            config=msgspec.json.decode(row["config"], type=dict[str, Any]),
            seed=row["seed"],
            mode=row["mode"],
            opening=msgspec.json.decode(row["opening"], type=Opening),
            applied_seq=row["applied_seq"],
        )
    except msgspec.DecodeError as error:
        raise LogError(f"seq {row['seq']}: start {row['number']} cannot be read by this version: {error}") from None


def closing_balances(reader: LogReader, span: Span) -> dict[tuple[str, str, str], Money]:
    """What the accounts held at the end of a start: its opening balances, as the ledger after them changed them."""
    found = {(account, venue, asset): parse_money(text) for account, venue, asset, text in span.start.opening.balances}
    for _, row in reader.outputs(kinds=("ledger",), select=span.selection):
        found[row["account"], row["venue"], row["asset"]] = Money(row["balance"])
    return found


def carried_into(resolved: Resolved, before: Sequence[Carried]) -> tuple[Carried, ...]:
    """What earlier starts made, as the next one opens with it: with nothing made where a limit names a currency for the first time."""
    found = {one.key: one for one in before}
    for name, config in resolved.strategies.items():
        for currency in currencies_of(strategy_terms(config).limits):
            new = Carried(account=config.account, strategy=name, currency=currency)
            found.setdefault(new.key, new)
    return tuple(found[key] for key in sorted(found))


def closing_volumes(reader: LogReader, span: Span) -> tuple[SentVolume, ...]:
    """What strategies sent up to the end of a start, on the last day on which anything was sent."""
    day = max((one.day for one in span.start.opening.volumes), default=0)
    sums = {(one.strategy, one.venue, one.symbol, one.currency): one.amount for one in span.start.opening.volumes if one.day == day}
    quotes = {(one.venue, one.symbol): one.quote for one in reader.instruments}
    for part in reader.tables("commands", _SENT, span.selection):
        newest = int(part.column("ts").to_numpy().max()) // DAY_NS
        if newest > day:
            day, sums = newest, {}
        today = part.filter(pc.greater_equal(part.column("ts"), day * DAY_NS))
        for row in from_table("commands", today):
            if row["kind"] == "submit":
                key = (row["strategy"], row["venue"], row["symbol"], quotes[row["venue"], row["symbol"]])
                value = ceil_div(row["price_int"] * row["qty_int"] * MONEY_ONE, 10 ** (row["px_scale"] + row["qty_scale"]))
                sums[key] = sums.get(key, 0) + value
    for _, row in reader.outputs(kinds=("cycles",), select=span.selection):
        if row["kind"] == "submit" and row["ts"] // DAY_NS >= day:
            if row["ts"] // DAY_NS > day:
                day, sums = row["ts"] // DAY_NS, {}
            key = (row["strategy"], row["venue"], row["hops"].split()[1], row["profit_asset"] or row["token"])
            sums[key] = sums.get(key, 0) + row["notional"]
    return tuple(
        SentVolume(strategy=key[0], venue=key[1], symbol=key[2], currency=key[3], day=day, amount=sums[key]) for key in sorted(sums)
    )


def closing_foreign(reader: LogReader, span: Span, *, until: int) -> tuple[ForeignFills, ...]:
    """What others' fills came to that were told up to input `until`, the last start before it being `span`, on the last day with any.

    Nothing once a person took back the kill that followed from them. What is told between the opening of a log and the row of a start, when none
    runs, counts nowhere, as what a person trades by hand between two starts.
    """
    acts = (row for row in reader.rows("operator") if span.first < row["seq"] <= until)
    if any(row["action"] == RESET for row in acts) and has_refused(reader, span, OTHERS):
        return ()
    found: list[dict[str, Any]] = []
    for part in reader.tables("reports", _FOREIGN, Selection(first_seq=span.first, last_seq=until)):
        found += from_table("reports", part.filter(pc.invert(pc.is_valid(part.column("start")))))
    return added_up(span.start.opening.foreign or (), found, quotes_of(reader.instruments))


def has_refused(reader: LogReader, span: Span, reason: str) -> bool:
    """Whether a refusal of a start has that reason."""
    return any(row["reason"] == reason for _, row in reader.outputs(kinds=("refusals",), select=span.selection))


def closing_breakers(reader: LogReader, span: Span, *, until: int) -> tuple[Broken, ...]:
    """The breakers that are not closed at input `until`, the last start before it being `span`: none once a person reset them.

    A pause goes on; what was half open is so again, without the bundle that was tried.
    """
    if any(row["action"] == RESET_BREAKERS and span.first < row["seq"] <= until for row in reader.rows("operator")):
        return ()
    found = {one.key: one for one in span.start.opening.broken}
    for _, row in reader.outputs(kinds=("breakers",), select=span.selection):
        names = ("account", "venue", "state", "reason", "until", "trips")
        one = Broken(**{name: row[name] for name in names})
        found[one.key] = one
    return tuple(found[key] for key in sorted(found) if found[key].state != "closed")
