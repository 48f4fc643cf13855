"""What rows say of transactions of ours on chains, and what a receipt changes as money.

A transaction that takes a nonce back costs gas too: that is booked to whom it was for. Receipts that were told before a start began are in its opening
balances; those that are told later are not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from xarb.engine.bookings import FINAL, RECEIPTS, REORGED, Booked, Change, Mine, Post, restored_booked
from xarb.engine.captured import BookedCopy
from xarb.engine.carried import CarriedTransaction
from xarb.engine.sentcycle import Path
from xarb.errors import LogError
from xarb.model.command import CycleReport
from xarb.model.event import SlowRow
from xarb.model.units import MONEY_SCALE

KINDS: Final = ("transactions", "receipts")
CYCLE: Final = "cycle"
GAS: Final = "gas"
SWAP: Final = "swap"
_TRADES: Final = ("trade", "replacement")
_TOLD: Final = ("sent", "unknown", "refused", REORGED, FINAL)  # events of `transactions` that move a cycle


class Receipts:
    """Knows whose transactions are whose, and what their receipts changed.

    Args:
        start: number of the start.
        natives: by chain what gas is paid in.
        decimals: of a token on a chain, None where nobody knows.
    """

    def __init__(self, start: int, natives: Mapping[str, str], decimals: Callable[[str, str], int | None]) -> None:
        self._start, self._natives, self._decimals = start, natives, decimals
        self._mine: dict[str, Mine] = {}  # by hash; transactions that are not final
        self._booked: dict[str, Booked] = {}  # by hash; receipts that may still be taken back
        self._taken: Mapping[tuple[int, int], int] = {}

    def take_up(self, transactions: Sequence[CarriedTransaction], numbers: Mapping[tuple[int, int], int]) -> None:
        """Know those of earlier starts; `numbers` are their orders' here, by start and number there."""
        self._taken = numbers
        for one in transactions:
            mine = (one.account, one.strategy, self._order(one.start, one.order))
            self._mine[one.tx_hash] = mine
            if one.block_hash:
                self._booked[one.tx_hash] = Booked(one.block_hash, mine, one.posts)

    def _order(self, start: int | None, order: int | None) -> int | None:
        """The number here of an order of some start."""
        if start is None or order is None or start == self._start:
            return order if start == self._start else None
        return self._taken.get((start, order))

    @property
    def mine(self) -> Mapping[str, Mine]:
        """Account, strategy and order of each transaction that is not final, by hash."""
        return self._mine

    @property
    def booked(self) -> Mapping[str, Booked]:
        """What receipts changed that may still be taken back, by hash."""
        return self._booked

    def read(self, row: SlowRow) -> CycleReport | None:
        """What a row of `transactions` or `receipts` says of a transaction of ours; None where it says nothing new of one.

        Raises:
            LogError: a receipt does not say what it must.
        """
        values = row.values
        tx_hash = values["tx_hash"]
        if row.kind == "receipts":
            mine = self._mine.get(tx_hash)
            return None if mine is None else self.receipt(row, mine[2])
        if values["event"] == "intent":
            order = self._order(values["start"], values["order"]) if values["purpose"] in _TRADES else None
            self._mine[tx_hash] = (values["account"], values["strategy"], order)
            return None
        if values["event"] == "refused" and values["start"] == self._start:
            mine = (values["account"], values["strategy"], values["order"])
        else:
            mine = self._mine.get(tx_hash)
        if mine is None or values["event"] not in _TOLD:
            return None
        if values["event"] == FINAL:
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

    def receipt(self, row: SlowRow, order: int | None) -> CycleReport:
        """What a row of `receipts` says.

        Raises:
            LogError: not what it must.
        """
        values = row.values
        report = CycleReport(
            ts=row.ts_recv,
            venue=values["venue"],
            account=values["account"],
            strategy=values["strategy"],
            order=order,
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
        return report

    def take(self, report: CycleReport, path: Path | None) -> list[Change]:
        """What it changes, in order, from now on known as such; nothing where it was told already.

        Raises:
            LogError: as `posts`.
        """
        booked = self._booked.get(report.tx_hash)
        if report.event in RECEIPTS:
            assert report.block_hash is not None, "receipts of a block name it"
            if booked is not None and booked.block_hash == report.block_hash:
                return []
            mine = (report.account, report.strategy, report.order)
            new = self._booked[report.tx_hash] = Booked(report.block_hash, mine, self.posts(report, path))
            return [Change(new, 1)] if booked is None else [Change(booked, -1), Change(new, 1)]
        if report.event in (REORGED, FINAL):
            self._booked.pop(report.tx_hash, None)
        return [Change(booked, -1)] if booked is not None and report.event == REORGED else []

    def posts(self, report: CycleReport, path: Path | None, *, if_known: bool = False) -> tuple[Post, ...]:
        """What a receipt changes: gas in the chain's own asset, a profit in its token, and both tokens of a path.

        Args:
            report: what it says.
            path: what was asked for; None: a cycle, or nobody knows.
            if_known: leave out a token of which nobody knows the decimals.

        Raises:
            LogError: it does not say what it must, or nobody knows what its gas is paid in or how many decimals a token has.
        """
        native = self._natives.get(report.venue)
        if native is None:
            raise LogError(f"a receipt of {report.venue}, on which no cycle may be sent: what its gas is paid in is not known")
        assert report.gas_used is not None
        assert report.gas_price_wei is not None
        posts: list[Post] = []
        if report.event == "succeeded":
            if path is not None and (report.token_in, report.token_out) != (path.token_in, path.token_out):
                raise LogError(f"{report.tx_hash} swapped {report.token_in} for {report.token_out}, which was not asked for")
            paid = None if report.amount_in is None else -report.amount_in
            for token, amount, cause in (
                (report.profit_token, report.profit, CYCLE),
                (report.token_in, paid, SWAP),
                (report.token_out, report.amount_out, SWAP),
            ):
                unit = self._unit(report, token)
                if amount is None or (unit is None and if_known):
                    continue
                if token is None or unit is None:
                    raise LogError(f"{report.tx_hash} changed {token} by {amount}, whose decimals are not known")
                posts.append((report.venue, token, amount * unit, cause))
            if report.order is not None and len(posts) != (1 if path is None else 2):
                raise LogError(f"{report.tx_hash} succeeded, and does not say what it earned")
        return (*posts, (report.venue, native, -report.gas_used * report.gas_price_wei, GAS))

    def _unit(self, report: CycleReport, token: str | None) -> int | None:
        """A token's smallest unit as money; None where nobody knows."""
        decimals = None if token is None else self._decimals(report.venue, token)
        return None if decimals is None or decimals > MONEY_SCALE else int(10 ** (MONEY_SCALE - decimals))

    def capture(self) -> tuple[list[BookedCopy], dict[str, Mine]]:
        """Receipts that may still be taken back, and whose transactions are whose, as plain values."""
        return [booked.capture(tx_hash) for tx_hash, booked in self._booked.items()], {**self._mine}

    def restore(self, booked: Sequence[BookedCopy], mine: Mapping[str, Mine]) -> None:
        """Take over copies."""
        self._booked = {one.tx_hash: restored_booked(one) for one in booked}
        self._mine = {**mine}


def _whole(text: str | None) -> int | None:
    return None if text is None else int(text)
