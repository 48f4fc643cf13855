"""`xarb serve --config FILE`: accounts, API keys, fees and limits of the served exchange, and the faults it is to show.

The keys are those of a paper exchange: they open nothing else, so they stand in the file.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar

import msgspec

from xarb import toml
from xarb.errors import ConfigError
from xarb.model.instrument import FeeTier, Instrument
from xarb.model.units import Money, Ppb, parse_bps, parse_money

Permission = Literal["read", "trade", "withdraw"]
_Read = TypeVar("_Read")
Count = Annotated[int, msgspec.Meta(ge=1, le=10**9)]
DEMO_KEY: Final = "xarb-demo-key"
DEMO_SECRET: Final = "xarb-demo-secret"  # noqa: S105  # of a paper account, printed at start
_DEMO_QUOTE: Final = Decimal(1_000_000)
_DEMO_BASE: Final = Decimal(100)


class KeyConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[keys.NAME]`: one API key. `secret` signs with HMAC, `public_key` (PEM) checks Ed25519 signatures: exactly one of them.

    `passphrase` is OKX's third word.
    """

    account: str
    api_key: str
    secret: str | None = None
    public_key: str | None = None
    passphrase: str | None = None
    permissions: tuple[Permission, ...] = ("read", "trade")


class VenueTerms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[venues.NAME]`: what the served venue charges and allows.

    assumed_qty: base units taken for sizes that the log does not give; without it such levels are not shown.
    book_source: rows that move the books; else deltas, then books, then quotes, whatever the log has of an instrument.
    suspended: assets whose deposits and withdrawals it says are closed.
    """

    maker_bps: Decimal = Decimal(10)
    taker_bps: Decimal = Decimal(10)
    fee_asset: Literal["received", "quote", "base"] = "received"
    assumed_qty: Decimal | None = None
    max_open_orders: Count = 200
    book_source: Literal["deltas", "books", "quotes"] | None = None
    suspended: tuple[str, ...] = ()

    @property
    def tier(self) -> FeeTier:
        """The fees as the simulated venue takes them."""
        return FeeTier(
            maker_ppb=ratio_of(self.maker_bps), taker_ppb=ratio_of(self.taker_bps), asset=self.fee_asset, source="serve config"
        )


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[limits]`: rate limits of every served venue, with the figures of Binance spot (its exchangeInfo and limits page, 2026-02)."""

    weight_1m: Count = 6000
    orders_10s: Count = 100
    orders_1d: Count = 200_000
    connections_5m: Count = 300
    frames_1s: Count = 5  # client frames a stream socket, pings among them
    streams: Count = 1024  # a socket
    requests_2s: Count = 60  # OKX: requests of one path and address
    orders_2s: Count = 60  # OKX: orders of an account
    connections_1s: Count = 3  # OKX: sockets of an address
    queued_frames: Count = 100_000  # frames that wait for one socket; a client further behind is cut off (ours, not Binance's)
    tolerated: Count = 20  # requests after a 429 until the address is banned (418)
    ban_s: Count = 120


class ServeConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything of a served exchange but its log. Balances: `[accounts.NAME.VENUE]` with `ASSET = amount`."""

    keys: dict[str, KeyConfig] = {}
    accounts: dict[str, dict[str, dict[str, Decimal]]] = {}
    venues: dict[str, VenueTerms] = {}
    limits: Limits = Limits()

    def opening(self) -> dict[tuple[str, str, str], Money]:
        """Opening balances by (account, venue, asset)."""
        return {
            (account, venue, asset): money_of(amount)
            for account, venues in self.accounts.items()
            for venue, balances in venues.items()
            for asset, amount in balances.items()
        }


def load_config(path: Path) -> ServeConfig:
    """Read and check a config.

    Raises:
        ConfigError: not readable, a key that is not known, a value out of range, or parts that do not fit together.
    """
    config = read_toml(path, ServeConfig)
    taken: set[str] = set()
    for name, key in config.keys.items():
        where = f"{path}: keys.{name}"
        if (key.secret is None) == (key.public_key is None):
            raise ConfigError(f"{where}: state exactly one of secret and public_key")
        if key.account not in config.accounts:
            raise ConfigError(f"{where}.account = {key.account}: no such account; known: {', '.join(config.accounts) or 'none'}")
        if key.api_key in taken:
            raise ConfigError(f"{where}.api_key: another key has it too")
        taken.add(key.api_key)
    for place, amount in config.opening().items():
        if amount < 0:
            raise ConfigError(f"{path}: accounts.{'.'.join(place)} is negative")
    for name, terms in config.venues.items():
        _checked(f"{path}: venues.{name}", terms)
    return config


def _checked(where: str, terms: VenueTerms) -> None:
    try:
        _ = terms.tier
        assumed = None if terms.assumed_qty is None else money_of(terms.assumed_qty)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None
    if assumed is not None and assumed <= 0:
        raise ConfigError(f"{where}.assumed_qty: must be above zero")


def demo_config(instruments: Iterable[Instrument]) -> ServeConfig:
    """One account `demo` with money in every asset of the instruments and a key that is printed at start: what serves without a config."""
    balances: dict[str, dict[str, Decimal]] = {}
    for one in instruments:
        mine = balances.setdefault(one.venue, {})
        mine.setdefault(one.base, _DEMO_BASE)
        mine[one.quote] = _DEMO_QUOTE
    key = KeyConfig(account="demo", api_key=DEMO_KEY, secret=DEMO_SECRET, passphrase=DEMO_SECRET)
    return ServeConfig(keys={"demo": key}, accounts={"demo": balances})


def read_toml(path: Path, kind: type[_Read]) -> _Read:
    """A TOML file as a struct; numbers with a point are read as decimal text.

    Raises:
        ConfigError: names the file and the key.
    """
    plain = toml.read(path, parse_float=Decimal)
    try:
        return msgspec.convert(plain, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {error}") from None


def money_of(amount: Decimal) -> Money:
    """An amount as money, exact.

    Raises:
        ConfigError: finer than 18 decimals.
    """
    try:
        return parse_money(f"{amount:f}")
    except ValueError as error:
        raise ConfigError(str(error)) from None


def ratio_of(bps: Decimal) -> Ppb:
    """Basis points as parts per billion, exact.

    Raises:
        ConfigError: finer than 0.00001 bps.
    """
    try:
        return parse_bps(f"{bps:f}")
    except ValueError as error:
        raise ConfigError(str(error)) from None


__all__ = [
    "DEMO_KEY",
    "DEMO_SECRET",
    "KeyConfig",
    "Limits",
    "Permission",
    "ServeConfig",
    "VenueTerms",
    "demo_config",
    "load_config",
    "money_of",
    "ratio_of",
    "read_toml",
]
