"""The reference data that ships with xarb: assets, instruments and fee schedules, read from the TOML files in `data/`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from xarb import toml
from xarb.errors import ConfigError
from xarb.model.asset import Asset, AssetTable
from xarb.model.columns import CONTRACT_KINDS, INSTRUMENT_KINDS
from xarb.model.instrument import FeeTier, Instrument
from xarb.model.units import MAX_SCALE, parse_decimal, parse_money, parse_ratio

_MOST_FEE: Final = parse_ratio("0.1")  # figures in bps or percent lie above it
_PACKAGE: Final = Path(__file__).resolve().parent
_T = TypeVar("_T", bound=msgspec.Struct)


def data_dir() -> Path:
    """The folder of the shipped reference data: `data/` beside the package in a checkout, within it when installed; the shipped recording and its experiment lie beside it.

    Raises:
        ConfigError: neither is there; the installation is incomplete.
    """
    for folder in (_PACKAGE.parent / "data", _PACKAGE / "_shipped" / "data"):
        if (folder / "assets.toml").is_file():
            return folder
    raise ConfigError(
        f"reference data not found: neither {_PACKAGE.parent / 'data'} nor {_PACKAGE / '_shipped' / 'data'} holds assets.toml"
    )


class Instruments:
    """Instruments by (venue, symbol) and by (venue, native name).

    Raises:
        ConfigError: two entries share a symbol or a native name on one venue.
    """

    def __init__(self, instruments: Iterable[Instrument]) -> None:
        self._by_symbol: dict[tuple[str, str], Instrument] = {}
        self._by_native: dict[tuple[str, str], Instrument] = {}
        for one in instruments:
            for table, name in ((self._by_symbol, one.symbol), (self._by_native, one.native)):
                if table.setdefault((one.venue, name), one) is not one:
                    raise ConfigError(f"{one.origin}: {name!r} on {one.venue} is listed twice")

    def __iter__(self) -> Iterator[Instrument]:
        return iter(self._by_symbol.values())

    def __len__(self) -> int:
        return len(self._by_symbol)

    def find(self, venue: str, symbol: str) -> Instrument | None:
        """The instrument of that unified symbol, None when it is not listed."""
        return self._by_symbol.get((venue, symbol))

    def find_native(self, venue: str, native: str) -> Instrument | None:
        """The instrument that the venue calls `native`, None when it is not listed."""
        return self._by_native.get((venue, native))

    def require(self, venue: str, symbol: str) -> Instrument:
        """The instrument of that unified symbol.

        Raises:
            ConfigError: not listed; the message names the symbols of that venue that are.
        """
        found = self.find(venue, symbol)
        if found is None:
            there = ", ".join(sorted(s for v, s in self._by_symbol if v == venue)) or "none"
            raise ConfigError(f"no instrument {symbol}@{venue}; listed on {venue}: {there}. Add it to an instruments file")
        return found

    def extended(self, more: Iterable[Instrument]) -> Instruments:
        """A table with `more` added; an entry in it replaces one of the same venue and symbol."""
        merged = {(one.venue, one.symbol): one for one in (*self, *more)}
        return Instruments(merged.values())


class _InstrumentEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `[[instrument]]` of a TOML file: numbers are decimal text, scales follow from the steps unless stated."""

    venue: str
    symbol: str
    native: str
    kind: str
    base: str
    quote: str
    settle: str | None = None
    tick: str | None = None
    lot: str | None = None
    px_scale: int | None = None
    qty_scale: int | None = None
    min_qty: str | None = None
    min_notional: str | None = None
    contract: str = "none"
    contract_size: str | None = None
    active: bool = True
    source: str = ""


class _FeeEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One `[name]` of fees.toml: ratios are decimal text."""

    venue: str
    maker: str
    taker: str
    asset: str = "quote"
    source: str
    as_of: str


class FeeSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """A named fee schedule: the venue it belongs to, its tier, and the day for which the figures were true."""

    name: str
    venue: str
    tier: FeeTier
    as_of: str


def read_assets(path: Path) -> AssetTable:
    """The assets of a TOML file of `[[asset]]` tables.

    Raises:
        ConfigError: unreadable, unknown keys, wrong types, or a name claimed twice.
    """
    entries = _tables(path, "asset")
    return AssetTable(_converted(entry, Asset, path, f"asset {number}") for number, entry in enumerate(entries, 1))


def read_instruments(path: Path) -> Instruments:
    """The instruments of a TOML file of `[[instrument]]` tables.

    Raises:
        ConfigError: unreadable, unknown keys, wrong types, numbers that are none, or a name listed twice.
    """
    found = []
    for number, raw in enumerate(_tables(path, "instrument"), 1):
        entry = _converted(raw, _InstrumentEntry, path, f"instrument {number}")
        try:
            found.append(_instrument(entry, path.name))
        except ValueError as error:
            raise ConfigError(f"{path}: instrument {number} ({entry.symbol}@{entry.venue}): {error}") from None
    return Instruments(found)


def read_entries(path: Path, name: str, kind: type[_T]) -> list[_T]:
    """The `[[name]]` tables of a TOML file, in order; their numbers are decimal text where `kind` has text.

    Raises:
        ConfigError: unreadable, unknown keys or wrong types.
    """
    return [_converted(entry, kind, path, f"{name} {number}") for number, entry in enumerate(_tables(path, name), 1)]


def read_fees(path: Path) -> dict[str, FeeSchedule]:
    """The fee schedules of a TOML file, one table per name.

    Raises:
        ConfigError: unreadable, unknown keys, wrong types, or ratios that are no numbers.
    """
    found = {}
    for name, raw in toml.read(path).items():
        entry = _converted(raw, _FeeEntry, path, name)
        try:
            maker, taker = parse_ratio(entry.maker), parse_ratio(entry.taker)
        except ValueError as error:
            raise ConfigError(f"{path}: {name}: {error}") from None
        if max(abs(maker), abs(taker)) >= _MOST_FEE:
            raise ConfigError(
                f"{path}: {name}: maker {entry.maker}, taker {entry.taker}: a fee is a ratio of the notional, 0.001 for 10 bps"
            )
        tier = FeeTier(maker_ppb=maker, taker_ppb=taker, asset=entry.asset, source=f"{entry.source}, {entry.as_of}")
        found[name] = FeeSchedule(name=name, venue=entry.venue, tier=tier, as_of=entry.as_of)
    return found


@cache
def load_assets() -> AssetTable:
    """The shipped assets."""
    return read_assets(data_dir() / "assets.toml")


@cache
def load_instruments() -> Instruments:
    """The shipped instruments."""
    return read_instruments(data_dir() / "instruments.toml")


@cache
def load_fees() -> Mapping[str, FeeSchedule]:
    """The shipped fee schedules by name, such as `binance-spot-vip0`."""
    return read_fees(data_dir() / "fees.toml")


def _instrument(entry: _InstrumentEntry, origin: str) -> Instrument:
    if entry.kind not in INSTRUMENT_KINDS:
        raise ValueError(f"kind {entry.kind!r} is none of {', '.join(INSTRUMENT_KINDS)}")
    if entry.contract not in CONTRACT_KINDS:
        raise ValueError(f"contract {entry.contract!r} is none of {', '.join(CONTRACT_KINDS)}")
    if (entry.contract == "none") != (entry.contract_size is None):
        raise ValueError("contract_size is stated for contracts, and only for them")
    px_scale, tick = _step(entry.tick, entry.px_scale, "tick")
    qty_scale, lot = _step(entry.lot, entry.qty_scale, "lot")
    return Instrument(
        venue=entry.venue,
        symbol=entry.symbol,
        native=entry.native,
        kind=entry.kind,
        base=entry.base,
        quote=entry.quote,
        settle=entry.settle or entry.quote,
        px_scale=px_scale,
        qty_scale=qty_scale,
        tick_int=tick,
        lot_int=lot,
        min_qty=None if entry.min_qty is None else parse_money(entry.min_qty),
        min_notional=None if entry.min_notional is None else parse_money(entry.min_notional),
        contract=entry.contract,
        contract_size=None if entry.contract_size is None else parse_money(entry.contract_size),
        active=entry.active,
        origin=f"{origin}: {entry.source}" if entry.source else origin,
    )


def _step(step: str | None, scale: int | None, name: str) -> tuple[int, int | None]:
    """The scale and the step at it; a step needs no scale, a scale may be finer than the step."""
    if step is None:
        if scale is None:
            raise ValueError(f"neither {name} nor its scale is stated")
        if not 0 <= scale <= MAX_SCALE:
            raise ValueError(f"the scale of {name} lies outside 0 to {MAX_SCALE}")
        return scale, None
    digits, own = parse_decimal(step)
    wanted = own if scale is None else scale
    if digits <= 0:
        raise ValueError(f"{name} {step} is not above zero")
    if not own <= wanted <= MAX_SCALE:
        raise ValueError(f"{name} {step} does not fit the scale {wanted}; at most {MAX_SCALE} decimals are held")
    return wanted, digits * 10 ** (wanted - own)


def _tables(path: Path, name: str) -> list[Any]:
    found = toml.read(path)
    for key in found:
        if key != name:
            raise ConfigError(f"{path}: unknown key {key!r}; allowed: {name}")
    entries = found.get(name, [])
    if not isinstance(entries, list):
        raise ConfigError(f"{path}: {name} must be written as [[{name}]] tables")
    return entries


def _converted(raw: Any, kind: type[_T], path: Path, what: str) -> _T:
    names = {field.encode_name for field in msgspec.structs.fields(kind)}
    for key in raw if isinstance(raw, dict) else ():
        if key not in names:
            raise ConfigError(f"{path}: {what}: unknown key {key!r}; allowed: {', '.join(sorted(names))}")
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {what}: {error}") from None
