"""Inputs about chains: blocks, pools, swaps, receipts of our transactions, and transactions before inclusion.

A chain is a venue, a pool an instrument of kind `pool` on it, whose symbol is its address. The rows of one block follow each other:
those of its logs in log order, then snapshots of pools as of its end, then its `blocks` row, which closes it. Until that row has
come, nothing of the block counts. A reorg removes blocks by `blocks` rows of their own, the newest first.
"""

from __future__ import annotations

from typing import Final

from xarb.model.columns.shared import ACTOR, EVENT, RECV, SEQ, VENUE
from xarb.model.columns.table import Column, Type, counter, enum, input_table, small, text, whole, wide
from xarb.model.columns.words import BLOCK_EVENTS, POOL_CAUSES, POOL_KINDS, RECEIPT_STATUSES

_CHAIN: Final = (
    SEQ,
    RECV,
    EVENT,
    small("conn", "connection that delivered the row; see connections"),
    VENUE,
    whole("chain_id", "EIP-155 chain id"),
)
_BLOCK: Final = (
    counter("block_number", "block height"),
    text("block_hash", "lower-case hex with 0x"),
)
_POOL: Final = text("symbol", "the pool's address, lower-case hex with 0x: the symbol of its instrument")
CHAINS: Final = (
    input_table(
        "pools",
        "What a log says of a pool, or a snapshot of the whole pool as of the end of the block. What the log does not say is null.",
        *_CHAIN,
        *_BLOCK,
        small("tx_index", "position of the transaction in its block; null in a snapshot", nullable=True),
        small("log_index", "position of the log in its block; null in a snapshot", nullable=True),
        text("tx_hash", "transaction hash; null in a snapshot", nullable=True),
        _POOL,
        enum("cause", POOL_CAUSES, "the log's event, or a snapshot"),
        enum("kind", POOL_KINDS, "which maths it obeys; forks have the kind that they are forks of"),
        text("factory", "address of the contract that made it, which tells the fork", nullable=True),
        text("token0", "address of token0: the token's identity"),
        text("token1", "address of token1"),
        Column("decimals0", Type.INT16, "decimals of token0"),
        Column("decimals1", Type.INT16, "decimals of token1"),
        small("fee_ppm", "fee of the input in parts per million"),
        small("tick_spacing", "v3 tick spacing", nullable=True),
        wide("reserve0", "v2 reserve of token0 after it", nullable=True),
        wide("reserve1", "v2 reserve of token1 after it", nullable=True),
        wide("sqrt_price_x96", "v3 square root of the price after it, Q64.96", nullable=True),
        wide("liquidity", "v3 liquidity in range after it", nullable=True),
        small("tick", "v3 current tick after it", nullable=True),
        small("tick_lower", "v3 mint or burn: lower tick of the range", nullable=True),
        small("tick_upper", "v3 mint or burn: upper tick of the range", nullable=True),
        wide("liquidity_delta", "v3 mint or burn: change of the range's liquidity, negative for a burn", nullable=True),
        wide("amount0", "v3 mint or burn: token0 for it, negative for a burn", nullable=True),
        wide("amount1", "v3 mint or burn: token1 for it, negative for a burn", nullable=True),
        Column("ticks", Type.INTS, "v3 snapshot: all initialised ticks, rising", nullable=True),
        Column("tick_nets", Type.WIDES, "v3 snapshot: net liquidity of each of `ticks`", nullable=True),
        Column("tick_grosses", Type.WIDES, "v3 snapshot: gross liquidity of each of `ticks`", nullable=True),
    ),
    input_table(
        "swaps",
        "A swap as its log states it. The state that a v3 swap left is the `pools` row of the same log, that of a v2 swap the sync before it.",
        *_CHAIN,
        *_BLOCK,
        small("tx_index", "position of the transaction in its block"),
        small("log_index", "position of the log in its block"),
        text("tx_hash", "transaction hash"),
        _POOL,
        text("sender", "caller"),
        text("recipient", "receiver"),
        wide("delta0", "token0 into the pool, negative: out of it"),
        wide("delta1", "token1 into the pool, negative: out of it"),
        wide("in0", "v2: token0 that came in, of which `delta0` may have gone out again", nullable=True),
        wide("in1", "v2: token1 that came in", nullable=True),
    ),
    input_table(
        "blocks",
        "A block that is complete with this row, or its removal in a reorg, which undoes all of its rows. `ts_event` is its timestamp.",
        *_CHAIN,
        *_BLOCK,
        enum("event", BLOCK_EVENTS, "added on top of its parent, or removed: the newest block is no more"),
        text("parent_hash", "hash of the block before"),
        wide("base_fee_wei", "base fee per gas; null before EIP-1559", nullable=True),
        whole("gas_used", "gas used"),
        whole("gas_limit", "gas limit"),
        text("miner", "address that it pays"),
        small("rows", "rows of `pools` and `swaps` that it has in this log, all before this one; of a removed one as it was added"),
    ),
    input_table(
        "receipts",
        "The end of a transaction of ours. A removed block takes its receipts with it.",
        *_CHAIN,
        counter("block_number", "block height; null when dropped", nullable=True),
        text("block_hash", "lower-case hex with 0x; null when dropped", nullable=True),
        small("tx_index", "position of the transaction in its block; null when dropped", nullable=True),
        *ACTOR,
        counter("bundle", "our bundle; null when none of this log", nullable=True),
        text("client_order_id", "(log, start, order) as in commands; null when not of this log", nullable=True),
        text("tx_hash", "transaction hash"),
        whole("nonce", "nonce"),
        enum("status", RECEIPT_STATUSES, "as the chain has it; dropped: it can never be included any more"),
        whole("gas_used", "gas used; null when dropped", nullable=True),
        wide("gas_price_wei", "effective gas price; null when dropped", nullable=True),
        text("profit_token", "address of the token in which the executor states its profit", nullable=True),
        wide("profit", "realised profit in smallest units of that token, before gas", nullable=True),
        text("reason", "why it reverted or was dropped", nullable=True),
    ),
    input_table(
        "pending",
        "A transaction seen before inclusion.",
        *(column for column in _CHAIN if column is not EVENT),
        text("tx_hash", "transaction hash"),
        text("sender", "from"),
        text("recipient", "to; null when it makes a contract", nullable=True),
        whole("nonce", "nonce"),
        wide("value_wei", "value"),
        whole("gas_limit", "gas limit"),
        wide("max_fee_wei", "fee cap per gas; of a legacy transaction its gas price"),
        wide("tip_wei", "priority fee cap per gas; null in a legacy transaction", nullable=True),
        Column("data", Type.BYTES, "call data"),
    ),
)
