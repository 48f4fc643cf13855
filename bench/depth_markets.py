"""Makes logs of whole books and of changed levels (L2 deltas), on five symbols of four venues, seeded, block by block.

Books are the quotes of W2 with ten levels a side around each; an edge stands as often as there. Deltas are messages of four changed
levels, two in three among the best eight of a side, none crossing, at 2,000 messages a second; the books begin with a snapshot of 50 levels a
side and stay where they are. In an episode one venue sends a snapshot of the symbol's book higher up, by both taker fees and a few bps more,
changes levels of that one, and at the end goes back with another snapshot: 130 episodes a million rows, each of 40 messages of its symbol, so that
200 to 260 bundles a million rows come out, as on W1 and W2.

    python -m bench.depth_markets books|book_deltas FOLDER [ROWS]
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from bench.markets import COINS, I64, PPB, START_NS, VENUES, Market, blocks, header, w2, write_heads
from xarb.log.schema import arrow_schema
from xarb.log.writer import LogWriter
from xarb.model.columns import LEVELS

MESSAGES: Final = 1 << 16  # made at a time
CHANGES: Final = 4  # rows of a message
SHOWN: Final = 50  # levels of a side in a snapshot
MESSAGE_NS: Final = 500_000
EPISODES: Final = 130e-6 * CHANGES  # by message
EPISODE: Final = 40  # messages of its symbol

Block = dict[str, I64]  # `symbol`, `venue`, times and the kind's own columns


def book_blocks(market: Market) -> Iterator[Block]:
    """Ten levels a side around each quote of the market."""
    for block in blocks(market):
        levels = {
            f"{side}_{name}{level:02d}_int": block[f"{side}_qty" if name else side] + (level if name or side == "ask" else -level)
            for side in ("bid", "ask")
            for name in ("", "qty_")
            for level in range(LEVELS)
        }
        yield {name: block[name] for name in ("symbol", "venue", "ts_recv", "ts_event", "venue_seq")} | levels


def delta_blocks(market: Market) -> Iterator[Block]:
    """Snapshots of all books, then messages of changed levels and episodes, each within its block."""
    random = np.random.Generator(np.random.PCG64(market.seed))
    places = np.arange(market.symbols * market.venues)
    yield _rows(market, _snapshots(places, np.zeros(len(places), np.int64), np.arange(len(places), dtype=np.float64)), 0)
    for first in range(0, market.events // CHANGES, MESSAGES):
        count = min(MESSAGES, market.events // CHANGES - first)
        yield _rows(market, _messages(market, count, random), 1 + len(places) + first)


def _messages(market: Market, count: int, random: np.random.Generator) -> Block:
    """`count` messages and what episodes put between them; `at` orders them all."""
    place = random.integers(0, market.symbols * market.venues, count)
    length = EPISODE * market.symbols
    begins = np.sort(random.integers(0, max(count - length, 1), random.poisson(EPISODES * count))) if count > length else []
    shift = np.zeros(count, np.int64)
    free = np.zeros(market.symbols * market.venues, np.int64)  # by place: no episode before
    parts = []
    for begin in begins:
        where = int(random.integers(0, len(free)))
        above = COINS[where // market.venues].mid * (2 * market.taker_ppb + int(random.integers(100_000, 600_000))) // PPB + 8
        if begin < free[where]:
            continue
        free[where] = begin + length + 1
        span = slice(begin, begin + length)
        shift[span] = np.where(place[span] == where, above, shift[span])
        ends = np.array([begin, begin + length], np.float64) - 0.5
        parts.append(_snapshots(np.array([where, where]), np.array([above, 0]), ends))
    rows = count * CHANGES
    depth = np.where(random.random(rows) < 0.67, random.integers(0, 8, rows), random.integers(0, SHOWN, rows))
    parts.append(
        {
            "at": np.repeat(np.arange(count, dtype=np.float64), CHANGES),
            "place": np.repeat(place, CHANGES),
            "shift": np.repeat(shift, CHANGES),
            "side": random.integers(0, 2, rows),
            "depth": depth,
            "qty_int": np.where(random.random(rows) < 0.2, 0, random.integers(1, 1000, rows)),
            "is_snapshot": np.zeros(rows, np.bool_),
            "is_last": np.tile(np.arange(CHANGES) == CHANGES - 1, count),
        }
    )
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.argsort(whole["at"], kind="stable")
    return {name: values[order] for name, values in whole.items()}


def _snapshots(place: I64, shift: I64, at: Any) -> Block:
    """A snapshot message for each place, its mid `shift` above the usual one."""
    rows, count = 2 * SHOWN, len(place)
    return {
        "at": np.repeat(at, rows),
        "place": np.repeat(place, rows),
        "shift": np.repeat(shift, rows),
        "side": np.tile(np.repeat([0, 1], SHOWN), count),
        "depth": np.tile(np.arange(SHOWN), 2 * count),
        "qty_int": np.full(rows * count, 700),
        "is_snapshot": np.ones(rows * count, np.bool_),
        "is_last": np.tile(np.arange(rows) == rows - 1, count),
    }


def _rows(market: Market, found: Block, first: int) -> Block:
    """The columns of a log, from messages of which the first is message `first`."""
    symbol = found["place"] // market.venues
    mid = np.array([coin.mid for coin in COINS[: market.symbols]], np.int64)[symbol] + found["shift"]
    away = 1 + found["depth"]
    ts = START_NS + ((first + found["at"]) * MESSAGE_NS).astype(np.int64)
    return {
        "symbol": symbol,
        "venue": found["place"] % market.venues,
        "ts_recv": ts,
        "ts_event": ts - 1_000_000,
        "side": found["side"].astype(np.int8),
        "price_int": mid + np.where(found["side"] == 0, -away, away),
        "qty_int": found["qty_int"],
        "is_snapshot": found["is_snapshot"],
        "is_last": found["is_last"],
        "verdict": np.zeros(len(ts), np.int8),
    }


MAKERS: Final[dict[str, Callable[[Market], Iterator[Block]]]] = {"books": book_blocks, "book_deltas": delta_blocks}


def make(kind: str, folder: Path, rows: int) -> None:
    """Write a log of one kind with about so many rows."""
    market = w2(rows)
    coins = COINS[: market.symbols]
    schema = arrow_schema(kind)
    with LogWriter.create(folder, header(market)) as writer:
        seq = write_heads(writer, market)
        for block in MAKERS[kind](market):
            symbol, venue, count = block.pop("symbol"), block.pop("venue").astype(np.int32), len(block["ts_recv"])
            columns: dict[str, Any] = block | {
                "seq": np.arange(seq, seq + count),
                "conn": venue,
                "venue": pa.DictionaryArray.from_arrays(venue, VENUES[: market.venues]),
                "symbol": pa.DictionaryArray.from_arrays(symbol.astype(np.int32), [f"{coin.base}/USDT" for coin in coins]),
                "px_scale": np.array([coin.px_scale for coin in coins], np.int8)[symbol],
                "qty_scale": np.array([coin.qty_scale for coin in coins], np.int8)[symbol],
            }
            arrays = [
                pa.array(columns[field.name]).cast(field.type) if field.name in columns else pa.nulls(count, field.type)
                for field in schema
            ]
            writer.write(kind, pa.Table.from_arrays(arrays, schema=schema))
            writer.commit()
            seq += count


def main() -> None:
    """Write a log named on the command line."""
    make(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 4_000_000)


if __name__ == "__main__":
    main()
