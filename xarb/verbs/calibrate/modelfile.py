"""The text of a model file, as `xarb.config.fitted` reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from xarb.config.fitted import VERSION
from xarb.config.latency import LatencyConfig
from xarb.toml import written as as_toml
from xarb.verbs.calibrate.learning import Fit
from xarb.verbs.calibrate.source import Part, spanned

_HEAD = """\
# What xarb calibrate learnt of exchanges: [venues.NAME] of an experiment takes it with model = "this file" (docs/calibrate.md).
# Latencies are tables of values in ms, shares are of 10000; each value of a table is as likely as any other.
"""


def written(parts: Sequence[Part], fits: Mapping[str, Fit]) -> str:
    """The file: the logs that it was learnt from, then each venue with the number of observations behind each key."""
    text = [_HEAD, f"version = {VERSION}\n"]
    for part in parts:
        begin, end = spanned(part)
        values = {"name": part.folder.resolve().name, "log_id": part.log_id, "digest": part.digest, "start": part.number}
        text.append(_table("[logs]", {**values, "begin": begin, "end": end}))
    for venue, fit in fits.items():
        text.append(_table(f"venues.{as_toml(venue)}", {name: _plain(value) for name, value in fit.keys.items()}))
        text.append(_table(f"venues.{as_toml(venue)}.counts", {name: fit.counts[name] for name in fit.keys}))
    return "\n".join(text)


def _table(name: str, values: Mapping[str, object]) -> str:
    return "".join([f"[{name}]\n", *(f"{key} = {as_toml(value)}\n" for key, value in values.items())])


def _plain(value: object) -> object:
    """A latency as its one key."""
    if not isinstance(value, LatencyConfig):
        return value
    return {name: part for name, part in msgspec.structs.asdict(value).items() if part is not None}
