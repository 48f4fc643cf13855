"""A log decided again as it grows: equal to what was recorded, from wherever it is begun, or not trusted."""

from __future__ import annotations

import shutil
from itertools import count
from pathlib import Path

import pytest

from tests.live.player import Player, recorded
from tests.log.logs import rewrite
from tests.log.test_livelog import wait_for
from tests.trial import quiet
from xarb.inquiry.decided import open_decided
from xarb.log.checkpoints import checkpoint_paths
from xarb.log.manifest import Manifest
from xarb.log.prune import prune
from xarb.starts import LIVE
from xarb.verbs.dashboard.figures import now, slow
from xarb.verbs.dashboard.following import Begun, Following
from xarb.verbs.status import standing

MANY = 6_000


def tables(one: Following) -> list[object]:
    """What it comes to, and the engine's own state, without what a beginning behind a checkpoint lacks."""
    shown = now(one, standing(one.decided.outputs, now=one.ends))
    earned = [told for told in shown.earned if not str(told["key"]).startswith("Accounts")]
    return [shown.tiles, shown.curves, shown.busy, earned, shown.standing, slow(one)]


def test_bursts_are_decided_as_they_were_until_another_start_begins(tmp_path: Path) -> None:
    """Real trading too, whose commands nobody carries out; a moment that the next input may go on with is not counted in two parts."""
    player = Player(tmp_path / "log", mode=LIVE, send=lambda _: None)
    with open_decided(tmp_path / "log") as decided:
        one = Following(decided, quiet)
        for first in range(0, 2_000, 250):
            player.play(list(recorded(first, 250)))
            assert one.look(quiet)
            assert (one.doubt, one.position) == (None, player.log.last)
        assert not one.look(quiet)
        assert one.rows == len(player.outputs) > 60
        with open_decided(tmp_path / "log") as anew:
            other = Following(anew, quiet)
            other.look(quiet)  # nothing came: the last moment is over
            assert tables(one) == tables(other)
            other.close()
        assert {row["ts"] for row in one.refusals} <= {row[3] for row in player.outputs if row[0] == "refusals"}
        player.end()
        assert one.look(quiet)
        again = Player(tmp_path / "log", mode=LIVE)
        with pytest.raises(Begun):
            one.look(quiet)
        again.log.close()
        one._held = [row for row in player.outputs if row[0] == "refusals"][-1:]
        seen, one.ends = len(one.refusals), one._held[0][3]
        one._show(all_of_it=False)
        assert len(one.refusals) == seen  # the next input may be of the same moment
        one.ends += 1
        one._show(all_of_it=False)
        assert (len(one.refusals), one._held) == (seen + 1, [])
        one.close()


def test_a_beginning_behind_a_checkpoint_comes_to_the_same(tmp_path: Path) -> None:
    """Of a log whose inputs were pruned as well; without a checkpoint of this code the recorded rows stand alone, and so does a changed one."""
    folder = tmp_path / "log"
    player = Player(folder)
    player.play(list(recorded(0, MANY)))
    more = count(MANY, 20)

    def has_checkpoint() -> bool:  # one is made with the next rows after a seal
        player.play(list(recorded(next(more), 20)))
        return bool(checkpoint_paths(folder))

    wait_for(has_checkpoint, 60)
    player.play(list(recorded(next(more), 500)))
    player.end()
    shutil.copytree(folder, tmp_path / "whole")
    shutil.rmtree(tmp_path / "whole" / "checkpoints")
    pruned = prune(folder, Manifest(folder).segments[0].last_ts + 1, by="a test")
    assert pruned.files
    made = []
    for place, since in ((tmp_path / "whole", None), (folder, int(checkpoint_paths(folder)[-1].stem))):
        with open_decided(place) as decided:
            one = Following(decided, quiet)
            assert (one.doubt, one.since) == (None, since)
            parts = tables(one)
            slow_part = parts.pop()
            assert isinstance(slow_part, list)
            made.append((parts, [told for told in slow_part if not told["key"].startswith("Latencies")]))
            one.close()
    assert made[0] == made[1]

    shutil.rmtree(folder / "checkpoints")
    for name in ("short", "changed"):
        shutil.copytree(tmp_path / "whole", tmp_path / name)
    rewrite(tmp_path / "short", player.outputs[-1][0], lambda rows: rows[:-1])
    rewrite(tmp_path / "changed", "feed_states", lambda rows: [*rows[:-1], {**rows[-1], "score": rows[-1]["score"] - 1}])
    for place, why in ((folder, "were pruned"), (tmp_path / "short", "differs after"), (tmp_path / "changed", "differs after")):
        with open_decided(place) as decided:
            one = Following(decided, quiet)
            assert one.doubt is not None
            assert why in one.doubt
            tiles = now(one, standing(decided.outputs, now=one.ends)).tiles
            assert [told["value"] for told in tiles[1:3]] == [told["value"] for told in made[0][0][0][1:3]]  # type: ignore[index]  # tiles
            assert tiles[0]["note"].startswith("at the last fills")
            assert one.ends == decided.times()[1]
            one.close()
