"""The rebalance verb: from what lies where to a plan of transfers. It reads, and sends nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from xarb.inquiry.sections import Section, amount, bps
from xarb.model.units import PPB, ceil_div
from xarb.settings import ratio_of
from xarb.verbs.inventory import Holdings, Inventory
from xarb.verbs.rebalance.networks import Network, completed, of_wallets, unusable, ways_of
from xarb.verbs.rebalance.transport import Problem, Transfer, cheapest


class Rebalance(NamedTuple):
    """A plan.

    Attributes:
        sections: the transfers with their cost, and the networks that were considered.
        troubles: a sentence for each asset that no transfers bring back, and for what a person must look at first.
    """

    sections: list[Section]
    troubles: list[str]


def rebalance(found: Inventory, *, table: Sequence[Network] = (), told: Sequence[Network] = ()) -> Rebalance:
    """The cheapest transfers that bring all balances into their bands, account by account and asset by asset.

    Args:
        found: what lies where.
        table: what a person's table says of networks.
        told: what exchanges said just now, in place of the log's `wallets` rows of the same venue and asset.
    """
    fresh = {(one.venue, one.asset) for one in told}
    logged = [one for one in of_wallets(found.wallets, "log") if (one.venue, one.asset) not in fresh]
    known = completed([*told, *logged], table)
    rows: list[tuple[Any, ...]] = []
    troubles = [
        f"{row['asset']} of {row['account']} at {row['venue']}: a transfer of {amount(row['qty'])} is {row['status']}; plan when it has ended"
        for row in found.pending
    ]
    costs: dict[str, int] = {}
    considered: list[Network] = []
    for one in found.holdings:
        if not any(abs(drift) > one.band for drift in one.drifts.values()):
            continue
        networks = [network for network in known if network.asset == one.asset and network.venue in one.shares]
        considered += [network for network in networks if network not in considered]
        answer = cheapest(
            Problem(
                {venue: one.balances[venue] for venue in one.shares},
                {venue: one.free[venue] for venue in one.shares},
                one.shares,
                ratio_of(found.inventory.band_bps),
                ways_of(networks),
            )
        )
        if answer.transfers is None:
            troubles.append(f"{one.asset} of {one.account}: no plan: {answer.why}")
            continue
        for transfer in answer.transfers:
            rows.append(_row(one, transfer, networks))
            worth = one.worth(transfer.way.fee)
            key = one.asset if worth is None else one.currency
            costs[key] = costs.get(key, 0) + (transfer.way.fee if worth is None else worth)
    return Rebalance([_plan(rows, found), _cost(costs), _networks(considered)], troubles)


def _row(one: Holdings, transfer: Transfer, networks: Sequence[Network]) -> tuple[Any, ...]:
    way, away = transfer.way, one.drifts
    share_ppb = ceil_div(way.fee * PPB, transfer.amount)
    note = f"{way.source} {_lies(away[way.source])}, {way.to} {_lies(away[way.to])}"
    ends = ((way.source, "withdraw_open", "withdrawals"), (way.to, "deposit_open", "deposits"))
    for venue, name, what in ends:
        mine = next(network for network in networks if (network.venue, network.network) == (venue, way.network))
        if getattr(mine, name) is None:
            note += f"; not known whether {what} at {venue} are open"
    return (
        one.account,
        one.asset,
        way.source,
        way.to,
        way.network,
        amount(transfer.amount),
        amount(way.fee),
        amount(transfer.arrives),
        amount(one.worth(way.fee)),
        one.currency or None,
        bps(share_ppb),
        way.minutes,
        note,
    )


def _lies(drift: int) -> str:
    return f"has {amount(drift)} too much" if drift > 0 else f"has {amount(-drift)} too little" if drift < 0 else "is on target"


def _plan(rows: Sequence[tuple[Any, ...]], found: Inventory) -> Section:
    head = (
        "account",
        "asset",
        "from",
        "to",
        "network",
        "amount",
        "fee",
        "arrives",
        "fee_worth",
        "currency",
        "fee_bps",
        "minutes",
        "why",
    )
    return Section("plan", f"Transfers to make by hand, for {found.title}; amounts leave with the fee in them", head, rows)


def _cost(costs: dict[str, int]) -> Section:
    rows = [(currency, amount(total)) for currency, total in sorted(costs.items())]
    return Section("cost", "What the plan costs; an asset that nothing prices stands for itself", ("currency", "fees"), rows)


def _networks(considered: Sequence[Network]) -> Section:
    rows = [
        (
            one.asset,
            one.venue,
            one.network,
            _state(is_open=one.deposit_open),
            _state(is_open=one.withdraw_open),
            amount(one.fee),
            amount(one.least),
            amount(one.step),
            one.minutes,
            unusable(one),
            one.source,
        )
        for one in considered
    ]
    head = ("asset", "venue", "network", "deposits", "withdrawals", "fee", "minimum", "step", "minutes", "not_used", "source")
    return Section("networks", "Networks that were considered", head, rows)


def _state(*, is_open: bool | None) -> str | None:
    return None if is_open is None else "open" if is_open else "suspended"
