"""Where the money of a swap or a cycle on a chain comes from: what each way costs, which is expected to leave most, and why others are refused.

All amounts are integers in smallest units of the token that goes in first, but what is named wei. Premiums and balances are what the chain
said; gas is what was measured of each way. Costs round up, gains round down.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Final, Literal

import msgspec

Way = Literal["callback", "wallet", "balancer", "flash", "aave"]
Wish = Literal["auto", "wallet", "callback", "flashloan"]
WAYS: Final[tuple[Way, ...]] = (
    "callback",
    "wallet",
    "balancer",
    "flash",
    "aave",
)  # of two that leave as much the earlier one is taken
LOANS: Final[tuple[Way, ...]] = ("balancer", "flash", "aave")
WISHES: Final[Mapping[Wish, tuple[Way, ...]]] = {"auto": WAYS, "wallet": ("wallet",), "callback": ("callback",), "flashloan": LOANS}
WAD: Final = 10**18
PPM: Final = 1_000_000
Gas = Annotated[int, msgspec.Meta(ge=0, le=30_000_000)]


class GasUse(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Gas that a way takes: with two hops, for each hop more or less and each tick crossed, and how much more when two hops revert at their end."""

    two_hops: Gas
    hop: Gas
    tick: Gas
    revert: Gas

    def of(self, hops: int, ticks: int) -> int:
        """Of a cycle or a path that comes to its end."""
        return self.two_hops + self.hop * (hops - 2) + self.tick * ticks

    def more_of_revert(self, hops: int) -> int:
        """How much more one takes that reverts at its end: what writing in vain would have been given back for."""
        return -(-self.revert * hops // 2)


# Most that was measured on the local chain with our executor, over v2 and v3 pools in any order (tests/chain/test_gas.py holds it to that). A v2 pool
# that nobody used in this block writes its cumulative prices, some 20,000 more, which is in it; a tick costs the four words that it turns over.
MEASURED: Final[Mapping[Way, GasUse]] = {
    "callback": GasUse(two_hops=184_000, hop=95_000, tick=65_000, revert=25_000),
    "wallet": GasUse(two_hops=176_000, hop=95_000, tick=65_000, revert=25_000),
    "balancer": GasUse(two_hops=212_000, hop=95_000, tick=65_000, revert=30_000),
    "flash": GasUse(two_hops=220_000, hop=95_000, tick=65_000, revert=27_000),
    "aave": GasUse(two_hops=298_000, hop=95_000, tick=65_000, revert=45_000),
}


# The same of a path of own tokens into another one, of one hop or more (tests/chain/test_paths.py), with the 17,100 that the first units of a token
# take which the executor has none of.
PATH: Final = GasUse(two_hops=212_500, hop=85_000, tick=65_000, revert=25_000)


class Loan(msgspec.Struct, frozen=True, kw_only=True):
    """Who lends and for what: `premium_wad` is the share of 10**18 that the chain says it takes, `available` what it has of the token.

    Either is None where the chain was not asked, or did not say.
    """

    way: Way
    lender: str
    premium_wad: int | None
    available: int | None

    def premium(self, amount: int) -> int:
        """What a loan costs at most: lenders round to the nearest or up."""
        assert self.premium_wad is not None
        return -(-amount * self.premium_wad // WAD)


def lender_of(loans: Iterable[Loan], way: Way, lender: str) -> Loan | None:
    """The loan of a lender, None where it lends nothing."""
    return next((one for one in loans if one.way == way and one.lender == lender), None)


class LoanTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What a person says that a lender lends of a token, `available` in 10**-18 of a whole one, and for which share of 10**18."""

    way: Way
    lender: str
    token: str
    premium_wad: int
    available: int


class Need(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be paid for.

    Attributes:
        amount: what goes into the first pool.
        profit: what comes out beyond it, before any premium and gas.
        pools: addresses in order, lower case.
        ticks: crossed on the way, as far as known.
        is_atomic: every leg is in the one transaction.
        success_ppm: how likely it comes about as computed, in millionths.
        slip_ppm: how much of what it should earn may be lost before the contract undoes it.
        min_net: least that is to be expected, after everything.
    """

    amount: int
    profit: int
    pools: tuple[str, ...]
    ticks: int
    is_atomic: bool
    success_ppm: int
    slip_ppm: int
    min_net: int


class Purse(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to pay with: `balance` of the token that nothing else is going to use, and loans, of one kind any number."""

    balance: int
    loans: tuple[Loan, ...] = ()


class GasPrice(msgspec.Struct, frozen=True, kw_only=True):
    """What gas costs now.

    Attributes:
        base_fee_wei: of the next block.
        tip_wei: what the builder gets for each gas beside it.
        cap_wei: most that is paid for each gas, both together.
        worth: so many smallest units of the token for so many wei.
        pays_reverts: a revert is mined and paid for, as it is in public; a relay leaves it out.
    """

    base_fee_wei: int
    tip_wei: int
    cap_wei: int
    worth: tuple[int, int]
    pays_reverts: bool

    def cost(self, gas: int) -> int:
        """In units of the token."""
        units, wei = self.worth
        return -(-gas * (self.base_fee_wei + self.tip_wei) * units // wei)


class Funded(msgspec.Struct, frozen=True, kw_only=True):
    """A way that can be taken: what it costs, what is expected of it, and what the contract is to insist on."""

    way: Way
    lender: str
    premium: int
    gas: int
    gas_cost: int
    net: int
    min_profit: int


class Unfunded(msgspec.Struct, frozen=True, kw_only=True):
    """A way that cannot be taken, or is not worth it. `value` and `bound`: what was found and what it would have to be, where there are such.

    Reasons: not_atomic, balance, no_lender, premium_unknown, depth_unknown, lender_depth, lender_in_cycle, gas_unknown, fee_cap,
    unprofitable.
    """

    way: Way
    lender: str
    reason: str
    value: int | None = None
    bound: int | None = None


class Financing(msgspec.Struct, frozen=True, kw_only=True):
    """The way that is expected to leave most, None if none is good enough; and what speaks against the others that were asked for."""

    taken: Funded | None
    refused: tuple[Unfunded, ...]


def financing(wish: Wish, need: Need, purse: Purse, *, price: GasPrice, gas: Mapping[Way, GasUse]) -> Financing:
    """Choose where the money comes from.

    What is expected: the likelihood of success times (profit less premium), less gas, less the unlikelihood times what a revert costs more.
    Where reverts are left out of blocks, gas is paid on success alone.

    Args:
        wish: which ways come into question.
        need: what is to be paid for.
        purse: what there is.
        price: of gas.
        gas: of each way; one that is left out is refused.
    """
    refused: list[Unfunded] = []
    funded: list[Funded] = []
    for way in WISHES[wish]:
        for loan in _loans(way, purse):
            found = _against(way, loan, need, purse) or _funded(way, loan, need, price=price, use=gas.get(way))
            if isinstance(found, Funded) and found.net < need.min_net:
                found = _no(found.way, loan, "unprofitable", found.net, need.min_net)
            if isinstance(found, Funded):
                funded.append(found)
            else:
                refused.append(found)
    best = max(funded, key=lambda one: one.net, default=None)  # of equals the first
    return Financing(taken=best, refused=tuple(refused))


def _loans(way: Way, purse: Purse) -> Sequence[Loan | None]:
    """The loans of a way; None stands for the way itself where nobody lends, or nobody is known."""
    mine = [loan for loan in purse.loans if loan.way == way]
    return mine or [None]


def _against(way: Way, loan: Loan | None, need: Need, purse: Purse) -> Unfunded | None:
    """What speaks against a way, whatever it costs."""
    if way == "wallet":
        return _no(way, None, "balance", purse.balance, need.amount) if purse.balance < need.amount else None
    if not need.is_atomic:
        return _no(way, loan, "not_atomic")
    if way == "callback":
        return None
    if loan is None:
        return _no(way, None, "no_lender")
    if loan.lender.lower() in need.pools:  # its lock is taken while it lends
        return _no(way, loan, "lender_in_cycle")
    if loan.premium_wad is None:
        return _no(way, loan, "premium_unknown")
    if loan.available is None:
        return _no(way, loan, "depth_unknown")
    if loan.available < need.amount:
        return _no(way, loan, "lender_depth", loan.available, need.amount)
    return None


def _funded(way: Way, loan: Loan | None, need: Need, *, price: GasPrice, use: GasUse | None) -> Funded | Unfunded:
    """A way with what it costs."""
    if use is None:
        return _no(way, loan, "gas_unknown")
    if price.base_fee_wei + price.tip_wei > price.cap_wei:
        return _no(way, loan, "fee_cap", price.base_fee_wei + price.tip_wei, price.cap_wei)
    premium = 0 if loan is None else loan.premium(need.amount)
    kept = need.profit - premium
    units = use.of(len(need.pools), need.ticks)
    gas_cost = price.cost(units)
    if price.pays_reverts:
        unlikely = PPM - need.success_ppm
        net = need.success_ppm * kept // PPM - gas_cost - -(-unlikely * price.cost(use.more_of_revert(len(need.pools))) // PPM)
    else:
        net = need.success_ppm * (kept - gas_cost) // PPM
    least = -(-kept * (PPM - need.slip_ppm) // PPM)
    return Funded(
        way=way,
        lender="" if loan is None else loan.lender,
        premium=premium,
        gas=units,
        gas_cost=gas_cost,
        net=net,
        min_profit=max(least, 0 if price.pays_reverts else gas_cost, 0),
    )


def _no(way: Way, loan: Loan | None, reason: str, value: int | None = None, bound: int | None = None) -> Unfunded:
    return Unfunded(way=way, lender="" if loan is None else loan.lender, reason=reason, value=value, bound=bound)
