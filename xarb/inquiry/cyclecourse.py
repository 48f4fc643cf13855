"""Cycles on chains in a course, by the blocks that they were decided on: what was planned, what was expected, and what its receipt says."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from xarb.inquiry.chainblocks import Blocks, Header
from xarb.inquiry.decided import Decided

KIND: Final = "dex_dex"  # of strategies whose orders are cycles on chains
_LAST: Final = "final"  # says nothing new of what became of it
Flow = dict[str, int]
Market = tuple[str, str]


class Cycle(NamedTuple):
    """One cycle and what became of it.

    Attributes:
        number, bundle: as they count on its side.
        venue, account, strategy: whose.
        pools: in order.
        block: upon which it was decided.
        ts: when, ns.
        plan: hops, what pays with who lends for what, amount, least profit, channel.
        bid: what is expected in the end, the highest bid for each gas, and most gas.
        state, reason: its last state before it was final.
        included: the block that holds it, None where none does.
        profit, gas_used, price_wei: of the receipt.
        made, gas: what the ledger says that it changed, by asset: profit, and gas.
        canceled: when it was asked to be canceled, ns.
    """

    number: int
    bundle: int
    venue: str
    account: str
    strategy: str
    pools: tuple[str, ...]
    block: Header
    ts: int
    plan: tuple[Any, ...]
    bid: tuple[int, int, int]
    state: str
    reason: str | None
    included: int | None
    profit: int | None
    gas_used: int | None
    price_wei: int | None
    made: Flow
    gas: Flow
    canceled: tuple[int, ...]

    @property
    def outcome(self) -> tuple[Any, ...]:
        """What became of it, gas apart; blocks are counted from the one it was decided upon."""
        after = None if self.included is None else self.included - self.block.number
        reason = self.reason if self.state == "refused" else None
        return (self.state, reason, after, self.profit)

    @property
    def flow(self) -> Flow:
        """What it changed."""
        return {asset: self.made.get(asset, 0) + self.gas.get(asset, 0) for asset in {**self.made, **self.gas}}


class Choice(NamedTuple):
    """A decision on a cycle that earned: `edge_ppb` as it was seen, and the cycle that was sent."""

    block: Header
    ts: int
    n: int  # its place among the outputs of the same input
    verdict: str
    reason: str | None
    edge_ppb: int | None
    cycle: Cycle | None


class Chance(NamedTuple):
    """A cycle that earned, from one block to another; `closed` is None while it stands."""

    number: int
    strategy: str
    markets: tuple[Market, ...]
    opened: tuple[Header, int]
    closed: tuple[Header, str, int] | None
    choices: tuple[Choice, ...]


def cycles_of(decided: Decided, blocks: Mapping[str, Blocks]) -> dict[int, Cycle]:
    """The cycles of a side by bundle, in the order of their numbers.

    Args:
        decided: the side.
        blocks: of it, by chain.
    """
    states: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in decided.rows("cycle_states"):
        states[row["order"]].append(row)
    made: defaultdict[int, Flow] = defaultdict(dict)
    gas: defaultdict[int, Flow] = defaultdict(dict)
    for row in decided.rows("ledger", ("cause", "in", ["cycle", "gas"])):
        if row["order"] is not None:
            flow = (gas if row["cause"] == "gas" else made)[row["order"]]
            flow[row["asset"]] = flow.get(row["asset"], 0) + row["delta"]
    wishes = decided.rows("cycles")
    found = {}
    for row in wishes:
        if row["kind"] == "submit" and row["token_out"] is None:
            number = row["order"]
            last = next(state for state in reversed(states[number]) if state["state"] != _LAST)
            canceled = tuple(one["ts"] for one in wishes if one["kind"] == "cancel" and one["order"] == number)
            found[row["bundle"]] = _cycle(row, last, blocks, (made[number], gas[number]), canceled)
    return found


def _cycle(
    row: Mapping[str, Any],
    last: Mapping[str, Any],
    blocks: Mapping[str, Blocks],
    flows: tuple[Flow, Flow],
    canceled: tuple[int, ...],
) -> Cycle:
    block = blocks[row["venue"]].at(row["after_seq"])
    assert block is not None, "it was decided upon one"
    cost, used = last["gas_cost_wei"], last["gas_used"]
    funded = f"{row['funding']} {row['lender']} for {row['premium']}" if row["lender"] else row["funding"]
    return Cycle(
        number=row["order"],
        bundle=row["bundle"],
        venue=row["venue"],
        account=row["account"],
        strategy=row["strategy"],
        pools=tuple(hop.split()[1] for hop in row["hops"].split(", ")),
        block=block,
        ts=row["ts"],
        plan=(row["hops"], funded, row["amount"], row["min_profit"], row["channel"]),
        bid=(int(row["expected_net"]), int(row["ceiling_wei"]), row["gas_limit"]),
        state=last["state"],
        reason=last["reason"],
        included=last["block_number"],
        profit=None if last["profit"] is None else int(last["profit"]),
        gas_used=used,
        price_wei=int(cost) // used if cost is not None and used else None,
        made=flows[0],
        gas=flows[1],
        canceled=canceled,
    )


def chances_of(
    opportunities: Iterable[tuple[tuple[Market, ...], Sequence[Mapping[str, Any]]]],
    blocks: Mapping[str, Blocks],
    cycles: Mapping[int, Cycle],
) -> list[Chance]:
    """The opportunities of strategies over pools.

    Args:
        opportunities: the markets of each, and its rows in order.
        blocks: of the side, by chain.
        cycles: by bundle.
    """
    return [_chance(rows, markets, blocks, cycles) for markets, rows in opportunities]


def _chance(
    rows: Sequence[Mapping[str, Any]], markets: tuple[Market, ...], blocks: Mapping[str, Blocks], cycles: Mapping[int, Cycle]
) -> Chance:
    mine = blocks[markets[0][0]]

    def at(row: Mapping[str, Any]) -> Header:
        found = mine.at(row["after_seq"])
        assert found is not None, "strategies over pools are woken by blocks"
        return found

    first, ends = rows[0], [row for row in rows if row["phase"] == "closed"]
    choices = tuple(
        Choice(at(row), row["ts"], row["n"], row["verdict"], row["reason"], row["edge_ppb"], cycles.get(row["bundle"]))
        for row in rows
        if row["phase"] == "decided"
    )
    return Chance(
        number=first["opportunity"],
        strategy=first["strategy"],
        markets=markets,
        opened=(at(first), first["edge_ppb"]),
        closed=(at(ends[0]), ends[0]["reason"], ends[0]["best_edge_ppb"]) if ends else None,
        choices=choices,
    )
