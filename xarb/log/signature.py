"""Signatures over heads of logs: who has the public key knows that the key's holder vouched for a log up to a line of its manifest.

Each line holds the digest of the one before it and of its segment's files, so that the digest of one stands for all rows up to there. What came
behind it is not covered. A signature is a small file of its own: text, public, to be kept where the log's writer cannot change it.
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from xarb.errors import ConfigError
from xarb.log.manifest import Manifest

FORMAT: Final = "xarb-log-signature-1"
SUFFIX: Final = ".sig"
_NAMED: Final = "ed25519:"
_LIMIT_BYTES: Final = 4096


class Signature(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of them: the log's id, the digest of the line that was its last, whose key signed both, and the signature (base64)."""

    format: Literal["xarb-log-signature-1"]
    log_id: str
    digest: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
    signed_by: str
    signature: str


def public_text(seed: bytes) -> str:
    """The public key of a seed of 32 bytes, as people write it: `ed25519:` and base64."""
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key()
    return _NAMED + base64.b64encode(public.public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()


def sign(folder: Path, seed: bytes) -> Signature:
    """Sign a log's head as it is; whether its files are what its lines say is for `xarb log verify`.

    Raises:
        ConfigError: the folder is no log.
        LogError: its manifest is damaged.
    """
    found = Manifest(folder)
    log_id, digest = found.header.log_id, found.heads[-1]
    signature = Ed25519PrivateKey.from_private_bytes(seed).sign(_message(log_id, digest))
    text = base64.b64encode(signature).decode()
    return Signature(format=FORMAT, log_id=log_id, digest=digest, signed_by=public_text(seed), signature=text)


def beside(folder: Path) -> Path:
    """Where a log's signature is looked for: beside its folder."""
    whole = folder.resolve()
    return whole.with_name(whole.name + SUFFIX)


def write_signature(signature: Signature, path: Path) -> None:
    """Write it, in place of an older one, at once or not at all.

    Raises:
        ConfigError: something else is there, or it cannot be written.
    """
    if path.exists():
        read_signature(path)
    made = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        with made.open("xb") as out:
            out.write(msgspec.json.format(msgspec.json.encode(signature)) + b"\n")
            out.flush()
            os.fsync(out.fileno())
        made.replace(path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        made.unlink(missing_ok=True)


def read_signature(path: Path) -> Signature:
    """A signature from its file.

    Raises:
        ConfigError: it cannot be read, or is none.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_LIMIT_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        if len(data) > _LIMIT_BYTES:
            raise ValueError
        return msgspec.json.decode(data, type=Signature)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise ConfigError(f"{path}: no signature of a log") from None


def objection(signature: Signature, found: Manifest, signed_by: str) -> str | None:
    """What keeps a signature from vouching for a log; None: the key's holder signed a line by which the log comes.

    Args:
        signature: what is to be believed.
        found: the log's manifest.
        signed_by: the public key that is trusted, `ed25519:` and base64; the one in the signature is what its writer says.

    Raises:
        ConfigError: `signed_by` is no public key.
    """
    public = _public(signed_by)
    try:
        public.verify(base64.b64decode(signature.signature, validate=True), _message(signature.log_id, signature.digest))
    except (InvalidSignature, binascii.Error, ValueError):
        return "it is not of that key"
    if signature.log_id != found.header.log_id:
        return f"it is of another log, {signature.log_id}"
    if signature.digest not in found.heads:
        return "what was signed is not there, or is another"
    return None


def _message(log_id: str, digest: str) -> bytes:
    """What is signed; its first line keeps it from being anything else that the key may ever sign."""
    return f"{FORMAT}\n{log_id}\n{digest}\n".encode()


def _public(text: str) -> Ed25519PublicKey:
    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(text.removeprefix(_NAMED), validate=True))
    except ValueError:
        raise ConfigError(f"--signed-by {text}: no public key; that is {_NAMED} and base64, as xarb keys list prints it") from None
