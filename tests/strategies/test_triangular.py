"""Triangular arbitrage in a real engine: what is found, decided, told and remembered."""

from __future__ import annotations

from itertools import pairwise, permutations
from typing import Any

import msgspec
import pytest

from tests.defaults import breaker_limits, strategy_terms, triangular_params
from tests.engine.desk import HOUR, Desk, money
from tests.engine.table import instrument
from xarb.engine.captured import EngineCopy
from xarb.errors import InvariantBroken
from xarb.model.instrument import FeeTier
from xarb.model.units import MONEY_ONE, NANOS_PER_S, Ppb
from xarb.strategies.cycles import MAX_FOUND
from xarb.strategies.triangular import TradeGraph, Triangular, TriangularState

FREE = FeeTier(maker_ppb=Ppb(0), taker_ppb=Ppb(0))
# Buying BTC at 100, ETH for 2 of them and selling it at 210 brings 1,050 USD of 1,000.
QUOTES = ((99, 100), (1, 2), (210, 211))
FAIR = ((99, 100), (1, 2), (200, 211))


def triangle(
    *,
    params: dict[str, Any] | None = None,
    fee: FeeTier = FREE,
    venues: str = "aaa",
    starts: tuple[str, ...] = ("USD",),
    **desk: Any,
) -> Desk:
    """A desk with BTC/USD, ETH/BTC and ETH/USD, and the strategy that goes through them, looking at every row."""
    made = [
        instrument(venues[0]),
        instrument(venues[1], base="ETH", quote="BTC", symbol="ETH/BTC"),
        instrument(venues[2], base="ETH", symbol="ETH/USD"),
    ]
    graph = TradeGraph(instruments=(0, 1, 2), assets={0: ("BTC", "USD"), 1: ("ETH", "BTC"), 2: ("ETH", "USD")}, starts=starts)
    strategy = Triangular("tri", "main", graph, triangular_params(**(params or {})), rates={}, assumed_qty={})
    known = {(venue, asset): asset for venue in venues for asset in ("BTC", "ETH", "USD")}
    setup: dict[str, Any] = {
        "quiet": True,
        "groups": [],
        "fee": fee,
        "identities": known,
        "terms": {"tri": strategy_terms()},
        "real": [strategy],
    }
    return Desk("xyz", instruments=made, **(setup | desk))


def show(desk: Desk, quotes: tuple[tuple[int, int], ...] = QUOTES, *, size: int = 10) -> list[str]:
    """One quote of each instrument; what the engine did."""
    did: list[str] = []
    for number, (bid, ask) in enumerate(quotes):
        did += desk.quote(number, bid, ask, size=size)
    return did


def told(desk: Desk) -> list[str]:
    """The rows of opportunities as short texts."""
    rows = desk.drained("opportunities")
    return [f"{row['opportunity']} {row['phase']} {row['verdict'] or ''} {row['reason'] or ''}".strip() for row in rows]


def test_a_cycle_that_earns_is_planned() -> None:
    """Ten BTC for 1,000 USD, five ETH for them, sold for 1,050; the rows name the trades in order."""
    desk = triangle()
    assert show(desk) == ["open 1 buy a 100 10", "open 2 buy a 2 5", "open 3 sell a 210 5"]
    rows = desk.drained("opportunities")
    assert [row["phase"] for row in rows] == ["opened", "decided"]
    assert {row["legs"] for row in rows} == {"buy BTC/USD@a, buy ETH/BTC@a, sell ETH/USD@a"}
    assert [row["edge_ppb"] for row in rows] == [50_000_000, 50_000_000]
    assert {row["sell_venue"] for row in rows} == {None}
    assert {row["opportunity"] for row in desk.drained("commands")} == {1}


def test_a_cycle_is_told_from_its_beginning_to_its_end() -> None:
    """A new one has a new number."""
    desk = triangle()
    show(desk)
    show(desk, FAIR)
    show(desk)
    assert [line for line in told(desk) if "decided" not in line] == ["1 opened", "1 closed  edge_gone", "2 opened"]


@pytest.mark.parametrize(
    ("params", "fee", "reason"),
    [
        ({"min_profit_ppb": Ppb(50_000_001)}, FREE, "min_profit_bps"),
        ({"min_profit_quote": money(51)}, FREE, "min_profit_quote"),
        ({"max_edge_ppb": 49_999_999}, FREE, "abnormal_edge"),
        ({"max_open_bundles": 0}, FREE, "max_open_bundles"),
        ({"max_notional_quote": money(99)}, FREE, "max_notional"),
    ],
)
def test_gates(params: dict[str, Any], fee: FeeTier, reason: str) -> None:
    """Each says no by name, once for a cycle."""
    desk = triangle(params=params, fee=fee)
    assert show(desk) == [f"refuse {reason}"]
    assert show(desk) == []
    assert told(desk) == ["1 opened", f"1 decided refused {reason}"]


def test_thresholds() -> None:
    """It opens at `open_ppb` and stands until it falls to `close_ppb`; fees count."""
    desk = triangle(params={"open_ppb": 50_000_001})
    assert show(desk) == []
    desk = triangle(params={"open_ppb": 50_000_000, "close_ppb": 20_000_000})
    show(desk)
    show(desk, ((99, 100), (1, 2), (205, 211)))
    assert [line for line in told(desk) if "closed" in line] == []
    show(desk, ((99, 100), (1, 2), (204, 211)))
    assert told(desk)[-1] == "1 closed  edge_gone"
    assert show(triangle(fee=FeeTier(maker_ppb=Ppb(0), taker_ppb=Ppb(17_000_000)))) == []


def test_liquidity_is_asked_for_once() -> None:
    """Rows that did not change carry no second plan; a new row of one leg offers what it shows anew, the others' depth is gone."""
    desk = triangle()
    assert len(show(desk)) == 3
    assert desk.quote(0, 99, 100, size=10) == []
    assert desk.quote(0, 99, 100, size=20) == ["open 4 buy a 100 10", "open 5 buy a 2 5", "open 6 sell a 210 5"]
    assert desk.quote(0, 99, 100, size=30) == ["refuse depth"]


def test_what_may_not_be_traded_has_no_rate() -> None:
    """A quote that is too old takes the cycle away."""
    desk = triangle(params={"latency_threshold_ns": NANOS_PER_S})
    show(desk)
    desk.quote(0, 99, 100, ts=desk.now + 2 * NANOS_PER_S)
    assert told(desk)[-1] == "1 closed  edge_gone"


def test_venues_are_crossed_with_what_lies_there() -> None:
    """The cycle goes over three venues; without ETH where it is sold nothing is planned."""
    desk = triangle(venues="abc")
    assert show(desk) == ["open 1 buy a 100 10", "open 2 buy b 2 5", "open 3 sell c 210 5"]
    opening = {("main", venue, asset): money(1_000_000) for venue in "ab" for asset in ("BTC", "ETH", "USD")}
    assert show(triangle(venues="abc", opening=opening | {("main", "c", "ETH"): money(0)})) == ["refuse balance"]


def test_moving_costs_between_venues() -> None:
    """A cost of 1 % of the BTC, the ETH and the USD that must be brought back makes 5 % some 2 %; on one venue nothing is moved."""
    costs = {asset: Ppb(10_000_000) for asset in ("BTC", "ETH", "USD")}
    moving = msgspec.structs.replace(triangular_params().moving, costs=costs)
    desk = triangle(venues="abc", params={"moving": moving, "min_profit_ppb": Ppb(30_000_000)})
    assert show(desk) == ["refuse min_profit_bps"]
    assert len(show(triangle(params={"moving": moving, "min_profit_ppb": Ppb(50_000_000)}))) == 3


def test_it_goes_on_from_a_copy() -> None:
    """Open cycles keep their numbers, and what was told of them is not told again."""
    params = {"min_profit_quote": money(51)}
    desk = triangle(params=params)
    show(desk)
    copy = msgspec.json.decode(msgspec.json.encode(desk.engine.capture()), type=EngineCopy)
    fresh = triangle(params=params)
    fresh.engine.restore(copy)
    fresh.seq, fresh.now = desk.seq, desk.now
    assert show(fresh) == []
    show(fresh, FAIR)
    assert told(fresh) == ["1 closed  edge_gone"]


def test_a_scan_finds_what_no_edge_announces() -> None:
    """The timer of a strategy without pairs runs from the first input on."""
    desk = triangle(params={"every_row": False, "scan_ns": NANOS_PER_S // 10})
    assert show(desk) == []
    assert desk.quote(0, 99, 100, ts=NANOS_PER_S // 5 + 1, size=10) == [
        "open 1 buy a 100 10",
        "open 2 buy a 2 5",
        "open 3 sell a 210 5",
    ]
    assert [row["ts"] for row in desk.drained("commands")] == [NANOS_PER_S // 10] * 3


def test_a_probe_goes_round_with_as_little_as_can_be() -> None:
    """The breaker of the venue is half open after an order was rejected: 2 BTC for one ETH, and no least profit in quote is asked for."""
    limits = breaker_limits(rejects=1, pause_ns=NANOS_PER_S)
    desk = triangle(params={"min_profit_quote": money(20)}, breakers={"a": limits})
    assert len(show(desk)) == 3
    for order in (1, 2, 3):
        desk.report(order, "rejected")
    show(desk, FAIR, size=11)
    desk.quote(0, 99, 100, ts=desk.now + 2 * NANOS_PER_S, size=12)
    assert show(desk, size=13) == ["open 4 buy a 100 2", "open 5 buy a 2 1", "open 6 sell a 210 1"]


def test_a_cycle_through_two_starts_keeps_its_name() -> None:
    """Found from either, it is the one of the start that is named first, whatever rounding says of its product."""
    desk = triangle(starts=("USD", "ETH"))
    show(desk)
    show(desk, ((99, 100), (1, 2), (213, 214)))
    assert [line for line in told(desk) if "decided" not in line] == ["1 opened"]
    assert {row["legs"].split(",")[0] for row in desk.drained("opportunities")} == {"buy BTC/USD@a"}


def test_cycles_that_are_left_out_are_told_once_a_minute() -> None:
    """20 assets, each priced in all others: how many more cycles earn than are looked at, in a row of refusals; also after a copy."""
    assets = [f"C{number:02}" for number in range(20)]
    pairs = [(base, quote) for quote in range(20) for base in range(quote + 1, 20)]
    made = [instrument("a", base=assets[b], quote=assets[q], symbol=f"{assets[b]}/{assets[q]}") for b, q in pairs]
    assert len({one.symbol for one in made}) == 190

    def crowd() -> Desk:
        params = triangular_params(every_row=False, scan_ns=NANOS_PER_S, max_open_bundles=0, max_legs=4, latency_threshold_ns=HOUR)
        graph = TradeGraph(
            instruments=tuple(range(190)), assets={at: (one.base, one.quote) for at, one in enumerate(made)}, starts=("C00",)
        )
        strategy = Triangular("tri", "main", graph, params, rates={}, assumed_qty={})
        terms = {"tri": strategy_terms()}
        return Desk("a" * 190, instruments=made, quiet=True, groups=[], fee=FREE, terms=terms, real=[strategy])

    desk = crowd()
    for number in range(190):
        desk.quote(number, ts=number + 1)  # at 100: a cycle of more sales than purchases earns
    for second in (1, 2):
        desk.quote(0, ts=second * NANOS_PER_S + 1)
    again = crowd()
    again.engine.restore(desk.engine.capture())
    again.seq, again.rows = desk.seq, [*desk.rows]
    for each in (desk, again):
        for second in (30, 60, 61, 62):
            each.quote(0, ts=second * NANOS_PER_S + 1)
        told = [row for row in each.drained("refusals") if row["reason"] == "cycles_left_out"]
        assert [row["ts"] // NANOS_PER_S for row in told] == [1, 61]
        [left_out] = {row["value"] for row in told}
        earning = brute_count(pairs)
        assert left_out == (earning - MAX_FOUND) * MONEY_ONE > 0
        assert {(row["strategy"], row["venue"], row["bound"]) for row in told} == {("tri", None, MAX_FOUND * MONEY_ONE)}


def brute_count(pairs: list[tuple[int, int]]) -> int:
    """Cycles of three and four legs through asset 0 that earn where each pair trades at 100."""
    found = 0
    for legs in (3, 4):
        for middle in permutations(range(1, 20), legs - 1):
            way = [0, *middle, 0]
            found += sum(1 if step in pairs else -1 for step in pairwise(way)) > 0
    return found


def test_a_cycle_that_begins_twice_breaks_the_engine() -> None:
    """As a decision on an opportunity that does not exist does."""
    desk = triangle()
    show(desk)
    memory = desk.engine._strategies[0].state
    assert isinstance(memory, TriangularState)
    memory.standing.clear()
    memory.found = 0
    with pytest.raises(InvariantBroken, match="before or never began"):
        show(desk)
