"""The shipped reference data, and the messages of a wrong file."""

from __future__ import annotations

from pathlib import Path

import pytest

from xarb.catalog import data_dir, load_assets, load_fees, load_instruments, read_assets, read_fees, read_instruments
from xarb.errors import ConfigError
from xarb.model.units import MONEY_ONE, PPB_PER_BPS

ENTRY = 'venue = "v"\nsymbol = "A/B"\nnative = "AB"\nkind = "spot"\nbase = "A"\nquote = "B"\ntick = "0.1"\nlot = "1"\n'


def test_one_asset_under_many_names() -> None:
    """XBT is BTC everywhere, XXBT on Kraken only, 1000PEPE is a thousand PEPE; USD, USDT, USDC and WBTC stay apart."""
    table = load_assets()
    names = [table.identify("x", name) for name in ("BTC", "xbt", "USD", "USDT", "USDC", "WBTC")]
    assert [found and found.asset for found in names] == ["BTC", "BTC", "USD", "USDT", "USDC", "WBTC"]
    assert table.identify("kraken", "XXBT") == table.identify("kraken", "BTC")
    assert table.identify("binance", "XXBT") is None
    pepe = table.identify("binance", "1000PEPE")
    assert pepe is not None
    assert (pepe.asset, pepe.multiple) == ("PEPE", (1000, 0))


def test_assets_of_instruments_are_proven() -> None:
    """Every asset that an instrument names is in the table."""
    for one in load_instruments():
        for name in (one.base, one.quote, one.settle):
            assert load_assets().identify(one.venue, name) is not None, one.id


def test_the_coin_margined_contract() -> None:
    """COIN-M BTC is an inverse contract of 100 USD settled in BTC."""
    found = load_instruments().require("binancecoinm", "BTC/USD:BTC")
    assert (found.contract, found.contract_size, found.quote, found.settle) == ("inverse", 100 * MONEY_ONE, "USD", "BTC")
    assert found.untradable_because() == "derivative_not_supported"


def test_every_spot_instrument_can_be_traded() -> None:
    """Shipped spot instruments have steps, and scales that money can hold."""
    spots = [one for one in load_instruments() if one.kind == "spot"]
    assert len(spots) == 18
    assert [one.untradable_because() for one in spots] == [None] * 18


def test_every_fee_schedule_has_a_source() -> None:
    """Each schedule belongs to a listed venue and says where its figures come from and when."""
    venues = {one.venue for one in load_instruments()}
    for name, fees in load_fees().items():
        assert fees.venue in venues, name
        assert fees.as_of in fees.tier.source
    assert load_fees()["binance-spot-vip0"].tier.taker_ppb == 10 * PPB_PER_BPS


def test_the_synthetic_market_says_what_it_is() -> None:
    """Three invented venues share three coins against USDT, and every entry of theirs says that it is synthetic."""
    mine = [one for one in load_instruments() if one.venue in ("alpha", "bravo", "charlie")]
    for venue in ("alpha", "bravo", "charlie"):
        symbols = {one.symbol for one in mine if one.venue == venue}
        assert {"BTC/USDT", "ETH/USDT", "SOL/USDT", "USDC/USDT"} <= symbols
        assert load_fees()[f"synthetic-{venue}"].venue == venue
    assert all("synthetic" in one.origin for one in mine)


def test_data_lies_beside_the_package() -> None:
    """A checkout uses its own data folder."""
    assert (data_dir() / "README.md").is_file()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[instrument]]\n" + ENTRY + 'colour = "red"', "unknown key 'colour'"),
        ("[[instrument]]\n" + ENTRY.replace('"spot"', '"sport"'), "kind 'sport' is none of spot"),
        ("[[instrument]]\n" + ENTRY.replace('"0.1"', '"NaN"'), "not a decimal number"),
        ("[[instrument]]\n" + ENTRY.replace('"0.1"', '"0"'), "not above zero"),
        ("[[instrument]]\n" + ENTRY.replace('"0.1"', "0.1"), "Expected `str"),
        ("[[instrument]]\n" + ENTRY + 'contract = "linear"', "contract_size"),
        ("[[instrument]]\n" + ENTRY + "px_scale = 0", "does not fit the scale 0"),
        ("[[instrument]]\n" + ENTRY + "[[instrument]]\n" + ENTRY, "listed twice"),
        ("[[instruments]]\n" + ENTRY, "unknown key 'instruments'"),
        ("[[instrument]", "no valid TOML"),
    ],
)
def test_wrong_instruments(tmp_path: Path, text: str, message: str) -> None:
    """A wrong instruments file is refused with the key or the entry."""
    path = tmp_path / "instruments.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_instruments(path)


def test_wrong_assets_and_fees(tmp_path: Path) -> None:
    """A name claimed twice, a fee that is no number and a missing file are refused by name."""
    path = tmp_path / "x.toml"
    path.write_text('[[asset]]\nid = "A"\nname = "a"\n[[asset]]\nid = "B"\nname = "b"\naliases = ["A"]\n')
    with pytest.raises(ConfigError, match="'A' is claimed by A and by B"):
        read_assets(path)
    path.write_text('[f]\nvenue = "v"\nmaker = "x"\ntaker = "0"\nsource = "s"\nas_of = "2024"\n')
    with pytest.raises(ConfigError, match="f: not a decimal number"):
        read_fees(path)
    path.write_text('[f]\nvenue = "v"\nmaker = "0"\ntaker = "7.5"\nsource = "s"\nas_of = "2024"\n')
    with pytest.raises(ConfigError, match="a fee is a ratio of the notional"):
        read_fees(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_fees(tmp_path / "none.toml")


def test_an_unlisted_instrument_is_named() -> None:
    """Asking for an unlisted symbol says which ones there are."""
    with pytest.raises(ConfigError, match=r"no instrument ETH/USD@kraken; listed on kraken: BTC/USD"):
        load_instruments().require("kraken", "ETH/USD")
