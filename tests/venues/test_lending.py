"""What lenders are asked and how their answers are read, whatever comes when."""

from __future__ import annotations

from typing import Any

import pytest
from eth_abi import encode  # type: ignore[attr-defined]  # exported without a declaration

from xarb.errors import Rejected
from xarb.pools.financing import Loan
from xarb.venues.dex.lending import Asked, Lender, Lending
from xarb.wires.node import Header

VAULT, POOL, TOKEN, HOLDER, OTHER = ("0x" + digit * 40 for digit in "abcde")
LENDS = 1 << 56 | 1 << 63


def header(number: int) -> Header:
    """A block."""
    return Header(number, f"0x{number:064x}", f"0x{number - 1:064x}", number, 1, 1, 2, "0xmm", 0)


def words(kinds: list[str], *values: Any) -> str:
    """An answer."""
    return "0x" + encode(kinds, values).hex()


def reserve(holder: str, bits: int = LENDS) -> str:
    """What an Aave pool says of a token."""
    return words(["uint256", *["uint128"] * 5, "uint40", "uint16", "address"], bits, 1, 1, 1, 1, 1, 1, 1, holder)


def told(lending: Lending, asked: Asked, *answers: Any) -> list[tuple[int | None, int | None]]:
    """What a block tells of premium and depth."""
    lending.takes(asked, answers)
    return [(one.loan.premium_wad, one.loan.available) for one in lending.changed(asked.header)]


def balancer() -> Lending:
    """A vault that is asked for one token."""
    return Lending([Lender(way="balancer", address=VAULT, tokens=(TOKEN,))])


def test_blocks_that_are_asked_for_together_are_read_as_they_were_asked() -> None:
    """The first answers say whom to ask; until they came nothing is known, and a block that was asked before them is read so."""
    lending = balancer()
    first, second = lending.ask(header(1)), lending.ask(header(2))
    assert [one[1][0]["to"] for one in (*first.calls, *second.calls)] == [VAULT, VAULT]
    assert told(lending, first, words(["address"], OTHER)) == [(None, None)]
    third = lending.ask(header(3))
    assert told(lending, second, words(["address"], OTHER)) == []
    assert [one[1][0]["to"] for one in third.calls] == [OTHER, TOKEN]
    fee, have = words(["uint256"], 3), words(["uint256"], 2**256 - 1)
    assert told(lending, third, fee, have) == [(3, 2**256 - 1)]
    assert told(lending, lending.ask(header(4)), fee, have) == []
    lending.again()
    assert told(lending, lending.ask(header(5)), fee, have) == [(3, 2**256 - 1)]


@pytest.mark.parametrize("bad", ["0x", "nothing", None, 5, Rejected("eth_call: reverted", reason="rpc 3")])
def test_an_answer_that_is_none_leaves_it_unknown_until_the_next_one(bad: Any) -> None:
    """Neither is an old word taken for a new one, nor one part without the other."""
    lending = balancer()
    lending.takes(lending.ask(header(1)), [words(["address"], OTHER)])
    good = words(["uint256"], 7)
    assert told(lending, lending.ask(header(2)), good, good) == [(7, 7)]
    assert told(lending, lending.ask(header(3)), good, bad) == [(None, None)]
    assert told(lending, lending.ask(header(4)), good, good) == [(7, 7)]


def test_a_block_that_was_not_asked_for_tells_that_nothing_is_known() -> None:
    """What was known of the block before it does not stand for it."""
    lending = balancer()
    lending.takes(lending.ask(header(1)), [words(["address"], OTHER)])
    assert told(lending, lending.ask(header(2)), words(["uint256"], 7), words(["uint256"], 7)) == [(7, 7)]
    (said,) = lending.changed(header(3))
    assert said.loan == Loan(way="balancer", lender=VAULT, premium_wad=None, available=None)


def test_a_reserve_that_moves_is_asked_for_anew() -> None:
    """Its depth is what its holder has: another holder makes it unknown until that one was asked."""
    lending = Lending([Lender(way="aave", address=POOL, tokens=(TOKEN,))])
    lending.takes(lending.ask(header(1)), [reserve(HOLDER)])
    premium, have = words(["uint128"], 5), words(["uint256"], 9)
    assert told(lending, lending.ask(header(2)), premium, reserve(HOLDER), have) == [(5 * 10**14, 9)]
    assert told(lending, lending.ask(header(3)), premium, reserve(OTHER), have) == [(None, None)]
    lending.takes(lending.ask(header(4)), [reserve(OTHER)])
    assert told(lending, lending.ask(header(5)), premium, reserve(OTHER), have) == [(5 * 10**14, 9)]
    for bits in (0, 1 << 56, 1 << 63, LENDS | 1 << 60):
        lending.again()
        assert told(lending, lending.ask(header(6)), premium, reserve(OTHER, bits), have) == [(5 * 10**14, 0)]
