"""Refuses files that hold secrets: a config goes into every log that it is traded on."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from xarb.errors import ConfigError
from xarb.secrecy import KEY_IN_ADDRESS, PASSWORD_IN_ADDRESS, PRIVATE_KEY

# Names of values that are secrets; assets, which are upper case (KEY, TOKEN), and names of variables or files are none.
_SECRET: Final = re.compile(
    r"(?:^|[_-])(?:(?:api|access|secret|private)?[_-]?key|apikey|secret|password|passphrase|private|token|mnemonic|seed_phrase)$"
)
_VALUES: Final = (
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),  # not every PEM text: a public key may stand here
    PASSWORD_IN_ADDRESS,
    KEY_IN_ADDRESS,
    re.compile(r"(?i)[?&](?:[\w-]{0,20}(?:key|token|secret|password)|sign|signature)=[^&\s]"),  # in the query of an address
)
# Names of hashes, which have as many digits as a private key.
_NO_KEY: Final = re.compile(r"(?:^|_)(?:id|ids|hash|digest|sha256|topic)$")


def refuse_secrets(path: Path, tree: object, where: str = "", name: str = "") -> None:
    """Refuse a tree with a secret in it, by the names of values and by their looks.

    Raises:
        ConfigError: there is one; the message names its place, never the value.
    """
    if isinstance(tree, list):
        for part in tree:
            refuse_secrets(path, part, where, name)
    elif isinstance(tree, dict):
        for key, value in tree.items():
            refuse_secrets(path, value, f"{where}.{key}" if where else key, key)
    elif isinstance(tree, str) and (
        _SECRET.search(name) or _looks_secret(tree) or (PRIVATE_KEY.search(tree) and not _NO_KEY.search(name))
    ):
        raise ConfigError(
            f"{path}: {where} looks like a secret, and a config holds none: keep it with xarb keys add, or in an "
            "environment variable (docs/orders.md), then remove it here and make a new one where it came from"
        )


def _looks_secret(text: str) -> bool:
    return any(pattern.search(text) for pattern in _VALUES)
