"""What rows say of transactions of ours on chains, and what a receipt changes as money.

A transaction that takes a nonce back costs gas too: that is booked to whom it was for. Of one that an earlier start sent nobody knows whether
the opening balances have it: it only explains a difference from the chain's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from xarb.engine.chains import Chains
from xarb.engine.cycle_rows import RECEIPTS
from xarb.engine.portfolio import Portfolio
from xarb.engine.sentcycle import Mine, Path, Post
from xarb.engine.setup import Setup
from xarb.errors import LogError
from xarb.model.command import CycleReport
from xarb.model.event import SlowRow
from xarb.model.units import MONEY_SCALE

KINDS: Final = ("transactions", "receipts")
CYCLE: Final = "cycle"
GAS: Final = "gas"
SWAP: Final = "swap"
_TRADES: Final = ("trade", "replacement")
_TOLD: Final = ("sent", "unknown", "refused", "reorged", "final")  # events of `transactions` that move a cycle


class Receipts:
    """Knows whose transactions are whose.

    Args:
        chains: the decimals of tokens.
        portfolio: is told what may have changed.
        setup: what this start is, and what gas is paid in.
    """

    def __init__(self, chains: Chains, portfolio: Portfolio, setup: Setup) -> None:
        self._chains, self._portfolio = chains, portfolio
        self._terms, self._start = setup.chains, setup.start
        self._mine: dict[str, Mine] = {}  # transactions of this start by hash

    def read(self, row: SlowRow) -> CycleReport | None:
        """What a row of `transactions` or `receipts` says of a transaction of this start; None where it says nothing new of one.

        Raises:
            LogError: a receipt does not say what it must.
        """
        values = row.values
        tx_hash = values["tx_hash"]
        if row.kind == "receipts":
            return self._receipt(row, self._mine.get(tx_hash))
        if values["event"] == "intent":
            order = values["order"] if values["start"] == self._start and values["purpose"] in _TRADES else None
            self._mine[tx_hash] = (values["account"], values["strategy"], order)
            return None
        if values["event"] == "refused" and values["start"] == self._start:
            mine: Mine | None = (values["account"], values["strategy"], values["order"])
        else:
            mine = self._mine.get(tx_hash)
        if mine is None or values["event"] not in _TOLD:
            return None
        if values["event"] == "final":
            del self._mine[tx_hash]
        return CycleReport(
            ts=row.ts_recv,
            venue=values["venue"],
            account=mine[0],
            strategy=mine[1],
            order=mine[2],
            event=values["event"],
            tx_hash=tx_hash,
            block_number=values["block_number"],
            block_hash=values["block_hash"],
            reason=values["reason"],
        )

    def _receipt(self, row: SlowRow, mine: Mine | None) -> CycleReport | None:
        values = row.values
        report = CycleReport(
            ts=row.ts_recv,
            venue=values["venue"],
            account=values["account"],
            strategy=values["strategy"],
            order=None if mine is None else mine[2],
            event=values["status"],
            tx_hash=values["tx_hash"],
            block_number=values["block_number"],
            block_hash=values["block_hash"],
            gas_used=values["gas_used"],
            gas_price_wei=_whole(values["gas_price_wei"]),
            profit_token=values["profit_token"],
            profit=_whole(values["profit"]),
            token_in=values["token_in"],
            amount_in=_whole(values["amount_in"]),
            token_out=values["token_out"],
            amount_out=_whole(values["amount_out"]),
            reason=values["reason"],
        )
        if report.event in RECEIPTS and (report.gas_used is None or report.gas_price_wei is None or report.block_hash is None):
            raise LogError(f"seq {row.seq}: a receipt without gas, its price or its block")
        if mine is None:
            self._stray(report)
            return None
        return report

    def _stray(self, report: CycleReport) -> None:
        """A transaction of an earlier start: whether the opening balances have it, nobody knows."""
        for venue, asset, change, _ in self.posts(report, None) if report.event in RECEIPTS else ():
            self._portfolio.stray((report.account, venue, asset), change, report.ts)

    def posts(self, report: CycleReport, path: Path | None) -> tuple[Post, ...]:
        """What a receipt changes: gas in the chain's own asset, a profit in its token, and both tokens of a path.

        Raises:
            LogError: it does not say what it must, or nobody knows what its gas is paid in or how many decimals a token has.
        """
        venue, terms = report.venue, self._terms.get(report.venue)
        if terms is None:
            raise LogError(f"a receipt of {venue}, on which no cycle may be sent: what its gas is paid in is not known")
        assert report.gas_used is not None
        assert report.gas_price_wei is not None
        posts: list[Post] = []
        if report.event == "succeeded":
            if path is not None and (report.token_in, report.token_out) != (path.token_in, path.token_out):
                raise LogError(f"{report.tx_hash} swapped {report.token_in} for {report.token_out}, which was not asked for")
            posts += self._post_of(report, report.profit_token, report.profit, CYCLE)
            posts += self._post_of(report, report.token_in, None if report.amount_in is None else -report.amount_in, SWAP)
            posts += self._post_of(report, report.token_out, report.amount_out, SWAP)
            if report.order is not None and len(posts) != (1 if path is None else 2):
                raise LogError(f"{report.tx_hash} succeeded, and does not say what it earned")
        return (*posts, (venue, terms.native, -report.gas_used * report.gas_price_wei, GAS))

    def _post_of(self, report: CycleReport, token: str | None, amount: int | None, cause: str) -> list[Post]:
        """An amount of a token as money; none where the receipt has none."""
        if amount is None:
            return []
        decimals = None if token is None else self._chains.decimals(report.venue, token)
        if token is None or decimals is None or decimals > MONEY_SCALE:
            raise LogError(f"{report.tx_hash} changed {token} by {amount}, whose decimals are not known")
        return [(report.venue, token, amount * 10 ** (MONEY_SCALE - decimals), cause)]

    def capture(self) -> dict[str, Mine]:
        """By hash the transactions of this start."""
        return {**self._mine}

    def restore(self, copy: Mapping[str, Mine]) -> None:
        """Take over a copy."""
        self._mine = {**copy}


def _whole(text: str | None) -> int | None:
    return None if text is None else int(text)
