"""The limits of loss over restarts: neither an ordered stop nor a death resets the day or the peak; a person does."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from tests.live.player import SMALL, Player, recorded
from tests.live.site import filled, site, traded
from tests.live.test_splits import played
from tests.log.live import values_of
from xarb.carrying import Left, closing_results
from xarb.engine.results import Carried
from xarb.errors import Killed, Refused
from xarb.live.begin import check_may_start, past_of
from xarb.live.kill import forget_losses, reset
from xarb.log.livelog import LiveLog
from xarb.log.reader import LogReader
from xarb.model.command import SubmitOrder
from xarb.model.event import named
from xarb.model.units import MONEY_ONE
from xarb.serve.faults import Fault
from xarb.starts import LIVE, PAPER, Span, spans
from xarb.verbs.verify import verify

LOOSE: Final = {"strategies.eager.max_day_loss": "{ USDT = 1000000 }"}
VENUES: Final = ("alpha", "bravo", "charlie")
LATE: Final = {f"venues.{venue}.order_latency": "{ constant_ms = 900 }" for venue in VENUES}


def silent(done: int, total: int, note: str = "") -> None:
    """No progress."""
    del done, total, note


def rows(player: Player, kind: str) -> list[dict[str, Any]]:
    """Output rows of the strategy with limits."""
    found = [named(row) for row in player.outputs if row[0] == kind]
    return [row for row in found if row["strategy"] == "eager"]


def closing(log: LogReader, span: Span) -> tuple[Carried, ...]:
    """What the whole log says was made, its last start being `span`."""
    return closing_results(log, span, Left(log, span, until=log.last_seq), until=log.last_seq)


def flows(players: list[Player]) -> dict[str, int]:
    """What fills of the strategy changed."""
    found: dict[str, int] = {}
    for player in players:
        for row in rows(player, "ledger"):
            found[row["asset"]] = found.get(row["asset"], 0) + row["delta"]
    return found


def test_a_start_goes_on_with_the_results_of_those_before(tmp_path: Path) -> None:
    """After a stop and after a death: flows by the ledger, day and peak by the last row; replay proves each start."""
    folder, players = tmp_path / "log", list[Player]()
    for number in range(3):
        player = Player(folder, seed=number + 1, changes=LOOSE)
        [opened] = player.trading.assembly.ground.results
        assert opened.flows == flows(players)
        if players:
            last = rows(players[-1], "results")[-1]
            assert (opened.last, opened.peak) == (last["pnl"], last["peak"])
            assert opened.base == last["pnl"] - last["day_pnl"]
        player.play(list(recorded(number * 10_000, 10_000)))
        players.append(player)
        if number == 1:
            player.log.abandon()
        else:
            player.end()
    first = rows(players[2], "results")[0]
    assert first["pnl"] >= rows(players[1], "results")[-1]["pnl"] - MONEY_ONE > 50 * MONEY_ONE
    assert verify(folder, advance=silent).equal


@pytest.mark.parametrize("key", ["max_day_loss", "max_drawdown"])
def test_a_strategy_that_lost_too_much_stays_stopped_until_a_person_resets_it(tmp_path: Path, key: str) -> None:
    """Stopped and started again it begins nothing; what is forgotten lets it trade, and is only once."""
    folder, changes = tmp_path / "log", {**LATE, f"strategies.eager.{key}": "{ USDT = 1 }", "strategies.eager.on_loss": "refuse"}
    reason = key.removeprefix("max_")
    Player(folder).end()
    with pytest.raises(Refused, match="no start counted losses"):
        forget_losses(folder)
    lost = Player(folder, changes=changes)
    lost.play(list(recorded(0, 30_000)))
    lost.log.abandon()
    assert reason in {row["reason"] for row in rows(lost, "refusals")}
    stopped = Player(folder, seed=2, changes=changes)
    stopped.play(list(recorded(30_000, 10_000)))
    stopped.end()
    assert not rows(stopped, "commands")
    assert {row["reason"] for row in rows(stopped, "refusals")} >= {reason}
    [forgotten] = forget_losses(folder)
    assert forgotten.last < -MONEY_ONE
    assert past_of(folder).results == ()
    again = Player(folder, seed=3, changes=changes)
    again.play(list(recorded(30_000, 10_000)))
    again.end()
    assert rows(again, "commands")
    assert past_of(folder).results != ()
    assert verify(folder, advance=silent).equal


def test_a_loss_kills_although_nobody_wrote_the_kill(tmp_path: Path) -> None:
    """The process died between the loss and the row: the next start is refused; after the reset it refuses its bundles, until a person forgets."""
    folder, changes = tmp_path / "log", {**LATE, "strategies.eager.max_drawdown": "{ USDT = 1 }"}
    lost = Player(folder, changes=changes)
    lost.play(list(recorded(0, 30_000)))
    lost.log.abandon()
    [first] = [row for row in rows(lost, "refusals") if row["reason"] == "loss" and row["value"] is not None]
    assert first["value"] > first["bound"] == MONEY_ONE
    others = [named(row) for row in lost.outputs if row[0] == "commands"]
    assert all(row["after_seq"] <= first["after_seq"] or row["purpose"] != "open" for row in others)
    with pytest.raises(Killed, match="losses: eager lost more than it may"):
        check_may_start(past_of(folder), PAPER)
    assert reset(folder).startswith("losses: ")
    assert past_of(folder).killed is None
    again = Player(folder, seed=2, changes=changes)
    again.play(list(recorded(30_000, 10_000)))
    again.end()
    assert {row["reason"] for row in rows(again, "refusals")} >= {"drawdown"}
    assert "loss" not in {row["reason"] for row in rows(again, "refusals")}
    forget_losses(folder)
    assert verify(folder, advance=silent).equal


def test_a_loss_that_kills_is_an_act_of_the_operator(tmp_path: Path) -> None:
    """A session against exchanges: the row says who, how far and why; no start follows before a reset."""
    log = tmp_path / "log"

    async def story() -> None:
        refused = Fault(kind="status", on="POST /api/v3/order", venue="bravo", after=1, count=0, status=400, code=-1013)
        async with site(tmp_path, (refused,)) as at:  # what fills at alpha is undone there, at a loss
            text = at.config.read_text()
            at.config.write_text(text.replace("[strategies.cross]\n", "[strategies.cross]\nmax_day_loss = { USDT = 0 }\n"))
            session = await traded(at, log, lambda session: session.assembly.engine.execution.loss is not None)
            assert session.was_killed
            with pytest.raises(Killed, match="losses: cross is beyond its day_loss: "):
                await traded(at, log, filled(1))

    asyncio.run(story())
    with LogReader(log) as reader:
        [row] = [row for row in reader.rows("operator") if row["action"] == "kill"]
    assert row["actor"] == "losses"
    assert row["detail"].startswith("entries: cross is beyond its day_loss: ")
    assert verify(log, advance=silent).equal


def test_a_limit_that_is_left_out_for_a_start_is_not_forgotten(tmp_path: Path) -> None:
    """What was made meanwhile counts when it comes back."""
    folder = tmp_path / "log"
    players: list[Player] = []
    for number, changes in enumerate((LOOSE, {}, LOOSE)):
        player = Player(folder, seed=number + 1, changes=changes)
        assert [one.flows for one in player.trading.assembly.ground.results] == [flows(players)]
        player.play(list(recorded(number * 5_000, 5_000)))
        player.end()
        players.append(player)
    assert len(rows(players[1], "fills")) > 0


def test_fills_that_are_reported_when_no_start_runs_count(tmp_path: Path) -> None:
    """Once each, with the side of their command where the exchange says none; orders of others and of earlier readings count for nothing."""
    folder = tmp_path / "log"
    hand = played(folder, 5, changes=LOOSE)
    hand.end()
    [before] = past_of(folder).results
    assert before.flows == flows([hand])
    order = next(one for one in hand.all_sent if isinstance(one, SubmitOrder) and one.strategy == "eager" and one.side == "buy")
    market = hand.trading.assembly.engine.instruments[order.instrument]
    with LogReader(folder) as log:
        told = {name: value for name, value in list(log.rows("reports"))[-1].items() if name not in ("seq", "ts_recv")}
    told |= {"venue": market.venue, "symbol": market.symbol, "account": "main", "strategy": "eager", "start": 1, "event": "fill"}
    told |= {
        "order": order.order,
        "client_order_id": order.client_order_id,
        "side": None,
        "reason": None,
        "fee_asset": market.quote,
    }
    told |= {"fill_id": "late", "price": 3 * MONEY_ONE, "qty": MONEY_ONE // 2, "fee": 7}
    more = LiveLog.open(folder, SMALL)
    rows = [told, told, {**told, "fill_id": "other", "order": None, "start": None}]
    made = [values_of("reports", {**row, "seq": more.last + 1 + at, "ts_recv": more.last_ts}) for at, row in enumerate(rows)]
    more.append({"reports": made})
    more.close()
    late = {market.base: MONEY_ONE // 2, market.quote: -3 * MONEY_ONE // 2 - 7}
    expected = {asset: before.flows.get(asset, 0) + late.get(asset, 0) for asset in {**before.flows, **late}}
    assert [one.flows for one in past_of(folder).results] == [expected]
    with LogReader(folder) as log:
        span = list(spans(log))[-1]
        opening = msgspec.structs.replace(
            span.start.opening, told_seq=log.last_seq - 1
        )  # all but the last, in the middle of a file
        told_before = span._replace(start=msgspec.structs.replace(span.start, opening=opening))
        assert [one.flows for one in closing(log, told_before)] == [before.flows]
    Player(folder, seed=6, mode=LIVE, send=lambda _: None, changes=LOOSE).end()
    assert [one.flows for one in past_of(folder).results] == [expected]
    with LogReader(folder) as log:
        assert [one.flows for one in closing(log, list(spans(log))[-1])] == [expected]
