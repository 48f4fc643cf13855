"""Breakers over restarts: a stop, a death and a proof change none; what waits for a person goes on until that person has said so."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from tests.live.player import Player, recorded
from tests.live.test_losses import silent
from xarb.engine.breaker import Broken
from xarb.errors import LogError, Refused
from xarb.live.begin import past_of
from xarb.live.kill import reset_breakers
from xarb.model.event import named
from xarb.verbs.verify import verify

VENUES: Final = ("alpha", "bravo", "charlie")
LATE: Final = {f"venues.{venue}.order_latency": "{ constant_ms = 900 }" for venue in VENUES}
NAKED: Final = {
    **LATE,
    "breakers.residual_held": "true",
    **{f"strategies.{name}.{key}": "0" for name in ("eager", "patient") for key in ("hedge_cap_bps", "unwind_cap_bps")},
}
SLOW: Final = {**LATE, "breakers.max_ack_ms": "100", "breakers.pause_ms": "5000"}


def rows(player: Player) -> list[dict[str, Any]]:
    """What breakers did, with a pause in the place of its end."""
    return [named(row) for row in player.outputs if row[0] == "breakers"]


def latest(player: Player) -> dict[str, Broken]:
    """By venue, the breakers that are not closed by the rows of a start."""
    names = ("account", "venue", "state", "reason", "until", "trips")
    found = {row["venue"]: Broken(**{name: row[name] for name in names}) for row in rows(player)}
    return {venue: one for venue, one in found.items() if one.state != "closed"}


def submits(player: Player) -> int:
    """Orders that left."""
    return sum(row[0] == "commands" and named(row)["kind"] == "submit" for row in player.outputs)


@pytest.mark.parametrize("death", [False, True])
def test_a_held_residual_stops_its_venues_until_a_person_resets_them(
    tmp_path: Path, death: bool
) -> None:  # pytest gives it by name
    """Each start writes what it opens with, sends nothing there, and is proven; what is reset is so for the next start only."""
    folder = tmp_path / "log"
    first = Player(folder, changes=NAKED)
    first.play(list(recorded(0, 30_000)))
    assert {one.reason for one in latest(first).values()} == {"residual_held"}
    assert len(latest(first)) == 2  # nothing is left that could be compared
    if death:
        first.log.abandon()
    else:
        first.end()
    second = Player(folder, seed=2)
    assert {one.venue: one for one in second.trading.assembly.ground.broken} == latest(first)
    second.play(list(recorded(30_000, 10_000)))
    second.end()
    assert latest(second) == latest(first)
    assert submits(second) == 0
    assert [one.venue for one in reset_breakers(folder)] == sorted(latest(first))
    assert past_of(folder).broken == ()
    with pytest.raises(Refused, match="no breaker is open"):
        reset_breakers(folder)
    third = Player(folder, seed=3)
    assert third.trading.assembly.ground.broken == ()
    third.play(list(recorded(30_000, 10_000)))
    third.end()
    assert submits(third) > 0
    assert verify(folder, advance=silent).equal


def test_a_pause_goes_on_in_the_next_start(tmp_path: Path) -> None:
    """Its end stands in the row; what was half open is tried anew."""
    folder = tmp_path / "log"
    player = Player(folder, changes=SLOW)
    player.play(list(recorded(0, 40_000)))
    player.log.abandon()
    before = latest(player)
    assert {row["state"] for row in rows(player)} >= {"open", "half_open"}
    assert before
    again = Player(folder, seed=2, changes=SLOW)
    assert {one.venue: one for one in again.trading.assembly.ground.broken} == before
    again.play(list(recorded(40_000, 20_000)))
    again.end()
    assert {one.venue for one in latest(again).values()} | {row["venue"] for row in rows(again)} >= set(before)
    assert verify(folder, advance=silent).equal


def test_a_start_that_opens_with_others_is_no_proof(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is left out, and one that is open for another time."""
    real = past_of
    for place in range(2):
        monkeypatch.setattr("tests.live.player.past_of", real)
        folder = tmp_path / f"log{place}"
        first = Player(folder, changes=NAKED)
        first.play(list(recorded(0, 30_000)))
        first.end()
        one, *others = real(folder).broken
        wrong = ((*others,), (msgspec.structs.replace(one, trips=one.trips + 1), *others))[place]
        monkeypatch.setattr("tests.live.player.past_of", lambda where, wrong=wrong: real(where)._replace(broken=wrong))
        Player(folder, seed=2).end()
        with pytest.raises(LogError, match="start 2 opens with"):
            verify(folder, advance=silent)
