"""Keys that sign the heads of logs: seeds of Ed25519 in the stores that hold API keys, under names of their own."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from typing import Final

from xarb.errors import ConfigError, Refused
from xarb.venues.vault import SIGNING, stores_of, writable

_NAME: Final = re.compile(r"[a-z0-9_]{1,32}")
_SEED: Final = re.compile(r"[0-9a-f]{64}")
_FIELD: Final = "seed"


def new_seed(name: str, source: str, environment: Mapping[str, str]) -> tuple[bytes, str]:
    """Make a seed and keep it; it, and the store's name. A key is never replaced: what it signed could no longer be told from what another did.

    Raises:
        ConfigError: a name that no key has, or the store cannot be used.
        Refused: there is a key of that name.
    """
    entry = _entry(name)
    if any(entry in store.names() for store in stores_of(environment)):
        raise Refused(f"there is a signing key {name}; take another name")
    store, seed = writable(source, environment), secrets.token_bytes(32)
    store.put(entry, {_FIELD: seed.hex()})
    return seed, store.name


def seed_of(name: str, environment: Mapping[str, str]) -> bytes:
    """The seed of a key by its name.

    Raises:
        ConfigError: there is none, or its store cannot be opened; never shows it.
    """
    entry = _entry(name)
    for store in stores_of(environment):
        values = store.get(entry)
        if values is not None:
            text = values.get(_FIELD, "")
            if _SEED.fullmatch(text) is None:
                raise ConfigError(f"{store.name} holds something else under the name of signing key {name}")
            return bytes.fromhex(text)
    raise ConfigError(f"no signing key {name}; make one with xarb keys add --signing {name}")


def held_seeds(environment: Mapping[str, str]) -> list[tuple[str, str, bytes]]:
    """Name, store and seed of every key.

    Raises:
        ConfigError: a store cannot be opened.
    """
    found = [(store.name, entry) for store in stores_of(environment) for entry in store.names()]
    mine = [(entry.removeprefix(SIGNING), source) for source, entry in found if entry.startswith(SIGNING)]
    return [(name, source, seed_of(name, environment)) for name, source in mine]


def _entry(name: str) -> str:
    if _NAME.fullmatch(name) is None:
        raise ConfigError(f"signing key {name!r}: a name has lower-case letters, digits and _, at most 32")
    return SIGNING + name
