"""Commands are wishes: what the engine asks of a venue; reports are what a venue says back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from xarb.model.units import Money


class SubmitOrder(msgspec.Struct, frozen=True, kw_only=True):
    """Send an order. `instrument` is the engine's instrument number; price and quantity are at that instrument's scales.

    `ts` is the decision time: a simulated venue adds its order latency to it. `order` counts from 1 within a start or run.
    """

    ts: int
    order: int
    client_order_id: str
    account: str
    strategy: str
    instrument: int
    side: str  # "buy" | "sell"
    tif: str  # "ioc" | "fok" | "gtc"
    price_int: int
    qty_int: int
    post_only: bool = False


class CancelOrder(msgspec.Struct, frozen=True, kw_only=True):
    """Cancel an order by our number."""

    ts: int
    order: int
    client_order_id: str
    account: str
    strategy: str
    instrument: int


class SwapHop(msgspec.Struct, frozen=True, kw_only=True):
    """A swap of a cycle. Addresses are lower-case hex with 0x; `fee_pips` is of a v2 pool, in millionths, 0 of one that knows its own."""

    pool: str
    token_in: str
    is_v3: bool
    zero_for_one: bool
    fee_pips: int


class Swapping(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be swapped in one transaction on a chain, or not at all: a `SwapCycle` or a `SwapPath`.

    Attributes:
        ts, order, client_order_id, account, strategy: as of an order.
        venue: the chain.
        bundle: its bundle.
        hops: one or more, in order.
        amount: of the token that the first takes, in smallest units, into the first pool.
        deadline_s: latest block time, Unix seconds.
        channel: public or relay.
        gas_limit: most gas that it may use.
        ceiling_wei: most that is worth bidding for each gas; None: whatever the account's policy allows.
    """

    ts: int
    order: int
    client_order_id: str
    account: str
    strategy: str
    venue: str
    bundle: int
    hops: tuple[SwapHop, ...]
    amount: int
    deadline_s: int
    channel: Literal["public", "relay"]
    gas_limit: int
    ceiling_wei: int | None = None


class SwapCycle(Swapping, frozen=True, kw_only=True, tag=True):
    """Swap a cycle: the last hop gives the token that the first takes.

    Attributes:
        funding: where the amount comes from: callback, wallet, balancer, flash or aave; `lender` is who lends, empty where nobody does.
        min_profit: least that the contract earns, in smallest units of that token, after what a loan costs.
    """

    funding: Literal["callback", "wallet", "balancer", "flash", "aave"]
    lender: str
    min_profit: int


class SwapPath(Swapping, frozen=True, kw_only=True, tag=True):
    """Swap tokens that the executor holds into another one, which it keeps.

    Attributes:
        token_out: address of another token, which the last hop gives, lower case.
        min_out: least of it that comes, in smallest units; above 0.
    """

    token_out: str
    min_out: int


class CancelCycle(msgspec.Struct, frozen=True, kw_only=True):
    """Give a cycle or a path up: its transaction is bid for with a transfer to oneself, and a relay is asked no more."""

    ts: int
    order: int
    client_order_id: str
    account: str
    strategy: str
    venue: str


Command = SubmitOrder | CancelOrder
AnySwap = SwapCycle | SwapPath
ChainCommand = SwapCycle | SwapPath | CancelCycle
AnyCommand = Command | ChainCommand


def orders_of(commands: Sequence[AnyCommand]) -> list[Command]:
    """Those that are of orders at exchanges, in order."""
    return [command for command in commands if isinstance(command, SubmitOrder | CancelOrder)]


def cycles_of(commands: Sequence[AnyCommand]) -> list[ChainCommand]:
    """Those that are of transactions on chains, in order."""
    return [command for command in commands if isinstance(command, ChainCommand)]


def hops_text(hops: Sequence[SwapHop]) -> str:
    """Hops as a row has them: kind, pool, the token that goes in, which way, and the fee of a v2 pool in millionths."""
    return ", ".join(
        f"{'v3' if hop.is_v3 else 'v2'} {hop.pool} {hop.token_in} {'0>1' if hop.zero_for_one else '1>0'} {hop.fee_pips}"
        for hop in hops
    )


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a venue says of one order at `ts` (the time it reaches us).

    `event` is one of `columns.REPORT_EVENTS`. Fill price and quantity are at the instrument's scales; `fee` is money, positive is
    paid, in `fee_asset`.
    """

    ts: int
    order: int
    instrument: int
    event: str
    venue_order_id: str | None = None
    fill_id: str | None = None
    price_int: int | None = None
    qty_int: int | None = None
    fee: Money | None = None
    fee_asset: str | None = None
    liquidity: str | None = None
    reason: str | None = None


class CycleReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a transaction of ours on a chain, at `ts` (the time at which it reaches us).

    Attributes:
        ts, venue, account, strategy: as of an order.
        order: our number; None where it is no order's, such as a transfer that takes a nonce back.
        event: one of `columns.CYCLE_EVENTS`.
        tx_hash: of the transaction; empty where none was made.
        block_number, block_hash: the block that holds it.
        gas_used, gas_price_wei: what it cost; None where no block holds it.
        profit_token, profit: what the contract earned by a cycle, in smallest units.
        token_in, amount_in, token_out, amount_out: what it swapped along a path, in smallest units.
        reason: why it was refused, reverted or dropped.
    """

    ts: int
    venue: str
    account: str
    strategy: str
    order: int | None
    event: str
    tx_hash: str
    block_number: int | None = None
    block_hash: str | None = None
    gas_used: int | None = None
    gas_price_wei: int | None = None
    profit_token: str | None = None
    profit: int | None = None
    token_in: str | None = None
    amount_in: int | None = None
    token_out: str | None = None
    amount_out: int | None = None
    reason: str | None = None
