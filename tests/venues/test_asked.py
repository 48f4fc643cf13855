"""What others asked for, read from rows that the contracts' maths made of it, and asked again of another state of the pool."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, NamedTuple

import pytest

from tests.engine.chainworld import V3
from xarb.engine.pool import Maths, same
from xarb.pools.concentrated import Concentrated
from xarb.pools.constant_product import ConstantProduct
from xarb.pools.ticks import sqrt_price_at
from xarb.venues.asked import Again, again, through

MOST = (1 << 255) - 1
Row = tuple[Mapping[str, Any], Mapping[str, Any] | None]


class Pair(NamedTuple):
    """A v2 pool with the tokens that stand for its liquidity, as the contract counts them."""

    reserves: tuple[int, int]
    supply: int

    @property
    def maths(self) -> ConstantProduct:
        """Its reserves."""
        return ConstantProduct(reserve0=self.reserves[0], reserve1=self.reserves[1])

    def added(self, most: tuple[int, int]) -> Pair:
        """As `addLiquidity` of the router and `mint` of the pair do."""
        r0, r1 = self.reserves
        put = (most[0], most[0] * r1 // r0)
        if put[1] > most[1]:
            put = (most[1] * r0 // r1, most[1])
        return self.minted(put)

    def minted(self, put: tuple[int, int]) -> Pair:
        """As `mint` does with what was sent."""
        r0, r1 = self.reserves
        made = min(put[0] * self.supply // r0, put[1] * self.supply // r1)
        return Pair((r0 + put[0], r1 + put[1]), self.supply + made)

    def burned(self, liquidity: int) -> Pair:
        """As `burn` does."""
        r0, r1 = (one - liquidity * one // self.supply for one in self.reserves)
        return Pair((r0, r1), self.supply - liquidity)

    def moved(self, amount: int, *, zero_for_one: bool) -> Pair:
        """After a swap."""
        pool = through(self.maths, amount, zero_for_one=zero_for_one)[1]
        assert isinstance(pool, ConstantProduct)
        return Pair((pool.reserve0, pool.reserve1), self.supply)


def pair(draw: random.Random) -> Pair:
    """Tokens of 18 and 6 decimals, or the other way round."""
    reserves = (int(draw.uniform(10, 10**4) * 10**18), int(draw.uniform(10**4, 10**7) * 10**6))
    reserves = reserves if draw.random() < 0.5 else reserves[::-1]
    return Pair(reserves, int((reserves[0] * reserves[1]) ** 0.5))


def of_liquidity(was: Pair, now: Pair, mine: Pair) -> Again:
    """A row that states reserves, upon another state."""
    return again(mine.maths, was.maths, now.maths, ({"cause": "sync"}, None))


def lies(found: Again, truth: Pair) -> bool:
    """Whether the truth is what was found, as far as that says so."""
    assert isinstance(found.maths, ConstantProduct)
    assert found.off is not None
    apart = (truth.reserves[0] - found.maths.reserve0, truth.reserves[1] - found.maths.reserve1)
    return abs(apart[0]) <= found.off[0] and abs(apart[1]) <= found.off[1]


def test_liquidity_that_the_router_prices_is_exact_or_within_its_bound() -> None:
    """Whatever was the most of either token; exact where the price moved so that what went in is enough for it."""
    draw = random.Random(1)  # noqa: S311  # a test's draw
    exact = 0
    for _ in range(400):
        was = pair(draw)
        mine = was.moved(int(was.reserves[0] * draw.uniform(1e-4, 1e-2)), zero_for_one=draw.random() < 0.5)
        most = tuple(int(one * draw.uniform(1e-4, 1e-1)) for one in was.reserves)
        now, truth = was.added((most[0], most[1])), mine.added((most[0], most[1]))
        found = of_liquidity(was, now, mine)
        exact += found.off == (0, 0)
        if found.off == (0, 0):
            assert found.maths == truth.maths
            continue
        low = (truth.reserves[0] - mine.reserves[0], truth.reserves[1] - mine.reserves[1])
        assert lies(found, truth)
        assert min(low) > 0
    assert 130 < exact < 270


def test_liquidity_that_nobody_priced_goes_in_as_it_is() -> None:
    """Amounts that the router would not have put in, and a gift of one token."""
    draw = random.Random(2)  # noqa: S311  # a test's draw
    for _ in range(200):
        was = pair(draw)
        mine = was.moved(int(was.reserves[0] * 1e-3), zero_for_one=True)
        put = (was.reserves[0] // draw.randint(10, 99), was.reserves[1] // draw.randint(100, 999))
        assert of_liquidity(was, was.minted(put), mine) == (mine.minted(put).maths, (0, 0))
        gift = Pair((was.reserves[0] + put[0], was.reserves[1]), was.supply)
        assert of_liquidity(was, gift, mine).maths == Pair((mine.reserves[0] + put[0], mine.reserves[1]), 0).maths


def test_a_share_that_is_taken_out_is_known_to_a_unit() -> None:
    """Of the coarser token exactly in nearly all cases, of the finer one to a unit for each of the log's."""
    draw = random.Random(3)  # noqa: S311  # a test's draw
    exact = 0
    for _ in range(400):
        was = pair(draw)
        mine = was.moved(int(was.reserves[0] * draw.uniform(1e-4, 1e-2)), zero_for_one=draw.random() < 0.5)
        liquidity = int(was.supply * draw.uniform(1e-6, 0.5))
        now, truth = was.burned(liquidity), mine.burned(liquidity)
        found = of_liquidity(was, now, mine)
        assert lies(found, truth)
        assert found.off is not None
        assert max(found.off) <= 2
        exact += min(found.off) == 0
    assert exact > 390


def test_the_bound_of_a_share_is_no_wider_than_it_must_be() -> None:
    """A tenth or more, and less than two: of twenty that is two or three."""
    found = of_liquidity(Pair((10, 10), 10), Pair((9, 9), 9), Pair((20, 20), 20))
    assert (found.maths, found.off) == (Pair((18, 18), 0).maths, (1, 1))


def test_what_no_share_explains_has_no_bound() -> None:
    """Balances that shrink by themselves: in proportion, and told as not known."""
    was, mine = Pair((10**21, 10**12), 1), Pair((11 * 10**20, 10**12), 1)
    for now in ((10**21 - 10**19, 10**12), (10**21 - 10**19, 10**12 - 10**6), (10**21 - 10**19, 10**12 + 1)):
        found = of_liquidity(was, Pair(now, 1), mine)
        assert found.off is None
        assert isinstance(found.maths, ConstantProduct)
        assert found.maths.reserve0 == 11 * 10**20 - 11 * 10**18


def v2_swap(was: ConstantProduct, cost: int, given: int) -> tuple[ConstantProduct, Row]:
    """Token0 in."""
    swap = {"in0": cost, "in1": 0, "delta0": cost, "delta1": -given}
    return was.swapped(cost, given, zero_for_one=True), ({"cause": "sync"}, swap)


@pytest.mark.parametrize("is_fine", [True, False])
@pytest.mark.parametrize("is_out", [True, False])
def test_a_swap_of_v2_is_known_by_the_coarser_token(*, is_out: bool, is_fine: bool) -> None:
    """Where an input and an output explain a row alike, it is the one that is not so by chance."""
    draw = random.Random(4)  # noqa: S311  # a test's draw
    for _ in range(100):
        r0, r1 = (10**22, 10**13) if is_fine else (10**13, 10**22)
        was = ConstantProduct(reserve0=r0, reserve1=r1)
        mine = Pair((r0, r1), 1).moved(r0 // 1000, zero_for_one=True).maths
        if is_out:
            want = int(r1 * draw.uniform(1e-4, 1e-2))
            now, row = v2_swap(was, *was.quote_out(want, zero_for_one=True))
            truth = v2_swap(mine, *mine.quote_out(want, zero_for_one=True))[0]
        else:
            put = int(r0 * draw.uniform(1e-4, 1e-2))
            now, row = v2_swap(was, *was.quote_in(put, zero_for_one=True))
            truth = v2_swap(mine, *mine.quote_in(put, zero_for_one=True))[0]
        assert again(mine, was, now, row).maths == truth


def ranged(draw: random.Random) -> Concentrated:
    """A v3 pool of several ranges."""
    ticks: dict[int, tuple[int, int]] = {}
    inside = 0
    for _ in range(8):
        lower, liquidity = draw.randint(-20, 5) * 60, int(10 ** draw.uniform(16, 19))
        upper = max(lower + draw.randint(1, 20) * 60, 60)
        inside += liquidity if lower <= 0 < upper else 0
        for at, net in ((lower, liquidity), (upper, -liquidity)):
            known = ticks.get(at, (0, 0))
            ticks[at] = (known[0] + net, known[1] + liquidity)
    return Concentrated(fee_pips=V3.fee_ppm, tick_spacing=60, sqrt_price=sqrt_price_at(0), tick=0, liquidity=inside, ticks=ticks)


def crossed(pool: Concentrated, amount: int, limit: int | None, *, down: bool, is_out: bool = False) -> tuple[Concentrated, Row]:
    """After a swap, and its row."""
    done, after = pool.cross(amount, zero_for_one=down, exact_out=is_out, limit=limit), pool.copy()
    after.move(done.sqrt_price, done.tick, done.liquidity)
    deltas = (done.amount_in, -done.amount_out) if down else (-done.amount_out, done.amount_in)
    return after, ({"cause": "swap"}, {"in0": None, "in1": None, "delta0": deltas[0], "delta1": deltas[1]})


def test_a_swap_that_stopped_at_a_price_goes_there_again() -> None:
    """Exactly, whatever it needs; the bound is what it needs beyond its row. One that is past its price is undone."""
    draw = random.Random(5)  # noqa: S311  # a test's draw
    more = refused = 0
    for _ in range(200):
        was, down = ranged(draw), draw.random() < 0.5
        limit = sqrt_price_at(draw.randint(1, 500) * (-1 if down else 1)) + draw.randint(1, 10**9)
        now, row = crossed(was, MOST, limit, down=down)
        mine: Maths = through(was, int(10 ** draw.uniform(14, 17)), zero_for_one=draw.random() < 0.5)[1]
        assert isinstance(mine, Concentrated)
        found = again(mine, was, now, row)
        is_past = mine.sqrt_price <= limit if down else mine.sqrt_price >= limit
        if is_past:
            refused += 1
            assert same(found.maths, mine)
            continue
        truth, told = crossed(mine, MOST, limit, down=down)
        assert same(found.maths, truth)
        needed, had = (one[1]["delta0" if down else "delta1"] for one in (told, row) if one[1] is not None)
        assert found.off is not None
        assert max(found.off) == max(needed - had, 0)
        more += needed > had
    assert min(more, refused) > 10


@pytest.mark.parametrize("is_out", [True, False])
def test_a_swap_of_v3_that_stopped_nowhere_asks_for_its_amount(*, is_out: bool) -> None:
    """Its input or its output, over ticks."""
    draw = random.Random(6)  # noqa: S311  # a test's draw
    for _ in range(200):
        was, down = ranged(draw), draw.random() < 0.5
        amount = int(10 ** draw.uniform(13, 17))
        now, row = crossed(was, amount, None, down=down, is_out=is_out)
        mine = through(was, int(10 ** draw.uniform(14, 17)), zero_for_one=draw.random() < 0.5)[1]
        assert isinstance(mine, Concentrated)
        found = again(mine, was, now, row)
        assert same(found.maths, crossed(mine, amount, None, down=down, is_out=is_out)[0])


@pytest.mark.parametrize("is_out", [True, False])
def test_what_input_and_output_explain_alike_has_a_bound(*, is_out: bool) -> None:
    """Where liquidity is so deep that units of a token hardly move the price: the input, and how far the output would lie from it."""
    draw = random.Random(7)  # noqa: S311  # a test's draw
    ends = {-6000: (1 << 100, 1 << 100), 6000: (-(1 << 100), 1 << 100)}
    was = Concentrated(fee_pips=V3.fee_ppm, tick_spacing=60, sqrt_price=sqrt_price_at(0), tick=0, liquidity=1 << 100, ticks=ends)
    told = 0
    for _ in range(100):
        amount, down = draw.randint(10**4, 10**5), draw.random() < 0.5
        now, row = crossed(was, amount, None, down=down, is_out=is_out)
        mine = through(was, 10**29, zero_for_one=down)[1]
        assert isinstance(mine, Concentrated)
        found = again(mine, was, now, row)
        after, truth = crossed(mine, amount, None, down=down, is_out=is_out)
        name = "delta0" if down else "delta1"
        assert found.off is not None
        assert row[1] is not None
        assert truth[1] is not None
        assert abs(truth[1][name] - row[1][name]) <= max(found.off) or same(found.maths, after)
        told += max(found.off) > 0
    assert told or not is_out
