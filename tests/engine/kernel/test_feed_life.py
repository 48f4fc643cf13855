"""The feed state machine is complete and says what the rules say."""

from __future__ import annotations

import pytest

from xarb.engine.kernel.life import FEED_EVENTS, FEED_LIFE
from xarb.model.columns import QUOTE_STATES


def test_every_state_answers_every_event() -> None:
    """No pair of state and event is left open, and none is invented."""
    assert set(FEED_LIFE) == {(state, event) for state in QUOTE_STATES for event in FEED_EVENTS}
    assert set(FEED_LIFE.values()) <= set(QUOTE_STATES)


@pytest.mark.parametrize("state", QUOTE_STATES)
def test_a_lost_connection_is_down_whatever_came_before(state: str) -> None:
    """A lost connection takes every feed down."""
    assert FEED_LIFE[state, "lost"] == "down"


@pytest.mark.parametrize("event", ["silent", "connected"])
def test_only_data_ends_a_gap(event: str) -> None:
    """Neither silence nor a new connection makes a gapped book whole."""
    assert FEED_LIFE["gapped", event] == "gapped"


def test_only_a_usable_row_makes_a_feed_live() -> None:
    """Live is entered by a good row or by one that repeats it, never by a connection or a bad row."""
    assert {event for (state, event), after in FEED_LIFE.items() if after == "live" and state != "live"} == {"good", "same"}
