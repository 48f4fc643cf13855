"""Which instruments are compared, and why others are not."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import msgspec
import pytest

from tests.engine.table import instrument
from xarb.catalog import load_assets, load_instruments
from xarb.engine.strategy import Pair
from xarb.model.asset import Asset, AssetTable
from xarb.model.instrument import FeeTier, Instrument
from xarb.model.units import Ppb
from xarb.pairing import Pairing, PairTerms, make_pairs, prove_names, same_things


def tier(taker_ppb: int, asset: str = "quote") -> FeeTier:
    """A fee tier."""
    return FeeTier(maker_ppb=Ppb(0), taker_ppb=Ppb(taker_ppb), asset=asset)


def spot(symbol: str, venue: str, **changes: object) -> Instrument:
    """A spot instrument named by its symbol."""
    base, quote = symbol.split("/")
    return instrument(venue, symbol=symbol, native=symbol, base=base, quote=quote, settle=quote, **changes)


def perpetual(symbol: str, venue: str, **changes: object) -> Instrument:
    """A linear perpetual."""
    return spot(symbol, venue, **{"kind": "perpetual", "contract": "linear", **changes})


def paired(*instruments: Instrument, fees: Sequence[FeeTier | None] | None = None, **terms: object) -> Pairing:
    """Pairs of instruments under the shipped asset table, with a fee of 10 (n + 1) bps on the n-th."""
    names = prove_names(instruments, load_assets())
    return make_pairs(names, pair_terms(fees or [tier(1_000_000 * (number + 1)) for number in range(len(instruments))], **terms))


def pair_terms(fees: Sequence[FeeTier | None], **changes: object) -> PairTerms:
    """Terms of a strategy that compares everything, from an edge of zero on."""
    plain = PairTerms(fees=fees, pegs={}, venues=(), symbols=(), open_ppb=0, close_ppb=0)
    return msgspec.structs.replace(plain, **changes)


def reasons(found: Pairing) -> list[tuple[int, int | None, str]]:
    """What was not paired, without the details."""
    return [(one.first, one.second, one.reason) for one in found.unpaired]


def test_same_quote_pairs_both_ways() -> None:
    """Two spot instruments of one base and quote asset are two directed pairs with the taker fees of their sides."""
    found = paired(spot("BTC/USDT", "a"), spot("BTC/USDT", "b"), open_ppb=7, close_ppb=3)
    assert found.pairs == (Pair(0, 1, 7, 3, 1_000_000, 2_000_000), Pair(1, 0, 7, 3, 2_000_000, 1_000_000))
    assert found.unpaired == ()


def test_names_that_the_table_proves_equal_are_paired() -> None:
    """XBT on one venue and BTC on another are one asset, and XXBT is it on Kraken only."""
    assert len(paired(spot("XBT/USD", "a"), spot("btc/USD", "b")).pairs) == 2
    assert len(paired(spot("XXBT/ZUSD", "kraken"), spot("BTC/USD", "b")).pairs) == 2
    elsewhere = paired(spot("XXBT/USD", "a"), spot("BTC/USD", "b"))
    assert elsewhere.pairs == ()
    assert reasons(elsewhere) == [(0, None, "identity_unproven")]
    assert elsewhere.unpaired[0].detail == "XXBT on a stands in no asset entry"


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        (spot("BTC/USDT", "a"), spot("BTC/USDC", "b"), "no_conversion"),
        (spot("BTC/USDT", "a"), spot("BTC/USD", "b"), "no_conversion"),
        (spot("BTC/USDT", "a"), perpetual("BTC/USDT", "b"), "kind_differs"),
        (spot("PEPE/USDT", "a"), spot("1000PEPE/USDT", "b"), "multiple_differs"),
        (spot("BTC/USDT", "a"), spot("BTC/USDC", "a"), "same_venue"),
        (perpetual("BTC/USD", "a"), perpetual("BTC/USD", "b", contract="inverse"), "contract_differs"),
        (spot("BTC/USD", "a", kind="future", expiry=1), spot("BTC/USD", "b", kind="future", expiry=2), "expiry_differs"),
    ],
)
def test_what_differs_is_not_paired(first: Instrument, second: Instrument, reason: str) -> None:
    """Currencies, kinds, multiples, contracts and expiries that differ keep instruments apart, each by name."""
    found = paired(first, second)
    assert found.pairs == ()
    assert reasons(found) == [(0, 1, reason)]


def test_other_bases_are_no_candidates() -> None:
    """BTC and WBTC are two assets: not paired, and not listed either."""
    assert paired(spot("BTC/USDT", "a"), spot("WBTC/USDT", "b")) == Pairing((), ())


def test_unknown_fee_refuses_the_pair() -> None:
    """Without a fee tier on one venue there is no pair."""
    found = paired(spot("BTC/USDT", "a"), spot("BTC/USDT", "b"), fees=[tier(0), None])
    assert (found.pairs, reasons(found)) == ((), [(0, 1, "fee_unknown")])


def test_derivatives_of_one_kind_are_compared() -> None:
    """Two linear perpetuals of one base and quote are a pair: recorded, though the strategy refuses to trade them."""
    assert len(paired(perpetual("BTC/USDT", "a"), perpetual("BTC/USDT", "b")).pairs) == 2


def test_conversion_goes_through_a_recorded_instrument() -> None:
    """USDC proceeds are sold in USDC/USDT to pay USDT, and bought with USDT the other way round."""
    found = paired(spot("BTC/USDC", "a"), spot("BTC/USDT", "b"), spot("USDC/USDT", "b"))
    one, other = found.pairs
    assert (one.sell, one.convert, one.convert_side, one.convert_fee_ppb) == (0, 2, "bid", 3_000_000)
    assert (other.sell, other.convert, other.convert_side) == (1, 2, "ask")


def test_choice_of_the_conversion() -> None:
    """Of several the sell venue's is taken, then the buy venue's, then the first by id; the order of numbers does not matter."""
    legs = [spot("BTC/USDC", "a"), spot("BTC/USDT", "b")]
    far = [spot("USDC/USDT", "d"), spot("USDC/USDT", "c")]
    for more, expected in (
        ((), [3, 3]),
        ((spot("USDC/USDT", "b"),), [4, 4]),
        ((spot("USDC/USDT", "b"), spot("USDC/USDT", "a")), [5, 4]),
    ):
        assert [pair.convert for pair in paired(*legs, *far, *more).pairs if pair.sell < 2] == expected


@pytest.mark.parametrize(
    "changes",
    [{"active": False}, {"lot_int": None}, {"kind": "perpetual"}, {"px_scale": 10, "qty_scale": 10}],
)
def test_conversion_must_be_tradable(changes: dict[str, object]) -> None:
    """An inactive, stepless, derivative or too fine instrument converts nothing."""
    found = paired(spot("BTC/USDC", "a"), spot("BTC/USDT", "b"), spot("USDC/USDT", "b", **changes))
    assert found.pairs == ()
    assert (0, 1, "no_conversion") in reasons(found)


def test_pegs_make_a_premium_only() -> None:
    """Without an instrument a stated peg makes the pair a premium with the exact ratio; with an instrument pegs are not used."""
    legs = [spot("BTC/KRW", "a"), spot("BTC/USDT", "b")]
    pegs = {"KRW": Fraction(72, 100_000), "USDT": Fraction(1)}
    one, other = paired(*legs, pegs=pegs).pairs
    assert (one.premium, one.peg_left, one.peg_right) == (True, 9, 12_500)
    assert (other.premium, other.peg_left, other.peg_right) == (True, 12_500, 9)
    assert reasons(paired(*legs, pegs={"KRW": Fraction(1)})) == [(0, 1, "no_conversion")]
    assert not any(pair.premium for pair in paired(*legs, spot("USDT/KRW", "a"), pegs=pegs).pairs)


def test_selection_of_venues_and_symbols() -> None:
    """Venues bind the conversion leg too, symbols do not."""
    world = (spot("BTC/USDC", "a"), spot("BTC/USDT", "b"), spot("USDC/USDT", "c"))
    assert len(paired(*world, symbols=("BTC/USDC", "BTC/USDT")).pairs) == 2
    assert paired(*world, venues=("a", "b")).pairs == ()


def test_groups_hold_the_same_thing_only() -> None:
    """Groups for the cross-venue median keep kinds, quotes and multiples apart and leave out what stands alone."""
    world = [
        spot("BTC/USDT", "a"),
        spot("BTC/USDC", "a"),
        spot("XBT/USDT", "b"),
        perpetual("BTC/USDT", "c"),
        spot("1000PEPE/USDT", "a"),
        spot("PEPE/USDT", "b"),
        spot("1000PEPE/USDT", "c"),
        spot("NOBODY/USDT", "a"),
        spot("NOBODY/USDT", "b"),
    ]
    assert same_things(prove_names(world, load_assets())) == [[0, 2], [4, 6]]


def test_proof_names_the_entry() -> None:
    """Each resolved name says which entry proved it."""
    table = load_assets()
    entries = [table.prove("kraken", name) for name in ("BTC", "xbt", "XXBT", "1000PEPE", "NOBODY")]
    assert [proof and proof.entry for proof in entries] == [
        "BTC",
        "BTC: alias XBT",
        "BTC: alias XXBT on kraken",
        "PEPE: 1000PEPE holds 1000",
        None,
    ]


def test_shipped_instruments() -> None:
    """Among the shipped instruments no pair mixes kinds, and none mixes currencies without a conversion."""
    world = list(load_instruments())
    found = make_pairs(prove_names(world, load_assets()), pair_terms([tier(0)] * len(world)))
    assert found.pairs
    for pair in found.pairs:
        sell, buy = world[pair.sell], world[pair.buy]
        assert sell.kind == buy.kind
        assert (sell.quote == buy.quote) == (pair.convert < 0)


def test_a_table_of_its_own() -> None:
    """Identity is the table's word alone: two names are one asset when an entry says so, whatever they look like."""
    table = AssetTable([Asset(id="GOLD", name="gold", aliases=("XAU",))])
    world = [spot("XAU/GOLD", "a"), spot("GOLD/GOLD", "b")]
    names = prove_names(world, table)
    assert len(make_pairs(names, pair_terms([tier(0), tier(0)])).pairs) == 2
    assert msgspec.structs.asdict(names[0].base.identity) == {"asset": "GOLD", "multiple": (1, 0)}  # type: ignore[union-attr]
