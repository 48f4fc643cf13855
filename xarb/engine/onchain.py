"""Cycles and paths of ours on chains: sent, followed by what is said of their transactions, and money once a receipt says so.

A path has a bundle with an order that hedges it, which execution looks after: it is told what receipts say. A path of which no block came to
hold it until its deadline is given up.

What earlier starts sent is followed as what this one sends, but that its numbers are below zero.

Receipts are the only fills. What one changes is posted as `ledger` rows, and posted back with the other sign where its block is gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from xarb.engine.atomic import AtomicRules, Cycle, Ways
from xarb.engine.bookings import RECEIPTS, Booked, follow
from xarb.engine.captured import OnChainCopy
from xarb.engine.chains import Chains
from xarb.engine.cycle_rows import CycleRows
from xarb.engine.execution import Execution
from xarb.engine.hedged import Hedged, HedgedRules
from xarb.engine.outputs import Outputs
from xarb.engine.portfolio import release, reserve
from xarb.engine.receipts import GAS, SWAP, Receipts
from xarb.engine.risk import Risk
from xarb.engine.rules import Market, Refusal
from xarb.engine.sentcycle import Path, SentCycle, restored_cycle
from xarb.engine.setup import Setup
from xarb.engine.side import BUY
from xarb.engine.strategy import AtomicPlan, SwapPlan
from xarb.engine.swap import DONE, NOTHING, REORGED, Changed
from xarb.model.command import AnyCommand, CancelCycle, ChainCommand, Command, CycleReport, SwapCycle, SwapPath
from xarb.model.event import SlowRow
from xarb.model.order import CYCLE_LIFE, advance
from xarb.model.units import NANOS_PER_S

_ENDS: Final = ("refused", "final")  # states behind which nothing is told of a cycle
SIMULATION: Final = "simulation"  # the reason of a refusal: upon the latest block it would have reverted


class OnChain:
    """Owns the cycles of all strategies.

    Args:
        market: instruments and the time.
        chains: pools, and the decimals of their tokens.
        outputs: where rows go.
        execution: counts bundles and orders, and knows where money is.
        risk: limits and breakers.
        setup: what this start is.
    """

    def __init__(self, market: Market, chains: Chains, outputs: Outputs, *, execution: Execution, risk: Risk, setup: Setup) -> None:
        self._market, self._chains, self._rows = market, chains, CycleRows(outputs)
        self._execution, self._portfolio = execution, execution.portfolio
        self._desks, self._breakers = risk.desks, risk.breakers
        ways = Ways(market, chains, setup)
        self._rules, self._hedged = AtomicRules(ways, risk, setup), HedgedRules(market, ways, risk, setup)
        self._terms = setup.chains
        self._decimals = {(one.venue, token): decimals for one in setup.cycles for token, decimals in one.decimals.items()}
        self._receipts = Receipts(setup.start, {venue: one.native for venue, one in setup.chains.items()}, self._decimals_of)
        self._cycles: dict[int, SentCycle] = {}
        self._take_up(setup)

    # --- of earlier starts

    def _take_up(self, setup: Setup) -> None:
        """Follow what earlier starts sent; what may still be included counts at once."""
        pools = {(one.venue, one.symbol): number for number, one in enumerate(setup.instruments)}
        numbers: dict[tuple[int, int], int] = {}
        for carried in setup.cycles:
            desk = self._desks.get(carried.strategy)
            is_ours = desk is not None and desk.account == carried.account and carried.venue in setup.chains
            place = self._execution.take_up(carried) if is_ours else None
            if desk is None or place is None:
                continue  # nobody goes on with it: what its receipts change is the account's
            hold = tuple([(desk.till(carried.venue, asset), amount) for asset, amount in carried.hold])
            instruments = tuple(sorted(pools[carried.venue, pool] for pool in carried.pools))
            names = (*place, carried.client_order_id)
            one = SentCycle(names, desk, carried.venue, hold=hold, instruments=instruments)
            one.state, one.tx_hash = carried.state, carried.tx_hash
            if (path := carried.path) is not None:
                one.path = Path((path.token_in, path.token_out), gives_base=path.gives_base, deadline_s=carried.deadline_s)
            one.hold = hold if one.is_open else ()
            reserve(one.hold)
            desk.open_bundles += one.is_open and one.path is None
            self._cycles[one.number] = one
            numbers[carried.start, carried.order] = one.number
        self._receipts.take_up(setup.transactions, numbers)

    def open_books(self) -> None:
        """Write what was taken up of earlier starts; what never left is over."""
        for one in [*self._cycles.values()]:
            self._rows.carried(one)
            if one.state in _ENDS:
                del self._cycles[one.number]

    def _decimals_of(self, venue: str, token: str) -> int | None:
        """Decimals of a token: by its pools, and before those are known by what was sent."""
        found = self._chains.decimals(venue, token)
        return self._decimals.get((venue, token)) if found is None else found

    # --- out

    def submit(self, plan: AtomicPlan, strategy: str, opportunity: int | None) -> tuple[Sequence[AnyCommand], int | None]:
        """The command and the bundle's number; without a number risk refused it, and a `refusals` row says why."""
        desk = self._desks[strategy]
        approved = self._execution.losses.weigh(desk) or self._rules.approve(plan, desk)
        if isinstance(approved, Refusal):
            self._execution.refuse(approved, desk, opportunity)
            return self._execution.take(), None
        names = self._execution.begin_cycle()
        one = SentCycle(names, desk, plan.venue, hold=approved.hold, instruments=approved.instruments)
        desk.begin()
        self._begin(one, approved)
        command = SwapCycle(
            **self._asked(one, plan, approved),
            funding=plan.funding,
            lender=plan.lender,
            min_profit=plan.min_profit,
        )
        self._rows.cycle(command, plan, approved, opportunity)
        self._rows.state(one, None, None)
        return [command], one.bundle

    def submit_path(self, plan: SwapPlan, strategy: str, opportunity: int | None) -> tuple[Sequence[AnyCommand], int | None]:
        """The commands of a path, and of its hedge if that does not wait, with the bundle's number; without one risk refused it."""
        desk = self._desks[strategy]
        approved = self._execution.losses.weigh(desk) or self._hedged.approve(plan, desk, self._execution.working)
        if isinstance(approved, Refusal):
            self._execution.refuse(approved, desk, opportunity)
            return self._execution.take(), None
        names = self._execution.begin_swap(desk, approved, opportunity=opportunity, sequence=plan.sequence)
        one = SentCycle(names, desk, plan.venue, hold=approved.hold, instruments=approved.instruments)
        one.path = Path(approved.tokens, gives_base=approved.swap.sign == BUY, deadline_s=plan.deadline_s)
        self._begin(one, approved)
        command = SwapPath(
            **self._asked(one, plan, approved),
            token_out=approved.tokens[1],
            min_out=plan.min_out,
        )
        self._rows.path(command, plan, approved, opportunity)
        self._rows.state(one, None, None)
        return [command, *self._execution.take()], one.bundle

    def _asked(self, one: SentCycle, plan: AtomicPlan | SwapPlan, approved: Cycle | Hedged) -> dict[str, Any]:
        """What commands for cycles and for paths have alike; no more is bid than the chain's terms allow."""
        return {
            "ts": self._market.now,
            "order": one.number,
            "client_order_id": one.client_id,
            "account": one.desk.account,
            "strategy": one.desk.strategy,
            "venue": one.venue,
            "bundle": one.bundle,
            "hops": approved.hops,
            "amount": plan.amount,
            "deadline_s": plan.deadline_s,
            "channel": plan.channel,
            "gas_limit": plan.gas_limit,
            "ceiling_wei": min(plan.ceiling_wei, self._terms[one.venue].max_fee_wei),
        }

    def _begin(self, one: SentCycle, approved: Cycle | Hedged) -> None:
        """It leaves: what it counts as, and what is reserved for it."""
        self._cycles[one.number] = one
        self._breakers.began_cycle(one.bundle, (one.desk.account, one.venue))
        one.desk.count_order(self._market.now)
        one.desk.volumes.count(approved.planned.where, approved.planned.value)
        reserve(one.hold)

    def on_block(self, venue: str) -> list[ChainCommand]:
        """Cancels of paths whose deadline the newest block of a chain is past: its contract does nothing any more but cost gas."""
        block = self._chains.block(venue)
        if block is None or block.ts_event is None:
            return []
        found: list[ChainCommand] = []
        for one in self._cycles.values():
            path = one.path
            if path is None or path.given_up or not one.is_open or one.venue != venue:
                continue
            if block.ts_event > path.deadline_s * NANOS_PER_S:
                found.append(self._cancel(one))
        return found

    def give_up(self, bundles: list[int]) -> list[ChainCommand]:
        """Cancels of the swaps of some bundles, where they may still be included and nobody asked for that yet; the list is empty then."""
        paths = [one for one in self._cycles.values() if one.bundle in bundles and one.path is not None and one.is_open]
        bundles.clear()
        return [self._cancel(one) for one in paths if one.path is not None and not one.path.given_up]

    def cancel_all(self) -> list[ChainCommand]:
        """Cancels of every cycle that may still be included."""
        return [self._cancel(one) for one in self._cycles.values() if one.is_open]

    def _cancel(self, one: SentCycle) -> CancelCycle:
        if one.path is not None:
            one.path.given_up = True
        self._rows.cancel(one)
        return CancelCycle(
            ts=self._market.now,
            order=one.number,
            client_order_id=one.client_id,
            account=one.desk.account,
            strategy=one.desk.strategy,
            venue=one.venue,
        )

    # --- in

    def read(self, row: SlowRow) -> CycleReport | None:
        """As `Receipts.read`; what it has of others only explains a difference of balances."""
        if row.kind == "receipts" and row.values["tx_hash"] not in self._receipts.mine:
            self._stray(self._receipts.receipt(row, None))
            return None
        return self._receipts.read(row)

    def _stray(self, report: CycleReport) -> None:
        """A transaction of an earlier start that was not taken up: whether the opening balances have it, nobody knows."""
        for venue, asset, change, _ in self._receipts.posts(report, None, if_known=True) if report.event in RECEIPTS else ():
            self._portfolio.stray((report.account, venue, asset), change, report.ts)

    def apply(self, report: CycleReport) -> list[Command]:
        """Apply what became of a transaction: money first, then the state of its cycle; the commands that follow for a path's hedge.

        Raises:
            InvariantBroken: the cycle's life knows no such change.
            LogError: a cycle succeeded without a profit in a token that is known, or on a chain that is not.
        """
        one = None if report.order is None else self._cycles.get(report.order)
        changes = self._receipts.take(report, None if one is None else one.path)
        for event, change in follow(one, report, changes):
            if change is not None:
                self._post(*change)
            if one is not None and event is not None:
                told = (
                    report if event != REORGED else msgspec.structs.replace(report, event=event, block_number=None, block_hash=None)
                )
                self._move(one, told, NOTHING if change is None else self._change(one, *change))
        if one is not None and one.state in _ENDS:
            del self._cycles[one.number]
        return self._execution.take()

    def _change(self, one: SentCycle, booked: Booked, sign: int) -> Changed:
        """What a path's receipt changes for its bundle, or, with the sign turned, takes back; that of a revert is gas alone."""
        swapped = {asset: sign * change for _, asset, change, cause in booked.posts if cause == SWAP}
        gas = {asset: sign * change for _, asset, change, cause in booked.posts if cause == GAS}
        if one.path is None or not swapped:
            return Changed(None, gas)
        paid, got = swapped[one.path.token_in], swapped[one.path.token_out]
        return Changed((got, paid) if one.path.gives_base else (paid, got), gas)

    def _post(self, booked: Booked, sign: int) -> None:
        account, strategy, order = booked.mine
        desk = self._desks.get(strategy)
        for venue, asset, change, cause in booked.posts:
            if desk is None or desk.account != account:
                self._portfolio.charge((account, venue, asset), sign * change, cause)
            else:
                self._portfolio.post(desk.till(venue, asset), sign * change, cause, order)

    # --- states

    def _move(self, one: SentCycle, report: CycleReport, change: Changed = NOTHING) -> None:
        """Advance a cycle; a new state is a row, and the end of what may be included is the end of its bundle, if that has nothing else."""
        before, was_open = one.state, one.is_open
        one.state = advance(CYCLE_LIFE, before, report.event)
        if one.state == before:
            return
        self._rows.state(one, before, report)
        key = (one.desk.account, one.venue)
        if was_open and not one.is_open:
            release(one.hold)
            one.hold = ()
            if report.reason != SIMULATION:  # the market moved on: nobody failed
                self._breakers.heard_cycle(key, one.bundle, earned=one.state == "succeeded")
            if one.path is None:
                one.desk.open_bundles -= 1
                self._breakers.ended(one.bundle)
                one.desk.cool(one.instruments)
        elif one.is_open and not was_open:
            one.hold = one.most
            reserve(one.hold)
            one.desk.open_bundles += one.path is None
        if one.path is not None and (change.swapped is not None or one.is_open is not was_open):
            self._execution.on_swap(one.bundle, REORGED if one.is_open else DONE, change)
        if report.event not in ("sent", "unknown", "final"):
            self._execution.losses.tell(one.desk)

    # --- over checkpoints

    def capture(self) -> OnChainCopy:
        """All of it as plain values."""
        return OnChainCopy([one.capture() for one in self._cycles.values()], *self._receipts.capture())

    def restore(self, copy: OnChainCopy) -> None:
        """Take over a copy; what is reserved is the portfolio's already."""
        self._cycles = {one.number: restored_cycle(one, self._desks[one.strategy]) for one in copy.cycles}
        self._receipts.restore(copy.booked, copy.mine)
