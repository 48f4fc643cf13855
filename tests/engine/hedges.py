"""A chain with a pool, an exchange that trades the coins of its tokens, and an engine that is told which swaps to plan with which hedge."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from tests.defaults import execution_policy, feed_limits, risk_limits, strategy_terms
from tests.engine.cycles import CHAIN, CHEAP, DAI, DEAR, GWEI, POOLS, RESERVES, TERMS, WETH, CycleDesk, product
from tests.instruments import spot
from xarb.engine.engine import Stop
from xarb.engine.strategy import LegPlan, SwapPlan
from xarb.engine.terms import StrategyTerms
from xarb.model.batch import NO_BOOKS, NO_DELTAS, NO_TRADES, Batch, Quotes, field_dtype
from xarb.model.command import Report
from xarb.model.instrument import FeeTier
from xarb.model.order import CYCLE_OPEN
from xarb.model.units import MONEY_ONE, NANOS_PER_S, NULL, Money, Ppb
from xarb.wires.chains import listing_of

EXCHANGE = "bravo"
MARKET = 2  # instrument number of ETH/USD there; prices have two decimals, quantities three
COINS = {WETH: "ETH", DAI: "USD"}
FEE = FeeTier(maker_ppb=Ppb(0), taker_ppb=Ppb(1_000_000))
OPENING = {
    ("main", CHAIN, "ETH"): Money(10 * MONEY_ONE),
    ("main", CHAIN, WETH): Money(5 * MONEY_ONE),
    ("main", CHAIN, DAI): Money(20_000 * MONEY_ONE),
    ("main", EXCHANGE, "ETH"): Money(5 * MONEY_ONE),
    ("main", EXCHANGE, "USD"): Money(20_000 * MONEY_ONE),
}
QUIET = {
    "liveness_ns": 3600 * NANOS_PER_S,
    "cache_ns": 3600 * NANOS_PER_S,
    "freeze_ns": 0,
    "outlier_floor_ppb": 10**9,
    "jump_ppb": 0,
}
COST = product(CHEAP, RESERVES[CHEAP.address]).quote_out(10**18, zero_for_one=False).amount_in  # DAI for a WETH
COMES = (
    product(CHEAP, RESERVES[CHEAP.address]).quote_in(COST, zero_for_one=False).amount_out
)  # for that: a WETH and some more, DAI being coarse


def hedge_terms(**changes: Any) -> StrategyTerms:
    """Terms whose changes are of limits where those have such a name, else of the policy."""
    limits = {name: value for name, value in changes.items() if name in risk_limits().__struct_fields__}
    policy = {name: value for name, value in changes.items() if name not in limits}
    return strategy_terms(
        limits=risk_limits(**({"latency_threshold_ns": 30 * NANOS_PER_S} | limits)), execution=execution_policy(**policy)
    )


class HedgeDesk(CycleDesk):
    """A `CycleDesk` with an exchange: bid 3100, ask 3101, and an opening wallet of both tokens."""

    def __init__(self, *, terms: StrategyTerms | None = None, **setup: Any) -> None:
        instruments = [listing_of(CHAIN, pool, "test").instrument for pool in POOLS]
        instruments.append(spot(EXCHANGE, "ETH/USD", px_scale=2, qty_scale=3))
        base: dict[str, Any] = {
            "instruments": instruments,
            "groups": [[0], [1], [2]],
            "sources": [0, 0, 0],
            "limits": [feed_limits(**QUIET)] * 3,
            "fees": {("main", MARKET): FEE},
            "opening": OPENING,
            "connections": 2,
            "chains": {CHAIN: msgspec.structs.replace(TERMS[CHAIN], coins=COINS)},
        }
        super().__init__(terms=terms or hedge_terms(), **(base | setup))

    def ready(self) -> HedgeDesk:
        """A block, and a quote after it."""
        self.block()
        self.quote()
        return self

    def buy(self, **changes: Any) -> SwapPlan:
        """A WETH out of the cheap pool, for DAI; an ETH is sold for it at 3099."""
        plain = SwapPlan(
            venue=CHAIN,
            hops=((0, False),),
            amount=COST,
            min_out=10**18 * 99 // 100,
            hedge=LegPlan(MARKET, "sell", 309_900, 1_000),
            sequence="dex_first",
            expected_profit=Money(50 * MONEY_ONE),
            profit_asset="USD",
            edge_ppb=1,
            gas_limit=200_000,
            ceiling_wei=100 * GWEI,
            deadline_s=self.now // NANOS_PER_S + 60,
            channel="public",
        )
        return msgspec.structs.replace(plain, **changes)

    def sell(self, **changes: Any) -> SwapPlan:
        """A WETH into the dear pool; an ETH is bought for it at 3102."""
        return self.buy(
            hops=((1, True),), amount=10**18, min_out=3_100 * 10**6, hedge=LegPlan(MARKET, "buy", 310_200, 1_000), **changes
        )

    def plan_now(self, *wanted: SwapPlan) -> HedgeDesk:
        """Have them planned at once, by a block in which nothing changed."""
        self.block(*wanted)
        return self

    def quote(self, bid: int = 310_000, ask: int = 310_100, size: int = 50_000) -> list[tuple[str, dict[str, Any]]]:
        """A quote of the exchange a millisecond later."""
        self.now += 10**6
        values = {"seq": self.seq, "ts_recv": self.now, "ts_event": NULL, "conn": 1, "inst": MARKET, "venue_seq": NULL}
        values |= {"bid": bid, "bid_qty": size, "ask": ask, "ask_qty": size}
        block = Quotes(*(np.array([values[name]], field_dtype(name)) for name in Quotes._fields))
        self.engine.load(Batch(self.seq, self.seq, block, NO_DELTAS, NO_TRADES, NO_BOOKS, []))
        self.seq += 1
        return self.drain()

    def drain(self) -> list[tuple[str, dict[str, Any]]]:
        """Run what was loaded; what the engine did."""
        while self.engine.run() is Stop.COMMANDS:
            self.sent += self.engine.take_commands()
        return self.drained()

    def report(self, order: int, event: str, **values: Any) -> None:
        """A report of the exchange a millisecond later."""
        self.now += 10**6
        self.engine.take_reports(self.now, [Report(ts=self.now, order=order, instrument=MARKET, event=event, **values)])
        self.sent += self.engine.take_commands()
        self.drained()

    def fill(self, order: int, price: int, qty: int, ident: str = "f1") -> None:
        """A fill; its fee is 10 bps of quote, rounded up."""
        fee = Money(-(-price * qty * 10**13 * 1_000_000 // 10**9))
        self.report(order, "fill", price_int=price, qty_int=qty, fill_id=ident, fee=fee, fee_asset="USD", liquidity="taker")

    def swapped(self, given: int, got: int, *, tx: str = "0xt1", block: str = "0xblock", buys: bool = True) -> None:
        """A receipt of a path that took and gave so much."""
        tokens = (DAI, WETH) if buys else (WETH, DAI)
        self.receipt(
            "succeeded",
            tx=tx,
            block=block,
            profit_token=None,
            profit=None,
            token_in=tokens[0],
            amount_in=str(given),
            token_out=tokens[1],
            amount_out=str(got),
        )

    # --- what it says

    @property
    def orders(self) -> list[tuple[str, str, int]]:
        """Orders sent to the exchange so far: purpose, side, quantity."""
        return [(row["purpose"], row["side"], row["qty_int"]) for row in self.of("commands") if row["kind"] == "submit"]

    @property
    def bundle_events(self) -> list[str]:
        """The life of bundles."""
        return [row["event"] for row in self.of("bundles")]

    @property
    def is_open(self) -> bool:
        """Whether the last state of a swap is one that a block may still bring in."""
        return self.states[-1] in CYCLE_OPEN

    def at(self, venue: str, asset: str) -> int:
        """Balance there."""
        return self.engine.portfolio.balance(("main", venue, asset))

    def all_reserved(self) -> int:
        """What is set aside anywhere."""
        return sum(self.engine.portfolio.reserved(place) for place in OPENING)


__all__ = ["CHAIN", "COMES", "COST", "DAI", "DEAR", "EXCHANGE", "MARKET", "OPENING", "WETH", "HedgeDesk", "hedge_terms"]
