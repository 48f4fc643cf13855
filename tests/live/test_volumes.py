"""The volume of a day over restarts: neither an ordered stop nor a death begins it anew, and a proof compares what starts open with."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from tests.live.player import Player, recorded
from tests.live.test_losses import rows, silent
from xarb.engine.results import DAY_NS
from xarb.errors import LogError
from xarb.live.begin import past_of
from xarb.model.units import MONEY_ONE
from xarb.verbs.verify import verify

MOST: Final = 20_000
LIMITED: Final = {"strategies.eager.daily_volume_quote": f"{MOST}"}
LOOSE: Final = {"strategies.eager.max_day_loss": "{ USDT = 1000000 }"}


def sent(player: Player) -> int:
    """Notional that the strategy with limits sent, at 18 decimals."""
    submits = [row for row in rows(player, "commands") if row["kind"] == "submit"]
    return sum(row["price_int"] * row["qty_int"] * MONEY_ONE // 10 ** (row["px_scale"] + row["qty_scale"]) for row in submits)


def test_a_restart_does_not_begin_the_day_anew(tmp_path: Path) -> None:
    """After a stop and after a death what was sent before counts; a start without the limit counts for it too; replay proves each."""
    folder, total = tmp_path / "log", 0
    for number, changes in enumerate(({}, LIMITED, LIMITED)):
        player = Player(folder, seed=number + 1, changes=changes)
        opened = player.trading.assembly.ground.volumes
        assert sum(one.amount for one in opened if one.strategy == "eager") == total
        assert len({one.day for one in opened}) == (number > 0)
        player.play(list(recorded(number * 6_000, 6_000)))
        total += sent(player)
        if number == 1:
            player.log.abandon()
        else:
            player.end()
        reasons = {row["reason"] for row in rows(player, "refusals")}
        assert ("daily_volume" in reasons) == (number > 0), reasons
    assert verify(folder, advance=silent).equal


def test_a_start_that_opens_with_another_past_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peak, a flow or a volume that is not that of the start before breaks the proof, and so does none at all."""
    real = past_of

    def changed(**values: Any) -> None:
        monkeypatch.setattr("tests.live.player.past_of", lambda folder: real(folder)._replace(**values))

    for place in range(4):
        monkeypatch.setattr("tests.live.player.past_of", real)
        folder = tmp_path / f"log{place}"
        first = Player(folder, changes=LOOSE)
        first.play(list(recorded(0, 2_000)))
        first.end()
        past = real(folder)
        [result], volume = past.results, past.volumes[0]
        assert volume.day == first.log.last_ts // DAY_NS
        wrong: Any = (
            {"results": (msgspec.structs.replace(result, peak=result.peak - 1),)},
            {"results": (msgspec.structs.replace(result, flows={**result.flows, "USDT": result.flows["USDT"] + 1}),)},
            {"volumes": (msgspec.structs.replace(volume, amount=volume.amount - 1), *past.volumes[1:])},
            {"volumes": ()},
        )
        changed(**wrong[place])
        Player(folder, seed=2, changes=LOOSE).end()
        with pytest.raises(LogError, match="start 2 opens with"):
            verify(folder, advance=silent)
