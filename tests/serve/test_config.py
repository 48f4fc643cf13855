"""The config and the fault schedule as files: every key has its effect or is refused by name."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from tests.serve.site import STANDING, SYMBOL, config, head, run, serving
from tests.trial import tick
from xarb.errors import ConfigError
from xarb.serve.config import Limits, ServeConfig, VenueTerms, load_config
from xarb.serve.faults import load_faults

TEXT = """
[keys.one]
account = "main"
api_key = "k"
secret = "s"
permissions = ["read"]

[accounts.main.alpha]
USDT = 1000.5
BTC = 1

[venues.alpha]
maker_bps = 1
taker_bps = 2.5
fee_asset = "quote"
assumed_qty = 0.1
max_open_orders = 5
suspended = ["BTC"]

[limits]
weight_1m = 100
"""


def test_a_config_is_read_exactly(tmp_path: Path) -> None:
    """Balances are money, fees parts per billion."""
    path = tmp_path / "serve.toml"
    path.write_text(TEXT)
    found = load_config(path)
    assert found.opening()["main", "alpha", "USDT"] == 1_000_500_000_000_000_000_000
    assert (found.venues["alpha"].tier.maker_ppb, found.venues["alpha"].tier.taker_ppb) == (100_000, 250_000)
    assert found.limits.weight_1m == 100


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('secret = "s"', "", "keys.one: state exactly one of secret and public_key"),
        ('account = "main"', 'account = "other"', "keys.one.account = other"),
        ("USDT = 1000.5", "USDT = -1", "accounts.main.alpha.USDT is negative"),
        ("maker_bps = 1\n", "maker = 1\n", "unknown field `maker`"),
        ("taker_bps = 2.5", "taker_bps = 0.000001", "venues.alpha"),
        ("assumed_qty = 0.1", "assumed_qty = 0", "venues.alpha.assumed_qty: must be above zero"),
        ("weight_1m = 100", "weight_1m = 0", "$.limits.weight_1m"),
        ("[limits]", "[limits", "serve.toml"),
    ],
)
def test_a_bad_config_is_refused_by_name(tmp_path: Path, old: str, new: str, message: str) -> None:
    """The message names the key."""
    path = tmp_path / "serve.toml"
    path.write_text(TEXT.replace(old, new))
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert message in str(caught.value)


def test_two_keys_need_two_names(tmp_path: Path) -> None:
    """The exchange knows who asks by the API key alone."""
    path = tmp_path / "serve.toml"
    path.write_text(TEXT + TEXT.split("\n\n", maxsplit=1)[0].replace("keys.one", "keys.two"))
    with pytest.raises(ConfigError, match=r"keys\.two\.api_key: another key has it too"):
        load_config(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[fault]]\nkind = "gap"', "fault[0] (gap): state at_s, after or both"),
        ('[[fault]]\nkind = "clock_offset"\nafter = 1', "it strikes by the clock"),
        ('[[fault]]\nkind = "empty"\nafter = 1\non = "order.place"', "a list that is asked for by REST"),
        ('[[fault]]\nkind = "sabotage"\nafter = 1', "$.fault[0].kind"),
        ('[[fault]]\nkind = "gap"\nafter = 0', "$.fault[0].after"),
    ],
)
def test_a_fault_that_could_never_strike_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """The message names the fault."""
    path = tmp_path / "faults.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_faults(path)
    assert message in str(caught.value)


def test_fees_and_what_is_suspended(tmp_path: Path) -> None:
    """Fees in the quote asset at the config's rate; a suspended asset says so; open orders are bounded."""
    terms = VenueTerms(maker_bps=Decimal(1), taker_bps=Decimal("2.5"), fee_asset="quote", suspended=("BTC",), max_open_orders=1)

    async def test() -> None:
        async with serving(tmp_path, [*head(), (10, STANDING)], config=config(venues={"alpha": terms})) as site:
            await site.to(10)
            bought = (await site.order("BUY", "1", "100.00")).body
            assert (bought["fills"][0]["commission"], bought["fills"][0]["commissionAsset"]) == ("0.02500000", "USDT")
            fees = (await site.signed("GET", "/sapi/v1/asset/tradeFee")).body
            assert fees == [{"symbol": SYMBOL, "makerCommission": "0.00010000", "takerCommission": "0.00025000"}]
            coins = {
                one["coin"]: one["withdrawAllEnable"] for one in (await site.signed("GET", "/sapi/v1/capital/config/getall")).body
            }
            assert coins == {"BTC": False, "USDT": True}
            assert (await site.order("BUY", "1", "90.00")).status == 200
            assert "MAX_NUM_ORDERS" in (await site.order("BUY", "1", "90.00")).body["msg"]

    run(test())


def test_what_moves_the_book(tmp_path: Path) -> None:
    """Books before quotes, unless the config says otherwise; a source that the log does not have is refused."""
    rows = [*head(), (10, STANDING), (20, tick("alpha", 9_500, 9_600))]

    async def best(folder: Path, terms: VenueTerms) -> str:
        async with serving(folder, rows, config=config(venues={"alpha": terms})) as site:
            await site.to(20)
            found: str = (await site.get("/api/v3/ticker/bookTicker", symbol=SYMBOL)).body["bidPrice"]
            return found

    assert run(best(tmp_path / "a", VenueTerms())) == "99.90000000"
    assert run(best(tmp_path / "b", VenueTerms(book_source="quotes"))) == "95.00000000"
    with pytest.raises(ConfigError, match=r"venues\.alpha\.book_source = deltas: the log has only quotes, books of BTC/USDT@alpha"):
        run(best(tmp_path / "c", VenueTerms(book_source="deltas")))


def test_unknown_sizes_are_shown_only_when_assumed(tmp_path: Path) -> None:
    """A quote without sizes: nothing to be had, or what the config assumes."""
    rows = [*head(), (10, tick("alpha", 9_500, 9_600, size=None))]

    async def best(folder: Path, terms: VenueTerms) -> list[str]:
        async with serving(folder, rows, config=config(venues={"alpha": terms})) as site:
            await site.to(10)
            found = (await site.get("/api/v3/ticker/bookTicker", symbol=SYMBOL)).body
            return [found["bidPrice"], found["bidQty"]]

    assert run(best(tmp_path / "a", VenueTerms())) == ["0.00000000", "0.00000000"]
    assert run(best(tmp_path / "b", VenueTerms(assumed_qty=Decimal("0.5")))) == ["95.00000000", "0.50000000"]


def test_every_key_is_known_here() -> None:
    """A new key needs a case above or in the tests of limits."""
    names = {field.name for kind in (ServeConfig, VenueTerms, Limits) for field in msgspec.structs.fields(kind)}
    assert names == {
        "accounts",
        "assumed_qty",
        "ban_s",
        "book_source",
        "connections_1s",
        "connections_5m",
        "fee_asset",
        "frames_1s",
        "keys",
        "limits",
        "maker_bps",
        "max_open_orders",
        "orders_10s",
        "orders_1d",
        "orders_2s",
        "queued_frames",
        "requests_2s",
        "streams",
        "suspended",
        "taker_bps",
        "tolerated",
        "venues",
        "weight_1m",
    }
