"""Cycles of ours on a chain: what risk lets go, what becomes of them, and money by receipts alone."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.defaults import risk_limits, strategy_terms
from tests.engine.chainworld import SECOND
from tests.engine.cycles import CHAIN, CHEAP, DAI, DEAR, GWEI, OPENING, RESERVES, TERMS, WETH, CycleDesk, earned
from xarb.engine.carried import CarriedCycle
from xarb.engine.discrepancy import DISCREPANCY, Discrepancy
from xarb.errors import LogError
from xarb.model.columns import CYCLE_EVENTS, CYCLE_STATES
from xarb.model.command import CancelCycle, SwapCycle
from xarb.model.order import CYCLE_LIFE, CYCLE_OPEN
from xarb.model.units import MONEY_ONE, Money

COST = 150_000 * 12 * GWEI  # of a receipt
ETHER = OPENING["main", CHAIN, "ETH"]
TOKENS = OPENING["main", CHAIN, WETH]


def sent(desk: CycleDesk, **changes: Any) -> SwapCycle:
    """A cycle that was let go."""
    desk.block(desk.plan(**changes))
    command = desk.sent[-1]
    assert isinstance(command, SwapCycle)
    return command


def out(desk: CycleDesk, order: int = 1, tx: str = "0xt1") -> None:
    """Its transaction is with a node."""
    desk.transaction("intent", order, tx=tx)
    desk.transaction("sent", order, tx=tx)


def test_a_cycle_is_sent_as_planned() -> None:
    """Its command and its `cycles` row say the same, exactly; its gas is reserved at the most that may be bid."""
    desk = CycleDesk()
    command = sent(desk, ceiling_wei=700 * GWEI)
    row = desk.of("cycles")[0]
    assert [(hop.pool, hop.token_in, hop.zero_for_one, hop.is_v3, hop.fee_pips) for hop in command.hops] == [
        (DEAR.address, WETH, True, False, 3000),
        (CHEAP.address, DAI, False, False, 3000),
    ]
    assert (command.amount, command.min_profit, command.ceiling_wei) == (10**18, earned(10**18), 500 * GWEI)
    assert row["hops"] == f"v2 {DEAR.address} {WETH} 0>1 3000, v2 {CHEAP.address} {DAI} 1>0 3000"
    assert (row["kind"], row["token"], row["amount"], row["min_profit"]) == ("submit", WETH, str(10**18), str(earned(10**18)))
    assert row["notional"] == MONEY_ONE
    assert (row["client_order_id"], row["bundle"], command.client_order_id) == ("testlog1-1-1", 1, "testlog1-1-1")
    assert desk.reserved() == 200_000 * 500 * GWEI
    assert desk.states == ["pending"]
    assert not desk.of("fills")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"hops": ((1, True),)}, "too_few_legs"),
        ({"hops": ((1, True), (0, False)) * 3}, "too_many_legs"),
        ({"venue": "base"}, "chain_unknown"),
        ({"hops": ((1, True), (7, False))}, "instrument_unknown"),
        ({"hops": ((1, True), (0, True))}, "no_cycle"),
        ({"hops": ((1, True), (1, False))}, "pool_twice"),
        ({"amount": 0}, "plan_incomplete"),
        ({"gas_limit": 0}, "plan_incomplete"),
        ({"deadline_s": 1}, "deadline"),
        ({"lender": "0xlender"}, "no_lender"),
        ({"funding": "aave"}, "no_lender"),
        ({"funding": "flash", "lender": CHEAP.address}, "lender_in_cycle"),
        ({"min_profit": earned(10**18) + 1}, "unprofitable"),
        ({"premium": 1, "funding": "aave", "lender": "0xother"}, "no_lender"),
        ({"premium": 1, "funding": "balancer", "lender": "0xlender"}, "no_lender"),
        ({"premium": 5 * 10**14 - 1, "funding": "aave", "lender": "0xlender"}, "premium"),
        ({"premium": 5 * 10**14, "funding": "aave", "lender": "0xlender"}, "unprofitable"),
        ({"premium": 10**17, "funding": "aave", "lender": "0xlender", "amount": 2 * 10**18 + 1}, "lender_depth"),
        ({"hops": ((0, True), (1, False)), "min_profit": 0}, "unprofitable"),
        ({"funding": "wallet", "amount": 6 * 10**18, "min_profit": 0}, "balance"),
        ({"gas_limit": 10**9}, "balance"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], reason: str) -> None:
    """Each rule by its name; nothing leaves and nothing is reserved."""
    desk = CycleDesk()
    desk.block()
    desk.block(desk.plan(**changes))
    assert [row["reason"] for row in desk.of("refusals")] == [reason]
    assert not desk.sent
    assert (desk.reserved(), desk.of("cycles"), desk.states) == (0, [], [])


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"max_open_bundles": 0}, "max_open_bundles"),
        ({"max_notional": Money(MONEY_ONE // 2)}, "max_notional"),
        ({"daily_venue": Money(MONEY_ONE // 2)}, "daily_venue"),
        ({"orders_per_second": 0}, "orders_per_second"),
        ({"bundles_per_minute": 0}, "bundles_per_minute"),
        ({"symbols": (CHEAP.address,)}, "not_allowed"),
        ({"max_exposure": {"ETH": Money(MONEY_ONE // 100)}}, "max_exposure"),
        ({"max_bundle_loss": {WETH: Money(MONEY_ONE // 100)}}, "bundle_loss"),
    ],
)
def test_limits_bind_cycles_too(limits: dict[str, Any], reason: str) -> None:
    """A strategy's limits as far as they apply to what is all or nothing."""
    desk = CycleDesk(terms=strategy_terms(limits=risk_limits(**limits)))
    desk.block(desk.plan())
    assert [row["reason"] for row in desk.of("refusals")] == [reason]


def test_a_budget_binds_gas() -> None:
    """What is allotted of the native asset pays gas, and no more than that."""
    desk = CycleDesk(terms=strategy_terms(budget={"ETH": Money(MONEY_ONE // 100)}))
    desk.block(desk.plan(), desk.plan(gas_limit=50_000))
    assert [row["reason"] for row in desk.of("refusals")] == ["budget"]
    assert len(desk.sent) == 1


def test_pools_that_are_not_live_a_disarmed_start_and_an_old_block() -> None:
    """A lost connection, a person's word, and a plan that comes too late after its block."""
    desk = CycleDesk()
    desk.block(desk.plan())
    desk.slow("connections", conn=0, venue=CHAIN, symbol=None, event="lost", epoch=1)
    assert desk.engine.chains.pool(0) is None
    desk.slow("operator", action="disarm", actor="a test", detail=None)
    desk.block(desk.plan())
    assert [row["reason"] for row in desk.of("refusals")] == ["disarmed"]
    late = CycleDesk(terms=strategy_terms(limits=risk_limits(latency_threshold_ns=SECOND)))
    late.block(late.plan())
    late.told.wanted = [late.plan()]
    late.now += 2 * SECOND
    out(late)
    late.receipt("reverted")
    assert [row["reason"] for row in late.of("refusals")] == ["stale_quote"]


def test_a_success_is_booked_once_and_is_final() -> None:
    """Profit in its token and gas in the native asset, by the receipt and nothing before it, however often it is told."""
    desk = CycleDesk()
    sent(desk)
    out(desk)
    assert (desk.balance("ETH"), desk.balance(WETH)) == (ETHER, TOKENS)
    desk.receipt("succeeded")
    desk.receipt("succeeded")
    desk.transaction("mined")
    desk.transaction("final")
    assert desk.states == ["pending", "sent", "succeeded", "final"]
    ledger = [(row["asset"], row["delta"], row["cause"], row["order"]) for row in desk.of("ledger")[2:]]
    assert ledger == [(WETH, 7, "cycle", 1), ("ETH", -COST, "gas", 1)]
    assert (desk.balance("ETH"), desk.balance(WETH)) == (ETHER - COST, TOKENS + 7)
    row = desk.of("cycle_states")[2]
    assert (row["profit"], row["profit_token"], row["gas_used"], row["gas_cost_wei"]) == ("7", WETH, 150_000, str(COST))
    assert desk.reserved() == 0
    assert desk.engine.execution.open_bundles("s") == 0
    assert desk.told.heard[-4:] == ["cycle sent", "cycle succeeded", "cycle succeeded", "cycle final"]
    copy = desk.engine.capture().decisions.onchain
    assert (copy.cycles, copy.booked, copy.mine) == ([], [], {})


def test_a_smaller_token_is_money_at_18_decimals() -> None:
    """A profit in a token of 6 decimals."""
    desk = CycleDesk()
    desk.block()
    sent(desk, hops=((0, False), (1, True)), amount=1_000 * 10**6, min_profit=0)
    out(desk)
    desk.receipt("succeeded", profit_token=DAI, profit="1234567")
    assert desk.balance(DAI) == 1_234_567 * 10**12


@pytest.mark.parametrize("told_by", ["row", "another block"])
def test_a_reorg_takes_a_receipt_back(told_by: str) -> None:
    """What was booked is booked back, and its gas is reserved again, until another block holds it."""
    desk = CycleDesk()
    sent(desk)
    held = desk.reserved()
    out(desk)
    desk.receipt("succeeded")
    if told_by == "row":
        desk.transaction("reorged")
        assert (desk.balance("ETH"), desk.balance(WETH), desk.reserved()) == (ETHER, TOKENS, held)
        assert desk.engine.execution.open_bundles("s") == 1
        desk.transaction("reorged")
    desk.receipt("succeeded", block="0xother", profit="5")
    assert desk.states == ["pending", "sent", "succeeded", "sent", "succeeded"]
    assert (desk.balance("ETH"), desk.balance(WETH), desk.reserved()) == (ETHER - COST, TOKENS + 5, 0)
    sums: dict[tuple[str, str], int] = {}
    for row in desk.of("ledger"):
        sums[row["asset"], row["cause"]] = sums.get((row["asset"], row["cause"]), 0) + row["delta"]
    assert (sums[WETH, "cycle"], sums["ETH", "gas"]) == (5, -COST)


def test_a_revert_costs_gas_and_no_more() -> None:
    """No profit is booked, and the breaker counts it."""
    desk = CycleDesk()
    sent(desk)
    out(desk)
    desk.receipt("reverted", reason="reverted")
    assert desk.states == ["pending", "sent", "reverted"]
    assert (desk.balance("ETH"), desk.balance(WETH), desk.reserved()) == (ETHER - COST, TOKENS, 0)


def test_what_is_refused_or_dropped_costs_nothing() -> None:
    """A transaction that was not made, and one that can never be included; a late revert of that one still costs gas."""
    desk = CycleDesk()
    sent(desk)
    desk.transaction("refused", reason="simulation", tx="")
    assert (desk.states, desk.reserved(), desk.engine.execution.open_bundles("s")) == (["pending", "refused"], 0, 0)
    sent(desk)
    out(desk, 2)
    desk.receipt("dropped", reason="dropped")
    assert desk.states[2:] == ["pending", "sent", "dropped"]
    assert desk.balance("ETH") == ETHER
    desk.receipt("reverted")
    assert desk.states[-1] == "reverted"
    assert desk.balance("ETH") == ETHER - COST


def test_gas_of_a_canceling_transfer_is_booked_to_the_strategy() -> None:
    """It is no fill of the order, which ends as dropped; a reorganisation takes it back as well."""
    desk = CycleDesk()
    sent(desk)
    out(desk)
    desk.transaction("intent", tx="0xc1", purpose="cancel")
    desk.transaction("sent", tx="0xc1", purpose="cancel")
    desk.receipt("succeeded", tx="0xc1", profit=None, profit_token=None, gas_used=21_000)
    desk.receipt("dropped", reason="replaced")
    assert desk.states == ["pending", "sent", "dropped"]
    assert desk.balance("ETH") == ETHER - 21_000 * 12 * GWEI
    assert desk.engine.portfolio.flow("s", "ETH") == -21_000 * 12 * GWEI
    desk.transaction("reorged", tx="0xc1", purpose="cancel")
    assert desk.balance("ETH") == ETHER


def test_receipts_of_earlier_starts_move_no_money() -> None:
    """Whether the opening balances have them is not known: they explain a difference from the chain's."""
    desk = CycleDesk()
    desk.block()
    desk.receipt("succeeded", tx="0xearlier")
    assert (desk.balance("ETH"), desk.balance(WETH), desk.states) == (ETHER, TOKENS, [])
    assert desk.engine.portfolio.strayed(("main", CHAIN, "ETH"), 0) == (-COST, 0)


def test_what_a_receipt_must_say() -> None:
    """A success without a profit, a token of unknown decimals, a block without gas."""
    for changes in ({"profit": None}, {"profit_token": "0xunknown"}, {"gas_used": None}):
        desk = CycleDesk()
        sent(desk)
        out(desk)
        with pytest.raises(LogError):
            desk.receipt("succeeded", **changes)


@pytest.mark.parametrize("has_chain", [True, False])
def test_a_cycle_on_a_chain_that_is_gone_is_not_followed(*, has_chain: bool) -> None:
    """Nobody sends to a chain that the config has no more: a kill that canceled it there would end in an error, and nobody tells of it."""
    old = CarriedCycle(
        start=1,
        order=4,
        bundle=2,
        client_order_id="testlog1-1-4",
        account="main",
        strategy="s",
        venue=CHAIN,
        state="sent",
        tx_hash="",
        deadline_s=1,
        hold=(("ETH", 5),),
        pools=(CHEAP.address, DEAR.address),
        decimals={WETH: 18},
    )
    desk = CycleDesk(cycles=(old,), start=2, chains=TERMS if has_chain else {})
    desk.block()
    assert (desk.engine.execution.open_bundles("s"), desk.reserved("ETH")) == ((1, 5) if has_chain else (0, 0))
    desk.slow("operator", action="kill", actor="me", detail="cancel")
    assert [one.client_order_id for one in desk.sent] == ([old.client_order_id] if has_chain else [])


def test_a_kill_cancels_cycles() -> None:
    """From `cancel` on each that may still be included is given up, by a command and a row; `entries` lets them end."""
    desk = CycleDesk()
    sent(desk)
    out(desk)
    desk.slow("operator", action="kill", actor="a test", detail="entries")
    assert not any(isinstance(one, CancelCycle) for one in desk.sent)
    desk.slow("operator", action="kill", actor="a test", detail="cancel")
    command = desk.sent[-1]
    assert isinstance(command, CancelCycle)
    assert (command.order, command.venue) == (1, CHAIN)
    assert desk.of("cycles")[-1]["kind"] == "cancel"
    desk.receipt("succeeded")
    assert desk.balance(WETH) == TOKENS + 7


@pytest.mark.parametrize(("asset", "opening"), [("ETH", ETHER), (WETH, TOKENS)])
def test_a_balance_that_differs_is_booked_or_ends_new_bundles(asset: str, opening: Money) -> None:
    """As at an exchange, what pays gas too: a unit is booked, of no strategy; half of it is refused by name, and trading is killed."""
    desk = CycleDesk()

    def told(theirs: int) -> None:
        ours = desk.balance(asset)
        found = Discrepancy(account="main", venue=CHAIN, asset=asset, ours=ours, theirs=theirs)
        desk.slow("operator", action=DISCREPANCY, actor="account main", detail=found.text)

    told(opening - 1)
    assert desk.balance(asset) == opening - 1
    booked = [(row["asset"], row["strategy"], row["delta"]) for row in desk.of("ledger") if row["cause"] == "adjustment"]
    assert booked == [(asset, "", -1)]
    assert desk.engine.distrust is None
    told(opening // 2)
    assert desk.balance(asset) == opening - 1
    assert desk.of("refusals")[-1]["reason"] == "balance_differs"
    assert desk.engine.distrust is not None


def test_losses_of_gas_end_a_strategy() -> None:
    """Gas counts in the wrapped token's worth: beyond the day's loss trading is killed as it is told, and nothing begins."""
    limits = risk_limits(max_day_loss={WETH: Money(COST)}, latency_threshold_ns=SECOND)
    desk = CycleDesk(terms=strategy_terms(limits=limits))
    for order in (1, 2):
        sent(desk)
        out(desk, order, f"0xt{order}")
        desk.receipt("reverted", tx=f"0xt{order}")
    assert [row["pnl"] for row in desk.of("results")] == [-COST, -2 * COST]
    desk.block(desk.plan())
    assert [(row["reason"], row["value"]) for row in desk.of("refusals")] == [("loss", 2 * COST), ("loss", None)]


def test_reverts_open_the_breaker_and_a_success_closes_it() -> None:
    """As at an exchange: after some in a row nothing begins, then one is tried."""
    desk = CycleDesk()
    limits = desk.engine.setup.breakers[CHAIN]
    for order in range(1, limits.rejects + 1):
        sent(desk)
        out(desk, order, f"0xt{order}")
        desk.receipt("reverted", tx=f"0xt{order}")
    assert [row["state"] for row in desk.of("breakers")] == ["open"]
    desk.block(desk.plan())
    assert desk.of("refusals")[-1]["reason"] == "breaker_open"
    desk.now += limits.pause_ns
    order = limits.rejects + 1
    sent(desk)
    desk.told.wanted = [desk.plan()]
    out(desk, order, "0xp")
    assert desk.of("refusals")[-1]["reason"] == "breaker_probing"
    desk.receipt("succeeded", tx="0xp")
    assert [row["state"] for row in desk.of("breakers")] == ["open", "half_open", "closed"]


def test_the_table_names_what_there_is() -> None:
    """Its states and events are those of the columns, and every open state comes to each end."""
    states = {state for state, _ in CYCLE_LIFE} | set(CYCLE_LIFE.values())
    assert states == set(CYCLE_STATES)
    assert {event for _, event in CYCLE_LIFE} == set(CYCLE_EVENTS)
    for state in CYCLE_OPEN:
        assert {"succeeded", "reverted", "dropped"} <= {event for begin, event in CYCLE_LIFE if begin == state}


def _story(draw: random.Random, desk: CycleDesk, order: int, mined: str | None) -> None:
    """Something happens to one of the cycles: bids, receipts of any block, reorganisations, drops, cancels, told once or twice.

    Of one nonce one transaction is `mined` at once.
    """
    tx = mined or f"0xt{order}.{draw.randrange(2)}"
    block = f"0xb{draw.randrange(3)}"
    what = draw.choice(["succeeded"] * 3 + ["reverted", "reorged", "reorged", "dropped", "sent", "final", "cancel"])
    if what in ("succeeded", "reverted"):
        gas, profit = draw.randrange(21_000, 200_000), draw.randrange(10**20)
        extra = {"profit": str(profit), "profit_token": WETH} if what == "succeeded" else {}
        desk.receipt(what, tx=tx, block=block, gas_used=gas, **extra)
    elif what == "dropped":
        desk.receipt("dropped", tx=tx)
    elif what == "cancel":
        desk.receipt("succeeded", tx=f"0xc{order}", block=block, gas_used=21_000, profit=None, profit_token=None)
    elif what != "final" or draw.random() < 0.2:
        desk.transaction(what, order, tx=tx)


@pytest.mark.parametrize("seed", range(30))
def test_money_is_conserved_whatever_the_chain_says(seed: int) -> None:
    """Balances are the opening, and what receipts that stand say: each once, none that was taken back; copies change nothing."""
    draw = random.Random(seed)  # noqa: S311  # a test's draw
    desk, twin = CycleDesk(), CycleDesk()
    standing: dict[str, tuple[str, int, int]] = {}
    done: set[str] = set()
    for one in (desk, twin):
        one.block(one.plan(), one.plan())
        for order in (1, 2):
            for tx in (f"0xt{order}.0", f"0xt{order}.1"):
                one.transaction("intent", order, tx=tx)
            one.transaction("intent", order, tx=f"0xc{order}", purpose="cancel")
    for _ in range(40):
        before, order = desk.seq, draw.choice([1, 2])
        mined = next((tx for tx in (*standing, *done) if tx.startswith(f"0xt{order}.")), None)
        state = draw.getstate()
        _story(draw, desk, order, mined)
        draw.setstate(state)
        twin.copy()
        _story(draw, twin, order, mined)
        assert (twin.outputs, twin.reserved()) == (desk.outputs, desk.reserved())
        if desk.seq == before:
            continue
        _keep(desk, standing, done)
        ether = ETHER - sum(gas for _, gas, _ in standing.values())
        assert desk.balance("ETH") == ether == sum(row["delta"] for row in desk.of("ledger") if row["asset"] == "ETH")
        weth = TOKENS + sum(profit for _, _, profit in standing.values())
        assert desk.balance(WETH) == weth == sum(row["delta"] for row in desk.of("ledger") if row["asset"] == WETH)
        open_now = [state for state in _last_states(desk).values() if state in CYCLE_OPEN]
        assert desk.engine.execution.open_bundles("s") == len(open_now)
        assert desk.reserved() == len(open_now) * 200_000 * 100 * GWEI


def _last_states(desk: CycleDesk) -> dict[int, str]:
    return {row["order"]: row["state"] for row in desk.of("cycle_states")}


def _keep(desk: CycleDesk, standing: dict[str, tuple[str, int, int]], done: set[str]) -> None:
    """A plain model of the last row: which receipts stand, by transaction."""
    kind, values = desk.last
    tx = values["tx_hash"]
    if kind == "receipts" and values["status"] != "dropped":
        if tx not in done and (tx not in standing or standing[tx][0] != values["block_hash"]):
            profit = int(values["profit"]) if values["profit"] is not None else 0
            standing[tx] = (values["block_hash"], values["gas_used"] * 12 * GWEI, profit)
    elif kind == "transactions" and values["event"] == "reorged" and tx not in done:
        standing.pop(tx, None)
    elif kind == "transactions" and values["event"] == "final":
        done.add(tx)


def test_reserves_are_what_they_were() -> None:
    """The pools of the tests differ by more than their fees."""
    assert earned(10**18) > 0
    assert RESERVES[CHEAP.address] != RESERVES[DEAR.address]
    assert set(TERMS) == {CHAIN}
