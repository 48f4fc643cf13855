"""Cycles and hedged swaps on chains over restarts: a start that died at any moment is gone on with, and every start can be proven."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest

from tests.dexworld import GAP, Act, chain_log
from tests.dexworld import experiment as cycle_experiment
from tests.engine.cycles import CHAIN, CHEAP, DAI, DEAR, GWEI, WETH
from tests.hedgeworld import EXCHANGE, hedge_experiment, hedge_log
from tests.live.test_carrying import left_of
from tests.live.test_splits import Hand, silent
from tests.log.live import read_inputs, values_of
from xarb.engine.liverows import ARM
from xarb.live.kill import forget_inventory
from xarb.log.livelog import LiveLog
from xarb.model.command import CancelCycle, SubmitOrder, SwapCycle, SwapPath
from xarb.model.event import named
from xarb.model.order import CARRIED
from xarb.model.units import MONEY_ONE
from xarb.verbs.verify import verify

LEVEL: Final = {CHEAP.address: (10**21, 3_100 * 10**9), DEAR.address: (10**21, 3_100 * 10**9)}
EVEN: Final = {CHEAP.address: (10**21, 3_000 * 10**9), DEAR.address: (10**21, 3_000 * 10**9)}
GAS: Final = 150_000 * 12 * GWEI  # of a receipt
DOLLARS: Final = 10**12  # a smallest unit of DAI as money
HELD: Final = {("main", CHAIN, "ETH"): 10, ("main", CHAIN, WETH): 20, ("main", CHAIN, DAI): 50_000}
ELSEWHERE: Final = """[strategies.hedged]
kind = "triangular"
symbols = ["ETH/USDC"]
start_assets = ["USDC"]
min_profit_bps = 0
min_profit_quote = 0
max_notional_quote = 3100
"""
Told = tuple[str, dict[str, Any]]


class World:
    """A market with a gap, one without, and what the chain has of ours."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.folder, self.log = folder, folder / "log"
        self.gap = hedge_log(folder / "gap", [Act(EVEN)] * 7, (3_000, 3_000, 3_100))
        self.flat = hedge_log(folder / "flat", [Act(LEVEL)] * 2, (3_100,))
        one_pool = f'["{CHEAP.address}", "ETH/USDC"]'
        self.experiment = hedge_experiment(folder, self.gap, symbols=one_pool, max_notional_quote="3100", **changes)
        self.held = {place: amount * MONEY_ONE for place, amount in HELD.items()}

    def made(self, *told: Told, sign: int = 1) -> list[Told]:
        """The chain has included, or taken back, what these receipts say."""
        for kind, row in told:
            if kind == "receipts" and row["block_hash"] is not None:
                changes = {"ETH": -row["gas_used"] * int(row["gas_price_wei"])}
                if row["token_in"] is not None:
                    units = {WETH: 1, DAI: DOLLARS}
                    changes |= {row["token_in"]: -int(row["amount_in"]) * units[row["token_in"]]}
                    changes |= {row["token_out"]: int(row["amount_out"]) * units[row["token_out"]]}
                if row["profit"] is not None:
                    changes |= {row["profit_token"]: int(row["profit"])}
                for asset, amount in changes.items():
                    self.held["main", CHAIN, asset] += sign * amount
        return [*told]


class Start(Hand):
    """One start, whose market is fed by the test."""

    def __init__(self, world: World, number: int, *, told: tuple[Told, ...] = (), **more: Any) -> None:
        self.world, self.number = world, number
        given: dict[str, Any] = {"experiment": world.experiment, "source": world.gap, "held": world.held} | more
        self._is_armed = number == 1
        super().__init__(world.log, number, told=told, **given)

    def act(self, action: str) -> None:
        """Later starts are armed by the test."""
        if action != ARM or self._is_armed:
            super().act(action)

    def arm(self) -> None:
        """The operator arms."""
        self._is_armed = True
        self.act(ARM)

    def market(self, log: Path) -> None:
        """All rows of a market, later than what was, until something is sent."""
        for kind, row in read_inputs(log):
            if kind != "instruments":
                values = values_of(kind, row)
                self.play([(kind, (values[0], max(values[1], self.log.last_ts + 1), *values[2:]))])
                if self.sent:
                    return

    def tell(self, *told: Told) -> None:
        """Rows of the chain."""
        for kind, row in told:
            self.put(kind, **row)
        self.flush()

    def report(self, command: Any, event: str, **more: Any) -> None:
        """Of this start's own orders, unless said otherwise."""
        super().report(command, event, **({"start": self.number, "side": command.side} | more))

    def rows(self, kind: str) -> list[dict[str, Any]]:
        """Output rows."""
        return [named(row) for row in self.outputs if row[0] == kind]

    def die(self) -> None:
        """As `kill -9` does; the log is sealed by who comes next."""
        self.log.abandon()
        left_of(self.world.log)

    @property
    def states(self) -> list[str]:
        """Of cycles of earlier starts, in order."""
        return [row["state"] for row in self.rows("cycle_states") if row["order"] < 0]

    @property
    def events(self) -> list[str]:
        """Of bundles."""
        return [row["event"] for row in self.rows("bundles")]

    @property
    def orders(self) -> list[SubmitOrder]:
        """Sent to the exchange since the last look."""
        found = [one for one in self.sent if isinstance(one, SubmitOrder)]
        self.sent.clear()
        return found

    def at(self, venue: str, asset: str) -> int:
        """Balance."""
        return self.trading.assembly.engine.portfolio.balance(("main", venue, asset))

    def reserved(self, asset: str) -> int:
        """On the chain."""
        return self.trading.assembly.engine.portfolio.reserved(("main", CHAIN, asset))

    def exposure(self) -> tuple[int, int]:
        """To ETH."""
        return self.trading.assembly.engine.execution.exposure("hedged", "ETH")

    def agrees(self) -> bool:
        """Whether our books have what the chain has."""
        return all(self.at(CHAIN, asset) == amount for (_, _, asset), amount in self.world.held.items())


def about(command: SwapPath | SwapCycle, *, tx: str) -> dict[str, Any]:
    """Whose a row is."""
    return {"account": "main", "strategy": command.strategy, "venue": CHAIN, "chain_id": 1, "tx_hash": tx}


def transaction(command: SwapPath | SwapCycle, event: str, *, tx: str = "0xt1", **more: Any) -> Told:
    """A row of a command's transaction; commands are of the first start unless said otherwise."""
    plain = {"address": "0xme", "start": 1, "order": command.order, "nonce": 7, "purpose": "trade", "channel": "public"}
    return "transactions", about(command, tx=tx) | plain | {"event": event} | more


def receipt(command: SwapPath | SwapCycle, status: str, *, tx: str = "0xt1", block: str = "0xb1", **more: Any) -> Told:
    """A receipt; a path brings what it must at least."""
    is_in = status != "dropped"
    row = {"conn": 0, "nonce": 7, "status": status, "client_order_id": command.client_order_id}
    row |= {"block_number": 200 if is_in else None, "block_hash": block if is_in else None, "tx_index": 0 if is_in else None}
    row |= {"gas_used": 150_000 if is_in else None, "gas_price_wei": str(12 * GWEI) if is_in else None}
    row |= dict.fromkeys(("token_in", "amount_in", "token_out", "amount_out", "profit_token", "profit"))
    if status == "succeeded" and isinstance(command, SwapPath):
        names = {"token_in": command.hops[0].token_in, "token_out": command.token_out}
        row |= names | {"amount_in": str(command.amount), "amount_out": str(command.min_out)}
    elif status == "succeeded" and isinstance(command, SwapCycle):
        row |= {"profit_token": command.hops[0].token_in, "profit": str(command.min_profit)}
    return "receipts", about(command, tx=tx) | row | more


def swapping(world: World) -> tuple[Start, SwapPath]:
    """A start that decided on a swap."""
    first = Start(world, 1)
    first.market(world.gap)
    command = first.sent[0]
    assert isinstance(command, SwapPath)
    return first, command


def died(world: World, *told: str) -> SwapPath:
    """The command of a start that died when these events of its transaction were told."""
    first, command = swapping(world)
    for event in told:
        first.tell(transaction(command, event))
    first.die()
    return command


def came(command: SwapPath) -> int:
    """What a receipt says that came."""
    assert command.token_out == WETH
    return command.min_out


def hedged(start: Start, command: SwapPath, *, less: int = 0) -> None:
    """Its one order sells what came, in whole lots, and fills; the bundle has its end."""
    [order] = start.orders
    assert (order.side, order.qty_int) == ("sell", (came(command) - less) // 10**15)
    start.fill(order, order.qty_int)
    start.flush()
    assert start.events[-1] == "closed"
    assert not start.trading.assembly.engine.execution.open_bundles("hedged")
    assert start.agrees()


def proven(start: Start) -> None:
    """It ends, and all starts can be proven."""
    start.end()
    assert verify(start.world.log, advance=silent).equal


def test_what_was_decided_and_never_left_is_over(tmp_path: Path) -> None:
    """No transaction was made: a row says so, nothing is reserved, and the bundle closes with the first arming."""
    world = World(tmp_path)
    died(world)
    second = Start(world, 2)
    assert second.states == ["refused"]
    assert second.rows("cycle_states")[0]["reason"] == "never_left"
    assert (second.events, second.reserved("ETH"), second.exposure()) == (["carried"], 0, (0, 0))
    second.market(world.flat)
    second.arm()
    assert (second.events, second.orders) == (["carried", "closed"], [])
    proven(second)
    third = Start(world, 3)
    assert (third.states, third.rows("cycles")) == ([], [])
    proven(third)


@pytest.mark.parametrize("told", [("intent",), ("intent", "sent")])
def test_what_may_be_included_counts_at_once_and_is_hedged_by_its_receipt(tmp_path: Path, told: tuple[str, ...]) -> None:
    """Gas and the token are set aside and the exposure is at its worst; a receipt before arming is booked at once, and hedged with it."""
    world = World(tmp_path, cool_down_ms="100000")
    command = died(world, *told)
    second = Start(world, 2)
    cycle = second.rows("cycles")[0]
    assert (cycle["kind"], cycle["order"], cycle["client_order_id"]) == ("carried", -1, command.client_order_id)
    assert second.states == ["sent" if "sent" in told else "pending"]
    assert second.reserved("ETH") == command.gas_limit * (command.ceiling_wei or 0)
    assert second.reserved(DAI) == command.amount * DOLLARS
    low, high = second.exposure()
    assert low == 0
    assert high >= came(command)
    assert second.trading.assembly.engine.execution.open_bundles("hedged") == 1
    second.tell(*world.made(receipt(command, "succeeded"), transaction(command, "mined")))
    assert second.agrees()
    assert second.exposure() == (came(command) - GAS, came(command) - GAS)
    assert (second.reserved("ETH"), second.reserved(DAI), second.orders) == (0, 0, [])
    second.market(world.flat)
    second.arm()
    hedged(second, command)
    second.market(world.gap)
    assert second.sent == [], "its instruments rest"
    second.tell(transaction(command, "final"))
    assert second.states[1:] == ["succeeded", "final"]
    proven(second)
    third = Start(world, 3)
    assert (third.rows("cycles"), third.exposure()) == ([], second.exposure())
    proven(third)


@pytest.mark.parametrize("end", ["reverted", "dropped"])
def test_what_did_not_come_about_closes_its_bundle(tmp_path: Path, end: str) -> None:
    """Its gas is booked to the strategy, nothing stays reserved, and nothing is hedged."""
    world = World(tmp_path)
    command = died(world, "intent", "sent")
    second = Start(world, 2)
    second.tell(*world.made(receipt(command, end)))
    second.market(world.flat)
    second.arm()
    assert (second.states[1:], second.events, second.orders) == ([end], ["carried", "closed"], [])
    assert (second.reserved("ETH"), second.agrees()) == (0, True)
    proven(second)


def test_a_receipt_that_came_between_two_starts_is_in_the_opening_and_is_hedged(tmp_path: Path) -> None:
    """It is booked nowhere a second time; flows, results and exposure have it, by which the next start opens."""
    world = World(tmp_path, max_day_loss="{ USDC = 1000 }")
    command = died(world, "intent", "sent")
    told = world.made(receipt(command, "succeeded"), transaction(command, "mined"))
    second = Start(world, 2, told=tuple(told))
    assert second.states == ["succeeded"]
    assert second.agrees()
    assert [row["cause"] for row in second.rows("ledger")] == ["opening"] * 5
    opening = second.trading.assembly.ground
    assert {one.asset: one.amount for one in opening.flows} == {
        DAI: -command.amount * DOLLARS,
        WETH: came(command),
        "ETH": -GAS,
    }
    assert opening.results[0].flows == {one.asset: one.amount for one in opening.flows}
    assert second.exposure() == (came(command) - GAS, came(command) - GAS)
    second.market(world.flat)
    second.arm()
    hedged(second, command)
    proven(second)


def test_a_receipt_that_came_when_nobody_ran_is_told_by_rows_of_the_log(tmp_path: Path) -> None:
    """As a kill without the process writes them: behind the end of one start and before the opening of the next."""
    world = World(tmp_path)
    command = died(world, "intent", "sent")
    log = LiveLog.open(world.log)
    for at, (kind, row) in enumerate(world.made(receipt(command, "succeeded"), transaction(command, "mined")), start=log.last + 1):
        log.append({kind: [values_of(kind, {"ts_event": None, "seq": at, "ts_recv": log.last_ts} | row)]})
    log.close()
    second = Start(world, 2)
    assert (second.states, second.agrees()) == (["succeeded"], True)
    second.market(world.flat)
    second.arm()
    hedged(second, command)
    proven(second)


def swapped(world: World) -> tuple[Start, SwapPath, SubmitOrder]:
    """A start whose swap was included, and its hedge sent."""
    first, command = swapping(world)
    first.tell(transaction(command, "intent"), transaction(command, "sent"))
    first.sent.clear()
    first.tell(*world.made(receipt(command, "succeeded"), transaction(command, "mined")))
    [order] = first.orders
    assert order.qty_int == came(command) // 10**15
    return first, command, order


def test_a_hedge_that_did_not_leave_is_sent_by_the_next_start(tmp_path: Path) -> None:
    """The receipt was booked by the start that died; its order is looked up, and is not there."""
    world = World(tmp_path)
    first, command, order = swapped(world)
    first.die()
    second = Start(world, 2, told=(ended(order, "not_sent"),))
    second.market(world.flat)
    second.arm()
    hedged(second, command)
    proven(second)


def test_the_rest_of_a_hedge_that_filled_in_part_is_sent_by_the_next_start(tmp_path: Path) -> None:
    """A part in the start that died, another one that is told between the two."""
    world = World(tmp_path)
    first, command, order = swapped(world)
    first.fill(order, 100)
    first.flush()
    first.die()
    about = {"price": 3_099 * MONEY_ONE, "qty": 200 * 10**15, "fee": 0, "fee_asset": "USDC", "fill_id": "late"}
    second = Start(world, 2, told=(ended(order, "fill", **about), ended(order, "canceled")))
    assert second.exposure()[0] == came(command) - 300 * 10**15 - GAS
    second.market(world.flat)
    second.arm()
    hedged(second, command, less=300 * 10**15)
    proven(second)


def ended(order: SubmitOrder, event: str, **more: Any) -> Told:
    """What an exchange says of an order of the first start."""
    about = {"account": "main", "strategy": "hedged", "venue": EXCHANGE, "symbol": "ETH/USDC", "side": order.side, "start": 1}
    about |= {"order": order.order, "client_order_id": order.client_order_id, "event": event, "source": "lookup"}
    return "reports", about | more


def test_a_block_that_is_removed_later_takes_back_what_an_earlier_start_booked(tmp_path: Path) -> None:
    """The bundle had ended well in the start before: it opens again, and what was sold is bought back once the swap is gone for good."""
    world = World(tmp_path)
    first, command, order = swapped(world)
    first.fill(order, order.qty_int)
    first.flush()
    assert first.events[-1] == "closed"
    first.end()
    second = Start(world, 2)
    assert (second.states, second.events) == (["succeeded"], ["kept"])
    second.market(world.flat)
    second.arm()
    world.made(receipt(command, "succeeded"), sign=-1)
    second.tell(transaction(command, "reorged"))
    assert (second.agrees(), second.states[1:], second.orders) == (True, ["sent"], [])
    assert second.events == ["kept", "reopened", "unbalanced"]
    second.tell(receipt(command, "dropped"))
    [back] = second.orders
    assert (back.side, back.qty_int) == ("buy", order.qty_int)
    second.fill(back, back.qty_int)
    second.flush()
    assert second.events[-1] == "closed"
    proven(second)


def test_a_block_that_is_removed_between_two_starts_is_taken_back_in_the_opening(tmp_path: Path) -> None:
    """And the swap may come again: another block's receipt balances what the hedge did."""
    world = World(tmp_path)
    first, command, order = swapped(world)
    first.fill(order, order.qty_int)
    first.flush()
    first.die()
    world.made(receipt(command, "succeeded"), sign=-1)
    second = Start(world, 2, told=(transaction(command, "reorged"),))
    assert (second.agrees(), second.states, second.events) == (True, ["sent"], ["carried"])
    assert second.exposure()[0] == -order.qty_int * 10**15
    second.market(world.flat)
    second.arm()
    assert second.orders == []
    second.tell(*world.made(receipt(command, "succeeded", block="0xother")))
    assert (second.agrees(), second.events[-1], second.orders) == (True, "closed", [])
    proven(second)


def test_it_is_carried_over_starts_that_die_as_well(tmp_path: Path) -> None:
    """Under its first name, once in each; what one of them was told stays told."""
    world = World(tmp_path)
    command = died(world, "intent")
    for number in (2, 3):
        start = Start(world, number)
        assert [(one.start, one.order) for one in start.trading.assembly.ground.cycles] == [(1, 1)]
        if number == 3:
            start.tell(*world.made(receipt(command, "succeeded"), transaction(command, "mined")))
        start.die()
    last = Start(world, 4)
    assert (last.states, last.agrees()) == (["succeeded"], True)
    [bundle] = [one for one in last.trading.assembly.ground.bundles if one.state == CARRIED]
    assert bundle.flows == {"ETH": came(command), "USDC": -command.amount * DOLLARS}
    last.market(world.flat)
    last.arm()
    hedged(last, command)
    proven(last)


def test_a_bid_that_a_later_start_makes_is_the_old_swap(tmp_path: Path) -> None:
    """It replaces what the start before sent, and is included in its place; a transfer that takes a nonce back costs its gas and swaps nothing."""
    world = World(tmp_path)
    command = died(world, "intent", "sent")
    second = Start(world, 2)
    second.tell(transaction(command, "intent", tx="0xt2", purpose="replacement"), transaction(command, "sent", tx="0xt2"))
    second.tell(*world.made(receipt(command, "succeeded", tx="0xt2"), transaction(command, "mined", tx="0xt2")))
    assert (second.states[1:], second.agrees()) == (["succeeded"], True)
    second.market(world.flat)
    second.arm()
    hedged(second, command)
    proven(second)


@pytest.mark.parametrize("why", ["forgotten", "strategy_gone"])
def test_what_nobody_goes_on_with_is_booked_and_its_receipts_still_count(tmp_path: Path, why: str) -> None:
    """A refusal says why; money is the chain's all the same, and nothing is hedged."""
    world = World(tmp_path)
    first, command, order = swapped(world)
    first.die()
    if why == "forgotten":
        forget_inventory(world.log)
    else:
        text = world.experiment.read_text().replace("[strategies.hedged]", "[strategies.other]")
        world.experiment.write_text(text)
    second = Start(world, 2, told=(ended(order, "not_sent"),))
    assert [row["reason"] for row in second.rows("refusals")] == [why]
    [left] = second.rows("residuals")
    assert (left["qty"], left["cost"], left["cost_asset"]) == (came(command), command.amount * DOLLARS, "USDC")
    assert left["cause"] == "orphaned"
    assert (second.events, second.states) == (["carried", "held"], [])
    world.made(receipt(command, "succeeded"), sign=-1)
    second.tell(transaction(command, "reorged"))
    assert second.agrees()
    second.market(world.flat)
    second.arm()
    assert second.orders == []
    proven(second)
    world.experiment.write_text(world.experiment.read_text().replace("[strategies.other]", "[strategies.hedged]"))
    third = Start(world, 3)
    assert (third.events, third.states) == (["carried"], ["sent"]), "what was told to nobody is known"
    assert third.exposure()[0] == (0 if why == "strategy_gone" else GAS - came(command)), "what was forgotten was taken back"
    third.tell(receipt(command, "dropped"))
    third.market(world.flat)
    third.arm()
    assert (third.events[-1], third.orders, third.agrees()) == ("closed", [], True)
    proven(third)


@pytest.mark.parametrize("when", ["before", "between", "taken back"])
def test_gas_that_an_earlier_start_burned_is_a_loss_of_the_bundle_still(tmp_path: Path, when: str) -> None:
    """The receipt is in the ledger of the start that died, or came behind it; that of a block that was removed costs nothing."""
    world = World(tmp_path)
    told: tuple[Told, ...] = ()
    if when == "between":
        command = died(world, "intent", "sent")
        told = tuple(world.made(receipt(command, "succeeded"), transaction(command, "mined")))
    else:
        first, command, order = swapped(world)
        first.die()
        told = (ended(order, "not_sent"),)
    if when == "taken back":
        world.made(receipt(command, "succeeded"), sign=-1)
        told += (transaction(command, "reorged"),)
    second = Start(world, 2, told=told)
    wanted = {} if when == "taken back" else {"ETH": -GAS}
    assert [one.gas for one in second.trading.assembly.ground.bundles] == [wanted]
    [taken] = second.trading.assembly.engine.execution.capture().archive.open
    assert taken.swap is not None
    assert taken.swap.gas == wanted
    if when == "before":
        second.tell(transaction(command, "reorged"))
        [taken] = second.trading.assembly.engine.execution.capture().archive.open
        assert taken.swap is not None
        assert taken.swap.gas == {"ETH": 0}
        wanted = {}
    second.die()
    third = Start(world, 3)
    assert [one.gas for one in third.trading.assembly.ground.bundles] == [wanted]
    proven(third)


def test_a_start_without_the_chain_between_two_with_it_loses_nothing(tmp_path: Path) -> None:
    """Its config does not say what gas is paid in there: a receipt that is told behind it is read all the same, and what came is hedged."""
    world = World(tmp_path)
    command = died(world, "intent", "sent")
    whole = world.experiment.read_text()
    gone = re.sub(rf"\[(onchain|accounts\.main)\.{CHAIN}[^\[]*", "", whole)
    world.experiment.write_text(gone[: gone.index("[strategies.")] + ELSEWHERE)
    second = Start(world, 2)
    assert (second.events, second.states) == (["carried", "closed"], [])
    second.die()
    world.experiment.write_text(whole)
    third = Start(world, 3, told=tuple(world.made(receipt(command, "succeeded"), transaction(command, "mined"))))
    assert (third.states, third.events, third.agrees()) == (["succeeded"], ["carried"], True)
    third.market(world.flat)
    third.arm()
    hedged(third, command)
    proven(third)


def test_a_cycle_is_followed_over_a_restart(tmp_path: Path) -> None:
    """It has no bundle of legs: its gas is reserved, its profit booked, it counts as open until its end is told, and a cancel reaches it by its name."""
    world = World(tmp_path)
    log = chain_log(tmp_path / "cycles", [Act(GAP)] * 4)
    world.experiment, world.gap = cycle_experiment(tmp_path, log), log
    world.held = {("main", CHAIN, "ETH"): 10 * MONEY_ONE, ("main", CHAIN, WETH): 5 * MONEY_ONE}
    first = Start(world, 1)
    first.market(log)
    command = first.sent[0]
    assert isinstance(command, SwapCycle)
    first.tell(transaction(command, "intent"), transaction(command, "sent"))
    first.die()
    second = Start(world, 2)
    assert second.states == ["sent"]
    assert second.reserved("ETH") == command.gas_limit * (command.ceiling_wei or 0)
    assert second.trading.assembly.engine.execution.open_bundles("dex") == 1
    second.act("cancel")
    [cancel] = second.sent
    assert isinstance(cancel, CancelCycle)
    assert (cancel.order, cancel.client_order_id) == (-1, command.client_order_id)
    second.tell(*world.made(receipt(command, "succeeded")))
    assert (second.agrees(), second.reserved("ETH")) == (True, 0)
    assert second.trading.assembly.engine.execution.open_bundles("dex") == 0
    second.tell(transaction(command, "final"))
    assert second.states == ["sent", "succeeded", "final"]
    proven(second)
