"""The check and symbols verbs: can this experiment run, what blocks the first trade, and what is the same thing as what."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np

from xarb.assembly import SOURCES, Assembly, recorded_ground
from xarb.assembly.custom import custom
from xarb.assembly.resolved import Resolved, fee_of, may_trade, pairing_of, resolve_recorded
from xarb.catalog import load_assets
from xarb.config import Experiment
from xarb.config.strategies import StrategyConfig
from xarb.console import Table
from xarb.engine.strategy import Pair
from xarb.log.reader import LogReader
from xarb.model.asset import AssetTable
from xarb.model.instrument import FeeTier, Instrument
from xarb.model.units import NULL, Ppb, parse_money
from xarb.pairing import Pairing, PairTerms, make_pairs, prove_names, same_things
from xarb.verbs.backtest import log_of
from xarb.verbs.check.cycles import Blocker, Rounds, paths_of, pools_of, rounds_of

_SAMPLE: Final = 500_000  # rows looked at for sizes that the log does not know
_GOOD: Final = "can trade"


class Findings(NamedTuple):
    """What was found: tables to print, the pairs and the instruments of cycles looked at, and those of them that cannot trade."""

    tables: list[Table]
    pairs: int
    blocked: int
    idle: tuple[str, ...]  # strategies that no pair or cycle is left for


class Sizes(msgspec.Struct):
    """Rows seen of an instrument, and those without a size, in the part of the log that was looked at."""

    rows: int = 0
    unknown: int = 0


def check(experiment: Experiment, *, log: Path | None) -> Findings:
    """Check an experiment against its log.

    Raises:
        ConfigError: it cannot run at all; the message says why.
        LogError: the log is damaged.
    """
    with LogReader(log_of(experiment, log)) as reader:
        resolved = resolve_recorded(experiment, reader)
        ground = recorded_ground(resolved, reader)
        Assembly(resolved, ground)  # all that a backtest does before its first row: what stops it stops this
        sizes = _sizes(reader, ground.sources)
        setting = _setting_table(experiment, reader)
    return judge(resolved, reader.instruments, sizes, ground.opening, [setting])


def judge(
    resolved: Resolved,
    instruments: Sequence[Instrument],
    sizes: Sequence[Sizes],
    opening: Mapping[tuple[str, str, str], int],
    before: Sequence[Table],
) -> Findings:
    """What each strategy could trade, and what keeps it from the rest.

    Args:
        resolved: the config.
        instruments: by number.
        sizes: by number, what is known of the sizes of its quotes.
        opening: what the accounts have, by (account, venue, asset).
        before: tables that come first.
    """
    rows: list[tuple[str, ...]] = []
    cycles: list[tuple[str, ...]] = []
    left_out: list[tuple[str, ...]] = []
    idle = []
    compared = [name for name in sorted(resolved.strategies) if resolved.strategies[name].kind == "micro"]
    for name in sorted({*resolved.strategies} - {*compared}):
        kind = resolved.strategies[name].kind
        blocker = _blocker_of_one(resolved, name, instruments, (sizes, opening))
        if kind == "dex_dex":
            found = pools_of(resolved, name, instruments, opening)
        elif kind == "cex_dex":
            found = paths_of(resolved, name, instruments, opening, blocker)
        elif kind == "custom":
            found = _own(resolved, name, instruments, blocker)
        else:
            found = rounds_of(resolved, name, instruments, blocker)
        cycles += [(name, instruments[number].id, why or _GOOD) for number, why in found.verdicts]
        left_out += [(why,) for why in found.left_out]
        if not found.cycles:
            idle.append(name)
    for name in compared:
        pairing = pairing_of(resolved, name, instruments)
        judged = [(pair, _blocker(resolved, name, pair, instruments, (sizes, opening))) for pair in pairing.pairs]
        rows += [
            (name, instruments[pair.sell].id, instruments[pair.buy].id, _via(pair, instruments), why or _GOOD)
            for pair, why in judged
        ]
        if all(why is not None for _, why in judged):
            idle.append(name)
    blocked = sum(row[-1] != _GOOD for row in [*rows, *cycles])
    tables = [
        *before,
        Table("Pairs", ("strategy", "sell on", "buy on", "through", "verdict"), tuple(rows)),
        Table("Instruments", ("strategy", "instrument", "verdict"), tuple(cycles)),
        Table("Cycles that are left out", ("warning",), tuple(left_out)),
    ]
    tables += [
        _unpaired_table(f"Not compared by {name}", pairing_of(resolved, name, instruments), instruments) for name in compared
    ]
    return Findings([table for table in tables if table.rows], len(rows) + len(cycles), blocked, tuple(sorted(idle)))


def _own(resolved: Resolved, name: str, instruments: Sequence[Instrument], blocker: Blocker) -> Rounds:
    """What a strategy of the user's own may trade; its code is loaded, so that what is wrong with it is known."""
    custom(resolved, name, instruments)
    config = resolved.strategies[name]
    verdicts = [(number, blocker(number)) for number, one in enumerate(instruments) if may_trade(resolved, config, one)]
    return Rounds(verdicts, sum(why is None for _, why in verdicts))


def _setting_table(experiment: Experiment, reader: LogReader) -> Table:
    rows = [
        ("experiment", experiment.origin),
        ("log", f"{reader.folder}: {reader.last_seq + 1} inputs, {len(reader.instruments)} instruments"),
        ("origin of the log", reader.header.origin or "-"),
        ("strategies", ", ".join(sorted(experiment.strategies)) or "NONE: nothing will be decided"),
    ]
    return Table("Check", ("what", "value"), tuple(rows))


def _sizes(reader: LogReader, sources: Sequence[int]) -> list[Sizes]:
    """How many quotes of each instrument lack a size, over the first rows of the log; none are counted where books or deltas lead."""
    found = [Sizes() for _ in reader.instruments]
    seen = 0
    for batch in reader.batches(kinds=("quotes",)):
        quotes = batch.quotes
        lacking = (quotes.bid_qty == NULL) | (quotes.ask_qty == NULL)
        for number, count in enumerate(np.bincount(quotes.inst, minlength=len(found)).tolist()):
            found[number].rows += count
        for number, count in enumerate(np.bincount(quotes.inst[lacking], minlength=len(found)).tolist()):
            found[number].unknown += count
        seen += len(quotes.seq)
        if seen >= _SAMPLE:
            break
    return [one if source == SOURCES["quotes"] else Sizes() for one, source in zip(found, sources, strict=True)]


def _via(pair: Pair, instruments: Sequence[Instrument]) -> str:
    return instruments[pair.convert].id if pair.convert >= 0 else "a peg" if pair.premium else "-"


def _blocker(
    resolved: Resolved,
    name: str,
    pair: Pair,
    instruments: Sequence[Instrument],
    known_of: tuple[Sequence[Sizes], Mapping[tuple[str, str, str], int]],
) -> str | None:
    """The first thing that keeps the strategy from trading the pair, None when nothing known does."""
    sizes, opening = known_of
    if pair.premium:
        return "premium: only a peg compares them; recorded, never traded"
    legs = [pair.sell, pair.buy] + ([pair.convert] if pair.convert >= 0 else [])
    return (
        _unfit(resolved, legs, instruments, sizes)
        or _switched_off(resolved.strategies[name])
        or _no_money(resolved, name, pair, instruments, opening)
        or _no_rate(resolved, legs, instruments)
        or _too_small(resolved, name, legs, instruments)
    )


def _blocker_of_one(
    resolved: Resolved,
    name: str,
    instruments: Sequence[Instrument],
    known_of: tuple[Sequence[Sizes], Mapping[tuple[str, str, str], int]],
) -> Callable[[int], str | None]:
    """What keeps the strategy from trading an instrument in either direction, by its number."""
    sizes, opening = known_of
    account = resolved.strategies[name].account

    def blocker(number: int) -> str | None:
        one = instruments[number]
        poor = None
        if all(opening.get((account, one.venue, asset), 0) == 0 for asset in (one.base, one.quote)):
            poor = f"balance: {account} has neither {one.base} nor {one.quote} on {one.venue}"
        return (
            _unfit(resolved, [number], instruments, sizes)
            or _switched_off(resolved.strategies[name])
            or poor
            or _no_rate(resolved, [number], instruments)
            or _too_small(resolved, name, [number], instruments)
        )

    return blocker


def _unfit(resolved: Resolved, legs: list[int], instruments: Sequence[Instrument], sizes: Sequence[Sizes]) -> str | None:
    """An instrument that may not be traded, or whose quotes have no sizes."""
    for number in legs:
        why = instruments[number].untradable_because()
        if why is not None:
            return f"{why}: {instruments[number].id}"
        venue = resolved.venues.get(instruments[number].venue)
        known = sizes[number]
        if known.rows and known.unknown == known.rows and (venue is None or venue.assumed_qty is None):
            return f"unknown_size: {instruments[number].id} has no sizes; set venues.{instruments[number].venue}.assumed_qty to assume one"
    return None


def _switched_off(config: StrategyConfig) -> str | None:
    """A limit of zero."""
    for key in (
        "max_open_bundles",
        "daily_volume_quote",
        "daily_symbol_quote",
        "daily_venue_quote",
        "max_orders_per_s",
        "max_bundles_per_min",
    ):
        if getattr(config, key) == 0:
            return f"{key} is 0"
    return None


def _no_rate(resolved: Resolved, legs: list[int], instruments: Sequence[Instrument]) -> str | None:
    """A fee in a third coin that nothing prices."""
    for number in legs:
        one = instruments[number]
        tier = fee_of(resolved, one)
        if tier is None or tier.taker_ppb == 0 or tier.asset in {"quote", "base", "received", one.base, one.quote}:
            continue
        near = [coin for coin in instruments if (coin.venue, coin.base, coin.quote) == (one.venue, tier.asset, one.quote)]
        if not any(resolved.rates.get(coin.id) == tier.asset for coin in near):
            return f"fee_rate_unknown: rates names no instrument that prices {tier.asset} in {one.quote} on {one.venue}"
    return None


def _no_money(
    resolved: Resolved,
    name: str,
    pair: Pair,
    instruments: Sequence[Instrument],
    opening: Mapping[tuple[str, str, str], int],
) -> str | None:
    account = resolved.strategies[name].account
    budget = resolved.strategies[name].budget
    sell, buy = instruments[pair.sell], instruments[pair.buy]
    needs = [(sell.venue, sell.base), (buy.venue, buy.quote)]
    if pair.convert >= 0:
        convert = instruments[pair.convert]
        needs.append((convert.venue, convert.base if pair.convert_side == "bid" else convert.quote))
    for venue, asset in needs:
        if opening.get((account, venue, asset), 0) == 0:
            return f"balance: {account} has no {asset} on {venue}"
        if budget.get(asset) == 0:
            return f"budget: strategies.{name}.budget.{asset} is 0"
    return None


def _too_small(resolved: Resolved, name: str, legs: list[int], instruments: Sequence[Instrument]) -> str | None:
    limit = parse_money(f"{resolved.strategies[name].max_notional_quote:f}")
    for number in legs:
        least = instruments[number].min_notional
        if least is not None and least > limit:
            return f"min_notional: {instruments[number].id} takes no order as small as max_notional_quote"
    return None


def symbols(log: Path) -> list[Table]:
    """What the names of a log's instruments were proven to be, which of them are the same thing, and which are not compared and why.

    Raises:
        ConfigError: the folder is no log.
        LogError: the log is damaged.
    """
    with LogReader(log) as reader:
        instruments = reader.instruments
    table: AssetTable = load_assets()
    names = prove_names(instruments, table)
    rows = []
    for named in names:
        one = named.instrument
        base, quote = (proof.entry if proof else "UNPROVEN" for proof in (named.base, named.quote))
        rows.append((one.id, one.native, one.kind, one.base, base, one.quote, quote, one.untradable_because() or "yes"))
    head = ("instrument", "native", "kind", "base", "proven as", "quote", "proven as", "tradable")
    groups = tuple((f"{at}", ", ".join(instruments[i].id for i in group)) for at, group in enumerate(same_things(names), 1))
    fees: list[FeeTier | None] = [FeeTier(maker_ppb=Ppb(0), taker_ppb=Ppb(0))] * len(
        instruments
    )  # every venue counts: nothing is decided here
    pairing = make_pairs(names, PairTerms(fees=fees, pegs={}, venues=(), symbols=(), open_ppb=0, close_ppb=0))
    tables = [
        Table(f"Instruments of {log}", head, tuple(rows)),
        Table("The same thing", ("group", "instruments"), groups),
        _unpaired_table("Not compared", pairing, instruments),
    ]
    return [made for made in tables if made.rows]


def _unpaired_table(title: str, pairing: Pairing, instruments: Sequence[Instrument]) -> Table:
    rows = tuple(
        (instruments[one.first].id, "-" if one.second is None else instruments[one.second].id, one.reason, one.detail)
        for one in pairing.unpaired
    )
    return Table(title, ("instrument", "and", "reason", "detail"), rows)
