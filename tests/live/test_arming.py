"""When a session is armed and disarmed."""

from __future__ import annotations

from xarb.live.arming import Arming


def test_what_speaks_against_trading_disarms_until_it_is_gone() -> None:
    """Once for all that speaks against it; nothing before the first arm, and nothing arms what is being stopped."""
    acts: list[tuple[str, ...]] = []
    arming = Arming(lambda *act: acts.append(act))
    arming.judge(["the clock"])
    arming.judge([])
    assert acts == []
    arming.begin()
    arming.judge([])
    arming.judge(["the clock"])
    arming.judge(["the clock", "another"])
    arming.judge([])
    arming.judge(["the clock"])
    arming.end()
    arming.judge([])
    arming.begin()
    assert [act[0] for act in acts] == ["arm", "disarm", "arm", "disarm"]
    assert acts[1] == ("disarm", "session", "the clock")
