"""Cycles and paths of ours on chains: sent, followed by what is said of their transactions, and money once a receipt says so.

A path has a bundle with an order that hedges it, which execution looks after: it is told what receipts say. A path of which no block came to
hold it until its deadline is given up.

Receipts are the only fills. What one changes is posted as `ledger` rows, and posted back with the other sign where its block is gone. A
transaction that takes a nonce back, or that an earlier start sent, costs gas too: the first is booked to whom it was for, the second may be in the
opening balances already and only explains a difference from the chain's.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from xarb.engine.atomic import AtomicRules, Cycle, Ways
from xarb.engine.captured import BookedCopy, OnChainCopy, PathCopy, SentCycleCopy
from xarb.engine.chains import Chains
from xarb.engine.desk import Desk
from xarb.engine.execution import Execution
from xarb.engine.hedged import Hedged, HedgedRules
from xarb.engine.outputs import Outputs
from xarb.engine.portfolio import Hold, release, reserve
from xarb.engine.risk import Risk
from xarb.engine.rules import Market, Refusal
from xarb.engine.setup import Setup
from xarb.engine.side import BUY
from xarb.engine.strategy import AtomicPlan, SwapPlan
from xarb.engine.swap import DONE, REORGED
from xarb.errors import LogError
from xarb.model.command import AnyCommand, CancelCycle, ChainCommand, Command, CycleReport, SwapCycle, SwapPath, hops_text
from xarb.model.event import SlowRow
from xarb.model.order import CYCLE_LIFE, CYCLE_OPEN, advance
from xarb.model.units import MONEY_SCALE, NANOS_PER_S

KINDS: Final = ("transactions", "receipts")
SIMULATION: Final = "simulation"  # the reason of a refusal: upon the latest block it would have reverted
CYCLE: Final = "cycle"
GAS: Final = "gas"
SWAP: Final = "swap"
_TRADES: Final = ("trade", "replacement")
_TOLD: Final = ("sent", "unknown", "refused", "reorged", "final")  # events of `transactions` that move a cycle
_RECEIPTS: Final = ("succeeded", "reverted")
_NO_WISH: Final[tuple[Any, ...]] = (None,) * 19  # what a cancel does not say
_NO_PATH: Final[tuple[Any, ...]] = (None,) * 5  # what a cycle has not
_NO_LOAN: Final[tuple[Any, ...]] = (None,) * 3  # premium, least profit and what is expected of a cycle, which a path has not
_NO_RECEIPT: Final[tuple[Any, ...]] = (None,) * 10
Post = tuple[str, str, int, str]  # venue, asset, change, cause
Mine = tuple[str, str, int | None]  # account, strategy, order


class Path:
    """What a path swaps: both tokens by address, whether the second counts as the base of its hedge, the latest block time, and whether it was given up."""

    __slots__ = ("deadline_s", "given_up", "gives_base", "token_in", "token_out")

    def __init__(self, tokens: tuple[str, str], *, gives_base: bool, deadline_s: int, given_up: bool = False) -> None:
        self.token_in, self.token_out = tokens
        self.gives_base, self.deadline_s, self.given_up = gives_base, deadline_s, given_up

    def capture(self) -> PathCopy:
        """It as plain values."""
        return PathCopy(self.token_in, self.token_out, self.gives_base, self.deadline_s, self.given_up)


class SentCycle:
    """A cycle, or a path, that is not final.

    `state` is of `CYCLE_LIFE`, `tx_hash` the transaction whose receipt is booked, empty where none is. `hold` is what is reserved, `most` what
    it was. `path` is None of a cycle.
    """

    __slots__ = ("bundle", "client_id", "desk", "hold", "instruments", "most", "number", "path", "state", "tx_hash", "venue")

    def __init__(self, names: tuple[int, int, str], desk: Desk, venue: str, *, hold: Hold, instruments: tuple[int, ...]) -> None:
        self.bundle, self.number, self.client_id = names
        self.desk, self.venue = desk, venue
        self.state, self.tx_hash = "pending", ""
        self.hold = self.most = hold
        self.instruments = instruments
        self.path: Path | None = None

    @property
    def is_open(self) -> bool:
        """Whether it may still be included."""
        return self.state in CYCLE_OPEN


class Booked(NamedTuple):
    """What a receipt changed."""

    block_hash: str
    mine: Mine
    posts: tuple[Post, ...]


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
        self._market, self._chains, self._emit = market, chains, outputs.emit
        self._execution, self._portfolio = execution, execution.portfolio
        self._desks, self._breakers = risk.desks, risk.breakers
        ways = Ways(market, chains, setup)
        self._rules, self._hedged = AtomicRules(ways, risk, setup), HedgedRules(market, ways, risk, setup)
        self._terms, self._start = setup.chains, setup.start
        self._cycles: dict[int, SentCycle] = {}
        self._booked: dict[str, Booked] = {}  # by hash; receipts that may still be taken back
        self._mine: dict[str, Mine] = {}  # transactions of this start by hash

    # --- out

    def submit(self, plan: AtomicPlan, strategy: str, opportunity: int | None) -> tuple[list[ChainCommand], int | None]:
        """The command and the bundle's number; without a number risk refused it, and a `refusals` row says why."""
        desk = self._desks[strategy]
        self._execution.weigh(desk)
        approved = self._rules.approve(plan, desk)
        if isinstance(approved, Refusal):
            self._execution.refuse(approved, desk, opportunity)
            return [], None
        names = self._execution.begin_cycle()
        one = SentCycle(names, desk, plan.venue, hold=approved.hold, instruments=approved.instruments)
        desk.begin()
        self._begin(one, approved)
        command = SwapCycle(
            ts=self._market.now,
            order=one.number,
            client_order_id=one.client_id,
            account=desk.account,
            strategy=strategy,
            venue=plan.venue,
            bundle=one.bundle,
            hops=approved.hops,
            amount=plan.amount,
            funding=plan.funding,
            lender=plan.lender,
            min_profit=plan.min_profit,
            deadline_s=plan.deadline_s,
            channel=plan.channel,
            gas_limit=plan.gas_limit,
            ceiling_wei=min(plan.ceiling_wei, self._terms[plan.venue].max_fee_wei),
        )
        self._tell_wish(one, command, plan, approved, opportunity)
        self._tell(one, None, _NO_RECEIPT, "", None)
        return [command], one.bundle

    def submit_path(self, plan: SwapPlan, strategy: str, opportunity: int | None) -> tuple[list[AnyCommand], int | None]:
        """The commands of a path, and of its hedge if that does not wait, with the bundle's number; without one risk refused it."""
        desk = self._desks[strategy]
        self._execution.weigh(desk)
        approved = self._hedged.approve(plan, desk, self._execution.working)
        if isinstance(approved, Refusal):
            self._execution.refuse(approved, desk, opportunity)
            return [], None
        names = self._execution.begin_swap(desk, approved, opportunity=opportunity, sequence=plan.sequence)
        one = SentCycle(names, desk, plan.venue, hold=approved.hold, instruments=approved.instruments)
        one.path = Path(approved.tokens, gives_base=approved.swap.sign == BUY, deadline_s=plan.deadline_s)
        self._begin(one, approved)
        command = SwapPath(
            ts=self._market.now,
            order=one.number,
            client_order_id=one.client_id,
            account=desk.account,
            strategy=strategy,
            venue=plan.venue,
            bundle=one.bundle,
            hops=approved.hops,
            amount=plan.amount,
            token_out=approved.tokens[1],
            min_out=plan.min_out,
            deadline_s=plan.deadline_s,
            channel=plan.channel,
            gas_limit=plan.gas_limit,
            ceiling_wei=min(plan.ceiling_wei, self._terms[plan.venue].max_fee_wei),
        )
        self._tell_path(one, command, plan, approved, opportunity)
        self._tell(one, None, _NO_RECEIPT, "", None)
        return [command, *self._execution.take()], one.bundle

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

    def cancel_all(self) -> list[ChainCommand]:
        """Cancels of every cycle that may still be included."""
        return [self._cancel(one) for one in self._cycles.values() if one.is_open]

    def _cancel(self, one: SentCycle) -> CancelCycle:
        if one.path is not None:
            one.path.given_up = True
        names = (one.desk.account, one.desk.strategy, one.venue, "cancel", one.number, one.client_id, one.bundle)
        self._emit("cycles", names + _NO_WISH)
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
        if report.event in _RECEIPTS and (report.gas_used is None or report.gas_price_wei is None or report.block_hash is None):
            raise LogError(f"seq {row.seq}: a receipt without gas, its price or its block")
        if mine is None:
            self._stray(report)
            return None
        return report

    def _stray(self, report: CycleReport) -> None:
        """A transaction of an earlier start: whether the opening balances have it, nobody knows."""
        for venue, asset, change, _ in self._posts(report) if report.event in _RECEIPTS else ():
            self._portfolio.stray((report.account, venue, asset), change, report.ts)

    def apply(self, report: CycleReport) -> list[Command]:
        """Apply what became of a transaction: money first, then the state of its cycle; the commands that follow for a path's hedge.

        Raises:
            InvariantBroken: the cycle's life knows no such change.
            LogError: a cycle succeeded without a profit in a token that is known, or on a chain that is not.
        """
        one = None if report.order is None else self._cycles.get(report.order)
        if report.event in _RECEIPTS:
            booked = self._booked.get(report.tx_hash)
            if booked is not None and booked.block_hash == report.block_hash:
                return []  # told again
            if booked is not None:
                self._take_back(report, one)
            self._book(report, one)
        elif report.event == "reorged":
            self._take_back(report, one)
        elif report.event == "final":
            self._booked.pop(report.tx_hash, None)
            if one is not None and (one.tx_hash == report.tx_hash or one.state == "dropped"):
                self._move(one, report, _NO_RECEIPT)
                del self._cycles[one.number]
        elif one is not None:
            self._move(one, report, _NO_RECEIPT)
            if one.state == "refused":
                del self._cycles[one.number]
        return self._execution.take()

    def _book(self, report: CycleReport, one: SentCycle | None) -> None:
        """Post what a receipt changed."""
        assert report.block_hash is not None, "receipts of a block name it"
        mine = (report.account, report.strategy, None if one is None else one.number)
        booked = self._booked[report.tx_hash] = Booked(report.block_hash, mine, self._posts(report))
        self._post(booked, 1)
        if one is not None:
            one.tx_hash = report.tx_hash
            assert report.gas_used is not None
            assert report.gas_price_wei is not None
            cost = str(report.gas_used * report.gas_price_wei)
            earned = (report.profit_token, _text(report.profit), report.gas_used, cost)
            swapped = (report.token_in, _text(report.amount_in), report.token_out, _text(report.amount_out))
            change = self._change(one, booked, 1) if report.event == "succeeded" else None
            self._move(one, report, (report.block_number, report.block_hash, *earned, *swapped), change)

    def _take_back(self, report: CycleReport, one: SentCycle | None) -> None:
        """The block of a receipt is gone: everything is as it was before."""
        booked = self._booked.pop(report.tx_hash, None)
        if booked is not None:
            self._post(booked, -1)
        if one is not None and one.tx_hash == report.tx_hash:
            one.tx_hash = ""
            change = None if booked is None else self._change(one, booked, -1)
            gone = msgspec.structs.replace(report, event="reorged", block_number=None, block_hash=None)
            self._move(one, gone, _NO_RECEIPT, change)

    def _change(self, one: SentCycle, booked: Booked, sign: int) -> tuple[int, int] | None:
        """What a path's receipt changes of its hedge's base and quote, or, with the sign turned, takes back; None where it swapped nothing."""
        swapped = {asset: sign * change for _, asset, change, cause in booked.posts if cause == SWAP}
        if one.path is None or not swapped:
            return None
        paid, got = swapped[one.path.token_in], swapped[one.path.token_out]
        return (got, paid) if one.path.gives_base else (paid, got)

    def _post(self, booked: Booked, sign: int) -> None:
        account, strategy, order = booked.mine
        desk = self._desks.get(strategy)
        for venue, asset, change, cause in booked.posts:
            if desk is None or desk.account != account:
                self._portfolio.charge((account, venue, asset), sign * change, cause)
            else:
                self._portfolio.post(desk.till(venue, asset), sign * change, cause, order)

    def _posts(self, report: CycleReport) -> tuple[Post, ...]:
        """What a receipt changes: gas in the chain's own asset, and a profit in its token."""
        venue, terms = report.venue, self._terms.get(report.venue)
        if terms is None:
            raise LogError(f"a receipt of {venue}, on which no cycle may be sent: what its gas is paid in is not known")
        assert report.gas_used is not None
        assert report.gas_price_wei is not None
        posts: list[Post] = []
        if report.event == "succeeded":
            one = None if report.order is None else self._cycles.get(report.order)
            path = None if one is None else one.path
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

    # --- states

    def _move(self, one: SentCycle, report: CycleReport, receipt: tuple[Any, ...], change: tuple[int, int] | None = None) -> None:
        """Advance a cycle; a new state is a row, and the end of what may be included is the end of its bundle, if that has nothing else."""
        before, was_open = one.state, one.is_open
        one.state = advance(CYCLE_LIFE, before, report.event)
        if one.state == before:
            return
        self._tell(one, before, receipt, report.tx_hash, report.reason)
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
        if one.path is not None and (change is not None or one.is_open is not was_open):
            self._execution.on_swap(one.bundle, REORGED if one.is_open else DONE, change)
        if report.event not in ("sent", "unknown", "final"):
            self._execution.tell_results(one.desk)

    def _tell(self, one: SentCycle, before: str | None, receipt: tuple[Any, ...], tx_hash: str, reason: str | None) -> None:
        names = (one.desk.account, one.desk.strategy, one.venue, one.number, one.bundle, one.state, before, tx_hash or None)
        self._emit("cycle_states", (*names, *receipt, reason))

    def _tell_wish(self, one: SentCycle, command: SwapCycle, plan: AtomicPlan, approved: Cycle, opportunity: int | None) -> None:
        wish = (
            opportunity,
            hops_text(command.hops),
            approved.token,
            str(plan.amount),
            approved.planned.value,
            plan.funding,
            plan.lender,
            str(plan.premium),
            str(plan.min_profit),
            str(plan.expected_net),
            *_NO_PATH,
            plan.gas_limit,
            str(command.ceiling_wei),
            plan.deadline_s,
            plan.channel,
        )
        names = (one.desk.account, one.desk.strategy, one.venue, "submit", one.number, one.client_id, one.bundle)
        self._emit("cycles", names + wish)

    def _tell_path(self, one: SentCycle, command: SwapPath, plan: SwapPlan, approved: Hedged, opportunity: int | None) -> None:
        wish = (
            opportunity,
            hops_text(command.hops),
            approved.tokens[0],
            str(plan.amount),
            approved.planned.value,
            "wallet",
            "",
            *_NO_LOAN,
            approved.tokens[1],
            str(plan.min_out),
            str(approved.expected_out),
            plan.expected_profit,
            plan.profit_asset,
            plan.gas_limit,
            str(command.ceiling_wei),
            plan.deadline_s,
            plan.channel,
        )
        names = (one.desk.account, one.desk.strategy, one.venue, "submit", one.number, one.client_id, one.bundle)
        self._emit("cycles", names + wish)

    # --- over checkpoints

    def capture(self) -> OnChainCopy:
        """All of it as plain values."""
        return OnChainCopy(
            [
                SentCycleCopy(
                    number=one.number,
                    bundle=one.bundle,
                    client_id=one.client_id,
                    strategy=one.desk.strategy,
                    venue=one.venue,
                    state=one.state,
                    tx_hash=one.tx_hash,
                    hold=[(till.names[2], till.asset, amount) for till, amount in one.most],
                    instruments=one.instruments,
                    path=None if one.path is None else one.path.capture(),
                )
                for one in self._cycles.values()
            ],
            [BookedCopy(tx, one.block_hash, *one.mine, [*one.posts]) for tx, one in self._booked.items()],
            {**self._mine},
        )

    def restore(self, copy: OnChainCopy) -> None:
        """Take over a copy; what is reserved is the portfolio's already."""
        for cycle in copy.cycles:
            desk = self._desks[cycle.strategy]
            hold = tuple([(desk.till(venue, asset), amount) for venue, asset, amount in cycle.hold])
            names = (cycle.bundle, cycle.number, cycle.client_id)
            one = SentCycle(names, desk, cycle.venue, hold=hold, instruments=cycle.instruments)
            one.state, one.tx_hash = cycle.state, cycle.tx_hash
            one.hold = hold if one.is_open else ()
            if (path := cycle.path) is not None:
                tokens = (path.token_in, path.token_out)
                one.path = Path(tokens, gives_base=path.gives_base, deadline_s=path.deadline_s, given_up=path.given_up)
            self._cycles[one.number] = one
        for booked in copy.booked:
            mine = (booked.account, booked.strategy, booked.order)
            self._booked[booked.tx_hash] = Booked(booked.block_hash, mine, tuple(booked.posts))
        self._mine = {**copy.mine}


def _whole(text: str | None) -> int | None:
    return None if text is None else int(text)


def _text(amount: int | None) -> str | None:
    return None if amount is None else str(amount)


def receipt_row(report: CycleReport) -> tuple[Any, ...]:
    """What a simulated chain says, as the row that it is."""
    return (
        report.account,
        report.strategy,
        report.venue,
        report.order,
        report.event,
        report.tx_hash or None,
        report.block_number,
        report.block_hash,
        report.gas_used,
        _text(report.gas_price_wei),
        report.profit_token,
        _text(report.profit),
        report.token_in,
        _text(report.amount_in),
        report.token_out,
        _text(report.amount_out),
        report.reason,
    )
