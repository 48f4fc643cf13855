"""Jumps: a quote that leaves its usual distance from its peers in one move, however far that distance is."""

from __future__ import annotations

import pytest

from tests.defaults import feed_limits
from tests.engine.market import Market
from tests.engine.table import instrument
from xarb.engine.setup import FeedLimits
from xarb.model.units import INT64_MAX, NANOS_PER_S, NULL

BPS = 100_000
HOUR = 3600 * NANOS_PER_S
LIMITS = feed_limits(
    liveness_ns=HOUR,
    cache_ns=100 * NANOS_PER_S,
    freeze_ns=0,
    quality_floor=0,
    spread_multiple=0,
    outlier_floor_ppb=200 * BPS,
    jump_ppb=75 * BPS,
    jump_ns=30 * NANOS_PER_S,
)


def market(letters: str = "abc", limits: FeedLimits = LIMITS) -> Market:
    """Quotes of the letters, peers of one another."""
    return Market(letters, limits=limits)


def premium(limits: FeedLimits = LIMITS) -> Market:
    """Venue c stands 1 % above the two others."""
    found = market(limits=limits)
    found.check(
        """
        0.0 a quote 9999 5 10001 5   > feed a down live
        0.1 b quote 9999 5 10001 5   > feed b down live
        0.2 c quote 10099 5 10101 5  > feed c down live
        """
    )
    return found


def usual(of: Market, letter: str = "c") -> int:
    """The usual distance in bps, rounded down."""
    return int(of.record(letter)["usual_ppb"]) // BPS


def test_an_outlier_inside_a_premium_is_a_jump() -> None:
    """Venue c is usually 100 bps above its peers: 90 bps below its usual place it is flagged though it agrees with them; then it is back."""
    premium().check(
        """
        1.0 c quote 10009 5 10011 5  > flag c jump; feed c live outlying
        2.0 c quote 10099 5 10101 5  > feed c outlying live
        3.0 c quote 10099 5 10281 5  > flag c jump; feed c live outlying
        4.0 c quote 10099 5 10101 5  > feed c outlying live
        """
    )


def test_the_bound_is_exact() -> None:
    """From 100 bps above 10,000, a jump to 175 is none, nor to two units more, which are the rounding of mids; three units more are one."""
    for above, caused in ((175, ""), (177, ""), (178, "> flag c jump; feed c live outlying")):
        mid = 10_000 + above
        premium().check(f"1.0 c quote {mid - 1} 5 {mid + 1} 5 {caused}")


def test_a_jump_is_flagged_once_and_each_of_its_rows_is_kept_out() -> None:
    """Repeats and further moves of a jump keep the feed outlying without another flag."""
    premium().check(
        """
        1.0 c quote 10009 5 10011 5  > flag c jump; feed c live outlying
        1.1 c quote 10009 5 10011 5
        1.2 c quote 10007 5 10011 5
        1.3 c quote 10009 6 10011 5
        2.0 c quote 10098 5 10101 5  > feed c outlying live
        3.0 c quote 10009 5 10011 5  > flag c jump; feed c live outlying
        """
    )


def test_a_jump_that_lasts_is_the_new_usual_distance() -> None:
    """After `jump_ns` the row is sound, and from then on the way back is the jump."""
    one = premium()
    one.check(
        """
        1.0 c quote 10009 5 10011 5         > flag c jump; feed c live outlying
        15.0 a quote 9999 5 10001 5
        15.1 b quote 9999 5 10001 5
        30.999999999 c quote 10009 5 10011 5
        31.0 c quote 10009 5 10011 5        > feed c outlying live
        32.0 c quote 10099 5 10101 5        > flag c jump; feed c live outlying
        """
    )
    assert usual(one) == 10


def test_peers_that_move_make_no_jump_of_a_quote_that_stands() -> None:
    """Both peers fall by 90 bps: c, which repeats its quote or moves a little, is not blamed, and its usual distance follows slowly."""
    one = market()
    one.check(
        """
        0.0 a quote 9999 5 10001 5   > feed a down live
        0.1 b quote 9999 5 10001 5   > feed b down live
        0.2 c quote 9999 5 10001 5   > feed c down live
        5.1 a quote 9999 5 10001 5
        5.2 b quote 9999 5 10001 5
        6.0 a quote 9909 5 9911 5    > flag a jump; feed a live outlying
        6.1 b quote 9909 5 9911 5
        6.2 c quote 9999 5 10001 5
        6.3 a quote 9909 5 9911 5    > feed a outlying live
        6.4 c quote 9998 5 10000 5
        """
    )
    assert usual(one) == 5  # a sixteenth of the 90 bps, looked at once
    one.check("7.0 c quote 9909 5 9911 5")  # it catches up


def test_two_peers_must_be_known() -> None:
    """With one peer, or with one that counts, nobody can tell who moved; a jump ends when its judges go."""
    market("ab").check(
        """
        0.0 a quote 9999 5 10001 5   > feed a down live
        0.1 b quote 9999 5 10001 5   > feed b down live
        1.0 b quote 9849 5 9851 5
        """
    )
    premium().check(
        """
        1.0 b gap                    > feed b live gapped
        2.0 c quote 10009 5 10011 5
        3.0 b quote 9999 5 10001 5   > feed b gapped live
        4.0 c quote 10099 5 10101 5
        5.0 c quote 10009 5 10011 5  > flag c jump; feed c live outlying
        6.0 b gap                    > feed b live gapped
        7.0 c quote 10009 5 10011 5  > feed c outlying live
        """
    )


def test_the_usual_distance_outlives_a_lost_connection_but_not_the_cache() -> None:
    """The first quote after a reconnection is judged by the distance of before; after `cache_ns` it is taken as it comes."""
    premium().check(
        """
        1.0 c gap                     > feed c live gapped
        2.0 c quote 10009 5 10011 5   > flag c jump; feed c gapped outlying
        3.0 c quote 10099 5 10101 5   > feed c outlying live
        """
    )
    peers = "90.0 a quote 9999 5 10001 5\n90.1 b quote 9999 5 10001 5\n"
    premium().check(peers + "100.2 c quote 10009 5 10011 5  > flag c jump; feed c live outlying")
    premium().check(peers + "100.200000001 c quote 10009 5 10011 5  > feed c live stale; feed c stale live")


def test_one_side_alone_does_not_end_a_jump() -> None:
    """A jumped quote that loses a side stays outlying: what is left of it was not shown to be sound."""
    premium().check(
        """
        1.0 c quote 10189 5 10191 5  > flag c jump; feed c live outlying
        1.1 c quote 10189 5 10191 0
        1.2 c quote - - 10101 5
        1.3 c quote 10099 5 10101 5  > feed c outlying live
        """
    )


def test_a_finer_scale_is_no_move() -> None:
    """When the group's coarsest scale grows, mids and their bounds are expressed anew: sound rows stay sound and a jump is one."""
    one = Market("abc", limits=LIMITS, instruments=[instrument("a"), *(instrument(x, px_scale=1) for x in "bc")])
    one.check(
        """
        0.0 a quote 9999 5 10001 5     > feed a down live
        0.1 b quote 99990 5 100010 5   > feed b down live
        0.2 c quote 100990 5 101010 5  > feed c down live
        1.0 a scale 1 0
        """
    )
    record = one.record("c")
    assert (int(record["mid"]), int(record["jump_low"]), int(record["jump_high"])) == (
        101_000,
        10 * (10_100 - 18),
        10 * (10_100 + 18),
    )
    one.check(
        """
        2.0 c quote 100980 5 101010 5
        3.0 c quote 100090 5 100110 5  > flag c jump; feed c live outlying
        4.0 a scale 2 0
        5.0 c quote 100090 5 100110 5
        """
    )


def steady(*lines: str, scales: str = "") -> Market:
    """Three at one price, c, then the given rows, with the scale rows among them or not."""
    one = Market("abc", limits=LIMITS, instruments=[instrument("a"), *(instrument(x, px_scale=1) for x in "bc")])
    one.check(
        """
        0.0 a quote 9999 5 10001 5    > feed a down live
        0.1 b quote 99990 5 100010 5  > feed b down live
        0.2 c quote 99990 5 100010 5  > feed c down live
        """
    )
    for line in (lines[0], scales, *lines[1:]):
        if line:
            one.check(line)
    return one


FALL = ("1.0 a quote {} 5 {} 5", "1.1 b quote 99690 5 99710 5", "2.0 a quote {} 5 {} 5", "2.1 b quote 99390 5 99410 5")


def fall(unit: int) -> list[str]:
    """The two peers fall by 60 bps in steps of 30; prices of a in its unit."""
    mids = [(unit * mid - 1, unit * mid + 1) for mid in (9970, 9940)]
    return [FALL[0].format(*mids[0]), FALL[1], FALL[2].format(*mids[1]), FALL[3]]


@pytest.mark.parametrize(("scales", "unit"), [("", 1), ("0.6 a scale 1 0", 10)])
def test_a_finer_scale_keeps_what_moved_since_the_last_look(scales: str, unit: int) -> None:
    """13 bps before the scale grew and 12 after it are a move of 25: a jump, as without it."""
    one = steady("0.5 c quote 100120 5 100140 5", *fall(unit), scales=scales)
    one.check("4.5 c quote 100240 5 100260 5  > flag c jump; feed c live outlying")


@pytest.mark.parametrize(("scales", "unit"), [("", 1), ("0.6 a scale 1 0", 10)])
def test_a_finer_scale_while_one_side_is_absent_is_no_move(scales: str, unit: int) -> None:
    """A quote that comes back where it stood did not move, whatever happened to the scales meanwhile."""
    one = steady("0.3 c quote 99990 5 - -", *fall(unit), scales=scales)
    one.check(f"3.0 a quote {9910 * unit - 1} 5 {9910 * unit + 1} 5")
    one.check("3.1 b quote 99090 5 99110 5")
    one.check("4.5 c quote 99990 5 100010 5")


def test_zero_switches_the_rule_off() -> None:
    """With `jump_ppb` 0 no quote is ever looked at."""
    one = premium(feed_limits(liveness_ns=HOUR, freeze_ns=0, jump_ppb=0))
    one.check("1.0 c quote 10009 5 10011 5")
    record = one.record("c")
    assert (int(record["jump_low"]), int(record["jump_high"]), int(record["usual_ts"])) == (1, INT64_MAX, NULL)
