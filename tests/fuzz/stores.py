"""Fuzzed: what else lies on a disk: keystores, the file of keys, checkpoints, and rows of a journal behind checksums that hold."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from random import Random
from typing import Final

import google_crc32c
import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from tests.fuzz.targets import Target
from tests.log.logs import small_log
from tests.log.test_journal import small_journal
from xarb.log.checkpoints import Checkpoint, read_checkpoint, write_checkpoint
from xarb.log.journal import HEAD, Walk, read_header
from xarb.log.manifest import Manifest
from xarb.venues.keys import Redactor, check_values, values_of
from xarb.venues.vault import Vault
from xarb.venues.wallets import check_keystore, eth_accounts, unlock

WORDS: Final = "correct horse battery"
Account: Final = eth_accounts()
_KEY: Final = "4" * 64
_CRC_BYTES: Final = 4


def stores(folder: Path) -> list[Target]:
    """All of them, with what they write kept in `folder`."""
    return [_keystores(), _vault(folder), _keys_file(), _redactor(), _checkpoints(folder), _rows(folder)]


def _keystores() -> Target:
    """Sealed with so little work that each opens at once."""
    made = Account.from_key(_KEY).encrypt(WORDS, kdf="scrypt", iterations=2)
    corpus = [json.dumps(Account.from_key(_KEY).encrypt(WORDS, kdf=kind, iterations=2)).encode() for kind in ("scrypt", "pbkdf2")]
    address = f"0x{made['address']}"

    def feed(data: bytes, random: Random) -> None:
        del random
        text = data.decode("utf-8", "replace")
        opened = unlock(text, WORDS, "fuzz")
        if check_keystore(text, "fuzz").address is not None:  # without one no wallet is opened
            assert opened.address == address, "a changed keystore gave another key"

    return Target("keystore", corpus, feed)


def _vault(folder: Path) -> Target:
    """A file that was sealed with the least work that is taken."""
    path = folder / "keys" / "keys.vault"
    path.parent.mkdir(mode=0o700)
    path.touch(mode=0o600)
    head = {"format": "xarb-keys-1", "names": ["main@okx"], "memory_kib": 8, "passes": 1, "lanes": 1}
    head |= {"salt": "AAAAAAAAAAAAAAAAAAAAAA==", "nonce": "AAAAAAAAAAAAAAAA"}
    key = Argon2id(salt=bytes(16), length=32, iterations=1, lanes=1, memory_cost=8).derive(WORDS.encode())
    values = {"api_key": "k", "api_secret": "s"}
    sealed = AESGCM(key).encrypt(bytes(12), msgspec.json.encode({"main@okx": values}), msgspec.json.encode(head))

    def feed(data: bytes, random: Random) -> None:
        del random
        path.write_bytes(data)
        vault = Vault(path, lambda: WORDS)
        for name in vault.names():
            assert vault.get(name) == values, "a changed file gave other keys"

    return Target("vault", [msgspec.json.encode({"head": head, "sealed": sealed})], feed)


def _keys_file() -> Target:
    def feed(data: bytes, random: Random) -> None:
        del random
        check_values(values_of(data.decode("utf-8", "replace"), "fuzz"), "fuzz")

    return Target("keys file", [b'api_key = "k"\napi_secret = "s"\npassword = "p"\nuid = "u"\n'], feed)


def _redactor() -> Target:
    """What fails, around a secret that is known: it never comes out, whatever stands beside it."""
    known = "canary7f3a/91c2+5be0d4="
    hide = Redactor([known])
    corpus = [
        b"GET https://api.x.com/api/v3/order?symbol=BTCUSDT&timestamp=1&signature=0123abcd failed: 503",
        b"X-MBX-APIKEY: abcdef, Authorization: Bearer abc.def",
        b'{"op":"login","args":[{"apiKey":"k","passphrase":"p","sign":"s"}]}',
        b"wss://me:word@node.x.com:8546/v3/0123456789abcdef0123456789abcdef",
        b"-----BEGIN PRIVATE KEY-----\nMC4CAQAw\n-----END PRIVATE KEY-----\n",
    ]

    def feed(data: bytes, random: Random) -> None:
        text = data.decode("utf-8", "replace") * random.choice((1, 1, 1, 60))
        at = random.randrange(len(text) + 1)
        hidden = hide(text[:at] + known + text[at:])
        assert known not in hidden
        assert len(hidden) <= 500

    return Target("redactor", corpus, feed)


def _checkpoints(folder: Path) -> Target:
    """As they lie there, and with a digest that holds around a changed body."""
    log = small_log(folder / "checkpoints")
    manifest = Manifest(log)
    made = Checkpoint(log_id="test", code_digest="c", start=1, seq=3, n=0, line=manifest.heads[-1], state=b"state" * 9)
    path = write_checkpoint(log, made)
    whole = path.read_bytes()

    def feed(data: bytes, random: Random) -> None:
        if random.randrange(2):
            data = msgspec.msgpack.encode({"format": 1, "sha256": hashlib.sha256(data).hexdigest(), "body": data})
        path.write_bytes(data)
        read_checkpoint(path, manifest)

    return Target("checkpoint", [whole, msgspec.msgpack.encode(made)], feed)


def _rows(folder: Path) -> Target:
    """Payloads of frames whose heads and checksums are made to fit them, raw or said to be compressed."""
    path, _, _ = small_journal(folder / "rows")
    opening, start = read_header(path)
    data = path.read_bytes()
    corpus = [frame.payload for frame in Walk(data[start:], opening, start=start)]

    def feed(data: bytes, random: Random) -> None:
        counts = random.choice(((0, 0), (1, 0), (2, 1), (2, 0), (2**32 - 1, 0)))
        raw_length = random.choice((0, 0, 0, len(data) * 3, 2**20))
        head = HEAD.pack(0, len(data), opening.segment, opening.salt, 0, -1, *counts, raw_length, random.choice((0, 1)))
        body = head[_CRC_BYTES:] + data
        for frame in Walk(google_crc32c.value(body).to_bytes(_CRC_BYTES, "little") + body, opening, start=start):
            frame.rows()

    return Target("journal rows", corpus, feed)
