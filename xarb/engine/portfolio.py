"""Money: balances folded from fills, what is reserved for orders on their way, and what each strategy made of it.

Every amount is an int at 18 decimals. Every change of a balance is a `ledger` row; the sum of an account's deltas is its balance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from xarb.engine.captured import PortfolioCopy
from xarb.engine.carried import CarriedFlow
from xarb.engine.outputs import Outputs
from xarb.engine.terms import StrategyTerms
from xarb.model.units import MONEY_ONE, Money

Place = tuple[str, str, str]  # account, venue, asset
ADJUSTMENT: Final = "adjustment"
FOREIGN: Final = "foreign"
_STRAYS: Final = 1_000  # of each asset at a venue; older ones explain nothing any more
"""The cause of a `ledger` row that books what a venue has more or less than we."""
_NO_STRATEGY: Final = ""  # of opening rows: the money belongs to the account


class Pot:
    """An asset of an account on a venue: its balance, and the part of it that orders on their way may take."""

    __slots__ = ("balance", "reserved")

    def __init__(self, balance: int) -> None:
        self.balance = balance
        self.reserved = 0


class Share:
    """A strategy's part in an asset over all venues: what its budget allots (None: no bound), its fills changed, its orders reserve.

    `carried` is what its fills changed in earlier starts.
    """

    __slots__ = ("allotted", "carried", "flow", "reserved")

    def __init__(self, allotted: int | None, carried: int) -> None:
        self.allotted, self.carried = allotted, carried
        self.flow = 0
        self.reserved = 0

    @property
    def left(self) -> int | None:
        """What the budget leaves, None where it does not name the asset."""
        return None if self.allotted is None else self.allotted + self.carried + self.flow - self.reserved


class Till:
    """An asset of an account on a venue as one strategy uses it; `names` are the columns account, strategy, venue and asset."""

    __slots__ = ("asset", "names", "posted", "pot", "share")

    def __init__(self, names: tuple[str, str, str, str], pot: Pot, share: Share) -> None:
        self.names = names
        self.asset = names[3]
        self.pot = pot
        self.share = share
        self.posted = False  # whether a fill ever changed it

    @property
    def free(self) -> int:
        """What the strategy may spend: free in the account and left in its budget, never below zero."""
        free = self.pot.balance - self.pot.reserved
        left = self.share.left
        return max(0, free if left is None else min(free, left))


Hold = tuple[tuple[Till, int], ...]  # what an order may take at most, by till


def reserve(hold: Hold) -> None:
    """Set it aside for an order."""
    for till, amount in hold:
        till.pot.reserved += amount
        till.share.reserved += amount


def release(hold: Hold) -> None:
    """Give back what was set aside."""
    for till, amount in hold:
        till.pot.reserved -= amount
        till.share.reserved -= amount


class Holding(NamedTuple):
    """Inventory that a bundle left: `qty` of an asset (negative: short), and what was paid for it in `quote` (negative: received)."""

    qty: int
    cost: int
    quote: str


class Valuation(NamedTuple):
    """Worth of an account's balances at given marks, rounded down per asset, in the marks' currency.

    `trading` is equity minus the opening inventory, and what transfers and adjustments brought or took since, at the same marks; `revaluation` is what the
    opening inventory gained from its opening marks to the given ones.
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
        flows: what strategies' fills added up to in earlier starts.
    """

    def __init__(
        self,
        outputs: Outputs,
        opening: Mapping[Place, Money],
        terms: Mapping[str, StrategyTerms],
        flows: Sequence[CarriedFlow] = (),
    ) -> None:
        self._outputs = outputs
        self._opening: dict[Place, int] = {place: int(opening[place]) for place in sorted(opening)}
        self._pots = {place: Pot(amount) for place, amount in self._opening.items()}
        self._budgets = {strategy: dict(mine.budget) for strategy, mine in terms.items()}
        self._carried = {(one.strategy, one.asset): one.amount for one in flows}
        self._shares: dict[tuple[str, str], Share] = {}
        self._tills: dict[tuple[str, str, str, str], Till] = {}
        self._holdings: dict[tuple[str, str, str], Holding] = {}
        self.opened_at = 0
        self._transfers: dict[str, int] = {}  # by name, what each changed so far
        self._transferred: dict[Place, int] = {}  # and adjusted
        self._strays: dict[Place, list[tuple[int, int]]] = {}  # what others may have changed, and when it was told

    def open_books(self, now: int) -> None:
        """Write the opening rows, in order of account, venue and asset; `now` is the time of the first input."""
        self.opened_at = now
        for (account, venue, asset), amount in self._opening.items():
            self._outputs.emit("ledger", (account, _NO_STRATEGY, venue, asset, amount, amount, "opening", None))

    def till(self, strategy: str, place: Place) -> Till:
        """The asset of an account on a venue as a strategy uses it: always the same one, to be kept by who posts to it."""
        account, venue, asset = place
        names = (account, strategy, venue, asset)
        till = self._tills.get(names)
        if till is None:
            new = Share(self._budgets.get(strategy, {}).get(asset), self._carried.get((strategy, asset), 0))
            share = self._shares.setdefault((strategy, asset), new)
            till = self._tills[names] = Till(names, self._pots.setdefault(place, Pot(0)), share)
        return till

    def post(self, till: Till, delta: int, cause: str, order: int | None) -> None:
        """A fill of an order, or its fee, changes a balance: a `ledger` row."""
        pot = till.pot
        pot.balance = after = pot.balance + delta
        till.share.flow += delta
        till.posted = True
        self._outputs.emit("ledger", till.names + (delta, after, cause, order))  # noqa: RUF005  # unpacking takes twice as long

    def transfer(self, name: str, place: Place, amount: int) -> None:
        """A deposit or withdrawal of that name has changed the balance by `amount` in all; what is new of it is a `ledger` row.

        It belongs to the account: no strategy's flow, and so no profit.
        """
        delta = amount - self._transfers.get(name, 0)
        if delta == 0:
            return
        self._transfers[name] = amount
        self._bring(place, delta, "transfer")

    def stray(self, place: Place, change: int, at: int) -> None:
        """What others did, as was told at a time (ns), may have changed a balance by so much beside what it opened with."""
        mine = self._strays.setdefault(place, [])
        mine.append((at, change))
        del mine[:-_STRAYS]

    def strayed(self, place: Place, since: int) -> tuple[int, int]:
        """The least (zero or less) and the most that what was told of others after a time explains of a difference."""
        changes = [change for at, change in self._strays.get(place, ()) if at > since]
        return sum(min(change, 0) for change in changes), sum(max(change, 0) for change in changes)

    def adjust(self, place: Place, delta: int) -> None:
        """The venue has so much more (negative: less) than we, and nothing says why: a `ledger` row, of the account as a transfer is.

        What others had done by then it has, or never will.
        """
        self._strays.pop(place, None)
        self._bring(place, delta, ADJUSTMENT)

    def charge(self, place: Place, delta: int, cause: str) -> None:
        """What no strategy of this start did costs the account something, or brings it."""
        self._bring(place, delta, cause)

    def _bring(self, place: Place, delta: int, cause: str) -> None:
        """Money of the account comes or goes, of no strategy's doing."""
        self._transferred[place] = self._transferred.get(place, 0) + delta
        pot = self._pots.setdefault(place, Pot(0))
        pot.balance += delta
        account, venue, asset = place
        self._outputs.emit("ledger", (account, _NO_STRATEGY, venue, asset, delta, pot.balance, cause, None))

    def capture(self) -> PortfolioCopy:
        """All money as plain values."""
        return PortfolioCopy(
            [(*place, pot.balance, pot.reserved) for place, pot in self._pots.items()],
            [(*names, till.posted) for names, till in self._tills.items()],
            [(*key, share.flow, share.reserved) for key, share in self._shares.items()],
            [(*key, held.qty, held.cost) for key, held in self._holdings.items()],
            self.opened_at,
            {**self._transfers},
            [(*place, amount) for place, amount in self._transferred.items()],
            strays_told=[(*place, *one) for place, mine in self._strays.items() for one in mine],
        )

    def restore(self, copy: PortfolioCopy) -> None:
        """Take over a copy; what opened is the setup's."""
        for account, strategy, venue, asset, posted in copy.tills:
            self.till(strategy, (account, venue, asset)).posted = posted
        self.opened_at, self._transfers = copy.opened_at, {**copy.transfers}
        self._transferred = {(account, venue, asset): amount for account, venue, asset, amount in copy.transferred}
        self._strays = {}
        for account, venue, asset, at, change in copy.strays_told:
            self._strays.setdefault((account, venue, asset), []).append((at, change))
        for account, venue, asset, balance, reserved in copy.pots:
            pot = self._pots.setdefault((account, venue, asset), Pot(0))
            pot.balance, pot.reserved = balance, reserved
        for strategy, asset, flow, reserved in copy.shares:
            share = self._shares[strategy, asset]
            share.flow, share.reserved = flow, reserved
        for strategy, asset, quote, qty, cost in copy.holdings:
            self._holdings[strategy, asset, quote] = Holding(qty, cost, quote)

    # --- what stands where

    def balance(self, place: Place) -> int:
        """Balance, reserved part included."""
        pot = self._pots.get(place)
        return 0 if pot is None else pot.balance

    def reserved(self, place: Place) -> int:
        """The part of the balance that orders on their way may take."""
        pot = self._pots.get(place)
        return 0 if pot is None else pot.reserved

    def free_of_account(self, place: Place) -> int:
        """What no order has reserved; negative when fills took more than was there."""
        return self.balance(place) - self.reserved(place)

    def free_of_budget(self, strategy: str, asset: str) -> int | None:
        """What the strategy's budget leaves of an asset, None where the budget does not name it."""
        share = self._shares.get((strategy, asset))
        if share is not None:
            return share.left
        allotted = self._budgets.get(strategy, {}).get(asset)
        return None if allotted is None else allotted + self._carried.get((strategy, asset), 0)

    # --- results

    def balances(self) -> dict[Place, int]:
        """All balances that were opened or ever changed, in order of account, venue and asset."""
        known = {
            *self._opening,
            *self._transferred,
            *((account, venue, asset) for (account, _, venue, asset), t in self._tills.items() if t.posted),
        }
        return {place: self._pots[place].balance for place in sorted(known)}

    def balances_at(self, account: str, venue: str) -> dict[str, int]:
        """The same of one account at one venue, by asset."""
        return {place[2]: amount for place, amount in self.balances().items() if place[:2] == (account, venue)}

    def flows(self, strategy: str) -> dict[str, int]:
        """What the strategy's fills changed, fees included, by asset: its realised trading result, asset by asset."""
        mine = sorted({t.asset for t in self._tills.values() if t.posted and t.names[1] == strategy})
        return {asset: self._shares[strategy, asset].flow for asset in mine}

    def changes(self, strategy: str) -> list[tuple[str, int]]:
        """(asset, what the strategy's fills changed of it in this start, fees included), in no order that means anything."""
        return [(asset, share.flow) for (owner, asset), share in self._shares.items() if owner == strategy]

    def flow(self, strategy: str, asset: str) -> int:
        """What the strategy's fills changed in one asset, fees included, all starts together."""
        share = self._shares.get((strategy, asset))
        return self._carried.get((strategy, asset), 0) + (0 if share is None else share.flow)

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
        equity = _worth(self.balances(), account, marks)
        opening = _worth(self._opening, account, marks)
        brought = _worth(self._transferred, account, marks)
        return Valuation(equity, opening, equity - opening - brought, opening - _worth(self._opening, account, opening_marks))


def _worth(balances: Mapping[Place, int], account: str, marks: Mapping[str, int]) -> int:
    totals: dict[str, int] = {}
    for (owner, _, asset), amount in balances.items():
        if owner == account and amount:
            totals[asset] = totals.get(asset, 0) + amount
    return sum(amount * marks[asset] // MONEY_ONE for asset, amount in totals.items())
