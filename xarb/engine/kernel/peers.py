"""A quote held against those of its peers, the other members of its group: outliers, jumps and freezes.

Bands and bounds only decide whether to look; every verdict is taken on exact integers. docs/validation.md has the rules.
"""

# No `from __future__ import annotations`: numba reads signatures of compiled functions.
from xarb.engine.kernel import out, tables
from xarb.engine.kernel.compiled import part
from xarb.engine.kernel.life import JUMP, LIVE, OUTLIER, OUTLYING
from xarb.engine.kernel.wide import quotient
from xarb.model.units import INT64_MAX, NULL, PPB

_LOOK_INTERVALS = 5  # of the score: how often a quote that stands still tells its distance from the peers
_USUAL_SHARE = 16  # a new distance counts one sixteenth
_FARTHEST = 10**18  # ppb: distances are cut there, so that differences of two fit


@part
def median(values, count):
    """Median of the first `count` values, the lower of the two middles; sorts in place."""
    for i in range(1, count):
        value = values[i]
        j = i - 1
        while j >= 0 and values[j] > value:
            values[j + 1] = values[j]
            j -= 1
        values[j + 1] = value
    return values[(count - 1) // 2]


@part
def share(value, ratio_ppb):
    """`ratio_ppb` of a non-negative int64, rounded down; INT64_MAX where that does not fit."""
    return quotient(value, ratio_ppb, PPB)


@part
def _peer_mids(k, me, inst, mids):
    """Write the mids of the other members into `mids`; how many count.

    A member whose feed is neither live nor outlying does not; it counts again with a row of its own.
    """
    group = tables.group(k, me["group"])
    members = tables.members(k)
    count = 0
    for at in range(group["member_from"], group["member_to"]):
        other = members[at]
        peer = tables.instrument(k, other)
        if other != inst and peer["mid"] != 0 and (peer["state"] == LIVE or peer["state"] == OUTLYING):
            mids[count] = peer["mid"]
            count += 1
    return count


@part
def stands_out(k, me, inst):
    """Whether a quote whose mid left its bounds is an outlier or a jump; sets the bounds anew. One side alone acquits nobody."""
    mid = me["mid"]
    if mid == 0:
        return me["state"] == OUTLYING
    group = tables.group(k, me["group"])
    found = (mid < group["band_low"] or mid > group["band_high"]) and _is_outlier(k, me, inst)
    if not found and (mid < me["jump_low"] or mid > me["jump_high"] or k["now"] >= me["next_look"]):
        found = _has_jumped(k, me, inst)
    _bound(k, me, group)
    return found


@part
def _bound(k, me, group):
    """Within both the group's band and the bounds of a jump, and before the time of the next look, a mid needs no look."""
    if k["now"] >= me["next_look"]:
        me["look_low"], me["look_high"] = 1, 0
    else:
        me["look_low"] = max(group["band_low"], me["jump_low"])
        me["look_high"] = min(group["band_high"], me["jump_high"])


@part
def _set_band(k, group, low, high):
    """Give the group another band, and all its members their bounds."""
    if low != group["band_low"] or high != group["band_high"]:
        group["band_low"], group["band_high"] = low, high
        members = tables.members(k)
        for at in range(group["member_from"], group["member_to"]):
            _bound(k, tables.instrument(k, members[at]), group)


@part
def _is_outlier(k, me, inst):
    """Whether the mid lies off the median of the other members' mids by more than k MAD and the floor.

    At least two other members must count: with one alone nobody can say which is wrong. Of two middles the nearer is the median: the
    lower one would call those outliers who agree with the upper half. A group whose mids all lie within the
    floor of each other cannot hold an outlier, because their median lies among them: then the group gets a band, within which the
    mids may move without another look.
    """
    group = tables.group(k, me["group"])
    mids = tables.scratch(k)
    count = _peer_mids(k, me, inst, mids)
    lowest = me["mid"]
    highest = me["mid"]
    for i in range(count):
        lowest = min(lowest, mids[i])
        highest = max(highest, mids[i])
    room = share(lowest, group["floor_ppb"]) - (highest - lowest)
    low = lowest - room // 4  # a quarter each way keeps the band within the floor of its own lower end, floors of up to 100 %
    high = highest + min(room // 4, INT64_MAX - highest)
    if room >= 0 and low > 0 and high - low <= share(low, group["floor_ppb"]):
        _set_band(k, group, low, high)
    else:
        _set_band(k, group, 1, 0)
    if count < 2 or highest - lowest <= share(lowest, me["outlier_floor_ppb"]):
        return False
    middle = median(mids, count)
    upper = mids[count // 2]
    if abs(me["mid"] - upper) < abs(me["mid"] - middle):
        middle = upper
    for i in range(count):
        mids[i] = abs(mids[i] - middle)
    deviation = median(mids, count)
    distance = abs(me["mid"] - middle)
    bound = max(quotient(deviation, me["outlier_mads"], 1), share(middle, me["outlier_floor_ppb"]))
    if distance > bound:
        out.flag(k, inst, OUTLIER, distance, bound)
        return True
    return False


@part
def _has_jumped(k, me, inst):
    """Whether the mid left its usual distance from the median of its peers by more than `jump_ppb`, in a move of its own.

    The usual distance is a running mean of the distances at looks, a sixteenth each. A look happens when the mid leaves the bounds of
    the last one, a quarter of `jump_ppb` each way, or when the fifth score interval after it begins. A quote within its bounds did not jump: its
    peers moved, and the mean follows. A jump is flagged when it begins; each row of it is looked at. It ends with a row that is back,
    or after `jump_ns`: then that distance is the usual one. A distance that nothing confirmed for `cache_ns` is forgotten, and the next
    one taken as it comes; a gap or a lost connection alone does not touch it. Two price units are allowed for the rounding of mids.
    """
    now, mid = k["now"], me["mid"]
    moved = mid < me["jump_low"] or mid > me["jump_high"]
    reach = share(mid, me["jump_ppb"] // 4)
    me["jump_low"], me["jump_high"] = mid - reach, mid + min(reach, INT64_MAX - mid)
    me["next_look"] = (now // me["score_ns"] + _LOOK_INTERVALS) * me["score_ns"]
    mids = tables.scratch(k)
    count = _peer_mids(k, me, inst, mids)
    if count < 2:
        me["jump_since"] = NULL
        return False
    known = me["usual_ts"] != NULL and now - me["usual_ts"] <= me["cache_ns"]
    usual = me["usual_ppb"] if known else 0
    middle = median(mids, count)
    distance = _distance(mid, middle)
    if mids[count // 2] != middle:
        other = _distance(mid, mids[count // 2])
        if abs(other - usual) < abs(distance - usual):
            middle, distance = mids[count // 2], other
    excess = abs(distance - usual)
    bound = me["jump_ppb"] + 2 * PPB // middle
    if known and moved and excess > bound:
        if me["jump_since"] == NULL:
            me["jump_since"] = now
            out.flag(k, inst, JUMP, excess, bound)
        if now - me["jump_since"] < me["jump_ns"]:
            me["jump_low"], me["jump_high"] = 1, 0  # look at each row
            return True
        known = False
    me["jump_since"] = NULL
    me["usual_ppb"] = usual + (distance - usual) // _USUAL_SHARE if known else distance
    me["usual_ts"] = now
    return False


@part
def _distance(mid, middle):
    """mid / middle - 1 in ppb, its size rounded down."""
    size = min(quotient(abs(mid - middle), PPB, middle), _FARTHEST)
    return size if mid >= middle else -size


@part
def is_frozen(k, me):
    """Whether the quote stood unchanged beyond its limit while its peers moved often enough."""
    if me["ts_change"] == NULL or me["freeze_ns"] <= 0 or k["now"] - me["ts_change"] < me["freeze_ns"]:
        return False
    return tables.group(k, me["group"])["changes"] - me["group_changes_seen"] >= me["freeze_moves"]
