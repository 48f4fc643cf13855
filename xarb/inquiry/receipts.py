"""Receipts of both sides beside each other, field by field: what blocks, real ones or simulated ones, say of each of our transactions.

A receipt is read from the row that brought it (`receipts` of a chain, `sim_receipts` of a simulated one), not from what followed from it. One whose block was
removed does not stand.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from xarb.inquiry.decided import Decided
from xarb.inquiry.sections import Section

_TRADES: Final = ("trade", "replacement")
_MINED: Final = ("succeeded", "reverted")
CANCEL: Final = "cancel"
UNEXPLAINED: Final = "unexplained"
_WHAT: Final = {
    "gas_used": ("gas", "outcome"),
    "gas_price_wei": ("base fee", "outcome"),
}  # whose difference names a field's cause; else the outcome's
_HEAD: Final = ("chain", "what", "order A", "order B", "field", "A", "B", "B - A", "cause")


class Receipt(NamedTuple):
    """The end of a transaction in a block: gas, what each cost, and amounts in smallest units, null where it has none."""

    venue: str
    status: str
    gas_used: int
    gas_price_wei: int
    profit: int | None
    amount_in: int | None
    amount_out: int | None


Booked = Mapping[str, int | None]


class Told(NamedTuple):
    """What blocks of one side hold: by order the receipt of its transaction, and of transfers that took nonces back."""

    orders: dict[int, Receipt]
    cancels: list[Receipt]


class Aligned(NamedTuple):
    """Orders of both sides that belong together, None where a side has none; `what` is cycle or swap, `booked` what a side's states say of its receipt, by field."""

    what: str
    a: int | None
    b: int | None
    booked: tuple[Booked | None, Booked | None] = (None, None)


def told_by(decided: Decided) -> Told:
    """The receipts of a side that stand at its end.

    Raises:
        LogError: a file is damaged.
    """
    standing: dict[str, tuple[int | None, Receipt]] = {}
    for tx_hash, order, row in _simulated(decided) if decided.reports == "sim_reports" else _real(decided):
        standing.pop(tx_hash, None)
        if row is not None:
            standing[tx_hash] = (order, _receipt(row))
    orders = {order: one for order, one in standing.values() if order is not None}
    return Told(orders, [one for order, one in standing.values() if order is None])


_Event = tuple[str, int | None, dict[str, Any] | None]  # a transaction, its order, and its receipt; None: its block is gone


def _simulated(decided: Decided) -> Iterator[_Event]:
    for row in decided.rows("sim_receipts"):
        if row["event"] in (*_MINED, "reorged"):
            yield row["tx_hash"], row["order"], None if row["event"] == "reorged" else {**row, "status": row["event"]}


def _real(decided: Decided) -> Iterator[_Event]:
    """Those of the start's own transactions; whose they are their intents say, which come before they leave."""
    rows: list[tuple[int, Any, Any]] = [(row["seq"], row, None) for row in decided.rows("transactions")]
    rows += [(row["seq"], None, row) for row in decided.rows("receipts")]
    mine: dict[str, int | None] = {}
    since = 0 if decided.span is None else decided.span.first
    for seq, said, receipt in sorted(rows, key=_first):
        if said is not None and said["event"] == "intent":
            if seq >= since:
                is_order = said["start"] == decided.number and said["purpose"] in _TRADES
                mine[said["tx_hash"]] = said["order"] if is_order else None
        elif said is not None and said["event"] == "reorged" and said["tx_hash"] in mine:
            yield said["tx_hash"], mine[said["tx_hash"]], None
        elif receipt is not None and receipt["tx_hash"] in mine and receipt["status"] in _MINED:
            yield receipt["tx_hash"], mine[receipt["tx_hash"]], receipt


def _first(row: tuple[int, Any, Any]) -> int:
    return row[0]


def _receipt(row: dict[str, Any]) -> Receipt:
    amounts = (None if row[name] is None else int(row[name]) for name in ("profit", "amount_in", "amount_out"))
    return Receipt(row["venue"], row["status"], row["gas_used"], int(row["gas_price_wei"]), *amounts)


# --- beside each other


class ReceiptComparison:
    """Every field in which receipts of orders that belong together differ, with the cause of the difference that names it.

    What a side booked otherwise than its own receipt says is told as well, and nothing explains it.

    Args:
        told: of both sides.
        aligned: their orders.
        causes: (side, order, what, cause) of each difference that an order has part in; sides are 0 and 1.

    Attributes:
        rows: of the section.
        is_explained: every field that differs has a cause.
    """

    def __init__(self, told: tuple[Told, Told], aligned: Iterable[Aligned], causes: Iterable[tuple[int, int, str, str]]) -> None:
        self._causes: defaultdict[tuple[int, int], list[tuple[str, str]]] = defaultdict(list)
        for side, order, what, cause in causes:
            self._causes[side, order].append((what, cause))
        self.rows: list[tuple[Any, ...]] = []
        for one in aligned:
            pair = [None if number is None else side.orders.get(number) for number, side in zip((one.a, one.b), told, strict=True)]
            self.rows += self._differing(one, pair[0], pair[1])
            for letter, booked, receipt in zip("AB", one.booked, pair, strict=True):
                self.rows += _otherwise(one, f"booked by {letter}", booked, receipt)
        self.is_explained = all(row[-1] != UNEXPLAINED for row in self.rows)
        self.rows += _of_cancels(told)

    def _differing(self, one: Aligned, a: Receipt | None, b: Receipt | None) -> Iterator[tuple[Any, ...]]:
        """Rows of one pair."""
        there = a or b
        if there is None or a == b:
            return
        for name in Receipt._fields[1:]:
            mine, theirs = (None if side is None else getattr(side, name) for side in (a, b))
            if mine != theirs:
                apart = str(theirs - mine) if isinstance(mine, int) and isinstance(theirs, int) else None
                cause = self._cause(one, name)
                yield (there.venue, one.what, one.a, one.b, name, _text(mine), _text(theirs), apart, cause)

    def _cause(self, one: Aligned, name: str) -> str:
        """Of what was decided otherwise, that; else of the difference that is about the field; else none."""
        known = [known for side, order in enumerate((one.a, one.b)) if order is not None for known in self._causes[side, order]]
        for what in ("decision", "order", *_WHAT.get(name, ("outcome",))):
            for told, cause in known:
                if told == what:
                    return cause
        return UNEXPLAINED


def _otherwise(one: Aligned, what: str, booked: Booked | None, receipt: Receipt | None) -> Iterator[tuple[Any, ...]]:
    """Where a side's states are not what its receipt says: the receipt stands as A, what was booked as B."""
    for name, value in ({} if booked is None else booked).items():
        said = None if receipt is None else getattr(receipt, name)
        if said != value:
            yield (receipt.venue if receipt else None, what, one.a, one.b, name, _text(said), _text(value), None, UNEXPLAINED)


def _of_cancels(told: tuple[Told, Told]) -> Iterator[tuple[Any, ...]]:
    """How many transfers took nonces back on each side, and for how much gas, where that differs."""
    for venue in sorted({one.venue for side in told for one in side.cancels}):
        mine, theirs = ([one for one in side.cancels if one.venue == venue] for side in told)
        counts = (("count", len(mine), len(theirs)), ("gas_cost_wei", _cost(mine), _cost(theirs)))
        for name, a, b in counts:
            if a != b:
                yield (venue, CANCEL, None, None, name, str(a), str(b), str(b - a), None)


def _cost(receipts: Iterable[Receipt]) -> int:
    return sum(one.gas_used * one.gas_price_wei for one in receipts)


def _text(value: str | int | None) -> str | None:
    return None if value is None else str(value)


def receipt_section(found: ReceiptComparison) -> Section:
    """What differs, as a table."""
    return Section("receipts", "Receipts of aligned orders, field by field where they differ", _HEAD, found.rows)
