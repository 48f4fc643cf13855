"""Keys of an account: read from a private file, a store or the environment, kept out of every repr, text and log.

ccxt's exceptions hold signed addresses, so every text of an error passes a `Redactor` before it goes anywhere.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import quote, quote_plus

from xarb import toml
from xarb.errors import ConfigError
from xarb.secrecy import KEY_IN_ADDRESS, PASSWORD_IN_ADDRESS, PRIVATE_KEY, PRIVATE_KEY_TEXT
from xarb.venues.accountlock import Locked, account_digest
from xarb.venues.private import private_text

if TYPE_CHECKING:
    from xarb.venues.exchange import Place

_FIELDS: Final = {"api_key": "apiKey", "api_secret": "secret", "password": "password", "uid": "uid"}  # ours, then ccxt's
_TEXT_LIMIT: Final = 500
_AHEAD: Final = 8  # times the limit: what is hidden makes room for what stands behind it
_EDGE: Final = 512  # a secret that was cut in two is shorter
_SHORTEST: Final = 6  # a shorter secret is a word that texts are full of; the patterns below still hide it
_HIDDEN: Final = "***"
_IS: Final = r"""(\\{0,8}["']?\s{0,8}[=:]\s{0,8}\\{0,8}["']?)"""  # between a name and its value, in an address, a header, JSON, or JSON in JSON
_VALUE: Final = r"""[^&\s"'\\,}]+"""
_NAMED: Final = tuple(
    re.compile(rf"(?i)({name}){_IS}{value}")
    for name, value in (
        (r"\b(?:signature|sign|token)", _VALUE),
        (r"(?:api|access|secret|private|listen)[_-]?key|secret\w{0,20}|passphrase|password", _VALUE),
        (r"(?:access|auth|bearer|bot|refresh|session)[_-]?token", _VALUE),
        (r"\b(?:x-mbx-apikey|ok-access-[a-z]+)", _VALUE),
        (r"\bauthorization", rf"(?:\w{{1,20}}\s{{1,8}})?{_VALUE}"),
    )
)


class Keys:
    """Credentials of one account at one venue; shows its owner and a fingerprint, never itself."""

    __slots__ = ("_values", "account", "source", "venue")

    def __init__(self, venue: str, account: str, values: Mapping[str, str], *, source: str = "") -> None:
        self.source = source  # where they were found, in words
        self.venue = venue
        self.account = account
        self._values = {name: value.strip() for name, value in values.items() if value.strip()}

    def credentials(self) -> dict[str, str]:
        """ccxt's constructor keys; for the client alone."""
        return {_FIELDS[name]: value for name, value in self._values.items()}

    def entrusted(self) -> dict[str, str]:
        """The values by our names; for the process that watches over this one alone, which may have to cancel with them."""
        return dict(self._values)

    @property
    def fingerprint(self) -> str:
        """Eight hex digits by which a key is known in logs."""
        return hashlib.sha256(self._values.get("api_key", "").encode()).hexdigest()[:8]

    def locked(self, exchange: str, place: Place) -> Locked:
        """The account as other processes on this machine know it."""
        told = f"{place.rest_url or ''} {sorted(place.hosts.items())}"
        return Locked(f"{self.account} at {self.venue}", account_digest(exchange, told, self._values.get("api_key", "")))

    def redactor(self) -> Redactor:
        """What hides these keys in texts."""
        return Redactor(self._values.values())

    def __repr__(self) -> str:
        return f"keys of {self.account}@{self.venue} ({self.fingerprint})"

    __str__ = __repr__

    def __reduce__(self) -> str:
        raise TypeError("keys are not pickled")


class Redactor:
    """Hides secrets in texts: the known values in every way an address writes them, and whatever a pattern knows for a secret."""

    __slots__ = ("_known",)

    def __init__(self, values: Iterable[str] = ()) -> None:
        known: dict[str, None] = {}
        for value in values:
            for part in (value, *(line for line in value.splitlines() if "-----" not in line)):
                for text in (part, quote(part, safe=""), quote_plus(part), repr(part)[1:-1]):
                    if len(text) >= _SHORTEST:
                        known[text] = None
        self._known = tuple(sorted(known, key=len, reverse=True))

    def __call__(self, text: str, limit: int = _TEXT_LIMIT) -> str:
        """The text without secrets, at most so many characters of it; of a longer one no more is looked at than that needs."""
        is_cut = len(text) > limit * _AHEAD
        text = text[: limit * _AHEAD]
        for secret in self._known:
            text = text.replace(secret, _HIDDEN)
        text = PRIVATE_KEY_TEXT.sub(_HIDDEN, text)
        for pattern in _NAMED:
            text = pattern.sub(rf"\1\2{_HIDDEN}", text)
        text = KEY_IN_ADDRESS.sub(rf"\1{_HIDDEN}", PASSWORD_IN_ADDRESS.sub(rf"\1{_HIDDEN}@", text))
        text = PRIVATE_KEY.sub(_HIDDEN, text)
        return (text[:-_EDGE] if is_cut else text)[:limit]

    def __repr__(self) -> str:
        return f"Redactor({len(self._known)} texts)"


class KeyStore(Protocol):
    """Keeps the values of keys by ACCOUNT@VENUE."""

    name: str

    def names(self) -> list[str]:
        """Every entry."""

    def get(self, name: str) -> dict[str, str] | None:
        """The values of one entry, None where there is no such entry."""

    def put(self, name: str, values: Mapping[str, str]) -> None:
        """Keep an entry."""


def load_keys(
    venue: str, account: str, *, environment: Mapping[str, str], file: Path | None = None, stores: Sequence[KeyStore] = ()
) -> Keys:
    """Keys from `file`, else from the first store that has them, else from the environment.

    There they are `XARB_<VENUE>_<ACCOUNT>_API_KEY`, `_API_SECRET`, `_PASSWORD`, `_UID`, `_PRIVATE_KEY_FILE`. The file is TOML with `api_key`, `api_secret` (or `private_key_file`), `password`, `uid`; it and a private key file belong to the
    user alone (mode 0600 or less).

    Raises:
        ConfigError: no keys, a file that others may read, an unknown key; never shows a value.
    """
    prefix = re.sub(r"[^A-Z0-9]", "_", f"XARB_{venue}_{account}_".upper())
    if file is not None:
        values, where, folder, source = _read(file), str(file), file.parent, f"the file {file.name}"
    elif (kept := _kept(stores, f"{account}@{venue}")) is not None:
        return Keys(venue, account, kept[0], source=kept[1])
    else:
        names = (*_FIELDS, "private_key_file")
        values = {name: environment[prefix + name.upper()] for name in names if environment.get(prefix + name.upper())}
        where, folder, source = f"{prefix}*", Path(), "the environment"
    if path := values.pop("private_key_file", None):
        if "api_secret" in values:
            raise ConfigError(f"{where}: api_secret and private_key_file exclude each other")
        values["api_secret"] = private_text(folder / path)
    missing = [name for name in ("api_key", "api_secret") if not values.get(name)]
    if missing:
        hint = "" if file is not None else f"; set {prefix}API_KEY and {prefix}API_SECRET, or name a keys file"
        raise ConfigError(f"no {' and no '.join(missing)} for account {account} at {venue} ({where}){hint}")
    return Keys(venue, account, values, source=source)


def _kept(stores: Sequence[KeyStore], name: str) -> tuple[dict[str, str], str] | None:
    """The keys of that name, and the store that has them."""
    for store in stores:
        values = store.get(name)
        if values is not None:
            return check_values(values, store.name), store.name
    return None


def check_values(values: Mapping[str, str], where: str) -> dict[str, str]:
    """The same values, if they are those of keys that a store may hold.

    Raises:
        ConfigError: one is not known, or `api_key` or `api_secret` is missing.
    """
    for name in values:
        if name not in _FIELDS:
            raise ConfigError(f"{where}: unknown key {name}; allowed: {', '.join(_FIELDS)}")
    for name in ("api_key", "api_secret"):
        if not values.get(name, "").strip():
            raise ConfigError(f"{where}: no {name}")
    return dict(values)


def _read(file: Path) -> dict[str, str]:
    return values_of(private_text(file), str(file))


def values_of(text: str, where: str) -> dict[str, str]:
    """The fields of a keys file's TOML text.

    Raises:
        ConfigError: no TOML, an unknown key, a value that is no text; never shows a value.
    """
    try:
        found = toml.loads(text)
    except ValueError:
        raise ConfigError(f"{where}: no valid TOML") from None  # the decoder's words may show a value
    allowed = (*_FIELDS, "private_key_file")
    for name, value in found.items():
        if name not in allowed:
            raise ConfigError(f"{where}: unknown key {name}; allowed: {', '.join(allowed)}")
        if not isinstance(value, str):
            raise ConfigError(f"{where}: {name} must be a text")
    return found
