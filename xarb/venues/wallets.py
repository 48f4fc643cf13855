"""Wallets of chains: private keys in encrypted keystores of version 3, which other tools read too, and what signs with them.

Of a keystore only the ciphertext is under its checksum: not the address, not the nonce. So the address that a file names is believed once the
key that came out of it has that address.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple, Protocol

import msgspec

from xarb.errors import ConfigError, InvariantBroken, Refused
from xarb.venues.keys import Redactor
from xarb.venues.private import check_folder, locked_folder, objection, private_text, replace_file
from xarb.venues.vault import Keyring, check_passphrase, passphrase_of, settings_path

if TYPE_CHECKING:
    from eth_account import Account
    from eth_account.signers.local import LocalAccount

FOLDER: Final = "XARB_WALLETS"
SCRYPT_N: Final = 1 << 18  # 256 MiB and 1 s to open, and as long for every guess
_NAME: Final = re.compile(r"[a-z0-9_]{1,32}")
_PRIVATE_KEY: Final = re.compile(r"(?:0x)?[0-9a-fA-F]{64}")
_KEY: Final = "private_key"
_MEMORY_LIMIT: Final = 1 << 30  # bytes that opening may take
_WORK_LIMIT: Final = 1 << 32  # bytes that it may go through
_ROUNDS_LIMIT: Final = 20_000_000
_Bytes16 = Annotated[str, msgspec.Meta(pattern=r"^(0x)?[0-9a-fA-F]{32}\Z")]
_Bytes32 = Annotated[str, msgspec.Meta(pattern=r"^(0x)?[0-9a-fA-F]{64}\Z")]
_Salt = Annotated[str, msgspec.Meta(pattern=r"^(0x)?([0-9a-fA-F]{2}){1,64}\Z")]
_Address = Annotated[str, msgspec.Meta(pattern=r"^(0x)?[0-9a-fA-F]{40}\Z")]
_Count = Annotated[int, msgspec.Meta(ge=1, le=1 << 31)]


class Signer(Protocol):
    """Signs what leaves an address; a device or a process of its own may stand for it."""

    @property
    def address(self) -> str:
        """The address, with the checksum of its letters' case."""

    async def sign_transaction(self, transaction: Mapping[str, object]) -> bytes:
        """The signed transaction as it is sent; may take as long as a person needs to press a button.

        Raises:
            InvariantBroken: it is no transaction, leaves from another address, or names no chain.
        """


class Wallet:
    """A signer with its key in memory; shows its name and address, never the key."""

    __slots__ = ("_account", "name")

    def __init__(self, name: str, account: LocalAccount) -> None:
        self.name = name
        self._account = account

    @property
    def address(self) -> str:
        """As `Signer`."""
        return str(self._account.address)

    def entrusted(self) -> dict[str, str]:
        """The key; for the process that watches over this one alone, which may have to cancel with it."""
        return {_KEY: bytes(self._account.key).hex()}

    async def sign_transaction(self, transaction: Mapping[str, object]) -> bytes:
        """As `Signer`; takes 1 ms."""
        chain = transaction.get("chainId")
        if not isinstance(chain, int) or isinstance(chain, bool) or chain <= 0:
            raise InvariantBroken("a transaction without chainId could be sent on any chain")
        if transaction.get("from", self.address) != self.address:
            raise InvariantBroken(f"a transaction of another address than {self.address}")
        try:
            given: dict[str, Any] = dict(transaction)
            return bytes(self._account.sign_transaction(given).raw_transaction)
        except Exception as error:  # noqa: BLE001  # the libraries below raise errors of five trees
            raise InvariantBroken(f"no transaction for {self}: {Redactor()(str(error))}") from None

    async def sign_text(self, text: str) -> str:
        """A signature of a text (EIP-191), as hex with 0x: it says who we are, and moves nothing."""
        accounts = eth_accounts()  # first: it imports so that nothing else changes
        from eth_account.messages import encode_defunct

        return "0x" + bytes(accounts.sign_message(encode_defunct(text=text), self._account.key).signature).hex()

    def __repr__(self) -> str:
        return f"wallet {self.name} ({self.address})"

    __str__ = __repr__

    def __reduce__(self) -> str:
        raise TypeError("wallets are not pickled")


class Entry(NamedTuple):
    """A keystore as it lies there, unopened: the address is what it says; `trouble` is what keeps it from being used, empty if nothing."""

    name: str
    address: str
    file: str
    modes: str
    trouble: str


class _Nonce(msgspec.Struct, frozen=True):
    iv: _Bytes16


class _Scrypt(msgspec.Struct, frozen=True):
    n: _Count
    r: _Count
    p: _Count
    salt: _Salt
    dklen: Literal[32]


class _Pbkdf2(msgspec.Struct, frozen=True):
    c: _Count
    prf: Literal["hmac-sha256"]
    salt: _Salt
    dklen: Literal[32]


class _Crypto(msgspec.Struct, frozen=True):
    cipher: Literal["aes-128-ctr"]
    cipherparams: _Nonce
    ciphertext: _Bytes32
    kdf: Literal["scrypt", "pbkdf2"]
    kdfparams: dict[str, Any]
    mac: _Bytes32


class _Keystore(msgspec.Struct, frozen=True):
    version: Literal[3]
    crypto: _Crypto
    address: _Address | None = None


def wallets_folder(environment: Mapping[str, str]) -> Path:
    """`XARB_WALLETS`, else `xarb/wallets` in the user's folder of settings.

    Raises:
        ConfigError: nothing says where that is.
    """
    folder = settings_path(environment, FOLDER, "wallets")
    if folder is None:
        raise ConfigError(f"nothing says where wallets are kept: set {FOLDER}")
    return folder


def passphrase_variable(name: str) -> str:
    """The variable with the passphrase of a wallet."""
    return f"XARB_WALLET_{name.upper()}_PASSPHRASE"


def wallet_passphrase(name: str, environment: Mapping[str, str], *, is_new: bool = False) -> str:
    """The passphrase of a wallet: from its variable, the private file of its variable's _FILE, the keyring, or the terminal.

    Raises:
        ConfigError: none of them gives one, or the keyring cannot be used.
    """
    variable = passphrase_variable(name)
    if not is_new and not environment.get(variable) and not environment.get(f"{variable}_FILE"):
        ring = Keyring.find()
        kept = None if ring is None else ring.passphrase(name)
        if kept is not None:
            return kept
    return passphrase_of(environment, variable, what=f"wallet {name}", is_new=is_new)


def open_wallet(name: str, environment: Mapping[str, str]) -> Wallet:
    """A wallet by its name.

    Raises:
        ConfigError: there is none, others may read it, a wrong passphrase, or a damaged file.
    """
    path = _path(name, environment)
    if not path.exists():
        raise ConfigError(f"{path}: no such wallet; make it with xarb keys add --wallet {name}")
    check_folder(path.parent)
    text = private_text(path)
    if check_keystore(text, str(path)).address is None:  # before anybody is asked for a passphrase
        raise ConfigError(f"{path}: names no address, so that a changed one could not be told; add it anew with --keystore")
    return Wallet(name, unlock(text, wallet_passphrase(name, environment), str(path)))


def entrusted_wallet(name: str, values: Mapping[str, str]) -> Wallet:
    """A wallet of what its `entrusted` gave.

    Raises:
        ConfigError: that is not there.
    """
    return Wallet(name, account_of(values.get(_KEY, ""), f"wallet {name}"))


def add_wallet(
    name: str, account: LocalAccount, words: str, environment: Mapping[str, str], *, scrypt_n: int = SCRYPT_N
) -> tuple[Wallet, Path]:
    """Keep a key as a keystore that is sealed with a passphrase; a wallet is never replaced, for its key may exist nowhere else.

    Raises:
        ConfigError: a name that no wallet has, a passphrase shorter than 8 characters, a folder that others may enter.
        Refused: there is a wallet of that name.
    """
    path = _path(name, environment)
    check_passphrase(words)
    with locked_folder(path.parent):
        if path.exists():
            raise Refused(f"{path} is there, and its key may exist nowhere else: take another name, or move the file away")
        replace_file(path, msgspec.json.encode(account.encrypt(words, kdf="scrypt", iterations=scrypt_n)))
    return Wallet(name, account), path


def eth_accounts() -> type[Account]:
    """The class of eth-account, imported so that nothing else changes.

    One of the packages below it (py_ecc 9) raises the interpreter's limit of recursion to 100,000, and then JSON that is nested 50,000 deep ends
    the process instead of being refused (measured).
    """
    limit = sys.getrecursionlimit()
    try:
        from eth_account import Account
    finally:
        sys.setrecursionlimit(limit)
    return Account


def new_account() -> LocalAccount:
    """A key that nobody has had."""
    made: LocalAccount = eth_accounts().create()
    return made


def account_of(text: str, where: str) -> LocalAccount:
    """The account of a private key in hexadecimal digits.

    Raises:
        ConfigError: it is none; never shows it.
    """
    text = text.strip()
    if _PRIVATE_KEY.fullmatch(text) is None:
        raise ConfigError(f"{where}: no private key; that is 64 hexadecimal digits")
    accounts = eth_accounts()
    return _of(lambda: accounts.from_key(text), ConfigError(f"{where}: no key of the curve"))


def unlock(text: str, words: str, where: str) -> LocalAccount:
    """The account of a keystore.

    Raises:
        ConfigError: no keystore, one that asks for too much work, a wrong passphrase, or a damaged file; never shows a value.
    """
    keystore = check_keystore(text, where)
    accounts = eth_accounts()
    wrong = ConfigError(f"{where}: wrong passphrase, or the file is damaged")
    account = _of(lambda: accounts.from_key(accounts.decrypt(msgspec.to_builtins(keystore), words)), wrong)
    if keystore.address is not None and account.address.lower() != f"0x{keystore.address.lower().removeprefix('0x')}":
        raise ConfigError(f"{where}: its key is not that of the address which it names: damaged, or changed")
    return account


def _of(make: Callable[[], LocalAccount], wrong: ConfigError) -> LocalAccount:
    try:
        return make()
    except Exception:  # noqa: BLE001  # the libraries below raise errors of five trees, whose words may show what they were given
        raise wrong from None


def check_keystore(text: str, where: str) -> _Keystore:
    """A keystore's text as far as it can be judged unopened.

    Raises:
        ConfigError: no keystore of version 3, or it asks for more than 1 GiB or some seconds.
    """
    try:
        keystore = msgspec.convert(_lowered(msgspec.json.decode(text, type=dict[str, Any])), _Keystore)
        kind: type[_Scrypt | _Pbkdf2] = _Scrypt if keystore.crypto.kdf == "scrypt" else _Pbkdf2
        work = msgspec.convert(keystore.crypto.kdfparams, kind)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise ConfigError(f"{where}: no keystore of version 3") from None  # the decoder's words may show what is in it
    if isinstance(work, _Pbkdf2):
        is_bounded = work.c <= _ROUNDS_LIMIT
    else:
        memory = 128 * work.n * work.r
        is_bounded = work.n & work.n - 1 == 0 and work.n > 1 and memory <= _MEMORY_LIMIT and memory * work.p <= _WORK_LIMIT
    if not is_bounded:
        raise ConfigError(f"{where}: asks for more work than opening a keystore may take, or for what cannot be done")
    return keystore


def _lowered(value: Any) -> Any:
    """Keys in lower case, as old tools did not write them."""
    return {key.lower(): _lowered(part) for key, part in value.items()} if isinstance(value, dict) else value


def entries(environment: Mapping[str, str]) -> list[Entry]:
    """All wallets, without opening one."""
    folder = settings_path(environment, FOLDER, "wallets")
    return list(_entries(folder)) if folder is not None and folder.is_dir() else []


def _entries(folder: Path) -> Iterator[Entry]:
    about = folder.stat()
    outside = objection(about, 0o700)
    for path in sorted(folder.glob("*.json")):
        try:
            mine = path.stat()
        except OSError as error:  # a link to nothing, or what was removed just now: the others are listed all the same
            yield Entry(path.stem, "-", str(path), f"- in {about.st_mode & 0o7777:04o}", f"cannot be read: {error.strerror}")
            continue
        trouble = f"{folder}: {outside}" if outside else objection(mine, 0o600) or ""
        address = "-"
        if not trouble:
            try:
                told = check_keystore(private_text(path), str(path)).address
            except ConfigError as error:
                trouble = str(error)
            else:
                address = "-" if told is None else f"0x{told.removeprefix('0x')}"
        if not trouble and _NAME.fullmatch(path.stem) is None:
            trouble = "no name of a wallet: lower-case letters, digits and _"
        yield Entry(path.stem, address, str(path), f"{mine.st_mode & 0o7777:04o} in {about.st_mode & 0o7777:04o}", trouble)


def _path(name: str, environment: Mapping[str, str]) -> Path:
    if _NAME.fullmatch(name) is None:
        raise ConfigError(f"wallet {name!r}: a name has lower-case letters, digits and _, at most 32")
    return wallets_folder(environment) / f"{name}.json"
