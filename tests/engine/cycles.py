"""A chain with two pools that differ, an engine that is told which cycles to plan, and rows of what becomes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from tests.defaults import engine_setup, execution_policy, feed_limits, risk_limits, strategy_terms
from tests.engine.chainworld import SECOND, START, slow_rows
from tests.engine.table import Watcher
from xarb.engine.captured import EngineCopy
from xarb.engine.engine import Engine, Stop
from xarb.engine.strategy import AtomicPlan, Plan, View, Wake, Wakes
from xarb.engine.terms import ChainTerms, StrategyTerms
from xarb.model.batch import NO_BOOKS, NO_DELTAS, NO_QUOTES, NO_TRADES, Batch
from xarb.model.command import AnyCommand
from xarb.model.event import OutputRow, SlowRow, named
from xarb.model.units import MONEY_ONE, Money
from xarb.pools.constant_product import ConstantProduct
from xarb.pools.cycle import Hop, amounts_of
from xarb.pools.financing import LoanTerms
from xarb.wires import chains
from xarb.wires.chains import Block, ChainRow, Pool, listing_of

CHAIN = "ethereum"
GWEI = 10**9
WETH, DAI = "0x" + "a" * 40, "0x" + "b" * 40
CHEAP = Pool(address="0x" + "1" * 40, kind="v2", token0=WETH, token1=DAI, decimals0=18, decimals1=6, fee_ppm=3000)
DEAR = Pool(address="0x" + "2" * 40, kind="v2", token0=WETH, token1=DAI, decimals0=18, decimals1=6, fee_ppm=3000)
POOLS = (CHEAP, DEAR)
RESERVES = {CHEAP.address: (10**21, 3_000 * 10**9), DEAR.address: (10**21, 3_150 * 10**9)}
LOANS = (LoanTerms(way="aave", lender="0xlender", token=WETH, premium_wad=5 * 10**14, available=2 * MONEY_ONE),)
TERMS = {CHAIN: ChainTerms(native="ETH", wrapped=WETH, max_fee_wei=500 * GWEI, coins={}, loans=LOANS)}
OPENING = {("main", CHAIN, "ETH"): Money(10 * MONEY_ONE), ("main", CHAIN, WETH): Money(5 * MONEY_ONE)}


class Told(Watcher):
    """Plans at each block what a test wants, and notes what it is woken by."""

    def __init__(self, name: str = "s") -> None:
        super().__init__(name, Wakes(blocks=(CHAIN,), own_reports=True))
        self.wanted: list[Plan] = []
        self.heard: list[str] = []

    def on_wake(self, wake: Wake, view: View) -> Sequence[Plan]:
        """What is wanted, once."""
        del view
        self.heard.append(wake.kind if wake.cycle is None else f"{wake.kind} {wake.cycle.event}")
        wanted, self.wanted = self.wanted, []
        return wanted


def product(pool: Pool, reserves: tuple[int, int]) -> ConstantProduct:
    """Its maths."""
    return ConstantProduct(reserve0=reserves[0], reserve1=reserves[1], fee_numerator=pool.fee_ppm, fee_denominator=10**6)


def earned(amount: int) -> int:
    """What a cycle of so much WETH, dear pool first, earns before gas."""
    hops = [
        Hop(product(DEAR, RESERVES[DEAR.address]), zero_for_one=True),
        Hop(product(CHEAP, RESERVES[CHEAP.address]), zero_for_one=False),
    ]
    return amounts_of(hops, amount)[-1] - amount


class CycleDesk:
    """An engine on that chain; every method gives what the engine did as rows."""

    def __init__(self, *, terms: StrategyTerms | None = None, **setup: Any) -> None:
        instruments = [listing_of(CHAIN, pool, "test").instrument for pool in POOLS]
        base: dict[str, Any] = {
            "instruments": instruments,
            "groups": [[0], [1]],
            "sources": [0, 0],
            "limits": [feed_limits()] * 2,
            "fees": {},
            "opening": OPENING,
            "connections": 1,
            "log_id": "testlog1",
            "chains": TERMS,
            "terms": {"s": terms or strategy_terms(limits=risk_limits(latency_threshold_ns=SECOND), execution=execution_policy())},
        }
        self._make: Callable[[], Engine] = lambda: Engine(engine_setup(**(base | setup)), [self.told])
        self.told = Told()
        self.engine = self._make()
        self.number, self.now, self.seq = 100, START * SECOND, 0
        self.rows: list[tuple[str, dict[str, Any]]] = []
        self.outputs: list[OutputRow] = []
        self.sent: list[AnyCommand] = []
        self.last: tuple[str, dict[str, Any]] = ("", {})  # row of `slow`

    def plan(self, **changes: Any) -> AtomicPlan:
        """A cycle of one WETH that earns."""
        plain = AtomicPlan(
            venue=CHAIN,
            hops=((1, True), (0, False)),
            amount=10**18,
            funding="callback",
            lender="",
            premium=0,
            min_profit=earned(10**18),
            expected_net=1,
            gas_limit=200_000,
            ceiling_wei=100 * GWEI,
            deadline_s=self.now // SECOND + 120,
            channel="public",
        )
        return msgspec.structs.replace(plain, **changes)

    def block(self, *wanted: Plan, reserves: Mapping[str, tuple[int, int]] | None = None) -> list[tuple[str, dict[str, Any]]]:
        """The next block, with all pools as they are; the strategy plans what is wanted."""
        self.now += 12 * SECOND
        self.number += 1
        block = Block(
            venue=CHAIN,
            conn=0,
            chain_id=1,
            number=self.number,
            hash=f"0x{self.number:064x}",
            parent_hash=f"0x{self.number - 1:064x}",
            timestamp_s=self.now // SECOND,
            base_fee_wei=10 * GWEI,
            gas_used=15_000_000,
            gas_limit=30_000_000,
            miner="0xmm",
        )
        given: list[ChainRow] = [
            chains.snapshot_row(block, one, product(one, (reserves or RESERVES)[one.address])) for one in POOLS
        ]
        rows = slow_rows([(self.now, row) for row in (*given, chains.block_row(block, len(given)))], self.seq)
        self.told.wanted = list(wanted)
        return self.fold(rows)

    def slow(self, kind: str, **values: Any) -> list[tuple[str, dict[str, Any]]]:
        """Another row a millisecond later."""
        self.now += 10**6
        self.last = (kind, values)
        return self.fold([SlowRow(self.seq, self.now, kind, values)])

    def transaction(
        self, event: str, order: int | None = 1, *, tx: str = "0xt1", **changes: Any
    ) -> list[tuple[str, dict[str, Any]]]:
        """A row of `transactions`."""
        plain = {"account": "main", "strategy": "s", "venue": CHAIN, "start": 1, "order": order, "tx_hash": tx, "event": event}
        plain |= {"purpose": "trade", "block_number": None, "block_hash": None, "reason": None}
        return self.slow("transactions", **(plain | changes))

    def receipt(self, status: str, *, tx: str = "0xt1", block: str = "0xblock", **changes: Any) -> list[tuple[str, dict[str, Any]]]:
        """A row of `receipts`; a success earns 7 of WETH's smallest units."""
        plain: dict[str, Any] = {
            "account": "main",
            "strategy": "s",
            "venue": CHAIN,
            "tx_hash": tx,
            "status": status,
            "reason": None,
        }
        is_in = status != "dropped"
        plain |= {"block_number": self.number if is_in else None, "block_hash": block if is_in else None}
        plain |= {"gas_used": 150_000 if is_in else None, "gas_price_wei": str(12 * GWEI) if is_in else None}
        is_good = status == "succeeded"
        plain |= {"profit_token": WETH if is_good else None, "profit": "7" if is_good else None}
        plain |= dict.fromkeys(("token_in", "amount_in", "token_out", "amount_out"))
        return self.slow("receipts", **(plain | changes))

    def fold(self, rows: Sequence[SlowRow]) -> list[tuple[str, dict[str, Any]]]:
        """Apply rows as one batch."""
        self.seq = rows[-1].seq + 1
        self.engine.load(Batch(rows[0].seq, rows[-1].seq, NO_QUOTES, NO_DELTAS, NO_TRADES, NO_BOOKS, list(rows)))
        while self.engine.run() is Stop.COMMANDS:
            self.sent += self.engine.take_commands()
        return self.drained()

    def drained(self) -> list[tuple[str, dict[str, Any]]]:
        """What the engine wrote since the last call."""
        drained = self.engine.outputs.drain()
        self.outputs += drained
        found = [(row[0], named(row)) for row in drained]
        self.rows += found
        return found

    def copy(self) -> None:
        """Go on in a fresh engine with what a checkpoint holds."""
        copy = msgspec.json.decode(msgspec.json.encode(self.engine.capture()), type=EngineCopy)
        self.engine = self._make()
        self.engine.restore(copy)
        assert msgspec.json.encode(self.engine.capture()) == msgspec.json.encode(copy)

    # --- what it says

    def of(self, kind: str) -> list[dict[str, Any]]:
        """All rows of a kind so far."""
        return [row for name, row in self.rows if name == kind]

    @property
    def states(self) -> list[str]:
        """The states of cycles, in order."""
        return [row["state"] for row in self.of("cycle_states")]

    def balance(self, asset: str) -> int:
        """Of the account on the chain."""
        return self.engine.portfolio.balance(("main", CHAIN, asset))

    def reserved(self, asset: str = "ETH") -> int:
        """What is set aside of it."""
        return self.engine.portfolio.reserved(("main", CHAIN, asset))
