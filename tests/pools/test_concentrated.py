"""Pools of concentrated liquidity: the published swap cases, recorded states, and what must hold of any."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

import pytest

from tests.pools.made import SHARED, concentrated, random_concentrated, recorded_wbtc_weth
from tests.pools.published import PUBLISHED, SWAPS, Outcome
from xarb.pools.concentrated import Concentrated
from xarb.pools.ticks import MIN_TICK, sqrt_price_at

needs_recordings = pytest.mark.skipif(not SHARED.is_dir(), reason=f"the recorded chain data are not there: {SHARED}")


@pytest.mark.parametrize(("pool", "outcomes"), PUBLISHED.values(), ids=PUBLISHED)
def test_published_swaps(pool: Concentrated, outcomes: tuple[Outcome, ...]) -> None:
    """Every pool and every swap: both directions, exact input and output, large and small, and up to a price."""
    for swap, wanted in zip(SWAPS, outcomes, strict=True):
        if wanted is None:
            with pytest.raises(ValueError, match="wrong side"):
                pool.cross(swap.amount, zero_for_one=swap.zero_for_one, exact_out=swap.exact_out, limit=swap.limit)
            continue
        done = pool.cross(swap.amount, zero_for_one=swap.zero_for_one, exact_out=swap.exact_out, limit=swap.limit)
        gained = (done.amount_in, -done.amount_out) if swap.zero_for_one else (-done.amount_out, done.amount_in)
        assert (*gained, done.tick) == wanted, swap


@needs_recordings
def test_recorded_hops_are_met() -> None:
    """Two hops of recorded paths, through 224 ticks at a spacing of 1 and through those of another pool."""
    for name, key, way, amount, out in (
        ("path110302_v3v4v2_block25711761", "v3_0", False, 30261840128124434, 58199277),
        ("path5000_v2v4v3_block25704509", "v3_2", True, 460882096151249, 968434882006),
    ):
        state = json.loads((SHARED / f"degenbot/{name}.json").read_text())["pools"][key]
        ticks = state["tick_data"].items()
        pool = Concentrated(
            fee_pips=state["fee_token0"],
            tick_spacing=state["tick_spacing"],
            sqrt_price=int(state["sqrt_price_x96"]),
            tick=state["tick"],
            liquidity=int(state["liquidity"]),
            ticks={int(tick): (int(one["liquidity_net"]), int(one["liquidity_gross"])) for tick, one in ticks},
        )
        assert pool.quote_in(amount, zero_for_one=way).amount_out == out


@needs_recordings
def test_a_recorded_pool_of_many_ticks() -> None:
    """Its liquidity is the sum of what began below; a swap there and back loses, and one in two parts comes to the same but for rounding."""
    pool = recorded_wbtc_weth()
    assert sum(net for tick, net in pool.net.items() if tick <= pool.tick) == pool.liquidity
    assert sum(pool.net.values()) == 0
    for amount in (1, 10**6, 10**9, 10**11):
        whole = pool.cross(amount, zero_for_one=True)
        moved = pool.copy()
        moved.move(*whole[2:])
        back = moved.quote_in(whole.amount_out, zero_for_one=False) if whole.amount_out else None
        assert back is None or back.amount_out <= amount
        half = pool.cross(amount - amount // 2, zero_for_one=True)
        moved.move(*half[2:])
        rest = moved.quote_in(amount // 2, zero_for_one=True).amount_out if amount > 1 else 0
        # a unit of the input, which has 8 decimals, may be rounded away at each of two ends
        assert 0 <= whole.amount_out - half.amount_out - rest <= 2 * whole.amount_out // amount + 2


def test_events_come_to_the_state_that_ticks_say() -> None:
    """Random mints, burns and swaps: liquidity in range and ticks are what all positions add up to, and nothing remains at the end."""
    draw = random.Random(11)  # noqa: S311  # a test's draw
    for spacing in (1, 10, 60):
        pool = concentrated(500, spacing, sqrt_price_at(3) + 1, [])
        held: dict[tuple[int, int], int] = {}
        for _ in range(600):
            kind = draw.randrange(4)
            if kind == 0 or not held:
                lower = draw.randint(-40, 35) * spacing
                where = (lower, lower + draw.randint(1, 20) * spacing)
                liquidity = draw.randint(1, 10**20)
                pool.change(*where, liquidity)
                held[where] = held.get(where, 0) + liquidity
            elif kind == 1:
                where = draw.choice(sorted(held))
                part = draw.choice([held[where], draw.randint(0, held[where])])
                pool.change(*where, -part)
                held[where] -= part
                if not held[where]:
                    del held[where]
            else:
                done = pool.cross(draw.randint(1, 10**17), zero_for_one=draw.random() < 0.5)
                if -10_000 < done.tick < 10_000:
                    pool.move(done.sqrt_price, done.tick, done.liquidity)
            assert pool.liquidity == sum(held[low, up] for low, up in held if low <= pool.tick < up)
        ticks = {tick: (pool.net[tick], gross) for tick, gross in sorted(pool.gross.items())}
        made = concentrated(500, spacing, pool.sqrt_price, sorted((*where, liquidity) for where, liquidity in held.items()))
        assert ticks == {tick: (made.net[tick], gross) for tick, gross in sorted(made.gross.items())}
        for way in (True, False):
            assert list(pool.ranges(zero_for_one=way)) == list(made.ranges(zero_for_one=way))
        for (lower, upper), liquidity in sorted(held.items()):
            pool.change(lower, upper, -liquidity)
        assert (pool.liquidity, pool.net, pool.gross) == (0, {}, {})


def test_quotes_agree_in_both_directions() -> None:
    """What an output costs buys it, and one unit less of input does not buy more than the output."""
    draw = random.Random(5)  # noqa: S311  # a test's draw
    for _ in range(300):
        pool = random_concentrated(draw, (10**18, 10**21))
        way = draw.random() < 0.5
        wanted = draw.randint(1, 10**18)
        cost = pool.quote_out(wanted, zero_for_one=way)
        assert cost.amount_out <= wanted
        if cost.amount_out < 2:
            continue
        bought = pool.quote_in(cost.amount_in, zero_for_one=way)
        assert bought.amount_in <= cost.amount_in
        assert bought.amount_out >= cost.amount_out
        less = pool.quote_in(cost.amount_in * 999 // 1000 or 1, zero_for_one=way)
        assert less.amount_out <= cost.amount_out


def test_what_cannot_be_is_refused() -> None:
    """States and events that no pool can have."""
    pool = concentrated(3000, 60, sqrt_price_at(0), [(-60, 60, 1000)])
    refused: list[tuple[Callable[[], object], str]] = [
        (lambda: pool.move(sqrt_price_at(0), 5, 1000), "is not that of the square root"),
        (lambda: pool.move(1, 0, 1000), "outside of what a pool can hold"),
        (lambda: pool.move(sqrt_price_at(0), 0, -1), "outside of what a pool can hold"),
        (lambda: pool.change(-60, 60, -1001), "where there is less"),
        (lambda: pool.change(60, -60, 5), "are no range"),
        (lambda: pool.change(-61, 60, 5), "cannot be initialised"),
        (lambda: pool.change(MIN_TICK - 8, 60, 5), "cannot be initialised"),
        (lambda: pool.cross(0, zero_for_one=True), "is not above 0"),
        (lambda: concentrated(1_000_000, 60, sqrt_price_at(0), []), "no pool has these"),
    ]
    for act, why in refused:
        with pytest.raises(ValueError, match=why):
            act()
    assert (pool.liquidity, sorted(pool.net.items())) == (1000, [(-60, 1000), (60, -1000)])
    pool.move(sqrt_price_at(-60), -61, 0)  # fallen onto a tick and through it
    assert pool.cross(3, zero_for_one=False).liquidity == 1000


def test_a_price_on_a_tick_keeps_the_tick_it_came_with() -> None:
    """Fallen onto a tick, and then an input that is all fee: the contract leaves the tick one below."""
    pool = concentrated(3000, 60, sqrt_price_at(-70), [(-120, -60, 10**18)])
    pool.move(sqrt_price_at(-60), -61, 10**18)
    done = pool.cross(1, zero_for_one=True)
    assert (done.sqrt_price, done.tick, done.liquidity) == (sqrt_price_at(-60), -61, 10**18)
    assert pool.cross(1, zero_for_one=False).liquidity == 0


def test_a_refused_change_changes_nothing() -> None:
    """A range whose upper end cannot be taken away leaves the lower one as it was."""
    pool = concentrated(500, 60, sqrt_price_at(0), [(-120, 60, 10**9), (60, 120, 10**9), (-120, 120, 10**9)])
    before = (dict(pool.net), dict(pool.gross), pool.liquidity)
    with pytest.raises(ValueError, match="net liquidity"):
        pool.change(-120, 60, -(10**9) - 1)
    assert (pool.net, pool.gross, pool.liquidity) == before
