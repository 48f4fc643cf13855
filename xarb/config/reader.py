"""Turns what a TOML file says into structs: exact numbers within their bounds, and errors that name the key and what is allowed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from xarb.errors import ConfigError

_Section = TypeVar("_Section", bound=msgspec.Struct)
# By the unit in a key's name: decimals that the unit is kept at, and a bound that no sensible value reaches and every sum can hold.
_UNITS: Final = {"_ms": (6, 10**11), "_bps": (5, 10**9)}
_AMOUNT: Final = (18, 10**18)
_ABOVE_ZERO: Final = (
    "score_ms",
    "assumed_qty",
    "rate_limit_per_s",
    "max_notional_quote",
    "execution_timeout_ms",
    "price_update_interval_ms",
    "error_recovery_ms",
    "pause_ms",
    "probe_quote",
)


class Reader:
    """Turns raw TOML into structs; keeps where each value came from."""

    def __init__(self, path: Path, given: dict[str, str]) -> None:
        self.path = path
        self.sources = given

    def place(self, where: str) -> str:
        """A key with its file, for messages."""
        return f"{self.path}: {where}"

    def table(self, raw: dict[str, Any], name: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """The named tables below a section."""
        section = raw.get(name, {})
        if not isinstance(section, dict) or any(not isinstance(part, dict) for part in section.values()):
            raise ConfigError(f"{self.path}: {name} must be written as [{name}.NAME] tables")
        yield from section.items()

    def sections(self, raw: dict[str, Any], name: str, kind: type[_Section]) -> Iterator[_Section]:
        """The structs of `[[name]]` tables, in order."""
        found = raw.get(name, [])
        if not isinstance(found, list):
            raise ConfigError(f"{self.path}: {name} must be written as [[{name}]] tables")
        for number, part in enumerate(found, start=1):
            yield self.section(part, kind, f"{name} number {number}")

    def section(self, raw: object, kind: type[_Section], where: str) -> _Section:
        """A section as its struct."""
        if not isinstance(raw, dict):
            raise ConfigError(f"{self.path}: {where} must be a table")
        fields = {field.name: field for field in msgspec.structs.fields(kind)}
        for key in raw:
            if key not in fields:
                raise ConfigError(f"{self.path}: unknown key {where}.{key}; allowed: {', '.join(fields)}")
        for name, field in fields.items():
            if field.required and name not in raw:
                raise ConfigError(f"{self.path}: {where}.{name} is missing: {describe(kind, name)}")
        for key, value in raw.items():
            self.convert(value, fields[key].type, f"{where}.{key}")
        made: _Section = self.convert(raw, kind, where)
        for name in fields:
            self._check(getattr(made, name), f"{where}.{name}")
            if name in _ABOVE_ZERO and getattr(made, name) == 0:
                raise ConfigError(f"{self.path}: {where}.{name} = 0: allowed are numbers above 0")
        return made

    def convert(self, value: object, kind: Any, where: str) -> Any:
        """A value as its type."""
        try:
            return msgspec.convert(_as_text(value), kind, strict=False)
        except msgspec.ValidationError as error:
            words = choices(kind)
            why = f"allowed: {', '.join(words)}" if words else str(error)
            raise ConfigError(f"{self.path}: {where} = {shown(value)}: {why}") from None

    def amounts(self, value: object, kind: Any, where: str) -> Any:
        """Named amounts, such as `[accounts.NAME.VENUE]` tables of asset = opening balance."""
        found = self.convert(value, kind, where)
        self._check(found, where)
        return found

    def _check(self, value: object, where: str) -> None:
        """Decimals are finite, not below zero (only a schedule's rebate is, and that is not in here) and exact in their unit."""
        if isinstance(value, msgspec.Struct):
            value = msgspec.structs.asdict(value)
        if isinstance(value, dict):
            for name, part in value.items():
                self._check(part, f"{where}.{name}")
        elif isinstance(value, tuple):
            for part in value:
                self._check(part, where)
        elif isinstance(value, Decimal):
            keys = (where, where.rpartition(".")[0])  # of an amount by asset the key before it names the unit
            decimals, bound = next((unit for end, unit in _UNITS.items() if any(key.endswith(end) for key in keys)), _AMOUNT)
            if not (value.is_finite() and 0 <= value < bound and _decimals(value) <= decimals):
                raise ConfigError(
                    f"{self.path}: {where} = {value}: allowed are numbers from 0 on, below {bound}, with at most {decimals} decimals"
                )


def _decimals(value: Decimal) -> int:
    """Decimals that a finite value needs, without trailing zeros."""
    _, digits, exponent = value.as_tuple()
    text = "".join(map(str, digits))
    kept = text.rstrip("0")
    return max(0, len(kept) - len(text) - int(exponent)) if kept else 0


def describe(kind: type[msgspec.Struct], name: str) -> str:
    """What a key means, from its field."""
    hint = get_type_hints(kind, include_extras=True)[name]
    return next((meta.description for meta in getattr(hint, "__metadata__", ()) if meta.description), "")


def choices(kind: Any) -> tuple[str, ...]:
    """The words that a key takes, where it takes words."""
    if get_origin(kind) is Literal:
        return get_args(kind)
    return next((found for part in get_args(kind) if (found := choices(part))), ())


def _as_text(value: object) -> object:
    """Integers and times as text too, so that a decimal key takes 2, 2.5 and "2.5" alike; a bool stays one."""
    if isinstance(value, dict):
        return {key: _as_text(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_as_text(part) for part in value]
    if isinstance(value, dt.datetime | dt.date):
        return value.isoformat()
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def normal(value: object) -> Any:
    """Numbers as one text whatever way they were written, tables without the absent."""
    if isinstance(value, dict):
        return {key: normal(part) for key, part in value.items() if part is not None}
    if isinstance(value, list | tuple):
        return [normal(part) for part in value]
    return shown(value) if isinstance(value, Decimal) else value


def shown(value: object) -> str:
    """A value as a person writes it."""
    if isinstance(value, Decimal):
        text = f"{value:f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {shown(part)}" for key, part in value.items() if part is not None) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(shown(part) for part in value) + "]"
    return str(value)
