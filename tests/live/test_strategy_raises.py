"""A strategy that raises while real orders are out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.live.site import QUICK, filled, site
from xarb.board import Board
from xarb.config import load_experiment
from xarb.engine.strategy import Plan, View, Wake
from xarb.errors import InvariantBroken
from xarb.live.exchanges import Exchanges
from xarb.live.session import Session
from xarb.log.ends import LEFT_OFF
from xarb.log.livelog import LiveLog
from xarb.log.reader import LogReader
from xarb.starts import LIVE
from xarb.strategies.micro import Micro
from xarb.verbs.verify import verify


def test_a_strategy_that_raises_leaves_no_order_and_says_what_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What may still fill is canceled at the exchanges, the error names what was raised and where, the log has it, the rest is proven."""
    log = tmp_path / "log"
    canceled: list[bool] = []
    cancel_open, on_wake = Exchanges.cancel_open, Micro.on_wake
    broken: list[bool] = []

    async def seen(exchanges: Exchanges) -> None:
        await cancel_open(exchanges)
        canceled.append(True)

    def raises(strategy: Micro, wake: Wake, view: View) -> Sequence[Plan]:
        if broken:
            raise ZeroDivisionError("a mistake in a strategy")
        return on_wake(strategy, wake, view)

    monkeypatch.setattr(Exchanges, "cancel_open", seen)
    monkeypatch.setattr(Micro, "on_wake", raises)

    async def story() -> None:
        async with site(tmp_path) as at:
            session = Session(load_experiment(at.config), log, mode=LIVE, policy=QUICK)
            task = asyncio.create_task(session.run(None, Board(None)))
            async with asyncio.timeout(60):
                while not task.done():
                    if hasattr(session, "summary") and filled(1)(session):
                        broken.append(True)
                    await asyncio.sleep(0.02)
                with pytest.raises(
                    InvariantBroken, match=r"ZeroDivisionError: a mistake in a strategy \(line test_strategy_raises"
                ) as said:
                    await task
            assert said.value.exit_code == 1

    asyncio.run(story())
    assert canceled == [True]
    broken.clear()
    LiveLog.open(log, QUICK).close()
    with LogReader(log) as reader:
        [left] = [row for row in reader.rows("operator") if row["action"] == LEFT_OFF]
        assert "ZeroDivisionError: a mistake in a strategy" in left["detail"]
    assert verify(log, advance=lambda *_: None).equal
