"""Model files: what `xarb calibrate` learnt of venues, and how a `[venues.NAME]` section takes it in place of defaults."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from xarb import toml
from xarb.config.latency import LatencyConfig
from xarb.config.reader import Reader
from xarb.errors import ConfigError

VERSION: Final = 1
SOURCE: Final = "model file"


class FittedLog(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[[logs]]` of a model file: one start of a log that it was learnt from; times are ISO 8601, UTC."""

    name: str
    log_id: str
    digest: str
    start: int
    begin: str
    end: str


class FittedVenue(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[venues.NAME]` of a model file: keys of an experiment's section of that name; what was not learnt is absent.

    `counts` says on how many observations each rests.
    """

    order_latency: LatencyConfig | None = None
    feed_latency: LatencyConfig | None = None
    response_latency: LatencyConfig | None = None
    reject_bps: dict[str, Decimal] | None = None
    fill_share_bps: tuple[Decimal, ...] | None = None
    counts: dict[str, int] = {}


class ModelFile(NamedTuple):
    """A model file as it was read: its digest, the logs that it names, and by venue the keys that it states, as they stand in it."""

    digest: str
    logs: tuple[FittedLog, ...]
    venues: dict[str, dict[str, Any]]


def read_model(path: Path) -> ModelFile:
    """Read and check a model file.

    Raises:
        ConfigError: it cannot be read, or is none of this version; the message names file and key.
    """
    data = toml.read_bytes(path)
    raw = toml.parsed(path, data, parse_float=str)
    reader = Reader(path, {})
    if raw.get("version") != VERSION or raw.keys() - {"version", "logs", "venues"}:
        raise ConfigError(f"{path}: no model file of version {VERSION}; xarb calibrate writes them")
    venues: dict[str, dict[str, Any]] = {}
    for name, part in reader.table(raw, "venues"):
        reader.section(part, FittedVenue, f"venues.{name}")
        venues[name] = {key: value for key, value in part.items() if key != "counts"}
    return ModelFile(hashlib.sha256(data).hexdigest(), tuple(reader.sections(raw, "logs", FittedLog)), venues)


def with_model(reader: Reader, name: str, part: dict[str, Any], seen: dict[Path, ModelFile]) -> dict[str, Any]:
    """A `[venues.NAME]` section with what its model file says where it says nothing itself, and with the file's digest.

    Args:
        reader: of the experiment.
        name: the venue.
        part: the section as it stands in the file.
        seen: model files that were read for this experiment; each is read once.

    Raises:
        ConfigError: as `read_model`; the file says nothing of the venue, or is not the one whose digest the section names.
    """
    where = reader.place(f"venues.{name}")
    if "model" not in part:
        if "model_sha256" in part:
            raise ConfigError(f"{where}.model_sha256 is the digest of {where}.model, which is missing")
        return part
    if not isinstance(part["model"], str):
        raise ConfigError(f"{where}.model: allowed is the path of a model file")
    path = reader.path.parent / part["model"]
    if path not in seen:
        seen[path] = read_model(path)
    model = seen[path]
    fitted: Mapping[str, Any] | None = model.venues.get(name)
    if fitted is None:
        raise ConfigError(f"{where}.model = {part['model']}: it is of {', '.join(sorted(model.venues)) or 'no venue'}")
    if part.get("model_sha256", model.digest) != model.digest:
        raise ConfigError(
            f"{where}.model_sha256 is {part['model_sha256']}, but {part['model']} has the digest {model.digest}: it was changed"
        )
    missing = {key: value for key, value in fitted.items() if key not in part}
    for key, value in missing.items():
        inner = [f".{one}" for one in value] if isinstance(value, dict) else [""]
        reader.sources.update(dict.fromkeys((f"venues.{name}.{key}{one}" for one in inner), SOURCE))
    return {**part, **missing, "model_sha256": model.digest}
