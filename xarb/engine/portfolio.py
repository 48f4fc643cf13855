"""Money: balances folded from fills, what is reserved for orders on their way, and what each strategy made of it.

Every amount is an int at 18 decimals. Every change of a balance is a `ledger` row; the sum of an account's deltas is its balance.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from xarb.engine.outputs import Outputs
from xarb.engine.terms import StrategyTerms
from xarb.model.units import MONEY_ONE, Money

Place = tuple[str, str, str]  # account, venue, asset
_NO_STRATEGY: Final = ""  # of opening rows: the money belongs to the account


class FillMoney(NamedTuple):
    """One fill as money: `sign` +1 for a buy, -1 for a sell; a positive fee is paid."""

    account: str
    strategy: str
    venue: str
    base: str
    quote: str
    order: int
    sign: int
    qty: int
    notional: int
    fee: int
    fee_asset: str


class Holding(NamedTuple):
    """Inventory that a bundle left: `qty` of an asset (negative: short), and what was paid for it in `quote` (negative: received)."""

    qty: int
    cost: int
    quote: str


class Valuation(NamedTuple):
    """Worth of an account's balances at given marks, rounded down per asset, in the marks' currency.

    `trading` is equity minus the opening inventory at the same marks; `revaluation` is what the opening inventory gained from its
    opening marks to the given ones.
    """

    equity: int
    opening: int
    trading: int
    revaluation: int


class Portfolio:
    """Balances per (account, venue, asset), reservations, and flows per strategy.

    Args:
        outputs: where `ledger` rows go.
        opening: balances by (account, venue, asset).
        terms: budgets by strategy id.
    """

    def __init__(self, outputs: Outputs, opening: Mapping[Place, Money], terms: Mapping[str, StrategyTerms]) -> None:
        self._outputs = outputs
        self._opening: dict[Place, int] = {place: int(opening[place]) for place in sorted(opening)}
        self._balances: dict[Place, int] = dict(self._opening)
        self._reserved: dict[Place, int] = {}
        self._budgets = {strategy: dict(mine.budget) for strategy, mine in terms.items()}
        self._reserved_by: dict[tuple[str, str], int] = {}
        self._flows: dict[tuple[str, str], int] = {}
        self._holdings: dict[tuple[str, str, str], Holding] = {}

    def open_books(self) -> None:
        """Write the opening rows, in order of account, venue and asset."""
        for (account, venue, asset), amount in self._opening.items():
            self._write((account, venue, asset), (amount, amount), _NO_STRATEGY, cause="opening", order=None)

    # --- fills

    def apply(self, fill: FillMoney) -> None:
        """Post a fill: base and quote as `trade`, then the fee as `fee`."""
        self._post(fill, fill.base, fill.sign * fill.qty, "trade")
        self._post(fill, fill.quote, -fill.sign * fill.notional, "trade")
        if fill.fee:
            self._post(fill, fill.fee_asset, -fill.fee, "fee")

    def _post(self, fill: FillMoney, asset: str, delta: int, cause: str) -> None:
        place = (fill.account, fill.venue, asset)
        after = self._balances.get(place, 0) + delta
        self._balances[place] = after
        key = (fill.strategy, asset)
        self._flows[key] = self._flows.get(key, 0) + delta
        self._write(place, (delta, after), fill.strategy, cause=cause, order=fill.order)

    def _write(self, place: Place, change: tuple[int, int], strategy: str, *, cause: str, order: int | None) -> None:
        """A `ledger` row; `change` is the delta and the balance after it."""
        account, venue, asset = place
        self._outputs.emit("ledger", (account, strategy, venue, asset, *change, cause, order))

    # --- reservations

    def reserve(self, place: Place, strategy: str, delta: int) -> None:
        """Change what is reserved for a strategy's orders; a negative `delta` releases."""
        self._reserved[place] = self._reserved.get(place, 0) + delta
        key = (strategy, place[2])
        self._reserved_by[key] = self._reserved_by.get(key, 0) + delta

    def balance(self, place: Place) -> int:
        """Balance, reserved part included."""
        return self._balances.get(place, 0)

    def reserved(self, place: Place) -> int:
        """The part of the balance that orders on their way may take."""
        return self._reserved.get(place, 0)

    def free_of_account(self, place: Place) -> int:
        """What no order has reserved; negative when fills took more than was there."""
        return self._balances.get(place, 0) - self._reserved.get(place, 0)

    def free_of_budget(self, strategy: str, asset: str) -> int | None:
        """What the strategy's budget leaves of an asset, None where the budget does not name it."""
        allotted = self._budgets.get(strategy, {}).get(asset)
        if allotted is None:
            return None
        key = (strategy, asset)
        return allotted + self._flows.get(key, 0) - self._reserved_by.get(key, 0)

    # --- results

    def balances(self) -> dict[Place, int]:
        """All balances, in order of account, venue and asset."""
        return {place: self._balances[place] for place in sorted(self._balances)}

    def flows(self, strategy: str) -> dict[str, int]:
        """What the strategy's fills changed, fees included, by asset: its realised trading result, asset by asset."""
        return {asset: amount for (owner, asset), amount in sorted(self._flows.items()) if owner == strategy}

    def hold(self, strategy: str, asset: str, left: Holding) -> None:
        """Book a bundle's residual as inventory, at its cost, which is kept for each quote asset on its own."""
        key = (strategy, asset, left.quote)
        before = self._holdings.get(key, Holding(0, 0, left.quote))
        self._holdings[key] = Holding(before.qty + left.qty, before.cost + left.cost, left.quote)

    def holdings(self, strategy: str) -> dict[tuple[str, str], Holding]:
        """Inventory that the strategy's bundles left, by (asset, quote asset)."""
        return {(asset, quote): held for (owner, asset, quote), held in sorted(self._holdings.items()) if owner == strategy}

    def value(self, account: str, marks: Mapping[str, int], opening_marks: Mapping[str, int]) -> Valuation:
        """Worth of the account; marks are the price of one unit of each asset as money in one currency.

        Raises:
            KeyError: an asset with a balance has no mark.
        """
        equity = _worth(self._balances, account, marks)
        opening = _worth(self._opening, account, marks)
        return Valuation(equity, opening, equity - opening, opening - _worth(self._opening, account, opening_marks))


def _worth(balances: Mapping[Place, int], account: str, marks: Mapping[str, int]) -> int:
    totals: dict[str, int] = {}
    for (owner, _, asset), amount in balances.items():
        if owner == account and amount:
            totals[asset] = totals.get(asset, 0) + amount
    return sum(amount * marks[asset] // MONEY_ONE for asset, amount in totals.items())
