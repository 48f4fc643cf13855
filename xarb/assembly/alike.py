"""Which settings may change while something is going on, and whether what went on fits what it goes on as."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final

from xarb.assembly.resolved import Resolved, encode_config
from xarb.engine.results import currencies_of
from xarb.engine.strategy import Pair
from xarb.errors import ConfigError
from xarb.settings import strategy_terms

_LAID = "what is compared, and on whose account, is laid out before the first input"
_MONEY = "what accounts hold then follows from what happened; a deposit is no parameter"
_NAMED = "instruments, venues and chains are those that the run began with"
_CHAIN = "what a chain's tokens and lenders are does not change in its midst"
# What cannot change in the midst of a run, as patterns of dotted keys, and why.
FIXED: Final = (
    ("run.log", "a branch goes on over the inputs of what it branches from"),
    ("run.start", "a branch goes on over the inputs of what it branches from"),
    ("run.end", "a branch goes on over the inputs of what it branches from"),
    ("run.currencies", "both sides are stated in the same currencies"),
    ("run.assets_file", _LAID),
    ("accounts", _MONEY),
    ("accounts.*", _MONEY),
    *(
        (f"venues.*.{key}", "what a model file said stands in the section; set the keys themselves")
        for key in ("model", "model_sha256")
    ),
    ("venues.*.book_source", "which rows move a book is laid out before the first input"),
    *(
        (f"strategies.*.{key}", _LAID)
        for key in ("kind", "code", "code_sha256", "account", "venues", "symbols", "start_assets", "max_legs")
    ),
    *((f"onchain.*.own.{key}", _CHAIN) for key in ("native", "wrapped", "coins", "coins.*")),
    ("onchain.*.lenders", _CHAIN),
    ("onchain.*.lenders.*", _CHAIN),
    ("onchain.*.simulated.receipt_ms", "receipts may be on their way"),
)
_SECTIONS: Final = ("venues", "strategies", "onchain")  # whose names are fixed
_COUNTED: Final = ("daily_volume_quote", "daily_symbol_quote", "daily_venue_quote")


def check_changes(before: Resolved, after: Resolved) -> list[tuple[str, Any, Any]]:
    """Each setting that differs, with its value before and after, in order; None where it is not set.

    Raises:
        ConfigError: one cannot change in the midst of a run; the message names it and says why.
    """
    one, other = encode_config(before), encode_config(after)
    for section in _SECTIONS:
        if one[section].keys() != other[section].keys():
            names = ", ".join(sorted(one[section].keys() ^ other[section].keys()))
            more = "; a strategy is switched off with --off" if section == "strategies" else ""
            raise ConfigError(f"[{section}.{names}] cannot come or go in the midst of a run: {_NAMED}{more}")
    mine, theirs = dict(_leaves(one)), dict(_leaves(other))
    changes = [(key, mine.get(key), theirs.get(key)) for key in sorted({*mine, *theirs}) if mine.get(key) != theirs.get(key)]
    for key, _, _ in changes:
        check_key(key)
    for name, config in after.strategies.items():
        _check_counts(name, before, config)
    return changes


def check_key(key: str) -> None:
    """Refuse a setting that cannot change in the midst of a run.

    Raises:
        ConfigError: it is such a one; the message says why.
    """
    why = next((why for pattern, why in FIXED if fnmatchcase(key, pattern)), None)
    if why is not None:
        raise ConfigError(f"{key} cannot change in the midst of a run: {why}")


def _check_counts(name: str, before: Resolved, after: Any) -> None:
    """A limit of what was made in a day needs what was made before: it is counted only where such a limit stands.

    Raises:
        ConfigError: there was none.
    """
    was = before.strategies[name]
    for new in currencies_of(strategy_terms(after).limits):
        if new not in currencies_of(strategy_terms(was).limits):
            raise ConfigError(
                f"strategies.{name} had no max_day_loss and no max_drawdown in {new}, so that nobody followed what it made; branch from a run "
                "with one that is too large to matter"
            )


def check_alike(before: Sequence[tuple[str, Pair]], after: Sequence[tuple[str, Pair]]) -> None:
    """What stands open rests on pairs: they must be the same ones, whatever their fees and thresholds are.

    Raises:
        ConfigError: they are not.
    """
    for (owner, one), (other, two) in zip(before, after, strict=False):
        if (owner, *_identity(one)) != (other, *_identity(two)):
            break
    else:
        if len(before) == len(after):
            return
    raise ConfigError(
        f"these settings have other pairs compared ({len(after)} in place of {len(before)}): {_LAID}; run a backtest with them instead"
    )


def _identity(pair: Pair) -> tuple[int, int, int, str, bool]:
    return pair.sell, pair.buy, pair.convert, pair.convert_side, pair.premium


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        elif value not in (None, {}):
            yield f"{prefix}{key}", value
