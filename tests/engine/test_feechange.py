"""A fee that is dearer than what a start reckons with refuses plans by the old one, until it is as before."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engine.desk import FEE as RATIO
from tests.engine.desk import Desk
from xarb.engine.feechange import FEE, FeeTold, read_fee
from xarb.errors import LogError

GOOD = ("buy a 101 5", "sell b 100 5")


def told(at: Desk, letter: str = "a", account: str = "main", **changes: Any) -> list[str]:
    """What the exchange says that an account pays."""
    about: dict[str, Any] = {
        "account": account,
        "venue": letter,
        "symbol": at.engine.instruments[0].symbol,
        "maker_ppb": int(RATIO),
    }
    one = FeeTold(**(about | {"taker_ppb": int(RATIO), "asset": "quote"} | changes))
    return at.slow("operator", {"action": FEE, "actor": "a test", "detail": one.text})


@pytest.mark.parametrize(
    ("changes", "is_refused"),
    [
        ({"taker_ppb": int(RATIO) + 1}, True),
        ({"maker_ppb": int(RATIO) + 1}, True),
        ({"asset": "received"}, True),
        ({"taker_ppb": int(RATIO) - 1, "maker_ppb": 0}, False),
        ({"taker_ppb": int(RATIO) + 1, "account": "other"}, False),
        ({"taker_ppb": int(RATIO) + 1, "symbol": "ETH/USD"}, False),
        ({}, False),
    ],
    ids=["taker", "maker", "coin", "cheaper", "another account", "another symbol", "the same"],
)
def test_what_is_dearer_refuses_plans(changes: dict[str, Any], *, is_refused: bool) -> None:
    """On that instrument alone, with both ratios; and no more once it is as before, or cheaper."""
    at = Desk("abc")
    assert told(at, **changes) == []
    if not is_refused:
        assert len(at.tell(*GOOD)) == 2
        return
    assert at.tell(*GOOD) == ["refuse fee_changed"]
    row = at.drained("refusals")[-1]
    dearer = changes.get("taker_ppb") or changes.get("maker_ppb") or int(RATIO)
    assert (row["venue"], row["value"], row["bound"]) == ("a", dearer * 10**9, int(RATIO) * 10**9)
    assert len(at.tell("buy b 101 5", "sell c 100 5")) == 2
    told(at, taker_ppb=0)
    assert len(at.tell(*GOOD)) == 2


def test_what_is_open_is_still_flattened() -> None:
    """Orders that complete or undo a bundle go out at whatever fee: a naked leg costs more."""
    at = Desk()
    at.tell(*GOOD)
    at.fill(1, 101, 5)
    told(at, "b", taker_ppb=2 * int(RATIO))
    assert at.report(2, "expired") == ["hedge 3 sell b 100 5"]


def test_it_is_in_a_copy() -> None:
    """An engine that takes over the copy of another refuses as that one did."""
    at, again = Desk(), Desk()
    told(at, taker_ppb=2 * int(RATIO))
    copy = at.engine._risk.capture()
    again.engine._risk.restore(copy)
    assert again.tell(*GOOD) == ["refuse fee_changed"]


@pytest.mark.parametrize("detail", [None, "", "{}", '{"account": 1}'])
def test_what_says_nothing_is_an_error(detail: str | None) -> None:
    """A row that cannot be read is damage of the log."""
    with pytest.raises(LogError, match="seq 7: what is said of a fee"):
        read_fee(7, detail)
