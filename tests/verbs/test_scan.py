"""Edges of this moment: exact after fees, only between what is proven to be the same, and gone with the connection that gave the price."""

from __future__ import annotations

import json
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.instruments import spot
from tests.venues.player import Player
from tests.verbs.test_record import Command, _file, run
from xarb.engine.strategy import Pair
from xarb.venues.markets import Listed
from xarb.verbs.scan import Best, Scan, edge_of
from xarb.wires.decimals import Listing
from xarb.wires.events import LinkEvent, QuoteEvent
from xarb.wires.rows import Link, RowBuilder

PRICES = st.integers(1, 10**9).map(lambda number: Fraction(number, 100))
FEES = st.integers(0, 5_000_000)


@given(PRICES, PRICES, PRICES, FEES, FEES, FEES, st.sampled_from(["", "bid", "ask"]))
def test_an_edge_is_what_a_round_trip_yields(
    bid: Fraction, ask: Fraction, via: Fraction, sell_fee: int, buy_fee: int, via_fee: int, side: str
) -> None:
    """Against the sums of a person with decimals: sell one unit, pay the fee, convert, buy back with fee; what is left over is the edge."""
    pair = Pair(0, 1, 0, 0, sell_fee, buy_fee)
    if side:
        pair = pair._replace(convert=2, convert_side=side, convert_fee_ppb=via_fee)
    none = None
    best = {0: Best(bid, none, none, none, 7), 1: Best(none, none, ask, none, 5), 2: Best(via, none, via, none, 9)}
    edge = edge_of(pair, best, 10)
    assert edge is not None
    with localcontext(prec=60):
        one = Decimal(1)
        money = _decimal(bid) * (one - Decimal(sell_fee).scaleb(-9))
        if side == "bid":
            money = money * _decimal(via) * (one - Decimal(via_fee).scaleb(-9))
        elif side == "ask":
            money = money / (_decimal(via) * (one + Decimal(via_fee).scaleb(-9)))
        bought = money / (_decimal(ask) * (one + Decimal(buy_fee).scaleb(-9)))
        assert abs(_decimal(edge.net) - (bought - one)) < Decimal("1e-30") * (1 + abs(bought))
    assert edge.age_ns == 5


def _decimal(value: Fraction) -> Decimal:
    with localcontext(prec=60):
        return Decimal(value.numerator) / Decimal(value.denominator)


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_without_a_price_there_is_no_edge(missing: int) -> None:
    """Not of either side, not of the conversion."""
    whole = Best(Fraction(1), None, Fraction(1), None, 0)
    pair = Pair(0, 1, 0, 0, 0, 0, convert=2, convert_side="bid")
    assert edge_of(pair, {number: whole for number in range(3) if number != missing}, 0) is None


def listed(venue: str, symbol: str = "BTC/USDT", taker_ppb: int | None = 1_000_000) -> Listed:
    """An instrument with a fee of 10 bps."""
    return Listed(spot(venue, symbol, native=symbol), taker_ppb)


def test_prices_come_from_rows_and_go_with_their_connection() -> None:
    """Quotes of two venues give both directions, the better first; a gap takes the prices of its connection and of no other."""
    found = Scan([listed("binance"), listed("kraken")])
    builder = RowBuilder()
    links = [Link(0, "binance", "a"), Link(1, "kraken", "b")]
    sides = [Listing(one) for one in found.instruments]
    for link, listing, bid in zip(links, sides, (6_000_000, 6_030_000), strict=True):
        builder.add(5, link, QuoteEvent(listing, None, None, bid, 100, bid + 100, 200, *listing.scales))
    found.take(builder.take())
    assert found.is_whole
    rows = found.table(1_000_005).rows
    assert rows[0][:8] == ("BTC/USDT@kraken", "60300", "BTC/USDT@binance", "60001", "", "49.83", "29.75", "0.001")
    assert (rows[1][0], rows[0][8]) == ("BTC/USDT@binance", "1")
    builder.add(6, links[0], LinkEvent("binance", None, "gap"))
    found.take(builder.take())
    assert (list(found.best), found.table(8).rows) == ([1], ())
    assert "2 pairs wait for prices" in found.table(8).title
    builder.add(7, links[0], LinkEvent("binance", "BTC/USDT", "gap"))
    builder.add(8, links[0], LinkEvent("binance", None, "lost"))
    builder.add(9, links[0], QuoteEvent(sides[0], None, None, 6_030_000, None, None, None, *sides[0].scales))
    found.take(builder.take())
    assert sorted(found.best) == [0, 1]


def test_what_is_not_compared_is_named() -> None:
    """No fee known, other quote asset without a conversion, an unknown asset: each with its reason."""
    found = Scan([listed("binance"), listed("kraken", taker_ppb=None), listed("okx", "BTC/USDC"), listed("gate", "WHATISIT/USDT")])
    reasons = {row[2] for row in found.unpaired_table().rows}
    assert reasons == {"fee_unknown", "no_conversion", "identity_unproven"}
    assert found.pairing.pairs == ()


def test_the_command_looks_once_at_two_served_exchanges(tmp_path: Any) -> None:
    """Fees, then the edges when every price is there; exit code 0; nothing but tables on standard output."""

    def quote(bid: str, ask: str) -> str:
        return json.dumps({"u": 1, "s": "BTCUSDT", "b": bid, "B": "1", "a": ask, "A": "2"})

    async def story() -> None:
        async with Player().serving() as one, Player().serving() as two:
            text = "".join(
                f'[markets.{name}]\nexchange = "binance"\nsymbols = ["BTC/USDT"]\nrest_url = "{player.rest_url}"\n'
                f'stream_url = "{player.stream_url}"\n'
                for name, player in (("alpha", one), ("beta", two))
            )
            command = await Command.start("scan", str(_file(tmp_path, text)), "--once")
            await (await one.next_subscription()).send_str(quote("100.00", "100.01"))
            await (await two.next_subscription()).send_str(quote("101.00", "101.01"))
            code, out, err = await command.end()
            assert code == 0, err
            assert "BTC/USDT@beta\t101\tBTC/USDT@alpha\t100.01\t\t98.99\t" in out
            assert [json.loads(text)["params"] for text in one.heard] == [["btcusdt@bookTicker"]]

    run(story())
