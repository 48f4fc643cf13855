"""What the strategy plans, risk lets through: the real engine between both."""

from __future__ import annotations

import pytest

from tests.defaults import micro_params, strategy_terms
from tests.engine.desk import Desk, money
from tests.engine.table import instrument
from xarb.engine.strategy import Pair
from xarb.model.instrument import FeeTier
from xarb.model.units import Ppb
from xarb.strategies.micro import Micro

FREE = FeeTier(maker_ppb=Ppb(0), taker_ppb=Ppb(0))
IN_COINS = FeeTier(
    maker_ppb=Ppb(0), taker_ppb=Ppb(10_000_000), asset="BNB"
)  # 1 %: of 5 * 300 EUR that is 15 lots of the conversion


@pytest.mark.parametrize("at", ["b", "c", "bc"])
@pytest.mark.parametrize(("convert", "side"), [("EUR/USD", "bid"), ("USD/EUR", "ask")])
def test_a_fee_in_a_third_coin_leaves_nothing_to_convert(at: str, convert: str, side: str) -> None:
    """BTC is sold for EUR, which become USD: with fees in coins all of the EUR are converted, and the bundle is sent."""
    base, quote = convert.split("/")
    made = [
        instrument("a"),
        instrument("b", symbol="BTC/EUR", quote="EUR", settle="EUR"),
        instrument("c", symbol=convert, base=base, quote=quote, settle=quote, px_scale=2),
        *(instrument(venue, symbol=f"BNB/{coin}", base="BNB", quote=coin) for venue in "bc" for coin in ("EUR", "USD")),
    ]
    pair = Pair(1, 0, 0, 0, 0, 0, convert=2, convert_side=side)
    rates = {(one.venue, "BNB", one.quote): number for number, one in enumerate(made) if one.base == "BNB"}
    micro = Micro("m", "main", [pair], micro_params(max_edge_ppb=0), rates=rates, assumed_qty={})
    desk = Desk(
        "abcdefg",
        instruments=made,
        groups=[],
        terms={"m": strategy_terms()},
        fees={("main", number): IN_COINS if one.venue in at else FREE for number, one in enumerate(made)},
        opening={("main", one.venue, asset): money(10**6) for one in made for asset in (one.base, one.quote)},
        rates=rates,
        real=[micro],
    )
    desk.quote(2, 99, 101, size=100_000)
    did = desk.quote(1, 300, 301, size=5)
    assert [text.split()[0] for text in did] == ["open"] * 3, did
    (bundle,) = (row for row in desk.drained("opportunities") if row["phase"] == "decided")
    assert bundle["verdict"] == "taken"
