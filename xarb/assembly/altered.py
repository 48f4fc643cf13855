"""A run's config with some of its settings changed: read and checked again as the experiment file that it stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from xarb.assembly.alike import check_key
from xarb.assembly.resolved import Resolved, encode_config, resolve
from xarb.config import Draft
from xarb.errors import ConfigError
from xarb.model.instrument import Instrument

# What a backtest heeds of an experiment file.
_DECIDING: Final = ("run", "feeds", "breakers", "venues", "accounts", "inventory", "pegs", "rates", "strategies", "onchain")
_NAME: Final = Path("the run's config")


def altered(before: Resolved, settings: Mapping[str, str], instruments: Sequence[Instrument]) -> Resolved:
    """The config with these dotted keys set, as `--set` sets them; fees, assets and code that are not concerned stay what they were.

    Raises:
        ConfigError: a key is unknown, out of range, nothing that a backtest heeds, or nothing that may change in the midst of a run.
    """
    for key in settings:
        if key.partition(".")[0] not in _DECIDING or "." not in key:
            raise ConfigError(f"--set {key}: no backtest heeds it; keys of {', '.join(_DECIDING)} can be set")
        check_key(key)
    draft = Draft(_NAME, _file_of(before), {})
    if _made(before, draft, {}, instruments) != before:
        raise ConfigError("the run's config cannot be read again as an experiment by this version")
    return _made(before, draft, settings, instruments)


def _made(before: Resolved, draft: Draft, settings: Mapping[str, str], instruments: Sequence[Instrument]) -> Resolved:
    made = resolve(draft.experiment(settings), instruments, before=before)
    venues = {
        name: msgspec.structs.replace(one, model_sha256=before.venues[name].model_sha256) if name in before.venues else one
        for name, one in made.venues.items()
    }
    return msgspec.structs.replace(made, venues=venues, added_latency_ns=before.added_latency_ns)


def _file_of(resolved: Resolved) -> dict[str, Any]:
    """The tables of the experiment file that the config stands for, without keys that have their default."""
    plain = encode_config(resolved)
    raw: dict[str, Any] = {key: plain[key] for key in ("accounts", "pegs", "rates")}
    for key in ("run", "feeds", "breakers", "inventory"):
        raw[key] = _stated(getattr(resolved, key), plain[key])
    for key in ("venues", "strategies"):  # what a model file said of a venue stands in its section
        raw[key] = {name: _stated(one, plain[key][name]) for name, one in getattr(resolved, key).items()}
    raw["onchain"] = {
        name: _stated(one.own, plain["onchain"][name]["own"])
        | {
            "lenders": plain["onchain"][name]["lenders"],
            "simulated": _stated(one.simulated, plain["onchain"][name]["simulated"]),
        }
        for name, one in resolved.onchain.items()
    }
    return raw


def _stated(section: msgspec.Struct, plain: Mapping[str, Any]) -> dict[str, Any]:
    """Of a section as plain data what is not its default."""
    defaults = {field.name: field.default for field in msgspec.structs.fields(section)}
    dropped = {name for name, default in defaults.items() if default is not msgspec.NODEFAULT and getattr(section, name) == default}
    empty = {name for name in defaults if getattr(section, name) in ({}, (), None)}
    return {name: value for name, value in plain.items() if name not in dropped | empty | {"model_sha256"}}
