"""What was done from some moment on, counted from output rows alone: orders and bundles may be older than the first row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from xarb.console import Table
from xarb.model.event import OutputRow, named
from xarb.model.units import MONEY_SCALE, format_decimal

Worth = Callable[[Mapping[str, int], str], int | None]
_UNVALUED: Final = "not valued: no mark"
_ON_CHAIN: Final = ("cycle", "swap", "gas")  # causes of what a chain changed
_COUNTED: Final = ("opportunities", "refusals", "bundles", "orders", "fills", "cycle_states", "ledger")


class Since:
    """Counts of rows; money is at 18 decimals.

    Attributes:
        counts: by what was counted.
        fees: paid, by asset, gas among them.
        moved: what trading changed, by asset, over all accounts and venues.
    """

    def __init__(self, alike: Mapping[str, str]) -> None:
        self.counts = dict.fromkeys(("opportunities", "refusals", "bundles", "orders", "fills", "transactions"), 0)
        self.fees: defaultdict[str, int] = defaultdict(int)
        self.moved: defaultdict[str, int] = defaultdict(int)
        self._alike = alike

    def take(self, rows: Sequence[OutputRow]) -> None:
        """Count rows in their order."""
        for row in rows:
            if row[0] in _COUNTED:
                self._take(row)

    def _take(self, row: OutputRow) -> None:
        kind, values, counts = row[0], named(row), self.counts
        if kind == "opportunities":
            counts[kind] += values["phase"] == "opened"
        elif kind == "refusals":
            counts[kind] += 1
        elif kind == "bundles":
            counts[kind] += values["event"] == "opened"
        elif kind == "orders":
            counts[kind] += values["previous"] is None
        elif kind == "cycle_states":
            counts["transactions"] += values["previous"] is None
        elif kind == "fills":
            counts[kind] += 1
            self.fees[values["fee_asset"]] += values["fee"]
        elif values["order"] is not None or values["cause"] == "gas":
            asset = values["asset"]
            if values["cause"] in _ON_CHAIN:
                asset = str(self._alike.get(asset, asset))
            if values["cause"] == "gas":
                self.fees[asset] -= values["delta"]
            self.moved[asset] += values["delta"]


def comparison_table(seq: int, original: Since, own: Since, currencies: Sequence[str], worth: Worth) -> Table:
    """Both sides behind an input, beside each other; what trading changed is valued at the same marks, the last ones."""
    rows: list[tuple[str, ...]] = []
    for currency in currencies:
        one, other = worth(original.moved, currency), worth(own.moved, currency)
        more = None if one is None or other is None else other - one
        rows.append((f"trading PnL, {currency}", _money(one), _money(other), _money(more)))
    rows += [(what, f"{count}", f"{own.counts[what]}", f"{own.counts[what] - count}") for what, count in original.counts.items()]
    rows += _by_asset("fees", original.fees, own.fees)
    rows += _by_asset("change of", original.moved, own.moved)
    return Table(f"Behind: inputs after {seq}, at the last mids", ("what", "original", "branch", "difference"), tuple(rows))


def _by_asset(what: str, one: Mapping[str, int], other: Mapping[str, int]) -> Iterator[tuple[str, ...]]:
    for asset in sorted({*one, *other}):
        mine, theirs = one.get(asset, 0), other.get(asset, 0)
        yield f"{what} {asset}", _money(mine), _money(theirs), _money(theirs - mine)


def _money(value: int | None) -> str:
    return _UNVALUED if value is None else format_decimal(value, MONEY_SCALE)
