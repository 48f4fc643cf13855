"""The exchanges whose wire this project decodes itself: where they are, what they offer, and what makes a session of a connection.

Any other exchange is recorded through ccxt's parsed structures (`venues/generic.py`), which coalesce.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple

from xarb.wires.binance import MARKETS as MARKETS_OF_BINANCE
from xarb.wires.binance import BinanceSession
from xarb.wires.bitstamp import BitstampSession
from xarb.wires.bybit import VENUES as MARKETS_OF_BYBIT
from xarb.wires.bybit import BybitSession
from xarb.wires.coinbase import CoinbaseSession
from xarb.wires.decimals import Listing
from xarb.wires.gate import GateSession
from xarb.wires.kraken import KrakenSession
from xarb.wires.kucoin import KucoinSession, stream_url
from xarb.wires.okx import OkxSession
from xarb.wires.session import Session
from xarb.wires.upbit import UpbitSession


class Lookup(NamedTuple):
    """A request that must be made before connecting, whose answer holds the address of the stream."""

    method: str
    path: str
    url_of: Callable[[bytes], str]


class Rate(NamedTuple):
    """What an exchange may be asked for: `burst` at once, then `per_s` a second; a span of T s sees burst + T * per_s at most."""

    burst: int
    per_s: float


# Where an exchange names no limit of its own: Bybit of messages, Kraken (its limit moves with its load) of messages, and those whose
# books start in the stream of snapshots, which nobody fetches there.
CAREFUL: Final = Rate(4, 4.0)
SELDOM: Final = Rate(20, 1.5)


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
        messages: how fast messages may be sent on one connection.
        snapshots: how fast snapshots may be fetched over REST, from one address.
        lookup: the request that gives the stream's address, where it has none of its own.
        exchange: ccxt's id of the exchange where it is another one than `venue`: one exchange with a service for each kind of market.
        markets: ccxt's words for the markets of this service, of `spot`, `linear` and `inverse`; empty for all of the exchange's. Native
            names of another market may be the same and mean something else.
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
    messages: Rate = CAREFUL
    snapshots: Rate = SELDOM
    lookup: Lookup | None = None
    exchange: str = ""
    markets: tuple[str, ...] = ()


_BINANCE: Final = (
    Wire(
        venue="binance",
        stream_url="wss://stream.binance.com:9443/stream",
        rest_url="https://api.binance.com",
        channels=("quotes", "deltas", "trades"),
        session=partial(BinanceSession, "spot"),
        max_instruments=300,
        silence_s=60,
        continuity="U = last u + 1; REST snapshot",
        documentation="Binance spot, web-socket-streams.md, 2026",
        messages=Rate(1, 2.0),  # 5 a second, pings and pongs among them (same page): of ours two
        snapshots=Rate(20, 1.5),  # 1,000 levels weigh 50 of 6,000 a minute (rest-api.md): 92 % at most
        markets=("spot",),
    ),
    *(
        Wire(
            venue=MARKETS_OF_BINANCE[market],
            stream_url=f"wss://{letter}stream.binance.com/stream",
            rest_url=f"https://{letter}api.binance.com",
            channels=("quotes", "deltas", "trades", "marks"),
            session=partial(BinanceSession, market),
            max_instruments=50,
            silence_s=60,
            continuity="pu = last u; REST snapshot",
            documentation=f"Binance {name} futures, market streams, 2026",
            messages=Rate(2, 4.0),  # 10 a second (same page), pings among them
            snapshots=Rate(20, 1.5),  # 1,000 levels weigh 20 of 2,400 a minute ("Order Book"): 92 % at most
            markets=(kind,),
        )
        for market, letter, name, kind in (("usdm", "f", "USD-M", "linear"), ("coinm", "d", "COIN-M", "inverse"))
    ),
)
_OKX: Final = (
    Wire(
        venue="okx",
        stream_url="wss://ws.okx.com:8443/ws/v5/public",
        rest_url="https://www.okx.com",
        channels=("quotes", "deltas", "trades", "marks"),
        session=OkxSession,
        max_instruments=25,
        silence_s=30,
        continuity="prevSeqId = last seqId; snapshot in the stream",
        documentation="OKX API v5, order book channel, 2026-07-07",
        messages=Rate(100, 0.1),  # 480 subscriptions an hour on a connection ("WebSocket / Overview")
    ),
)
_BYBIT: Final = tuple(
    Wire(
        venue=venue,
        stream_url=f"wss://stream.bybit.com/v5/public/{market}",
        rest_url="https://api.bybit.com",
        channels=("quotes", "deltas", "trades") if market == "spot" else ("quotes", "deltas", "trades", "marks"),
        session=partial(BybitSession, market),
        max_instruments=50,
        silence_s=30,
        continuity="u = last u + 1; snapshot in the stream",
        documentation="Bybit API v5, websocket stream, 2026",
        exchange="bybit",
        markets=(market,),
    )
    for market, venue in MARKETS_OF_BYBIT.items()
)
_KRAKEN: Final = (
    Wire(
        venue="kraken",
        stream_url="wss://ws.kraken.com/v2",
        rest_url="https://api.kraken.com",
        channels=("quotes", "deltas", "trades"),
        session=KrakenSession,
        max_instruments=50,
        silence_s=10,
        continuity="CRC32 of the best 10 levels; snapshot in the stream",
        documentation="Kraken API Center, spot websocket v2 and book checksum guide, 2026",
        markets=("spot",),
    ),
)
_COINBASE: Final = (
    Wire(
        venue="coinbase",
        stream_url="wss://advanced-trade-ws.coinbase.com",
        rest_url="https://api.coinbase.com",
        channels=("quotes", "deltas", "trades"),
        session=CoinbaseSession,
        max_instruments=10,
        silence_s=10,
        continuity="sequence_num of the connection, + 1; snapshot in the stream",
        documentation="Coinbase Developer Platform, Advanced Trade WebSocket, 2026",
        messages=Rate(2, 2.0),  # 8 a second from one address ("WebSocket Rate Limits"): for two connections at a time
    ),
)
_KUCOIN: Final = (
    Wire(
        venue="kucoin",
        stream_url="",
        rest_url="https://api.kucoin.com",
        channels=("quotes", "deltas", "trades"),
        session=KucoinSession,
        max_instruments=100,
        silence_s=45,
        continuity="sequenceStart <= last + 1; REST snapshot of 100 levels, again when the market leaves them",
        documentation="KuCoin classic WebSocket, spot public channels, 2026",
        messages=Rate(40, 5.0),  # 100 in 10 s on a connection ("Rate Limit", WebSocket)
        snapshots=Rate(50, 10.0),  # 100 levels weigh 4 (as in ccxt 4.5) of 2,000 in 30 s ("Rate Limit"): 70 %
        markets=("spot",),
        lookup=Lookup("POST", "/api/v1/bullet-public", stream_url),
    ),
)
_GATE: Final = (
    Wire(
        venue="gate",
        stream_url="wss://api.gateio.ws/ws/v4/",
        rest_url="https://api.gateio.ws",
        channels=("quotes", "deltas", "trades"),
        session=GateSession,
        max_instruments=100,
        silence_s=45,
        continuity="U <= last + 1; REST snapshot, and whole books in the stream",
        documentation="Gate spot WebSocket v4, 2026",
        messages=Rate(20, 50.0),  # no limit, says the exchange (gateio/gatews, issue 25, 2022); a connection of 100 books sends 102
        snapshots=Rate(50, 10.0),  # 200 in 10 s of each public request (API v4, rate limits)
        markets=("spot",),
    ),
)
_BITSTAMP: Final = (
    Wire(
        venue="bitstamp",
        stream_url="wss://ws.bitstamp.net",
        rest_url="https://www.bitstamp.net",
        channels=("deltas", "books", "trades"),
        session=BitstampSession,
        max_instruments=50,
        silence_s=60,
        continuity="by time only; REST snapshot no older than the first update",
        documentation="Bitstamp WebSocket API v2, 2026",
        messages=Rate(20, 20.0),  # none is stated but that of all requests, 400 a second (API, "Request limits")
        snapshots=Rate(20, 5.0),  # 10,000 in 10 minutes (same place)
        markets=("spot",),
    ),
)
_UPBIT: Final = (
    Wire(
        venue="upbit",
        stream_url="wss://api.upbit.com/websocket/v1",
        rest_url="https://api.upbit.com",
        channels=("books", "trades"),
        session=UpbitSession,
        max_instruments=100,
        silence_s=75,
        continuity="none: every book is whole",
        documentation="Upbit WebSocket, SIMPLE form, 2026",
        messages=Rate(4, 1.0),  # 5 a second and 100 a minute on a connection ("Rate Limits", 2026-10)
        markets=("spot",),
    ),
)
WIRES: Final[dict[str, Wire]] = {
    wire.venue: wire for wires in (_BINANCE, _OKX, _BYBIT, _KRAKEN, _COINBASE, _KUCOIN, _GATE, _BITSTAMP, _UPBIT) for wire in wires
}
