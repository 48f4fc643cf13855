"""What others did on two chains, one of which holds a swap of ours: where it is what the rows of the other one prove, nothing parts them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest

from tests.venues.test_asked import Pair
from xarb.inquiry.chainblocks import Parted, TwoChains

POOL, OURS = "0x22", "0xa"
START = Pair((10**22, 3 * 10**13), 10**17)
OURS_IN = 10**20


class Act(NamedTuple):
    """A row of others: reserves after it, or the square root of the price at which a swap of v3 stopped with its input; of v2 a swap's input."""

    reserves: tuple[int, int] | None = None
    price: int | None = None
    put: int | None = None
    tx: str = "0xb"


class Side:
    """A side of a comparison: a chain with an act a block, in memory."""

    span = None

    def __init__(self, name: str, acts: Sequence[Act], *, reports: str) -> None:
        self.log, self.reports, self._acts = Path(name), reports, acts

    def rows(self, kind: str, *where: Any, **more: Any) -> list[dict[str, Any]]:
        """Rows of a kind."""
        del where, more
        if kind == "transactions":
            return [{"tx_hash": OURS}]
        if kind not in ("blocks", "pools", "swaps"):
            return []
        return [one for number, act in enumerate(self._acts) if (one := self._row(kind, 100 + number, act)) is not None]

    def _row(self, kind: str, number: int, act: Act) -> dict[str, Any] | None:
        place = {"block_number": number, "block_hash": f"0x{number}", "symbol": POOL, "log_index": 0, "tx_hash": act.tx}
        if kind == "blocks":
            fees = {"event": "added", "base_fee_wei": "1", "gas_used": 1, "gas_limit": 2}
            return place | fees | {"seq": number, "ts_recv": number}
        if kind == "swaps":
            at = 0 if act.price is not None else 1
            put = None if act.price is not None else f"{act.put}"
            moved = {"delta0": f"{act.put}", "delta1": f"-{act.put}", "in0": put, "in1": put and "0"}
            return None if act.put is None else place | moved | {"log_index": at}
        reserves = act.reserves or (None, None)
        state = {"reserve0": reserves[0], "reserve1": reserves[1], "sqrt_price_x96": act.price, "liquidity": None, "tick": None}
        of_range = {"tick_lower": None, "tick_upper": None, "liquidity_delta": None}
        named = {"kind": "v2" if act.price is None else "v3", "cause": "sync" if act.price is None else "swap", "fee_ppm": 3000}
        return place | state | of_range | named


def parted(alone: Sequence[Act], shared: Sequence[Act]) -> Parted | None:
    """Since when a backtest of the one is apart from live trading on the other."""
    sides = Side("alone", alone, reports="sim_reports"), Side("shared", shared, reports="reports")
    return TwoChains(cast("Any", sides), "local", [(0, 1_000)] * 2).parted(POOL, 1_000)


def of_liquidity(alone: Pair, shared: Pair) -> Parted | None:
    """The same of liquidity that came after a swap of ours."""
    first, ours = Act(START.reserves), Act(SHARED.reserves, put=OURS_IN, tx=OURS)
    quiet = Act((START.reserves[0], START.reserves[1]), put=1)  # so that both sides have as many blocks
    return parted([first, quiet._replace(tx=OURS), Act(alone.reserves)], [first, ours, Act(shared.reserves)])


SHARED = START.moved(OURS_IN, zero_for_one=True)  # token1 is dearer there


def test_liquidity_that_rows_prove_parts_nothing() -> None:
    """All of token0 went in, and on our side less of token1 is enough; a share that is taken out."""
    most = (10**19, 10**13)
    assert of_liquidity(START.added(most), SHARED.added(most)) is None
    whole = START.supply // 8  # no unit is left over on either side
    assert of_liquidity(START.burned(whole), SHARED.burned(whole)) is None


@pytest.mark.parametrize("off", [(1, 0), (0, -1)])
def test_a_unit_of_liquidity_is_told(off: tuple[int, int]) -> None:
    """With as much as it lies apart, and as what we brought about."""
    most = (10**19, 10**13)
    real = SHARED.added(most)
    moved = real._replace(reserves=(real.reserves[0] + off[0], real.reserves[1] + off[1]))
    found = of_liquidity(START.added(most), moved)
    assert found is not None
    assert (found.number, found.by_us) == (102, True)
    assert f"by {abs(off[0])} of token0 and {abs(off[1])} of token1" in found.what


def test_more_than_a_row_proves_is_told() -> None:
    """All of token1 went in, and on our side there was more of token0 for it."""
    most = (10**21, 3 * 10**10)
    found = of_liquidity(START.added(most), SHARED.added(most))
    assert found is not None
    assert "otherwise than its row proves" in found.what


def test_swaps_that_stop_at_one_price_are_the_same() -> None:
    """Whatever they put in; at another price they are not, unless they put in the same."""
    first, ours = Act(price=900, put=7), Act(price=950, put=3, tx=OURS)
    assert parted([first, ours, Act(price=800, put=50)], [first, ours, Act(price=800, put=40)]) is None
    assert parted([first, ours, Act(price=800, put=50)], [first, ours, Act(price=790, put=50)]) is None
    found = parted([first, ours, Act(price=800, put=50)], [first, ours, Act(price=801, put=40)])
    assert found is not None
    assert found.what == "others asked for something else in it after us"
