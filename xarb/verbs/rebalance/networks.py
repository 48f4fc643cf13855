"""What is known of the networks on which assets leave and reach venues: what venues said, completed by a person's table.

Two venues' networks are the same where they have the same name; those that ccxt gives are unified by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from xarb.catalog import read_entries
from xarb.errors import ConfigError
from xarb.model.units import MONEY_SCALE, Money, parse_money
from xarb.verbs.rebalance.transport import Way

FINEST_STEP: Final = 10 ** (MONEY_SCALE - 8)  # where no step is known: a plan's own choice, finer than a person would care to type


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """One network of an asset on a venue. Amounts are money; None is not known.

    `source` says from where this is known. Whether it is open: None where only the table names it, which cannot know.
    """

    venue: str
    asset: str
    network: str
    deposit_open: bool | None = None
    withdraw_open: bool | None = None
    fee: Money | None = None
    least: Money | None = None
    step: Money | None = None
    minutes: int | None = None
    source: str


class _Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `[[network]]` of a TOML file: amounts are decimal text."""

    venue: str
    asset: str
    network: str
    withdraw_fee: str | None = None
    withdraw_min: str | None = None
    step: str | None = None
    minutes: int | None = None
    source: str
    as_of: str


def read_networks(path: Path) -> list[Network]:
    """The networks of a TOML file of `[[network]]` tables.

    Raises:
        ConfigError: unreadable, unknown keys, wrong types, numbers that are none or below zero, or a network that stands there twice.
    """
    found: dict[tuple[str, str, str], Network] = {}
    for number, entry in enumerate(read_entries(path, "network", _Entry), 1):
        where = f"{path}: network {number} ({entry.asset} on {entry.network} at {entry.venue})"
        try:
            one = Network(
                venue=entry.venue,
                asset=entry.asset,
                network=entry.network,
                fee=_money(entry.withdraw_fee),
                least=_money(entry.withdraw_min),
                step=_money(entry.step),
                minutes=entry.minutes,
                source=f"{path.name}: {entry.source}, {entry.as_of}",
            )
        except ValueError as error:
            raise ConfigError(f"{where}: {error}") from None
        if one.step == 0 or (one.minutes or 0) < 0:
            raise ConfigError(f"{where}: a step is above zero, and minutes are not below it")
        if found.setdefault((one.venue, one.asset, one.network), one) is not one:
            raise ConfigError(f"{where}: stands there twice")
    return list(found.values())


def _money(text: str | None) -> Money | None:
    if text is None:
        return None
    amount = parse_money(text)
    if amount < 0:
        raise ValueError(f"{text} is below zero")
    return amount


def of_wallets(rows: Iterable[Mapping[str, Any]], source: str) -> list[Network]:
    """Rows of `wallets` as networks."""
    return [
        Network(
            venue=row["venue"],
            asset=row["asset"],
            network=row["network"],
            deposit_open=row["deposit_open"],
            withdraw_open=row["withdraw_open"],
            fee=row.get("withdraw_fee"),
            least=row.get("withdraw_min"),
            source=source,
        )
        for row in rows
    ]


def completed(said: Iterable[Network], table: Iterable[Network]) -> list[Network]:
    """What venues said, with what the table adds to it, in order of asset, venue and network.

    What a venue said itself counts before the table. A network that a venue does not list although it lists others of the asset is closed there.
    """
    found = {(one.asset, one.venue, one.network): one for one in said}
    listed = {(asset, venue) for asset, venue, _ in found}
    for one in table:
        key = (one.asset, one.venue, one.network)
        known = found.get(key)
        if known is None:
            is_open = False if key[:2] in listed else None
            found[key] = msgspec.structs.replace(one, deposit_open=is_open, withdraw_open=is_open)
            continue
        given = {
            name: getattr(one, name)
            for name in ("fee", "least", "step", "minutes")
            if getattr(known, name) is None and getattr(one, name) is not None
        }
        found[key] = msgspec.structs.replace(known, **given, source=f"{known.source}; {one.source}" if given else known.source)
    return [found[key] for key in sorted(found)]


def ways_of(networks: Sequence[Network]) -> list[Way]:
    """The ways between venues on networks of one asset that are not closed and whose fee and minimum are known."""
    ways = []
    for start in networks:
        if unusable(start) is not None:
            continue
        assert start.fee is not None
        assert start.least is not None
        for end in networks:
            if end.venue != start.venue and end.network == start.network and end.deposit_open is not False:
                step = FINEST_STEP if start.step is None else start.step
                ways.append(Way(start.venue, end.venue, start.network, start.fee, start.least, step, start.minutes))
    return ways


def unusable(network: Network) -> str | None:
    """Why nothing is withdrawn on a network; None where it can be."""
    if network.withdraw_open is False:
        return "withdrawals suspended"
    if network.fee is None:
        return "fee not known"
    if network.least is None:
        return "minimum not known"
    return None
