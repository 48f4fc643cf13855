"""What an account may do is asked of the exchange, and what it does not say forbids real orders."""

from __future__ import annotations

import pytest

from tests.venues.exchange_server import KEY, SmallExchange
from tests.venues.test_cex import run
from tests.venues.trader import trading
from xarb.errors import Retryable
from xarb.model.instrument import FeeTier
from xarb.venues.funds import Networks, Rights
from xarb.venues.readiness import _judge, _Notes, inspect
from xarb.wires.rows import RowBuilder

NETWORK = {
    "network": "BTC",
    "coin": "BTC",
    "name": "BTC",
    "depositEnable": True,
    "withdrawEnable": False,
    "withdrawFee": "0.00012",
    "withdrawMin": "0.001",
    "withdrawMax": "10",
    "withdrawIntegerMultiple": "0.00000001",
    "isDefault": True,
}
COIN = {
    "coin": "BTC",
    "name": "Bitcoin",
    "free": "0",
    "depositAllEnable": True,
    "withdrawAllEnable": False,
    "networkList": [NETWORK],
}


def test_networks_are_told_when_they_change() -> None:
    """What was told is not told again; what closed, opened or is listed no longer is; an answer that failed changes nothing."""

    async def work() -> None:
        server = SmallExchange()
        server.coins = [COIN]
        async with server.serving(), trading(server) as at:
            account = at.venue.desks["main"].account
            found = await inspect(account, "binance", ["BTC"])
            networks = Networks(account, "binance", ["BTC"], found.wallets)

            async def told() -> list[tuple[str, bool, bool]]:
                rows = [row.values for row in await networks.fresh()]
                return [(one["network"], one["deposit_open"], one["withdraw_open"]) for one in rows]

            assert await told() == []
            server.coins = [{**COIN, "networkList": [{**NETWORK, "depositEnable": False}]}]
            assert await told() == [("BTC", False, False)]
            server.coins = [{**COIN, "networkList": [{**NETWORK, "withdrawEnable": True}]}]
            server.has_wallet = False
            with pytest.raises(Retryable):
                await networks.fresh()
            server.has_wallet = True
            assert await told() == [("BTC", True, True)]
            server.coins = []
            assert await told() == [("BTC", False, False)]
            assert await told() == []

    run(work())


def test_account_that_may_trade_has_no_objections() -> None:
    """Clock, permissions, fees, balances and networks, exact; the key is known by its fingerprint alone."""

    async def work() -> None:
        server = SmallExchange()
        server.coins = [COIN]
        async with server.serving(), trading(server) as at:
            found = await inspect(at.venue.desks["main"].account, "binance", ["BTC", "BTC"])
            assert found.objections == ()
            assert found.warnings == ()
            tier = found.fees["BTC/USDT"]
            assert tier == FeeTier(maker_ppb=750_000, taker_ppb=1_000_000, asset="received", source=tier.source)  # type: ignore[arg-type]
            (wallet,) = found.wallets
            assert (wallet.values["deposit_open"], wallet.values["withdraw_open"]) == (True, False)
            assert (wallet.values["withdraw_fee"], wallet.values["withdraw_min"]) == (12 * 10**13, 10**15)
            RowBuilder().put_named("wallets", 0, wallet.values)
            assert KEY not in repr(found)
            assert len(found.fingerprint) == 8

    run(work())


@pytest.mark.parametrize(
    ("trade", "withdraw", "allowed", "against"),
    [
        (True, False, False, []),
        (False, False, False, ["the key may not trade"]),
        (None, False, False, ["it is not known whether the key may trade"]),
        (True, True, False, ["the key may withdraw; allow_withdraw permits such a key"]),
        (True, None, False, ["it is not known whether the key may withdraw; allow_withdraw permits such a key"]),
        (True, True, True, []),
        (True, None, True, []),
        (None, None, True, ["it is not known whether the key may trade"]),
    ],
)
def test_what_is_not_known_of_a_key_counts_against_it(
    trade: bool | None, withdraw: bool | None, allowed: bool, against: list[str]
) -> None:  # a table
    """May it trade, and may it not withdraw: only a clear word is one; that it may withdraw is allowed by name alone."""
    notes = _Notes()
    _judge(Rights(can_trade=trade, can_withdraw=withdraw, is_bound_to_addresses=None), notes, may_withdraw=allowed)
    assert notes.objections == against
    assert notes.warnings == ["the key is not bound to addresses"]


def test_what_speaks_against_an_account_is_said() -> None:
    """A key that may withdraw, unknown fees and networks: each is named; with leave, the key is taken."""

    async def work() -> None:
        server = SmallExchange()
        server.can_withdraw, server.fees_known = True, False
        async with server.serving(), trading(server) as at:
            account = at.venue.desks["main"].account
            found = await inspect(account, "binance", ["BTC"])
            assert found.objections[0] == "the key may withdraw; allow_withdraw permits such a key"
            assert found.objections[1].startswith("fees of BTC/USDT unknown")
            assert len(found.objections) == 2
        async with server.serving(), trading(server, allow_withdraw=True) as at:
            found = await inspect(at.venue.desks["main"].account, "binance", ["BTC"])
            assert len(found.objections) == 1

    run(work())


def test_what_is_not_told_stops_no_reconciliation_and_counts_against_the_account() -> None:
    """Without deposits, fees and permissions the venue opens and says so, and real orders have objections."""

    async def work() -> None:
        server = SmallExchange()
        server.has_wallet = False
        async with server.serving(), trading(server) as at:
            assert "transfers_unknown" in [v["metric"] for v in at.of("health")]
            found = await inspect(at.venue.desks["main"].account, "binance", ["BTC"])
            assert [why.partition(" unknown")[0] for why in found.objections] == ["permissions", "fees of BTC/USDT"]
            assert [why.partition(" unknown")[0] for why in found.warnings] == ["wallets"]

    run(work())
