"""Rows of chains: what a feed of a chain puts into the log, with numbers as integers; `RowBuilder.put_chain` gives each its place.

The order of one block's rows is the feed's duty: its logs in log order, snapshots and loans as of its end, then its `BlockRow`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from xarb.model.instrument import Instrument
from xarb.model.units import NANOS_PER_S
from xarb.pools.concentrated import Concentrated
from xarb.pools.constant_product import ConstantProduct
from xarb.pools.financing import Loan
from xarb.wires.decimals import Listing
from xarb.wires.evm import BadLog, Crossed, Opened, PoolEvent, Resized, Synced, decode


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """What never changes of a pool. Addresses are lower-case hex with 0x."""

    address: str
    kind: str  # one of POOL_KINDS
    token0: str
    token1: str
    decimals0: int
    decimals1: int
    fee_ppm: int
    factory: str | None = None
    tick_spacing: int | None = None


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """A block's header as it came over a connection of a chain's venue."""

    venue: str
    conn: int
    chain_id: int
    number: int
    hash: str
    parent_hash: str
    timestamp_s: int
    base_fee_wei: int | None
    gas_used: int
    gas_limit: int
    miner: str


class Log(msgspec.Struct, frozen=True, kw_only=True):
    """A log of a pool: hex with 0x, and its place in the block."""

    tx_index: int
    log_index: int
    tx_hash: str
    topics: tuple[str, ...]
    data: str


class _OfBlock(msgspec.Struct, frozen=True, kw_only=True):
    """Where a row belongs. `ts_event` is the block's timestamp in ns."""

    ts_event: int | None
    conn: int
    venue: str
    chain_id: int
    block_number: int
    block_hash: str


class PoolRow(_OfBlock, frozen=True, kw_only=True):
    """A row of `pools`."""

    tx_index: int | None = None
    log_index: int | None = None
    tx_hash: str | None = None
    symbol: str
    cause: str
    kind: str
    factory: str | None
    token0: str
    token1: str
    decimals0: int
    decimals1: int
    fee_ppm: int
    tick_spacing: int | None
    reserve0: int | None = None
    reserve1: int | None = None
    sqrt_price_x96: int | None = None
    liquidity: int | None = None
    tick: int | None = None
    tick_lower: int | None = None
    tick_upper: int | None = None
    liquidity_delta: int | None = None
    amount0: int | None = None
    amount1: int | None = None
    ticks: list[int] | None = None
    tick_nets: list[int] | None = None
    tick_grosses: list[int] | None = None


class SwapRow(_OfBlock, frozen=True, kw_only=True):
    """A row of `swaps`."""

    tx_index: int
    log_index: int
    tx_hash: str
    symbol: str
    sender: str
    recipient: str
    delta0: int
    delta1: int
    in0: int | None = None
    in1: int | None = None


class LoanRow(_OfBlock, frozen=True, kw_only=True):
    """A row of `loans`."""

    lender: str
    way: str
    token: str
    premium_wad: int | None
    available: int | None


class BlockRow(_OfBlock, frozen=True, kw_only=True):
    """A row of `blocks`."""

    event: str
    parent_hash: str
    base_fee_wei: int | None
    gas_used: int
    gas_limit: int
    miner: str
    rows: int


class ReceiptRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `receipts`."""

    ts_event: int | None = None
    conn: int
    venue: str
    chain_id: int
    block_number: int | None = None
    block_hash: str | None = None
    tx_index: int | None = None
    account: str
    strategy: str
    bundle: int | None = None
    client_order_id: str | None = None
    tx_hash: str
    nonce: int
    status: str
    gas_used: int | None = None
    gas_price_wei: int | None = None
    profit_token: str | None = None
    profit: int | None = None
    token_in: str | None = None
    amount_in: int | None = None
    token_out: str | None = None
    amount_out: int | None = None
    reason: str | None = None


class PendingRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `pending`."""

    conn: int
    venue: str
    chain_id: int
    tx_hash: str
    sender: str
    recipient: str | None
    nonce: int
    value_wei: int
    gas_limit: int
    max_fee_wei: int
    tip_wei: int | None
    data: bytes


ChainRow = PoolRow | SwapRow | LoanRow | BlockRow | ReceiptRow | PendingRow
KIND_OF: Final[dict[type, str]] = {
    PoolRow: "pools",
    SwapRow: "swaps",
    LoanRow: "loans",
    BlockRow: "blocks",
    ReceiptRow: "receipts",
    PendingRow: "pending",
}


def listing_of(venue: str, pool: Pool, origin: str) -> Listing:
    """The pool as an instrument: its symbol is its address, assets are the tokens' addresses, amounts whole smallest units."""
    instrument = Instrument(
        venue=venue,
        symbol=pool.address,
        native=pool.address,
        kind="pool",
        base=pool.token0,
        quote=pool.token1,
        settle=pool.token1,
        px_scale=0,
        qty_scale=0,
        origin=origin,
    )
    return Listing(instrument)


def log_rows(block: Block, pool: Pool, log: Log) -> list[PoolRow | SwapRow]:
    """The rows of one log of a pool, none where it changes nothing that a swap depends on.

    Raises:
        BadLog: the log does not hold what its topic says.
    """
    event = decode(pool.kind, log.topics, log.data)
    if event is None:
        return []
    place = {**_place(block), "tx_index": log.tx_index, "log_index": log.log_index, "tx_hash": log.tx_hash}
    rows: list[PoolRow | SwapRow] = []
    cause, state = _stated(event)
    if cause:
        rows.append(PoolRow(**place, **_identity(pool), cause=cause, **state))
    swapped = _swapped(event)
    if swapped:
        sender, recipient = _parties(log.topics)
        rows.append(SwapRow(**place, symbol=pool.address, sender=sender, recipient=recipient, **swapped))
    return rows


def snapshot_row(block: Block, pool: Pool, state: ConstantProduct | Concentrated) -> PoolRow:
    """The whole pool as of the end of a block, as it was read from the chain at that block's hash."""
    if isinstance(state, ConstantProduct):
        return PoolRow(**_place(block), **_identity(pool), cause="snapshot", reserve0=state.reserve0, reserve1=state.reserve1)
    ticks = sorted(state.gross)
    return PoolRow(
        **_place(block),
        **_identity(pool),
        cause="snapshot",
        sqrt_price_x96=state.sqrt_price,
        liquidity=state.liquidity,
        tick=state.tick,
        ticks=ticks,
        tick_nets=[state.net[tick] for tick in ticks],
        tick_grosses=[state.gross[tick] for tick in ticks],
    )


def loan_row(block: Block, loan: Loan, token: str) -> LoanRow:
    """What a lender said of a token as of the end of a block."""
    said = msgspec.structs.asdict(loan)
    return LoanRow(**_place(block), **said, token=token)


def block_row(block: Block, rows: int, *, removed: bool = False) -> BlockRow:
    """The row that closes a block after so many rows of pools, swaps and loans, or that takes it away again."""
    return BlockRow(
        **_place(block),
        event="removed" if removed else "added",
        parent_hash=block.parent_hash,
        base_fee_wei=block.base_fee_wei,
        gas_used=block.gas_used,
        gas_limit=block.gas_limit,
        miner=block.miner,
        rows=rows,
    )


def _place(block: Block) -> dict[str, Any]:
    return {
        "ts_event": block.timestamp_s * NANOS_PER_S,
        "conn": block.conn,
        "venue": block.venue,
        "chain_id": block.chain_id,
        "block_number": block.number,
        "block_hash": block.hash,
    }


def _identity(pool: Pool) -> dict[str, Any]:
    found = msgspec.structs.asdict(pool)
    found["symbol"] = found.pop("address")
    return found


def _stated(event: PoolEvent) -> tuple[str, dict[str, Any]]:
    """Cause and state columns; no cause where the event states nothing of the pool's state."""
    if isinstance(event, Synced):
        return "sync", event._asdict()
    if isinstance(event, Crossed):
        return "swap", {"sqrt_price_x96": event.sqrt_price, "liquidity": event.liquidity, "tick": event.tick}
    if isinstance(event, Opened):
        return "initialize", {"sqrt_price_x96": event.sqrt_price, "tick": event.tick, "liquidity": 0}
    if isinstance(event, Resized):
        return "burn" if event.liquidity <= 0 else "mint", {
            "tick_lower": event.lower,
            "tick_upper": event.upper,
            "liquidity_delta": event.liquidity,
            "amount0": event.amount0,
            "amount1": event.amount1,
        }
    return "", {}


def _swapped(event: PoolEvent) -> dict[str, Any]:
    if isinstance(event, Crossed):
        return {"delta0": event.amount0, "delta1": event.amount1}
    if isinstance(event, Synced | Opened | Resized):
        return {}
    into0, into1, out0, out1 = event
    if max(event) >> 255:
        raise BadLog("a v2 swap of more than 255 bits")
    return {"delta0": into0 - out0, "delta1": into1 - out1, "in0": into0, "in1": into1}


def _parties(topics: Sequence[str]) -> tuple[str, str]:
    """The addresses of the first two indexed arguments.

    Raises:
        BadLog: there are none.
    """
    if len(topics) != 3 or any(len(topic) != 66 for topic in topics):
        raise BadLog(f"{len(topics)} topics, not 3 words")
    sender, recipient = ("0x" + topic[-40:].lower() for topic in topics[1:])
    return sender, recipient
