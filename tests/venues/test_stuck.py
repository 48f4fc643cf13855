"""What is done about a transaction that waits: as a table."""

from __future__ import annotations

from typing import Any

import pytest

from xarb.venues.dex.fees import FeePolicy, Fees
from xarb.venues.dex.nonces import Intent, Nonces, Whose
from xarb.venues.dex.stuck import Head, StuckPolicy, next_step

GWEI = 10**9
US = "0x" + "11" * 20
STUCK = StuckPolicy(wait_blocks=3, max_replacements=2, max_cancels=2)
POLICY = FeePolicy(tip_wei=GWEI, cap_wei=100 * GWEI, rises=1)
USUAL: dict[str, Any] = {"purpose": "trade", "channel": "public", "fees": (10, 1), "ceiling": None, "deadline": 900, "at": 100}


def intent(nonce: int, number: int, **given: Any) -> Intent:
    """A transaction with fees and ceiling in gwei."""
    one = USUAL | given
    return Intent(
        nonce=nonce,
        tx_hash=f"0x{number:064x}",
        purpose=one["purpose"],
        channel=one["channel"],
        fees=Fees(one["fees"][0] * GWEI, one["fees"][1] * GWEI),
        gas_limit=200_000,
        ceiling_wei=None if one["ceiling"] is None else one["ceiling"] * GWEI,
        deadline_s=one["deadline"],
        at_block=one["at"],
        whose=Whose(account="main", strategy="dex", start=1, order=number),
    )


@pytest.mark.parametrize(
    ("sent", "head", "then"),
    [
        # bids of nonce 7, the head (block, second, base fee in gwei), and what follows: act, reason, fees in hundredths of a gwei
        ([{}], (102, 800, 8), None),
        ([{}], (103, 800, 8), ("replace", "waits", (1100, 110))),
        ([{}], (103, 800, 40), ("replace", "waits", (4610, 110))),
        ([{}], (101, 900, 8), ("cancel", "late", (1100, 110))),
        ([{"deadline": None}], (102, 10**9, 8), None),
        ([{"ceiling": 11}], (103, 800, 8), ("replace", "waits", (1100, 110))),
        ([{"ceiling": 10}], (103, 800, 8), ("cancel", "ceiling", (1100, 110))),
        ([{}, {"purpose": "replacement", "fees": (11, 2), "at": 103}], (105, 800, 8), None),
        ([{}, {"purpose": "replacement", "fees": (11, 2), "at": 103}], (106, 800, 8), ("replace", "waits", (1210, 220))),
        (
            [{}, *[{"purpose": "replacement", "fees": (12, 2), "at": 103}] * 2],
            (106, 800, 8),
            ("cancel", "replacements", (1320, 220)),
        ),
        ([{}, {"purpose": "cancel", "fees": (20, 2), "deadline": None}], (102, 999, 8), None),
        ([{}, {"purpose": "cancel", "fees": (20, 2), "deadline": None}], (103, 999, 8), ("cancel", "waits", (2200, 220))),
        ([{}, *[{"purpose": "cancel", "fees": (20, 2), "deadline": None}] * 2], (103, 999, 8), ("halt", "cancels", None)),
        ([{"fees": (95, 1)}], (101, 900, 8), ("halt", "fee_cap", None)),
        ([{}], (103, 800, 100), ("halt", "fee_cap", None)),
        ([{"channel": "relay"}], (200, 999, 8), None),
    ],
)
def test_bids_that_wait(sent: list[dict[str, Any]], head: tuple[int, int, int], then: tuple[str, str, Any] | None) -> None:
    """Patience, other bids within their ceiling, then the nonce itself, then nothing."""
    nonces = Nonces("eth", 1, US)
    nonces.adopt(7, "opened")
    for number, one in enumerate(sent):
        nonces.intend(intent(7, number, **one))
        nonces.sent(f"0x{number:064x}")
    step = next_step(nonces, 7, Head(head[0], head[1], head[2] * GWEI), stuck=STUCK, fees=POLICY)
    if then is None:
        assert step is None
        return
    assert step is not None
    assert (step.act, step.nonce, step.reason) == (then[0], 7, then[1])
    assert (step.fees and (step.fees.max_fee_wei * 100 // GWEI, step.fees.tip_wei * 100 // GWEI)) == then[2]


def test_only_the_next_nonce_is_looked_at_and_a_gap_is_filled_at_once() -> None:
    """What waits behind another waits; a free nonce before one that waits is taken by a transfer to oneself."""
    nonces = Nonces("eth", 1, US)
    nonces.adopt(7, "opened")
    nonces.intend(intent(7, 0, at=100))
    nonces.sent(f"0x{0:064x}")
    nonces.intend(intent(8, 1, at=10))
    nonces.sent(f"0x{1:064x}")
    head = Head(101, 800, 8 * GWEI)
    assert next_step(nonces, 7, head, stuck=STUCK, fees=POLICY) is None
    nonces.dropped(f"0x{0:064x}", "unseen")
    step = next_step(nonces, 7, head, stuck=STUCK, fees=POLICY)
    assert step is not None
    assert (step.act, step.nonce, step.reason, step.fees) == ("cancel", 7, "gap", Fees(11 * GWEI, 11 * GWEI // 10))
    nonces.dropped(f"0x{1:064x}", "unseen")
    assert next_step(nonces, 7, head, stuck=STUCK, fees=POLICY) is None
