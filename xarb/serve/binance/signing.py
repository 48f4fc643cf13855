"""Who asks: API keys, permissions, time windows and signatures (HMAC-SHA256 in hexadecimal, Ed25519 in base64)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from xarb.errors import ConfigError
from xarb.serve.binance.errors import ApiError, illegal, missing
from xarb.serve.binance.parameters import Parameters
from xarb.serve.config import KeyConfig
from xarb.serve.untrusted import is_same

_WINDOW_MS: Final = 5_000
_LONGEST_WINDOW_MS: Final = 60_000
_AHEAD_MS: Final = 1_000
_WINDOW: Final = re.compile(r"[0-9]{1,5}(\.[0-9]{1,3})?\Z")  # microseconds may be given as decimals


class Key:
    """One API key and what checks its signatures.

    Args:
        config: as it stands in the file.

    Raises:
        ConfigError: the public key is none.
    """

    def __init__(self, config: KeyConfig) -> None:
        self.account = config.account
        self.permissions = config.permissions
        self.api_key = config.api_key
        self._secret = None if config.secret is None else config.secret.encode()
        self._public: Ed25519PublicKey | None = None
        if config.public_key is not None:
            try:
                public = load_pem_public_key(config.public_key.encode())
            except ValueError as error:
                raise ConfigError(f"key {config.api_key}: public_key is no PEM: {error}") from None
            if not isinstance(public, Ed25519PublicKey):
                raise ConfigError(f"key {config.api_key}: public_key must be of type Ed25519")
            self._public = public

    @property
    def is_ed25519(self) -> bool:
        """Whether it may log a session on."""
        return self._public is not None

    def signed(self, payload: bytes, signature: str) -> bool:
        """Whether the signature is this key's over the payload."""
        if self._secret is not None:
            return is_same(hmac.new(self._secret, payload, hashlib.sha256).hexdigest(), signature.lower())
        assert self._public is not None
        try:
            self._public.verify(base64.b64decode(signature, validate=True), payload)
        except (InvalidSignature, ValueError):  # ValueError: no base64
            return False
        return True


class Keys:
    """All keys of a served exchange."""

    def __init__(self, configs: dict[str, KeyConfig]) -> None:
        self._keys = {config.api_key: Key(config) for config in configs.values()}

    def find(self, api_key: str | None, permission: str = "read") -> Key:
        """The key of that name.

        Raises:
            ApiError: -2014 without one, -2015 for one that is unknown or lacks the permission.
        """
        if not api_key:
            raise ApiError(-2014, "API-key format invalid.", status=401)
        key = self._keys.get(api_key)
        if key is None or permission not in key.permissions:
            raise ApiError(-2015, "Invalid API-key, IP, or permissions for action.", status=401)
        return key


def check_time(parameters: Parameters, now_ms: int) -> None:
    """Refuse a request from outside its time window.

    Raises:
        ApiError: -1102 without a timestamp, -1131 for a window that is too long, -1021 outside of it.
    """
    stamp = parameters.integer("timestamp")
    window = _window(parameters)
    if stamp > now_ms + _AHEAD_MS:
        raise ApiError(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
    if now_ms - stamp > window:
        raise ApiError(-1021, "Timestamp for this request is outside of the recvWindow.")


def check_signature(key: Key, payload: bytes, signature: str | None) -> None:
    """Refuse a request that the key did not sign.

    Raises:
        ApiError: -1102 without a signature, -1022 for a wrong one.
    """
    if not signature:
        raise missing("signature")
    if not key.signed(payload, signature):
        raise ApiError(-1022, "Signature for this request is not valid.")


def _window(parameters: Parameters) -> int:
    text = parameters.optional("recvWindow")
    if text is None:
        return _WINDOW_MS
    if not _WINDOW.match(text):
        raise illegal("recvWindow", r"^[0-9]{1,5}(\.[0-9]{1,3})?$")
    window = int(text.partition(".")[0])
    if window > _LONGEST_WINDOW_MS:
        raise ApiError(-1131, "recvWindow must be less than 60000")
    return window


__all__ = ["Key", "Keys", "check_signature", "check_time"]
