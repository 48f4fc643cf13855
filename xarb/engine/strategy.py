"""The seam between the engine and a strategy: what wakes it, what it sees, and what it may ask for.

A strategy is ordinary Python, pure: it gets everything through the view and returns plans. Its whole state is one msgspec Struct.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

import msgspec

from xarb.model.command import CycleReport, Report
from xarb.model.instrument import FeeTier, Instrument
from xarb.model.units import Money
from xarb.pools.concentrated import Concentrated
from xarb.pools.constant_product import ConstantProduct
from xarb.pools.financing import Loan, Way


class Pair(NamedTuple):
    """A directed pair watched for an edge: sell at the bid of `sell`, buy at the ask of `buy` (instrument numbers).

    The episode opens when bid / ask - 1 exceeds what `open_ppb` asks after the taker fees of both sides, that is
    bid * (1 - fee_sell) >= ask * (1 + fee_buy) * (1 + open_ppb / 1e9), and closes below the same with `close_ppb`.
    """

    sell: int
    buy: int
    open_ppb: int
    close_ppb: int
    sell_fee_ppb: int
    buy_fee_ppb: int
    convert: int = -1  # instrument that turns the sell leg's quote asset into the buy leg's, -1 where they are the same
    convert_side: str = ""  # "bid" sells the sell leg's quote asset there, "ask" spends it
    convert_fee_ppb: int = 0
    peg_left: int = 1  # a premium: the sell leg's prices times peg_left / peg_right are the buy leg's currency, for reports only
    peg_right: int = 1
    premium: bool = False


class Wakes(msgspec.Struct, frozen=True, kw_only=True):
    """What wakes a strategy.

    `timer_ns` 0 means no timer; with `timer_needs_edge` the timer wakes only while an episode of this strategy is open.
    `min_life_ns` is how long an edge must stand before its episode opens; `improve_ppb` is how much better than at the last wake an
    edge must get to wake again. `every_event` lists instruments of which every market row wakes, `blocks` chains of which every complete
    block wakes, and every removal of one; a pool has no market rows of its own.
    """

    pairs: tuple[Pair, ...] = ()
    min_life_ns: int = 0
    improve_ppb: int = 0
    timer_ns: int = 0
    timer_needs_edge: bool = True
    every_event: tuple[int, ...] = ()
    own_reports: bool = False
    on_edge: bool = True
    blocks: tuple[str, ...] = ()
    max_edge_ppb: int = 0  # an edge above it is abnormal: recorded, flagged, never traded; 0 switches the guard off


class BestQuote(msgspec.Struct, frozen=True, gc=False):
    """Best prices and sizes of an instrument at its scales; None where the side or size is absent."""

    bid: int | None
    bid_qty: int | None
    ask: int | None
    ask_qty: int | None
    bid_seq: int  # seq of the row that set the bid last, -1 before any
    ask_seq: int
    ts: int  # ts_recv of the last row that confirmed the quote


class FeedView(msgspec.Struct, frozen=True, gc=False):
    """State of an instrument's feed; `tradable` is live, not excluded by validation, and at or above the quality floor."""

    state: str
    score: int
    tradable: bool


class BlockView(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The newest complete block of a chain. `ts_event` is its timestamp in ns; the next base fee follows from this one and the gas."""

    number: int
    hash: str
    ts_event: int | None
    base_fee_wei: int | None
    gas_used: int
    gas_limit: int


class Edge(msgspec.Struct, frozen=True, gc=False):
    """An open episode of one of the strategy's pairs."""

    pair: int  # index into Wakes.pairs
    opportunity: int
    edge_ppb: int
    best_edge_ppb: int
    opened_ts: int
    abnormal: bool


class Entry(NamedTuple):
    """Whether a bundle may begin on a venue: freely, as a probe that is as small as can be, or not at all.

    `most` bounds a leg of a probe in its quote currency at 18 decimals; None: no bound.
    """

    way: Literal["free", "probe", "none"]
    most: Money | None = None


class Wake(msgspec.Struct, frozen=True, gc=False):
    """Why the strategy is called.

    `kind`: open, improvement, close, rearm, timer, event, report, block (of the chain `venue`) or cycle (what became of one of its own there).
    """

    ts: int
    kind: str
    edge: Edge | None = None
    instrument: int = -1
    report: Report | None = None
    venue: str = ""
    cycle: CycleReport | None = None


class View(Protocol):
    """What a strategy may look at; everything is as of the current wake and read-only."""

    @property
    def now(self) -> int:
        """Engine time, ns."""

    @property
    def instruments(self) -> Sequence[Instrument]:
        """Instruments by number."""

    def quote(self, instrument: int) -> BestQuote:
        """Best quote."""

    def levels(self, instrument: int, side: str, depth: int = 10) -> list[tuple[int, int | None]]:
        """Price and quantity of the best levels of `side` ("bid" or "ask"), best first; one level where only quotes are known."""

    def feed(self, instrument: int) -> FeedView:
        """State of its feed."""

    def pool(self, instrument: int) -> ConstantProduct | Concentrated | None:
        """A pool as of its chain's newest complete block, to quote from, not to change; None while its feed is not live."""

    def block(self, venue: str) -> BlockView | None:
        """The newest complete block of a chain; None before any, and right after a reorg that goes back beyond what is kept."""

    def decimals(self, venue: str, token: str) -> int | None:
        """Decimals of a token of a chain, by its address; None as long as no pool of it was seen."""

    def loans(self, venue: str, token: str) -> tuple[Loan, ...]:
        """Who lends a token of a chain in one transaction, as of its newest complete block, and for what; what it did not say is None."""

    def fee(self, instrument: int) -> FeeTier:
        """Fee tier of this strategy's account there."""

    def free(self, venue: str, asset: str) -> Money:
        """Free balance of this strategy's account, reservations and its budget taken into account."""

    def balance(self, venue: str, asset: str) -> Money:
        """Balance of this strategy's account, reserved part included, whatever its budget."""

    def entry(self, venue: str) -> Entry:
        """Whether a bundle may begin there: its breaker may be open, or let through a probe alone."""

    def open_bundles(self) -> int:
        """Open bundles of this strategy."""

    def edges(self) -> list[Edge]:
        """Open episodes of this strategy, in pair order."""


class LegPlan(msgspec.Struct, frozen=True, gc=False):
    """One leg: an IOC limit order at the instrument's scales."""

    instrument: int
    side: str  # "buy" | "sell"
    price_int: int
    qty_int: int


class CycleFound(msgspec.Struct, frozen=True, kw_only=True):
    """A cycle of trades that a strategy sees earn, numbered by the strategy from 1.

    `legs` are (instrument, side: "buy" or "sell") from the asset on that goes round, `seqs` the rows that set the prices that they take.
    `edge_ppb` is what comes back over what goes in, less one, after fees at the best prices; `since` when it was first seen, ns.
    """

    number: int
    legs: tuple[tuple[int, str], ...]
    seqs: tuple[int, ...]
    edge_ppb: int
    best_edge_ppb: int
    since: int


class CycleNote(msgspec.Struct, frozen=True, kw_only=True):
    """A cycle began or ceased to earn: recorded as OPENED or CLOSED."""

    cycle: CycleFound
    phase: Literal["opened", "closed"]
    reason: str | None = None


class BundlePlan(msgspec.Struct, frozen=True, kw_only=True):
    """The legs of one opportunity. In `hard_leg_first` the first leg goes alone and each of its fills releases the others.

    `quote_seqs` are the input rows on which the decision rests; `expected_profit` is after fees, in `profit_asset`, and after
    `inventory_cost`, what bringing back costs that the bundle moves away from its targets. It rests on the episode `opportunity`, or on
    a `cycle`, or on neither.
    """

    opportunity: int | None
    legs: tuple[LegPlan, ...]
    sequence: str  # "simultaneous" | "hard_leg_first"
    quote_seqs: tuple[int, ...]
    expected_profit: Money
    profit_asset: str
    edge_ppb: int
    inventory_cost: Money = Money(0)
    cycle: CycleFound | None = None


class AtomicPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A cycle of pools of one chain that one transaction swaps, or nothing of it.

    Attributes:
        venue: the chain.
        hops: (instrument, whether token0 goes in), in order; the last gives the token that the first takes.
        amount: of that token into the first pool. It, `premium`, `min_profit` and `expected_net` are in its smallest units.
        funding: what pays the first pool; `lender` is who lends for `premium`, empty where nobody does.
        min_profit: least that the contract is to insist on, after the premium.
        expected_net: what is expected after premium, gas and the risk of a revert.
        gas_limit, ceiling_wei: most gas, and most that is bid for each.
        deadline_s: latest block time, Unix seconds.
        channel: public or relay.
        cycle: what it rests on, None: nothing that was told.
    """

    venue: str
    hops: tuple[tuple[int, bool], ...]
    amount: int
    funding: Way
    lender: str
    premium: int
    min_profit: int
    expected_net: int
    gas_limit: int
    ceiling_wei: int
    deadline_s: int
    channel: Literal["public", "relay"]
    cycle: CycleFound | None = None


class SwapPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A path of pools of one chain that one transaction swaps, or nothing of it, and the order at an exchange that takes back what it moved.

    Attributes:
        venue: the chain.
        hops: (instrument, whether token0 goes in), in order; the last gives another token than the first takes.
        amount: of the first token, out of the wallet, into the first pool; it and `min_out`, the least of the last one that the contract is to
            insist on, are in smallest units.
        hedge: the order, of as much as the pools give, or take, as they are now.
        sequence: `dex_first`: the order leaves once a receipt says what was swapped, for so much as that; `simultaneous`: all of it at once.
        expected_profit: in `profit_asset`, the hedge's quote, after fees, gas, the risk of a revert and that of waiting.
        edge_ppb: what comes back over what goes in, less one, after fees.
        gas_limit, ceiling_wei, deadline_s, channel, cycle: as of an `AtomicPlan`.
    """

    venue: str
    hops: tuple[tuple[int, bool], ...]
    amount: int
    min_out: int
    hedge: LegPlan
    sequence: str  # "dex_first" | "simultaneous"
    expected_profit: Money
    profit_asset: str
    edge_ppb: int
    gas_limit: int
    ceiling_wei: int
    deadline_s: int
    channel: Literal["public", "relay"]
    cycle: CycleFound | None = None


class Pass(msgspec.Struct, frozen=True, kw_only=True):
    """The strategy saw an opportunity, or a cycle, and refused it: recorded as DECIDED with this reason."""

    opportunity: int | None
    reason: str
    value: Money | None = None
    bound: Money | None = None
    cycle: CycleFound | None = None


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """More cycles earn than the strategy looks at: so many (or more) are left out beyond the bound of a search. Recorded as a refusal."""

    count: int
    bound: int

    reason = "cycles_left_out"


Plan = BundlePlan | AtomicPlan | SwapPlan | Pass | CycleNote | LeftOut


class Strategy(Protocol):
    """A strategy. `state` is everything that it remembers between wakes."""

    @property
    def id(self) -> str:
        """Id, unique in the run."""

    @property
    def account(self) -> str:
        """Account whose money it uses."""

    @property
    def state(self) -> msgspec.Struct:
        """Its whole memory."""

    def wakes(self) -> Wakes:
        """What wakes it; asked once, and again when an instrument row changes scales or fees."""

    def on_wake(self, wake: Wake, view: View) -> Sequence[Plan]:
        """Plans for this wake; an empty sequence is fine."""
