"""Makes ccxt clients. The one place that imports ccxt, and only when a client is asked for: the import takes a second and 110 MB.

A trading client differs from a data client: it never retries, its limiter is off (it would cost 250 ms an order; `limits.py` does its
work), numbers stay the text that the exchange sent, and prices and quantities leave exactly as they were given.
"""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult

from xarb.errors import ConfigError
from xarb.venues.bodies import BoundedResponse
from xarb.venues.keys import Keys
from xarb.venues.passage import trace_passages

_SILENT: Final = logging.getLogger("ccxt client with keys")
_SILENT.disabled = True
_WEB: Final = ("http", "https")
_SOCKET: Final = ("ws", "wss")


class Place(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where an exchange is found when not under its own name: a served one, a sandbox, a proxy.

    rest_url, stream_url: origin (`http://127.0.0.1:9001`) that replaces that of every REST or stream address; paths stay.
    hosts: addresses (`"127.0.0.1:9001"`) of host names (`"api.binance.com"`), the port in place of the one asked for; the names, and
    with them ccxt's addresses, stay as they are.
    ca_file: certificates (PEM) that are trusted in place of the system's.
    """

    rest_url: str | None = None
    stream_url: str | None = None
    hosts: dict[str, str] = {}
    ca_file: str | None = None


OWN_PLACE: Final = Place()


def all_names() -> list[str]:
    """ccxt's ids of the exchanges that it streams or polls, in order of the alphabet."""
    import ccxt.pro

    return sorted(set(ccxt.exchanges) | set(ccxt.pro.exchanges))


def exchange(name: str, *, options: Mapping[str, Any] | None = None, place: Place = OWN_PLACE) -> Any:
    """A ccxt client, one that streams where ccxt can; `options` are keys of ccxt's constructor. The caller closes it.

    Raises:
        ConfigError: ccxt knows no such exchange, or an address cannot be read.
    """
    import ccxt.async_support
    import ccxt.pro

    streams = name in ccxt.pro.exchanges
    if not streams and name not in ccxt.exchanges:
        raise ConfigError(f"ccxt knows no exchange {name!r}")
    client = getattr(ccxt.pro if streams else ccxt.async_support, name)(dict(options or {}))
    if place.rest_url or place.stream_url:
        client.urls["api"] = _moved(client.urls["api"], place)
    client.open = _bounded(client)
    return client


def _bounded(client: Any) -> Callable[..., None]:
    """In place of a client's `open`: of a session that it makes itself, which it gives no other way to, answers are bounded too."""
    make = client.open

    def open_bounded(lazy: bool = False) -> None:  # noqa: FBT001, FBT002  # as ccxt calls it
        make(lazy)
        if client.own_session and client.session is not None:
            client.session._response_class = BoundedResponse  # noqa: SLF001  # else only its constructor takes one

    return open_bounded


def trading_exchange(name: str, keys: Keys, *, place: Place, timeout_ms: int) -> Any:
    """A ccxt client for the orders of one account; `client.session` must be set as `session_for` makes it. The caller closes both.

    Raises:
        ConfigError: ccxt knows no such exchange, or the keys lack what it requires.
    """
    options = {
        **keys.credentials(),
        "enableRateLimit": False,
        "timeout": timeout_ms,
        "options": {
            "maxRetriesOnFailure": 0,
            "fetchMarkets": {"types": ["spot"]},
            "fetchMargins": False,
            "adjustForTimeDifference": False,
            "warnOnFetchOpenOrdersWithoutSymbol": False,
        },
    }
    client = exchange(name, options=options, place=place)
    client.has = {**client.has, "fetchCurrencies": False}  # not with the markets; `funds.wallets` asks for them
    client.number = str  # numbers of replies stay text: no float is ever made of them
    client.own_session = False
    client.verbose = False
    client.logger = _SILENT  # at debug level ccxt logs headers and signed addresses
    client.price_to_precision = _as_given
    client.amount_to_precision = _as_given
    client.on_rest_response = _whole(client)
    missing = [key for key, needed in client.requiredCredentials.items() if needed and not getattr(client, key, None)]
    if missing:
        raise ConfigError(f"{keys}: {name} also requires {', '.join(missing)}")
    return client


def session_for(place: Place) -> aiohttp.ClientSession:
    """A session whose requests are traced (`passage.py`) and go where `place` says; answers are bounded."""
    try:
        context = ssl.create_default_context(cafile=place.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"ca_file {place.ca_file}: {error}") from None
    hosts = {name: _address(name, text) for name, text in place.hosts.items()}
    connector = aiohttp.TCPConnector(ssl=context, resolver=_Resolver(hosts) if hosts else None, keepalive_timeout=55, limit=32)
    return aiohttp.ClientSession(connector=connector, trace_configs=[trace_passages()], response_class=BoundedResponse)


class _Resolver(AbstractResolver):
    """Resolves some names to given addresses and refuses every other: nothing reaches the real exchange by accident."""

    def __init__(self, hosts: Mapping[str, tuple[str, int]]) -> None:
        self._hosts = hosts

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        """The address of a known name.

        Raises:
            OSError: another name.
        """
        del port, family
        if host not in self._hosts:
            raise OSError(f"{host} is not among the hosts of this place")
        address, at = self._hosts[host]
        return [ResolveResult(hostname=host, host=address, port=at, family=socket.AF_INET, proto=0, flags=socket.AI_NUMERICHOST)]

    async def close(self) -> None:
        """Nothing is held."""


def _address(name: str, text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()):
        raise ConfigError(f"hosts.{name} = {text}: allowed is ADDRESS:PORT")
    return host, int(port)


def _whole(client: Any) -> Callable[..., str]:
    """What refuses the reply to a read that is no JSON: ccxt hands its text on, and finds no orders, fills or money in it."""
    from ccxt.base.errors import BadResponse

    def look(code: int, reason: str, url: str, method: str, headers: Mapping[str, str], body: str, *_: object) -> str:
        del reason, url, headers
        if method == "GET" and code // 100 == 2 and client.parse_json(body) is None:  # a success
            raise BadResponse(f"{client.id}: the reply is no JSON")
        return body.strip()

    return look


def _as_given(symbol: str, number: str) -> str:
    """In place of ccxt's rounding: the text was made from integers on the instrument's own grid."""
    del symbol
    return number


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
