"""What gas a simulated transaction is charged that is undone, over a pool of v3 whose ticks it crosses."""

from __future__ import annotations

from typing import Final

import pytest

from tests.engine.chainworld import SECOND, V2, V3, VENUE, slow_rows
from tests.venues.test_apart import NUMBERS, Put, Scripted
from xarb.engine.chains import Chains
from xarb.engine.pool import Maths
from xarb.model.command import SwapHop, SwapPath
from xarb.model.units import MONEY_ONE
from xarb.pools.concentrated import Concentrated
from xarb.pools.financing import PATH
from xarb.venues.apart import Apart
from xarb.venues.chainterms import ChainModel
from xarb.venues.simulated_chain import SimulatedChain
from xarb.venues.terms import ConstantLatency
from xarb.wires.chains import listing_of

LIMIT: Final = 5_000_000
TOKEN, OTHER = V3.token0, V3.token1


def told(world: Scripted, others: Put | None, *, share: tuple[int, int], **model: int) -> tuple[str, str, int, Maths]:
    """What becomes of a path through the v3 pool that takes a share of what the pool can take, where others swap before it in its block.

    Its event, the reason, gas, and the pool that it met.
    """
    assumed: dict[str, int] = {"missed_ppm": 0, "taken_ppm": 0} | model
    chains = Chains([listing_of(VENUE, pool, "test").instrument for pool in (V2, V3)], {}, lambda *_: None, loans={})
    chain = SimulatedChain(
        VENUE,
        ChainModel(
            native="ETH",
            latency=ConstantLatency(10),
            lag_ns=0,
            receipt_ns=10,
            tip_wei=0,
            finality_blocks=2,
            sees_own_swaps=False,
            loans=(),
            **assumed,
        ),
        chains,
        apart=Apart(chains, NUMBERS, frozenset()),
        opening={("main", "ETH"): 1000 * MONEY_ONE, ("main", TOKEN): 10**40},
        seed=1,
    )
    pool = world.pools[V3.address]
    assert isinstance(pool, Concentrated)
    amount = pool.cross(1 << 200, zero_for_one=True).amount_in * share[0] // share[1]
    most = pool.quote_in(amount, zero_for_one=True).amount_out
    play(world, chain)
    chain.take(path(amount, most, world.now + 1))
    world.play([] if others is None else [others])
    met = world.pools[V3.address]
    play(world, chain)
    (report,) = [one for _, _, one in chain.outbox if one.event in ("succeeded", "reverted")]
    return report.event, report.reason or "", report.gas_used or 0, met


def play(world: Scripted, chain: SimulatedChain) -> None:
    """Give the chain the rows that it did not have yet."""
    rows, world.rows = world.rows, []
    for row in slow_rows(rows):
        chain.apply(row)


def path(amount: int, min_out: int, ts: int) -> SwapPath:
    """Through the v3 pool."""
    return SwapPath(
        ts=ts,
        order=1,
        client_order_id="test-1-1",
        account="main",
        strategy="s",
        venue=VENUE,
        bundle=1,
        hops=(SwapHop(pool=V3.address, token_in=TOKEN, is_v3=True, zero_for_one=True, fee_pips=0),),
        amount=amount,
        deadline_s=ts // SECOND + 60,
        channel="public",
        gas_limit=LIMIT,
        token_out=OTHER,
        min_out=min_out,
    )


@pytest.mark.parametrize(
    ("others", "model", "reason"), [(True, {}, "output"), (False, {"taken_ppm": 1_000_000}, "taken"), (False, {}, "")]
)
def test_what_is_undone_pays_for_the_ticks_that_it_crossed(others: bool, model: dict[str, int], reason: str) -> None:
    """Its swaps came about before the end found too little, or somebody else was first: each tick is paid for, as where it succeeds."""
    world = Scripted(10)
    world.play([], snapshots=True)
    first = Put(V3.address, down=True, amount=10**16) if others else None
    event, why, gas, pool = told(world, first, share=(1, 2), **model)
    assert isinstance(pool, Concentrated)
    amount = Scripted(10).pools[V3.address].cross(1 << 200, zero_for_one=True).amount_in // 2  # type: ignore[union-attr]  # of v3
    ticks = pool.crossed(pool.cross(amount, zero_for_one=True).tick)
    assert ticks >= 2
    undone = PATH.more_of_revert(1) if reason else 0
    assert (event, why, gas) == ("reverted" if reason else "succeeded", reason, PATH.of(1, ticks) + undone)


def test_a_pool_whose_liquidity_ends_takes_all_the_gas_at_worst() -> None:
    """It looks for more, word by word of its ticks, up to the end of all prices."""
    world = Scripted(10)
    world.play([], snapshots=True)
    most = world.pools[V3.address].cross(1 << 200, zero_for_one=True).amount_in  # type: ignore[union-attr]  # of v3
    first = Put(V3.address, down=True, amount=most // 2)
    assert told(world, first, share=(3, 4))[:3] == ("reverted", "empty", LIMIT)
