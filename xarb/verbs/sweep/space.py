"""What a sweep tries: values and ranges by dotted key, every combination of them, and random draws that come again by their seed."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from itertools import product
from typing import Any, Final

import msgspec

from xarb.errors import ConfigError
from xarb.toml import written

Settings = dict[str, str]
"""By dotted key a value as TOML text, as `--set` takes them."""

MAX_VALUES: Final = 100_000
MAX_STEPS: Final = 10**15  # a double still tells them apart
_RANGE: Final = ("low", "high", "step", "log")
_NUMBER: Final = re.compile(r"-?\d{1,18}(\.\d{1,18})?")
# What a backtest heeds. Which rows are read is the same for all trials, since they are decoded once.
_DECIDING: Final = ("run", "feeds", "breakers", "venues", "accounts", "inventory", "pegs", "rates", "strategies", "onchain")
_NOT_TRIED: Final = ("run.log", "run.start", "run.end", "run.currencies")


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """One key and what is tried of it: `values` as TOML text, or numbers from `low` to `high` by `step`.

    A range with `is_log` is drawn evenly over orders of magnitude, and rounded to its step.
    """

    key: str
    values: tuple[str, ...] = ()
    low: Decimal = Decimal(0)
    high: Decimal = Decimal(0)
    step: Decimal = Decimal(1)
    is_log: bool = False
    has_step: bool = True

    @property
    def count(self) -> int:
        """How many values there are."""
        return len(self.values) or int((self.high - self.low) // self.step) + 1

    def value(self, number: int) -> str:
        """One of the values, by number from 0."""
        return self.values[number] if self.values else f"{self.low + number * self.step:f}"

    def nearest(self, value: float) -> str:
        """The value of a range that lies next to a number."""
        number = round((value - float(self.low)) / float(self.step))
        return self.value(min(max(number, 0), self.count - 1))

    def ends(self) -> tuple[str, ...]:
        """All values of a list, the first and the last one of a range: if these are allowed, all are."""
        return self.values or (self.value(0), self.value(self.count - 1))


def parameters(raw: Mapping[str, Any], where: str) -> tuple[Parameter, ...]:
    """The parameters of `[sweep.parameters]` in order of their keys, which may be written as one dotted text or as nested tables.

    Args:
        raw: the section.
        where: its place, for messages.

    Raises:
        ConfigError: none, a key that no backtest heeds, one that is there twice, or what is neither a list of values nor a range.
    """
    found: dict[str, Parameter] = {}
    for key, value in _leaves(raw):
        place = f"{where}.{key}"
        if key.partition(".")[0] not in _DECIDING or key in _NOT_TRIED or "." not in key:
            allowed = ", ".join(_DECIDING)
            raise ConfigError(
                f"{place}: no backtest of one log heeds it; keys of {allowed} can be tried, without {', '.join(_NOT_TRIED)}"
            )
        if key in found:
            raise ConfigError(f"{place} is written twice")
        found[key] = _range(key, value, place) if isinstance(value, dict) else _list(key, value, place)
    if not found:
        raise ConfigError(f'{where} is missing: what is tried, such as "strategies.cross.open_bps" = [4, 6, 8]')
    return tuple(found[key] for key in sorted(found))


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict) and not set(value) & set(_RANGE):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _list(key: str, value: object, place: str) -> Parameter:
    if not isinstance(value, list) or not value:
        raise ConfigError(f"{place}: must be a list of values or a range such as {{ low = 2, high = 10, step = 0.5 }}")
    values = tuple(written(_plain(one)) for one in value)
    if len(set(values)) < len(values):
        raise ConfigError(f"{place}: a value is there twice")
    return Parameter(key=key, values=values)


def _plain(value: object) -> object:
    """A value with numbers as such, which sections have as text."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return Decimal(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else value


def _range(key: str, value: Mapping[str, Any], place: str) -> Parameter:
    strange = [name for name in value if name not in _RANGE]
    if strange or "low" not in value or "high" not in value:
        raise ConfigError(f"{place}: a range has low and high, and may have step, or log = true")
    low, high = (_number(value[name], f"{place}.{name}") for name in ("low", "high"))
    finest = max(_decimals(low), _decimals(high))
    step = _number(value["step"], f"{place}.step") if "step" in value else Decimal(1).scaleb(-finest)
    is_log = value.get("log", False)
    if not isinstance(is_log, bool):
        raise ConfigError(f"{place}.log = {is_log}: allowed: true, false")
    if step <= 0 or low >= high or (is_log and low <= 0):
        raise ConfigError(f"{place}: low must be below high, step above 0, and of log = true low above 0")
    if (high - low) / step > MAX_STEPS:
        raise ConfigError(f"{place}: more than {MAX_STEPS} values; take a longer step, or fewer decimals")
    return Parameter(key=key, low=low, high=high, step=step, is_log=is_log, has_step="step" in value)


def _number(value: object, place: str) -> Decimal:
    if isinstance(value, bool) or not _NUMBER.fullmatch(str(value)):
        raise ConfigError(f"{place} = {value}: must be a number with at most 18 digits before and behind the point")
    return Decimal(str(value))


def _decimals(value: Decimal) -> int:
    return -int(value.as_tuple().exponent)


def grid(space: tuple[Parameter, ...], limit: int, where: str) -> list[Settings]:
    """Every combination, the last key's values changing fastest.

    Raises:
        ConfigError: there are more than `limit`, or a range has no step.
    """
    for one in space:
        if not one.has_step:
            raise ConfigError(f"{where}.parameters.{one.key}: a grid needs a step, or a list of values")
    count = math.prod(one.count for one in space)
    if count > limit:
        raise ConfigError(f"{where}: the grid has {count} combinations, allowed are {limit}: fewer values, or method = random")
    return [
        dict(zip((one.key for one in space), values, strict=True))
        for values in product(*([one.value(number) for number in range(one.count)] for one in space))
    ]


def drawn(space: tuple[Parameter, ...], seed: int, number: int) -> Settings:
    """Trial `number` of a random search: it is the same one however many there are."""
    return {one.key: _drawn(one, random.Random(f"sweep {seed} {number} {one.key}")) for one in space}  # noqa: S311  # a search's draw


def _drawn(one: Parameter, chance: random.Random) -> str:
    if one.is_log:
        low, high = float(one.low), float(one.value(one.count - 1))
        return one.nearest(low * (high / low) ** chance.random())
    return one.value(chance.randrange(one.count))
