"""The exchanges whose wire this project decodes itself: where they are, what they offer, and what makes a session of a connection.

Any other exchange is recorded through ccxt's parsed structures (`venues/generic.py`), which coalesce.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from xarb.wires.binance import BinanceSession
from xarb.wires.decimals import Listing
from xarb.wires.session import Session


class Lookup(NamedTuple):
    """A request that must be made before connecting, whose answer holds the address of the stream."""

    method: str
    path: str
    url_of: Callable[[bytes], str]


class Wire(NamedTuple):
    """One market-data service of an exchange.

    Args:
        venue: venue id here, which is ccxt's id of the exchange.
        stream_url: address of the public stream; empty where `lookup` gives it.
        rest_url: address to which the path of a `Fetch` is appended.
        channels: what can be subscribed, of `quotes`, `deltas`, `books`, `trades` and `marks`.
        session: makes the session of one connection from listings and channels.
        max_instruments: instruments that one connection carries.
        silence_s: seconds without any frame after which the connection is given up; the stream sends something more often.
        continuity: how a lost message shows.
        documentation: where the format is described, and as of when.
    """

    venue: str
    stream_url: str
    rest_url: str
    channels: tuple[str, ...]
    session: Callable[[Sequence[Listing], Sequence[str]], Session]
    max_instruments: int
    silence_s: int
    continuity: str
    documentation: str
    lookup: Lookup | None = None


_BINANCE: Final = (
    Wire(
        venue="binance",
        stream_url="wss://stream.binance.com:9443/stream",
        rest_url="https://api.binance.com",
        channels=("quotes", "deltas", "trades"),
        session=lambda listings, channels: BinanceSession("spot", listings, channels),
        max_instruments=300,
        silence_s=60,
        continuity="U = last u + 1; REST snapshot",
        documentation="Binance spot, web-socket-streams.md, 2026",
    ),
    Wire(
        venue="binanceusdm",
        stream_url="wss://fstream.binance.com/stream",
        rest_url="https://fapi.binance.com",
        channels=("quotes", "deltas", "trades", "marks"),
        session=lambda listings, channels: BinanceSession("usdm", listings, channels),
        max_instruments=50,
        silence_s=60,
        continuity="pu = last u; REST snapshot",
        documentation="Binance USD-M futures, market streams, 2026",
    ),
    Wire(
        venue="binancecoinm",
        stream_url="wss://dstream.binance.com/stream",
        rest_url="https://dapi.binance.com",
        channels=("quotes", "deltas", "trades", "marks"),
        session=lambda listings, channels: BinanceSession("coinm", listings, channels),
        max_instruments=50,
        silence_s=60,
        continuity="pu = last u; REST snapshot",
        documentation="Binance COIN-M futures, market streams, 2026",
    ),
)
WIRES: Final[dict[str, Wire]] = {wire.venue: wire for wire in _BINANCE}
