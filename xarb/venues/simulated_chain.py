"""Simulated chains of a run: transactions of ours in the blocks that the log has, upon the pools as those blocks left them.

A cycle, or a path, decided at d is with the builders at a = d + latency: there it is simulated upon the latest block, and refused where that fails. The first
block that has room for it holds it: one whose row came at least `lag_ns` after a, whose base fee its bid pays, and that does not miss it. It is
swapped upon the pools as of the end of that block, after every recorded swap and after our own before it, exactly; it reverts where it does not earn
what the contract insists on, where its time is over, or where somebody else was first. Gas is what was measured of its way.

The log knows nothing of that. Pools that we moved go their own way from then on, so that nothing is taken twice (`apart`); what the log has of
transactions of our own, since it was traded on, is left out of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from heapq import heappush
from typing import Any, Final, NamedTuple

from xarb.engine.chains import KEPT, Chains
from xarb.model.command import AnySwap, CancelCycle, ChainCommand, CycleReport, SwapCycle, SwapPath
from xarb.model.event import SlowRow
from xarb.model.units import MONEY_SCALE, NANOS_PER_S, NEVER
from xarb.pools.concentrated import Concentrated
from xarb.pools.financing import MEASURED, PATH, PPM, GasUse, lender_of
from xarb.venues.apart import Apart
from xarb.venues.asked import through
from xarb.venues.captured import ChainBlockCopy, ChainDealingsCopy, MinedCopy
from xarb.venues.chainterms import ChainModel
from xarb.venues.fold import draw

STREAM_CHAIN, STREAM_MISSED, STREAM_TAKEN = 5, 6, 7  # as in `fold.draw`, one a purpose
CANCEL_GAS: Final = 21_000  # a transfer to oneself
_BLOCKS: Final = 1 << 32  # draws of an order's blocks lie so far apart


class Waiting(NamedTuple):
    """A cycle or a path on its way to the builders (`arrival`, ns), or there."""

    arrival: int
    command: AnySwap


class Outcome(NamedTuple):
    """What swapping comes to: why it reverts (empty: it does not), gas, and what came out beyond what a cycle owes.

    Of each swap (pool, way, input); and how many ticks were crossed.
    """

    why: str
    gas: int
    got: int = 0
    swaps: tuple[tuple[int, bool, int], ...] = ()
    ticks: int = 0


class SimulatedChain:
    """One chain.

    Args:
        venue: its name.
        model: what it is assumed to be.
        chains: the pools as the rows so far left them.
        apart: those that are not what the log says.
        opening: what accounts have there by (account, asset), money at 18 decimals.
        seed: of draws.
    """

    def __init__(
        self,
        venue: str,
        model: ChainModel,
        chains: Chains,
        *,
        apart: Apart,
        opening: Mapping[tuple[str, str], int],
        seed: int,
    ) -> None:
        self.venue, self.model, self._chains, self.apart = venue, model, chains, apart
        self._seeds = {stream: draw.stream_seed(seed, stream) for stream in (STREAM_CHAIN, STREAM_MISSED, STREAM_TAKEN)}
        self._coming: list[Waiting] = []  # in the order of their commands, arrivals rising
        self._cancels: list[tuple[int, int]] = []  # arrival, order
        self._waiting: list[Waiting] = []
        self._canceled: set[int] = set()
        self._mined: dict[int, MinedCopy] = {}
        self._kept: list[ChainBlockCopy] = []  # pools apart before each of the last blocks
        self.outbox: list[tuple[int, int, CycleReport]] = []
        self._told = 0
        self.balances = dict(opening)

    # --- what the driver calls

    def take(self, command: ChainCommand) -> None:
        """Take a command of the engine."""
        arrival = command.ts + self.model.latency.pick(draw.splitmix64(self._seeds[STREAM_CHAIN], command.order))
        if isinstance(command, CancelCycle):
            self._cancels.append((arrival, command.order))
            return
        if self._coming:
            arrival = max(arrival, self._coming[-1].arrival)  # nonces go in order
        self._coming.append(Waiting(arrival, command))

    def horizon(self, next_block: int) -> int:
        """No report can fall due before this, ns; `next_block` is when the next row of a block comes, NEVER for none at hand."""
        first = self.outbox[0][0] if self.outbox else NEVER
        if self._coming:
            first = min(first, self._coming[0].arrival + self.model.receipt_ns)
        if next_block != NEVER and (self._coming or self._waiting or self._mined):
            first = min(first, next_block + self.model.receipt_ns)
        return first

    def arrive(self, before: int) -> None:
        """Let every cycle arrive that does so before a time; the pools stand as of then."""
        while self._coming and self._coming[0].arrival < before:
            one = self._coming.pop(0)
            due = one.arrival + self.model.receipt_ns
            why = self._refusal(one.command)
            if why:
                self._tell(due, one.command, "refused", reason=why, tx_hash="")
            else:
                self._waiting.append(one)
                self._tell(due, one.command, "sent")

    def apply(self, row: SlowRow) -> None:
        """A row of the chain, or of its connection."""
        values = row.values
        if row.kind != "blocks":
            self._chains.apply(row)
            return
        self.arrive(row.ts_recv)
        if values["event"] == "removed":
            self._chains.apply(row)
            self._undo(values["block_hash"], row.ts_recv + self.model.receipt_ns)
            return
        self._kept.append(ChainBlockCopy(values["block_hash"], self.apart.capture()))
        del self._kept[:-KEPT]
        rows = self._chains.staged(self.venue, values["block_hash"])
        before = self.apart.before(rows)
        self._chains.apply(row)
        self.apart.follow(rows, before)
        self._build(row)
        self._settle(values["block_number"], row.ts_recv + self.model.receipt_ns)

    # --- a block

    def _build(self, row: SlowRow) -> None:
        """Put into a block what it has room for, in the order of nonces: what waits holds up what comes after it."""
        values, due = row.values, row.ts_recv + self.model.receipt_ns
        while self._waiting:
            one = self._waiting[0]
            order = one.command.order
            if one.arrival > row.ts_recv - self.model.lag_ns:
                break
            outcome = self._included(one, values)
            if outcome is not None:
                self._mine(self._waiting.pop(0).command, outcome, values, due)
            elif order in self._canceled or (one.command.channel == "relay" and self._is_late(one.command, values)):
                self._waiting.pop(0)
                self._drop(one.command, values, due)
            else:
                break
        self._canceled |= {order for arrival, order in self._cancels if arrival <= row.ts_recv - self.model.lag_ns}
        self._cancels = [one for one in self._cancels if one[1] not in self._canceled]
        self._canceled &= {one.command.order for one in (*self._waiting, *self._coming)}

    def _included(self, one: Waiting, values: Mapping[str, Any]) -> Outcome | None:
        """What a block makes of a transaction; None: it is not in it."""
        command, number = one.command, values["block_number"]
        price = self._price(command, values)
        counter = command.order * _BLOCKS + number
        if price is None or self._drawn(STREAM_MISSED, counter) < self.model.missed_ppm:
            return None
        outcome = self._swapped(command)
        if outcome is None:
            return None
        if not outcome.why and self._is_late(command, values):
            outcome = self._reverted(command, "deadline")
        if not outcome.why and self._drawn(STREAM_TAKEN, counter) < self.model.taken_ppm:
            outcome = self._reverted(command, "taken", outcome.ticks)
        if outcome.why and command.channel == "relay":
            return None  # it leaves reverts out
        return outcome

    def _price(self, command: AnySwap, values: Mapping[str, Any]) -> int | None:
        """What each gas costs in a block, None where the bid does not pay for it."""
        price = int(values["base_fee_wei"] or 0) + self.model.tip_wei
        return None if command.ceiling_wei is not None and price > command.ceiling_wei else price

    def _drawn(self, stream: int, counter: int) -> int:
        return draw.splitmix64(self._seeds[stream], counter) % PPM

    @staticmethod
    def _is_late(command: AnySwap, values: Mapping[str, Any]) -> bool:
        return values["ts_event"] is not None and values["ts_event"] > command.deadline_s * NANOS_PER_S

    def _mine(self, command: AnySwap, outcome: Outcome, values: Mapping[str, Any], due: int) -> None:
        price = self._price(command, values)
        assert price is not None, "else it would not be included"
        made = _made(command, outcome.got) if not outcome.why else ()
        changes = [(self.model.native, -outcome.gas * price), *((token, amount * self._unit(token)) for token, amount in made)]
        self._move(command.account, changes, 1)
        for number, zero_for_one, amount in outcome.swaps:
            self.apart.swap(number, amount, zero_for_one=zero_for_one)
        self._mined[command.order] = MinedCopy(command, values["block_hash"], values["block_number"], changes)
        self._tell(
            due,
            command,
            "reverted" if outcome.why else "succeeded",
            block_number=values["block_number"],
            block_hash=values["block_hash"],
            gas_used=outcome.gas,
            gas_price_wei=price,
            reason=outcome.why or None,
            **(_stated(command, outcome.got) if not outcome.why else {}),
        )

    def _drop(self, command: AnySwap, values: Mapping[str, Any], due: int) -> None:
        """A transaction that was canceled, or whose time is over: in public a transfer to oneself takes its nonce."""
        self._canceled.discard(command.order)
        if command.channel == "public":
            price = int(values["base_fee_wei"] or 0) + self.model.tip_wei
            self._move(command.account, [(self.model.native, -CANCEL_GAS * price)], 1)
            place = {"block_number": values["block_number"], "block_hash": values["block_hash"]}
            cost = {"gas_used": CANCEL_GAS, "gas_price_wei": price}
            self._tell(due, command, "succeeded", order=None, tx_hash=_hash(command, "cancel"), **place, **cost)
        self._tell(due, command, "dropped", reason="replaced" if command.channel == "public" else "not_included")

    def _settle(self, head: int, due: int) -> None:
        """What lies deep enough is final."""
        deep = [one for one in self._mined.values() if one.block_number + self.model.finality_blocks <= head]
        for one in deep:
            del self._mined[one.command.order]
            self._tell(due, one.command, "final", block_number=one.block_number, block_hash=one.block_hash)

    def _undo(self, block_hash: str, due: int) -> None:
        """A block is gone: what it held of ours waits again, and no pool remembers it."""
        for kept in [kept for kept in self._kept if kept.block_hash == block_hash]:
            self.apart.restore(kept.apart)
            self._kept.remove(kept)
        gone = [one for one in self._mined.values() if one.block_hash == block_hash]
        for one in gone:
            del self._mined[one.command.order]
            self._move(one.command.account, one.changes, -1)
            self._tell(due, one.command, "reorged", block_number=one.block_number, block_hash=block_hash)
        self._waiting = [*(Waiting(0, one.command) for one in gone), *self._waiting]

    # --- one cycle

    def _refusal(self, command: AnySwap) -> str:
        """Why it would fail upon the latest block, or cannot be paid for; empty where it would not."""
        if self.balances.get((command.account, self.model.native), 0) < command.gas_limit * (command.ceiling_wei or 0):
            return "funds"
        outcome = self._swapped(command)
        return "pool_unknown" if outcome is None else "simulation" if outcome.why else ""

    def _swapped(self, command: AnySwap) -> Outcome | None:
        """What it comes to upon the pools as they are, None where one of them is not known."""
        token, amount, ticks = command.hops[0].token_in, command.amount, 0
        swaps: list[tuple[int, bool, int]] = []
        for hop in command.hops:
            pool = self.apart.pool(self.apart.numbers[hop.pool])
            if pool is None:
                return None
            given, _, crossed = through(pool, amount, zero_for_one=hop.zero_for_one)
            if given <= 0:
                # A pool of v3 whose liquidity ends looks for more, word by word up to the end of all prices: at worst with all the gas there is.
                is_searched = isinstance(pool, Concentrated)
                return Outcome("empty", command.gas_limit) if is_searched else self._reverted(command, "empty", ticks)
            swaps.append((self.apart.numbers[hop.pool], hop.zero_for_one, amount))
            amount, ticks = given, ticks + crossed
        if (not isinstance(command, SwapCycle) or command.funding == "wallet") and self._held(
            command.account, token
        ) < command.amount:
            return self._reverted(command, "balance")
        if isinstance(command, SwapCycle):
            premium = self._premium(command)
            if premium is None:
                return self._reverted(command, "loan")
            amount -= command.amount + premium
            if amount < command.min_profit:
                return self._reverted(command, "unprofitable", ticks)
        elif amount < command.min_out:
            return self._reverted(command, "output", ticks)
        gas = _use(command).of(len(command.hops), ticks)
        if gas > command.gas_limit:
            return Outcome("out_of_gas", command.gas_limit)
        return Outcome("", gas, amount, tuple(swaps), ticks)

    def _reverted(self, command: AnySwap, why: str, ticks: int = 0) -> Outcome:
        """It crossed so many ticks before it was undone, which costs what it costs."""
        use, hops = _use(command), len(command.hops)
        return Outcome(why, min(use.of(hops, ticks) + use.more_of_revert(hops), command.gas_limit))

    def _premium(self, command: SwapCycle) -> int | None:
        """What the loan costs as of the block, None where nobody lends so much, or for nobody knows what."""
        if not command.lender:
            return 0
        token = command.hops[0].token_in
        one = lender_of(self._chains.loans(self.venue, token), command.funding, command.lender)
        if one is None or one.premium_wad is None or one.available is None or one.available < command.amount:
            return None
        return one.premium(command.amount)

    def _unit(self, token: str) -> int:
        """A token's smallest unit as money."""
        decimals = self._chains.decimals(self.venue, token)
        assert decimals is not None, "a pool of it is known"
        return int(10 ** (MONEY_SCALE - decimals))

    def _held(self, account: str, token: str) -> int:
        """What an account has of a token, in its smallest units."""
        return self.balances.get((account, token), 0) // self._unit(token)

    def _move(self, account: str, changes: Sequence[tuple[str, int]], sign: int) -> None:
        for asset, change in changes:
            self.balances[account, asset] = self.balances.get((account, asset), 0) + sign * change

    # --- reports

    def _tell(self, due: int, command: AnySwap, event: str, **more: Any) -> None:
        plain: dict[str, Any] = {"ts": due, "venue": self.venue, "account": command.account, "strategy": command.strategy}
        plain |= {"order": command.order, "event": event, "tx_hash": _hash(command, "")}
        heappush(self.outbox, (due, self._told, CycleReport(**(plain | more))))
        self._told += 1

    # --- over checkpoints

    def capture(self) -> ChainDealingsCopy:
        """All of it as plain values, but the pools as the log has them."""
        return ChainDealingsCopy(
            venue=self.venue,
            coming=[(one.arrival, one.command) for one in self._coming],
            cancels=[*self._cancels],
            waiting=[(one.arrival, one.command) for one in self._waiting],
            canceled=sorted(self._canceled),
            mined=[*self._mined.values()],
            apart=self.apart.capture(),
            kept=[*self._kept],
            outbox=sorted(self.outbox, key=_place),
            told=self._told,
            balances=[(*key, amount) for key, amount in self.balances.items()],
        )

    def restore(self, copy: ChainDealingsCopy) -> None:
        """Take over a copy."""
        self._coming = [Waiting(*one) for one in copy.coming]
        self._waiting = [Waiting(*one) for one in copy.waiting]
        self._cancels, self._canceled = [*copy.cancels], {*copy.canceled}
        self._mined = {one.command.order: one for one in copy.mined}
        self.apart.restore(copy.apart)
        self._kept, self._told = [*copy.kept], copy.told
        self.outbox = [*copy.outbox]  # sorted, so that it is a heap
        self.balances = {(account, asset): amount for account, asset, amount in copy.balances}


def _use(command: AnySwap) -> GasUse:
    """What it takes of gas."""
    return MEASURED[command.funding] if isinstance(command, SwapCycle) else PATH


def _made(command: AnySwap, got: int) -> list[tuple[str, int]]:
    """What it changes by token, in smallest units."""
    token = command.hops[0].token_in
    return [(token, got)] if isinstance(command, SwapCycle) else [(token, -command.amount), (command.token_out, got)]


def _stated(command: AnySwap, got: int) -> dict[str, Any]:
    """What its receipt says of that."""
    token = command.hops[0].token_in
    if isinstance(command, SwapPath):
        return {"token_in": token, "amount_in": command.amount, "token_out": command.token_out, "amount_out": got}
    return {"profit_token": token, "profit": got}


def _hash(command: AnySwap, what: str) -> str:
    """A name for a transaction that no chain has."""
    return "0x" + hashlib.sha256(f"{command.venue} {command.client_order_id} {what}".encode()).hexdigest()


def _place(one: tuple[int, int, CycleReport]) -> tuple[int, int]:
    return one[:2]
