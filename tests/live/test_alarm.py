"""The one call by which a driver looks at the time again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from xarb.live.alarm import Alarm

MS = 10**6


def rung(story: Callable[[Alarm], None]) -> list[float]:
    """After how many seconds it rang, within a third of one."""
    times: list[float] = []

    async def play() -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        story(Alarm(lambda: times.append(loop.time() - began)))
        await asyncio.sleep(0.3)

    asyncio.run(play())
    return times


@pytest.mark.parametrize(("first", "second", "least"), [(50, 100, 0.05), (100, 50, 0.05), (0, 100, 0.1)])
def test_one_ring_at_the_earlier_time_that_is_still_to_come(first: int, second: int, least: float) -> None:
    """An earlier ring stays where a later one is asked for, a later one goes, and one that is overdue is set anew."""

    def story(alarm: Alarm) -> None:
        alarm.set(first * MS, 0)
        alarm.set(second * MS, 0)

    [at] = rung(story)
    assert at >= least - 0.005


def test_a_canceled_alarm_does_not_ring() -> None:
    """Also one that was never set can be canceled."""

    def story(alarm: Alarm) -> None:
        alarm.cancel()
        alarm.set(50 * MS, 0)
        alarm.cancel()

    assert rung(story) == []
