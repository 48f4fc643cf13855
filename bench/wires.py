"""What does a session cost a frame: decoding, exact numbers, continuity, events, beside parsing the same frames to plain objects?

Made frames of one instrument in each exchange's own form: seven of ten change three levels of a book of 25, two are best bid and ask, one is
a trade; where an exchange has no such quotes they are book messages, and Upbit's books are whole ones of 15 levels. Every message continues
its book, Kraken's with true checksums. One core, CPU time, the best of a few rounds: microseconds a frame, frames a second, and the ratio to
`msgspec.json.decode` of the same frames.

    python -m bench.wires [FRAMES]
"""

from __future__ import annotations

import random
import sys
import time
import zlib
from collections.abc import Callable
from string import Template
from typing import Final, NamedTuple

import msgspec

from xarb.model.instrument import Instrument
from xarb.wires.decimals import Listing
from xarb.wires.events import RejectEvent
from xarb.wires.exchanges import WIRES

ROUNDS: Final = 3
LEVELS: Final = 25
MS: Final = 1_790_000_000_000
ISO: Final = "2026-09-21T14:13:20.123456Z"
Levels = list[tuple[str, str]]


def pairs(levels: Levels, *more: str) -> str:
    """Levels as lists of texts."""
    return msgspec.json.encode([[*level, *more] for level in levels]).decode()


def bare(levels: Levels) -> str:
    """Levels as objects with bare numbers."""
    return "[" + ",".join(f'{{"price":{price},"qty":{qty}}}' for price, qty in levels) + "]"


def updates(bids: Levels, asks: Levels) -> str:
    """Levels as objects that name their side."""
    rows = [
        {"side": side, "event_time": ISO, "price_level": price, "new_quantity": qty}
        for side, levels in (("bid", bids), ("offer", asks))
        for price, qty in levels
    ]
    return msgspec.json.encode(rows).decode()


class Form(NamedTuple):
    """How an exchange writes: texts with `$name` for what changes; `levels` writes those of `$bids` and `$asks`.

    `fetched`: the snapshot is an answer over REST. `counts_all`: every message of the connection has a number, not those of books alone.
    """

    native: str
    snapshot: str
    depth: str
    quote: str | None
    trade: str
    levels: Callable[[Levels], str] = pairs
    fetched: bool = False
    counts_all: bool = False


BINANCE: Final = Form(
    "BTCUSDT",
    '{"lastUpdateId":$number,"bids":$bids,"asks":$asks}',
    '{"stream":"x","data":{"e":"depthUpdate","E":$ms,"s":"BTCUSDT","U":$number,"u":$number,"b":$bids,"a":$asks}}',
    '{"stream":"x","data":{"u":$number,"s":"BTCUSDT","b":"$bid","B":"$bid_qty","a":"$ask","A":"$ask_qty"}}',
    '{"stream":"x","data":{"e":"trade","E":$ms,"s":"BTCUSDT","t":$number,"p":"$price","q":"$qty","T":$ms,"m":true,"M":true}}',
    fetched=True,
)
OKX_ITEM: Final = '"data":[{"asks":$asks,"bids":$bids,"ts":"$ms","checksum":0,"prevSeqId":'
OKX: Final = Form(
    "BTC-USDT",
    '{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"snapshot",' + OKX_ITEM + '-1,"seqId":$number}]}',
    '{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"update",' + OKX_ITEM + '$before,"seqId":$number}]}',
    '{"arg":{"channel":"bbo-tbt","instId":"BTC-USDT"},"data":[{"asks":[["$ask","$ask_qty","0","3"]],'
    '"bids":[["$bid","$bid_qty","0","3"]],"ts":"$ms","seqId":$number}]}',
    '{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[{"instId":"BTC-USDT","tradeId":"$number","px":"$price","sz":"$qty",'
    '"side":"buy","ts":"$ms","count":"3"}]}',
    levels=lambda levels: pairs(levels, "0", "3"),
)
BYBIT_ITEM: Final = '"ts":$ms,"data":{"s":"BTCUSDT","b":$bids,"a":$asks,"u":$number,"seq":$number},"cts":$ms}'
BYBIT: Final = Form(
    "BTCUSDT",
    '{"topic":"orderbook.50.BTCUSDT","type":"snapshot",' + BYBIT_ITEM,
    '{"topic":"orderbook.50.BTCUSDT","type":"delta",' + BYBIT_ITEM,
    '{"topic":"orderbook.1.BTCUSDT","type":"snapshot","ts":$ms,"data":{"s":"BTCUSDT","b":[["$bid","$bid_qty"]],"a":[["$ask","$ask_qty"]],'
    '"u":$number,"seq":$number},"cts":$ms}',
    '{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":$ms,"data":[{"T":$ms,"s":"BTCUSDT","S":"Buy","v":"$qty","p":"$price",'
    '"L":"PlusTick","i":"20f43950-d8dd-5b31-9112-$number","BT":false}]}',
)
KRAKEN_ITEM: Final = '"data":[{"symbol":"BTC/USD","bids":$bids,"asks":$asks,"checksum":$checksum,"timestamp":"$iso"}]}'
KRAKEN: Final = Form(
    "BTC/USD",
    '{"channel":"book","type":"snapshot",' + KRAKEN_ITEM,
    '{"channel":"book","type":"update",' + KRAKEN_ITEM,
    '{"channel":"ticker","type":"update","data":[{"symbol":"BTC/USD","bid":$bid,"bid_qty":$bid_qty,"ask":$ask,"ask_qty":$ask_qty,'
    '"last":62702.9,"volume":1947.83637005,"vwap":63392.2,"low":62476.1,"high":64196.6,"change":-239.4,"change_pct":-0.38,"timestamp":"$iso"}]}',
    '{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"sell","price":$price,"qty":$qty,"ord_type":"market",'
    '"trade_id":$number,"timestamp":"$iso"}]}',
    levels=bare,
)
COINBASE_HEAD: Final = '"client_id":"","timestamp":"$iso","sequence_num":$number,"events":['
COINBASE: Final = Form(
    "BTC-USD",
    '{"channel":"l2_data",' + COINBASE_HEAD + '{"type":"snapshot","product_id":"BTC-USD","updates":$updates}]}',
    '{"channel":"l2_data",' + COINBASE_HEAD + '{"type":"update","product_id":"BTC-USD","updates":$updates}]}',
    '{"channel":"ticker",'
    + COINBASE_HEAD
    + '{"type":"update","tickers":[{"type":"ticker","product_id":"BTC-USD","price":"21932.98",'
    '"volume_24_h":"16038.28770938","low_24_h":"21835.29","high_24_h":"23011.18","best_bid":"$bid","best_bid_quantity":"$bid_qty",'
    '"best_ask":"$ask","best_ask_quantity":"$ask_qty"}]}]}',
    '{"channel":"market_trades",' + COINBASE_HEAD + '{"type":"update","trades":[{"trade_id":"$number","product_id":"BTC-USD",'
    '"price":"$price","size":"$qty","side":"BUY","time":"$iso"}]}]}',
    counts_all=True,
)
KUCOIN: Final = Form(
    "BTC-USDT",
    '{"code":"200000","data":{"time":$ms,"sequence":"$number","bids":$bids,"asks":$asks}}',
    '{"topic":"/market/level2:BTC-USDT","type":"message","subject":"trade.l2update","data":{"changes":{"asks":$asks,"bids":$bids},'
    '"sequenceEnd":$number,"sequenceStart":$number,"symbol":"BTC-USDT","time":$ms}}',
    '{"topic":"/spotMarket/level1:BTC-USDT","type":"message","subject":"level1","data":{"asks":["$ask","$ask_qty"],'
    '"bids":["$bid","$bid_qty"],"timestamp":$ms}}',
    '{"topic":"/market/match:BTC-USDT","type":"message","subject":"trade.l3match","data":{"price":"$price","sequence":"$number",'
    '"side":"sell","size":"$qty","symbol":"BTC-USDT","time":"${ms}000000","tradeId":"$number","type":"match"}}',
    levels=lambda levels: pairs(levels, "7") if len(levels) < LEVELS else pairs(levels),
    fetched=True,
)
GATE_HEAD: Final = '{"time":1606294781,"time_ms":1606294781236,"event":"update",'
GATE: Final = Form(
    "BTC_USDT",
    '{"id":$number,"current":$ms,"update":$ms,"asks":$asks,"bids":$bids}',
    GATE_HEAD + '"channel":"spot.order_book_update","result":{"t":$ms,"e":"depthUpdate","E":1606294781,"s":"BTC_USDT","U":$number,'
    '"u":$number,"b":$bids,"a":$asks}}',
    GATE_HEAD + '"channel":"spot.book_ticker","result":{"t":$ms,"u":$number,"s":"BTC_USDT","b":"$bid","B":"$bid_qty","a":"$ask",'
    '"A":"$ask_qty"}}',
    GATE_HEAD + '"channel":"spot.trades","result":{"id":$number,"create_time":1606292218,"create_time_ms":"$ms.25","side":"sell",'
    '"currency_pair":"BTC_USDT","amount":"$qty","price":"$price"}}',
    fetched=True,
)
BITSTAMP_BOOK: Final = '{"timestamp":"1790000000","microtimestamp":"$us","bids":$bids,"asks":$asks}'
BITSTAMP: Final = Form(
    "btcusd",
    BITSTAMP_BOOK,
    '{"data":' + BITSTAMP_BOOK + ',"channel":"diff_order_book_btcusd","event":"data"}',
    None,
    '{"event":"trade","channel":"live_trades_btcusd","data":{"id":$number,"type":0,"price":$price,"amount":$qty,"price_str":"$price",'
    '"amount_str":"$qty","microtimestamp":"$us"}}',
    fetched=True,
)
UPBIT_BOOK: Final = (
    '{"ty":"orderbook","cd":"KRW-BTC","tms":$ms,"tas":4.79158413,"tbs":2.65609625,"obu":$units,"lv":0,"st":"REALTIME"}'
)
UPBIT: Final = Form(
    "KRW-BTC",
    UPBIT_BOOK,
    UPBIT_BOOK,
    None,
    '{"ty":"trade","cd":"KRW-BTC","tms":$ms,"td":"2024-10-31","ttm":"01:07:42","ttms":$ms,"tp":$price,"tv":$qty,"ab":"BID","sid":$number,'
    '"st":"REALTIME"}',
)
FORMS: Final = {
    "binance": BINANCE,
    "okx": OKX,
    "bybit": BYBIT,
    "kraken": KRAKEN,
    "coinbase": COINBASE,
    "kucoin": KUCOIN,
    "gate": GATE,
    "bitstamp": BITSTAMP,
    "upbit": UPBIT,
}


class Market:
    """A book whose levels change their sizes: the same for every exchange."""

    def __init__(self) -> None:
        self._random = random.Random(7)  # noqa: S311  # a market, no secret
        self._sides = [{f"{61_837.6 + (step + 1) * sign / 10:.1f}": self._size() for step in range(LEVELS)} for sign in (-1, 1)]

    def _size(self) -> str:
        return f"{self._random.randint(1, 10**9) / 10**8:.8f}"

    def whole(self) -> list[Levels]:
        """All levels of both sides, each from the best."""
        return [list(side.items()) for side in self._sides]

    def change(self) -> list[Levels]:
        """Change two levels of one side and one of the other, and say which."""
        changed: list[Levels] = [[], []]
        first = self._random.randrange(2)
        for side in (first, first, 1 - first):
            price = self._random.choice(list(self._sides[side]))
            self._sides[side][price] = self._size()
            changed[side].append((price, self._sides[side][price]))
        return changed

    def text(self, template: str, form: Form, number: int, levels: list[Levels]) -> bytes:
        """A message of an exchange."""
        (bid, bid_qty), (ask, ask_qty) = (next(iter(side.items())) for side in self._sides)
        whole = self.whole()
        units = ",".join(
            f'{{"ap":{one[0]},"bp":{two[0]},"as":{one[1]},"bs":{two[1]}}}'
            for one, two in zip(whole[1][:15], whole[0][:15], strict=True)
        )
        best = ""
        for price, qty in whole[1][:10] + whole[0][:10]:
            best += price.replace(".", "") + qty.replace(".", "").lstrip("0")
        return (
            Template(template)
            .substitute(
                number=number,
                before=number - 1,
                bids=form.levels(levels[0]),
                asks=form.levels(levels[1]),
                updates=updates(*levels),
                units=f"[{units}]",
                checksum=zlib.crc32(best.encode()),
                bid=bid,
                bid_qty=bid_qty,
                ask=ask,
                ask_qty=ask_qty,
                price=bid,
                qty=bid_qty,
                ms=MS,
                us=MS * 1000 + number,
                iso=ISO,
            )
            .encode()
        )


def made(form: Form, count: int) -> tuple[list[bytes], list[bytes]]:
    """What starts a book, a snapshot over REST after a frame of its own time, and `count` frames that continue it."""
    market, number, frames = Market(), 0, []
    start = [market.text(form.depth, form, number, [[], []])] if form.fetched else []
    start.append(market.text(form.snapshot, form, number, market.whole()))
    for at in range(count):
        kind = at % 10
        template = form.trade if kind == 9 else form.quote if kind > 6 and form.quote else form.depth
        is_book = template is form.depth
        number += is_book or form.counts_all
        frames.append(market.text(template, form, number, market.change() if is_book else [[], []]))
    return start, frames


def cpu(work: Callable[[], None]) -> float:
    """CPU seconds of the best round."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return best


def measure(venue: str, form: Form, count: int) -> str:
    """The line of one exchange."""
    start, frames = made(form, count)
    instrument = Instrument(
        venue=venue, symbol="BTC/USD", native=form.native, kind="spot", base="BTC", quote="USD", settle="", px_scale=1, qty_scale=8
    )
    events = 0

    def decode() -> None:
        nonlocal events
        session = WIRES[venue].session([Listing(instrument)], ())
        for frame in start:
            session.receive(frame, form.native if frame is start[-1] and form.fetched else None)
        receive, asks, events = session.receive, session.asks, 0
        for frame in frames:
            found = receive(frame)
            asks()
            events += len(found)
            assert type(found[0]) is not RejectEvent, found[0]

    def parse() -> None:
        for frame in frames:
            msgspec.json.decode(frame)

    ours, plain = cpu(decode), cpu(parse)
    assert events == count, "a gap: the frames do not continue their book"
    size = sum(map(len, frames)) / count
    return f"{venue:10} {size:6.0f} bytes {ours / count * 1e6:7.2f} us a frame {count / ours:9,.0f} frames/s {ours / plain:6.1f} x msgspec"


def main() -> None:
    """Print a line for each exchange."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    for venue, form in FORMS.items():
        print(measure(venue, form, count), flush=True)


if __name__ == "__main__":
    main()
