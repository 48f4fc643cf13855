"""What a bundle was planned as, and one that an earlier start left, as plain values.

The row with which a bundle begins holds its plan, so that a later start can take it up from the log alone. Money is an int at 18 decimals,
but for the text of rows.
"""

from __future__ import annotations

import msgspec


class PlannedLeg(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One leg as it was planned; money as decimal text."""

    venue: str
    symbol: str
    side: str
    price: str
    qty: str


class PlannedSwap(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A swap on a chain that a bundle's one leg hedges.

    Attributes:
        venue: the chain.
        order: its number as an order.
        coins: by address the coin that each of its tokens counts as.
        base, quote: how much of the hedge's base and quote it trades, as decimal text; empty in a log of an older version.
    """

    venue: str
    order: int
    coins: dict[str, str]
    base: str = ""
    quote: str = ""


class Planned(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a bundle was planned as.

    Attributes:
        sequence: in which order its legs go.
        flat: the assets that must end at zero.
        cycle: whether each leg spends what another one brings.
        legs: in their order.
        swap: what its one leg hedges; None: its legs are all there is.
    """

    sequence: str
    flat: tuple[str, ...]
    cycle: bool
    legs: tuple[PlannedLeg, ...]
    swap: PlannedSwap | None = None


class CarriedLeg(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One leg of a bundle that an earlier start left, as it was planned."""

    venue: str
    symbol: str
    side: str
    price: int
    qty: int


class CarriedOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An order of such a bundle; `start` and `order` are its name for good, `state` as of the start that takes it up."""

    start: int
    order: int
    client_order_id: str
    leg: int
    attempt: int
    purpose: str
    venue: str
    symbol: str
    side: str
    price: int
    qty: int
    filled: int
    state: str
    fill_ids: tuple[str, ...]


class CarriedTrade(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What its fills bought, or sold, on one market: quantity of its base and notional in its quote."""

    venue: str
    symbol: str
    base: str
    quote: str
    side: str
    size: int
    value: int


class Booked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What became inventory when it ended: asset, quantity, cost and the asset of that."""

    asset: str
    qty: int
    cost: int
    cost_asset: str


class CarriedBundle(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A bundle of an earlier start that has no end, or one that ended of late: a fill of its orders may be told yet.

    Attributes:
        start, bundle: its name for good.
        account: whose money.
        strategy: whose policy.
        state: carried, or closed or held as it ended.
        sequence, flat, cycle, legs, swap: its plan.
        orders: all that were sent for it.
        flows: what its fills changed, fees included, by asset.
        traded: the same by market and side, in the order in which each came first.
        booked: what became inventory when it ended.
        unbalanced_at: since when an engine has known that it is unbalanced, ns; 0: none has.
        gas: what receipts of its swap changed beside what was swapped, by asset.
        is_beyond: an engine has told that it lost more than it may.
        is_forgotten: a person had it forgotten before the start, so that nobody is to flatten it.
    """

    start: int
    bundle: int
    account: str
    strategy: str
    state: str
    sequence: str
    flat: tuple[str, ...]
    cycle: bool
    legs: tuple[CarriedLeg, ...]
    orders: tuple[CarriedOrder, ...]
    flows: dict[str, int]
    traded: tuple[CarriedTrade, ...]
    booked: tuple[Booked, ...] = ()
    unbalanced_at: int = 0
    is_beyond: bool = False
    is_forgotten: bool = False
    swap: PlannedSwap | None = None
    gas: dict[str, int] = {}  # older logs have none


class CarriedFlow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a strategy's fills of earlier starts changed of an asset, fees included."""

    strategy: str
    asset: str
    amount: int


class CarriedPath(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a path of an earlier start swaps: both tokens by address, and whether the second counts as the base of its hedge."""

    token_in: str
    token_out: str
    gives_base: bool


class CarriedCycle(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A cycle or a path on a chain of an earlier start that is not final.

    Attributes:
        start, order: its name for good; `bundle` is its bundle in that start.
        client_order_id: as its command had it.
        account, strategy, venue: whose, and the chain.
        state: of `CYCLE_LIFE`; refused where it surely never left.
        tx_hash: the transaction whose receipt is booked, empty where none is.
        deadline_s: latest block time, Unix seconds.
        hold: what is reserved while it may be included, by asset.
        pools: symbols of those that it goes through.
        decimals: of its tokens, by address.
        path: what it swaps; None of a cycle.
    """

    start: int
    order: int
    bundle: int
    client_order_id: str
    account: str
    strategy: str
    venue: str
    state: str
    tx_hash: str
    deadline_s: int
    hold: tuple[tuple[str, int], ...]
    pools: tuple[str, ...]
    decimals: dict[str, int]
    path: CarriedPath | None = None


class CarriedTransaction(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A transaction of an earlier start that is not final: a block may take it in yet, or the chain may take its block back.

    Attributes:
        tx_hash: its hash.
        account, strategy: who asked for it.
        start, order: the cycle or path that it swaps; None: it is none's, or takes a nonce back.
        block_hash: of the block whose receipt is in the opening balances, empty where none is.
        posts: what that changed there: venue, asset, change and cause.
    """

    tx_hash: str
    account: str
    strategy: str
    start: int | None = None
    order: int | None = None
    block_hash: str = ""
    posts: tuple[tuple[str, str, int, str], ...] = ()


class TakenUp(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the row of a bundle that a start takes up says: where it comes from.

    Attributes:
        start, bundle: its name for good.
        orders: number in this start, which is below zero, and the start and number under which it was sent, of each of its orders.
        flows: what its fills changed so far; money as decimal text.
        swap: number in this start of the swap that it hedges, below zero; None: it hedges none.
    """

    start: int
    bundle: int
    orders: tuple[tuple[int, int, int], ...]
    flows: dict[str, str]
    swap: int | None = None


class ForeignFills(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What others' fills came to on one day.

    Attributes:
        account, venue: where.
        asset: the quote asset in which they were paid.
        day: UTC day since 1970 on which they were told.
        amount: notional of all of them.
    """

    account: str
    venue: str
    asset: str
    day: int
    amount: int
