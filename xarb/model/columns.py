"""One column table per event: the source from which Arrow schemas, kernel dtypes, SQL views and documentation derive.

Inputs carry `seq`, the gap-free order over all kinds and venues. Outputs carry `(after_seq, n)`: the last input applied
before them, and an ordinal that starts at 0 for each `after_seq` and runs over all kinds of output together.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple

import numpy as np

FORMAT_VERSION: Final = 1
LEVELS: Final = 10  # book levels stored as fixed columns; deeper ones are lists


class Type(Enum):
    """What a column holds; the Arrow type is in the comment."""

    INT64 = "int64"
    INT32 = "int32"
    INT16 = "int16"
    INT8 = "int8"
    BOOL = "bool"
    TIME = "time"  # int64, nanoseconds since 1970 UTC
    ENUM = "enum"  # int8, an index into Column.values
    TEXT = "text"  # utf8, dictionary-encoded
    WIDE = "wide"  # utf8: a decimal integer of up to 256 bits
    MONEY = "money"  # decimal128(38, 18)
    INTS = "ints"  # list<int64>
    BYTES = "bytes"  # binary


class Encoding(Enum):
    """How Parquet stores the column (measured in the benchmark of layouts)."""

    DELTA = "delta"
    DICTIONARY = "dictionary"
    PLAIN = "plain"


class Column(NamedTuple):
    """One column of a table."""

    name: str
    type: Type
    doc: str
    nullable: bool = False
    values: tuple[str, ...] = ()
    encoding: Encoding = Encoding.DICTIONARY


class Table(NamedTuple):
    """One kind of event."""

    name: str
    doc: str
    columns: tuple[Column, ...]
    is_input: bool

    @property
    def key(self) -> tuple[str, ...]:
        """The columns that order the rows: `seq`, or `after_seq` and `n`."""
        return ("seq",) if self.is_input else ("after_seq", "n")

    def column(self, name: str) -> Column:
        """The column of that name.

        Raises:
            KeyError: the table has no such column.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"{self.name} has no column {name}")


SIDES: Final = ("bid", "ask")
DIRECTIONS: Final = ("buy", "sell")
AGGRESSORS: Final = ("buy", "sell", "unknown")
INSTRUMENT_KINDS: Final = ("spot", "perpetual", "future", "option", "pool")
CONTRACT_KINDS: Final = ("none", "linear", "inverse")
DELTA_VERDICTS: Final = ("apply", "old", "unsynced")
CONNECTION_EVENTS: Final = ("opened", "subscribed", "gap", "resync", "lost", "closed", "heartbeat")
FEED_STATES: Final = ("down", "live", "stale", "gapped", "crossed", "frozen", "outlying")
TIME_IN_FORCE: Final = ("ioc", "fok", "gtc")
COMMAND_KINDS: Final = ("submit", "cancel")
REPORT_EVENTS: Final = ("accepted", "fill", "canceled", "rejected", "expired", "unknown", "sent", "not_sent")
# What a real venue's report may say beside these. `sent` and `not_sent` are of the submit; a cancel has events of its own, so that
# none of them can be taken for the order's end. `not_found` alone ends nothing: a venue may not know an order yet.
LIVE_REPORT_EVENTS: Final = (
    *REPORT_EVENTS,
    "not_found",  # a lookup by client id did not find the order; `rejected` follows once that is proven
    "cancel_sent",  # the cancel was handed to the network
    "cancel_failed",  # the cancel was refused, not sent or not answered; the order stands as it was last told
    "foreign",  # an open order of the account that this log did not send; price and quantity are its limit
)
REPORT_SOURCES: Final = ("send", "cancel", "stream", "lookup", "trades")
ORDER_STATES: Final = (
    "pending",
    "accepted",
    "partially_filled",
    "filled",
    "canceled",
    "rejected",
    "expired",
    "unknown",
)
LIQUIDITY: Final = ("taker", "maker")
BREAKER_STATES: Final = ("closed", "open", "half_open")
OPPORTUNITY_PHASES: Final = ("opened", "decided", "closed")
VERDICTS: Final = ("taken", "refused")
LEDGER_CAUSES: Final = ("opening", "trade", "fee", "transfer", "residue", "adjustment")
RESIDUAL_CAUSES: Final = (
    "dust",  # too small for every venue's least order
    "held",  # not to be flattened any more; refusals say why
    "late_fill",  # taken back, since the bundle goes on
)
FLAG_RULES: Final = (
    "future_event_time",  # E5: ts_event later than ts_recv by more than the tolerance
    "late_event",  # E5: ts_recv - ts_event above the venue's latency limit
    "bad_price",  # a price of zero or less: kept out of the state
    "bad_qty",  # a negative quantity: kept out of the state
    "locked",  # bid equals ask: kept out of the state
    "crossed",  # bid above ask: kept out of the state
    "off_tick",  # a price off the tick grid
    "off_lot",  # a quantity off the lot grid
    "wide_spread",  # spread above k times the median of its sampled spreads
    "off_book",  # a quote's mid away from the book of the same venue
    "outlier",  # mid away from the cross-venue median beyond k MAD and the floor: kept out of trading
    "old_update",  # venue_seq below the last one seen: kept out of the state
    "no_snapshot",  # a delta before any snapshot: kept out of the state
    "unsorted_levels",  # book levels unsorted or repeated: kept out of the state
    "absent_level",  # deletion of a level that is not there
    "too_many_levels",  # more levels than the bound: the farthest dropped from memory
    "book_crossed",  # the book is crossed after a whole message
    "bad_trade",  # a trade without positive price and quantity
    "duplicate_trade",  # trade id seen already
    "trade_gap",  # dense trade ids skip
    "trade_disorder",  # trade id below the last one
    "trade_off_market",  # trade price away from the current book
    "abnormal_edge",  # an edge too good to be true: recorded, not traded
    "frozen",  # unchanged while its peers move
    "jump",  # mid left its usual distance from the cross-venue median in one move: kept out of trading
)


def _time(name: str, doc: str, *, nullable: bool = False) -> Column:
    return Column(name, Type.TIME, doc, nullable, encoding=Encoding.DELTA)


def _enum(name: str, values: tuple[str, ...], doc: str, *, nullable: bool = False) -> Column:
    return Column(name, Type.ENUM, doc, nullable, values)


def _text(name: str, doc: str, *, nullable: bool = False) -> Column:
    return Column(name, Type.TEXT, doc, nullable)


def _int(name: str, doc: str, *, nullable: bool = False) -> Column:
    return Column(name, Type.INT64, doc, nullable)


def _id(name: str, doc: str, *, nullable: bool = False) -> Column:
    return Column(name, Type.INT64, doc, nullable, encoding=Encoding.DELTA)


def _money(name: str, doc: str, *, nullable: bool = False) -> Column:
    return Column(name, Type.MONEY, doc, nullable)


def _wide(name: str, doc: str, *, nullable: bool = False) -> Column:
    return Column(name, Type.WIDE, doc, nullable)


def _bool(name: str, doc: str, *, nullable: bool = False) -> Column:
    return Column(name, Type.BOOL, doc, nullable)


def _small(name: str, doc: str, *, nullable: bool = False) -> Column:
    return Column(name, Type.INT32, doc, nullable)


_SEQ: Final = _id("seq", "our order: gap-free over all inputs of the log")
_RECV: Final = _time("ts_recv", "our receive time; never decreases within a log")
_EVENT: Final = _time("ts_event", "the venue's time; null where the venue gives none", nullable=True)
_ENVELOPE: Final = (_SEQ, _RECV)
_VENUE: Final = _text("venue", "venue id, lower case")
_SYMBOL: Final = _text("symbol", "unified symbol such as BTC/USDT or BTC/USD:BTC")
_FEED: Final = (
    _SEQ,
    _RECV,
    _EVENT,
    _small("conn", "connection that delivered the row; see connections"),
    _VENUE,
    _SYMBOL,
    _id("venue_seq", "the venue's own counter; null where it has none", nullable=True),
)
_SCALES: Final = (
    Column("px_scale", Type.INT8, "decimals of every price in the row"),
    Column("qty_scale", Type.INT8, "decimals of every quantity in the row"),
)
_OUTPUT: Final = (
    _id("after_seq", "seq of the last input applied before this output"),
    Column("n", Type.INT32, "ordinal among the outputs after that input", encoding=Encoding.DELTA),
    _time("ts", "engine time: ts_recv of that input, or the time of the deadline, timer or report that caused it"),
)
_ACTOR: Final = (_text("account", "account id"), _text("strategy", "strategy id"))
_MARKET: Final = (_VENUE, _SYMBOL)


def _book_columns() -> tuple[Column, ...]:
    columns: list[Column] = []
    for side in SIDES:
        for level in range(LEVELS):
            columns.append(_int(f"{side}_{level:02d}_int", f"{side} price, level {level} from the best", nullable=True))
        for level in range(LEVELS):
            columns.append(_int(f"{side}_qty_{level:02d}_int", f"{side} quantity, level {level}", nullable=True))
    for side in SIDES:
        columns.append(Column(f"{side}_deep_int", Type.INTS, f"{side} prices from level {LEVELS} on", nullable=True))
        columns.append(Column(f"{side}_qty_deep_int", Type.INTS, f"{side} quantities from level {LEVELS} on", nullable=True))
    return tuple(columns)


_REPORT: Final = (
    *_ACTOR,
    *_MARKET,
    _id("order", "our order number, counted per start"),
    _text("client_order_id", "(log, start, order) as sent to the venue"),
    _text("venue_order_id", "the venue's id", nullable=True),
    _enum("event", REPORT_EVENTS, "what the venue reports"),
    _text("fill_id", "the venue's trade id, unique per venue and symbol", nullable=True),
    _money("price", "fill price in quote asset per unit", nullable=True),
    _money("qty", "fill quantity", nullable=True),
    _money("fee", "fee of this fill, positive is paid", nullable=True),
    _text("fee_asset", "asset in which the fee is charged", nullable=True),
    _enum("liquidity", LIQUIDITY, "taker or maker", nullable=True),
    _text("reason", "why it was rejected, canceled or expired", nullable=True),
)

_LIVE_REPORT: Final = (
    *_ACTOR,
    *_MARKET,
    _small("start", "start whose order it is; null when the order is not of this log", nullable=True),
    _id("order", "our order number, counted per start; null when the order is not of this log", nullable=True),
    _text("client_order_id", "(log, start, order) as in commands; of another's order the venue's text, empty without one"),
    _text("venue_order_id", "the venue's id", nullable=True),
    _enum("event", LIVE_REPORT_EVENTS, "what is reported"),
    _enum("source", REPORT_SOURCES, "reply to the order or the cancel, user stream, order lookup, or list of trades"),
    _text("fill_id", "the venue's trade id, unique per venue and symbol", nullable=True),
    _enum("side", DIRECTIONS, "buy or sell where it is known", nullable=True),
    _money("price", "fill price in quote asset per unit", nullable=True),
    _money("qty", "fill quantity", nullable=True),
    _money("cum_qty", "filled so far as the venue states it", nullable=True),
    _money("fee", "fee of this fill, positive is paid", nullable=True),
    _text("fee_asset", "asset in which the fee is charged", nullable=True),
    _enum("liquidity", LIQUIDITY, "taker or maker", nullable=True),
    _text("reason", "why, in one word of ours", nullable=True),
    _text("error", "the venue's own words, without secrets", nullable=True),
)

_CHAIN: Final = (
    _SEQ,
    _RECV,
    _EVENT,
    _small("conn", "connection that delivered the row; see connections"),
    _VENUE,
    _int("chain_id", "EIP-155 chain id"),
    _id("block_number", "block height"),
    _text("block_hash", "lower-case hex with 0x"),
)
_LOG_KEY: Final = (
    Column("tx_index", Type.INT32, "position of the transaction in its block"),
    Column("log_index", Type.INT32, "position of the log in its block"),
    _bool("removed", "true for the compensating event of a reorg"),
)


def _input(name: str, doc: str, *columns: Column) -> Table:
    return Table(name, doc, columns, is_input=True)


_INPUT_TABLES: Final = (
    _input(
        "quotes",
        "Best bid and ask. An absent side or size is null, never zero.",
        *_FEED,
        _int("bid_int", "best bid", nullable=True),
        _int("bid_qty_int", "quantity at the best bid", nullable=True),
        _int("ask_int", "best ask", nullable=True),
        _int("ask_qty_int", "quantity at the best ask", nullable=True),
        *_SCALES,
    ),
    _input(
        "books",
        f"A whole book as of one moment: {LEVELS} levels a side as columns, deeper ones as lists.",
        *_FEED,
        *_SCALES,
        *_book_columns(),
    ),
    _input(
        "book_deltas",
        "One changed level. The rows of one message follow each other and end with is_last; an empty message is one row of nulls. "
        "A fetched snapshot and the updates that waited for it are one message: what they left is the book, nothing before.",
        *_FEED,
        _enum("side", SIDES, "side of the level", nullable=True),
        _int("price_int", "price of the level", nullable=True),
        _int("qty_int", "new quantity of the level; 0 removes it", nullable=True),
        *_SCALES,
        _bool("is_snapshot", "part of a snapshot: the first such row of a message clears the book"),
        _bool("is_last", "last row of its message; the book is a book again after it"),
        _enum("verdict", DELTA_VERDICTS, "what the wire session says: apply, old (before the snapshot), unsynced"),
        _id("first_id", "first update id of the message where the venue gives one", nullable=True),
        _id("prev_id", "last update id of the message before where the venue gives one", nullable=True),
    ),
    _input(
        "trades",
        "A public print. Our own executions are fills.",
        *_FEED,
        _text("trade_id", "the venue's trade id", nullable=True),
        _int("price_int", "price"),
        _int("qty_int", "quantity"),
        *_SCALES,
        _enum("aggressor", AGGRESSORS, "side that took liquidity"),
    ),
    _input(
        "marks",
        "Mark price, index price and funding of a derivative.",
        *_FEED,
        _int("mark_int", "mark price", nullable=True),
        _int("index_int", "index price", nullable=True),
        *_SCALES,
        _money("funding_rate", "funding rate of the current interval, a ratio", nullable=True),
        _time("funding_ts", "time of the next funding payment", nullable=True),
    ),
    _input(
        "pools",
        "State of an on-chain pool after a log.",
        *_CHAIN,
        *_LOG_KEY,
        _text("pool", "pool address"),
        _text("kind", "v2, v3 or a fork's name"),
        _text("token0", "address of token0"),
        _text("token1", "address of token1"),
        Column("decimals0", Type.INT8, "decimals of token0"),
        Column("decimals1", Type.INT8, "decimals of token1"),
        Column("fee_ppm", Type.INT32, "fee in parts per million"),
        _wide("reserve0", "v2 reserve of token0", nullable=True),
        _wide("reserve1", "v2 reserve of token1", nullable=True),
        _wide("sqrt_price_x96", "v3 square-root price, Q64.96", nullable=True),
        _wide("liquidity", "v3 liquidity in range", nullable=True),
        Column("tick", Type.INT32, "v3 current tick", nullable=True),
        Column("tick_spacing", Type.INT32, "v3 tick spacing", nullable=True),
        Column("tick_lower", Type.INT32, "v3 lower tick of the changed range", nullable=True),
        Column("tick_upper", Type.INT32, "v3 upper tick of the changed range", nullable=True),
        _wide("liquidity_delta", "v3 signed change of liquidity in the range", nullable=True),
    ),
    _input(
        "swaps",
        "A swap on a pool.",
        *_CHAIN,
        *_LOG_KEY,
        _text("pool", "pool address"),
        _text("tx_hash", "transaction hash"),
        _text("sender", "caller"),
        _text("recipient", "receiver"),
        _wide("delta0", "token0 into the pool (negative: out)"),
        _wide("delta1", "token1 into the pool (negative: out)"),
    ),
    _input(
        "blocks",
        "A block header, or its removal in a reorg.",
        *_CHAIN,
        _text("parent_hash", "hash of the block before"),
        _int("timestamp_s", "header time, Unix seconds"),
        _wide("base_fee_wei", "base fee per gas", nullable=True),
        _int("gas_used", "gas used"),
        _int("gas_limit", "gas limit"),
        _bool("removed", "true when a reorg took it away"),
    ),
    _input(
        "receipts",
        "The receipt of one of our transactions.",
        *_CHAIN,
        *_LOG_KEY[:1],
        *_ACTOR,
        _text("tx_hash", "transaction hash"),
        _bool("succeeded", "status 1"),
        _int("gas_used", "gas used"),
        _wide("gas_price_wei", "effective gas price"),
        _wide("profit", "realised profit in the bundle's token", nullable=True),
        _text("reason", "revert reason", nullable=True),
    ),
    _input(
        "pending",
        "A transaction seen before inclusion.",
        _SEQ,
        _RECV,
        _small("conn", "connection that delivered the row"),
        _VENUE,
        _int("chain_id", "EIP-155 chain id"),
        _text("tx_hash", "transaction hash"),
        _text("sender", "from"),
        _text("recipient", "to", nullable=True),
        _int("nonce", "nonce"),
        _wide("value_wei", "value"),
        _wide("max_fee_wei", "fee cap per gas"),
        Column("data", Type.BYTES, "call data"),
    ),
    _input(
        "instruments",
        "What is known of an instrument from here on; a later row replaces an earlier one, scales only grow.",
        *_ENVELOPE,
        *_MARKET,
        _text("native", "the venue's own name"),
        _enum("kind", INSTRUMENT_KINDS, "kind"),
        _text("base", "base asset id"),
        _text("quote", "quote asset id"),
        _text("settle", "settle asset id"),
        *_SCALES,
        _int("tick_int", "price step at px_scale", nullable=True),
        _int("lot_int", "quantity step at qty_scale", nullable=True),
        _money("min_qty", "smallest order quantity", nullable=True),
        _money("min_notional", "smallest order value in quote asset", nullable=True),
        _enum("contract", CONTRACT_KINDS, "none for spot"),
        _money("contract_size", "value of one contract: base units (linear) or quote units (inverse)", nullable=True),
        _time("expiry", "expiry of a dated contract", nullable=True),
        _bool("active", "false when trading is halted or the instrument is delisted"),
        _text("origin", "file or venue from which this is known"),
    ),
    _input(
        "wallets",
        "Whether an asset can be deposited and withdrawn on a network.",
        *_ENVELOPE,
        _VENUE,
        _text("asset", "asset id"),
        _text("network", "network name"),
        _bool("deposit_open", "deposits work"),
        _bool("withdraw_open", "withdrawals work"),
        _money("withdraw_fee", "fixed fee", nullable=True),
        _money("withdraw_min", "smallest withdrawal", nullable=True),
    ),
    _input(
        "connections",
        "Life of a connection: epochs, gaps, resyncs. An imported file is a connection too.",
        *_ENVELOPE,
        _small("conn", "number of the connection, unique in the log"),
        _VENUE,
        _text("symbol", "symbol concerned; null for the whole connection", nullable=True),
        _enum("event", CONNECTION_EVENTS, "what happened"),
        _small("epoch", "counts the connects of this connection from 1"),
        _text("source", "address or file"),
        _text("time_rule", "how ts_recv was made when the source has none", nullable=True),
        _text("detail", "what is known of the cause", nullable=True),
    ),
    _input(
        "health",
        "Clock, disk, queue, lag and heartbeat readings.",
        *_ENVELOPE,
        _text("venue", "venue concerned", nullable=True),
        _text("metric", "name with unit, such as clock_offset_ns"),
        _int("value", "reading"),
        _text("detail", "what is known of it", nullable=True),
    ),
    _input(
        "timers",
        "A scheduled wake as it was delivered live.",
        *_ENVELOPE,
        _text("strategy", "strategy that asked for it"),
        _time("due", "time on the grid for which it was asked"),
        _small("missed", "grid times coalesced into this one"),
    ),
    _input(
        "reports",
        "What a real or served venue said of orders, and whether we sent them. A final event follows all fills that it counts.",
        *_ENVELOPE,
        _EVENT,
        *_LIVE_REPORT,
    ),
    _input(
        "balances",
        "A balance as the venue states it; its strategy is empty.",
        *_ENVELOPE,
        _EVENT,
        *_ACTOR,
        _VENUE,
        _text("asset", "asset id"),
        _money("free", "available"),
        _money("locked", "held by open orders"),
    ),
    _input(
        "transfers",
        "A deposit or withdrawal; its strategy is empty. The same transfer comes again when its status changes.",
        *_ENVELOPE,
        _EVENT,
        *_ACTOR,
        _VENUE,
        _text("asset", "asset id"),
        _text("network", "network name", nullable=True),
        _money("qty", "positive in, negative out"),
        _money("fee", "fee in the same asset", nullable=True),
        _text("transfer_id", "the venue's id", nullable=True),
        _text("status", "the venue's word for its state"),
    ),
    _input(
        "operator",
        "An act of a person: arm, disarm, kill, reset, settings.",
        *_ENVELOPE,
        _text("action", "what was asked"),
        _text("actor", "who asked"),
        _text("detail", "arguments", nullable=True),
    ),
    _input(
        "rejects",
        "Bad input, kept with the rule that it broke.",
        *_ENVELOPE,
        _small("conn", "connection that delivered it", nullable=True),
        _text("venue", "venue", nullable=True),
        _text("symbol", "symbol where it could be read", nullable=True),
        _text("source", "file or address"),
        _int("line", "line or row in the source, from 1", nullable=True),
        _text("rule", "rule that it broke"),
        _text("detail", "what was wrong"),
        _text("payload", "the offending text, at most 4,096 characters", nullable=True),
    ),
    _input(
        "starts",
        "A start of the engine on this log.",
        *_ENVELOPE,
        _small("number", "counts starts of this log from 1"),
        _text("log_id", "identity of the log"),
        _text("code_digest", "sha256 of the package's source"),
        _text("config", "the effective config, JSON"),
        _int("seed", "seed of every random draw"),
        _text("mode", "paper or live"),
        _text("opening", "opening state, JSON"),
        _id("applied_seq", "last input that the start before applied; all its outputs are in the log", nullable=True),
    ),
    _input(
        "frames",
        "A raw message as it arrived, before any decoding: what the decoders made of it follows behind it.",
        *_ENVELOPE,
        _small("conn", "connection that delivered it"),
        _VENUE,
        _text("native", "of an answer to a request: the venue's name of the instrument; null for the stream", nullable=True),
        Column("payload", Type.BYTES, "the bytes"),
    ),
)


def _output(name: str, doc: str, *columns: Column) -> Table:
    return Table(name, doc, (*_OUTPUT, *columns), is_input=False)


_OUTPUT_TABLES: Final = (
    _output(
        "feed_states",
        "A change of a feed's state, or of its score across the floor that gates trading.",
        *_MARKET,
        _enum("state", FEED_STATES, "state from here on"),
        _enum("previous", FEED_STATES, "state before"),
        Column("score", Type.INT16, "quality score, 0 to 1000"),
        _bool("tradable", "live and at or above the quality floor"),
    ),
    _output(
        "flags",
        "What validation found in the input `after_seq`.",
        *_MARKET,
        _enum("rule", FLAG_RULES, "rule"),
        _int("value", "the offending value in the rule's unit", nullable=True),
        _int("bound", "the bound that it broke", nullable=True),
    ),
    _output(
        "opportunities",
        "An episode of a price gap: opened, decided (once or more), closed.",
        _id("opportunity", "number of the episode, counted per run or start"),
        _enum("phase", OPPORTUNITY_PHASES, "phase"),
        _text("strategy", "strategy that watches the pair"),
        _text("sell_venue", "venue whose bid is hit"),
        _text("sell_symbol", "its symbol"),
        _text("buy_venue", "venue whose ask is lifted"),
        _text("buy_symbol", "its symbol"),
        _int("edge_ppb", "bid / ask - 1 before fees, rounded down", nullable=True),
        _int("best_edge_ppb", "largest edge of the episode so far", nullable=True),
        _int("bid_int", "bid of the sell side", nullable=True),
        _int("ask_int", "ask of the buy side", nullable=True),
        _id("sell_seq", "seq of the row that set the bid", nullable=True),
        _id("buy_seq", "seq of the row that set the ask", nullable=True),
        _enum("verdict", VERDICTS, "of a decided row", nullable=True),
        _text("reason", "why refused, or why closed", nullable=True),
        _id("bundle", "bundle that took it", nullable=True),
        _int("life_ns", "time since it opened", nullable=True),
    ),
    _output(
        "commands",
        "A wish sent to a venue, with its cause.",
        *_ACTOR,
        *_MARKET,
        _enum("kind", COMMAND_KINDS, "submit or cancel"),
        _id("order", "our order number"),
        _text("client_order_id", "(log, start, order)"),
        _id("bundle", "bundle"),
        Column("leg", Type.INT16, "leg within the bundle"),
        Column("attempt", Type.INT16, "0 for the planned order, then hedges and unwinds"),
        _enum("side", DIRECTIONS, "buy or sell", nullable=True),
        _enum("tif", TIME_IN_FORCE, "time in force", nullable=True),
        _bool("post_only", "reject rather than take", nullable=True),
        _int("price_int", "limit price", nullable=True),
        _int("qty_int", "quantity", nullable=True),
        _int("px_scale", "decimals of the price", nullable=True),
        _int("qty_scale", "decimals of the quantity", nullable=True),
        _id("opportunity", "episode that caused it", nullable=True),
        _text("purpose", "open, hedge, unwind or cancel"),
    ),
    _output(
        "refusals",
        "What a strategy passed on, and what risk did not let go, each with its reason.",
        *_ACTOR,
        _id("opportunity", "episode concerned", nullable=True),
        _text("venue", "venue concerned", nullable=True),
        _text("symbol", "symbol concerned", nullable=True),
        _text("reason", "rule or limit by name"),
        _money("value", "what was asked", nullable=True),
        _money("bound", "what is allowed", nullable=True),
    ),
    _output("sim_reports", "What the simulated venue said of our orders.", *_REPORT),
    _output(
        "orders",
        "A change of an order's state.",
        *_ACTOR,
        *_MARKET,
        _id("order", "our order number"),
        _id("bundle", "bundle"),
        Column("leg", Type.INT16, "leg within the bundle"),
        _enum("state", ORDER_STATES, "state from here on"),
        _enum("previous", ORDER_STATES, "state before", nullable=True),
        _enum("side", DIRECTIONS, "buy or sell"),
        _money("price", "limit price"),
        _money("qty", "ordered quantity"),
        _money("filled_qty", "filled so far"),
        _text("reason", "why, where a venue or a rule gives one", nullable=True),
    ),
    _output(
        "fills",
        "An execution of ours.",
        *_ACTOR,
        *_MARKET,
        _id("order", "our order number"),
        _id("bundle", "bundle"),
        Column("leg", Type.INT16, "leg within the bundle"),
        _text("fill_id", "the venue's trade id"),
        _enum("side", DIRECTIONS, "buy or sell"),
        _money("price", "price in quote asset per unit"),
        _money("qty", "quantity in base asset"),
        _money("notional", "price times quantity in quote asset"),
        _money("fee", "fee, positive is paid"),
        _text("fee_asset", "asset of the fee"),
        _enum("liquidity", LIQUIDITY, "taker or maker"),
        _text("purpose", "open, hedge or unwind"),
    ),
    _output(
        "ledger",
        "A change of a balance; the sum of deltas is the balance.",
        *_ACTOR,
        _VENUE,
        _text("asset", "asset id"),
        _money("delta", "change"),
        _money("balance", "balance of account, venue and asset after it"),
        _enum("cause", LEDGER_CAUSES, "cause"),
        _id("order", "order concerned", nullable=True),
    ),
    _output(
        "residuals",
        "What a bundle left unbalanced, as it becomes inventory of the strategy; no balance changes by it.",
        *_ACTOR,
        _id("bundle", "bundle"),
        _text("asset", "asset id"),
        _money("qty", "what is left of it, negative is short; taken back by a late fill with the other sign"),
        _money("cost", "what the fills paid for it on average, rounded up; negative was received"),
        _text("cost_asset", "asset of the cost; a quote currency is its own"),
        _enum("cause", RESIDUAL_CAUSES, "why it is not flattened"),
    ),
    _output(
        "results",
        "What a strategy made so far, as a bundle of it ended; only where it has `max_day_loss` or `max_drawdown`.",
        *_ACTOR,
        _text("currency", "currency in which it is valued"),
        _money("pnl", "what its fills made, all starts of the log together"),
        _money("day_pnl", "that of the UTC day"),
        _money("peak", "highest pnl so far"),
    ),
    _output(
        "breakers",
        "Whether an account's new bundles may go to a venue: a change, or what a start opens with where that is not closed.",
        _text("account", "account id"),
        _VENUE,
        _enum("state", BREAKER_STATES, "closed: freely; open: none; half_open: one small one at a time"),
        _enum("previous", BREAKER_STATES, "state before"),
        _text("reason", "why it opened last"),
        _money("value", "what tripped it: a count, or seconds", nullable=True),
        _money("bound", "the bound that it broke", nullable=True),
        _time("until", "end of the pause of an open one; null: until a person resets it", nullable=True),
        _small("trips", "pauses since it was last closed"),
    ),
)


TABLES: Final[dict[str, Table]] = {table.name: table for table in (*_INPUT_TABLES, *_OUTPUT_TABLES)}
INPUTS: Final = tuple(name for name, table in TABLES.items() if table.is_input)
OUTPUTS: Final = tuple(name for name, table in TABLES.items() if not table.is_input)
KERNEL_KINDS: Final = ("quotes", "books", "book_deltas", "trades")  # stepped by the compiled kernel, the rest in Python

_NUMPY: Final = {
    Type.INT64: np.int64,
    Type.TIME: np.int64,
    Type.INT32: np.int32,
    Type.INT16: np.int16,
    Type.INT8: np.int8,
    Type.ENUM: np.int8,
    Type.BOOL: np.bool_,
}


def numpy_dtype(column: Column) -> np.dtype[np.generic]:
    """The dtype in which a fixed-width column reaches the kernel; a nullable column is always int64, null is INT64_MIN.

    Raises:
        KeyError: the column is text, money, a list or bytes and does not reach the kernel.
    """
    fixed = _NUMPY[column.type]
    return np.dtype(np.int64 if column.nullable else fixed)
