"""Assets that cannot be moved are not traded."""

from __future__ import annotations

import pytest

from tests.engine.desk import Desk
from xarb.engine.wallets import Wallets

GOOD = ("buy a 101 5", "sell b 100 5")


def row(venue: str, asset: str, network: str, *, deposit: bool, withdraw: bool) -> dict[str, object]:
    """A `wallets` row."""
    return {"venue": venue, "asset": asset, "network": network, "deposit_open": deposit, "withdraw_open": withdraw}


@pytest.mark.parametrize(
    ("networks", "closed"),
    [
        ([], False),
        ([("X", True, True)], False),
        ([("X", False, True)], True),
        ([("X", True, False)], True),
        ([("X", True, False), ("Y", False, True)], False),
        ([("X", False, False), ("Y", True, True)], False),
        ([("X", True, True), ("X", False, True)], True),
        ([("X", False, True), ("X", True, True)], False),
    ],
)
def test_an_asset_moves_where_some_network_takes_it_in_and_some_lets_it_out(
    networks: list[tuple[str, bool, bool]], *, closed: bool
) -> None:
    """The latest word of each network counts."""
    wallets, allowed = Wallets({}), Wallets({"a": frozenset({"BTC"})})
    for name, deposit, withdraw in networks:
        for one in (wallets, allowed):
            one.note(row("a", "BTC", name, deposit=deposit, withdraw=withdraw))
    assert wallets.is_closed("a", "BTC") is closed
    assert not wallets.is_closed("a", "USD")
    assert not wallets.is_closed("b", "BTC")
    assert not allowed.is_closed("a", "BTC")


@pytest.mark.parametrize("asset", ["BTC", "USD"])
def test_a_bundle_with_an_asset_that_cannot_move_is_refused_by_name(asset: str) -> None:
    """Base or quote, on either venue; once it can move again the bundle is sent."""
    desk = Desk()
    desk.slow("wallets", row("b", asset, "X", deposit=False, withdraw=True))
    assert desk.tell(*GOOD) == ["refuse not_transferable"]
    desk.slow("wallets", row("b", asset, "X", deposit=True, withdraw=True))
    assert len(desk.tell(*GOOD)) == 2
