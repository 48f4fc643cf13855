"""Who asks: OKX's four headers, its time window of 30 s, and HMAC-SHA256 in base64 over time, method, path and body."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, Final

from xarb.serve.config import KeyConfig
from xarb.serve.okx.errors import OkxError
from xarb.serve.untrusted import is_same

_WINDOW_MS: Final = 30_000


class OkxKeys:
    """The keys of a served exchange that have a secret and a passphrase; the others cannot sign here."""

    def __init__(self, configs: Mapping[str, KeyConfig]) -> None:
        self._keys = {one.api_key: one for one in configs.values() if one.secret is not None and one.passphrase is not None}

    def of_request(self, headers: Mapping[str, str], payload: str, *, now_ms: int, permission: str) -> KeyConfig:
        """The key of a REST request; `payload` is method, path with query, and body.

        Raises:
            OkxError: a header is absent or wrong, or the key lacks the permission.
        """
        for name, code in (("KEY", "50103"), ("PASSPHRASE", "50104"), ("SIGN", "50106"), ("TIMESTAMP", "50107")):
            if not headers.get(f"OK-ACCESS-{name}"):
                raise OkxError(code, f'Request header "OK-ACCESS-{name}" can not be empty.', status=401)
        stamp = headers["OK-ACCESS-TIMESTAMP"]
        try:
            sent_ms = int(dt.datetime.fromisoformat(stamp).timestamp() * 1000)
        except (ValueError, OverflowError):  # OverflowError: before the year 1 in UTC
            raise OkxError("50112", "Invalid OK-ACCESS-TIMESTAMP", status=401) from None
        key = self._find(headers["OK-ACCESS-KEY"], headers["OK-ACCESS-PASSPHRASE"])
        if abs(now_ms - sent_ms) > _WINDOW_MS:
            raise OkxError("50102", "Timestamp request expired", status=401)
        _check(key, stamp + payload, headers["OK-ACCESS-SIGN"], "50113")
        if permission not in key.permissions:
            raise OkxError("50120", "This API key doesn't have permission to use this function", status=401)
        return key

    def of_login(self, argument: Mapping[str, Any], *, now_ms: int) -> KeyConfig:
        """The key of a socket's login, whose time is in seconds.

        Raises:
            OkxError: 60005 unknown key, 60024 wrong passphrase, 60006 expired, 60007 wrong signature.
        """
        key = self._keys.get(str(argument.get("apiKey", "")))
        if key is None:
            raise OkxError("60005", "Invalid apiKey")
        if not is_same(key.passphrase or "", argument.get("passphrase")):
            raise OkxError("60024", "Wrong passphrase")
        stamp = str(argument.get("timestamp", ""))
        try:
            sent_ms = int(float(stamp) * 1000)
        except (ValueError, OverflowError):  # OverflowError: infinite
            raise OkxError("60004", "Invalid timestamp") from None
        if abs(now_ms - sent_ms) > _WINDOW_MS:
            raise OkxError("60006", "Timestamp request expired")
        _check(key, f"{stamp}GET/users/self/verify", str(argument.get("sign", "")), "60007")
        return key

    def _find(self, api_key: str, passphrase: str) -> KeyConfig:
        key = self._keys.get(api_key)
        if key is None:
            raise OkxError("50111", "Invalid OK-ACCESS-KEY", status=401)
        if not is_same(key.passphrase or "", passphrase):
            raise OkxError("50105", 'Request header "OK-ACCESS-PASSPHRASE" incorrect.', status=401)
        return key


def _check(key: KeyConfig, payload: str, signature: str, code: str) -> None:
    made = hmac.new((key.secret or "").encode(), payload.encode("utf-8", "surrogateescape"), hashlib.sha256).digest()
    if not is_same(base64.b64encode(made).decode(), signature):
        raise OkxError(code, "Invalid Sign", status=401)


__all__ = ["OkxKeys"]
