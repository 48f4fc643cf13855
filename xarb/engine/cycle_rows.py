"""Rows of cycles and paths on chains: their wishes, their states, and what a simulated chain says. Columns as in `model/columns`."""

from __future__ import annotations

from typing import Any, Final

from xarb.engine.atomic import Cycle
from xarb.engine.bookings import RECEIPTS
from xarb.engine.hedged import Hedged
from xarb.engine.outputs import Outputs
from xarb.engine.sentcycle import SentCycle
from xarb.engine.strategy import AtomicPlan, SwapPlan
from xarb.model.command import AnySwap, CycleReport, SwapCycle, SwapPath, hops_text

_NO_WISH: Final[tuple[Any, ...]] = (None,) * 19  # what a cancel does not say
_NO_PATH: Final[tuple[Any, ...]] = (None,) * 5  # what a cycle has not
_NO_LOAN: Final[tuple[Any, ...]] = (None,) * 3  # premium, least profit and what is expected of a cycle, which a path has not
_NO_RECEIPT: Final[tuple[Any, ...]] = (None,) * 10
CARRIED: Final = "carried"
NEVER_LEFT: Final = "never_left"
"""Why a cycle of an earlier start is over that was decided on and of which no transaction was made."""


class CycleRows:
    """Writes them, in the order in which things happen."""

    def __init__(self, outputs: Outputs) -> None:
        self._emit = outputs.emit

    def cycle(self, command: SwapCycle, plan: AtomicPlan, approved: Cycle, opportunity: int | None) -> None:
        """The wish for a cycle leaves."""
        paid = (plan.funding, plan.lender, str(plan.premium), str(plan.min_profit), str(plan.expected_net))
        self._submit(command, opportunity, (approved.token, str(plan.amount), approved.planned.value), (*paid, *_NO_PATH))

    def path(self, command: SwapPath, plan: SwapPlan, approved: Hedged, opportunity: int | None) -> None:
        """The wish for a path leaves; own tokens pay for it."""
        token_in, token_out = approved.tokens
        got = (token_out, str(plan.min_out), str(approved.expected_out), plan.expected_profit, plan.profit_asset)
        amounts = (token_in, str(plan.amount), approved.planned.value)
        self._submit(command, opportunity, amounts, ("wallet", "", *_NO_LOAN, *got))

    def cancel(self, one: SentCycle) -> None:
        """The wish for the end of one leaves."""
        self._emit("cycles", _named(one, "cancel") + _NO_WISH)

    def carried(self, one: SentCycle) -> None:
        """One of an earlier start is followed by this one: its name says which, its state is the first one here."""
        self._emit("cycles", _named(one, CARRIED) + _NO_WISH)
        names = (one.desk.account, one.desk.strategy, one.venue, one.number, one.bundle, one.state, None)
        why = NEVER_LEFT if one.state == "refused" else CARRIED
        self._emit("cycle_states", (*names, one.tx_hash or None, *_NO_RECEIPT, why))

    def state(self, one: SentCycle, before: str | None, told: CycleReport | None) -> None:
        """A new state, and what a receipt says."""
        names = (one.desk.account, one.desk.strategy, one.venue, one.number, one.bundle, one.state, before)
        if told is None:
            self._emit("cycle_states", (*names, None, *_NO_RECEIPT, None))
        else:
            self._emit("cycle_states", (*names, told.tx_hash or None, *_receipt(told), told.reason))

    def _submit(self, command: AnySwap, opportunity: int | None, amounts: tuple[Any, ...], terms: tuple[Any, ...]) -> None:
        names = (command.account, command.strategy, command.venue, "submit", command.order, command.client_order_id, command.bundle)
        gas = (command.gas_limit, str(command.ceiling_wei), command.deadline_s, command.channel)
        self._emit("cycles", (*names, opportunity, hops_text(command.hops), *amounts, *terms, *gas))


def _named(one: SentCycle, kind: str) -> tuple[Any, ...]:
    return (one.desk.account, one.desk.strategy, one.venue, kind, one.number, one.client_id, one.bundle)


def _receipt(told: CycleReport) -> tuple[Any, ...]:
    """The columns of a receipt, nulls where there is none."""
    if told.event not in RECEIPTS:
        return _NO_RECEIPT
    assert told.gas_used is not None
    assert told.gas_price_wei is not None
    earned = (told.profit_token, _text(told.profit), told.gas_used, str(told.gas_used * told.gas_price_wei))
    swapped = (told.token_in, _text(told.amount_in), told.token_out, _text(told.amount_out))
    return (told.block_number, told.block_hash, *earned, *swapped)


def receipt_row(report: CycleReport) -> tuple[Any, ...]:
    """What a simulated chain says, as the row that it is."""
    return (
        report.account,
        report.strategy,
        report.venue,
        report.order,
        report.event,
        report.tx_hash or None,
        report.block_number,
        report.block_hash,
        report.gas_used,
        _text(report.gas_price_wei),
        report.profit_token,
        _text(report.profit),
        report.token_in,
        _text(report.amount_in),
        report.token_out,
        _text(report.amount_out),
        report.reason,
    )


def _text(amount: int | None) -> str | None:
    return None if amount is None else str(amount)
