"""Makes ccxt clients. The one place that imports ccxt, and only when a client is asked for: the import takes a second and 110 MB."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from xarb.errors import ConfigError

_WEB: Final = ("http", "https")
_SOCKET: Final = ("ws", "wss")


class Place(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where an exchange is found when not under its own name: a served one, a sandbox, a proxy.

    rest_url, stream_url: origin (`http://127.0.0.1:9001`) that replaces that of every REST or stream address; paths stay.
    """

    rest_url: str | None = None
    stream_url: str | None = None


OWN_PLACE: Final = Place()


def exchange(name: str, *, options: Mapping[str, Any] | None = None, place: Place = OWN_PLACE) -> Any:
    """A ccxt.pro client; `options` are keys of ccxt's constructor. The caller closes it.

    Raises:
        ConfigError: ccxt knows no such exchange.
    """
    import ccxt.pro

    if name not in ccxt.pro.exchanges:
        raise ConfigError(f"ccxt knows no exchange {name!r}")
    client = getattr(ccxt.pro, name)(dict(options or {}))
    if place.rest_url or place.stream_url:
        client.urls["api"] = _moved(client.urls["api"], place)
    return client


def _moved(urls: Any, place: Place) -> Any:
    """ccxt's addresses with another origin; where the host alone said that it is a stream (Binance), the path says so."""
    if isinstance(urls, dict):
        return {name: _moved(part, place) for name, part in urls.items()}
    if not isinstance(urls, str):
        return urls
    parts = urlsplit(urls)
    origin = place.rest_url if parts.scheme in _WEB else place.stream_url if parts.scheme in _SOCKET else None
    if origin is None:
        return urls
    is_stream = parts.scheme in _SOCKET and parts.netloc.startswith("stream.") and "/stream" not in parts.path
    return origin.rstrip("/") + ("/stream" if is_stream else "") + parts.path
