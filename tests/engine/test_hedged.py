"""Swaps on a chain that an order at an exchange hedges: what risk lets go, and that receipts alone move anything."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from tests.engine.cycles import GWEI
from tests.engine.hedges import CHAIN, COINS, COMES, COST, DAI, EXCHANGE, MARKET, OPENING, WETH, HedgeDesk, hedge_terms
from tests.engine.test_onchain import out
from xarb.engine.carried import CarriedBundle, CarriedLeg, PlannedSwap
from xarb.engine.strategy import LegPlan
from xarb.errors import LogError
from xarb.model.command import CancelCycle, SubmitOrder, SwapPath
from xarb.model.event import SlowRow
from xarb.model.order import CARRIED
from xarb.model.units import MONEY_ONE, NANOS_PER_S, Money

GAS = 150_000 * 12 * GWEI  # of a receipt
DOLLARS = 10**12  # a smallest unit of DAI as money


def waiting(**changes: Any) -> HedgeDesk:
    """A desk whose swap is with a node."""
    desk = HedgeDesk(terms=hedge_terms(**changes)).ready()
    desk.plan_now(desk.buy())
    out(desk)
    return desk


def learn(desk: HedgeDesk, **changes: Any) -> None:
    """A row that replaces what is known of the exchange's market."""
    values = msgspec.structs.asdict(desk.engine.instruments[MARKET]) | changes
    desk.fold([SlowRow(desk.seq, desk.now, "instruments", values)])


def test_the_swap_leaves_alone_and_reserves_both_sides() -> None:
    """Its command says what was planned; gas, the token that goes in, and what the hedge sells are set aside."""
    desk = HedgeDesk().ready()
    desk.plan_now(desk.buy())
    (command,) = desk.sent
    assert isinstance(command, SwapPath)
    assert (command.amount, command.token_out, command.min_out) == (COST, WETH, 10**18 * 99 // 100)
    assert (desk.orders, desk.states, desk.bundle_events) == ([], ["pending"], ["opened"])
    assert desk.engine.portfolio.reserved(("main", EXCHANGE, "ETH")) == MONEY_ONE
    assert desk.reserved(DAI) == COST * DOLLARS
    assert desk.reserved() == 200_000 * 100 * GWEI
    row = desk.of("cycles")[0]
    assert (row["token"], row["amount"], row["token_out"], row["min_out"]) == (DAI, str(COST), WETH, str(10**18 * 99 // 100))
    assert (row["expected_out"], row["notional"], row["profit_asset"]) == (str(COMES), COST * DOLLARS, "USD")


def test_the_receipt_releases_the_hedge_of_what_came() -> None:
    """Less came than planned: so much is sold, in whole lots, and the rest is dust; money is what the receipt and the fill say."""
    desk = waiting()
    assert not desk.orders
    got = 10**18 * 995 // 1000 + 7
    desk.swapped(COST, got)
    assert desk.orders == [("open", "sell", 995)]
    assert (desk.at(CHAIN, WETH), desk.at(CHAIN, DAI)) == (
        OPENING["main", CHAIN, WETH] + got,
        OPENING["main", CHAIN, DAI] - COST * DOLLARS,
    )
    desk.fill(2, 310_000, 995)
    assert desk.bundle_events == ["opened", "unbalanced", "closed"]
    assert [(row["asset"], row["qty"], row["cause"]) for row in desk.of("residuals")] == [("ETH", 7, "dust")]
    value = 3100 * 995 * MONEY_ONE // 1000
    assert desk.at(EXCHANGE, "USD") == OPENING["main", EXCHANGE, "USD"] + value - value // 1000
    causes = [(row["venue"], row["asset"], row["cause"], row["order"]) for row in desk.of("ledger")[len(OPENING) :]]
    swap = [(CHAIN, DAI, "swap", 1), (CHAIN, WETH, "swap", 1), (CHAIN, "ETH", "gas", 1)]
    assert causes == [*swap, (EXCHANGE, "ETH", "trade", 2), (EXCHANGE, "USD", "trade", 2), (EXCHANGE, "USD", "fee", 2)]
    assert (desk.all_reserved(), desk.engine.execution.open_bundles("s")) == (0, 0)


def test_the_hedge_keeps_to_what_is_traded_by_then() -> None:
    """Steps of prices grew since the plan: the hedge keeps to them; where nothing is traded any more none leaves until it is again."""
    desk = waiting()
    learn(desk, tick_int=3)
    desk.swapped(COST, 10**18)
    (command,) = [one for one in desk.sent if isinstance(one, SubmitOrder)]
    assert (command.price_int % 3, command.qty_int) == (0, 1_000)
    halted = waiting()
    learn(halted, active=False)
    halted.swapped(COST, 10**18)
    assert not halted.orders


def test_more_than_planned_is_hedged_to_the_end() -> None:
    """The planned part at its limit, and what came beyond it as a residual."""
    desk = waiting()
    desk.swapped(COST, 10**18 + 3 * 10**15)
    assert desk.orders == [("open", "sell", 1_000)]
    desk.fill(2, 310_000, 1_000)
    assert desk.orders[1:] == [("hedge", "sell", 3)]
    desk.fill(3, 310_000, 3)
    assert desk.bundle_events[-1] == "closed"
    assert not desk.of("residuals")


def test_the_other_way_round() -> None:
    """A token is sold on the chain, and bought back as a coin."""
    desk = HedgeDesk().ready()
    desk.plan_now(desk.sell())
    assert desk.reserved(WETH) == MONEY_ONE
    out(desk)
    desk.swapped(10**18, 3_130 * 10**6, buys=False)
    assert desk.orders == [("open", "buy", 1_000)]
    desk.fill(2, 310_100, 1_000)
    assert desk.bundle_events == ["opened", "closed"]
    assert desk.engine.portfolio.flow("s", WETH) + desk.engine.portfolio.flow("s", "ETH") == -GAS


@pytest.mark.parametrize("end", ["reverted", "dropped", "refused"])
def test_what_did_not_come_about_is_not_hedged(end: str) -> None:
    """A revert closes the bundle with its gas booked; what was dropped or refused costs nothing; no order ever leaves."""
    desk = waiting()
    if end == "refused":
        desk.transaction("refused", reason="simulation", tx="")
    else:
        desk.receipt(end)
    if end == "refused":  # a bid of it waits already: nothing ends by that
        assert desk.is_open
        desk.receipt("dropped")
    assert (desk.orders, desk.bundle_events) == ([], ["opened", "closed"])
    assert desk.balance("ETH") == OPENING["main", CHAIN, "ETH"] - (GAS if end == "reverted" else 0)
    assert (desk.balance(DAI), desk.balance(WETH)) == (OPENING["main", CHAIN, DAI], OPENING["main", CHAIN, WETH])
    assert (desk.all_reserved(), desk.engine.execution.open_bundles("s")) == (0, 0)


def test_a_simultaneous_hedge_leaves_at_once_and_is_undone_where_the_swap_fails() -> None:
    """Both at once; a revert leaves the sale alone, which is bought back within its cap."""
    desk = HedgeDesk().ready()
    desk.plan_now(desk.buy(sequence="simultaneous"))
    assert [type(one) for one in desk.sent] == [SwapPath, SubmitOrder]
    out(desk)
    desk.fill(2, 310_000, 1_000)
    assert desk.orders == [("open", "sell", 1_000)], "the swap may come yet: nothing is undone"
    desk.receipt("reverted")
    assert desk.orders[1:] == [("unwind", "buy", 1_000)]
    desk.fill(3, 310_100, 1_000)
    assert desk.bundle_events[-1] == "closed"


def reorganised(**changes: Any) -> HedgeDesk:
    """A desk whose swap was hedged, and then its block is gone."""
    desk = waiting(**changes)
    desk.swapped(COST, 10**18)
    desk.fill(2, 310_000, 1_000)
    assert desk.bundle_events == ["opened", "closed"]
    desk.transaction("reorged")
    return desk


def test_a_reorganisation_takes_the_swap_back_and_waits_for_it() -> None:
    """Its rows are booked back, the bundle goes on with the hedge as its residual, and another block that holds it balances that."""
    desk = reorganised()
    assert (desk.balance(DAI), desk.balance(WETH)) == (OPENING["main", CHAIN, DAI], OPENING["main", CHAIN, WETH])
    assert desk.bundle_events == ["opened", "closed", "reopened", "unbalanced"]
    assert (desk.engine.execution.open_bundles("s"), desk.orders[1:]) == (1, [])
    desk.swapped(COST, 10**18, block="0xother")
    assert desk.bundle_events[-1] == "closed"
    assert (desk.orders[1:], desk.all_reserved()) == ([], 0)


def test_a_swap_that_is_gone_for_good_leaves_the_hedge_to_be_undone() -> None:
    """It was reorganised and then lost its nonce: what was sold is bought back by the policy of residuals."""
    desk = reorganised()
    desk.receipt("dropped")
    assert desk.orders[1:] == [("unwind", "buy", 1_000)]
    desk.fill(3, 310_100, 1_000)
    assert desk.bundle_events[-1] == "closed"
    assert desk.engine.portfolio.flow("s", "ETH") == -0 + 0
    assert desk.all_reserved() == 0


def test_a_reorganised_swap_is_waited_for_so_long_and_no_longer() -> None:
    """After `unknown_wait_ns` the hedge is undone; where the swap comes in after all, that is hedged anew."""
    desk = reorganised(unknown_wait_ns=NANOS_PER_S)
    desk.now += 2 * NANOS_PER_S
    desk.quote()
    assert desk.orders[1:] == [("unwind", "buy", 1_000)]
    desk.fill(3, 310_100, 1_000)
    desk.swapped(COST, 10**18, block="0xother")
    assert desk.orders[2:] == [("hedge", "sell", 1_000)]
    desk.fill(4, 310_000, 1_000, "f3")
    assert desk.bundle_events[-1] == "closed"


def test_a_deadline_that_is_past_gives_the_swap_up_and_the_bundle_lives_on() -> None:
    """One cancel, by the first block after it; the bundle ends when the chain says so, not before."""
    desk = waiting()
    for _ in range(4):
        desk.block()
    assert [one for one in desk.sent if isinstance(one, CancelCycle)] == []
    desk.block()
    desk.block()
    assert [type(one) for one in desk.sent] == [SwapPath, CancelCycle]
    assert desk.engine.execution.open_bundles("s") == 1
    desk.receipt("dropped")
    assert (desk.engine.execution.open_bundles("s"), desk.all_reserved(), desk.orders) == (0, 0, [])


def test_a_swap_that_comes_after_a_kill_to_unwind_is_undone_at_the_exchange() -> None:
    """Its hedge was never sent; what undoes a swap is its hedge, and the engine goes on."""
    desk = waiting()
    desk.slow("operator", action="kill", actor="a test", detail="unwind")
    desk.swapped(COST, 10**18)
    assert desk.orders == [("hedge", "sell", 1_000)]


def test_what_may_come_counts_in_the_exposure() -> None:
    """A second swap waits for the first, whose worst case counts; once it is hedged there is room again."""
    desk = HedgeDesk(terms=hedge_terms(max_exposure={"ETH": Money(MONEY_ONE * 15 // 10)})).ready()
    desk.plan_now(desk.buy(), desk.buy())
    assert [row["reason"] for row in desk.of("refusals")] == ["max_exposure"]
    assert desk.engine.execution.exposure("s", "ETH") == (-MONEY_ONE, COMES)
    out(desk)
    desk.swapped(COST, 10**18)
    assert desk.engine.execution.exposure("s", "ETH") == (-GAS, MONEY_ONE - GAS)
    desk.fill(2, 310_000, 1_000)
    assert desk.engine.execution.exposure("s", WETH) == (-GAS, -GAS)
    desk.quote()
    desk.plan_now(desk.buy())
    assert len([one for one in desk.sent if isinstance(one, SwapPath)]) == 2


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"hops": ()}, "too_few_legs"),
        ({"hops": ((0, False), (0, True))}, "no_path"),
        ({"hops": ((0, False), (1, True))}, "no_path"),
        ({"hops": ((0, False), (1, False))}, "no_path"),
        ({"hops": ((MARKET, True),)}, "not_atomic"),
        ({"venue": "base"}, "chain_unknown"),
        ({"amount": 0}, "plan_incomplete"),
        ({"min_out": 0}, "plan_incomplete"),
        ({"min_out": COMES + 1}, "unprofitable"),
        ({"deadline_s": 1}, "deadline"),
        ({"sequence": "hard_leg_first"}, "sequence_unknown"),
        ({"hedge": LegPlan(MARKET, "buy", 310_200, 1_000)}, "unbalanced"),
        ({"hedge": LegPlan(MARKET, "sell", 309_900, 1_001)}, "unbalanced"),
        ({"hedge": LegPlan(MARKET, "sell", 309_900, 999)}, "unbalanced"),
        ({"hedge": LegPlan(0, "sell", 309_900, 999)}, "pool_takes_no_orders"),
        ({"profit_asset": "ETH"}, "mixed_currency"),
        ({"gas_limit": 10**9}, "balance"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], reason: str) -> None:
    """Each rule by its name; nothing leaves and nothing is reserved."""
    desk = HedgeDesk().ready()
    desk.plan_now(desk.buy(**changes))
    assert [row["reason"] for row in desk.of("refusals")] == [reason]
    assert (desk.sent, desk.all_reserved(), desk.bundle_events) == ([], 0, [])


@pytest.mark.parametrize(
    ("setup", "reason"),
    [
        ({"coins": {}}, "identity_unproven"),
        ({"coins": {WETH: "ETH"}}, "identity_unproven"),
        ({"coins": {WETH: "ETH", DAI: "USDT"}}, "mixed_currency"),
        ({"poor": ("main", CHAIN, DAI)}, "balance"),
        ({"poor": ("main", EXCHANGE, "ETH")}, "balance"),
        ({"poor": ("main", CHAIN, "ETH")}, "balance"),
    ],
)
def test_no_token_is_a_coin_by_its_name_and_both_wallets_pay(setup: dict[str, Any], reason: str) -> None:
    """A token counts as what a person says, and as nothing else; gas, token and coin must all be there."""
    from tests.engine.cycles import TERMS

    given: dict[str, Any] = {}
    if "coins" in setup:
        terms = TERMS[CHAIN]
        given["chains"] = {CHAIN: msgspec.structs.replace(terms, coins=setup["coins"])}
    else:
        given["opening"] = OPENING | {setup["poor"]: Money(10**15)}
    desk = HedgeDesk(**given).ready()
    desk.plan_now(desk.buy())
    assert [row["reason"] for row in desk.of("refusals")] == [reason]


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"max_open_bundles": 0}, "max_open_bundles"),
        ({"max_notional": Money(3_000 * MONEY_ONE)}, "max_notional"),
        ({"daily_volume": Money(6_000 * MONEY_ONE)}, "daily_volume"),
        ({"orders_per_second": 1}, "orders_per_second"),
        ({"max_exposure": {"ETH": Money(MONEY_ONE // 2)}}, "max_exposure"),
        ({"max_exposure": {WETH: Money(MONEY_ONE // 2)}}, "max_exposure"),
        ({"max_exposure": {"ETH": Money(MONEY_ONE * 101 // 100)}}, "max_exposure"),  # gas may take 0.02
        ({"max_exposure": {"USD": Money(3_000 * MONEY_ONE)}}, "max_exposure"),
        ({"max_symbol_open": Money(6_000 * MONEY_ONE)}, "symbol_open"),
        ({"max_venue_open": Money(3_050 * MONEY_ONE)}, "venue_open"),
        ({"max_bundle_loss": {"USD": Money(MONEY_ONE)}}, "bundle_loss"),
    ],
)
def test_limits_bind_both(limits: dict[str, Any], reason: str) -> None:
    """The swap counts as a leg on its chain, in the hedge's symbol and currency."""
    desk = HedgeDesk(terms=hedge_terms(**limits)).ready()
    desk.plan_now(desk.buy())
    assert [row["reason"] for row in desk.of("refusals")] == [reason]


BURNT = 3_101 * MONEY_ONE // 50  # 0.02 ETH of gas, at the ask
CENTS = MONEY_ONE // 10**5  # of a thousandth of an ETH


@pytest.mark.parametrize(
    ("worst", "policy"),
    [
        # it reverts, or a reorganisation takes it back, and the hedge is bought back at the unwind cap of 50 bps above 3099
        (BURNT + 1_000 * (311_449 - 309_900) * CENTS + 1_000 * (311_449 + 309_900) * CENTS // 1000, {}),
        # the least comes, and is sold at the hedge cap
        (COST * DOLLARS - 990 * 294_405 * CENTS * 999 // 1000 + BURNT, {"hedge_cap_ppb": 50_000_000}),
        # the hedge is all there is, and is worth what it would cost
        (BURNT + 2 * MONEY_ONE + 3_099 * MONEY_ONE // 1000, {"residual": "hold"}),
    ],
)
def test_at_worst_the_least_comes_or_the_hedge_stands_alone(worst: int, policy: dict[str, Any]) -> None:
    """Gas is in it, and the hedge as far as its cap; the bound itself is allowed."""
    for bound in (worst - 1, worst):
        desk = HedgeDesk(terms=hedge_terms(max_bundle_loss={"USD": Money(bound)}, **policy)).ready()
        desk.plan_now(desk.buy())
        refused = [(row["reason"], row["value"]) for row in desk.of("refusals")]
        assert refused == ([("bundle_loss", worst)] if bound < worst else [])


def test_gas_is_a_loss_of_the_bundle_whose_swap_burned_it() -> None:
    """What the pools gave, less what the receipt burned, counts at the bid; once too much is lost it kills."""
    desk = waiting(max_bundle_loss={"USD": Money(300 * MONEY_ONE)})
    desk.swapped(COST, 10**18 * 99 // 100)
    assert "beyond" not in desk.bundle_events
    desk.quote(270_000, 270_100)
    desk.now += NANOS_PER_S
    desk.quote(270_000, 270_100)
    desk.now += NANOS_PER_S
    desk.quote(270_000, 270_100)
    assert desk.bundle_events == ["opened", "beyond"]
    [row] = desk.of("refusals")
    held = COST * DOLLARS - 99 * 2_700 * MONEY_ONE // 100
    assert (row["reason"], row["value"]) == ("loss", held + GAS * 2_700)


def test_a_swap_that_brought_too_little_is_told_with_its_receipt() -> None:
    """No second is waited for."""
    desk = waiting(max_bundle_loss={"USD": Money(300 * MONEY_ONE)})
    desk.swapped(COST, 10**18 // 2)
    assert desk.bundle_events == ["opened", "beyond"]


def test_a_receipt_of_other_tokens_is_no_receipt_of_it() -> None:
    """What was not asked for is not booked."""
    desk = waiting()
    with pytest.raises(LogError, match="not asked for"):
        desk.swapped(10**18, 3_000 * 10**6, buys=False)
    other = waiting()
    with pytest.raises(LogError, match="does not say"):
        other.receipt("succeeded", profit_token=None, profit=None, token_in=DAI, token_out=WETH)


def test_a_swap_whose_hedge_never_left_is_settled_without_one() -> None:
    """It brought less than a lot, or a person killed to `unwind` while it waited: what is left is dust, or is undone."""
    dust = waiting()
    dust.swapped(COST, 7)
    assert (dust.orders, dust.bundle_events[-1]) == ([], "closed")
    assert [(row["qty"], row["cause"]) for row in dust.of("residuals")] == [(7, "dust")]
    killed = waiting()
    killed.slow("operator", action="kill", actor="a test", detail="unwind")
    killed.swapped(COST, 10**18)
    assert killed.orders == [("hedge", "sell", 1_000)]
    killed.fill(2, 310_000, 1_000)
    assert killed.bundle_events[-1] == "closed"


def carried(**swap: str) -> CarriedBundle:
    """A bundle of an earlier start whose swap came, and whose hedge did not leave."""
    leg = CarriedLeg(venue=EXCHANGE, symbol="ETH/USD", side="sell", price=3_099 * MONEY_ONE, qty=MONEY_ONE)
    return CarriedBundle(
        start=0,
        bundle=1,
        account="main",
        strategy="s",
        state=CARRIED,
        sequence="dex_first",
        flat=("ETH",),
        cycle=False,
        legs=(leg,),
        orders=(),
        flows={"ETH": MONEY_ONE, "USD": -3_000 * MONEY_ONE},
        traded=(),
        swap=PlannedSwap(venue=CHAIN, order=1, coins=COINS, **swap),
    )


@pytest.mark.parametrize("burnt", [True, False])
def test_gas_of_an_earlier_start_is_in_what_a_carried_bundle_lost(*, burnt: bool) -> None:
    """What came is worth 100 more than was paid, but for what the receipt burned: a tenth of an ETH, 310."""
    gas = {"ETH": -MONEY_ONE // 10} if burnt else {}
    bundle = msgspec.structs.replace(carried(base="1", quote="3000"), gas=gas)
    desk = HedgeDesk(bundles=(bundle,), terms=hedge_terms(max_bundle_loss={"USD": Money(209 * MONEY_ONE)})).ready()
    desk.now += NANOS_PER_S
    desk.quote()
    assert [row["value"] for row in desk.of("refusals") if row["reason"] == "loss"] == ([210 * MONEY_ONE] if burnt else [])
    assert ("beyond" in desk.bundle_events) is burnt


@pytest.mark.parametrize(
    ("why", "swap", "setup"), [("swap_carried", {}, {}), ("chain_gone", {"base": "1", "quote": "3000"}, {"chains": {}})]
)
def test_a_bundle_of_an_earlier_start_whose_swap_cannot_be_followed_is_inventory(
    why: str, swap: dict[str, str], setup: dict[str, Any]
) -> None:
    """A log of an older version does not say how much it may swap, or the config has the chain no more: a row says which, and nothing is sent."""
    desk = HedgeDesk(bundles=(carried(**swap),), **setup).ready()
    assert [row["reason"] for row in desk.of("refusals")] == [why]
    assert [(row["asset"], row["qty"], row["cause"]) for row in desk.of("residuals")] == [("ETH", MONEY_ONE, "orphaned")]
    assert (desk.bundle_events, desk.sent) == (["carried", "held"], [])


@pytest.mark.parametrize("seed", range(20))
def test_random_courses_end_balanced_over_checkpoints(seed: int) -> None:
    """Whatever comes in whatever order: nothing stays reserved, no base is left but dust, the swap's flows are the chain's truth."""
    draw = random.Random(seed)  # noqa: S311  # a test's draw
    desk = HedgeDesk(terms=hedge_terms(unknown_wait_ns=draw.choice([0, NANOS_PER_S]))).ready()
    desk.plan_now(desk.buy(sequence=draw.choice(["dex_first", "simultaneous"])))
    out(desk)
    got, number = 0, 0
    for step in range(25):
        done = {row["order"]: row["state"] for row in desk.of("orders")}
        alive = [order for order, state in done.items() if state not in ("filled", "expired")]
        act = draw.choice(["in", "gone", "fill", "expire", "time", "copy"])
        if act == "in" and desk.is_open:
            number += 1
            got = draw.choice([10**18, 10**18 * 995 // 1000, 10**18 + 2 * 10**15])
            desk.swapped(COST, got, block=f"0x{number}")
        elif act == "gone" and got:
            desk.transaction("reorged")
            got = 0
        elif act in ("fill", "expire") and alive:
            submit = next(row for row in desk.of("commands") if row["order"] == alive[0] and row["kind"] == "submit")
            left = submit["qty_int"] if act == "fill" else submit["qty_int"] // 2
            if left:
                desk.fill(alive[0], 310_000 if submit["side"] == "sell" else 310_100, left, f"f{step}")
            if act == "expire":
                desk.report(alive[0], "expired")
        elif act == "time":
            desk.now += 2 * NANOS_PER_S
            desk.quote()
        elif act == "copy":
            desk.copy()
    if desk.is_open:
        desk.receipt(draw.choice(["reverted", "dropped"]))
    for step in range(100, 120):
        done = {row["order"]: row["state"] for row in desk.of("orders")}
        alive = [order for order, state in done.items() if state not in ("filled", "expired")]
        for order in alive:
            submit = next(row for row in desk.of("commands") if row["order"] == order and row["kind"] == "submit")
            filled = [row["filled_qty"] for row in desk.of("orders") if row["order"] == order][-1] // 10**15
            desk.fill(order, 310_000 if submit["side"] == "sell" else 310_100, submit["qty_int"] - filled, f"g{step}-{order}")
        if not alive:
            desk.now += 12 * NANOS_PER_S
            desk.quote()
    flow = desk.engine.portfolio.flow
    gas = sum(row["delta"] for row in desk.of("ledger") if row["cause"] == "gas")
    assert flow("s", WETH) == got
    held = sum(one.qty for (asset, _), one in desk.engine.portfolio.holdings("s").items() if asset == "ETH")
    assert flow("s", WETH) + flow("s", "ETH") - gas == held
    assert abs(held) < 10**15 or desk.bundle_events[-1] == "held"
    assert desk.all_reserved() == 0
    assert desk.bundle_events[-1] in ("closed", "held")
    assert desk.engine.execution.open_bundles("s") == 0
