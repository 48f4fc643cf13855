"""What others trade on our accounts, over restarts: neither a stop nor a death forgets it, a person accepts it, a proof compares what starts open with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from tests.live.player import recorded
from tests.live.test_carrying import Trading, between, left_of
from tests.live.test_losses import silent
from tests.log.test_livelog import wait_for
from xarb.engine.carried import ForeignFills
from xarb.errors import Killed, LogError
from xarb.live.begin import check_may_start, past_of
from xarb.live.kill import reset
from xarb.log.checkpoints import checkpoint_paths
from xarb.model.units import MONEY_ONE
from xarb.starts import LIVE
from xarb.verbs.verify import verify

BOUND: Final = 100 * MONEY_ONE  # USDT; the default
DAY: Final = {"inventory.foreign_worth": "100"}


def fill(here: Trading, ident: str, usdt: int, **changes: Any) -> dict[str, Any]:
    """A fill of somebody else's order on a market of that start, of so many USDT."""
    one = next(one for one in here.trading.assembly.engine.instruments if one.quote == "USDT")
    about: dict[str, Any] = {
        "account": "main",
        "strategy": "",
        "venue": one.venue,
        "symbol": one.symbol,
        "start": None,
        "order": None,
    }
    about |= {"client_order_id": "web_1", "event": "fill", "source": "stream", "side": "buy", "fill_id": ident}
    about |= {"price": MONEY_ONE, "qty": usdt * MONEY_ONE, "fee": 0, "fee_asset": "USDT", "liquidity": "taker"}
    return about | changes


def told(start: Trading, ident: str, usdt: int) -> None:
    """It is told while the start runs."""
    start.put("reports", **fill(start, ident, usdt))
    start.flush()


def refused(start: Trading) -> list[tuple[int, int]]:
    """Worth and bound of each refusal for what others traded."""
    return [(row["value"], row["bound"]) for row in start.rows("refusals") if row["reason"] == "others_trade"]


def opened(start: Trading) -> int:
    """What others had traded by what a start opened with."""
    return sum(one.amount for one in start.trading.assembly.ground.foreign)


def started(folder: Path, number: int, rows: tuple[int, int] = (0, 10), **more: Any) -> Trading:
    """A start of a log."""
    return Trading(folder, number, rows=rows, changes=DAY, **more)


def test_a_restart_does_not_forget_what_others_traded(tmp_path: Path) -> None:
    """After a stop and after a death; the third is told of what is too much together, and refuses; replay proves each."""
    folder = tmp_path / "log"
    for number, before in ((1, 0), (2, 40), (3, 80)):
        start = started(folder, number)
        assert opened(start) == before * MONEY_ONE
        told(start, f"f{number}", 40)
        assert refused(start) == ([(120 * MONEY_ONE, BOUND)] if number == 3 else [])
        if number == 2:
            start.log.abandon()
        else:
            start.end()
    assert verify(folder, advance=silent).equal


def test_what_others_traded_kills_although_nobody_wrote_the_kill(tmp_path: Path) -> None:
    """The process died between the refusal and the row: no start before a reset, which accepts what was told; the sum begins anew then."""
    folder = tmp_path / "log"
    first = started(folder, 1)
    told(first, "f1", 101)
    assert refused(first) == [(101 * MONEY_ONE, BOUND)]
    first.log.abandon()
    left_of(folder)
    with pytest.raises(Killed, match=r"others: others traded on main at .*: their fills of this day come to 101, allowed are 100;"):
        check_may_start(past_of(folder), LIVE)
    assert reset(folder).startswith("others: ")
    assert past_of(folder).killed is None
    second = started(folder, 2, (0, 5_000))
    assert opened(second) == 0
    assert second.sent
    told(second, "f2", 99)
    assert not refused(second)
    second.end()
    assert past_of(folder).foreign[0].amount == 99 * MONEY_ONE
    assert verify(folder, advance=silent).equal


def test_what_was_told_and_not_decided_on_is_judged_by_the_next_start(tmp_path: Path) -> None:
    """The process died before the refusal itself was written: the next start begins nothing."""
    folder = tmp_path / "log"
    first = started(folder, 1)
    told(first, "f1", 40)
    first.log.abandon()
    left_of(folder)
    between(folder, [fill(first, "f2", 61), fill(first, "f3", 5, event="canceled"), fill(first, "f4", 5, start=1, order=9)])
    past = past_of(folder)
    assert past.killed is None
    second = started(folder, 2, (0, 5_000))
    assert opened(second) == 101 * MONEY_ONE
    assert refused(second) == [(101 * MONEY_ONE, BOUND)]
    assert not second.sent
    second.log.abandon()
    left_of(folder)
    with pytest.raises(Killed, match="others: "):
        check_may_start(past_of(folder), LIVE)
    reset(folder)
    third = started(folder, 3, (0, 5_000))
    assert third.sent
    third.end()
    assert verify(folder, advance=silent).equal


@pytest.mark.parametrize(
    "wrong", [{"foreign": ()}, {"amount": 39 * MONEY_ONE}, {"day": 1}], ids=["forgotten", "less", "of another day"]
)
def test_a_start_that_opens_with_less_of_others_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: Mapping[str, Any]
) -> None:
    """Of a sum that is none, smaller, or of another day the proof says so."""
    folder = tmp_path / "log"
    first = started(folder, 1)
    told(first, "f1", 40)
    first.end()
    past = past_of(folder)
    made: tuple[ForeignFills, ...] = () if "foreign" in wrong else (msgspec.structs.replace(past.foreign[0], **wrong),)
    monkeypatch.setattr("tests.live.player.past_of", lambda _: past._replace(foreign=made))
    started(folder, 2).end()
    with pytest.raises(LogError, match="start 2 opens with"):
        verify(folder, advance=silent)


def test_proof_from_a_checkpoint_knows_what_others_traded(tmp_path: Path) -> None:
    """What was told before it and what is told behind it are too much together."""
    folder = tmp_path / "log"
    start = started(folder, 1)
    told(start, "f1", 60)
    start.play_and_seal(list(recorded(0, 5_000)))
    start.play(list(recorded(5_000, 5_000)))
    wait_for(lambda: bool(checkpoint_paths(folder)), 60)
    assert not refused(start)
    told(start, "f2", 41)
    assert refused(start) == [(101 * MONEY_ONE, BOUND)]
    start.end()
    for since in (None, "last"):
        assert verify(folder, since=since, advance=silent).equal
