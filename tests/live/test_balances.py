"""Balances compared while trading for real, at a start and over restarts, with two served exchanges that move money without a word."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from pathlib import Path

import pytest

from tests.live.site import VENUES, Site, account_order, filled, site, traded
from tests.live.test_real_orders import money
from tests.trial import quiet
from xarb.engine.discrepancy import DISCREPANCY, Discrepancy
from xarb.errors import Killed
from xarb.live.begin import past_of
from xarb.live.books import Books
from xarb.live.kill import reset
from xarb.live.session import Session
from xarb.log.reader import LogReader
from xarb.serve.faults import Fault
from xarb.venues import accountdesk, balancecheck
from xarb.verbs.status import status
from xarb.verbs.verify import verify


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Balances are compared every second, and again a fifth of a second later."""
    monkeypatch.setattr(accountdesk, "RECONCILE_S", 1.0)
    monkeypatch.setattr(accountdesk, "POLL_S", 0.1)
    monkeypatch.setattr(balancecheck, "AGAIN_S", 0.2)


@contextlib.asynccontextmanager
async def calm(folder: Path, faults: tuple[Fault, ...] = ()) -> AsyncIterator[Site]:
    """Two exchanges, and a strategy that rests for seconds after each bundle, so that nothing moves between two asks."""
    async with site(folder, faults) as at:
        at.config.write_text(at.config.read_text().replace("cool_down_ms = 100", "cool_down_ms = 4000"))
        yield at


def adjusted(log: Path) -> list[tuple[str, str, str, int]]:
    """Strategy, venue, asset and change of each adjustment in the ledger."""
    with LogReader(log) as reader:
        rows = [row for _, row in reader.outputs(kinds=("ledger",)) if row["cause"] == "adjustment"]
    return [(row["strategy"], row["venue"], row["asset"], row["delta"]) for row in rows]


def acts(log: Path) -> list[tuple[str, str]]:
    """Action and detail of the operator's rows of discrepancies and kills."""
    with LogReader(log) as reader:
        return [(row["action"], row["detail"] or "") for row in reader.rows("operator") if row["action"] in ("discrepancy", "kill")]


def booked(count: int) -> Callable[[Session], bool]:
    """Whether so many adjustments were booked."""
    return lambda session: len(session.assembly.engine.portfolio.capture().transferred) >= count


def once_it_trades(act: Callable[[], None]) -> Callable[[Session], bool]:
    """Do something after the first bundle; then whether the engine found more than it may book."""
    waits = [act]

    def seen(session: Session) -> bool:
        if waits and session.summary.bundles:
            waits.pop()()
        return distrusts(session)

    return seen


def distrusts(session: Session) -> bool:
    """Whether the engine found more than it may book."""
    return session.assembly.engine.distrust is not None


async def agree(at: Site, session: Session) -> None:
    """The last balances by our books are the exchanges', to the last digit."""
    for venue in VENUES:
        told = (await at.ask(venue, "balances"))["main"]
        assert {asset: money(value) for asset, value in told.items()} == session.assembly.engine.portfolio.balances_at(
            "main", venue
        )


def test_an_account_that_the_log_does_not_know_is_no_difference() -> None:
    """It was added to the config: the start opens with what it has; of one that is known everything differs that the log does not say."""
    books = Books({("main", "alpha", "USDT"): 5}, {}, transfers={}, markets={})
    free = {("main", "alpha", "USDT"): 5, ("main", "alpha", "BTC"): 1, ("new", "alpha", "USDT"): 7, ("main", "bravo", "USDT"): 9}
    assert books.unexplained(free, {}) == {("main", "alpha", "BTC"): 1}


def test_a_rebate_is_booked_and_told(tmp_path: Path) -> None:
    """By the schedule of the served exchange; the log proves itself, status shows it, trading goes on."""
    log = tmp_path / "log"
    rebate = Fault(kind="money", venue="alpha", at_s=Decimal(2), asset="USDT", change=Decimal("0.0315"))

    async def story() -> None:
        async with calm(tmp_path, (rebate,)) as at:
            session = await traded(at, log, booked(1))
            await agree(at, session)

    asyncio.run(story())
    assert adjusted(log) == [("", "alpha", "USDT", money("0.0315"))]
    assert [action for action, _ in acts(log)] == ["discrepancy"]
    assert verify(log, advance=quiet).equal
    [section] = [one for one in status(log).sections if one.key == "discrepancies"]
    assert [row[1:7] for row in section.rows] == [("main", "alpha", "USDT", *section.rows[0][4:6], "0.0315")]
    assert section.rows[0][7] == "booked"


def test_a_withdrawal_ends_new_bundles_until_a_person_accepts_it(tmp_path: Path) -> None:
    """A kill of `entries` with its reason; no start before a reset; the one behind it opens with what is there, and trades."""
    log = tmp_path / "log"

    async def story() -> None:
        async with calm(tmp_path) as at:
            session = await traded(at, log, once_it_trades(lambda: at.server.desk.move(("main", "bravo", "BTC"), -money("3"))))
            assert session.was_killed
            [what] = [text for text in status(log).troubles if "3 is not explained" in text]
            assert "main" in what
            with pytest.raises(Killed, match=r"balances: main has .* BTC at bravo"):
                await traded(at, log, distrusts)
            assert reset(log).startswith("balances: ")
            second = await traded(at, log, filled(1))
            await agree(at, second)
            assert not second.was_killed

    asyncio.run(story())
    assert [action for action, _ in acts(log)][-1] == "kill"
    assert acts(log)[-1][1].startswith("entries: main has ")
    assert adjusted(log) == []
    assert verify(log, advance=quiet).equal


def test_what_came_back_after_it_was_refused_is_not_taken_off_again(tmp_path: Path) -> None:
    """Money that was missing and is there again before the end: the reset accepts nothing, and the next start finds no difference."""
    log, place = tmp_path / "log", ("main", "bravo", "BTC")

    async def story() -> None:
        async with calm(tmp_path) as at:
            gone = once_it_trades(lambda: at.server.desk.move(place, -money("3")))
            waits = [lambda: at.server.desk.move(place, money("3"))]

            def back(session: Session) -> bool:
                if waits and gone(session):
                    waits.pop()()
                return not waits

            first = await traded(at, log, back)
            assert first.was_killed
            await agree(at, first)
            reset(log)
            second = await traded(at, log, filled(1))
            assert not second.was_killed
            await agree(at, second)

    asyncio.run(story())
    assert adjusted(log) == []


def test_what_was_passed_over_takes_no_refusal_back(tmp_path: Path) -> None:
    """A fill overtakes what is told behind a refusal: the trouble stays, and the reset accepts the difference."""
    log = tmp_path / "log"

    async def story() -> None:
        async with calm(tmp_path) as at:
            gone = once_it_trades(lambda: at.server.desk.move(("main", "bravo", "BTC"), -money("3")))

            def overtaken(session: Session) -> bool:
                if not gone(session):
                    return False
                stale = Discrepancy(account="main", venue="bravo", asset="BTC", ours=1, theirs=0)
                session.intake.put("operator", (DISCREPANCY, "account main at bravo", stale.text))
                session.intake.flush()
                return True

            await traded(at, log, overtaken)
            assert [text for text in status(log).troubles if "3 is not explained" in text]
            reset(log)
            second = await traded(at, log, filled(1))
            assert not second.was_killed
            await agree(at, second)

    asyncio.run(story())


def test_what_moved_while_nothing_ran_is_found_before_the_next_start_arms(tmp_path: Path) -> None:
    """A little is booked, and then it arms; what others' orders hold is no difference, then or later."""
    log = tmp_path / "log"

    async def story() -> None:
        async with calm(tmp_path) as at:
            await traded(at, log, filled(1))
            at.server.desk.move(("main", "alpha", "USDT"), -money("0.25"))
            await account_order(at, "alpha", "somebody")
            second = await traded(at, log, filled(1))
            span = past_of(log).span
            assert span is not None
            assert span.start.opening.others == (("main", "alpha", "USDT", "25"),)
            await agree_but(at, second, money("25"))
            third = await traded(at, log, filled(1))
            await agree_but(at, third, money("25"))

    asyncio.run(story())
    assert adjusted(log) == [("", "alpha", "USDT", -money("0.25"))]
    assert verify(log, advance=quiet).equal
    with LogReader(log) as reader:
        rows = [(row["action"], row["seq"]) for row in reader.rows("operator")]
        second = [row["seq"] for row in reader.rows("starts")][1]
    behind = [action for action, seq in rows if seq > second]
    assert behind[:2] == ["discrepancy", "arm"]


async def agree_but(at: Site, session: Session, locked: int) -> None:
    """The same where somebody's order has so much USDT of alpha locked."""
    ours = session.assembly.engine.portfolio.balances_at("main", "alpha")
    told = {asset: money(value) for asset, value in (await at.ask("alpha", "balances"))["main"].items()}
    assert ours | {"USDT": ours["USDT"] + locked} == told


def test_an_order_without_money_has_balances_compared_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long before the next regular comparison: the breaker opens, nothing begins meanwhile, and what is gone ends new bundles for good."""
    monkeypatch.setattr(accountdesk, "RECONCILE_S", 600.0)
    log = tmp_path / "log"

    def rob(at: Site) -> None:
        for venue in VENUES:
            place = ("main", venue, "USDT")
            at.server.desk.move(place, money("10") - at.server.desk.balances()[place])  # no leg that is worth it is so small

    async def story() -> None:
        async with calm(tmp_path) as at:
            session = await traded(at, log, once_it_trades(lambda: rob(at)))
            assert session.was_killed

    asyncio.run(story())
    with LogReader(log) as reader:
        [refused, *_] = [row for row in reader.rows("reports") if row["reason"] == "insufficient_funds"]
        refused_bundle = next(
            row["bundle"] for _, row in reader.outputs(kinds=("commands",)) if row["client_order_id"] == refused["client_order_id"]
        )
        [short, *_] = [row for row in reader.rows("health") if row["metric"] == "money_short"]
        [opened, *_] = [row for _, row in reader.outputs(kinds=("breakers",)) if row["reason"] == "insufficient_funds"]
        [disarmed, *_] = [row for row in reader.rows("operator") if row["action"] == "disarm"]
        begun = [row["bundle"] for _, row in reader.outputs(kinds=("commands",)) if row["purpose"] == "open"]
    assert (short["value"], short["venue"], opened["venue"]) == (1, refused["venue"], refused["venue"])
    assert "has less money than our books say" in disarmed["detail"]
    assert opened["after_seq"] == refused["seq"]
    assert max(begun) == refused_bundle
    assert verify(log, advance=quiet).equal


def test_a_kill_that_was_not_written_holds_all_the_same(tmp_path: Path) -> None:
    """The process died between the difference and the row of the kill: the next start is refused, and says why."""
    log = tmp_path / "log"

    async def story() -> None:
        async with calm(tmp_path) as at:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(Session, "_heed", lambda _: None)
                await traded(at, log, once_it_trades(lambda: at.server.desk.move(("main", "alpha", "BTC"), money("7"))))

    asyncio.run(story())
    assert (past_of(log).killed or "").startswith("balances: main has ")
