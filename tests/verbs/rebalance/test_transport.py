"""The cheapest transfers, against trying every set of transfers with every amount."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product

from hypothesis import given, settings
from hypothesis import strategies as st

from xarb.model.targets import band_of, drifts, targets
from xarb.model.units import MONEY_ONE, PPB
from xarb.verbs.rebalance.transport import Problem, Transfer, Way, cheapest

VENUES = ("alpha", "bravo", "charlie")
HALF = MONEY_ONE // 2


def after(problem: Problem, transfers: tuple[Transfer, ...]) -> dict[str, int]:
    """The balances when all has arrived."""
    balances = dict(problem.balances)
    for way, amount in transfers:
        balances[way.source] -= amount
        balances[way.to] += amount - way.fee
    return balances


def is_allowed(problem: Problem, transfers: tuple[Transfer, ...]) -> bool:
    """Whether the transfers can be made and leave every balance within the band of its target."""
    leaves = dict.fromkeys(problem.balances, 0)
    for way, amount in transfers:
        leaves[way.source] += amount
        if amount - way.fee < max(way.least, 1) or (amount - way.fee) % way.step:
            return False
    if any(leaves[venue] > min(problem.free[venue], problem.balances[venue]) for venue in leaves):
        return False
    balances = after(problem, transfers)
    total = sum(balances.values())
    wanted, band = targets(total, problem.shares), band_of(total, problem.band_ppb)
    return all(abs(balances[venue] - wanted[venue]) <= band for venue in wanted)


def is_pointless(way: Way, ways: Sequence[Way]) -> bool:
    """Whether another network between the same venues is cheaper and takes as little."""
    return any((one.source, one.to) == (way.source, way.to) and one.fee < way.fee and one.least <= way.least for one in ways)


def brute(problem: Problem) -> tuple[int, int] | None:
    """Cost and number of the best set of transfers, by trying all.

    Fees that are paid lessen what the targets are shares of, so that a dearer network could bring coarse amounts nearer to them: by burning
    money. No such plan is looked for: between two venues one network is used, and a dearer one only where its minimum is lower.
    """
    best: tuple[int, int] | None = None
    most = sum(problem.balances.values())
    for count in range(len(problem.ways) + 1):
        for ways in combinations(problem.ways, count):
            cost = sum(way.fee for way in ways)
            if len({(way.source, way.to) for way in ways}) < count or any(is_pointless(way, problem.ways) for way in ways):
                continue
            if best is not None and (cost, count) >= best:
                continue
            for arrive in product(range(1, most + 1), repeat=count):
                transfers = tuple(Transfer(way, one + way.fee) for way, one in zip(ways, arrive, strict=True))
                if is_allowed(problem, transfers):
                    best = (cost, count)
                    break
    return best


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Two or three venues with a few coins, and up to four ways with fees, minima and steps."""
    venues = VENUES[: draw(st.integers(2, 3))]
    balances = {venue: draw(st.integers(0, 5)) for venue in venues}
    parts = [draw(st.integers(0, 4)) for _ in venues]
    parts[0] += sum(parts) == 0
    shares = {venue: MONEY_ONE * part // sum(parts) for venue, part in zip(venues, parts, strict=True)}
    shares[venues[0]] += MONEY_ONE - sum(shares.values())
    pairs = [(source, to) for source in venues for to in venues if source != to]
    step = draw(st.sampled_from((1, 1, 2)))  # of one asset: every amount is a multiple of the coarsest step
    ways = [
        Way(*draw(st.sampled_from(pairs)), f"net{number}", draw(st.integers(0, 2)), draw(st.integers(0, 3)), step)
        for number in range(draw(st.integers(0, 4)))
    ]
    free = {venue: draw(st.sampled_from((amount, amount, max(amount - 1, 0)))) for venue, amount in balances.items()}
    return Problem(balances, free, shares, draw(st.sampled_from((0, PPB // 10, PPB // 5, PPB // 3))), ways)


@settings(max_examples=300, deadline=None)
@given(problem=problems())
def test_the_cheapest_set_is_found(problem: Problem) -> None:
    """Cost and number of transfers are those of the best of all sets with all amounts; the amounts given are allowed."""
    best, answer = brute(problem), cheapest(problem)
    if best is None:
        assert answer.transfers is None
        assert answer.why
    else:
        assert answer.transfers is not None
        assert (sum(one.way.fee for one in answer.transfers), len(answer.transfers)) == best
        assert is_allowed(problem, answer.transfers)


def coins(*amounts: int) -> dict[str, int]:
    """So much at alpha, bravo and so on."""
    return dict(zip(VENUES, (MONEY_ONE * amount for amount in amounts), strict=False))


def evenly(balances: dict[str, int], *ways: Way, band_ppb: int = PPB // 10) -> Problem:
    """All venues should hold the same."""
    shares = {venue: MONEY_ONE // len(balances) for venue in balances}
    shares[VENUES[0]] += MONEY_ONE - sum(shares.values())
    return Problem(balances, balances, shares, band_ppb, ways)


def test_amounts_go_to_the_target_and_not_to_the_edge_of_the_band() -> None:
    """Fees are fixed, so that the next trade does not have to drift far: what moves brings both to their targets, within a step."""
    problem = evenly(coins(9, 1), Way("alpha", "bravo", "NET", MONEY_ONE // 10, MONEY_ONE, 10**10))
    answer = cheapest(problem).transfers
    assert answer is not None
    left = drifts(after(problem, answer), problem.shares)
    assert max(map(abs, left.values())) <= 10**10
    assert after(problem, answer)["alpha"] + after(problem, answer)["bravo"] == sum(problem.balances.values()) - MONEY_ONE // 10


def test_the_cheap_network_is_taken_where_its_minimum_allows() -> None:
    """A network that costs less but takes only more than is to move is passed over for the dearer one."""
    cheap, dear = (Way("alpha", "bravo", name, fee * HALF, least * MONEY_ONE, 1) for name, fee, least in (("C", 0, 5), ("D", 1, 1)))
    assert [one.way.network for one in cheapest(evenly(coins(20, 4), cheap, dear)).transfers or ()] == ["C"]
    assert [one.way.network for one in cheapest(evenly(coins(9, 3), cheap, dear)).transfers or ()] == ["D"]


def test_one_detour_may_cost_less_than_the_straight_way() -> None:
    """Alpha to charlie costs 5, alpha to bravo and bravo to charlie 1 each: bravo sends on what it has already."""
    ways = [Way(*pair, "N", fee * MONEY_ONE, 0, 1) for pair, fee in ((("alpha", "charlie"), 5), (("alpha", "bravo"), 1))]
    ways.append(Way("bravo", "charlie", "N", MONEY_ONE, 0, 1))
    answer = cheapest(evenly(coins(60, 30, 0), *ways, band_ppb=PPB // 100)).transfers or ()
    assert [(one.way.source, one.way.to) for one in answer] == [("alpha", "bravo"), ("bravo", "charlie")]


def test_nothing_moves_within_the_band() -> None:
    """Drifts within the band need no transfer, and no way."""
    assert cheapest(evenly(coins(11, 9))).transfers == ()


def test_a_venue_that_cannot_send_or_take_is_named() -> None:
    """Where all networks out of the full venue, or into the empty one, are closed, the answer says which."""
    back = Way("bravo", "alpha", "N", 0, 0, 1)
    assert "withdrawn from alpha" in cheapest(evenly(coins(9, 1), back)).why
    assert "sent to bravo" in cheapest(evenly(coins(9, 1, 5), Way("alpha", "charlie", "N", 0, 0, 1))).why


def test_the_search_ends_where_there_are_too_many_sets() -> None:
    """After so many sets it gives up and says so."""
    ways = [Way(source, to, "N", 1, 7 * MONEY_ONE, 1) for source in VENUES for to in VENUES if source != to]
    answer = cheapest(evenly(coins(9, 1, 5), *ways), most_sets=3)
    assert answer.transfers is None
    assert "none of the 3 cheapest" in answer.why


def test_five_venues_are_quick() -> None:
    """Two networks between any two of five venues, four of them to be mended: the best is found among thousands of sets."""
    venues = tuple(f"v{number}" for number in range(5))
    balances = dict(zip(venues, (50, 3, 2, 1, 4), strict=True))
    ways = [
        Way(source, to, name, fee + at, 1, 1)
        for at, source in enumerate(venues)
        for to in venues
        for name, fee in (("A", 1), ("B", 3))
        if source != to
    ]
    problem = Problem(balances, balances, dict.fromkeys(venues, MONEY_ONE // 5), PPB // 20, ways)
    answer = cheapest(problem).transfers
    assert answer is not None
    assert [(one.way.source, one.way.to, one.way.network) for one in answer] == [("v0", venue, "A") for venue in venues[1:]]
    assert is_allowed(problem, answer)
