"""The check of a config that is to be traded live: its exchanges and accounts as they are now, and what blocks the first trade."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import aiohttp
import msgspec

from xarb.assembly.resolved import opening_balances, resolve
from xarb.config import Experiment
from xarb.console import Table
from xarb.errors import ConfigError, Rejected, Retryable
from xarb.live.exchanges import accounts_of, spot_symbols
from xarb.model.instrument import FeeTier, Instrument
from xarb.model.units import NANOS_PER_MS, format_decimal
from xarb.process import run_loop
from xarb.sources import market_sources, traded_sources
from xarb.starts import LIVE
from xarb.venues.account import Account
from xarb.venues.clock import Clock
from xarb.venues.feeds import AnySource, Source, load_all, measure_offset
from xarb.venues.readiness import Readiness, inspect
from xarb.venues.rest import PublicRest
from xarb.verbs.check import Findings, Sizes, judge
from xarb.verbs.check.senders import Senders, check_senders, lacking_on_the_way
from xarb.verbs.record import estimate

_MONEY: Final = 18


class _Live(msgspec.Struct):
    """What the exchanges said."""

    instruments: list[Instrument]
    exchanges: list[tuple[str, ...]]
    objections: list[str]
    readiness: dict[str, list[Readiness]]  # by venue


def check_live(experiment: Experiment, *, seconds: float) -> tuple[Findings, list[str]]:
    """Look at the exchanges of a config now; what was found, and what forbids a start.

    Args:
        experiment: the config, with `[markets.NAME]` tables.
        seconds: how long market data are recorded to estimate a day's; 0: not at all.

    Raises:
        ConfigError: the config cannot be traded at all.
        Retryable: an exchange could not be reached.
    """
    sources = traded_sources(experiment)
    found = run_loop(_look(experiment, sources))
    resolved = resolve(experiment, found.instruments)
    fees, money = _account_facts(found)
    senders = check_senders(experiment) if experiment.live.mode == LIVE else Senders([], {}, [])
    money |= senders.money
    if experiment.live.mode == LIVE:
        resolved = msgspec.structs.replace(resolved, fees=resolved.fees | fees)
    opening: Mapping[tuple[str, str, str], int] = money if experiment.live.mode == LIVE else opening_balances(resolved)
    tables = [
        _setting(experiment),
        Table("Exchanges", ("venue", "exchange", "decoder", "round trip", "clock", "instruments"), tuple(found.exchanges)),
        *_account_tables(found.readiness),
        *senders.tables,
    ]
    if seconds:
        tables.append(estimate(sources, config=experiment.record, seconds=seconds))
    findings = judge(resolved, found.instruments, [Sizes() for _ in found.instruments], opening, tables)
    on_the_way = lacking_on_the_way(experiment, resolved, found.instruments) if experiment.live.mode == LIVE else []
    return findings, [*found.objections, *senders.objections, *on_the_way]


def check_keys(experiment: Experiment) -> tuple[list[Table], list[str]]:
    """Ask the exchanges what the keys of a config's accounts may do; what was found, and what forbids real orders.

    Raises:
        ConfigError: keys are missing, or may not be read; there are no accounts, or no exchange where keys are of use.
    """
    if not experiment.accounts:
        raise ConfigError(f"{experiment.origin}: there is no [accounts.NAME.VENUE], so there are no keys to check")
    readiness = run_loop(_look_at_keys(experiment, market_sources(experiment)))
    objections = [f"{one.account} at {venue}: {why}" for venue, mine in readiness.items() for one in mine for why in one.objections]
    return _account_tables(readiness)[:1], objections


async def _look_at_keys(experiment: Experiment, sources: Sequence[Source]) -> dict[str, list[Readiness]]:
    found: dict[str, list[Readiness]] = {}
    for venue, accounts in accounts_of(experiment, sources, {}).items():
        found[venue] = [await _inspected(account, venue, ()) for account in accounts]
    return found


async def _look(experiment: Experiment, traded: Sequence[AnySource]) -> _Live:
    by_venue = await load_all(traded)
    sources = [one for one in traded if isinstance(one, Source)]
    instruments = [one for mine in by_venue.values() for one in mine]
    found = _Live(instruments, [], [], {})
    async with aiohttp.ClientSession() as http:
        for source in sources:
            await _measure(experiment, source, http, found, len(by_venue[source.venue]))
    if experiment.live.mode == LIVE:
        for venue, accounts in accounts_of(experiment, sources, spot_symbols(instruments)).items():
            for account in accounts:
                found.readiness.setdefault(venue, []).append(await _inspected(account, venue, instruments))
        found.objections += [
            f"{one.account} at {venue}: {why}" for venue, mine in found.readiness.items() for one in mine for why in one.objections
        ]
    return found


async def _measure(experiment: Experiment, source: Source, http: aiohttp.ClientSession, found: _Live, count: int) -> None:
    """The exchange's row: how far it is, and how its clock goes."""
    wire = source.wire()
    trip = clock = "not known"
    if wire is not None:
        rest = PublicRest(http, source.place.rest_url or wire.rest_url)
        try:
            offset = await measure_offset(source.exchange, rest, Clock().now)
        except Retryable as error:
            clock = f"not known: {error}"
        else:
            trip, clock = (f"{value / NANOS_PER_MS:.1f} ms" for value in (offset.round_trip_ns, offset.offset_ns))
            bound = experiment.live.max_clock_offset_ms
            if experiment.live.mode == LIVE and abs(offset.offset_ns) > bound * NANOS_PER_MS:
                found.objections.append(f"the clock of {source.venue} is {clock} from ours, {bound} ms are allowed for real orders")
    decoder = "none: through ccxt, coalescing" if wire is None else wire.continuity
    found.exchanges.append((source.venue, source.exchange, decoder, trip, clock, f"{count}"))


async def _inspected(account: Account, venue: str, instruments: Sequence[Instrument]) -> Readiness:
    assets = sorted({asset for one in instruments if one.venue == venue for asset in (one.base, one.quote)})
    try:
        await account.open()
        return await inspect(account, venue, assets)
    except (Rejected, Retryable) as error:
        why = f"the exchange does not answer: {error}"
        return Readiness(
            account=account.label,
            exchange=account.terms.exchange,
            venue=venue,
            fingerprint=account.fingerprint,
            clock=None,
            rights=None,
            fees={},
            balances=(),
            wallets=(),
            objections=(why,),
            warnings=(),
        )
    finally:
        await account.close()


def _account_facts(found: _Live) -> tuple[dict[str, FeeTier], dict[tuple[str, str, str], int]]:
    """True fees by instrument, and balances by (account, venue, asset)."""
    fees: dict[str, FeeTier] = {}
    money: dict[tuple[str, str, str], int] = {}
    for venue, mine in found.readiness.items():
        for one in mine:
            fees |= {f"{symbol}@{venue}": tier for symbol, tier in one.fees.items()}
            money |= {(one.account, venue, told.asset): told.free for told in one.balances}
    return fees, money


def _setting(experiment: Experiment) -> Table:
    rows = (
        ("experiment", experiment.origin),
        ("mode", experiment.live.mode),
        ("strategies", ", ".join(sorted(experiment.strategies)) or "NONE: nothing will be decided"),
    )
    return Table("Check", ("what", "value"), rows)


def _account_tables(readiness: Mapping[str, Sequence[Readiness]]) -> list[Table]:
    rows: list[tuple[str, ...]] = []
    money: list[tuple[str, ...]] = []
    for venue, mine in readiness.items():
        for one in mine:
            rights = one.rights
            words = "not known" if rights is None else ", ".join(_right(name, value) for name, value in _rights_of(rights))
            tiers = ", ".join(
                f"{symbol} {format_decimal(tier.taker_ppb, 9)} taker in {tier.asset}" for symbol, tier in one.fees.items()
            )
            verdict = "; ".join(one.objections) or "may trade"
            rows.append((one.account, venue, one.fingerprint, words, tiers or "not known", verdict, "; ".join(one.warnings) or "-"))
            money += [
                (one.account, venue, told.asset, format_decimal(told.free, _MONEY), format_decimal(told.locked, _MONEY))
                for told in one.balances
            ]
    return [
        Table("Accounts", ("account", "venue", "key", "rights", "fees", "verdict", "warnings"), tuple(rows)),
        Table("Balances", ("account", "venue", "asset", "free", "locked"), tuple(money)),
        Table("Networks", ("venue", "asset", "network", "deposit", "withdraw"), _wallets(readiness)),
    ]


def _wallets(readiness: Mapping[str, Sequence[Readiness]]) -> tuple[tuple[str, ...], ...]:
    rows: dict[tuple[str, ...], None] = {}
    for venue, mine in readiness.items():
        for one in mine:
            for row in one.wallets:
                values = row.values
                state = ("open" if values.get(name) else "suspended" for name in ("deposit_open", "withdraw_open"))
                rows[(venue, values["asset"], values["network"], *state)] = None
    return tuple(rows)


def _rights_of(rights: object) -> list[tuple[str, bool | None]]:
    return [(name, getattr(rights, name)) for name in ("can_trade", "can_withdraw", "is_bound_to_addresses")]


def _right(name: str, value: bool | None) -> str:  # noqa: FBT001  # a fact, not a switch
    word = name.replace("_", " ")
    return f"{word}: {'not known' if value is None else 'yes' if value else 'no'}"
