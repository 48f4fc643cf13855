"""Makes the logs that benchmarks run on: top-of-book quotes of several symbols on several venues, seeded, at millions of rows a second.

W1 is one symbol on two venues with an edge after fees standing at about 0.9 % of events, W2 five symbols on four venues at about 0.4 %.
A latent mid per symbol walks on the tick grid; every venue quotes around it with sizes on the lot grid. In an episode one venue's quotes
of one symbol lie above the others by both taker fees and a few bps more: 250 (W1) and 57 (W2) episodes a million events, each of 36 or
70 events of its symbol. Their length and the rate of events (250 and 500 a second) were chosen so that a strategy with a cool-down of half
a second takes 200 to 260 bundles per million events. The market is made up; only its shape is that of real ones.

    python -m bench.markets w2 FOLDER [EVENTS]
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from xarb.log.manifest import Header
from xarb.log.schema import arrow_schema
from xarb.log.writer import LogWriter

if TYPE_CHECKING:
    from collections.abc import Iterator

I64 = NDArray[np.int64]
VENUES: Final = ("alpha", "bravo", "charlie", "delta")
BLOCK: Final = 1 << 20  # events made at a time
START_NS: Final = 1_767_571_200_000_000_000  # 2026-01-05 00:00 UTC
PPB: Final = 10**9


class Coin(NamedTuple):
    """A symbol: decimals of price and quantity, first mid in ticks, and the usual size in lots. Tick and lot are 1."""

    base: str
    px_scale: int
    qty_scale: int
    mid: int
    lots: int


COINS: Final = (
    Coin("BTC", 2, 5, 6_000_000, 4_000),
    Coin("ETH", 2, 4, 250_000, 8_000),
    Coin("SOL", 3, 2, 150_000, 5_000),
    Coin("XRP", 5, 0, 60_000, 3_000),
    Coin("DOGE", 6, 0, 150_000, 9_000),
)


class Market(NamedTuple):
    """What to make.

    `taker_ppb` is the fee of each venue, over which episodes pay; `share` the part of all events at which such an edge stands;
    `episode_events` how many events of its symbol an episode lasts; `events_per_s` the mean rate.
    """

    events: int
    symbols: int
    venues: int
    share: float
    taker_ppb: int = 1_000_000
    episode_events: int = 36
    events_per_s: int = 250
    seed: int = 1


def w1(events: int) -> Market:
    """One symbol on two venues."""
    return Market(events, symbols=1, venues=2, share=0.009)


def w2(events: int) -> Market:
    """Five symbols on four venues."""
    return Market(events, symbols=5, venues=4, share=0.004, episode_events=70, events_per_s=500)


class _Walk:
    """The state that goes on from block to block: mids, venue counters, time, and the episode that stands per symbol."""

    def __init__(self, market: Market) -> None:
        self.market = market
        self.random = np.random.Generator(np.random.PCG64(market.seed))
        self.mid = np.array([coin.mid for coin in COINS[: market.symbols]], np.int64)
        self.ts = START_NS
        self.counters = np.full(market.symbols * market.venues, 1000, np.int64)

    def block(self, count: int) -> dict[str, I64]:
        """Columns of `count` events; `symbol` and `venue` are indices."""
        market, random = self.market, self.random
        place = random.integers(0, market.symbols * market.venues, count)
        symbol, venue = place // market.venues, place % market.venues
        gaps = random.exponential(1e9 / market.events_per_s, count).astype(np.int64) + 1
        ts = self.ts + np.cumsum(gaps)
        self.ts = int(ts[-1])
        columns = {name: np.empty(count, np.int64) for name in ("bid", "ask", "bid_qty", "ask_qty", "venue_seq")}
        for number in range(market.symbols):
            rows = np.flatnonzero(symbol == number)
            if len(rows):
                self._quote(number, rows, venue[rows], columns)
        order = np.argsort(place, kind="stable")
        sorted_place = place[order]
        starts = np.searchsorted(sorted_place, np.arange(len(self.counters)))
        within = np.arange(count) - starts[sorted_place]
        columns["venue_seq"][order] = self.counters[sorted_place] + within
        self.counters += np.bincount(place, minlength=len(self.counters))
        late = 500_000 + random.exponential(1_500_000, count).astype(np.int64)
        return columns | {"symbol": symbol, "venue": venue, "ts_recv": ts, "ts_event": ts - late}

    def _quote(self, number: int, rows: I64, venue: I64, columns: dict[str, I64]) -> None:
        """Prices and sizes of the events of one symbol."""
        coin, random, count = COINS[number], self.random, len(rows)
        steps = random.integers(-1, 2, count)
        pull = (coin.mid - self.mid[number]) // max(coin.mid // 50, 1)  # keeps the walk within a few percent of where it began
        mid = self.mid[number] + np.cumsum(steps) + pull
        self.mid[number] = mid[-1]
        mid = mid + self._episodes(coin, mid, venue)
        half = 1 + random.integers(0, 3, count)
        columns["bid"][rows], columns["ask"][rows] = mid - half, mid + half
        for side in ("bid_qty", "ask_qty"):
            columns[side][rows] = 1 + random.exponential(coin.lots, count).astype(np.int64)

    def _episodes(self, coin: Coin, mid: I64, venue: I64) -> I64:
        """How far each event's quote lies above the latent mid: zero but in episodes."""
        market, random, count = self.market, self.random, len(mid)
        length = market.episode_events
        begins = np.sort(random.integers(0, max(count - 2 * length, 1), random.poisson(market.share * count / length)))
        shift = np.zeros(count, np.int64)
        for begin, who, extra in zip(
            begins.tolist(),
            random.integers(0, market.venues, len(begins)).tolist(),
            random.integers(100_000, 600_000, len(begins)).tolist(),
            strict=True,
        ):
            span = slice(begin, begin + length)
            shift[span] = np.where(venue[span] == who, coin.mid * (2 * market.taker_ppb + extra) // PPB + 8, shift[span])
        return shift


def make(folder: Path, market: Market) -> None:
    """Write the log."""
    with LogWriter.create(folder, header(market)) as writer:
        seq = write_heads(writer, market)
        for block in blocks(market):
            writer.write("quotes", _table(block, seq, market))
            writer.commit()
            seq += len(block["ts_recv"])


def header(market: Market) -> Header:
    """The first line of a made log."""
    return Header(kind="log", log_id=f"bench-{market.seed}", origin="made by bench/markets.py")


def write_heads(writer: LogWriter, market: Market) -> int:
    """Write the connection of each venue and every instrument, symbol by symbol; the seq that follows."""
    places = [(symbol, venue) for symbol in range(market.symbols) for venue in range(market.venues)]
    heads = [
        {"seq": n, "ts_recv": START_NS, "conn": n, "venue": VENUES[n], "event": "opened", "epoch": 1, "source": "bench"}
        for n in range(market.venues)
    ]
    writer.write_rows("connections", heads)
    writer.write_rows("instruments", [_instrument(market.venues + n, *place) for n, place in enumerate(places)])
    return market.venues + len(places)


def blocks(market: Market) -> Iterator[dict[str, I64]]:
    """The events in blocks of columns, as `make` writes them."""
    walk = _Walk(market)
    for start in range(0, market.events, BLOCK):
        yield walk.block(min(BLOCK, market.events - start))


def _instrument(seq: int, symbol: int, venue: int) -> dict[str, object]:
    coin = COINS[symbol]
    return {
        "seq": seq,
        "ts_recv": START_NS,
        "venue": VENUES[venue],
        "symbol": f"{coin.base}/USDT",
        "native": f"{coin.base}USDT",
        "kind": "spot",
        "base": coin.base,
        "quote": "USDT",
        "settle": "USDT",
        "px_scale": coin.px_scale,
        "qty_scale": coin.qty_scale,
        "tick_int": 1,
        "lot_int": 1,
        "contract": "none",
        "active": True,
        "origin": "synthetic",
    }


def _table(block: dict[str, I64], first_seq: int, market: Market) -> pa.Table:
    """A block of events as a table of `quotes`."""
    count, symbol = len(block["ts_recv"]), block["symbol"]
    symbols = [f"{coin.base}/USDT" for coin in COINS[: market.symbols]]
    coins = COINS[: market.symbols]
    columns = {
        "seq": pa.array(np.arange(first_seq, first_seq + count)),
        "ts_recv": pa.array(block["ts_recv"]),
        "ts_event": pa.array(block["ts_event"]),
        "conn": pa.array(block["venue"].astype(np.int32)),
        "venue": pa.DictionaryArray.from_arrays(block["venue"].astype(np.int32), VENUES[: market.venues]),
        "symbol": pa.DictionaryArray.from_arrays(symbol.astype(np.int32), symbols),
        "venue_seq": pa.array(block["venue_seq"]),
        "px_scale": pa.array(np.array([coin.px_scale for coin in coins], np.int8)[symbol]),
        "qty_scale": pa.array(np.array([coin.qty_scale for coin in coins], np.int8)[symbol]),
    }
    columns |= {f"{name}_int": pa.array(block[name]) for name in ("bid", "bid_qty", "ask", "ask_qty")}
    schema = arrow_schema("quotes")
    return pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)


def main() -> None:
    """Write a log named on the command line, and say how fast and how large."""
    name, folder, events = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 5_000_000
    began = time.perf_counter()
    make(folder, {"w1": w1, "w2": w2}[name](events))
    took = time.perf_counter() - began
    size = sum(path.stat().st_size for path in folder.rglob("*.parquet"))
    print(f"{name}: {events:,} events in {took:.1f} s ({events / took / 1e6:.2f} M/s), {size / events:.1f} bytes an event")


if __name__ == "__main__":
    main()
