"""What a simulated chain is assumed to be. What a config key sets has its default in the config alone; what is optimistic is named so."""

from __future__ import annotations

import msgspec

from xarb.model.units import MONEY_ONE
from xarb.pools.financing import WAD, LoanTerms
from xarb.venues.terms import Latency


class ChainModel(msgspec.Struct, frozen=True, kw_only=True):
    """What a simulated chain is assumed to be; times in ns.

    Attributes:
        native: the asset that gas is paid in.
        latency: decision to the builders.
        lag_ns: a block took in nothing that reached the builders later than so long before its row came.
        receipt_ns: a block's row, or an arrival, to what we are told of it.
        tip_wei: what a builder gets for each gas.
        missed_ppm: how likely a block leaves a transaction out for which it had room.
        taken_ppm: how likely somebody else is first, so that it reverts.
        finality_blocks: blocks on top of its own after which a receipt is final.
        sees_own_swaps: strategies see pools as our swaps left them, not as the log has them.
        loans: what a person states of lenders of whom the log says nothing.
    """

    native: str
    latency: Latency
    lag_ns: int
    receipt_ns: int
    tip_wei: int
    missed_ppm: int
    taken_ppm: int
    finality_blocks: int
    sees_own_swaps: bool
    loans: tuple[LoanTerms, ...]


def describe_chain(venue: str, model: ChainModel) -> list[tuple[str, str, str]]:
    """The assumptions as (venue, what, value); what flatters the result is marked."""
    share = "{:.0f} % of blocks"
    rows = [
        ("to the builders", f"{model.latency}"),
        ("blocks close before their row", f"{model.lag_ns // 10**6} ms"),
        ("receipts", f"{model.receipt_ns // 10**6} ms after the block"),
        ("left out", share.format(model.missed_ppm / 10**4) + _flattering(model.missed_ppm)),
        ("somebody else first", share.format(model.taken_ppm / 10**4) + _flattering(model.taken_ppm)),
        ("own swaps", f"stay in the pools for good, {'and are seen (optimistic)' if model.sees_own_swaps else 'and are not seen'}"),
        ("gas", f"as measured; tip {model.tip_wei / 10**9:g} gwei"),
    ]
    rows += [(f"{one.way} {one.lender}", _stated(one)) for one in model.loans] or [("loans", "as the log says")]
    return [(venue, what, value) for what, value in rows]


def _stated(one: LoanTerms) -> str:
    """What is lent of a token, where only the config says it."""
    share, available = one.premium_wad * 100 / WAD, one.available / MONEY_ONE
    return f"lends {available:g} of {one.token} for {share:g} %, by the config alone: the log does not say"


def _flattering(ppm: int) -> str:
    return "" if ppm else " (optimistic)"
