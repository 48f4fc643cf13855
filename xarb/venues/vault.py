"""API keys in one encrypted file: a passphrase through Argon2id, then AES-GCM; and keys in the keyring of the operating system.

The file names its accounts in the clear, authenticated, so that nobody is asked for a passphrase over keys that it does not hold.
"""

from __future__ import annotations

import getpass
import importlib
import secrets
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from xarb.errors import ConfigError
from xarb.venues.keys import Keys, KeyStore
from xarb.venues.private import check_folder, locked_folder, private_text, replace_file

PASSPHRASE: Final = "XARB_KEYS_PASSPHRASE"  # noqa: S105  # the name of a variable
_FORMAT: Final = "xarb-keys-1"
_MEMORY_KIB: Final = 64 << 10  # 64 MiB and 3 passes take 0.2 s to open, and as long for every guess
_PASSES: Final = 3
_LANES: Final = 4
_SHORTEST: Final = 8
_SERVICE: Final = "xarb"
SIGNING: Final = "signing "  # with which the names of keys begin that sign logs; all others are ACCOUNT@VENUE
_NAMES: Final = "names"  # a keyring cannot list what it holds
_Entries = dict[str, dict[str, str]]


class _Head(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What stands in the clear; all of it is authenticated."""

    format: str
    names: tuple[str, ...]
    memory_kib: int = msgspec.field(default=_MEMORY_KIB)
    passes: int = msgspec.field(default=_PASSES)
    lanes: int = msgspec.field(default=_LANES)
    salt: bytes
    nonce: bytes


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    head: _Head
    sealed: bytes


def stores_of(environment: Mapping[str, str]) -> list[KeyStore]:
    """Where keys are looked for before the environment, in order: the keyring where there is one, the encrypted file where it exists.

    Raises:
        ConfigError: the keyring is there and cannot be used.
    """
    stores: list[KeyStore] = []
    ring = Keyring.find()
    if ring is not None:
        stores.append(ring)
    path = vault_path(environment)
    if path is not None and path.exists():
        stores.append(Vault(path, lambda: passphrase_of(environment)))
    return stores


def writable(source: str, environment: Mapping[str, str]) -> KeyStore:
    """The store that new keys go to; "file" or "keyring".

    Raises:
        ConfigError: another word, no keyring here, or nothing says where the file is.
    """
    if source == "keyring":
        return Keyring.needed()
    if source != "file":
        raise ConfigError(f"--source {source}: allowed: file, keyring")
    path = vault_path(environment)
    if path is None:
        raise ConfigError("nothing says where keys are kept: set XARB_KEYS_VAULT")
    return Vault(path, lambda: passphrase_of(environment, is_new=not path.exists()))


def held(environment: Mapping[str, str]) -> list[tuple[str, str, str, str]]:
    """Account, venue, source and fingerprint of all API keys; those of the environment with the variables' name in place of an account.

    Raises:
        ConfigError: a store cannot be read.
    """
    rows = []
    for store in stores_of(environment):
        for name in (one for one in store.names() if not one.startswith(SIGNING)):
            account, _, venue = name.rpartition("@")
            rows.append((account, venue, store.name, Keys(venue, account, store.get(name) or {}).fingerprint))
    for variable in sorted(environment):
        if variable.startswith("XARB_") and variable.endswith("_API_KEY"):
            mine = Keys("", "", {"api_key": environment[variable]})
            rows.append((f"{variable.removesuffix('API_KEY')}*", "-", "environment", mine.fingerprint))
    return rows


def vault_path(environment: Mapping[str, str]) -> Path | None:
    """`XARB_KEYS_VAULT`, else `xarb/keys.vault` in the user's folder of settings; None where the environment names no such folder."""
    return settings_path(environment, "XARB_KEYS_VAULT", "keys.vault")


def settings_path(environment: Mapping[str, str], variable: str, name: str) -> Path | None:
    """What `variable` says, else `xarb/` and the name in the user's folder of settings; None where the environment names no such folder."""
    if named := environment.get(variable):
        return Path(named)
    if settings := environment.get("XDG_CONFIG_HOME"):
        return Path(settings) / "xarb" / name
    return Path(environment["HOME"]) / ".config" / "xarb" / name if environment.get("HOME") else None


def passphrase_of(
    environment: Mapping[str, str], variable: str = PASSPHRASE, *, what: str = "the keys", is_new: bool = False
) -> str:
    """A passphrase: from `variable`, the private file that `variable`_FILE names, or the terminal, without echo.

    The variable's is taken as it is, the file's but for one newline at its end; a blank before or behind it is a part of it, and said.

    Raises:
        ConfigError: none of them gives one, or a new one was typed in two ways.
    """
    if given := environment.get(variable):
        return _with_its_blanks(given, variable, what)
    if file := environment.get(f"{variable}_FILE"):
        text = private_text(Path(file))
        words = text.removesuffix("\n")
        words = words.removesuffix("\r") if words != text else text
        if not words:
            raise ConfigError(f"{what}: {file}, which {variable}_FILE names, is empty")
        return _with_its_blanks(words, file, what)
    if sys.stdin.isatty():
        typed = getpass.getpass(f"Passphrase of {what}: ")
        if is_new and getpass.getpass("The same again: ") != typed:
            raise ConfigError("the two passphrases differ")
        return typed
    raise ConfigError(f"{what}: encrypted; set {variable} or {variable}_FILE, or start on a terminal")


def _with_its_blanks(words: str, where: str, what: str) -> str:
    """A passphrase; that a blank belongs to it, which nobody sees, is said on standard error."""
    if words != words.strip():
        sys.stderr.write(f"the passphrase of {what} in {where} begins or ends with a blank or a newline, which is a part of it\n")
    return words


def check_passphrase(words: str) -> None:
    """A passphrase that something is to be sealed with.

    Raises:
        ConfigError: it is shorter than 8 characters.
    """
    if len(words) < _SHORTEST:
        raise ConfigError(f"the passphrase is shorter than {_SHORTEST} characters")


class Vault:
    """The encrypted file; its folder is the user's alone (0700), and so is it (0600).

    Args:
        path: the file; made by the first `put`.
        ask: gives the passphrase; asked once, when something is opened.
    """

    def __init__(self, path: Path, ask: Callable[[], str]) -> None:
        self._path, self._ask = path, ask
        self._passphrase: str | None = None
        self.name = f"file {path}"

    def names(self) -> list[str]:
        """ACCOUNT@VENUE of every entry; needs no passphrase.

        Raises:
            ConfigError: others may read the file, or it is none of ours.
        """
        return list(self._load().head.names) if self._path.exists() else []

    def get(self, name: str) -> dict[str, str] | None:
        """The values of one entry.

        Raises:
            ConfigError: wrong passphrase, a damaged file, or one that others may read.
        """
        if not self._path.exists():
            return None
        file = self._load()
        return self._open(file).get(name) if name in file.head.names else None

    def put(self, name: str, values: Mapping[str, str]) -> None:
        """Keep an entry, in place of the one of that name; the file is replaced at once or not at all.

        Raises:
            ConfigError: as `get`; or a passphrase shorter than 8 characters.
        """
        with locked_folder(self._path.parent):
            entries = self._open(self._load()) if self._path.exists() else {}
            self._replace(entries | {name: dict(values)})

    def _load(self) -> _File:
        check_folder(self._path.parent)
        try:
            file = msgspec.json.decode(private_text(self._path), type=_File)
        except (msgspec.MsgspecError, ValueError):
            raise ConfigError(f"{self._path}: damaged, or no file of keys") from None  # the decoder's words may show what is in it
        head = file.head
        if head.format != _FORMAT:
            raise ConfigError(f"{self._path}: not of the format {_FORMAT}")
        # What opening may cost is bounded: the head is believed only once it is opened.
        if not (8 <= head.memory_kib <= 1 << 20 and 1 <= head.passes <= 20 and 1 <= head.lanes <= 16):
            raise ConfigError(f"{self._path}: asks for more work than opening keys may take")
        return file

    def _open(self, file: _File) -> _Entries:
        try:
            plain = AESGCM(self._key(file.head)).decrypt(file.head.nonce, file.sealed, msgspec.json.encode(file.head))
        except (InvalidTag, ValueError):
            raise ConfigError(f"{self._path}: wrong passphrase, or the file is damaged") from None
        return msgspec.json.decode(plain, type=_Entries)

    def _key(self, head: _Head) -> bytes:
        if self._passphrase is None:
            self._passphrase = self._ask()
        derive = Argon2id(salt=head.salt, length=32, iterations=head.passes, lanes=head.lanes, memory_cost=head.memory_kib)
        return derive.derive(self._passphrase.encode())

    def _replace(self, entries: _Entries) -> None:
        head = _Head(format=_FORMAT, names=tuple(sorted(entries)), salt=secrets.token_bytes(16), nonce=secrets.token_bytes(12))
        key = self._key(head)
        check_passphrase(self._passphrase or "")
        sealed = AESGCM(key).encrypt(head.nonce, msgspec.json.encode(entries), msgspec.json.encode(head))
        replace_file(self._path, msgspec.json.encode(_File(head, sealed)))

    def __repr__(self) -> str:
        return f"Vault({str(self._path)!r})"


class Keyring:
    """The keyring of the operating system, through the optional package `keyring`."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self.name = "keyring"

    @classmethod
    def find(cls) -> Keyring | None:
        """The keyring, None where the package is not installed or finds no keyring on this machine."""
        try:
            package = importlib.import_module("keyring")
        except ImportError:
            return None
        backend = package.get_keyring()
        return None if type(backend).__module__ in {"keyring.backends.fail", "keyring.backends.null"} else cls(backend)

    @classmethod
    def needed(cls) -> Keyring:
        """The keyring.

        Raises:
            ConfigError: there is none.
        """
        found = cls.find()
        if found is None:
            raise ConfigError("no keyring here: install the package keyring and unlock one, or use --source file")
        return found

    def names(self) -> list[str]:
        """ACCOUNT@VENUE of every entry that was put by us.

        Raises:
            ConfigError: the keyring cannot be used.
        """
        told = self._call("get_password", _SERVICE, _NAMES)
        return [] if told is None else self._decoded(told, list[str])

    def get(self, name: str) -> dict[str, str] | None:
        """The values of one entry.

        Raises:
            ConfigError: the keyring cannot be used, or holds something else under that name.
        """
        told = self._call("get_password", _SERVICE, f"keys {name}")
        return None if told is None else self._decoded(told, dict[str, str])

    def put(self, name: str, values: Mapping[str, str]) -> None:
        """Keep an entry, in place of the one of that name.

        Raises:
            ConfigError: the keyring cannot be used.
        """
        self._call("set_password", _SERVICE, f"keys {name}", msgspec.json.encode(dict(values)).decode())
        names = sorted({*self.names(), name})
        self._call("set_password", _SERVICE, _NAMES, msgspec.json.encode(names).decode())

    def passphrase(self, wallet: str) -> str | None:
        """The passphrase of a wallet, if it is kept here.

        Raises:
            ConfigError: the keyring cannot be used.
        """
        return self._call("get_password", _SERVICE, f"wallet {wallet}")

    def keep_passphrase(self, wallet: str, words: str) -> None:
        """Keep the passphrase of a wallet.

        Raises:
            ConfigError: the keyring cannot be used.
        """
        self._call("set_password", _SERVICE, f"wallet {wallet}", words)

    def _call(self, method: str, *texts: str) -> str | None:
        try:
            told: str | None = getattr(self._backend, method)(*texts)
        except Exception as error:  # noqa: BLE001  # backends raise whatever their system gives; its text may show what was handed over
            raise ConfigError(f"the keyring cannot be used ({type(error).__name__}); unlock it, or remove the package") from None
        return told

    @staticmethod
    def _decoded(text: str, kind: Any) -> Any:
        try:
            return msgspec.json.decode(text, type=kind)
        except msgspec.MsgspecError:
            raise ConfigError("the keyring holds something else under our name") from None
