"""The engine's state as plain values: all that decides later outputs, and nothing that its setup says already.

Money is an int at 18 decimals, times are ns, prices and quantities are at the instrument's scales as of the copy. The text form is
JSON, because money goes beyond 64 bits.
"""

from __future__ import annotations

import msgspec

from xarb.engine.carried import PlannedSwap
from xarb.engine.kernel.memory import Memory
from xarb.model.instrument import Instrument
from xarb.model.units import NEVER
from xarb.pools.financing import Way

Hold = list[tuple[str, str, int]]  # venue, asset, amount


class OrderCopy(msgspec.Struct, frozen=True, array_like=True):
    """One order; see `bundle.Order`."""

    number: int
    leg: int
    attempt: int
    purpose: str
    instrument: int
    sign: int
    price: int
    qty: int
    filled: int
    state: str
    cancels: int
    fill_ids: list[str]
    hold: Hold
    due: int
    origin: tuple[int, int] | None = None  # older copies have none
    client_id: str = ""  # of one with an origin


class LegCopy(msgspec.Struct, frozen=True, array_like=True):
    """One planned leg; see `bundle.Leg`."""

    instrument: int
    sign: int
    price: int
    qty: int
    released: int
    filled: int
    hold: Hold


class SwapCopy(msgspec.Struct, frozen=True, array_like=True):
    """The swap of a bundle; see `swap.Swap`. `instrument` and `sign` are of the leg that it is, price and quantity at 18 decimals."""

    planned: PlannedSwap
    state: str
    instrument: int
    sign: int
    price: int
    qty: int
    gas: dict[str, int] = {}  # older copies have none


class BundleCopy(msgspec.Struct, frozen=True, array_like=True):
    """One bundle; see `bundle.Bundle`. `traded` is instrument, sign, quantity and notional."""

    number: int
    strategy: str
    opportunity: int | None
    sequence: str
    pair: int
    state: str
    live: int
    filled: bool
    due: int
    flat: tuple[str, ...]
    instruments: tuple[int, ...]
    flows: dict[str, int]
    traded: list[tuple[int, int, int, int]]
    attempts: dict[str, int]
    booked: list[tuple[str, int, int, str]]
    legs: list[LegCopy]
    orders: list[OrderCopy]
    unbalanced_at: int = 0  # older copies have none
    cycle: bool = False  # older copies have none
    began: int = 0  # older copies have none
    swap: SwapCopy | None = None  # older copies have none
    is_given_up: bool = False  # older copies have none
    is_beyond: bool = False  # older copies have none


class ArchiveCopy(msgspec.Struct, frozen=True):
    """All orders: the bundle of each by number, the open bundles, the done ones by number (rescales seen, packed), the rescales."""

    bundle_of: list[int]
    open: list[BundleCopy]
    packed: dict[int, tuple[int, msgspec.Raw]]
    rescales: list[tuple[int, int, int]]


class DueCopy(msgspec.Struct, frozen=True, array_like=True):
    """One deadline: `what` is order, bundle or rest; `number` is the order's, the bundle's, or the kernel pair of a cool-down."""

    ts: int
    ordinal: int
    what: str
    strategy: str
    number: int


class ExecutionCopy(msgspec.Struct, frozen=True):
    """What execution remembers; `closed` are strategy and pair, `ordinal` counts deadlines."""

    bundles: int
    closed: list[tuple[str, int]]
    archive: ArchiveCopy
    deadlines: list[DueCopy]
    ordinal: int
    killed: str | None = None  # older copies have none
    goes_on: bool = False  # older copies have none
    next_beat: int = NEVER  # older copies have none


class ResultCopy(msgspec.Struct, frozen=True, array_like=True):
    """What was made in one currency, without its flows; see `results.Carried`."""

    currency: str
    day: int
    base: int
    peak: int
    last: int
    told: list[str] = []  # older copies have none


class DeskCopy(msgspec.Struct, frozen=True):
    """What a strategy did; see `desk.Desk`. `cool_until` is a set of instruments and a time, `volumes` as `Volumes.capture` has them."""

    open_bundles: int
    cool_until: list[tuple[tuple[int, ...], int]]
    volumes: tuple[int, list[tuple[str, str, str, int]]]
    sent: list[int]
    results: list[ResultCopy]
    begun: list[int] = []  # older copies have none


class BreakerCopy(msgspec.Struct, frozen=True, array_like=True):
    """One breaker; see `breaker.Breaker`. `waiting` is order and time of sending."""

    account: str
    venue: str
    state: str
    reason: str
    until: int
    trips: int
    worn: int
    rejects: int
    acks: list[int]
    waiting: list[tuple[int, int]]
    unknown: list[int]
    probe: int
    proven: bool


class BreakersCopy(msgspec.Struct, frozen=True):
    """All breakers, and by venue its clock less ours in ns."""

    breakers: list[BreakerCopy]
    clocks: dict[str, int]


class RiskCopy(msgspec.Struct, frozen=True):
    """Whether it is armed, the desks by strategy id, the wallets (venue, asset, network, deposits open, withdrawals open), the breakers."""

    armed: bool
    desks: dict[str, DeskCopy]
    wallets: list[tuple[str, str, str, bool, bool]]
    breakers: BreakersCopy
    loss: str | None = None  # of whom a loss killed trading, and which limit that broke; older copies have none
    fees: list[tuple[str, int, int, int]] = []  # account, instrument number, what is asked by now and what is reckoned with, ppb


class PortfolioCopy(msgspec.Struct, frozen=True):
    """Money.

    `pots` are account, venue, asset, balance, reserved; `tills` account, strategy, venue, asset and whether a fill changed it; `shares`
    strategy, asset, flow, reserved; `holdings` strategy, asset, quote, quantity, cost; `transfers` what each changed, by name;
    `transferred` account, venue, asset and what they and adjustments changed together; `strays_told` account, venue, asset, when and what
    others may have changed.
    """

    pots: list[tuple[str, str, str, int, int]]
    tills: list[tuple[str, str, str, str, bool]]
    shares: list[tuple[str, str, int, int]]
    holdings: list[tuple[str, str, str, int, int]]
    opened_at: int = 0  # older copies have none of these
    transfers: dict[str, int] = {}
    transferred: list[tuple[str, str, str, int]] = []
    strays_told: list[tuple[str, str, str, int, int]] = []


class OthersCopy(msgspec.Struct, frozen=True):
    """What others' fills come to: the day, account, venue, quote asset and notional of each, and whether that was not judged yet."""

    day: int = 0
    sums: list[tuple[str, str, str, int]] = []
    is_open: bool = False


class MathsCopy(msgspec.Struct, frozen=True):
    """A pool's maths: reserves of v2; of v3 spacing, (square root of the price, tick, liquidity), and (tick, net, gross) of each tick."""

    fee_ppm: int
    reserves: tuple[int, int] | None = None
    spacing: int = 0
    moved: tuple[int, int, int] = (0, 0, 0)
    ticks: list[tuple[int, int, int]] = []


class PoolCopy(msgspec.Struct, frozen=True, array_like=True):
    """One pool; see `pool.Pool`."""

    maths: MathsCopy | None
    gapped: bool
    drift: str
    short: int
    least_fee: int


class UndoCopy(msgspec.Struct, frozen=True, array_like=True):
    """One step back of a pool, by instrument number: moved, resized or whole, with the numbers or the maths that it takes."""

    pool: int
    what: str
    numbers: tuple[int, ...]
    maths: MathsCopy | None


class LentCopy(msgspec.Struct, frozen=True, array_like=True):
    """What a lender said of a token; see `lending.Terms`. In a block that may be undone what was known before, if anything."""

    way: Way
    lender: str
    token: str
    premium_wad: int | None
    available: int | None
    is_known: bool = True


class BlockCopy(msgspec.Struct, frozen=True, array_like=True):
    """A block that may still be undone; see `strategy.BlockView`."""

    number: int
    hash: str
    parent_hash: str
    ts_event: int | None
    base_fee_wei: int | None
    gas_used: int
    gas_limit: int
    undo: list[UndoCopy]
    lent: list[LentCopy] = []  # older copies have none


class ChainCopy(msgspec.Struct, frozen=True):
    """One chain; see `chains.Chain`. `staged` are seq, ts_recv, kind and values of rows whose block is not complete yet."""

    venue: str
    head_hash: str | None
    blocks: list[BlockCopy]
    staged: list[tuple[int, int, str, dict[str, str | int | bool | list[int | str] | None]]]
    conn: int
    due: int
    silent: bool
    lost: bool
    shown: dict[int, str]
    decimals: dict[str, int] = {}  # older copies have none of these
    heard: int = 0
    lent: list[LentCopy] = []


class ChainsCopy(msgspec.Struct, frozen=True):
    """All chains, and all pools by instrument number."""

    chains: list[ChainCopy] = []
    pools: dict[int, PoolCopy] = {}


class PathCopy(msgspec.Struct, frozen=True, array_like=True):
    """What a path swaps; see `sentcycle.Path`."""

    token_in: str
    token_out: str
    gives_base: bool
    deadline_s: int
    given_up: bool


class SentCycleCopy(msgspec.Struct, frozen=True, array_like=True):
    """One cycle; see `sentcycle.SentCycle`."""

    number: int
    bundle: int
    client_id: str
    strategy: str
    venue: str
    state: str
    tx_hash: str
    hold: Hold
    instruments: tuple[int, ...]
    path: PathCopy | None = None  # older copies have none


class BookedCopy(msgspec.Struct, frozen=True, array_like=True):
    """What the receipt of a transaction changed: who, the block, and venue, asset, change and cause of each."""

    tx_hash: str
    block_hash: str
    account: str
    strategy: str
    order: int | None
    posts: list[tuple[str, str, int, str]]


class OnChainCopy(msgspec.Struct, frozen=True):
    """Cycles that are not final, receipts that are not, and by hash the transactions of this start (account, strategy, order)."""

    cycles: list[SentCycleCopy] = []
    booked: list[BookedCopy] = []
    mine: dict[str, tuple[str, str, int | None]] = {}


class DecisionsCopy(msgspec.Struct, frozen=True):
    """All that is not the kernel's; `strategies` are their state Structs by id, `books_open` whether opening balances are written."""

    instruments: list[Instrument]
    books_open: bool
    portfolio: PortfolioCopy
    risk: RiskCopy
    execution: ExecutionCopy
    strategies: dict[str, msgspec.Raw]
    chains: ChainsCopy = ChainsCopy()  # older copies have none
    cycles: list[tuple[str, int, int]] = []  # strategy, its number of a cycle, opportunity; older copies have none
    onchain: OnChainCopy = OnChainCopy()  # older copies have none
    others: OthersCopy = OthersCopy()  # older copies have none


class EngineCopy(msgspec.Struct, frozen=True):
    """The whole engine between two batches."""

    memory: Memory
    decisions: DecisionsCopy
